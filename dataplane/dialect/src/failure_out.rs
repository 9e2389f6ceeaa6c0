//! An upstream's error in the words of the caller's dialect (dialects sections 6.2 and 6.4).
//! Owns: what callers may see of it, and the two sentences about length that agents read by their pattern.
//! Must not: write headers.
//! Read next: [`crate::errors`], the envelopes.

use crate::dialect::Dialect;
use crate::errors::{self, Kind, Problem};
use crate::model::Failure;
use crate::surface::Grammar;
use std::borrow::Cow;

/// What the answer to the caller is to be, besides its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The kind that the caller sees.
    pub kind: Kind,
    /// The status in the caller's dialect.
    pub status: u16,
    /// The wait, if the upstream gave one.
    pub retry_after_ms: Option<u64>,
}

/// Appends the body of the error for a caller of this dialect.
pub fn write(caller: Dialect, failure: &Failure<'_>, request_id: &str, out: &mut Vec<u8>) -> Shown {
    let kind = shown_kind(failure.kind);
    let grammar = caller.grammar();
    let status = kind.status_in(grammar, kind.status());
    let message = failure.message.plain();
    let message = if kind == failure.kind { worded(kind, grammar, &message) } else { Cow::Borrowed(HIDDEN) };
    let retry_after_ms = failure.retry_after_ms;
    let problem =
        Problem { kind, status, message: &message, code: "", param: None, retry_after_ms, request_id };
    errors::write(out, grammar, &problem);
    Shown { kind, status, retry_after_ms }
}

/// Appends the error as the last event of a stream for a caller of this dialect; the stream breaks off behind it.
pub fn write_event(caller: Dialect, failure: &Failure<'_>, out: &mut Vec<u8>) {
    let kind = shown_kind(failure.kind);
    let message = failure.message.plain();
    let problem = Problem {
        kind,
        status: kind.status_in(caller.grammar(), kind.status()),
        message: if kind == failure.kind { &message } else { HIDDEN },
        code: "",
        param: None,
        retry_after_ms: None,
        request_id: "",
    };
    errors::write_event(out, caller.grammar(), caller == Dialect::OpenAiResponses, &problem);
}

const HIDDEN: &str =
    "the gateway's own credential was refused by the upstream; whoever runs the gateway must mend that";

/// The caller's key is fine when it is ours that an upstream refuses; shown as it is, clients would log out.
pub const fn shown_kind(kind: Kind) -> Kind {
    match kind {
        Kind::Unauthenticated | Kind::Forbidden => Kind::BadGateway,
        kind => kind,
    }
}

/// The sentences that agents read numbers from, exactly as their own provider writes them.
pub fn worded(kind: Kind, grammar: Grammar, message: &str) -> Cow<'_, str> {
    if kind != Kind::ContextTooLong {
        return Cow::Borrowed(message);
    }
    match (grammar, lengths(message)) {
        (Grammar::Anthropic, Some((is, most))) => {
            Cow::Owned(format!("prompt is too long: {is} tokens > {most} maximum"))
        }
        (Grammar::Anthropic, None) => Cow::Borrowed("prompt is too long"),
        (Grammar::Gemini, Some((is, most))) => Cow::Owned(format!(
            "The input token count ({is}) exceeds the maximum number of tokens allowed ({most})."
        )),
        (Grammar::OpenAi | Grammar::Plain | Grammar::Gemini, _) => Cow::Borrowed(message),
    }
}

/// How many tokens there were and how many there may be, if the message says both.
fn lengths(message: &str) -> Option<(u64, u64)> {
    let numbers: Vec<u64> = message
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .filter(|number| *number > 1) // not the `1` of a model's name
        .collect();
    let (first, second) = (*numbers.first()?, *numbers.get(1)?);
    // OpenAI says the most first; the others last. A prompt that is too long is the larger one either way.
    (first != second).then(|| (first.max(second), first.min(second)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure_in;

    fn shown(caller: Dialect, status: u16, body: &str) -> (Shown, String) {
        let mut out = Vec::new();
        let shown = write(caller, &failure_in::of_answer(status, body.as_bytes()), "req_1", &mut out);
        (shown, String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn a_prompt_that_is_too_long_is_said_in_each_agents_own_words() {
        let openai = r#"{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 10000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#;
        let anthropic = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 10000 tokens > 8192 maximum"}}"#;
        for body in [openai, anthropic] {
            let (_, text) = shown(Dialect::Anthropic, 400, body);
            assert!(text.contains("prompt is too long: 10000 tokens > 8192 maximum"), "{text}");
            let (_, text) = shown(Dialect::OpenAiResponses, 400, body);
            assert!(text.contains(r#""code":"context_length_exceeded""#), "{text}");
            let (_, text) = shown(Dialect::Gemini, 400, body);
            assert!(text.contains(
                "The input token count (10000) exceeds the maximum number of tokens allowed (8192)."
            ));
        }
    }

    #[test]
    fn our_own_refused_key_is_never_shown_as_the_callers() {
        for caller in Dialect::ALL {
            let body = r#"{"error":{"message":"Incorrect API key provided: sk-x","type":"invalid_request_error","code":"invalid_api_key"}}"#;
            let (shown, text) = shown(caller, 401, body);
            assert_eq!((shown.kind, shown.status), (Kind::BadGateway, 502));
            assert!(!text.contains("sk-x"), "{text}");
        }
    }

    #[test]
    fn overload_and_limits_keep_their_meaning_everywhere() {
        let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        for (caller, status) in
            [(Dialect::Anthropic, 529), (Dialect::OpenAiChat, 503), (Dialect::Gemini, 503)]
        {
            assert_eq!(shown(caller, 529, overloaded).0.status, status);
        }
        let limited = r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"7s"}]}}"#;
        for caller in Dialect::ALL {
            let (shown, _) = shown(caller, 429, limited);
            assert_eq!((shown.status, shown.retry_after_ms), (429, Some(7_000)));
        }
    }
}
