//! Compiles a snapshot into a table, or says everything that is wrong with it.
//!
//! Owns: the checks between parts (names that must exist, be unique, add up) and the order of problems, which
//! is the document's. A snapshot is an allegation: nothing here trusts that the control plane checked it.
//! Must not: do I/O, or run on a worker.
//! Read next: [`super::check`], the checks of single values.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::sync::Arc;

use ringway_contract::snapshot::{self, Balance, Engine, FORMAT, Snapshot};
use ringway_contract::{Generation, Millis, Problem};

use super::catalogue::Catalogue;
use super::check::{self, Wrong, wrong};
use super::glob::Glob;
use super::index::Index;
use super::matching::{Conditions, HeaderCondition, HostCondition, PathCondition};
use super::models::Offers;
use super::{Alias, Backend, Credential, Endpoint, Route, Table, Target, Targets, Timeouts};
use crate::admission::line::Admission;
use crate::admission::queue::Class;
use crate::admission::tenants::Tenants;
use crate::balance::gpu::{self, Gpu};
use crate::balance::hash::Ring;
use crate::balance::prefix::blocks::Key;
use crate::balance::{self};
use crate::bounds::{
    ADAPTER_SLOTS_MAX, ADDRESSES_MAX, ATTEMPTS_MAX, BACKENDS_MAX, BODY_BYTES_MAX, CATALOGUE_MAX,
    CONDITION_VALUES_MAX, ENDPOINT_WEIGHT_MAX, ENDPOINTS_MAX, FALLBACKS_MAX, HEAD_BYTES_MAX, HEAD_BYTES_MIN,
    IDLE_CONNECTIONS_MAX, LISTENERS_MAX, MODELS_MAX, OFFERS_MAX, PROBLEMS_MAX, QUEUE_BYTES_MAX, QUEUE_MAX,
    ROUTES_MAX, TARGET_WEIGHT_MAX, TARGETS_MAX, TENANT_WEIGHT_MAX, TENANT_WEIGHTS_MAX, TLS_CERTIFICATES_MAX,
};
use crate::cells::Cells;
use crate::heartbeat::Pulse;
use crate::hedge::Hedge;
use crate::hedge::delay::After;
use crate::names::Name;
use crate::session::Sessions;
use crate::tls::Opened;
use rustls::pki_types::ServerName;

impl Table {
    /// The table before the first snapshot: it listens nowhere and serves nothing.
    pub fn empty() -> Self {
        Self {
            generation: Generation::NONE,
            listeners: Box::default(),
            tls: Box::default(),
            admin: None,
            limits: snapshot::Limits::default(),
            logging: snapshot::Logging::default(),
            drain_timeout_ms: 0,
            index: Index::new(&[]),
            backends: Box::default(),
            routes: Box::default(),
            offers: Offers::new(&[]),
        }
    }

    /// The table of this snapshot, without anything that needs TLS; or all problems, in document order.
    pub fn compile(snapshot: &Snapshot, cells: &Cells) -> Result<Self, Vec<Problem>> {
        Self::compile_with(snapshot, cells, Opened::default())
    }

    /// The table of this snapshot and the TLS material that was read for it; or all problems, in document order.
    pub fn compile_with(snapshot: &Snapshot, cells: &Cells, tls: Opened) -> Result<Self, Vec<Problem>> {
        let mut found = Found::default();
        check_process(snapshot, &mut found);
        check_backends(&snapshot.backends, &mut found);
        check_routes(snapshot, &mut found);
        check_models(&snapshot.models, &mut found);
        found.end()?;

        // Nothing below can fail: names are interned and cells taken only for a snapshot that will run.
        let backends = compile_backends(&snapshot.backends, cells, &tls);
        let catalogue = Catalogue::new(&snapshot.models).map(Arc::new);
        let routes = compile_routes(&snapshot.routes, &backends, catalogue.as_ref(), cells);
        let offers = Offers::new(&routes);
        if offers.len() > OFFERS_MAX {
            let what = format!("the routes offer {} models together; {OFFERS_MAX} are allowed", offers.len());
            return Err(vec![
                Problem::new("routes", what).mend("name fewer models on backends of glob routes"),
            ]);
        }
        cells.sweep();
        Ok(Self {
            generation: snapshot.generation,
            listeners: snapshot.listeners.clone().into(),
            tls: tls.listeners.into(),
            admin: snapshot.admin,
            limits: snapshot.limits,
            logging: snapshot.logging.clone(),
            drain_timeout_ms: snapshot.drain_timeout_ms.get(),
            index: Index::new(&routes),
            backends: backends.into(),
            routes: routes.into(),
            offers,
        })
    }
}

/// The problems found so far; those beyond the bound are only counted.
#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
    unlisted: usize,
}

impl Found {
    fn add(&mut self, at: impl Display, wrong: Wrong) {
        if self.problems.len() >= PROBLEMS_MAX {
            self.unlisted += 1;
            return;
        }
        self.problems.push(Problem {
            at: at.to_string(),
            what: wrong.what,
            mend: wrong.mend.map(Into::into),
        });
    }

    fn check(&mut self, at: impl Display, checked: Result<(), Wrong>) {
        if let Err(wrong) = checked {
            self.add(at, wrong);
        }
    }

    /// Checks that a list is not over its bound. Says so once; what is in it is checked all the same.
    fn count(&mut self, at: impl Display, what: &str, count: usize, max: usize) {
        if count > max {
            self.add(at, Wrong { what: format!("{count} {what}; {max} are allowed"), mend: None });
        }
    }

    fn end(mut self) -> Result<(), Vec<Problem>> {
        if self.problems.is_empty() {
            return Ok(());
        }
        if self.unlisted > 0 {
            self.problems.push(Problem::new("snapshot", format!("{} more problems", self.unlisted)));
        }
        Err(self.problems)
    }
}

