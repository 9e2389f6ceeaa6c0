//! Errors in the words of each grammar: kinds, statuses, envelopes (dialects sections 6.1, 6.2, 6.4).
//!
//! Owns: the table from kind to status, `type` and `code`, and the four envelopes. No key order, status or
//! text below is free: clients match on them.
//! Must not: decide what went wrong, or write headers.
//! Read next: [`crate::surface`], which says which grammar to use.

use crate::json;
use crate::surface::Grammar;

/// What kind of error it is, in no one's dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is wrong.
    InvalidRequest,
    /// A field that cannot be carried over.
    UnsupportedField,
    /// A conversation that its provider keeps, where nobody keeps one; clients go on by sending all of it.
    ThreadUnsupported,
    /// The prompt is too long for the model.
    ContextTooLong,
    /// Prompt and answer together are too long for the model.
    OutputPlusInputTooLong,
    /// The content is not allowed.
    ContentPolicy,
    /// No key, or a wrong one.
    Unauthenticated,
    /// The budget is spent.
    Billing,
    /// The key may not do this.
    Forbidden,
    /// No such thing.
    NotFound,
    /// No such model.
    ModelNotFound,
    /// No such method here.
    MethodNotAllowed,
    /// The caller was too slow.
    RequestTimeout,
    /// Two changes at once.
    Conflict,
    /// The request is too large.
    TooLarge,
    /// A media type or coding we do not read.
    UnsupportedMedia,
    /// The request is well formed and makes no sense.
    Unprocessable,
    /// Too many requests or tokens.
    RateLimited,
    /// The caller left; only logged.
    ClientClosed,
    /// Our mistake.
    Internal,
    /// Not built.
    NotImplemented,
    /// The endpoint broke.
    BadGateway,
    /// The endpoint stopped in mid-answer.
    UpstreamTruncated,
    /// The endpoint is overloaded.
    Overloaded,
    /// No endpoint, or going down.
    NoUpstream,
    /// The endpoint was too slow.
    GatewayTimeout,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::InvalidRequest,
        Self::UnsupportedField,
        Self::ThreadUnsupported,
        Self::ContextTooLong,
        Self::OutputPlusInputTooLong,
        Self::ContentPolicy,
        Self::Unauthenticated,
        Self::Billing,
        Self::Forbidden,
        Self::NotFound,
        Self::ModelNotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Conflict,
        Self::TooLarge,
        Self::UnsupportedMedia,
        Self::Unprocessable,
        Self::RateLimited,
        Self::ClientClosed,
        Self::Internal,
        Self::NotImplemented,
        Self::BadGateway,
        Self::UpstreamTruncated,
        Self::Overloaded,
        Self::NoUpstream,
        Self::GatewayTimeout,
    ];

    /// The status that HTTP has for it, in no one's dialect.
    pub const fn status(self) -> u16 {
        self.row().status
    }

    /// The status that clients of this grammar expect, where `status` is what HTTP has for it. A status that
    /// says more than the kind does (414, 417, 431, 505) stays.
    pub const fn status_in(self, grammar: Grammar, status: u16) -> u16 {
        match (self, grammar) {
            (Self::Overloaded | Self::NoUpstream, Grammar::Anthropic) => 529,
            (Self::Billing, Grammar::OpenAi | Grammar::Gemini) => 429,
            (Self::Unprocessable, Grammar::Gemini) => 400,
            _ => status,
        }
    }

    /// Whether an answer of this kind carries a wait, so that Gemini's gets its `RetryInfo`.
    const fn may_wait(self) -> bool {
        matches!(self, Self::RateLimited | Self::Overloaded | Self::NoUpstream)
    }

    /// Whether clients must be told not to try again whatever the status says.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Billing)
    }

    /// Whether clients should come back later even if we have tried already.
    pub const fn invites_retry(self) -> bool {
        matches!(self, Self::Overloaded | Self::RateLimited)
    }

    const fn row(self) -> Row {
        const INVALID: &str = "invalid_request_error";
        const SERVER: &str = "server_error";
        match self {
            Self::InvalidRequest => row(400, INVALID, None, INVALID, "INVALID_ARGUMENT"),
            Self::UnsupportedField | Self::ThreadUnsupported => {
                row(400, INVALID, Some("unsupported_parameter"), INVALID, "INVALID_ARGUMENT")
            }
            Self::ContextTooLong | Self::OutputPlusInputTooLong => {
                row(400, INVALID, Some("context_length_exceeded"), INVALID, "INVALID_ARGUMENT")
            }
            Self::ContentPolicy => {
                row(400, INVALID, Some("content_policy_violation"), INVALID, "FAILED_PRECONDITION")
            }
            Self::Unauthenticated => {
                row(401, INVALID, Some("invalid_api_key"), "authentication_error", "UNAUTHENTICATED")
            }
            Self::Billing => {
                let quota = "insufficient_quota";
                row(402, quota, Some(quota), "billing_error", "RESOURCE_EXHAUSTED")
            }
            Self::Forbidden => {
                row(403, INVALID, Some("permission_denied"), "permission_error", "PERMISSION_DENIED")
            }
            Self::NotFound => row(404, INVALID, Some("not_found"), "not_found_error", "NOT_FOUND"),
            Self::ModelNotFound => row(404, INVALID, Some("model_not_found"), "not_found_error", "NOT_FOUND"),
            Self::MethodNotAllowed => row(405, INVALID, None, INVALID, "INVALID_ARGUMENT"),
            Self::RequestTimeout => {
                row(408, "timeout", Some("request_timeout"), "timeout_error", "DEADLINE_EXCEEDED")
            }
            Self::Conflict => row(409, "conflict_error", None, "conflict_error", "ABORTED"),
            Self::TooLarge => {
                row(413, INVALID, Some("request_too_large"), "request_too_large", "INVALID_ARGUMENT")
            }
            Self::UnsupportedMedia => row(415, INVALID, None, INVALID, "INVALID_ARGUMENT"),
            Self::Unprocessable => row(422, INVALID, None, INVALID, "INVALID_ARGUMENT"),
            Self::RateLimited => {
                let limit = "rate_limit_error";
                row(429, limit, Some("rate_limit_exceeded"), limit, "RESOURCE_EXHAUSTED")
            }
            Self::ClientClosed => row(499, INVALID, None, INVALID, "CANCELLED"),
            Self::Internal => row(500, SERVER, None, "api_error", "INTERNAL"),
            Self::NotImplemented => row(501, SERVER, Some("not_implemented"), "api_error", "UNIMPLEMENTED"),
            Self::BadGateway => row(502, SERVER, Some("bad_gateway"), "api_error", "UNAVAILABLE"),
            Self::UpstreamTruncated => {
                row(502, SERVER, Some("upstream_truncated"), "api_error", "UNAVAILABLE")
            }
            Self::Overloaded => {
                row(503, SERVER, Some("server_is_overloaded"), "overloaded_error", "UNAVAILABLE")
            }
            Self::NoUpstream => {
                row(503, SERVER, Some("service_unavailable"), "overloaded_error", "UNAVAILABLE")
            }
            Self::GatewayTimeout => row(504, SERVER, Some("timeout"), "timeout_error", "DEADLINE_EXCEEDED"),
        }
    }
}

