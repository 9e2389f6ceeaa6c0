//! The queue in front of one backend: who waits, for how long, and whose turn it is when there is room.
//!
//! Owns: the waiting requests of all workers, their bounds, deadlines and order (routing section 6). Pure: time and
//! room are handed in, and what it says is done by others.
//! Must not: choose an endpoint, wake anybody, or word an answer.
//! Read next: [`super::open`], the room it is asked about; `lanes.rs`, the order; [`super::drain`], when to come back.

use xxhash_rust::xxh3::xxh3_64;

use super::drain::{Backlog, Pace, told_ms};
use super::lanes::{Lanes, Spot};
use super::open::{Need, Room, Whose};
use super::promise::{Book, Mark};
use crate::bounds::{PROMISE_SLACK, PROMISES_HELD_MAX};

/// Whose request it is: the account that fairness counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(u32);

impl TenantId {
    /// All callers where nobody tells them apart. Half of a queue is no bound for everyone.
    pub const EVERYONE: Self = Self(0);

    /// The tenant with this number, from 1.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The tenant of this name. Where hashes of two are equal (of a thousand tenants, once in ten thousand) those two share.
    pub fn named(name: &[u8]) -> Self {
        Self((xxh3_64(name) as u32).max(1)) // the low half
    }
}

/// A tenant's share relative to the others that wait, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight(u32);

impl Weight {
    /// Everybody the same.
    pub const ONE: Self = Self(1);

    /// This share; 0 counts as 1.
    pub const fn new(share: u32) -> Self {
        Self(if share == 0 { 1 } else { share })
    }

    pub(super) const fn get(self) -> u64 {
        self.0 as u64
    }
}

/// How urgent a request is. A lower class waits while a higher one does, but for a twentieth of the grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// 0: somebody is looking at it.
    Interactive,
    /// 1: what nobody marked.
    #[default]
    Default,
    /// 2: whenever there is room.
    Batch,
}

impl Class {
    /// How many there are.
    pub const COUNT: usize = 3;
    /// The most urgent first.
    pub const ALL: [Self; Self::COUNT] = [Self::Interactive, Self::Default, Self::Batch];

    /// Its number, 0 to 2.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// In which order the requests of one tenant go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The smallest predicted prefill first, less half a second for each second waited; a later one that fits may go.
    /// It serves more; its victims are the longest prompts.
    #[default]
    Aged,
    /// The oldest first; it blocks those behind it.
    Fifo,
}

impl Order {
    /// All keys of a queue age at the same pace, so the order is known when a request arrives.
    fn key(self, arrived_us: u64, prefill_us: u64) -> i64 {
        match self {
            Self::Aged => (prefill_us + arrived_us / 2).cast_signed(),
            Self::Fifo => arrived_us.cast_signed(),
        }
    }
}

/// In front of everyone who arrives.
const FIRST: i64 = i64::MIN;

/// What bounds a queue and how it is ordered: settings of the operator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Requests that may wait.
    pub queued_max: u32,
    /// Bytes of their bodies.
    pub bytes_max: u64,
    /// How long a request of each class may wait.
    pub wait_us: [u64; Class::COUNT],
    /// Time to the first token that a request must be able to meet: it is refused as soon as it cannot.
    pub ttft_slo_us: Option<u64>,
    /// The order inside a tenant's lane.
    pub order: Order,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            queued_max: 1_024,
            bytes_max: 256 << 20,
            wait_us: [1_000_000, 10_000_000, 60_000_000],
            ttft_slo_us: None,
            order: Order::Aged,
        }
    }
}

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Want {
    /// Whose it is.
    pub tenant: TenantId,
    /// The tenant's share.
    pub weight: Weight,
    /// How urgent it is.
    pub class: Class,
    /// KV tokens that it needs.
    pub need: Need,
    /// Predicted prefill on the endpoint that suits it best.
    pub prefill_us: u64,
    /// Bytes of body that are held for it.
    pub bytes: u64,
    /// How long it may wait if that is less than its class may: a deadline of the caller's.
    pub wait_us_max: Option<u64>,
    /// What it is known by if it comes again; none: it is not held whole, so nobody could tell.
    pub mark: Option<Mark>,
}

