//! The only clocks of the harness: now, wall time, and an alarm a poll loop can wait on.
//!
//! Owns: reading time, and one timer descriptor per loop. Must not: decide what is due.
//! Read next: `server.rs`, which waits on it; everything else takes time as an argument.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mio::{Interest, Registry, Token, unix::SourceFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// The monotonic clock.
pub fn now() -> Instant {
    Instant::now()
}

/// Wall time since 1970.
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A timer that wakes a `mio` loop to within some ten microseconds.
///
/// The timeout of `epoll_wait` is whole milliseconds, which would make every token up to one late.
#[derive(Debug)]
pub struct Alarm {
    timer: OwnedFd,
    armed: Option<Instant>,
}

impl Alarm {
    /// Creates the timer, unarmed, and registers it under `token`.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer, armed: None })
    }

    /// Wakes the loop at `when`, or not at all. Costs a system call only if that changes something.
    ///
    /// The expiry is never read: setting the timer again clears it, and each expiry is a new edge.
    pub fn set(&mut self, when: Option<Instant>, now: Instant) -> io::Result<()> {
        if when == self.armed {
            return Ok(());
        }
        self.armed = when;
        // All zeros would disarm, so what is due already is due in a nanosecond.
        let delay = when
            .map_or(Duration::ZERO, |when| when.saturating_duration_since(now).max(Duration::from_nanos(1)));
        let value = Timespec {
            tv_sec: i64::try_from(delay.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: delay.subsec_nanos().into(),
        };
        let interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval: interval, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)?;
        Ok(())
    }

    /// Tells the alarm that it has rung, so that setting the same time again arms it anew.
    pub fn rang(&mut self) {
        self.armed = None;
    }
}
