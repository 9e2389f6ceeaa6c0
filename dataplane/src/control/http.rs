//! HTTP/1.1 for the control socket and the admin address.
//!
//! Owns: reading one request at a time, strictly, with a bound on everything; writing one answer.
//! Must not: know a path, be used for callers' traffic (that is `wire`), or trust a peer because it is local.
//! Read next: [`super::api`], which answers.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::bounds::{
    BODIES_BYTES_MAX, FIELDS_MAX, HEAD_BYTES_MAX, PATIENCE, READ_BYTES, SIZE_LINE_BYTES_MAX,
};
use super::stream::{Stream, allowance};

/// A connection from its first request to its last.
pub struct Connection {
    stream: Stream,
    /// Received and not yet used, from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// The body of the request that was read last is still to come.
    owing: bool,
}

/// The head of a request.
#[derive(Debug)]
pub struct Head {
    /// Upper case, as sent.
    pub method: String,
    /// Without the query.
    pub path: String,
    query: String,
    fields: Vec<(String, Vec<u8>)>,
    length: Length,
    keep_alive: bool,
    expects_continue: bool,
}

/// How the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunked,
}

/// Why a request is not read to its end.
#[derive(Debug)]
pub enum Broken {
    /// The peer ended between two requests, was idle too long, or is gone: nothing to answer.
    Gone,
    /// The request is wrong or too large: answer, then close.
    Refused(Answer),
}

/// One answer, whole.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    content_type: &'static str,
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    /// An answer of plain text.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            fields: Vec::new(),
            body: body.into().into_bytes(),
        }
    }

    /// An answer of one JSON document and a newline.
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        let mut text = serde_json::to_vec(body).expect("the contract's types have string keys only");
        text.push(b'\n');
        Self { status, content_type: "application/json", fields: Vec::new(), body: text }
    }

    /// A refusal in the words of the contract.
    pub fn error(status: u16, error: impl Into<String>) -> Self {
        Self::json(status, &ringway_contract::stats::ControlError { error: error.into() })
    }

    /// The same answer with another content type.
    #[must_use]
    pub const fn typed(mut self, content_type: &'static str) -> Self {
        self.content_type = content_type;
        self
    }

    /// The same answer with one more field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// All of it, for a connection that ends with it.
    pub fn bytes_closing(&self) -> Vec<u8> {
        let mut out = self.head(false).into_bytes();
        out.extend_from_slice(&self.body);
        out
    }

    fn head(&self, keep_alive: bool) -> String {
        use std::fmt::Write;
        let mut out = format!("HTTP/1.1 {} {}\r\n", self.status, phrase(self.status));
        // Writing to a String cannot fail.
        let _ = write!(out, "content-type: {}\r\ncache-control: no-store\r\n", self.content_type);
        if self.status != 304 {
            let _ = write!(out, "content-length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.fields {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        out.push_str(if keep_alive { "\r\n" } else { "connection: close\r\n\r\n" });
        out
    }
}

const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Error",
    }
}

