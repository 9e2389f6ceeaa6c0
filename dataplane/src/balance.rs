//! Chooses the target and the endpoint of an attempt.
//!
//! Owns: the choice, a pure function of cells, what was tried, what is asked, chance and turns.
//! Must not: count the load of what it chose; whoever dispatches takes a [`crate::cells::Lease`] before the
//! next choice of the same thread.
//! Read next: [`crate::cells`]; [`score`] and [`prefix`] for `balance: gpu`, [`hash`] for `balance: hash`.

pub mod adapters;
pub mod gpu;
pub mod hash;
pub mod prefix;
pub mod prompt;
pub mod score;

use ringway_contract::snapshot::Balance;

use self::adapters::{Adapter, Adapters};
use self::gpu::{Gpu, Wanted};
use self::prefix::Matches;
use self::prefix::blocks::Key;
use self::prompt::Prompt;
use crate::bounds::{ATTEMPTS_MAX, MODEL_BYTES_MAX};
use crate::cells::{Load, Slot};
use crate::clock::Moment;
use crate::health::State;
use crate::session::Claim;
use crate::table::glob::Glob;
use crate::table::{Alias, Backend, Endpoint, Route, Target};

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
    /// Its place there.
    pub at: usize,
    /// Tokens that the attempt brings with it; none where the policy does not ask for them.
    pub load: Load,
}

/// What is asked for, as far as some policies look at it.
#[derive(Default)]
pub struct Wish<'a> {
    /// The prompt, if a target of the route chooses by it.
    pub prompt: Option<&'a mut Prompt>,
    /// The key it was hashed with.
    pub key: Option<&'a Key>,
    /// The model, as the caller names it.
    pub model: &'a [u8],
    /// The route's globs on it: what it is called at a target may depend on them.
    pub globs: &'a [Glob],
    /// Where the caller's session was.
    pub session: Option<Claim>,
    /// The target of the request line.
    pub path: &'a [u8],
    /// This moment.
    pub now: Moment,
    /// The endpoints of a backend that admission lets be chosen, by their place; none: any.
    pub near: Option<&'a dyn Fn(usize) -> bool>,
    /// A bit for each target of the route that cannot do what is asked for.
    pub unfit: u64,
}

/// As [`pick_for`], for policies that look at no request.
pub fn pick<'t>(route: &'t Route, tried: &Tried, rng: &mut fastrand::Rng) -> Option<Pick<'t>> {
    pick_for(route, tried, rng, &mut Wish::default())
}

/// A target by weight and an endpoint of it. Where a target has no endpoint to give, one of the others by
/// weight: each ends up with its share among those that have one.
pub fn pick_for<'t>(
    route: &'t Route,
    tried: &Tried,
    rng: &mut fastrand::Rng,
    wish: &mut Wish<'_>,
) -> Option<Pick<'t>> {
    let targets = &route.targets;
    let mut failed = wish.unfit; // and a bit for each target that had none
    let mut left = match failed {
        0 => targets.weight,
        unfit => targets
            .list
            .iter()
            .enumerate()
            .filter(|(at, _)| unfit & 1 << at == 0)
            .map(|(_, it)| it.weight)
            .sum(),
    };
    while left > 0 {
        let open = |at: usize| failed & 1 << at == 0;
        let at = drawn(targets.list.iter().map(|target| target.weight), open, rng.u32(..left))?;
        if let Some(pick) = pick_of(&targets.list[at], tried, rng, wish) {
            return Some(pick);
        }
        failed |= 1 << at;
        left -= targets.list[at].weight;
    }
    None
}

/// An endpoint of this target.
pub fn pick_of<'t>(
    target: &'t Target,
    tried: &Tried,
    rng: &mut fastrand::Rng,
    wish: &mut Wish<'_>,
) -> Option<Pick<'t>> {
    let wanted = wanted(target, wish.model, wish.globs, wish.session);
    let (at, load) = choose_for(&target.backend, tried, rng, wish, &wanted)?;
    Some(Pick { target, endpoint: &target.backend.endpoints[at], at, load })
}

/// What this target is asked for by a request for this model, on a route with these globs, in this session.
#[inline]
pub fn wanted<'m>(target: &'m Target, asked: &'m [u8], globs: &[Glob], session: Option<Claim>) -> Wanted<'m> {
    let adapters = target.backend.gpu.as_ref().and_then(Gpu::adapters);
    let adapter = adapters.and_then(|adapters| adapter_there(adapters, target, asked, globs));
    let session = session.and_then(|claim| target.backend.sessions.as_ref()?.place(claim));
    Wanted { model: model_at(target, asked), adapter, session }
}

