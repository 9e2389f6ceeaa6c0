//! Control over real sockets, with a plane that pretends to have workers.
//!
//! Owns: the pretended plane, a raw client, and the claims about both surfaces.
//! Must not: share code with the server under test; the client reads HTTP in its own simple way.
//! Read next: [`super::api`].

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringway_contract::explain::{Explanation, Question};
use ringway_contract::load::{EndpointLoad, LoadReport, LoadTaken};
use ringway_contract::snapshot::LogFormat;
use ringway_contract::stats::{Applied, Drain, Stats, Times};
use ringway_contract::trace::Trace;
use ringway_contract::{Generation, Problem, Snapshot};
use serde_json::{Value, json};

use super::bounds::{ADMIN_CONNECTIONS_MAX, CONTROL_CONNECTIONS_MAX, HEAD_BYTES_MAX, SUBSCRIBERS_MAX};
use super::plane::{ApplyError, Plane};
use super::{Control, Options, Start, StartError};
use crate::observe::AccessLog;
use crate::observe::exposition::{Page, check};

/// A small snapshot.
pub fn snapshot(generation: u64) -> Snapshot {
    serde_json::from_value(document(generation)).expect("a snapshot")
}

fn document(generation: u64) -> Value {
    json!({
        "format": 1, "generation": generation,
        "listeners": [{"address": "127.0.0.1:8080"}],
        "backends": [{"name": "llama", "engine": "vllm", "dialect": "openai-chat",
            "endpoints": [{"authority": "gpu-1:8000", "addresses": ["10.0.0.1:8000"]}],
            "credential": {"header": "authorization", "value": "Bearer sk-canary"}}],
        "routes": [{"name": "chat", "match": {"path": "/v1/chat/completions"}, "targets": [{"backend": "llama"}]}],
        "logging": {"access": "off"},
    })
}

/// Pretends to have two workers. A route named `bad` has a problem; one named `stuck` never gets through.
#[derive(Default)]
struct Pretender {
    running: Mutex<Option<Arc<Snapshot>>>,
    unready: AtomicBool,
    renders: AtomicU64,
    drains: Mutex<Vec<Drain>>,
}

impl Plane for Pretender {
    fn running(&self) -> Option<Arc<Snapshot>> {
        self.running.lock().expect("sound").clone()
    }

    fn apply(&self, snapshot: Snapshot) -> Result<Applied, ApplyError> {
        if snapshot.routes.iter().any(|route| route.name == "bad") {
            let problems =
                vec![Problem::new("routes[0].name", "is bad"), Problem::new("routes[0]", "is bad too")];
            return Err(ApplyError::Problems(problems));
        }
        if snapshot.routes.iter().any(|route| route.name == "stuck") {
            return Err(ApplyError::Stuck { worker: 1 });
        }
        let applied = Applied { generation: snapshot.generation, workers: 2 };
        *self.running.lock().expect("sound") = Some(Arc::new(snapshot));
        Ok(applied)
    }

    fn stats(&self) -> Stats {
        let generation = self.running().map_or(Generation::NONE, |running| running.generation);
        let (workers, endpoints) = (Vec::new(), Vec::new());
        Stats {
            version: "0".to_owned(),
            generation,
            uptime_s: 1.0,
            draining: false,
            workers,
            load_underflow_total: 0,
            endpoints,
            queues: Vec::new(),
            credentials: Vec::new(),
            times: Times::default(),
        }
    }

    fn traces(&self, request: Option<&str>, count: usize) -> Vec<Trace> {
        let trace = |id: &str| {
            serde_json::from_value(json!({"request_id": id, "unix_ms": 1, "why": "asked", "generation": 1,
                "worker": 0, "route": "chat", "method": "POST", "path": "/", "steps": [],
                "end": {"status": 200, "outcome": "complete", "attempts": 1, "total_ms": 1.0}}))
            .expect("a trace")
        };
        let ids = ["c", "b", "a"].into_iter().filter(|id| request.is_none_or(|wanted| *id == wanted));
        ids.take(count).map(trace).collect()
    }

