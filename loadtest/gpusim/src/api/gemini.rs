//! Generate content, as events, as a JSON array or in one document.
//!
//! Owns: its JSON, and what its paths name. Must not: frame anything for HTTP.
//! Read next: `../api.rs`.

use std::io::Write as _;

use serde::Deserialize;

use super::{Answer, ApiError, Ask, Form, Meta, Operation, Served, Wishes, json_error};
use crate::{http::Status, text::Prompt};

const INFALLIBLE: &str = "writing to memory cannot fail";

/// The operation that `/v1beta/models/{model}:verb` names (the same under `/v1`), and the model.
pub(super) fn operation<'a>(path: &'a str, query: &str) -> Option<(Operation, &'a str)> {
    let rest = path.strip_prefix("/v1beta/models/").or_else(|| path.strip_prefix("/v1/models/"))?;
    let (model, verb) = rest.rsplit_once(':')?;
    let operation = match verb {
        "generateContent" => Operation::Generate(Form::Content),
        "streamGenerateContent" => {
            let sse = query.split('&').any(|pair| pair == "alt=sse");
            Operation::Generate(if sse { Form::ContentEvents } else { Form::ContentArray })
        }
        "countTokens" => Operation::CountTokens(Form::Content),
        _ => return None,
    };
    Some((operation, model))
}

/// Whether the path is this dialect's: its errors look different.
pub(super) fn is_path(path: &str) -> bool {
    path.starts_with("/v1beta/") || path.starts_with("/v1/models/")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    contents: Option<Vec<Content>>,
    #[serde(alias = "system_instruction")]
    system_instruction: Option<Content>,
    #[serde(alias = "generation_config")]
    generation_config: Option<Config>,
    /// `countTokens` may wrap the request that is to be counted.
    generate_content_request: Option<Box<Body>>,
    /// Not Google's: the switch of the inference servers, for a load generator that wants an exact length.
    #[serde(alias = "ignore_eos")]
    ignore_eos: Option<bool>,
    #[serde(alias = "cache_salt")]
    cache_salt: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    parts: Option<Vec<Part>>,
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(alias = "max_output_tokens")]
    max_output_tokens: Option<u64>,
    #[serde(alias = "candidate_count")]
    candidate_count: Option<u64>,
}

pub(super) fn read(form: Form, body: &[u8], model: &str, served: &Served<'_>) -> Result<Ask, ApiError> {
    let body: Body = serde_json::from_slice(body).map_err(|error| json_error(&error))?;
    let named = served.find(Some(model))?;
    let prompt = body.prompt(named.root(served, body.cache_salt.as_deref()))?;
    let config = body.generation_config.as_ref();
    if config.and_then(|config| config.candidate_count).is_some_and(|count| count != 1) {
        return Err(ApiError::bad("candidateCount", "candidateCount must be 1"));
    }
    let max_tokens = config.and_then(|config| config.max_output_tokens);
    if max_tokens == Some(0) {
        return Err(ApiError::bad("maxOutputTokens", "maxOutputTokens must be at least 1"));
    }
    let wishes = Wishes {
        max_tokens,
        ignore_eos: body.ignore_eos.unwrap_or(false),
        stream: form != Form::Content,
        usage_event: false,
    };
    Ok(Ask::new(form, named, prompt, &wishes))
}

pub(super) fn count_tokens(body: &[u8], model: &str, served: &Served<'_>) -> Result<String, ApiError> {
    let body: Body = serde_json::from_slice(body).map_err(|error| json_error(&error))?;
    served.find(Some(model))?;
    let inner = body.generate_content_request.as_deref().unwrap_or(&body);
    let tokens = inner.prompt(crate::prefix::Root::default())?.tokens();
    Ok(format!(r#"{{"totalTokens":{tokens}}}"#))
}

impl Body {
    fn prompt(&self, root: crate::prefix::Root) -> Result<Prompt, ApiError> {
        let contents = self.contents.as_deref().unwrap_or_default();
        if contents.is_empty() {
            return Err(ApiError::bad("contents", "contents is not specified"));
        }
        let mut prompt = Prompt::new(root);
        let parts =
            self.system_instruction.iter().chain(contents).filter_map(|it| it.parts.as_ref()).flatten();
        parts.filter_map(|part| part.text.as_deref()).for_each(|text| prompt.push(text));
        Ok(prompt)
    }
}

/// One more token: an event, or the next element of the array.
pub(super) fn event(answer: &mut Answer, last: bool, out: &mut Vec<u8>) {
    let events = answer.ask.form == Form::ContentEvents;
    let before: &[u8] = match (events, answer.emitted) {
        (true, _) => b"data: ",
        (false, 1) => b"[",
        (false, _) => b",\r\n",
    };
    out.extend_from_slice(before);
    let token = answer.text.next_token().to_owned();
    write_response(answer, &token, last, out);
    out.extend_from_slice(match (events, last) {
        (true, _) => b"\r\n\r\n",
        (false, true) => b"]",
        (false, false) => b"",
    });
}

pub(super) fn document(answer: &Answer, out: &mut Vec<u8>) {
    write_response(answer, &answer.collected, true, out);
}

fn write_response(answer: &Answer, text: &str, last: bool, out: &mut Vec<u8>) {
    let Meta { id, model, .. } = &answer.meta;
    let (prompt, output) = (answer.ask.work.prompt, u64::from(answer.emitted));
    let total = prompt + output;
    let finish = match (last, answer.ask.work.stops) {
        (false, _) => "",
        (true, true) => r#","finishReason":"STOP""#,
        (true, false) => r#","finishReason":"MAX_TOKENS""#,
    };
    let cached = match answer.cached {
        0 => String::new(), // like the real one: the field is absent where nothing was found
        cached => format!(r#","cachedContentTokenCount":{cached}"#),
    };
    write!(
        out,
        r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}],"role":"model"}}{finish},"index":0}}],"usageMetadata":{{"promptTokenCount":{prompt},"candidatesTokenCount":{output},"totalTokenCount":{total}{cached}}},"modelVersion":{model},"responseId":"{id}"}}"#
    )
    .expect(INFALLIBLE);
}

pub(super) fn models(served: &Served<'_>) -> String {
    let entry = |name: &str| {
        serde_json::json!({
            "name": format!("models/{name}"), "displayName": name, "version": "001",
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        })
    };
    let names = [served.model].into_iter().chain(served.adapters.iter().map(String::as_str));
    serde_json::json!({"models": names.map(entry).collect::<Vec<_>>()}).to_string()
}

pub(super) fn error(error: &ApiError) -> String {
    let (code, status) = match error.status {
        Status::NotFound => (404, "NOT_FOUND"),
        Status::Unavailable => (503, "UNAVAILABLE"),
        Status::Internal => (500, "INTERNAL"),
        Status::MethodNotAllowed => (405, "UNIMPLEMENTED"),
        Status::BodyTooLarge => (413, "INVALID_ARGUMENT"),
        Status::ExpectationFailed => (417, "FAILED_PRECONDITION"),
        Status::HeadTooLarge => (431, "INVALID_ARGUMENT"),
        Status::Ok | Status::BadRequest => (400, "INVALID_ARGUMENT"),
    };
    serde_json::json!({"error": {"code": code, "message": error.message, "status": status}}).to_string()
}
