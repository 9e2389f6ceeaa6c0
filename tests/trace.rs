//! How a request was routed: kept for those that ask and those that are drawn, and told by `ringctl explain`.
//!
//! Owns: the claims about live traces, from the request to what `ringctl` prints.
//! Must not: claim what a score is worth; balance and acceptance do that.
//! Read next: `src/gateway.rs`.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use ringway_contract::Millis;
use ringway_contract::snapshot::{Admission, Balance, Class, Engine, Fallback, Hardware};
use ringway_contract::trace::{Step, Trace, Traces, Why};
use ringway_tests::client::{get, post};
use ringway_tests::programs::program;
use ringway_tests::setup::{backend, exactly, route};
use ringway_tests::{Gateway, Origin, Peer, Setup, each_driver};

const CHAT: &str = "/v1/chat/completions";
const ASK: &str = r#"{"model":"m","messages":[{"role":"user","content":"what is a ring?"}]}"#;

/// Answers each request with JSON.
fn origin() -> Origin {
    Origin::start(|peer: &mut Peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
        }
    })
}

/// An address that refuses.
fn nobody() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr()).expect("a free port")
}

fn asking(id: &str) -> Vec<u8> {
    asking_with(id, ASK)
}

fn asking_with(id: &str, body: &str) -> Vec<u8> {
    let plain = post(CHAT, body);
    let end = plain.windows(2).position(|two| two == b"\r\n").expect("a request line") + 2;
    let fields = format!("x-ringway-trace: 1\r\nx-request-id: {id}\r\n");
    [&plain[..end], fields.as_bytes(), &plain[end..]].concat()
}

fn traces(gateway: &Gateway, query: &str) -> Vec<Trace> {
    let answer = gateway.control("GET", &format!("/v1/traces{query}"), "", b"");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    serde_json::from_slice::<Traces>(&answer.body).expect("traces").traces
}

