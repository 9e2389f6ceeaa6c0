//! Every recorded exchange of Chat Completions and Messages, through the other dialect and back.
//!
//! Owns: a reading of both dialects' answers with another JSON library, and the comparison with what the vendors'
//! clients read from the recording. Must not: use the code under test to judge it.
//! Read next: `canonical.rs`. Needs RINGWAY_FIXTURES; without it, says so and passes.

use ringway_dialect::dialect::Dialect;
use ringway_dialect::json::{Surrogates, Tape};
use ringway_dialect::model::{Echo, Losses, Realm, Show, Target};
use ringway_dialect::translate::{self, Translator};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

const PAIRS: [(&str, Dialect, Dialect); 2] = [
    ("openai-chat", Dialect::OpenAiChat, Dialect::Anthropic),
    ("anthropic-messages", Dialect::Anthropic, Dialect::OpenAiChat),
];

/// Several messages in one stream, with numbers of blocks that repeat: their authors trimmed them, and the vendor's own
/// client goes wrong on them.
const TRIMMED: [&str; 6] = [
    "anthropic-messages/0607.json",
    "anthropic-messages/0616.json",
    "anthropic-messages/0619.json",
    "anthropic-messages/0621.json",
    "anthropic-messages/0622.json",
    "anthropic-messages/0633.json",
];

fn fixtures() -> Option<PathBuf> {
    let folder = std::env::var_os("RINGWAY_FIXTURES").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: RINGWAY_FIXTURES is not set");
    }
    folder
}

/// The recordings of one dialect, by file, with what the vendor's client read of each.
fn recordings(folder: &PathBuf, dialect: &str) -> Vec<(String, Value, Option<Value>)> {
    let lines = |name: &str| fs::read_to_string(folder.join(name)).expect("the oracle is there");
    let oracle: BTreeMap<String, Value> = [lines("oracle.jsonl"), lines("oracle-unary.jsonl")]
        .iter()
        .flat_map(|text| text.lines())
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|line| (line["file"].as_str().expect("a name").to_owned(), line))
        .collect();
    let mut names: Vec<_> = fs::read_dir(folder.join("providers").join(dialect))
        .expect("recordings")
        .map(|entry| format!("{dialect}/{}", entry.expect("readable").file_name().to_string_lossy()))
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let text = fs::read_to_string(folder.join("providers").join(&name)).expect("readable");
            let record = serde_json::from_str(&text).expect("JSON");
            let said = oracle.get(&name).cloned();
            (name, record, said)
        })
        .collect()
}

/// What a client reads of an answer.
#[derive(Debug, Default, PartialEq)]
struct Read {
    text: String,
    calls: Vec<(String, Value)>,
    stop: String,
    input: Option<u64>,
    output: Option<u64>,
}

