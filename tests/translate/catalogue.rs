//! What the catalogue of models changes: where a request goes, what it may cost, what is listed.
//!
//! Owns: capabilities, prices and estimates, as seen from outside.
//! Must not: repeat how an entry is found; the table's own tests tell that.
//! Read next: `rig.rs`.

use ringway_contract::snapshot::{Engine, Fallback, Model};
use ringway_tests::client::{get, post};
use ringway_tests::setup::backend;
use ringway_tests::{Origin, Setup, each_driver};
use serde_json::{Value, json};

use crate::rig::{gateway, stream, untuned, whole};

const CHAT: &str = "/v1/chat/completions";

fn known(setup: &mut Setup, models: Value) {
    setup.snapshot.models = serde_json::from_value::<Vec<Model>>(models).expect("models");
}

fn answer(usage: &Value) -> String {
    let mut body = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0,
        "message": {"role": "assistant", "content": "Hello there"}, "finish_reason": "stop"}]});
    if !usage.is_null() {
        body["usage"] = usage.clone();
    }
    whole(200, &body)
}

fn with_picture(model: &str) -> String {
    json!({"model": model, "messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]})
    .to_string()
}

#[test]
fn a_request_goes_to_a_target_that_can_do_what_it_asks_for() {
    each_driver(|io| {
        let usage = json!({"prompt_tokens": 1, "completion_tokens": 1});
        let (blind, seeing) = (Origin::answering(answer(&usage)), Origin::answering(answer(&usage)));
        let gateway = gateway(io, Engine::Vllm, &blind, |setup| {
            setup.snapshot.backends.push(backend("seeing", Engine::Vllm, &[seeing.address()]));
            let mut target = setup.snapshot.routes[0].targets[0].clone();
            target.model = Some("text-only".to_owned());
            setup.snapshot.routes[0].targets = vec![target.clone()];
            (target.backend, target.model, target.weight) = ("seeing".to_owned(), None, 1);
            setup.snapshot.routes[0].targets.push(target);
            known(
                setup,
                json!([{"name": "text-*", "capabilities": {"images": false}, "output_tokens_max": 100}]),
            );
        });
        let mut caller = gateway.connect();
        for _ in 0..8 {
            assert_eq!(caller.ask(post(CHAT, with_picture("m"))).status(), 200);
        }
        let long = json!({"model": "m", "max_tokens": 101, "messages": [{"role": "user", "content": "Hi"}]});
        assert_eq!(caller.ask(post(CHAT, long.to_string())).status(), 200);
        assert_eq!((blind.connections(), seeing.requests().len()), (0, 9), "whatever the weights");
        let short = json!({"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]});
        for _ in 0..64 {
            caller.ask(post(CHAT, short.to_string()));
        }
        assert!(blind.connections() > 0, "it gets what it can do");
        drop(caller);
        gateway.finish();
    });
}

#[test]
fn what_no_model_of_a_route_can_do_goes_to_the_fallback_and_is_refused_where_there_is_none() {
    each_driver(|io| {
        let usage = json!({"prompt_tokens": 1, "completion_tokens": 1});
        let (blind, seeing) = (Origin::answering(answer(&usage)), Origin::answering(answer(&usage)));
        let blindness = || json!([{"name": "llama", "capabilities": {"images": false}}]);
        let with_fallback = gateway(io, Engine::Vllm, &blind, |setup| {
            setup.snapshot.backends.push(backend("seeing", Engine::Vllm, &[seeing.address()]));
            let model = Some("llava".to_owned());
            setup.snapshot.routes[0].fallback = vec![Fallback { backend: "seeing".to_owned(), model }];
            known(setup, blindness());
        });
        assert_eq!(with_fallback.ask(post(CHAT, with_picture("llama"))).status(), 200);
        assert_eq!((blind.connections(), seeing.requests().len()), (0, 1));
        with_fallback.finish();

        let alone = gateway(io, Engine::Vllm, &blind, |setup| known(setup, blindness()));
        let refused = alone.ask(post(CHAT, with_picture("llama")));
        let error = &refused.json()["error"];
        assert_eq!((refused.status(), &error["type"]), (400, &json!("invalid_request_error")));
        assert!(error["message"].as_str().expect("words").contains("sees no pictures"), "{error}");
        assert_eq!(alone.ask(post(CHAT, with_picture("other"))).status(), 200, "of which nothing is known");
        alone.finish();
    });
}

#[test]
fn the_log_and_the_metrics_tell_what_an_answer_cost() {
    each_driver(|io| {
        let usage = json!({"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100,
            "prompt_tokens_details": {"cached_tokens": 400}});
        let origin = Origin::answering(answer(&usage));
        let gateway = gateway(io, Engine::Openai, &origin, |setup| {
            known(
                setup,
                json!([{"name": "gpt-*", "price":
                {"input": 1_250_000, "cache_read": 125_000, "output": 10_000_000}}]),
            );
        });
        let ask = json!({"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]}).to_string();
        assert_eq!(gateway.ask(post(CHAT, &ask)).status(), 200);
        let line = gateway.access().line_for(CHAT);
        // 600 tokens at 1.25, 400 at 0.125 and 100 at 10 dollars for a million.
        assert_eq!(line["cost_usd"], json!(0.0018), "{line}");
        assert!(line.get("tokens_estimated").is_none());
        let metric = gateway.metric(&["ringway_cost_dollars_total", "route=\"all\""]);
        assert!((metric - 0.0018).abs() < 1e-9, "{metric}");
        gateway.finish();
    });
}

#[test]
fn a_name_longer_than_the_log_has_room_for_is_found_whole() {
    each_driver(|io| {
        let usage = json!({"prompt_tokens": 1_000, "completion_tokens": 0});
        let origin = Origin::answering(answer(&usage));
        let name = format!("accounts/{}/llama", "x".repeat(100));
        let gateway = gateway(io, Engine::Openai, &origin, |setup| {
            known(setup, json!([{"name": &name, "price": {"input": 1_000_000, "output": 0}}]));
        });
        let ask = json!({"model": &name, "messages": [{"role": "user", "content": "Hi"}]}).to_string();
        assert_eq!(gateway.ask(post(CHAT, &ask)).status(), 200);
        assert_eq!(gateway.access().line_for(CHAT)["cost_usd"], json!(0.001));
        let ask = json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}).to_string();
        let path = format!("/v1beta/models/{name}:generateContent");
        assert_eq!(gateway.ask(post(&path, &ask)).status(), 200);
        let metric = gateway.metric(&["ringway_cost_dollars_total", "route=\"all\""]);
        assert!((metric - 0.002).abs() < 1e-9, "{metric}");
        gateway.finish();
    });
}

#[test]
fn usage_that_nobody_told_is_estimated_for_the_log_and_never_for_the_caller() {
    each_driver(|io| {
        let event = |delta: Value, reason: Value| {
            let data = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
            format!("data: {data}\n\n")
        };
        let words = ["one ", "two ", "three"].map(|word| event(json!({"content": word}), Value::Null));
        let mut events = words.to_vec();
        events.extend([event(json!({}), json!("stop")), "data: [DONE]\n\n".to_owned()]);
        let silent = Origin::answering(stream(&events));
        let gateway = gateway(io, Engine::Vllm, &silent, untuned);
        let ask =
            json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "x".repeat(400)}]});
        let body = ask.to_string();
        let answer = gateway.ask(post(CHAT, &body));
        assert!(!answer.text().contains("usage"), "{}", answer.text());
        let line = gateway.access().line_for(CHAT);
        assert_eq!((&line["tokens_estimated"], &line["tokens_out"]), (&json!(true), &json!(3)), "{line}");
        assert_eq!(line["tokens_in"], json!(body.len().div_ceil(4)));

        let messages = json!({"model": "m", "max_tokens": 9, "stream": true,
            "messages": [{"role": "user", "content": "Hi"}]});
        let translated = gateway.ask(post("/v1/messages", messages.to_string()));
        assert!(translated.text().contains("\"output_tokens\":0"), "{}", translated.text());
        let line = gateway.access().line_for("/v1/messages");
        assert_eq!((&line["tokens_estimated"], &line["tokens_out"]), (&json!(true), &json!(3)), "{line}");
        gateway.finish();
    });
}

