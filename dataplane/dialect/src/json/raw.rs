//! A JSON value as it is written.
//! Owns: copying it with or without the white space between its tokens. Keys stay in order, numbers keep their text.
//! Must not: parse it; it was checked when it was read.
//! Read next: `text.rs`.

use super::run::plain_run;
use super::text::Text;
use super::write;
use std::borrow::Cow;

/// The text of one JSON value. Two are equal if they are, but for white space.
#[derive(Clone, Debug)]
pub struct Raw<'a>(Cow<'a, str>);

impl<'a> Raw<'a> {
    /// From the text of a JSON value, which must be a valid one.
    pub const fn written(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The same, owned.
    pub const fn owned(text: String) -> Self {
        Self(Cow::Owned(text))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A copy that lends from nothing.
    pub fn into_owned(self) -> Raw<'static> {
        Raw(Cow::Owned(self.0.into_owned()))
    }

    /// A second hold on the same text.
    pub fn lend(&self) -> Raw<'_> {
        Raw(Cow::Borrowed(&self.0))
    }

    /// Appends it without white space between tokens.
    pub fn write(&self, out: &mut Vec<u8>) {
        compact(&self.0, |piece| out.extend_from_slice(piece.as_bytes()));
    }

    /// Appends it without white space, safe on one line of an event stream (see [`Text::write_inside_line`]).
    pub fn write_line(&self, out: &mut Vec<u8>) {
        compact(&self.0, |piece| write::line_safe(out, piece));
    }

    /// Its text without white space as the inside of a JSON string: how OpenAI has arguments.
    pub fn to_text(&self) -> Text<'static> {
        let mut out = Vec::with_capacity(self.0.len() + self.0.len() / 8);
        compact(&self.0, |piece| write::inside(&mut out, piece));
        Text::owned(String::from_utf8(out).expect("escapes are ASCII, the rest was UTF-8"))
    }

    /// Appends [`Self::to_text`] to `out`, without the quotes.
    pub fn write_as_inside(&self, out: &mut Vec<u8>) {
        compact(&self.0, |piece| write::inside(out, piece));
    }
}

impl PartialEq for Raw<'_> {
    fn eq(&self, other: &Self) -> bool {
        let whole = |raw: &Self| {
            let mut out = Vec::new();
            raw.write(&mut out);
            out
        };
        self.0 == other.0 || whole(self) == whole(other)
    }
}

impl Eq for Raw<'_> {}

/// Hands out the text in pieces, leaving out what is between the tokens. Pieces are as long as they can be.
fn compact<'t>(text: &'t str, mut piece: impl FnMut(&'t str)) {
    let bytes = text.as_bytes();
    let (mut from, mut at) = (0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string_end(bytes, at + 1),
            b' ' | b'\n' | b'\r' | b'\t' => {
                if from < at {
                    piece(&text[from..at]);
                }
                at += 1;
                from = at;
            }
            _ => at += 1,
        }
    }
    if from < bytes.len() {
        piece(&text[from..]);
    }
}

/// One past the quote that ends the string whose inside begins at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at += plain_run(&bytes[at.min(bytes.len())..]);
        match bytes.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') => return at + 1,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compacted(text: &str) -> String {
        let mut out = Vec::new();
        Raw::written(text).write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn white_space_goes_only_between_tokens() {
        let text =
            "{ \"a b\" :\n[1.0 , 1e400,\t\"x \\\" y\\\\\" ], \"z\": {}, \"big\": 12345678901234567890 }";
        assert_eq!(compacted(text), r#"{"a b":[1.0,1e400,"x \" y\\"],"z":{},"big":12345678901234567890}"#);
        assert_eq!(compacted(&compacted(text)), compacted(text));
        assert_eq!(Raw::written(text), Raw::written(&compacted(text)));
    }

    #[test]
    fn as_text_it_is_the_value_in_a_string() {
        let text = Raw::written(r#"{ "a": "q\"\n" }"#).to_text();
        assert_eq!(text.plain(), r#"{"a":"q\"\n"}"#);
    }

    #[test]
    fn broken_text_is_no_panic() {
        for text in ["\"", "\"\\", "{\"a", "\\", ""] {
            assert_eq!(compacted(text), text);
        }
    }
}
