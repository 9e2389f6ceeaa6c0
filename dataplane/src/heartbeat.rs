//! Signs of life for a caller whose stream is silent.
//!
//! Owns: when one is due and what it says; and the head of a stream whose answer has not begun, where the operator chose
//! to commit 200 while a request still waits. An error after that is an event of the caller's dialect, and the stream
//! breaks off behind it.
//! Must not: stand inside an event or behind the last one (whoever sends knows where it is), or cost a route without it
//! more than a branch.
//! Read next: `attempt.rs`, `relay.rs` and `translate/answer.rs`, whose waits end with [`Beat::poll`].

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use monoio::time::{Sleep, sleep};
use ringway_contract::snapshot;
use ringway_dialect::dialect::Dialect;
use ringway_wire::http1::{Version, write_chunk_head};
use ringway_wire::json;

use crate::deadline::{Elapsed, Wait};
use crate::exchange::Exchange;
use crate::intake::Intake;
use crate::observe::Counter;
use crate::outcome::{Outcome, Reason};
use crate::refusal::Refusal;
use crate::reply;
use crate::ring::Out;
use crate::table::Route;
use crate::translate::{Speaks, asks_for_events};

/// What a route says of heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// How long a stream may be silent.
    pub every_ms: u64,
    /// When 200 is committed although no answer has come; none: not before it.
    pub commit_after_ms: Option<u64>,
}

/// The heartbeat of one exchange.
pub struct Beat {
    every_ms: u64,
    /// When the next one is due; none: not before something was sent.
    due_ms: Option<u64>,
    /// The head of a stream is out, and it is ours.
    committed: bool,
    /// One at a time, so an exchange has one for each silence or so, and not for each event.
    timer: Option<Pin<Box<Sleep>>>,
}

/// Begins to watch for silence, if the route wants it.
pub fn begin(x: &Exchange<'_>, route: &Route, intake: Option<&Intake>) -> Option<Box<Beat>> {
    let pulse = route.pulse?;
    let from_ms = (x.worker.clock.now_us() - x.elapsed_us()) / 1_000;
    let commit_ms = pulse.commit_after_ms.filter(|_| !route.raw && may_commit(x, intake));
    let due_ms = commit_ms.map(|ms| from_ms + ms);
    Some(Box::new(Beat { every_ms: pulse.every_ms, due_ms, committed: false, timer: None }))
}

/// Whether this request is sure to be answered by a stream of events if it is answered at all, and its caller has nothing
/// more to send.
fn may_commit(x: &Exchange<'_>, intake: Option<&Intake>) -> bool {
    let (Speaks::Calls(dialect), Some(intake)) = (x.speaks, intake) else { return false };
    let streams = match dialect {
        Dialect::Gemini => asks_for_events(x.scratch.head.target().of(intake.head())),
        Dialect::OpenAiChat | Dialect::OpenAiResponses | Dialect::Anthropic => {
            intake.scanner().and_then(json::Scanner::stream) == Some(true)
        }
    };
    streams && intake.is_complete() && x.scratch.head.version() == Version::Http11
}

impl Beat {
    /// Ready when one is due. Whoever sends it, or passes it over, says so by [`Beat::sent`].
    pub fn poll(&mut self, now_ms: u64, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due_ms) = self.due_ms else { return Poll::Pending };
        loop {
            if due_ms <= now_ms {
                self.timer = None;
                return Poll::Ready(());
            }
            let timer =
                self.timer.get_or_insert_with(|| Box::pin(sleep(Duration::from_millis(due_ms - now_ms))));
            std::task::ready!(timer.as_mut().poll(cx));
            self.timer = None; // set for an earlier event: what was sent since then has put it off
        }
    }

    /// The caller got something.
    pub fn sent(&mut self, now_ms: u64) {
        self.due_ms = Some(now_ms + self.every_ms);
    }
}

/// As [`Beat::poll`]; never, where the exchange has none.
pub fn poll(beat: &mut Option<Box<Beat>>, now_ms: u64, cx: &mut Context<'_>) -> Poll<()> {
    match beat {
        Some(beat) => beat.poll(now_ms, cx),
        None => Poll::Pending,
    }
}

/// Whether one is due.
pub fn is_due(x: &Exchange<'_>) -> bool {
    let now_ms = x.worker.clock.coarse_ms();
    x.beat.as_ref().is_some_and(|beat| beat.due_ms.is_some_and(|due_ms| due_ms <= now_ms))
}

/// Notes that the caller got something.
pub fn sent(x: &mut Exchange<'_>) {
    if let Some(beat) = &mut x.beat {
        beat.sent(x.worker.clock.coarse_ms());
    }
}

/// Whether 200 and the head of a stream are out, and nothing of an answer.
pub fn is_committed(x: &Exchange<'_>) -> bool {
    x.beat.as_ref().is_some_and(|beat| beat.committed)
}

/// Whether an answer that came is none that can follow the head of a stream of its dialect as it is.
pub fn is_stranded(x: &Exchange<'_>) -> bool {
    let answer = &x.scratch.answer;
    is_committed(x) && (answer.status() != 200 || !answer.is_event_stream() || answer.has_content_coding())
}

