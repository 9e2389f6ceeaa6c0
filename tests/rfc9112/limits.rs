//! The defaults table of the spec (section 8): sizes of heads, at the limit and one above.

use crate::rig::Want::{Passes, Refused};
use crate::rig::{case, get_with, request, rule};

const LINE_BYTES_MAX: usize = 16 * 1_024;
const FIELDS_MAX: usize = 128;

#[test]
fn a_request_line_above_16_kib_is_414() {
    let line = |bytes: usize| {
        let fixed = "GET / HTTP/1.1".len();
        request(&format!("GET /{} HTTP/1.1", "p".repeat(bytes - fixed)), &["Host: a"], "")
    };
    rule(
        "request line",
        &[
            case("above", line(LINE_BYTES_MAX + 10), Refused(414)),
            case("far above", line(60_000), Refused(414)),
            case("below", line(LINE_BYTES_MAX - 10), Passes),
        ],
    );
}

#[test]
fn a_field_line_above_16_kib_is_431() {
    let field = |bytes: usize| get_with(&[&format!("X: {}", "v".repeat(bytes - 3))]);
    rule(
        "field line",
        &[
            case("above", field(LINE_BYTES_MAX + 10), Refused(431)),
            case("below", field(LINE_BYTES_MAX - 10), Passes),
        ],
    );
}

#[test]
fn a_head_above_64_kib_is_431() {
    let head = |fields: usize| {
        let line = format!("X: {}", "v".repeat(10_000));
        get_with(&vec![line.as_str(); fields])
    };
    rule("head", &[case("above", head(7), Refused(431)), case("below", head(6), Passes)]);
}

#[test]
fn more_than_128_fields_are_431() {
    let fields = |count: usize| get_with(&vec!["X: 1"; count - 1]); // and the Host
    rule(
        "fields",
        &[case("129", fields(FIELDS_MAX + 1), Refused(431)), case("128", fields(FIELDS_MAX), Passes)],
    );
}

#[test]
fn an_endless_head_is_431_before_it_ends() {
    let endless = format!("GET /case HTTP/1.1\r\nHost: a\r\n{}", "X: 1\r\n".repeat(20_000));
    let nameless = format!("GET /case HTTP/1.1\r\nHost: a\r\n{}", "x".repeat(100_000));
    rule("head", &[case("fields", endless, Refused(431)), case("one name", nameless, Refused(431))]);
}
