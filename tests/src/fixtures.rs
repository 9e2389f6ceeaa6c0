//! Recorded data: the large set where `RINGWAY_FIXTURES` points, else the small set of our own.
//!
//! Owns: finding and decoding it. Says which larger set was skipped.
//! Must not: copy the large set anywhere: it is not ours to commit.
//! Read next: `providers.rs` and `corpus.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::Value;

/// A folder of fixtures: the large one or our own; both have the same layout.
#[derive(Debug)]
pub struct Fixtures {
    root: PathBuf,
    /// Whether this is the large set.
    pub large: bool,
}

impl Fixtures {
    /// The set to use for `part` (a file or folder inside it), saying what was skipped.
    pub fn for_part(part: &str) -> Self {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        match std::env::var_os("RINGWAY_FIXTURES").map(PathBuf::from) {
            Some(root) if root.join(part).exists() => Self { root, large: true },
            Some(root) => {
                println!(
                    "skipped: {part} is not in RINGWAY_FIXTURES ({}); using the small set",
                    root.display()
                );
                Self { root: own, large: false }
            }
            None => {
                println!(
                    "skipped: the large set of {part}; RINGWAY_FIXTURES is not set; using the small set"
                );
                Self { root: own, large: false }
            }
        }
    }

    /// All objects of a JSON-lines file.
    pub fn lines(&self, file: &str) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{file}: {error}"));
        self.text(file).lines().filter(|line| !line.trim().is_empty()).map(parse).collect()
    }

    /// One JSON file.
    pub fn json(&self, file: &str) -> Value {
        serde_json::from_str(&self.text(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn text(&self, file: &str) -> String {
        let path = self.root.join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// Decodes a base64 member.
pub fn bytes(of: &Value, member: &str) -> Vec<u8> {
    let text = of[member].as_str().unwrap_or_else(|| panic!("no {member} in {of}"));
    base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_else(|error| panic!("{member}: {error}"))
}

/// One recorded exchange: what a caller sent, and what a provider answered.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// `<dialect>/NNNN.json`, unique.
    pub file: String,
    /// The folder.
    pub dialect: String,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// Whether it stops between two events, without its last one.
    pub stops_early: bool,
    /// Method and path; a default of the dialect's where none was recorded.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Body bytes of the request.
    pub request: Vec<u8>,
    /// Status of the answer.
    pub status: u16,
    /// Content type of the answer.
    pub content_type: String,
    /// Body bytes of the answer.
    pub response: Vec<u8>,
}

/// Every recorded exchange of the set.
pub fn exchanges(fixtures: &Fixtures) -> Vec<Exchange> {
    let manifest = fixtures.lines("providers/manifest.jsonl");
    manifest.iter().map(|line| exchange(fixtures, line)).collect()
}

fn exchange(fixtures: &Fixtures, line: &Value) -> Exchange {
    let file = line["file"].as_str().expect("every manifest line names its file").to_owned();
    let recorded = fixtures.json(&format!("providers/{file}"));
    let dialect = recorded["dialect"].as_str().expect("every exchange has a dialect").to_owned();
    let (request, response) = (&recorded["request"], &recorded["response"]);
    let text = |of: &Value, member: &str| of[member].as_str().map(str::to_owned);
    Exchange {
        stream: recorded["stream"] == true,
        stops_early: recorded["features"]
            .as_array()
            .is_some_and(|features| features.iter().any(|feature| feature == "cut-between-events")),
        method: text(request, "method").unwrap_or_else(|| "POST".to_owned()),
        path: text(request, "path").unwrap_or_else(|| default_path(&dialect).to_owned()),
        request: body_of(request),
        status: response["status"]
            .as_u64()
            .and_then(|n| u16::try_from(n).ok())
            .expect("every answer has a status"),
        content_type: content_type(response),
        response: text(response, "sse").map_or_else(|| body_of(response), String::into_bytes),
        file,
        dialect,
    }
}

/// The exact text if it was kept, else the parsed body written anew, else nothing.
fn body_of(message: &Value) -> Vec<u8> {
    if let Some(text) = message["body_text"].as_str() {
        return text.as_bytes().to_vec();
    }
    match &message["body"] {
        Value::Null => Vec::new(),
        body => serde_json::to_vec(body).expect("a parsed value can be written"),
    }
}

fn content_type(response: &Value) -> String {
    let recorded = response["headers"]["content-type"].as_str();
    let default = if response["sse"].is_string() { "text/event-stream" } else { "application/json" };
    recorded.unwrap_or(default).to_owned()
}

fn default_path(dialect: &str) -> &'static str {
    match dialect {
        "openai-chat" => "/v1/chat/completions",
        "openai-responses" => "/v1/responses",
        "openai-embeddings" => "/v1/embeddings",
        "anthropic-messages" => "/v1/messages",
        "gemini" => "/v1beta/models/gemini:generateContent",
        other => panic!("unknown dialect {other}"),
    }
}
