//! What the request scanner promises (SEC-JS-01 to 06), with `serde_json` as the second opinion.
//! Owns: the claims. Must not: know how the scanner works.
//! Read next: `../src/json/scanner.rs`; the second opinion and the declared differences are with the fuzz target.

#[path = "../../../fuzz/checks/json.rs"]
mod check;
mod support;

use check::{Facts, slice};
use proptest::prelude::*;
use ringway_wire::bounds::{JSON_DEPTH_MAX, JSON_MODEL_BYTES_MAX};
use ringway_wire::json::{Bounds, JsonError, Key, Scanner, splice_model, spliced_len, write_string};
use std::time::{Duration, Instant};

fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Facts, JsonError> {
    check::scan(Bounds::default(), pieces)
}

fn whole(body: impl AsRef<[u8]>) -> Result<Facts, JsonError> {
    scan([body.as_ref()])
}

/// The same verdict and facts at every cut in two, and byte by byte.
fn at_every_cut(body: &[u8]) -> Result<Facts, JsonError> {
    let verdict = whole(body);
    for at in 0..=body.len() {
        let (left, right) = body.split_at(at);
        assert_eq!(scan([left, right]), verdict, "cut at {at}: {}", String::from_utf8_lossy(body));
    }
    assert_eq!(scan(body.chunks(1)), verdict, "byte by byte: {}", String::from_utf8_lossy(body));
    verdict
}

