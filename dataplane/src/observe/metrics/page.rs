//! The page of metrics: which series there are, under which names.
//!
//! Owns: the workers' part of `GET /metrics`; control adds its own.
//! Must not: show a label that is not of a closed or bounded set (SEC-INJ-03).
//! Read next: [`super::super::exposition`], the format.
//!
//! Names: prefix `ringway_`, base units. Where OpenTelemetry's semantic conventions for generative AI have an
//! instrument, its name is kept (`gen_ai.server.time_to_first_token` is `gen_ai_server_time_to_first_token_seconds`),
//! with the bucket bounds they advise, so that boards made for them work.

use std::sync::PoisonError;

use ringway_contract::MicroDollars;
use ringway_contract::stats::{CredentialStats, EndpointStats, Estimate, Own, QueueStats, Reported, Stats};

use super::super::bounds::ENDPOINTS_MAX;
use super::super::exposition::{Family, Label, Page};
use super::super::histogram::Merged;
use super::super::process;
use super::{Counter, Gauge, Measure, Metrics, Row, WorkerCells, column, fault_place};
use crate::health::State;
use crate::tls::{Fault, Side};

impl Metrics {
    /// Appends the whole page but for what control adds; the endpoints are those of `stats`.
    pub fn render(&self, out: &mut String, stats: &Stats) {
        let mut page = Page::new(out);
        page.gauge("ringway_build_info", "Always 1; the label tells the version.")
            .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        self.render_workers(&mut page);
        self.render_routes(&mut page);
        self.render_words(&mut page);
        self.render_faults(&mut page);
        self.render_measures(&mut page);
        render_endpoints(&mut page, &stats.endpoints);
        render_queues(&mut page, &stats.queues);
        render_credentials(&mut page, &stats.credentials);
        page.counter("ringway_load_underflow_total", "Load given back that was never taken; must stay 0.")
            .sample(&[], stats.load_underflow_total);
        page.gauge("ringway_draining", "1 once a drain began.").sample(&[], u8::from(stats.draining));
        process::render(&mut page, self.started);
    }

    fn render_workers(&self, page: &mut Page<'_>) {
        let names: Vec<String> = (0..self.workers.len()).map(|worker| worker.to_string()).collect();
        let named = || names.iter().map(String::as_str).zip(&self.workers);
        let mut family = page.gauge("ringway_io_info", "Always 1; the label tells how the worker does I/O.");
        for (worker, cells) in named() {
            family.sample(&[("worker", worker), ("io", cells.driver())], 1);
        }
        for counter in Counter::ALL {
            let (name, help) = counter.family();
            page.counter(name, help).sample(&[], self.counter(*counter));
        }
        for gauge in Gauge::ALL {
            let (name, help) = gauge.family();
            let mut family = page.gauge(name, help);
            for (worker, cells) in named() {
                family.sample(&[("worker", worker)], cells.gauges.get(*gauge as usize));
            }
        }
    }

    fn render_routes(&self, page: &mut Page<'_>) {
        let names = self.routes.lock().unwrap_or_else(PoisonError::into_inner).names.clone();
        let sum = |route: usize, column: usize| -> u64 {
            self.workers.iter().map(|cells| cells.routes.get(route * column::COUNT + column)).sum()
        };
        let mut family =
            page.counter("ringway_requests_total", "Exchanges ended, by route and class of status.");
        for (route, name) in names.iter().enumerate() {
            for (column, class) in column::CLASSES.into_iter().enumerate() {
                let count = sum(route, column);
                if count > 0 {
                    family.sample(&[("route", name), ("code", class)], count);
                }
            }
        }
        let mut split = |family: &str, help, key, parts: &[(&str, usize)]| {
            let mut family = page.counter(family, help);
            for (route, name) in names.iter().enumerate() {
                for (value, column) in parts {
                    let count = sum(route, *column);
                    if count > 0 {
                        family.sample(&[("route", name), (key, value)], count);
                    }
                }
            }
        };
        let bytes = [("received", column::BYTES_IN), ("sent", column::BYTES_OUT)];
        split(
            "ringway_downstream_bytes_total",
            "Bytes received from and sent to callers.",
            "direction",
            &bytes,
        );
        let tokens =
            [("input", column::TOKENS_IN), ("output", column::TOKENS_OUT), ("cached", column::TOKENS_CACHED)];
        split(
            "ringway_tokens_total",
            "Tokens that upstreams reported, or estimates where they did not; cached ones are part of input.",
            "type",
            &tokens,
        );
        let mut family =
            page.counter("ringway_cost_dollars_total", "What answers cost, by the prices of the catalogue.");
        for (route, name) in names.iter().enumerate() {
            let micros = sum(route, column::COST);
            if micros > 0 {
                family.sample(&[("route", name)], MicroDollars::new(micros));
            }
        }
    }

