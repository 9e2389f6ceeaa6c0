//! The grammar of RFC 8259 as a machine that stops and goes on at any byte.
//! Owns: what may follow what, and which containers are open (one bit each, so depth costs no memory).
//! Must not: recurse, keep bytes, or know what a key means; a `Sink` is told each token as it passes.
//! UTF-8 is its caller's business: bytes from 0x80 on are only allowed, never looked at.
//! Read next: `passing.rs`, its way past what nobody asks about; `scanner.rs`, the sink for request bodies; `../sse/meaning.rs`, the sink for answers.

use super::passing::Passing;
use crate::bounds::JSON_DEPTH_MAX;
use crate::sixteen;
use memchr::memchr2;

/// Told each token. `depth` counts the containers around the token; `at` and `end` count bytes from the start.
pub(crate) trait Sink {
    /// A container opens at `at`.
    fn open(&mut self, object: bool, depth: u32, at: u64);
    /// Asked behind [`Sink::open`]: nothing in the container is wanted, and it need not be read.
    fn passes_over(&self, depth: u32) -> bool {
        let _ = depth;
        false
    }
    /// The container opened last closes; `end` is one past its bracket.
    fn close(&mut self, depth: u32, end: u64);
    /// A string opens at `at`, as a key or as a value.
    fn begin_string(&mut self, key: bool, depth: u32, at: u64);
    /// Bytes of the open string that stand for themselves.
    fn text(&mut self, run: &[u8]);
    /// A character of the open string that was escaped.
    fn escaped(&mut self, character: char);
    /// The open string ends; `end` is one past its quote.
    fn end_string(&mut self, key: bool, depth: u32, end: u64);
    /// A number begins at `at`.
    fn begin_number(&mut self, depth: u32, at: u64);
    /// Bytes of the number.
    fn digits(&mut self, run: &[u8]);
    /// The number ended before `end`.
    fn end_number(&mut self, depth: u32, end: u64);
    /// A literal ended before `end`.
    fn literal(&mut self, word: Word, depth: u32, end: u64);
}

/// The three literals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    True,
    False,
    Null,
}

impl Word {
    pub(crate) const fn text(self) -> &'static [u8] {
        match self {
            Self::True => b"true",
            Self::False => b"false",
            Self::Null => b"null",
        }
    }
}

/// Why the text is not JSON, and at which byte that became certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) at: u64,
}

/// What a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    Syntax,
    TooDeep,
    LoneSurrogate,
    Trailing,
}

/// What becomes of half a surrogate pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surrogates {
    /// It is a fault: nobody agrees on what it means (SEC-JS-05).
    Refuse,
    /// It reads as U+FFFD: the text is not ours to judge.
    Replace,
}

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    FirstValue,
    FirstKey,
    Key,
    Colon,
    After,
    Text,
    Escape,
    Hex { left: u8 },
    LowBackslash,
    LowU,
    Number(Number),
    Literal { word: Word, seen: u8 },
    Passing,
    Done,
}

/// How far into a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Start,
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

/// The machine.
#[derive(Clone, Debug)]
pub(crate) struct Grammar {
    state: State,
    depth: u32,
    depth_max: u32,
    /// Bit n: the container at depth n + 1 is an object.
    objects: u128,
    /// Bytes taken.
    taken: u64,
    surrogates: Surrogates,
    passing: Passing,
    /// The open string is a key.
    in_key: bool,
    /// The code unit being read from `\u`.
    unit: u16,
    /// The high surrogate that waits for its low one; 0 if none.
    high: u16,
}

