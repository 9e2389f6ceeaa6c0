//! Response heads, from an upstream.
//! Owns: the status line, and the rules H1-UP-01 to H1-UP-09 and H1-UP-13. Must not: decide about retries or pooling;
//! the caller counts interim responses (H1-UP-08).
//! Read next: `claims.rs` for the framing, `write.rs` for the way on.

use super::claims::{Claims, Unclear};
use super::field::{Field, Known};
use super::grammar;
use super::lines::{Breach, Line, Lines};
use super::{Fault, Framing, HeadBounds, Parse, Rule, Span, Version};

/// What of the request decides how its response ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The request was HEAD: the response has no body whatever it says.
    pub head: bool,
}

/// What kind of body a response announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ContentKind {
    /// `application/json` or `*+json`.
    Json,
    /// `text/event-stream`.
    EventStream,
    /// `application/vnd.amazon.eventstream`: framed messages ([`crate::frames`]).
    Frames,
    /// Anything else, or nothing said.
    #[default]
    Other,
}

/// A response head: offsets into the buffer it was parsed from. Reusable. Every fault is a 502.
#[derive(Debug, Default)]
pub struct ResponseHead {
    phase: Phase,
    /// Everything before this was looked at; the field section keeps its own place.
    at: usize,
    lines: Lines,
    len: usize,
    status: u16,
    reason: Span,
    version: Version,
    claims: Claims,
    framing: Framing,
    declared_length: Option<u64>,
    kind: Option<ContentKind>,
    is_coded: bool,
    fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    StatusLine,
    Fields,
    /// Complete or refused; the next call begins anew.
    Over,
}

impl ResponseHead {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets a head that was begun. Needed only where one is abandoned half-way, not after `Complete` or a fault.
    pub fn reset(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

    /// Reads on, as `RequestHead::parse` does. Use `HeadBounds::RESPONSE`.
    pub fn parse(&mut self, buf: &[u8], bounds: &HeadBounds, asked: &Asked) -> Result<Parse, Fault> {
        if self.phase == Phase::Over {
            self.reset();
        }
        let head = &buf[..buf.len().min(bounds.head_bytes)];
        let mut parsed = self.read(head, bounds, *asked);
        if parsed == Ok(Parse::Partial) && head.len() == bounds.head_bytes {
            parsed = Err(Rule::H1Up13.fault());
        }
        if parsed != Ok(Parse::Partial) {
            self.phase = Phase::Over;
        }
        parsed
    }

    fn read(&mut self, head: &[u8], bounds: &HeadBounds, asked: Asked) -> Result<Parse, Fault> {
        if self.phase == Phase::StatusLine && !self.status_line(head, bounds.request_line_bytes)? {
            return Ok(Parse::Partial);
        }
        loop {
            match self.lines.next(head, bounds.field_line_bytes).map_err(fault_of_line)? {
                Line::Field { .. } if self.fields.len() == bounds.fields => return Err(Rule::H1Up13.fault()),
                Line::Field { name, value } => self.field(head, name, value)?,
                Line::End(len) => {
                    self.len = len;
                    return self.finish(head, asked).map(|()| Parse::Complete);
                }
                Line::More => return Ok(Parse::Partial),
            }
        }
    }

    /// Reads `HTTP/1.[01] SP 3DIGIT [SP reason] CRLF`; true once all of it was seen.
    fn status_line(&mut self, head: &[u8], line_bytes_max: usize) -> Result<bool, Fault> {
        let longest = line_bytes_max.saturating_add(2);
        let seen = &head[..head.len().min(longest)];
        if self.at < FIXED_BYTES {
            self.at = fixed_part(seen)?;
        }
        let whole = self.at >= FIXED_BYTES && self.reason_part(seen)?;
        if !whole {
            return if seen.len() == longest { Err(Rule::H1Up13.fault()) } else { Ok(false) };
        }
        self.version = if head[7] == b'1' { Version::Http11 } else { Version::Http10 };
        self.status = head[9..12].iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        self.phase = Phase::Fields;
        match self.status {
            101 => Err(Rule::H1Up09.fault()), // no request of ours asks for it: Upgrade is never forwarded
            100..=599 => Ok(true),
            _ => Err(Rule::H1Up07.fault()),
        }
    }

    /// `[SP reason] CRLF`.
    fn reason_part(&mut self, seen: &[u8]) -> Result<bool, Fault> {
        let has_reason = seen.get(FIXED_BYTES) == Some(&b' ');
        if has_reason {
            self.at = grammar::value_end(seen, self.at.max(FIXED_BYTES + 1));
        }
        match (seen.get(self.at), seen.get(self.at + 1)) {
            (None, _) | (Some(b'\r'), None) => return Ok(false),
            (Some(b'\r'), Some(b'\n')) => {}
            (Some(b'\n'), _) => return Err(Rule::H1Up04.fault()),
            (Some(_), _) if has_reason => return Err(Rule::H1Up06.fault()),
            (Some(_), _) => return Err(Rule::H1Up07.fault()),
        }
        self.reason = Span::new(self.at.min(FIXED_BYTES + usize::from(has_reason)), self.at);
        self.lines = Lines::starting(self.at + 2);
        Ok(true)
    }

    #[inline]
    fn field(&mut self, head: &[u8], name: Span, value: Span) -> Result<(), Fault> {
        let known = Known::of(name.of(head));
        self.fields.push(Field { name, value, known, hop: false });
        let bytes = value.of(head);
        self.claims.note(known, bytes);
        match known {
            Known::ContentType if self.kind.is_none() => self.kind = Some(content_kind(bytes)),
            Known::ContentEncoding => {
                self.is_coded |= !bytes.is_empty() && !bytes.eq_ignore_ascii_case(b"identity");
            }
            Known::Connection if self.claims.has_too_many_options() => {
                return Err(Rule::H1Co01.fault().by_upstream());
            }
            _ => {}
        }
        Ok(())
    }

    /// What only the whole head can show. RFC 9112 section 6.3, in its order.
    fn finish(&mut self, head: &[u8], asked: Asked) -> Result<(), Fault> {
        let claimed = self.claims.framing(self.version).map_err(fault_of_framing)?;
        if let Framing::Length(bytes) = claimed {
            self.declared_length = Some(bytes);
        }
        let has_no_body = asked.head || matches!(self.status, 100..=199 | 204 | 304);
        self.framing = match claimed {
            _ if has_no_body => Framing::None,
            Framing::None => Framing::UntilClose,
            Framing::Length(_) | Framing::Chunked | Framing::UntilClose => claimed,
        };
        self.claims.mark_hops(&mut self.fields, head);
        Ok(())
    }

    /// Bytes of the head, including the empty line.
    #[expect(clippy::len_without_is_empty, reason = "a complete head is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The status, 100 to 599; never 101.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase, possibly empty.
    pub fn reason(&self) -> Span {
        self.reason
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How the body on the upstream's connection ends (`None` for HEAD, 1xx, 204 and 304). A 205 may have a body here
    /// that the client must not get: see `write_response`.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Content-Length as announced, even where no body follows.
    pub fn declared_length(&self) -> Option<u64> {
        self.declared_length
    }

    /// Whether the upstream lets the connection live on, as far as the head says.
    pub fn keep_alive(&self) -> bool {
        self.claims.may_live_on(self.version) && self.framing != Framing::UntilClose
    }

    /// 1xx: another head follows.
    pub fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// The announced kind of body.
    pub fn content_kind(&self) -> ContentKind {
        self.kind.unwrap_or_default()
    }

    /// `text/event-stream`.
    pub fn is_event_stream(&self) -> bool {
        self.content_kind() == ContentKind::EventStream
    }

    /// A content coding other than identity is applied: the body is opaque (H1-UP-16).
    pub fn has_content_coding(&self) -> bool {
        self.is_coded
    }

    /// All fields, in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The value of the first field of that name, any case.
    pub fn find<'b>(&self, buf: &'b [u8], name: &str) -> Option<&'b [u8]> {
        super::field::find(&self.fields, buf, name)
    }
}

