//! A JSON text as a flat list of nodes over the text itself.
//! Owns: the grammar of RFC 8259, and the bounds on depth and on the number of nodes.
//! Must not: recurse, copy a byte of the text, or undo an escape.
//! Read next: `value.rs`, which walks the nodes.

use super::run::plain_run;
use super::value::{Kind, Node, Value};
use crate::bounds::{JSON_DEPTH_MAX, JSON_NODES_MAX, JSON_TEXT_BYTES_MAX};

/// Why a text is not JSON that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it is.
    pub what: &'static str,
    /// The byte at which that became certain.
    pub at: usize,
}

/// What becomes of half a surrogate pair in an escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surrogates {
    /// A fault: nobody agrees on what it means. For requests.
    Refuse,
    /// It reads as U+FFFD. For answers, which are not ours to judge.
    Replace,
}

/// Room for the nodes of one text; kept from text to text, so that reading allocates nothing once warm.
#[derive(Debug, Default)]
pub struct Tape {
    nodes: Vec<Node>,
}

impl Tape {
    /// Empty room.
    pub const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    /// Reads one JSON text. The value lends from the tape and from the text.
    pub fn read<'a>(&'a mut self, text: &'a str, surrogates: Surrogates) -> Result<Value<'a>, Fault> {
        self.nodes.clear();
        if text.len() > JSON_TEXT_BYTES_MAX {
            return Err(Fault { what: "the text is too long", at: JSON_TEXT_BYTES_MAX });
        }
        let mut parser = Parser {
            bytes: text.as_bytes(),
            at: 0,
            nodes: &mut self.nodes,
            open: [0; JSON_DEPTH_MAX],
            depth: 0,
            surrogates,
        };
        parser.text()?;
        Ok(Value::root(&self.nodes, text))
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: &'a mut Vec<Node>,
    /// The nodes of the containers that are open.
    open: [u32; JSON_DEPTH_MAX],
    depth: usize,
    surrogates: Surrogates,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Value,
    /// A value, or the end of the array that was just opened.
    FirstValue,
    Key,
    /// A key, or the end of the object that was just opened.
    FirstKey,
    /// A comma or the end of the container; at the top, the end of the text.
    After,
}

impl Parser<'_> {
    fn text(&mut self) -> Result<(), Fault> {
        let mut next = Next::Value;
        loop {
            let byte = self.token();
            next = match (next, byte) {
                (Next::After, None) if self.depth == 0 => return Ok(()),
                (Next::After, Some(_)) if self.depth == 0 => {
                    return Err(self.fault("data after the JSON text"));
                }
                (_, None) => return Err(self.fault("the text ends too early")),
                (Next::After, Some(b',')) => {
                    self.at += 1;
                    if self.in_object() { Next::Key } else { Next::Value }
                }
                (Next::After | Next::FirstKey, Some(b'}')) if self.in_object() => self.close(),
                (Next::After | Next::FirstValue, Some(b']')) if !self.in_object() => self.close(),
                (Next::Key | Next::FirstKey, Some(b'"')) => {
                    self.string(true)?;
                    if self.token() != Some(b':') {
                        return Err(self.fault("a key wants a colon"));
                    }
                    self.at += 1;
                    Next::Value
                }
                (Next::Value | Next::FirstValue, Some(byte)) => self.value(byte)?,
                (Next::After | Next::Key | Next::FirstKey, Some(_)) => {
                    return Err(self.fault("this byte does not belong here"));
                }
            };
        }
    }

