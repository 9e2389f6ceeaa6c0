//! Pushing snapshots under load: a reload every 100 ms fails no request and breaks no stream.
//!
//! Owns: the short form (five seconds, 20 streams) and, with `RINGWAY_LONG=1`, the long one (a minute, 200 streams,
//! and `ringload` at 2,000 requests a second).
//! Must not: count what it cannot explain as success: every answer is compared with what was asked.
//! Read next: `restart.rs`, where processes end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringway_contract::snapshot::{Match, Snapshot};
use ringway_contract::{Generation, Millis};
use ringway_tests::client::get;
use ringway_tests::driver::preferred;
use ringway_tests::setup::{http, prefix, route};
use ringway_tests::{Client, Gateway, Io, Origin, Peer, Setup, each_driver, long};

const EVENTS_PER_STREAM: usize = 60;
const BETWEEN_EVENTS: Duration = Duration::from_millis(10);

/// Numbered events for `/stream`, an echo for all else.
fn origin() -> Origin {
    Origin::start(|peer: &mut Peer| {
        while let Some(request) = peer.request() {
            peer.forget();
            let target = request.head.word(1).to_owned();
            let done = if target == "/stream" { stream(peer) } else { echo(peer, &target) };
            if !done {
                return;
            }
        }
    })
}

fn stream(peer: &mut Peer) -> bool {
    let mut alive =
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    for n in 0..EVENTS_PER_STREAM {
        let event = format!("data: {n}\n\n");
        alive = alive && peer.send(format!("{:x}\r\n{event}\r\n", event.len()));
        std::thread::sleep(BETWEEN_EVENTS);
    }
    alive && peer.send("0\r\n\r\n")
}

fn echo(peer: &mut Peer, target: &str) -> bool {
    let own = format!("GET {target}\n");
    peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{own}", own.len()))
}

fn whole_stream() -> String {
    (0..EVENTS_PER_STREAM).fold(String::new(), |all, n| all + &format!("data: {n}\n\n"))
}

/// What the callers of one run share.
#[derive(Default)]
struct Run {
    over: AtomicBool,
    streams: AtomicU64,
    requests: AtomicU64,
    broken: Mutex<Vec<String>>,
}

