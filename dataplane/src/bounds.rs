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

// ---- attempts ----------------------------------------------------------------------------------------------

/// Attempts of one exchange.
pub const ATTEMPTS_MAX: usize = 3;
/// Span over which the retry budget counts requests.
pub const RETRY_WINDOW_MS: u64 = 10_000;
/// Retries a second that the budget allows whatever the traffic.
pub const RETRY_FLOOR_PER_S: u64 = 3;

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
