//! What the observer says about recorded streams, against what the vendors' own readers made of them.
//! Owns: the comparison and its exceptions, each with a reason. Must not: read a stream itself.
//! Read next: `../src/sse/observer.rs`.

#[path = "../../../fuzz/checks/sse.rs"]
mod check;
mod support;

use check::{SHAPES, observe, read_body};
use proptest::prelude::*;
use ringway_wire::sse::{Observer, Reader, Shape, Usage};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use support::{Dice, cut};

fn shape_of(dialect: &str) -> Shape {
    match dialect {
        "openai-chat" => Shape::OpenAi,
        "openai-responses" => Shape::Responses,
        "anthropic-messages" => Shape::Anthropic,
        "gemini" => Shape::Gemini,
        other => panic!("no such dialect: {other}"),
    }
}

fn count(tokens: &Value, name: &str) -> Option<u64> {
    tokens.get(name).and_then(Value::as_u64)
}

fn tokens_of(oracle: &Value) -> Usage {
    let tokens = &oracle["tokens"];
    Usage {
        input: count(tokens, "input"),
        output: count(tokens, "output"),
        cache_read: count(tokens, "cache_read"),
        cache_write: count(tokens, "cache_write"),
        reasoning: count(tokens, "reasoning"),
        total: count(tokens, "total"),
    }
}

/// Where the oracle has a count, the observer has the same one.
fn agrees(ours: Usage, oracle: Usage) -> bool {
    let same = |ours: Option<u64>, oracle: Option<u64>| oracle.is_none() || ours == oracle;
    same(ours.input, oracle.input)
        && same(ours.output, oracle.output)
        && same(ours.cache_read, oracle.cache_read)
        && same(ours.cache_write, oracle.cache_write)
        && same(ours.reasoning, oracle.reasoning)
}

fn has_text(oracle: &Value, name: &str) -> bool {
    oracle[name].as_str().is_some_and(|text| !text.is_empty())
}

