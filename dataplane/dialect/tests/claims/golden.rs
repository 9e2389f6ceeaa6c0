//! The worked examples of the specification: one request and one answer in all four dialects.
//! Owns: their bytes (dialects sections 3.13 and 5.8). Must not: be changed without the specification.
//! Read next: `requests.rs`.

use crate::bridge;
use crate::judge::{self, Call, Dialect, Mind, Reading, Stop, Tokens};

/// What the caller of Chat Completions sends.
const ASKED: &str = r#"{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"text","text":"Weather and time in Rome?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Rome\",\"days\":1.0}"}},{"id":"call_2","type":"function","function":{"name":"time","arguments":""}}]},{"role":"tool","tool_call_id":"call_1","content":"{\"c\":21}"},{"role":"tool","tool_call_id":"call_2","content":"14:05"},{"role":"user","content":"Thanks, now in Oslo."}],"tools":[{"type":"function","function":{"name":"weather","description":"d","parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"number"}},"required":["city"]}}},{"type":"function","function":{"name":"time"}}],"tool_choice":"auto","parallel_tool_calls":false,"reasoning_effort":"low","max_completion_tokens":6000,"stop":"END","seed":7,"stream":true}"#;

const TO_ANTHROPIC: &str = r#"{"model":"m","system":"Be brief.","tools":[{"name":"weather","description":"d","input_schema":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"number"}},"required":["city"]}},{"name":"time","input_schema":{"type":"object","properties":{}}}],"tool_choice":{"type":"auto","disable_parallel_tool_use":true},"thinking":{"type":"enabled","budget_tokens":4096},"stop_sequences":["END"],"max_tokens":6000,"stream":true,"messages":[{"role":"user","content":[{"type":"text","text":"Weather and time in Rome?"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}}]},{"role":"assistant","content":[{"type":"tool_use","id":"call_1","name":"weather","input":{"city":"Rome","days":1.0}},{"type":"tool_use","id":"call_2","name":"time","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"{\"c\":21}"},{"type":"tool_result","tool_use_id":"call_2","content":"14:05"},{"type":"text","text":"Thanks, now in Oslo."}]}]}"#;

const TO_GEMINI: &str = r#"{"systemInstruction":{"parts":[{"text":"Be brief."}]},"tools":[{"functionDeclarations":[{"name":"weather","description":"d","parametersJsonSchema":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"number"}},"required":["city"]}},{"name":"time"}]}],"toolConfig":{"functionCallingConfig":{"mode":"AUTO"}},"generationConfig":{"maxOutputTokens":6000,"seed":7,"stopSequences":["END"],"thinkingConfig":{"thinkingLevel":"LOW"}},"contents":[{"role":"user","parts":[{"text":"Weather and time in Rome?"},{"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}}]},{"role":"model","parts":[{"functionCall":{"id":"call_1","name":"weather","args":{"city":"Rome","days":1.0}}},{"functionCall":{"id":"call_2","name":"time","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"id":"call_1","name":"weather","response":{"c":21}}},{"functionResponse":{"id":"call_2","name":"time","response":{"output":"14:05"}}},{"text":"Thanks, now in Oslo."}]}]}"#;

const TO_RESPONSES: &str = r#"{"model":"m","instructions":"Be brief.","tools":[{"type":"function","name":"weather","description":"d","parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"number"}},"required":["city"]},"strict":false},{"type":"function","name":"time","parameters":null,"strict":false}],"tool_choice":"auto","parallel_tool_calls":false,"reasoning":{"effort":"low"},"max_output_tokens":6000,"store":false,"include":["reasoning.encrypted_content"],"stream":true,"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"Weather and time in Rome?"},{"type":"input_image","image_url":"data:image/png;base64,iVBORw0KGgo=","detail":"auto"}]},{"type":"function_call","call_id":"call_1","name":"weather","arguments":"{\"city\":\"Rome\",\"days\":1.0}"},{"type":"function_call","call_id":"call_2","name":"time","arguments":"{}"},{"type":"function_call_output","call_id":"call_1","output":"{\"c\":21}"},{"type":"function_call_output","call_id":"call_2","output":"14:05"},{"type":"message","role":"user","content":"Thanks, now in Oslo."}]}"#;

