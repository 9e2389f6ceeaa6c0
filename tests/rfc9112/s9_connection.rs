//! RFC 9112 section 9, RFC 9110 sections 7.6 and 10.1: keeping, pipelining and ending connections.

use std::fmt::Write as _;
use std::time::Duration;

use ringway_contract::Millis;
use ringway_contract::snapshot::HalfClose;
use ringway_tests::client::{get, post as post_to};
use ringway_tests::setup::{exactly, route};
use ringway_tests::{End, Origin, each_driver};

use crate::rig::Want::{Passes, Refused};
use crate::rig::{Rig, case, own_answer, post, request, rule};

const HOP_BY_HOP: [(&str, &str); 9] = [
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("TE", "trailers"),
    ("Upgrade", "websocket"),
    ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
    ("Proxy-Authenticate", "Basic"),
    ("Proxy-Authorization", "Basic eDp5"),
    ("Trailer", "X-Late"),
    ("X-Named", "1"),
];

#[test]
fn h1_co_01_hop_by_hop_fields_reach_neither_side() {
    let mut answer =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-named, keep-alive\r\nX-Kept: 1\r\n".to_owned();
    let mut fields =
        vec!["Host: a".to_owned(), "Connection: X-Named, keep-alive, TE".to_owned(), "X-Kept: 1".to_owned()];
    for (name, value) in HOP_BY_HOP {
        let _ = write!(answer, "{name}: {value}\r\n"); // writing to a String cannot fail
        fields.push(format!("{name}: {value}"));
    }
    answer.push_str("\r\nok");
    each_driver(|io| {
        let rig = Rig::with(io, Origin::answering(answer.clone()), |setup| setup);
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let back = rig.gateway.ask(request("GET /hop HTTP/1.1", &fields, ""));
        assert_eq!((back.status(), back.text().as_str()), (200, "ok"));
        let there = rig.origin.request_for("/hop").head;
        for (name, _) in HOP_BY_HOP {
            assert!(!there.has(name), "{name} reached the origin: {}", there.text());
            assert!(!back.head.has(name), "{name} reached the caller: {}", back.head.text());
        }
        for head in [&there, &back.head] {
            assert_eq!(head.one("x-kept").as_deref(), Some("1"));
            let named = head.all("connection").iter().any(|v| v.to_ascii_lowercase().starts_with(b"x-named"));
            assert!(!named, "a Connection line was copied: {}", head.text());
        }
        rig.finish();
    });
}

#[test]
fn h1_co_02_connection_cannot_remove_end_to_end_or_own_fields() {
    let named = [
        "Host",
        "Authorization",
        "Cookie",
        "Content-Type",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "Forwarded",
        "X-Request-Id",
        "traceparent",
    ];
    each_driver(|io| {
        let rig = Rig::echo(io);
        let connection = format!("Connection: {}", named.join(", "));
        let fields = [
            "Host: a",
            "Authorization: Bearer t",
            "Cookie: c=1",
            "Content-Type: text/x",
            "X-Forwarded-For: 9.9.9.9",
            &connection,
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ];
        assert_eq!(rig.gateway.ask(request("GET /own HTTP/1.1", &fields, "")).status(), 200);
        let head = rig.origin.request_for("/own").head;
        for name in [
            "host",
            "authorization",
            "cookie",
            "content-type",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-request-id",
        ] {
            assert!(head.has(name), "{name} was removed: {}", head.text());
        }
        let forwarded = head.one("x-forwarded-for").unwrap_or_default();
        assert!(forwarded.contains("127.0.0.1"), "the gateway's own value must stay: {forwarded}");
        assert!(
            !forwarded.contains("9.9.9.9"),
            "an untrusted caller's value must go (SEC-INJ-04): {forwarded}"
        );
        rig.finish();
    });
}

#[test]
fn h1_co_03_close_in_any_case_and_line_ends_the_connection_behind_the_answer() {
    each_driver(|io| {
        let rig = Rig::echo(io);
        for lines in [
            "Connection: close",
            "connection: CLOSE",
            "Connection: x, Close",
            "Connection: keep-alive\r\nConnection: close",
        ] {
            let mut caller = rig.caller();
            caller.send(format!(
                "GET /last HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\n"
            ));
            let answer = caller.answer();
            assert_eq!(answer.text(), "GET /last\n", "{lines}");
            assert!(answer.says_close(), "{lines}: {}", answer.head.text());
            assert_eq!(caller.rest(), (Vec::new(), End::Fin), "{lines}");
        }
        assert!(
            rig.origin.requests().iter().all(|r| r.head.word(1) == "/last"),
            "a request behind close was served"
        );
        rig.finish();
    });
}

