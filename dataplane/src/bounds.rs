//! Every bound of the data plane, in one place. A *limit* is a tenant's or an operator's; a *bound* is ours.
//!
//! Owns: the numbers, and the compile-time checks of how they relate.
//! Must not: hold anything an operator may change; that is in the snapshot.
//! Read next: [`crate::table`], which refuses a snapshot that goes over them.

/// Bytes in a KiB.
pub const KIB: usize = 1_024;
/// Bytes in a MiB.
pub const MIB: usize = 1_024 * KIB;

// ---- names -------------------------------------------------------------------------------------------------

/// Distinct names the process keeps for ever (they are leaked); later ones share the name `other`.
pub const NAMES_MAX: usize = 16_384;
/// Bytes of a route's or backend's name, and of an endpoint's authority.
pub const NAME_BYTES_MAX: usize = 256;
/// Bytes of an endpoint's name: `backend/authority`.
pub const ENDPOINT_NAME_BYTES_MAX: usize = 2 * NAME_BYTES_MAX + 1;

// ---- table -------------------------------------------------------------------------------------------------

/// Listeners of a snapshot.
pub const LISTENERS_MAX: usize = 64;
/// Backends of a snapshot.
pub const BACKENDS_MAX: usize = 4_096;
/// Endpoints of a snapshot, all backends together.
pub const ENDPOINTS_MAX: usize = 8_192;
/// Addresses of one endpoint.
pub const ADDRESSES_MAX: usize = 64;
/// Models one backend names.
pub const MODELS_MAX: usize = 4_096;
/// Models on offer, counted once for each route that offers them.
pub const OFFERS_MAX: usize = 1 << 20;
/// Largest window of a zstd body, as a power of two: 8 MiB, what RFC 8878 section 3.1.1.1.2 asks decoders to take.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Entries of the catalogue of models.
pub const CATALOGUE_MAX: usize = 4_096;
/// Bytes of what people call a model, or its maker.
pub const TITLE_BYTES_MAX: usize = 256;
/// Routes of a snapshot.
pub const ROUTES_MAX: usize = 65_536;
/// Targets of one route.
pub const TARGETS_MAX: usize = 64;
/// Values of one condition of a route.
pub const CONDITION_VALUES_MAX: usize = 1_024;
/// Bytes of a path or prefix of a route, and of a base path.
pub const PATH_BYTES_MAX: usize = 2 * KIB;
/// Bytes of a model's name or glob. A longer name in a request matches no glob.
pub const MODEL_BYTES_MAX: usize = 256;
/// Bytes of a glob on a field value.
pub const VALUE_GLOB_BYTES_MAX: usize = KIB;
/// Bytes of a host name (RFC 1035 section 2.3.4). A longer one in a request matches no condition.
pub const HOST_BYTES_MAX: usize = 255;
/// Bytes of a method (H1-SY-14).
pub const METHOD_BYTES_MAX: usize = 24;
/// Bytes of a credential's value.
pub const CREDENTIAL_BYTES_MAX: usize = 16 * KIB;
/// Any timeout: a day. Longer ones are a slip of a unit.
pub const TIMEOUT_MS_MAX: u64 = 86_400_000;
/// Weight of one endpoint.
pub const ENDPOINT_WEIGHT_MAX: u32 = 1_000;
/// Weight of one target.
pub const TARGET_WEIGHT_MAX: u32 = 1_000_000;
/// Idle connections kept per endpoint and worker.
pub const IDLE_CONNECTIONS_MAX: u32 = 65_536;
/// Bytes of a request head that the operator may ask for: a head fits one buffer.
pub const HEAD_BYTES_MAX: usize = 64 * KIB;
/// The smallest request head that may be asked for (RFC 9112 section 3 asks for 8,000 bytes of request line).
pub const HEAD_BYTES_MIN: usize = 8 * KIB;
/// Bytes of a request body that the operator may ask for.
pub const BODY_BYTES_MAX: u64 = 1 << 40;
/// Problems reported of one snapshot; the rest is counted.
pub const PROBLEMS_MAX: usize = 256;

// ---- cells -------------------------------------------------------------------------------------------------

