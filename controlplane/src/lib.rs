//! The control plane: all that is slow or stateful, so that the data plane need not be.
//!
//! Owns: the config file, the daemon that turns it into snapshots and pushes them, and the command line.
//! Must not: stand in the way of traffic. If all of this dies, the data plane goes on with its last table.
//! Read next: [`cli`], the verbs; [`daemon`], the loop behind `ringctl serve`; [`client`], how both planes
//! are spoken to.
#![forbid(unsafe_code)]

pub mod bounds;
pub mod cli;
pub mod client;
pub mod config;
pub mod daemon;
pub mod dial;
pub mod digest;
pub mod log;
pub mod mint;
pub mod paths;
pub mod scrape;
pub mod supervise;
pub mod top;
pub mod trust;
