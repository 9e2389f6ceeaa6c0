//! `balance: gpu`: what a request would cost on each endpoint, in seconds, and the endpoint where it costs least.
//!
//! Owns: the cost, a pure function of cells, matches, request, time and rotation; and which endpoints are looked at.
//! Must not: read a clock, draw chance, allocate, or change a cell; whoever dispatches takes a
//! [`crate::cells::Lease`] before the next choice of the same thread.
//! Read next: [`super::prefix`], where matches come from.
//!
//! ```text
//! cost = (U + 2*miss)/R + 0.02*n + 0.15*k/(1 - k) + adapter
//! ```
//! Reports enter through a maximum only: a lost, stale or lying one can make an endpoint look worse than our own counts
//! say, never better.

use std::sync::Arc;

use super::adapters::{Residence, Sought};
use super::prefix::Matches;
use crate::bounds::{
    CANDIDATES_ADAPTER_MAX, CANDIDATES_PREFIX_MAX, CANDIDATES_RANDOM_MAX, KV_SHARE_MAX, PREFILL_TOKENS_PER_S,
    SCANNED_MAX,
};
use crate::cells::{Counts, Fresh, LoadCell};
use crate::clock::Moment;

/// What each part of the cost weighs. Seconds, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// A missed token counts so often: once for its own delay, the rest for the delay and eviction it causes others.
    pub miss: f32,
    /// For each request in flight: it slows every other decode there.
    pub in_flight: f32,
    /// For `k/(1 - k)`, where `k` is the share of the KV cache in use.
    pub kv: f32,
    /// The adapter is not there, and a slot is free.
    pub adapter_load: f32,
    /// The adapter is not there, and another one has to go.
    pub adapter_evict: f32,
    /// Taken off where the session was before.
    pub session: f32,
    /// Something is wrong with the endpoint.
    pub suspect: f32,
    /// At the beginning of a slow start the cost is multiplied by one more than this.
    pub slow_start: f32,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            miss: 2.0,
            in_flight: 0.02,
            kv: 0.15,
            adapter_load: 0.05,
            adapter_evict: 0.3,
            session: 0.2,
            suspect: 1.0,
            slow_start: 4.0,
        }
    }
}

/// What an endpoint can do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hardware {
    /// Prompt tokens it computes a second; none: unknown.
    pub prefill_tokens_per_s: Option<f32>,
    /// Tokens its KV cache holds; none: unknown, and then its share in use comes from reports alone.
    pub kv_tokens: Option<f32>,
}

/// The endpoints among which one is chosen, with everything precomputed that does not change.
#[derive(Debug)]
pub struct Pool {
    weights: Weights,
    /// Processes like this one that send to the same endpoints.
    gateways: f32,
    members: Box<[Member]>,
}

/// One endpoint of a pool.
#[derive(Debug)]
struct Member {
    cell: Arc<LoadCell>,
    s_per_token: f32,
    /// Share of the KV cache that one token takes; 0 if its size is unknown.
    kv_per_token: f32,
}

/// A request, as far as its cost depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Tokens of its prompt, as estimated.
    pub prompt: u64,
    /// Its adapter; none: it asks for none.
    pub adapter: Option<Sought<'a>>,
    /// The endpoint where its session was before.
    pub session: Option<usize>,
}

/// The endpoint that was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Its place in the pool.
    pub at: usize,
    /// What the request costs there.
    pub cost: f32,
    /// Tokens of its prompt that have to be computed there.
    pub miss: u64,
}

/// Which counts go into a pressure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reports {
    /// Ours and what the endpoint reports, whichever is more.
    Believed,
    /// Ours alone.
    LeftOut,
}

/// How full an endpoint is, whoever asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pressure {
    /// Prompt tokens that wait to be computed.
    pub uncached: f32,
    /// The same in seconds.
    pub uncached_s: f32,
    /// Requests in flight.
    pub in_flight: f32,
    /// Share of the KV cache in use, 0 to [`KV_SHARE_MAX`].
    pub kv: f32,
    /// A fresh report went in.
    pub fresh: bool,
}

/// Every part of one endpoint's cost, for a decision trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// How full the endpoint is.
    pub pressure: Pressure,
    /// Tokens of the prompt that are not expected in its cache.
    pub miss: f32,
    /// Seconds for what waits there.
    pub queue_s: f32,
    /// Seconds for what the request misses.
    pub miss_s: f32,
    /// Seconds for the requests in flight.
    pub in_flight_s: f32,
    /// Seconds for the KV cache in use.
    pub kv_s: f32,
    /// Whether its adapter is there, if it asks for one.
    pub residence: Option<Residence>,
    /// Seconds for the adapter.
    pub adapter_s: f32,
    /// Seconds for something being wrong.
    pub suspect_s: f32,
    /// Seconds taken off for the session.
    pub session_s: f32,
    /// A slow start multiplies by this.
    pub slowness: f32,
}

