//! Calls of models: streamed and not, whole and broken.
//!
//! Owns: the way of a translated call. What each dialect's words become is told by the dialect crate's own tests.
//! Must not: compare whole bodies where the claim is about one field.
//! Read next: `beside.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};

use ringway_contract::snapshot::{Engine, Fallback, Retry};
use ringway_tests::client::post;
use ringway_tests::setup::backend;
use ringway_tests::{Origin, each_driver};
use serde_json::{Value, json};

use crate::rig::{gateway, sent, stream, untuned, whole};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

/// An event of Anthropic's, named by its type.
fn named(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().expect("a type"))
}

fn unnamed(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// A text and a call, as Anthropic streams them.
fn anthropic_events() -> Vec<String> {
    [
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
            "model": "claude", "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 7, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Let me "}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "look."}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block":
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}}),
        json!({"type": "content_block_delta", "index": 1, "delta":
            {"type": "input_json_delta", "partial_json": "{\"city\":"}}),
        json!({"type": "content_block_delta", "index": 1, "delta":
            {"type": "input_json_delta", "partial_json": "\"Rome\"}"}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null},
            "usage": {"output_tokens": 12}}),
        json!({"type": "message_stop"}),
    ]
    .iter()
    .map(named)
    .collect()
}

/// A text, as Chat Completions streams it.
fn chat_events() -> Vec<String> {
    let chunk = |delta: Value, reason: Value| {
        unnamed(&json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}))
    };
    vec![
        chunk(json!({"role": "assistant", "content": ""}), Value::Null),
        chunk(json!({"content": "Hello "}), Value::Null),
        chunk(json!({"content": "there"}), Value::Null),
        chunk(json!({}), json!("stop")),
        unnamed(&json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}})),
        "data: [DONE]\n\n".to_owned(),
    ]
}

fn chat_answer() -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0,
        "message": {"role": "assistant", "content": "Hello there"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}})
}

fn chat_request(stream: bool) -> String {
    json!({"model": "gpt", "stream": stream, "max_completion_tokens": 100,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Rome?"}],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]})
    .to_string()
}

fn messages_request(stream: bool) -> String {
    json!({"model": "claude", "max_tokens": 100, "stream": stream, "system": "Be brief.",
        "messages": [{"role": "user", "content": "Hi"}]})
    .to_string()
}

/// The data of the events of a stream; what is not JSON stays a string.
fn data(body: &str) -> Vec<Value> {
    let lines = body.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap_or("?")).collect()
}

#[test]
fn a_chat_caller_streams_text_and_a_call_from_an_anthropic_backend() {
    each_driver(|io| {
        let origin = Origin::answering(stream(&anthropic_events()));
        let gateway = gateway(io, Engine::Anthropic, &origin, untuned);
        let answer = gateway.connect().ask(post(CHAT, chat_request(true)));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert_eq!(answer.head.one("content-type").as_deref(), Some("text/event-stream; charset=utf-8"));
        assert!(answer.whole() && !answer.head.has("content-length") && !answer.head.has("set-cookie"));
        let events = data(&answer.text());
        assert_eq!(events.last(), Some(&json!("[DONE]")));
        let text: String =
            events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(text, "Let me look.");
        let calls = || events.iter().map(|event| &event["choices"][0]["delta"]["tool_calls"][0]["function"]);
        let arguments: String = calls().filter_map(|call| call["arguments"].as_str()).collect();
        assert_eq!(arguments, r#"{"city":"Rome"}"#);
        assert!(calls().any(|call| call["name"] == "weather"));
        assert!(events.iter().any(|event| event["choices"][0]["finish_reason"] == "tool_calls"));
        assert!(
            events.iter().all(|event| event.get("usage").is_none_or(Value::is_null)),
            "nobody asked for usage"
        );
        assert!(events[..events.len() - 1].iter().all(|event| event["model"] == "gpt"));

        let (head, body) = sent(&origin, MESSAGES);
        assert_eq!(head.one("anthropic-version").as_deref(), Some("2023-06-01"));
        assert_eq!(head.one("accept-encoding").as_deref(), Some("identity"));
        assert_eq!((&body["stream"], &body["max_tokens"]), (&json!(true), &json!(100)));
        assert_eq!((&body["system"], &body["tools"][0]["name"]), (&json!("Be brief."), &json!("weather")));
        assert!((gateway.metric(&["ringway_translated_requests_total"]) - 1.0).abs() < 0.5);
        origin.assert_strict();
    });
}

#[test]
fn a_chat_caller_gets_a_whole_answer_from_an_anthropic_backend_and_asks_again_on_both_connections() {
    each_driver(|io| {
        let origin = Origin::answering(whole(
            200,
            &json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_sequence": null,
                "content": [{"type": "text", "text": "Sunny."}], "stop_reason": "end_turn",
                "usage": {"input_tokens": 7, "cache_read_input_tokens": 3, "output_tokens": 2}}),
        ));
        let gateway = gateway(io, Engine::Anthropic, &origin, untuned);
        let mut caller = gateway.connect();
        for _ in 0..2 {
            let answer = caller.ask(post(CHAT, chat_request(false)));
            assert_eq!(answer.status(), 200, "{}", answer.text());
            let body = answer.json();
            assert_eq!(body["choices"][0]["message"]["content"], "Sunny.");
            assert_eq!(body["choices"][0]["finish_reason"], "stop");
            assert_eq!(body["usage"]["prompt_tokens"], 10);
            assert_eq!(body["object"], "chat.completion");
            assert!(!answer.says_close() && !answer.head.has("set-cookie"));
        }
        assert_eq!(origin.connections(), 1, "{:?}", origin.summary());
    });
}

