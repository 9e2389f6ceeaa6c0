//! What a socket that speaks TLS keeps between its operations: the session, and bytes on their way through it.
//!
//! Owns: ciphertext that is no whole record yet, plaintext that found no room, ciphertext that the socket did not take;
//! the orderly end. While nothing is on its way it holds no buffer.
//! Must not: wait, or do I/O but through what it is handed: `socket.rs` does.
//! Read next: `tls/session.rs`, what happens to the bytes.
//!
//! Ciphertext is received into the very buffer that a caller of `Inbox::arm` wants filled, if that is empty, and is
//! decrypted there; the plaintext goes into another of its size from the pool. So a connection that waits holds one
//! buffer, as one in plain text does.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;

use super::socket::Received;
use super::{Buffer, Buffers, Size};
use crate::bounds::{TLS_PLAIN_BYTES, TLS_RECORD_BYTES_MAX};
use crate::tls::{Fault, Session, Stage, record_bytes};

/// The TLS side of a socket.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one connection, not a state")]
pub(super) struct Secure {
    session: Session,
    buffers: Buffers,
    /// Ciphertext from the first byte that the session has not used.
    held: Option<Buffer>,
    /// Plaintext for the next receive.
    spill: Option<Buffer>,
    /// Ciphertext that goes out before anything else.
    unsent: Option<Buffer>,
    /// Anything came at all.
    heard: bool,
    /// Ciphertext is on its way through the ring.
    sending: bool,
    /// The receiving side was shut by ourselves: its end is no cut.
    shut: bool,
    /// We have said that we say no more, or break off without: what still comes is of no interest.
    done: bool,
    /// Why it is over, if the session does not know.
    fault: Option<Fault>,
}

/// How a receive begins.
enum Begun {
    /// There is nothing to ask the socket for.
    Ready(Received),
    /// Receive behind what is in `cipher`. `plain` is the caller's buffer, if it was not lent for that.
    Ask {
        /// To receive into.
        cipher: Buffer,
        /// To append plaintext to.
        plain: Option<Buffer>,
    },
}

/// How it ends.
enum Ended {
    /// With this.
    Ready(Received),
    /// There was nothing for the caller in it: begin again with its buffer.
    More(Buffer),
}

impl Secure {
    pub(super) fn new(session: Session, buffers: Buffers) -> Self {
        Self {
            session,
            buffers,
            held: None,
            spill: None,
            unsent: None,
            heard: false,
            sending: false,
            shut: false,
            done: false,
            fault: None,
        }
    }

    /// Why it is over, if something went wrong.
    pub(super) fn fault(&self) -> Option<Fault> {
        match self.session.stage() {
            Stage::Failed(fault) => Some(fault),
            Stage::Handshake | Stage::Traffic | Stage::PeerClosed => self.fault,
        }
    }

    /// Whether a receive would end without waiting.
    pub(super) fn has_more(&self) -> bool {
        !self.done && (self.spill.is_some() || self.is_over())
    }

    /// Whether the beginning of a record came, and not yet its end.
    pub(super) fn is_in_record(&self) -> bool {
        self.held.is_some()
    }

    fn is_over(&self) -> bool {
        self.fault.is_some() || matches!(self.session.stage(), Stage::PeerClosed | Stage::Failed(_))
    }

    // ---- the handshake

    /// Whether the handshake is done, and then whether it was an abbreviated one.
    pub(super) fn established(&self) -> Result<Option<bool>, Fault> {
        match (self.fault(), self.session.stage()) {
            (Some(fault), _) => Err(fault),
            (None, Stage::Handshake) => Ok(None),
            (None, Stage::Traffic | Stage::PeerClosed | Stage::Failed(_)) => {
                Ok(Some(self.session.is_resumed()))
            }
        }
    }

    /// To receive handshake messages into.
    pub(super) fn begin_handshake(&mut self) -> Buffer {
        let empty = self.buffers.small();
        self.cipher_for(empty).0
    }

    /// What came. Plaintext behind the handshake waits for the first receive.
    pub(super) fn end_handshake(&mut self, (received, cipher): Received) {
        match received {
            Ok(0) if self.heard => self.fault = Some(Fault::CutShort),
            Ok(0) => self.fault = Some(Fault::Silent),
            Ok(_) => {
                self.heard = true;
                // What the peer sends right behind its last message waits for the first receive.
                let large = self.buffers.large();
                let (_, plain) = self.absorb(cipher, Some(large));
                self.spill = Some(plain).filter(|plain| !plain.is_empty());
            }
            Err(_) => self.fault = Some(Fault::Reset),
        }
    }

    // ---- receiving

    /// Begins to receive for `buffer`.
    fn begin(&mut self, mut buffer: Buffer) -> Begun {
        if self.done {
            return Begun::Ask { cipher: buffer, plain: None };
        }
        if let Some(mut spill) = self.spill.take() {
            let n = buffer.append(spill.bytes());
            spill.consume(n);
            self.spill = Some(spill).filter(|spill| !spill.is_empty());
            return Begun::Ready((Ok(n), buffer));
        }
        if self.is_over() {
            return Begun::Ready((self.end_of_input(), buffer));
        }
        let (cipher, plain) = self.cipher_for(buffer);
        Begun::Ask { cipher, plain }
    }

