//! A call's arguments that come in pieces, each with the path at which it belongs.
//!
//! Vertex streams them so when asked to: `{"jsonPath":"$.location","stringValue":"Bos","willContinue":true}`.
//! Owns: the tree they are put together in, and its bounds.
//! Must not: recurse deeper than a text may be nested, or keep more than a call's arguments may be.
//! Read next: `stream_in.rs`.

use crate::bounds::{ARGUMENT_BYTES_MAX, JSON_DEPTH_MAX};
use crate::json::{Text, Value};

/// Arguments so far.
#[derive(Debug, Default)]
pub(super) struct Partial {
    root: Node,
    bytes: usize,
}

/// A value so far.
#[derive(Debug, Default)]
enum Node {
    /// Nothing was said of it.
    #[default]
    Unset,
    /// A string, as written inside its quotes.
    Text(String),
    /// A number, a truth value or null, as written.
    Plain(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// One step of a path.
enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

/// What a piece costs beyond its own bytes, so that many empty ones are bounded too.
const PIECE_BYTES: usize = 64;

impl Partial {
    /// Adds a piece; false if it does not fit: a path that contradicts an earlier one, or too much.
    pub(super) fn add(&mut self, piece: Value<'_>) -> bool {
        let Some(path) = piece.get_text("jsonPath") else { return false };
        let path = path.plain();
        self.bytes += path.len() + PIECE_BYTES;
        let Some(node) = self.find(&path) else { return false };
        let added = put(node, piece);
        self.bytes += added.unwrap_or(0);
        added.is_some() && self.bytes <= ARGUMENT_BYTES_MAX
    }

    /// The whole as the text of a JSON object.
    pub(super) fn text(&self) -> String {
        let mut out = String::with_capacity(self.bytes);
        match &self.root {
            Node::Unset => out.push_str("{}"),
            Node::Text(_) | Node::Plain(_) | Node::List(_) | Node::Map(_) => write(&mut out, &self.root),
        }
        out
    }

    fn find(&mut self, path: &str) -> Option<&mut Node> {
        let mut node = &mut self.root;
        let mut rest = path.strip_prefix('$')?;
        for _ in 0..JSON_DEPTH_MAX {
            if rest.is_empty() {
                return Some(node);
            }
            let (step, after) = step(rest)?;
            node = node.child(&step)?;
            rest = after;
        }
        None
    }
}

impl Node {
    fn child(&mut self, step: &Step<'_>) -> Option<&mut Self> {
        if matches!(self, Self::Unset) {
            *self = match step {
                Step::Key(_) => Self::Map(Vec::new()),
                Step::Index(_) => Self::List(Vec::new()),
            };
        }
        match (self, step) {
            (Self::Map(entries), Step::Key(key)) => {
                let known = entries.iter().position(|(name, _)| name == key);
                let at = known.unwrap_or_else(|| {
                    entries.push(((*key).to_owned(), Self::Unset));
                    entries.len() - 1
                });
                entries.get_mut(at).map(|(_, node)| node)
            }
            (Self::List(items), Step::Index(at)) => {
                if *at == items.len() {
                    items.push(Self::Unset);
                }
                items.get_mut(*at)
            }
            (Self::Unset | Self::Text(_) | Self::Plain(_) | Self::Map(_) | Self::List(_), _) => None,
        }
    }
}

/// The first step of a path, and what follows: `.name`, `['name']`, `["name"]`, `[3]`.
fn step(path: &str) -> Option<(Step<'_>, &str)> {
    if let Some(rest) = path.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        return Some((Step::Key(&rest[..end]), &rest[end..]));
    }
    let rest = path.strip_prefix('[')?;
    for quote in ['\'', '"'] {
        if let Some(inside) = rest.strip_prefix(quote) {
            let (key, after) = inside.split_once(quote)?;
            return Some((Step::Key(key), after.strip_prefix(']')?));
        }
    }
    let (index, after) = rest.split_once(']')?;
    Some((Step::Index(index.parse().ok()?), after))
}

/// Puts a piece's value where it belongs: a string goes on, anything else is whole. The bytes that it took.
fn put(node: &mut Node, piece: Value<'_>) -> Option<usize> {
    if let Some(text) = piece.get_text("stringValue") {
        let written = text.as_written();
        match node {
            Node::Text(so_far) => so_far.push_str(written),
            Node::Unset => *node = Node::Text(written.to_owned()),
            Node::Plain(_) | Node::List(_) | Node::Map(_) => return None,
        }
        return Some(written.len());
    }
    let plain = piece.get("numberValue").or_else(|| piece.get("boolValue")).map(|value| value.raw());
    let written = match plain {
        Some(raw) => raw.as_str().to_owned(),
        None if has(piece, "nullValue") => "null".to_owned(),
        None => return Some(0),
    };
    let Node::Unset = node else { return None };
    let bytes = written.len();
    *node = Node::Plain(written);
    Some(bytes)
}

/// Whether an object has a key, null or not.
fn has(object: Value<'_>, key: &str) -> bool {
    object.fields().is_some_and(|mut fields| fields.any(|entry| entry.is(key)))
}

/// As deep as a path may be, so no deeper than [`JSON_DEPTH_MAX`].
fn write(out: &mut String, node: &Node) {
    match node {
        Node::Unset => out.push_str("null"),
        Node::Text(inside) => {
            out.push('"');
            out.push_str(inside);
            out.push('"');
        }
        Node::Plain(text) => out.push_str(text),
        Node::List(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write(out, item);
            }
            out.push(']');
        }
        Node::Map(entries) => {
            out.push('{');
            for (n, (key, value)) in entries.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                out.push('"');
                out.push_str(Text::of(key).as_written());
                out.push_str("\":");
                write(out, value);
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Surrogates, Tape};

    fn put_together(pieces: &[&str]) -> Option<String> {
        let mut partial = Partial::default();
        for piece in pieces {
            let mut tape = Tape::new();
            if !partial.add(tape.read(piece, Surrogates::Replace).expect("JSON")) {
                return None;
            }
        }
        Some(partial.text())
    }

    #[test]
    fn pieces_make_the_object_they_are_pieces_of() {
        let pieces = [
            r#"{"jsonPath":"$.city","stringValue":"Bos","willContinue":true}"#,
            r#"{"jsonPath":"$.city","stringValue":"t\"on"}"#,
            r#"{"jsonPath":"$.days","numberValue":1.0}"#,
            r#"{"jsonPath":"$.deep[0].on","boolValue":true}"#,
            r#"{"jsonPath":"$.deep[1]['a b']","nullValue":null}"#,
        ];
        let whole = r#"{"city":"Bost\"on","days":1.0,"deep":[{"on":true},{"a b":null}]}"#;
        assert_eq!(put_together(&pieces).as_deref(), Some(whole));
        assert_eq!(put_together(&[]).as_deref(), Some("{}"));
    }

    #[test]
    fn pieces_that_contradict_each_other_are_refused() {
        let text = r#"{"jsonPath":"$.a","stringValue":"x"}"#;
        for odd in [
            r#"{"jsonPath":"$.a.b","stringValue":"x"}"#,
            r#"{"jsonPath":"$[0]","stringValue":"x"}"#,
            r#"{"jsonPath":"$.list[7]","stringValue":"x"}"#,
            r#"{"jsonPath":"a","stringValue":"x"}"#,
            r#"{"jsonPath":"$.a","numberValue":1}"#,
            r#"{"stringValue":"x"}"#,
        ] {
            assert_eq!(put_together(&[text, odd]), None, "{odd}");
        }
        let deep = format!(r#"{{"jsonPath":"${}","stringValue":"x"}}"#, "[0]".repeat(JSON_DEPTH_MAX + 1));
        assert_eq!(put_together(&[&deep]), None);
    }
}
