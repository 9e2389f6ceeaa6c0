//! What was measured: latencies in histograms, everything else in counters.
//!
//! Owns: the numbers of one run. Must not: judge, print, or forget.
//! Read next: `report.rs`.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use ringway_gpusim::random::Random;
use serde::{Deserialize, Serialize};

use crate::{
    bounds::{ENDPOINTS_MAX, LATENCY_MAX, SAMPLES_MAX},
    oracle::Fault,
    scenario::Slo,
    timeline::Timeline,
};

/// Latencies of one kind, in nanoseconds, to three digits.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        let highest = u64::try_from(LATENCY_MAX.as_nanos()).expect("an hour in nanoseconds");
        Self(Histogram::new_with_bounds(1, highest, 3).expect("valid bounds"))
    }
}

impl Latency {
    /// Adds one; what is beyond the largest counts as the largest.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `percent` of all do not exceed.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_percentile(percent))
    }

    /// The mean.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.0.mean() as u64)
    }

    /// The largest.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }
}

/// How often a fault was seen, and what it looked like the first time.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// How often.
    pub count: u64,
    /// The request it was first seen on, and what was wrong there.
    pub example: String,
}

/// One exchange that ended well.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// When it was due, since the start of the run.
    pub at: Duration,
    /// When it was over, since the start of the run.
    pub end: Duration,
    /// Until the first token; for an answer in one piece, until its head.
    pub ttft: Option<Duration>,
    /// Mean time per token after the first.
    pub per_token: Option<Duration>,
    /// Until the last byte.
    pub end_to_end: Duration,
    /// Until the last token.
    pub until_last: Duration,
    /// As usage says.
    pub prompt_tokens: u64,
    /// As usage says.
    pub output_tokens: u64,
    /// As usage says.
    pub cached_tokens: u64,
    /// Who answered, where the answer says so.
    pub endpoint: Option<&'a str>,
}

impl Sample<'_> {
    /// Whether it keeps every part of the objective that is set.
    pub fn keeps(&self, slo: &Slo) -> bool {
        let within = |limit: Option<Duration>, value: Option<Duration>| {
            limit.is_none_or(|limit| value.is_none_or(|value| value <= limit))
        };
        within(slo.ttft, self.ttft)
            && within(slo.tpot, self.per_token)
            && within(slo.e2el, Some(self.until_last))
    }
}

/// Exchanges one by one, as columns: a fair sample of all that ended, in no order. Times in milliseconds; what
/// there was none of is -1.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Samples {
    /// How many there were to choose from.
    pub of: u64,
    /// When it was due.
    pub at_ms: Vec<f64>,
    /// Until the first token.
    pub ttft_ms: Vec<f64>,
    /// Per token after the first.
    pub per_token_ms: Vec<f64>,
    /// Until the last byte.
    pub end_to_end_ms: Vec<f64>,
    /// 1 if the answer was valid and kept the objective.
    pub good: Vec<u8>,
}

impl Samples {
    /// Puts one in, in place of another once there are enough (Vitter's algorithm R).
    fn add(&mut self, random: &mut Random, row: [f64; 4], good: bool) {
        self.of += 1;
        let place = if self.good.len() < SAMPLES_MAX {
            for column in self.columns() {
                column.push(0.0);
            }
            self.good.push(0);
            self.good.len() - 1
        } else {
            (random.bits() % self.of) as usize
        };
        if place < SAMPLES_MAX {
            for (column, value) in self.columns().into_iter().zip(row) {
                column[place] = (value * 1e3).round() / 1e3; // microseconds are enough, and shorter to write
            }
            self.good[place] = u8::from(good);
        }
    }

    fn columns(&mut self) -> [&mut Vec<f64>; 4] {
        [&mut self.at_ms, &mut self.ttft_ms, &mut self.per_token_ms, &mut self.end_to_end_ms]
    }
}

/// What one endpoint did.
#[derive(Debug, Clone, Default)]
pub struct Share {
    /// Valid answers.
    pub valid: u64,
    /// Their prompt tokens.
    pub prompt_tokens: u64,
    /// Those of them found in its cache.
    pub cached_tokens: u64,
    /// Their output tokens.
    pub output_tokens: u64,
    /// Until their first tokens, together.
    pub ttft: Duration,
}

