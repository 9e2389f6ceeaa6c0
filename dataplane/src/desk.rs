//! Desks: where a connection is served while it has a request, and only then.
//!
//! Owns: the room for the future of an exchange and its scratch, some 4 KiB in one place. It is lent to whoever has
//! something to do, last used first: it is in the cache then, however many connections there are, and one that waits
//! for its next request holds next to nothing.
//! Must not: know what is done there.
//! Read next: `downstream.rs`: [`requests`] is the work.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use crate::bounds::DESKS_KEPT_MAX;
use crate::downstream::{Downstream, Session, requests};
use crate::observe::Record;
use crate::worker::{Scratch, Worker};

/// A worker's free desks.
#[derive(Default)]
pub struct Desks(RefCell<Vec<Desk>>);

/// The work goes on for ever; what it is done for comes and goes through the tray.
struct Desk {
    tray: Rc<Tray>,
    work: Pin<Box<dyn Future<Output = Infallible>>>,
}

#[derive(Default)]
struct Tray {
    to_do: Cell<Option<(Rc<Worker>, Box<Downstream>)>>,
    done: Cell<Option<(Box<Downstream>, Session)>>,
}

impl Desks {
    fn take(&self) -> Desk {
        let kept = self.0.borrow_mut().pop();
        kept.unwrap_or_else(|| {
            let tray = Rc::new(Tray::default());
            Desk { work: Box::pin(work(Rc::clone(&tray))), tray }
        })
    }

    fn put(&self, desk: Desk) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < DESKS_KEPT_MAX {
            kept.push(desk);
        }
    }
}

/// Serves the requests of a connection that has one. A desk whose work panicked or was given up is not used again.
pub async fn session(worker: &Rc<Worker>, down: Box<Downstream>) -> (Box<Downstream>, Session) {
    let mut desk = worker.desks.take();
    desk.tray.to_do.set(Some((Rc::clone(worker), down)));
    let done = poll_fn(|cx| {
        let Poll::Pending = desk.work.as_mut().poll(cx);
        desk.tray.done.take().map_or(Poll::Pending, Poll::Ready)
    })
    .await;
    worker.desks.put(desk);
    done
}

async fn work(tray: Rc<Tray>) -> Infallible {
    let mut scratch = Scratch::default();
    let mut record = Record::EMPTY;
    loop {
        let (worker, mut down) = poll_fn(|_| tray.to_do.take().map_or(Poll::Pending, Poll::Ready)).await;
        let end = requests(&worker, &mut down, &mut scratch, &mut record).await;
        tray.done.set(Some((down, end)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each live stream has one: it is half of what a stream costs in memory. A byte more would take 5 KiB of the allocator.
    #[test]
    fn a_desk_fits_four_kib() {
        let bytes = size_of_val(&work(Rc::new(Tray::default())));
        assert!(bytes <= 4 * 1_024, "{bytes}");
    }
}
