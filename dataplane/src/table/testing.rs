//! Small snapshots and requests for the tests of this crate.
//!
//! Owns: defaults, so that a test writes only what it is about.
//! Must not: be compiled into the program.
//! Read next: [`super::matching`].

use std::net::{IpAddr, Ipv4Addr};

use ringway_contract::snapshot::{self, Snapshot};
use serde_json::{Value, json};

use super::{Ask, ModelSeen, Table, Verdict};
use crate::cells::Cells;

/// A snapshot with these backends and routes and one listener.
pub(crate) fn snapshot(backends: Vec<snapshot::Backend>, routes: Vec<snapshot::Route>) -> Snapshot {
    let mut snapshot: Snapshot = serde_json::from_value(json!({
        "format": snapshot::FORMAT,
        "generation": 7,
        "listeners": [{"address": "127.0.0.1:8080"}],
        "backends": [],
        "routes": [],
    }))
    .expect("a snapshot");
    snapshot.backends = backends;
    snapshot.routes = routes;
    snapshot
}

/// A backend of this engine with these authorities, each at an address of its own.
pub(crate) fn backend(name: &str, engine: &str, authorities: &[&str]) -> snapshot::Backend {
    let dialect = match engine {
        "http" => "http",
        "anthropic" => "anthropic-messages",
        "gemini" => "gemini",
        _ => "openai-chat",
    };
    let endpoint = |authority: &&str| json!({"authority": authority, "addresses": ["127.0.0.1:9"]});
    let endpoints: Vec<Value> = authorities.iter().map(endpoint).collect();
    serde_json::from_value(
        json!({"name": name, "engine": engine, "dialect": dialect, "endpoints": endpoints}),
    )
    .expect("a backend")
}

/// A route with these conditions to one backend.
#[expect(clippy::needless_pass_by_value, reason = "the calls write the value in place")]
pub(crate) fn route(name: &str, matches: Value, backend: &str) -> snapshot::Route {
    serde_json::from_value(json!({"name": name, "match": matches, "targets": [{"backend": backend}]}))
        .expect("a route")
}

/// A table of these routes, which may go to the backends `ai` (vllm) and `raw` (http).
pub(crate) fn table(routes: Vec<snapshot::Route>) -> Table {
    let backends = vec![backend("ai", "vllm", &["ai:1"]), backend("raw", "http", &["raw:1"])];
    compiled(&snapshot(backends, routes))
}

/// The table of a snapshot that is right.
pub(crate) fn compiled(snapshot: &Snapshot) -> Table {
    Table::compile(snapshot, &Cells::new()).expect("a snapshot without problems")
}

/// A POST to this path, and nothing else.
pub(crate) fn ask(path: &str) -> Ask<'_> {
    Ask {
        method: b"POST",
        host: b"localhost:8080",
        path: path.as_bytes(),
        header: &|_| None,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        model: ModelSeen::Unread,
    }
}

/// The same with a model.
pub(crate) fn ask_model<'a>(path: &'a str, model: &'a str) -> Ask<'a> {
    Ask { model: ModelSeen::Is(model.as_bytes()), ..ask(path) }
}

/// The verdict in a word: a route's name, `read model`, `models`, or a refusal's code.
pub(crate) fn verdict(table: &Table, ask: &Ask<'_>) -> String {
    match table.route(ask) {
        Verdict::Route(route) => route.name.as_str().to_owned(),
        Verdict::ReadModel => "read model".to_owned(),
        Verdict::Models => "models".to_owned(),
        Verdict::Probe => "probe".to_owned(),
        Verdict::Refused(refusal) => refusal.code().to_owned(),
    }
}