    fn load(&self, report: &LoadReport) -> LoadTaken {
        let known = |load: &&EndpointLoad| load.endpoint.starts_with("llama/");
        let taken = report.endpoints.iter().filter(known).count() as u32;
        LoadTaken { taken, unknown: report.endpoints.len() as u32 - taken, ..LoadTaken::default() }
    }

    fn explain(&self, question: &Question) -> Explanation {
        let route = Some(format!("for {}", question.path));
        let (routes, targets, endpoints) = (Vec::new(), Vec::new(), Vec::new());
        Explanation { generation: Generation::NONE, routes, route, targets, endpoints, refusal: None }
    }

    fn drain(&self, drain: &Drain) -> Result<(), String> {
        if drain.endpoint.as_deref() == Some("llama/nowhere:1") {
            return Err("there is no endpoint llama/nowhere:1".to_owned());
        }
        self.drains.lock().expect("sound").push(drain.clone());
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        if self.unready.load(Ordering::Relaxed) { Err("no snapshot".to_owned()) } else { Ok(()) }
    }

    fn render_metrics(&self, out: &mut String) {
        let renders = self.renders.fetch_add(1, Ordering::Relaxed) + 1;
        Page::new(out).gauge("ringway_renders", "Renderings so far.").sample(&[], renders);
    }
}

/// A running control with its folder.
struct Rig {
    folder: tempfile::TempDir,
    plane: Arc<Pretender>,
    log: Arc<AccessLog>,
}

impl Rig {
    fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), Start::LastGood).expect("started")
    }

    fn start_in(folder: tempfile::TempDir, start: Start) -> Result<Self, StartError> {
        let plane = Arc::new(Pretender::default());
        let log = AccessLog::start(2, LogFormat::Text).expect("a log");
        let options = Options {
            socket: Some(folder.path().join("control.sock")),
            state_dir: Some(folder.path().join("state")),
            signals: false,
        };
        let control = Control::new(&options, Arc::clone(&plane) as Arc<dyn Plane>, Arc::clone(&log))?;
        control.boot(start)?;
        control.serve().expect("a thread");
        Ok(Self { folder, plane, log })
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    fn connect(&self) -> Client<UnixStream> {
        Client::new(UnixStream::connect(self.socket()).expect("connected"))
    }

    fn call(&self, method: &str, path: &str, fields: &str, body: &[u8]) -> Reply {
        self.connect().call(method, path, fields, body)
    }

    fn put(&self, fields: &str, body: &Value) -> Reply {
        self.call("PUT", "/v1/snapshot", fields, body.to_string().as_bytes())
    }

    /// Pushes a snapshot whose admin address is a free port of loopback.
    fn with_admin(&self) -> SocketAddr {
        let address =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let mut body = document(0);
        body["admin"] = json!(address);
        assert_eq!(self.put("", &body).status, 200);
        address
    }

    fn generation(&self) -> u64 {
        self.plane.running().map_or(0, |running| running.generation.get())
    }
}

/// A client as plain as curl.
struct Client<S> {
    stream: S,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    fn closes(&self) -> bool {
        self.head.contains("connection: close")
    }
}

impl<S: Read + Write> Client<S> {
    const fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    fn call(&mut self, method: &str, path: &str, fields: &str, body: &[u8]) -> Reply {
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        self.send(format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{length}{fields}\r\n").as_bytes());
        self.send(body);
        self.reply(method)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sent");
    }

    fn reply(&mut self, method: &str) -> Reply {
        let head = self.until(b"\r\n\r\n");
        let status = head[9..12].parse().expect("a status");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().expect("a number"));
        let length = if method == "HEAD" { 0 } else { length };
        while self.buffer.len() < length {
            assert!(self.more() > 0, "the body ends early");
        }
        let body = String::from_utf8(self.buffer.drain(..length).collect()).expect("text");
        Reply { status, head, body }
    }

