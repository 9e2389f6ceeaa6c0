//! Events in no good order, as broken upstreams send them: readers keep their laws, and what is written keeps the grammar of
//! its dialect, whether it ends well or not.
//! Owns: making such events up. Must not: expect anything of what they say.
//! Read next: `../bridge/laws.rs`.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::bridge;
use crate::judge::{self, Dialect, Mind};

fn stream(events: &[Value]) -> String {
    let event =
        |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("x"));
    events.iter().map(event).collect::<Vec<_>>().concat()
}

/// Whatever comes, each caller's grammar is kept, and what did not end is told as an error.
fn is_orderly(upstream: Dialect, events: &[Value]) -> Result<(), TestCaseError> {
    let bytes = stream(events);
    bridge::keeps_the_laws(upstream, bytes.as_bytes());
    for caller in Dialect::ALL {
        let streamed = bridge::stream(upstream, caller, [bytes.as_bytes()], &bridge::echo());
        let reading = judge::stream(caller, &streamed.bytes, Mind::Strict);
        let reading = match reading {
            Ok(reading) => reading,
            // What an upstream gives for arguments goes on as it is.
            Err(error) if error.starts_with("input is no JSON") => continue,
            Err(error) => return Err(TestCaseError::fail(format!("{caller:?}: {error}\n{bytes}"))),
        };
        prop_assert_eq!(streamed.ended, reading.error.is_none(), "{:?}\n{}", caller, bytes);
        let pieces = bridge::stream(upstream, caller, bytes.as_bytes().chunks(5), &bridge::echo());
        prop_assert_eq!(pieces, streamed);
    }
    Ok(())
}

fn responses_event() -> impl Strategy<Value = Value> {
    let index = 0..3_u32;
    let text = prop_oneof![Just(""), Just("a"), Just("\u{2028}é\""), Just("{\"x\":"), Just("1}")];
    (index, 0..2_u32, text, 0..20_u8).prop_map(|(index, part, text, what)| {
        let item = |kind: u8| match kind {
            0 => json!({"type": "message", "content": [{"type": "output_text", "text": text}]}),
            1 => json!({"type": "function_call", "call_id": text, "name": "f", "arguments": text}),
            2 => json!({"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": text}],
                        "encrypted_content": "state"}),
            3 => json!({"type": "custom_tool_call", "call_id": "c", "name": "g", "input": text}),
            _ => json!({"type": "web_search_call", "id": "w"}),
        };
        let places = json!({"output_index": index, "content_index": part, "summary_index": part});
        let mut event = match what {
            0 => json!({"type": "response.created", "response": {"id": "resp_1", "model": "m"}}),
            1..=4 => json!({"type": "response.output_item.added", "item": item(what - 1)}),
            5..=9 => json!({"type": "response.output_item.done", "item": item(what - 5)}),
            10 | 11 => json!({"type": "response.output_text.delta", "delta": text}),
            12 => json!({"type": "response.output_text.done", "text": text}),
            13 => json!({"type": "response.refusal.delta", "delta": text}),
            14 => json!({"type": "response.reasoning_summary_text.delta", "delta": text}),
            15 => json!({"type": "response.reasoning_text.delta", "delta": text}),
            16 => json!({"type": "response.function_call_arguments.delta", "delta": text}),
            17 => json!({"type": "response.function_call_arguments.done", "arguments": text}),
            18 => json!({"type": "response.incomplete", "response": {"status": "incomplete",
                         "incomplete_details": {"reason": "max_output_tokens"}, "output": [item(0), item(1)]}}),
            _ => json!({"type": "response.completed", "response": {"status": "completed", "output": [item(2)],
                        "usage": {"input_tokens": 1, "output_tokens": 2}}}),
        };
        for (key, value) in places.as_object().expect("an object") {
            event[key] = value.clone();
        }
        event
    })
}

fn gemini_event() -> impl Strategy<Value = Value> {
    let part = prop_oneof![
        Just(json!({"text": "a"})),
        Just(json!({"text": ""})),
        Just(json!({"text": "\u{2028}é", "thought": true})),
        Just(json!({"text": "", "thoughtSignature": "c2ln"})),
        Just(json!({"text": "t", "thought": true, "thoughtSignature": "c2ln"})),
        Just(json!({"functionCall": {"name": "f", "args": {"a": 1.0}}, "thoughtSignature": "c2ln"})),
        Just(json!({"functionCall": {"name": "f", "willContinue": true}})),
        Just(
            json!({"functionCall": {"partialArgs": [{"jsonPath": "$.a", "stringValue": "x"}], "willContinue": true}})
        ),
        Just(json!({"functionCall": {}})),
        Just(json!({"executableCode": {"code": "1"}})),
        Just(json!({"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}})),
    ];
    let parts = prop::collection::vec(part, 0..3);
    (parts, 0..8_u8).prop_map(|(parts, what)| {
        let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": parts}});
        match what {
            0 => candidate["finishReason"] = json!("STOP"),
            1 => candidate["finishReason"] = json!("MAX_TOKENS"),
            2 => candidate["finishReason"] = json!("MALFORMED_FUNCTION_CALL"),
            3 => return json!({"promptFeedback": {"blockReason": "SAFETY"}}),
            4 => return json!({"usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3}}),
            _ => {}
        }
        json!({"candidates": [candidate], "responseId": "r", "modelVersion": "m"})
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn responses_in_disorder_stay_orderly(events in prop::collection::vec(responses_event(), 0..14)) {
        is_orderly(Dialect::Responses, &events)?;
    }

    #[test]
    fn geminis_in_disorder_stay_orderly(events in prop::collection::vec(gemini_event(), 0..10)) {
        is_orderly(Dialect::Gemini, &events)?;
    }

    #[test]
    fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for upstream in Dialect::ALL {
            bridge::keeps_the_laws(upstream, &bytes);
            let text = String::from_utf8_lossy(&bytes);
            for caller in Dialect::ALL {
                let _ = bridge::answer(upstream, caller, &bytes, &bridge::echo());
                let _ = bridge::request(caller, upstream, &text, false);
            }
        }
    }
}
