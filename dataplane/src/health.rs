//! What is known of an endpoint's health, and what follows from it.
//!
//! Owns: the states of routing section 8, the table between them, and the counts that move it. Pure: outcomes, probe
//! results and time are handed in, so that a simulation runs the same code. [`HealthCell`] is the same for all workers.
//! Must not: choose an endpoint, send a probe, or take missing metrics for a sign of anything.
//! Read next: [`crate::balance`], which asks what an endpoint's state costs it.

mod cell;

pub use self::cell::{HealthCell, Refused, Trial};
use crate::bounds::{
    CIRCUIT_PAUSE_MS, CIRCUIT_PAUSES_DOUBLED_MAX, DOUBT_ERRORS, ERROR_REQUESTS_MIN, ERROR_WINDOW_MS,
    HALF_OPEN_SUCCESSES, REST_MS_MAX, SOUND_MS, TRIP_ERRORS, TRIP_PROBES, WARM_UP_S,
};

/// How an endpoint is.
///
/// ```text
///   Warm ──Warmed──> Ok <──Sound── Suspect <──Doubt── (Warm, Ok)
///    ^                                │
///    │<──Closed── HalfOpen <──Pause── Open <──Trip── (Warm, Ok, Suspect, HalfOpen)
///    │                                │
///    │                                └──Readmit──> Suspect
///    └──Undrain── Drain <──Drain── (any)
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Nothing is wrong.
    #[default]
    Ok,
    /// New, restarted, or its circuit closed again: it gets less than its share at first.
    Warm,
    /// Something was wrong just now.
    Suspect,
    /// The circuit is open: it gets nothing.
    Open,
    /// It gets a few requests to show that it is well.
    HalfOpen,
    /// It finishes what it has.
    Drain,
}

/// What moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    /// Its time of warming up is over.
    Warmed,
    /// A probe failed, or some requests in a row.
    Doubt,
    /// All was well for a while.
    Sound,
    /// Many requests in a row failed, or a large share of them, or some probes in a row.
    Trip,
    /// The pause of an open circuit is over.
    Pause,
    /// Enough requests went well in a row.
    Closed,
    /// Too many of its pool are open: it is taken back (panic mode).
    Readmit,
    /// It was restarted: what was known is of its predecessor.
    Restart,
    /// It is to take no more.
    Drain,
    /// It may take requests again.
    Undrain,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Ok, Self::Warm, Self::Suspect, Self::Open, Self::HalfOpen, Self::Drain];

    /// Its name in metrics and on the control socket.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Ok => "ok",
            Self::Suspect => "suspect",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Drain => "drain",
        }
    }

    /// The state that follows; none: nothing changes.
    pub const fn step(self, on: On) -> Option<Self> {
        use On::{Closed, Doubt, Pause, Readmit, Restart, Sound, Trip, Undrain, Warmed};
        use State::{Drain, HalfOpen, Ok, Open, Suspect, Warm};
        match (self, on) {
            (Warm, Warmed) | (Suspect, Sound) => Some(Ok),
            (Warm | Ok, Doubt) | (Open, Readmit) => Some(Suspect),
            (Warm | Ok | Suspect | HalfOpen, Trip) => Some(Open),
            (Open, Pause) => Some(HalfOpen),
            (HalfOpen, Closed) | (Drain, Undrain) | (Ok | Suspect | Open | HalfOpen, Restart) => Some(Warm),
            (Warm | Ok | Suspect | Open | HalfOpen, On::Drain) => Some(Drain),
            (Ok | Suspect | Open | HalfOpen | Drain, Warmed)
            | (Warm | Ok | Open | HalfOpen | Drain, Sound)
            | (Suspect | Open | HalfOpen | Drain, Doubt)
            | (Open | Drain, Trip)
            | (Warm | Ok | Suspect | HalfOpen | Drain, Pause | Readmit)
            | (Warm | Ok | Suspect | Open | Drain, Closed)
            | (Warm | Drain, Restart)
            | (Drain, On::Drain)
            | (Warm | Ok | Suspect | Open | HalfOpen, Undrain) => None,
        }
    }

    /// Whether it may take requests; half-open only a few at once.
    pub const fn takes_requests(self) -> bool {
        match self {
            Self::Warm | Self::Ok | Self::Suspect | Self::HalfOpen => true,
            Self::Open | Self::Drain => false,
        }
    }

    const fn of(number: u8) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::Warm,
            2 => Self::Suspect,
            3 => Self::Open,
            4 => Self::HalfOpen,
            _ => Self::Drain,
        }
    }
}

