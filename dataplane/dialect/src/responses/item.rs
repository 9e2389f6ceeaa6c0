//! Items and envelopes of an answer, as answers and streams write them.
//!
//! Owns: their fields, all of which clients in other languages want, and their ids. Everything is safe on one line of a
//! stream.
//! Must not: know in what they stand.
//! Read next: `answer_out.rs`, `stream_out.rs`.

use super::words::{self, Ending};
use crate::json::{Members, Surrogates, Tape, Text, number, string};
use crate::model::{Echo, Usage};

/// Characters of an answer's id that go into the ids of its items.
const ID_CHARS_MAX: usize = 48;

/// The id of the item at this place: the same in all its events.
pub(super) fn id(prefix: &str, response: &str, index: usize) -> String {
    let kept: String = response.chars().take(ID_CHARS_MAX).collect();
    format!("{prefix}_{kept}{index}")
}

/// How far an item has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
}

impl Status {
    const fn word(self) -> &'static str {
        match self {
            Self::InProgress => "\"in_progress\"",
            Self::Completed => "\"completed\"",
            Self::Incomplete => "\"incomplete\"",
        }
    }
}

fn open(out: &mut Vec<u8>, id: &str, kind: &'static str, status: Status) -> Members {
    let mut members = Members::open(out);
    members.key(out, "id");
    string(out, id);
    members.text(out, "type", &Text::written(kind));
    members.json(out, "status", status.word());
    members
}

/// A message; `content` is the JSON text of its parts.
pub(super) fn message(out: &mut Vec<u8>, id: &str, status: Status, content: &[u8]) {
    let mut members = open(out, id, "message", status);
    members.json(out, "role", "\"assistant\"");
    members.key(out, "content");
    array(out, content);
    members.close(out);
}

/// A thought; `summary` and `content` are the JSON text of their parts.
pub(super) fn reasoning(out: &mut Vec<u8>, id: &str, summary: &[u8], content: &[u8], sealed: Option<&str>) {
    let mut members = Members::open(out);
    members.key(out, "id");
    string(out, id);
    members.json(out, "type", "\"reasoning\"");
    members.key(out, "summary");
    array(out, summary);
    if !content.is_empty() {
        members.key(out, "content");
        array(out, content);
    }
    if let Some(sealed) = sealed {
        members.key(out, "encrypted_content");
        string(out, sealed);
    }
    members.close(out);
}

/// A call, and what it is called with.
pub(super) struct Call<'c> {
    pub(super) id: &'c str,
    pub(super) status: Status,
    /// Links it with its result.
    pub(super) link: &'c Text<'c>,
    pub(super) name: &'c str,
    pub(super) namespace: Option<&'c str>,
    pub(super) custom: bool,
    /// JSON text, or free text for a custom tool.
    pub(super) given: &'c Text<'c>,
}

pub(super) fn call(out: &mut Vec<u8>, call: &Call<'_>) {
    let kind = if call.custom { "custom_tool_call" } else { "function_call" };
    let mut members = open(out, call.id, kind, call.status);
    members.key(out, "call_id");
    call.link.write_line(out);
    members.key(out, "name");
    string(out, call.name);
    if let Some(namespace) = call.namespace {
        members.key(out, "namespace");
        string(out, namespace);
    }
    members.key(out, if call.custom { "input" } else { "arguments" });
    call.given.write_line(out);
    members.close(out);
}

/// A part of a message: its text, and the JSON text of its annotations and probabilities.
pub(super) fn text_part(out: &mut Vec<u8>, text: &Text<'_>, annotations: &[u8], logprobs: &[u8]) {
    let mut members = Members::open(out);
    members.json(out, "type", "\"output_text\"");
    members.key(out, "text");
    text.write_line(out);
    members.key(out, "annotations");
    array(out, annotations);
    members.key(out, "logprobs");
    array(out, logprobs);
    members.close(out);
}

