//! Measurements in alternating order, and which of them count.
//!
//! Owns: A B B A, the rule for void measurements and their repetition, the separate pass that counts system calls.
//! Must not: average anything away; every measurement is kept, void ones with their reason.
//! Read next: `table.rs`, which makes figures of them.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use crate::bounds::{
    LATE_P99_MAX, LOAD_SHARE_MIN, OTHERS_SHARE_MAX, REPEATS_MAX, START_MAX, WAITED_SHARE_MAX, load_core,
};
use crate::load::{Counted, Fault, Load, Phase, Times};
use crate::process::{Reading, Used};
use crate::proxies::{Proxy, Subject};
use crate::together;
use crate::workload::{Pace, Workload};

/// One measurement of one subject.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// The workload's name.
    pub workload: &'static str,
    /// The subject's name.
    pub subject: &'static str,
    /// Which round, from 0.
    pub round: usize,
    /// CPU of the proxy per unit.
    pub cpu_us: f64,
    /// Units in a second.
    pub per_s: f64,
    /// From the intended time of sending to the last byte of the answer; none for streams.
    pub latency_us: Option<Percentiles>,
    /// Of events, from just before the send to the receipt.
    pub delay_us: Option<Percentiles>,
    /// How late the load sent what was due; none in closed loops.
    pub late_us: Option<Percentiles>,
    /// Context switches of the proxy per unit.
    pub switches: f64,
    /// Resident memory of the proxy at the end.
    pub rss_bytes: u64,
    /// Resident memory per connection of a caller, above what it had before the first.
    pub rss_per_connection: f64,
    /// What others used of the proxy's core, as a share of the core.
    pub others: f64,
    /// How long the proxy was ready without having the core.
    pub waited: f64,
    /// What the load's thread had of its core.
    pub load: f64,
    /// How much of its time the load had something to do. At 1 it set the pace, and not the proxy.
    pub load_busy: f64,
    /// Why it does not count; none: it does.
    pub void: Option<Void>,
}

/// Three percentiles in µs.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
}

/// Why a measurement does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Void {
    /// Others took too much of the proxy's core.
    Others,
    /// The load's thread did not get its core.
    Starved,
    /// The load could not send in time.
    Late,
}

/// What ends a comparison.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The proxy did not start.
    #[error("{0}: {1}")]
    Start(&'static str, std::io::Error),
    /// The proxy did not do its work.
    #[error("{0} on `{1}`: {2} ({3})")]
    Fault(&'static str, &'static str, Fault, String),
    /// It ended while measured.
    #[error("{0} ended while it was measured")]
    Gone(&'static str),
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many rounds.
    pub rounds: usize,
    /// How long each.
    pub times: Times,
    /// There and back again in each round; otherwise one way.
    pub both_ways: bool,
    /// Void measurements count too; the report says so.
    pub accept_void: bool,
    /// Where our programs are.
    pub built: PathBuf,
    /// For the files of the proxies.
    pub folder: PathBuf,
}

/// The subjects that a workload is run with.
pub fn subjects_of(workload: &Workload, chosen: &[Subject]) -> Vec<Subject> {
    let fits = |it: &&Subject| **it != Subject::RingwayModel || workload.model_too;
    chosen.iter().filter(fits).copied().collect()
}

/// Runs one workload with all subjects, and tells `each` of every measurement. Who fails is told of as well, and is
/// left out from there on; the others go on.
pub fn run(
    plan: &Plan,
    workload: &Workload,
    subjects: &[Subject],
    mut each: impl FnMut(&Result<Sample, Failure>),
) -> (Vec<Sample>, Vec<Failure>) {
    let (mut samples, mut failures, mut left) = (Vec::new(), Vec::new(), subjects.to_vec());
    for round in 0..plan.rounds {
        let there = subjects.iter();
        let back = subjects.iter().rev().filter(|_| plan.both_ways);
        for &subject in there.chain(back) {
            for _ in 0..=REPEATS_MAX {
                if !left.contains(&subject) {
                    break;
                }
                let result = measure(plan, workload, subject, round);
                each(&result);
                match result {
                    Ok(sample) => {
                        let counts = sample.void.is_none() || plan.accept_void;
                        samples.push(sample);
                        if counts {
                            break;
                        }
                    }
                    Err(failure) => {
                        left.retain(|it| *it != subject);
                        failures.push(failure);
                    }
                }
            }
        }
    }
    (samples, failures)
}

fn measure(plan: &Plan, workload: &Workload, subject: Subject, round: usize) -> Result<Sample, Failure> {
    let (loads, mut proxy) = start(plan, workload, subject)?;
    let _idle = idle(plan, workload, subject, &mut proxy)?;
    let mut readings = [None; 3];
    let counted = together::run(loads, workload, proxy.address, subject.path(), plan.times, |phase| {
        readings[phase as usize] = Reading::take(proxy.pids(), workload.world.workers);
    })
    .map_err(|fault| failure(plan, workload, subject, &mut proxy, fault))?;
    let [Some(before), Some(begin), Some(end)] = readings else { return Err(Failure::Gone(subject.name())) };
    let grown = end.since(&before).rss_grown_bytes;
    Ok(sample(workload, subject, round, &counted, &end.since(&begin), grown))
}

/// Connections that stand beside the load and never ask anything.
fn idle(
    plan: &Plan,
    workload: &Workload,
    subject: Subject,
    proxy: &mut Proxy,
) -> Result<Vec<TcpStream>, Failure> {
    let address = proxy.address;
    let opened: std::io::Result<Vec<TcpStream>> =
        (0..workload.world.idle).map(|_| TcpStream::connect(address)).collect();
    opened.map_err(|error| failure(plan, workload, subject, proxy, Fault::Io("an idle connection", error)))
}

/// The proxy, and a load for each of its workers.
fn start(plan: &Plan, workload: &Workload, subject: Subject) -> Result<(Vec<Load>, Proxy), Failure> {
    let fault = |fault| Failure::Fault(subject.name(), workload.name, fault, "not started".to_owned());
    let loads = Load::several(workload.world.workers).map_err(fault)?;
    let origins = loads.iter().map(Load::origin).collect::<Result<Vec<_>, _>>().map_err(fault)?;
    let proxy = Proxy::start(subject, &plan.built, &plan.folder, &origins, workload)
        .map_err(|error| Failure::Start(subject.name(), error))?;
    Ok((loads, proxy))
}

fn failure(plan: &Plan, workload: &Workload, subject: Subject, proxy: &mut Proxy, fault: Fault) -> Failure {
    Failure::Fault(subject.name(), workload.name, fault, proxy.testimony(subject, &plan.folder))
}

fn sample(
    workload: &Workload,
    subject: Subject,
    round: usize,
    counted: &Counted,
    used: &Used,
    grown: u64,
) -> Sample {
    let wall = counted.wall.as_secs_f64();
    let units = counted.units.max(1) as f64;
    let load = counted.load_cpu.as_secs_f64() / wall;
    let late = Duration::from_nanos(counted.late.value_at_quantile(0.99));
    let by_clock = workload.pace != Pace::Closed;
    let void = if used.others > OTHERS_SHARE_MAX || used.waited > WAITED_SHARE_MAX {
        Some(Void::Others)
    } else if load < LOAD_SHARE_MIN {
        Some(Void::Starved)
    } else if by_clock && late > LATE_P99_MAX {
        Some(Void::Late)
    } else {
        None
    };
    Sample {
        workload: workload.name,
        subject: subject.name(),
        round,
        cpu_us: used.cpu.as_secs_f64() * 1e6 / units,
        per_s: counted.units as f64 / wall,
        latency_us: percentiles(&counted.latency),
        delay_us: percentiles(&counted.delay),
        late_us: percentiles(&counted.late),
        switches: used.switches as f64 / units,
        rss_bytes: used.rss_bytes,
        rss_per_connection: grown as f64 / (workload.connections * workload.world.workers) as f64,
        others: used.others,
        waited: used.waited,
        load,
        load_busy: 1.0 - counted.idle.as_secs_f64() / wall,
        void,
    }
}

fn percentiles(histogram: &Histogram<u64>) -> Option<Percentiles> {
    let us = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    (!histogram.is_empty()).then(|| Percentiles { p50: us(0.5), p90: us(0.9), p99: us(0.99) })
}

/// System calls per unit, from a pass of its own: whoever counts them is in the way of everything else.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Syscalls {
    /// The workload's name.
    pub workload: &'static str,
    /// The subject's name.
    pub subject: &'static str,
    /// Calls per unit.
    pub per_unit: f64,
}