fn arguments(text: &str) -> Value {
    let text = if text.trim().is_empty() { "{}" } else { text };
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn data(stream: &str) -> Vec<Value> {
    stream.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
}

fn push(into: &mut String, value: &Value) {
    *into += value.as_str().unwrap_or_default();
}

fn read_chat(text: &str, stream: bool) -> Read {
    let mut read = Read::default();
    let mut calls: BTreeMap<u64, (String, String)> = BTreeMap::new();
    let chunks = if stream { data(text) } else { vec![serde_json::from_str(text).expect("JSON")] };
    for chunk in chunks {
        if let Some(usage) = chunk["usage"].as_object() {
            read.input = usage["prompt_tokens"].as_u64();
            read.output = usage["completion_tokens"].as_u64();
        }
        for choice in chunk["choices"].as_array().into_iter().flatten().filter(|choice| choice["index"] == 0)
        {
            let delta = if stream { &choice["delta"] } else { &choice["message"] };
            push(&mut read.text, &delta["content"]);
            push(&mut read.text, &delta["refusal"]);
            for (n, call) in delta["tool_calls"].as_array().into_iter().flatten().enumerate() {
                let entry = calls.entry(call["index"].as_u64().unwrap_or(n as u64)).or_default();
                let inner = if call["custom"].is_object() { &call["custom"] } else { &call["function"] };
                push(&mut entry.0, &inner["name"]);
                push(&mut entry.1, &inner["arguments"]);
                push(&mut entry.1, &inner["input"]);
            }
            if let Some(reason) = choice["finish_reason"].as_str() {
                reason.clone_into(&mut read.stop);
            }
        }
    }
    read.calls = calls.into_values().map(|(name, args)| (name, arguments(&args))).collect();
    read
}

fn read_anthropic(text: &str, stream: bool) -> Read {
    let mut read = Read::default();
    let mut calls: Vec<(String, String)> = Vec::new();
    let usage = |read: &mut Read, usage: &Value| {
        let count = |key: &str| usage[key].as_u64().unwrap_or(0);
        if usage.is_object() {
            let cached = count("cache_read_input_tokens") + count("cache_creation_input_tokens");
            read.input = Some(count("input_tokens") + cached);
            read.output = Some(count("output_tokens"));
        }
    };
    if !stream {
        let message: Value = serde_json::from_str(text).expect("JSON");
        for block in message["content"].as_array().into_iter().flatten() {
            push(&mut read.text, &block["text"]);
            if block["type"] == "tool_use" {
                read.calls.push((block["name"].as_str().expect("a name").to_owned(), block["input"].clone()));
            }
        }
        usage(&mut read, &message["usage"]);
        push(&mut read.stop, &message["stop_reason"]);
        return read;
    }
    for event in data(text) {
        match event["type"].as_str() {
            Some("content_block_start") if event["content_block"]["type"] == "tool_use" => {
                calls.push((
                    event["content_block"]["name"].as_str().expect("a name").to_owned(),
                    String::new(),
                ));
            }
            Some("content_block_delta") => {
                push(&mut read.text, &event["delta"]["text"]);
                if let Some(call) = calls.last_mut() {
                    push(&mut call.1, &event["delta"]["partial_json"]);
                }
            }
            Some("message_delta") => {
                push(&mut read.stop, &event["delta"]["stop_reason"]);
                usage(&mut read, &event["usage"]);
            }
            _ => {}
        }
    }
    read.calls = calls.into_iter().map(|(name, args)| (name, arguments(&args))).collect();
    read
}

fn read(dialect: Dialect, text: &str, stream: bool) -> Read {
    match dialect {
        Dialect::OpenAiChat => read_chat(text, stream),
        Dialect::Anthropic => read_anthropic(text, stream),
        Dialect::OpenAiResponses | Dialect::Gemini => unreachable!("not among the pairs"),
    }
}

/// The same in the words of the vendor's client.
fn wanted(dialect: Dialect, said: &Value) -> Read {
    let mut text = said["text"].as_str().unwrap_or_default().to_owned();
    push(&mut text, &said["refusal"]);
    let calls = said["tool_calls"].as_array().into_iter().flatten();
    let calls = calls.map(|call| {
        let name = call["name"].as_str().unwrap_or_default().to_owned();
        (name, arguments(call["arguments"].as_str().unwrap_or_default()))
    });
    let tokens = &said["tokens"];
    let cached = |key: &str| tokens[key].as_u64().unwrap_or(0);
    let exclusive =
        if dialect == Dialect::Anthropic { cached("cache_read") + cached("cache_write") } else { 0 };
    Read {
        text,
        calls: calls.collect(),
        stop: said["finish"].as_str().unwrap_or_default().to_owned(),
        input: tokens["input"].as_u64().map(|input| input + exclusive),
        output: tokens["output"].as_u64(),
    }
}

/// The word that the other dialect has for a reason.
fn stop_in(dialect: Dialect, from: Dialect, word: &str, calls: bool, refused: bool) -> &'static str {
    let common = match (from, word) {
        (Dialect::OpenAiChat, "stop") if refused => "refusal",
        (Dialect::OpenAiChat, "stop") | (Dialect::Anthropic, "end_turn") if calls => "tool",
        (Dialect::OpenAiChat, "stop") | (Dialect::Anthropic, "end_turn" | "pause_turn") => "end",
        (Dialect::OpenAiChat, "length") | (Dialect::Anthropic, "max_tokens") => "length",
        (Dialect::OpenAiChat, "tool_calls" | "function_call") | (Dialect::Anthropic, "tool_use") => "tool",
        (Dialect::OpenAiChat, "content_filter") | (Dialect::Anthropic, "refusal") => "refusal",
        (Dialect::Anthropic, "stop_sequence") => "end",
        _ => "end",
    };
    match (dialect, common) {
        (Dialect::Anthropic, "end") => "end_turn",
        (Dialect::Anthropic, "length") => "max_tokens",
        (Dialect::Anthropic, "tool") => "tool_use",
        (Dialect::Anthropic, _) => "refusal",
        (_, "end") => "stop",
        (_, "length") => "length",
        (_, "tool") => "tool_calls",
        _ => "content_filter",
    }
}

