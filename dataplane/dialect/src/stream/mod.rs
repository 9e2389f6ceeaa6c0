//! Streams: bytes to events of the common model, and back.
//!
//! ```text
//! bytes, cut anywhere -> Frames -> data of one event -> ReadStream -> Event -> WriteStream -> bytes
//! ```
//! Owns: the framing that all dialects share, and what a reader and a writer of a stream must be able to do.
//! Must not: know what an event says.
//! Read next: `frames.rs`; then a dialect's `stream_in.rs` and `stream_out.rs`.

mod frames;
mod whole;

pub use frames::{Frame, Frames};
pub use whole::Whole;

use crate::json::Value;
use crate::model::{Event, Sink};

/// Reads one stream of one dialect. A state machine: its states and what moves them are a table in its module.
pub trait ReadStream {
    /// Takes the data of one event, which has this name (empty: none).
    fn data(&mut self, name: &str, data: Value<'_>, sink: &mut impl Sink);
    /// Takes `[DONE]`.
    fn done(&mut self, sink: &mut impl Sink);
    /// The body has ended; `clean` if the transport says in good order. What is not whole then is an error, never a
    /// success.
    fn ended(&mut self, clean: bool, sink: &mut impl Sink);
    /// `End` or `Error` was handed out: whatever still comes is passed over.
    fn is_over(&self) -> bool;
    /// Something that is not an event of this dialect came: a text that is not JSON, or an event too large.
    fn broken(&mut self, what: &'static str, sink: &mut impl Sink);
}

/// Writes one stream of one dialect. It appends to what it is given and keeps nothing but what its grammar wants in
/// another order.
pub trait WriteStream {
    /// Takes the next event.
    fn take(&mut self, event: &Event<'_>, out: &mut Vec<u8>);
    /// The body must now be broken off: the dialect has no other way to say that it failed (Gemini).
    fn wants_abort(&self) -> bool {
        false
    }
}
