//! The cell of an endpoint: its lives, and what is true of it whichever life it is in.
//!
//! Owns: which life is counted on now, drains, what a state of health costs, and the intake of reports.
//! Must not: lock or allocate. A new life is one of a few that are kept, taken once nobody counts on it any more.
//! Read next: [`super::life`], then [`super::lease`].

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::life::{Counts, Fresh, Life, Said};
use crate::bounds::{LIVES_MAX, RESTART_NOTICED_MS, WARM_UP_S};
use crate::clock::Moment;

/// What all workers know of one endpoint.
///
/// Its first lines are read with every choice and written rarely; each life behind them has two lines of its own.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct LoadCell {
    current: AtomicU32,
    lives: AtomicU32,
    drained: AtomicBool,
    suspect: AtomicBool,
    gone: AtomicBool,
    /// As whoever reports numbers the lives of the server; 0 before the first report.
    generation: AtomicU64,
    restarted_us: AtomicU64,
    failures: AtomicU64,
    kept: [Life; LIVES_MAX],
}

const _: () = assert!(LIVES_MAX <= u8::MAX as usize, "a lease keeps its life's place in a byte");

/// One report on one endpoint, as it crosses the control socket.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Only grows, over restarts of whoever reports too (it may begin with the time of day in microseconds).
    pub sequence: u64,
    /// Another one means that the server started again; only grows, from 1.
    pub generation: u64,
    /// When the values were true.
    pub taken_at: Moment,
    /// The values.
    pub said: Said,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    /// It counts from now on.
    Taken,
    /// It counts, and it told of a restart: the endpoint has a fresh life.
    Restarted,
    /// It is no newer than the last one, or came while another was being written.
    Stale,
    /// It is about a life that is over.
    Outlived,
}

impl LoadCell {
    /// The life that is counted on now.
    pub fn life(&self) -> &Life {
        self.life_at(self.current())
    }

    /// Its place.
    pub(super) fn current(&self) -> u8 {
        self.current.load(Relaxed) as u8
    }

    pub(super) fn life_at(&self, place: u8) -> &Life {
        &self.kept[usize::from(place) % LIVES_MAX]
    }

    /// Attempts in flight in this life, all workers: what policies compare.
    pub fn in_flight(&self) -> u64 {
        self.life().counts().in_flight.into()
    }

    /// Our counts, all lives together: what is left to be given back.
    pub fn counts_of_all_lives(&self) -> Counts {
        self.kept.iter().map(Life::counts).fold(Counts::default(), |all, one| Counts {
            in_flight: all.in_flight + one.in_flight,
            uncached: all.uncached + one.uncached,
            prompt: all.prompt + one.prompt,
            missed: all.missed + one.missed,
            generated: all.generated + one.generated,
        })
    }

    /// Attempts since this process first saw the endpoint.
    pub fn attempts_total(&self) -> u64 {
        self.kept.iter().map(Life::attempts).sum()
    }

    /// How often more was given back than was taken; must stay 0.
    pub fn underflows_total(&self) -> u64 {
        self.kept.iter().map(|life| u64::from(life.underflows())).sum()
    }

    /// Lives that began after the first. Whoever keeps something about the server (what is in its cache) compares it.
    pub fn restarts(&self) -> u32 {
        self.lives.load(Relaxed)
    }

    /// When this life began; the clock's beginning, if it is the first one.
    pub fn began(&self) -> Moment {
        Moment::from_us(self.restarted_us.load(Relaxed))
    }

    /// The server is another one, or started again: what is counted and known of it begins anew. Leases of before go on
    /// counting on the life they began in.
    ///
    /// If all kept lives still have leases, the counts of this one stay: a wrong load is better than a lost release.
    pub fn begin_life(&self, now: Moment) {
        let current = self.current();
        let unused = |place: &u8| self.life_at(*place).is_unused();
        let places = (1..LIVES_MAX as u8).map(|step| (current + step) % LIVES_MAX as u8);
        let next = { places }.find(unused).unwrap_or(current);
        self.life_at(next).begin(now);
        // Two at once: both saw the restart, one of them does it. A lease that is being taken on a life just left is
        // given back to it as well, so what it adds is never anybody else's to take away.
        let _ = self.current.compare_exchange(current.into(), next.into(), Relaxed, Relaxed);
        self.restarted_us.store(now.us().max(1), Relaxed);
        self.lives.fetch_add(1, Relaxed);
    }

