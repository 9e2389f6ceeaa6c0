//! What reaches an upstream and a client, byte for byte.

use ringway_wire::http1::{
    Asked, Body, Framing, HeadBounds, Mode, Parse, RequestHead, RequestOut, ResponseHead, ResponseOut,
    Version, write_request, write_response,
};
use std::net::{IpAddr, Ipv4Addr};

pub const OUT: RequestOut<'static> = RequestOut {
    base_path: b"",
    host: b"upstream:8000",
    renamed: None,
    framing: Framing::None,
    forwarded_for: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
    forwarded_proto: "http",
    trust_forwarded: false,
    request_id: b"id-1",
    strip_credentials: false,
    decoded: false,
    credential: None,
    identity_coding: false,
    instead: None,
    close: false,
};

/// What `OUT` adds behind the client's fields.
const ADDED: &str = "x-forwarded-for: 192.0.2.7\r\nx-forwarded-proto: http\r\nx-request-id: id-1\r\n";

pub fn rewrite(bytes: &[u8], how: &RequestOut<'_>) -> Vec<u8> {
    let mut head = RequestHead::new();
    assert_eq!(head.parse(bytes, &HeadBounds::REQUEST), Ok(Parse::Complete), "{}", bytes.escape_ascii());
    let mut out = Vec::new();
    write_request(&mut out, &head, bytes, how);
    out
}

/// The fields that went on between Host and what the gateway adds, and the request line.
fn upstream(lines: &str, how: &RequestOut<'_>) -> String {
    String::from_utf8(rewrite(format!("GET /p HTTP/1.1\r\nHost: client\r\n{lines}\r\n").as_bytes(), how))
        .unwrap()
}

fn expect(lines: &str, how: &RequestOut<'_>, kept: &str) {
    let expected = format!("GET /p HTTP/1.1\r\nhost: upstream:8000\r\n{kept}{ADDED}\r\n");
    assert_eq!(upstream(lines, how), expected, "{lines}");
}

#[test]
fn the_upstreams_host_is_the_configured_one() {
    expect("", &OUT, ""); // H1-HO-06
    assert!(!upstream("", &OUT).contains("client"));
}

#[test]
fn end_to_end_fields_go_on_as_they_came_and_in_order() {
    expect(
        "B: 1\r\naccept:*/*\r\nB:   2\t \r\nEmpty:\r\n",
        &OUT,
        "B: 1\r\naccept: */*\r\nB: 2\r\nEmpty: \r\n",
    );
}

#[test]
fn hop_by_hop_fields_end_here() {
    let lines = "Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: t=1\r\nProxy-Connection: close\r\nTE: trailers\r\n\
                 Upgrade: h2c\r\nHTTP2-Settings: x\r\nProxy-Authenticate: x\r\nProxy-Authorization: x\r\nTrailer: x\r\n\
                 X-Hop2: stays\r\nCONNECTION: x-last\r\nx-LAST: 1\r\n";
    expect(lines, &OUT, "X-Hop2: stays\r\n"); // H1-CO-01, H1-CO-06
}

#[test]
fn connection_cannot_remove_what_is_end_to_end_or_ours() {
    let lines = "Connection: authorization, cookie, content-type, content-language, host, x-forwarded-for, x-request-id\r\n\
                 Authorization: a\r\nCookie: b\r\nContent-Type: c\r\nContent-Language: d\r\n";
    expect(lines, &OUT, "Authorization: a\r\nCookie: b\r\nContent-Type: c\r\nContent-Language: d\r\n"); // H1-CO-02
}

#[test]
fn expect_is_never_forwarded() {
    let body = RequestOut { framing: Framing::Length(1), ..OUT };
    let out = upstream("Content-Length: 1\r\nExpect: 100-continue\r\n", &body);
    assert_eq!(out, format!("GET /p HTTP/1.1\r\nhost: upstream:8000\r\n{ADDED}content-length: 1\r\n\r\n")); // H1-CO-07
}

#[test]
fn exactly_one_framing_field_is_sent_and_it_is_ours() {
    let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let count = |framing| {
        let out = String::from_utf8(rewrite(chunked, &RequestOut { framing, ..OUT })).unwrap();
        (out.matches("content-length: ").count(), out.matches("transfer-encoding: chunked\r\n").count())
    };
    assert_eq!(count(Framing::Chunked), (0, 1));
    assert_eq!(count(Framing::Length(7)), (1, 0));
    assert_eq!(count(Framing::None), (1, 0)); // a POST without a body says so
}

