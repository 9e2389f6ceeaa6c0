//! Shows how far a run is, on stderr, and listens for Ctrl-C.
//!
//! Owns: a bar on a terminal, a plain line every few seconds elsewhere. Must not: touch stdout.
//! Read next: `cli.rs`.

use std::{
    io::IsTerminal as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{Progress, Watch, bounds::PROGRESS_LINE_EVERY, scenario::Scenario};

/// Shows the run it watches.
pub(crate) struct Display {
    view: View,
    stop: Arc<AtomicBool>,
    duration: Option<Duration>,
    requests: Option<u64>,
}

enum View {
    Bar(ProgressBar),
    Lines { next: Duration },
    Nothing,
}

impl Display {
    /// `stop` is set when the user has seen enough.
    pub(crate) fn new(scenario: &Scenario, shown: bool, stop: Arc<AtomicBool>) -> Self {
        let view = if !shown {
            View::Nothing
        } else if std::io::stderr().is_terminal() {
            View::Bar(bar())
        } else {
            View::Lines { next: PROGRESS_LINE_EVERY }
        };
        Self { view, stop, duration: scenario.duration, requests: scenario.requests }
    }

    /// Takes the bar away, so that the summary stands alone.
    pub(crate) fn clear(&self) {
        if let View::Bar(bar) = &self.view {
            bar.finish_and_clear();
        }
    }

    /// How much of the run is done, in thousandths: of the limit that ends it sooner.
    fn permille(&self, progress: &Progress) -> u64 {
        let by_time = self.duration.map(|all| progress.elapsed.as_secs_f64() / all.as_secs_f64().max(1e-9));
        let by_count = self.requests.map(|all| progress.issued as f64 / all.max(1) as f64);
        (by_time.unwrap_or(0.0).max(by_count.unwrap_or(0.0)).min(1.0) * 1_000.0) as u64
    }
}

impl Watch for Display {
    fn tick(&mut self, progress: &Progress) -> bool {
        let permille = self.permille(progress);
        match &mut self.view {
            View::Bar(bar) => {
                bar.set_position(permille);
                bar.set_message(line(progress));
            }
            View::Lines { next } if progress.elapsed >= *next => {
                *next += PROGRESS_LINE_EVERY;
                eprintln!(
                    "{:>6.1} s  {:>3} %  {}",
                    progress.elapsed.as_secs_f64(),
                    permille / 10,
                    line(progress)
                );
            }
            View::Lines { .. } | View::Nothing => {}
        }
        !self.stop.load(Ordering::Relaxed)
    }
}

fn line(progress: &Progress) -> String {
    let Progress { issued, in_flight, valid, faulty, .. } = progress;
    format!("{issued} issued, {in_flight} in flight, {valid} valid, {faulty} faulty")
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed:>5} [{bar:32}] {msg}").expect("a fixed template");
    ProgressBar::new(1_000).with_style(style.progress_chars("=> "))
}
