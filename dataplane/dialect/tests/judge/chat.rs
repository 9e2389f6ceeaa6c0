//! OpenAI Chat Completions, as its SDK folds them.
//!
//! Owns: the reading, and the grammar of section 5.3.
//! Must not: be kind to streams of ours.
//! Read next: `responses.rs`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::sse::{Framing, events};
use super::{Call, Mind, Reading, Stop, Tokens, count, error_of, has_keys, list, text};

pub fn body(value: &Value, mind: Mind) -> Result<Reading, String> {
    if let Some(error) = error_of(value) {
        return Ok(Reading { error: Some(error), ..Reading::default() });
    }
    has_keys(mind, value, &["id", "object", "created", "model", "choices"])?;
    mind.rule(value["object"] == "chat.completion", || format!("object {}", value["object"]))?;
    mind.rule(value["created"].is_u64(), || format!("created {}", value["created"]))?;
    let mut reading = Reading { tokens: usage(&value["usage"], mind)?, ..Reading::default() };
    let choices = list(value, "choices");
    mind.rule(!choices.is_empty(), || "no choice".to_owned())?;
    for choice in choices {
        has_keys(mind, choice, &["index", "message", "finish_reason"])?;
        has_keys(mind, &choice["message"], &["role", "content"])?;
    }
    if let Some(choice) = choices.first() {
        message(&choice["message"], &mut reading, mind)?;
        reading.stop = choice["finish_reason"].as_str().map(stop);
    }
    Ok(reading)
}

fn message(message: &Value, reading: &mut Reading, mind: Mind) -> Result<(), String> {
    // Some providers write parts where the API has a string.
    let parts = list(message, "content").iter().filter(|part| part["type"] == "text");
    reading.text = parts.fold(text(message, "content").to_owned(), |all, part| all + text(part, "text"));
    text(message, "refusal").clone_into(&mut reading.refusal);
    reasoning(message).clone_into(&mut reading.reasoning);
    let calls = list(message, "tool_calls");
    mind.rule(!message["tool_calls"].is_array() || !calls.is_empty(), || "tool_calls: []".to_owned())?;
    for call in calls {
        has_keys(mind, call, &["id", "type"])?;
        reading.calls.push(whole_call(call));
    }
    if message["function_call"].is_object() {
        let call = &message["function_call"];
        let (name, arguments) = (text(call, "name").to_owned(), text(call, "arguments").to_owned());
        reading.calls.push(Call { id: String::new(), name, arguments });
    }
    Ok(())
}

fn whole_call(call: &Value) -> Call {
    let (of, arguments) = if call["custom"].is_object() {
        (&call["custom"], "input")
    } else {
        (&call["function"], "arguments")
    };
    Call {
        id: text(call, "id").to_owned(),
        name: text(of, "name").to_owned(),
        arguments: text(of, arguments).to_owned(),
    }
}

fn reasoning(of: &Value) -> &str {
    of["reasoning"].as_str().or_else(|| of["reasoning_content"].as_str()).unwrap_or_default()
}

fn stop(reason: &str) -> Stop {
    match reason {
        "stop" => Stop::End,
        "length" => Stop::Length,
        "tool_calls" | "function_call" => Stop::Tool,
        "content_filter" => Stop::Filter,
        other => Stop::Other(other.to_owned()),
    }
}

fn usage(usage: &Value, mind: Mind) -> Result<Option<Tokens>, String> {
    if !usage.is_object() {
        return Ok(None);
    }
    has_keys(mind, usage, &["prompt_tokens", "completion_tokens", "total_tokens"])?;
    let (input, output) = (count(usage, "prompt_tokens"), count(usage, "completion_tokens"));
    mind.rule(count(usage, "total_tokens") == input + output, || format!("a wrong total: {usage}"))?;
    Ok(Some(Tokens {
        input,
        output,
        read: count(&usage["prompt_tokens_details"], "cached_tokens"),
        written: count(&usage["prompt_tokens_details"], "cache_write_tokens"),
        reasoning: count(&usage["completion_tokens_details"], "reasoning_tokens"),
    }))
}

/// What a stream has said so far.
#[derive(Default)]
struct Fold {
    reading: Reading,
    calls: BTreeMap<u64, Call>,
    /// Id, created and model: the same in all chunks.
    envelope: Option<[String; 3]>,
    /// Finish by choice.
    finished: BTreeMap<u64, bool>,
    done: bool,
}

