//! Counting a prompt's tokens before it is sent (dialects section 3.11).
//!
//! A count is asked with the same fields as an answer, so its body is the written request without what does not count.
//! Owns: those fields, and the shapes of the answers. Must not: guess a number.
//! Read next: the writers of requests.

use crate::dialect::Dialect;
use crate::json::{Fault, Members, Surrogates, Tape, Value, number, string};

/// The fields of a request that its count depends on.
const fn counted(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        // vLLM and SGLang, at `/tokenize`.
        Dialect::OpenAiChat => {
            &["model", "tools", "messages", "add_generation_prompt", "continue_final_message"]
        }
        Dialect::OpenAiResponses => &[
            "model",
            "instructions",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "text",
            "reasoning",
            "input",
        ],
        Dialect::Anthropic => &[
            "model",
            "system",
            "tools",
            "tool_choice",
            "thinking",
            "output_config",
            "cache_control",
            "messages",
        ],
        Dialect::Gemini => {
            &["systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig", "contents"]
        }
    }
}

/// Appends the body that asks how long this written request is.
pub fn write_ask(dialect: Dialect, model: &str, request: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut tape = Tape::new();
    let request = tape.read(request, Surrogates::Replace)?;
    if dialect == Dialect::Gemini {
        out.extend_from_slice(br#"{"generateContentRequest":"#);
    }
    let mut body = Members::open(out);
    if dialect == Dialect::Gemini {
        body.key(out, "model");
        string(out, &format!("models/{model}"));
    }
    for entry in request.fields().into_iter().flatten() {
        if counted(dialect).iter().any(|key| entry.is(key)) {
            body.raw(out, entry.key, &entry.value.raw());
        }
    }
    body.close(out);
    if dialect == Dialect::Gemini {
        out.push(b'}');
    }
    Ok(())
}

/// The request inside a count that a caller of Gemini's asks for: itself, or what it wraps with instructions and tools.
pub fn gemini_request(body: Value<'_>) -> Value<'_> {
    body.get("generateContentRequest").or_else(|| body.get("generate_content_request")).unwrap_or(body)
}

/// The number in an upstream's answer; `None` if there is none.
pub fn read_answer(dialect: Dialect, body: Value<'_>) -> Option<u64> {
    body.get_integer(match dialect {
        Dialect::OpenAiChat => "count",
        Dialect::OpenAiResponses | Dialect::Anthropic => "input_tokens",
        Dialect::Gemini => "totalTokens",
    })
}

/// Appends the answer in the caller's shape.
pub fn write_answer(dialect: Dialect, tokens: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(match dialect {
        Dialect::OpenAiChat => br#"{"count":"#.as_slice(),
        Dialect::OpenAiResponses => br#"{"object":"response.input_tokens","input_tokens":"#,
        Dialect::Anthropic => br#"{"input_tokens":"#,
        Dialect::Gemini => br#"{"totalTokens":"#,
    });
    number(out, tokens);
    out.push(b'}');
}

/// Where a count is asked for, behind the upstream's base path; `None`: at a path of the model's, which the caller makes.
pub const fn path(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::OpenAiChat => Some("/tokenize"),
        Dialect::OpenAiResponses => Some("/v1/responses/input_tokens"),
        Dialect::Anthropic => Some("/v1/messages/count_tokens"),
        Dialect::Gemini => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_leaves_out_what_does_not_count() {
        let request = r#"{"model":"m","system":"s","max_tokens":7,"stream":true,"messages":[1.0]}"#;
        let mut out = Vec::new();
        write_ask(Dialect::Anthropic, "m", request, &mut out).expect("JSON");
        assert_eq!(out, br#"{"model":"m","system":"s","messages":[1.0]}"#);
        let mut out = Vec::new();
        write_ask(Dialect::Gemini, "m", r#"{"store":true,"contents":[]}"#, &mut out).expect("JSON");
        assert_eq!(out, br#"{"generateContentRequest":{"model":"models/m","contents":[]}}"#);
    }

    #[test]
    fn a_number_comes_back_in_every_shape() {
        for dialect in Dialect::ALL {
            let mut out = Vec::new();
            write_answer(dialect, 42, &mut out);
            let text = String::from_utf8(out).expect("ASCII");
            let mut tape = Tape::new();
            assert_eq!(read_answer(dialect, tape.read(&text, Surrogates::Refuse).expect("JSON")), Some(42));
            assert_eq!(read_answer(dialect, tape.read("{}", Surrogates::Refuse).expect("JSON")), None);
        }
    }
}
