//! Every bound of `control`.
//!
//! Owns: how many peers, how much of what they send, and how long they may take.
//! Must not: hold limits that an operator sets; those are in the snapshot.
//! Read next: [`super::http`].

use std::time::Duration;

const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;

/// Connections on the control socket.
pub const CONTROL_CONNECTIONS_MAX: usize = 32;
/// Connections on the admin address. Of its own, so that whoever can reach it cannot keep the operator out.
pub const ADMIN_CONNECTIONS_MAX: usize = 32;
/// Subscribers of events; each holds a control connection.
pub const SUBSCRIBERS_MAX: usize = 16;
/// Events waiting for one subscriber; one that falls behind further is cut off and may come back.
pub const EVENTS_WAITING_MAX: usize = 256;

/// Bytes of a request head.
pub const HEAD_BYTES_MAX: usize = 16 * KIB;
/// Fields of a request head.
pub const FIELDS_MAX: usize = 64;
/// Bytes of a snapshot.
pub const SNAPSHOT_BYTES_MAX: usize = 64 * MIB;
/// Bytes of any other body.
pub const BODY_BYTES_MAX: usize = 8 * MIB;
/// Bytes of all bodies being received, so that 32 peers with 64 MiB each do not add up.
pub const BODIES_BYTES_MAX: usize = 128 * MIB;
/// Bytes read at a time.
pub const READ_BYTES: usize = 64 * KIB;
/// Bytes of the size line of a coded chunk: 16 hex digits and some room.
pub const SIZE_LINE_BYTES_MAX: usize = 32;

/// For a request head to arrive, and the start that a body or an answer gets.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// A body or an answer has one more second for each of these, so large ones pass and slow peers do not.
pub const BYTES_PER_SECOND_MIN: usize = 256 * KIB;
/// Between two requests on the control socket; pollers keep their connection.
pub const CONTROL_IDLE: Duration = Duration::from_mins(1);
/// Between two requests on the admin address: a scraper may as well come back.
pub const ADMIN_IDLE: Duration = Duration::from_secs(5);
/// How long a refused peer's bytes are read on, so that it gets its answer and no reset.
pub const LINGER: Duration = Duration::from_secs(1);
/// How many of them.
pub const LINGER_BYTES_MAX: usize = 256 * KIB;

/// Between two signs of life on a stream of events.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Between two turns of housekeeping when nothing happens.
pub const TICK: Duration = Duration::from_secs(1);
/// Before another accept when one failed for want of descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between the starts of two renderings of the page of metrics; whoever comes between shares the later one.
pub const RENDER_PAUSE: Duration = Duration::from_millis(20);

const _: () = assert!(SNAPSHOT_BYTES_MAX <= BODIES_BYTES_MAX, "the largest snapshot can be received");
const _: () = assert!(SUBSCRIBERS_MAX < CONTROL_CONNECTIONS_MAX, "subscribers leave room for calls");
