//! `pipeline exchange|event COUNT`: so many units of work, for a tool that counts what they took.
//!
//! Owns: a run that is the same each time: no clock, no socket, no chance without a seed.
//! Must not: print anything, or do more per unit than the data plane does.
//! Read next: `benches/compare/instructions`, which runs it under callgrind.

use std::process::ExitCode;

use ringway_benches::pipeline::Pipeline;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (what, count) = (args.next(), args.next().and_then(|it| it.parse::<u64>().ok()));
    let (Some(what), Some(count)) = (what, count) else { return usage() };
    let mut pipeline = Pipeline::default();
    // Warm: both kinds of unit were done before the first that counts.
    pipeline.exchange();
    pipeline.begin_stream();
    pipeline.event();
    match what.as_str() {
        "exchange" => repeat(count, || pipeline.exchange()),
        "event" => repeat(count, || pipeline.event()),
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn repeat(count: u64, mut unit: impl FnMut() -> usize) {
    for _ in 0..count {
        std::hint::black_box(unit());
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: pipeline exchange|event COUNT");
    ExitCode::from(2)
}
