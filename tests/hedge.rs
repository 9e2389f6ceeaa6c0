//! A second attempt beside a slow first one: who is answered first wins, the other is given up at once, and only what may
//! be repeated is, within a budget.
//!
//! Owns: the claims about hedging, over real sockets. Servers answer when they are told to.
//! Must not: claim how long anything takes.
//! Read next: `resilience/`, attempts one after another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ringway_contract::Millis;
use ringway_contract::snapshot::{Balance, Engine, Hedge};
use ringway_contract::trace::{Step, Traces};
use ringway_tests::client::{get, post};
use ringway_tests::setup::{backend, prefix, route};
use ringway_tests::{Gateway, Io, Origin, Peer, Setup, each_driver};
use serde_json::json;

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const SOON: Duration = Duration::from_secs(10);

/// A server that takes requests and answers when it is told to, or never.
struct Slow {
    origin: Origin,
    go: Arc<AtomicBool>,
}

impl Slow {
    fn start(answer: &'static str) -> Self {
        let go = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&go);
        let origin = Origin::start(move |peer: &mut Peer| {
            while peer.request().is_some() {
                let deadline = Instant::now() + SOON;
                while !told.load(SeqCst) {
                    if Instant::now() > deadline || peer.until_end(Duration::from_millis(2)) {
                        return;
                    }
                }
                if answer.is_empty() || !peer.send(answer) {
                    return;
                }
            }
        });
        Self { origin, go }
    }

    fn go(&self) {
        self.go.store(true, SeqCst);
    }

    fn stop(&self) {
        self.go.store(false, SeqCst);
    }

    fn wait_for(&self, requests: usize) {
        self.origin.wait_for("requests", |records| {
            records.iter().map(|record| record.requests.len()).sum::<usize>() >= requests
        });
    }
}

const FIRST: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n\"first\"";
const SECOND: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n\"second\"";
const FULL: &str = "HTTP/1.1 503 X\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

fn setup(first: SocketAddr, second: SocketAddr, hedge: Hedge) -> Setup {
    let mut all = route("all", prefix("/"), "model");
    (all.idempotent, all.expose, all.hedge) = (true, true, Some(hedge));
    let mut model = backend("model", Engine::Vllm, &[first, second]);
    model.balance = Balance::RoundRobin; // the first of a new gateway goes to the first
    Setup::new().backend(model).route(all)
}

const fn soon() -> Hedge {
    Hedge { after_ms: Some(Millis::new(50)), budget_percent: 100 }
}

fn start(io: Io, first: &Slow, second: &Slow) -> Gateway {
    Gateway::start(io, setup(first.origin.address(), second.origin.address(), soon()))
}

fn chat() -> Vec<u8> {
    post(CHAT, json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).to_string())
}

/// Nothing of either attempt is left.
fn assert_given_back(gateway: &Gateway) {
    let stats = gateway.stats();
    assert!(stats.endpoints.iter().all(|endpoint| endpoint.in_flight == 0), "{:?}", stats.endpoints);
    assert_eq!(stats.load_underflow_total, 0);
}

fn hedges(gateway: &Gateway) -> [u64; 2] {
    ["ringway_hedges_total", "ringway_hedges_won_total"].map(|name| gateway.metric(&[name]) as u64)
}

#[test]
fn a_second_that_is_faster_answers_and_the_first_is_cancelled() {
    each_driver(|io| {
        let (first, second) = (Slow::start(FIRST), Slow::start(SECOND));
        second.go();
        let gateway = start(io, &first, &second);
        let answer = gateway.ask(chat());
        assert_eq!((answer.status(), answer.text().as_str()), (200, "\"second\""));
        let place = format!("model/{}", second.origin.address());
        assert_eq!(answer.head.one("x-ringway-backend"), Some(place.clone()));
        assert_eq!(answer.head.one("x-ringway-attempts").as_deref(), Some("2"));
        first.origin.wait_for_end(0);
        assert_eq!(first.origin.requests()[0].body, second.origin.requests()[0].body);
        let line = gateway.access().line_for(CHAT);
        assert_eq!((&line["endpoint"], &line["attempts"]), (&json!(place), &json!(2)), "{line}");
        assert_eq!(hedges(&gateway), [1, 1]);
        gateway.assert_idle();
        assert_given_back(&gateway);
        gateway.finish();
    });
}

