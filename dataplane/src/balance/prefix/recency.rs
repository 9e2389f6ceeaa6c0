//! Which blocks an endpoint holds, from the youngest to the oldest.
//!
//! Owns: a list through an array and a small hash table into it: 10.4 bytes a block, exact LRU.
//! Must not: know hashes. A block is the slot where it stands on the shelf, which does not change while it is held.
//! Read next: [`super::shelf`].

use super::shelf::Slot;

const NONE: u16 = u16::MAX;
/// Steps in which the share of the cache that is believed in changes.
const SHARES: u32 = 100;
/// The smallest share.
const SHARES_MIN: u32 = 10;

/// The LRU of one endpoint.
#[derive(Debug)]
pub struct Recency {
    nodes: Vec<Node>,
    /// Node by slot, linear probing; [`NONE`]: free.
    places: Box<[u16]>,
    youngest: u16,
    oldest: u16,
    free: u16,
    len: usize,
    capacity: usize,
    shares: u32,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    slot: Slot,
    younger: u16,
    older: u16,
}

impl Recency {
    /// An empty one for so many blocks, fewer than [`NONE`].
    pub fn new(capacity: usize) -> Self {
        assert!(capacity < usize::from(NONE), "links are 16 bits wide");
        Self {
            nodes: Vec::with_capacity(capacity), // reserved, and touched only as it fills
            places: vec![NONE; capacity * 6 / 5 + 1].into(),
            youngest: NONE,
            oldest: NONE,
            free: NONE,
            len: 0,
            capacity,
            shares: SHARES,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>() + size_of_val(&*self.places)
    }

    /// Makes the block the youngest; false if it is not held.
    pub fn touch(&mut self, slot: Slot) -> bool {
        let Some(node) = self.find(slot) else { return false };
        if node != self.youngest {
            self.unlink(node);
            self.link(node);
        }
        true
    }

    /// Adds a block that is not held, as the youngest. Returns one that had to go: the oldest, or itself where nothing
    /// can be held.
    pub fn push(&mut self, slot: Slot) -> Option<Slot> {
        let capacity = self.believed();
        if capacity == 0 {
            return Some(slot);
        }
        let evicted = if self.len >= capacity { self.pop() } else { None };
        let node = self.new_node(slot);
        self.link(node);
        self.enter(slot, node);
        self.len += 1;
        evicted
    }

    /// Takes the oldest out.
    pub fn pop(&mut self) -> Option<Slot> {
        let node = self.oldest;
        let slot = self.nodes.get(usize::from(node))?.slot;
        self.unlink(node);
        self.forget(slot);
        self.nodes[usize::from(node)].older = self.free;
        self.free = node;
        self.len -= 1;
        Some(slot)
    }

    /// Takes the oldest out if more are held than is believed.
    pub fn pop_surplus(&mut self) -> Option<Slot> {
        if self.len > self.believed() { self.pop() } else { None }
    }

    /// Believes in less of the cache, or in more again.
    pub fn adapt(&mut self, delivered: bool) {
        self.shares = if delivered {
            (self.shares + 1).min(SHARES)
        } else {
            self.shares.saturating_sub(SHARES / 10).max(SHARES_MIN)
        };
    }

    fn believed(&self) -> usize {
        (self.capacity * self.shares as usize).div_ceil(SHARES as usize)
    }

    fn new_node(&mut self, slot: Slot) -> u16 {
        let fresh = Node { slot, younger: NONE, older: NONE };
        let node = self.free;
        if let Some(kept) = self.nodes.get_mut(usize::from(node)) {
            self.free = kept.older;
            *kept = fresh;
            return node;
        }
        self.nodes.push(fresh);
        (self.nodes.len() - 1) as u16
    }

    fn link(&mut self, node: u16) {
        let second = std::mem::replace(&mut self.youngest, node);
        let own = &mut self.nodes[usize::from(node)];
        (own.younger, own.older) = (NONE, second);
        match self.nodes.get_mut(usize::from(second)) {
            Some(second) => second.younger = node,
            None => self.oldest = node,
        }
    }

    fn unlink(&mut self, node: u16) {
        let Node { younger, older, .. } = self.nodes[usize::from(node)];
        match self.nodes.get_mut(usize::from(younger)) {
            Some(it) => it.older = older,
            None => self.youngest = older,
        }
        match self.nodes.get_mut(usize::from(older)) {
            Some(it) => it.younger = younger,
            None => self.oldest = younger,
        }
    }

    fn find(&self, slot: Slot) -> Option<u16> {
        Some(self.places[self.place_of(slot)]).filter(|node| *node != NONE)
    }

    /// Where the slot's node stands in `places`, or the free place where it would.
    fn place_of(&self, slot: Slot) -> usize {
        let mut at = self.ideal(slot);
        while self.places[at] != NONE && self.nodes[usize::from(self.places[at])].slot != slot {
            at = self.next(at);
        }
        at
    }

    fn enter(&mut self, slot: Slot, node: u16) {
        // It is not there: the next free place is its place, and nothing need be compared on the way.
        let ideal = self.ideal(slot);
        let free = |places: &[u16]| places.iter().position(|place| *place == NONE);
        let behind = free(&self.places[ideal..]).map(|at| ideal + at);
        let at = behind.or_else(|| free(&self.places)).expect("there are more places than nodes");
        self.places[at] = node;
    }

    /// Takes the slot out of `places` and moves up those that stood behind it because it was in their way.
    fn forget(&mut self, slot: Slot) {
        let mut gap = self.place_of(slot);
        let mut at = gap;
        loop {
            at = self.next(at);
            let node = self.places[at];
            if node == NONE {
                break;
            }
            let ideal = self.ideal(self.nodes[usize::from(node)].slot);
            if self.distance(ideal, at) >= self.distance(gap, at) {
                self.places[gap] = node;
                gap = at;
            }
        }
        self.places[gap] = NONE;
    }

    fn ideal(&self, slot: Slot) -> usize {
        let mixed = slot.wrapping_mul(0x9e37_79b1); // neighbours on the shelf are not neighbours here
        ((u64::from(mixed) * self.places.len() as u64) >> 32) as usize
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 == self.places.len() { 0 } else { at + 1 }
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.places.len() - from }
    }
}
