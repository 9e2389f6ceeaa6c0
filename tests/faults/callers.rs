//! CF-01 to CF-06, CF-12 to CF-18: callers that leave, pile up or talk out of turn.

use std::time::{Duration, Instant};

use ringway_tests::client::{NoAnswer, get, post};
use ringway_tests::{Client, End, Io, Origin, Peer, each_driver};

use crate::rig::{Rig, SOON, STREAM_HEAD, chunk, ok};

/// Leaves by FIN or by RST.
fn leave(caller: Client, reset: bool) -> Instant {
    if reset {
        caller.reset();
    } else {
        drop(caller);
    }
    Instant::now()
}

#[test]
fn cf_01_a_caller_that_leaves_inside_the_head_reaches_nobody() {
    each_driver(|io| {
        let rig = Rig::with(io, vec![Origin::echo()], |setup| setup);
        for reset in [false, true] {
            let mut caller = rig.caller();
            caller.send("GET /head HTTP/1.1\r\nHo");
            std::thread::sleep(Duration::from_millis(30));
            leave(caller, reset);
        }
        rig.assert_counted("client_gone_head", 2);
        assert_eq!(rig.origin().bytes(), 0);
        rig.finish();
    });
}

#[test]
fn cf_02_a_caller_that_leaves_inside_the_body_ends_the_upstream_request() {
    each_driver(|io| {
        for reset in [false, true] {
            let rig = Rig::one(io, |peer| {
                peer.request();
            });
            let mut caller = rig.caller();
            caller.send(format!(
                "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n{}",
                "x".repeat(300_000)
            ));
            rig.origin()
                .wait_for("some of the body", |records| records.iter().any(|r| r.received.len() > 1_000));
            let left = leave(caller, reset);
            let (ended, _) = rig.origin().wait_for_end(0);
            assert!(ended.saturating_duration_since(left) < SOON, "after {:?}", ended - left);
            assert_eq!(rig.origin().requests().len(), 0, "a cut body was completed");
            rig.assert_logged("/body", "client_gone_body", 1);
            rig.finish();
        }
    });
}

#[test]
fn cf_04_a_caller_that_leaves_while_waiting_ends_the_upstream_request() {
    each_driver(|io| {
        for reset in [false, true] {
            let rig = Rig::one(io, |peer| {
                peer.request();
                peer.until_end(Duration::from_secs(10));
            });
            let mut caller = rig.caller();
            caller.send(post("/wait", "{}"));
            rig.origin().wait_for("the request", |records| records.iter().any(|r| !r.requests.is_empty()));
            let left = leave(caller, reset);
            let (ended, _) = rig.origin().wait_for_end(0);
            assert!(ended.saturating_duration_since(left) < SOON, "after {:?}", ended - left);
            rig.assert_logged("/wait", "client_gone_wait", 1);
            rig.finish();
        }
    });
}

/// Sends one event and then nothing until the other side leaves.
fn silent_stream(peer: &mut Peer) {
    if peer.request().is_some() {
        peer.send(format!("{STREAM_HEAD}{}", chunk("data: 1\n\n")));
        peer.until_end(Duration::from_secs(10));
    }
}

/// Sends an event every few milliseconds until the other side leaves.
fn busy_stream(peer: &mut Peer) {
    if peer.request().is_some() {
        peer.send(STREAM_HEAD);
        while peer.send(chunk("data: tick\n\n")) && !peer.until_end(Duration::from_millis(5)) {}
    }
}

#[test]
fn cf_05_a_caller_that_leaves_in_mid_stream_ends_it_upstream_even_when_silent() {
    each_driver(|io| {
        for (what, script) in [("silent", silent_stream as fn(&mut Peer)), ("busy", busy_stream)] {
            for reset in [false, true] {
                let rig = Rig::one(io, script);
                let mut caller = rig.caller();
                caller.send(get("/stream"));
                caller.take_until(b"data: ");
                let left = leave(caller, reset);
                let (ended, _) = rig.origin().wait_for_end(0);
                assert!(ended.saturating_duration_since(left) < SOON, "{what}: after {:?}", ended - left);
                rig.assert_logged("/stream", "client_gone_stream", 1);
                rig.finish();
            }
        }
    });
}

#[test]
fn cf_06_leaving_behind_a_whole_answer_is_normal() {
    each_driver(|io| {
        let rig = Rig::with(io, vec![Origin::echo()], |setup| setup);
        for (n, reset) in [false, true].into_iter().enumerate() {
            let path = format!("/{n}");
            let mut caller = rig.caller();
            assert_eq!(caller.ask(get(&path)).status(), 200);
            leave(caller, reset);
            rig.assert_logged(&path, "", 1);
        }
        rig.gateway.assert_idle();
        assert!(rig.gateway.metric(&["ringway_abnormal_ends_total"]) < 0.5, "{:?}", rig.gateway.metrics());
        rig.finish();
    });
}

