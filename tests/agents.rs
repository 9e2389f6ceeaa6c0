//! What agents and their SDKs send besides plain calls: probes, betas, odd base URLs, compressed bodies, upgrades.
//!
//! Owns: a replay of each habit, as these clients have it (versions in docs/agents.md), over real sockets.
//! Must not: need a client to be installed; tests/sdk runs the real ones.
//! Read next: `translate/main.rs`.

use std::io::Write as _;

use ringway_contract::snapshot::{Engine, Match, Route};
use ringway_tests::client::{get, post};
use ringway_tests::setup::{backend, http, prefix, route};
use ringway_tests::{Gateway, Io, Origin, Setup, each_driver};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

fn whole(status: u16, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn chat() -> Value {
    json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0,
        "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}})
}

/// A gateway as people put it in front of agents: model routes below `/v1` and `/v1beta`, and nothing else.
fn gateway(io: Io, engine: Engine, origin: &Origin, tune: impl FnOnce(&mut Setup)) -> Gateway {
    let of = |name: &str, path: &str| Route { name: name.to_owned(), ..route(name, prefix(path), "model") };
    let mut setup = Setup::new()
        .backend(backend("model", engine, &[origin.address()]))
        .route(of("v1", "/v1"))
        .route(of("v1beta", "/v1beta"));
    tune(&mut setup);
    Gateway::start(io, setup)
}

fn untuned(_: &mut Setup) {}

fn with_fields(request: &[u8], fields: &[&str]) -> Vec<u8> {
    let at = request.windows(2).position(|pair| pair == b"\r\n").expect("a line") + 2;
    let fields: String = fields.iter().flat_map(|field| [field, "\r\n"]).collect();
    [&request[..at], fields.as_bytes(), &request[at..]].concat()
}

#[test]
fn claude_code_is_told_that_somebody_is_there_and_its_betas_pass() {
    each_driver(|io| {
        let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [],
            "stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1}});
        let origin = Origin::answering(whole(200, &answer));
        let gateway = gateway(io, Engine::Anthropic, &origin, untuned);
        let mut hello = gateway.connect();
        hello.send("HEAD /api/hello HTTP/1.1\r\nHost: g\r\n\r\n");
        assert_eq!(hello.answer_to("HEAD").status(), 200);
        drop(hello);
        assert_eq!(origin.connections(), 0, "a probe is no call");

        let body = r#"{"model":"claude-x","max_tokens":8,"system":[{"type":"text","text":"You are a tool.","cache_control":{"type":"ephemeral","ttl":"1h"}}],"context_management":{"edits":[]},"messages":[{"role":"user","content":"Hi"}],"metadata":{"user_id":"u"}}"#;
        let request = with_fields(
            &post("/v1/messages?beta=true", body),
            &[
                "anthropic-beta: claude-code-20250219,interleaved-thinking-2025-05-14",
                "anthropic-version: 2023-06-01",
                "x-app: cli",
                "x-claude-code-session-id: 8c1f",
                "user-agent: claude-cli/2.1.332 (external, cli)",
            ],
        );
        assert_eq!(gateway.ask(request).json(), answer);
        let got = origin.request_for("/v1/messages?beta=true");
        assert_eq!(String::from_utf8_lossy(&got.body), body);
        for (name, value) in [
            ("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14"),
            ("x-claude-code-session-id", "8c1f"),
            ("x-app", "cli"),
        ] {
            assert_eq!(got.head.one(name).as_deref(), Some(value));
        }
        for path in ["/api/claude_cli/bootstrap", "/v1/mcp_servers"] {
            let answer = gateway.ask(get(path));
            assert!(answer.status() == 404 || path.starts_with("/v1"), "{path}: {}", answer.status());
        }
        gateway.finish();
    });
}

#[test]
fn claude_code_finds_its_models_in_anthropics_form() {
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = gateway(io, Engine::Anthropic, &origin, |setup| {
            setup.snapshot.backends[0].models = vec!["claude-sonnet".to_owned()];
        });
        let ask = with_fields(get("/v1/models?limit=1000").as_bytes(), &["anthropic-version: 2023-06-01"]);
        let list = gateway.ask(ask);
        assert_eq!((list.status(), &list.json()["data"][0]["id"]), (200, &json!("claude-sonnet")));
        assert_eq!((&list.json()["has_more"], list.json().get("object")), (&json!(false), None));
        gateway.finish();
    });
}

/// Anthropic's tool runner lets its provider keep the conversation, and sends all of it once it is told that nobody does.
#[test]
fn a_thread_that_nobody_keeps_is_refused_in_the_words_that_the_sdk_goes_on_from() {
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = gateway(io, Engine::Vllm, &origin, untuned);
        let ask = json!({"model": "m", "max_tokens": 8, "thread": {"type": "create"},
            "messages": [{"role": "user", "content": "Hi"}]});
        let answer = gateway.ask(post("/v1/messages?beta=true", ask.to_string()));
        let error = &answer.json()["error"];
        assert_eq!((answer.status(), &error["type"]), (400, &json!("invalid_request_error")));
        assert_eq!(error["details"]["error_code"], "thread_unsupported_request");
        assert_eq!(origin.connections(), 0);
        gateway.finish();
    });
}

