//! The body of a backend's answer, as payload.
//!
//! Owns: the connection it comes on, its framing, and the waits for more of it.
//! Must not: read the payload, or send anything.
//! Read next: `answer.rs`, which reads and sends.

use ringway_wire::http1::{Body, Framing, Mode};

use crate::attempt::{Aim, Answer, Turn, turn};
use crate::deadline::{Elapsed, Wait};
use crate::exchange::Exchange;
use crate::hosted::bedrock::Unframed;
use crate::outcome::Reason;
use crate::relay::size_behind;
use crate::ring::{Buffer, Room, Size};
use crate::upstream::Connection;

/// An answer's body on its way in.
pub(super) struct Source {
    connection: Connection,
    buffer: Option<Buffer>,
    size: Size,
    body: Body,
    framing: Framing,
    sent_whole: bool,
    excess: bool,
    done: bool,
    /// What takes the events out of their frames, if they come in some.
    unframed: Option<Box<Unframing>>,
}

/// Events that came out of frames last.
#[derive(Default)]
struct Unframing {
    frames: Unframed,
    events: Vec<u8>,
}

/// What a wait for more brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// Bytes, or the end of them.
    More,
    /// Nothing for so long that the caller should hear something. The wait goes on with the next call.
    Nothing,
}

impl Source {
    /// The body behind the head that was just read.
    pub fn of(answer: Answer, framing: Framing, head_bytes: usize) -> Self {
        let Answer { connection, mut buffer, pump, sent_whole } = answer;
        assert!(pump.is_none(), "a translated request is held whole");
        buffer.consume(head_bytes);
        let body = Body::new(framing, Mode::Decode, u64::MAX);
        Self {
            connection,
            buffer: Some(buffer),
            size: Size::Small,
            body,
            framing,
            sent_whole,
            excess: false,
            done: false,
            unframed: None,
        }
    }

    /// The same, of a body that is made of frames.
    #[must_use]
    pub fn framed(self, framed: bool) -> Self {
        Self { unframed: framed.then(Box::default), ..self }
    }

    /// True once all of the body was taken.
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Hands out the payload that is there.
    pub fn take(&mut self, x: &mut Exchange<'_>, to: impl FnOnce(&[u8])) -> Result<(), Reason> {
        let Some(mut buffer) = self.buffer.take() else { return Ok(()) };
        x.scratch.spans.clear();
        let advance =
            self.body.advance(buffer.bytes_mut(), &mut x.scratch.spans).map_err(|_| Reason::UpBadChunk)?;
        let payload = &buffer.bytes()[..advance.keep];
        match &mut self.unframed {
            None => to(payload),
            Some(unframing) => {
                unframing.events.clear();
                if !unframing.frames.feed(payload, &mut unframing.events) {
                    return Err(Reason::UpBadChunk); // chunks of the media type, but chunks
                }
                to(&unframing.events);
            }
        }
        if advance.fault.is_some() {
            return Err(Reason::UpBadChunk);
        }
        let rest = buffer.len() - advance.consumed;
        self.done = advance.done;
        self.excess = advance.done && rest > 0;
        self.size = size_behind(&buffer, advance.consumed);
        buffer.consume(advance.consumed);
        if !self.done && rest > 0 {
            self.buffer = Some(x.worker.buffers.moved(&buffer, self.size.max(Size::holding(rest))));
        }
        Ok(())
    }

    /// Waits for more. The end of a body that ends with its connection counts as taken.
    pub async fn more(&mut self, x: &mut Exchange<'_>, aim: Aim<'_>) -> Result<Came, Reason> {
        if !self.connection.inbox.is_armed() {
            let left = self.buffer.take();
            self.connection.inbox.arm(left.map_or(Room::Fresh(self.size), Room::Behind));
            x.down.deadline.wait(Wait::Idle, x.worker.clock.coarse_ms(), aim.route.timeouts.idle_ms);
        }
        let (received, buffer) = match turn(x, &mut self.connection.inbox, &mut None).await {
            Turn::Upstream(received) => received,
            Turn::Gone => return Err(Reason::ClientGoneStream),
            Turn::Pumped(_) => unreachable!("no pump was given"),
            Turn::Silence => return Ok(Came::Nothing),
        };
        match received {
            Ok(0) if self.body.end_of_input() => self.done = true,
            Ok(0) | Err(_) => return Err(cut_reason(x)),
            Ok(_) => self.buffer = Some(buffer),
        }
        Ok(Came::More)
    }

    /// Gives the connection back if it is clean; says whether bytes came behind the answer, and whether the request
    /// went up whole.
    pub fn end(self, x: &mut Exchange<'_>, aim: Aim<'_>) -> (bool, bool) {
        x.down.deadline.rest();
        x.down.deadline.set_upstream(None);
        let clean = self.done && !self.excess && self.sent_whole && x.scratch.answer.keep_alive();
        if clean && self.framing != Framing::UntilClose && !x.worker.is_draining() {
            let now_ms = x.worker.clock.coarse_ms();
            x.worker.pools.put(aim.endpoint, &aim.backend.connections, self.connection, now_ms);
        }
        (self.excess, self.sent_whole)
    }
}

fn cut_reason(x: &Exchange<'_>) -> Reason {
    match x.down.deadline.elapsed() {
        Some(Elapsed::Total) => Reason::Deadline,
        Some(Elapsed::Wait(_)) => Reason::UpIdleTimeout,
        None => Reason::UpBodyCut,
    }
}
