//! Request heads, from a client or (in tests) from ourselves.
//! Owns: the request line, Host, and every rule of H1-FR, H1-SY, H1-HO and H1-CO a head alone can break.
//! Must not: know a route or a listener; what depends on those (H1-FR-04, H1-HO-03's scheme, H1-SY-13, H1-SY-14's
//! Allow) the caller asks for.
//! Read next: `lines.rs` for the fields, `claims.rs` for the framing, `body.rs` for what follows.

use super::claims::{Claims, Unclear};
use super::field::{Field, Known};
use super::grammar::{self, TARGET, TCHAR};
use super::lines::{Breach, Line, Lines};
use super::{Fault, Framing, HeadBounds, Parse, Rule, Span, Version};
use crate::bounds::METHOD_BYTES_MAX;

/// The methods that mean something to the gateway. Methods are case-sensitive: `get` is `Other`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// OPTIONS.
    Options,
    /// PATCH.
    Patch,
    /// Any other token.
    #[default]
    Other,
}

/// The scheme an absolute-form target names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

/// A request head: offsets into the buffer it was parsed from. Reusable; allocates only while its field list grows.
#[derive(Debug, Default)]
pub struct RequestHead {
    phase: Phase,
    /// Everything before this was looked at; the field section keeps its own place.
    at: usize,
    lines: Lines,
    begin: usize,
    len: usize,
    method: Method,
    method_span: Span,
    target: Span,
    path: Span,
    query: Option<Span>,
    is_about_the_server: bool,
    scheme: Option<Scheme>,
    authority: Span,
    host: Span,
    hosts: u32,
    version: Version,
    claims: Claims,
    expects: u32,
    expects_continue: bool,
    framing: Framing,
    fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Leading,
    Method,
    Target,
    Version,
    Fields,
    /// Complete or refused; the next call begins anew.
    Over,
}

impl RequestHead {
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

    /// Reads on: `buf` starts with the same bytes as at the last `Partial`, with more behind them. No byte is looked
    /// at twice. Bytes behind the head are not looked at.
    pub fn parse(&mut self, buf: &[u8], bounds: &HeadBounds) -> Result<Parse, Fault> {
        if self.phase == Phase::Over {
            self.reset();
        }
        let head = &buf[..buf.len().min(bounds.head_bytes)];
        let mut parsed = self.read(head, bounds);
        if parsed == Ok(Parse::Partial) && head.len() == bounds.head_bytes {
            parsed = Err(Rule::S8Head.fault());
        }
        if parsed != Ok(Parse::Partial) {
            self.phase = Phase::Over;
        }
        parsed
    }

    fn read(&mut self, head: &[u8], bounds: &HeadBounds) -> Result<Parse, Fault> {
        if self.phase != Phase::Fields && !self.request_line(head, bounds.request_line_bytes)? {
            return Ok(Parse::Partial);
        }
        loop {
            match self.lines.next(head, bounds.field_line_bytes).map_err(fault_of_line)? {
                Line::Field { .. } if self.fields.len() == bounds.fields => return Err(Rule::S8Head.fault()),
                Line::Field { name, value } => self.field(head, name, value)?,
                Line::End(len) => {
                    self.len = len;
                    return self.finish(head).map(|()| Parse::Complete);
                }
                Line::More => return Ok(Parse::Partial),
            }
        }
    }

    /// Reads the request line; true once all of it was seen.
    fn request_line(&mut self, head: &[u8], line_bytes_max: usize) -> Result<bool, Fault> {
        if self.phase == Phase::Leading && !self.leading(head)? {
            return Ok(false);
        }
        let longest = self.begin.saturating_add(line_bytes_max).saturating_add(2);
        let seen = &head[..head.len().min(longest)];
        let whole = (self.phase != Phase::Method || self.read_method(seen)?)
            && (self.phase != Phase::Target || self.read_target(seen)?)
            && self.read_version(seen)?;
        if !whole && seen.len() == longest { Err(Rule::S8RequestLine.fault()) } else { Ok(whole) }
    }

    /// One empty line may come first: H1-SY-10. Old clients send it behind a body.
    fn leading(&mut self, head: &[u8]) -> Result<bool, Fault> {
        let Some(&first) = head.get(self.begin) else { return Ok(false) };
        if first != b'\r' {
            self.at = self.begin;
            self.phase = Phase::Method;
            return Ok(true);
        }
        match head.get(self.begin + 1) {
            Some(b'\n') if self.begin > 0 => Err(Rule::H1Sy10.fault()),
            Some(b'\n') => {
                self.begin = 2;
                self.leading(head)
            }
            Some(_) => Err(Rule::H1Sy02.fault()),
            None => Ok(false),
        }
    }

