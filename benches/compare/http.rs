//! HTTP/1.1 as the load reads it: enough to find the end of a message and to hand out every byte of its body.
//!
//! Owns: heads, lengths and chunked coding, on both ends of the proxy.
//! Must not: share a line with the data plane: shared code agrees with itself.
//! Read next: `load.rs`, which feeds it.

use crate::bounds::HEAD_BYTES_MAX;
use crate::load::Fault;

/// One message after the other on one connection.
pub struct Reader {
    state: State,
    head: Vec<u8>,
    is_answer: bool,
    /// The head said that the connection ends with this message.
    pub close: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Head,
    Length(u64),
    /// In the size line: digits so far, and whether they are over.
    Size(u64, bool),
    Data(u64),
    DataEnd,
    /// In a line behind the last chunk: how long it is so far.
    Trailer(usize),
}

/// What a call of [`Reader::feed`] came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fed {
    /// All bytes were taken; the message goes on.
    More,
    /// The message is over, and so are the bytes.
    Done,
}

impl Reader {
    /// Reads answers (a proxy's) or requests (at the origin).
    pub fn new(is_answer: bool) -> Self {
        Self { state: State::Head, head: Vec::new(), is_answer, close: false }
    }

    /// Whether the head of the message is through.
    pub fn in_body(&self) -> bool {
        self.state != State::Head
    }

    /// Takes bytes, hands out those of the body. Bytes behind the end of the message are a fault: nobody here
    /// pipelines.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        mut body: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<Fed, Fault> {
        while !bytes.is_empty() {
            let (used, done) = self.step(bytes, &mut body)?;
            bytes = &bytes[used..];
            if done {
                self.state = State::Head;
                return if bytes.is_empty() { Ok(Fed::Done) } else { Err(Fault::Surplus) };
            }
        }
        Ok(Fed::More)
    }

    fn step(
        &mut self,
        bytes: &[u8],
        body: &mut impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(usize, bool), Fault> {
        match self.state {
            State::Head => self.head(bytes),
            State::Length(left) => {
                let take = bytes.len().min(left as usize);
                body(&bytes[..take])?;
                self.state = State::Length(left - take as u64);
                Ok((take, left == take as u64))
            }
            State::Data(left) => {
                let take = bytes.len().min(left as usize);
                body(&bytes[..take])?;
                self.state =
                    if left == take as u64 { State::DataEnd } else { State::Data(left - take as u64) };
                Ok((take, false))
            }
            State::DataEnd => {
                match bytes[0] {
                    b'\r' => {}
                    b'\n' => self.state = State::Size(0, false),
                    _ => return Err(Fault::Chunk),
                }
                Ok((1, false))
            }
            State::Size(size, over) => self.size_line(bytes[0], size, over).map(|()| (1, false)),
            State::Trailer(length) => {
                self.state = match bytes[0] {
                    b'\n' if length == 0 => return Ok((1, true)),
                    b'\n' => State::Trailer(0),
                    b'\r' => State::Trailer(length),
                    _ => State::Trailer(length + 1),
                };
                Ok((1, false))
            }
        }
    }

    fn size_line(&mut self, byte: u8, size: u64, over: bool) -> Result<(), Fault> {
        self.state = match (byte, over) {
            (b'\n', _) if size == 0 => State::Trailer(0),
            (b'\n', _) => State::Data(size),
            (_, true) | (b'\r' | b';' | b' ', false) => State::Size(size, true),
            (digit, false) => {
                let digit = (digit as char).to_digit(16).ok_or(Fault::Chunk)?;
                let size = size.checked_mul(16).ok_or(Fault::Chunk)?;
                State::Size(size + u64::from(digit), false)
            }
        };
        Ok(())
    }

    /// Takes the bytes of a head; most come whole, and then nothing is copied.
    fn head(&mut self, bytes: &[u8]) -> Result<(usize, bool), Fault> {
        if self.head.is_empty()
            && let Some(end) = end_of_head(bytes)
        {
            self.state = self.read_head(&bytes[..end])?;
            return Ok((end, self.state == State::Length(0)));
        }
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let Some(end) = end_of_head(&self.head) else {
            return if self.head.len() > HEAD_BYTES_MAX {
                Err(Fault::Head)
            } else {
                Ok((bytes.len(), false))
            };
        };
        let head = std::mem::take(&mut self.head);
        self.state = self.read_head(&head[..end])?;
        self.head = head;
        self.head.clear();
        Ok((end - before, self.state == State::Length(0)))
    }

    fn read_head(&mut self, head: &[u8]) -> Result<State, Fault> {
        let mut lines =
            head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let first = lines.next().ok_or(Fault::Head)?;
        if self.is_answer && !first.starts_with(b"HTTP/1.1 200") {
            return Err(Fault::Status(String::from_utf8_lossy(first).into_owned()));
        }
        self.close = false;
        let mut framing = None;
        for line in lines.filter(|line| !line.is_empty()) {
            let colon = memchr::memchr(b':', line).ok_or(Fault::Head)?;
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                let text = std::str::from_utf8(value).map_err(|_| Fault::Head)?;
                framing = Some(State::Length(text.parse().map_err(|_| Fault::Head)?));
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::Head);
                }
                framing = Some(State::Size(0, false));
            } else if name.eq_ignore_ascii_case(b"connection") {
                self.close = value.eq_ignore_ascii_case(b"close");
            }
        }
        // The origin says where each of its answers ends, so a proxy can, too.
        framing.ok_or(Fault::Head)
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<(Vec<u8>, Fed), Fault> {
        let mut reader = Reader::new(true);
        let mut got = Vec::new();
        let mut last = Fed::More;
        for piece in pieces {
            last = reader.feed(piece, |bytes| {
                got.extend_from_slice(bytes);
                Ok(())
            })?;
        }
        Ok((got, last))
    }

    #[test]
    fn any_cut_of_a_chunked_answer_reads_the_same() {
        let whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=1\r\n world\r\n0\r\nt: 1\r\n\r\n";
        for cut in 1..whole.len() {
            let (body, end) = read(&[&whole[..cut], &whole[cut..]]).expect("sound");
            assert_eq!((body.as_slice(), end), (&b"hello world"[..], Fed::Done), "cut at {cut}");
        }
    }

    #[test]
    fn a_length_ends_the_body_and_more_is_a_fault() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(read(&[head, b"abc"]).expect("sound"), (b"abc".to_vec(), Fed::Done));
        assert!(matches!(read(&[head, b"abcd"]), Err(Fault::Surplus)));
    }

    #[test]
    fn another_status_is_a_fault() {
        assert!(matches!(read(&[b"HTTP/1.1 502 Bad\r\ncontent-length: 0\r\n\r\n"]), Err(Fault::Status(_))));
    }
}
