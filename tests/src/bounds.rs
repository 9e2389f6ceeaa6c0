//! Every wait and size of the harness.
//!
//! Owns: how patient a test is. Waits are generous, because the machine is shared; claims about time
//! carry their own number beside the claim.
//! Must not: hold a bound of the programs under test: a test states those literally.
//! Read next: `gateway.rs`.

use std::time::Duration;

/// For a process to say it is ready.
pub const START_MAX: Duration = Duration::from_secs(20);
/// For a process to leave after SIGTERM when nothing is in flight.
pub const STOP_MAX: Duration = Duration::from_secs(10);
/// For one answer that should come at once.
pub const ANSWER_MAX: Duration = Duration::from_secs(10);
/// For a gauge to fall back after its cause ended.
pub const IDLE_MAX: Duration = Duration::from_secs(3);
/// Between two looks at something that will change.
pub const POLL_EVERY: Duration = Duration::from_millis(10);
/// For the other side to close; an orderly close reads on for at most one second (spec section 0).
pub const CLOSE_MAX: Duration = Duration::from_secs(4);
/// How long a peer of an origin waits for bytes before its script goes on.
pub const PEER_READ_MAX: Duration = Duration::from_secs(30);
/// How long a peer of an origin may overlook that its test is over.
pub const STOP_SEEN_MAX: Duration = Duration::from_millis(100);
/// One read from a socket.
pub const READ_BYTES_MAX: usize = 16 * 1_024;
/// A head that a test would read; longer is a mistake.
pub const HEAD_BYTES_MAX: usize = 256 * 1_024;
