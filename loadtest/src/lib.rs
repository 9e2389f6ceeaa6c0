//! The load harness: it sends, it times, and it judges every byte that comes back.
//!
//! Owns: arrival schedules, the client with its own readers for HTTP and SSE, the rules an answer must keep,
//! statistics and reports. The simulated servers are next door, in `ringway-gpusim`.
//! Must not: import anything of the proxy it judges; code shared with it would agree with itself.
//! Read next: `scenario.rs` (what a run is), `client.rs` (its loop), `oracle.rs` (what is valid).
#![forbid(unsafe_code)]

pub mod arrival;
pub mod bounds;
pub mod cli;
mod client;
pub mod compare;
pub mod ended;
pub mod lengths;
pub mod oracle;
mod progress;
pub mod prompts;
pub mod report;
pub mod scenario;
pub mod stats;
pub mod timeline;
pub mod trace;

pub use client::{Progress, RunError, Watch, run};
pub use report::Summary;
pub use scenario::Scenario;
