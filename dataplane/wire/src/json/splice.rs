//! Puts another model name where the caller's stood.
//! Owns: the writing of one JSON string, and the arithmetic of one replaced span.
//! Must not: touch any other byte (SEC-JS-06).
//! Read next: `scanner.rs`, which finds the span.

use std::ops::Range;

/// Appends `text` as a JSON string, quotes included. Only what must be escaped is.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0..0x20 => {
                out.extend(b"\\u00");
                out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Appends `chunk`, which begins at byte `at` of the body, with the body's `span` replaced by the JSON string `name`.
/// A chunk that the span does not touch is copied; where the span is cut over chunks, the name goes with its first
/// byte.
pub fn splice_model(out: &mut Vec<u8>, chunk: &[u8], at: u64, span: &Range<u64>, name: &str) {
    let inside =
        |offset: u64| usize::try_from(offset.saturating_sub(at)).map_or(chunk.len(), |n| n.min(chunk.len()));
    out.extend_from_slice(&chunk[..inside(span.start)]);
    if (at..at + chunk.len() as u64).contains(&span.start) {
        write_string(out, name);
    }
    out.extend_from_slice(&chunk[inside(span.end)..]);
}

/// The length of a body of `len` bytes after the splice.
pub fn spliced_len(len: u64, span: &Range<u64>, name: &str) -> u64 {
    let mut string = Vec::with_capacity(name.len() + 2);
    write_string(&mut string, name);
    len - (span.end - span.start) + string.len() as u64
}
