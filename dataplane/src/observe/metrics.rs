//! Counts, gauges and times of all workers, and the page that shows them.
//!
//! Owns: one [`Shard`] of cells per worker, the bounded set of route names, and which series exist.
//! Must not: let one worker write another's cells, use a locked instruction per exchange, or take a label from a
//! request (SEC-INJ-03).
//! Read next: `metrics/page.rs`, the series and their names.

mod page;

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use crossbeam_utils::CachePadded;
use ringway_contract::stats::{Timed, Times, WorkerStats};
use ringway_contract::{Generation, MicroDollars};

use super::bounds::ROUTES_MAX;
use super::histogram::{Cells, bump};
use super::record::{Micros, Record};
use crate::tls::{Fault, Side};

/// Declares a closed set of cells with the family that shows each.
macro_rules! closed_set {
    ($(#[$meta:meta])* $set:ident { $($(#[$doc:meta])* $variant:ident => $name:literal, $help:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $set { $($(#[$doc])* $variant,)* }

        impl $set {
            /// All of them, in the order of the page.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            const fn family(self) -> (&'static str, &'static str) {
                match self { $(Self::$variant => ($name, $help),)* }
            }
        }
    };
}

closed_set! {
    /// What a worker counts. Shown as the sum over the workers.
    Counter {
        /// A downstream connection was accepted.
        Accepted => "ringway_connections_accepted_total", "Downstream connections accepted.";
        /// A downstream connection was accepted and handed to a less busy worker.
        HandedOver => "ringway_connections_handed_over_total",
            "Downstream connections handed to a less busy worker right after accept.";
        /// A downstream connection was refused: too many.
        Refused => "ringway_connections_refused_total", "Downstream connections refused because there were too many.";
        /// An accept failed.
        AcceptErrors => "ringway_accept_errors_total", "Accepts that failed, such as for want of descriptors.";
        /// An attempt began.
        Attempts => "ringway_upstream_attempts_total", "Attempts at upstreams.";
        /// An attempt began after another had failed.
        Retries => "ringway_upstream_retries_total", "Attempts after a failed one of the same exchange.";
        /// An attempt was not made because the budget of retries was spent.
        RetriesRefused => "ringway_upstream_retries_refused_total", "Retries that the budget did not have.";
        /// A second attempt began beside a slow first one.
        Hedges => "ringway_hedges_total", "Second attempts beside a slow first one.";
        /// A second attempt was answered first.
        HedgesWon => "ringway_hedges_won_total", "Second attempts that were answered first.";
        /// A second attempt was not made because its budget was spent.
        HedgesRefused => "ringway_hedges_refused_total", "Second attempts that the budget did not have.";
        /// An upstream connection was made.
        Connects => "ringway_upstream_connects_total", "Upstream connections made.";
        /// An upstream connection could not be made.
        ConnectFailures => "ringway_upstream_connect_failures_total", "Upstream connections that could not be made.";
        /// An attempt went over a connection that had served before.
        Reuses => "ringway_upstream_reuses_total", "Attempts over a connection that had served before.";
        /// An answer was put into words of its caller's.
        Translated => "ringway_translated_requests_total", "Requests answered by a backend of another dialect.";
        /// A silent stream was kept open.
        Heartbeats => "ringway_heartbeats_total", "Signs of life sent into silent streams.";
        /// An answer told its server's load in a way that cannot be read.
        OrcaMalformed => "ringway_orca_malformed_total", "Answers whose endpoint-load-metrics could not be read.";
        /// A caller did a TLS handshake.
        TlsAccepted => "ringway_tls_handshakes_total", "TLS handshakes done with callers.";
        /// A caller took up an earlier TLS session.
        TlsAcceptedResumed => "ringway_tls_resumptions_total",
            "TLS handshakes with callers that took up an earlier session.";
        /// An endpoint did a TLS handshake.
        TlsConnected => "ringway_upstream_tls_handshakes_total", "TLS handshakes done with endpoints.";
        /// An endpoint let us take up an earlier TLS session.
        TlsConnectedResumed => "ringway_upstream_tls_resumptions_total",
            "TLS handshakes with endpoints that took up an earlier session.";
        /// A connection was lost by a panic.
        Panics => "ringway_panics_total", "Connections ended by a panic: each is a bug.";
    }
}

