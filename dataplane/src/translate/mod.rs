//! An exchange whose caller and backend speak different dialects.
//!
//! Owns: telling that it is one, and what is kept of its request until its answer is written.
//! Must not: know how a dialect spells anything (`ringway_dialect` does), or touch an exchange of equal dialects.
//! Read next: `request.rs`, the way there; `answer.rs`, the way back.

mod answer;
mod request;
mod source;

pub use answer::live;
pub use request::{again, ask_usage, asks_for_events, come_home, prepare, prepare_hosted};

use ringway_contract::snapshot;
use ringway_dialect::dialect::Dialect;
use ringway_dialect::model::{Echo, Losses, Realm};
use ringway_dialect::surface::{Surface, Verb, without_query};

use crate::hosted;
use crate::table::Backend;

/// What a caller speaks, by the path it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// A call of a model, which can be translated.
    Calls(Dialect),
    /// Vectors for texts: in OpenAI's form, whose name here is Chat Completions, or in Gemini's.
    Embeds(Dialect),
    /// How long a prompt is.
    Counts(Dialect),
    /// Something beside, which only a backend of the same dialect can answer.
    Beside(Dialect),
    /// A text that is gone on with: a call in OpenAI's oldest form, which many servers have and none is translated to.
    Completes,
    /// Nothing that is tied to a dialect: bytes go on as they are.
    Anything,
}

impl Speaks {
    /// Of this path (with or without query) of that surface; `post`: the method can carry a call.
    pub fn of(path: &[u8], surface: Surface<'_>, post: bool) -> Self {
        use Dialect::{Anthropic, Gemini, OpenAiChat, OpenAiResponses};
        let speaks = match surface {
            Surface::Chat => Self::Calls(OpenAiChat),
            Surface::Embeddings => Self::Embeds(OpenAiChat),
            Surface::Responses if is_top(path, b"/responses") => Self::Calls(OpenAiResponses),
            Surface::Responses if is_top(path, b"/responses/input_tokens") => Self::Counts(OpenAiResponses),
            Surface::Responses => Self::Beside(OpenAiResponses),
            Surface::Messages if is_top(path, b"/messages") => Self::Calls(Anthropic),
            Surface::Messages => Self::Beside(Anthropic),
            Surface::CountTokens => Self::Counts(Anthropic),
            Surface::Generate { verb, .. } => match verb {
                Verb::Generate | Verb::StreamGenerate => Self::Calls(Gemini),
                Verb::Embed | Verb::BatchEmbed => Self::Embeds(Gemini),
                Verb::CountTokens => Self::Counts(Gemini),
            },
            Surface::Completions if post => Self::Completes,
            Surface::Completions | Surface::Rerank | Surface::Models { .. } | Surface::Other => {
                Self::Anything
            }
        };
        match speaks {
            Self::Calls(dialect) | Self::Embeds(dialect) | Self::Counts(dialect) if !post => {
                Self::Beside(dialect)
            }
            speaks => speaks,
        }
    }

    /// Whether tokens are spent on it.
    pub fn is_metered(self) -> bool {
        matches!(self, Self::Calls(_) | Self::Embeds(_))
    }

    /// Whether the path names the model.
    pub fn is_geminis(self) -> bool {
        match self {
            Self::Calls(dialect) | Self::Embeds(dialect) | Self::Counts(dialect) => {
                dialect == Dialect::Gemini
            }
            Self::Beside(_) | Self::Completes | Self::Anything => false,
        }
    }

    /// Whether a backend of this dialect cannot take it as it is.
    pub fn is_foreign_to(self, backend: snapshot::Dialect) -> bool {
        match (self, of_backend(backend)) {
            (Self::Completes | Self::Anything, _) | (_, None) => false,
            (Self::Embeds(caller), Some(backend)) => embeds_in(backend) != Some(caller),
            (Self::Calls(caller) | Self::Counts(caller) | Self::Beside(caller), Some(backend)) => {
                caller != backend
            }
        }
    }

