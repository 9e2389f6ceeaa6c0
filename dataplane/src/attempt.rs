//! One try at one endpoint: connect, send head and body, wait for the head of the answer.
//!
//! Owns: everything between choosing an endpoint and the commit point. Until [`attempt`] returns an [`Answer`] the
//! caller has seen nothing, so a failure here may be tried again if its class allows.
//! Must not: send anything to the caller, choose the endpoint, or decide on the retry.
//! Read next: `relay.rs`, which passes the answer on.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_dialect::surface::{Surface, decoded, surface};
use ringway_wire::http1::{
    Asked, Framing, HeadBounds, Method, Parse, RequestOut, ResponseHead, Rule, Span, write_chunk_head,
    write_request,
};
use ringway_wire::json;

use crate::bounds::{BUFFER_LARGE_BYTES, COPIED_BYTES_MAX, INTERIM_HEADS_MAX};
use crate::clock::Moment;
use crate::deadline::{Elapsed, Wait};
use crate::downstream::Downstream;
use crate::exchange::Exchange;
use crate::heartbeat;
use crate::hedge::{self, Bet};
use crate::hosted;
use crate::intake::{Cut, Intake, PumpError, Pumped, pump};
use crate::observe::Counter;
use crate::orca;
use crate::outcome::{AttemptError, Reason, Retry};
use crate::refusal::Refusal;
use crate::ring::{Buffer, Received, Room, Size, Socket};
use crate::table::catalogue::Profile;
use crate::table::{Backend, Endpoint, Route, Target};
use crate::tls::Side;
use crate::trace;
use crate::upstream::Connection;
use crate::worker::Worker;

/// The rest of a request body on its way up, beside the answer.
pub type Pump = Pin<Box<dyn Future<Output = Pumped>>>;

/// An answer whose head has come; from here on nothing is tried again.
pub struct Answer {
    /// Where it comes from.
    pub connection: Connection,
    /// Its head at the front, behind it what came of the body.
    pub buffer: Buffer,
    /// The request body, if it is still flowing.
    pub pump: Option<Pump>,
    /// The whole request went up: the connection may serve again.
    pub sent_whole: bool,
}

/// Why there is no answer.
pub enum Failed {
    /// The attempt failed, the exchange has not.
    Attempt(AttemptError),
    /// The caller is told what is wrong with its request.
    Refused(Refusal),
    /// The caller left.
    Gone(Reason),
}

impl From<AttemptError> for Failed {
    fn from(error: AttemptError) -> Self {
        Self::Attempt(error)
    }
}

/// Where an attempt goes.
#[derive(Clone, Copy)]
pub struct Aim<'a> {
    /// By which rule.
    pub route: &'a Route,
    /// To which backend.
    pub backend: &'a Backend,
    /// To which of its endpoints.
    pub endpoint: &'a Endpoint,
    /// By which of its destinations, which may call the model otherwise.
    pub target: &'a Target,
    /// What is known of the model there.
    pub known: Option<&'a Profile>,
}

/// Tries once; over a kept connection first, and over a fresh one if that proves stale and nothing is lost by it.
///
/// `intake` is taken once its body is too long to be held: then there is no second try. A future made by hand, as in
/// [`relay::live`](crate::relay::live).
pub fn attempt<'a, 'e, 't>(
    x: &'a mut Exchange<'e>,
    aim: Aim<'t>,
    intake: &'a mut Option<Intake>,
    bet: &'a mut Option<Box<Bet<'t>>>,
) -> impl Future<Output = Result<Answer, Failed>> + use<'a, 'e, 't> {
    let began_us = x.worker.clock.now_us();
    let mut connection = x.worker.pools.take(aim.endpoint, x.worker.clock.coarse_ms());
    async move {
        let mut job = Job { aim, intake, bet };
        let ended = kept_or_fresh(x, &mut job, &mut connection).await;
        x.upstream_took(x.worker.clock.now_us() - began_us);
        let (aim, began_us) = hedge::winner(job.bet.as_deref(), aim, began_us);
        trace::attempted(x, aim, began_us, &ended);
        let Won { buffer, pump, sent_whole } = ended?;
        let connection = connection.expect("it brought the answer");
        Ok(Answer { connection, buffer, pump, sent_whole })
    }
}