/// On its own: backends without adapters do not pay for the room.
#[inline(never)]
fn adapter_there(adapters: &Adapters, target: &Target, asked: &[u8], globs: &[Glob]) -> Option<Adapter> {
    let mut room = [0; MODEL_BYTES_MAX];
    adapters.named(target.model_written(asked, globs, &mut room)?)
}

/// What the prompt is asked of there, as far as prompts are told apart by it.
fn model_at<'m>(target: &'m Target, asked: &'m [u8]) -> &'m [u8] {
    match &target.model {
        Some(Alias::Name(name)) => name.as_bytes(),
        Some(Alias::Around { .. }) | None => asked, // two names, one to one
    }
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
///
/// Endpoints that failed just now, or asked to be left alone, are avoided while there are others.
pub fn choose<'t>(backend: &'t Backend, tried: &Tried, rng: &mut fastrand::Rng) -> Option<&'t Endpoint> {
    choose_for(backend, tried, rng, &mut Wish::default(), &Wanted::default())
        .map(|(at, _)| &backend.endpoints[at])
}

/// The same for a request that asks for this, with the tokens that it brings.
fn choose_for(
    backend: &Backend,
    tried: &Tried,
    rng: &mut fastrand::Rng,
    wish: &mut Wish<'_>,
    wanted: &Wanted<'_>,
) -> Option<(usize, Load)> {
    let near = wish.near;
    let place = |endpoint: &Endpoint| backend.endpoints.iter().position(|it| std::ptr::eq(it, endpoint));
    let is_near = |endpoint: &Endpoint| near.is_none_or(|near| place(endpoint).is_some_and(near));
    let open = |endpoint: &Endpoint| endpoint.is_eligible() && !tried.has(endpoint) && is_near(endpoint);
    // For the score suspicion is a cost; other policies have no scale to put it on.
    let avoided = |endpoint: &Endpoint| {
        endpoint.health.is_resting() || (backend.gpu.is_none() && endpoint.health.state() == State::Suspect)
    };
    let healthy = |endpoint: &Endpoint| open(endpoint) && !avoided(endpoint);
    let mut among = |open: &dyn Fn(&Endpoint) -> bool| choose_among(backend, open, rng, wish, wanted);
    if backend.endpoints.iter().any(avoided) {
        return among(&healthy).or_else(|| among(&open));
    }
    among(&open)
}

fn choose_among(
    backend: &Backend,
    open: &dyn Fn(&Endpoint) -> bool,
    rng: &mut fastrand::Rng,
    wish: &mut Wish<'_>,
    wanted: &Wanted<'_>,
) -> Option<(usize, Load)> {
    if let Some(gpu) = &backend.gpu {
        return least_cost(backend, gpu, open, wish, wanted);
    }
    let found = |at: usize| (at, Load::default());
    // These policies have no scale to put it on: where the session was, while that takes requests.
    if let Some(at) = wanted.session
        && backend.endpoints.get(at).is_some_and(open)
    {
        return Some(found(at));
    }
    if let [only] = &*backend.endpoints {
        return open(only).then(|| found(0));
    }
    match backend.balance {
        Balance::RoundRobin => in_turn(backend, open),
        Balance::P2c => less_loaded_of_two(backend, open, rng),
        Balance::LeastRequests | Balance::Gpu => least_loaded(backend, open),
        Balance::Hash => by_hash(backend, open, wish, wanted.model),
    }
    .map(found)
}

/// Where the prompt costs least. A request without one counts as a single token.
fn least_cost(
    backend: &Backend,
    gpu: &Gpu,
    open: &dyn Fn(&Endpoint) -> bool,
    wish: &mut Wish<'_>,
    wanted: &Wanted<'_>,
) -> Option<(usize, Load)> {
    let is_open = |at: usize| open(&backend.endpoints[at]);
    let turn = backend.turn.next();
    let (choice, tokens) = if let Some(prompt) = &mut wish.prompt {
        (gpu.choose(prompt, *wanted, wish.now, turn, is_open)?, gpu.tokens(prompt))
    } else {
        let asked = gpu.asked(0, *wanted);
        (gpu.pool().choose(&asked, &Matches::default(), wish.now, turn, is_open)?, 1)
    };
    Some((choice.at, Load { prompt: tokens, miss: choice.miss }))
}

