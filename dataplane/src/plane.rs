//! The process as control sees it: all workers, and what they share.
//!
//! Owns: the table in force, the workers' mailboxes, the listening sockets, and the drain.
//! Must not: parse a snapshot's file or keep it; `control` does.
//! Read next: `worker.rs`, the other end of the mailboxes.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use crossbeam_utils::CachePadded;
use ringway_contract::explain::{Explanation, Question};
use ringway_contract::load::{LoadReport, LoadTaken};
use ringway_contract::snapshot::Listener;
use ringway_contract::stats::{Applied, Drain, EndpointStats, Own, Stats};
use ringway_contract::trace::Trace;
use ringway_contract::{Generation, Problem, Snapshot};
use ringway_wire::http1::Rule;

use crate::bounds::{
    APPLY_MS_MAX, HEARTBEAT_DEAD_MS, HEARTBEAT_LATE_MS, MESSAGES_MAX, SPREAD_LOOKS_MAX, SPREAD_PART,
    SPREAD_SLACK,
};
use crate::cells::{Cells, LoadCell};
use crate::clock::Moment;
use crate::control::{ApplyError, Plane, SocketFile};
use crate::explain;
use crate::health::State;
use crate::listen;
use crate::load;
use crate::observe::metrics::Words;
use crate::observe::{AccessLog, Metrics, Shard, event_log};
use crate::outcome::Reason;
use crate::ring::{Driver, IoChoice, Letterbox, Mailbox, mailbox};
use crate::table::{Backend, Endpoint, Table};
use crate::tls::Vault;
use crate::trace::kept::Traces;
use crate::worker::Message;

/// What all workers and control share.
pub struct Shared {
    /// Load cells and slots; they outlive tables.
    pub cells: Cells,
    /// TLS material; read and refreshed by control's threads.
    pub vault: Vault,
    /// Shards of all workers.
    pub metrics: Arc<Metrics>,
    /// The access log.
    pub log: Arc<AccessLog>,
    /// How single exchanges were routed.
    pub traces: Traces,
    /// When the process began; every clock counts from here.
    pub started: Instant,
    table: ArcSwap<Table>,
    running: ArcSwapOption<Snapshot>,
    workers: Box<[CachePadded<Shown>]>,
    mailboxes: Box<[Mailbox<Message>]>,
    listening: Mutex<Vec<SocketAddr>>,
    connections: Arc<AtomicU64>,
    draining: AtomicBool,
    socket_file: OnceLock<SocketFile>,
    rules: HashMap<&'static str, usize>,
}

/// What one worker shows to the others.
#[derive(Default)]
struct Shown {
    generation: AtomicU64,
    connections: AtomicU64,
}

/// A place under the limit on connections, given back when dropped.
pub struct ConnectionPlace(Arc<AtomicU64>);

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection as one of its worker's, seen by all workers from the moment on that somebody decides on that worker: what
/// is on its way counts, or a burst would all go to the one that had the fewest before it.
pub struct Seat {
    shared: Arc<Shared>,
    worker: u16,
}