/// Load cells kept although no table holds them; beyond it they are forgotten at the next reload.
pub const CELLS_MAX: usize = 2 * ENDPOINTS_MAX;
/// Lives of an endpoint that may have leases at once: its server started again while answers of before are unfinished.
pub const LIVES_MAX: usize = 4;
/// A restart that we noticed ourselves explains a report's new generation for so long.
pub const RESTART_NOTICED_MS: u64 = 5_000;
/// A report older than this is not believed. At one a second a sound one gets to be 1.1 s old before the next is in.
pub const REPORT_AGE_MS_MAX: u64 = 1_250;
/// How long an endpoint that is new, or came back, is given less than others.
pub const WARM_UP_S: f32 = 30.0;
/// How often a report is read again because it changed meanwhile.
pub const REPORT_READS_MAX: usize = 4;
/// Tokens of a stream that are counted before the cell is told.
pub const TOKENS_BATCH: u32 = 16;

// ---- balance -----------------------------------------------------------------------------------------------

/// Endpoints of which all are scored for each request; of more a few.
pub const SCANNED_MAX: usize = 64;
/// Of those few, the ones with the longest match.
pub const CANDIDATES_PREFIX_MAX: usize = 4;
/// And the ones that are drawn.
pub const CANDIDATES_RANDOM_MAX: usize = 8;
/// The fullest that a KV cache counts as: beyond it `k/(1 - k)` says nothing.
pub const KV_SHARE_MAX: f32 = 0.98;
/// And the ones that have the LoRA adapter that is asked for.
pub const CANDIDATES_ADAPTER_MAX: usize = 4;
/// LoRA adapters that are kept track of on one endpoint: engines hold a few, and all of them are looked at for a choice.
pub const ADAPTER_SLOTS_MAX: usize = 128;
/// An adapter that was used so long ago is not known to be in memory any more (routing section 9).
pub const ADAPTER_USED_MS_MAX: u64 = 60_000;
/// Bytes of an adapter's name that are shown: with [`ADAPTER_SLOTS_MAX`] of them, 12 KiB an endpoint.
pub const ADAPTER_LABEL_BYTES_MAX: usize = 80;
/// Prompt tokens a second of an endpoint of which nothing is known.
pub const PREFILL_TOKENS_PER_S: f32 = 10_000.0;
/// Points of an endpoint of middle weight on the ring of `balance: hash`.
pub const RING_POINTS_PER_ENDPOINT: usize = 256;
/// Points of all endpoints of one ring, unless there are more endpoints.
pub const RING_POINTS_MAX: usize = 1 << 18;
/// Blocks from which `balance: hash` takes a prompt's beginning: 6 KiB, about three blocks of a trace.
pub const HASHED_BLOCKS_MAX: usize = 24;
/// Bytes of a request's body that are held for its prompt; of a longer one the rest is not looked at.
pub const PROMPT_BODY_BYTES_MAX: u64 = 4 * MIB as u64;
/// Bytes of an answer in one piece that is translated: the dialects' bound on a JSON text.
pub const TRANSLATED_ANSWER_BYTES_MAX: usize = 64 * MIB;
/// Bytes of an error that is translated; a longer one is told by its status.
pub const TRANSLATED_ERROR_BYTES_MAX: usize = 256 * KIB;
/// Bytes of prompt to a token before usage tells.
pub const BYTES_PER_TOKEN: f32 = 4.0;
/// The fewest that are believed.
pub const BYTES_PER_TOKEN_MIN: f32 = 1.5;
/// The most.
pub const BYTES_PER_TOKEN_MAX: f32 = 8.0;
/// Tokens of a KV cache of unknown size, for the length of its index.
pub const KV_TOKENS_UNKNOWN: u64 = 426_000;
/// Bytes of a block of the prefix index.
pub const BLOCK_BYTES: usize = 256;
/// Blocks of one prompt that are indexed; the rest of a longer one counts as missed.
pub const BLOCKS_MAX: usize = 2_048;
/// Answers after which it is judged whether an endpoint's cache holds what the index says.
pub const PROMISED_ANSWERS: u32 = 32;
/// Blocks that are indexed under one lock.
pub const INSERT_BATCH_BLOCKS: usize = 64;
/// Blocks of one endpoint that are indexed: 4.2 million tokens at 4 bytes. Links between them are 16 bits wide.
pub const BLOCKS_PER_ENDPOINT_MAX: usize = 65_534;

const _: () = assert!(BLOCKS_MAX <= u16::MAX as usize, "lengths of matches are 16 bits wide");

// ---- attempts ----------------------------------------------------------------------------------------------

/// Attempts of one exchange.
pub const ATTEMPTS_MAX: usize = 3;
/// Span over which the retry budget counts requests.
pub const RETRY_WINDOW_MS: u64 = 10_000;
/// Retries a second that the budget allows whatever the traffic.
pub const RETRY_FLOOR_PER_S: u64 = 3;

