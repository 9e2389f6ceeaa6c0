//! Which grammar a path speaks, and the model that some paths carry.
//!
//! Owns: the list of client-facing paths. The grammar comes from the path, never from the form of a
//! credential; only paths that several grammars share look at headers (dialects section 7.5).
//! Must not: match routes. A route matches the raw path; this only reads it.
//! Read next: [`crate::errors`].

use std::borrow::Cow;

/// How a family of clients wants to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grammar {
    /// OpenAI chat, completions, responses, embeddings, rerank.
    OpenAi,
    /// Anthropic messages.
    Anthropic,
    /// Google Gemini.
    Gemini,
    /// Anything else: plain JSON.
    Plain,
}

impl Grammar {
    /// All four.
    pub const ALL: [Self; 4] = [Self::OpenAi, Self::Anthropic, Self::Gemini, Self::Plain];

    /// The grammar in which to answer a request for this path (with or without query).
    ///
    /// `has` says whether the request carries a header (lower-case name); asked only where the path is shared.
    pub fn of(path: &[u8], has: impl Fn(&str) -> bool) -> Self {
        Self::of_surface(surface(path), path, has)
    }

    /// The same of a path whose [`surface`] is known.
    pub fn of_surface(surface: Surface<'_>, path: &[u8], has: impl Fn(&str) -> bool) -> Self {
        match surface {
            Surface::Chat
            | Surface::Completions
            | Surface::Responses
            | Surface::Embeddings
            | Surface::Rerank => Self::OpenAi,
            Surface::Messages | Surface::CountTokens => Self::Anthropic,
            Surface::Generate { .. } => Self::Gemini,
            Surface::Models { version, .. } if version != Version::V1 => Self::Gemini,
            Surface::Models { .. } => Self::of_shared(path, has),
            Surface::Other if gemini_version(path) => Self::Gemini,
            Surface::Other => Self::Plain,
        }
    }

    /// `/v1/models` is asked for by all three, told apart by what they send besides.
    fn of_shared(path: &[u8], has: impl Fn(&str) -> bool) -> Self {
        if has("anthropic-version") || has("x-api-key") {
            Self::Anthropic
        } else if has("x-goog-api-key") || query_has(path, b"key") {
            Self::Gemini
        } else {
            Self::OpenAi
        }
    }
}

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface<'a> {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
    /// `/v1/responses` and below.
    Responses,
    /// `/v1/embeddings`
    Embeddings,
    /// `/v1/rerank`
    Rerank,
    /// `/v1/messages` and below, but for counting.
    Messages,
    /// `/v1/messages/count_tokens`
    CountTokens,
    /// `/v1beta/models/{model}:verb`; the model is in the path.
    Generate {
        /// As sent, percent-encoded; [`decoded`] undoes that.
        model: &'a [u8],
        /// What to do with it.
        verb: Verb,
    },
    /// `/v1/models`, `/v1beta/models`, or one of them.
    Models {
        /// Which.
        version: Version,
        /// As sent, percent-encoded; none: the list.
        id: Option<&'a [u8]>,
    },
    /// Nothing we know.
    Other,
}

/// Verbs behind the model of a Gemini path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `generateContent`
    Generate,
    /// `streamGenerateContent`
    StreamGenerate,
    /// `countTokens`
    CountTokens,
    /// `embedContent`
    Embed,
    /// `batchEmbedContents`
    BatchEmbed,
}

/// The version a path begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// `/v1`, shared by three grammars.
    V1,
    /// `/v1beta`, Gemini's.
    V1Beta,
    /// `/v1alpha`, Gemini's.
    V1Alpha,
}

/// What this path (with or without query) asks for.
///
/// Clients join base URLs in their own ways, so `/openai`, `/anthropic` and `/gemini` in front, a doubled
/// `/v1/v1` and a missing `/v1` are seen through here. Routes are not: they match what was sent.
pub fn surface(path: &[u8]) -> Surface<'_> {
    let path = without_query(path);
    let path = &path[front_of(path)..];
    if let Some((version, rest)) = versioned(path) {
        return below_version(version, rest);
    }
    match path {
        b"/chat/completions" => Surface::Chat,
        b"/completions" => Surface::Completions,
        b"/responses" => Surface::Responses,
        b"/embeddings" => Surface::Embeddings,
        b"/messages" => Surface::Messages,
        _ => Surface::Other,
    }
}

