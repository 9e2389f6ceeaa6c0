//! One complete configuration, resolved: every default filled, every name looked up, every address literal.
//!
//! The control plane assembles it, the data plane compiles it into its table. Lists keep the order of the
//! file; names are unique within their list. The data plane checks a snapshot again (a snapshot is an
//! allegation until compiled), so both planes may be of different versions.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use crate::catalogue::{Capabilities, Model, Price, Reasoning};
pub use crate::hosting::{AwsKey, Hosting};
use crate::numbers::{Bytes, Generation, Millis};

/// The `format` that this version writes and reads.
pub const FORMAT: u32 = 1;

/// One complete configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Layout of this document: [`FORMAT`].
    pub format: u32,
    /// Its number. A `PUT` may leave it 0: the data plane then numbers it after the running one.
    #[serde(default)]
    pub generation: Generation,
    /// Addresses to accept on.
    pub listeners: Vec<Listener>,
    /// Address of `/healthz /livez /readyz /metrics`; none: control socket only.
    #[serde(default)]
    pub admin: Option<SocketAddr>,
    /// Groups of endpoints that serve the same models.
    pub backends: Vec<Backend>,
    /// Rules from request to backends; the first match wins.
    pub routes: Vec<Route>,
    /// What is known of models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Model>,
    /// Bounds that the operator sets for the whole process.
    #[serde(default)]
    pub limits: Limits,
    /// The access log.
    #[serde(default)]
    pub logging: Logging,
    /// How long a drain may take.
    #[serde(default = "default_drain")]
    pub drain_timeout_ms: Millis,
}

fn default_drain() -> Millis {
    Millis::from_secs(30)
}

/// One address to accept on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Where to accept.
    pub address: SocketAddr,
    /// How long a caller may take for what.
    #[serde(default)]
    pub timeouts: ListenerTimeouts,
    /// Whether a caller that shuts its sending side still gets its answer (spec: default is that it left).
    #[serde(default)]
    pub half_close: HalfClose,
    /// Peers whose `x-forwarded-*` are believed; from others they are replaced.
    #[serde(default)]
    pub trusted_proxies: Vec<IpNet>,
    /// Callers speak TLS; none: plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
}

/// What a listener shows to callers that speak TLS. Files are named, not carried: the data plane reads them itself, so
/// that a key is in its file and nowhere else, and reads them again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// Chosen by the name a caller asks for; one that no certificate has gets the first. At least one.
    pub certificates: Vec<CertificateFiles>,
    /// PEM file of the authorities that a caller's certificate must be signed by; none: callers need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<String>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// PEM file of the certificate, then those that it is signed with.
    pub cert: String,
    /// PEM file of its key.
    pub key: String,
}

/// What a FIN from the caller behind a complete request means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HalfClose {
    /// The caller is gone: cancel upstream at once.
    #[default]
    Gone,
    /// The caller still reads: go on until a write fails.
    Allow,
}

/// How long a caller may take for what, on one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerTimeouts {
    /// From the first byte of a request head to its last.
    pub head_ms: Millis,
    /// Between two reads of a request body.
    pub body_idle_ms: Millis,
    /// For one write to make progress.
    pub write_stall_ms: Millis,
    /// Between two requests.
    pub keep_alive_ms: Millis,
    /// For a TLS handshake.
    #[serde(default = "default_handshake")]
    pub handshake_ms: Millis,
}

fn default_handshake() -> Millis {
    Millis::from_secs(10)
}

impl Default for ListenerTimeouts {
    fn default() -> Self {
        Self {
            head_ms: Millis::from_secs(10),
            body_idle_ms: Millis::from_secs(30),
            write_stall_ms: Millis::from_secs(60),
            keep_alive_ms: Millis::from_secs(75),
            handshake_ms: default_handshake(),
        }
    }
}

