//! Processes that end, orderly or not: a drain loses no stream, a kill no configuration, and a dead control
//! plane nothing at all.
//!
//! Owns: CP-01, CP-09 to CP-11 and CP-20 of the spec, over real processes.
//! Must not: reload under load; that is `reload.rs`.
//! Read next: `src/gateway.rs` and `src/process.rs`.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringway_contract::{Generation, Millis};
use ringway_tests::bounds::STOP_MAX;
use ringway_tests::client::get;
use ringway_tests::process::Companion;
use ringway_tests::setup::{exactly, http, route};
use ringway_tests::{Client, End, Gateway, Io, Origin, Peer, Setup, each_driver};
use rustix::process::Signal;

/// What a restart may take (CP-10), with room for a machine that builds something beside.
const RESTART_MAX: Duration = Duration::from_millis(1_000 + 700);

/// Streams `n` events for `/stream/n`, 20 ms apart; answers all else at once.
fn streaming() -> Origin {
    Origin::start(|peer: &mut Peer| {
        while let Some(request) = peer.request() {
            let target = request.head.word(1).to_owned();
            let count = target.strip_prefix("/stream/").and_then(|n| n.parse::<usize>().ok());
            let Some(count) = count else {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                continue;
            };
            peer.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
            for n in 0..count {
                let event = format!("data: {n:04}\n\n");
                if !peer.send(format!("{:x}\r\n{event}\r\n", event.len())) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            peer.send("0\r\n\r\n");
        }
    })
}

fn start_streams(gateway: &Gateway, lengths: &[usize]) -> Vec<(usize, Client)> {
    let begin = |length: &usize| {
        let mut caller = gateway.connect().patient(Duration::from_secs(20));
        caller.send(get(&format!("/stream/{length}")));
        (*length, caller)
    };
    let streams: Vec<_> = lengths.iter().map(begin).collect();
    let wanted = lengths.len() as u64;
    let deadline = Instant::now() + Duration::from_secs(5);
    while gateway.gauges().upstream_active < wanted {
        assert!(Instant::now() < deadline, "the streams do not start: {:?}", gateway.gauges());
        std::thread::sleep(Duration::from_millis(5));
    }
    streams
}

#[test]
fn sigterm_lets_streams_finish_accepts_no_more_and_exits_0() {
    each_driver(|io| {
        let origin = streaming();
        let mut gateway = Gateway::start(io, Setup::raw(origin.address()).workers(2));
        let mut idle = gateway.connect();
        assert_eq!(idle.ask(get("/warm")).text(), "ok");
        let lengths: Vec<usize> = (0..20).map(|n| 20 + 5 * n).collect();
        let streams = start_streams(&gateway, &lengths);
        gateway.signal(Signal::TERM);
        let (rest, end) = idle.rest();
        assert!(rest.is_empty() && end != End::Open, "an idle connection ends at once");
        wait_until_refused(&gateway);
        for (length, mut caller) in streams {
            let answer = caller.answer();
            assert!(answer.whole(), "the stream of {length} was cut: {:?}", answer.cut);
            assert_eq!(answer.body.len(), length * "data: 0000\n\n".len());
        }
        let status = gateway.wait_for_exit(STOP_MAX);
        assert_eq!(status.code(), Some(0), "{}", gateway.log_text());
    });
}

fn wait_until_refused(gateway: &Gateway) {
    let deadline = Instant::now() + Duration::from_secs(2);
    while Client::try_connect(gateway.address()).is_ok() {
        assert!(Instant::now() < deadline, "a draining gateway still accepts");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_drain_ends_at_its_deadline_and_a_second_sigterm_ends_it_at_once() {
    each_driver(|io| {
        let origin = streaming();
        let drain = |snapshot: &mut ringway_contract::Snapshot| snapshot.drain_timeout_ms = Millis::new(600);
        let mut gateway = Gateway::start(io, Setup::raw(origin.address()).tune(drain));
        let streams = start_streams(&gateway, &[500]);
        let began = Instant::now();
        gateway.signal(Signal::TERM);
        gateway.wait_for_exit(Duration::from_secs(4));
        assert!(began.elapsed() >= Duration::from_millis(500), "it did not wait: {:?}", began.elapsed());
        for (_, mut caller) in streams {
            assert!(!caller.answer().whole(), "a stream that was cut must not look whole");
        }

        let mut gateway = Gateway::start(io, Setup::raw(origin.address()));
        let _streams = start_streams(&gateway, &[500]);
        gateway.signal(Signal::TERM);
        std::thread::sleep(Duration::from_millis(200));
        let began = Instant::now();
        gateway.signal(Signal::TERM);
        gateway.wait_for_exit(Duration::from_secs(3));
        assert!(began.elapsed() < Duration::from_secs(2), "the second took {:?}", began.elapsed());
    });
}

#[test]
fn a_drain_by_the_control_socket_is_a_drain() {
    each_driver(|io| {
        let origin = streaming();
        let mut gateway = Gateway::start(io, Setup::raw(origin.address()));
        let streams = start_streams(&gateway, &[30]);
        let answer = gateway.control("POST", "/v1/drain", "Content-Type: application/json\r\n", b"{}");
        assert!([200, 202].contains(&answer.status()), "{} {}", answer.status(), answer.text());
        for (_, mut caller) in streams {
            assert!(caller.answer().whole());
        }
        assert_eq!(gateway.wait_for_exit(STOP_MAX).code(), Some(0));
    });
}

#[test]
fn a_killed_gateway_comes_back_with_the_last_good_snapshot() {
    each_driver(|io| {
        let origin = Origin::echo();
        let mut gateway = Gateway::start(io, Setup::raw(origin.address()).with_state());
        let mut next = gateway.snapshot().clone();
        next.generation = Generation::NONE;
        next.routes = vec![route("pushed", exactly("/pushed"), "origin")];
        assert_eq!(gateway.push(&next).status(), 200);
        let generation = gateway.stats().generation;
        let mut bad = next.clone();
        bad.routes[0].targets[0].backend = "nowhere".to_owned();
        assert_eq!(gateway.push(&bad).status(), 422);
        for round in 0..3 {
            gateway.kill();
            let began = Instant::now();
            gateway.restart_from_state();
            let first = first_answer(&gateway, began);
            let took = began.elapsed();
            println!("{io}: serving {took:?} after a kill");
            assert!(took < RESTART_MAX, "round {round} took {took:?}");
            assert_eq!(first, "GET /pushed\n");
            assert_eq!(
                gateway.ask(get("/other")).status(),
                404,
                "what was pushed last serves, not what it began with"
            );
            assert_eq!(gateway.stats().generation, generation);
        }
        gateway.finish();
    });
}

/// The kernel takes a killed process's ring down after the process is gone, and its listener with it: until then
/// some connections land there and are reset.
fn first_answer(gateway: &Gateway, began: Instant) -> String {
    loop {
        let mut caller = gateway.connect();
        match caller.try_send(get("/pushed").as_bytes()).map(|()| caller.try_answer("GET")) {
            Ok(Ok(answer)) => return answer.text(),
            failed => assert!(began.elapsed() < RESTART_MAX, "no answer behind a restart: {failed:?}"),
        }
    }
}

/// CP-09: flipped bytes and cut ends of the stored snapshot never bring up something else.
#[test]
fn a_damaged_state_file_is_noticed() {
    each_driver(|io| {
        let origin = Origin::echo();
        let mut gateway = Gateway::start(io, Setup::raw(origin.address()).with_state());
        assert_eq!(gateway.ask(get("/x")).status(), 200);
        gateway.kill();
        let state = gateway.folder().join("state");
        let largest = fs::read_dir(&state)
            .expect("the state folder exists")
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_file())
            .max_by_key(|path| fs::metadata(path).map_or(0, |meta| meta.len()))
            .expect("a snapshot was kept");
        let whole = fs::read(&largest).expect("it can be read");
        for damaged in [flipped(&whole, whole.len() / 2), whole[..whole.len() / 2].to_vec(), Vec::new()] {
            fs::write(&largest, &damaged).expect("it can be written");
            let socket = gateway.folder().join("run/dataplane.sock");
            let args = [
                "--control",
                socket.to_str().expect("plain"),
                "--state-dir",
                state.to_str().expect("plain"),
                "--workers",
                "1",
                "--no-pin",
            ];
            let mut again = Companion::start("ringway", &args, gateway.folder());
            std::thread::sleep(Duration::from_millis(500));
            let serves = Client::try_connect(gateway.address()).is_ok();
            assert!(!serves, "a damaged snapshot was served:\n{}", again.output());
            assert!(!again.output().contains("panicked"), "{}", again.output());
            assert!(!again.output().trim().is_empty(), "it must say so");
            again.kill();
        }
    });
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x20;
    bytes
}

/// Asks all the time; the first failure, if any.
fn asking(gateway: &Gateway, over: &Arc<AtomicBool>) -> std::thread::JoinHandle<Result<u64, String>> {
    let (address, over) = (gateway.address(), over.clone());
    std::thread::spawn(move || {
        let mut caller = Client::connect(address);
        let mut asked = 0;
        while !over.load(Ordering::Acquire) {
            caller.try_send(get("/ask").as_bytes()).map_err(|error| format!("request {asked}: {error}"))?;
            let answer = caller.try_answer("GET").map_err(|why| format!("request {asked}: {why:?}"))?;
            if answer.status() != 200 || answer.text() != "GET /ask\n" {
                return Err(format!("request {asked}: {} {:?}", answer.status(), answer.text()));
            }
            asked += 1;
        }
        Ok(asked)
    })
}

fn config_for(gateway: &Gateway, origin: &Origin, second_path: &str) -> String {
    format!(
        "version: 1\nlisteners:\n  - address: {}\nbackends:\n  origin:\n    engine: http\n    endpoints: [\"http://{}\"]\n\
         routes:\n  - name: second\n    match: {{path: {second_path}}}\n    targets: [{{backend: origin}}]\n  \
         - name: all\n    match: {{path_prefix: /}}\n    targets: [{{backend: origin}}]\n",
        gateway.address(),
        origin.address()
    )
}

fn serve(gateway: &Gateway) -> Companion {
    let path = |name: &str| gateway.folder().join(name).to_str().expect("plain").to_owned();
    let (socket, control) = (path("run/daemon.sock"), path("run/dataplane.sock"));
    let (config, data) = (path("ringway.yaml"), path("data"));
    let args = ["--socket", &socket, "--control", &control, "serve", "--config", &config, "--data", &data];
    Companion::start("ringctl", &args, gateway.folder())
}

fn wait_for_generation_above(gateway: &Gateway, daemon: &mut Companion, before: Generation) {
    daemon.wait_until("a push", |_| gateway.stats().generation > before);
}

/// CP-01: the control plane dies and comes back; traffic does not notice, and changes arrive again.
#[test]
fn a_killed_control_daemon_costs_no_request_and_reconnects() {
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = Gateway::start(io, Setup::raw(origin.address()));
        let config = gateway.folder().join("ringway.yaml");
        fs::write(&config, config_for(&gateway, &origin, "/one")).expect("the folder is ours");
        let over = Arc::new(AtomicBool::new(false));
        let asker = asking(&gateway, &over);
        let began = gateway.stats().generation;
        let mut daemon = serve(&gateway);
        wait_for_generation_above(&gateway, &mut daemon, began);
        daemon.kill();
        std::thread::sleep(Duration::from_millis(300));
        let without = gateway.stats().generation;
        let mut daemon = serve(&gateway);
        std::thread::sleep(Duration::from_millis(200));
        fs::write(&config, config_for(&gateway, &origin, "/two")).expect("the folder is ours");
        wait_for_generation_above(&gateway, &mut daemon, without);
        over.store(true, Ordering::Release);
        let asked = asker.join().expect("the asker does not panic").unwrap_or_else(|why| panic!("{why}"));
        println!("{io}: {asked} requests while the daemon died and came back");
        assert!(asked > 50);
        drop(daemon);
        gateway.finish();
    });
}

