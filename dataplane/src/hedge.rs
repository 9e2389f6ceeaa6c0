//! A second attempt beside a slow first one: whichever is answered first wins, and the other is given up at once.
//!
//! Owns: when a second is made and where it goes; both connections while their heads are awaited.
//! Must not: repeat what may not be repeated, multiply load beyond its budget, or cost a route without it more than a
//! branch: all of it is boxed.
//! Read next: `hedge/delay.rs`, after how long; `attempt.rs`, whose wait for a head this takes the place of.

pub mod delay;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use monoio::time::{Sleep, sleep};
use ringway_wire::http1::Parse;

use self::delay::After;
use crate::attempt::{Aim, Failed, compose_whole, no_head, parse_head, with_head_room};
use crate::balance::{Pick, Tried};
use crate::deadline::Elapsed;
use crate::dispatch::{self, Permit, Search, Taken};
use crate::exchange::Exchange;
use crate::heartbeat;
use crate::intake::Intake;
use crate::observe::Counter;
use crate::outcome::{AttemptError, Blame, Reason, Retry};
use crate::refusal::Refusal;
use crate::ring::{Buffer, Out, Received, Room, Size};
use crate::table::{Backend, Endpoint};
use crate::trace;
use crate::translate::{self, Translation};
use crate::upstream::Connection;
use crate::worker::Worker;

/// What a route says of second attempts.
#[derive(Debug)]
pub struct Hedge {
    /// After how long.
    pub after: After,
    /// How many, as a share of the requests of the last ten seconds.
    pub percent: u32,
}

/// A second attempt that may be made.
pub struct Bet<'t> {
    hedge: &'t Hedge,
    first: Aim<'t>,
    pick: Pick<'t>,
    tried: Tried,
    after_ms: Option<u64>,
    won: Option<(Taken<'t>, u64)>,
}

/// Prepares for a second attempt, if the route wants that and this request may be repeated.
pub fn bet<'t>(
    x: &Exchange<'_>,
    search: &Search<'t>,
    (first, pick): (Aim<'t>, &Pick<'t>),
    intake: Option<&Intake>,
) -> Option<Box<Bet<'t>>> {
    let route = search.route();
    let hedge = route.hedge.as_ref()?;
    let attempts = u32::from(x.record.attempts);
    let repeatable = intake.is_some_and(Intake::is_complete) && x.is_idempotent(route);
    if !repeatable || attempts >= route.attempts_max {
        return None;
    }
    x.worker.hedges.borrow_mut().count_request(x.worker.clock.coarse_ms());
    let (after_ms, tried) = (hedge.after.ms(), search.tried());
    Some(Box::new(Bet { hedge, first, pick: *pick, tried, after_ms, won: None }))
}

/// Whose answer it is: the first attempt's, or if the second won, the second's.
pub fn winner<'t>(bet: Option<&Bet<'t>>, first: Aim<'t>, began_us: u64) -> (Aim<'t>, u64) {
    match bet.and_then(|bet| Some((bet, bet.won.as_ref()?))) {
        Some((bet, (taken, began_us))) => (bet.at(taken.pick.endpoint), *began_us),
        None => (first, began_us),
    }
}

/// The bet is over: what was tried is noted, and what the winner holds is held.
pub fn settle<'t>(
    bet: Option<Box<Bet<'t>>>,
    search: &mut Search<'t>,
    taken: &mut Taken<'t>,
    first: Aim<'t>,
) -> Aim<'t> {
    let Some(bet) = bet else { return first };
    search.set_tried(bet.tried);
    match bet.won {
        Some((won, _)) => {
            *taken = won;
            Aim { endpoint: taken.pick.endpoint, ..bet.first }
        }
        None => first,
    }
}

impl<'t> Bet<'t> {
    /// At another endpoint of the same target.
    fn at(&self, endpoint: &'t Endpoint) -> Aim<'t> {
        Aim { endpoint, ..self.first }
    }
}

type Opening<'t> = Pin<Box<dyn Future<Output = Result<Connection, AttemptError>> + 't>>;

/// The second attempt.
struct Second<'t> {
    taken: Taken<'t>,
    aim: Aim<'t>,
    began_us: u64,
    way: Way<'t>,
    interim_heads: usize,
    /// The request in the backend's words, where it speaks others.
    translation: Option<Box<Translation>>,
}

enum Way<'t> {
    /// A connection is made and the request sent.
    Opening(Opening<'t>),
    /// Its head is awaited.
    Open(Connection),
}

