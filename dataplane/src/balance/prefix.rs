//! Which endpoint has how much of a prompt in its KV cache, as far as we sent it there.
//!
//! Owns: the index of one backend, shared by all workers: block hash to the set of endpoints that hold it, and per
//! endpoint an LRU as large as its KV cache.
//! Must not: be asked for truth. An engine evicts as it likes; a wrong match costs time and nothing else.
//! Read next: [`blocks`] (prompt to hashes), [`shelf`] (hash to endpoints), [`recency`] (what goes first).
//!
//! A lookup walks the chain of hashes once for all endpoints: it ANDs the sets along it and notes where each endpoint
//! drops out, so it costs by the longest match and not by the number of endpoints. It takes no lock. An insert locks
//! the one endpoint's LRU, and inside it, for each block, the part of the shelf where the block stands.

pub mod blocks;
mod recency;
mod shelf;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::recency::Recency;
use self::shelf::Shelf;
use crate::bounds::{BLOCKS_MAX, BLOCKS_PER_ENDPOINT_MAX, INSERT_BATCH_BLOCKS};

/// The hash of a block and of everything before it.
pub type BlockHash = u64;

/// How much of a prompt each endpoint holds. Kept and used again: a lookup allocates nothing once it is warm.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    blocks: u64,
    preamble: u16,
    lengths: Vec<u16>,
    left: Vec<u64>,
}

impl Matches {
    /// A prompt of so many blocks, and how many of them each endpoint holds; for tests and simulations.
    pub fn of(blocks: u64, lengths: &[u16]) -> Self {
        Self { blocks, preamble: 0, lengths: lengths.to_vec(), left: Vec::new() }
    }

    /// Blocks of the whole prompt: what a match is a share of.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Notes that the prompt has more blocks than were looked up: an unfinished one, and those beyond the bound.
    pub fn set_blocks(&mut self, blocks: u64) {
        self.blocks = blocks;
    }

    /// Blocks that the endpoint at this place holds, from the first one on.
    pub fn len(&self, at: usize) -> u16 {
        self.lengths.get(at).copied().unwrap_or(0)
    }

    /// Whether nobody holds anything.
    pub fn is_empty(&self) -> bool {
        self.lengths.iter().all(|length| *length == 0)
    }

    /// Blocks that at least 80 % of the endpoints hold: what all prompts have in common tells nothing.
    pub fn preamble(&self) -> u16 {
        self.preamble
    }

    /// Forgets everything, for a prompt of so many blocks.
    pub fn clear(&mut self, blocks: usize) {
        self.blocks = blocks as u64;
        self.preamble = 0;
        self.lengths.clear();
    }
}

/// The index of one backend. Endpoints are numbered by whoever makes it: their places in the pool.
#[derive(Debug)]
pub struct Index {
    shelf: Shelf,
    places: Box<[Place]>,
    /// A bit for each place.
    all: Box<[u64]>,
}

/// One endpoint's part of it.
#[derive(Debug)]
struct Place {
    recency: Mutex<Recency>,
    /// The life of the endpoint that this is about; see [`Index::outlived`].
    life: AtomicU32,
    blocks: AtomicU32,
}

impl Index {
    /// An empty index for endpoints whose caches hold so many blocks each. Bounded: beyond
    /// [`BLOCKS_PER_ENDPOINT_MAX`] an endpoint's blocks are forgotten earlier than it forgets them.
    pub fn new(blocks: &[usize]) -> Self {
        let blocks: Vec<usize> = blocks.iter().map(|blocks| (*blocks).min(BLOCKS_PER_ENDPOINT_MAX)).collect();
        let words = blocks.len().div_ceil(u64::BITS as usize);
        let place = |blocks: &usize| Place {
            recency: Mutex::new(Recency::new(*blocks)),
            life: AtomicU32::new(0),
            blocks: AtomicU32::new(0),
        };
        let mut all = vec![0; words];
        for at in 0..blocks.len() {
            set_bit(&mut all, at);
        }
        Self {
            shelf: Shelf::new(blocks.iter().sum(), words),
            places: blocks.iter().map(place).collect(),
            all: all.into(),
        }
    }

    /// Endpoints it was made for.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it was made for none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How much of this chain of blocks each endpoint holds.
    pub fn lookup(&self, hashes: &[BlockHash], matches: &mut Matches) {
        matches.clear(hashes.len());
        let hashes = &hashes[..hashes.len().min(BLOCKS_MAX)];
        matches.lengths.resize(self.places.len(), 0);
        match &*self.all {
            [] => {}
            [all] => self.walk_word(*all, hashes, matches),
            all => self.walk(all, hashes, matches),
        }
    }

    /// Where the block at this depth stands; if it found no room there, where the next one does. Tails go first, so who
    /// holds a block holds the one before it.
    #[inline]
    fn find(&self, hashes: &[BlockHash], depth: u16) -> Option<shelf::Slot> {
        let at = usize::from(depth);
        self.shelf.find(hashes[at]).or_else(|| self.shelf.find(*hashes.get(at + 1)?))
    }

