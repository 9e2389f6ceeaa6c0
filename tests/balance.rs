//! Where requests go when the endpoint is chosen by what is asked: prompts to the caches that hold them, less to the
//! slower, the same path to the same server.
//!
//! Owns: `balance: gpu` and `hash` over real sockets, against simulated GPU servers; and that all load is given back.
//! Must not: measure goodput; the acceptance scenarios do that.
//! Read next: `src/gateway.rs`.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringway_contract::snapshot::{Balance, Engine, Hardware, Lora, Match, Sessions, Snapshot};
use ringway_contract::stats::EndpointStats;
use ringway_tests::client::{get, post};
use ringway_tests::process::Companion;
use ringway_tests::setup::{exactly, prefix, route};
use ringway_tests::{Client, Gateway, Io, Origin, Peer, Setup, each_driver};
use serde_json::{Value, json};

const PATH: &str = "/v1/chat/completions";
const H100: Hardware = Hardware { prefill_tokens_per_s: Some(35_711), kv_tokens: Some(426_000) };
const A100: Hardware = Hardware { prefill_tokens_per_s: Some(12_466), kv_tokens: Some(426_000) };

/// Simulated servers, one for each of `gpus` (`h100:1,a100:1`), and where they listen.
fn fleet(gpus: &str, replicas: usize, more: &[&str]) -> (Companion, Vec<SocketAddr>) {
    let folder = std::env::temp_dir();
    let base = ["sim", "--listen", "127.0.0.1:0", "--model", "m", "--gpu", gpus];
    let mut sim = Companion::start("ringload", &[&base[..], more].concat(), &folder);
    let addresses = |sim: &Companion| -> Vec<SocketAddr> {
        let output = sim.output();
        let announced = output.lines().filter_map(|line| line.rsplit_once("http://"));
        announced.filter_map(|(_, address)| address.trim().parse().ok()).collect()
    };
    sim.wait_until("replicas", |sim| addresses(sim).len() == replicas);
    let addresses = addresses(&sim);
    (sim, addresses)
}

fn gpu(io: Io, servers: &[SocketAddr], hardware: &[Hardware]) -> Gateway {
    let setup = Setup::model(PATH, Engine::Vllm, servers).tune(|snapshot| {
        snapshot.routes[0].expose = true;
        let backend = &mut snapshot.backends[0];
        backend.balance = Balance::Gpu;
        for (endpoint, hardware) in backend.endpoints.iter_mut().zip(hardware) {
            endpoint.hardware = *hardware;
        }
    });
    Gateway::start(io, setup)
}

/// A prompt of so many bytes of its own words, whoever asks with the same seed.
fn words(seed: u64, bytes: usize) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    let words: Vec<String> = (0..bytes / 8).map(|_| format!("{:07x}", rng.u32(..1 << 28))).collect();
    words.join(" ")
}

fn chat(prefix: &str, question: &str, more: &Value) -> Vec<u8> {
    let mut body = json!({
        "model": "m",
        "messages": [{"role": "system", "content": prefix}, {"role": "user", "content": question}],
    });
    let fields = body.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    post(PATH, body.to_string())
}

fn endpoints(gateway: &Gateway) -> Vec<EndpointStats> {
    gateway.stats().endpoints
}

