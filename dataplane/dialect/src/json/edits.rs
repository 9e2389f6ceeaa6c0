//! Changes to a text by spans: not another byte of it changes.
//! Owns: the list, and putting it into effect. Must not: know what is changed.
//! Read next: `tape.rs`, which tells where things stand.

use std::borrow::Cow;
use std::ops::Range;

/// Spans and what stands there instead. They do not overlap; an empty span is where something is put in.
#[derive(Clone, Debug, Default)]
pub struct Edits(Vec<(Range<usize>, Cow<'static, str>)>);

impl Edits {
    /// Puts a text in place of a span.
    pub fn put(&mut self, span: Range<usize>, instead: impl Into<Cow<'static, str>>) {
        self.0.push((span, instead.into()));
    }

    /// Cuts those out of a row of neighbours that are marked, each with one comma.
    pub fn cut(&mut self, neighbours: &[(Range<usize>, bool)]) {
        let mut kept = false;
        for (n, (span, gone)) in neighbours.iter().enumerate() {
            if !gone {
                kept = true;
            } else if kept {
                self.put(neighbours[n - 1].0.end..span.end, "");
            } else {
                let end = neighbours.get(n + 1).map_or(span.end, |next| next.0.start);
                self.put(span.start..end, "");
            }
        }
    }

    /// The text with its changes; `None`: there are none, or one of them cuts a character.
    pub fn apply(mut self, text: &str) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_by_key(|(span, _)| (span.start, span.end));
        let mut out = String::with_capacity(text.len() + 128);
        let mut from = 0;
        for (span, instead) in self.0 {
            out.push_str(text.get(from..span.start)?);
            out.push_str(&instead);
            from = span.end;
        }
        out.push_str(text.get(from..)?);
        Some(out)
    }
}
