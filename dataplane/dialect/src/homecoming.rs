//! Seals of ours in a conversation that goes on at a provider of the caller's own dialect.
//!
//! While such a conversation was served by another provider, its caller was given sealed state. The provider that it
//! comes back to would refuse that, and the session would be stuck (dialects section 2.2).
//! Owns: finding the seals and cutting them out; not another byte changes.
//! Must not: parse a body without a seal, which is nearly every one.
//! Read next: `model/opaque.rs`, the seal.

use crate::dialect::Dialect;
use crate::json::{Edits, Surrogates, Tape, Value};
use crate::model::Opaque;

/// The body without our seals; `None`: there are none, send it as it is.
pub fn without_seals(dialect: Dialect, body: &str) -> Option<String> {
    // The quote and the magic in base64, the same in both alphabets.
    memchr::memmem::find(body.as_bytes(), b"\"UldTM")?;
    let mut tape = Tape::new();
    let root = tape.read(body, Surrogates::Replace).ok()?;
    let mut edits = Cuts::default();
    match dialect {
        Dialect::OpenAiChat => chat(root, &mut edits),
        Dialect::OpenAiResponses => responses(root, &mut edits),
        Dialect::Anthropic => anthropic(root, &mut edits),
        Dialect::Gemini => gemini(root, &mut edits),
    }
    edits.0.apply(body)
}

/// What documented clients of Gemini's send in place of a signature they do not have.
const PLACEHOLDER: &str = "\"skip_thought_signature_validator\"";

/// What is cut out.
#[derive(Default)]
struct Cuts(Edits);

impl Cuts {
    /// Cuts elements out of an array; `false`: none is left, and nothing was cut: the whole must go.
    fn elements(&mut self, array: Value<'_>, gone: impl Fn(Value<'_>) -> bool) -> bool {
        let all: Vec<_> =
            array.elements().into_iter().flatten().map(|one| (one.range(), gone(one))).collect();
        let left = all.iter().any(|(_, gone)| !gone);
        if left || all.is_empty() {
            self.0.cut(&all);
        }
        left || all.is_empty()
    }

    /// Cuts entries out of an object.
    fn entries(&mut self, object: Value<'_>, gone: impl Fn(&str, Value<'_>) -> bool) {
        let all: Vec<_> = object.fields().into_iter().flatten().collect();
        let all: Vec<_> =
            all.iter().map(|entry| (entry.range(), gone(&entry.plain(), entry.value))).collect();
        self.0.cut(&all);
    }

    /// Cuts out of each element of an array what `inner` cuts there; elements of which nothing is left go whole.
    fn messages(&mut self, messages: Option<Value<'_>>, mut inner: impl FnMut(&mut Self, Value<'_>) -> bool) {
        let Some(messages) = messages.and_then(|all| all.elements()) else { return };
        let all: Vec<_> = messages.map(|message| (message.range(), !inner(self, message))).collect();
        self.0.cut(&all);
    }
}

fn is_seal(value: Option<Value<'_>>) -> bool {
    value.and_then(|value| value.text()).is_some_and(|text| Opaque::unseal(&text.plain()).is_some())
}

fn anthropic(root: Value<'_>, edits: &mut Cuts) {
    edits.messages(root.get("messages"), |edits, message| {
        let Some(content) = message.get("content") else { return true };
        edits.elements(content, |block| is_seal(block.get("signature")) || is_seal(block.get("data")))
    });
}

fn responses(root: Value<'_>, edits: &mut Cuts) {
    if let Some(input) = root.get("input") {
        edits.elements(input, |item| is_seal(item.get("encrypted_content")));
    }
}

/// Seals stand in fields that no provider knows.
fn chat(root: Value<'_>, edits: &mut Cuts) {
    let sealed_details = |value: Value<'_>| {
        value.elements().is_some_and(|mut all| all.any(|detail| is_seal(detail.get("data"))))
    };
    for message in root.get("messages").and_then(|all| all.elements()).into_iter().flatten() {
        edits.entries(message, |key, value| key == "reasoning_details" && sealed_details(value));
        for call in message.get("tool_calls").and_then(|all| all.elements()).into_iter().flatten() {
            edits.entries(call, |key, value| {
                let google = (key == "extra_content").then(|| value.get("google")).flatten();
                is_seal(google.and_then(|google| google.get("thought_signature")))
            });
        }
    }
}

