//! An answer of Chat Completions into the common model.
//! Owns: the order of a message's parts: thought, text, refusal, calls. Must not: lose a call for want of an id.
//! Read next: `words.rs`.

use super::words;
use crate::errors::Kind;
use crate::json::{Text, Value};
use crate::model::{
    Answer, Args, Choice, Content, Failure, Image, ImageSource, Opaque, Origin, Part, Realm, ReasoningPart,
    SealKind, Source, Stop, ToolCall, derived_call_id,
};

/// Reads an answer from the root of its body. `realm` is whose thoughts these are.
pub fn read_answer(body: Value<'_>, realm: Realm) -> Result<Answer<'_>, Failure<'_>> {
    if let Some(failure) = crate::failure_in::of_body(body, None) {
        return Err(failure);
    }
    let choices = body.get("choices").and_then(|choices| choices.elements());
    let Some(choices) = choices else {
        return Err(Failure::of(Kind::BadGateway, "the upstream's answer has no choices"));
    };
    let mut answer = Answer {
        source: Source(Some(body)),
        id: body.get_text("id").unwrap_or_default(),
        created: body.get_integer("created"),
        model: body.get_text("model").unwrap_or_default(),
        fingerprint: body.get_text("system_fingerprint"),
        choices: Vec::new(),
        usage: body.get("usage").and_then(words::usage),
        tier: body.get_text("service_tier"),
    };
    for (n, value) in choices.enumerate() {
        let choice = choice(value, n as u32, &answer.id, realm)?;
        answer.choices.push(choice);
    }
    Ok(answer)
}

fn choice<'a>(value: Value<'a>, n: u32, id: &Text<'a>, realm: Realm) -> Result<Choice<'a>, Failure<'a>> {
    let index = value.get_integer("index").map_or(n, |index| index as u32);
    let reason = value.get_text("finish_reason").unwrap_or_default();
    if words::is_failure(&reason) {
        return Err(Failure::of(Kind::BadGateway, "the upstream aborted its answer"));
    }
    let mut parts = Vec::new();
    if let Some(message) = value.get("message") {
        said(message, realm, &mut parts);
        calls(message, id, index, &mut parts);
    }
    let called = parts.iter().any(|part| matches!(part.content, Content::ToolCall(_)));
    let refused = parts.iter().any(|part| matches!(part.content, Content::Refusal(_)));
    let stop = match words::stop(&reason, value) {
        Stop::EndTurn if refused => Stop::Refusal { category: None },
        stop => stop.with_calls(called),
    };
    let logprobs = value.get("logprobs").and_then(|all| all.get("content")).map(|content| content.raw());
    Ok(Choice { index, parts, stop, logprobs })
}

fn said<'a>(message: Value<'a>, realm: Realm, parts: &mut Vec<Part<'a>>) {
    let thought = ["reasoning", "reasoning_content"].iter().find_map(|key| message.get_text(key));
    if let Some(thought) = thought.filter(|thought| !thought.is_empty()) {
        let reasoning =
            ReasoningPart { text: vec![thought], is_raw: true, id: None, opaque: Some(mark(realm)) };
        parts.push(Part::new(Content::Reasoning(reasoning), message.place()));
    }
    if let Some(content) = message.get("content") {
        if let Some(text) = content.text().filter(|text| !text.is_empty()) {
            let citations = message.get("annotations").and_then(|all| all.elements()).into_iter().flatten();
            let citations = citations.map(|one| one.get("url_citation").unwrap_or(one).raw()).collect();
            parts.push(Part::new(Content::Text { text, citations }, content.place()));
        }
        // Some hosts answer in parts.
        for part in content.elements().into_iter().flatten() {
            content_part(part, realm, parts);
        }
    }
    if let Some(refusal) = message.get_text("refusal").filter(|refusal| !refusal.is_empty()) {
        parts.push(Part::new(Content::Refusal(refusal), message.place()));
    }
    for picture in message.get("images").and_then(|images| images.elements()).into_iter().flatten() {
        let url = picture.get("image_url").and_then(|image| image.get_text("url"));
        if let Some((mime, data)) = url.as_ref().and_then(crate::data_url::parse) {
            let image = Image { source: ImageSource::Base64 { mime, data }, detail: None };
            parts.push(Part::new(Content::Image(image), picture.place()));
        }
    }
}

fn content_part<'a>(part: Value<'a>, realm: Realm, parts: &mut Vec<Part<'a>>) {
    let kind = part.get_text("type").unwrap_or_default();
    match &*kind.plain() {
        "text" => {
            let text = part.get_text("text").unwrap_or_default();
            parts.push(Part::new(Content::text(text), part.place()));
        }
        "thinking" => {
            let pieces = part.get("thinking").and_then(|inner| inner.elements()).into_iter().flatten();
            let text = pieces.filter_map(|piece| piece.get_text("text")).collect();
            let thought = ReasoningPart { text, is_raw: true, id: None, opaque: Some(mark(realm)) };
            parts.push(Part::new(Content::Reasoning(thought), part.place()));
        }
        _ => {} // counted by whoever compares, not answered with a failure
    }
}

/// Thoughts of an engine have no state; the mark says where their text is from.
pub(super) fn mark(realm: Realm) -> Opaque<'static> {
    Opaque { origin: Origin::Chat, kind: SealKind::Signature, realm, payload: Text::EMPTY }
}

fn calls<'a>(message: Value<'a>, id: &Text<'a>, index: u32, parts: &mut Vec<Part<'a>>) {
    let tool_calls = message.get("tool_calls").and_then(|calls| calls.elements()).into_iter().flatten();
    let legacy = message.get("function_call");
    for (n, call) in tool_calls.chain(legacy).enumerate() {
        let custom = call.get("custom");
        let inner = custom.or_else(|| call.get("function")).unwrap_or(call);
        let Some(name) = inner.get_text("name") else { continue };
        let args = match (custom, inner.get("arguments")) {
            (Some(custom), _) => Args::Free(custom.get_text("input").unwrap_or_default()),
            (None, Some(value)) => value.text().map_or_else(|| Args::Object(value.raw()), Args::Text),
            (None, None) => Args::Text(Text::EMPTY),
        };
        let call_id = call.get_text("id").filter(|id| !id.is_empty());
        let id = call_id.unwrap_or_else(|| Text::owned(derived_call_id(&id.plain(), index, n as u32)));
        let opaque = None;
        let tool_call = ToolCall { id, name, namespace: None, args, opaque };
        parts.push(Part::new(Content::ToolCall(tool_call), call.place()));
    }
}
