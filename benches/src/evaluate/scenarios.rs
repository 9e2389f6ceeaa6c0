//! The acceptance scenarios: what arrives, at what, and what has to come of it (routing section 15).
//!
//! Owns: the list, and every bar.
//! Must not: run anything.
//! Read next: [`super::runner`], which runs them; [`super::extras`], for what is more than a figure.

use std::time::Duration;

use ringway_contract::Millis;
use ringway_contract::snapshot::{self, Balance, Order};
use ringway_gpusim::Preset;
use ringway_gpusim::fault::{Fault, FaultKind, MetricsMode, Window};

use super::arrivals::Arrivals;
use super::bars::{Bar, Measure};
use super::extras::{self, Extra};
use super::material::Source;
use super::setup::{Reporting, Setup};

/// A scenario in one of its variants.
#[derive(Clone)]
pub struct Case {
    /// Its id.
    pub scenario: &'static str,
    /// What tells its variants apart.
    pub variant: &'static str,
    /// What arrives.
    pub arrivals: Arrivals,
    /// At what.
    pub engines: &'static [(Preset, usize)],
    /// What is not as usual.
    pub change: fn(&mut Setup),
    /// What a policy has to reach; nothing: it is only reported.
    pub bars: fn(Balance) -> Vec<Bar>,
    /// Goodput of the score in S1, less this, has to be reached too.
    pub beside_s1: Option<f64>,
    /// What else is measured, with its bars.
    pub extra: Option<Extra>,
    /// What that is compared with: the same case changed further; none: S1.
    pub beside: Option<fn(&mut Setup)>,
    /// The policies that it is run with.
    pub policies: &'static [Balance],
}

const H100: &[(Preset, usize)] = &[(Preset::H100, 8)];
const MIXED: &[(Preset, usize)] = &[(Preset::H100, 4), (Preset::A100, 4)];
const MANY: &[(Preset, usize)] = &[(Preset::H100, 64)];
const FOUR: &[(Preset, usize)] = &[(Preset::H100, 4)];

/// All policies, the one that the bars are for first.
pub const POLICIES: [Balance; 5] =
    [Balance::Gpu, Balance::LeastRequests, Balance::P2c, Balance::RoundRobin, Balance::Hash];
const GPU: &[Balance] = &[Balance::Gpu];
const OTHERS: &[Balance] = &[Balance::RoundRobin, Balance::P2c, Balance::LeastRequests];

const CONVERSATION_X2: Arrivals = Arrivals::Replay(Source::Conversation, 2.0);

const USUAL: Case = Case {
    scenario: "S1",
    variant: "",
    arrivals: CONVERSATION_X2,
    engines: H100,
    change: |_| {},
    bars: |_| Vec::new(),
    beside_s1: None,
    extra: None,
    beside: None,
    policies: GPU,
};

/// The scenario that others are compared with.
pub fn s1() -> Case {
    Case {
        bars: |policy| for_gpu(policy, &[goodput(0.95), reachable(0.985), Bar::most(Measure::TtftP99S, 6.5)]),
        policies: &POLICIES,
        ..USUAL
    }
}

/// All scenarios, in their order.
pub fn all() -> Vec<Case> {
    let mut all = vec![s1()];
    all.extend(balance());
    all.extend(admission());
    all.extend(views());
    all.extend(lies());
    all.extend(fairness());
    all.extend(faults());
    all.extend(adapters());
    all
}

