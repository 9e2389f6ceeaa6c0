//! HTTP/1.1 of ringway-wire, judged from outside.
//! Owns: a table per rule, foreign test cases, splits, round trips, and a second chunk decoder.
//! Must not: reach into the crate; what it cannot see, a peer cannot either.
//! Read next: `rules.rs`, the table of what is refused and why.

mod corpus;
mod differential;
mod drive;
mod llhttp;
mod props;
mod rewriting;
mod rules;
mod splits;