fn has_content(oracle: &Value) -> bool {
    let calls = oracle["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty());
    calls || ["text", "reasoning", "refusal"].iter().any(|name| has_text(oracle, name))
}

/// The bytes of a recorded stream.
fn stream(root: &Path, file: &str) -> Vec<u8> {
    let exchange = support::value(&root.join("providers").join(file));
    let response = &exchange["response"];
    let text = response["sse"].as_str().or(response["body_text"].as_str());
    text.unwrap_or_else(|| panic!("{file} has no stream")).as_bytes().to_vec()
}

fn recorded_streams() -> Option<Vec<(Value, Vec<u8>)>> {
    let root = support::recorded("oracle.jsonl")?;
    let root = root.parent().expect("a file has a folder");
    let oracles = support::lines(&root.join("oracle.jsonl")).into_iter();
    Some(oracles.map(|oracle| (oracle.clone(), stream(root, name(&oracle)))).collect())
}

fn name(oracle: &Value) -> &str {
    oracle["file"].as_str().expect("a file")
}

fn shape(oracle: &Value) -> Shape {
    shape_of(oracle["dialect"].as_str().expect("a dialect"))
}

/// Streams where the first token is not where the oracle has content.
const FIRST_TOKEN_DIFFERS: [(&str, &str); 6] = [
    ("openai-responses/0784.json", "a call of a built-in tool (apply_patch), which the oracle does not list"),
    ("openai-responses/0806.json", "a call of an MCP tool, which the oracle does not list"),
    ("openai-responses/0810.json", "a call of an MCP tool, which the oracle does not list"),
    ("anthropic-messages/0574.json", "a server tool call, which the oracle lists apart"),
    ("gemini/0047.json", "enums as numbers: the vendor's reader fails, we do not read enums"),
    ("handwritten/0069.json", "the prompt was refused: a verdict, but no token"),
];

/// Streams that are over for us although the oracle has no finish, or failed.
const TERMINAL_DIFFERS: [(&str, &str); 6] = [
    ("openai-chat/0760.json", "no finish_reason, but the end marker"),
    ("openai-responses/0796.json", "an error event ends a Responses stream"),
    ("gemini/0047.json", "enums as numbers: the finish is there, the vendor's reader fails"),
    ("handwritten/0032.json", "an error and then the end marker: both are said"),
    ("handwritten/0038.json", "an error event ends a Responses stream"),
    ("handwritten/0069.json", "the prompt was refused: nothing more comes"),
];

/// Streams whose error the vendor's reader sees where we do not, or the other way round.
const ERROR_DIFFERS: [(&str, &str); 3] = [
    ("gemini/0047.json", "enums as numbers: the vendor's reader fails, the stream says no error"),
    ("handwritten/0039.json", "`response.failed`: the vendor's reader yields it as an event"),
    ("handwritten/0067.json", "cut inside an event: an error of the transport, not said by the stream"),
];

fn is_in(list: &[(&str, &str)], file: &str) -> bool {
    list.iter().any(|(name, _)| *name == file)
}

#[test]
fn token_counts_agree_with_the_vendors_readers() {
    for (oracle, bytes) in recorded_streams().unwrap_or_default() {
        let account = observe(shape(&oracle), [bytes.as_slice()]);
        let expected = tokens_of(&oracle);
        assert!(agrees(account.usage, expected), "{}: {:?} {expected:?}", name(&oracle), account.usage);
    }
}

#[test]
fn the_first_token_is_announced_once_if_there_is_content() {
    for (oracle, bytes) in recorded_streams().unwrap_or_default() {
        let account = observe(shape(&oracle), [bytes.as_slice()]);
        let expected = has_content(&oracle) != is_in(&FIRST_TOKEN_DIFFERS, name(&oracle));
        assert_eq!(account.first_tokens, u32::from(expected), "{}", name(&oracle));
        assert_eq!(account.content_events > 0, expected, "{}", name(&oracle));
    }
}

#[test]
fn terminal_and_error_agree_with_the_vendors_readers() {
    for (oracle, bytes) in recorded_streams().unwrap_or_default() {
        let account = observe(shape(&oracle), [bytes.as_slice()]);
        let failed = oracle["ok"] == false;
        let ended = !failed && !oracle["finish"].is_null();
        let file = name(&oracle);
        assert_eq!(account.terminal, ended != is_in(&TERMINAL_DIFFERS, file), "{file}: terminal");
        assert_eq!(account.error, failed != is_in(&ERROR_DIFFERS, file), "{file}: error");
    }
}

#[test]
fn the_number_of_events_agrees_with_the_vendors_readers() {
    for (oracle, bytes) in recorded_streams().unwrap_or_default() {
        let account = observe(shape(&oracle), [bytes.as_slice()]);
        let text = String::from_utf8_lossy(&bytes);
        // Anthropic's reader keeps pings to itself. A reader that raises does not count the event it raised for,
        // and none counts a tail without blank line, which we read if it is complete JSON.
        let pings = if account.shape == Shape::Anthropic { text.matches("event: ping").count() } else { 0 };
        if oracle["ok"] == true && (text.ends_with("\n\n") || text.ends_with("\n\r\n")) {
            assert_eq!(u64::from(account.events) - pings as u64, oracle["events"], "{}", name(&oracle));
        }
    }
}

#[test]
fn no_cut_changes_the_account() {
    for (n, (oracle, bytes)) in recorded_streams().unwrap_or_default().iter().enumerate() {
        let whole = observe(shape(oracle), [bytes.as_slice()]);
        let mut dice = Dice::new(n as u64 + 1);
        for most in [3, 64, 1_500, 20_000] {
            let pieces = cut(bytes, most, &mut dice);
            assert_eq!(observe(shape(oracle), pieces), whole, "{}, cut by {most}", name(oracle));
        }
        if n % 10 == 0 {
            assert_eq!(observe(shape(oracle), bytes.chunks(1)), whole, "{}, byte by byte", name(oracle));
        }
    }
}

#[test]
fn an_unknown_shape_is_told_from_the_stream() {
    for (oracle, bytes) in recorded_streams().unwrap_or_default() {
        let known = observe(shape(&oracle), [bytes.as_slice()]);
        let mut unknown = observe(Shape::Unknown, bytes.chunks(997));
        if !known.error || known.events > 1 {
            assert_eq!(unknown.shape, known.shape, "{}", name(&oracle));
        }
        unknown.shape = known.shape; // an error as the only event does not tell whose it is
        assert_eq!(unknown, known, "{}", name(&oracle));
    }
}

#[test]
fn token_counts_of_whole_bodies_agree_with_the_vendors_readers() {
    let Some(path) = support::recorded("oracle-unary.jsonl") else { return };
    let root = path.parent().expect("a file has a folder");
    for (n, oracle) in support::lines(&path).iter().enumerate() {
        let exchange = support::value(&root.join("providers").join(name(oracle)));
        let response = &exchange["response"];
        let body = response["body_text"].as_str().map_or_else(|| response["body"].to_string(), str::to_owned);
        let mut dice = Dice::new(n as u64 + 1);
        for most in [1, 300, 1 << 20] {
            let (usage, complete, error) = read_body(cut(body.as_bytes(), most, &mut dice));
            let expected = tokens_of(oracle);
            assert!(agrees(usage, expected), "{}: {usage:?} {expected:?}", name(oracle));
            assert!(complete && !error, "{}", name(oracle));
        }
    }
}

#[test]
fn bodies_of_errors_are_seen_as_errors() {
    let Some(root) = support::recorded("providers") else { return };
    let mut errors = 0;
    for line in support::lines(&root.join("manifest.jsonl")) {
        let file = line["file"].as_str().expect("a file");
        let exchange = support::value(&root.join(file));
        let body = &exchange["response"]["body"];
        let envelope = body.get("error").or_else(|| body.get(0).and_then(|first| first.get("error")));
        if envelope.is_some_and(|error| error.is_object() || error.is_string()) {
            assert!(read_body([body.to_string().as_bytes()]).2, "{file}");
            errors += 1;
        }
    }
    assert!(errors > 50, "only {errors} error bodies were found");
}

#[test]
fn what_a_body_says_to_its_reader_does_not_hide_what_it_counts() {
    let counts = r#"{"input_tokens":7,"output_tokens":9}"#;
    for body in [
        // Strings that look like the ends of what is passed over, or like usage.
        r#"{"choices":[{"m":{"content":"]}],\"usage\":{\"input_tokens\":1}\\"}}],"usage":COUNTS}"#,
        r#"{"usage":COUNTS,"choices":[[[{}]],{"usage":{"input_tokens":1}}],"x":{"error":{"a":1}}}"#,
        // Envelopes: what counts stands one deeper.
        r#"{"type":"response.completed","response":{"output":[{"content":["}"]}],"usage":COUNTS}}"#,
        r#"{"type":"message_start","message":{"content":[{"text":"]"}],"usage":COUNTS}}"#,
    ] {
        let body = body.replace("COUNTS", counts);
        for cut in 0..=body.len() {
            let (first, second) = body.as_bytes().split_at(cut);
            let (usage, complete, error) = read_body([first, second]);
            assert_eq!((usage.input, usage.output), (Some(7), Some(9)), "{body} at {cut}");
            assert!(complete && !error, "{body} at {cut}");
        }
    }
}

#[test]
fn the_seeds_of_the_fuzz_target_hold() {
    for stream in support::seeds("sse") {
        check::check(&stream);
    }
}

// Our own streams: they run everywhere, and say what the recorded ones cannot.

#[test]
fn our_own_streams_read_as_written_beside_them() {
    for case in support::lines(&support::own("streams.jsonl")) {
        let note = case["note"].as_str().expect("a note");
        let bytes = case["stream"].as_str().expect("a stream").as_bytes();
        let shape = shape_of(case["dialect"].as_str().expect("a dialect"));
        let whole = observe(shape, [bytes]);
        assert_eq!(whole.usage, tokens_of(&case), "{note}");
        assert_eq!(u64::from(whole.first_tokens), u64::from(case["content_events"] != 0), "{note}");
        assert_eq!(whole.content_events, case["content_events"], "{note}");
        assert_eq!(u64::from(whole.events), case["events"], "{note}");
        assert_eq!(whole.terminal, case["terminal"], "{note}: terminal");
        assert_eq!(whole.error, case["error"], "{note}: error");
        for at in 0..bytes.len() {
            let (left, right) = bytes.split_at(at);
            assert_eq!(observe(shape, [left, right]), whole, "{note}, cut at {at}");
        }
        assert_eq!(observe(shape, bytes.chunks(1)), whole, "{note}, byte by byte");
    }
}

#[test]
fn white_space_that_json_does_not_know_begins_no_array() {
    for before in ["\u{c}", " \u{c}", "\u{c}\n", "\u{b}"] {
        let stream =
            format!("{before}[{{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"a\"}}]}}}}]}}]");
        for pieces in [stream.len(), 1, 2] {
            let account = observe(Shape::Gemini, stream.as_bytes().chunks(pieces));
            assert_eq!((account.events, account.content_events), (0, 0), "{stream:?} by {pieces}");
        }
    }
}

#[test]
fn what_counts_is_found_wherever_it_stands_in_an_event() {
    let openai = "{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}";
    let gemini = "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}";
    let marks = [
        (Shape::OpenAi, openai, "\"usage\"", "{\"prompt_tokens\":3}"),
        (Shape::OpenAi, openai, "\"error\"", "{}"),
        (Shape::OpenAi, openai, "\"error\"", "\"no\""),
        (Shape::OpenAi, openai, "\"choices\":[{\"finish_reason\"", "\"stop\"}]"),
        (Shape::Gemini, gemini, "\"usageMetadata\"", "{\"promptTokenCount\":3}"),
        (Shape::Gemini, gemini, "\"error\"", "{}"),
        (Shape::Gemini, gemini, "\"candidates\":[{\"finishReason\"", "\"STOP\"}]"),
        (Shape::Gemini, gemini, "\"promptFeedback\"", "{\"blockReason\":\"SAFETY\"}"),
    ];
    for (shape, first, key, value) in marks {
        for colon in [":", ": ", " :", " : ", ":\t"] {
            for (before, after) in (0..50).flat_map(|n| [(n, 0), (n, 40), (0, n)]) {
                let (before, after) = ("x".repeat(before), "n".repeat(after));
                let event = format!("{{\"{before}\":1,{key}{colon}{value},\"{after}\":null}}");
                let stream = format!("data: {first}\n\ndata: {event}\n\n");
                let whole = observe(shape, [stream.as_bytes()]);
                let (left, right) = stream.as_bytes().split_at(stream.len() - 3);
                assert_eq!(whole, observe(shape, [left, right]), "{event}");
                assert!(whole.usage != Usage::default() || whole.error || whole.terminal, "{event}");
            }
        }
    }
}

#[test]
fn the_first_token_is_announced_in_the_feed_that_ends_its_event() {
    let mut observer = Observer::new(Shape::OpenAi);
    let role = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    assert!(!observer.feed(role).first_token, "a role is no content");
    assert!(!observer.feed(b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n").first_token);
    assert!(observer.feed(b"\n").first_token);
    assert!(!observer.feed(b"data: {\"choices\":[{\"delta\":{\"content\":\"!\"}}]}\n\n").first_token);
}

#[test]
fn a_stream_of_another_kind_is_given_up_and_still_counted() {
    let mut observer = Observer::new(Shape::Unknown);
    let mut events = 0;
    for _ in 0..100 {
        events += observer.feed(b"data: {\"price\":1}\n\n").events;
    }
    observer.feed(b"data: {\"choices\":[{\"delta\":{\"content\":\"too late\"}}]}\n\n");
    assert_eq!((events, observer.shape(), observer.content_events()), (100, Shape::Unknown, 0));
}

#[test]
fn a_reset_observer_remembers_nothing() {
    let mut observer = Observer::new(Shape::OpenAi);
    observer.feed(b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}],\"usage\":{\"prompt_tokens\":1}}\n\ndata: {\"er");
    observer.reset(Shape::Anthropic);
    assert_eq!(
        (observer.usage(), observer.content_events(), observer.terminal()),
        (Usage::default(), 0, false)
    );
    assert_eq!(observer.shape(), Shape::Anthropic);
    observer.feed(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    assert!(observer.terminal());
}

#[test]
fn a_body_that_is_not_json_says_nothing() {
    let (usage, complete, error) = read_body([&b"<html>"[..], b"{\"usage\":{\"prompt_tokens\":1}}"]);
    assert_eq!((usage, complete, error), (Usage::default(), false, false));
}

#[test]
fn a_body_that_quotes_usage_is_not_fooled() {
    let body = br#"{"choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":9}"},"usage":{"prompt_tokens":8}}],
        "x":{"usage":{"prompt_tokens":7}},"usage":{"prompt_tokens":3.0,"completion_tokens":null}}"#;
    let (usage, complete, _) = read_body(body.chunks(5));
    assert_eq!(usage, Usage { input: Some(3), ..Usage::default() });
    assert!(complete);
}

/// Pieces of streams, right and wrong, of all dialects and of none.
const SCRAPS: [&str; 62] = [
    "data: ",
    "data:",
    "data",
    "event: ",
    "event:",
    "id: 1",
    ": c",
    "\n",
    "\n",
    "\n\n",
    "\n\n",
    "\r",
    "\r\n\r\n",
    "\u{feff}",
    " ",
    "{",
    "}",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "\"\"",
    "\"x\"",
    "\\",
    "\\u0075",
    "1",
    "[DONE]",
    ": keepalive",
    "error",
    "message_stop",
    "content_block_delta",
    "response.completed",
    "response.x.delta",
    "{}",
    "{\"type\":\"",
    "{\"type\": \"content_block_delta\"",
    "{\"type\":\"response.output_text.delta\",\"delta\":\"x\"}",
    "{\"type\":\"response.failed\",\"response\":{\"error\":{}}}",
    "\"type\":\"error\"",
    "\"type\":\"message_stop\"",
    "\"usage\":",
    "\"usage\"",
    "\"usage\":{\"prompt_tokens\":3,\"output_tokens\":4}",
    "\"usageMetadata\":{\"promptTokenCount\":5}",
    "\"usage\":null",
    "\"error\":",
    "\"error\":{}",
    "\"error\":null",
    "\"finish_reason\":\"stop\"",
    "{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}",
    "{\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]",
    "{\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]",
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}",
    "{\"candidates\":[{\"finishReason\":\"STOP\"}]}",
    "\"promptFeedback\":{\"blockReason\":\"X\"}",
    "\"delta\":{\"text\":\"a\"}",
    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}",
    "\u{2028}",
    "\u{1}",
    "{\"choices\":[],",
];

