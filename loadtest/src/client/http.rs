//! HTTP/1.1 as a client reads it: bytes to one response, strictly. No I/O.
//!
//! Owns: where a response head and its body end. What another client might forgive is a fault here.
//! Must not: share anything with the proxy's reader, or judge what the body says.
//! Read next: `../oracle.rs`.

use crate::bounds::{CHUNK_LINE_BYTES_MAX, ENDPOINT_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX};

/// What a response head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// The media type, lower case, without parameters.
    pub(crate) content_type: String,
    pub(crate) keep_alive: bool,
    /// Who answered, where a gateway says so.
    pub(crate) endpoint: Option<String>,
    /// When to come back, in whole seconds.
    pub(crate) retry_after_s: Option<u32>,
}

/// Where the parts of a response go.
pub(crate) trait Sink {
    fn head(&mut self, head: &Head);
    fn body(&mut self, bytes: &[u8]);
}

/// Why the bytes are no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpFault {
    Head(&'static str),
    Framing(&'static str),
}

/// How far a response has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not a byte of it has arrived.
    Unbegun,
    Begun,
    Whole,
}

/// Reads one response; made anew for the next.
#[derive(Debug)]
pub(crate) struct ResponseReader {
    /// A head that has not arrived whole.
    partial: Vec<u8>,
    state: State,
    /// The request was `HEAD`: whatever the head announces, no body follows.
    bodyless: bool,
    keep_alive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    Size,
    Data(u64),
    DataEnd,
    Trailer,
    UntilClose,
    Done,
}

impl ResponseReader {
    pub(crate) fn new(bodyless: bool) -> Self {
        Self { partial: Vec::new(), state: State::Head, bodyless, keep_alive: true }
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.state {
            State::Done => Stage::Whole,
            State::Head if self.partial.is_empty() => Stage::Unbegun,
            _ => Stage::Begun,
        }
    }

    /// Whether the connection may carry another exchange once this response is whole.
    pub(crate) fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// The connection has ended. Says whether the response was whole, which for some is only known now.
    pub(crate) fn closed(&mut self) -> Stage {
        if self.state == State::UntilClose {
            self.state = State::Done;
        }
        self.stage()
    }

