//! What a request body says at its top level: the model, whether it streams, how much it may cost, where the prompt is.
//! Owns: those facts and their byte spans. Must not: keep the body.
//! Read next: `grammar.rs`.

use super::error::{JsonError, Key};
use std::ops::Range;

/// How far a body is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Nested containers, the top-level object included; at most [`crate::bounds::JSON_DEPTH_MAX`].
    pub depth: u32,
}

/// The top-level `model`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model<'a> {
    /// The name, unescaped.
    pub value: &'a str,
    /// Where the string stands in the body, quotes included.
    pub span: Range<u64>,
}

/// Reads a request body, fed in pieces cut anywhere.
#[derive(Debug, Default)]
pub struct Scanner {}

impl Scanner {
    /// A scanner with the default bounds.
    pub fn new() -> Self {
        Self::default()
    }
    /// A scanner with these bounds.
    pub fn with_bounds(_bounds: Bounds) -> Self {
        Self::default()
    }
    /// Begins anew, keeping the bounds.
    pub fn reset(&mut self) {}
    /// Takes the next bytes of the body.
    pub fn feed(&mut self, _bytes: &[u8]) -> Result<(), JsonError> {
        Ok(())
    }
    /// Says that the body has ended.
    pub fn finish(&mut self) -> Result<(), JsonError> {
        Ok(())
    }
    /// How many bytes were fed.
    pub fn offset(&self) -> u64 {
        0
    }
    /// The model, as soon as its string has been read whole.
    pub fn model(&self) -> Option<Model<'_>> {
        None
    }
    /// `stream`, if it is a boolean.
    pub fn stream(&self) -> Option<bool> {
        None
    }
    /// The caller's own limit on generated tokens.
    pub fn max_tokens(&self) -> Option<u64> {
        None
    }
    /// Which key gave [`Self::max_tokens`].
    pub fn max_tokens_key(&self) -> Option<Key> {
        None
    }
    /// The span of `messages`, `contents`, `prompt` or `input`.
    pub fn prompt(&self) -> Option<Range<u64>> {
        None
    }
    /// The span of the value of this key.
    pub fn span(&self, _key: Key) -> Option<Range<u64>> {
        None
    }
    /// The object has been closed.
    pub fn complete(&self) -> bool {
        false
    }
}
