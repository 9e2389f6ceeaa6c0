//! Block hash to the set of endpoints that hold the block: a hash table whose entries never move.
//!
//! Owns: tags and sets, 12 bytes an entry for up to 64 endpoints. An entry is in the emptier of two buckets of 16 that
//! its hash names, or in a third if both are full; so the table fills to 9 parts of 10 before a block finds no room.
//! Must not: be exact. A tag is 32 bits of the hash, beside the few that choose the bucket: two blocks in a billion look
//! alike, and then a request is sent where it costs more.
//! Read next: [`super::recency`], which says what is taken out.
//!
//! # Orderings
//! Everything is relaxed. Writers of one part exclude each other by its lock. Readers take none: what they read is a
//! hint, and the worst that an entry read while it changes hands can give is another block's set.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{BlockHash, Word};

const BUCKET: usize = 16; // tags of a bucket fill a cache line
const PARTS: usize = 64;

/// Where an entry is; it stays there for as long as an endpoint holds the block.
pub type Slot = u32;

#[derive(Debug)]
pub struct Shelf {
    /// 0: free.
    tags: Box<[AtomicU32]>,
    /// `words` for each tag.
    sets: Box<[Word]>,
    words: usize,
    buckets_per_part: u64,
    parts: Box<[Mutex<()>]>,
}

impl Shelf {
    /// Room for so many blocks and endpoints in so many words of 64.
    pub fn new(blocks: usize, words: usize) -> Self {
        let slots = blocks * 10 / 9; // two choices among sixteen find room up to here
        let parts = (slots / (4 * BUCKET)).clamp(1, PARTS);
        let buckets_per_part = slots.div_ceil(parts * BUCKET).max(1);
        let slots = parts * buckets_per_part * BUCKET;
        Self {
            tags: (0..slots).map(|_| AtomicU32::new(0)).collect(),
            sets: (0..slots * words).map(|_| Word::new(0)).collect(),
            words,
            buckets_per_part: buckets_per_part as u64,
            parts: (0..parts).map(|_| Mutex::new(())).collect(),
        }
    }

    /// Where the block is.
    #[inline]
    pub fn find(&self, hash: BlockHash) -> Option<Slot> {
        self.find_at(&self.home(hash))
    }

    #[inline]
    fn find_at(&self, home: &Home) -> Option<Slot> {
        home.buckets.iter().find_map(|bucket| self.find_in(*bucket, home.tag))
    }

    /// The endpoints that hold it, 64 at a time.
    #[inline]
    pub fn word(&self, slot: Slot, word: usize) -> u64 {
        self.sets[slot as usize * self.words + word].load(Relaxed)
    }

    /// Adds the endpoint to the block's set. None if there is no room for the block.
    pub fn put(&self, hash: BlockHash, endpoint: usize) -> Option<Slot> {
        let home = self.home(hash);
        let _part = self.lock(home.part);
        let slot = if let Some(slot) = self.find_at(&home) {
            slot
        } else {
            let slot = self.free_at(&home)?;
            self.tags[slot as usize].store(home.tag, Relaxed);
            slot
        };
        self.sets[slot as usize * self.words + endpoint / 64].fetch_or(1 << (endpoint % 64), Relaxed);
        Some(slot)
    }

    /// Takes the endpoint out of the set; a block that nobody holds is free.
    pub fn take(&self, slot: Slot, endpoint: usize) {
        let _part = self.lock(slot as usize / (self.buckets_per_part as usize * BUCKET));
        let sets = &self.sets[slot as usize * self.words..][..self.words];
        sets[endpoint / 64].fetch_and(!(1 << (endpoint % 64)), Relaxed);
        if sets.iter().all(|set| set.load(Relaxed) == 0) {
            self.tags[slot as usize].store(0, Relaxed);
        }
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.tags) + size_of_val(&*self.sets) + size_of_val(&*self.parts)
    }

    #[inline]
    fn find_in(&self, bucket: usize, tag: u32) -> Option<Slot> {
        let tags = &self.tags[bucket..bucket + BUCKET];
        let at = tags.iter().position(|kept| kept.load(Relaxed) == tag)?;
        Some((bucket + at) as Slot)
    }

    /// A free place in the emptier of the first two buckets, or else in the third.
    fn free_at(&self, home: &Home) -> Option<Slot> {
        let free = |bucket: usize| {
            let tags = self.tags[bucket..bucket + BUCKET].iter();
            tags.filter(|tag| tag.load(Relaxed) == 0).count()
        };
        let [first, second, third] = home.buckets;
        let bucket = if free(second) > free(first) { second } else { first };
        self.find_in(bucket, 0).or_else(|| self.find_in(third, 0))
    }

    #[inline]
    fn home(&self, hash: BlockHash) -> Home {
        let scaled = |bits: u32, range: u64| ((u64::from(bits) * range) >> 32) as usize;
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let part = scaled((mixed >> 32) as u32, self.parts.len() as u64);
        let bucket = |bits: u32| {
            (part * self.buckets_per_part as usize + scaled(bits, self.buckets_per_part)) * BUCKET
        };
        Home {
            part,
            buckets: [
                bucket((hash >> 32) as u32),
                bucket((hash >> 16) as u32 ^ mixed as u32),
                bucket((mixed >> 16) as u32),
            ],
            tag: (hash as u32).max(1),
        }
    }

    fn lock(&self, part: usize) -> MutexGuard<'_, ()> {
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner) // guards no data of its own
    }
}

/// Where a hash may stand.
#[derive(Clone, Copy)]
struct Home {
    part: usize,
    buckets: [usize; 3],
    tag: u32,
}