#[test]
fn the_facts_of_a_body_are_found_with_their_spans() {
    let body = br#" {"temperature":1e-3, "model" : "gpt-\u0034o\n" ,"messages":[{"role":"user","content":"{\"model\":1}"}],
        "stream":true,"max_tokens":512,"tools":[{"model":"no","stream":false}],"system":[ "be \ud83d\ude00" ]}"#;
    let facts = at_every_cut(body).expect("a valid body");
    assert_eq!(facts.model.as_deref(), Some("gpt-4o\n"));
    assert_eq!(slice(body, &facts.span(Key::Model).expect("a model")), br#""gpt-\u0034o\n""#);
    assert_eq!(facts.stream, Some(true));
    assert_eq!(facts.max_tokens, Some((Key::MaxTokens, 512)));
    let prompt = facts.prompt.clone().expect("messages");
    assert_eq!(slice(body, &prompt), br#"[{"role":"user","content":"{\"model\":1}"}]"#);
    assert_eq!(slice(body, &facts.span(Key::System).expect("a system prompt")), br#"[ "be \ud83d\ude00" ]"#);
}

#[test]
fn a_body_without_the_keys_says_nothing() {
    let none = Facts::default();
    for body in ["{}", r#"{"Model":"a","MODEL":"b","model ":"c"}"#, r#"{"x":{"model":"a","stream":true}}"#] {
        assert_eq!(at_every_cut(body.as_bytes()), Ok(none.clone()), "{body}");
    }
}

#[test]
fn the_model_is_known_before_the_body_ends() {
    let mut scanner = Scanner::new();
    scanner.feed(br#"{"model":"m"#).expect("valid so far");
    assert_eq!(scanner.model(), None, "it may go on");
    scanner.feed(br#"1","messages":[{"content":"#).expect("valid so far");
    assert_eq!(scanner.model().map(|model| (model.value, model.span)), Some(("m1", 9..13)));
    assert!(!scanner.complete());
}

#[test]
fn the_narrower_limit_wins_and_only_whole_numbers_are_read() {
    let limit = |body: &str| at_every_cut(body.as_bytes()).expect("a valid body").max_tokens;
    assert_eq!(limit(r#"{"max_output_tokens":3}"#), Some((Key::MaxOutputTokens, 3)));
    assert_eq!(limit(r#"{"max_tokens":2,"max_completion_tokens":1}"#), Some((Key::MaxCompletionTokens, 1)));
    assert_eq!(limit(r#"{"max_tokens":16.00}"#), Some((Key::MaxTokens, 16)));
    assert_eq!(limit(r#"{"max_tokens":18446744073709551615}"#), Some((Key::MaxTokens, u64::MAX)));
    for unread in ["18446744073709551616", "1.5", "-1", "1e999999999", "null", "\"5\"", "[5]", "true"] {
        assert_eq!(limit(&format!(r#"{{"max_tokens":{unread}}}"#)), None, "{unread}");
    }
    let long = whole(format!(r#"{{"max_tokens":{}}}"#, "9".repeat(100_000))).expect("a valid body");
    assert_eq!(long.max_tokens, None, "kept as text, never expanded");
}

#[test]
fn stream_is_read_only_as_a_boolean() {
    for (value, stream) in
        [("true", Some(true)), ("false", Some(false)), ("null", None), ("1", None), ("\"true\"", None)]
    {
        assert_eq!(whole(format!(r#"{{"stream":{value}}}"#)).expect("valid").stream, stream, "{value}");
    }
}

#[test]
fn a_key_that_is_read_stands_once() {
    for key in Key::ALL {
        let name = key.name();
        let body = format!(r#"{{"{name}":"a","x":0,"x":1,"{name}":"b"}}"#);
        let at = body.rfind(name).expect("the second one") as u64 - 1;
        assert_eq!(at_every_cut(body.as_bytes()), Err(JsonError::DuplicateKey { key, at }), "{body}");
    }
    let escaped = br#"{"model":"a","mod\u0065l":"b"}"#;
    assert_eq!(at_every_cut(escaped), Err(JsonError::DuplicateKey { key: Key::Model, at: 13 }));
    let nested = br#"{"model":"a","x":{"model":"b","model":"c"}}"#;
    assert_eq!(at_every_cut(nested).map(|facts| facts.model), Ok(Some("a".to_owned())));
}

#[test]
fn keys_are_compared_after_unescaping() {
    let facts = at_every_cut(br#"{"\u006d\u006Fdel":"a","str\u0065am":true}"#).expect("valid");
    assert_eq!(facts.model.as_deref(), Some("a"));
    assert_eq!(facts.stream, Some(true));
    assert_eq!(whole(br#"{"model\u0000":"a"}"#).expect("valid").model, None);
}

#[test]
fn the_model_is_a_string_of_bounded_length() {
    for value in ["null", "1", "true", "[]", r#"{"a":1}"#] {
        let verdict = at_every_cut(format!(r#"{{"model":{value}}}"#).as_bytes());
        assert_eq!(verdict, Err(JsonError::ModelNotAString { at: 9 }), "{value}");
    }
    let named = |name: String| whole(format!(r#"{{"model":"{name}"}}"#));
    assert!(named("m".repeat(JSON_MODEL_BYTES_MAX)).is_ok());
    assert_eq!(named("m".repeat(JSON_MODEL_BYTES_MAX + 1)), Err(JsonError::ModelTooLong { at: 9 }));
    assert!(
        named("\\u006d".repeat(JSON_MODEL_BYTES_MAX)).is_ok(),
        "the length is that of the name, not of its escapes"
    );
}

#[test]
fn every_text_outside_the_grammar_is_refused() {
    let bad = [
        "",
        " ",
        "{",
        "}",
        "[]",
        "1",
        "null",
        "\"a\"",
        "{}{}",
        "{} x",
        "{}\u{0}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{\"a\"::1}",
        "{a:1}",
        "{'a':1}",
        "{1:1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":[1,]}",
        "{\"a\":[,1]}",
        "{\"a\":[1}",
        "{\"a\":[1}]}",
        "{\"a\":{]}",
        "{\"a\":01}",
        "{\"a\":-}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":1e}",
        "{\"a\":1e+}",
        "{\"a\":-01}",
        "{\"a\":1.e1}",
        "{\"a\":0x1}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":tru}",
        "{\"a\":True}",
        "{\"a\":nulll}",
        "{\"a\":truefalse}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\u{1f}\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\U1234\"}",
        "{\"a\":\"\\",
        "{\"a\":\"b",
        "{/**/}",
        "{}//",
        "{\"a\":1}\u{feff}",
        "{\u{a0}}",
        "{\"a\":1\u{c}}",
        "{\"a\nb\":1}",
    ];
    for body in bad {
        assert!(at_every_cut(body.as_bytes()).is_err(), "{body:?}");
    }
}

#[test]
fn every_text_of_the_grammar_is_accepted() {
    let good = [
        "{}",
        " \t\r\n{ \t\r\n} \t\r\n",
        "{\"\":0}",
        "{\"a\":[]}",
        "{\"a\":[[],{},[{}]]}",
        "{\"a\":-0}",
        "{\"a\":-0.0e-0}",
        "{\"a\":1E+2,\"b\":1e400,\"c\":123456789012345678901234567890}",
        "{\"a\":[true,false,null]}",
        "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uD834\\uDD1E\"}",
        "{\"a\":\"\u{7f}\u{80}\u{2028}\u{10ffff}\"}",
        "{\"é\":\"日本\"}",
    ];
    for body in good {
        assert!(at_every_cut(body.as_bytes()).is_ok(), "{body:?}");
    }
}

#[test]
fn half_a_surrogate_pair_is_refused() {
    for text in [
        r"\ud800",
        r"\udc00",
        r"\ud800x",
        r"\ud800\n",
        r"\ud800\ud800",
        r"\ud800A",
        r"\udc00\ud800",
        r"\ud83d\ude",
    ] {
        assert!(at_every_cut(format!(r#"{{"a":"{text}"}}"#).as_bytes()).is_err(), "{text}");
    }
    let at = at_every_cut(br#"{"a":"\ud800A"}"#);
    assert_eq!(at, Err(JsonError::LoneSurrogate { at: 12 }));
}

#[test]
fn bytes_that_are_not_utf8_are_refused_where_they_stand() {
    let bad: [&[u8]; 8] =
        [b"\xff", b"\x80", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"];
    for bytes in bad {
        let body = [b"{\"a\":\"ok ", bytes, b"\"}"].concat();
        assert_eq!(at_every_cut(&body), Err(JsonError::BadUtf8 { at: 9 }), "{bytes:?}");
    }
    assert_eq!(at_every_cut(b"{}\xff"), Err(JsonError::BadUtf8 { at: 2 }));
    assert_eq!(at_every_cut(b"{\"a\":\"\xe2\x82"), Err(JsonError::Truncated { at: 8 }));
    assert_eq!(at_every_cut(b"\xef\xbb\xbf{}"), Err(JsonError::ByteOrderMark));
}

#[test]
fn depth_is_bounded_and_costs_neither_stack_nor_time() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let max = JSON_DEPTH_MAX as usize;
    assert!(whole(nested(max)).is_ok());
    let too_deep = JsonError::TooDeep { at: 4 + max as u64, depth: JSON_DEPTH_MAX };
    assert_eq!(whole(nested(max + 1)), Err(too_deep));
    for bomb in
        [format!("{{\"a\":{}", "[".repeat(1_000_000)), "[".repeat(1_000_000), "{\"a\":".repeat(1_000_000)]
    {
        let begin = Instant::now();
        assert!(whole(&bomb).is_err());
        assert!(
            begin.elapsed() < Duration::from_millis(250),
            "{:?}; unoptimised, most of it is the UTF-8 check",
            begin.elapsed()
        );
    }
    let mut shallow = Scanner::with_bounds(Bounds { depth: 2 });
    assert_eq!(shallow.feed(b"{\"a\":[[]]}"), Err(JsonError::TooDeep { at: 6, depth: 2 }));
}

#[test]
fn an_error_is_final_until_the_scanner_is_reset() {
    let mut scanner = Scanner::new();
    let error = scanner.feed(b"{]").expect_err("not JSON");
    assert_eq!(scanner.feed(b"}"), Err(error));
    assert_eq!(scanner.finish(), Err(error));
    assert!(!scanner.complete());
    scanner.reset();
    scanner.feed(br#"{"model":"m"}"#).expect("valid");
    scanner.finish().expect("complete");
    assert_eq!((scanner.offset(), scanner.complete()), (13, true));
}

#[test]
fn every_error_names_the_place_and_the_mend() {
    for (body, text) in [
        (
            &b"{\"model\":\"a\",\"model\":\"b\"}"[..],
            "the key \"model\" stands twice (again at byte 13); send it once",
        ),
        (b"[1]", "the body is not a JSON object (byte 0); send an object"),
        (b"{\"a\":1,}", "byte 7 of the body is not valid JSON there; send strict JSON (RFC 8259)"),
        (b"{} {}", "data after the end of the object at byte 3; send one JSON object"),
        (b"{\"a\":", "the body ends inside the JSON object after 5 bytes; send all of it"),
        (b"{\"model\":7}", "\"model\" is not a string (byte 9); send a model name"),
    ] {
        assert_eq!(whole(body).expect_err("refused").to_string(), text);
    }
}

// The splice.

#[test]
fn a_written_string_is_read_back_as_it_was() {
    for text in ["", "gpt-4o", "a\"b\\c/\n\r\t\u{0}\u{1f}\u{7f}", "日本 😀"] {
        let mut out = Vec::new();
        write_string(&mut out, text);
        assert_eq!(serde_json::from_slice::<String>(&out).expect("a JSON string"), text);
    }
}

proptest! {
    #[test]
    fn only_the_span_of_the_model_changes(before in any::<[u8; 3]>(), name in ".{0,12}", cuts in prop::collection::vec(1_usize..40, 1..8)) {
        let body = format!(r#"{{"x":{},"model" : "old\n","messages":["{}"]}}"#, before[0], before[1]);
        let mut scanner = Scanner::new();
        scanner.feed(body.as_bytes()).unwrap();
        let span = scanner.model().unwrap().span;
        let mut out = Vec::new();
        let (mut at, mut cuts) = (0, cuts.into_iter().cycle());
        while at < body.len() {
            let end = (at + cuts.next().unwrap()).min(body.len());
            splice_model(&mut out, &body.as_bytes()[at..end], at as u64, &span, &name);
            at = end;
        }
        prop_assert_eq!(out.len() as u64, spliced_len(body.len() as u64, &span, &name));
        let (left, right) = (span.start as usize, body.len() - span.end as usize);
        prop_assert_eq!(&out[..left], &body.as_bytes()[..left]);
        prop_assert_eq!(&out[out.len() - right..], &body.as_bytes()[body.len() - right..]);
        prop_assert_eq!(serde_json::from_slice::<String>(&out[left..out.len() - right]).unwrap(), name);
    }
}

// The second opinion: `check` holds it, because the fuzz target asks for it too.

#[test]
fn the_seeds_of_the_fuzz_target_hold() {
    for body in support::seeds("json") {
        check::check(&body);
    }
}

#[test]
fn recorded_bodies_read_as_the_second_parser_reads_them() {
    let Some(root) = support::recorded("providers") else { return };
    let mut bodies = 0;
    for line in support::lines(&root.join("manifest.jsonl")) {
        let exchange = support::value(&root.join(line["file"].as_str().expect("a file")));
        let Some(body) = exchange["request"]["body_text"].as_str() else { continue };
        check::check(body.as_bytes());
        bodies += 1;
    }
    assert!(bodies > 1_000, "only {bodies} request bodies were found");
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(r#""model""#.to_owned()),
        Just(r#""mod\u0065l""#.to_owned()),
        Just(r#""stream""#.to_owned()),
        Just(r#""system""#.to_owned()),
        Just(r#""max_tokens""#.to_owned()),
        "[a-z]{0,3}".prop_map(|name| format!("{name:?}")),
    ]
}

fn space() -> impl Strategy<Value = String> {
    "[ \n\r\t]{0,2}"
}

/// A JSON text of random layout.
fn text() -> impl Strategy<Value = String> {
    let string = any::<String>().prop_map(|text| serde_json::to_string(&text).expect("a string"));
    let escaped = "(\\\\u[0-9a-cA-C][0-9a-fA-F]{3}|\\\\[nrtbf/]|[ -!#-\\[\\]-~é€]){0,6}"
        .prop_map(|text| format!("\"{text}\""));
    let number = "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?";
    let leaf = prop_oneof![string, escaped, number, "true|false|null"];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let element = (space(), inner.clone(), space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        let member = (space(), name(), space(), inner, space())
            .prop_map(|(a, name, b, value, c)| format!("{a}{name}{b}:{value}{c}"));
        prop_oneof![
            prop::collection::vec(element, 0..6).prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec(member, 0..6).prop_map(|all| format!("{{{}}}", all.join(","))),
        ]
    })
}

fn object() -> impl Strategy<Value = String> {
    let member =
        (space(), name(), space(), text()).prop_map(|(a, name, b, value)| format!("{a}{name}{b}:{value}"));
    prop::collection::vec(member, 0..6).prop_map(|all| format!("{{{}}}", all.join(",")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn valid_bodies_read_as_the_second_parser_reads_them(body in object()) {
        check::check(body.as_bytes());
    }

    #[test]
    fn one_wrong_byte_is_judged_as_the_second_parser_judges_it(body in object(), at in any::<prop::sample::Index>(), byte in any::<u8>(), how in 0..3) {
        let mut body = body.into_bytes();
        let at = at.index(body.len());
        match how {
            0 => body[at] = byte,
            1 => body.insert(at, byte),
            _ => { body.remove(at); }
        }
        check::check(&body);
    }

    #[test]
    fn token_soup_is_judged_as_the_second_parser_judges_it(soup in prop::collection::vec(prop::sample::select(vec![
        &b"{"[..], b"}", b"[", b"]", b",", b":", b"\"model\":", b"\"a\":", b"\"stream\":true", b"\"", b"\\", b"\\u00", b"\\ud800", b"\\udc00", b"41",
        b"1", b"0", b"-", b".5", b"e3", b"true", b"null", b"fals", b"e", b" ", b"\n", b"\x01", b"\xc3\xa9", b"\xc3", b"\xef\xbb\xbf", b"{\"a\":1}", b"\"b\"",
    ]), 0..12)) {
        check::check(&[b"{\"x\":", soup.concat().as_slice(), b"}"].concat());
        check::check(&soup.concat());
    }

    #[test]
    fn no_cut_changes_the_verdict(body in object(), at in any::<prop::sample::Index>(), byte in any::<u8>(), piece in 1_usize..9) {
        let mut body = body.into_bytes();
        prop_assert_eq!(scan(body.chunks(piece)), whole(&body));
        let at = at.index(body.len());
        body[at] = byte;
        prop_assert_eq!(scan(body.chunks(piece)), whole(&body));
    }
}
