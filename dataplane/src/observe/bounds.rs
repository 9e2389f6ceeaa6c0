//! Every bound of `observe`.
//!
//! Owns: how long a line, how deep a queue and how wide a label set may grow.
//! Must not: hold limits that an operator sets; those are in the snapshot.
//! Read next: [`super::log`].

use std::time::Duration;

/// Bytes kept of a method. The longest registered one, `UPDATEREDIRECTREF`, has 17.
pub const METHOD_BYTES_MAX: usize = 20;
/// Bytes kept of a host.
pub const HOST_BYTES_MAX: usize = 96;
/// Bytes kept of a path.
pub const PATH_BYTES_MAX: usize = 192;
/// Bytes kept of a request id; a longer one is not sane and was replaced.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// Bytes kept of a model name.
pub const MODEL_BYTES_MAX: usize = 64;
/// Bytes of a record.
pub const RECORD_BYTES_MAX: usize = 832;

/// Records waiting per worker. At 40,000 exchanges a second this is 100 ms, five turns of the writer.
pub const RECORDS_MAX: usize = 4_096;
/// Between two turns of the writer while there is work: a worker pays for at most one wake-up in this time.
pub const TURN: Duration = Duration::from_millis(20);
/// Bytes formatted before they are written.
pub const BATCH_BYTES_MAX: usize = 256 * 1_024;
/// Bytes of one line, newline included. A pipe takes this much whole or not at all (POSIX `PIPE_BUF` on Linux).
pub const LINE_BYTES_MAX: usize = 4_096;
/// How long the writer waits for a full pipe before it looks for commands again.
pub const STALL: Duration = Duration::from_millis(100);

/// Route names with cells of their own; later ones share `other`.
pub const ROUTES_MAX: usize = 512;
/// Endpoints with series of their own; later ones are left out and counted.
pub const ENDPOINTS_MAX: usize = 1_024;

const CLIENT_BYTES: usize =
    METHOD_BYTES_MAX + HOST_BYTES_MAX + PATH_BYTES_MAX + REQUEST_ID_BYTES_MAX + MODEL_BYTES_MAX;
const ESCAPE_FACTOR: usize = 6; // one byte becomes `\u00XX`
const FIXED_FIELDS: usize = 1_024; // names, numbers and labels of a line
const _: () = assert!(CLIENT_BYTES < RECORD_BYTES_MAX, "the numbers of a record need room too");
const _: () = assert!(
    CLIENT_BYTES * ESCAPE_FACTOR + FIXED_FIELDS <= LINE_BYTES_MAX,
    "a line of nothing but escapes still passes a pipe whole"
);
