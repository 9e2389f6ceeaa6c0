//! How fast a request body is scanned: `cargo run --release -p ringway-wire --example json_speed`.
//! Owns: three bodies of 220 KB and a clock. Must not: be part of any build but its own.
//! Read next: `../src/json/grammar.rs`.

use ringway_wire::json::Scanner;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

const BODY_BYTES: usize = 220 * 1024;
const FOR: Duration = Duration::from_millis(400);

fn main() {
    let prose = "The gateway reads the model, finds a route and sends the same bytes on. ";
    let code = "fn main() {\\n    println!(\\\"{}\\\", 1);\\n}\\n";
    let wide = "Grüße, 世界 — naïve café. ";
    for (name, text) in [("prose", prose), ("code", code), ("non-ASCII", wide)] {
        let body = chat(text, 2_000);
        report(&format!("{name}, messages of 2 KB, fed whole"), &body, body.len());
        report(&format!("{name}, messages of 2 KB, fed by 16 KiB"), &body, 16 * 1024);
    }
    report("prose, one message", &chat(prose, BODY_BYTES), BODY_BYTES);
    report("prose, messages of 60 bytes", &chat(prose, 60), BODY_BYTES);
}

fn chat(text: &str, message: usize) -> Vec<u8> {
    let mut body = String::from(r#"{"model":"gpt-4o-mini","stream":true,"max_tokens":512,"messages":["#);
    let content = text.repeat(message.div_ceil(text.len()));
    while body.len() < BODY_BYTES {
        write!(body, r#"{{"role":"user","content":"{content}"}},"#).expect("a String takes all");
    }
    body.pop();
    body.push_str("]}");
    body.into_bytes()
}

fn report(name: &str, body: &[u8], piece: usize) {
    let mut scanner = Scanner::new();
    let mut best = Duration::MAX;
    let begin = Instant::now();
    while begin.elapsed() < FOR {
        let start = Instant::now();
        scanner.reset();
        for piece in body.chunks(piece) {
            scanner.feed(black_box(piece)).expect("a valid body");
        }
        scanner.finish().expect("a whole body");
        best = best.min(start.elapsed());
    }
    let rate = body.len() as f64 / best.as_secs_f64() / 1e9;
    println!("{rate:6.2} GB/s  {:7} bytes  {name}", body.len());
}
