//! `balance: gpu`: which LoRA adapters the endpoints of a backend have in memory, as far as can be told.
//!
//! Owns: which models are adapters, and for each endpoint the adapters it used last: those it was sent requests for, and
//! those it reports. Engines keep the last used ones too, as many as they have slots, and do not list those that idle.
//! Must not: lock where it is asked. Entering an adapter that is new to an endpoint does: its engine loads it meanwhile.
//! Read next: [`super::score`], where it costs.

use std::collections::HashSet;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringway_contract::load::ReportedAdapters;
use ringway_contract::{snapshot, stats};
use xxhash_rust::xxh3::xxh3_64;

use crate::bounds::{ADAPTER_LABEL_BYTES_MAX, ADAPTER_SLOTS_MAX, ADAPTER_USED_MS_MAX, MODEL_BYTES_MAX};
use crate::clock::Moment;
use crate::table::glob::Glob;

/// An adapter, as far as it is told from others: a digest of its name. Two names with one digest share a cost, no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adapter(NonZeroU64);

impl Adapter {
    /// The adapter of this name.
    pub fn named(name: &[u8]) -> Self {
        Self(NonZeroU64::new(xxh3_64(name)).unwrap_or(NonZeroU64::MAX))
    }

    /// What tells its prompts from those of others.
    pub fn seed(self) -> [u8; 8] {
        self.0.get().to_le_bytes()
    }
}

/// Whether an endpoint has an adapter in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residence {
    /// It is there.
    Here,
    /// It is not, and a slot is free.
    Room,
    /// It is not, and one has to go.
    Full,
}

/// An adapter that a request asks for, among those of a backend.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'a> {
    /// All of them.
    pub among: &'a Adapters,
    /// The one.
    pub adapter: Adapter,
}

/// The adapters of a backend.
#[derive(Debug)]
pub struct Adapters {
    names: HashSet<Box<[u8]>>,
    globs: Box<[Glob]>,
    /// Slots of each endpoint, where the operator says how many.
    slots: Option<u32>,
    members: Box<[Arc<Resident>]>,
}

impl Adapters {
    /// Those of this configuration; `members` are its endpoints, in their order.
    pub fn new(lora: &snapshot::Lora, members: impl IntoIterator<Item = Arc<Resident>>) -> Self {
        let (globs, names): (Vec<_>, Vec<_>) = lora.adapters.iter().partition(|it| it.contains(['*', '?']));
        Self {
            names: names.into_iter().map(|name| name.as_bytes().into()).collect(),
            globs: globs.into_iter().map(|glob| Glob::new(glob)).collect(),
            slots: lora.slots,
            members: members.into_iter().collect(),
        }
    }

    /// The adapter that the backend is asked for by this model, if it is one.
    pub fn named(&self, model: &[u8]) -> Option<Adapter> {
        let ours = || self.names.contains(model) || self.globs.iter().any(|glob| glob.matches(model));
        (model.len() <= MODEL_BYTES_MAX && ours()).then(|| Adapter::named(model))
    }

    /// Whether the endpoint at this place has it, whose server began then.
    pub fn residence(&self, at: usize, adapter: Adapter, began: Moment, now: Moment) -> Residence {
        let member = &self.members[at];
        member.residence(adapter, self.slots_of(member), since_us(began, now))
    }

    /// A request for it goes to the endpoint at this place. The name is only written down where it is new.
    pub fn sent(&self, at: usize, adapter: Adapter, name: &[u8], now: Moment) {
        let member = &self.members[at];
        member.used(adapter, name, self.slots_of(member), now);
    }

    /// The endpoint at this place reported these as in use at that time.
    pub fn heard(&self, at: usize, reported: &ReportedAdapters, taken_at: Moment) {
        let member = &self.members[at];
        if let Some(slots) = reported.slots {
            member.reported.store(slots, Relaxed);
        }
        for name in reported.named.iter().take(ADAPTER_SLOTS_MAX) {
            member.used(Adapter::named(name.as_bytes()), name.as_bytes(), self.slots_of(member), taken_at);
        }
    }