/// What is to be done. Handed on by reference: each future on the way would keep room for it, twice.
struct Job<'a, 't> {
    aim: Aim<'t>,
    intake: &'a mut Option<Intake>,
    bet: &'a mut Option<Box<Bet<'t>>>,
}

async fn kept_or_fresh(
    x: &mut Exchange<'_>,
    job: &mut Job<'_, '_>,
    connection: &mut Option<Connection>,
) -> Result<Won, Failed> {
    loop {
        if connection.is_none() {
            *connection = Some(dial(x, &job.aim).await?);
        }
        let connected = connection.as_mut().expect("just dialled, if not kept");
        match over(x, job, connected).await {
            Err(Failed::Attempt(error))
                if error.reason == Reason::UpStaleConn && may_repeat(x, job, error) =>
            {
                x.worker.count_reason(Reason::UpStaleConn);
                *connection = None;
            }
            ended => return ended,
        }
    }
}

/// What a connection brought: an [`Answer`] without it.
struct Won {
    buffer: Buffer,
    pump: Option<Pump>,
    sent_whole: bool,
}

fn may_repeat(x: &Exchange<'_>, job: &Job<'_, '_>, error: AttemptError) -> bool {
    job.intake.is_some() && (error.retry == Retry::Safe || x.is_idempotent(job.aim.route))
}

async fn dial(x: &mut Exchange<'_>, aim: &Aim<'_>) -> Result<Connection, Failed> {
    let Exchange { worker, down, .. } = x;
    // Boxed: most attempts reuse, and all would carry the room for it.
    let dialling =
        Box::pin(worker.pools.dial(aim.backend, aim.endpoint, worker.clock.coarse_ms(), &worker.buffers));
    let cell = &aim.endpoint.cell;
    match unless_gone(down, worker, dialling).await {
        Some(Ok(connection)) => {
            worker.shard.count(Counter::Connects);
            if let Some(resumed) = connection.resumed {
                worker.shard.count_handshake(Side::Client, resumed);
            }
            cell.note_back(Moment::from_ms(worker.clock.coarse_ms()));
            Ok(connection)
        }
        Some(Err(error)) => {
            worker.shard.count(Counter::ConnectFailures);
            if let Some(fault) = error.tls {
                worker.count_fault(Side::Client, fault);
                x.record.tls = fault.label();
            }
            if error.reason == Reason::UpConnectRefused {
                cell.note_gone();
            }
            Err(error.into())
        }
        None => Err(Failed::Gone(Reason::ClientGoneWait)),
    }
}

async fn over(
    x: &mut Exchange<'_>,
    job: &mut Job<'_, '_>,
    connection: &mut Connection,
) -> Result<Won, Failed> {
    x.record.reused = connection.reused;
    if connection.reused {
        x.worker.shard.count(Counter::Reuses);
    }
    x.down.deadline.set_upstream(Some(&connection.socket));
    let held = job.intake.as_mut().expect("a body that was pumped is not tried again");
    let unsent = send_held(x, &job.aim, held, connection).await?;
    if let (Some(bet), None, Some(intake)) = (&mut *job.bet, unsent, job.intake.as_ref()) {
        let buffer = Box::pin(hedge::race(x, job.aim, connection, intake, bet)).await?;
        return Ok(Won { buffer, pump: None, sent_whole: true });
    }
    let mut pump = None;
    if unsent.is_none()
        && let Some(intake) = job.intake.take_if(|intake| !intake.is_complete())
    {
        let read = x.down.read.take().expect("no other pump runs");
        pump = Some(pump_of(x.worker, intake, read, &connection.socket));
    }
    let (buffer, sent_whole) = head(x, job, connection, &mut pump, unsent).await?;
    Ok(Won { buffer, pump, sent_whole })
}

