//! Writing JSON strings.
//!
//! Owns: the escaping. The rest of the small documents made here is literal text around such strings.
//! Must not: parse, or build a tree.
//! Read next: [`crate::errors`].

use super::run::plain_run;

/// Appends `text` as a JSON string, quotes included.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.find('\u{7f}') {
        inside(out, &rest[..at]);
        out.extend_from_slice(b"\\u007f"); // terminals act upon it
        rest = &rest[at + 1..];
    }
    inside(out, rest);
    out.push(b'"');
}

/// Appends the inside of a JSON string, with the escapes that RFC 8259 section 7 wants.
pub(super) fn inside(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    loop {
        let (clean, from) = rest.split_at(plain_run(rest));
        out.extend_from_slice(clean);
        let Some((&byte, after)) = from.split_first() else { return };
        escape(out, byte);
        rest = after;
    }
}

/// Whether [`inside`] writes this byte as something else.
pub(super) const fn must_escape(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\')
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends JSON text, escaping the characters that are legal in it but take a line of an event stream apart in some
/// readers: U+2028, U+2029, U+0085; and DEL. They can only stand inside strings.
pub(super) fn line_safe(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr3(0x7f, 0xc2, 0xe2, rest) {
        let (clean, from) = rest.split_at(at);
        out.extend_from_slice(clean);
        let (escape, width): (&[u8], usize) = match from {
            [0x7f, ..] => (b"\\u007f", 1),
            [0xc2, 0x85, ..] => (b"\\u0085", 2),
            [0xe2, 0x80, 0xa8, ..] => (b"\\u2028", 3),
            [0xe2, 0x80, 0xa9, ..] => (b"\\u2029", 3),
            _ => (&from[..1], 1),
        };
        out.extend_from_slice(escape);
        rest = &from[width..];
    }
    out.extend_from_slice(rest);
}

/// Appends a JSON string, or `null`.
pub fn string_or_null(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends a decimal number.
pub fn number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn every_string_reads_back_as_it_was() {
        for text in ["", "plain", "\"quoted\" \\ back", "line\r\n\tend\u{0}\u{7f}", "süß 模型 🦀"] {
            let json = written(|out| string(out, text));
            assert_eq!(serde_json::from_str::<String>(&json).expect("valid JSON"), text);
            assert!(!json.bytes().any(|byte| byte < 0x20 || byte == 0x7f), "{json:?}");
        }
    }

    #[test]
    fn numbers_are_written_whole() {
        for value in [0, 7, 10, 429, u64::MAX] {
            assert_eq!(written(|out| number(out, value)), value.to_string());
        }
    }
}
