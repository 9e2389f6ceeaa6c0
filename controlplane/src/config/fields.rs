//! Every field of the file, in one table.
//!
//! Owns: which fields there are, what each holds, what it means, its default, its range, and what comes
//! later. The decoder, the JSON Schema and the reference of the documentation all read this table.
//! Must not: decode.
//! Read next: `decode.rs`, which walks a file along it.

use crate::bounds::{
    ATTEMPTS_MAX, BACKENDS_MAX, CATALOGUE_MAX, CONNECT_MS_MAX, CONNECTIONS_MAX, CONTEXT_TOKENS_MAX,
    ENDPOINTS_MAX, FALLBACKS_MAX, GATEWAYS_MAX, IDLE_CONNECTIONS_MAX, INTERVAL_MS_MAX, INTERVAL_MS_MIN,
    KV_TOKENS_MAX, LISTENERS_MAX, LORA_SLOTS_MAX, MEDIA_TOKENS_MAX, PORT_MAX, PULSE_MS_MAX, PULSE_MS_MIN,
    QUEUE_BYTES_MAX, QUEUE_MAX, REQUEST_BODY_BYTES_MAX, REQUEST_BODY_BYTES_MIN, REQUEST_HEAD_BYTES_MAX,
    REQUEST_HEAD_BYTES_MIN, ROUTES_MAX, SCORE_MISS_MAX, SCORE_MS_MAX, SESSION_MS_MAX, SESSION_MS_MIN,
    SMALL_LIST_MAX, TARGETS_MAX, TENANT_WEIGHTS_MAX, TLS_CERTIFICATES_MAX, TOKENS_PER_S_MAX, WAIT_MS_MAX,
    WAIT_MS_MIN, WEIGHT_MAX,
};

/// A mapping with known keys.
#[derive(Debug)]
pub(super) struct Section {
    /// Its name in the schema.
    pub(super) name: &'static str,
    /// What it describes.
    pub(super) about: &'static str,
    pub(super) fields: &'static [Field],
}

/// One key of a section.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) need: Need,
    /// What it means; of a later one, what it will be.
    pub(super) about: &'static str,
}

