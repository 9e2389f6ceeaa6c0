//! Every bound of the simulator, and how they relate.
//!
//! Owns: the constants. Must not: hold anything computed at run time.
//! Read next: `connection.rs` and `engine.rs`, where they bite.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bytes of text per token, for prompts and for answers.
pub const TOKEN_BYTES: usize = 4;
/// Tokens one step may carry, decodes and prefill chunks together.
pub const STEP_TOKENS_MAX: u32 = 8_192;
/// Requests one engine runs at the same time (`max_num_seqs`).
pub const SEQUENCES_MAX: usize = 256;
/// Tokens in one block of the KV cache.
pub const BLOCK_TOKENS: u32 = 16;
/// Output tokens when a request does not say.
pub const OUTPUT_TOKENS_DEFAULT: u32 = 128;
/// Requests that may wait in front of one engine.
pub const WAITING_MAX: usize = 65_536;
/// Adapters resident on one engine when nobody says.
pub const LORA_SLOTS_DEFAULT: usize = 4;
/// Adapter slots of one engine.
pub const LORA_SLOTS_MAX: usize = 1_024;
/// Adapters one fleet serves.
pub const ADAPTERS_MAX: usize = 4_096;
/// How much longer the step that loads an adapter is, when nobody says.
pub const LORA_LOAD_DEFAULT: Duration = Duration::from_millis(300);
/// How late a slow metrics page comes.
pub const METRICS_DELAY: Duration = Duration::from_secs(5);
/// How long a crashed server waits before it tries again to get its port back.
pub const REBIND_DELAY: Duration = Duration::from_millis(50);

/// Engines in one fleet.
pub const REPLICAS_MAX: usize = 1_024;
/// Connections of one fleet, all engines together; one more is closed at accept.
pub const CONNECTIONS_MAX: usize = 32_768;
/// Connections of one server that wait to be accepted (the system may allow fewer).
pub const BACKLOG_MAX: i32 = 8_192;
/// Bytes of a request head.
pub const HEAD_BYTES_MAX: usize = 64 * KIB;
/// Header fields of a request.
pub const HEADERS_MAX: usize = 128;
/// Bytes of a request body.
pub const BODY_BYTES_MAX: usize = 32 * MIB;
/// Bytes of a chunk-size line, extensions included.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Bytes read ahead while an answer is under way; past this, reading pauses until it has ended.
pub const AHEAD_BYTES_MAX: usize = 64 * KIB;
/// Bytes taken from a socket in one read.
pub const READ_BYTES: usize = 64 * KIB;
/// Bytes of an answer a client may leave unread before it is cut off.
pub const UNSENT_BYTES_MAX: usize = 4 * MIB;
/// Bytes of buffer a connection keeps between two writes.
pub const KEPT_BYTES_MAX: usize = 4 * KIB;
/// Events taken from the system in one turn of the loop.
pub const EVENTS_MAX: usize = 1_024;
/// Bytes of a model name.
pub const MODEL_BYTES_MAX: usize = 256;
/// Slowest and fastest `time_scale`.
pub const TIME_SCALE_RANGE: std::ops::RangeInclusive<f64> = 0.001..=100_000.0;

const _: () = assert!(SEQUENCES_MAX < STEP_TOKENS_MAX as usize, "a full batch leaves room for prefill");
const _: () = assert!(HEAD_BYTES_MAX <= AHEAD_BYTES_MAX, "a pipelined head fits what is read ahead");
