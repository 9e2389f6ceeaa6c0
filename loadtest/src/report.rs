//! What a run amounted to, for people and for machines.
//!
//! Owns: the summary, its JSON and its table. Must not: leave out what speaks against the run.
//! Read next: `stats.rs`, where the numbers come from; `report/html.rs`, the same with plots.

mod html;
pub mod svg;

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use crate::{
    bounds::LATENESS_P99_MAX,
    oracle::Fault,
    scenario::{Load, Scenario, Slo},
    stats::{Latency, Samples, Share, Stats},
    timeline::Timeline,
};

/// The result of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Of this format.
    pub version: u32,
    /// Where requests went.
    pub target: String,
    /// How they were paced, in words.
    pub load: String,
    /// Why the latencies must not be used, if they must not.
    pub void: Option<String>,
    /// Whether the run was cut short.
    pub interrupted: bool,
    /// From the start to the end of the last exchange.
    pub elapsed_s: f64,
    /// Requests whose time had come.
    pub issued: u64,
    /// Exchanges that ended well.
    pub valid: u64,
    /// Exchanges that got no answer, or were told no.
    pub failed: u64,
    /// Exchanges whose answer was wrong.
    pub invalid: u64,
    /// Requests whose callers left, as the trace says.
    pub left: u64,
    /// Requests that were refused once and came back when they were told to.
    pub came_back: u64,
    /// Those of them that were answered.
    pub came_back_valid: u64,
    /// Exchanges under way when the run was cut short.
    pub abandoned: u64,
    /// Valid exchanges per second.
    pub valid_per_s: f64,
    /// What an answer had to keep to be good; nothing if there was no objective.
    pub slo: Option<SloRow>,
    /// Valid exchanges that kept the objective.
    pub good: u64,
    /// Those per second: the goodput of vLLM's benchmark.
    pub good_per_s: f64,
    /// Those among all that were issued, refused and failed ones included.
    pub good_share: f64,
    /// Prompt tokens of valid exchanges.
    pub prompt_tokens: u64,
    /// Those of them that answers say were found in a cache.
    pub cached_tokens: u64,
    /// Output tokens of valid exchanges.
    pub output_tokens: u64,
    /// Output tokens per second.
    pub output_tokens_per_s: f64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Connections opened.
    pub connects: u64,
    /// Processor time of the generator's process.
    pub cpu_s: f64,
    /// Until the first token, or the head of an answer in one piece.
    pub ttft_ms: Quantiles,
    /// Between one token event and the next.
    pub inter_token_ms: Quantiles,
    /// Mean time per token after the first, per stream.
    pub per_token_ms: Quantiles,
    /// Until the last byte.
    pub end_to_end_ms: Quantiles,
    /// How late the generator itself was.
    pub lateness_ms: Quantiles,
    /// Everything that went wrong, by kind.
    pub faults: Vec<FaultRow>,
    /// Who answered, where answers say so.
    pub endpoints: Vec<EndpointRow>,
    /// What happened when.
    pub timeline: Timeline,
    /// Exchanges one by one.
    pub samples: Samples,
}

/// An objective, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SloRow {
    /// Until the first token.
    pub ttft_ms: Option<f64>,
    /// Per token after the first.
    pub tpot_ms: Option<f64>,
    /// Until the last token.
    pub e2el_ms: Option<f64>,
}

/// What one endpoint did.
#[derive(Debug, Clone, Serialize)]
pub struct EndpointRow {
    /// As the answers name it.
    pub name: String,
    /// Valid answers.
    pub valid: u64,
    /// Their prompt tokens.
    pub prompt_tokens: u64,
    /// Those of them found in its cache.
    pub cached_tokens: u64,
    /// Their output tokens.
    pub output_tokens: u64,
    /// Mean time until their first tokens.
    pub ttft_mean_ms: f64,
}

/// One latency, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Quantiles {
    /// How many were measured.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half are not above.
    pub p50: f64,
    /// Nine in ten are not above.
    pub p90: f64,
    /// 99 % are not above.
    pub p99: f64,
    /// 99.9 % are not above.
    pub p99_9: f64,
    /// The largest.
    pub max: f64,
}

/// How often one kind of fault was seen.
#[derive(Debug, Clone, Serialize)]
pub struct FaultRow {
    /// Which kind.
    pub fault: Fault,
    /// Whether the exchange failed, as opposed to a wrong answer.
    pub failure: bool,
    /// How often.
    pub count: u64,
    /// What it looked like the first time.
    pub example: String,
}