    /// What the endpoint at this place is taken to have, to be shown.
    pub fn shown(&self, at: usize, began: Moment, now: Moment) -> stats::Adapters {
        let member = &self.members[at];
        let slots = self.slots_of(member);
        stats::Adapters { resident: member.shown(slots, since_us(began, now)), slots: slots as u32 }
    }

    /// What is written goes first, then what is reported; one is what engines begin with when nobody says.
    fn slots_of(&self, member: &Resident) -> usize {
        let reported = || Some(member.reported.load(Relaxed)).filter(|slots| *slots > 0);
        let slots = self.slots.or_else(reported).unwrap_or(1) as usize;
        slots.clamp(1, ADAPTER_SLOTS_MAX)
    }
}

/// What was used before is not known to be there any more: another gateway may have asked for others since, and a server
/// that began again has none. Never 0, which is what a free place says.
fn since_us(began: Moment, now: Moment) -> u64 {
    now.us().saturating_sub(ADAPTER_USED_MS_MAX * 1_000).max(began.us()).max(1)
}

/// The adapters that one endpoint used last; shared by workers, and over reloads.
#[derive(Debug)]
pub struct Resident {
    /// As many of the first ones count as it has slots.
    places: Box<[Place]>,
    /// Slots it reports; 0: it does not say.
    reported: AtomicU32,
    labels: Mutex<Box<[Label]>>,
}

/// An adapter in memory.
#[derive(Debug, Default)]
struct Place {
    adapter: AtomicU64,
    /// 0: never.
    used_us: AtomicU64,
}

/// What a name is shown as. Of a fixed size: whoever dispatches allocates nothing.
#[derive(Clone, Copy, Debug)]
struct Label {
    bytes: [u8; ADAPTER_LABEL_BYTES_MAX],
    len: u8,
}

const _: () = assert!(ADAPTER_LABEL_BYTES_MAX <= u8::MAX as usize, "a label keeps its length in a byte");

impl Default for Resident {
    fn default() -> Self {
        let label = Label { bytes: [0; ADAPTER_LABEL_BYTES_MAX], len: 0 };
        Self {
            places: (0..ADAPTER_SLOTS_MAX).map(|_| Place::default()).collect(),
            reported: AtomicU32::new(0),
            labels: Mutex::new(vec![label; ADAPTER_SLOTS_MAX].into()),
        }
    }
}

impl Resident {
    fn residence(&self, adapter: Adapter, slots: usize, since_us: u64) -> Residence {
        let mut taken = 0;
        for place in &self.places[..slots] {
            if place.used_us.load(Relaxed) < since_us {
                continue;
            }
            if place.adapter.load(Relaxed) == adapter.0.get() {
                return Residence::Here;
            }
            taken += 1;
        }
        if taken < slots { Residence::Room } else { Residence::Full }
    }

    fn used(&self, adapter: Adapter, name: &[u8], slots: usize, when: Moment) {
        match self.place_of(adapter, slots) {
            Some(place) => place.used_at(when),
            None => self.enter(adapter, name, slots, when),
        }
    }

    fn place_of(&self, adapter: Adapter, slots: usize) -> Option<&Place> {
        self.places[..slots].iter().find(|place| place.adapter.load(Relaxed) == adapter.0.get())
    }

    /// Puts it in the place of the one that was used longest ago, as an engine does.
    #[cold]
    fn enter(&self, adapter: Adapter, name: &[u8], slots: usize, when: Moment) {
        let mut labels = self.labels();
        if let Some(place) = self.place_of(adapter, slots) {
            return place.used_at(when); // another thread was faster
        }
        let places = self.places[..slots].iter().zip(labels.iter_mut());
        let oldest = places.min_by_key(|(place, _)| place.used_us.load(Relaxed));
        let Some((place, label)) = oldest else { return };
        if place.used_us.load(Relaxed) > when.us() {
            return; // a late report: all that is there was used since
        }
        // Whoever looks meanwhile sees the old one or the new one, or a place that nobody has.
        place.used_us.store(0, Relaxed);
        place.adapter.store(adapter.0.get(), Relaxed);
        place.used_at(when);
        *label = Label::new(name);
    }

