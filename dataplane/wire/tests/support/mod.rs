//! Finds fixtures: the recorded ones where `RINGWAY_FIXTURES` names them, our own small ones elsewhere.
//! Owns: files to values. Must not: judge anything.
//! Read next: the tests beside it.
#![allow(dead_code, reason = "each test crate uses its part")]

use serde_json::Value;
use std::path::{Path, PathBuf};

/// The recorded set, or a line on standard error that says what is skipped.
pub fn recorded(part: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("RINGWAY_FIXTURES") else {
        eprintln!("skipped: {part} (RINGWAY_FIXTURES is not set; our own small set was run)");
        return None;
    };
    Some(Path::new(&root).join(part))
}

/// One of our own files.
pub fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A file of one JSON object per line.
pub fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// A file that is one JSON text.
pub fn value(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).expect("JSON")
}

/// Chance with a seed: the same cuts in every run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound` (xorshift).
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Cuts `bytes` into pieces of 1 to `most` bytes.
pub fn cut<'a>(mut bytes: &'a [u8], most: usize, dice: &mut Dice) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(bytes.len().min(1 + dice.below(most)));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}
