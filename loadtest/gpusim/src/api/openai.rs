//! Chat completions and completions.
//!
//! Owns: their JSON. Like vLLM, a stream has one event per token, the last one carrying `finish_reason`.
//! Must not: frame anything for HTTP. Read next: `../api.rs`.

use std::io::Write as _;

use serde::Deserialize;

use super::{Answer, ApiError, Ask, Form, Meta, Served, Wishes, json_error};
use crate::{http::Status, text::Prompt};

const INFALLIBLE: &str = "writing to memory cannot fail";

/// Both requests in one, as most fields are the same. (`flatten` would buffer every unknown field.)
#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    messages: Option<Vec<Message>>,
    prompt: Option<PromptField>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    n: Option<u64>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    ignore_eos: Option<bool>,
    cache_salt: Option<String>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "role")]
    _role: String,
    content: Option<Content>,
}

/// A text, or a list of parts of which the texts count.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
pub(super) struct Part {
    text: Option<String>,
}

impl Content {
    pub(super) fn add_to(&self, prompt: &mut Prompt) {
        match self {
            Self::Text(text) => prompt.push(text),
            Self::Parts(parts) => {
                parts.iter().filter_map(|part| part.text.as_deref()).for_each(|text| prompt.push(text));
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PromptField {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<u32>),
}

pub(super) fn read_chat(body: &[u8], served: &Served<'_>) -> Result<Ask, ApiError> {
    let body: Body = serde_json::from_slice(body).map_err(|error| json_error(&error))?;
    let named = served.find(body.model.as_deref())?;
    let messages = body.messages.as_deref().unwrap_or_default();
    if messages.is_empty() {
        return Err(ApiError::bad("messages", "`messages` must hold at least one message"));
    }
    let mut prompt = Prompt::new(named.root(served, body.cache_salt.as_deref()));
    messages.iter().filter_map(|message| message.content.as_ref()).for_each(|it| it.add_to(&mut prompt));
    let wishes = body.wishes(body.max_completion_tokens.or(body.max_tokens))?;
    Ok(Ask::new(Form::Chat, named, prompt, &wishes))
}

pub(super) fn read_completion(body: &[u8], served: &Served<'_>) -> Result<Ask, ApiError> {
    let body: Body = serde_json::from_slice(body).map_err(|error| json_error(&error))?;
    let named = served.find(body.model.as_deref())?;
    let mut prompt = Prompt::new(named.root(served, body.cache_salt.as_deref()));
    match &body.prompt {
        Some(PromptField::Text(text)) => prompt.push(text),
        Some(PromptField::Texts(texts)) if texts.len() == 1 => prompt.push(&texts[0]),
        // One id stands for one token: four bytes of text that only its number decides.
        Some(PromptField::Ids(ids)) => ids.iter().for_each(|id| prompt.push(&format!("{:04x}", id & 0xffff))),
        Some(PromptField::Texts(_)) => {
            return Err(ApiError::bad("prompt", "one prompt per request is supported"));
        }
        None => return Err(ApiError::bad("prompt", "you must provide a prompt")),
    }
    Ok(Ask::new(Form::Completion, named, prompt, &body.wishes(body.max_tokens)?))
}

impl Body {
    fn wishes(&self, max_tokens: Option<u64>) -> Result<Wishes, ApiError> {
        let stream = self.stream.unwrap_or(false);
        if max_tokens == Some(0) {
            return Err(ApiError::bad("max_tokens", "`max_tokens` must be at least 1"));
        }
        if self.n.is_some_and(|n| n != 1) {
            return Err(ApiError::bad("n", "`n` must be 1"));
        }
        if self.stream_options.is_some() && !stream {
            return Err(ApiError::bad("stream_options", "`stream_options` goes with `stream: true` only"));
        }
        let options = self.stream_options.as_ref();
        let usage_event = options.and_then(|options| options.include_usage).unwrap_or(false);
        Ok(Wishes { max_tokens, ignore_eos: self.ignore_eos.unwrap_or(false), stream, usage_event })
    }
}

/// The part of every event that does not change.
pub(super) fn chunk_opening(meta: &Meta, object: &str) -> Vec<u8> {
    let Meta { id, created, model } = meta;
    format!(
        r#"data: {{"id":"{id}","object":"{object}","created":{created},"model":{model},"system_fingerprint":"{FINGERPRINT}","choices":["#
    )
    .into_bytes()
}

/// Tells a client that wants to know that no GPU was harmed.
const FINGERPRINT: &str = "fp_gpusim";

pub(super) fn event(answer: &mut Answer, last: bool, out: &mut Vec<u8>) {
    let finish = finish_reason(answer, last);
    let first = answer.emitted == 1;
    out.extend_from_slice(&answer.opening);
    let token = answer.text.next_token();
    match answer.ask.form {
        Form::Completion => {
            write!(out, r#"{{"index":0,"text":"{token}","logprobs":null,"finish_reason":{finish}}}]"#)
        }
        Form::Chat | Form::Message | Form::Content | Form::ContentEvents | Form::ContentArray => {
            let role = if first { r#""role":"assistant","# } else { "" };
            write!(
                out,
                r#"{{"index":0,"delta":{{{role}"content":"{token}"}},"logprobs":null,"finish_reason":{finish}}}]"#
            )
        }
    }
    .expect(INFALLIBLE);
    // With the option set, OpenAI sends `usage: null` in every event but the last.
    out.extend_from_slice(if answer.ask.usage_event { b",\"usage\":null}\n\n" } else { b"}\n\n" });
    if last && answer.ask.usage_event {
        out.extend_from_slice(&answer.opening);
        write!(out, "],\"usage\":{}}}\n\n", usage(answer)).expect(INFALLIBLE);
    }
    if last {
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

pub(super) fn document(answer: &Answer, out: &mut Vec<u8>) {
    let Meta { id, created, model } = &answer.meta;
    let (finish, text) = (finish_reason(answer, true), &answer.collected);
    let (object, choice) = match answer.ask.form {
        Form::Completion => ("text_completion", format!(r#""text":"{text}""#)),
        Form::Chat | Form::Message | Form::Content | Form::ContentEvents | Form::ContentArray => (
            "chat.completion",
            format!(r#""message":{{"role":"assistant","content":"{text}","refusal":null}}"#),
        ),
    };
    let usage = usage(answer);
    write!(
        out,
        r#"{{"id":"{id}","object":"{object}","created":{created},"model":{model},"system_fingerprint":"{FINGERPRINT}","choices":[{{"index":0,{choice},"logprobs":null,"finish_reason":{finish}}}],"usage":{usage}}}"#
    )
    .expect(INFALLIBLE);
}

fn finish_reason(answer: &Answer, last: bool) -> &'static str {
    match (last, answer.ask.work.stops) {
        (false, _) => "null",
        (true, true) => r#""stop""#,
        (true, false) => r#""length""#,
    }
}

fn usage(answer: &Answer) -> String {
    let (prompt, completion) = (answer.ask.work.prompt, u64::from(answer.emitted));
    let (total, cached) = (prompt + completion, answer.cached);
    format!(
        r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":{cached}}}}}"#
    )
}

pub(super) fn models(served: &Served<'_>, created: u64) -> String {
    let entry = |id: &str, parent: Option<&str>| {
        serde_json::json!({
            "id": id, "object": "model", "created": created, "owned_by": "ringway-gpusim",
            "root": id, "parent": parent,
        })
    };
    let mut all = vec![entry(served.model, None)];
    all.extend(served.adapters.iter().map(|adapter| entry(adapter, Some(served.model))));
    serde_json::json!({"object": "list", "data": all}).to_string()
}

pub(super) fn error(error: &ApiError) -> String {
    let (kind, code) = match error.status {
        Status::NotFound if error.param == Some("model") => {
            ("invalid_request_error", Some("model_not_found"))
        }
        Status::Unavailable => ("server_error", Some("server_overloaded")),
        Status::Internal => ("server_error", None),
        Status::Ok
        | Status::BadRequest
        | Status::NotFound
        | Status::MethodNotAllowed
        | Status::BodyTooLarge
        | Status::ExpectationFailed
        | Status::HeadTooLarge => ("invalid_request_error", None),
    };
    serde_json::json!({
        "error": {"message": error.message, "type": kind, "param": error.param, "code": code},
    })
    .to_string()
}
