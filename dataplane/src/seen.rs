//! What is seen of each endpoint, for whoever looks: totals of its answers, and what was last reported of it.
//!
//! Owns: counts that no choice depends on; those that it does are in [`crate::cells`]. Both survive reloads.
//! Must not: be read on a worker, or locked by one: an answer adds to it once, at its end.
//! Read next: [`crate::load`], which takes reports in.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ringway_contract::load::{EndpointLoad, Probe};
use ringway_contract::stats::{Answers, Reported};

use crate::observe::Record;

/// What is seen of one endpoint.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Seen {
    first_tokens: AtomicU64,
    first_token_us: AtomicU64,
    tokens_in: AtomicU64,
    tokens_out: AtomicU64,
    tokens_cached: AtomicU64,
    last: Mutex<Last>,
}

/// What was last reported.
#[derive(Debug, Default)]
struct Last {
    load: Option<EndpointLoad>,
    /// Of the process's clock.
    taken_us: u64,
    probe: Option<Probe>,
}

/// Whether a report is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It is.
    Fresh,
    /// A later one is known.
    Stale,
    /// It is about a life that is over; this one is known.
    Outlived(u64),
}

impl Seen {
    /// Adds an answer that is over.
    pub fn answer(&self, record: &Record) {
        if let Some(us) = record.first_token.get() {
            self.first_tokens.fetch_add(1, Relaxed);
            self.first_token_us.fetch_add(us, Relaxed);
        }
        let counts = [
            (&self.tokens_in, record.tokens_in),
            (&self.tokens_out, record.tokens_out),
            (&self.tokens_cached, record.tokens_cached),
        ];
        for (total, count) in counts {
            if let Some(count @ 1..) = count {
                total.fetch_add(count, Relaxed);
            }
        }
    }

    /// The totals.
    pub fn answers(&self) -> Answers {
        Answers {
            first_tokens: self.first_tokens.load(Relaxed),
            first_token_us: self.first_token_us.load(Relaxed),
            tokens_in: self.tokens_in.load(Relaxed),
            tokens_out: self.tokens_out.load(Relaxed),
            tokens_cached: self.tokens_cached.load(Relaxed),
        }
    }

    /// Takes a report in, if it is news. One that only tells of a probe leaves the values.
    pub fn report(&self, load: &EndpointLoad, taken_us: u64) -> News {
        let mut last = self.last();
        if let Some(known) = &last.load {
            if load.seq <= known.seq {
                return News::Stale;
            }
            if load.has_values() && load.generation < known.generation {
                return News::Outlived(known.generation);
            }
        }
        if let Some(probe) = load.probe {
            last.probe = Some(probe);
        }
        if load.has_values() {
            (last.load, last.taken_us) = (Some(load.clone()), taken_us);
        }
        News::Fresh
    }

    /// How the last probe went.
    pub fn probe(&self) -> Option<Probe> {
        self.last().probe
    }

    /// What was last reported, as `GET /v1/stats` shows it.
    pub fn reported(&self, now_us: u64) -> Option<Reported> {
        let last = self.last();
        let load = last.load.as_ref()?;
        Some(Reported {
            running: load.running,
            waiting: load.waiting,
            kv: load.kv,
            uncached_waiting: load.uncached_waiting,
            capacity: load.capacity,
            adapters: load.adapters.as_ref().map(|adapters| adapters.named.clone()).unwrap_or_default(),
            generation: load.generation,
            age_s: now_us.saturating_sub(last.taken_us) as f64 / 1e6,
        })
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(seq: u64, generation: u64, running: Option<u32>) -> EndpointLoad {
        EndpointLoad { endpoint: "b/e".into(), seq, generation, running, ..EndpointLoad::default() }
    }

    #[test]
    fn only_news_is_taken_in() {
        let seen = Seen::default();
        assert_eq!(seen.report(&load(5, 2, Some(1)), 10), News::Fresh);
        assert_eq!(seen.report(&load(5, 2, Some(9)), 20), News::Stale);
        assert_eq!(seen.report(&load(6, 1, Some(9)), 20), News::Outlived(2));
        assert_eq!(seen.report(&load(7, 3, Some(2)), 30), News::Fresh);
        let shown = seen.reported(1_000_030).expect("reported");
        assert_eq!((shown.running, shown.generation), (Some(2), 3));
        assert!((shown.age_s - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_probe_alone_leaves_the_values_and_their_age() {
        let seen = Seen::default();
        seen.report(&load(1, 1, Some(4)), 10);
        let probe = EndpointLoad { probe: Some(Probe::Failed), ..load(2, 1, None) };
        assert_eq!(seen.report(&probe, 500), News::Fresh);
        assert_eq!(seen.probe(), Some(Probe::Failed));
        assert_eq!(seen.reported(10).expect("kept").running, Some(4));
    }
}
