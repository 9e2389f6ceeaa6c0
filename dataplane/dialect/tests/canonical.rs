//! The streams and requests that the specification pins, byte for byte.
//!
//! Owns: what the writers of Chat Completions and Messages produce for one conversation and one answer.
//! Must not: need anything outside this file.
//! Read next: `recorded.rs`, the same over recorded traffic.

use ringway_dialect::dialect::Dialect;
use ringway_dialect::json::{Surrogates, Tape};
use ringway_dialect::model::{Echo, Losses, Realm, Target};
use ringway_dialect::translate::{self, Translator};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"text","text":"Weather and time in Rome?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Rome\",\"days\":1.0}"}},{"id":"call_2","type":"function","function":{"name":"time","arguments":""}}]},{"role":"tool","tool_call_id":"call_1","content":"{\"c\":21}"},{"role":"tool","tool_call_id":"call_2","content":"14:05"},{"role":"user","content":"Thanks, now in Oslo."}],"tools":[{"type":"function","function":{"name":"weather","description":"d","parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"number"}},"required":["city"]}}},{"type":"function","function":{"name":"time"}}],"tool_choice":"auto","parallel_tool_calls":false,"reasoning_effort":"low","max_completion_tokens":6000,"stop":"END","seed":7,"stream":true}"#;

const ANTHROPIC: &str = r#"{"model":"m","system":"Be brief.","tools":[{"name":"weather","description":"d","input_schema":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"number"}},"required":["city"]}},{"name":"time","input_schema":{"type":"object","properties":{}}}],"tool_choice":{"type":"auto","disable_parallel_tool_use":true},"thinking":{"type":"enabled","budget_tokens":4096},"stop_sequences":["END"],"max_tokens":6000,"stream":true,"messages":[{"role":"user","content":[{"type":"text","text":"Weather and time in Rome?"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}}]},{"role":"assistant","content":[{"type":"tool_use","id":"call_1","name":"weather","input":{"city":"Rome","days":1.0}},{"type":"tool_use","id":"call_2","name":"time","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"{\"c\":21}"},{"type":"tool_result","tool_use_id":"call_2","content":"14:05"},{"type":"text","text":"Thanks, now in Oslo."}]}]}"#;

fn translated(from: Dialect, text: &str, target: &Target) -> (String, Losses) {
    let mut tape = Tape::new();
    let mut losses = Losses::new();
    let body = tape.read(text, Surrogates::Refuse).expect("JSON");
    let request = translate::read_request(from, body, &mut losses).expect("readable");
    let mut out = Vec::new();
    translate::write_request(&request, target, &mut losses, &mut out).expect("writable");
    (String::from_utf8(out).expect("UTF-8"), losses)
}

#[test]
fn the_worked_request_goes_to_anthropic_as_specified() {
    let (body, losses) = translated(Dialect::OpenAiChat, CHAT, &Target::of(Dialect::Anthropic));
    assert_eq!(body, ANTHROPIC);
    assert_eq!(losses.header(), r#"drop;f="/seed""#);
    assert_eq!(losses.strictly().expect_err("strict").pointer, "/seed");
}

#[test]
fn the_worked_request_comes_back_from_anthropic_with_its_meaning() {
    let (body, losses) = translated(Dialect::Anthropic, ANTHROPIC, &Target::of(Dialect::OpenAiChat));
    let expected = r#"{"model":"m","tools":[{"type":"function","function":{"name":"weather","description":"d","parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"number"}},"required":["city"]}}},{"type":"function","function":{"name":"time","parameters":{"type":"object","properties":{}}}}],"tool_choice":"auto","parallel_tool_calls":false,"reasoning_effort":"low","max_completion_tokens":6000,"stop":["END"],"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"text","text":"Weather and time in Rome?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Rome\",\"days\":1.0}"}},{"id":"call_2","type":"function","function":{"name":"time","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_1","content":"{\"c\":21}"},{"role":"tool","tool_call_id":"call_2","content":"14:05"},{"role":"user","content":"Thanks, now in Oslo."}]}"#;
    assert_eq!(body, expected);
    assert_eq!(losses.header(), r#"approx;f="/thinking";v="low""#);
}

const CHAT_STREAM: &str = r#"data: {"id":"chatcmpl-x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}

data: {"id":"chatcmpl-x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}

: ping

data: {"id":"chatcmpl-x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":1}"}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: {"id":"chatcmpl-x","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}

data: [DONE]

"#;

const ANTHROPIC_STREAM: &str = r#"event: message_start
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

"#;

fn echo() -> Echo {
    Echo { model: "m".into(), stream_usage: true, now: 1, id: "fresh".into(), ..Echo::default() }
}

fn stream<'p>(from: Dialect, to: Dialect, pieces: impl IntoIterator<Item = &'p [u8]>) -> String {
    let mut translator = Translator::new(from, Realm::NONE, to, echo()).expect("both are known");
    let mut out = Vec::new();
    pieces.into_iter().for_each(|piece| translator.feed(piece, &mut out));
    translator.finish(true, &mut out);
    String::from_utf8(out).expect("UTF-8")
}

/// What keeps the line open is passed on where it came, which differs between dialects.
fn without_pings(stream: &str) -> String {
    let pings = ["event: ping\ndata: {\"type\":\"ping\"}\n\n", ": ping\n\n"];
    pings.iter().fold(stream.to_owned(), |stream, ping| stream.replace(ping, ""))
}

/// The counts that a dialect has no place for are zero on the way back, where the other leaves them out.
fn without_thinking(stream: &str) -> String {
    stream.replace(r#","output_tokens_details":{"thinking_tokens":0}"#, "")
}

#[test]
fn the_canonical_streams_are_each_others_translation() {
    let to_anthropic = stream(Dialect::OpenAiChat, Dialect::Anthropic, [CHAT_STREAM.as_bytes()]);
    assert_eq!(without_thinking(&without_pings(&to_anthropic)), without_pings(ANTHROPIC_STREAM));
    let to_chat = stream(Dialect::Anthropic, Dialect::OpenAiChat, [ANTHROPIC_STREAM.as_bytes()]);
    assert_eq!(without_pings(&to_chat), without_pings(CHAT_STREAM));
}

#[test]
fn a_stream_split_at_every_byte_comes_out_the_same() {
    for (from, text) in [(Dialect::OpenAiChat, CHAT_STREAM), (Dialect::Anthropic, ANTHROPIC_STREAM)] {
        for to in [Dialect::OpenAiChat, Dialect::Anthropic] {
            let bytes = text.as_bytes();
            let whole = stream(from, to, [bytes]);
            for at in 0..bytes.len() {
                assert_eq!(stream(from, to, [&bytes[..at], &bytes[at..]]), whole, "cut at {at}");
            }
            assert_eq!(stream(from, to, bytes.chunks(1)), whole, "byte by byte");
        }
    }
}

#[test]
fn a_stream_cut_anywhere_ends_as_an_error_and_never_as_a_success() {
    for (from, text, reason) in [
        (Dialect::OpenAiChat, CHAT_STREAM, "\"tool_calls\"}]}\n\n"),
        (Dialect::Anthropic, ANTHROPIC_STREAM, "\"output_tokens\":5}}\n\n"),
    ] {
        let complete = text.find(reason).expect("there") + reason.len() - 2;
        for to in [Dialect::OpenAiChat, Dialect::Anthropic] {
            for at in 0..complete {
                let out = stream(from, to, [&text.as_bytes()[..at]]);
                assert!(!out.contains("[DONE]") && !out.contains("message_stop"), "cut at {at}: {out}");
                assert!(out.contains("\"error\""), "cut at {at}: {out}");
            }
            let out = stream(from, to, [&text.as_bytes()[..complete + 2]]);
            assert!(out.contains("[DONE]") || out.contains("message_stop"), "the reason came: {out}");
        }
    }
}

#[test]
fn a_body_that_breaks_off_is_an_error_even_after_the_reason() {
    let mut translator =
        Translator::new(Dialect::OpenAiChat, Realm::NONE, Dialect::Anthropic, echo()).expect("known");
    let mut out = Vec::new();
    let until = CHAT_STREAM.find("data: [DONE]").expect("there");
    translator.feed(&CHAT_STREAM.as_bytes()[..until], &mut out);
    translator.finish(false, &mut out);
    let out = String::from_utf8(out).expect("UTF-8");
    assert!(out.ends_with("\n\n") && out.contains("event: error") && !out.contains("message_stop"), "{out}");
    assert!(translator.account().end.as_ref().expect("over").is_err());
}

#[test]
fn counts_that_nobody_asked_for_are_kept_from_the_caller_and_in_the_books() {
    let quiet = Echo { stream_usage: false, ..echo() };
    let mut translator =
        Translator::new(Dialect::Anthropic, Realm::NONE, Dialect::OpenAiChat, quiet).expect("known");
    let mut out = Vec::new();
    translator.feed(ANTHROPIC_STREAM.as_bytes(), &mut out);
    translator.finish(true, &mut out);
    assert!(!String::from_utf8(out).expect("UTF-8").contains("usage"));
    assert_eq!(translator.account().usage.input, Some(9));
    assert_eq!(translator.account().usage.output, Some(5));
}

#[test]
fn nothing_is_written_behind_the_end() {
    let mut translator =
        Translator::new(Dialect::OpenAiChat, Realm::NONE, Dialect::Anthropic, echo()).expect("known");
    let mut out = Vec::new();
    translator.feed(CHAT_STREAM.as_bytes(), &mut out);
    let len = out.len();
    translator.feed(CHAT_STREAM.as_bytes(), &mut out);
    translator.heartbeat(&mut out);
    translator.finish(false, &mut out);
    assert_eq!(out.len(), len);
}

/// Two calls whose arguments alternate, in Chat Completions.
#[test]
fn interleaved_calls_come_out_one_behind_the_other() {
    let chunk = |delta: &str| {
        format!(
            "data: {{\"id\":\"x\",\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{delta}]}}}}]}}\n\n"
        )
    };
    let mut text = String::new();
    for (index, id) in [(0, "a"), (1, "b")] {
        text += &chunk(&format!(
            r#"{{"index":{index},"id":"{id}","type":"function","function":{{"name":"f","arguments":""}}}}"#
        ));
    }
    for (index, args) in [(0, r#"{\"x\""#), (1, r#"{\"y\""#), (0, ":1}"), (1, ":2}")] {
        text += &chunk(&format!(r#"{{"index":{index},"function":{{"arguments":"{args}"}}}}"#));
    }
    text += "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let out = stream(Dialect::OpenAiChat, Dialect::Anthropic, [text.as_bytes()]);
    let order: Vec<_> = ["\"id\":\"a\"", "{\\\"x\\\"", ":1}", "\"id\":\"b\"", "{\\\"y\\\":2}"]
        .iter()
        .map(|piece| out.find(piece).unwrap_or_else(|| panic!("{piece} in {out}")))
        .collect();
    assert!(order.is_sorted(), "{out}");
    assert!(
        out.contains("\"stop_reason\":\"tool_use\""),
        "an engine that says stop after a call waits for it"
    );
}
