//! Passes an answer on, chunk by chunk: send first, then look at the same bytes.
//!
//! Owns: the framing towards the caller, both directions of one committed exchange, and what its bytes tell.
//! Must not: retry, change the status, or keep the lease past the last byte.
//! Read next: `exchange.rs`, which accounts for the outcome.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use ringway_contract::snapshot::Dialect;
use ringway_wire::http1::{
    Advance, Body, ContentKind, Framing, LAST_CHUNK, Method, Mode, ResponseOut, Span, Version,
    write_chunk_head, write_response,
};
use ringway_wire::sse;

use crate::attempt::{Aim, Answer, Failed, Pump, Turn, poll_pump, turn};
use crate::cells::unary::Dispatched;
use crate::deadline::{Elapsed, Wait};
use crate::dispatch::kick;
use crate::exchange::Exchange;
use crate::heartbeat::{self, is_committed};
use crate::load;
use crate::observe::{Counter, Micros, Record};
use crate::orca;
use crate::outcome::{AttemptError, Blame, Outcome, Reason, Retry};
use crate::refusal::Refusal;
use crate::ring::{Buffer, Parcel, Received, Room, Size};
use crate::session;
use crate::worker::Scratch;

/// How the answer is framed on each side.
struct Shape {
    upstream: Framing,
    downstream: Framing,
    mode: Mode,
    /// Each read becomes a coded chunk of ours: the upstream frames by closing and the caller cannot be asked to.
    rechunk: bool,
}

impl Shape {
    /// Of a stream that something is left out of.
    fn sifted(upstream: Framing, caller: Version) -> Self {
        let rechunk = caller == Version::Http11;
        let downstream = if rechunk { Framing::Chunked } else { Framing::UntilClose };
        Self { upstream, downstream, mode: Mode::Decode, rechunk }
    }

    /// `committed`: the caller was told that its answer comes in chunks.
    fn of(upstream: Framing, caller: Version, committed: bool) -> Self {
        let (downstream, mode, rechunk) = match (upstream, caller) {
            (Framing::Length(_) | Framing::None, _) if committed => (Framing::Chunked, Mode::Decode, true),
            (Framing::Chunked, Version::Http10) => (Framing::UntilClose, Mode::Decode, false),
            (Framing::UntilClose, Version::Http11) => (Framing::Chunked, Mode::Decode, true),
            (same, _) => (same, Mode::Verbatim, false),
        };
        Self { upstream, downstream, mode, rechunk }
    }

    /// A 205 has no body, whatever the upstream sends with it (H1-RS-01).
    const fn reset_content() -> Self {
        Self { upstream: Framing::None, downstream: Framing::Length(0), mode: Mode::Verbatim, rechunk: false }
    }
}

/// Passes the answer on to its end. The connection goes back to its pool if both sides left it clean.
///
/// A future made by hand: what `async fn` takes and then moves into place it would hold twice, for as long as the stream.
pub fn live<'x, 'e>(
    x: &'x mut Exchange<'e>,
    aim: Aim<'x>,
    answer: Answer,
    lease: &'x mut Dispatched,
) -> impl Future<Output = Outcome> + use<'x, 'e> {
    let (mut relay, first) = Relay::begin(x, aim, answer, lease);
    async move {
        let mut end = relay.run(first).await;
        if let Err(reason) = end {
            // Boxed: few answers break.
            end = Box::pin(relay.say_broken(reason)).await;
        }
        relay.finish(end)
    }
}

/// Takes in what the head of the answer says of the server's load.
#[cold]
pub(crate) fn read_load(x: &Exchange<'_>, aim: Aim<'_>, head: &Buffer) {
    let Some(value) = x.scratch.answer.find(head.bytes(), orca::FIELD) else { return };
    match orca::read(value) {
        Some(beside) => load::beside(aim.endpoint, beside, x.worker.clock.now()),
        None => x.worker.shard.count(Counter::OrcaMalformed),
    }
}

