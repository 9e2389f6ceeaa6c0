//! RFC 9112 section 6: how long a request's body is, and that nobody can be brought to disagree.

use std::time::Duration;

use ringway_tests::client::get;
use ringway_tests::http::Framing;
use ringway_tests::setup::{exactly, route};
use ringway_tests::{End, Origin, each_driver};

use crate::rig::Want::{Passes, PassesOnce, Refused};
use crate::rig::{BODY_BYTES_MAX, Case, Rig, case, own_answer, post, request, rule};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";

#[test]
fn h1_fr_01_content_length_beside_transfer_encoding_is_refused() {
    let both =
        |one: &str, two: &str| case(format!("{one}, {two}"), post(&[one, two], "0\r\n\r\n"), Refused(400));
    rule(
        "H1-FR-01",
        &[
            both("Content-Length: 5", "Transfer-Encoding: chunked"),
            both("Transfer-Encoding: chunked", "Content-Length: 5"),
            both("Content-Length: 0", "Transfer-Encoding: chunked"),
            both("content-length: 5", "TRANSFER-ENCODING: chunked"),
            both("Content-Length: 5", "Transfer-Encoding: identity"),
            both("Content-Length: x", "Transfer-Encoding: chunked"),
            case("length alone", post(&["Content-Length: 5"], "hello"), Passes),
            case("chunked alone", post(&["Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n"), Passes),
        ],
    );
}

#[test]
fn h1_fr_02_more_than_one_content_length_is_refused_even_if_equal() {
    rule(
        "H1-FR-02",
        &[
            case("two equal", post(&["Content-Length: 5", "Content-Length: 5"], "hello"), Refused(400)),
            case("two different", post(&["Content-Length: 5", "Content-Length: 6"], "hello!"), Refused(400)),
            case("two cases", post(&["content-length: 5", "CONTENT-LENGTH: 5"], "hello"), Refused(400)),
            case("apart", post(&["Content-Length: 5", "X: 1", "Content-Length: 5"], "hello"), Refused(400)),
            case("equal list", post(&["Content-Length: 5, 5"], "hello"), Refused(400)),
            case("list", post(&["Content-Length: 5,6"], "hello"), Refused(400)),
            case("one", post(&["Content-Length: 5"], "hello"), Passes),
        ],
    );
}

#[test]
fn h1_fr_03_content_length_is_digits_and_fits() {
    let bad = [
        "+5",
        "-5",
        "-0",
        "0x5",
        "5 5",
        "",
        " ",
        "\"5\"",
        "5,",
        ",5",
        "5.0",
        "1e1",
        "5;",
        "5a",
        "a5",
        "\u{665}",
        "\u{ff15}",
        "99999999999999999999",
        "00000000000000000005",
        "9223372036854775808",
        "9999999999999999999",
        "18446744073709551621",
    ];
    let mut cases: Vec<Case> = bad
        .iter()
        .map(|value| {
            case(format!("{value:?}"), post(&[&format!("Content-Length: {value}")], "hello"), Refused(400))
        })
        .collect();
    cases.extend(["5", "05", "0000000000000000005", " \t5\t "].map(|value| {
        case(format!("{value:?}"), post(&[&format!("Content-Length: {value}")], "hello"), Passes)
    }));
    cases.push(case("0", post(&["Content-Length: 0"], ""), Passes));
    cases.push(case("2^63-1", post(&["Content-Length: 9223372036854775807"], "hello"), Refused(413)));
    rule("H1-FR-03", &cases);
}

#[test]
fn h1_fr_04_a_length_above_the_limit_is_413_before_the_body_is_read() {
    let at = |length: u64| format!("Content-Length: {length}");
    let full = "x".repeat(usize::try_from(BODY_BYTES_MAX).unwrap());
    rule(
        "H1-FR-04",
        &[
            case("one above, no body sent", post(&[&at(BODY_BYTES_MAX + 1)], ""), Refused(413)),
            case("far above", post(&[&at(1 << 40)], "some"), Refused(413)),
            case("exactly at it", post(&[&at(BODY_BYTES_MAX)], &full), Passes),
        ],
    );
}

#[test]
fn h1_fr_05_transfer_encoding_is_the_one_word_chunked() {
    let te = |value: &str, want| {
        case(
            format!("{value:?}"),
            post(&[&format!("Transfer-Encoding: {value}")], "5\r\nhello\r\n0\r\n\r\n"),
            want,
        )
    };
    rule(
        "H1-FR-05",
        &[
            te("gzip, chunked", Refused(501)),
            te("gzip,chunked", Refused(501)),
            te("gzip;level=1, chunked", Refused(501)),
            te("chunked, chunked", Refused(501)),
            te("identity, chunked", Refused(501)),
            te("gzip", Refused(400)),
            te("identity", Refused(400)),
            te("chunked, gzip", Refused(400)),
            te("chunked, identity", Refused(400)),
            te("chunkedchunked", Refused(400)),
            te("xchunked", Refused(400)),
            te("chunked x", Refused(400)),
            te("\"chunked\"", Refused(400)),
            te("'chunked'", Refused(400)),
            te("chunked;", Refused(400)),
            te("", Refused(400)),
            te("chun\u{212a}ed", Refused(400)),
            te("chunked\u{a0}", Refused(400)),
            te("CHUNKED", Passes),
            te("\t chunked \t", Passes),
        ],
    );
}

#[test]
fn h1_fr_05_two_transfer_encoding_lines_are_refused() {
    each_driver(|io| {
        let rig = Rig::echo(io);
        for pair in
            [["chunked", "chunked"], ["identity", "chunked"], ["chunked", "identity"], ["", "chunked"]]
        {
            let lines = pair.map(|value| format!("Transfer-Encoding: {value}"));
            let mut caller = rig.caller();
            caller.send(post(&[&lines[0], &lines[1]], "5\r\nhello\r\n0\r\n\r\n"));
            let answer = caller.answer();
            // Read as one list the first two pairs end in `chunked` (501); whether lines are joined is left open.
            assert!([400, 501].contains(&answer.status()), "{pair:?} got {}", answer.status());
            assert!(answer.says_close() && caller.rest().0.is_empty(), "{pair:?} must close");
        }
        assert_eq!(rig.origin.bytes(), 0);
        rig.finish();
    });
}

#[test]
fn h1_fr_06_transfer_encoding_in_http_1_0_is_refused() {
    let old = |fields: &[&str], body: &str, want| {
        case(format!("{fields:?}"), request("POST /case HTTP/1.0", fields, body), want)
    };
    rule(
        "H1-FR-06",
        &[
            old(&["Host: a", "Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n", Refused(400)),
            old(&["Transfer-Encoding: identity"], "", Refused(400)),
            old(&["Transfer-Encoding: chunked", "Connection: keep-alive"], "0\r\n\r\n", Refused(400)),
            old(&["Host: a", "Content-Length: 5"], "hello", PassesOnce),
        ],
    );
}

#[test]
fn h1_fr_07_without_a_framing_field_the_body_is_empty() {
    each_driver(|io| {
        let rig = Rig::echo(io);
        for method in ["GET", "POST", "PUT", "BREW"] {
            let mut caller = rig.caller();
            caller.send(format!(
                "{method} /first HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n"
            ));
            assert_eq!(caller.answer().text(), format!("{method} /first\n"));
            assert_eq!(caller.answer().text(), "GET /second\n");
        }
        let mut old = rig.caller();
        old.send("POST /old HTTP/1.0\r\n\r\nnot a body");
        assert_eq!(old.answer().text(), "POST /old\n", "an HTTP/1.0 body is not delimited by the close");
        let (rest, end) = old.rest();
        assert!(rest.is_empty() && end != End::Open, "{end:?} {rest:?}");
        rig.finish();
    });
}

#[test]
fn h1_fr_08_the_method_does_not_change_the_framing() {
    each_driver(|io| {
        let rig = Rig::echo(io);
        for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "BREW"] {
            let target = format!("/{method}");
            let mut caller = rig.caller();
            caller.send(request(
                &format!("{method} {target} HTTP/1.1"),
                &["Host: a", "Content-Length: 5"],
                "hello",
            ));
            assert_eq!(caller.answer_to(method).status(), 200, "{method}");
            own_answer(&mut caller, "/behind").unwrap();
            let got = rig.origin.request_for(&target);
            assert_eq!(
                (got.body.as_slice(), got.framing),
                (b"hello".as_slice(), Framing::Length(5)),
                "{method}"
            );
        }
        rig.finish();
    });
}

/// An early answer must not let the unread body become a request (CVE-2025-4366).
#[test]
fn h1_fr_09_the_unread_body_of_an_early_answer_is_never_a_request() {
    each_driver(|io| {
        let rig = Rig::with(io, Origin::echo(), |setup| {
            setup.tune(|snapshot| snapshot.routes = vec![route("known", exactly("/known"), "origin")])
        });
        for (what, pause) in [("at once", 0), ("later", 80)] {
            let mut caller = rig.caller();
            let head =
                format!("POST /unknown HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", SMUGGLED.len());
            caller.send(head);
            std::thread::sleep(Duration::from_millis(pause));
            let _ = caller.try_send(SMUGGLED.as_bytes()); // it may have closed already
            assert_eq!(caller.answer().status(), 404, "{what}");
            let next = caller.try_send(get("/known").as_bytes()).map(|()| caller.try_answer("GET"));
            if let Ok(Ok(answer)) = next {
                assert_eq!(answer.text(), "GET /known\n", "{what}"); // closed instead: equally right
            }
        }
        let mut large = rig.caller();
        large.send("POST /unknown HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
        assert_eq!(large.answer().status(), 404);
        let _ = large.try_send(&b"x".repeat(100_000));
        let _ = large.try_send(SMUGGLED.as_bytes());
        let (rest, end) = large.rest();
        assert!(
            rest.is_empty() && end != End::Open,
            "a large unread body ends the connection: {end:?} {rest:?}"
        );
        let targets: Vec<String> =
            rig.origin.requests().iter().map(ringway_tests::origin::Request::what).collect();
        assert!(targets.iter().all(|what| what == "GET /known"), "at the origin: {targets:?}");
        drop(large);
        rig.finish();
    });
}

#[test]
fn h1_fr_10_look_alikes_of_framing_fields_frame_nothing() {
    each_driver(|io| {
        let rig = Rig::echo(io);
        let names = [
            "Content_Length: 5",
            "X-Content-Length: 5",
            "X-Transfer-Encoding: chunked",
            "Transfer_Encoding: chunked",
            "ContentLength: 5",
        ];
        for (number, field) in names.iter().enumerate() {
            let mut caller = rig.caller();
            caller.send(request(
                &format!("POST /{number} HTTP/1.1"),
                &["Host: a", field],
                "GET /own HTTP/1.1\r\nHost: a\r\n\r\n",
            ));
            assert_eq!(caller.answer().text(), format!("POST /{number}\n"), "{field}");
            assert_eq!(caller.answer().text(), "GET /own\n", "{field}");
        }
        rig.finish();
    });
}

#[test]
fn h1_fr_11_connection_must_not_name_a_framing_field() {
    let named = |value: &str, want| {
        case(
            format!("{value:?}"),
            post(&["Content-Length: 5", &format!("Connection: {value}")], "hello"),
            want,
        )
    };
    rule(
        "H1-FR-11",
        &[
            named("content-length", Refused(400)),
            named("Content-Length", Refused(400)),
            named("keep-alive, Content-Length", Refused(400)),
            named("transfer-encoding", Refused(400)),
            named("x,\tTransfer-Encoding ,y", Refused(400)),
            case(
                "in a second line",
                post(&["Content-Length: 5", "Connection: keep-alive", "Connection: content-length"], "hello"),
                Refused(400),
            ),
            named("keep-alive", Passes),
            named("x-content-length", Passes),
        ],
    );
}
