//! Callers that leave, pause, half-ask and stall at random; afterwards everything is back where it began.
//!
//! Owns: five seconds of it per driver, a minute with `RINGWAY_LONG=1`, and a canary that must never see a byte
//! of anybody else's.
//! Must not: care how each caller fared; only the canary's answers and the gauges are judged.
//! Read next: `faults/callers.rs`, each way of leaving alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringway_contract::Millis;
use ringway_contract::snapshot::{BackendTls, ListenerTls};
use ringway_tests::client::{Wire, get, post, post_chunked};
use ringway_tests::tls::{self, Front};
use ringway_tests::{Client, Gateway, Io, Origin, Peer, Setup, each_driver, long};
use rustls::ClientConfig;

const CALLERS: u64 = 24;
const SETTLE_MAX: Duration = Duration::from_secs(8);

/// Answers by path: whole, in a stream, cut, late, or not at all.
fn moody() -> Origin {
    Origin::start(|peer: &mut Peer| {
        while let Some(request) = peer.request() {
            peer.forget();
            let target = request.head.word(1).to_owned();
            if !play(peer, &target, request.body.len()) {
                return;
            }
        }
    })
}

/// False when the connection ends with this answer.
fn play(peer: &mut Peer, target: &str, body_bytes: usize) -> bool {
    match target.split('/').nth(1).unwrap_or("") {
        "stream" => {
            let mut alive = peer.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
            for _ in 0..20 {
                alive = alive && peer.send("8\r\ndata: x\n\r\n");
                peer.pause(Duration::from_millis(10));
            }
            alive && peer.send("0\r\n\r\n")
        }
        "cut" => {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
            false
        }
        "reset" => {
            peer.reset();
            false
        }
        "late" => {
            peer.pause(Duration::from_millis(150));
            whole(peer, target, body_bytes)
        }
        "large" => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 500_000);
            peer.send([head.into_bytes(), vec![b'x'; 500_000]].concat())
        }
        _ => whole(peer, target, body_bytes),
    }
}

fn whole(peer: &mut Peer, target: &str, body_bytes: usize) -> bool {
    let own = format!("{target} {body_bytes}\n");
    peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{own}", own.len()))
}

/// How callers come: in plain text, or over TLS.
#[derive(Clone)]
struct Callers {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

/// The name in the certificates here.
const NAME: &str = "gateway.test";

impl Callers {
    /// One caller's life: connect, do something at random, leave at random.
    fn live(&self, random: &mut fastrand::Rng) {
        let patience = Duration::from_millis(random.u64(1..400));
        match &self.tls {
            None => {
                let Ok(caller) = Client::try_connect(self.address) else { return };
                let caller = talk(caller.patient(patience), random);
                match random.u8(..3) {
                    0 => caller.reset(),
                    1 => caller.half_close(),
                    _ => {}
                }
            }
            Some(config) => {
                let Ok(stream) = tls::try_connect(config, self.address, NAME) else { return };
                talk(Client::over(stream).patient(patience), random);
            }
        }
    }

