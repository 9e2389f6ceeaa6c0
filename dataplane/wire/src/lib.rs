#![forbid(unsafe_code)]
//! Bytes to events, and back: HTTP/1.1, SSE and JSON spans.
//! Owns: grammar, framing, and the strictness of the fault rules (ids such as H1-FR-03).
//! Must not: do I/O, read a clock, know a socket, or allocate by an amount the peer chose.
//! Read next: `http1`, then `sse` and `json`.

pub mod bounds;
pub mod frames;
pub mod http1;
pub mod json;
mod sixteen;
pub mod sse;
