//! The prompt in a request body: its texts, in pieces, without the JSON around them.
//! Owns: which values of which dialects are prompt, and in which part of a template they stand.
//! Must not: keep text, decode escapes, or judge the body; `scanner.rs` does that before.
//! Read next: `grammar.rs`, the machine that this is the sink of.
//!
//! White space and the order of keys around a text have no influence on what comes out. Therefore a message's role comes
//! behind its texts: in the body it may stand on either side of them, and it is short enough to be kept.

use super::grammar::{Few, Grammar, Sink, Surrogates, Word};
use crate::bounds::{JSON_DEPTH_MAX, JSON_KEY_BYTES_MAX, PROMPT_ROLE_BYTES_MAX};

/// Where in a template a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Tools, as received.
    Tools,
    /// What stands beside the conversation and before it.
    System,
    /// The conversation.
    Messages,
}

/// A piece of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text, as it stands in the body.
    Text(Part, &'a [u8]),
    /// Bytes of something that is no text: an image, or where it is to be had.
    Opaque(Part, &'a [u8]),
    /// The end of it.
    OpaqueEnd(Part),
}

/// Behind each text, so that a cut between two texts is not a space.
const TEXT_END: u8 = 0x1e;
/// Before a role.
const ROLE: u8 = 0x1f;

/// Finds the prompt in a body, fed in pieces cut anywhere.
#[derive(Debug)]
pub struct PromptScanner {
    grammar: Grammar,
    walk: Walk,
    failed: bool,
}

impl Default for PromptScanner {
    fn default() -> Self {
        Self {
            grammar: Grammar::new(JSON_DEPTH_MAX, Surrogates::Replace),
            walk: Walk::default(),
            failed: false,
        }
    }
}

impl PromptScanner {
    /// Begins another body.
    pub fn reset(&mut self) {
        self.grammar.reset();
        self.walk.reset();
        self.failed = false;
    }

    /// Takes the next bytes of the body and hands out what of them is prompt. What is not JSON ends it without a word.
    pub fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(Piece<'_>)) {
        if self.failed {
            return;
        }
        let begin = self.grammar.taken();
        self.failed = self.grammar.feed(bytes, &mut self.walk).is_err();
        let of = |from: u64, to: u64| {
            let place = |at: u64| (at.saturating_sub(begin) as usize).min(bytes.len());
            &bytes[place(from)..place(to)]
        };
        for found in self.walk.found.drain(..) {
            match found {
                Found::Raw { part, class, from, to } => {
                    hand_out(part, class, of(from, to), &mut take);
                    if class == Class::Opaque {
                        take(Piece::OpaqueEnd(part));
                    } else {
                        take(Piece::Text(part, &[TEXT_END]));
                    }
                }
                Found::Role(part, role) => {
                    take(Piece::Text(part, &[ROLE]));
                    take(Piece::Text(part, role.whole().unwrap_or_default()));
                    take(Piece::Text(part, &[TEXT_END]));
                }
            }
        }
        // What is still open goes on in the next piece.
        let end = begin + bytes.len() as u64;
        if let Some(Open { part, class, from }) = &mut self.walk.open {
            hand_out(*part, *class, of(*from, end), &mut take);
            *from = end;
        }
    }
}

fn hand_out(part: Part, class: Class, bytes: &[u8], take: &mut impl FnMut(Piece<'_>)) {
    if bytes.is_empty() {
        return;
    }
    match class {
        Class::Opaque => take(Piece::Opaque(part, bytes)),
        Class::Text | Class::Role | Class::Ignored => take(Piece::Text(part, bytes)),
    }
}

/// What a key says of its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Class {
    #[default]
    Text,
    Role,
    /// It is for the server, not for the model.
    Ignored,
    /// It is large and no text.
    Opaque,
}

impl Class {
    fn of(key: &[u8]) -> Self {
        match key {
            b"role" => Self::Role,
            b"type" | b"cache_control" | b"detail" | b"media_type" | b"mime_type" | b"mimeType"
            | b"format" | b"status" => Self::Ignored,
            b"url" | b"image_url" | b"data" | b"file_data" | b"fileUri" | b"file_uri" | b"file_id" => {
                Self::Opaque
            }
            _ => Self::Text,
        }
    }
}

/// Which part the value of a top-level key is, if it is any.
fn part_of(key: &[u8]) -> Option<Part> {
    match key {
        b"tools" | b"functions" => Some(Part::Tools),
        b"system" | b"instructions" | b"systemInstruction" | b"system_instruction" => Some(Part::System),
        b"messages" | b"contents" | b"input" | b"prompt" => Some(Part::Messages),
        _ => None,
    }
}

#[derive(Debug)]
enum Found {
    Raw { part: Part, class: Class, from: u64, to: u64 },
    Role(Part, Few<PROMPT_ROLE_BYTES_MAX>),
}

/// A value that has begun.
#[derive(Debug)]
struct Open {
    part: Part,
    class: Class,
    from: u64,
}

#[derive(Debug, Default)]
struct Walk {
    /// The part whose value is passing.
    part: Option<Part>,
    key: Few<JSON_KEY_BYTES_MAX>,
    in_key: bool,
    class: Class,
    in_role: bool,
    role: Few<PROMPT_ROLE_BYTES_MAX>,
    open: Option<Open>,
    found: Vec<Found>,
}

/// The depth of a top-level value, and of a message in its list.
const TOP: u32 = 1;
const MESSAGE: u32 = 2;

impl Walk {
    fn reset(&mut self) {
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        *self = Self { found, ..Self::default() };
    }

    fn begin(&mut self, from: u64) {
        if let Some(part) = self.part
            && self.open.is_none()
        {
            self.open = Some(Open { part, class: self.class, from });
        }
    }

    fn end(&mut self, to: u64) {
        if let Some(Open { part, class, from }) = self.open.take() {
            self.found.push(Found::Raw { part, class, from, to });
        }
    }

    /// Tools are taken whole, brackets and white space included.
    fn is_whole(&self) -> bool {
        self.part == Some(Part::Tools)
    }

    fn top_value_ended(&mut self) {
        self.part = None;
        self.class = Class::Text;
    }
}

impl Sink for Walk {
    fn open(&mut self, _object: bool, depth: u32, at: u64) {
        if depth == TOP && self.is_whole() {
            self.begin(at);
        }
        if self.class != Class::Opaque {
            self.class = Class::Text; // `content: [...]` says nothing of what is in it
        }
    }

    fn close(&mut self, depth: u32, end: u64) {
        if depth == MESSAGE && !self.is_whole() && !self.role.is_empty() {
            let role = std::mem::take(&mut self.role);
            self.found.extend(self.part.map(|part| Found::Role(part, role)));
        }
        self.class = Class::Text;
        if depth == TOP {
            if self.is_whole() {
                self.end(end);
            }
            self.top_value_ended();
        }
    }

    fn begin_string(&mut self, key: bool, depth: u32, at: u64) {
        self.in_key = key;
        if key {
            self.key.clear();
            return;
        }
        if depth > TOP && self.is_whole() {
            return; // within what is taken whole
        }
        match self.class {
            Class::Role if self.part.is_some() => {
                self.role.clear();
                self.in_role = true;
            }
            Class::Role | Class::Ignored => {}
            Class::Text | Class::Opaque => self.begin(at + 1),
        }
    }

    fn text(&mut self, run: &[u8]) {
        if self.in_key {
            self.key.push(run);
        } else if self.in_role {
            self.role.push(run);
        }
    }

    fn escaped(&mut self, character: char) {
        if self.in_key || self.in_role {
            self.text(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    fn end_string(&mut self, key: bool, depth: u32, end: u64) {
        if key {
            let name = self.key.whole().unwrap_or_default();
            if depth == TOP {
                self.part = part_of(name);
                self.class = Class::Text;
            } else {
                self.class = Class::of(name);
            }
            self.in_key = false;
            return;
        }
        self.in_role = false;
        if depth == TOP || !self.is_whole() {
            self.end(end - 1);
        }
        if depth == TOP {
            self.top_value_ended();
        }
    }

    fn begin_number(&mut self, depth: u32, at: u64) {
        // A prompt in token ids is a list of numbers; any other number is no prompt.
        if depth >= MESSAGE
            && self.part == Some(Part::Messages)
            && self.class == Class::Text
            && depth <= MESSAGE + 1
        {
            self.begin(at);
        }
    }

    fn digits(&mut self, _run: &[u8]) {}

    fn end_number(&mut self, depth: u32, end: u64) {
        if depth == TOP {
            self.top_value_ended();
        } else if !self.is_whole() {
            self.end(end);
        }
    }

    fn literal(&mut self, _word: Word, depth: u32, _end: u64) {
        if depth == TOP {
            self.top_value_ended();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of this body's prompt, with an opaque value shown as `<...>`.
    fn prompt(body: &str, cut: usize) -> [String; 3] {
        let mut scanner = PromptScanner::default();
        let mut parts = [const { Vec::new() }; 3];
        let mut opaque = false;
        for piece in body.as_bytes().chunks(cut) {
            scanner.feed(piece, |piece| match piece {
                Piece::Text(part, text) => parts[part as usize].extend_from_slice(text),
                Piece::Opaque(part, bytes) => {
                    if !std::mem::replace(&mut opaque, true) {
                        parts[part as usize].push(b'<');
                    }
                    parts[part as usize].extend_from_slice(bytes);
                }
                Piece::OpaqueEnd(part) => {
                    opaque = false;
                    parts[part as usize].push(b'>');
                }
            });
        }
        parts.map(|part| {
            let text = String::from_utf8(part).expect("cut only where the body is");
            text.replace('\u{1e}', ";").replace('\u{1f}', "@")
        })
    }

    /// The same at any cut.
    #[track_caller]
    fn is(body: &str, tools: &str, system: &str, messages: &str) {
        for cut in 1..=body.len() {
            assert_eq!(prompt(body, cut), [tools, system, messages], "cut every {cut} bytes");
        }
    }

    #[test]
    fn a_chat_is_its_texts_each_with_its_role_behind() {
        let body = r#"{"model":"m","messages":[{"role":"system","content":"Be \"brief\"."},
            {"content" : "Hi", "role" : "user"}],"stream":true,"user":"u"}"#;
        is(body, "", "", r#"Be \"brief\".;@system;Hi;@user;"#);
    }

    #[test]
    fn tools_are_taken_as_received_wherever_they_stand() {
        let body = r#"{"messages":[{"role":"user","content":"x"}],"tools":[ {"type":"function","function":{"name":"f","n":1}} ]}"#;
        is(body, r#"[ {"type":"function","function":{"name":"f","n":1}} ];"#, "", "x;@user;");
    }

    #[test]
    fn content_in_pieces_is_text_and_images_are_opaque() {
        let body = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"see"},
            {"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low"}},"end"]}]}"#;
        is(body, "", "", "see;<data:image/png;base64,AA==>end;@user;");
    }

    #[test]
    fn every_dialect_has_its_places() {
        let anthropic = r#"{"system":[{"type":"text","text":"S","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"tool_result","content":"R"}]}]}"#;
        is(anthropic, "", "S;", "R;@user;");
        let gemini = r#"{"systemInstruction":{"parts":[{"text":"S"}]},"contents":[{"role":"user","parts":[{"text":"T"},{"inlineData":{"mimeType":"image/png","data":"QQ=="}}]}]}"#;
        is(gemini, "", "S;", "T;<QQ==>@user;");
        is(r#"{"instructions":"S","input":"T"}"#, "", "S;", "T;");
        is(r#"{"prompt":"T","suffix":"no"}"#, "", "", "T;");
        is(r#"{"prompt":["a","b"]}"#, "", "", "a;b;");
        is(r#"{"prompt":[11,22],"n":3}"#, "", "", "11;22;");
        is(r#"{"prompt":null,"model":"m"}"#, "", "", "");
    }

    #[test]
    fn calls_of_tools_are_part_of_the_conversation() {
        let body = r#"{"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","tool_call_id":"c1","content":"7"}]}"#;
        is(body, "", "", r#"c1;f;{\"a\":1};@assistant;c1;7;@tool;"#);
    }

    #[test]
    fn what_is_no_json_ends_it_without_a_word() {
        let mut scanner = PromptScanner::default();
        scanner.feed(b"{\"prompt\":\"a\"]", |_| {});
        scanner.feed(b"\"b\"", |_| panic!("nothing more comes"));
        scanner.reset();
        let mut texts = 0;
        scanner.feed(b"{\"prompt\":\"a\"}", |_| texts += 1);
        assert_eq!(texts, 2);
    }
}
