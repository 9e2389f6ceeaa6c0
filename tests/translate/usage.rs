//! Usage that a route asks for in its callers' names.
//!
//! Owns: `force_usage`, as the caller, the backend and the log see it.
//! Must not: repeat what the sieve's own tests tell of cuts.
//! Read next: `rig.rs`.

use ringway_contract::snapshot::{Engine, Retry};
use ringway_tests::client::post;
use ringway_tests::setup::backend;
use ringway_tests::{Origin, Setup, each_driver};
use serde_json::{Value, json};

use crate::rig::{gateway, sent, stream, whole};

const CHAT: &str = "/v1/chat/completions";

fn forced(setup: &mut Setup) {
    setup.snapshot.routes[0].force_usage = true;
}

fn event(body: &Value) -> String {
    format!("data: {body}\n\n")
}

fn word(text: &str) -> String {
    event(&json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "x_unknown": 1.0,
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]}))
}

fn usage() -> String {
    event(&json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}))
}

fn ask(more: &Value) -> String {
    let mut ask = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
    ask.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
    ask.to_string()
}

#[test]
fn usage_is_asked_for_and_logged_and_the_caller_sees_every_other_byte() {
    each_driver(|io| {
        let done = "data: [DONE]\n\n".to_owned();
        let origin = Origin::answering(stream(&[word("one "), word("two"), usage(), done.clone()]));
        let gateway = gateway(io, Engine::Vllm, &origin, forced);
        let mut caller = gateway.connect();
        for n in 1..=2 {
            let answer = caller.ask(post(CHAT, ask(&json!({}))));
            assert_eq!(answer.text(), [word("one "), word("two"), done.clone()].concat());
            assert!(answer.whole() && !answer.says_close(), "answer {n}");
        }
        let body: Value = serde_json::from_slice(&origin.requests()[0].body).expect("JSON");
        assert_eq!(body["stream_options"], json!({"include_usage": true}));
        assert_eq!(origin.connections(), 1);
        drop(caller);
        let lines = gateway.access().lines();
        assert_eq!((&lines[0]["tokens_in"], &lines[0]["tokens_out"]), (&json!(9), &json!(2)));
        assert!(lines[0].get("tokens_estimated").is_none());
        gateway.finish();
    });
}

#[test]
fn who_asks_for_usage_gets_it_and_who_wants_no_stream_is_left_as_it_is() {
    each_driver(|io| {
        let asked = ask(&json!({"stream_options": {"include_usage": true}}));
        let origin = Origin::answering(stream(&[word("one"), usage(), "data: [DONE]\n\n".to_owned()]));
        let streaming = gateway(io, Engine::Vllm, &origin, forced);
        assert!(streaming.ask(post(CHAT, &asked)).text().contains("prompt_tokens"));
        assert_eq!(origin.request_for(CHAT).body, asked.as_bytes());
        streaming.finish();

        let unstreamed = ask(&json!({"stream": false}));
        let body = json!({"choices": [], "usage": {"prompt_tokens": 1}});
        let origin = Origin::answering(whole(200, &body));
        let gateway = gateway(io, Engine::Vllm, &origin, forced);
        assert_eq!(gateway.ask(post(CHAT, &unstreamed)).json(), body);
        assert_eq!(origin.request_for(CHAT).body, unstreamed.as_bytes());
        gateway.finish();
    });
}

#[test]
fn a_stream_framed_by_its_connection_is_sifted_too_and_a_cut_one_still_breaks() {
    each_driver(|io| {
        let done = "data: [DONE]\n\n".to_owned();
        let body = [word("one"), usage(), done.clone()].concat();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        let origin = Origin::start(move |peer| {
            peer.request();
            peer.send(format!("{head}{body}"));
        });
        let closing = gateway(io, Engine::Vllm, &origin, forced);
        assert_eq!(closing.ask(post(CHAT, ask(&json!({})))).text(), [word("one"), done].concat());
        closing.finish();

        let cut = Origin::start(move |peer| {
            peer.request();
            peer.send(format!("{head}{}data: {{\"choices\":[", word("one")));
        });
        let gateway = gateway(io, Engine::Vllm, &cut, forced);
        let answer = gateway.ask(post(CHAT, ask(&json!({}))));
        assert!(answer.text().starts_with(&word("one")) && !answer.whole(), "{}", answer.text());
        gateway.finish();
    });
}

/// The body that was changed for the first server goes to the second, which speaks another dialect.
#[test]
fn a_caller_that_did_not_ask_sees_no_usage_when_another_dialect_takes_over() {
    each_driver(|io| {
        let away = Origin::answering(whole(503, &json!({"error": {"message": "busy"}})));
        let named =
            |data: Value| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().expect("a type"));
        let events = [
            json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
                "model": "claude", "content": [], "stop_reason": null, "stop_sequence": null,
                "usage": {"input_tokens": 7, "output_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                "usage": {"output_tokens": 2}}),
            json!({"type": "message_stop"}),
        ];
        let claude = Origin::answering(stream(&events.map(named)));
        let gateway = gateway(io, Engine::Vllm, &away, |setup| {
            forced(setup);
            setup.snapshot.backends.push(backend("claude", Engine::Anthropic, &[claude.address()]));
            let fallback = ringway_contract::snapshot::Fallback { backend: "claude".to_owned(), model: None };
            setup.snapshot.routes[0].fallback = vec![fallback];
            setup.snapshot.routes[0].retry = Retry { attempts: 2, budget_percent: 100 };
        });
        let answer = gateway.ask(post(CHAT, ask(&json!({}))));
        assert!(
            answer.text().contains("[DONE]") && !answer.text().contains("prompt_tokens"),
            "{}",
            answer.text()
        );
        let (_, first) = sent(&away, CHAT);
        assert_eq!(first["stream_options"]["include_usage"], true);
        gateway.finish();
    });
}