/// What became of the first attempt while the second is under way.
enum First {
    Waits,
    /// It failed so.
    Failed(Failed),
    /// It declined: its head, should the second do no better.
    Declined(Buffer),
}

/// What happened next.
enum Event {
    First(Received),
    Opened(Result<Connection, AttemptError>),
    Second(Received),
    Slow,
    Silence,
    Gone,
}

/// Waits for the head of the first attempt, which was sent over `connection`; if it is slow, for that of a second as well.
/// The connection of the winner is left in the place of the first.
///
/// # Errors
/// Neither brought an answer.
pub async fn race<'t>(
    x: &mut Exchange<'_>,
    first: Aim<'t>,
    connection: &mut Connection,
    intake: &Intake,
    bet: &mut Bet<'t>,
) -> Result<Buffer, Failed> {
    let began_us = x.worker.clock.now_us();
    let mut race = Race {
        first,
        began_us,
        interim_heads: 0,
        state: First::Waits,
        second: None,
        timer: bet.after_ms.map(|ms| Box::pin(sleep(Duration::from_millis(ms)))),
    };
    x.wait_for_first_byte(first.route);
    connection.inbox.arm(Room::Fresh(Size::Small));
    loop {
        if heartbeat::is_due(x) {
            heartbeat::wait_on(x).await.map_err(Failed::Gone)?;
        }
        let ended = match race.next(x, connection).await {
            Event::Gone => return Err(Failed::Gone(Reason::ClientGoneWait)),
            Event::Silence => None,
            Event::Slow => {
                race.second = begin(x, bet, intake);
                None
            }
            Event::First(received) => race.first_said(x, connection, received, intake)?,
            Event::Opened(opened) => race.second_opened(x, opened)?,
            Event::Second(received) => race.second_said(x, connection, received, intake, bet)?,
        };
        if let Some(buffer) = ended {
            x.down.deadline.rest();
            bet.hedge.after.learn((x.worker.clock.now_us() - began_us) / 1_000);
            return Ok(buffer);
        }
    }
}

