//! Every bound of the control plane, with its unit in its name.
//!
//! Owns: numbers that are ours. What an operator may set lies between a `_MIN` and a `_MAX` here.
//! Must not: hold defaults; those are the contract's (`ringway_contract::snapshot`).
//! Read next: [`crate::config`], their main user.

pub mod running;

const KIB: u64 = 1_024;
const MIB: u64 = 1_024 * KIB;
const GIB: u64 = 1_024 * MIB;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

// The configuration file as a text.

/// Bytes of a configuration file: as many endpoints as allowed fit it several times over.
pub const CONFIG_BYTES_MAX: usize = 4 << 20;
/// Levels of mappings and lists inside each other; the deepest field of ours lies at 7.
pub const CONFIG_DEPTH_MAX: usize = 32;
/// Values, keys included, after aliases are written out: an alias bomb ends here.
pub const CONFIG_NODES_MAX: usize = 400_000;
/// Problems kept of one file; past a hundred the file is of another kind, not mistyped.
pub const PROBLEMS_MAX: usize = 100;
/// Columns of a source line shown in a report; a JSON file may be one line of megabytes.
pub const SNIPPET_COLUMNS_MAX: usize = 100;
/// Characters of a message, a mend or a path, whatever names of the file they repeat.
pub const MESSAGE_CHARS_MAX: usize = 400;
/// Characters of somebody's value repeated in a message.
pub const QUOTED_CHARS_MAX: usize = 60;

// Names and texts in it.

/// Bytes of the name of a backend, route or label: they become metric labels.
pub const NAME_BYTES_MAX: usize = 64;
/// Bytes of a model's name or glob; hosted fine-tunes have names past 100.
pub const MODEL_BYTES_MAX: usize = 256;
/// Bytes of what people call a model, or its maker.
pub const TITLE_BYTES_MAX: usize = 256;
/// Bytes of a path, a label's value, a glob on a header, a file name.
pub const TEXT_BYTES_MAX: usize = 1_024;
/// Bytes of a DNS name (RFC 1035 section 2.3.4).
pub const HOST_BYTES_MAX: usize = 253;
/// Bytes of one label of a DNS name (RFC 1035 section 2.3.4).
pub const HOST_LABEL_BYTES_MAX: usize = 63;
/// Bytes of an authority, `host:port`: the data plane keeps it as a name.
pub const AUTHORITY_BYTES_MAX: usize = 256;
/// Bytes of a method (H1-SY-14).
pub const METHOD_BYTES_MAX: usize = 24;
/// Bytes of a secret, read from a file or the environment.
pub const SECRET_BYTES_MAX: usize = 8 << 10;

// How many of what.

/// Listeners.
pub const LISTENERS_MAX: usize = 64;
/// Certificates of one listener.
pub const TLS_CERTIFICATES_MAX: usize = 256;
/// Backends.
pub const BACKENDS_MAX: usize = 1_024;
/// Endpoints of one backend.
pub const ENDPOINTS_MAX: usize = 4_096;
/// Endpoints of all backends together.
pub const ENDPOINTS_ALL_MAX: usize = 8_192;
/// Addresses kept of those that one name resolves to.
pub const ADDRESSES_MAX: usize = 64;
/// Routes.
pub const ROUTES_MAX: usize = 4_096;
/// Entries of the catalogue of models.
pub const CATALOGUE_MAX: usize = 4_096;
/// Targets of one route.
pub const TARGETS_MAX: usize = 64;
/// Entries of the small lists: hosts, methods, models, networks, labels.
pub const SMALL_LIST_MAX: usize = 256;
/// Tenants of a backend whose share of its queue is not 1.
pub const TENANT_WEIGHTS_MAX: usize = 1_024;

// What an operator may set.

