//! One row per rule: bytes that break exactly this one, and neighbours just inside it that pass.
//! Every rule of the closed set is either in a table here or listed with the place that keeps it.

use crate::drive::{body, framed, request, response};
use ringway_wire::http1::{Asked, Framing, Mode, Rule, Scheme, path_is_plain};
use ringway_wire::http1::{Fault, HeadBounds, Parse, RequestHead};

pub struct Row {
    pub rule: Rule,
    pub status: u16,
    pub breaks: Vec<Vec<u8>>,
    pub passes: Vec<Vec<u8>>,
}

fn row<A: AsRef<[u8]>, B: AsRef<[u8]>>(fault: Fault, breaks: &[A], passes: &[B]) -> Row {
    Row {
        rule: fault.rule,
        status: fault.status,
        breaks: breaks.iter().map(|b| b.as_ref().to_vec()).collect(),
        passes: passes.iter().map(|b| b.as_ref().to_vec()).collect(),
    }
}

/// A sound POST with these field lines added.
fn post(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n")
}

/// A sound GET of that target.
fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn with_host(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn line(line: &str) -> String {
    format!("{line}\r\nHost: a\r\n\r\n")
}

fn value(bytes: &[u8]) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost: a\r\nX: a", bytes, b"b\r\n\r\n"].concat()
}

