//! Stop reasons, usage and caching marks in Anthropic's words.
//! Owns: both ways of each. Must not: guess counts that are missing, except as the zero this dialect wants.
//! Read next: `answer_in.rs`, `answer_out.rs`.

use crate::json::{Kind, Members, Text, Value, number};
use crate::model::{CacheMark, Stop, Usage};

/// Why a message ended; `message` has the details besides.
pub(super) fn stop<'a>(reason: &Text<'a>, message: Value<'a>) -> Stop<'a> {
    match &*reason.plain() {
        "end_turn" => Stop::EndTurn,
        "stop_sequence" => Stop::StopSequence(message.get_text("stop_sequence")),
        "tool_use" => Stop::ToolUse,
        "max_tokens" => Stop::MaxTokens,
        "model_context_window_exceeded" => Stop::ContextWindow,
        "refusal" => {
            let category = message.get("stop_details").and_then(|details| details.get_text("category"));
            Stop::Refusal { category }
        }
        "pause_turn" => Stop::PauseTurn,
        "compaction" => Stop::Compaction,
        _ => Stop::Other(reason.clone()),
    }
}

/// The word for why a message ended.
pub(super) const fn stop_reason(stop: &Stop<'_>) -> &'static str {
    match stop {
        Stop::EndTurn | Stop::Repetition | Stop::NoImage | Stop::Other(_) | Stop::BadToolCall(_) => {
            "end_turn"
        }
        Stop::StopSequence(Some(_)) => "stop_sequence",
        Stop::StopSequence(None) => "end_turn", // which text it was, nobody said
        Stop::ToolUse => "tool_use",
        Stop::MaxTokens => "max_tokens",
        Stop::ContextWindow => "model_context_window_exceeded",
        Stop::Refusal { .. } | Stop::ContentFilter(_) => "refusal",
        Stop::PauseTurn => "pause_turn",
        Stop::Compaction => "compaction",
    }
}

/// Appends `"stop_reason":…,"stop_sequence":…`.
pub(super) fn write_stop(stop: &Stop<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"stop_reason\":\"");
    out.extend_from_slice(stop_reason(stop).as_bytes());
    out.extend_from_slice(b"\",\"stop_sequence\":");
    match stop {
        Stop::StopSequence(Some(text)) => text.write_line(out),
        _ => out.extend_from_slice(b"null"),
    }
}

/// Counts as they stand in messages. They are kept as they are: those of a later event replace single ones, and only
/// all together make the common model's sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    input: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    short: Option<u64>,
    long: Option<u64>,
    output: Option<u64>,
    thinking: Option<u64>,
}

impl Counts {
    /// A later snapshot: null, or nothing, keeps what was known.
    pub(super) fn update(&mut self, usage: Value<'_>) {
        if usage.kind() != Kind::Object {
            return;
        }
        let creation = usage.get("cache_creation");
        let details = usage.get("output_tokens_details");
        for (count, later) in [
            (&mut self.input, usage.get_integer("input_tokens")),
            (&mut self.cache_read, usage.get_integer("cache_read_input_tokens")),
            (&mut self.cache_write, usage.get_integer("cache_creation_input_tokens")),
            (&mut self.short, creation.and_then(|split| split.get_integer("ephemeral_5m_input_tokens"))),
            (&mut self.long, creation.and_then(|split| split.get_integer("ephemeral_1h_input_tokens"))),
            (&mut self.output, usage.get_integer("output_tokens")),
            (&mut self.thinking, details.and_then(|details| details.get_integer("thinking_tokens"))),
        ] {
            *count = later.or(*count);
        }
    }

    /// In the common model's way of counting.
    pub(super) fn usage(&self) -> Usage {
        let cached = self.cache_read.unwrap_or(0).saturating_add(self.cache_write.unwrap_or(0));
        Usage {
            input: self.input.map(|input| input.saturating_add(cached)),
            cache_read: self.cache_read,
            cache_write: self.cache_write,
            cache_write_short: self.short,
            cache_write_long: self.long,
            output: self.output,
            reasoning: self.thinking,
            ..Usage::NONE
        }
        .checked()
    }
}

/// Appends the counts of a whole message.
pub(super) fn write_usage(usage: &Usage, out: &mut Vec<u8>) {
    let counts = usage.exclusive();
    let mut members = Members::open(out);
    members.number(out, "input_tokens", counts.input);
    members.number(out, "cache_read_input_tokens", counts.cache_read);
    members.number(out, "cache_creation_input_tokens", counts.cache_write);
    members.number(out, "output_tokens", usage.output.unwrap_or(0));
    if let (Some(short), Some(long)) = (usage.cache_write_short, usage.cache_write_long) {
        members.key(out, "cache_creation");
        out.extend_from_slice(b"{\"ephemeral_5m_input_tokens\":");
        number(out, short);
        out.extend_from_slice(b",\"ephemeral_1h_input_tokens\":");
        number(out, long);
        out.push(b'}');
    }
    if let Some(thinking) = usage.reasoning {
        members.key(out, "output_tokens_details");
        out.extend_from_slice(b"{\"thinking_tokens\":");
        number(out, thinking);
        out.push(b'}');
    }
    members.close(out);
}

/// A mark of what to cache.
pub(super) fn cache_mark(value: Value<'_>) -> CacheMark {
    match value.get_text("ttl") {
        Some(ttl) if ttl.is("1h") => CacheMark::Long,
        Some(_) => CacheMark::Short,
        None => CacheMark::Default,
    }
}

/// The same, as a member.
pub(super) fn write_cache_mark(mark: CacheMark, members: &mut Members, out: &mut Vec<u8>) {
    members.json(
        out,
        "cache_control",
        match mark {
            CacheMark::Default => r#"{"type":"ephemeral"}"#,
            CacheMark::Short => r#"{"type":"ephemeral","ttl":"5m"}"#,
            CacheMark::Long => r#"{"type":"ephemeral","ttl":"1h"}"#,
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Surrogates, Tape};

    #[test]
    fn a_later_snapshot_replaces_what_it_names_and_null_says_nothing() {
        let mut counts = Counts::default();
        for text in [
            r#"{"input_tokens":5,"cache_read_input_tokens":4,"cache_creation_input_tokens":0,"output_tokens":1}"#,
            r#"{"output_tokens":7,"input_tokens":null}"#,
            r#"{"output_tokens":9,"cache_read_input_tokens":6}"#,
        ] {
            let mut tape = Tape::new();
            counts.update(tape.read(text, Surrogates::Replace).expect("JSON"));
        }
        let usage = counts.usage();
        assert_eq!((usage.input, usage.cache_read, usage.output), (Some(11), Some(6), Some(9)));
    }
}
