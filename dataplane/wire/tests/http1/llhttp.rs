//! The cases of another parser's test suite (llhttp), through this one.
//! We may refuse what llhttp takes, and say under which rule; what llhttp refuses in its strict mode we never take, and
//! what it takes in a lenient mode only if it is listed here with the reason.

use crate::drive::framed;
use crate::rules::show;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringway_wire::http1::{Asked, Fault, Framing, HeadBounds, Mode, Parse, RequestHead, ResponseHead, Rule};
use std::collections::BTreeMap;

#[derive(serde::Deserialize)]
struct Case {
    id: String,
    kind: String,
    input_base64: String,
    input_latin1_base64: Option<String>,
    llhttp_verdict: String,
    lenient: Vec<String>,
    stopped: Option<Stopped>,
    messages_complete: usize,
    #[serde(default)]
    skip_body: bool,
}

#[derive(serde::Deserialize)]
struct Stopped {
    off: usize,
}

/// What a connection that is sent these bytes does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// So many messages were whole, and nothing was wrong.
    Sound(usize),
    /// So many messages were whole; the last one closes the connection, and what stands behind it is never read.
    Closed(usize),
    /// Refused at the message that starts here.
    Refused(Fault, usize),
}

/// Refused by llhttp, taken by us.
const TAKEN: &[(&str, &str)] = &[
    (
        "request-invalid-004",
        "ANNOUNCE over HTTP: llhttp knows a list of methods, RFC 9110 section 9.1 any token",
    ),
    ("request-invalid-014", "MKCOLA: the same"),
];

/// Taken by llhttp in a lenient mode, and by us always.
const TAKEN_LENIENT: &[(&str, &str)] = &[];

/// How the 277 inputs of llhttp 9.4.2 fall out. A changed number is a changed parser: look before changing it here.
const COUNTS: &[(&str, usize)] = &[
    ("refused by both", 88),
    ("refused by llhttp, taken by exception", 2),
    ("taken by both", 113),
    ("taken by lenient llhttp, refused", 32),
    (TAKEN_BY_LLHTTP, 42),
];

#[test]
fn nothing_llhttp_refuses_is_taken() {
    let Some(cases) = cases() else { return };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut stricter: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in &cases {
        for input in inputs(case) {
            let verdict = verdict(case, &input);
            let Some(outcome) = compare(case, verdict) else {
                wrong.push(format!("{} {}: {verdict:?} {}", case.id, case.llhttp_verdict, show(&input)));
                continue;
            };
            *counts.entry(outcome).or_default() += 1;
            if let (Verdict::Refused(fault, _), TAKEN_BY_LLHTTP) = (verdict, outcome) {
                stricter.entry(fault.rule.id()).or_default().push(&case.id);
            }
        }
    }
    println!("{counts:#?}\nstricter than llhttp, by rule: {stricter:#?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(counts, COUNTS.iter().copied().collect());
}

const TAKEN_BY_LLHTTP: &str = "taken by llhttp, refused";

/// In words how the two verdicts go together, or `None` if they must not.
fn compare(case: &Case, verdict: Verdict) -> Option<&'static str> {
    let strict = case.lenient.is_empty();
    let listed = |list: &[(&str, &str)]| list.iter().any(|(id, _)| *id == case.id);
    let llhttp_takes = case.llhttp_verdict == "ok";
    match verdict {
        Verdict::Sound(_) if !llhttp_takes => {
            listed(TAKEN).then_some("refused by llhttp, taken by exception")
        }
        Verdict::Sound(_) if !strict => {
            listed(TAKEN_LENIENT).then_some("taken by lenient llhttp, and by exception")
        }
        Verdict::Refused(..) | Verdict::Closed(_) if !llhttp_takes => {
            (!listed(TAKEN)).then_some("refused by both")
        }
        Verdict::Refused(..) | Verdict::Closed(_) if !strict => {
            (!listed(TAKEN_LENIENT)).then_some("taken by lenient llhttp, refused")
        }
        Verdict::Refused(..) => Some(TAKEN_BY_LLHTTP),
        Verdict::Sound(whole) | Verdict::Closed(whole) => {
            let expected = if case.kind == "url" { 1 } else { case.messages_complete };
            (whole == expected).then_some("taken by both")
        }
    }
}

