//! Bytes of a caller, made safe for a line of a log.
//!
//! Owns: which bytes and characters are written as `\u00XX` (SEC-INJ-02): controls, DEL, C1, the Unicode line
//! ends, what turns the writing direction, and every byte that is not UTF-8.
//! Must not: write anything that ends a line or a quoted string.
//! Read next: [`super::log`].

use std::fmt::Write;

/// Appends `bytes` so that they stay inside a JSON string, and inside a quoted value of a text line.
pub fn push(out: &mut String, bytes: &[u8]) {
    for piece in bytes.utf8_chunks() {
        for character in piece.valid().chars() {
            push_char(out, character);
        }
        for byte in piece.invalid() {
            push_code(out, u32::from(*byte));
        }
    }
}

/// Appends `bytes` as a value of a text line: bare where no reader can take it for anything else.
pub fn push_text(out: &mut String, bytes: &[u8]) {
    let bare = !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_graphic() && !is_special(*byte));
    if bare {
        out.extend(bytes.iter().copied().map(char::from));
        return;
    }
    out.push('"');
    push(out, bytes);
    out.push('"');
}

/// Bytes with a meaning in a text line.
const fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | b'=')
}

fn push_char(out: &mut String, character: char) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        unsafe_one if is_hidden(unsafe_one) => push_code(out, u32::from(unsafe_one)),
        plain => out.push(plain),
    }
}

/// Characters that end a line, hide, or turn the direction of what follows.
const fn is_hidden(character: char) -> bool {
    matches!(character,
        '\0'..='\x1F' | '\x7F'..='\u{9F}'
        | '\u{2028}' | '\u{2029}' // line and paragraph separator
        | '\u{061C}' | '\u{200E}' | '\u{200F}' // direction marks
        | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' // embeddings, overrides, isolates
        | '\u{FEFF}') // looks like nothing
}

/// All hidden characters lie in the first plane, so four digits are enough.
fn push_code(out: &mut String, code: u32) {
    let _ = write!(out, "\\u{code:04x}"); // writing to a String cannot fail
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = String::new();
        push(&mut out, bytes);
        out
    }

    #[test]
    fn each_kind_of_hidden_character_is_written_as_its_code() {
        let cases: [(&[u8], &str); 11] = [
            (b"\r\n\t\0", "\\u000d\\u000a\\u0009\\u0000"),
            (b"\x7F", "\\u007f"),
            ("\u{85}".as_bytes(), "\\u0085"),
            ("\u{2028}\u{2029}".as_bytes(), "\\u2028\\u2029"),
            ("\u{202E}".as_bytes(), "\\u202e"),
            ("\u{2066}\u{2069}".as_bytes(), "\\u2066\\u2069"),
            ("\u{200F}\u{061C}".as_bytes(), "\\u200f\\u061c"),
            (b"\xFF\xC3", "\\u00ff\\u00c3"),
            (b"a\"b\\c", "a\\\"b\\\\c"),
            ("grün €".as_bytes(), "grün €"),
            (b"\x1b[31m", "\\u001b[31m"),
        ];
        for (bytes, want) in cases {
            assert_eq!(escaped(bytes), want);
        }
    }

    #[test]
    fn a_value_is_bare_only_where_it_cannot_be_misread() {
        for (bytes, want) in [
            (&b"/v1/models"[..], "/v1/models"),
            (b"", "\"\""),
            (b"a b", "\"a b\""),
            (b"a=b", "\"a=b\""),
            (b"x status=200", "\"x status=200\""),
            (b"say \"hi\"", "\"say \\\"hi\\\"\""),
        ] {
            let mut out = String::new();
            push_text(&mut out, bytes);
            assert_eq!(out, want);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_stay_inside_one_json_string(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let out = escaped(&bytes);
            prop_assert!(!out.chars().any(is_hidden));
            let read: String = serde_json::from_str(&format!("\"{out}\"")).expect("a JSON string");
            if let Ok(text) = std::str::from_utf8(&bytes) {
                prop_assert_eq!(read, text);
            }
        }

        #[test]
        fn escaping_grows_a_byte_to_at_most_six(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(escaped(&bytes).len() <= 6 * bytes.len());
        }
    }
}
