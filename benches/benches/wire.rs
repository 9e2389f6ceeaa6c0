//! Heads, bodies, JSON and events: the cost of each step that reads or writes bytes.
//!
//! Owns: one benchmark per step. Must not: touch a socket.
//! Read next: `plane.rs`, the steps that choose and count.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringway_benches::material;
use ringway_benches::pipeline::{request_out, response_out};
use ringway_wire::http1::{
    Asked, Body, Framing, HeadBounds, Mode, RequestHead, ResponseHead, path_is_plain, write_request,
    write_response,
};
use ringway_wire::{json, sse};

const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;

fn heads(c: &mut Criterion) {
    let mut group = c.benchmark_group("head");
    let bytes = material::request_head("/v1/chat/completions", 1_024);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    let mut head = RequestHead::new();
    group.bench_function("parse request, strict", |b| {
        b.iter(|| head.parse(black_box(&bytes), &HeadBounds::REQUEST).expect("sound"));
    });
    let small = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut little = RequestHead::new();
    group.bench_function("parse request, smallest", |b| {
        b.iter(|| little.parse(black_box(small), &HeadBounds::REQUEST).expect("sound"));
    });
    let mut out = Vec::new();
    let how = request_out(head.framing(), b"e0:8000");
    group.bench_function("write request", |b| {
        b.iter(|| {
            out.clear();
            write_request(&mut out, black_box(&head), &bytes, &how);
        });
    });
    let answer = material::answer_head(1_024);
    let mut parsed = ResponseHead::new();
    group.bench_function("parse answer", |b| {
        b.iter(|| parsed.parse(black_box(&answer), &HeadBounds::RESPONSE, &Asked::default()).expect("sound"));
    });
    let how = response_out(Framing::Length(1_024));
    group.bench_function("write answer", |b| {
        b.iter(|| {
            out.clear();
            write_response(&mut out, black_box(&parsed), &answer, &how);
        });
    });
    group.bench_function("check path is plain", |b| {
        b.iter(|| path_is_plain(black_box(b"/v1/chat/completions")));
    });
    group.finish();
}

fn bodies(c: &mut Criterion) {
    let mut group = c.benchmark_group("body");
    let (mut spans, mut buffer) = (Vec::new(), Vec::new());
    for (name, events) in [("chunked verbatim, 1 event", 1), ("chunked verbatim, 64 events", 64)] {
        let coded = material::coded_event().repeat(events);
        let mut body = Body::new(Framing::Chunked, Mode::Verbatim, u64::MAX);
        group.throughput(Throughput::Elements(events as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                buffer.clear();
                buffer.extend_from_slice(black_box(&coded));
                spans.clear();
                body.advance(&mut buffer, &mut spans).expect("sound")
            });
        });
    }
    group.finish();
}

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("json");
    let mut scanner = json::Scanner::new();
    for (name, bytes) in [("1 KB", KIB), ("220 KB", 220 * KIB), ("4 MB", 4 * MIB)] {
        let body = material::chat_body(bytes);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("peek, whole body of {name}"), |b| {
            b.iter(|| {
                scanner.reset();
                scanner.feed(black_box(&body)).expect("sound");
                scanner.finish().expect("whole");
            });
        });
    }
    let body = material::chat_body(16 * KIB);
    let span = span_of_model(&body);
    let mut out = Vec::new();
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("splice model into 16 KB", |b| {
        b.iter(|| {
            out.clear();
            json::splice_model(&mut out, black_box(&body), 0, &span, "another/model-name");
        });
    });
    group.finish();
}

fn span_of_model(body: &[u8]) -> std::ops::Range<u64> {
    let mut scanner = json::Scanner::new();
    scanner.feed(body).expect("sound");
    scanner.model().expect("it has one").span
}

fn events(c: &mut Criterion) {
    let mut group = c.benchmark_group("sse");
    for (name, count) in [("observe, 1 event of 160 bytes", 1), ("observe, 64 events of 160 bytes", 64)] {
        let bytes = material::EVENT.repeat(count);
        let mut observer = sse::Observer::new(sse::Shape::OpenAi);
        observer.feed(bytes.as_bytes());
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(name, |b| b.iter(|| observer.feed(black_box(bytes.as_bytes()))));
    }
    let body = material::answer_body();
    let mut observer = sse::UnaryObserver::new();
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("observe, JSON answer of 1 KB", |b| {
        b.iter(|| {
            observer.reset();
            observer.feed(black_box(&body));
            observer.finish()
        });
    });
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(400))
        .measurement_time(Duration::from_millis(1_200))
        .sample_size(30)
}

criterion_group! { name = wire; config = short(); targets = heads, bodies, requests, events }
criterion_main!(wire);
