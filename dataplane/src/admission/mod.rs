//! Admission: a request is bound to an endpoint as late as possible, and told when to come back if it cannot be.
//!
//! Owns: the queue in front of a backend, what opens it, and who waits.
//! Must not: choose the endpoint ([`crate::balance`]) or word a refusal ([`crate::refusal`]).
//! Read next: [`queue`], the pure core, and [`open`], when there is room; then [`line`] and [`wait`], which let workers
//! share it.

pub mod drain;
mod lanes;
pub mod line;
pub mod open;
pub mod promise;
pub mod queue;
pub mod tenants;
pub mod wait;
