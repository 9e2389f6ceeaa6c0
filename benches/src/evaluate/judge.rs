//! How a run went, in the terms of routing section 1.
//!
//! Owns: goodput, reachable goodput, times to the first token, gaps between tokens, cache hits.
//! Must not: know what is good enough; see [`super::bars`].
//! Read next: [`super::drive`], whose records these are made from.

use std::time::Duration;

use serde::Serialize;

use super::material::Workload;
use super::outcome::{Fate, Outcome, Record};
use super::setup::Setup;

/// A request is good if its first token came within this.
pub const TTFT_GOOD: Duration = Duration::from_secs(2);
/// And the mean gap between its tokens is at most this.
pub const ITL_GOOD: Duration = Duration::from_millis(100);

/// The figures of a run. Times are over the requests that were served; shares of goodput over all that arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Share of all arrivals, refused ones included, that were good.
    pub goodput: f64,
    /// The same over those whose prompt alone on an idle engine would be.
    pub reachable: f64,
    /// Time to the first token, mean.
    pub ttft_mean_s: f64,
    /// Its median.
    pub ttft_p50_s: f64,
    /// Its 90th percentile.
    pub ttft_p90_s: f64,
    /// Its 99th percentile.
    pub ttft_p99_s: f64,
    /// Gap between tokens, mean over requests of each one's mean.
    pub itl_mean_ms: f64,
    /// The 99th percentile of each request's mean.
    pub itl_p99_ms: f64,
    /// Share of prompt tokens that were found in the engines' caches.
    pub hit: f64,
    /// Requests that were refused.
    pub rejected: usize,
}

/// The time to the first token of a served request.
pub fn ttft(outcome: &Outcome) -> Option<Duration> {
    outcome.first.map(|first| first.saturating_sub(outcome.ask.at))
}

/// The mean gap between the tokens of a request.
pub fn itl(outcome: &Outcome) -> Duration {
    let gaps = outcome.tokens.saturating_sub(1);
    match outcome.first {
        Some(first) if gaps > 0 => outcome.last.saturating_sub(first) / gaps,
        Some(_) | None => Duration::ZERO,
    }
}

/// Whether a request was good.
pub fn is_good(outcome: &Outcome) -> bool {
    outcome.fate == Fate::Served
        && ttft(outcome).is_some_and(|ttft| ttft <= TTFT_GOOD)
        && itl(outcome) <= ITL_GOOD
}

/// The share of these that were good.
pub fn goodput<'o>(outcomes: impl Iterator<Item = &'o Outcome>) -> f64 {
    let (mut all, mut good) = (0_u32, 0_u32);
    for outcome in outcomes {
        all += 1;
        good += u32::from(is_good(outcome));
    }
    f64::from(good) / f64::from(all.max(1))
}

impl Figures {
    /// Of this run.
    pub fn of(record: &Record, workload: &Workload, setup: &Setup) -> Self {
        let outcomes = &record.outcomes;
        let prompt = |outcome: &Outcome| workload.material.rows()[outcome.ask.row as usize].prompt;
        let reachable = |outcome: &&Outcome| setup.cold_ttft_s(prompt(outcome)) <= TTFT_GOOD.as_secs_f64();
        let served = || outcomes.iter().filter(|outcome| outcome.fate == Fate::Served);
        let ttfts = sorted(served().filter_map(ttft).map(|it| it.as_secs_f64()));
        let itls = sorted(served().filter(|it| it.tokens > 1).map(|it| itl(it).as_secs_f64() * 1e3));
        let admitted = || outcomes.iter().filter_map(|it| Some((it.cached?, prompt(it))));
        let cached: f64 = admitted().map(|(cached, _)| f64::from(cached)).sum();
        let prompts: f64 = admitted().map(|(_, prompt)| f64::from(prompt)).sum();
        Self {
            goodput: goodput(outcomes.iter()),
            reachable: goodput(outcomes.iter().filter(reachable)),
            ttft_mean_s: mean(&ttfts),
            ttft_p50_s: quantile(&ttfts, 0.5),
            ttft_p90_s: quantile(&ttfts, 0.9),
            ttft_p99_s: quantile(&ttfts, 0.99),
            itl_mean_ms: mean(&itls),
            itl_p99_ms: quantile(&itls, 0.99),
            hit: cached / prompts.max(1.0),
            rejected: outcomes
                .iter()
                .filter(|it| matches!(it.fate, Fate::Refused(_) | Fate::Nowhere))
                .count(),
        }
    }
}

/// These, the least first.
pub fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The value that this share of sorted ones does not exceed; 0 of none.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_seen() {
        let values = sorted([5.0, 1.0, 4.0, 2.0, 3.0].into_iter());
        for (share, value) in [(0.0, 1.0), (0.5, 3.0), (0.9, 5.0), (0.99, 5.0), (1.0, 5.0)] {
            assert!((quantile(&values, share) - value).abs() < f64::EPSILON, "{share}");
        }
        assert!(quantile(&[], 0.5).abs() < f64::EPSILON);
    }
}
