//! One engine of eight goes wrong under load: what that costs from three seconds on, and whether it comes back.
//!
//! Owns: the faults, the load, and the bars. Time is not scaled here: how soon a fault is noticed is in real seconds.
//! Must not: look into the gateway; goodput is what callers saw.
//! Read next: `stand.rs`; `evaluate S12` and `S8a`, the same in virtual time.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use ringway_benches::evaluate::runner::name;
use ringway_benches::evaluate::setup::Setup;
use ringway_contract::snapshot::Balance;
use ringway_gpusim::Preset;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::report;
use crate::stand::{Manner, NoStand, Stand};

/// Its name on the command line.
pub const NAME: &str = "trouble";
/// The policies that it is run with; the bars are for the first.
pub const POLICIES: [Balance; 3] = [Balance::Gpu, Balance::LeastRequests, Balance::RoundRobin];

const ENGINES: usize = 8;
/// What is wrong with one of them, and how `ringload sim` is told.
const TROUBLES: [(&str, &str); 4] = [
    ("stalled", "stall"),
    ("crashed", "crash"),
    ("metrics 1,000 x too high", "metrics=high"),
    ("metrics all zero", "metrics=zero"),
];

/// From the engines' start until it goes wrong, and until it is well again.
const WRONG: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(40)];
/// How soon the rest has to carry what it can, after either.
const NOTICED: Duration = Duration::from_secs(3);
/// The load is not judged before it has gone on for so long.
const SETTLED: Duration = Duration::from_secs(4);
const LOAD: Duration = Duration::from_secs(54);
/// Requests a second, prompt tokens, output tokens: two fifths of what eight engines can prefill.
const SHAPE: [&str; 3] = ["60", "2000", "64"];
const GOOD: &str = "ttft:2s,tpot:100ms";

/// What a fault may cost beside its share of the engines.
const SLACK: f64 = 0.02;

/// One run. Shares are good answers of the requests that were due in that time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What is wrong.
    pub trouble: String,
    /// Who chooses.
    pub policy: String,
    /// Before.
    pub before: f64,
    /// In the first three seconds.
    pub at_first: f64,
    /// From then on until the engine is well again.
    pub during: f64,
    /// From three seconds after that on.
    pub after: f64,
    /// Requests that failed, of how many.
    pub failed: [u64; 2],
    /// Whether both bars are met; none: it is beside.
    pub met: Option<bool>,
}

/// Runs all, or the one of this name; whether all bars are met.
pub fn all(
    policies: impl Iterator<Item = Balance>,
    variant: Option<&str>,
    out: Option<&Path>,
) -> Result<bool, Box<dyn Error>> {
    let mut rows = Vec::new();
    for policy in policies {
        for (trouble, fault) in TROUBLES.iter().filter(|(it, _)| variant.is_none_or(|only| only == *it)) {
            let row = run(policy, trouble, fault)?;
            println!("{}", line(&row));
            rows.push(row);
        }
    }
    if let Some(folder) = out {
        write(folder, &rows)?;
    }
    Ok(rows.iter().all(|row| row.met != Some(false)))
}

fn run(policy: Balance, trouble: &str, fault: &str) -> Result<Row, NoStand> {
    let setup = Setup::new(&[(Preset::H100, ENGINES)], policy, 1);
    let [from, until] = WRONG.map(|it| it.as_secs());
    let fault = format!("{fault},replica=0,at={from}s,for={}s", until - from);
    let manner = Manner { faults: vec![fault], probed: true, ..Manner::usual(1.0) };
    let stand = Stand::start(&setup, &manner)?;
    let began = stand.age();
    let [rate, prompt, output] = SHAPE;
    let duration = format!("{}s", LOAD.as_secs());
    let summary = stand.run(&[
        "--rate",
        rate,
        "--arrival",
        "constant",
        "--duration",
        &duration,
        "--prompt-tokens",
        prompt,
        "--max-tokens",
        output,
        "--goodput",
        GOOD,
        "--timeout",
        "60s",
    ])?;
    Ok(Row::new(policy, trouble, &summary, began))
}

impl Row {
    fn new(policy: Balance, trouble: &str, summary: &Value, began: Duration) -> Self {
        let [from, until] = WRONG.map(|it| it.saturating_sub(began));
        let share = |from: Duration, until: Duration| good_share(summary, from, until);
        let count = |at: &str| summary[at].as_u64().unwrap_or(0);
        let (before, during) = (share(SETTLED, from), share(from + NOTICED, until));
        let after = share(until + NOTICED, LOAD.saturating_sub(NOTICED));
        let keeps = during >= before - 1.0 / ENGINES as f64 - SLACK && after >= before - SLACK;
        Self {
            trouble: trouble.to_owned(),
            policy: name(policy).to_owned(),
            before: report::six_places(before),
            at_first: report::six_places(share(from, from + NOTICED)),
            during: report::six_places(during),
            after: report::six_places(after),
            failed: [count("failed") + count("invalid"), count("issued")],
            met: (policy == POLICIES[0]).then_some(keeps),
        }
    }

    /// In the order of the table.
    fn cells(&self) -> [String; 8] {
        let [before, at_first, during, after] =
            [self.before, self.at_first, self.during, self.after].map(|share| format!("{share:.3}"));
        let failed = format!("{} of {}", self.failed[0], self.failed[1]);
        let met = match self.met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        let (trouble, policy) = (self.trouble.clone(), self.policy.clone());
        [trouble, policy, before, at_first, during, after, failed, met.to_owned()]
    }
}

/// Good answers within this time of the load, of the requests due in it.
fn good_share(summary: &Value, from: Duration, until: Duration) -> f64 {
    let span_s = summary.pointer("/timeline/span_s").and_then(Value::as_f64).unwrap_or(f64::NAN);
    let spans = summary.pointer("/timeline/spans").and_then(Value::as_array);
    let [from, until] = [from, until].map(|it| (it.as_secs_f64() / span_s) as usize);
    let (mut good, mut due) = (0, 0);
    for span in spans.into_iter().flatten().take(until).skip(from) {
        good += span["good"].as_u64().unwrap_or(0);
        due += span["issued"].as_u64().unwrap_or(0);
    }
    good as f64 / due as f64
}

fn line(row: &Row) -> String {
    let [trouble, policy, before, at_first, during, after, failed, met] = row.cells();
    format!(
        "{NAME:<9}{trouble:<26}{policy:<16}goodput before {before}  first 3 s {at_first}  then {during}  after {after}  failed {failed}  \
         {met}"
    )
}

/// Adds the rows to those in `folder`, and writes the table into the document beside it.
fn write(folder: &Path, new: &[Row]) -> std::io::Result<()> {
    let place = |row: &Row| {
        let policy = POLICIES.iter().position(|it| name(*it) == row.policy);
        (TROUBLES.iter().position(|(it, _)| *it == row.trouble), policy)
    };
    let rows = report::add_rows(&folder.join("trouble.json"), new, place)?;
    report::write_part(folder, NAME, &table(&rows))
}

fn table(rows: &[Row]) -> String {
    let mut out = "| one engine of eight is | policy | before | first 3 s | then | after | failed | |\n|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        let _ = writeln!(out, "| {} |", row.cells().join(" | "));
    }
    out
}
