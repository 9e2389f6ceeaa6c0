//! What Responses calls things: statuses, reasons, counts.
//! Owns: the tables of dialects sections 4.4 and 4.5, as far as they are this dialect's, both ways.
//! Must not: know whether an answer is a stream.
//! Read next: `item.rs`.

use crate::errors::Kind;
use crate::failure_in;
use crate::json::{Members, Text, Value, number};
use crate::model::{Failure, Stop, Usage};

/// Why a response ended, before its calls are looked at; or that it failed.
pub(super) fn stop(response: Value<'_>) -> Result<Stop<'_>, Failure<'_>> {
    let status = response.get_text("status").unwrap_or_default();
    let reason = || response.get("incomplete_details").and_then(|details| details.get_text("reason"));
    match &*status.plain() {
        // Answers from elsewhere leave it out.
        "completed" | "" | "in_progress" | "queued" => Ok(Stop::EndTurn),
        "incomplete" => Ok(incomplete(reason().unwrap_or_default())),
        "cancelled" => Err(Failure::of(Kind::Internal, "the upstream cancelled its response")),
        _ => Err(failure(response)),
    }
}

fn incomplete(reason: Text<'_>) -> Stop<'_> {
    match &*reason.plain() {
        "max_output_tokens" | "max_tokens" => Stop::MaxTokens,
        "content_filter" => Stop::ContentFilter(None),
        _ => Stop::Other(reason),
    }
}

/// The reason after looking at what was said: a response that declines is complete all the same.
pub(super) fn refused(stop: Stop<'_>, refused: bool) -> Stop<'_> {
    match stop {
        Stop::EndTurn if refused => Stop::Refusal { category: None },
        as_said => as_said,
    }
}

/// What a failed response says of itself.
pub(super) fn failure(response: Value<'_>) -> Failure<'_> {
    let error = response.get("error").filter(|error| error.fields().is_some());
    error.map_or(Failure::of(Kind::Internal, "the upstream's response failed"), |error| {
        failure_in::of_error(error, None)
    })
}

/// What a response is called that ended like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Completed,
    /// With the reason.
    Incomplete(&'static str),
}

impl Ending {
    /// Of this reason, and whether that says less than was known.
    pub(super) fn of(stop: &Stop<'_>) -> (Self, bool) {
        match stop {
            Stop::EndTurn | Stop::ToolUse | Stop::NoImage => (Self::Completed, false),
            Stop::StopSequence(text) => (Self::Completed, text.is_some()),
            Stop::MaxTokens | Stop::ContextWindow => (Self::Incomplete("max_output_tokens"), false),
            Stop::ContentFilter(_) | Stop::Refusal { .. } => (Self::Incomplete("content_filter"), false),
            // Of a bad call, its writer makes an error.
            Stop::PauseTurn | Stop::Repetition | Stop::Compaction | Stop::Other(_) | Stop::BadToolCall(_) => {
                (Self::Completed, true)
            }
        }
    }

    pub(super) const fn status(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
        }
    }
}

/// `usage`
pub(super) fn usage(counts: Value<'_>) -> Option<Usage> {
    let details = |of: &str, key: &str| counts.get(of).and_then(|details| details.get_integer(key));
    let usage = Usage {
        input: counts.get_integer("input_tokens"),
        cache_read: details("input_tokens_details", "cached_tokens"),
        cache_write: details("input_tokens_details", "cache_write_tokens"),
        input_audio: details("input_tokens_details", "audio_tokens"),
        output: counts.get_integer("output_tokens"),
        reasoning: details("output_tokens_details", "reasoning_tokens"),
        output_audio: details("output_tokens_details", "audio_tokens"),
        ..Usage::NONE
    };
    usage.is_some().then(|| usage.checked())
}

/// Appends a `usage` object; all details always stand in it: clients in other languages want each of them.
pub(super) fn write_usage(usage: &Usage, out: &mut Vec<u8>) {
    let (input, output) = (usage.input.unwrap_or(0), usage.output.unwrap_or(0));
    let mut members = Members::open(out);
    members.number(out, "input_tokens", input);
    members.key(out, "input_tokens_details");
    let mut details = Members::open(out);
    details.number(out, "cached_tokens", usage.cache_read.unwrap_or(0));
    details.number(out, "cache_write_tokens", usage.cache_write.unwrap_or(0));
    details.close(out);
    members.number(out, "output_tokens", output);
    members.key(out, "output_tokens_details");
    out.extend_from_slice(br#"{"reasoning_tokens":"#);
    number(out, usage.reasoning.unwrap_or(0));
    out.push(b'}');
    members.number(out, "total_tokens", usage.total());
    members.close(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Surrogates, Tape};

    #[test]
    fn statuses_are_reasons_or_failures() {
        let mut tape = Tape::new();
        for (json, expected) in [
            (r#"{"status":"completed"}"#, Some(Stop::EndTurn)),
            (
                r#"{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}"#,
                Some(Stop::MaxTokens),
            ),
            (
                r#"{"status":"incomplete","incomplete_details":{"reason":"content_filter"}}"#,
                Some(Stop::ContentFilter(None)),
            ),
            (
                r#"{"status":"incomplete","incomplete_details":{"reason":"steered"}}"#,
                Some(Stop::Other(Text::written("steered"))),
            ),
            (r#"{"status":"failed","error":{"code":"server_error","message":"m"}}"#, None),
            (r#"{"status":"cancelled"}"#, None),
        ] {
            let value = tape.read(json, Surrogates::Replace).expect("JSON");
            assert_eq!(stop(value).ok(), expected, "{json}");
        }
    }

    #[test]
    fn counts_come_back_as_they_were_written() {
        for (input, read, written, output, thoughts) in [(9, 4, 0, 5, 0), (9, 4, 5, 7, 7), (0, 0, 0, 0, 0)] {
            let before = Usage {
                input: Some(input),
                cache_read: Some(read),
                cache_write: Some(written),
                output: Some(output),
                reasoning: Some(thoughts),
                ..Usage::NONE
            };
            let mut out = Vec::new();
            write_usage(&before, &mut out);
            let mut tape = Tape::new();
            let json = std::str::from_utf8(&out).expect("ASCII");
            assert_eq!(usage(tape.read(json, Surrogates::Replace).expect("JSON")), Some(before));
        }
    }
}