fn verdict(case: &Case, input: &[u8]) -> Verdict {
    let verdict = judge_with_host(case, input.to_vec());
    if verdict == Verdict::Sound(0) && case.llhttp_verdict != "ok" {
        // Cut off before the end of the head, where framing is weighed: let it end.
        return judge_with_host(case, [input, b"\r\n"].concat());
    }
    verdict
}

fn inputs(case: &Case) -> Vec<Vec<u8>> {
    let decode = |text: &String| STANDARD.decode(text).expect("the fixture is base64");
    let mut inputs = vec![decode(&case.input_base64)];
    inputs.extend(case.input_latin1_base64.as_ref().map(decode));
    for input in &mut inputs {
        if let Some(stopped) = &case.stopped {
            input.truncate(stopped.off); // behind an upgrade llhttp leaves the bytes to its caller
        }
    }
    inputs
}

/// Most cases leave Host out, which says nothing about what they are there to show: they get one.
fn judge_with_host(case: &Case, mut input: Vec<u8>) -> Verdict {
    if case.kind == "url" {
        input = [b"GET ", input.as_slice(), b" HTTP/1.0\r\n\r\n"].concat();
    }
    for _ in 0..8 {
        let verdict = match case.kind.as_str() {
            "response" => judge_responses(&input, case.skip_body),
            _ => judge_requests(&input, case.skip_body),
        };
        let Verdict::Refused(Fault { rule: Rule::H1Ho01, .. }, at) = verdict else { return verdict };
        let start = at + if input[at..].starts_with(b"\r\n") { 2 } else { 0 };
        let line =
            input[start..].iter().position(|&b| b == b'\n').expect("a refused head has a request line");
        let behind = start + line + 1;
        input.splice(behind..behind, *b"Host: h\r\n");
    }
    panic!("{}: a Host line did not help: {}", case.id, show(&input));
}

fn judge_requests(input: &[u8], skip_body: bool) -> Verdict {
    let (mut at, mut whole) = (0, 0);
    let mut head = RequestHead::new();
    loop {
        match head.parse(&input[at..], &HeadBounds::REQUEST) {
            Err(fault) => return Verdict::Refused(fault, at),
            Ok(Parse::Partial) => return Verdict::Sound(whole),
            Ok(Parse::Complete) => {}
        }
        let start = at;
        at += head.len();
        let framing = if skip_body { Framing::None } else { head.framing() };
        let fed = framed(framing, &input[at..], [], Mode::Decode, u64::MAX);
        match fed.fault {
            Some(fault) => return Verdict::Refused(fault, start),
            None if !fed.done => return Verdict::Sound(whole),
            None => {}
        }
        at = input.len() - fed.left;
        whole += 1;
        if !head.keep_alive() && at < input.len() {
            return Verdict::Closed(whole);
        }
    }
}

fn judge_responses(input: &[u8], head_request: bool) -> Verdict {
    let (mut at, mut whole) = (0, 0);
    let mut head = ResponseHead::new();
    loop {
        match head.parse(&input[at..], &HeadBounds::RESPONSE, &Asked { head: head_request }) {
            Err(fault) => return Verdict::Refused(fault, at),
            Ok(Parse::Partial) => return Verdict::Sound(whole),
            Ok(Parse::Complete) => {}
        }
        let start = at;
        at += head.len();
        let fed = framed(head.framing(), &input[at..], [], Mode::Decode, u64::MAX);
        match fed.fault {
            Some(fault) => return Verdict::Refused(fault, start),
            None if !fed.done => return Verdict::Sound(whole),
            None => {}
        }
        at = input.len() - fed.left;
        whole += 1;
        if !head.keep_alive() && !head.is_interim() && at < input.len() {
            return Verdict::Closed(whole);
        }
    }
}

fn cases() -> Option<Vec<Case>> {
    let Ok(folder) = std::env::var("RINGWAY_FIXTURES") else {
        println!("skipped: http1/llhttp.jsonl (RINGWAY_FIXTURES is not set); rules.rs has our own cases");
        return None;
    };
    let text =
        std::fs::read_to_string(format!("{folder}/http1/llhttp.jsonl")).expect("the fixture is readable");
    let cases: Vec<Case> =
        text.lines().map(|line| serde_json::from_str(line).expect("a case a line")).collect();
    assert!(cases.len() >= 272, "{} cases", cases.len());
    Some(cases)
}
