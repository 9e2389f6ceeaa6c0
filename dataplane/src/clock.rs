//! The only place where the data plane reads a clock.
//!
//! Owns: the monotonic clock in two grains. `now_us` is exact (a vDSO call, about 25 ns) and stamps exchanges;
//! `coarse_ms` is what the worker's tick last saw and serves every deadline, which need no better.
//! Must not: be called from a parser, a table, or a state machine: those are handed the time.
//! Read next: `deadline.rs`.

use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A moment, in microseconds since a clock began. What depends on time is handed one, so that a test or a simulation may
/// hand it any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// So many microseconds after the clock began.
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// So many milliseconds after the clock began.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000))
    }

    /// Microseconds since the clock began.
    pub const fn us(self) -> u64 {
        self.0
    }

    /// Microseconds since `earlier`; 0 if that is later.
    pub const fn since_us(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Seconds since `earlier`; 0 if that is later.
    pub const fn since_s(self, earlier: Self) -> f32 {
        self.since_us(earlier) as f32 * 1e-6
    }

    /// The moment so many microseconds later.
    #[must_use]
    pub const fn plus_us(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }
}

/// A worker's clock.
pub struct Clock {
    start: Instant,
    coarse_ms: Cell<u64>,
    date: std::cell::RefCell<(u64, String)>,
}

impl Clock {
    /// A clock that counts from `start`.
    pub fn new(start: Instant) -> Self {
        let clock = Self { start, coarse_ms: Cell::new(0), date: (0, String::new()).into() };
        clock.tick();
        clock
    }

    /// Microseconds since the clock began.
    pub fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// This moment.
    pub fn now(&self) -> Moment {
        Moment(self.now_us())
    }

    /// Milliseconds since the clock began, as of the last tick.
    pub fn coarse_ms(&self) -> u64 {
        self.coarse_ms.get()
    }

    /// Reads the clock for the deadlines and the `Date` field.
    pub fn tick(&self) {
        self.coarse_ms.set(self.start.elapsed().as_millis() as u64);
        let unix_s = unix_ms() / 1_000;
        let mut date = self.date.borrow_mut();
        if date.0 != unix_s {
            *date = (unix_s, httpdate::fmt_http_date(SystemTime::now()));
        }
    }

    /// Writes the `Date` value (RFC 9110 section 6.6.1), at most one tick old.
    pub fn date_into(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.date.borrow().1.as_bytes());
    }
}

/// Milliseconds since 1970, for logs only: it may jump.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
