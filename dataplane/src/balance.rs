//! Chooses the target and the endpoint of an attempt.
//!
//! Owns: the choice, a pure function of cells, what was tried, chance and turns.
//! Must not: count the load of what it chose; whoever dispatches takes a [`crate::cells::Lease`] before the
//! next choice of the same thread.
//! Read next: [`crate::cells`].

use ringway_contract::snapshot::Balance;

use crate::bounds::ATTEMPTS_MAX;
use crate::cells::Slot;
use crate::table::{Backend, Endpoint, Route, Target};

/// The endpoints that an exchange has tried already; a few, by slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    slots: [Option<Slot>; ATTEMPTS_MAX],
}

impl Tried {
    /// Nothing yet.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds an endpoint. Beyond the bound of attempts nothing is added, and nobody asks.
    pub fn add(&mut self, endpoint: &Endpoint) {
        if let Some(free) = self.slots.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(endpoint.slot);
        }
    }

    /// Whether it was tried.
    pub fn has(&self, endpoint: &Endpoint) -> bool {
        self.slots.contains(&Some(endpoint.slot))
    }
}

/// Where an attempt goes.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'t> {
    /// The target; it says which model to ask for.
    pub target: &'t Target,
    /// The endpoint, one of the target's backend.
    pub endpoint: &'t Endpoint,
}

/// A target by weight and an endpoint of it. Where a target has no endpoint to give, one of the others by
/// weight: each ends up with its share among those that have one.
pub fn pick<'t>(route: &'t Route, tried: &Tried, rng: &mut fastrand::Rng) -> Option<Pick<'t>> {
    let targets = &route.targets;
    let mut left = targets.weight;
    let mut failed: u64 = 0; // a bit for each target that had none
    while left > 0 {
        let open = |at: usize| failed & 1 << at == 0;
        let at = drawn(targets.list.iter().map(|target| target.weight), open, rng.u32(..left))?;
        let target = &targets.list[at];
        if let Some(endpoint) = choose(&target.backend, tried, rng) {
            return Some(Pick { target, endpoint });
        }
        failed |= 1 << at;
        left -= target.weight;
    }
    None
}

const _: () = assert!(crate::bounds::TARGETS_MAX <= u64::BITS as usize, "a target has a bit in `failed`");

/// Which of these has the `point`-th part of the weights, among those that are open.
fn drawn(weights: impl Iterator<Item = u32>, open: impl Fn(usize) -> bool, point: u32) -> Option<usize> {
    let mut end = 0;
    let mut ends = weights.enumerate().filter(|(at, _)| open(*at)).map(|(at, weight)| {
        end += weight;
        (at, end)
    });
    ends.find(|&(_, end)| point < end).map(|(at, _)| at)
}

/// An endpoint of this backend, as its policy says: not drained, resolved, not tried.
pub fn choose<'t>(backend: &'t Backend, tried: &Tried, rng: &mut fastrand::Rng) -> Option<&'t Endpoint> {
    let open = |endpoint: &Endpoint| endpoint.is_eligible() && !tried.has(endpoint);
    if let [only] = &*backend.endpoints {
        return open(only).then_some(only);
    }
    let at = match backend.balance {
        Balance::RoundRobin => in_turn(backend, open),
        Balance::P2c => less_loaded_of_two(backend, open, rng),
        Balance::LeastRequests => least_loaded(backend, open),
    }?;
    Some(&backend.endpoints[at])
}

/// What the policies compare: attempts in flight for each unit of weight. Lower is better.
pub fn score(endpoint: &Endpoint) -> f64 {
    endpoint.cell.in_flight() as f64 / f64::from(endpoint.weight)
}

/// Whether the first has the lower score, in whole numbers.
fn is_less_loaded(a: &Endpoint, b: &Endpoint) -> bool {
    let (a_load, b_load) = (u128::from(a.cell.in_flight()), u128::from(b.cell.in_flight()));
    a_load * u128::from(b.weight) < b_load * u128::from(a.weight)
}

