//! What the control plane learns of endpoints: `POST /v1/load`.
//!
//! Reports only ever add to what the data plane counts itself; one that is lost, late or wrong costs nothing but
//! precision. What an endpoint does not say is absent, and absent is not zero.

use serde::{Deserialize, Serialize};

/// The body of `POST /v1/load`: the latest of each endpoint that was looked at since the last message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadReport {
    /// At most one per endpoint.
    pub endpoints: Vec<EndpointLoad>,
}

/// What is known of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointLoad {
    /// `backend/authority`.
    pub endpoint: String,
    /// Only grows; an older one is dropped.
    pub seq: u64,
    /// The life of its server: another one, and it started again. Only grows, from 1.
    pub generation: u64,
    /// When the values were true: nanoseconds of `CLOCK_MONOTONIC`, which both planes share.
    pub taken_at_ns: u64,
    /// Requests it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<u32>,
    /// Requests that wait in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u32>,
    /// Share of its KV cache in use, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv: Option<f64>,
    /// Tokens that wait to be computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncached_waiting: Option<u64>,
    /// Tokens that its KV cache holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// Adapters in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapters: Option<ReportedAdapters>,
    /// How the last active probe went, if there was one since the last message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

/// What an engine says of its LoRA adapters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportedAdapters {
    /// Those in use.
    pub named: Vec<String>,
    /// How many it can hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
}

/// How an active probe went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// It says that it is well.
    Passed,
    /// It says that it is not, or says nothing.
    Failed,
}

impl EndpointLoad {
    /// Whether it says anything about load.
    pub fn has_values(&self) -> bool {
        self.running.is_some()
            || self.waiting.is_some()
            || self.kv.is_some()
            || self.uncached_waiting.is_some()
            || self.capacity.is_some()
            || self.adapters.is_some()
    }
}

/// The answer to `POST /v1/load`: what became of each entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadTaken {
    /// Entries that count from now on.
    pub taken: u32,
    /// Of those, the ones that told of a restart.
    pub restarted: u32,
    /// Entries that were no newer than what is known.
    pub stale: u32,
    /// Entries about an endpoint that no table has (any more).
    pub unknown: u32,
    /// Entries about a life that is over, with the number of the one that is known: whoever reports goes on from there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outlived: Vec<Outlived>,
}

/// An endpoint of which a later life is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlived {
    /// `backend/authority`.
    pub endpoint: String,
    /// The life that is known.
    pub generation: u64,
}
