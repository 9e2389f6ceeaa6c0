//! Both ends of every connection: callers and the origin, and the check of what they get.
//!
//! Owns: how far each message is, and the comparison of every byte.
//! Must not: know when anything is due, or whose turn it is.
//! Read next: `turn.rs`, which drives them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use super::fault::Fault;
use crate::bounds::EVENT_BYTES;
use crate::http::Reader;
use crate::workload::{Stamp, read_event};

/// Bytes on their way out.
#[derive(Default)]
pub(super) struct Sending {
    pub(super) bytes: Option<Arc<[u8]>>,
    pub(super) at: usize,
}

/// One of the callers, with the request that it has out.
pub(super) struct Caller {
    pub(super) reader: Reader,
    pub(super) sending: Sending,
    /// Where the answer stands.
    pub(super) body_at: usize,
    /// When the request was to be sent; none: no request is out.
    pub(super) intended_ns: Option<u64>,
    /// The answer is there; the connection is about to end.
    pub(super) ending: bool,
    pub(super) events: Events,
}

/// The check of one stream at its caller.
pub(super) struct Events {
    pub(super) partial: [u8; EVENT_BYTES],
    pub(super) filled: usize,
    pub(super) stream: Option<u32>,
    pub(super) next: u32,
    pub(super) standing: bool,
}

/// A connection at the origin.
pub(super) struct Origin {
    pub(super) reader: Reader,
    pub(super) sending: Sending,
    pub(super) body_at: usize,
    /// Events that the socket would not take yet.
    pub(super) behind: Vec<u8>,
    pub(super) ends_after: bool,
}

/// Which end a socket is.
pub(super) enum Role {
    Caller(Caller),
    Origin(Origin),
}

/// A socket that is not a proxy's.
pub(super) struct End {
    pub(super) socket: TcpStream,
    pub(super) role: Role,
}

impl Origin {
    /// The answer is out, and the request asked for the end of the connection.
    pub(super) fn is_over(&self) -> bool {
        self.ends_after && self.sending.bytes.is_none()
    }
}

impl Events {
    pub(super) fn take(&mut self, mut bytes: &[u8], mut each: impl FnMut(Stamp)) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let take = bytes.len().min(EVENT_BYTES - self.filled);
            self.partial[self.filled..self.filled + take].copy_from_slice(&bytes[..take]);
            self.filled += take;
            bytes = &bytes[take..];
            if self.filled < EVENT_BYTES {
                return Ok(());
            }
            self.filled = 0;
            let Some(stamp) = read_event(&self.partial) else {
                return Err(Fault::Event(String::from_utf8_lossy(&self.partial).into_owned()));
            };
            if *self.stream.get_or_insert(stamp.stream) != stamp.stream || self.next != stamp.number {
                return Err(Fault::Event(format!("{} was expected, {stamp:?} came", self.next)));
            }
            self.next += 1;
            each(stamp);
        }
        Ok(())
    }
}

/// Whether these are the next bytes of what was sent.
pub(super) fn check(body: &[u8], expected: &[u8], at: &mut usize, what: &'static str) -> Result<(), Fault> {
    if expected.get(*at..*at + body.len()) == Some(body) {
        *at += body.len();
        return Ok(());
    }
    let rest = expected.get(*at..).unwrap_or_default();
    let same = body.iter().zip(rest).take_while(|(a, b)| a == b).count();
    Err(Fault::Body { what, at: *at + same })
}

/// What a look at a socket found.
pub(super) enum Got {
    Bytes(usize),
    Nothing,
    End,
}

/// Reads once.
pub(super) fn read(socket: &mut TcpStream, buffer: &mut [u8]) -> Result<Got, Fault> {
    loop {
        return match socket.read(buffer) {
            Ok(0) => Ok(Got::End),
            Ok(count) => Ok(Got::Bytes(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Got::Nothing),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => Err(Fault::Io("receiving", error)),
        };
    }
}

/// How much it took.
pub(super) fn write(socket: &mut TcpStream, bytes: &[u8]) -> Result<usize, Fault> {
    match socket.write(bytes) {
        Ok(count) => Ok(count),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => Ok(0),
        Err(error) => Err(Fault::Io("sending", error)),
    }
}

/// Sends on, as much as the socket takes.
pub(super) fn send(socket: &mut TcpStream, sending: &mut Sending) -> Result<(), Fault> {
    let Some(bytes) = &sending.bytes else { return Ok(()) };
    while sending.at < bytes.len() {
        let sent = write(socket, &bytes[sending.at..])?;
        if sent == 0 {
            return Ok(());
        }
        sending.at += sent;
    }
    sending.bytes = None;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::write_event;

    #[test]
    fn a_changed_byte_is_a_fault_that_names_it() {
        let mut at = 3;
        check(b"de", b"abcdefg", &mut at, "answer").expect("the same");
        assert_eq!(at, 5);
        assert!(matches!(check(b"fX", b"abcdefg", &mut at, "answer"), Err(Fault::Body { at: 6, .. })));
        assert!(check(b"fgh", b"abcdefg", &mut at, "answer").is_err(), "one byte too many");
    }

    #[test]
    fn a_missing_event_is_a_fault() {
        let mut events =
            Events { partial: [0; EVENT_BYTES], filled: 0, stream: None, next: 0, standing: false };
        let mut event = [0; EVENT_BYTES];
        let mut take = |number| {
            write_event(&mut event, Stamp { at_ns: 1, stream: 7, number });
            let (left, right) = event.split_at(50);
            events.take(left, |_| {})?;
            events.take(right, |_| {})
        };
        take(0).expect("the first");
        take(1).expect("the second");
        assert!(matches!(take(3), Err(Fault::Event(_))));
    }
}
