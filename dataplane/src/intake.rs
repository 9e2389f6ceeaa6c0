//! A request's body on its way in: as much of it as routing needs is held, the rest is pumped past.
//!
//! Owns: the held pieces, the framing state of the body, and the scanner that reads `model` from it.
//! Must not: send anything, except through [`pump`], which owns both ends while it runs.
//! Read next: `attempt.rs`, which sends what is held.

use std::cell::RefCell;
use std::rc::Rc;

use ringway_wire::http1::{Advance, Body, Framing, LAST_CHUNK, Mode, RequestHead, write_chunk_head};
use ringway_wire::json;

use crate::bounds::{BODY_PACE_BYTES_PER_S_MIN, BODY_PACE_WINDOW_MS, BUFFER_BYTES_MAX, DESKS_KEPT_MAX};
use crate::deadline::{Elapsed, Wait};
use crate::downstream::{Downstream, ReadSide};
use crate::refusal::Refusal;
use crate::ring::{Buffer, Out, Size, Socket};
use crate::worker::Worker;

/// A request: its head at the front of `buffer`, and its body so far.
pub struct Intake {
    /// The head, behind it the first of the body's payload, behind that whatever came ahead.
    pub buffer: Buffer,
    head_bytes: usize,
    first_bytes: usize,
    rest_at: usize,
    /// Further payload, in order.
    pub more: Vec<Buffer>,
    body: Body,
    framing: Framing,
    body_max: u64,
    tail: Option<Buffer>,
    pace: Pace,
    scanner: Option<Lent>,
}

/// Why no more of a body came.
pub enum Cut {
    /// The caller broke the framing, was too slow or sent too much: it is told.
    Refused(Refusal),
    /// The caller left.
    Gone,
}

impl Intake {
    /// Takes a request whose head was just read. `body_max` bounds the payload.
    ///
    /// # Errors
    /// The framing of what already came is broken or too large.
    pub fn begin(
        worker: &Worker,
        mut buffer: Buffer,
        head: &RequestHead,
        body_max: u64,
    ) -> Result<Self, Refusal> {
        let framing = head.framing();
        let head_bytes = head.len();
        if let Framing::Length(length) = framing
            && length > body_max
        {
            return Err(Refusal::BodyTooLarge { limit_bytes: body_max, announced: true });
        }
        let mut body = Body::new(framing, Mode::Decode, body_max);
        let advanced = worker.with_spans(|spans| body.advance(&mut buffer.bytes_mut()[head_bytes..], spans));
        let step = match advanced {
            Ok(Advance { fault: Some(fault), .. }) | Err(fault) => {
                return Err(Refusal::of_fault(fault, body_max));
            }
            Ok(step) => step,
        };
        let (first_bytes, mut rest_at) = (step.keep, head_bytes + step.consumed);
        let mut tail = None;
        if !step.done && rest_at < buffer.len() {
            // An incomplete size line: it goes in front of what comes next.
            let mut line = worker.buffers.large();
            line.append(&buffer.bytes()[rest_at..]);
            tail = Some(line);
            rest_at = buffer.len();
        }
        Ok(Self {
            buffer,
            head_bytes,
            first_bytes,
            rest_at,
            more: Vec::new(),
            body,
            framing,
            body_max,
            tail,
            pace: Pace::default(),
            scanner: None,
        })
    }

    /// The head's bytes and everything behind: what its spans refer to.
    pub fn head(&self) -> &[u8] {
        self.buffer.bytes()
    }

    /// The payload that came with the head.
    pub fn first(&self) -> &[u8] {
        &self.buffer.bytes()[self.head_bytes..self.head_bytes + self.first_bytes]
    }

    /// True once the whole body is held.
    pub fn is_complete(&self) -> bool {
        self.body.done()
    }

    /// True if the request has a body at all.
    pub fn has_body(&self) -> bool {
        !matches!(self.framing, Framing::None | Framing::Length(0))
    }

    /// True if some of the body came already: a caller that waits for 100 Continue has sent none.
    pub fn has_begun(&self) -> bool {
        self.rest_at > self.head_bytes || self.tail.is_some()
    }

    /// Payload bytes that came so far.
    pub fn payload_bytes(&self) -> u64 {
        self.body.data_bytes()
    }