pub fn request_rows() -> Vec<Row> {
    let none: &[&str] = &[];
    let digits = |n: usize| "9".repeat(n);
    vec![
        row(
            Rule::H1Fr01.fault(),
            &[
                post("Content-Length: 5\r\nTransfer-Encoding: chunked"),
                post("Transfer-Encoding: chunked\r\nContent-Length: 5"),
                post("Content-Length: 5\r\nTransfer-Encoding: gzip, chunked"),
                post("Content-Length: x\r\nTransfer-Encoding: identity"),
                post("content-length: 0\r\ntransfer-encoding:"),
            ],
            &[post("Content-Length: 5\r\nX-Transfer-Encoding: chunked"), post("Transfer-Encoding: chunked")],
        ),
        row(
            Rule::H1Fr02.fault(),
            &[
                post("Content-Length: 5\r\nContent-Length: 5"),
                post("Content-Length: 5\r\ncontent-length: 6"),
                post("Content-Length: 5, 5"),
                post("Content-Length: 5,"),
            ],
            &[post("Content-Length: 5")],
        ),
        row(
            Rule::H1Fr03.fault(),
            &[
                post("Content-Length: +5"),
                post("Content-Length: -5"),
                post("Content-Length: 0x5"),
                post("Content-Length: 5 5"),
                post("Content-Length:"),
                post("Content-Length: \"5\""),
                post("Content-Length: 5."),
                post("Content-Length: 1e3"),
                post("Content-Length: \u{0665}"),
                post("Content-Length: 9223372036854775808"),
                post(&format!("Content-Length: {}", digits(19))),
                post(&format!("Content-Length: {}5", "0".repeat(19))),
            ],
            &[
                post("Content-Length: 9223372036854775807"),
                post("Content-Length: 0"),
                post("Content-Length:   005\t"),
                post(&format!("Content-Length: {}5", "0".repeat(18))),
            ],
        ),
        row(
            Rule::H1Fr05.fault(),
            &[
                post("Transfer-Encoding: chunkedx"),
                post("Transfer-Encoding: identity"),
                post("Transfer-Encoding: chunked, gzip"),
                post("Transfer-Encoding: chunked;a=b"),
                post("Transfer-Encoding: \"chunked\""),
                post("Transfer-Encoding:"),
                post("Transfer-Encoding: , chunked"),
                post("Transfer-Encoding: chunked,"),
                post("Transfer-Encoding: gzip chunked"),
                post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
                post("Transfer-Encoding: \u{b}chunked").replace('\u{b}', "\u{a0}"),
            ],
            &[post("Transfer-Encoding: chunked"), post("transfer-encoding:\t ChUnKeD ")],
        ),
        row(
            Rule::H1Fr05.with(501),
            &[
                post("Transfer-Encoding: gzip, chunked"),
                post("Transfer-Encoding: chunked, chunked"),
                post("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"),
                post("Transfer-Encoding: a;b=\"c, d\" , chunked"),
            ],
            none,
        ),
        row(
            Rule::H1Fr06.fault(),
            &[
                "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
                "POST / HTTP/1.0\r\nTransfer-Encoding: x\r\n\r\n",
            ],
            &["POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n"],
        ),
        row(
            Rule::H1Fr11.fault(),
            &[
                post("Content-Length: 5\r\nConnection: content-length"),
                post("Connection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked"),
            ],
            &[post("Connection: content-type"), post("Connection: x-transfer-encoding")],
        ),
        row(
            Rule::H1Sy01.fault(),
            &[
                "GET / HTTP/1.1\nHost: a\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\n\n",
                "GET / HTTP/1.1\r\nHost\n: a\r\n\r\n",
                "GET /\n HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET\n",
                "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            ],
            &["GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
        ),
        row(
            Rule::H1Sy02.fault(),
            &[
                "GET / HTTP/1.1\rHost: a\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\n\rX",
                "GET / HTTP/1.1\r\nHo\rst: a\r\n\r\n",
                "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n",
                "GE\rT / HTTP/1.1\r\nHost: a\r\n\r\n",
                "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            ],
            &["GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
        ),
        row(
            Rule::H1Sy03.fault(),
            &(0u8..=0x1f)
                .chain([0x7f])
                .filter(|b| !matches!(b, b'\t' | b'\r' | b'\n'))
                .map(|b| value(&[b]))
                .collect::<Vec<_>>(),
            &[value(b"\t"), value(b" ")],
        ),
        row(
            Rule::H1Sy05.fault(),
            &["GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\t\r\n\r\n"],
            &["GET / HTTP/1.1\r\nHost: a\r\nX:\t a\t\r\n\r\n"],
        ),
        row(
            Rule::H1Sy06.fault(),
            &["GET / HTTP/1.1\r\nHost : a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX\t \t: a\r\n\r\n"],
            &["GET / HTTP/1.1\r\nHost:a\r\n\r\n"],
        ),
        row(
            Rule::H1Sy07.fault(),
            &["GET / HTTP/1.1\r\n Host: a\r\n\r\n", "GET / HTTP/1.1\r\n\tX\r\nHost: a\r\n\r\n"],
            &["GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
        ),
        row(
            Rule::H1Sy08.fault(),
            &[
                "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\nX@: b\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: b\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\n\"X\": b\r\n\r\n",
            ],
            &[
                "GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~09azAZ: b\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\nX::\r\n\r\n",
            ],
        ),
        row(
            Rule::H1Sy09.fault(),
            &[
                line("GET  / HTTP/1.1"),
                line("GET /  HTTP/1.1"),
                line(" GET / HTTP/1.1"),
                line("GET / HTTP/1.1 "),
                line("GET / HTTP/1.1 x"),
                line("GET\t/ HTTP/1.1"),
                line("GET / x HTTP/1.1"),
                line("GET"),
                line("GET "),
                line("G@T / HTTP/1.1"),
                line("G\u{e9}T / HTTP/1.1"),
            ],
            &[line("GET / HTTP/1.1")],
        ),
        row(
            Rule::H1Sy10.fault(),
            &["\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"],
            &["\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"],
        ),
        row(
            Rule::H1Sy11.with(505),
            &[line("GET / HTTP/1.2"), line("GET / HTTP/2.0"), line("GET / HTTP/0.9"), line("GET / HTTP/9.9")],
            &[line("GET / HTTP/1.1"), line("GET / HTTP/1.0")],
        ),
        row(
            Rule::H1Sy11.fault(),
            &[
                line("GET /"),
                line("GET / HTTP/11.1"),
                line("GET / HTTP/1.10"),
                line("GET / HTTP/1,1"),
                line("GET / http/1.1"),
                line("GET / HTTP/1"),
                line("GET / HTTP /1.1"),
                line("GET / HTTPS/1.1"),
                line("GET / H"),
            ],
            none,
        ),
        row(
            Rule::H1Sy12.fault(),
            &"\"<>\\^`{}|#\t\0\u{7f}\u{e9}"
                .chars()
                .map(|c| get(&format!("/a{c}b")))
                .chain(["/%", "/%4", "/%4x", "/%x4", "/a?b=%zz"].map(get))
                .collect::<Vec<_>>(),
            &[get("/-._~!$&'()*+,;=:@/?%41%fF[]?")],
        ),
        row(
            Rule::H1Sy14.fault(),
            &[line(&format!("{} / HTTP/1.1", "A".repeat(25)))],
            &[line(&format!("{} / HTTP/1.1", "A".repeat(24))), line("get / HTTP/1.1")],
        ),
        row(
            Rule::H1Sy15.fault(),
            &[line("TRACE / HTTP/1.1")],
            &[line("trace / HTTP/1.1"), line("TRACES / HTTP/1.1")],
        ),
        row(
            Rule::H1Sy16.fault(),
            &[
                &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n",
            ],
            &[line("PRIX / HTTP/1.1")],
        ),
        row(
            Rule::H1Ho01.fault(),
            &[
                "GET / HTTP/1.1\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
                "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
            ],
            &["GET / HTTP/1.1\r\nHost: a\r\nX-Host: b\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"],
        ),
        row(
            Rule::H1Ho02.fault(),
            &[
                "",
                "u@a",
                "a/b",
                "a, b",
                "a,b",
                "a b",
                "a\tb",
                "a:",
                "a:0",
                "a:65536",
                "a:b",
                "a:1:2",
                "[::1",
                "[::g]",
                "[fe80::1%25eth0]",
                "::1",
                "\u{e9}",
                "a?b",
                "a#b",
                "a\\b",
                "a%2",
                "http://a",
            ]
            .map(with_host),
            &["a", "A.b", "a:1", "a:65535", "127.0.0.1:80", "[::1]", "[::1]:8080", "a%20b", "_a-b.~"]
                .map(with_host),
        ),
        row(
            Rule::H1Ho03.fault(),
            &[
                "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
                "GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n",
            ],
            &[
                "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET HTTPS://a:1/x?y HTTP/1.1\r\nHost: A:1\r\n\r\n",
                "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET http://a/ HTTP/1.0\r\n\r\n",
            ],
        ),
        row(
            Rule::H1Ho04.fault(),
            &[
                "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
                "OPTIONS a HTTP/1.1\r\nHost: a\r\n\r\n",
                "OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n",
            ],
            &["OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS /a:80 HTTP/1.1\r\nHost: a\r\n\r\n"],
        ),
        row(
            Rule::H1Ho05.fault(),
            &["CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n", "CONNECT /"],
            &[line("CONNECTX / HTTP/1.1")],
        ),
        row(
            Rule::H1Co01.fault(),
            &[
                post(&format!("Connection: {}", vec!["x"; 33].join(","))),
                post("Connection: a, b, c\r\n".repeat(12).trim_end()),
            ],
            &[
                post(&format!("Connection: {}", vec!["x"; 32].join(","))),
                post(&format!("Connection: {}", vec!["close"; 100].join(","))),
            ],
        ),
        row(
            Rule::H1Co07.fault(),
            &[
                post("Content-Length: 1\r\nExpect: 100-continue, x"),
                post("Expect: 200-ok"),
                post("Expect:"),
                post("Expect: 100-continue\r\nExpect: 100-continue"),
            ],
            &[post("Content-Length: 1\r\nExpect: 100-Continue")],
        ),
        row(
            Rule::S8RequestLine.fault(),
            &[get(&format!("/{}", "a".repeat(16 * 1024 - 13))), format!("GET /{}", "a".repeat(16 * 1024))],
            &[get(&format!("/{}", "a".repeat(16 * 1024 - 14)))],
        ),
        row(
            Rule::S8FieldLine.fault(),
            &[
                post(&format!("X: {}", "a".repeat(16 * 1024 - 2))),
                format!("GET / HTTP/1.1\r\n{}", "a".repeat(16 * 1024 + 2)),
            ],
            &[post(&format!("X: {}", "a".repeat(16 * 1024 - 3)))],
        ),
        row(
            Rule::S8Head.fault(),
            &[sized(64 * 1024 + 1), post("X: a\r\n".repeat(128).trim_end())],
            &[sized(64 * 1024), post("X: a\r\n".repeat(127).trim_end())],
        ),
    ]
}

/// A sound head of that many bytes.
fn sized(bytes: usize) -> String {
    let mut head = "GET / HTTP/1.1\r\nHost: a\r\n".to_owned();
    while head.len() + 2 < bytes {
        let line = (bytes - head.len() - 2).min(16_000);
        let line = if bytes - head.len() - 2 - line < 8 { bytes - head.len() - 2 } else { line };
        head.extend(["X: ", &"a".repeat(line - 5), "\r\n"]);
    }
    head.push_str("\r\n");
    assert_eq!(head.len(), bytes);
    head
}

fn ok(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\n")
}

pub fn response_rows() -> Vec<Row> {
    let none: &[&str] = &[];
    vec![
        row(
            Rule::H1Up01.fault(),
            &[
                ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
                ok("Transfer-Encoding: x\r\nContent-Length: y\r\n"),
            ],
            &[ok("Content-Length: 5\r\nX-Transfer-Encoding: chunked\r\n")],
        ),
        row(
            Rule::H1Up02.fault(),
            &[
                ok("Content-Length: 5\r\nContent-Length: 6\r\n"),
                ok("Content-Length: 5\r\nContent-Length: 5\r\n"),
                ok("Content-Length: 5, 5\r\n"),
                ok("Content-Length: +5\r\n"),
                ok("Content-Length:\r\n"),
                ok("Content-Length: 9223372036854775808\r\n"),
                "HTTP/1.1 204 No Content\r\nContent-Length: x\r\n\r\n".to_owned(),
            ],
            &[ok("Content-Length: 5\r\n"), ok("Content-Length: 9223372036854775807\r\n")],
        ),
        row(
            Rule::H1Up03.fault(),
            &[
                ok("Transfer-Encoding: gzip, chunked\r\n"),
                ok("Transfer-Encoding: identity\r\n"),
                ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            ],
            &[ok("Transfer-Encoding: Chunked\r\n")],
        ),
        row(
            Rule::H1Up04.fault(),
            &[
                "HTTP/1.1 200 OK\nA: b\r\n\r\n",
                "HTTP/1.1 200 OK\r\nA: b\n\r\n",
                "HTTP/1.1 200 OK\r\n\n",
                "HTTP/1.1 200\n",
            ],
            &["HTTP/1.1 200 OK\r\n\r\n"],
        ),
        row(
            Rule::H1Up05.fault(),
            &[ok("A: b\r\n c\r\n"), ok("A : b\r\n"), ok(" A: b\r\n")],
            &[ok("A: b\r\n"), ok("A:  b  \r\n")],
        ),
        row(
            Rule::H1Up06.fault(),
            &[
                ok("A: b\0\r\n"),
                ok("A: b\rc\r\n"),
                ok("A: \u{7f}\r\n"),
                "HTTP/1.1 200 O\0K\r\n\r\n".to_owned(),
                "HTTP/1.1 200 O\rK\r\n\r\n".to_owned(),
                "HTTP/1.1 200 O\u{1b}[0mK\r\n\r\n".to_owned(),
            ],
            &[ok("A: b\tc\u{e9}\r\n"), "HTTP/1.1 200 \u{e9}\tx y\r\n\r\n".to_owned()],
        ),
        row(
            Rule::H1Up07.fault(),
            &[
                "HTTP/1.2 200 OK\r\n\r\n",
                "HTTP/2.0 200 OK\r\n\r\n",
                "HTTP/1.1 20 OK\r\n\r\n",
                "HTTP/1.1 2000 OK\r\n\r\n",
                "HTTP/1.1  200 OK\r\n\r\n",
                "HTTP/1.1 099 OK\r\n\r\n",
                "HTTP/1.1 600 OK\r\n\r\n",
                "http/1.1 200 OK\r\n\r\n",
                "HTTP/1.1 200-OK\r\n\r\n",
                "\r\nHTTP/1.1 200 OK\r\n\r\n",
                "ICY 200 OK\r\n\r\n",
                "<html>",
                "HTTP/1.1 -20 OK\r\n\r\n",
                "HTTP/1.1 200\rX",
            ],
            &[
                "HTTP/1.1 200\r\n\r\n",
                "HTTP/1.1 200 \r\n\r\n",
                "HTTP/1.0 599 x\r\n\r\n",
                "HTTP/1.1 100 Continue\r\n\r\n",
            ],
        ),
        row(
            Rule::H1Sy08.fault().by_upstream(),
            &[ok("A\r\n"), ok(": b\r\n"), ok("A b: c\r\n"), ok("A\u{e9}: c\r\n")],
            none,
        ),
        row(
            Rule::H1Up09.fault(),
            &["HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"],
            &["HTTP/1.1 103 Early Hints\r\n\r\n"],
        ),
        row(
            Rule::H1Co01.fault().by_upstream(),
            &[ok(&format!("Connection: {}\r\n", vec!["x"; 33].join(",")))],
            &[ok(&format!("Connection: {}\r\n", vec!["x"; 32].join(",")))],
        ),
        row(
            Rule::H1Up13.fault(),
            &[
                ok(&"A: b\r\n".repeat(201)),
                ok(&format!("A: {}\r\n", "b".repeat(64 * 1024))),
                format!("HTTP/1.1 200 {}", "x".repeat(64 * 1024)),
            ],
            &[ok(&"A: b\r\n".repeat(200)), ok(&format!("A: {}\r\n", "b".repeat(63 * 1024)))],
        ),
    ]
}

/// Bytes of payload the chunk rows allow.
pub const DATA_MAX: u64 = 1 << 20;

pub fn chunk_rows() -> Vec<Row> {
    let end = "0\r\n\r\n";
    let extended = |bytes: usize| format!("1;{}\r\nx\r\n", "e".repeat(bytes - 1));
    let fields = |n: usize| format!("0\r\n{}\r\n", "A: b\r\n".repeat(n));
    let trailer = |bytes: usize| format!("0\r\nA: {}\r\n\r\n", "b".repeat(bytes - 7));
    vec![
        row(
            Rule::H1Ch01.fault(),
            &[
                "x",
                "\r\n\r\n",
                ";a\r\n",
                "0x1\r\n",
                "1x\r\n",
                "-1\r\n",
                "+1\r\n",
                "1.\r\n",
                "00000000000000001\r\n",
                "10000000000000000\r\n",
                "8000000000000000\r\n",
                "ffffffffffffffff\r\n",
                "1\0\r\n",
                "3\r\nfoo\r\n\r\n",
            ],
            &[
                "0000000000000001\r\nx\r\n0\r\n\r\n",
                "1\r\nx\r\n000\r\n\r\n",
                "A\r\n0123456789\r\n0\r\n\r\n",
                "a\r\n0123456789\r\n0\r\n\r\n",
            ],
        ),
        row(
            Rule::H1Ch02.fault(),
            &[
                "1\nx\r\n",
                "1\rx\r\n",
                "1\r\nx\n",
                "1\r\nx\r0",
                "1\r\nxy",
                "1\r\nxy\r\n0\r\n\r\n",
                "0\r\n\n",
                "0\n\r\n",
                "0\r\n\rX",
                "1;a\nx\r\n",
                "1;a\rx\r\n",
                "0\r\nA: b\n\r\n",
                "1\r\r;ABCD\r\n",
                "\n",
            ],
            &["1\r\nx\r\n0\r\n\r\n"],
        ),
        row(
            Rule::H1Ch03.fault(),
            &[" 1\r\n", "\t1\r\n", "1 \r\n", "1\t\r\n", "1 1\r\n", "1 \n", "0 \r\n\r\n"],
            &["1 ;a\r\nx\r\n0\r\n\r\n", "1\t ; a\r\nx\r\n0\r\n\r\n"],
        ),
        row(
            Rule::H1Ch04.fault(),
            &[
                "1;\r\n".to_owned(),
                "1;=\r\n".to_owned(),
                "1;a=\r\n".to_owned(),
                "1;a=b c\r\n".to_owned(),
                "1;a;\r\n".to_owned(),
                "1;a=\"b\r\n".to_owned(),
                "1;a=\"b\\\r\n".to_owned(),
                "1;a=\"\0\"\r\n".to_owned(),
                "1;a\0\r\n".to_owned(),
                "1;a\u{e9}\r\n".to_owned(),
                "1;a=\"b\"c\r\n".to_owned(),
                extended(257),
                format!("1;{}", "e".repeat(256)),
                extended(256).repeat(65),
                "0000000000000001\r\nx\r\n".repeat(4000), // 20 bytes of framing to one
            ],
            &[
                format!("1;a\r\nx\r\n{end}"),
                format!("1;a=b;c=\"d;\\\" \te\u{e9}\" ; f = g\r\nx\r\n{end}"),
                format!("{}{end}", extended(256)),
                format!("{}{end}", extended(256).repeat(64)),
                format!("{}{end}", "1\r\nx\r\n".repeat(40_000)),
                format!("{}{end}", "0000000000000002\r\nxx\r\n".repeat(4000)),
            ],
        ),
        row(
            Rule::H1Ch05.fault(),
            &[
                "0\r\nA\r\n",
                "0\r\n: b\r\n",
                "0\r\nA : b\r\n",
                "0\r\n A: b\r\n",
                "0\r\nA: b\r\n c\r\n",
                "0\r\nA: \0\r\n",
                "0\r\nA b: c\r\n",
            ],
            &["0\r\nA: b\r\n\r\n", "0\r\nA:\r\nContent-Length: 5\r\n\r\n", "1\r\nx\r\n0;e\r\nA: b\r\n\r\n"],
        ),
        row(
            Rule::H1Ch05.with(431),
            &[fields(17), trailer(4 * 1024 + 1), format!("0\r\nA: {}", "b".repeat(4 * 1024))],
            &[fields(16), trailer(4 * 1024)],
        ),
        row(
            Rule::H1Ch06.fault(),
            &[
                format!("{:x}\r\n", DATA_MAX + 1),
                format!("1\r\nx\r\n{DATA_MAX:x}\r\n"),
                "7fffffffffffffff\r\n".to_owned(),
            ],
            &[format!("{DATA_MAX:x}\r\n{}\r\n{end}", "x".repeat(DATA_MAX as usize))],
        ),
    ]
}

#[test]
fn each_request_rule_refuses_what_breaks_it_and_nothing_else() {
    for row in request_rows() {
        for bytes in &row.breaks {
            assert_eq!(request(bytes, []), Err(row.rule.with(row.status)), "{}", show(bytes));
        }
        for bytes in &row.passes {
            assert!(matches!(request(bytes, []), Ok(Some(_))), "{:?}: {}", request(bytes, []), show(bytes));
        }
    }
}

#[test]
fn each_response_rule_refuses_what_breaks_it_and_nothing_else() {
    for row in response_rows() {
        for bytes in &row.breaks {
            assert_eq!(
                response(bytes, [], Asked::default()),
                Err(row.rule.with(row.status)),
                "{}",
                show(bytes)
            );
            assert_eq!(row.status, 502, "every breach of an upstream is a 502");
        }
        for bytes in &row.passes {
            let passed = response(bytes, [], Asked::default());
            assert!(matches!(passed, Ok(Some(_))), "{passed:?}: {}", show(bytes));
        }
    }
}

#[test]
fn each_chunk_rule_refuses_what_breaks_it_and_nothing_else() {
    for row in chunk_rows() {
        for mode in [Mode::Decode, Mode::Verbatim] {
            for bytes in &row.breaks {
                let fed = body(bytes, [], mode, DATA_MAX);
                assert_eq!(fed.fault, Some(row.rule.with(row.status)), "{}", show(bytes));
            }
            for bytes in &row.passes {
                let fed = body(bytes, [], mode, DATA_MAX);
                assert!(fed.done && fed.left == 0, "{:?}: {}", fed.fault, show(bytes));
            }
        }
    }
}

#[test]
fn a_body_above_the_limit_is_refused_before_it_is_read() {
    let max = 5;
    let over = framed(Framing::Length(6), b"", [], Mode::Decode, max);
    assert_eq!(over.fault, Some(Rule::H1Fr04.fault()));
    assert!(framed(Framing::Length(5), b"12345", [], Mode::Decode, max).done);
    assert_eq!(
        framed(Framing::UntilClose, b"123456", [], Mode::Decode, max).fault,
        Some(Rule::H1Ch06.fault())
    );
    assert_eq!(framed(Framing::UntilClose, b"12345", [], Mode::Decode, max).data, b"12345");
}

#[test]
fn without_a_framing_field_there_is_no_body_whatever_the_method_or_version() {
    for start in ["POST / HTTP/1.1", "PUT / HTTP/1.0", "GET / HTTP/1.1", "X / HTTP/1.1"] {
        let head = request(line(start).as_bytes(), []).unwrap().unwrap();
        assert_eq!(head.framing, Framing::None, "H1-FR-07: {start}");
    }
}

#[test]
fn no_method_changes_the_framing() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "BREW"] {
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(
            request(head.as_bytes(), []).unwrap().unwrap().framing,
            Framing::Length(5),
            "H1-FR-08: {method}"
        );
    }
}

#[test]
fn only_the_whole_field_name_frames() {
    for name in
        ["Content_Length", "X-Content-Length", "Content-Lengths", "ContentLength", "Transfer_Encoding"]
    {
        let head = request(post(&format!("{name}: 5")).as_bytes(), []).unwrap().unwrap();
        assert_eq!(head.framing, Framing::None, "H1-FR-10: {name}");
    }
    let head = request(post("cOnTeNt-LeNgTh: 5").as_bytes(), []).unwrap().unwrap();
    assert_eq!(head.framing, Framing::Length(5));
}

#[test]
fn bytes_above_ascii_pass_in_a_value() {
    for byte in 0x80..=0xff {
        let head = request(&value(&[byte]), []).unwrap().unwrap();
        assert_eq!(head.fields[1].1, [b'a', byte, b'b'], "H1-SY-04");
    }
}

#[test]
fn a_path_with_dot_segments_is_not_plain() {
    assert!(path_is_plain(b"/v1/models"), "H1-SY-13");
    assert!(!path_is_plain(b"/v1/%2e%2e/admin"), "H1-SY-13");
}

#[test]
fn an_absolute_target_must_name_the_scheme_of_the_listener() {
    let mut head = RequestHead::new();
    let bytes = b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(head.parse(bytes, &HeadBounds::default()), Ok(Parse::Complete));
    assert_eq!(head.check_scheme(Scheme::Http), Err(Rule::H1Ho03.fault()));
    assert_eq!(head.check_scheme(Scheme::Https), Ok(()));
    assert_eq!(head.parse(get("/").as_bytes(), &HeadBounds::default()), Ok(Parse::Complete));
    assert_eq!(head.check_scheme(Scheme::Http), Ok(()));
}

#[test]
fn the_authority_of_an_absolute_target_is_the_host_and_the_rest_is_the_target() {
    for (target, origin) in [("http://h:1/p?q", "/p?q"), ("http://h:1", "/"), ("http://h:1/", "/")] {
        let head =
            request(format!("GET {target} HTTP/1.1\r\nHost: H:1\r\n\r\n").as_bytes(), []).unwrap().unwrap();
        assert_eq!((head.host.as_slice(), head.target.as_slice()), (&b"h:1"[..], origin.as_bytes()));
    }
}

#[test]
fn close_on_any_line_in_any_case_closes() {
    let alive = |lines: &str| request(post(lines).as_bytes(), []).unwrap().unwrap().keep_alive;
    assert!(alive("X: close"), "H1-CO-03");
    assert!(alive("Connection: keep-alive, closed"));
    assert!(!alive("Connection: x , ClOsE"));
    assert!(!alive("Connection: keep-alive\r\nConnection:close"));
}

#[test]
fn http_1_0_closes_unless_asked_to_stay() {
    let alive = |lines: &str| {
        let head = format!("GET / HTTP/1.0\r\n{lines}\r\n");
        request(head.as_bytes(), []).unwrap().unwrap().keep_alive
    };
    assert!(!alive(""), "H1-CO-04");
    assert!(alive("Connection: Keep-Alive\r\n"));
    assert!(!alive("Connection: keep-alive, close\r\n"));
}

#[test]
fn only_an_http_1_1_request_with_a_body_waits_for_a_100() {
    let expects = |head: &str| request(head.as_bytes(), []).unwrap().unwrap().expect_continue;
    assert!(expects(&post("Content-Length: 1\r\nExpect: 100-continue")), "H1-CO-07");
    assert!(expects(&post("Transfer-Encoding: chunked\r\nexpect: 100-CONTINUE")));
    assert!(!expects(&post("Expect: 100-continue")));
    assert!(!expects(&post("Content-Length: 0\r\nExpect: 100-continue")));
    assert!(!expects("POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"));
}

#[test]
fn responses_that_cannot_have_a_body_have_none_whatever_they_say() {
    for status in [100, 103, 199, 204, 304] {
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n");
        let head = response(head.as_bytes(), [], Asked::default()).unwrap().unwrap();
        assert_eq!(head.framing, Framing::None, "H1-UP-10: {status}");
    }
    let head = response(ok("Content-Length: 5\r\n").as_bytes(), [], Asked { head: true }).unwrap().unwrap();
    assert_eq!(head.framing, Framing::None);
    let head = response(ok("").as_bytes(), [], Asked::default()).unwrap().unwrap();
    assert_eq!((head.framing, head.keep_alive), (Framing::UntilClose, false));
}

#[test]
fn end_of_input_inside_a_body_does_not_complete_it() {
    use ringway_wire::http1::Body;
    let ended = |framing, bytes: &[u8]| {
        let mut body = Body::new(framing, Mode::Verbatim, u64::MAX);
        body.advance(&mut bytes.to_vec(), &mut Vec::new()).unwrap();
        body.end_of_input()
    };
    assert!(!ended(Framing::Length(2), b"x"), "H1-CH-08");
    assert!(ended(Framing::Length(2), b"xx"));
    assert!(ended(Framing::None, b""));
    assert!(ended(Framing::UntilClose, b"x"));
    assert!(!ended(Framing::Chunked, b"1\r\nx\r\n"), "H1-UP-12");
    assert!(!ended(Framing::Chunked, b"1\r\nx\r\n0\r\n"));
    assert!(ended(Framing::Chunked, b"1\r\nx\r\n0\r\n\r\n"));
}

/// Rules no head or body alone can break, and who keeps each.
const KEPT_ELSEWHERE: &[(Rule, &str)] = &[
    (Rule::H1Fr04, "tested above with Body"),
    (Rule::H1Fr07, "tested above"),
    (Rule::H1Fr08, "tested above"),
    (Rule::H1Fr09, "downstream connection: early answers"),
    (Rule::H1Fr10, "tested above"),
    (Rule::H1Ch07, "splits.rs: nothing of an unfinished line is kept"),
    (Rule::H1Ch08, "tested above"),
    (Rule::H1Sy04, "tested above"),
    (Rule::H1Sy13, "tested above"),
    (Rule::H1Ho06, "rewriting.rs"),
    (Rule::H1Ho07, "routing and auth"),
    (Rule::H1Co02, "rewriting.rs"),
    (Rule::H1Co03, "tested above"),
    (Rule::H1Co04, "tested above"),
    (Rule::H1Co05, "downstream connection"),
    (Rule::H1Co06, "rewriting.rs"),
    (Rule::H1Co08, "downstream connection"),
    (Rule::H1Co09, "downstream connection"),
    (Rule::H1Co10, "downstream connection"),
    (Rule::H1Rs01, "rewriting.rs"),
    (Rule::H1Rs02, "rewriting.rs"),
    (Rule::H1Rs03, "rewriting.rs, props.rs"),
    (Rule::H1Rs04, "reply"),
    (Rule::H1Rs05, "exchange"),
    (Rule::H1Rs06, "rewriting.rs"),
    (Rule::H1Up08, "exchange: counts interim responses"),
    (Rule::H1Up10, "tested above; pooling is the upstream connection's"),
    (Rule::H1Up11, "upstream pool"),
    (Rule::H1Up12, "tested above"),
    (Rule::H1Up14, "splits.rs: extensions and trailers are cut out"),
    (Rule::H1Up15, "rewriting.rs"),
    (Rule::H1Up16, "rewriting.rs"),
    (Rule::H1Up17, "exchange"),
];

#[test]
fn every_rule_is_in_a_table_or_says_who_keeps_it() {
    let rows: Vec<Rule> =
        [request_rows(), response_rows(), chunk_rows()].into_iter().flatten().map(|row| row.rule).collect();
    for (index, &rule) in Rule::ALL.iter().enumerate() {
        assert_eq!(rule.index(), index);
        let elsewhere = KEPT_ELSEWHERE.iter().any(|&(kept, _)| kept == rule);
        assert!(rows.contains(&rule) != elsewhere, "{}", rule.id());
    }
}

#[test]
fn rule_ids_are_distinct() {
    let mut ids: Vec<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), Rule::ALL.len());
}

pub fn show(bytes: &[u8]) -> String {
    let shown = bytes[..bytes.len().min(200)].escape_ascii();
    format!("\"{shown}\" ({} bytes)", bytes.len())
}
