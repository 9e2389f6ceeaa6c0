//! The adapter slots of one engine.
//!
//! Owns: which adapters are resident. Must not: know requests; who runs with what is told.
//! Read next: `engine.rs`.

/// An adapter, by its place in the list a server was started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Adapter(pub u16);

/// The resident adapters, the one used longest ago first.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    resident: Vec<Adapter>,
    count: usize,
    loads: u64,
}

/// What having an adapter ready takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    Resident,
    Loaded,
    /// Every slot has a running request.
    Never,
}

impl Slots {
    pub(crate) fn new(count: usize) -> Self {
        Self { resident: Vec::with_capacity(count), count, loads: 0 }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn loads(&self) -> u64 {
        self.loads
    }

    pub(crate) fn used(&self) -> usize {
        self.resident.len()
    }

    /// Makes an adapter resident if a slot can be had. `runs` says who must stay.
    pub(crate) fn ready(&mut self, adapter: Adapter, runs: impl Fn(Adapter) -> bool) -> Ready {
        if self.touch(adapter) {
            return Ready::Resident;
        }
        if self.resident.len() >= self.count {
            let Some(idle) = self.resident.iter().position(|resident| !runs(*resident)) else {
                return Ready::Never;
            };
            self.resident.remove(idle);
        }
        self.resident.push(adapter);
        self.loads += 1;
        Ready::Loaded
    }

    /// Marks an adapter as just used; says whether it is resident.
    pub(crate) fn touch(&mut self, adapter: Adapter) -> bool {
        let Some(at) = self.resident.iter().position(|resident| *resident == adapter) else { return false };
        self.resident[at..].rotate_left(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_adapter_used_longest_ago_makes_room_unless_it_runs() {
        let mut slots = Slots::new(2);
        let nobody = |_| false;
        assert_eq!(slots.ready(Adapter(1), nobody), Ready::Loaded);
        assert_eq!(slots.ready(Adapter(2), nobody), Ready::Loaded);
        assert_eq!(slots.ready(Adapter(1), nobody), Ready::Resident);
        assert_eq!(slots.ready(Adapter(3), |adapter| adapter == Adapter(2)), Ready::Loaded);
        assert!(slots.touch(Adapter(2)) && !slots.touch(Adapter(1)));
        assert_eq!(slots.ready(Adapter(1), |_| true), Ready::Never);
        assert_eq!(slots.loads(), 3);
    }
}
