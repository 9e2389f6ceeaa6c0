//! A scripted origin: a listener on plain threads that does what a test tells it, and writes down what it got.
//!
//! Owns: every byte received per connection, when each connection came and went, and how it ended.
//! Must not: be polite on its own: what it answers is the script's business.
//! Read next: `faults/upstream.rs`, which scripts it row by row.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::bounds::{ANSWER_MAX, IDLE_MAX, PEER_READ_MAX, POLL_EVERY, READ_BYTES_MAX, STOP_SEEN_MAX};
use crate::client::End;
use crate::http::{BodyReader, Framing, Head, Malformed, request_framing, take_head};

/// One request as the origin read it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its head.
    pub head: Head,
    /// Its decoded body.
    pub body: Vec<u8>,
    /// How the body was framed.
    pub framing: Framing,
}

impl Request {
    /// Method and target, as the log of a test shows them.
    pub fn what(&self) -> String {
        format!("{} {}", self.head.word(0), self.head.word(1))
    }
}

/// What is known of one connection to the origin.
#[derive(Clone, Debug)]
pub struct Record {
    /// Every byte that arrived.
    pub received: Vec<u8>,
    /// Requests that were read whole.
    pub requests: Vec<Request>,
    /// When and how the other side's sending ended.
    pub ended: Option<(Instant, End)>,
    /// What was not HTTP, or not strict.
    pub malformed: Option<Malformed>,
}

/// What the listener, its connections and the test share.
#[derive(Debug, Default)]
struct Journal {
    records: Mutex<Vec<Record>>,
    stopping: AtomicBool,
}

impl Journal {
    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner) // a failed assertion is reported elsewhere
    }
}

/// A listener that plays a script on each connection.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    journal: Arc<Journal>,
}

impl Origin {
    /// Listens on a free port and plays `script` on every connection, each in a thread of its own.
    pub fn start(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port exists");
        Self::on(listener, script)
    }

    /// The same on a listener of the test's.
    pub fn on(listener: TcpListener, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().expect("a bound listener has an address");
        let journal = Arc::new(Journal::default());
        let origin = Self { address, journal: journal.clone() };
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if journal.stopping.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let mut peer = Peer::new(stream, &journal);
                let script = script.clone();
                std::thread::spawn(move || script(&mut peer));
            }
        });
        origin
    }

    /// Answers every request with `200` and a body that repeats its method, target and body.
    pub fn echo() -> Self {
        Self::start(|peer| while peer.serve_echo() {})
    }

    /// Answers every request with the same bytes.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |peer| {
            while peer.request().is_some() {
                if !peer.send(&bytes) {
                    return;
                }
            }
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Looks at what is known of every connection so far, in order of arrival.
    pub fn look<R>(&self, at: impl FnOnce(&[Record]) -> R) -> R {
        at(&self.journal.records())
    }

    /// A copy of all that is known so far.
    pub fn records(&self) -> Vec<Record> {
        self.look(<[Record]>::to_vec)
    }

    /// How many connections came.
    pub fn connections(&self) -> usize {
        self.look(<[Record]>::len)
    }

    /// How many bytes arrived on all connections.
    pub fn bytes(&self) -> usize {
        self.look(|records| records.iter().map(|record| record.received.len()).sum())
    }

    /// All requests that arrived whole.
    pub fn requests(&self) -> Vec<Request> {
        self.look(|records| records.iter().flat_map(|record| record.requests.clone()).collect())
    }

    /// The only request that came with this target.
    pub fn request_for(&self, target: &str) -> Request {
        let mut found: Vec<_> = self.requests().into_iter().filter(|r| r.head.word(1) == target).collect();
        assert_eq!(found.len(), 1, "requests for {target} in {:?}", self.summary());
        found.remove(0)
    }

    /// Waits until `seen` holds, or fails the test after `ANSWER_MAX`.
    pub fn wait_for(&self, what: &str, seen: impl Fn(&[Record]) -> bool) {
        let deadline = Instant::now() + ANSWER_MAX;
        while !self.look(&seen) {
            assert!(Instant::now() < deadline, "origin never saw {what}; it has {:?}", self.summary());
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Waits until connection `number` was ended by the other side: when, and how.
    pub fn wait_for_end(&self, number: usize) -> (Instant, End) {
        let ended = |records: &[Record]| records.get(number).and_then(|record| record.ended);
        self.wait_for(&format!("the end of connection {number}"), |records| ended(records).is_some());
        self.look(ended).expect("it was waited for")
    }

    /// Waits until no connection is left open, at most `IDLE_MAX`. True when so.
    pub fn all_ended(&self) -> bool {
        let deadline = Instant::now() + IDLE_MAX;
        while self.look(|records| records.iter().any(|record| record.ended.is_none())) {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(POLL_EVERY);
        }
        true
    }

    /// Fails the test if anything that arrived was not strict HTTP.
    pub fn assert_strict(&self) {
        let first = self.look(|records| records.iter().find_map(|record| record.malformed.clone()));
        assert!(first.is_none(), "the origin got something malformed: {first:?}");
    }

    /// One line per connection, for failure messages.
    pub fn summary(&self) -> Vec<String> {
        let line = |record: &Record| {
            let what: Vec<_> = record.requests.iter().map(Request::what).collect();
            format!("{} bytes, {what:?}, {:?}", record.received.len(), record.ended.map(|(_, end)| end))
        };
        self.look(|records| records.iter().map(line).collect())
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.journal.stopping.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address); // wakes the accept so that it sees the flag
    }
}

