//! Models hosted by others than who makes them: Azure, Vertex AI and Bedrock.
//!
//! Owns: what such a host is sent, and what becomes of its answers.
//! Must not: repeat the signature's own test, which is held against Amazon's client.
//! Read next: `rig.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringway_contract::snapshot::{AwsKey, Balance, Credential, Engine, Fallback, Hosting};
use ringway_tests::client::post;
use ringway_tests::setup::backend;
use ringway_tests::{Gateway, Io, Origin, each_driver, http};
use serde_json::{Value, json};

use crate::rig::{gateway, sent, whole};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const BEDROCK: &str = "/model/anthropic.claude-v2%3A0/invoke-with-response-stream";

fn hosted(io: Io, engine: Engine, origin: &Origin, hosting: Hosting, model: &str) -> Gateway {
    gateway(io, engine, origin, |setup| {
        let backend = &mut setup.snapshot.backends[0];
        backend.credential = match &hosting {
            Hosting::Azure { .. } => Some(("api-key", "ours")),
            Hosting::Vertex { .. } => Some(("authorization", "Bearer ours")),
            Hosting::Bedrock { .. } => None,
        }
        .map(|(header, value)| Credential { header: header.to_owned(), value: value.to_owned() });
        backend.hosting = Some(hosting);
        setup.snapshot.routes[0].targets[0].model = Some(model.to_owned());
    })
}

fn bedrock() -> Hosting {
    let key =
        AwsKey { id: "AKID".to_owned(), secret: "hidden".to_owned(), session_token: Some("tok".to_owned()) };
    Hosting::Bedrock { region: "us-east-1".to_owned(), key: Some(key) }
}

fn vertex() -> Hosting {
    Hosting::Vertex { project: "p".to_owned(), location: "us-east5".to_owned() }
}

fn message() -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_sequence": null,
        "content": [{"type": "text", "text": "Sunny."}], "stop_reason": "end_turn", "x_new": 1.0,
        "usage": {"input_tokens": 7, "output_tokens": 2}})
}

fn events() -> Vec<Value> {
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
            "model": "claude", "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 7, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Sunny."}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
            "usage": {"output_tokens": 2}, "x_new": 1.0}),
        json!({"type": "message_stop"}),
    ]
}

/// CRC-32 as zip has it, bit by bit.
fn crc32(bytes: &[u8]) -> [u8; 4] {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 },
        )
    };
    (!bytes.iter().fold(u32::MAX, step)).to_be_bytes()
}

/// One message of an event stream, with these headers.
fn frame(headers: &[(&str, &str)], payload: &str) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(u8::try_from(name.len()).expect("short"));
        head.extend_from_slice(name.as_bytes());
        head.push(7);
        head.extend_from_slice(&u16::try_from(value.len()).expect("short").to_be_bytes());
        head.extend_from_slice(value.as_bytes());
    }
    let length = |bytes: usize| u32::try_from(bytes).expect("short").to_be_bytes();
    let mut message = [length(16 + head.len() + payload.len()), length(head.len())].concat();
    message.extend_from_slice(&crc32(&message));
    message.extend_from_slice(&head);
    message.extend_from_slice(payload.as_bytes());
    message.extend_from_slice(&crc32(&message));
    message
}