#[test]
fn an_anthropic_caller_streams_from_a_chat_backend() {
    each_driver(|io| {
        let origin = Origin::answering(stream(&chat_events()));
        let gateway = gateway(io, Engine::Openai, &origin, untuned);
        let answer = gateway.connect().ask(post(MESSAGES, messages_request(true)));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let events = data(&answer.text());
        let kinds = kinds(&events);
        assert_eq!((kinds[0], kinds[kinds.len() - 1]), ("message_start", "message_stop"), "{kinds:?}");
        let text: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
        assert_eq!(text, "Hello there");
        let end = &events[events.len() - 2];
        assert_eq!(end["delta"]["stop_reason"], "end_turn");
        assert_eq!((&end["usage"]["input_tokens"], &end["usage"]["output_tokens"]), (&json!(9), &json!(2)));
        assert!(answer.head.has("request-id"));
        assert!(!answer.head.has("x-ringway-upstream-request-id"), "the backend named none");
        let (head, body) = sent(&origin, CHAT);
        assert_eq!(body["stream_options"]["include_usage"], true, "usage is asked for");
        assert!(!head.has("anthropic-version"));
    });
}

#[test]
fn an_anthropic_caller_gets_a_whole_answer_from_a_chat_backend() {
    each_driver(|io| {
        let origin = Origin::answering(whole(200, &chat_answer()));
        let gateway = gateway(io, Engine::Openai, &origin, untuned);
        let answer = gateway.connect().ask(post(MESSAGES, messages_request(false)));
        let body = answer.json();
        assert_eq!((&body["type"], &body["content"][0]["text"]), (&json!("message"), &json!("Hello there")));
        assert_eq!((&body["stop_reason"], &body["model"]), (&json!("end_turn"), &json!("claude")));
    });
}

