//! When an endpoint is open for one more request, and how much room a whole pool has.
//!
//! Owns: the test of routing section 6, as a function of plain numbers: what the cells and reports say in the
//! gateway, what a simulated engine says in a simulation.
//! Must not: read a cell, a clock or a table.
//! Read next: [`super::queue`], which asks it before each grant.

use crate::bounds::SHUT_US_MAX;

/// What has to be open: settings of the operator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Seconds of prompt work that may be waiting at an endpoint (`u_limit`).
    pub backlog_s: f64,
    /// Share of the KV cache that may be used, the new request included (`kv_limit`).
    pub kv: f64,
    /// Average gap between tokens that closes an endpoint while it is exceeded (`itl_limit`); none: not looked at.
    pub gap_s: Option<f64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { backlog_s: 0.5, kv: 0.8, gap_s: None }
    }
}

/// How far beyond `backlog_s` an endpoint may be and still be chosen once the pool is open: a prefix in its cache
/// may be worth the wait. Choosing among open ones alone cost 6 points where prefixes repeat (routing section 6).
const NEAR: f64 = 4.0;

/// One endpoint as the test sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Health, drain and addresses let it take requests.
    pub eligible: bool,
    /// Its circuit is half open and has the few requests that it lets through: it takes none now, but it is there.
    pub full: bool,
    /// Prompt tokens dispatched to it without a first token yet (U).
    pub backlog_tokens: f64,
    /// Prompt tokens a second that it computes (R); above 0.
    pub tokens_per_s: f64,
    /// Share of its KV cache in use (k).
    pub kv: f64,
    /// KV tokens it holds; none: unknown, then its cache closes nothing.
    pub kv_tokens: Option<f64>,
    /// A fresh report counts shared prefixes once, so a request needs what it misses, not its whole prompt.
    pub reported: bool,
    /// Requests of ours in flight there.
    pub in_flight: u64,
    /// Average gap between tokens on its streams; 0: none seen.
    pub gap_s: f64,
    /// KV tokens kept for callers that were told to come back now.
    pub held_back: f64,
}

/// KV tokens that a request needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Its prompt.
    pub prompt: u32,
    /// Of it, what no cache is expected to hold.
    pub miss: u32,
}

/// How an endpoint stands to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It opens the pool.
    Open,
    /// It opens nothing, but may be chosen once the pool is open.
    Near,
    /// Neither.
    Closed,
}

impl Limits {
    /// How this endpoint stands to a request with this need.
    pub fn fit(&self, load: &Load, need: Need) -> Fit {
        let tokens = f64::from(load.wants(need));
        // With nothing in flight no further gap is seen: the last average would keep it closed for ever.
        let gap_ok = load.in_flight == 0 || self.gap_s.is_none_or(|limit| load.gap_s <= limit);
        if !(load.eligible && !load.full && gap_ok && tokens <= self.kv_room(load)) {
            return Fit::Closed;
        }
        match load.backlog_tokens / load.tokens_per_s {
            wait if wait < self.backlog_s => Fit::Open,
            wait if wait < NEAR * self.backlog_s => Fit::Near,
            _ => Fit::Closed,
        }
    }

    /// KV tokens that a request may need there.
    fn kv_room(&self, load: &Load) -> f64 {
        match load.kv_tokens {
            // With nothing of ours in flight there is nothing to wait for: a prompt larger than the limit runs.
            Some(_) if load.in_flight == 0 && load.held_back == 0.0 => f64::INFINITY,
            Some(capacity) => (self.kv - load.kv) * capacity - load.held_back,
            None => f64::INFINITY,
        }
    }

    /// Keeps room for requests with these needs: each where there is most left. An endpoint that room was kept at has the
    /// most a moment later, so it goes on becoming free there.
    pub fn hold_back(&self, loads: &mut [Load], needs: impl IntoIterator<Item = Need>) {
        for need in needs {
            let there =
                loads.iter_mut().filter(|load| load.eligible && !load.full && load.kv_tokens.is_some());
            let Some(roomiest) = there.max_by(|one, other| self.kv_room(one).total_cmp(&self.kv_room(other)))
            else {
                return;
            };
            roomiest.held_back += f64::from(roomiest.wants(need));
        }
    }
}

impl Load {
    /// KV tokens of this need there.
    fn wants(&self, need: Need) -> u32 {
        if self.reported { need.miss } else { need.prompt }
    }
}

/// Whom an endpoint has to have room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Anybody.
    Anyone,
    /// One that had a place: what is kept for those that come back is there for it.
    Ahead,
}

/// How wide a pool is open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Opening {
    /// Endpoints that would be open for a request that needs nothing.
    pub open: u32,
    /// The largest whole prompt that opens one; below 0: none.
    pub prompt_max: f64,
    /// The largest miss that opens one with a fresh report.
    pub miss_max: f64,
}

