//! A listener that speaks TLS.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_contract::Millis;
use ringway_contract::snapshot::HalfClose;
use ringway_tests::client::{get, post, post_chunked};
use ringway_tests::tls::{ANY_VERSION, Authority, connect, try_connect};
use ringway_tests::{Client, End, Gateway, Origin, Peer, Setup, each_driver};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use crate::rig::{NAME, Rig};

#[test]
fn requests_and_answers_pass_in_both_versions() {
    let rig = Rig::new();
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = Gateway::start(io, rig.secure(Setup::raw(origin.address())));
        for version in [&TLS12, &TLS13] {
            let config = Arc::new(rig.authority.client(None, &[version]));
            let mut caller = connect(&config, gateway.address(), NAME);
            assert_eq!(caller.ask(get("/a")).text(), "GET /a\n");
            assert_eq!(caller.ask(post("/b", "hello")).text(), "POST /b\nhello");
            assert_eq!(caller.ask(post_chunked("/c", b"hello", &[2])).text(), "POST /c\nhello");
            caller.send([get("/d"), get("/e")].concat());
            assert_eq!(caller.answer().text(), "GET /d\n");
            assert_eq!(caller.answer().text(), "GET /e\n");
        }
        origin.assert_strict();
        assert_eq!(gateway.metric(&["ringway_tls_handshakes_total"]), 2.0);
        gateway.finish();
    });
}

#[test]
fn large_bodies_pass_whole_in_both_directions() {
    let rig = Rig::new();
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = Gateway::start(io, rig.secure(Setup::raw(origin.address())));
        let body: Vec<u8> = (0..3_000_000u32).map(|i| (i * 31 % 253) as u8).collect();
        let mut caller = rig.connect(&gateway);
        for request in [post("/big", &body), post_chunked("/big", &body, &[1, 70_000, 20_000, 16_384])] {
            let answer = caller.ask(request);
            assert!(answer.whole());
            assert_eq!(answer.body.len(), body.len() + "POST /big\n".len());
            assert!(answer.body.ends_with(&body));
        }
        drop(caller);
        gateway.finish();
    });
}

#[test]
fn records_of_any_size_make_the_same_request() {
    let rig = Rig::new();
    let origin = Origin::echo();
    let gateway =
        Gateway::start(ringway_tests::driver::preferred(), rig.secure(Setup::raw(origin.address())));
    let body = vec![b'x'; 20_000];
    let request = post("/cut", &body);
    for piece in [1_usize, 7, 1_000, 16_384] {
        let mut caller = rig.connect(&gateway);
        let head = if piece == 1 { &request[..200] } else { &request[..] };
        caller.drip(head, piece, Duration::ZERO).expect("it reads");
        caller.send(&request[head.len()..]);
        assert!(caller.answer().body.ends_with(&body), "in pieces of {piece}");
    }
    gateway.finish();
}

#[test]
fn events_arrive_as_they_are_sent() {
    let rig = Rig::new();
    each_driver(|io| {
        let origin = Origin::start(|peer: &mut Peer| {
            peer.request();
            peer.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
            for n in 0..20 {
                let event = format!("data: {n}\n\n");
                peer.send(format!("{:x}\r\n{event}\r\n", event.len()));
                peer.pause(Duration::from_millis(30));
            }
            peer.send("0\r\n\r\n");
            peer.until_end(Duration::from_secs(5));
        });
        let gateway = Gateway::start(io, rig.secure(Setup::raw(origin.address())));
        let mut caller = rig.connect(&gateway);
        caller.send(get("/stream"));
        let began = Instant::now();
        for n in 0..20 {
            caller.take_until(format!("data: {n}\n\n").as_bytes());
            let late = began.elapsed().saturating_sub(Duration::from_millis(30 * n));
            assert!(late < Duration::from_millis(400), "event {n} came {late:?} late");
        }
        caller.take_until(b"0\r\n\r\n");
        drop(caller);
        gateway.finish();
    });
}

