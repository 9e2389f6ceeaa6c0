//! What a right configuration becomes: the snapshot, value by value.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ringway_contract::snapshot::{
    AccessLog, Admission, AwsKey, BackendTls, Balance, Capabilities, CertificateFiles, Class, Connections,
    Credential, Dialect, Engine, Fallback, HalfClose, HeaderMatch, Heartbeat, Hedge, Hosting, Limits,
    Listener, ListenerTimeouts, ListenerTls, LogFormat, Logging, Match, Model, Order, Price, Reasoning,
    Retry, RouteTimeouts, Score, Sessions, Target, Tenants, Tracing,
};
use ringway_contract::{Bytes, MicroDollars, Millis, Snapshot};
use ringway_controlplane::config::{self, Config, Environment, SecretFile, Source};
use ringway_controlplane::scrape;

struct Keys;

impl Environment for Keys {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "SESSION_KEY" => Some("0123456789abcdef".to_owned()),
            name => name.ends_with("_API_KEY").then(|| "sk-canary".to_owned()),
        }
    }

    fn file(&self, path: &Path) -> io::Result<SecretFile> {
        match path.extension() {
            Some(_) => Ok(SecretFile { text: "sk-from-file\n".to_owned(), open_to_all: false }),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }
}

fn accept(text: &str) -> Config {
    config::check(&Source::new("ringway.yaml", text), &Keys).unwrap_or_else(|report| panic!("{report}"))
}

