//! Bytes of typical traffic, and snapshots of any size.
//!
//! Owns: requests as SDKs send them, answers and events as engines send them.
//! Must not: be of anyone else's making; all of it was written for this.
//! Read next: [`super::pipeline`], which it goes through.

use ringway_contract::snapshot::Snapshot;
use serde_json::{Value, json};

/// A head as the official clients send it: twelve fields, one of them a key.
pub fn request_head(path: &str, body_bytes: usize) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: gateway.example:8080\r\nAccept-Encoding: gzip, deflate\r\n\
         Connection: keep-alive\r\nAccept: application/json\r\nContent-Type: application/json\r\n\
         User-Agent: OpenAI/Python 1.40.0\r\nX-Stainless-Lang: python\r\nX-Stainless-OS: Linux\r\n\
         X-Stainless-Runtime: CPython\r\nAuthorization: Bearer sk-0123456789abcdef0123456789abcdef\r\n\
         X-Request-Id: 0af7651916cd43dd8448eb211c80319c\r\nContent-Length: {body_bytes}\r\n\r\n"
    )
    .into_bytes()
}

/// A chat request of about so many bytes; the model stands first, the prompt is text.
pub fn chat_body(bytes: usize) -> Vec<u8> {
    let before = r#"{"model":"llama-3.1-8b-instruct","stream":true,"max_tokens":256,"messages":[{"role":"user","content":""#;
    let after = r#""}]}"#;
    let mut body = before.as_bytes().to_vec();
    let words = b"Tell me how rivers find the sea, and why the sea is \\\"salt\\\" while they are not.\\n";
    while body.len() + words.len() + after.len() <= bytes {
        body.extend_from_slice(words);
    }
    body.resize(bytes.saturating_sub(after.len()).max(body.len()), b'.');
    body.extend_from_slice(after.as_bytes());
    body
}

/// The head of a JSON answer.
pub fn answer_head(body_bytes: usize) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: uvicorn\r\n\
         content-type: application/json\r\ncontent-length: {body_bytes}\r\n\r\n"
    )
    .into_bytes()
}

/// The body of a JSON answer, of about 1 KB.
pub fn answer_body() -> Vec<u8> {
    let text = "Rivers carry what they dissolve, and the sea keeps it. ".repeat(14);
    json!({
        "id": "chatcmpl-0123456789abcdef", "object": "chat.completion", "created": 1_760_000_000,
        "model": "llama-3.1-8b-instruct",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 31, "completion_tokens": 211, "total_tokens": 242},
    })
    .to_string()
    .into_bytes()
}

/// The head of a stream.
pub fn stream_head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: uvicorn\r\ncache-control: no-cache\r\n\
      content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
        .to_vec()
}

/// One event of 160 bytes: an ordinary piece of an answer.
pub const EVENT: &str = "data: {\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\
                         \"created\":1760000000,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"}}]}\n\n";

const _: () = assert!(EVENT.len() == 160, "what it is said to be");

/// The same as a coded chunk.
pub fn coded_event() -> Vec<u8> {
    [b"a0\r\n", EVENT.as_bytes(), b"\r\n"].concat()
}

/// A snapshot with this many routes by path and model; the last one is what [`super::pipeline`] asks for.
pub fn snapshot(routes: usize, endpoints: usize) -> Snapshot {
    let endpoint = |at: usize| json!({"authority": format!("e{at}:8000"), "addresses": ["127.0.0.1:9"]});
    let endpoints: Vec<Value> = (0..endpoints).map(endpoint).collect();
    let route = |at: usize| {
        json!({
            "name": format!("r{at}"),
            "match": {"path": "/v1/chat/completions", "models": [format!("family{}-{at}-*", at % 17)]},
            "targets": [{"backend": "ai"}],
        })
    };
    let mut list: Vec<Value> = (1..routes).map(route).collect();
    list.push(json!({
        "name": "chat",
        "match": {"path": "/v1/chat/completions", "models": ["llama-*"]},
        "targets": [{"backend": "ai"}],
    }));
    serde_json::from_value(json!({
        "format": 1,
        "generation": 1,
        "listeners": [{"address": "127.0.0.1:8080"}],
        "backends": [{"name": "ai", "engine": "vllm", "dialect": "openai-chat", "endpoints": endpoints}],
        "routes": list,
        "logging": {"access": "off"},
    }))
    .expect("a snapshot")
}

/// The table of a snapshot.
pub fn table(snapshot: &Snapshot) -> ringway_dataplane::table::Table {
    let cells = ringway_dataplane::cells::Cells::new();
    ringway_dataplane::table::Table::compile(snapshot, &cells).expect("a snapshot without problems")
}