fn gemini(root: Value<'_>, edits: &mut Cuts) {
    const NAMES: [&str; 2] = ["thoughtSignature", "thought_signature"];
    let sealed = |part: Value<'_>| NAMES.into_iter().any(|name| is_seal(part.get(name)));
    let is_call = |part: Value<'_>| part.get("functionCall").or_else(|| part.get("function_call")).is_some();
    let empty = |part: Value<'_>| {
        let thought = part.get("thought").and_then(|thought| thought.truth()) == Some(true);
        thought || part.get_text("text").is_none_or(|text| text.is_empty())
    };
    edits.messages(root.get("contents"), |edits, content| {
        let Some(parts) = content.get("parts") else { return true };
        let gone = |part: Value<'_>| sealed(part) && !is_call(part) && empty(part);
        let left = edits.elements(parts, gone);
        for part in
            parts.elements().into_iter().flatten().filter(|part| left && sealed(*part) && !gone(*part))
        {
            if is_call(part) {
                let signature = NAMES.into_iter().find_map(|name| part.get(name));
                signature.iter().for_each(|signature| edits.0.put(signature.range(), PLACEHOLDER));
            } else {
                edits.entries(part, |key, _| NAMES.contains(&key));
            }
        }
        left
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Text;
    use crate::model::{Origin, Realm, SealKind};

    fn seal() -> String {
        let payload = Text::written("state");
        Opaque { origin: Origin::Gemini, kind: SealKind::Signature, realm: Realm::NONE, payload }.seal()
    }

    /// `S` stands for a seal.
    fn stripped(dialect: Dialect, body: &str) -> Option<String> {
        without_seals(dialect, &body.replace("\"S\"", &format!("\"{}\"", seal())))
    }

    #[test]
    fn a_body_without_a_seal_is_sent_as_it_is() {
        for dialect in Dialect::ALL {
            assert_eq!(without_seals(dialect, r#"{"messages":[{"content":"UldTM"}]}"#), None);
            assert_eq!(
                without_seals(dialect, r#"{"messages":[{"content":"UldTMTEx"}]}"#),
                None,
                "text is no seal"
            );
        }
    }

    #[test]
    fn sealed_blocks_go_and_nothing_else_changes() {
        for (dialect, body, expected) in [
            (
                Dialect::Anthropic,
                r#"{ "messages" : [ {"role":"assistant","content":[ {"type":"thinking","thinking":"h","signature":"S"} , {"type":"text","text":"a"}, {"type":"redacted_thinking","data":"S"} ]}], "x":1.0}"#,
                r#"{ "messages" : [ {"role":"assistant","content":[ {"type":"text","text":"a"} ]}], "x":1.0}"#,
            ),
            (
                Dialect::Anthropic,
                r#"{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":[{"type":"thinking","thinking":"h","signature":"S"}]},{"role":"user","content":[{"type":"text","text":"v"}]}]}"#,
                r#"{"messages":[{"role":"user","content":"u"},{"role":"user","content":[{"type":"text","text":"v"}]}]}"#,
            ),
            (
                Dialect::OpenAiResponses,
                r#"{"input":[{"type":"reasoning","encrypted_content":"S"},{"role":"user","content":"u"}]}"#,
                r#"{"input":[{"role":"user","content":"u"}]}"#,
            ),
            (
                Dialect::OpenAiChat,
                r#"{"messages":[{"role":"assistant","reasoning_details":[{"data":"S"}],"content":"a","tool_calls":[{"id":"c","extra_content":{"google":{"thought_signature":"S"}}}]}]}"#,
                r#"{"messages":[{"role":"assistant","content":"a","tool_calls":[{"id":"c"}]}]}"#,
            ),
            (
                Dialect::Gemini,
                r#"{"contents":[{"parts":[{"text":"h","thought":true,"thoughtSignature":"S"},{"text":"a","thoughtSignature":"S"},{"functionCall":{"name":"f"},"thoughtSignature":"S"},{"text":"","thoughtSignature":"S"}]}]}"#,
                r#"{"contents":[{"parts":[{"text":"a"},{"functionCall":{"name":"f"},"thoughtSignature":"skip_thought_signature_validator"}]}]}"#,
            ),
        ] {
            assert_eq!(stripped(dialect, body).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_native_signature_stays() {
        let body = r#"{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"h","signature":"ErUB"},{"type":"thinking","thinking":"i","signature":"S"}]}]}"#;
        let expected = r#"{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"h","signature":"ErUB"}]}]}"#;
        assert_eq!(stripped(Dialect::Anthropic, body).as_deref(), Some(expected));
    }
}
