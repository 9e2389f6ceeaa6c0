//! What upstreams send (spec section 2): strict where it could confuse, lenient only where it cannot.

use std::time::Duration;

use ringway_contract::snapshot::Engine;
use ringway_tests::client::{NoAnswer, get};
use ringway_tests::http::Framing;
use ringway_tests::{End, Gateway, Io, Origin, Setup, each_driver};

use crate::rig::{Rig, own_answer, request};

/// What the caller must see of an upstream's answer.
#[derive(Clone, Debug)]
enum Sees {
    /// 502, and the upstream connection is closed.
    BadGateway,
    /// This status and body, whole.
    Whole(u16, &'static str),
    /// Either of both; never the bytes as they came.
    Either(u16, &'static str),
}

/// An upstream's bytes, and what becomes of them.
struct Answers {
    what: &'static str,
    bytes: Vec<u8>,
    sees: Sees,
}

fn answers(what: &'static str, bytes: impl AsRef<[u8]>, sees: Sees) -> Answers {
    Answers { what, bytes: bytes.as_ref().to_vec(), sees }
}

/// An origin that sends `cases[n]` for `/case/n` and repeats every other request.
fn scripted(cases: Vec<Vec<u8>>) -> Origin {
    Origin::start(move |peer| {
        while let Some(request) = peer.request() {
            let target = request.head.word(1).to_owned();
            let number = target.strip_prefix("/case/").and_then(|n| n.parse::<usize>().ok());
            let own = format!("GET {target}\n");
            let echo = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{own}", own.len()).into_bytes();
            if !peer.send(number.map_or(&echo, |n| &cases[n])) {
                return;
            }
        }
    })
}

fn rule(id: &str, cases: &[Answers]) {
    each_driver(|io| {
        let rig =
            Rig::with(io, scripted(cases.iter().map(|case| case.bytes.clone()).collect()), |setup| setup);
        let mut broken = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            if let Err(why) = judge(&rig, number, case) {
                broken.push(format!("  {}: want {:?}, {why}", case.what, case.sees));
            }
        }
        assert!(
            broken.is_empty(),
            "{id} on {io}: {} of {} broken:\n{}",
            broken.len(),
            cases.len(),
            broken.join("\n")
        );
        rig.finish();
    });
}

fn judge(rig: &Rig, number: usize, case: &Answers) -> Result<(), String> {
    let target = format!("/case/{number}");
    let mut caller = rig.caller();
    caller.send(get(&target));
    let answer = caller.try_answer("GET").map_err(|why| format!("no answer: {why:?}"))?;
    let (status, text) = (answer.status(), answer.text());
    let fits = match case.sees {
        Sees::BadGateway => status == 502,
        Sees::Whole(s, body) => status == s && text == body && answer.whole(),
        Sees::Either(s, body) => (status == s && text == body && answer.whole()) || status == 502,
    };
    if !fits {
        return Err(format!("{status} {text:?}, cut: {:?}", answer.cut));
    }
    let at = rig
        .origin
        .look(|records| records.iter().position(|r| r.requests.iter().any(|q| q.head.word(1) == target)));
    if status == 502 {
        rig.origin.wait_for_end(at.ok_or("the request never reached the origin")?);
    }
    own_answer(&mut caller, "/same-connection")?;
    own_answer(&mut rig.caller(), "/new-connection")
}

fn ok(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}")
}