fn echo() -> Echo {
    let (model, id) = ("m".to_owned(), "fresh".to_owned());
    Echo { model, stream_usage: true, show: Show::Full, now: 1, id, ..Echo::default() }
}

/// Translates a whole stream; an error in it is told.
fn through(from: Dialect, to: Dialect, stream: &str, losses: &mut String) -> Result<String, String> {
    let mut translator = Translator::new(from, Realm::NONE, to, echo()).expect("known");
    let mut out = Vec::new();
    translator.feed(stream.as_bytes(), &mut out);
    translator.finish(true, &mut out);
    losses.push_str(&translator.losses().header());
    match &translator.account().end {
        Some(Ok(())) => Ok(String::from_utf8(out).expect("UTF-8")),
        end => Err(format!("{end:?}")),
    }
}

fn unary(from: Dialect, to: Dialect, body: &str, losses: &mut String) -> Result<String, String> {
    let (mut tape, mut list, mut out) = (Tape::new(), Losses::new(), Vec::new());
    let root = tape.read(body, Surrogates::Replace).map_err(|fault| format!("{fault:?}"))?;
    let answer = translate::read_answer(from, root, Realm::NONE).map_err(|failure| format!("{failure:?}"))?;
    translate::write_answer(to, &answer, &echo(), &mut list, &mut out)
        .map_err(|failure| format!("{failure:?}"))?;
    losses.push_str(&list.header());
    Ok(String::from_utf8(out).expect("UTF-8"))
}

/// A whole body for a caller who waits for a stream, and what that caller reads.
fn as_stream(from: Dialect, to: Dialect, body: &str) -> Result<String, String> {
    let mut translator = Translator::new(from, Realm::NONE, to, echo()).expect("known");
    let mut out = Vec::new();
    translator.whole(body.as_bytes(), &mut out);
    match &translator.account().end {
        Some(Ok(())) => Ok(String::from_utf8(out).expect("UTF-8")),
        end => Err(format!("{end:?}")),
    }
}

fn body_of(record: &Value) -> Option<String> {
    let response = &record["response"];
    if let Some(stream) = response["sse"].as_str() {
        return Some(stream.to_owned());
    }
    response["body"].is_object().then(|| response["body"].to_string())
}

#[test]
fn every_recorded_answer_says_the_same_through_the_other_dialect_and_back() {
    let Some(folder) = fixtures() else { return };
    let mut wrong = Vec::new();
    let mut counted = 0;
    for (name, own, other) in PAIRS {
        for (file, record, said) in recordings(&folder, name) {
            let answered = record["response"]["status"] == 200;
            let endpoint = record["endpoint"].as_str().unwrap_or_default();
            let Some(said) = said.filter(|said| said["ok"] == true && answered) else { continue };
            if endpoint.contains("count") || endpoint.contains("batch") {
                continue;
            }
            let Some(body) = body_of(&record) else { continue };
            let stream = record["stream"] == true;
            let step = if stream { through } else { unary };
            let want = wanted(own, &said);
            // Cut answers: `canonical.rs` shows what becomes of those.
            if want.stop.is_empty() || TRIMMED.contains(&file.as_str()) {
                continue;
            }
            counted += 1;
            let mut losses = String::new();
            let there = match step(own, other, &body, &mut losses) {
                Ok(there) => there,
                Err(error) => {
                    wrong.push(format!("{file}: there: {error}"));
                    continue;
                }
            };
            let back = match step(other, own, &there, &mut losses) {
                Ok(back) => back,
                Err(error) => {
                    wrong.push(format!("{file}: back: {error}"));
                    continue;
                }
            };
            if !stream {
                let streamed = as_stream(own, other, &body).expect("the whole body was readable");
                let (heard, whole) = (read(other, &streamed, true), read(other, &there, false));
                if heard != whole && !wrapped(&heard.calls, &whole.calls) && said["tokens"].is_object() {
                    wrong.push(format!("{file}: as a stream: {heard:?} for {whole:?}"));
                }
            }
            let refused = said["refusal"].as_str().is_some_and(|refusal| !refusal.is_empty());
            let calls = !want.calls.is_empty();
            let stop_there = stop_in(other, own, &want.stop, calls, refused);
            for (way, got, stop) in [
                ("there", read(other, &there, stream), stop_there),
                ("back", read(own, &back, stream), stop_in(own, other, stop_there, calls, false)),
            ] {
                compare(&format!("{file}: {way}"), &got, &want, stop, &mut wrong);
            }
        }
    }
    println!("{counted} exchanges, {} differences", wrong.len());
    assert!(counted > 1_000, "{counted}");
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong[..wrong.len().min(60)].join("\n"));
}