    /// Payload bytes held.
    pub fn held_bytes(&self) -> u64 {
        self.first_bytes as u64 + self.more.iter().map(|piece| piece.len() as u64).sum::<u64>()
    }

    /// Payload bytes in all: as announced, else as many as came.
    pub fn body_bytes(&self) -> u64 {
        match self.framing {
            Framing::Length(length) => length,
            Framing::None | Framing::Chunked | Framing::UntilClose => self.payload_bytes(),
        }
    }

    /// How the body is framed towards the upstream; `grown` is what a replaced model adds to its length.
    pub fn framing_upstream(&self, grown: i64) -> Framing {
        match self.framing {
            _ if self.is_complete() && self.has_body() => {
                Framing::Length(self.held_bytes().saturating_add_signed(grown))
            }
            Framing::Length(length) => Framing::Length(length.saturating_add_signed(grown)),
            other => other,
        }
    }

    /// Reads on until the model is known, or the body is complete without one.
    ///
    /// # Errors
    /// See [`Cut`]; bad JSON is a refusal too.
    pub async fn read_model(&mut self, worker: &Worker, read: &mut ReadSide) -> Result<(), Cut> {
        if self.scanner.is_none() {
            let mut scanner = worker.scanners.lend();
            let first = &self.buffer.bytes()[self.head_bytes..self.head_bytes + self.first_bytes];
            scanner.feed(first).map_err(|error| Cut::Refused(bad_json(error)))?;
            self.scanner = Some(scanner);
        }
        while !self.is_complete() && self.model().is_none() {
            if let Some(piece) = self.read_piece(worker, read).await? {
                self.hold(worker, piece)?;
            }
        }
        if self.is_complete() && self.has_body() {
            let scanner = self.scanner.as_mut().expect("made above");
            scanner.finish().map_err(|error| Cut::Refused(bad_json(error)))?;
        }
        Ok(())
    }

    /// Reads on until the body is complete or so much of it is held, for those who look at all of it.
    ///
    /// # Errors
    /// See [`Cut`].
    pub async fn read_up_to(
        &mut self,
        worker: &Worker,
        read: &mut ReadSide,
        bytes_max: u64,
    ) -> Result<(), Cut> {
        while !self.is_complete() && self.held_bytes() < bytes_max {
            if let Some(piece) = self.read_piece(worker, read).await? {
                self.hold(worker, piece)?;
            }
        }
        Ok(())
    }

