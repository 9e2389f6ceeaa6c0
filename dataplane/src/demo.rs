//! `ringway` with no arguments: two simulated GPU servers and a route to them, in one process.
//!
//! Owns: the built-in snapshot and the banner.
//! Must not: be more than a snapshot like any other; the data plane does not know that it is a demo.
//! Read next: `loadtest/gpusim`, the servers.

use std::net::SocketAddr;

use ringway_contract::snapshot::{
    AccessLog, Backend, Balance, Class, Connections, Dialect, Endpoint, Engine, FORMAT, HalfClose, Hardware,
    Limits, Listener, ListenerTimeouts, Logging, Match, Retry, Route, RouteTimeouts, Score, Target, Tracing,
};
use ringway_contract::{Generation, Millis, Snapshot};
use ringway_gpusim::{Fleet, FleetSpec, Preset};

/// Where the demo listens.
pub const ADDRESS: &str = "127.0.0.1:8080";
const MODEL: &str = "demo";
const REPLICAS: usize = 2;

/// Starts the simulated servers and gives the snapshot that routes to them.
///
/// # Errors
/// No port or thread for the servers.
pub fn start() -> std::io::Result<(Fleet, Snapshot)> {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let fleet = Fleet::start(FleetSpec {
        preset: Preset::H100,
        model: MODEL.to_owned(),
        replicas: REPLICAS,
        listen: any_port,
        time_scale: 1.0,
        seed: 1,
    })?;
    let snapshot = snapshot(fleet.addresses());
    Ok((fleet, snapshot))
}

fn snapshot(addresses: &[SocketAddr]) -> Snapshot {
    let listener = Listener {
        address: ADDRESS.parse().expect("a literal address"),
        timeouts: ListenerTimeouts::default(),
        half_close: HalfClose::Gone,
        trusted_proxies: Vec::new(),
        tls: None,
    };
    Snapshot {
        models: Vec::new(),
        format: FORMAT,
        generation: Generation::NONE,
        listeners: vec![listener],
        admin: None,
        backends: vec![
            backend("gpus", Engine::Vllm, Dialect::OpenaiChat, addresses),
            backend("gpus-anthropic", Engine::Anthropic, Dialect::AnthropicMessages, addresses),
        ],
        routes: vec![route("messages", "/v1/messages", "gpus-anthropic"), route("openai", "/", "gpus")],
        limits: Limits::default(),
        logging: Logging { access: AccessLog::Stdout, format: None },
        drain_timeout_ms: Millis::from_secs(30),
    }
}

fn backend(name: &str, engine: Engine, dialect: Dialect, addresses: &[SocketAddr]) -> Backend {
    let endpoint = |address: &SocketAddr| Endpoint {
        authority: address.to_string(),
        addresses: vec![*address],
        secure: false,
        base_path: String::new(),
        weight: 1,
        hardware: Hardware::default(),
        drained: false,
        labels: std::collections::BTreeMap::new(),
    };
    Backend {
        name: name.to_owned(),
        engine,
        dialect,
        endpoints: addresses.iter().map(endpoint).collect(),
        balance: Balance::LeastRequests,
        score: Score::default(),
        models: vec![MODEL.to_owned()],
        connect_timeout_ms: Millis::from_secs(2),
        tls: None,
        connections: Connections::default(),
        credential: None,
        credential_until_s: None,
        orca: None,
        admission: None,
        tenants: None,
        hosting: None,
        lora: None,
        sessions: None,
    }
}

fn route(name: &str, prefix: &str, backend: &str) -> Route {
    Route {
        name: name.to_owned(),
        matches: Match { path_prefix: Some(prefix.to_owned()), ..Match::default() },
        targets: vec![Target { backend: backend.to_owned(), weight: 100, model: None }],
        timeouts: RouteTimeouts::default(),
        retry: Retry::default(),
        expose: true,
        strict: false,
        force_usage: false,
        preserve_host: false,
        idempotent: false,
        fallback: Vec::new(),
        class: Class::Default,
        trace: Tracing::default(),
        heartbeat: None,
        hedge: None,
    }
}

/// What to try first.
pub fn banner() -> String {
    let body = format!(
        r#"{{"model": "{MODEL}", "stream": true, "messages": [{{"role": "user", "content": "What is ringway?"}}]}}"#
    );
    format!(
        "ringway {} · demo: {REPLICAS} simulated H100 servers behind http://{ADDRESS}, model `{MODEL}`, no key needed\n\n\
         Watch tokens stream:\n\n  curl -N http://{ADDRESS}/v1/chat/completions -H 'content-type: application/json' -d '{body}'\n\n\
         Every exchange is a line below. Ctrl-C ends it. To serve your own: ringctl up --config ringway.yaml\n",
        env!("CARGO_PKG_VERSION"),
    )
}