fn pump_of(worker: &Rc<Worker>, intake: Intake, read: crate::downstream::ReadSide, up: &Socket) -> Pump {
    // Boxed: few requests outgrow what is held, and all others should not carry the room for it.
    Box::pin(pump(Rc::clone(worker), intake, read, up.clone()))
}

/// A send that failed: whether any byte of the request left.
#[derive(Clone, Copy)]
pub struct Unsent {
    nothing_left: bool,
}

/// Sends the head and what is held of the body. A failed send is not yet a failed attempt: the endpoint may have
/// answered before it stopped reading (UF-29).
async fn send_held(
    x: &mut Exchange<'_>,
    aim: &Aim<'_>,
    intake: &mut Intake,
    connection: &Connection,
) -> Result<Option<Unsent>, Failed> {
    let copied = compose(x, *aim, intake);
    let whole = x.scratch.out.len();
    let sent = match connection.socket.send_now(&mut x.scratch.out) {
        Ok(true) if intake.more.len() == copied => {
            x.worker.take_back(&mut x.scratch.out); // the answer may be long in coming
            return Ok(None);
        }
        Ok(_) => Box::pin(send_more(x, intake, connection, copied)).await?,
        Err(_) => Err(()),
    };
    let elapsed = x.down.deadline.elapsed();
    x.down.deadline.rest();
    match (sent, elapsed) {
        (Ok(()), _) => Ok(None),
        (Err(()), Some(Elapsed::Total)) => Err(Failed::Refused(Refusal::Deadline)),
        (Err(()), Some(Elapsed::Wait(_))) => {
            Err(AttemptError::new(Reason::UpSendTimeout, Retry::Never).into())
        }
        (Err(()), None) => Ok(Some(Unsent { nothing_left: x.scratch.out.len() == whole })),
    }
}

/// Sends what did not leave at once: long bodies, and all that meets a full socket.
async fn send_more(
    x: &mut Exchange<'_>,
    intake: &mut Intake,
    connection: &Connection,
    copied: usize,
) -> Result<Result<(), ()>, Failed> {
    let stall_ms = x.down.listener.timeouts.write_stall_ms.get();
    x.down.deadline.wait(Wait::UpstreamWrite, x.worker.clock.coarse_ms(), stall_ms);
    let watch = intake.is_complete();
    let (worker, down, out) = (x.worker, &mut *x.down, &mut x.scratch.out);
    let sending = async {
        connection.socket.send_out(out).await.map_err(|_| ())?;
        for piece in intake.more.iter_mut().skip(copied) {
            send_again(&connection.socket, worker, piece).await?;
        }
        Ok(())
    };
    if !watch {
        return Ok(sending.await); // whoever sends its body is there
    }
    unless_gone(down, worker, sending).await.ok_or(Failed::Gone(Reason::ClientGoneWait))
}

/// Sends a held piece and leaves it as it was, for another attempt.
async fn send_again(socket: &Socket, worker: &Worker, piece: &mut Buffer) -> Result<(), ()> {
    let mark = piece.mark();
    let lent = std::mem::replace(piece, worker.buffers.small());
    let (sent, mut back) = socket.send(lent).await;
    back.rewind(mark);
    *piece = back;
    sent.map_err(|_| ())
}

/// The whole request, for one more connection; whatever is in the send buffer stays there.
pub fn compose_whole(x: &mut Exchange<'_>, aim: Aim<'_>, intake: &Intake) -> Vec<u8> {
    let kept = std::mem::take(&mut x.scratch.out);
    let copied = compose(x, aim, intake);
    let mut whole = std::mem::replace(&mut x.scratch.out, kept).bytes;
    // What is not copied needs nothing put into it.
    intake.more.iter().skip(copied).for_each(|piece| whole.extend_from_slice(piece.bytes()));
    whole
}

