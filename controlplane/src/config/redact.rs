//! Secrets that somebody wrote into the file after all: a report shows lines, but never those.
//!
//! Owns: where in the text a secret may stand.
//! Must not: judge; what is no secret and looks like one is hidden too.
//! Read next: `report.rs`, which draws stars over the ranges found here.

use std::ops::Range;

use super::values;
use super::yaml::{Node, Value};

/// Parts of field names whose values are hidden.
const SECRET_WORDS: [&str; 8] =
    ["key", "secret", "token", "passw", "credential", "authorization", "bearer", "cookie"];

/// Ranges of the text that may hold secrets. `secret`: the node itself stands where one may stand.
pub(super) fn secrets(node: &Node, secret: bool) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    walk(node, secret, &mut found);
    found
}

/// Ranges in the line around `at`, for a text that is no valid YAML and so has no nodes.
pub(super) fn secrets_of_line(text: &str, at: usize) -> Vec<Range<usize>> {
    let at = at.min(text.len());
    let bytes = text.as_bytes();
    let start = bytes[..at].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    let end = bytes[at..].iter().position(|&b| b == b'\n').map_or(text.len(), |len| at + len);
    let line = String::from_utf8_lossy(&bytes[start..end]).to_ascii_lowercase();
    let word = SECRET_WORDS.iter().filter_map(|word| line.find(word)).min();
    let value = word.and_then(|word| line[word..].find([':', '=']).map(|colon| start + word + colon + 1));
    value.map(|value| value..end).into_iter().collect()
}

/// Whether values under this key are hidden.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

fn walk(node: &Node, secret: bool, found: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Scalar { text, .. } => {
            let url_with_secret = text.contains("://") && text.contains(['@', '?']);
            if secret || url_with_secret {
                found.push(node.span.clone());
            }
        }
        Value::List(items) => items.iter().for_each(|item| walk(item, secret, found)),
        Value::Map(entries) => {
            for (key, node) in entries {
                // The name of a variable or file is what should stand there.
                let named = match (&node.value, key.text.as_str()) {
                    (Value::Scalar { text, .. }, "env") => values::variable(text).is_ok(),
                    (Value::Scalar { .. }, "file") => true,
                    _ => false,
                };
                walk(node, !named && (secret || is_secret(&key.text)), found);
            }
        }
    }
}
