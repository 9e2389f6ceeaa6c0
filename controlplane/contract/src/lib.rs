//! All that crosses the control socket: snapshots, problems, load reports, statistics, explanations,
//! traces.
//!
//! Owns: the serde types both planes share, and the newtypes for their numbers.
//! Must not: do I/O, read a clock, or know how either side works.
//! Read next: [`snapshot`], the configuration as the data plane runs it.
#![forbid(unsafe_code)]

pub mod catalogue;
pub mod explain;
pub mod hosting;
pub mod load;
pub mod numbers;
pub mod problem;
pub mod snapshot;
pub mod stats;
pub mod trace;

pub use numbers::{Bytes, Generation, MicroDollars, Millis};
pub use problem::Problem;
pub use snapshot::Snapshot;
