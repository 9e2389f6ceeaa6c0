//! What is run over sockets, and what has to come of it.
//!
//! Owns: the bars of the short runs: their reference figures less 0.02 (routing sections 14 and 15).
//! Must not: run anything.
//! Read next: `benches/src/evaluate/scenarios.rs`, the same on whole traces.

use std::time::Duration;

use ringway_benches::evaluate::material::Source;
use ringway_benches::evaluate::setup::Setup;
use ringway_contract::Millis;
use ringway_contract::snapshot::{Admission, Balance, Order};
use ringway_gpusim::Preset;

/// A scenario in one of its variants.
pub struct Case {
    /// Its id.
    pub scenario: &'static str,
    /// What tells its variants apart.
    pub variant: &'static str,
    /// The trace.
    pub source: Source,
    /// Times its rate.
    pub scale: f64,
    /// Another time scale than all others: what is much at once would be too much for a machine of two cores.
    pub time_scale: Option<f64>,
    /// The gateway's threads.
    pub workers: usize,
    /// The engines.
    pub engines: &'static [(Preset, usize)],
    /// The queue.
    pub admission: Option<Admission>,
    /// Goodput that the score has to reach on the first 3,000 rows; none: what virtual time says, less 0.02.
    pub bar: Option<f64>,
    /// The control plane is killed when the load has gone on for so long.
    pub killed_after: Option<Duration>,
    /// The policies that it is run with.
    pub policies: &'static [Balance],
}

const H100: &[(Preset, usize)] = &[(Preset::H100, 8)];
const MIXED: &[(Preset, usize)] = &[(Preset::H100, 4), (Preset::A100, 4)];
const COMPARED: &[Balance] = &[Balance::Gpu, Balance::LeastRequests, Balance::P2c, Balance::RoundRobin];
const GPU: &[Balance] = &[Balance::Gpu];

const MANY: &[(Preset, usize)] = &[(Preset::H100, 64)];

const USUAL: Case = Case {
    scenario: "S1",
    variant: "",
    source: Source::Conversation,
    scale: 2.0,
    time_scale: None,
    workers: 1,
    engines: H100,
    admission: None,
    bar: None,
    killed_after: None,
    policies: COMPARED,
};

/// All of them.
pub fn all() -> Vec<Case> {
    let queued = |scenario, variant, scale, order, bar| {
        let admission = Admission { order, wait_ms: [Millis::from_secs(1); 3], ..Admission::default() };
        Case { scenario, variant, scale, admission: Some(admission), bar, policies: GPU, ..USUAL }
    };
    let killed_after = Some(Duration::from_secs(10));
    vec![
        Case { bar: Some(0.926), ..USUAL },
        Case { variant: "control plane killed", killed_after, policies: GPU, ..USUAL },
        Case { scenario: "S2", scale: 1.0, engines: MIXED, bar: Some(0.917), ..USUAL },
        Case { scenario: "S3", source: Source::Synthetic, ..USUAL },
        Case {
            scenario: "S4",
            source: Source::AzureConversation,
            scale: 20.0,
            time_scale: Some(1.0),
            ..USUAL
        },
        Case { scenario: "S5", source: Source::AzureCode, scale: 12.0, ..USUAL },
        Case { scenario: "S6", variant: "4 threads", workers: 4, policies: GPU, ..USUAL },
        Case {
            scenario: "S14",
            variant: "64 engines",
            scale: 16.0,
            time_scale: Some(1.0),
            engines: MANY,
            policies: GPU,
            ..USUAL
        },
        queued("S21", "aged 1s", 2.0, Order::Aged, None),
        queued("S8b", "fifo 1s", 3.0, Order::Fifo, None),
        queued("S8b", "aged 1s", 3.0, Order::Aged, None),
        queued("S8c", "fifo 1s", 6.0, Order::Fifo, Some(0.68)),
        queued("S8c", "aged 1s", 6.0, Order::Aged, Some(0.772)),
        Case { scenario: "S8c", variant: "off", scale: 6.0, ..USUAL },
    ]
}

/// What the bars of short runs leave to the clock of a real machine.
const SLACK: f64 = 0.02;
/// What a stale view may cost of the goodput of a fresh one.
const STALE_COST: f64 = 0.03;
/// The rows that the bars are for.
const ROWS: usize = 3_000;

impl Case {
    /// What goodput has to reach with this policy, on so many rows: `fresh` is what the same case had with its control plane.
    pub fn bar(&self, policy: Balance, rows: usize, in_virtual_time: f64, fresh: Option<f64>) -> Option<f64> {
        if policy != Balance::Gpu || self.variant == "off" {
            return None;
        }
        if self.killed_after.is_some() {
            return Some(fresh.unwrap_or(in_virtual_time) - STALE_COST);
        }
        Some(self.bar.filter(|_| rows == ROWS).unwrap_or(in_virtual_time - SLACK))
    }

    /// The same as a run in virtual time has it.
    pub fn setup(&self, policy: Balance, seed: u64) -> Setup {
        let mut setup = Setup::new(self.engines, policy, seed);
        setup.admission = self.admission;
        setup
    }
}
