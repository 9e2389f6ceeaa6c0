//! What is seen of each endpoint, for whoever looks: totals of its answers, and what was last reported of it.
//!
//! Owns: counts that no choice depends on; those that it does are in [`crate::cells`]. Both survive reloads.
//! Must not: be read on a worker, or locked by one: an answer adds to it once, at its end.
//! Read next: [`crate::load`], which takes reports in.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ringway_contract::load::{EndpointLoad, Probe};
use ringway_contract::stats::{Answers, Reported};

use crate::cells::{Fresh, LoadCell};
use crate::clock::Moment;
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
    pub fn report(&self, load: &EndpointLoad) -> News {
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
            last.load = Some(load.clone());
        }
        News::Fresh
    }

    /// How the last probe went.
    pub fn probe(&self) -> Option<Probe> {
        self.last().probe
    }

    /// What `cell` goes by, and what it has no use for, as `GET /v1/stats` shows it.
    pub fn reported(&self, cell: &LoadCell, now: Moment) -> Option<Reported> {
        let Fresh { said, taken_at, .. } = cell.life().last()?;
        let last = self.last();
        let load = last.load.as_ref();
        let adapters = load.and_then(|load| load.adapters.as_ref());
        Some(Reported {
            running: said.running,
            waiting: said.waiting,
            kv: said.kv.map(|kv| (f64::from(kv) * 1e6).round() / 1e6), // as many digits as the cell keeps
            uncached_waiting: said.uncached_waiting.map(u64::from),
            capacity: load.and_then(|load| load.capacity),
            adapters: adapters.map(|adapters| adapters.named.clone()).unwrap_or_default(),
            generation: load.map_or(0, |load| load.generation),
            age_s: now.since_us(taken_at) as f64 / 1e6,
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
        assert_eq!(seen.report(&load(5, 2, Some(1))), News::Fresh);
        assert_eq!(seen.report(&load(5, 2, Some(9))), News::Stale);
        assert_eq!(seen.report(&load(6, 1, Some(9))), News::Outlived(2));
        assert_eq!(seen.report(&load(7, 3, Some(2))), News::Fresh);
    }

    #[test]
    fn a_probe_alone_is_of_any_life_and_leaves_the_values() {
        let seen = Seen::default();
        seen.report(&load(1, 7, Some(4)));
        let probe = EndpointLoad { probe: Some(Probe::Failed), ..load(2, 1, None) };
        assert_eq!(seen.report(&probe), News::Fresh);
        assert_eq!(seen.probe(), Some(Probe::Failed));
        assert_eq!(seen.last().load.as_ref().and_then(|load| load.running), Some(4));
    }
}
