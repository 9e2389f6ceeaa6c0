//! The connections of a fleet, by slot.
//!
//! Owns: slots and the keys that name their uses. Must not: read or write a socket.
//! Read next: `../connection.rs`.

use crate::{bounds::CONNECTIONS_MAX, connection::Connection, engine::Key};

/// The connections, by slot. A key names a slot and the number of its use, so that a late event of an engine
/// never reaches the slot's next owner.
#[derive(Default)]
pub(super) struct Slab {
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    uses: u64,
}

/// Bits of a key that hold the slot.
const SLOT_BITS: u32 = 24;
const _: () = assert!(CONNECTIONS_MAX < 1 << SLOT_BITS, "every slot fits a key");

impl Slab {
    pub(super) fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, connection: Connection) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(connection);
        slot
    }

    pub(super) fn get(&mut self, slot: usize) -> Option<&mut Connection> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<Connection> {
        let connection = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(connection)
    }

    pub(super) fn next_key(&mut self, slot: usize) -> (Key, &mut Connection) {
        self.uses += 1;
        let connection = self.slots[slot].as_mut().expect("its request is being served");
        (Key(self.uses << SLOT_BITS | slot as u64), connection)
    }

    /// The connection that waits for `key`, if it still does.
    pub(super) fn by_key(&mut self, key: Key) -> Option<(usize, &mut Connection)> {
        let slot = (key.0 & ((1 << SLOT_BITS) - 1)) as usize;
        let connection = self.get(slot)?;
        connection.exchange.as_ref().is_some_and(|exchange| exchange.key == key).then_some((slot, connection))
    }

    /// Takes out every connection to one server.
    pub(super) fn remove_all_of(&mut self, replica: usize) -> Vec<Connection> {
        let of = |slot: &Option<Connection>| slot.as_ref().is_some_and(|it| it.replica == replica);
        let slots: Vec<_> = (0..self.slots.len()).filter(|slot| of(&self.slots[*slot])).collect();
        slots.into_iter().filter_map(|slot| self.remove(slot)).collect()
    }
}
