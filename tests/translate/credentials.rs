//! Whose credentials go where: a caller's never to a backend that is spoken to in our own name, in whatever dialect and
//! place they stand.
//!
//! Owns: every place for a key, on every kind of path, at every kind of backend.
//! Must not: judge answers; only what the backend received counts.
//! Read next: `hosted.rs`, what such backends are sent otherwise.

use ringway_contract::snapshot::{AwsKey, Credential, Engine, Hosting};
use ringway_tests::client::{get, post};
use ringway_tests::{Origin, each_driver};
use serde_json::json;

use crate::rig::{gateway, whole};

/// Paths of every dialect: calls, what stands beside them, and what is none's.
const PATHS: [&str; 13] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/responses/input_tokens",
    "/v1/responses/resp_1/cancel",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/messages/batches",
    "/v1beta/models/m:generateContent",
    "/v1beta/models/m:streamGenerateContent",
    "/v1beta/models/m:embedContent",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/files",
];

/// Every place that some client puts a key in (SEC-KEY-05).
const FIELDS: [&str; 6] = [
    "Authorization: Bearer",
    "Proxy-Authorization: Basic",
    "x-api-key:",
    "api-key:",
    "x-goog-api-key:",
    "Cookie:",
];

fn with_keys(path: &str) -> String {
    let fields = FIELDS.map(|field| format!("\r\n{field} theirs")).concat();
    let target = format!("{path}?key=theirs&api_key=theirs&beta=true&access_token=theirs");
    let body = json!({"model": "m", "max_tokens": 9, "input": "Hi", "messages": [{"role": "user", "content": "Hi"}],
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "content": {"parts": [{"text": "Hi"}]}});
    let request = String::from_utf8(post(&target, body.to_string())).expect("text");
    request.replacen("\r\n", &format!("{fields}\r\n"), 1)
}

/// Backends that are spoken to in the gateway's name. Of two the proof is not a field that stands in the snapshot.
fn ours() -> Vec<(&'static str, Engine, Option<Hosting>, Option<&'static str>)> {
    let azure =
        |version: Option<&str>| Hosting::Azure { api_version: version.map(str::to_owned), deployment: None };
    let bedrock = |key| Hosting::Bedrock { region: "us-east-1".to_owned(), key };
    let vertex = || Hosting::Vertex { project: "p".to_owned(), location: "l".to_owned() };
    let key = AwsKey { id: "AKID".to_owned(), secret: "hidden".to_owned(), session_token: None };
    vec![
        ("openai", Engine::Openai, None, Some("authorization")),
        ("anthropic", Engine::Anthropic, None, Some("x-api-key")),
        ("gemini", Engine::Gemini, None, Some("x-goog-api-key")),
        ("http", Engine::Http, None, Some("authorization")),
        ("azure by deployment", Engine::Openai, Some(azure(Some("2024-10-21"))), Some("api-key")),
        ("azure", Engine::Openai, Some(azure(None)), Some("api-key")),
        ("claude at vertex", Engine::Anthropic, Some(vertex()), Some("authorization")),
        ("gemini at vertex", Engine::Gemini, Some(vertex()), Some("authorization")),
        ("vertex before its first token", Engine::Gemini, Some(vertex()), None),
        ("bedrock", Engine::Anthropic, Some(bedrock(Some(key))), None),
        ("bedrock by its own key", Engine::Anthropic, Some(bedrock(None)), Some("authorization")),
    ]
}

#[test]
fn a_callers_credentials_never_reach_a_backend_that_is_spoken_to_in_our_name() {
    each_driver(|io| {
        for (name, engine, hosting, header) in ours() {
            let origin = Origin::answering(whole(404, &json!({"error": {"message": "no"}})));
            let gateway = gateway(io, engine, &origin, |setup| {
                let backend = &mut setup.snapshot.backends[0];
                backend.hosting = hosting;
                backend.credential =
                    header.map(|header| Credential { header: header.to_owned(), value: "ours".to_owned() });
            });
            for path in PATHS {
                let answer = gateway.ask(with_keys(path));
                assert!(answer.status() >= 400, "{name}: {}", answer.text());
            }
            let _ = gateway.ask(get("/v1/models/m?key=theirs"));
            for record in origin.records() {
                let received = String::from_utf8_lossy(&record.received);
                assert!(!received.contains("theirs"), "{name} was sent {received}");
                assert!(!received.contains("hidden"), "{name} was sent a secret that signs: {received}");
            }
            let told = gateway.control("GET", "/metrics", "", b"").text() + &gateway.log_text();
            gateway.access().line_for("/v1/models/m"); // the last one: all are written
            let logged = std::fs::read_to_string(gateway.folder().join("access.log")).unwrap_or_default();
            for secret in ["theirs", "ours", "hidden"] {
                assert!(!logged.contains(secret) && !told.contains(secret), "{name}: {secret} was told");
            }
            gateway.finish();
        }
    });
}