closed_set! {
    /// What a worker has now. Shown per worker.
    Gauge {
        /// Downstream connections.
        Connections => "ringway_connections", "Downstream connections now.";
        /// Exchanges in flight.
        Exchanges => "ringway_exchanges", "Exchanges in flight now.";
        /// Upstream connections in use.
        UpstreamActive => "ringway_upstream_active_connections", "Upstream connections in use now.";
        /// Upstream connections kept for the next attempt.
        UpstreamIdle => "ringway_upstream_idle_connections", "Upstream connections idle now.";
        /// Bytes of pooled buffers in use.
        BufferBytes => "ringway_buffer_bytes", "Bytes of buffers in use now.";
        /// Bytes of pooled buffers kept for the next use.
        PooledBytes => "ringway_buffer_pooled_bytes", "Bytes of buffers kept for the next use.";
        /// Idle upstream connections that were found closed when they were wanted.
        StaleConnections => "ringway_upstream_stale_connections",
            "Idle upstream connections found closed or speaking when they were wanted, since start.";
        /// The generation it runs.
        Generation => "ringway_worker_generation", "Generation of the table the worker runs.";
    }
}

/// What a worker measures per exchange, as a distribution.
#[derive(Clone, Copy)]
enum Measure {
    Total,
    FirstByte,
    Own,
    Queued,
    ModelTotal,
    FirstToken,
    TokenTime,
    TokensIn,
    TokensOut,
}

impl Measure {
    const COUNT: usize = Self::TokensOut as usize + 1;
}

/// The closed sets of words that label counts. Indices into them are what workers hand in.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// Why exchanges end abnormally.
    pub reasons: Vec<&'static str>,
    /// The rules a malformed request may break.
    pub rules: Vec<&'static str>,
}

/// A route's place among the cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId(u16);

impl RouteId {
    /// No route matched.
    pub const NONE: Self = Self(0);
    /// One of those beyond [`ROUTES_MAX`].
    pub const OTHER: Self = Self(1);
}

/// Where an exchange is counted.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    /// Its route: see [`Metrics::route`].
    pub route: RouteId,
    /// Index of its reason in [`Words::reasons`]; none: it ended well.
    pub reason: Option<usize>,
    /// Index of the broken rule in [`Words::rules`].
    pub rule: Option<usize>,
}

/// The cells of all workers.
pub struct Metrics {
    workers: Box<[Arc<CachePadded<WorkerCells>>]>,
    words: Words,
    routes: Mutex<Routes>,
    started: SystemTime,
}

/// The names that have cells, by place.
struct Routes {
    names: Vec<&'static str>,
    ids: HashMap<&'static str, RouteId>,
}

/// All that one worker writes. Each array is its own allocation with a margin: see [`Row`].
struct WorkerCells {
    taken: AtomicBool,
    driver: OnceLock<&'static str>,
    counters: Row,
    gauges: Row,
    routes: Row,
    reasons: Row,
    rules: Row,
    /// Faults of callers, then of endpoints.
    faults: Row,
    ended: AtomicU64,
    beat: AtomicU64,
    measures: [Cells; Measure::COUNT],
}

/// Cells of one worker that share no cache line with another worker's.
struct Row(Box<[AtomicU64]>);

impl Row {
    const MARGIN: usize = 16; // two cache lines: the prefetcher fetches them in pairs

    fn new(len: usize) -> Self {
        Self((0..len + 2 * Self::MARGIN).map(|_| AtomicU64::new(0)).collect())
    }

    fn at(&self, index: usize) -> &AtomicU64 {
        &self.0[index + Self::MARGIN]
    }

    fn get(&self, index: usize) -> u64 {
        self.at(index).load(Ordering::Relaxed)
    }
}

/// What is counted per route: exchanges by class of status, then bytes and tokens.
mod column {
    pub const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
    pub const BYTES_IN: usize = CLASSES.len();
    pub const BYTES_OUT: usize = BYTES_IN + 1;
    pub const TOKENS_IN: usize = BYTES_OUT + 1;
    pub const TOKENS_OUT: usize = TOKENS_IN + 1;
    pub const TOKENS_CACHED: usize = TOKENS_OUT + 1;
    pub const COST: usize = TOKENS_CACHED + 1;
    pub const COUNT: usize = COST + 1;
}

