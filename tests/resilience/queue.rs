//! The queue in front of a backend: who waits, for how long, and what they are told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ringway_contract::Millis;
use ringway_contract::snapshot::{Admission, Class, Engine, Snapshot, Tenants};
use ringway_contract::stats::QueueStats;
use ringway_tests::client::post;
use ringway_tests::setup::{exactly, route};
use ringway_tests::{Client, Gateway, Io, Setup, each_driver};
use rustix::process::Signal;

use crate::rig::{CHAT, Holding, drain, eventually};

const SOON: Duration = Duration::from_secs(5);
const BATCH: &str = "/v1/completions";

/// About a thousand tokens: a second of work for the server, so that a single one fills it.
fn long(path: &str, mark: &str) -> Vec<u8> {
    let words = "word ".repeat(800);
    let body = serde_json::json!({"model": "m", "stream": true, "user": mark,
        "messages": [{"role": "user", "content": words}]});
    post(path, body.to_string())
}

fn setup(server: &Holding, admission: Admission) -> Setup {
    let mut batch = route("batch", exactly(BATCH), "model");
    batch.class = Class::Batch;
    let setup = Setup::model(CHAT, Engine::Vllm, &[server.origin.address()]).route(batch);
    setup.tune(|snapshot| {
        snapshot.routes[0].class = Class::Interactive;
        snapshot.backends[0].admission = Some(admission);
        snapshot.backends[0].endpoints[0].hardware.prefill_tokens_per_s = Some(1_000);
    })
}

fn patient() -> Admission {
    Admission { wait_ms: [Millis::from_secs(20); 3], ..Admission::default() }
}

fn brief(ms: u64) -> Admission {
    Admission { wait_ms: [Millis::new(ms); 3], ..Admission::default() }
}

fn queue(gateway: &Gateway) -> QueueStats {
    gateway.stats().queues.swap_remove(0)
}

fn waiting(gateway: &Gateway) -> u32 {
    queue(gateway).waiting.iter().sum()
}

/// A gateway whose only server holds one request, so that whoever comes next has to wait.
fn full(io: Io, admission: Admission) -> (Gateway, Holding, Client) {
    let server = Holding::start();
    let gateway = Gateway::start(io, setup(&server, admission));
    let mut first = gateway.connect();
    first.send(long(CHAT, "first"));
    server.wait_for(1);
    (gateway, server, first)
}

fn waiter(gateway: &Gateway, path: &str, mark: &str) -> Client {
    let before = waiting(gateway);
    let mut caller = gateway.connect().patient(Duration::from_secs(20));
    caller.send(long(path, mark));
    eventually("it waits", SOON, || waiting(gateway) > before);
    caller
}

#[test]
fn a_request_waits_while_no_server_is_open_and_goes_at_the_first_token_of_the_one_before() {
    each_driver(|io| {
        let (gateway, server, mut first) = full(io, patient());
        let mut second = waiter(&gateway, CHAT, "second");
        assert!(queue(&gateway).bytes > 4_000, "its body is counted: {:?}", queue(&gateway));
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(server.arrived(), 1);
        let seen = queue(&gateway);
        assert_eq!((seen.waiting, seen.open, seen.eligible), ([1, 0, 0], 0, 1), "closed while one waits");
        assert!(seen.oldest_s[0].is_some_and(|s| s >= 0.2) && seen.oldest_s[1].is_none(), "{seen:?}");
        assert!(seen.drain_s.is_some_and(|s| s > 1.0), "two prompts of a second each: {seen:?}");
        assert!(gateway.metric(&["ringway_queue_oldest_seconds", "interactive"]) >= 0.2);
        assert!(gateway.metric(&["ringway_queue_drain_seconds"]) > 1.0);
        server.let_go(1);
        server.wait_for(2);
        server.let_go(2);
        for caller in [&mut first, &mut second] {
            let answer = caller.answer();
            assert!(answer.status() == 200 && answer.whole(), "{}", answer.text());
        }
        let line = gateway.access().wait_for("a wait", |line| line["queue_ms"].is_number());
        assert!(line["queue_ms"].as_f64().is_some_and(|ms| ms >= 200.0), "{line}");
        let after = queue(&gateway);
        assert_eq!((after.waiting, after.bytes, after.granted_total), ([0; 3], 0, 1));
        assert_eq!((after.open, after.oldest_s), (1, [None; 3]), "open again");
        drop((first, second));
        gateway.finish();
    });
}

