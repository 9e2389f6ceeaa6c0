//! `idle`: what both planes use while nobody asks anything, and a hundred servers are read once a second (S16).
//!
//! Owns: the command line, the order of things, the bars. `benches/idle/run` builds and starts it.
//! Must not: count its own time, or that of the servers it plays.
//! Read next: `pages.rs`, the servers; `planes.rs`, the two processes and their time.

mod pages;
mod planes;

use std::error::Error;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use serde::Serialize;

use crate::pages::Servers;
use crate::planes::{Cpu, Planes};

/// Starts servers with a page of metrics of exactly the given size, `ringctl up` with `ringway` in front of them, waits until
/// every one is read and well, and tells the CPU time of both processes over a while.
///
/// Ends with 1 if a bar is missed (routing section 13: 0.05 core with pages of 40 KB, 0.3 with 400 KB).
#[derive(Parser, Debug)]
#[command(name = "benches/idle/run", max_term_width = 100)]
struct Flags {
    /// How many servers
    #[arg(long, default_value_t = 100)]
    endpoints: usize,
    /// Sizes of their pages, in KB of 1,000 bytes
    #[arg(long, value_delimiter = ',', default_value = "40,400")]
    kb: Vec<usize>,
    /// How long each is measured
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Between two readings of a server
    #[arg(long, default_value = "1s")]
    interval: String,
    /// How often each size is measured
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// JSON instead of the table
    #[arg(long)]
    json: bool,
}

/// One measurement, in cores.
#[derive(Debug, Serialize)]
struct Row {
    page_kb: usize,
    endpoints: usize,
    pages_per_s: f64,
    ringctl: f64,
    ringway: f64,
    together: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bar: Option<f64>,
    met: bool,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    match measure_all(&flags) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("idle: {error}");
            ExitCode::from(2)
        }
    }
}

fn measure_all(flags: &Flags) -> Result<bool, Box<dyn Error>> {
    let mut rows = Vec::new();
    if !flags.json {
        println!("| page | pages/s | ringctl | ringway | together | bar | |\n|---|---|---|---|---|---|---|");
    }
    for kb in flags.kb.iter().flat_map(|kb| std::iter::repeat_n(*kb, flags.rounds)) {
        let row = measure(flags, kb)?;
        if !flags.json {
            println!("{}", line(&row));
        }
        rows.push(row);
    }
    if flags.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    Ok(rows.iter().all(|row| row.met))
}

fn measure(flags: &Flags, kb: usize) -> Result<Row, Box<dyn Error>> {
    let servers = Servers::start(flags.endpoints, kb * 1_000)?;
    let planes = Planes::start(servers.addresses(), &flags.interval)?;
    planes.wait_until_all_are_read(flags.endpoints)?;
    sleep(SETTLE);
    let (began, served, before) = (Instant::now(), servers.served(), planes.cpu()?);
    sleep(Duration::from_secs(flags.seconds));
    let (after, served, span) = (planes.cpu()?, servers.served() - served, began.elapsed().as_secs_f64());
    planes.check_all_are_read(flags.endpoints)?; // else the time was not spent on what it is told for
    let cores = |of: fn(&Cpu) -> f64| (of(&after) - of(&before)) / span;
    let (ringctl, ringway) = (cores(|cpu| cpu.ringctl_s), cores(|cpu| cpu.ringway_s));
    let (together, bar) = (ringctl + ringway, bar(kb));
    let met = bar.is_none_or(|bar| together < bar);
    let pages_per_s = served as f64 / span;
    Ok(Row { page_kb: kb, endpoints: flags.endpoints, pages_per_s, ringctl, ringway, together, bar, met })
}

/// From the first reading of all to the measurement: connections are made and tables pushed by then.
const SETTLE: Duration = Duration::from_secs(3);

fn bar(kb: usize) -> Option<f64> {
    match kb {
        40 => Some(0.05),
        400 => Some(0.3),
        _ => None,
    }
}

fn line(row: &Row) -> String {
    let Row { page_kb, pages_per_s, ringctl, ringway, together, bar, met, .. } = row;
    let bar = bar.map_or(String::new(), |bar| format!("< {bar}"));
    let verdict = match (bar.as_str(), met) {
        ("", _) => "",
        (_, true) => "met",
        (_, false) => "**missed**",
    };
    format!(
        "| {page_kb} KB | {pages_per_s:.0} | {ringctl:.4} | {ringway:.4} | {together:.4} | {bar} | {verdict} |"
    )
}