impl Metrics {
    /// Cells for `workers` workers.
    pub fn new(workers: usize, words: Words) -> Arc<Self> {
        let cells = |_| Arc::new(CachePadded::new(WorkerCells::new(&words)));
        let names = vec!["none", "other"];
        let ids = HashMap::from([("none", RouteId::NONE), ("other", RouteId::OTHER)]);
        Arc::new(Self {
            workers: (0..workers).map(cells).collect(),
            routes: Mutex::new(Routes { names, ids }),
            started: SystemTime::now(),
            words,
        })
    }

    /// The shard of `worker`; `driver` says how it does I/O. Only the first call gets it: a shard has one writer.
    pub fn shard(&self, worker: usize, driver: &'static str) -> Option<Shard> {
        let cells = self.workers.get(worker)?;
        if cells.taken.swap(true, Ordering::Relaxed) {
            return None;
        }
        let _ = cells.driver.set(driver); // first call, so unset
        Some(Shard { cells: Arc::clone(cells), one_thread: PhantomData })
    }

    /// The place of a route's cells. The same name has the same place in every generation; a name beyond
    /// [`ROUTES_MAX`] shares [`RouteId::OTHER`]. Locks and allocates: call it when a table is compiled.
    pub fn route(&self, name: &str) -> RouteId {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = routes.ids.get(name) {
            return *id;
        }
        if routes.names.len() >= ROUTES_MAX {
            return RouteId::OTHER;
        }
        let name: &'static str = Box::leak(name.into()); // at most ROUTES_MAX names, and cells are never given back
        let id = RouteId(routes.names.len() as u16);
        routes.names.push(name);
        routes.ids.insert(name, id);
        id
    }

    /// The index of a rule: for [`Slots::rule`]. One that is not in [`Words::rules`] counts as `other`.
    pub fn rule(&self, id: &str) -> usize {
        let known = self.words.rules.iter().position(|rule| *rule == id);
        known.unwrap_or(self.words.rules.len())
    }

    /// Counts of all workers together.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.workers.iter().map(|cells| cells.counters.get(counter as usize)).sum()
    }

    /// A gauge of all workers together.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.workers.iter().map(|cells| cells.gauges.get(gauge as usize)).sum()
    }

    /// When `worker` last said that it lives: see [`Shard::beat`].
    pub fn last_beat(&self, worker: usize) -> u64 {
        self.workers[worker].beat.load(Ordering::Relaxed)
    }

    /// Where the time of exchanges went, all workers together.
    pub fn times(&self) -> Times {
        let timed = |measure: Measure| {
            let merged = self.merged(measure);
            Timed { count: merged.count(), sum_us: merged.sum() }
        };
        Times {
            own: timed(Measure::Own),
            first_byte: timed(Measure::FirstByte),
            first_token: timed(Measure::FirstToken),
            total: timed(Measure::Total),
        }
    }

    /// The workers' part of `GET /v1/stats`.
    pub fn worker_stats(&self) -> Vec<WorkerStats> {
        let one = |(worker, cells): (usize, &Arc<CachePadded<WorkerCells>>)| WorkerStats {
            worker: worker as u32,
            io: cells.driver().to_owned(),
            generation: Generation::new(cells.gauges.get(Gauge::Generation as usize)),
            connections: cells.gauges.get(Gauge::Connections as usize),
            exchanges: cells.gauges.get(Gauge::Exchanges as usize),
            exchanges_total: cells.ended.load(Ordering::Relaxed),
            upstream_idle: cells.gauges.get(Gauge::UpstreamIdle as usize),
            upstream_active: cells.gauges.get(Gauge::UpstreamActive as usize),
        };
        self.workers.iter().enumerate().map(one).collect()
    }
}

impl WorkerCells {
    fn new(words: &Words) -> Self {
        Self {
            taken: AtomicBool::new(false),
            driver: OnceLock::new(),
            counters: Row::new(Counter::ALL.len()),
            gauges: Row::new(Gauge::ALL.len()),
            routes: Row::new(ROUTES_MAX * column::COUNT),
            reasons: Row::new(words.reasons.len() + 1), // the last one: other
            rules: Row::new(words.rules.len() + 1),
            faults: Row::new(2 * Fault::ALL.len()),
            ended: AtomicU64::new(0),
            beat: AtomicU64::new(0),
            measures: Default::default(),
        }
    }

