//! HTTP/1.1 as a server speaks it: bytes to requests, and answers to bytes. No I/O.
//!
//! Owns: the inbox of one connection, with its bounds, and the framing of what is sent back.
//! Must not: know sockets, JSON or engines. This reader is the harness's own and shares nothing with the proxy
//! it is used to judge.
//! Read next: `connection.rs`, which feeds it.

use std::io::Write as _;

use crate::bounds::{BODY_BYTES_MAX, CHUNK_LINE_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX, KEPT_BYTES_MAX};

/// One request, read whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The target up to the query.
    pub(crate) path: String,
    /// What follows the question mark.
    pub(crate) query: String,
    /// How the client wants to hear of the load.
    pub(crate) load_format: Option<LoadFormat>,
    /// Whether the answer may be in chunked coding (the client speaks 1.1).
    pub(crate) chunked_ok: bool,
    pub(crate) keep_alive: bool,
    pub(crate) body: Vec<u8>,
}

/// The dialects of the `endpoint-load-metrics` response field (ORCA).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadFormat {
    Text,
    Json,
}

/// Why the bytes are no request. The connection ends after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadRequest {
    Malformed,
    HeadTooLarge,
    BodyTooLarge,
    Expectation,
}

impl BadRequest {
    pub(crate) const fn status(self) -> Status {
        match self {
            Self::Malformed => Status::BadRequest,
            Self::HeadTooLarge => Status::HeadTooLarge,
            Self::BodyTooLarge => Status::BodyTooLarge,
            Self::Expectation => Status::ExpectationFailed,
        }
    }
}

/// The bytes a connection has received and nobody has answered yet.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    /// The request whose body is still arriving.
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    request: Request,
    body: Body,
    /// The client waits for `100 Continue` before it sends the body.
    wants_continue: bool,
}

#[derive(Debug, Clone, Copy)]
enum Body {
    /// Bytes still to come.
    Length(usize),
    Chunked(Coded),
}

/// Where in chunked coding the reader stands.
#[derive(Debug, Clone, Copy)]
enum Coded {
    Size,
    Data(usize),
    /// The line end behind a coded chunk.
    DataEnd,
    /// Trailer lines, read and dropped.
    Trailer,
}

impl Inbox {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True once for each request whose client waits for a go-ahead with its body.
    pub(crate) fn take_continue(&mut self) -> bool {
        self.partial.as_mut().is_some_and(|partial| std::mem::take(&mut partial.wants_continue))
    }

    /// The next whole request, if its bytes are all here.
    pub(crate) fn next(&mut self) -> Result<Option<Request>, BadRequest> {
        if self.partial.is_none() {
            let Some((partial, length)) = read_head(&self.bytes)? else { return Ok(None) };
            self.bytes.drain(..length);
            self.partial = Some(partial);
        }
        let partial = self.partial.as_mut().expect("set above");
        let whole = match partial.body {
            Body::Length(left) => {
                let take = left.min(self.bytes.len());
                partial.request.body.extend(self.bytes.drain(..take));
                partial.body = Body::Length(left - take);
                take == left
            }
            Body::Chunked(ref mut state) => {
                let (used, whole) = read_coded(&self.bytes, state, &mut partial.request.body)?;
                self.bytes.drain(..used);
                whole
            }
        };
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        Ok(if whole { self.partial.take().map(|partial| partial.request) } else { None })
    }
}

fn read_head(bytes: &[u8]) -> Result<Option<(Partial, usize)>, BadRequest> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() > HEAD_BYTES_MAX => {
            return Err(BadRequest::HeadTooLarge);
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(BadRequest::HeadTooLarge),
        Err(_) => return Err(BadRequest::Malformed),
    };
    if length > HEAD_BYTES_MAX {
        return Err(BadRequest::HeadTooLarge);
    }
    let fields = Fields::read(parsed.headers)?;
    let newer = parsed.version == Some(1);
    let body = match (fields.chunked, fields.length) {
        // RFC 9112 section 6.3: both at once is how requests are smuggled.
        (true, Some(_)) => return Err(BadRequest::Malformed),
        (true, None) => Body::Chunked(Coded::Size),
        (false, length) => Body::Length(length.unwrap_or(0)),
    };
    if matches!(body, Body::Length(length) if length > BODY_BYTES_MAX) {
        return Err(BadRequest::BodyTooLarge);
    }
    let target = parsed.path.unwrap_or("/");
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: target.split('?').next().unwrap_or(target).to_owned(),
        query: target.split_once('?').map_or("", |(_, query)| query).to_owned(),
        load_format: fields.load_format,
        chunked_ok: newer,
        keep_alive: if newer { !fields.close } else { fields.keep_alive && !fields.close },
        body: Vec::new(),
    };
    Ok(Some((Partial { request, body, wants_continue: fields.expects && newer }, length)))
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is something a head says or does not")]
struct Fields {
    length: Option<usize>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects: bool,
    load_format: Option<LoadFormat>,
}

