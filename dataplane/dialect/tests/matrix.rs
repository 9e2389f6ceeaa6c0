//! The sixteen directions: every recorded exchange, from every dialect into every other and back.
//!
//! Owns: what the judge may expect of a dialect. The claims are in `claims/`, the judge in `judge/`, and the code under
//! test behind `bridge/`.
//! Must not: read an answer with the code under test.
//! Read next: `claims/answers.rs`.

mod bridge;
mod claims;
mod judge;

use judge::fixtures::Recorded;
use judge::{Call, Dialect, Reading, Stop};
use serde_json::Value;

pub(crate) fn difference(got: &Reading, want: &Reading) -> Option<String> {
    let short = |text: &str| text.chars().take(60).collect::<String>();
    let differ = |what: &str, got: &str, want: &str| {
        (got != want).then(|| format!("{what} {:?} for {:?}", short(got), short(want)))
    };
    differ("text", &got.text, &want.text)
        .or_else(|| differ("reasoning", &got.reasoning, &want.reasoning))
        .or_else(|| differ("refusal", &got.refusal, &want.refusal))
        .or_else(|| {
            (calls(got) != calls(want)).then(|| format!("calls {:?} for {:?}", got.calls, want.calls))
        })
        .or_else(|| (got.stop != want.stop).then(|| format!("stop {:?} for {:?}", got.stop, want.stop)))
        .or_else(|| {
            (got.tokens != want.tokens).then(|| format!("tokens {:?} for {:?}", got.tokens, want.tokens))
        })
}

/// Arguments compare as values: spacing is a matter of taste.
fn calls(reading: &Reading) -> Vec<(&str, Value)> {
    let value = |call: &Call| {
        let text = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
        serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
    };
    reading.calls.iter().map(|call| (call.name.as_str(), value(call))).collect()
}

/// What a caller of this dialect should read where the vendor's client read `said`.
pub(crate) fn expected(caller: Dialect, said: &Reading) -> Reading {
    let mut want = said.clone().ended_for_calls();
    if matches!(caller, Dialect::Anthropic | Dialect::Gemini) {
        want.text += &std::mem::take(&mut want.refusal);
        if !said.refusal.is_empty() && want.stop == Some(Stop::End) {
            want.stop = Some(Stop::Filter);
        }
    } else if !said.refusal.is_empty() && want.stop == Some(Stop::Filter) {
        want.stop = Some(Stop::End);
    }
    want.stop = want.stop.map(|stop| match stop {
        Stop::Sequence if caller != Dialect::Anthropic => Stop::End,
        // A reason that only its provider has.
        Stop::Other(_) if !want.calls.is_empty() => Stop::Tool,
        Stop::Other(_) if caller == Dialect::Gemini => Stop::Other("OTHER".to_owned()),
        Stop::Other(_) => Stop::End,
        stop @ (Stop::End | Stop::Sequence | Stop::Tool | Stop::Length | Stop::Filter) => stop,
    });
    if let Some(tokens) = &mut want.tokens {
        // Gemini does not count what was written to a cache.
        tokens.written = if caller == Dialect::Gemini { 0 } else { tokens.written };
    }
    // Where objects are wanted, arguments that a limit cut cannot be told.
    let cut = |call: &Call| {
        call.arguments.starts_with('{') && serde_json::from_str::<Value>(&call.arguments).is_err()
    };
    if caller == Dialect::Gemini {
        want.calls.retain(|call| !cut(call));
    }
    want
}

/// Compares a translated reading with the oracle's, as far as the dialects on its way can say it.
pub(crate) fn against(way: &[Dialect], mut got: Reading, recorded: &Recorded) -> Option<String> {
    let mut want = way.iter().fold(recorded.reading(), |said, dialect| expected(*dialect, &said));
    if want.tokens.is_none() {
        got.tokens = None; // Anthropic's clients want a number even where there is none
    }
    if want.calls.iter().any(|call| serde_json::from_str::<Value>(&call.arguments).is_err()) {
        wrap_free(&mut want, &got);
    }
    difference(&got, &want)
}

/// Free text for a custom tool stands under one name where tools take objects.
fn wrap_free(want: &mut Reading, got: &Reading) {
    for (call, told) in want.calls.iter_mut().zip(&got.calls) {
        let wrapped = serde_json::json!({ "input": call.arguments }).to_string();
        if serde_json::from_str::<Value>(&told.arguments).ok() == serde_json::from_str(&wrapped).ok() {
            call.arguments = wrapped;
        }
    }
}
