//! Promises: who was told to come back, and when.
//!
//! Owns: the book of them, whether a request is one that was promised a place, and how many callers keep their side.
//! Must not: predict ([`super::drain`] does), read a clock, or keep a request: a promise is a hash and a need.
//! Read next: [`super::queue`], which lets those go first who come back in time, and [`super::open`], which keeps room for
//! them.

use super::open::Need;
use super::queue::TenantId;
use crate::bounds::{PROMISE_EARLY_US, PROMISE_LATE_US, PROMISE_LEAD_US, PROMISES_MAX};

/// What a request is known by when it comes again: a hash of all its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark(pub u64);

/// One caller that was told to come back.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Promise {
    mark: Mark,
    tenant: TenantId,
    need: Need,
    due_us: u64,
}

/// The promises of one queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    /// The one that is due first is first.
    open: Vec<Promise>,
    /// Share of callers that came back when they were told to, of late: nobody knows them at first.
    kept: f64,
}

/// What one caller changes of the share.
const KEPT_WEIGHT: f64 = 1.0 / 32.0;
/// Below it no room is kept: nearly nobody comes back, and it would stand empty.
const KEPT_MIN: f64 = 0.1;

impl Book {
    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Notes that whoever sent `mark` was told to come back in `wait_ms`. With a full book it goes without.
    pub(super) fn make(&mut self, now_us: u64, wait_ms: u64, (mark, tenant): (Mark, TenantId), need: Need) {
        if self.open.len() < PROMISES_MAX {
            let due_us = now_us + wait_ms * 1_000;
            let at = self.open.partition_point(|other| other.due_us <= due_us);
            self.open.insert(at, Promise { mark, tenant, need, due_us });
        }
    }

    /// Whether this request was promised a place for about now; a promise is kept once.
    pub(super) fn claim(&mut self, now_us: u64, mark: Mark, tenant: TenantId) -> bool {
        let due = |it: &Promise| it.due_us <= now_us + PROMISE_EARLY_US;
        let found =
            self.open.iter().take_while(|it| due(it)).position(|it| (it.mark, it.tenant) == (mark, tenant));
        if let Some(at) = found {
            self.open.remove(at);
            self.see(true);
        }
        found.is_some()
    }

    /// Forgets those whose callers did not come.
    pub(super) fn expire(&mut self, now_us: u64) {
        let over = self.open.partition_point(|it| it.due_us + PROMISE_LATE_US <= now_us);
        self.open.drain(..over);
        (0..over).for_each(|_| self.see(false));
    }

    fn see(&mut self, came: bool) {
        self.kept += KEPT_WEIGHT * (f64::from(u8::from(came)) - self.kept);
    }

    /// Share of callers that come back when they are told to.
    pub(super) fn kept(&self) -> f64 {
        self.kept
    }

    /// Tokens that are to come back.
    pub(super) fn tokens(&self) -> f64 {
        self.open.iter().map(|it| f64::from(it.need.miss)).sum()
    }

    /// What those need who may come at any moment, or soon: room for them takes time to become free.
    pub(super) fn imminent(&self, now_us: u64) -> impl Iterator<Item = Need> {
        let soon = move |it: &&Promise| self.kept >= KEPT_MIN && it.due_us <= now_us + PROMISE_LEAD_US;
        self.open.iter().take_while(soon).map(|it| it.need)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;
    const NEED: Need = Need { prompt: 100, miss: 40 };

    fn made(book: &mut Book, now_us: u64, wait_s: u64, mark: u64) {
        book.make(now_us, wait_s * 1_000, (Mark(mark), TenantId::EVERYONE), NEED);
    }

    fn claim(book: &mut Book, now_us: u64, mark: u64) -> bool {
        book.claim(now_us, Mark(mark), TenantId::EVERYONE)
    }

    #[test]
    fn a_promise_is_kept_once_and_not_before_its_time() {
        let mut book = Book::default();
        made(&mut book, 0, 10, 7);
        assert!(!claim(&mut book, 10 * S - PROMISE_EARLY_US - 1, 7), "too early: it stays promised");
        assert!(!claim(&mut book, 10 * S, 8), "somebody else");
        assert!(!book.claim(10 * S, Mark(7), TenantId::new(3)), "another tenant's");
        assert!(claim(&mut book, 10 * S, 7));
        assert!(!claim(&mut book, 10 * S, 7));
    }

    #[test]
    fn who_sends_the_same_request_twice_has_two_promises() {
        let mut book = Book::default();
        made(&mut book, 0, 1, 7);
        made(&mut book, 0, 2, 7);
        assert!(claim(&mut book, 2 * S, 7) && claim(&mut book, 2 * S, 7) && !claim(&mut book, 2 * S, 7));
    }

    #[test]
    fn who_comes_too_late_waits_like_everybody() {
        let mut book = Book::default();
        made(&mut book, 0, 1, 7);
        book.expire(S + PROMISE_LATE_US - 1);
        assert_eq!(book.len(), 1);
        book.expire(S + PROMISE_LATE_US);
        assert!(!claim(&mut book, S + PROMISE_LATE_US, 7));
        assert_eq!((book.len(), book.tokens()), (0, 0.0));
    }

    /// Callers that come back when they are told to.
    fn obedient() -> Book {
        let mut book = Book::default();
        for mark in 0..200 {
            made(&mut book, 0, 1, mark);
            assert!(claim(&mut book, S, mark));
        }
        book
    }

    #[test]
    fn room_is_kept_for_those_who_are_due_soon_and_for_nobody_where_nobody_comes() {
        let mut book = obedient();
        made(&mut book, 0, 20, 2);
        made(&mut book, 0, 10, 1);
        assert_eq!(book.imminent(10 * S - PROMISE_LEAD_US - 1).count(), 0);
        assert_eq!(
            book.imminent(10 * S - PROMISE_LEAD_US).count(),
            1,
            "the first that is due, not the first made"
        );
        assert!(book.kept() > 0.9, "{}", book.kept());
        for round in 1..200 {
            made(&mut book, 0, 1, round);
            book.expire(S + PROMISE_LATE_US);
        }
        assert!(book.kept() < KEPT_MIN, "{}", book.kept());
        assert_eq!(book.imminent(10 * S).count(), 0);
    }

    #[test]
    fn a_full_book_takes_no_more() {
        let mut book = Book::default();
        (0..=PROMISES_MAX as u64).for_each(|mark| made(&mut book, 0, 1, mark));
        assert_eq!(book.len(), PROMISES_MAX);
        assert!(!claim(&mut book, S, PROMISES_MAX as u64));
    }
}
