//! Callers of one dialect at backends of another, over real sockets.
//!
//! Owns: what of a caller's is translated, and what becomes of the rest.
//! Must not: repeat what the dialect crate's own tests tell of each field.
//! Read next: `rig.rs`.

mod beside;
mod calls;
mod catalogue;
mod credentials;
mod hosted;
mod minted;
mod rig;
mod usage;
