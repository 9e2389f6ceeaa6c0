//! Admission: a request is bound to an endpoint as late as possible, and told when to come back if it cannot be.
//!
//! Owns: the queue in front of a backend and what opens it, as pure machines; no exchange waits in one yet.
//! Must not: choose the endpoint ([`crate::balance`]) or word a refusal ([`crate::refusal`]).
//! Read next: [`queue`], then [`open`], when there is room, and [`drain`], when to come back.

pub mod drain;
mod lanes;
pub mod open;
pub mod queue;