fn check_process(snapshot: &Snapshot, found: &mut Found) {
    if snapshot.format != FORMAT {
        let what = format!("format {} is not known here; this version reads {FORMAT}", snapshot.format);
        found.add("format", wrong(what, "run ringway and ringctl of the same release"));
    }
    if snapshot.listeners.is_empty() {
        found.add("listeners", wrong("there is no address to accept on", "add a listener"));
    }
    found.count("listeners", "listeners", snapshot.listeners.len(), LISTENERS_MAX);
    let mut taken = HashSet::new();
    for (i, listener) in snapshot.listeners.iter().enumerate() {
        if listener.address.port() != 0 && !taken.insert(listener.address) {
            let what = format!("{} is listened on twice", listener.address);
            found.add(format_args!("listeners[{i}].address"), wrong(what, "remove one"));
        }
        let timeouts = &listener.timeouts;
        for (field, ms) in [
            ("head_ms", timeouts.head_ms),
            ("body_idle_ms", timeouts.body_idle_ms),
            ("write_stall_ms", timeouts.write_stall_ms),
            ("keep_alive_ms", timeouts.keep_alive_ms),
            ("handshake_ms", timeouts.handshake_ms),
        ] {
            found.check(format_args!("listeners[{i}].timeouts.{field}"), check::timeout(ms.get()));
        }
        if let Some(tls) = &listener.tls {
            let at = format!("listeners[{i}].tls.certificates");
            found.count(&at, "certificates", tls.certificates.len(), TLS_CERTIFICATES_MAX);
            if tls.certificates.is_empty() {
                found.add(at, wrong("there is no certificate to show", "add one"));
            }
        }
        let networks = listener.trusted_proxies.len();
        found.count(
            format_args!("listeners[{i}].trusted_proxies"),
            "networks",
            networks,
            CONDITION_VALUES_MAX,
        );
    }
    if snapshot.admin.is_some_and(|admin| admin.port() != 0 && taken.contains(&admin)) {
        found.add("admin", wrong("the admin address is a listener's too", "give it an address of its own"));
    }
    let limits = &snapshot.limits;
    let (head, body) = (limits.request_head.get(), limits.request_body.get());
    let head = check::range("bytes of a request head", head, HEAD_BYTES_MIN as u64, HEAD_BYTES_MAX as u64);
    found.check("limits.request_head", head);
    found.check("limits.request_body", check::range("bytes of a request body", body, 0, BODY_BYTES_MAX));
    found
        .check("limits.connections", check::range("connections", limits.connections, 1, u64::from(u32::MAX)));
    if let snapshot::AccessLog::Path(path) = &snapshot.logging.access
        && (path.is_empty() || path.contains('\0'))
    {
        found.add(
            "logging.access.path",
            wrong("the path of the access log is empty", "give a path, or stdout, or off"),
        );
    }
    found.check("drain_timeout_ms", check::timeout(snapshot.drain_timeout_ms.get()));
}

fn check_backends(backends: &[snapshot::Backend], found: &mut Found) {
    found.count("backends", "backends", backends.len(), BACKENDS_MAX);
    let endpoints = backends.iter().map(|backend| backend.endpoints.len()).sum();
    found.count("backends", "endpoints in all", endpoints, ENDPOINTS_MAX);
    let mut names = HashSet::new();
    for (i, backend) in backends.iter().enumerate() {
        let at = format!("backends[{i}]");
        found.check(format_args!("{at}.name"), check::name(&backend.name));
        if !names.insert(&*backend.name) {
            let what = format!("there are two backends named {:?}", backend.name);
            found.add(format_args!("{at}.name"), wrong(what, "rename one"));
        }
        check_backend(&at, backend, found);
    }
}

fn check_backend(at: &str, backend: &snapshot::Backend, found: &mut Found) {
    if (backend.engine == Engine::Http) != (backend.dialect == snapshot::Dialect::Http) {
        let mend = "engine http goes with dialect http, other engines with another";
        found.add(format_args!("{at}.dialect"), wrong("engine and dialect do not go together", mend));
    }
    if backend.engine == Engine::Http && backend.balance == Balance::Gpu {
        let mend = "use another policy, or name the engine that serves the models";
        found.add(
            format_args!("{at}.balance"),
            wrong("gpu reads prompts and engine http reads nothing", mend),
        );
    }
    if backend.endpoints.is_empty() {
        found.add(format_args!("{at}.endpoints"), wrong("the backend has no endpoint", "add one"));
    }
    let mut authorities = HashSet::new();
    for (j, endpoint) in backend.endpoints.iter().enumerate() {
        let at = format!("{at}.endpoints[{j}]");
        if !authorities.insert(&*endpoint.authority) {
            let what = format!("{:?} is in this backend twice", endpoint.authority);
            found.add(format_args!("{at}.authority"), wrong(what, "remove one; a weight gives it more"));
        }
        check_endpoint(&at, endpoint, found);
        if endpoint.secure {
            found.check(format_args!("{at}.authority"), check::server_name(host_of(&endpoint.authority)));
        }
    }
    if let Some(name) = backend.tls.as_ref().and_then(|tls| tls.server_name.as_deref()) {
        found.check(format_args!("{at}.tls.server_name"), check::server_name(name));
    }
    found.count(format_args!("{at}.models"), "models", backend.models.len(), MODELS_MAX);
    for (j, model) in backend.models.iter().enumerate() {
        found.check(format_args!("{at}.models[{j}]"), check::model(model));
    }
    found.check(format_args!("{at}.connect_timeout_ms"), check::timeout(backend.connect_timeout_ms.get()));
    let kept = &backend.connections;
    let idle = check::range("idle connections", u64::from(kept.idle_max), 0, u64::from(IDLE_CONNECTIONS_MAX));
    found.check(format_args!("{at}.connections.idle_max"), idle);
    let idle_timeout = check::timeout(kept.idle_timeout_ms.get());
    found.check(format_args!("{at}.connections.idle_timeout_ms"), idle_timeout);
    found.check(format_args!("{at}.connections.max_age_ms"), check::timeout(kept.max_age_ms.get()));
    if let Some(credential) = &backend.credential {
        found.check(format_args!("{at}.credential"), check::credential(credential));
    }
    if let Some(hosting) = &backend.hosting {
        check_hosting(&format!("{at}.hosting"), hosting, found);
    }
    check_admission(&format!("{at}.admission"), backend, found);
    if let Some(tenants) = &backend.tenants {
        check_tenants(&format!("{at}.tenants"), backend, tenants, found);
    }
    if let Some(lora) = &backend.lora {
        check_lora(&format!("{at}.lora"), lora, found);
    }
    if let Some(sessions) = &backend.sessions {
        found.check(format_args!("{at}.sessions.ttl_ms"), check::timeout(sessions.ttl_ms.get()));
        if let Some(key) = &sessions.key {
            found.check(format_args!("{at}.sessions.key"), check::secret(key));
        }
    }
}