fn snap(text: &str) -> Snapshot {
    config::snapshot(&accept(text), &|_, _| Vec::new())
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn example(name: &str) -> String {
    std::fs::read_to_string(root().join("docs/examples").join(name)).expect("it is part of the tree")
}

/// A whole file around one backend.
fn with_backend(backend: &str) -> String {
    format!(
        "version: 1\nlisteners: [{{address: 127.0.0.1:8080}}]\nbackends: {{b: {backend}}}\n\
         routes: [{{name: all, match: {{path_prefix: /}}, targets: [{{backend: b}}]}}]\n"
    )
}

/// A whole file around one match.
fn with_match(matches: &str) -> String {
    format!(
        "version: 1\nlisteners: [{{address: 127.0.0.1:8080}}]\n\
         backends: {{b: {{engine: http, endpoints: [\"http://10.0.0.1\"]}}}}\n\
         routes: [{{name: all, match: {matches}, targets: [{{backend: b}}]}}]\n"
    )
}

#[test]
fn what_is_known_of_models_arrives_as_it_was_written() {
    let models = concat!(
        "models: [{name: \"gpt-5*\", owner: openai, context: 400000, max_output: 128000, ",
        "price: {input: \"1.25\", output: \"10\", cache_read: \"0.125\"}, ",
        "capabilities: {audio: false, reasoning: effort}}, {name: local}]\n"
    );
    let snapshot = snap(&(with_backend("{engine: vllm, endpoints: [\"http://10.0.0.1:8000\"]}") + models));
    let expected = Model {
        name: "gpt-5*".to_owned(),
        owner: Some("openai".to_owned()),
        context_tokens: Some(400_000),
        output_tokens_max: Some(128_000),
        price: Some(Price {
            input: MicroDollars::new(1_250_000),
            output: MicroDollars::new(10_000_000),
            cache_read: Some(MicroDollars::new(125_000)),
            cache_write: None,
        }),
        capabilities: Capabilities {
            audio: Some(false),
            reasoning: Some(Reasoning::Effort),
            ..Capabilities::default()
        },
        ..Model::default()
    };
    assert_eq!(snapshot.models, [expected, Model { name: "local".to_owned(), ..Model::default() }]);
}

#[test]
fn hosts_of_models_get_the_proof_that_each_asks_for() {
    let backend = |text: &str| snap(&with_backend(text)).backends[0].clone();
    let azure = backend(
        "{engine: openai, endpoints: [\"https://h\"], credential: {env: AZURE_API_KEY}, hosting: {azure: {api_version: \"2024-10-21\"}}}",
    );
    let credential =
        |header: &str, value: &str| Some(Credential { header: header.to_owned(), value: value.to_owned() });
    assert_eq!(azure.credential, credential("api-key", "sk-canary"));
    let bedrock = backend(
        "{engine: anthropic, endpoints: [\"https://h\"], credential: {env: AWS_API_KEY}, hosting: {bedrock: {region: us-east-1, access_key_id: AKIA1, session_token: {file: token.txt}}}}",
    );
    let key = AwsKey {
        id: "AKIA1".to_owned(),
        secret: "sk-canary".to_owned(),
        session_token: Some("sk-from-file".to_owned()),
    };
    assert_eq!(bedrock.hosting, Some(Hosting::Bedrock { region: "us-east-1".to_owned(), key: Some(key) }));
    assert_eq!(bedrock.credential, None, "it is never sent");
    let keyed = backend(
        "{engine: anthropic, endpoints: [\"https://h\"], credential: {env: AWS_API_KEY}, hosting: {bedrock: {region: us-east-1}}}",
    );
    assert_eq!(keyed.hosting, Some(Hosting::Bedrock { region: "us-east-1".to_owned(), key: None }));
    assert_eq!(keyed.credential, credential("authorization", "Bearer sk-canary"));
    let vertex = backend(
        "{engine: gemini, endpoints: [\"https://h\"], credential: {env: GOOGLE_API_KEY}, hosting: {vertex: {project: p, location: global}}}",
    );
    assert_eq!(vertex.credential, credential("authorization", "Bearer sk-canary"));
}

#[test]
fn the_shortest_file_gets_every_default() {
    let snapshot = snap(&with_backend("{engine: vllm, endpoints: [\"http://10.0.0.1:8000\"]}"));
    assert_eq!(snapshot.format, 1);
    assert_eq!(snapshot.listeners[0].timeouts, ListenerTimeouts::default());
    assert_eq!(snapshot.listeners[0].half_close, HalfClose::Gone);
    assert_eq!(snapshot.admin, None);
    let backend = &snapshot.backends[0];
    assert_eq!((backend.engine, backend.dialect), (Engine::Vllm, Dialect::OpenaiChat));
    assert_eq!((backend.balance, backend.connections), (Balance::LeastRequests, Connections::default()));
    assert_eq!(backend.connect_timeout_ms, Millis::from_secs(2));
    let endpoint = &backend.endpoints[0];
    assert_eq!(endpoint.addresses, [address("10.0.0.1:8000")], "a literal address needs no resolver");
    assert_eq!(
        (endpoint.authority.as_str(), endpoint.base_path.as_str(), endpoint.weight),
        ("10.0.0.1:8000", "", 1)
    );
    let route = &snapshot.routes[0];
    assert_eq!(route.targets, [Target { backend: "b".into(), weight: 100, model: None }]);
    assert_eq!((route.timeouts, route.retry), (RouteTimeouts::default(), Retry::default()));
    assert!(!route.expose && !route.preserve_host && !route.idempotent);
    assert_eq!(route.trace, Tracing::default());
    assert_eq!((snapshot.limits, snapshot.logging), (Limits::default(), Logging::default()));
    assert_eq!(snapshot.drain_timeout_ms, Millis::from_secs(30));
}

#[test]
fn a_queue_in_front_of_a_backend_arrives_with_its_limits() {
    let admission = |written: &str| {
        let backend = format!("{{engine: vllm, endpoints: [\"http://10.0.0.1\"], admission: {written}}}");
        snap(&with_backend(&backend)).backends[0].admission
    };
    assert_eq!(
        snap(&with_backend("{engine: vllm, endpoints: [\"http://10.0.0.1\"]}")).backends[0].admission,
        None
    );
    assert_eq!(admission("{queue: 1024}"), Some(Admission::default()));
    let waits = |written: &str| admission(written).expect("it was written").wait_ms.map(Millis::get);
    assert_eq!(waits("{max_wait: 5s}"), [5_000; 3]);
    assert_eq!(waits("{max_wait: 5s, wait: {batch: 2m}}"), [5_000, 5_000, 120_000]);
    assert_eq!(waits("{wait: {interactive: 500ms}}"), [500, 10_000, 60_000]);
    let all = "{queue: 3, queue_bytes: 1MiB, order: fifo, u_limit: 1s, kv_limit: 90%, itl_limit: 100ms, ttft_slo: 2s}";
    let expected = Admission {
        queue: 3,
        queue_bytes: Bytes::from_kib(1_024),
        wait_ms: Admission::default().wait_ms,
        order: Order::Fifo,
        u_limit_ms: Millis::from_secs(1),
        kv_limit_percent: 90,
        itl_limit_ms: Some(Millis::new(100)),
        ttft_slo_ms: Some(Millis::from_secs(2)),
    };
    assert_eq!(admission(all), Some(expected));
}

#[test]
fn tenants_are_who_a_header_says_and_weigh_one_unless_it_is_said() {
    let tenants = |written: &str| {
        let backend =
            format!("{{engine: vllm, endpoints: [\"http://10.0.0.1\"], admission: {{tenants: {written}}}}}");
        snap(&with_backend(&backend)).backends.remove(0).tenants
    };
    let weights = BTreeMap::from([("acme".to_owned(), 3), ("a b".to_owned(), 1)]);
    let header = || "x-tenant".to_owned();
    assert_eq!(tenants("{header: X-Tenant}"), Some(Tenants { header: header(), weights: BTreeMap::new() }));
    let written = "{header: x-tenant, weights: {acme: 3, \"a b\": 1}}";
    assert_eq!(tenants(written), Some(Tenants { header: header(), weights }));
}

#[test]
fn a_heartbeat_is_a_time_or_more_than_that() {
    let heartbeat = |written: &str| {
        let text = with_backend("{engine: vllm, endpoints: [\"http://10.0.0.1\"]}");
        let text = text.replace("targets: [", &format!("heartbeat: {written}, targets: ["));
        snap(&text).routes[0].heartbeat
    };
    let beat = |every_s, commit_after_s: Option<u64>| {
        let commit_after_ms = commit_after_s.map(Millis::from_secs);
        Some(Heartbeat { every_ms: Millis::from_secs(every_s), commit_after_ms })
    };
    assert_eq!(heartbeat("15s"), beat(15, None));
    assert_eq!(heartbeat("{}"), beat(15, None));
    assert_eq!(heartbeat("{every: 5s, commit_after: 25s}"), beat(5, Some(25)));
}

#[test]
fn a_hedge_has_a_time_or_takes_the_95th_percentile() {
    let hedge = |written: &str| {
        let text = with_backend("{engine: vllm, endpoints: [\"http://10.0.0.1\"]}");
        let text = text.replace("targets: [", &format!("idempotent: true, hedge: {written}, targets: ["));
        snap(&text).routes[0].hedge.expect("it was written")
    };
    assert_eq!(hedge("{}"), Hedge { after_ms: None, budget_percent: 1 });
    assert_eq!(hedge("{after: p95, budget: 3%}"), Hedge { after_ms: None, budget_percent: 3 });
    let after_ms = Some(Millis::new(500));
    assert_eq!(hedge("{after: 500ms, budget: 5%}"), Hedge { after_ms, budget_percent: 5 });
}

#[test]
fn fallbacks_arrive_in_their_order_and_the_class_with_them() {
    let snapshot = snap(&example("full.yaml"));
    let chat = &snapshot.routes[0];
    assert_eq!(
        chat.fallback,
        [Fallback { backend: "llama-next".into(), model: Some("llama-next-8b".into()) }]
    );
    assert_eq!((chat.class, snapshot.routes[1].class), (Class::Interactive, Class::Default));
    assert_eq!(snapshot.routes[1].fallback, []);
}

#[test]
fn a_snapshot_of_what_the_contract_would_read_back_is_the_same() {
    let snapshot = snap(&example("full.yaml"));
    let json = serde_json::to_string(&snapshot).expect("it is plain data");
    assert_eq!(serde_json::from_str::<Snapshot>(&json).expect("it was just written"), snapshot);
}

#[test]
fn every_field_of_the_full_example_arrives() {
    let config = accept(&example("full.yaml"));
    assert_eq!(config.names_to_resolve(), [("localhost".to_owned(), 8001)]);
    assert_eq!(config.warnings(), []);
    let snapshot = config::snapshot(&config, &|host, port| {
        assert_eq!((host, port), ("localhost", 8001));
        vec![address("127.0.0.1:8001")]
    });
    let expected = Listener {
        address: address("127.0.0.1:8080"),
        timeouts: ListenerTimeouts::default(),
        half_close: HalfClose::Gone,
        trusted_proxies: vec![
            "10.0.0.0/8".parse().expect("a network"),
            "::1/128".parse().expect("a network"),
        ],
        tls: None,
    };
    assert_eq!(snapshot.listeners[0], expected);
    assert_eq!(snapshot.listeners[1].address, address("[::1]:8080"));
    assert_eq!(snapshot.admin, Some(address("127.0.0.1:9190")));

    let names: Vec<_> = snapshot.backends.iter().map(|backend| backend.name.as_str()).collect();
    assert_eq!(
        names,
        ["llama", "llama-next", "tuned", "agents", "claude", "gemini", "site"],
        "in the order of the file"
    );
    let dialects: Vec<_> = snapshot.backends.iter().map(|backend| backend.dialect).collect();
    let (chat, http) = (Dialect::OpenaiChat, Dialect::Http);
    let (responses, messages, gemini) =
        (Dialect::OpenaiResponses, Dialect::AnthropicMessages, Dialect::Gemini);
    assert_eq!(dialects, [chat, chat, chat, responses, messages, gemini, http]);
    let second = &snapshot.backends[0].endpoints[1];
    assert_eq!(second.addresses, [address("127.0.0.1:8001")]);
    assert_eq!((second.authority.as_str(), second.weight), ("localhost:8001", 2));
    let labels = [("gpu", "h100"), ("region", "eu")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(second.labels, BTreeMap::from(labels));
    assert_eq!(snapshot.backends[0].models, ["llama-3-8b", "llama-3-70b"]);
    let tenants = snapshot.backends[0].tenants.as_ref().expect("they share its queue");
    assert_eq!((tenants.header.as_str(), tenants.weights["acme"]), ("x-tenant", 3));
    assert_eq!(snapshot.backends[1].balance, Balance::P2c);
    assert_eq!(snapshot.backends[6].balance, Balance::RoundRobin);
    assert_eq!(snapshot.backends[6].endpoints[0].base_path, "/app");
    let tuned = &snapshot.backends[2];
    assert_eq!((tuned.score, &tuned.sessions), (Score::default(), &Some(Sessions::default())));
    assert_eq!(tuned.lora.as_ref().and_then(|lora| lora.slots), Some(4));

    let chat = &snapshot.routes[0];
    assert_eq!(chat.matches.path.as_deref(), Some("/v1/chat/completions"));
    assert_eq!(
        (&chat.matches.methods[..], &chat.matches.models[..]),
        (&["POST".to_owned()][..], &["llama-*".to_owned(), "qwen-?b".to_owned()][..])
    );
    assert_eq!(
        chat.targets[1],
        Target { backend: "llama-next".into(), weight: 5, model: Some("llama-next-8b".into()) }
    );
    assert_eq!(chat.timeouts.first_byte_ms, Millis::from_secs(30));
    assert_eq!(chat.retry, Retry { attempts: 2, budget_percent: 10 });
    assert!(chat.expose && !chat.preserve_host);
    assert_eq!(chat.trace, Tracing { sample_percent: 1 });
    let (every_ms, commit_after_ms) = (Millis::from_secs(15), Some(Millis::from_secs(25)));
    assert_eq!(chat.heartbeat, Some(Heartbeat { every_ms, commit_after_ms }));

    let internal = &snapshot.routes[5];
    assert_eq!(internal.matches.hosts, ["*.example.com", "example.com"]);
    assert_eq!(internal.matches.headers, [HeaderMatch { name: "x-team".into(), value: "red-*".into() }]);
    assert_eq!(internal.matches.client_cidrs.len(), 2);
    assert!(internal.preserve_host && internal.idempotent);

    assert_eq!(snapshot.limits, Limits::default());
    assert_eq!(snapshot.logging, Logging { access: AccessLog::Stdout, format: Some(LogFormat::Json) });
}

#[test]
fn the_short_examples_work_and_are_ten_lines_long() {
    for name in ["vllm.yaml", "nginx.yaml"] {
        let text = example(name);
        assert!(text.lines().count() <= 10, "{name}");
        assert_eq!(accept(&text).warnings(), [], "{name}");
    }
    let proxy = snap(&example("nginx.yaml"));
    assert_eq!((proxy.backends[0].engine, proxy.backends[0].dialect), (Engine::Http, Dialect::Http));
}

#[test]
fn endpoints_behind_tls_are_read_as_requests_go_there() {
    let secure = |backend: &str| {
        let config = accept(&with_backend(backend));
        let targets = config::targets(&config, &|_, _| Vec::new());
        let name = |target: &scrape::Target| target.secure.as_ref().map(|secure| secure.name.clone());
        (targets.iter().map(name).collect::<Vec<_>>(), targets[0].secure.clone().map(|secure| secure.tls))
    };
    let both = "{engine: vllm, endpoints: [\"https://10.0.0.1\", \"http://10.0.0.2\", \"https://[2001:db8::1]:8443\"]}";
    let (names, tls) = secure(both);
    assert_eq!(names, [Some("10.0.0.1".to_owned()), None, Some("2001:db8::1".to_owned())]);
    assert_eq!(tls, Some(BackendTls::default()), "the system's authorities");
    let (names, tls) = secure(
        "{engine: vllm, endpoints: [\"https://gpu.internal/v1\"], metrics: {port: 9400}, tls: {server_name: gpu.example}}",
    );
    assert_eq!(names, [Some("gpu.example".to_owned())], "on another port, too");
    assert_eq!(tls.and_then(|tls| tls.server_name).as_deref(), Some("gpu.example"));
}

#[test]
fn what_is_read_of_endpoints_follows_the_engine_unless_the_file_says_otherwise() {
    let target = |backend: &str| {
        let config = accept(&with_backend(backend));
        config::targets(&config, &|_, _| Vec::new()).pop()
    };
    let paths = |target: &scrape::Target| target.metrics.clone().map(|metrics| (metrics.paths, metrics.port));
    let owned = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect::<Vec<_>>();

    let vllm = target("{engine: vllm, endpoints: [\"http://10.0.0.1:8000/base\"], models: m}").expect("read");
    assert_eq!((vllm.name.as_str(), vllm.models), ("b/10.0.0.1:8000", owned(&["m"])));
    let usual = scrape::Metrics { paths: owned(&["/metrics"]), port: None, interval: Millis::from_secs(1) };
    assert_eq!(vllm.metrics, Some(usual), "the path of the URL does not go before it");
    assert_eq!(vllm.health, Some(scrape::Health { path: "/health".into(), interval: Millis::from_secs(5) }));

    let sglang = target("{engine: sglang, endpoints: [\"http://10.0.0.1\"]}").expect("read");
    assert_eq!(paths(&sglang), Some((owned(&["/v1/loads", "/metrics"]), None)));
    let triton = target("{engine: triton, endpoints: [\"http://10.0.0.1:8000\"]}").expect("read");
    assert_eq!(paths(&triton), Some((owned(&["/metrics"]), Some(8_002))));

    let own =
        "metrics: {path: \"/metrics?model=m\", port: 9, interval: 250ms}, health: {path: /up, interval: 2s}";
    let own =
        target(&format!("{{engine: llamacpp, endpoints: [\"http://10.0.0.1\"], {own}}}")).expect("read");
    assert_eq!(paths(&own), Some((owned(&["/metrics?model=m"]), Some(9))));
    assert_eq!(own.health, Some(scrape::Health { path: "/up".into(), interval: Millis::from_secs(2) }));

    assert_eq!(target("{engine: openai, endpoints: [\"http://10.0.0.1\"]}"), None);
    assert_eq!(target("{engine: vllm, endpoints: [\"http://10.0.0.1\"], metrics: off, health: off}"), None);
    let plain =
        target("{engine: http, endpoints: [\"http://10.0.0.1\"], health: {path: /}}").expect("probed");
    assert!(plain.metrics.is_none() && plain.health.is_some());
}

#[test]
fn the_example_of_the_contract_is_refused_for_what_it_leaves_out_and_nothing_else() {
    let text =
        std::fs::read_to_string(root().join("controlplane/tests/fixtures/contract.yaml")).expect("ours");
    config::parse(&Source::new("ringway.yaml", text.clone())).expect("each field of it is known");
    let whole =
        config::check(&Source::new("ringway.yaml", text), &Keys).expect_err("two backends are not shown");
    let others: Vec<_> = whole.findings().iter().map(|finding| finding.at.as_str()).collect();
    assert_eq!(
        others,
        ["listeners[0].address", "routes[0].targets[1].backend", "routes[1].targets[0].backend"]
    );
}

#[test]
fn an_endpoint_says_what_it_can_do_and_else_its_backend_does() {
    let snapshot = snap(&with_backend(
        "{engine: vllm, balance: gpu, hardware: {preset: h100, kv_tokens: 100}, score: {in_flight: 5ms, gateways: 2}, \
         endpoints: [\"http://10.0.0.1\", {url: \"http://10.0.0.2\", hardware: {preset: a100}}, \
         {url: \"http://10.0.0.3\", hardware: {prefill_tokens_per_s: 7}}]}",
    ));
    let backend = &snapshot.backends[0];
    let figures = |at: usize| {
        let hardware = backend.endpoints[at].hardware;
        (hardware.prefill_tokens_per_s, hardware.kv_tokens)
    };
    assert_eq!(figures(0), (Some(35_711), Some(100)));
    assert_eq!(figures(1), (Some(12_466), Some(426_000)));
    assert_eq!(figures(2), (Some(7), Some(100)));
    let score = backend.score;
    assert_eq!((score.in_flight_ms.get(), score.kv_ms.get(), score.gateways, score.miss), (5, 150, 2, 2));
}

#[test]
fn adapters_are_names_or_globs_with_slots_if_they_are_written() {
    let lora = |text: &str| {
        let text = format!("{{engine: vllm, balance: gpu, endpoints: [\"http://10.0.0.1\"], {text}}}");
        let backend = snap(&with_backend(&text)).backends.remove(0);
        (backend.lora, backend.score)
    };
    let (written, score) =
        lora("lora: {adapters: [poet, \"law-*\"], slots: 4}, score: {adapter_load: 1ms, adapter_evict: 0ms}");
    let written = written.expect("it is written");
    assert_eq!((written.adapters, written.slots), (vec!["poet".to_owned(), "law-*".to_owned()], Some(4)));
    assert_eq!((score.adapter_load_ms.get(), score.adapter_evict_ms.get()), (1, 0));
    let (one, score) = lora("lora: {adapters: poet}");
    assert_eq!(one.map(|it| (it.adapters.len(), it.slots)), Some((1, None)));
    assert_eq!((score.adapter_load_ms.get(), score.adapter_evict_ms.get()), (50, 300));
    assert_eq!(lora("models: [m]").0, None);
}

#[test]
fn sessions_are_on_off_or_described() {
    let sessions = |text: &str| {
        let text = format!("{{engine: vllm, endpoints: [\"http://10.0.0.1\"]{text}}}");
        snap(&with_backend(&text)).backends.remove(0).sessions
    };
    assert_eq!(sessions(""), None);
    assert_eq!(sessions(", sessions: false"), None);
    let on = sessions(", sessions: true").expect("it is on");
    assert_eq!((on.ttl_ms.get(), on.key), (600_000, None));
    let told = sessions(", sessions: {ttl: 1h}, score: {session: 1s}").expect("it is on");
    assert_eq!((told.ttl_ms.get(), told.key), (3_600_000, None));
    let keyed = sessions(", sessions: {key: {env: SESSION_KEY}}").expect("it is on");
    assert_eq!((keyed.ttl_ms.get(), keyed.key.as_deref()), (600_000, Some("0123456789abcdef")));
}

#[test]
fn tls_is_told_to_the_data_plane_by_the_places_of_its_files() {
    let text = "version: 1\nlisteners:\n  - address: 127.0.0.1:8443\n    timeouts: {handshake: 3s}\n\
                \x20   tls: {certificates: [{cert: site.pem, key: /k/site.key}], client_ca: ca.pem}\n\
                backends:\n  b:\n    engine: vllm\n    endpoints: [\"https://gpu.internal/v1\", \"http://10.0.0.1\"]\n\
                \x20   tls: {ca: own.pem, server_name: GPU.example, certificate: {cert: we.pem, key: we.key}}\n\
                routes: [{name: all, match: {path_prefix: /}, targets: [{backend: b}]}]\n";
    let folder = tempfile::tempdir().expect("a place for files");
    let path = folder.path().join("ringway.yaml");
    std::fs::write(&path, text).expect("it can be written");
    let config = config::load(&path).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(config.warnings().len(), 6, "none of the files is there: {:?}", config.warnings());
    assert_eq!(config.names_to_resolve(), [("gpu.internal".to_owned(), 443)]);

    let snapshot = config::snapshot(&config, &|_, _| Vec::new());
    let at = |name: &str| folder.path().join(name).display().to_string();
    let pair = |cert: &str, key: &str| CertificateFiles { cert: at(cert), key: at(key) };
    let listener = &snapshot.listeners[0];
    assert_eq!(listener.timeouts.handshake_ms, Millis::from_secs(3));
    let shown =
        ListenerTls { certificates: vec![pair("site.pem", "/k/site.key")], client_ca: Some(at("ca.pem")) };
    assert_eq!(listener.tls, Some(shown), "relative names start at the folder of the config file");
    let backend = &snapshot.backends[0];
    let tls = BackendTls {
        ca: Some(at("own.pem")),
        server_name: Some("gpu.example".to_owned()),
        insecure_skip_verify: false,
        certificate: Some(pair("we.pem", "we.key")),
    };
    assert_eq!(backend.tls, Some(tls));
    assert_eq!(backend.endpoints.iter().map(|it| it.secure).collect::<Vec<_>>(), [true, false]);
    assert_eq!((&*backend.endpoints[0].authority, &*backend.endpoints[0].base_path), ("gpu.internal", ""));
}

#[test]
fn a_key_that_all_may_read_is_said_aloud() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().expect("a place for files");
    let text = with_backend("{engine: vllm, endpoints: [\"http://10.0.0.1\"]}")
        .replace("8080}", "8080, tls: {certificates: [{cert: a.pem, key: a.key}]}}");
    let path = folder.path().join("ringway.yaml");
    std::fs::write(&path, text).expect("it can be written");
    for (name, mode) in [("a.pem", 0o644), ("a.key", 0o644)] {
        std::fs::write(folder.path().join(name), "").expect("it can be written");
        std::fs::set_permissions(folder.path().join(name), std::fs::Permissions::from_mode(mode))
            .expect("it is ours");
    }
    let warnings = config::load(&path).unwrap_or_else(|report| panic!("{report}")).warnings().to_vec();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].at, "listeners[0].tls.certificates[0].key");
}