    fn until(&mut self, end: &[u8]) -> String {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return String::from_utf8(self.buffer.drain(..at + end.len()).collect()).expect("text");
            }
            assert!(self.more() > 0, "closed after {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    fn more(&mut self) -> usize {
        let mut room = [0; 4_096];
        let count = self.stream.read(&mut room).expect("received");
        self.buffer.extend_from_slice(&room[..count]);
        count
    }

    fn event(&mut self) -> (String, Value) {
        let text = self.until(b"\n\n");
        let name = text.lines().find_map(|line| line.strip_prefix("event: ")).expect("a name");
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
        (name.to_owned(), serde_json::from_str(data).expect("JSON"))
    }
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_pushed_snapshot_runs_is_numbered_and_is_shown_without_its_secrets() {
    let rig = Rig::start();
    assert_eq!(rig.call("GET", "/v1/snapshot", "", b"").status, 404);
    let reply = rig.put("", &document(0));
    assert_eq!((reply.status, reply.json()), (200, json!({"generation": 1, "workers": 2})));
    assert!(reply.head.contains("etag: \"1\""));
    let shown = rig.call("GET", "/v1/snapshot", "", b"");
    assert!(shown.head.contains("etag: \"1\"") && !shown.body.contains("sk-canary"), "{}", shown.body);
    assert_eq!(
        shown.json()["backends"][0]["credential"]["value"],
        super::secret::fingerprint("Bearer sk-canary")
    );
    assert_eq!(rig.call("GET", "/v1/snapshot", "if-none-match: \"1\"\r\n", b"").status, 304);
}

#[test]
fn what_was_shown_can_be_edited_and_sent_again_with_its_secrets_kept() {
    let rig = Rig::start();
    rig.put("", &document(0));
    let mut shown = rig.call("GET", "/v1/snapshot", "", b"").json();
    shown["generation"] = json!(0);
    shown["drain_timeout_ms"] = json!(5);
    assert_eq!(rig.put("", &shown).status, 200);
    let running = rig.plane.running().expect("running");
    assert_eq!(running.backends[0].credential.as_ref().expect("kept").value, "Bearer sk-canary");
    shown["backends"][0]["name"] = json!("another");
    let reply = rig.put("", &shown);
    assert_eq!(reply.status, 422, "a fingerprint stands for the secret of its own backend only");
    assert_eq!(reply.json()["problems"][0]["at"], "backends[0].credential.value");
}

/// SEC-KEY-04: whoever may read and write the configuration may still not lead a secret to a place of its choice.
#[test]
fn a_secret_that_is_not_known_goes_only_where_it_went_before() {
    let rig = Rig::start();
    let mut running = document(0);
    running["backends"][0]["endpoints"] = json!([
        {"authority": "a:1", "addresses": ["127.0.0.1:1"]}, {"authority": "b:2", "addresses": ["127.0.0.1:2"]}
    ]);
    assert_eq!(rig.put("", &running).status, 200);
    let shown = rig.call("GET", "/v1/snapshot", "", b"").json();
    let put = |at: &str, value: serde_json::Value| {
        let mut moved = shown.clone();
        moved["generation"] = json!(0);
        *moved.pointer_mut(at).expect("a place in it") = value;
        rig.put("", &moved)
    };
    let backend = &shown["backends"][0];
    let mut skips = backend.clone();
    skips["tls"] = json!({"insecure_skip_verify": true});
    let mut secure = backend["endpoints"][0].clone();
    secure["secure"] = json!(true);
    for (at, value) in [
        ("/backends/0/endpoints/0/authority", json!("evil:1")),
        ("/backends/0/endpoints/0/authority", json!("a:2")),
        ("/backends/0/endpoints/0", secure),
        ("/backends/0", skips),
    ] {
        let reply = put(at, value);
        assert_eq!(reply.status, 422, "{at}");
        assert!(reply.body.contains("leads elsewhere"), "{}", reply.body);
    }
    assert_eq!(put("/backends/0/endpoints", json!([backend["endpoints"][1]])).status, 200, "fewer are fine");
    let kept = rig.plane.running().expect("running");
    assert_eq!(kept.backends[0].credential.as_ref().expect("kept").value, "Bearer sk-canary");
}

#[test]
fn changed_sections_are_laid_over_what_runs() {
    let rig = Rig::start();
    rig.put("", &document(0));
    let reply = rig.put("", &json!({"drain_timeout_ms": 7}));
    assert_eq!((reply.status, rig.generation()), (200, 2));
    let running = rig.plane.running().expect("running");
    assert_eq!((running.drain_timeout_ms.get(), running.routes.len()), (7, 1));
}

#[test]
fn a_stale_change_is_refused_and_what_runs_stays() {
    let rig = Rig::start();
    assert_eq!(rig.put("if-match: *\r\n", &document(0)).status, 409, "nothing runs that could match");
    rig.put("", &document(0));
    assert_eq!(rig.put("if-match: \"1\"\r\n", &document(0)).status, 200);
    let reply = rig.put("if-match: \"1\"\r\n", &json!({"drain_timeout_ms": 7}));
    assert_eq!((reply.status, rig.generation()), (409, 2));
    assert!(
        reply.head.contains("etag: \"2\"")
            && reply.json()["error"].as_str().expect("text").contains("2 runs")
    );
    assert_eq!(rig.put("if-match: x\r\n", &document(0)).status, 400);
    assert_eq!(rig.put("if-match: \"2\"\r\nif-match: \"9\"\r\n", &document(0)).status, 400);
}

#[test]
fn a_number_of_the_senders_own_must_be_newer_unless_it_is_the_same_snapshot_again() {
    let rig = Rig::start();
    assert_eq!(rig.put("", &document(5)).json()["generation"], 5);
    assert_eq!(rig.put("", &document(5)).status, 200, "sent again after a lost answer");
    let mut other = document(5);
    other["drain_timeout_ms"] = json!(1);
    assert_eq!(rig.put("", &other).status, 409);
    assert_eq!(rig.put("", &document(4)).status, 409);
    assert_eq!(rig.put("", &document(0)).json()["generation"], 6);
}

#[test]
fn a_bad_snapshot_is_refused_with_every_problem_and_nothing_changes() {
    let rig = Rig::start();
    rig.put("", &document(0));
    let mut bad = document(0);
    bad["routes"][0]["name"] = json!("bad");
    let reply = rig.put("", &bad);
    assert_eq!((reply.status, reply.json()["problems"].as_array().map(Vec::len)), (422, Some(2)));
    let reply = rig.put("", &json!({"routes": 1, "limits": 2}));
    assert_eq!((reply.status, reply.json()["problems"].as_array().map(Vec::len)), (422, Some(2)));
    bad["routes"][0]["name"] = json!("stuck");
    let reply = rig.put("", &bad);
    assert_eq!(reply.status, 503);
    assert!(reply.json()["error"].as_str().expect("text").contains("worker 1"));
    assert_eq!(rig.call("PUT", "/v1/snapshot", "", b"{").status, 422);
    assert_eq!(rig.generation(), 1);
    assert_eq!(
        rig.put("", &document(0)).json()["generation"],
        3,
        "2 was handed to workers that did not take it"
    );
}

#[test]
fn an_admin_address_or_a_log_that_cannot_be_had_refuses_the_change() {
    let rig = Rig::start();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut body = document(0);
    body["admin"] = json!(taken.local_addr().expect("an address"));
    body["logging"] = json!({"access": {"path": "/nowhere/access.log"}});
    let reply = rig.put("", &body);
    let problems = reply.json();
    assert_eq!((reply.status, rig.generation()), (422, 0));
    assert_eq!(problems["problems"][0]["at"], "logging.access");
    assert_eq!(problems["problems"][1]["at"], "admin");
}

#[test]
fn the_last_good_snapshot_survives_a_restart_and_numbers_go_on() {
    let rig = Rig::start();
    rig.put("", &document(0));
    rig.put("", &json!({"drain_timeout_ms": 9}));
    let Rig { folder, .. } = rig;
    std::fs::remove_file(folder.path().join("control.sock")).expect("as a process that ends does");
    let rig = Rig::start_in(folder, Start::LastGood).expect("started");
    let running = rig.plane.running().expect("the last good one");
    assert_eq!((running.generation.get(), running.drain_timeout_ms.get()), (2, 9));
    assert_eq!(running.backends[0].credential.as_ref().expect("kept").value, "Bearer sk-canary");
    assert_eq!(rig.put("", &document(0)).json()["generation"], 3);
}

#[test]
fn a_snapshot_file_wins_over_the_last_good_one_and_is_numbered_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = super::store::Store::open(&folder.path().join("state")).expect("a store");
    store.save(&snapshot(7)).expect("saved");
    let file = folder.path().join("file.json");
    std::fs::write(&file, document(0).to_string()).expect("written");
    let rig = Rig::start_in(folder, Start::File(file)).expect("started");
    assert_eq!(rig.generation(), 8);
}

