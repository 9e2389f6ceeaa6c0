//! Upstreams' errors, in whatever envelope they come (dialects sections 6.1 to 6.3).
//! Owns: telling the envelope, and the table from codes, types, messages and statuses to kinds.
//! Must not: pass on more of a text than its bound.
//! Read next: [`crate::errors`], the way back out.

use crate::bounds::ERROR_TEXT_BYTES_MAX;
use crate::errors::Kind;
use crate::json::{Kind as Json, Surrogates, Tape, Text, Value};
use crate::model::Failure;

/// The error in the body of an answer with this status, which is none of success.
pub fn of_answer(status: u16, body: &[u8]) -> Failure<'static> {
    let text = String::from_utf8_lossy(body);
    let mut tape = Tape::new();
    let failure = tape.read(&text, Surrogates::Replace).ok().and_then(|root| of_body(root, Some(status)));
    failure.map_or_else(
        || Failure { kind: of_status(status), message: cut(&text), retry_after_ms: None },
        Failure::into_owned,
    )
}

/// The error that a JSON text is or holds; `None` if it is none. `status` is that of the answer, if it said no success.
pub fn of_body(root: Value<'_>, status: Option<u16>) -> Option<Failure<'_>> {
    let root = match root.elements() {
        Some(mut one) => one.next()?, // Google wraps it in an array of one
        None => root,
    };
    if let Some(error) = root.get("error") {
        return match error.kind() {
            Json::Object => Some(of_error(error, status)),
            Json::String => Some(plain(&error.text()?, status)),
            Json::True | Json::Number | Json::Array => Some(plain(&Text::written("error"), status)),
            Json::Null | Json::False | Json::Key => None,
        };
    }
    let bare = root.get_text("object").is_some_and(|object| object.is("error"));
    if bare {
        return Some(of_error(root, status));
    }
    status?; // only what says no success may be read so loosely
    let message = root.get_text("message").or_else(|| root.get_text("detail"));
    match message {
        Some(message) => Some(plain(&message, status)),
        None => root.get("detail").map(|detail| plain(&detail.raw().to_text(), status)),
    }
}

/// The error that an object with `message` and its like says.
pub fn of_error(error: Value<'_>, status: Option<u16>) -> Failure<'_> {
    let message = error.get_text("message").unwrap_or_default();
    let code = error.get("code");
    let number = code.and_then(|code| code.integer()).and_then(|code| u16::try_from(code).ok());
    let status = status.or(number.filter(|number| (400..600).contains(number)));
    let words = [code.and_then(|code| code.text()), error.get_text("type"), error.get_text("status")];
    let by_word = words.iter().flatten().find_map(|word| of_word(&word.plain(), status));
    let kind = of_message(&message.plain()).or(by_word);
    let kind = kind.unwrap_or_else(|| status.map_or(Kind::Internal, of_status));
    Failure { kind, message: cut(&message.plain()), retry_after_ms: retry_info(error) }
}

fn plain(message: &Text<'_>, status: Option<u16>) -> Failure<'static> {
    let kind = of_message(&message.plain()).unwrap_or_else(|| status.map_or(Kind::Internal, of_status));
    Failure { kind, message: cut(&message.plain()), retry_after_ms: None }
}

fn cut(message: &str) -> Text<'static> {
    let mut end = message.len().min(ERROR_TEXT_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    Text::of(&message[..end]).into_owned()
}

/// What clients act upon must be told from other bad requests, and only the text tells it.
fn of_message(message: &str) -> Option<Kind> {
    let says = |what| message.contains(what);
    if says("maximum context length") || says("prompt is too long") || says("input token count") {
        Some(Kind::ContextTooLong)
    } else if says("exceed context limit") {
        Some(Kind::OutputPlusInputTooLong)
    } else if says("credit balance is too low") {
        Some(Kind::Billing)
    } else if says("API_KEY_INVALID") || says("API key not valid") {
        Some(Kind::Unauthenticated)
    } else {
        None
    }
}

/// The kind by the code, the type or the status word of any provider.
fn of_word(word: &str, status: Option<u16>) -> Option<Kind> {
    Some(match word {
        "insufficient_quota" | "billing_error" => Kind::Billing,
        "context_length_exceeded" => Kind::ContextTooLong,
        "content_policy_violation" | "content_filter" => Kind::ContentPolicy,
        "invalid_api_key" | "authentication_error" | "UNAUTHENTICATED" => Kind::Unauthenticated,
        "permission_error" | "permission_denied" | "PERMISSION_DENIED" | "FAILED_PRECONDITION" => {
            Kind::Forbidden
        }
        "model_not_found" => Kind::ModelNotFound,
        "not_found_error" | "NOT_FOUND" | "NotFoundError" => Kind::NotFound,
        "request_too_large" => Kind::TooLarge,
        "rate_limit_error" | "rate_limit_exceeded" | "requests" | "tokens" | "RESOURCE_EXHAUSTED" => {
            Kind::RateLimited
        }
        "overloaded_error" | "server_is_overloaded" | "slow_down" | "UNAVAILABLE" => Kind::Overloaded,
        "timeout_error" | "DEADLINE_EXCEEDED" => Kind::GatewayTimeout,
        "api_error" | "server_error" | "INTERNAL" | "CANCELLED" | "UNKNOWN" => Kind::Internal,
        "UNIMPLEMENTED" => Kind::NotImplemented,
        "invalid_request_error" | "INVALID_ARGUMENT" | "OUT_OF_RANGE" | "BadRequestError" => {
            match status.map_or(Kind::InvalidRequest, of_status) {
                kind @ (Kind::Unauthenticated | Kind::Forbidden | Kind::NotFound | Kind::TooLarge) => kind,
                _ => Kind::InvalidRequest,
            }
        }
        _ => return None,
    })
}

/// The kind by the status alone.
pub const fn of_status(status: u16) -> Kind {
    match status {
        401 => Kind::Unauthenticated,
        402 => Kind::Billing,
        403 => Kind::Forbidden,
        404 => Kind::NotFound,
        405 => Kind::MethodNotAllowed,
        408 => Kind::RequestTimeout,
        409 => Kind::Conflict,
        413 => Kind::TooLarge,
        415 => Kind::UnsupportedMedia,
        422 => Kind::Unprocessable,
        429 => Kind::RateLimited,
        501 => Kind::NotImplemented,
        502 => Kind::BadGateway,
        503 | 529 => Kind::Overloaded,
        504 => Kind::GatewayTimeout,
        400..=499 => Kind::InvalidRequest,
        _ => Kind::Internal,
    }
}

/// Google's `RetryInfo`: `"7s"`, `"51820.63s"`.
fn retry_info(error: Value<'_>) -> Option<u64> {
    let delay = error.get("details")?.elements()?.find_map(|detail| detail.get_text("retryDelay"))?;
    let delay = delay.plain();
    let seconds: f64 = delay.strip_suffix('s')?.parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then_some((seconds * 1_000.0).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_envelope_is_told_by_its_shape() {
        for (status, body, kind, message) in [
            (
                429,
                r#"{"error":{"message":"m","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#,
                Kind::RateLimited,
                "m",
            ),
            (
                429,
                r#"{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                Kind::Billing,
                "m",
            ),
            (
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                Kind::Overloaded,
                "Overloaded",
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#,
                Kind::ContextTooLong,
                "prompt is too long: 9 tokens > 8 maximum",
            ),
            (
                429,
                r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]"#,
                Kind::RateLimited,
                "m",
            ),
            (
                404,
                r#"{"object":"error","message":"no model","type":"NotFoundError","param":null,"code":404}"#,
                Kind::NotFound,
                "no model",
            ),
            (
                400,
                r#"{"error":{"message":"m","type":"BadRequestError","param":null,"code":400}}"#,
                Kind::InvalidRequest,
                "m",
            ),
            (500, r#"{"error":"kaput"}"#, Kind::Internal, "kaput"),
            (422, r#"{"detail":"m"}"#, Kind::Unprocessable, "m"),
            (422, r#"{"detail":[{"loc":1}]}"#, Kind::Unprocessable, r#"[{"loc":1}]"#),
            (502, "<html>bad</html>", Kind::BadGateway, "<html>bad</html>"),
            (
                401,
                r#"{"error":{"message":"m","type":"invalid_request_error","code":"invalid_api_key"}}"#,
                Kind::Unauthenticated,
                "m",
            ),
        ] {
            let failure = of_answer(status, body.as_bytes());
            assert_eq!((failure.kind, &*failure.message.plain()), (kind, message), "{body}");
        }
    }

    #[test]
    fn an_answer_that_holds_a_null_error_is_none() {
        let mut tape = Tape::new();
        let root = tape.read(r#"{"error":null,"message":"hi"}"#, Surrogates::Replace).expect("JSON");
        assert_eq!(of_body(root, None), None);
    }

    #[test]
    fn googles_wait_is_read_and_a_long_text_cut() {
        let body = r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"7.5s"}]}}"#;
        assert_eq!(of_answer(429, body.as_bytes()).retry_after_ms, Some(7_500));
        let long = "é".repeat(ERROR_TEXT_BYTES_MAX);
        assert!(of_answer(500, long.as_bytes()).message.plain().len() <= ERROR_TEXT_BYTES_MAX);
    }
}
