//! Server-sent events, read as they pass.
//! Owns: lines and events at any split, and what providers say in them (first token, usage, end, error).
//! Must not: change, hold back or copy the stream; the bytes are on their way before we look. Only `sieve.rs` does, where the
//! caller is not to see what we asked for.
//! Read next: `observer.rs` (what the relay calls), then `scanner.rs` (lines to fields).

mod kind;
mod marks;
mod meaning;
mod observer;
mod reader;
mod scanner;
mod sieve;
mod unary;

pub use observer::{Observer, Seen, Shape, Usage};
pub use reader::{Event, Reader};
pub use scanner::{Field, Scanner, Sink};
pub use sieve::Sieve;
pub use unary::UnaryObserver;
