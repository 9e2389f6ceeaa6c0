//! Faults of upstreams and callers over real sockets, a test per row of spec sections 4 and 5.
//!
//! Owns: for each row the status or kind of abort, the exact bytes, the time, the attempts at the origin, the
//! reason in the log, and that every gauge is back afterwards.
//! Must not: judge syntax; that is `rfc9112/`.
//! Read next: `rig.rs`, then `upstream_connect.rs`.

mod callers;
mod callers_stalling;
mod rig;
mod upstream_answer;
mod upstream_connect;
mod upstream_head;
mod upstream_stream;