/// How a request ended, as far as it tells of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passive {
    /// It answered: a head came.
    Good,
    /// It broke: no connection, a reset, an answer that is none, or a 5xx other than 501.
    Bad,
    /// An answer that began well came to its end.
    Whole,
    /// One did not: its end, or a token, is missing.
    Broken,
}

/// Why a circuit is open: only passive detection falls under panic mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opened {
    ByRequests,
    ByProbes,
}

/// What is known of one endpoint.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: State,
    since_ms: u64,
    bad_in_a_row: u32,
    good_in_a_row: u32,
    /// Answers that began and broke off, without a whole one between. A row of its own: heads come between them.
    broken_in_a_row: u32,
    bad_at_ms: Option<u64>,
    probes_bad: u32,
    probed: bool,
    window: Window,
    opened: Option<Opened>,
    /// How often the circuit opened without closing for good: each time it pauses twice as long.
    trips: u32,
    undrain_ms: Option<u64>,
}

impl Health {
    /// An endpoint that is new to a running process: it warms up. One that was there when the process began is
    /// [`Health::default`]: all of them are as new as each other.
    pub fn new(now_ms: u64) -> Self {
        Self { state: State::Warm, since_ms: now_ms, ..Self::default() }
    }

    /// How it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when.
    pub fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// Whether the next outcome may change anything: else good ones need not be told.
    pub fn is_attentive(&self) -> bool {
        self.state == State::HalfOpen || self.bad_at_ms.is_some()
    }

    /// Takes how a request ended.
    pub fn passive(&mut self, now_ms: u64, outcome: Passive) {
        self.window.count(now_ms, outcome);
        match outcome {
            Passive::Good => {
                self.bad_in_a_row = 0;
                self.good_in_a_row = self.good_in_a_row.saturating_add(1);
                if self.state == State::HalfOpen && self.good_in_a_row >= HALF_OPEN_SUCCESSES {
                    self.step(now_ms, On::Closed);
                }
            }
            Passive::Whole => self.broken_in_a_row = 0,
            Passive::Bad => {
                self.bad_in_a_row = self.bad_in_a_row.saturating_add(1);
                self.judge(now_ms);
            }
            Passive::Broken => {
                self.broken_in_a_row = self.broken_in_a_row.saturating_add(1);
                self.judge(now_ms);
            }
        }
    }

    /// Something went wrong: what follows.
    fn judge(&mut self, now_ms: u64) {
        self.good_in_a_row = 0;
        self.bad_at_ms = Some(now_ms);
        let share = self.window.requests >= ERROR_REQUESTS_MIN && 2 * self.window.bad >= self.window.requests;
        let row = self.bad_in_a_row.max(self.broken_in_a_row);
        if self.state == State::HalfOpen || row >= TRIP_ERRORS || share {
            self.trip(now_ms, Opened::ByRequests);
        } else if row >= DOUBT_ERRORS {
            self.step(now_ms, On::Doubt);
        }
    }

    /// Takes the result of a probe.
    pub fn probe(&mut self, now_ms: u64, good: bool) {
        self.probed = true;
        if good {
            self.probes_bad = 0;
            return;
        }
        self.probes_bad = self.probes_bad.saturating_add(1);
        if self.probes_bad >= TRIP_PROBES {
            self.trip(now_ms, Opened::ByProbes);
        } else {
            self.step(now_ms, On::Doubt);
        }
    }

    fn trip(&mut self, now_ms: u64, why: Opened) {
        if self.step(now_ms, On::Trip) {
            self.opened = Some(why);
            self.trips = self.trips.saturating_add(1);
        }
    }

    /// Lets time pass.
    pub fn tick(&mut self, now_ms: u64) {
        let lasted_ms = now_ms.saturating_sub(self.since_ms);
        match self.state {
            State::Warm if lasted_ms >= (WARM_UP_S * 1e3) as u64 => {
                self.step(now_ms, On::Warmed);
                self.trips = 0;
            }
            // While its probes fail it stays shut: to try requests on it would only fail them.
            State::Open if lasted_ms >= self.pause_ms() && self.probes_bad == 0 => {
                self.step(now_ms, On::Pause);
            }
            State::Suspect if self.is_sound(now_ms) => {
                self.step(now_ms, On::Sound);
            }
            State::Drain if self.undrain_ms.is_some_and(|at| now_ms >= at) => self.undrain(now_ms),
            State::Warm | State::Ok | State::Suspect | State::Open | State::HalfOpen | State::Drain => {}
        }
        if self.bad_at_ms.is_some_and(|at| now_ms.saturating_sub(at) >= ERROR_WINDOW_MS)
            && self.bad_in_a_row.max(self.broken_in_a_row) == 0
        {
            self.bad_at_ms = None;
        }
    }

