//! A slow and obviously correct HTTP/1.1 reader, written against RFC 9112 and not against ringway.
//!
//! Owns: heads, body framing and its decoding, for both directions. Strict: what ringway sends is judged
//! by it, so a bare LF, a second framing field or a chunk extension is an error and not tolerated.
//! Must not: do I/O.
//! Read next: `client.rs` and `origin.rs`, which feed it.

use crate::bounds::HEAD_BYTES_MAX;

/// Why bytes are not the message they should be.
pub type Malformed = String;

/// A start line and its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The start line without its line end.
    pub start: String,
    /// Names as sent and values without the whitespace around them.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The bytes it was read from.
    pub raw: Vec<u8>,
}

impl Head {
    /// All values of a field, by name in any case.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_slice()).collect()
    }

    /// The only value of a field; a second one is a failed test.
    pub fn one(&self, name: &str) -> Option<String> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} appears {} times in {:?}", all.len(), self.text());
        all.first().map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// Whether a field is there at all.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The nth word of the start line.
    pub fn word(&self, n: usize) -> &str {
        self.start.splitn(3, ' ').nth(n).unwrap_or("")
    }

    /// The whole head for a failure message.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    /// Status of an answer's head.
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or_else(|_| panic!("no status in {:?}", self.start))
    }
}

/// Takes a head off the front of `bytes`, once all of it is there.
pub fn take_head(bytes: &mut Vec<u8>) -> Result<Option<Head>, Malformed> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(format!("no end of head in {} bytes", bytes.len()));
        }
        return Ok(None);
    };
    let raw: Vec<u8> = bytes.drain(..end + 4).collect();
    parse_head(raw).map(Some)
}

fn parse_head(raw: Vec<u8>) -> Result<Head, Malformed> {
    let text = &raw[..raw.len() - 4];
    let mut lines = split_crlf(text).into_iter();
    let start = lines.next().unwrap_or_default();
    let start = String::from_utf8(start.to_vec()).map_err(|_| "start line is not UTF-8".to_owned())?;
    refuse_controls(start.as_bytes())?;
    let fields = lines.map(parse_field).collect::<Result<Vec<_>, _>>()?;
    Ok(Head { start, fields, raw })
}

fn parse_field(line: &[u8]) -> Result<(String, Vec<u8>), Malformed> {
    let shown = String::from_utf8_lossy(line).into_owned();
    let colon = line.iter().position(|b| *b == b':').ok_or_else(|| format!("no colon in {shown:?}"))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|b| is_tchar(*b)) {
        return Err(format!("bad field name in {shown:?}"));
    }
    refuse_controls(value)?;
    let value = value.trim_ascii();
    Ok((String::from_utf8_lossy(name).into_owned(), value.to_vec()))
}

fn refuse_controls(bytes: &[u8]) -> Result<(), Malformed> {
    match bytes.iter().find(|b| (**b < 0x20 && **b != b'\t') || **b == 0x7F) {
        Some(byte) => Err(format!("control byte {byte:#04x} in {:?}", String::from_utf8_lossy(bytes))),
        None => Ok(()),
    }
}

/// Whether a byte may stand in a token (RFC 9110 section 5.6.2).
pub fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// How a message tells where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body, and no field that says so.
    None,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Until the connection ends; answers only.
    UntilClose,
}

/// Framing of a request (RFC 9112 section 6.3, none of its leniencies).
pub fn request_framing(head: &Head) -> Result<Framing, Malformed> {
    Ok(declared(head)?.unwrap_or(Framing::None))
}

/// Framing of a final answer to a request with `method`.
pub fn answer_framing(head: &Head, method: &str) -> Result<Framing, Malformed> {
    let declared = declared(head)?;
    let status = head.status();
    if method == "HEAD" || status == 304 {
        return Ok(Framing::None);
    }
    if status == 204 || status < 200 {
        return match declared {
            None => Ok(Framing::None),
            Some(_) => Err(format!("framing field in a {status}")),
        };
    }
    Ok(declared.unwrap_or(Framing::UntilClose))
}

fn declared(head: &Head) -> Result<Option<Framing>, Malformed> {
    let lengths = head.all("content-length");
    let codings = head.all("transfer-encoding");
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(None),
        ([length], []) => parse_length(length).map(|n| Some(Framing::Length(n))),
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(Framing::Chunked)),
        _ => Err(format!("ambiguous framing in {:?}", head.text())),
    }
}

fn parse_length(value: &[u8]) -> Result<u64, Malformed> {
    let bad = || format!("bad content-length {:?}", String::from_utf8_lossy(value));
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(bad)
}

/// Decodes one body, fed as bytes arrive.
#[derive(Debug)]
pub struct BodyReader {
    framing: Framing,
    step: Step,
    /// What was decoded so far.
    pub body: Vec<u8>,
    /// Sizes of the coded chunks so far.
    pub chunks: Vec<usize>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Plain { left: u64 },
    Size,
    Data { left: usize },
    DataEnd,
    LastLine,
    Close,
    Done,
}

impl BodyReader {
    /// A reader for a body framed in this way.
    pub fn new(framing: Framing) -> Self {
        let step = match framing {
            Framing::None | Framing::Length(0) => Step::Done,
            Framing::Length(left) => Step::Plain { left },
            Framing::Chunked => Step::Size,
            Framing::UntilClose => Step::Close,
        };
        Self { framing, step, body: Vec::new(), chunks: Vec::new() }
    }

    /// How the body is framed.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the body's own framing said that it is whole.
    pub fn done(&self) -> bool {
        self.step == Step::Done
    }

