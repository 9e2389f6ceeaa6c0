//! The configuration as it was written, each value with its place.
//!
//! Owns: [`FileConfig`], the first of the three forms, and the way to it: each value is well formed by
//! itself; nothing is looked up and no default is filled.
//! Must not: compare two values.
//! Read next: `resolve.rs`, which makes the second form of it.

use std::net::SocketAddr;

use ipnet::IpNet;
use ringway_contract::snapshot::{
    AccessLog, Balance, Capabilities, Class, Dialect, Engine, HalfClose, LogFormat, Orca, Order,
};
use ringway_contract::{Bytes, MicroDollars, Millis};

use super::decode::{Fields, Item, Place, Sink, Written};
use super::fields::{self, Section};
use super::hardware::Hardware;
use super::redact;
use super::report::Report;
use super::source::Source;
use super::values::{self, Fault, Url};
use super::yaml;
use crate::bounds::{PULSE_MS_MAX, PULSE_MS_MIN, WAIT_MS_MAX, WAIT_MS_MIN, WEIGHT_MAX};

/// What was written: known fields only. A required value is missing only while its file has errors.
#[derive(Clone, Debug, PartialEq)]
pub struct FileConfig {
    pub(super) listeners: Vec<Listener>,
    pub(super) admin: Option<Written<SocketAddr>>,
    pub(super) backends: Vec<Backend>,
    pub(super) routes: Vec<Route>,
    pub(super) models: Vec<Model>,
    pub(super) limits: Limits,
    pub(super) access: Access,
    pub(super) drain_timeout: Option<Written<Millis>>,
}

/// An address to accept on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listener {
    pub(super) address: Option<Written<SocketAddr>>,
    pub(super) head: Option<Written<Millis>>,
    pub(super) body_idle: Option<Written<Millis>>,
    pub(super) write_stall: Option<Written<Millis>>,
    pub(super) keep_alive: Option<Written<Millis>>,
    pub(super) handshake: Option<Written<Millis>>,
    pub(super) half_close: Option<Written<HalfClose>>,
    pub(super) trusted_proxies: Vec<Written<IpNet>>,
    pub(super) tls: Option<ListenerTls>,
}

/// What a listener shows to callers that speak TLS.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ListenerTls {
    pub(super) certificates: Vec<Certificate>,
    pub(super) client_ca: Option<Written<String>>,
}

/// A certificate and its key, by their files.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Certificate {
    pub(super) cert: Option<Written<String>>,
    pub(super) key: Option<Written<String>>,
}

/// Endpoints that serve the same models.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Backend {
    pub(super) name: Written<String>,
    pub(super) engine: Option<Written<Engine>>,
    pub(super) dialect: Option<Written<Dialect>>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) balance: Option<Written<Balance>>,
    pub(super) hardware: Hardware,
    pub(super) score: Score,
    pub(super) models: Vec<Written<String>>,
    pub(super) connect: Option<Written<Millis>>,
    pub(super) idle_max: Option<Written<u64>>,
    pub(super) idle_timeout: Option<Written<Millis>>,
    pub(super) max_age: Option<Written<Millis>>,
    pub(super) credential: Option<Written<SecretSource>>,
    pub(super) metrics: Option<Written<Watching>>,
    pub(super) health: Option<Written<Watching>>,
    pub(super) orca: Option<Written<Orca>>,
    pub(super) tls: Option<BackendTls>,
    pub(super) admission: Option<Admission>,
    pub(super) hosting: Option<Hosting>,
    pub(super) lora: Option<Lora>,
    pub(super) sessions: Option<Sessions>,
}

/// Tokens in the answers of a backend.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sessions {
    pub(super) ttl: Option<Written<Millis>>,
    pub(super) key: Option<Written<SecretSource>>,
}

/// LoRA adapters of a backend.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lora {
    pub(super) at: Place,
    pub(super) adapters: Vec<Written<String>>,
    pub(super) slots: Option<Written<u64>>,
}

/// Who hosts the models of a backend.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hosting {
    pub(super) at: Place,
    pub(super) azure: Option<Azure>,
    pub(super) vertex: Option<Vertex>,
    pub(super) bedrock: Option<Bedrock>,
}

/// Azure `OpenAI`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Azure {
    pub(super) api_version: Option<Written<String>>,
    pub(super) deployment: Option<Written<String>>,
}