/// What kind of server an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "product names")]
pub enum Engine {
    Vllm,
    Sglang,
    Trtllm,
    Triton,
    Lmdeploy,
    Tgi,
    Llamacpp,
    Openai,
    Anthropic,
    Gemini,
    /// Any HTTP server: a plain reverse proxy, nothing is read as JSON.
    Http,
}

/// The grammar a backend speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// OpenAI chat completions, completions, embeddings.
    OpenaiChat,
    /// OpenAI responses.
    OpenaiResponses,
    /// Anthropic messages.
    AnthropicMessages,
    /// Google Gemini `generateContent`.
    Gemini,
    /// No model dialect: `engine: http`.
    Http,
}

/// How a backend chooses among its endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The endpoint with the fewest requests in flight, weighted; ties rotate.
    #[default]
    LeastRequests,
    /// The less loaded of two drawn at random.
    P2c,
    /// In turn, by weight.
    RoundRobin,
    /// Where the request costs least: by what waits there, the prompt's prefix in its cache, and memory in use.
    Gpu,
    /// By a hash of the prompt's beginning, or of the path; an endpoint that has too much to do is passed over.
    Hash,
}

/// What the parts of the cost weigh in `balance: gpu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Score {
    /// How often a token counts that is not expected in the endpoint's cache.
    pub miss: u32,
    /// For each request in flight.
    pub in_flight_ms: Millis,
    /// For `k/(1 - k)`, where `k` is the share of the KV cache in use.
    pub kv_ms: Millis,
    /// Where the LoRA adapter that is asked for has to be loaded, and a slot is free.
    pub adapter_load_ms: Millis,
    /// Where it has to be loaded, and another one has to go.
    pub adapter_evict_ms: Millis,
    /// Taken off where the session of the caller was before.
    pub session_ms: Millis,
    /// Processes like this one that send to the same endpoints.
    pub gateways: u32,
    /// Tokens that an image or a sound counts as.
    pub media_tokens: u32,
}

impl Default for Score {
    fn default() -> Self {
        Self {
            miss: 2,
            in_flight_ms: Millis::new(20),
            kv_ms: Millis::new(150),
            adapter_load_ms: Millis::new(50),
            adapter_evict_ms: Millis::new(300),
            session_ms: Millis::new(200),
            gateways: 1,
            media_tokens: 1_000,
        }
    }
}

/// What an endpoint can do, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hardware {
    /// Prompt tokens it computes a second.
    pub prefill_tokens_per_s: Option<u64>,
    /// Tokens its KV cache holds.
    pub kv_tokens: Option<u64>,
}

/// Endpoints that serve the same models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Unique among backends.
    pub name: String,
    /// What kind of server its endpoints are.
    pub engine: Engine,
    /// The grammar they speak.
    pub dialect: Dialect,
    /// Where they are; at least one.
    pub endpoints: Vec<Endpoint>,
    /// How one of them is chosen.
    #[serde(default)]
    pub balance: Balance,
    /// Weights of `balance: gpu`.
    #[serde(default)]
    pub score: Score,
    /// Models they serve, for `GET /v1/models`; empty: what the routes name literally.
    #[serde(default)]
    pub models: Vec<String>,
    /// How long a connection may take to be made, the TLS handshake included.
    #[serde(default = "default_connect")]
    pub connect_timeout_ms: Millis,
    /// How secure endpoints are spoken to; none: as [`BackendTls::default`] says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// What is kept between requests.
    #[serde(default)]
    pub connections: Connections,
    /// A secret sent with each request, in the form the engine expects.
    #[serde(default)]
    pub credential: Option<Credential>,
    /// When the credential ends, in seconds since 1970; none: not that anybody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_until_s: Option<u64>,
    /// Whether each answer is asked for the server's load, and in which form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orca: Option<Orca>,
    /// The queue in front of it; none: requests go to endpoints at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admission: Option<Admission>,
    /// Who shares that queue; none: all callers are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Tenants>,
    /// Who hosts its models, if not who makes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosting: Option<Hosting>,
    /// Its LoRA adapters; none: models are all it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
    /// How its answers tell callers where they came from, so that they may be sent there again; none: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Sessions>,
}

