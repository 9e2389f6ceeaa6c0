//! Stop reasons and usage in the words of Chat Completions.
//! Owns: both ways of both. Must not: guess counts that are missing.
//! Read next: `answer_in.rs`, `answer_out.rs`.

use crate::json::{Kind, Text, Value, number};
use crate::model::{Losses, Stop, Usage};

/// Why a choice ended; `choice` has the engines' own word besides.
pub(super) fn stop<'a>(reason: &Text<'a>, choice: Value<'a>) -> Stop<'a> {
    match &*reason.plain() {
        "stop" => match choice.get_text("stop_reason").or_else(|| choice.get_text("matched_stop")) {
            Some(text) => Stop::StopSequence(Some(text)),
            None => Stop::EndTurn,
        },
        "tool_calls" | "function_call" => Stop::ToolUse,
        "length" => Stop::MaxTokens,
        "content_filter" => Stop::ContentFilter(None),
        "repetition" => Stop::Repetition,
        _ => Stop::Other(reason.clone()),
    }
}

/// Engines that gave up say so in place of a reason.
pub(super) fn is_failure(reason: &Text<'_>) -> bool {
    reason.is("abort") || reason.is("error")
}

/// The word for why a choice ended. What the word does not say is a loss.
pub(super) fn finish_reason(stop: &Stop<'_>, losses: Option<&mut Losses>) -> &'static str {
    let (word, lost) = match stop {
        Stop::EndTurn | Stop::StopSequence(_) | Stop::NoImage => ("stop", None),
        Stop::ToolUse => ("tool_calls", None),
        Stop::MaxTokens | Stop::ContextWindow => ("length", None),
        Stop::Refusal { .. } => ("stop", None),
        Stop::ContentFilter(_) => ("content_filter", None),
        Stop::PauseTurn => ("stop", Some("pause_turn")),
        Stop::BadToolCall(_) => ("stop", Some("bad_tool_call")),
        Stop::Compaction => ("stop", Some("compaction")),
        Stop::Repetition => ("stop", Some("repetition")),
        Stop::Other(_) => ("stop", Some("other")),
    };
    if let (Some(lost), Some(losses)) = (lost, losses) {
        losses.noted("/stop_reason", lost);
    }
    word
}

/// Token counts; `None` where none are given.
pub(super) fn usage(counts: Value<'_>) -> Option<Usage> {
    if counts.kind() != Kind::Object {
        return None;
    }
    let input = counts.get("prompt_tokens_details");
    let output = counts.get("completion_tokens_details");
    let of = |details: Option<Value<'_>>, key| details.and_then(|details| details.get_integer(key));
    let usage = Usage {
        input: counts.get_integer("prompt_tokens"),
        cache_read: of(input, "cached_tokens"),
        cache_write: of(input, "cache_write_tokens").or_else(|| of(input, "created_cache_tokens")),
        input_audio: of(input, "audio_tokens"),
        output: counts.get_integer("completion_tokens"),
        reasoning: of(output, "reasoning_tokens").or_else(|| counts.get_integer("reasoning_tokens")),
        output_audio: of(output, "audio_tokens"),
        ..Usage::NONE
    };
    Some(usage.checked())
}

/// Appends the counts as an object.
pub(super) fn write_usage(usage: &Usage, out: &mut Vec<u8>) {
    let mut count = |lead: &str, value: u64| {
        out.extend_from_slice(lead.as_bytes());
        number(out, value);
    };
    count("{\"prompt_tokens\":", usage.input.unwrap_or(0));
    count(",\"completion_tokens\":", usage.output.unwrap_or(0));
    count(",\"total_tokens\":", usage.total());
    count(",\"prompt_tokens_details\":{\"cached_tokens\":", usage.cache_read.unwrap_or(0));
    count(",\"cache_write_tokens\":", usage.cache_write.unwrap_or(0));
    if let Some(audio) = usage.input_audio {
        count(",\"audio_tokens\":", audio);
    }
    count("},\"completion_tokens_details\":{\"reasoning_tokens\":", usage.reasoning.unwrap_or(0));
    if let Some(audio) = usage.output_audio {
        count(",\"audio_tokens\":", audio);
    }
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Surrogates, Tape};

    #[test]
    fn counts_are_written_as_they_were_read() {
        let text = r#"{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}"#;
        let mut tape = Tape::new();
        let usage = usage(tape.read(text, Surrogates::Replace).expect("JSON")).expect("counts");
        let mut out = Vec::new();
        write_usage(&usage, &mut out);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), text);
    }
}
