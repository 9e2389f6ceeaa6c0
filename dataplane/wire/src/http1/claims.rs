//! What a head's fields say about the end of its body and the life of its connection.
//! Owns: Content-Length, Transfer-Encoding and Connection, weighed together. Must not: know which side is speaking;
//! each side has its own rule ids for the same breach.
//! Read next: `request.rs`, `response.rs`.

use super::field::{Field, Known};
use super::grammar::{Reader, list};
use super::{Framing, Version};
use crate::bounds::{ANNOUNCED_BYTES_MAX, CONNECTION_OPTIONS_MAX, LENGTH_DIGITS_MAX};

/// Why the framing of a head is not clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unclear {
    /// Content-Length and Transfer-Encoding.
    Both,
    /// Several lengths.
    Lengths,
    /// A length that is none.
    BadLength,
    /// A transfer coding in HTTP/1.0.
    OldCoding,
    /// A sound list of codings that ends in `chunked`.
    Codings,
    /// Any other Transfer-Encoding.
    BadCoding,
}

/// Notes taken while the fields of one head go by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Claims {
    length_lines: u32,
    length: Length,
    codings: Codings,
    /// `Connection: close`, on any line.
    pub(super) close: bool,
    /// `Connection: keep-alive`, on any line.
    pub(super) keep_alive: bool,
    /// A `Connection` option names a framing field.
    pub(super) options_name_framing: bool,
    /// Options that name some other field.
    options: usize,
}

impl Claims {
    /// Takes note of one field.
    #[inline]
    pub(super) fn note(&mut self, known: Known, value: &[u8]) {
        match known {
            Known::ContentLength => {
                self.length_lines += 1;
                self.length = Length::read(value);
            }
            Known::TransferEncoding => self.codings.read(value),
            Known::Connection => self.connection(value),
            _ => {}
        }
    }

    fn connection(&mut self, value: &[u8]) {
        for option in list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else {
                self.options += usize::from(is_removable(option));
                let known = Known::of(option);
                self.options_name_framing |= matches!(known, Known::ContentLength | Known::TransferEncoding);
            }
        }
    }

    /// More options than the bound, so that `mark_hops` stays cheap.
    pub(super) const fn has_too_many_options(&self) -> bool {
        self.options > CONNECTION_OPTIONS_MAX
    }

    /// The framing, if it can mean one thing only. `None` where nothing was said.
    pub(super) fn framing(&self, version: Version) -> Result<Framing, Unclear> {
        match (self.length_lines, self.codings.lines) {
            (0, 0) => Ok(Framing::None),
            (1.., 1..) => Err(Unclear::Both),
            (2.., 0) => Err(Unclear::Lengths),
            (1, 0) => match self.length {
                Length::Bytes(bytes) => Ok(Framing::Length(bytes)),
                Length::List => Err(Unclear::Lengths),
                Length::Malformed => Err(Unclear::BadLength),
            },
            (0, 1..) if version == Version::Http10 => Err(Unclear::OldCoding),
            (0, 1..) => self.codings.verdict(),
        }
    }

    /// Whether the connection may be used again, as far as this head says.
    pub(super) const fn may_live_on(&self, version: Version) -> bool {
        match version {
            Version::Http11 => !self.close,
            Version::Http10 => self.keep_alive && !self.close,
        }
    }

    /// Marks the fields that `Connection` names, but for those an option cannot remove (H1-CO-02).
    #[inline]
    pub(super) fn mark_hops(&self, fields: &mut [Field], buf: &[u8]) {
        if self.options > 0 {
            mark(fields, buf);
        }
    }
}

#[cold]
fn mark(fields: &mut [Field], buf: &[u8]) {
    for at in 0..fields.len() {
        if fields[at].known != Known::Connection {
            continue;
        }
        for option in list(fields[at].value.of(buf)).filter(|option| is_removable(option)) {
            for field in &mut *fields {
                field.hop |= field.name.of(buf).eq_ignore_ascii_case(option);
            }
        }
    }
}

/// Names the gateway knows either always end here or never do, and so does all that describes the content.
fn is_removable(option: &[u8]) -> bool {
    let is_content = option.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"));
    Known::of(option) == Known::Other && !is_content
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Length {
    Bytes(u64),
    List,
    #[default]
    Malformed,
}

impl Length {
    /// Digits only: a general integer parser would take `+5`.
    fn read(value: &[u8]) -> Length {
        if !(1..=LENGTH_DIGITS_MAX).contains(&value.len()) {
            return Length::not_one(value);
        }
        let mut bytes = 0;
        for digit in value.iter().map(|byte| byte.wrapping_sub(b'0')) {
            if digit > 9 {
                return Length::not_one(value);
            }
            bytes = bytes * 10 + u64::from(digit);
        }
        if bytes <= ANNOUNCED_BYTES_MAX { Length::Bytes(bytes) } else { Length::Malformed }
    }

    #[cold]
    fn not_one(value: &[u8]) -> Length {
        if value.contains(&b',') { Length::List } else { Length::Malformed }
    }
}

/// Transfer-Encoding, all lines as one list.
#[derive(Clone, Copy, Debug, Default)]
struct Codings {
    lines: u32,
    elements: u32,
    ends_in_chunked: bool,
    malformed: bool,
}

impl Codings {
    fn read(&mut self, value: &[u8]) {
        self.lines += 1;
        let mut reader = Reader::new(value);
        loop {
            reader.blanks();
            let coding = reader.token();
            self.malformed |= coding.is_empty();
            self.elements += 1;
            self.ends_in_chunked = coding.eq_ignore_ascii_case(b"chunked");
            reader.blanks();
            while reader.eat(b';') {
                self.ends_in_chunked = false; // `chunked` has no parameters
                self.malformed |= !parameter(&mut reader);
            }
            if !reader.eat(b',') {
                break;
            }
        }
        self.malformed |= !reader.is_at_end();
    }

    const fn verdict(&self) -> Result<Framing, Unclear> {
        match (self.malformed, self.ends_in_chunked, self.elements) {
            (false, true, 1) => Ok(Framing::Chunked),
            (false, true, _) => Err(Unclear::Codings),
            (true, _, _) | (_, false, _) => Err(Unclear::BadCoding),
        }
    }
}

/// `OWS token BWS "=" BWS ( token / quoted-string ) OWS`
fn parameter(reader: &mut Reader<'_>) -> bool {
    reader.blanks();
    let named = !reader.token().is_empty();
    reader.blanks();
    let equals = reader.eat(b'=');
    reader.blanks();
    let valued = reader.token_or_quoted();
    reader.blanks();
    named && equals && valued
}
