//! What arrives in each scenario: replays of a trace, and mixtures made of them.
//!
//! Owns: rates, classes, tenants, and who leaves.
//! Must not: read a trace; see [`super::material`].
//! Read next: [`super::scenarios`].

use std::rc::Rc;
use std::time::Duration;

use ringway_dataplane::admission::queue::Class;
use ringway_gpusim::random::Random;

use super::material::{Ask, Library, Material, NoMaterial, Source, Workload};

/// What arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// A source at so many times its rate.
    Replay(Source, f64),
    /// The conversation's first 6,000 rows in class 0, and three times over at three times the rate in class 2.
    Classes,
    /// Equal requests of two tenants, four of the first to one of the second, whose first has this weight.
    Tenants(u32),
    /// Equal requests: ten seconds of three times what the engines serve, then a third of it.
    Burst,
    /// So many tiny requests, more than are served; a half of the callers leave at some moment.
    Many(u32),
    /// The conversation at its rate; each talk is with one of so many adapters.
    Adapters(u16),
    /// Thirty seconds of the conversation at twice its rate; every fifth caller leaves at some moment.
    Leaving,
}

impl Arrivals {
    /// Takes what arrives from the library.
    ///
    /// # Errors
    /// A trace cannot be read.
    pub fn workload(self, library: &mut Library) -> Result<Workload, NoMaterial> {
        let source = match self {
            Self::Replay(source, _) => source,
            Self::Classes | Self::Leaving | Self::Adapters(_) => Source::Conversation,
            Self::Tenants(_) | Self::Burst => Source::Even,
            Self::Many(_) => Source::Tiny,
        };
        let material = library.material(source)?;
        Ok(match self {
            Self::Replay(_, scale) => Workload::replay(&material, scale, None),
            Self::Classes => {
                let batch = three_times_over(&Workload::replay(&material, 3.0, Some(CLASS_ROWS)));
                let urgent = Workload::replay(&material, 1.0, Some(CLASS_ROWS));
                urgent.each(|ask| ask.class = Class::Interactive).merged(&batch)
            }
            Self::Tenants(weight) => {
                let mut random = Random::new(library.seed());
                Workload::replay(&material, TENANTS_PER_S, None).each(|ask| {
                    let second = random.unit() < 0.2;
                    (ask.tenant, ask.weight) = if second { (2, 1) } else { (1, weight) };
                })
            }
            Self::Adapters(count) => Workload::replay(&material, 1.0, None).each(|ask| {
                let talk = talk_of(&material, ask.row);
                let drawn = Random::new(library.seed() ^ talk).bits() % u64::from(count);
                ask.adapter = Some(drawn as u16);
            }),
            Self::Many(count) => many(&material, count, library.seed()),
            Self::Burst => Workload::replay(&material, TENANTS_PER_S, Some(BURST_ROWS)).each(|ask| {
                let behind = ask.at.saturating_sub(BURST);
                ask.at += behind * 8; // a ninth of the rate
            }),
            Self::Leaving => {
                let mut random = Random::new(library.seed());
                let mut workload = Workload::replay(&material, 2.0, None).each(|ask| {
                    let after = Duration::from_secs_f64(LEAVES_WITHIN_S * random.unit());
                    ask.leaves = (random.unit() < 0.2).then_some(after);
                });
                workload.asks.retain(|ask| ask.at < Duration::from_secs(30));
                workload
            }
        })
    }
}

/// What the turns of one talk have in common: the block behind the one that all talks begin with. Prompts without one are
/// talks of their own.
fn talk_of(material: &Material, row: u32) -> u64 {
    material.rows()[row as usize].ids.get(1).copied().unwrap_or(u64::from(row) << 32)
}

const CLASS_ROWS: usize = 6_000;
/// Three times what four engines serve of the even requests (measured: 45 a second). At twice as much the second tenant
/// would ask for four tenths of it: less than its half, so there would be nothing to divide.
const TENANTS_PER_S: f64 = 135.0;
/// How long the burst lasts.
const BURST: Duration = Duration::from_secs(10);
/// Ten seconds of the burst, and a minute behind it.
const BURST_ROWS: usize = 2_350;
/// Nearly all answers are over by then.
const LEAVES_WITHIN_S: f64 = 10.0;

/// The rows again and again, each time in a moment of its own; the callers that leave do so in the queue, before the first
/// token or in the stream, as it happens.
fn many(material: &Rc<Material>, count: u32, seed: u64) -> Workload {
    let mut random = Random::new(seed);
    let rows = material.rows().len() as u32;
    let ask = |number: u32| {
        let at = Duration::from_secs_f64(f64::from(number) / MANY_PER_S);
        let leaves =
            (random.unit() < 0.5).then(|| Duration::from_secs_f64(MANY_LEAVE_WITHIN_S * random.unit()));
        let class = if random.unit() < 0.1 { Class::Interactive } else { Class::Default };
        Ask { class, leaves, ..Ask::new(at, number % rows) }
    };
    Workload { material: Rc::clone(material), asks: (0..count).map(ask).collect() }
}

/// More than eight engines serve of the tiny requests.
const MANY_PER_S: f64 = 12_000.0;
const MANY_LEAVE_WITHIN_S: f64 = 0.5;

fn three_times_over(once: &Workload) -> Workload {
    let span = once.asks.last().map_or(Duration::ZERO, |ask| ask.at);
    let round = |turn: u32| once.asks.iter().map(move |ask| Ask { at: ask.at + span * turn, ..*ask });
    let asks = (0..3).flat_map(round).map(|ask| Ask { class: Class::Batch, ..ask }).collect();
    Workload { asks, material: once.material.clone() }
}
