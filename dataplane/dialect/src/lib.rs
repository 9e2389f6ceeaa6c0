//! The grammars callers and backends speak, and the way from each to each.
//!
//! Owns: which grammar a path speaks ([`surface`]), one common model ([`model`]) with a reader and a writer for every
//! dialect of requests, answers, streams and errors, and the words of our own errors ([`errors`]).
//! Must not: do I/O, read a clock, know of routes and endpoints, or lose anything without saying so.
//! Traffic between equal dialects does not come here: it is passed on byte for byte.
//! Read next: [`surface`], then [`model`], then [`stream`].

#![forbid(unsafe_code)]
#![expect(clippy::match_same_arms, reason = "a table keeps rows apart that are alike for different reasons")]
#![expect(clippy::needless_for_each, reason = "a `for` over an `Option` reads worse")]

pub mod answer_id;
pub mod anthropic;
pub mod bounds;
pub mod chat;
pub mod custom;
pub mod data_url;
pub mod dialect;
pub mod errors;
pub mod failure_in;
pub mod failure_out;
pub mod json;
pub mod model;
pub mod stream;
pub mod surface;
pub mod translate;
pub mod unfold;