/// Tokens in answers, by which callers are preferably sent where they were before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// How long a token holds.
    #[serde(default = "default_session")]
    pub ttl_ms: Millis,
    /// What they are authenticated with, where processes are to take each other's tokens; none: a secret of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { ttl_ms: default_session(), key: None }
    }
}

fn default_session() -> Millis {
    Millis::from_secs(600)
}

/// LoRA adapters that a backend's servers load when they are asked for. Requests name one as their model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lora {
    /// Globs on their names, as the backend is asked for them; at least one.
    pub adapters: Vec<String>,
    /// How many each server holds at the same time; none: what it reports, and one until it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
}

impl Backend {
    /// Whether each of its endpoints is one of another's, by scheme, host and port, and has to prove that in the same way:
    /// then what is secret between the other and its servers may go to them, and to nobody else (SEC-KEY-04).
    pub fn leads_only_where(&self, other: &Self) -> bool {
        let is_others = |endpoint: &Endpoint| {
            let place = |it: &Endpoint| (it.secure, it.authority.to_ascii_lowercase());
            other.endpoints.iter().any(|one| place(one) == place(endpoint))
        };
        self.tls == other.tls && self.endpoints.iter().all(is_others)
    }

    /// Its secrets, each with its place.
    pub fn secrets(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let credential = self.credential.as_ref().map(|it| ("credential.value", &it.value));
        let key = match &self.hosting {
            Some(Hosting::Bedrock { key, .. }) => key.as_ref(),
            Some(Hosting::Azure { .. } | Hosting::Vertex { .. }) | None => None,
        };
        let token = key.and_then(|key| Some((SESSION_TOKEN, key.session_token.as_ref()?)));
        let session = self.sessions.as_ref().and_then(|it| Some((SESSION_KEY, it.key.as_ref()?)));
        [credential, key.map(|key| (SIGNING_SECRET, &key.secret)), token, session].into_iter().flatten()
    }

    /// The same, to be changed.
    pub fn secrets_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut String)> {
        let credential = self.credential.as_mut().map(|it| ("credential.value", &mut it.value));
        let (secret, token) = match &mut self.hosting {
            Some(Hosting::Bedrock { key: Some(key), .. }) => (
                Some((SIGNING_SECRET, &mut key.secret)),
                key.session_token.as_mut().map(|token| (SESSION_TOKEN, token)),
            ),
            Some(Hosting::Bedrock { key: None, .. } | Hosting::Azure { .. } | Hosting::Vertex { .. })
            | None => (None, None),
        };
        let session = self.sessions.as_mut().and_then(|it| Some((SESSION_KEY, it.key.as_mut()?)));
        [credential, secret, token, session].into_iter().flatten()
    }
}

const SESSION_KEY: &str = "sessions.key";
const SIGNING_SECRET: &str = "hosting.bedrock.key.secret";
const SESSION_TOKEN: &str = "hosting.bedrock.key.session_token";

/// The queue in front of a backend, and what opens its endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admission {
    /// Requests that may wait.
    pub queue: u32,
    /// Bytes of body that may be held for them.
    pub queue_bytes: Bytes,
    /// How long a request of each class may wait: interactive, default, batch.
    pub wait_ms: [Millis; 3],
    /// The order in which they go.
    pub order: Order,
    /// An endpoint is open while its prompts take less than this to be computed.
    pub u_limit_ms: Millis,
    /// And while less of its KV cache is in use, in percent.
    pub kv_limit_percent: u32,
    /// And while its streams have a shorter gap between tokens; none: not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub itl_limit_ms: Option<Millis>,
    /// A request that cannot have its first token within this is refused as soon as that is certain; none: it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_slo_ms: Option<Millis>,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            queue: 1_024,
            queue_bytes: Bytes::from_kib(256 * 1_024),
            wait_ms: [Millis::from_secs(1), Millis::from_secs(10), Millis::from_secs(60)],
            order: Order::Aged,
            u_limit_ms: Millis::new(500),
            kv_limit_percent: 80,
            itl_limit_ms: None,
            ttft_slo_ms: None,
        }
    }
}