    /// The payload that is held, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.first()).chain(self.more.iter().map(Buffer::bytes))
    }

    /// Puts another body in place of the one that is held whole.
    ///
    /// # Errors
    /// See [`Cut`].
    pub fn replace(&mut self, worker: &Worker, body: &[u8]) -> Result<(), Cut> {
        debug_assert!(self.is_complete(), "what is still to come would follow the new one");
        self.first_bytes = 0;
        self.more.clear();
        for part in body.chunks(Size::Large.bytes()) {
            let mut piece = worker.buffers.take(Size::holding(part.len()));
            piece.append(part);
            self.hold(worker, piece)?;
        }
        if let Some(scanner) = &mut self.scanner {
            scanner.reset();
            let read = scanner.feed(body).and_then(|()| scanner.finish());
            read.map_err(|error| Cut::Refused(bad_json(error)))?;
        }
        Ok(())
    }

    /// The same, of a body that is to be read from now on: what it was in was only its coding.
    ///
    /// # Errors
    /// See [`Cut`]; bad JSON is a refusal too.
    pub fn replace_coded(&mut self, worker: &Worker, body: &[u8]) -> Result<(), Cut> {
        self.scanner = Some(worker.scanners.lend());
        self.replace(worker, body)
    }

    /// Keeps a piece; small ones share a buffer, so that what is held is about what came.
    fn hold(&mut self, worker: &Worker, piece: Buffer) -> Result<(), Cut> {
        if worker.buffers.lent_bytes() > BUFFER_BYTES_MAX {
            return Err(Cut::Refused(Refusal::TooManyConnections));
        }
        match self.more.last_mut().filter(|last| last.room() >= piece.len()) {
            Some(last) => {
                last.append(piece.bytes());
            }
            None => self.more.push(piece),
        }
        Ok(())
    }

    /// What the body says so far, if it is read at all.
    pub fn scanner(&self) -> Option<&json::Scanner> {
        self.scanner.as_deref()
    }

    /// The model the body names, once read.
    pub fn model(&self) -> Option<json::Model<'_>> {
        self.scanner().and_then(json::Scanner::model)
    }

    /// Receives and decodes one piece of payload; none if only framing came.
    async fn read_piece(&mut self, worker: &Worker, read: &mut ReadSide) -> Result<Option<Buffer>, Cut> {
        let idle_ms = read.listener.timeouts.body_idle_ms.get();
        let began_ms = worker.clock.coarse_ms();
        read.deadline.wait(Wait::Body, began_ms, idle_ms);
        let tail = self.tail.take();
        let before = tail.as_ref().map_or(0, Buffer::len);
        let (received, buffer) = read.receive(worker, tail).await;
        let elapsed = read.deadline.elapsed();
        read.deadline.rest();
        if !self.pace.holds(worker.clock.coarse_ms() - began_ms, buffer.len() - before) {
            return Err(Cut::Refused(Refusal::BodyTimeout));
        }
        match (received, elapsed) {
            (Ok(0) | Err(_), Some(Elapsed::Total)) => Err(Cut::Refused(Refusal::Deadline)),
            (Ok(0) | Err(_), Some(Elapsed::Wait(_))) => Err(Cut::Refused(Refusal::BodyTimeout)),
            (Ok(0) | Err(_), None) => Err(Cut::Gone),
            (Ok(_), _) => self.decode(worker, read, buffer).map_err(Cut::Refused),
        }
    }

    fn decode(
        &mut self,
        worker: &Worker,
        read: &mut ReadSide,
        mut buffer: Buffer,
    ) -> Result<Option<Buffer>, Refusal> {
        let step = worker
            .with_spans(|spans| self.body.advance(buffer.bytes_mut(), spans))
            .map_err(|fault| Refusal::of_fault(fault, self.body_max))?;
        if let Some(fault) = step.fault {
            return Err(Refusal::of_fault(fault, self.body_max)); // a request that breaks later is not begun either
        }
        let unused = &buffer.bytes()[step.consumed..];
        if !unused.is_empty() {
            // An incomplete size line, or the next request.
            let mut rest = worker.buffers.take(Size::holding(unused.len()).max(Size::Small));
            rest.append(unused);
            if step.done {
                read.ahead = Some(rest);
            } else {
                self.tail = Some(rest);
            }
        }
        buffer.truncate(step.keep);
        if let Some(scanner) = &mut self.scanner {
            scanner.feed(buffer.bytes()).map_err(bad_json)?;
            if step.done {
                scanner.finish().map_err(bad_json)?;
            }
        }
        Ok(Some(buffer).filter(|buffer| !buffer.is_empty()))
    }

    /// Moves what came behind the request to the connection, as the beginning of the next one.
    pub fn give_ahead(&self, worker: &Worker, down: &mut Downstream) {
        let rest = &self.buffer.bytes()[self.rest_at..];
        let read = down.read_side();
        if rest.is_empty() {
            return;
        }
        assert!(self.is_complete() && read.ahead.is_none(), "only what is behind a whole request is ahead");
        let mut ahead = worker.buffers.take(Size::holding(rest.len()).max(Size::Small));
        ahead.append(rest);
        read.ahead = Some(ahead);
    }
}

/// Scanners of a worker, kept and reused: one is some hundred bytes of state and is moved by pointer.
#[derive(Clone, Default)]
#[expect(clippy::vec_box, reason = "lent by pointer: moving one is what this saves")]
pub struct Scanners(Rc<RefCell<Vec<Box<json::Scanner>>>>);

impl Scanners {
    fn lend(&self) -> Lent {
        let kept = self.0.borrow_mut().pop();
        let scanner = kept.map_or_else(Box::default, |mut scanner| {
            scanner.reset();
            scanner
        });
        Lent { scanner: Some(scanner), home: self.clone() }
    }
}

/// A scanner in use; dropping it returns it.
struct Lent {
    scanner: Option<Box<json::Scanner>>,
    home: Scanners,
}