/// Bytes of `HTTP/1.1 200`.
const FIXED_BYTES: usize = 12;

/// Checks what is there of `HTTP/1.[01] SP 3DIGIT`, and says how much that is.
fn fixed_part(seen: &[u8]) -> Result<usize, Fault> {
    if let Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', status @ ..]) =
        seen.first_chunk::<FIXED_BYTES>()
        && status.iter().all(u8::is_ascii_digit)
    {
        return Ok(FIXED_BYTES);
    }
    for (at, &byte) in seen.iter().take(FIXED_BYTES).enumerate() {
        let sound = match at {
            7 => matches!(byte, b'0' | b'1'),
            9..=11 => byte.is_ascii_digit(),
            _ => byte == b"HTTP/1.1 200"[at],
        };
        if !sound {
            return Err(Rule::H1Up07.fault());
        }
    }
    Ok(seen.len().min(FIXED_BYTES))
}

fn content_kind(value: &[u8]) -> ContentKind {
    let media = value.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    let ends_in_json = media.len() >= 5 && media[media.len() - 5..].eq_ignore_ascii_case(b"+json");
    if media.eq_ignore_ascii_case(b"text/event-stream") {
        ContentKind::EventStream
    } else if media.eq_ignore_ascii_case(b"application/json") || ends_in_json {
        ContentKind::Json
    } else if media.eq_ignore_ascii_case(b"application/vnd.amazon.eventstream") {
        ContentKind::Frames
    } else {
        ContentKind::Other
    }
}

const fn fault_of_line(breach: Breach) -> Fault {
    match breach {
        Breach::BareLf => Rule::H1Up04,
        Breach::BareCr | Breach::Control => Rule::H1Up06,
        Breach::Fold | Breach::LeadingSpace | Breach::SpaceBeforeColon => Rule::H1Up05,
        Breach::BadName => Rule::H1Sy08, // section 2 has no row of its own for this
        Breach::TooLong => Rule::H1Up13,
    }
    .fault()
    .by_upstream()
}

const fn fault_of_framing(unclear: Unclear) -> Fault {
    match unclear {
        Unclear::Both => Rule::H1Up01,
        Unclear::Lengths | Unclear::BadLength => Rule::H1Up02,
        Unclear::OldCoding | Unclear::Codings | Unclear::BadCoding => Rule::H1Up03,
    }
    .fault()
}