#[test]
fn a_caller_that_leaves_in_mid_stream_ends_the_upstream_too() {
    let rig = Rig::new();
    each_driver(|io| {
        let origin = Origin::start(|peer: &mut Peer| {
            peer.request();
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
            peer.until_end(Duration::from_secs(10));
        });
        let gateway = Gateway::start(io, rig.secure(Setup::raw(origin.address())));
        let mut caller = rig.connect(&gateway);
        caller.send(get("/"));
        caller.take_until(b"abc");
        drop(caller); // without a word: as a program that ends does
        let began = Instant::now();
        origin.wait_for_end(0);
        assert!(began.elapsed() < Duration::from_secs(2));
        gateway.finish();
    });
}

#[test]
fn a_caller_that_half_closes_by_a_word_gets_its_answer_where_that_is_allowed() {
    let rig = Rig::new();
    each_driver(|io| {
        let origin = Origin::start(|peer: &mut Peer| {
            peer.request();
            peer.pause(Duration::from_millis(200));
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            peer.until_end(Duration::from_secs(5));
        });
        let allow = |setup: Setup| setup.tune(|it| it.listeners[0].half_close = HalfClose::Allow);
        let gateway = Gateway::start(io, allow(rig.secure(Setup::raw(origin.address()))));
        let mut stream = try_connect(&rig.caller(), gateway.address(), NAME).expect("TLS");
        stream.write_all(get("/").as_bytes()).expect("it reads");
        stream.conn.send_close_notify();
        stream.flush().expect("it reads");
        let mut caller = Client::over(stream);
        assert_eq!(caller.answer().text(), "ok");
        assert_eq!(caller.rest().1, End::Fin);
        gateway.finish();
    });
}

#[test]
fn an_answer_that_ends_with_the_connection_ends_with_a_word() {
    let rig = Rig::new();
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = Gateway::start(io, rig.secure(Setup::raw(origin.address())));
        let mut caller = rig.connect(&gateway);
        let answer = caller.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(answer.says_close());
        assert_eq!(caller.rest(), (Vec::new(), End::Fin), "`Rst` is an end without close_notify");
        gateway.finish();
    });
}

#[test]
fn an_idle_connection_is_closed_with_a_word_and_a_kept_one_goes_on_serving() {
    let rig = Rig::new();
    each_driver(|io| {
        let origin = Origin::echo();
        let setup = rig
            .secure(Setup::raw(origin.address()))
            .caller_timeouts(|timeouts| timeouts.keep_alive_ms = Millis::new(2_500));
        let gateway = Gateway::start(io, setup);
        let mut caller = rig.connect(&gateway);
        assert_eq!(caller.ask(get("/a")).status(), 200);
        std::thread::sleep(Duration::from_millis(1_600)); // past the time that it keeps its buffer
        assert_eq!(caller.ask(get("/b")).status(), 200);
        assert_eq!(caller.rest().1, End::Fin);
        gateway.finish();
    });
}

#[test]
fn a_record_that_is_begun_and_not_ended_is_a_slow_head() {
    let rig = Rig::new();
    each_driver(|io| {
        let origin = Origin::echo();
        let setup = rig
            .secure(Setup::raw(origin.address()))
            .caller_timeouts(|timeouts| timeouts.head_ms = Millis::new(2_000));
        let gateway = Gateway::start(io, setup);
        let mut caller = rig.connect(&gateway);
        assert_eq!(caller.ask(get("/a")).status(), 200);
        let mut half = Vec::new();
        let mut stream = try_connect(&rig.caller(), gateway.address(), NAME).expect("TLS");
        stream.conn.writer().write_all(get("/slow").as_bytes()).expect("room");
        stream.conn.write_tls(&mut half).expect("a vector");
        stream.sock.write_all(&half[..half.len() / 2]).expect("it reads");
        let began = Instant::now();
        let answer = Client::over(stream).answer();
        assert_eq!(answer.status(), 408);
        assert!(began.elapsed() > Duration::from_millis(1_500) && began.elapsed() < Duration::from_secs(5));
        drop(caller);
        gateway.finish();
    });
}

