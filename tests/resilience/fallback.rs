//! Fallbacks: where a request goes when no target of its route takes it.

use std::net::{SocketAddr, TcpListener};

use ringway_contract::snapshot::{Engine, Fallback};
use ringway_tests::client::{Answer, post};
use ringway_tests::setup::{backend, exactly, route};
use ringway_tests::{Gateway, Io, Origin, Setup, each_driver};
use serde_json::Value;

use crate::rig::{CHAT, Told, drain};

const ASK: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

/// An address that refuses.
fn nobody() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr()).expect("a free port")
}

/// Backends `0`, `1`, … of one endpoint each; the first is the target, the others follow as fallbacks.
fn chain(addresses: &[SocketAddr]) -> Setup {
    let mut setup = Setup::new();
    for (at, address) in addresses.iter().enumerate() {
        setup = setup.backend(backend(&at.to_string(), Engine::Vllm, &[*address]));
    }
    let mut chat = route("chat", exactly(CHAT), "0");
    chat.expose = true;
    let names = (1..addresses.len()).map(|at| at.to_string());
    chat.fallback = names.map(|backend| Fallback { model: Some(format!("m{backend}")), backend }).collect();
    setup.route(chat).attempts(3)
}

fn start(io: Io, addresses: &[SocketAddr]) -> Gateway {
    Gateway::start(io, chain(addresses))
}

fn ask(gateway: &Gateway) -> Answer {
    gateway.ask(post(CHAT, ASK))
}

fn model_at(told: &Told, number: usize) -> Value {
    let body = told.origin.requests().swap_remove(number).body;
    serde_json::from_slice::<Value>(&body).expect("JSON")["model"].clone()
}

#[test]
fn a_fallback_gets_what_a_dead_target_cannot_take_with_its_own_model() {
    each_driver(|io| {
        let second = Told::start("second", "");
        let gateway = start(io, &[nobody(), second.origin.address()]);
        let answer = ask(&gateway);
        assert_eq!((answer.status(), answer.text().as_str()), (200, "second"));
        assert!(answer.head.one("x-ringway-backend").is_some_and(|it| it.starts_with("1/")));
        assert_eq!(model_at(&second, 0), "m1");
        gateway.finish();
    });
}

#[test]
fn fallbacks_are_tried_in_their_order_and_only_while_the_target_does_not_take_it() {
    each_driver(|io| {
        let first = Told::start("first", "");
        let third = Told::start("third", "");
        let gateway = start(io, &[first.origin.address(), nobody(), third.origin.address()]);
        assert_eq!(ask(&gateway).text(), "first");
        drain(&gateway, "0", &first.origin, false);
        assert_eq!(ask(&gateway).text(), "third");
        assert_eq!(model_at(&third, 0), "m2");
        drain(&gateway, "0", &first.origin, true);
        assert_eq!((ask(&gateway).text().as_str(), third.arrived()), ("first", 1));
        assert_eq!(model_at(&first, 1), "m", "what goes to the target is as it was asked");
        gateway.finish();
    });
}

#[test]
fn what_the_target_declines_goes_to_its_fallback_and_else_to_the_caller() {
    each_driver(|io| {
        let (first, second) = (Told::start("first", ""), Told::start("second", ""));
        let gateway = start(io, &[first.origin.address(), second.origin.address()]);
        first.answers(503);
        assert_eq!(ask(&gateway).text(), "second");
        second.answers(429);
        let answer = ask(&gateway);
        assert_eq!((answer.status(), answer.text().as_str()), (429, "second"), "the last word");
        gateway.finish();
    });
}

#[test]
fn a_fallback_of_another_dialect_is_asked_and_answers_in_translation() {
    each_driver(|io| {
        let claude = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m1","stop_reason":"end_turn","stop_sequence":null,"content":[{"type":"text","text":"bonjour"}],"usage":{"input_tokens":3,"output_tokens":2}}"#;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
        let origin = Origin::answering(format!("{head}Content-Length: {}\r\n\r\n{claude}", claude.len()));
        let setup = chain(&[nobody(), origin.address()]).tune(|snapshot| {
            snapshot.backends[1] = backend("1", Engine::Anthropic, &[origin.address()]);
        });
        let gateway = Gateway::start(io, setup);
        let answer = ask(&gateway);
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "bonjour");
        assert_eq!(origin.requests()[0].head.word(1), "/v1/messages");
        gateway.finish();
    });
}

#[test]
fn a_fallback_to_nowhere_is_refused_by_name() {
    let first = Told::start("first", "");
    let gateway = start(Io::Epoll, &[first.origin.address()]);
    let mut snapshot = gateway.snapshot().clone();
    snapshot.routes[0].fallback = vec![Fallback { backend: "nowhere".to_owned(), model: None }];
    snapshot.generation = snapshot.generation.next();
    let answer = gateway.push(&snapshot);
    assert_eq!(answer.status(), 422, "{}", answer.text());
    assert!(answer.text().contains("routes[0].fallback[0].backend"), "{}", answer.text());
    gateway.finish();
}
