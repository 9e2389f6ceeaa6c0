//! The load of every endpoint, shared by all workers, and the slots of their connections.
//!
//! Owns: one [`LoadCell`] per endpoint name and one [`Slot`] per endpoint and addresses; both survive reloads,
//! so a new table goes on counting where the old one is. [`Lease`] is the only way to count an attempt.
//! Must not: lock or allocate per request. The registry's lock is taken when a table is compiled.
//! Read next: [`crate::balance`], which reads the cells.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::bounds::{CELLS_MAX, SHUN_AFTER, SHUN_MS_MAX, SHUN_MS_MIN};
use crate::seen::Seen;

/// What all workers know of one endpoint. 128 bytes of its own: the prefetcher pairs lines of 64.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct LoadCell {
    in_flight: AtomicI64,
    attempts: AtomicU64,
    failures: AtomicU64,
    shunned_until_ms: AtomicU64,
    refused_in_a_row: AtomicU32,
    drained: AtomicBool,
}

impl LoadCell {
    /// Attempts in flight now, all workers.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed).max(0).unsigned_abs()
    }

    /// Attempts since this process first saw the endpoint.
    pub fn attempts_total(&self) -> u64 {
        self.attempts.load(Relaxed)
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

    /// Notes that no connection could be made (UF-01). After [`SHUN_AFTER`] in a row the endpoint is left alone for a
    /// while, twice as long each time: a server that refuses at once has the lowest load of all, and would get every
    /// request. `now_ms` is of the process's clock.
    pub fn count_refused(&self, now_ms: u64) {
        let in_a_row = self.refused_in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        if let Some(times) = in_a_row.checked_sub(SHUN_AFTER) {
            let pause_ms = (SHUN_MS_MIN << times.min(16)).min(SHUN_MS_MAX);
            self.shunned_until_ms.store(now_ms + pause_ms, Relaxed);
        }
    }

    /// Notes that a connection was made.
    pub fn count_connected(&self) {
        if self.refused_in_a_row.load(Relaxed) != 0 {
            self.refused_in_a_row.store(0, Relaxed);
            self.shunned_until_ms.store(0, Relaxed);
        }
    }

    /// Whether the endpoint is left alone for now.
    pub fn is_shunned(&self) -> bool {
        self.shunned_until_ms.load(Relaxed) != 0
    }

    /// Gives the endpoint another chance once its pause is over; one more refusal shuns it again.
    pub fn readmit(&self, now_ms: u64) {
        let until_ms = self.shunned_until_ms.load(Relaxed);
        if until_ms != 0 && now_ms >= until_ms {
            let _ = self.shunned_until_ms.compare_exchange(until_ms, 0, Relaxed, Relaxed);
        }
    }

    /// Takes the endpoint out, or puts it back. Outlives reloads, as the cell does.
    pub fn set_drained(&self, drained: bool) {
        self.drained.store(drained, Relaxed);
    }
}

/// Leases given back that were never taken; must stay 0 (`ringway_load_underflow_total`).
pub fn underflow_total() -> u64 {
    UNDERFLOW.load(Relaxed)
}

static UNDERFLOW: AtomicU64 = AtomicU64::new(0);

/// One attempt's load on its endpoint, from dispatch to the last byte. Dropping it is the only release.
#[must_use = "a lease dropped at once counts nothing"]
#[derive(Debug)]
pub struct Lease {
    cell: Arc<LoadCell>,
}

impl Lease {
    /// Counts an attempt on this cell.
    pub fn take(cell: &Arc<LoadCell>) -> Self {
        cell.in_flight.fetch_add(1, Relaxed);
        cell.attempts.fetch_add(1, Relaxed);
        Self { cell: Arc::clone(cell) }
    }

    /// The cell it counts on.
    pub fn cell(&self) -> &LoadCell {
        &self.cell
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let before = self.cell.in_flight.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "a lease was given back twice");
        if before <= 0 {
            self.cell.in_flight.fetch_add(1, Relaxed);
            UNDERFLOW.fetch_add(1, Relaxed);
        }
    }
}