/// Writes the head and the first of the body into the send buffer; says how many further pieces it holds too.
fn compose(x: &mut Exchange<'_>, aim: Aim<'_>, intake: &Intake) -> usize {
    if let Some(translation) = &x.translation {
        x.scratch.out.clear();
        x.scratch.out.bytes.extend_from_slice(&translation.composed);
        return intake.more.len();
    }
    let splice = intake.model().and_then(|model| {
        let there = aim.target.model_there(model.value.as_bytes(), aim.route)?;
        Some((there, model.span))
    });
    let splice = splice.as_ref().map(|(there, span)| (&**there, span.clone()));
    let grown = splice.as_ref().map_or(0, |(alias, span)| {
        json::spliced_len(span.end, span, alias).cast_signed() - span.end.cast_signed()
    });
    let framing = intake.framing_upstream(grown);
    write_head(x, aim, intake, framing);
    let out = &mut x.scratch.out.bytes;
    let chunked = framing == Framing::Chunked;
    let spliced_to = splice.as_ref().map_or(0, |(_, span)| span.end);
    let mut at = 0u64;
    let mut pieces = 0;
    for piece in std::iter::once(intake.first()).chain(intake.more.iter().map(Buffer::bytes)) {
        // What follows a chunk of ours must be chunked too, so then all that is held is copied.
        if pieces > 0 && !chunked && at >= spliced_to && out.len() + piece.len() > COPIED_BYTES_MAX {
            break;
        }
        append_piece(out, piece, at, splice.as_ref(), chunked);
        at += piece.len() as u64;
        pieces += 1;
    }
    pieces - 1
}