/// Google Vertex AI.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Vertex {
    pub(super) project: Option<Written<String>>,
    pub(super) location: Option<Written<String>>,
    pub(super) service_account: Option<Written<String>>,
}

/// Amazon Bedrock.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bedrock {
    pub(super) region: Option<Written<String>>,
    pub(super) access_key_id: Option<Written<String>>,
    pub(super) session_token: Option<Written<SecretSource>>,
}

/// The queue in front of a backend.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Admission {
    pub(super) at: Place,
    pub(super) queue: Option<Written<u64>>,
    pub(super) queue_bytes: Option<Written<Bytes>>,
    pub(super) max_wait: Option<Written<Millis>>,
    /// Of each class: interactive, default, batch.
    pub(super) wait: [Option<Written<Millis>>; 3],
    pub(super) order: Option<Written<Order>>,
    pub(super) u_limit: Option<Written<Millis>>,
    pub(super) kv_limit: Option<Written<u32>>,
    pub(super) itl_limit: Option<Written<Millis>>,
    pub(super) ttft_slo: Option<Written<Millis>>,
    pub(super) tenants: Option<Tenants>,
}

/// Who shares a queue.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tenants {
    pub(super) header: Option<Written<String>>,
    pub(super) weights: Vec<(Written<String>, Written<u64>)>,
}

/// Whether and how something of each endpoint is looked at again and again.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Watching {
    Off,
    On { path: Option<Written<String>>, port: Option<Written<u64>>, interval: Option<Written<Millis>> },
}

/// Weights of `balance: gpu`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Score {
    pub(super) miss: Option<Written<u64>>,
    pub(super) in_flight: Option<Written<Millis>>,
    pub(super) kv: Option<Written<Millis>>,
    pub(super) adapter_load: Option<Written<Millis>>,
    pub(super) adapter_evict: Option<Written<Millis>>,
    pub(super) session: Option<Written<Millis>>,
    pub(super) gateways: Option<Written<u64>>,
    pub(super) media_tokens: Option<Written<u64>>,
}

/// How secure endpoints are spoken to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BackendTls {
    pub(super) at: Place,
    pub(super) ca: Option<Written<String>>,
    pub(super) server_name: Option<Written<String>>,
    pub(super) insecure_skip_verify: Option<Written<bool>>,
    pub(super) certificate: Option<Certificate>,
}

/// One address of a backend.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Endpoint {
    pub(super) url: Option<Written<Url>>,
    pub(super) hardware: Hardware,
    pub(super) weight: Option<Written<u64>>,
    pub(super) labels: Vec<(Written<String>, Written<String>)>,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SecretSource {
    Variable(String),
    File(String),
}

/// A rule from request to backends.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Route {
    pub(super) name: Option<Written<String>>,
    pub(super) matches: Match,
    pub(super) targets: Vec<Target>,
    /// Where the list of targets is.
    pub(super) targets_at: Place,
    pub(super) first_byte: Option<Written<Millis>>,
    pub(super) idle: Option<Written<Millis>>,
    pub(super) total: Option<Written<Millis>>,
    pub(super) attempts: Option<Written<u64>>,
    pub(super) budget: Option<Written<u32>>,
    pub(super) expose: Option<Written<bool>>,
    pub(super) strict: Option<Written<bool>>,
    pub(super) force_usage: Option<Written<bool>>,
    pub(super) preserve_host: Option<Written<bool>>,
    pub(super) idempotent: Option<Written<bool>>,
    /// Without weights.
    pub(super) fallback: Vec<Target>,
    pub(super) class: Option<Written<Class>>,
    pub(super) sample: Option<Written<u32>>,
    pub(super) heartbeat: Option<Heartbeat>,
    pub(super) hedge: Option<Hedge>,
}

/// When another endpoint is asked beside a slow one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hedge {
    pub(super) at: Place,
    /// A time; none of its own: `p95`.
    pub(super) after: Option<Written<Option<Millis>>>,
    pub(super) budget: Option<Written<u32>>,
}

/// How silent streams are kept open.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Heartbeat {
    pub(super) at: Place,
    pub(super) every: Option<Written<Millis>>,
    pub(super) commit_after: Option<Written<Millis>>,
}

/// Conditions on a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Match {
    pub(super) at: Place,
    pub(super) path: Option<Written<String>>,
    pub(super) path_prefix: Option<Written<String>>,
    pub(super) methods: Vec<Written<String>>,
    pub(super) hosts: Vec<Written<String>>,
    pub(super) headers: Vec<(Written<String>, Written<String>)>,
    pub(super) models: Vec<Written<String>>,
    pub(super) client_cidrs: Vec<Written<IpNet>>,
}

