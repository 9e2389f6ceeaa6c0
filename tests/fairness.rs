//! Many callers: what one of them does must not hold up the others on its worker, and no worker gets more than its share.
//!
//! Owns: the delay of events, from stamps in them, alone and beside each kind of bad neighbour; the spread of a burst.
//! Must not: judge speed: what is compared is a run with itself a moment before, and the best of three counts, since the
//! machine has neighbours too.
//! Read next: `RECEIVES_AT_ONCE_MAX` in the data plane's bounds, the turn that a fast sender gets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringway_contract::snapshot::Match;
use ringway_tests::client::get;
use ringway_tests::programs::optimised;
use ringway_tests::setup::{http, prefix, route};
use ringway_tests::{Gateway, Io, Origin, Peer, Setup, each_driver};

const STREAMS: usize = 12;
const EVENTS: usize = 150;
const PERIOD: Duration = Duration::from_millis(10);
const UPLOAD_BYTES: usize = 32 << 20;
const BETWEEN_PIECES: Duration = Duration::from_millis(4);
const TRIES: usize = 3;

/// How much later an event may be than a quarter more. Both programs of the test wait for the same two cores, and one that
/// is not optimised works some ten times as long on a buffer.
fn slack() -> Duration {
    Duration::from_millis(if optimised() { 2 } else { 12 })
}

/// Streams events that say when they were sent, swallows bodies, or never stops answering.
fn origin(zero: Instant) -> Origin {
    Origin::start(move |peer: &mut Peer| {
        while let Some(head) = peer.head() {
            match head.word(1) {
                "/stream" => stamp(peer, zero),
                "/flood" => return flood(peer),
                "/listed" => drop(peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")),
                _ => return swallow(peer),
            }
            peer.forget();
        }
    })
}

fn stamp(peer: &mut Peer, zero: Instant) {
    peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    let began = Instant::now();
    for number in 1..=EVENTS {
        std::thread::sleep((began + PERIOD * number as u32).saturating_duration_since(Instant::now()));
        let event = format!("data: {:016}\n\n", zero.elapsed().as_nanos());
        if !peer.send(format!("{:x}\r\n{event}\r\n", event.len())) {
            return;
        }
    }
    peer.send("0\r\n\r\n");
}

fn flood(peer: &mut Peer) {
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
    while peer.send(vec![b'x'; 1 << 20]) {}
}

fn swallow(peer: &mut Peer) {
    while !peer.received_enough(|bytes| bytes.len() >= UPLOAD_BYTES) {
        if !peer.read_some() {
            return;
        }
        peer.forget();
    }
}

/// The delays of all events of all streams, ascending.
fn delays(gateway: &Gateway, zero: Instant) -> Vec<Duration> {
    let address = gateway.address();
    let callers: Vec<JoinHandle<Vec<Duration>>> =
        (0..STREAMS).map(|_| std::thread::spawn(move || listen(address, zero))).collect();
    let mut all: Vec<Duration> =
        callers.into_iter().flat_map(|caller| caller.join().expect("a whole stream")).collect();
    assert_eq!(all.len(), STREAMS * EVENTS);
    all.sort_unstable();
    all
}

/// Reads one stream to its end.
fn listen(address: SocketAddr, zero: Instant) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("settable");
    stream.write_all(get("/stream").as_bytes()).expect("it reads");
    let (mut text, mut delays) = (String::new(), Vec::new());
    let mut piece = [0; 4_096];
    while !text.ends_with("0\r\n\r\n") {
        let n = stream.read(&mut piece).expect("events");
        assert!(n > 0, "it broke off behind {text:?}");
        let now = zero.elapsed();
        text.push_str(std::str::from_utf8(&piece[..n]).expect("text"));
        while let Some((event, rest)) = text.split_once("\n\n") {
            let stamp =
                event.split_once("data: ").and_then(|(_, stamp)| stamp.parse().ok()).expect("a stamp");
            delays.push(now.saturating_sub(Duration::from_nanos(stamp)));
            text = rest.to_owned();
        }
    }
    delays
}

fn p99(sorted: &[Duration]) -> Duration {
    sorted[sorted.len() * 99 / 100]
}

/// A neighbour: runs until it is told to stop.
type Neighbour = fn(&Gateway, Arc<AtomicBool>) -> JoinHandle<usize>;