    /// Whether a call may be served in its own dialect now and was perhaps served in another before: some of these
    /// backends speak the one and some another.
    pub fn is_mixed(self, mut backends: impl Iterator<Item = snapshot::Dialect>) -> bool {
        let Self::Calls(_) = self else { return false };
        let Some(first) = backends.next().map(|backend| self.is_foreign_to(backend)) else { return false };
        backends.any(|backend| self.is_foreign_to(backend) != first)
    }

    /// What it asks for, if that has a place of its own at a host of models.
    pub const fn verb(self, stream: bool) -> Option<hosted::Verb> {
        match self {
            Self::Calls(_) => Some(hosted::Verb::Call { stream }),
            Self::Embeds(_) => Some(hosted::Verb::Embed),
            Self::Counts(_) => Some(hosted::Verb::Count),
            Self::Completes => Some(hosted::Verb::Complete),
            Self::Beside(_) | Self::Anything => None,
        }
    }

    /// Whether this backend can answer it at all, as it is or translated.
    pub fn reaches(self, backend: &Backend) -> bool {
        if backend.hosting.as_ref().is_some_and(|hosting| !hosted::has_place(hosting, self.verb(false))) {
            return false;
        }
        let Some(upstream) = of_backend(backend.dialect).filter(|_| self.is_foreign_to(backend.dialect))
        else {
            return true;
        };
        match self {
            Self::Calls(_) | Self::Completes | Self::Anything => true,
            Self::Embeds(_) => embeds_in(upstream).is_some(),
            Self::Counts(_) => counts_at(upstream, backend.engine),
            Self::Beside(_) => false,
        }
    }
}

/// What a backend speaks; none: its bytes are not read.
pub(crate) const fn of_backend(dialect: snapshot::Dialect) -> Option<Dialect> {
    match dialect {
        snapshot::Dialect::OpenaiChat => Some(Dialect::OpenAiChat),
        snapshot::Dialect::OpenaiResponses => Some(Dialect::OpenAiResponses),
        snapshot::Dialect::AnthropicMessages => Some(Dialect::Anthropic),
        snapshot::Dialect::Gemini => Some(Dialect::Gemini),
        snapshot::Dialect::Http => None,
    }
}

/// In which form a backend of this dialect makes vectors; none: it makes none.
const fn embeds_in(dialect: Dialect) -> Option<Dialect> {
    match dialect {
        Dialect::OpenAiChat | Dialect::OpenAiResponses => Some(Dialect::OpenAiChat),
        Dialect::Gemini => Some(Dialect::Gemini),
        Dialect::Anthropic => None,
    }
}

