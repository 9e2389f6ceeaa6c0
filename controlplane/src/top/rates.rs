//! From two looks at the data plane to what moved between them.
//!
//! Owns: rates, averages, the order of rows, and the verdict on where the time goes.
//! Must not: draw, or read a clock.
//! Read next: `view.rs`, which draws it.

use std::time::Duration;

use ringway_contract::stats::{EndpointStats, QueueStats, Stats, Timed};

/// Everything that is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Version of the data plane.
    pub version: String,
    /// Seconds since its start.
    pub uptime_s: f64,
    /// Its generation.
    pub generation: u64,
    /// Its workers and how they do I/O.
    pub workers: String,
    /// Callers' connections.
    pub connections: u64,
    /// Exchanges in flight.
    pub exchanges: u64,
    /// True once a drain began.
    pub draining: bool,
    /// All endpoints together.
    pub all: Flow,
    /// Where the time goes.
    pub verdict: Verdict,
    /// One per endpoint.
    pub rows: Vec<Row>,
    /// One per backend that has a queue in front.
    pub queues: Vec<Queue>,
    /// How they are ordered.
    pub sort: Sort,
    /// It does not move.
    pub paused: bool,
}

/// The queue in front of a backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// Whose.
    pub backend: String,
    /// Requests that wait: interactive, default, batch.
    pub waiting: [u32; 3],
    /// Endpoints that are open, of those that may be.
    pub open: (u32, u32),
    /// How long the oldest of them has waited.
    pub oldest_s: Option<f64>,
    /// When all of it is predicted to be worked off.
    pub drain_s: Option<f64>,
    /// Requests a second that went after a wait.
    pub granted: f64,
    /// Requests a second that were refused.
    pub refused: f64,
}

/// What flows per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flow {
    /// Attempts.
    pub requests: f64,
    /// Of those, failed ones.
    pub failures: f64,
    /// Tokens of prompts.
    pub tokens_in: f64,
    /// Tokens produced.
    pub tokens_out: f64,
    /// Share of the tokens of prompts that were cached; none: no prompt.
    pub cached: Option<f64>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `backend/authority`.
    pub endpoint: String,
    /// How it is.
    pub state: String,
    /// What flows through it.
    pub flow: Flow,
    /// Our attempts in flight.
    pub in_flight: u64,
    /// Average time to the first token of answers that ended meanwhile, in milliseconds.
    pub first_token_ms: Option<f64>,
    /// Requests it works on, as it says.
    pub running: Option<u32>,
    /// Requests that wait in it, as it says.
    pub waiting: Option<u32>,
    /// Share of its KV cache in use, as it says.
    pub kv: Option<f64>,
    /// How old that is; none: it never said anything.
    pub age_s: Option<f64>,
}

/// What the rows are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// As in the configuration.
    #[default]
    Config,
    /// Most requests first.
    Requests,
    /// Most waiting first.
    Waiting,
    /// Fullest KV cache first.
    Kv,
    /// Slowest first token first.
    FirstToken,
}

impl Sort {
    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            Self::Config => Self::Requests,
            Self::Requests => Self::Waiting,
            Self::Waiting => Self::Kv,
            Self::Kv => Self::FirstToken,
            Self::FirstToken => Self::Config,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Requests => "req/s",
            Self::Waiting => "waiting",
            Self::Kv => "kv",
            Self::FirstToken => "ttft",
        }
    }

    fn order(self, rows: &mut [Row]) {
        let by = |value: fn(&Row) -> f64| move |a: &Row, b: &Row| value(b).total_cmp(&value(a));
        match self {
            Self::Config => {}
            Self::Requests => rows.sort_by(by(|row| row.flow.requests)),
            Self::Waiting => rows.sort_by(by(|row| row.waiting.map_or(-1.0, f64::from))),
            Self::Kv => rows.sort_by(by(|row| row.kv.unwrap_or(-1.0))),
            Self::FirstToken => rows.sort_by(by(|row| row.first_token_ms.unwrap_or(-1.0))),
        }
    }
}

/// Where the time of exchanges that ended meanwhile went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing ended.
    Idle,
    /// The gateway's own part is small: requests wait for, or are worked on by, the servers.
    Servers {
        /// The gateway's own part, average per exchange in milliseconds.
        own_ms: f64,
        /// To the first byte of the answer, average in milliseconds.
        first_byte_ms: f64,
        /// Requests that wait in servers, by what they say.
        waiting: u64,
        /// The fullest KV cache, by what they say.
        fullest: Option<f64>,
    },
    /// The gateway's own part is what callers wait for.
    Gateway {
        /// Average per exchange in milliseconds.
        own_ms: f64,
        /// To the first byte of the answer, average in milliseconds.
        first_byte_ms: f64,
    },
}

/// The gateway is to blame from this share of the time to the first byte…
const OWN_SHARE: f64 = 0.25;
/// …if it is as much as somebody could notice.
const OWN_MS: f64 = 2.0;
/// A report older than this is what an endpoint said, not what it is like.
pub const FRESH_S: f64 = 2.0;