#[test]
fn gemini_and_responses_callers_are_served_by_a_chat_backend_streaming_and_not() {
    each_driver(|io| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                let streams = String::from_utf8_lossy(&request.body).contains("\"stream\":true");
                let sent = if streams {
                    peer.send(stream(&chat_events()))
                } else {
                    peer.send(whole(200, &chat_answer()))
                };
                if !sent {
                    return;
                }
            }
        });
        let gateway = gateway(io, Engine::Openai, &origin, untuned);
        let mut caller = gateway.connect();
        let contents = json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}).to_string();
        let part =
            |event: &Value| event["candidates"][0]["content"]["parts"][0]["text"].as_str().map(str::to_owned);

        let answer = caller.ask(post("/v1beta/models/gem:generateContent?key=theirs", &contents));
        assert_eq!(part(&answer.json()).as_deref(), Some("Hello there"), "{}", answer.text());
        let answer = caller.ask(post("/v1beta/models/gem:streamGenerateContent?alt=sse", &contents));
        assert_eq!(data(&answer.text()).iter().filter_map(part).collect::<String>(), "Hello there");
        let answer = caller.ask(post("/v1beta/models/gem:streamGenerateContent", &contents));
        assert_eq!(answer.head.one("content-type").as_deref(), Some("application/json"));
        let array = answer.json();
        let text: String = array.as_array().expect("an array").iter().filter_map(part).collect();
        assert_eq!(text, "Hello there");

        for streams in [false, true] {
            let request = json!({"model": "gpt", "input": "Hi", "stream": streams}).to_string();
            let answer = caller.ask(post("/v1/responses", &request));
            assert_eq!(answer.status(), 200, "{}", answer.text());
            let response = if streams {
                let events = data(&answer.text());
                let last = events.last().expect("events").clone();
                assert_eq!(last["type"], "response.completed");
                last["response"].clone()
            } else {
                answer.json()
            };
            assert_eq!(response["output"][0]["content"][0]["text"], "Hello there", "{response}");
        }
        let models: Vec<Value> = origin
            .requests()
            .iter()
            .map(|request| serde_json::from_slice::<Value>(&request.body).expect("JSON")["model"].clone())
            .collect();
        assert_eq!(models, [json!("gem"), json!("gem"), json!("gem"), json!("gpt"), json!("gpt")]);
        origin.assert_strict();
    });
}

#[test]
fn a_chat_caller_is_served_by_a_gemini_backend_whose_path_names_the_alias() {
    each_driver(|io| {
        let origin = Origin::answering(whole(
            200,
            &json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "Ciao"}]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 1, "totalTokenCount": 5}}),
        ));
        let gateway = gateway(io, Engine::Gemini, &origin, |setup| {
            setup.snapshot.routes[0].targets[0].model = Some("gemini-x/1".to_owned());
        });
        let answer = gateway.connect().ask(post(CHAT, chat_request(false)));
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "Ciao", "{}", answer.text());
        assert_eq!(answer.json()["model"], "gpt", "the caller's own name for it");
        let (head, _) = sent(&origin, "/v1beta/models/gemini-x%2F1:generateContent");
        assert_eq!(head.one("x-goog-api-key").as_deref(), Some("ours"));
    });
}

#[test]
fn the_callers_credentials_never_reach_a_backend_of_another_dialect() {
    each_driver(|io| {
        for (engine, path, body) in [
            (Engine::Anthropic, CHAT, chat_request(false)),
            (Engine::Openai, "/v1/messages?key=theirs", messages_request(false)),
        ] {
            let origin = Origin::answering(whole(500, &json!({"error": {"message": "no"}})));
            let gateway = gateway(io, engine, &origin, untuned);
            let request = String::from_utf8(post(path, &body)).expect("text").replacen(
                "\r\n",
                "\r\nAuthorization: Bearer theirs\r\nx-api-key: theirs\r\nx-goog-api-key: theirs\r\napi-key: theirs\r\nCookie: theirs\r\n",
                1,
            );
            let _ = gateway.connect().ask(request);
            let records = origin.records();
            let received = String::from_utf8_lossy(&records[0].received);
            assert!(!received.contains("theirs"), "{received}");
            assert_eq!(received.matches("ours").count(), 1, "{received}");
        }
    });
}

#[test]
fn an_upstream_error_is_told_in_the_callers_words_with_its_wait() {
    each_driver(|io| {
        let error = json!({"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}});
        let limited = whole(429, &error).replacen("\r\n", "\r\nRetry-After: 3\r\n", 1);
        let gateway_of = |origin: &Origin| gateway(io, Engine::Anthropic, origin, untuned);
        for streams in [false, true] {
            let origin = Origin::answering(limited.clone());
            let answer = gateway_of(&origin).connect().ask(post(CHAT, chat_request(streams)));
            assert_eq!(answer.status(), 429);
            let body = answer.json();
            assert_eq!(body["error"]["message"], "slow down");
            assert_eq!(body["error"]["code"], "rate_limit_exceeded");
            assert_eq!(answer.head.one("retry-after").as_deref(), Some("3"));
            assert_eq!(answer.head.one("retry-after-ms").as_deref(), Some("3000"));
        }
    });
}

#[test]
fn a_stream_whose_first_event_is_an_error_is_an_error_of_http() {
    each_driver(|io| {
        let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}});
        let origin = Origin::answering(stream(&[named(&error)]));
        let answer =
            gateway(io, Engine::Anthropic, &origin, untuned).connect().ask(post(CHAT, chat_request(true)));
        assert_eq!((answer.status(), &answer.json()["error"]["message"]), (503, &json!("busy")));
    });
}