/// One destination of a route.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) at: Place,
    pub(super) backend: Option<Written<String>>,
    pub(super) weight: Option<Written<u64>>,
    pub(super) model: Option<Written<String>>,
}

/// What is known of a model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Model {
    pub(super) name: Option<Written<String>>,
    pub(super) display_name: Option<Written<String>>,
    pub(super) owner: Option<Written<String>>,
    pub(super) context: Option<Written<u64>>,
    pub(super) max_output: Option<Written<u64>>,
    pub(super) price: Option<Price>,
    pub(super) capabilities: Capabilities,
}

/// What a million tokens cost.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Price {
    pub(super) input: Option<Written<MicroDollars>>,
    pub(super) output: Option<Written<MicroDollars>>,
    pub(super) cache_read: Option<Written<MicroDollars>>,
    pub(super) cache_write: Option<Written<MicroDollars>>,
}

/// Bounds for the whole process.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Limits {
    pub(super) request_head: Option<Written<Bytes>>,
    pub(super) request_body: Option<Written<Bytes>>,
    pub(super) connections: Option<Written<u64>>,
}

/// The access log.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Access {
    pub(super) place: Option<Written<AccessLog>>,
    pub(super) format: Option<Written<LogFormat>>,
}

/// Decodes the text; every problem of it at once.
pub fn parse(source: &Source) -> Result<FileConfig, Report> {
    let sink = Sink::default();
    match decode(source, &sink) {
        Some(file) if !sink.has_errors() => Ok(file),
        Some(_) | None => Err(sink.into_report(source)),
    }
}

/// Decodes as much as can be understood. None: nothing can.
pub(super) fn decode(source: &Source, sink: &Sink) -> Option<FileConfig> {
    let root = yaml::read(&source.text, sink)?;
    sink.hide(redact::secrets(&root, false));
    let fields = Item::root(&root, sink).fields(&fields::FILE);
    fields.whole("version");
    Some(FileConfig {
        listeners: fields.items("listeners").iter().map(listener).collect(),
        admin: fields.section("admin").text("address", values::listen_address),
        backends: fields.entries("backends", values::name).into_iter().map(backend).collect(),
        routes: fields.items("routes").iter().map(route).collect(),
        models: fields.items("models").iter().map(model).collect(),
        limits: limits(&fields.section("limits")),
        access: access(&fields.section("logging")),
        drain_timeout: fields.section("state").duration("drain_timeout"),
    })
}

fn listener(item: &Item<'_>) -> Listener {
    let fields = item.fields(&fields::LISTENER);
    let timeouts = fields.section("timeouts");
    Listener {
        address: fields.text("address", values::listen_address),
        head: timeouts.duration("head"),
        body_idle: timeouts.duration("body_idle"),
        write_stall: timeouts.duration("write_stall"),
        keep_alive: timeouts.duration("keep_alive"),
        handshake: timeouts.duration("handshake"),
        half_close: fields.choice("half_close"),
        trusted_proxies: fields.texts("trusted_proxies", values::network),
        tls: fields.get("tls").map(|_| listener_tls(&fields.section("tls"))),
    }
}

fn listener_tls(fields: &Fields<'_>) -> ListenerTls {
    let certificates = fields.items("certificates");
    ListenerTls {
        certificates: certificates
            .iter()
            .map(|item| certificate(&item.fields(&fields::CERTIFICATE)))
            .collect(),
        client_ca: fields.text("client_ca", values::pem_file),
    }
}

fn certificate(fields: &Fields<'_>) -> Certificate {
    Certificate { cert: fields.text("cert", values::pem_file), key: fields.text("key", values::pem_file) }
}