#[test]
fn a_first_that_answers_after_all_wins_and_the_second_is_cancelled() {
    each_driver(|io| {
        let (first, second) = (Slow::start(FIRST), Slow::start(SECOND));
        let gateway = start(io, &first, &second);
        let mut caller = gateway.connect().patient(SOON);
        caller.send(chat());
        second.wait_for(1);
        first.go();
        assert_eq!(caller.answer().text(), "\"first\"");
        second.origin.wait_for_end(0);
        assert_eq!(hedges(&gateway), [1, 0]);
        drop(caller);
        gateway.assert_idle();
        assert_given_back(&gateway);
        gateway.finish();
    });
}

#[test]
fn with_p95_a_first_that_is_slower_than_nearly_all_before_it_is_helped() {
    each_driver(|io| {
        let (first, second) = (Slow::start(FIRST), Slow::start(SECOND));
        first.go();
        second.go();
        let p95 = Hedge { after_ms: None, budget_percent: 100 };
        let gateway = Gateway::start(io, setup(first.origin.address(), second.origin.address(), p95));
        let ask = || gateway.ask(chat()).text();
        let answers: Vec<String> = (0..40).map(|_| ask()).collect();
        assert!(answers.iter().any(|it| it == "\"first\"") && answers.iter().any(|it| it == "\"second\""));
        assert_eq!(hedges(&gateway), [0, 0], "all were about as fast");
        first.stop();
        assert_eq!(
            [ask(), ask()],
            ["\"second\"", "\"second\""],
            "one of them at least was asked of the first"
        );
        let [asked, won] = hedges(&gateway);
        assert!(asked > 0 && asked == won, "{asked} {won}");
        gateway.assert_idle();
        assert_given_back(&gateway);
        gateway.finish();
    });
}

#[test]
fn nobody_is_asked_twice_who_answers_in_time_and_nothing_is_that_may_not_be_repeated() {
    each_driver(|io| {
        let (first, second) = (Slow::start(FIRST), Slow::start(SECOND));
        let hedge = Hedge { after_ms: Some(Millis::new(5_000)), ..soon() };
        let quick = setup(first.origin.address(), second.origin.address(), hedge);
        first.go();
        second.go();
        let gateway = Gateway::start(io, quick);
        for _ in 0..4 {
            assert_eq!(gateway.ask(chat()).status(), 200);
        }
        assert_eq!(first.origin.requests().len() + second.origin.requests().len(), 4);
        gateway.finish();

        let (first, second) = (Slow::start(FIRST), Slow::start(SECOND));
        let once = setup(first.origin.address(), second.origin.address(), soon())
            .tune(|snapshot| snapshot.routes[0].idempotent = false);
        let gateway = Gateway::start(io, once);
        let mut caller = gateway.connect().patient(SOON);
        caller.send(chat());
        first.wait_for(1);
        std::thread::sleep(Duration::from_millis(400));
        assert!(second.origin.requests().is_empty(), "a POST is sent once");
        first.go();
        assert_eq!(caller.answer().text(), "\"first\"");
        caller.send(get("/v1/models/x"));
        second.wait_for(1); // its turn
        second.go();
        assert_eq!(caller.answer().status(), 200);
        drop(caller);
        gateway.finish();
    });
}

#[test]
fn the_budget_is_shared_by_all_requests_and_then_the_first_is_waited_for() {
    each_driver(|io| {
        let (first, second) = (Slow::start(FIRST), Slow::start(SECOND));
        let hedge = Hedge { budget_percent: 5, ..soon() };
        let gateway = Gateway::start(io, setup(first.origin.address(), second.origin.address(), hedge));
        let mut callers: Vec<_> = (0..10).map(|_| gateway.connect().patient(SOON)).collect();
        for caller in &mut callers {
            caller.send(chat());
        }
        let all = || first.origin.requests().len() + second.origin.requests().len();
        let deadline = Instant::now() + SOON;
        while gateway.metric(&["ringway_hedges_refused_total"]) < 8.5 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!((all(), hedges(&gateway)[0]), (11, 1), "one in ten, and the rest refused");
        first.go();
        second.go();
        for caller in &mut callers {
            assert_eq!(caller.answer().status(), 200);
        }
        drop(callers);
        gateway.assert_idle();
        assert_given_back(&gateway);
        gateway.finish();
    });
}

#[test]
fn a_second_that_declines_or_fails_does_not_win() {
    each_driver(|io| {
        for answer in [FULL, ""] {
            let (first, second) = (Slow::start(FIRST), Slow::start(answer));
            second.go();
            let gateway = start(io, &first, &second);
            let mut caller = gateway.connect().patient(SOON);
            caller.send(chat());
            second.wait_for(1);
            std::thread::sleep(Duration::from_millis(100));
            first.go();
            let told = caller.answer();
            assert_eq!((told.status(), told.text().as_str()), (200, "\"first\""), "{answer:?}");
            drop(caller);
            gateway.assert_idle();
            assert_given_back(&gateway);
            gateway.finish();
        }
    });
}