/// Everything measured in one run. Latencies of answers are of valid ones only; they count from the intended
/// time of sending.
#[derive(Debug, Clone)]
pub struct Stats {
    /// Requests whose time had come.
    pub issued: u64,
    /// Exchanges that ended well.
    pub valid: u64,
    /// Those of them that kept the objective.
    pub good: u64,
    /// Faults by kind, at most one per exchange.
    pub faults: BTreeMap<Fault, Seen>,
    /// Requests whose callers left, as the trace says.
    pub left: u64,
    /// Requests that were refused once and came back when they were told to; of these, those that were answered.
    pub came_back: [u64; 2],
    /// Exchanges still under way when the run was interrupted.
    pub abandoned: u64,
    /// Until the first token; for an answer in one piece, until its head.
    pub ttft: Latency,
    /// Between one token event and the next.
    pub inter_token: Latency,
    /// Mean time per token after the first, per stream.
    pub per_token: Latency,
    /// Until the last byte.
    pub end_to_end: Latency,
    /// How late the generator itself was, per request of an open loop.
    pub lateness: Latency,
    /// Prompt tokens, as the usage of valid answers says.
    pub prompt_tokens: u64,
    /// Those of them found in a cache.
    pub cached_tokens: u64,
    /// Output tokens, as the usage of valid answers says.
    pub output_tokens: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Connections opened.
    pub connects: u64,
    /// Processor time of this process during the run.
    pub cpu: Duration,
    /// Exchanges one by one.
    pub samples: Samples,
    /// What happened when.
    pub timeline: Timeline,
    /// Who answered, where answers say so.
    pub endpoints: BTreeMap<String, Share>,
    random: Random,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            issued: 0,
            valid: 0,
            good: 0,
            faults: BTreeMap::new(),
            left: 0,
            came_back: [0; 2],
            abandoned: 0,
            ttft: Latency::default(),
            inter_token: Latency::default(),
            per_token: Latency::default(),
            end_to_end: Latency::default(),
            lateness: Latency::default(),
            prompt_tokens: 0,
            cached_tokens: 0,
            output_tokens: 0,
            bytes_in: 0,
            connects: 0,
            cpu: Duration::ZERO,
            samples: Samples::default(),
            timeline: Timeline::default(),
            endpoints: BTreeMap::new(),
            random: Random::new(0),
        }
    }
}

/// Endpoints beyond the bound, together.
const OTHERS: &str = "(others)";

impl Stats {
    /// Counts a request whose time has come.
    pub fn issue(&mut self, at: Duration) {
        self.issued += 1;
        self.timeline.at(at).issued += 1;
    }

    /// Books an exchange that ended well.
    pub fn valid(&mut self, sample: Sample<'_>, slo: &Slo) {
        let good = sample.keeps(slo);
        self.valid += 1;
        self.good += u64::from(good);
        self.prompt_tokens += sample.prompt_tokens;
        self.cached_tokens += sample.cached_tokens;
        self.output_tokens += sample.output_tokens;
        self.end_to_end.record(sample.end_to_end);
        sample.ttft.iter().for_each(|ttft| self.ttft.record(*ttft));
        sample.per_token.iter().for_each(|per_token| self.per_token.record(*per_token));
        let ms = |time: Option<Duration>| time.map_or(-1.0, |time| time.as_secs_f64() * 1e3);
        let row = [ms(Some(sample.at)), ms(sample.ttft), ms(sample.per_token), ms(Some(sample.end_to_end))];
        self.samples.add(&mut self.random, row, good);
        let span = self.timeline.at(sample.end);
        span.valid += 1;
        span.good += u64::from(good);
        span.output_tokens += sample.output_tokens;
        span.ttft_ms += ms(sample.ttft).max(0.0);
        if let Some(name) = sample.endpoint {
            self.share(name, &sample);
        }
    }

    /// Books when an exchange that did not end well was due, and when it was over.
    pub fn missed(&mut self, at: Duration, end: Duration) {
        let row = [at.as_secs_f64() * 1e3, -1.0, -1.0, -1.0];
        self.samples.add(&mut self.random, row, false);
        self.timeline.at(end).faulty += 1;
    }

