//! Prompts of answers in one piece: nobody sees their first token, so their share ends by the clock.
//!
//! Owns: the shares of one worker's unary requests, each until its answer's head or until it should have been computed,
//! whichever is earlier; else long generations would look like prefill.
//! Must not: read a clock; the worker's tick hands it the time.
//! Read next: [`super::lease`].

use std::cell::RefCell;
use std::rc::Rc;

use super::lease::{Lease, Prefill};
use crate::clock::Moment;

/// A lease, with its prompt's share where that is watched.
#[must_use = "a lease dropped at once counts nothing"]
#[derive(Debug)]
pub struct Dispatched {
    /// The lease.
    pub lease: Lease,
    /// Its prompt's share, if its answer comes in one piece.
    pub watched: Option<Watched>,
}

impl Dispatched {
    /// The first token came, or an answer that will show none.
    pub fn first_token(&mut self) {
        self.watched = None;
        self.lease.first_token();
    }
}

/// The shares of one worker.
#[derive(Clone, Debug, Default)]
pub struct Prefills(Rc<RefCell<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    shares: Vec<Option<(Moment, Prefill)>>,
    free: Vec<usize>,
    unwatched: Vec<(Moment, Prefill)>,
}

/// A share that is watched; dropping this releases it if that did not happen yet.
#[must_use = "a share dropped at once counts nothing"]
#[derive(Debug)]
pub struct Watched {
    prefills: Prefills,
    place: usize,
}

impl Prefills {
    /// Keeps a share until `due` at the latest.
    pub fn watch(&self, share: Prefill, due: Moment) -> Watched {
        let mut kept = self.0.borrow_mut();
        let place = kept.free.pop().unwrap_or_else(|| {
            kept.shares.push(None);
            kept.shares.len() - 1
        });
        kept.shares[place] = Some((due, share));
        Watched { prefills: self.clone(), place }
    }

    /// Keeps a share until `due`, whatever becomes of its request: the endpoint is fuller than was counted.
    pub fn leave_until(&self, share: Prefill, due: Moment) {
        self.0.borrow_mut().unwatched.push((due, share));
    }

    /// Releases the shares that are due.
    pub fn release(&self, now: Moment) {
        let mut kept = self.0.borrow_mut();
        for share in &mut kept.shares {
            let _ = share.take_if(|(due, _)| *due <= now);
        }
        kept.unwatched.retain(|(due, _)| *due > now);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut kept = self.prefills.0.borrow_mut();
        kept.shares[self.place] = None;
        kept.free.push(self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cells::{Lease, Load, LoadCell};

    #[test]
    fn a_share_ends_when_it_is_due_or_when_its_answer_comes() {
        let cell = Arc::new(LoadCell::default());
        let prefills = Prefills::default();
        let watch = |due_ms: u64| {
            let mut lease = Lease::dispatch(&cell, Load { prompt: 10, miss: 10 });
            let share = lease.split_prefill().expect("it waits");
            (lease, prefills.watch(share, Moment::from_ms(due_ms)))
        };
        let uncached = || cell.life().counts().uncached;
        let (first, second) = (watch(100), watch(200));
        prefills.release(Moment::from_ms(150));
        assert_eq!(uncached(), 10);
        drop(second);
        assert_eq!(uncached(), 0);
        let third = watch(300); // in the place of the second
        drop(first);
        assert_eq!(uncached(), 10);
        drop(third);
        assert_eq!((uncached(), cell.in_flight(), cell.underflows_total()), (0, 0, 0));
        assert_eq!(prefills.0.borrow().shares.len(), 2, "places are used again");
    }
}
