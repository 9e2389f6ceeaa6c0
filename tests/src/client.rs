//! A caller that owns its socket: sends any bytes, reads whole answers, sees how the connection ended.
//!
//! Owns: one connection and what arrived on it.
//! Must not: repair, retry, or follow anything.
//! Read next: `http.rs`, its reader.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::bounds::{ANSWER_MAX, CLOSE_MAX, READ_BYTES_MAX};
use crate::http::{BodyReader, Framing, Head, Malformed, answer_framing, take_head};

/// A socket whose reads can be given a limit.
pub trait Wire: Read + Write {
    /// Limits each read that follows.
    fn limit_reads(&self, span: Duration);
}

impl Wire for TcpStream {
    fn limit_reads(&self, span: Duration) {
        self.set_read_timeout(Some(span)).expect("a positive timeout is valid");
    }
}

impl Wire for UnixStream {
    fn limit_reads(&self, span: Duration) {
        self.set_read_timeout(Some(span)).expect("a positive timeout is valid");
    }
}

/// How the other side's sending ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// An orderly end.
    Fin,
    /// A reset.
    Rst,
    /// It did not end in time.
    Open,
}

/// What came back for one request.
#[derive(Debug)]
pub struct Answer {
    /// The final head.
    pub head: Head,
    /// Statuses of interim answers before it.
    pub interim: Vec<u16>,
    /// The decoded body, as far as it came.
    pub body: Vec<u8>,
    /// Sizes of the coded chunks, if it came in such.
    pub chunks: Vec<usize>,
    /// How the body was framed.
    pub framing: Framing,
    /// `None` when the body is whole by its framing; else how the connection ended inside it.
    pub cut: Option<End>,
    /// From the first wait for it to its head, its first body byte, its end.
    pub timing: Timing,
}

/// When what arrived, counted from the call that waited for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// The final head.
    pub head: Duration,
    /// The end, whichever way.
    pub end: Duration,
}

impl Answer {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in answer {:?}", self.text()))
    }

    /// Whether every byte came that its framing promised. A close-delimited one must end by FIN.
    pub fn whole(&self) -> bool {
        match (self.framing, self.cut) {
            (Framing::UntilClose, Some(End::Fin)) => true,
            (Framing::UntilClose, _) => false,
            (_, cut) => cut.is_none(),
        }
    }

    /// Whether the answer says that the connection ends with it.
    pub fn says_close(&self) -> bool {
        self.head.all("connection").iter().any(|v| v.eq_ignore_ascii_case(b"close"))
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// The connection ended, or did not speak, before a final head.
    Ended(End, Vec<u8>),
    /// What came is not an HTTP answer.
    Malformed(Malformed, Vec<u8>),
}

/// A caller with one connection.
#[derive(Debug)]
pub struct Client<S: Wire = TcpStream> {
    stream: S,
    bytes: Vec<u8>,
    patience: Duration,
    ended: Option<End>,
}