fn check_tenants(at: &str, backend: &snapshot::Backend, tenants: &snapshot::Tenants, found: &mut Found) {
    if backend.admission.is_none() {
        found.add(at, wrong("tenants share a queue, and there is none", "add admission, or leave them out"));
        return;
    }
    found.check(format_args!("{at}.header"), check::header_name(&tenants.header));
    found.count(format_args!("{at}.weights"), "weights", tenants.weights.len(), TENANT_WEIGHTS_MAX);
    for (name, weight) in &tenants.weights {
        let share = check::range("a share", u64::from(*weight), 1, u64::from(TENANT_WEIGHT_MAX));
        found.check(format_args!("{at}.weights.{name:?}"), share);
    }
}

fn check_lora(at: &str, lora: &snapshot::Lora, found: &mut Found) {
    if lora.adapters.is_empty() {
        found
            .add(format_args!("{at}.adapters"), wrong("no adapter is named", "name them, or leave lora out"));
    }
    check_each(at, "adapters", &lora.adapters, check::model_glob, found);
    if let Some(slots) = lora.slots {
        let slots = check::range("slots for adapters", slots.into(), 1, ADAPTER_SLOTS_MAX as u64);
        found.check(format_args!("{at}.slots"), slots);
    }
}

fn check_hosting(at: &str, hosting: &snapshot::Hosting, found: &mut Found) {
    match hosting {
        snapshot::Hosting::Azure { api_version, deployment } => {
            for (field, text) in [("api_version", api_version), ("deployment", deployment)] {
                if let Some(text) = text {
                    found.check(format_args!("{at}.azure.{field}"), check::model(text));
                }
            }
        }
        snapshot::Hosting::Vertex { project, location } => {
            found.check(format_args!("{at}.vertex.project"), check::name(project));
            found.check(format_args!("{at}.vertex.location"), check::name(location));
        }
        snapshot::Hosting::Bedrock { region, key } => {
            found.check(format_args!("{at}.bedrock.region"), check::name(region));
            let Some(key) = key else { return };
            found.check(format_args!("{at}.bedrock.key.id"), check::name(&key.id));
            found.check(format_args!("{at}.bedrock.key.secret"), check::secret(&key.secret));
            if let Some(token) = &key.session_token {
                found.check(format_args!("{at}.bedrock.key.session_token"), check::secret(token));
            }
        }
    }
}

fn check_endpoint(at: &str, endpoint: &snapshot::Endpoint, found: &mut Found) {
    found.check(format_args!("{at}.authority"), check::authority(&endpoint.authority));
    found.count(format_args!("{at}.addresses"), "addresses", endpoint.addresses.len(), ADDRESSES_MAX);
    found.check(format_args!("{at}.addresses"), check::addresses(endpoint));
    found.check(format_args!("{at}.base_path"), check::base_path(&endpoint.base_path));
    let weight = check::range("the weight", u64::from(endpoint.weight), 1, u64::from(ENDPOINT_WEIGHT_MAX));
    found.check(format_args!("{at}.weight"), weight);
}

fn check_routes(snapshot: &Snapshot, found: &mut Found) {
    found.count("routes", "routes", snapshot.routes.len(), ROUTES_MAX);
    let backends: HashMap<&str, &snapshot::Backend> =
        snapshot.backends.iter().map(|backend| (&*backend.name, backend)).collect();
    let mut names = HashSet::new();
    for (i, route) in snapshot.routes.iter().enumerate() {
        let at = format!("routes[{i}]");
        found.check(format_args!("{at}.name"), check::name(&route.name));
        if !names.insert(&*route.name) {
            let what = format!("there are two routes named {:?}", route.name);
            found.add(format_args!("{at}.name"), wrong(what, "rename one"));
        }
        check_match(&format!("{at}.match"), &route.matches, found);
        check_targets(&at, route, &backends, found);
        check_fallback(&at, route, &backends, found);
        for (field, ms) in [
            ("first_byte_ms", route.timeouts.first_byte_ms),
            ("idle_ms", route.timeouts.idle_ms),
            ("total_ms", route.timeouts.total_ms),
        ] {
            found.check(format_args!("{at}.timeouts.{field}"), check::timeout(ms.get()));
        }
        let attempts = check::range("attempts", u64::from(route.retry.attempts), 1, ATTEMPTS_MAX as u64);
        found.check(format_args!("{at}.retry.attempts"), attempts);
        let percent = check::range("the retry budget", u64::from(route.retry.budget_percent), 0, 100);
        found.check(format_args!("{at}.retry.budget_percent"), percent);
        if let Some(hedge) = &route.hedge {
            if let Some(ms) = hedge.after_ms {
                found.check(format_args!("{at}.hedge.after_ms"), check::timeout(ms.get()));
            }
            let percent = check::range("the budget", u64::from(hedge.budget_percent), 0, 100);
            found.check(format_args!("{at}.hedge.budget_percent"), percent);
        }
        if let Some(beat) = &route.heartbeat {
            found.check(format_args!("{at}.heartbeat.every_ms"), check::timeout(beat.every_ms.get()));
            if let Some(ms) = beat.commit_after_ms {
                found.check(format_args!("{at}.heartbeat.commit_after_ms"), check::timeout(ms.get()));
            }
        }
        let sample = check::range("the sample", u64::from(route.trace.sample_percent), 0, 100);
        found.check(format_args!("{at}.trace.sample_percent"), sample);
    }
}

