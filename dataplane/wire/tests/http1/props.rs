//! Properties: no bytes make a parser panic or see two things in one input; nothing the writer is given gets out as
//! another field; what it writes reads back as what went in.

use crate::drive::{body, every_byte, framed, request, response};
use crate::rewriting::OUT;
use proptest::prelude::*;
use ringway_wire::http1::{
    Asked, Framing, HeadBounds, Known, Mode, Parse, RequestHead, RequestOut, ResponseHead, ResponseOut,
    Version, field_value_is_safe, path_is_plain, query, write_chunk_head, write_request, write_response,
};

/// Heads that are nearly right, by putting together pieces of heads.
fn nearly_a_head(starts: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let lines: &[&str] = &[
        "Host: a\r\n",
        "host: [::1]:80\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 05\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Connection: close, x\r\n",
        "X: y\r\n",
        "X:\r\n",
        "Expect: 100-continue\r\n",
        "Content_Length: 5\r\n",
        " fold\r\n",
        "X : y\r\n",
        ": y\r\n",
        "X\r\n",
        "X: \r y\r\n",
        "X: y\n",
        "\r\n",
        "\r",
        "\n",
        " ",
        ":",
        "Date: x\r\n",
        "Content-Type: text/event-stream\r\n",
    ];
    let piece = prop_oneof![
        9 => prop::sample::select(lines).prop_map(|line| line.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ];
    (prop::sample::select(starts), prop::collection::vec(piece, 0..8), any::<bool>()).prop_map(
        |(start, pieces, ends)| {
            [start.as_bytes(), &pieces.concat(), if ends { b"\r\n" } else { b"" }].concat()
        },
    )
}

const REQUEST_STARTS: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a?b HTTP/1.0\r\n",
    "GET http://a/ HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "\r\nGET / HTTP/1.1\r\n",
    "GET /",
    "GET / HTTP/1.",
    "GET  / HTTP/1.1\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
    "",
];
const RESPONSE_STARTS: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 404\r\n",
    "HTTP/1.1 204 \r\n",
    "HTTP/1.1 103 Early\r\n",
    "HTTP/1.1 20",
    "HTTP/1.1 999 x\r\n",
    "",
];

/// One request as its parts, all of them sound.
#[derive(Clone, Debug)]
struct Parts {
    method: String,
    path: String,
    query: Option<String>,
    fields: Vec<(String, Vec<u8>)>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let name = prop_oneof![
        4 => "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,20}",
        1 => prop::sample::select(vec!["Authorization", "Cookie", "x-api-key", "X-Forwarded-For", "X-Ringway-A", "TE", "Accept-Encoding", "Date"])
            .prop_map(str::to_owned),
    ];
    let text: Vec<u8> = (0..=255).filter(|b| *b == b'\t' || (*b >= 32 && *b != 127)).collect();
    let value = prop::collection::vec(prop::sample::select(text), 0..40);
    let framing = |name: &str| {
        ["host", "content-length", "transfer-encoding", "connection", "expect"]
            .iter()
            .any(|n| n.eq_ignore_ascii_case(name))
    };
    let field = (name, value).prop_filter("not about framing", move |(name, _)| !framing(name));
    let query = prop::option::of(
        "((key|api_key|a|%6bey|[a-z]{0,3})(=[a-z0-9%/?]{0,4})?[&;]?){0,4}"
            .prop_map(|q: String| q.replace('%', "%41")),
    );
    let method = "(GET|POST|DELETE|OPTIONS|[A-Z]{1,24})"
        .prop_filter("allowed", |m| !["CONNECT", "TRACE", "PRI", "PROXY"].contains(&m.as_str()));
    (method, "(/[a-zA-Z0-9._~:@!$&'()*+,;=-]{0,9}){1,4}", query, prop::collection::vec(field, 0..12))
        .prop_map(|(method, path, query, fields)| Parts { method, path, query, fields })
}

impl Parts {
    fn wire(&self) -> Vec<u8> {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let mut out =
            format!("{} {}{query} HTTP/1.1\r\nHost: client\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.fields {
            out.extend([name.as_bytes(), b":", value, b"\r\n"].concat());
        }
        out.extend(b"\r\n");
        out
    }
}