fn any_shape() -> impl Strategy<Value = Shape> {
    prop::sample::select(SHAPES.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn no_cut_changes_the_account_of_any_stream(
        shape in any_shape(),
        scraps in prop::collection::vec(prop::sample::select(SCRAPS.to_vec()), 0..40),
        most in 1_usize..30,
        seed in 1_u64..u64::MAX,
    ) {
        let stream = scraps.concat();
        let whole = observe(shape, [stream.as_bytes()]);
        let cut = observe(shape, cut(stream.as_bytes(), most, &mut Dice::new(seed)));
        prop_assert_eq!(cut, whole, "{:?}", stream);
    }

    #[test]
    fn no_cut_changes_the_account_of_whole_events(
        shape in any_shape(),
        events in prop::collection::vec((0_usize..4, prop::collection::vec(prop::sample::select(SCRAPS[28..].to_vec()), 0..4)), 0..14),
        most in 1_usize..80,
        seed in 1_u64..u64::MAX,
    ) {
        let names = ["", "event: content_block_delta\n", "event: response.output_text.delta\n", "event: error\n"];
        let mut stream = String::new();
        for (name, data) in &events {
            write!(stream, "{}data: {}\n\n", names[*name], data.concat()).unwrap();
        }
        let whole = observe(shape, [stream.as_bytes()]);
        let cut = observe(shape, cut(stream.as_bytes(), most, &mut Dice::new(seed)));
        prop_assert_eq!(cut, whole, "{:?}", stream);
    }
}

/// What a reader gets of a stream: names and data of its events.
fn events_of(stream: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut events = Vec::new();
    Reader::new().feed(stream, |event| events.push((event.event.to_vec(), event.data.to_vec())));
    events
}

#[test]
fn a_heartbeat_changes_no_event_wherever_it_may_stand() {
    let delta = r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#;
    let stream = format!(
        "data: {delta}\n\n: a comment\ndata: {delta}\n\nevent: x\r\ndata: {delta}\r\ndata: {delta}\r\n\r\n\
         data: {delta}\n\ndata: [DONE]\n\n"
    );
    let stream = stream.as_bytes();
    let whole = events_of(stream);
    let done = stream.len() - "\n".len();
    let mut places = 0;
    for at in 0..=stream.len() {
        let mut observer = Observer::new(Shape::OpenAi);
        observer.feed(&stream[..at]);
        if !observer.takes_heartbeat() {
            continue;
        }
        places += 1;
        assert!(at < done, "never after the end");
        for beat in [&b": ping\n\n"[..], b"\n"] {
            let with = [&stream[..at], beat, &stream[at..]].concat();
            assert_eq!(events_of(&with), whole, "at {at}");
        }
    }
    assert_eq!(places, 5, "before the first event and between any two");
}

#[test]
fn no_heartbeat_stands_in_a_stream_that_failed_or_numbers_its_events_or_is_an_array() {
    let after = |shape, stream: &str| {
        let mut observer = Observer::new(shape);
        observer.feed(stream.as_bytes());
        observer.takes_heartbeat()
    };
    assert!(after(Shape::Anthropic, "event: ping\ndata: {\"type\":\"ping\"}\n\n"));
    assert!(!after(Shape::Anthropic, "event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\n"));
    assert!(!after(Shape::Anthropic, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
    assert!(!after(Shape::OpenAi, "id: 1\ndata: {\"choices\":[]}\n\n"));
    assert!(!after(Shape::Gemini, "[{\"candidates\":[]}"));
}