struct Relay<'x, 'e> {
    x: &'x mut Exchange<'e>,
    aim: Aim<'x>,
    connection: crate::upstream::Connection,
    pump: Option<Pump>,
    sent_whole: bool,
    body: Body,
    shape: Shape,
    lease: &'x mut Dispatched,
    /// The endpoint is chosen by what its requests do: tokens are counted.
    counts: bool,
    counted: u64,
    /// What keeps usage from a caller that did not ask for it.
    sieve: Option<Box<Sifting>>,
}

/// A sieve, and what passed it last.
#[derive(Default)]
struct Sifting {
    sieve: sse::Sieve,
    passed: Vec<u8>,
}

impl Sifting {
    fn passing(&mut self, bytes: &[u8], done: bool) -> &[u8] {
        self.passed.clear();
        self.sieve.feed(bytes, &mut self.passed);
        if done {
            self.sieve.finish(&mut self.passed);
        }
        &self.passed
    }
}

/// How one step of the body ended.
enum Step {
    More(Room),
    Done { excess: bool },
    Broken(Reason),
}

impl<'x, 'e> Relay<'x, 'e> {
    /// Writes the head of the answer into the send buffer; the first of its body is in the buffer that comes back.
    fn begin(
        x: &'x mut Exchange<'e>,
        aim: Aim<'x>,
        answer: Answer,
        lease: &'x mut Dispatched,
    ) -> (Self, Buffer) {
        let Answer { connection, mut buffer, pump, sent_whole } = answer;
        let (upstream, version) = (x.scratch.answer.framing(), x.scratch.head.version());
        let sieve =
            x.hides_usage && x.scratch.answer.is_event_stream() && !x.scratch.answer.has_content_coding();
        let shape = match x.scratch.answer.status() {
            205 => Shape::reset_content(),
            200 if sieve => Shape::sifted(upstream, version),
            _ => Shape::of(upstream, version, is_committed(x)),
        };
        let sieve = (sieve && shape.mode == Mode::Decode).then(Box::default);
        x.keep_alive &= pump.is_none() && shape.downstream != Framing::UntilClose && !x.worker.is_draining();
        x.record.status = x.scratch.answer.status();
        if aim.backend.orca.is_some() {
            read_load(x, aim, &buffer);
        }
        x.scratch.observe(aim);
        if x.scratch.observer.stream().is_none() {
            lease.first_token(); // no other sign of it will come
        }
        if x.scratch.answer.is_event_stream() {
            connection.socket.acknowledge_lazily();
        }
        if x.scratch.observer.stream().is_none() || shape.downstream != Framing::Chunked {
            x.beat = None; // there is no place for one
        }
        let body = Body::new(shape.upstream, shape.mode, u64::MAX);
        let counts = aim.backend.pool().is_some();
        let mut relay =
            Self { x, aim, connection, pump, sent_whole, body, shape, lease, counts, counted: 0, sieve };
        relay.write_head(&buffer);
        buffer.consume(relay.x.scratch.answer.len());
        (relay, buffer)
    }

    fn write_head(&mut self, buffer: &Buffer) {
        let (x, aim) = (&mut *self.x, self.aim);
        if is_committed(x) {
            x.worker.lend_out(&mut x.scratch.out);
            return;
        }
        let timing = aim.route.expose.then(|| x.server_timing(x.elapsed_us()));
        let attempts = [b'0' + x.record.attempts.min(9)];
        let session = session::granted(x, aim);
        let mut own = Own::default();
        if x.retries_spent {
            own.add(b"x-should-retry", b"false");
        }
        if let Some(token) = &session {
            own.add(session::FIELD.as_bytes(), token.as_bytes());
        }
        if let Some(timing) = &timing {
            own.add(b"x-ringway-backend", aim.endpoint.name.as_str().as_bytes());
            own.add(b"x-ringway-attempts", &attempts);
            own.add(b"server-timing", timing.as_bytes());
        }
        let scratch = &mut *x.scratch;
        let date = x.worker.clock.date();
        let how = ResponseOut {
            framing: self.shape.downstream,
            close: !x.keep_alive,
            version: scratch.head.version(),
            date: date.as_bytes(),
            request_id: x.record.request_id.as_bytes(),
            kept: aim.backend.orca.map(|_| orca::FIELD.as_bytes()),
            extra: &own.fields[..own.count],
            head_request: scratch.head.method() == Method::Head,
        };
        x.worker.lend_out(&mut scratch.out);
        write_response(&mut scratch.out.bytes, &scratch.answer, buffer.bytes(), &how);
    }

