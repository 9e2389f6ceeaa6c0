//! What the micro-benchmarks, the allocation tests and the instruction counts have in common.
//!
//! Owns: [`material`], bytes and snapshots of typical traffic, [`fleet`], endpoints under load, and [`pipeline`], the
//! way of a request without sockets.
//! Must not: measure anything; `benches/`, `tests/` and `bin/` do, and `compare` for the program as a whole.
//! Read next: [`pipeline`].

pub mod dialogue;
pub mod evaluate;
pub mod fleet;
pub mod material;
pub mod pipeline;
