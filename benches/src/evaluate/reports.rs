//! What the engines say of themselves, as the control plane would read and push it.
//!
//! Owns: when each engine is read, what its page makes the reader believe, and reports on their way.
//! Must not: parse a page; that a page without values gives no report is held by the tests of the control plane.
//! Read next: `dataplane/src/load.rs`, which takes them in.

use std::collections::BTreeMap;
use std::time::Duration;

use ringway_contract::load::{EndpointLoad, ReportedAdapters};
use ringway_gpusim::fault::MetricsMode;
use ringway_gpusim::lora::Adapter;
use ringway_gpusim::virtual_time::VirtualFleet;

use super::gateway::endpoint_name;
use super::setup::{Reporting, Setup};

/// The readers of a fleet's pages.
pub struct Reports {
    how: Reporting,
    sequence: u64,
    /// Life of each server, from 1.
    lives: Vec<u64>,
    /// What a page that does not change any more says.
    frozen: Vec<Option<Values>>,
    /// On their way, by sequence.
    under_way: BTreeMap<u64, EndpointLoad>,
    /// What the adapters are called.
    adapters: Vec<String>,
}

#[derive(Clone, Copy)]
struct Values {
    running: u32,
    waiting: u32,
    kv: f64,
}

/// A page that comes five seconds late is not waited for, but what if it were: it is pushed with the time it was true.
const SLOW: Duration = Duration::from_secs(5);

impl Reports {
    /// Of these engines.
    pub fn new(setup: &Setup) -> Self {
        let engines = setup.engines.len();
        Self {
            how: setup.reports,
            adapters: setup.adapter_names(),
            sequence: 0,
            lives: vec![1; engines],
            frozen: vec![None; engines],
            under_way: BTreeMap::new(),
        }
    }

    /// When the engine at this place is read first: they are spread over the period.
    pub fn first(&self, at: usize) -> Option<Duration> {
        match self.how {
            Reporting::Never => None,
            Reporting::Every { period, .. } => Some(period.mul_f64(at as f64 / self.lives.len() as f64)),
        }
    }

    /// Reads one engine's page; says when it is read next, and which report is heard when.
    pub fn read(&mut self, fleet: &VirtualFleet, at: usize) -> Option<(Duration, Option<(u64, Duration)>)> {
        let Reporting::Every { period, late } = self.how else { return None };
        let mode = fleet.metrics_mode(at);
        let values = self.values(fleet, at, mode);
        let heard = values.map(|values| {
            self.sequence += 1;
            let report = EndpointLoad {
                endpoint: endpoint_name(at),
                seq: self.sequence,
                generation: self.lives[at],
                taken_at_ns: fleet.now().as_nanos() as u64,
                running: Some(values.running),
                waiting: Some(values.waiting),
                // A share above 1.5 is no share: the reader drops it and keeps the rest.
                kv: Some(values.kv).filter(|kv| *kv <= 1.5),
                adapters: self.adapters(fleet, at),
                ..EndpointLoad::default()
            };
            self.under_way.insert(self.sequence, report);
            (self.sequence, fleet.now() + if mode == MetricsMode::Slow { SLOW } else { late })
        });
        Some((fleet.now() + period, heard))
    }

    fn adapters(&self, fleet: &VirtualFleet, at: usize) -> Option<ReportedAdapters> {
        let (running, waiting, _) = fleet.engine(at).adapters();
        let name = |adapter: &Adapter| self.adapters[usize::from(adapter.0)].clone();
        let slots = Some(fleet.engine(at).adapter_slots().1 as u32);
        (!self.adapters.is_empty())
            .then(|| ReportedAdapters { named: running.iter().chain(&waiting).map(name).collect(), slots })
    }

    fn values(&mut self, fleet: &VirtualFleet, at: usize, mode: MetricsMode) -> Option<Values> {
        if !fleet.is_up(at) {
            return None;
        }
        let engine = fleet.engine(at);
        let (running, waiting) = (engine.running() as u32, engine.waiting() as u32);
        let seen = Values { running, waiting, kv: engine.kv_use() };
        match mode {
            MetricsMode::On | MetricsMode::Slow => Some(seen),
            MetricsMode::Off | MetricsMode::NotFound | MetricsMode::Empty | MetricsMode::Nan => None,
            MetricsMode::Zero => Some(Values { running: 0, waiting: 0, kv: 0.0 }),
            MetricsMode::Stale => Some(*self.frozen[at].get_or_insert(seen)),
            MetricsMode::High => {
                Some(Values { running: 1_000 * running, waiting: 1_000 * waiting, kv: 1_000.0 * seen.kv })
            }
        }
    }

    /// The report with this sequence, which is heard now.
    pub fn heard(&mut self, sequence: u64) -> Option<EndpointLoad> {
        self.under_way.remove(&sequence)
    }

    /// The server at this place is gone: when it is back, it is another one.
    pub fn crashed(&mut self, at: usize) {
        self.lives[at] += 1;
    }
}