#[test]
fn json_is_read_like_yaml() {
    let yaml = with_backend("{engine: vllm, endpoints: [\"http://10.0.0.1:8000\"]}");
    let json = r#"{
	"version": 1,
	"listeners": [{"address": "127.0.0.1:8080"}],
	"backends": {"b": {"engine": "vllm", "endpoints": ["http:\/\/10.0.0.1:8000"]}},
	"routes": [{"name": "all", "match": {"path_prefix": "/"}, "targets": [{"backend": "b"}]}]
}"#;
    assert_eq!(snap(json), snap(&yaml));
    let compact: String = json.split_whitespace().collect();
    assert_eq!(snap(&compact), snap(&yaml));
}

#[test]
fn a_byte_order_mark_windows_line_ends_and_a_document_start_change_nothing() {
    let plain = with_backend("{engine: vllm, endpoints: [\"http://10.0.0.1:8000\"]}");
    let windows = format!("\u{feff}---\n{plain}...\n").replace('\n', "\r\n");
    assert_eq!(snap(&windows), snap(&plain));
}

#[test]
fn an_alias_stands_for_what_it_names() {
    let text = "version: 1\nlisteners: [{address: 127.0.0.1:8080}]\n\
                backends:\n  one: {engine: vllm, endpoints: &gpus [\"http://10.0.0.1\"]}\n  two: {engine: vllm, endpoints: *gpus}\n\
                routes: [{name: all, match: {path_prefix: /}, targets: [{backend: one}, {backend: two}]}]\n";
    let snapshot = snap(text);
    assert_eq!(snapshot.backends[0].endpoints, snapshot.backends[1].endpoints);
}