impl Grammar {
    pub(crate) fn new(depth_max: u32, surrogates: Surrogates) -> Self {
        Self {
            state: State::Value,
            depth: 0,
            depth_max: depth_max.min(JSON_DEPTH_MAX),
            objects: 0,
            taken: 0,
            surrogates,
            passing: Passing::default(),
            in_key: false,
            unit: 0,
            high: 0,
        }
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.depth_max, self.surrogates);
    }

    /// Bytes taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// The bound on nested containers.
    pub(crate) fn depth_max(&self) -> u32 {
        self.depth_max
    }

    /// Nothing but white space was seen.
    pub(crate) fn untouched(&self) -> bool {
        self.depth == 0 && self.state == State::Value
    }

    /// One whole JSON text has passed.
    pub(crate) fn complete(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next bytes. After a fault the machine must be reset.
    pub(crate) fn feed(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<(), Fault> {
        let mut i = 0;
        while i < bytes.len() {
            i = match self.state {
                State::Text => self.text(bytes, i, sink),
                State::Number(number) => self.number(number, bytes, i, sink),
                State::Literal { word, seen } => self.literal(word, seen, bytes, i, sink),
                State::Escape | State::Hex { .. } | State::LowBackslash | State::LowU => {
                    self.escape(bytes, i, sink)
                }
                State::Passing => Ok(self.pass(bytes, i, sink)),
                State::Value
                | State::FirstValue
                | State::FirstKey
                | State::Key
                | State::Colon
                | State::After
                | State::Done => self.structure(bytes, i, sink),
            }?;
        }
        self.taken += bytes.len() as u64;
        Ok(())
    }

    /// The text has ended. A number at the top level has no other end than this.
    pub(crate) fn finish(&mut self, sink: &mut impl Sink) -> bool {
        if let State::Number(number) = self.state
            && self.depth == 0
            && number.may_end()
        {
            sink.end_number(0, self.taken);
            self.state = State::Done;
        }
        self.complete()
    }

    fn at(&self, i: usize) -> u64 {
        self.taken + i as u64
    }

    fn fault(&self, kind: FaultKind, i: usize) -> Fault {
        Fault { kind, at: self.at(i) }
    }

    fn in_object(&self) -> bool {
        self.depth > 0 && self.objects >> (self.depth - 1) & 1 == 1
    }

    /// Between tokens: white space, punctuation, and the first byte of a token. A string or a number is entered from
    /// here without another turn of the loop: choosing a state costs more than most tokens do.
    fn structure(&mut self, bytes: &[u8], i: usize, sink: &mut impl Sink) -> Result<usize, Fault> {
        let Some(skip) = bytes[i..].iter().position(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t')) else {
            return Ok(bytes.len());
        };
        let i = i + skip;
        match (self.state, bytes[i]) {
            (State::After, b',') if self.in_object() => {
                self.state = State::Key;
                if bytes.get(i + 1) == Some(&b'"') {
                    return self.string(true, bytes, i + 1, sink);
                }
            }
            (State::After | State::FirstKey, b'}') if self.in_object() => self.close(i, sink),
            (State::After | State::FirstValue, b']') if !self.in_object() => self.close(i, sink),
            (State::After, b',') | (State::Colon, b':') => self.state = State::Value,
            (State::Key | State::FirstKey, b'"') => return self.string(true, bytes, i, sink),
            (State::Value | State::FirstValue, byte) => return self.value(byte, bytes, i, sink),
            (State::Done, _) => return Err(self.fault(FaultKind::Trailing, i)),
            (State::After | State::Colon | State::Key | State::FirstKey, _) => {
                return Err(self.fault(FaultKind::Syntax, i));
            }
            (
                State::Text
                | State::Escape
                | State::Hex { .. }
                | State::LowBackslash
                | State::LowU
                | State::Number(_)
                | State::Literal { .. }
                | State::Passing,
                _,
            ) => unreachable!("`feed` sends these states elsewhere"),
        }
        Ok(i + 1)
    }

    /// A value that begins with `byte`, which is `bytes[i]`.
    fn value(&mut self, byte: u8, bytes: &[u8], i: usize, sink: &mut impl Sink) -> Result<usize, Fault> {
        let literal = |word| State::Literal { word, seen: 1 };
        match byte {
            b'"' => return self.string(false, bytes, i, sink),
            b'-' | b'0'..=b'9' => {
                sink.begin_number(self.depth, self.at(i));
                return self.number(Number::Start, bytes, i, sink);
            }
            b'{' | b'[' => self.open(byte == b'{', i, sink)?,
            b't' => self.state = literal(Word::True),
            b'f' => self.state = literal(Word::False),
            b'n' => self.state = literal(Word::Null),
            _ => return Err(self.fault(FaultKind::Syntax, i)),
        }
        Ok(i + 1)
    }

    /// A string whose quote is `bytes[i]`.
    fn string(&mut self, key: bool, bytes: &[u8], i: usize, sink: &mut impl Sink) -> Result<usize, Fault> {
        sink.begin_string(key, self.depth, self.at(i));
        self.in_key = key;
        self.state = State::Text;
        self.text(bytes, i + 1, sink)
    }

    fn open(&mut self, object: bool, i: usize, sink: &mut impl Sink) -> Result<(), Fault> {
        if self.depth >= self.depth_max {
            return Err(self.fault(FaultKind::TooDeep, i));
        }
        sink.open(object, self.depth, self.at(i));
        let bit = 1 << self.depth;
        self.objects = if object { self.objects | bit } else { self.objects & !bit };
        self.depth += 1;
        self.state = match object {
            _ if sink.passes_over(self.depth - 1) => {
                self.passing = Passing::begin();
                State::Passing
            }
            true => State::FirstKey,
            false => State::FirstValue,
        };
        Ok(())
    }

    /// On the way past the container that was opened last.
    fn pass(&mut self, bytes: &[u8], i: usize, sink: &mut impl Sink) -> usize {
        let Some(end) = self.passing.end(bytes, i) else { return bytes.len() };
        self.close(end, sink);
        end + 1
    }

    fn close(&mut self, i: usize, sink: &mut impl Sink) {
        self.depth -= 1;
        sink.close(self.depth, self.at(i + 1));
        self.value_ended();
    }

    fn value_ended(&mut self) {
        self.state = if self.depth == 0 { State::Done } else { State::After };
    }

    fn text(&mut self, bytes: &[u8], i: usize, sink: &mut impl Sink) -> Result<usize, Fault> {
        let mut end = i;
        loop {
            let rest = &bytes[end..];
            let run = plain_run(rest);
            if run > 0 {
                sink.text(&rest[..run]);
            }
            end += run;
            match rest.get(run) {
                None => return Ok(end),
                Some(b'"') => return Ok(self.end_string(bytes, end, sink)),
                Some(b'\\') => {
                    // Source code has one such escape in ten bytes: they do not leave the loop.
                    let Some(character) = rest.get(run + 1).copied().and_then(simple_escape) else {
                        self.state = State::Escape;
                        return Ok(end + 1);
                    };
                    sink.escaped(character);
                    end += 2;
                }
                Some(_) => return Err(self.fault(FaultKind::Syntax, end)), // a raw control byte
            }
        }
    }

    /// The open string ends with the quote `bytes[i]`; returns what to look at next.
    fn end_string(&mut self, bytes: &[u8], i: usize, sink: &mut impl Sink) -> usize {
        sink.end_string(self.in_key, self.depth, self.at(i + 1));
        if !self.in_key {
            self.value_ended();
        } else if bytes.get(i + 1) == Some(&b':') {
            self.state = State::Value;
            return i + 2;
        } else {
            self.state = State::Colon;
        }
        i + 1
    }

    fn escape(&mut self, bytes: &[u8], i: usize, sink: &mut impl Sink) -> Result<usize, Fault> {
        let byte = bytes[i];
        match (self.state, byte) {
            (State::Escape | State::LowU, b'u') => self.state = State::Hex { left: 4 },
            (State::Escape, _) => {
                let character = simple_escape(byte).ok_or(self.fault(FaultKind::Syntax, i))?;
                sink.escaped(character);
                self.state = State::Text;
            }
            (State::Hex { left }, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(self.fault(FaultKind::Syntax, i))?;
                self.unit = self.unit << 4 | digit as u16;
                self.state = State::Hex { left: left - 1 };
                if left == 1 {
                    self.unit_read(i, sink)?;
                }
            }
            (State::LowBackslash, b'\\') => self.state = State::LowU,
            (State::LowBackslash, _) => {
                self.lone(i, sink)?;
                self.state = State::Text;
                return Ok(i); // the byte is ordinary text
            }
            (_, _) => {
                self.lone(i, sink)?;
                self.state = State::Escape;
                return Ok(i); // the byte belongs to another escape
            }
        }
        Ok(i + 1)
    }

    /// Four hex digits have passed: a character, or half of one.
    fn unit_read(&mut self, i: usize, sink: &mut impl Sink) -> Result<(), Fault> {
        let unit = std::mem::take(&mut self.unit);
        let low = matches!(unit, 0xDC00..=0xDFFF);
        if self.high != 0 && !low {
            self.lone(i, sink)?;
        }
        self.state = State::Text;
        if matches!(unit, 0xD800..=0xDBFF) {
            self.high = unit;
            self.state = State::LowBackslash;
        } else if low && self.high == 0 {
            self.lone(i, sink)?;
        } else {
            let high = std::mem::take(&mut self.high);
            let pair = char::decode_utf16([high, unit]).next();
            let single = char::from_u32(u32::from(unit));
            let character = if high == 0 { single } else { pair.and_then(Result::ok) };
            sink.escaped(character.unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Ok(())
    }

    fn lone(&mut self, i: usize, sink: &mut impl Sink) -> Result<(), Fault> {
        self.high = 0;
        match self.surrogates {
            Surrogates::Refuse => Err(self.fault(FaultKind::LoneSurrogate, i)),
            Surrogates::Replace => {
                sink.escaped(char::REPLACEMENT_CHARACTER);
                Ok(())
            }
        }
    }

    fn number(
        &mut self,
        mut number: Number,
        bytes: &[u8],
        i: usize,
        sink: &mut impl Sink,
    ) -> Result<usize, Fault> {
        let mut end = i;
        let ended = loop {
            let Some(&byte) = bytes.get(end) else { break false };
            let Some(next) = number.step(byte) else { break true };
            number = next;
            end += 1;
        };
        if end > i {
            sink.digits(&bytes[i..end]);
        }
        self.state = State::Number(number);
        if ended {
            if !number.may_end() {
                return Err(self.fault(FaultKind::Syntax, end));
            }
            sink.end_number(self.depth, self.at(end));
            self.value_ended();
        }
        Ok(end)
    }

    fn literal(
        &mut self,
        word: Word,
        seen: u8,
        bytes: &[u8],
        i: usize,
        sink: &mut impl Sink,
    ) -> Result<usize, Fault> {
        let want = &word.text()[usize::from(seen)..];
        let have = &bytes[i..(i + want.len()).min(bytes.len())];
        if let Some(wrong) = have.iter().zip(want).position(|(a, b)| a != b) {
            return Err(self.fault(FaultKind::Syntax, i + wrong));
        }
        let end = i + have.len();
        if have.len() == want.len() {
            sink.literal(word, self.depth, self.at(end));
            self.value_ended();
        } else {
            self.state = State::Literal { word, seen: seen + have.len() as u8 };
        }
        Ok(end)
    }
}

impl Number {
    /// The state after `byte`, or `None` if the number ends before it.
    const fn step(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Start, b'-') => Some(Self::Minus),
            (Self::Start | Self::Minus, b'0') => Some(Self::Zero),
            (Self::Start | Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => Some(Self::Integer),
            (Self::Zero | Self::Integer, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Some(Self::Exponent),
            (Self::Exponent, b'+' | b'-') => Some(Self::ExponentSign),
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => {
                Some(Self::ExponentDigits)
            }
            _ => None,
        }
    }

    const fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::ExponentDigits)
    }
}

const fn simple_escape(byte: u8) -> Option<char> {
    Some(match byte {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        _ => return None,
    })
}

/// How many bytes stand for themselves: up to a quote, a backslash or a control byte.
pub(super) fn plain_run(text: &[u8]) -> usize {
    // Keys, roles and lines of code end within a few words, before a longer search pays.
    let short = &text[..text.len().min(SHORT_BYTES)];
    let run = sixteen::find(short, 0, b' ', |it| {
        sixteen::is(it, b'"') | sixteen::is(it, b'\\') | sixteen::within(it, 0, 0x1f)
    });
    if run < SHORT_BYTES {
        return run;
    }
    let run = memchr2(b'"', b'\\', text).unwrap_or(text.len());
    first_control(&text[..run]).unwrap_or(run)
}

/// Bytes looked at before the search for the end of a long text begins.
const SHORT_BYTES: usize = 32;

/// The first byte below 0x20. The minimum of a block is one vector instruction per 16 bytes; a search is not.
fn first_control(text: &[u8]) -> Option<usize> {
    const BLOCK: usize = 64;
    let smallest = |block: &[u8]| block.iter().fold(u8::MAX, |least, byte| least.min(*byte));
    let (blocks, tail) = text.as_chunks::<BLOCK>();
    let clean = blocks.iter().position(|block| smallest(block) < 0x20).unwrap_or(blocks.len());
    if clean == blocks.len() && smallest(tail) >= 0x20 {
        return None;
    }
    text[clean * BLOCK..].iter().position(|byte| *byte < 0x20).map(|n| clean * BLOCK + n)
}

/// A non-negative integer, from `12` or `12.0`. Exponents are never expanded (SEC-JS-04).
pub(crate) fn integer(text: &[u8]) -> Option<u64> {
    let (digits, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &[][..]),
    };
    if fraction.iter().any(|byte| *byte != b'0') {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A few bytes kept to be compared or read; whether there were more is remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Few<const N: usize> {
    bytes: [u8; N],
    len: usize,
    over: bool,
}

impl<const N: usize> Default for Few<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Few<N> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], len: 0, over: false }
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.over = false;
    }

    pub(crate) fn push(&mut self, more: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + more.len()) {
            room.copy_from_slice(more);
            self.len += more.len();
        } else {
            self.over = true;
        }
    }

    /// The bytes, if all of them fitted.
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        (!self.over).then(|| &self.bytes[..self.len])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0 && !self.over
    }

    /// There were more bytes than fit.
    pub(crate) fn overflowed(&self) -> bool {
        self.over
    }
}
