//! Events as the standard has them (WHATWG HTML, section 9.2.6).
//! Owns: one event's buffer, within its bound. Must not: dispatch an unterminated event.
//! Read next: `scanner.rs`.

/// One event. The bytes are as received: what is not UTF-8 reads as U+FFFD (`String::from_utf8_lossy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The event's name; `message` where the stream gives none.
    pub event: &'a [u8],
    /// The data lines, joined by line feeds.
    pub data: &'a [u8],
    /// The last event id.
    pub id: &'a [u8],
}

/// Yields whole events from a stream cut anywhere.
#[derive(Debug, Default)]
pub struct Reader {}

impl Reader {
    /// A reader at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }
    /// Begins anew and keeps the buffers.
    pub fn reset(&mut self) {}
    /// Takes the next bytes and hands out each event that ends in them.
    pub fn feed(&mut self, _bytes: &[u8], _each: impl FnMut(Event<'_>)) {}
    /// The event that has no blank line yet, for a decoder that takes a complete JSON tail at the end of the stream.
    pub fn unfinished(&self) -> Option<Event<'_>> {
        None
    }
    /// The last event id.
    pub fn last_id(&self) -> &[u8] {
        &[]
    }
    /// The reconnection time the stream asked for, in milliseconds.
    pub fn retry(&self) -> Option<u64> {
        None
    }
    /// Events skipped because they are larger than [`crate::bounds::SSE_EVENT_BYTES_MAX`].
    pub fn skipped(&self) -> u64 {
        0
    }
}
