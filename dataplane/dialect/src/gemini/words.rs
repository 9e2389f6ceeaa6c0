//! What Gemini calls things: reasons, counts, signatures, dates.
//!
//! Owns: the tables of dialects sections 4.4 and 4.5, as far as they are Gemini's, both ways.
//! Must not: know whether an answer is a stream.
//! Read next: `stream_in.rs`.

use crate::json::{Raw, Text, Value, number};
use crate::model::{Stop, Usage};

/// Why a candidate ended. Vertex can be asked for numbers instead of names.
pub(super) fn stop<'a>(reason: Value<'a>, message: Option<Text<'a>>) -> Stop<'a> {
    let word = reason.text().unwrap_or_else(|| Text::written(numbered(reason.integer())));
    let plain = word.plain();
    match &*plain {
        "STOP" => Stop::EndTurn,
        "MAX_TOKENS" => Stop::MaxTokens,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "MODEL_ARMOR"
        | "LANGUAGE"
        | "PUP_LIMITED_DISABLED"
        | "ESCALATION" => Stop::ContentFilter(Some(Text::of(&plain).into_owned())),
        "MALFORMED_FUNCTION_CALL"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MISSING_THOUGHT_SIGNATURE"
        | "MALFORMED_RESPONSE" => Stop::BadToolCall(message),
        "CONTINUATION" => Stop::PauseTurn,
        "NO_IMAGE" | "IMAGE_OTHER" => Stop::NoImage,
        _ => Stop::Other(Text::of(&plain).into_owned()),
    }
}

/// The names of the numbers, in the order of the published enum.
fn numbered(value: Option<u64>) -> &'static str {
    const NAMES: [&str; 10] = [
        "FINISH_REASON_UNSPECIFIED",
        "STOP",
        "MAX_TOKENS",
        "SAFETY",
        "RECITATION",
        "OTHER",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MALFORMED_FUNCTION_CALL",
    ];
    let at = value.and_then(|value| usize::try_from(value).ok());
    at.and_then(|at| NAMES.get(at)).copied().unwrap_or(NAMES[0])
}

/// The reason in Gemini's words, and whether that says less than was known.
pub(super) fn finish_reason(stop: &Stop<'_>) -> (&'static str, bool) {
    match stop {
        Stop::EndTurn | Stop::ToolUse => ("STOP", false),
        Stop::StopSequence(text) => ("STOP", text.is_some()),
        Stop::MaxTokens | Stop::ContextWindow => ("MAX_TOKENS", false),
        Stop::Refusal { .. } | Stop::ContentFilter(_) => ("SAFETY", false),
        Stop::BadToolCall(_) => ("MALFORMED_FUNCTION_CALL", false),
        Stop::PauseTurn | Stop::Repetition => ("STOP", true),
        Stop::NoImage => ("NO_IMAGE", false),
        Stop::Compaction | Stop::Other(_) => ("OTHER", true),
    }
}

/// `usageMetadata`. Candidates count without thoughts, except where the total shows that they do not (rule 3).
pub(super) fn usage(counts: Value<'_>) -> Usage {
    let get = |key: &str| counts.get_integer(key);
    let (prompt, tools) = (get("promptTokenCount"), get("toolUsePromptTokenCount"));
    let (shown, thoughts) = (get("candidatesTokenCount"), get("thoughtsTokenCount"));
    let input = prompt.or(tools).map(|_| prompt.unwrap_or(0).saturating_add(tools.unwrap_or(0)));
    let output = shown.or(thoughts).map(|_| {
        let (shown, thoughts) = (shown.unwrap_or(0), thoughts.unwrap_or(0));
        let with_shown = input.unwrap_or(0).saturating_add(shown);
        let inclusive = thoughts > 0 && get("totalTokenCount") == Some(with_shown);
        if inclusive { shown } else { shown.saturating_add(thoughts) }
    });
    let usage = Usage {
        input,
        cache_read: get("cachedContentTokenCount"),
        input_audio: audio(counts, "promptTokensDetails"),
        input_tools: tools.filter(|tokens| *tokens > 0),
        output: output.or(input.map(|_| 0)),
        reasoning: thoughts,
        output_audio: audio(counts, "candidatesTokensDetails"),
        ..Usage::NONE
    };
    usage.checked()
}

/// Tokens of sound in a list by modality.
fn audio(counts: Value<'_>, key: &str) -> Option<u64> {
    let mut details = counts.get(key)?.elements()?;
    details
        .find(|detail| detail.get_text("modality").is_some_and(|word| word.is("AUDIO")))?
        .get_integer("tokenCount")
}