/// The trace of this request; it is put when the exchange is over, a moment after its answer.
fn trace_of(gateway: &Gateway, id: &str) -> Trace {
    for _ in 0..500 {
        if let Some(found) = traces(gateway, &format!("?request={id}")).pop() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no trace of {id}");
}

fn ringctl(gateway: &Gateway, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(program("ringctl"));
    let output = command.arg("--control").arg(gateway.socket()).args(args).output().expect("ringctl runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn a_caller_that_asks_gets_every_candidate_with_every_term_and_why_it_lost() {
    each_driver(|io| {
        let servers = [origin(), origin()];
        let addresses: Vec<SocketAddr> = servers.iter().map(Origin::address).collect();
        let setup = Setup::model(CHAT, Engine::Vllm, &addresses).tune(|snapshot| {
            snapshot.routes[0].expose = true;
            snapshot.backends[0].balance = Balance::Gpu;
            let slow = Hardware { prefill_tokens_per_s: Some(1_000), kv_tokens: Some(10_000) };
            snapshot.backends[0].endpoints[1].hardware = slow;
        });
        let gateway = Gateway::start(io, setup);
        assert_eq!(gateway.ask(asking("r-1")).status(), 200);
        let trace = trace_of(&gateway, "r-1");
        assert_eq!((trace.why, &*trace.route, trace.model.as_deref()), (Why::Asked, "model", Some("m")));
        let [Step::Choice(choice), Step::Attempt(attempt)] = &trace.steps[..] else {
            panic!("{:?}", trace.steps)
        };
        let fast = format!("model/{}", addresses[0]);
        assert_eq!(choice.chosen.as_deref(), Some(&*fast));
        let [won, lost] = &choice.endpoints[..] else { panic!("{choice:?}") };
        assert_eq!(won.why, "chosen: the lowest cost");
        assert!(lost.why.contains("more, most of it for what it has not cached of the prompt"), "{lost:?}");
        let (won_cost, lost_cost) = (won.cost.expect("terms"), lost.cost.expect("terms"));
        assert!(won_cost.prompt_tokens > 1 && lost_cost.miss_s > won_cost.miss_s, "{choice:?}");
        assert_eq!((won.in_flight, lost.in_flight), (0, 0), "as it was before the request was counted");
        assert_eq!((&*attempt.endpoint, attempt.status, attempt.reused), (&*fast, Some(200), false));
        assert_eq!((trace.end.status, &*trace.end.outcome, trace.end.attempts), (200, "complete", 1));
        assert!(trace.end.total_ms >= attempt.took_ms && trace.end.queued_ms.is_none(), "{:?}", trace.end);
        gateway.finish();
    });
}

#[test]
fn a_target_whose_model_cannot_do_it_is_told_from_one_that_was_not_drawn() {
    each_driver(|io| {
        let (blind, seeing) = (origin(), origin());
        let setup = Setup::model(CHAT, Engine::Vllm, &[blind.address()]).tune(|snapshot| {
            snapshot.backends.push(backend("seeing", Engine::Vllm, &[seeing.address()]));
            let route = &mut snapshot.routes[0];
            route.expose = true;
            let mut other = route.targets[0].clone();
            other.backend = "seeing".to_owned();
            route.targets[0].model = Some("blind".to_owned());
            route.targets.push(other);
            let blind = serde_json::json!([{"name": "blind", "capabilities": {"images": false}}]);
            snapshot.models = serde_json::from_value(blind).expect("a model");
        });
        let gateway = Gateway::start(io, setup);
        let picture = r#"{"model":"m","messages":[{"role":"user","content":[
            {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]}"#;
        assert_eq!(gateway.ask(asking_with("r-p", picture)).status(), 200);
        let trace = trace_of(&gateway, "r-p");
        let [Step::Choice(choice), Step::Attempt(_)] = &trace.steps[..] else { panic!("{:?}", trace.steps) };
        let [won, lost] = &choice.endpoints[..] else { panic!("{choice:?}") };
        assert_eq!((&*won.backend, won.eligible, lost.eligible), ("seeing", true, false));
        assert!(lost.why.starts_with("passed over: "), "{}", lost.why);
        gateway.finish();
    });
}

#[test]
fn what_is_not_asked_for_or_not_exposed_leaves_no_trace() {
    each_driver(|io| {
        let server = origin();
        let mut hidden = route("hidden", exactly("/hidden"), "model");
        hidden.expose = false;
        let setup = Setup::model(CHAT, Engine::Vllm, &[server.address()])
            .route(hidden)
            .tune(|snapshot| snapshot.routes[0].expose = true);
        let gateway = Gateway::start(io, setup);
        assert_eq!(gateway.ask(post(CHAT, ASK)).status(), 200);
        let unexposed = String::from_utf8(asking("r-2")).expect("text").replace(CHAT, "/hidden");
        assert_eq!(gateway.ask(unexposed).status(), 200);
        assert_eq!(gateway.ask(asking("r-3")).status(), 200);
        trace_of(&gateway, "r-3");
        let ids: Vec<String> = traces(&gateway, "").into_iter().map(|trace| trace.request_id).collect();
        assert_eq!(ids, ["r-3"]);
        assert!((gateway.metric(&["ringway_traces_total"]) - 1.0).abs() < 0.5);
        gateway.finish();
    });
}

#[test]
fn a_sampled_route_keeps_its_share_whoever_asks() {
    each_driver(|io| {
        let server = origin();
        let mut half = route("half", exactly("/half"), "model");
        half.trace.sample_percent = 50;
        let setup = Setup::model(CHAT, Engine::Vllm, &[server.address()])
            .route(half)
            .tune(|snapshot| snapshot.routes[0].trace.sample_percent = 100);
        let gateway = Gateway::start(io, setup);
        let mut caller = gateway.connect();
        for _ in 0..200 {
            assert_eq!(caller.ask(get("/half")).status(), 200);
        }
        assert_eq!(caller.ask(post(CHAT, ASK)).status(), 200);
        drop(caller);
        gateway.assert_idle();
        let kept = traces(&gateway, "");
        let drawn = kept.iter().filter(|trace| trace.route == "half").count();
        assert!((50..150).contains(&drawn), "of 200 at 50 %: {drawn}");
        assert!(kept.iter().all(|trace| trace.why == Why::Sampled));
        assert_eq!(kept[0].route, "model", "the newest first");
        assert_eq!(traces(&gateway, "?last=3").len(), 3);
        gateway.finish();
    });
}

#[test]
fn every_attempt_is_told_and_who_was_tried_before_is_not_chosen_again() {
    each_driver(|io| {
        let (dead, second) = (nobody(), origin());
        let mut chat = route("chat", exactly(CHAT), "first");
        chat.expose = true;
        chat.fallback = vec![Fallback { backend: "second".to_owned(), model: None }];
        let setup = Setup::new()
            .backend(backend("first", Engine::Vllm, &[dead]))
            .backend(backend("second", Engine::Vllm, &[second.address()]))
            .route(chat)
            .attempts(3);
        let gateway = Gateway::start(io, setup);
        assert_eq!(gateway.ask(asking("r-4")).status(), 200);
        let trace = trace_of(&gateway, "r-4");
        let told: Vec<String> = trace
            .steps
            .iter()
            .map(|step| match step {
                Step::Queue(queue) => format!("queue {}", queue.backend),
                Step::Choice(it) => {
                    format!("choice {} {}: {}", it.stage, it.chosen.is_some(), it.endpoints[0].why)
                }
                Step::Attempt(it) => format!("attempt {:?} {:?}", it.status, it.failed.as_deref()),
            })
            .collect();
        assert_eq!(
            told,
            [
                "choice 0 true: chosen: its turn",
                r#"attempt None Some("up_connect_refused")"#,
                "choice 0 false: it was tried before",
                "choice 1 true: chosen: its turn",
                "attempt Some(200) None",
            ]
        );
        gateway.finish();
    });
}

#[test]
fn the_time_in_a_queue_is_told_and_so_is_why_it_ended() {
    each_driver(|io| {
        let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
        let held = std::sync::Mutex::new(held);
        let server = Origin::start(move |peer: &mut Peer| {
            while peer.request().is_some() {
                let _ = held.lock().expect("one at a time").recv(); // the test ended: answer all the same
                peer.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
            }
        });
        let setup = Setup::model(CHAT, Engine::Vllm, &[server.address()]).tune(|snapshot| {
            snapshot.routes[0].expose = true;
            snapshot.routes[0].class = Class::Interactive;
            let waits = [Millis::new(300); 3];
            snapshot.backends[0].admission = Some(Admission { wait_ms: waits, ..Admission::default() });
            snapshot.backends[0].endpoints[0].hardware.prefill_tokens_per_s = Some(8);
        });
        let gateway = Gateway::start(io, setup);
        let mut first = gateway.connect();
        first.send(post(CHAT, ASK));
        server.wait_for("the first", |records| !records.is_empty());
        assert_eq!(gateway.ask(asking("r-5")).status(), 429);
        release.send(()).expect("the server waits");
        assert_eq!(first.answer().status(), 200);
        let trace = trace_of(&gateway, "r-5");
        let [Step::Queue(queue)] = &trace.steps[..] else { panic!("{:?}", trace.steps) };
        assert!(queue.waited_ms >= 250.0, "{queue:?}");
        assert_eq!((&*queue.backend, queue.refused.as_deref()), ("model", trace.end.reason.as_deref()));
        assert_eq!((trace.end.status, trace.end.attempts), (429, 0));
        assert!(trace.end.queued_ms.is_some_and(|ms| ms >= 250.0), "{:?}", trace.end);
        drop((release, first));
        gateway.finish();
    });
}

#[test]
fn ringctl_lists_the_last_and_explains_one_in_every_format() {
    each_driver(|io| {
        let server = origin();
        let setup = Setup::model(CHAT, Engine::Vllm, &[server.address()])
            .tune(|snapshot| snapshot.routes[0].expose = true);
        let gateway = Gateway::start(io, setup);
        let (code, said, _) = ringctl(&gateway, &["explain", "--last", "5"]);
        assert!(code == 0 && said.starts_with("nothing is traced."), "{said}");
        for id in ["r-6", "r-7"] {
            assert_eq!(gateway.ask(asking(id)).status(), 200);
            trace_of(&gateway, id);
        }
        let (code, said, _) = ringctl(&gateway, &["explain", "--last", "5"]);
        let rows: Vec<&str> = said.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!((code, rows), (0, vec!["REQUEST", "r-7", "r-6"]), "{said}");
        let (code, said, _) = ringctl(&gateway, &["explain", "--request", "r-6"]);
        let chose = format!("chose model/{} among the targets", server.address());
        assert!(code == 0 && said.contains(&chose) && said.contains("chosen: its turn"), "{said}");
        let (code, said, _) = ringctl(&gateway, &["explain", "--request", "r-6", "-o", "json"]);
        let read: Vec<Trace> = serde_json::from_str(&said).expect("traces");
        assert_eq!((code, read), (0, traces(&gateway, "?request=r-6")));
        let (code, said, _) = ringctl(&gateway, &["explain", "--request", "r-6", "-o", "yaml"]);
        assert!(code == 0 && said.contains("request_id: r-6"), "{said}");
        let (code, _, told) = ringctl(&gateway, &["explain", "--request", "r-8"]);
        assert!(code == 1 && told.contains("no trace of the request r-8"), "{told}");
        for wrong in
            [&["explain"][..], &["explain", "--last", "1", "--request", "r-6"], &["explain", "--last", "0"]]
        {
            assert_eq!(ringctl(&gateway, wrong).0, 2, "{wrong:?}");
        }
        for wrong in ["?first=1", "?last=x"] {
            assert_eq!(gateway.control("GET", &format!("/v1/traces{wrong}"), "", b"").status(), 400);
        }
        gateway.finish();
    });
}
