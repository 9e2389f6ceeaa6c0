//! When what is sent by the clock is due.
//!
//! Owns: the moments of an open loop and of streams.
//! Must not: send.
//! Read next: `turn.rs`, which keeps them.

use crate::workload::{Pace, Spread, Workload};

/// When what is sent by the clock is due.
pub(super) struct Schedule {
    pub(super) kind: Kind,
    /// Nanoseconds of the load's clock.
    pub(super) next_ns: u64,
}

/// What is sent by the clock.
pub(super) enum Kind {
    Never,
    Random {
        mean_ns: f64,
        dice: fastrand::Rng,
    },
    /// Streams in turn, this far apart.
    Even {
        gap_ns: u64,
        turn: usize,
    },
    /// All streams, this far apart.
    Bunched {
        period_ns: u64,
    },
}

impl Schedule {
    pub(super) fn new(workload: &Workload, load: usize, now_ns: u64) -> Self {
        let kind = match workload.pace {
            Pace::Closed => Kind::Never,
            // The same seed for all proxies: everyone is asked at the same moments.
            Pace::Open { per_second } => {
                let dice = fastrand::Rng::with_seed(1 + load as u64);
                Kind::Random { mean_ns: 1e9 / per_second, dice }
            }
            Pace::Streams { period, spread: Spread::Even } => {
                Kind::Even { gap_ns: period.as_nanos() as u64 / workload.connections as u64, turn: 0 }
            }
            Pace::Streams { period, spread: Spread::Bunched } => {
                Kind::Bunched { period_ns: period.as_nanos() as u64 }
            }
        };
        Self { kind, next_ns: now_ns }
    }

    /// What was due while nobody looked is not made up for.
    pub(super) fn skip_to(&mut self, now_ns: u64) {
        self.next_ns = self.next_ns.max(now_ns);
    }
}
