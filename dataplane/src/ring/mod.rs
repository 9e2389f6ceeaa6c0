//! The only room with `unsafe`: buffers the kernel writes into, sockets shared by two directions, the driver.
//!
//! Owns: what must be argued rather than checked. Every other room sees safe types: [`Buffer`], [`Socket`],
//! [`Inbox`], [`Out`], [`Mailbox`], [`Guarded`].
//! Must not: know HTTP, routes, or why bytes move.
//! Read next: `socket.rs`, whose rule (the ring brings readiness, never bytes) shapes the rest.
#![allow(unsafe_code, reason = "this is the room for it")]

mod buffer;
mod driver;
mod guard;
mod mailbox;
mod secure;
mod socket;

pub use buffer::{Buffer, Buffers, Out, Parcel, Size};
pub use driver::{Driver, IoChoice, allowed_cores, pin_to_core, run};
pub use guard::Guarded;
pub use mailbox::{Letterbox, Mailbox, mailbox};
pub use socket::{Inbox, Received, Room, Socket};