/// One row of the table: what each grammar calls the kind.
struct Row {
    status: u16,
    openai_type: &'static str,
    openai_code: Option<&'static str>,
    anthropic_type: &'static str,
    gemini_status: &'static str,
}

const fn row(
    status: u16,
    openai_type: &'static str,
    openai_code: Option<&'static str>,
    anthropic_type: &'static str,
    gemini_status: &'static str,
) -> Row {
    Row { status, openai_type, openai_code, anthropic_type, gemini_status }
}

/// An error to put into words.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// Its kind.
    pub kind: Kind,
    /// The status of the answer, as [`Kind::status_in`] gives it.
    pub status: u16,
    /// For people.
    pub message: &'a str,
    /// For programs, in plain JSON; OpenAI's has the kind's own code.
    pub code: &'a str,
    /// The field to blame, in OpenAI's form.
    pub param: Option<&'a str>,
    /// How long to wait before another try, if that is known.
    pub retry_after_ms: Option<u64>,
    /// The id of the request at hand.
    pub request_id: &'a str,
}

/// Appends the error as a JSON body.
pub fn write(out: &mut Vec<u8>, grammar: Grammar, problem: &Problem<'_>) {
    match grammar {
        Grammar::OpenAi => openai(out, problem),
        Grammar::Anthropic => anthropic(out, problem),
        Grammar::Gemini => gemini(out, problem),
        Grammar::Plain => plain(out, problem),
    }
}

