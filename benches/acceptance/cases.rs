//! What is run over sockets, and what has to come of it.
//!
//! Owns: the bars of the short runs: their reference figures less 0.02 (routing sections 14 and 15).
//! Must not: run anything.
//! Read next: `benches/src/evaluate/scenarios.rs`, the same on whole traces.

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
    /// Times the rate of the conversation trace.
    pub scale: f64,
    /// The engines.
    pub engines: &'static [(Preset, usize)],
    /// The queue.
    pub admission: Option<Admission>,
    /// Goodput that the score has to reach on the first 3,000 rows; none: what virtual time says, less 0.02.
    pub bar: Option<f64>,
    /// The policies that it is run with.
    pub policies: &'static [Balance],
}

const H100: &[(Preset, usize)] = &[(Preset::H100, 8)];
const MIXED: &[(Preset, usize)] = &[(Preset::H100, 4), (Preset::A100, 4)];
const COMPARED: &[Balance] = &[Balance::Gpu, Balance::LeastRequests, Balance::P2c, Balance::RoundRobin];
const GPU: &[Balance] = &[Balance::Gpu];

/// All of them.
pub fn all() -> Vec<Case> {
    let plain = |scenario, scale, engines, bar| Case {
        scenario,
        variant: "",
        scale,
        engines,
        admission: None,
        bar: Some(bar),
        policies: COMPARED,
    };
    let queued = |scenario, variant, scale, order, bar| Case {
        scenario,
        variant,
        scale,
        engines: H100,
        admission: Some(Admission { order, wait_ms: [Millis::from_secs(1); 3], ..Admission::default() }),
        bar,
        policies: GPU,
    };
    vec![
        plain("S1", 2.0, H100, 0.926),
        plain("S2", 1.0, MIXED, 0.917),
        queued("S8b", "fifo 1s", 3.0, Order::Fifo, None),
        queued("S8b", "aged 1s", 3.0, Order::Aged, None),
        queued("S8c", "fifo 1s", 6.0, Order::Fifo, Some(0.68)),
        queued("S8c", "aged 1s", 6.0, Order::Aged, Some(0.772)),
        Case {
            scenario: "S8c",
            variant: "off",
            scale: 6.0,
            engines: H100,
            admission: None,
            bar: None,
            policies: COMPARED,
        },
    ]
}

impl Case {
    /// The same as a run in virtual time has it.
    pub fn setup(&self, policy: Balance, seed: u64) -> Setup {
        let mut setup = Setup::new(self.engines, policy, seed);
        setup.admission = self.admission;
        setup
    }
}
