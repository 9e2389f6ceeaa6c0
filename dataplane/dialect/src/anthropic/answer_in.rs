//! An answer of Anthropic Messages into the common model.
//! Owns: the blocks of an answer. Must not: take thoughts apart from their signatures.
//! Read next: `words.rs`.

use super::words::{self, Counts};
use crate::errors::Kind;
use crate::json::{Raw, Text, Value};
use crate::model::{
    Answer, Args, Choice, Content, Failure, Opaque, Origin, Part, Realm, ReasoningPart, SealKind, ServerItem,
    Source, Stop, ToolCall, derived_call_id,
};

/// Reads an answer from the root of its body. `realm` is whose thoughts these are.
pub fn read_answer(body: Value<'_>, realm: Realm) -> Result<Answer<'_>, Failure<'_>> {
    if let Some(failure) = crate::failure_in::of_body(body, None) {
        return Err(failure);
    }
    let Some(content) = body.get("content").and_then(|content| content.elements()) else {
        return Err(Failure::of(Kind::BadGateway, "the upstream's answer has no content"));
    };
    let id = body.get_text("id").unwrap_or_default();
    let mut parts = Vec::new();
    for block in content {
        if let Some(content) = part(block, &id, parts.len() as u32, realm) {
            parts.push(Part::new(content, block.place()));
        }
    }
    let mut counts = Counts::default();
    let usage = body.get("usage");
    usage.iter().for_each(|usage| counts.update(*usage));
    let reason = body.get_text("stop_reason").unwrap_or_default();
    let called = parts.iter().any(|part| matches!(part.content, Content::ToolCall(_)));
    let stop = match words::stop(&reason, body) {
        Stop::Other(raw) if raw.is_empty() => Stop::EndTurn.with_calls(called),
        stop => stop.with_calls(called),
    };
    Ok(Answer {
        source: Source(Some(body)),
        id,
        created: None,
        model: body.get_text("model").unwrap_or_default(),
        fingerprint: None,
        choices: vec![Choice { index: 0, parts, stop, logprobs: None }],
        usage: usage.map(|_| counts.usage()),
        tier: usage.and_then(|usage| usage.get_text("service_tier")),
    })
}

fn part<'a>(block: Value<'a>, id: &Text<'a>, n: u32, realm: Realm) -> Option<Content<'a>> {
    let kind = block.get_text("type")?;
    Some(match &*kind.plain() {
        "text" => {
            let citations = block.get("citations").and_then(|all| all.elements()).into_iter().flatten();
            let citations = citations.map(|one| one.raw()).collect();
            Content::Text { text: block.get_text("text")?, citations }
        }
        "thinking" => {
            let text = block.get_text("thinking").filter(|text| !text.is_empty()).into_iter().collect();
            let signature = block.get_text("signature").filter(|text| !text.is_empty());
            let opaque = signature.map(|signature| state(SealKind::Signature, realm, signature));
            Content::Reasoning(ReasoningPart { text, is_raw: false, id: None, opaque })
        }
        "redacted_thinking" => {
            let opaque = Some(state(SealKind::Redacted, realm, block.get_text("data")?));
            Content::Reasoning(ReasoningPart { opaque, ..ReasoningPart::default() })
        }
        "tool_use" => {
            let name = block.get_text("name")?;
            let given = block.get_text("id").filter(|id| !id.is_empty());
            let id = given.unwrap_or_else(|| Text::owned(derived_call_id(&id.plain(), 0, n)));
            let args = Args::Object(block.get("input").map_or(Raw::written("{}"), |input| input.raw()));
            Content::ToolCall(ToolCall { id, name, namespace: None, args, opaque: None })
        }
        _ => Content::Server(ServerItem { provider: Origin::Anthropic, raw: block.raw() }),
    })
}

/// Anthropic's state.
pub(super) const fn state(kind: SealKind, realm: Realm, payload: Text<'_>) -> Opaque<'_> {
    Opaque { origin: Origin::Anthropic, kind, realm, payload }
}
