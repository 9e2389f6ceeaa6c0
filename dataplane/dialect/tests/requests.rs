//! What must hold for any request that goes from one dialect to another.
//!
//! Owns: equal beginnings stay equal, nothing is lost in silence, numbers and orders keep their text.
//! Must not: compare whole bodies; `canonical.rs` does.
//! Read next: `canonical.rs`.

use proptest::prelude::*;
use ringway_dialect::dialect::Dialect;
use ringway_dialect::json::{Surrogates, Tape};
use ringway_dialect::model::{Engine, Losses, Opaque, Origin, Realm, Refused, SealKind, Target};
use ringway_dialect::translate;
use serde_json::{Value, json};

struct Carried {
    body: String,
    losses: Losses,
}

fn carry(from: Dialect, text: &str, target: &Target) -> Result<Carried, Refused> {
    let (mut tape, mut losses, mut out) = (Tape::new(), Losses::new(), Vec::new());
    let body = tape.read(text, Surrogates::Refuse).expect("JSON");
    let request = translate::read_request(from, body, &mut losses)?;
    translate::write_request(&request, target, &mut losses, &mut out)?;
    Ok(Carried { body: String::from_utf8(out).expect("UTF-8"), losses })
}

/// A conversation in Chat Completions, one message after another.
fn chat_messages(turns: usize) -> Vec<Value> {
    let mut all = vec![json!({ "role": "system", "content": "Be brief." })];
    for n in 0..turns {
        all.push(match n % 6 {
            0 => json!({ "role": "user", "content": format!("question {n}") }),
            1 => json!({ "role": "assistant", "content": "let me see", "tool_calls": [
                { "id": format!("call:{n}"), "type": "function", "function": { "name": "look up", "arguments": "{\"a\": 1.0}" } },
                { "id": format!("c2.{n}"), "type": "function", "function": { "name": "time", "arguments": "" } },
            ] }),
            2 => json!({ "role": "tool", "tool_call_id": format!("call:{}", n - 1), "content": "{\"x\": 1}" }),
            3 => json!({ "role": "tool", "tool_call_id": format!("c2.{}", n - 2), "content": [{ "type": "text", "text": "now" }] }),
            4 => json!({ "role": "assistant", "content": "so" }),
            _ => json!({ "role": "system", "content": "mind the gap" }),
        });
    }
    all
}

/// The same in Messages.
fn anthropic_messages(turns: usize) -> Vec<Value> {
    (0..turns)
        .map(|n| match n % 4 {
            0 => json!({ "role": "user", "content": format!("question {n}") }),
            1 => json!({ "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": "foreign" },
                { "type": "text", "text": "let me see" },
                { "type": "tool_use", "id": format!("t{n}"), "name": "look", "input": { "a": 1.0, "b": [] } },
            ] }),
            2 => json!({ "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": format!("t{}", n - 1), "is_error": true, "content": "no" },
                { "type": "text", "text": "well?" },
            ] }),
            _ => json!({ "role": "assistant", "content": [{ "type": "text", "text": "so" }] }),
        })
        .collect()
}

fn billed(n: usize) -> Value {
    let line = format!("x-anthropic-billing-header: cc_version=1; cch={n};");
    json!([{ "type": "text", "text": line }, { "type": "text", "text": "You are a tool." }])
}

/// Everything up to the end of the last message.
fn beginning(body: &str) -> &str {
    body.trim_end_matches(['}', ']', ','])
}

