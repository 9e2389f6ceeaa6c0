//! One worker: a thread, its ring, and everything that never leaves it.
//!
//! Owns: the caches and pools of one thread, its tick, and the messages it takes from the rest of the process.
//! Must not: wait for another thread, or touch what another worker owns. Shared are only the table (immutable),
//! the load cells (atomic) and its shard of the metrics (written here, read elsewhere).
//! Read next: `listen.rs`, where connections begin.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use ringway_contract::snapshot::Listener;
use ringway_wire::http1::{HeadBounds, RequestHead, ResponseHead, Span};

use crate::admission::line::{Verdict, Waiter};
use crate::admission::wait::Waits;
use crate::balance::prompt::Prompt;
use crate::bounds::{
    ACCEPTS_IN_FLIGHT, BUFFER_BYTES_MAX, DESKS_KEPT_MAX, DRAIN_GRACE_MS, EXCHANGES_MAX, OUT_KEPT_BYTES_MAX,
    SWEEP_MS, TICK_MS, TLS_HANDSHAKES_MAX,
};
use crate::cells::Slot;
use crate::cells::unary::Prefills;
use crate::clock::{Clock, Moment};
use crate::deadline::Wheel;
use crate::desk::Desks;
use crate::intake::Scanners;
use crate::listen;
use crate::observe::metrics::RouteId;
use crate::observe::{AccessLog, Gauge, Shard};
use crate::outcome::Reason;
use crate::plane::Shared;
use crate::relay::Observer;
use crate::retry::RetryBudget;
use crate::ring::{self, Buffers, Driver, IoChoice, Letterbox, Out};
use crate::session::Claim;
use crate::table::{Route, Table};
use crate::tls::{Fault, Side};
use crate::upstream::Pools;

/// What the rest of the process may tell a worker.
pub enum Message {
    /// There is a new table.
    Table,
    /// Accept on this socket too, or by these rules from now on.
    Listen(Arc<Listener>, Option<std::net::TcpListener>),
    /// Accept there no longer.
    Unlisten(SocketAddr),
    /// Serve this connection, which another worker accepted.
    Adopt(listen::Fresh),
    /// What the queue says to somebody who waits.
    Admission(Waiter, Verdict),
    /// Accept no more, finish what runs.
    Drain,
}

/// What it takes to start a worker; moves to its thread.
pub struct Seed {
    /// Its number, from 0.
    pub id: u16,
    /// The core to run on, if pinned.
    pub core: Option<usize>,
    /// Which driver to use.
    pub io: IoChoice,
    /// Its messages.
    pub letters: Letterbox<Message>,
    /// What it shares.
    pub shared: Arc<Shared>,
}

/// One worker; lives in an `Rc` on its thread.
pub struct Worker {
    /// Its number, from 0.
    pub id: u16,
    /// Its clock.
    pub clock: Clock,
    /// Its deadlines.
    pub wheel: Rc<Wheel>,
    /// Its buffers.
    pub buffers: Buffers,
    /// Where its exchanges are worked on.
    pub desks: Desks,
    /// Its idle upstream connections.
    pub pools: Pools,
    /// Its shard of the metrics.
    pub shard: Shard,
    /// Where its exchanges are logged.
    pub log: Arc<AccessLog>,
    /// Its JSON scanners.
    pub scanners: Scanners,
    /// Prompts of unary requests in flight, on endpoints that are chosen by them.
    pub prefills: Prefills,
    /// Those of its exchanges that wait in queues.
    pub waits: Waits,
    /// Its chance.
    pub rng: RefCell<fastrand::Rng>,
    /// What it may spend on retries.
    pub retries: RefCell<RetryBudget>,
    /// What it may spend on second attempts.
    pub hedges: RefCell<RetryBudget>,
    /// What it shares with the process.
    pub shared: Arc<Shared>,
    driver: Driver,
    listeners: RefCell<Vec<listen::Accepting>>,
    #[expect(
        clippy::redundant_allocation,
        reason = "exchanges clone the `Rc`: the `Arc`'s count is every worker's"
    )]
    table: RefCell<Rc<Arc<Table>>>,
    route_ids: RefCell<Vec<RouteId>>,
    slots: RefCell<HashSet<Slot>>,
    spans: RefCell<Vec<Span>>,
    outs: RefCell<Vec<Out>>,
    handshakes: Cell<u64>,
    exchanges: Cell<u64>,
    draining_since_ms: Cell<Option<u64>>,
    swept_ms: Cell<u64>,
}