fn append_piece(
    out: &mut Vec<u8>,
    piece: &[u8],
    at: u64,
    splice: Option<&(&str, std::ops::Range<u64>)>,
    chunked: bool,
) {
    if piece.is_empty() {
        return;
    }
    let body_at = out.len();
    match splice {
        Some((alias, span)) => json::splice_model(out, piece, at, span, alias),
        None => out.extend_from_slice(piece),
    }
    let length = out.len() - body_at;
    if chunked && length > 0 {
        let mut size = Vec::with_capacity(10);
        write_chunk_head(&mut size, length);
        out.splice(body_at..body_at, size);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_head(x: &mut Exchange<'_>, aim: Aim<'_>, intake: &Intake, framing: Framing) {
    let scratch = &mut *x.scratch;
    let buf = intake.head();
    let host = if aim.route.preserve_host && aim.backend.hosting.is_none() {
        scratch.head.host().of(buf)
    } else {
        aim.endpoint.authority.as_bytes()
    };
    let credential = aim.backend.credential.as_ref();
    let base = match &aim.backend.hosting {
        None => Cow::Borrowed(&*aim.endpoint.base_path),
        Some(hosting) => Cow::Owned(aim.endpoint.base_path.to_string() + hosted::front(hosting)),
    };
    let path = scratch.head.path();
    let named = aim.target.model.as_ref().and_then(|alias| {
        let span = path_model_span(path, buf)?;
        Some((span, alias.of(&decoded(span.of(buf))?, &aim.route.conditions.models)?))
    });
    let renamed = named.as_ref().map(|(span, there)| (*span, there.as_bytes()));
    x.worker.lend_out(&mut scratch.out);
    let how = RequestOut {
        base_path: base.as_bytes(),
        host,
        renamed,
        framing,
        forwarded_for: x.down.peer.ip(),
        forwarded_proto: if x.down.listener.tls.is_some() { "https" } else { "http" },
        trust_forwarded: x.trusted,
        request_id: x.record.request_id.as_bytes(),
        strip_credentials: aim.backend.is_ours(),
        decoded: x.decoded,
        credential: credential.map(|it| (&*it.header, &*it.value)),
        identity_coding: !aim.route.raw,
        instead: aim.backend.orca.map(|form| (orca::ASK, orca::wish(form))),
        close: false,
    };
    write_request(&mut scratch.out.bytes, &scratch.head, buf, &how);
}

/// Where the path names the model, if its grammar does that.
fn path_model_span(path: Span, buf: &[u8]) -> Option<Span> {
    let bytes = path.of(buf);
    let Surface::Generate { model, .. } = surface(bytes) else { return None };
    let at = model.as_ptr().addr() - bytes.as_ptr().addr(); // a part of `bytes`, by the surface's signature
    let start = path.start + at as u32;
    Some(Span { start, end: start + model.len() as u32 })
}

/// Waits for the head of the final answer. Returns it, and whether the whole request went up.
async fn head(
    x: &mut Exchange<'_>,
    job: &Job<'_, '_>,
    connection: &mut Connection,
    pump: &mut Option<Pump>,
    unsent: Option<Unsent>,
) -> Result<(Buffer, bool), Failed> {
    let mut sent_whole = pump.is_none() && unsent.is_none();
    let mut interim_heads = 0;
    x.scratch.answer.reset();
    if pump.is_none() {
        x.wait_for_first_byte(job.aim.route);
    }
    connection.inbox.arm(Room::Fresh(Size::Small));
    loop {
        // Here and not where the turn says so: what it brings would be kept room for beside it.
        if heartbeat::is_due(x) {
            Box::pin(heartbeat::wait_on(x)).await.map_err(Failed::Gone)?;
        }
        let (received, mut buffer) = match turn(x, &mut connection.inbox, pump).await {
            Turn::Gone => return Err(Failed::Gone(Reason::ClientGoneWait)),
            Turn::Silence => continue,
            Turn::Pumped(pumped) => {
                sent_whole = x.settle_pump(pumped)?;
                x.wait_for_first_byte(job.aim.route);
                continue;
            }
            Turn::Upstream(received) => received,
        };
        if !matches!(received, Ok(n) if n > 0) {
            return Err(no_head(x, connection, &buffer, job.intake.as_ref(), unsent));
        }
        if parse_head(x, &mut buffer, &mut interim_heads)? == Parse::Complete {
            x.down.deadline.rest();
            return Ok((buffer, sent_whole));
        }
        connection.inbox.arm(Room::Behind(with_head_room(x.worker, buffer)?));
    }
}

/// Parses what is there; interim heads are skipped (H1-UP-08).
pub fn parse_head(
    x: &mut Exchange<'_>,
    buffer: &mut Buffer,
    interim_heads: &mut usize,
) -> Result<Parse, Failed> {
    let asked = Asked { head: x.scratch.head.method() == Method::Head };
    let answer: &mut ResponseHead = &mut x.scratch.answer;
    loop {
        match answer.parse(buffer.bytes(), &HeadBounds::RESPONSE, &asked) {
            Ok(Parse::Partial) => return Ok(Parse::Partial),
            Ok(Parse::Complete) if !answer.is_interim() => return Ok(Parse::Complete),
            Ok(Parse::Complete) => {
                *interim_heads += 1;
                if *interim_heads > INTERIM_HEADS_MAX {
                    return Err(never(Reason::UpInterimFlood));
                }
                buffer.consume(answer.len());
                answer.reset();
                if buffer.is_empty() {
                    return Ok(Parse::Partial);
                }
            }
            Err(fault) if fault.rule == Rule::H1Up13 => return Err(never(Reason::UpHeadTooBig)),
            Err(fault) => {
                x.record.rule = fault.rule.id();
                return Err(never(Reason::UpBadHead));
            }
        }
    }
}

fn never(reason: Reason) -> Failed {
    AttemptError::new(reason, Retry::Never).into()
}

/// A buffer to go on reading a head in.
pub fn with_head_room(worker: &Worker, buffer: Buffer) -> Result<Buffer, Failed> {
    if buffer.room() > 0 {
        return Ok(buffer);
    }
    if buffer.len() >= BUFFER_LARGE_BYTES {
        return Err(never(Reason::UpHeadTooBig));
    }
    Ok(worker.buffers.moved(&buffer, buffer.size().larger()))
}

/// The connection ended without a whole head: whose fault, and may it be tried again?
pub fn no_head(
    x: &Exchange<'_>,
    connection: &Connection,
    buffer: &Buffer,
    intake: Option<&Intake>,
    unsent: Option<Unsent>,
) -> Failed {
    match x.down.deadline.elapsed() {
        Some(Elapsed::Total) => return Failed::Refused(Refusal::Deadline),
        Some(Elapsed::Wait(_)) => return never(Reason::UpHeadTimeout),
        None => {}
    }
    if !buffer.is_empty() {
        return AttemptError::new(Reason::UpHeadCut, Retry::Idempotent).into();
    }
    let reason = if connection.reused { Reason::UpStaleConn } else { Reason::UpClosedEarly };
    let body_left = intake.is_none_or(Intake::has_body) && !unsent.is_some_and(|unsent| unsent.nothing_left);
    // A stale connection took nothing in: without a body even POST may go again (UF-07).
    let retry = if connection.reused && !body_left { Retry::Safe } else { Retry::Idempotent };
    AttemptError::new(reason, retry).into()
}

/// What happened next.
pub enum Turn {
    /// The upstream sent something, closed or failed.
    Upstream(Received),
    /// The request body ended, one way or another.
    Pumped(Pumped),
    /// The caller left.
    Gone,
    /// It is time that the caller hears something.
    Silence,
}

/// Waits for whichever comes first. The pump goes first: what ended it explains what the upstream does next.
pub async fn turn(x: &mut Exchange<'_>, inbox: &mut crate::ring::Inbox, pump: &mut Option<Pump>) -> Turn {
    poll_fn(|cx| {
        if let Some(pumped) = poll_pump(pump, cx) {
            return Poll::Ready(Turn::Pumped(pumped));
        }
        // What arrived goes on before a leaving is looked for: most turns bring an event, and few callers leave.
        if let Poll::Ready(received) = inbox.poll(cx) {
            return Poll::Ready(Turn::Upstream(received));
        }
        if x.down.poll_gone(x.worker, cx).is_ready() {
            return Poll::Ready(Turn::Gone);
        }
        heartbeat::poll(&mut x.beat, x.worker.clock.coarse_ms(), cx).map(|()| Turn::Silence)
    })
    .await
}

/// Polls the pump, and forgets it once it ended.
pub fn poll_pump(pump: &mut Option<Pump>, cx: &mut Context<'_>) -> Option<Pumped> {
    let Poll::Ready(pumped) = pump.as_mut()?.as_mut().poll(cx) else { return None };
    *pump = None;
    Some(pumped)
}

/// Runs `future` unless the caller leaves first; then drops it.
pub async fn unless_gone<T>(
    down: &mut Downstream,
    worker: &Worker,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(value));
        }
        down.poll_gone(worker, cx).map(|()| None)
    })
    .await
}

/// What the end of a pump means for the attempt: whether the whole body went up, or why the exchange is over.
pub fn verdict_on(end: Result<(), PumpError>) -> Result<bool, Failed> {
    match end {
        Ok(()) => Ok(true),
        Err(PumpError::Upstream) => Ok(false), // its answer, if one comes, says why it stopped reading
        Err(PumpError::Stalled) => Err(never(Reason::UpSendTimeout)),
        Err(PumpError::Cut(Cut::Gone)) => Err(Failed::Gone(Reason::ClientGoneBody)),
        Err(PumpError::Cut(Cut::Refused(refusal))) => Err(Failed::Refused(refusal)),
    }
}
