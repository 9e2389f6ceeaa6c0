//! The common model into an answer of Anthropic Messages.
//! Owns: the blocks, and where state that others made is put. Must not: show thoughts to who did not ask for them.
//! Read next: `words.rs`.

use super::words;
use crate::answer_id;
use crate::custom;
use crate::json::{List, Members, Raw, Surrogates, Tape, Text, string};
use crate::model::{
    Answer, Args, Choice, Content, Echo, Losses, Opaque, Part, ReasoningPart, SealKind, Show, ToolCall, Usage,
};

/// Appends the body of the answer. Of several answers, only the first can be shown.
pub fn write_answer(answer: &Answer<'_>, echo: &Echo, losses: &mut Losses, out: &mut Vec<u8>) {
    let mut body = Members::open(out);
    body.key(out, "id");
    string(out, &format!("msg_{}", answer_id::bare(&answer.id, echo)));
    body.json(out, "type", "\"message\"");
    body.json(out, "role", "\"assistant\"");
    body.key(out, "model");
    string(out, &echo.model);
    body.key(out, "content");
    let choice = answer.choices.first();
    let mut list = List::open(out);
    for part in choice.iter().flat_map(|choice| &choice.parts) {
        write_part(part, echo, &mut list, losses, out);
    }
    list.close(out);
    if let Some(Choice { stop, logprobs, .. }) = choice {
        out.push(b',');
        words::write_stop(stop, out);
        if logprobs.is_some() {
            losses.dropped("/logprobs");
        }
    }
    if answer.choices.len() > 1 {
        losses.dropped("/choices/1");
    }
    body.json(out, "stop_details", "null");
    body.key(out, "usage");
    words::write_usage(answer.usage.as_ref().unwrap_or(&Usage::NONE), out);
    body.close(out);
}

fn write_part(part: &Part<'_>, echo: &Echo, list: &mut List, losses: &mut Losses, out: &mut Vec<u8>) {
    match &part.content {
        Content::Text { text, citations } => {
            if !citations.is_empty() {
                losses.dropped("/citations");
            }
            if !text.is_empty() {
                write_text(text, list, out);
            }
        }
        Content::Refusal(text) => write_text(text, list, out),
        Content::Reasoning(thought) if echo.show != Show::None => write_thought(thought, list, out),
        Content::Reasoning(_) => {} // nobody asked
        Content::ToolCall(call) => {
            if let Some(opaque) = &call.opaque {
                let before = Opaque { kind: SealKind::NextTool, ..opaque.clone() };
                write_redacted(&before, list, out);
            }
            write_call(call, echo, list, out);
        }
        Content::Signature(opaque) => write_redacted(opaque, list, out),
        Content::Image(_) => losses.dropped("/images"),
        Content::Audio(_) => losses.dropped("/audio"),
        Content::Video(_) => losses.dropped("/video"),
        Content::Document(_) => losses.dropped("/documents"),
        Content::Server(_) => losses.dropped("/server_tools"),
        Content::ToolResult(_) => losses.dropped("/tool_results"),
    }
}

fn write_text(text: &Text<'_>, list: &mut List, out: &mut Vec<u8>) {
    list.next(out);
    out.extend_from_slice(br#"{"type":"text","text":"#);
    text.write(out);
    out.push(b'}');
}

fn write_thought(thought: &ReasoningPart<'_>, list: &mut List, out: &mut Vec<u8>) {
    if thought.text.is_empty() {
        if let Some(opaque) = &thought.opaque {
            write_redacted(opaque, list, out);
        }
        return;
    }
    list.next(out);
    out.extend_from_slice(br#"{"type":"thinking","thinking":""#);
    thought.text.iter().for_each(|text| out.extend_from_slice(text.as_written().as_bytes()));
    out.extend_from_slice(br#"","signature":""#);
    if let Some(opaque) = &thought.opaque {
        out.extend_from_slice(opaque.seal().as_bytes());
    }
    out.extend_from_slice(b"\"}");
}

fn write_redacted(opaque: &Opaque<'_>, list: &mut List, out: &mut Vec<u8>) {
    list.next(out);
    out.extend_from_slice(br#"{"type":"redacted_thinking","data":""#);
    out.extend_from_slice(opaque.seal().as_bytes());
    out.extend_from_slice(b"\"}");
}

fn write_call(call: &ToolCall<'_>, echo: &Echo, list: &mut List, out: &mut Vec<u8>) {
    list.next(out);
    let mut block = Members::open(out);
    block.json(out, "type", "\"tool_use\"");
    block.text(out, "id", &call.id);
    block.key(out, "name");
    let flat = call.name.plain();
    string(out, echo.names.find(&flat).map_or(&flat, |known| &known.name));
    block.key(out, "input");
    match &call.args {
        Args::Object(object) => object.write(out),
        Args::Free(text) => custom::wrapped(text).write(out),
        Args::Text(text) => write_object(text, out),
    }
    block.close(out);
}

/// Arguments as an object; what is none, cut off by a limit for one, is kept under a key of its own.
fn write_object(text: &Text<'_>, out: &mut Vec<u8>) {
    let plain = text.plain();
    let mut tape = Tape::new();
    if plain.trim().is_empty() {
        out.extend_from_slice(b"{}");
    } else if tape.read(&plain, Surrogates::Replace).is_ok_and(|root| root.fields().is_some()) {
        Raw::written(&plain).write(out);
    } else {
        out.extend_from_slice(br#"{"_raw_arguments":"#);
        text.write(out);
        out.push(b'}');
    }
}