#[test]
fn strangers_do_not_say_where_a_request_came_from() {
    let lines = "X-Forwarded-For: 1.1.1.1\r\nx-forwarded-host: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\n\
                 Forwarded: for=x\r\nX-Real-IP: 1.1.1.1\r\nX-Request-Id: evil\r\ntraceparent: t\r\ntracestate: s\r\n\
                 X_Forwarded_For: 1.1.1.1\r\nx_forwarded_host: h\r\n";
    expect(lines, &OUT, ""); // SEC-INJ-04
}

#[test]
fn a_trusted_peer_keeps_its_word_and_is_appended() {
    let trusting = RequestOut { trust_forwarded: true, ..OUT };
    let lines = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\ntraceparent: t\r\nX-Forwarded-For:\r\nX-Forwarded-For: 2.2.2.2, 3.3.3.3\r\n";
    let expected = "GET /p HTTP/1.1\r\nhost: upstream:8000\r\nX-Forwarded-Proto: https\r\ntraceparent: t\r\n\
                    x-forwarded-for: 1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7\r\nx-request-id: id-1\r\n\r\n";
    assert_eq!(upstream(lines, &trusting), expected);
    let v6 = RequestOut { forwarded_for: "2001:db8::7".parse().unwrap(), ..OUT };
    assert!(upstream("", &v6).contains("x-forwarded-for: 2001:db8::7\r\n"));
    let mapped = RequestOut { forwarded_for: "::ffff:192.0.2.7".parse().unwrap(), ..OUT };
    assert!(upstream("", &mapped).contains("x-forwarded-for: 192.0.2.7\r\n"));
}

#[test]
fn nobody_else_speaks_in_our_name_or_sets_a_proxy() {
    let lines = "X-Ringway-Tenant: a\r\nx_ringway_tenant: a\r\nX-Ringway_Cost: 0\r\nProxy: http://evil\r\n";
    expect(lines, &OUT, ""); // SEC-INJ-05, SEC-INJ-06
}

#[test]
fn every_client_credential_is_replaced_wherever_it_was_put() {
    let canaries = "GET /p?a=1&key=CANARY&api%5fkey=CANARY;access_token=CANARY&b=%20 HTTP/1.1\r\nHost: a\r\n\
                    Authorization: Bearer CANARY\r\nProxy-Authorization: CANARY\r\nx-api-key: CANARY\r\napi-key: CANARY\r\n\
                    X-Goog-Api-Key: CANARY\r\nCookie: CANARY\r\nx_api_key: CANARY\r\nX-Kept: 1\r\n\r\n";
    let how = RequestOut { credential: Some((b"authorization", b"Bearer ours")), ..OUT };
    let out = String::from_utf8(rewrite(canaries.as_bytes(), &how)).unwrap();
    let expected = format!(
        "GET /p?a=1&b=%20 HTTP/1.1\r\nhost: upstream:8000\r\nX-Kept: 1\r\n{ADDED}authorization: Bearer ours\r\n\r\n"
    );
    assert_eq!(out, expected); // SEC-KEY-05
    let out = String::from_utf8(rewrite(canaries.as_bytes(), &RequestOut { strip_credentials: true, ..OUT }))
        .unwrap();
    assert!(!out.contains("CANARY") && !out.contains("uthorization"));
    let out = String::from_utf8(rewrite(b"GET /?key=s HTTP/1.1\r\nHost: a\r\n\r\n", &how)).unwrap();
    assert!(out.starts_with("GET / HTTP/1.1\r\n"));
    let passed = rewrite(canaries.as_bytes(), &OUT);
    assert_eq!(String::from_utf8(passed).unwrap().matches("CANARY").count(), 8, "a plain proxy passes them");
}

#[test]
fn the_gateway_asks_for_identity_where_it_must_read() {
    let how = RequestOut { identity_coding: true, close: true, ..OUT };
    let out = upstream("Accept-Encoding: gzip\r\n", &how);
    assert!(out.ends_with("accept-encoding: identity\r\nconnection: close\r\n\r\n")); // H1-UP-16
    assert!(!out.contains("gzip"));
    expect("Accept-Encoding: gzip\r\n", &OUT, "Accept-Encoding: gzip\r\n");
}