fn check_models(models: &[snapshot::Model], found: &mut Found) {
    found.count("models", "models", models.len(), CATALOGUE_MAX);
    for (i, model) in models.iter().enumerate() {
        let at = format!("models[{i}]");
        found.check(format_args!("{at}.name"), check::model_glob(&model.name));
        for (field, text) in [("display_name", &model.display_name), ("owner", &model.owner)] {
            if let Some(text) = text {
                found.check(format_args!("{at}.{field}"), check::title(text));
            }
        }
    }
}

fn check_match(at: &str, matches: &snapshot::Match, found: &mut Found) {
    if matches.path.is_some() && matches.path_prefix.is_some() {
        found.add(at, wrong("both path and path_prefix are given", "keep one of them"));
    }
    if let Some(path) = &matches.path {
        found.check(format_args!("{at}.path"), check::path(path));
    }
    if let Some(prefix) = &matches.path_prefix {
        found.check(format_args!("{at}.path_prefix"), check::path_prefix(prefix));
    }
    check_each(at, "methods", &matches.methods, check::method, found);
    check_each(at, "hosts", &matches.hosts, check::host, found);
    check_each(at, "models", &matches.models, check::model_glob, found);
    found.count(format_args!("{at}.headers"), "headers", matches.headers.len(), CONDITION_VALUES_MAX);
    for (j, header) in matches.headers.iter().enumerate() {
        found.check(format_args!("{at}.headers[{j}].name"), check::header_name(&header.name));
        found.check(format_args!("{at}.headers[{j}].value"), check::value_glob(&header.value));
    }
    found.count(
        format_args!("{at}.client_cidrs"),
        "networks",
        matches.client_cidrs.len(),
        CONDITION_VALUES_MAX,
    );
}

fn check_each(
    at: &str,
    field: &str,
    values: &[String],
    check: impl Fn(&str) -> Result<(), Wrong>,
    found: &mut Found,
) {
    found.count(format_args!("{at}.{field}"), field, values.len(), CONDITION_VALUES_MAX);
    for (j, value) in values.iter().enumerate() {
        found.check(format_args!("{at}.{field}[{j}]"), check(value));
    }
}

fn check_targets(
    at: &str,
    route: &snapshot::Route,
    backends: &HashMap<&str, &snapshot::Backend>,
    found: &mut Found,
) {
    found.count(format_args!("{at}.targets"), "targets", route.targets.len(), TARGETS_MAX);
    if route.targets.is_empty() {
        found.add(format_args!("{at}.targets"), wrong("the route has no target", "add one"));
    } else if route.targets.iter().all(|target| target.weight == 0) {
        found.add(format_args!("{at}.targets"), wrong("all weights are 0", "give one target a weight"));
    }
    for (j, target) in route.targets.iter().enumerate() {
        let at = format!("{at}.targets[{j}]");
        let weight = check::range("the weight", u64::from(target.weight), 0, u64::from(TARGET_WEIGHT_MAX));
        found.check(format_args!("{at}.weight"), weight);
        let backend = backends.get(&*target.backend);
        if backend.is_none() {
            let what = format!("there is no backend named {:?}", target.backend);
            found.add(format_args!("{at}.backend"), wrong(what, "name one of the snapshot's backends"));
        }
        let Some(model) = &target.model else { continue };
        found.check(format_args!("{at}.model"), check::alias(model, &route.matches.models));
        if backend.is_some_and(|backend| backend.engine == Engine::Http) {
            let what = "engine http passes bodies as they are; it cannot put another model in";
            found.add(format_args!("{at}.model"), wrong(what, "leave the model out, or name the engine"));
        }
    }
}

fn check_fallback(
    at: &str,
    route: &snapshot::Route,
    backends: &HashMap<&str, &snapshot::Backend>,
    found: &mut Found,
) {
    found.count(format_args!("{at}.fallback"), "fallbacks", route.fallback.len(), FALLBACKS_MAX);
    for (j, fallback) in route.fallback.iter().enumerate() {
        let at = format!("{at}.fallback[{j}]");
        let Some(backend) = backends.get(&*fallback.backend) else {
            let what = format!("there is no backend named {:?}", fallback.backend);
            found.add(format_args!("{at}.backend"), wrong(what, "name one of the snapshot's backends"));
            continue;
        };
        let Some(model) = &fallback.model else { continue };
        found.check(format_args!("{at}.model"), check::alias(model, &route.matches.models));
        if backend.engine == Engine::Http {
            let what = "engine http passes bodies as they are; it cannot put another model in";
            found.add(format_args!("{at}.model"), wrong(what, "leave the model out, or name the engine"));
        }
    }
}

fn check_admission(at: &str, backend: &snapshot::Backend, found: &mut Found) {
    let Some(admission) = &backend.admission else { return };
    if backend.engine == Engine::Http {
        let what = "engine http has no tokens to count";
        found.add(at, wrong(what, "leave admission out, or name the engine"));
    }
    let mut range = |field: &str, what: &str, value: u64, min: u64, max: u64| {
        found.check(format_args!("{at}.{field}"), check::range(what, value, min, max));
    };
    range("queue", "places in the queue", u64::from(admission.queue), 0, QUEUE_MAX);
    range("queue_bytes", "bytes in the queue", admission.queue_bytes.get(), 0, QUEUE_BYTES_MAX);
    range("kv_limit_percent", "the share of the KV cache", u64::from(admission.kv_limit_percent), 10, 100);
    let waits = [
        ("wait_ms[0]", Some(admission.wait_ms[0])),
        ("wait_ms[1]", Some(admission.wait_ms[1])),
        ("wait_ms[2]", Some(admission.wait_ms[2])),
        ("u_limit_ms", Some(admission.u_limit_ms)),
        ("itl_limit_ms", admission.itl_limit_ms),
        ("ttft_slo_ms", admission.ttft_slo_ms),
    ];
    for (field, ms) in waits {
        if let Some(ms) = ms {
            found.check(format_args!("{at}.{field}"), check::timeout(ms.get()));
        }
    }
}

