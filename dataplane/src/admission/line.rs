//! The queue of one backend as all workers share it.
//!
//! Owns: the lock around the queue, what opens the backend, and who is told what.
//! Must not: await anything, or be touched on the way of a request while nobody waits: then one load says so.
//! Read next: [`super::wait`], the waiting side; [`super::queue`], what is behind the lock.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringway_contract::snapshot;
use ringway_contract::stats::QueueStats;

use super::open::{Fit, Limits, Load, Need, Room, Trust, Whose};
use super::queue::{Class, Gone, Join, Order, Queue, Rules, TenantId, Ticket, Want, Why};
use crate::balance::score::{Pool, Reports};
use crate::clock::Moment;
use crate::table::Endpoint;

/// Who waits: a place of a worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The worker.
    pub worker: u16,
    /// Its place there.
    pub place: u32,
    /// Whose turn of that place it is.
    pub generation: u32,
}

/// What somebody who waits is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may go; its place in the queue is kept until it lands.
    Go,
    /// It may not, and when to come back.
    No(No),
    /// No endpoint is left.
    NoEndpoint,
    /// The process ends.
    Draining,
}

/// A refusal of the queue's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct No {
    /// Why.
    pub why: Why,
    /// When to come back.
    pub retry_after_ms: u64,
}

/// Until requests have ended: an answer of some hundred tokens.
const STAY_FIRST_US: u64 = 10_000_000;
/// One request changes the average by a part of so many.
const STAY_WEIGHT: u64 = 32;

/// Carries verdicts to whoever waits.
pub trait Post {
    /// Tells it; false if it cannot be told now: then somebody has to try again.
    fn tell(&self, waiter: Waiter, verdict: Verdict) -> bool;

    /// A number from 0 to 1, even: so that not all come back at once.
    fn chance(&self) -> f64;
}

/// The queue of one backend; outlives tables.
#[derive(Debug)]
pub struct Line {
    /// Who waits, and who was told to come back: while there are any, nobody passes by.
    expected: AtomicU32,
    /// Reports alone have kept the backend shut: they are left out.
    without_reports: AtomicBool,
    granted: AtomicU64,
    refused: [AtomicU64; Why::ALL.len()],
    /// How long requests stay at an endpoint, on average of late, in microseconds: whole milliseconds would get stuck.
    stay_us: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: Queue<Waiter>,
    trust: Trust,
    late: Vec<(Gone<Waiter>, Why)>,
    away: Vec<Gone<Waiter>>,
    /// Verdicts that could not be delivered: a mailbox was full.
    undelivered: Vec<(Waiter, Verdict)>,
    /// Room is kept at some endpoint.
    holds_back: bool,
    loads: Vec<Load>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            expected: AtomicU32::new(0),
            without_reports: AtomicBool::new(false),
            granted: AtomicU64::new(0),
            refused: Default::default(),
            stay_us: AtomicU64::new(STAY_FIRST_US),
            inner: Mutex::new(Inner {
                queue: Queue::new(Rules::default()),
                trust: Trust::default(),
                late: Vec::new(),
                away: Vec::new(),
                undelivered: Vec::new(),
                holds_back: false,
                loads: Vec::new(),
            }),
        }
    }
}

/// Admission to one backend, as one table has it.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    ttft_slo_s: Option<f32>,
    pool: Pool,
    /// KV tokens kept at each endpoint for those that come back, as of the last look.
    held_back: Box<[AtomicU32]>,
    line: Arc<Line>,
}

