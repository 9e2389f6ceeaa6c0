//! Events as the standard has them (WHATWG HTML, section 9.2.6).
//! Owns: one event's buffer, within its bound, and the last event id.
//! Must not: dispatch an unterminated event, or grow with what the peer sends.
//! Read next: `scanner.rs`, which tells the fields.

use super::scanner::{Field, Scanner, Sink};
use crate::bounds::SSE_EVENT_BYTES_MAX;
use memchr::memchr;

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

/// Yields whole events from a stream cut anywhere. Warm, it allocates nothing: events are lent from its buffers.
#[derive(Debug)]
pub struct Reader {
    scanner: Scanner,
    pending: Pending,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader at the beginning of a stream.
    pub fn new() -> Self {
        Self::with_event_bytes_max(SSE_EVENT_BYTES_MAX)
    }

    /// A reader with a lower bound on one event.
    pub fn with_event_bytes_max(bytes: usize) -> Self {
        Self { scanner: Scanner::new(), pending: Pending { bytes_max: bytes, ..Pending::default() } }
    }

    /// Begins anew and keeps the buffers.
    pub fn reset(&mut self) {
        self.scanner = Scanner::new();
        self.pending.begin_event();
        self.pending.id.clear();
        self.pending.last_id.clear();
        self.pending.retry = None;
        self.pending.skipped = 0;
    }

    /// Takes the next bytes and hands out each event that ends in them.
    pub fn feed(&mut self, bytes: &[u8], each: impl FnMut(Event<'_>)) {
        self.scanner.feed(bytes, &mut Feed { pending: &mut self.pending, each });
    }

    /// The event that has no blank line yet. The standard drops it at the end of the stream; a decoder of provider
    /// streams takes it if its data is complete JSON.
    pub fn unfinished(&self) -> Option<Event<'_>> {
        self.pending.event()
    }

    /// The last event id, as of the last blank line.
    pub fn last_id(&self) -> &[u8] {
        &self.pending.last_id
    }

    /// The reconnection time the stream asked for, in milliseconds.
    pub fn retry(&self) -> Option<u64> {
        self.pending.retry
    }

    /// Events skipped because they are larger than the bound ([`SSE_EVENT_BYTES_MAX`] by default).
    pub fn skipped(&self) -> u64 {
        self.pending.skipped
    }
}

/// The event that is being read.
#[derive(Debug, Default)]
struct Pending {
    bytes_max: usize,
    data: Vec<u8>,
    /// A data line has begun: an event may have empty data.
    has_data: bool,
    name: Vec<u8>,
    id: Vec<u8>,
    last_id: Vec<u8>,
    /// The value of an `id` or `retry` line until its end; both are judged whole.
    line: Vec<u8>,
    /// The event is larger than the bound.
    over: bool,
    retry: Option<u64>,
    skipped: u64,
}

impl Pending {
    fn begin_event(&mut self) {
        self.data.clear();
        self.name.clear();
        self.line.clear();
        self.has_data = false;
        self.over = false;
    }

    fn event(&self) -> Option<Event<'_>> {
        let event = if self.name.is_empty() { b"message" } else { self.name.as_slice() };
        (self.has_data && !self.over).then_some(Event { event, data: &self.data, id: &self.id })
    }

    /// Is there room for so many more bytes? If not, the event is dropped as a whole.
    fn admits(&mut self, more: usize) -> bool {
        let held = self.data.len() + self.name.len() + self.line.len();
        if !self.over && held + more > self.bytes_max {
            self.over = true;
            self.data.clear();
            self.name.clear();
            self.line.clear();
        }
        !self.over
    }

    fn data(&mut self, piece: &[u8], first: bool) {
        let join = first && self.has_data;
        self.has_data = true;
        if self.admits(piece.len() + usize::from(join)) {
            if join {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(piece);
        }
    }

    fn name(&mut self, piece: &[u8], first: bool) {
        if first {
            self.name.clear();
        }
        if self.admits(piece.len()) {
            self.name.extend_from_slice(piece);
        }
    }

    fn line(&mut self, piece: &[u8], first: bool) {
        if first {
            self.line.clear();
        }
        if self.admits(piece.len()) {
            self.line.extend_from_slice(piece);
        }
    }

    fn id_ended(&mut self) {
        if !self.over && memchr(0, &self.line).is_none() {
            self.id.clear();
            self.id.extend_from_slice(&self.line);
        }
        self.line.clear();
    }

    fn retry_ended(&mut self) {
        let digits = !self.line.is_empty() && self.line.iter().all(u8::is_ascii_digit);
        if digits
            && let Some(millis) = std::str::from_utf8(&self.line).ok().and_then(|text| text.parse().ok())
        {
            self.retry = Some(millis);
        }
        self.line.clear();
    }
}

struct Feed<'r, F> {
    pending: &'r mut Pending,
    each: F,
}

impl<'a, F: FnMut(Event<'_>)> Sink<'a> for Feed<'_, F> {
    fn value(&mut self, field: Field, piece: &'a [u8], first: bool, last: bool) {
        match field {
            Field::Data => self.pending.data(piece, first),
            Field::Event => self.pending.name(piece, first),
            Field::Id | Field::Retry => self.pending.line(piece, first),
        }
        match field {
            Field::Id if last => self.pending.id_ended(),
            Field::Retry if last => self.pending.retry_ended(),
            Field::Id | Field::Retry | Field::Data | Field::Event => {}
        }
    }

    fn dispatch(&mut self) {
        self.pending.last_id.clone_from(&self.pending.id);
        self.pending.skipped += u64::from(self.pending.over);
        if let Some(event) = self.pending.event() {
            (self.each)(event);
        }
        self.pending.begin_event();
    }
}
