//! Asks for usage in a stream whose caller did not (dialects section 1.1).
//! Owns: the one change to the request. Must not: touch a request that asks already, or that wants no stream.
//! Read next: `ringway_wire::sse::Sieve`, which keeps the answer to it from the caller.

use crate::json::{Edits, Kind, Surrogates, Tape, Value};

/// The request with usage asked for; `None`: send it as it is.
pub fn with_usage(body: &str) -> Option<String> {
    let mut tape = Tape::new();
    let root = tape.read(body, Surrogates::Replace).ok()?;
    if root.get("stream")?.truth() != Some(true) {
        return None;
    }
    let mut edits = Edits::default();
    match named(root, "stream_options") {
        None => edits.put(inside(root), r#""stream_options":{"include_usage":true},"#),
        Some(options) if options.is_null() => edits.put(options.range(), r#"{"include_usage":true}"#),
        Some(options) => match named(options, "include_usage") {
            Some(asks) if asks.truth() == Some(true) => {}
            Some(asks) => edits.put(asks.range(), "true"),
            None if options.kind() != Kind::Object => {} // the upstream says what is wrong with it
            None if options.fields().is_some_and(|mut fields| fields.next().is_some()) => {
                edits.put(inside(options), r#""include_usage":true,"#);
            }
            None => edits.put(options.range(), r#"{"include_usage":true}"#),
        },
    }
    edits.apply(body)
}

/// The value of a key, `null` too.
fn named<'a>(object: Value<'a>, key: &str) -> Option<Value<'a>> {
    object.fields()?.find(|entry| entry.is(key)).map(|entry| entry.value)
}

/// Right behind the brace of an object.
fn inside(object: Value<'_>) -> std::ops::Range<usize> {
    let at = object.range().start + 1;
    at..at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_asked_for_once_and_only_in_streams() {
        for (body, expected) in [
            (r#"{"model":"m"}"#, None),
            (r#"{"stream":false}"#, None),
            (r#"{"stream":true,"stream_options":{"include_usage":true}}"#, None),
            (r#"{"stream":true,"stream_options":7}"#, None),
            (r#"{ "stream": true }"#, Some(r#"{"stream_options":{"include_usage":true}, "stream": true }"#)),
            (
                r#"{"stream":true,"stream_options":null,"x":1.0}"#,
                Some(r#"{"stream":true,"stream_options":{"include_usage":true},"x":1.0}"#),
            ),
            (
                r#"{"stream":true,"stream_options":{"include_usage": false}}"#,
                Some(r#"{"stream":true,"stream_options":{"include_usage": true}}"#),
            ),
            (
                r#"{"stream":true,"stream_options":{"include_obfuscation":false}}"#,
                Some(
                    r#"{"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}"#,
                ),
            ),
            (
                r#"{"stream_options":{ },"stream":true}"#,
                Some(r#"{"stream_options":{"include_usage":true},"stream":true}"#),
            ),
        ] {
            let asked = with_usage(body);
            assert_eq!(asked.as_deref(), expected, "{body}");
            assert_eq!(asked.and_then(|asked| with_usage(&asked)), None, "asked twice: {body}");
        }
    }
}