    /// The head with the first of the body in one send, then chunk after chunk.
    async fn run(&mut self, first: Buffer) -> Result<bool, Reason> {
        let mut step = self.first(first).await;
        loop {
            match step {
                Step::Done { excess } => return Ok(excess),
                Step::Broken(reason) => return Err(reason),
                Step::More(room) => step = self.next(room).await,
            }
        }
    }

    async fn first(&mut self, mut buffer: Buffer) -> Step {
        self.x.scratch.spans.clear();
        let Ok(advance) = self.body.advance(buffer.bytes_mut(), &mut self.x.scratch.spans) else {
            return Step::Broken(Reason::UpBadChunk);
        };
        if advance.done && self.may_break() {
            return self.last(advance, buffer).await;
        }
        self.append(&buffer.bytes()[..advance.keep], advance.done);
        let sent = self.send_out().await;
        if self.x.scratch.observer.stream().is_some() {
            self.x.worker.take_back(&mut self.x.scratch.out); // it may last, and has little use for one
        }
        self.x.record.first_byte = Micros::new(self.x.elapsed_us());
        heartbeat::sent(self.x);
        if let Err(reason) = sent {
            return Step::Broken(reason);
        }
        if advance.done && advance.fault.is_none() {
            self.x.record.total = self.x.record.first_byte; // its last byte went with it
        }
        self.look(&buffer.bytes()[..advance.keep]);
        self.after(advance, buffer)
    }

    async fn next(&mut self, room: Room) -> Step {
        let (received, mut buffer) = match self.receive(room).await {
            Ok(received) => received,
            Err(reason) => return Step::Broken(reason),
        };
        match received {
            Ok(0) if self.body.end_of_input() => return self.end_by_close().await,
            Ok(0) | Err(_) => return Step::Broken(self.cut_reason()),
            Ok(_) => {}
        }
        self.x.scratch.spans.clear();
        let Ok(advance) = self.body.advance(buffer.bytes_mut(), &mut self.x.scratch.spans) else {
            return Step::Broken(Reason::UpBadChunk);
        };
        if advance.done && self.may_break() {
            return self.last(advance, buffer).await;
        }
        let mark = buffer.mark();
        let sent = if self.shape.rechunk || self.sieve.is_some() {
            self.x.scratch.out.clear();
            self.append(&buffer.bytes()[..advance.keep], advance.done);
            self.send_out().await
        } else {
            buffer.truncate(advance.keep);
            let (sent, back) = self.send(buffer).await;
            buffer = back;
            sent
        };
        heartbeat::sent(self.x);
        // Counted even if the send failed: the endpoint has produced these tokens, so somebody pays for them.
        buffer.rewind(mark);
        self.look(&buffer.bytes()[..advance.keep]);
        match sent {
            Ok(()) => self.after(advance, buffer),
            Err(reason) => Step::Broken(reason),
        }
    }

