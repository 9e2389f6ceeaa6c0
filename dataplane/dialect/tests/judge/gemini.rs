//! Gemini's generateContent, as its SDK folds it.
//!
//! Owns: the reading, and the grammar of section 5.5, in both framings.
//! Must not: be kind to streams of ours.
//! Read next: `mod.rs`.

use serde_json::Value;

use super::sse::{Framing, events};
use super::{Call, Mind, Reading, Stop, Tokens, count, error_of, has_keys, list, text};

pub fn body(value: &Value, mind: Mind) -> Result<Reading, String> {
    let mut fold = Fold::default();
    take(&mut fold, value, mind)?;
    mind.rule(fold.over(), || format!("no finishReason: {value}"))?;
    if fold.blocked && fold.reading.stop.is_none() {
        fold.reading.stop = Some(Stop::Filter);
    }
    Ok(fold.reading.ended_for_calls())
}

#[derive(Default)]
struct Fold {
    reading: Reading,
    blocked: bool,
}

impl Fold {
    fn over(&self) -> bool {
        self.reading.stop.is_some() || self.blocked || self.reading.error.is_some()
    }
}

/// A JSON array where it begins like one, else events.
pub fn stream(bytes: &[u8], mind: Mind) -> Result<Reading, String> {
    let mut fold = Fold::default();
    for chunk in chunks(bytes, mind)? {
        mind.rule(fold.reading.error.is_none(), || format!("behind an error: {chunk}"))?;
        take(&mut fold, &chunk, mind)?;
    }
    mind.rule(fold.over(), || "the stream ends early".to_owned())?;
    if fold.blocked && fold.reading.stop.is_none() {
        fold.reading.stop = Some(Stop::Filter);
    }
    Ok(fold.reading.ended_for_calls())
}

fn chunks(bytes: &[u8], mind: Mind) -> Result<Vec<Value>, String> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        return array(bytes);
    }
    let mut all = Vec::new();
    for event in events(bytes, Framing::Bare, mind)? {
        match serde_json::from_str(&event.data) {
            Ok(chunk) => all.push(chunk),
            Err(_) => mind.rule(false, || format!("no JSON: {}", event.data))?,
        }
    }
    Ok(all)
}

/// An array that is closed, or one that an error left open.
fn array(bytes: &[u8]) -> Result<Vec<Value>, String> {
    let closed = serde_json::from_slice::<Vec<Value>>(bytes);
    let all = closed.or_else(|error| {
        let all =
            serde_json::from_slice::<Vec<Value>>(&[bytes, b"]"].concat()).map_err(|_| error.to_string())?;
        let told = all.last().is_some_and(|last| error_of(last).is_some());
        if told { Ok(all) } else { Err("the array is not closed".to_owned()) }
    });
    all.map_err(|error| format!("no array: {error}"))
}

fn take(fold: &mut Fold, chunk: &Value, mind: Mind) -> Result<(), String> {
    if let Some(error) = error_of(chunk) {
        mind.rule(chunk["error"]["code"].is_u64(), || format!("a code that is no integer: {chunk}"))?;
        fold.reading.error = Some(error);
        return Ok(());
    }
    has_keys(mind, chunk, &["modelVersion", "responseId"])?;
    fold.blocked |= chunk["promptFeedback"]["blockReason"].is_string();
    if let Some(tokens) = usage(&chunk["usageMetadata"], mind)? {
        fold.reading.tokens = Some(tokens);
    }
    for candidate in list(chunk, "candidates") {
        has_keys(mind, candidate, &["content", "index"])?;
        mind.rule(candidate["content"]["role"] == "model", || format!("no role: {candidate}"))?;
        if count(candidate, "index") == 0 {
            take_candidate(fold, candidate, mind)?;
        }
    }
    Ok(())
}

fn take_candidate(fold: &mut Fold, candidate: &Value, mind: Mind) -> Result<(), String> {
    mind.rule(fold.reading.stop.is_none(), || format!("behind the finish: {candidate}"))?;
    for part in list(&candidate["content"], "parts") {
        take_part(&mut fold.reading, part, mind)?;
    }
    if let Some(reason) = candidate["finishReason"].as_str() {
        fold.reading.stop = Some(stop(reason));
    }
    Ok(())
}

fn take_part(reading: &mut Reading, part: &Value, mind: Mind) -> Result<(), String> {
    if let Some(signature) = part.get("thoughtSignature") {
        let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte);
        let sound = signature.as_str().is_some_and(|text| text.bytes().all(alphabet));
        mind.rule(sound, || format!("a signature that is not base64: {part}"))?;
    }
    if part["functionCall"].is_object() {
        let call = &part["functionCall"];
        mind.rule(!text(call, "name").is_empty(), || format!("a nameless call: {part}"))?;
        if text(call, "name").is_empty() {
            return Ok(()); // pieces of arguments, which the vendor's client passes over
        }
        let arguments = call.get("args").map_or_else(|| "{}".to_owned(), ToString::to_string);
        mind.rule(arguments.starts_with('{'), || format!("args are no object: {part}"))?;
        let (id, name) = (text(call, "id").to_owned(), text(call, "name").to_owned());
        reading.calls.push(Call { id, name, arguments });
        return Ok(());
    }
    let into = if part["thought"] == true { &mut reading.reasoning } else { &mut reading.text };
    into.push_str(text(part, "text"));
    Ok(())
}

fn stop(reason: &str) -> Stop {
    match reason {
        "STOP" => Stop::End,
        "MAX_TOKENS" => Stop::Length,
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY" => {
            Stop::Filter
        }
        other => Stop::Other(other.to_owned()),
    }
}

fn usage(usage: &Value, mind: Mind) -> Result<Option<Tokens>, String> {
    if !usage.is_object() {
        return Ok(None);
    }
    let prompt = count(usage, "promptTokenCount") + count(usage, "toolUsePromptTokenCount");
    let (shown, thoughts) = (count(usage, "candidatesTokenCount"), count(usage, "thoughtsTokenCount"));
    let total = count(usage, "totalTokenCount");
    let inclusive = thoughts > 0 && prompt + shown == total;
    mind.rule(prompt + shown + thoughts == total, || format!("a wrong total: {usage}"))?;
    Ok(Some(Tokens {
        input: prompt,
        output: if inclusive { shown } else { shown + thoughts },
        read: count(usage, "cachedContentTokenCount"),
        written: 0,
        reasoning: thoughts,
    }))
}
