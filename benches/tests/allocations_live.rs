//! A whole worker, sockets and all, allocates nothing per keep-alive exchange and per relayed event once it is warm.
//!
//! Owns: a worker in this process, a caller and an origin that allocate nothing themselves, and the counts.
//! Must not: be quick to excuse; what a housekeeping thread allocates by the clock is the only slack.
//! Read next: `allocations.rs`, the same without sockets.

use std::alloc::System;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use ringway_contract::snapshot::{LogFormat, Snapshot};
use ringway_dataplane::control::{Control, Options, Start};
use ringway_dataplane::observe::AccessLog;
use ringway_dataplane::plane::{Process, Shared};
use ringway_dataplane::ring::IoChoice;
use ringway_dataplane::worker;
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const UNITS: usize = 2_000;
/// One event with the framing of its chunk.
const CODED_BYTES: usize = "a0\r\n".len() + ringway_benches::material::EVENT.len() + "\r\n".len();
/// Others in this process work by the clock: the whole run may hold so many of their allocations.
const SLACK: usize = UNITS / 50;

#[test]
fn a_warm_worker_allocates_nothing_per_exchange_and_event() {
    let origin = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free_address();
    start(&snapshot(address, origin.local_addr().expect("it is bound")));
    std::thread::spawn(move || serve(&origin));

    let mut told = String::new();
    let chat = "/v1/chat/completions";
    for (path, has_body) in [("/raw/x", false), ("/raw/x", true), (chat, true), ("/v1/completions", true)] {
        let mut caller = connect(address);
        let request = if has_body { request(path, false) } else { bodiless(path) };
        let mut buffer = [0; 4_096];
        (0..UNITS).for_each(|_| ask(&mut caller, &request, &mut buffer));
        let region = Region::new(ALLOCATOR);
        (0..UNITS).for_each(|_| ask(&mut caller, &request, &mut buffer));
        let counts = region.change();
        told += &report("exchange", path, &counts, 0);
    }
    for path in ["/raw/x", chat, "/v1/completions", "/kept/open"] {
        let mut caller = connect(address);
        caller.write_all(&request(path, true)).expect("sent");
        let mut buffer = [0; 4_096];
        (0..UNITS).for_each(|_| next_event(&mut caller, &mut buffer));
        let region = Region::new(ALLOCATOR);
        (0..UNITS).for_each(|_| next_event(&mut caller, &mut buffer));
        let counts = region.change();
        told += &report("event", path, &counts, 0);
    }
    assert!(told.is_empty(), "\n{told}");
}

/// Says how many there were; returns what is wrong with that.
fn report(unit: &str, path: &str, counts: &Stats, most: usize) -> String {
    let (new, moved) = (counts.allocations, counts.reallocations);
    let each = |count: usize| count as f64 / UNITS as f64;
    let told = format!("{path}: {} allocations and {} reallocations per {unit}\n", each(new), each(moved));
    print!("{told}");
    if new + moved <= most * UNITS + SLACK { String::new() } else { told }
}

fn start(snapshot: &Snapshot) {
    let log = AccessLog::start(1, LogFormat::Text).expect("a thread");
    let (shared, letterboxes) = Shared::new(1, Arc::clone(&log)).expect("an eventfd");
    for letters in letterboxes {
        let shared = Arc::clone(&shared);
        let seed = worker::Seed { id: 0, core: None, io: IoChoice::Auto, letters, shared };
        std::thread::spawn(move || worker::run(seed));
    }
    let options = Options { socket: None, state_dir: None, signals: false };
    let control = Control::new(&options, Arc::new(Process(shared)), log).expect("no socket can fail");
    control.boot(Start::Given(Box::new(snapshot.clone()))).expect("a sound snapshot");
    control.serve().expect("a thread");
}

