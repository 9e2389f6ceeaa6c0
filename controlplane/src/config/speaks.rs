//! Which dialect callers speak on which path.
//!
//! Owns: the paths of the model APIs, as far as configuring needs them.
//! Must not: know what they mean; the data plane does.
//! Read next: `resolve.rs`, which refuses routes that would have to translate what cannot be.

use ringway_contract::snapshot::{Dialect, Match};

use super::overlap::leads;

const PATHS: [(&str, Dialect); 7] = [
    ("/v1/chat/completions", Dialect::OpenaiChat),
    ("/v1/completions", Dialect::OpenaiChat),
    ("/v1/embeddings", Dialect::OpenaiChat),
    ("/v1/rerank", Dialect::OpenaiChat),
    ("/v1/responses", Dialect::OpenaiResponses),
    ("/v1/messages", Dialect::AnthropicMessages),
    ("/v1/messages/count_tokens", Dialect::AnthropicMessages),
];
/// Of those, the calls that can be translated.
const CALLS: [&str; 3] = ["/v1/chat/completions", "/v1/responses", "/v1/messages"];
const GEMINI_CALLS: [&str; 2] = [":generateContent", ":streamGenerateContent"];
const GEMINI_FOLDERS: [&str; 2] = ["/v1beta/models", "/v1/models"];
const GEMINI_VERBS: [&str; 4] =
    [":generateContent", ":streamGenerateContent", ":embedContent", ":countTokens"];

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

/// Whether this match lets calls through that can be translated.
pub(super) fn has_calls(matches: &Match) -> bool {
    match (&matches.path, &matches.path_prefix) {
        (Some(path), _) => {
            CALLS.contains(&path.as_str())
                || (gemini(path).is_some() && GEMINI_CALLS.iter().any(|verb| path.ends_with(verb)))
        }
        (None, Some(prefix)) => {
            CALLS.iter().any(|path| leads(prefix, path))
                || GEMINI_FOLDERS.iter().any(|folder| leads(prefix, folder) || leads(folder, prefix))
        }
        (None, None) => true,
    }
}

fn gemini(path: &str) -> Option<Dialect> {
    let model_call = GEMINI_FOLDERS.iter().any(|folder| leads(folder, path))
        && GEMINI_VERBS.iter().any(|verb| path.ends_with(verb));
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