/// Heads that a route has to have seen before their 95th percentile says anything.
pub const HEDGE_SAMPLES_MIN: u32 = 32;
/// Then all counts are halved: what is long ago fades.
pub const HEDGE_SAMPLES_MAX: u32 = 1_024;
/// The least that the 95th percentile counts for (routing section 7): fast servers are not worth a second attempt.
pub const HEDGE_P95_MS_MIN: u64 = 1_000;

// ---- admission ---------------------------------------------------------------------------------------------

/// The shortest wait that a refused caller is told (routing section 6).
pub const RETRY_AFTER_S_MIN: u64 = 1;
/// The longest: official clients do as they are told up to a minute, and come back at once where it is more.
pub const RETRY_AFTER_S_MAX: u64 = 60;
/// Places in one queue that the operator may ask for.
pub const QUEUE_MAX: u64 = 65_536;
/// Bytes in one queue that the operator may ask for.
pub const QUEUE_BYTES_MAX: u64 = 1 << 40;
/// How often one request may be let go in vain: each time another was faster at the endpoint it was let go for.
pub const GRANTS_MAX: usize = 16;
/// An endpoint that reports itself full is believed for so long while nothing of ours is there: then its report is taken
/// for a lie, and ignored until it changes.
pub const SHUT_US_MAX: u64 = 1_000_000;
/// A measured pace counts down to this share of what the endpoints say they compute. Under a lasting overload short prompts
/// go first, so the pace is theirs and the refused tokens are others': at a hundredth callers were told 20 s where all
/// before them were served or refused within two (evaluate S8d: median error 10; at this 0.5).
pub const PACE_SHARE_MIN: f64 = 0.75;
/// Promises of a place that one queue remembers: a minute's refusals at 30 a second. Whoever is refused beyond them is told
/// when to come back all the same, and then waits like everybody.
pub const PROMISES_MAX: usize = 2_048;
/// How early a caller may come back and still have its place: clocks and timers differ.
pub const PROMISE_EARLY_US: u64 = 500_000;
/// How late: it waits for its own timer and for the network.
pub const PROMISE_LATE_US: u64 = 2_000_000;
/// How long before it is due room is kept for it: a long prompt needs memory that many others have to give back first. Longer
/// keeps more promises and leaves more memory empty (evaluate S8d, three times the load: at 0 s 0.79 of those that came back
/// were taken and goodput was 0.88, at 2 s 0.92 and 0.84, at 3 s 0.94 and 0.82).
pub const PROMISE_LEAD_US: u64 = 2_000_000;
/// Promises that room is kept for at a time (S8d: at 4 0.91 were taken, at 8 0.92, at 16 0.93 for a point of goodput).
pub const PROMISES_HELD_MAX: usize = 8;
/// How much longer than the promises before it take a caller is told to stay away: who comes a little late finds room, who comes
/// early is refused again (S8d, ten seconds of three times the capacity: at 1 0.89 were taken, at 1.5 0.95, at 2 0.97).
pub const PROMISE_SLACK: f64 = 1.5;
/// How often queues are looked after while somebody waits.
pub const QUEUE_BEAT_MS: u64 = 10;
/// Whoever waits when a drain is this close to its end is told that the process ends.
pub const DRAIN_LAST_WORD_MS: u64 = 1_000;
/// Backends that a route may fall back to.
pub const FALLBACKS_MAX: usize = 8;
/// Tenants a queue remembers beside those that wait: what it forgets is who was served most.
pub const QUEUE_LANES_MAX: usize = 4_096;
/// Tenants of a backend whose share of its queue is not 1.
pub const TENANT_WEIGHTS_MAX: usize = 1_024;
/// The share of one of them.
pub const TENANT_WEIGHT_MAX: u32 = 1_000;

// ---- health ------------------------------------------------------------------------------------------------

/// Errors in a row that raise suspicion.
pub const DOUBT_ERRORS: u32 = 3;
/// Errors in a row that open the circuit.
pub const TRIP_ERRORS: u32 = 5;
/// Probes in a row that open it.
pub const TRIP_PROBES: u32 = 3;
/// The span over which the share of errors is looked at; half of the requests open the circuit.
pub const ERROR_WINDOW_MS: u64 = 10_000;
/// Requests in that span below which the share says nothing.
pub const ERROR_REQUESTS_MIN: u32 = 20;
/// Time without an error after which a suspect is well again.
pub const SOUND_MS: u64 = 5_000;
/// How long a circuit stays open at first.
pub const CIRCUIT_PAUSE_MS: u64 = 5_000;
/// How often that doubles.
pub const CIRCUIT_PAUSES_DOUBLED_MAX: u32 = 4;
/// Requests that a half-open circuit lets through at once.
pub const HALF_OPEN_MAX: u32 = 2;
/// Of them, how many in a row have to go well to close it.
pub const HALF_OPEN_SUCCESSES: u32 = 3;
/// An endpoint that answered nobody for so long and then is too slow is sick, not busy.
pub const SILENT_MS: u64 = 30_000;
/// The longest that an endpoint may ask to be left alone.
pub const REST_MS_MAX: u64 = 60_000;

