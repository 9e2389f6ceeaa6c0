//! Lists the models that a caller may ask for: `GET /v1/models` and its kin (dialects section 7.5).
//!
//! Read next: `ringway_dialect::surface`.

use super::{Ask, Table};
use crate::refusal::Refusal;

impl Table {
    /// The JSON body that answers a request for which [`Table::route`] said [`super::Verdict::Models`]: the list, or
    /// one model.
    pub fn models_answer(&self, ask: &Ask<'_>) -> Result<Vec<u8>, Refusal> {
        let _ = ask;
        todo!()
    }

    /// Names of the models on offer to this caller, in a fixed order.
    pub fn models_for(&self, ask: &Ask<'_>) -> Vec<&str> {
        let _ = ask;
        todo!()
    }
}