#[test]
fn a_credential_takes_the_header_its_engine_expects() {
    let header = |engine: &str, rest: &str| {
        let text = with_backend(&format!("{{engine: {engine}, endpoints: [\"http://10.0.0.1\"], {rest}}}"));
        let Credential { header, value } =
            snap(&text).backends[0].credential.clone().expect("one is configured");
        (header, value)
    };
    let is = |header: &str, value: &str| (header.to_owned(), value.to_owned());
    assert_eq!(header("vllm", "credential: {env: ANY_API_KEY}"), is("authorization", "Bearer sk-canary"));
    assert_eq!(header("openai", "credential: {file: a.key}"), is("authorization", "Bearer sk-from-file"));
    assert_eq!(header("http", "credential: {env: ANY_API_KEY}"), is("authorization", "Bearer sk-canary"));
    assert_eq!(header("anthropic", "credential: {env: ANY_API_KEY}"), is("x-api-key", "sk-canary"));
    assert_eq!(header("gemini", "credential: {env: ANY_API_KEY}"), is("x-goog-api-key", "sk-canary"));
    let openai_grammar = "dialect: openai-chat, credential: {env: ANY_API_KEY}";
    assert_eq!(header("gemini", openai_grammar), is("authorization", "Bearer sk-canary"));
    let messages = "dialect: anthropic-messages, credential: {env: ANY_API_KEY}";
    assert_eq!(header("vllm", messages), is("authorization", "Bearer sk-canary"));
}