    /// Asks for its own all the time; anything but its own answer is a desync.
    fn canary(&self, over: &AtomicBool) -> u64 {
        let mut asked = 0;
        while !over.load(Ordering::Acquire) {
            match &self.tls {
                None => ask_for_own(Client::connect(self.address), &mut asked),
                Some(config) => ask_for_own(tls::connect(config, self.address, NAME), &mut asked),
            }
        }
        asked
    }
}

/// Asks a few times, and not always to the end.
fn talk<S: Wire>(mut caller: Client<S>, random: &mut fastrand::Rng) -> Client<S> {
    for _ in 0..random.usize(1..5) {
        let bytes = some_request(random);
        let cut = if random.u8(..10) < 3 { random.usize(..=bytes.len()) } else { bytes.len() };
        if caller.try_send(&bytes[..cut]).is_err() || (cut < bytes.len() && random.bool()) {
            break;
        }
        match random.u8(..10) {
            0 => break,
            1 => std::thread::sleep(Duration::from_millis(random.u64(..100))),
            _ if caller.try_answer("GET").is_err() => break,
            _ => {}
        }
    }
    caller
}

fn some_request(random: &mut fastrand::Rng) -> Vec<u8> {
    let paths = ["/whole/a", "/stream/a", "/cut/a", "/reset/a", "/late/a", "/large/a"];
    let path = paths[random.usize(..paths.len())];
    let body = vec![b'b'; random.usize(..60_000)];
    match random.u8(..6) {
        0 => post(path, body),
        1 => post_chunked(path, &body, &[1, 100, 3_000]),
        2 => b"GET /broken HTTP/1.1\r\nHost : a\r\n\r\n".to_vec(),
        3 => get(path).repeat(3).into_bytes(),
        _ => get(path).into_bytes(),
    }
}

fn ask_for_own<S: Wire>(mut caller: Client<S>, asked: &mut u64) {
    for _ in 0..20 {
        *asked += 1;
        let body = format!("canary {asked}");
        let answer = caller.ask(post(&format!("/whole/canary-{asked}"), &body));
        let own = format!("/whole/canary-{asked} {}\n", body.len());
        assert_eq!(answer.text(), own, "the canary's own answer");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn soak(io: Io, span: Duration, seed: u64, secure: bool) {
    let origin = moody();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let authority = tls::Authority::new();
    let own = authority.issue(&[NAME]);
    let front = secure
        .then(|| Front::start(authority.server(&own, false, tls::ANY_VERSION), origin.address(), false));
    let setup = Setup::raw(front.as_ref().map_or(origin.address(), Front::address))
        .workers(2)
        .caller_timeouts(|timeouts| {
            timeouts.head_ms = Millis::new(1_000);
            timeouts.body_idle_ms = Millis::new(1_000);
            timeouts.write_stall_ms = Millis::new(1_000);
            timeouts.keep_alive_ms = Millis::new(2_000);
        })
        .route_timeouts(|timeouts| {
            timeouts.first_byte_ms = Millis::new(2_000);
            timeouts.idle_ms = Millis::new(2_000);
        })
        .tune(|snapshot| {
            if secure {
                let ca = Some(authority.write(folder.path(), "ca.pem"));
                let certificates = vec![own.write(folder.path(), "site")];
                snapshot.listeners[0].tls = Some(ListenerTls { certificates, client_ca: None });
                let tls = BackendTls { ca, server_name: Some(NAME.to_owned()), ..BackendTls::default() };
                snapshot.backends[0].tls = Some(tls);
                snapshot.backends[0].endpoints[0].secure = true;
            }
        });
    let gateway = Gateway::start(io, setup);
    let config = secure.then(|| Arc::new(authority.client(None, tls::ANY_VERSION)));
    let people = Callers { address: gateway.address(), tls: config };
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let (over, people) = (over.clone(), people.clone());
            std::thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed + number);
                while !over.load(Ordering::Acquire) {
                    people.live(&mut random);
                }
            })
        })
        .collect();
    let watched = over.clone();
    let canary = std::thread::spawn(move || people.canary(&watched));
    let began = Instant::now();
    std::thread::sleep(span);
    over.store(true, Ordering::Release);
    for caller in callers {
        caller.join().expect("callers do not panic");
    }
    let asked = canary.join().expect("the canary saw only its own answers");
    let exchanges: u64 = gateway.stats().workers.iter().map(|worker| worker.exchanges_total).sum();
    println!(
        "{io}, seed {seed}: {exchanges} exchanges in {:?}, {asked} of them the canary's",
        began.elapsed()
    );
    assert!(asked > 20 && exchanges > asked);
    gateway.assert_idle_within(SETTLE_MAX);
    assert!(gateway.metric(&["ringway_panics_total"]) < 0.5);
    gateway.finish();
}

#[test]
fn after_random_disconnects_every_gauge_is_back_where_it_began() {
    let seed = std::env::var("RINGWAY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let span = Duration::from_secs(if long() { 60 } else { 5 });
    each_driver(|io| soak(io, span, seed, false));
}

#[test]
fn after_random_disconnects_over_tls_on_both_sides_every_gauge_is_back_too() {
    let seed = std::env::var("RINGWAY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let span = Duration::from_secs(if long() { 60 } else { 5 });
    each_driver(|io| soak(io, span, seed, true));
}
