//! What went wrong, at the upstream or with a request.
//! Owns: the two types. Must not: word them; [`crate::errors`] does.
//! Read next: [`crate::errors`].

use crate::errors::Kind;
use crate::json::Text;

/// An upstream's error, in its body or in its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// What kind.
    pub kind: Kind,
    /// For people; the upstream's words, cut to what is passed on.
    pub message: Text<'a>,
    /// How long to wait before another try, if it says so.
    pub retry_after_ms: Option<u64>,
}

impl<'a> Failure<'a> {
    /// An error of our own about an upstream.
    pub const fn of(kind: Kind, message: &'static str) -> Failure<'a> {
        Self { kind, message: Text::written(message), retry_after_ms: None }
    }

    /// The stream broke off.
    pub const fn truncated() -> Failure<'a> {
        Self::of(Kind::UpstreamTruncated, "the upstream ended its stream before its answer was complete")
    }

    /// A copy that lends from nothing.
    pub fn into_owned(self) -> Failure<'static> {
        Failure { kind: self.kind, message: self.message.into_owned(), retry_after_ms: self.retry_after_ms }
    }
}

/// A request that cannot be carried over at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What kind.
    pub kind: Kind,
    /// The field to blame, as a JSON pointer into the caller's body; empty if no one field is.
    pub pointer: String,
    /// For people: what is wrong, and what would be right.
    pub message: String,
}

impl Refused {
    /// A refusal of one field.
    pub fn field(pointer: String, message: impl Into<String>) -> Self {
        Self { kind: Kind::InvalidRequest, pointer, message: message.into() }
    }

    /// A refusal because the target cannot do what one field asks.
    pub fn unsupported(pointer: String, message: impl Into<String>) -> Self {
        Self { kind: Kind::UnsupportedField, pointer, message: message.into() }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.pointer.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.pointer, self.message)
        }
    }
}

impl std::error::Error for Refused {}