    fn driver(&self) -> &'static str {
        self.driver.get().copied().unwrap_or("none")
    }
}

/// The cells of one worker, in its own hands: it may move to the worker's thread, and not be shared from there.
pub struct Shard {
    cells: Arc<CachePadded<WorkerCells>>,
    one_thread: PhantomData<std::cell::Cell<()>>,
}

impl Shard {
    /// Counts one.
    pub fn count(&self, counter: Counter) {
        bump(self.cells.counters.at(counter as usize), 1);
    }

    /// Raises a gauge by `by`.
    pub fn raise(&self, gauge: Gauge, by: u64) {
        bump(self.cells.gauges.at(gauge as usize), by);
    }

    /// Lowers a gauge by `by`, which must have been raised before.
    pub fn lower(&self, gauge: Gauge, by: u64) {
        let cell = self.cells.gauges.at(gauge as usize);
        let now = cell.load(Ordering::Relaxed);
        debug_assert!(now >= by, "{gauge:?} lowered below zero");
        cell.store(now.saturating_sub(by), Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, gauge: Gauge, value: u64) {
        self.cells.gauges.at(gauge as usize).store(value, Ordering::Relaxed);
    }

    /// The gauge as it is.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.cells.gauges.get(gauge as usize)
    }

    /// Says that the worker lives; `now_ms` is of the monotonic clock.
    pub fn beat(&self, now_ms: u64) {
        self.cells.beat.store(now_ms, Ordering::Relaxed);
    }

    /// Counts an exchange that is over.
    pub fn exchange(&self, record: &Record, slots: Slots) {
        bump(&self.cells.ended, 1);
        self.count_route(record, slots.route);
        count_word(&self.cells.reasons, slots.reason);
        count_word(&self.cells.rules, slots.rule);
        self.time(Measure::Total, record.total);
        self.time(Measure::FirstByte, record.first_byte);
        self.time(Measure::Own, record.own);
        self.time(Measure::Queued, record.queued);
        self.time(Measure::FirstToken, record.first_token);
        if !record.model.is_empty() {
            self.time(Measure::ModelTotal, record.total);
        }
        self.count_tokens(record);
    }

    /// Counts an abnormal end that is no exchange's: index of its reason in [`Words::reasons`].
    pub fn reason(&self, reason: usize) {
        count_word(&self.cells.reasons, Some(reason));
    }

    /// Counts why there is no TLS connection, or no longer one.
    pub fn fault(&self, side: Side, fault: Fault) {
        bump(self.cells.faults.at(fault_place(side, fault)), 1);
    }

    /// Counts a TLS handshake that came to its end.
    pub fn count_handshake(&self, side: Side, resumed: bool) {
        let (done, taken_up) = match side {
            Side::Server => (Counter::TlsAccepted, Counter::TlsAcceptedResumed),
            Side::Client => (Counter::TlsConnected, Counter::TlsConnectedResumed),
        };
        self.count(done);
        if resumed {
            self.count(taken_up);
        }
    }

    fn count_route(&self, record: &Record, route: RouteId) {
        let base = usize::from(route.0) * column::COUNT;
        let add = |column: usize, by: u64| bump(self.cells.routes.at(base + column), by);
        add(usize::from(record.status / 100).min(column::CLASSES.len() - 1), 1);
        add(column::BYTES_IN, record.bytes_in);
        add(column::BYTES_OUT, record.bytes_out);
        let counts = [
            (column::TOKENS_IN, record.tokens_in),
            (column::TOKENS_OUT, record.tokens_out),
            (column::TOKENS_CACHED, record.tokens_cached),
            (column::COST, record.cost.map(MicroDollars::get)),
        ];
        for (column, count) in counts {
            if let Some(count) = count {
                add(column, count);
            }
        }
    }

    fn count_tokens(&self, record: &Record) {
        if let Some(tokens) = record.tokens_in {
            self.cells.measures[Measure::TokensIn as usize].record(tokens);
        }
        let Some(tokens) = record.tokens_out else { return };
        self.cells.measures[Measure::TokensOut as usize].record(tokens);
        if let (Some(first), Some(total)) = (record.first_token.get(), record.total.get())
            && tokens > 1
        {
            let each = total.saturating_sub(first) / (tokens - 1);
            self.cells.measures[Measure::TokenTime as usize].record(each);
        }
    }

