//! Bytes to fields, at any split (WHATWG HTML, section 9.2.6).
//! Owns: line ends, the byte order mark, field names. Must not: copy values.
//! Read next: `reader.rs` (events as the standard has them).

/// The fields the standard knows.
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

/// What the scanner tells, in the order of the stream. `'a` is the fed slice: values are never copied.
pub trait Sink<'a> {
    /// A piece of a field's value: `first` begins it, `last` ends its line.
    fn value(&mut self, field: Field, piece: &'a [u8], first: bool, last: bool);
    /// A blank line.
    fn dispatch(&mut self);
}

/// Splits a stream into fields and blank lines.
#[derive(Debug, Default)]
pub struct Scanner {}

impl Scanner {
    /// A scanner at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }
    /// Takes the next bytes of the stream.
    pub fn feed<'a>(&mut self, _bytes: &'a [u8], _sink: &mut impl Sink<'a>) {}
}
