//! Every request of the llhttp corpus against the running gateway: what llhttp refuses never reaches an origin.
//!
//! Owns: the claim that ringway is at least as strict: the origin sees no more whole requests than llhttp read.
//! Must not: compare statuses: llhttp names no status, and ringway refuses more (a missing Host, for one).
//! Read next: `rfc9112/`, where each rule has its exact status.

use std::time::Duration;

use ringway_tests::client::get;
use ringway_tests::fixtures::{Fixtures, bytes};
use ringway_tests::{Gateway, Io, Origin, Setup, each_driver};
use serde_json::Value;

const FILE: &str = "http1/llhttp.jsonl";
/// How long a case may take to reach the origin before its caller half-closes.
const SETTLE: Duration = Duration::from_millis(25);

/// llhttp knows a list of methods, and which protocol each belongs to. Unknown ones are no fault of syntax
/// (RFC 9110 section 9.1), so ringway forwards them: these verdicts and this case (ANNOUNCE, of RTSP).
const ONLY_LLHTTP_MINDS: [&str; 2] = ["INVALID_METHOD", "request-invalid-004"];

#[test]
fn what_llhttp_refuses_never_reaches_the_origin() {
    let cases = requests(|case| case["lenient"].as_array().is_none_or(Vec::is_empty));
    each_driver(|io| judge_all(io, &cases));
}

/// Inputs that only a lenient parser takes. Whatever ringway makes of them, what it sends on is strict.
#[test]
fn what_only_lenient_parsers_take_is_refused_or_made_strict() {
    let cases = requests(|case| case["lenient"].as_array().is_some_and(|rules| !rules.is_empty()));
    each_driver(|io| {
        let (gateway, origin) = start(io);
        for case in &cases {
            play(&gateway, &case.input);
            assert_own_answer(&gateway, case);
        }
        origin.assert_strict();
        gateway.finish();
    });
}

struct Case {
    id: String,
    input: Vec<u8>,
    complete: usize,
    refused: bool,
}

/// The chosen inputs, and each without a Host once more with one: a missing Host alone is refused, and would
/// hide what else is wrong.
fn requests(chosen: impl Fn(&Value) -> bool) -> Vec<Case> {
    let fixtures = Fixtures::for_part(FILE);
    let lines = fixtures.lines(FILE);
    let cases = lines.iter().filter(|line| line["kind"] == "request" && chosen(line)).map(case);
    let all: Vec<Case> = cases.flat_map(|case| with_host(&case).into_iter().chain([case])).collect();
    println!("{} inputs", all.len());
    all
}

fn case(line: &Value) -> Case {
    let verdict = line["llhttp_verdict"].as_str().expect("every case has a verdict");
    let member = if line["input_latin1_base64"].is_string() { "input_latin1_base64" } else { "input_base64" };
    let id = line["id"].as_str().expect("every case has an id");
    Case {
        id: id.to_owned(),
        input: bytes(line, member),
        complete: line["messages_complete"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
        refused: verdict != "ok" && !ONLY_LLHTTP_MINDS.contains(&verdict) && !ONLY_LLHTTP_MINDS.contains(&id),
    }
}

fn with_host(case: &Case) -> Option<Case> {
    let lower = case.input.to_ascii_lowercase();
    let at = ringway_tests::http::find(&case.input, b"\r\n")? + 2;
    if ringway_tests::http::find(&lower, b"host:").is_some() || at == 2 {
        return None;
    }
    let input = [&case.input[..at], b"Host: added.example\r\n", &case.input[at..]].concat();
    Some(Case { id: format!("{} with a Host", case.id), input, ..*case })
}

fn start(io: Io) -> (Gateway, Origin) {
    let origin = Origin::echo();
    (Gateway::start(io, Setup::raw(origin.address())), origin)
}

fn judge_all(io: Io, cases: &[Case]) {
    let (gateway, origin) = start(io);
    let mut broken = Vec::new();
    for case in cases {
        let before = origin.requests().len();
        play(&gateway, &case.input);
        let arrived = origin.requests().len() - before;
        if case.refused && arrived > case.complete {
            let what: Vec<_> =
                origin.requests()[before..].iter().map(ringway_tests::origin::Request::what).collect();
            broken.push(format!(
                "  {}: llhttp read {}, the origin {arrived}: {what:?}",
                case.id, case.complete
            ));
        }
        assert_own_answer(&gateway, case);
    }
    assert!(broken.is_empty(), "{io}: {} of {} broken:\n{}", broken.len(), cases.len(), broken.join("\n"));
    origin.assert_strict();
    gateway.finish();
}

fn play(gateway: &Gateway, input: &[u8]) {
    let mut caller = gateway.connect();
    let _ = caller.try_send(input); // it may be refused before it is sent whole
    let _ = caller.rest_within(SETTLE);
    caller.half_close();
    let _ = caller.rest();
}

fn assert_own_answer(gateway: &Gateway, case: &Case) {
    let answer = gateway.ask(get("/own"));
    assert_eq!(answer.text(), "GET /own\n", "behind {}", case.id);
}