#[test]
fn a_wrong_snapshot_file_ends_the_start_as_an_invalid_config() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file.json");
    std::fs::write(&file, r#"{"format": 1}"#).expect("written");
    let error = Rig::start_in(folder, Start::File(file)).err().expect("refused");
    assert_eq!((error.exit_code(), error.problems().len()), (2, 3));
}

#[test]
fn a_damaged_last_good_snapshot_gives_way_to_the_one_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let mut store = super::store::Store::open(&state).expect("a store");
    store.save(&snapshot(1)).expect("saved");
    store.save(&snapshot(2)).expect("saved");
    std::fs::write(state.join("snapshot.json"), "rubbish").expect("written");
    let rig = Rig::start_in(folder, Start::LastGood).expect("started");
    assert_eq!(rig.generation(), 1);
}

#[test]
fn damage_without_a_snapshot_before_is_a_clear_error() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("state")).expect("a folder");
    std::fs::write(folder.path().join("state/snapshot.json"), "rubbish").expect("written");
    let error = Rig::start_in(folder, Start::LastGood).err().expect("refused");
    assert!(error.to_string().contains("snapshot.json is damaged"), "{error}");
    assert_eq!(error.exit_code(), 1);
}

#[test]
fn a_store_that_fails_is_an_alarm_and_the_snapshot_runs() {
    let rig = Rig::start();
    std::fs::create_dir(rig.folder.path().join("state/snapshot.json.new")).expect("an obstacle");
    assert_eq!(rig.put("", &document(0)).status, 200);
    let series = metrics(&rig.call("GET", "/metrics", "", b""));
    assert_eq!(series["ringway_config_store_failures_total"], 1.0);
    assert_eq!(series["ringway_config_generation"], 1.0);
}

