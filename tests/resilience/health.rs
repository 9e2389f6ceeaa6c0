//! Circuits: what fails is left alone, and comes back by what it shows.

use std::time::Duration;

use ringway_tests::client::{get, post};
use ringway_tests::setup::{http, prefix, route};
use ringway_tests::{Gateway, Io, Origin, Peer, Setup, each_driver};

use crate::rig::{Told, drain, endpoint, eventually};

const SOON: Duration = Duration::from_secs(5);

fn gateway(io: Io, servers: &[&Told]) -> Gateway {
    let addresses: Vec<_> = servers.iter().map(|server| server.origin.address()).collect();
    let setup = Setup::new()
        .backend(http("origin", &addresses))
        .route(route("all", prefix("/"), "origin"))
        .attempts(2);
    Gateway::start(io, setup)
}

fn state(gateway: &Gateway, at: usize) -> String {
    endpoint(gateway, at).state
}

#[test]
fn a_server_that_fails_five_times_in_a_row_is_shut_out_and_comes_back_by_three_good_trials() {
    each_driver(|io| {
        let (sick, other) = (Told::start("sick", ""), Told::start("other", ""));
        let gateway = gateway(io, &[&sick, &other]);
        drain(&gateway, "origin", &other.origin, false);
        sick.answers(500);
        let answers: Vec<u16> = (0..7).map(|_| gateway.ask(get("/")).status()).collect();
        assert_eq!(answers, [500, 500, 500, 500, 500, 503, 503], "the last two found nobody");
        assert_eq!((sick.arrived(), state(&gateway, 0)), (5, "open".to_owned()));
        assert!(gateway.metric(&["ringway_endpoint_state", "state=\"open\""]) > 0.5);

        sick.answers(200);
        eventually("half open", Duration::from_secs(9), || state(&gateway, 0) == "half_open");
        for _ in 0..3 {
            assert_eq!(gateway.ask(get("/")).text(), "sick");
        }
        assert_eq!(state(&gateway, 0), "warm");
        gateway.finish();
    });
}

#[test]
fn a_suspect_is_left_alone_while_there_is_another_server() {
    each_driver(|io| {
        let (sick, other) = (Told::start("sick", ""), Told::start("other", ""));
        let gateway = gateway(io, &[&sick, &other]);
        sick.answers(500);
        let failed = (0..20).filter(|_| gateway.ask(get("/")).status() == 500).count();
        assert_eq!((failed, sick.arrived(), state(&gateway, 0)), (3, 3, "suspect".to_owned()));
        gateway.finish();
    });
}

#[test]
fn the_only_server_is_never_shut_out() {
    each_driver(|io| {
        let only = Told::start("only", "");
        let gateway = gateway(io, &[&only]);
        only.answers(500);
        for _ in 0..12 {
            assert_eq!(gateway.ask(get("/")).status(), 500);
        }
        only.answers(200);
        assert_eq!((gateway.ask(get("/")).status(), only.arrived()), (200, 13));
        gateway.finish();
    });
}

#[test]
fn a_server_whose_answers_break_off_is_shut_out_although_each_of_them_began_well() {
    each_driver(|io| {
        let breaking = Origin::start(|peer: &mut Peer| {
            if peer.request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
            }
        });
        let other = Told::start("other", "");
        let setup = Setup::new()
            .backend(http("origin", &[breaking.address(), other.origin.address()]))
            .route(route("all", prefix("/"), "origin"));
        let gateway = Gateway::start(io, setup);
        drain(&gateway, "origin", &other.origin, false);
        for number in 1..=5 {
            assert!(!gateway.ask(get("/")).whole(), "{number}");
        }
        eventually("shut out", SOON, || state(&gateway, 0) == "open");
        let failures = endpoint(&gateway, 0).failures_total;
        assert_eq!(failures, 5, "its fault, although the head came: alerts go by this");
        drain(&gateway, "origin", &other.origin, true);
        assert_eq!(gateway.ask(get("/")).text(), "other");
        gateway.finish();
    });
}

