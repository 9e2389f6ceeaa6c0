//! The callers of a workload: `ringload`'s client sends it, and what became of it is told in the words of virtual time.
//!
//! Owns: from a workload to requests with their headers, and from what each caller saw to an outcome.
//! Must not: know what is good enough, or look into the gateway, but for what it counts when all is over.
//! Read next: `runner.rs`, which judges; `loadtest/src/client.rs`, which sends.

use std::sync::Arc;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use ringway_benches::evaluate::gateway::Left;
use ringway_benches::evaluate::material::{Ask, Workload};
use ringway_benches::evaluate::outcome::{Fate, Outcome, Record, Refused};
use ringway_benches::evaluate::setup::{MODEL, Setup};
use ringway_loadtest::Summary;
use ringway_loadtest::ended::{self, Ended};
use ringway_loadtest::lengths::Lengths;
use ringway_loadtest::oracle::Fault;
use ringway_loadtest::prompts::Prompts;
use ringway_loadtest::scenario::{Ask as Asked, Expect, Form, Generation, Load, Scenario, Slo, Target};
use ringway_loadtest::trace::{Row, Trace};

use crate::stand::{CLASS, NoStand, Stand, TENANT};

/// What `ringload` says of a run beside its requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heard {
    /// Answers that were wrong.
    pub invalid: u64,
    /// How late the generator was at p99, by the clock on the wall.
    pub late_p99_ms: f64,
}

/// Nobody is kept waiting longer.
const PATIENCE: Duration = Duration::from_mins(20);
/// Callers of one gateway at a time.
const CONNECTIONS: usize = 16_384;

/// Sends a workload through the gateways of a stand, one request to each in turn.
pub fn run(stand: &Stand, workload: &Workload, setup: &Setup) -> Result<(Record, Heard), NoStand> {
    ringway_loadtest::cli::allow_many_sockets();
    let gateways = stand.gateways();
    let scenarios = (0..gateways).map(|at| scenario(stand, workload, setup, at));
    let scenarios = scenarios.collect::<Result<Vec<_>, _>>()?;
    let began = Instant::now();
    let (runs, counted) = scope(|scope| {
        let runs: Vec<_> = scenarios.iter().map(|scenario| scope.spawn(move || one(scenario))).collect();
        let counted = after_the_last_left(stand, workload, began);
        let runs: Vec<_> = runs.into_iter().map(|run| run.join().expect("a caller does not panic")).collect();
        (runs, counted)
    });
    let runs = runs.into_iter().collect::<Result<Vec<_>, _>>()?;
    let ended = in_order(&runs, workload.asks.len());
    let outcomes = ended.iter().zip(&workload.asks);
    let outcomes = outcomes.map(|(ended, ask)| outcome(*ask, ended.as_ref(), stand.time_scale())).collect();
    let record = Record {
        outcomes,
        left: left(stand)?,
        load: Vec::new(),
        adapter_loads: stand.engines_count("sim_lora_loads_total") as u64,
        stranded: counted.map_or(0, |counted| stranded(&counted, &ended)),
        unseen_tokens: unseen(stand, &ended),
    };
    let heard = Heard {
        invalid: runs.iter().map(|(summary, _)| summary.invalid).sum(),
        late_p99_ms: runs.iter().map(|(summary, _)| summary.lateness_ms.p99).fold(0.0, f64::max),
    };
    Ok((record, heard))
}

/// The requests of every so manyth row, to one gateway.
fn scenario(stand: &Stand, workload: &Workload, setup: &Setup, at: usize) -> Result<Scenario, NoStand> {
    let names = setup.adapter_names();
    let asks = workload.asks.iter().skip(at).step_by(stand.gateways());
    let rows: Vec<Row> = asks.map(|ask| row(workload, ask, &names, stand.time_scale())).collect();
    let times: Arc<[Duration]> = rows.iter().map(|row| row.at).collect();
    let url = format!("http://{}/v1/chat/completions", stand.address(at));
    Ok(Scenario {
        target: Target::parse(&url).map_err(|error| NoStand::Load(error.to_string()))?,
        requests: Some(times.len() as u64),
        load: Load::Given(times),
        duration: None,
        ask: Asked::Tokens(Generation {
            form: Form::Chat,
            model: MODEL.to_owned(),
            stream: true,
            prompts: Prompts::Trace(Arc::new(Trace::new(rows))),
            output: Lengths::Exactly(1), // every row brings its own
            ignore_eos: true,
            expect: Expect::Auto,
        }),
        headers: Vec::new(),
        obedient: setup.obedient,
        timeout: PATIENCE,
        connections: CONNECTIONS,
        seed: setup.seed,
        slo: Slo::default(),
    })
}