impl Admission {
    /// By these rules, to the endpoints of this pool.
    pub fn new(rules: &snapshot::Admission, pool: Pool, line: Arc<Line>) -> Self {
        let us = |ms: ringway_contract::Millis| ms.get() * 1_000;
        let seconds = |ms: ringway_contract::Millis| ms.get() as f64 / 1e3;
        let limits = Limits {
            backlog_s: seconds(rules.u_limit_ms),
            kv: f64::from(rules.kv_limit_percent) / 100.0,
            gap_s: rules.itl_limit_ms.map(seconds),
        };
        line.locked().queue.set_rules(Rules {
            queued_max: rules.queue,
            bytes_max: rules.queue_bytes.get(),
            wait_us: rules.wait_ms.map(us),
            ttft_slo_us: rules.ttft_slo_ms.map(us),
            order: match rules.order {
                snapshot::Order::Aged => Order::Aged,
                snapshot::Order::Fifo => Order::Fifo,
            },
        });
        let held_back = (0..pool.len()).map(|_| AtomicU32::new(0)).collect();
        Self { limits, ttft_slo_s: rules.ttft_slo_ms.map(|ms| seconds(ms) as f32), pool, held_back, line }
    }

    /// What its endpoints can do.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Whether anybody waits, or was told to come back: one load.
    pub fn is_backlogged(&self) -> bool {
        self.line.expected.load(Relaxed) > 0
    }

    /// Whether a request that suits the endpoint at this place best may go at once, without touching the queue. One that
    /// could not meet its objective even so may not: the queue says so.
    pub fn is_open(&self, endpoints: &[Endpoint], at: usize, need: Need, now: Moment) -> bool {
        !self.is_backlogged()
            && self.ttft_slo_s.is_none_or(|slo_s| self.pool.prefill_s(at, need.miss as f32) < slo_s)
            && self.room_by(endpoints, self.reports(), now).fits(Whose::Anyone, need)
    }

    /// Whether any endpoint is there at all.
    pub fn has_endpoint(endpoints: &[Endpoint]) -> bool {
        endpoints.iter().any(Endpoint::is_there)
    }

    /// Whether this endpoint may be chosen once the backend is open.
    pub fn takes(
        &self,
        endpoints: &[Endpoint],
        at: usize,
        (whose, need): (Whose, Need),
        now: Moment,
    ) -> bool {
        let load = self.load(endpoints, at, self.reports(), now);
        let held_back = match whose {
            Whose::Anyone => load.held_back,
            Whose::Ahead => 0.0,
        };
        self.limits.fit(&Load { held_back, ..load }, need) != Fit::Closed
    }

    /// Whether this endpoint could take one more that nobody waits for: open by half the limit, and nobody queues.
    pub fn has_room_to_spare(&self, endpoints: &[Endpoint], at: usize, need: Need, now: Moment) -> bool {
        let half = Limits { backlog_s: self.limits.backlog_s / 2.0, ..self.limits };
        let load = self.load(endpoints, at, self.reports(), now);
        !self.is_backlogged() && half.fit(&load, need) == Fit::Open
    }

    fn reports(&self) -> Reports {
        if self.line.without_reports.load(Relaxed) { Reports::LeftOut } else { Reports::Believed }
    }

    fn load(&self, endpoints: &[Endpoint], at: usize, reports: Reports, now: Moment) -> Load {
        let endpoint = &endpoints[at];
        let pressure = self.pool.pressure(at, reports, now);
        let share = f64::from(self.pool.kv_share(at, 1.0));
        Load {
            eligible: endpoint.is_there(),
            full: !endpoint.health.admits(),
            backlog_tokens: f64::from(pressure.uncached),
            tokens_per_s: 1.0 / f64::from(self.pool.prefill_s(at, 1.0)),
            kv: f64::from(pressure.kv),
            kv_tokens: (share > 0.0).then(|| 1.0 / share),
            reported: pressure.fresh,
            in_flight: endpoint.cell.in_flight(),
            gap_s: endpoint.cell.life().gap_us().map_or(0.0, |us| f64::from(us) / 1e6),
            held_back: f64::from(self.held_back[at].load(Relaxed)),
        }
    }

    fn room_by(&self, endpoints: &[Endpoint], reports: Reports, now: Moment) -> Room {
        Room::of(&self.limits, (0..endpoints.len()).map(|at| self.load(endpoints, at, reports, now)))
    }