    /// The walk for up to 64 endpoints: the set stays in a register.
    fn walk_word(&self, all: u64, hashes: &[BlockHash], matches: &mut Matches) {
        let many = all.count_ones() * 4;
        let mut left = all;
        for depth in 0..hashes.len() as u16 {
            let held = self.find(hashes, depth).map_or(0, |slot| self.shelf.word(slot, 0));
            note_dropped(left & !held, 0, depth, &mut matches.lengths);
            left &= held;
            if left == 0 {
                return;
            }
            if left.count_ones() * 5 >= many {
                matches.preamble = depth + 1;
            }
        }
        note_dropped(left, 0, hashes.len() as u16, &mut matches.lengths);
    }

    fn walk(&self, all: &[u64], hashes: &[BlockHash], matches: &mut Matches) {
        let mut left = std::mem::take(&mut matches.left);
        left.clear();
        left.extend_from_slice(all);
        let many = self.places.len() as u32 * 4;
        let mut remain = many;
        for depth in 0..hashes.len() as u16 {
            let slot = self.find(hashes, depth);
            remain = 0;
            for (word, left) in left.iter_mut().enumerate() {
                let held = slot.map_or(0, |slot| self.shelf.word(slot, word));
                note_dropped(*left & !held, word, depth, &mut matches.lengths);
                *left &= held;
                remain += left.count_ones();
            }
            if remain == 0 {
                break;
            }
            if remain * 5 >= many {
                matches.preamble = depth + 1;
            }
        }
        if remain > 0 {
            for (word, left) in left.iter().enumerate() {
                note_dropped(*left, word, hashes.len() as u16, &mut matches.lengths);
            }
        }
        matches.left = left;
    }

    /// A request with this chain goes to the endpoint at this place: it will hold all of it. The head of the chain is
    /// made the youngest, so that tails are evicted first. Returns how many blocks were new there.
    pub fn insert(&self, at: usize, hashes: &[BlockHash]) -> usize {
        let hashes = &hashes[..hashes.len().min(BLOCKS_MAX)];
        let mut new = 0;
        // In batches: whoever sends to the same endpoint at the same time waits for one of them at most.
        for batch in hashes.rchunks(INSERT_BATCH_BLOCKS) {
            let mut recency = self.recency(at);
            for hash in batch.iter().rev() {
                new += usize::from(self.touch(&mut recency, at, *hash));
            }
            self.places[at].blocks.store(recency.len() as u32, Relaxed);
        }
        new
    }

    /// True if the block was not there.
    fn touch(&self, recency: &mut Recency, at: usize, hash: BlockHash) -> bool {
        // Where its part of the shelf is full, a block is not indexed: a lost hit.
        let Some((slot, held)) = self.shelf.put(hash, at) else { return false };
        if held && recency.touch(slot) {
            return false;
        }
        if let Some(oldest) = recency.push(slot) {
            self.shelf.take(oldest, at);
        }
        true
    }

    /// Forgets what the endpoint at this place held: it is another server now, or started again.
    pub fn clear(&self, at: usize) {
        let mut recency = self.recency(at);
        while let Some(slot) = recency.pop() {
            self.shelf.take(slot, at);
        }
        self.places[at].blocks.store(0, Relaxed);
    }

    /// Tells which life the endpoint is in ([`crate::cells::LoadCell::restarts`]). True if that is another one than
    /// the index is about: then it is cleared, and matches found before are worth nothing.
    pub fn outlived(&self, at: usize, life: u32) -> bool {
        let known = self.places[at].life.load(Relaxed);
        let outlived = known != life && self.places[at].life.swap(life, Relaxed) != life;
        if outlived {
            self.clear(at);
        }
        outlived
    }

    /// Blocks that the endpoint at this place is thought to hold.
    pub fn blocks(&self, at: usize) -> usize {
        self.places[at].blocks.load(Relaxed) as usize
    }

    /// The engine delivered less from its cache than was expected of it, or as much: holds fewer blocks, or more again,
    /// as a share of what its cache should hold.
    pub fn correct(&self, at: usize, delivered: bool) {
        let mut recency = self.recency(at);
        recency.adapt(delivered);
        while let Some(slot) = recency.pop_surplus() {
            self.shelf.take(slot, at);
        }
        self.places[at].blocks.store(recency.len() as u32, Relaxed);
    }

    /// Bytes of memory that it takes, all of it reserved.
    pub fn bytes(&self) -> usize {
        let recency: usize = (0..self.places.len()).map(|at| self.recency(at).bytes()).sum();
        self.shelf.bytes() + recency + size_of_val(&*self.places) + size_of_val(&*self.all)
    }

    fn recency(&self, at: usize) -> MutexGuard<'_, Recency> {
        // A panic in between leaves a block on the shelf or in the LRU alone; either is found and mended by the next.
        self.places[at].recency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set_bit(words: &mut [u64], at: usize) {
    words[at / 64] |= 1 << (at % 64);
}

/// Writes down that these endpoints hold `depth` blocks and no more.
#[inline]
fn note_dropped(mut dropped: u64, word: usize, depth: u16, lengths: &mut [u16]) {
    if depth == 0 {
        return; // so it stands already
    }
    while dropped != 0 {
        lengths[word * 64 + dropped.trailing_zeros() as usize] = depth;
        dropped &= dropped - 1;
    }
}

/// What the atomics of a set are.
type Word = AtomicU64;

#[cfg(test)]
mod tests;
