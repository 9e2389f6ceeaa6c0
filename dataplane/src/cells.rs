//! The load of every endpoint, shared by all workers, and the slots of their connections.
//!
//! Owns: one [`LoadCell`] per endpoint name and one [`Slot`] per endpoint and addresses; both survive reloads,
//! so a new table goes on counting where the old one is. [`Lease`] is the only way to count an attempt.
//! Must not: lock or allocate per request. The registry's lock is taken when a table is compiled.
//! Read next: [`cell`], [`life`] and [`lease`]; then [`crate::balance`], which reads the cells.

pub(crate) mod atomic;
pub mod cell;
pub mod lease;
pub mod life;
pub mod unary;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::hmac;

pub use self::cell::{Intake, LoadCell, Report};
pub use self::lease::{Lease, Prefill};
pub use self::life::{Counts, Fresh, Load, Said};
use crate::admission::line::Line;
use crate::balance::adapters::Resident;
use crate::balance::gpu::Known;
use crate::balance::prefix::blocks::Key;
use crate::bounds::CELLS_MAX;
use crate::health::HealthCell;
use crate::seen::Seen;
use crate::session;

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

/// All cells, slots and turns of the process, by name, and what is known of caches. One per process; tables are
/// compiled against it.
#[derive(Debug)]
pub struct Cells {
    kept: Mutex<Kept>,
    prompt_key: Arc<Key>,
    public_key: Arc<Key>,
    session_key: Arc<hmac::Key>,
}

impl Default for Cells {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            prompt_key: Arc::new(Key::secret()),
            public_key: Arc::new(Key::public()),
            session_key: Arc::new(session::own_key()),
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    cells: HashMap<Box<str>, Arc<LoadCell>>,
    health: HashMap<Box<str>, Arc<HealthCell>>,
    turns: HashMap<Box<str>, Arc<Turn>>,
    lines: HashMap<Box<str>, Arc<Line>>,
    known: HashMap<Box<str>, Arc<Known>>,
    resident: HashMap<Box<str>, Arc<Resident>>,
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

    /// An empty registry whose prompts are hashed with a key that is handed in: a simulation gives the same result each
    /// time.
    pub fn with_prompt_key(key: Key) -> Self {
        Self { prompt_key: Arc::new(key), ..Self::default() }
    }

    /// The cell of this endpoint (`backend/authority`), new or as it was.
    pub fn cell(&self, endpoint: &str) -> Arc<LoadCell> {
        entry(&mut self.kept().cells, endpoint)
    }

    /// The health of this endpoint (`backend/authority`), new or as it was.
    pub fn health(&self, endpoint: &str) -> Arc<HealthCell> {
        let mut kept = self.kept();
        if let Some(health) = kept.health.get(endpoint) {
            return Arc::clone(health);
        }
        let health = Arc::new(HealthCell::new(entry(&mut kept.cells, endpoint)));
        kept.health.insert(endpoint.into(), Arc::clone(&health));
        health
    }

    /// The queue of this backend, new or as it was.
    pub fn line(&self, backend: &str) -> Arc<Line> {
        entry(&mut self.kept().lines, backend)
    }

    /// The turn of this backend, new or as it was.
    pub fn turn(&self, backend: &str) -> Arc<Turn> {
        entry(&mut self.kept().turns, backend)
    }

    /// The key of this process, which prompts are hashed with for the prefix index.
    pub fn prompt_key(&self) -> Arc<Key> {
        Arc::clone(&self.prompt_key)
    }

    /// The key of every process, which prompts are hashed with for `balance: hash`.
    pub fn public_key(&self) -> Arc<Key> {
        Arc::clone(&self.public_key)
    }

    /// The key of this process, which tokens of sessions are authenticated with where the configuration brings none.
    pub fn session_key(&self) -> Arc<hmac::Key> {
        Arc::clone(&self.session_key)
    }

    /// What is known of the caches of this backend's endpoints (name and blocks each): as it was if they are the same
    /// ones, else nothing but the ratio.
    pub fn known(&self, backend: &str, members: Box<[(Box<str>, usize)]>) -> Arc<Known> {
        let mut kept = self.kept();
        let before = kept.known.get(backend);
        if let Some(known) = before.filter(|known| known.is_about(&members)) {
            return Arc::clone(known);
        }
        let ratio = before.map_or_else(Arc::default, |known| known.ratio());
        let known = Arc::new(Known::new(members, ratio));
        kept.known.insert(backend.into(), Arc::clone(&known));
        known
    }

    /// The adapters of this endpoint (`backend/authority`), new or as they were.
    pub fn resident(&self, endpoint: &str) -> Arc<Resident> {
        entry(&mut self.kept().resident, endpoint)
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
        self.known.retain(|_, known| Arc::strong_count(known) > 1); // megabytes each
        self.resident.retain(|_, resident| Arc::strong_count(resident) > 1); // stale a minute later
        // Totals of endpoints that went away are kept while there is room: a rollback finds them again.
        if self.health.len() > CELLS_MAX {
            self.health.retain(|_, health| Arc::strong_count(health) > 1);
        }
        if self.cells.len() > CELLS_MAX {
            self.cells.retain(|_, cell| Arc::strong_count(cell) > 1);
        }
        if self.seen.len() > CELLS_MAX {
            self.seen.retain(|_, seen| Arc::strong_count(seen) > 1);
        }
        if self.lines.len() > CELLS_MAX {
            self.lines.retain(|_, line| Arc::strong_count(line) > 1);
        }
        if self.turns.len() > CELLS_MAX {
            self.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod registry_tests {
    use super::*;

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