#[test]
fn h1_up_01_length_beside_transfer_encoding_is_502() {
    rule(
        "H1-UP-01",
        &[
            answers(
                "both",
                ok("Content-Length: 5\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
                Sees::BadGateway,
            ),
            answers(
                "reversed",
                ok("Transfer-Encoding: chunked\r\nContent-Length: 5", "hello"),
                Sees::BadGateway,
            ),
            answers("one", ok("Content-Length: 5", "hello"), Sees::Whole(200, "hello")),
        ],
    );
}

#[test]
fn h1_up_02_a_bad_or_second_length_is_502() {
    let mut cases = vec![
        answers("two different", ok("Content-Length: 5\r\nContent-Length: 6", "hello!"), Sees::BadGateway),
        answers("two equal", ok("Content-Length: 5\r\nContent-Length: 5", "hello"), Sees::BadGateway),
        answers("equal list", ok("Content-Length: 5, 5", "hello"), Sees::BadGateway),
    ];
    for value in ["+5", "-1", "0x5", "5a", "", "5 5", "99999999999999999999", "9223372036854775808"] {
        cases.push(answers("malformed", ok(&format!("Content-Length: {value}"), "hello"), Sees::BadGateway));
    }
    rule("H1-UP-02", &cases);
}

#[test]
fn h1_up_03_other_codings_are_502() {
    let mut cases: Vec<Answers> = [
        "gzip, chunked",
        "identity",
        "chunked, chunked",
        "xchunked",
        "",
        "chunked\r\nTransfer-Encoding: chunked",
    ]
    .iter()
    .map(|te| {
        answers(
            "coding",
            ok(&format!("Transfer-Encoding: {te}"), "5\r\nhello\r\n0\r\n\r\n"),
            Sees::BadGateway,
        )
    })
    .collect();
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    cases.push(answers("HTTP/1.0", old, Sees::BadGateway));
    cases.push(answers(
        "upper case",
        ok("Transfer-Encoding: CHUNKED", "5\r\nhello\r\n0\r\n\r\n"),
        Sees::Whole(200, "hello"),
    ));
    rule("H1-UP-03", &cases);
}

#[test]
fn h1_up_04_05_loose_heads_are_mended_or_502_and_never_passed_on() {
    rule(
        "H1-UP-04, H1-UP-05",
        &[
            answers("bare LF", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", Sees::Either(200, "hello")),
            answers(
                "one bare LF",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\nX: 1\r\n\r\nhello",
                Sees::Either(200, "hello"),
            ),
            answers("obs-fold", ok("X: a\r\n b\r\nContent-Length: 5", "hello"), Sees::Either(200, "hello")),
            answers(
                "space before colon",
                ok("X : a\r\nContent-Length: 5", "hello"),
                Sees::Either(200, "hello"),
            ),
        ],
    );
}

#[test]
fn h1_up_06_control_bytes_are_502() {
    rule(
        "H1-UP-06",
        &[
            answers("NUL in a value", ok("X: a\0b\r\nContent-Length: 5", "hello"), Sees::BadGateway),
            answers("CR in a value", ok("X: a\rb\r\nContent-Length: 5", "hello"), Sees::BadGateway),
            answers("0x01 in a value", ok("X: \x01\r\nContent-Length: 5", "hello"), Sees::BadGateway),
            answers("DEL in a value", ok("X: \x7f\r\nContent-Length: 5", "hello"), Sees::BadGateway),
            answers(
                "reason phrase",
                "HTTP/1.1 200 O\x01K\r\nContent-Length: 5\r\n\r\nhello",
                Sees::Either(200, "hello"),
            ),
            answers(
                "CR in the reason",
                "HTTP/1.1 200 O\rK\r\nContent-Length: 5\r\n\r\nhello",
                Sees::Either(200, "hello"),
            ),
        ],
    );
}

#[test]
fn h1_up_07_a_bad_status_line_is_502() {
    let line = |line: &str| format!("{line}\r\nContent-Length: 5\r\n\r\nhello");
    let bad = [
        "HTTP/1.1 99 Low",
        "HTTP/1.1 600 High",
        "HTTP/1.1 999 X",
        "HTTP/1.1 20 X",
        "HTTP/1.1 2000 X",
        "HTTP/1.1 abc X",
        "HTTP/1.1",
        "HTTP/1.1  200 OK",
        "HTTP/2.0 200 OK",
        "HTTP/1.2 200 OK",
        "http/1.1 200 OK",
        "ICY 200 OK",
        " HTTP/1.1 200 OK",
        "hello",
    ];
    let mut cases: Vec<Answers> = bad.iter().map(|l| answers("line", line(l), Sees::BadGateway)).collect();
    cases.push(answers("no reason", line("HTTP/1.1 200 "), Sees::Whole(200, "hello")));
    cases.push(answers("no reason, no space", line("HTTP/1.1 200"), Sees::Whole(200, "hello")));
    cases.push(answers("599", line("HTTP/1.1 599 X"), Sees::Whole(599, "hello")));
    rule("H1-UP-07", &cases);
}

#[test]
fn h1_up_08_interim_answers_are_dropped_and_counted() {
    let with =
        |count: usize| "HTTP/1.1 100 Continue\r\n\r\n".repeat(count) + &ok("Content-Length: 5", "hello");
    rule(
        "H1-UP-08",
        &[
            answers("one", with(1), Sees::Whole(200, "hello")),
            answers("sixteen", with(16), Sees::Whole(200, "hello")),
            answers("seventeen", with(17), Sees::BadGateway),
            answers(
                "processing",
                "HTTP/1.1 102 Processing\r\n\r\n".to_owned() + &ok("Content-Length: 5", "hello"),
                Sees::Whole(200, "hello"),
            ),
            answers(
                "early hints",
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".to_owned()
                    + &ok("Content-Length: 5", "hello"),
                Sees::Whole(200, "hello"),
            ),
            answers(
                "with a body",
                "HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\nXXXX".to_owned()
                    + &ok("Content-Length: 5", "hello"),
                Sees::BadGateway,
            ),
        ],
    );
}

#[test]
fn h1_up_09_a_101_that_nobody_asked_for_is_502() {
    rule(
        "H1-UP-09",
        &[
            answers(
                "websocket",
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
                Sees::BadGateway,
            ),
            answers(
                "bare",
                "HTTP/1.1 101 X\r\n\r\n".to_owned() + &ok("Content-Length: 5", "hello"),
                Sees::BadGateway,
            ),
        ],
    );
}

#[test]
fn h1_up_10_excess_bytes_are_dropped_with_their_connection() {
    let poison = ok("Content-Length: 6", "poison");
    rule(
        "H1-UP-10",
        &[
            answers("beyond the length", ok("Content-Length: 5", "hello, there"), Sees::Whole(200, "hello")),
            answers("a second answer", ok("Content-Length: 5", "hello") + &poison, Sees::Whole(200, "hello")),
            answers(
                "behind the last chunk",
                ok("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\nmore"),
                Sees::Whole(200, "hello"),
            ),
            answers(
                "behind a 204",
                "HTTP/1.1 204 No Content\r\n\r\n".to_owned() + &poison,
                Sees::Whole(204, ""),
            ),
            answers(
                "behind a 304",
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
                Sees::Whole(304, ""),
            ),
        ],
    );
}

#[test]
fn h1_up_10_a_body_behind_the_answer_to_head_is_dropped_with_its_connection() {
    each_driver(|io| {
        let rig = Rig::with(io, scripted(vec![ok("Content-Length: 5", "hello").into_bytes()]), |setup| setup);
        let mut caller = rig.caller();
        caller.send("HEAD /case/0 HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = caller.answer_to("HEAD");
        assert_eq!(answer.status(), 200);
        own_answer(&mut caller, "/same-connection").unwrap();
        assert_eq!(rig.origin.connections(), 2, "the connection with excess bytes was used again");
        drop(caller);
        rig.finish();
    });
}

/// Response-queue poisoning: bytes on an idle pooled connection belong to nobody.
#[test]
fn h1_up_11_bytes_on_an_idle_connection_close_it() {
    each_driver(|io| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                let own = format!("GET {}\n", request.head.word(1));
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{own}", own.len()));
                if request.head.word(1) == "/poisoned" {
                    peer.pause(Duration::from_millis(50));
                    peer.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 6\r\n\r\npoison");
                }
            }
        });
        let rig = Rig::with(io, origin, |setup| setup);
        let mut caller = rig.caller();
        own_answer(&mut caller, "/poisoned").unwrap();
        rig.origin.wait_for_end(0);
        for _ in 0..3 {
            own_answer(&mut caller, "/next").unwrap();
        }
        assert_eq!(rig.origin.connections(), 2);
        drop(caller);
        rig.finish();
    });
}

