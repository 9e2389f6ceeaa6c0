//! `acceptance`: the acceptance scenarios over sockets: `ringload sim`, `ringctl serve`, `ringway`, and `ringload`'s client.
//!
//! Owns: the command line and the order of things. `benches/acceptance/run` builds and starts it.
//! Must not: judge what `ringload` did not measure, or compute a bar of its own.
//! Read next: `cases.rs` (what is run), `runner.rs`, `callers.rs` (the load), `stand.rs` (the processes); `evaluate`, the same in virtual time.

mod callers;
mod cases;
mod million;
mod report;
mod runner;
mod stand;
mod trouble;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ringway_benches::evaluate::material::TRACES;
use ringway_benches::evaluate::runner::name;

use crate::report::Report;
use crate::runner::Runner;

/// Replays the first rows of a trace through `ringway` in front of simulated engines, over loopback, for each policy, and
/// puts the same rows in virtual time beside it.
///
/// The traces are read from the folder that RINGWAY_TRACES names. Ends with 1 if a bar is missed.
#[derive(Parser, Debug)]
#[command(name = "benches/acceptance/run", max_term_width = 100)]
struct Flags {
    /// Only these scenarios: S1 to S14, S20, S21, trouble (one engine of eight goes wrong), S9 (a million requests)
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
    let asked =
        |list: &[String], id: &str| list.is_empty() || list.iter().any(|it| it.eq_ignore_ascii_case(id));
    let cases = cases::all();
    let mut known: Vec<&str> = cases.iter().map(|case| case.of.scenario).collect();
    known.extend([trouble::NAME, million::NAME]);
    known.dedup();
    if let Some(unknown) =
        flags.scenarios.iter().find(|it| !known.iter().any(|one| one.eq_ignore_ascii_case(it)))
    {
        return Err(format!("there is no scenario {unknown} here; there are {}", known.join(" ")).into());
    }
    let mut runner = Runner::new(traces, flags.seed, flags.rows, flags.time_scale);
    let mut report = Report::default();
    for case in &cases {
        let wanted = flags.variant.as_ref().is_none_or(|variant| variant == case.variant);
        if !wanted || !asked(&flags.scenarios, case.of.scenario) {
            continue;
        }
        for policy in case.policies.iter().filter(|policy| asked(&flags.policy, name(**policy))) {
            let row = runner.run(case, *policy, report.fresh(case.of.scenario))?;
            if !flags.json {
                println!("{}", report::line(&row));
            }
            report.rows.push(row);
            if let Some(folder) = &flags.out {
                report.write(folder)?; // at once: the next one may be an hour away from the last
            }
        }
    }
    if flags.json {
        println!("{}", serde_json::to_string_pretty(&report.rows)?);
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
