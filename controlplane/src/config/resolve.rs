//! From what was written to what holds together.
//!
//! Owns: every check that compares two values: duplicates, dangling names, addresses in conflict, sums of
//! weights, dialects; and the filling of defaults, which are the contract's.
//! Must not: look at the text again.
//! Read next: `secret.rs`, `overlap.rs` and `speaks.rs`, which answer its harder questions.

use std::collections::HashMap;
use std::net::SocketAddr;

use ringway_contract::Millis;
use ringway_contract::snapshot::{
    self as contract, Connections, Credential, Dialect, Engine, HeaderMatch, Heartbeat, Hedge, Limits,
    ListenerTimeouts, Logging, Match, Orca, Retry, RouteTimeouts, Tracing,
};

use super::decode::{Place, Sink, Written};
use super::environment::Environment;
use super::hosting::{self, Hosted};
use super::overlap;
use super::report::Report;
use super::resolved::{Backend, BackendId, Config, Endpoint, Host, Route, Target};
use super::secret;
use super::source::Source;
use super::speaks;
use super::suggest::did_you_mean;
use super::tls;
use super::values::{Fault, quoted};
use super::written::{self, FileConfig, Watching};
use crate::bounds::{ENDPOINTS_ALL_MAX, KV_LIMIT_PERCENT_MIN, SESSION_KEY_BYTES_MIN};
use crate::scrape::{self, Health, Metrics};

const DRAIN_DEFAULT: Millis = Millis::from_secs(30);
const CONNECT_DEFAULT: Millis = Millis::from_secs(2);
const METRICS_INTERVAL_DEFAULT: Millis = Millis::from_secs(1);
const HEALTH_INTERVAL_DEFAULT: Millis = Millis::from_secs(5);
const TARGET_WEIGHT_DEFAULT: u32 = 100;

/// Looks up every name, fills every default, reads every secret; every problem at once.
pub fn resolve(file: FileConfig, source: &Source, env: &dyn Environment) -> Result<Config, Report> {
    let sink = Sink::default();
    let parts = harden(file, env, &sink);
    finish(parts, sink, source)
}

/// Closes the reading of a file: a configuration with its warnings, or the report that forbids it.
pub(super) fn finish(parts: Option<Parts>, sink: Sink, source: &Source) -> Result<Config, Report> {
    match parts {
        Some(parts) if !sink.has_errors() => {
            let warnings = sink.into_report(source);
            let Parts { listeners, admin, backends, routes, models, limits, logging, drain_timeout } = parts;
            Ok(Config {
                listeners,
                admin,
                backends,
                routes,
                models,
                limits,
                logging,
                drain_timeout,
                warnings,
            })
        }
        Some(_) | None => Err(sink.into_report(source)),
    }
}

/// A configuration as far as it could be resolved.
pub(super) struct Parts {
    listeners: Vec<contract::Listener>,
    admin: Option<SocketAddr>,
    backends: Vec<Backend>,
    routes: Vec<Route>,
    models: Vec<contract::Model>,
    limits: Limits,
    logging: Logging,
    drain_timeout: Millis,
}

/// Resolves what there is. None: something required was not there, which decoding has reported. Goes on
/// past it, so that one report holds the problems of both steps.
pub(super) fn harden(file: FileConfig, env: &dyn Environment, sink: &Sink) -> Option<Parts> {
    addresses(&file, sink);
    endpoints_in_all(&file, sink);
    let names = Names::of(&file, sink);
    let listeners: Vec<_> = file.listeners.iter().map(|written| listener(written, env, sink)).collect();
    let backends: Vec<_> = file.backends.iter().map(|written| backend(written, env, sink)).collect();
    let routes: Vec<_> = file.routes.iter().map(|written| route(written, &names, sink)).collect();
    let models: Vec<_> = file.models.iter().map(model).collect();
    route_names(&file, sink);
    models_once(&file.models, sink);
    if !sink.has_errors() {
        unreachable_routes(&file, sink); // a match that was decoded in part looks wider than it is
    }
    Some(Parts {
        listeners: listeners.into_iter().collect::<Option<_>>()?,
        admin: value(file.admin),
        backends: backends.into_iter().collect::<Option<_>>()?,
        routes: routes.into_iter().collect::<Option<_>>()?,
        models: models.into_iter().collect::<Option<_>>()?,
        limits: limits(file.limits),
        logging: Logging {
            access: file.access.place.map_or_else(contract::AccessLog::default, |place| place.value),
            format: value(file.access.format),
        },
        drain_timeout: value(file.drain_timeout).unwrap_or(DRAIN_DEFAULT),
    })
}

