//! Recorded exchanges, and what the vendors' own clients read in them.
//!
//! Owns: finding both: `RINGWAY_FIXTURES`, else the small set of the repository; and bringing the oracle's figures
//! to one meaning.
//! Must not: copy them anywhere.
//! Read next: `mod.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Call, Dialect, Reading, Stop, Tokens, count, list, text};

/// A recorded answer with status 200, and how the vendor's client read it.
pub struct Recorded {
    pub file: String,
    pub dialect: Dialect,
    pub stream: bool,
    /// The body that was sent; null where none was recorded.
    pub request: Value,
    pub response: Vec<u8>,
    /// The oracle's line.
    pub oracle: Value,
}

/// Recordings that two honest readers read differently.
const ODD: [(&[&str], &str); 8] = [
    (
        &["openai-chat/0129.json", "openai-chat/0132.json"],
        "more thoughts than output: the counts contradict each other",
    ),
    (
        &["openai-chat/0212.json", "openai-chat/0217.json"],
        "thoughts in parts, which the vendor's client passes over",
    ),
    (&["gemini/0063.json"], "a call that the model garbled: an error elsewhere"),
    (
        &["openai-responses/0814.json", "openai-responses/0820.json"],
        "trimmed: the end says more than the deltas",
    ),
    (&["openai-responses/0816.json", "openai-responses/0826.json"], "several streams in one file"),
    (
        &["anthropic-messages/0008.json"],
        "arguments cut by the token limit; the accumulator keeps nothing of them",
    ),
    (
        &[
            "anthropic-messages/0607.json",
            "anthropic-messages/0616.json",
            "anthropic-messages/0619.json",
            "anthropic-messages/0621.json",
            "anthropic-messages/0622.json",
            "anthropic-messages/0633.json",
        ],
        "trimmed: block indexes repeat, so blocks replace each other",
    ),
    (
        &["gemini/0380.json", "gemini/0381.json", "gemini/0382.json", "gemini/0389.json"],
        "arguments in pieces, which the vendor's client does not put together",
    ),
];

fn root() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    match std::env::var_os("RINGWAY_FIXTURES").map(PathBuf::from) {
        Some(root) if root.join("oracle.jsonl").exists() => root,
        Some(_) | None => {
            println!("skipped: the large set; RINGWAY_FIXTURES does not name it; using the small one");
            own()
        }
    }
}

/// Whether the large set is here; the committed table is made from it.
pub fn is_large() -> bool {
    std::env::var_os("RINGWAY_FIXTURES").is_some_and(|root| Path::new(&root).join("oracle.jsonl").exists())
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let parse = |line: &str| serde_json::from_str(line).expect("a line of fixtures is JSON");
    text.lines().filter(|line| !line.trim().is_empty()).map(parse).collect()
}

/// Every recorded answer that the oracle has read, streams first.
pub fn recorded() -> Vec<Recorded> {
    let root = root();
    let mut all = Vec::new();
    for (file, stream) in [("oracle.jsonl", true), ("oracle-unary.jsonl", false)] {
        for oracle in lines(&root.join(file)) {
            let name = text(&oracle, "file").to_owned();
            let Some(dialect) = Dialect::named(text(&oracle, "dialect")) else { continue };
            let path = root.join("providers").join(&name);
            let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let value: Value = serde_json::from_slice(&bytes).expect("a fixture is JSON");
            all.push(Recorded {
                dialect,
                stream,
                request: value["request"]["body"].clone(),
                response: answer(&value["response"]),
                oracle,
                file: name,
            });
        }
    }
    all
}

fn answer(response: &Value) -> Vec<u8> {
    if let Some(text) = response["sse"].as_str().or_else(|| response["body_text"].as_str()) {
        return text.as_bytes().to_vec();
    }
    serde_json::to_vec(&response["body"]).expect("a parsed value can be written")
}

impl Recorded {
    /// Whether the vendor's client read it whole, to its end.
    pub fn is_whole(&self) -> bool {
        let blocked = self.dialect == Dialect::Gemini && self.oracle["refusal"].is_string();
        let finished = self.oracle["finish"].is_string() && self.oracle["finish"] != "failed";
        self.oracle["ok"] == true && (finished || blocked)
    }

    /// Why the vendor's client is no judge of this one, if it is not.
    pub fn is_odd(&self) -> Option<&'static str> {
        ODD.iter().find(|(files, _)| files.contains(&self.file.as_str())).map(|(_, why)| *why)
    }

    /// The oracle's reading.
    pub fn reading(&self) -> Reading {
        let oracle = &self.oracle;
        let call = |call: &Value| Call {
            id: text(call, "id").to_owned(),
            name: text(call, "name").to_owned(),
            arguments: text(call, "arguments").to_owned(),
        };
        let calls: Vec<Call> = list(oracle, "tool_calls").iter().map(call).collect();
        Reading {
            text: text(oracle, "text").to_owned(),
            reasoning: text(oracle, "reasoning").to_owned(),
            // Gemini's is why nothing was made, no text.
            refusal: if self.dialect == Dialect::Gemini { "" } else { text(oracle, "refusal") }.to_owned(),
            stop: stop(self.dialect, oracle, !calls.is_empty()),
            calls,
            tokens: tokens(self.dialect, oracle),
            error: None,
        }
    }
}

fn stop(dialect: Dialect, oracle: &Value, calls: bool) -> Option<Stop> {
    if dialect == Dialect::Gemini && oracle["refusal"].is_string() {
        return Some(Stop::Filter); // the prompt was blocked
    }
    let detail = oracle["finish_detail"].as_str().unwrap_or_default();
    Some(match (dialect, oracle["finish"].as_str()?) {
        (Dialect::Responses, "incomplete") if detail.contains("content_filter") => Stop::Filter,
        (Dialect::Responses, "incomplete") | (_, "length" | "max_tokens" | "MAX_TOKENS") => Stop::Length,
        (Dialect::Anthropic, "stop_sequence") => Stop::Sequence,
        (_, "content_filter" | "refusal" | "SAFETY" | "PROHIBITED_CONTENT") => Stop::Filter,
        (_, "tool_calls" | "function_call" | "tool_use") => Stop::Tool,
        (_, "STOP" | "stop" | "completed" | "end_turn" | "eos") if calls => Stop::Tool,
        (_, "STOP" | "stop" | "completed" | "end_turn") => Stop::End,
        (_, other) => Stop::Other(other.to_owned()),
    })
}

fn tokens(dialect: Dialect, oracle: &Value) -> Option<Tokens> {
    let tokens = oracle["tokens"].as_object().map(|_| &oracle["tokens"])?;
    let usage = &oracle["usage"];
    let details = |member: &str| count(&usage[member], "cache_write_tokens");
    let openai = details("prompt_tokens_details") + details("input_tokens_details");
    let (read, written) = (count(tokens, "cache_read"), count(tokens, "cache_write").max(openai));
    let (input, output) = (count(tokens, "input"), count(tokens, "output"));
    let reasoning = count(tokens, "reasoning");
    let tools = count(usage, "tool_use_prompt_token_count");
    Some(match dialect {
        Dialect::Chat | Dialect::Responses => Tokens { input, output, read, written, reasoning },
        Dialect::Anthropic => Tokens { input: input + read + written, output, read, written, reasoning },
        Dialect::Gemini => {
            let inclusive = reasoning > 0 && input + tools + output == count(tokens, "total");
            let output = if inclusive { output } else { output + reasoning };
            Tokens { input: input + tools, output, read, written, reasoning }
        }
    })
}