#[test]
fn codex_may_compress_its_body_and_is_read_all_the_same() {
    each_driver(|io| {
        let origin = Origin::start(|peer| {
            while peer.request().is_some() {
                peer.send(whole(200, &chat()));
            }
        });
        let gateway = gateway(io, Engine::Vllm, &origin, |setup| {
            setup.snapshot.routes[0].matches.models = vec!["gpt-*".to_owned()];
        });
        let body = json!({"model": "gpt-5", "stream": false, "store": false, "instructions": "Be a tool.",
            "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
            "include": ["reasoning.encrypted_content"], "prompt_cache_key": "k", "parallel_tool_calls": true});
        let zstd = zstd::encode_all(body.to_string().as_bytes(), 3).expect("memory");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(body.to_string().as_bytes()).expect("memory");
        let gzip = gzip.finish().expect("memory");
        for (coding, coded) in [("zstd", &zstd), ("gzip", &gzip)] {
            let field = format!("content-encoding: {coding}");
            let answer = gateway
                .ask(with_fields(&post("/v1/responses", coded), &[&field, "originator: codex_cli_rs"]));
            assert_eq!(answer.status(), 200, "{coding}: {}", answer.text());
            assert_eq!(answer.json()["output"][0]["content"][0]["text"], "Hello");
        }
        let chat = json!({"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]}).to_string();
        let coded = zstd::encode_all(chat.as_bytes(), 3).expect("memory");
        let native = gateway.ask(with_fields(&post(CHAT, &coded), &["content-encoding: zstd"]));
        assert_eq!(native.status(), 200, "{}", native.text());
        let got = origin.requests().pop().expect("a request");
        assert_eq!(
            (String::from_utf8_lossy(&got.body).into_owned(), got.head.has("content-encoding")),
            (chat, false)
        );

        let cut =
            gateway.ask(with_fields(&post(CHAT, &coded[..coded.len() - 4]), &["content-encoding: zstd"]));
        assert_eq!((cut.status(), &cut.json()["error"]["type"]), (400, &json!("invalid_request_error")));
        let odd = gateway.ask(with_fields(&post(CHAT, &coded), &["content-encoding: br"]));
        assert_eq!(odd.status(), 415);
        gateway.finish();
    });
}

#[test]
fn a_compressed_body_that_nobody_has_to_read_passes_as_it_came() {
    each_driver(|io| {
        let origin = Origin::answering(whole(200, &chat()));
        let gateway = gateway(io, Engine::Vllm, &origin, untuned);
        let coded = zstd::encode_all(&b"{\"model\":\"m\"}"[..], 3).expect("memory");
        assert_eq!(gateway.ask(with_fields(&post(CHAT, &coded), &["content-encoding: zstd"])).status(), 200);
        let got = origin.request_for(CHAT);
        assert_eq!((got.body, got.head.one("content-encoding").as_deref()), (coded, Some("zstd")));
        gateway.finish();
    });
}

#[test]
fn what_unfolds_to_more_than_is_allowed_is_413() {
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = gateway(io, Engine::Vllm, &origin, |setup| {
            setup.snapshot.limits.request_body = ringway_contract::Bytes::from_kib(64);
            setup.snapshot.routes[0].matches.models = vec!["*".to_owned()];
        });
        let large = format!("{{\"model\":\"m\",\"x\":\"{}\"}}", "x".repeat(1 << 20));
        let coded = zstd::encode_all(large.as_bytes(), 3).expect("memory");
        assert!(coded.len() < 64 << 10);
        let answer = gateway.ask(with_fields(&post(CHAT, &coded), &["content-encoding: zstd"]));
        assert_eq!((answer.status(), origin.connections()), (413, 0));
        gateway.finish();
    });
}

#[test]
fn codex_falls_back_from_a_websocket_and_from_compaction_at_a_backend_of_another_dialect() {
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = gateway(io, Engine::Anthropic, &origin, |setup| {
            setup.snapshot.backends[0].models = vec!["claude".to_owned()];
        });
        let upgrade = with_fields(
            get("/v1/responses").as_bytes(),
            &[
                "connection: upgrade",
                "upgrade: websocket",
                "sec-websocket-version: 13",
                "sec-websocket-key: AA==",
            ],
        );
        for request in [upgrade, post("/v1/responses/compact", "{\"model\":\"m\"}")] {
            let answer = gateway.ask(request);
            assert_eq!(answer.status(), 404);
            assert!(answer.json()["error"]["message"].is_string(), "{}", answer.text());
        }
        assert_eq!(
            gateway.ask(get("/v1/models?client_version=0.171.0")).status(),
            404,
            "it has a list of its own"
        );
        assert_eq!(origin.connections(), 0);
        gateway.finish();
    });
}