#[test]
fn h1_up_12_a_truncated_answer_is_never_whole_for_the_caller() {
    each_driver(|io| {
        let origin = Origin::start(|peer| {
            let Some(request) = peer.request() else { return };
            peer.send(match request.head.word(1) {
                "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
                _ => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            });
            peer.fin();
            peer.until_end(Duration::from_secs(5));
        });
        let rig = Rig::with(io, origin, |setup| setup);
        for target in ["/length", "/chunked"] {
            let answer = rig.gateway.ask(get(target));
            assert_eq!(answer.text(), "hello", "{target}: exactly the bytes that came");
            assert!(!answer.whole(), "{target}: a cut answer looks whole");
        }
        rig.finish();
    });
}

#[test]
fn h1_up_13_heads_over_64_kib_or_200_fields_are_502() {
    let big = |lines: usize| {
        ok(&format!("{}Content-Length: 5", format!("X: {}\r\n", "v".repeat(10_000)).repeat(lines)), "hello")
    };
    let many = |fields: usize| ok(&format!("{}Content-Length: 5", "X: 1\r\n".repeat(fields - 1)), "hello");
    rule(
        "H1-UP-13",
        &[
            answers("70 KiB", big(7), Sees::BadGateway),
            answers("60 KiB", big(6), Sees::Whole(200, "hello")),
            answers("201 fields", many(201), Sees::BadGateway),
            answers("200 fields", many(200), Sees::Whole(200, "hello")),
        ],
    );
}

