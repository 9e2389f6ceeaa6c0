//! UF-16 to UF-22 and UF-28 to UF-44: bodies, early answers, statuses, deadlines.

use std::time::Duration;

use ringway_contract::Millis;
use ringway_contract::snapshot::Credential;
use ringway_tests::client::{NoAnswer, get, post};
use ringway_tests::{End, Io, Origin, Peer, Setup, each_driver};

use crate::rig::{Rig, SOON, STREAM_HEAD, assert_at, assert_serves, chunk, ok, timed};

const LIMIT: Duration = Duration::from_millis(500);

/// Sends these bytes to the first request of the first connection and ends it; then serves.
fn cut(io: Io, bytes: impl Into<String>, reset: bool) -> Rig {
    let bytes = bytes.into();
    Rig::one(io, move |peer| {
        if peer.number() > 0 {
            while peer.serve_echo() {}
            return;
        }
        peer.request();
        peer.send(&bytes);
        peer.pause(Duration::from_millis(50)); // lets the bytes be read before the end overtakes them
        if reset {
            peer.reset();
        }
    })
}

/// What a caller must see of a cut answer: exactly these bytes, an end that is no success, and its reason.
fn assert_cut(rig: Rig, body: &str, reason: &str) {
    let mut caller = rig.caller();
    let answer = caller.ask(get("/cut"));
    assert_eq!((answer.status(), answer.text().as_str()), (200, body));
    assert!(!answer.whole(), "a cut answer looks whole");
    assert_ne!(answer.cut, Some(End::Open), "the abort must come at once");
    rig.assert_logged("/cut", reason, 1);
    assert_serves(&rig, "/next");
    assert_eq!(rig.connections(), 2, "a connection with a cut body was used again");
    drop(caller);
    rig.finish();
}

