//! `GET /v1/traces`: how single requests were really routed, step by step.

use serde::{Deserialize, Serialize};

use crate::explain::Candidate;
use crate::numbers::Generation;

/// The answer to `GET /v1/traces`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traces {
    /// The newest first.
    pub traces: Vec<Trace>,
}

/// How one request was routed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The `x-request-id` of the answer.
    pub request_id: String,
    /// When it came, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Why it was traced.
    pub why: Why,
    /// The table that it was routed by.
    pub generation: Generation,
    /// The worker that served it.
    pub worker: u32,
    /// The matching route.
    pub route: String,
    /// Its method.
    pub method: String,
    /// Its path, without the query.
    pub path: String,
    /// The model it asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// Steps beyond the bound.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub steps_left_out: u32,
    /// How it ended.
    pub end: End,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Why a request was traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its caller sent `x-ringway-trace: 1`.
    Asked,
    /// It was drawn for the route's sample.
    Sampled,
}

/// One thing that was done. Times are milliseconds since the request's first byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// It waited in the queue of a backend.
    Queue(Queue),
    /// An endpoint was chosen, or none could be.
    Choice(Choice),
    /// An endpoint was tried.
    Attempt(Attempt),
}

/// A wait in the queue of a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// When it joined.
    pub at_ms: f64,
    /// Whose queue.
    pub backend: String,
    /// For how long.
    pub waited_ms: f64,
    /// Why it was not let go: a reason of the access log. None: it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A choice among the endpoints of targets, or of a fallback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// When.
    pub at_ms: f64,
    /// 0: among the route's targets; else the fallback of this number.
    pub stage: u32,
    /// `backend/authority`; none: nobody could be chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
    /// The endpoints there were, the chosen one first; `why` says why each lost.
    pub endpoints: Vec<Candidate>,
    /// Endpoints beyond the bound.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u32,
}

/// A try of one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub at_ms: f64,
    /// `backend/authority`.
    pub endpoint: String,
    /// Until the head of the answer, or until it failed.
    pub took_ms: f64,
    /// It went over a connection that had served before.
    pub reused: bool,
    /// The status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why there is none: a reason of the access log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// How it ended; as in the access log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// The status that was sent; 0: none.
    pub status: u16,
    /// How it ended.
    pub outcome: String,
    /// Why, if it ended abnormally.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Attempts in all.
    pub attempts: u32,
    /// In queues, all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_ms: Option<f64>,
    /// To the first byte of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<f64>,
    /// To the first token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<f64>,
    /// What the gateway itself took of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_ms: Option<f64>,
    /// To the end.
    pub total_ms: f64,
}
