//! Conformance of the running gateway with RFC 9112 and 9110, a file per section, a test per rule.
//!
//! Owns: every rule of spec sections 1 (towards callers) and 2 (towards upstreams), by its id.
//! Must not: share a parser with the data plane; bytes are literals here.
//! Read next: `rig.rs` for how a case is judged, then any section.

mod limits;
mod rig;
mod s2_message;
mod s3_request_line;
mod s4_upstream_answers;
mod s5_fields;
mod s6_body;
mod s7_chunked;
mod s8_incomplete;
mod s9_connection;
mod s9_to_callers;