    fn render_faults(&self, page: &mut Page<'_>) {
        for (side, name, help) in [
            (
                Side::Server,
                "ringway_tls_failures_total",
                "TLS connections with callers that failed, by reason.",
            ),
            (
                Side::Client,
                "ringway_upstream_tls_failures_total",
                "TLS connections to endpoints that failed, by reason.",
            ),
        ] {
            let mut family = page.counter(name, help);
            for fault in Fault::ALL {
                let place = fault_place(side, fault);
                let count: u64 = self.workers.iter().map(|cells| cells.faults.get(place)).sum();
                family.sample(&[("reason", fault.label())], count);
            }
        }
    }

    fn render_words(&self, page: &mut Page<'_>) {
        let mut labelled = |family: &str, help, key: &str, words: &[&str], row: fn(&WorkerCells) -> &Row| {
            let mut family = page.counter(family, help);
            for (index, word) in words.iter().copied().chain(["other"]).enumerate() {
                let count: u64 = self.workers.iter().map(|cells| row(cells).get(index)).sum();
                if count > 0 || index < words.len() {
                    family.sample(&[(key, word)], count);
                }
            }
        };
        let help = "Exchanges that ended abnormally, by reason.";
        labelled("ringway_abnormal_ends_total", help, "reason", &self.words.reasons, |cells| &cells.reasons);
        let help = "Requests refused as malformed, by the rule they broke.";
        labelled("ringway_malformed_requests_total", help, "rule", &self.words.rules, |cells| &cells.rules);
    }

    pub(super) fn merged(&self, measure: Measure) -> Merged {
        let mut merged = Merged::default();
        for cells in &self.workers {
            cells.measures[measure as usize].pour(&mut merged);
        }
        merged
    }

