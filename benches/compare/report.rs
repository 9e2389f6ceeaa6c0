//! What a comparison prints and writes: a table for the terminal, Markdown, JSON.
//!
//! Owns: the wording, and the part of a document between the markers.
//! Must not: compute a figure; `table.rs` does.
//! Read next: `plot.rs` for the pictures.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::bounds::{load_core, proxy_core};
use crate::proxies::Subject;
use crate::rounds::{Sample, Syscalls};
use crate::table::{BARS, Bar, Figure, Results, Spread};
use crate::workload::{Pace, Workload};

/// One whole comparison.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The command line.
    pub command: String,
    /// Where it ran.
    pub machine: Machine,
    /// What was compared: name and version.
    pub subjects: Vec<(&'static str, String)>,
    /// Rounds.
    pub rounds: usize,
    /// Seconds of one measurement.
    pub window_s: f64,
    /// Void measurements were counted: no figure of this holds.
    pub accept_void: bool,
    /// The bars, with what was measured.
    pub bars: Vec<Held>,
    /// Every measurement.
    pub samples: Vec<Sample>,
    /// System calls per unit.
    pub syscalls: Vec<Syscalls>,
    /// Who failed at what: nothing of that is measured.
    pub failures: Vec<String>,
    #[serde(skip)]
    /// What was asked.
    pub workloads: Vec<Workload>,
    #[serde(skip)]
    /// Whom.
    pub chosen: Vec<Subject>,
}

/// A bar and what was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Held {
    /// The bar.
    #[serde(flatten)]
    pub bar: Bar,
    /// What was measured.
    pub measured: Option<Spread>,
    /// The same ratio of the raw relay.
    pub floor: Option<Spread>,
}

impl Held {
    /// Whether the bar is met: in words.
    fn verdict(&self) -> &'static str {
        match (self.measured, self.bar.stretch) {
            (None, _) => "not measured",
            (Some(it), Some(stretch)) if it.median <= stretch => "stretch met",
            (Some(it), _) if it.median <= self.bar.most => "met",
            (Some(_), _) => "missed",
        }
    }
}

/// What the figures depend on.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Version of the kernel.
    pub kernel: String,
    /// Model of the processor.
    pub processor: String,
    /// How many cores.
    pub cores: usize,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: model.unwrap_or("unknown").to_owned(),
            cores: crate::process::cores(),
        }
    }
}