    /// Whether a suspect is well again: no error for a while, and if it is probed at all, its last probe was good.
    fn is_sound(&self, now_ms: u64) -> bool {
        let last_ms = self.bad_at_ms.unwrap_or(self.since_ms).max(self.since_ms);
        now_ms.saturating_sub(last_ms) >= SOUND_MS && self.probes_bad == 0
    }

    fn pause_ms(&self) -> u64 {
        CIRCUIT_PAUSE_MS << self.trips.saturating_sub(1).min(CIRCUIT_PAUSES_DOUBLED_MAX)
    }

    /// Takes an open endpoint back although nothing shows that it is well: too many of its pool are out.
    pub fn readmit(&mut self, now_ms: u64) {
        self.step(now_ms, On::Readmit);
    }

    /// The endpoint was restarted.
    pub fn restart(&mut self, now_ms: u64) {
        if self.step(now_ms, On::Restart) {
            *self = Self::new(now_ms);
        }
    }

    /// The endpoint said that it goes down: it gets nothing for `ms`, and then it is as new.
    pub fn drain(&mut self, now_ms: u64, ms: u64) {
        self.step(now_ms, On::Drain);
        self.undrain_ms = Some(now_ms + ms.min(REST_MS_MAX));
    }

    /// The endpoint may take requests again.
    pub fn undrain(&mut self, now_ms: u64) {
        if self.step(now_ms, On::Undrain) {
            *self = Self::new(now_ms);
        }
    }

    /// Since when its circuit is open by passive detection.
    pub fn open_by_requests_since(&self) -> Option<u64> {
        (self.state == State::Open && self.opened == Some(Opened::ByRequests)).then_some(self.since_ms)
    }

    fn step(&mut self, now_ms: u64, on: On) -> bool {
        let Some(next) = self.state.step(on) else { return false };
        (self.state, self.since_ms) = (next, now_ms);
        self.good_in_a_row = 0;
        match next {
            State::Warm => {
                (self.bad_in_a_row, self.broken_in_a_row, self.window) = (0, 0, Window::default());
            }
            State::HalfOpen => (self.bad_in_a_row, self.broken_in_a_row) = (0, 0),
            // Time alone proves nothing: where others are preferred to a suspect, nothing shows that it is well, and the
            // next failures are still of the same row.
            State::Ok | State::Suspect | State::Open | State::Drain => {}
        }
        true
    }
}

/// Requests and errors of the last ten seconds, by the second. Counting begins with an error: what went well before it
/// is not held in its favour.
#[derive(Clone, Debug, Default)]
struct Window {
    seconds: [(u64, u32, u32); WINDOW_S],
    requests: u32,
    bad: u32,
}

const WINDOW_S: usize = (ERROR_WINDOW_MS / 1_000) as usize;

impl Window {
    fn count(&mut self, now_ms: u64, outcome: Passive) {
        let mark = now_ms / 1_000 + 1; // 0: never used
        let second = &mut self.seconds[(mark % WINDOW_S as u64) as usize];
        if second.0 != mark {
            *second = (mark, 0, 0);
        }
        // One that broke was counted at its head, if anybody counted then.
        second.1 += u32::from(matches!(outcome, Passive::Good | Passive::Bad));
        second.2 += u32::from(matches!(outcome, Passive::Bad | Passive::Broken));
        let recent = self.seconds.iter().filter(|second| second.0 + WINDOW_S as u64 > mark);
        (self.requests, self.bad) = recent.fold((0, 0), |sum, it| (sum.0 + it.1, sum.1 + it.2));
        self.requests = self.requests.max(self.bad);
    }
}

/// How many of a pool of this size may be open by passive detection.
pub const fn open_max(endpoints: usize) -> usize {
    endpoints / 2
}

/// The endpoint to take back when passive detection has opened more of a pool than it may: the one that has been open
/// the longest. `open_since` gives [`Health::open_by_requests_since`] of each.
pub fn to_readmit(open_since: impl Iterator<Item = Option<u64>>) -> Option<usize> {
    let (mut count, mut open) = (0, 0);
    let mut oldest: Option<(usize, u64)> = None;
    for (at, since) in open_since.enumerate() {
        count += 1;
        let Some(since) = since else { continue };
        open += 1;
        if oldest.is_none_or(|(_, before)| since < before) {
            oldest = Some((at, since));
        }
    }
    oldest.filter(|_| open > open_max(count)).map(|(at, _)| at)
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