    fn read_method(&mut self, seen: &[u8]) -> Result<bool, Fault> {
        self.at = grammar::skip(seen, self.at, TCHAR);
        let method = &seen[self.begin..self.at];
        if method.len() > METHOD_BYTES_MAX {
            return Err(Rule::H1Sy14.fault());
        }
        match seen.get(self.at) {
            None => return Ok(false),
            Some(b' ') if !method.is_empty() => {}
            Some(0x16) if method.is_empty() => return Err(Rule::H1Sy16.fault()), // a TLS handshake record
            Some(_) => return line_end(seen, self.at, Rule::H1Sy09, Rule::H1Sy09),
        }
        self.method = match method {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"PATCH" => Method::Patch,
            b"CONNECT" => return Err(Rule::H1Ho05.fault()),
            b"TRACE" => return Err(Rule::H1Sy15.fault()),
            b"PRI" | b"PROXY" => return Err(Rule::H1Sy16.fault()),
            _ => Method::Other,
        };
        self.method_span = Span::new(self.begin, self.at);
        self.at += 1;
        self.target = Span::new(self.at, self.at);
        self.phase = Phase::Target;
        Ok(true)
    }

    fn read_target(&mut self, seen: &[u8]) -> Result<bool, Fault> {
        self.at = grammar::skip(seen, self.at, TARGET);
        let start = self.target.start as usize;
        let is_empty = start == self.at;
        match seen.get(self.at) {
            None => return Ok(false),
            Some(b' ') if !is_empty => {}
            Some(b' ' | b'\t') if is_empty => return Err(Rule::H1Sy09.fault()),
            // A line that ends here is HTTP/0.9, which has no version.
            Some(_) => {
                let without_version = if is_empty { Rule::H1Sy09 } else { Rule::H1Sy11 };
                return line_end(seen, self.at, without_version, Rule::H1Sy12);
            }
        }
        self.judge_target(seen, start, self.at)?;
        self.at += 1;
        self.phase = Phase::Version;
        Ok(true)
    }

    /// Sorts the target by its form (RFC 9112 section 3.2).
    fn judge_target(&mut self, seen: &[u8], start: usize, end: usize) -> Result<(), Fault> {
        let target = &seen[start..end];
        match target {
            [b'/', plain @ ..]
                if !plain.iter().fold(false, |odd, &byte| odd | matches!(byte, b'%' | b'?')) =>
            {
                self.target = Span::new(start, end);
                self.path = self.target;
            }
            _ if !grammar::escapes_are_whole(target) => return Err(Rule::H1Sy12.fault()),
            [b'/', ..] => self.set_target(seen, start, end),
            b"*" if self.method == Method::Options => {
                self.target = Span::new(start, end);
                self.path = self.target;
                self.is_about_the_server = true;
            }
            _ => return self.absolute_form(seen, start, end),
        }
        Ok(())
    }

    fn set_target(&mut self, seen: &[u8], start: usize, end: usize) {
        self.target = Span::new(start, end);
        let query = memchr::memchr(b'?', &seen[start..end]).map(|at| start + at);
        self.path = Span::new(start, query.unwrap_or(end));
        self.query = query.map(|at| Span::new(at + 1, end));
    }