/// One connection to the origin, as its script sees it. It closes when the script returns; with bytes
/// unread that is a reset, so a script that wants a clean end calls [`Peer::fin`] and [`Peer::until_end`].
#[derive(Debug)]
pub struct Peer {
    stream: Option<TcpStream>,
    number: usize,
    bytes: Vec<u8>,
    journal: Arc<Journal>,
}

impl Peer {
    fn new(stream: TcpStream, journal: &Arc<Journal>) -> Self {
        let _ = stream.set_nodelay(true); // fails only on a socket that is gone already
        let _ = stream.set_write_timeout(Some(PEER_READ_MAX));
        let mut records = journal.records();
        records.push(Record { received: Vec::new(), requests: Vec::new(), ended: None, malformed: None });
        let number = records.len() - 1;
        Self { stream: Some(stream), number, bytes: Vec::new(), journal: journal.clone() }
    }

    /// Which connection this is, from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The socket itself, for what this type does not offer.
    pub fn stream(&self) -> Option<&TcpStream> {
        self.stream.as_ref()
    }

    fn note(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.journal.records()[self.number]);
    }

    /// Reads one head; `None` when the connection ended or the bytes are none.
    pub fn head(&mut self) -> Option<Head> {
        let deadline = Instant::now() + PEER_READ_MAX;
        loop {
            match take_head(&mut self.bytes) {
                Ok(Some(head)) => return Some(head),
                Ok(None) => {
                    if !self.read_more(deadline) {
                        return None;
                    }
                }
                Err(why) => {
                    self.note(|record| record.malformed = Some(why));
                    return None;
                }
            }
        }
    }

    /// Reads the body behind a head; `None` when it did not come whole.
    pub fn body(&mut self, head: &Head) -> Option<(Vec<u8>, Framing)> {
        let deadline = Instant::now() + PEER_READ_MAX;
        let framing = match request_framing(head) {
            Ok(framing) => framing,
            Err(why) => {
                self.note(|record| record.malformed = Some(why));
                return None;
            }
        };
        let mut reader = BodyReader::new(framing);
        loop {
            match reader.feed(&mut self.bytes) {
                Ok(true) => return Some((reader.body, framing)),
                Ok(false) => {}
                Err(why) => {
                    self.note(|record| record.malformed = Some(why));
                    return None;
                }
            }
            if !self.read_more(deadline) {
                return None;
            }
        }
    }

    /// Reads one whole request and writes it down.
    pub fn request(&mut self) -> Option<Request> {
        let head = self.head()?;
        let (body, framing) = self.body(&head)?;
        let request = Request { head, body, framing };
        self.note(|record| record.requests.push(request.clone()));
        Some(request)
    }

    /// Answers one request by repeating it; false when none came.
    pub fn serve_echo(&mut self) -> bool {
        let Some(request) = self.request() else { return false };
        let body = [request.what().as_bytes(), b"\n", &request.body].concat();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
        let body = if request.head.word(0) == "HEAD" { Vec::new() } else { body };
        self.send([head.as_bytes(), &body].concat())
    }

    /// Sends bytes; false when the other side is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        let sent = stream.write_all(bytes.as_ref()).is_ok();
        if !sent {
            self.note(|record| record.ended = record.ended.or(Some((Instant::now(), End::Rst))));
        }
        sent
    }

    /// Sends bytes in pieces of these sizes (the last one repeats), with a pause between.
    pub fn drip(&mut self, bytes: &[u8], sizes: &[usize], pause: Duration) -> bool {
        let mut rest = bytes;
        let mut sizes = sizes.iter().copied();
        let mut size = 1;
        while !rest.is_empty() {
            size = sizes.next().unwrap_or(size).clamp(1, rest.len());
            if !self.send(&rest[..size.min(rest.len())]) {
                return false;
            }
            rest = &rest[size.min(rest.len())..];
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
        }
        true
    }

    /// Ends our sending side only.
    pub fn fin(&self) {
        if let Some(stream) = &self.stream {
            let _ = stream.shutdown(Shutdown::Write); // the peer may have gone first
        }
    }

    /// Closes with a reset, now.
    pub fn reset(&mut self) {
        if let Some(stream) = self.stream.take() {
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)); // the peer may have gone first
        }
    }

    /// Reads on until the other side ends, at most `span`; true when it ended.
    pub fn until_end(&mut self, span: Duration) -> bool {
        let deadline = Instant::now() + span;
        while self.read_more(deadline) {}
        self.journal.records()[self.number].ended.is_some()
    }

    /// Drops what was written down of this connection so far: for tests that count their own way.
    pub fn forget(&self) {
        self.note(|record| {
            record.received.clear();
            record.requests.clear();
        });
    }

    /// Reads whatever comes next; false when nothing more does.
    pub fn read_some(&mut self) -> bool {
        self.read_more(Instant::now() + PEER_READ_MAX)
    }

    /// Whether all bytes received so far satisfy `enough`.
    pub fn received_enough(&self, enough: impl FnOnce(&[u8]) -> bool) -> bool {
        enough(&self.journal.records()[self.number].received)
    }

    /// Does nothing for a while, not even read.
    pub fn pause(&self, span: Duration) {
        let deadline = Instant::now() + span;
        while Instant::now() < deadline && !self.journal.stopping.load(Ordering::Acquire) {
            std::thread::sleep(POLL_EVERY.min(span));
        }
    }

    /// Reads into the journal once; false when nothing more comes, or not in time.
    fn read_more(&mut self, deadline: Instant) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.journal.stopping.load(Ordering::Acquire) {
                return false;
            }
            match self.read_once(left.min(STOP_SEEN_MAX)) {
                Some(Ok(n)) => return n > 0,
                Some(Err(())) => return false,
                None => {}
            }
        }
    }

    /// One read: bytes, 0 at the end of the stream, `None` when nothing came in time.
    fn read_once(&mut self, span: Duration) -> Option<Result<usize, ()>> {
        let stream = self.stream.as_mut()?;
        stream.set_read_timeout(Some(span)).ok()?;
        let mut piece = [0; READ_BYTES_MAX];
        let end = match stream.read(&mut piece) {
            Ok(0) => End::Fin,
            Ok(n) => {
                self.bytes.extend_from_slice(&piece[..n]);
                self.note(|record| record.received.extend_from_slice(&piece[..n]));
                return Some(Ok(n));
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => return None,
                _ => End::Rst,
            },
        };
        self.note(|record| record.ended = record.ended.or(Some((Instant::now(), end))));
        Some(Err(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Client, get, post, post_chunked};

    #[test]
    fn an_echo_answers_each_request_with_itself() {
        let origin = Origin::echo();
        let mut client = Client::connect(origin.address());
        assert_eq!(client.ask(get("/a")).text(), "GET /a\n");
        assert_eq!(client.ask(post("/b", "hello")).text(), "POST /b\nhello");
        assert_eq!(client.ask(post_chunked("/c", b"hello", &[2])).text(), "POST /c\nhello");
        assert_eq!(origin.requests().len(), 3);
        origin.assert_strict();
        drop(client);
        assert_eq!(origin.wait_for_end(0).1, End::Fin);
    }

    #[test]
    fn a_cut_answer_shows_what_came_and_how_it_ended() {
        let script = |peer: &mut Peer| {
            peer.request();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf!");
            if peer.number() == 0 {
                peer.fin();
            } else {
                peer.pause(Duration::from_millis(20)); // lets the bytes be read before the reset overtakes them
                peer.reset();
            }
        };
        let origin = Origin::start(script);
        for end in [End::Fin, End::Rst] {
            let answer = Client::connect(origin.address()).ask(get("/"));
            assert_eq!((answer.text().as_str(), answer.cut, answer.whole()), ("half!", Some(end), false));
        }
    }

    #[test]
    fn a_reset_by_the_caller_is_told_from_a_close() {
        let origin = Origin::start(|peer| {
            peer.until_end(ANSWER_MAX);
        });
        drop(Client::connect(origin.address()));
        assert_eq!(origin.wait_for_end(0).1, End::Fin);
        Client::connect(origin.address()).reset();
        assert_eq!(origin.wait_for_end(1).1, End::Rst);
    }

    #[test]
    fn loose_requests_are_written_down_as_malformed() {
        let origin = Origin::echo();
        Client::connect(origin.address()).send("GET / HTTP/1.1\r\nHost : a\r\n\r\n");
        origin.wait_for("a malformed head", |records| records.iter().any(|r| r.malformed.is_some()));
    }
}