impl Default for Opening {
    fn default() -> Self {
        Self { open: 0, prompt_max: -1.0, miss_max: -1.0 }
    }
}

impl Opening {
    fn with(&mut self, limits: &Limits, load: &Load) {
        if limits.fit(load, Need::default()) == Fit::Open {
            self.open += 1;
            let most = if load.reported { &mut self.miss_max } else { &mut self.prompt_max };
            *most = most.max(limits.kv_room(load));
        }
    }

    fn fits(&self, need: Need) -> bool {
        f64::from(need.prompt) <= self.prompt_max || f64::from(need.miss) <= self.miss_max
    }
}

/// What a pool has room for, computed once and asked for each waiting request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Room {
    /// For anybody.
    pub anyone: Opening,
    /// For one that had a place.
    pub ahead: Opening,
    /// Endpoints that health lets take requests at all.
    pub eligible: u32,
    /// The largest need that the memory of some eligible endpoint has room for, however long it would wait there.
    pub memory_max: f64,
    /// What the memory of all of them has room for.
    pub memory: f64,
    /// Tokens waiting at the eligible endpoints (the sum of U).
    pub backlog_tokens: f64,
    /// What they compute a second together (the sum of R).
    pub tokens_per_s: f64,
}

impl Room {
    /// The room of a pool with these loads.
    pub fn of(limits: &Limits, loads: impl IntoIterator<Item = Load>) -> Self {
        let there = loads.into_iter().filter(|load| load.eligible);
        there.fold(Self::default(), |room, load| room.with(limits, &load))
    }

    fn with(mut self, limits: &Limits, load: &Load) -> Self {
        self.eligible += 1;
        self.backlog_tokens += load.backlog_tokens;
        self.tokens_per_s += load.tokens_per_s;
        let memory = limits.kv_room(load);
        self.memory_max = self.memory_max.max(memory);
        self.memory += memory.max(0.0);
        self.anyone.with(limits, load);
        self.ahead.with(limits, &Load { held_back: 0.0, ..*load });
        self
    }

    /// Whether any endpoint is open, if only for what room is kept for.
    pub fn open(&self) -> bool {
        self.ahead.open > 0
    }

    /// Whether there is memory for this need somewhere, and will be when so many tokens have gone before it.
    pub fn has_memory(&self, need: Need, before: f64) -> bool {
        let tokens = f64::from(need.miss);
        tokens <= self.memory_max && before + tokens <= self.memory
    }

    /// How wide it is open for such a one.
    pub fn opening(&self, whose: Whose) -> &Opening {
        match whose {
            Whose::Anyone => &self.anyone,
            Whose::Ahead => &self.ahead,
        }
    }

    /// Whether some endpoint is open for a request with this need.
    pub fn fits(&self, whose: Whose, need: Need) -> bool {
        self.opening(whose).fits(need)
    }
}

/// Whether reports may close a pool: they are left out once they alone have kept it closed for a second, until one
/// of them changes (routing section 3, rule 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    shut_since_us: Option<u64>,
    ignored: Option<u64>,
}

impl Trust {
    /// Takes what the pool looks like with and without reports; says whether reports count. `mark` changes when
    /// any report does.
    pub fn sees(&mut self, now_us: u64, open_with: bool, open_without: bool, mark: u64) -> bool {
        if self.ignored.is_some_and(|ignored| ignored == mark) {
            return false;
        }
        self.ignored = None;
        if open_with || !open_without {
            self.shut_since_us = None;
            return true;
        }
        let since = *self.shut_since_us.get_or_insert(now_us);
        if now_us.saturating_sub(since) < SHUT_US_MAX {
            return true;
        }
        self.shut_since_us = None;
        self.ignored = Some(mark);
        false
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) const IDLE: Load = Load {
        eligible: true,
        full: false,
        backlog_tokens: 0.0,
        tokens_per_s: 10_000.0,
        kv: 0.0,
        kv_tokens: Some(100_000.0),
        reported: false,
        in_flight: 1,
        gap_s: 0.0,
        held_back: 0.0,
    };
    const LIMITS: Limits = Limits { backlog_s: 0.5, kv: 0.8, gap_s: Some(0.1) };
    const SMALL: Need = Need { prompt: 1_000, miss: 10 };

    #[test]
    fn each_condition_closes_an_endpoint_alone() {
        assert_eq!(LIMITS.fit(&IDLE, SMALL), Fit::Open);
        for (load, expected) in [
            (Load { eligible: false, ..IDLE }, Fit::Closed),
            (Load { full: true, ..IDLE }, Fit::Closed),
            (Load { backlog_tokens: 4_999.0, ..IDLE }, Fit::Open),
            (Load { backlog_tokens: 5_000.0, ..IDLE }, Fit::Near),
            (Load { backlog_tokens: 19_999.0, ..IDLE }, Fit::Near),
            (Load { backlog_tokens: 20_000.0, ..IDLE }, Fit::Closed),
            (Load { kv: 0.79, ..IDLE }, Fit::Open),
            (Load { kv: 0.795, ..IDLE }, Fit::Closed),
            (Load { gap_s: 0.1, ..IDLE }, Fit::Open),
            (Load { gap_s: 0.11, ..IDLE }, Fit::Closed),
            (Load { gap_s: 0.11, in_flight: 0, ..IDLE }, Fit::Open),
        ] {
            assert_eq!(LIMITS.fit(&load, SMALL), expected, "{load:?}");
        }
        assert_eq!(Limits { gap_s: None, ..LIMITS }.fit(&Load { gap_s: 9.0, ..IDLE }, SMALL), Fit::Open);
    }