    #[cold]
    fn absolute_form(&mut self, seen: &[u8], start: usize, end: usize) -> Result<(), Fault> {
        let target = &seen[start..end];
        let starts =
            |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme));
        let (scheme, scheme_bytes) = if starts(b"http://") {
            (Scheme::Http, 7)
        } else if starts(b"https://") {
            (Scheme::Https, 8)
        } else if memchr::memmem::find(target, b"://").is_some() {
            return Err(Rule::H1Ho03.fault());
        } else {
            return Err(Rule::H1Ho04.fault());
        };
        let from = start + scheme_bytes;
        let until = memchr::memchr2(b'/', b'?', &seen[from..end]).map_or(end, |at| from + at);
        if !grammar::authority_is_valid(&seen[from..until]) {
            return Err(Rule::H1Ho03.fault());
        }
        self.scheme = Some(scheme);
        self.authority = Span::new(from, until);
        match seen.get(until) {
            Some(b'/') if until < end => self.set_target(seen, until, end),
            // The origin-form would be `/?query`, which stands nowhere in the buffer, and what is matched, logged and
            // forwarded must be the same bytes (H1-SY-12).
            Some(b'?') if until < end => return Err(Rule::H1Ho03.fault()),
            _ => {
                self.set_target(seen, from - 1, from); // the scheme's own last slash
                self.is_about_the_server = self.method == Method::Options;
            }
        }
        Ok(())
    }

    fn read_version(&mut self, seen: &[u8]) -> Result<bool, Fault> {
        const WANTED: &[u8] = b"HTTP/1.1\r\n";
        let rest = &seen[self.at..];
        if rest.get(..WANTED.len()) != Some(WANTED) {
            let Some(version) = other_version(rest)? else { return Ok(false) };
            self.version = version;
        }
        self.lines = Lines::starting(self.at + WANTED.len());
        self.phase = Phase::Fields;
        Ok(true)
    }

    #[inline]
    fn field(&mut self, head: &[u8], name: Span, value: Span) -> Result<(), Fault> {
        let known = Known::of(name.of(head));
        self.fields.push(Field { name, value, known, hop: false });
        if known == Known::Other {
            return Ok(());
        }
        let bytes = value.of(head);
        self.claims.note(known, bytes);
        match known {
            Known::Host => self.note_host(value, bytes),
            Known::Expect => {
                self.expects += 1;
                self.expects_continue = bytes.eq_ignore_ascii_case(b"100-continue");
                Ok(())
            }
            Known::Connection if self.claims.options_name_framing => Err(Rule::H1Fr11.fault()),
            Known::Connection if self.claims.has_too_many_options() => Err(Rule::H1Co01.fault()),
            _ => Ok(()),
        }
    }

    fn note_host(&mut self, value: Span, bytes: &[u8]) -> Result<(), Fault> {
        self.hosts += 1;
        if self.hosts > 1 {
            return Err(Rule::H1Ho01.fault());
        }
        if !grammar::authority_is_valid(bytes) {
            return Err(Rule::H1Ho02.fault());
        }
        self.host = value;
        Ok(())
    }

    /// What only the whole head can show.
    fn finish(&mut self, head: &[u8]) -> Result<(), Fault> {
        if self.hosts == 0 && self.version == Version::Http11 {
            return Err(Rule::H1Ho01.fault());
        }
        if self.scheme.is_some() {
            if self.hosts > 0 && !self.host.of(head).eq_ignore_ascii_case(self.authority.of(head)) {
                return Err(Rule::H1Ho03.fault());
            }
            self.host = self.authority;
        }
        self.framing = self.claims.framing(self.version).map_err(fault_of_framing)?;
        self.claims.mark_hops(&mut self.fields, head);
        let expects_other = self.expects > 0 && !(self.expects == 1 && self.expects_continue);
        if expects_other { Err(Rule::H1Co07.fault()) } else { Ok(()) }
    }

    /// Bytes of the head, including a skipped leading CRLF and the empty line.
    #[expect(clippy::len_without_is_empty, reason = "a complete head is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method as sent.
    pub fn method_bytes<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        self.method_span.of(buf)
    }

    /// Leaves out so many bytes at the front of the path, which a `/` follows.
    pub fn skip_front(&mut self, bytes: usize) {
        self.target.start += bytes as u32;
        self.path.start += bytes as u32;
    }

    /// Origin-form: path and query. Of an absolute-form target the part behind the authority, `/` if that is empty.
    pub fn target(&self) -> Span {
        self.target
    }

    /// The path (`*` for asterisk-form).
    pub fn path(&self) -> Span {
        self.path
    }

    /// What follows the first `?`.
    pub fn query(&self) -> Option<Span> {
        self.query
    }

    /// The effective authority; empty only for HTTP/1.0 without Host.
    pub fn host(&self) -> Span {
        self.host
    }

    /// The scheme of an absolute-form target.
    pub fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// H1-HO-03: an absolute-form target must name the listener's own scheme.
    pub fn check_scheme(&self, listener: Scheme) -> Result<(), Fault> {
        match self.scheme {
            Some(scheme) if scheme != listener => Err(Rule::H1Ho03.fault()),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether an OPTIONS asks about the server and not about a path: its target goes on as `*` (RFC 9112 section
    /// 3.2.4), also when it came as an absolute-form without a path.
    pub(super) fn is_about_the_server(&self) -> bool {
        self.is_about_the_server
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How the body ends; never `UntilClose`.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the client lets the connection live on (H1-CO-03, H1-CO-04).
    pub fn keep_alive(&self) -> bool {
        self.claims.may_live_on(self.version)
    }

    /// Whether the client waits for a 100 before it sends its body. HTTP/1.0 never does (RFC 9110 section 10.1.1).
    pub fn expect_continue(&self) -> bool {
        let has_body = !matches!(self.framing, Framing::None | Framing::Length(0));
        self.expects_continue && has_body && self.version == Version::Http11
    }

    /// All fields, in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The value of the first field that is this one.
    pub fn find_known<'b>(&self, buf: &'b [u8], known: Known) -> Option<&'b [u8]> {
        Some(self.fields.iter().find(|field| field.known == known)?.value.of(buf))
    }

    /// The value of the first field of that name, any case.
    pub fn find<'b>(&self, buf: &'b [u8], name: &str) -> Option<&'b [u8]> {
        super::field::find(&self.fields, buf, name)
    }
}