#[test]
fn a_secret_shows_in_no_debug_output() {
    let text =
        with_backend("{engine: openai, endpoints: [\"http://10.0.0.1\"], credential: {env: ANY_API_KEY}}");
    let config = accept(&text);
    let shown = format!("{config:?}{:?}", config::snapshot(&config, &|_, _| Vec::new()));
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn urls_of_endpoints_are_taken_apart() {
    let endpoint = |url: &str| {
        let text = with_backend(&format!("{{engine: openai, endpoints: [\"{url}\"]}}"));
        let endpoint = config::snapshot(&accept(&text), &|_, _| Vec::new()).backends[0].endpoints[0].clone();
        (endpoint.authority, endpoint.addresses, endpoint.base_path)
    };
    let ip =
        |authority: &str, at: &str, base: &str| (authority.to_owned(), vec![address(at)], base.to_owned());
    let name = |authority: &str, base: &str| (authority.to_owned(), vec![], base.to_owned());
    assert_eq!(endpoint("http://10.0.0.1"), ip("10.0.0.1", "10.0.0.1:80", ""));
    assert_eq!(endpoint("http://10.0.0.1:8000/"), ip("10.0.0.1:8000", "10.0.0.1:8000", ""));
    assert_eq!(endpoint("http://10.0.0.1:8000/a/"), ip("10.0.0.1:8000", "10.0.0.1:8000", "/a"));
    assert_eq!(endpoint("http://[fd00::1]:8000"), ip("[fd00::1]:8000", "[fd00::1]:8000", ""));
    assert_eq!(endpoint("HTTP://GPU-1.Internal:8000/a/b"), name("gpu-1.internal:8000", "/a/b"));
    assert_eq!(endpoint("http://vllm_0"), name("vllm_0", ""));
}

#[test]
fn a_base_url_as_clients_want_it_does_not_name_the_version_twice() {
    let base = |engine: &str, path: &str| {
        let text = format!(
            "version: 1\nlisteners: [{{address: 127.0.0.1:8080}}]\nbackends:\n  b: {{engine: {engine}, endpoints: \
             [\"http://10.0.0.1{path}\"]}}\nroutes: [{{name: all, match: {{path_prefix: /}}, targets: [{{backend: b}}]}}]\n"
        );
        config::snapshot(&accept(&text), &|_, _| Vec::new()).backends[0].endpoints[0].base_path.clone()
    };
    for (engine, path, left) in [
        ("openai", "/api/v1", "/api"),
        ("vllm", "/v1/", ""),
        ("anthropic", "/v1", ""),
        ("gemini", "/v1beta", ""),
        ("openai", "/v1beta", "/v1beta"),
        ("openai", "/v12", "/v12"),
        ("openai", "/v1/team", "/v1/team"),
        ("http", "/v1", "/v1"),
    ] {
        assert_eq!(base(engine, path), left, "{engine} {path}");
    }
}

#[test]
fn names_are_resolved_once_each_and_lead_to_no_metadata_service() {
    let text = with_backend(
        "{engine: vllm, endpoints: [\"http://gpu:8000\", \"http://gpu:8001\", \"http://GPU:8000/v2\", \"http://10.0.0.1\"]}",
    );
    // The third is the first again under another path: one endpoint cannot be told from the other.
    let report = config::check(&Source::new("ringway.yaml", text.clone()), &Keys).expect_err("a duplicate");
    assert_eq!(report.problems()[0].at, "backends.b.endpoints[2]");

    let config = accept(&text.replace(" \"http://GPU:8000/v2\",", ""));
    assert_eq!(config.names_to_resolve(), [("gpu".to_owned(), 8000), ("gpu".to_owned(), 8001)]);
    let snapshot = config::snapshot(&config, &|_, port| {
        ["169.254.169.254", "10.9.9.9", "127.0.0.1", "0.0.0.0", "224.0.0.1"]
            .map(|ip| SocketAddr::new(ip.parse().expect("an address"), port))
            .to_vec()
    });
    let allowed = [address("10.9.9.9:8000"), address("127.0.0.1:8000")];
    assert_eq!(snapshot.backends[0].endpoints[0].addresses, allowed);
}

#[test]
fn more_addresses_than_the_data_plane_takes_are_left_out() {
    let config = accept(&with_backend("{engine: vllm, endpoints: [\"http://gpu:8000\"]}"));
    let snapshot = config::snapshot(&config, &|_, port| {
        (0..=255).map(|last| SocketAddr::from(([10, 0, 0, last], port))).collect()
    });
    assert_eq!(snapshot.backends[0].endpoints[0].addresses.len(), 64);
}

#[test]
fn more_endpoints_than_the_data_plane_takes_are_refused() {
    let urls: Vec<_> = (0..3_000).map(|n| format!("\"http://10.0.{}.{}\"", n / 250, n % 250)).collect();
    let backend = format!("{{engine: vllm, endpoints: [{}]}}", urls.join(", "));
    let three = with_backend(&format!("{backend}, c: {backend}, d: {backend}"));
    let report = config::check(&Source::new("ringway.yaml", three), &Keys).expect_err("9,000 are too many");
    assert_eq!(report.problems()[0].at, "backends.d");
    accept(&with_backend(&format!("{backend}, c: {backend}")));
}

#[test]
fn addresses_in_ipv6_clothes_are_judged_by_what_they_are() {
    let may = |ip: &str| config::may_connect(ip.parse().expect("an address"));
    for ip in [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fe80::1",
        "ff02::1",
        "::",
        "0.1.2.3",
        "255.255.255.255",
    ] {
        assert!(!may(ip), "{ip}");
    }
    for ip in ["fd00:ec2::254", "100.100.100.200"] {
        assert!(!may(ip), "{ip} is a metadata service");
    }
    for ip in ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "fd00::1", "100.64.0.1", "8.8.8.8"] {
        assert!(may(ip), "{ip}");
    }
}