fn value<T>(written: Option<Written<T>>) -> Option<T> {
    written.map(|written| written.value)
}

fn values<T: Clone>(written: &[Written<T>]) -> Vec<T> {
    written.iter().map(|written| written.value.clone()).collect()
}

fn or<T: Copy>(written: Option<&Written<T>>, default: T) -> T {
    written.map_or(default, |written| written.value)
}

/// Numbers of the table are bounded far below `u32::MAX`.
fn or_u32(written: Option<&Written<u64>>, default: u32) -> u32 {
    written.map_or(default, |written| u32::try_from(written.value).expect("the table bounds it"))
}

// Listeners.

fn listener(from: &written::Listener, env: &dyn Environment, sink: &Sink) -> Option<contract::Listener> {
    let default = ListenerTimeouts::default();
    let tls = from.tls.as_ref().map(|written| tls::listener(written, env, sink));
    Some(contract::Listener {
        address: from.address.as_ref()?.value,
        timeouts: ListenerTimeouts {
            head_ms: or(from.head.as_ref(), default.head_ms),
            body_idle_ms: or(from.body_idle.as_ref(), default.body_idle_ms),
            write_stall_ms: or(from.write_stall.as_ref(), default.write_stall_ms),
            keep_alive_ms: or(from.keep_alive.as_ref(), default.keep_alive_ms),
            handshake_ms: or(from.handshake.as_ref(), default.handshake_ms),
        },
        half_close: or(from.half_close.as_ref(), contract::HalfClose::default()),
        trusted_proxies: values(&from.trusted_proxies),
        tls: match tls {
            None => None,
            Some(tls) => Some(tls?),
        },
    })
}

/// No two sockets want the same place, and who can reach them is said aloud.
fn addresses(file: &FileConfig, sink: &Sink) {
    let listeners: Vec<_> = file.listeners.iter().filter_map(|listener| listener.address.as_ref()).collect();
    for (index, one) in listeners.iter().enumerate() {
        if let Some(other) = listeners[..index].iter().find(|other| collide(one.value, other.value)) {
            let fault = Fault::new(format!("{} and {} cannot both be listened on", other.value, one.value));
            sink.error(&one.at, fault.mend(format!("{} has it already", listener_of(&other.at))));
        }
        warn_of_reach(one, sink);
    }
    let Some(admin) = &file.admin else { return };
    if let Some(other) = listeners.iter().find(|other| collide(admin.value, other.value)) {
        let fault = Fault::new(format!("the admin address {} is a listener's", admin.value));
        sink.error(&admin.at, fault.mend(format!("take another port; {} has it", listener_of(&other.at))));
    }
    if !admin.value.ip().is_loopback() {
        let fault = Fault::new(format!("other machines can reach the admin address {}", admin.value));
        sink.warn(
            &admin.at,
            fault.mend("it asks for no key: bind it to 127.0.0.1, or let a firewall guard it"),
        );
    }
}

fn listener_of(at: &Place) -> &str {
    at.path.strip_suffix(".address").unwrap_or(&at.path)
}

fn warn_of_reach(listener: &Written<SocketAddr>, sink: &Sink) {
    if listener.value.port() == 0 {
        let fault = Fault::new("port 0 takes any free port, another one at each start");
        sink.warn(&listener.at, fault.mend("name the port that callers are to use"));
    }
    // SEC-KEY-12 asks for loopback here; until there are keys, a warning keeps containers usable.
    if !listener.value.ip().is_loopback() {
        let fault = Fault::new(format!(
            "whoever reaches {} may use every model: no key is asked for",
            listener.value
        ));
        sink.warn(
            &listener.at,
            fault.mend("bind it to 127.0.0.1, or let a firewall or an authenticating proxy guard it"),
        );
    }
}

/// Whether two sockets cannot both listen. `[::]` and `0.0.0.0` can: IPv6 sockets take IPv6 only.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && same_ip
}

// Backends.

/// The names of backends, looked up by routes.
struct Names<'f> {
    by_name: HashMap<&'f str, BackendId>,
    backends: &'f [written::Backend],
}

