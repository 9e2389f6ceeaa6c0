//! Anthropic Messages, as its SDK folds them.
//!
//! Owns: the reading, and the grammar of section 5.6.
//! Must not: be kind to streams of ours.
//! Read next: `gemini.rs`.

use serde_json::Value;

use super::sse::{Event, Framing, events};
use super::{Call, Mind, Reading, Stop, Tokens, count, error_of, has_keys, list, text};

pub fn body(value: &Value, mind: Mind) -> Result<Reading, String> {
    if let Some(error) = error_of(value) {
        return Ok(Reading { error: Some(error), ..Reading::default() });
    }
    has_keys(
        mind,
        value,
        &["id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"],
    )?;
    let mut reading = Reading { tokens: Some(usage(&value["usage"], mind)?), ..Reading::default() };
    for block in list(value, "content") {
        take_block(&mut reading, block, mind)?;
    }
    reading.stop = value["stop_reason"].as_str().map(stop);
    Ok(reading)
}

fn take_block(reading: &mut Reading, block: &Value, mind: Mind) -> Result<(), String> {
    match text(block, "type") {
        "text" => {
            has_keys(mind, block, &["text"])?;
            reading.text.push_str(text(block, "text"));
        }
        "thinking" => {
            has_keys(mind, block, &["thinking", "signature"])?;
            reading.reasoning.push_str(text(block, "thinking"));
        }
        "redacted_thinking" => has_keys(mind, block, &["data"])?,
        "tool_use" => {
            has_keys(mind, block, &["id", "name", "input"])?;
            mind.rule(block["input"].is_object() || block["input"].is_string(), || {
                format!("input is no object: {block}")
            })?;
            reading.calls.push(call(block));
        }
        other => mind.rule(false, || format!("a block of type {other}"))?,
    }
    Ok(())
}

fn call(block: &Value) -> Call {
    Call {
        id: text(block, "id").to_owned(),
        name: text(block, "name").to_owned(),
        // What a limit cut is no JSON.
        arguments: block["input"].as_str().map_or_else(|| block["input"].to_string(), str::to_owned),
    }
}

fn stop(reason: &str) -> Stop {
    match reason {
        "end_turn" => Stop::End,
        "stop_sequence" => Stop::Sequence,
        "tool_use" => Stop::Tool,
        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
        "refusal" => Stop::Filter,
        other => Stop::Other(other.to_owned()),
    }
}

fn usage(usage: &Value, mind: Mind) -> Result<Tokens, String> {
    has_keys(mind, usage, &["input_tokens", "output_tokens"])?;
    let (read, written) =
        (count(usage, "cache_read_input_tokens"), count(usage, "cache_creation_input_tokens"));
    Ok(Tokens {
        input: count(usage, "input_tokens") + read + written,
        output: count(usage, "output_tokens"),
        read,
        written,
        reasoning: count(&usage["output_tokens_details"], "thinking_tokens"),
    })
}

/// Where a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Before,
    Between,
    Inside,
    Ending,
    Over,
}

struct Fold {
    reading: Reading,
    at: At,
    /// The open block, with its input so far.
    block: Value,
    input: String,
    /// Some input is no JSON, as only a limit can cut it.
    cut: bool,
    /// Index of the next block.
    next: u64,
    /// Usage so far, key by key: the last one that is not null counts.
    usage: Value,
}

pub fn stream(bytes: &[u8], mind: Mind) -> Result<Reading, String> {
    let mut fold = Fold {
        reading: Reading::default(),
        at: At::Before,
        block: Value::Null,
        input: String::new(),
        cut: false,
        next: 0,
        usage: serde_json::json!({}),
    };
    for event in events(bytes, Framing::Named, mind)? {
        let Ok(data) = serde_json::from_str::<Value>(&event.data) else {
            mind.rule(false, || format!("no JSON: {}", event.data))?;
            continue;
        };
        take(&mut fold, &event, &data, mind)?;
    }
    mind.rule(fold.at == At::Over, || format!("the stream ends {:?}", fold.at))?;
    if fold.usage.get("output_tokens").is_some() {
        fold.reading.tokens = Some(usage(&fold.usage, mind)?);
    }
    Ok(fold.reading)
}

