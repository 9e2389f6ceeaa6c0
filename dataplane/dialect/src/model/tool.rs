//! Tools, and which of them to call.
//! Owns: the definitions. Must not: look into a schema.
//! Read next: `names.rs`, what they are called elsewhere.

use super::opaque::Origin;
use super::part::CacheMark;
use crate::json::{Place, Raw, Text};

/// A tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool<'a> {
    /// What it is.
    pub kind: ToolKind<'a>,
    /// The prompt up to here is worth caching.
    pub cache: Option<CacheMark>,
    /// Where it stands.
    pub at: Place,
}

/// Kinds of tools.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolKind<'a> {
    /// Called with JSON, by the caller.
    Function(Function<'a>),
    /// Called with free text, by the caller.
    Custom {
        /// Name, namespace and description; no schema.
        function: Function<'a>,
        /// What texts are allowed.
        format: Option<CustomFormat<'a>>,
    },
    /// Run by a provider.
    Hosted(HostedTool<'a>),
}

/// A tool that the caller runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function<'a> {
    /// The group it is in (Responses).
    pub namespace: Option<Text<'a>>,
    /// Its name.
    pub name: Text<'a>,
    /// What it does.
    pub description: Option<Text<'a>>,
    /// What it is called with.
    pub schema: Option<Raw<'a>>,
    /// Whether the schema is enforced.
    pub strict: Option<bool>,
}

/// What texts a custom tool takes.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomFormat<'a> {
    /// `lark` or `regex`.
    pub syntax: Text<'a>,
    /// The grammar.
    pub definition: Text<'a>,
}

/// A tool that a provider runs.
#[derive(Clone, Debug, PartialEq)]
pub struct HostedTool<'a> {
    /// Whose.
    pub provider: Origin,
    /// It is a web search, the one hosted tool that all have.
    pub is_web_search: bool,
    /// Run by the caller after all, by a schema that the provider knows (Anthropic's `bash_*`, `computer_*`): no
    /// other model can call it.
    pub by_client: bool,
    /// It, in the provider's words.
    pub raw: Raw<'a>,
}

/// Which tool to call.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolChoice<'a> {
    /// As the model likes.
    Auto,
    /// None.
    None,
    /// Any, but one.
    Required,
    /// This one.
    Named {
        /// Its name.
        name: Text<'a>,
        /// It is a custom tool.
        custom: bool,
    },
    /// Some of them.
    Allowed {
        /// One must be called.
        required: bool,
        /// Their names.
        names: Vec<Text<'a>>,
    },
    /// A provider's own.
    Hosted(Raw<'a>),
}
