//! The queue of one backend as all workers share it.
//!
//! Owns: the lock around the queue, what opens the backend, and who is told what.
//! Must not: await anything, or be touched on the way of a request while nobody waits: then one load says so.
//! Read next: [`super::wait`], the waiting side; [`super::queue`], what is behind the lock.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringway_contract::snapshot;
use ringway_contract::stats::QueueStats;

use super::open::{Fit, Limits, Load, Need, Room, Trust};
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
    queued: AtomicU32,
    /// Reports alone have kept the backend shut: they are left out.
    without_reports: AtomicBool,
    granted: AtomicU64,
    refused: [AtomicU64; Why::ALL.len()],
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
}

impl Default for Line {
    fn default() -> Self {
        Self {
            queued: AtomicU32::new(0),
            without_reports: AtomicBool::new(false),
            granted: AtomicU64::new(0),
            refused: Default::default(),
            inner: Mutex::new(Inner {
                queue: Queue::new(Rules::default()),
                trust: Trust::default(),
                late: Vec::new(),
                away: Vec::new(),
                undelivered: Vec::new(),
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
        Self { limits, ttft_slo_s: rules.ttft_slo_ms.map(|ms| seconds(ms) as f32), pool, line }
    }

    /// What its endpoints can do.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Whether anybody waits: one load.
    pub fn is_backlogged(&self) -> bool {
        self.line.queued.load(Relaxed) > 0
    }

    /// Whether a request that suits the endpoint at this place best may go at once, without touching the queue. One that
    /// could not meet its objective even so may not: the queue says so.
    pub fn is_open(&self, endpoints: &[Endpoint], at: usize, need: Need, now: Moment) -> bool {
        !self.is_backlogged()
            && self.ttft_slo_s.is_none_or(|slo_s| self.pool.prefill_s(at, need.miss as f32) < slo_s)
            && self.room_by(endpoints, self.reports(), now).fits(need)
    }

    /// Whether any endpoint is there at all.
    pub fn has_endpoint(endpoints: &[Endpoint]) -> bool {
        endpoints.iter().any(Endpoint::is_there)
    }

    /// Whether this endpoint may be chosen once the backend is open.
    pub fn takes(&self, endpoints: &[Endpoint], at: usize, need: Need, now: Moment) -> bool {
        self.limits.fit(&self.load(endpoints, at, self.reports(), now), need) != Fit::Closed
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
        }
    }

    fn room_by(&self, endpoints: &[Endpoint], reports: Reports, now: Moment) -> Room {
        Room::of(&self.limits, (0..endpoints.len()).map(|at| self.load(endpoints, at, reports, now)))
    }

    fn room(&self, inner: &mut Inner, endpoints: &[Endpoint], now: Moment) -> Room {
        let with = self.room_by(endpoints, Reports::Believed, now);
        let without = if with.open == 0 { self.room_by(endpoints, Reports::LeftOut, now) } else { with };
        let mark = endpoints.iter().fold(0, |mark, endpoint| mark_of(mark, endpoint, now));
        let believed = inner.trust.sees(now.us(), with.open > 0, without.open > 0, mark);
        self.line.without_reports.store(!believed, Relaxed);
        if believed { with } else { self.room_by(endpoints, Reports::LeftOut, now) }
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
        let joined = inner.queue.join(join, want, waiter, now.us(), &mut away);
        for gone in away.drain(..) {
            let no = self.no(&mut inner, endpoints, Why::Displaced, gone.want.need, now, post.chance());
            inner.tell(gone.waiter, Verdict::No(no), post);
        }
        inner.away = away;
        let joined = joined.map_err(|why| self.no(&mut inner, endpoints, why, want.need, now, post.chance()));
        self.serve_locked(&mut inner, endpoints, now, post);
        joined
    }

    fn no(
        &self,
        inner: &mut Inner,
        endpoints: &[Endpoint],
        why: Why,
        need: Need,
        now: Moment,
        chance: f64,
    ) -> No {
        self.line.refused[why as usize].fetch_add(1, Relaxed);
        let room = self.room_by(endpoints, self.reports(), now);
        No { why, retry_after_ms: inner.queue.retry_after_ms(now.us(), &room, need, chance) }
    }

    /// Gives a place back, granted or not.
    pub fn leave(&self, ticket: Ticket) {
        let mut inner = self.line.locked();
        inner.queue.leave(ticket);
        self.line.queued.store(inner.queue.len(), Relaxed);
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
            let no = self.no(inner, endpoints, why, gone.want.need, now, post.chance());
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
        self.line.queued.store(inner.queue.len(), Relaxed);
    }

    /// Books what was generated for a tenant while others wait.
    pub fn generated(&self, class: Class, tenant: TenantId, tokens: u64) {
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
            open: room.open,
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
