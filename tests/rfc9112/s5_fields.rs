//! RFC 9112 section 5, RFC 9110 section 5: field names, values, folding.

use ringway_tests::each_driver;

use crate::rig::Want::{Passes, Refused};
use crate::rig::{Case, Rig, case, get_with, rule};

fn with_value_byte(byte: u8) -> Vec<u8> {
    [b"GET /case HTTP/1.1\r\nHost: a.example\r\nX: a".as_slice(), &[byte], b"b\r\n\r\n"].concat()
}

fn with_name_byte(byte: u8) -> Vec<u8> {
    [b"GET /case HTTP/1.1\r\nHost: a.example\r\nX".as_slice(), &[byte], b"Y: 1\r\n\r\n"].concat()
}

#[test]
fn h1_sy_03_control_bytes_in_a_value_are_refused() {
    let bytes = (0x00..=0x1F).chain([0x7F]).filter(|byte| *byte != b'\t');
    let mut cases: Vec<Case> =
        bytes.map(|byte| case(format!("byte {byte:#04x}"), with_value_byte(byte), Refused(400))).collect();
    cases.push(case("HTAB", with_value_byte(b'\t'), Passes));
    cases.push(case("0x20", with_value_byte(b' '), Passes));
    cases.push(case("0x7e", with_value_byte(0x7E), Passes));
    rule("H1-SY-03", &cases);
}

#[test]
fn h1_sy_04_bytes_above_0x7f_in_a_value_are_forwarded_exactly() {
    let high: Vec<u8> = (0x80..=0xFF).collect();
    each_driver(|io| {
        let rig = Rig::echo(io);
        let request =
            [b"GET /high HTTP/1.1\r\nHost: a.example\r\nX-High: ".as_slice(), &high, b"\r\n\r\n"].concat();
        assert_eq!(rig.gateway.ask(request).status(), 200);
        let got = rig.origin.request_for("/high");
        assert_eq!(got.head.all("x-high"), [high.as_slice()]);
        rig.finish();
    });
}

#[test]
fn h1_sy_05_folded_values_are_refused() {
    rule(
        "H1-SY-05",
        &[
            case("space", get_with(&["X: a", " b"]), Refused(400)),
            case("tab", get_with(&["X: a", "\tb"]), Refused(400)),
            case("empty first line", get_with(&["X:", " b"]), Refused(400)),
            case("a fold of nothing", get_with(&["X: a", " "]), Refused(400)),
            case("a fold that hides a length", get_with(&["X: a", " Content-Length: 5"]), Refused(400)),
            case("none", get_with(&["X: a b", "Y: b"]), Passes),
        ],
    );
}

#[test]
fn h1_sy_06_whitespace_before_the_colon_is_refused() {
    rule(
        "H1-SY-06",
        &[
            case("space", get_with(&["X : 1"]), Refused(400)),
            case("tab", get_with(&["X\t: 1"]), Refused(400)),
            case("in a framing field", get_with(&["Content-Length : 0"]), Refused(400)),
            case("behind the colon", get_with(&["X: \t 1 \t"]), Passes),
            case("no space at all", get_with(&["X:1"]), Passes),
        ],
    );
}

#[test]
fn h1_sy_08_field_names_are_tokens() {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let bad = (0x01..=0xFF).filter(|byte| !is_tchar(*byte) && *byte != b':' && *byte != b'\n');
    let mut cases: Vec<Case> =
        bad.map(|byte| case(format!("byte {byte:#04x}"), with_name_byte(byte), Refused(400))).collect();
    cases.extend(
        b"!#$%&'*+-.^_`|~"
            .iter()
            .map(|byte| case(format!("byte {byte:#04x}"), with_name_byte(*byte), Passes)),
    );
    cases.push(case("NUL", with_name_byte(0), Refused(400)));
    cases.push(case("empty name", get_with(&[": 1"]), Refused(400)));
    cases.push(case("no colon", get_with(&["NoColonHere"]), Refused(400)));
    cases.push(case("a second request line", get_with(&["GET /x HTTP/1.1"]), Refused(400)));
    rule("H1-SY-08", &cases);
}
