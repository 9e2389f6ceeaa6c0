//! A string as it is written between its quotes.
//! Owns: undoing and doing escapes, and only where somebody needs that. Most text goes from one dialect to another
//! without either: it is JSON on both sides.
//! Must not: change what a text says.
//! Read next: `raw.rs`.

use super::run::plain_run;
use super::write;
use std::borrow::Cow;

/// A string in its written form, without the quotes. Two are equal if they say the same, however they are escaped.
#[derive(Clone, Debug, Default)]
pub struct Text<'a>(Cow<'a, str>);

impl<'a> Text<'a> {
    /// The empty text.
    pub const EMPTY: Text<'static> = Text(Cow::Borrowed(""));

    /// From the inside of a JSON string, which must be a valid one.
    pub const fn written(inside: &'a str) -> Self {
        Self(Cow::Borrowed(inside))
    }

    /// The same, owned.
    pub const fn owned(inside: String) -> Self {
        Self(Cow::Owned(inside))
    }

    /// From a text that is not escaped yet.
    pub fn of(plain: &'a str) -> Self {
        if plain.bytes().any(write::must_escape) {
            Self(Cow::Owned(escaped(plain)))
        } else {
            Self::written(plain)
        }
    }

    /// The written form.
    pub fn as_written(&self) -> &str {
        &self.0
    }

    /// The written form, if it lends from the text it was read from.
    pub const fn lent(&self) -> Option<&'a str> {
        match &self.0 {
            Cow::Borrowed(text) => Some(text),
            Cow::Owned(_) => None,
        }
    }

    /// Nothing in it?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What it says; borrowed where nothing is escaped. Half a surrogate pair reads as U+FFFD.
    pub fn plain(&self) -> Cow<'_, str> {
        if self.0.contains('\\') { Cow::Owned(unescaped(&self.0)) } else { Cow::Borrowed(&self.0) }
    }

    /// Says exactly this?
    pub fn is(&self, plain: &str) -> bool {
        if self.0.contains('\\') { unescaped(&self.0) == plain } else { self.0 == plain }
    }

    /// A copy that lends from nothing.
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }

    /// A second hold on the same text.
    pub fn lend(&self) -> Text<'_> {
        Text(Cow::Borrowed(&self.0))
    }

    /// Appends it as a JSON string. For bodies.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(self.0.as_bytes());
        out.push(b'"');
    }

    /// Appends the inside of a JSON string that is safe on one line of an event stream: readers are in use that
    /// split lines at U+2028, U+2029 or U+0085 (dialects section 5.2).
    pub fn write_inside_line(&self, out: &mut Vec<u8>) {
        write::line_safe(out, &self.0);
    }

    /// [`Self::write_inside_line`] with its quotes.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        self.write_inside_line(out);
        out.push(b'"');
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.plain() == other.plain()
    }
}

impl Eq for Text<'_> {}

fn escaped(plain: &str) -> String {
    let mut out = Vec::with_capacity(plain.len() + plain.len() / 8);
    write::inside(&mut out, plain);
    String::from_utf8(out).expect("escapes are ASCII, the rest was UTF-8")
}

fn unescaped(written: &str) -> String {
    let mut out = String::with_capacity(written.len());
    let mut rest = written;
    while !rest.is_empty() {
        let run = plain_run(rest.as_bytes());
        out.push_str(&rest[..run]);
        rest = &rest[run..];
        if let Some(after) = rest.strip_prefix('\\') {
            rest = one_escape(after, &mut out);
        } else if let Some(odd) = rest.chars().next() {
            out.push(odd); // not valid inside a string; kept, since it stands for itself
            rest = &rest[odd.len_utf8()..];
        }
    }
    out
}

/// Undoes the escape behind a backslash; returns what follows it.
fn one_escape<'t>(after: &'t str, out: &mut String) -> &'t str {
    let simple = match after.as_bytes().first() {
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'u') => return unicode_escape(&after[1..], out),
        Some(_) => after.chars().next().unwrap_or('\\'),
        None => return after,
    };
    out.push(simple);
    &after[simple.len_utf8().min(after.len())..]
}

fn unicode_escape<'t>(digits: &'t str, out: &mut String) -> &'t str {
    let Some((unit, rest)) = code_unit(digits) else {
        out.push(char::REPLACEMENT_CHARACTER);
        return digits;
    };
    let low = rest.strip_prefix("\\u").and_then(code_unit);
    if let (0xD800..=0xDBFF, Some((low @ 0xDC00..=0xDFFF, rest))) = (unit, low) {
        let both = char::decode_utf16([unit, low]).next().and_then(Result::ok);
        out.push(both.unwrap_or(char::REPLACEMENT_CHARACTER));
        return rest;
    }
    out.push(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER));
    rest
}

fn code_unit(digits: &str) -> Option<(u16, &str)> {
    let unit = digits.get(..4).filter(|four| four.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    Some((u16::from_str_radix(unit, 16).ok()?, &digits[4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_whatever_it_is() {
        for plain in ["", "plain", "q\" b\\ /", "a\r\n\t\u{8}\u{c}\u{0}\u{7f}", "süß 模型 🦀 \u{2028}"]
        {
            assert_eq!(Text::of(plain).plain(), plain);
            assert_eq!(serde_json::from_str::<String>(&written(&Text::of(plain))).expect("JSON"), plain);
        }
    }

    #[test]
    fn every_form_of_escape_is_understood() {
        for written in [r"\u00e9\n\/", r"\ud83d\ude00", r#"a\\\"b"#, r"\b\f\r\t", r"\u0041x"] {
            let expected: String = serde_json::from_str(&format!("\"{written}\"")).expect("JSON");
            assert_eq!(Text::written(written).plain(), expected);
            assert_eq!(Text::written(written), Text::of(&expected), "equal by what they say");
        }
        assert_eq!(Text::written(r"\ud83d!").plain(), "\u{FFFD}!");
    }

    #[test]
    fn a_line_of_a_stream_has_none_of_the_line_ends_that_readers_disagree_about() {
        let odd = "a\u{2028}b\u{2029}c\u{85}d\u{7f}é";
        let mut out = Vec::new();
        Text::of(odd).write_line(&mut out);
        let line = String::from_utf8(out).expect("UTF-8");
        assert!(!line.contains(['\u{2028}', '\u{2029}', '\u{85}', '\u{7f}']), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), odd);
    }

    fn written(text: &Text<'_>) -> String {
        let mut out = Vec::new();
        text.write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }
}