impl Comparison {
    /// The results of one workload.
    pub fn results<'a>(&'a self, workload: &'a Workload, own: &'a [Sample]) -> Results<'a> {
        Results { workload, samples: own, accept_void: self.accept_void }
    }

    /// The measurements of one workload.
    pub fn samples_of(&self, workload: &str) -> Vec<Sample> {
        self.samples.iter().filter(|it| it.workload == workload).cloned().collect()
    }

    /// Fills in the bars.
    pub fn hold(&mut self) {
        let mut bars = Vec::new();
        for bar in BARS {
            let Some(workload) = self.workloads.iter().find(|it| it.name == bar.workload) else { continue };
            let samples = self.samples_of(bar.workload);
            let results = self.results(workload, &samples);
            let relay = Bar { subject: Subject::RawRelay, ..bar };
            bars.push(Held { bar, measured: results.against(&bar), floor: results.against(&relay) });
        }
        self.bars = bars;
    }

    /// The bars that are missed by more than this factor.
    pub fn beyond(&self, factor: f64) -> Vec<&'static str> {
        let beyond = |it: &&Held| it.measured.is_some_and(|ratio| ratio.median > it.bar.most * factor);
        self.bars.iter().filter(beyond).map(|it| it.bar.title).collect()
    }

    fn syscalls_of(&self, workload: &str, subject: Subject) -> Option<f64> {
        let of = |it: &&Syscalls| it.workload == workload && it.subject == subject.name();
        self.syscalls.iter().find(of).map(|it| it.per_unit)
    }

    /// For eyes, at the end of a run.
    pub fn terminal(&self) -> String {
        let mut out = String::new();
        for workload in &self.workloads {
            self.terminal_workload(&mut out, workload);
        }
        let _ = writeln!(
            out,
            "\nNumbers to hold: ratio to the better of haproxy and nginx, median (least-greatest)"
        );
        let _ = writeln!(
            out,
            "  {:<52} {:>20} {:>6} {:>8} {:>12}  verdict",
            "", "measured", "bar", "stretch", "raw relay"
        );
        for held in &self.bars {
            let _ = writeln!(
                out,
                "  {:<52} {:>20} {:>6.2} {:>8} {:>12}  {}",
                held.bar.title,
                held.measured.map_or("-".to_owned(), |it| with_range(&it, 2)),
                held.bar.most,
                held.bar.stretch.map_or("-".to_owned(), |it| format!("{it:.2}")),
                held.floor.map_or("-".to_owned(), |it| format!("{:.2}", it.median)),
                held.verdict(),
            );
        }
        for failure in &self.failures {
            let _ = writeln!(out, "\nFAILED: {failure}");
        }
        if self.accept_void {
            out.push_str("\nVoid measurements were counted: this shows that it runs, not how fast.\n");
        }
        out
    }

    fn terminal_workload(&self, out: &mut String, workload: &Workload) {
        let samples = self.samples_of(workload.name);
        let results = self.results(workload, &samples);
        let _ = writeln!(out, "\n{} ({})", workload.title, workload.name);
        let _ = writeln!(
            out,
            "  {:<18} {:>24} {:>18} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>7} {:>6} {:>5}",
            "",
            format!("CPU us/{}", workload.unit),
            "ratio",
            "/s",
            "p50 us",
            "p99 us",
            "switches",
            "syscalls",
            "RSS MiB",
            "KiB/con",
            "load %",
            "void"
        );
        for &subject in &self.chosen {
            let Some(line) = self.line(&results, subject) else { continue };
            let _ = writeln!(
                out,
                "  {:<18} {:>24} {:>18} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>7} {:>6} {:>5}",
                subject.title(),
                line[0],
                line[1],
                line[2],
                line[3],
                line[4],
                line[5],
                line[6],
                line[7],
                line[8],
                line[9],
                line[10]
            );
        }
    }

    /// The cells of a subject's row; none if it was not run.
    fn line(&self, results: &Results<'_>, subject: Subject) -> Option<[String; 11]> {
        let void = results.void(subject);
        let number = |figure: &dyn Fn(&Sample) -> Option<f64>, digits: usize| {
            results.figure(subject, figure).map_or("-".to_owned(), |it| format!("{:.*}", digits, it.median))
        };
        let streams = matches!(results.workload.pace, Pace::Streams { .. });
        let times = |sample: &Sample| if streams { sample.delay_us } else { sample.latency_us };
        let cpu = results.figure(subject, |it| Some(it.cpu_us));
        if cpu.is_none() && void == 0 {
            return None;
        }
        let syscalls = self.syscalls_of(results.workload.name, subject);
        Some([
            cpu.map_or("-".to_owned(), |it| with_range(&it, 1)),
            results.ratio(subject, Figure::Cpu).map_or("-".to_owned(), |it| with_range(&it, 2)),
            number(&|it| Some(it.per_s), 0),
            number(&|it| times(it).map(|it| it.p50), 0),
            number(&|it| times(it).map(|it| it.p99), 0),
            number(&|it| Some(it.switches), 3),
            syscalls.map_or("-".to_owned(), |it| format!("{it:.2}")),
            number(&|it| Some(it.rss_bytes as f64 / 1_048_576.0), 1),
            number(&|it| Some(it.rss_per_connection / 1_024.0), 1),
            number(&|it| Some(it.load_busy * 100.0), 0),
            void.to_string(),
        ])
    }

    /// For a document. Pictures are looked for in `pictures`, as the document names that folder.
    pub fn markdown(&self, pictures: Option<&str>) -> String {
        let mut out = String::new();
        self.markdown_conditions(&mut out);
        out.push_str("| work | measured | bar | stretch | raw relay | |\n|---|---|---|---|---|---|\n");
        for held in &self.bars {
            let _ = writeln!(
                out,
                "| {} | {} | ≤ {:.2} | {} | {} | {} |",
                held.bar.title,
                held.measured.map_or("–".to_owned(), |it| with_range(&it, 2)),
                held.bar.most,
                held.bar.stretch.map_or(String::new(), |it| format!("{it:.2}")),
                held.floor.map_or(String::new(), |it| format!("{:.2}", it.median)),
                held.verdict(),
            );
        }
        for failure in &self.failures {
            let _ = writeln!(out, "\n**Failed: {failure}.**");
        }
        if let Some(folder) = pictures {
            let _ = writeln!(
                out,
                "\n![CPU per unit]({folder}/cpu.svg)\n\n![Delay and latency]({folder}/delay.svg)"
            );
        }
        for workload in &self.workloads {
            self.markdown_workload(&mut out, workload);
        }
        out
    }

    fn markdown_conditions(&self, out: &mut String) {
        let versions: Vec<String> =
            self.subjects.iter().map(|(name, version)| format!("{name} ({version})")).collect();
        let _ = writeln!(
            out,
            "`{}`: {} rounds of {:.1} s, one worker on core {}, load on core {}. Linux {}, {}, {} \
             cores. {}.\n",
            self.command,
            self.rounds,
            self.window_s,
            proxy_core(0),
            load_core(0),
            self.machine.kernel,
            self.machine.processor,
            self.machine.cores,
            versions.join(", "),
        );
        if self.accept_void {
            out.push_str("**Void measurements were counted: this shows that it runs, not how fast.**\n\n");
        }
        out.push_str(
            "Ratios are to the better of haproxy and nginx in the same round: median (least–greatest) of the rounds.\n\n",
        );
    }

    fn markdown_workload(&self, out: &mut String, workload: &Workload) {
        let samples = self.samples_of(workload.name);
        let results = self.results(workload, &samples);
        let _ = writeln!(
            out,
            "\n### {}\n\n| | CPU µs/{} | ratio | /s | p50 µs | p99 µs | switches | syscalls | RSS MiB | KiB per \
             connection | load busy % | void |\n|---|---|---|---|---|---|---|---|---|---|---|---|",
            workload.title, workload.unit
        );
        for &subject in &self.chosen {
            if let Some(line) = self.line(&results, subject) {
                let _ = writeln!(out, "| {} | {} |", subject.title(), line.join(" | "));
            }
        }
    }
}

fn with_range(spread: &Spread, digits: usize) -> String {
    format!("{:.*} ({:.*}-{:.*})", digits, spread.median, digits, spread.low, digits, spread.high)
}

/// Replaces what is between the markers of a document; false if it has none.
pub fn write_between_markers(document: &Path, name: &str, part: &str) -> std::io::Result<bool> {
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let text = std::fs::read_to_string(document)?;
    let Some((before, rest)) = text.split_once(&begin) else { return Ok(false) };
    let Some((_, after)) = rest.split_once(&end) else { return Ok(false) };
    std::fs::write(document, format!("{before}{begin}\n{}\n{end}{after}", part.trim_end()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = |inside: &str| format!("before\n<!-- x: begin -->\n{inside}\n<!-- x: end -->\nafter\n");
        std::fs::write(file.path(), text("old")).expect("written");
        assert!(write_between_markers(file.path(), "x", "new\n").expect("written"));
        assert_eq!(std::fs::read_to_string(file.path()).expect("read"), text("new"));
    }
}