/// The other way round: the data plane dies and comes back, and the daemon finds it again.
#[test]
fn a_daemon_finds_a_restarted_gateway_again() {
    each_driver(|io| {
        let origin = Origin::echo();
        let mut gateway = Gateway::start(io, Setup::raw(origin.address()).with_state());
        let config = gateway.folder().join("ringway.yaml");
        fs::write(&config, config_for(&gateway, &origin, "/one")).expect("the folder is ours");
        let mut daemon = serve(&gateway);
        let began = gateway.stats().generation;
        wait_for_generation_above(&gateway, &mut daemon, began);
        gateway.kill();
        gateway.restart_from_state();
        let now = gateway.stats().generation;
        fs::write(&config, config_for(&gateway, &origin, "/two")).expect("the folder is ours");
        wait_for_generation_above(&gateway, &mut daemon, now);
        drop(daemon);
        gateway.finish();
    });
}

/// CP-20: a driver that cannot be had is said so in one clear line, or replaced by the other with such a line.
#[test]
fn the_driver_in_use_is_told() {
    each_driver(|io: Io| {
        let origin = Origin::echo();
        let gateway = Gateway::start(io, Setup::raw(origin.address()).workers(2));
        let stats = gateway.stats();
        assert_eq!(stats.workers.len(), 2);
        for worker in stats.workers {
            assert!(worker.io.starts_with(&io.to_string()), "asked for {io}, runs {}", worker.io);
        }
        gateway.finish();
    });
}

