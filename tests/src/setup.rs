//! Snapshots for tests, built from few words.
//!
//! Owns: the snapshot a gateway starts with, and the ports kept for it.
//! Must not: know any default of the data plane: what a test relies on, it sets.
//! Read next: `gateway.rs`, which runs one.

use std::net::SocketAddr;

use ringway_contract::snapshot::{
    AccessLog, Backend, Balance, Class, Connections, Dialect, Endpoint, Engine, FORMAT, Hardware, Limits,
    Listener, ListenerTimeouts, LogFormat, Logging, Match, Retry, Route, RouteTimeouts, Score, Snapshot,
    Target, Tracing,
};
use ringway_contract::{Generation, Millis};

use crate::ports::Port;

/// What a gateway is started with.
#[derive(Debug)]
pub struct Setup {
    /// The snapshot; its first listener is where callers connect.
    pub snapshot: Snapshot,
    /// Worker threads.
    pub workers: u32,
    /// Whether it keeps its last good snapshot on disk.
    pub state: bool,
    /// Further arguments.
    pub args: Vec<String>,
    _port: Port,
}

impl Setup {
    /// One listener, nothing behind it.
    pub fn new() -> Self {
        let port = Port::take();
        let snapshot = Snapshot {
            models: Vec::new(),
            format: FORMAT,
            generation: Generation::new(1),
            listeners: vec![listener(port.address())],
            admin: None,
            backends: Vec::new(),
            routes: Vec::new(),
            limits: Limits::default(),
            logging: Logging { access: AccessLog::Off, format: Some(LogFormat::Json) },
            drain_timeout_ms: Millis::from_secs(10),
        };
        Self { snapshot, workers: 1, state: false, args: Vec::new(), _port: port }
    }

    /// A plain reverse proxy: everything to one HTTP backend named `origin`.
    pub fn raw(origin: SocketAddr) -> Self {
        Self::new().backend(http("origin", &[origin])).route(route("all", prefix("/"), "origin"))
    }

    /// A model route for `path` to a backend named `model` of this engine.
    pub fn model(path: &str, engine: Engine, origins: &[SocketAddr]) -> Self {
        Self::new().backend(backend("model", engine, origins)).route(route("model", exactly(path), "model"))
    }

    /// The same with one more backend.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Self {
        self.snapshot.backends.push(backend);
        self
    }

    /// The same with one more route, matched after those already there.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.snapshot.routes.push(route);
        self
    }

    /// The same with any part of the snapshot changed.
    #[must_use]
    pub fn tune(mut self, change: impl FnOnce(&mut Snapshot)) -> Self {
        change(&mut self.snapshot);
        self
    }

    /// The same with the listener's timeouts changed.
    #[must_use]
    pub fn caller_timeouts(self, change: impl FnOnce(&mut ListenerTimeouts)) -> Self {
        self.tune(|snapshot| change(&mut snapshot.listeners[0].timeouts))
    }

    /// The same with every route's timeouts changed.
    #[must_use]
    pub fn route_timeouts(self, change: impl Fn(&mut RouteTimeouts)) -> Self {
        self.tune(|snapshot| snapshot.routes.iter_mut().for_each(|route| change(&mut route.timeouts)))
    }

    /// The same with this many attempts on every route, and a budget that never refuses one.
    #[must_use]
    pub fn attempts(self, attempts: u32) -> Self {
        let retry = Retry { attempts, budget_percent: 100 };
        self.tune(|snapshot| snapshot.routes.iter_mut().for_each(|route| route.retry = retry))
    }

    /// The same on this many workers.
    #[must_use]
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// The same with a state folder.
    #[must_use]
    pub fn with_state(mut self) -> Self {
        self.state = true;
        self
    }

    /// The same with an admin listener; its address is in the snapshot.
    #[must_use]
    pub fn with_admin(mut self) -> Self {
        self.snapshot.admin = Some(Port::take().address()); // given back: the admin listener wants it alone
        self
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

/// A listener that believes nobody.
pub fn listener(address: SocketAddr) -> Listener {
    Listener {
        address,
        timeouts: ListenerTimeouts::default(),
        half_close: ringway_contract::snapshot::HalfClose::Gone,
        trusted_proxies: Vec::new(),
        tls: None,
    }
}

/// A backend of this engine, in the dialect it speaks.
pub fn backend(name: &str, engine: Engine, addresses: &[SocketAddr]) -> Backend {
    Backend {
        name: name.to_owned(),
        engine,
        dialect: dialect_of(engine),
        endpoints: addresses.iter().copied().map(endpoint).collect(),
        balance: Balance::RoundRobin,
        score: Score::default(),
        models: Vec::new(),
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

/// A plain HTTP backend.
pub fn http(name: &str, addresses: &[SocketAddr]) -> Backend {
    backend(name, Engine::Http, addresses)
}

fn dialect_of(engine: Engine) -> Dialect {
    match engine {
        Engine::Http => Dialect::Http,
        Engine::Anthropic => Dialect::AnthropicMessages,
        Engine::Gemini => Dialect::Gemini,
        Engine::Vllm
        | Engine::Sglang
        | Engine::Trtllm
        | Engine::Triton
        | Engine::Lmdeploy
        | Engine::Tgi
        | Engine::Llamacpp
        | Engine::Openai => Dialect::OpenaiChat,
    }
}

/// An endpoint at a literal address.
pub fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        authority: address.to_string(),
        addresses: vec![address],
        secure: false,
        base_path: String::new(),
        weight: 1,
        hardware: Hardware::default(),
        drained: false,
        labels: std::collections::BTreeMap::new(),
    }
}

/// A route with one target.
pub fn route(name: &str, matches: Match, backend: &str) -> Route {
    Route {
        force_usage: false,
        name: name.to_owned(),
        matches,
        targets: vec![Target { backend: backend.to_owned(), weight: 100, model: None }],
        timeouts: RouteTimeouts::default(),
        retry: Retry::default(),
        expose: false,
        strict: false,
        preserve_host: false,
        idempotent: false,
        fallback: Vec::new(),
        class: Class::Default,
        trace: Tracing::default(),
        heartbeat: None,
        hedge: None,
    }
}

/// Matches one path.
pub fn exactly(path: &str) -> Match {
    Match { path: Some(path.to_owned()), ..Match::default() }
}

/// Matches all paths that begin so.
pub fn prefix(path: &str) -> Match {
    Match { path_prefix: Some(path.to_owned()), ..Match::default() }
}
