//! The common model into an answer of Chat Completions.
//! Owns: one message out of many parts: texts run together, then calls. Must not: put pictures into the text.
//! Read next: `words.rs`.

use super::messages_out::write_args;
use super::words;
use crate::answer_id;
use crate::json::{List, Members, Text, string};
use crate::model::{
    Answer, Args, Choice, Content, Echo, Losses, Opaque, Origin, Part, ReasoningPart, Stop, ToolCall,
};

/// Appends the body of the answer.
pub fn write_answer(answer: &Answer<'_>, echo: &Echo, losses: &mut Losses, out: &mut Vec<u8>) {
    let mut body = Members::open(out);
    body.key(out, "id");
    string(out, &format!("chatcmpl-{}", answer_id::bare(&answer.id, echo)));
    body.json(out, "object", "\"chat.completion\"");
    body.number(out, "created", answer.created.unwrap_or(echo.now));
    body.key(out, "model");
    string(out, &echo.model);
    body.key(out, "choices");
    let mut list = List::open(out);
    for choice in &answer.choices {
        list.next(out);
        write_choice(choice, echo, losses, out);
    }
    list.close(out);
    if let Some(usage) = &answer.usage {
        body.key(out, "usage");
        words::write_usage(usage, out);
    }
    if let Some(fingerprint) = &answer.fingerprint {
        body.text(out, "system_fingerprint", fingerprint);
    }
    body.close(out);
}

fn write_choice(choice: &Choice<'_>, echo: &Echo, losses: &mut Losses, out: &mut Vec<u8>) {
    let mut members = Members::open(out);
    members.number(out, "index", u64::from(choice.index));
    members.key(out, "message");
    write_message(choice, echo, losses, out);
    members.key(out, "logprobs");
    match &choice.logprobs {
        None => out.extend_from_slice(b"null"),
        Some(content) => {
            out.extend_from_slice(b"{\"content\":");
            content.write(out);
            out.extend_from_slice(b",\"refusal\":null}");
        }
    }
    members.key(out, "finish_reason");
    let refused = choice.parts.iter().any(|part| matches!(part.content, Content::Refusal(_)));
    let word = match &choice.stop {
        Stop::Refusal { .. } if !refused => "content_filter",
        stop => words::finish_reason(stop, Some(losses)),
    };
    Text::written(word).write(out);
    members.close(out);
}

fn write_message(choice: &Choice<'_>, echo: &Echo, losses: &mut Losses, out: &mut Vec<u8>) {
    let mut message = Members::open(out);
    message.json(out, "role", "\"assistant\"");
    message.key(out, "content");
    write_texts(choice, out);
    message.key(out, "refusal");
    let refusal = choice.parts.iter().find_map(|part| match &part.content {
        Content::Refusal(refusal) => Some(refusal),
        _ => None,
    });
    match refusal {
        Some(refusal) => refusal.write(out),
        None => out.extend_from_slice(b"null"),
    }
    write_thoughts(choice, &mut message, out);
    write_citations(choice, &mut message, losses, out);
    let calls = || choice.parts.iter().filter_map(call);
    if calls().next().is_some() {
        message.key(out, "tool_calls");
        let mut list = List::open(out);
        for call in calls() {
            list.next(out);
            write_call(call, echo, out);
        }
        list.close(out);
    }
    message.close(out);
    choice.parts.iter().for_each(|part| note(part, losses));
    if choice
        .parts
        .windows(2)
        .any(|pair| call(&pair[0]).is_some() && matches!(pair[1].content, Content::Text { .. }))
    {
        losses.noted("/content", "order");
    }
}

fn call<'p>(part: &'p Part<'p>) -> Option<&'p ToolCall<'p>> {
    match &part.content {
        Content::ToolCall(call) => Some(call),
        _ => None,
    }
}

/// All texts, run together; null where there are none but something else.
fn write_texts(choice: &Choice<'_>, out: &mut Vec<u8>) {
    let mut texts = choice.parts.iter().filter_map(|part| match &part.content {
        Content::Text { text, .. } => Some(text),
        _ => None,
    });
    let Some(first) = texts.next() else {
        let empty = choice.parts.iter().all(|part| matches!(part.content, Content::Reasoning(_)));
        out.extend_from_slice(if empty { b"\"\"" } else { b"null" });
        return;
    };
    out.push(b'"');
    out.extend_from_slice(first.as_written().as_bytes());
    texts.for_each(|text| out.extend_from_slice(text.as_written().as_bytes()));
    out.push(b'"');
}