/// Where a request joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// In its turn.
    InTurn,
    /// At the head of its lane, with the deadline it had: an attempt failed and no other endpoint is open. It had
    /// its place, so no bound refuses it.
    Again {
        /// When it first arrived.
        arrived_us: u64,
        /// Whether room is kept for it.
        whose: Whose,
    },
}

/// A place in a queue. It goes stale when the place is given back, and then does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    slot: u32,
    generation: u32,
    whose: Whose,
}

impl Ticket {
    /// Whether what is kept for those that come back is there for it.
    pub const fn whose(self) -> Whose {
        self.whose
    }
}

/// Why a request does not go, or goes no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The queue is full, for everyone or for its tenant.
    Full,
    /// It waited as long as its class may.
    TimedOut,
    /// It cannot meet `ttft_slo` any more, or never could.
    TooLong,
    /// It made room for a more urgent one.
    Displaced,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Full, Self::TimedOut, Self::TooLong, Self::Displaced];

    /// Its label in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::TimedOut => "timed_out",
            Self::TooLong => "too_long",
            Self::Displaced => "displaced",
        }
    }
}

/// A request that goes: to an endpoint or away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gone<W> {
    /// Who waited.
    pub waiter: W,
    /// What for.
    pub want: Want,
    /// When it arrived.
    pub arrived_us: u64,
}

/// The queue of one backend. `W` is whoever is to be told.
#[derive(Debug)]
pub struct Queue<W> {
    rules: Rules,
    places: Vec<Place<W>>,
    free: Vec<u32>,
    lanes: Lanes,
    seq: u64,
    queued: u32,
    granted: u32,
    bytes: u64,
    queued_tokens: u64,
    /// No deadline is earlier.
    due_us: u64,
    pace: Pace,
    book: Book,
    /// Of those that wait, how many had a place before.
    ahead: u32,
    victims: Vec<u32>,
}

/// What waits in all, and of one tenant's.
struct Sums {
    all: u32,
    all_bytes: u64,
    own: u32,
    own_bytes: u64,
}

/// Whose bound is exceeded.
#[derive(Clone, Copy)]
enum Over {
    All,
    Own,
}

impl Sums {
    fn over(&self, rules: &Rules, tenant: TenantId) -> Option<Over> {
        let (count, bytes) = (rules.queued_max, rules.bytes_max);
        if self.all > count || self.all_bytes > bytes {
            return Some(Over::All);
        }
        let shared = tenant != TenantId::EVERYONE;
        (shared && (self.own > count.div_ceil(2) || self.own_bytes > bytes / 2)).then_some(Over::Own)
    }

    fn leave_out(&mut self, victim: &Want, tenant: TenantId) {
        self.all -= 1;
        self.all_bytes -= victim.bytes;
        if victim.tenant == tenant && tenant != TenantId::EVERYONE {
            self.own -= 1;
            self.own_bytes -= victim.bytes;
        }
    }
}

#[derive(Debug)]
struct Place<W> {
    generation: u32,
    held: Option<Held<W>>,
}

#[derive(Clone, Copy, Debug)]
struct Held<W> {
    gone: Gone<W>,
    deadline_us: u64,
    late: Why,
    spot: Spot,
    whose: Whose,
    granted: bool,
}