fn compile_backends(backends: &[snapshot::Backend], cells: &Cells, tls: &Opened) -> Vec<Arc<Backend>> {
    let side = |place| tls.backends.get(&place).cloned();
    let compiled =
        |(place, backend)| Arc::new(Backend { tls: side(place), ..compile_backend(backend, cells) });
    backends.iter().enumerate().map(compiled).collect()
}

fn compile_backend(backend: &snapshot::Backend, cells: &Cells) -> Backend {
    let endpoints: Box<[Endpoint]> =
        backend.endpoints.iter().map(|endpoint| compile_endpoint(backend, endpoint, cells)).collect();
    let (cumulative, stride) = balance::rotation(endpoints.iter().map(|endpoint| endpoint.weight));
    let credential = backend.credential.as_ref().map(|credential| Credential {
        header: credential.header.as_bytes().into(),
        value: credential.value.as_bytes().into(),
    });
    let sessions = backend
        .sessions
        .as_ref()
        .map(|sessions| Sessions::new(sessions, &backend.name, &endpoints, cells.session_key()));
    let loads: Vec<_> = endpoints.iter().map(|endpoint| Arc::clone(&endpoint.cell)).collect();
    let named = || endpoints.iter().map(|endpoint| (endpoint.name.as_str(), endpoint.weight));
    let admission = backend.admission.as_ref().filter(|_| backend.engine != Engine::Http);
    Backend {
        admission: admission
            .map(|rules| Admission::new(rules, gpu::pool(backend, &loads), cells.line(&backend.name))),
        tenants: backend.tenants.as_ref().map(Tenants::new),
        gpu: (backend.balance == Balance::Gpu).then(|| Gpu::new(backend, &loads, cells)),
        ring: (backend.balance == Balance::Hash).then(|| Ring::new(named())),
        name: Name::intern(&backend.name),
        engine: backend.engine,
        dialect: backend.dialect,
        endpoints,
        balance: backend.balance,
        models: backend.models.iter().map(|model| model.as_str().into()).collect(),
        connect_timeout_ms: backend.connect_timeout_ms.get(),
        tls: None,
        connections: backend.connections,
        credential,
        credential_until_s: backend.credential_until_s,
        orca: backend.orca.filter(|_| backend.engine != Engine::Http),
        hosting: backend.hosting.clone(),
        sessions,
        cumulative,
        stride,
        turn: cells.turn(&backend.name),
    }
}

fn compile_endpoint(backend: &snapshot::Backend, endpoint: &snapshot::Endpoint, cells: &Cells) -> Endpoint {
    let name = format!("{}/{}", backend.name, endpoint.authority);
    let tls = backend.tls.as_ref().filter(|_| endpoint.secure);
    // Connections made in plain text, or to whoever another `tls` trusted, are not this endpoint's.
    let hold = if endpoint.secure {
        cells.slot(&format!("{name} {tls:?}"), &endpoint.addresses)
    } else {
        cells.slot(&name, &endpoint.addresses)
    };
    let host = tls.and_then(|tls| tls.server_name.as_deref()).unwrap_or(host_of(&endpoint.authority));
    let secure = endpoint.secure.then(|| ServerName::try_from(host.to_owned()).expect("checked above"));
    Endpoint {
        name: Name::intern(&name),
        slot: hold.slot(),
        authority: endpoint.authority.as_str().into(),
        addresses: endpoint.addresses.as_slice().into(),
        secure,
        base_path: endpoint.base_path.as_str().into(),
        weight: endpoint.weight,
        cell: cells.cell(&name),
        health: cells.health(&name),
        seen: cells.seen(&name),
        drained: endpoint.drained,
        _hold: hold,
    }
}

/// The host of `host`, `host:port` or `[v6]:port`, without brackets.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

fn compile_routes(
    routes: &[snapshot::Route],
    backends: &[Arc<Backend>],
    catalogue: Option<&Arc<Catalogue>>,
    cells: &Cells,
) -> Vec<Route> {
    let by_name: HashMap<&str, &Arc<Backend>> =
        backends.iter().map(|backend| (backend.name.as_str(), backend)).collect();
    let route = |(order, route): (usize, _)| {
        let route = compile_route(order as u32, route, &by_name, cells);
        Route { catalogue: catalogue.filter(|_| !route.raw).cloned(), ..route }
    };
    routes.iter().enumerate().map(route).collect()
}

/// The key that a route's prompts are hashed with. Where one target has an index, its key serves for hashing too.
fn prompt_key(targets: &[Target], fallback: &[Target], cells: &Cells) -> Option<Arc<Key>> {
    let any = |test: fn(&Backend) -> bool| targets.iter().chain(fallback).any(|target| test(&target.backend));
    if any(|backend| backend.gpu.is_some()) {
        return Some(cells.prompt_key());
    }
    any(|backend| backend.ring.is_some() && backend.engine != Engine::Http).then(|| cells.public_key())
}