impl View {
    /// What moved from `before` to `now`, which lie so far apart.
    pub fn between(before: &Stats, now: &Stats, apart: Duration, sort: Sort) -> Self {
        let mut rows: Vec<Row> = now.endpoints.iter().map(|it| row(find(before, it), it, apart)).collect();
        let all = flow_of_all(before, now, apart);
        let verdict = verdict(before, now, &rows);
        sort.order(&mut rows);
        let io = now.workers.first().map_or("none", |worker| worker.io.as_str());
        Self {
            version: now.version.clone(),
            uptime_s: now.uptime_s,
            generation: now.generation.get(),
            workers: format!("{} x {io}", now.workers.len()),
            connections: now.workers.iter().map(|worker| worker.connections).sum(),
            exchanges: now.workers.iter().map(|worker| worker.exchanges).sum(),
            draining: now.draining,
            all,
            verdict,
            rows,
            queues: now.queues.iter().map(|it| queue(before, it, apart)).collect(),
            sort,
            paused: false,
        }
    }

    /// The same in another order.
    pub fn sort(&mut self, sort: Sort) {
        self.sort = sort;
        sort.order(&mut self.rows);
    }
}

fn queue(before: &Stats, now: &QueueStats, apart: Duration) -> Queue {
    let before = before.queues.iter().find(|it| it.backend == now.backend).unwrap_or(now);
    let refused = |it: &QueueStats| it.refused_total.iter().map(|(_, count)| count).sum::<u64>();
    let per_second =
        |before: u64, now: u64| now.saturating_sub(before) as f64 / apart.as_secs_f64().max(1e-3);
    Queue {
        backend: now.backend.clone(),
        waiting: now.waiting,
        open: (now.open, now.eligible),
        oldest_s: now.oldest_s.iter().flatten().copied().reduce(f64::max),
        drain_s: now.drain_s,
        granted: per_second(before.granted_total, now.granted_total),
        refused: per_second(refused(before), refused(now)),
    }
}

fn find<'s>(stats: &'s Stats, endpoint: &EndpointStats) -> Option<&'s EndpointStats> {
    stats.endpoints.iter().find(|it| it.backend == endpoint.backend && it.endpoint == endpoint.endpoint)
}

fn row(before: Option<&EndpointStats>, now: &EndpointStats, apart: Duration) -> Row {
    let same = now; // new since the last look: nothing moved yet
    let before = before.unwrap_or(same);
    let answers = (&before.answers, &now.answers);
    let firsts = answers.1.first_tokens.saturating_sub(answers.0.first_tokens);
    let first_us = answers.1.first_token_us.saturating_sub(answers.0.first_token_us);
    let said = now.reported.as_ref();
    Row {
        endpoint: format!("{}/{}", now.backend, now.endpoint),
        state: if now.drained { "drain".to_owned() } else { now.state.clone() },
        flow: flow(std::iter::once((before, now)), apart),
        in_flight: now.in_flight,
        first_token_ms: (firsts > 0).then(|| first_us as f64 / firsts as f64 / 1e3),
        running: said.and_then(|said| said.running),
        waiting: said.and_then(|said| said.waiting),
        kv: said.and_then(|said| said.kv),
        age_s: said.map(|said| said.age_s),
    }
}

fn flow_of_all(before: &Stats, now: &Stats, apart: Duration) -> Flow {
    flow(now.endpoints.iter().map(|it| (find(before, it).unwrap_or(it), it)), apart)
}

fn flow<'s>(pairs: impl Iterator<Item = (&'s EndpointStats, &'s EndpointStats)>, apart: Duration) -> Flow {
    let mut moved = [0u64; 5];
    for (before, now) in pairs {
        let both = [before, now].map(|it| {
            let answers = &it.answers;
            [
                it.attempts_total,
                it.failures_total,
                answers.tokens_in,
                answers.tokens_out,
                answers.tokens_cached,
            ]
        });
        for (sum, (before, now)) in moved.iter_mut().zip(both[0].into_iter().zip(both[1])) {
            *sum += now.saturating_sub(before); // another process since: nothing moved yet
        }
    }
    let per_second = |count: u64| count as f64 / apart.as_secs_f64().max(1e-3);
    let [requests, failures, tokens_in, tokens_out, cached] = moved;
    Flow {
        requests: per_second(requests),
        failures: per_second(failures),
        tokens_in: per_second(tokens_in),
        tokens_out: per_second(tokens_out),
        cached: (tokens_in > 0).then(|| cached as f64 / tokens_in as f64),
    }
}

