//! One endpoint's health as all workers share it.
//!
//! Owns: the lock around it, the state that is read without one, trials of a half-open circuit, and rests.
//! Must not: decide; [`super::Health`] does.
//! Read next: [`crate::cells`], which is told what a state costs.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Health, Passive, State};
use crate::bounds::{HALF_OPEN_MAX, REST_MS_MAX, SILENT_MS};
use crate::cells::LoadCell;
use crate::clock::Moment;

/// One endpoint's health, shared by all workers. The state is read with one load per choice; the lock is taken for a
/// failure, and for a success only while failures are remembered.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct HealthCell {
    state: AtomicU8,
    attentive: AtomicBool,
    since_ms: AtomicU64,
    resting_until_ms: AtomicU64,
    good_ms: AtomicU64,
    restarts: AtomicU32,
    pub(super) trials: AtomicU32,
    health: Mutex<Health>,
    /// Told what its state costs: suspicion and slow start are terms of the score.
    load: Arc<LoadCell>,
}

impl HealthCell {
    /// The health of an endpoint with this load, about which nothing is known.
    pub fn new(load: Arc<LoadCell>) -> Self {
        let cell = Self { load, ..Self::default() };
        cell.change(0, |_| {});
        cell
    }

    /// The endpoint is new to a process that runs: it warms up.
    pub fn begin(&self, now_ms: u64) {
        self.change(now_ms, |health| *health = Health::new(now_ms));
    }

    /// How the endpoint is.
    pub fn state(&self) -> State {
        State::of(self.state.load(Relaxed))
    }

    /// Whether it may get a request now.
    pub fn admits(&self) -> bool {
        match self.state() {
            State::HalfOpen => self.trials.load(Relaxed) < HALF_OPEN_MAX,
            state => state.takes_requests(),
        }
    }

    /// Whether it asked to be left alone for a while: others are preferred.
    pub fn is_resting(&self) -> bool {
        self.resting_until_ms.load(Relaxed) != 0
    }

    /// Takes what a request on it counts for: a half-open circuit lets only a few through at once.
    ///
    /// # Errors
    /// It lets no more through: another thread was faster.
    pub fn take(&self) -> Result<Option<Trial<'_>>, Refused> {
        match self.state() {
            State::Open | State::Drain => Err(Refused),
            State::Warm | State::Ok | State::Suspect => Ok(None),
            State::HalfOpen => {
                let trial = Trial(self);
                let before = self.trials.fetch_add(1, Relaxed);
                if before < HALF_OPEN_MAX { Ok(Some(trial)) } else { Err(Refused) }
            }
        }
    }

    /// Takes how a request ended; true if the circuit opened by it.
    pub fn passive(&self, now_ms: u64, outcome: Passive) -> bool {
        if matches!(outcome, Passive::Good | Passive::Whole) {
            if now_ms >= self.good_ms.load(Relaxed) + GOOD_GRAIN_MS {
                self.good_ms.store(now_ms, Relaxed); // not with each answer: the line is shared
            }
            if !self.attentive.load(Relaxed) {
                return false;
            }
        }
        self.change(now_ms, |health| health.passive(now_ms, outcome))
    }

    /// No answer came in time, and that tells of the endpoint only if it has answered nobody for a while: else it is busy,
    /// or the prompt was long. True if the circuit opened by it.
    pub fn silent(&self, now_ms: u64) -> bool {
        let quiet_ms = now_ms.saturating_sub(self.good_ms.load(Relaxed));
        quiet_ms >= SILENT_MS && self.passive(now_ms, Passive::Bad)
    }

    /// Takes the result of a probe; true if the circuit opened by it.
    pub fn probe(&self, now_ms: u64, good: bool) -> bool {
        self.change(now_ms, |health| health.probe(now_ms, good))
    }

    /// Takes the endpoint back: too many of its pool are out.
    pub fn readmit(&self, now_ms: u64) {
        self.change(now_ms, |health| health.readmit(now_ms));
    }

    /// The endpoint said that it goes down.
    pub fn drain(&self, now_ms: u64, ms: u64) {
        self.change(now_ms, |health| health.drain(now_ms, ms));
    }

    /// The endpoint asked to be left alone for so long (`retry-after`): others are preferred, if there are any.
    pub fn rest(&self, now_ms: u64, ms: u64) {
        self.resting_until_ms.fetch_max(now_ms + ms.min(REST_MS_MAX), Relaxed);
    }

    /// Lets time pass. Cheap where nothing is remembered; called twice a second.
    pub fn tick(&self, now_ms: u64) {
        let resting_ms = self.resting_until_ms.load(Relaxed);
        if resting_ms != 0 && now_ms >= resting_ms {
            let _ = self.resting_until_ms.compare_exchange(resting_ms, 0, Relaxed, Relaxed);
        }
        let restarts = self.load.restarts();
        if self.restarts.swap(restarts, Relaxed) != restarts {
            self.change(now_ms, |health| health.restart(now_ms));
        } else if self.state() != State::Ok || self.attentive.load(Relaxed) {
            self.change(now_ms, |health| health.tick(now_ms));
        }
    }

    /// See [`Health::open_by_requests_since`].
    pub fn open_by_requests_since(&self) -> Option<u64> {
        if self.state() == State::Open { self.locked().open_by_requests_since() } else { None }
    }

    fn change(&self, now_ms: u64, with: impl FnOnce(&mut Health)) -> bool {
        let mut health = self.locked();
        let before = health.state();
        with(&mut health);
        let after = health.state();
        self.since_ms.store(health.since_ms(), Relaxed);
        self.attentive.store(health.is_attentive(), Relaxed);
        self.state.store(after as u8, Relaxed);
        if before != after {
            self.load.set_suspect(after == State::Suspect);
            if after == State::Warm {
                self.load.begin_slow_start(Moment::from_ms(now_ms));
            }
        }
        before != State::Open && after == State::Open
    }

    fn locked(&self) -> MutexGuard<'_, Health> {
        // Every change under the lock is plain arithmetic, so a panic leaves nothing half done.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How exactly the last good answer is dated.
const GOOD_GRAIN_MS: u64 = 500;

/// A half-open circuit has its few requests already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// One of the few requests that a half-open circuit lets through.
#[must_use = "a trial dropped at once counts nothing"]
#[derive(Debug)]
pub struct Trial<'c>(&'c HealthCell);

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        self.0.trials.fetch_sub(1, Relaxed);
    }
}