#[test]
fn gemini_cli_streams_with_its_key_in_either_place_and_an_empty_one_counts_as_none() {
    each_driver(|io| {
        let events = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"}],\"role\":\"model\"},\"finishReason\":\"STOP\"}]}\r\n\r\n";
        let origin = Origin::start(move |peer| {
            while peer.request().is_some() {
                let length = events.len();
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {length}\r\n\r\n{events}"));
            }
        });
        let gateway = gateway(io, Engine::Gemini, &origin, |setup| {
            setup.snapshot.backends[0].credential = Some(ringway_contract::snapshot::Credential {
                header: "x-goog-api-key".to_owned(),
                value: "ours".to_owned(),
            });
        });
        let body = json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "systemInstruction":
            {"role": "user", "parts": [{"text": "Be a tool."}]}, "generationConfig": {"topK": 3.0}})
        .to_string();
        for fields in [
            vec![
                "x-goog-api-key: theirs",
                "x-goog-api-client: google-genai-sdk/1.30.0 gl-node/v22",
                "user-agent: GeminiCLI/0.61.0",
            ],
            vec!["authorization: Bearer theirs", "x-goog-api-key:"],
        ] {
            let path = "/v1beta/models/gemini-3:streamGenerateContent?alt=sse&key=theirs";
            let answer = gateway.ask(with_fields(&post(path, &body), &fields));
            assert_eq!((answer.status(), answer.text()), (200, events.to_owned()));
        }
        for got in origin.requests() {
            assert_eq!(got.head.word(1), "/v1beta/models/gemini-3:streamGenerateContent?alt=sse");
            assert!(!got.head.text().contains("theirs"), "{}", got.head.text());
            assert_eq!(got.head.one("x-goog-api-key").as_deref(), Some("ours"));
        }
        gateway.finish();
    });
}

#[test]
fn base_urls_joined_carelessly_lead_where_they_were_meant_to() {
    each_driver(|io| {
        let origin = Origin::start(|peer| {
            while peer.request().is_some() {
                peer.send(whole(200, &chat()));
            }
        });
        let gateway = gateway(io, Engine::Vllm, &origin, untuned);
        let ask = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).to_string();
        for path in
            ["/openai/v1/chat/completions", "/v1/v1/chat/completions", "/openai/v1/v1/chat/completions?x=1"]
        {
            assert_eq!(gateway.ask(post(path, &ask)).status(), 200, "{path}");
            let got = origin.requests().pop().expect("a request");
            assert!(
                got.head.word(1) == CHAT || got.head.word(1) == "/v1/chat/completions?x=1",
                "{}",
                got.head.word(1)
            );
        }
        assert_eq!(
            gateway.ask(post("/anthropic/v1/messages", ask.replace("Hi", "Ho"))).json()["type"],
            "message"
        );
        assert_eq!(gateway.ask(post("/openaiish/v1/chat/completions", &ask)).status(), 404);
        gateway.finish();
    });
}

#[test]
fn a_plain_proxy_answers_for_every_path_itself() {
    each_driver(|io| {
        let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        let mut setup = Setup::new().backend(http("site", &[origin.address()]));
        let matches = Match { path_prefix: Some("/openai".to_owned()), ..Match::default() };
        setup = setup.route(Route { matches, ..route("site", prefix("/"), "site") });
        let gateway = Gateway::start(io, setup);
        assert_eq!(gateway.ask(get("/openai/v1/v1/x")).text(), "hi");
        assert_eq!(origin.requests()[0].head.word(1), "/openai/v1/v1/x");
        for path in ["/", "/health"] {
            assert_eq!(gateway.ask(get(path)).status(), 404, "nobody asked for probes in front of a site");
        }
        gateway.finish();
    });
}

#[test]
fn sdks_are_told_not_to_try_again_what_was_tried_enough() {
    each_driver(|io| {
        let origin = Origin::answering(whole(500, &json!({"error": {"message": "no"}})));
        let gateway = gateway(io, Engine::Vllm, &origin, |setup| setup.snapshot.routes[0].idempotent = true);
        let request = with_fields(
            &post(CHAT, json!({"model": "m", "messages": []}).to_string()),
            &[
                "x-stainless-retry-count: 0",
                "x-stainless-timeout: 600",
                "x-stainless-lang: python",
                "accept: application/json",
            ],
        );
        let answer = gateway.ask(request);
        assert_eq!(answer.status(), 500);
        let got = origin.requests().pop().expect("a request");
        assert_eq!(got.head.one("x-stainless-lang").as_deref(), Some("python"));
        assert!(answer.head.has("x-request-id"));
        gateway.finish();
    });
}
