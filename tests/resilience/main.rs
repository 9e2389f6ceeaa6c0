//! What ringway does when servers fail, or are too few: circuits, fallbacks, and the queue in front of a backend.
//!
//! Owns: claims over real sockets, against origins that do as they are told.
//! Must not: measure goodput; the acceptance scenarios do that.
//! Read next: `rig.rs`.

mod fallback;
mod health;
mod queue;
mod rig;