    fn render_measures(&self, page: &mut Page<'_>) {
        const US: f64 = 1e6; // kept in microseconds, told in seconds
        let mut seconds = |name: &str, help, measure, bounds: &[u64]| {
            page.histogram(name, help).distribution(&[], &self.merged(measure), bounds, US);
        };
        let help = "From a request's first byte to the end of its answer.";
        seconds("ringway_request_duration_seconds", help, Measure::Total, le::TOTAL_US);
        let help = "From a request's first byte to the first byte of its answer.";
        seconds("ringway_time_to_first_byte_seconds", help, Measure::FirstByte, le::TOTAL_US);
        let help = "What ringway itself added: waiting neither for the upstream nor for the caller.";
        seconds("ringway_own_time_seconds", help, Measure::Own, le::OWN_US);
        let help =
            "Time that exchanges waited in the queue of a backend; those that did not wait are not counted.";
        seconds("ringway_queue_wait_seconds", help, Measure::Queued, le::TOTAL_US);
        let help = "Duration of exchanges with a model.";
        seconds("gen_ai_server_request_duration_seconds", help, Measure::ModelTotal, le::GEN_AI_TOTAL_US);
        let help = "From a request's first byte to its first token.";
        seconds(
            "gen_ai_server_time_to_first_token_seconds",
            help,
            Measure::FirstToken,
            le::GEN_AI_FIRST_TOKEN_US,
        );
        let help = "Time per output token after the first.";
        seconds(
            "gen_ai_server_time_per_output_token_seconds",
            help,
            Measure::TokenTime,
            le::GEN_AI_TOKEN_TIME_US,
        );
        let mut family =
            page.histogram("gen_ai_client_token_usage", "Tokens per exchange, as upstreams report.");
        for (kind, measure) in [("input", Measure::TokensIn), ("output", Measure::TokensOut)] {
            let labels: [Label<'_>; 1] = [("gen_ai_token_type", kind)];
            family.distribution(&labels, &self.merged(measure), le::GEN_AI_TOKENS, 1.0);
        }
    }
}

fn render_endpoints(page: &mut Page<'_>, endpoints: &[EndpointStats]) {
    let shown = &endpoints[..endpoints.len().min(ENDPOINTS_MAX)];
    let each = |family: &mut Family<'_>, value: fn(&EndpointStats) -> u64| {
        for one in shown {
            family.sample(&[("backend", &one.backend), ("endpoint", &one.endpoint)], value(one));
        }
    };
    let mut family = page.gauge("ringway_endpoint_in_flight", "Attempts in flight now, by endpoint.");
    each(&mut family, |one| one.in_flight);
    let mut family = page.counter("ringway_endpoint_attempts_total", "Attempts, by endpoint.");
    each(&mut family, |one| one.attempts_total);
    let mut family =
        page.counter("ringway_endpoint_failures_total", "Attempts that failed by the endpoint's fault.");
    each(&mut family, |one| one.failures_total);
    let mut family = page.gauge("ringway_endpoint_drained", "1 while the endpoint takes no new requests.");
    each(&mut family, |one| one.drained.into());
    let help = "1 for the state that the endpoint is in, 0 for the others.";
    let mut family = page.gauge("ringway_endpoint_state", help);
    for one in shown {
        for state in State::ALL {
            let labels = [("backend", &*one.backend), ("endpoint", &*one.endpoint), ("state", state.name())];
            family.sample(&labels, u8::from(one.state == state.name()));
        }
    }
    let mut told = |family: &str, help, value: fn(&Reported) -> Option<f64>| {
        let mut family = page.gauge(family, help);
        for one in shown {
            if let Some(value) = one.reported.as_ref().and_then(value) {
                family.sample(&[("backend", &one.backend), ("endpoint", &one.endpoint)], value);
            }
        }
    };
    let help = "Requests the endpoint works on, as it last said itself.";
    told("ringway_endpoint_reported_running", help, |it| it.running.map(f64::from));
    let help = "Requests waiting in the endpoint, as it last said itself.";
    told("ringway_endpoint_reported_waiting", help, |it| it.waiting.map(f64::from));
    let help = "Share of the endpoint's KV cache in use, as it last said itself.";
    told("ringway_endpoint_reported_kv_ratio", help, |it| it.kv);
    let help = "Since the endpoint was last read; past a second its report counts no more.";
    told("ringway_endpoint_report_age_seconds", help, |it| Some(it.age_s));
    render_loads(page, shown);
    page.gauge("ringway_endpoints_unlisted", "Endpoints left out of this page because there are too many.")
        .sample(&[], endpoints.len() - shown.len());
}

type Value = fn(&Own, &Estimate) -> u64;

/// Tokens and caches of the endpoints that are chosen by them.
fn render_loads(page: &mut Page<'_>, endpoints: &[EndpointStats]) {
    let loaded = || endpoints.iter().filter_map(|one| Some((one, one.estimate.as_ref()?)));
    if loaded().next().is_none() {
        return;
    }
    let families: [(&str, &str, Value); 5] = [
        ("ringway_endpoint_uncached_tokens", "Prompt tokens sent and not yet computed.", |own, _| {
            own.uncached_tokens
        }),
        ("ringway_endpoint_prompt_tokens", "Prompt tokens of requests in flight.", |own, _| {
            own.prompt_tokens
        }),
        ("ringway_endpoint_generated_tokens", "Tokens generated by requests in flight.", |own, _| {
            own.generated_tokens
        }),
        ("ringway_endpoint_cached_blocks", "Blocks of prompts thought to be in its cache.", |_, it| {
            it.cached_blocks
        }),
        ("ringway_endpoint_report_fresh", "1 while a report of it is at most a second old.", |_, it| {
            it.report_fresh.into()
        }),
    ];
    for (name, help, value) in families {
        let mut family = page.gauge(name, help);
        for (one, estimate) in loaded() {
            let labels = [("backend", one.backend.as_str()), ("endpoint", one.endpoint.as_str())];
            family.sample(&labels, value(&one.own, estimate));
        }
    }
    let mut family =
        page.gauge("ringway_endpoint_kv_ratio", "Share of the KV cache in use, by counts and reports.");
    for (one, estimate) in loaded() {
        family.sample(&[("backend", &one.backend), ("endpoint", &one.endpoint)], estimate.kv);
    }
}