/// Appends a `usageMetadata` object.
pub(super) fn write_usage(out: &mut Vec<u8>, usage: &Usage) {
    let (input, output) = (usage.input.unwrap_or(0), usage.output.unwrap_or(0));
    let (tools, thoughts) = (usage.input_tools.unwrap_or(0), usage.reasoning.unwrap_or(0));
    let some = |count: u64| (count > 0).then_some(count);
    out.push(b'{');
    let mut field = |name: &str, count: Option<u64>| {
        let Some(count) = count else { return };
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        number(out, count);
    };
    field("promptTokenCount", Some(input.saturating_sub(tools)));
    field("cachedContentTokenCount", usage.cache_read.and_then(some));
    field("candidatesTokenCount", Some(output.saturating_sub(thoughts)));
    field("toolUsePromptTokenCount", some(tools));
    field("thoughtsTokenCount", some(thoughts));
    field("totalTokenCount", Some(usage.total()));
    out.push(b'}');
}

/// A page that an answer is from, as OpenAI has it.
pub(super) fn url_citation(chunk: Value<'_>) -> Option<Raw<'static>> {
    let web = chunk.get("web")?;
    let mut out = br#"{"url":"#.to_vec();
    web.get_text("uri")?.write(&mut out);
    out.extend_from_slice(br#","title":"#);
    web.get_text("title").unwrap_or_default().write(&mut out);
    out.extend_from_slice(br#","start_index":0,"end_index":0}"#);
    String::from_utf8(out).ok().map(Raw::owned)
}

/// Seconds since 1970 of an RFC 3339 instant in UTC, such as `2026-04-02T17:03:50.399550Z`.
pub(super) fn seconds(instant: &str) -> Option<u64> {
    let digits = |from: usize, to: usize| instant.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days from civil: years begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era_days = year * 365 + year / 4 - year / 100 + year / 400;
    let days = era_days + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Surrogates, Tape};

    fn read(text: &str) -> Usage {
        usage(Tape::new().read(text, Surrogates::Replace).expect("JSON"))
    }

    #[test]
    fn thoughts_are_output_and_are_not_counted_twice() {
        let apart = read(
            r#"{"promptTokenCount":10,"candidatesTokenCount":5,"thoughtsTokenCount":7,"totalTokenCount":22}"#,
        );
        assert_eq!((apart.input, apart.output, apart.reasoning), (Some(10), Some(12), Some(7)));
        let inside = read(
            r#"{"promptTokenCount":10,"candidatesTokenCount":12,"thoughtsTokenCount":7,"totalTokenCount":22}"#,
        );
        assert_eq!((inside.output, inside.reasoning), (Some(12), Some(7)));
    }

    #[test]
    fn what_its_own_tools_brought_is_input() {
        let usage = read(
            r#"{"promptTokenCount":75,"candidatesTokenCount":414,"totalTokenCount":1179,"toolUsePromptTokenCount":573,"thoughtsTokenCount":117}"#,
        );
        assert_eq!((usage.input, usage.input_tools, usage.output), (Some(648), Some(573), Some(531)));
    }

    #[test]
    fn counts_come_back_as_they_were_written() {
        for (input, read_cache, tools, output, thoughts) in
            [(9, 4, 0, 5, 0), (9, 0, 3, 5, 2), (0, 0, 0, 0, 0), (1_000_000, 999_999, 1, 7, 7)]
        {
            let some = |count: u64| (count > 0).then_some(count);
            let usage_in = Usage {
                input: Some(input),
                cache_read: some(read_cache),
                input_tools: some(tools),
                output: Some(output),
                reasoning: some(thoughts),
                ..Usage::NONE
            };
            let mut out = Vec::new();
            write_usage(&mut out, &usage_in);
            assert_eq!(read(std::str::from_utf8(&out).expect("ASCII")), usage_in);
        }
    }

    #[test]
    fn instants_are_counted_from_1970() {
        for (instant, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:00:00.5Z", Some(951_825_600)),
            ("2026-04-02T17:03:50.399550Z", Some(1_775_149_430)),
            ("2026-13-02T17:03:50Z", None),
            ("soon", None),
        ] {
            assert_eq!(seconds(instant), expected, "{instant}");
        }
    }

    #[test]
    fn every_reason_has_a_word_and_filters_stay_filters() {
        let mut tape = Tape::new();
        for (json, stop_in, back) in [
            (r#""STOP""#, Stop::EndTurn, "STOP"),
            ("1", Stop::EndTurn, "STOP"),
            ("2", Stop::MaxTokens, "MAX_TOKENS"),
            (r#""SPII""#, Stop::ContentFilter(Some(Text::written("SPII"))), "SAFETY"),
            (r#""MALFORMED_FUNCTION_CALL""#, Stop::BadToolCall(None), "MALFORMED_FUNCTION_CALL"),
            (r#""CONTINUATION""#, Stop::PauseTurn, "STOP"),
            (r#""NO_IMAGE""#, Stop::NoImage, "NO_IMAGE"),
            (r#""SOMETHING_NEW""#, Stop::Other(Text::written("SOMETHING_NEW")), "OTHER"),
        ] {
            let value = tape.read(json, Surrogates::Replace).expect("JSON");
            assert_eq!(stop(value, None), stop_in);
            assert_eq!(finish_reason(&stop_in).0, back);
        }
    }
}