impl Summary {
    pub(crate) fn new(scenario: &Scenario, stats: Stats, elapsed: Duration, interrupted: bool) -> Self {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        Self {
            version: 2,
            target: scenario.target.url.clone(),
            load: match &scenario.load {
                Load::Open { rate, arrival } => {
                    format!("open loop, {rate} req/s, {arrival:?}").to_lowercase()
                }
                Load::Given(times) => format!("trace of {} requests", times.len()),
                Load::Closed { concurrency } => format!("closed loop, {concurrency} at a time"),
            },
            void: void(&stats.lateness),
            interrupted,
            elapsed_s: elapsed.as_secs_f64(),
            issued: stats.issued,
            valid: stats.valid,
            failed: stats.failed(),
            invalid: stats.invalid(),
            left: stats.left,
            came_back: stats.came_back[0],
            came_back_valid: stats.came_back[1],
            abandoned: stats.abandoned,
            valid_per_s: stats.valid as f64 / seconds,
            slo: SloRow::of(&scenario.slo),
            good: stats.good,
            good_per_s: stats.good as f64 / seconds,
            good_share: stats.good as f64 / stats.issued.max(1) as f64,
            prompt_tokens: stats.prompt_tokens,
            cached_tokens: stats.cached_tokens,
            output_tokens: stats.output_tokens,
            output_tokens_per_s: stats.output_tokens as f64 / seconds,
            bytes_in: stats.bytes_in,
            connects: stats.connects,
            cpu_s: stats.cpu.as_secs_f64(),
            ttft_ms: Quantiles::of(&stats.ttft),
            inter_token_ms: Quantiles::of(&stats.inter_token),
            per_token_ms: Quantiles::of(&stats.per_token),
            end_to_end_ms: Quantiles::of(&stats.end_to_end),
            lateness_ms: Quantiles::of(&stats.lateness),
            endpoints: stats.endpoints.iter().map(EndpointRow::of).collect(),
            timeline: stats.timeline.clone(),
            samples: stats.samples.clone(),
            faults: rows(stats),
        }
    }

    /// Whether every exchange that ended ended well, and at least one did.
    pub fn is_good(&self) -> bool {
        self.valid > 0 && self.failed == 0 && self.invalid == 0
    }

    /// The report with plots, one file that needs no other.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// The table for a terminal.
    pub fn table(&self) -> String {
        let mut out = String::new();
        self.write_table(&mut out).expect("writing to memory cannot fail");
        out
    }

    fn write_table(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "target      {}", self.target)?;
        writeln!(out, "load        {}; {:.2} s", self.load, self.elapsed_s)?;
        write!(out, "requests    {} issued, {} valid", self.issued, self.valid)?;
        writeln!(
            out,
            ", {} failed, {} invalid ({:.1} valid/s)",
            self.failed, self.invalid, self.valid_per_s
        )?;
        if self.left > 0 {
            writeln!(out, "left        {} callers, before their answers were over", self.left)?;
        }
        if self.came_back > 0 {
            let (all, valid) = (self.came_back, self.came_back_valid);
            writeln!(out, "came back   {all} that were refused once, when they were told to; {valid} valid")?;
        }
        if self.output_tokens > 0 {
            let (prompt, output) = (self.prompt_tokens, self.output_tokens);
            write!(out, "tokens      {prompt} in")?;
            if self.cached_tokens > 0 {
                let share = 100.0 * self.cached_tokens as f64 / prompt.max(1) as f64;
                write!(out, " ({share:.1} % cached)")?;
            }
            writeln!(out, ", {output} out ({:.1}/s)", self.output_tokens_per_s)?;
        }
        if let Some(slo) = &self.slo {
            let (good, share) = (self.good_per_s, 100.0 * self.good_share);
            writeln!(out, "goodput     {share:.1} % of all, {good:.2}/s, within {}", slo.words())?;
        }
        writeln!(out, "received    {} bytes over {} connections", self.bytes_in, self.connects)?;
        let share = 100.0 * self.cpu_s / self.elapsed_s.max(1e-9);
        writeln!(out, "generator   {:.2} s of CPU ({share:.0} % of a core)\n", self.cpu_s)?;
        write!(out, "{:12}", "ms")?;
        for heading in ["mean", "p50", "p90", "p99", "p99.9", "max", "count"] {
            write!(out, "{heading:>11}")?;
        }
        writeln!(out)?;
        for (name, quantiles) in [
            ("first token", &self.ttft_ms),
            ("inter-token", &self.inter_token_ms),
            ("per token", &self.per_token_ms),
            ("end to end", &self.end_to_end_ms),
            ("lateness", &self.lateness_ms),
        ] {
            quantiles.write_row(out, name)?;
        }
        self.write_endpoints(out)?;
        self.write_faults(out)
    }

    fn write_endpoints(&self, out: &mut String) -> std::fmt::Result {
        for (at, row) in self.endpoints.iter().enumerate() {
            if at == 0 {
                writeln!(
                    out,
                    "\n{:32}{:>10}{:>12}{:>10}{:>12}",
                    "endpoint", "answers", "tokens out", "cached %", "ttft mean"
                )?;
            }
            let EndpointRow { name, valid, output_tokens, ttft_mean_ms, .. } = row;
            writeln!(
                out,
                "{name:32}{valid:>10}{output_tokens:>12}{:>10.1}{ttft_mean_ms:>12.3}",
                row.cached_percent()
            )?;
        }
        Ok(())
    }

    fn write_faults(&self, out: &mut String) -> std::fmt::Result {
        for row in &self.faults {
            let class = if row.failure { "failed" } else { "INVALID" };
            writeln!(out, "\n{class}: {} x {}\n  e.g. {}", row.count, row.fault.name(), row.example)?;
        }
        if self.interrupted {
            writeln!(out, "\nCut short; {} exchanges under way are not counted.", self.abandoned)?;
        }
        if let Some(why) = &self.void {
            writeln!(out, "\nVOID: {why}")?;
        }
        Ok(())
    }
}