/// Everybody in turn, each as often as its weight says.
fn in_turn(backend: &Backend, open: impl Fn(&Endpoint) -> bool) -> Option<usize> {
    let turn = backend.turn.next();
    let at = at_turn(backend, turn);
    if open(&backend.endpoints[at]) {
        return Some(at);
    }
    // Some are out: share the turn among those that are left, or the neighbour of a drained endpoint would
    // get all of its share.
    let weights = || backend.endpoints.iter().map(|endpoint| endpoint.weight);
    let is_open = |at: usize| open(&backend.endpoints[at]);
    let total: u32 = weights().enumerate().filter(|(at, _)| is_open(*at)).map(|(_, weight)| weight).sum();
    let point = (total > 0).then(|| rotated(turn, total, stride_for(total)))?;
    drawn(weights(), is_open, point)
}

/// The less loaded of two different ones, drawn by weight.
fn less_loaded_of_two(
    backend: &Backend,
    open: impl Fn(&Endpoint) -> bool,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    let first = random(backend, &open, None, rng)?;
    let Some(second) = random(backend, &open, Some(first), rng) else { return Some(first) };
    let (a, b) = (&backend.endpoints[first], &backend.endpoints[second]);
    Some(if is_less_loaded(b, a) { second } else { first })
}

/// One drawn by weight, other than `not`.
fn random(
    backend: &Backend,
    open: impl Fn(&Endpoint) -> bool,
    not: Option<usize>,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    let is_open = |at: usize| Some(at) != not && open(&backend.endpoints[at]);
    for _ in 0..QUICK_DRAWS {
        let at = at_point(backend, rng.u32(..backend.weight()));
        if is_open(at) {
            return Some(at);
        }
    }
    let weights = || backend.endpoints.iter().map(|endpoint| endpoint.weight);
    let total: u32 = weights().enumerate().filter(|(at, _)| is_open(*at)).map(|(_, weight)| weight).sum();
    if total == 0 {
        return None;
    }
    drawn(weights(), is_open, rng.u32(..total))
}

/// Draws that cost a binary search each, before the open ones are counted.
const QUICK_DRAWS: usize = 2;

/// The one with the lowest score. Ties go to whose turn it is, or who comes next behind it.
fn least_loaded(backend: &Backend, open: impl Fn(&Endpoint) -> bool) -> Option<usize> {
    let count = backend.endpoints.len();
    let start = at_turn(backend, backend.turn.next());
    let around = (start..count).chain(0..start).filter(|&at| open(&backend.endpoints[at]));
    around.reduce(
        |best, at| {
            if is_less_loaded(&backend.endpoints[at], &backend.endpoints[best]) { at } else { best }
        },
    )
}

impl Backend {
    /// All weights of the endpoints together.
    fn weight(&self) -> u32 {
        self.cumulative.last().copied().unwrap_or(0)
    }
}

/// Whose turn this is.
fn at_turn(backend: &Backend, turn: u32) -> usize {
    at_point(backend, rotated(turn, backend.weight(), backend.stride))
}

fn at_point(backend: &Backend, point: u32) -> usize {
    backend.cumulative.partition_point(|&end| end <= point)
}

/// The point that this turn comes to, going round in strides. As stride and total have no common divisor, each
/// point comes once in `total` turns.
fn rotated(turn: u32, total: u32, stride: u32) -> u32 {
    let steps = u64::from(turn % total) * u64::from(stride);
    (steps % u64::from(total)) as u32
}

/// What a backend's rotation needs: ends of the weights, added up, and the stride.
pub(crate) fn rotation(weights: impl Iterator<Item = u32>) -> (Box<[u32]>, u32) {
    let weights: Vec<u32> = weights.collect();
    let common = weights.iter().copied().fold(0, gcd).max(1);
    let mut end = 0;
    let ends: Box<[u32]> = weights
        .iter()
        .map(|weight| {
            end += weight / common;
            end
        })
        .collect();
    let stride = if end as usize == ends.len() { 1 } else { stride_for(end) }; // equal weights: one by one
    (ends, stride)
}

/// A stride near the golden section of the total, which mixes turns well, without a common divisor.
fn stride_for(total: u32) -> u32 {
    let golden = (u64::from(total) * 618 / 1_000) as u32;
    (golden.max(1)..=total.max(1)).find(|&stride| gcd(stride, total) == 1).unwrap_or(1)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