#[test]
fn cf_12_garbage_behind_a_request_is_400_behind_its_answer() {
    each_driver(|io| {
        let rig = Rig::with(io, vec![Origin::echo()], |setup| setup);
        let mut caller = rig.caller();
        caller.send(format!("{}\x01garbage\r\n\r\n", get("/first")));
        assert_eq!(caller.answer().text(), "GET /first\n");
        let refused = caller.answer();
        assert_eq!((refused.status(), refused.says_close()), (400, true));
        assert_eq!(caller.rest(), (Vec::new(), End::Fin));
        rig.assert_counted("bad_request", 1);
        drop(caller);
        rig.finish();
    });
}

#[test]
fn cf_13_what_is_pipelined_behind_a_stream_is_answered_behind_it() {
    each_driver(|io| {
        let rig = Rig::one(io, |peer| {
            while let Some(request) = peer.request() {
                let target = request.head.word(1).to_owned();
                if target != "/stream" {
                    peer.send(ok(&target));
                    continue;
                }
                peer.send(STREAM_HEAD);
                for _ in 0..10 {
                    peer.send(chunk("data: tick\n\n"));
                    peer.pause(Duration::from_millis(20));
                }
                peer.send("0\r\n\r\n");
            }
        });
        let mut caller = rig.caller();
        caller.send(get("/stream"));
        std::thread::sleep(Duration::from_millis(60));
        caller.send([get("/1"), get("/2"), get("/3")].concat());
        assert_eq!(caller.answer().text(), "data: tick\n\n".repeat(10));
        for n in 1..=3 {
            assert_eq!(caller.answer().text(), format!("/{n}"));
        }
        drop(caller);
        rig.finish();
    });
}

#[test]
fn cf_15_connections_above_the_limit_are_turned_away_and_the_listener_goes_on() {
    const LIMIT: u64 = 8;
    each_driver(|io| {
        let rig = Rig::with(io, vec![Origin::echo()], |setup| {
            setup.tune(|snapshot| snapshot.limits.connections = LIMIT)
        });
        rig.gateway.assert_idle();
        let mut held: Vec<Client> = (0..LIMIT).map(|_| rig.caller()).collect();
        for (n, caller) in held.iter_mut().enumerate() {
            assert_eq!(caller.ask(get(&format!("/{n}"))).status(), 200, "within the limit");
        }
        for _ in 0..3 {
            let mut late = rig.caller().patient(Duration::from_secs(2));
            let _ = late.try_send(get("/late").as_bytes());
            match late.try_answer("GET") {
                Ok(answer) => assert!(
                    [429, 503].contains(&answer.status()) && answer.says_close(),
                    "{}",
                    answer.status()
                ),
                Err(NoAnswer::Ended(end, _)) => assert_ne!(end, End::Open, "neither answered nor closed"),
                Err(NoAnswer::Malformed(why, _)) => panic!("{why}"),
            }
        }
        assert_eq!(held[0].ask(get("/held")).status(), 200, "those within the limit go on");
        drop(held);
        rig.gateway.assert_idle();
        assert_eq!(rig.gateway.ask(get("/again")).status(), 200, "the listener goes on");
        rig.finish();
    });
}

#[test]
fn cf_16_connection_churn_is_counted_and_not_logged() {
    each_driver(|io| {
        let rig = Rig::with(io, vec![Origin::echo()], |setup| setup);
        let before = rig.gateway.log_text().len();
        for n in 0..500 {
            leave(rig.caller(), n % 2 == 0);
        }
        rig.gateway.assert_idle();
        assert!(rig.gateway.access().lines().is_empty(), "a line for a connection without a request");
        assert!(rig.gateway.log_text().len() - before < 2_000, "{}", rig.gateway.log_text());
        assert_eq!(rig.gateway.ask(get("/next")).status(), 200);
        rig.finish();
    });
}

#[test]
fn cf_18_a_hundred_streams_aborted_at_once_are_released_within_a_second() {
    each_driver(|io| {
        let rig = Rig::one(io, silent_stream);
        let rounds = if ringway_tests::long() { 20 } else { 3 };
        for round in 0..rounds {
            let callers: Vec<Client> = (0..100).map(|_| streaming(&rig, io)).collect();
            let before = rig.gateway.cpu();
            for (n, caller) in callers.into_iter().enumerate() {
                leave(caller, n % 2 == 0);
            }
            rig.gateway.assert_idle_within(Duration::from_secs(1));
            let used = rig.gateway.cpu().saturating_sub(before);
            assert!(used < Duration::from_millis(800), "round {round} used {used:?} of processor time");
        }
        assert!(rig.origin().all_ended());
        rig.finish();
    });
}

fn streaming(rig: &Rig, io: Io) -> Client {
    let mut caller = rig.caller();
    caller.send(get(&format!("/{io}")));
    caller.take_until(b"data: 1");
    caller
}