#[test]
fn an_answer_of_4xx_or_501_is_no_failure_of_the_server() {
    each_driver(|io| {
        let only = Told::start("only", "");
        let gateway = gateway(io, &[&only]);
        for status in [400, 404, 422, 501, 400, 404, 422, 501] {
            only.answers(status);
            assert_eq!(gateway.ask(get("/")).status(), status);
        }
        assert_eq!(state(&gateway, 0), "ok");
        gateway.finish();
    });
}

#[test]
fn what_one_server_declines_another_serves_and_a_rest_is_granted() {
    each_driver(|io| {
        let (busy, other) = (Told::start("busy", "Retry-After: 30\r\n"), Told::start("other", ""));
        let gateway = gateway(io, &[&busy, &other]);
        busy.answers(429);
        let answers: Vec<String> = (0..10).map(|_| gateway.ask(post("/", "x")).text()).collect();
        assert_eq!(answers, vec!["other"; 10]);
        assert_eq!(busy.arrived(), 1, "asked once, and left alone for as long as it said");
        gateway.finish();
    });
}

#[test]
fn what_nobody_else_may_have_is_passed_on_as_it_came() {
    each_driver(|io| {
        let only = Told::start("go away", "Retry-After: 7\r\n");
        let gateway = gateway(io, &[&only]);
        for status in [429, 503, 502, 504] {
            only.answers(status);
            let answer = gateway.ask(post("/", "x"));
            assert_eq!((answer.status(), answer.text().as_str()), (status, "go away"));
            assert_eq!(answer.head.one("retry-after").as_deref(), Some("7"));
        }
        assert_eq!(only.arrived(), 4);
        gateway.finish();
    });
}

#[test]
fn once_the_budget_is_spent_what_was_declined_is_passed_on_and_not_to_be_retried() {
    each_driver(|io| {
        let (one, two) = (Told::start("one", ""), Told::start("two", ""));
        let addresses = [one.origin.address(), two.origin.address()];
        let setup = Setup::new()
            .backend(http("origin", &addresses))
            .route(route("all", prefix("/"), "origin"))
            .attempts(2)
            .tune(|snapshot| snapshot.routes[0].retry.budget_percent = 0);
        let gateway = Gateway::start(io, setup);
        one.answers(429);
        two.answers(429);
        let mut caller = gateway.connect();
        let spent = (0..100).find(|_| {
            let answer = caller.ask(post("/", "x"));
            assert_eq!(answer.status(), 429);
            answer.head.one("x-should-retry").as_deref() == Some("false")
        });
        let spent = spent.expect("a budget has an end");
        assert_eq!(one.arrived() + two.arrived(), 2 * spent + 1, "each but the last was tried twice");
        assert!((gateway.metric(&["ringway_upstream_retries_refused_total"]) - 1.0).abs() < 0.5);
        drop(caller);
        gateway.finish();
    });
}

#[test]
fn a_post_that_may_have_been_worked_on_is_not_sent_again_unless_its_route_allows_it() {
    each_driver(|io| {
        let (broken, other) = (Told::start("broken", ""), Told::start("other", ""));
        let gateway = gateway(io, &[&broken, &other]);
        drain(&gateway, "origin", &other.origin, false);
        broken.answers(502);
        assert_eq!(gateway.ask(post("/", "x")).status(), 502);
        drain(&gateway, "origin", &other.origin, true);
        let answers: Vec<u16> = (0..2).map(|_| gateway.ask(post("/", "x")).status()).collect();
        assert!(answers.contains(&502), "nobody knows what it did: {answers:?}");
        let answers: Vec<u16> = (0..2).map(|_| gateway.ask(get("/")).status()).collect();
        assert_eq!(answers, [200, 200], "GET may be repeated");
        gateway.finish();
    });
}
