//! What the data plane tells about itself: `GET /v1/stats`, `GET /v1/events`.

use serde::{Deserialize, Serialize};

use crate::load::Probe;
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
    /// How often more load was given back than taken: must stay 0.
    #[serde(default)]
    pub load_underflow_total: u64,
    /// One per endpoint, in snapshot order.
    pub endpoints: Vec<EndpointStats>,
    /// One per backend that has a queue, in snapshot order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<QueueStats>,
    /// One per backend whose credential ends, in snapshot order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<CredentialStats>,
    /// Where the time of exchanges went, all of them since start.
    #[serde(default)]
    pub times: Times,
}

/// Where the time of exchanges went. Each grows; two looks make a rate and an average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// What the gateway itself added: waiting neither for the upstream nor for the caller.
    pub own: Timed,
    /// To the first byte of the answer.
    pub first_byte: Timed,
    /// To the first token.
    pub first_token: Timed,
    /// To the end.
    pub total: Timed,
}

/// Spans added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// How many.
    pub count: u64,
    /// All together, in microseconds.
    pub sum_us: u64,
}

/// The queue of one backend, as `GET /v1/stats` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueStats {
    /// Name of the backend.
    pub backend: String,
    /// Requests that wait now: interactive, default, batch.
    pub waiting: [u32; 3],
    /// For how long the oldest of each class has waited, in seconds.
    #[serde(default)]
    pub oldest_s: [Option<f64>; 3],
    /// Endpoints that are open: while there is none, whoever comes waits.
    #[serde(default)]
    pub open: u32,
    /// Endpoints that may be open at all: neither drained nor shut out by their health.
    #[serde(default)]
    pub eligible: u32,
    /// Seconds until all that waits, here and there, is predicted to be worked off; none: nobody is there to do it.
    #[serde(default)]
    pub drain_s: Option<f64>,
    /// Bytes of body held for them.
    pub bytes: u64,
    /// Requests that went after a wait, since start.
    pub granted_total: u64,
    /// Requests that were refused, by why, since start.
    pub refused_total: Vec<(String, u64)>,
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

/// A credential that ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialStats {
    /// Name of its backend.
    pub backend: String,
    /// When, in seconds since 1970.
    pub until_s: u64,
}

/// One endpoint, as `GET /v1/stats` shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// What `balance: gpu` reckons of it; none with other policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// `ok`, `warm`, `suspect`, `open`, `half_open` or `drain`.
    #[serde(default)]
    pub state: String,
    /// How the last active probe went, if there was one.
    #[serde(default)]
    pub probe: Option<Probe>,
    /// What it last said of itself, whatever its age.
    #[serde(default)]
    pub reported: Option<Reported>,
    /// What we count of our own requests there.
    #[serde(default)]
    pub own: Own,
    /// What its answers brought, since this process first saw it.
    #[serde(default)]
    pub answers: Answers,
    /// The LoRA adapters that it is taken to have in memory; none where its backend names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapters: Option<Adapters>,
}

/// LoRA adapters in the memory of an endpoint, by its reports and what it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapters {
    /// The last used one first. Long names are cut.
    pub resident: Vec<String>,
    /// How many it holds at the same time.
    pub slots: u32,
}

/// What `balance: gpu` reckons of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Share of its KV cache in use, by our counts and fresh reports.
    pub kv: f64,
    /// Average gap between two tokens of its streams.
    pub token_gap_ms: Option<f64>,
    /// Blocks of prompts that are thought to be in its cache.
    pub cached_blocks: u64,
    /// A report of it is at most a second old.
    pub report_fresh: bool,
}

/// What the gateway counts of its own requests in flight at an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// Of those, the ones that were not expected in its cache.
    pub missed_tokens: u64,
    /// Of those, the ones still to be computed: no first token came yet.
    pub uncached_tokens: u64,
    /// Tokens produced so far.
    pub generated_tokens: u64,
    /// How often its server started again.
    pub restarts: u32,
}

/// What an endpoint last said of itself. None: it does not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reported {
    /// Requests it works on.
    pub running: Option<u32>,
    /// Requests that wait in it.
    pub waiting: Option<u32>,
    /// Share of its KV cache in use, 0 to 1.
    pub kv: Option<f64>,
    /// Tokens that wait to be computed.
    pub uncached_waiting: Option<u64>,
    /// Tokens that its KV cache holds.
    pub capacity: Option<u64>,
    /// Adapters in use.
    pub adapters: Vec<String>,
    /// The life of its server.
    pub generation: u64,
    /// How old that is. Past a second it counts no more.
    pub age_s: f64,
}

/// What the answers of an endpoint brought. Each grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// Answers whose first token was seen.
    pub first_tokens: u64,
    /// From their requests to their first tokens, in microseconds, all together.
    pub first_token_us: u64,
    /// Tokens of prompts, where it tells.
    pub tokens_in: u64,
    /// Tokens produced, where it tells.
    pub tokens_out: u64,
    /// Tokens of prompts that it had cached, where it tells.
    pub tokens_cached: u64,
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