#[test]
fn h1_co_04_http_1_0_closes_unless_kept_alive_and_gets_no_interim() {
    each_driver(|io| {
        let rig = Rig::echo(io);
        let mut once = rig.caller();
        assert_eq!(once.ask("GET /once HTTP/1.0\r\n\r\n").text(), "GET /once\n");
        assert_eq!(once.rest(), (Vec::new(), End::Fin));
        let mut kept = rig.caller();
        for _ in 0..3 {
            let answer = kept.ask("GET /kept HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
            assert_eq!(answer.text(), "GET /kept\n");
            let says = answer.head.all("connection").iter().any(|v| v.eq_ignore_ascii_case(b"keep-alive"));
            assert!(says, "an HTTP/1.0 caller must be told: {}", answer.head.text());
        }
        let mut expecting = rig.caller();
        expecting.send("POST /x HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi");
        let answer = expecting.answer();
        assert!(answer.interim.is_empty(), "1xx to HTTP/1.0: {:?}", answer.interim);
        drop((kept, expecting));
        rig.finish();
    });
}

#[test]
fn h1_co_05_a_hundred_pipelined_requests_are_answered_in_order() {
    each_driver(|io| {
        let rig = Rig::echo(io);
        let mut caller = rig.caller();
        caller.send((0..100).map(|n| get(&format!("/{n}"))).collect::<String>());
        for n in 0..100 {
            assert_eq!(caller.answer().text(), format!("GET /{n}\n"));
        }
        own_answer(&mut caller, "/behind").unwrap();
        let mut mixed = rig.caller();
        let bodies: Vec<Vec<u8>> = (0..20).map(|n| post_to(&format!("/{n}"), format!("body {n}"))).collect();
        mixed.send(bodies.concat());
        for n in 0..20 {
            assert_eq!(mixed.answer().text(), format!("POST /{n}\nbody {n}"));
        }
        drop((caller, mixed));
        rig.finish();
    });
}

#[test]
fn h1_co_06_upgrades_are_stripped_and_the_request_goes_on() {
    each_driver(|io| {
        let rig = Rig::echo(io);
        for fields in [
            ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"],
            ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="],
        ] {
            let mut caller = rig.caller();
            let bytes =
                request("GET /up HTTP/1.1", &[&["Host: a"], fields.as_slice()].concat(), &get("/behind"));
            caller.send(bytes);
            assert_eq!(caller.answer().text(), "GET /up\n");
            assert_eq!(caller.answer().text(), "GET /behind\n", "bytes behind it are the next request");
        }
        for got in rig.origin.requests() {
            for name in ["upgrade", "http2-settings"] {
                assert!(!got.head.has(name), "{name} reached the origin");
            }
        }
        rig.finish();
    });
}

#[test]
fn h1_co_07_expect_is_answered_by_the_gateway_and_never_forwarded() {
    each_driver(|io| {
        let rig = Rig::echo(io);
        for value in ["100-continue", "100-Continue"] {
            let mut caller = rig.caller();
            let fields = ["Host: a", "Content-Length: 5", &format!("Expect: {value}")];
            caller.send(request("POST /wait HTTP/1.1", &fields, ""));
            assert_eq!(caller.interim(), 100);
            caller.send("hello");
            assert_eq!(caller.answer().text(), "POST /wait\nhello");
            own_answer(&mut caller, "/behind").unwrap();
        }
        let mut eager = rig.caller();
        eager.send(request(
            "POST /eager HTTP/1.1",
            &["Host: a", "Content-Length: 5", "Expect: 100-continue"],
            "hello",
        ));
        assert_eq!(eager.answer().text(), "POST /eager\nhello");
        own_answer(&mut eager, "/behind").unwrap();
        assert!(rig.origin.requests().iter().all(|r| !r.head.has("expect")), "Expect was forwarded");
        drop(eager);
        rig.finish();
    });
}

#[test]
fn h1_co_07_other_expectations_are_417() {
    rule(
        "H1-CO-07",
        &[
            case("other", post(&["Expect: something", "Content-Length: 5"], ""), Refused(417)),
            case("two values", post(&["Expect: 100-continue, x", "Content-Length: 5"], ""), Refused(417)),
            case(
                "two lines",
                post(&["Expect: 100-continue", "Expect: 100-continue", "Content-Length: 5"], ""),
                Refused(417),
            ),
            case("100-continue", post(&["Expect: 100-continue", "Content-Length: 5"], "hello"), Passes),
        ],
    );
}

/// Otherwise the next request would be eaten as the body, or the body parsed as a request (0.CL desync).
#[test]
fn h1_co_08_a_refused_expectation_whose_body_never_came_closes() {
    each_driver(|io| {
        let rig = Rig::with(io, Origin::echo(), |setup| {
            setup.tune(|snapshot| snapshot.routes = vec![route("known", exactly("/known"), "origin")])
        });
        let mut caller = rig.caller();
        let fields = ["Host: a", "Content-Length: 50", "Expect: 100-continue"];
        caller.send(request("POST /unknown HTTP/1.1", &fields, ""));
        let answer = caller.answer();
        assert_eq!(
            (answer.status(), answer.interim.as_slice()),
            (404, [].as_slice()),
            "the final refusal, no 100"
        );
        assert!(answer.says_close(), "{}", answer.head.text());
        let _ = caller.try_send(get("/known").as_bytes());
        let (rest, end) = caller.rest();
        assert!(rest.is_empty() && end != End::Open, "{end:?} {:?}", String::from_utf8_lossy(&rest));
        assert_eq!(rig.origin.bytes(), 0);
        drop(caller);
        rig.finish();
    });
}

#[test]
fn h1_co_09_an_idle_connection_ends_at_its_limit_and_not_before() {
    each_driver(|io| {
        let rig = Rig::with(io, Origin::echo(), |setup| {
            setup.caller_timeouts(|timeouts| timeouts.keep_alive_ms = Millis::new(400))
        });
        let mut caller = rig.caller();
        for _ in 0..3 {
            own_answer(&mut caller, "/kept").unwrap();
            std::thread::sleep(Duration::from_millis(150));
        }
        let began = std::time::Instant::now();
        let (rest, end) = caller.rest();
        assert!(rest.is_empty(), "an idle close is silent: {:?}", String::from_utf8_lossy(&rest));
        assert_eq!(end, End::Fin);
        assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
        drop(caller);
        rig.finish();
    });
}

/// An origin that answers only when the test lets it: 300 ms after the request.
fn slow() -> Origin {
    Origin::start(|peer| {
        while let Some(request) = peer.request() {
            peer.pause(Duration::from_millis(300));
            let body = format!("GET {}\n", request.head.word(1));
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        }
    })
}

#[test]
fn h1_co_10_a_half_close_counts_as_gone_unless_the_listener_allows_it() {
    each_driver(|io| {
        for (half_close, answered) in [(HalfClose::Gone, false), (HalfClose::Allow, true)] {
            let rig = Rig::with(io, slow(), |setup| {
                setup.tune(|snapshot| snapshot.listeners[0].half_close = half_close)
            });
            let mut caller = rig.caller();
            caller.send(get("/half"));
            rig.origin.wait_for("the request", |records| records.iter().any(|r| !r.requests.is_empty()));
            caller.half_close();
            let got = caller.try_answer("GET");
            assert_eq!(got.is_ok(), answered, "{half_close:?}: {got:?}");
            if !answered {
                rig.origin.wait_for_end(0);
            }
            drop(caller);
            rig.finish();
        }
    });
}

#[test]
fn h1_co_10_a_close_in_each_phase_leaves_nothing_behind_under_either_setting() {
    each_driver(|io| {
        for half_close in [HalfClose::Gone, HalfClose::Allow] {
            let rig = Rig::with(io, slow(), |setup| {
                setup.tune(|snapshot| snapshot.listeners[0].half_close = half_close)
            });
            let whole = post_to("/phase", "hello");
            for cut in [0, 10, whole.len() - 3, whole.len()] {
                let mut caller = rig.caller();
                caller.send(&whole[..cut]);
                std::thread::sleep(Duration::from_millis(20));
                drop(caller);
            }
            rig.finish();
        }
    });
}
