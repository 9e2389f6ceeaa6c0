//! What was measured over sockets, beside virtual time: a line each, JSON, and the part of a document.
//!
//! Owns: the rows, and adding them to those of earlier runs.
//! Must not: measure.
//! Read next: `cases.rs`, where the bars are.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use ringway_benches::evaluate::bars::Held;
use ringway_benches::evaluate::document::between;
use ringway_benches::evaluate::judge::Figures;
use ringway_benches::evaluate::runner::name;
use ringway_contract::snapshot::Balance;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cases::Case;
use crate::runner::Done;

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The scenario.
    pub scenario: String,
    /// The policy.
    pub policy: String,
    /// Its variant.
    pub variant: String,
    /// Rows of the trace.
    pub rows: usize,
    /// Share of good answers among all requests.
    pub goodput: f64,
    /// The same in virtual time.
    pub virtual_goodput: f64,
    /// Time to the first token: mean, p50, p90, p99, in seconds of the trace.
    pub ttft_s: [f64; 4],
    /// The 99th percentile in virtual time.
    pub virtual_ttft_p99_s: f64,
    /// Mean time per token: mean and p99, in milliseconds of the trace.
    pub itl_ms: [f64; 2],
    /// Share of prompt tokens that were cached.
    pub hit: f64,
    /// Requests that were refused.
    pub failed: u64,
    /// Answers that were wrong.
    pub invalid: u64,
    /// How late the generator was at p99, in milliseconds of the clock.
    pub late_p99_ms: f64,
    /// What goodput has to reach.
    pub bar: Option<f64>,
    /// What else has to be, with what was measured.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub more: String,
    /// Whether all of it is so.
    pub met: Option<bool>,
}

impl Row {
    /// What callers saw of a run, with its bar for goodput and whatever else has to be held.
    pub fn new(case: &Case, policy: Balance, done: &Done, bar: Option<f64>, held: &[Held]) -> Self {
        let figures = &done.ran.figures;
        let Figures { ttft_mean_s, ttft_p50_s, ttft_p90_s, ttft_p99_s, .. } = *figures;
        let reached = bar.map(|bar| figures.goodput >= bar);
        let met = reached.into_iter().chain(held.iter().map(Held::is_met)).reduce(|all, one| all && one);
        Self {
            scenario: case.of.scenario.to_owned(),
            policy: name(policy).to_owned(),
            variant: case.variant.to_owned(),
            rows: done.ran.workload.asks.len(),
            goodput: six_places(figures.goodput),
            virtual_goodput: six_places(done.virtual_figures.goodput),
            ttft_s: [ttft_mean_s, ttft_p50_s, ttft_p90_s, ttft_p99_s].map(six_places),
            virtual_ttft_p99_s: six_places(done.virtual_figures.ttft_p99_s),
            itl_ms: [figures.itl_mean_ms, figures.itl_p99_ms].map(six_places),
            hit: six_places(figures.hit),
            failed: figures.rejected as u64,
            invalid: done.heard.invalid,
            late_p99_ms: six_places(done.heard.late_p99_ms),
            bar: bar.map(six_places),
            more: held.iter().map(Held::told).collect::<Vec<_>>().join("; "),
            met,
        }
    }
}

/// A row for a terminal.
pub fn line(row: &Row) -> String {
    let met = match row.met {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "",
    };
    let bar = row.bar.map_or(String::new(), |bar| format!(">= {bar:.3}"));
    format!(
        "{:<5}{:<15}{:<22}goodput {:.3} (virtual {:.3}) {bar} {met}  ttft {:.2} p99 {:.1} (virtual {:.1})  itl {:.0}  hit {:.3}  \
         refused {}  invalid {}  late p99 {:.1} ms  {}",
        row.scenario,
        row.policy,
        row.variant,
        row.goodput,
        row.virtual_goodput,
        row.ttft_s[0],
        row.ttft_s[3],
        row.virtual_ttft_p99_s,
        row.itl_ms[0],
        row.hit,
        row.failed,
        row.invalid,
        row.late_p99_ms,
        row.more
    )
}

/// All rows of a call.
#[derive(Default)]
pub struct Report {
    /// In the order of running.
    pub rows: Vec<Row>,
}

impl Report {
    /// Adds the rows to those in `folder`, each in the place of an earlier one of the same run, and writes the table into the
    /// document beside it.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let key = |row: &Row| (row.scenario.clone(), row.variant.clone(), row.policy.clone());
        let rows = add_rows(&folder.join("acceptance.json"), &self.rows, key)?;
        write_part(folder, "acceptance", &table(&rows))
    }

    /// Goodput of the score where nothing is wrong with this scenario.
    pub fn fresh(&self, scenario: &str) -> Option<f64> {
        let same = |row: &&Row| row.scenario == scenario && row.variant.is_empty() && row.policy == "gpu";
        self.rows.iter().find(same).map(|row| row.goodput)
    }
}

/// Adds rows to those in `file`, each in the place of an earlier one with its key, and in the order of the keys; all of them.
pub fn add_rows<T, K>(file: &Path, new: &[T], key: impl Fn(&T) -> K) -> io::Result<Vec<T>>
where
    T: Clone + Serialize + DeserializeOwned,
    K: Ord,
{
    file.parent().map_or(Ok(()), fs::create_dir_all)?;
    let before = fs::read_to_string(file).ok();
    let mut rows: Vec<T> = before.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    rows.retain(|row| !new.iter().any(|it| key(it) == key(row)));
    rows.extend(new.iter().cloned());
    rows.sort_by_key(key);
    fs::write(file, serde_json::to_string_pretty(&rows)? + "\n")?;
    Ok(rows)
}

/// With six places behind the point: what is read and written again then stays as it is.
pub fn six_places(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// Writes a part of the document beside `folder`, if that has its markers.
pub fn write_part(folder: &Path, name: &str, part: &str) -> io::Result<()> {
    let document = folder.with_extension("md");
    let Ok(text) = fs::read_to_string(&document) else { return Ok(()) };
    let [begin, end] = ["begin", "end"].map(|it| format!("<!-- {name}: {it} -->"));
    match between(&text, [&begin, &end], part) {
        Some(text) => fs::write(document, text),
        None => Ok(()),
    }
}

fn table(rows: &[Row]) -> String {
    let mut out = "| | policy | variant | rows | goodput | in virtual time | TTFT mean | p50 | p90 | p99 | in virtual time | ITL mean | p99 | \
                   hit | refused | late p99 ms | bar | |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        let met = match row.met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        let goodput = row.bar.map_or(String::new(), |bar| format!("goodput >= {bar:.3}"));
        let bar = [goodput.as_str(), &row.more]
            .into_iter()
            .filter(|it| !it.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
        let [mean, p50, p90, p99] = row.ttft_s;
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {:.3} | {:.3} | {mean:.2} | {p50:.2} | {p90:.2} | {p99:.1} | {:.1} | {:.0} | {:.0} | {:.3} | {} | {:.1} | \
             {bar} | {met} |",
            row.scenario,
            row.policy,
            row.variant,
            row.rows,
            row.goodput,
            row.virtual_goodput,
            row.virtual_ttft_p99_s,
            row.itl_ms[0],
            row.itl_ms[1],
            row.hit,
            row.failed,
            row.late_p99_ms,
        );
    }
    out
}