#[test]
fn sessions_are_taken_up_again() {
    let rig = Rig::new();
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = Gateway::start(io, rig.secure(Setup::raw(origin.address())).workers(2));
        for version in [&TLS12, &TLS13] {
            let config = Arc::new(rig.authority.client(None, &[version]));
            for round in 0..4 {
                let mut stream = try_connect(&config, gateway.address(), NAME).expect("TLS");
                stream.write_all(get("/").as_bytes()).expect("it reads");
                let kind = stream.conn.handshake_kind();
                let want = if round == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
                assert_eq!(kind, Some(want), "{version:?}, round {round}");
                assert_eq!(Client::over(stream).answer().status(), 200); // reads the tickets too
            }
        }
        assert_eq!(gateway.metric(&["ringway_tls_resumptions_total"]), 6.0);
        gateway.finish();
    });
}

#[test]
fn who_must_show_a_certificate_gets_nothing_without() {
    let rig = Rig::new();
    each_driver(|io| {
        let origin = Origin::echo();
        let ca = rig.authority.write(rig.folder(), "clients.pem");
        let setup = rig.secure(Setup::raw(origin.address())).tune(|snapshot| {
            snapshot.listeners[0].tls.as_mut().expect("secure").client_ca = Some(ca);
        });
        let gateway = Gateway::start(io, setup);
        let known = rig.authority.issue(&["caller"]);
        let config = Arc::new(rig.authority.client(Some(&known), ANY_VERSION));
        for _ in 0..2 {
            let mut stream = try_connect(&config, gateway.address(), NAME).expect("TLS");
            stream.write_all(get("/").as_bytes()).expect("it reads");
            assert_eq!(stream.conn.handshake_kind(), Some(HandshakeKind::Full), "shown anew each time");
            assert_eq!(Client::over(stream).answer().status(), 200);
        }
        let stranger = Authority::new().issue(&["caller"]);
        for (own, reason) in [(None, "no_certificate"), (Some(&stranger), "unknown_issuer")] {
            for version in [&TLS12, &TLS13] {
                let before = gateway.metric(&["ringway_tls_failures_total", reason]);
                let config = Arc::new(rig.authority.client(own, &[version]));
                // In 1.3 the caller learns it with its first read.
                if let Ok(mut stream) = try_connect(&config, gateway.address(), NAME) {
                    let _ = stream.write_all(get("/").as_bytes());
                    assert!(Client::over(stream).try_answer("GET").is_err());
                }
                let counted = || gateway.metric(&["ringway_tls_failures_total", reason]) > before;
                eventually(counted, reason);
            }
        }
        assert_eq!(origin.requests().len(), 2);
        gateway.finish();
    });
}

fn eventually(holds: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(3);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} was never counted");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_name_gets_the_certificate_that_is_for_it() {
    let rig = Rig::new();
    let origin = Origin::echo();
    let second = rig.authority.issue(&["*.second.test"]).write(rig.folder(), "second");
    let setup = rig.secure(Setup::raw(origin.address())).tune(|snapshot| {
        snapshot.listeners[0].tls.as_mut().expect("secure").certificates.push(second);
    });
    let gateway = Gateway::start(ringway_tests::driver::preferred(), setup);
    for name in [NAME, "a.second.test"] {
        let mut caller = connect(&rig.caller(), gateway.address(), name);
        assert_eq!(caller.ask(get("/")).status(), 200);
    }
    // The caller sees that the first certificate is not for it.
    assert!(try_connect(&rig.caller(), gateway.address(), "other.test").is_err());
    gateway.finish();
}