fn compile_route(
    order: u32,
    route: &snapshot::Route,
    backends: &HashMap<&str, &Arc<Backend>>,
    cells: &Cells,
) -> Route {
    let list: Box<[Target]> = route
        .targets
        .iter()
        .map(|target| Target {
            backend: Arc::clone(backends[&*target.backend]), // looked up by `check_targets`
            weight: target.weight,
            model: target.model.as_deref().map(Alias::new),
        })
        .collect();
    let fallback: Box<[Target]> = route
        .fallback
        .iter()
        .map(|fallback| Target {
            backend: Arc::clone(backends[&*fallback.backend]), // looked up by `check_fallback`
            weight: 1,
            model: fallback.model.as_deref().map(Alias::new),
        })
        .collect();
    let conditions = compile_match(&route.matches);
    let all = || list.iter().chain(&fallback);
    let prompt_key = prompt_key(&list, &fallback, cells);
    Route {
        name: Name::intern(&route.name),
        order,
        timeouts: Timeouts {
            first_byte_ms: Millis::get(route.timeouts.first_byte_ms),
            idle_ms: Millis::get(route.timeouts.idle_ms),
            total_ms: Millis::get(route.timeouts.total_ms),
        },
        attempts_max: route.retry.attempts,
        retry_percent: route.retry.budget_percent,
        expose: route.expose,
        may_trace: route.expose || route.trace.sample_percent > 0,
        sample_percent: route.trace.sample_percent,
        hedge: route.hedge.map(|it| Hedge {
            after: it.after_ms.map_or_else(|| After::P95(Box::default()), |ms| After::Ms(ms.get())),
            percent: it.budget_percent,
        }),
        pulse: route.heartbeat.map(|it| Pulse {
            every_ms: it.every_ms.get(),
            commit_after_ms: it.commit_after_ms.map(Millis::get),
        }),
        strict: route.strict,
        force_usage: route.force_usage,
        preserve_host: route.preserve_host,
        idempotent: route.idempotent,
        reads_body: !conditions.models.is_empty()
            || prompt_key.is_some()
            || route.heartbeat.is_some_and(|it| it.commit_after_ms.is_some())
            || all().any(|target| target.model.is_some()),
        wishes: all()
            .any(|it| it.backend.gpu.is_some() || it.backend.ring.is_some() || it.backend.sessions.is_some()),
        sessions: all().any(|it| it.backend.sessions.is_some()),
        queues: all().any(|target| target.backend.admission.is_some()),
        prompt_key,
        catalogue: None,
        raw: all().all(|target| target.backend.engine == Engine::Http),
        hosted: all().any(|target| target.backend.hosting.is_some()),
        class: match route.class {
            snapshot::Class::Interactive => Class::Interactive,
            snapshot::Class::Default => Class::Default,
            snapshot::Class::Batch => Class::Batch,
        },
        conditions,
        fallback,
        targets: Targets { weight: list.iter().map(|target| target.weight).sum(), list },
    }
}

fn compile_match(matches: &snapshot::Match) -> Conditions {
    let path = match (&matches.path, &matches.path_prefix) {
        (Some(path), _) => PathCondition::Exact(path.as_str().into()),
        (None, Some(prefix)) => PathCondition::Prefix(prefix.as_str().into()),
        (None, None) => PathCondition::Any,
    };
    let header = |it: &snapshot::HeaderMatch| HeaderCondition {
        name: it.name.as_str().into(),
        value: Glob::new(&it.value),
    };
    Conditions {
        path,
        methods: matches.methods.iter().map(|method| method.as_str().into()).collect(),
        hosts: matches.hosts.iter().map(|host| compile_host(host)).collect(),
        headers: matches.headers.iter().map(header).collect(),
        models: matches.models.iter().map(|glob| Glob::new(glob)).collect(),
        clients: matches.client_cidrs.as_slice().into(),
    }
}