pub fn stream(bytes: &[u8], mind: Mind) -> Result<Reading, String> {
    let mut fold = Fold::default();
    for event in events(bytes, Framing::Anonymous, mind)? {
        mind.rule(!fold.done, || format!("behind the end: {}", event.data))?;
        mind.rule(fold.reading.error.is_none(), || format!("behind an error: {}", event.data))?;
        if event.data == "[DONE]" {
            fold.done = true;
            continue;
        }
        let Ok(chunk) = serde_json::from_str::<Value>(&event.data) else {
            mind.rule(false, || format!("no JSON: {}", event.data))?;
            continue;
        };
        take(&mut fold, &chunk, mind)?;
    }
    let all = fold.finished.values().all(|finished| *finished) && !fold.finished.is_empty();
    let whole = fold.done && all || fold.reading.error.is_some();
    mind.rule(whole, || "the stream ends early".to_owned())?;
    mind.rule(!fold.done || fold.reading.error.is_none(), || "an error, then [DONE]".to_owned())?;
    fold.reading.calls = fold.calls.into_values().collect();
    Ok(fold.reading)
}

fn take(fold: &mut Fold, chunk: &Value, mind: Mind) -> Result<(), String> {
    if let Some(error) = error_of(chunk) {
        fold.reading.error = Some(error);
        return Ok(());
    }
    has_keys(mind, chunk, &["id", "object", "created", "model", "choices"])?;
    let envelope = ["id", "created", "model"].map(|key| chunk[key].to_string());
    let same = fold.envelope.get_or_insert_with(|| envelope.clone()) == &envelope;
    mind.rule(same, || format!("another envelope: {envelope:?}"))?;
    if let Some(tokens) = usage(&chunk["usage"], mind)? {
        let last = list(chunk, "choices").is_empty();
        mind.rule(last, || "usage beside choices".to_owned())?;
        fold.reading.tokens = Some(tokens);
    }
    for choice in list(chunk, "choices") {
        take_choice(fold, choice, mind)?;
    }
    Ok(())
}

fn take_choice(fold: &mut Fold, choice: &Value, mind: Mind) -> Result<(), String> {
    has_keys(mind, choice, &["index", "delta", "finish_reason"])?;
    let (index, delta) = (count(choice, "index"), &choice["delta"]);
    let first = !fold.finished.contains_key(&index);
    mind.rule(!first || delta["role"] == "assistant", || format!("no role in the first chunk: {choice}"))?;
    mind.rule(first || delta.get("role").is_none(), || format!("a role again: {choice}"))?;
    mind.rule(!fold.finished.get(&index).copied().unwrap_or_default(), || format!("finished: {choice}"))?;
    let reason = choice["finish_reason"].as_str();
    fold.finished.insert(index, reason.is_some());
    if index != 0 {
        return Ok(());
    }
    fold.reading.text.push_str(text(delta, "content"));
    fold.reading.refusal.push_str(text(delta, "refusal"));
    fold.reading.reasoning.push_str(reasoning(delta));
    for call in list(delta, "tool_calls") {
        take_call(&mut fold.calls, call, mind)?;
    }
    if let Some(reason) = reason {
        fold.reading.stop = Some(stop(reason));
    }
    Ok(())
}

/// The SDK's accumulator concatenates ids and names, so they may come once.
fn take_call(calls: &mut BTreeMap<u64, Call>, delta: &Value, mind: Mind) -> Result<(), String> {
    let index = count(delta, "index");
    let (next, first) = (calls.len() as u64, !calls.contains_key(&index));
    let piece = whole_call(delta);
    let call = calls.entry(index).or_default();
    if first {
        mind.rule(index == next, || format!("a gap in the calls: {delta}"))?;
        mind.rule(!piece.id.is_empty() && !piece.name.is_empty(), || format!("a nameless call: {delta}"))?;
        *call = piece;
    } else {
        let again = ["id", "type"].iter().any(|key| delta.get(key).is_some()) || !piece.name.is_empty();
        mind.rule(!again, || format!("a call named twice: {delta}"))?;
        call.arguments.push_str(&piece.arguments);
    }
    Ok(())
}
