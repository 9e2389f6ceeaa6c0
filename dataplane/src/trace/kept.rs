//! The traces of the last exchanges that were traced, of all workers.
//!
//! Owns: how many are kept, and how they are found again.
//! Must not: make a worker wait for whoever reads: it pushes to a ring that displaces the oldest.
//! Read next: `control/api.rs`, which answers with them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crossbeam_queue::ArrayQueue;
use ringway_contract::trace::Trace;

use crate::bounds::TRACES_KEPT_MAX;
use crate::observe::exposition::Page;

/// The newest traces.
pub struct Traces {
    /// Those that nobody has looked at.
    fresh: ArrayQueue<Box<Trace>>,
    /// Those that somebody has, the newest last.
    seen: Mutex<VecDeque<Box<Trace>>>,
    total: AtomicU64,
}

impl Default for Traces {
    fn default() -> Self {
        Self { fresh: ArrayQueue::new(TRACES_KEPT_MAX), seen: Mutex::default(), total: AtomicU64::new(0) }
    }
}

impl Traces {
    /// Keeps one, in place of the oldest if there are too many.
    pub fn put(&self, trace: Trace) {
        self.total.fetch_add(1, Relaxed);
        let _ = self.fresh.force_push(Box::new(trace)); // the oldest goes
    }

    /// The newest first, at most so many; only those of this request if one is named.
    pub fn newest(&self, request: Option<&str>, count: usize) -> Vec<Trace> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.extend(std::iter::from_fn(|| self.fresh.pop()).take(TRACES_KEPT_MAX));
        let over = seen.len().saturating_sub(TRACES_KEPT_MAX);
        seen.drain(..over);
        let wanted = |trace: &&Trace| request.is_none_or(|id| trace.request_id == id);
        seen.iter().rev().map(|trace| &**trace).filter(wanted).take(count).cloned().collect()
    }

    /// Appends how many there were to the page of metrics.
    pub fn render(&self, out: &mut String) {
        Page::new(out)
            .counter("ringway_traces_total", "Exchanges of which it was kept how they were routed.")
            .sample(&[], self.total.load(Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use ringway_contract::Generation;
    use ringway_contract::trace::{End, Why};

    use super::*;

    fn trace(id: usize) -> Trace {
        Trace {
            request_id: id.to_string(),
            unix_ms: 0,
            why: Why::Asked,
            generation: Generation::NONE,
            worker: 0,
            route: "r".to_owned(),
            method: "POST".to_owned(),
            path: "/".to_owned(),
            model: None,
            steps: Vec::new(),
            steps_left_out: 0,
            end: End::default(),
        }
    }

    fn ids(traces: &[Trace]) -> Vec<&str> {
        traces.iter().map(|trace| &*trace.request_id).collect()
    }

    #[test]
    fn the_newest_are_kept_whether_or_not_somebody_looks_meanwhile() {
        let traces = Traces::default();
        for id in 0..TRACES_KEPT_MAX + 3 {
            traces.put(trace(id));
        }
        let last = TRACES_KEPT_MAX + 2;
        assert_eq!(ids(&traces.newest(None, 2)), [last.to_string(), (last - 1).to_string()]);
        assert_eq!(traces.newest(None, usize::MAX).len(), TRACES_KEPT_MAX);
        traces.put(trace(9_999));
        assert_eq!(ids(&traces.newest(None, 2)), ["9999".to_owned(), last.to_string()]);
        let all = traces.newest(None, usize::MAX);
        assert_eq!((all.len(), &*all[TRACES_KEPT_MAX - 1].request_id), (TRACES_KEPT_MAX, "4"));
    }

    #[test]
    fn one_request_is_found_by_its_id_and_again() {
        let traces = Traces::default();
        for id in [1, 2, 1, 3] {
            traces.put(trace(id));
        }
        assert_eq!(traces.newest(Some("1"), 10).len(), 2, "an id that a caller used twice");
        assert_eq!(ids(&traces.newest(Some("3"), 10)), ["3"]);
        assert!(traces.newest(Some("4"), 10).is_empty());
        assert_eq!(ids(&traces.newest(Some("2"), 10)), ["2"], "looking does not consume");
    }
}
