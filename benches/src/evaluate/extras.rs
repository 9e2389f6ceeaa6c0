//! What some scenarios ask for beyond figures: shares of tenants, callers' errors, what is left behind.
//!
//! Owns: these measures and their bars.
//! Must not: run anything; each is a function of a run, and of S1 where it is compared with it.
//! Read next: [`super::scenarios`], which says which scenario asks for which.

use std::time::Duration;

use ringway_dataplane::admission::queue::Class;

use super::bars::{Bar, Held, Measure};
use super::gateway::Left;
use super::judge::{goodput, quantile, sorted};
use super::outcome::{Fate, Outcome, Refused};
use super::runner::Ran;

/// Measures something of a run; the second one is what it is compared with: S1 with the score, unless the case says otherwise.
pub type Extra = fn(&Ran, &Ran) -> Vec<Held>;

const fn held(bar: Bar, value: f64) -> Held {
    Held { bar, value }
}

fn count(ran: &Ran, test: impl Fn(&&Outcome) -> bool) -> f64 {
    ran.record.outcomes.iter().filter(test).count() as f64
}

/// No caller gets an error of the gateway's.
pub fn nobody_refused(ran: &Ran, _: &Ran) -> Vec<Held> {
    let errors = count(ran, |it| !matches!(it.fate, Fate::Served));
    vec![held(Bar::most(Measure::Other("errors"), 0.0), errors)]
}

/// What refused callers are told.
pub fn refusals(ran: &Ran, _: &Ran) -> Vec<Held> {
    let refused = ran.record.outcomes.iter().filter_map(|it| match it.fate {
        Fate::Refused(refused) => Some(refused),
        Fate::Open | Fate::Served | Fate::Nowhere | Fate::Broken { .. } | Fate::Left => None,
    });
    let refused: Vec<Refused> = refused.collect();
    let told = sorted(refused.iter().map(|it| it.retry_after.as_secs_f64()));
    let nowhere = count(ran, |it| it.fate == Fate::Nowhere);
    vec![
        held(Bar::most(Measure::Other("other than 429"), 0.0), nowhere),
        held(Bar::least(Measure::Other("retry-after, shortest, s"), 1.0), quantile(&told, 0.0)),
        held(Bar::most(Measure::Other("median, s"), 72.0), quantile(&told, 0.5)),
        held(Bar::most(Measure::Other("longest, s"), 72.0), quantile(&told, 1.0)),
        held(Bar::most(Measure::Other("median error of the drain"), 0.5), drain_error(ran, &refused)),
    ]
}

/// Refused callers who come back when they are told to.
pub fn returns(ran: &Ran, _: &Ran) -> Vec<Held> {
    let came_back = count(ran, |it| it.came_back.is_some());
    let served = count(ran, |it| it.came_back.is_some() && it.fate == Fate::Served);
    vec![
        held(Bar::least(Measure::Other("callers that came back"), 1.0), came_back),
        held(Bar::least(Measure::Other("of them accepted"), 0.9), served / came_back.max(1.0)),
    ]
}

/// How far the time a refused caller is told is from the time until everybody before it was served or refused, as a
/// share of that; the median.
fn drain_error(ran: &Ran, refused: &[Refused]) -> f64 {
    let spans: Vec<(Duration, Duration)> =
        ran.record.outcomes.iter().map(|it| (it.ask.at, settled(it))).collect();
    let error = |it: &Refused| {
        let ahead = spans.iter().filter(|(from, until)| *from < it.at && *until > it.at);
        let real =
            ahead.map(|(_, until)| until.saturating_sub(it.at)).max().unwrap_or_default().as_secs_f64();
        let real = real.ceil().max(1.0); // it is told in whole seconds, from one
        (it.retry_after.as_secs_f64() - real).abs() / real
    };
    quantile(&sorted(refused.iter().map(error)), 0.5)
}

/// When a request stopped being in anybody's way: its first token, or its refusal.
fn settled(outcome: &Outcome) -> Duration {
    match outcome.fate {
        Fate::Refused(refused) => refused.at,
        Fate::Open | Fate::Served | Fate::Nowhere | Fate::Broken { .. } | Fate::Left => {
            outcome.first.unwrap_or(outcome.last)
        }
    }
}

/// Both tenants are served as many tokens.
pub fn even_shares(ran: &Ran, _: &Ran) -> Vec<Held> {
    shares(ran, 0.9, 1.1)
}

/// The first tenant is served three times as many.
pub fn three_to_one(ran: &Ran, _: &Ran) -> Vec<Held> {
    shares(ran, 2.7, 3.3)
}

