//! After how long a first attempt counts as slow.
//!
//! Owns: the times to heads that a route has seen, and their 95th percentile. Shared by all workers; a new table begins
//! anew.
//! Must not: read a clock.
//! Read next: [`super`], which waits for so long.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::bounds::{HEDGE_P95_MS_MIN, HEDGE_SAMPLES_MAX, HEDGE_SAMPLES_MIN};

/// After how long another endpoint is asked.
#[derive(Debug)]
pub enum After {
    /// So long.
    Ms(u64),
    /// When the first is slower than nineteen of twenty were.
    P95(Box<Times>),
}

impl After {
    /// In milliseconds; none: not known yet.
    pub fn ms(&self) -> Option<u64> {
        match self {
            Self::Ms(ms) => Some(*ms),
            Self::P95(times) => times.p95_ms().map(|ms| ms.max(HEDGE_P95_MS_MIN)),
        }
    }

    /// A head came after so long.
    pub fn learn(&self, ms: u64) {
        if let Self::P95(times) = self {
            times.note(ms);
        }
    }
}

/// Four of them double the time: a bound of a bucket is at most a fifth too high.
const BUCKETS_PER_OCTAVE: u32 = 4;
const BUCKETS: usize = 80;

/// How often a head came after how long; what is long ago fades.
#[derive(Debug)]
pub struct Times {
    buckets: [AtomicU32; BUCKETS],
}

impl Default for Times {
    fn default() -> Self {
        Self { buckets: [const { AtomicU32::new(0) }; BUCKETS] }
    }
}

impl Times {
    fn note(&self, ms: u64) {
        self.buckets[bucket(ms)].fetch_add(1, Relaxed);
        if self.total() >= HEDGE_SAMPLES_MAX {
            // Two threads at once halve twice, or a count is lost: it fades a little sooner.
            for count in &self.buckets {
                count.store(count.load(Relaxed) / 2, Relaxed);
            }
        }
    }

    fn total(&self) -> u32 {
        self.buckets.iter().map(|count| count.load(Relaxed)).sum()
    }

    fn p95_ms(&self) -> Option<u64> {
        let total = self.total();
        if total < HEDGE_SAMPLES_MIN {
            return None;
        }
        let wanted = total - total / 20;
        let mut seen = 0;
        let at = self.buckets.iter().position(|count| {
            seen += count.load(Relaxed);
            seen >= wanted
        });
        at.map(upper_ms)
    }
}

fn bucket(ms: u64) -> usize {
    let octaves = (ms.max(1) as f64).log2();
    ((octaves * f64::from(BUCKETS_PER_OCTAVE)) as usize).min(BUCKETS - 1)
}

fn upper_ms(bucket: usize) -> u64 {
    (((bucket + 1) as f64 / f64::from(BUCKETS_PER_OCTAVE)).exp2()).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(times: impl IntoIterator<Item = u64>) -> After {
        let after = After::P95(Box::default());
        times.into_iter().for_each(|ms| after.learn(ms));
        after
    }

    #[test]
    fn a_few_answers_say_nothing() {
        let few = u64::from(HEDGE_SAMPLES_MIN) - 1;
        assert_eq!(after((0..few).map(|_| 5_000)).ms(), None);
        assert_eq!(After::Ms(5).ms(), Some(5));
    }

    #[test]
    fn it_is_what_nineteen_of_twenty_are_within_a_fifth() {
        let ms = after((1..=1_000).map(|ms| ms * 10)).ms().expect("enough");
        assert!((9_500..=11_400).contains(&ms), "{ms}");
        assert_eq!(after((0..100).map(|_| 3)).ms(), Some(HEDGE_P95_MS_MIN), "never below its least");
    }

    #[test]
    fn what_is_long_ago_fades() {
        let times = (0..HEDGE_SAMPLES_MAX).map(|_| 60_000).chain((0..40 * HEDGE_SAMPLES_MAX).map(|_| 2_000));
        let ms = after(times).ms().expect("enough");
        assert!((2_000..=2_400).contains(&ms), "{ms}");
    }

    #[test]
    fn any_time_has_its_bucket() {
        for ms in [0, 1, 2, 1_000, u64::MAX] {
            assert!(bucket(ms) < BUCKETS && upper_ms(bucket(ms)) >= ms.min(1 << 19), "{ms}");
        }
    }
}