impl<'f> Names<'f> {
    fn of(file: &'f FileConfig, sink: &Sink) -> Self {
        let mut folded: HashMap<String, &Written<String>> = HashMap::new();
        for backend in &file.backends {
            // Two names that differ only in case are one label to many a dashboard.
            if let Some(other) = folded.insert(backend.name.value.to_ascii_lowercase(), &backend.name) {
                let fault = Fault::new(format!(
                    "{} and {} differ only in case",
                    quoted(&other.value),
                    quoted(&backend.name.value)
                ));
                sink.error(&backend.name.at, fault.mend("rename one of them"));
            }
        }
        let names = file.backends.iter().enumerate();
        let by_name = names.map(|(index, backend)| (backend.name.value.as_str(), BackendId(index))).collect();
        Self { by_name, backends: &file.backends }
    }

    fn find(&self, name: &Written<String>, sink: &Sink) -> Option<BackendId> {
        let found = self.by_name.get(name.value.as_str()).copied();
        if found.is_none() {
            let fault = Fault::new(format!("there is no backend {}", quoted(&name.value)));
            let known = || self.backends.iter().map(|backend| backend.name.value.as_str());
            let mend = did_you_mean(&name.value, known()).unwrap_or_else(|| {
                match known().take(8).collect::<Vec<_>>() {
                    names if names.is_empty() => "add it under `backends:`".to_owned(),
                    names => format!("backends are: {}", names.join(", ")),
                }
            });
            sink.error(&name.at, fault.mend(mend));
        }
        found
    }
}

fn backend(from: &written::Backend, env: &dyn Environment, sink: &Sink) -> Option<Backend> {
    endpoints_once(&from.endpoints, sink);
    let engine_and_dialect = from.engine.as_ref().and_then(|engine| {
        dialect(engine, from.dialect.as_ref(), sink).map(|dialect| (engine.value, dialect))
    });
    let credential = from.credential.as_ref().map(|source| credential(source, engine_and_dialect, env, sink));
    let default = Connections::default();
    let tls = from.tls.as_ref().map(|written| tls::backend(written, &from.endpoints, env, sink));
    let sessions = from.sessions.as_ref().map(|written| sessions(written, env, sink));
    let (engine, dialect) = engine_and_dialect?;
    gpu_reads_prompts(from, engine, sink);
    let admission = from.admission.as_ref().map(|written| admission(written, engine, sink));
    let credential = match credential {
        None => None,
        Some(credential) => Some(credential?),
    };
    hosted_in_plain_text(from, sink);
    let hosted = match &from.hosting {
        None => Hosted { credential, ..Hosted::default() },
        Some(written) => hosting::resolve(written, credential, dialect, env, sink)?,
    };
    let hardware = from.hardware.or(contract::Hardware::default());
    Some(Backend {
        name: from.name.value.clone(),
        engine,
        dialect,
        endpoints: from.endpoints.iter().map(|it| endpoint(it, dialect, hardware)).collect::<Option<_>>()?,
        balance: or(from.balance.as_ref(), contract::Balance::default()),
        score: score(&from.score),
        models: values(&from.models),
        connect_timeout: or(from.connect.as_ref(), CONNECT_DEFAULT),
        connections: Connections {
            idle_max: or_u32(from.idle_max.as_ref(), default.idle_max),
            idle_timeout_ms: or(from.idle_timeout.as_ref(), default.idle_timeout_ms),
            max_age_ms: or(from.max_age.as_ref(), default.max_age_ms),
        },
        credential: hosted.credential,
        metrics: metrics(engine, from.metrics.as_ref(), sink),
        health: health(engine, from.health.as_ref()),
        orca: orca(engine, from.orca.as_ref(), sink),
        tls: match tls {
            None => None,
            Some(tls) => Some(tls?),
        },
        admission,
        tenants: from.admission.as_ref().and_then(|admission| tenants(admission.tenants.as_ref()?)),
        hosting: hosted.hosting,
        sessions: match sessions {
            None => None,
            Some(sessions) => Some(sessions?),
        },
        lora: from.lora.as_ref().map(|written| lora(written, from, engine, sink)),
        account: hosted.account,
    })
}

/// Hosts of models are elsewhere, so what proves us to them would cross networks in plain text.
fn hosted_in_plain_text(from: &written::Backend, sink: &Sink) {
    if from.hosting.is_none() {
        return;
    }
    let is_near = |host: &Host| matches!(host, Host::Address(ip) if ip.is_loopback());
    for url in from.endpoints.iter().filter_map(|endpoint| endpoint.url.as_ref()) {
        if !url.value.secure && !is_near(&url.value.host) {
            let fault = Fault::new(
                "prompts, and the key or token that goes with them, cross the network in plain text",
            );
            sink.warn(&url.at, fault.mend(format!("write `https://{}`", url.value.authority)));
        }
    }
}

