//! Google Vertex AI: models at the paths of their publishers, and what it words otherwise than Gemini's own service.
//!
//! Owns: the path, and the fields of counts and vectors.
//! Must not: change an answer: those are Gemini's and Anthropic's own.
//! Read next: `mod.rs`, which asks.

use std::fmt::Write as _;

use ringway_dialect::counting::gemini_request;
use ringway_dialect::dialect::Dialect;
use ringway_dialect::json::{Edits, Surrogates, Tape, Value};

use super::{Asked, Verb, write_segment};

pub(super) fn path(asked: &Asked<'_>, project: &str, location: &str) -> Vec<u8> {
    let mut path = b"/v1/projects/".to_vec();
    write_segment(project, &mut path);
    path.extend_from_slice(b"/locations/");
    write_segment(location, &mut path);
    if asked.dialect == Dialect::Gemini {
        path.extend_from_slice(b"/publishers/google/models/");
        let behind =
            memchr::memmem::find(asked.path, b"/models/").map_or(asked.path, |at| &asked.path[at + 8..]);
        path.extend_from_slice(behind);
        return path;
    }
    path.extend_from_slice(b"/publishers/anthropic/models/");
    let verb: &[u8] = match asked.verb {
        Verb::Call { stream: true } => b":streamRawPredict",
        Verb::Call { stream: false } | Verb::Complete | Verb::Embed | Verb::Count => b":rawPredict",
    };
    // All models share one counter.
    write_segment(if asked.verb == Verb::Count { "count-tokens" } else { asked.model }, &mut path);
    path.extend_from_slice(verb);
    path
}

/// A body of Gemini's as it is wanted here, if otherwise. Not another byte changes.
pub(super) fn gemini_body(verb: Verb, body: &str) -> Option<String> {
    let mut tape = Tape::new();
    let mut edits = Edits::default();
    match verb {
        Verb::Call { .. } | Verb::Complete => return None,
        Verb::Count => unwrap(tape.read(body, Surrogates::Replace).ok()?, body.len(), &mut edits)?,
        Verb::Embed => {
            let root = tape.read(body, Surrogates::Replace).ok()?;
            match root.get("requests").and_then(|requests| requests.elements()) {
                Some(requests) => requests.for_each(|one| configure(one, &mut edits)),
                None => configure(root, &mut edits),
            }
        }
    }
    edits.apply(body)
}

/// A request is counted as it is, where Gemini's own service also takes one wrapped, with its model in it.
fn unwrap(root: Value<'_>, body_bytes: usize, edits: &mut Edits) -> Option<()> {
    let inner = gemini_request(root);
    if inner.range() != root.range() {
        edits.put(0..inner.range().start, "");
        let entries: Vec<_> = inner.fields()?.map(|entry| (entry.range(), entry.is("model"))).collect();
        edits.cut(&entries);
        edits.put(inner.range().end..body_bytes, "");
    }
    Some(())
}

/// How vectors are to be made stands in an object of its own, and the model in the path alone.
fn configure(request: Value<'_>, edits: &mut Edits) {
    let Some(fields) = request.fields() else { return };
    let mut config = String::new();
    let mut entries = Vec::new();
    for entry in fields {
        let there = match &*entry.plain() {
            "taskType" | "task_type" => Some("taskType"),
            "title" => Some("title"),
            "outputDimensionality" | "output_dimensionality" => Some("outputDimensionality"),
            _ => None,
        };
        if let Some(there) = there {
            let gap = if config.is_empty() { "" } else { "," };
            let _ = write!(config, r#"{gap}"{there}":{}"#, entry.value.raw().as_str()); // to a String: cannot fail
        }
        entries.push((entry.range(), there.is_some() || entry.is("model")));
    }
    if !config.is_empty() {
        let gap = if entries.iter().any(|(_, gone)| !gone) { "," } else { "" };
        let at = request.range().start + 1;
        edits.put(at..at, format!(r#""embedContentConfig":{{{config}}}{gap}"#));
    }
    edits.cut(&entries);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(verb: Verb, dialect: Dialect, model: &str, path: &[u8]) -> String {
        let asked = Asked { verb, dialect, model, path };
        String::from_utf8(super::path(&asked, "p", "us-east5")).expect("ASCII")
    }

    #[test]
    fn each_publisher_has_its_paths() {
        assert_eq!(
            at(
                Verb::Call { stream: true },
                Dialect::Gemini,
                "g",
                b"/v1beta/models/g:streamGenerateContent?alt=sse"
            ),
            "/v1/projects/p/locations/us-east5/publishers/google/models/g:streamGenerateContent?alt=sse"
        );
        let of = |verb| at(verb, Dialect::Anthropic, "claude-4@1", b"/v1/messages");
        let front = "/v1/projects/p/locations/us-east5/publishers/anthropic/models/";
        assert_eq!(of(Verb::Call { stream: false }), format!("{front}claude-4@1:rawPredict"));
        assert_eq!(of(Verb::Call { stream: true }), format!("{front}claude-4@1:streamRawPredict"));
        assert_eq!(of(Verb::Count), format!("{front}count-tokens:rawPredict"));
    }

    #[test]
    fn what_is_to_be_counted_is_unwrapped() {
        for (text, there) in [
            (r#"{"contents":[]}"#, None),
            (
                r#" {"generateContentRequest": {"model":"models/m", "contents":[1.0],"tools":[]} }"#,
                Some(r#"{"contents":[1.0],"tools":[]}"#),
            ),
            (r#"{"generate_content_request":{"contents":[]}}"#, Some(r#"{"contents":[]}"#)),
        ] {
            assert_eq!(gemini_body(Verb::Count, text).as_deref(), there, "{text}");
        }
    }

    #[test]
    fn how_vectors_are_made_stands_in_an_object_of_its_own() {
        for (text, there) in [
            (r#"{"content":{"parts":[]}}"#, None),
            (r#"{"model":"models/e", "content":1.0}"#, Some(r#"{"content":1.0}"#)),
            (
                r#"{"requests":[{"model":"models/e","content":{},"taskType":"A","output_dimensionality":8},{"title":"t"}]}"#,
                Some(
                    r#"{"requests":[{"embedContentConfig":{"taskType":"A","outputDimensionality":8},"content":{}},{"embedContentConfig":{"title":"t"}}]}"#,
                ),
            ),
        ] {
            assert_eq!(gemini_body(Verb::Embed, text).as_deref(), there, "{text}");
        }
        assert_eq!(gemini_body(Verb::Call { stream: false }, r#"{"model":"m"}"#), None);
    }
}
