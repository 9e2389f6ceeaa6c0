//! OpenAI Responses, as its SDK folds them.
//!
//! Owns: the reading, and the grammar of section 5.4: the life of the response, of its items and of their parts.
//! Must not: be kind to streams of ours.
//! Read next: `anthropic.rs`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::sse::{Event, Framing, events};
use super::{Call, Mind, Reading, Stop, Tokens, count, has_keys, list, text};

const ENVELOPE: [&str; 12] = [
    "id",
    "object",
    "created_at",
    "status",
    "model",
    "output",
    "parallel_tool_calls",
    "tool_choice",
    "tools",
    "error",
    "incomplete_details",
    "usage",
];

pub fn body(value: &Value, mind: Mind) -> Result<Reading, String> {
    if value.get("output").is_none() && value["error"].is_object() {
        return Ok(Reading { error: Some(value["error"].to_string()), ..Reading::default() });
    }
    has_keys(mind, value, &ENVELOPE)?;
    has_keys(mind, value, &["text", "metadata", "instructions", "temperature", "top_p", "reasoning"])?;
    let mut reading = Reading { tokens: usage(&value["usage"], mind)?, ..Reading::default() };
    for item in list(value, "output") {
        take_item(&mut reading, item, mind)?;
    }
    reading.stop = stop(value, &reading);
    if value["status"] == "failed" {
        reading.error = Some(value["error"].to_string());
    }
    Ok(reading)
}

fn take_item(reading: &mut Reading, item: &Value, mind: Mind) -> Result<(), String> {
    has_keys(mind, item, &["id", "type"])?;
    match text(item, "type") {
        "message" => {
            has_keys(mind, item, &["role", "status", "content"])?;
            list(item, "content").iter().try_for_each(|part| take_part(reading, part, mind))?;
        }
        "reasoning" => {
            has_keys(mind, item, &["summary"])?;
            for part in list(item, "summary").iter().chain(list(item, "content")) {
                reading.reasoning.push_str(text(part, "text"));
            }
        }
        "function_call" => {
            has_keys(mind, item, &["call_id", "name", "arguments"])?;
            reading.calls.push(call(item, "arguments"));
        }
        "custom_tool_call" => {
            has_keys(mind, item, &["call_id", "name", "input"])?;
            reading.calls.push(call(item, "input"));
        }
        other => mind.rule(false, || format!("an item of type {other}"))?,
    }
    Ok(())
}

fn take_part(reading: &mut Reading, part: &Value, mind: Mind) -> Result<(), String> {
    match text(part, "type") {
        "output_text" => {
            has_keys(mind, part, &["text", "annotations", "logprobs"])?;
            reading.text.push_str(text(part, "text"));
        }
        "refusal" => {
            has_keys(mind, part, &["refusal"])?;
            reading.refusal.push_str(text(part, "refusal"));
        }
        other => mind.rule(false, || format!("a part of type {other}"))?,
    }
    Ok(())
}

fn call(item: &Value, arguments: &str) -> Call {
    Call {
        id: text(item, "call_id").to_owned(),
        name: text(item, "name").to_owned(),
        arguments: text(item, arguments).to_owned(),
    }
}

fn stop(response: &Value, reading: &Reading) -> Option<Stop> {
    Some(match (text(response, "status"), text(&response["incomplete_details"], "reason")) {
        ("completed", _) if reading.calls.is_empty() => Stop::End,
        ("completed", _) => Stop::Tool,
        ("incomplete", "max_output_tokens" | "max_tokens") => Stop::Length,
        ("incomplete", "content_filter") => Stop::Filter,
        ("incomplete", other) => Stop::Other(other.to_owned()),
        (_, _) => return None,
    })
}

fn usage(usage: &Value, mind: Mind) -> Result<Option<Tokens>, String> {
    if !usage.is_object() {
        return Ok(None);
    }
    let keys =
        ["input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens"];
    has_keys(mind, usage, &keys)?;
    has_keys(mind, &usage["input_tokens_details"], &["cached_tokens", "cache_write_tokens"])?;
    has_keys(mind, &usage["output_tokens_details"], &["reasoning_tokens"])?;
    let (input, output) = (count(usage, "input_tokens"), count(usage, "output_tokens"));
    mind.rule(count(usage, "total_tokens") == input + output, || format!("a wrong total: {usage}"))?;
    Ok(Some(Tokens {
        input,
        output,
        read: count(&usage["input_tokens_details"], "cached_tokens"),
        written: count(&usage["input_tokens_details"], "cache_write_tokens"),
        reasoning: count(&usage["output_tokens_details"], "reasoning_tokens"),
    }))
}