    /// Takes what belongs to the body off the front of `bytes`. True once the body is whole.
    pub fn feed(&mut self, bytes: &mut Vec<u8>) -> Result<bool, Malformed> {
        let mut used = 0;
        while !self.done() {
            let took = self.step_once(&bytes[used..])?;
            if took == 0 {
                break;
            }
            used += took;
        }
        bytes.drain(..used);
        Ok(self.done())
    }

    /// One step over the front of `rest`: how many bytes it used; 0 means more are needed.
    fn step_once(&mut self, rest: &[u8]) -> Result<usize, Malformed> {
        match self.step {
            Step::Plain { left } => {
                let n = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.body.extend_from_slice(&rest[..n]);
                let left = left - n as u64;
                self.step = if left == 0 { Step::Done } else { Step::Plain { left } };
                Ok(n)
            }
            Step::Close => {
                self.body.extend_from_slice(rest);
                Ok(rest.len())
            }
            Step::Size => self.chunk_size(rest),
            Step::Data { left } => {
                let n = rest.len().min(left);
                self.body.extend_from_slice(&rest[..n]);
                self.step = if n == left { Step::DataEnd } else { Step::Data { left: left - n } };
                Ok(n)
            }
            Step::DataEnd => expect_crlf(rest).inspect(|took| {
                if *took > 0 {
                    self.step = Step::Size;
                }
            }),
            Step::LastLine => expect_crlf(rest).inspect(|took| {
                if *took > 0 {
                    self.step = Step::Done;
                }
            }),
            Step::Done => Ok(0),
        }
    }

    fn chunk_size(&mut self, rest: &[u8]) -> Result<usize, Malformed> {
        let Some(end) = find(rest, b"\r\n") else {
            return if rest.len() > 18 {
                Err(format!("long chunk line {:?}", String::from_utf8_lossy(&rest[..18])))
            } else {
                Ok(0)
            };
        };
        let line = &rest[..end];
        let size = std::str::from_utf8(line)
            .ok()
            .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|text| usize::from_str_radix(text, 16).ok())
            .ok_or_else(|| format!("bad chunk line {:?}", String::from_utf8_lossy(line)))?;
        if size > 0 {
            self.chunks.push(size);
        }
        self.step = if size == 0 { Step::LastLine } else { Step::Data { left: size } };
        Ok(end + 2)
    }
}

fn expect_crlf(rest: &[u8]) -> Result<usize, Malformed> {
    match rest {
        [b'\r', b'\n', ..] => Ok(2),
        [] | [b'\r'] => Ok(0),
        _ => Err(format!("no line end at {:?}", String::from_utf8_lossy(&rest[..rest.len().min(16)]))),
    }
}

/// Writes a body in coded chunks of the given sizes; the last size takes what is left.
pub fn chunked(body: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut coded = Vec::with_capacity(body.len() + 64);
    let mut rest = body;
    let mut sizes = sizes.iter();
    while !rest.is_empty() {
        let n = sizes.next().map_or(rest.len(), |n| (*n).clamp(1, rest.len()));
        coded.extend_from_slice(format!("{n:x}\r\n").as_bytes());
        coded.extend_from_slice(&rest[..n]);
        coded.extend_from_slice(b"\r\n");
        rest = &rest[n..];
    }
    coded.extend_from_slice(b"0\r\n\r\n");
    coded
}

/// Where `needle` begins in `hay`.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

fn split_crlf(text: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = find(rest, b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_only_when_whole() {
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r".to_vec();
        assert_eq!(take_head(&mut bytes), Ok(None));
        bytes.extend_from_slice(b"\nrest");
        let head = take_head(&mut bytes).unwrap().unwrap();
        assert_eq!((head.word(0), head.word(1), head.one("HOST")), ("GET", "/", Some("a".to_owned())));
        assert_eq!(bytes, b"rest");
    }

    #[test]
    fn what_this_reader_must_not_tolerate_it_refuses() {
        for bad in ["X Y: 1", ": 1", "novalue", "a: b\nc: d", "a: \x01", " folded"] {
            let mut bytes = format!("GET / HTTP/1.1\r\n{bad}\r\n\r\n").into_bytes();
            assert!(take_head(&mut bytes).is_err(), "{bad:?} was tolerated");
        }
    }

    #[test]
    fn two_framings_are_an_error() {
        for bad in [
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Content-Length: +1",
        ] {
            let mut bytes = format!("POST / HTTP/1.1\r\n{bad}\r\n\r\n").into_bytes();
            let head = take_head(&mut bytes).unwrap().unwrap();
            assert!(request_framing(&head).is_err(), "{bad:?} was tolerated");
        }
    }

    #[test]
    fn a_chunked_body_reads_the_same_at_any_split() {
        let body = b"some bytes that are cut into coded chunks";
        let coded = chunked(body, &[1, 7, 3]);
        for cut in 0..=coded.len() {
            let mut reader = BodyReader::new(Framing::Chunked);
            let mut bytes = coded[..cut].to_vec();
            reader.feed(&mut bytes).unwrap();
            bytes.extend_from_slice(&coded[cut..]);
            assert!(reader.feed(&mut bytes).unwrap(), "not whole when cut at {cut}");
            assert_eq!(reader.body, body);
            assert_eq!(reader.chunks, [1, 7, 3, body.len() - 11]);
        }
    }

    #[test]
    fn chunk_extensions_and_bare_line_ends_are_errors() {
        for bad in ["5;a=b\r\nhello\r\n", "5\nhello", "5\r\nhelloX", "+5\r\nhello\r\n", "\r\n"] {
            let mut reader = BodyReader::new(Framing::Chunked);
            let outcome = reader.feed(&mut format!("{bad}0\r\n\r\n").into_bytes());
            assert!(outcome.is_err(), "{bad:?} was tolerated");
        }
    }
}
