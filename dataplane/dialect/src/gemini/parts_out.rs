//! Gemini's parts, as answers and streams write them.
//! Owns: the spelling, safe on one line of a stream. Must not: know in what they stand.
//! Read next: `stream_out.rs`.

use crate::json::{Raw, Surrogates, Tape, Text, string};
use crate::model::{Echo, Opaque, Show};

/// `{"text":…}`, with what goes with it.
pub(super) fn text(out: &mut Vec<u8>, text: &Text<'_>, thought: bool, signature: Option<&Opaque<'_>>) {
    out.extend_from_slice(br#"{"text":"#);
    text.write_line(out);
    if thought {
        out.extend_from_slice(br#","thought":true"#);
    }
    end(out, signature);
}

/// `{"functionCall":…}`; `args` is the text of a JSON object.
pub(super) fn call(
    out: &mut Vec<u8>,
    id: &Text<'_>,
    name: &str,
    args: &Raw<'_>,
    signature: Option<&Opaque<'_>>,
) {
    out.extend_from_slice(br#"{"functionCall":{"#);
    if !id.is_empty() {
        out.extend_from_slice(br#""id":"#);
        id.write_line(out);
        out.push(b',');
    }
    out.extend_from_slice(br#""name":"#);
    string(out, name);
    out.extend_from_slice(br#","args":"#);
    args.write_line(out);
    out.push(b'}');
    end(out, signature);
}

/// `{"inlineData":…}`
pub(super) fn inline(out: &mut Vec<u8>, mime: &Text<'_>, data: &Text<'_>) {
    out.extend_from_slice(br#"{"inlineData":{"mimeType":"#);
    mime.write_line(out);
    out.extend_from_slice(br#","data":"#);
    data.write_line(out);
    out.extend_from_slice(b"}}");
}

/// A caller of Gemini's brings a signature back on the part it was on. Its clients take base64 only, so it is sealed.
fn end(out: &mut Vec<u8>, signature: Option<&Opaque<'_>>) {
    if let Some(opaque) = signature {
        out.extend_from_slice(br#","thoughtSignature":"#);
        string(out, &opaque.seal());
    }
    out.push(b'}');
}

/// The arguments of a call as a JSON object, from their text; `None`: they are no object.
pub(super) fn object(args: &str) -> Option<Raw<'_>> {
    if args.trim().is_empty() {
        return Some(Raw::written("{}"));
    }
    let mut tape = Tape::new();
    let is_object = tape.read(args, Surrogates::Replace).ok()?.fields().is_some();
    is_object.then(|| Raw::written(args))
}

/// Whether this may be base64, in either alphabet.
pub(super) fn is_base64(data: &Text<'_>) -> bool {
    let alphabet =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    data.as_written().bytes().all(alphabet)
}

/// Whether a caller is shown thoughts: only one that asked for them.
pub(super) const fn shows(echo: &Echo) -> bool {
    match echo.show {
        Show::Summary | Show::Full => true,
        Show::Default | Show::None => false,
    }
}

/// What the caller calls the tool.
pub(super) fn name<'n>(echo: &'n Echo, flat: &'n str) -> &'n str {
    echo.names.find(flat).map_or(flat, |tool| tool.name.as_str())
}

/// Behind the parts: what stands on every chunk.
pub(super) fn envelope_end(out: &mut Vec<u8>, model: &str, id: &str) {
    out.extend_from_slice(br#","modelVersion":"#);
    string(out, model);
    out.extend_from_slice(br#","responseId":"#);
    string(out, id);
    out.push(b'}');
}
