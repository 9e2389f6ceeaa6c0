//! What of a request its answer has to know.
//! Owns: the little that outlives the request's body. Must not: hold any of its content.
//! Read next: `event.rs`.

use super::names::ToolNames;
use super::reasoning::Show;
use super::request::Request;
use crate::dialect::Dialect;

/// What a writer of answers knows of the caller and of the request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Echo {
    /// The model, as the caller asked for it: answers name that, not the upstream's.
    pub model: String,
    /// The caller's stream is to say what it cost.
    pub stream_usage: bool,
    /// What the caller wants to see of thoughts.
    pub show: Show,
    /// The caller brings a provider's state back.
    pub return_opaque: bool,
    /// Tools that had to be renamed.
    pub names: ToolNames,
    /// When the answer's head arrived, in seconds since 1970, for upstreams that do not say.
    pub now: u64,
    /// What the answer's id is made of where the upstream has none: something unique.
    pub id: String,
}

impl Echo {
    /// Of this request, which goes to this dialect.
    pub fn of(request: &Request<'_>, target: Dialect) -> Self {
        let reasoning = request.reasoning.as_ref().map(|reasoning| reasoning.value).unwrap_or_default();
        Self {
            model: request.model.plain().into_owned(),
            stream_usage: request.stream_usage,
            show: reasoning.show,
            return_opaque: reasoning.return_opaque,
            names: ToolNames::of(request, target),
            now: 0,
            id: String::new(),
        }
    }
}