    /// Takes a report in.
    pub fn report(&self, report: &Report, now: Moment) -> Intake {
        let taken_at = report.taken_at.min(now); // another clock may be ahead; then it would stay fresh for too long
        let restarted = match self.adopt(report.generation, now) {
            Adopted::Outlived => return Intake::Outlived,
            Adopted::Same => false,
            Adopted::Restarted => true,
        };
        match (self.life().report(&report.said, report.sequence, taken_at), restarted) {
            (true, true) => Intake::Restarted,
            (true, false) => Intake::Taken,
            (false, _) => Intake::Stale,
        }
    }

    /// Takes in what the head of an answer said of the server, at the moment it came.
    pub fn report_beside(&self, said: &Said, now: Moment) {
        self.life().report_beside(said, now);
    }

    fn adopt(&self, generation: u64, now: Moment) -> Adopted {
        let known = self.generation.load(Relaxed);
        if generation < known {
            return Adopted::Outlived;
        }
        let swapped = self.generation.compare_exchange(known, generation, Relaxed, Relaxed).is_ok();
        if generation == known || !swapped {
            return Adopted::Same;
        }
        if known == 0 || self.just_began(now) {
            return Adopted::Same; // the first word of it, or one restart told twice
        }
        self.begin_life(now);
        Adopted::Restarted
    }

    /// Whether its restart was noticed a moment ago: reports and connections both tell of one.
    fn just_began(&self, now: Moment) -> bool {
        let restarted_us = self.restarted_us.load(Relaxed);
        restarted_us > 0 && now.since_us(Moment::from_us(restarted_us)) < RESTART_NOTICED_MS * 1_000
    }

    /// The last report, if it is fresh.
    pub fn fresh(&self, now: Moment) -> Option<Fresh> {
        self.life().fresh(now)
    }

    /// How far a slow start is, 0 to 1; 1 if there is none.
    pub fn warmth(&self, now: Moment) -> f32 {
        let Some(from) = self.life().warm_from() else { return 1.0 };
        (now.since_s(from) * (1.0 / WARM_UP_S)).min(1.0)
    }

    /// Begins a slow start: the endpoint is new, or its circuit closed again.
    pub fn begin_slow_start(&self, now: Moment) {
        self.life().warm(now);
    }

    /// Ends it before its time.
    pub fn end_slow_start(&self) {
        self.life().end_slow_start();
    }

    /// Whether something is wrong with it, not enough to leave it alone.
    pub fn is_suspect(&self) -> bool {
        self.suspect.load(Relaxed)
    }

    /// Notes whether something is wrong with it.
    pub fn set_suspect(&self, suspect: bool) {
        self.suspect.store(suspect, Relaxed);
    }

    /// Attempts that failed, the upstream being to blame.
    pub fn failures_total(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Counts a failed attempt; call it where the blame is [`crate::outcome::Blame::Upstream`].
    pub fn count_failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// Whether the operator took the endpoint out while it runs (`POST /v1/drain`).
    pub fn is_drained(&self) -> bool {
        self.drained.load(Relaxed)
    }

    /// Takes the endpoint out, or puts it back. Outlives reloads, as the cell does.
    pub fn set_drained(&self, drained: bool) {
        self.drained.store(drained, Relaxed);
    }

    /// Notes that nobody listens there: the server ended.
    pub fn note_gone(&self) {
        self.gone.store(true, Relaxed);
    }

    /// Notes that somebody listens there; after [`LoadCell::note_gone`] that is a server that started again.
    pub fn note_back(&self, now: Moment) {
        if self.gone.load(Relaxed) && self.gone.swap(false, Relaxed) && !self.just_began(now) {
            self.begin_life(now);
        }
    }
}

/// What a report's generation says.
enum Adopted {
    Same,
    Restarted,
    Outlived,
}