fn holds_up_nobody(io: Io, what: &str, neighbour: Neighbour) {
    let zero = Instant::now();
    let origin = origin(zero);
    let gateway = Gateway::start(io, setup(&origin));
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let alone = p99(&delays(&gateway, zero));
        let stop = Arc::new(AtomicBool::new(false));
        let beside = neighbour(&gateway, Arc::clone(&stop));
        let with = p99(&delays(&gateway, zero));
        stop.store(true, Ordering::Relaxed);
        let done = beside.join().expect("the neighbour runs");
        assert!(done > 0, "{what} did nothing");
        seen.push((alone, with, done));
        if with <= alone + alone / 4 + slack() {
            println!("{io}: beside {what} ({done} times) the p99 is {with:?}, alone {alone:?}");
            gateway.assert_idle();
            return gateway.finish();
        }
    }
    panic!("{io}: {what} holds up others: p99 alone, beside it, how often it did it: {seen:?}");
}

/// Everything goes to one origin; in front of that, routes with as long lists as there may be, on `/listed`.
fn setup(origin: &Origin) -> Setup {
    let mut setup = Setup::new().backend(http("origin", &[origin.address()]));
    for number in 0..10 {
        let hosts = (0..1_000).map(|host| format!("h{host}.r{number}.test")).collect();
        let listed = Match { hosts, ..prefix("/listed") };
        setup = setup.route(route(&format!("listed-{number}"), listed, "origin"));
    }
    setup.route(route("all", prefix("/"), "origin"))
}

#[test]
fn a_caller_that_does_not_read_holds_up_nobody() {
    each_driver(|io| {
        holds_up_nobody(io, "a caller that does not read", |gateway, stop| {
            let mut caller = gateway.connect();
            std::thread::spawn(move || {
                caller.send(get("/flood"));
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                1
            })
        });
    });
}

#[test]
fn an_upload_of_32_mib_holds_up_nobody() {
    each_driver(|io| {
        holds_up_nobody(io, "an upload of 32 MiB", |gateway, stop| {
            let address = gateway.address();
            std::thread::spawn(move || {
                let mut pieces = 0;
                while !stop.load(Ordering::Relaxed) {
                    pieces += upload(address, &stop);
                }
                pieces
            })
        });
    });
}

/// Sends a long body at some 60 MiB/s, so that it is the worker that is shared and not the cores of the machine; says how
/// many pieces of it were taken.
fn upload(address: SocketAddr, stop: &AtomicBool) -> usize {
    let Ok(mut stream) = TcpStream::connect(address) else { return 0 };
    let head = format!("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {UPLOAD_BYTES}\r\n\r\n");
    if stream.write_all(head.as_bytes()).is_err() {
        return 0;
    }
    let piece = vec![b'x'; 1 << 18];
    let pieces = UPLOAD_BYTES / piece.len();
    let mut send = || {
        std::thread::sleep(BETWEEN_PIECES);
        stream.write_all(&piece).is_ok()
    };
    (0..pieces).take_while(|_| !stop.load(Ordering::Relaxed) && send()).count()
}

#[test]
fn a_route_behind_ten_thousand_hosts_holds_up_nobody() {
    each_driver(|io| {
        holds_up_nobody(io, "a route behind ten thousand hosts", |gateway, stop| {
            let mut caller = gateway.connect();
            std::thread::spawn(move || {
                let mut asked = 0;
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(caller.ask(get("/listed")).status(), 200);
                    asked += 1;
                    std::thread::sleep(Duration::from_millis(1));
                }
                asked
            })
        });
    });
}

const WORKERS: u32 = 8;
const BURST: usize = 800;

#[test]
fn a_burst_of_connections_is_spread_evenly_over_the_workers() {
    each_driver(|io| {
        let origin = origin(Instant::now());
        let gateway = Gateway::start(io, setup(&origin).workers(WORKERS));
        let address = gateway.address();
        let burst: Vec<TcpStream> =
            (0..BURST).map(|_| TcpStream::connect(address).expect("it accepts")).collect();
        let spread = || gateway.stats().workers.iter().map(|worker| worker.connections).collect::<Vec<_>>();
        let deadline = Instant::now() + Duration::from_secs(10);
        while spread().iter().sum::<u64>() < BURST as u64 {
            assert!(Instant::now() < deadline, "{io}: accepted {:?} of {BURST}", spread());
            std::thread::sleep(Duration::from_millis(20));
        }
        let (spread, share) = (spread(), BURST as u64 / u64::from(WORKERS));
        assert!(spread.iter().all(|have| have.abs_diff(share) <= share / 4), "{io}: {spread:?}");
        drop(burst);
        gateway.assert_idle();
        gateway.finish();
    });
}