fn parsed(bytes: &[u8]) -> RequestHead {
    let mut head = RequestHead::new();
    assert_eq!(head.parse(bytes, &HeadBounds::REQUEST), Ok(Parse::Complete), "{}", bytes.escape_ascii());
    head
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_bytes_panic_and_no_cut_changes_anything(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(bytes.len() + 1);
        prop_assert_eq!(request(&bytes, [cut]), request(&bytes, []));
        prop_assert_eq!(response(&bytes, [cut], Asked::default()), response(&bytes, [], Asked::default()));
        for framing in [Framing::Chunked, Framing::Length(100), Framing::UntilClose, Framing::None] {
            let (whole, halves) = (framed(framing, &bytes, [], Mode::Decode, 150), framed(framing, &bytes, [cut], Mode::Decode, 150));
            prop_assert_eq!(whole.done, halves.done);
            prop_assert_eq!(whole.fault, halves.fault);
        }
        path_is_plain(&bytes);
    }

    #[test]
    fn nearly_sound_requests_are_judged_alike_however_they_are_cut(bytes in nearly_a_head(REQUEST_STARTS)) {
        let whole = request(&bytes, []);
        prop_assert_eq!(request(&bytes, every_byte(&bytes)), whole.clone());
        if let Ok(Some(ours)) = whole {
            // What the usual parser would have read is what ours read.
            let mut fields = [httparse::EMPTY_HEADER; 128];
            let mut theirs = httparse::Request::new(&mut fields);
            prop_assert_eq!(theirs.parse(&bytes), Ok(httparse::Status::Complete(ours.len)));
            prop_assert_eq!(theirs.method.map(str::as_bytes), Some(ours.method_bytes.as_slice()));
            let names: Vec<_> = theirs.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
            let our_names: Vec<_> = ours.fields.iter().map(|(name, value, _)| (name.as_slice(), value.as_slice())).collect();
            prop_assert_eq!(names, our_names);
        }
    }

    #[test]
    fn nearly_sound_responses_are_judged_alike_however_they_are_cut(bytes in nearly_a_head(RESPONSE_STARTS), head: bool) {
        let asked = Asked { head };
        let whole = response(&bytes, [], asked);
        prop_assert_eq!(response(&bytes, every_byte(&bytes), asked), whole.clone());
        if let Ok(Some(ours)) = whole {
            let mut fields = [httparse::EMPTY_HEADER; 200];
            let mut theirs = httparse::Response::new(&mut fields);
            prop_assert_eq!(theirs.parse(&bytes), Ok(httparse::Status::Complete(ours.len)));
            prop_assert_eq!(theirs.code, Some(ours.status));
        }
    }

    #[test]
    fn a_written_request_reads_back_as_what_went_in(parts in parts(), strip: bool, trust: bool, identity: bool) {
        let wire = parts.wire();
        let head = parsed(&wire);
        let credential = strip.then_some((&b"x-api-key"[..], &b"ours"[..]));
        let how = RequestOut { credential, trust_forwarded: trust, identity_coding: identity, base_path: b"/base", ..OUT };
        let mut out = Vec::new();
        write_request(&mut out, &head, &wire, &how);
        let again = parsed(&out);
        prop_assert_eq!(again.len(), out.len());
        prop_assert_eq!(again.method_bytes(&out), parts.method.as_bytes());
        let path = format!("/base{}", parts.path);
        prop_assert_eq!(again.path().of(&out), path.as_bytes());
        prop_assert_eq!(again.host().of(&out), OUT.host);
        if strip {
            let left = again.query().map(|query| query.of(&out)).unwrap_or_default();
            prop_assert_eq!(query::credentials(left).count(), 0);
        } else {
            prop_assert_eq!(again.query().map(|query| query.of(&out)), parts.query.as_deref().map(str::as_bytes));
        }
        prop_assert_eq!(plain_fields(&head, &wire), plain_fields(&again, &out));
    }

    #[test]
    fn no_value_gets_out_of_its_field(
        name in prop::collection::vec(any::<u8>(), 0..12),
        value in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"\r\n\0: ".to_vec())], 0..24),
    ) {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let head = parsed(bytes);
        let mut out = Vec::new();
        write_request(&mut out, &head, bytes, &RequestOut { request_id: &value, credential: Some((b"authorization", &value)), ..OUT });
        let again = parsed(&out);
        prop_assert_eq!(again.len(), out.len());
        prop_assert_eq!(again.fields().len(), if field_value_is_safe(&value) { 5 } else { 3 });

        let bytes = b"HTTP/1.1 200 OK\r\n\r\n";
        let mut head = ResponseHead::new();
        head.parse(bytes, &HeadBounds::RESPONSE, &Asked::default()).unwrap();
        let extra: &[(&[u8], &[u8])] = &[(&name, &value), (b"x-value", &value)];
        let how = ResponseOut {
            framing: Framing::Length(1), close: true, version: Version::Http11, date: &value, request_id: &value, kept: None, extra, head_request: false,
        };
        out.clear();
        write_response(&mut out, &head, bytes, &how);
        let again = framing_safe(&out);
        prop_assert!(again.is_none_or(|len| len == out.len()), "{}", out.escape_ascii());
        let text = out.strip_suffix(b"\r\n").unwrap();
        for line in text.split_inclusive(|&b| b == b'\n') {
            prop_assert!(field_value_is_safe(line.strip_suffix(b"\r\n").unwrap()));
        }
    }

    #[test]
    fn a_chunk_of_ours_is_a_chunk(len in 1usize..5_000) {
        let mut out = Vec::new();
        write_chunk_head(&mut out, len);
        out.extend(vec![b'x'; len]);
        out.extend(b"\r\n0\r\n\r\n");
        let fed = body(&out, [], Mode::Decode, u64::MAX);
        prop_assert!(fed.done && fed.data.len() == len && fed.left == 0);
    }
}

/// How long the response head is; `None` where a name that was sent on (say, a second Content-Length) breaks a rule.
fn framing_safe(bytes: &[u8]) -> Option<usize> {
    let mut head = ResponseHead::new();
    match head.parse(bytes, &HeadBounds::RESPONSE, &Asked::default()) {
        Ok(Parse::Complete) => Some(head.len()),
        Ok(Parse::Partial) => panic!("a written head is whole: {}", bytes.escape_ascii()),
        Err(_) => None,
    }
}

/// The fields that mean nothing to the gateway.
fn plain_fields<'b>(head: &RequestHead, buf: &'b [u8]) -> Vec<(&'b [u8], &'b [u8])> {
    let plain = head.fields().iter().filter(|field| field.known == Known::Other);
    plain.map(|field| (field.name.of(buf), field.value.of(buf))).collect()
}
