//! All endpoints that are read or probed.
//!
//! Owns: a pair of tasks for each, spread over the interval, and the task that sends what they found.
//! Must not: touch an endpoint that stays as it was when the configuration changes.
//! Read next: `watch.rs`, the rounds of one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::outbox::{self, Outbox};
use super::restart::Lives;
use super::target::Target;
use super::watch::{self, Watched};
use crate::client::DataPlane;

/// Reads endpoints for as long as it lives.
pub struct Scraper {
    outbox: Arc<Outbox>,
    watched: BTreeMap<String, Watch>,
    lives: Arc<Mutex<BTreeMap<String, Arc<Mutex<Lives>>>>>,
    started: u32,
    _sender: JoinSet<()>,
}

struct Watch {
    target: Target,
    /// Ended when dropped.
    _rounds: JoinSet<()>,
}

impl Scraper {
    /// Sends to this data plane what will be read.
    pub fn new(dataplane: DataPlane) -> Self {
        let outbox = Arc::new(Outbox::default());
        let lives: Arc<Mutex<BTreeMap<String, Arc<Mutex<Lives>>>>> = Arc::default();
        let known = Arc::clone(&lives);
        let mut sender = JoinSet::new();
        sender.spawn(outbox::send(Arc::clone(&outbox), dataplane, move |endpoint, generation| {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(lives) = known.get(endpoint) {
                lives.lock().unwrap_or_else(PoisonError::into_inner).adopt(generation);
            }
        }));
        Self { outbox, watched: BTreeMap::new(), lives, started: 0, _sender: sender }
    }

    /// Keeps to these endpoints.
    pub fn want(&mut self, targets: Vec<Target>) {
        let mut before = std::mem::take(&mut self.watched);
        let mut lives_before = {
            let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *lives)
        };
        for target in targets {
            let name = target.name.clone();
            let lives = lives_before.remove(&name).unwrap_or_default();
            let watch = match before.remove(&name) {
                Some(watch) if watch.target == target => watch,
                Some(_) | None => self.start(target, &lives),
            };
            self.watched.insert(name.clone(), watch);
            self.lives.lock().unwrap_or_else(PoisonError::into_inner).insert(name, lives);
        }
    }

    fn start(&mut self, target: Target, lives: &Arc<Mutex<Lives>>) -> Watch {
        let phase = phase(self.started);
        self.started = self.started.wrapping_add(1);
        let outbox = Arc::clone(&self.outbox);
        let watched = Arc::new(Watched { target: target.clone(), lives: Arc::clone(lives), outbox, phase });
        let mut rounds = JoinSet::new();
        if target.addresses.is_empty() {
            return Watch { target, _rounds: rounds }; // another target once its name resolves
        }
        if let Some(metrics) = target.metrics.clone() {
            rounds.spawn(watch::scrape(Arc::clone(&watched), metrics));
        }
        if let Some(health) = target.health.clone() {
            rounds.spawn(watch::probe(watched, health));
        }
        Watch { target, _rounds: rounds }
    }
}

/// Turns well spread over an interval however many there are: steps of the golden ratio.
fn phase(turn: u32) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    (f64::from(turn) * GOLDEN).fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_spread_over_the_interval() {
        for count in [2, 10, 100] {
            let mut phases: Vec<f64> = (0..count).map(phase).collect();
            phases.sort_by(f64::total_cmp);
            let gap = phases.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
            assert!(gap < 2.0 / f64::from(count), "{count}: {gap}");
        }
    }
}