/// How many bytes at the front of a path (with or without query) clients put there that join base URLs in their own ways:
/// the name of a family, or a `/v1` too many.
pub fn front_of(path: &[u8]) -> usize {
    let family: &[u8] = match path.get(1) {
        Some(b'o') => b"/openai",
        Some(b'a') => b"/anthropic",
        Some(b'g') => b"/gemini",
        _ => b"",
    };
    let is_there = path.starts_with(family) && path.get(family.len()) == Some(&b'/');
    let family = if is_there { family.len() } else { 0 };
    family + if path[family..].starts_with(b"/v1/v1/") { b"/v1".len() } else { 0 }
}

/// The model a path carries, decoded; only Gemini's paths carry one.
pub fn path_model(path: &[u8]) -> Option<Cow<'_, [u8]>> {
    match surface(path) {
        Surface::Generate { model, .. } => decoded(model),
        _ => None,
    }
}

/// Undoes percent-encoding; `None` where it is broken. Borrows if there is none.
pub fn decoded(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !text.contains(&b'%') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let [high, low, ..] = rest else { return None };
            out.push(hex(*high)? << 4 | hex(*low)?);
            rest = &rest[2..];
        } else {
            out.push(byte);
        }
    }
    Some(Cow::Owned(out))
}

/// The part of a target before its `?`.
pub fn without_query(target: &[u8]) -> &[u8] {
    memchr::memchr(b'?', target).map_or(target, |at| &target[..at])
}

/// Whether the query of a target has this parameter, with any value.
pub fn query_has(target: &[u8], name: &[u8]) -> bool {
    let Some(at) = memchr::memchr(b'?', target) else { return false };
    target[at + 1..].split(|&byte| byte == b'&').any(|pair| {
        let end = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        &pair[..end] == name
    })
}

fn below_version(version: Version, rest: &[u8]) -> Surface<'_> {
    match rest {
        b"/models" => return Surface::Models { version, id: None },
        b"/chat/completions" if version == Version::V1 => return Surface::Chat,
        b"/completions" if version == Version::V1 => return Surface::Completions,
        b"/embeddings" if version == Version::V1 => return Surface::Embeddings,
        b"/rerank" if version == Version::V1 => return Surface::Rerank,
        b"/messages/count_tokens" if version == Version::V1 => return Surface::CountTokens,
        _ => {}
    }
    if version == Version::V1 && below(rest, b"/responses") {
        return Surface::Responses;
    }
    if version == Version::V1 && below(rest, b"/messages") {
        return Surface::Messages;
    }
    let Some(name) = rest.strip_prefix(b"/models/").or_else(|| tuned(rest)) else { return Surface::Other };
    match generate(name) {
        Some((model, verb)) => Surface::Generate { model, verb },
        None if name.is_empty() => Surface::Other,
        None => Surface::Models { version, id: Some(name) },
    }
}

/// A tuned model's name keeps its collection, as Google's own does.
fn tuned(rest: &[u8]) -> Option<&[u8]> {
    rest.starts_with(b"/tunedModels/").then(|| &rest[1..])
}

/// Splits at the last `:`, and only before a verb we know: other models have colons in their names.
fn generate(name: &[u8]) -> Option<(&[u8], Verb)> {
    let at = name.iter().rposition(|&byte| byte == b':')?;
    let verb = match &name[at + 1..] {
        b"generateContent" => Verb::Generate,
        b"streamGenerateContent" => Verb::StreamGenerate,
        b"countTokens" => Verb::CountTokens,
        b"embedContent" => Verb::Embed,
        b"batchEmbedContents" => Verb::BatchEmbed,
        _ => return None,
    };
    (at > 0).then(|| (&name[..at], verb))
}

/// The version in front, and what is behind it, which starts with a `/`.
fn versioned(path: &[u8]) -> Option<(Version, &[u8])> {
    let versions =
        [(&b"/v1"[..], Version::V1), (b"/v1beta", Version::V1Beta), (b"/v1alpha", Version::V1Alpha)];
    versions.into_iter().find_map(|(prefix, version)| {
        let rest = path.strip_prefix(prefix)?;
        rest.starts_with(b"/").then_some((version, rest))
    })
}

fn gemini_version(path: &[u8]) -> bool {
    versioned(without_query(path)).is_some_and(|(version, _)| version != Version::V1)
}