/// What serving a request needs and waiting for one does not; kept and reused.
#[derive(Default)]
pub struct Scratch {
    /// The request's head.
    pub head: RequestHead,
    /// The answer's head.
    pub answer: ResponseHead,
    /// Heads on their way out.
    pub out: Out,
    /// Payload ranges of the chunk at hand.
    pub spans: Vec<Span>,
    /// What the answer's bytes tell.
    pub observer: Observer,
    /// The caller was told to send its body.
    pub invited: bool,
    /// The prompt, on routes that choose by it; made when a session first comes to one.
    pub prompt: Option<Box<Prompt>>,
    /// Where the caller's session was; of the exchange at hand, once its route is found.
    pub claim: Option<Claim>,
}

/// Counts something as live for as long as it exists.
pub struct Live {
    worker: Rc<Worker>,
    count: fn(&Worker) -> &Cell<u64>,
}

impl Drop for Live {
    fn drop(&mut self) {
        let cell = (self.count)(&self.worker);
        cell.set(cell.get() - 1);
    }
}

/// Runs a worker on the calling thread. Does not return while the process serves.
///
/// # Errors
/// The driver that was asked for cannot be had.
pub fn run(seed: Seed) -> std::io::Result<()> {
    if let Some(core) = seed.core {
        ring::pin_to_core(core);
    }
    ring::run(seed.io, move |driver, refused| async move {
        seed.shared.report_driver(seed.id, driver, seed.io, refused.as_ref());
        let worker = Rc::new(Worker::new(&seed, driver));
        monoio::spawn(tick(Rc::clone(&worker)));
        let hands = Rc::clone(&worker);
        seed.letters.open(move |message| hands.obey(message)).await
    })?
}

async fn tick(worker: Rc<Worker>) {
    loop {
        monoio::time::sleep(std::time::Duration::from_millis(TICK_MS)).await;
        worker.turn();
    }
}

impl Worker {
    fn new(seed: &Seed, driver: Driver) -> Self {
        let shard = seed.shared.shard(seed.id, driver);
        Self {
            id: seed.id,
            clock: Clock::new(seed.shared.started),
            wheel: Wheel::new(),
            buffers: Buffers::new(),
            desks: Desks::default(),
            pools: Pools::default(),
            shard,
            log: Arc::clone(&seed.shared.log),
            scanners: Scanners::default(),
            prefills: Prefills::default(),
            waits: Waits::default(),
            rng: RefCell::new(fastrand::Rng::new()),
            retries: RefCell::new(RetryBudget::default()),
            hedges: RefCell::new(RetryBudget::strict()),
            shared: Arc::clone(&seed.shared),
            driver,
            listeners: RefCell::new(Vec::new()),
            table: RefCell::new(Rc::new(seed.shared.table())),
            route_ids: RefCell::new(Vec::new()),
            slots: RefCell::new(HashSet::new()),
            spans: RefCell::new(Vec::new()),
            outs: RefCell::new(Vec::new()),
            handshakes: Cell::new(0),
            exchanges: Cell::new(0),
            draining_since_ms: Cell::new(None),
            swept_ms: Cell::new(0),
        }
    }

    /// The table of this moment. An exchange asks once and keeps it to its end.
    pub fn table(&self) -> Rc<Arc<Table>> {
        Rc::clone(&self.table.borrow())
    }

    /// Where the route of this order in the running table is counted. After a reload an order may mean another
    /// route to an exchange of before; its count then goes there.
    pub fn route_id(&self, order: Option<u32>) -> RouteId {
        let place = |order: u32| self.route_ids.borrow().get(order as usize).copied();
        order.and_then(place).unwrap_or(RouteId::NONE)
    }

    /// How large a request head may be.
    pub fn head_bounds(&self) -> HeadBounds {
        HeadBounds {
            head_bytes: self.table.borrow().limits().request_head.get() as usize,
            ..HeadBounds::REQUEST
        }
    }

    /// Empties a send buffer; one without memory gets that of the buffer that was used last. What is written is mostly sent
    /// at once, so a few serve all exchanges.
    pub fn lend_out(&self, out: &mut Out) {
        if out.bytes.capacity() == 0 {
            *out = self.outs.borrow_mut().pop().unwrap_or_default();
        }
        out.clear();
    }

    /// Takes a send buffer back that is not needed for now.
    pub fn take_back(&self, out: &mut Out) {
        let mut outs = self.outs.borrow_mut();
        if outs.len() < DESKS_KEPT_MAX && (1..=OUT_KEPT_BYTES_MAX).contains(&out.bytes.capacity()) {
            outs.push(std::mem::take(out));
        }
    }

    /// Runs `use_spans` with an empty list that keeps its memory.
    pub fn with_spans<T>(&self, use_spans: impl FnOnce(&mut Vec<Span>) -> T) -> T {
        let mut spans = self.spans.borrow_mut();
        spans.clear();
        use_spans(&mut spans)
    }

