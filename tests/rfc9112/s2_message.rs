//! RFC 9112 section 2: message format, line ends, robustness, version.

use crate::rig::Want::{ClosedOr400, Passes, PassesOnce, Refused};
use crate::rig::{Case, case, rule};

#[test]
fn h1_sy_01_a_bare_lf_anywhere_in_the_head_is_refused() {
    rule(
        "H1-SY-01",
        &[
            case("all lines", "GET /case HTTP/1.1\nHost: a.example\n\n", Refused(400)),
            case("request line", "GET /case HTTP/1.1\nHost: a.example\r\n\r\n", Refused(400)),
            case("field line", "GET /case HTTP/1.1\r\nHost: a.example\nX: 1\r\n\r\n", Refused(400)),
            case("last field line", "GET /case HTTP/1.1\r\nHost: a.example\n\r\n", Refused(400)),
            case("end of head", "GET /case HTTP/1.1\r\nHost: a.example\r\n\n", Refused(400)),
            case(
                "inside a value",
                "GET /case HTTP/1.1\r\nHost: a.example\r\nX: a\nb: c\r\n\r\n",
                Refused(400),
            ),
            case("CRLF everywhere", "GET /case HTTP/1.1\r\nHost: a.example\r\nX: 1\r\n\r\n", Passes),
        ],
    );
}

#[test]
fn h1_sy_02_a_bare_cr_anywhere_in_the_head_is_refused() {
    rule(
        "H1-SY-02",
        &[
            case("request line", "GET /case\r HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
            case("end of request line", "GET /case HTTP/1.1\rHost: a.example\r\n\r\n", Refused(400)),
            case("field name", "GET /case HTTP/1.1\r\nHost: a.example\r\nX\rY: 1\r\n\r\n", Refused(400)),
            case("field value", "GET /case HTTP/1.1\r\nHost: a.example\r\nX: a\rb\r\n\r\n", Refused(400)),
            case("end of value", "GET /case HTTP/1.1\r\nHost: a.example\r\nX: a\r\r\n\r\n", Refused(400)),
            case("end of head", "GET /case HTTP/1.1\r\nHost: a.example\r\n\rX: 1\r\n\r\n", Refused(400)),
        ],
    );
}

#[test]
fn h1_sy_07_whitespace_before_the_first_field_is_refused() {
    rule(
        "H1-SY-07",
        &[
            case("space", "GET /case HTTP/1.1\r\n Host: a.example\r\n\r\n", Refused(400)),
            case("tab", "GET /case HTTP/1.1\r\n\tHost: a.example\r\n\r\n", Refused(400)),
            case("a line of space", "GET /case HTTP/1.1\r\n \r\nHost: a.example\r\n\r\n", Refused(400)),
        ],
    );
}

#[test]
fn h1_sy_10_one_empty_line_before_the_request_is_skipped_and_no_more() {
    rule(
        "H1-SY-10",
        &[
            case("two", "\r\n\r\nGET /case HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
            case("many", format!("{}GET /case HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n".repeat(50)), Refused(400)),
            case("bare LF", "\nGET /case HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ],
    );
    // The echo names the method first, so a skipped line is judged by its own answer.
    ringway_tests::each_driver(|io| {
        let rig = crate::rig::Rig::echo(io);
        let answer = rig.gateway.ask("\r\nGET /case HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "GET /case\n"));
        rig.finish();
    });
}

#[test]
fn h1_sy_11_only_http_1_1_and_1_0_are_spoken() {
    let line = |version: &str, want| -> Case {
        case(version, format!("GET /case {version}\r\nHost: a.example\r\n\r\n"), want)
    };
    rule(
        "H1-SY-11",
        &[
            line("HTTP/1.2", Refused(505)),
            line("HTTP/1.9", Refused(505)),
            line("HTTP/2.0", Refused(505)),
            line("HTTP/0.9", Refused(505)),
            line("HTTP/3.0", Refused(505)),
            line("HTTP/1.10", Refused(400)),
            line("HTTP/01.1", Refused(400)),
            line("HTTP/1", Refused(400)),
            line("HTTP/11", Refused(400)),
            line("HTTP/1.x", Refused(400)),
            line("HTTP/-1.1", Refused(400)),
            line("HTTP/1,1", Refused(400)),
            line("http/1.1", Refused(400)),
            line("HTTPS/1.1", Refused(400)),
            line("XTTP/1.1", Refused(400)),
            case("0.9 with line end", "GET /case\r\n\r\n", Refused(400)),
            line("HTTP/1.1", Passes),
            line("HTTP/1.0", PassesOnce),
        ],
    );
}

#[test]
fn h1_sy_16_other_protocols_are_not_served() {
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x01\x02\x03\x04\x05\x06\r\n\r\n";
    rule(
        "H1-SY-16",
        &[
            case("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ClosedOr400),
            case("TLS hello", tls_hello, ClosedOr400),
            case(
                "PROXY line",
                "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                ClosedOr400,
            ),
            case("PROXY v2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c123456789012", ClosedOr400),
        ],
    );
}