/// Waits until nothing is counted on any endpoint, and says so of the underflows too.
fn assert_given_back(gateway: &Gateway) {
    let deadline = Instant::now() + Duration::from_secs(5);
    let tokens =
        |one: &EndpointStats| one.own.uncached_tokens + one.own.prompt_tokens + one.own.generated_tokens;
    let left = |one: &EndpointStats| one.in_flight + tokens(one);
    while endpoints(gateway).iter().any(|one| left(one) > 0) {
        assert!(Instant::now() < deadline, "load is left: {:?}", endpoints(gateway));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(gateway.stats().load_underflow_total, 0);
}

#[test]
fn a_shared_prefix_goes_where_it_is_cached() {
    each_driver(|io| {
        let (_sim, servers) = fleet("h100", 2, &["--replicas", "2"]);
        let gateway = gpu(io, &servers, &[H100, H100]);
        let mut used = BTreeMap::<String, u32>::new();
        for family in 0..6 {
            let prefix = words(family, 8_000);
            let mut first = None;
            for turn in 0..3 {
                let answer = gateway.ask(chat(&prefix, &words(1_000 + turn, 400), &json!({"max_tokens": 2})));
                assert_eq!(answer.status(), 200, "{}", answer.text());
                let endpoint = answer.head.one("x-ringway-backend").expect("the route exposes it");
                assert_eq!(*first.get_or_insert_with(|| endpoint.clone()), endpoint, "family {family}");
                let cached = answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"].clone();
                assert!(turn == 0 || cached.as_u64() > Some(1_900), "turn {turn} found {cached}");
            }
            *used.entry(first.expect("three turns")).or_default() += 1;
        }
        assert_eq!(used.len(), 2, "new prefixes go to both: {used:?}");
        assert!(
            endpoints(&gateway)
                .iter()
                .all(|one| one.estimate.as_ref().is_some_and(|it| it.cached_blocks > 60))
        );
        assert_given_back(&gateway);
        gateway.finish();
    });
}

#[test]
fn explain_tells_what_a_cached_prefix_is_worth() {
    let (_sim, servers) = fleet("h100", 2, &["--replicas", "2"]);
    let gateway = gpu(Io::Epoll, &servers, &[H100, H100]);
    let prefix = words(1, 8_000);
    let answer = gateway.ask(chat(&prefix, "and?", &json!({"max_tokens": 1})));
    let endpoint = answer.head.one("x-ringway-backend").expect("the route exposes it");
    let messages =
        [json!({"role": "system", "content": prefix}), json!({"role": "user", "content": "then?"})];
    let question = json!({"path": PATH, "body": {"model": "m", "messages": messages}});
    let explanation = gateway.control(
        "POST",
        "/v1/explain",
        "Content-Type: application/json\r\n",
        question.to_string().as_bytes(),
    );
    let explanation = explanation.json();
    let [best, other] = &explanation["endpoints"].as_array().expect("candidates")[..] else { panic!("two") };
    assert_eq!(format!("model/{}", best["endpoint"].as_str().expect("a name")), endpoint);
    let miss = |candidate: &Value| candidate["cost"]["miss_tokens"].as_u64().expect("tokens");
    assert!(miss(best) < 100 && miss(other) > 1_900, "{explanation}");
    assert!(best["score"].as_f64() < other["score"].as_f64());
    gateway.finish();
}

/// `balance: gpu` on servers that hold two adapters each, of those named `law-…` and `poet`.
fn with_adapters(io: Io, servers: &[SocketAddr], change: impl FnOnce(&mut Snapshot)) -> Gateway {
    let setup = Setup::model(PATH, Engine::Vllm, servers).tune(|snapshot| {
        snapshot.routes[0].expose = true;
        let backend = &mut snapshot.backends[0];
        backend.balance = Balance::Gpu;
        backend.lora = Some(Lora { adapters: vec!["poet".into(), "law-*".into()], slots: Some(2) });
        change(snapshot);
    });
    Gateway::start(io, setup)
}

/// Where a short request for this model went.
fn asked_of(gateway: &Gateway, model: &str) -> String {
    let body = json!({"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "who?"}]});
    let answer = gateway.ask(post(PATH, body.to_string()));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.head.one("x-ringway-backend").expect("the route exposes it")
}

fn adapter_loads(server: SocketAddr) -> u64 {
    let page = Client::connect(server).ask(get("/metrics")).text();
    let line = page.lines().find(|line| line.starts_with("sim_lora_loads_total"));
    let value = line.and_then(|line| line.rsplit_once(' ')).expect("servers tell").1;
    value.parse::<f64>().expect("a number") as u64
}

#[test]
fn requests_for_an_adapter_keep_to_the_server_that_has_it_in_memory() {
    each_driver(|io| {
        let more = ["--replicas", "2", "--lora", "poet,law-eu,law-us", "--lora-slots", "2"];
        let (_sim, servers) = fleet("h100", 2, &more);
        let gateway = with_adapters(io, &servers, |snapshot| {
            // One of them by another name: what counts is what the server is asked for.
            let alias = |name: &str, asked: &str, model: &str| {
                let matches = Match { models: vec![asked.into()], ..exactly(PATH) };
                let mut route = route(name, matches, "model");
                (route.expose, route.targets[0].model) = (true, Some(model.into()));
                route
            };
            snapshot.routes.insert(0, alias("one", "muse", "poet"));
            snapshot.routes.insert(1, alias("many", "europe/*", "law-*"));
        });
        let mut homes = BTreeMap::<&str, HashSet<String>>::new();
        for _ in 0..8 {
            for (asked, adapter) in [
                ("poet", "poet"),
                ("law-us", "law-us"),
                ("europe/eu", "law-eu"),
                ("muse", "poet"),
                ("law-eu", "law-eu"),
            ] {
                homes.entry(adapter).or_default().insert(asked_of(&gateway, asked));
            }
            asked_of(&gateway, "m"); // the model itself takes no slot
        }
        assert!(homes.values().all(|home| home.len() == 1), "{homes:?}");
        assert_eq!(servers.iter().map(|server| adapter_loads(*server)).sum::<u64>(), 3);
        let resident: Vec<_> = endpoints(&gateway).into_iter().filter_map(|one| one.adapters).collect();
        assert!(resident.iter().all(|one| one.slots == 2));
        let mut named: Vec<_> = resident.into_iter().flat_map(|one| one.resident).collect();
        named.sort_unstable();
        assert_eq!(named, ["law-eu", "law-us", "poet"]);
        assert_given_back(&gateway);
        gateway.finish();
    });
}

#[test]
fn an_adapter_that_a_server_reports_is_in_memory_there_and_explain_says_so() {
    let (_sim, servers) =
        fleet("h100", 2, &["--replicas", "2", "--lora", "poet,law-eu", "--lora-slots", "2"]);
    let gateway = with_adapters(Io::Epoll, &servers, |_| {});
    let fields = "Content-Type: application/json\r\n";
    for server in &servers[1..] {
        let load = json!({"endpoints": [{"endpoint": format!("model/{server}"), "seq": 1, "generation": 1,
            "taken_at_ns": u64::MAX, "adapters": {"named": ["poet", "other"], "slots": 2}}]});
        let taken = gateway.control("POST", "/v1/load", fields, load.to_string().as_bytes());
        assert_eq!(taken.json()["taken"], 1, "{}", taken.text());
    }
    let explained = |model: &str| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "who?"}]});
        let question = json!({"path": PATH, "body": body}).to_string();
        gateway.control("POST", "/v1/explain", fields, question.as_bytes()).json()
    };
    let [poet, law, base] = ["poet", "law-eu", "m"].map(explained);
    let told = |explanation: &Value, server: &SocketAddr| {
        let candidates = explanation["endpoints"].as_array().expect("candidates").clone();
        let one = candidates.into_iter().find(|it| it["endpoint"] == server.to_string()).expect("it is one");
        (one["cost"]["adapter"].clone(), (one["cost"]["adapter_s"].as_f64().expect("s") * 1e3).round())
    };
    assert_eq!(told(&poet, &servers[1]), (json!("here"), 0.0), "{poet}");
    assert_eq!(told(&poet, &servers[0]), (json!("room"), 50.0), "{poet}");
    assert_eq!(told(&law, &servers[1]), (json!("full"), 300.0), "{law}");
    assert_eq!(told(&base, &servers[1]), (Value::Null, 0.0), "{base}");
    assert_eq!(asked_of(&gateway, "poet"), format!("model/{}", servers[1]));
    assert_eq!(asked_of(&gateway, "law-eu"), format!("model/{}", servers[0]));
    gateway.finish();
}

