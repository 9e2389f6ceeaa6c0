//! When to come back: how long a backlog will take.
//!
//! Owns: the prediction behind `Retry-After`, its clamp and its jitter.
//! Must not: read a clock or draw chance; both are handed in.
//! Read next: [`super::queue`], which asks it for each refusal.

use crate::bounds::{PACE_SHARE_MIN, RETRY_AFTER_S_MAX, RETRY_AFTER_S_MIN};

/// How fast a queue was really served while it had a backlog. Where the KV cache or decoding is the bottleneck that is
/// below what the endpoints could compute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    began_us: Option<u64>,
    tokens: f64,
    measured: Option<Measured>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Measured {
    tokens_per_s: f64,
    at_us: u64,
}

const PACE_WINDOW_US: u64 = 1_000_000;
const PACE_FRESH_US: u64 = 10_000_000;

impl Pace {
    /// Counts tokens dispatched while others wait.
    pub fn count(&mut self, now_us: u64, tokens: u32) {
        let began_us = *self.began_us.get_or_insert(now_us);
        self.tokens += f64::from(tokens);
        let span_us = now_us.saturating_sub(began_us);
        if span_us >= PACE_WINDOW_US {
            let seen = self.tokens / (span_us as f64 / 1e6);
            let tokens_per_s = self.measured.map_or(seen, |before| f64::midpoint(before.tokens_per_s, seen));
            self.measured = Some(Measured { tokens_per_s, at_us: now_us });
            (self.began_us, self.tokens) = (Some(now_us), 0.0);
        }
    }

    /// The backlog is over: the time until the next one says nothing.
    pub fn rest(&mut self) {
        (self.began_us, self.tokens) = (None, 0.0);
    }

    /// Tokens a second to reckon with, where the endpoints compute `tokens_per_s` together.
    fn expected(&self, now_us: u64, tokens_per_s: f64) -> f64 {
        self.seen(now_us, tokens_per_s).max(PACE_SHARE_MIN * tokens_per_s)
    }

    /// Tokens a second that were served of late, at least one.
    pub(super) fn seen(&self, now_us: u64, tokens_per_s: f64) -> f64 {
        let fresh = self.measured.filter(|it| now_us.saturating_sub(it.at_us) < PACE_FRESH_US);
        fresh.map_or(tokens_per_s, |it| it.tokens_per_s.min(tokens_per_s)).max(1.0)
    }
}

/// What a prediction is made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backlog {
    /// Tokens that wait in the queue.
    pub queued_tokens: f64,
    /// Tokens that wait at the eligible endpoints.
    pub backlog_tokens: f64,
    /// What those compute a second together.
    pub tokens_per_s: f64,
}

impl Backlog {
    /// Seconds until all of it is worked off.
    pub fn drain_s(&self, now_us: u64, pace: &Pace) -> f64 {
        (self.queued_tokens + self.backlog_tokens) / pace.expected(now_us, self.tokens_per_s)
    }
}

/// Whole seconds within the bounds, and above five of them up to a fifth more, so that those who were refused
/// together do not come back together.
pub(super) fn told_ms(drain_s: f64, chance: f64) -> u64 {
    let (least_s, most_s) = (RETRY_AFTER_S_MIN as f64, RETRY_AFTER_S_MAX as f64);
    let whole_s = drain_s.ceil().clamp(least_s, most_s);
    let jitter = if whole_s > JITTER_ABOVE_S { whole_s * JITTER_SHARE * chance } else { 0.0 };
    ((whole_s + jitter).min(most_s) * 1_000.0) as u64
}

const JITTER_ABOVE_S: f64 = 5.0;
const JITTER_SHARE: f64 = 0.2;

#[cfg(test)]
mod tests {
    use super::*;

    const BACKLOG: Backlog =
        Backlog { queued_tokens: 25_000.0, backlog_tokens: 5_000.0, tokens_per_s: 10_000.0 };

    #[test]
    fn a_wait_is_whole_seconds_within_its_bounds_and_jitters_above_five() {
        for (drain_s, chance, expected) in [
            (0.0, 0.9, 1_000),
            (0.2, 0.9, 1_000),
            (1.01, 0.9, 2_000),
            (5.0, 1.0, 5_000),
            (5.5, 0.0, 6_000),
            (5.5, 1.0, 7_200),
            (10.0, 0.5, 11_000),
            (600.0, 0.0, 60_000),
            (55.0, 1.0, 60_000),
            (f64::INFINITY, 0.0, 60_000),
        ] {
            assert_eq!(told_ms(drain_s, chance), expected, "{drain_s} {chance}");
        }
    }

    #[test]
    fn the_drain_is_the_backlog_by_what_the_endpoints_compute() {
        assert!((BACKLOG.drain_s(0, &Pace::default()) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_queue_that_was_served_slower_than_computed_drains_slower() {
        let mut pace = Pace::default();
        for step in 0..=20_u64 {
            pace.count(step * 100_000, 850); // 8,500 tokens a second
        }
        let drain_s = BACKLOG.drain_s(2_000_000, &pace);
        assert!((drain_s - 3.5).abs() < 0.2, "{drain_s}");
        assert!((BACKLOG.drain_s(13_000_000, &pace) - 3.0).abs() < 1e-9, "an old measure is forgotten");
    }
}
