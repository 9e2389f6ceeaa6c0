//! What is known of models: lengths, prices, and what they can do.
//!
//! Owns: one entry of the catalogue, as the operator wrote it. What is not said stays unsaid.
//! Must not: know a model by itself: providers change theirs faster than this program is released.
//! Read next: [`crate::snapshot`].

use serde::{Deserialize, Serialize};

use crate::numbers::MicroDollars;

/// What is known of one model, or of all that a glob names. Of several entries that fit a name the first counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The model's name at its backend, or a glob on it (`*` any run, `?` one byte).
    pub name: String,
    /// What people call it, for listings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Who made it, for listings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Tokens of a prompt and its answer together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    /// Tokens of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens_max: Option<u64>,
    /// What its tokens cost; none: nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// What it can do.
    #[serde(default)]
    pub capabilities: Capabilities,
}

/// What a million tokens cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Of the prompt.
    pub input: MicroDollars,
    /// Of the answer, thoughts included.
    pub output: MicroDollars,
    /// Of the prompt, found in the provider's cache; none: as the rest of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<MicroDollars>,
    /// Of the prompt, written to the provider's cache; none: as the rest of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<MicroDollars>,
}

/// What a model can do; what is not said is assumed of its dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capabilities {
    /// It sees pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<bool>,
    /// It fetches pictures that are given by address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_urls: Option<bool>,
    /// It hears.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<bool>,
    /// It reads documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<bool>,
    /// It calls tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    /// It answers by a JSON schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<bool>,
    /// How it is asked to think.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Reasoning>,
}

/// How a model is asked to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reasoning {
    /// It does not.
    None,
    /// By an effort in words.
    Effort,
    /// By a budget of tokens.
    Budget,
    /// By an effort that it adapts to (Anthropic).
    Adaptive,
}
