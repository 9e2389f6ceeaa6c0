//! Leaves what was written where the official clients can read it (`tests/sdk/test_translated.py`).
//! Owns: one file per answer and direction, and an index of what it says. Must not: judge: `answers.rs` does.
//! Read next: `answers.rs`.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::answers::judgeable;
use crate::bridge;
use crate::judge::{self, Dialect, Mind, Reading, Stop};

#[test]
fn what_was_written_is_left_for_the_official_clients() {
    let Some(folder) = std::env::var_os("RINGWAY_EMIT").map(PathBuf::from) else {
        println!("skipped: RINGWAY_EMIT names no folder to write to");
        return;
    };
    fs::create_dir_all(&folder).expect("the folder can be made");
    let mut index = Vec::new();
    for recorded in &judgeable() {
        for caller in Dialect::ALL {
            let forms: &[bool] =
                if recorded.stream && caller == Dialect::Gemini { &[false, true] } else { &[false] };
            for as_array in forms {
                let bytes = written(recorded, caller, *as_array);
                let read = if recorded.stream { judge::stream } else { judge::body };
                let reading = read(caller, &bytes, Mind::Strict).expect("the judge has read it before");
                let number = index.len();
                fs::write(folder.join(number.to_string()), &bytes).expect("a file can be written");
                index.push(json!({
                    "number": number.to_string(), "file": recorded.file, "from": recorded.dialect.name(),
                    "into": caller.name(), "stream": recorded.stream, "array": as_array,
                    "says": says(caller, &reading),
                }));
            }
        }
    }
    let lines = index.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    fs::write(folder.join("index.jsonl"), lines).expect("a file can be written");
}

fn written(recorded: &crate::judge::fixtures::Recorded, caller: Dialect, as_array: bool) -> Vec<u8> {
    let echo = bridge::echo();
    if !recorded.stream {
        return bridge::answer(recorded.dialect, caller, &recorded.response, &echo).expect("judged before").0;
    }
    let whole = [recorded.response.as_slice()];
    if as_array {
        return bridge::array(recorded.dialect, whole, &echo).bytes;
    }
    bridge::stream(recorded.dialect, caller, whole, &echo).bytes
}

fn says(caller: Dialect, reading: &Reading) -> Value {
    let calls: Vec<Value> = reading
        .calls
        .iter()
        .map(|call| {
            let text = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
            // Anthropic's client keeps nothing of arguments that a limit cut.
            let cut = if caller == Dialect::Anthropic { json!({}) } else { json!(text) };
            json!([call.name, serde_json::from_str(text).unwrap_or(cut)])
        })
        .collect();
    json!({
        "text": reading.text, "refusal": reading.refusal, "reasoning": reading.reasoning, "calls": calls,
        "stop": reading.stop.as_ref().map(|stop| word(caller, stop)),
        "usage": reading.tokens.map(|tokens| [tokens.input, tokens.output]),
    })
}

/// What the dialect's client calls a reason.
fn word(caller: Dialect, stop: &Stop) -> &str {
    match (caller, stop) {
        (_, Stop::Other(word)) => word,
        (Dialect::Chat, Stop::End | Stop::Sequence) => "stop",
        (Dialect::Chat, Stop::Tool) => "tool_calls",
        (Dialect::Chat, Stop::Length) => "length",
        (Dialect::Chat | Dialect::Responses, Stop::Filter) => "content_filter",
        (Dialect::Responses, Stop::End | Stop::Sequence | Stop::Tool) => "completed",
        (Dialect::Responses, Stop::Length) => "max_output_tokens",
        (Dialect::Anthropic, Stop::End) => "end_turn",
        (Dialect::Anthropic, Stop::Sequence) => "stop_sequence",
        (Dialect::Anthropic, Stop::Tool) => "tool_use",
        (Dialect::Anthropic, Stop::Length) => "max_tokens",
        (Dialect::Anthropic, Stop::Filter) => "refusal",
        (Dialect::Gemini, Stop::End | Stop::Sequence | Stop::Tool) => "STOP",
        (Dialect::Gemini, Stop::Length) => "MAX_TOKENS",
        (Dialect::Gemini, Stop::Filter) => "SAFETY",
    }
}