/// Whether a field may be left out.
#[derive(Debug)]
pub(super) enum Need {
    Required,
    /// What holds when it is left out, as it would be written, or in words.
    Optional(&'static str),
    /// Refused as not supported yet; what to do until then.
    Later(&'static str),
}

/// What a field holds.
#[derive(Debug)]
pub(super) enum Kind {
    Text(&'static Format),
    Flag,
    Whole(u64, u64),
    Duration(u64, u64),
    Size(u64, u64),
    Percent,
    Choice(&'static [Choice]),
    Section(&'static Section),
    /// A list of at least one.
    Many(&'static Kind, usize),
    /// One text, or a list of them.
    OneOrMany(&'static Format, usize),
    /// A mapping with keys of the operator's.
    Named(&'static Kind, usize),
    Either(&'static [Kind]),
    /// Of later fields.
    Anything,
}

/// A kind of text.
#[derive(Debug)]
pub(super) struct Format {
    /// What to call it in messages and the reference: "a URL".
    pub(super) word: &'static str,
    /// ECMA 262 pattern for the schema; looser than our own check.
    pub(super) pattern: &'static str,
    pub(super) example: &'static str,
}

/// One word of a choice.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Refused as not supported yet; what to do until then.
    pub(super) later: Option<&'static str>,
}

const fn required(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, need: Need::Required, about }
}

const fn optional(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Field {
    Field { name, kind, need: Need::Optional(default), about }
}

const fn later(name: &'static str, about: &'static str, meanwhile: &'static str) -> Field {
    Field { name, kind: Kind::Anything, need: Need::Later(meanwhile), about }
}

const fn choice(name: &'static str, about: &'static str) -> Choice {
    Choice { name, about, later: None }
}

const PULSE: Kind = Kind::Duration(PULSE_MS_MIN, PULSE_MS_MAX);
const WAIT: Kind = Kind::Duration(WAIT_MS_MIN, WAIT_MS_MAX);

/// The whole file.
pub(super) const FILE: Section = Section {
    name: "file",
    about: "The whole file.",
    fields: &[
        required("version", Kind::Whole(1, 1), "Version of this format."),
        required(
            "listeners",
            Kind::Many(&Kind::Section(&LISTENER), LISTENERS_MAX),
            "Addresses to accept requests on.",
        ),
        optional(
            "admin",
            Kind::Section(&ADMIN),
            "none",
            "Where `/healthz`, `/livez`, `/readyz` and `/metrics` are served.",
        ),
        required(
            "backends",
            Kind::Named(&Kind::Section(&BACKEND), BACKENDS_MAX),
            "Groups of endpoints that serve the same models, by name.",
        ),
        required(
            "routes",
            Kind::Many(&Kind::Section(&ROUTE), ROUTES_MAX),
            "Rules from request to backends; the first match wins.",
        ),
        optional(
            "models",
            Kind::Many(&Kind::Section(&MODEL_ENTRY), CATALOGUE_MAX),
            "none",
            "What is known of models: lengths, prices, what they can do. Of several entries that fit a name the first counts.",
        ),
        optional("limits", Kind::Section(&LIMITS), "see there", "Bounds for the whole process."),
        optional("logging", Kind::Section(&LOGGING), "see there", "What is logged, and where."),
        optional("state", Kind::Section(&STATE), "see there", "How the process starts and ends."),
        later("keys", "keys of callers", "keep listeners on loopback, or behind a proxy that authenticates"),
        later(
            "auth",
            "authentication of callers",
            "keep listeners on loopback, or behind a proxy that authenticates",
        ),
        later("tenants", "accounts with limits and spending of their own", "run an instance for each tenant"),
        later("tiers", "classes of tenants", "give each class a route that matches a header"),
        later("budgets", "spending limits", "set them at the provider"),
        later("cache", "a cache of answers", "use the engine's own prefix cache"),
        later("guards", "checks of prompts and answers", "check them in the application"),
        later("rate_limits", "request and token rates", "bound `limits.connections`, or limit in front"),
        later(
            "discovery",
            "finding endpoints by DNS, Kubernetes or etcd",
            "list `endpoints`, or use a host name with several addresses",
        ),
        later("telemetry", "traces and metrics by OpenTelemetry", "scrape `/metrics` of the admin address"),
        later("alerts", "alerts", "let Prometheus alert on `/metrics`"),
        later("store", "a database for keys, usage and revisions", "read usage from the access log"),
        later("rollout", "stepwise rollout of configurations", "apply to one instance first"),
    ],
};

pub(super) const LISTENER: Section = Section {
    name: "listener",
    about: "One address to accept requests on.",
    fields: &[
        required("address", Kind::Text(&SOCKET), "IP address and port."),
        optional(
            "timeouts",
            Kind::Section(&LISTENER_TIMEOUTS),
            "see there",
            "How long a caller may take for what.",
        ),
        optional(
            "half_close",
            Kind::Choice(HALF_CLOSE),
            "gone",
            "What it means when a caller shuts its sending side behind a complete request.",
        ),
        optional(
            "trusted_proxies",
            Kind::OneOrMany(&NETWORK, SMALL_LIST_MAX),
            "none",
            "Networks of peers whose `x-forwarded-*`, `forwarded` and `traceparent` are believed, so that `client_cidr` and the log know the caller behind them; from others they are replaced. A sane `x-request-id` is kept from anyone.",
        ),
        optional(
            "tls",
            Kind::Section(&LISTENER_TLS),
            "none: plain text",
            "Callers speak TLS 1.2 or 1.3 here, with HTTP/1.1.",
        ),
        later("http2", "HTTP/2 on a listener", "callers fall back to HTTP/1.1"),
        later(
            "proxy_protocol",
            "the PROXY protocol",
            "let the proxy in front set `x-forwarded-for`, and name it in `trusted_proxies`",
        ),
    ],
};

const LISTENER_TIMEOUTS: Section = Section {
    name: "listener_timeouts",
    about: "How long a caller may take for what.",
    fields: &[
        optional("head", WAIT, "10s", "From the first byte of a request head to its last."),
        optional("body_idle", WAIT, "30s", "Between two reads of a request body."),
        optional("write_stall", WAIT, "60s", "For one write to the caller to make progress."),
        optional("keep_alive", WAIT, "75s", "Between two requests on a connection."),
        optional("handshake", WAIT, "10s", "For a TLS handshake."),
    ],
};

const LISTENER_TLS: Section = Section {
    name: "listener_tls",
    about: "What a listener shows to callers that speak TLS. `ringway` reads the files itself, and reads them again within a few seconds when they change; one that cannot be used changes nothing.",
    fields: &[
        required(
            "certificates",
            Kind::Many(&Kind::Section(&CERTIFICATE), TLS_CERTIFICATES_MAX),
            "Chosen by the name that a caller asks for; a name that none of them has gets the first.",
        ),
        optional(
            "client_ca",
            Kind::Text(&PEM_FILE),
            "none",
            "PEM file of authorities: a caller without a certificate signed by one of them gets no connection. TLS sessions are then not taken up again, so that each connection shows its certificate.",
        ),
    ],
};

pub(super) const CERTIFICATE: Section = Section {
    name: "certificate",
    about: "A certificate and its key. Paths start at this file's folder.",
    fields: &[
        required(
            "cert",
            Kind::Text(&PEM_FILE),
            "PEM file of the certificate, then of those it is signed with.",
        ),
        required("key", Kind::Text(&KEY_FILE), "PEM file of its key, without a passphrase."),
    ],
};

const HALF_CLOSE: &[Choice] = &[
    choice("gone", "the caller has left: the exchange is cancelled at once"),
    choice("allow", "the caller still reads: the exchange goes on until a write fails"),
];

const ADMIN: Section = Section {
    name: "admin",
    about: "The address for health checks and metrics.",
    fields: &[required(
        "address",
        Kind::Text(&SOCKET),
        "IP address and port; loopback unless a firewall guards it.",
    )],
};

pub(super) const BACKEND: Section = Section {
    name: "backend",
    about: "Endpoints that serve the same models.",
    fields: &[
        required("engine", Kind::Choice(ENGINES), "What kind of server its endpoints are."),
        optional("dialect", Kind::Choice(DIALECTS), "from the engine", "The grammar they speak."),
        required(
            "endpoints",
            Kind::Many(&Kind::Either(&[Kind::Text(&URL), Kind::Section(&ENDPOINT)]), ENDPOINTS_MAX),
            "Where they are.",
        ),
        optional("balance", Kind::Choice(BALANCES), "least_requests", "How one of them is chosen."),
        optional(
            "models",
            Kind::OneOrMany(&MODEL, SMALL_LIST_MAX),
            "what routes name whole",
            "Models they serve, for `GET /v1/models`.",
        ),
        optional(
            "timeouts",
            Kind::Section(&BACKEND_TIMEOUTS),
            "see there",
            "How long an endpoint may take for what.",
        ),
        optional(
            "connections",
            Kind::Section(&CONNECTIONS),
            "see there",
            "What is kept of connections between requests.",
        ),
        optional(
            "credential",
            Kind::Section(&CREDENTIAL),
            "none",
            "A secret sent with each request, in the header the engine expects.",
        ),
        later(
            "discovery",
            "finding endpoints by DNS, Kubernetes or etcd",
            "list `endpoints`, or use a host name with several addresses",
        ),
        optional(
            "hardware",
            Kind::Section(&HARDWARE),
            "unknown",
            "What its endpoints can do, for `balance: gpu`; an endpoint may say otherwise.",
        ),
        optional("score", Kind::Section(&SCORE), "see there", "What counts how much in `balance: gpu`."),
        optional(
            "admission",
            Kind::Section(&ADMISSION),
            "none: requests go to endpoints at once and queue there",
            "A queue in front of it; with it, requests go to endpoints only as fast as these can take them.",
        ),
        optional(
            "metrics",
            Kind::Either(&[Kind::Text(&OFF), Kind::Section(&METRICS)]),
            "see there",
            "The page on which each endpoint tells its load, or `off`.",
        ),
        optional(
            "health",
            Kind::Either(&[Kind::Text(&OFF), Kind::Section(&HEALTH)]),
            "see there",
            "The probe of each endpoint, or `off`.",
        ),
        optional(
            "orca",
            Kind::Choice(ORCA),
            "not asked for",
            "The form in which each answer is asked for the server's load (`endpoint-load-metrics`).",
        ),
        optional(
            "tls",
            Kind::Section(&BACKEND_TLS),
            "the host of the URL must prove itself to the system's authorities",
            "How endpoints with `https://` are spoken to.",
        ),
        optional(
            "hosting",
            Kind::Section(&HOSTING),
            "none: by who makes them, or by you",
            "Who hosts its models, where that asks for other paths and proofs than their maker: `{azure: …}`, `{vertex: …}` or `{bedrock: …}`.",
        ),
        optional(
            "sessions",
            Kind::Either(&[Kind::Flag, Kind::Section(&SESSIONS)]),
            "false",
            "Answers carry `x-ringway-session`; a caller that sends it back is preferably sent where it was before.",
        ),
        optional(
            "lora",
            Kind::Section(&LORA),
            "none",
            "LoRA adapters that its endpoints load when they are asked for; with `balance: gpu` requests go where theirs is in memory.",
        ),
    ],
};

pub(super) const SESSIONS: Section = Section {
    name: "sessions",
    about: "Tokens in answers, `x-ringway-session`, that say where they came from. Nothing is kept of a session but its token.",
    fields: &[
        optional("ttl", Kind::Duration(SESSION_MS_MIN, SESSION_MS_MAX), "10m", "How long a token holds."),
        optional(
            "key",
            Kind::Section(&CREDENTIAL),
            "a secret of the process: none is taken after a restart, or from another gateway",
            "What tokens are authenticated with, where several gateways, or one after a restart, are to take them; at least 16 bytes.",
        ),
    ],
};

const LORA: Section = Section {
    name: "lora",
    about: "LoRA adapters of a backend, as vLLM serves them: a request names one as its `model`. What counts is the name that the backend is asked for, behind the `model` of a target.",
    fields: &[
        required(
            "adapters",
            Kind::OneOrMany(&MODEL_GLOB, SMALL_LIST_MAX),
            "Their names, or globs that match no other model of the backend.",
        ),
        optional(
            "slots",
            Kind::Whole(1, LORA_SLOTS_MAX),
            "what the endpoint reports (`max_lora`), and 1 until it does",
            "How many each endpoint holds at the same time: `--max-loras` of vLLM.",
        ),
    ],
};

pub(super) const HOSTING: Section = Section {
    name: "hosting",
    about: "Who hosts models that others make. One of these.",
    fields: &[
        optional(
            "azure",
            Kind::Section(&AZURE),
            "none",
            "Azure OpenAI; the `credential` is sent as `api-key`.",
        ),
        optional(
            "vertex",
            Kind::Section(&VERTEX),
            "none",
            "Google Vertex AI: models of Google's (`engine: gemini`) and of Anthropic's (`engine: anthropic`).",
        ),
        optional(
            "bedrock",
            Kind::Section(&BEDROCK),
            "none",
            "Amazon Bedrock: models of Anthropic's; the `credential` is the secret access key, which signs, or an API key of Bedrock's.",
        ),
    ],
};

const AZURE: Section = Section {
    name: "azure",
    about: "Azure OpenAI. Endpoints are as `https://NAME.openai.azure.com`.",
    fields: &[
        optional(
            "api_version",
            Kind::Text(&NAME),
            "none: the paths of `/openai/v1`",
            "`api-version` in the query. With that of a day (`2024-10-21`) each deployment has a path of its own; with a word (`preview`) the paths are those of `/openai/v1`.",
        ),
        optional(
            "deployment",
            Kind::Text(&MODEL),
            "called as the model",
            "The one deployment of this backend, where `api_version` is that of a day.",
        ),
    ],
};

const VERTEX: Section = Section {
    name: "vertex",
    about: "Google Vertex AI. Endpoints are as `https://LOCATION-aiplatform.googleapis.com`.",
    fields: &[
        required("project", Kind::Text(&NAME), "Whose project pays."),
        required("location", Kind::Text(&NAME), "Where: `us-central1`, `global`."),
        optional(
            "service_account",
            Kind::Text(&FILE_NAME),
            "none: the `credential` is a token that somebody else renews",
            "The JSON key file of a service account, relative to this file. The daemon gets tokens for it, and renews them in time.",
        ),
    ],
};

const BEDROCK: Section = Section {
    name: "bedrock",
    about: "Amazon Bedrock. Endpoints are as `https://bedrock-runtime.REGION.amazonaws.com`.",
    fields: &[
        required("region", Kind::Text(&NAME), "Where: `us-east-1`."),
        optional(
            "access_key_id",
            Kind::Text(&NAME),
            "none: the `credential` is an API key of Bedrock's, and is sent",
            "Which key requests are signed with; its secret is the `credential`.",
        ),
        optional(
            "session_token",
            Kind::Section(&CREDENTIAL),
            "none",
            "Of keys that last for a session. Put new ones in place before that ends, and have the file read again (SIGHUP).",
        ),
    ],
};

pub(super) const MODEL_ENTRY: Section = Section {
    name: "model",
    about: "What is known of a model, or of all that a glob names.",
    fields: &[
        required("name", Kind::Text(&MODEL_GLOB), "Its name at its backend, or a glob on it."),
        optional("display_name", Kind::Text(&TITLE), "its name", "What people call it, in listings."),
        optional("owner", Kind::Text(&TITLE), "`ringway`", "Who made it, in listings."),
        optional(
            "context",
            Kind::Whole(1, CONTEXT_TOKENS_MAX),
            "unknown",
            "Tokens of a prompt and its answer together.",
        ),
        optional(
            "max_output",
            Kind::Whole(1, CONTEXT_TOKENS_MAX),
            "unknown",
            "Tokens of an answer. A request that asks for more goes to another destination of its route, or is refused.",
        ),
        optional(
            "price",
            Kind::Section(&PRICE),
            "unknown",
            "What its tokens cost, for the log and `/metrics`.",
        ),
        optional(
            "capabilities",
            Kind::Section(&CAPABILITIES),
            "all that its dialect can say",
            "What it can do. A request that needs what it cannot goes to another destination of its route, or is refused.",
        ),
    ],
};

const PRICE: Section = Section {
    name: "price",
    about: "What a million tokens cost, in US dollars.",
    fields: &[
        required("input", Kind::Text(&MONEY), "Of the prompt."),
        required("output", Kind::Text(&MONEY), "Of the answer, thoughts included."),
        optional(
            "cache_read",
            Kind::Text(&MONEY),
            "`input`",
            "Of the prompt, found in the provider's cache.",
        ),
        optional(
            "cache_write",
            Kind::Text(&MONEY),
            "`input`",
            "Of the prompt, written to the provider's cache.",
        ),
    ],
};

const CAPABILITIES: Section = Section {
    name: "capabilities",
    about: "What a model can do. What is left out is assumed.",
    fields: &[
        optional("images", Kind::Flag, "assumed", "It sees pictures."),
        optional("image_urls", Kind::Flag, "`images`", "It fetches pictures that are given by address."),
        optional("audio", Kind::Flag, "assumed, but not of Anthropic's dialect", "It hears."),
        optional("documents", Kind::Flag, "assumed", "It reads documents."),
        optional("tools", Kind::Flag, "assumed", "It calls tools."),
        optional("json_schema", Kind::Flag, "assumed", "It answers by a JSON schema."),
        optional(
            "reasoning",
            Kind::Choice(REASONING),
            "`budget` of Anthropic's dialect, else `effort`",
            "How it is asked to think.",
        ),
    ],
};

const REASONING: &[Choice] = &[
    choice("none", "it does not think"),
    choice("effort", "by an effort in words"),
    choice("budget", "by a budget of tokens"),
    choice("adaptive", "by an effort that it adapts to (Anthropic)"),
];

const ENGINES: &[Choice] = &[
    choice("vllm", "vLLM"),
    choice("sglang", "SGLang"),
    choice("trtllm", "TensorRT-LLM (`trtllm-serve`)"),
    choice("triton", "Triton, OpenAI frontend"),
    choice("lmdeploy", "LMDeploy"),
    choice("tgi", "Text Generation Inference"),
    choice("llamacpp", "llama.cpp server"),
    choice("openai", "OpenAI, or anything that speaks like it"),
    choice("anthropic", "Anthropic, or anything that speaks like it"),
    choice("gemini", "Google Gemini"),
    choice("http", "any HTTP server: a plain reverse proxy, nothing is read as JSON"),
];

const DIALECTS: &[Choice] = &[
    choice(
        "openai-chat",
        "OpenAI chat completions, completions, embeddings; default of every engine not named below",
    ),
    choice("openai-responses", "OpenAI responses"),
    choice("anthropic-messages", "Anthropic messages; default of `engine: anthropic`"),
    choice("gemini", "Gemini `generateContent`; default of `engine: gemini`"),
    choice("http", "none; only and always of `engine: http`"),
];

const BALANCES: &[Choice] = &[
    choice("least_requests", "the endpoint with the fewest requests in flight by weight; ties rotate"),
    choice("p2c", "the less loaded of two drawn at random"),
    choice("round_robin", "in turn, by weight"),
    choice(
        "gpu",
        "where the request costs least: by the prompts that wait there, how much of its own is cached there, requests in flight and memory in use; reads the whole prompt",
    ),
    choice(
        "hash",
        "by a hash of the prompt's beginning (`engine: http`: of the path), so that the same goes to the same endpoint; one that has a quarter more than its share is passed over",
    ),
];

pub(super) const ENDPOINT: Section = Section {
    name: "endpoint",
    about: "One address of a backend. A URL alone is short for `{url: …}`.",
    fields: &[
        required("url", Kind::Text(&URL), "Where it is. A path in it goes before the path of each request."),
        optional("weight", Kind::Whole(1, WEIGHT_MAX), "1", "Its share relative to its siblings."),
        optional(
            "labels",
            Kind::Named(&Kind::Text(&LINE), SMALL_LIST_MAX),
            "none",
            "Free-form labels of yours.",
        ),
        optional(
            "hardware",
            Kind::Section(&HARDWARE),
            "that of the backend",
            "What it can do, for `balance: gpu`; what is left out is that of the backend.",
        ),
    ],
};

const HARDWARE: Section = Section {
    name: "hardware",
    about: "What an endpoint can do. Measure `prefill_tokens_per_s` on yours: 8,192 divided by the seconds to the first token of a prompt of 8,192 tokens on an idle server.",
    fields: &[
        optional(
            "preset",
            Kind::Choice(PRESETS),
            "none",
            "Figures of a known machine; fields beside it go first.",
        ),
        optional(
            "prefill_tokens_per_s",
            Kind::Whole(1, TOKENS_PER_S_MAX),
            "from the preset, else 10000",
            "Prompt tokens it computes a second.",
        ),
        optional(
            "kv_tokens",
            Kind::Whole(1, KV_TOKENS_MAX),
            "from the preset, else unknown",
            "Tokens its KV cache holds. Unknown: memory in use is known from its reports alone, and its cache is taken for one of 426,000.",
        ),
    ],
};

const PRESETS: &[Choice] = &[
    choice("h100", "an H100 with a model of 8 billion parameters: 35,711 tokens/s, 426,000 tokens"),
    choice("a100", "an A100 with a model of 8 billion parameters: 12,466 tokens/s, 426,000 tokens"),
    choice("qwen32", "two H100 with a model of 32 billion parameters: 20,453 tokens/s, 307,328 tokens"),
];

const SCORE: Section = Section {
    name: "score",
    about: "What counts how much in `balance: gpu`: the cost of an endpoint is the seconds of prompt that wait there, plus these.",
    fields: &[
        optional(
            "miss",
            Kind::Whole(0, SCORE_MISS_MAX),
            "2",
            "How often the request's own tokens count that are not expected in the endpoint's cache.",
        ),
        optional("in_flight", Kind::Duration(0, SCORE_MS_MAX), "20ms", "For each request in flight."),
        optional(
            "kv",
            Kind::Duration(0, SCORE_MS_MAX),
            "150ms",
            "For `k/(1 - k)`, where `k` is the share of the KV cache in use.",
        ),
        optional(
            "adapter_load",
            Kind::Duration(0, SCORE_MS_MAX),
            "50ms",
            "Where the LoRA adapter that is asked for is not in memory, and a slot is free.",
        ),
        optional(
            "adapter_evict",
            Kind::Duration(0, SCORE_MS_MAX),
            "300ms",
            "Where it is not in memory, and another one has to go.",
        ),
        optional(
            "session",
            Kind::Duration(0, SCORE_MS_MAX),
            "200ms",
            "Taken off where the caller's session was before (`sessions`).",
        ),
        optional(
            "gateways",
            Kind::Whole(1, GATEWAYS_MAX),
            "1",
            "Processes like this one that send to the same endpoints.",
        ),
        optional(
            "media_tokens",
            Kind::Whole(0, MEDIA_TOKENS_MAX),
            "1000",
            "Tokens that an image or a sound in a prompt counts as.",
        ),
    ],
};

const ADMISSION: Section = Section {
    name: "admission",
    about: "The queue in front of a backend. An endpoint is open while it is below the limits here; while none is, requests wait, and whoever cannot wait is answered 429 with a `retry-after` that says when there is room. A caller that sends the same request again when it was told to (half a second early to two seconds late) goes before the others, into room that was kept for it.",
    fields: &[
        optional("queue", Kind::Whole(0, QUEUE_MAX), "1024", "Requests that may wait; 0: none waits."),
        optional("queue_bytes", Kind::Size(0, QUEUE_BYTES_MAX), "256MiB", "Bytes of their bodies."),
        optional("max_wait", WAIT, "see `wait`", "How long a request may wait, whatever its class."),
        optional(
            "wait",
            Kind::Section(&ADMISSION_WAIT),
            "see there",
            "How long a request of a class may wait; goes before `max_wait`.",
        ),
        optional("order", Kind::Choice(ORDERS), "aged", "Who of a class goes first."),
        optional(
            "u_limit",
            WAIT,
            "500ms",
            "An endpoint is open while the prompts that wait there take less than this to be computed.",
        ),
        optional(
            "kv_limit",
            Kind::Percent,
            "80%",
            "And while less of its KV cache is in use, the new request included; from 10%. Unknown: not looked at.",
        ),
        optional(
            "itl_limit",
            WAIT,
            "not looked at",
            "And while the average gap between two tokens of its streams is shorter.",
        ),
        optional(
            "ttft_slo",
            WAIT,
            "none",
            "A request that cannot have its first token within this is refused as soon as that is certain, even on idle servers.",
        ),
        optional(
            "tenants",
            Kind::Section(&TENANTS),
            "none: all callers are one",
            "Who shares the queue: tenants are served alike while they wait, however much one of them sends.",
        ),
    ],
};

const TENANTS: Section = Section {
    name: "admission tenants",
    about: "How callers that share a queue are told apart. While requests wait, the tenant that was given the fewest tokens by its weight goes first (prompts count once, what is generated twice), and none may fill more than half of the queue. Believe only a header that something in front of ringway sets or checks: a caller that makes up tenants gets the share of each.",
    fields: &[
        required(
            "header",
            Kind::Text(&HEADER_NAME),
            "The header that names the tenant. Requests without it are one tenant more.",
        ),
        optional(
            "weights",
            Kind::Named(&Kind::Whole(1, WEIGHT_MAX), TENANT_WEIGHTS_MAX),
            "1 each",
            "Shares relative to the others, by the value of the header.",
        ),
    ],
};

const ADMISSION_WAIT: Section = Section {
    name: "admission_wait",
    about: "How long a request of each class may wait. Half of what is promised for the first token is a good value.",
    fields: &[
        optional("interactive", WAIT, "`max_wait`, else 1s", "Of routes with `class: interactive`."),
        optional("default", WAIT, "`max_wait`, else 10s", "Of routes that name no class."),
        optional("batch", WAIT, "`max_wait`, else 60s", "Of routes with `class: batch`."),
    ],
};

const ORDERS: &[Choice] = &[
    choice("aged", "short prompts; waiting makes up for length. Serves more; its victims are the longest"),
    choice("fifo", "the oldest"),
];

const BACKEND_TIMEOUTS: Section = Section {
    name: "backend_timeouts",
    about: "How long an endpoint may take for what.",
    fields: &[optional(
        "connect",
        Kind::Duration(WAIT_MS_MIN, CONNECT_MS_MAX),
        "2s",
        "To accept a connection; with `https://`, the TLS handshake included.",
    )],
};

const ORCA: &[Choice] = &[choice("text", "`name=value` pairs"), choice("json", "a JSON object")];

pub(super) const METRICS: Section = Section {
    name: "metrics",
    about: "Where each endpoint tells its load. Read by the control plane, for engines that have such a page.",
    fields: &[
        optional(
            "path",
            Kind::Text(&QUESTION),
            "the engine's",
            "Its place, query included. A path in the endpoint's URL does not go before it.",
        ),
        optional("port", Kind::Whole(1, PORT_MAX), "the endpoint's; of `triton` 8002", "Its port."),
        optional("interval", Kind::Duration(INTERVAL_MS_MIN, INTERVAL_MS_MAX), "1s", "Between two readings."),
    ],
};

pub(super) const HEALTH: Section = Section {
    name: "health",
    about: "Asks each endpoint whether it is well: 2xx is yes, 5xx and silence are no, anything else says nothing.",
    fields: &[
        optional(
            "path",
            Kind::Text(&QUESTION),
            "the engine's; none of its own: not probed",
            "What is asked for. A path in the endpoint's URL does not go before it.",
        ),
        optional("interval", Kind::Duration(INTERVAL_MS_MIN, INTERVAL_MS_MAX), "5s", "Between two probes."),
    ],
};

const BACKEND_TLS: Section = Section {
    name: "backend_tls",
    about: "How endpoints with `https://` are spoken to. `ringway` reads the files itself, and reads them again within a few seconds when they change. `ringctl` reads them, too, to read and probe these endpoints by the same rules; where it cannot, they are neither.",
    fields: &[
        optional(
            "ca",
            Kind::Text(&PEM_FILE),
            "the system's",
            "PEM file of the authorities that count instead of the system's. A server with a certificate that it signed itself is trusted by naming that certificate here.",
        ),
        optional(
            "server_name",
            Kind::Text(&HOST),
            "the URL's host",
            "The name that is asked for (SNI) and that must be in the certificate.",
        ),
        optional(
            "insecure_skip_verify",
            Kind::Flag,
            "false",
            "Whoever answers is taken for the endpoint: for experiments only.",
        ),
        optional(
            "certificate",
            Kind::Section(&CERTIFICATE),
            "none",
            "What is shown to an endpoint that asks for a certificate.",
        ),
    ],
};

const CONNECTIONS: Section = Section {
    name: "connections",
    about: "What is kept of connections between requests, per endpoint and worker.",
    fields: &[
        optional(
            "idle_max",
            Kind::Whole(0, IDLE_CONNECTIONS_MAX),
            "256",
            "How many idle ones; 0: none, each request gets its own.",
        ),
        optional(
            "idle_timeout",
            WAIT,
            "60s",
            "How long an idle one is kept. Keep it below the server's own.",
        ),
        optional("max_age", WAIT, "1h", "How long any is used."),
    ],
};

pub(super) const CREDENTIAL: Section = Section {
    name: "credential",
    about: "A secret of one backend, read when the file is applied: `{env: NAME}` or `{file: PATH}`, one of both.",
    fields: &[
        optional("env", Kind::Text(&VARIABLE), "none", "Environment variable that holds it."),
        optional(
            "file",
            Kind::Text(&FILE_NAME),
            "none",
            "File that holds it, relative to this file; a line break at its end is ignored.",
        ),
    ],
};

pub(super) const ROUTE: Section = Section {
    name: "route",
    about: "A rule from request to backends.",
    fields: &[
        required("name", Kind::Text(&NAME), "Its name in logs and metrics; each once."),
        required("match", Kind::Section(&MATCH), "What it matches: all given conditions, at least one."),
        required("targets", Kind::Many(&Kind::Section(&TARGET), TARGETS_MAX), "Where it sends, by weight."),
        optional(
            "timeouts",
            Kind::Section(&ROUTE_TIMEOUTS),
            "see there",
            "How long an exchange may take for what.",
        ),
        optional("retry", Kind::Section(&RETRY), "see there", "When a failed attempt is tried again."),
        optional("expose", Kind::Flag, "false", "Answers carry `x-ringway-*` and `server-timing`."),
        optional(
            "force_usage",
            Kind::Flag,
            "false",
            "Asks for usage in streams of `openai-chat` whose caller did not, and keeps it from the caller: the log then has the server's own counts. Such calls are read whole, and one event of the answer is left out; where a call is translated usage is always asked for.",
        ),
        optional(
            "strict",
            Kind::Flag,
            "false",
            "A request of which a translation would lose something is answered with 400 and the field's name.",
        ),
        optional(
            "preserve_host",
            Kind::Flag,
            "false",
            "Sends the caller's `Host` on instead of the endpoint's.",
        ),
        optional(
            "idempotent",
            Kind::Flag,
            "false",
            "Requests that change things (POST) may be repeated like GET.",
        ),
        optional(
            "fallback",
            Kind::Many(&Kind::Section(&FALLBACK), FALLBACKS_MAX),
            "none",
            "Where it sends when no target takes the request, in this order.",
        ),
        optional(
            "class",
            Kind::Choice(CLASSES),
            "default",
            "How urgent its requests are while they wait in the queue of a backend (`admission`).",
        ),
        optional(
            "trace",
            Kind::Section(&TRACE),
            "see there",
            "Of which requests it is kept how they were routed; `ringctl explain --last` shows them.",
        ),
        optional(
            "heartbeat",
            Kind::Either(&[PULSE, Kind::Section(&HEARTBEAT)]),
            "none",
            "Keeps silent streams open: a comment that clients pass over, so often. To callers of Gemini's a blank line, all that its clients put up with. Alone it is `every`.",
        ),
        optional(
            "hedge",
            Kind::Section(&HEDGE),
            "none",
            "Asks another endpoint beside one that is slow to answer; who is first wins, the other is given up. Only for requests that may be repeated: see `idempotent`.",
        ),
        later("shadow", "a copy of the traffic to another backend", "replay the access log with `ringload`"),
        later("cache", "a cache of answers", "use the engine's own prefix cache"),
        later("guards", "checks of prompts and answers", "check them in the application"),
        later("limits", "limits of one route", "bound them for all in `limits`, or in front"),
        later(
            "auth",
            "authentication of callers",
            "keep listeners on loopback, or behind a proxy that authenticates",
        ),
        later(
            "map_web_search",
            "translation of hosted tools",
            "leave it out; web search of another dialect is listed as lost",
        ),
    ],
};

const MATCH: Section = Section {
    name: "match",
    about: "Conditions on a request; all given ones must hold.",
    fields: &[
        optional("path", Kind::Text(&PATH), "any", "The whole path, byte for byte, without query."),
        optional(
            "path_prefix",
            Kind::Text(&PATH),
            "any",
            "A leading part of the path, ending at a `/` or the path's end.",
        ),
        optional("method", Kind::OneOrMany(&METHOD, SMALL_LIST_MAX), "any", "Methods, any of them."),
        optional(
            "host",
            Kind::OneOrMany(&HOST, SMALL_LIST_MAX),
            "any",
            "Hosts without port, any of them; `*.example.com` stands for one or more labels in front.",
        ),
        optional(
            "headers",
            Kind::Named(&Kind::Text(&HEADER_GLOB), SMALL_LIST_MAX),
            "any",
            "Headers that must be there, all of them, with a glob on the value (`*` any run, `?` one byte).",
        ),
        optional(
            "model",
            Kind::OneOrMany(&MODEL_GLOB, SMALL_LIST_MAX),
            "any",
            "Globs on the model asked for, any of them (`*` any run, `?` one byte).",
        ),
        optional(
            "client_cidr",
            Kind::OneOrMany(&NETWORK, SMALL_LIST_MAX),
            "any",
            "Networks of the caller, any of them.",
        ),
        later("tenant", "matching on the caller's tenant", "match a header that the proxy in front sets"),
        later("tier", "matching on the caller's tier", "match a header that the proxy in front sets"),
        later(
            "country",
            "matching on the caller's country",
            "match `client_cidr`, or a header that the proxy in front sets",
        ),
        later("device", "matching on the caller's device", "match `headers: {user-agent: …}`"),
        later("schedule", "matching on the time of day", "apply another file by cron"),
    ],
};

pub(super) const TARGET: Section = Section {
    name: "target",
    about: "One destination of a route.",
    fields: &[
        required("backend", Kind::Text(&NAME), "Name of a backend."),
        optional("weight", Kind::Whole(0, WEIGHT_MAX), "100", "Its share relative to its siblings; 0: none."),
        optional(
            "model",
            Kind::Text(&ALIAS),
            "as asked for",
            "The model's name there, put in place of the one asked for. A `*` in it stands for what the `*` of the route's `model` matched: `openai/*` and `*` take a prefix off.",
        ),
    ],
};

pub(super) const FALLBACK: Section = Section {
    name: "fallback",
    about: "A destination for when no target takes the request.",
    fields: &[
        required("backend", Kind::Text(&NAME), "Name of a backend."),
        optional(
            "model",
            Kind::Text(&ALIAS),
            "as asked for",
            "The model's name there, put in place of the one asked for. A `*` in it stands for what the `*` of the route's `model` matched: `openai/*` and `*` take a prefix off.",
        ),
    ],
};

const CLASSES: &[Choice] = &[
    choice("interactive", "somebody is looking at it: goes first"),
    choice("default", "what nobody marked"),
    choice("batch", "whenever there is room; a twentieth of what goes is kept for it"),
];

const ROUTE_TIMEOUTS: Section = Section {
    name: "route_timeouts",
    about: "How long an exchange may take for what.",
    fields: &[
        optional("first_byte", WAIT, "60s", "From the request's last byte sent to the answer's head."),
        optional("idle", WAIT, "60s", "Between two reads of the answer's body."),
        optional("total", WAIT, "10m", "The whole exchange, all attempts."),
    ],
};

const HEDGE: Section = Section {
    name: "hedge",
    about: "When another endpoint is asked beside one that is slow to answer.",
    fields: &[
        optional(
            "after",
            Kind::Either(&[Kind::Text(&P95), WAIT]),
            "p95",
            "When no head of an answer has come since the request was sent: a time, or `p95`, longer than nineteen of twenty took lately, and at least a second.",
        ),
        optional(
            "budget",
            Kind::Percent,
            "1%",
            "How many, as a share of the requests of the last ten seconds, per worker.",
        ),
    ],
};

pub(super) const HEARTBEAT: Section = Section {
    name: "heartbeat",
    about: "How callers of streams are told that somebody is there while nothing comes: never inside an event, never behind the last one.",
    fields: &[
        optional("every", PULSE, "15s", "How long a stream may be silent."),
        optional(
            "commit_after",
            WAIT,
            "none",
            "When a caller that waits for the first byte of its stream, in a queue too, is answered 200 although no answer has come, and hears the heartbeat from then on. What fails later is told as an event of its dialect, and the stream breaks off: no status, no `retry-after`.",
        ),
    ],
};

const TRACE: Section = Section {
    name: "trace",
    about: "Of which requests it is kept how they were routed. Beside these, callers of a route with `expose: true` may ask for it: `x-ringway-trace: 1`.",
    fields: &[optional("sample", Kind::Percent, "0%", "So many, drawn by chance.")],
};

const RETRY: Section = Section {
    name: "retry",
    about: "When a failed attempt is tried again. Only what is safe to repeat is, and only before the caller has seen a byte.",
    fields: &[
        optional("attempts", Kind::Whole(1, ATTEMPTS_MAX), "2", "Attempts in all."),
        optional(
            "budget",
            Kind::Percent,
            "10%",
            "Retries allowed as a share of the requests of the last ten seconds.",
        ),
    ],
};

const LIMITS: Section = Section {
    name: "limits",
    about: "Bounds for the whole process.",
    fields: &[
        optional(
            "request_head",
            Kind::Size(REQUEST_HEAD_BYTES_MIN, REQUEST_HEAD_BYTES_MAX),
            "64KiB",
            "A request's head; a larger one is answered 431.",
        ),
        optional(
            "request_body",
            Kind::Size(REQUEST_BODY_BYTES_MIN, REQUEST_BODY_BYTES_MAX),
            "32MiB",
            "A request's body; a larger one is answered 413.",
        ),
        optional(
            "connections",
            Kind::Whole(1, CONNECTIONS_MAX),
            "100000",
            "Connections of callers, all workers together.",
        ),
        later("requests", "request rates", "bound `limits.connections`, or limit in front"),
        later("tokens", "token rates", "bound `limits.connections`, or limit in front"),
    ],
};

const LOGGING: Section = Section {
    name: "logging",
    about: "What is logged, and where.",
    fields: &[optional(
        "access",
        Kind::Either(&[Kind::Text(&LOG_PLACE), Kind::Section(&ACCESS)]),
        "stdout",
        "The access log: a place alone is short for `{path: …}`.",
    )],
};

pub(super) const ACCESS: Section = Section {
    name: "access",
    about: "The access log: one line for each exchange.",
    fields: &[
        optional(
            "path",
            Kind::Text(&LOG_PLACE),
            "stdout",
            "A file, by its absolute path, reopened on SIGHUP; or `stdout`, or `off`.",
        ),
        optional("format", Kind::Choice(LOG_FORMATS), "what `--log-format` says", "How a line looks."),
    ],
};

const LOG_FORMATS: &[Choice] =
    &[choice("text", "`key=value` pairs, for eyes"), choice("json", "one JSON object a line, for programs")];

const STATE: Section = Section {
    name: "state",
    about: "How the process starts and ends.",
    fields: &[optional(
        "drain_timeout",
        WAIT,
        "30s",
        "How long streams may finish when the process is told to end.",
    )],
};

const SOCKET: Format =
    Format { word: "IP address and port", pattern: "^[^/]+:[0-9]{1,5}$", example: "127.0.0.1:8080" };
const NETWORK: Format =
    Format { word: "network", pattern: "^[0-9a-fA-F.:]+(/[0-9]{1,3})?$", example: "10.0.0.0/8" };
const URL: Format = Format { word: "URL", pattern: "^https?://[^?#@]+$", example: "http://10.0.0.1:8000" };
const NAME: Format = Format { word: "name", pattern: "^[A-Za-z0-9._:/@+-]{1,64}$", example: "llama" };
const MODEL: Format = Format { word: "model", pattern: "^[A-Za-z0-9._:/@+-]{1,256}$", example: "llama-3-8b" };
const ALIAS: Format =
    Format { word: "model", pattern: "^[A-Za-z0-9._:/@+*-]{1,256}$", example: "llama-3-8b" };
const MODEL_GLOB: Format =
    Format { word: "model glob", pattern: "^[A-Za-z0-9._:/@+*?-]{1,256}$", example: "llama-*" };
const TITLE: Format = Format { word: "title", pattern: "^[^\\n]{1,256}$", example: "Llama 3 8B" };
const MONEY: Format =
    Format { word: "amount in dollars", pattern: "^[0-9]{1,9}(\\.[0-9]{1,6})?$", example: "\"0.25\"" };
const PATH: Format = Format { word: "path", pattern: "^/[^?#]*$", example: "/v1/chat/completions" };
const QUESTION: Format =
    Format { word: "path with or without a query", pattern: "^/[^#\\s]*$", example: "/metrics" };
const P95: Format = Format { word: "`p95`", pattern: "^p95$", example: "p95" };
const OFF: Format = Format { word: "`off`", pattern: "^off$", example: "off" };
const METHOD: Format = Format { word: "method", pattern: "^[^a-z\\s]+$", example: "POST" };
const HOST: Format = Format { word: "host", pattern: "^[^/\\s]+$", example: "api.example.com" };
const HEADER_GLOB: Format = Format { word: "glob", pattern: "^.+$", example: "*" };
const HEADER_NAME: Format =
    Format { word: "name of a header", pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", example: "x-tenant" };
const LINE: Format = Format { word: "text", pattern: "^.*$", example: "eu" };
const VARIABLE: Format =
    Format { word: "variable name", pattern: "^[A-Za-z_][A-Za-z0-9_]*$", example: "OPENAI_API_KEY" };
const FILE_NAME: Format = Format { word: "file", pattern: "^.+$", example: "/run/secrets/openai" };
const PEM_FILE: Format = Format { word: "file", pattern: "^.+$", example: "/etc/ringway/site.pem" };
const KEY_FILE: Format = Format { word: "file", pattern: "^.+$", example: "/etc/ringway/site.key" };
const LOG_PLACE: Format =
    Format { word: "file, `stdout` or `off`", pattern: "^(/.*[^/]|stdout|off)$", example: "stdout" };
