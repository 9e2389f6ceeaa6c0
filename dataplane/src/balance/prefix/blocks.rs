//! A prompt to the hashes of its blocks, as its bytes arrive.
//!
//! Owns: the canonical order of a prompt, its cut into blocks of 256 bytes, and the keyed hash.
//! Must not: parse, or decode escapes: callers that escape differently share no prefix, which loses hits and never
//! gives a wrong answer.
//! Read next: [`super`], which looks the hashes up.
//!
//! A body names its parts in any order: tools behind messages, the model last. So blocks are digested as they come, by
//! section, and chained when all is there, in the order of a template: tools, system, messages. Digesting is what costs;
//! a link of the chain is one multiplication. Each section begins a block of its own. The chain begins with model,
//! adapter and the tenant's salt: prefixes never match across them.

use std::hash::BuildHasher as _;

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_secret, xxh3_64_with_seed};

use super::BlockHash;
use crate::bounds::{BLOCK_BYTES, BLOCKS_MAX};

/// The process's key: what a caller does not know, it cannot collide with.
pub struct Key {
    secret: [u8; SECRET_BYTES],
    links: [u64; 2],
}

/// What the hash asks for, and a vector's width more.
const SECRET_BYTES: usize = 192;

impl Key {
    /// A key nobody knows, from the system's chance by way of the standard library's hasher.
    pub fn secret() -> Self {
        let random = std::hash::RandomState::new();
        let mut secret = [0; SECRET_BYTES];
        for (at, word) in secret.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *word = random.hash_one(at).to_le_bytes();
        }
        Self { secret, links: [random.hash_one("a link's one side"), random.hash_one("and its other")] }
    }

    /// The key that is the same in every process: where several have to agree, and a collision harms its author alone.
    pub fn public() -> Self {
        Self::new(&mut fastrand::Rng::with_seed(0x7269_6e67_7761_7921))
    }

    /// A key of this chance.
    pub fn new(rng: &mut fastrand::Rng) -> Self {
        let mut secret = [0; SECRET_BYTES];
        rng.fill(&mut secret);
        Self { secret, links: [rng.u64(..), rng.u64(..)] }
    }

    /// Where a chain begins that only this model, adapter and salt may share.
    pub fn seed(&self, model: &[u8], adapter: &[u8], salt: &[u8]) -> BlockHash {
        [model, adapter, salt].iter().fold(self.links[1], |seed, part| {
            self.link(seed, xxh3_64_with_seed(part, self.links[0]) ^ part.len() as u64)
        })
    }

    /// The hash of a whole body, however it is cut.
    pub fn whole<'b>(&self, pieces: impl Iterator<Item = &'b [u8]>) -> u64 {
        let mut hash = Xxh3::with_secret(self.secret);
        pieces.for_each(|piece| hash.update(piece));
        hash.digest()
    }

    #[inline]
    fn digest(&self, block: &[u8]) -> u64 {
        xxh3_64_with_secret(block, &self.secret)
    }

    /// The hash of a chain that goes on with this digest: both, keyed, multiplied to 128 bits and folded.
    #[inline]
    fn link(&self, before: u64, digest: u64) -> u64 {
        let wide = u128::from(before ^ self.links[0]) * u128::from(digest ^ self.links[1]);
        (wide as u64) ^ ((wide >> 64) as u64) ^ before.rotate_left(23)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(secret)")
    }
}

/// A part of a prompt, in the order of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Tools, as received.
    Tools,
    /// What stands before the conversation and beside it.
    System,
    /// The conversation.
    Messages,
}

const SECTIONS: usize = 3;

/// A prompt on its way in. Kept and used again.
#[derive(Debug, Default)]
pub struct Blocks {
    sections: [Digests; SECTIONS],
    bytes: u64,
    hashes: Vec<BlockHash>,
}

#[derive(Debug)]
struct Digests {
    done: Vec<u64>,
    tail: [u8; BLOCK_BYTES],
    tail_len: usize,
}

impl Default for Digests {
    fn default() -> Self {
        Self { done: Vec::new(), tail: [0; BLOCK_BYTES], tail_len: 0 }
    }
}

impl Blocks {
    /// Begins another prompt.
    pub fn clear(&mut self) {
        self.bytes = 0;
        self.hashes.clear();
        for section in &mut self.sections {
            section.done.clear();
            section.tail_len = 0;
        }
    }

    /// Takes the next bytes of a section, cut anywhere.
    pub fn push(&mut self, key: &Key, section: Section, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.sections[section as usize].push(key, bytes);
    }

    /// Bytes of the prompt so far, those beyond the last block included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts bytes that belong to the prompt and were not looked at: the rest of a very long one, or an image.
    pub fn count_unseen(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Whether further bytes of the conversation change nothing but its length.
    pub fn is_full(&self) -> bool {
        self.sections[Section::Messages as usize].done.len() >= BLOCKS_MAX
    }

    /// The prompt is whole: the hashes of its blocks, each of the whole chain up to there. Unfinished blocks at the end
    /// of tools and system count, as something follows them in the template; the one at the very end does not.
    pub fn finish(&mut self, key: &Key, seed: BlockHash) -> &[BlockHash] {
        let Self { sections, hashes, .. } = self;
        hashes.clear();
        let mut chain = seed;
        for (at, section) in sections.iter().enumerate() {
            let last = at == Section::Messages as usize;
            let tail = (!last && section.tail_len > 0).then(|| key.digest(&section.tail[..section.tail_len]));
            let room = BLOCKS_MAX - hashes.len();
            hashes.extend(section.done.iter().copied().chain(tail).take(room).map(|digest| {
                chain = key.link(chain, digest);
                chain
            }));
        }
        hashes
    }

    /// The hash of the first `blocks` blocks, or of all there is of a shorter prompt.
    pub fn beginning(&mut self, key: &Key, seed: BlockHash, blocks: usize) -> BlockHash {
        let whole = self.finish(key, seed);
        if let Some(hash) = whole.get(..blocks).and_then(<[_]>::last) {
            return *hash;
        }
        let before = whole.last().copied().unwrap_or(seed);
        let last = &self.sections[Section::Messages as usize];
        key.link(before, key.digest(&last.tail[..last.tail_len]))
    }

    /// What [`Blocks::finish`] found.
    pub fn hashes(&self) -> &[BlockHash] {
        &self.hashes
    }

    /// Blocks that the whole prompt has, those beyond the bound included: what a match is a share of.
    pub fn all_blocks(&self) -> u64 {
        self.bytes.div_ceil(BLOCK_BYTES as u64)
    }
}

impl Digests {
    fn push(&mut self, key: &Key, mut bytes: &[u8]) {
        if self.tail_len > 0 {
            let (fill, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.tail_len));
            self.tail[self.tail_len..self.tail_len + fill.len()].copy_from_slice(fill);
            self.tail_len += fill.len();
            bytes = rest;
            if self.tail_len < BLOCK_BYTES {
                return;
            }
            let digest = key.digest(&self.tail);
            self.add(digest);
            self.tail_len = 0;
        }
        let (whole, tail) = bytes.as_chunks::<BLOCK_BYTES>();
        for block in whole.iter().take(BLOCKS_MAX - self.done.len()) {
            self.done.push(key.digest(block));
        }
        self.tail[..tail.len()].copy_from_slice(tail);
        self.tail_len = tail.len();
    }

    fn add(&mut self, digest: u64) {
        if self.done.len() < BLOCKS_MAX {
            self.done.push(digest);
        }
    }
}