impl Terms {
    /// All of them together, in seconds. Lower is better.
    pub fn cost(&self) -> f32 {
        let load_s = self.queue_s + self.miss_s + self.in_flight_s + self.kv_s;
        (load_s + self.adapter_s + self.suspect_s) * self.slowness - self.session_s
    }
}

impl Pool {
    /// A pool of these endpoints. `gateways` processes like this one send to them.
    pub fn new(
        weights: Weights,
        gateways: u32,
        members: impl IntoIterator<Item = (Arc<LoadCell>, Hardware)>,
    ) -> Self {
        let gateways = gateways.max(1) as f32;
        let member = |(cell, hardware): (Arc<LoadCell>, Hardware)| Member {
            cell,
            s_per_token: 1.0 / hardware.prefill_tokens_per_s.unwrap_or(PREFILL_TOKENS_PER_S).max(1.0),
            kv_per_token: hardware.kv_tokens.map_or(0.0, |tokens| 1.0 / tokens.max(1.0)),
        };
        Self { weights, gateways, members: members.into_iter().map(member).collect() }
    }

    /// How many endpoints.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The cell of the endpoint at this place.
    pub fn cell(&self, at: usize) -> &Arc<LoadCell> {
        &self.members[at].cell
    }

    /// The weights in use.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Seconds that so many tokens of prompt take there, alone.
    pub fn prefill_s(&self, at: usize, tokens: f32) -> f32 {
        tokens * self.members[at].s_per_token
    }

    /// The share of its KV cache that so many tokens take; 0 if its size is unknown.
    pub fn kv_share(&self, at: usize, tokens: f32) -> f32 {
        tokens * self.members[at].kv_per_token
    }

    /// How full the endpoint at this place is.
    pub fn pressure(&self, at: usize, reports: Reports, now: Moment) -> Pressure {
        self.pressure_of(&self.members[at], reports, now)
    }

    #[inline]
    fn pressure_of(&self, member: &Member, reports: Reports, now: Moment) -> Pressure {
        let life = member.cell.life();
        let counts = life.counts();
        let fresh = match reports {
            Reports::Believed => life.fresh(now),
            Reports::LeftOut => None,
        };
        let own = counts.in_flight as f32;
        let (uncached, in_flight) = (counts.uncached as f32 * self.gateways, own * self.gateways);
        let local = self.kv_held(&counts, fresh.is_some()) * member.kv_per_token;
        let (uncached, in_flight, kv) = match &fresh {
            None => (uncached, in_flight, local),
            Some(report) => {
                let grown = (counts.held() as f32 - report.own_held as f32) * member.kv_per_token;
                raised(report, (own, grown), (uncached, in_flight, local))
            }
        };
        Pressure {
            uncached,
            uncached_s: uncached * member.s_per_token,
            in_flight,
            kv: kv.min(KV_SHARE_MAX),
            fresh: fresh.is_some(),
        }
    }

    /// Tokens that our requests hold in the cache. A report counts what they share once, so beside one only what they
    /// missed is counted; without one a shared prefix counts for each.
    #[inline]
    fn kv_held(&self, counts: &Counts, fresh: bool) -> f32 {
        let prompt = if fresh { counts.missed } else { counts.prompt };
        (prompt + counts.generated) as f32 * self.gateways
    }

    /// Every part of what the request costs on the endpoint at this place.
    pub fn terms(&self, at: usize, asked: &Asked<'_>, matches: &Matches, now: Moment) -> Terms {
        self.terms_by(at, asked, &Misses::new(asked, matches), now)
    }

    #[inline]
    fn terms_by(&self, at: usize, asked: &Asked<'_>, misses: &Misses<'_>, now: Moment) -> Terms {
        let (member, weights) = (&self.members[at], &self.weights);
        let pressure = self.pressure_of(member, Reports::Believed, now);
        let miss = misses.of(at);
        let residence = asked.adapter.map(|sought| self.residence(at, sought, now));
        let adapter_s = match residence {
            None | Some(Residence::Here) => 0.0,
            Some(Residence::Room) => weights.adapter_load,
            Some(Residence::Full) => weights.adapter_evict,
        };
        Terms {
            pressure,
            miss,
            queue_s: pressure.uncached_s,
            miss_s: weights.miss * miss * member.s_per_token,
            in_flight_s: weights.in_flight * pressure.in_flight,
            kv_s: weights.kv * odds(pressure.kv),
            residence,
            adapter_s,
            suspect_s: if member.cell.is_suspect() { weights.suspect } else { 0.0 },
            session_s: if asked.session == Some(at) { weights.session } else { 0.0 },
            slowness: 1.0 + weights.slow_start * (1.0 - member.cell.warmth(now)),
        }
    }

