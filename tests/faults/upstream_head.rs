//! UF-09 to UF-15: the head of the answer.

use std::time::Duration;

use ringway_contract::Millis;
use ringway_tests::client::{get, post};
use ringway_tests::{Origin, Peer, each_driver};

use crate::rig::{Rig, SOON, assert_at, timed};

const LIMIT: Duration = Duration::from_millis(500);

/// Answers each request with these bytes, then ends by FIN or RST.
fn sends_and_leaves(bytes: &'static str, reset: bool) -> impl Fn(&mut Peer) + Send + Sync + 'static {
    move |peer| {
        if peer.request().is_some() {
            peer.send(bytes);
            if reset {
                peer.pause(Duration::from_millis(30)); // lets the bytes be read before the reset overtakes them
                peer.reset();
            }
        }
    }
}

#[test]
fn uf_09_a_head_cut_by_fin_or_rst_is_502() {
    each_driver(|io| {
        for (bytes, reset) in
            [("HTTP/1.1 200 OK\r\nContent-Le", false), ("HTTP/1.1 200 OK\r\nContent-Le", true), ("H", false)]
        {
            let origins = (0..2).map(|_| Origin::start(sends_and_leaves(bytes, reset))).collect();
            let rig = Rig::with(io, origins, |setup| setup);
            assert_eq!(rig.gateway.ask(get("/get")).status(), 502);
            rig.assert_logged("/get", "up_head_cut", 2);
            assert_eq!(rig.gateway.ask(post("/post", "{}")).status(), 502);
            rig.assert_logged("/post", "up_head_cut", 1);
            rig.finish();
        }
    });
}

#[test]
fn uf_10_bytes_that_are_no_http_are_502_and_never_tried_again() {
    each_driver(|io| {
        for bytes in
            ["hello, this is no HTTP\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "SSH-2.0-x\r\n\r\n"]
        {
            let origins = (0..2).map(|_| Origin::start(sends_and_leaves(bytes, false))).collect();
            let rig = Rig::with(io, origins, |setup| setup);
            assert_eq!(rig.gateway.ask(get("/x")).status(), 502, "{bytes:?}");
            rig.assert_logged("/x", "up_bad_head", 1);
            rig.finish();
        }
    });
}

fn impatient(setup: ringway_tests::Setup) -> ringway_tests::Setup {
    setup.route_timeouts(|timeouts| timeouts.first_byte_ms = Millis::new(LIMIT.as_millis() as u64))
}

#[test]
fn uf_11_a_missing_head_is_504_at_the_limit_and_the_upstream_is_cancelled() {
    each_driver(|io| {
        let silent = |peer: &mut Peer| {
            peer.request();
            peer.until_end(Duration::from_secs(10));
        };
        let rig = Rig::with(io, vec![Origin::start(silent), Origin::start(silent)], impatient);
        let (answer, took) = timed(&rig.gateway, get("/silent"));
        assert_eq!(answer.status(), 504);
        assert_at(LIMIT, took);
        rig.assert_logged("/silent", "up_head_timeout", 1);
        assert_eq!(rig.arrived(), 1, "a slow answer is not asked for twice");
        let number = usize::from(rig.origins[0].connections() == 0);
        rig.origins[number].wait_for_end(0);
        rig.finish();
    });
}

#[test]
fn uf_12_a_dripping_head_has_one_deadline_for_the_whole() {
    each_driver(|io| {
        let drips = |peer: &mut Peer| {
            peer.request();
            let head = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(200));
            peer.drip(head.as_bytes(), &[1], Duration::from_millis(50));
        };
        let rig = Rig::with(io, vec![Origin::start(drips)], impatient);
        let (answer, took) = timed(&rig.gateway, get("/drip"));
        assert_eq!(answer.status(), 504);
        assert_at(LIMIT, took);
        rig.assert_logged("/drip", "up_head_timeout", 1);
        rig.finish();
    });
}

#[test]
fn uf_13_an_endless_head_is_502_and_not_buffered() {
    each_driver(|io| {
        let endless = |peer: &mut Peer| {
            peer.request();
            peer.send("HTTP/1.1 200 OK\r\n");
            while peer.send("X-More: and more\r\n".repeat(500)) {}
        };
        let rig = Rig::with(io, vec![Origin::start(endless)], |setup| setup);
        let before = rig.gateway.resident_bytes();
        for n in 0..5 {
            let path = format!("/{n}");
            let (answer, took) = timed(&rig.gateway, get(&path));
            assert_eq!(answer.status(), 502);
            assert!(took < SOON * 3, "it took {took:?}");
            rig.assert_logged(&path, "up_head_too_big", 1);
        }
        let grown = rig.gateway.resident_bytes().saturating_sub(before);
        assert!(grown < 4 * 1_024 * 1_024, "grew by {grown} bytes");
        rig.finish();
    });
}

#[test]
fn uf_14_a_storm_of_interim_answers_is_502_and_a_slow_one_504() {
    each_driver(|io| {
        let storm = |pause: u64| {
            move |peer: &mut Peer| {
                peer.request();
                while peer.send("HTTP/1.1 102 Processing\r\n\r\n") {
                    peer.pause(Duration::from_millis(pause));
                }
            }
        };
        let fast = Rig::with(io, vec![Origin::start(storm(0))], impatient);
        assert_eq!(fast.gateway.ask(get("/storm")).status(), 502);
        fast.assert_logged("/storm", "up_interim_flood", 1);
        fast.finish();
        let slow = Rig::with(io, vec![Origin::start(storm(100))], impatient);
        let (answer, took) = timed(&slow.gateway, get("/slow"));
        assert_eq!(answer.status(), 504);
        assert_at(LIMIT, took);
        slow.assert_logged("/slow", "up_head_timeout", 1);
        slow.finish();
    });
}

#[test]
fn uf_15_an_unasked_switch_of_protocols_is_502() {
    each_driver(|io| {
        let rig = Rig::one(io, |peer| {
            peer.request();
            peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
            peer.until_end(Duration::from_secs(5));
        });
        assert_eq!(rig.gateway.ask(get("/switch")).status(), 502);
        rig.assert_logged("/switch", "up_bad_head", 1);
        rig.origin().wait_for_end(0);
        rig.finish();
    });
}
