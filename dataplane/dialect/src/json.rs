//! Writing JSON strings.
//!
//! Owns: the escaping. The rest of the small documents made here is literal text around such strings.
//! Must not: parse, or build a tree.
//! Read next: [`crate::errors`].

/// Appends `text` as a JSON string, quotes included.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut clean_from = 0;
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        let Some(escape) = escape(byte) else { continue };
        out.extend_from_slice(&text.as_bytes()[clean_from..at]);
        out.extend_from_slice(&escape);
        clean_from = at + 1;
    }
    out.extend_from_slice(&text.as_bytes()[clean_from..]);
    out.push(b'"');
}

/// `\u00xx` for what RFC 8259 section 7 wants escaped, and for DEL, which terminals act upon.
fn escape(byte: u8) -> Option<[u8; 6]> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let must = byte < 0x20 || matches!(byte, b'"' | b'\\' | 0x7f);
    must.then(|| [b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]])
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
