//! Every bound of the harness, and how they relate.
//!
//! Owns: the constants. Must not: hold anything computed at run time.
//! Read next: `client.rs`, where most of them bite.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Connections of one run unless told otherwise.
pub const CONNECTIONS_DEFAULT: usize = 4_096;
/// Connections of one run at most.
pub const CONNECTIONS_MAX: usize = 200_000;
/// Requests that may wait for a connection; one more fails unsent.
pub const BACKLOG_MAX: usize = 1_000_000;
/// Bytes of a response head.
pub const HEAD_BYTES_MAX: usize = 64 * KIB;
/// Header fields of a response.
pub const HEADERS_MAX: usize = 128;
/// Bytes of a unary answer that is read as JSON.
pub const DOCUMENT_BYTES_MAX: usize = 64 * MIB;
/// Bytes of one SSE event.
pub const EVENT_BYTES_MAX: usize = 16 * MIB;
/// Bytes of a chunk-size line, extensions included.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Bytes taken from a socket in one read.
pub const READ_BYTES: usize = 64 * KIB;
/// Events taken from the system in one turn of the loop.
pub const EVENTS_MAX: usize = 1_024;
/// Bytes of an answer kept as an example of a fault.
pub const EXAMPLE_BYTES_MAX: usize = 240;
/// Tokens of one prompt.
pub const PROMPT_TOKENS_MAX: u32 = 2_000_000;
/// Bytes of one raw request body.
pub const REQUEST_BODY_BYTES_MAX: usize = 64 * MIB;
/// Rows of one trace.
pub const TRACE_ROWS_MAX: usize = 1_000_000;
/// Bytes of one scenario file.
pub const SCENARIO_BYTES_MAX: u64 = MIB as u64;
/// Exchanges kept one by one for plots and comparisons: a fair sample where there were more.
pub const SAMPLES_MAX: usize = 20_000;
/// Spans of the timeline; where a run lasts longer, each becomes twice as long.
pub const SPANS_MAX: usize = 600;
/// Endpoints told apart; what comes from others is counted as one more.
pub const ENDPOINTS_MAX: usize = 256;
/// Bytes of an endpoint's name.
pub const ENDPOINT_BYTES_MAX: usize = 128;
/// How often a comparison draws from its samples.
pub const RESAMPLES: usize = 1_000;
/// Requests per second one run may ask for.
pub const RATE_MAX: f64 = 1_000_000.0;

/// A run whose p99 lateness is above this is void: its latencies tell of the generator, not of the target.
///
/// One millisecond is a tenth of a decode step and the resolution in which added latency is argued about.
pub const LATENESS_P99_MAX: Duration = Duration::from_millis(1);
/// How often timeouts are looked for and progress is shown.
pub const TICK: Duration = Duration::from_millis(100);
/// How often a line of progress is printed where there is no terminal.
pub const PROGRESS_LINE_EVERY: Duration = Duration::from_secs(5);
/// The largest latency that is told apart from larger ones.
pub const LATENCY_MAX: Duration = Duration::from_hours(1);

const _: () = assert!(CONNECTIONS_DEFAULT <= CONNECTIONS_MAX, "the default is possible");
const _: () = assert!(EVENT_BYTES_MAX <= DOCUMENT_BYTES_MAX, "an event is part of an answer");
