//! The only place where the data plane reads a clock.
//!
//! Owns: the monotonic clock in two grains. `now_us` is exact (a vDSO call, about 25 ns) and stamps exchanges;
//! `coarse_ms` is what the worker's tick last saw and serves every deadline, which need no better.
//! Must not: be called from a parser, a table, or a state machine: those are handed the time.
//! Read next: `deadline.rs`.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

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
    /// What [`monotonic_us`] was when it began.
    start_us: u64,
    coarse_ms: Cell<u64>,
    /// From the clock's beginning to the wall clock, as of the last tick.
    unix_ms_at_start: Cell<u64>,
    /// The `Date` value, and the second it is of.
    date: Cell<(u64, HttpDate)>,
}

impl Clock {
    /// A clock that counts from `start`.
    pub fn new(start: Instant) -> Self {
        let since_us = start.elapsed().as_micros() as u64; // on Linux an `Instant` is of the same clock
        let clock = Self {
            start_us: monotonic_us() - since_us,
            coarse_ms: Cell::new(0),
            unix_ms_at_start: Cell::new(0),
            date: Cell::new((0, HttpDate::EPOCH)),
        };
        clock.tick();
        clock
    }

    /// Microseconds since the clock began.
    pub fn now_us(&self) -> u64 {
        monotonic_us() - self.start_us
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
        let (now_ms, unix_ms) = (self.now_us() / 1_000, unix_ms());
        self.coarse_ms.set(now_ms);
        self.unix_ms_at_start.set(unix_ms.saturating_sub(now_ms));
        let unix_s = unix_ms / 1_000;
        if self.date.get().0 != unix_s {
            self.date.set((unix_s, HttpDate::new(UNIX_EPOCH + Duration::from_secs(unix_s))));
        }
    }

    /// The wall clock at a moment of this one, in milliseconds since 1970, for logs only: what it jumps is seen a tick later.
    pub fn unix_ms_at(&self, us: u64) -> u64 {
        self.unix_ms_at_start.get() + us / 1_000
    }

    /// The `Date` value (RFC 9110 section 6.6.1), at most one tick old.
    pub fn date(&self) -> HttpDate {
        self.date.get().1
    }
}

/// A moment as `Date` tells it (RFC 9110 section 5.6.7): always of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpDate([u8; 29]);

impl HttpDate {
    /// The beginning of 1970.
    pub const EPOCH: Self = Self(*b"Thu, 01 Jan 1970 00:00:00 GMT");

    /// To the second. The year must have four digits.
    pub fn new(at: SystemTime) -> Self {
        let text = httpdate::fmt_http_date(at);
        text.as_bytes().try_into().map_or(Self::EPOCH, Self)
    }

    /// What stands in the field.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Microseconds of the system's monotonic clock. Its own call and sum: through `Instant` it costs twice the instructions.
fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    now.tv_sec() as u64 * 1_000_000 + now.tv_nsec() as u64 / 1_000
}

/// Milliseconds since 1970, for logs only: it may jump.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
