//! Every bound of the comparison, and what makes a measurement void.
//!
//! Owns: the constants. Must not: hold anything computed at run time.
//! Read next: `rounds.rs`, which judges by them; `load.rs`, which is sized by them.

use std::time::Duration;

const KIB: usize = 1_024;

/// The core of the proxy's worker of this number. Nothing else of ours runs there.
pub const fn proxy_core(worker: usize) -> usize {
    2 * worker
}
/// The core of the load that belongs to it: origin and callers on one thread that never sleeps. Where two threads share
/// what is in a core, these two do, and each worker alike, however many there are.
pub const fn load_core(worker: usize) -> usize {
    2 * worker + 1
}

/// Others on the proxy's core, as a share of the core: above it, a measurement is void.
pub const OTHERS_SHARE_MAX: f64 = 0.10;
/// How long the proxy waited for its core although it could run, as a share of the time: above it, void.
pub const WAITED_SHARE_MAX: f64 = 0.10;
/// What the load's thread must have had of its core: below it, it was starved and the measurement is void.
pub const LOAD_SHARE_MIN: f64 = 0.95;
/// How late the load may be at the 99th percentile of what it sends by the clock: above it, void.
pub const LATE_P99_MAX: Duration = Duration::from_millis(1);

/// How often a void measurement is repeated.
pub const REPEATS_MAX: usize = 4;
/// How long a proxy may take until it accepts.
pub const START_MAX: Duration = Duration::from_secs(10);
/// How long all connections of a workload may take until they stand.
pub const SETUP_MAX: Duration = Duration::from_secs(20);
/// Without a unit done for so long, a measurement has failed.
pub const STALL_MAX: Duration = Duration::from_secs(5);

/// Bytes taken from a socket in one read.
pub const READ_BYTES: usize = 256 * KIB;
/// Bytes of a head, on either side.
pub const HEAD_BYTES_MAX: usize = 16 * KIB;
/// Events taken from the system in one turn.
pub const EVENTS_MAX: usize = 512;
/// Things sent by the clock before the sockets are looked at again.
pub const DUE_PER_TURN_MAX: usize = 64;
/// Connections that wait to be accepted.
pub const BACKLOG: i32 = 4_096;
/// Bytes a stream may be behind at its origin; one more, and the proxy does not keep up.
pub const BEHIND_BYTES_MAX: usize = 256 * KIB;
/// The longest time a histogram holds.
pub const LATENCY_MAX: Duration = Duration::from_mins(1);

/// Bytes of one SSE event.
pub const EVENT_BYTES: usize = 160;