    /// Ends the body, or goes on behind what was not consumed of it.
    fn after(&self, advance: Advance, mut buffer: Buffer) -> Step {
        if advance.fault.is_some() {
            return Step::Broken(Reason::UpBadChunk);
        }
        let rest = buffer.len() - advance.consumed;
        if advance.done {
            return Step::Done { excess: rest > 0 };
        }
        let size = size_behind(&buffer, advance.consumed);
        if rest == 0 {
            return Step::More(Room::Fresh(size));
        }
        // An unfinished line of framing.
        buffer.consume(advance.consumed);
        Step::More(Room::Behind(self.x.worker.buffers.moved(&buffer, size.max(Size::holding(rest)))))
    }

    /// Waits for more of the body; the caller and the request body are served meanwhile.
    async fn receive(&mut self, room: Room) -> Result<Received, Reason> {
        self.connection.inbox.arm(room);
        self.wait_idle();
        loop {
            match turn(self.x, &mut self.connection.inbox, &mut self.pump).await {
                Turn::Upstream(received) => return Ok(received),
                Turn::Gone => return Err(Reason::ClientGoneStream),
                Turn::Pumped(pumped) => {
                    self.pumped(pumped)?;
                    self.wait_idle();
                }
                Turn::Silence => Box::pin(self.beat()).await?,
            }
        }
    }

    fn wait_idle(&self) {
        let idle_ms = self.aim.route.timeouts.idle_ms;
        self.x.down.deadline.wait(Wait::Idle, self.x.worker.clock.coarse_ms(), idle_ms);
    }

    /// Tells the caller that somebody is there, if this is a place for it. The server's own silence goes on.
    async fn beat(&mut self) -> Result<(), Reason> {
        heartbeat::sent(self.x);
        let free = self.shape.rechunk || self.body.is_between_chunks();
        if !free || !self.x.scratch.observer.stream().is_some_and(sse::Observer::takes_heartbeat) {
            return Ok(());
        }
        let x = &mut *self.x;
        x.worker.lend_out(&mut x.scratch.out);
        heartbeat::write_chunk(&mut x.scratch.out.bytes, heartbeat::words(self.aim.backend.dialect));
        x.worker.shard.count(Counter::Heartbeats);
        let sent = self.send_out().await;
        self.x.worker.take_back(&mut self.x.scratch.out);
        sent
    }

    fn pumped(&mut self, pumped: crate::intake::Pumped) -> Result<(), Reason> {
        match self.x.settle_pump(pumped) {
            Ok(whole) => self.sent_whole = whole,
            // The answer is out, so a fault of the request can only end it.
            Err(Failed::Attempt(error)) => return Err(error.reason),
            Err(Failed::Refused(refusal)) => return Err(refusal.verdict().reason),
            Err(Failed::Gone(reason)) => return Err(reason),
        }
        Ok(())
    }

    /// Whether the caller can be told that the stream is not whole: it speaks a dialect, and its framing has an end that
    /// can be left out.
    fn may_break(&self) -> bool {
        let x = &self.x;
        x.scratch.observer.stream().is_some()
            && x.record.status == 200
            && (self.shape.rechunk || self.shape.downstream == Framing::Chunked)
    }

    /// The last of a stream is looked at before it is sent: one that stops without its last event, in good order for
    /// HTTP, would be taken for a whole answer (UF-24).
    async fn last(&mut self, advance: Advance, buffer: Buffer) -> Step {
        let kept = &buffer.bytes()[..advance.keep];
        self.look(kept);
        let whole = !self.x.scratch.observer.is_unfinished();
        let kept = match kept.strip_suffix(LAST_CHUNK) {
            Some(data) if !whole && !self.shape.rechunk => data,
            Some(_) | None => kept,
        };
        self.append(kept, advance.done && whole);
        let sent = self.send_out().await;
        if self.x.record.first_byte == Micros::NONE {
            self.x.record.first_byte = Micros::new(self.x.elapsed_us());
        }
        match sent {
            Err(reason) => Step::Broken(reason),
            Ok(()) if whole => self.after(advance, buffer),
            Ok(()) => Step::Broken(Reason::UpNoTerminal),
        }
    }

