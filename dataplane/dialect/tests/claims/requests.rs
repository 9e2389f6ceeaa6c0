//! Requests ask the same in every dialect, there and back; what cannot be asked is in the list of losses, or refused by
//! the name of the field.
//! Owns: the verdict on one recorded request in one direction, and growing conversations.
//! Must not: pass a difference that nobody was told of.
//! Read next: `../judge/asked.rs`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::bridge;
use crate::judge::asked::{self, Asked};
use crate::judge::fixtures::{Recorded, recorded};
use crate::judge::{Dialect, list};

/// What became of the requests of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Asked the same.
    pub equal: usize,
    /// Asked something else, and said so.
    pub lossy: usize,
    /// Not asked, and said why.
    pub refused: usize,
}

/// Bodies that were sent to make an answer.
fn requests() -> Vec<Recorded> {
    let key = |dialect| if dialect == Dialect::Gemini { "contents" } else { "model" };
    let all = recorded().into_iter();
    all.filter(|recorded| recorded.request.get(key(recorded.dialect)).is_some()).collect()
}

/// The lists of what both requests say that differ.
fn difference(got: &Asked, want: &Asked) -> Option<String> {
    let short = |value: &dyn std::fmt::Debug| format!("{value:?}").chars().take(160).collect::<String>();
    let mut parts: Vec<(&str, bool, String)> = vec![
        ("system", got.system == want.system, short(&(&got.system, &want.system))),
        ("user", got.user == want.user, short(&(&got.user, &want.user))),
        ("assistant", got.assistant == want.assistant, short(&(&got.assistant, &want.assistant))),
        ("media", got.media == want.media, short(&(&got.media, &want.media))),
        ("calls", got.calls == want.calls, short(&(&got.calls, &want.calls))),
        ("results", got.results == want.results, short(&(&got.results, &want.results))),
        ("tools", got.tools == want.tools, short(&(&got.tools, &want.tools))),
        ("max", got.max == want.max, short(&(&got.max, &want.max))),
    ];
    parts.retain(|(_, equal, _)| !equal);
    (!parts.is_empty()).then(|| {
        let told: Vec<String> = parts.into_iter().map(|(name, _, what)| format!("{name} {what}")).collect();
        told.join(", ")
    })
}

/// What a target reads where the caller asked `said`.
fn expected(target: Dialect, said: &Asked) -> Asked {
    let mut want = said.clone();
    if target == Dialect::Anthropic && want.max.is_none() {
        want.max = Some(bridge::target(target).default_max_output); // it wants a number
    }
    want
}

pub fn tallied() -> (BTreeMap<(Dialect, Dialect), Tally>, Vec<String>) {
    let mut table: BTreeMap<_, Tally> = BTreeMap::new();
    let mut wrong = Vec::new();
    for recorded in &requests() {
        let body = recorded.request.to_string();
        let said = normal(asked::read(recorded.dialect, &recorded.request));
        for target in Dialect::ALL {
            let tally = table.entry((recorded.dialect, target)).or_default();
            let (bytes, losses) = match bridge::request(recorded.dialect, target, &body, recorded.stream) {
                Ok(written) => written,
                Err(refused) => {
                    tally.refused += 1;
                    if refused.message.is_empty() {
                        wrong.push(format!("{} -> {}: refused without a word", recorded.file, target.name()));
                    }
                    continue;
                }
            };
            let told: Value = match serde_json::from_slice(&bytes) {
                Ok(told) => told,
                Err(error) => {
                    wrong.push(format!("{} -> {}: no JSON: {error}", recorded.file, target.name()));
                    continue;
                }
            };
            match difference(&normal(asked::read(target, &told)), &expected(target, &said)) {
                None => tally.equal += 1,
                Some(_) if losses.strictly().is_err() => tally.lossy += 1,
                Some(what) => wrong.push(format!("{} -> {}: {what}", recorded.file, target.name())),
            }
        }
    }
    (table, wrong)
}

/// Paragraphs of instructions are joined in one dialect and apart in another.
fn normal(mut asked: Asked) -> Asked {
    asked.system.retain(|c| !c.is_whitespace());
    asked
}

#[test]
fn every_recorded_request_asks_the_same_in_every_dialect() {
    let (table, wrong) = tallied();
    for ((from, into), tally) in &table {
        println!("{} -> {}: {tally:?}", from.name(), into.name());
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(60)].join("\n"));
}

/// The list of turns of a request.
fn turns(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Chat | Dialect::Anthropic => "messages",
        Dialect::Responses => "input",
        Dialect::Gemini => "contents",
    }
}

/// Equal beginnings stay equal, so that the caches of upstreams hit: a request with more turns begins, byte by byte,
/// like the one with fewer.
#[test]
fn a_growing_conversation_keeps_its_beginning() {
    let mut compared = 0;
    for recorded in
        requests().iter().filter(|recorded| list(&recorded.request, turns(recorded.dialect)).len() > 1)
    {
        let key = turns(recorded.dialect);
        let all = list(&recorded.request, key).to_vec();
        for target in Dialect::ALL.into_iter().filter(|target| *target != recorded.dialect) {
            let written = |count: usize| {
                let mut body = recorded.request.clone();
                body[key] = Value::Array(all[..count].to_vec());
                let (bytes, _) = bridge::request(recorded.dialect, target, &body.to_string(), false).ok()?;
                // Google's placeholder marks the step at hand, which moves on with the user's next word.
                let text = String::from_utf8(bytes).expect("JSON is UTF-8");
                Some(text.replace(r#","thoughtSignature":"skip_thought_signature_validator""#, ""))
            };
            let mut before: Option<String> = None;
            for count in (1..=all.len().min(30)).filter(|count| is_whole(recorded.dialect, &all, *count)) {
                let Some(now) = written(count) else { continue };
                if let Some(before) = &before {
                    let beginning = before.trim_end_matches([']', '}']);
                    assert!(
                        now.starts_with(beginning),
                        "{} -> {}, {count} turns:\n{beginning}\n{now}",
                        recorded.file,
                        target.name()
                    );
                    compared += 1;
                }
                before = Some(now);
            }
        }
    }
    println!("{compared} pairs");
}

/// Whether a conversation may stop here: not behind instructions alone, nor in the middle of what one side says.
fn is_whole(dialect: Dialect, all: &[Value], count: usize) -> bool {
    let role = |value: &Value| value["role"].as_str().unwrap_or("model").to_owned();
    let side = |value: &Value| match (value["type"].as_str().unwrap_or("message"), role(value).as_str()) {
        ("message", "assistant" | "model") | ("function_call" | "custom_tool_call" | "reasoning", _) => {
            "model"
        }
        ("message", "system" | "developer") => "instructions",
        (_, _) => "user",
    };
    let last = side(&all[count - 1]);
    let inside = dialect != Dialect::Anthropic && all.get(count).is_some_and(|next| side(next) == last);
    last != "instructions" && !inside
}