#[test]
fn plain_http_to_a_secure_port_is_answered_400_in_plain_text() {
    let rig = Rig::new();
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = Gateway::start(io, rig.secure(Setup::raw(origin.address())));
        let mut caller = gateway.connect();
        let answer = caller.ask(get("/"));
        assert_eq!(answer.status(), 400);
        assert!(answer.text().contains("https://"), "{}", answer.text());
        assert!(answer.says_close());
        assert_eq!(caller.rest().1, End::Fin);
        assert!(origin.requests().is_empty());
        gateway.assert_idle(); // the end is counted once the socket is shut
        assert_eq!(gateway.metric(&["ringway_tls_failures_total", "not_tls"]), 1.0);
        assert_eq!(gateway.metric(&["ringway_abnormal_ends_total", "bad_protocol"]), 1.0);
        gateway.finish();
    });
}

#[test]
fn a_handshake_that_stalls_ends_in_its_time() {
    let rig = Rig::new();
    each_driver(|io| {
        let origin = Origin::echo();
        let setup = rig
            .secure(Setup::raw(origin.address()))
            .caller_timeouts(|timeouts| timeouts.handshake_ms = Millis::new(600));
        let gateway = Gateway::start(io, setup);
        let mut caller = gateway.connect();
        caller.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
        let began = Instant::now();
        assert_ne!(caller.rest().1, End::Open);
        assert!(began.elapsed() > Duration::from_millis(400) && began.elapsed() < Duration::from_secs(3));
        gateway.assert_idle(); // the end is counted once the socket is shut
        assert_eq!(gateway.metric(&["ringway_tls_failures_total", "timed_out"]), 1.0);
        assert_eq!(gateway.metric(&["ringway_abnormal_ends_total", "tls_handshake"]), 1.0);
        gateway.finish();
    });
}

#[test]
fn http_2_is_not_agreed_on() {
    let rig = Rig::new();
    let origin = Origin::echo();
    let gateway =
        Gateway::start(ringway_tests::driver::preferred(), rig.secure(Setup::raw(origin.address())));
    let offer = |protocols: &[&[u8]]| {
        let mut config = rig.authority.client(None, ANY_VERSION);
        config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        try_connect(&Arc::new(config), gateway.address(), NAME)
    };
    let both = offer(&[b"h2", b"http/1.1"]).expect("one in common");
    assert_eq!(both.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(offer(&[]).expect("nothing asked").conn.alpn_protocol(), None);
    assert!(offer(&[b"h2"]).is_err());
    drop(both);
    eventually(|| gateway.metric(&["ringway_tls_failures_total", "no_protocol"]) > 0.0, "no_protocol");
    gateway.finish();
}

#[test]
fn upstreams_are_told_that_the_caller_speaks_tls() {
    let rig = Rig::new();
    let origin = Origin::echo();
    let gateway =
        Gateway::start(ringway_tests::driver::preferred(), rig.secure(Setup::raw(origin.address())));
    let mut caller = rig.connect(&gateway);
    assert_eq!(caller.ask(get("/")).status(), 200);
    let request = origin.requests().remove(0);
    assert_eq!(request.head.one("x-forwarded-proto").as_deref(), Some("https"));
    let absolute = |scheme: &str| format!("GET {scheme}://a/x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(caller.ask(absolute("https")).status(), 200);
    assert_eq!(caller.ask(absolute("http")).status(), 400);
    drop(caller);
    gateway.finish();
}

#[test]
fn garbage_behind_a_handshake_ends_one_connection_and_no_worker() {
    let rig = Rig::new();
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = Gateway::start(io, rig.secure(Setup::raw(origin.address())));
        for garbage in [
            &b"\x17\x03\x03\x00\x20garbage garbage garbage garbage!"[..],
            b"\x00\x00",
            b"\x17\x03\x03\xff\xff",
        ] {
            let mut stream = try_connect(&rig.caller(), gateway.address(), NAME).expect("TLS");
            stream.sock.write_all(garbage).expect("it reads");
            let (_, end) = Client::over(stream).rest();
            assert_ne!(end, End::Open, "{garbage:?}");
        }
        assert_eq!(rig.connect(&gateway).ask(get("/")).status(), 200);
        gateway.finish();
    });
}
