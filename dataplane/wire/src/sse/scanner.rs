//! Bytes to fields, at any split (WHATWG HTML, section 9.2.6).
//! Owns: line ends, the byte order mark, field names and the one space after the colon.
//! Must not: copy a value, or keep more of a line than its name.
//! Read next: `reader.rs` (events as the standard has them), `observer.rs` (what providers say in them).

use memchr::{memchr, memchr2};

/// The fields the standard knows. Lines with other names, and comments, are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `data`
    Data,
    /// `event`
    Event,
    /// `id`
    Id,
    /// `retry`
    Retry,
}

impl Field {
    const fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"data" => Some(Self::Data),
            b"event" => Some(Self::Event),
            b"id" => Some(Self::Id),
            b"retry" => Some(Self::Retry),
            _ => None,
        }
    }
}

/// What the scanner tells, in the order of the stream. `'a` is the fed slice: values are never copied.
pub trait Sink<'a> {
    /// A piece of a field's value: `first` begins it, `last` ends its line. Only the last piece may be empty.
    fn value(&mut self, field: Field, piece: &'a [u8], first: bool, last: bool);
    /// A blank line.
    fn dispatch(&mut self);
}

const NAME_BYTES_MAX: usize = "event".len();
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Where in a line the next byte falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the beginning of the stream; so many bytes of a byte order mark have passed.
    Mark {
        seen: u8,
    },
    LineStart,
    /// In a line whose name is not known yet.
    Name {
        len: u8,
    },
    /// In a value. `first`: nothing of it was told yet; `space`: a space here is not part of it.
    Value {
        field: Field,
        first: bool,
        space: bool,
    },
    /// In a line that nobody wants.
    Passed,
}

/// Splits a stream into fields and blank lines.
///
/// A carriage return at the end of a feed ends its line at once; a line feed that follows in the next is its rest.
#[derive(Clone, Debug)]
pub struct Scanner {
    place: Place,
    name: [u8; NAME_BYTES_MAX],
    /// The last byte was a carriage return.
    after_cr: bool,
    /// Lines have passed since the last blank one.
    in_event: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner at the beginning of a stream.
    pub const fn new() -> Self {
        Self { place: Place::Mark { seen: 0 }, name: [0; NAME_BYTES_MAX], after_cr: false, in_event: false }
    }

    /// Whether the next byte begins a line: no line was cut in the middle.
    pub fn is_at_line_start(&self) -> bool {
        match self.place {
            Place::Mark { seen } => seen == 0,
            Place::LineStart => true,
            Place::Name { .. } | Place::Value { .. } | Place::Passed => false,
        }
    }

    /// Whether the next byte begins an event: nothing of one has come, not even a comment before it.
    pub fn is_between_events(&self) -> bool {
        self.is_at_line_start() && !self.in_event && !self.after_cr
    }

    /// Takes the next bytes of the stream.
    pub fn feed<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink<'a>) {
        let mut rest = bytes;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while !rest.is_empty() {
            rest = match self.place {
                Place::LineStart => self.line(rest, sink),
                Place::Value { field, first, space } => self.value(field, first, space, rest, sink),
                Place::Name { len } => self.name(usize::from(len), rest, sink),
                Place::Passed => self.pass(rest),
                Place::Mark { seen } => self.mark(seen, rest),
            };
        }
    }

    /// A line from its beginning: the whole of it, almost always.
    fn line<'a>(&mut self, rest: &'a [u8], sink: &mut impl Sink<'a>) -> &'a [u8] {
        if matches!(rest[0], b'\n' | b'\r') {
            sink.dispatch();
            self.in_event = false;
            return self.end_line(rest, 0);
        }
        self.in_event = true;
        let Some(end) = memchr2(b'\n', b'\r', rest) else {
            self.place = Place::Name { len: 0 };
            return rest;
        };
        if let Some((field, value)) = split(&rest[..end]) {
            sink.value(field, value, true, true);
        }
        self.end_line(rest, end)
    }

    /// The name of a line that does not end in this feed.
    fn name<'a>(&mut self, mut len: usize, rest: &'a [u8], sink: &mut impl Sink<'a>) -> &'a [u8] {
        for (n, &byte) in rest.iter().enumerate() {
            let field = Field::of(&self.name[..len]);
            match byte {
                b'\n' | b'\r' => {
                    if let Some(field) = field {
                        sink.value(field, &[], true, true);
                    }
                    return self.end_line(rest, n);
                }
                b':' => {
                    self.place =
                        field.map_or(Place::Passed, |field| Place::Value { field, first: true, space: true });
                    return &rest[n + 1..];
                }
                _ if len == NAME_BYTES_MAX => {
                    self.place = Place::Passed;
                    return &rest[n..];
                }
                _ => {
                    self.name[len] = byte;
                    len += 1;
                }
            }
        }
        self.place = Place::Name { len: len as u8 };
        &[]
    }

    fn value<'a>(
        &mut self,
        field: Field,
        first: bool,
        space: bool,
        rest: &'a [u8],
        sink: &mut impl Sink<'a>,
    ) -> &'a [u8] {
        let rest = if space { rest.strip_prefix(b" ").unwrap_or(rest) } else { rest };
        if let Some(end) = memchr2(b'\n', b'\r', rest) {
            sink.value(field, &rest[..end], first, true);
            return self.end_line(rest, end);
        }
        if !rest.is_empty() {
            sink.value(field, rest, first, false);
        }
        self.place = Place::Value { field, first: first && rest.is_empty(), space: false };
        &[]
    }

    fn pass<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        match memchr2(b'\n', b'\r', rest) {
            Some(end) => self.end_line(rest, end),
            None => &[],
        }
    }

    /// A byte order mark, or the beginning of one: then the line has a name that nobody knows.
    fn mark<'a>(&mut self, seen: u8, rest: &'a [u8]) -> &'a [u8] {
        let wanted = &BYTE_ORDER_MARK[usize::from(seen)..];
        if rest[0] != wanted[0] {
            self.place = if seen == 0 { Place::LineStart } else { Place::Passed };
            return rest;
        }
        self.place = if wanted.len() == 1 { Place::LineStart } else { Place::Mark { seen: seen + 1 } };
        &rest[1..]
    }

    /// The line ends at `rest[end]`; returns what follows.
    fn end_line<'a>(&mut self, rest: &'a [u8], end: usize) -> &'a [u8] {
        self.place = Place::LineStart;
        let after = &rest[end + 1..];
        if rest[end] == b'\n' {
            return after;
        }
        self.after_cr = after.is_empty();
        after.strip_prefix(b"\n").unwrap_or(after)
    }
}

/// A whole line to field and value.
fn split(line: &[u8]) -> Option<(Field, &[u8])> {
    let (field, value) = match line.strip_prefix(b"data:") {
        Some(value) => (Field::Data, value),
        None => match memchr(b':', line) {
            Some(colon) => (Field::of(&line[..colon])?, &line[colon + 1..]),
            None => (Field::of(line)?, &[][..]),
        },
    };
    Some((field, value.strip_prefix(b" ").unwrap_or(value)))
}