    /// Reads on; returns how many bytes belong to this response.
    pub(crate) fn feed(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<usize, HttpFault> {
        let mut used = 0;
        while self.state != State::Done && used < bytes.len() {
            let rest = &bytes[used..];
            used += match self.state {
                State::Head => self.feed_head(rest, sink)?,
                State::Length(left) => {
                    let take = left.min(rest.len() as u64);
                    sink.body(&rest[..take as usize]);
                    self.state = if take == left { State::Done } else { State::Length(left - take) };
                    take as usize
                }
                State::Data(left) => {
                    let take = left.min(rest.len() as u64);
                    sink.body(&rest[..take as usize]);
                    self.state = if take == left { State::DataEnd } else { State::Data(left - take) };
                    take as usize
                }
                State::Size | State::DataEnd | State::Trailer => self.feed_line(rest)?,
                State::UntilClose => {
                    sink.body(rest);
                    rest.len()
                }
                State::Done => break,
            };
        }
        Ok(used)
    }

    fn feed_head(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<usize, HttpFault> {
        let before = self.partial.len();
        self.partial.extend_from_slice(bytes);
        let Some((head, framing, length)) = read_head(&self.partial)? else {
            return if self.partial.len() > HEAD_BYTES_MAX {
                Err(HttpFault::Head("the head does not end"))
            } else {
                Ok(bytes.len())
            };
        };
        self.partial.clear();
        // An interim response has no body, and the real one is still to come.
        if head.status >= 200 {
            self.keep_alive = head.keep_alive && framing != State::UntilClose;
            let no_body = self.bodyless || matches!(head.status, 204 | 304);
            self.state = if no_body || framing == State::Length(0) { State::Done } else { framing };
            sink.head(&head);
        } else if head.status == 101 {
            return Err(HttpFault::Head("the protocol was switched though nobody asked"));
        }
        Ok(length - before)
    }

    /// Reads a line of chunked coding, over several feeds if need be.
    fn feed_line(&mut self, bytes: &[u8]) -> Result<usize, HttpFault> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let take = end.map_or(bytes.len(), |end| end + 1);
        self.partial.extend_from_slice(&bytes[..take]);
        if self.partial.len() > CHUNK_LINE_BYTES_MAX {
            return Err(HttpFault::Framing("a line of chunked coding does not end"));
        }
        if end.is_some() {
            let Some(line) = self.partial.strip_suffix(b"\r\n") else {
                return Err(HttpFault::Framing("a line of chunked coding ends without CR"));
            };
            self.state = match self.state {
                State::Size => match chunk_size(line)? {
                    0 => State::Trailer,
                    size => State::Data(size),
                },
                State::DataEnd if line.is_empty() => State::Size,
                State::Trailer if line.is_empty() => State::Done,
                State::Trailer => State::Trailer,
                State::DataEnd
                | State::Head
                | State::Length(_)
                | State::Data(_)
                | State::UntilClose
                | State::Done => return Err(HttpFault::Framing("a coded chunk is longer than its size")),
            };
            self.partial.clear();
        }
        Ok(take)
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, HttpFault> {
    let wrong = HttpFault::Framing("a chunk size is not a hex number");
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let text = std::str::from_utf8(digits).map_err(|_| wrong)?;
    if text.is_empty() || text.len() > 15 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong);
    }
    u64::from_str_radix(text, 16).map_err(|_| wrong)
}

/// The head, how its body is framed, and its length; `None` while it is not whole.
fn read_head(bytes: &[u8]) -> Result<Option<(Head, State, usize)>, HttpFault> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(HttpFault::Head("the head is not HTTP/1")),
    };
    let newer = parsed.version == Some(1);
    let status = parsed.code.unwrap_or(0);
    let mut head =
        Head { status, content_type: String::new(), keep_alive: newer, endpoint: None, retry_after_s: None };
    let (mut content_length, mut chunked) = (None, false);
    for header in parsed.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or("\u{fffd}").trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            let number = value.parse().ok().filter(|_| digits);
            let number = number.ok_or(HttpFault::Framing("content-length is not a number"))?;
            if content_length.replace(number).is_some() {
                return Err(HttpFault::Framing("content-length comes twice"));
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case("chunked") {
                return Err(HttpFault::Framing("a transfer coding that is not chunked"));
            }
            chunked = true;
        } else if header.name.eq_ignore_ascii_case("content-type") {
            head.content_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        } else if header.name.eq_ignore_ascii_case("x-ringway-backend") {
            head.endpoint = Some(value.chars().take(ENDPOINT_BYTES_MAX).collect());
        } else if header.name.eq_ignore_ascii_case("retry-after") {
            head.retry_after_s = value.parse().ok();
        } else if header.name.eq_ignore_ascii_case("connection") {
            let says = |what| value.split(',').any(|option| option.trim().eq_ignore_ascii_case(what));
            head.keep_alive = (head.keep_alive || says("keep-alive")) && !says("close");
        }
    }
    let framing = match (chunked, content_length) {
        // RFC 9112 section 6.1: a server must not send both.
        (true, Some(_)) => return Err(HttpFault::Framing("content-length beside chunked coding")),
        (true, None) => State::Size,
        (false, Some(length)) => State::Length(length),
        (false, None) => State::UntilClose,
    };
    Ok(Some((head, framing, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Debug, PartialEq, Eq, Clone)]
    struct Seen {
        status: u16,
        body: Vec<u8>,
    }

    impl Sink for Seen {
        fn head(&mut self, head: &Head) {
            self.status = head.status;
        }
        fn body(&mut self, bytes: &[u8]) {
            self.body.extend_from_slice(bytes);
        }
    }

    /// Feeds in two parts; what was seen, the bytes that were surplus, and how far it came.
    fn read(bytes: &[u8], split: usize) -> Result<(Seen, usize, Stage), HttpFault> {
        let mut reader = ResponseReader::new(false);
        let mut seen = Seen::default();
        let mut used = reader.feed(&bytes[..split], &mut seen)?;
        if used == split {
            used += reader.feed(&bytes[split..], &mut seen)?;
        }
        Ok((seen, bytes.len() - used, reader.stage()))
    }

    #[test]
    fn any_split_of_a_response_reads_the_same() {
        let cases: [&[u8]; 4] = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nT: v\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\n\r\nhello",
        ];
        for (index, bytes) in cases.into_iter().enumerate() {
            for split in 0..=bytes.len() {
                let (seen, surplus, stage) = read(bytes, split).expect("well formed");
                assert_eq!(
                    (seen.status, seen.body.as_slice(), surplus),
                    (200, &b"hello"[..], 0),
                    "{index}/{split}"
                );
                assert_eq!(stage, if index == 3 { Stage::Begun } else { Stage::Whole });
            }
        }
    }

    #[test]
    fn bytes_behind_a_whole_response_are_left_over() {
        let (_, surplus, stage) =
            read(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello", 0).expect("well formed");
        assert_eq!((surplus, stage), (3, Stage::Whole));
    }

    #[test]
    fn faulty_heads_and_framing_are_told_apart() {
        let cases: [(&[u8], bool); 8] = [
            (b"HTTP/1.1 2x0 OK\r\n\r\n", true),
            (b"HTTP/1.1 101 Switching\r\n\r\n", true),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", false),
            (b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n", false),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", false),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", false),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", false),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", false),
        ];
        for (bytes, in_head) in cases {
            let fault = read(bytes, 0).expect_err("faulty");
            assert_eq!(matches!(fault, HttpFault::Head(_)), in_head, "{fault:?}");
        }
    }
}