    /// Ends a broken stream with its dialect's error event, where the caller can still read one. The stream breaks off
    /// behind it all the same.
    async fn say_broken(&mut self, reason: Reason) -> Result<bool, Reason> {
        let x = &mut *self.x;
        let said = x.scratch.observer.said_its_end();
        let line_start = x.scratch.observer.is_at_line_start();
        if reason.blame() != Blame::Upstream || said || !line_start || !self.may_break() {
            return Err(reason);
        }
        let x = &mut *self.x;
        let between = if self.shape.rechunk { Some(&b""[..]) } else { self.body.before_chunk() };
        let Some(between) = between else { return Err(reason) };
        let refusal = Refusal::from(AttemptError::new(reason, Retry::Never));
        x.write_error_chunk(&refusal, self.aim.backend.dialect, between);
        let _ = self.send_out().await; // it breaks off either way
        Err(reason)
    }

    /// The upstream closed, and that is how it frames.
    async fn end_by_close(&mut self) -> Step {
        if self.may_break() && self.x.scratch.observer.is_unfinished() {
            return Step::Broken(Reason::UpNoTerminal);
        }
        if self.shape.rechunk || self.sieve.is_some() {
            self.x.scratch.out.clear();
            self.append(&[], true);
            if let Err(reason) = self.send_out().await {
                return Step::Broken(reason);
            }
        }
        Step::Done { excess: false }
    }

    fn cut_reason(&self) -> Reason {
        match self.x.down.deadline.elapsed() {
            Some(Elapsed::Total) => Reason::Deadline,
            Some(Elapsed::Wait(_)) => Reason::UpIdleTimeout,
            None => Reason::UpBodyCut,
        }
    }

    /// Puts body bytes into the send buffer, as a coded chunk of ours where that is the framing.
    fn append(&mut self, bytes: &[u8], done: bool) {
        match self.sieve.take() {
            None => self.append_all(bytes, done),
            Some(mut sifting) => {
                self.append_all(sifting.passing(bytes, done), done);
                self.sieve = Some(sifting);
            }
        }
    }

