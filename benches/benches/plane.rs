//! Matching, choosing and counting: the steps between reading and writing, and all of them in a row.
//!
//! Owns: one benchmark per step. Must not: touch a socket.
//! Read next: `wire.rs`, the steps that read and write bytes.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ringway_benches::material;
use ringway_benches::pipeline::Pipeline;
use ringway_contract::snapshot::{Balance, LogFormat, Logging};
use ringway_dataplane::balance::{Tried, pick};
use ringway_dataplane::cells::{Cells, Lease};
use ringway_dataplane::observe::histogram::Cells as Histogram;
use ringway_dataplane::observe::{AccessLog, Record, Short};
use ringway_dataplane::table::{Ask, ModelSeen};

fn routes(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    for count in [10, 1_000, 10_000] {
        let table = material::table(&material::snapshot(count, 2));
        let ask = Ask {
            method: b"POST",
            host: b"gateway.example:8080",
            path: b"/v1/chat/completions",
            header: &|_| None,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            model: ModelSeen::Is(b"llama-3.1-8b-instruct"),
        };
        group.bench_function(format!("match the last of {count} by model"), |b| {
            b.iter(|| matches!(table.route(black_box(&ask)), ringway_dataplane::table::Verdict::Route(_)));
        });
    }
    group.finish();
}

fn choice(c: &mut Criterion) {
    let mut group = c.benchmark_group("balance");
    for (name, balance) in [("least requests", Balance::LeastRequests), ("p2c", Balance::P2c)] {
        for endpoints in [2, 64] {
            let mut snapshot = material::snapshot(1, endpoints);
            snapshot.backends[0].balance = balance;
            let table = material::table(&snapshot);
            let mut rng = fastrand::Rng::with_seed(1);
            group.bench_function(format!("{name}, {endpoints} endpoints"), |b| {
                b.iter(|| pick(black_box(&table.routes()[0]), &Tried::none(), &mut rng).is_some());
            });
        }
    }
    group.finish();
}

fn leases(c: &mut Criterion) {
    let mut group = c.benchmark_group("lease");
    let cell = Cells::new().cell("b/e:1");
    for threads in [1, 2, 4, 8] {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        drop(Lease::take(black_box(&cell)));
                    }
                });
            }
            let name = format!("take and drop on one cell, {threads} threads");
            group.bench_function(name, |b| b.iter(|| Lease::take(black_box(&cell))));
            stop.store(true, Ordering::Relaxed);
        });
    }
    group.finish();
}

fn observation(c: &mut Criterion) {
    let mut group = c.benchmark_group("observe");
    let cells = Histogram::default();
    let mut value = 0;
    group.bench_function("histogram record", |b| {
        b.iter(|| {
            value = (value + 977) & 0xf_ffff;
            cells.record(black_box(value));
        });
    });
    let log = AccessLog::start(1, LogFormat::Text).expect("a thread");
    let folder = tempfile::tempdir().expect("a folder");
    let record = record();
    group.bench_function("log push, off", |b| b.iter(|| log.push(black_box(&record))));
    let path = folder.path().join("access.log").display().to_string();
    let logging = Logging { access: ringway_contract::snapshot::AccessLog::Path(path), format: None };
    log.switch(log.open(&logging).expect("a file"));
    // Faster than any writer: most pushes find the queue full, which costs what a push costs.
    group.bench_function("log push, to a file", |b| b.iter(|| log.push(black_box(&record))));
    log.close(Duration::from_secs(5));
    group.finish();
}

fn record() -> Record {
    let mut record = Record::new(0, 0, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    record.method = Short::new(b"POST");
    record.path = Short::path(b"/v1/chat/completions");
    record
}

fn whole(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipeline");
    let mut pipeline = Pipeline::default();
    group.bench_function("exchange, 1 KB, AI route", |b| b.iter(|| pipeline.exchange()));
    pipeline.begin_stream();
    group.bench_function("event", |b| b.iter(|| pipeline.event()));
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(400))
        .measurement_time(Duration::from_millis(1_200))
        .sample_size(30)
}

criterion_group! { name = plane; config = short(); targets = routes, choice, leases, observation, whole }
criterion_main!(plane);
