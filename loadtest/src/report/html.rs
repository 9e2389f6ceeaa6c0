//! The report as one HTML file with its plots inside: it needs no network and no other file.
//!
//! Owns: what is plotted. Must not: compute what the summary does not have.
//! Read next: `svg.rs`.

use std::fmt::Write as _;

use super::{
    Quantiles, Summary,
    svg::{COLOURS, Line, Plot, bars, escape},
};

const INFALLIBLE: &str = "writing to memory cannot fail";
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:940px;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}\
td:first-child,th:first-child{text-align:left}svg{width:100%;margin:1em 0;font:12px system-ui,sans-serif}\
.bad{color:#a00;font-weight:bold}";
/// Points of a distribution: more than a screen can show apart.
const POINTS: usize = 400;
/// Endpoints drawn as lines of their own.
const LINES: usize = 8;

pub(super) fn page(summary: &Summary) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>ringload: {title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n<p>{load}; {elapsed:.1} s</p>\n",
        title = escape(&summary.target),
        load = escape(&summary.load),
        elapsed = summary.elapsed_s,
    );
    if let Some(why) = &summary.void {
        writeln!(out, "<p class=\"bad\">VOID: {}</p>", escape(why)).expect(INFALLIBLE);
    }
    totals(summary, &mut out);
    latencies(summary, &mut out);
    out.push_str(&distribution(summary));
    timeline(summary, &mut out);
    endpoints(summary, &mut out);
    faults(summary, &mut out);
    out.push_str("</body></html>\n");
    out
}

fn totals(summary: &Summary, out: &mut String) {
    let mut rows = vec![
        ("issued", summary.issued.to_string()),
        ("valid", format!("{} ({:.1}/s)", summary.valid, summary.valid_per_s)),
        ("failed", summary.failed.to_string()),
        ("invalid", summary.invalid.to_string()),
        ("output tokens", format!("{} ({:.0}/s)", summary.output_tokens, summary.output_tokens_per_s)),
        ("prompt tokens", format!("{} ({} cached)", summary.prompt_tokens, summary.cached_tokens)),
        ("generator's CPU", format!("{:.2} s", summary.cpu_s)),
    ];
    if let Some(slo) = &summary.slo {
        let share = 100.0 * summary.good_share;
        rows.insert(
            2,
            ("goodput", format!("{share:.1} %, {:.2}/s, within {}", summary.good_per_s, slo.words())),
        );
    }
    out.push_str("<table>\n");
    for (name, value) in rows {
        writeln!(out, "<tr><td>{name}</td><td>{}</td></tr>", escape(&value)).expect(INFALLIBLE);
    }
    out.push_str("</table>\n");
}

fn latencies(summary: &Summary, out: &mut String) {
    out.push_str(
        "<table><tr><th>ms</th><th>mean</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th>\
         <th>count</th></tr>\n",
    );
    for (name, quantiles) in [
        ("first token", &summary.ttft_ms),
        ("inter-token", &summary.inter_token_ms),
        ("per token", &summary.per_token_ms),
        ("end to end", &summary.end_to_end_ms),
        ("lateness", &summary.lateness_ms),
    ] {
        let Quantiles { count, mean, p50, p90, p99, p99_9, max } = *quantiles;
        if count > 0 {
            write!(out, "<tr><td>{name}</td>").expect(INFALLIBLE);
            for value in [mean, p50, p90, p99, p99_9, max] {
                write!(out, "<td>{value:.3}</td>").expect(INFALLIBLE);
            }
            writeln!(out, "<td>{count}</td></tr>").expect(INFALLIBLE);
        }
    }
    out.push_str("</table>\n");
}

fn distribution(summary: &Summary) -> String {
    let samples = &summary.samples;
    let line = |name: &str, column: &[f64]| {
        let mut values: Vec<_> = column.iter().copied().filter(|value| *value > 0.0).collect();
        values.sort_by(f64::total_cmp);
        let count = values.len();
        let points = (0..POINTS.min(count)).map(|at| {
            let rank = if count <= POINTS { at } else { at * (count - 1) / (POINTS - 1) };
            (values[rank], (rank + 1) as f64 / count as f64)
        });
        Line { name: name.to_owned(), points: points.collect() }
    };
    let lines = vec![
        line("first token", &samples.ttft_ms),
        line("per token", &samples.per_token_ms),
        line("end to end", &samples.end_to_end_ms),
    ];
    Plot { title: "Distribution of latencies", x: "ms", y: "share", log_x: true, lines }.svg()
}

fn timeline(summary: &Summary, out: &mut String) {
    let timeline = &summary.timeline;
    let line = |name: &str, value: &dyn Fn(&crate::timeline::Span) -> f64| {
        let points = timeline.spans.iter().enumerate();
        let points = points.map(|(at, span)| (at as f64 * timeline.span_s, value(span)));
        Line { name: name.to_owned(), points: points.collect() }
    };
    let per_s = |count: u64| count as f64 / timeline.span_s;
    let mut rates =
        vec![line("issued", &|span| per_s(span.issued)), line("valid", &|span| per_s(span.valid))];
    if summary.slo.is_some() {
        rates.push(line("good", &|span| per_s(span.good)));
    }
    if summary.failed + summary.invalid > 0 {
        rates.push(line("faulty", &|span| per_s(span.faulty)));
    }
    out.push_str(&Plot { title: "Requests over time", x: "s", y: "/s", log_x: false, lines: rates }.svg());
    let mean = |span: &crate::timeline::Span| span.ttft_ms / span.valid as f64; // none: not a number, not drawn
    let lines = vec![line("mean time to first token", &mean)];
    out.push_str(&Plot { title: "First token over time", x: "s", y: "ms", log_x: false, lines }.svg());
    let lines = vec![line("output tokens", &|span| per_s(span.output_tokens))];
    out.push_str(&Plot { title: "Output over time", x: "s", y: "/s", log_x: false, lines }.svg());
}

fn endpoints(summary: &Summary, out: &mut String) {
    if summary.endpoints.is_empty() {
        return;
    }
    let rows = |value: &dyn Fn(&super::EndpointRow) -> f64| {
        summary.endpoints.iter().map(|row| (row.name.clone(), value(row))).collect::<Vec<_>>()
    };
    out.push_str(&bars("Answers by endpoint", &rows(&|row| row.valid as f64), COLOURS.len()));
    out.push_str(&bars("Output tokens by endpoint", &rows(&|row| row.output_tokens as f64), COLOURS.len()));
    out.push_str(&bars(
        "Cached share of prompts by endpoint, %",
        &rows(&super::EndpointRow::cached_percent),
        COLOURS.len(),
    ));
    let timeline = &summary.timeline;
    let line = |row: &super::EndpointRow| {
        let points = timeline.spans.iter().enumerate().map(|(at, span)| {
            let count = span.by_endpoint.get(&row.name).copied().unwrap_or(0);
            (at as f64 * timeline.span_s, count as f64 / timeline.span_s)
        });
        Line { name: row.name.clone(), points: points.collect() }
    };
    let lines = summary.endpoints.iter().take(LINES).map(line).collect();
    out.push_str(
        &Plot { title: "Answers by endpoint over time", x: "s", y: "/s", log_x: false, lines }.svg(),
    );
}

fn faults(summary: &Summary, out: &mut String) {
    for row in &summary.faults {
        let class = if row.failure { "failed" } else { "INVALID" };
        let (name, example) = (row.fault.name(), escape(&row.example));
        writeln!(out, "<p><span class=\"bad\">{class}: {} x {name}</span><br>e.g. {example}</p>", row.count)
            .expect(INFALLIBLE);
    }
}