    fn append_all(&mut self, bytes: &[u8], done: bool) {
        let out = &mut self.x.scratch.out.bytes;
        match (self.shape.rechunk, bytes.is_empty()) {
            (true, false) => {
                write_chunk_head(out, bytes.len());
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            _ => out.extend_from_slice(bytes),
        }
        if self.shape.rechunk && done {
            out.extend_from_slice(LAST_CHUNK);
        }
    }

    async fn send_out(&mut self) -> Result<(), Reason> {
        let whole = self.x.scratch.out.len();
        let sent = match self.x.down.socket.send_now(&mut self.x.scratch.out) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let out = std::mem::take(&mut self.x.scratch.out);
                let (sent, back) = Box::pin(self.wait_to_send(out)).await;
                self.x.scratch.out = back;
                sent
            }
            Err(error) => self.end_write(Err(error)),
        };
        self.x.record.bytes_out += (whole - self.x.scratch.out.len()) as u64;
        sent
    }

    async fn send(&mut self, mut buffer: Buffer) -> (Result<(), Reason>, Buffer) {
        let whole = buffer.len();
        let sent = match self.x.down.socket.send_now(&mut buffer) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let (sent, back) = Box::pin(self.wait_to_send(buffer)).await;
                buffer = back;
                sent
            }
            Err(error) => self.end_write(Err(error)),
        };
        self.x.record.bytes_out += (whole - buffer.len()) as u64;
        (sent, buffer)
    }

    /// Sends what the caller did not take at once. The request body goes on flowing meanwhile: a caller may send all of
    /// it before it reads.
    async fn wait_to_send<P: Parcel>(&mut self, parcel: P) -> (Result<(), Reason>, P) {
        let stall_ms = self.x.down.listener.timeouts.write_stall_ms.get();
        self.x.down.deadline.wait(Wait::Write, self.x.worker.clock.coarse_ms(), stall_ms);
        let socket = self.x.down.socket.clone();
        let mut ended = None;
        let (sent, parcel) = while_pumping(&mut self.pump, &mut ended, socket.send_rest(parcel)).await;
        let pumped = ended.map_or(Ok(()), |pumped| self.pumped(pumped));
        (self.end_write(sent).and(pumped), parcel)
    }

    fn end_write(&self, sent: io::Result<()>) -> Result<(), Reason> {
        sent.map_err(|_| match self.x.down.deadline.elapsed() {
            Some(Elapsed::Total) => Reason::Deadline,
            Some(Elapsed::Wait(_)) => Reason::ClientWriteStall,
            None => Reason::ClientGoneStream,
        })
    }

    fn look(&mut self, kept: &[u8]) {
        let scratch = &mut *self.x.scratch;
        if scratch.observer.look(kept, &scratch.spans) {
            self.x.record.first_token = Micros::new(self.x.elapsed_us());
            self.lease.first_token();
            kick(self.x.worker, self.aim.backend);
        }
        if self.counts {
            self.count_tokens();
        }
    }

    /// Tells the endpoint's cell of the events with content that passed.
    fn count_tokens(&mut self) {
        let events = self.x.scratch.observer.content_events();
        let new = events - self.counted;
        if new > 0 {
            self.counted = events;
            self.lease.lease.tokens(new as u32);
            self.lease.lease.see_gap(self.x.worker.clock.now());
        }
    }

    /// Gives the connection back if it is clean, and says how it all ended.
    fn finish(self, end: Result<bool, Reason>) -> Outcome {
        let (x, aim) = (self.x, self.aim);
        x.down.deadline.rest();
        x.down.deadline.set_upstream(None);
        if self.pump.is_some() {
            x.keep_alive = false; // the rest of the request would be taken for the next one (H1-FR-09)
        }
        let outcome = match end {
            Ok(excess) => {
                let clean =
                    !excess && self.sent_whole && self.pump.is_none() && x.scratch.answer.keep_alive();
                let framed = self.shape.upstream != Framing::UntilClose;
                if clean && framed && !x.worker.is_draining() {
                    let now_ms = x.worker.clock.coarse_ms();
                    x.worker.pools.put(aim.endpoint, &aim.backend.connections, self.connection, now_ms);
                }
                x.end_of_answer(excess, self.sent_whole)
            }
            Err(reason) => {
                x.keep_alive = false;
                x.reset = self.shape.downstream == Framing::UntilClose || reason == Reason::ClientWriteStall;
                x.broken_answer(reason)
            }
        };
        aim.endpoint.seen.answer(x.record);
        outcome
    }
}

/// A buffer that suits a flow of which this much came last, in this buffer.
pub(crate) fn size_behind(last: &Buffer, consumed: usize) -> Size {
    if last.room() == 0 {
        return last.size().larger(); // a full read: more is waiting
    }
    Size::holding(2 * consumed).clamp(Size::Small, last.size())
}