impl Seat {
    /// Whose it is.
    pub fn worker(&self) -> u16 {
        self.worker
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.connections_of(self.worker).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// The shared part for `workers` workers, and their letterboxes.
    ///
    /// # Errors
    /// No descriptors left for the mailboxes.
    pub fn new(workers: usize, log: Arc<AccessLog>) -> std::io::Result<(Arc<Self>, Vec<Letterbox<Message>>)> {
        let cells = Cells::new();
        let mut mailboxes = Vec::new();
        let mut letterboxes = Vec::new();
        for _ in 0..workers {
            let (mailbox, letterbox) = mailbox(MESSAGES_MAX)?;
            mailboxes.push(mailbox);
            letterboxes.push(letterbox);
        }
        let words = Words {
            reasons: Reason::ALL.iter().map(|reason| reason.label()).collect(),
            rules: Rule::ALL.iter().map(|rule| rule.id()).chain(["SEC-JS-05", "SEC-CMP-01"]).collect(),
        };
        let rules = words.rules.iter().enumerate().map(|(index, rule)| (*rule, index)).collect();
        let shared = Self {
            cells,
            vault: Vault::default(),
            metrics: Metrics::new(workers, words),
            log,
            traces: Traces::default(),
            started: Instant::now(),
            table: ArcSwap::from_pointee(Table::empty()),
            running: ArcSwapOption::empty(),
            workers: (0..workers).map(|_| CachePadded::default()).collect(),
            mailboxes: mailboxes.into(),
            listening: Mutex::new(Vec::new()),
            connections: Arc::new(AtomicU64::new(0)),
            draining: AtomicBool::new(false),
            socket_file: OnceLock::new(),
            rules,
        };
        Ok((Arc::new(shared), letterboxes))
    }

    /// Microseconds since the process began: what every worker's clock says.
    pub fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    /// The table in force.
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// The shard of a worker; each may be taken once.
    pub fn shard(&self, worker: u16, driver: Driver) -> Shard {
        self.metrics.shard(usize::from(worker), driver.name()).expect("each worker starts once")
    }

    /// Notes that `worker` runs `generation`.
    pub fn runs(&self, worker: u16, generation: Generation) {
        self.workers[usize::from(worker)].generation.store(generation.get(), Ordering::Release);
    }

    fn connections_of(&self, worker: u16) -> &AtomicU64 {
        &self.workers[usize::from(worker)].connections
    }

    /// How many connections `worker` has, those on their way to it included.
    pub fn connections(&self, worker: u16) -> u64 {
        self.connections_of(worker).load(Ordering::Relaxed)
    }

    /// Counts a connection that `own` has accepted, and says whose it becomes: its own, or another's that has clearly
    /// fewer. Looks at a few others, by chance, where there are many.
    pub fn seat(self: &Arc<Self>, own: u16, chance: u32) -> Seat {
        let count = self.connections(own);
        let worker = match self.least_connected(own, chance) {
            Some((other, fewest)) if count > fewest + SPREAD_SLACK.max(fewest / SPREAD_PART) => other,
            _ => own,
        };
        self.take_seat(worker)
    }

    /// Counts a connection of this worker.
    pub fn take_seat(self: &Arc<Self>, worker: u16) -> Seat {
        self.connections_of(worker).fetch_add(1, Ordering::Relaxed);
        Seat { shared: Arc::clone(self), worker }
    }

    fn least_connected(&self, own: u16, chance: u32) -> Option<(u16, u64)> {
        let (own, all) = (usize::from(own), self.workers.len());
        let others = all - 1;
        let first = chance as usize % others.max(1);
        (0..others.min(SPREAD_LOOKS_MAX))
            .map(|step| ((own + 1 + (first + step) % others) % all) as u16)
            .map(|other| (other, self.connections(other)))
            .min_by_key(|(_, connections)| *connections)
    }

    /// Tells `worker` something.
    ///
    /// # Errors
    /// Its mailbox is full: the message comes back.
    pub fn tell(&self, worker: u16, message: Message) -> Result<(), Message> {
        self.mailboxes[usize::from(worker)].send(message)
    }

    /// A place for one more connection, unless there are `limit` already.
    pub fn connection_place(&self, limit: u64) -> Option<ConnectionPlace> {
        let place = ConnectionPlace(Arc::clone(&self.connections));
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        (before < limit).then_some(place)
    }

    /// Where a broken rule is counted.
    pub fn rule_index(&self, rule: &str) -> Option<usize> {
        if rule.is_empty() { None } else { self.rules.get(rule).copied() }
    }

    /// The control socket's file, to be removed when a drain ends the process.
    pub fn remove_at_end(&self, file: Option<SocketFile>) {
        if let Some(file) = file {
            let _ = self.socket_file.set(file); // set once, at start
        }
    }

    /// True once a drain began.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Says in the log which driver a worker got, and why not a better one.
    pub fn report_driver(&self, worker: u16, driver: Driver, io: IoChoice, refused: Option<&std::io::Error>) {
        match (driver, refused) {
            (Driver::Epoll, Some(error)) if worker == 0 => event_log::warn(
                "io_uring is not available here: running on epoll, at 10 to 25 % more CPU per request. \
                 Allow io_uring_setup in the seccomp profile or set kernel.io_uring_disabled=0, on Linux 5.19 or later",
                &[("cause", error)],
            ),
            _ if worker == 0 => {
                event_log::info("driver", &[("io", &driver.name()), ("asked", &io.name())]);
            }
            _ => {}
        }
    }

    fn tell_all(&self, message: impl Fn(usize) -> Message) {
        for (worker, mailbox) in self.mailboxes.iter().enumerate() {
            let mut message = message(worker);
            // A full mailbox empties within a turn of its worker; a stuck worker is found by its heartbeat.
            for _ in 0..1_000 {
                match mailbox.send(message) {
                    Ok(()) => break,
                    Err(back) => message = back,
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Waits until every worker runs `generation`.
    fn await_workers(&self, generation: Generation) -> Result<(), ApplyError> {
        let deadline = Instant::now() + Duration::from_millis(APPLY_MS_MAX);
        loop {
            let late = self
                .workers
                .iter()
                .position(|shown| shown.generation.load(Ordering::Acquire) != generation.get());
            match late {
                None => return Ok(()),
                Some(worker) if Instant::now() >= deadline => {
                    return Err(ApplyError::Stuck { worker: worker as u32 });
                }
                Some(_) => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    }

    /// The table of `snapshot`, with what it needs from files.
    fn compile(&self, snapshot: &Snapshot) -> Result<Table, Vec<Problem>> {
        match self.vault.open(snapshot) {
            Ok(tls) => Table::compile_with(snapshot, &self.cells, tls),
            Err(files) => {
                let mut problems = Table::compile(snapshot, &self.cells).err().unwrap_or_default();
                problems.extend(files);
                Err(problems)
            }
        }
    }

    /// Begins a slow start of the endpoints that no table had before. At the first table all are new, and none is.
    fn warm_up_new(&self, table: &Table) {
        let running = self.table();
        let known: HashSet<&str> = running.endpoints().map(|(_, endpoint)| endpoint.name.as_str()).collect();
        let now_ms = self.started.elapsed().as_millis() as u64;
        let new = |endpoint: &Endpoint| {
            !known.contains(endpoint.name.as_str()) && endpoint.cell.attempts_total() == 0
        };
        if !known.is_empty() {
            for (_, endpoint) in table.endpoints().filter(|(_, endpoint)| new(endpoint)) {
                endpoint.health.begin(now_ms);
            }
        }
    }

    fn swap_table(&self, table: Arc<Table>) -> Result<(), ApplyError> {
        let generation = table.generation();
        let before = self.table.swap(table);
        self.tell_all(|_| Message::Table);
        self.await_workers(generation).inspect_err(|_| {
            // All or none: those that switched go back.
            self.table.store(before);
            self.tell_all(|_| Message::Table);
        })
    }

    /// Sockets for the addresses that are not listened on yet, one per worker each.
    fn bind_new(&self, listeners: &[Listener]) -> Result<NewSockets, ApplyError> {
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = listeners.iter().filter(|listener| !listening.contains(&listener.address));
        fresh
            .map(|listener| {
                let address = listener.address;
                let bound = listen::bind(address, self.mailboxes.len());
                let sockets =
                    bound.map_err(|error| ApplyError::Listen { address, error: error.to_string() })?;
                Ok((address, Mutex::new(sockets)))
            })
            .collect()
    }

    fn open_listeners(&self, listeners: &[Listener], fresh: &NewSockets) {
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in listening.extract_if(.., |address| !listeners.iter().any(|it| it.address == *address)) {
            self.tell_all(|_| Message::Unlisten(gone));
        }
        for listener in listeners {
            let shared = Arc::new(listener.clone());
            let sockets = fresh.get(&listener.address);
            let next = || sockets.and_then(|it| it.lock().unwrap_or_else(PoisonError::into_inner).pop());
            self.tell_all(|_| Message::Listen(Arc::clone(&shared), next()));
            if sockets.is_some() {
                listening.push(listener.address);
            }
        }
    }

    fn begin_drain(self: &Arc<Self>) {
        if self.draining.swap(true, Ordering::Relaxed) {
            return;
        }
        let timeout_ms = self.table().drain_timeout_ms();
        event_log::info("draining: accepting no more, finishing what runs", &[("timeout_ms", &timeout_ms)]);
        self.tell_all(|_| Message::Drain);
        let shared = Arc::clone(self);
        // Its own thread: control goes on answering until the end.
        let waiter =
            std::thread::Builder::new().name("drain".to_owned()).spawn(move || shared.end(timeout_ms));
        if let Err(error) = waiter {
            event_log::error("cannot wait for the drain; ending at once", &[("cause", &error)]);
            std::process::exit(1);
        }
    }

    fn end(&self, timeout_ms: u64) {
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        while self.connections.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let left = self.connections.load(Ordering::Relaxed);
        if left > 0 {
            event_log::warn("drain timeout: connections are cut", &[("connections", &left)]);
        }
        self.log.close(Duration::from_secs(1));
        if let Some(file) = self.socket_file.get() {
            file.remove();
        }
        event_log::info("drained", &[]);
        // monoio drops nothing at the end of a runtime, so there is nothing to wait for.
        std::process::exit(0);
    }
}

type NewSockets = HashMap<SocketAddr, Mutex<Vec<std::net::TcpListener>>>;

/// What control calls. A type of its own, because a drain needs the `Arc`.
pub struct Process(pub Arc<Shared>);

impl Plane for Process {
    fn running(&self) -> Option<Arc<Snapshot>> {
        self.0.running.load_full()
    }

    fn apply(&self, snapshot: Snapshot) -> Result<Applied, ApplyError> {
        let shared = &self.0;
        if shared.is_draining() {
            return Err(ApplyError::Draining);
        }
        let table = shared.compile(&snapshot).map_err(ApplyError::Problems)?;
        let target = shared.log.open(&snapshot.logging).map_err(|error| {
            let problem = Problem::new("logging.access", format!("the access log cannot be opened: {error}"));
            ApplyError::Problems(vec![problem.mend("give a path that this user may write, or `off`")])
        })?;
        let fresh = shared.bind_new(&snapshot.listeners)?;
        shared.warm_up_new(&table);
        shared.swap_table(Arc::new(table))?;
        shared.open_listeners(&snapshot.listeners, &fresh);
        shared.log.switch(target);
        let generation = snapshot.generation;
        shared.running.store(Some(Arc::new(snapshot)));
        shared.cells.sweep();
        Ok(Applied { generation, workers: shared.workers.len() as u32 })
    }

    fn stats(&self) -> Stats {
        let shared = &self.0;
        let table = shared.table();
        let now = Moment::from_us(shared.now_us());
        let estimate = |backend: &Backend, endpoint: &Endpoint| {
            let at = backend.endpoints.iter().position(|it| std::ptr::eq(it, endpoint))?;
            let gpu = backend.gpu.as_ref()?;
            Some((gpu.estimate(at, now), gpu.resident(at, now)))
        };
        let underflows = table.endpoints().map(|(_, endpoint)| endpoint.cell.underflows_total()).sum();
        let own = |cell: &LoadCell| {
            let counts = cell.counts_of_all_lives();
            Own {
                prompt_tokens: counts.prompt,
                missed_tokens: counts.missed,
                uncached_tokens: counts.uncached,
                generated_tokens: counts.generated,
                restarts: cell.restarts(),
            }
        };
        let shown = |backend: &Backend, endpoint: &Endpoint| {
            let (estimate, adapters) = estimate(backend, endpoint).unzip();
            EndpointStats {
                estimate,
                adapters: adapters.flatten(),
                backend: backend.name.as_str().to_owned(),
                endpoint: endpoint.authority.to_string(),
                addresses: endpoint.addresses.to_vec(),
                drained: endpoint.is_drained(),
                in_flight: endpoint.cell.counts_of_all_lives().in_flight.into(),
                attempts_total: endpoint.cell.attempts_total(),
                failures_total: endpoint.cell.failures_total(),
                state: (if endpoint.is_drained() { State::Drain } else { endpoint.health.state() })
                    .name()
                    .to_owned(),
                probe: endpoint.seen.probe(),
                reported: endpoint.seen.reported(&endpoint.cell, now),
                own: own(&endpoint.cell),
                answers: endpoint.seen.answers(),
            }
        };
        let endpoints = table.endpoints().map(|(backend, endpoint)| shown(backend, endpoint));
        Stats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: table.generation(),
            uptime_s: shared.started.elapsed().as_secs_f64(),
            draining: shared.is_draining(),
            workers: shared.metrics.worker_stats(),
            load_underflow_total: underflows,
            endpoints: endpoints.collect(),
            queues: table.queues(now),
            credentials: table.credentials(),
            times: shared.metrics.times(),
        }
    }

    fn explain(&self, question: &Question) -> Explanation {
        let now = Moment::from_us(self.0.started.elapsed().as_micros() as u64);
        explain::explain(&self.0.table(), question, now)
    }

    fn traces(&self, request: Option<&str>, count: usize) -> Vec<Trace> {
        self.0.traces.newest(request, count)
    }

    fn load(&self, report: &LoadReport) -> LoadTaken {
        load::take_in(&self.0.table(), report, load::Now::since(self.0.now_us()))
    }

    fn drain(&self, drain: &Drain) -> Result<(), String> {
        let Some(name) = &drain.endpoint else {
            if drain.undo {
                return Err("a drain of the whole process cannot be undone; start it again".to_owned());
            }
            self.0.begin_drain();
            return Ok(());
        };
        let table = self.0.table();
        let Some(endpoint) = table.endpoint(name) else {
            let known: Vec<_> = table.endpoints().map(|(_, endpoint)| endpoint.name.as_str()).collect();
            return Err(format!("no endpoint is called {name}; there are: {}", known.join(", ")));
        };
        endpoint.cell.set_drained(!drain.undo);
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        let shared = &self.0;
        if shared.is_draining() {
            return Err("draining".to_owned());
        }
        if shared.running.load().is_none() {
            return Err("waiting for the first snapshot: push one with `ringctl apply`".to_owned());
        }
        match shared.slowest_beat() {
            (worker, late_ms) if late_ms > HEARTBEAT_LATE_MS => {
                Err(format!("worker {worker} has not moved for {late_ms} ms"))
            }
            _ => Ok(()),
        }
    }

    fn render_metrics(&self, out: &mut String) {
        self.0.metrics.render(out, &self.stats());
        self.0.vault.render(out);
        self.0.traces.render(out);
    }

    fn tick(&self) {
        self.0.vault.refresh();
        let (worker, late_ms) = self.0.slowest_beat();
        if late_ms > HEARTBEAT_DEAD_MS {
            // A ring that fails for good is silent; whoever supervises us can do better than a dead worker.
            event_log::error("a worker is stuck; ending", &[("worker", &worker), ("ms", &late_ms)]);
            std::process::exit(1);
        }
        if late_ms > HEARTBEAT_LATE_MS {
            event_log::warn("a worker is late", &[("worker", &worker), ("ms", &late_ms)]);
        }
    }
}

impl Shared {
    /// The worker that has not moved for the longest, and for how long.
    fn slowest_beat(&self) -> (usize, u64) {
        let now_ms = self.started.elapsed().as_millis() as u64;
        let lateness = |worker| now_ms.saturating_sub(self.metrics.last_beat(worker));
        (0..self.workers.len())
            .map(|worker| (worker, lateness(worker)))
            .max_by_key(|it| it.1)
            .unwrap_or((0, 0))
    }
}