fn row(workload: &Workload, ask: &Ask, adapters: &[String], time_scale: f64) -> Row {
    let mut headers = vec![(CLASS.to_owned(), ask.class.index().to_string())];
    if ask.tenant > 0 {
        headers.push((TENANT.to_owned(), ask.tenant.to_string()));
    }
    Row {
        at: ask.at.div_f64(time_scale),
        model: ask.adapter.map(|adapter| adapters[adapter as usize].clone()),
        headers,
        leaves: ask.leaves.map(|after| after.div_f64(time_scale)),
        ..workload.material.rows()[ask.row as usize].clone()
    }
}

fn one(scenario: &Scenario) -> Result<(Summary, Vec<Ended>), NoStand> {
    let mut each = Vec::new();
    let summary = ringway_loadtest::run(scenario, &mut each);
    Ok((summary.map_err(|error| NoStand::Load(error.to_string()))?, each))
}

/// What became of each request of the workload, by its place there.
fn in_order(runs: &[(Summary, Vec<Ended>)], count: usize) -> Vec<Option<Ended>> {
    let mut all = vec![None; count];
    for (gateway, (_, ended)) in runs.iter().enumerate() {
        for one in ended {
            all[gateway + one.request as usize * runs.len()] = Some(one.clone());
        }
    }
    all
}

/// In times of the trace.
fn outcome(ask: Ask, ended: Option<&Ended>, time_scale: f64) -> Outcome {
    let open = Outcome::open(ask);
    let Some(ended) = ended else { return open };
    let at = |after: Duration| (ended.due + after).mul_f64(time_scale);
    let first = ended.first_token.filter(|_| ended.tokens > 0).map(at);
    let refused = |at_: Duration, retry_after: Duration| Refused {
        why: None,
        at: at(at_),
        retry_after: retry_after.mul_f64(time_scale),
    };
    let is_valid = ended.outcome == ended::Outcome::Valid;
    Outcome {
        fate: match (ended.outcome, ended.status) {
            (ended::Outcome::Valid, _) => Fate::Served,
            (ended::Outcome::Left, _) => Fate::Left,
            (ended::Outcome::Fault(Fault::Status), Some(429)) => {
                Fate::Refused(refused(ended.end, ended.retry_after.unwrap_or_default()))
            }
            (ended::Outcome::Fault(Fault::Status), Some(503)) => Fate::Nowhere,
            (ended::Outcome::Fault(_), status) => Fate::Broken { seen: status == Some(200) },
        },
        bound: first, // the nearest that a caller can see
        first,
        last: ended.last_token.map_or(open.last, at),
        tokens: ended.tokens as u32,
        cached: is_valid.then_some(ended.cached_tokens as u32),
        came_back: ended.came_back.map(|it| refused(it.at, it.retry_after)),
        ..open
    }
}

/// What the gateways still count; they may take a moment to hear that the last callers are gone.
fn left(stand: &Stand) -> Result<Vec<Left>, NoStand> {
    sleep(Duration::from_millis(500));
    (0..stand.gateways())
        .map(|at| {
            let stats = stand.stats(at)?;
            let tokens = stats.endpoints.iter().map(|it| it.own.prompt_tokens + it.own.generated_tokens);
            Ok(Left {
                in_flight: stats.endpoints.iter().map(|it| it.in_flight).sum(),
                tokens: tokens.sum(),
                underflows: stats.load_underflow_total,
            })
        })
        .collect()
}

/// Where callers leave, they are looked for in the engines so long after the last one has.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// The engines are asked one after the other, so that what ends meanwhile blurs a count.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(40);

/// How many requests the engines hold, and when that was, since the load began.
fn after_the_last_left(stand: &Stand, workload: &Workload, began: Instant) -> Option<Vec<(Duration, f64)>> {
    let last = workload.asks.iter().filter_map(|ask| Some(ask.at + ask.leaves?)).max()?;
    let look_at = last.div_f64(stand.time_scale()) + LOOK_AFTER;
    let look = |turn: u32| {
        sleep((look_at + BETWEEN_LOOKS * turn).saturating_sub(began.elapsed()));
        let at = began.elapsed();
        let held = ["vllm:num_requests_running", "vllm:num_requests_waiting"];
        (at, held.iter().map(|name| stand.engines_count(name)).sum())
    };
    Some((0..LOOKS).map(look).collect())
}

/// Requests in engines for which no caller waits: in the look that is least blurred.
fn stranded(looks: &[(Duration, f64)], ended: &[Option<Ended>]) -> usize {
    let waiting = |at: Duration| {
        let is_open = |it: &&Ended| it.due <= at && at < it.due + it.end;
        ended.iter().flatten().filter(is_open).count() as f64
    };
    looks.iter().map(|(at, held)| (held - waiting(*at)).max(0.0) as usize).min().unwrap_or(0)
}

/// Tokens that no caller saw, of all that were generated.
fn unseen(stand: &Stand, ended: &[Option<Ended>]) -> u64 {
    let generated = stand.engines_count("vllm:generation_tokens_total");
    let seen: u64 = ended.iter().flatten().map(|it| it.tokens).sum();
    (generated as u64).saturating_sub(seen)
}
