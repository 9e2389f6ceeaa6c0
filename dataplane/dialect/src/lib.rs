//! The grammars callers and backends speak: OpenAI, Anthropic, Gemini.
//!
//! Owns: which grammar a path speaks ([`surface`]) and how each words an error ([`errors`]).
//! Must not: do I/O, read a clock, or know of routes and endpoints.
//! Read next: [`surface`].
#![forbid(unsafe_code)]

pub mod errors;
pub mod json;
pub mod surface;
