//! Why a body is not the JSON object we can route by.
//! Owns: the keys we read and the words of each error.
//! Must not: hold bytes of the body; an error text may be shown to the caller and logged.
//! Read next: `scanner.rs`, which raises them.

use std::fmt;

/// The top-level keys that the scanner reads. A second one of the same name is refused (SEC-JS-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Key {
    /// `model`
    Model,
    /// `stream`
    Stream,
    /// `max_tokens`
    MaxTokens,
    /// `max_completion_tokens`
    MaxCompletionTokens,
    /// `max_output_tokens`
    MaxOutputTokens,
    /// `messages` (OpenAI Chat, Anthropic)
    Messages,
    /// `contents` (Gemini)
    Contents,
    /// `prompt` (OpenAI completions)
    Prompt,
    /// `input` (OpenAI Responses, embeddings)
    Input,
    /// `system` (Anthropic)
    System,
}

impl Key {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 10] = [
        Self::Model,
        Self::Stream,
        Self::MaxTokens,
        Self::MaxCompletionTokens,
        Self::MaxOutputTokens,
        Self::Messages,
        Self::Contents,
        Self::Prompt,
        Self::Input,
        Self::System,
    ];

    /// The key as it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Stream => "stream",
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxOutputTokens => "max_output_tokens",
            Self::Messages => "messages",
            Self::Contents => "contents",
            Self::Prompt => "prompt",
            Self::Input => "input",
            Self::System => "system",
        }
    }

    /// The key of this name, compared after unescaping and in exact case (SEC-JS-03).
    pub fn of(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name().as_bytes() == name)
    }
}

/// What is wrong with a body, and where: `at` counts bytes from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// A key that we read stands twice at the top level: two parsers may take different ones.
    DuplicateKey {
        /// The key.
        key: Key,
        /// Where the second one begins.
        at: u64,
    },
    /// Bytes that are not UTF-8.
    BadUtf8 {
        /// The first byte of the broken sequence.
        at: u64,
    },
    /// A byte order mark before the text.
    ByteOrderMark,
    /// More nested containers than the bound.
    TooDeep {
        /// The bracket that is one too many.
        at: u64,
        /// The bound.
        depth: u32,
    },
    /// A byte that the grammar does not allow here.
    Syntax {
        /// That byte.
        at: u64,
    },
    /// Half of a surrogate pair without the other.
    LoneSurrogate {
        /// The byte at which this became certain.
        at: u64,
    },
    /// Bytes after the end of the object.
    TrailingData {
        /// The first of them.
        at: u64,
    },
    /// A JSON text, but not an object.
    NotAnObject {
        /// Its first byte.
        at: u64,
    },
    /// `model` is there and is not a string.
    ModelNotAString {
        /// The first byte of its value.
        at: u64,
    },
    /// `model` is longer than [`crate::bounds::JSON_MODEL_BYTES_MAX`].
    ModelTooLong {
        /// The first byte of its value.
        at: u64,
    },
    /// The body ended inside the object.
    Truncated {
        /// The length of the body.
        at: u64,
    },
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::DuplicateKey { key, at } => {
                write!(f, "the key \"{}\" stands twice (again at byte {at}); send it once", key.name())
            }
            Self::BadUtf8 { at } => write!(f, "byte {at} of the body is not UTF-8; encode the body as UTF-8"),
            Self::ByteOrderMark => f.write_str("the body begins with a byte order mark; send it without"),
            Self::TooDeep { at, depth } => {
                write!(f, "more than {depth} nested arrays and objects at byte {at}; send a flatter body")
            }
            Self::Syntax { at } => {
                write!(f, "byte {at} of the body is not valid JSON there; send strict JSON (RFC 8259)")
            }
            Self::LoneSurrogate { at } => {
                write!(
                    f,
                    "half of a surrogate pair before byte {at}; write both halves or the character itself"
                )
            }
            Self::TrailingData { at } => {
                write!(f, "data after the end of the object at byte {at}; send one JSON object")
            }
            Self::NotAnObject { at } => {
                write!(f, "the body is not a JSON object (byte {at}); send an object")
            }
            Self::ModelNotAString { at } => {
                write!(f, "\"model\" is not a string (byte {at}); send a model name")
            }
            Self::ModelTooLong { at } => write!(
                f,
                "\"model\" is longer than {} bytes (byte {at}); send a shorter name",
                crate::bounds::JSON_MODEL_BYTES_MAX
            ),
            Self::Truncated { at } => {
                write!(f, "the body ends inside the JSON object after {at} bytes; send all of it")
            }
        }
    }
}

impl std::error::Error for JsonError {}