#[test]
fn conditions_are_one_text_or_a_list() {
    let matches = |text: &str| snap(&with_match(text)).routes[0].matches.clone();
    assert_eq!(matches("{method: GET}"), matches("{method: [GET]}"));
    assert_eq!(matches("{host: Example.COM}").hosts, ["example.com"], "hosts are compared in lower case");
    assert_eq!(matches("{host: \"[::1]\"}").hosts, ["[::1]"]);
    assert_eq!(matches("{model: \"*\"}").models, ["*"]);
    assert_eq!(matches("{model: [a-*, meta-llama/Llama-3.1-8B]}").models, ["a-*", "meta-llama/Llama-3.1-8B"]);
    assert_eq!(matches("{client_cidr: 10.1.2.3}").client_cidrs, ["10.1.2.3/32".parse().expect("a network")]);
    assert_eq!(matches("{headers: {X-Team: \"*\"}}").headers[0].name, "x-team");
    assert_eq!(matches("{path: /a%20b}"), Match { path: Some("/a%20b".into()), ..Match::default() });
}

#[test]
fn the_access_log_goes_where_it_is_told_in_every_spelling() {
    let logging = |text: &str| snap(&format!("{}logging: {text}\n", with_match("{path_prefix: /}"))).logging;
    let to = |access, format| Logging { access, format };
    assert_eq!(logging("{access: stdout}"), to(AccessLog::Stdout, None));
    assert_eq!(logging("{access: off}"), to(AccessLog::Off, None));
    assert_eq!(logging("{access: /var/log/a.log}"), to(AccessLog::Path("/var/log/a.log".into()), None));
    assert_eq!(logging("{access: {path: off}}"), to(AccessLog::Off, None));
    assert_eq!(logging("{access: {format: json}}"), to(AccessLog::Stdout, Some(LogFormat::Json)));
    let file = to(AccessLog::Path("/x".into()), Some(LogFormat::Text));
    assert_eq!(logging("{access: {path: /x, format: text}}"), file);
}

