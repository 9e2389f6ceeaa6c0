//! What an answer says, read by a second pair of eyes: plain `serde_json`, no code of the crate under test.
//!
//! Owns: folding bodies and streams of all four dialects into one [`Reading`], and, where asked to be strict, the
//! grammar of each (dialects sections 4.1 and 5.3 to 5.6).
//! Must not: use anything from `ringway_dialect`: code that is shared agrees with itself.
//! Read next: `chat.rs`, the shortest of the four.

pub mod anthropic;
pub mod asked;
pub mod chat;
pub mod fixtures;
pub mod gemini;
pub mod responses;
pub mod sse;

use serde_json::Value;

/// The four dialects, as the fixtures name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    Chat,
    Responses,
    Anthropic,
    Gemini,
}

impl Dialect {
    pub const ALL: [Self; 4] = [Self::Chat, Self::Responses, Self::Anthropic, Self::Gemini];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "openai-chat",
            Self::Responses => "openai-responses",
            Self::Anthropic => "anthropic-messages",
            Self::Gemini => "gemini",
        }
    }
}

/// How an answer ended, as far as all dialects can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    End,
    Sequence,
    Tool,
    Length,
    Filter,
    Other(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    pub id: String,
    pub name: String,
    /// JSON text, or free text for custom tools.
    pub arguments: String,
}

/// Totals are inclusive: cached and written tokens count as input, reasoning as output (dialects section 4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    pub input: u64,
    pub output: u64,
    pub read: u64,
    pub written: u64,
    pub reasoning: u64,
}

/// What choice 0 of an answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub text: String,
    pub reasoning: String,
    pub refusal: String,
    pub calls: Vec<Call>,
    pub stop: Option<Stop>,
    pub tokens: Option<Tokens>,
    /// An error told inside the stream.
    pub error: Option<String>,
}

impl Reading {
    /// A turn that ended with calls ended for them, whatever its dialect calls that.
    pub fn ended_for_calls(mut self) -> Self {
        if !self.calls.is_empty() && self.stop == Some(Stop::End) {
            self.stop = Some(Stop::Tool);
        }
        self
    }
}

/// How much of the grammar must be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mind {
    /// All of it: these bytes are ours.
    Strict,
    /// Only what is needed to read on: these bytes are a provider's.
    Lenient,
}

impl Mind {
    /// Fails where a rule is broken and rules count.
    pub fn rule(self, kept: bool, what: impl FnOnce() -> String) -> Result<(), String> {
        if kept || self == Self::Lenient { Ok(()) } else { Err(what()) }
    }
}

/// Reads a whole body.
pub fn body(dialect: Dialect, bytes: &[u8], mind: Mind) -> Result<Reading, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("no JSON: {error}"))?;
    match dialect {
        Dialect::Chat => chat::body(&value, mind),
        Dialect::Responses => responses::body(&value, mind),
        Dialect::Anthropic => anthropic::body(&value, mind),
        Dialect::Gemini => gemini::body(&value, mind),
    }
}

/// Reads a stream.
pub fn stream(dialect: Dialect, bytes: &[u8], mind: Mind) -> Result<Reading, String> {
    match dialect {
        Dialect::Chat => chat::stream(bytes, mind),
        Dialect::Responses => responses::stream(bytes, mind),
        Dialect::Anthropic => anthropic::stream(bytes, mind),
        Dialect::Gemini => gemini::stream(bytes, mind),
    }
}

/// The text of a member, or nothing.
pub fn text<'a>(of: &'a Value, member: &str) -> &'a str {
    of[member].as_str().unwrap_or_default()
}

/// The members of an array, or none.
pub fn list<'a>(of: &'a Value, member: &str) -> &'a [Value] {
    of[member].as_array().map_or(&[], Vec::as_slice)
}

/// A count; absent and null are 0.
pub fn count(of: &Value, member: &str) -> u64 {
    of[member].as_u64().unwrap_or_default()
}

/// Every key is there; its value may be null.
pub fn has_keys(mind: Mind, of: &Value, keys: &[&str]) -> Result<(), String> {
    let missing: Vec<_> = keys.iter().filter(|key| of.get(**key).is_none()).collect();
    mind.rule(missing.is_empty(), || format!("without {missing:?}: {of}"))
}

/// An error envelope of any dialect, in one line.
pub fn error_of(value: &Value) -> Option<String> {
    value.get("error").filter(|error| !error.is_null()).map(ToString::to_string)
}
