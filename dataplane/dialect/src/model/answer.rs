//! An answer that is no stream, in no one's words.
//! Owns: the types. Must not: estimate usage that is missing.
//! Read next: `event.rs`, the same as a stream.

use super::part::Part;
use super::request::Source;
use super::stop::Stop;
use super::usage::Usage;
use crate::json::{Raw, Text};

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer<'a> {
    /// What it was read from.
    pub source: Source<'a>,
    /// Its id, in the upstream's form. Empty if it has none.
    pub id: Text<'a>,
    /// When it was made, in seconds since 1970.
    pub created: Option<u64>,
    /// The model, as the upstream names it.
    pub model: Text<'a>,
    /// What made it (OpenAI).
    pub fingerprint: Option<Text<'a>>,
    /// The answers; one, unless several were asked for.
    pub choices: Vec<Choice<'a>>,
    /// What it cost. Missing stays missing.
    pub usage: Option<Usage>,
    /// How urgently it was dealt with.
    pub tier: Option<Text<'a>>,
}

/// One of the answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice<'a> {
    /// Its number.
    pub index: u32,
    /// What it says.
    pub parts: Vec<Part<'a>>,
    /// Why it ended.
    pub stop: Stop<'a>,
    /// Probabilities of its tokens, as OpenAI's `content` array.
    pub logprobs: Option<Raw<'a>>,
}