    fn room(&self, inner: &mut Inner, endpoints: &[Endpoint], now: Moment) -> Room {
        let with = self.room_by(endpoints, Reports::Believed, now);
        let without = if with.open() { with } else { self.room_by(endpoints, Reports::LeftOut, now) };
        let mark = endpoints.iter().fold(0, |mark, endpoint| mark_of(mark, endpoint, now));
        let believed = inner.trust.sees(now.us(), with.open(), without.open(), mark);
        self.line.without_reports.store(!believed, Relaxed);
        match (self.hold_back(inner, endpoints, now), believed) {
            (false, true) => with,
            (true, _) | (false, false) => self.room_by(endpoints, self.reports(), now),
        }
    }

    /// Keeps room for those that come back; whether that changed anything.
    fn hold_back(&self, inner: &mut Inner, endpoints: &[Endpoint], now: Moment) -> bool {
        let mut claims = inner.queue.claims(now.us()).peekable();
        if claims.peek().is_none() && !inner.holds_back {
            return false;
        }
        inner.holds_back = claims.peek().is_some();
        let free = |at| Load { held_back: 0.0, ..self.load(endpoints, at, self.reports(), now) };
        inner.loads.extend((0..endpoints.len()).map(free));
        self.limits.hold_back(&mut inner.loads, claims);
        for (held_back, load) in self.held_back.iter().zip(inner.loads.drain(..)) {
            held_back.store(load.held_back as u32, Relaxed);
        }
        true
    }

    /// Joins the queue, and goes at once if it may.
    ///
    /// # Errors
    /// It is full, or waiting would be in vain.
    pub fn join(
        &self,
        endpoints: &[Endpoint],
        (join, want, waiter): (Join, Want, Waiter),
        now: Moment,
        post: &impl Post,
    ) -> Result<Ticket, No> {
        let mut inner = self.line.locked();
        let mut away = std::mem::take(&mut inner.away);
        let room =
            if inner.queue.is_empty() { self.room(&mut inner, endpoints, now) } else { Room::default() };
        let joined = inner.queue.join(join, want, waiter, now.us(), &room, &mut away);
        for gone in away.drain(..) {
            let no = self.no(&mut inner, endpoints, Why::Displaced, &gone.want, now, post.chance());
            inner.tell(gone.waiter, Verdict::No(no), post);
        }
        inner.away = away;
        let joined = joined.map_err(|why| self.no(&mut inner, endpoints, why, &want, now, post.chance()));
        self.serve_locked(&mut inner, endpoints, now, post);
        joined
    }

    fn no(
        &self,
        inner: &mut Inner,
        endpoints: &[Endpoint],
        why: Why,
        want: &Want,
        now: Moment,
        chance: f64,
    ) -> No {
        self.line.refused[why as usize].fetch_add(1, Relaxed);
        let room = self.room_by(endpoints, self.reports(), now);
        No {
            why,
            retry_after_ms: inner.queue.retry_after_ms(now.us(), &room, want, self.line.stay_s(), chance),
        }
    }

    /// Gives a place back, granted or not.
    pub fn leave(&self, ticket: Ticket) {
        let mut inner = self.line.locked();
        inner.queue.leave(ticket);
        self.expect(&inner);
    }

    /// Lets go whoever may, and tells those whose time is over. Call it when a place became free, and every few
    /// milliseconds while somebody waits.
    pub fn serve(&self, endpoints: &[Endpoint], now: Moment, post: &impl Post) {
        let mut inner = self.line.locked();
        self.serve_locked(&mut inner, endpoints, now, post);
    }