#[test]
fn targets_go_on_in_origin_form_below_the_base_path() {
    let line = |start: &str, base_path: &[u8]| {
        let out = rewrite(format!("{start}\r\nHost: h\r\n\r\n").as_bytes(), &RequestOut { base_path, ..OUT });
        String::from_utf8(out).unwrap().split(" HTTP").next().unwrap().to_owned()
    };
    assert_eq!(line("GET /a/../b?%20 HTTP/1.1", b""), "GET /a/../b?%20"); // H1-SY-13: never normalised
    assert_eq!(line("GET /a?x HTTP/1.1", b"/base"), "GET /base/a?x");
    assert_eq!(line("GET /a HTTP/1.1", b"/base/"), "GET /base/a");
    assert_eq!(line("GET /a? HTTP/1.1", b"/"), "GET /a?");
    assert_eq!(line("GET http://h/a?x HTTP/1.1", b"/base"), "GET /base/a?x");
    assert_eq!(line("GET http://h HTTP/1.1", b""), "GET /");
    assert_eq!(line("OPTIONS http://h HTTP/1.1", b""), "OPTIONS *");
    assert_eq!(line("OPTIONS http://h/ HTTP/1.1", b""), "OPTIONS /");
    assert_eq!(line("OPTIONS / HTTP/1.1", b""), "OPTIONS /");
    assert_eq!(line("OPTIONS * HTTP/1.1", b"/base"), "OPTIONS *");
    assert_eq!(line("get / HTTP/1.0", b""), "get /");
}

const BACK: ResponseOut<'static> = ResponseOut {
    framing: Framing::Length(5),
    close: false,
    kept: None,
    version: Version::Http11,
    date: b"Tue, 15 Nov 1994 08:12:31 GMT",
    request_id: b"id-1",
    extra: &[],
    head_request: false,
};

const TAIL: &str =
    "date: Tue, 15 Nov 1994 08:12:31 GMT\r\nx-request-id: id-1\r\nx-ringway-request-id: id-1\r\n";

fn back(head: &str, how: &ResponseOut<'_>) -> String {
    let mut parsed = ResponseHead::new();
    let asked = Asked { head: how.head_request };
    assert_eq!(parsed.parse(head.as_bytes(), &HeadBounds::RESPONSE, &asked), Ok(Parse::Complete), "{head}");
    let mut out = Vec::new();
    write_response(&mut out, &parsed, head.as_bytes(), how);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_response_is_written_with_our_framing_a_date_and_ids() {
    let out = back(
        "HTTP/1.0 200 Fine\r\nContent-Length: 9\r\nServer: s\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n",
        &BACK,
    );
    let expected = format!(
        "HTTP/1.1 200 Fine\r\nServer: s\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n{TAIL}content-length: 5\r\n\r\n"
    );
    assert_eq!(out, expected); // H1-RS-02, H1-RS-06
}

#[test]
fn hop_by_hop_fields_of_an_upstream_end_here() {
    let head = "HTTP/1.1 200 OK\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: x\r\nTransfer-Encoding: chunked\r\n\
                Trailer: x\r\nUpgrade: x\r\nProxy-Authenticate: x\r\nX-Ringway-Backend: fake\r\n\r\n";
    let out = back(head, &ResponseOut { framing: Framing::Chunked, ..BACK });
    assert_eq!(out, format!("HTTP/1.1 200 OK\r\n{TAIL}transfer-encoding: chunked\r\n\r\n")); // H1-CO-01, H1-UP-15
}

#[test]
fn the_upstreams_date_and_request_id_stay_and_ours_stands_beside_it() {
    let out =
        back("HTTP/1.1 200 OK\r\nDate: then\r\nX-Request-ID: req_1\r\nx-request-id: req_2\r\n\r\n", &BACK);
    let expected = "HTTP/1.1 200 OK\r\nDate: then\r\nX-Request-ID: req_1\r\nx-ringway-request-id: id-1\r\ncontent-length: 5\r\n\r\n";
    assert_eq!(out, expected);
}

#[test]
fn responses_without_a_body_have_no_framing_unless_they_may_announce_one() {
    let framing = |status: u16, length: &str, how: &ResponseOut<'_>| {
        let out = back(&format!("HTTP/1.1 {status} x\r\n{length}\r\n"), how);
        let length = out.lines().find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
        assert!(!out.contains("transfer-encoding"));
        length
    };
    let none = ResponseOut { framing: Framing::None, ..BACK };
    for status in [100, 103, 204] {
        assert_eq!(framing(status, "Content-Length: 9\r\n", &none), None, "H1-RS-01: {status}");
        assert_eq!(framing(status, "", &BACK), None, "H1-RS-01: {status}");
    }
    let head = ResponseOut { head_request: true, ..none };
    for (status, how) in [(304, &none), (304, &head), (200, &head)] {
        assert_eq!(framing(status, "Content-Length: 9\r\n", how).as_deref(), Some("9"), "H1-RS-01: {status}");
        assert_eq!(framing(status, "", how), None, "H1-RS-01: {status}");
    }
    assert_eq!(framing(205, "Content-Length: 9\r\n", &BACK).as_deref(), Some("0"), "H1-RS-01");
    assert_eq!(framing(200, "", &none).as_deref(), Some("0"), "H1-RS-02");
}

