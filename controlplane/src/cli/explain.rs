//! `explain`: which way a request would go, or went.
//!
//! Owns: reading the request and printing the answer. The answer is the data plane's, or with `--config` that
//! of `offline.rs`. Must not: send the request.
//! Read next: `traced.rs`, requests that were served.

use std::io::Read as _;
use std::path::Path;

use ringway_contract::explain::{Candidate, Cost, Explanation, Question, Residence};
use serde_json::{Value, json};

use super::args::{Explained, Output};
use super::{Context, Failure, file, offline, output, traced};
use crate::bounds::running::ANSWER_BYTES_MAX;
use crate::config;

pub(super) async fn explain(
    context: &Context,
    which: &Explained,
    config: Option<&Path>,
    output: Output,
) -> Result<(), Failure> {
    if let Some(id) = &which.request {
        return traced::request(context, id, output).await;
    }
    if let Some(count) = which.last {
        return traced::last(context, count, output).await;
    }
    let request = which.file.as_deref().expect("one of the three is given: `clap` sees to it");
    unsent(context, request, config, output).await
}

async fn unsent(
    context: &Context,
    request: &Path,
    config: Option<&Path>,
    output: Output,
) -> Result<(), Failure> {
    let question = read(request)?;
    let explanation = match config {
        None => context.dataplane().explain(&question).await?,
        Some(path) => {
            let checked = file::check(path)?;
            let snapshot = config::snapshot(&checked.config, &|_, _| Vec::new());
            offline::explain(&snapshot, &question)
        }
    };
    output::show(output, &explanation, || draw(&explanation))
}

fn read(path: &Path) -> Result<Question, Failure> {
    let failed =
        |why: &dyn std::fmt::Display| Failure::Usage(format!("cannot read {}: {why}", path.display()));
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(ANSWER_BYTES_MAX as u64).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(ANSWER_BYTES_MAX as u64).read_to_string(&mut text))
    };
    read.map_err(|why| failed(&why))?;
    let mut value: Value = serde_json::from_str(&text).map_err(|why| failed(&why))?;
    if let Some(path) = path_of_body(&value) {
        eprintln!(
            "taken for the body of POST {path}; for another request write {{\"path\": …, \"body\": …}}"
        );
        value = json!({"path": path, "body": value});
    }
    let question: Question = serde_json::from_value(value).map_err(|why| {
        let mend =
            "a request looks like {\"path\": \"/v1/chat/completions\", \"body\": {\"model\": \"demo\"}}";
        failed(&format!("{why}; {mend}"))
    })?;
    if question.path.starts_with('/') {
        return Ok(question);
    }
    Err(failed(&format!("its path `{}` does not begin with a slash", question.path)))
}

/// Where a call with this body goes, if it is one and no description of a request: by the field that holds the prompt.
fn path_of_body(value: &Value) -> Option<&'static str> {
    let has = |field: &str| value.get(field).is_some();
    if !has("model") || has("path") || has("body") {
        return None;
    }
    let prompts =
        [("messages", "/v1/chat/completions"), ("input", "/v1/responses"), ("prompt", "/v1/completions")];
    prompts.into_iter().find(|(field, _)| has(field)).map(|(_, path)| path)
}

fn draw(explanation: &Explanation) -> String {
    let mut out = match (&explanation.route, &explanation.refusal) {
        (Some(route), None) => format!("goes by route {route} (generation {})\n", explanation.generation),
        (Some(route), Some(refusal)) => format!("matches route {route} but is refused: {refusal}\n"),
        (None, Some(refusal)) => format!("is refused: {refusal}\n"),
        (None, None) => "is answered by ringway itself\n".to_owned(),
    };
    if !explanation.routes.is_empty() {
        out.push('\n');
        out += &output::table(
            &["route", "matches", "why not"],
            explanation.routes.iter().map(|verdict| {
                let matched = if verdict.matched { "yes" } else { "no" };
                vec![verdict.route.clone(), matched.to_owned(), verdict.why.clone().unwrap_or_default()]
            }),
        );
    }
    if !explanation.targets.is_empty() {
        out.push('\n');
        out += &output::table(
            &["target", "chance", "model there"],
            explanation.targets.iter().map(|target| {
                let model = target.model.clone().unwrap_or_else(|| "as asked".to_owned());
                vec![target.backend.clone(), format!("{:.1}%", target.chance * 100.0), model]
            }),
        );
    }
    if !explanation.endpoints.is_empty() {
        out.push('\n');
        out += &candidates(&explanation.endpoints);
    }
    out
}