/// A part with one text: `refusal`, `summary_text`, `reasoning_text`.
pub(super) fn plain_part(out: &mut Vec<u8>, kind: &'static str, text: &Text<'_>) {
    let mut members = Members::open(out);
    members.text(out, "type", &Text::written(kind));
    members.key(out, if kind == "refusal" { "refusal" } else { "text" });
    text.write_line(out);
    members.close(out);
}

/// A page that a text of so many characters is from; false: it is no page. Some dialects cite for a whole text.
pub(super) fn annotation(out: &mut Vec<u8>, citation: &str, text_chars: usize) -> bool {
    let mut tape = Tape::new();
    let page = tape.read(citation, Surrogates::Replace).ok();
    let Some((page, url)) = page.and_then(|page| Some((page, page.get_text("url")?))) else { return false };
    out.extend_from_slice(br#"{"type":"url_citation","url":"#);
    url.write_line(out);
    out.extend_from_slice(br#","title":"#);
    page.get_text("title").unwrap_or_default().write_line(out);
    integer(out, "start_index", page.get_integer("start_index").unwrap_or(0));
    integer(out, "end_index", page.get_integer("end_index").unwrap_or(text_chars as u64));
    out.push(b'}');
    true
}

fn array(out: &mut Vec<u8>, elements: &[u8]) {
    out.push(b'[');
    out.extend_from_slice(elements);
    out.push(b']');
}

/// What a response is at the moment.
#[derive(Clone, Copy)]
pub(super) enum Now<'n> {
    InProgress,
    Ended(Ending),
    /// With a code and a message.
    Failed(&'n str, &'n str),
}

/// The whole response; `output` is the JSON text of its items.
pub(super) fn response(
    out: &mut Vec<u8>,
    id: &str,
    created: u64,
    echo: &Echo,
    now: Now<'_>,
    output: &[u8],
    usage: Option<&Usage>,
) {
    let mut members = Members::open(out);
    members.key(out, "id");
    string(out, &format!("resp_{id}"));
    members.json(out, "object", "\"response\"");
    members.number(out, "created_at", created);
    if let Now::Ended(Ending::Completed) = now {
        members.number(out, "completed_at", created.max(echo.now));
    }
    let status = match now {
        Now::InProgress => "in_progress",
        Now::Ended(ending) => ending.status(),
        Now::Failed(..) => "failed",
    };
    members.text(out, "status", &Text::written(status));
    members.key(out, "model");
    string(out, &echo.model);
    members.key(out, "output");
    array(out, output);
    members.json(out, "parallel_tool_calls", "true");
    members.json(out, "tool_choice", "\"auto\"");
    members.json(out, "tools", "[]");
    write_error(&mut members, now, out);
    members.key(out, "usage");
    match usage {
        Some(usage) => words::write_usage(usage, out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(SETTINGS.as_bytes());
    members.close(out);
}

/// What strict clients read of the caller's own settings; an answer does not hold them.
const SETTINGS: &str = concat!(
    r#","instructions":null,"metadata":{},"temperature":null,"top_p":null,"max_output_tokens":null,"#,
    r#""previous_response_id":null,"reasoning":{"effort":null,"summary":null},"store":false,"#,
    r#""text":{"format":{"type":"text"}},"truncation":"disabled","user":null"#
);

fn write_error(members: &mut Members, now: Now<'_>, out: &mut Vec<u8>) {
    members.key(out, "error");
    match now {
        Now::InProgress | Now::Ended(_) => out.extend_from_slice(b"null"),
        Now::Failed(code, message) => {
            out.extend_from_slice(br#"{"code":"#);
            string(out, code);
            out.extend_from_slice(br#","message":"#);
            let message = Text::of(message);
            message.write_line(out);
            out.push(b'}');
        }
    }
    members.key(out, "incomplete_details");
    match now {
        Now::Ended(Ending::Incomplete(reason)) => {
            out.extend_from_slice(br#"{"reason":"#);
            string(out, reason);
            out.push(b'}');
        }
        Now::InProgress | Now::Failed(..) | Now::Ended(Ending::Completed) => out.extend_from_slice(b"null"),
    }
}

/// Appends an integer member.
pub(super) fn integer(out: &mut Vec<u8>, key: &str, value: u64) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    number(out, value);
}
