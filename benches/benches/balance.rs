//! What `balance: gpu` costs for each request: hashing its prompt, looking it up, choosing.
//!
//! Owns: the benchmarks of routing.md section 13. Must not: touch a socket.
//! Read next: `dataplane/src/balance/score.rs` and `prefix.rs`.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ringway_benches::fleet::{Fleet, prompt_chain};
use ringway_dataplane::balance::prefix::Matches;
use ringway_dataplane::balance::prefix::blocks::{Blocks, Key, Section};
use ringway_dataplane::cells::{Lease, Load};

const ENDPOINTS: usize = 64;

fn choice(c: &mut Criterion) {
    let mut group = c.benchmark_group("gpu");
    let mut fleet = Fleet::new(ENDPOINTS);
    let matches = fleet.matches(32);
    group.bench_function("choose among 64, cells warm", |b| b.iter(|| fleet.choose(black_box(&matches))));
    let mut adapters = Fleet::new(ENDPOINTS);
    for turn in 0..ENDPOINTS {
        let name = format!("adapter-{}", turn % 12);
        adapters.choose_with(name.as_bytes(), &adapters.matches(32));
    }
    group.bench_function("choose among 64, with one of 12 adapters", |b| {
        b.iter(|| adapters.choose_with(black_box(b"adapter-7"), black_box(&matches)));
    });
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (cells, stop) = (fleet.cells(), &stop);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(thread);
                while !stop.load(Ordering::Relaxed) {
                    let cell = &cells[rng.usize(..cells.len())];
                    drop(Lease::dispatch(cell, Load { prompt: 2_000, miss: 900 }));
                }
            });
        }
        group.bench_function("choose among 64, cells written by 3 threads", |b| {
            b.iter(|| fleet.choose(black_box(&matches)));
        });
        stop.store(true, Ordering::Relaxed);
    });
    for (name, blocks) in [("8 KB", 32), ("220 KB", 860)] {
        let chain = prompt_chain(1, blocks);
        fleet.index.insert(9, &chain);
        let mut matches = Matches::default();
        group.bench_function(format!("look up {name} and choose among 64"), |b| {
            b.iter(|| {
                fleet.index.lookup(black_box(&chain), &mut matches);
                fleet.choose(&matches)
            });
        });
        group.bench_function(format!("insert {name}, known"), |b| b.iter(|| fleet.index.insert(9, &chain)));
        let mut turn = 0;
        group.bench_function(format!("insert {name}, new"), |b| {
            b.iter(|| {
                turn += 1;
                fleet.index.insert(turn as usize % ENDPOINTS, &prompt_chain(turn, blocks))
            });
        });
    }
    let small = Fleet::new(8);
    let mut turn = 0;
    group.bench_function("insert 220 KB, new, 8 endpoints", |b| {
        b.iter(|| {
            turn += 1;
            small.index.insert(turn as usize % 8, &prompt_chain(turn, 860))
        });
    });
    let mut large = Fleet::new(1_000);
    let matches = large.matches(32);
    group.bench_function("choose among 1000, sampled", |b| b.iter(|| large.choose(black_box(&matches))));
    group.finish();
}

fn hashing(c: &mut Criterion) {
    let mut group = c.benchmark_group("prompt");
    let key = Key::new(&mut fastrand::Rng::with_seed(1));
    let mut blocks = Blocks::default();
    for bytes in [8 * 1_024, 220 * 1_024] {
        let text: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        group.bench_function(format!("hash {} KiB", bytes / 1_024), |b| {
            b.iter(|| {
                blocks.clear();
                blocks.push(&key, Section::Messages, black_box(&text));
                blocks.finish(&key, 1).len()
            });
        });
    }
    group.finish();
}

fn leases(c: &mut Criterion) {
    let mut group = c.benchmark_group("lease");
    let fleet = Fleet::new(1);
    let cell = &fleet.cells()[0];
    group.bench_function("dispatch, first token, drop", |b| {
        b.iter(|| {
            let mut lease = Lease::dispatch(black_box(cell), Load { prompt: 2_000, miss: 900 });
            lease.first_token();
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

criterion_group! { name = balance; config = short(); targets = choice, hashing, leases }
criterion_main!(balance);
