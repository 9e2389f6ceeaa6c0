//! The harness of the end-to-end tests: real processes, real sockets, and an HTTP reader of its own.
//!
//! Owns: starting `ringway` and its companions, the scripted [`Origin`], the raw [`Client`], and the reading
//! of fixtures. Shares only the control-socket types with the programs under test.
//! Must not: use `ringway-wire` or `ringway-dialect`; code shared with the judged agrees with itself.
//! Read next: [`gateway`], then [`origin`] and [`client`]; `rfc9112/` for how they are used together.

pub mod access;
pub mod bounds;
pub mod client;
pub mod control;
pub mod driver;
pub mod fixtures;
pub mod gateway;
pub mod http;
pub mod origin;
pub mod ports;
pub mod process;
pub mod programs;
pub mod setup;
pub mod tls;

pub use client::{Client, End};
pub use driver::{Io, each_driver};
pub use gateway::Gateway;
pub use origin::{Origin, Peer};
pub use setup::Setup;

/// True when the long forms of the tests are asked for: `RINGWAY_LONG=1`.
pub fn long() -> bool {
    std::env::var_os("RINGWAY_LONG").is_some_and(|value| value == "1")
}