fn metrics(engine: Engine, written: Option<&Written<Watching>>, sink: &Sink) -> Option<Metrics> {
    let dialect = scrape::dialect(engine);
    let (path, port, interval) = match (dialect, written.map(|written| &written.value)) {
        (None, None) | (_, Some(Watching::Off)) => return None,
        (Some(_), None) => (None, None, None),
        (Some(_), Some(Watching::On { path, port, interval })) => {
            (path.as_ref(), port.as_ref(), interval.as_ref())
        }
        (None, Some(Watching::On { .. })) => {
            let fault =
                Fault::new(format!("`engine: {}` has no page of metrics that is read", spelled(engine)));
            let mend = "name the engine that serves there, or leave `metrics` out";
            sink.error(&written?.at, fault.mend(mend));
            return None;
        }
    };
    let dialect = dialect?;
    let usual = || dialect.paths.iter().map(|&path| path.to_owned()).collect();
    Some(Metrics {
        paths: path.map_or_else(usual, |path| vec![path.value.clone()]),
        port: port.and_then(|port| port.value.try_into().ok()).or(dialect.port),
        interval: or(interval, METRICS_INTERVAL_DEFAULT),
    })
}

/// An engine without a path of its own is probed only where one is written.
fn health(engine: Engine, written: Option<&Written<Watching>>) -> Option<Health> {
    let usual = || scrape::health(engine).map(str::to_owned);
    let (path, interval) = match written.map(|written| &written.value) {
        Some(Watching::Off) => return None,
        None => (usual(), None),
        Some(Watching::On { path, interval, .. }) => {
            (path.as_ref().map(|path| path.value.clone()).or_else(usual), interval.as_ref())
        }
    };
    Some(Health { path: path?, interval: or(interval, HEALTH_INTERVAL_DEFAULT) })
}

fn orca(engine: Engine, written: Option<&Written<Orca>>, sink: &Sink) -> Option<Orca> {
    let written = written?;
    if engine == Engine::Http {
        let fault = Fault::new("`engine: http` passes bytes as they are and asks for nothing");
        sink.error(&written.at, fault.mend("leave `orca` out, or name the engine"));
    }
    Some(written.value)
}

