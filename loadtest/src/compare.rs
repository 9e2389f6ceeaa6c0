//! Two runs side by side: what changed, and whether chance could have done it.
//!
//! Owns: the statistics, each with a bootstrap confidence interval, and the table.
//! Must not: call a difference real that chance explains. Read next: `stats.rs`, which keeps the samples.

use std::{fmt::Write as _, path::Path};

use ringway_gpusim::random::Random;
use serde::{Deserialize, Serialize};

use crate::{bounds::RESAMPLES, stats::Samples};

/// What a comparison needs of a run.
#[derive(Debug, Deserialize)]
pub struct Run {
    /// Where requests went.
    pub target: String,
    /// Why its latencies must not be used, if they must not.
    pub void: Option<String>,
    /// Exchanges one by one.
    pub samples: Samples,
}

/// Why a file is no run.
#[derive(Debug, thiserror::Error)]
pub enum BadRun {
    /// It cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(String, std::io::Error),
    /// It is no summary with samples.
    #[error("{0} is no summary of a run: {1}")]
    Shape(String, serde_json::Error),
    /// Nothing was measured.
    #[error("{0} has no samples")]
    Empty(String),
}

impl Run {
    /// Reads what `ringload run --json` has written.
    pub fn read(path: &Path) -> Result<Self, BadRun> {
        let name = path.display().to_string();
        let text = std::fs::read(path).map_err(|error| BadRun::Unreadable(name.clone(), error))?;
        let run: Self = serde_json::from_slice(&text).map_err(|error| BadRun::Shape(name.clone(), error))?;
        if run.samples.good.is_empty() { Err(BadRun::Empty(name)) } else { Ok(run) }
    }
}

/// One statistic of both runs.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Its value in the first run.
    pub a: f64,
    /// And where it would lie in 95 of 100 such runs.
    pub a_95: [f64; 2],
    /// Its value in the second run.
    pub b: f64,
    /// And where it would lie in 95 of 100 such runs.
    pub b_95: [f64; 2],
    /// Second less first.
    pub difference: f64,
    /// Where that lies in 95 of 100 pairs of such runs.
    pub difference_95: [f64; 2],
    /// What to make of it.
    pub verdict: Verdict,
}

/// What to make of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The second run is better, and chance does not explain it.
    Better,
    /// The second run is worse, and chance does not explain it.
    Worse,
    /// Chance explains it.
    Unclear,
}

/// Both runs.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The targets.
    pub targets: [String; 2],
    /// Why a run must not be used, if it must not.
    pub void: [Option<String>; 2],
    /// The statistics that both runs have.
    pub rows: Vec<Row>,
}

/// A statistic of a column of numbers.
#[derive(Clone, Copy)]
enum Statistic {
    Mean,
    /// The value that this many thousandths are not above.
    Quantile(usize),
}

