//! What must hold for any bytes taken for a request body. Shared by the fuzz target and the tests.
//! Owns: cuts that may change nothing, and `serde_json` as the second opinion with our declared strictness on top.
//! Must not: know how the scanner works.

use ringway_wire::bounds::{JSON_MODEL_BYTES_MAX, JSON_NUMBER_BYTES_MAX};
use ringway_wire::json::{Bounds, JsonError, Key, Scanner, splice_model, spliced_len};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::ops::Range;

/// So small that a fuzzer finds it.
const SHALLOW: Bounds = Bounds { depth: 3 };

/// The first two bytes also choose where the input is cut.
pub fn check(body: &[u8]) {
    let cut = body.iter().take(2).fold(0, |sum, &byte| sum * 251 + usize::from(byte)) % (body.len() + 1);
    let halves = [&body[..cut], &body[cut..]];
    for bounds in [Bounds::default(), SHALLOW] {
        let verdict = scan(bounds, [body]);
        assert_eq!(scan(bounds, halves), verdict, "a cut at {cut} changed the verdict");
        assert_eq!(scan(bounds, body.chunks(1)), verdict, "byte by byte, the verdict changed");
    }
    let verdict = scan(Bounds::default(), [body]);
    compare(body, &verdict);
    if let Ok(facts) = verdict {
        renamed(body, cut, &facts);
    }
}

/// All that the scanner says about a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub model: Option<String>,
    pub stream: Option<bool>,
    pub max_tokens: Option<(Key, u64)>,
    pub prompt: Option<Range<u64>>,
    /// In the order of `Key::ALL`.
    pub spans: [Option<Range<u64>>; Key::COUNT],
}

impl Facts {
    pub fn span(&self, key: Key) -> Option<Range<u64>> {
        self.spans[key as usize].clone()
    }
}

pub fn scan<'a>(bounds: Bounds, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Facts, JsonError> {
    let mut scanner = Scanner::with_bounds(bounds);
    for piece in pieces {
        scanner.feed(piece)?;
    }
    scanner.finish()?;
    assert!(scanner.complete());
    let spans = Key::ALL.map(|key| scanner.span(key));
    assert_eq!(scanner.model().map(|model| model.span), spans[Key::Model as usize]);
    Ok(Facts {
        model: scanner.model().map(|model| model.value.to_owned()),
        stream: scanner.stream(),
        max_tokens: scanner.max_tokens_key().zip(scanner.max_tokens()),
        prompt: scanner.prompt(),
        spans,
    })
}

// The splice.

/// With another model in it, the body says the same but for that, and has the length that was promised.
fn renamed(body: &[u8], cut: usize, facts: &Facts) {
    let Some(span) = facts.span(Key::Model) else { return };
    let name = "another \"name\"\u{1}é";
    let mut out = Vec::new();
    splice_model(&mut out, &body[..cut], 0, &span, name);
    splice_model(&mut out, &body[cut..], cut as u64, &span, name);
    assert_eq!(out.len() as u64, spliced_len(body.len() as u64, &span, name));
    let again = scan(Bounds::default(), [&out[..]]).expect("a body that was valid stays valid");
    assert_eq!(again.model.as_deref(), Some(name));
    assert_eq!((again.stream, again.max_tokens), (facts.stream, facts.max_tokens));
    for key in Key::ALL.into_iter().filter(|key| *key != Key::Model) {
        let (old, new) = (facts.span(key), again.span(key));
        assert_eq!(old.map(|old| slice(body, &old)), new.map(|new| slice(&out, &new)), "{}", key.name());
    }
}

pub fn slice<'b>(body: &'b [u8], span: &Range<u64>) -> &'b [u8] {
    &body[span.start as usize..span.end as usize]
}

// The second opinion.

/// An object as its members, in order and with duplicates.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// What the second parser makes of a body.
enum Opinion {
    Members(Vec<(String, Value)>),
    Refused,
    /// It gives up on what is no fault: a number that no float holds, or its own bound on depth.
    None,
}

fn second_opinion(body: &[u8]) -> Opinion {
    match serde_json::from_slice(body) {
        Ok(Members(members)) => Opinion::Members(members),
        Err(error) => {
            let words = error.to_string();
            let gave_up = words.starts_with("number out of range") || words.starts_with("recursion limit");
            if gave_up { Opinion::None } else { Opinion::Refused }
        }
    }
}

/// Is this one of the bodies that are JSON objects, and still refused?
fn declared(error: JsonError, members: &[(String, Value)]) -> bool {
    let values =
        |key: Key| members.iter().filter(move |(name, _)| name == key.name()).map(|(_, value)| value);
    let models = || values(Key::Model);
    match error {
        JsonError::DuplicateKey { key, .. } => values(key).count() > 1,
        JsonError::ModelNotAString { .. } => models().any(|model| !model.is_string()),
        JsonError::ModelTooLong { .. } => {
            models().filter_map(Value::as_str).any(|model| model.len() > JSON_MODEL_BYTES_MAX)
        }
        JsonError::BadUtf8 { .. }
        | JsonError::ByteOrderMark
        | JsonError::TooDeep { .. }
        | JsonError::Syntax { .. }
        | JsonError::LoneSurrogate { .. }
        | JsonError::TrailingData { .. }
        | JsonError::NotAnObject { .. }
        | JsonError::Truncated { .. } => false,
    }
}

fn compare(body: &[u8], verdict: &Result<Facts, JsonError>) {
    match (second_opinion(body), verdict) {
        (Opinion::None, _) | (Opinion::Refused, Err(_)) => {}
        (Opinion::Refused, Ok(_)) => panic!("accepted, but not JSON: {}", body.escape_ascii()),
        (Opinion::Members(members), Err(error)) => {
            assert!(declared(*error, &members), "refused: {error:?}: {}", body.escape_ascii());
        }
        (Opinion::Members(members), Ok(facts)) => same_facts(body, facts, &members),
    }
}

fn same_facts(body: &[u8], facts: &Facts, members: &[(String, Value)]) {
    let find = |key: Key| members.iter().find(|(name, _)| name == key.name()).map(|(_, value)| value);
    for key in Key::ALL {
        assert!(members.iter().filter(|(name, _)| name == key.name()).count() <= 1, "a key stands twice");
        let read = facts.span(key).map(|span| serde_json::from_slice::<Value>(slice(body, &span)));
        let read = read.map(|value| value.expect("a span is one value"));
        assert_eq!(read.as_ref(), find(key), "{}", key.name());
    }
    assert_eq!(facts.model.as_deref(), find(Key::Model).map(|model| model.as_str().expect("a string")));
    assert_eq!(facts.stream, find(Key::Stream).and_then(Value::as_bool));
    let prompts = [Key::Messages, Key::Contents, Key::Input, Key::Prompt];
    assert_eq!(facts.prompt, prompts.into_iter().find_map(|key| facts.span(key)));
    let limits = [Key::MaxCompletionTokens, Key::MaxTokens, Key::MaxOutputTokens];
    let limit = limits.into_iter().find_map(|key| Some((key, limit(slice(body, &facts.span(key)?))?)));
    assert_eq!(facts.max_tokens, limit);
}

/// A whole number of this text, if it is one without exponent.
fn limit(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= JSON_NUMBER_BYTES_MAX)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    fraction.bytes().all(|digit| digit == b'0').then(|| whole.parse().ok())?
}