#[test]
fn a_cut_stream_ends_as_an_error_and_never_as_a_success() {
    each_driver(|io| {
        let cut = |bytes: &[u8], at: usize| {
            let bytes = bytes[..bytes.len() - at].to_vec();
            Origin::start(move |peer| {
                let _ = peer.request();
                let _ = peer.send(&bytes);
            })
        };
        let origin = cut(&stream(&anthropic_events()), 300);
        let gateway_to = |engine, origin: &Origin| gateway(io, engine, origin, untuned);
        let answer = gateway_to(Engine::Anthropic, &origin).connect().ask(post(CHAT, chat_request(true)));
        let text = answer.text();
        assert!(text.contains("Let me ") && text.contains("upstream_truncated"), "{text}");
        assert!(!text.contains("[DONE]") && !text.contains("finish_reason\":\"tool_calls"), "{text}");

        let origin = cut(&stream(&chat_events()), 400);
        let other = gateway_to(Engine::Openai, &origin);
        let text = other.connect().ask(post(MESSAGES, messages_request(true))).text();
        assert!(text.contains("event: error") && !text.contains("message_stop"), "{text}");
    });
}

#[test]
fn a_whole_answer_that_is_cut_is_a_502() {
    each_driver(|io| {
        let bytes = whole(200, &chat_answer());
        let half = bytes[..bytes.len() - 20].to_owned();
        let origin = Origin::start(move |peer| {
            let _ = peer.request();
            let _ = peer.send(&half);
        });
        let gateway = gateway(io, Engine::Openai, &origin, untuned);
        let answer = gateway.connect().ask(post(MESSAGES, messages_request(false)));
        assert_eq!((answer.status(), &answer.json()["type"]), (502, &json!("error")));
    });
}

#[test]
fn the_backends_own_id_is_told_beside_ours() {
    each_driver(|io| {
        let named = whole(200, &chat_answer()).replacen("\r\n", "\r\nX-Request-Id: req_theirs\r\n", 1);
        let origin = Origin::answering(named);
        let gateway = gateway(io, Engine::Openai, &origin, untuned);
        let answer = gateway.ask(post(MESSAGES, messages_request(false)));
        assert_eq!(answer.head.one("x-ringway-upstream-request-id").as_deref(), Some("req_theirs"));
        assert_ne!(answer.head.one("request-id").as_deref(), Some("req_theirs"));
        gateway.finish();
    });
}

#[test]
fn what_is_lost_is_listed_where_the_route_says_so_and_refused_where_it_is_strict() {
    each_driver(|io| {
        let request = chat_request(false).replacen('{', "{\"seed\":7,", 1);
        let loose = Origin::answering(whole(500, &json!({"error": {"message": "no"}})));
        let answer = gateway(io, Engine::Anthropic, &loose, untuned).connect().ask(post(CHAT, &request));
        assert_eq!(answer.head.one("x-ringway-loss").as_deref(), Some("drop;f=\"/seed\""));

        let strict = Origin::answering(whole(500, &json!({})));
        let gateway = gateway(io, Engine::Anthropic, &strict, |setup| setup.snapshot.routes[0].strict = true);
        let answer = gateway.connect().ask(post(CHAT, &request));
        assert_eq!((answer.status(), &answer.json()["error"]["param"]), (400, &json!("/seed")));
        assert_eq!(strict.connections(), 0, "it was never asked");
    });
}