    fn residence(&self, at: usize, sought: Sought<'_>, now: Moment) -> Residence {
        sought.among.residence(at, sought.adapter, self.members[at].cell.began(), now)
    }

    /// The endpoint where the request costs least, among those that are `open`. Of equal ones the first behind
    /// `rotation`, which the caller moves on with each choice.
    ///
    /// Up to [`SCANNED_MAX`] endpoints all are looked at, beyond it see [`Pool::choose_sampled`].
    pub fn choose(
        &self,
        asked: &Asked<'_>,
        matches: &Matches,
        now: Moment,
        rotation: u32,
        open: impl Fn(usize) -> bool,
    ) -> Option<Choice> {
        if self.members.len() > SCANNED_MAX {
            return self.choose_sampled(asked, matches, now, rotation, open);
        }
        self.choose_scanned(asked, matches, now, rotation, open)
    }

    /// Looks at every endpoint.
    pub fn choose_scanned(
        &self,
        asked: &Asked<'_>,
        matches: &Matches,
        now: Moment,
        rotation: u32,
        open: impl Fn(usize) -> bool,
    ) -> Option<Choice> {
        let count = self.members.len();
        let start = rotation as usize % count.max(1);
        let around = (start..count).chain(0..start).filter(|&at| open(at));
        self.cheapest(asked, matches, now, around)
    }

    /// Looks at the few endpoints with the longest match beyond what most have in common, where its session was, at a few that
    /// have its adapter, and at a few drawn by `rotation`; if none of these is open, at every one.
    pub fn choose_sampled(
        &self,
        asked: &Asked<'_>,
        matches: &Matches,
        now: Moment,
        rotation: u32,
        open: impl Fn(usize) -> bool,
    ) -> Option<Choice> {
        let mut candidates = Candidates::default();
        for at in (0..self.members.len()).filter(|&at| matches.len(at) > matches.preamble()) {
            candidates.offer(at, matches.len(at), &open);
        }
        candidates.add(asked.session.into_iter().filter(|&at| at < self.members.len() && open(at)));
        if let Some(sought) = asked.adapter {
            let start = rotation as usize % self.members.len().max(1);
            let around = (start..self.members.len()).chain(0..start);
            candidates
                .add(around.filter(|&at| open(at) && self.residence(at, sought, now) == Residence::Here));
        }
        candidates.draw(self.members.len(), rotation, &open);
        let sampled = self.cheapest(asked, matches, now, candidates.places());
        sampled.or_else(|| self.choose_scanned(asked, matches, now, rotation, open))
    }

    /// What the request costs there at least: the terms that our own counts give. All others only add to it, and they
    /// are most of the work: for most endpoints it ends here.
    #[inline]
    fn floor(&self, at: usize, misses: &Misses<'_>) -> f32 {
        let (member, weights) = (&self.members[at], &self.weights);
        let (in_flight, uncached) = member.cell.life().waiting();
        let queue_s = uncached as f32 * self.gateways * member.s_per_token;
        let miss_s = weights.miss * misses.of(at) * member.s_per_token;
        queue_s + miss_s + weights.in_flight * (in_flight as f32 * self.gateways)
    }

    fn cheapest(
        &self,
        asked: &Asked<'_>,
        matches: &Matches,
        now: Moment,
        places: impl Iterator<Item = usize>,
    ) -> Option<Choice> {
        let misses = Misses::new(asked, matches);
        let mut best: Option<Choice> = None;
        for at in places {
            if best.is_some_and(|best| asked.session != Some(at) && self.floor(at, &misses) >= best.cost) {
                continue;
            }
            let terms = self.terms_by(at, asked, &misses, now);
            let cost = terms.cost();
            if best.is_none_or(|best| cost < best.cost) {
                best = Some(Choice { at, cost, miss: terms.miss as u64 });
            }
        }
        best
    }
}

