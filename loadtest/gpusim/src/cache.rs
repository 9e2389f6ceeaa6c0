//! The paged KV cache of one engine: blocks with references, and the unreferenced ones by age.
//!
//! Owns: which block holds what, who still needs it, and the order in which content is given up.
//! Must not: know requests, tokens or time.
//! Read next: `engine.rs`, which takes and releases.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// A block's place in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockId(u32);

/// The end of the list of unreferenced blocks.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Block {
    references: u32,
    /// What it can be found by; zero if by nothing.
    hash: u64,
    older: u32,
    younger: u32,
}

/// One engine's cache.
#[derive(Debug)]
pub(crate) struct Cache {
    blocks: Vec<Block>,
    /// Blocks from this one on were never used.
    untouched: u32,
    by_hash: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
    oldest: u32,
    youngest: u32,
    /// Blocks without references, still with their content.
    evictable: u32,
    /// Whether content is ever found again.
    matches: bool,
}

impl Cache {
    pub(crate) fn new(blocks: u32, matches: bool) -> Self {
        let empty = Block { references: 0, hash: 0, older: NONE, younger: NONE };
        Self {
            blocks: vec![empty; blocks as usize],
            untouched: 0,
            by_hash: HashMap::default(),
            oldest: NONE,
            youngest: NONE,
            evictable: 0,
            matches,
        }
    }

    pub(crate) fn total(&self) -> u32 {
        self.blocks.len() as u32
    }

    /// Blocks that somebody needs.
    pub(crate) fn referenced(&self) -> u32 {
        self.untouched - self.evictable
    }

    /// Blocks that can be allocated, at the cost of old content or not.
    pub(crate) fn available(&self) -> u32 {
        self.total() - self.referenced()
    }

    /// The resident blocks of the longest prefix of `hashes` that is resident throughout.
    pub(crate) fn find<'a>(&'a self, hashes: &'a [u64]) -> impl Iterator<Item = BlockId> + 'a {
        hashes.iter().map_while(|hash| self.by_hash.get(hash).map(|at| BlockId(*at)))
    }

    /// How many of these nobody needs right now: taking them leaves fewer to allocate.
    pub(crate) fn unreferenced(&self, blocks: &[BlockId]) -> u32 {
        blocks.iter().filter(|block| self.blocks[block.0 as usize].references == 0).count() as u32
    }

    /// Adds a reference to each of these.
    pub(crate) fn reference(&mut self, blocks: &[BlockId]) {
        for &BlockId(at) in blocks {
            if self.blocks[at as usize].references == 0 {
                self.unlink(at);
            }
            self.blocks[at as usize].references += 1;
        }
    }

    /// Gives a block with one reference and no content: a fresh one, else the one unreferenced for longest.
    pub(crate) fn allocate(&mut self) -> BlockId {
        let at = if self.untouched < self.total() {
            self.untouched += 1;
            self.untouched - 1
        } else {
            let at = self.oldest;
            assert_ne!(at, NONE, "the caller has asked for no more than is available");
            self.unlink(at);
            self.forget(at);
            at
        };
        self.blocks[at as usize].references = 1;
        BlockId(at)
    }

    /// Makes a block's content known. Of two blocks with the same content the newer one is found: it will be
    /// given up later.
    pub(crate) fn name(&mut self, block: BlockId, hash: u64) {
        let hash = hash.max(1);
        if !self.matches || self.blocks[block.0 as usize].hash == hash {
            return;
        }
        self.forget(block.0);
        if let Some(before) = self.by_hash.insert(hash, block.0) {
            self.blocks[before as usize].hash = 0;
        }
        self.blocks[block.0 as usize].hash = hash;
    }

    /// Takes back one reference from each of a request's blocks. Only the first `computed` of them hold what
    /// they are named for. The deepest goes first, so that a prefix outlives its continuations.
    pub(crate) fn release(&mut self, blocks: &mut Vec<BlockId>, computed: usize) {
        for (depth, BlockId(at)) in blocks.drain(..).enumerate().rev() {
            let block = &mut self.blocks[at as usize];
            block.references -= 1;
            if block.references > 0 {
                continue;
            }
            if depth >= computed {
                self.forget(at);
            }
            self.link_youngest(at);
        }
    }