#[test]
fn without_a_snapshot_it_waits_for_the_first_push_and_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let socket = folder.path().join("dataplane.sock");
    let state = folder.path().join("state");
    let args = [
        "--control",
        socket.to_str().expect("plain"),
        "--state-dir",
        state.to_str().expect("plain"),
        "--workers",
        "1",
        "--no-pin",
    ];
    let mut waiting = Companion::start("ringway", &args, folder.path());
    waiting.wait_until("a control socket", |_| {
        ringway_tests::control::call(&socket, "GET", "/livez", "", b"")
            .is_ok_and(|answer| answer.status() == 200)
    });
    assert!(!waiting.output().trim().is_empty(), "it must say that it waits");
    let ready = ringway_tests::control::call(&socket, "GET", "/readyz", "", b"").expect("the socket answers");
    assert_eq!(ready.status(), 503, "not ready without a snapshot");
    let origin = Origin::echo();
    let setup =
        Setup::new().backend(http("origin", &[origin.address()])).route(route("x", exactly("/x"), "origin"));
    let body = serde_json::to_vec(&setup.snapshot).expect("a snapshot can be written");
    let put =
        ringway_tests::control::call(&socket, "PUT", "/v1/snapshot", "", &body).expect("the socket answers");
    assert_eq!(put.status(), 200, "{}", put.text());
    assert_eq!(Client::connect(setup.snapshot.listeners[0].address).ask(get("/x")).text(), "GET /x\n");
}