#[test]
fn the_connection_field_follows_the_client() {
    let ok = "HTTP/1.1 200 OK\r\n\r\n";
    let old = ResponseOut { version: Version::Http10, ..BACK };
    assert!(!back(ok, &BACK).contains("connection:"));
    assert!(back(ok, &ResponseOut { close: true, ..BACK }).contains("\r\nconnection: close\r\n"));
    assert!(back(ok, &old).contains("\r\nconnection: keep-alive\r\n"));
    let until_close = ResponseOut { framing: Framing::UntilClose, close: true, ..old };
    assert!(back(ok, &until_close).ends_with("\r\nconnection: close\r\n\r\n"));
}

#[test]
fn unsafe_extra_fields_are_left_out() {
    let extra: &[(&[u8], &[u8])] = &[
        (b"x-a", b"1"),
        (b"x-b", b"1\r\nSet-Cookie: x"),
        (b"x c", b"1"),
        (b"", b"1"),
        (b"x-d", b"\0"),
        (b"x-e", b"\xff"),
    ];
    let head = b"HTTP/1.1 200 OK\r\n\r\n";
    let mut parsed = ResponseHead::new();
    parsed.parse(head, &HeadBounds::RESPONSE, &Asked::default()).unwrap();
    let mut out = Vec::new();
    write_response(&mut out, &parsed, head, &ResponseOut { extra, ..BACK });
    let mut again = ResponseHead::new();
    assert_eq!(again.parse(&out, &HeadBounds::RESPONSE, &Asked::default()), Ok(Parse::Complete));
    let names: Vec<&[u8]> = again.fields().iter().map(|field| field.name.of(&out)).collect();
    let expected: [&[u8]; 6] =
        [b"date", b"x-request-id", b"x-ringway-request-id", b"x-a", b"x-e", b"content-length"];
    assert_eq!(names, expected); // H1-RS-03
}

#[test]
fn a_chunk_of_ours_stands_between_chunks_and_nowhere_else() {
    const OURS: &[u8] = b"3\r\n:\n\n\r\n";
    let decoded = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let mut body = Body::new(Framing::Chunked, Mode::Decode, u64::MAX);
        let advance = body.advance(&mut bytes, &mut Vec::new()).unwrap();
        assert!(advance.done, "{}", bytes.escape_ascii());
        bytes[..advance.keep].to_vec()
    };
    let stream = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n";
    let mut places = 0;
    for cut in 0..=stream.len() {
        let mut body = Body::new(Framing::Chunked, Mode::Verbatim, u64::MAX);
        let mut first = stream[..cut].to_vec();
        let advance = body.advance(&mut first, &mut Vec::new()).unwrap();
        if !body.is_between_chunks() {
            continue;
        }
        places += 1;
        let mut rest = stream[advance.consumed..].to_vec();
        let then = body.advance(&mut rest, &mut Vec::new()).unwrap();
        let sent = [&first[..advance.keep], OURS, &rest[..then.keep]].concat();
        let text = String::from_utf8(decoded(&sent)).unwrap();
        assert_eq!(text.replace(":\n\n", ""), "hello world", "at {cut}");
    }
    assert_eq!(places, 13, "wherever a size line has not come whole");
}
