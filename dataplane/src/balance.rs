//! Chooses the target and the endpoint of an attempt.
//!
//! Owns: the choice, a pure function of cells, what was tried, chance and turns.
//! Must not: count the load of what it chose; whoever dispatches takes a [`crate::cells::Lease`] before the
//! next choice of the same thread.
//! Read next: [`crate::cells`].

use crate::bounds::ATTEMPTS_MAX;
use crate::cells::Slot;
use crate::table::{Backend, Endpoint, Route, Target};

/// The endpoints that an exchange has tried already; a few, by slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    slots: [Option<Slot>; ATTEMPTS_MAX],
}

impl Tried {
    /// Nothing yet.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds an endpoint. Beyond the bound of attempts nothing is added, and nobody asks.
    pub fn add(&mut self, endpoint: &Endpoint) {
        if let Some(free) = self.slots.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(endpoint.slot);
        }
    }

    /// Whether it was tried.
    pub fn has(&self, endpoint: &Endpoint) -> bool {
        self.slots.contains(&Some(endpoint.slot))
    }
}

/// Where an attempt goes.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'t> {
    /// The target; it says which model to ask for.
    pub target: &'t Target,
    /// The endpoint, one of the target's backend.
    pub endpoint: &'t Endpoint,
}

/// A target by weight and an endpoint of it; other targets by weight where one has no endpoint to give.
pub fn pick<'t>(route: &'t Route, tried: &Tried, rng: &mut fastrand::Rng) -> Option<Pick<'t>> {
    let _ = (route, tried, rng);
    todo!()
}

/// An endpoint of this backend, as its policy says: not drained, resolved, not tried.
pub fn choose<'t>(backend: &'t Backend, tried: &Tried, rng: &mut fastrand::Rng) -> Option<&'t Endpoint> {
    let _ = (backend, tried, rng);
    todo!()
}
