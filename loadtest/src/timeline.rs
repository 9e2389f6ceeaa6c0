//! What happened when: a run cut into equal spans, few enough to draw however long it is.
//!
//! Owns: the spans, and doubling their length where there would be too many.
//! Must not: know what is drawn of it. Read next: `report/html.rs`.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::bounds::SPANS_MAX;

/// What happened within one span.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Span {
    /// Requests due within it.
    pub issued: u64,
    /// Exchanges that ended well within it.
    pub valid: u64,
    /// Those of them that kept the objective.
    pub good: u64,
    /// Exchanges that ended otherwise.
    pub faulty: u64,
    /// Output tokens of the valid ones.
    pub output_tokens: u64,
    /// Times until the first token of the valid ones, together.
    pub ttft_ms: f64,
    /// Valid ones by who answered, where the answers say so.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_endpoint: BTreeMap<String, u64>,
}

/// The spans of a run, each as long as the others.
#[derive(Debug, Clone, Serialize)]
pub struct Timeline {
    /// How long each is.
    pub span_s: f64,
    /// From the start of the run on.
    pub spans: Vec<Span>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { span_s: 0.25, spans: Vec::new() }
    }
}

impl Timeline {
    /// The span that holds this time since the start of the run.
    pub fn at(&mut self, time: Duration) -> &mut Span {
        let mut index = (time.as_secs_f64() / self.span_s) as usize;
        while index >= SPANS_MAX {
            self.double();
            index /= 2;
        }
        if index >= self.spans.len() {
            self.spans.resize_with(index + 1, Span::default);
        }
        &mut self.spans[index]
    }

    fn double(&mut self) {
        let pairs = self.spans.chunks(2).map(|pair| {
            let mut sum = pair[0].clone();
            pair[1..].iter().for_each(|other| sum.add(other));
            sum
        });
        self.spans = pairs.collect();
        self.span_s *= 2.0;
    }
}

impl Span {
    fn add(&mut self, other: &Self) {
        self.issued += other.issued;
        self.valid += other.valid;
        self.good += other.good;
        self.faulty += other.faulty;
        self.output_tokens += other.output_tokens;
        self.ttft_ms += other.ttft_ms;
        for (name, count) in &other.by_endpoint {
            *self.by_endpoint.entry(name.clone()).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_longer_spans_and_loses_nothing() {
        let mut timeline = Timeline::default();
        for second in 0..10_000 {
            timeline.at(Duration::from_secs(second)).issued += 1;
        }
        assert!(timeline.spans.len() <= SPANS_MAX && timeline.span_s > 10.0);
        assert_eq!(timeline.spans.iter().map(|span| span.issued).sum::<u64>(), 10_000);
        let last = (9_999.0 / timeline.span_s) as usize;
        assert_eq!(last + 1, timeline.spans.len());
    }
}