impl Fields {
    fn read(headers: &[httparse::Header<'_>]) -> Result<Self, BadRequest> {
        let mut fields = Self::default();
        for header in headers {
            let value = std::str::from_utf8(header.value).unwrap_or("\u{fffd}").trim();
            if header.name.eq_ignore_ascii_case("content-length") {
                let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                if !digits || fields.length.is_some() {
                    return Err(BadRequest::Malformed);
                }
                fields.length = Some(value.parse().map_err(|_| BadRequest::BodyTooLarge)?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                if fields.chunked || !value.eq_ignore_ascii_case("chunked") {
                    return Err(BadRequest::Malformed);
                }
                fields.chunked = true;
            } else if header.name.eq_ignore_ascii_case("connection") {
                for option in value.split(',').map(str::trim) {
                    fields.close |= option.eq_ignore_ascii_case("close");
                    fields.keep_alive |= option.eq_ignore_ascii_case("keep-alive");
                }
            } else if header.name.eq_ignore_ascii_case("expect") {
                if !value.eq_ignore_ascii_case("100-continue") {
                    return Err(BadRequest::Expectation);
                }
                fields.expects = true;
            } else if header.name.eq_ignore_ascii_case("endpoint-load-metrics-format") {
                fields.load_format = match value {
                    _ if value.eq_ignore_ascii_case("text") => Some(LoadFormat::Text),
                    _ if value.eq_ignore_ascii_case("json") => Some(LoadFormat::Json),
                    _ => None,
                };
            }
        }
        Ok(fields)
    }
}

/// Decodes what is there. Returns the bytes used up, and whether the body is whole.
fn read_coded(bytes: &[u8], state: &mut Coded, body: &mut Vec<u8>) -> Result<(usize, bool), BadRequest> {
    let mut used = 0;
    loop {
        let rest = &bytes[used..];
        match *state {
            Coded::Data(left) => {
                let take = left.min(rest.len());
                if body.len() + take > BODY_BYTES_MAX {
                    return Err(BadRequest::BodyTooLarge);
                }
                body.extend_from_slice(&rest[..take]);
                used += take;
                *state = if take == left { Coded::DataEnd } else { Coded::Data(left - take) };
                if take < left {
                    return Ok((used, false));
                }
            }
            Coded::Size | Coded::DataEnd | Coded::Trailer => {
                let Some(line) = take_line(rest)? else { return Ok((used, false)) };
                used += line.len() + 2;
                *state = match *state {
                    Coded::Size => match chunk_size(line)? {
                        0 => Coded::Trailer,
                        size => Coded::Data(size),
                    },
                    Coded::DataEnd if line.is_empty() => Coded::Size,
                    Coded::Trailer if line.is_empty() => return Ok((used, true)),
                    Coded::Trailer => Coded::Trailer,
                    Coded::DataEnd | Coded::Data(_) => return Err(BadRequest::Malformed),
                };
            }
        }
    }
}

fn take_line(bytes: &[u8]) -> Result<Option<&[u8]>, BadRequest> {
    match bytes.iter().take(CHUNK_LINE_BYTES_MAX).position(|byte| *byte == b'\n') {
        Some(end) if end > 0 && bytes[end - 1] == b'\r' => Ok(Some(&bytes[..end - 1])),
        None if bytes.len() < CHUNK_LINE_BYTES_MAX => Ok(None),
        Some(_) | None => Err(BadRequest::Malformed),
    }
}

fn chunk_size(line: &[u8]) -> Result<usize, BadRequest> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    let text = std::str::from_utf8(digits).map_err(|_| BadRequest::Malformed)?;
    if text.is_empty() || text.len() > 15 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(BadRequest::Malformed);
    }
    usize::from_str_radix(text, 16).map_err(|_| BadRequest::Malformed)
}

/// The statuses a simulated server answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    BodyTooLarge,
    ExpectationFailed,
    HeadTooLarge,
    Internal,
    Unavailable,
}

