//! Every bound of this crate, each with its reason.
//! Owns: the numbers. Must not: hold code.
//! Read next: the module that a heading names.

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

// SSE and JSON

/// Nested containers that are followed in a text that is parsed; one more is refused (SEC-JS-01).
pub const JSON_DEPTH_MAX: u32 = 128;
/// Longest `model`, after unescaping.
pub const JSON_MODEL_BYTES_MAX: usize = 256;
/// Longest key that is told from others; every key we know is shorter.
pub const JSON_KEY_BYTES_MAX: usize = 32;
/// Longest number text that is read as an integer; a longer one is checked but has no value for us.
pub const JSON_NUMBER_BYTES_MAX: usize = 40;

/// Largest event the reader hands out. A larger one is skipped and counted, never buffered.
pub const SSE_EVENT_BYTES_MAX: usize = 4 * MIB;
/// Longest event name or `type` that the observer tells from others.
pub const SSE_NAME_BYTES_MAX: usize = 64;
/// Containers whose meaning the observer follows; deeper ones are only checked.
pub const SSE_MEANING_DEPTH_MAX: usize = 12;
/// Events after which a stream of unknown shape is no longer looked into.
pub const SSE_DETECT_EVENTS_MAX: u32 = 8;

const _: () = assert!(JSON_DEPTH_MAX <= u128::BITS, "one bit per open container");
const _: () = assert!(SSE_MEANING_DEPTH_MAX < 31, "one bit of a u32 per container, counted from 1");
const _: () = assert!(SSE_EVENT_BYTES_MAX > 64 * KIB, "a reader that skips ordinary events is useless");