    fn serve_locked(&self, inner: &mut Inner, endpoints: &[Endpoint], now: Moment, post: &impl Post) {
        let mut undelivered = std::mem::take(&mut inner.undelivered);
        undelivered.retain(|(waiter, verdict)| !post.tell(*waiter, *verdict));
        inner.undelivered = undelivered;
        let mut late = std::mem::take(&mut inner.late);
        inner.queue.expire(now.us(), &mut late);
        for (gone, why) in late.drain(..) {
            let no = self.no(inner, endpoints, why, &gone.want, now, post.chance());
            inner.tell(gone.waiter, Verdict::No(no), post);
        }
        inner.late = late;
        if !inner.queue.is_empty() {
            let room = self.room(inner, endpoints, now);
            if room.eligible == 0 {
                inner.send_away(Verdict::NoEndpoint, post);
            }
            while let Some((_, gone)) = inner.queue.grant(now.us(), &room) {
                self.line.granted.fetch_add(1, Relaxed);
                inner.tell(gone.waiter, Verdict::Go, post);
            }
        }
        self.expect(inner);
    }

    /// Says whether requests may pass by. Once they may, no room is kept any more.
    fn expect(&self, inner: &Inner) {
        let expected = inner.queue.len() + inner.queue.promised();
        if expected == 0 {
            self.held_back.iter().for_each(|tokens| tokens.store(0, Relaxed));
        }
        self.line.expected.store(expected, Relaxed);
    }

    /// A request has left its endpoint after so long, having generated so much: books it for its tenant while others wait.
    pub fn ended(&self, class: Class, tenant: TenantId, tokens: u64, stayed_ms: u64) {
        self.line.see_stay(1_000 * stayed_ms);
        if self.is_backlogged() {
            self.line.locked().queue.generated(class, tenant, tokens);
        }
    }

    /// How the queue stands.
    pub fn stats(&self, backend: &str, endpoints: &[Endpoint], now: Moment) -> QueueStats {
        let room = self.room_by(endpoints, self.reports(), now);
        let inner = self.line.locked();
        let waited_s = |arrived_us: u64| now.us().saturating_sub(arrived_us) as f64 / 1e6;
        QueueStats {
            backend: backend.to_owned(),
            waiting: Class::ALL.map(|class| inner.queue.waiting(class)),
            oldest_s: inner.queue.oldest_us().map(|arrived_us| arrived_us.map(waited_s)),
            open: room.anyone.open,
            eligible: room.eligible,
            drain_s: (room.eligible > 0).then(|| inner.queue.drain_s(now.us(), &room)),
            bytes: inner.queue.bytes(),
            granted_total: self.line.granted.load(Relaxed),
            refused_total: Why::ALL
                .map(|why| (why.label().to_owned(), self.line.refused[why as usize].load(Relaxed)))
                .into(),
        }
    }
}

/// Changes when a report says something else; a report that only came again says nothing new.
fn mark_of(mark: u64, endpoint: &Endpoint, now: Moment) -> u64 {
    let Some(fresh) = endpoint.cell.fresh(now) else { return mark.rotate_left(7) };
    let said = fresh.said;
    let parts = [
        said.running.map_or(1, u64::from),
        said.waiting.map_or(1, u64::from),
        said.kv.map_or(1, |kv| u64::from(kv.to_bits())),
        said.uncached_waiting.map_or(1, u64::from),
    ];
    parts.into_iter().fold(mark.rotate_left(7), |mark, part| {
        (mark ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
    })
}

impl Line {
    /// Two that end at once may count as one: it is an average.
    fn see_stay(&self, stayed_us: u64) {
        let before = self.stay_us.load(Relaxed);
        self.stay_us.store(before - before / STAY_WEIGHT + stayed_us / STAY_WEIGHT, Relaxed);
    }

    fn stay_s(&self) -> f64 {
        self.stay_us.load(Relaxed) as f64 / 1e6
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        // The queue's own invariants hold between its calls; a panic inside one is a bug that its tests look for.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn tell(&mut self, waiter: Waiter, verdict: Verdict, post: &impl Post) {
        if !post.tell(waiter, verdict) {
            self.undelivered.push((waiter, verdict));
        }
    }

    fn send_away(&mut self, verdict: Verdict, post: &impl Post) {
        let mut away = std::mem::take(&mut self.away);
        self.queue.clear(&mut away);
        for gone in away.drain(..) {
            self.tell(gone.waiter, verdict, post);
        }
        self.away = away;
    }
}