fn take(fold: &mut Fold, event: &Event, data: &Value, mind: Mind) -> Result<(), String> {
    let kind = text(data, "type");
    mind.rule(event.name.as_deref() == Some(kind), || format!("{:?} named for {kind}", event.name))?;
    mind.rule(fold.at != At::Over, || format!("behind the end: {data}"))?;
    let (wanted, then) = match kind {
        "message_start" => (At::Before, At::Between),
        "content_block_start" => (At::Between, At::Inside),
        "content_block_delta" => (At::Inside, At::Inside),
        "content_block_stop" => (At::Inside, At::Between),
        "message_delta" => (At::Between, At::Ending),
        "message_stop" => (At::Ending, At::Over),
        "error" => (fold.at, At::Over),
        "ping" => (fold.at, fold.at),
        other => return mind.rule(false, || format!("an event of type {other}")),
    };
    mind.rule(fold.at == wanted, || format!("{kind} while {:?}", fold.at))?;
    mind.rule(kind != "ping" || fold.at != At::Before, || "a ping before the start".to_owned())?;
    fold.at = then;
    if kind.starts_with("content_block") {
        let index = count(data, "index");
        mind.rule(index == fold.next, || format!("index {index} instead of {}", fold.next))?;
    }
    act(fold, kind, data, mind)
}

fn act(fold: &mut Fold, kind: &str, data: &Value, mind: Mind) -> Result<(), String> {
    match kind {
        "message_start" => {
            let keys = ["id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"];
            has_keys(mind, &data["message"], &keys)?;
            usage(&data["message"]["usage"], mind)?;
            take_usage(fold, &data["message"]["usage"]);
        }
        "content_block_start" => {
            fold.block = data["content_block"].clone();
            fold.input.clear();
        }
        "content_block_delta" => return take_delta(fold, &data["delta"], mind),
        "content_block_stop" => {
            if !fold.input.trim().is_empty() {
                let parsed = serde_json::from_str(&fold.input);
                fold.cut |= parsed.is_err();
                fold.block["input"] = parsed.unwrap_or_else(|_| Value::String(fold.input.clone()));
            }
            let block = std::mem::take(&mut fold.block);
            fold.next += 1;
            return take_block(&mut fold.reading, &block, mind);
        }
        "message_delta" => {
            has_keys(mind, data, &["delta", "usage"])?;
            has_keys(mind, &data["delta"], &["stop_reason", "stop_sequence"])?;
            fold.reading.stop = data["delta"]["stop_reason"].as_str().map(stop);
            let right = !fold.cut || fold.reading.stop == Some(Stop::Length);
            mind.rule(right, || format!("input is no JSON: {:?}", fold.reading.calls))?;
            take_usage(fold, &data["usage"]);
        }
        "error" => {
            has_keys(mind, &data["error"], &["type", "message"])?;
            fold.reading.error = error_of(data);
        }
        _ => {}
    }
    Ok(())
}

fn take_usage(fold: &mut Fold, usage: &Value) {
    for (key, value) in usage.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        fold.usage[key] = value.clone();
    }
}

fn take_delta(fold: &mut Fold, delta: &Value, mind: Mind) -> Result<(), String> {
    let (kind, member, of) = match text(delta, "type") {
        "text_delta" => ("text", "text", "text"),
        "thinking_delta" => ("thinking", "thinking", "thinking"),
        "signature_delta" => ("thinking", "signature", "signature"),
        "input_json_delta" => ("tool_use", "", "partial_json"),
        "citations_delta" => return Ok(()),
        other => return mind.rule(false, || format!("a delta of type {other}")),
    };
    let open = text(&fold.block, "type");
    mind.rule(open == kind, || format!("{delta} in a block of type {open}"))?;
    mind.rule(delta[of].is_string(), || format!("without {of}: {delta}"))?;
    if member.is_empty() {
        fold.input.push_str(text(delta, of));
    } else if fold.block.is_object() {
        let joined = text(&fold.block, member).to_owned() + text(delta, of);
        fold.block[member] = Value::String(joined);
    }
    Ok(())
}
