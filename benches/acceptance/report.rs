//! What was measured over sockets, beside virtual time: a line each, JSON, and the part of a document.
//!
//! Owns: the rows, and adding them to those of earlier runs.
//! Must not: measure.
//! Read next: `cases.rs`, where the bars are.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use ringway_benches::evaluate::document::between;
use ringway_benches::evaluate::judge::Figures;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cases::Case;

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
    /// Requests that were refused or failed.
    pub failed: u64,
    /// Answers that were wrong.
    pub invalid: u64,
    /// How late the generator was at p99, in milliseconds of the clock.
    pub late_p99_ms: f64,
    /// What goodput has to reach.
    pub bar: Option<f64>,
    /// Whether it does.
    pub met: Option<bool>,
}

impl Row {
    /// What `ringload` says of a run, in the time of the trace.
    pub fn new(
        case: &Case,
        policy: &str,
        rows: usize,
        time_scale: f64,
        summary: &Value,
        expected: &Figures,
        bar: Option<f64>,
    ) -> Self {
        let number = |at: &str| summary.pointer(at).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let ms = |at: &str| number(at) * time_scale;
        let goodput = number("/good_share");
        Self {
            scenario: case.scenario.to_owned(),
            policy: policy.to_owned(),
            variant: case.variant.to_owned(),
            rows,
            goodput,
            virtual_goodput: expected.goodput,
            ttft_s: ["mean", "p50", "p90", "p99"].map(|it| ms(&format!("/ttft_ms/{it}")) / 1e3),
            virtual_ttft_p99_s: expected.ttft_p99_s,
            itl_ms: ["mean", "p99"].map(|it| ms(&format!("/per_token_ms/{it}"))),
            hit: number("/cached_tokens") / number("/prompt_tokens"),
            failed: number("/failed") as u64,
            invalid: number("/invalid") as u64,
            late_p99_ms: number("/lateness_ms/p99"),
            bar,
            met: bar.map(|bar| goodput >= bar),
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
         failed {}  invalid {}  late p99 {:.1} ms",
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
        row.late_p99_ms
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
        let bar = row.bar.map_or(String::new(), |bar| format!("{bar:.3}"));
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
