//! Every bound of the dialect crate, by name.
//! Owns: numbers only, and how they relate. Must not: decide anything.
//! Read next: whichever module uses the one you came for.

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

// JSON

/// Nested containers in a text.
pub const JSON_DEPTH_MAX: usize = 128;
/// Values and keys in a text. A node takes 20 bytes, so a text of short values costs ten times its own size at worst.
pub const JSON_NODES_MAX: usize = 4 * MIB;
/// Bytes of a text: a request body of 32 MiB, or an answer of 64 MiB that is no stream.
pub const JSON_TEXT_BYTES_MAX: usize = 64 * MIB;

const _: () = assert!(JSON_TEXT_BYTES_MAX < u32::MAX as usize, "offsets into a text are u32");
const _: () = assert!(JSON_NODES_MAX < u32::MAX as usize, "so are nodes");

// Requests

/// Keys at the top of a request.
pub const REQUEST_KEYS_MAX: usize = 256;
/// Messages, contents or items of a request.
pub const REQUEST_ITEMS_MAX: usize = 100_000;
/// Parts of one message.
pub const ITEM_PARTS_MAX: usize = 10_000;
/// Tools of a request.
pub const REQUEST_TOOLS_MAX: usize = 4_096;

// Losses

/// Bytes of the header that lists what was lost; what does not fit is counted in its last member.
pub const LOSS_HEADER_BYTES_MAX: usize = 2 * KIB;
/// Room kept for that last member.
pub const LOSS_MORE_BYTES_MAX: usize = 24;
/// Bytes of one pointer in it; a longer one is cut to its beginning.
pub const LOSS_POINTER_BYTES_MAX: usize = 256;

const _: () = assert!(LOSS_POINTER_BYTES_MAX * 2 + 64 + LOSS_MORE_BYTES_MAX < LOSS_HEADER_BYTES_MAX);

// Errors

/// Bytes of an upstream's error text that are passed on.
pub const ERROR_TEXT_BYTES_MAX: usize = 4 * KIB;

// Streams

/// Bytes of one upstream event.
pub const EVENT_BYTES_MAX: usize = 16 * MIB;
/// Bytes of an event's name; a longer one is no name we know.
pub const EVENT_NAME_BYTES_MAX: usize = 64;
/// Blocks of one stream, over all choices.
pub const STREAM_BLOCKS_MAX: usize = 4_096;
/// Choices of one stream.
pub const STREAM_CHOICES_MAX: usize = 128;
/// Bytes of one call's arguments that are held until the call is whole.
pub const ARGUMENT_BYTES_MAX: usize = 8 * MIB;
/// Bytes a stream holds back in all, for whatever its grammar wants in another order.
pub const HELD_BYTES_MAX: usize = 16 * MIB;

const _: () = assert!(ARGUMENT_BYTES_MAX <= HELD_BYTES_MAX, "one call may be held whole");