    fn forget(&mut self, at: u32) {
        let hash = std::mem::take(&mut self.blocks[at as usize].hash);
        if hash != 0 {
            self.by_hash.remove(&hash);
        }
    }

    fn link_youngest(&mut self, at: u32) {
        let before = std::mem::replace(&mut self.youngest, at);
        self.blocks[at as usize].older = before;
        self.blocks[at as usize].younger = NONE;
        match before {
            NONE => self.oldest = at,
            before => self.blocks[before as usize].younger = at,
        }
        self.evictable += 1;
    }

    fn unlink(&mut self, at: u32) {
        let Block { older, younger, .. } = self.blocks[at as usize];
        match older {
            NONE => self.oldest = younger,
            older => self.blocks[older as usize].younger = younger,
        }
        match younger {
            NONE => self.youngest = older,
            younger => self.blocks[younger as usize].older = older,
        }
        self.evictable -= 1;
    }
}

/// Block hashes are spread already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Allocates and names the blocks of a request with these hashes.
    fn fill(cache: &mut Cache, hashes: &[u64]) -> Vec<BlockId> {
        let blocks: Vec<_> = hashes.iter().map(|_| cache.allocate()).collect();
        blocks.iter().zip(hashes).for_each(|(block, hash)| cache.name(*block, *hash));
        blocks
    }

    fn resident(cache: &Cache, hashes: &[u64]) -> usize {
        cache.find(hashes).count()
    }

    #[test]
    fn released_blocks_are_found_until_they_are_needed_and_tails_go_first() {
        let mut cache = Cache::new(6, true);
        let mut first = fill(&mut cache, &[1, 2, 3]);
        let mut second = fill(&mut cache, &[11, 12]);
        cache.release(&mut first, 3);
        cache.release(&mut second, 2);
        assert_eq!((cache.referenced(), cache.available()), (0, 6));
        assert_eq!(resident(&cache, &[1, 2, 3]), 3);
        fill(&mut cache, &[21, 22]); // one was never used, the other is the deepest of the oldest
        assert_eq!((resident(&cache, &[1, 2, 3]), resident(&cache, &[11, 12])), (2, 2));
        fill(&mut cache, &[23, 24, 25]);
        assert_eq!((resident(&cache, &[1, 2, 3]), resident(&cache, &[11, 12])), (0, 1));
    }

    #[test]
    fn a_block_in_use_is_never_given_up() {
        let mut cache = Cache::new(3, true);
        let mut blocks = fill(&mut cache, &[1, 2]);
        let mut shared: Vec<_> = cache.find(&[1, 2]).collect();
        cache.reference(&shared);
        cache.release(&mut blocks, 2);
        assert_eq!((cache.available(), cache.unreferenced(&shared)), (1, 0));
        cache.release(&mut shared, 2);
        assert_eq!(cache.available(), 3);
    }

    #[test]
    fn blocks_that_were_never_computed_are_not_found() {
        let mut cache = Cache::new(4, true);
        let mut blocks = fill(&mut cache, &[1, 2, 3]);
        cache.release(&mut blocks, 1);
        assert_eq!(resident(&cache, &[1, 2, 3]), 1);
    }

    #[test]
    fn a_cache_that_does_not_match_finds_nothing() {
        let mut cache = Cache::new(4, false);
        fill(&mut cache, &[1, 2]);
        assert_eq!(resident(&cache, &[1, 2]), 0);
    }

    #[test]
    fn the_newer_of_two_equal_blocks_is_found() {
        let mut cache = Cache::new(4, true);
        let mut old = fill(&mut cache, &[1]);
        let new = fill(&mut cache, &[1]);
        assert_eq!(cache.find(&[1]).collect::<Vec<_>>(), new);
        cache.release(&mut old, 1);
        fill(&mut cache, &[5, 6, 7]);
        assert_eq!(resident(&cache, &[1]), 1);
    }
}
