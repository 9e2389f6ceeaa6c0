//! What a request body says at its top level: the model, whether it streams, how much it may cost, where the
//! prompt is.
//! Owns: those facts, their byte spans, and every reason to refuse the body.
//! Must not: keep the body, allocate, or judge values it does not read.
//! Read next: `grammar.rs`, the machine that this is the sink of.

use super::error::{JsonError, Key};
use super::grammar::{Fault, FaultKind, Few, Grammar, Sink, Surrogates, Word, integer};
use crate::bounds::{JSON_DEPTH_MAX, JSON_KEY_BYTES_MAX, JSON_MODEL_BYTES_MAX, JSON_NUMBER_BYTES_MAX};
use std::ops::Range;

/// How far a body is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Nested containers, the top-level object included; more than [`JSON_DEPTH_MAX`] counts as that.
    pub depth: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { depth: JSON_DEPTH_MAX }
    }
}

/// The top-level `model`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model<'a> {
    /// The name, unescaped.
    pub value: &'a str,
    /// Where the string stands in the body, quotes included.
    pub span: Range<u64>,
}

/// Reads a request body, fed in pieces cut anywhere. The verdict does not depend on where the cuts are.
///
/// Facts are there as soon as their value has passed; that no key stands twice is known once the body is complete.
#[derive(Clone, Debug)]
pub struct Scanner {
    grammar: Grammar,
    facts: Facts,
    /// The beginning of a UTF-8 sequence that the last piece cut; the grammar has not seen it yet.
    cut: Few<4>,
    failed: Option<JsonError>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner with the default bounds.
    pub fn new() -> Self {
        Self::with_bounds(Bounds::default())
    }

    /// A scanner with these bounds.
    pub fn with_bounds(bounds: Bounds) -> Self {
        Self {
            grammar: Grammar::new(bounds.depth, Surrogates::Refuse),
            facts: Facts::new(),
            cut: Few::new(),
            failed: None,
        }
    }

    /// Begins anew, keeping the bounds.
    pub fn reset(&mut self) {
        self.grammar.reset();
        self.facts = Facts::new();
        self.cut.clear();
        self.failed = None;
    }

