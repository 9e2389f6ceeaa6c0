//! What an upstream is like, as far as a writer must know.
//! Owns: the settings of a route's target, with their defaults. Must not: know addresses or keys.
//! Read next: `capability.rs`, what its model can do.

use super::capability::Capabilities;
use super::opaque::{Origin, Realm};
use crate::dialect::Dialect;

/// What an upstream is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a list of independent facts from a route")]
pub struct Target {
    /// What it speaks.
    pub dialect: Dialect,
    /// Who runs it.
    pub engine: Engine,
    /// What its model can do.
    pub capabilities: Capabilities,
    /// Most tokens of an answer where the caller did not say and the dialect wants a number.
    pub default_max_output: u64,
    /// Which of Anthropic's versions it is asked in.
    pub anthropic_version: AnthropicVersion,
    /// What Chat Completions calls the most tokens of an answer.
    pub max_tokens_name: MaxTokensName,
    /// Leading instructions go as `developer` instead of `system`.
    pub developer_role: bool,
    /// What ids of calls it takes.
    pub call_ids: CallIds,
    /// Whose sealed state it can read.
    pub realm: Realm,
    /// Thoughts that were shown as text go back in the history (dialects section 2.2).
    pub replay_reasoning: bool,
    /// It takes pictures in the results of tools.
    pub images_in_results: bool,
    /// Web search is carried to its own web search.
    pub map_web_search: bool,
    /// Gemini's old schema form instead of JSON Schema.
    pub legacy_schema: bool,
}

/// Who runs an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// A provider of hosted models.
    Hosted,
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// Some other engine that speaks Chat Completions.
    Other,
}

impl Engine {
    /// Is it run by whoever runs ringway, with extras of its own?
    pub const fn takes_extras(self) -> bool {
        matches!(self, Self::Vllm | Self::Sglang)
    }
}

/// Versions of Anthropic's API that differ in what they take (dialects section 7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnthropicVersion {
    /// `2023-06-01`
    V2023,
    /// `2026-10-21`: no `temperature`, `top_p`, `top_k`; no documents in the model's turns.
    V2026,
}

impl AnthropicVersion {
    /// The header's value.
    pub const fn header(self) -> &'static str {
        match self {
            Self::V2023 => "2023-06-01",
            Self::V2026 => "2026-10-21",
        }
    }
}

/// What Chat Completions calls the most tokens of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MaxTokensName {
    /// `max_completion_tokens`
    MaxCompletionTokens,
    /// `max_tokens`
    MaxTokens,
}

/// What ids of calls an upstream takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallIds {
    /// What its dialect says.
    Ordinary,
    /// Up to 40 characters (older models of OpenAI).
    Forty,
    /// Exactly nine letters and digits (Mistral).
    NineAlphanumerics,
}

impl Target {
    /// A hosted upstream of this dialect, about which nothing else is known.
    pub const fn of(dialect: Dialect) -> Self {
        Self {
            dialect,
            engine: Engine::Hosted,
            capabilities: Capabilities::assumed(dialect),
            default_max_output: 8_192,
            anthropic_version: AnthropicVersion::V2023,
            max_tokens_name: MaxTokensName::MaxCompletionTokens,
            developer_role: false,
            call_ids: CallIds::Ordinary,
            realm: Realm::NONE,
            replay_reasoning: false,
            images_in_results: false,
            map_web_search: false,
            legacy_schema: false,
        }
    }

    /// An engine that speaks Chat Completions.
    pub const fn engine(engine: Engine) -> Self {
        let own = engine.takes_extras();
        Self {
            engine,
            max_tokens_name: MaxTokensName::MaxTokens,
            replay_reasoning: own,
            images_in_results: own,
            ..Self::of(Dialect::OpenAiChat)
        }
    }

    /// Whose state it can read.
    pub const fn origin(&self) -> Origin {
        match self.dialect {
            Dialect::OpenAiChat => Origin::Chat,
            Dialect::OpenAiResponses => Origin::Responses,
            Dialect::Anthropic => Origin::Anthropic,
            Dialect::Gemini => Origin::Gemini,
        }
    }
}