/// What is said in a stream of this dialect that has begun.
pub const fn words(dialect: snapshot::Dialect) -> &'static [u8] {
    match dialect {
        // Clients of Google's fail on a comment, or lose the event behind it.
        snapshot::Dialect::Gemini => b"\n",
        snapshot::Dialect::AnthropicMessages => b"event: ping\ndata: {\"type\": \"ping\"}\n\n",
        snapshot::Dialect::OpenaiChat | snapshot::Dialect::OpenaiResponses | snapshot::Dialect::Http => {
            COMMENT
        }
    }
}

const COMMENT: &[u8] = b": ping\n\n";

/// Tells a caller of which the answer has not begun that somebody is there; the first time this commits the status.
///
/// # Errors
/// The caller left, or takes nothing.
pub async fn wait_on(x: &mut Exchange<'_>) -> Result<(), Reason> {
    let said = if x.speaks == Speaks::Calls(Dialect::Gemini) { &b"\n"[..] } else { COMMENT };
    let first = x.beat.as_mut().is_some_and(|beat| !std::mem::replace(&mut beat.committed, true));
    let mut out = Out::default();
    if first {
        x.keep_alive &= !x.worker.is_draining();
        let kind = "text/event-stream; charset=utf-8";
        reply::stream_head(&mut out.bytes, kind, &[], true, &x.to(!x.keep_alive));
    }
    write_chunk(&mut out.bytes, said);
    let whole = out.len() as u64;
    let sent = send(x, &mut out).await;
    x.record.bytes_out += whole - out.len() as u64;
    x.worker.shard.count(Counter::Heartbeats);
    self::sent(x);
    sent
}

/// Sends what is ours while something else is waited for; that wait's deadline stays, unless the caller is slow.
async fn send(x: &mut Exchange<'_>, out: &mut Out) -> Result<(), Reason> {
    match x.down.socket.send_now(out) {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        Err(_) => return Err(Reason::ClientGoneWait),
    }
    let stall_ms = x.down.listener.timeouts.write_stall_ms.get();
    x.down.deadline.wait(Wait::Write, x.worker.clock.coarse_ms(), stall_ms);
    let sent = x.down.socket.send_out(out).await;
    let elapsed = x.down.deadline.elapsed();
    x.down.deadline.rest();
    sent.map_err(|_| match elapsed {
        Some(Elapsed::Wait(_)) => Reason::ClientWriteStall,
        Some(Elapsed::Total) => Reason::Deadline,
        None => Reason::ClientGoneWait,
    })
}

/// Tells a refusal behind a head that is out.
pub async fn refuse(x: &mut Exchange<'_>, refusal: &Refusal) -> Outcome {
    let mut event = Vec::new();
    let responses = x.speaks == Speaks::Calls(Dialect::OpenAiResponses);
    reply::event(&mut event, refusal, responses, &x.to(true));
    break_off(x, &event, Outcome::Refused(refusal.verdict().reason)).await
}

/// Ends a stream of which nothing but the head is out with this event. Without its last chunk: an error that is followed
/// by an orderly end would be a lie to every client that does not know the event.
pub async fn break_off(x: &mut Exchange<'_>, event: &[u8], said: Outcome) -> Outcome {
    x.record.status = 200;
    x.keep_alive = false;
    x.scratch.out.clear();
    write_chunk(&mut x.scratch.out.bytes, event);
    match x.send_own().await {
        Ok(()) => said,
        Err(gone) => Outcome::Gone(gone),
    }
}

/// Appends a coded chunk.
pub fn write_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    write_chunk_head(out, bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;

    use super::*;
    use crate::ring::{IoChoice, run};

    fn beat(due_ms: Option<u64>) -> Beat {
        Beat { every_ms: 20, due_ms, committed: false, timer: None }
    }

    #[test]
    fn it_is_due_when_nothing_was_sent_for_so_long_and_each_event_puts_it_off() {
        run(IoChoice::Auto, |_, _| async {
            let now_ms = Rc::new(Cell::new(100));
            let mut beat = beat(Some(120));
            let polled = |beat: &mut Beat, cx: &mut Context<'_>| beat.poll(now_ms.get(), cx).is_ready();
            let (early, put_off, late) = poll_fn(|cx| {
                now_ms.set(119);
                let early = polled(&mut beat, cx);
                beat.sent(119);
                now_ms.set(120);
                let put_off = polled(&mut beat, cx);
                now_ms.set(139);
                Poll::Ready((early, put_off, polled(&mut beat, cx)))
            })
            .await;
            assert_eq!((early, put_off, late), (false, false, true));
            assert!(beat.timer.is_none(), "no timer outlives its beat");
        })
        .expect("a ring");
    }

    #[test]
    fn a_timer_wakes_whoever_waits() {
        run(IoChoice::Auto, |_, _| async {
            let began = std::time::Instant::now();
            let mut beat = beat(Some(30));
            poll_fn(|cx| beat.poll(began.elapsed().as_millis() as u64, cx)).await;
            assert!(began.elapsed() >= Duration::from_millis(30));
        })
        .expect("a ring");
    }

    #[test]
    fn without_a_time_it_is_never_due() {
        run(IoChoice::Auto, |_, _| async {
            let mut beat = beat(None);
            let ready = poll_fn(|cx| Poll::Ready(beat.poll(u64::MAX, cx).is_ready())).await;
            assert!(!ready && beat.timer.is_none());
        })
        .expect("a ring");
    }

    #[test]
    fn gemini_never_gets_a_comment() {
        assert_eq!(words(snapshot::Dialect::Gemini), b"\n");
        assert!(words(snapshot::Dialect::OpenaiChat).starts_with(b":"));
    }
}