fn metrics(reply: &Reply) -> HashMap<String, f64> {
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("content-type: text/plain; version=0.0.4"), "{}", reply.head);
    check::series(&reply.body)
}

#[test]
fn every_subscriber_hears_of_changes() {
    let rig = Rig::start();
    let subscribe = || {
        let mut client = rig.connect();
        client.send(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n");
        assert!(client.until(b"\r\n\r\n").contains("text/event-stream"));
        assert!(client.until(b"\n\n").starts_with(':'));
        client
    };
    let mut clients = [subscribe(), subscribe()];
    assert_eq!(metrics(&rig.call("GET", "/metrics", "", b""))["ringway_control_connected"], 1.0);
    rig.put("", &document(0));
    let mut body = document(0);
    body["backends"][0]["endpoints"][0]["drained"] = json!(true);
    rig.put("", &body);
    rig.call("POST", "/v1/drain", "", br#"{"endpoint": "llama/gpu-1:8000", "undo": true}"#);
    for client in &mut clients {
        assert_eq!(client.event(), ("generation".to_owned(), json!({"generation": 1})));
        assert_eq!(client.event(), ("generation".to_owned(), json!({"generation": 2})));
        assert_eq!(
            client.event(),
            ("endpoint".to_owned(), json!({"endpoint": "llama/gpu-1:8000", "drained": true}))
        );
        assert_eq!(
            client.event(),
            ("endpoint".to_owned(), json!({"endpoint": "llama/gpu-1:8000", "drained": false}))
        );
    }
    let mut late = subscribe();
    assert_eq!(late.event(), ("generation".to_owned(), json!({"generation": 2})), "what runs is told first");
    drop((clients, late));
    eventually("subscribers that left are forgotten at once", || {
        metrics(&rig.call("GET", "/metrics", "", b""))["ringway_event_subscribers"] == 0.0
    });
}

#[test]
fn subscribers_beyond_the_bound_are_refused() {
    let rig = Rig::start();
    rig.put("", &document(0));
    let mut clients = Vec::new();
    for _ in 0..SUBSCRIBERS_MAX {
        let mut client = rig.connect();
        client.send(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n");
        client.until(b"\r\n\r\n");
        clients.push(client);
    }
    assert_eq!(rig.call("GET", "/v1/events", "", b"").status, 503);
}

#[test]
fn drain_and_explain_reach_the_plane() {
    let rig = Rig::start();
    let drain = |body: &str| rig.call("POST", "/v1/drain", "", body.as_bytes());
    assert_eq!(drain("").status, 200);
    assert_eq!(
        drain(r#"{"endpoint": "llama/gpu-1:8000"}"#).json(),
        json!({"endpoint": "llama/gpu-1:8000", "undo": false})
    );
    assert_eq!(drain(r#"{"endpoint": "llama/nowhere:1"}"#).status, 404);
    assert_eq!(drain(r#"{"undo": true}"#).status, 400);
    assert_eq!(drain(r#"{"endpiont": "x"}"#).status, 400);
    assert_eq!(rig.plane.drains.lock().expect("sound").len(), 2);
    let reply = rig.call("POST", "/v1/explain", "", br#"{"path": "/v1/models"}"#);
    assert_eq!((reply.status, reply.json()["route"].as_str()), (200, Some("for /v1/models")));
    assert_eq!(rig.call("POST", "/v1/explain", "", b"{}").status, 400);
    let entry = |name| {
        format!("{{\"endpoint\":\"{name}\",\"seq\":1,\"generation\":1,\"taken_at_ns\":1,\"running\":3}}")
    };
    let report = format!("{{\"endpoints\":[{},{}]}}", entry("llama/a:1"), entry("gone/b:1"));
    let reply = rig.call("POST", "/v1/load", "", report.as_bytes());
    assert_eq!((reply.status, &reply.json()["taken"], &reply.json()["unknown"]), (200, &1.into(), &1.into()));
    for malformed in
        ["{}", "{\"endpoints\":[{\"endpoint\":\"llama/a:1\"}]}", "{\"endpoints\":[],\"kv\":1}", "["]
    {
        assert_eq!(rig.call("POST", "/v1/load", "", malformed.as_bytes()).status, 400, "{malformed}");
    }
    assert_eq!(rig.call("GET", "/v1/load", "", b"").status, 405);
    assert_eq!(rig.call("GET", "/v1/stats", "", b"").json()["uptime_s"], 1.0);
}

#[test]
fn paths_and_methods_that_do_not_exist_are_named_as_such() {
    let rig = Rig::start();
    assert_eq!(rig.call("GET", "/v2/snapshot", "", b"").status, 404);
    let reply = rig.call("DELETE", "/v1/snapshot", "", b"");
    assert!(reply.status == 405 && reply.head.contains("allow: GET, HEAD, PUT"));
    assert_eq!(rig.call("POST", "/metrics", "", b"").status, 405);
    let head = rig.call("HEAD", "/healthz", "", b"");
    assert!(head.status == 200 && head.head.contains("content-length: 3"));
}

#[test]
fn one_connection_serves_many_requests_and_coded_bodies() {
    let rig = Rig::start();
    let mut client = rig.connect();
    let body = document(0).to_string();
    let (first, second) = body.split_at(100);
    client.send(b"PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n");
    client.send(b"Expect: 100-continue\r\n\r\n");
    assert_eq!(client.until(b"\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(
        format!("{:x}\r\n{first}\r\n{:X}\r\n{second}\r\n0\r\n\r\n", first.len(), second.len()).as_bytes(),
    );
    assert_eq!(client.reply("PUT").status, 200);
    client.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /readyz HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!((client.reply("GET").body.as_str(), client.reply("GET").body.as_str()), ("ok\n", "ready\n"));
    let reply = client.call("GET", "/healthz", "connection: close\r\n", b"");
    assert!(reply.closes());
    assert_eq!(client.more(), 0);
}

#[test]
fn malformed_requests_are_refused_and_end_the_connection() {
    let rig = Rig::start();
    let large = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(HEAD_BYTES_MAX));
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(80));
    let put = "PUT /v1/snapshot HTTP/1.1\r\nhost: x\r\n";
    let cases = [
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_owned(), 400),
        ("GET http://x/healthz HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 400),
        (large, 431),
        (many, 431),
        (format!("{put}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"), 400),
        (format!("{put}content-length: 1\r\ncontent-length: 2\r\n\r\n"), 400),
        (format!("{put}content-length: +1\r\n\r\n"), 400),
        (format!("{put}content-length: 99999999999999999999999\r\n\r\n"), 400),
        (format!("{put}content-length: 67108865\r\n\r\n"), 413),
        (format!("{put}transfer-encoding: gzip, chunked\r\n\r\n"), 501),
        (format!("{put}transfer-encoding: chunked\r\n\r\nxyz\r\n"), 400),
        (format!("{put}transfer-encoding: chunked\r\n\r\n1;a=b\r\nx\r\n"), 400),
        (format!("{put}transfer-encoding: chunked\r\n\r\n1\r\nxy\r\n"), 400),
        (format!("{put}transfer-encoding: chunked\r\n\r\n0\r\ntrailer: x\r\n\r\n"), 400),
        (format!("{put}transfer-encoding: chunked\r\n\r\nfffffffffffffff\r\n"), 413),
    ];
    for (request, status) in cases {
        let mut client = rig.connect();
        client.send(request.as_bytes());
        let reply = client.reply("GET");
        assert_eq!(reply.status, status, "{request:.80}");
        assert!(reply.closes() && client.more() == 0, "{request:.80}");
        assert!(reply.json()["error"].is_string());
    }
}

#[test]
fn a_body_that_nobody_wants_is_not_read_and_ends_the_connection() {
    let rig = Rig::start();
    let mut client = rig.connect();
    client.send(b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 60000000\r\n\r\n");
    let reply = client.reply("POST");
    assert!(reply.status == 404 && reply.closes());
}

#[test]
fn connections_beyond_the_bound_are_turned_away_and_seats_are_given_back() {
    let rig = Rig::start();
    let held: Vec<_> = (0..CONTROL_CONNECTIONS_MAX).map(|_| rig.connect()).collect();
    let mut extra = rig.connect();
    assert_eq!(extra.reply("GET").status, 503);
    drop(held);
    eventually("seats are given back", || {
        let mut client = rig.connect();
        client.stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").is_ok()
            && client.reply("GET").status == 200
    });
}

#[test]
fn the_admin_address_answers_health_and_metrics_and_nothing_else() {
    let rig = Rig::start();
    let address = rig.with_admin();
    let call = |method: &str, path: &str, fields: &str| {
        Client::new(TcpStream::connect(address).expect("connected")).call(method, path, fields, b"")
    };
    eventually("served", || TcpStream::connect(address).is_ok());
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(call("GET", path, "").status, 200);
    }
    rig.plane.unready.store(true, Ordering::Relaxed);
    let reply = call("GET", "/readyz", "");
    assert_eq!((reply.status, reply.body.as_str()), (503, "not ready: no snapshot\n"));
    assert_eq!(call("GET", "/livez", "").status, 200, "not ready is not dead");
    assert_eq!(metrics(&call("GET", "/metrics", ""))["ringway_config_generation"], 1.0);
    for path in ["/v1/snapshot", "/v1/stats", "/v1/events", "/", "/debug/pprof"] {
        assert_eq!(call("GET", path, "").status, 404, "{path}");
    }
    assert_eq!(call("PUT", "/v1/snapshot", "").status, 404);
    assert_eq!(call("GET", "/metrics", "origin: http://evil.example\r\n").status, 403);
    assert_eq!(call("GET", "/metrics", "origin: null\r\n").status, 403);
    assert_eq!(call("GET", "/metrics", "origin: http://localhost:3000\r\n").status, 200);
}

#[test]
fn a_foreign_host_name_on_loopback_is_misdirected() {
    let rig = Rig::start();
    let address = rig.with_admin();
    let call = |host: &str| {
        let mut client = Client::new(TcpStream::connect(address).expect("connected"));
        client.send(format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes());
        client.reply("GET").status
    };
    assert_eq!((call("evil.example"), call("evil.example:9190")), (421, 421));
    assert_eq!((call("localhost"), call(&address.to_string()), call("[::1]:1")), (200, 200, 200));
}

#[test]
fn the_admin_address_follows_the_snapshot() {
    let rig = Rig::start();
    let first = rig.with_admin();
    let second = rig.with_admin();
    eventually("the old one is closed", || TcpStream::connect(first).is_err());
    assert!(TcpStream::connect(second).is_ok());
    assert_eq!(rig.put("", &json!({"admin": null})).status, 200);
    eventually("closed", || TcpStream::connect(second).is_err());
}

#[test]
fn a_flood_on_the_admin_address_leaves_the_control_socket_free() {
    let rig = Rig::start();
    let address = rig.with_admin();
    let _held: Vec<_> =
        (0..2 * ADMIN_CONNECTIONS_MAX).filter_map(|_| TcpStream::connect(address).ok()).collect();
    assert_eq!(rig.call("GET", "/readyz", "", b"").status, 200);
}

#[test]
fn many_scrapes_share_renderings_and_none_is_older_than_its_question() {
    let rig = Rig::start();
    let before = rig.plane.renders.load(Ordering::Relaxed);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = rig.connect();
                for _ in 0..10 {
                    let known = rig.plane.renders.load(Ordering::Relaxed);
                    let seen = metrics(&client.call("GET", "/metrics", "", b""))["ringway_renders"];
                    assert!(seen >= known as f64);
                }
            });
        }
    });
    let renders = rig.plane.renders.load(Ordering::Relaxed) - before;
    let at_most = began.elapsed().as_millis() / super::bounds::RENDER_PAUSE.as_millis() + 1;
    assert!(u128::from(renders) <= at_most, "{renders} renderings where {at_most} had room");
    assert!(renders < 80, "shared");
}

#[test]
fn a_second_process_is_told_that_the_socket_is_taken() {
    let rig = Rig::start();
    let options = Options { socket: Some(rig.socket()), state_dir: None, signals: false };
    let plane = Arc::clone(&rig.plane) as Arc<dyn Plane>;
    let error = Control::new(&options, plane, Arc::clone(&rig.log)).err().expect("refused");
    assert!(error.to_string().contains("another ringway answers on"), "{error}");
    assert_eq!(rig.call("GET", "/healthz", "", b"").status, 200, "and the first one goes on");
}

#[test]
fn a_reload_switches_the_access_log() {
    use crate::observe::Record;
    let rig = Rig::start();
    let path = rig.folder.path().join("access.log");
    let mut body = document(0);
    body["logging"] = json!({"access": {"path": path}, "format": "json"});
    assert_eq!(rig.put("", &body).status, 200);
    rig.log.push(&Record::new(0, 1, "127.0.0.1:1".parse().expect("an address")));
    eventually("written", || std::fs::read_to_string(&path).is_ok_and(|text| text.contains("\"worker\":1")));
    assert_eq!(file_mode(&path), 0o600);
}

fn file_mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).expect("a file").mode() & 0o777
}