/// Counts system calls with `perf stat`; none where that is not possible.
pub fn syscalls(plan: &Plan, workload: &Workload, subject: Subject) -> Result<Option<Syscalls>, Failure> {
    let (loads, mut proxy) = start(plan, workload, subject)?;
    let report = plan.folder.join("syscalls");
    let mut watcher = None;
    let counted =
        together::run(loads, workload, proxy.address, subject.path(), plan.times, |phase| match phase {
            Phase::Before => {}
            Phase::Begin => {
                let event = ["stat", "-x", ",", "-e", "raw_syscalls:sys_enter"];
                watcher = Watcher::start(event, &report, proxy.pid());
            }
            Phase::End => {
                if let Some(watcher) = watcher.take() {
                    watcher.end();
                }
            }
        })
        .map_err(|fault| failure(plan, workload, subject, &mut proxy, fault))?;
    let text = fs::read_to_string(&report).unwrap_or_default();
    let line = text.lines().find(|line| line.contains("sys_enter"));
    let calls = line.and_then(|line| line.split(',').next()?.parse::<f64>().ok());
    Ok(calls.map(|calls| Syscalls {
        workload: workload.name,
        subject: subject.name(),
        per_unit: calls / counted.units.max(1) as f64,
    }))
}

/// Where the time of a proxy goes: `perf record` with call graphs while the workload runs.
pub fn profile(plan: &Plan, workload: &Workload, subject: Subject, into: &Path) -> Result<(), Failure> {
    let (loads, mut proxy) = start(plan, workload, subject)?;
    let mut watcher = None;
    together::run(loads, workload, proxy.address, subject.path(), plan.times, |phase| match phase {
        Phase::Before => {}
        Phase::Begin => {
            watcher = Watcher::start(["record", "-q", "-F", "1999", "-g"], into, proxy.pid());
        }
        Phase::End => {
            if let Some(watcher) = watcher.take() {
                watcher.end();
            }
        }
    })
    .map_err(|fault| failure(plan, workload, subject, &mut proxy, fault))?;
    Ok(())
}

/// A `perf` that looks at a process until it is told to stop.
struct Watcher(Child);

impl Watcher {
    fn start<const N: usize>(args: [&str; N], into: &Path, pid: u32) -> Option<Self> {
        let _ = fs::remove_file(into);
        let mut command = Command::new("taskset");
        command.args(["-c", &load_core(0).to_string(), "perf"]).args(args).arg("-o").arg(into);
        command.args(["-p", &pid.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let began = Instant::now();
        // It has its counters open once it waits; nothing tells us, but it needs far less than this.
        while began.elapsed() < Duration::from_millis(300).min(START_MAX) {
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self(child))
    }

    fn end(mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::INT);
        }
        let _ = self.0.wait();
    }
}