    /// How many accepts wait on each listener. On a ring several, so that one turn takes several connections; the
    /// kernel wakes one per connection. On epoll one: monoio's driver remembers one waiting task per socket there.
    pub fn accepts_in_flight(&self) -> usize {
        if self.driver == Driver::Epoll { 1 } else { ACCEPTS_IN_FLIGHT }
    }

    /// Counts a handshake with a caller, if there is room for one more.
    pub fn count_handshake(self: &Rc<Self>) -> Option<Live> {
        let room = self.handshakes.get() < TLS_HANDSHAKES_MAX;
        room.then(|| self.count(|worker| &worker.handshakes))
    }

    /// Counts why there is no TLS connection, or no longer one.
    pub fn count_fault(&self, side: Side, fault: Fault) {
        self.shard.fault(side, fault);
    }

    /// Counts an exchange, if there is room for one more.
    pub fn admit(self: &Rc<Self>) -> Option<Live> {
        let room =
            self.exchanges.get() < EXCHANGES_MAX as u64 && self.buffers.lent_bytes() < BUFFER_BYTES_MAX;
        room.then(|| self.count(|worker| &worker.exchanges))
    }

    fn count(self: &Rc<Self>, count: fn(&Worker) -> &Cell<u64>) -> Live {
        count(self).set(count(self).get() + 1);
        Live { worker: Rc::clone(self), count }
    }

    /// Counts an abnormal end that is no exchange's, or not its last.
    pub fn count_reason(&self, reason: Reason) {
        self.shard.reason(reason as usize);
    }

    /// True once a drain began: answers then close their connection.
    pub fn is_draining(&self) -> bool {
        self.draining_since_ms.get().is_some()
    }

    /// True once idle connections may be closed. Not at once: a request may be on its way on each of them, and an
    /// answer with `Connection: close` ends them without a loss.
    pub fn closes_idle(&self) -> bool {
        self.draining_since_ms.get().is_some_and(|since| self.clock.coarse_ms() >= since + DRAIN_GRACE_MS)
    }

    /// True if a drain runs that has less than this to go.
    pub fn drain_ends_within(&self, ms: u64) -> bool {
        let timeout_ms = self.table.borrow().drain_timeout_ms();
        self.draining_since_ms.get().is_some_and(|since| self.clock.coarse_ms() + ms >= since + timeout_ms)
    }

    fn turn(self: &Rc<Self>) {
        self.clock.tick();
        let now_ms = self.clock.coarse_ms();
        self.wheel.turn(now_ms);
        self.prefills.release(Moment::from_ms(now_ms));
        if now_ms >= self.swept_ms.get() + SWEEP_MS {
            self.swept_ms.set(now_ms);
            self.buffers.trim();
            let held = self.slots.borrow();
            self.pools.sweep(now_ms, |slot| held.contains(&slot));
            for (_, endpoint) in self.table.borrow().endpoints() {
                endpoint.health.tick(now_ms);
            }
        }
        if self.closes_idle() {
            self.wheel.end_idle();
        }
        self.publish();
    }

    fn publish(&self) {
        self.shard.set(Gauge::Connections, self.shared.connections(self.id));
        self.shard.set(Gauge::Exchanges, self.exchanges.get());
        self.shard.set(Gauge::UpstreamIdle, self.pools.idle());
        self.shard.set(Gauge::UpstreamActive, self.pools.active());
        self.shard.set(Gauge::BufferBytes, self.buffers.lent_bytes() as u64);
        self.shard.set(Gauge::PooledBytes, self.buffers.kept_bytes() as u64);
        self.shard.set(Gauge::StaleConnections, self.pools.stale());
        self.shard.beat(self.clock.coarse_ms());
    }

    fn obey(self: &Rc<Self>, message: Message) {
        match message {
            Message::Table => self.load_table(),
            Message::Listen(rules, socket) => listen::begin(self, &self.listeners, rules, socket),
            Message::Unlisten(address) => listen::end(&self.listeners, Some(address)),
            Message::Adopt(fresh) => listen::adopt(self, fresh),
            Message::Admission(waiter, verdict) => self.waits.tell(waiter, verdict),
            Message::Drain => {
                listen::end(&self.listeners, None);
                self.draining_since_ms.set(Some(self.clock.coarse_ms()));
            }
        }
    }

    fn load_table(&self) {
        let table = self.shared.table();
        let generation = table.generation();
        let route_id = |route: &Route| self.shared.metrics.route(route.name.as_str());
        *self.slots.borrow_mut() = table.endpoints().map(|(_, endpoint)| endpoint.slot).collect();
        *self.route_ids.borrow_mut() = table.routes().iter().map(route_id).collect();
        *self.table.borrow_mut() = Rc::new(table);
        self.shard.set(Gauge::Generation, generation.get());
        self.shared.runs(self.id, generation);
    }
}
