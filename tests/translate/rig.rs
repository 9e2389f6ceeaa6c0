//! A gateway in front of a scripted backend of another dialect.
//! Owns: the gateway, and answers as backends give them. Must not: claim anything.
//! Read next: `ringway_tests::origin`, the scripted backends.

use ringway_contract::snapshot::{Credential, Engine};
use ringway_tests::setup::{backend, prefix, route};
use ringway_tests::{Gateway, Io, Origin, Setup, http};
use serde_json::Value;

/// A gateway that takes every dialect and has one backend, of this engine, with a credential of its own.
pub fn gateway(io: Io, engine: Engine, origin: &Origin, tune: impl FnOnce(&mut Setup)) -> Gateway {
    let (header, value) = match engine {
        Engine::Anthropic => ("x-api-key", "ours"),
        Engine::Gemini => ("x-goog-api-key", "ours"),
        _ => ("authorization", "Bearer ours"),
    };
    let credential = Credential { header: header.to_owned(), value: value.to_owned() };
    let mut model = backend("model", engine, &[origin.address()]);
    model.credential = Some(credential);
    let mut setup = Setup::new().backend(model).route(route("all", prefix("/"), "model"));
    setup.snapshot.routes[0].expose = true;
    tune(&mut setup);
    Gateway::start(io, setup)
}

/// As it is.
pub fn untuned(_: &mut Setup) {}

/// A JSON answer of this status.
pub fn whole(status: u16, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nSet-Cookie: a=b\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A stream of these events, each in a coded chunk.
pub fn stream(events: &[String]) -> Vec<u8> {
    let body = events.concat();
    let sizes: Vec<usize> = events.iter().map(String::len).collect();
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    [&head[..], &http::chunked(body.as_bytes(), &sizes)].concat()
}

/// What the backend was sent at this target.
pub fn sent(origin: &Origin, target: &str) -> (http::Head, Value) {
    let request = origin.request_for(target);
    (request.head, serde_json::from_slice(&request.body).expect("the backend gets JSON"))
}
