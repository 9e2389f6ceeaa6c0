//! Bounds of the daemon and the command line: how long, how many, how large.
//!
//! Owns: the numbers of everything that runs. Must not: repeat those of the file, which are one level up.
//! Read next: `daemon/mod.rs`, their main user.

use std::time::Duration;

use super::CONFIG_BYTES_MAX;

const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;

/// For a connection to a Unix socket to be made.
pub const CONNECT_MS_MAX: Duration = Duration::from_secs(2);
/// For an answer: the data plane answers a `PUT` only when its last worker runs it.
pub const ANSWER_MS_MAX: Duration = Duration::from_secs(30);
/// The daemon's own answer to `apply` waits for names and for the data plane, so it may take longer than
/// both.
pub const DAEMON_ANSWER_MS_MAX: Duration = Duration::from_secs(45);
/// Bytes of an answer: a snapshot of tens of thousands of endpoints.
pub const ANSWER_BYTES_MAX: usize = 64 * MIB;
/// Bytes of one line of the event stream.
pub const EVENT_BYTES_MAX: usize = 64 * KIB;
/// Bytes of an error text repeated from a peer that does not speak our error format.
pub const ERROR_TEXT_BYTES_MAX: usize = 512;

/// First wait before a reconnect or a restart (CP-02).
pub const BACKOFF_MS_MIN: Duration = Duration::from_millis(100);
/// Longest wait before a reconnect or a restart (CP-02).
pub const BACKOFF_MS_MAX: Duration = Duration::from_secs(5);
/// A child that lived this long starts again without delay.
pub const CHILD_STEADY_MS_MIN: Duration = Duration::from_secs(10);

/// Between two pushes: at most five applies a second (CP-05).
pub const PUSH_GAP_MS_MIN: Duration = Duration::from_millis(200);
/// Tries of one push against a generation that moves under it.
pub const PUSH_TRIES_MAX: u32 = 3;

/// Quiet time after the last sign of a file change: editors write in several steps.
pub const DEBOUNCE_MS: Duration = Duration::from_millis(80);
/// Longest wait for that quiet.
pub const DEBOUNCE_MS_MAX: Duration = Duration::from_secs(1);
/// Between two looks at the file where the system reports no changes (network file systems, no inotify).
pub const POLL_MS: Duration = Duration::from_secs(3);

/// A shorter time to live is taken as this: a name server is not a load balancer.
pub const TTL_MS_MIN: Duration = Duration::from_secs(5);
/// A longer time to live is taken as this: moved endpoints are found within a minute.
pub const TTL_MS_MAX: Duration = Duration::from_mins(1);
/// For one name, all its queries and retries.
pub const LOOKUP_MS_MAX: Duration = Duration::from_secs(5);
/// Names looked up at once.
pub const LOOKUPS_MAX: usize = 16;

/// For a token to be had, the connection included.
pub const MINT_MS_MAX: Duration = Duration::from_secs(10);
/// Between two tokens of one account, however short they hold.
pub const MINT_GAP_MS_MIN: Duration = Duration::from_secs(1);
/// Longest wait before a token is asked for again.
pub const MINT_WAIT_MS_MAX: Duration = Duration::from_secs(30);
/// A token that is said to hold longer is renewed as if it held this long.
pub const TOKEN_HOLDS_MAX: Duration = Duration::from_hours(24);
/// Bytes of a token service's answer.
pub const TOKEN_BYTES_MAX: usize = 64 * KIB;
/// Characters of a token service's reason that are repeated.
pub const REASON_CHARS_MAX: usize = 200;

/// Bytes of a request to the daemon: a config as a JSON string, every byte escaped at worst as `\u00XX`.
pub const REQUEST_BYTES_MAX: usize = 6 * CONFIG_BYTES_MAX + 64 * KIB;
/// Bytes of the message kept with a revision.
pub const MESSAGE_BYTES_MAX: usize = 1_024;
/// Revisions kept on disk.
pub const REVISIONS_MAX: usize = 100;

/// Connections to the daemon's socket at once.
pub const CONNECTIONS_MAX: usize = 64;
/// Commands that wait for the daemon's loop.
pub const COMMANDS_MAX: usize = 64;
/// For a request to the daemon to arrive.
pub const REQUEST_MS_MAX: Duration = Duration::from_secs(10);

/// Bytes of a page of metrics: 40 KB are usual, 400 KB occur.
pub const PAGE_BYTES_MAX: usize = 8 * MIB;
/// For a page to be there, connection included.
pub const SCRAPE_MS_MAX: Duration = Duration::from_millis(500);
/// From the moment an endpoint is known to its first reading and probe, which are spread over it.
pub const FIRST_LOOK_MS_MAX: Duration = Duration::from_secs(1);
/// For the answer to a probe, connection included.
pub const PROBE_MS_MAX: Duration = Duration::from_secs(1);
/// Bytes of a file with certificates or a key: as many as the data plane reads.
pub const TLS_FILE_BYTES_MAX: u64 = 4 * MIB as u64;
/// Endpoints in trouble that a table tells of; `-o json` has all.
pub const TROUBLES_SHOWN_MAX: usize = 20;
/// Values kept of one page: parts of an engine times series that are read.
pub const TOLD_MAX: usize = 1_024;
/// Adapters kept of one page.
pub const ADAPTERS_MAX: usize = 64;
/// Bytes of an adapter's name.
pub const ADAPTER_BYTES_MAX: usize = 256;
/// Between two messages with load reports: twenty a second.
pub const LOAD_GAP_MS_MIN: Duration = Duration::from_millis(50);
/// How far a server's clock may be ahead for its start time to be believed.
pub const CLOCK_AHEAD_S_MAX: f64 = 86_400.0;

const _: () = assert!(BACKOFF_MS_MIN.as_millis() < BACKOFF_MS_MAX.as_millis(), "backoff grows");
const _: () = assert!(TTL_MS_MIN.as_millis() <= TTL_MS_MAX.as_millis(), "a range");
const _: () = assert!(
    LOOKUP_MS_MAX.as_millis() + ANSWER_MS_MAX.as_millis() < DAEMON_ANSWER_MS_MAX.as_millis(),
    "the daemon answers before its client gives up"
);
const _: () = assert!(COMMANDS_MAX >= CONNECTIONS_MAX, "a connection has one command under way");