/// Thoughts that are shown, and the seals of their state, each with the length of the text it belongs to.
fn write_thoughts(choice: &Choice<'_>, message: &mut Members, out: &mut Vec<u8>) {
    let thoughts = || {
        choice.parts.iter().filter_map(|part| match &part.content {
            Content::Reasoning(thought) => Some(thought),
            _ => None,
        })
    };
    if thoughts().any(|thought| !thought.text.is_empty()) {
        message.key(out, "reasoning_content");
        out.push(b'"');
        thoughts().flat_map(|thought| &thought.text).for_each(|text| {
            out.extend_from_slice(text.as_written().as_bytes());
        });
        out.push(b'"');
    }
    if thoughts().any(|thought| seal_of(thought).is_some()) {
        message.key(out, "reasoning_details");
        let mut list = List::open(out);
        for thought in thoughts() {
            let Some(opaque) = seal_of(thought) else { continue };
            list.next(out);
            let length = thought.text.iter().map(|text| text.plain().len()).sum();
            write_seal(opaque, length, out);
        }
        list.close(out);
    }
}

fn seal_of<'p>(thought: &'p ReasoningPart<'p>) -> Option<&'p Opaque<'p>> {
    thought.opaque.as_ref()
}

/// One entry of `reasoning_details`.
pub(super) fn write_seal(opaque: &Opaque<'_>, length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"ringway.sealed","data":""#);
    out.extend_from_slice(opaque.seal().as_bytes());
    out.extend_from_slice(br#"","length":"#);
    crate::json::number(out, length as u64);
    out.push(b'}');
}

fn write_citations(choice: &Choice<'_>, message: &mut Members, losses: &mut Losses, out: &mut Vec<u8>) {
    let all = choice.parts.iter().filter_map(|part| match &part.content {
        Content::Text { citations, .. } => Some(citations),
        _ => None,
    });
    let all: Vec<_> = all.flatten().collect();
    let usable: Vec<_> = all.iter().filter(|citation| is_url_citation(citation.as_str())).collect();
    if usable.len() < all.len() {
        losses.dropped("/citations");
    }
    if usable.is_empty() {
        return;
    }
    message.key(out, "annotations");
    let mut list = List::open(out);
    for citation in usable {
        list.next(out);
        out.extend_from_slice(br#"{"type":"url_citation","url_citation":"#);
        citation.write(out);
        out.push(b'}');
    }
    list.close(out);
}

/// Has it the form of this dialect?
pub(super) fn is_url_citation(raw: &str) -> bool {
    raw.contains("\"url\"") && raw.contains("\"start_index\"")
}

fn write_call(call: &ToolCall<'_>, echo: &Echo, out: &mut Vec<u8>) {
    let flat = call.name.plain();
    let known = echo.names.find(&flat);
    let name = known.map_or(&*flat, |known| &known.name);
    let mut members = Members::open(out);
    members.text(out, "id", &call.id);
    let free = matches!(call.args, Args::Free(_)) || known.is_some_and(|known| known.custom);
    members.json(out, "type", if free { "\"custom\"" } else { "\"function\"" });
    members.key(out, if free { "custom" } else { "function" });
    let mut inner = Members::open(out);
    inner.key(out, "name");
    string(out, name);
    inner.key(out, if free { "input" } else { "arguments" });
    if free {
        crate::custom::input(&call.args).write(out);
    } else {
        write_args(&call.args, out);
    }
    inner.close(out);
    if let Some(opaque) = call.opaque.as_ref().filter(|opaque| opaque.origin == Origin::Gemini) {
        members.key(out, "extra_content");
        out.extend_from_slice(br#"{"google":{"thought_signature":""#);
        out.extend_from_slice(opaque.seal().as_bytes());
        out.extend_from_slice(b"\"}}");
    }
    members.close(out);
}

/// What no message of this dialect has a place for.
fn note(part: &Part<'_>, losses: &mut Losses) {
    let lost = match &part.content {
        Content::Image(_) => "/images",
        Content::Audio(_) => "/audio",
        Content::Video(_) => "/video",
        Content::Document(_) => "/documents",
        Content::Server(_) => "/server_tools",
        Content::Signature(_) => "/signature",
        Content::Text { .. }
        | Content::ToolCall(_)
        | Content::ToolResult(_)
        | Content::Reasoning(_)
        | Content::Refusal(_) => return,
    };
    losses.dropped(lost);
}
