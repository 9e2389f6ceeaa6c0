//! The prompt of the request at hand, as balancing sees it: hashes of its blocks, a length, matches.
//!
//! Owns: what is kept of a prompt between its arrival and the choice. Kept with the session and used again.
//! Must not: keep text.
//! Read next: [`super::prefix::blocks`]; `ringway_wire::json::PromptScanner`, which finds the texts.

use ringway_wire::json::{Part, Piece, PromptScanner};
use xxhash_rust::xxh3::Xxh3;

use super::gpu::Wanted;
use super::prefix::blocks::{Blocks, Key, Section};
use super::prefix::{BlockHash, Index, Matches};
use crate::bounds::HASHED_BLOCKS_MAX;

/// A prompt on its way in, and then what is known of it.
#[derive(Default)]
pub struct Prompt {
    scanner: PromptScanner,
    blocks: Blocks,
    /// Of the image or sound that is passing.
    medium: Xxh3,
    media: u32,
    matches: Matches,
}

impl Prompt {
    /// Begins another prompt.
    pub fn clear(&mut self) {
        self.scanner.reset();
        self.blocks.clear();
        self.medium.reset();
        self.media = 0;
    }

    /// Takes the next bytes of the request's body.
    pub fn feed(&mut self, key: &Key, body: &[u8]) {
        let Self { scanner, blocks, medium, media, .. } = self;
        scanner.feed(body, |piece| match piece {
            Piece::Text(part, text) => blocks.push(key, section(part), text),
            Piece::Opaque(_, bytes) => medium.update(bytes),
            Piece::OpaqueEnd(part) => {
                // An image is as long in the template as the model makes it: its digest stands for it.
                blocks.push(key, section(part), &medium.digest().to_le_bytes());
                medium.reset();
                *media = media.saturating_add(1);
            }
        });
    }

    /// Bytes of its texts.
    pub fn bytes(&self) -> u64 {
        self.blocks.bytes()
    }

    /// Images and sounds in it.
    pub fn media(&self) -> u32 {
        self.media
    }

    /// Tokens it has, at so many bytes a token and tokens an image; at least one.
    pub fn tokens(&self, bytes_per_token: f32, media_tokens: u32) -> u64 {
        let text = (self.blocks.bytes() as f32 / bytes_per_token) as u64;
        (text + u64::from(self.media) * u64::from(media_tokens)).max(1)
    }

    /// Finds what of it is where, asked of this model and adapter.
    pub fn look_up(&mut self, key: &Key, wanted: Wanted<'_>, index: &Index) {
        let seed = match wanted.adapter {
            Some(adapter) => key.seed(wanted.model, &adapter.seed(), b""),
            None => key.seed(wanted.model, b"", b""),
        };
        index.lookup(self.blocks.finish(key, seed), &mut self.matches);
        self.matches.set_blocks(self.blocks.all_blocks());
    }

    /// What [`Prompt::look_up`] found.
    pub fn matches(&self) -> &Matches {
        &self.matches
    }

    /// The hashes of its blocks, as of the last [`Prompt::look_up`].
    pub fn hashes(&self) -> &[BlockHash] {
        self.blocks.hashes()
    }

    /// A hash of its beginning, asked of this model: the same for all that begin alike.
    pub fn beginning(&mut self, key: &Key, model: &[u8]) -> u64 {
        let seed = key.seed(model, b"", b"");
        self.blocks.beginning(key, seed, HASHED_BLOCKS_MAX)
    }
}

fn section(part: Part) -> Section {
    match part {
        Part::Tools => Section::Tools,
        Part::System => Section::System,
        Part::Messages => Section::Messages,
    }
}
