//! What a run leaves for the documentation: a table in Markdown, pictures, and the rows as JSON.
//!
//! Owns: which pictures there are, and the part of a document between the markers.
//! Must not: measure or judge; the pictures are drawn by the load harness's report.
//! Read next: `loadtest/src/report/svg.rs`; [`super::table`] for the terminal.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::rc::Rc;

use ringway_contract::snapshot::Balance;
use ringway_loadtest::report::svg::{Line, Plot, bars};

use super::judge::{sorted, ttft};
use super::outcome::Fate;
use super::runner::{Ran, Row, name};
use super::scenarios::{Case, POLICIES};

/// Around the part of a document that is written by the tool.
const MARKS: [&str; 2] = ["<!-- evaluate: begin -->", "<!-- evaluate: end -->"];

/// All that a document is made of.
#[derive(Default)]
pub struct Document {
    rows: Vec<Row>,
    /// S1 by policy.
    policies: Vec<(String, Rc<Ran>)>,
    /// S8b with the score, by variant.
    overload: Vec<(String, Rc<Ran>)>,
}

impl Document {
    /// Takes a run in.
    pub fn add(&mut self, case: &Case, policy: Balance, row: &Row, ran: &Rc<Ran>) {
        self.rows.push(row.clone());
        if case.scenario == "S1" {
            self.policies.push((name(policy).to_owned(), Rc::clone(ran)));
        }
        if case.scenario == "S8b" && policy == Balance::Gpu {
            self.overload.push((case.variant.to_owned(), Rc::clone(ran)));
        }
    }

    /// Writes the pictures and the rows into `folder`, and the table into the document beside it, `folder` with `.md`, if
    /// that has markers.
    ///
    /// # Errors
    /// Something cannot be written.
    pub fn write(&self, folder: &Path, command: &str) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("evaluate.json"), serde_json::to_string_pretty(&self.rows)? + "\n")?;
        for (file, picture) in [
            ("goodput.svg", self.goodput()),
            ("ttft.svg", self.ttft()),
            ("load.svg", self.load()),
            ("overload.svg", self.overload()),
        ] {
            if !picture.is_empty() {
                std::fs::write(folder.join(file), standalone(&picture))?;
            }
        }
        let document = folder.with_extension("md");
        let Ok(text) = std::fs::read_to_string(&document) else { return Ok(()) };
        match between(&text, MARKS, &self.table(command)) {
            Some(text) => std::fs::write(document, text),
            None => Ok(()),
        }
    }

    fn table(&self, command: &str) -> String {
        let mut out = format!(
            "`{command}`\n\n| | policy | variant | goodput | reachable | TTFT mean | p50 | p90 | p99 | ITL mean | p99 | hit | \
             refused | bar | |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
        );
        for row in &self.rows {
            let it = &row.figures;
            let met = match row.met {
                Some(true) => "met",
                Some(false) => "**missed**",
                None => "",
            };
            let _ = writeln!(
                out,
                "| {} | {} | {} | {:.3} | {:.3} | {:.2} | {:.2} | {:.2} | {:.1} | {:.0} | {:.0} | {:.3} | {} | {} | {met} |",
                row.scenario,
                row.policy,
                row.variant,
                it.goodput,
                it.reachable,
                it.ttft_mean_s,
                it.ttft_p50_s,
                it.ttft_p90_s,
                it.ttft_p99_s,
                it.itl_mean_ms,
                it.itl_p99_ms,
                it.hit,
                it.rejected,
                row.bar,
            );
        }
        out
    }

    /// The scenarios that all policies were run in.
    fn goodput(&self) -> String {
        let compared =
            self.rows.chunk_by(|one, next| (one.scenario, one.variant) == (next.scenario, next.variant));
        let named = |row: &Row| (format!("{} {}", row.scenario, row.policy), row.figures.goodput);
        let rows: Vec<_> =
            compared.filter(|rows| rows.len() == POLICIES.len()).flatten().map(named).collect();
        bars("Goodput by policy", &rows, POLICIES.len())
    }

    /// The distribution of times to the first token in S1.
    fn ttft(&self) -> String {
        let line = |(policy, ran): &(String, Rc<Ran>)| {
            let times = sorted(ran.record.outcomes.iter().filter_map(ttft).map(|it| it.as_secs_f64()));
            let share = |at: usize| (at + 1) as f64 / times.len() as f64;
            let points = (0..times.len()).step_by(40).map(|at| (times[at], share(at))).collect();
            Line { name: policy.clone(), points }
        };
        let lines = self.policies.iter().map(line).collect();
        Plot { title: "Time to the first token, S1", x: "s", y: "share", log_x: true, lines }.svg()
    }

    /// How full the fullest engine is in S1, mean of ten seconds.
    fn load(&self) -> String {
        let lines = self.policies.iter().map(|(policy, ran)| Line {
            name: policy.clone(),
            points: over_time(ran, |engines| engines.iter().copied().max().unwrap_or_default().into()),
        });
        let (title, x, y) = ("Requests in the fullest of eight engines, S1", "s", "requests");
        Plot { title, x, y, log_x: false, lines: lines.collect() }.svg()
    }

    /// How much is in all engines together under overload.
    fn overload(&self) -> String {
        let lines = self.overload.iter().map(|(variant, ran)| {
            let refused = ran.record.outcomes.iter().filter(|it| matches!(it.fate, Fate::Refused(_))).count();
            Line {
                name: format!("{variant}: {refused} refused"),
                points: over_time(ran, |engines| engines.iter().map(|it| f64::from(*it)).sum()),
            }
        });
        let (title, x, y) = ("Requests in all engines at three times the load, S8b", "s", "requests");
        Plot { title, x, y, log_x: false, lines: lines.collect() }.svg()
    }
}

/// A figure of the engines' loads over the time in which requests arrive, in steps of ten seconds.
fn over_time(ran: &Ran, of: impl Fn(&[u16]) -> f64) -> Vec<(f64, f64)> {
    let end = ran.workload.asks.last().map_or(0.0, |ask| ask.at.as_secs_f64());
    let steps = ran.record.load.chunks(10);
    let point = |samples: &[(std::time::Duration, Vec<u16>)]| {
        let sum: f64 = samples.iter().map(|(_, engines)| of(engines)).sum();
        (samples[0].0.as_secs_f64(), sum / samples.len() as f64)
    };
    steps.map(point).take_while(|(at, _)| *at <= end).collect()
}

/// A picture that is made for a page, as a file of its own.
fn standalone(picture: &str) -> String {
    let (head, rest) = picture.split_once('>').unwrap_or((picture, ""));
    let head = head.replace(
        "<svg ",
        "<svg xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" font-size=\"11\" ",
    );
    format!("{head}>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{rest}")
}

/// The document with this part between these markers; none if it has none.
pub fn between(text: &str, [begin, end]: [&str; 2], part: &str) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{part}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_replaces_what_stands_between_the_markers_and_nothing_else() {
        let new = between("a\n<x>\nold\n</x>\nb\n", ["<x>", "</x>"], "new\n").expect("it has markers");
        assert_eq!(new, "a\n<x>\nnew\n</x>\nb\n");
        assert_eq!(between("no markers", MARKS, "new"), None);
    }
}
