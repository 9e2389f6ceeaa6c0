//! `evaluate`: the acceptance scenarios in virtual time, with the gateway's own balancing and admission code.
//!
//! Owns: the command line.
//! Must not: measure or judge; see `ringway_benches::evaluate`.
//! Read next: `benches/src/evaluate/scenarios.rs`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use ringway_benches::evaluate::document::Document;
use ringway_benches::evaluate::material::Library;
use ringway_benches::evaluate::runner::{Row, Runner};
use ringway_benches::evaluate::scenarios::{self, Case};
use ringway_benches::evaluate::table;
use ringway_contract::snapshot::Balance;

/// Runs the acceptance scenarios of routing in virtual time: the gateway's own balancing, prefix index, cells and
/// admission in front of simulated engines.
///
/// The traces are read from the folder that RINGWAY_TRACES names. Ends with 1 if a bar is missed by the policy that it
/// is for.
#[derive(Parser, Debug)]
#[command(
    name = "evaluate",
    max_term_width = 100,
    after_help = "Example: evaluate S1 S2 --policy gpu,p2c --seed 2"
)]
struct Flags {
    /// Only these scenarios (S1, S1r, S2, ...); default: all
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// Only these policies; default: each scenario's own
    #[arg(long, value_delimiter = ',', value_name = "POLICY")]
    policy: Vec<Policy>,
    /// Decides the jitter of arrivals and every other chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rows as JSON, one array, instead of the table
    #[arg(long)]
    json: bool,
    /// Writes evaluate.json and the plots there; FOLDER.md is updated between its markers
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// A policy by its name in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Policy {
    Gpu,
    LeastRequests,
    P2c,
    RoundRobin,
    Hash,
}

impl Policy {
    const fn balance(self) -> Balance {
        match self {
            Self::Gpu => Balance::Gpu,
            Self::LeastRequests => Balance::LeastRequests,
            Self::P2c => Balance::P2c,
            Self::RoundRobin => Balance::RoundRobin,
            Self::Hash => Balance::Hash,
        }
    }
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let cases = match chosen(&flags.scenarios) {
        Ok(cases) => cases,
        Err(unknown) => {
            let known = ids(&scenarios::all()).join(" ");
            eprintln!("evaluate: there is no scenario {unknown} here; there are {known}");
            return ExitCode::from(2);
        }
    };
    match evaluate(&flags, &cases) {
        Ok(rows) if rows.iter().any(|row| row.met == Some(false)) => ExitCode::from(1),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("evaluate: {error}");
            ExitCode::from(2)
        }
    }
}

fn ids(cases: &[Case]) -> Vec<&'static str> {
    let mut ids: Vec<_> = cases.iter().map(|case| case.scenario).collect();
    ids.dedup();
    ids
}

fn chosen(asked: &[String]) -> Result<Vec<Case>, &str> {
    let all = scenarios::all();
    let is = |case: &Case, id: &String| case.scenario.eq_ignore_ascii_case(id);
    if let Some(unknown) = asked.iter().find(|id| !all.iter().any(|case| is(case, id))) {
        return Err(unknown);
    }
    Ok(all.into_iter().filter(|case| asked.is_empty() || asked.iter().any(|id| is(case, id))).collect())
}

fn evaluate(flags: &Flags, cases: &[Case]) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut runner = Runner::new(Library::of_environment(flags.seed, None));
    let (mut rows, mut document) = (Vec::new(), Document::default());
    if !flags.json {
        println!("{}", table::head());
    }
    for case in cases {
        let asked = |policy: &&Balance| {
            flags.policy.is_empty() || flags.policy.iter().any(|asked| asked.balance() == **policy)
        };
        for policy in case.policies.iter().filter(asked) {
            let (row, ran) = runner.run(case, *policy)?;
            document.add(case, *policy, &row, &ran);
            if !flags.json {
                println!("{}", table::row(&row));
            }
            rows.push(row);
        }
    }
    if flags.json {
        println!("{}", serde_json::to_string_pretty(&rows).expect("rows are JSON"));
    }
    if let Some(folder) = &flags.out {
        let args: Vec<String> = std::env::args().skip(1).collect();
        document.write(folder, &format!("evaluate {}", args.join(" ")))?;
    }
    Ok(rows)
}