#[test]
fn h1_up_14_chunk_extensions_and_trailers_stop_at_the_gateway() {
    each_driver(|io| {
        let body = "5;a=b\r\nhello\r\n6;c=\"d\"\r\n world\r\n0;e\r\nX-Late: 1\r\nContent-Length: 3\r\n\r\n";
        let rig = Rig::with(
            io,
            scripted(vec![ok("Transfer-Encoding: chunked\r\nTrailer: X-Late", body).into_bytes()]),
            |setup| setup,
        );
        let mut caller = rig.caller();
        let answer = caller.ask(get("/case/0")); // the reader is strict: extensions and trailers would be malformed
        assert_eq!((answer.text().as_str(), answer.framing), ("hello world", Framing::Chunked));
        assert!(!answer.head.has("trailer") && !answer.head.has("x-late"), "{}", answer.head.text());
        own_answer(&mut caller, "/behind").unwrap();
        drop(caller);
        rig.finish();
    });
}

#[test]
fn h1_up_15_an_upstream_close_concerns_only_the_upstream() {
    each_driver(|io| {
        let rig = Rig::with(
            io,
            scripted(vec![ok("Connection: close\r\nContent-Length: 5", "hello").into_bytes()]),
            |setup| setup,
        );
        let mut caller = rig.caller();
        let answer = caller.ask(get("/case/0"));
        assert!(!answer.says_close(), "{}", answer.head.text());
        own_answer(&mut caller, "/behind").unwrap();
        assert_eq!(rig.origin.connections(), 2, "a connection that was to be closed was used again");
        drop(caller);
        rig.finish();
    });
}

fn model_gateway(io: Io, origin: &Origin) -> Gateway {
    Gateway::start(io, Setup::model("/v1/chat/completions", Engine::Vllm, &[origin.address()]))
}

#[test]
fn h1_up_16_where_bodies_are_read_the_upstream_is_asked_for_no_coding() {
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = model_gateway(io, &origin);
        let body = r#"{"model":"m","messages":[]}"#;
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        assert_eq!(gateway.ask(head + body).status(), 200);
        let got = origin.request_for("/v1/chat/completions").head;
        assert_eq!(got.one("accept-encoding").as_deref(), Some("identity"), "{}", got.text());
        origin.assert_strict();
        gateway.finish();
    });
}

#[test]
fn h1_up_16_a_plain_proxy_leaves_codings_alone() {
    each_driver(|io| {
        let gzipped: &[u8] =
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00";
        let rig = Rig::with(io, scripted(vec![gzipped.to_vec()]), |setup| setup);
        let answer =
            rig.gateway.ask(request("GET /case/0 HTTP/1.1", &["Host: a", "Accept-Encoding: gzip"], ""));
        assert_eq!(
            (answer.body.as_slice(), answer.head.one("content-encoding").as_deref()),
            (b"\x1f\x8b\x08\x00".as_slice(), Some("gzip"))
        );
        assert_eq!(rig.origin.request_for("/case/0").head.one("accept-encoding").as_deref(), Some("gzip"));
        rig.finish();
    });
}

#[test]
fn h1_up_17_a_redirect_is_passed_on_and_not_followed() {
    each_driver(|io| {
        let elsewhere = Origin::echo();
        let found = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{}/x\r\nContent-Length: 0\r\n\r\n",
            elsewhere.address()
        );
        let rig = Rig::with(io, scripted(vec![found.into_bytes()]), |setup| setup);
        let answer = rig.gateway.ask(get("/case/0"));
        assert_eq!(answer.status(), 302);
        assert!(answer.head.one("location").unwrap_or_default().ends_with("/x"));
        assert_eq!(elsewhere.connections(), 0);
        rig.finish();
    });
}

#[test]
fn a_close_delimited_answer_is_whole_only_behind_a_clean_end() {
    each_driver(|io| {
        let origin = Origin::start(|peer| {
            if peer.request().is_none() {
                return;
            }
            peer.send("HTTP/1.1 200 OK\r\n\r\nhello");
            peer.pause(Duration::from_millis(50));
            if peer.number() == 0 {
                peer.fin();
                peer.until_end(Duration::from_secs(5));
            } else {
                peer.reset();
            }
        });
        let rig = Rig::with(io, origin, |setup| setup);
        assert!(rig.gateway.ask(get("/fin")).whole());
        let cut = rig.gateway.ask(get("/rst"));
        assert_eq!((cut.text().as_str(), cut.whole()), ("hello", false));
        let mut old = rig.caller();
        old.send("GET /rst-1.0 HTTP/1.0\r\n\r\n");
        match old.try_answer("GET") {
            Ok(answer) => {
                assert_eq!((answer.cut, answer.whole()), (Some(End::Rst), false), "a clean FIN is a lie");
            }
            Err(NoAnswer::Ended(end, _)) => assert_eq!(end, End::Rst),
            Err(NoAnswer::Malformed(why, _)) => panic!("{why}"),
        }
        drop(old);
        rig.finish();
    });
}
