//! What an answer that is one JSON text says about tokens.
//! Owns: the reading of one body. Must not: keep it, or fail because of it. What it says to its reader is passed over.
//! Read next: `observer.rs`, which does the same for streams.

use super::meaning::{Meaning, Passed};
use super::observer::Usage;
use crate::bounds::JSON_DEPTH_MAX;
use crate::json::grammar::{Grammar, Surrogates};

/// Reads the body of an answer that is not a stream: one object, or an array of them, of which the last counts.
#[derive(Clone, Debug)]
pub struct UnaryObserver {
    grammar: Grammar,
    meaning: Meaning,
    passed: Passed,
    /// What came so far is not JSON, and what follows is not read.
    broken: bool,
}

impl Default for UnaryObserver {
    fn default() -> Self {
        Self::new()
    }
}

impl UnaryObserver {
    /// An observer at the beginning of a body.
    pub fn new() -> Self {
        Self {
            grammar: Grammar::new(JSON_DEPTH_MAX, Surrogates::Replace),
            meaning: Meaning::of_account(),
            passed: Passed::default(),
            broken: false,
        }
    }

    /// Begins anew, for another body.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Takes the next bytes, cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.broken = self.broken || self.grammar.feed(bytes, &mut self.meaning).is_err();
        let passed = self.meaning.take_passed();
        self.passed.said.usage.update(passed.said.usage);
        self.passed.said.error |= passed.said.error;
    }

    /// The body has ended. What it said about tokens, also if it was cut after it said so.
    pub fn finish(&mut self) -> Usage {
        self.broken = self.broken || !self.grammar.finish(&mut self.meaning);
        self.usage()
    }

    /// What the body has said about tokens so far.
    pub fn usage(&self) -> Usage {
        let mut usage = self.passed.said.usage;
        usage.update(self.meaning.said().usage);
        usage
    }

    /// The body is an error envelope.
    pub fn error(&self) -> bool {
        self.passed.said.error || self.meaning.said().error
    }

    /// The body was one whole JSON text, as far as it was read; known after [`Self::finish`].
    pub fn complete(&self) -> bool {
        !self.broken && self.grammar.complete()
    }
}
