//! `compare`: ringway beside haproxy, nginx and a raw relay, in one run, on one core, under the same load.
//!
//! Owns: the command line and the order of things. `benches/compare/run` builds and starts it.
//! Must not: measure or judge; see below.
//! Read next: `rounds.rs` (alternation, void measurements), `load.rs` (origin and callers on one thread),
//! `proxies.rs` (who, configured how), `table.rs` (ratios and bars), `report.rs`.

mod bounds;
mod http;
mod load;
mod plot;
mod process;
mod proxies;
mod report;
mod rounds;
mod scale;
mod table;
mod together;
mod workload;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::bounds::load_core;
use crate::load::Times;
use crate::proxies::Subject;
use crate::report::{Comparison, Machine};
use crate::rounds::{Failure, Plan, Sample};
use crate::workload::Workload;

/// Compares ringway with haproxy, nginx and a raw relay: CPU per unit, delay, latency, memory.
#[derive(Parser, Debug)]
#[command(name = "benches/compare/run", max_term_width = 100)]
#[expect(clippy::struct_excessive_bools, reason = "a command line has switches")]
struct Flags {
    /// Rounds; in each, everyone is measured twice, in the order A B B A
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Writes compare.json, compare.md and the plots there; FOLDER.md is updated between its markers
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// One round, one way, short measurements: shows that all works, and gross changes
    #[arg(long)]
    short: bool,
    /// JSON on standard output instead of the table
    #[arg(long)]
    json: bool,
    /// Only these workloads; with --scale, only these lines: streams, idle, routes, endpoints, gpu, workers
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Only these subjects
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    subjects: Vec<String>,
    /// Seconds of one measurement (default 3, with --short 1)
    #[arg(long, value_name = "SECONDS")]
    window: Option<f64>,
    /// Seconds of warm-up before each (default 0.7, with --short 0.3)
    #[arg(long, value_name = "SECONDS")]
    warm: Option<f64>,
    /// Counts void measurements too, and says so
    #[arg(long)]
    accept_void: bool,
    /// Leaves out the pass that counts system calls
    #[arg(long)]
    no_syscalls: bool,
    /// Instead of comparing: what a unit costs ringway as streams, idle connections, routes and endpoints grow, and
    /// it and the others as workers do (two cores each); with --out, scale.svg there, and FOLDER.md between its markers
    #[arg(long)]
    scale: bool,
    /// Instead of measuring: `perf record` of each subject, one file per workload and subject in this folder
    #[arg(long, value_name = "FOLDER")]
    perf: Option<PathBuf>,
    /// Fails if a number is beyond its bar by more than this factor
    #[arg(long, value_name = "FACTOR")]
    gate: Option<f64>,
    /// Lists workloads and subjects
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match compare(&Flags::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(flags: &Flags) -> Result<ExitCode, Box<dyn Error>> {
    if flags.list {
        list();
        return Ok(ExitCode::SUCCESS);
    }
    let mut known = workload::all();
    if !flags.only.is_empty() {
        known.extend(workload::prompts());
    }
    let workloads = if flags.scale { known } else { chosen(known, &flags.only, |it| it.name)? };
    let built = std::env::current_exe()?.parent().ok_or("the program is in no folder")?.to_owned();
    let subjects = present(chosen(Subject::ALL.to_vec(), &flags.subjects, |it| it.name())?, &built);
    let folder = tempfile::tempdir()?;
    let plan = plan(flags, built, folder.path());
    prepare()?;
    if let Some(into) = &flags.perf {
        return profile_all(&plan, &workloads, &subjects, into);
    }
    if flags.scale {
        return measure_scale(flags, &plan);
    }
    let comparison = measure_all(flags, &plan, workloads, subjects)?;
    if flags.json {
        println!("{}", serde_json::to_string_pretty(&comparison)?);
    } else {
        print!("{}", comparison.terminal());
    }
    if let Some(out) = &flags.out {
        write_all(&comparison, out)?;
    }
    let beyond = flags.gate.map(|factor| comparison.beyond(factor)).unwrap_or_default();
    for title in &beyond {
        eprintln!("far beyond its bar: {title}");
    }
    let good = beyond.is_empty() && comparison.failures.is_empty();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plan(flags: &Flags, built: PathBuf, folder: &Path) -> Plan {
    let seconds = |given: Option<f64>, long: f64, short: f64| {
        Duration::from_secs_f64(given.unwrap_or(if flags.short { short } else { long }).max(0.05))
    };
    Plan {
        rounds: if flags.short { 1 } else { flags.rounds.max(1) },
        times: Times { warm: seconds(flags.warm, 0.7, 0.3), measured: seconds(flags.window, 3.0, 1.0) },
        both_ways: !flags.short,
        accept_void: flags.accept_void,
        built,
        folder: folder.to_owned(),
    }
}

/// This thread is the load: it gets its core, and as many files as there may be.
fn prepare() -> Result<(), Box<dyn Error>> {
    if std::thread::available_parallelism()?.get() <= load_core(0) {
        return Err("two cores are needed: one for the proxy, one for the load".into());
    }
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum })?;
    Ok(together::bind(load_core(0))?)
}

fn chosen<T>(all: Vec<T>, names: &[String], name: impl Fn(&T) -> &str) -> Result<Vec<T>, String> {
    if let Some(unknown) = names.iter().find(|it| !all.iter().any(|one| name(one) == **it)) {
        return Err(format!("there is no `{unknown}`; --list names what there is"));
    }
    Ok(all.into_iter().filter(|it| names.is_empty() || names.iter().any(|one| one == name(it))).collect())
}

/// Those that can be run; of the others it says how to get them.
fn present(subjects: Vec<Subject>, built: &Path) -> Vec<Subject> {
    let there = |it: &Subject| {
        let found = proxies::is_there(&it.program(built));
        if !found {
            eprintln!("{} is not here and is left out; to have it: {}", it.name(), it.remedy());
        }
        found
    };
    subjects.into_iter().filter(there).collect()
}

fn measure_all(
    flags: &Flags,
    plan: &Plan,
    workloads: Vec<Workload>,
    subjects: Vec<Subject>,
) -> Result<Comparison, Box<dyn Error>> {
    let (mut samples, mut syscalls, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for workload in &workloads {
        eprintln!("{}: {}", workload.name, workload.title);
        let own = rounds::subjects_of(workload, &subjects);
        let (measured, failed) = rounds::run(plan, workload, &own, tell);
        if !flags.no_syscalls && !workload.memory_only && failed.is_empty() {
            for &subject in &own {
                syscalls.extend(rounds::syscalls(plan, workload, subject)?);
            }
        }
        samples.extend(measured);
        failures.extend(failed.into_iter().map(|it| it.to_string()));
    }
    if !flags.no_syscalls && syscalls.is_empty() {
        eprintln!("system calls were not counted: `perf stat -e raw_syscalls:sys_enter` does not work here");
    }
    let versions = subjects.iter().filter(|it| **it != Subject::RingwayModel);
    let versions =
        versions.map(|it| (it.name(), it.version(&plan.built).unwrap_or_default())).collect::<Vec<_>>();
    let mut comparison = Comparison {
        command: command(),
        machine: Machine::here(),
        subjects: versions,
        rounds: plan.rounds,
        window_s: plan.times.measured.as_secs_f64(),
        accept_void: plan.accept_void,
        bars: Vec::new(),
        samples,
        syscalls,
        failures,
        workloads,
        chosen: subjects,
    };
    comparison.hold();
    Ok(comparison)
}

fn measure_scale(flags: &Flags, plan: &Plan) -> Result<ExitCode, Box<dyn Error>> {
    let (mut measured, mut failed) = (Vec::new(), false);
    let lines = scale::lines(&workload::all(), process::cores());
    let of_chosen = |it: &scale::Line| {
        flags.subjects.is_empty() || flags.subjects.iter().any(|one| one == it.subject.name())
    };
    for line in chosen(lines, &flags.only, |it| it.name)?.into_iter().filter(of_chosen) {
        eprintln!("{}: {}", line.what, line.while_);
        match scale::measure(plan, line, tell) {
            Ok(line) => measured.push(line),
            Err(_) => failed = true, // told already; the other lines are not worse for it
        }
    }
    // Only a machine of more cores has something to say of workers.
    let (workers, others): (Vec<_>, Vec<_>) = measured.into_iter().partition(scale::Measured::is_of_workers);
    print!("{}{}", scale::markdown(&others, &command(), None), scale::markdown(&workers, &command(), None));
    if let Some(out) = &flags.out {
        fs::create_dir_all(out)?;
        if !others.is_empty() {
            fs::write(out.join("scale.svg"), scale::picture(&others))?;
            let folder = out.file_name().and_then(|name| name.to_str());
            write_document(out, "scale", &scale::markdown(&others, &command(), folder))?;
        }
        if workers.iter().any(scale::Measured::grew) {
            write_document(out, "workers", &scale::markdown(&workers, &command(), None))?;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn command() -> String {
    let args = std::env::args().skip(1);
    std::iter::once("benches/compare/run".to_owned()).chain(args).collect::<Vec<_>>().join(" ")
}

/// One line per measurement, so that a long run can be watched.
fn tell(result: &Result<Sample, Failure>) {
    let sample = match result {
        Ok(sample) => sample,
        Err(failure) => return eprintln!("  FAILED: {failure}"),
    };
    let times = sample.delay_us.or(sample.latency_us);
    let late = sample.late_us.map(|it| format!(", late p99 {:.0} us", it.p99)).unwrap_or_default();
    eprintln!(
        "  round {} {:<14} {:>8.2} us {:>8.0} /s  p50 {:>6.0} us  others {:>3.0} %  waited {:>3.0} %  load {:>3.0} \
         %, busy {:>3.0} %{late}{}",
        sample.round + 1,
        sample.subject,
        sample.cpu_us,
        sample.per_s,
        times.map_or(0.0, |it| it.p50),
        sample.others * 100.0,
        sample.waited * 100.0,
        sample.load * 100.0,
        sample.load_busy * 100.0,
        sample.void.map(|why| format!("  VOID ({why:?})")).unwrap_or_default(),
    );
}

fn profile_all(
    plan: &Plan,
    workloads: &[Workload],
    subjects: &[Subject],
    into: &Path,
) -> Result<ExitCode, Box<dyn Error>> {
    fs::create_dir_all(into)?;
    let into = into.canonicalize()?;
    for workload in workloads {
        for subject in rounds::subjects_of(workload, subjects) {
            let file = into.join(format!("{}.{}.perf", workload.name, subject.name()));
            rounds::profile(plan, workload, subject, &file)?;
            println!("perf report --no-children -i {}", file.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write_all(comparison: &Comparison, out: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(out)?;
    fs::write(out.join("compare.json"), serde_json::to_string_pretty(comparison)?)?;
    fs::write(out.join("compare.md"), comparison.markdown(None))?;
    fs::write(out.join("cpu.svg"), plot::cpu(comparison))?;
    fs::write(out.join("delay.svg"), plot::delay(comparison))?;
    let pictures = out.file_name().and_then(|name| name.to_str());
    write_document(out, "compare", &comparison.markdown(pictures))
}

/// Writes this part into the document beside the folder, if there is one.
fn write_document(out: &Path, name: &str, part: &str) -> Result<(), Box<dyn Error>> {
    let document = out.with_extension("md");
    if document.is_file() {
        let written = report::write_between_markers(&document, name, part)?;
        let how = if written { "updated" } else { "left alone, it has no markers" };
        eprintln!("{}: {how}", document.display());
    }
    Ok(())
}

fn list() {
    println!("workloads:");
    for workload in workload::all().into_iter().chain(workload::prompts()) {
        println!("  {:<12} {}", workload.name, workload.title);
    }
    println!("lines of --scale:");
    let mut lines = scale::lines(&workload::all(), process::cores());
    lines.dedup_by_key(|it| it.name);
    for line in lines {
        println!("  {:<12} {}: {}", line.name, line.what, line.while_);
    }
    println!("subjects:");
    for subject in Subject::ALL {
        println!("  {:<14} {}", subject.name(), subject.title());
    }
}
