//! What the KV cache knows a prompt by: one hash per full block, each chained to the one before.
//!
//! Owns: the identity of blocks. Two requests share a block exactly if everything up to its end is the same:
//! model, adapter, salt and text.
//! Must not: know which blocks are resident.
//! Read next: `cache.rs`.

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::{
    bounds::{BLOCK_TOKENS, TOKEN_BYTES},
    text,
};

/// Bytes of text in one block.
const BLOCK_BYTES: usize = BLOCK_TOKENS as usize * TOKEN_BYTES;

/// Where a chain begins: prompts of different roots never share a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Root(u64);

impl Root {
    /// The root of a model, an adapter of it, and what the client salts its prompts with.
    pub fn of(model: &str, adapter: Option<&str>, salt: Option<&str>) -> Self {
        let mut hash = Xxh3::new();
        for part in [Some(model), adapter, salt] {
            // A length before each part: "ab" + "c" is not "a" + "bc", and no part is not an empty one.
            hash.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            hash.update(part.unwrap_or_default().as_bytes());
        }
        Self(hash.digest())
    }
}

/// Text on its way to block hashes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chain {
    last: u64,
    hashes: Vec<u64>,
    /// The text of the unfinished block.
    rest: Vec<u8>,
}

impl Chain {
    pub(crate) fn new(root: Root) -> Self {
        Self { last: root.0, hashes: Vec::new(), rest: Vec::new() }
    }

    pub(crate) fn push(&mut self, mut text: &[u8]) {
        if !self.rest.is_empty() {
            let take = text.len().min(BLOCK_BYTES - self.rest.len());
            self.rest.extend_from_slice(&text[..take]);
            text = &text[take..];
            if self.rest.len() == BLOCK_BYTES {
                let block = std::mem::take(&mut self.rest);
                self.close(&block);
            }
        }
        let blocks = text.chunks_exact(BLOCK_BYTES);
        self.rest.extend_from_slice(blocks.remainder());
        blocks.for_each(|block| self.close(block));
    }

    fn close(&mut self, block: &[u8]) {
        self.last = xxh3_64_with_seed(block, self.last);
        self.hashes.push(self.last);
    }

    /// Fills the last token: what follows begins with a token of its own.
    fn pad(&mut self) {
        self.push(&[0; TOKEN_BYTES][..(TOKEN_BYTES - self.rest.len() % TOKEN_BYTES) % TOKEN_BYTES]);
    }
}

/// The identities of a prompt's blocks, and of those its answer will fill.
#[derive(Debug, Clone, Default)]
pub struct Prefix {
    chain: Chain,
    /// What the answer continues the chain with; without it, generated blocks are never matched.
    answer: Option<text::Answer>,
}

impl Prefix {
    /// Of a text, and of the answer that will follow it.
    pub(crate) fn of_text(mut chain: Chain, answer: text::Answer) -> Self {
        chain.pad();
        Self { chain, answer: Some(answer) }
    }

    /// Of a trace that names its blocks: each id stands for `id_tokens` tokens and the whole prefix before
    /// them; the last one is cut so that all are `tokens` long together.
    pub fn of_ids(ids: &[u64], id_tokens: u32, tokens: u64) -> Self {
        let per_id = u64::from(id_tokens / BLOCK_TOKENS).max(1);
        let full = tokens / u64::from(BLOCK_TOKENS);
        let hash = |at: u64| {
            let id = ids.get((at / per_id) as usize)?;
            Some(xxh3_64_with_seed(&id.to_le_bytes(), at % per_id))
        };
        let chain = Chain { hashes: (0..full).map_while(hash).collect(), ..Chain::default() };
        Self { chain, answer: None }
    }

    /// The hashes of the first `blocks` blocks, as far as they have one.
    pub(crate) fn hashes(&mut self, blocks: usize) -> &[u64] {
        if let Some(answer) = &mut self.answer {
            while self.chain.hashes.len() < blocks {
                self.chain.push(answer.next_token().as_bytes());
            }
        }
        &self.chain.hashes[..blocks.min(self.chain.hashes.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Prompt;

    fn prompt(root: Root, parts: &[&str]) -> Prefix {
        let mut prompt = Prompt::new(root);
        for part in parts {
            prompt.push(part);
        }
        prompt.prefix()
    }

    #[test]
    fn any_split_of_a_text_has_the_same_blocks() {
        let text: String = (0..1_000).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
        let whole = prompt(Root::default(), &[&text]).hashes(15).to_vec();
        assert_eq!(whole.len(), 15);
        for split in [0, 1, 63, 64, 65, 500, 1_000] {
            let (left, right) = text.split_at(split);
            assert_eq!(prompt(Root::default(), &[left, right]).hashes(15), whole);
        }
    }

    #[test]
    fn blocks_agree_exactly_as_far_as_everything_before_them_does() {
        let text = "x".repeat(256);
        let base = prompt(Root::default(), &[&text]).hashes(4).to_vec();
        let longer = prompt(Root::default(), &[&text, "and more than that, by far more than a token"]);
        assert_eq!(longer.clone().hashes(4), base);
        let late = text.clone() + "y";
        assert_eq!(prompt(Root::default(), &[&late]).hashes(4), base);
        let early = "y".to_owned() + &text[1..];
        assert!(prompt(Root::default(), &[&early]).hashes(4).iter().all(|hash| !base.contains(hash)));
        let roots = [
            Root::of("m", None, None),
            Root::of("m", Some(""), None),
            Root::of("m", None, Some("")),
            Root::of("ma", None, None),
            Root::of("m", Some("a"), None),
        ];
        for (at, root) in roots.iter().enumerate() {
            assert!(roots[..at].iter().all(|other| other != root));
        }
    }

    #[test]
    fn an_answer_that_is_sent_back_has_the_blocks_it_was_generated_into() {
        let question = "0123456789abcdef".repeat(6); // 24 tokens: the answer begins within a block
        let mut first = prompt(Root::default(), &[&question]);
        let answer = text::Seed::of(&question).text(100);
        let mut second = prompt(Root::default(), &[&question, &answer, "and then?"]);
        assert_eq!(first.hashes(7), second.hashes(7));
    }

    #[test]
    fn ids_name_blocks_up_to_the_length_of_the_prompt() {
        let mut long = Prefix::of_ids(&[7, 8], 512, 1_000);
        let mut short = Prefix::of_ids(&[7, 9], 512, 600);
        assert_eq!((long.hashes(99).len(), short.hashes(99).len()), (62, 37));
        assert_eq!(long.hashes(32), short.hashes(32));
        assert_ne!(long.hashes(33)[32], short.hashes(33)[32]);
    }
}