fn compare(whose: &str, got: &Read, want: &Read, stop: &str, wrong: &mut Vec<String>) {
    if got.text != want.text {
        let short = |text: &str| text.chars().take(80).collect::<String>();
        wrong.push(format!("{whose}: text {:?} for {:?}", short(&got.text), short(&want.text)));
    }
    if got.calls != want.calls && !wrapped(&got.calls, &want.calls) {
        wrong.push(format!("{whose}: calls {:?} for {:?}", got.calls, want.calls));
    }
    if got.stop != stop {
        wrong.push(format!("{whose}: stop {} for {stop} ({})", got.stop, want.stop));
    }
    if want.input.is_some() && (got.input, got.output) != (want.input, want.output) {
        wrong.push(format!(
            "{whose}: tokens {:?} for {:?}",
            (got.input, got.output),
            (want.input, want.output)
        ));
    }
}

/// What is no object stands under a name of its own where only objects can.
fn wrapped(got: &[(String, Value)], want: &[(String, Value)]) -> bool {
    got.len() == want.len()
        && got.iter().zip(want).all(|(got, want)| {
            let under = |key: &str| {
                arguments(want.1.as_str().unwrap_or("x")) == arguments(got.1[key].as_str().unwrap_or("y"))
            };
            got == want || got.0 == want.0 && (under("input") || under("_raw_arguments"))
        })
}

#[test]
fn every_recorded_request_goes_over_or_says_which_field_it_cannot_carry() {
    let Some(folder) = fixtures() else { return };
    let mut refusals: BTreeMap<String, u32> = BTreeMap::new();
    let (mut carried, mut returned) = (0, 0);
    for (name, own, other) in PAIRS {
        for (file, record, _) in recordings(&folder, name) {
            let endpoint = record["endpoint"].as_str().unwrap_or_default();
            let body = &record["request"]["body"];
            if !body["messages"].is_array() || endpoint.contains("count") || endpoint.contains("batch") {
                continue;
            }
            let text =
                record["request"]["body_text"].as_str().map_or_else(|| body.to_string(), str::to_owned);
            match request(own, other, &text) {
                Ok(there) => {
                    carried += 1;
                    let there_value: Value = serde_json::from_str(&there)
                        .unwrap_or_else(|error| panic!("{file}: {error}: {there}"));
                    for text in all_texts(&body["messages"]) {
                        assert!(
                            there.contains(&text) || all_texts(&there_value).contains(&text),
                            "{file}: lost {text:?}"
                        );
                    }
                    returned += u32::from(request(other, own, &there).is_ok());
                }
                Err(message) => *refusals.entry(message).or_default() += 1,
            }
        }
    }
    println!("{carried} carried, {returned} and back; refused: {refusals:#?}");
    assert!(carried > 1_200, "{carried}: {refusals:#?}");
    assert_eq!(carried, returned, "what one writer wrote, the reader of that dialect reads");
}

fn request(from: Dialect, to: Dialect, text: &str) -> Result<String, String> {
    let (mut tape, mut losses, mut out) = (Tape::new(), Losses::new(), Vec::new());
    let body = tape.read(text, Surrogates::Refuse).map_err(|fault| fault.what.to_owned())?;
    let request = translate::read_request(from, body, &mut losses).map_err(|refused| refused.message)?;
    let target = Target::of(to);
    translate::write_request(&request, &target, &mut losses, &mut out).map_err(|refused| refused.message)?;
    Ok(String::from_utf8(out).expect("UTF-8"))
}

/// The texts of a conversation, wherever they stand.
fn all_texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(all) => all.iter().flat_map(all_texts).collect(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| ["content", "text", "system"].contains(&key.as_str()))
            .flat_map(|(_, value)| match value {
                Value::String(text) if !text.is_empty() => vec![text.clone()],
                value => all_texts(value),
            })
            .chain(fields.get("messages").into_iter().flat_map(all_texts))
            .chain(fields.get("source").into_iter().flat_map(all_texts))
            .collect(),
        _ => Vec::new(),
    }
}
