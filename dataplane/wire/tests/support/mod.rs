//! Finds fixtures: the recorded ones where `RINGWAY_FIXTURES` names them, our own small ones elsewhere.
//! Owns: files to values. Must not: judge anything.
//! Read next: the tests beside it.
#![allow(dead_code, reason = "each test crate uses its part")]

use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A part of the recorded set, or a line on standard error that says which test goes without it.
pub fn recorded(part: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("RINGWAY_FIXTURES") else {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let line = format!("skipped larger set: {part} in {test} (RINGWAY_FIXTURES is not set)\n");
        // Not `eprintln`: the harness would keep that to itself, because the test passes.
        std::io::stderr().write_all(line.as_bytes()).expect("standard error takes a line");
        return None;
    };
    Some(Path::new(&root).join(part))
}

/// The seeds of a fuzz target.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let seeds: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!seeds.is_empty(), "{} holds seeds", folder.display());
    seeds
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