/// Where requests go that begin like this one; without a prompt, those to the same path.
fn by_hash(
    backend: &Backend,
    open: &dyn Fn(&Endpoint) -> bool,
    wish: &mut Wish<'_>,
    model: &[u8],
) -> Option<usize> {
    let ring = backend.ring.as_ref()?;
    let key = match (&mut wish.prompt, wish.key) {
        (Some(prompt), Some(key)) => prompt.beginning(key, model),
        (None, _) | (_, None) => xxhash_rust::xxh3::xxh3_64(wish.path),
    };
    let endpoints = &backend.endpoints;
    let load = |at: usize| endpoints[at].cell.in_flight();
    let total = (0..endpoints.len()).map(load).sum();
    ring.choose(key, load, |at| endpoints[at].weight, total, |at| open(&endpoints[at]))
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use ringway_contract::snapshot;
    use serde_json::json;

    use super::*;
    use crate::cells::Lease;
    use crate::table::{Table, testing};

    #[test]
    fn an_adapter_is_the_model_that_the_backend_is_asked_for() {
        let mut ai = testing::backend("ai", "vllm", &["a:1"]);
        ai.balance = Balance::Gpu;
        ai.lora = Some(snapshot::Lora { adapters: vec!["poet".into(), "law-*".into()], slots: None });
        let aliased = |name: &str, asked: &str, model: Option<&str>| {
            let mut route = testing::route(name, json!({"models": [asked]}), "ai");
            route.targets[0].model = model.map(str::to_owned);
            route
        };
        let routes = vec![
            aliased("star", "europe/*", Some("law-*-1")),
            aliased("name", "muse", Some("poet")),
            aliased("none", "*", None),
        ];
        let table = testing::compiled(&testing::snapshot(vec![ai], routes));
        for (at, asked, there) in [
            (0, "europe/eu", Some("law-eu-1")),
            (0, "asia/eu", None),
            (1, "muse", Some("poet")),
            (2, "poet", Some("poet")),
            (2, "muse", None),
            (2, "llama", None),
        ] {
            let route = &table.routes()[at];
            let wanted = wanted(&route.targets.list[0], asked.as_bytes(), &route.conditions.models, None);
            assert_eq!(
                wanted.adapter,
                there.map(|name| adapters::Adapter::named(name.as_bytes())),
                "{asked}"
            );
        }
    }

    #[test]
    fn a_model_is_written_as_it_is_put_into_the_request() {
        let mut around = testing::route("r", json!({"models": ["openai/*"]}), "ai");
        around.targets[0].model = Some("eu-*-9".into());
        let table = testing::table(vec![around]);
        let route = &table.routes()[0];
        let target = &route.targets.list[0];
        for asked in ["openai/gpt", "openai/", "gpt"] {
            let mut room = [0; MODEL_BYTES_MAX];
            let written = target.model_written(asked.as_bytes(), &route.conditions.models, &mut room);
            let there = target.model_there(asked.as_bytes(), route);
            assert_eq!(written, there.as_ref().map(|there| there.as_bytes()), "{asked}");
        }
        let long = format!("openai/{}", "x".repeat(MODEL_BYTES_MAX));
        let mut room = [0; MODEL_BYTES_MAX];
        assert_eq!(target.model_written(long.as_bytes(), &route.conditions.models, &mut room), None);
    }

    /// A table with one backend `b` of this policy and these weights, named `e0:1`, `e1:1`, ...
    fn backend(balance: Balance, weights: &[u32]) -> snapshot::Backend {
        let authorities: Vec<String> = (0..weights.len()).map(|at| format!("e{at}:1")).collect();
        let authorities: Vec<&str> = authorities.iter().map(String::as_str).collect();
        let mut backend = testing::backend("b", "vllm", &authorities);
        backend.balance = balance;
        for (endpoint, &weight) in backend.endpoints.iter_mut().zip(weights) {
            endpoint.weight = weight;
        }
        backend
    }

    fn table(backend: snapshot::Backend) -> Table {
        let route = testing::route("r", json!({}), "b");
        testing::compiled(&testing::snapshot(vec![backend], vec![route]))
    }

    /// How often each endpoint is chosen, nothing staying in flight.
    fn shares(table: &Table, times: usize) -> Vec<usize> {
        let backend = &table.backends()[0];
        let mut rng = fastrand::Rng::with_seed(1);
        let mut counts = vec![0; backend.endpoints.len()];
        for _ in 0..times {
            let chosen = choose(backend, &Tried::none(), &mut rng).expect("one is eligible");
            counts[place(backend, chosen)] += 1;
        }
        counts
    }

    fn place(backend: &Backend, endpoint: &Endpoint) -> usize {
        backend.endpoints.iter().position(|it| std::ptr::eq(it, endpoint)).expect("one of the backend's")
    }

    #[test]
    fn equal_weights_go_in_turn() {
        let table = table(backend(Balance::RoundRobin, &[4, 4, 4]));
        let backend = &table.backends()[0];
        let mut rng = fastrand::Rng::with_seed(1);
        let order: Vec<usize> =
            (0..7).map(|_| place(backend, choose(backend, &Tried::none(), &mut rng).expect("one"))).collect();
        assert_eq!(order, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn each_gets_exactly_its_share_of_turns_and_not_in_one_run() {
        for weights in [&[5, 1, 1][..], &[1, 2, 3, 4], &[1_000, 1], &[7, 7, 2]] {
            let period: u32 = weights.iter().sum();
            let table = table(backend(Balance::RoundRobin, weights));
            let exact: Vec<usize> = weights.iter().map(|&weight| weight as usize * 3).collect();
            assert_eq!(shares(&table, period as usize * 3), exact);
        }
        let table = table(backend(Balance::RoundRobin, &[1, 1, 2]));
        assert!(
            shares(&table, 2).iter().all(|&count| count < 2),
            "the heavy one does not come twice in a row"
        );
    }

    #[test]
    fn the_turns_of_those_that_are_out_are_shared_by_all_others() {
        let mut backend = backend(Balance::RoundRobin, &[1, 1, 1, 1]);
        backend.endpoints[1].drained = true;
        backend.endpoints[2].addresses.clear();
        assert_eq!(shares(&table(backend), 800), [400, 0, 0, 400]);
    }

    #[test]
    fn with_nothing_in_flight_ties_rotate_by_weight() {
        assert_eq!(shares(&table(backend(Balance::LeastRequests, &[1, 1, 1])), 300), [100, 100, 100]);
        assert_eq!(shares(&table(backend(Balance::LeastRequests, &[3, 1])), 400), [300, 100]);
    }

    #[test]
    fn load_in_flight_follows_the_weights() {
        for balance in [Balance::LeastRequests, Balance::P2c, Balance::RoundRobin] {
            let table = table(backend(balance, &[1, 2, 5]));
            let backend = &table.backends()[0];
            let mut rng = fastrand::Rng::with_seed(3);
            let leases: Vec<Lease> = (0..800)
                .map(|_| Lease::take(&choose(backend, &Tried::none(), &mut rng).expect("one").cell))
                .collect();
            let loads: Vec<u64> =
                backend.endpoints.iter().map(|endpoint| endpoint.cell.in_flight()).collect();
            let slack = if balance == Balance::P2c { 40 } else { 1 };
            for (load, fair) in loads.iter().zip([100_u64, 200, 500]) {
                assert!(load.abs_diff(fair) <= slack, "{balance:?}: {loads:?}");
            }
            drop(leases);
            assert!(backend.endpoints.iter().all(|endpoint| endpoint.cell.in_flight() == 0));
        }
    }

    #[test]
    fn the_least_loaded_is_found_wherever_it_stands() {
        let table = table(backend(Balance::LeastRequests, &[1; 5]));
        let backend = &table.backends()[0];
        let _leases: Vec<Lease> =
            [0, 1, 2, 4].iter().map(|&at| Lease::take(&backend.endpoints[at as usize].cell)).collect();
        assert_eq!(shares(&table, 10), [0, 0, 0, 10, 0]);
    }

    #[test]
    fn two_draws_avoid_the_loaded_one() {
        let table = table(backend(Balance::P2c, &[1; 4]));
        let backend = &table.backends()[0];
        let _leases: Vec<Lease> = (0..9).map(|_| Lease::take(&backend.endpoints[2].cell)).collect();
        let counts = shares(&table, 3_000);
        assert_eq!(counts[2], 0, "it always meets one that is idle");
        assert!(
            counts.iter().enumerate().all(|(at, &count)| at == 2 || count.abs_diff(1_000) < 150),
            "{counts:?}"
        );
    }

    #[test]
    fn nobody_is_tried_twice_and_then_there_is_nobody() {
        for balance in [Balance::LeastRequests, Balance::P2c, Balance::RoundRobin] {
            let table = table(backend(balance, &[1, 9, 1]));
            let route = &table.routes()[0];
            let mut rng = fastrand::Rng::with_seed(5);
            let mut tried = Tried::none();
            let mut names = Vec::new();
            while let Some(pick) = pick(route, &tried, &mut rng) {
                tried.add(pick.endpoint);
                names.push(pick.endpoint.authority.to_string());
            }
            names.sort();
            assert_eq!(names, ["e0:1", "e1:1", "e2:1"], "{balance:?}");
        }
    }

    #[test]
    fn a_drain_by_order_takes_effect_and_ends() {
        for balance in [Balance::LeastRequests, Balance::P2c, Balance::RoundRobin] {
            let table = table(backend(balance, &[1, 1]));
            table.endpoint("b/e0:1").expect("it is there").cell.set_drained(true);
            assert_eq!(shares(&table, 10), [0, 10], "{balance:?}");
            table.endpoint("b/e0:1").expect("it is there").cell.set_drained(false);
            assert!(shares(&table, 100)[0] > 20, "{balance:?}");
        }
    }

    /// A route to three backends of one endpoint each, with these weights.
    fn three(weights: [u32; 3]) -> snapshot::Snapshot {
        let names = ["x", "y", "z"];
        let backends = names.map(|name| testing::backend(name, "vllm", &["e:1"]));
        let mut route = testing::route("r", json!({}), "x");
        route.targets = names
            .into_iter()
            .zip(weights)
            .map(|(name, weight)| snapshot::Target { backend: name.into(), weight, model: None })
            .collect();
        testing::snapshot(backends.into(), vec![route])
    }

    fn target_shares(snapshot: &snapshot::Snapshot) -> HashMap<&'static str, usize> {
        let table = testing::compiled(snapshot);
        let mut rng = fastrand::Rng::with_seed(9);
        let mut counts = HashMap::new();
        for _ in 0..10_000 {
            let pick = pick(&table.routes()[0], &Tried::none(), &mut rng).expect("one is eligible");
            assert!(Arc::ptr_eq(&pick.target.backend, &table.backends()[place_of(&table, pick.endpoint)]));
            *counts.entry(pick.target.backend.name.as_str()).or_default() += 1;
        }
        counts
    }

    fn place_of(table: &Table, endpoint: &Endpoint) -> usize {
        let mut backends = table.backends().iter();
        backends
            .position(|it| it.endpoints.iter().any(|own| std::ptr::eq(own, endpoint)))
            .expect("a backend's")
    }

    #[test]
    fn targets_share_by_weight_and_zero_is_none() {
        let counts = target_shares(&three([95, 5, 0]));
        assert!(counts["x"].abs_diff(9_500) < 120, "{counts:?}");
        assert!(!counts.contains_key("z"));
    }

    #[test]
    fn a_target_without_endpoints_leaves_its_share_to_the_others_by_weight() {
        let mut snapshot = three([50, 30, 20]);
        snapshot.backends[0].endpoints[0].drained = true;
        let counts = target_shares(&snapshot);
        assert!(counts["y"].abs_diff(6_000) < 250 && counts["z"].abs_diff(4_000) < 250, "{counts:?}");
    }

    #[test]
    fn with_all_targets_out_nothing_is_picked() {
        let mut snapshot = three([1, 1, 1]);
        for backend in &mut snapshot.backends {
            backend.endpoints[0].addresses.clear();
        }
        let table = testing::compiled(&snapshot);
        assert!(pick(&table.routes()[0], &Tried::none(), &mut fastrand::Rng::with_seed(1)).is_none());
    }

    #[test]
    fn a_rotation_visits_each_point_once() {
        for total in 1..200 {
            let stride = stride_for(total);
            let mut points: Vec<u32> = (0..total).map(|turn| rotated(turn, total, stride)).collect();
            points.sort_unstable();
            assert!(points.into_iter().eq(0..total), "{total}");
        }
    }
}
