//! Reads the load of inference servers, probes their health, and passes both to the data plane.
//!
//! Owns: which names each engine gives to its numbers, the parser of their pages, and the rounds of reading them.
//! Must not: hold up or decide anything. A server that tells nothing is routed to by our own counts; it is not worse
//! than one that does (spec routing.md section 3, rule 2).
//! Read next: `engine.rs`, the names; `page.rs`, the parser; `rounds.rs`, all endpoints; `watch.rs`, one of them.

pub mod engine;
mod fetch;
mod json;
mod outbox;
pub mod page;
#[cfg(test)]
mod page_tests;
pub mod reading;
pub mod restart;
mod rounds;
pub mod target;
mod text;
mod trouble;
mod watch;

pub use engine::{Dialect, dialect, health};
pub use page::{Scratch, read};
pub use reading::{Adapters, Reading};
pub use rounds::Scraper;
pub use target::{Health, Metrics, Secure, Target};
pub use trouble::Troubles;