const _: () =
    assert!(ENDPOINTS_MAX + BACKENDS_MAX < NAMES_MAX, "endpoints and backends have names of their own");
const _: () = assert!(
    ENDPOINTS_MAX as u64 * ENDPOINT_WEIGHT_MAX as u64 <= u32::MAX as u64,
    "the weights of a backend add up in u32"
);
const _: () = assert!(
    TARGETS_MAX as u64 * TARGET_WEIGHT_MAX as u64 <= u32::MAX as u64,
    "the weights of a route add up in u32"
);

// ---- buffers -----------------------------------------------------------------------------------------------

/// A tiny buffer: the events of a stream, and the watch for its caller's leaving. Two of them live as long as a stream.
pub const BUFFER_TINY_BYTES: usize = KIB;
/// A small buffer: most request heads, small bodies.
pub const BUFFER_SMALL_BYTES: usize = 8 * KIB;
/// A large buffer: any head, and large bodies, which cost a receive and a send per buffer.
pub const BUFFER_LARGE_BYTES: usize = 128 * KIB;
/// Free buffers a worker keeps for later, both sizes together.
pub const BUFFERS_KEPT_BYTES_MAX: usize = 64 * MIB;
/// Buffers in use per worker; beyond it new exchanges are refused (CP-16).
pub const BUFFER_BYTES_MAX: usize = 512 * MIB;
/// Head and body are copied into one send up to this; above it the body's own buffers are sent. Measured on monoio:
/// a second send costs more than copying 16 KiB.
pub const COPIED_BYTES_MAX: usize = 32 * KIB;
/// A send buffer that grew beyond this is not kept for others.
pub const OUT_KEPT_BYTES_MAX: usize = 2 * COPIED_BYTES_MAX;
/// Desks kept per worker, some 4 KiB each, and scanners.
pub const DESKS_KEPT_MAX: usize = 256;

// ---- connections -------------------------------------------------------------------------------------------

/// Exchanges in flight per worker.
pub const EXCHANGES_MAX: usize = 16_384;
/// Bytes taken ahead of an answer that is under way (H1-CO-05).
pub const READ_AHEAD_BYTES_MAX: usize = 16 * KIB;
/// Receives in a row that fill their buffer before others get their turn: half a MiB, some 100 us.
pub const RECEIVES_AT_ONCE_MAX: u8 = 4;
/// How long we wait for the caller to close after our last byte.
pub const LINGER_MS_MAX: u64 = 1_000;
/// How much of what it still sends we take meanwhile.
pub const LINGER_BYTES_MAX: usize = 256 * KIB;
/// A request body must come at this rate, averaged over the window (CF-08).
pub const BODY_PACE_BYTES_PER_S_MIN: u64 = KIB as u64;
/// See [`BODY_PACE_BYTES_PER_S_MIN`]; only time spent waiting for the caller counts.
pub const BODY_PACE_WINDOW_MS: u64 = 10_000;
/// Idle connections are left alone for so long when a drain begins: a request may be under way on each.
pub const DRAIN_GRACE_MS: u64 = 2_000;
/// Length of the accept queue asked for; the kernel caps it at net.core.somaxconn.
pub const BACKLOG: i32 = 4_096;
/// Accepts that wait on each listener of a worker with a ring.
pub const ACCEPTS_IN_FLIGHT: usize = 8;
/// How long a snapshot waits for an address to become free.
pub const BIND_WAIT_MS_MAX: u64 = 500;
/// How often it looks.
pub const BIND_WAIT_STEP_MS: u64 = 10;
/// Pause after an accept that failed for want of descriptors.
pub const ACCEPT_PAUSE_MS: u64 = 50;
/// A worker may have so many connections more than the emptiest before it hands one over: hashing alone is within it for few.
pub const SPREAD_SLACK: u64 = 4;
/// Or so large a part of the emptiest one's more: hashing alone is within an eighth from some hundreds on.
pub const SPREAD_PART: u64 = 8;
/// Others that a worker looks at for that: each is a cache line that its owner writes.
pub const SPREAD_LOOKS_MAX: usize = 8;
/// Interim heads of one answer (H1-UP-08).
pub const INTERIM_HEADS_MAX: usize = 16;
/// Bytes of a request id.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