/// Tokens of the first tenant to one of the second, in each minute under load but the first.
fn shares(ran: &Ran, least: f64, most: f64) -> Vec<Held> {
    let minute = |at: Duration| (at.as_secs() / 60) as usize;
    let end = ran.workload.asks.last().map_or(0, |ask| minute(ask.at));
    let mut served = vec![[0.0; 2]; end + 1];
    for outcome in &ran.record.outcomes {
        let Some(bound) = outcome.bound.filter(|bound| minute(*bound) <= end) else { continue };
        let prompt = ran.workload.material.rows()[outcome.ask.row as usize].prompt;
        served[minute(bound)][outcome.ask.tenant as usize - 1] += f64::from(prompt + 2 * outcome.tokens);
    }
    // The first minute fills the queue, the last one is not whole.
    let ratios = sorted(served[..end].iter().skip(1).map(|[first, second]| first / second));
    let bar = |name| Bar::within(Measure::Other(name), least, most);
    vec![
        held(bar("smallest ratio of a minute"), quantile(&ratios, 0.0)),
        held(bar("largest"), quantile(&ratios, 1.0)),
    ]
}

/// Class 0 keeps its objective, class 2 is served meanwhile.
pub fn classes(ran: &Ran, _: &Ran) -> Vec<Held> {
    let of = |class: Class| ran.record.outcomes.iter().filter(move |it| it.ask.class == class);
    let batch = of(Class::Batch).count().max(1) as f64;
    let served = of(Class::Batch).filter(|it| it.fate == Fate::Served).count() as f64;
    vec![
        held(Bar::least(Measure::Other("goodput of class 0"), 0.78), goodput(of(Class::Interactive))),
        held(Bar::least(Measure::Other("share of class 2 served"), 0.5), served / batch),
    ]
}

/// The window around a crash and behind it.
const WINDOW_S: std::ops::Range<u64> = 300..600;

/// A crash costs its share, and only those who had seen a byte notice.
pub fn crash(ran: &Ran, s1: &Ran) -> Vec<Held> {
    fn window(ran: &Ran) -> f64 {
        goodput(ran.record.outcomes.iter().filter(|it| WINDOW_S.contains(&it.ask.at.as_secs())))
    }
    let unseen = count(ran, |it| matches!(it.fate, Fate::Broken { seen: false } | Fate::Nowhere));
    vec![
        held(Bar::least(Measure::Other("goodput of 300-600 s"), window(s1) - 0.04), window(ran)),
        held(Bar::most(Measure::Other("errors before a first byte"), 0.0), unseen),
    ]
}

/// However requests end, nothing is left of them.
pub fn nothing_left(ran: &Ran, _: &Ran) -> Vec<Held> {
    let some =
        |name, test: fn(&&Outcome) -> bool| held(Bar::least(Measure::Other(name), 1.0), count(ran, test));
    let none = |name, value: u64| held(Bar::most(Measure::Other(name), 0.0), value as f64);
    let sum = |of: fn(&Left) -> u64| ran.record.left.iter().map(of).sum();
    vec![
        some("served", |it| it.fate == Fate::Served),
        some("refused", |it| matches!(it.fate, Fate::Refused(_))),
        some("left in the queue", |it| it.fate == Fate::Left && it.bound.is_none()),
        some("left before a token", |it| it.fate == Fate::Left && it.bound.is_some() && it.first.is_none()),
        some("left in the stream", |it| it.fate == Fate::Left && it.first.is_some()),
        some("cut off", |it| it.fate == Fate::Broken { seen: true }),
        some("failed", |it| it.fate == Fate::Broken { seen: false }),
        none("unfinished", count(ran, |it| it.fate == Fate::Open) as u64),
        none("attempts left on the cells", sum(|left| left.in_flight)),
        none("tokens left on the cells", sum(|left| left.tokens)),
        none("underflows", sum(|left| left.underflows)),
    ]
}

/// Engines load at most half as many adapters as where nobody looks at them.
pub fn adapter_loads(ran: &Ran, blind: &Ran) -> Vec<Held> {
    let half = blind.record.adapter_loads as f64 / 2.0;
    vec![
        held(Bar::least(Measure::Other("adapter loads"), 1.0), ran.record.adapter_loads as f64),
        held(Bar::most(Measure::Other("a half of those without"), half), ran.record.adapter_loads as f64),
    ]
}

/// Those of the step that goes on, and what is generated in the 10 ms until it is known.
const UNSEEN_TOKENS: f64 = 2.0;

/// Callers that leave leave nothing behind, in engines or in cells.
pub fn leaving(ran: &Ran, _: &Ran) -> Vec<Held> {
    let counted: u64 =
        ran.record.left.iter().map(|left| left.in_flight + left.tokens + left.underflows).sum();
    let left = count(ran, |it| it.fate == Fate::Left);
    let unseen = ran.record.unseen_tokens as f64 / left;
    vec![
        held(Bar::least(Measure::Other("callers that left"), 1.0), left),
        held(
            Bar::most(Measure::Other("tokens generated for each of them afterwards"), UNSEEN_TOKENS),
            unseen,
        ),
        held(Bar::most(Measure::Other("of them in an engine 1 s later"), 0.0), ran.record.stranded as f64),
        held(Bar::most(Measure::Other("left on the cells"), 0.0), counted as f64),
    ]
}
