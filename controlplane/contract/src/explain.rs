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
    /// The JSON body; only `model` matters to routing.
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
    /// Endpoints of all targets, best first within their target.
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
}
