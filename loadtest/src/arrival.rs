//! When requests are due: an absolute schedule, decided before the run and never bent by it.
//!
//! Owns: arrival processes. Must not: read a clock, or know whether anybody keeps up.
//! Read next: `client.rs`, which keeps the schedule and measures how late it was.

use std::time::Duration;

/// How arrivals are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Equal gaps.
    Constant,
    /// Independent arrivals: exponential gaps.
    Poisson,
}

/// The endless sequence of times, since the start of the run, at which requests are due.
#[derive(Debug, Clone)]
pub struct Schedule {
    arrival: Arrival,
    rate: f64,
    random: fastrand::Rng,
    at: f64,
    count: u64,
}

impl Schedule {
    /// `rate` requests per second; the same seed gives the same times.
    pub fn new(arrival: Arrival, rate: f64, seed: u64) -> Self {
        Self { arrival, rate, random: fastrand::Rng::with_seed(seed), at: 0.0, count: 0 }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let seconds = match self.arrival {
            // Multiplied, not summed: a million gaps would add up their rounding.
            Arrival::Constant => self.count as f64 / self.rate,
            Arrival::Poisson => {
                self.at += -(1.0 - self.random.f64()).ln() / self.rate;
                self.at
            }
        };
        self.count += 1;
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
}