#[test]
fn sizes_are_bytes_or_powers_of_two() {
    let head = |text: &str| {
        snap(&format!("{}limits: {{request_head: {text}}}\n", with_match("{path_prefix: /}")))
            .limits
            .request_head
    };
    assert_eq!(head("16KiB"), Bytes::from_kib(16));
    assert_eq!(head("16384"), Bytes::from_kib(16));
    assert_eq!(head("\"16384\""), Bytes::from_kib(16));
    assert_eq!(head("16384B"), Bytes::from_kib(16));
}

#[test]
fn one_port_may_be_listened_on_for_both_families() {
    let text = with_match("{path_prefix: /}").replace(
        "[{address: 127.0.0.1:8080}]",
        "[{address: 127.0.0.1:80}, {address: \"[::1]:80\"}, {address: 127.0.0.2:80}]",
    );
    assert_eq!(snap(&text).listeners.len(), 3);
}

#[test]
fn parse_and_resolve_in_two_steps_give_what_check_gives() {
    let source = Source::new("ringway.yaml", example("full.yaml"));
    let file = config::parse(&source).expect("it is right");
    assert_eq!(config::resolve(file, &source, &Keys), config::check(&source, &Keys));
}

#[test]
fn a_file_on_disk_finds_its_secrets_beside_it() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().expect("a place for files");
    let text =
        with_backend("{engine: openai, endpoints: [\"http://10.0.0.1\"], credential: {file: openai.key}}");
    let path = folder.path().join("ringway.yaml");
    std::fs::write(&path, text).expect("it can be written");
    let missing = config::load(&path).expect_err("the secret is not there");
    assert!(missing.render(false).contains("cannot read `openai.key`"), "{missing}");

    let key = folder.path().join("openai.key");
    std::fs::write(&key, "sk-beside\n").expect("it can be written");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    let config = config::load(&path).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(config.warnings(), []);
    let snapshot = config::snapshot(&config, &|_, _| Vec::new());
    assert_eq!(snapshot.backends[0].credential.as_ref().expect("it was read").value, "Bearer sk-beside");

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    let config = config::load(&path).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(config.warnings().len(), 1, "a secret that all may read is said aloud");
}

#[test]
fn calls_of_one_dialect_may_lead_to_backends_of_another_strictly_or_not() {
    for (matches, engine) in [
        ("path: /v1/chat/completions", "anthropic"),
        ("path: /v1/responses", "openai"),
        ("path_prefix: /v1/messages", "vllm"),
        ("path_prefix: /v1beta", "openai"),
        ("path: '/v1beta/models/m:streamGenerateContent'", "anthropic"),
        ("path_prefix: /v1", "gemini"),
    ] {
        for strict in [false, true] {
            let text = format!(
                "version: 1\nlisteners: [{{address: 127.0.0.1:8080}}]\n\
                 backends: {{b: {{engine: {engine}, endpoints: [\"http://10.0.0.1\"]}}}}\n\
                 routes: [{{name: all, match: {{{matches}}}, strict: {strict}, targets: [{{backend: b}}]}}]\n"
            );
            assert_eq!(snap(&text).routes[0].strict, strict, "{matches} to {engine}");
        }
    }
}