fn below(rest: &[u8], place: &[u8]) -> bool {
    rest.strip_prefix(place).is_some_and(|tail| tail.is_empty() || tail.starts_with(b"/"))
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grammar(path: &str, headers: &[&str]) -> Grammar {
        Grammar::of(path.as_bytes(), |name| headers.contains(&name))
    }

    #[test]
    fn the_path_says_which_grammar_is_spoken() {
        for (path, expected) in [
            ("/v1/chat/completions", Grammar::OpenAi),
            ("/v1/completions?x=1", Grammar::OpenAi),
            ("/v1/responses/resp_1/cancel", Grammar::OpenAi),
            ("/v1/embeddings", Grammar::OpenAi),
            ("/v1/rerank", Grammar::OpenAi),
            ("/v1/messages?beta=true", Grammar::Anthropic),
            ("/v1/messages/count_tokens", Grammar::Anthropic),
            ("/v1/messages/batches", Grammar::Anthropic),
            ("/v1beta/models/gemini-pro:generateContent", Grammar::Gemini),
            ("/v1/models/gemini-pro:streamGenerateContent?alt=sse", Grammar::Gemini),
            ("/v1beta/cachedContents", Grammar::Gemini),
            ("/v1/messagesque", Grammar::Plain),
            ("/v1/files", Grammar::Plain),
            ("/", Grammar::Plain),
            ("", Grammar::Plain),
            ("*", Grammar::Plain),
            ("/v1", Grammar::Plain),
        ] {
            assert_eq!(grammar(path, &[]), expected, "{path}");
        }
    }

    #[test]
    fn a_credential_does_not_change_the_grammar_of_a_path_that_has_one() {
        assert_eq!(grammar("/v1/chat/completions", &["x-api-key", "anthropic-version"]), Grammar::OpenAi);
        assert_eq!(grammar("/v1/messages", &["x-goog-api-key"]), Grammar::Anthropic);
    }

    #[test]
    fn the_shared_listing_is_told_apart_by_headers() {
        assert_eq!(grammar("/v1/models", &[]), Grammar::OpenAi);
        assert_eq!(grammar("/v1/models", &["anthropic-version"]), Grammar::Anthropic);
        assert_eq!(grammar("/v1/models/x", &["x-api-key", "x-goog-api-key"]), Grammar::Anthropic);
        assert_eq!(grammar("/v1/models", &["x-goog-api-key"]), Grammar::Gemini);
        assert_eq!(grammar("/v1/models?key=k", &[]), Grammar::Gemini);
        assert_eq!(grammar("/v1/models?monkey=k", &[]), Grammar::OpenAi);
        assert_eq!(grammar("/v1beta/models", &["anthropic-version"]), Grammar::Gemini);
        assert_eq!(grammar("/v1alpha/models/x", &[]), Grammar::Gemini);
    }

    #[test]
    fn base_urls_joined_carelessly_are_seen_through() {
        assert_eq!(surface(b"/openai/v1/chat/completions"), Surface::Chat);
        assert_eq!(surface(b"/anthropic/v1/messages"), Surface::Messages);
        assert_eq!(surface(b"/v1/v1/messages"), Surface::Messages);
        assert_eq!(surface(b"/messages"), Surface::Messages);
        assert_eq!(surface(b"/chat/completions"), Surface::Chat);
        assert_eq!(surface(b"/openaiish/v1/chat/completions"), Surface::Other);
    }

    #[test]
    fn a_model_in_the_path_is_split_at_the_last_colon_and_decoded() {
        let model = |path: &str| {
            path_model(path.as_bytes()).map(|model| String::from_utf8_lossy(&model).into_owned())
        };
        assert_eq!(model("/v1beta/models/gemini-2.5-pro:generateContent").as_deref(), Some("gemini-2.5-pro"));
        assert_eq!(model("/v1/models/org/a:b:countTokens").as_deref(), Some("org/a:b"));
        assert_eq!(model("/v1beta/models/org%2Fa:embedContent?key=x").as_deref(), Some("org/a"));
        assert_eq!(model("/v1beta/tunedModels/t:generateContent").as_deref(), Some("tunedModels/t"));
        assert_eq!(model("/v1beta/models/a%2:generateContent"), None, "a broken escape names no model");
        assert_eq!(model("/v1beta/models/:generateContent"), None);
        assert_eq!(model("/v1/chat/completions"), None);
    }

    #[test]
    fn a_colon_without_a_verb_belongs_to_the_models_name() {
        let id = Surface::Models { version: Version::V1, id: Some(b"llama3:8b") };
        assert_eq!(surface(b"/v1/models/llama3:8b"), id);
        assert_eq!(surface(b"/v1/models/"), Surface::Other);
        assert_eq!(surface(b"/v1/models"), Surface::Models { version: Version::V1, id: None });
    }
}
