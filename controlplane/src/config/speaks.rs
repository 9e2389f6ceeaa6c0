//! Which dialect callers speak on which path.
//!
//! Owns: the paths of the model APIs, as far as configuring needs them.
//! Must not: know what they mean; the data plane does.
//! Read next: `resolve.rs`, which refuses routes that would have to translate what cannot be.

use ringway_contract::snapshot::{Dialect, Engine, Match};

use super::overlap::leads;

const PATHS: [(&str, Dialect); 8] = [
    ("/v1/chat/completions", Dialect::OpenaiChat),
    ("/v1/completions", Dialect::OpenaiChat),
    ("/v1/embeddings", Dialect::OpenaiChat),
    ("/v1/rerank", Dialect::OpenaiChat),
    ("/v1/responses", Dialect::OpenaiResponses),
    ("/v1/responses/input_tokens", Dialect::OpenaiResponses),
    ("/v1/messages", Dialect::AnthropicMessages),
    ("/v1/messages/count_tokens", Dialect::AnthropicMessages),
];
/// Of those, the calls: translated to any dialect.
const CALLS: [&str; 3] = ["/v1/chat/completions", "/v1/responses", "/v1/messages"];
/// Translated for backends that make vectors.
const EMBEDDINGS: [&str; 1] = ["/v1/embeddings"];
/// Translated for backends that count.
const COUNTS: [&str; 2] = ["/v1/responses/input_tokens", "/v1/messages/count_tokens"];

const GEMINI_FOLDERS: [&str; 2] = ["/v1beta/models", "/v1/models"];
const GEMINI_CALLS: [&str; 2] = [":generateContent", ":streamGenerateContent"];
const GEMINI_EMBEDDINGS: [&str; 2] = [":embedContent", ":batchEmbedContents"];
const GEMINI_COUNTS: [&str; 1] = [":countTokens"];

/// The one dialect spoken on all model paths that this match lets through; none: no model path, or several.
pub(super) fn dialect(matches: &Match) -> Option<Dialect> {
    match (&matches.path, &matches.path_prefix) {
        (Some(path), _) => {
            PATHS.iter().find(|(known, _)| known == path).map(|&(_, dialect)| dialect).or(gemini(path))
        }
        (None, Some(prefix)) => {
            let gemini =
                GEMINI_FOLDERS.iter().filter(|folder| leads(prefix, folder) || leads(folder, prefix));
            let known = PATHS.iter().filter(|(path, _)| leads(prefix, path)).map(|&(_, dialect)| dialect);
            let mut all = known.chain(gemini.map(|_| Dialect::Gemini));
            // `GET /v1/models/{model}` is OpenAI's, so that folder is not Gemini's alone.
            let shared = leads(prefix, "/v1/models") || leads("/v1/models", prefix);
            let first = all.next().filter(|_| !shared)?;
            all.all(|dialect| dialect == first).then_some(first)
        }
        (None, None) => None,
    }
}

/// Whether this match lets something through that can be translated for a backend of this dialect and engine.
pub(super) fn has_translated(matches: &Match, dialect: Dialect, engine: Engine) -> bool {
    let embeds = dialect != Dialect::AnthropicMessages;
    let counts = dialect != Dialect::OpenaiChat || matches!(engine, Engine::Vllm | Engine::Sglang);
    let known: [(bool, &[&str], &[&str]); 3] = [
        (true, &CALLS, &GEMINI_CALLS),
        (embeds, &EMBEDDINGS, &GEMINI_EMBEDDINGS),
        (counts, &COUNTS, &GEMINI_COUNTS),
    ];
    let mut known = known.into_iter().filter(|(can, ..)| *can);
    match (&matches.path, &matches.path_prefix) {
        (Some(path), _) => known.any(|(_, paths, verbs)| {
            paths.contains(&path.as_str())
                || (gemini(path).is_some() && verbs.iter().any(|verb| path.ends_with(verb)))
        }),
        (None, Some(prefix)) => {
            known.any(|(_, paths, _)| paths.iter().any(|path| leads(prefix, path)))
                || GEMINI_FOLDERS.iter().any(|folder| leads(prefix, folder) || leads(folder, prefix))
        }
        (None, None) => true,
    }
}

fn gemini(path: &str) -> Option<Dialect> {
    let model_call = GEMINI_FOLDERS.iter().any(|folder| leads(folder, path))
        && [&GEMINI_CALLS[..], &GEMINI_EMBEDDINGS, &GEMINI_COUNTS]
            .concat()
            .iter()
            .any(|verb| path.ends_with(verb));
    model_call.then_some(Dialect::Gemini)
}

/// A dialect as the file writes it.
pub(super) fn spelled(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenaiChat => "openai-chat",
        Dialect::OpenaiResponses => "openai-responses",
        Dialect::AnthropicMessages => "anthropic-messages",
        Dialect::Gemini => "gemini",
        Dialect::Http => "http",
    }
}