    /// The first byte of the next token.
    fn token(&mut self) -> Option<u8> {
        while let Some(&byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn value(&mut self, byte: u8) -> Result<Next, Fault> {
        match byte {
            b'"' => self.string(false)?,
            b'{' => return self.open(Kind::Object),
            b'[' => return self.open(Kind::Array),
            b't' => self.word(b"true", Kind::True)?,
            b'f' => self.word(b"false", Kind::False)?,
            b'n' => self.word(b"null", Kind::Null)?,
            b'-' | b'0'..=b'9' => self.number()?,
            _ => return Err(self.fault("no JSON value begins like this")),
        }
        Ok(Next::After)
    }

    fn fault(&self, what: &'static str) -> Fault {
        Fault { what, at: self.at }
    }

    fn in_object(&self) -> bool {
        self.depth > 0 && self.nodes[self.open[self.depth - 1] as usize].kind == Kind::Object
    }

    fn push(&mut self, kind: Kind, start: usize) -> Result<(), Fault> {
        if self.nodes.len() >= JSON_NODES_MAX {
            return Err(self.fault("the text has too many values"));
        }
        let next = self.nodes.len() as u32 + 1;
        self.nodes.push(Node { start: start as u32, end: self.at as u32, next, kind, escaped: false });
        Ok(())
    }

    fn open(&mut self, kind: Kind) -> Result<Next, Fault> {
        if self.depth == JSON_DEPTH_MAX {
            return Err(self.fault("the text is nested too deeply"));
        }
        self.open[self.depth] = self.nodes.len() as u32;
        self.depth += 1;
        self.push(kind, self.at)?;
        self.at += 1;
        Ok(if kind == Kind::Object { Next::FirstKey } else { Next::FirstValue })
    }

    fn close(&mut self) -> Next {
        self.at += 1;
        self.depth -= 1;
        let next = self.nodes.len() as u32;
        let node = &mut self.nodes[self.open[self.depth] as usize];
        node.end = self.at as u32;
        node.next = next;
        Next::After
    }

    fn word(&mut self, word: &'static [u8], kind: Kind) -> Result<(), Fault> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.fault("no JSON value begins like this"));
        }
        let start = self.at;
        self.at += word.len();
        self.push(kind, start)
    }

    /// A string whose quote is at hand; the node spans what is between the quotes.
    fn string(&mut self, key: bool) -> Result<(), Fault> {
        let start = self.at + 1;
        self.at = start;
        let mut escaped = false;
        loop {
            self.at += plain_run(&self.bytes[self.at..]);
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.fault("a control byte in a string must be escaped")),
                None => return Err(self.fault("the text ends inside a string")),
            }
        }
        self.push(if key { Kind::Key } else { Kind::String }, start)?;
        if escaped && let Some(node) = self.nodes.last_mut() {
            node.escaped = true;
        }
        self.at += 1;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Fault> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let unit = self.unit(self.at)?;
                let paired = matches!(unit, 0xD800..=0xDBFF)
                    && self.bytes[self.at + 6..].starts_with(b"\\u")
                    && matches!(self.unit(self.at + 6)?, 0xDC00..=0xDFFF);
                if matches!(unit, 0xD800..=0xDFFF) && !paired && self.surrogates == Surrogates::Refuse {
                    return Err(self.fault("half a surrogate pair"));
                }
                self.at += if paired { 12 } else { 6 };
            }
            Some(_) => return Err(self.fault("no such escape")),
            None => return Err(self.fault("the text ends inside a string")),
        }
        Ok(())
    }

    /// The code unit of the `\uXXXX` at this byte.
    fn unit(&self, at: usize) -> Result<u16, Fault> {
        let fault = Fault { what: "`\\u` wants four hex digits", at };
        let digits = self.bytes.get(at + 2..at + 6).ok_or(fault)?;
        digits.iter().try_fold(0, |unit, byte| {
            let digit = char::from(*byte).to_digit(16).ok_or(fault)?;
            Ok(unit << 4 | digit as u16)
        })
    }

    fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        self.at += usize::from(self.bytes[self.at] == b'-');
        match self.digits() {
            0 => return Err(self.fault("a number wants digits")),
            1 => {}
            more => {
                if self.bytes[self.at - more] == b'0' {
                    return Err(self.fault("a number has no leading zeros"));
                }
            }
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.fault("a number wants digits after its point"));
            }
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return Err(self.fault("an exponent wants digits"));
            }
        }
        self.push(Kind::Number, start)
    }

    fn digits(&mut self) -> usize {
        let rest = &self.bytes[self.at..];
        let run = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += run;
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Result<(), &'static str> {
        Tape::new().read(text, Surrogates::Refuse).map(|_| ()).map_err(|fault| fault.what)
    }

    #[test]
    fn what_serde_takes_is_taken_and_the_rest_refused() {
        for text in [
            "null",
            "true",
            " [1,2 , {\"a\" : -0.5e+3}] ",
            "{}",
            "[]",
            "\"\\u00e9\\n\"",
            "[[[]]]",
            "0",
            "-1E9",
            "",
            " ",
            "[1,]",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "01",
            "1.",
            "1e",
            "-",
            "+1",
            "nul",
            "\"",
            "\"\\x\"",
            "[1 2]",
            "1 2",
            "{\"a\":1,}",
            "]",
            "}",
            "[}",
            "{]",
            "\"\n\"",
            "\"\\u12\"",
            "tru",
            "[1}",
            "{1:2}",
            ".5",
        ] {
            let expected = serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert_eq!(verdict(text).is_ok(), expected, "{text:?}: {:?}", verdict(text));
        }
    }

    #[test]
    fn the_bound_on_depth_is_exact() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(verdict(&nested(JSON_DEPTH_MAX)), Ok(()));
        assert_eq!(verdict(&nested(JSON_DEPTH_MAX + 1)), Err("the text is nested too deeply"));
    }

    #[test]
    fn half_a_pair_is_refused_in_requests_and_replaced_in_answers() {
        for text in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83dx""#, r#""\ud83d\u0041""#, r#""\ude00\ud83d""#] {
            assert_eq!(verdict(text), Err("half a surrogate pair"), "{text}");
            let mut tape = Tape::new();
            let value = tape.read(text, Surrogates::Replace).expect("taken");
            assert!(value.text().expect("a string").plain().contains('\u{FFFD}'), "{text}");
        }
        assert_eq!(verdict(r#""\ud83d\ude00""#), Ok(()));
    }
}