#[test]
fn a_conversation_that_grows_keeps_the_beginning_of_its_translation() {
    for (from, target) in [
        (Dialect::OpenAiChat, Target::of(Dialect::Anthropic)),
        (Dialect::Anthropic, Target::of(Dialect::OpenAiChat)),
        (Dialect::Anthropic, Target { images_in_results: true, ..Target::engine(Engine::Vllm) }),
        (Dialect::OpenAiChat, Target::of(Dialect::Gemini)),
        (Dialect::OpenAiChat, Target::of(Dialect::OpenAiResponses)),
        (Dialect::Anthropic, Target::of(Dialect::Gemini)),
        (Dialect::Anthropic, Target::of(Dialect::OpenAiResponses)),
    ] {
        let body = |turns: usize| {
            let tools = json!([{ "type": "function", "function": { "name": "look up", "parameters": { "z": 1, "a": 2 } } }]);
            let request = match from {
                Dialect::Anthropic => {
                    json!({ "model": "m", "max_tokens": 99, "system": billed(turns), "messages": anthropic_messages(turns) })
                }
                _ => json!({ "model": "m", "tools": tools, "messages": chat_messages(turns) }),
            };
            // The last of a growing conversation is the caller's.
            let prefills = request["messages"].as_array().and_then(|all| all.last())?["role"] == "assistant";
            // Gemini wants a signature only in the turn at hand; it is no part of the prompt that a cache sees.
            let placeholder = r#","thoughtSignature":"skip_thought_signature_validator""#;
            let carried = || carry(from, &request.to_string(), &target).expect("carried").body;
            (!prefills).then(|| carried().replace(placeholder, ""))
        };
        let mut earlier = String::new();
        let mut compared = 0;
        for turns in 1..=30 {
            // A call without its results is filled in, and the results replace that: not a beginning.
            let half = match from {
                Dialect::OpenAiChat => matches!(turns % 6, 2 | 3),
                _ => turns % 4 == 2,
            };
            let Some(body) = body(turns).filter(|_| !half) else { continue };
            assert!(body.starts_with(beginning(&earlier)), "{from:?}, {turns}:\n{earlier}\n{body}");
            earlier = body;
            compared += 1;
        }
        assert!(compared > 7, "{compared}");
    }
}

/// Every leaf of a value, with its pointer.
fn leaves(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| leaves(value, format!("{at}/{key}"), all));
        }
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(n, value)| leaves(value, format!("{at}/{n}"), all));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => all.push(at),
    }
}

fn changed(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(format!("{text}9")),
        Value::Number(number) => json!(number.as_f64().unwrap_or(1.0) / 2.0 + 1.0),
        Value::Bool(truth) => json!(!truth),
        other => other.clone(),
    }
}

fn rich_chat() -> Value {
    json!({
        "model": "m", "temperature": 0.5, "top_p": 0.5, "frequency_penalty": 0.5, "presence_penalty": 0.5, "seed": 7,
        "logit_bias": { "5": 1 }, "logprobs": true, "top_logprobs": 2, "max_completion_tokens": 9000, "stop": ["END"],
        "user": "u", "metadata": { "k": "v" }, "service_tier": "flex", "prompt_cache_key": "k", "store": true,
        "verbosity": "low", "parallel_tool_calls": false, "unknown": { "x": 1 }, "prediction": { "type": "content" },
        "response_format": { "type": "json_schema", "json_schema": { "name": "n", "strict": true, "schema": { "type": "object" } } },
        "tools": [
            { "type": "function", "function": { "name": "f", "description": "d", "parameters": { "type": "object" }, "strict": true } },
            { "type": "custom", "custom": { "name": "c", "description": "d", "format": { "type": "grammar", "grammar": { "syntax": "lark", "definition": "x" } } } },
        ],
        "tool_choice": { "type": "function", "function": { "name": "f" } },
        "messages": [
            { "role": "system", "content": "s" },
            { "role": "user", "name": "bob", "content": [
                { "type": "text", "text": "t" },
                { "type": "image_url", "image_url": { "url": "https://x.example/a.png", "detail": "low" } },
            ] },
            { "role": "assistant", "content": "a", "reasoning_content": "r", "odd": 1, "tool_calls": [
                { "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" } },
            ] },
            { "role": "tool", "tool_call_id": "c1", "content": "ok" },
            { "role": "user", "content": "u" },
        ],
    })
}

fn rich_anthropic() -> Value {
    json!({
        "model": "m", "max_tokens": 9000, "temperature": 0.5, "top_p": 0.5, "top_k": 5, "stop_sequences": ["END"],
        "metadata": { "user_id": "u", "odd": 1 }, "service_tier": "standard_only", "odd": { "x": 1 },
        "system": [{ "type": "text", "text": "s" }],
        "tools": [{ "name": "f", "description": "d", "input_schema": { "type": "object" }, "strict": true, "eager": 1 }],
        "tool_choice": { "type": "tool", "name": "f", "disable_parallel_tool_use": true },
        "messages": [
            { "role": "user", "content": [
                { "type": "text", "text": "t" },
                { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } },
                { "type": "document", "title": "T", "context": "C", "source": { "type": "text", "media_type": "text/plain", "data": "D" } },
            ] },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "h", "signature": "g" },
                { "type": "text", "text": "a" },
                { "type": "tool_use", "id": "c1", "name": "f", "input": { "a": 1 } },
            ] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c1", "is_error": true, "content": "no" }] },
        ],
    })
}