/// Where a worker keeps its connections to one endpoint at one set of addresses.
///
/// `index` is dense and small, made for `Vec` access. It is used again once no table holds its endpoint, and
/// then `id` differs: whoever finds another id under an index closes what it kept there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Dense from 0; stable over reloads for the same endpoint name and addresses.
    pub index: u32,
    /// Never the same twice in a process.
    pub id: u32,
}

/// A slot in use, and proof of it: the registry gives its index away again once all clones are gone.
#[derive(Clone, Debug)]
pub struct SlotHold(Arc<Slot>);

impl SlotHold {
    /// The slot that is held.
    pub fn slot(&self) -> Slot {
        *self.0
    }
}

/// A rotating counter; each backend has one, shared by all workers.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Turn(AtomicU32);

impl Turn {
    /// The next number; wraps.
    pub fn next(&self) -> u32 {
        self.0.fetch_add(1, Relaxed)
    }
}

/// All cells, slots and turns of the process, by name. One per process; tables are compiled against it.
#[derive(Debug, Default)]
pub struct Cells {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    cells: HashMap<Box<str>, Arc<LoadCell>>,
    turns: HashMap<Box<str>, Arc<Turn>>,
    seen: HashMap<Box<str>, Arc<Seen>>,
    slots: HashMap<SlotKey, Arc<Slot>>,
    free: Vec<u32>,
    next_index: u32,
    next_id: u32,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SlotKey {
    endpoint: Box<str>,
    addresses: Box<[SocketAddr]>,
}

impl Cells {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// The cell of this endpoint (`backend/authority`), new or as it was.
    pub fn cell(&self, endpoint: &str) -> Arc<LoadCell> {
        entry(&mut self.kept().cells, endpoint)
    }

    /// The turn of this backend, new or as it was.
    pub fn turn(&self, backend: &str) -> Arc<Turn> {
        entry(&mut self.kept().turns, backend)
    }

    /// What is seen of this endpoint (`backend/authority`), new or as it was.
    pub fn seen(&self, endpoint: &str) -> Arc<Seen> {
        entry(&mut self.kept().seen, endpoint)
    }

    /// The slot of this endpoint at these addresses, in any order.
    pub fn slot(&self, endpoint: &str, addresses: &[SocketAddr]) -> SlotHold {
        let mut addresses: Box<[SocketAddr]> = addresses.into();
        addresses.sort_unstable(); // a resolver may answer in any order
        self.kept().slot(SlotKey { endpoint: endpoint.into(), addresses })
    }

    /// Forgets what no table holds any more: frees slots always, cells and turns when there are too many.
    pub fn sweep(&self) {
        self.kept().sweep();
    }