#[test]
fn callers_of_other_dialects_ask_for_adapters_and_have_sessions_too() {
    let more = ["--replicas", "2", "--lora", "poet,law-eu", "--lora-slots", "2"];
    let (_sim, servers) = fleet("h100", 2, &more);
    let gateway = with_adapters(Io::Epoll, &servers, |snapshot| {
        snapshot.routes[0].matches = prefix("/");
        snapshot.backends[0].sessions = Some(Sessions::default());
    });
    let messages =
        json!({"model": "poet", "max_tokens": 1, "messages": [{"role": "user", "content": "who?"}]});
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "who?"}]}],
        "generationConfig": {"maxOutputTokens": 1}});
    let mut homes = HashSet::new();
    for (path, body) in [
        ("/v1/messages", &messages),
        ("/v1beta/models/poet:generateContent", &contents), // its model is in the path
        (PATH, &messages),
        ("/v1beta/models/poet:streamGenerateContent?alt=sse", &contents),
    ] {
        let answer = gateway.ask(post(path, body.to_string()));
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        assert_eq!(answer.head.all("x-ringway-session").len(), 1, "{path}");
        homes.insert(answer.head.one("x-ringway-backend").expect("the route exposes it"));
    }
    assert_eq!(homes.len(), 1, "{homes:?}");
    assert_eq!(servers.iter().map(|server| adapter_loads(*server)).sum::<u64>(), 1);
    gateway.finish();
}