impl Run {
    fn complain(&self, what: String) {
        self.broken.lock().expect("nobody panics holding it").push(what);
        self.over.store(true, Ordering::Release);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn check(&self, caller: &mut Client, target: &str, want: &str, count: &AtomicU64) {
        if let Err(error) = caller.try_send(get(target).as_bytes()) {
            return self.complain(format!("{target} was not taken: {error}"));
        }
        match caller.try_answer("GET") {
            Ok(answer) if answer.status() == 200 && answer.whole() && answer.text() == want => {
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) => self.complain(format!(
                "{target}: {} {:?}, cut {:?}",
                answer.status(),
                answer.text(),
                answer.cut
            )),
            Err(why) => self.complain(format!("{target}: {why:?}")),
        }
    }
}

/// Callers that stream and callers that ask, until the run is over.
fn load(
    gateway: &Gateway,
    run: &Arc<Run>,
    streams: usize,
    askers: usize,
) -> Vec<std::thread::JoinHandle<()>> {
    let address = gateway.address();
    let streaming = (0..streams).map(|_| {
        let run = run.clone();
        std::thread::spawn(move || {
            let (mut caller, want) = (Client::connect(address), whole_stream());
            while !run.is_over() {
                run.check(&mut caller, "/stream", &want, &run.streams);
            }
        })
    });
    let asking = (0..askers).map(|asker| {
        let run = run.clone();
        std::thread::spawn(move || {
            let mut caller = Client::connect(address);
            for n in 0.. {
                if run.is_over() {
                    return;
                }
                let target = format!("/ask/{asker}/{n}");
                run.check(&mut caller, &target, &format!("GET {target}\n"), &run.requests);
                std::thread::sleep(Duration::from_millis(2));
            }
        })
    });
    streaming.chain(asking).collect()
}

/// The same service written differently each time: routes come and go, backends change place and limits.
fn variant(base: &Snapshot, n: u64) -> Snapshot {
    let mut next = base.clone();
    next.generation = Generation::NONE;
    let address = base.backends[0].endpoints[0].addresses[0];
    if n % 2 == 1 {
        next.backends.insert(0, http("other", &[address]));
        next.routes.insert(0, route("asks", prefix("/ask"), "other"));
    }
    if n % 3 == 1 {
        let elsewhere = Match { hosts: vec!["elsewhere.example".to_owned()], ..prefix("/") };
        next.routes.insert(0, route("elsewhere", elsewhere, "origin"));
    }
    next.routes.last_mut().expect("the base has a route").timeouts.idle_ms = Millis::new(20_000 + n);
    next
}

fn reload_for(gateway: &Gateway, run: &Run, span: Duration) -> u64 {
    let base = gateway.snapshot().clone();
    let began = Instant::now();
    let mut reloads = 0;
    while began.elapsed() < span && !run.is_over() {
        reloads += 1;
        let answer = gateway.push(&variant(&base, reloads));
        if answer.status() != 200 {
            run.complain(format!("push {reloads}: {} {}", answer.status(), answer.text()));
        }
        let next = began + Duration::from_millis(100) * u32::try_from(reloads).unwrap_or(u32::MAX);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    reloads
}

fn assert_reloads_lose_nothing(io: Io, span: Duration, streams: usize, with_ringload: bool) {
    let origin = origin();
    let gateway = Gateway::start(io, Setup::raw(origin.address()).workers(2));
    let run = Arc::new(Run::default());
    let callers = load(&gateway, &run, streams, 2);
    let judge = with_ringload.then(|| ringload(&gateway, span));
    let reloads = reload_for(&gateway, &run, span);
    run.over.store(true, Ordering::Release);
    for caller in callers {
        caller.join().expect("callers do not panic");
    }
    let broken = run.broken.lock().expect("nobody panics holding it").clone();
    assert!(broken.is_empty(), "{reloads} reloads broke: {broken:#?}");
    let (streams, requests) = (run.streams.load(Ordering::Relaxed), run.requests.load(Ordering::Relaxed));
    println!("{io}: {reloads} reloads, {streams} streams and {requests} requests whole");
    assert!(reloads >= span.as_secs() * 5, "only {reloads} reloads in {span:?}");
    assert!(streams > 0 && requests > 0);
    assert!(
        gateway.stats().workers.iter().all(|worker| worker.generation.get() > reloads),
        "workers run the last one"
    );
    if let Some(judge) = judge {
        assert_judged(judge);
    }
    gateway.finish();
}

/// The load generator beside our own callers: 2,000 requests a second.
fn ringload(gateway: &Gateway, span: Duration) -> std::process::Child {
    let url = format!("http://{}/ask/ringload", gateway.address());
    let seconds = format!("{}s", span.as_secs());
    std::process::Command::new(ringway_tests::programs::program("ringload"))
        .args(["run", "--raw", "--no-progress", "--url", &url, "--rate", "2000", "--duration", &seconds])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("ringload can be started")
}

fn assert_judged(judge: std::process::Child) {
    let output = judge.wait_with_output().expect("ringload ends by itself");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{text}");
    assert!(output.status.success(), "ringload saw failures: {}\n{text}", output.status);
}

#[test]
fn a_reload_every_100_ms_loses_no_request_and_no_stream() {
    each_driver(|io| assert_reloads_lose_nothing(io, Duration::from_secs(5), 20, false));
}

#[test]
fn a_minute_of_reloads_under_full_load_loses_nothing() {
    if !long() {
        println!(
            "skipped: a minute of reloads under 200 streams and 2,000 requests a second; RINGWAY_LONG=1 runs it"
        );
        return;
    }
    assert_reloads_lose_nothing(preferred(), Duration::from_mins(1), 200, true);
}

#[test]
fn a_bad_snapshot_is_refused_whole_and_the_old_one_serves_on() {
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = Gateway::start(io, Setup::raw(origin.address()));
        let running = gateway.stats().generation;
        let mut dangling = gateway.snapshot().clone();
        dangling.generation = Generation::NONE;
        dangling.routes[0].targets[0].backend = "nowhere".to_owned();
        dangling.backends[0].endpoints.clear();
        let answer = gateway.push(&dangling);
        assert_eq!(answer.status(), 422, "{}", answer.text());
        let problems = answer.json()["problems"].as_array().map_or(0, Vec::len);
        assert!(problems >= 2, "all problems at once: {}", answer.text());
        let garbage = gateway.control("PUT", "/v1/snapshot", "", b"{\"format\":");
        assert!([400, 422].contains(&garbage.status()), "{}", garbage.status());
        assert_eq!(gateway.stats().generation, running);
        assert_eq!(gateway.ask(get("/x")).text(), "GET /x\n");
        gateway.finish();
    });
}

#[test]
fn a_push_on_top_of_another_is_409_unless_it_names_the_running_one() {
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = Gateway::start(io, Setup::raw(origin.address()));
        let mut next = gateway.snapshot().clone();
        next.generation = Generation::NONE;
        let body = serde_json::to_vec(&next).expect("a snapshot can be written");
        let running = gateway.stats().generation.get();
        let put =
            |tag: u64| gateway.control("PUT", "/v1/snapshot", &format!("If-Match: \"{tag}\"\r\n"), &body);
        assert_eq!(put(running + 7).status(), 409);
        let applied = put(running);
        assert_eq!(applied.status(), 200, "{}", applied.text());
        assert_eq!(put(running).status(), 409, "the second of two writers must look again");
        gateway.finish();
    });
}