fn backend((name, item): (Written<String>, Item<'_>)) -> Backend {
    let fields = item.fields(&fields::BACKEND);
    let connections = fields.section("connections");
    Backend {
        name,
        engine: fields.choice("engine"),
        dialect: fields.choice("dialect"),
        endpoints: fields.items("endpoints").iter().map(endpoint).collect(),
        balance: fields.choice("balance"),
        hardware: hardware(&fields),
        score: score(&fields.section("score")),
        models: fields.texts("models", values::model),
        connect: fields.section("timeouts").duration("connect"),
        idle_max: connections.whole("idle_max"),
        idle_timeout: connections.duration("idle_timeout"),
        max_age: connections.duration("max_age"),
        credential: fields.get("credential").and_then(|item| credential(&item)),
        metrics: fields.get("metrics").and_then(|item| watching(&item, &fields::METRICS)),
        health: fields.get("health").and_then(|item| watching(&item, &fields::HEALTH)),
        orca: fields.choice("orca"),
        tls: fields.get("tls").map(|item| backend_tls(item.at(), &fields.section("tls"))),
        admission: fields.get("admission").map(|item| admission(item.at(), &fields.section("admission"))),
        hosting: fields.get("hosting").map(|item| hosting(item.at(), &fields.section("hosting"))),
        lora: fields.get("lora").map(|item| lora(item.at(), &fields.section("lora"))),
        sessions: sessions(&fields),
    }
}

/// `true`, or how.
fn sessions(of: &Fields<'_>) -> Option<Sessions> {
    let item = of.get("sessions")?;
    if !item.is_map() {
        let on = of.flag("sessions")?.value;
        return on.then_some(Sessions { ttl: None, key: None });
    }
    let fields = item.fields(&fields::SESSIONS);
    Some(Sessions { ttl: fields.duration("ttl"), key: fields.get("key").and_then(|item| credential(&item)) })
}

fn lora(at: &Place, fields: &Fields<'_>) -> Lora {
    Lora {
        at: at.clone(),
        adapters: fields.texts("adapters", values::model_glob),
        slots: fields.whole("slots"),
    }
}

fn admission(at: &Place, fields: &Fields<'_>) -> Admission {
    let wait = fields.section("wait");
    Admission {
        at: at.clone(),
        queue: fields.whole("queue"),
        queue_bytes: fields.size("queue_bytes"),
        max_wait: fields.duration("max_wait"),
        wait: ["interactive", "default", "batch"].map(|class| wait.duration(class)),
        order: fields.choice("order"),
        u_limit: fields.duration("u_limit"),
        kv_limit: fields.percent("kv_limit"),
        itl_limit: fields.duration("itl_limit"),
        ttft_slo: fields.duration("ttft_slo"),
        tenants: fields.get("tenants").map(|_| tenants(&fields.section("tenants"))),
    }
}

fn tenants(fields: &Fields<'_>) -> Tenants {
    let weights = fields.entries("weights", values::tenant).into_iter();
    Tenants {
        header: fields.text("header", values::header_name),
        weights: weights
            .filter_map(|(tenant, item)| item.whole(1, WEIGHT_MAX).map(|weight| (tenant, weight)))
            .collect(),
    }
}

fn hosting(at: &Place, fields: &Fields<'_>) -> Hosting {
    let (azure, vertex, bedrock) =
        (fields.section("azure"), fields.section("vertex"), fields.section("bedrock"));
    Hosting {
        at: at.clone(),
        azure: fields.get("azure").map(|_| Azure {
            api_version: azure.text("api_version", values::name),
            deployment: azure.text("deployment", values::model),
        }),
        vertex: fields.get("vertex").map(|_| Vertex {
            project: vertex.text("project", values::name),
            location: vertex.text("location", values::name),
            service_account: vertex.text("service_account", values::file),
        }),
        bedrock: fields.get("bedrock").map(|_| Bedrock {
            region: bedrock.text("region", values::name),
            access_key_id: bedrock.text("access_key_id", values::name),
            session_token: bedrock.get("session_token").and_then(|item| credential(&item)),
        }),
    }
}

fn backend_tls(at: &Place, fields: &Fields<'_>) -> BackendTls {
    BackendTls {
        at: at.clone(),
        ca: fields.text("ca", values::pem_file),
        server_name: fields.text("server_name", values::server_name),
        insecure_skip_verify: fields.flag("insecure_skip_verify"),
        certificate: fields.get("certificate").map(|_| certificate(&fields.section("certificate"))),
    }
}

fn endpoint(item: &Item<'_>) -> Endpoint {
    if !item.is_map() {
        let (weight, hardware, labels) = (None, Hardware::default(), Vec::new());
        return Endpoint { url: item.text(values::url), hardware, weight, labels };
    }
    let fields = item.fields(&fields::ENDPOINT);
    Endpoint {
        url: fields.text("url", values::url),
        hardware: hardware(&fields),
        weight: fields.whole("weight"),
        labels: pairs(&fields, "labels", values::name, values::line),
    }
}

fn hardware(of: &Fields<'_>) -> Hardware {
    let fields = of.section("hardware");
    Hardware {
        preset: fields.choice("preset"),
        prefill_tokens_per_s: fields.whole("prefill_tokens_per_s"),
        kv_tokens: fields.whole("kv_tokens"),
    }
}

fn score(fields: &Fields<'_>) -> Score {
    Score {
        miss: fields.whole("miss"),
        in_flight: fields.duration("in_flight"),
        kv: fields.duration("kv"),
        adapter_load: fields.duration("adapter_load"),
        adapter_evict: fields.duration("adapter_evict"),
        session: fields.duration("session"),
        gateways: fields.whole("gateways"),
        media_tokens: fields.whole("media_tokens"),
    }
}

/// `off`, or how.
fn watching(item: &Item<'_>, section: &'static Section) -> Option<Written<Watching>> {
    if !item.is_map() {
        return item.text(|text| match text {
            "off" => Ok(Watching::Off),
            other => Err(Fault::new(format!("expected `off` or a mapping, found {}", values::quoted(other)))),
        });
    }
    let fields = item.fields(section);
    let has_port = section.fields.iter().any(|field| field.name == "port");
    let port = if has_port { fields.whole("port") } else { None };
    let value = Watching::On {
        path: fields.text("path", values::question),
        port,
        interval: fields.duration("interval"),
    };
    Some(Written { value, at: item.at().clone() })
}

fn credential(item: &Item<'_>) -> Option<Written<SecretSource>> {
    let path = &item.at().path;
    let name = path.rsplit('.').next().unwrap_or(path);
    let shape = || format!("write `{name}: {{env: NAME}}` or `{name}: {{file: PATH}}`");
    if !item.is_map() {
        item.error(Fault::new("a secret never stands in this file").mend(shape()));
        return None;
    }
    let fields = item.fields(&fields::CREDENTIAL);
    let env = fields.text("env", values::variable).map(|env| env.map(SecretSource::Variable));
    let file = fields.text("file", values::file).map(|file| file.map(SecretSource::File));
    match (fields.get("env"), fields.get("file")) {
        (Some(_), Some(_)) => {
            item.error(Fault::new("a credential comes from one place").mend("keep `env` or `file`"));
        }
        (None, None) => {
            item.error(Fault::new("a credential needs its place").mend(shape()));
        }
        (Some(_), None) | (None, Some(_)) => return env.or(file),
    }
    None
}

fn route(item: &Item<'_>) -> Route {
    let fields = item.fields(&fields::ROUTE);
    let timeouts = fields.section("timeouts");
    let retry = fields.section("retry");
    Route {
        name: fields.text("name", values::name),
        matches: matches(&fields),
        targets: fields.items("targets").iter().map(target).collect(),
        targets_at: fields.get("targets").map_or_else(|| item.at().clone(), |item| item.at().clone()),
        first_byte: timeouts.duration("first_byte"),
        idle: timeouts.duration("idle"),
        total: timeouts.duration("total"),
        attempts: retry.whole("attempts"),
        budget: retry.percent("budget"),
        expose: fields.flag("expose"),
        strict: fields.flag("strict"),
        force_usage: fields.flag("force_usage"),
        preserve_host: fields.flag("preserve_host"),
        idempotent: fields.flag("idempotent"),
        fallback: fields.items("fallback").iter().map(fallback).collect(),
        class: fields.choice("class"),
        sample: fields.section("trace").percent("sample"),
        heartbeat: fields.get("heartbeat").map(|item| heartbeat(&item)),
        hedge: fields.get("hedge").map(|item| hedge(item.at(), &fields.section("hedge"))),
    }
}

fn hedge(at: &Place, fields: &Fields<'_>) -> Hedge {
    let after = fields.get("after").and_then(|item| match item.text(|text| Ok(text == "p95")) {
        Some(Written { value: true, at }) => Some(Written { value: None, at }),
        _ => item.duration(WAIT_MS_MIN, WAIT_MS_MAX).map(|span| span.map(Some)),
    });
    Hedge { at: at.clone(), after, budget: fields.percent("budget") }
}

/// How often, or more than that.
fn heartbeat(item: &Item<'_>) -> Heartbeat {
    let at = item.at().clone();
    if !item.is_map() {
        return Heartbeat { at, every: item.duration(PULSE_MS_MIN, PULSE_MS_MAX), commit_after: None };
    }
    let fields = item.fields(&fields::HEARTBEAT);
    Heartbeat { at, every: fields.duration("every"), commit_after: fields.duration("commit_after") }
}

fn matches(route: &Fields<'_>) -> Match {
    let fields = route.section("match");
    if let Some(item) = route.get("match")
        && item.is_empty_map()
    {
        item.error(
            Fault::new("a match without a condition").mend("write `{path_prefix: /}` to match everything"),
        );
    }
    if let (Some(_), Some(prefix)) = (fields.get("path"), fields.get("path_prefix")) {
        prefix.error(Fault::new("`path` and `path_prefix` in one match").mend("keep one of them"));
    }
    Match {
        at: fields.at().clone(),
        path: fields.text("path", values::path),
        path_prefix: fields.text("path_prefix", values::path_prefix),
        methods: fields.texts("method", values::method),
        hosts: fields.texts("host", values::host),
        headers: pairs(&fields, "headers", values::matched_header, values::header_glob),
        models: fields.texts("model", values::model_glob),
        client_cidrs: fields.texts("client_cidr", values::network),
    }
}

fn target(item: &Item<'_>) -> Target {
    let fields = item.fields(&fields::TARGET);
    Target {
        at: item.at().clone(),
        backend: fields.text("backend", values::name),
        weight: fields.whole("weight"),
        model: fields.text("model", values::alias),
    }
}

fn fallback(item: &Item<'_>) -> Target {
    let fields = item.fields(&fields::FALLBACK);
    Target {
        at: item.at().clone(),
        backend: fields.text("backend", values::name),
        weight: None,
        model: fields.text("model", values::alias),
    }
}

fn model(item: &Item<'_>) -> Model {
    let fields = item.fields(&fields::MODEL_ENTRY);
    Model {
        name: fields.text("name", values::model_glob),
        display_name: fields.text("display_name", values::title),
        owner: fields.text("owner", values::title),
        context: fields.whole("context"),
        max_output: fields.whole("max_output"),
        price: fields.get("price").map(|_| price(&fields.section("price"))),
        capabilities: capabilities(&fields.section("capabilities")),
    }
}

fn price(fields: &Fields<'_>) -> Price {
    let money = |name| fields.text(name, values::money);
    Price {
        input: money("input"),
        output: money("output"),
        cache_read: money("cache_read"),
        cache_write: money("cache_write"),
    }
}

/// Nothing is looked up in these, so they need no place.
fn capabilities(fields: &Fields<'_>) -> Capabilities {
    let flag = |name| fields.flag(name).map(|flag| flag.value);
    Capabilities {
        images: flag("images"),
        image_urls: flag("image_urls"),
        audio: flag("audio"),
        documents: flag("documents"),
        tools: flag("tools"),
        json_schema: flag("json_schema"),
        reasoning: fields.choice("reasoning").map(|word| word.value),
    }
}

fn limits(fields: &Fields<'_>) -> Limits {
    Limits {
        request_head: fields.size("request_head"),
        request_body: fields.size("request_body"),
        connections: fields.whole("connections"),
    }
}

fn access(logging: &Fields<'_>) -> Access {
    match logging.get("access") {
        None => Access::default(),
        Some(item) if item.is_map() => {
            let fields = item.fields(&fields::ACCESS);
            Access { place: fields.text("path", log_place), format: fields.choice("format") }
        }
        Some(item) => Access { place: item.text(log_place), format: None },
    }
}

fn log_place(text: &str) -> Result<AccessLog, Fault> {
    match text {
        "stdout" => Ok(AccessLog::Stdout),
        "off" => Ok(AccessLog::Off),
        path if path.starts_with('/') => values::file_absolute(path).map(AccessLog::Path),
        other => {
            let fault = Fault::new(format!("{} is no place for a log", values::quoted(other)));
            Err(fault.mend(match other {
                "false" | "none" | "no" => "write `off`",
                "json" | "text" => "the format stands beside it: `access: {path: stdout, format: json}`",
                _ => "an absolute path, `stdout` or `off`",
            }))
        }
    }
}

/// A mapping with free keys to texts.
fn pairs(
    fields: &Fields<'_>,
    name: &str,
    key: fn(&str) -> Result<String, Fault>,
    value: fn(&str) -> Result<String, Fault>,
) -> Vec<(Written<String>, Written<String>)> {
    let entries = fields.entries(name, key).into_iter();
    entries.filter_map(|(key, item)| item.text(value).map(|value| (key, value))).collect()
}