#[test]
fn lists_of_models_come_in_the_callers_own_form() {
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = gateway(io, Engine::Vllm, &origin, |setup| {
            setup.snapshot.backends[0].models = vec!["llama".to_owned()];
            known(setup, json!([{"name": "llama", "display_name": "Llama 3", "context_tokens": 8192}]));
        });
        let list = |path: &str, field: &str| {
            gateway.ask(get(path).replacen("\r\n\r\n", &format!("\r\n{field}\r\n\r\n"), 1)).json()
        };
        let anthropic = list("/v1/models?limit=1000", "anthropic-version: 2023-06-01");
        assert_eq!(anthropic["data"][0]["display_name"], "Llama 3");
        assert!(anthropic.get("object").is_none() && anthropic.get("models").is_none(), "{anthropic}");
        let gemini = list("/v1beta/models", "x-goog-api-key: k");
        assert_eq!(
            (&gemini["models"][0]["name"], &gemini["models"][0]["inputTokenLimit"]),
            (&json!("models/llama"), &json!(8192))
        );
        assert!(gemini.get("data").is_none());
        let any = list("/v1/models", "authorization: Bearer k");
        assert_eq!((&any["object"], &any["data"][0]["id"]), (&json!("list"), &json!("llama")));
        assert_eq!(origin.connections(), 0);
        gateway.finish();
    });
}
