//! When requests are due: an absolute schedule, decided before the run and never bent by it.
//!
//! Owns: arrival processes. Must not: read a clock, or know whether anybody keeps up.
//! Read next: `client.rs`, which keeps the schedule and measures how late it was.

use std::{sync::Arc, time::Duration};

/// How arrivals are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Equal gaps.
    Constant,
    /// Independent arrivals: exponential gaps.
    Poisson,
    /// So many at the same moment; these moments are independent.
    Bursts(u32),
}

/// The sequence of times, since the start of the run, at which requests are due.
#[derive(Debug, Clone)]
pub struct Schedule {
    source: Source,
    count: u64,
}

#[derive(Debug, Clone)]
enum Source {
    /// Endless.
    Drawn { arrival: Arrival, rate: f64, random: fastrand::Rng, at: f64 },
    /// Written down before.
    Given(Arc<[Duration]>),
}

impl Schedule {
    /// `rate` requests per second; the same seed gives the same times.
    pub fn new(arrival: Arrival, rate: f64, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { source: Source::Drawn { arrival, rate, random, at: 0.0 }, count: 0 }
    }

    /// These times, which must be in order.
    pub fn given(times: Arc<[Duration]>) -> Self {
        Self { source: Source::Given(times), count: 0 }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let count = self.count;
        self.count += 1;
        let (arrival, rate, random, at) = match &mut self.source {
            Source::Given(times) => return times.get(count as usize).copied(),
            Source::Drawn { arrival, rate, random, at } => (*arrival, *rate, random, at),
        };
        let mut wait = |rate: f64| {
            *at += -(1.0 - random.f64()).ln() / rate;
            *at
        };
        let seconds = match arrival {
            // Multiplied, not summed: a million gaps would add up their rounding.
            Arrival::Constant => count as f64 / rate,
            Arrival::Poisson => wait(rate),
            Arrival::Bursts(size) if count.is_multiple_of(u64::from(size.max(1))) => {
                wait(rate / f64::from(size.max(1)))
            }
            Arrival::Bursts(_) => *at,
        };
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_arrivals_do_not_drift() {
        let mut schedule = Schedule::new(Arrival::Constant, 3.0, 1);
        assert_eq!(schedule.nth(3_000_000), Some(Duration::from_secs(1_000_000)));
    }

    #[test]
    fn poisson_arrivals_keep_the_rate_and_repeat_under_their_seed() {
        let times: Vec<_> = Schedule::new(Arrival::Poisson, 100.0, 7).take(100_000).collect();
        let last = times.last().expect("many").as_secs_f64();
        assert!((last - 1_000.0).abs() < 15.0, "{last}");
        assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(times, Schedule::new(Arrival::Poisson, 100.0, 7).take(100_000).collect::<Vec<_>>());
        assert_ne!(times, Schedule::new(Arrival::Poisson, 100.0, 8).take(100_000).collect::<Vec<_>>());
    }

    #[test]
    fn bursts_keep_the_rate_and_come_together() {
        let times: Vec<_> = Schedule::new(Arrival::Bursts(10), 100.0, 7).take(100_000).collect();
        let last = times.last().expect("many").as_secs_f64();
        assert!((last / 1_000.0 - 1.0).abs() < 0.05, "{last}");
        assert!(times.chunks(10).all(|burst| burst[0] == burst[9]));
        assert!(times[9] < times[10]);
    }

    #[test]
    fn given_times_come_as_they_are_and_end() {
        let times: Arc<[Duration]> = [1, 5, 5].map(Duration::from_secs).into();
        assert_eq!(Schedule::given(Arc::clone(&times)).collect::<Vec<_>>(), times.to_vec());
    }
}
