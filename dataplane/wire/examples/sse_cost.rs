//! What the observer costs per event: `cargo run --release -p ringway-wire --example sse_cost`.
//! Owns: one ordinary event of each dialect and a clock. Must not: be part of any build but its own.
//! Read next: `../src/sse/observer.rs`.

use ringway_wire::sse::{Observer, Shape, UnaryObserver};
use std::hint::black_box;
use std::time::{Duration, Instant};

const EVENTS: usize = 64;
const FOR: Duration = Duration::from_millis(400);

fn main() {
    let chat = r#"data: {"id":"chatcmpl-AbCdEf","object":"chat.completion.chunk","created":1760000000,"model":"m-1","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}

"#;
    let anthropic = r#"event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" some words of text in a delta"}}

"#;
    let responses = r#"event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":" word"}

"#;
    let gemini = r#"data: {"candidates":[{"content":{"role":"model","parts":[{"text":" some words of text"}]},"index":0}],"modelVersion":"gemini-2.5","responseId":"AbCdEfGhIj"}

"#;
    let counted = r#"data: {"candidates":[{"content":{"role":"model","parts":[{"text":" some words of text"}]},"index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":4,"totalTokenCount":13},"modelVersion":"gemini-2.5"}

"#;
    let nulls = chat.replace("}]}", r#"}],"usage":null,"obfuscation":"aB3dE"}"#);
    report("OpenAI chat", Shape::OpenAi, chat, EVENTS);
    report("OpenAI chat with usage asked for", Shape::OpenAi, &nulls, EVENTS);
    report("OpenAI chat, one event per feed", Shape::OpenAi, chat, 1);
    report("Anthropic", Shape::Anthropic, anthropic, EVENTS);
    report("Responses", Shape::Responses, responses, EVENTS);
    report("Gemini", Shape::Gemini, gemini, EVENTS);
    report("Gemini with usage, read exactly", Shape::Gemini, counted, EVENTS);
    split("OpenAI chat, cut in the middle, read exactly", chat);
    body();
}

fn report(name: &str, shape: Shape, event: &str, per_feed: usize) {
    let mut observer = Observer::new(shape);
    observer.feed(event.as_bytes());
    let feed = event.repeat(per_feed);
    let best = best(EVENTS / per_feed, || {
        observer.feed(black_box(feed.as_bytes()));
    });
    println!(
        "{:7.1} ns per event of {:3} bytes  {name}",
        best.as_nanos() as f64 / EVENTS as f64,
        event.len()
    );
}

fn split(name: &str, event: &str) {
    let mut observer = Observer::new(Shape::OpenAi);
    observer.feed(event.as_bytes());
    let (left, right) = event.as_bytes().split_at(event.len() / 2);
    let best = best(EVENTS, || {
        observer.feed(black_box(left));
        observer.feed(black_box(right));
    });
    println!(
        "{:7.1} ns per event of {:3} bytes  {name}",
        best.as_nanos() as f64 / EVENTS as f64,
        event.len()
    );
}

fn body() {
    let text = "The answer is forty-two, and here is why.\\n".repeat(5_000);
    let body = format!(
        r#"{{"choices":[{{"message":{{"content":"{text}"}}}}],"usage":{{"prompt_tokens":1,"completion_tokens":2}}}}"#
    );
    let mut observer = UnaryObserver::new();
    let best = best(1, || {
        observer.reset();
        observer.feed(black_box(body.as_bytes()));
        observer.finish();
    });
    println!(
        "{:7.2} GB/s  a whole answer of {} bytes",
        body.len() as f64 / best.as_nanos() as f64,
        body.len()
    );
}

/// The least time that `times` turns take.
fn best(times: usize, mut turn: impl FnMut()) -> Duration {
    let begin = Instant::now();
    let mut best = Duration::MAX;
    while begin.elapsed() < FOR {
        let start = Instant::now();
        for _ in 0..times {
            turn();
        }
        best = best.min(start.elapsed());
    }
    best
}