/// Whether a server of this kind counts a prompt that it is not asked to answer. Chat Completions has no word for that;
/// two engines have one of their own.
const fn counts_at(dialect: Dialect, engine: snapshot::Engine) -> bool {
    match dialect {
        Dialect::OpenAiChat => matches!(engine, snapshot::Engine::Vllm | snapshot::Engine::Sglang),
        Dialect::OpenAiResponses | Dialect::Anthropic | Dialect::Gemini => true,
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

impl Translation {
    /// Whether its answer needs no words of ours.
    pub fn is_native(&self) -> bool {
        self.form == Form::Native
    }
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
    /// Vectors.
    Vectors(Vectors),
    /// A number of tokens.
    Count,
    /// What the backend says, as it says it, errors aside: it hosts models of the caller's own dialect.
    Verbatim {
        /// Piece by piece.
        stream: bool,
    },
    /// All of it as it comes, errors too.
    Native,
}

/// Vectors that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Vectors {
    /// How many: one for each text.
    count: usize,
    /// Of one text, not of a list.
    single: bool,
    /// As bytes in base64, not as numbers.
    base64: bool,
}

impl Form {
    /// Whether nothing was translated.
    const fn is_verbatim(self) -> bool {
        matches!(self, Self::Verbatim { .. } | Self::Native)
    }

    /// Whether the caller gets it piece by piece.
    const fn is_stream(self) -> bool {
        match self {
            Self::Events | Self::Array | Self::Verbatim { stream: true } => true,
            Self::Whole
            | Self::Vectors(_)
            | Self::Count
            | Self::Verbatim { stream: false }
            | Self::Native => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use ringway_dialect::surface::surface;

    use super::*;
    use crate::table::testing::{backend, compiled, snapshot};

    #[test]
    fn calls_are_told_from_what_stands_beside_them() {
        use Dialect::{Anthropic, Gemini, OpenAiChat, OpenAiResponses};
        for (path, speaks) in [
            ("/v1/chat/completions", Speaks::Calls(OpenAiChat)),
            ("/v1/responses?x=1", Speaks::Calls(OpenAiResponses)),
            ("/v1/responses/resp_1", Speaks::Beside(OpenAiResponses)),
            ("/v1/responses/x/responses", Speaks::Beside(OpenAiResponses)),
            ("/v1/messages?beta=true", Speaks::Calls(Anthropic)),
            ("/v1/messages/count_tokens?beta=true", Speaks::Counts(Anthropic)),
            ("/v1/responses/input_tokens", Speaks::Counts(OpenAiResponses)),
            ("/v1/messages/batches", Speaks::Beside(Anthropic)),
            ("/v1beta/models/m:generateContent", Speaks::Calls(Gemini)),
            ("/v1beta/models/m:streamGenerateContent?alt=sse", Speaks::Calls(Gemini)),
            ("/v1beta/models/m:countTokens", Speaks::Counts(Gemini)),
            ("/v1beta/models/m:batchEmbedContents", Speaks::Embeds(Gemini)),
            ("/v1/embeddings", Speaks::Embeds(OpenAiChat)),
            ("/v1/completions", Speaks::Completes),
            ("/healthz", Speaks::Anything),
        ] {
            assert_eq!(Speaks::of(path.as_bytes(), surface(path.as_bytes()), true), speaks, "{path}");
        }
        assert_eq!(Speaks::of(b"/v1/chat/completions", Surface::Chat, false), Speaks::Beside(OpenAiChat));
    }

    #[test]
    fn equal_dialects_and_unread_backends_are_not_foreign() {
        use snapshot::Dialect::{AnthropicMessages, Gemini, Http, OpenaiResponses};
        let calls = Speaks::Calls(Dialect::Anthropic);
        assert!(calls.is_foreign_to(snapshot::Dialect::OpenaiChat));
        assert!(!calls.is_foreign_to(AnthropicMessages) && !calls.is_foreign_to(Http));
        assert!(!Speaks::Anything.is_foreign_to(Gemini));
        let embeds = Speaks::Embeds(Dialect::OpenAiChat);
        assert!(embeds.is_foreign_to(Gemini) && !embeds.is_foreign_to(OpenaiResponses));
        assert!(Speaks::Counts(Dialect::Gemini).is_foreign_to(AnthropicMessages));
    }

    #[test]
    fn a_backend_of_another_dialect_is_reached_by_what_it_has_a_word_for() {
        let table = compiled(&snapshot(
            vec![
                backend("vllm", "vllm", &["a:1"]),
                backend("tgi", "tgi", &["b:1"]),
                backend("claude", "anthropic", &["c:1"]),
            ],
            Vec::new(),
        ));
        let [vllm, tgi, claude] = [0, 1, 2].map(|at| &*table.backends()[at]);
        for (speaks, reached) in [
            (Speaks::Calls(Dialect::Gemini), [true, true, true]),
            (Speaks::Anything, [true, true, true]),
            (Speaks::Embeds(Dialect::Gemini), [true, true, false]),
            (Speaks::Counts(Dialect::Gemini), [true, false, true]),
            (Speaks::Counts(Dialect::Anthropic), [true, false, true]),
            (Speaks::Beside(Dialect::Anthropic), [false, false, true]),
        ] {
            assert_eq!([vllm, tgi, claude].map(|backend| speaks.reaches(backend)), reached, "{speaks:?}");
        }
    }
}
