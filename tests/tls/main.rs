//! TLS on both sides, over real sockets: what callers and endpoints see, and what is counted.
//!
//! Owns: a file per side, one for files that change, one for the tools that others use.
//! Must not: repeat what `dataplane/src/tls` shows without sockets.
//! Read next: `callers.rs`.

#![expect(clippy::float_cmp, reason = "metrics count, and counts are exact")]

mod callers;
mod endpoints;
mod files;
mod rig;
mod tools;
