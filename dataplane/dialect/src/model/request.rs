//! A request, in no one's words.
//! Owns: what a caller asks for, and where in the body each wish stood.
//! Must not: hold defaults: what the caller did not say stays unsaid.
//! Read next: `part.rs`, what turns are made of.

use super::part::Part;
use super::reasoning::Reasoning;
use super::tool::{Tool, ToolChoice};
use crate::json::{Place, Raw, Text, Value};

/// Something that was asked for, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// What.
    pub value: T,
    /// Where it stands in the caller's body.
    pub at: Place,
}

impl<T> Placed<T> {
    /// Something that stands nowhere: a default, or a test's.
    pub const fn unplaced(value: T) -> Self {
        Self { value, at: Place::NONE }
    }
}

/// The text that a request or an answer was read from, so that places in it can be named. Compares equal to any other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Source<'a>(pub Option<Value<'a>>);

impl PartialEq for Source<'_> {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Source<'_> {
    /// The JSON pointer of a place in it.
    pub fn pointer(&self, at: Place) -> String {
        self.0.map_or_else(String::new, |root| root.pointer(at))
    }
}

/// What a caller asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request<'a> {
    /// What it was read from.
    pub source: Source<'a>,
    /// The model, as the upstream is to be asked for it.
    pub model: Text<'a>,
    /// Instructions in front of the conversation. Only [`super::Content::Text`].
    pub system: Vec<Part<'a>>,
    /// The conversation.
    pub turns: Vec<Turn<'a>>,
    /// Tools, in the caller's order.
    pub tools: Vec<Tool<'a>>,
    /// Which of them to call.
    pub tool_choice: Option<Placed<ToolChoice<'a>>>,
    /// Whether several may be called at once.
    pub parallel_tools: Option<Placed<bool>>,
    /// The form of the answer; `None`: text.
    pub output: Option<Placed<Output<'a>>>,
    /// How wordy the answer may be.
    pub verbosity: Option<Placed<Verbosity>>,
    /// Most tokens of the answer, thoughts included.
    pub max_output: Option<Placed<u64>>,
    /// How tokens are chosen.
    pub sampling: Sampling<'a>,
    /// Texts that end the answer.
    pub stop: Option<Placed<Vec<Text<'a>>>>,
    /// How many answers; `None`: one.
    pub choices: Option<Placed<u64>>,
    /// Probabilities of tokens.
    pub logprobs: Option<Placed<Logprobs>>,
    /// How to think before answering.
    pub reasoning: Option<Placed<Reasoning>>,
    /// Other forms than text that are asked for.
    pub modalities: Option<Placed<Modalities<'a>>>,
    /// The answer is to come as a stream.
    pub stream: bool,
    /// The stream is to say what it cost. Always true where the dialect always does.
    pub stream_usage: bool,
    /// Who the caller's user is.
    pub end_user: Option<Placed<Text<'a>>>,
    /// Pairs the caller wants kept with the request, as one JSON object.
    pub metadata: Option<Placed<Raw<'a>>>,
    /// How urgent it is.
    pub tier: Option<Placed<Tier<'a>>>,
    /// What requests of one prefix have in common.
    pub cache_key: Option<Placed<Text<'a>>>,
    /// Whether the provider may keep it. Writers that could, ask it not to, unless this says so.
    pub store: Option<Placed<bool>>,
    /// Top-level fields that the common model has no word for: for an engine that knows them, else lost.
    pub extras: Vec<Extra<'a>>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The caller, and results of the caller's tools.
    User,
    /// The model.
    Assistant,
    /// Instructions in the middle of the conversation. Never moved to its beginning: equal prefixes stay equal.
    System,
}

/// One turn of the conversation.
///
/// Readers of OpenAI's dialects put results of tools and the user text right behind them into one turn, as Anthropic
/// and Gemini want it; writers of OpenAI's take them apart again in the same order.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn<'a> {
    /// Who speaks.
    pub role: Role,
    /// The speaker's name, which only OpenAI's messages have.
    pub name: Option<Placed<Text<'a>>>,
    /// What is said.
    pub parts: Vec<Part<'a>>,
    /// Where the turn stands.
    pub at: Place,
}

/// A field that the common model has no word for.
#[derive(Clone, Debug, PartialEq)]
pub struct Extra<'a> {
    /// Its key.
    pub key: Text<'a>,
    /// Its value.
    pub value: Raw<'a>,
    /// Where it stands.
    pub at: Place,
}

/// The form of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Output<'a> {
    /// Text.
    Text,
    /// Any JSON.
    JsonAny,
    /// JSON of a schema.
    JsonSchema(Schema<'a>),
    /// What an engine's own grammar allows, in its own words.
    Grammar(Raw<'a>),
}

/// A schema that an answer must follow.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema<'a> {
    /// Its name.
    pub name: Option<Text<'a>>,
    /// What it is for.
    pub description: Option<Text<'a>>,
    /// The schema. `None` where the caller left it out.
    pub schema: Option<Raw<'a>>,
    /// Whether it is enforced.
    pub strict: Option<bool>,
}

/// How wordy an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verbosity {
    /// `low`
    Low,
    /// `medium`
    Medium,
    /// `high`
    High,
}

/// How tokens are chosen. Numbers keep their text: `1.0` does not become `1`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling<'a> {
    /// `temperature`
    pub temperature: Option<Placed<Raw<'a>>>,
    /// `top_p`
    pub top_p: Option<Placed<Raw<'a>>>,
    /// `top_k`
    pub top_k: Option<Placed<u64>>,
    /// `min_p`
    pub min_p: Option<Placed<Raw<'a>>>,
    /// `repetition_penalty`
    pub repetition_penalty: Option<Placed<Raw<'a>>>,
    /// `frequency_penalty`
    pub frequency_penalty: Option<Placed<Raw<'a>>>,
    /// `presence_penalty`
    pub presence_penalty: Option<Placed<Raw<'a>>>,
    /// `seed`
    pub seed: Option<Placed<Raw<'a>>>,
    /// `logit_bias`
    pub logit_bias: Option<Placed<Raw<'a>>>,
}

/// Probabilities of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logprobs {
    /// How many alternatives per token.
    pub top: u64,
}

/// Other forms of answers than text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Modalities<'a> {
    /// Pictures.
    pub image: bool,
    /// Sound.
    pub audio: bool,
    /// Settings of the sound, in the caller's words.
    pub audio_settings: Option<Raw<'a>>,
}

/// How urgent a request is.
#[derive(Clone, Debug, PartialEq)]
pub enum Tier<'a> {
    /// As the account is set up.
    Auto,
    /// The ordinary way: `default`, `standard`, `standard_only`.
    Default,
    /// Later and cheaper.
    Flex,
    /// Sooner and dearer.
    Priority,
    /// A tier only one provider has.
    Other(Text<'a>),
}