impl std::ops::Deref for Lent {
    type Target = json::Scanner;

    fn deref(&self) -> &json::Scanner {
        self.scanner.as_deref().expect("taken only by `drop`")
    }
}

impl std::ops::DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut json::Scanner {
        self.scanner.as_deref_mut().expect("taken only by `drop`")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut kept = self.home.0.borrow_mut();
        if kept.len() < DESKS_KEPT_MAX {
            kept.extend(self.scanner.take());
        }
    }
}

fn bad_json(error: json::JsonError) -> Refusal {
    Refusal::BadJson { what: error.to_string().into() }
}

/// How fast a body comes, counting only the time that we waited for it: a slow upstream is not the caller's fault.
#[derive(Default)]
struct Pace {
    waited_ms: u64,
    bytes: u64,
}

impl Pace {
    /// Counts a wait and what it brought; false if a whole window brought too little (CF-08).
    fn holds(&mut self, waited_ms: u64, bytes: usize) -> bool {
        self.waited_ms += waited_ms;
        self.bytes += bytes as u64;
        if self.waited_ms < BODY_PACE_WINDOW_MS {
            return true;
        }
        let enough = self.bytes * 1_000 >= BODY_PACE_BYTES_PER_S_MIN * self.waited_ms;
        *self = Self::default();
        enough
    }
}

/// How pumping ended, with the caller's receiving side given back.
pub struct Pumped {
    /// The caller's receiving side.
    pub read: ReadSide,
    /// Whether all of the body went up.
    pub end: Result<(), PumpError>,
    /// Payload bytes that came in all.
    pub payload_bytes: u64,
}

/// Why a body did not go up whole.
pub enum PumpError {
    /// The caller's fault, or its leaving.
    Cut(Cut),
    /// The upstream takes no more; its answer, if it gave one, tells why.
    Upstream,
    /// The upstream took nothing for too long.
    Stalled,
}

/// Receives the rest of a body and sends it on, a piece at a time: a slow side slows the other, nothing grows.
pub async fn pump(worker: Rc<Worker>, mut intake: Intake, mut read: ReadSide, up: Socket) -> Pumped {
    let end = pump_pieces(&worker, &mut intake, &mut read, &up).await;
    Pumped { read, end, payload_bytes: intake.payload_bytes() }
}

async fn pump_pieces(
    worker: &Worker,
    intake: &mut Intake,
    read: &mut ReadSide,
    up: &Socket,
) -> Result<(), PumpError> {
    let reframed = intake.framing == Framing::Chunked;
    let mut out = Out::default();
    while !intake.is_complete() {
        if let Some(piece) = intake.read_piece(worker, read).await.map_err(PumpError::Cut)? {
            frame_piece(&mut out, &piece, reframed);
            send_piece(worker, read, up, piece, &mut out).await?;
        }
    }
    if reframed {
        out.clear();
        out.bytes.extend_from_slice(LAST_CHUNK);
        up.send_out(&mut out).await.map_err(|_| PumpError::Upstream)?;
    }
    Ok(())
}

/// Writes the piece as a coded chunk of ours, if the body is chunked; else leaves it to be sent as it is.
fn frame_piece(out: &mut Out, piece: &Buffer, reframed: bool) {
    out.clear();
    if reframed {
        write_chunk_head(&mut out.bytes, piece.len());
        out.bytes.extend_from_slice(piece.bytes());
        out.bytes.extend_from_slice(b"\r\n");
    }
}

async fn send_piece(
    worker: &Worker,
    read: &ReadSide,
    up: &Socket,
    piece: Buffer,
    out: &mut Out,
) -> Result<(), PumpError> {
    let stall_ms = read.listener.timeouts.write_stall_ms.get();
    read.deadline.wait(Wait::UpstreamWrite, worker.clock.coarse_ms(), stall_ms);
    let sent = if out.is_empty() { up.send(piece).await.0 } else { up.send_out(out).await };
    let elapsed = read.deadline.elapsed();
    read.deadline.rest();
    match (sent, elapsed) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(_)) => Err(PumpError::Stalled),
        (Err(_), None) => Err(PumpError::Upstream),
    }
}