fn verdict(before: &Stats, now: &Stats, rows: &[Row]) -> Verdict {
    let average = |of: fn(&Stats) -> Timed| {
        let (before, now) = (of(before), of(now));
        let count = now.count.saturating_sub(before.count);
        (count > 0).then(|| now.sum_us.saturating_sub(before.sum_us) as f64 / count as f64 / 1e3)
    };
    let own_ms = average(|stats| stats.times.own);
    let Some((own_ms, first_byte_ms)) = own_ms.zip(average(|stats| stats.times.first_byte)) else {
        return Verdict::Idle;
    };
    if own_ms > OWN_MS && own_ms > OWN_SHARE * first_byte_ms {
        return Verdict::Gateway { own_ms, first_byte_ms };
    }
    let fresh = || rows.iter().filter(|row| row.age_s.is_some_and(|age| age < FRESH_S));
    Verdict::Servers {
        own_ms,
        first_byte_ms,
        waiting: fresh().filter_map(|row| row.waiting).map(u64::from).sum(),
        fullest: fresh().filter_map(|row| row.kv).reduce(f64::max),
    }
}

#[cfg(test)]
mod tests {
    use ringway_contract::Generation;
    use ringway_contract::stats::{Answers, Times, WorkerStats};

    use super::*;

    fn stats(endpoints: Vec<EndpointStats>, own: Timed, first_byte: Timed) -> Stats {
        Stats {
            load_underflow_total: 0,
            version: "0.1.0".to_owned(),
            generation: Generation::new(4),
            uptime_s: 61.0,
            draining: false,
            workers: Vec::<WorkerStats>::new(),
            endpoints,
            queues: Vec::new(),
            credentials: Vec::new(),
            times: Times { own, first_byte, ..Times::default() },
        }
    }

    fn endpoint(attempts_total: u64, answers: Answers) -> EndpointStats {
        let (backend, endpoint) = ("llama".to_owned(), "a:1".to_owned());
        EndpointStats { backend, endpoint, attempts_total, answers, ..EndpointStats::default() }
    }

    fn timed(count: u64, sum_us: u64) -> Timed {
        Timed { count, sum_us }
    }

    fn times(own: Timed, first_byte: Timed) -> Stats {
        stats(Vec::new(), own, first_byte)
    }

    #[test]
    fn rates_and_averages_are_those_of_what_moved() {
        let answers = |first_tokens, first_token_us, tokens_in, tokens_out, tokens_cached| Answers {
            first_tokens,
            first_token_us,
            tokens_in,
            tokens_out,
            tokens_cached,
        };
        let none = Timed::default();
        let before = stats(vec![endpoint(10, answers(5, 9_000_000, 100, 50, 0))], none, none);
        let now = stats(vec![endpoint(30, answers(9, 9_400_000, 500, 250, 100))], none, none);
        let view = View::between(&before, &now, Duration::from_secs(2), Sort::Config);
        let row = &view.rows[0];
        assert_eq!((row.flow.requests, row.flow.tokens_out, row.flow.cached), (10.0, 100.0, Some(0.25)));
        assert_eq!(row.first_token_ms, Some(100.0));
        let again = View::between(&now, &before, Duration::from_secs(2), Sort::Config);
        assert_eq!(again.all, Flow::default(), "another process: its counts are smaller");
    }

    #[test]
    fn a_queue_shows_who_waits_and_how_fast_it_moves() {
        let queue = |granted_total, refused_total| QueueStats {
            backend: "llama".to_owned(),
            waiting: [1, 4, 0],
            oldest_s: [Some(0.1), Some(2.5), None],
            open: 1,
            eligible: 2,
            drain_s: Some(3.0),
            bytes: 2_048,
            granted_total,
            refused_total: vec![("full".to_owned(), refused_total), ("timed_out".to_owned(), 1)],
        };
        let with = |queue| Stats { queues: vec![queue], ..times(timed(0, 0), timed(0, 0)) };
        let view =
            View::between(&with(queue(10, 0)), &with(queue(20, 6)), Duration::from_secs(2), Sort::Config);
        let expected = Queue {
            backend: "llama".to_owned(),
            waiting: [1, 4, 0],
            open: (1, 2),
            oldest_s: Some(2.5),
            drain_s: Some(3.0),
            granted: 5.0,
            refused: 3.0,
        };
        assert_eq!(view.queues, [expected]);
    }

    #[test]
    fn the_gateway_is_to_blame_where_its_own_part_is_a_good_part() {
        let start = times(timed(0, 0), timed(0, 0));
        let of = |own_us: u64, first_byte_us: u64| {
            let now = times(timed(10, 10 * own_us), timed(10, 10 * first_byte_us));
            View::between(&start, &now, Duration::from_secs(1), Sort::Config).verdict
        };
        assert!(matches!(of(60, 400_000), Verdict::Servers { waiting: 0, fullest: None, .. }));
        assert!(matches!(of(200_000, 400_000), Verdict::Gateway { .. }));
        assert!(matches!(of(1_000, 1_500), Verdict::Servers { .. }), "nobody notices a millisecond");
        let none = View::between(&start, &start, Duration::from_secs(1), Sort::Config).verdict;
        assert_eq!(none, Verdict::Idle);
    }
}
