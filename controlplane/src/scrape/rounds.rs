//! All endpoints that are read or probed.
//!
//! Owns: a pair of tasks for each, spread over the interval, and the task that sends what they found.
//! Must not: touch an endpoint that stays as it was when the configuration changes.
//! Read next: `watch.rs`, the rounds of one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ringway_contract::snapshot::BackendTls;
use tokio::task::JoinSet;

use super::outbox::{self, Outbox};
use super::restart::Lives;
use super::target::Target;
use super::trouble::Troubles;
use super::watch::{self, Watched};
use crate::client::DataPlane;
use crate::trust::Trust;

/// Reads endpoints for as long as it lives.
pub struct Scraper {
    outbox: Arc<Outbox>,
    troubles: Arc<Troubles>,
    /// One for all endpoints of the same `tls`: its files and the system's authorities are read once.
    trusts: HashMap<BackendTls, Weak<Trust>>,
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
    pub fn new(dataplane: DataPlane, troubles: Arc<Troubles>) -> Self {
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
        let (watched, trusts) = (BTreeMap::new(), HashMap::new());
        Self { outbox, troubles, trusts, watched, lives, started: 0, _sender: sender }
    }

    /// Keeps to these endpoints.
    pub fn want(&mut self, targets: Vec<Target>) {
        self.trusts.retain(|_, trust| trust.strong_count() > 0);
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
        let trust = target.secure.as_ref().map(|secure| self.trust(&secure.tls));
        let (outbox, troubles) = (Arc::clone(&self.outbox), Arc::clone(&self.troubles));
        let (target_of, lives) = (target.clone(), Arc::clone(lives));
        let watched = Arc::new(Watched { target: target_of, trust, lives, outbox, troubles, phase });
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

    fn trust(&mut self, tls: &BackendTls) -> Arc<Trust> {
        if let Some(trust) = self.trusts.get(tls).and_then(Weak::upgrade) {
            return trust;
        }
        let trust = Arc::new(Trust::new(tls.clone()));
        self.trusts.insert(tls.clone(), Arc::downgrade(&trust));
        trust
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