/// Tokens of a model's context: more than any has.
pub const CONTEXT_TOKENS_MAX: u64 = 1 << 30;
/// Dollars that a million tokens may cost: more than any do.
pub const PRICE_DOLLARS_MAX: u64 = 1_000_000;
/// Shortest wait that may be set: below it scheduling noise decides.
pub const WAIT_MS_MIN: u64 = 10;
/// Shortest silence of a stream that may be set: less is traffic, not a sign of life.
pub const PULSE_MS_MIN: u64 = 1_000;
/// Longest: nothing between a caller and a server waits longer for a sign of life.
pub const PULSE_MS_MAX: u64 = 10 * 60 * 1_000;
/// Longest wait that may be set: every wait has an end.
pub const WAIT_MS_MAX: u64 = 24 * HOUR_MS;
/// Longest time to make a connection: kernels give up after about two minutes.
pub const CONNECT_MS_MAX: u64 = 2 * MINUTE_MS;
/// Shortest time between two readings or probes of one endpoint: a page of 400 KB takes a server some milliseconds.
pub const INTERVAL_MS_MIN: u64 = 50;
/// Longest time between two readings or probes of one endpoint.
pub const INTERVAL_MS_MAX: u64 = HOUR_MS;
/// Largest port.
pub const PORT_MAX: u64 = 65_535;
/// Idle connections kept per endpoint and worker.
pub const IDLE_CONNECTIONS_MAX: u64 = 65_536;
/// Prompt tokens an endpoint computes a second.
pub const TOKENS_PER_S_MAX: u64 = 100_000_000;
/// Tokens of an endpoint's KV cache.
pub const KV_TOKENS_MAX: u64 = 1_000_000_000;
/// How often a missed token may count.
pub const SCORE_MISS_MAX: u64 = 100;
/// How long the token of a session holds: a day at most, since what it names is in a cache.
pub const SESSION_MS_MAX: u64 = 86_400_000;
/// And a second at least.
pub const SESSION_MS_MIN: u64 = 1_000;
/// Bytes of a key for tokens: what is shorter can be found by trying.
pub const SESSION_KEY_BYTES_MIN: usize = 16;
/// LoRA adapters that one endpoint holds at the same time; the data plane keeps track of no more.
pub const LORA_SLOTS_MAX: u64 = 128;
/// Weight of a part of the score.
pub const SCORE_MS_MAX: u64 = 60_000;
/// Gateways that send to the same endpoints.
pub const GATEWAYS_MAX: u64 = 1_000;
/// Tokens that an image counts as.
pub const MEDIA_TOKENS_MAX: u64 = 1_000_000;
/// Requests that may wait in front of a backend.
pub const QUEUE_MAX: u64 = 65_536;
/// Bytes of their bodies.
pub const QUEUE_BYTES_MAX: u64 = 1_024 * GIB;
/// Least share of a KV cache that may close an endpoint: below it hardly a prompt fits.
pub const KV_LIMIT_PERCENT_MIN: u32 = 10;
/// Fallbacks of one route.
pub const FALLBACKS_MAX: usize = 8;
/// Weight of an endpoint or a target.
pub const WEIGHT_MAX: u64 = 1_000;
/// Attempts of one exchange: two more than the first (spec faults.md section 4).
pub const ATTEMPTS_MAX: u64 = 3;
/// Smallest bound on a request head (RFC 9112 section 3 asks for 8,000 bytes of request line alone).
pub const REQUEST_HEAD_BYTES_MIN: u64 = 8 * KIB;
/// Largest bound on a request head: the data plane parses a head inside one buffer of this size.
pub const REQUEST_HEAD_BYTES_MAX: u64 = 64 * KIB;
/// Smallest bound on a request body.
pub const REQUEST_BODY_BYTES_MIN: u64 = KIB;
/// Largest bound on a request body.
pub const REQUEST_BODY_BYTES_MAX: u64 = 64 * GIB;
/// Largest bound on downstream connections.
pub const CONNECTIONS_MAX: u64 = 10_000_000;

const _: () = assert!(WAIT_MS_MIN < CONNECT_MS_MAX && CONNECT_MS_MAX < WAIT_MS_MAX);
const _: () = assert!(2 * QUOTED_CHARS_MAX < MESSAGE_CHARS_MAX, "two values fit a message");
const _: () = assert!(ENDPOINTS_MAX <= ENDPOINTS_ALL_MAX && HOST_BYTES_MAX < AUTHORITY_BYTES_MAX);
const _: () = assert!(NAME_BYTES_MAX <= MODEL_BYTES_MAX && MODEL_BYTES_MAX <= TEXT_BYTES_MAX);
const _: () = assert!(
    BACKENDS_MAX + ROUTES_MAX * 8 < CONFIG_NODES_MAX,
    "as many backends and routes as allowed fit the file"
);