fn rich_responses() -> Value {
    json!({
        "model": "m", "instructions": "i", "max_output_tokens": 90, "temperature": 0.5, "top_p": 0.5, "odd": { "x": 1 },
        "metadata": { "k": "v" }, "safety_identifier": "u", "service_tier": "flex", "prompt_cache_key": "p",
        "parallel_tool_calls": false, "reasoning": { "effort": "low", "summary": "auto" },
        "text": { "verbosity": "low", "format": { "type": "json_schema", "name": "n", "schema": { "type": "object" } } },
        "tools": [
            { "type": "function", "name": "f", "description": "d", "parameters": { "type": "object" }, "strict": true },
            { "type": "custom", "name": "c", "description": "d" },
        ],
        "tool_choice": { "type": "function", "name": "f" },
        "input": [
            { "type": "message", "role": "user", "content": [
                { "type": "input_text", "text": "t" },
                { "type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low" },
                { "type": "input_file", "file_data": "data:application/pdf;base64,AAAA", "filename": "n" },
            ] },
            { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "a" }] },
            { "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\":1}" },
            { "type": "function_call_output", "call_id": "c1", "output": "ok" },
            { "type": "message", "role": "user", "content": "u" },
        ],
    })
}

fn rich_gemini() -> Value {
    json!({
        "systemInstruction": { "parts": [{ "text": "s" }] }, "safetySettings": [{ "category": "x" }], "labels": { "k": "v" },
        "generationConfig": {
            "temperature": 0.5, "topP": 0.5, "topK": 5, "maxOutputTokens": 90, "seed": 7, "stopSequences": ["END"],
            "presencePenalty": 0.5, "frequencyPenalty": 0.5, "responseMimeType": "application/json",
            "responseJsonSchema": { "type": "object" }, "thinkingConfig": { "thinkingLevel": "LOW" }, "odd": 1,
        },
        "tools": [{ "functionDeclarations": [{ "name": "f", "description": "d", "parametersJsonSchema": { "type": "object" } }] }],
        "toolConfig": { "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": ["f"] } },
        "contents": [
            { "role": "user", "parts": [{ "text": "t" }, { "inlineData": { "mimeType": "image/png", "data": "AAAA" } }] },
            { "role": "model", "parts": [{ "text": "a" }, { "functionCall": { "name": "f", "args": { "a": 1 } } }] },
            { "role": "user", "parts": [{ "functionResponse": { "name": "f", "response": { "output": "ok" } } }] },
        ],
    })
}

/// Fields whose other value is the default, or says which of two forms a value has; `/logprobs` names both of its own.
const FORM: [&str; 7] =
    ["/summary", "/store", "/media_type", "/type", "/is_error", "/logprobs", "/top_logprobs"];