#[test]
fn who_waits_too_long_is_answered_429_in_its_dialect_with_a_time_to_come_back() {
    each_driver(|io| {
        let (gateway, server, first) = full(io, brief(300));
        let began = Instant::now();
        let answer = gateway.ask(long(CHAT, "late"));
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(2), "{took:?}");
        assert_eq!(answer.status(), 429, "{}", answer.text());
        assert_eq!(answer.json()["error"]["type"], "rate_limit_error", "{}", answer.text());
        let seconds = answer.head.one("retry-after").and_then(|text| text.parse::<u64>().ok());
        assert!(seconds.is_some_and(|seconds| (1..=60).contains(&seconds)), "{seconds:?}");
        assert_eq!((server.arrived(), waiting(&gateway)), (1, 0));
        assert!(gateway.metric(&["ringway_queue_refused_total", "timed_out"]) > 0.5);
        server.let_go(usize::MAX);
        drop(first);
        gateway.finish();
    });
}

#[test]
fn who_comes_back_when_told_is_served() {
    each_driver(|io| {
        let (gateway, server, mut first) = full(io, brief(100));
        let refused = gateway.ask(long(CHAT, "early"));
        let seconds = refused.head.one("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
        assert_eq!(refused.status(), 429);
        server.let_go(usize::MAX);
        assert_eq!(first.answer().status(), 200);
        std::thread::sleep(Duration::from_secs(seconds));
        assert_eq!(gateway.ask(long(CHAT, "again")).status(), 200);
        drop(first);
        gateway.finish();
    });
}

#[test]
fn who_comes_back_when_told_goes_before_one_that_came_earlier() {
    each_driver(|io| {
        let server = Holding::start();
        let slow = |snapshot: &mut Snapshot| {
            snapshot.backends[0].endpoints[0].hardware.prefill_tokens_per_s = Some(400);
        };
        let gateway = Gateway::start(io, setup(&server, brief(800)).tune(slow));
        let mut first = gateway.connect();
        first.send(long(CHAT, "first"));
        server.wait_for(1);
        let refused = gateway.ask(long(CHAT, "promised"));
        let seconds: u64 =
            refused.head.one("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
        let told = Instant::now();
        std::thread::sleep(Duration::from_millis(1_000 * seconds - 300));
        let mut other = waiter(&gateway, CHAT, "stranger");
        std::thread::sleep(Duration::from_secs(seconds).saturating_sub(told.elapsed()));
        let mut promised = waiter(&gateway, CHAT, "promised");
        server.let_go(1);
        server.wait_for(2);
        let second = server.origin.requests().swap_remove(1);
        assert!(String::from_utf8_lossy(&second.body).contains("promised"), "the stranger went first");
        server.let_go(usize::MAX);
        for caller in [&mut first, &mut promised, &mut other] {
            assert_eq!(caller.answer().status(), 200);
        }
        drop((first, promised, other));
        gateway.finish();
    });
}

#[test]
fn where_none_may_wait_one_that_was_refused_shuts_nobody_out() {
    each_driver(|io| {
        let (gateway, server, mut first) = full(io, Admission { queue: 0, ..patient() });
        assert_eq!(gateway.ask(long(CHAT, "refused")).status(), 429);
        server.let_go(usize::MAX);
        assert_eq!(first.answer().status(), 200);
        eventually("it is open", SOON, || queue(&gateway).open == 1);
        assert_eq!(gateway.ask(long(CHAT, "another")).status(), 200, "whoever was told to come back later");
        drop(first);
        gateway.finish();
    });
}

#[test]
fn a_full_queue_refuses_at_once_and_a_caller_that_leaves_frees_its_place_at_once() {
    each_driver(|io| {
        let (gateway, server, first) = full(io, Admission { queue: 1, ..patient() });
        let second = waiter(&gateway, CHAT, "second");
        let began = Instant::now();
        assert_eq!(gateway.ask(long(CHAT, "third")).status(), 429);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        drop(second);
        eventually("its place is free", Duration::from_millis(500), || waiting(&gateway) == 0);
        let line = gateway.access().wait_for("it left", |line| line["reason"] == "client_gone_queued");
        assert_eq!(line["attempts"], 0, "{line}");
        let mut fourth = waiter(&gateway, CHAT, "fourth");
        server.let_go(usize::MAX);
        assert_eq!((fourth.answer().status(), server.arrived()), (200, 2));
        drop((first, fourth));
        gateway.finish();
    });
}

#[test]
fn an_urgent_request_goes_before_one_that_came_earlier_and_takes_its_place_in_a_full_queue() {
    each_driver(|io| {
        let (gateway, server, first) = full(io, Admission { queue: 2, ..patient() });
        let mut batch = waiter(&gateway, BATCH, "batch");
        let mut displaced = waiter(&gateway, BATCH, "displaced");
        let mut urgent = gateway.connect().patient(Duration::from_secs(20));
        urgent.send(long(CHAT, "urgent"));
        assert_eq!(displaced.answer().status(), 429, "the newest of the lowest class makes room");
        server.let_go(1);
        server.wait_for(2);
        server.let_go(2);
        server.wait_for(3);
        server.let_go(3);
        assert_eq!((urgent.answer().status(), batch.answer().status()), (200, 200));
        let paths: Vec<String> =
            server.origin.requests().iter().map(|it| it.head.word(1).to_owned()).collect();
        assert_eq!(paths.iter().filter(|path| *path == BATCH).count(), 1);
        assert_eq!(gateway.access().line_for(BATCH)["reason"], "pool_full");
        drop((first, batch, displaced, urgent));
        gateway.finish();
    });
}

/// The same on behalf of a tenant.
fn of_tenant(tenant: &str, mark: &str) -> Vec<u8> {
    let plain = long(CHAT, mark);
    let fields = plain.windows(2).position(|it| it == b"\r\n").expect("a request line") + 2;
    let field = format!("X-Tenant: {tenant}\r\n");
    [&plain[..fields], field.as_bytes(), &plain[fields..]].concat()
}

#[test]
fn a_tenant_waits_for_its_own_requests_and_not_for_all_that_another_sent_before() {
    each_driver(|io| {
        let server = Holding::start();
        let shared = setup(&server, Admission { queue: 8, ..patient() }).tune(|snapshot| {
            let weights = BTreeMap::from([("small".to_owned(), 2)]);
            snapshot.backends[0].tenants = Some(Tenants { header: "x-tenant".to_owned(), weights });
        });
        let gateway = Gateway::start(io, shared);
        let mut callers = vec![gateway.connect()];
        callers[0].send(of_tenant("large", "first"));
        server.wait_for(1);
        let sent = ["large-1", "large-2", "large-3", "large-4", "small-1", "small-2", "small-3"];
        for (already, mark) in sent.iter().enumerate() {
            let mut caller = gateway.connect().patient(Duration::from_secs(20));
            let (tenant, _) = mark.split_once('-').expect("tenant and number");
            caller.send(of_tenant(tenant, mark));
            eventually("it waits", SOON, || waiting(&gateway) > already as u32);
            callers.push(caller);
        }
        let refused = gateway.ask(of_tenant("large", "large-5"));
        assert_eq!(refused.status(), 429, "half of the queue is the most for one: {}", refused.text());
        for turn in 1..=sent.len() {
            server.let_go(turn);
            server.wait_for(turn + 1);
        }
        server.let_go(usize::MAX);
        for caller in &mut callers {
            assert_eq!(caller.answer().status(), 200);
        }
        let bodies: Vec<String> = server
            .origin
            .requests()
            .iter()
            .map(|it| String::from_utf8_lossy(&it.body).into_owned())
            .collect();
        let place = |mark: &str| bodies.iter().position(|body| body.contains(mark)).expect("it was served");
        // Equals begin with the older one; then two of the tenant that weighs two to one of the other.
        assert!(place("small-2") < place("large-2"), "{:?}", sent.map(place));
        assert!(place("small-3") < place("large-3"), "{:?}", sent.map(place));
        assert!(place("large-2") < place("large-3") && place("small-1") < place("small-2"));
        drop(callers);
        gateway.finish();
    });
}

#[test]
fn without_any_server_that_is_well_it_is_503_for_those_who_wait_and_those_who_come() {
    each_driver(|io| {
        let (gateway, server, first) = full(io, patient());
        let mut second = waiter(&gateway, CHAT, "second");
        drain(&gateway, "model", &server.origin, false);
        let answer = second.answer();
        assert_eq!(answer.status(), 503, "{}", answer.text());
        let answer = gateway.ask(long(CHAT, "third"));
        assert_eq!((answer.status(), answer.head.has("retry-after")), (503, true));
        server.let_go(usize::MAX);
        drop((first, second));
        gateway.finish();
    });
}

#[test]
fn all_who_wait_on_any_worker_get_their_turn() {
    each_driver(|io| {
        let server = Holding::start();
        let gateway = Gateway::start(io, setup(&server, patient()).workers(3));
        let mut callers: Vec<Client> =
            (0..30).map(|_| gateway.connect().patient(Duration::from_secs(20))).collect();
        for (number, caller) in callers.iter_mut().enumerate() {
            caller.send(long(if number % 3 == 0 { BATCH } else { CHAT }, "all"));
            server.wait_for(1); // else two workers may find the server open in the same moment
        }
        eventually("all but one wait", SOON, || waiting(&gateway) == 29);
        assert_eq!(server.arrived(), 1, "one fills the server");
        server.let_go(usize::MAX);
        for caller in &mut callers {
            let answer = caller.answer();
            assert!(answer.status() == 200 && answer.whole(), "{}", answer.text());
        }
        assert_eq!((queue(&gateway).granted_total, waiting(&gateway)), (29, 0));
        drop(callers);
        gateway.finish();
    });
}

#[test]
fn callers_that_leave_at_any_time_leave_nothing_behind() {
    each_driver(|io| {
        let server = Holding::start();
        server.let_go(usize::MAX);
        let gateway = Gateway::start(io, setup(&server, brief(200)).workers(2));
        let mut random = fastrand::Rng::with_seed(5);
        let mut kept = Vec::new();
        for _ in 0..300 {
            let mut caller = gateway.connect();
            caller.send(long(CHAT, "many"));
            match random.u32(..3) {
                0 => caller.reset(),
                1 => kept.push(caller),
                _ => drop(caller),
            }
            if random.u32(..20) == 0 {
                std::thread::sleep(Duration::from_millis(random.u64(..30)));
            }
        }
        for mut caller in kept {
            assert!([200, 429].contains(&caller.answer().status()));
        }
        let left = || {
            let stats = gateway.stats();
            let one = &stats.endpoints[0];
            let queue = &stats.queues[0];
            one.in_flight
                + one.own.uncached_tokens
                + one.own.prompt_tokens
                + queue.bytes
                + u64::from(queue.waiting.iter().sum::<u32>())
        };
        eventually("nothing is left", SOON, || left() == 0);
        assert_eq!(gateway.stats().load_underflow_total, 0);
        gateway.finish();
    });
}

#[test]
fn who_waits_when_the_process_ends_is_told_so_before_it_does() {
    each_driver(|io| {
        let server = Holding::start();
        let soon = |it: &mut ringway_contract::Snapshot| it.drain_timeout_ms = Millis::new(1_500);
        let mut gateway = Gateway::start(io, setup(&server, patient()).tune(soon));
        let mut first = gateway.connect();
        first.send(long(CHAT, "first"));
        server.wait_for(1);
        let mut second = waiter(&gateway, CHAT, "second");
        gateway.signal(Signal::TERM);
        let answer = second.answer();
        assert_eq!((answer.status(), answer.head.has("retry-after")), (503, true), "{}", answer.text());
        gateway.wait_for_exit(Duration::from_secs(5));
        assert_eq!(server.arrived(), 1);
    });
}

#[test]
fn without_admission_nobody_waits() {
    each_driver(|io| {
        let server = Holding::start();
        let gateway =
            Gateway::start(io, setup(&server, patient()).tune(|it| it.backends[0].admission = None));
        let mut callers: Vec<Client> = (0..5).map(|_| gateway.connect()).collect();
        for caller in &mut callers {
            caller.send(long(CHAT, "all"));
        }
        server.wait_for(5);
        assert!(gateway.stats().queues.is_empty());
        server.let_go(usize::MAX);
        for caller in &mut callers {
            assert_eq!(caller.answer().status(), 200);
        }
        drop(callers);
        gateway.finish();
    });
}
