//! What a stream says about itself: first token, usage, end, error.
//! Owns: the reading of one stream. Must not: hold the stream's bytes, or fail because of them.
//! Read next: `scanner.rs`.

/// Whose grammar the events speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// OpenAI Chat Completions and completions, and every engine that speaks them.
    OpenAi,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Anthropic,
    /// Gemini, as events or as one JSON array.
    Gemini,
    /// To be told from the first events.
    Unknown,
}

/// Token counts as the provider names them; each is the last one that was not null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt. OpenAI and Gemini count `cache_read` in it, Anthropic does not.
    pub input: Option<u64>,
    /// Answer. OpenAI and Anthropic count `reasoning` in it, Gemini does not.
    pub output: Option<u64>,
    /// Prompt tokens found in the provider's cache.
    pub cache_read: Option<u64>,
    /// Prompt tokens written to the provider's cache.
    pub cache_write: Option<u64>,
    /// Tokens of thought.
    pub reasoning: Option<u64>,
    /// The provider's own sum.
    pub total: Option<u64>,
}

/// What one feed held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The first event with content ended in it: text, reasoning, refusal or a tool call.
    pub first_token: bool,
    /// Events with data that ended in it, the end marker not counted.
    pub events: u32,
}

/// Reads one stream beside the relay.
#[derive(Debug)]
pub struct Observer {}

impl Observer {
    /// An observer for a stream of this shape.
    pub fn new(_shape: Shape) -> Self {
        Self {}
    }
    /// Begins anew, for another stream.
    pub fn reset(&mut self, _shape: Shape) {}
    /// Takes the next bytes of the stream, cut anywhere.
    pub fn feed(&mut self, _bytes: &[u8]) -> Seen {
        Seen::default()
    }
    /// The stream ended without error of the transport. Data without its blank line counts if it is complete JSON.
    pub fn finish(&mut self) -> Seen {
        Seen::default()
    }
    /// What the stream said about tokens.
    pub fn usage(&self) -> Usage {
        Usage::default()
    }
    /// Events that carried content.
    pub fn content_events(&self) -> u64 {
        0
    }
    /// The stream said that it is complete.
    pub fn terminal(&self) -> bool {
        false
    }
    /// The stream said that the answer failed.
    pub fn error(&self) -> bool {
        false
    }
}