#[test]
fn a_field_that_changes_changes_the_request_or_stands_in_the_list_of_losses() {
    for (from, to, request) in [
        (Dialect::OpenAiChat, Dialect::Anthropic, rich_chat()),
        (Dialect::OpenAiChat, Dialect::OpenAiResponses, rich_chat()),
        (Dialect::OpenAiChat, Dialect::Gemini, rich_chat()),
        (Dialect::Anthropic, Dialect::OpenAiChat, rich_anthropic()),
        (Dialect::Anthropic, Dialect::OpenAiResponses, rich_anthropic()),
        (Dialect::Anthropic, Dialect::Gemini, rich_anthropic()),
        (Dialect::OpenAiResponses, Dialect::OpenAiChat, rich_responses()),
        (Dialect::OpenAiResponses, Dialect::Anthropic, rich_responses()),
        (Dialect::OpenAiResponses, Dialect::Gemini, rich_responses()),
        (Dialect::Gemini, Dialect::OpenAiChat, rich_gemini()),
        (Dialect::Gemini, Dialect::OpenAiResponses, rich_gemini()),
        (Dialect::Gemini, Dialect::Anthropic, rich_gemini()),
    ] {
        let target = Target::of(to);
        let plain = carry(from, &request.to_string(), &target).expect("carried");
        let mut all = Vec::new();
        leaves(&request, String::new(), &mut all);
        let mut silent = Vec::new();
        for pointer in all.iter().filter(|pointer| !FORM.iter().any(|form| pointer.ends_with(form))) {
            let mut other = request.clone();
            let leaf = other.pointer_mut(pointer).expect("there");
            *leaf = changed(leaf);
            let Ok(now) = carry(from, &other.to_string(), &target) else { continue };
            // Off may be the default: then it is on that is told.
            let header = now.losses.header() + &plain.losses.header();
            let told = (0..=pointer.len())
                .filter(|end| pointer[*end..].is_empty() || pointer[*end..].starts_with('/'))
                .any(|end| end > 0 && header.contains(&format!("f=\"{}\"", &pointer[..end])));
            let in_path = to == Dialect::Gemini && pointer == "/model";
            if now.body == plain.body && !told && !in_path {
                silent.push(pointer.clone());
            }
        }
        assert!(all.len() > 25, "{}", all.len());
        assert!(silent.is_empty(), "{from:?} to {to:?}: lost in silence: {silent:#?}");
    }
}

#[test]
fn a_strict_route_names_the_first_field_it_cannot_carry() {
    let target = Target::of(Dialect::Anthropic);
    let text =
        json!({ "model": "m", "logit_bias": { "5": 1 }, "messages": [{ "role": "user", "content": "u" }] });
    let carried = carry(Dialect::OpenAiChat, &text.to_string(), &target).expect("carried");
    assert_eq!(carried.losses.strictly().expect_err("strict").pointer, "/logit_bias");
    let text = json!({ "model": "m", "max_tokens": 5, "messages": [{ "role": "user", "content": "u" }] });
    let carried = carry(Dialect::OpenAiChat, &text.to_string(), &target).expect("carried");
    assert_eq!(carried.losses.strictly(), Ok(()));
}

#[test]
fn numbers_and_orders_keep_their_text() {
    let schema = r#"{"z":1.0,"a":12345678901234567890123,"m":1e400,"k":[3,1,2],"b":{"y":-0.0,"x":1}}"#;
    let text = format!(
        r#"{{"model":"m","tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}],"messages":[{{"role":"user","content":"u"}},{{"role":"assistant","tool_calls":[{{"id":"c","type":"function","function":{{"name":"f","arguments":{}}}}}]}},{{"role":"tool","tool_call_id":"c","content":"r"}}]}}"#,
        serde_json::to_string(schema).expect("JSON")
    );
    let there = carry(Dialect::OpenAiChat, &text, &Target::of(Dialect::Anthropic)).expect("carried").body;
    assert_eq!(there.matches(schema).count(), 2, "{there}");
    let back = carry(Dialect::Anthropic, &there, &Target::of(Dialect::OpenAiChat)).expect("carried").body;
    assert!(back.contains(schema) && back.contains(&serde_json::to_string(schema).expect("JSON")), "{back}");
}

#[test]
fn a_key_that_stands_twice_is_refused_wherever_it_is_read() {
    for text in [
        r#"{"model":"a","\u006dodel":"b","messages":[]}"#,
        r#"{"model":"a","messages":[{"role":"user","role":"system","content":"x"}]}"#,
        r#"{"model":"a","messages":[{"role":"user","content":[{"type":"text","text":"a","text":"b"}]}]}"#,
    ] {
        let refused = carry(Dialect::OpenAiChat, text, &Target::of(Dialect::Anthropic)).err().expect(text);
        assert!(refused.message.contains("twice"), "{refused}");
    }
}

