//! Compiles a snapshot into a table, or says everything that is wrong with it.
//!
//! Owns: the checks between parts (names that must exist, be unique, add up) and the order of problems, which
//! is the document's. A snapshot is an allegation: nothing here trusts that the control plane checked it.
//! Must not: do I/O, or run on a worker.
//! Read next: [`super::check`], the checks of single values.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::sync::Arc;

use ringway_contract::snapshot::{self, Engine, FORMAT, Snapshot};
use ringway_contract::{Generation, Millis, Problem};

use super::check::{self, Wrong, wrong};
use super::glob::Glob;
use super::index::Index;
use super::matching::{Conditions, HeaderCondition, HostCondition, PathCondition};
use super::models::Offers;
use super::{Backend, Credential, Endpoint, Route, Table, Target, Targets, Timeouts};
use crate::balance;
use crate::bounds::{
    ADDRESSES_MAX, ATTEMPTS_MAX, BACKENDS_MAX, BODY_BYTES_MAX, CONDITION_VALUES_MAX, ENDPOINT_WEIGHT_MAX,
    ENDPOINTS_MAX, HEAD_BYTES_MAX, HEAD_BYTES_MIN, IDLE_CONNECTIONS_MAX, LISTENERS_MAX, MODELS_MAX,
    OFFERS_MAX, PROBLEMS_MAX, ROUTES_MAX, TARGET_WEIGHT_MAX, TARGETS_MAX,
};
use crate::cells::Cells;
use crate::names::Name;

impl Table {
    /// The table before the first snapshot: it listens nowhere and serves nothing.
    pub fn empty() -> Self {
        Self {
            generation: Generation::NONE,
            listeners: Box::default(),
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

    /// The table of this snapshot; or all problems, in document order.
    pub fn compile(snapshot: &Snapshot, cells: &Cells) -> Result<Self, Vec<Problem>> {
        let mut found = Found::default();
        check_process(snapshot, &mut found);
        check_backends(&snapshot.backends, &mut found);
        check_routes(snapshot, &mut found);
        found.end()?;

        // Nothing below can fail: names are interned and cells taken only for a snapshot that will run.
        let backends = compile_backends(&snapshot.backends, cells);
        let routes = compile_routes(&snapshot.routes, &backends);
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
        ] {
            found.check(format_args!("listeners[{i}].timeouts.{field}"), check::timeout(ms.get()));
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
        found.check(format_args!("{at}.model"), check::model(model));
        if backend.is_some_and(|backend| backend.engine == Engine::Http) {
            let what = "engine http passes bodies as they are; it cannot put another model in";
            found.add(format_args!("{at}.model"), wrong(what, "leave the model out, or name the engine"));
        }
    }
}

fn compile_backends(backends: &[snapshot::Backend], cells: &Cells) -> Vec<Arc<Backend>> {
    backends.iter().map(|backend| Arc::new(compile_backend(backend, cells))).collect()
}

fn compile_backend(backend: &snapshot::Backend, cells: &Cells) -> Backend {
    let endpoints: Box<[Endpoint]> =
        backend.endpoints.iter().map(|endpoint| compile_endpoint(&backend.name, endpoint, cells)).collect();
    let (cumulative, stride) = balance::rotation(endpoints.iter().map(|endpoint| endpoint.weight));
    let credential = backend.credential.as_ref().map(|credential| Credential {
        header: credential.header.as_bytes().into(),
        value: credential.value.as_bytes().into(),
    });
    Backend {
        name: Name::intern(&backend.name),
        engine: backend.engine,
        dialect: backend.dialect,
        endpoints,
        balance: backend.balance,
        models: backend.models.iter().map(|model| model.as_str().into()).collect(),
        connect_timeout_ms: backend.connect_timeout_ms.get(),
        connections: backend.connections,
        credential,
        cumulative,
        stride,
        turn: cells.turn(&backend.name),
    }
}

fn compile_endpoint(backend: &str, endpoint: &snapshot::Endpoint, cells: &Cells) -> Endpoint {
    let name = format!("{backend}/{}", endpoint.authority);
    let hold = cells.slot(&name, &endpoint.addresses);
    Endpoint {
        name: Name::intern(&name),
        slot: hold.slot(),
        authority: endpoint.authority.as_str().into(),
        addresses: endpoint.addresses.as_slice().into(),
        base_path: endpoint.base_path.as_str().into(),
        weight: endpoint.weight,
        cell: cells.cell(&name),
        drained: endpoint.drained,
        _hold: hold,
    }
}

fn compile_routes(routes: &[snapshot::Route], backends: &[Arc<Backend>]) -> Vec<Route> {
    let by_name: HashMap<&str, &Arc<Backend>> =
        backends.iter().map(|backend| (backend.name.as_str(), backend)).collect();
    routes.iter().enumerate().map(|(order, route)| compile_route(order as u32, route, &by_name)).collect()
}

fn compile_route(order: u32, route: &snapshot::Route, backends: &HashMap<&str, &Arc<Backend>>) -> Route {
    let list: Box<[Target]> = route
        .targets
        .iter()
        .map(|target| Target {
            backend: Arc::clone(backends[&*target.backend]), // looked up by `check_targets`
            weight: target.weight,
            model: target.model.as_deref().map(Into::into),
        })
        .collect();
    let conditions = compile_match(&route.matches);
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
        preserve_host: route.preserve_host,
        idempotent: route.idempotent,
        reads_body: !conditions.models.is_empty() || list.iter().any(|target| target.model.is_some()),
        raw: list.iter().all(|target| target.backend.engine == Engine::Http),
        conditions,
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