/// How callers that share a queue are told apart, and the share of each while they wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenants {
    /// The field of requests that names the tenant, in lower case. Requests without it are one tenant more.
    pub header: String,
    /// Shares relative to the others, of those that do not have 1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, u32>,
}

/// In which order waiting requests go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Short prompts first; waiting makes up for length.
    #[default]
    Aged,
    /// The oldest first.
    Fifo,
}

/// A form of the `endpoint-load-metrics` field of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Orca {
    /// `name=value` pairs.
    Text,
    /// A JSON object.
    Json,
}

fn default_connect() -> Millis {
    Millis::from_secs(2)
}

/// How a backend's secure endpoints are spoken to. By default they prove to be the host of their URL, to the
/// authorities that the system trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendTls {
    /// PEM file of the authorities that count instead of the system's, or of the endpoint's own certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The name that is asked for and must be in the certificate, instead of the URL's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Whoever answers is taken for the endpoint.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
    /// What we show an endpoint that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateFiles>,
}

/// One address that serves a backend's models. Its name, unique in the process, is `backend/authority`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// `host:port` as configured: the name in logs and metrics, and the `Host` sent.
    pub authority: String,
    /// Where it resolves to now. May be empty when a name did not resolve: then no request goes there.
    pub addresses: Vec<SocketAddr>,
    /// Speaks TLS: `https`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secure: bool,
    /// Put before every path; empty or `/v1` without a final slash.
    #[serde(default)]
    pub base_path: String,
    /// Its share relative to its siblings, 1 to 1000.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// What it can do; for `balance: gpu`.
    #[serde(default)]
    pub hardware: Hardware,
    /// Takes no new requests.
    #[serde(default)]
    pub drained: bool,
    /// Free-form labels of the operator.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

fn default_weight() -> u32 {
    1
}

/// What is kept of upstream connections between requests, per endpoint and worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connections {
    /// How many idle ones.
    pub idle_max: u32,
    /// How long an idle one.
    pub idle_timeout_ms: Millis,
    /// How long any.
    pub max_age_ms: Millis,
}

impl Default for Connections {
    fn default() -> Self {
        Self { idle_max: 256, idle_timeout_ms: Millis::from_secs(60), max_age_ms: Millis::from_secs(3_600) }
    }
}

/// A secret header, bound to its backend. Its value never shows in `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Lower-case field name: `authorization`, `x-api-key`, `x-goog-api-key`.
    pub header: String,
    /// The whole field value, `Bearer ` included where it belongs.
    pub value: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("header", &self.header).field("value", &"redacted").finish()
    }
}

/// A rule from request to backends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent settings of the operator, each named where it is set"
)]
pub struct Route {
    /// Unique among routes.
    pub name: String,
    /// What it matches; all given conditions must hold.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Where it sends, by weight; at least one.
    pub targets: Vec<Target>,
    /// How long the exchange may take for what.
    #[serde(default)]
    pub timeouts: RouteTimeouts,
    /// When a failed attempt is tried again.
    #[serde(default)]
    pub retry: Retry,
    /// Whether answers carry `x-ringway-*` and `server-timing`.
    #[serde(default)]
    pub expose: bool,
    /// Refuses a request of which a translation would lose something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// Asks for usage in streams of Chat Completions whose caller did not, and keeps it from the caller.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_usage: bool,
    /// Sends the caller's `Host` on instead of the endpoint's.
    #[serde(default)]
    pub preserve_host: bool,
    /// POST on this route may be repeated like GET.
    #[serde(default)]
    pub idempotent: bool,
    /// Where it sends when no target takes the request, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<Fallback>,
    /// How urgent its requests are while they wait.
    #[serde(default)]
    pub class: Class,
    /// Of how many of its requests it is kept how they were routed.
    #[serde(default, skip_serializing_if = "Tracing::is_off")]
    pub trace: Tracing,
    /// Whether silent streams are kept open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,
    /// Whether another endpoint is asked beside a slow one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
}