    fn time(&self, measure: Measure, span: Micros) {
        if let Some(us) = span.get() {
            self.cells.measures[measure as usize].record(us);
        }
    }
}

fn fault_place(side: Side, fault: Fault) -> usize {
    match side {
        Side::Server => fault as usize,
        Side::Client => Fault::ALL.len() + fault as usize,
    }
}

/// An index outside the set counts as the last cell, `other`.
fn count_word(row: &Row, index: Option<usize>) {
    if let Some(index) = index {
        let last = row.0.len() - 2 * Row::MARGIN - 1;
        bump(row.at(index.min(last)), 1);
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the page tells counts, which are exact")]
mod tests {
    use ringway_contract::stats::{EndpointStats, Stats};

    use super::super::bounds::ENDPOINTS_MAX;
    use super::super::exposition::check;
    use super::super::record::Short;
    use super::*;

    fn words() -> Words {
        Words { reasons: vec!["client_gone", "up_connect_refused"], rules: vec!["H1-FR-03"] }
    }

    fn stats(endpoints: usize) -> Stats {
        let one = |index| EndpointStats {
            backend: "llama".to_owned(),
            endpoint: format!("gpu-{index}:8000"),
            addresses: Vec::new(),
            drained: index == 0,
            in_flight: 2,
            attempts_total: 5,
            failures_total: 1,
            ..EndpointStats::default()
        };
        Stats {
            load_underflow_total: 0,
            version: "0".to_owned(),
            generation: Generation::new(4),
            uptime_s: 1.0,
            draining: false,
            workers: Vec::new(),
            endpoints: (0..endpoints).map(one).collect(),
            queues: Vec::new(),
            credentials: Vec::new(),
            times: Times::default(),
        }
    }

    fn page(metrics: &Metrics, endpoints: usize) -> HashMap<String, f64> {
        let mut out = String::new();
        metrics.render(&mut out, &stats(endpoints));
        check::series(&out)
    }

    fn record(worker: u16) -> Record {
        let mut record = Record::new(0, worker, "127.0.0.1:1".parse().expect("an address"));
        record.status = 200;
        (record.bytes_in, record.bytes_out) = (10, 20);
        (record.tokens_in, record.tokens_out, record.tokens_cached) = (Some(100), Some(11), Some(64));
        (record.first_token, record.total) = (Micros::new(200_000), Micros::new(1_200_000));
        record.own = Micros::new(40);
        record.model = Short::new(b"llama-3");
        record
    }

    const ENDED_WELL: Slots = Slots { route: RouteId::NONE, reason: None, rule: None };

    #[test]
    fn workers_are_summed_and_gauges_are_told_per_worker() {
        let metrics = Metrics::new(2, words());
        let shards =
            [metrics.shard(0, "uring-defer").expect("free"), metrics.shard(1, "epoll").expect("free")];
        for shard in &shards {
            shard.count(Counter::Accepted);
            shard.raise(Gauge::Connections, 3);
        }
        shards[1].lower(Gauge::Connections, 1);
        shards[0].set(Gauge::Generation, 4);
        let page = page(&metrics, 1);
        assert_eq!(page["ringway_connections_accepted_total"], 2.0);
        assert_eq!(page["ringway_connections{worker=\"0\"}"], 3.0);
        assert_eq!(page["ringway_connections{worker=\"1\"}"], 2.0);
        assert_eq!(page["ringway_io_info{worker=\"1\",io=\"epoll\"}"], 1.0);
        assert_eq!(page["ringway_endpoint_drained{backend=\"llama\",endpoint=\"gpu-0:8000\"}"], 1.0);
        assert_eq!((metrics.counter(Counter::Accepted), metrics.gauge(Gauge::Connections)), (2, 5));
        let told = metrics.worker_stats();
        assert_eq!(
            (told[0].io.as_str(), told[0].generation.get(), told[1].connections),
            ("uring-defer", 4, 2)
        );
    }

    #[test]
    fn an_exchange_is_counted_by_route_status_reason_and_rule() {
        let metrics = Metrics::new(1, words());
        let shard = metrics.shard(0, "epoll").expect("free");
        let chat = metrics.route("chat");
        assert_eq!(metrics.route("chat"), chat, "the same name has the same place");
        shard.exchange(&record(0), Slots { route: chat, ..ENDED_WELL });
        let mut refused = record(0);
        (refused.status, refused.model) = (400, Short::EMPTY);
        let rule = Some(metrics.rule("H1-FR-03"));
        shard.exchange(&refused, Slots { route: RouteId::NONE, reason: Some(0), rule });
        let rule = Some(metrics.rule("H9-XX-99"));
        shard.exchange(&refused, Slots { route: RouteId::NONE, reason: Some(99), rule });
        let page = page(&metrics, 0);
        assert_eq!(page["ringway_requests_total{route=\"chat\",code=\"2xx\"}"], 1.0);
        assert_eq!(page["ringway_requests_total{route=\"none\",code=\"4xx\"}"], 2.0);
        assert_eq!(page["ringway_downstream_bytes_total{route=\"chat\",direction=\"sent\"}"], 20.0);
        assert_eq!(page["ringway_tokens_total{route=\"chat\",type=\"cached\"}"], 64.0);
        assert_eq!(page["ringway_abnormal_ends_total{reason=\"client_gone\"}"], 1.0);
        assert_eq!(page["ringway_abnormal_ends_total{reason=\"up_connect_refused\"}"], 0.0);
        assert_eq!(page["ringway_abnormal_ends_total{reason=\"other\"}"], 1.0);
        assert_eq!(page["ringway_malformed_requests_total{rule=\"H1-FR-03\"}"], 1.0);
        assert_eq!(page["ringway_malformed_requests_total{rule=\"other\"}"], 1.0);
        assert_eq!(
            page["gen_ai_server_request_duration_seconds_count"], 1.0,
            "of exchanges with a model only"
        );
    }

    #[test]
    fn times_and_tokens_become_distributions_in_base_units() {
        let metrics = Metrics::new(1, words());
        let shard = metrics.shard(0, "epoll").expect("free");
        shard.exchange(&record(0), ENDED_WELL);
        let page = page(&metrics, 0);
        assert_eq!(page["ringway_request_duration_seconds_sum"], 1.2);
        assert_eq!(page["ringway_request_duration_seconds_bucket{le=\"1\"}"], 0.0);
        assert_eq!(page["ringway_request_duration_seconds_bucket{le=\"2.5\"}"], 1.0);
        assert_eq!(page["ringway_own_time_seconds_bucket{le=\"0.00005\"}"], 1.0);
        assert_eq!(page["ringway_time_to_first_byte_seconds_count"], 0.0);
        assert_eq!(page["gen_ai_server_time_to_first_token_seconds_bucket{le=\"0.25\"}"], 1.0);
        assert_eq!(
            page["gen_ai_server_time_per_output_token_seconds_sum"], 0.1,
            "a second for ten more tokens"
        );
        assert_eq!(page["gen_ai_client_token_usage_sum{gen_ai_token_type=\"output\"}"], 11.0);
    }

    #[test]
    fn a_shard_has_one_writer() {
        let metrics = Metrics::new(1, words());
        assert!(metrics.shard(0, "epoll").is_some());
        assert!(metrics.shard(0, "epoll").is_none() && metrics.shard(1, "epoll").is_none());
    }

    #[test]
    fn names_without_end_do_not_become_series_without_end() {
        let metrics = Metrics::new(1, words());
        let shard = metrics.shard(0, "epoll").expect("free");
        for index in 0..10 * ROUTES_MAX {
            let route = metrics.route(&format!("route-{index}"));
            shard.exchange(&record(0), Slots { route, ..ENDED_WELL });
        }
        assert_eq!(metrics.route("one more"), RouteId::OTHER);
        let page = page(&metrics, 2 * ENDPOINTS_MAX);
        let of = |prefix: &str| page.keys().filter(|key| key.starts_with(prefix)).count();
        assert_eq!(of("ringway_requests_total"), ROUTES_MAX - 1, "all but `none`, which saw nothing");
        assert_eq!(of("ringway_endpoint_in_flight"), ENDPOINTS_MAX);
        assert_eq!(page["ringway_endpoints_unlisted"], ENDPOINTS_MAX as f64);
    }

    #[test]
    fn a_shard_may_move_to_its_thread_and_not_be_shared_from_there() {
        fn moves<T: Send>() {}
        moves::<Shard>();
    }
}