impl<W: Copy> Queue<W> {
    /// An empty queue.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            places: Vec::new(),
            free: Vec::new(),
            lanes: Lanes::default(),
            seq: 0,
            queued: 0,
            granted: 0,
            bytes: 0,
            queued_tokens: 0,
            due_us: u64::MAX,
            pace: Pace::default(),
            book: Book::default(),
            ahead: 0,
            victims: Vec::new(),
        }
    }

    /// Takes other rules for those who come from now on.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Requests that wait.
    pub fn len(&self) -> u32 {
        self.queued
    }

    /// True if nobody waits.
    pub fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// Requests that wait in this class.
    pub fn waiting(&self, class: Class) -> u32 {
        self.lanes.waiting(class)
    }

    /// When the oldest of each class arrived. Looks at all who wait: for those who watch, not for those who come.
    pub fn oldest_us(&self) -> [Option<u64>; Class::COUNT] {
        let mut oldest = [None; Class::COUNT];
        for held in self.places.iter().filter_map(|place| place.held.as_ref()).filter(|held| !held.granted) {
            let first: &mut Option<u64> = &mut oldest[held.gone.want.class.index()];
            *first = Some(first.map_or(held.gone.arrived_us, |first| first.min(held.gone.arrived_us)));
        }
        oldest
    }

    /// Bytes that are held for those who wait.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Grants that have not landed: each is about to take load that no cell shows yet.
    pub fn granted(&self) -> u32 {
        self.granted
    }

    /// Joins. Whoever has to make room for it is put into `displaced`. Where nobody waits and the pool has `room` for it, it will
    /// not wait either, and no bound on those who do refuses it.
    ///
    /// # Errors
    /// There is no place for it, or it could not meet its objective.
    pub fn join(
        &mut self,
        join: Join,
        want: Want,
        waiter: W,
        now_us: u64,
        room: &Room,
        displaced: &mut Vec<Gone<W>>,
    ) -> Result<Ticket, Why> {
        let arrived_us = match join {
            Join::InTurn => now_us,
            Join::Again { arrived_us, .. } => arrived_us,
        };
        let (deadline_us, late) = self.deadline(&want, arrived_us);
        if deadline_us <= now_us {
            return Err(late);
        }
        let whose = match (join, want.mark) {
            (Join::Again { whose, .. }, _) => whose,
            (Join::InTurn, Some(mark)) if self.book.claim(now_us, mark, want.tenant) => Whose::Ahead,
            (Join::InTurn, _) => Whose::Anyone,
        };
        let passes = self.queued == 0 && self.has_room(room, whose, want.need);
        if join == Join::InTurn && !passes {
            self.make_room(&want, whose, displaced)?;
        }
        let key = match (join, whose) {
            (Join::InTurn, Whose::Anyone) => self.rules.order.key(arrived_us, want.prefill_us),
            (Join::Again { .. }, _) | (Join::InTurn, Whose::Ahead) => FIRST,
        };
        let held = Held {
            gone: Gone { waiter, want, arrived_us },
            deadline_us,
            late,
            spot: Spot { key, seq: self.seq, slot: 0 },
            whose,
            granted: false,
        };
        Ok(self.place(held))
    }

    fn deadline(&self, want: &Want, arrived_us: u64) -> (u64, Why) {
        let class_us = self.rules.wait_us[want.class.index()];
        let wait_us = want.wait_us_max.map_or(class_us, |own_us| own_us.min(class_us));
        let slo_us = self.rules.ttft_slo_us.map(|slo_us| slo_us.saturating_sub(want.prefill_us));
        match slo_us {
            Some(slo_us) if slo_us < wait_us => (arrived_us.saturating_add(slo_us), Why::TooLong),
            Some(_) | None => (arrived_us.saturating_add(wait_us), Why::TimedOut),
        }
    }

    fn place(&mut self, mut held: Held<W>) -> Ticket {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, held: None });
            self.places.len() as u32 - 1
        });
        held.spot.slot = slot;
        self.seq += 1;
        let want = held.gone.want;
        self.lanes.add(want.class, want.tenant, want.weight, held.spot);
        self.queued += 1;
        self.ahead += u32::from(held.whose == Whose::Ahead);
        self.bytes += want.bytes;
        self.queued_tokens += u64::from(want.need.miss);
        self.due_us = self.due_us.min(held.deadline_us);
        let place = &mut self.places[slot as usize];
        place.held = Some(held);
        Ticket { slot, generation: place.generation, whose: held.whose }
    }

    /// Makes room for `want` at the cost of the newest of the lowest class below its own, or of its own class if it had a
    /// place and they had not; all or nothing.
    fn make_room(&mut self, want: &Want, whose: Whose, displaced: &mut Vec<Gone<W>>) -> Result<(), Why> {
        let mut victims = std::mem::take(&mut self.victims);
        victims.clear();
        let enough = self.choose_victims(want, whose, &mut victims);
        if enough {
            displaced.extend(victims.iter().map(|&slot| self.free_waiting(slot)));
        }
        self.victims = victims;
        enough.then_some(()).ok_or(Why::Full)
    }

    fn choose_victims(&self, want: &Want, whose: Whose, victims: &mut Vec<u32>) -> bool {
        let mut sums = self.sums(want);
        while let Some(over) = sums.over(&self.rules, want.tenant) {
            let Some(victim) = self.newest_below(want, whose, over, victims) else { return false };
            sums.leave_out(&self.held(victim).gone.want, want.tenant);
            victims.push(victim);
        }
        true
    }

    /// What would wait with `want` among it.
    fn sums(&self, want: &Want) -> Sums {
        let mut sums =
            Sums { all: self.queued + 1, all_bytes: self.bytes + want.bytes, own: 1, own_bytes: want.bytes };
        if want.tenant != TenantId::EVERYONE {
            let waiting =
                self.places.iter().filter_map(|place| place.held.as_ref()).filter(|held| !held.granted);
            for held in waiting.filter(|held| held.gone.want.tenant == want.tenant) {
                sums.own += 1;
                sums.own_bytes += held.gone.want.bytes;
            }
        }
        sums
    }

    fn newest_below(&self, want: &Want, whose: Whose, over: Over, but: &[u32]) -> Option<u32> {
        let counts = |slot: &u32| {
            let other = self.held(*slot);
            let own = other.gone.want.tenant == want.tenant;
            let below = other.gone.want.class > want.class || other.whose == Whose::Anyone;
            below && (matches!(over, Over::All) || own)
        };
        let least = want.class.index() + usize::from(whose == Whose::Anyone);
        let lower = Class::ALL.into_iter().skip(least).rev();
        let newest = |lower| {
            let theirs = self.lanes.of_class(lower).filter(|slot| counts(slot) && !but.contains(slot));
            theirs.max_by_key(|slot| self.held(*slot).spot.seq)
        };
        lower.into_iter().find_map(newest)
    }

    fn held(&self, slot: u32) -> &Held<W> {
        self.places[slot as usize].held.as_ref().expect("a lane's slots are held")
    }

    /// Each grant under way is about to take one of the open endpoints.
    fn has_room(&self, room: &Room, whose: Whose, need: Need) -> bool {
        self.granted < room.opening(whose).open && room.fits(whose, need)
    }

    /// The next to go, if the pool has room for it. Its place is kept until it lands or leaves.
    pub fn grant(&mut self, now_us: u64, room: &Room) -> Option<(Ticket, Gone<W>)> {
        if self.queued == 0 {
            return None;
        }
        let fits = |slot: u32| {
            let held = self.held(slot);
            self.has_room(room, held.whose, held.gone.want.need)
        };
        let slot = self.lanes.next(self.rules.order, fits)?;
        let held = *self.held(slot);
        self.leave_lane(&held);
        let want = held.gone.want;
        self.lanes.served(want.class);
        self.lanes.charge(want.class, want.tenant, u64::from(want.need.prompt), true);
        if self.queued == 0 {
            self.pace.rest();
        } else {
            self.pace.count(now_us, want.need.miss);
        }
        self.granted += 1;
        let place = &mut self.places[slot as usize];
        place.held = Some(Held { granted: true, ..held });
        Some((Ticket { slot, generation: place.generation, whose: held.whose }, held.gone))
    }

    /// The granted request has taken its load: the cells show it from here on.
    pub fn land(&mut self, ticket: Ticket) {
        self.leave(ticket);
    }

    /// Gives the place back, whether it was granted or still waits. True if there was one.
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        let place = self.places.get(ticket.slot as usize).filter(|it| it.generation == ticket.generation);
        let Some(held) = place.and_then(|place| place.held) else { return false };
        if held.granted {
            self.granted -= 1;
            self.free_place(ticket.slot);
        } else {
            self.free_waiting(ticket.slot);
        }
        true
    }

    /// Puts everyone whose time is over into `late`.
    pub fn expire(&mut self, now_us: u64, late: &mut Vec<(Gone<W>, Why)>) {
        self.book.expire(now_us);
        if now_us < self.due_us {
            return;
        }
        self.due_us = u64::MAX;
        for slot in 0..self.places.len() as u32 {
            let Some(held) = self.places[slot as usize].held.filter(|held| !held.granted) else { continue };
            if held.deadline_us <= now_us {
                late.push((self.free_waiting(slot), held.late));
            } else {
                self.due_us = self.due_us.min(held.deadline_us);
            }
        }
    }

    /// Puts everyone who waits into `all`: no endpoint is left, or the process ends.
    pub fn clear(&mut self, all: &mut Vec<Gone<W>>) {
        for slot in 0..self.places.len() as u32 {
            if self.places[slot as usize].held.is_some_and(|held| !held.granted) {
                all.push(self.free_waiting(slot));
            }
        }
    }

    /// Books what a request generated while others wait.
    pub fn generated(&mut self, class: Class, tenant: TenantId, tokens: u64) {
        self.lanes.charge(class, tenant, GENERATED_COST * tokens, false);
    }

    /// Seconds until what waits here and at the endpoints is worked off.
    pub fn drain_s(&self, now_us: u64, room: &Room) -> f64 {
        self.backlog(room).drain_s(now_us, &self.pace)
    }

    /// When somebody who is refused now should come back, in milliseconds; it is promised to go first then. Requests stay
    /// `stay_s` at an endpoint. `chance` is even in 0 to 1.
    pub fn retry_after_ms(&mut self, now_us: u64, room: &Room, want: &Want, stay_s: f64, chance: f64) -> u64 {
        let mut wait_s = self.drain_s(now_us, room);
        if want.mark.is_some() {
            let promised = self.book.tokens();
            let before = promised + self.queued_tokens as f64;
            let stay_s = if room.has_memory(want.need, before) { 0.0 } else { stay_s };
            let before_s = promised / self.pace.seen(now_us, room.tokens_per_s);
            wait_s += self.book.kept() * (stay_s + PROMISE_SLACK * before_s);
        }
        let wait_ms = told_ms(wait_s, chance);
        // One that can never meet the objective would be refused again.
        let hopeless = self.rules.ttft_slo_us.is_some_and(|slo_us| slo_us <= want.prefill_us);
        if let Some(mark) = want.mark.filter(|_| !hopeless) {
            self.book.make(now_us, wait_ms, (mark, want.tenant), want.need);
        }
        wait_ms
    }

    /// Callers that were told to come back and did not yet.
    pub fn promised(&self) -> u32 {
        self.book.len() as u32
    }

    /// What those need that had a place and wait again, and those that may come back for theirs at any moment.
    pub fn claims(&self, now_us: u64) -> impl Iterator<Item = Need> {
        let places = if self.ahead > 0 { &self.places[..] } else { &[] };
        let here = places.iter().filter_map(|place| place.held.as_ref());
        let here = here.filter(|held| !held.granted && held.whose == Whose::Ahead);
        here.map(|held| held.gone.want.need).chain(self.book.imminent(now_us)).take(PROMISES_HELD_MAX)
    }

    fn backlog(&self, room: &Room) -> Backlog {
        Backlog {
            queued_tokens: self.queued_tokens as f64,
            backlog_tokens: room.backlog_tokens,
            tokens_per_s: room.tokens_per_s,
        }
    }

    fn leave_lane(&mut self, held: &Held<W>) {
        let want = &held.gone.want;
        self.lanes.remove(want.class, want.tenant, held.spot);
        self.queued -= 1;
        self.ahead -= u32::from(held.whose == Whose::Ahead);
        self.bytes -= want.bytes;
        self.queued_tokens -= u64::from(want.need.miss);
        if self.queued == 0 {
            self.due_us = u64::MAX;
        }
    }

    fn free_waiting(&mut self, slot: u32) -> Gone<W> {
        let held = self.places[slot as usize].held.expect("somebody waits there");
        self.leave_lane(&held);
        self.free_place(slot);
        held.gone
    }

    fn free_place(&mut self, slot: u32) {
        let place = &mut self.places[slot as usize];
        place.held = None;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot);
    }
}

/// What a generated token counts for in fairness, where a token of a prompt counts for one.
const GENERATED_COST: u64 = 2;

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
