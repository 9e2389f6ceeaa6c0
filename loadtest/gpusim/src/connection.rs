//! One connection to a simulated server.
//!
//! Owns: its socket, the bytes in both directions and the answer under way. Reading and writing go as far as
//! the socket lets them and never wait.
//! Must not: choose what is answered, or know which engine works on it.
//! Read next: `server.rs`, which drives it.

use std::io::{ErrorKind, Read as _, Write as _};

use mio::net::TcpStream;

use crate::{
    api::Answer,
    bounds::{AHEAD_BYTES_MAX, KEPT_BYTES_MAX, UNSENT_BYTES_MAX},
    engine::Key,
    http::{self, Framing, Inbox, LoadFormat, Stamp, Status},
};

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// Which server of the fleet was dialled.
    pub(crate) replica: usize,
    pub(crate) inbox: Inbox,
    pub(crate) exchange: Option<Exchange>,
    out: Vec<u8>,
    sent: usize,
    /// The socket may hold more: reading stopped at a bound, and an edge-triggered poll will not say so again.
    more_to_read: bool,
    /// Which connection of the fleet's this is: slots are used again, numbers are not.
    pub(crate) number: u64,
    /// An answer is held back; the next request waits for it.
    pub(crate) held: bool,
    /// No further request is read; closed once everything is sent.
    closing: bool,
}

/// A generation that an engine works on.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) key: Key,
    pub(crate) answer: Answer,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) head_sent: bool,
    /// How the client wants to hear of the load.
    pub(crate) load_format: Option<LoadFormat>,
}

/// Whether a connection lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Fate {
    Open,
    /// The peer left, or nothing more will be said.
    Gone,
}

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    Bytes,
    Nothing,
    Gone,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, replica: usize, number: u64) -> Self {
        Self {
            stream,
            replica,
            inbox: Inbox::default(),
            exchange: None,
            out: Vec::new(),
            sent: 0,
            more_to_read: false,
            number,
            held: false,
            closing: false,
        }
    }

    /// Reads once into the inbox, unless too much waits there already.
    pub(crate) fn receive(&mut self, scratch: &mut [u8]) -> Received {
        if (self.exchange.is_some() || self.held) && self.inbox.len() >= AHEAD_BYTES_MAX {
            self.more_to_read = true;
            return Received::Nothing;
        }
        loop {
            return match self.stream.read(scratch) {
                Ok(0) => Received::Gone,
                // What comes after the last request is read only to notice the peer leave.
                Ok(_) if self.closing => continue,
                Ok(count) => {
                    self.inbox.push(&scratch[..count]);
                    Received::Bytes
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Received::Nothing,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => Received::Gone,
            };
        }
    }

    /// True once after reading had stopped at a bound.
    pub(crate) fn take_more_to_read(&mut self) -> bool {
        std::mem::take(&mut self.more_to_read)
    }

    /// Whether the next request may be looked at.
    pub(crate) fn idle(&self) -> bool {
        self.exchange.is_none() && !self.held && !self.closing
    }

    /// Queues a whole answer. With `bodyless` (a `HEAD` request) the length is told and nothing sent.
    pub(crate) fn reply(&mut self, reply: &Reply<'_>, stamp: Stamp<'_>) {
        let framing = Framing::Length(reply.body.len());
        http::write_head(&mut self.out, reply.status, reply.content_type, framing, reply.keep_alive, stamp);
        if !reply.bodyless {
            self.out.extend_from_slice(reply.body);
        }
        self.closing |= !reply.keep_alive;
    }

    pub(crate) fn go_on(&mut self) {
        self.out.extend_from_slice(http::CONTINUE);
    }

    /// Queues the head of a stream, if it was not yet.
    pub(crate) fn open_stream(&mut self, stamp: Stamp<'_>) {
        let Some(exchange) = self.exchange.as_mut() else { return };
        if !std::mem::replace(&mut exchange.head_sent, true) {
            let (framing, keep_alive) = (exchange.framing, exchange.keep_alive);
            let content_type = exchange.answer.content_type();
            http::write_head(&mut self.out, Status::Ok, content_type, framing, keep_alive, stamp);
        }
    }

    /// Queues what one more token adds to the answer; with the `last` one the exchange is over.
    pub(crate) fn token(&mut self, last: bool, stamp: Stamp<'_>, scratch: &mut Vec<u8>) {
        if self.exchange.as_ref().is_some_and(|exchange| exchange.answer.stream()) {
            self.open_stream(stamp);
        }
        let Some(exchange) = self.exchange.as_mut() else { return };
        scratch.clear();
        exchange.answer.token(last, scratch);
        let keep_alive = exchange.keep_alive;
        if exchange.answer.stream() {
            match exchange.framing {
                Framing::Chunked => http::write_coded(&mut self.out, scratch),
                Framing::Close | Framing::Length(_) => self.out.extend_from_slice(scratch),
            }
            if last && exchange.framing == Framing::Chunked {
                self.out.extend_from_slice(http::LAST_CODED);
            }
        } else if last {
            let reply = Reply { keep_alive, ..Reply::json(Status::Ok, scratch) };
            self.reply(&reply, stamp);
        }
        if last {
            self.closing |= !keep_alive;
            self.exchange = None;
        }
    }

    /// Sends as much as the socket takes.
    pub(crate) fn send(&mut self) -> Fate {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(0) => return Fate::Gone,
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Fate::Gone,
            }
        }
        if self.sent < self.out.len() {
            let unsent = self.out.len() - self.sent;
            return if unsent > UNSENT_BYTES_MAX { Fate::Gone } else { Fate::Open };
        }
        self.out.clear();
        self.sent = 0;
        self.out.shrink_to(KEPT_BYTES_MAX);
        if self.closing && self.exchange.is_none() {
            // Our side only: closing with unread bytes would reset the connection and take the answer with it.
            let _ = self.stream.shutdown(std::net::Shutdown::Write);
        }
        Fate::Open
    }
}

/// An answer that is whole at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply<'a> {
    pub(crate) status: Status,
    pub(crate) content_type: &'static str,
    pub(crate) body: &'a [u8],
    pub(crate) keep_alive: bool,
    pub(crate) bodyless: bool,
}

impl<'a> Reply<'a> {
    pub(crate) fn json(status: Status, body: &'a [u8]) -> Self {
        Self { status, content_type: "application/json", body, keep_alive: true, bodyless: false }
    }
}