struct Race<'t> {
    first: Aim<'t>,
    began_us: u64,
    interim_heads: usize,
    state: First,
    second: Option<Second<'t>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<'t> Race<'t> {
    async fn next(&mut self, x: &mut Exchange<'_>, connection: &mut Connection) -> Event {
        poll_fn(|cx| self.poll_next(x, connection, cx)).await
    }

    fn poll_next(
        &mut self,
        x: &mut Exchange<'_>,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Event> {
        if let First::Waits = self.state
            && let Poll::Ready(received) = connection.inbox.poll(cx)
        {
            return Poll::Ready(Event::First(received));
        }
        let heard = match self.second.as_mut().map(|second| &mut second.way) {
            Some(Way::Opening(opening)) => opening.as_mut().poll(cx).map(Event::Opened),
            Some(Way::Open(connection)) => connection.inbox.poll(cx).map(Event::Second),
            None => Poll::Pending,
        };
        if heard.is_ready() {
            return heard;
        }
        if x.down.poll_gone(x.worker, cx).is_ready() {
            return Poll::Ready(Event::Gone);
        }
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            self.timer = None;
            return Poll::Ready(Event::Slow);
        }
        heartbeat::poll(&mut x.beat, x.worker.clock.coarse_ms(), cx).map(|()| Event::Silence)
    }

    /// The first sent something, or ended: its head, if it is whole and wins.
    fn first_said(
        &mut self,
        x: &mut Exchange<'_>,
        connection: &mut Connection,
        received: Received,
        intake: &Intake,
    ) -> Result<Option<Buffer>, Failed> {
        let heard = hear(x, connection, received, &mut self.interim_heads, intake);
        let declines = declines(x);
        match (heard, &self.second) {
            (Ok(None), _) => return Ok(None),
            (Ok(Some(buffer)), Some(_)) if declines => self.state = First::Declined(buffer),
            (Ok(Some(buffer)), second) => {
                if let Some(second) = second {
                    trace::outrun(x, second.aim, second.began_us);
                }
                return Ok(Some(buffer));
            }
            (Err(failed @ Failed::Attempt(_)), Some(_)) => self.state = First::Failed(failed),
            (Err(failed), _) => return Err(failed),
        }
        // It is up to the second now, and the deadline acts on that one.
        self.watch_second(x);
        Ok(None)
    }

    fn watch_second(&self, x: &Exchange<'_>) {
        if let Some(Second { way: Way::Open(connection), .. }) = &self.second {
            x.down.deadline.set_upstream(Some(&connection.socket));
        } else {
            x.down.deadline.set_upstream(None);
        }
        x.wait_for_first_byte(self.first.route);
    }

    /// The second has sent its request, or could not.
    fn second_opened(
        &mut self,
        x: &mut Exchange<'_>,
        opened: Result<Connection, AttemptError>,
    ) -> Result<Option<Buffer>, Failed> {
        let Some(second) = &mut self.second else { return Ok(None) };
        match opened {
            Ok(mut connection) => {
                connection.inbox.arm(Room::Fresh(Size::Small));
                second.way = Way::Open(connection);
                if !matches!(self.state, First::Waits) {
                    if x.down.deadline.elapsed() == Some(Elapsed::Total) {
                        return Err(Failed::Refused(Refusal::Deadline)); // there was no socket for it to act on
                    }
                    self.watch_second(x);
                }
                Ok(None)
            }
            Err(error) => self.second_failed(x, error),
        }
    }

    /// The second sent something, or ended: its head, if it is whole and wins.
    fn second_said(
        &mut self,
        x: &mut Exchange<'_>,
        connection: &mut Connection,
        received: Received,
        intake: &Intake,
        bet: &mut Bet<'t>,
    ) -> Result<Option<Buffer>, Failed> {
        let waits = matches!(self.state, First::Waits);
        let Some(Second { way: Way::Open(own), interim_heads, taken, aim, .. }) = &mut self.second else {
            return Ok(None);
        };
        let heard = match hear(x, own, received, interim_heads, intake) {
            Ok(None) => return Ok(None),
            Ok(Some(buffer)) => buffer,
            Err(Failed::Attempt(error)) => return self.second_failed(x, error),
            Err(failed) => return Err(failed),
        };
        if declines(x) && (waits || matches!(self.state, First::Declined(_))) {
            let _ = dispatch::note_answer(x, *aim, heard.bytes(), &mut taken.held);
            return self.second_failed(x, AttemptError::new(Reason::UpStatus, Retry::Declined));
        }
        Ok(Some(self.second_won(x, connection, heard, bet)))
    }

    /// The second is out of it. The first goes on, or what became of it counts.
    fn second_failed(&mut self, x: &mut Exchange<'_>, error: AttemptError) -> Result<Option<Buffer>, Failed> {
        let Some(second) = self.second.take() else { return Ok(None) };
        if error.reason != Reason::UpStatus {
            book_failure(x.worker, second.aim, error);
        }
        trace::attempted(x, second.aim, second.began_us, &Err::<(), _>(Failed::Attempt(error)));
        match std::mem::replace(&mut self.state, First::Waits) {
            First::Waits => Ok(None),
            First::Failed(failed) => Err(failed),
            First::Declined(mut buffer) => {
                x.scratch.answer.reset();
                parse_head(x, &mut buffer, &mut 0)?; // it was whole
                Ok(Some(buffer))
            }
        }
    }

    fn second_won(
        &mut self,
        x: &mut Exchange<'_>,
        connection: &mut Connection,
        heard: Buffer,
        bet: &mut Bet<'t>,
    ) -> Buffer {
        let second = self.second.take().expect("it was just heard");
        let Way::Open(own) = second.way else { unreachable!("a head came over a connection") };
        match std::mem::replace(&mut self.state, First::Waits) {
            First::Failed(Failed::Attempt(error)) => {
                book_failure(x.worker, self.first, error);
                trace::attempted(x, self.first, self.began_us, &Err::<(), _>(Failed::Attempt(error)));
            }
            First::Declined(_) => {
                let bad = crate::health::Passive::Bad;
                dispatch::note(x.worker, self.first.backend, self.first.endpoint, bad);
                trace::outrun(x, self.first, self.began_us);
            }
            First::Waits | First::Failed(_) => trace::outrun(x, self.first, self.began_us),
        }
        *connection = own; // the first is closed by it: its server stops at once
        x.down.deadline.set_upstream(Some(&connection.socket));
        x.record.reused = connection.reused;
        x.record.endpoint = second.aim.endpoint.name.as_str();
        if second.translation.is_some() {
            x.translation = second.translation;
        }
        x.worker.shard.count(Counter::HedgesWon);
        bet.won = Some((second.taken, second.began_us));
        heard
    }
}

/// Whether the head at hand says that its server cannot: another's answer is better.
fn declines(x: &Exchange<'_>) -> bool {
    let status = x.scratch.answer.status();
    status == 429 || status >= 500
}