    fn share(&mut self, name: &str, sample: &Sample<'_>) {
        let known = self.endpoints.contains_key(name) || self.endpoints.len() < ENDPOINTS_MAX;
        let name = if known { name } else { OTHERS };
        let share = self.endpoints.entry(name.to_owned()).or_default();
        share.valid += 1;
        share.prompt_tokens += sample.prompt_tokens;
        share.cached_tokens += sample.cached_tokens;
        share.output_tokens += sample.output_tokens;
        share.ttft += sample.ttft.unwrap_or_default();
        *self.timeline.at(sample.end).by_endpoint.entry(name.to_owned()).or_default() += 1;
    }

    /// Counts a fault.
    pub fn fault(&mut self, fault: Fault, number: u64, detail: &str) {
        let seen = self.faults.entry(fault).or_default();
        seen.count += 1;
        if seen.count == 1 {
            seen.example = format!("request {number}: {detail}");
        }
    }

    /// Exchanges that got no answer, or were told no.
    pub fn failed(&self) -> u64 {
        self.count(Fault::is_failure)
    }

    /// Exchanges whose answer was wrong.
    pub fn invalid(&self) -> u64 {
        self.count(|fault| !fault.is_failure())
    }

    fn count(&self, which: impl Fn(Fault) -> bool) -> u64 {
        self.faults.iter().filter(|(fault, _)| which(**fault)).map(|(_, seen)| seen.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_keep_three_digits_and_saturate() {
        let mut latency = Latency::default();
        for millis in 1..=1_000 {
            latency.record(Duration::from_millis(millis));
        }
        let median = latency.percentile(50.0).as_secs_f64() * 1_000.0;
        assert!((median - 500.0).abs() < 1.0, "{median}");
        latency.record(LATENCY_MAX * 3);
        assert!(latency.max() >= LATENCY_MAX);
        assert_eq!(latency.count(), 1_001);
    }

    #[test]
    fn the_first_example_of_a_fault_is_kept() {
        let mut stats = Stats::default();
        stats.fault(Fault::BadJson, 3, "first");
        stats.fault(Fault::BadJson, 4, "second");
        stats.fault(Fault::TimedOut, 5, "late");
        assert_eq!(stats.faults[&Fault::BadJson].example, "request 3: first");
        assert_eq!((stats.failed(), stats.invalid()), (1, 2));
    }

    #[test]
    fn an_answer_is_good_if_it_keeps_every_part_that_is_set() {
        let ms = Duration::from_millis;
        let sample = Sample {
            at: ms(0),
            end: ms(900),
            ttft: Some(ms(100)),
            per_token: None,
            end_to_end: ms(900),
            until_last: ms(800),
            prompt_tokens: 1,
            output_tokens: 1,
            cached_tokens: 0,
            endpoint: None,
        };
        assert!(sample.keeps(&Slo::default()));
        assert!(sample.keeps(&Slo { ttft: Some(ms(100)), tpot: Some(ms(1)), e2el: Some(ms(800)) }));
        assert!(!sample.keeps(&Slo { ttft: Some(ms(99)), ..Slo::default() }));
        assert!(!sample.keeps(&Slo { e2el: Some(ms(799)), ..Slo::default() }));
        let slow = Sample { per_token: Some(ms(2)), ..sample };
        assert!(!slow.keeps(&Slo { tpot: Some(ms(1)), ..Slo::default() }));
    }

    #[test]
    fn samples_are_a_fair_choice_of_all() {
        let mut stats = Stats::default();
        for at in 0..3 * SAMPLES_MAX as u64 {
            stats.missed(Duration::from_millis(at), Duration::from_millis(at));
        }
        assert_eq!((stats.samples.good.len(), stats.samples.of), (SAMPLES_MAX, 3 * SAMPLES_MAX as u64));
        let mean = stats.samples.at_ms.iter().sum::<f64>() / SAMPLES_MAX as f64;
        assert!((mean / (1.5 * SAMPLES_MAX as f64) - 1.0).abs() < 0.02, "{mean}");
    }
}
