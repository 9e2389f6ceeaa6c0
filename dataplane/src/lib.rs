//! The data plane: a thread-per-core proxy for model traffic. See ARCHITECTURE.md.
//!
//! Owns: everything between a caller's connection and an endpoint's, from a compiled snapshot.
//! Must not: read a configuration file, resolve a name on a worker, or wait for the control plane.
//! Read next: [`table`], which says where a request goes.

pub mod balance;
pub mod bounds;
pub mod cells;
pub mod explain;
pub mod names;
pub mod outcome;
pub mod refusal;
pub mod reply;
pub mod retry;
pub mod table;