fn balance() -> Vec<Case> {
    let replay = Arrivals::Replay;
    vec![
        Case { scenario: "S1r", bars: others, policies: OTHERS, ..USUAL },
        Case {
            scenario: "S2",
            arrivals: replay(Source::Conversation, 1.0),
            engines: MIXED,
            bars: |policy| for_gpu(policy, &[goodput(0.94), reachable(0.98)]),
            policies: &POLICIES,
            ..USUAL
        },
        Case {
            scenario: "S3",
            arrivals: replay(Source::Synthetic, 2.0),
            bars: |policy| {
                for_gpu(policy, &[goodput(0.935), reachable(0.975), Bar::least(Measure::Hit, 0.28)])
            },
            policies: &POLICIES,
            ..USUAL
        },
        Case {
            scenario: "S3b",
            variant: "30/s",
            arrivals: replay(Source::SharedPrompts, 30.0),
            bars: |policy| for_gpu(policy, &[goodput(0.985)]),
            policies: &POLICIES,
            ..USUAL
        },
        Case {
            scenario: "S3b",
            variant: "60/s, itl_limit 80ms",
            arrivals: replay(Source::SharedPrompts, 60.0),
            change: |setup| {
                let limit = Some(Millis::new(80));
                setup.admission = Some(snapshot::Admission { itl_limit_ms: limit, ..queue(Order::Aged, 1) });
            },
            bars: |policy| for_gpu(policy, &[goodput(0.48)]),
            ..USUAL
        },
        Case {
            scenario: "S4",
            arrivals: replay(Source::AzureConversation, 20.0),
            bars: |policy| for_gpu(policy, &[goodput(0.99), Bar::most(Measure::TtftP99S, 0.5)]),
            policies: &POLICIES,
            ..USUAL
        },
        Case {
            scenario: "S5",
            arrivals: replay(Source::AzureCode, 12.0),
            bars: |policy| for_gpu(policy, &[goodput(0.865)]),
            policies: &POLICIES,
            ..USUAL
        },
        Case {
            scenario: "S14",
            variant: "all 64 looked at",
            arrivals: replay(Source::Conversation, 16.0),
            engines: MANY,
            bars: |policy| for_gpu(policy, &[goodput(0.96)]),
            policies: &POLICIES,
            ..USUAL
        },
        Case {
            scenario: "S14",
            variant: "12 of 64 looked at",
            arrivals: replay(Source::Conversation, 16.0),
            engines: MANY,
            change: |setup| setup.drained = 1, // one more than are all looked at
            bars: |policy| for_gpu(policy, &[goodput(0.96)]),
            ..USUAL
        },
    ]
}

/// The comparison policies are there and behave.
fn others(policy: Balance) -> Vec<Bar> {
    let within = |least, most| vec![Bar::within(Measure::Goodput, least, most)];
    match policy {
        Balance::RoundRobin => within(0.73, 0.80),
        Balance::P2c => within(0.82, 0.87),
        Balance::LeastRequests => within(0.88, 0.92),
        Balance::Gpu | Balance::Hash => Vec::new(),
    }
}

fn admission() -> Vec<Case> {
    let mut all = vec![
        s21("conversation x2, 8 h100", CONVERSATION_X2, H100, |policy| for_gpu(policy, &[goodput(0.948)])),
        s21("conversation x1, mixed", Arrivals::Replay(Source::Conversation, 1.0), MIXED, |policy| {
            for_gpu(policy, &[goodput(0.94)])
        }),
        s21("synthetic x2", Arrivals::Replay(Source::Synthetic, 2.0), H100, |policy| {
            for_gpu(policy, &[goodput(0.925)])
        }),
        s21("azure conversation x20", Arrivals::Replay(Source::AzureConversation, 20.0), H100, |policy| {
            for_gpu(policy, &[goodput(0.985)])
        }),
    ];
    for (scenario, scale, bars) in [("S8b", 3.0, S8B), ("S8c", 6.0, S8C)] {
        all.extend(OVERLOAD.into_iter().zip(bars).map(|((variant, change), bars)| Case {
            scenario,
            variant,
            arrivals: Arrivals::Replay(Source::Conversation, scale),
            change,
            bars,
            policies: if variant == "off" { &POLICIES } else { GPU },
            ..USUAL
        }));
    }
    all.push(Case {
        scenario: "S8d",
        variant: "aged 1s",
        arrivals: Arrivals::Replay(Source::Conversation, 6.0),
        change: |setup| setup.admission = Some(queue(Order::Aged, 1)),
        extra: Some(extras::refusals),
        ..USUAL
    });
    all.push(Case {
        scenario: "S8d",
        variant: "x3, aged 1s, refused callers come back",
        arrivals: Arrivals::Replay(Source::Conversation, 3.0),
        change: obedient,
        extra: Some(extras::returns),
        ..USUAL
    });
    all.push(Case {
        scenario: "S8d",
        variant: "10 s of 3 x capacity, refused callers come back",
        arrivals: Arrivals::Burst,
        engines: FOUR,
        change: obedient,
        extra: Some(extras::returns),
        ..USUAL
    });
    all
}