#[test]
fn uf_16_a_length_cut_by_fin_gives_its_bytes_and_aborts() {
    each_driver(|io| {
        assert_cut(
            cut(io, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", false),
            "hello",
            "up_body_cut",
        );
    });
}

#[test]
fn uf_17_a_body_cut_by_rst_gives_its_bytes_first() {
    each_driver(|io| {
        assert_cut(
            cut(io, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", true),
            "hello",
            "up_body_cut",
        );
    });
}

#[test]
fn uf_18_chunks_without_a_last_one_get_none_from_the_gateway() {
    each_driver(|io| {
        for reset in [false, true] {
            assert_cut(cut(io, format!("{STREAM_HEAD}{}", chunk("hello")), reset), "hello", "up_body_cut");
        }
        let rig = cut(io, format!("{STREAM_HEAD}{}5\r\nwo", chunk("hello")), false);
        assert_cut(rig, "hellowo", "up_body_cut");
    });
}

#[test]
fn uf_19_a_malformed_chunk_ends_the_answer_behind_the_bytes_before_it() {
    each_driver(|io| {
        for bad in ["zz\r\nworld\r\n", "5\nworld\r\n", "5\r\nworldX\r\n"] {
            let rig = cut(io, format!("{STREAM_HEAD}{}{bad}", chunk("hello")), false);
            let answer = rig.gateway.ask(get("/bad"));
            let text = answer.text();
            assert!(text == "hello" || text == "helloworld", "{bad:?}: {text:?}");
            assert!(!answer.whole(), "{bad:?}: looks whole");
            rig.assert_logged("/bad", "up_bad_chunk", 1);
            assert_serves(&rig, "/next");
            rig.finish();
        }
    });
}

#[test]
fn uf_20_a_close_delimited_body_ended_by_rst_is_no_success() {
    each_driver(|io| {
        assert_cut(cut(io, "HTTP/1.1 200 OK\r\n\r\nhello", true), "hello", "up_body_cut");
    });
}

#[test]
fn uf_21_excess_bytes_reach_nobody() {
    each_driver(|io| {
        let rig = Rig::one(io, |peer| {
            while let Some(request) = peer.request() {
                let own = ok(request.head.word(1));
                peer.send(if request.head.word(1) == "/first" {
                    format!("{own}{}", ok("stray"))
                } else {
                    own
                });
            }
        });
        let mut caller = rig.caller();
        assert_eq!(caller.ask(get("/first")).text(), "/first");
        for n in 0..3 {
            assert_eq!(caller.ask(get(&format!("/{n}"))).text(), format!("/{n}"));
        }
        assert_eq!(rig.connections(), 2);
        drop(caller);
        rig.finish();
    });
}

#[test]
fn uf_22_a_stall_inside_a_body_aborts_at_the_idle_limit() {
    each_driver(|io| {
        let stalls = |peer: &mut Peer| {
            peer.request();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            peer.until_end(Duration::from_secs(10));
        };
        let rig = Rig::with(io, vec![Origin::start(stalls)], |setup| {
            setup.route_timeouts(|timeouts| timeouts.idle_ms = Millis::new(LIMIT.as_millis() as u64))
        });
        let (answer, took) = timed(&rig.gateway, get("/stall"));
        assert_eq!((answer.text().as_str(), answer.whole()), ("hello", false));
        assert_at(LIMIT, took);
        rig.assert_logged("/stall", "up_idle_timeout", 1);
        rig.origin().wait_for_end(0);
        rig.finish();
    });
}

#[test]
fn uf_28_an_early_final_answer_is_passed_on_at_once() {
    each_driver(|io| {
        let rig = Rig::one(io, |peer| {
            while let Some(head) = peer.head() {
                if head.word(1) != "/early" {
                    peer.send(ok("served"));
                    continue;
                }
                peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
                peer.until_end(Duration::from_secs(10));
            }
        });
        let mut caller = rig.caller();
        caller.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome of it");
        let answer = caller.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (413, "big"));
        assert!(answer.timing.head < SOON, "it took {:?}", answer.timing.head);
        rig.origin().wait_for_end(0);
        let (rest, _) = caller.rest();
        assert!(rest.is_empty(), "H1-FR-09: nothing behind it");
        assert_serves(&rig, "/next");
        assert_eq!(rig.connections(), 2, "its request was never sent whole: not pooled");
        drop(caller);
        rig.finish();
    });
}

#[test]
fn uf_29_an_early_answer_before_a_reset_is_not_lost() {
    each_driver(|io| {
        let rig = Rig::one(io, |peer| {
            peer.head();
            peer.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
            peer.pause(Duration::from_millis(100)); // the body is on its way and unread: the close is a reset
        });
        let mut caller = rig.caller();
        caller.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
        for _ in 0..30 {
            if caller.try_send(&vec![b'x'; 100_000]).is_err() {
                break;
            }
        }
        let answer = caller.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (401, "no"));
        drop(caller);
        rig.finish();
    });
}

