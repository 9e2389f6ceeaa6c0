//! What an answer that is one JSON text says about tokens.
//! Owns: the reading of one body. Must not: hold it, or fail because of it.
//! Read next: `observer.rs`, which does the same for streams.

use super::observer::Usage;

/// Reads the body of an answer that is not a stream.
#[derive(Debug, Default)]
pub struct UnaryObserver {}

impl UnaryObserver {
    /// An observer at the beginning of a body.
    pub fn new() -> Self {
        Self::default()
    }
    /// Begins anew, for another body.
    pub fn reset(&mut self) {}
    /// Takes the next bytes, cut anywhere.
    pub fn feed(&mut self, _bytes: &[u8]) {}
    /// The body has ended; says what it said about tokens, if it was complete.
    pub fn finish(&mut self) -> Usage {
        Usage::default()
    }
    /// The body is an error envelope.
    pub fn error(&self) -> bool {
        false
    }
}
