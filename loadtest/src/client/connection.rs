//! One connection to the target.
//!
//! Owns: its socket and the exchange under way on it. Must not: choose what is sent, or when.
//! Read next: `../client.rs`, which drives it; `http.rs`, which reads the answers.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    time::Instant,
};

use mio::net::TcpStream;

use super::http::{HttpFault, ResponseReader, Stage};
use crate::{
    oracle::{Cut, Fault, Judge},
    prompts::Conversation,
};

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) exchange: Option<Exchange>,
    dialled: bool,
}

/// One request on its way, and what has come back.
pub(super) struct Exchange {
    pub(super) number: u64,
    /// When it was due. Latencies count from here.
    pub(super) intended: Instant,
    pub(super) judge: Judge,
    /// Where it was said, if it goes on.
    pub(super) conversation: Option<Conversation>,
    /// Its caller left.
    pub(super) left: bool,
    bytes: Vec<u8>,
    sent: usize,
    reader: ResponseReader,
    /// The connection had carried another exchange before.
    reused: bool,
}

impl Exchange {
    pub(super) fn new(number: u64, intended: Instant, bytes: Vec<u8>, bodyless: bool, judge: Judge) -> Self {
        Self {
            number,
            intended,
            judge,
            conversation: None,
            left: false,
            bytes,
            sent: 0,
            reader: ResponseReader::new(bodyless),
            reused: false,
        }
    }

    fn cut(&mut self, stage: Stage, reset: bool) {
        let reused = self.reused;
        self.judge.cut(stage, Cut { reset, reused });
    }
}

/// What the socket's stirring led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing is over yet.
    Waiting,
    /// The exchange is over.
    Over {
        /// Whether the connection can carry another.
        reusable: bool,
    },
    /// The connection is over, and it was idle.
    Gone,
    /// The peer said something on an idle connection.
    Unasked,
}

const UNUSABLE: Progress = Progress::Over { reusable: false };

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, exchange: None, dialled: false }
    }

    /// Begins an exchange: sends what the socket takes. Nothing is read and no error looked at, as the poll
    /// will report either; so one exchange never ends within the beginning of another.
    pub(super) fn begin(&mut self, mut exchange: Exchange) {
        exchange.reused = self.dialled;
        if self.dialled {
            let _ = send(&mut self.stream, &mut exchange);
        }
        self.exchange = Some(exchange);
    }

    /// The socket stirred. Returns what that led to, and the bytes received.
    pub(super) fn stir(&mut self, scratch: &mut [u8], clock: impl Fn() -> Instant) -> (Progress, u64) {
        if !self.dialled && !self.finish_dialling() {
            return (if self.dialled { UNUSABLE } else { Progress::Waiting }, 0);
        }
        let Some(exchange) = self.exchange.as_mut() else {
            return (idle(&mut self.stream), 0);
        };
        // A refusal may come, and be worth reading, while a long body cannot be sent any more.
        let send_error = send(&mut self.stream, exchange).err();
        let (progress, received) = receive(&mut self.stream, exchange, scratch, clock);
        if progress == Progress::Waiting
            && let Some(kind) = send_error
        {
            exchange.cut(exchange.reader.stage(), kind != ErrorKind::WriteZero);
            return (UNUSABLE, received);
        }
        (progress, received)
    }

    /// Whether the connection is made. If dialling failed, the exchange says so, and `dialled` is set.
    fn finish_dialling(&mut self) -> bool {
        let error = match self.stream.take_error() {
            Ok(None) => match self.stream.peer_addr() {
                Ok(_) => {
                    self.dialled = true;
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::NotConnected => return false,
                Err(error) => error,
            },
            Ok(Some(error)) | Err(error) => error,
        };
        self.dialled = true;
        if let Some(exchange) = self.exchange.as_mut() {
            let refused = error.kind() == ErrorKind::ConnectionRefused;
            let fault = if refused { Fault::ConnectRefused } else { Fault::ConnectFailed };
            exchange.judge.fail(fault, error.to_string());
        }
        false
    }
}

/// An idle connection stirs when the peer closes it, or says something nobody asked for.
fn idle(stream: &mut TcpStream) -> Progress {
    match stream.read(&mut [0; 1]) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Progress::Waiting
        }
        Ok(0) | Err(_) => Progress::Gone,
        Ok(_) => Progress::Unasked,
    }
}

fn send(stream: &mut TcpStream, exchange: &mut Exchange) -> Result<(), ErrorKind> {
    while exchange.sent < exchange.bytes.len() {
        match stream.write(&exchange.bytes[exchange.sent..]) {
            Ok(0) => return Err(ErrorKind::WriteZero),
            Ok(count) => exchange.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.kind()),
        }
    }
    Ok(())
}

fn receive(
    stream: &mut TcpStream,
    exchange: &mut Exchange,
    scratch: &mut [u8],
    clock: impl Fn() -> Instant,
) -> (Progress, u64) {
    let mut received = 0;
    loop {
        match stream.read(scratch) {
            Ok(0) => {
                let stage = exchange.reader.closed();
                exchange.cut(stage, false);
                return (UNUSABLE, received);
            }
            Ok(count) => {
                received += count as u64;
                exchange.judge.at(clock());
                if let Some(progress) = take(exchange, &scratch[..count]) {
                    return (progress, received);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (Progress::Waiting, received),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => {
                exchange.cut(exchange.reader.stage(), true);
                return (UNUSABLE, received);
            }
        }
    }
}

/// Hands bytes to the reader and the judge; says how the exchange is over, if it is.
fn take(exchange: &mut Exchange, bytes: &[u8]) -> Option<Progress> {
    let judge = &mut exchange.judge;
    match exchange.reader.feed(bytes, judge) {
        Err(HttpFault::Head(detail)) => judge.fail(Fault::BadHead, detail),
        Err(HttpFault::Framing(detail)) => judge.fail(Fault::BadFraming, detail),
        Ok(used) if used < bytes.len() => {
            let surplus = String::from_utf8_lossy(&bytes[used..bytes.len().min(used + 40)]).into_owned();
            judge.fail(Fault::SurplusBytes, format!("{} behind the answer: {surplus:?}", bytes.len() - used));
        }
        Ok(_) if exchange.reader.stage() != Stage::Whole => return None,
        Ok(_) => {
            // An answer before the whole request was sent leaves the rest of it in the way of the next.
            let reusable = exchange.reader.keep_alive() && exchange.sent == exchange.bytes.len();
            return Some(Progress::Over { reusable });
        }
    }
    Some(UNUSABLE)
}
