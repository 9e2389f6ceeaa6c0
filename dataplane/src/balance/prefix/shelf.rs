//! Block hash to the set of endpoints that hold the block: a hash table whose entries never move.
//!
//! Owns: tags and sets, 12 bytes an entry for up to 64 endpoints. An entry is in the emptiest of three buckets of 16 that
//! its hash names; so with 8.9 parts of 10 in use, and after any number of changes, one block in 5,000 finds no room.
//! A lookup steps over one that is missing.
//! Must not: be exact. A tag is 32 bits of the hash, beside the few that choose the bucket: two blocks in a billion look
//! alike, and then a request is sent where it costs more.
//! Read next: [`super::recency`], which says what is taken out.
//!
//! # Orderings
//! Everything is relaxed. Writers of one part exclude each other by its lock. Readers take none: what they read is a
//! hint, and the worst that an entry read while it changes hands can give is another block's set.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{BlockHash, Word};

const BUCKET: usize = 16; // tags of a bucket fill a cache line
const PARTS: usize = 64;

/// Where an entry is; it stays there for as long as an endpoint holds the block.
pub type Slot = u32;

#[derive(Debug)]
pub struct Shelf {
    /// Two to a word; 0: free.
    tags: Box<[AtomicU64]>,
    /// `words` for each tag.
    sets: Box<[Word]>,
    words: usize,
    buckets_per_part: u64,
    parts: Box<[Mutex<()>]>,
}

impl Shelf {
    /// Room for so many blocks and endpoints in so many words of 64.
    pub fn new(blocks: usize, words: usize) -> Self {
        let slots = blocks * 1_000 / 886; // all that memory allows; one block in thousands finds no room
        let parts = (slots / (4 * BUCKET)).clamp(1, PARTS);
        let buckets_per_part = slots.div_ceil(parts * BUCKET).max(1);
        let slots = parts * buckets_per_part * BUCKET;
        Self {
            tags: (0..slots / 2).map(|_| AtomicU64::new(0)).collect(),
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

    /// Adds the endpoint to the block's set; says whether it was in it. None if there is no room for the block.
    pub fn put(&self, hash: BlockHash, endpoint: usize) -> Option<(Slot, bool)> {
        let home = self.home(hash);
        let _part = self.lock(home.part);
        let slot = if let Some(slot) = self.find_at(&home) {
            slot
        } else {
            let slot = self.free_at(&home)?;
            self.set_tag(slot, home.tag);
            slot
        };
        let bit = 1 << (endpoint % 64);
        let before = self.sets[slot as usize * self.words + endpoint / 64].fetch_or(bit, Relaxed);
        Some((slot, before & bit != 0))
    }

    /// Takes the endpoint out of the set; a block that nobody holds is free.
    pub fn take(&self, slot: Slot, endpoint: usize) {
        let _part = self.lock(slot as usize / (self.buckets_per_part as usize * BUCKET));
        let sets = &self.sets[slot as usize * self.words..][..self.words];
        sets[endpoint / 64].fetch_and(!(1 << (endpoint % 64)), Relaxed);
        if sets.iter().all(|set| set.load(Relaxed) == 0) {
            self.set_tag(slot, 0);
        }
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.tags) + size_of_val(&*self.sets) + size_of_val(&*self.parts)
    }

    #[inline]
    fn find_in(&self, bucket: usize, tag: u32) -> Option<Slot> {
        let words = &self.tags[bucket / 2..][..BUCKET / 2];
        words.iter().enumerate().find_map(|(at, word)| {
            let same = equal_halves(word.load(Relaxed), tag);
            (same != 0).then(|| (bucket + 2 * at) as Slot + same.trailing_zeros() / 32)
        })
    }

    /// Which entries of a bucket are free: the top bits of the halves of its words, moved together.
    #[inline]
    fn free_in(&self, bucket: usize) -> u32 {
        let words = self.tags[bucket / 2..][..BUCKET / 2].iter().enumerate();
        words.fold(0, |bits, (at, word)| {
            let halves = equal_halves(word.load(Relaxed), 0);
            bits | (((halves >> 31 & 1) | (halves >> 62 & 2)) as u32) << (2 * at)
        })
    }

    /// Writes a tag; call it under the lock of its part.
    fn set_tag(&self, slot: Slot, tag: u32) {
        let shift = slot % 2 * 32;
        let word = &self.tags[slot as usize / 2];
        let other = word.load(Relaxed) & !(u64::from(u32::MAX) << shift);
        word.store(other | u64::from(tag) << shift, Relaxed);
    }

    /// A free place in the emptiest of its buckets.
    fn free_at(&self, home: &Home) -> Option<Slot> {
        let free = home.buckets.map(|bucket| (bucket, self.free_in(bucket)));
        let (bucket, free) = free.into_iter().max_by_key(|(_, free)| free.count_ones())?;
        place(bucket, free)
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

/// The top bit of each half of the word that is this tag: two comparisons in one, without a branch.
#[inline]
const fn equal_halves(word: u64, tag: u32) -> u64 {
    const TOPS: u64 = 0x8000_0000_8000_0000;
    let differing = word ^ (tag as u64 | (tag as u64) << 32);
    !(((differing & !TOPS) + !TOPS) | differing) & TOPS
}

/// The first of these entries of a bucket.
#[inline]
fn place(bucket: usize, bits: u32) -> Option<Slot> {
    (bits != 0).then(|| bucket as Slot + bits.trailing_zeros())
}

/// Where a hash may stand.
#[derive(Clone, Copy)]
struct Home {
    part: usize,
    buckets: [usize; 3],
    tag: u32,
}
