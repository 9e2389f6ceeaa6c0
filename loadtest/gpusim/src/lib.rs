//! Simulated GPU inference servers: real sockets and real token pacing, no GPU.
//!
//! Owns: the step-time model, the scheduler of one engine, the text it "generates" and the HTTP surface of a
//! fleet of such engines. Used by `ringload sim`, by the tests and by `ringway --demo`.
//! Must not: import anything of the data plane (it is half of the independent judge), start more than the
//! one thread a [`Fleet`] owns, or use CPU while nobody asks anything.
//! Read next: `step.rs` (how long one step takes), `engine.rs` (who is in it), `server.rs` (the sockets),
//! `virtual_time.rs` (the same without sockets).
//!
//! ```no_run
//! use ringway_gpusim::{Fleet, FleetSpec};
//!
//! let fleet = Fleet::start(FleetSpec { replicas: 2, ..FleetSpec::default() })?;
//! println!("listening on {:?}", fleet.addresses());
//! # Ok::<(), std::io::Error>(())
//! ```
#![forbid(unsafe_code)]

mod api;
pub mod bounds;
mod cache;
pub mod clock;
mod connection;
pub mod engine;
pub mod fault;
pub mod histogram;
mod http;
pub mod lora;
mod metrics;
pub mod plan;
pub mod prefix;
pub mod random;
mod server;
pub mod step;
pub mod text;
pub mod virtual_time;

pub use plan::{FleetSpec, Plan, Unit};
pub use server::Fleet;
pub use step::Preset;