    #[test]
    fn with_a_fresh_report_a_request_needs_only_what_it_misses() {
        let full = Load { kv: 0.795, ..IDLE };
        assert_eq!(LIMITS.fit(&full, SMALL), Fit::Closed);
        assert_eq!(LIMITS.fit(&Load { reported: true, ..full }, SMALL), Fit::Open);
    }

    #[test]
    fn a_prompt_larger_than_the_limit_runs_where_nothing_of_ours_does() {
        let huge = Need { prompt: 90_000, miss: 90_000 };
        assert_eq!(LIMITS.fit(&IDLE, huge), Fit::Closed);
        assert_eq!(LIMITS.fit(&Load { in_flight: 0, ..IDLE }, huge), Fit::Open);
        assert_eq!(
            LIMITS.fit(&Load { kv_tokens: None, kv: 0.5, ..IDLE }, huge),
            Fit::Open,
            "capacity unknown"
        );
    }

    #[test]
    fn reports_alone_close_a_pool_for_a_second_and_no_longer() {
        let mut trust = Trust::default();
        assert!(trust.sees(0, true, true, 1));
        assert!(trust.sees(500_000, false, true, 1));
        assert!(trust.sees(1_499_999, false, true, 1));
        assert!(!trust.sees(1_500_000, false, true, 1), "a second is over");
        assert!(!trust.sees(9_000_000, true, true, 1), "until a report changes");
        assert!(trust.sees(9_000_001, false, true, 2));
        assert!(trust.sees(9_500_000, false, false, 2), "our own counters close it too");
        assert!(trust.sees(10_400_000, false, true, 2), "the second begins anew");
    }

    #[test]
    fn what_is_kept_for_those_that_come_back_is_kept_from_the_others_alone() {
        let mut loads =
            [Load { kv: 0.6, ..IDLE }, Load { kv: 0.4, ..IDLE }, Load { eligible: false, ..IDLE }];
        let long = Need { prompt: 30_000, miss: 30_000 };
        LIMITS.hold_back(&mut loads, [long, Need { prompt: 15_000, miss: 1 }]);
        assert_eq!(
            loads.map(|load| load.held_back as u32),
            [15_000, 30_000, 0],
            "each where there is most left"
        );
        let room = Room::of(&LIMITS, loads);
        assert!(room.fits(Whose::Ahead, long) && !room.fits(Whose::Anyone, long));
        assert!(room.fits(Whose::Anyone, Need { prompt: 9_000, miss: 9_000 }));
        assert!(room.has_memory(Need { prompt: 9_000, miss: 9_000 }, 0.0));
        assert!(!room.has_memory(Need { prompt: 9_000, miss: 9_000 }, 7_000.0), "those before it fill it");
    }

    #[test]
    fn an_idle_endpoint_that_room_is_kept_at_takes_others_up_to_the_limit_only() {
        let kept = Load { in_flight: 0, held_back: 1.0, ..IDLE };
        let huge = Need { prompt: 90_000, miss: 90_000 };
        assert_eq!(LIMITS.fit(&kept, huge), Fit::Closed);
        assert_eq!(LIMITS.fit(&Load { held_back: 0.0, ..kept }, huge), Fit::Open);
    }

    proptest! {
        /// The room of a pool is what its endpoints have: it fits a request exactly when one of them is open for it.
        #[test]
        fn a_room_fits_exactly_what_an_endpoint_is_open_for(
            loads in prop::collection::vec((any::<bool>(), 0.0..12_000.0, 0.0..1.0, any::<bool>(), 0..3_u64), 0..6),
            prompt in 0..120_000_u32,
            share in 0.0..=1.0,
        ) {
            let load = |&(eligible, backlog_tokens, kv, reported, in_flight): &(bool, f64, f64, bool, u64)| {
                Load { eligible, backlog_tokens, kv, reported, in_flight, ..IDLE }
            };
            let loads: Vec<Load> = loads.iter().map(load).collect();
            let need = Need { prompt, miss: (f64::from(prompt) * share) as u32 };
            let room = Room::of(&LIMITS, loads.iter().copied());
            prop_assert_eq!(room.fits(Whose::Anyone, need), loads.iter().any(|load| LIMITS.fit(load, need) == Fit::Open));
        }
    }
}