impl Client<TcpStream> {
    /// Connects, or fails the test.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects if somebody listens.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        Ok(Self::over(stream))
    }

    /// Ends our sending side only.
    pub fn half_close(&self) {
        let _ = self.stream.shutdown(Shutdown::Write); // the peer may have gone first
    }

    /// Resets the connection.
    pub fn reset(self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// The socket itself, for what this type does not offer.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

impl<S: Wire> Client<S> {
    /// A caller over a connected socket.
    pub fn over(stream: S) -> Self {
        Self { stream, bytes: Vec::new(), patience: ANSWER_MAX, ended: None }
    }

    /// The same caller, waiting at most this long for each answer.
    #[must_use]
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sends bytes, or fails the test.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.try_send(bytes).unwrap_or_else(|error| panic!("cannot send {} bytes: {error}", bytes.len()));
    }

    /// Sends bytes as far as the other side takes them.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends bytes in pieces of a given size with a pause between them.
    pub fn drip(&mut self, bytes: &[u8], piece: usize, pause: Duration) -> std::io::Result<()> {
        for piece in bytes.chunks(piece.max(1)) {
            self.try_send(piece)?;
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// The answer to a request that was not `HEAD`, or a failed test.
    pub fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    /// The answer to a request with this method, or a failed test.
    pub fn answer_to(&mut self, method: &str) -> Answer {
        self.try_answer(method).unwrap_or_else(|why| panic!("no answer: {}", shown(&why)))
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request);
        self.answer()
    }

    /// The answer to a request with this method, if one comes.
    pub fn try_answer(&mut self, method: &str) -> Result<Answer, NoAnswer> {
        let began = Instant::now();
        let deadline = began + self.patience;
        let (head, interim) = self.final_head(deadline)?;
        let framing =
            answer_framing(&head, method).map_err(|why| NoAnswer::Malformed(why, head.raw.clone()))?;
        let at_head = began.elapsed();
        let mut reader = BodyReader::new(framing);
        let cut = loop {
            match reader.feed(&mut self.bytes) {
                Ok(true) => break None,
                Ok(false) => {}
                Err(why) => return Err(NoAnswer::Malformed(why, self.bytes.clone())),
            }
            if let Some(end) = self.read_more(deadline) {
                break Some(end);
            }
        };
        let timing = Timing { head: at_head, end: began.elapsed() };
        Ok(Answer { head, interim, body: reader.body, chunks: reader.chunks, framing, cut, timing })
    }

    fn final_head(&mut self, deadline: Instant) -> Result<(Head, Vec<u16>), NoAnswer> {
        let mut interim = Vec::new();
        loop {
            match take_head(&mut self.bytes) {
                Ok(Some(head)) if is_interim(&head) => interim.push(head.status()),
                Ok(Some(head)) => {
                    check_status_line(&head).map_err(|why| NoAnswer::Malformed(why, head.raw.clone()))?;
                    return Ok((head, interim));
                }
                Ok(None) => {
                    if let Some(end) = self.read_more(deadline) {
                        return Err(NoAnswer::Ended(end, std::mem::take(&mut self.bytes)));
                    }
                }
                Err(why) => return Err(NoAnswer::Malformed(why, self.bytes.clone())),
            }
        }
    }

    /// Waits for an interim head (a 100) and takes it.
    pub fn interim(&mut self) -> u16 {
        let deadline = Instant::now() + self.patience;
        loop {
            match take_head(&mut self.bytes) {
                Ok(Some(head)) => return head.status(),
                Ok(None) => {
                    let end = self.read_more(deadline);
                    assert!(end.is_none(), "no interim answer: {end:?}");
                }
                Err(why) => panic!("malformed interim answer: {why}"),
            }
        }
    }

    /// Reads until at least `count` bytes are there, and takes all of them.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let deadline = Instant::now() + self.patience;
        while self.bytes.len() < count {
            if let Some(end) = self.read_more(deadline) {
                panic!(
                    "{end:?} after {} of {count} bytes: {:?}",
                    self.bytes.len(),
                    String::from_utf8_lossy(&self.bytes)
                );
            }
        }
        std::mem::take(&mut self.bytes)
    }

    /// Reads until `needle` was seen, and takes everything so far.
    pub fn take_until(&mut self, needle: &[u8]) -> Vec<u8> {
        let deadline = Instant::now() + self.patience;
        while crate::http::find(&self.bytes, needle).is_none() {
            if let Some(end) = self.read_more(deadline) {
                panic!(
                    "{end:?} before {:?}: {:?}",
                    String::from_utf8_lossy(needle),
                    String::from_utf8_lossy(&self.bytes)
                );
            }
        }
        std::mem::take(&mut self.bytes)
    }

    /// Reads to the end, at most `CLOSE_MAX`: what more came, and how it ended.
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        self.rest_within(CLOSE_MAX)
    }

    /// Reads to the end, at most this long.
    pub fn rest_within(&mut self, span: Duration) -> (Vec<u8>, End) {
        let deadline = Instant::now() + span;
        loop {
            if let Some(end) = self.read_more(deadline) {
                return (std::mem::take(&mut self.bytes), end);
            }
        }
    }

    /// One read; `Some` when there is nothing more to come, or not in time.
    fn read_more(&mut self, deadline: Instant) -> Option<End> {
        if self.ended.is_some() {
            return self.ended;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Some(End::Open);
        }
        self.stream.limit_reads(left);
        let mut piece = [0; READ_BYTES_MAX];
        match self.stream.read(&mut piece) {
            Ok(0) => self.ended = Some(End::Fin),
            Ok(n) => self.bytes.extend_from_slice(&piece[..n]),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock | ErrorKind::TimedOut => return Some(End::Open),
                _ => self.ended = Some(End::Rst),
            },
        }
        self.ended
    }
}

fn is_interim(head: &Head) -> bool {
    head.start.starts_with("HTTP/1.1 1")
}

fn check_status_line(head: &Head) -> Result<(), Malformed> {
    let status = head.word(1);
    let fine = matches!(head.word(0), "HTTP/1.1" | "HTTP/1.0")
        && status.len() == 3
        && status.bytes().all(|b| b.is_ascii_digit());
    if fine { Ok(()) } else { Err(format!("bad status line {:?}", head.start)) }
}

fn shown(why: &NoAnswer) -> String {
    match why {
        NoAnswer::Ended(end, bytes) => format!("{end:?} after {:?}", String::from_utf8_lossy(bytes)),
        NoAnswer::Malformed(what, bytes) => {
            format!("{what}; at {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]))
        }
    }
}

/// A request without a body.
pub fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test.example\r\n\r\n")
}

/// A request with a body and its length.
pub fn post(target: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: test.example\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A request whose body comes in coded chunks of these sizes.
pub fn post_chunked(target: &str, body: &[u8], sizes: &[usize]) -> Vec<u8> {
    let head = format!("POST {target} HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    [head.into_bytes(), crate::http::chunked(body, sizes)].concat()
}