/// An item between its `added` and its `done`.
#[derive(Default)]
struct Open {
    id: String,
    kind: String,
    /// Text of the open part, or arguments, from deltas.
    said: String,
    /// The part that is open: its family (`content` or `summary`) and index.
    part: Option<(&'static str, u64)>,
    /// Parts closed so far, by family.
    parts: BTreeMap<&'static str, u64>,
    /// Whether the `done` of the text, refusal or arguments has come.
    done: bool,
}

#[derive(Default)]
struct Fold {
    next: u64,
    created: bool,
    progressed: bool,
    /// Items whose `added` has come; the key is the output index.
    open: BTreeMap<u64, Open>,
    /// Items whose `done` has come.
    done: BTreeMap<u64, Value>,
    ids: BTreeSet<String>,
    end: Option<Reading>,
}

pub fn stream(bytes: &[u8], mind: Mind) -> Result<Reading, String> {
    let mut fold = Fold::default();
    for event in events(bytes, Framing::Named, mind)? {
        let Ok(data) = serde_json::from_str::<Value>(&event.data) else {
            mind.rule(event.data == "[DONE]" && mind == Mind::Lenient, || {
                format!("no JSON: {}", event.data)
            })?;
            continue;
        };
        take(&mut fold, &event, &data, mind)?;
    }
    fold.end.map_or_else(
        || mind.rule(false, || "the stream ends early".to_owned()).map(|()| lenient(&fold.done)),
        Ok,
    )
}

/// What a stream without an end has said.
fn lenient(done: &BTreeMap<u64, Value>) -> Reading {
    let mut reading = Reading::default();
    for item in done.values() {
        take_item(&mut reading, item, Mind::Lenient).expect("lenient reading does not fail");
    }
    reading
}

fn take(fold: &mut Fold, event: &Event, data: &Value, mind: Mind) -> Result<(), String> {
    let kind = text(data, "type");
    mind.rule(event.name.as_deref() == Some(kind), || format!("{:?} named for {kind}", event.name))?;
    mind.rule(fold.end.is_none(), || format!("behind the end: {data}"))?;
    let number = data["sequence_number"].as_u64();
    mind.rule(number == Some(fold.next), || format!("number {number:?} instead of {}", fold.next))?;
    fold.next += 1;
    let begun = fold.created && fold.progressed;
    let opening = matches!(kind, "response.created" | "response.in_progress" | "error");
    mind.rule(begun || opening, || format!("before the response is in progress: {data}"))?;
    match kind {
        "response.created" => {
            mind.rule(!fold.created, || "created twice".to_owned())?;
            fold.created = true;
            fresh(&data["response"], mind)
        }
        "response.in_progress" => {
            mind.rule(fold.created && !fold.progressed, || "in progress out of turn".to_owned())?;
            fold.progressed = true;
            fresh(&data["response"], mind)
        }
        "response.completed" | "response.incomplete" | "response.failed" => end(fold, kind, data, mind),
        "error" => {
            has_keys(mind, data, &["code", "message", "param"])?;
            let mut reading = lenient(&fold.done);
            reading.error = Some(data.to_string());
            fold.end = Some(reading);
            Ok(())
        }
        "response.output_item.added" => added(fold, data, mind),
        "response.output_item.done" => item_done(fold, data, mind),
        _ => inside(fold, kind, data, mind),
    }
}

fn fresh(response: &Value, mind: Mind) -> Result<(), String> {
    has_keys(mind, response, &ENVELOPE)?;
    mind.rule(response["status"] == "in_progress", || format!("status {}", response["status"]))?;
    mind.rule(list(response, "output").is_empty(), || "output before it was made".to_owned())
}

fn end(fold: &mut Fold, kind: &str, data: &Value, mind: Mind) -> Result<(), String> {
    let response = &data["response"];
    mind.rule(fold.open.is_empty(), || format!("items left open: {:?}", fold.open.keys()))?;
    let status = kind.strip_prefix("response.").unwrap_or_default();
    mind.rule(response["status"] == status, || format!("{kind} with status {}", response["status"]))?;
    let told: Vec<&Value> = list(response, "output").iter().collect();
    let streamed: Vec<&Value> = fold.done.values().collect();
    mind.rule(told == streamed, || format!("output differs from the items: {told:?} / {streamed:?}"))?;
    mind.rule(kind != "response.completed" || response["completed_at"].is_number(), || {
        "completed without completed_at".to_owned()
    })?;
    let mut reading = body(response, mind)?;
    if told.is_empty() && !streamed.is_empty() {
        let kept = lenient(&fold.done);
        reading = Reading { stop: stop(response, &kept), tokens: reading.tokens, ..kept };
    }
    fold.end = Some(reading);
    Ok(())
}

fn added(fold: &mut Fold, data: &Value, mind: Mind) -> Result<(), String> {
    let (index, item) = (count(data, "output_index"), &data["item"]);
    let next = (fold.open.len() + fold.done.len()) as u64;
    mind.rule(index == next, || format!("item {index} instead of {next}"))?;
    mind.rule(fold.ids.insert(text(item, "id").to_owned()), || format!("an id twice: {item}"))?;
    let empty = list(item, "content").is_empty()
        && list(item, "summary").is_empty()
        && text(item, "arguments").is_empty()
        && text(item, "input").is_empty();
    mind.rule(empty, || format!("added with content: {item}"))?;
    let mut all = Reading::default();
    take_item(&mut all, item, mind)?;
    let (id, kind) = (text(item, "id").to_owned(), text(item, "type").to_owned());
    fold.open.insert(index, Open { id, kind, ..Open::default() });
    Ok(())
}

fn item_done(fold: &mut Fold, data: &Value, mind: Mind) -> Result<(), String> {
    let (index, item) = (count(data, "output_index"), &data["item"]);
    let open = fold.open.remove(&index);
    mind.rule(open.is_some(), || format!("done without added: {data}"))?;
    if let Some(open) = open {
        let same = open.id == text(item, "id") && open.kind == text(item, "type");
        mind.rule(same && open.part.is_none(), || format!("done as something else: {data}"))?;
        let is_call = open.kind.ends_with("_call");
        mind.rule(!is_call || open.done, || format!("a call without its arguments: {data}"))?;
        let parts = |family: &str| open.parts.get(family).copied().unwrap_or_default();
        let counts = |family: &str| list(item, family).len() as u64 == parts(family);
        mind.rule(counts("content") && counts("summary"), || format!("parts never streamed: {data}"))?;
        let arguments = text(item, "arguments").to_owned() + text(item, "input");
        mind.rule(!is_call || arguments == open.said, || format!("arguments differ: {data}"))?;
    }
    fold.done.insert(index, item.clone());
    Ok(())
}

/// What happens between an item's `added` and its `done`.
fn inside(fold: &mut Fold, kind: &str, data: &Value, mind: Mind) -> Result<(), String> {
    let step = kind.strip_prefix("response.").unwrap_or(kind);
    let Some(open) = fold.open.get_mut(&count(data, "output_index")) else {
        return mind.rule(false, || format!("in no item: {data}"));
    };
    mind.rule(text(data, "item_id") == open.id, || format!("another item's id: {data}"))?;
    let content = ("content", count(data, "content_index"));
    let summary = ("summary", count(data, "summary_index"));
    match step {
        "content_part.added" => part_added(open, content, &data["part"], mind),
        "reasoning_summary_part.added" => part_added(open, summary, &data["part"], mind),
        "output_text.delta" => {
            has_keys(mind, data, &["logprobs"])?;
            said(open, content, text(data, "delta"), mind)
        }
        "refusal.delta" | "reasoning_text.delta" => said(open, content, text(data, "delta"), mind),
        "reasoning_summary_text.delta" => said(open, summary, text(data, "delta"), mind),
        "output_text.annotation.added" => {
            mind.rule(open.part == Some(content), || format!("no part: {data}"))
        }
        "output_text.done" => {
            has_keys(mind, data, &["logprobs"])?;
            text_done(open, content, text(data, "text"), mind)
        }
        "reasoning_text.done" => text_done(open, content, text(data, "text"), mind),
        "refusal.done" => text_done(open, content, text(data, "refusal"), mind),
        "reasoning_summary_text.done" => text_done(open, summary, text(data, "text"), mind),
        "content_part.done" => part_done(open, content, &data["part"], mind),
        "reasoning_summary_part.done" => part_done(open, summary, &data["part"], mind),
        "function_call_arguments.delta" | "custom_tool_call_input.delta" => {
            mind.rule(!open.done, || format!("behind the arguments' end: {data}"))?;
            open.said.push_str(text(data, "delta"));
            Ok(())
        }
        "function_call_arguments.done" | "custom_tool_call_input.done" => {
            let whole = text(data, "arguments").to_owned() + text(data, "input");
            mind.rule(!open.done && whole == open.said, || format!("differs from its deltas: {data}"))?;
            open.done = true;
            Ok(())
        }
        other => mind.rule(false, || format!("an event of type {other}")),
    }
}

fn part_added(open: &mut Open, part: (&'static str, u64), value: &Value, mind: Mind) -> Result<(), String> {
    let next = open.parts.get(part.0).copied().unwrap_or_default();
    mind.rule(open.part.is_none() && part.1 == next, || format!("part {part:?} out of turn"))?;
    let empty = text(value, "text").is_empty() && text(value, "refusal").is_empty();
    mind.rule(empty, || format!("a part added with text: {value}"))?;
    open.part = Some(part);
    open.said.clear();
    open.done = false;
    Ok(())
}

fn said(open: &mut Open, part: (&'static str, u64), delta: &str, mind: Mind) -> Result<(), String> {
    mind.rule(open.part == Some(part) && !open.done, || format!("{delta:?} in no open part"))?;
    open.said.push_str(delta);
    Ok(())
}

fn text_done(open: &mut Open, part: (&'static str, u64), whole: &str, mind: Mind) -> Result<(), String> {
    let right = open.part == Some(part) && !open.done && whole == open.said;
    mind.rule(right, || format!("done as {whole:?} after {:?}", open.said))?;
    open.done = true;
    Ok(())
}

fn part_done(open: &mut Open, part: (&'static str, u64), value: &Value, mind: Mind) -> Result<(), String> {
    let whole = text(value, "text").to_owned() + text(value, "refusal");
    let right = open.part == Some(part) && open.done && whole == open.said;
    mind.rule(right, || format!("part {part:?} done as {value}"))?;
    open.part = None;
    *open.parts.entry(part.0).or_default() += 1;
    Ok(())
}
