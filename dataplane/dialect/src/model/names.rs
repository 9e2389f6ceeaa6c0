//! What a tool is called at the target, and back.
//! Owns: the pure functions from name to name and from id to id, and the table of names that had to change.
//! Must not: depend on anything but the name, so that history and definitions agree.
//! Read next: `echo.rs`, which keeps the table for the answer.

use super::request::Request;
use super::target::{CallIds, Target};
use super::tool::ToolKind;
use crate::dialect::Dialect;
use crate::json::Text;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;

/// One tool whose name at the target does not say all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolName {
    /// Its name at the target.
    pub flat: String,
    /// Its name at the caller.
    pub name: String,
    /// Its namespace at the caller.
    pub namespace: Option<String>,
    /// At the caller it is a custom tool; at the target it may have become a function.
    pub custom: bool,
}

/// The tools of one request whose names at the target do not say all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolNames(Vec<ToolName>);

impl ToolNames {
    /// Of this request towards this dialect.
    pub fn of(request: &Request<'_>, dialect: Dialect) -> Self {
        let tools = request.tools.iter().filter_map(|tool| {
            let (function, custom) = match &tool.kind {
                ToolKind::Function(function) => (function, false),
                ToolKind::Custom { function, .. } => (function, true),
                ToolKind::Hosted(_) => return None,
            };
            let name = function.name.plain();
            let namespace = function.namespace.as_ref().map(|namespace| namespace.plain().into_owned());
            let flat = flat_name(dialect, namespace.as_deref(), &name);
            let tells_all = !custom && namespace.is_none() && flat == name;
            (!tells_all).then(|| ToolName {
                flat: flat.into_owned(),
                name: name.clone().into_owned(),
                namespace,
                custom,
            })
        });
        Self(tools.collect())
    }

    /// The tool that has this name at the target; `None`: it has the same name at the caller and is a function.
    pub fn find(&self, flat: &str) -> Option<&ToolName> {
        self.0.iter().find(|tool| tool.flat == flat)
    }
}

/// What a tool is called at this dialect: its own name where that is allowed there.
pub fn flat_name<'n>(dialect: Dialect, namespace: Option<&str>, name: &'n str) -> Cow<'n, str> {
    let full = match namespace {
        None => Cow::Borrowed(name),
        Some(namespace) => Cow::Owned(format!("{}__{name}", namespace.trim_end_matches('_'))),
    };
    let (most, allowed): (usize, fn(u8) -> bool) = match dialect {
        Dialect::OpenAiChat | Dialect::OpenAiResponses => (64, is_word),
        Dialect::Anthropic => (128, is_word),
        Dialect::Gemini => (64, |byte| is_word(byte) || matches!(byte, b'.' | b':')),
    };
    let begins = |text: &str| {
        dialect != Dialect::Gemini || text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    };
    if !full.is_empty() && full.len() <= most && begins(&full) && full.bytes().all(allowed) {
        return full;
    }
    let lead = if begins(&full) { "" } else { "_" };
    Cow::Owned(shortened(&format!("{lead}{full}"), full.as_bytes(), most, 8, allowed))
}

/// What the id of a call is at this target: itself where that is allowed there. The same call always has the same id,
/// so results stay linked and equal prefixes stay equal. Empty ids stay empty.
pub fn call_id<'t>(target: &Target, id: &'t Text<'_>) -> Text<'t> {
    let most = match (target.dialect, target.call_ids) {
        (_, CallIds::NineAlphanumerics) => 9,
        (Dialect::OpenAiChat | Dialect::OpenAiResponses, CallIds::Ordinary) => 64,
        (Dialect::OpenAiChat | Dialect::OpenAiResponses, CallIds::Forty) => 40,
        (Dialect::Anthropic | Dialect::Gemini, CallIds::Ordinary | CallIds::Forty) => usize::MAX,
    };
    let allowed: fn(u8) -> bool = match (target.dialect, target.call_ids) {
        (_, CallIds::NineAlphanumerics) => |byte| byte.is_ascii_alphanumeric(),
        (Dialect::Anthropic, CallIds::Ordinary | CallIds::Forty) => is_word,
        (
            Dialect::OpenAiChat | Dialect::OpenAiResponses | Dialect::Gemini,
            CallIds::Ordinary | CallIds::Forty,
        ) => |_| true,
    };
    let plain = id.plain();
    let nine = target.call_ids == CallIds::NineAlphanumerics;
    let legal = plain.len() <= most && plain.bytes().all(allowed) && (!nine || plain.len() == 9);
    if legal || plain.is_empty() {
        return id.lend();
    }
    if nine {
        return Text::owned(hex(&Sha256::digest(plain.as_bytes()), 9));
    }
    Text::owned(shortened(&plain, plain.as_bytes(), most.min(64), 16, is_word))
}

/// An id for a call that came without: the same for the same call of the same answer.
pub fn derived_call_id(answer: &str, choice: u32, ordinal: u32) -> String {
    let mut hash = Sha256::new();
    hash.update(answer.as_bytes());
    hash.update(choice.to_be_bytes());
    hash.update(ordinal.to_be_bytes());
    format!("call_{}", hex(&hash.finalize(), 24))
}

/// As much of `text` as fits before `_` and so many hex digits of the hash of `of`.
fn shortened(text: &str, of: &[u8], most: usize, digits: usize, allowed: fn(u8) -> bool) -> String {
    let keep = most - digits - 1;
    let clean = text
        .bytes()
        .take(keep)
        .map(|byte| if allowed(byte) && is_word(byte) { char::from(byte) } else { '_' });
    let mut out: String = clean.collect();
    out.push('_');
    out.push_str(&hex(&Sha256::digest(of), digits));
    out
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn hex(bytes: &[u8], digits: usize) -> String {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.take(digits).filter_map(|nibble| char::from_digit(u32::from(nibble), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legal_name_passes_and_any_other_becomes_one() {
        for dialect in Dialect::ALL {
            assert_eq!(flat_name(dialect, None, "get_weather-2"), "get_weather-2");
            for (namespace, name) in [
                (None, "a b"),
                (None, "süß"),
                (None, ""),
                (Some("mcp_"), "x.y"),
                (None, &"n".repeat(200)),
                (None, "9x y"),
            ] {
                let flat = flat_name(dialect, namespace, name).into_owned();
                assert_eq!(flat_name(dialect, None, &flat), flat, "{dialect:?}: legal at the target");
                assert_eq!(flat_name(dialect, namespace, name), flat, "the same every time");
            }
        }
        assert_eq!(flat_name(Dialect::Anthropic, Some("functions_"), "exec"), "functions__exec");
        assert_ne!(flat_name(Dialect::Anthropic, None, "a b"), flat_name(Dialect::Anthropic, None, "a.b"));
    }

    #[test]
    fn an_id_is_changed_only_where_the_target_wants_that() {
        let anthropic = Target::of(Dialect::Anthropic);
        let chat = Target::of(Dialect::OpenAiChat);
        let id = Text::written("functions.get:0");
        assert_eq!(call_id(&chat, &id), id);
        let changed = call_id(&anthropic, &id);
        assert!(changed.as_written().starts_with("functions_get_0_"), "{changed:?}");
        assert_eq!(call_id(&anthropic, &changed), changed, "legal now");
        let long = Text::of(&"x".repeat(100)).into_owned();
        assert_eq!(call_id(&chat, &long).plain().len(), 64);
        assert_eq!(call_id(&anthropic, &long), long);
        let nine = Target { call_ids: CallIds::NineAlphanumerics, ..chat };
        assert_eq!(call_id(&nine, &id).plain().len(), 9);
    }
}