/// How callers of streams are told that somebody is there while nothing comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// How long a stream may be silent.
    pub every_ms: Millis,
    /// When the status of a stream is committed although no answer has come; none: not before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_after_ms: Option<Millis>,
}

/// A second attempt beside a slow first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hedge {
    /// When no head has come for so long; none: longer than nineteen of twenty took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<Millis>,
    /// How many, as a share of the requests of the last ten seconds, in percent.
    pub budget_percent: u32,
}

/// Of which requests of a route it is kept how they were routed, beside those whose callers ask for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tracing {
    /// As a share of all, drawn by chance.
    pub sample_percent: u32,
}

impl Tracing {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    const fn is_off(&self) -> bool {
        self.sample_percent == 0
    }
}

/// A destination for when no target takes the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// The backend's name.
    pub backend: String,
    /// The model's name there, put in place of what the caller wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// How urgent a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Somebody is looking at it.
    Interactive,
    /// What nobody marked.
    #[default]
    Default,
    /// Whenever there is room.
    Batch,
}

/// Conditions on a request. Absent ones hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// The whole path, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A leading part of the path, ending at a `/` or the path's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// Methods, any of them; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Host names without port, lower case, any of them; `*.example.com` matches one or more labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Fields that must be present with a value that the glob matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
    /// Globs on the model, any of them (`*` any run, `?` one byte).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Networks of the caller, any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_cidrs: Vec<IpNet>,
}

/// One condition on a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderMatch {
    /// Field name, lower case.
    pub name: String,
    /// Glob on the value; `*`: present with any value.
    pub value: String,
}

/// One destination of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The backend's name.
    pub backend: String,
    /// Share relative to its siblings; 0: none.
    #[serde(default = "default_target_weight")]
    pub weight: u32,
    /// The model's name there, put in place of what the caller wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

fn default_target_weight() -> u32 {
    100
}

/// How long an exchange may take for what, on one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteTimeouts {
    /// From the request's last byte sent upstream to the answer's head.
    pub first_byte_ms: Millis,
    /// Between two reads of the answer's body.
    pub idle_ms: Millis,
    /// The whole exchange, all attempts.
    pub total_ms: Millis,
}

impl Default for RouteTimeouts {
    fn default() -> Self {
        Self {
            first_byte_ms: Millis::from_secs(60),
            idle_ms: Millis::from_secs(60),
            total_ms: Millis::from_secs(600),
        }
    }
}

/// When a failed attempt is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, 1 to 3.
    pub attempts: u32,
    /// Retries allowed as a share of requests, in percent of the last ten seconds.
    pub budget_percent: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 2, budget_percent: 10 }
    }
}

/// Bounds that the operator sets for the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a request head.
    pub request_head: Bytes,
    /// Bytes of a request body.
    pub request_body: Bytes,
    /// Downstream connections, all workers together.
    pub connections: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_head: Bytes::from_kib(64),
            request_body: Bytes::from_kib(32 * 1_024),
            connections: 100_000,
        }
    }
}

/// The access log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logging {
    /// Where it goes.
    #[serde(default)]
    pub access: AccessLog,
    /// How a line looks; none: what `--log-format` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<LogFormat>,
}

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLog {
    /// Standard output.
    #[default]
    Stdout,
    /// Nowhere.
    Off,
    /// A file, appended to, reopened on SIGHUP.
    Path(String),
}

/// How a line of the access log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// `key=value` pairs, for eyes.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
