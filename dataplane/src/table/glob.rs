//! Globs: `*` any run of bytes, `?` one byte.
//!
//! Owns: the compiled pattern. Pieces between stars are found one after the other, leftmost first, which is
//! enough for stars; nothing backtracks, so a match is linear in the text whatever the pattern.
//! Must not: fold case or decode; names are bytes (SEC-UN-01).
//! Read next: [`super::matching`].

use memchr::memmem::Finder;

/// A compiled glob.
#[derive(Debug)]
pub struct Glob {
    text: Box<str>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// `*` alone.
    Any,
    /// No wildcard: one text.
    Literal,
    /// `?` but no `*`: one length.
    Fixed,
    /// What is before the first star, between stars, and behind the last one.
    Runs { head: Box<[u8]>, middle: Box<[Piece]>, tail: Box<[u8]> },
}

/// What stands between two stars; never empty.
#[derive(Debug)]
struct Piece {
    bytes: Box<[u8]>,
    /// None if there is a `?` in it.
    finder: Option<Finder<'static>>,
}

impl Glob {
    /// Compiles a pattern; every text is one.
    pub fn new(text: &str) -> Self {
        let kind = match (text, text.contains('*'), text.contains('?')) {
            ("*", ..) => Kind::Any,
            (_, false, false) => Kind::Literal,
            (_, false, true) => Kind::Fixed,
            (_, true, _) => runs(text.as_bytes()),
        };
        Self { text: text.into(), kind }
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The one text it matches, if it has no wildcard.
    pub fn literal(&self) -> Option<&str> {
        matches!(self.kind, Kind::Literal).then_some(&*self.text)
    }

    /// What every text that it matches begins with: all before the first wildcard.
    pub fn beginning(&self) -> &str {
        self.text.split(['*', '?']).next().unwrap_or_default()
    }

    /// What its only star matches of a text that it matches; none: it has no star, or several, or a `?`.
    pub fn star<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        match &self.kind {
            Kind::Any => Some(text),
            Kind::Runs { head, middle, tail } if middle.is_empty() && !self.text.contains('?') => {
                text.get(head.len()..text.len().checked_sub(tail.len())?)
            }
            Kind::Runs { .. } | Kind::Literal | Kind::Fixed => None,
        }
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        match &self.kind {
            Kind::Any => true,
            Kind::Literal => text == self.text.as_bytes(),
            Kind::Fixed => fits(self.text.as_bytes(), text),
            Kind::Runs { head, middle, tail } => {
                let Some((front, rest)) = text.split_at_checked(head.len()) else { return false };
                let Some(split) = rest.len().checked_sub(tail.len()) else { return false };
                let (rest, back) = rest.split_at(split);
                fits(head, front) && fits(tail, back) && all_in_order(middle, rest)
            }
        }
    }
}

fn runs(pattern: &[u8]) -> Kind {
    let pieces: Vec<&[u8]> = pattern.split(|&byte| byte == b'*').collect();
    let (head, rest) = pieces.split_first().expect("split gives at least one piece");
    let (tail, middle) = rest.split_last().expect("a star gives at least two pieces");
    let middle = middle.iter().filter(|piece| !piece.is_empty()).map(|piece| Piece::new(piece)).collect();
    Kind::Runs { head: (*head).into(), middle, tail: (*tail).into() }
}

impl Piece {
    fn new(bytes: &[u8]) -> Self {
        let finder = (!bytes.contains(&b'?')).then(|| Finder::new(bytes).into_owned());
        Self { bytes: bytes.into(), finder }
    }

    fn find(&self, text: &[u8]) -> Option<usize> {
        match &self.finder {
            Some(finder) => finder.find(text),
            None => text.windows(self.bytes.len()).position(|window| fits(&self.bytes, window)),
        }
    }
}

/// Whether the pieces come one behind the other. Leftmost is best: it leaves the most for those behind.
fn all_in_order(pieces: &[Piece], mut text: &[u8]) -> bool {
    for piece in pieces {
        let Some(at) = piece.find(text) else { return false };
        text = &text[at + piece.bytes.len()..];
    }
    true
}

fn fits(pattern: &[u8], text: &[u8]) -> bool {
    pattern.len() == text.len() && pattern.iter().zip(text).all(|(&want, &have)| want == b'?' || want == have)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_match_any_run_and_question_marks_one_byte() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("llama-*", "llama-3-8b", true),
            ("llama-*", "llama", false),
            ("*-8b", "llama-3-8b", true),
            ("*-8b", "8b", false),
            ("a*b*c", "a--b--c", true),
            ("a*b*c", "a--c--b", false),
            ("ab*ba", "aba", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "", false),
            ("**", "", true),
            ("*a?c*", "xxabcyy", true),
            ("gpt-4", "gpt-4o", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text.as_bytes()), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_pattern_made_to_backtrack_is_answered_at_once() {
        let pattern = "*a".repeat(60) + "*b";
        let text = "a".repeat(64 * 1_024);
        let started = std::time::Instant::now();
        assert!(!Glob::new(&pattern).matches(text.as_bytes()));
        assert!(started.elapsed().as_millis() < 500, "linear, not exponential");
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(Glob::new(&pattern).matches(text.as_bytes()), defined(pattern.as_bytes(), text.as_bytes()));
        }
    }

    /// The definition, as slow as it likes.
    fn defined(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => (0..=text.len()).any(|skip| defined(rest, &text[skip..])),
            (Some((b'?', rest)), Some((_, after))) => defined(rest, after),
            (Some((want, rest)), Some((have, after))) => want == have && defined(rest, after),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}
