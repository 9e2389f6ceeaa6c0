//! What was measured: latencies in histograms, everything else in counters.
//!
//! Owns: the numbers of one run. Must not: judge, print, or forget.
//! Read next: `report.rs`.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use crate::{bounds::LATENCY_MAX, oracle::Fault};

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

/// Everything measured in one run. Latencies of answers are of valid ones only; they count from the intended
/// time of sending.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Requests whose time had come.
    pub issued: u64,
    /// Exchanges that ended well.
    pub valid: u64,
    /// Faults by kind, at most one per exchange.
    pub faults: BTreeMap<Fault, Seen>,
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
    /// Output tokens, as the usage of valid answers says.
    pub output_tokens: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Connections opened.
    pub connects: u64,
}

impl Stats {
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
}