impl Head {
    /// The value of a field that occurs once; none if it is absent, occurs twice, or is not text.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|field| field.0 == name).map(|field| &field.1);
        let (one, more) = (values.next()?, values.next());
        if more.is_none() { std::str::from_utf8(one).ok() } else { None }
    }

    /// Whether a field occurs at all.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.0 == name)
    }

    /// The parameters of the query, as they are: nothing that is asked for here needs an escape.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// Whether a body follows.
    pub fn has_body(&self) -> bool {
        self.length != Length::Known(0)
    }

    fn parse(parsed: &httparse::Request<'_, '_>) -> Result<Self, Answer> {
        let target = parsed.path.unwrap_or_default();
        if !target.starts_with('/') {
            return Err(Answer::error(400, "the target must be a path"));
        }
        let target = target.split('#').next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (path, query) = (path.to_owned(), query.to_owned());
        let field = |field: &httparse::Header<'_>| (field.name.to_ascii_lowercase(), field.value.to_vec());
        let mut head = Self {
            method: parsed.method.unwrap_or_default().to_owned(),
            path,
            query,
            fields: parsed.headers.iter().map(field).collect(),
            length: Length::Known(0),
            keep_alive: parsed.version == Some(1),
            expects_continue: false,
        };
        head.length = head.framing()?;
        let hosts = head.fields.iter().filter(|field| field.0 == "host").count();
        if hosts > 1 || (hosts == 0 && head.keep_alive) {
            return Err(Answer::error(400, "one Host field is needed")); // RFC 9112 section 3.2
        }
        let closes =
            head.fields.iter().filter(|field| field.0 == "connection").any(|field| names_close(&field.1));
        head.expects_continue = head.keep_alive && head.field("expect") == Some("100-continue");
        head.keep_alive &= !closes;
        Ok(head)
    }

    fn framing(&self) -> Result<Length, Answer> {
        let coded = self.has("transfer-encoding");
        match (coded, self.has("content-length")) {
            (true, true) => Err(Answer::error(400, "Content-Length beside Transfer-Encoding")),
            (false, false) => Ok(Length::Known(0)),
            (true, false) => match self.field("transfer-encoding") {
                Some(coding) if coding.eq_ignore_ascii_case("chunked") && self.keep_alive => {
                    Ok(Length::Chunked)
                }
                _ => Err(Answer::error(501, "only Transfer-Encoding: chunked of HTTP/1.1 is known")),
            },
            (false, true) => {
                let digits = self
                    .field("content-length")
                    .filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
                let length = digits.and_then(|digits| digits.parse().ok());
                length
                    .map(Length::Known)
                    .ok_or_else(|| Answer::error(400, "one Content-Length of digits is needed"))
            }
        }
    }
}

fn names_close(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Bytes of all bodies being received now.
#[derive(Default)]
pub struct Budget(AtomicUsize);

/// A part of the budget, given back by `Drop`.
#[must_use]
struct Share<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Budget {
    const fn share(&self) -> Share<'_> {
        Share { budget: self, bytes: 0 }
    }
}

impl Share<'_> {
    fn take(&mut self, bytes: usize) -> bool {
        let before = self.budget.0.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes; // taken even if it is too much: `Drop` gives it back at once
        before + bytes <= BODIES_BYTES_MAX
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Connection {
    /// Begins to read.
    pub const fn new(stream: Stream) -> Self {
        Self { stream, buffer: Vec::new(), start: 0, owing: false }
    }

    /// Waits up to `idle` for the next request and reads its head.
    pub fn head(&mut self, idle: Duration) -> Result<Head, Broken> {
        debug_assert!(!self.owing, "a request before the body of the one before was read");
        let mut deadline = Instant::now() + if self.pending().is_empty() { idle } else { PATIENCE };
        loop {
            if !self.pending().is_empty()
                && let Some((head, length)) = parse_head(self.pending())?
            {
                self.start += length;
                self.owing = head.has_body();
                return Ok(head);
            }
            let first = self.pending().is_empty();
            match self.fill(deadline) {
                Ok(0) => return Err(Broken::Gone),
                Ok(_) if first => deadline = Instant::now() + PATIENCE,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut && !first => {
                    return Err(Answer::error(408, "the request head did not arrive in time").into());
                }
                Err(_) => return Err(Broken::Gone),
            }
        }
    }

    /// Reads the body of the request whose head was read last, up to `max` bytes.
    pub fn body(&mut self, head: &Head, max: usize, budget: &Budget) -> Result<Vec<u8>, Broken> {
        if let Length::Known(length) = head.length
            && length > max
        {
            return Err(too_large(max)); // before anything is read
        }
        if head.expects_continue && head.has_body() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| Broken::Gone)?;
        }
        let out = {
            let (share, began) = (budget.share(), Instant::now());
            let mut body = Body { from: self, share, began, out: Vec::new(), max };
            match head.length {
                Length::Known(length) => body.take(length)?,
                Length::Chunked => body.take_chunks()?,
            }
            body.out
        };
        self.owing = false;
        Ok(out)
    }

    /// Sends `answer` to `head`; none if the connection is over with it.
    pub fn answer(self, head: &Head, answer: &Answer) -> Option<Self> {
        let keep_alive = head.keep_alive && !self.owing;
        let mut out = answer.head(keep_alive).into_bytes();
        if head.method != "HEAD" && answer.status != 304 {
            out.extend_from_slice(&answer.body);
        }
        self.stream.write_all(&out).ok()?;
        if keep_alive {
            return Some(self);
        }
        self.stream.linger();
        None
    }

    /// Sends `answer` to something that is no request, and closes.
    pub fn refuse(self, answer: &Answer) {
        if self.stream.write_all(&answer.bytes_closing()).is_ok() {
            self.stream.linger();
        }
    }

    /// The bare stream, for an answer without end.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    fn pending(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Receives some more; 0 is the peer's end.
    fn fill(&mut self, deadline: Instant) -> io::Result<usize> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let kept = self.buffer.len();
        self.buffer.resize(kept + READ_BYTES, 0);
        let got = self.stream.read(&mut self.buffer[kept..], deadline);
        self.buffer.truncate(kept + *got.as_ref().unwrap_or(&0));
        got
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Broken> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => {
            Ok(Some((Head::parse(&parsed)?, length)))
        }
        Ok(httparse::Status::Partial) if bytes.len() <= HEAD_BYTES_MAX => Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            Err(Answer::error(431, "the request head is too large").into())
        }
        Err(error) => Err(Answer::error(400, format!("malformed request head: {error}")).into()),
    }
}