#[test]
fn uf_30_an_upstream_that_never_reads_holds_the_caller_back_and_costs_no_memory() {
    each_driver(|io| {
        let deaf = |peer: &mut Peer| {
            peer.head();
            peer.pause(Duration::from_secs(8));
        };
        let rig = Rig::with(io, vec![Origin::start(deaf)], |setup| {
            setup.caller_timeouts(|timeouts| timeouts.write_stall_ms = Millis::new(1_500)).route_timeouts(
                |timeouts| {
                    timeouts.total_ms = Millis::new(4_000);
                    timeouts.first_byte_ms = Millis::new(4_000);
                },
            )
        });
        let before = rig.gateway.resident_bytes();
        let mut caller = rig.caller();
        caller.send(format!("POST /deaf HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 30_000_000));
        let sender = caller.stream().try_clone().expect("a socket can be cloned");
        let sending =
            std::thread::spawn(move || std::io::Write::write_all(&mut &sender, &vec![b'x'; 30_000_000]));
        let answer = caller.answer();
        assert_eq!(answer.status(), 504);
        let grown = rig.gateway.resident_bytes().saturating_sub(before);
        assert!(grown < 8 * 1_024 * 1_024, "grew by {grown} bytes");
        let reason = rig.gateway.access().reason_for("/deaf");
        assert!(["up_send_timeout", "deadline"].contains(&reason.as_str()), "{reason}");
        drop(caller);
        assert!(sending.join().expect("the sender does not panic").is_err(), "30 MB were taken");
        rig.finish();
    });
}

#[test]
fn uf_31_both_directions_run_at_the_same_time() {
    each_driver(|io| {
        let rig = Rig::one(io, |peer| {
            peer.head();
            peer.send(STREAM_HEAD);
            for n in 1..=5_usize {
                let needed = |received: &[u8]| received.windows(5).filter(|w| w == b"ping!").count() >= n;
                while !peer.received_enough(needed) {
                    if !peer.read_some() {
                        return;
                    }
                }
                peer.send(chunk(&format!("pong {n}\n")));
            }
            peer.send("0\r\n\r\n");
            peer.until_end(Duration::from_secs(2));
        });
        let mut caller = rig.caller();
        caller.send("POST /duplex HTTP/1.1\r\nHost: a\r\nContent-Length: 25\r\n\r\n");
        for n in 1..=5 {
            caller.send("ping!");
            caller.take_until(format!("pong {n}\n").as_bytes());
        }
        drop(caller);
        rig.finish();
    });
}

#[test]
fn uf_32_a_half_close_behind_a_whole_answer_is_normal() {
    each_driver(|io| {
        let rig = Rig::one(io, |peer| {
            if peer.request().is_some() {
                peer.send(ok("whole"));
                peer.fin();
                peer.until_end(Duration::from_secs(5));
            }
        });
        for n in 0..3 {
            let path = format!("/{n}");
            assert_eq!(rig.gateway.ask(post(&path, "{}")).text(), "whole");
            rig.assert_logged(&path, "", 1);
            rig.origin().wait_for_end(n);
        }
        assert_eq!(rig.connections(), 3, "not pooled");
        rig.finish();
    });
}

#[test]
fn uf_33_a_half_close_without_an_answer_is_502() {
    each_driver(|io| {
        let rig = Rig::one(io, |peer| {
            peer.request();
            peer.fin();
            peer.until_end(Duration::from_secs(5));
        });
        assert_eq!(rig.gateway.ask(post("/half", "{}")).status(), 502);
        rig.assert_logged("/half", "up_closed_early", 1);
        rig.origin().wait_for_end(0);
        rig.finish();
    });
}

#[test]
fn uf_34_35_error_statuses_are_passed_on_untouched() {
    each_driver(|io| {
        for status in [500, 502, 503, 504, 529, 429] {
            let bytes = format!(
                "HTTP/1.1 {status} Oops\r\nRetry-After: 7\r\nx-should-retry: false\r\nContent-Type: text/x\r\nContent-Length: 4\r\n\r\noops"
            );
            let origins = (0..2).map(|_| Origin::answering(bytes.clone())).collect();
            let rig = Rig::with(io, origins, |setup| setup);
            let answer = rig.gateway.ask(get("/status"));
            assert_eq!((answer.status(), answer.text().as_str()), (status, "oops"));
            for (name, value) in
                [("retry-after", "7"), ("x-should-retry", "false"), ("content-type", "text/x")]
            {
                assert_eq!(answer.head.one(name).as_deref(), Some(value), "{status}: {name}");
            }
            rig.assert_logged("/status", "up_status", 1);
            rig.finish();
        }
    });
}

#[test]
fn uf_36_a_refused_credential_of_the_backend_is_never_the_callers_401() {
    let own_key = |snapshot: &mut ringway_contract::Snapshot| {
        let value = "Bearer backend-secret".to_owned();
        snapshot.backends[0].credential = Some(Credential { header: "authorization".to_owned(), value });
    };
    each_driver(|io| {
        for status in [401, 403] {
            let bytes = format!(
                "HTTP/1.1 {status} No\r\nWWW-Authenticate: Bearer realm=\"vendor\"\r\nContent-Length: 14\r\n\r\nbackend-secret"
            );
            let rig = Rig::with(io, vec![Origin::answering(bytes)], |setup| setup.tune(own_key));
            let request = "GET /auth HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer callers-own\r\n\r\n";
            let answer = rig.gateway.ask(request);
            assert_eq!(answer.status(), 502);
            assert!(
                !answer.head.has("www-authenticate") && !answer.text().contains("secret"),
                "{}",
                answer.text()
            );
            rig.assert_logged("/auth", "up_auth", 1);
            let sent = rig.origin().request_for("/auth").head;
            assert_eq!(
                sent.one("authorization").as_deref(),
                Some("Bearer backend-secret"),
                "{}",
                sent.text()
            );
            rig.finish();
        }
    });
}

#[test]
fn uf_41_with_every_endpoint_out_it_is_503_at_once() {
    each_driver(|io| {
        let rig = Rig::with(io, vec![Origin::echo()], |setup: Setup| {
            setup.tune(|snapshot| snapshot.backends[0].endpoints[0].drained = true)
        });
        let (answer, took) = timed(&rig.gateway, get("/none"));
        assert_eq!(answer.status(), 503);
        assert!(answer.head.has("retry-after"), "{}", answer.head.text());
        assert!(took < SOON, "it took {took:?}");
        rig.assert_logged("/none", "no_endpoint", 0);
        assert_eq!(rig.connections(), 0);
        rig.finish();
    });
}

#[test]
fn uf_43_connection_close_is_honoured() {
    each_driver(|io| {
        let rig = Rig::one(io, |peer| {
            if peer.request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlast");
                peer.until_end(Duration::from_secs(5));
            }
        });
        let mut caller = rig.caller();
        for n in 0..3 {
            assert_eq!(caller.ask(get(&format!("/{n}"))).text(), "last");
            rig.origin().wait_for_end(n);
        }
        drop(caller);
        rig.finish();
    });
}

#[test]
fn uf_44_a_useless_trickle_ends_at_the_total_deadline() {
    const TOTAL: Duration = Duration::from_secs(1);
    each_driver(|io| {
        let trickle = |peer: &mut Peer| {
            peer.request();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
            while peer.send("x") {
                peer.pause(Duration::from_millis(100));
            }
        };
        let rig = Rig::with(io, vec![Origin::start(trickle)], |setup| {
            setup.route_timeouts(|timeouts| {
                timeouts.idle_ms = Millis::new(500);
                timeouts.total_ms = Millis::new(TOTAL.as_millis() as u64);
            })
        });
        let (answer, took) = timed(&rig.gateway, get("/trickle"));
        assert_eq!((answer.status(), answer.whole()), (200, false));
        assert!(answer.text().len() >= 3, "what came was passed on: {:?}", answer.text());
        assert_at(TOTAL, took);
        rig.assert_logged("/trickle", "deadline", 1);
        rig.finish();
    });
}

#[test]
fn uf_44_the_total_deadline_before_any_byte_is_504() {
    each_driver(|io| {
        let silent = |peer: &mut Peer| {
            peer.request();
            peer.until_end(Duration::from_secs(10));
        };
        let rig = Rig::with(io, vec![Origin::start(silent)], |setup| {
            setup.route_timeouts(|timeouts| timeouts.total_ms = Millis::new(LIMIT.as_millis() as u64))
        });
        let mut caller = rig.caller();
        caller.send(get("/total"));
        match caller.try_answer("GET") {
            Ok(answer) => assert_eq!(answer.status(), 504),
            Err(NoAnswer::Ended(..) | NoAnswer::Malformed(..)) => panic!("no answer at the deadline"),
        }
        rig.assert_logged("/total", "deadline", 1);
        drop(caller);
        rig.finish();
    });
}
