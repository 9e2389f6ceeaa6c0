//! A stream, in no one's words.
//!
//! Laws (a test holds every reader to them): one `Start` first. Blocks of one choice are numbered
//! 0, 1, 2, … in the order they start. At most one block of a choice that is no tool is open at a time; of tools, any
//! number. The `Args` of a block concatenate to one JSON text. One `Finish` per choice, with all its blocks ended.
//! `End` once, after all `Finish`; nothing after `End` or `Error`. `Usage` may come anywhere before `End`; it is a
//! snapshot, the last one counts.
//!
//! Owns: the events. Must not: hold text longer than the call that hands it out.
//! Read next: `usage.rs`.

use super::failure::Failure;
use super::opaque::Opaque;
use super::stop::Stop;
use super::usage::Usage;
use crate::json::{Raw, Text};

/// Which block of which choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block {
    /// The choice; 0 unless several were asked for.
    pub choice: u32,
    /// The block's number in it.
    pub index: u32,
}

/// One thing that a stream says.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// It begins.
    Start(Start<'a>),
    /// A block begins.
    BlockStart(Block, BlockKind<'a>),
    /// More text of a block: answer, thought or refusal.
    Text(Block, Text<'a>),
    /// More of a call's arguments: a piece of JSON text, or of free text for a custom tool.
    Args(Block, Text<'a>),
    /// The provider's state that goes with a block.
    Opaque(Block, Opaque<'a>),
    /// Where a block's text is from.
    Citation(Block, Raw<'a>),
    /// Probabilities of a block's last tokens, as OpenAI's `content` array.
    Logprobs(Block, Raw<'a>),
    /// A block ends.
    BlockEnd(Block),
    /// What it cost so far.
    Usage(Usage),
    /// A choice ends.
    Finish {
        /// Which.
        choice: u32,
        /// Why.
        stop: Stop<'a>,
    },
    /// The stream ends well.
    End,
    /// The stream ends badly.
    Error(Failure<'a>),
    /// Nothing, to keep the line open.
    Heartbeat,
}

/// How a stream begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Start<'a> {
    /// Its id, in the upstream's form; empty if it has none.
    pub id: Text<'a>,
    /// The model, as the upstream names it.
    pub model: Text<'a>,
    /// When, in seconds since 1970, if the upstream says.
    pub created: Option<u64>,
    /// What made it (OpenAI).
    pub fingerprint: Option<Text<'a>>,
}

/// What a block holds.
#[derive(Clone, Debug, PartialEq)]
pub enum BlockKind<'a> {
    /// Text of the answer.
    Text,
    /// A thought.
    Reasoning {
        /// The chain itself, not a summary.
        is_raw: bool,
    },
    /// The model declines.
    Refusal,
    /// A call of a tool.
    Tool {
        /// Links it with its result. Never empty: readers derive one.
        id: Text<'a>,
        /// The tool.
        name: Text<'a>,
        /// Called with free text.
        custom: bool,
    },
    /// A picture, whole.
    Image {
        /// Its media type.
        mime: Text<'a>,
        /// In standard base64.
        data: Text<'a>,
    },
    /// Something only its provider can read.
    Server(Raw<'a>),
}

impl BlockKind<'_> {
    /// Is it a call?
    pub const fn is_tool(&self) -> bool {
        matches!(self, Self::Tool { .. })
    }
}

/// Whoever takes events.
pub trait Sink {
    /// Takes the next one.
    fn take(&mut self, event: Event<'_>);
}

impl<F: FnMut(Event<'_>)> Sink for F {
    fn take(&mut self, event: Event<'_>) {
        self(event);
    }
}