fn compile_host(host: &str) -> HostCondition {
    match host.strip_prefix('*') {
        Some(suffix) => HostCondition::Below(suffix.into()),
        None => HostCondition::Exact(host.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::testing;
    use super::*;

    fn fine() -> Snapshot {
        let mut ai = testing::backend("ai", "vllm", &["a:1", "b:2"]);
        ai.models = vec!["m".to_owned()];
        ai.credential =
            Some(snapshot::Credential { header: "authorization".into(), value: "Bearer s3cret".into() });
        let route = testing::route("chat", json!({"path": "/v1/chat/completions", "models": ["m-*"]}), "ai");
        testing::snapshot(vec![ai, testing::backend("raw", "http", &["r:1"])], vec![route])
    }

    /// Sets the value at this place of the snapshot's JSON and compiles it.
    fn with(at: &str, value: &Value) -> Result<Table, Vec<Problem>> {
        let mut document = serde_json::to_value(fine()).expect("a snapshot is JSON");
        let (parent, key) = at.rsplit_once('/').expect("a pointer");
        let parent = document.pointer_mut(parent).expect("a place in the snapshot");
        match parent {
            Value::Array(list) => list[key.parse::<usize>().expect("an index")] = value.clone(),
            _ => parent[key] = value.clone(),
        }
        let snapshot = serde_json::from_value(document).expect("still a snapshot by its types");
        Table::compile(&snapshot, &Cells::new())
    }

    #[test]
    fn a_right_snapshot_compiles_with_everything_looked_up() {
        let cells = Cells::new();
        let table = Table::compile(&fine(), &cells).expect("no problems");
        assert_eq!(table.generation().get(), 7);
        let names: Vec<_> = table.endpoints().map(|(_, endpoint)| endpoint.name.as_str()).collect();
        assert_eq!(names, ["ai/a:1", "ai/b:2", "raw/r:1"]);
        let route = &table.routes()[0];
        assert!(route.reads_body && !route.raw);
        assert!(Arc::ptr_eq(&route.targets.list[0].backend, &table.backends()[0]));
        assert_eq!(table.endpoint("raw/r:1").map(|it| it.slot.index), Some(2));
        let credential = table.backends()[0].credential.as_ref().expect("it has one");
        assert_eq!(&*credential.value, b"Bearer s3cret");
        assert!(!format!("{table:?}").contains("s3cret"), "a secret never shows");
    }

    #[test]
    fn a_reload_keeps_cells_and_slots_of_endpoints_that_stay() {
        let cells = Cells::new();
        let first = Table::compile(&fine(), &cells).expect("no problems");
        let _lease = crate::cells::Lease::take(&first.backends()[0].endpoints[0].cell);
        let mut next = fine();
        next.backends[0].endpoints[1].addresses = vec!["127.0.0.2:9".parse().expect("an address")];
        let second = Table::compile(&next, &cells).expect("no problems");
        let [kept, moved] = &*second.backends()[0].endpoints else { panic!("two endpoints") };
        assert_eq!((kept.slot, kept.cell.in_flight()), (first.backends()[0].endpoints[0].slot, 1));
        assert_ne!(moved.slot, first.backends()[0].endpoints[1].slot);
        drop(first);
        let third = Table::compile(&next, &cells).expect("no problems");
        assert_eq!(third.backends()[0].endpoints[1].slot, moved.slot);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (at, value, place) in [
            ("/format", json!(2), "format"),
            ("/listeners", json!([]), "listeners"),
            ("/listeners/0/timeouts/head_ms", json!(0), "listeners[0].timeouts.head_ms"),
            ("/admin", json!("127.0.0.1:8080"), "admin"),
            ("/limits/request_head", json!(1_000_000), "limits.request_head"),
            ("/limits/connections", json!(0), "limits.connections"),
            ("/logging/access", json!({"path": ""}), "logging.access.path"),
            ("/drain_timeout_ms", json!(86_400_001), "drain_timeout_ms"),
            ("/backends/1/name", json!("ai"), "backends[1].name"),
            ("/backends/1/name", json!("a b"), "backends[1].name"),
            ("/backends/1/dialect", json!("gemini"), "backends[1].dialect"),
            ("/backends/0/endpoints", json!([]), "backends[0].endpoints"),
            ("/backends/0/endpoints/1/authority", json!("a:1"), "backends[0].endpoints[1].authority"),
            ("/backends/0/endpoints/0/authority", json!("a:0"), "backends[0].endpoints[0].authority"),
            ("/backends/0/endpoints/0/authority", json!("u@a:1"), "backends[0].endpoints[0].authority"),
            ("/backends/0/endpoints/0/authority", json!("a:+1"), "backends[0].endpoints[0].authority"),
            ("/backends/0/endpoints/0/authority", json!("a\r\nb:1"), "backends[0].endpoints[0].authority"),
            ("/backends/0/endpoints/0/addresses", json!(["1.2.3.4:0"]), "backends[0].endpoints[0].addresses"),
            ("/backends/0/endpoints/0/addresses", json!(["0.0.0.0:1"]), "backends[0].endpoints[0].addresses"),
            ("/backends/0/endpoints/0/base_path", json!("/v1/"), "backends[0].endpoints[0].base_path"),
            ("/backends/0/endpoints/0/base_path", json!("v1"), "backends[0].endpoints[0].base_path"),
            ("/backends/0/endpoints/0/base_path", json!("/a/../b"), "backends[0].endpoints[0].base_path"),
            ("/backends/0/endpoints/0/weight", json!(0), "backends[0].endpoints[0].weight"),
            ("/backends/0/endpoints/0/weight", json!(1_001), "backends[0].endpoints[0].weight"),
            ("/backends/0/models", json!(["m", "a\"b"]), "backends[0].models[1]"),
            ("/backends/0/connect_timeout_ms", json!(0), "backends[0].connect_timeout_ms"),
            ("/backends/0/connections/idle_max", json!(70_000), "backends[0].connections.idle_max"),
            ("/backends/0/credential/header", json!("Authorization"), "backends[0].credential"),
            ("/backends/0/credential/header", json!("host"), "backends[0].credential"),
            ("/backends/0/credential/value", json!("Bearer s3cret\n"), "backends[0].credential"),
            ("/backends/0/credential/value", json!(""), "backends[0].credential"),
            ("/routes/0/name", json!(""), "routes[0].name"),
            ("/routes/0/match/path", json!("chat"), "routes[0].match.path"),
            ("/routes/0/match/path", json!("/a b"), "routes[0].match.path"),
            ("/routes/0/match/path", json!("/a?b"), "routes[0].match.path"),
            ("/routes/0/match", json!({"path": "/", "path_prefix": "/"}), "routes[0].match"),
            ("/routes/0/match", json!({"path_prefix": "//"}), "routes[0].match.path_prefix"),
            ("/routes/0/match/methods", json!(["GET", "post"]), "routes[0].match.methods[1]"),
            ("/routes/0/match/methods", json!(["TRACE"]), "routes[0].match.methods[0]"),
            ("/routes/0/match/methods", json!(["A B"]), "routes[0].match.methods[0]"),
            ("/routes/0/match/hosts", json!(["Example.com"]), "routes[0].match.hosts[0]"),
            ("/routes/0/match/hosts", json!(["example.com:80"]), "routes[0].match.hosts[0]"),
            ("/routes/0/match/hosts", json!(["a.*.com"]), "routes[0].match.hosts[0]"),
            ("/routes/0/match/models", json!(["m", ""]), "routes[0].match.models[1]"),
            (
                "/routes/0/match/headers",
                json!([{"name": "X", "value": "*"}]),
                "routes[0].match.headers[0].name",
            ),
            (
                "/routes/0/match/headers",
                json!([{"name": "x", "value": "\n"}]),
                "routes[0].match.headers[0].value",
            ),
            (
                "/backends/0/hosting",
                json!({"vertex": {"project": "p q", "location": "l"}}),
                "backends[0].hosting.vertex.project",
            ),
            (
                "/backends/0/hosting",
                json!({"bedrock": {"region": "r", "key": {"id": "a", "secret": "s3cret\n"}}}),
                "backends[0].hosting.bedrock.key.secret",
            ),
            ("/backends/0/tenants", json!({"header": "x-team"}), "backends[0].tenants"),
            ("/backends/0/lora", json!({"adapters": []}), "backends[0].lora.adapters"),
            ("/backends/0/lora", json!({"adapters": ["a", "b c"]}), "backends[0].lora.adapters[1]"),
            ("/backends/0/lora", json!({"adapters": ["a"], "slots": 0}), "backends[0].lora.slots"),
            ("/backends/0/sessions", json!({"ttl_ms": 0}), "backends[0].sessions.ttl_ms"),
            ("/backends/0/sessions", json!({"key": "s3cret\n"}), "backends[0].sessions.key"),
            ("/routes/0/targets", json!([]), "routes[0].targets"),
            ("/routes/0/targets/0/backend", json!("nobody"), "routes[0].targets[0].backend"),
            ("/routes/0/targets/0/weight", json!(0), "routes[0].targets"),
            ("/routes/0/targets/0/weight", json!(1_000_001), "routes[0].targets[0].weight"),
            ("/routes/0/targets/0/model", json!("a\u{0}"), "routes[0].targets[0].model"),
            ("/routes/0/targets/0", json!({"backend": "raw", "model": "x"}), "routes[0].targets[0].model"),
            ("/routes/0/timeouts/total_ms", json!(0), "routes[0].timeouts.total_ms"),
            ("/routes/0/retry/attempts", json!(4), "routes[0].retry.attempts"),
            ("/routes/0/retry/budget_percent", json!(101), "routes[0].retry.budget_percent"),
        ] {
            let problems = with(at, &value).expect_err(at);
            assert_eq!(problems[0].at, place, "{problems:?}");
            assert!(!format!("{problems:?}").contains("s3cret"), "a secret never shows: {problems:?}");
        }
    }

    #[test]
    fn tenants_are_named_by_a_header_and_have_shares() {
        let backend = |tenants: Value| {
            let mut backend = serde_json::to_value(&fine().backends[0]).expect("a backend is JSON");
            backend["admission"] = json!({});
            backend["tenants"] = tenants;
            with("/backends/0", &backend)
        };
        let weights = json!({"a b": 0, "c": 1_001, "d": 1, "e": 1_000});
        let problems = backend(json!({"header": "X-Team", "weights": weights})).expect_err("three are wrong");
        let places: Vec<&str> = problems.iter().map(|problem| &*problem.at).collect();
        let wrong =
            ["header", "weights.\"a b\"", "weights.\"c\""].map(|it| format!("backends[0].tenants.{it}"));
        assert_eq!(places, wrong, "{problems:?}");
        assert!(backend(json!({"header": "x-team", "weights": {"d": 1, "e": 1_000}})).is_ok());
    }

    #[test]
    fn values_at_the_edge_are_right() {
        for (at, value) in [
            ("/listeners/0/address", json!("[::]:0")),
            ("/backends/0/endpoints/0/authority", json!("[::1]:8000")),
            ("/backends/0/endpoints/0/authority", json!("model-1.example.com")),
            ("/backends/0/endpoints/0/addresses", json!([])),
            ("/backends/0/endpoints/0/base_path", json!("/v1")),
            ("/backends/0/endpoints/0/weight", json!(1_000)),
            ("/backends/0/models", json!(["org/model:latest@v1+x"])),
            ("/routes/0/match/hosts", json!(["*.example.com", "[::1]", "10.0.0.1"])),
            ("/routes/0/match/methods", json!(["GET", "PURGE", "M-SEARCH"])),
            ("/routes", json!([])),
        ] {
            assert!(with(at, &value).is_ok(), "{at} = {value}");
        }
    }

    #[test]
    fn all_problems_are_reported_in_document_order_up_to_a_bound() {
        let mut snapshot = fine();
        snapshot.backends[1].name = "ai".into();
        snapshot.routes[0].targets[0].backend = "x".into();
        snapshot.listeners.clear();
        let problems = Table::compile(&snapshot, &Cells::new()).expect_err("three problems");
        let places: Vec<_> = problems.iter().map(|problem| &*problem.at).collect();
        assert_eq!(places, ["listeners", "backends[1].name", "routes[0].targets[0].backend"]);

        snapshot.routes =
            (0..2 * PROBLEMS_MAX).map(|i| testing::route(&format!("r{i}"), json!({}), "x")).collect();
        let problems = Table::compile(&snapshot, &Cells::new()).expect_err("many problems");
        assert_eq!(problems.len(), PROBLEMS_MAX + 1);
        assert_eq!(problems.last().map(|last| &*last.what), Some("258 more problems"));
    }

    proptest! {
        /// CP-03: whatever a snapshot says, it compiles or is refused with reasons; nothing panics.
        #[test]
        fn any_snapshot_compiles_or_is_refused_with_reasons(
            text in "\\PC{0,12}|[a-z/*?.:\\[\\]%]{0,12}",
            number in prop_oneof![0..4_u32, any::<u32>()],
            place in 0..12_usize,
        ) {
            let mut snapshot = fine();
            let (backend, route) = (&mut snapshot.backends[0], &mut snapshot.routes[0]);
            match place {
                0 => backend.name = text,
                1 => backend.endpoints[0].authority = text,
                2 => backend.endpoints[0].base_path = text,
                3 => backend.endpoints[0].weight = number,
                4 => backend.models = vec![text],
                5 => backend.credential = Some(snapshot::Credential { header: text.clone(), value: text }),
                6 => route.matches.path = Some(text),
                7 => route.matches.hosts = vec![text],
                8 => route.matches.models = vec![text],
                9 => route.matches.headers = vec![snapshot::HeaderMatch { name: "x".into(), value: text }],
                10 => route.targets[0].weight = number,
                _ => route.targets[0].model = Some(text),
            }
            if let Err(problems) = Table::compile(&snapshot, &Cells::new()) {
                prop_assert!(!problems.is_empty());
            }
        }
    }
}