fn snapshot(address: SocketAddr, origin: SocketAddr) -> Snapshot {
    let backend = |name: &str, engine: &str, dialect: &str| {
        json!({
            "name": name, "engine": engine, "dialect": dialect,
            "endpoints": [{"authority": origin.to_string(), "addresses": [origin]}],
        })
    };
    let mut gpu = backend("gpu", "vllm", "openai-chat");
    gpu["balance"] = json!("gpu");
    serde_json::from_value(json!({
        "format": 1,
        "generation": 1,
        "listeners": [{"address": address}],
        "backends": [backend("plain", "http", "http"), backend("ai", "vllm", "openai-chat"), gpu],
        "routes": [
            {"name": "raw", "match": {"path_prefix": "/raw"}, "targets": [{"backend": "plain"}]},
            {
                "name": "chat",
                "match": {"path": "/v1/chat/completions", "models": ["llama-*"]},
                "targets": [{"backend": "ai"}],
            },
            {
                "name": "kept",
                "match": {"path_prefix": "/kept"},
                "targets": [{"backend": "ai"}],
                "heartbeat": {"every_ms": 60_000},
            },
            {"name": "gpu", "match": {"path": "/v1/completions"}, "targets": [{"backend": "gpu"}]},
        ],
        "logging": {"access": "off"},
    }))
    .expect("a snapshot")
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port")
}

fn connect(address: SocketAddr) -> TcpStream {
    for _ in 0..500 {
        if let Ok(stream) = TcpStream::connect(address) {
            stream.set_nodelay(true).expect("a TCP socket");
            return stream;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the worker does not accept");
}

fn request(path: &str, stream: bool) -> Vec<u8> {
    let prompt = "Tell me how rivers find the sea. ".repeat(60);
    let messages = format!("[{{\"role\":\"user\",\"content\":\"{prompt}\"}}]");
    let body = format!("{{\"model\":\"llama-x\",\"stream\":{stream},\"messages\":{messages}}}");
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn bodiless(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes()
}

fn ask(caller: &mut TcpStream, request: &[u8], buffer: &mut [u8]) {
    caller.write_all(request).expect("sent");
    let mut filled = 0;
    while !buffer[..filled].ends_with(b"{\"ok\":1}") {
        filled += received(caller, &mut buffer[filled..]);
    }
    assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", buffer[..filled].escape_ascii());
}

/// Takes one event's worth of the stream. The origin sends by the clock; what matters is how much passes while we
/// count.
fn next_event(caller: &mut TcpStream, buffer: &mut [u8]) {
    let mut left = CODED_BYTES;
    while left > 0 {
        left -= received(caller, &mut buffer[..left]);
    }
}

fn received(caller: &mut TcpStream, buffer: &mut [u8]) -> usize {
    let count = caller.read(buffer).expect("received");
    assert!(count > 0, "it ended");
    count
}

/// Answers one connection after the other; all their requests come whole in one piece.
fn serve(origin: &TcpListener) {
    for stream in origin.incoming().map_while(Result::ok) {
        std::thread::spawn(move || serve_one(stream));
    }
}

fn serve_one(mut stream: TcpStream) {
    let answer: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n{\"ok\":1}";
    let head: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut buffer = [0; 4_096];
    stream.set_nodelay(true).expect("a TCP socket");
    loop {
        let mut filled = 0;
        while !is_whole(&buffer[..filled]) {
            match stream.read(&mut buffer[filled..]) {
                Ok(count @ 1..) => filled += count,
                Ok(0) | Err(_) => return,
            }
        }
        let streams = buffer[..filled].windows(13).any(|it| it == b"\"stream\":true");
        if !streams {
            stream.write_all(answer).expect("sent");
            continue;
        }
        stream.write_all(head).expect("sent");
        let event = ringway_benches::material::coded_event();
        while stream.write_all(&event).is_ok() {
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
        return;
    }
}

/// These requests end with their JSON, or have none.
fn is_whole(bytes: &[u8]) -> bool {
    bytes.ends_with(b"}") || (bytes.starts_with(b"GET ") && bytes.ends_with(b"\r\n\r\n"))
}