fn obedient(setup: &mut Setup) {
    setup.admission = Some(queue(Order::Aged, 1));
    setup.obedient = true;
}

fn s21(
    variant: &'static str,
    arrivals: Arrivals,
    engines: &'static [(Preset, usize)],
    bars: fn(Balance) -> Vec<Bar>,
) -> Case {
    let change = |setup: &mut Setup| setup.admission = Some(queue(Order::Aged, 1));
    Case { scenario: "S21", variant, arrivals, engines, change, bars, ..USUAL }
}

type Change = fn(&mut Setup);
type Bars = fn(Balance) -> Vec<Bar>;

const OVERLOAD: [(&str, Change); 5] = [
    ("fifo 1s", |setup| setup.admission = Some(queue(Order::Fifo, 1))),
    ("aged 1s", |setup| setup.admission = Some(queue(Order::Aged, 1))),
    ("fifo 2s", |setup| setup.admission = Some(queue(Order::Fifo, 2))),
    ("aged, ttft_slo 2s", |setup| {
        let slo = Some(Millis::from_secs(2));
        setup.admission = Some(snapshot::Admission { ttft_slo_ms: slo, ..queue(Order::Aged, 2) });
    }),
    ("off", |_| {}),
];

const S8B: [Bars; 5] = [
    |policy| for_gpu(policy, &[goodput(0.87)]),
    |policy| for_gpu(policy, &[goodput(0.89)]),
    |policy| for_gpu(policy, &[goodput(0.77)]),
    |policy| for_gpu(policy, &[goodput(0.93)]),
    |_| Vec::new(),
];

const S8C: [Bars; 5] = [
    |policy| for_gpu(policy, &[goodput(0.69)]),
    |policy| for_gpu(policy, &[goodput(0.78)]),
    |policy| for_gpu(policy, &[goodput(0.23)]),
    |policy| for_gpu(policy, &[goodput(0.76)]),
    |_| Vec::new(),
];

fn views() -> Vec<Case> {
    vec![
        Case {
            scenario: "S6",
            variant: "4 threads, 50 us from choice to lease",
            change: |setup| setup.commits_after = Duration::from_micros(50),
            beside_s1: Some(0.005),
            ..USUAL
        },
        Case {
            scenario: "S7",
            variant: "2 gateways",
            change: |setup| (setup.gateways, setup.reckoned) = (2, 2),
            bars: |policy| for_gpu(policy, &[goodput(0.91)]),
            ..USUAL
        },
    ]
}

fn lies() -> Vec<Case> {
    let case = |variant, change| Case {
        scenario: "S8a",
        variant,
        change,
        beside_s1: Some(0.01),
        extra: Some(extras::nobody_refused),
        ..USUAL
    };
    vec![
        case("metrics off", |setup| lie(setup, MetricsMode::Off)),
        case("404", |setup| lie(setup, MetricsMode::NotFound)),
        case("empty", |setup| lie(setup, MetricsMode::Empty)),
        case("all NaN", |setup| lie(setup, MetricsMode::Nan)),
        case("all zero", |setup| lie(setup, MetricsMode::Zero)),
        case("frozen", |setup| lie(setup, MetricsMode::Stale)),
        case("5 s late", |setup| lie(setup, MetricsMode::Slow)),
        case("1,000 x for 0.5 s, one of 8", |setup| {
            // The page of the first engine is read at each full second.
            let from = Duration::from_millis(99_800);
            let window = Window { from, until: from + Duration::from_millis(500) };
            setup.faults =
                vec![Fault { kind: FaultKind::Metrics(MetricsMode::High), replica: Some(0), window }];
        }),
    ]
}

fn lie(setup: &mut Setup, mode: MetricsMode) {
    setup.faults = vec![Fault { kind: FaultKind::Metrics(mode), replica: None, window: Window::ALWAYS }];
}