/// What a connection brought: a whole head, or not yet.
fn hear(
    x: &mut Exchange<'_>,
    connection: &mut Connection,
    (received, mut buffer): Received,
    interim_heads: &mut usize,
    intake: &Intake,
) -> Result<Option<Buffer>, Failed> {
    if !matches!(received, Ok(n) if n > 0) {
        return Err(no_head(x, connection, &buffer, Some(intake), None));
    }
    x.scratch.answer.reset(); // it may hold part of the other's head
    if parse_head(x, &mut buffer, interim_heads)? == Parse::Complete {
        return Ok(Some(buffer));
    }
    connection.inbox.arm(Room::Behind(with_head_room(x.worker, buffer)?));
    Ok(None)
}

fn book_failure(worker: &Worker, aim: Aim<'_>, error: AttemptError) {
    if error.blame == Blame::Upstream {
        aim.endpoint.cell.count_failure();
    }
    dispatch::note_failure(worker, aim, &error);
    worker.count_reason(error.reason);
}

/// Begins a second attempt, if there is an endpoint for it and the budget has it.
fn begin<'t>(x: &mut Exchange<'_>, bet: &mut Bet<'t>, intake: &Intake) -> Option<Second<'t>> {
    let pick = another(x, bet, intake)?;
    let now_ms = x.worker.clock.coarse_ms();
    if !x.worker.hedges.borrow_mut().take(now_ms, bet.hedge.percent) {
        x.worker.shard.count(Counter::HedgesRefused);
        return None;
    }
    let trial = pick.endpoint.health.take().ok()?;
    bet.tried.add(pick.endpoint);
    let aim = bet.at(pick.endpoint);
    let (composed, translation) = composed(x, aim, intake)?;
    let backend = &pick.target.backend;
    let owner = (bet.first.route.class, dispatch::account(x, backend, Some(intake)).tenant);
    let permit = Permit::beside(x.worker, backend, owner);
    let held = x.dispatch(bet.first.route, &pick, Some(intake));
    x.record.attempts += 1;
    x.worker.shard.count(Counter::Attempts);
    x.worker.shard.count(Counter::Hedges);
    Some(Second {
        taken: Taken { held, permit, trial, pick },
        aim,
        began_us: x.worker.clock.now_us(),
        way: Way::Opening(Box::pin(open(Rc::clone(x.worker), aim.backend, aim.endpoint, composed))),
        interim_heads: 0,
        translation,
    })
}

/// An endpoint of the same target that was not tried, and that has room to spare where somebody looks after that.
fn another<'t>(x: &mut Exchange<'_>, bet: &Bet<'t>, intake: &Intake) -> Option<Pick<'t>> {
    let target = bet.pick.target;
    let endpoints = &target.backend.endpoints;
    let need = dispatch::need(&bet.pick, Some(intake));
    let now = x.worker.clock.now();
    let spare = |at: usize| match &target.backend.admission {
        Some(admission) => admission.has_room_to_spare(endpoints, at, need, now),
        None => true,
    };
    x.pick_near(bet.first.route, target, &bet.tried, Some(intake), &spare)
}

/// The whole request as it goes to this endpoint.
fn composed(
    x: &mut Exchange<'_>,
    aim: Aim<'_>,
    intake: &Intake,
) -> Option<(Vec<u8>, Option<Box<Translation>>)> {
    if x.translation.is_none() {
        return Some((compose_whole(x, aim, intake), None));
    }
    let second = translate::again(x, aim, intake).ok()?; // it went well for the same backend a moment ago
    Some((second.composed.clone(), Some(second)))
}

/// Connects and sends. On its own: the first attempt is listened to meanwhile.
async fn open(
    worker: Rc<Worker>,
    backend: &Backend,
    endpoint: &Endpoint,
    composed: Vec<u8>,
) -> Result<Connection, AttemptError> {
    let now_ms = worker.clock.coarse_ms();
    let connection = match worker.pools.take(endpoint, now_ms) {
        Some(kept) => kept,
        None => worker.pools.dial(backend, endpoint, now_ms, &worker.buffers).await.inspect_err(|_| {
            worker.shard.count(Counter::ConnectFailures);
        })?,
    };
    worker.shard.count(if connection.reused { Counter::Reuses } else { Counter::Connects });
    let mut out = Out::default();
    out.bytes = composed;
    match connection.socket.send_out(&mut out).await {
        Ok(()) => Ok(connection),
        Err(_) => Err(AttemptError::new(Reason::UpClosedEarly, Retry::Idempotent)),
    }
}