    /// What came of it.
    fn end(&mut self, (received, cipher): Received, plain: Option<Buffer>) -> Ended {
        if self.done {
            return Ended::Ready((received, plain.unwrap_or(cipher)));
        }
        let size = cipher.size();
        match received {
            Ok(n) if n > 0 => {
                let (n, buffer) = self.absorb(cipher, plain);
                match n {
                    0 if !self.is_over() => Ended::More(buffer),
                    0 => Ended::Ready((self.end_of_input(), buffer)),
                    n => Ended::Ready((Ok(n), buffer)),
                }
            }
            Ok(_) => {
                self.keep(cipher);
                if !self.shut {
                    self.fault = Some(Fault::Truncated);
                }
                let buffer = plain.unwrap_or_else(|| self.buffers.take(size));
                Ended::Ready((self.end_of_input(), buffer))
            }
            Err(error) => {
                self.keep(cipher);
                let buffer = plain.unwrap_or_else(|| self.buffers.take(size));
                Ended::Ready((Err(error), buffer))
            }
        }
    }

    /// What the end of what comes is called.
    fn end_of_input(&self) -> io::Result<usize> {
        match self.fault() {
            None => Ok(0),
            Some(Fault::Truncated) => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The buffer to receive ciphertext into, what is held at its front; and the caller's, unless it is that one.
    fn cipher_for(&mut self, buffer: Buffer) -> (Buffer, Option<Buffer>) {
        if self.session.is_in_message() {
            return (self.buffers.small(), Some(buffer)); // what is held stays at hand: see `Session::write`
        }
        let lend = buffer.is_empty();
        let Some(held) = self.held.take() else {
            return if lend { (buffer, None) } else { (self.buffers.take(buffer.size()), Some(buffer)) };
        };
        // What is longer than any record is refused when it is looked at.
        let whole = record_bytes(held.bytes()).unwrap_or(0).min(TLS_RECORD_BYTES_MAX).max(held.len() + 1);
        if lend && buffer.size().bytes() >= whole {
            let mut cipher = buffer;
            let taken = cipher.append(held.bytes());
            assert_eq!(taken, held.len(), "a record's beginning fits where the record does");
            return (cipher, None);
        }
        let cipher = if held.len() + held.room() >= whole {
            held
        } else {
            self.buffers.moved(&held, Size::holding(whole).max(buffer.size()))
        };
        (cipher, Some(buffer))
    }

    /// Decrypts what came: into `plain`, or a buffer of the size of the one that was lent. Says how much it is.
    fn absorb(&mut self, cipher: Buffer, plain: Option<Buffer>) -> (usize, Buffer) {
        let mut plain = plain.unwrap_or_else(|| self.buffers.take(cipher.size()));
        let mut cipher = self.behind_held(cipher);
        let before = plain.len();
        let (spill, buffers) = (&mut self.spill, &self.buffers);
        let read = self.session.read(cipher.bytes_mut(), &mut |bytes| {
            // Once something found no room, nothing goes past it.
            let n = if spill.is_none() { plain.append(bytes) } else { 0 };
            if n < bytes.len() {
                let spill = spill.get_or_insert_with(|| buffers.large());
                let spilt = spill.append(&bytes[n..]);
                assert_eq!(
                    spilt,
                    bytes.len() - n,
                    "plaintext is shorter than the ciphertext, which fit a buffer"
                );
            }
        });
        cipher.consume(read.used);
        self.keep(cipher);
        (plain.len() - before, plain)
    }

    /// What is held and what came, in one buffer.
    fn behind_held(&mut self, cipher: Buffer) -> Buffer {
        let Some(mut held) = self.held.take() else { return cipher };
        if held.room() < cipher.len() {
            held = self.buffers.moved(&held, Size::holding(held.len() + cipher.len()));
        }
        if held.append(cipher.bytes()) < cipher.len() {
            self.fault = Some(Fault::Misbehaved); // a message in more pieces than any that exists
        }
        held
    }

    fn keep(&mut self, cipher: Buffer) {
        if !cipher.is_empty() && self.held.is_none() {
            self.held = Some(cipher);
        }
    }

    /// Takes bytes that came while nobody asked for any; false if they are more than TLS' own words.
    pub(super) fn take_aside(&mut self, bytes: &[u8]) -> bool {
        let mut cipher = self.buffers.take(Size::holding(bytes.len()));
        cipher.append(bytes);
        let (n, _) = self.absorb(cipher, None);
        n == 0 && !self.has_more()
    }

    // ---- sending

    /// The ciphertext to send through the ring.
    pub(super) fn begin_send(&mut self) -> Option<Buffer> {
        let sealed = self.unsent.take()?;
        self.sending = true; // stays so if the send is dropped: the stream is then broken inside a record
        Some(sealed)
    }

    /// All of it left.
    pub(super) fn end_send(&mut self) {
        self.sending = false;
    }

    /// Nothing orderly follows.
    pub(super) fn break_off(&mut self) {
        self.done = true;
    }

    /// Keeps what the socket did not take of `sealed`.
    fn keep_unsent(&mut self, sealed: &[u8]) -> bool {
        if sealed.is_empty() {
            return true;
        }
        let mut unsent = self.buffers.take(Size::holding(sealed.len()));
        let kept = unsent.append(sealed);
        assert_eq!(kept, sealed.len(), "a step's ciphertext and a flight of a handshake fit a large buffer");
        self.unsent = Some(unsent);
        false
    }

    /// Hands over what the session has to say by itself; false if the socket is full.
    fn push_own(&mut self, send: impl Fn(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        if self.unsent.is_some() {
            return Ok(false);
        }
        let Some(out) = self.session.take_out() else { return Ok(true) };
        let n = send(&out)?;
        Ok(self.keep_unsent(&out[n..]))
    }

    /// Encrypts a piece and hands it over; false if the socket is full.
    fn push_piece(&mut self, piece: &[u8], send: &impl Fn(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        let buffers = self.buffers.clone();
        buffers.at_desk(|desk| {
            let held = self.held.as_mut().map(Buffer::bytes_mut).unwrap_or_default();
            let sealed = self.session.write(piece, held, desk);
            let n = sealed.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            let sent = send(&desk[..n])?;
            Ok(self.keep_unsent(&desk[sent..n]))
        })
    }

    /// Ends our direction, if there is one to end and no record is half sent.
    fn close(&mut self, send: impl Fn(&[u8]) -> io::Result<usize>) {
        let speaks =
            matches!(self.session.stage(), Stage::Traffic | Stage::PeerClosed) && self.fault.is_none();
        if self.done || self.sending || self.unsent.is_some() || !speaks {
            return;
        }
        self.done = true;
        if !matches!(self.push_own(&send), Ok(true)) {
            return;
        }
        let buffers = self.buffers.clone();
        buffers.at_desk(|desk| {
            let held = self.held.as_mut().map(Buffer::bytes_mut).unwrap_or_default();
            if let Ok(n) = self.session.close(held, desk) {
                let _ = send(&desk[..n]); // the peer may be gone; then nobody misses it
            }
        });
    }
}

/// Receives until there is plaintext, an end or an error; `WouldBlock` is one that leaves everything as it was.
pub(super) fn pull(
    secure: &RefCell<Secure>,
    mut buffer: Buffer,
    receive: impl Fn(&mut Buffer) -> io::Result<usize>,
) -> Received {
    let mut secure = secure.borrow_mut();
    loop {
        let (mut cipher, plain) = match secure.begin(buffer) {
            Begun::Ready(received) => return received,
            Begun::Ask { cipher, plain } => (cipher, plain),
        };
        let received = receive(&mut cipher);
        match secure.end((received, cipher), plain) {
            Ended::Ready(received) => return received,
            Ended::More(back) => buffer = back,
        }
    }
}

/// Encrypts and sends as long as the socket takes it at once. Says how much of `plain` was taken over, and whether all
/// was sent: if not, what is left over is to be sent before more is pushed.
pub(super) fn push(
    secure: &RefCell<Secure>,
    plain: &[u8],
    send: impl Fn(&[u8]) -> io::Result<usize>,
) -> (usize, io::Result<bool>) {
    let mut secure = secure.borrow_mut();
    let mut taken = 0;
    let mut clear = secure.push_own(&send);
    while let Ok(true) = clear
        && taken < plain.len()
    {
        let piece = &plain[taken..plain.len().min(taken + TLS_PLAIN_BYTES)];
        clear = secure.push_piece(piece, &send);
        if clear.is_ok() {
            taken += piece.len();
        }
    }
    (taken, clear)
}

/// What the session has to say to the end of it all: the alert for whatever the peer did wrong.
pub(super) fn say_last(secure: &RefCell<Secure>, send: impl Fn(&[u8]) -> io::Result<usize>) {
    let mut secure = secure.borrow_mut();
    if matches!(secure.session.stage(), Stage::Failed(_)) && !secure.sending {
        let _ = secure.push_own(send); // the peer may be gone; then nobody misses it
    }
}

/// Says goodbye, if that is owed.
pub(super) fn say_goodbye(secure: &RefCell<Secure>, send: impl Fn(&[u8]) -> io::Result<usize>) {
    secure.borrow_mut().close(send);
}

/// Does what TLS wants done before one or both directions are shut.
pub(super) fn before_shutdown(
    secure: &RefCell<Secure>,
    how: Shutdown,
    send: impl Fn(&[u8]) -> io::Result<usize>,
) {
    match how {
        Shutdown::Write => {
            secure.borrow_mut().close(send);
            secure.borrow_mut().done = true; // from here on what comes is taken and thrown away
        }
        Shutdown::Read => secure.borrow_mut().shut = true,
        Shutdown::Both => {
            let mut secure = secure.borrow_mut();
            secure.shut = true;
            secure.break_off();
        }
    }
}
