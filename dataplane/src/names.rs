//! Names of routes, backends and endpoints, kept for the life of the process.
//!
//! Owns: the interner. A [`Name`] is an index and a `&'static str`, so records of the
//! hot path carry names without counting references, and metrics index by them.
//! Must not: take a name from a caller. Only names of compiled snapshots come in, so the set is bounded by
//! what operators write, and [`NAMES_MAX`] bounds even that.
//! Read next: [`crate::table`].

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::bounds::{ENDPOINT_NAME_BYTES_MAX, NAMES_MAX};

/// A name that lives as long as the process. Two are equal if their texts are.
#[derive(Clone, Copy)]
pub struct Name {
    id: u32,
    text: &'static str,
}

impl Name {
    /// What names beyond [`NAMES_MAX`] are called.
    pub const OTHER: Self = Self { id: 0, text: "other" };

    /// The name with this text; the same text gives the same id for as long as the process lives.
    pub fn intern(text: &str) -> Self {
        // A panic while the lock is held leaves the maps whole: each insert is one step.
        NAMES.lock().unwrap_or_else(PoisonError::into_inner).intern(text)
    }

    /// The name with this id, if there is one.
    pub fn by_id(id: u32) -> Option<Self> {
        let names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        names.texts.get(id as usize).map(|&text| Self { id, text })
    }

    /// How many names there are; ids are below it.
    pub fn count() -> usize {
        NAMES.lock().unwrap_or_else(PoisonError::into_inner).texts.len()
    }

    /// Its index, dense from 0 and below [`NAMES_MAX`].
    pub const fn id(self) -> u32 {
        self.id
    }

    /// Its text.
    pub const fn as_str(self) -> &'static str {
        self.text
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Name {}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.text, self.id)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text)
    }
}

static NAMES: LazyLock<Mutex<Interner>> = LazyLock::new(|| Mutex::new(Interner::with_room_for(NAMES_MAX)));

struct Interner {
    ids: HashMap<&'static str, u32>,
    texts: Vec<&'static str>,
    room: usize,
}

impl Interner {
    fn with_room_for(room: usize) -> Self {
        let other = Name::OTHER.text;
        Self { ids: HashMap::from([(other, 0)]), texts: vec![other], room }
    }

    fn intern(&mut self, text: &str) -> Name {
        if let Some((&text, &id)) = self.ids.get_key_value(text) {
            return Name { id, text };
        }
        if self.texts.len() >= self.room || text.len() > ENDPOINT_NAME_BYTES_MAX {
            return Name::OTHER;
        }
        let text: &'static str = Box::leak(Box::<str>::from(text));
        let id = self.texts.len() as u32;
        self.ids.insert(text, id);
        self.texts.push(text);
        Name { id, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_the_same_name() {
        let (a, b) = (Name::intern("names-test/a"), Name::intern("names-test/a"));
        assert_eq!((a, a.id()), (b, b.id()));
        assert!(std::ptr::eq(a.as_str(), b.as_str()), "interned once");
        assert_ne!(a, Name::intern("names-test/b"));
        assert_eq!(Name::by_id(a.id()), Some(a));
        assert_eq!(Name::by_id(u32::MAX), None);
        assert!((a.id() as usize) < Name::count());
    }

    #[test]
    fn names_beyond_the_bound_share_one() {
        let mut names = Interner::with_room_for(3);
        let (a, b) = (names.intern("a"), names.intern("b"));
        assert_eq!((a.id(), b.id()), (1, 2));
        assert_eq!(names.intern("c"), Name::OTHER);
        assert_eq!(names.intern("a"), a, "those that came in time stay");
        assert_eq!(names.intern("other").id(), 0);
    }

    #[test]
    fn an_overlong_name_is_not_kept() {
        let mut names = Interner::with_room_for(3);
        assert_eq!(names.intern(&"x".repeat(ENDPOINT_NAME_BYTES_MAX + 1)), Name::OTHER);
        assert_eq!(names.texts.len(), 1);
    }
}
