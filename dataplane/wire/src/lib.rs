#![forbid(unsafe_code)]
//! See ARCHITECTURE.md.

pub mod bounds;
pub mod json;
pub mod sse;
