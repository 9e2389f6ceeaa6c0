//! The event-stream algorithm of WHATWG HTML, section 9.2.6, case by case, at every cut.
//! Owns: what the reader promises. Must not: know what providers send.
//! Read next: `sse_observer.rs`.

mod support;

use base64::Engine as _;
use ringway_wire::sse::Reader;
use serde_json::{Value, json};

/// What a stream, fed in these pieces, reads as.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Value>, String, Option<u64>) {
    let mut reader = Reader::new();
    let mut events = Vec::new();
    for piece in pieces {
        reader.feed(piece, |event| {
            events.push(json!({
                "event": String::from_utf8_lossy(event.event),
                "data": String::from_utf8_lossy(event.data),
                "id": String::from_utf8_lossy(event.id),
            }));
        });
    }
    (events, String::from_utf8_lossy(reader.last_id()).into_owned(), reader.retry())
}

fn check(case: &Value) {
    let id = case["id"].as_str().expect("an id");
    let input = base64::engine::general_purpose::STANDARD
        .decode(case["input_base64"].as_str().expect("an input"))
        .expect("base64");
    let whole = read([input.as_slice()]);
    assert_eq!(Value::from(whole.0.clone()), case["expected_events"], "{id}, whole");
    assert_eq!(Value::from(whole.1.clone()), case["expected_last_event_id"], "{id}, last id");
    if case["expected_retry"] != json!("any") {
        assert_eq!(whole.2.map_or(Value::Null, Value::from), case["expected_retry"], "{id}, retry");
    }
    let listed = case["splits"].as_array().expect("splits").iter().filter_map(Value::as_u64);
    // Cutting a large case everywhere would show nothing that its small siblings do not.
    let step = if input.len() <= 2_000 { 1 } else { input.len() / 100 };
    for at in (0..=input.len()).step_by(step).chain(listed.map(|at| at as usize)) {
        let (left, right) = input.split_at(at);
        assert_eq!(read([left, right]), whole, "{id}, cut at {at}");
    }
    assert_eq!(read(input.chunks(1)), whole, "{id}, byte by byte");
}

#[test]
fn every_case_reads_as_the_standard_says_wherever_it_is_cut() {
    let own = support::lines(&support::own("sse_cases.jsonl"));
    let recorded = support::recorded("sse/cases.jsonl").map(|path| support::lines(&path)).unwrap_or_default();
    for case in own.iter().chain(&recorded) {
        check(case);
    }
    println!("{} cases of our own, {} of the larger set", own.len(), recorded.len());
}

#[test]
fn an_event_over_the_bound_is_skipped_and_the_next_one_is_read() {
    let stream = format!("data: {}\n\ndata: small\n\n", "x".repeat(100));
    for most in [1, 7, 200] {
        let mut reader = Reader::with_event_bytes_max(64);
        let mut events = Vec::new();
        for piece in stream.as_bytes().chunks(most) {
            reader.feed(piece, |event| events.push(event.data.to_vec()));
        }
        assert_eq!(events, [b"small".to_vec()]);
        assert_eq!(reader.skipped(), 1);
    }
}

#[test]
fn many_small_lines_count_towards_the_bound_together() {
    let stream = format!("{}\n", "data\n".repeat(100));
    let mut reader = Reader::with_event_bytes_max(64);
    reader.feed(stream.as_bytes(), |_| panic!("an event of 99 line feeds is over the bound"));
    assert_eq!(reader.skipped(), 1);
}

#[test]
fn an_unterminated_event_is_not_dispatched_but_can_be_looked_at() {
    let mut reader = Reader::new();
    reader.feed(b"event: tail\ndata: {\"a\":1}", |_| panic!("no blank line has passed"));
    let event = reader.unfinished().expect("data has begun");
    assert_eq!((event.event, event.data), (&b"tail"[..], &b"{\"a\":1}"[..]));
    reader.reset();
    assert_eq!(reader.unfinished(), None);
}
