//! `POST /v1/explain`: which route, target and endpoint a request would get, and why. Nothing is sent.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::numbers::Generation;

/// A request to reason about; also the layout of `ringctl explain REQUEST.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Default `POST`.
    #[serde(default = "post")]
    pub method: String,
    /// Path, with or without query.
    pub path: String,
    /// Default `localhost`.
    #[serde(default)]
    pub host: Option<String>,
    /// Field names and values.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Default 127.0.0.1.
    #[serde(default)]
    pub client: Option<IpAddr>,
    /// The JSON body: its `model`, its prompt, and what else decides which models can do it.
    #[serde(default)]
    pub body: Option<serde_json::Value>,
}

fn post() -> String {
    "POST".to_owned()
}

/// What would happen to the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The table that was asked.
    pub generation: Generation,
    /// Each route in order, up to and including the match.
    pub routes: Vec<RouteVerdict>,
    /// Name of the matching route.
    pub route: Option<String>,
    /// Its targets with their chances.
    pub targets: Vec<TargetChance>,
    /// Endpoints of all targets, best first within their target; where none takes it, those of the fallbacks too.
    pub endpoints: Vec<Candidate>,
    /// The refusal, if there would be one: status and reason.
    pub refusal: Option<String>,
}

/// Why a route did or did not match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteVerdict {
    /// Its name.
    pub route: String,
    /// Whether all conditions hold.
    pub matched: bool,
    /// The first condition that does not hold, in words: `model "x" does not match "llama-*"`.
    pub why: Option<String>,
}

/// One target and its chance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetChance {
    /// The backend's name.
    pub backend: String,
    /// 0 to 1.
    pub chance: f64,
    /// The model's name there.
    pub model: Option<String>,
}

/// One endpoint as balancing sees it now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The backend's name.
    pub backend: String,
    /// Its authority.
    pub endpoint: String,
    /// Whether it may be chosen.
    pub eligible: bool,
    /// Why not, or why it ranks where it does.
    pub why: String,
    /// Attempts in flight now.
    pub in_flight: u64,
    /// Lower is better; what `balance` compares.
    pub score: f64,
    /// With `balance: gpu`, what the score is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// The parts of a cost of `balance: gpu`: `(queue + miss + in flight + kv + adapter + suspect) * slowness - session`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Seconds of prompts that wait there.
    pub queue_s: f64,
    /// Seconds for what of this prompt is not in its cache.
    pub miss_s: f64,
    /// Seconds for requests in flight.
    pub in_flight_s: f64,
    /// Seconds for the KV cache in use.
    pub kv_s: f64,
    /// Seconds for the adapter.
    pub adapter_s: f64,
    /// Whether the LoRA adapter that is asked for is in memory there; none: none is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<Residence>,
    /// Seconds for something being wrong with it.
    pub suspect_s: f64,
    /// Seconds taken off for the session.
    pub session_s: f64,
    /// What a slow start multiplies by; 1 without one.
    pub slowness: f64,
    /// Tokens of the prompt, as estimated.
    pub prompt_tokens: u64,
    /// Of those, the ones it would have to compute.
    pub miss_tokens: u64,
    /// Tokens that wait there to be computed.
    pub uncached_tokens: u64,
    /// Share of its KV cache in use.
    pub kv: f64,
    /// A report of at most a second ago went in.
    pub reported: bool,
}

/// Whether an endpoint has a LoRA adapter in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Residence {
    /// It is there.
    Here,
    /// It is not, and a slot is free.
    Room,
    /// It is not, and another one has to go.
    Full,
}