/// Compares two runs. The same seed draws the same resamples.
pub fn compare(a: &Run, b: &Run, seed: u64) -> Comparison {
    use Statistic::{Mean, Quantile};
    type Column = fn(&Samples) -> &Vec<f64>;
    let columns: [([&'static str; 4], Column); 3] = [
        (["ttft mean ms", "ttft p50 ms", "ttft p90 ms", "ttft p99 ms"], |it| &it.ttft_ms),
        (["per token mean ms", "per token p50 ms", "per token p90 ms", "per token p99 ms"], |it| {
            &it.per_token_ms
        }),
        (["end to end mean ms", "end to end p50 ms", "end to end p90 ms", "end to end p99 ms"], |it| {
            &it.end_to_end_ms
        }),
    ];
    let mut random = Random::new(seed);
    let good = |run: &Run| run.samples.good.iter().map(|good| f64::from(*good) * 100.0).collect();
    let mut rows = Vec::new();
    rows.extend(row(["good %"], &[Mean], false, good(a), good(b), &mut random));
    for (names, column) in columns {
        let statistics = [Mean, Quantile(500), Quantile(900), Quantile(990)];
        let values = |run: &Run| column(&run.samples).iter().copied().filter(|value| *value >= 0.0).collect();
        rows.extend(row(names, &statistics, true, values(a), values(b), &mut random));
    }
    Comparison { targets: [a.target.clone(), b.target.clone()], void: [a.void.clone(), b.void.clone()], rows }
}

/// The rows of one column. `lower` says that lower is better.
fn row<const N: usize>(
    names: [&'static str; N],
    statistics: &[Statistic; N],
    lower: bool,
    a: Vec<f64>,
    b: Vec<f64>,
    random: &mut Random,
) -> Vec<Row> {
    if a.is_empty() || b.is_empty() {
        return Vec::new();
    }
    let (a, b) = (Bootstrap::new(a, statistics, random), Bootstrap::new(b, statistics, random));
    let rows = names.into_iter().enumerate().map(|(at, name)| {
        let differences: Vec<_> = a.resampled[at].iter().zip(&b.resampled[at]).map(|(a, b)| b - a).collect();
        let difference_95 = interval(differences);
        let verdict = match difference_95 {
            [low, high] if low <= 0.0 && high >= 0.0 => Verdict::Unclear,
            [low, _] if (low > 0.0) == lower => Verdict::Worse,
            _ => Verdict::Better,
        };
        Row {
            name,
            a: a.value[at],
            a_95: interval(a.resampled[at].clone()),
            b: b.value[at],
            b_95: interval(b.resampled[at].clone()),
            difference: b.value[at] - a.value[at],
            difference_95,
            verdict,
        }
    });
    rows.collect()
}

/// The statistics of a column, and of many columns drawn from it with replacement.
struct Bootstrap {
    value: Vec<f64>,
    resampled: Vec<Vec<f64>>,
}

impl Bootstrap {
    fn new(mut column: Vec<f64>, statistics: &[Statistic], random: &mut Random) -> Self {
        column.sort_by(f64::total_cmp);
        let mut times = vec![1; column.len()];
        let of = |times: &[u32]| statistics.iter().map(|it| it.of(&column, times)).collect::<Vec<_>>();
        let value = of(&times);
        let mut resampled = vec![Vec::with_capacity(RESAMPLES); statistics.len()];
        for _ in 0..RESAMPLES {
            times.fill(0);
            for _ in 0..column.len() {
                times[(random.bits() % column.len() as u64) as usize] += 1;
            }
            of(&times).into_iter().zip(&mut resampled).for_each(|(value, all)| all.push(value));
        }
        Self { value, resampled }
    }
}

impl Statistic {
    /// Of a sorted column in which each value stands for so many.
    fn of(self, column: &[f64], times: &[u32]) -> f64 {
        match self {
            Self::Mean => {
                let sum: f64 = column.iter().zip(times).map(|(value, times)| value * f64::from(*times)).sum();
                sum / column.len() as f64
            }
            Self::Quantile(thousandths) => {
                let mut left = (column.len() * thousandths).div_ceil(1_000).max(1);
                for (value, times) in column.iter().zip(times) {
                    left = left.saturating_sub(*times as usize);
                    if left == 0 {
                        return *value;
                    }
                }
                column[column.len() - 1]
            }
        }
    }
}

/// Where the middle 95 % lie.
fn interval(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    [values[last * 25 / 1_000], values[last - last * 25 / 1_000]]
}

impl Comparison {
    /// The table for a terminal.
    pub fn table(&self) -> String {
        let mut out = String::new();
        self.write_table(&mut out).expect("writing to memory cannot fail");
        out
    }

    fn write_table(&self, out: &mut String) -> std::fmt::Result {
        for (name, target, void) in
            [("A", &self.targets[0], &self.void[0]), ("B", &self.targets[1], &self.void[1])]
        {
            writeln!(out, "{name}  {target}")?;
            if let Some(why) = void {
                writeln!(out, "   VOID: {why}")?;
            }
        }
        writeln!(out, "\n{:20}{:>12}{:>12}{:>12}   95 % of B - A", "", "A", "B", "B - A")?;
        for row in &self.rows {
            let [low, high] = row.difference_95;
            let verdict = match row.verdict {
                Verdict::Better => "better",
                Verdict::Worse => "WORSE",
                Verdict::Unclear => "no clear difference",
            };
            let range = format!("[{low:.3}, {high:.3}]");
            let (name, a, b, difference) = (row.name, row.a, row.b, row.difference);
            writeln!(out, "{name:20}{a:>12.3}{b:>12.3}{difference:>+12.3}   {range:24} {verdict}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64, count: usize, factor: f64) -> Run {
        let mut random = Random::new(seed);
        let mut column = |scale: f64| (0..count).map(|_| scale * factor * random.log_normal(0.5)).collect();
        let samples = Samples {
            of: count as u64,
            at_ms: vec![0.0; count],
            ttft_ms: column(100.0),
            per_token_ms: column(10.0),
            end_to_end_ms: column(1_000.0),
            good: vec![1; count],
        };
        Run { target: format!("run {seed}"), void: None, samples }
    }

    #[test]
    fn a_real_difference_is_found_and_its_direction_named() {
        let comparison = compare(&run(1, 500, 1.0), &run(2, 500, 1.4), 1);
        assert_eq!(comparison.rows.len(), 13);
        for row in comparison.rows.iter().filter(|row| row.name.contains("mean")) {
            assert_eq!(row.verdict, Verdict::Worse, "{row:?}");
            assert!(row.difference_95[0] < row.difference && row.difference < row.difference_95[1]);
        }
        let back = compare(&run(2, 500, 1.4), &run(1, 500, 1.0), 1);
        assert!(back.rows.iter().any(|row| row.verdict == Verdict::Better));
        assert!(comparison.table().contains("WORSE"));
    }

    #[test]
    fn chance_alone_is_rarely_called_a_difference() {
        let mut clear = 0;
        for seed in 0..30 {
            let comparison = compare(&run(seed, 60, 1.0), &run(seed + 1_000, 60, 1.0), seed);
            let mean = comparison.rows.iter().find(|row| row.name == "ttft mean ms").expect("measured");
            clear += usize::from(mean.verdict != Verdict::Unclear);
        }
        assert!(clear <= 5, "{clear} of 30, where 1 or 2 are expected");
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let column: Vec<_> = (1..=1_000).map(f64::from).collect();
        let times = vec![1; 1_000];
        for (thousandths, want) in [(500, 500.0), (990, 990.0), (1, 1.0), (1_000, 1_000.0)] {
            let got = Statistic::Quantile(thousandths).of(&column, &times);
            assert!((got - want).abs() < 1e-9);
        }
    }
}
