//! An exchange whose caller and backend speak different dialects.
//!
//! Owns: telling that it is one, and what is kept of its request until its answer is written.
//! Must not: know how a dialect spells anything (`ringway_dialect` does), or touch an exchange of equal dialects.
//! Read next: `request.rs`, the way there; `answer.rs`, the way back.

mod answer;
mod request;
mod source;

pub use answer::live;
pub use request::{asks_for_events, come_home, prepare};

use ringway_contract::snapshot;
use ringway_dialect::dialect::Dialect;
use ringway_dialect::model::{Echo, Losses, Realm};
use ringway_dialect::surface::{Surface, Verb, surface, without_query};

/// What a caller speaks, by the path it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// A call of a model, which can be translated.
    Calls(Dialect),
    /// Something beside, which only a backend of the same dialect can answer.
    Beside(Dialect),
    /// Nothing that is tied to a dialect: bytes go on as they are.
    Anything,
}

impl Speaks {
    /// Of this path (with or without query); `post`: the method can carry a call.
    pub fn of(path: &[u8], post: bool) -> Self {
        let (dialect, calls) = match surface(path) {
            Surface::Chat => (Dialect::OpenAiChat, true),
            Surface::Responses => (Dialect::OpenAiResponses, is_top(path, b"/responses")),
            Surface::Messages => (Dialect::Anthropic, is_top(path, b"/messages")),
            Surface::CountTokens => (Dialect::Anthropic, false),
            Surface::Generate { verb, .. } => {
                (Dialect::Gemini, matches!(verb, Verb::Generate | Verb::StreamGenerate))
            }
            Surface::Completions
            | Surface::Embeddings
            | Surface::Rerank
            | Surface::Models { .. }
            | Surface::Other => return Self::Anything,
        };
        if calls && post { Self::Calls(dialect) } else { Self::Beside(dialect) }
    }

    /// Whether a backend of this dialect cannot take it as it is.
    pub fn is_foreign_to(self, backend: snapshot::Dialect) -> bool {
        match (self, of_backend(backend)) {
            (Self::Calls(caller) | Self::Beside(caller), Some(backend)) => caller != backend,
            (Self::Anything, _) | (_, None) => false,
        }
    }

    /// Whether a call may be served in its own dialect now and was perhaps served in another before: some of these
    /// backends speak the one and some another.
    pub fn is_mixed(self, mut backends: impl Iterator<Item = snapshot::Dialect>) -> bool {
        let Self::Calls(_) = self else { return false };
        let Some(first) = backends.next().map(|backend| self.is_foreign_to(backend)) else { return false };
        backends.any(|backend| self.is_foreign_to(backend) != first)
    }

    /// Whether a backend of this dialect can answer it at all, as it is or translated.
    pub fn reaches(self, backend: snapshot::Dialect) -> bool {
        match self {
            Self::Calls(_) | Self::Anything => true,
            Self::Beside(_) => !self.is_foreign_to(backend),
        }
    }
}

/// What a backend speaks; none: its bytes are not read.
const fn of_backend(dialect: snapshot::Dialect) -> Option<Dialect> {
    match dialect {
        snapshot::Dialect::OpenaiChat => Some(Dialect::OpenAiChat),
        snapshot::Dialect::OpenaiResponses => Some(Dialect::OpenAiResponses),
        snapshot::Dialect::AnthropicMessages => Some(Dialect::Anthropic),
        snapshot::Dialect::Gemini => Some(Dialect::Gemini),
        snapshot::Dialect::Http => None,
    }
}

/// Whether this is the collection itself and nothing below it: its name stands once, at the end.
fn is_top(path: &[u8], name: &[u8]) -> bool {
    let path = without_query(path);
    path.strip_suffix(name).is_some_and(|front| !front.windows(name.len()).any(|part| part == name))
}

/// A request in the backend's words, and what its answer has to know of it.
#[derive(Debug)]
pub struct Translation {
    /// Head and body, ready to be sent; kept for another try over a fresh connection.
    pub composed: Vec<u8>,
    caller: Dialect,
    upstream: Dialect,
    realm: Realm,
    echo: Echo,
    losses: Losses,
    form: Form,
}

/// What the caller is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One JSON object.
    Whole,
    /// Events.
    Events,
    /// A stream that is one JSON array: Gemini's without `alt=sse`.
    Array,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_from_what_stands_beside_them() {
        use Dialect::{Anthropic, Gemini, OpenAiChat, OpenAiResponses};
        for (path, speaks) in [
            ("/v1/chat/completions", Speaks::Calls(OpenAiChat)),
            ("/v1/responses?x=1", Speaks::Calls(OpenAiResponses)),
            ("/v1/responses/resp_1", Speaks::Beside(OpenAiResponses)),
            ("/v1/responses/x/responses", Speaks::Beside(OpenAiResponses)),
            ("/v1/messages?beta=true", Speaks::Calls(Anthropic)),
            ("/v1/messages/count_tokens", Speaks::Beside(Anthropic)),
            ("/v1/messages/batches", Speaks::Beside(Anthropic)),
            ("/v1beta/models/m:generateContent", Speaks::Calls(Gemini)),
            ("/v1beta/models/m:streamGenerateContent?alt=sse", Speaks::Calls(Gemini)),
            ("/v1beta/models/m:countTokens", Speaks::Beside(Gemini)),
            ("/v1/embeddings", Speaks::Anything),
            ("/v1/completions", Speaks::Anything),
            ("/healthz", Speaks::Anything),
        ] {
            assert_eq!(Speaks::of(path.as_bytes(), true), speaks, "{path}");
        }
        assert_eq!(Speaks::of(b"/v1/chat/completions", false), Speaks::Beside(OpenAiChat));
    }

    #[test]
    fn equal_dialects_and_unread_backends_are_not_foreign() {
        let calls = Speaks::Calls(Dialect::Anthropic);
        assert!(calls.is_foreign_to(snapshot::Dialect::OpenaiChat));
        assert!(!calls.is_foreign_to(snapshot::Dialect::AnthropicMessages));
        assert!(!calls.is_foreign_to(snapshot::Dialect::Http));
        assert!(!Speaks::Anything.is_foreign_to(snapshot::Dialect::Gemini));
        let beside = Speaks::Beside(Dialect::Anthropic);
        assert!(calls.reaches(snapshot::Dialect::Gemini) && !beside.reaches(snapshot::Dialect::Gemini));
        assert!(
            beside.reaches(snapshot::Dialect::AnthropicMessages) && beside.reaches(snapshot::Dialect::Http)
        );
    }
}