#[test]
fn the_worked_request_is_written_byte_for_byte() {
    for (target, expected, losses) in [
        (Dialect::Gemini, TO_GEMINI, r#"drop;f="/parallel_tool_calls""#),
        (Dialect::Responses, TO_RESPONSES, r#"drop;f="/seed", drop;f="/stop""#),
        (Dialect::Anthropic, TO_ANTHROPIC, r#"drop;f="/seed""#),
    ] {
        let (bytes, lost) =
            bridge::request(Dialect::Chat, target, ASKED, true).expect("it can be carried over");
        assert_eq!(String::from_utf8_lossy(&bytes), expected, "{}", target.name());
        assert_eq!(lost.header(), losses, "{}", target.name());
    }
}

/// A text and a call, as each dialect's own provider streams them.
const SAID: [(Dialect, &str); 4] = [
    (
        Dialect::Chat,
        r#"data: {"id":"chatcmpl-x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}

data: {"id":"chatcmpl-x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}

: ping

data: {"id":"chatcmpl-x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":1}"}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: {"id":"chatcmpl-x","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}

data: [DONE]

"#,
    ),
    (
        Dialect::Anthropic,
        r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_x","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"output_tokens":0}}}

event: ping
data: {"type":"ping"}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"call_1","name":"f","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":5,"cache_read_input_tokens":4,"cache_creation_input_tokens":0,"output_tokens":5}}

event: message_stop
data: {"type":"message_stop"}

"#,
    ),
    (
        Dialect::Gemini,
        r#"data: {"candidates":[{"content":{"role":"model","parts":[{"text":"Hi"}]},"index":0}],"modelVersion":"m","responseId":"x"}

data: {"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"id":"call_1","name":"f","args":{"a":1}}}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":9,"cachedContentTokenCount":4,"candidatesTokenCount":5,"totalTokenCount":14},"modelVersion":"m","responseId":"x"}

"#,
    ),
    (
        Dialect::Responses,
        r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_x","object":"response","created_at":1,"status":"in_progress","model":"m","output":[],"parallel_tool_calls":true,"tool_choice":"auto","tools":[],"error":null,"incomplete_details":null,"usage":null}}

event: response.in_progress
data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_x","object":"response","created_at":1,"status":"in_progress","model":"m","output":[],"parallel_tool_calls":true,"tool_choice":"auto","tools":[],"error":null,"incomplete_details":null,"usage":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"msg_x0","type":"message","status":"in_progress","role":"assistant","content":[]}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":3,"item_id":"msg_x0","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_x0","output_index":0,"content_index":0,"delta":"Hi","logprobs":[]}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":5,"item_id":"msg_x0","output_index":0,"content_index":0,"text":"Hi","logprobs":[]}

event: response.content_part.done
data: {"type":"response.content_part.done","sequence_number":6,"item_id":"msg_x0","output_index":0,"content_index":0,"part":{"type":"output_text","text":"Hi","annotations":[],"logprobs":[]}}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":7,"output_index":0,"item":{"id":"msg_x0","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi","annotations":[],"logprobs":[]}]}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":8,"output_index":1,"item":{"id":"fc_x1","type":"function_call","status":"in_progress","call_id":"call_1","name":"f","arguments":""}}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":9,"item_id":"fc_x1","output_index":1,"delta":"{\"a\":1}"}

event: response.function_call_arguments.done
data: {"type":"response.function_call_arguments.done","sequence_number":10,"item_id":"fc_x1","output_index":1,"name":"f","arguments":"{\"a\":1}"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":11,"output_index":1,"item":{"id":"fc_x1","type":"function_call","status":"completed","call_id":"call_1","name":"f","arguments":"{\"a\":1}"}}

event: response.completed
data: {"type":"response.completed","sequence_number":12,"response":{"id":"resp_x","object":"response","created_at":1,"completed_at":2,"status":"completed","model":"m","output":[{"id":"msg_x0","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi","annotations":[],"logprobs":[]}]},{"id":"fc_x1","type":"function_call","status":"completed","call_id":"call_1","name":"f","arguments":"{\"a\":1}"}],"parallel_tool_calls":true,"tool_choice":"auto","tools":[],"error":null,"incomplete_details":null,"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4,"cache_write_tokens":0},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":14}}}

"#,
    ),
];

#[test]
fn the_canonical_streams_say_the_same_in_every_dialect() {
    let said = Reading {
        text: "Hi".to_owned(),
        calls: vec![Call {
            id: "call_1".to_owned(),
            name: "f".to_owned(),
            arguments: r#"{"a":1}"#.to_owned(),
        }],
        stop: Some(Stop::Tool),
        tokens: Some(Tokens { input: 9, output: 5, read: 4, written: 0, reasoning: 0 }),
        ..Reading::default()
    };
    for (upstream, stream) in SAID {
        for caller in Dialect::ALL {
            let streamed = bridge::stream(upstream, caller, [stream.as_bytes()], &bridge::echo());
            let reading = judge::stream(caller, &streamed.bytes, Mind::Strict);
            assert_eq!(reading.as_ref(), Ok(&said), "{} -> {}", upstream.name(), caller.name());
        }
    }
}
