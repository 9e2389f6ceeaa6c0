//! The pictures: bars, with the spread of the measurements as a line.
//!
//! Owns: the SVG, down to its letters; no font, script or link is needed to show it.
//! Must not: compute a figure.
//! Read next: `report.rs`.

use std::fmt::Write as _;

use crate::proxies::Subject;
use crate::report::Comparison;
use crate::table::{Figure, Spread};
use crate::workload::Workload;

const WIDTH: f64 = 860.0;
const LABEL: f64 = 150.0;
const BAR: f64 = 15.0;
const GAP: f64 = 5.0;
const TITLE: f64 = 26.0;

/// CPU per unit of every workload.
pub fn cpu(comparison: &Comparison) -> String {
    picture(comparison, "CPU of the proxy per unit (µs)", |_| Some(Figure::Cpu))
}

/// Delay per event and latency per request, medians.
pub fn delay(comparison: &Comparison) -> String {
    picture(comparison, "Delay per event, latency per request, p50 (µs)", |workload| {
        if workload.memory_only {
            None
        } else if workload.unit == "event" {
            Some(Figure::Delay)
        } else {
            Some(Figure::Latency)
        }
    })
}

fn picture(comparison: &Comparison, title: &str, figure: impl Fn(&Workload) -> Option<Figure>) -> String {
    let mut body = String::new();
    let mut y = TITLE + GAP;
    for workload in &comparison.workloads {
        let Some(figure) = figure(workload) else { continue };
        let samples = comparison.samples_of(workload.name);
        let results = comparison.results(workload, &samples);
        let rows: Vec<(Subject, Spread)> = comparison
            .chosen
            .iter()
            .filter_map(|&subject| Some((subject, results.figure(subject, |it| figure.of(it))?)))
            .collect();
        if !rows.is_empty() {
            group(&mut body, &mut y, workload.title, &rows);
        }
    }
    let height = y + GAP;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"8\" y=\"18\" font-size=\"14\" fill=\"#222222\">{}</text>\n{body}</svg>\n",
        escaped(title)
    )
}

fn group(body: &mut String, y: &mut f64, title: &str, rows: &[(Subject, Spread)]) {
    let most = rows.iter().map(|(_, it)| it.high).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LABEL - 90.0) / most;
    *y += BAR;
    let _ = writeln!(
        body,
        "<text x=\"8\" y=\"{:.1}\" font-weight=\"bold\" fill=\"#222222\">{}</text>",
        *y,
        escaped(title)
    );
    *y += GAP;
    for (subject, it) in rows {
        let (end, low, high) = (LABEL + it.median * scale, LABEL + it.low * scale, LABEL + it.high * scale);
        let (base, middle) = (*y + BAR - 4.0, *y + BAR / 2.0);
        let _ = writeln!(
            body,
            "<text x=\"{:.1}\" y=\"{base:.1}\" text-anchor=\"end\" fill=\"#222222\">{}</text>\
             <rect x=\"{LABEL}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{}\"/>\
             <path d=\"M{low:.1} {middle:.1}H{high:.1}\" stroke=\"#222222\"/>\
             <text x=\"{:.1}\" y=\"{base:.1}\" fill=\"#222222\">{:.1}</text>",
            LABEL - 6.0,
            escaped(subject.title()),
            *y,
            end - LABEL,
            colour(*subject),
            high.max(end) + 6.0,
            it.median,
        );
        *y += BAR + GAP;
    }
}

const fn colour(subject: Subject) -> &'static str {
    match subject {
        Subject::Ringway => "#1b7f5c",
        Subject::RingwayModel => "#63b598",
        Subject::Haproxy => "#6b8fc9",
        Subject::Nginx => "#9aa7b8",
        Subject::RawRelay => "#d9d2c0",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
