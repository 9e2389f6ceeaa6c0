//! What is run over sockets, and what has to come of it.
//!
//! Owns: which scenarios of `evaluate` these are, how they are run, and the bars of goodput of the short runs: their
//! reference figures less 0.02 (routing sections 14 and 15).
//! Must not: run anything, or describe a scenario anew.
//! Read next: `benches/src/evaluate/scenarios.rs`, what arrives at what; `runner.rs`.

use std::time::Duration;

use ringway_benches::evaluate::scenarios;
use ringway_contract::snapshot::Balance;

/// A scenario in one of its variants.
pub struct Case {
    /// What arrives at what, as in virtual time.
    pub of: scenarios::Case,
    /// What tells its variants apart here.
    pub variant: &'static str,
    /// Another time scale than all others: what is much at once would be too much for a machine of two cores, and
    /// `retry-after` is in whole seconds of the clock on the wall.
    pub time_scale: Option<f64>,
    /// Other rows than the first ones that are asked for.
    pub rows: Option<usize>,
    /// The gateway's threads.
    pub workers: usize,
    /// What goodput has to reach with the policy that the bars are for.
    pub goodput: Goodput,
    /// The control plane is killed when the load has gone on for so long.
    pub killed_after: Option<Duration>,
    /// What else is measured is compared with S1.
    pub beside_s1: bool,
    /// The policies that it is run with.
    pub policies: &'static [Balance],
}

/// A bar for goodput.
#[derive(Clone, Copy, PartialEq)]
pub enum Goodput {
    /// This, on the first 3,000 rows.
    Reference(f64),
    /// What virtual time says, less 0.02.
    Virtual,
    /// That of the same scenario with a fresh view in the same call, less 0.03.
    Fresh,
    /// None: the scenario is about something else, or has only to be shown.
    Shown,
}

const COMPARED: &[Balance] = &[Balance::Gpu, Balance::LeastRequests, Balance::P2c, Balance::RoundRobin];
const GPU: &[Balance] = &[Balance::Gpu];

/// The scenario of `evaluate` with this id and variant, as most are run.
fn case(scenario: &str, variant: &str) -> Case {
    let of = scenarios::all().into_iter().find(|it| (it.scenario, it.variant) == (scenario, variant));
    let of = of.expect("a scenario of `evaluate`");
    Case {
        variant: of.variant,
        of,
        time_scale: None,
        rows: None,
        workers: 1,
        goodput: Goodput::Virtual,
        killed_after: None,
        beside_s1: false,
        policies: GPU,
    }
}

/// All of them.
pub fn all() -> Vec<Case> {
    let mut all = balance();
    all.extend(lies());
    all.extend(overload());
    all.extend(shares());
    all.extend(faults());
    all.extend(adapters());
    all
}

fn balance() -> Vec<Case> {
    let real_time = Some(1.0);
    let killed_after = Some(Duration::from_secs(10));
    vec![
        Case { goodput: Goodput::Reference(0.926), policies: COMPARED, ..case("S1", "") },
        Case { variant: "control plane killed", goodput: Goodput::Fresh, killed_after, ..case("S1", "") },
        Case { goodput: Goodput::Reference(0.917), policies: COMPARED, ..case("S2", "") },
        Case { policies: COMPARED, ..case("S3", "") },
        Case { time_scale: Some(2.0), policies: COMPARED, ..case("S3b", "30/s") },
        Case { time_scale: real_time, ..case("S3b", "60/s, itl_limit 80ms") },
        Case { time_scale: real_time, policies: COMPARED, ..case("S4", "") },
        Case { policies: COMPARED, ..case("S5", "") },
        Case { variant: "4 threads", workers: 4, ..case("S6", "4 threads, 50 us from choice to lease") },
        case("S7", "2 gateways"),
        Case { variant: "64 engines", time_scale: real_time, ..case("S14", "all 64 looked at") },
    ]
}

fn lies() -> Vec<Case> {
    let variants = [
        "metrics off",
        "404",
        "empty",
        "all NaN",
        "all zero",
        "frozen",
        "5 s late",
        "1,000 x for 0.5 s, one of 8",
    ];
    variants.map(|variant| case("S8a", variant)).into()
}

fn overload() -> Vec<Case> {
    let reference = |bar| Goodput::Reference(bar);
    let real_time = Some(1.0);
    vec![
        case("S8b", "fifo 1s"),
        case("S8b", "aged 1s"),
        case("S8b", "fifo 2s"),
        case("S8b", "aged, ttft_slo 2s"),
        Case { goodput: Goodput::Shown, policies: COMPARED, ..case("S8b", "off") },
        Case { goodput: reference(0.68), ..case("S8c", "fifo 1s") },
        Case { goodput: reference(0.772), ..case("S8c", "aged 1s") },
        case("S8c", "fifo 2s"),
        case("S8c", "aged, ttft_slo 2s"),
        Case { goodput: Goodput::Shown, policies: COMPARED, ..case("S8c", "off") },
        Case { time_scale: real_time, ..case("S8d", "aged 1s") },
        Case { time_scale: real_time, ..case("S8d", "x3, aged 1s, refused callers come back") },
        Case { time_scale: real_time, ..case("S8d", "10 s of 3 x capacity, refused callers come back") },
        case("S21", "conversation x2, 8 h100"),
        case("S21", "conversation x1, mixed"),
        case("S21", "synthetic x2"),
        Case { time_scale: real_time, ..case("S21", "azure conversation x20") },
    ]
}

/// Four minutes of three times what four engines serve.
const TENANTS_ROWS: usize = 32_400;

fn shares() -> Vec<Case> {
    let tenants = |variant| Case {
        time_scale: Some(2.0),
        rows: Some(TENANTS_ROWS),
        goodput: Goodput::Shown,
        ..case("S10", variant)
    };
    vec![
        tenants("4:1 offered, weights 1:1"),
        tenants("4:1 offered, weights 3:1"),
        Case { goodput: Goodput::Shown, ..case("S11", "class 0 beside class 2") },
    ]
}

fn faults() -> Vec<Case> {
    vec![
        Case { beside_s1: true, ..case("S12", "one of 8 killed at 300 s, back at 360 s") },
        Case { time_scale: Some(1.0), ..case("S13", "every fifth caller leaves") },
    ]
}

fn adapters() -> Vec<Case> {
    let all = ["12 adapters in 4 slots each", "the same without reports"];
    all.map(|variant| Case { time_scale: Some(8.0), ..case("S20", variant) }).into()
}

/// What the bars of short runs leave to the clock of a real machine.
const SLACK: f64 = 0.02;
/// What a stale view may cost of the goodput of a fresh one.
const STALE_COST: f64 = 0.03;
/// The rows that the references are for.
const ROWS: usize = 3_000;

impl Case {
    /// What goodput has to reach with this policy, on so many rows: `fresh` is what the same case had with its control plane.
    pub fn bar(&self, policy: Balance, rows: usize, in_virtual_time: f64, fresh: Option<f64>) -> Option<f64> {
        if policy != Balance::Gpu {
            return None;
        }
        match self.goodput {
            Goodput::Reference(bar) if rows == ROWS => Some(bar),
            Goodput::Reference(_) | Goodput::Virtual => Some(in_virtual_time - SLACK),
            Goodput::Fresh => Some(fresh.unwrap_or(in_virtual_time) - STALE_COST),
            Goodput::Shown => None,
        }
    }
}
