//! Reads the JSON access log of a gateway.
//!
//! Owns: finding the line of one exchange, and the names of the fields that tests look at.
//! Must not: read the text form.
//! Read next: `gateway.rs`.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;

use crate::bounds::{ANSWER_MAX, POLL_EVERY};

/// The access log of one gateway.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
}

impl Log {
    /// The log at this path.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// All whole lines so far.
    pub fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("access log line {line:?}: {error}"))
        };
        whole.lines().map(parse).collect()
    }

    /// Waits for the line that `wanted` accepts.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + ANSWER_MAX;
        loop {
            if let Some(line) = self.lines().into_iter().find(&wanted) {
                return line;
            }
            assert!(Instant::now() < deadline, "no access log line for {what} in {:#?}", self.lines());
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Waits for the line of the exchange with this path (give each case its own).
    pub fn line_for(&self, path: &str) -> Value {
        self.wait_for(path, |line| line["path"] == path)
    }

    /// The reason of the exchange with this path.
    pub fn reason_for(&self, path: &str) -> String {
        self.line_for(path)["reason"].as_str().unwrap_or("").to_owned()
    }
}