/// Appends the error as an event of a stream that has begun: what clients of this grammar raise an exception for. A
/// stream of OpenAI's Responses has its own. Nothing for a grammar that has none.
///
/// The stream must break off behind it: some clients do not raise before the transport does, and an error followed by
/// an orderly end would be a lie to all that do not know the event.
pub fn write_event(out: &mut Vec<u8>, grammar: Grammar, responses: bool, problem: &Problem<'_>) {
    match grammar {
        Grammar::OpenAi if responses => response_error(out, problem),
        Grammar::OpenAi | Grammar::Gemini => {
            out.extend_from_slice(b"data: ");
            write(out, grammar, problem);
        }
        Grammar::Anthropic => {
            out.extend_from_slice(b"event: error\ndata: ");
            write(out, grammar, problem);
        }
        Grammar::Plain => return,
    }
    out.extend_from_slice(b"\n\n");
}

fn response_error(out: &mut Vec<u8>, problem: &Problem<'_>) {
    out.extend_from_slice(
        br#"event: error
data: {"type":"error","code":"#,
    );
    json::string_or_null(out, problem.kind.row().openai_code);
    out.extend_from_slice(br#","message":"#);
    json::string(out, problem.message);
    out.extend_from_slice(br#","param":"#);
    json::string_or_null(out, problem.param);
    out.push(b'}');
}

/// All four keys always; `code` a string or null.
fn openai(out: &mut Vec<u8>, problem: &Problem<'_>) {
    let row = problem.kind.row();
    out.extend_from_slice(br#"{"error":{"message":"#);
    json::string(out, problem.message);
    out.extend_from_slice(br#","type":"#);
    json::string(out, row.openai_type);
    out.extend_from_slice(br#","param":"#);
    json::string_or_null(out, problem.param);
    out.extend_from_slice(br#","code":"#);
    json::string_or_null(out, row.openai_code);
    out.extend_from_slice(b"}}");
}

fn anthropic(out: &mut Vec<u8>, problem: &Problem<'_>) {
    out.extend_from_slice(br#"{"type":"error","error":{"type":"#);
    json::string(out, problem.kind.row().anthropic_type);
    out.extend_from_slice(br#","message":"#);
    json::string(out, problem.message);
    if problem.kind == Kind::ThreadUnsupported {
        // What Anthropic's own clients look for, to send the whole conversation from then on.
        out.extend_from_slice(
            br#","details":{"error_code":"thread_unsupported_request","unsupported":["thread"]}"#,
        );
    }
    out.extend_from_slice(br#"},"request_id":"#);
    json::string(out, problem.request_id);
    out.push(b'}');
}

/// `code` is the HTTP status, a number.
fn gemini(out: &mut Vec<u8>, problem: &Problem<'_>) {
    out.extend_from_slice(br#"{"error":{"code":"#);
    json::number(out, u64::from(problem.status));
    out.extend_from_slice(br#","message":"#);
    json::string(out, problem.message);
    out.extend_from_slice(br#","status":"#);
    json::string(out, problem.kind.row().gemini_status);
    out.extend_from_slice(br#","details":["#);
    if let Some(wait_ms) = problem.retry_after_ms.filter(|_| problem.kind.may_wait()) {
        out.extend_from_slice(br#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":""#);
        json::number(out, wait_ms.div_ceil(1_000));
        out.extend_from_slice(br#"s"}"#);
    }
    out.extend_from_slice(b"]}}");
}

fn plain(out: &mut Vec<u8>, problem: &Problem<'_>) {
    out.extend_from_slice(br#"{"error":{"message":"#);
    json::string(out, problem.message);
    out.extend_from_slice(br#","code":"#);
    json::string(out, problem.code);
    out.extend_from_slice(br#","request_id":"#);
    json::string(out, problem.request_id);
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(grammar: Grammar, kind: Kind) -> Value {
        let mut out = Vec::new();
        let problem = Problem {
            kind,
            status: kind.status_in(grammar, kind.status()),
            message: "it \"broke\"\n",
            code: "broke",
            param: None,
            retry_after_ms: Some(6_001),
            request_id: "req-1",
        };
        write(&mut out, grammar, &problem);
        serde_json::from_slice(&out).expect("valid JSON")
    }

    #[test]
    fn each_grammar_has_its_envelope() {
        assert_eq!(
            body(Grammar::OpenAi, Kind::ModelNotFound),
            json!({"error": {"message": "it \"broke\"\n", "type": "invalid_request_error", "param": null,
                             "code": "model_not_found"}})
        );
        assert_eq!(
            body(Grammar::Anthropic, Kind::GatewayTimeout),
            json!({"type": "error", "error": {"type": "timeout_error", "message": "it \"broke\"\n"},
                   "request_id": "req-1"})
        );
        assert_eq!(
            body(Grammar::Gemini, Kind::NotFound),
            json!({"error": {"code": 404, "message": "it \"broke\"\n", "status": "NOT_FOUND", "details": []}})
        );
        assert_eq!(
            body(Grammar::Plain, Kind::NotFound),
            json!({"error": {"message": "it \"broke\"\n", "code": "broke", "request_id": "req-1"}})
        );
    }

    #[test]
    fn each_grammar_ends_a_broken_stream_in_its_own_words() {
        let event = |grammar, responses| {
            let mut out = Vec::new();
            let kind = Kind::UpstreamTruncated;
            let status = kind.status_in(grammar, kind.status());
            let (message, code) = ("cut", "answer_cut");
            let problem = Problem {
                kind,
                status,
                message,
                code,
                param: None,
                retry_after_ms: None,
                request_id: "req-1",
            };
            write_event(&mut out, grammar, responses, &problem);
            String::from_utf8(out).expect("UTF-8")
        };
        assert_eq!(
            event(Grammar::OpenAi, false),
            "data: {\"error\":{\"message\":\"cut\",\"type\":\"server_error\",\"param\":null,\"code\":\"upstream_truncated\"}}\n\n"
        );
        assert_eq!(
            event(Grammar::OpenAi, true),
            "event: error\ndata: {\"type\":\"error\",\"code\":\"upstream_truncated\",\"message\":\"cut\",\"param\":null}\n\n"
        );
        assert_eq!(
            event(Grammar::Anthropic, false),
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"cut\"},\"request_id\":\"req-1\"}\n\n"
        );
        assert_eq!(
            event(Grammar::Gemini, false),
            "data: {\"error\":{\"code\":502,\"message\":\"cut\",\"status\":\"UNAVAILABLE\",\"details\":[]}}\n\n"
        );
        assert_eq!(event(Grammar::Plain, false), "");
    }

    #[test]
    fn a_wait_is_told_to_gemini_in_whole_seconds_and_not_for_a_spent_budget() {
        let info = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}]);
        assert_eq!(body(Grammar::Gemini, Kind::RateLimited)["error"]["details"], info);
        assert_eq!(body(Grammar::Gemini, Kind::Billing)["error"]["details"], json!([]));
    }

    #[test]
    fn every_kind_has_the_keys_of_its_envelope_in_every_grammar() {
        for kind in Kind::ALL {
            let keys = |value: &Value| {
                let object = value.as_object().expect("an object");
                let sorted: std::collections::BTreeSet<_> = object.keys().cloned().collect();
                sorted.into_iter().collect::<Vec<_>>().join(" ")
            };
            assert_eq!(keys(&body(Grammar::OpenAi, kind)["error"]), "code message param type");
            assert_eq!(keys(&body(Grammar::Anthropic, kind)), "error request_id type");
            let details = if kind == Kind::ThreadUnsupported { "details " } else { "" };
            assert_eq!(keys(&body(Grammar::Anthropic, kind)["error"]), format!("{details}message type"));
            assert_eq!(keys(&body(Grammar::Gemini, kind)["error"]), "code details message status");
            assert_eq!(keys(&body(Grammar::Plain, kind)["error"]), "code message request_id");
        }
    }

    #[test]
    fn statuses_differ_between_grammars_where_their_clients_expect_it() {
        let in_all = |kind: Kind| Grammar::ALL.map(|grammar| kind.status_in(grammar, kind.status()));
        assert_eq!(in_all(Kind::NoUpstream), [503, 529, 503, 503]);
        assert_eq!(in_all(Kind::Overloaded), [503, 529, 503, 503]);
        assert_eq!(in_all(Kind::Billing), [429, 402, 429, 402]);
        assert_eq!(in_all(Kind::Unprocessable), [422, 422, 400, 422]);
        assert_eq!(in_all(Kind::GatewayTimeout), [504; 4]);
    }
}