impl From<Answer> for Broken {
    fn from(answer: Answer) -> Self {
        Self::Refused(answer)
    }
}

fn too_large(max: usize) -> Broken {
    Answer::error(413, format!("the body is larger than {max} bytes")).into()
}

/// A body on its way in.
struct Body<'a> {
    from: &'a mut Connection,
    share: Share<'a>,
    began: Instant,
    out: Vec<u8>,
    max: usize,
}

impl Body<'_> {
    /// Takes `count` bytes of content.
    fn take(&mut self, mut count: usize) -> Result<(), Broken> {
        if count > self.max.saturating_sub(self.out.len()) {
            return Err(too_large(self.max));
        }
        while count > 0 {
            let ready = self.some()?.len().min(count);
            if !self.share.take(ready) {
                return Err(Answer::error(503, "too many large bodies at once; try again").into());
            }
            self.out.extend_from_slice(&self.from.pending()[..ready]);
            self.from.start += ready;
            count -= ready;
        }
        Ok(())
    }

    /// RFC 9112 section 7.1, without extensions and trailers, which no client of control sends.
    fn take_chunks(&mut self) -> Result<(), Broken> {
        loop {
            let line = self.line()?;
            let digits =
                !line.is_empty() && line.len() <= 16 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = usize::from_str_radix(&line, 16).ok().filter(|_| digits);
            let size = size.ok_or_else(|| Answer::error(400, "malformed size of a coded chunk"))?;
            self.take(size)?;
            if !self.line_ends()? {
                let what =
                    if size == 0 { "trailers are not accepted" } else { "a coded chunk has another size" };
                return Err(Answer::error(400, what).into());
            }
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// A line without its CRLF.
    fn line(&mut self) -> Result<String, Broken> {
        let mut line = Vec::new();
        loop {
            line.push(self.byte()?);
            if line.ends_with(b"\r\n") {
                line.truncate(line.len() - 2);
                return String::from_utf8(line)
                    .map_err(|_| Answer::error(400, "malformed coded chunk").into());
            }
            if line.len() > SIZE_LINE_BYTES_MAX {
                return Err(Answer::error(400, "malformed coded chunk").into());
            }
        }
    }

    fn line_ends(&mut self) -> Result<bool, Broken> {
        Ok(self.byte()? == b'\r' && self.byte()? == b'\n')
    }

    fn byte(&mut self) -> Result<u8, Broken> {
        let byte = self.some()?[0];
        self.from.start += 1;
        Ok(byte)
    }

    /// What is there, at least one byte, received at a decent rate.
    fn some(&mut self) -> Result<&[u8], Broken> {
        if self.from.pending().is_empty() {
            let deadline = self.began + allowance(self.out.len());
            match self.from.fill(deadline) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err(Answer::error(408, "the body did not arrive in time").into());
                }
                Ok(0) | Err(_) => return Err(Broken::Gone),
            }
        }
        Ok(self.from.pending())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_a_bound_and_give_their_shares_back() {
        let budget = Budget::default();
        let (mut one, mut two) = (budget.share(), budget.share());
        assert!(one.take(BODIES_BYTES_MAX - 10) && two.take(10) && !two.take(1));
        drop((one, two));
        assert!(budget.share().take(BODIES_BYTES_MAX));
    }
}
