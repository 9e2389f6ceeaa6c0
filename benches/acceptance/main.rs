//! `acceptance`: the acceptance scenarios over sockets: `ringload sim`, `ringctl up` with `ringway`, `ringload replay`.
//!
//! Owns: the command line and the order of things. `benches/acceptance/run` builds and starts it.
//! Must not: judge what `ringload` did not measure, or compute a bar of its own.
//! Read next: `stand.rs` (the processes), `cases.rs` (what is run), `report.rs`; `evaluate`, the same in virtual time.

mod cases;
mod million;
mod report;
mod stand;
mod trouble;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use ringway_benches::evaluate::drive;
use ringway_benches::evaluate::judge::Figures;
use ringway_benches::evaluate::material::{Library, TRACES, Workload};
use ringway_benches::evaluate::runner::name;

use crate::cases::Case;
use crate::report::{Report, Row};
use crate::stand::{Manner, Stand};

/// Replays the first rows of a trace through `ringway` in front of simulated engines, over loopback, for each policy, and
/// puts the same rows in virtual time beside it.
///
/// The traces are read from the folder that RINGWAY_TRACES names. Ends with 1 if a bar is missed.
#[derive(Parser, Debug)]
#[command(name = "benches/acceptance/run", max_term_width = 100)]
struct Flags {
    /// Only these scenarios: S1 to S6, S8b, S8c, S14, S21, trouble (one engine of eight goes wrong), S9 (a million requests)
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// Only these policies
    #[arg(long, value_delimiter = ',', value_name = "POLICY")]
    policy: Vec<String>,
    /// Only this variant of a scenario
    #[arg(long)]
    variant: Option<String>,
    /// Only the first so many rows of the trace
    #[arg(long, default_value_t = 3_000)]
    rows: usize,
    /// All times are divided by this
    #[arg(long, default_value_t = 4.0)]
    time_scale: f64,
    /// Requests of S9
    #[arg(long, default_value_t = 1_000_000)]
    requests: u64,
    /// Decides the jitter of arrivals
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Adds to acceptance.json there, and updates FOLDER.md between its markers
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// JSON instead of the table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    match accept(&flags) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("acceptance: {error}");
            ExitCode::from(2)
        }
    }
}

fn accept(flags: &Flags) -> Result<bool, Box<dyn Error>> {
    let traces = std::env::var_os(TRACES).map(PathBuf::from); // some scenarios need none
    let mut library = Library::new(traces.clone(), flags.seed, Some(flags.rows));
    let asked =
        |list: &[String], id: &str| list.is_empty() || list.iter().any(|it| it.eq_ignore_ascii_case(id));
    let mut known: Vec<&str> = cases::all().iter().map(|case| case.scenario).collect();
    known.extend([trouble::NAME, million::NAME]);
    known.dedup();
    if let Some(unknown) =
        flags.scenarios.iter().find(|it| !known.iter().any(|one| one.eq_ignore_ascii_case(it)))
    {
        return Err(format!("there is no scenario {unknown} here; there are {}", known.join(" ")).into());
    }
    let mut report = Report::default();
    for case in cases::all() {
        let wanted = flags.variant.as_ref().is_none_or(|variant| variant == case.variant);
        if !wanted || !asked(&flags.scenarios, case.scenario) {
            continue;
        }
        for policy in case.policies.iter().filter(|policy| asked(&flags.policy, name(**policy))) {
            let traces = traces.as_deref().unwrap_or(Path::new("")); // the library has said what is missing
            let row = run(flags, &case, *policy, &mut library, traces, report.fresh(case.scenario))?;
            if !flags.json {
                println!("{}", report::line(&row));
            }
            report.rows.push(row);
        }
    }
    if flags.json {
        println!("{}", serde_json::to_string_pretty(&report.rows)?);
    }
    if let Some(folder) = &flags.out {
        report.write(folder)?;
    }
    let mut met = report.rows.iter().all(|row| row.met != Some(false));
    if asked(&flags.scenarios, trouble::NAME) {
        let policies = trouble::POLICIES.iter().copied().filter(|policy| asked(&flags.policy, name(*policy)));
        met &= trouble::all(policies, flags.variant.as_deref(), flags.out.as_deref())?;
    }
    if asked(&flags.scenarios, million::NAME) {
        met &= million::run(flags.requests, flags.seed, flags.out.as_deref())?;
    }
    Ok(met)
}

fn run(
    flags: &Flags,
    case: &Case,
    policy: ringway_contract::snapshot::Balance,
    library: &mut Library,
    traces: &Path,
    fresh: Option<f64>,
) -> Result<Row, Box<dyn Error>> {
    let setup = case.setup(policy, flags.seed);
    let material = library.material(case.source)?;
    let workload = Workload::replay(&material, case.scale, None);
    let expected = Figures::of(&drive::run(&setup, &workload), &workload, &setup);
    let time_scale = case.time_scale.unwrap_or(flags.time_scale);
    let stand = Stand::start(&setup, &Manner { workers: case.workers, ..Manner::usual(time_scale) })?;
    let trace = traces.join(case.source.file().ok_or("no trace")?);
    let summary = std::thread::scope(|scope| {
        if let Some(after) = case.killed_after {
            let stand = &stand;
            scope.spawn(move || {
                std::thread::sleep(after);
                stand.kill_control();
            });
        }
        stand.replay(&trace, case.scale, flags.rows, flags.seed)
    })?;
    drop(stand);
    let bar = case.bar(policy, flags.rows, expected.goodput, fresh);
    Ok(Row::new(case, name(policy), flags.rows, time_scale, &summary, &expected, bar))
}