fn framed(event: &Value) -> Vec<u8> {
    let payload = json!({"bytes": STANDARD.encode(event.to_string()), "p": "abcd"}).to_string();
    frame(
        &[(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")],
        &payload,
    )
}

/// Frames, cut into coded chunks that do not end where they do.
fn event_stream(frames: &[Vec<u8>]) -> Vec<u8> {
    let body = frames.concat();
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\nTransfer-Encoding: chunked\r\n\r\n";
    [&head[..], &http::chunked(&body, &vec![37; body.len() / 37])].concat()
}

fn messages(stream: bool) -> String {
    json!({"model": "claude", "max_tokens": 100, "stream": stream, "messages": [{"role": "user", "content": "Hi"}]})
        .to_string()
}

fn with_field(request: &[u8], field: &str) -> Vec<u8> {
    String::from_utf8_lossy(request).replacen("\r\n", &format!("\r\n{field}\r\n"), 1).into_bytes()
}

#[test]
fn azure_is_asked_at_the_deployment_with_its_own_key_and_answers_pass_as_they_are() {
    each_driver(|io| {
        let body =
            json!({"choices": [], "x_new": 1.0, "usage": {"prompt_tokens": 3, "completion_tokens": 4}});
        let origin = Origin::answering(whole(200, &body));
        let azure = Hosting::Azure { api_version: Some("2024-10-21".to_owned()), deployment: None };
        let gateway = hosted(io, Engine::Openai, &origin, azure, "gpt-5");
        let ask = r#"{ "model":"fast" , "temperature":1.0,"messages":[]}"#;
        let answer = gateway.ask(with_field(&post(CHAT, ask), "Authorization: Bearer theirs"));
        assert_eq!((answer.status(), answer.json()), (200, body));
        let target = "/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21";
        let request = origin.request_for(target);
        assert_eq!(String::from_utf8_lossy(&request.body), ask.replace("fast", "gpt-5"));
        assert_eq!(request.head.one("api-key").as_deref(), Some("ours"));
        assert!(!request.head.text().contains("theirs"));
        let line = gateway.access().line_for(CHAT);
        assert_eq!((&line["tokens_in"], &line["tokens_out"]), (&json!(3), &json!(4)));
        gateway.finish();
    });
}

#[test]
fn vertex_serves_claude_to_its_own_callers_and_to_others() {
    each_driver(|io| {
        let origin = Origin::answering(whole(200, &message()));
        let gateway = hosted(io, Engine::Anthropic, &origin, vertex(), "claude-4@1");
        let mut request = post(MESSAGES, messages(false));
        for field in ["anthropic-beta: a-1", "x-api-key: theirs", "anthropic-version: 2023-06-01"] {
            request = with_field(&request, field);
        }
        let answer = gateway.ask(request);
        assert_eq!((answer.status(), answer.json()), (200, message()));
        let (head, body) = sent(
            &origin,
            "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-4@1:rawPredict",
        );
        assert_eq!(body["anthropic_version"], "vertex-2023-10-16");
        assert!(body.get("model").is_none() && !head.text().contains("theirs"), "{}", head.text());
        assert_eq!(head.one("authorization").as_deref(), Some("Bearer ours"));
        assert_eq!(head.one("anthropic-beta").as_deref(), Some("a-1"));
        gateway.finish();

        let origin = Origin::answering(whole(200, &message()));
        let gateway = hosted(io, Engine::Anthropic, &origin, vertex(), "claude-4@1");
        let ask = json!({"model": "fast", "messages": [{"role": "user", "content": "Hi"}]});
        let answer = gateway.ask(post(CHAT, ask.to_string()));
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "Sunny.", "{}", answer.text());
        gateway.finish();
    });
}

#[test]
fn vertex_serves_gemini_at_the_publishers_path_without_the_callers_key() {
    each_driver(|io| {
        let body = json!({"candidates": [], "x_new": 1.0});
        let origin = Origin::answering(whole(200, &body));
        let gateway = hosted(io, Engine::Gemini, &origin, vertex(), "gemini-3");
        let path = "/v1beta/models/fast:generateContent?key=theirs&alt=json";
        let answer = gateway.ask(post(path, json!({"contents": []}).to_string()));
        assert_eq!((answer.status(), answer.json()), (200, body));
        let request = origin.request_for(
            "/v1/projects/p/locations/us-east5/publishers/google/models/gemini-3:generateContent?alt=json",
        );
        assert!(!request.head.text().contains("theirs"));
        gateway.finish();
    });
}

#[test]
fn vertex_counts_gemini_prompts_for_callers_of_every_dialect() {
    each_driver(|io| {
        let origin = Origin::answering(whole(200, &json!({"totalTokens": 5})));
        let gateway = hosted(io, Engine::Gemini, &origin, vertex(), "gemini-3");
        let ask = json!({"model": "fast", "messages": [{"role": "user", "content": "Hi"}]}).to_string();
        let answer = gateway.ask(post("/v1/messages/count_tokens", ask));
        assert_eq!(answer.json()["input_tokens"], 5, "{}", answer.text());
        let path = "/v1/projects/p/locations/us-east5/publishers/google/models/gemini-3:countTokens";
        let (_, body) = sent(&origin, path);
        assert_eq!(body["contents"][0]["parts"][0]["text"], "Hi");
        assert!(body.get("generateContentRequest").is_none() && body.get("model").is_none(), "{body}");
        gateway.finish();
    });
}

#[test]
fn vertex_makes_vectors_for_callers_of_openais_dialect() {
    each_driver(|io| {
        let vectors = json!({"embeddings": [{"values": [0.5]}, {"values": [-1.0]}]});
        let origin = Origin::answering(whole(200, &vectors));
        let gateway = hosted(io, Engine::Gemini, &origin, vertex(), "gemini-embedding-001");
        let ask = json!({"model": "e", "input": ["a", "b"], "dimensions": 1}).to_string();
        let answer = gateway.ask(post("/v1/embeddings", ask));
        assert_eq!(answer.json()["data"][1]["embedding"], json!([-1.0]), "{}", answer.text());
        let front = "/v1/projects/p/locations/us-east5/publishers/google/models/gemini-embedding-001";
        let (_, body) = sent(&origin, &format!("{front}:batchEmbedContents"));
        let config = json!({"outputDimensionality": 1});
        let one = |text: &str| json!({"embedContentConfig": config, "content": {"parts": [{"text": text}]}});
        assert_eq!(body, json!({"requests": [one("a"), one("b")]}));
        gateway.finish();
    });
}

#[test]
fn bedrock_streams_reach_callers_as_the_events_of_their_dialect() {
    each_driver(|io| {
        let frames: Vec<_> = events().iter().map(framed).collect();
        let origin = Origin::answering(event_stream(&frames));
        let gateway = hosted(io, Engine::Anthropic, &origin, bedrock(), "anthropic.claude-v2:0");
        let request = with_field(&post(MESSAGES, messages(true)), "anthropic-beta: a-1,b-2");
        let answer = gateway.connect().ask(request);
        let named =
            |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().expect("a type"));
        let expected = events().iter().map(named).collect::<Vec<_>>().concat();
        assert_eq!(answer.text(), expected, "every event, as it was");
        assert!(answer.whole());
        assert_eq!(answer.head.one("content-type").as_deref(), Some("text/event-stream; charset=utf-8"));
        let (head, body) = sent(&origin, BEDROCK);
        assert_eq!(body["anthropic_beta"], json!(["a-1", "b-2"]));
        assert!(body.get("stream").is_none() && body.get("model").is_none(), "{body}");
        assert_eq!(head.one("x-amz-security-token").as_deref(), Some("tok"));
        let proof = head.one("authorization").expect("a proof");
        assert!(proof.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token"), "{proof}");
        assert!(!head.text().contains("hidden"), "a secret signs and is not sent");
        let line = gateway.access().line_for(MESSAGES);
        assert_eq!((&line["tokens_in"], &line["tokens_out"]), (&json!(7), &json!(2)));
        assert!(line["first_token_ms"].is_number());
        gateway.finish();

        let origin = Origin::answering(event_stream(&frames));
        let gateway = hosted(io, Engine::Anthropic, &origin, bedrock(), "anthropic.claude-v2:0");
        let ask = json!({"model": "fast", "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
        let answer = gateway.ask(post(CHAT, ask.to_string()));
        assert!(
            answer.text().contains("\"content\":\"Sunny.\"") && answer.text().contains("[DONE]"),
            "{}",
            answer.text()
        );
        gateway.finish();
    });
}

#[test]
fn a_key_of_bedrocks_own_is_sent_and_nothing_is_signed() {
    each_driver(|io| {
        let origin = Origin::answering(whole(200, &message()));
        let gateway = gateway(io, Engine::Anthropic, &origin, |setup| {
            let backend = &mut setup.snapshot.backends[0];
            backend.hosting = Some(Hosting::Bedrock { region: "us-east-1".to_owned(), key: None });
            backend.credential =
                Some(Credential { header: "authorization".to_owned(), value: "Bearer ours".to_owned() });
        });
        let answer =
            gateway.ask(with_field(&post(MESSAGES, messages(false)), "Authorization: Bearer theirs"));
        assert_eq!((answer.status(), answer.json()), (200, message()));
        let (head, _) = sent(&origin, "/model/claude/invoke");
        assert_eq!(head.one("authorization").as_deref(), Some("Bearer ours"));
        assert!(!head.has("x-amz-date"));
        gateway.finish();
    });
}

#[test]
fn what_goes_wrong_at_bedrock_is_told_in_the_callers_dialect_before_and_in_a_stream() {
    each_driver(|io| {
        let origin = Origin::answering(whole(429, &json!({"message": "Too many requests"})));
        let gateway = hosted(io, Engine::Anthropic, &origin, bedrock(), "anthropic.claude-v2:0");
        let answer = gateway.ask(post(MESSAGES, messages(false)));
        let error = &answer.json()["error"];
        assert_eq!(
            (answer.status(), &error["type"], &error["message"]),
            (429, &json!("rate_limit_error"), &json!("Too many requests"))
        );
        gateway.finish();

        let exception = frame(
            &[(":message-type", "exception"), (":exception-type", "throttlingException")],
            r#"{"message":"slow down"}"#,
        );
        let frames = [framed(&events()[0]), framed(&events()[1]), exception];
        let origin = Origin::answering(event_stream(&frames));
        let gateway = hosted(io, Engine::Anthropic, &origin, bedrock(), "anthropic.claude-v2:0");
        let answer = gateway.ask(post(MESSAGES, messages(true)));
        assert!(answer.text().contains("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow down\"}}"), "{}", answer.text());
        gateway.finish();

        let mut bent = framed(&events()[1]);
        *bent.last_mut().expect("bytes") ^= 1;
        let origin = Origin::answering(event_stream(&[framed(&events()[0]), bent]));
        let gateway = hosted(io, Engine::Anthropic, &origin, bedrock(), "anthropic.claude-v2:0");
        let answer = gateway.ask(post(MESSAGES, messages(true)));
        assert!(answer.text().contains("event: error") && !answer.whole(), "{}", answer.text());
        gateway.finish();
    });
}

#[test]
fn what_a_host_has_no_place_for_is_refused_here_or_goes_to_a_destination_that_has() {
    each_driver(|io| {
        let (origin, openai) = (Origin::echo(), Origin::echo());
        let lone = hosted(io, Engine::Anthropic, &origin, bedrock(), "anthropic.claude-v2:0");
        let answer = lone.ask(post("/v1/messages/count_tokens", messages(false)));
        assert_eq!((answer.status(), &answer.json()["type"]), (404, &json!("error")));
        for path in ["/v1/messages/batches", "/v1/completions", "/v1/files"] {
            assert_eq!(lone.ask(post(path, "{}")).status(), 404, "{path}");
        }
        lone.finish();

        let gateway = gateway(io, Engine::Gemini, &origin, |setup| {
            setup.snapshot.backends[0].hosting = Some(vertex());
            setup.snapshot.backends.push(backend("other", Engine::Openai, &[openai.address()]));
            setup.snapshot.routes[0].fallback.push(Fallback { backend: "other".to_owned(), model: None });
        });
        for path in ["/v1/completions", "/v1/files"] {
            assert!(
                gateway.ask(post(path, r#"{"model":"m","input":"Hi"}"#)).text().starts_with("POST"),
                "{path}"
            );
        }
        assert_eq!((origin.connections(), openai.requests().len()), (0, 2));
        gateway.finish();
    });
}

#[test]
fn azures_newest_paths_have_a_place_for_all_of_openais() {
    each_driver(|io| {
        let origin = Origin::echo();
        let azure = Hosting::Azure { api_version: None, deployment: None };
        let gateway = hosted(io, Engine::Openai, &origin, azure, "gpt-5");
        for (path, there) in [
            ("/v1/files?purpose=x&api_key=theirs", "/openai/v1/files?purpose=x"),
            (CHAT, "/openai/v1/chat/completions"),
        ] {
            let _ = gateway.ask(post(path, r#"{"model":"fast"}"#));
            assert_eq!(origin.request_for(there).head.one("api-key").as_deref(), Some("ours"));
        }
        gateway.finish();
    });
}

#[test]
fn a_host_that_refuses_our_proof_is_our_trouble_and_not_the_callers() {
    each_driver(|io| {
        for (engine, hosting, status) in [
            (Engine::Anthropic, bedrock(), 403),
            (Engine::Anthropic, vertex(), 401),
            (Engine::Gemini, vertex(), 401),
        ] {
            let origin =
                Origin::answering(whole(status, &json!({"message": "The security token is not valid"})));
            let gateway = hosted(io, engine, &origin, hosting, "m");
            let answer = gateway.ask(post(MESSAGES, messages(false)));
            assert_eq!(answer.status(), 502, "{}", answer.text());
            assert!(!answer.text().contains("security token"), "{}", answer.text());
            gateway.finish();
        }
    });
}

#[test]
fn where_one_proof_is_refused_a_destination_with_another_takes_the_request() {
    each_driver(|io| {
        let refusing = Origin::answering(whole(403, &json!({"message": "The security token is not valid"})));
        let sibling = Origin::answering(whole(200, &message()));
        let other = Origin::answering(whole(200, &message()));
        let gateway = gateway(io, Engine::Anthropic, &refusing, |setup| {
            let first = &mut setup.snapshot.backends[0];
            (first.hosting, first.credential) = (Some(bedrock()), None);
            let mut second = backend("vertex", Engine::Anthropic, &[other.address()]);
            second.hosting = Some(vertex());
            second.credential =
                Some(Credential { header: "authorization".to_owned(), value: "Bearer ours".to_owned() });
            setup.snapshot.backends.push(second);
            setup.snapshot.routes[0].fallback.push(Fallback { backend: "vertex".to_owned(), model: None });
        });
        for _ in 0..2 {
            assert_eq!(gateway.ask(post(MESSAGES, messages(false))).json(), message());
        }
        assert_eq!((refusing.requests().len(), other.requests().len()), (2, 2));
        assert_eq!(gateway.metric(&["reason", "up_auth"]) as u64, 2);
        gateway.finish();

        let gateway = gateway_of_two(io, &refusing, &sibling);
        let answers: Vec<_> = (0..2).map(|_| gateway.ask(post(MESSAGES, messages(false))).status()).collect();
        assert!(answers.contains(&502), "an endpoint with the same proof is not asked as well: {answers:?}");
        gateway.finish();
    });
}

/// Bedrock at two addresses, in turn.
fn gateway_of_two(io: Io, one: &Origin, two: &Origin) -> Gateway {
    gateway(io, Engine::Anthropic, one, |setup| {
        let mut both = backend("model", Engine::Anthropic, &[one.address(), two.address()]);
        (both.hosting, both.balance) = (Some(bedrock()), Balance::RoundRobin);
        setup.snapshot.backends[0] = both;
    })
}

#[test]
fn a_key_that_comes_twice_is_refused_before_a_host_can_read_the_other() {
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = hosted(io, Engine::Anthropic, &origin, bedrock(), "anthropic.claude-v2:0");
        for twice in [r#""stream":true,"stream":false"#, r#""max_tokens":1,"max\u005ftokens":2"#] {
            let answer = gateway.ask(post(MESSAGES, format!(r#"{{"model":"m",{twice},"messages":[]}}"#)));
            assert_eq!((answer.status(), origin.connections()), (400, 0), "{}", answer.text());
        }
        gateway.finish();
    });
}