/// Our counts, raised to what a report says: uncached tokens, requests in flight, share of the KV cache.
#[inline]
fn raised(
    report: &Fresh,
    (own, grown): (f32, f32),
    (uncached, in_flight, kv): (f32, f32, f32),
) -> (f32, f32, f32) {
    let said = &report.said;
    let waiting = said.uncached_waiting.unwrap_or(0) as f32;
    // Others' requests: what was there and not ours; what we sent or lost since then comes on top.
    let reported = said.running.unwrap_or(0) as f32 + said.waiting.unwrap_or(0) as f32;
    let now_there = reported - report.own as f32 + own;
    // A cache fills within the second until the next report: what ours took or freed since then comes on top here too.
    let held = said.kv.map_or(0.0, |kv| kv + grown);
    (uncached.max(waiting), in_flight.max(now_there), kv.max(held))
}

/// Tokens that are missed by endpoint: all divisions done.
struct Misses<'a> {
    prompt: f32,
    per_block: f32,
    matches: &'a Matches,
}

impl<'a> Misses<'a> {
    fn new(asked: &Asked<'_>, matches: &'a Matches) -> Self {
        let prompt = asked.prompt as f32;
        let blocks = matches.blocks();
        let per_block = if blocks == 0 { 0.0 } else { prompt / blocks as f32 };
        Self { prompt, per_block, matches }
    }

    /// At least one: the last token is always computed.
    #[inline]
    fn of(&self, at: usize) -> f32 {
        (self.prompt - self.per_block * f32::from(self.matches.len(at))).max(1.0)
    }
}

/// The few endpoints of a large pool that are looked at.
#[derive(Default)]
struct Candidates {
    places: [u32; CANDIDATES_PREFIX_MAX + 1 + CANDIDATES_ADAPTER_MAX + CANDIDATES_RANDOM_MAX],
    lengths: [u16; CANDIDATES_PREFIX_MAX],
    count: usize,
}

impl Candidates {
    /// Keeps the endpoint if its match is among the longest.
    fn offer(&mut self, at: usize, length: u16, open: &impl Fn(usize) -> bool) {
        let longer = self.lengths[..self.count].partition_point(|kept| *kept >= length);
        if longer == CANDIDATES_PREFIX_MAX || !open(at) {
            return;
        }
        let last = self.count.min(CANDIDATES_PREFIX_MAX - 1);
        self.places.copy_within(longer..last, longer + 1);
        self.lengths.copy_within(longer..last, longer + 1);
        (self.places[longer], self.lengths[longer]) = (at as u32, length);
        self.count = last + 1;
    }

    /// Adds the first few of these that are not there.
    fn add(&mut self, places: impl Iterator<Item = usize>) {
        for at in places.take(CANDIDATES_ADAPTER_MAX) {
            if !self.places().any(|kept| kept == at) {
                self.places[self.count] = at as u32;
                self.count += 1;
            }
        }
    }

    /// Adds endpoints drawn at random, each once.
    fn draw(&mut self, members: usize, rotation: u32, open: &impl Fn(usize) -> bool) {
        let mut state = u64::from(rotation);
        let full = self.count + CANDIDATES_RANDOM_MAX;
        // Where most are closed or few are left, some draws are lost.
        for _ in 0..4 * CANDIDATES_RANDOM_MAX {
            if self.count == full {
                return;
            }
            let at = ((u128::from(next_random(&mut state)) * members as u128) >> 64) as usize;
            if open(at) && !self.places().any(|kept| kept == at) {
                self.places[self.count] = at as u32;
                self.count += 1;
            }
        }
    }

    fn places(&self) -> impl Iterator<Item = usize> {
        self.places[..self.count].iter().map(|at| *at as usize)
    }
}

/// The next number of a sequence that looks like chance (SplitMix64). Handed in by its beginning, as all chance is.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// `k/(1 - k)`, from a table and a line between its entries.
#[inline]
fn odds(k: f32) -> f32 {
    let place = k.clamp(0.0, KV_SHARE_MAX) * (ODDS_STEPS as f32 / KV_SHARE_MAX);
    let below = (place as usize).min(ODDS_STEPS - 1);
    let (low, high) = (ODDS[below], ODDS[below + 1]);
    low + (high - low) * (place - below as f32)
}

const ODDS_STEPS: usize = 255;

static ODDS: [f32; ODDS_STEPS + 1] = {
    let mut table = [0.0; ODDS_STEPS + 1];
    let mut at = 0;
    while at <= ODDS_STEPS {
        let k = at as f32 * KV_SHARE_MAX / ODDS_STEPS as f32;
        table[at] = k / (1.0 - k);
        at += 1;
    }
    table
};

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "sums of small whole numbers are exact in f32")]
mod tests;