/// Drives `send` while the request body goes on flowing.
async fn while_pumping<T>(
    pump: &mut Option<Pump>,
    ended: &mut Option<crate::intake::Pumped>,
    send: impl Future<Output = T>,
) -> T {
    let mut send = pin!(send);
    poll_fn(|cx| {
        if ended.is_none()
            && let Some(pumped) = poll_pump(pump, cx)
        {
            *ended = Some(pumped);
        }
        match send.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(value),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// What the bytes of an answer tell: first token, usage, how the stream ended.
#[derive(Default)]
pub enum Observer {
    /// Opaque: another media type, a content coding, or a route that reads nothing.
    #[default]
    Opaque,
    /// A stream of events.
    Stream(sse::Observer),
    /// JSON in one piece.
    Unary(sse::UnaryObserver),
}

impl Observer {
    /// Whether a stream that ends here is not whole: it neither said so nor that it failed.
    fn is_unfinished(&mut self) -> bool {
        if let Self::Stream(sse) = self {
            sse.finish();
        }
        !self.said_its_end()
    }

    /// Whether the stream said that it is whole, or that it failed.
    fn said_its_end(&self) -> bool {
        self.stream().is_some_and(|sse| sse.terminal() || sse.error())
    }

    /// Whether an event of ours may follow.
    fn is_at_line_start(&self) -> bool {
        self.stream().is_some_and(sse::Observer::is_at_line_start)
    }

    /// Events of the stream that carried content.
    fn content_events(&self) -> u64 {
        self.stream().map_or(0, sse::Observer::content_events)
    }

    fn stream(&self) -> Option<&sse::Observer> {
        match self {
            Self::Stream(sse) => Some(sse),
            Self::Opaque | Self::Unary(_) => None,
        }
    }

    /// Looks at the payload ranges of `kept`; true if the first token was among them.
    fn look(&mut self, kept: &[u8], spans: &[Span]) -> bool {
        let payload = spans.iter().map(|span| span.of(kept));
        match self {
            Self::Opaque => false,
            Self::Stream(sse) => {
                payload.fold(false, |first_token, piece| sse.feed(piece).first_token | first_token)
            }
            Self::Unary(unary) => {
                payload.for_each(|piece| unary.feed(piece));
                false
            }
        }
    }

    /// The answer is over: books its usage and says what is wrong with its end.
    pub fn finish(&mut self, record: &mut Record) -> Option<Reason> {
        let (usage, pieces, remark) = match self {
            Self::Opaque => return None,
            Self::Unary(unary) => (unary.finish(), 0, unary.error().then_some(Reason::UpInbandError)),
            Self::Stream(sse) => {
                sse.finish();
                let remark = if sse.error() {
                    Some(Reason::UpInbandError)
                } else {
                    (!sse.terminal()).then_some(Reason::UpNoTerminal)
                };
                (sse.usage(), sse.content_events(), remark)
            }
        };
        *self = Self::Opaque;
        record.tokens_in = usage.input;
        record.tokens_out = usage.output;
        record.tokens_cached = usage.cache_read;
        record.tokens_cache_written = usage.cache_write;
        record.tokens_reasoning = usage.reasoning;
        if usage == sse::Usage::default() && pieces > 0 {
            record.count_pieces(pieces);
        }
        remark.filter(|_| record.status < 400)
    }
}

impl Scratch {
    /// Prepares to look at the answer whose head is at hand.
    fn observe(&mut self, aim: Aim<'_>) {
        self.observer = Observer::Opaque;
        if aim.route.raw || self.answer.has_content_coding() {
            return; // an observer is large: none is made, nor moved, where there is nothing to see
        }
        match self.answer.content_kind() {
            ContentKind::EventStream => {
                self.observer = Observer::Stream(sse::Observer::new(shape_of(aim.backend.dialect)));
            }
            ContentKind::Json => self.observer = Observer::Unary(sse::UnaryObserver::new()),
            ContentKind::Frames | ContentKind::Other => {}
        }
    }
}

fn shape_of(dialect: Dialect) -> sse::Shape {
    match dialect {
        Dialect::OpenaiChat => sse::Shape::OpenAi,
        Dialect::OpenaiResponses => sse::Shape::Responses,
        Dialect::AnthropicMessages => sse::Shape::Anthropic,
        Dialect::Gemini => sse::Shape::Gemini,
        Dialect::Http => sse::Shape::Unknown,
    }
}

/// The fields of our own in one head: a few.
#[derive(Default)]
struct Own<'a> {
    fields: [(&'a [u8], &'a [u8]); 5],
    count: usize,
}

impl<'a> Own<'a> {
    fn add(&mut self, name: &'a [u8], value: &'a [u8]) {
        self.fields[self.count] = (name, value);
        self.count += 1;
    }
}