/// The version, if it is not the usual one or not all there. `None` while bytes are missing.
#[cold]
fn other_version(rest: &[u8]) -> Result<Option<Version>, Fault> {
    for (at, &byte) in rest.iter().take(8).enumerate() {
        let sound = match at {
            5 | 7 => byte.is_ascii_digit(),
            _ => byte == b"HTTP/1.1"[at],
        };
        if !sound && at == 0 && !byte.eq_ignore_ascii_case(&b'h') {
            return Err(Rule::H1Sy09.fault()); // no version at all: one SP too many
        }
        if !sound {
            return Err(Rule::H1Sy11.fault());
        }
    }
    let version = match (rest.get(5), rest.get(7)) {
        (Some(b'1'), Some(b'1')) => Version::Http11,
        (Some(b'1'), Some(b'0')) => Version::Http10,
        (Some(_), Some(_)) => return Err(Rule::H1Sy11.with(505)),
        (_, None) | (None, Some(_)) => return Ok(None),
    };
    match (rest.get(8), rest.get(9)) {
        (None, _) | (Some(b'\r'), None) => Ok(None),
        (Some(b'\r'), Some(b'\n')) => Ok(Some(version)),
        (Some(b'\r'), Some(_)) => Err(Rule::H1Sy02.fault()),
        (Some(b'\n'), _) => Err(Rule::H1Sy01.fault()),
        (Some(b' ' | b'\t'), _) => Err(Rule::H1Sy09.fault()),
        (Some(_), _) => Err(Rule::H1Sy11.fault()),
    }
}

/// A byte that does not belong here, at `at`: a line that ends too early, a bare CR or LF, or something else.
#[cold]
fn line_end(seen: &[u8], at: usize, ends: Rule, other: Rule) -> Result<bool, Fault> {
    match (seen[at], seen.get(at + 1)) {
        (b'\n', _) => Err(Rule::H1Sy01.fault()),
        (b'\r', Some(b'\n')) => Err(ends.fault()),
        (b'\r', Some(_)) => Err(Rule::H1Sy02.fault()),
        (b'\r', None) => Ok(false),
        (_, _) => Err(other.fault()),
    }
}

const fn fault_of_line(breach: Breach) -> Fault {
    match breach {
        Breach::BareLf => Rule::H1Sy01,
        Breach::BareCr => Rule::H1Sy02,
        Breach::Control => Rule::H1Sy03,
        Breach::Fold => Rule::H1Sy05,
        Breach::LeadingSpace => Rule::H1Sy07,
        Breach::SpaceBeforeColon => Rule::H1Sy06,
        Breach::BadName => Rule::H1Sy08,
        Breach::TooLong => Rule::S8FieldLine,
    }
    .fault()
}

const fn fault_of_framing(unclear: Unclear) -> Fault {
    match unclear {
        Unclear::Both => Rule::H1Fr01.fault(),
        Unclear::Lengths => Rule::H1Fr02.fault(),
        Unclear::BadLength => Rule::H1Fr03.fault(),
        Unclear::OldCoding => Rule::H1Fr06.fault(),
        Unclear::Codings => Rule::H1Fr05.with(501),
        Unclear::BadCoding => Rule::H1Fr05.fault(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_head_is_parsed_without_growing_its_field_list() {
        let many = ["GET / HTTP/1.1\r\nHost: a\r\n", &"X: y\r\n".repeat(100), "\r\n"].concat();
        let mut head = RequestHead::new();
        head.parse(many.as_bytes(), &HeadBounds::REQUEST).unwrap();
        let warm = (head.fields.capacity(), head.fields.as_ptr());
        for _ in 0..3 {
            head.parse(b"GET / HTTP/1.1\r\n", &HeadBounds::REQUEST).unwrap();
            head.reset();
            head.parse(many.as_bytes(), &HeadBounds::REQUEST).unwrap();
            assert_eq!((head.fields.capacity(), head.fields.as_ptr()), warm);
        }
    }

    #[test]
    fn a_head_begun_is_forgotten_by_reset() {
        let mut head = RequestHead::new();
        assert_eq!(
            head.parse(b"POST /long/path HTTP/1.1\r\nHost: a\r\n", &HeadBounds::REQUEST),
            Ok(Parse::Partial)
        );
        head.reset();
        let other = b"GET / HTTP/1.1\r\nHost: b\r\n\r\n";
        assert_eq!(head.parse(other, &HeadBounds::REQUEST), Ok(Parse::Complete));
        assert_eq!((head.host().of(other), head.fields().len()), (&b"b"[..], 1));
    }
}
