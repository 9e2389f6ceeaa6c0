//! The waiting side of admission: an exchange parks here until the queue lets it go.
//!
//! Owns: one worker's places for those who wait, and the beat that looks after them.
//! Must not: decide anything; the queue does, whichever worker happens to look.
//! Read next: [`super::line`], which tells the verdicts.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::line::{Post, Verdict, Waiter};
use crate::bounds::{DRAIN_LAST_WORD_MS, QUEUE_BEAT_MS};
use crate::table::Backend;
use crate::worker::{Message, Worker};

/// Those who wait on one worker.
#[derive(Default)]
pub struct Waits {
    kept: RefCell<Kept>,
    beats: Cell<bool>,
}

#[derive(Default)]
struct Kept {
    places: Vec<Place>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Place {
    generation: u32,
    backend: Option<Arc<Backend>>,
    waker: Option<Waker>,
    verdict: Option<Verdict>,
}

impl Waits {
    /// A place for somebody who waits for `backend`.
    pub fn enter(&self, worker: u16, backend: &Arc<Backend>) -> Waiter {
        let mut kept = self.kept.borrow_mut();
        let place = kept.free.pop().unwrap_or_else(|| {
            kept.places.push(Place::default());
            kept.places.len() as u32 - 1
        });
        let entry = &mut kept.places[place as usize];
        entry.backend = Some(Arc::clone(backend));
        Waiter { worker, place, generation: entry.generation }
    }

    /// Gives the place back.
    pub fn leave(&self, waiter: Waiter) {
        let mut kept = self.kept.borrow_mut();
        let entry = &mut kept.places[waiter.place as usize];
        *entry = Place { generation: entry.generation.wrapping_add(1), ..Place::default() };
        kept.free.push(waiter.place);
    }

    /// Takes the verdict, or waits for it.
    pub fn poll(&self, waiter: Waiter, cx: &mut Context<'_>) -> Poll<Verdict> {
        let entry = &mut self.kept.borrow_mut().places[waiter.place as usize];
        if let Some(verdict) = entry.verdict.take() {
            return Poll::Ready(verdict);
        }
        entry.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes a verdict in and wakes whom it is for; one who left meanwhile has given its place in the queue back.
    pub fn tell(&self, waiter: Waiter, verdict: Verdict) {
        let mut kept = self.kept.borrow_mut();
        let Some(entry) = kept.places.get_mut(waiter.place as usize) else { return };
        if entry.generation == waiter.generation {
            entry.verdict = Some(verdict);
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
        }
    }

    fn tell_all(&self, verdict: Verdict) {
        for entry in self.kept.borrow_mut().places.iter_mut().filter(|entry| entry.backend.is_some()) {
            entry.verdict.get_or_insert(verdict);
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
        }
    }

    /// The backends that somebody here waits for, each once.
    fn backends(&self) -> Vec<Arc<Backend>> {
        let mut found: Vec<Arc<Backend>> = Vec::new();
        for backend in self.kept.borrow().places.iter().filter_map(|entry| entry.backend.as_ref()) {
            if !found.iter().any(|known| Arc::ptr_eq(known, backend)) {
                found.push(Arc::clone(backend));
            }
        }
        found
    }
}

/// The mailboxes of the process, as one worker uses them.
pub struct Letters<'w>(pub &'w Worker);

impl Post for Letters<'_> {
    fn tell(&self, waiter: Waiter, verdict: Verdict) -> bool {
        if waiter.worker == self.0.id {
            self.0.waits.tell(waiter, verdict);
            return true;
        }
        self.0.shared.tell(waiter.worker, Message::Admission(waiter, verdict)).is_ok()
    }

    fn chance(&self) -> f64 {
        self.0.rng.borrow_mut().f64()
    }
}

/// Looks after the queues for as long as somebody of this worker waits in one. Room that nobody told of (a report, a
/// circuit that closed) is found by it, and so are deadlines.
pub fn beat(worker: &Rc<Worker>) {
    if worker.waits.beats.replace(true) {
        return;
    }
    let worker = Rc::clone(worker);
    monoio::spawn(async move {
        loop {
            monoio::time::sleep(Duration::from_millis(QUEUE_BEAT_MS)).await;
            let backends = worker.waits.backends();
            if backends.is_empty() {
                break;
            }
            for backend in backends {
                if let Some(admission) = &backend.admission {
                    admission.serve(&backend.endpoints, worker.clock.now(), &Letters(&worker));
                }
            }
            if worker.drain_ends_within(DRAIN_LAST_WORD_MS) {
                worker.waits.tell_all(Verdict::Draining);
            }
        }
        worker.waits.beats.set(false);
    });
}
