//! The result as a table, for a terminal and in Markdown.
//!
//! Owns: columns and words.
//! Must not: measure or judge.
//! Read next: [`super::runner::Row`].

use std::fmt::Write as _;

use super::runner::Row;

/// The first line of a table for a terminal.
pub fn head() -> String {
    line(
        [
            "scenario", "policy", "goodput", "reach", "ttft", "p50", "p90", "p99", "itl", "p99", "hit",
            "refused",
        ]
        .map(str::to_owned),
        "bar",
    )
}

/// One line of it.
pub fn row(row: &Row) -> String {
    let figures = &row.figures;
    let cells = [
        row.scenario.to_owned(),
        row.policy.to_owned(),
        format!("{:.3}", figures.goodput),
        format!("{:.3}", figures.reachable),
        format!("{:.2}", figures.ttft_mean_s),
        format!("{:.2}", figures.ttft_p50_s),
        format!("{:.2}", figures.ttft_p90_s),
        format!("{:.1}", figures.ttft_p99_s),
        format!("{:.0}", figures.itl_mean_ms),
        format!("{:.0}", figures.itl_p99_ms),
        format!("{:.3}", figures.hit),
        figures.rejected.to_string(),
    ];
    line(cells, &told(row))
}

/// The variant, the bar, and whether it is met.
fn told(row: &Row) -> String {
    let met = match row.met {
        Some(true) => "met: ",
        Some(false) => "MISSED: ",
        None => "",
    };
    let parts = [row.variant.to_owned(), format!("{met}{}", row.bar)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" | ")
}

fn line(cells: [String; 12], rest: &str) -> String {
    let [scenario, policy, numbers @ ..] = cells;
    let mut line = format!("{scenario:<9}{policy:<15}");
    for number in numbers {
        let _ = write!(line, "{number:>8}");
    }
    line + "  " + rest
}
