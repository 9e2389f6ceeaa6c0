//! What servers say of their load, on its whole way: simulated engines, the daemon that reads them, the data plane that
//! goes by it; and that nothing about it ever stops a request.
//!
//! Owns: the claims of spec routing.md sections 5, 8 (probes) and 15 (S8a, S12 without their figures).
//! Must not: claim anything about choices; those are the balancer's.
//! Read next: `rig.rs`, the three processes.

mod orca;
mod reports;
mod rig;
mod secure;