    /// One more than the highest slot index ever given: the size for a `Vec` indexed by it.
    pub fn slots_len(&self) -> usize {
        self.kept().next_index as usize
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Every change under the lock is one insert or retain, so a panic leaves nothing half done.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry<V: Default>(map: &mut HashMap<Box<str>, Arc<V>>, name: &str) -> Arc<V> {
    if let Some(value) = map.get(name) {
        return Arc::clone(value);
    }
    Arc::clone(map.entry(name.into()).or_default())
}

impl Kept {
    fn slot(&mut self, key: SlotKey) -> SlotHold {
        if let Some(slot) = self.slots.get(&key) {
            return SlotHold(Arc::clone(slot));
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.next_index += 1;
            self.next_index - 1
        });
        let slot = Arc::new(Slot { index, id: self.next_id });
        self.next_id += 1;
        self.slots.insert(key, Arc::clone(&slot));
        SlotHold(slot)
    }

    fn sweep(&mut self) {
        let free = &mut self.free;
        self.slots.retain(|_, slot| {
            let held = Arc::strong_count(slot) > 1;
            if !held {
                free.push(slot.index);
            }
            held
        });
        // Totals of endpoints that went away are kept while there is room: a rollback finds them again.
        if self.cells.len() > CELLS_MAX {
            self.cells.retain(|_, cell| Arc::strong_count(cell) > 1);
        }
        if self.seen.len() > CELLS_MAX {
            self.seen.retain(|_, seen| Arc::strong_count(seen) > 1);
        }
        if self.turns.len() > CELLS_MAX {
            self.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_its_cache_lines_to_itself() {
        assert_eq!((size_of::<LoadCell>(), align_of::<LoadCell>()), (128, 128));
    }

    #[test]
    fn an_endpoint_that_refuses_in_a_row_is_left_alone_twice_as_long_each_time() {
        let cell = LoadCell::default();
        for _ in 1..SHUN_AFTER {
            cell.count_refused(0);
            assert!(!cell.is_shunned());
        }
        cell.count_refused(0);
        assert!(cell.is_shunned());
        cell.readmit(SHUN_MS_MIN - 1);
        assert!(cell.is_shunned());
        cell.readmit(SHUN_MS_MIN);
        assert!(!cell.is_shunned(), "its chance");
        cell.count_refused(SHUN_MS_MIN);
        cell.readmit(SHUN_MS_MIN + 2 * SHUN_MS_MIN - 1);
        assert!(cell.is_shunned(), "a refusal at its chance doubles the pause");
        cell.count_connected();
        assert!(!cell.is_shunned());
    }

    #[test]
    fn the_same_endpoint_keeps_its_cell_over_reloads() {
        let cells = Cells::new();
        let lease = Lease::take(&cells.cell("a/x:1"));
        cells.sweep();
        assert_eq!(cells.cell("a/x:1").in_flight(), 1);
        drop(lease);
        assert_eq!(cells.cell("a/x:1").in_flight(), 0);
        assert_eq!(cells.cell("a/x:1").attempts_total(), 1);
        assert_eq!(cells.cell("a/y:1").attempts_total(), 0);
    }

    #[test]
    fn a_panicking_attempt_gives_its_lease_back() {
        let cell = Arc::new(LoadCell::default());
        let inside = Arc::clone(&cell);
        let panicked = std::panic::catch_unwind(move || {
            let _lease = Lease::take(&inside);
            panic!("an attempt that panics");
        });
        assert!(panicked.is_err());
        assert_eq!(cell.in_flight(), 0);
    }

    #[test]
    fn many_threads_taking_and_giving_back_end_at_zero() {
        let cell = Arc::new(LoadCell::default());
        std::thread::scope(|scope| {
            for seed in 0..8 {
                let cell = &cell;
                scope.spawn(move || take_and_give_back(cell, seed, 2_000));
            }
        });
        assert_eq!(cell.in_flight(), 0);
        assert_eq!(cell.attempts_total(), 8 * 2_000);
        assert_eq!(underflow_total(), 0);
    }

    fn take_and_give_back(cell: &Arc<LoadCell>, seed: u64, attempts: usize) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut held = Vec::new();
        for _ in 0..attempts {
            held.push(Lease::take(cell));
            assert!(cell.in_flight() >= held.len() as u64, "our own leases at least are counted");
            while !held.is_empty() && rng.bool() {
                let _ = held.swap_remove(rng.usize(..held.len()));
            }
        }
    }

    #[test]
    fn a_slot_is_stable_for_the_same_name_and_addresses_in_any_order() {
        let cells = Cells::new();
        let [a, b] = ["10.0.0.1:80", "10.0.0.2:80"].map(|text| text.parse().expect("a literal address"));
        let first = cells.slot("x/a", &[a, b]);
        assert_eq!(cells.slot("x/a", &[b, a]).slot(), first.slot());
        let moved = cells.slot("x/a", &[b]);
        assert_ne!(moved.slot().index, first.slot().index, "connections to old addresses are kept apart");
        assert_eq!(cells.slots_len(), 2);
    }

    #[test]
    fn a_freed_index_comes_back_under_another_id() {
        let cells = Cells::new();
        let first = cells.slot("x/a", &[]).slot(); // let go at once
        let held = cells.slot("x/b", &[]);
        cells.sweep();
        let next = cells.slot("x/c", &[]).slot();
        assert_eq!(next.index, first.index);
        assert_ne!(next.id, first.id);
        assert_eq!(cells.slot("x/b", &[]).slot(), held.slot(), "a held slot stays");
    }
}