/// A gateway with sessions in front of these servers.
fn with_sessions(io: Io, balance: Balance, servers: &[SocketAddr], key: Option<&str>) -> Gateway {
    let setup = Setup::model(PATH, Engine::Vllm, servers).tune(|snapshot| {
        snapshot.routes[0].expose = true;
        let backend = &mut snapshot.backends[0];
        backend.balance = balance;
        backend.sessions = Some(Sessions { key: key.map(str::to_owned), ..Sessions::default() });
    });
    Gateway::start(io, setup)
}

/// Where a request with this token went, and the token of its answer.
fn in_session(gateway: &Gateway, token: Option<&str>) -> (String, String) {
    let body = r#"{"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "?"}]}"#;
    let fields = token.map_or(String::new(), |token| format!("X-Ringway-Session: {token}\r\n"));
    let length = body.len();
    let answer = gateway.ask(format!(
        "POST {PATH} HTTP/1.1\r\nHost: gateway\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    ));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let field = |name| answer.head.one(name).expect("it has one");
    (field("x-ringway-backend"), field("x-ringway-session"))
}

#[test]
fn a_session_goes_on_where_it_was_and_a_token_that_was_touched_is_ignored() {
    each_driver(|io| {
        for balance in [Balance::Gpu, Balance::RoundRobin, Balance::LeastRequests] {
            let (_sim, servers) = fleet("h100", 3, &["--replicas", "3"]);
            let gateway = with_sessions(io, balance, &servers, None);
            let (home, mut token) = in_session(&gateway, None);
            for _ in 0..12 {
                let (there, next) = in_session(&gateway, Some(&token));
                assert_eq!(there, home, "{balance:?}");
                token = next;
            }
            let touched = format!("{}{}", if token.starts_with('A') { 'B' } else { 'A' }, &token[1..]);
            let elsewhere: HashSet<String> =
                (0..12).map(|_| in_session(&gateway, Some(&touched)).0).collect();
            if balance != Balance::Gpu {
                assert_eq!(elsewhere.len(), 3, "{balance:?}: nobody is refused for a token");
            }
            let drain = json!({"endpoint": home}).to_string();
            let fields = "Content-Type: application/json\r\n";
            assert!(gateway.control("POST", "/v1/drain", fields, drain.as_bytes()).status() < 300);
            assert_ne!(in_session(&gateway, Some(&token)).0, home, "a preference, never a pin");
            assert_given_back(&gateway);
            gateway.finish();
        }
    });
}

#[test]
fn gateways_with_one_key_take_each_others_sessions_and_explain_shows_them() {
    let (_sim, servers) = fleet("h100", 3, &["--replicas", "3"]);
    let key = Some("0123456789abcdef");
    let [one, two] =
        [Balance::RoundRobin, Balance::Gpu].map(|it| with_sessions(Io::Epoll, it, &servers, key));
    for _ in 0..3 {
        let (home, token) = in_session(&one, None);
        assert_eq!(in_session(&two, Some(&token)).0, home);
        let question = json!({"path": PATH, "headers": {"X-Ringway-Session": token}, "body": {"model": "m"}});
        let fields = "Content-Type: application/json\r\n";
        let explain = |gateway: &Gateway| {
            gateway.control("POST", "/v1/explain", fields, question.to_string().as_bytes()).json()
        };
        let explained = explain(&two);
        let all = explained["endpoints"].as_array().expect("candidates");
        assert_eq!(format!("model/{}", all[0]["endpoint"].as_str().expect("a name")), home, "{explained}");
        assert_eq!(all[0]["cost"]["session_s"].as_f64().map(|s| (s * 1e3).round()), Some(200.0));
        let explained = explain(&one);
        let all = explained["endpoints"].as_array().expect("candidates");
        let here =
            all.iter().find(|it| it["why"].as_str().is_some_and(|why| why.contains("session was here")));
        assert_eq!(here.map(|it| format!("model/{}", it["endpoint"].as_str().expect("a name"))), Some(home));
    }
    for gateway in [one, two] {
        let shown = gateway.control("GET", "/v1/snapshot", "", b"").text();
        assert!(shown.contains("sha256:") && !shown.contains("0123456789abcdef"), "{shown}");
        gateway.finish();
    }
}

#[test]
fn no_token_goes_upstream_and_only_good_answers_have_one() {
    let origin = Origin::start(|peer: &mut Peer| {
        for status in ["200 OK", "500 No", "200 OK"] {
            if peer.request().is_some() {
                peer.send(format!(
                    "HTTP/1.1 {status}\r\nX-Ringway-Session: theirs\r\nContent-Length: 2\r\n\r\n{{}}"
                ));
            }
        }
    });
    let gateway = with_sessions(Io::Epoll, Balance::LeastRequests, &[origin.address()], None);
    let mut caller = gateway.connect();
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let fields = "X-Ringway-Session: mine\r\nX_Ringway_Session: mine\r\nContent-Length: 2\r\n";
        let answer = caller.ask(format!("POST {PATH} HTTP/1.1\r\nHost: gateway\r\n{fields}\r\n{{}}"));
        tokens.push(answer.head.all("x-ringway-session").len());
        assert_ne!(answer.head.one("x-ringway-session").as_deref(), Some("theirs"));
    }
    drop(caller);
    assert_eq!(tokens, [1, 0, 1]);
    let seen = format!("{:?}", origin.requests()).to_ascii_lowercase();
    assert!(!seen.contains("session"), "{seen}");
    gateway.finish();
}

#[test]
fn the_slower_of_two_gets_less() {
    each_driver(|io| {
        let (_sim, servers) = fleet("h100:1,a100:1", 2, &[]);
        let gateway = gpu(io, &servers, &[H100, A100]);
        let mut callers = Vec::new();
        for seed in 0..80 {
            let mut caller = gateway.connect().patient(Duration::from_secs(30));
            let stream = json!({"stream": true, "max_tokens": 20, "ignore_eos": true});
            caller.send(chat(&words(5_000 + seed, 6_000), "?", &stream));
            callers.push(caller);
            std::thread::sleep(Duration::from_millis(15));
        }
        for mut caller in callers {
            let answer = caller.answer();
            assert!(answer.whole() && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
        }
        let [fast, slow] = &endpoints(&gateway)[..] else { panic!("two endpoints") };
        let (fast, slow) = (fast.attempts_total, slow.attempts_total);
        assert!(fast + slow == 80 && fast > 2 * slow && slow > 0, "{fast} and {slow}");
        assert_given_back(&gateway);
        gateway.finish();
    });
}

#[test]
fn callers_that_leave_at_any_time_leave_no_load() {
    each_driver(|io| {
        let (_sim, servers) = fleet("h100", 2, &["--replicas", "2"]);
        let gateway = gpu(io, &servers, &[H100, H100]);
        let mut rng = fastrand::Rng::with_seed(3);
        for seed in 0..60 {
            let mut caller = gateway.connect();
            let stream = json!({"stream": rng.bool(), "max_tokens": 400});
            caller.send(chat(&words(9_000 + seed, rng.usize(10..30_000)), "?", &stream));
            std::thread::sleep(Duration::from_millis(rng.u64(..60)));
            if rng.bool() { caller.reset() } else { drop(caller) }
        }
        assert_given_back(&gateway);
        assert!(gateway.metric(&["ringway_endpoint_cached_blocks"]) > 100.0);
        assert!(gateway.metric(&["ringway_load_underflow_total"]) == 0.0);
        gateway.finish();
    });
}

/// Answers every request with its own name.
fn named(name: usize) -> Origin {
    Origin::start(move |peer: &mut Peer| {
        while peer.request().is_some() {
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{name}"));
        }
    })
}

#[test]
fn the_same_path_goes_to_the_same_server() {
    each_driver(|io| {
        let origins: Vec<Origin> = (0..3).map(named).collect();
        let addresses: Vec<SocketAddr> = origins.iter().map(Origin::address).collect();
        let setup = Setup::new()
            .backend(ringway_tests::setup::http("origin", &addresses))
            .route(ringway_tests::setup::route("all", ringway_tests::setup::prefix("/"), "origin"))
            .tune(|snapshot| snapshot.backends[0].balance = Balance::Hash);
        let gateway = Gateway::start(io, setup);
        let mut caller: Client = gateway.connect();
        let mut ask = |path: usize| caller.ask(get(&format!("/{path}"))).text();
        let first: Vec<String> = (0..30).map(&mut ask).collect();
        let again: Vec<String> = (0..30).map(&mut ask).collect();
        drop(caller);
        assert_eq!(first, again);
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), 3, "{first:?}");
        gateway.finish();
    });
}
