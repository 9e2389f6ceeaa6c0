//! Compiles a snapshot into a table, or says everything that is wrong with it.
//!
//! Read next: [`super`].

use ringway_contract::{Problem, Snapshot};

use super::Table;
use crate::cells::Cells;

impl Table {
    /// The table of this snapshot; or all problems, in document order.
    pub fn compile(snapshot: &Snapshot, cells: &Cells) -> Result<Self, Vec<Problem>> {
        let _ = (snapshot, cells);
        todo!()
    }
}
