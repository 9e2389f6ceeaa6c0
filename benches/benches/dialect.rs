//! Translation: a request of 220 KB, and one event of a stream.
//!
//! Owns: one benchmark per direction and kind. Must not: touch a socket.
//! Read next: `wire.rs`, what the same event costs when it only passes.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringway_benches::dialogue::{CHAT_EVENT, MESSAGES_EVENT, MESSAGES_START, conversation};
use ringway_dialect::dialect::Dialect;
use ringway_dialect::json::{Surrogates, Tape};
use ringway_dialect::model::{Echo, Losses, Realm, Target};
use ringway_dialect::translate::{self, Translator};

fn carry(tape: &mut Tape, from: Dialect, target: &Target, body: &str, out: &mut Vec<u8>) {
    let mut losses = Losses::new();
    let root = tape.read(body, Surrogates::Refuse).expect("JSON");
    let request = translate::read_request(from, root, &mut losses).expect("readable");
    translate::write_request(&request, target, &mut losses, out).expect("writable");
}

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("request, 220 KB");
    let mut tape = Tape::new();
    let mut out = Vec::new();
    for (what, code, calls) in
        [("prose", false, false), ("code", true, false), ("code with calls", true, true)]
    {
        let chat = conversation(code, calls);
        out.clear();
        carry(&mut tape, Dialect::OpenAiChat, &Target::of(Dialect::Anthropic), &chat, &mut out);
        let messages = String::from_utf8(out.clone()).expect("UTF-8");
        for (from, to, body) in [
            (Dialect::OpenAiChat, Dialect::Anthropic, &chat),
            (Dialect::Anthropic, Dialect::OpenAiChat, &messages),
        ] {
            let target = Target::of(to);
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_function(format!("{what}, {} to {}", from.name(), to.name()), |b| {
                b.iter(|| {
                    out.clear();
                    carry(&mut tape, from, &target, black_box(body), &mut out);
                });
            });
        }
    }
    group.finish();
}

fn events(c: &mut Criterion) {
    const EVENTS: usize = 1_000;
    let mut group = c.benchmark_group("event");
    group.throughput(Throughput::Elements(EVENTS as u64));
    let messages = MESSAGES_START.to_owned() + &MESSAGES_EVENT.repeat(EVENTS);
    let chat = CHAT_EVENT.repeat(EVENTS);
    for (from, to, stream) in [
        (Dialect::OpenAiChat, Dialect::Anthropic, &chat),
        (Dialect::Anthropic, Dialect::OpenAiChat, &messages),
    ] {
        let mut out = Vec::new();
        group.bench_function(format!("{} to {}", from.name(), to.name()), |b| {
            let fresh = || Translator::new(from, Realm::NONE, to, Echo::default()).expect("both are known");
            b.iter_batched_ref(
                fresh,
                |translator| {
                    out.clear();
                    translator.feed(black_box(stream.as_bytes()), &mut out);
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = dialect;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = requests, events
}
criterion_main!(dialect);