    /// Takes the next bytes of the body. An error is final: it is given again to whoever goes on.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), JsonError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.take(bytes).inspect_err(|error| self.failed = Some(*error))
    }

    /// Says that the body has ended.
    pub fn finish(&mut self) -> Result<(), JsonError> {
        let error = match self.failed {
            Some(error) => error,
            None if self.complete() => return Ok(()),
            None => JsonError::Truncated { at: self.offset() },
        };
        self.failed = Some(error);
        Err(error)
    }

    /// How many bytes were taken.
    pub fn offset(&self) -> u64 {
        self.grammar.taken() + self.cut.whole().map_or(0, |cut| cut.len() as u64)
    }

    /// The model, as soon as its string has been read whole.
    pub fn model(&self) -> Option<Model<'_>> {
        let span = self.span(Key::Model)?;
        let value = std::str::from_utf8(self.facts.model.whole()?).ok()?;
        Some(Model { value, span })
    }

    /// `stream`, if it is a boolean.
    pub fn stream(&self) -> Option<bool> {
        self.facts.stream
    }

    /// The caller's own limit on generated tokens. The narrower key wins where several are given:
    /// `max_completion_tokens`, `max_tokens`, `max_output_tokens`. A value that is not a whole number is not read.
    pub fn max_tokens(&self) -> Option<u64> {
        self.limit().map(|(_, tokens)| tokens)
    }

    /// Which key gave [`Self::max_tokens`].
    pub fn max_tokens_key(&self) -> Option<Key> {
        self.limit().map(|(key, _)| key)
    }

    fn limit(&self) -> Option<(Key, u64)> {
        [Key::MaxCompletionTokens, Key::MaxTokens, Key::MaxOutputTokens]
            .into_iter()
            .zip(self.facts.limits)
            .find_map(|(key, tokens)| Some((key, tokens?)))
    }

    /// The span of the first of `messages`, `contents`, `input` and `prompt` that is there.
    pub fn prompt(&self) -> Option<Range<u64>> {
        [Key::Messages, Key::Contents, Key::Input, Key::Prompt].into_iter().find_map(|key| self.span(key))
    }

    /// The span of the value of this key, once it has passed.
    pub fn span(&self, key: Key) -> Option<Range<u64>> {
        let span = &self.facts.spans[key as usize];
        (span.end > 0).then(|| span.clone())
    }

    /// The object has been closed.
    pub fn complete(&self) -> bool {
        self.failed.is_none() && self.grammar.complete() && self.cut.is_empty()
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), JsonError> {
        let bytes = self.mend_cut(bytes)?;
        let (valid, broken) = match simdutf8::compat::from_utf8(bytes) {
            Ok(_) => (bytes, None),
            Err(error) => {
                let (valid, rest) = bytes.split_at(error.valid_up_to());
                (valid, Some((rest, error.error_len().is_some())))
            }
        };
        // What stands before the broken bytes is judged first, so that the error does not depend on the cuts.
        self.check(valid)?;
        match broken {
            None => Ok(()),
            Some((_, true)) => Err(JsonError::BadUtf8 { at: self.grammar.taken() }),
            Some((cut, false)) => {
                self.cut.push(cut);
                Ok(())
            }
        }
    }

    /// Completes the sequence that the last piece cut, and returns what is left of this one.
    fn mend_cut<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8], JsonError> {
        while !self.cut.is_empty() {
            let Some((byte, rest)) = bytes.split_first() else { break };
            self.cut.push(std::slice::from_ref(byte));
            let sequence = self.cut;
            match std::str::from_utf8(sequence.whole().unwrap_or_default()) {
                Ok(whole) => {
                    self.cut.clear();
                    self.check(whole.as_bytes())?;
                }
                Err(error) if error.error_len().is_some() => {
                    return Err(JsonError::BadUtf8 { at: self.grammar.taken() });
                }
                Err(_) => {}
            }
            bytes = rest;
        }
        Ok(bytes)
    }

    fn check(&mut self, valid: &[u8]) -> Result<(), JsonError> {
        if self.grammar.untouched() {
            self.check_first(valid)?;
        }
        let outcome = self.grammar.feed(valid, &mut self.facts);
        // The grammar stops at its first fault, so a fault of ours came before it.
        if let Some(error) = self.facts.fault {
            return Err(error);
        }
        outcome.map_err(|fault| self.word(fault))
    }

    fn check_first(&self, valid: &[u8]) -> Result<(), JsonError> {
        let Some(skip) = valid.iter().position(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t')) else {
            return Ok(());
        };
        let at = self.grammar.taken() + skip as u64;
        match &valid[skip..] {
            [b'{', ..] => Ok(()),
            [0xEF, 0xBB, 0xBF, ..] if at == 0 => Err(JsonError::ByteOrderMark),
            [b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n', ..] => Err(JsonError::NotAnObject { at }),
            _ => Err(JsonError::Syntax { at }),
        }
    }

    fn word(&self, fault: Fault) -> JsonError {
        let at = fault.at;
        match fault.kind {
            FaultKind::Syntax => JsonError::Syntax { at },
            FaultKind::TooDeep => JsonError::TooDeep { at, depth: self.grammar.depth_max() },
            FaultKind::LoneSurrogate => JsonError::LoneSurrogate { at },
            FaultKind::Trailing => JsonError::TrailingData { at },
        }
    }
}

/// The sink: what the top level said so far.
#[derive(Clone, Debug)]
struct Facts {
    key: Few<JSON_KEY_BYTES_MAX>,
    key_at: u64,
    /// The key whose value is passing.
    current: Option<Key>,
    capture: Capture,
    /// One bit per [`Key`] that has been read.
    seen: u16,
    spans: [Range<u64>; Key::COUNT],
    model: Few<JSON_MODEL_BYTES_MAX>,
    stream: Option<bool>,
    /// In the order of `Scanner::limit`.
    limits: [Option<u64>; 3],
    number: Few<JSON_NUMBER_BYTES_MAX>,
    fault: Option<JsonError>,
}

/// Which bytes of the text are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Capture {
    Nothing,
    Key,
    Model,
    Number,
}

