//! Every bound of the wire crate, by name.
//! Owns: numbers only, and how they relate. Must not: decide anything.
//! Read next: whichever module uses the one you came for.

const KIB: usize = 1024;

// HTTP
// ----

/// Request line, without its CRLF. RFC 9112 section 3 asks for 8,000 at least.
pub const REQUEST_LINE_BYTES_MAX: usize = 16 * KIB;
/// One field line, without its CRLF.
pub const FIELD_LINE_BYTES_MAX: usize = 16 * KIB;
/// A whole head, from the first byte to the empty line's LF.
pub const HEAD_BYTES_MAX: usize = 64 * KIB;
/// Fields in a request head.
pub const REQUEST_FIELDS_MAX: usize = 128;
/// Fields in a response head: H1-UP-13.
pub const RESPONSE_FIELDS_MAX: usize = 200;
/// Bytes of a method: H1-SY-14.
pub const METHOD_BYTES_MAX: usize = 24;
/// Names a `Connection` field may list besides the ones every head has. Each is compared with each field, so the
/// product needs a bound (SEC-DOS-03); no client known to us sends more than four.
pub const CONNECTION_OPTIONS_MAX: usize = 32;
/// Bytes of a body or a chunk that a peer may announce: H1-FR-03, and the same for H1-CH-01.
pub const ANNOUNCED_BYTES_MAX: u64 = i64::MAX as u64;
/// Digits of a Content-Length: H1-FR-03. So many nines still fit a u64.
pub const LENGTH_DIGITS_MAX: usize = 19;
/// Bytes of a request id we keep instead of making our own.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// Hex digits of a chunk size: H1-CH-01.
pub const CHUNK_SIZE_DIGITS_MAX: usize = 16;
/// Everything between a chunk size and its CRLF: H1-CH-04.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 256;
/// The same, over one message: H1-CH-04.
pub const MESSAGE_EXTENSION_BYTES_MAX: usize = 16 * KIB;
/// Framing bytes per payload byte must stay below this over `FRAMING_WINDOW_BYTES`: H1-CH-04.
pub const FRAMING_RATIO_MAX: u64 = 16;
/// See `FRAMING_RATIO_MAX`.
pub const FRAMING_WINDOW_BYTES: u64 = 64 * KIB as u64;
/// Fields in a trailer section: H1-CH-05.
pub const TRAILER_FIELDS_MAX: usize = 16;
/// Bytes of a trailer section, its last CRLF included: H1-CH-05.
pub const TRAILER_BYTES_MAX: usize = 4 * KIB;
/// What `Body::advance` may leave unconsumed while it waits for the rest of a line. A buffer must hold more.
pub const BODY_PENDING_BYTES_MAX: usize = TRAILER_BYTES_MAX;

const _: () = assert!(REQUEST_LINE_BYTES_MAX < HEAD_BYTES_MAX && FIELD_LINE_BYTES_MAX < HEAD_BYTES_MAX);
const _: () = assert!(HEAD_BYTES_MAX <= u32::MAX as usize, "offsets into a head are u32");
const _: () = assert!(CHUNK_SIZE_DIGITS_MAX + CHUNK_EXTENSION_BYTES_MAX + 2 <= BODY_PENDING_BYTES_MAX);

const MIB: usize = 1024 * KIB;

// SSE and JSON

/// Nested containers that are followed in a text that is parsed; one more is refused (SEC-JS-01).
pub const JSON_DEPTH_MAX: u32 = 128;
/// Longest `model`, after unescaping.
pub const JSON_MODEL_BYTES_MAX: usize = 256;
/// Longest key that is told from others; every key we know is shorter.
pub const JSON_KEY_BYTES_MAX: usize = 32;
/// Longest role of a message that is told from others.
pub const PROMPT_ROLE_BYTES_MAX: usize = 32;
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
/// Bytes of one event that are held to see whether it tells usage alone; a longer one does not.
pub const SSE_SIEVE_BYTES_MAX: usize = 64 * KIB;
const _: () = assert!(SSE_MEANING_DEPTH_MAX < 31, "one bit of a u32 per container, counted from 1");
const _: () = assert!(SSE_EVENT_BYTES_MAX > 64 * KIB, "a reader that skips ordinary events is useless");

/// Bytes of one framed message; those of hosted models carry one event each.
pub const FRAME_BYTES_MAX: usize = 4 * MIB;
/// Bytes of its headers: ten times what any carries.
pub const FRAME_HEADERS_BYTES_MAX: usize = 8 * KIB;
const _: () = assert!(FRAME_HEADERS_BYTES_MAX < FRAME_BYTES_MAX, "headers are a part of their message");