#[test]
fn what_cannot_be_read_is_refused_in_the_callers_words() {
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = gateway(io, Engine::Openai, &origin, |setup| {
            setup.snapshot.limits.request_body = ringway_contract::Bytes::from_kib(4);
        });
        let large = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x".repeat(8_000)}]});
        for (path, body, status) in [
            (MESSAGES, "{".to_owned(), 400),
            (MESSAGES, "{\"model\":\"m\",\"messages\":7}".to_owned(), 400),
            ("/v1/messages/count_tokens", messages_request(false), 404),
            (MESSAGES, large.to_string(), 413),
        ] {
            let answer = gateway.connect().ask(post(path, &body));
            assert_eq!((answer.status(), &answer.json()["type"]), (status, &json!("error")), "{path} {body}");
        }
        assert_eq!(origin.connections(), 0);
    });
}

#[test]
fn a_star_in_a_targets_model_is_what_the_routes_glob_matched() {
    each_driver(|io| {
        let origin = Origin::start(|peer| {
            while peer.request().is_some() {
                peer.send(whole(200, &chat_answer()));
            }
        });
        let gateway = gateway(io, Engine::Openai, &origin, |setup| {
            setup.snapshot.routes[0].matches.models = vec!["openai/*".to_owned(), "*:free".to_owned()];
            setup.snapshot.routes[0].targets[0].model = Some("*".to_owned());
        });
        for (path, body, expected) in [
            (CHAT, r#"{ "model":"openai/gpt-5" ,"x":1.0}"#, r#"{ "model":"gpt-5" ,"x":1.0}"#),
            (CHAT, r#"{"model":"meta/llama:free"}"#, r#"{"model":"meta/llama"}"#),
        ] {
            assert_eq!(gateway.ask(post(path, body)).status(), 200);
            let last = origin.requests().pop().expect("a request");
            assert_eq!(String::from_utf8_lossy(&last.body), expected);
        }
        let translated =
            gateway.ask(post(MESSAGES, messages_request(false).replace("claude", "openai/gpt-5")));
        assert_eq!(translated.json()["model"], "openai/gpt-5", "{}", translated.text());
        let last: Value =
            serde_json::from_slice(&origin.requests().pop().expect("a request").body).expect("JSON");
        assert_eq!(last["model"], "gpt-5");
        assert_eq!(gateway.ask(post(CHAT, r#"{"model":"gpt-5"}"#)).status(), 404);
        gateway.finish();
    });
}

/// What a conversation was given by another provider while its own was away would be refused there ever after.
#[test]
fn a_conversation_that_comes_home_leaves_the_state_of_others_behind() {
    each_driver(|io| {
        let asked = AtomicUsize::new(0);
        let home = Origin::start(move |peer| {
            while peer.request().is_some() {
                let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
                let answer = if first { whole(503, &json!({})) } else { whole(200, &chat_answer()) };
                peer.send(answer);
            }
        });
        let away = Origin::answering(whole(
            200,
            &json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_sequence": null,
                "content": [{"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmF0dXJl"},
                    {"type": "text", "text": "Sunny."}],
                "stop_reason": "end_turn", "usage": {"input_tokens": 7, "output_tokens": 2}}),
        ));
        let gateway = gateway(io, Engine::Vllm, &home, |setup| {
            setup.snapshot.backends.push(backend("away", Engine::Anthropic, &[away.address()]));
            setup.snapshot.routes[0].fallback = vec![Fallback { backend: "away".to_owned(), model: None }];
            setup.snapshot.routes[0].retry = Retry { attempts: 2, budget_percent: 100 };
        });
        let mut caller = gateway.connect();
        let answer = caller.ask(post(CHAT, chat_request(false)));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let said = answer.json()["choices"][0]["message"].clone();
        assert!(said["reasoning_details"][0]["data"].is_string(), "{said}");

        let mut request: Value = serde_json::from_str(&chat_request(false)).expect("JSON");
        let messages = request["messages"].as_array_mut().expect("messages");
        messages.extend([said.clone(), json!({"role": "user", "content": "And in Oslo?"})]);
        let answer = caller.ask(post(CHAT, request.to_string()));
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello there");
        let came: Value = serde_json::from_slice(&home.requests()[1].body).expect("whole JSON");
        let mut expected = request.clone();
        expected["messages"][2].as_object_mut().expect("a message").remove("reasoning_details");
        assert_eq!(came, expected);
        drop(caller);
        gateway.finish();
    });
}