/// Queues of backends. A backend's name is of the snapshot, the other labels are of closed sets.
fn render_credentials(page: &mut Page<'_>, credentials: &[CredentialStats]) {
    let help = "When the credential of a backend ends; one that is not renewed in time comes near to now.";
    let mut family = page.gauge("ringway_credential_expiry_timestamp_seconds", help);
    for one in &credentials[..credentials.len().min(ENDPOINTS_MAX)] {
        family.sample(&[("backend", &one.backend)], one.until_s);
    }
}

fn render_queues(page: &mut Page<'_>, queues: &[QueueStats]) {
    const CLASSES: [&str; 3] = ["interactive", "default", "batch"];
    let shown = &queues[..queues.len().min(ENDPOINTS_MAX)];
    let mut family = page.gauge("ringway_queue_requests", "Requests that wait now, by backend and class.");
    for one in shown {
        for (class, count) in CLASSES.iter().zip(one.waiting) {
            family.sample(&[("backend", &one.backend), ("class", class)], count);
        }
    }
    let help = "How long the oldest request waits, by backend and class; 0: nobody waits.";
    let mut family = page.gauge("ringway_queue_oldest_seconds", help);
    for one in shown {
        for (class, oldest_s) in CLASSES.iter().zip(one.oldest_s) {
            family.sample(&[("backend", &one.backend), ("class", class)], oldest_s.unwrap_or(0.0));
        }
    }
    let help = "Endpoints that are open, by backend: while there is none, whoever comes waits.";
    let mut family = page.gauge("ringway_queue_open_endpoints", help);
    for one in shown {
        family.sample(&[("backend", &one.backend)], one.open);
    }
    let help = "Predicted seconds until what waits is worked off, by backend that has somebody to do it.";
    let mut family = page.gauge("ringway_queue_drain_seconds", help);
    for one in shown {
        if let Some(drain_s) = one.drain_s {
            family.sample(&[("backend", &one.backend)], drain_s);
        }
    }
    let mut family =
        page.gauge("ringway_queue_bytes", "Bytes of body held for requests that wait, by backend.");
    for one in shown {
        family.sample(&[("backend", &one.backend)], one.bytes);
    }
    let mut family =
        page.counter("ringway_queue_granted_total", "Requests that went after a wait, by backend.");
    for one in shown {
        family.sample(&[("backend", &one.backend)], one.granted_total);
    }
    let help = "Requests that admission refused, by backend and reason.";
    let mut family = page.counter("ringway_queue_refused_total", help);
    for one in shown {
        for (reason, count) in &one.refused_total {
            family.sample(&[("backend", &one.backend), ("reason", reason)], *count);
        }
    }
}

/// Bucket bounds.
mod le {
    const MS: u64 = 1_000;
    const S: u64 = 1_000 * MS;

    pub const TOTAL_US: &[u64] = &[
        MS,
        2_500,
        5 * MS,
        10 * MS,
        25 * MS,
        50 * MS,
        100 * MS,
        250 * MS,
        500 * MS,
        S,
        2_500 * MS,
        5 * S,
        10 * S,
        30 * S,
        60 * S,
        120 * S,
        300 * S,
        600 * S,
    ];
    pub const OWN_US: &[u64] =
        &[10, 25, 50, 100, 250, 500, MS, 2_500, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, S];

    // The bounds that the OpenTelemetry conventions advise for these instruments.
    pub const GEN_AI_TOTAL_US: &[u64] = &[
        10 * MS,
        20 * MS,
        40 * MS,
        80 * MS,
        160 * MS,
        320 * MS,
        640 * MS,
        1_280 * MS,
        2_560 * MS,
        5_120 * MS,
        10_240 * MS,
        20_480 * MS,
        40_960 * MS,
        81_920 * MS,
    ];
    pub const GEN_AI_FIRST_TOKEN_US: &[u64] = &[
        MS,
        5 * MS,
        10 * MS,
        20 * MS,
        40 * MS,
        60 * MS,
        80 * MS,
        100 * MS,
        250 * MS,
        500 * MS,
        750 * MS,
        S,
        2_500 * MS,
        5 * S,
        7_500 * MS,
        10 * S,
    ];
    pub const GEN_AI_TOKEN_TIME_US: &[u64] = &[
        10 * MS,
        25 * MS,
        50 * MS,
        75 * MS,
        100 * MS,
        150 * MS,
        200 * MS,
        300 * MS,
        400 * MS,
        500 * MS,
        750 * MS,
        S,
        2_500 * MS,
    ];
    pub const GEN_AI_TOKENS: &[u64] = &[
        1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216,
        67_108_864,
    ];
}
