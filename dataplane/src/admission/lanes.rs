//! Whose turn it is: a lane for each tenant in each class, and the order between them.
//!
//! Owns: the virtual token counters, the order inside a lane, and the twentieth that lower classes are left.
//! Must not: know bounds, deadlines or who waits; it orders slots of the queue.
//! Read next: [`super::queue`], which holds what the slots mean.

use std::collections::HashMap;

use super::queue::{Class, Order, TenantId, Weight};
use crate::bounds::QUEUE_LANES_MAX;

/// One waiting request in its lane: those with smaller keys go first, and of equals the older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) key: i64,
    pub(super) seq: u64,
    pub(super) slot: u32,
}

/// The waiting requests of one tenant in one class.
#[derive(Debug)]
struct Lane {
    class: Class,
    tenant: TenantId,
    weight: Weight,
    /// Tokens served, by weight.
    counter: u64,
    /// Last first: the head is popped from the end.
    waiting: Vec<Spot>,
}

/// All lanes of a queue.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    all: Vec<Lane>,
    by_owner: HashMap<(Class, TenantId), u32>,
    /// Counter of the lane that was served last, before it was charged: where newcomers start.
    floor: [u64; Class::COUNT],
    /// Grants since a class was served, while it waited.
    passed: [u32; Class::COUNT],
    waiting: [u32; Class::COUNT],
}

/// One grant in so many is the least that a lower class gets while it waits.
const FLOOR_EVERY: u32 = 20;
/// Counters are kept in parts of a token, so that weights divide them finely.
const PARTS: u64 = 1_000;

impl Lanes {
    /// Puts a request into its owner's lane.
    pub(super) fn add(&mut self, class: Class, tenant: TenantId, weight: Weight, spot: Spot) {
        let at = self.lane(class, tenant, weight);
        if self.all[at].waiting.is_empty() {
            // Time without a backlog earns no credit.
            let start = self.least(class).unwrap_or(self.floor[class.index()]);
            self.all[at].counter = self.all[at].counter.max(start);
        }
        let lane = &mut self.all[at];
        lane.weight = weight;
        let place = lane.waiting.partition_point(|other| *other > spot);
        lane.waiting.insert(place, spot);
        self.waiting[class.index()] += 1;
    }

    /// Takes a request out of its owner's lane.
    pub(super) fn remove(&mut self, class: Class, tenant: TenantId, spot: Spot) {
        let at = self.by_owner[&(class, tenant)] as usize;
        let waiting = &mut self.all[at].waiting;
        let place =
            waiting.binary_search_by(|other| spot.cmp(other)).expect("a waiting request has its spot");
        waiting.remove(place);
        self.waiting[class.index()] -= 1;
        if self.waiting[class.index()] == 0 {
            self.passed[class.index()] = 0;
        }
    }

    /// The request whose turn it is, among those that `fits` lets go.
    pub(super) fn next(&self, order: Order, fits: impl Fn(u32) -> bool) -> Option<u32> {
        let due = Class::ALL.into_iter().skip(1).filter(|class| self.is_due(*class));
        let by_floor = due.into_iter().find_map(|class| self.next_of(class, order, &fits));
        by_floor.or_else(|| match order {
            Order::Aged => Class::ALL.into_iter().find_map(|class| self.next_of(class, order, &fits)),
            // The head blocks those behind it, in lower classes too: else what is small overtakes it for ever.
            Order::Fifo => {
                let first = Class::ALL.into_iter().find(|class| self.waiting[class.index()] > 0)?;
                self.next_of(first, order, &fits)
            }
        })
    }

    fn is_due(&self, class: Class) -> bool {
        self.waiting[class.index()] > 0 && self.passed[class.index()] >= FLOOR_EVERY - 1
    }

    /// Of the tenants that have a request that may go, the one that was served least.
    fn next_of(&self, class: Class, order: Order, fits: &impl Fn(u32) -> bool) -> Option<u32> {
        let lanes = self.all.iter().filter(|lane| lane.class == class && !lane.waiting.is_empty());
        match order {
            Order::Fifo => {
                let lane = lanes.min_by_key(|lane| lane.counter)?;
                lane.waiting.last().map(|head| head.slot).filter(|slot| fits(*slot))
            }
            Order::Aged => {
                let going =
                    |lane: &Lane| lane.waiting.iter().rev().map(|spot| spot.slot).find(|slot| fits(*slot));
                lanes
                    .filter_map(|lane| Some((lane.counter, going(lane)?)))
                    .min_by_key(|it| it.0)
                    .map(|it| it.1)
            }
        }
    }

    /// Notes that this class was served while the others waited.
    pub(super) fn served(&mut self, class: Class) {
        for other in Class::ALL {
            let passed = &mut self.passed[other.index()];
            if other == class {
                *passed = passed.saturating_sub(FLOOR_EVERY - 1);
            } else if self.waiting[other.index()] > 0 {
                *passed += 1;
            }
        }
    }

    /// Charges what a tenant was given.
    pub(super) fn charge(&mut self, class: Class, tenant: TenantId, tokens: u64, served_now: bool) {
        let Some(&at) = self.by_owner.get(&(class, tenant)) else { return };
        let lane = &mut self.all[at as usize];
        if served_now {
            let floor = &mut self.floor[class.index()];
            *floor = (*floor).max(lane.counter);
        }
        lane.counter += tokens * PARTS / lane.weight.get();
    }

    /// Requests that wait in this class.
    pub(super) fn waiting(&self, class: Class) -> u32 {
        self.waiting[class.index()]
    }

    /// Slots that wait in this class, in no order.
    pub(super) fn of_class(&self, class: Class) -> impl Iterator<Item = u32> {
        let lanes = self.all.iter().filter(move |lane| lane.class == class);
        lanes.flat_map(|lane| &lane.waiting).map(|spot| spot.slot)
    }

    /// The smallest counter of those that wait in this class.
    fn least(&self, class: Class) -> Option<u64> {
        let lanes = self.all.iter().filter(|lane| lane.class == class && !lane.waiting.is_empty());
        lanes.map(|lane| lane.counter).min()
    }

    fn lane(&mut self, class: Class, tenant: TenantId, weight: Weight) -> usize {
        if let Some(&at) = self.by_owner.get(&(class, tenant)) {
            return at as usize;
        }
        if self.all.len() >= QUEUE_LANES_MAX {
            self.forget();
        }
        let at = self.all.len();
        self.all.push(Lane { class, tenant, weight, counter: 0, waiting: Vec::new() });
        self.by_owner.insert((class, tenant), at as u32);
        at
    }

    /// Forgets the lanes where nobody waits. Of most nothing is lost: below the floor a newcomer starts no lower.
    fn forget(&mut self) {
        self.all.retain(|lane| !lane.waiting.is_empty());
        self.by_owner.clear();
        let owners = self.all.iter().enumerate().map(|(at, lane)| ((lane.class, lane.tenant), at as u32));
        self.by_owner.extend(owners);
    }
}
