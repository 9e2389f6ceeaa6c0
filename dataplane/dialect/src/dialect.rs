//! The four dialects, by name.
//! Owns: the closed set that everything here is dispatched by. Must not: know a field.
//! Read next: [`crate::model`].

use crate::surface::Grammar;

/// A grammar that a caller or a backend speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI Chat Completions, and every engine that speaks it.
    OpenAiChat,
    /// OpenAI Responses.
    OpenAiResponses,
    /// Anthropic Messages.
    Anthropic,
    /// Google Gemini `generateContent`.
    Gemini,
}

impl Dialect {
    /// All four.
    pub const ALL: [Self; 4] = [Self::OpenAiChat, Self::OpenAiResponses, Self::Anthropic, Self::Gemini];

    /// As configuration spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai-chat",
            Self::OpenAiResponses => "openai-responses",
            Self::Anthropic => "anthropic-messages",
            Self::Gemini => "gemini",
        }
    }

    /// Where it is called, behind a base path; `None`: at a path of the model's.
    pub const fn path(self) -> Option<&'static str> {
        match self {
            Self::OpenAiChat => Some("/v1/chat/completions"),
            Self::OpenAiResponses => Some("/v1/responses"),
            Self::Anthropic => Some("/v1/messages"),
            Self::Gemini => None,
        }
    }

    /// The grammar its errors are worded in.
    pub const fn grammar(self) -> Grammar {
        match self {
            Self::OpenAiChat | Self::OpenAiResponses => Grammar::OpenAi,
            Self::Anthropic => Grammar::Anthropic,
            Self::Gemini => Grammar::Gemini,
        }
    }
}