impl SloRow {
    fn of(slo: &Slo) -> Option<Self> {
        let ms = |limit: Option<Duration>| limit.map(|limit| limit.as_secs_f64() * 1e3);
        (*slo != Slo::default()).then(|| Self {
            ttft_ms: ms(slo.ttft),
            tpot_ms: ms(slo.tpot),
            e2el_ms: ms(slo.e2el),
        })
    }

    fn words(&self) -> String {
        let parts = [("ttft", self.ttft_ms), ("tpot", self.tpot_ms), ("e2el", self.e2el_ms)];
        let named = parts.iter().filter_map(|(name, limit)| limit.map(|limit| format!("{name} {limit} ms")));
        named.collect::<Vec<_>>().join(", ")
    }
}

impl EndpointRow {
    fn of((name, share): (&String, &Share)) -> Self {
        Self {
            name: name.clone(),
            valid: share.valid,
            prompt_tokens: share.prompt_tokens,
            cached_tokens: share.cached_tokens,
            output_tokens: share.output_tokens,
            ttft_mean_ms: share.ttft.as_secs_f64() * 1e3 / share.valid.max(1) as f64,
        }
    }

    fn cached_percent(&self) -> f64 {
        100.0 * self.cached_tokens as f64 / self.prompt_tokens.max(1) as f64
    }
}

fn void(lateness: &Latency) -> Option<String> {
    let late = lateness.percentile(99.0);
    (lateness.count() > 0 && late > LATENESS_P99_MAX).then(|| {
        format!(
            "the generator was late by {:.2} ms at p99 (at most {:.0} ms): these latencies tell of this machine, \
             not of the target",
            late.as_secs_f64() * 1e3,
            LATENESS_P99_MAX.as_secs_f64() * 1e3
        )
    })
}

fn rows(stats: Stats) -> Vec<FaultRow> {
    let row = |(fault, seen): (Fault, crate::stats::Seen)| FaultRow {
        fault,
        failure: fault.is_failure(),
        count: seen.count,
        example: seen.example,
    };
    stats.faults.into_iter().map(row).collect()
}

impl Quantiles {
    fn of(latency: &Latency) -> Self {
        let ms = |latency: Duration| latency.as_secs_f64() * 1e3;
        Self {
            count: latency.count(),
            mean: ms(latency.mean()),
            p50: ms(latency.percentile(50.0)),
            p90: ms(latency.percentile(90.0)),
            p99: ms(latency.percentile(99.0)),
            p99_9: ms(latency.percentile(99.9)),
            max: ms(latency.max()),
        }
    }

    fn write_row(&self, out: &mut String, name: &str) -> std::fmt::Result {
        if self.count == 0 {
            return Ok(());
        }
        write!(out, "{name:12}")?;
        for value in [self.mean, self.p50, self.p90, self.p99, self.p99_9, self.max] {
            write!(out, "{value:>11.3}")?;
        }
        writeln!(out, "{:>11}", self.count)
    }
}