fn adapters() -> Vec<Case> {
    let case = |variant, change| Case {
        scenario: "S20",
        variant,
        arrivals: Arrivals::Adapters(ADAPTERS),
        change,
        ..USUAL
    };
    let seeing: Change = |setup| setup.adapters = ADAPTERS;
    let unheard: Change = |setup| (setup.adapters, setup.reports) = (ADAPTERS, Reporting::Never);
    let beside: Option<Change> = Some(|setup| setup.blind_to_adapters = true);
    vec![
        Case { beside, extra: Some(extras::adapter_loads), ..case("12 adapters in 4 slots each", seeing) },
        Case { beside, extra: Some(extras::adapter_loads), ..case("the same without reports", unheard) },
        case("the same, weights zero", |setup| (setup.adapters, setup.blind_to_adapters) = (ADAPTERS, true)),
    ]
}

const ADAPTERS: u16 = 12;

fn fairness() -> Vec<Case> {
    let case = |variant, weight, extra| Case {
        scenario: "S10",
        variant,
        arrivals: Arrivals::Tenants(weight),
        engines: FOUR,
        change: |setup| setup.admission = Some(queue(Order::Aged, 10)),
        extra: Some(extra),
        ..USUAL
    };
    vec![
        case("4:1 offered, weights 1:1", 1, extras::even_shares),
        case("4:1 offered, weights 3:1", 3, extras::three_to_one),
        Case {
            scenario: "S11",
            variant: "class 0 beside class 2",
            arrivals: Arrivals::Classes,
            change: |setup| {
                let wait_ms = [1, 10, 30].map(Millis::from_secs);
                setup.admission = Some(snapshot::Admission { wait_ms, ..snapshot::Admission::default() });
            },
            extra: Some(extras::classes),
            ..USUAL
        },
    ]
}

fn faults() -> Vec<Case> {
    vec![
        Case {
            scenario: "S12",
            variant: "one of 8 killed at 300 s, back at 360 s",
            change: |setup| {
                let window = Window { from: Duration::from_mins(5), until: Duration::from_mins(6) };
                setup.faults = vec![Fault { kind: FaultKind::Crash, replica: Some(3), window }];
                setup.repeatable = true;
            },
            extra: Some(extras::crash),
            ..USUAL
        },
        Case {
            scenario: "S9",
            variant: "1,000,000 requests, 20 restarts, 5 % errors",
            arrivals: Arrivals::Many(1_000_000),
            change: |setup| {
                setup.admission = Some(queue(Order::Aged, 1));
                setup.repeatable = true;
                setup.faults = restarts();
            },
            extra: Some(extras::nothing_left),
            ..USUAL
        },
        Case {
            scenario: "S13",
            variant: "every fifth caller leaves",
            arrivals: Arrivals::Leaving,
            extra: Some(extras::leaving),
            ..USUAL
        },
    ]
}

/// Twenty of them, four seconds apart, and an error instead of every twentieth answer.
fn restarts() -> Vec<Fault> {
    let crash = |turn: u64| {
        let from = Duration::from_secs(2 + 4 * turn);
        let window = Window { from, until: from + Duration::from_secs(1) };
        Fault { kind: FaultKind::Crash, replica: Some(turn as usize % 8), window }
    };
    let errors = Fault { kind: FaultKind::Errors(0.05), replica: None, window: Window::ALWAYS };
    (0..20).map(crash).chain([errors]).collect()
}

const fn goodput(least: f64) -> Bar {
    Bar::least(Measure::Goodput, least)
}

const fn reachable(least: f64) -> Bar {
    Bar::least(Measure::Reachable, least)
}

fn for_gpu(policy: Balance, bars: &[Bar]) -> Vec<Bar> {
    if policy == Balance::Gpu { bars.to_vec() } else { Vec::new() }
}

/// Admission at its defaults but for the order and how long each class may wait.
fn queue(order: Order, wait_s: u64) -> snapshot::Admission {
    snapshot::Admission { order, wait_ms: [Millis::from_secs(wait_s); 3], ..snapshot::Admission::default() }
}
