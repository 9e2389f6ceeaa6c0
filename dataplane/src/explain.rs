//! Says which route, target and endpoint a request would get, and why. Sends nothing, changes nothing.
//!
//! Owns: the wording.
//! Must not: match or choose by itself; it calls what the workers call.
//! Read next: [`crate::table::matching`].

use ringway_contract::explain::{Explanation, Question};

use crate::table::Table;

/// What would happen to this request now.
pub fn explain(table: &Table, question: &Question) -> Explanation {
    let _ = (table, question);
    todo!()
}
