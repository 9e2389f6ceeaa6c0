//! What the data plane tells about itself: `GET /v1/stats`, `POST /v1/load`, `GET /v1/events`.

use serde::{Deserialize, Serialize};

use crate::numbers::Generation;

/// The body of `GET /v1/stats`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Version of the program.
    pub version: String,
    /// Snapshot that all workers run.
    pub generation: Generation,
    /// Seconds since start.
    pub uptime_s: f64,
    /// True once a drain began.
    pub draining: bool,
    /// One per worker, in order.
    pub workers: Vec<WorkerStats>,
    /// One per endpoint, in snapshot order.
    pub endpoints: Vec<EndpointStats>,
}

/// One worker, as `GET /v1/stats` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStats {
    /// Its number, from 0.
    pub worker: u32,
    /// `uring-defer`, `uring-coop`, `uring` or `epoll`.
    pub io: String,
    /// Snapshot it runs.
    pub generation: Generation,
    /// Downstream connections now.
    pub connections: u64,
    /// Exchanges in flight now.
    pub exchanges: u64,
    /// Exchanges ended since start.
    pub exchanges_total: u64,
    /// Idle upstream connections now.
    pub upstream_idle: u64,
    /// Upstream connections in use now.
    pub upstream_active: u64,
}

/// One endpoint, as `GET /v1/stats` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointStats {
    /// Name of its backend.
    pub backend: String,
    /// Its authority.
    pub endpoint: String,
    /// Resolved addresses.
    pub addresses: Vec<std::net::SocketAddr>,
    /// Takes no new requests.
    pub drained: bool,
    /// Attempts in flight now, all workers.
    pub in_flight: u64,
    /// Attempts since this process first saw it.
    pub attempts_total: u64,
    /// Attempts that failed, the upstream being to blame.
    pub failures_total: u64,
}

/// The answer to `PUT /v1/snapshot` when all workers run it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The generation now running.
    pub generation: Generation,
    /// How many workers run it: all.
    pub workers: u32,
}

/// The body of any other refusal of the control socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlError {
    /// What went wrong and how to mend it.
    pub error: String,
}

/// `POST /v1/drain`: the whole process, or one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// `backend/authority`; none: the whole process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Puts the endpoint back instead.
    #[serde(default)]
    pub undo: bool,
}
