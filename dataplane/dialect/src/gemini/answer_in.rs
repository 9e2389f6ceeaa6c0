//! Gemini's answer into the common model.
//! Owns: one body, whole. Must not: copy text.
//! Read next: `answer_out.rs`.

use super::words;
use crate::errors::Kind;
use crate::failure_in;
use crate::json::{Raw, Text, Value};
use crate::model::{
    Answer, Args, Audio, Choice, Content, Failure, Image, ImageSource, Opaque, Origin, Part, Realm,
    ReasoningPart, SealKind, ServerItem, Source, Stop, ToolCall, derived_call_id,
};

/// Reads an answer from an upstream of this realm; its error, if it says that instead.
pub fn read_answer<'a>(body: Value<'a>, realm: Realm) -> Result<Answer<'a>, Failure<'a>> {
    if let Some(failure) = failure_in::of_body(body, None) {
        return Err(failure);
    }
    let text = |key: &str| body.get_text(key).unwrap_or_default();
    let id = text("responseId");
    let created = body.get_text("createTime").and_then(|instant| words::seconds(&instant.plain()));
    let usage = body.get("usageMetadata").map(words::usage).filter(crate::model::Usage::is_some);
    let list = body.get("candidates").and_then(|list| list.elements());
    let context = Context { realm, id: id.plain().into_owned() };
    let mut choices: Vec<Choice<'a>> =
        list.into_iter().flatten().map(|candidate| context.choice(candidate)).collect();
    let blocked = body.get("promptFeedback").and_then(|feedback| feedback.get_text("blockReason"));
    if choices.is_empty() {
        let Some(reason) = blocked else {
            return Err(Failure::of(
                Kind::BadGateway,
                "the upstream's answer has no candidate and no reason for that",
            ));
        };
        let stop = Stop::ContentFilter(Some(reason));
        choices.push(Choice { index: 0, parts: Vec::new(), stop, logprobs: None });
    }
    let nothing = |choice: &Choice<'_>| {
        choice.parts.is_empty() && matches!(&choice.stop, Stop::Other(word) if word.is("OTHER"))
    };
    if choices.iter().all(nothing) {
        return Err(Failure::of(Kind::BadGateway, "the upstream made no answer and gave no reason"));
    }
    let source = Source(Some(body));
    Ok(Answer {
        source,
        id,
        created,
        model: text("modelVersion"),
        fingerprint: None,
        choices,
        usage,
        tier: None,
    })
}

struct Context {
    realm: Realm,
    /// What ids of calls are made of.
    id: String,
}

impl Context {
    fn choice<'a>(&self, candidate: Value<'a>) -> Choice<'a> {
        let index = candidate.get_integer("index").and_then(|index| u32::try_from(index).ok()).unwrap_or(0);
        let mut parts: Vec<Part<'a>> = Vec::new();
        let mut calls = 0;
        let content = candidate.get("content").and_then(|content| content.get("parts"));
        for part in content.and_then(|parts| parts.elements()).into_iter().flatten() {
            self.part(part, index, &mut calls, &mut parts);
        }
        cite(candidate, &mut parts);
        let stop = candidate
            .get("finishReason")
            .map_or(Stop::EndTurn, |reason| words::stop(reason, candidate.get_text("finishMessage")));
        Choice { index, parts, stop: stop.with_calls(calls > 0), logprobs: None }
    }

    fn part<'a>(&self, part: Value<'a>, choice: u32, calls: &mut u32, into: &mut Vec<Part<'a>>) {
        let at = part.place();
        if let Some(call) = part.get("functionCall") {
            let given = call.get_text("id").filter(|id| !id.is_empty());
            let id = given.unwrap_or_else(|| Text::owned(derived_call_id(&self.id, choice, *calls)));
            *calls += 1;
            let args = call.get("args").map_or(Raw::written("{}"), |args| args.raw());
            let call = ToolCall {
                id,
                name: call.get_text("name").unwrap_or_default(),
                namespace: None,
                args: Args::Object(args),
                opaque: self.opaque(part, SealKind::NextTool),
            };
            into.push(Part::new(Content::ToolCall(call), at));
        } else if let Some(inline) = part.get("inlineData") {
            into.extend(media(inline).map(|content| Part::new(content, at)));
        } else if part.get("executableCode").or_else(|| part.get("codeExecutionResult")).is_some() {
            let item = ServerItem { provider: Origin::Gemini, raw: part.raw() };
            into.push(Part::new(Content::Server(item), at));
        } else {
            self.text(part, into);
        }
    }

    fn text<'a>(&self, part: Value<'a>, into: &mut Vec<Part<'a>>) {
        let (text, at) = (part.get_text("text").unwrap_or_default(), part.place());
        if part.get("thought").and_then(|flag| flag.truth()) == Some(true) {
            let opaque = self.opaque(part, SealKind::Signature);
            let thought = ReasoningPart { text: vec![text], is_raw: false, id: None, opaque };
            into.push(Part::new(Content::Reasoning(thought), at));
            return;
        }
        if !text.is_empty() {
            into.push(Part::new(Content::text(text), at));
        }
        if let Some(opaque) = self.opaque(part, SealKind::Previous) {
            into.push(Part::new(Content::Signature(opaque), at));
        }
    }

    fn opaque<'a>(&self, part: Value<'a>, kind: SealKind) -> Option<Opaque<'a>> {
        let payload = part.get_text("thoughtSignature").filter(|signature| !signature.is_empty())?;
        Some(Opaque { origin: Origin::Gemini, kind, realm: self.realm, payload })
    }
}

fn media(inline: Value<'_>) -> Option<Content<'_>> {
    let (mime, data) = (inline.get_text("mimeType")?, inline.get_text("data")?);
    if mime.plain().starts_with("image/") {
        return Some(Content::Image(Image { source: ImageSource::Base64 { mime, data }, detail: None }));
    }
    if mime.plain().starts_with("audio/") {
        return Some(Content::Audio(Audio { mime, data }));
    }
    None
}

/// Pages that the answer is from go with its last text.
fn cite<'a>(candidate: Value<'a>, parts: &mut [Part<'a>]) {
    let chunks = candidate.get("groundingMetadata").and_then(|metadata| metadata.get("groundingChunks"));
    let Some(chunks) = chunks.and_then(|list| list.elements()) else { return };
    let last = parts.iter_mut().rev().find(|part| matches!(part.content, Content::Text { .. }));
    if let Some(Part { content: Content::Text { citations, .. }, .. }) = last {
        for citation in chunks.filter_map(words::url_citation) {
            citations.push(citation);
        }
    }
}