/// Endpoints in a table, and what their scores are made of where they are costs.
pub(super) fn candidates(endpoints: &[Candidate]) -> String {
    let header = ["endpoint", "eligible", "in flight", "score", "why"];
    let mut out = output::table(&header, endpoints.iter().map(candidate_row));
    let costs: Vec<_> = endpoints.iter().filter_map(|it| Some((it, it.cost.as_ref()?))).collect();
    if !costs.is_empty() {
        out.push('\n');
        // What few requests have takes room only where one has it.
        let adapter = costs.iter().any(|(_, cost)| cost.adapter.is_some());
        let session = costs.iter().any(|(_, cost)| cost.session_s > 0.0);
        let has = |name| (adapter || name != "adapter") && (session || name != "session");
        let columns = COSTS.iter().filter(|(name, _)| has(*name));
        let header: Vec<&str> =
            ["endpoint"].into_iter().chain(columns.clone().map(|(name, _)| *name)).collect();
        let row = |(candidate, cost): &(&Candidate, &Cost)| {
            let name = format!("{}/{}", candidate.backend, candidate.endpoint);
            [name].into_iter().chain(columns.clone().map(|(_, cell)| cell(candidate, cost))).collect()
        };
        out += &output::table(&header, costs.iter().map(row));
    }
    out
}

type Cell = fn(&Candidate, &Cost) -> String;

/// The parts of a cost, in seconds where they are that.
const COSTS: [(&str, Cell); 11] = [
    ("cost", |it, _| seconds(it.score)),
    ("queue", |_, cost| seconds(cost.queue_s)),
    ("miss", |_, cost| seconds(cost.miss_s)),
    ("in flight", |_, cost| seconds(cost.in_flight_s)),
    ("kv", |_, cost| seconds(cost.kv_s)),
    ("adapter", |_, cost| cost.adapter.map_or("-".to_owned(), |it| adapter(it, cost.adapter_s))),
    ("session", |_, cost| if cost.session_s > 0.0 { seconds(-cost.session_s) } else { "-".to_owned() }),
    ("slowness", |_, cost| format!("{:.1}", cost.slowness)),
    ("miss tokens", |_, cost| format!("{} of {}", cost.miss_tokens, cost.prompt_tokens)),
    ("kv use", |_, cost| format!("{:.0}%", cost.kv * 100.0)),
    ("report", |_, cost| if cost.reported { "fresh" } else { "none" }.to_owned()),
];

fn seconds(s: f64) -> String {
    format!("{s:.3}")
}

fn adapter(residence: Residence, s: f64) -> String {
    match residence {
        Residence::Here => "in memory".to_owned(),
        Residence::Room => format!("{s:.3} (a free slot)"),
        Residence::Full => format!("{s:.3} (slots full)"),
    }
}

fn candidate_row(candidate: &Candidate) -> Vec<String> {
    vec![
        format!("{}/{}", candidate.backend, candidate.endpoint),
        if candidate.eligible { "yes" } else { "no" }.to_owned(),
        candidate.in_flight.to_string(),
        format!("{:.3}", candidate.score),
        candidate.why.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn candidate(adapter: Option<&str>, adapter_s: f64, session_s: f64) -> Candidate {
        let mut candidate = json!({
            "backend": "llama", "endpoint": "a:1", "eligible": true, "why": "it is", "in_flight": 1, "score": 0.5,
            "cost": {
                "queue_s": 0.1, "miss_s": 0.1, "in_flight_s": 0.0, "kv_s": 0.0, "adapter_s": adapter_s,
                "suspect_s": 0.0, "session_s": session_s, "slowness": 1.0, "prompt_tokens": 9, "miss_tokens": 9,
                "uncached_tokens": 0, "kv": 0.5, "reported": true,
            },
        });
        if let Some(adapter) = adapter {
            candidate["cost"]["adapter"] = json!(adapter);
        }
        serde_json::from_value(candidate).expect("a candidate")
    }

    #[test]
    fn adapter_and_session_have_a_column_where_somebody_has_one() {
        let neither = candidates(&[candidate(None, 0.0, 0.0)]).to_ascii_lowercase();
        assert!(!neither.contains("adapter") && !neither.contains("session"), "{neither}");
        let both = candidates(&[candidate(Some("full"), 0.3, 0.0), candidate(Some("here"), 0.0, 0.2)]);
        for said in ["0.300 (slots full)", "in memory", "-0.200"] {
            assert!(both.contains(said), "{both}");
        }
    }
}