#[test]
fn state_of_another_provider_is_never_sent_and_ours_comes_home() {
    let realm = Realm::of("anthropic", "claude", "main");
    let home = Target { realm, ..Target::of(Dialect::Anthropic) };
    let opaque = Opaque {
        origin: Origin::Anthropic,
        kind: SealKind::Signature,
        realm,
        payload: ringway_dialect::json::Text::written("native-signature"),
    };
    let request = |details: Value| {
        json!({ "model": "m", "max_tokens": 9, "messages": [
            { "role": "user", "content": "u" },
            { "role": "assistant", "content": "a", "reasoning_content": "a thought", "reasoning_details": details },
            { "role": "user", "content": "v" },
        ] })
        .to_string()
    };
    let sealed = json!([{ "type": "ringway.sealed", "data": opaque.seal(), "length": 9 }]);
    let carried = carry(Dialect::OpenAiChat, &request(sealed.clone()), &home).expect("carried");
    assert!(
        carried.body.contains(r#"{"type":"thinking","thinking":"a thought","signature":"native-signature"}"#),
        "{}",
        carried.body
    );
    let elsewhere = Target { realm: Realm::of("anthropic", "claude", "other"), ..home };
    for (target, details) in [(elsewhere, sealed), (home, json!([{ "type": "x", "data": "foreign" }]))] {
        let carried = carry(Dialect::OpenAiChat, &request(details), &target).expect("carried");
        assert!(!carried.body.contains("thinking") && !carried.body.contains("foreign"), "{}", carried.body);
        assert!(carried.losses.header().contains("foreign-reasoning"));
    }
}

#[test]
fn a_result_without_a_call_is_refused_and_a_call_without_a_result_is_answered() {
    let target = Target::of(Dialect::Anthropic);
    let orphan = json!({ "model": "m", "messages": [
        { "role": "user", "content": "u" }, { "role": "tool", "tool_call_id": "c", "content": "r" } ] });
    let refused = carry(Dialect::OpenAiChat, &orphan.to_string(), &target).err().expect("refused");
    assert_eq!(refused.pointer, "/messages/1");
    let lonely = json!({ "model": "m", "messages": [
        { "role": "user", "content": "u" },
        { "role": "assistant", "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "" } }] },
        { "role": "user", "content": "never mind" } ] });
    let carried = carry(Dialect::OpenAiChat, &lonely.to_string(), &target).expect("carried");
    assert!(carried.body.contains(
        r#"{"type":"tool_result","tool_use_id":"c","content":"[no result provided]","is_error":true}"#
    ));
    assert!(carried.losses.strictly().is_err());
}

#[test]
fn an_engines_own_field_is_the_gateways_to_set() {
    let text = |key: &str| {
        json!({ "model": "m", key: 1, "messages": [{ "role": "user", "content": "u" }] }).to_string()
    };
    let engine = Target::engine(Engine::Vllm);
    assert!(
        carry(Dialect::OpenAiChat, &text("min_tokens"), &engine)
            .expect("carried")
            .body
            .contains("min_tokens")
    );
    let refused = carry(Dialect::OpenAiChat, &text("kv_transfer_params"), &engine).err().expect("refused");
    assert_eq!(refused.pointer, "/kv_transfer_params");
    let hosted =
        carry(Dialect::OpenAiChat, &text("min_tokens"), &Target::of(Dialect::OpenAiChat)).expect("carried");
    assert_eq!(hosted.losses.header(), r#"drop;f="/min_tokens""#);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn texts_go_over_whatever_is_in_them(texts in prop::collection::vec(any::<String>().prop_filter("said", |text| !text.is_empty()), 1..6)) {
        let messages: Vec<Value> = texts.iter().enumerate().map(|(n, text)| {
            json!({ "role": if n % 2 == 0 { "user" } else { "assistant" }, "content": text })
        }).collect();
        let text = json!({ "model": "m", "max_tokens": 9, "messages": messages }).to_string();
        let there = carry(Dialect::OpenAiChat, &text, &Target::of(Dialect::Anthropic)).expect("carried").body;
        let value: Value = serde_json::from_str(&there).expect("JSON");
        prop_assert_eq!(&value["messages"], &json!(messages));
        let back = carry(Dialect::Anthropic, &there, &Target::of(Dialect::OpenAiChat)).expect("carried").body;
        let value: Value = serde_json::from_str(&back).expect("JSON");
        prop_assert_eq!(&value["messages"], &json!(messages));
    }

    #[test]
    fn any_json_is_a_request_or_a_refusal(text in "[{}\\[\\]\",:a-z0-9\\\\ ]{0,60}") {
        let mut tape = Tape::new();
        if let Ok(body) = tape.read(&text, Surrogates::Refuse) {
            for dialect in [Dialect::OpenAiChat, Dialect::Anthropic] {
                let _ = translate::read_request(dialect, body, &mut Losses::new());
            }
        }
    }
}