impl Status {
    pub(crate) const fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::BodyTooLarge => "413 Content Too Large",
            Self::ExpectationFailed => "417 Expectation Failed",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Internal => "500 Internal Server Error",
            Self::Unavailable => "503 Service Unavailable",
        }
    }
}

/// The interim answer to `Expect: 100-continue`.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How the end of an answer's body is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    /// For HTTP/1.0: the body ends with the connection.
    Close,
}

/// What a head says of the moment it leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp<'a> {
    pub(crate) date: &'a str,
    /// The load, where the client asked for it; else empty.
    pub(crate) load: &'a str,
}

/// Appends the head of an answer.
pub(crate) fn write_head(
    out: &mut Vec<u8>,
    status: Status,
    content_type: &str,
    framing: Framing,
    keep_alive: bool,
    stamp: Stamp<'_>,
) {
    let date = stamp.date;
    let line = status.line();
    write!(
        out,
        "HTTP/1.1 {line}\r\nserver: ringway-gpusim\r\ndate: {date}\r\ncontent-type: {content_type}\r\n"
    )
    .expect(INFALLIBLE);
    match framing {
        Framing::Length(length) => write!(out, "content-length: {length}\r\n").expect(INFALLIBLE),
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Close => {}
    }
    if !stamp.load.is_empty() {
        write!(out, "endpoint-load-metrics: {}\r\n", stamp.load).expect(INFALLIBLE);
    }
    if status == Status::MethodNotAllowed {
        out.extend_from_slice(b"allow: GET, HEAD, POST\r\n");
    }
    if !keep_alive {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends body bytes as one coded chunk.
pub(crate) fn write_coded(out: &mut Vec<u8>, body: &[u8]) {
    write!(out, "{:x}\r\n", body.len()).expect(INFALLIBLE);
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
}

/// The end of a body in chunked coding.
pub(crate) const LAST_CODED: &[u8] = b"0\r\n\r\n";

const INFALLIBLE: &str = "writing to memory cannot fail";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Request>, BadRequest> {
        let mut inbox = Inbox::default();
        inbox.push(bytes);
        let mut requests = Vec::new();
        while let Some(request) = inbox.next()? {
            requests.push(request);
        }
        Ok(requests)
    }

    #[test]
    fn any_split_of_pipelined_requests_gives_the_same_requests() {
        let bytes: &[u8] = b"POST /a?x=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello\
            POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\nabc\r\nA;ext=1\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n\
            GET /c HTTP/1.0\r\n\r\n";
        let whole = read(bytes).expect("well formed");
        assert_eq!(whole.len(), 3);
        assert_eq!((whole[0].path.as_str(), whole[0].body.as_slice()), ("/a", &b"hello"[..]));
        assert_eq!(whole[1].body, b"abc0123456789");
        assert!(!whole[2].keep_alive && !whole[2].chunked_ok);
        for split in 0..bytes.len() {
            let mut inbox = Inbox::default();
            let mut requests = Vec::new();
            for part in [&bytes[..split], &bytes[split..]] {
                inbox.push(part);
                while let Some(request) = inbox.next().expect("well formed") {
                    requests.push(request);
                }
            }
            assert_eq!(requests, whole, "split at {split}");
        }
    }

    #[test]
    fn ambiguous_or_oversized_requests_are_refused() {
        let cases: [(&[u8], BadRequest); 7] = [
            (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", BadRequest::Malformed),
            (
                b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
                BadRequest::Malformed,
            ),
            (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", BadRequest::Malformed),
            (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", BadRequest::BodyTooLarge),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", BadRequest::Malformed),
            (b"POST / HTTP/1.1\r\nExpect: magic\r\n\r\n", BadRequest::Expectation),
            (b"not http\r\n\r\n", BadRequest::Malformed),
        ];
        for (bytes, want) in cases {
            assert_eq!(read(bytes), Err(want), "{}", String::from_utf8_lossy(bytes));
        }
        let endless = [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; HEAD_BYTES_MAX]].concat();
        assert_eq!(read(&endless), Err(BadRequest::HeadTooLarge));
    }

    #[test]
    fn a_client_that_waits_with_its_body_is_told_to_go_on_once() {
        let mut inbox = Inbox::default();
        inbox.push(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        assert_eq!(inbox.next(), Ok(None));
        assert!(inbox.take_continue());
        assert!(!inbox.take_continue());
        inbox.push(b"ok");
        assert_eq!(inbox.next().expect("well formed").expect("whole").body, b"ok");
    }
}