// ---- TLS ---------------------------------------------------------------------------------------------------

/// Certificates of one listener.
pub const TLS_CERTIFICATES_MAX: usize = 256;
/// Bytes of a file with certificates or a key: the lists of authorities of systems have some 250 KiB.
pub const TLS_FILE_BYTES_MAX: u64 = 4 * MIB as u64;
/// Authorities of one file.
pub const TLS_AUTHORITIES_MAX: usize = 4_096;
/// Bytes of a certificate with those that it is signed with: each full handshake sends them.
pub const TLS_CHAIN_BYTES_MAX: usize = 64 * KIB;
/// Sessions with servers that a backend keeps for taking up again, by name of the server.
pub const TLS_SESSIONS_MAX: usize = 256;
/// Handshakes with callers under way per worker: each holds buffers and will cost a millisecond or so.
pub const TLS_HANDSHAKES_MAX: u64 = 1_024;
/// Bytes that are encrypted in one step: what the socket does not take is kept, so it is not more.
pub const TLS_PLAIN_BYTES: usize = 64 * KIB;
/// Bytes they become: four records, and what rustls may send before them.
pub const TLS_SEALED_BYTES: usize = TLS_PLAIN_BYTES + 4 * KIB;
/// The longest record on the wire (RFC 8446 section 5.2, RFC 5246 section 6.2.3).
pub const TLS_RECORD_BYTES_MAX: usize = 5 + 16 * KIB + 2 * KIB;

// ---- time --------------------------------------------------------------------------------------------------

/// A worker's tick: the grain of every deadline.
pub const TICK_MS: u64 = 100;
/// Slots of the deadline wheel: 51 s in one turn, longer waits go round.
pub const WHEEL_SLOTS: usize = 512;
/// How often idle upstream connections are looked at.
pub const SWEEP_MS: u64 = 500;
/// How long a snapshot may take to reach every worker.
pub const APPLY_MS_MAX: u64 = 5_000;
/// A worker without a tick for so long makes the process not ready (CP-18).
pub const HEARTBEAT_LATE_MS: u64 = 2_000;
/// And for so long ends it.
pub const HEARTBEAT_DEAD_MS: u64 = 10_000;

// ---- load reports ------------------------------------------------------------------------------------------

/// Bytes of an `endpoint-load-metrics` field.
pub const ORCA_BYTES_MAX: usize = 4 * KIB;
/// Values in one.
pub const ORCA_PAIRS_MAX: usize = 32;

// ---- traces ------------------------------------------------------------------------------------------------

/// Traces kept for whoever looks, and as many that nobody has looked at yet.
pub const TRACES_KEPT_MAX: usize = 256;
/// Steps of one: each attempt has three at most, and a grant in vain two.
pub const TRACE_STEPS_MAX: usize = 32;
/// Endpoints in one, all choices together. At some 400 bytes each, all traces stay below 32 MiB.
pub const TRACE_CANDIDATES_MAX: usize = 128;

// ---- process -----------------------------------------------------------------------------------------------

/// Worker threads.
pub const WORKERS_MAX: usize = 1_024;
/// Unread messages of a worker.
pub const MESSAGES_MAX: usize = 4_096;
/// Submission queue of a ring: 256 was up to 6 % worse at 500 connections, 4096 no better.
pub const RING_ENTRIES: u32 = 1_024;
/// Completion queue of a ring.
pub const RING_COMPLETIONS: u32 = 8_192;

const _: () = assert!(HEAD_BYTES_MAX <= BUFFER_LARGE_BYTES, "a head fits one buffer: parsing never stitches");
const _: () = assert!(
    READ_AHEAD_BYTES_MAX + 2 * BUFFER_SMALL_BYTES <= BUFFER_LARGE_BYTES,
    "what was read ahead, and one read more, fits one buffer"
);
const _: () =
    assert!(BUFFERS_KEPT_BYTES_MAX <= BUFFER_BYTES_MAX, "what is kept is less than what may be used");
const _: () = assert!(
    TLS_SEALED_BYTES < BUFFER_LARGE_BYTES && 2 * TLS_RECORD_BYTES_MAX < BUFFER_LARGE_BYTES,
    "what a socket does not take, and a record behind the rest of another, fit a buffer"
);