#[test]
fn a_first_that_fails_or_declines_meanwhile_leaves_it_to_the_second() {
    each_driver(|io| {
        for answer in [FULL, ""] {
            let (first, second) = (Slow::start(answer), Slow::start(SECOND));
            let gateway = start(io, &first, &second);
            let mut caller = gateway.connect().patient(SOON);
            caller.send(chat());
            second.wait_for(1);
            first.go();
            std::thread::sleep(Duration::from_millis(100));
            second.go();
            let told = caller.answer();
            assert_eq!((told.status(), told.text().as_str()), (200, "\"second\""), "{answer:?}");
            drop(caller);
            gateway.assert_idle();
            assert_given_back(&gateway);
            gateway.finish();
        }
    });
}

#[test]
fn if_both_fail_the_caller_is_told_of_the_first() {
    each_driver(|io| {
        for (one, other, status) in [("", "", 502), (FULL, "", 503), (FULL, FULL, 503)] {
            let (first, second) = (Slow::start(one), Slow::start(other));
            let gateway = start(io, &first, &second);
            let mut caller = gateway.connect().patient(SOON);
            caller.send(chat());
            second.wait_for(1);
            first.go();
            std::thread::sleep(Duration::from_millis(100));
            second.go();
            let told = caller.answer();
            assert_eq!(told.status(), status, "{one:?} {other:?}: {}", told.text());
            let line = gateway.access().line_for(CHAT);
            assert_eq!(line["attempts"], 2, "{line}");
            drop(caller);
            gateway.assert_idle();
            assert_given_back(&gateway);
            gateway.finish();
        }
    });
}

#[test]
fn a_long_body_is_sent_whole_twice_and_a_translated_one_in_the_backends_words() {
    each_driver(|io| {
        let answer = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "second"},
                         "finish_reason": "stop"}]})
        .to_string();
        let answer: &'static str = Box::leak(
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            )
            .into_boxed_str(),
        );
        let words = "word ".repeat(60_000);
        for path in [CHAT, MESSAGES] {
            let (first, second) = (Slow::start(FIRST), Slow::start(answer));
            second.go();
            let gateway = start(io, &first, &second);
            let body =
                json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": words}]});
            let told = gateway.ask(post(path, body.to_string()));
            assert!(told.status() == 200 && told.text().contains("second"), "{path}: {}", told.text());
            let (one, two) =
                (first.origin.requests().swap_remove(0), second.origin.requests().swap_remove(0));
            assert_eq!(one.body, two.body, "{path}");
            assert!(two.body.len() > words.len());
            assert_eq!(two.head.one("host"), Some(second.origin.address().to_string()));
            assert_eq!(two.head.word(1), CHAT);
            gateway.assert_idle();
            gateway.finish();
        }
    });
}

#[test]
fn a_caller_that_leaves_cancels_both() {
    each_driver(|io| {
        let (first, second) = (Slow::start(FIRST), Slow::start(SECOND));
        let gateway = start(io, &first, &second);
        let mut caller = gateway.connect();
        caller.send(chat());
        second.wait_for(1);
        drop(caller);
        first.origin.wait_for_end(0);
        second.origin.wait_for_end(0);
        gateway.assert_idle();
        assert_given_back(&gateway);
        gateway.finish();
    });
}

#[test]
fn a_trace_tells_of_both_attempts() {
    each_driver(|io| {
        let (first, second) = (Slow::start(FIRST), Slow::start(SECOND));
        second.go();
        let setup = setup(first.origin.address(), second.origin.address(), soon())
            .tune(|snapshot| snapshot.routes[0].trace.sample_percent = 100);
        let gateway = Gateway::start(io, setup);
        assert_eq!(gateway.ask(chat()).text(), "\"second\"");
        gateway.assert_idle();
        let answer = gateway.control("GET", "/v1/traces", "", b"");
        let traces: Traces = serde_json::from_slice(&answer.body).expect("traces");
        let attempts: Vec<(String, Option<u16>)> = traces.traces[0]
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Attempt(attempt) => Some((attempt.endpoint.clone(), attempt.status)),
                Step::Choice(_) | Step::Queue(_) => None,
            })
            .collect();
        let name = |server: &Slow| format!("model/{}", server.origin.address());
        assert_eq!(attempts, [(name(&first), None), (name(&second), Some(200))]);
        gateway.finish();
    });
}