/// An engine as the file writes it.
fn spelled(engine: Engine) -> String {
    let name = serde_json::to_value(engine).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The dialect that is written, or that of the engine.
fn dialect(engine: &Written<Engine>, written: Option<&Written<Dialect>>, sink: &Sink) -> Option<Dialect> {
    let native = native(engine.value);
    let Some(written) = written else { return Some(native) };
    if (native == Dialect::Http) == (written.value == Dialect::Http) {
        return Some(written.value);
    }
    let fault = if native == Dialect::Http {
        let fault = Fault::new("`engine: http` reads no dialect");
        fault.mend("leave `dialect` out, or write `engine: openai` for any server that speaks like OpenAI")
    } else {
        Fault::new("`dialect: http` is that of `engine: http` alone")
            .mend("leave `dialect` out, or write `engine: http`")
    };
    sink.error(&written.at, fault);
    None
}

fn native(engine: Engine) -> Dialect {
    match engine {
        Engine::Vllm
        | Engine::Sglang
        | Engine::Trtllm
        | Engine::Triton
        | Engine::Lmdeploy
        | Engine::Tgi
        | Engine::Llamacpp
        | Engine::Openai => Dialect::OpenaiChat,
        Engine::Anthropic => Dialect::AnthropicMessages,
        Engine::Gemini => Dialect::Gemini,
        Engine::Http => Dialect::Http,
    }
}

fn credential(
    source: &Written<written::SecretSource>,
    backend: Option<(Engine, Dialect)>,
    env: &dyn Environment,
    sink: &Sink,
) -> Option<Credential> {
    let text = secret::read(source, env, sink)?;
    let (engine, dialect) = backend?;
    Some(secret::credential(text, engine, dialect))
}

/// `engine: http` reads nothing, so it knows of no prompt.
fn gpu_reads_prompts(from: &written::Backend, engine: Engine, sink: &Sink) {
    let Some(balance) = &from.balance else { return };
    if engine == Engine::Http && balance.value == contract::Balance::Gpu {
        let fault = Fault::new("`balance: gpu` reads prompts, and `engine: http` reads nothing");
        sink.error(
            &balance.at,
            fault.mend("write `least_requests`, or name the engine that serves the models"),
        );
    }
}

fn admission(from: &written::Admission, engine: Engine, sink: &Sink) -> contract::Admission {
    if engine == Engine::Http {
        let fault = Fault::new("`admission` counts tokens, and `engine: http` reads nothing");
        sink.error(&from.at, fault.mend("leave it out, or name the engine that serves the models"));
    }
    if let Some(limit) = from.kv_limit.as_ref().filter(|limit| limit.value < KV_LIMIT_PERCENT_MIN) {
        let fault = Fault::new(format!("with {}% hardly any prompt fits", limit.value));
        sink.error(&limit.at, fault.mend(format!("from {KV_LIMIT_PERCENT_MIN}% to 100%")));
    }
    let default = contract::Admission::default();
    let wait = |class: usize| {
        let own = from.wait[class].as_ref().or(from.max_wait.as_ref());
        or(own, default.wait_ms[class])
    };
    contract::Admission {
        queue: or_u32(from.queue.as_ref(), default.queue),
        queue_bytes: or(from.queue_bytes.as_ref(), default.queue_bytes),
        wait_ms: [wait(0), wait(1), wait(2)],
        order: or(from.order.as_ref(), default.order),
        u_limit_ms: or(from.u_limit.as_ref(), default.u_limit_ms),
        kv_limit_percent: or(from.kv_limit.as_ref(), default.kv_limit_percent),
        itl_limit_ms: from.itl_limit.as_ref().map(|limit| limit.value),
        ttft_slo_ms: from.ttft_slo.as_ref().map(|limit| limit.value),
    }
}

/// None if it does not say by what: that was told where it was read.
fn tenants(from: &written::Tenants) -> Option<contract::Tenants> {
    let weight = |weight: &Written<u64>| or_u32(Some(weight), 1);
    let weights = from.weights.iter().map(|(tenant, share)| (tenant.value.clone(), weight(share)));
    Some(contract::Tenants { header: from.header.as_ref()?.value.clone(), weights: weights.collect() })
}

fn sessions(from: &written::Sessions, env: &dyn Environment, sink: &Sink) -> Option<contract::Sessions> {
    let default = contract::Sessions::default();
    let key = match &from.key {
        None => None,
        Some(source) => Some(session_key(source, env, sink)?),
    };
    Some(contract::Sessions { ttl_ms: or(from.ttl.as_ref(), default.ttl_ms), key })
}

/// Whoever finds it out can name the server that its requests go to, and no more; it is a secret all the same.
fn session_key(
    source: &Written<written::SecretSource>,
    env: &dyn Environment,
    sink: &Sink,
) -> Option<String> {
    let text = secret::read(source, env, sink)?;
    if text.len() < SESSION_KEY_BYTES_MIN {
        let fault =
            Fault::new(format!("a key of less than {SESSION_KEY_BYTES_MIN} bytes can be found by trying"));
        sink.error(&source.at, fault.mend("take what `openssl rand -hex 32` prints"));
    }
    Some(text)
}

/// Adapters that no choice looks at, and models of the backend that a glob takes for adapters, are slips.
fn lora(from: &written::Lora, backend: &written::Backend, engine: Engine, sink: &Sink) -> contract::Lora {
    if engine == Engine::Http {
        let fault = Fault::new("`lora` goes by the model, and `engine: http` reads nothing");
        sink.error(&from.at, fault.mend("leave it out, or name the engine that serves the models"));
    } else if or(backend.balance.as_ref(), contract::Balance::default()) != contract::Balance::Gpu {
        let fault = Fault::new("only `balance: gpu` looks at `lora`; here it has no effect");
        sink.warn(&from.at, fault.mend("write `balance: gpu`"));
    }
    let mut seen: HashMap<&str, &Place> = HashMap::new();
    for adapter in &from.adapters {
        if let Some(first) = seen.insert(&adapter.value, &adapter.at) {
            let fault = Fault::new(format!("{} is here twice", quoted(&adapter.value)));
            sink.error(&adapter.at, fault.mend(format!("{} has it already", first.path)));
        }
        if adapter.value.bytes().all(|byte| byte == b'*') {
            let fault = Fault::new("every model is taken for an adapter, the one they adapt too");
            sink.warn(&adapter.at, fault.mend("name the adapters, or a glob that only they match"));
        }
    }
    contract::Lora {
        adapters: values(&from.adapters),
        slots: from.slots.as_ref().map(|slots| u32::try_from(slots.value).expect("the table bounds it")),
    }
}

fn score(from: &written::Score) -> contract::Score {
    let default = contract::Score::default();
    contract::Score {
        miss: or_u32(from.miss.as_ref(), default.miss),
        in_flight_ms: or(from.in_flight.as_ref(), default.in_flight_ms),
        kv_ms: or(from.kv.as_ref(), default.kv_ms),
        adapter_load_ms: or(from.adapter_load.as_ref(), default.adapter_load_ms),
        adapter_evict_ms: or(from.adapter_evict.as_ref(), default.adapter_evict_ms),
        session_ms: or(from.session.as_ref(), default.session_ms),
        gateways: or_u32(from.gateways.as_ref(), default.gateways),
        media_tokens: or_u32(from.media_tokens.as_ref(), default.media_tokens),
    }
}

fn endpoint(from: &written::Endpoint, dialect: Dialect, backend: contract::Hardware) -> Option<Endpoint> {
    let url = &from.url.as_ref()?.value;
    let labels = from.labels.iter().map(|(name, label)| (name.value.clone(), label.value.clone()));
    Some(Endpoint {
        secure: url.secure,
        authority: url.authority.clone(),
        host: url.host.clone(),
        port: url.port,
        base_path: before_version(&url.base_path, dialect).to_owned(),
        weight: or_u32(from.weight.as_ref(), 1),
        hardware: from.hardware.or(backend),
        labels: labels.collect(),
    })
}

/// Base URLs are handed round as clients want them, with the version at their end (`https://host/api/v1`). Requests bring it
/// themselves, and what is asked of engines beside calls (`/metrics`, `/tokenize`) stands before it.
fn before_version(base_path: &str, dialect: Dialect) -> &str {
    let versions: &[&str] = match dialect {
        Dialect::Http => &[],
        Dialect::Gemini => &["/v1beta", "/v1"],
        Dialect::OpenaiChat | Dialect::OpenaiResponses | Dialect::AnthropicMessages => &["/v1"],
    };
    versions.iter().find_map(|version| base_path.strip_suffix(version)).unwrap_or(base_path)
}

/// An endpoint is known by backend and authority, in metrics and to `drain`.
fn endpoints_once(endpoints: &[written::Endpoint], sink: &Sink) {
    let mut seen: HashMap<_, &Place> = HashMap::new();
    for url in endpoints.iter().filter_map(|endpoint| endpoint.url.as_ref()) {
        if let Some(first) = seen.insert((&url.value.host, url.value.port), &url.at) {
            let fault = Fault::new(format!("{} is here twice", quoted(&url.value.authority)));
            sink.error(
                &url.at,
                fault.mend(format!("{} has it already; `weight` gives it a larger share", first.path)),
            );
        }
    }
}

fn endpoints_in_all(file: &FileConfig, sink: &Sink) {
    let mut all = 0;
    for backend in &file.backends {
        all += backend.endpoints.len();
        if all > ENDPOINTS_ALL_MAX {
            let fault = Fault::new(format!("more than {ENDPOINTS_ALL_MAX} endpoints in all"));
            sink.error(&backend.name.at, fault.mend("split the backends over several instances"));
            return;
        }
    }
}

// Routes.

fn route(from: &written::Route, names: &Names<'_>, sink: &Sink) -> Option<Route> {
    let matches = matches(&from.matches);
    let targets: Vec<_> = from.targets.iter().map(|written| target(written, &matches, names, sink)).collect();
    let fallback: Vec<_> =
        from.fallback.iter().map(|written| target(written, &matches, names, sink)).collect();
    targets_once(&from.targets, sink);
    if !from.targets.is_empty() && from.targets.iter().all(|target| or(target.weight.as_ref(), 1) == 0) {
        let fault = Fault::new("no target of this route has a weight above 0");
        sink.error(&from.targets_at, fault.mend("give one of them a weight, or remove the route"));
    }
    let timeouts = route_timeouts(from, sink);
    let retry = Retry::default();
    Some(Route {
        name: from.name.as_ref()?.value.clone(),
        matches,
        targets: targets.into_iter().collect::<Option<_>>()?,
        timeouts,
        retry: Retry {
            attempts: or_u32(from.attempts.as_ref(), retry.attempts),
            budget_percent: or(from.budget.as_ref(), retry.budget_percent),
        },
        expose: or(from.expose.as_ref(), false),
        strict: or(from.strict.as_ref(), false),
        force_usage: or(from.force_usage.as_ref(), false),
        preserve_host: or(from.preserve_host.as_ref(), false),
        idempotent: or(from.idempotent.as_ref(), false),
        fallback: fallback.into_iter().collect::<Option<_>>()?,
        class: or(from.class.as_ref(), contract::Class::default()),
        trace: Tracing { sample_percent: or(from.sample.as_ref(), 0) },
        hedge: from.hedge.as_ref().map(|written| hedge(written, from, sink)),
        heartbeat: from.heartbeat.as_ref().map(|written| heartbeat(written, from, names, sink)),
    })
}

fn hedge(from: &written::Hedge, route: &written::Route, sink: &Sink) -> Hedge {
    if !or(route.idempotent.as_ref(), false) {
        let fault = Fault::new(
            "`hedge` without `idempotent: true`: no POST is sent twice, and calls of models are POST",
        );
        sink.warn(
            &from.at,
            fault.mend("say `idempotent: true` if a request may be answered twice, and paid for twice"),
        );
    }
    if or(route.attempts.as_ref(), u64::from(Retry::default().attempts)) < 2 {
        let fault = Fault::new("`hedge` with one attempt in all: there is no second");
        sink.error(&from.at, fault.mend("raise `retry.attempts` to 2 or more, or leave `hedge` out"));
    }
    Hedge {
        after_ms: from.after.as_ref().and_then(|after| after.value),
        budget_percent: or(from.budget.as_ref(), 1),
    }
}

/// Where nothing of an answer is read nobody knows where an event ends.
fn heartbeat(from: &written::Heartbeat, route: &written::Route, names: &Names<'_>, sink: &Sink) -> Heartbeat {
    let targets = route.targets.iter().chain(&route.fallback);
    let named = |target: &written::Target| {
        names.backends.iter().find(|it| Some(&it.name.value) == target.backend.as_ref().map(|it| &it.value))
    };
    let mut backends = targets.filter_map(named).peekable();
    let raw = |backend: &written::Backend| {
        backend.engine.as_ref().is_some_and(|engine| engine.value == Engine::Http)
    };
    if backends.peek().is_some() && backends.all(raw) {
        let fault =
            Fault::new("`heartbeat` on a route to `engine: http`: nothing of an answer is read there");
        sink.error(&from.at, fault.mend("leave it out, or name the engine that serves the models"));
    }
    Heartbeat {
        every_ms: or(from.every.as_ref(), Millis::from_secs(15)),
        commit_after_ms: value(from.commit_after.clone()),
    }
}

fn matches(from: &written::Match) -> Match {
    let header = |(name, value): &(Written<String>, Written<String>)| HeaderMatch {
        name: name.value.clone(),
        value: value.value.clone(),
    };
    Match {
        path: value(from.path.clone()),
        path_prefix: value(from.path_prefix.clone()),
        methods: values(&from.methods),
        hosts: values(&from.hosts),
        headers: from.headers.iter().map(header).collect(),
        models: values(&from.models),
        client_cidrs: values(&from.client_cidrs),
    }
}

fn target(from: &written::Target, matches: &Match, names: &Names<'_>, sink: &Sink) -> Option<Target> {
    let name = from.backend.as_ref()?;
    let id = names.find(name, sink)?;
    let backend = &names.backends[id.0];
    if let Some(engine) = &backend.engine {
        let spoken = backend.dialect.as_ref().map_or_else(|| native(engine.value), |dialect| dialect.value);
        translation(name, (spoken, engine.value), matches, sink);
        if let (Some(model), Dialect::Http) = (&from.model, spoken) {
            let fault = Fault::new(format!(
                "backend {} is `engine: http`: no body is read, so no model is replaced",
                quoted(&name.value)
            ));
            sink.error(&model.at, fault.mend("leave `model` out, or name the engine"));
        }
    }
    if let Some(model) = from.model.as_ref().filter(|model| model.value.contains('*')) {
        let one_star = |glob: &String| glob.matches('*').count() == 1 && !glob.contains('?');
        if matches.models.is_empty() || !matches.models.iter().all(one_star) {
            let fault = Fault::new(format!(
                "{} stands for what a glob matches, and this route's `model` has not one `*` in each",
                quoted(&model.value)
            ));
            sink.error(&model.at, fault.mend("match on the model with one `*`, such as `openai/*`"));
        }
    }
    Some(Target {
        backend: id,
        weight: or_u32(from.weight.as_ref(), TARGET_WEIGHT_DEFAULT),
        model: value(from.model.clone()),
    })
}

/// A route on a model path leads to backends that speak its dialect, or one that what it takes can be translated to.
fn translation(target: &Written<String>, (backend, engine): (Dialect, Engine), matches: &Match, sink: &Sink) {
    let Some(caller) = speaks::dialect(matches) else { return };
    if backend == Dialect::Http || backend == caller || speaks::has_translated(matches, backend, engine) {
        return;
    }
    let (caller, backend) = (speaks::spelled(caller), speaks::spelled(backend));
    let fault = Fault::new(format!(
        "backend {} speaks {backend}, which has no word for what this route takes ({caller})",
        quoted(&target.value)
    ));
    let mend = format!(
        "send it to a backend with `dialect: {caller}`; a server that speaks both may be listed as two backends"
    );
    sink.error(&target.at, fault.mend(mend));
}

fn targets_once(targets: &[written::Target], sink: &Sink) {
    let mut seen = HashMap::new();
    for target in targets {
        let Some(backend) = &target.backend else { continue };
        let model = target.model.as_ref().map(|model| &model.value);
        if seen.insert((&backend.value, model), &target.at).is_some() {
            let fault = Fault::new(format!("target {} is here twice", quoted(&backend.value)));
            sink.error(&backend.at, fault.mend("add their weights up in one"));
        }
    }
}

fn route_timeouts(from: &written::Route, sink: &Sink) -> RouteTimeouts {
    let default = RouteTimeouts::default();
    let timeouts = RouteTimeouts {
        first_byte_ms: or(from.first_byte.as_ref(), default.first_byte_ms),
        idle_ms: or(from.idle.as_ref(), default.idle_ms),
        total_ms: or(from.total.as_ref(), default.total_ms),
    };
    for (name, part) in [("first_byte", &from.first_byte), ("idle", &from.idle)] {
        if let Some(part) = part
            && part.value > timeouts.total_ms
        {
            let fault = Fault::new(format!("`{name}` is longer than `total`, which ends the exchange first"));
            let total = super::values::write_duration(timeouts.total_ms.get());
            sink.warn(&part.at, fault.mend(format!("`total` is {total} here; raise it, or lower this")));
        }
    }
    timeouts
}

fn route_names(file: &FileConfig, sink: &Sink) {
    let mut seen: HashMap<&str, &Place> = HashMap::new();
    for name in file.routes.iter().filter_map(|route| route.name.as_ref()) {
        if let Some(first) = seen.get(name.value.as_str()) {
            let fault = Fault::new(format!("another route is named {}", quoted(&name.value)));
            sink.error(&name.at, fault.mend(format!("see {}", first.path)));
        } else {
            seen.insert(&name.value, &name.at);
        }
    }
}

fn unreachable_routes(file: &FileConfig, sink: &Sink) {
    let all: Vec<Match> = file.routes.iter().map(|route| matches(&route.matches)).collect();
    for (index, later) in all.iter().enumerate() {
        if let Some(earlier) = all[..index].iter().position(|earlier| overlap::covers(earlier, later)) {
            let taker = file.routes[earlier].name.as_ref().map_or("an earlier one", |name| &name.value);
            let fault =
                Fault::new(format!("this route gets no request: route {} takes them all", quoted(taker)));
            sink.warn(&file.routes[index].matches.at, fault.mend("the first match wins: move it up"));
        }
    }
}

// Models.

fn model(from: &written::Model) -> Option<contract::Model> {
    let price = from.price.as_ref().map(price);
    Some(contract::Model {
        name: from.name.as_ref()?.value.clone(),
        display_name: value(from.display_name.clone()),
        owner: value(from.owner.clone()),
        context_tokens: value(from.context.clone()),
        output_tokens_max: value(from.max_output.clone()),
        price: match price {
            None => None,
            Some(price) => Some(price?),
        },
        capabilities: from.capabilities,
    })
}

fn price(from: &written::Price) -> Option<contract::Price> {
    Some(contract::Price {
        input: from.input.as_ref()?.value,
        output: from.output.as_ref()?.value,
        cache_read: from.cache_read.as_ref().map(|money| money.value),
        cache_write: from.cache_write.as_ref().map(|money| money.value),
    })
}

/// The first entry that fits a name counts, so a second one of the same name never does.
fn models_once(models: &[written::Model], sink: &Sink) {
    let mut seen: HashMap<&str, &Place> = HashMap::new();
    for name in models.iter().filter_map(|model| model.name.as_ref()) {
        if let Some(first) = seen.get(name.value.as_str()) {
            let fault = Fault::new(format!("model {} is here twice", quoted(&name.value)));
            sink.error(&name.at, fault.mend(format!("{} comes first, and counts", first.path)));
        } else {
            seen.insert(&name.value, &name.at);
        }
    }
}

fn limits(from: written::Limits) -> Limits {
    let default = Limits::default();
    Limits {
        request_head: value(from.request_head).unwrap_or(default.request_head),
        request_body: value(from.request_body).unwrap_or(default.request_body),
        connections: value(from.connections).unwrap_or(default.connections),
    }
}
