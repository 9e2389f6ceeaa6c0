//! What turns and answers are made of.
//! Owns: the kinds of content. Must not: have a kind that only one dialect can carry, except as [`ServerItem`].
//! Read next: `tool.rs`.

use super::opaque::{Opaque, Origin};
use crate::json::{Place, Raw, Text};

/// One part of a turn or of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Part<'a> {
    /// What it is.
    pub content: Content<'a>,
    /// The prompt up to here is worth caching. A mark stays at its level: one on a tool's result is not one on the
    /// text inside it.
    pub cache: Option<CacheMark>,
    /// Where it stands.
    pub at: Place,
}

impl<'a> Part<'a> {
    /// A part that stands somewhere.
    pub const fn new(content: Content<'a>, at: Place) -> Self {
        Self { content, cache: None, at }
    }
}

/// The prompt up to here is worth caching, for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheMark {
    /// As long as the provider does.
    Default,
    /// Anthropic's five minutes, OpenAI's thirty.
    Short,
    /// Anthropic's hour, OpenAI's twelve.
    Long,
}

/// Kinds of content.
#[derive(Clone, Debug, PartialEq)]
pub enum Content<'a> {
    /// Text.
    Text {
        /// It.
        text: Text<'a>,
        /// Where it is from, each as one OpenAI `url_citation` object: `{url,title,start_index,end_index}`, or what the
        /// dialect at hand has, in its own words.
        citations: Vec<Raw<'a>>,
    },
    /// A picture.
    Image(Image<'a>),
    /// Sound.
    Audio(Audio<'a>),
    /// Moving pictures.
    Video(ImageSource<'a>),
    /// A file to read.
    Document(Document<'a>),
    /// A call of one of the caller's tools.
    ToolCall(ToolCall<'a>),
    /// What the tool answered.
    ToolResult(ToolResult<'a>),
    /// A thought.
    Reasoning(ReasoningPart<'a>),
    /// The model declines.
    Refusal(Text<'a>),
    /// A provider's own tool at work; only that provider can read it back.
    Server(ServerItem<'a>),
    /// State that belongs to the part before it, or to the call behind it, as its kind says.
    Signature(Opaque<'a>),
}

impl<'a> Content<'a> {
    /// Text without citations.
    pub const fn text(text: Text<'a>) -> Self {
        Self::Text { text, citations: Vec::new() }
    }
}

/// A picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Image<'a> {
    /// Where it is.
    pub source: ImageSource<'a>,
    /// How closely to look: `auto`, `low`, `high`, `original`.
    pub detail: Option<Text<'a>>,
}

/// Where a picture is.
#[derive(Clone, Debug, PartialEq)]
pub enum ImageSource<'a> {
    /// Somewhere to be fetched from.
    Url {
        /// The address.
        url: Text<'a>,
        /// Its media type, where the caller said.
        mime: Option<Text<'a>>,
    },
    /// Here.
    Base64 {
        /// Its media type; empty where the caller did not say.
        mime: Text<'a>,
        /// Standard alphabet, padded.
        data: Text<'a>,
    },
    /// With a provider.
    File {
        /// Whose id.
        provider: Origin,
        /// The id.
        id: Text<'a>,
    },
}

/// Sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio<'a> {
    /// Its media type, such as `audio/wav`.
    pub mime: Text<'a>,
    /// Standard base64, padded.
    pub data: Text<'a>,
}

/// A file to read.
#[derive(Clone, Debug, PartialEq)]
pub struct Document<'a> {
    /// Where it is.
    pub source: DocumentSource<'a>,
    /// Its title or file name.
    pub title: Option<Text<'a>>,
    /// What the caller says about it.
    pub context: Option<Text<'a>>,
    /// Whether the answer is to cite it.
    pub citations: Option<bool>,
}

/// Where a document is.
#[derive(Clone, Debug, PartialEq)]
pub enum DocumentSource<'a> {
    /// Here, in base64.
    Base64 {
        /// Its media type.
        mime: Text<'a>,
        /// Standard alphabet, padded.
        data: Text<'a>,
    },
    /// Somewhere to be fetched from.
    Url(Text<'a>),
    /// Here, as text.
    Text(Text<'a>),
    /// Here, as parts.
    Parts(Vec<Part<'a>>),
    /// With a provider.
    File {
        /// Whose id.
        provider: Origin,
        /// The id.
        id: Text<'a>,
    },
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall<'a> {
    /// Links it with its result. Empty where the dialect has none; writers derive one then.
    pub id: Text<'a>,
    /// The tool.
    pub name: Text<'a>,
    /// What namespace the tool is in (Responses).
    pub namespace: Option<Text<'a>>,
    /// What it is called with.
    pub args: Args<'a>,
    /// The provider's state that goes with the call.
    pub opaque: Option<Opaque<'a>>,
}

/// What a tool is called with. OpenAI has JSON inside a string, Anthropic and Gemini have the object itself; which of
/// them it came as is kept, and turned into the other only where a writer needs it.
#[derive(Clone, Debug)]
pub enum Args<'a> {
    /// The text of a JSON object.
    Text(Text<'a>),
    /// A JSON object.
    Object(Raw<'a>),
    /// Free text, for a custom tool.
    Free(Text<'a>),
}

impl PartialEq for Args<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) | (Self::Free(a), Self::Free(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            (Self::Text(text), Self::Object(raw)) | (Self::Object(raw), Self::Text(text)) => {
                Raw::written(&text.plain()) == raw.lend()
            }
            (Self::Free(_), _) | (_, Self::Free(_)) => false,
        }
    }
}

/// What a tool answered.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult<'a> {
    /// The call it answers. Empty in Gemini's requests without ids.
    pub call_id: Text<'a>,
    /// The tool's name, where the dialect says it.
    pub name: Option<Text<'a>>,
    /// The tool failed.
    pub is_error: Option<bool>,
    /// Texts, pictures and documents.
    pub content: Vec<Part<'a>>,
    /// The result as the JSON object that Gemini has, where it came as one.
    pub object: Option<Raw<'a>>,
}

/// A thought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReasoningPart<'a> {
    /// What may be shown of it: summaries, or the whole where the provider shows that.
    pub text: Vec<Text<'a>>,
    /// The text is the chain itself, not a summary of it.
    pub is_raw: bool,
    /// Its id (Responses).
    pub id: Option<Text<'a>>,
    /// The provider's state.
    pub opaque: Option<Opaque<'a>>,
}

/// Something only its provider can read back: a hosted tool's call or result.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerItem<'a> {
    /// Whose it is.
    pub provider: Origin,
    /// It, in that provider's words.
    pub raw: Raw<'a>,
}
