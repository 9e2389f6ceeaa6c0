//! Messages.
//!
//! Owns: their JSON and the order of their events. Must not: frame anything for HTTP.
//! Read next: `../api.rs`.

use std::io::Write as _;

use serde::Deserialize;

use super::{Answer, ApiError, Ask, Form, Meta, Named, Served, Wishes, json_error, openai::Content};
use crate::{http::Status, text::Prompt};

const INFALLIBLE: &str = "writing to memory cannot fail";

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    system: Option<Content>,
    messages: Option<Vec<Message>>,
    max_tokens: Option<u64>,
    stream: Option<bool>,
    /// Not Anthropic's: the switch of the inference servers, for a load generator that wants an exact length.
    ignore_eos: Option<bool>,
    cache_salt: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "role")]
    _role: String,
    content: Content,
}

pub(super) fn read(body: &[u8], served: &Served<'_>) -> Result<Ask, ApiError> {
    let (body, named, prompt) = read_prompt(body, served)?;
    let Some(max_tokens) = body.max_tokens.filter(|tokens| *tokens > 0) else {
        return Err(ApiError::bad("max_tokens", "max_tokens: a number of at least 1 is required"));
    };
    let wishes = Wishes {
        max_tokens: Some(max_tokens),
        ignore_eos: body.ignore_eos.unwrap_or(false),
        stream: body.stream.unwrap_or(false),
        usage_event: false,
    };
    Ok(Ask::new(Form::Message, named, prompt, &wishes))
}

pub(super) fn count_tokens(body: &[u8], served: &Served<'_>) -> Result<String, ApiError> {
    let (_, _, prompt) = read_prompt(body, served)?;
    Ok(format!(r#"{{"input_tokens":{}}}"#, prompt.tokens()))
}

fn read_prompt(body: &[u8], served: &Served<'_>) -> Result<(Body, Named, Prompt), ApiError> {
    let body: Body = serde_json::from_slice(body).map_err(|error| json_error(&error))?;
    let named = served.find(body.model.as_deref())?;
    let messages = body.messages.as_deref().unwrap_or_default();
    if messages.is_empty() {
        return Err(ApiError::bad("messages", "messages: at least one message is required"));
    }
    let mut prompt = Prompt::new(named.root(served, body.cache_salt.as_deref()));
    for content in body.system.iter().chain(messages.iter().map(|message| &message.content)) {
        content.add_to(&mut prompt);
    }
    Ok((body, named, prompt))
}

pub(super) fn event(answer: &mut Answer, last: bool, out: &mut Vec<u8>) {
    if answer.emitted == 1 {
        write_opening(answer, out);
    }
    let token = answer.text.next_token();
    write_event(
        out,
        "content_block_delta",
        &format!(r#","index":0,"delta":{{"type":"text_delta","text":"{token}"}}"#),
    );
    if last {
        write_event(out, "content_block_stop", r#","index":0"#);
        let (stop, tokens) = (stop_reason(answer), answer.emitted);
        let fields = format!(
            r#","delta":{{"stop_reason":"{stop}","stop_sequence":null}},"usage":{{"output_tokens":{tokens}}}"#
        );
        write_event(out, "message_delta", &fields);
        write_event(out, "message_stop", "");
    }
}

/// What precedes the first token.
fn write_opening(answer: &Answer, out: &mut Vec<u8>) {
    let Meta { id, model, .. } = &answer.meta;
    let usage = usage(answer, 1);
    let message = format!(
        r#","message":{{"id":"{id}","type":"message","role":"assistant","model":{model},"content":[],"stop_reason":null,"stop_sequence":null,"usage":{usage}}}"#
    );
    write_event(out, "message_start", &message);
    write_event(out, "content_block_start", r#","index":0,"content_block":{"type":"text","text":""}"#);
    write_event(out, "ping", "");
}

fn write_event(out: &mut Vec<u8>, name: &str, fields: &str) {
    write!(out, "event: {name}\ndata: {{\"type\":\"{name}\"{fields}}}\n\n").expect(INFALLIBLE);
}

pub(super) fn document(answer: &Answer, out: &mut Vec<u8>) {
    let Meta { id, model, .. } = &answer.meta;
    let (text, stop, usage) = (&answer.collected, stop_reason(answer), usage(answer, answer.emitted));
    write!(
        out,
        r#"{{"id":"{id}","type":"message","role":"assistant","model":{model},"content":[{{"type":"text","text":"{text}"}}],"stop_reason":"{stop}","stop_sequence":null,"usage":{usage}}}"#
    )
    .expect(INFALLIBLE);
}

fn stop_reason(answer: &Answer) -> &'static str {
    if answer.ask.work.stops { "end_turn" } else { "max_tokens" }
}

fn usage(answer: &Answer, output: u32) -> String {
    let cached = answer.cached;
    // What was read from the cache is not among the input tokens of this dialect.
    let input = answer.ask.work.prompt - u64::from(cached);
    format!(
        r#"{{"input_tokens":{input},"cache_creation_input_tokens":0,"cache_read_input_tokens":{cached},"output_tokens":{output}}}"#
    )
}

pub(super) fn error(error: &ApiError) -> String {
    let kind = match error.status {
        Status::NotFound => "not_found_error",
        Status::BodyTooLarge => "request_too_large",
        Status::Unavailable => "overloaded_error",
        Status::Internal => "api_error",
        Status::Ok
        | Status::BadRequest
        | Status::MethodNotAllowed
        | Status::ExpectationFailed
        | Status::HeadTooLarge => "invalid_request_error",
    };
    serde_json::json!({"type": "error", "error": {"type": kind, "message": error.message}}).to_string()
}