    fn shown(&self, slots: usize, since_us: u64) -> Vec<String> {
        let labels = self.labels();
        let places = self.places[..slots].iter().map(|place| place.used_us.load(Relaxed));
        let mut shown: Vec<_> =
            places.zip(labels.iter()).filter(|(used_us, _)| *used_us >= since_us).collect();
        shown.sort_by_key(|(used_us, _)| std::cmp::Reverse(*used_us));
        shown.into_iter().map(|(_, label)| label.text()).collect()
    }

    fn labels(&self) -> MutexGuard<'_, Box<[Label]>> {
        // A panic leaves a label of the old name at worst.
        self.labels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Two threads at once: the later of both may be lost, and with it microseconds.
    fn used_at(&self, when: Moment) {
        let us = when.us().max(1);
        if us > self.used_us.load(Relaxed) {
            self.used_us.store(us, Relaxed);
        }
    }
}

impl Label {
    fn new(name: &[u8]) -> Self {
        let len = name.len().min(ADAPTER_LABEL_BYTES_MAX);
        let mut bytes = [0; ADAPTER_LABEL_BYTES_MAX];
        bytes[..len].copy_from_slice(&name[..len]);
        Self { bytes, len: len as u8 }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes[..self.len.into()]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const NOW: Moment = Moment::from_ms(100_000);

    fn adapters(slots: Option<u32>, members: usize) -> Adapters {
        let lora = snapshot::Lora { adapters: vec!["poet".to_owned(), "law-*".to_owned()], slots };
        Adapters::new(&lora, (0..members).map(|_| Arc::default()))
    }

    fn later(ms: u64) -> Moment {
        Moment::from_ms(100_000 + ms)
    }

    fn send(adapters: &Adapters, at: usize, name: &str, now: Moment) {
        adapters.sent(at, Adapter::named(name.as_bytes()), name.as_bytes(), now);
    }

    fn is(adapters: &Adapters, at: usize, name: &str, now: Moment) -> Residence {
        adapters.residence(at, Adapter::named(name.as_bytes()), Moment::default(), now)
    }

    fn reported(named: &[&str], slots: Option<u32>) -> ReportedAdapters {
        ReportedAdapters { named: named.iter().map(|&name| name.to_owned()).collect(), slots }
    }

    #[test]
    fn an_adapter_is_a_model_that_is_listed_whole_or_by_a_glob() {
        let adapters = adapters(None, 1);
        assert_eq!(adapters.named(b"poet"), Some(Adapter::named(b"poet")));
        assert_eq!(adapters.named(b"law-7"), Some(Adapter::named(b"law-7")));
        assert_ne!(adapters.named(b"law-7"), adapters.named(b"law-8"));
        assert!([&b"llama"[..], b"", b"poets"].iter().all(|model| adapters.named(model).is_none()));
        let long = [b"law-".as_slice(), &[b'x'; MODEL_BYTES_MAX]].concat();
        assert_eq!(adapters.named(&long), None, "no configuration can name it, and no report");
    }

    #[test]
    fn what_was_sent_is_there_and_the_one_used_longest_ago_makes_room() {
        let adapters = adapters(Some(2), 2);
        assert_eq!(is(&adapters, 0, "a", NOW), Residence::Room);
        send(&adapters, 0, "a", NOW);
        assert_eq!(
            (is(&adapters, 0, "a", NOW), is(&adapters, 0, "b", NOW)),
            (Residence::Here, Residence::Room)
        );
        assert_eq!(is(&adapters, 1, "a", NOW), Residence::Room, "each endpoint has its own");
        send(&adapters, 0, "b", later(1));
        assert_eq!(is(&adapters, 0, "c", later(1)), Residence::Full);
        send(&adapters, 0, "a", later(2));
        send(&adapters, 0, "c", later(3));
        let now = ["a", "b", "c"].map(|name| is(&adapters, 0, name, later(3)));
        assert_eq!(now, [Residence::Here, Residence::Full, Residence::Here]);
        assert_eq!(adapters.shown(0, Moment::default(), later(3)).resident, ["c", "a"]);
    }

    #[test]
    fn after_a_minute_and_after_a_restart_nothing_is_known() {
        let adapters = adapters(Some(1), 1);
        send(&adapters, 0, "a", NOW);
        assert_eq!(is(&adapters, 0, "a", later(ADAPTER_USED_MS_MAX)), Residence::Here);
        assert_eq!(is(&adapters, 0, "a", later(ADAPTER_USED_MS_MAX + 1)), Residence::Room);
        assert_eq!(is(&adapters, 0, "b", later(ADAPTER_USED_MS_MAX + 1)), Residence::Room);
        let a = Adapter::named(b"a");
        assert_eq!(adapters.residence(0, a, later(1), later(2)), Residence::Room, "its server began again");
        assert!(adapters.shown(0, later(1), later(2)).resident.is_empty());
        send(&adapters, 0, "a", later(3));
        assert_eq!(adapters.residence(0, a, later(1), later(3)), Residence::Here);
    }

    #[test]
    fn what_is_reported_is_there_too_and_says_how_many_fit() {
        let adapters = adapters(None, 1);
        assert_eq!(adapters.shown(0, Moment::default(), NOW).slots, 1, "until somebody says");
        adapters.heard(0, &reported(&["a", "b"], Some(3)), NOW);
        send(&adapters, 0, "c", later(1));
        let now = ["a", "b", "c", "d"].map(|name| is(&adapters, 0, name, later(1)));
        assert_eq!(now, [Residence::Here, Residence::Here, Residence::Here, Residence::Full]);
        adapters.heard(0, &reported(&["late"], Some(3)), Moment::from_ms(99_000));
        assert_eq!(is(&adapters, 0, "late", later(1)), Residence::Full, "what is there was used since");
        adapters.heard(0, &reported(&[], None), later(2));
        assert_eq!(is(&adapters, 0, "a", later(2)), Residence::Here, "what idles is not listed");
        adapters.heard(0, &reported(&[], Some(1)), later(3));
        assert_eq!(adapters.shown(0, Moment::default(), later(3)).slots, 1);
    }

    #[test]
    fn what_is_written_of_slots_goes_before_what_is_reported_and_all_is_bounded() {
        let written = adapters(Some(2), 1);
        written.heard(0, &reported(&[], Some(9)), NOW);
        assert_eq!(written.shown(0, Moment::default(), NOW).slots, 2);
        let lying = adapters(None, 1);
        let many: Vec<String> = (0..2 * ADAPTER_SLOTS_MAX).map(|number| "x".repeat(number + 1)).collect();
        lying.heard(0, &ReportedAdapters { named: many, slots: Some(u32::MAX) }, NOW);
        let shown = lying.shown(0, Moment::default(), NOW);
        assert_eq!((shown.slots, shown.resident.len()), (ADAPTER_SLOTS_MAX as u32, ADAPTER_SLOTS_MAX));
        assert!(shown.resident.iter().all(|name| name.len() <= ADAPTER_LABEL_BYTES_MAX));
    }

    #[test]
    fn threads_that_enter_the_same_adapter_enter_it_once() {
        let adapters = adapters(Some(8), 1);
        thread::scope(|scope| {
            for thread in 0..4_u64 {
                let adapters = &adapters;
                scope.spawn(move || {
                    for turn in 0..1_000 {
                        send(adapters, 0, ["a", "b", "c"][(turn as usize) % 3], later(thread + turn));
                    }
                });
            }
        });
        let mut resident = adapters.shown(0, Moment::default(), later(1_000)).resident;
        resident.sort_unstable();
        assert_eq!(resident, ["a", "b", "c"]);
    }
}