impl Facts {
    fn new() -> Self {
        Self {
            key: Few::new(),
            key_at: 0,
            current: None,
            capture: Capture::Nothing,
            seen: 0,
            spans: std::array::from_fn(|_| 0..0),
            model: Few::new(),
            stream: None,
            limits: [None; 3],
            number: Few::new(),
            fault: None,
        }
    }

    fn fail(&mut self, error: JsonError) {
        self.fault = self.fault.or(Some(error));
    }

    fn key_ended(&mut self) {
        let Some(key) = self.key.whole().and_then(Key::of) else { return };
        let bit = 1 << key as u16;
        if self.seen & bit != 0 {
            self.fail(JsonError::DuplicateKey { key, at: self.key_at });
        }
        self.seen |= bit;
        self.current = Some(key);
    }

    fn value_begins(&mut self, string: bool, at: u64) {
        let Some(key) = self.current else { return };
        self.spans[key as usize] = at..0;
        if key == Key::Model {
            if string {
                self.capture = Capture::Model;
            } else {
                self.fail(JsonError::ModelNotAString { at });
            }
        }
    }

    fn value_ends(&mut self, end: u64) {
        self.capture = Capture::Nothing;
        if let Some(key) = self.current.take() {
            self.spans[key as usize].end = end;
        }
    }

    fn limit_slot(&mut self) -> Option<&mut Option<u64>> {
        let slot = match self.current? {
            Key::MaxCompletionTokens => 0,
            Key::MaxTokens => 1,
            Key::MaxOutputTokens => 2,
            Key::Model
            | Key::Stream
            | Key::Messages
            | Key::Contents
            | Key::Prompt
            | Key::Input
            | Key::System => return None,
        };
        Some(&mut self.limits[slot])
    }

    fn push(&mut self, bytes: &[u8]) {
        match self.capture {
            Capture::Nothing => {}
            Capture::Key => self.key.push(bytes),
            Capture::Number => self.number.push(bytes),
            Capture::Model => {
                self.model.push(bytes);
                if self.model.overflowed() {
                    self.fail(JsonError::ModelTooLong { at: self.spans[Key::Model as usize].start });
                }
            }
        }
    }
}

/// The depth of what stands directly in the top-level object.
const TOP: u32 = 1;

impl Sink for Facts {
    fn open(&mut self, _object: bool, depth: u32, at: u64) {
        if depth == TOP {
            self.value_begins(false, at);
        }
    }

    fn close(&mut self, depth: u32, end: u64) {
        if depth == TOP {
            self.value_ends(end);
        }
    }

    fn begin_string(&mut self, key: bool, depth: u32, at: u64) {
        if depth != TOP {
        } else if key {
            self.key.clear();
            self.key_at = at;
            self.capture = Capture::Key;
        } else {
            self.value_begins(true, at);
        }
    }

    fn text(&mut self, run: &[u8]) {
        self.push(run);
    }

    fn escaped(&mut self, character: char) {
        if self.capture != Capture::Nothing {
            self.push(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    fn end_string(&mut self, key: bool, depth: u32, end: u64) {
        if depth != TOP {
        } else if key {
            self.capture = Capture::Nothing;
            self.key_ended();
        } else {
            self.value_ends(end);
        }
    }

    fn begin_number(&mut self, depth: u32, at: u64) {
        if depth == TOP {
            self.value_begins(false, at);
            if self.limit_slot().is_some() {
                self.number.clear();
                self.capture = Capture::Number;
            }
        }
    }

    fn digits(&mut self, run: &[u8]) {
        self.push(run);
    }

    fn end_number(&mut self, depth: u32, end: u64) {
        if depth == TOP {
            let value = self.number.whole().and_then(integer);
            if let Some(slot) = self.limit_slot() {
                *slot = value;
            }
            self.value_ends(end);
        }
    }

    fn literal(&mut self, word: Word, depth: u32, end: u64) {
        if depth == TOP {
            self.value_begins(false, end - word.text().len() as u64);
            if self.current == Some(Key::Stream) {
                self.stream = match word {
                    Word::True => Some(true),
                    Word::False => Some(false),
                    Word::Null => None,
                };
            }
            self.value_ends(end);
        }
    }
}
