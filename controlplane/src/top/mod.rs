//! The live view: what two looks at the data plane say together, and how that is drawn.
//!
//! Owns: rates, averages and the one question it must answer at a glance: is it the gateway or the GPU?
//! Must not: ask anybody; `cli/top.rs` does.
//! Read next: `rates.rs`, the numbers; `view.rs`, the drawing.

pub mod rates;
pub mod view;

pub use rates::{Sort, View};
pub use view::{draw, queue_lines};
