//! What translation costs: `cargo run --profile quick -p ringway-dialect --example translate_cost`.
//!
//! Owns: requests of about 220 KB in three kinds, and a stream of 1,000 pieces of text.
//! Must not: be a judge of anything else; the best of many rounds is shown, for a machine with neighbours.
//! Read next: `benches/benches/dialect.rs`, the same under criterion.

use ringway_dialect::dialect::Dialect;
use ringway_dialect::json::{Surrogates, Tape};
use ringway_dialect::model::{Echo, Losses, Realm, Target};
use ringway_dialect::translate::{self, Translator};
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

const BODY_BYTES: usize = 220_000;

/// A conversation in Chat Completions whose user texts are like this, with a call of a tool in every fourth turn.
fn conversation(text: &str, calls: bool) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let text = quoted(text);
    let mut body =
        String::from(r#"{"model":"m","stream":true,"messages":[{"role":"system","content":"Be brief."}"#);
    let mut n = 0;
    while body.len() < BODY_BYTES {
        n += 1;
        let _ = write!(body, r#",{{"role":"user","content":"{n} {text}"}}"#);
        if calls {
            let args = quoted(&quoted(&format!(
                r#"{{"path":"src/{n}.rs","text":"{}"}}"#,
                "let x = 1;\n".repeat(20)
            )));
            let args = args.replace(r#"\\\""#, r#"\""#);
            let _ = write!(
                body,
                r#",{{"role":"assistant","content":null,"tool_calls":[{{"id":"call_{n}","type":"function","function":{{"name":"edit","arguments":"{args}"}}}}]}},{{"role":"tool","tool_call_id":"call_{n}","content":"{text}"}}"#
            );
        } else {
            let _ = write!(body, r#",{{"role":"assistant","content":"{text}"}}"#);
        }
    }
    body + r#",{"role":"user","content":"go on"}]}"#
}

fn best(rounds: u32, mut work: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let begun = Instant::now();
        work();
        best = best.min(begun.elapsed());
    }
    best
}

fn main() {
    let prose = "The quick brown fox jumps over the lazy dog, and nobody minds. ".repeat(30);
    let code = "fn main() {\n    println!(\"{}\", 1);\n}\n".repeat(40);
    for (what, body) in [
        ("prose", conversation(&prose, false)),
        ("code", conversation(&code, false)),
        ("code with calls", conversation(&code, true)),
    ] {
        let mut tape = Tape::new();
        let mut out = Vec::new();
        for (from, to, body) in [
            (Dialect::OpenAiChat, Dialect::Anthropic, body.clone()),
            (Dialect::Anthropic, Dialect::OpenAiChat, there(&body)),
        ] {
            let target = Target::of(to);
            let time = best(400, || {
                out.clear();
                one(&mut tape, from, &target, black_box(&body), &mut out);
            });
            let rate = body.len() as f64 / time.as_secs_f64() / 1e6;
            println!(
                "{what}: {} -> {}: {} bytes, {time:?}, {rate:.0} MB/s",
                from.name(),
                to.name(),
                body.len()
            );
        }
    }
    streams();
}

fn one(tape: &mut Tape, from: Dialect, target: &Target, body: &str, out: &mut Vec<u8>) {
    let mut losses = Losses::new();
    let text = simdutf8::basic::from_utf8(body.as_bytes()).expect("UTF-8");
    let root = tape.read(text, Surrogates::Refuse).expect("JSON");
    let request = translate::read_request(from, root, &mut losses).expect("readable");
    translate::write_request(&request, target, &mut losses, out).expect("writable");
}

fn there(body: &str) -> String {
    let mut out = Vec::new();
    one(&mut Tape::new(), Dialect::OpenAiChat, &Target::of(Dialect::Anthropic), body, &mut out);
    String::from_utf8(out).expect("UTF-8")
}

fn streams() {
    const EVENTS: usize = 1_000;
    let piece = r#"data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_0123456789","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}"#;
    let chat = format!("{piece}\n\n").repeat(EVENTS);
    let echo = || Echo { model: "m".to_owned(), ..Echo::default() };
    let anthropic = {
        let mut translator =
            Translator::new(Dialect::OpenAiChat, Realm::NONE, Dialect::Anthropic, echo()).expect("known");
        let mut out = Vec::new();
        translator.feed(chat.as_bytes(), &mut out);
        String::from_utf8(out).expect("UTF-8")
    };
    for (from, to, stream) in [
        (Dialect::OpenAiChat, Dialect::Anthropic, &chat),
        (Dialect::Anthropic, Dialect::OpenAiChat, &anthropic),
    ] {
        let mut out = Vec::new();
        let time = best(100, || {
            out.clear();
            let mut translator = Translator::new(from, Realm::NONE, to, echo()).expect("known");
            translator.feed(black_box(stream.as_bytes()), &mut out);
        });
        println!("stream: {} -> {}: {:?} per event", from.name(), to.name(), time / EVENTS as u32);
    }
}
