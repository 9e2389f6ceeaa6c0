//! `explain --request` and `explain --last`: which way requests went that were served.
//!
//! Owns: how a trace is drawn. Must not: draw an endpoint by itself; `explain.rs` does, for both.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use ringway_contract::trace::{Attempt, Choice, End, Queue, Step, Trace, Why};

use super::args::Output;
use super::{Context, Failure, explain, output};
use crate::client::Traced;
use crate::log::rfc3339;

const NONE: &str = "nothing is traced. A route draws requests (`trace: {sample: 1%}`), or their callers ask \
                    for it (`x-ringway-trace: 1`, on a route with `expose: true`)\n";

/// The last traced requests, a line each; all of them in the other formats.
pub(super) async fn last(context: &Context, count: u32, output: Output) -> Result<(), Failure> {
    let traces = context.dataplane().traces(Traced::Last(count)).await?.traces;
    output::show(output, &traces, || if traces.is_empty() { NONE.to_owned() } else { lines(&traces) })
}

/// One request in full; several if its caller used an id again.
pub(super) async fn request(context: &Context, id: &str, output: Output) -> Result<(), Failure> {
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@+-".contains(&byte);
    if id.is_empty() || !id.bytes().all(sane) {
        return Err(Failure::Usage(format!("{id:?} is no request id: letters, digits and `._:/@+-`")));
    }
    let traces = context.dataplane().traces(Traced::Request(id)).await?.traces;
    if traces.is_empty() {
        let mend = "was it traced, and is it among the last ones? see `ringctl explain --last 20`";
        return Err(Failure::Failed(format!("there is no trace of the request {id}; {mend}")));
    }
    output::show(output, &traces, || traces.iter().map(draw).collect::<Vec<_>>().join("\n"))
}

fn lines(traces: &[Trace]) -> String {
    let header =
        ["time", "request", "route", "endpoint", "attempts", "queued", "first byte", "total", "outcome"];
    output::table(&header, traces.iter().map(line))
}

fn line(trace: &Trace) -> Vec<String> {
    let End { attempts, queued_ms, first_byte_ms, total_ms, .. } = trace.end;
    let span = |ms: Option<f64>| ms.map_or("-".to_owned(), millis);
    let tried = trace.steps.iter().rev().find_map(|step| match step {
        Step::Attempt(attempt) => Some(attempt.endpoint.clone()),
        Step::Choice(_) | Step::Queue(_) => None,
    });
    vec![
        time(trace.unix_ms),
        trace.request_id.clone(),
        trace.route.clone(),
        tried.unwrap_or_else(|| "-".to_owned()),
        attempts.to_string(),
        span(queued_ms),
        span(first_byte_ms),
        millis(total_ms),
        outcome(&trace.end),
    ]
}

fn draw(trace: &Trace) -> String {
    let why = match trace.why {
        Why::Asked => "its caller asked for a trace",
        Why::Sampled => "drawn for the route's sample",
    };
    let asked = trace.model.as_ref().map_or(String::new(), |model| format!(", model {model}"));
    let span = |ms: Option<f64>| ms.map_or("-".to_owned(), millis);
    let End { queued_ms, first_byte_ms, first_token_ms, own_ms, total_ms, .. } = trace.end;
    let mut out = output::facts(&[
        ("request", trace.request_id.clone()),
        ("time", format!("{} ({why})", time(trace.unix_ms))),
        ("asked", format!("{} {}{asked}", trace.method, trace.path)),
        ("route", format!("{} (generation {}, worker {})", trace.route, trace.generation, trace.worker)),
        ("outcome", outcome(&trace.end)),
        ("attempts", trace.end.attempts.to_string()),
        ("queued", span(queued_ms)),
        ("first byte", format!("{}, of it the gateway {}", span(first_byte_ms), span(own_ms))),
        ("first token", span(first_token_ms)),
        ("total", millis(total_ms)),
    ]);
    for (number, step) in trace.steps.iter().enumerate() {
        let _ = write!(out, "\n{}. ", number + 1); // a String takes all
        out += &match step {
            Step::Queue(queue) => waited(queue),
            Step::Choice(choice) => chosen(choice),
            Step::Attempt(attempt) => attempted(attempt),
        };
    }
    if trace.steps_left_out > 0 {
        let _ = writeln!(out, "\nand {} more steps", trace.steps_left_out);
    }
    out
}

fn waited(queue: &Queue) -> String {
    let ended = match &queue.refused {
        None => "then it was let go".to_owned(),
        Some(reason) => format!("then it was not let go: {reason}"),
    };
    format!(
        "at {}: waited {} in the queue of {}, {ended}\n",
        millis(queue.at_ms),
        millis(queue.waited_ms),
        queue.backend
    )
}

fn chosen(choice: &Choice) -> String {
    let among = match choice.stage {
        0 => "among the targets".to_owned(),
        number => format!("of fallback {number}"),
    };
    let what = choice
        .chosen
        .as_ref()
        .map_or_else(|| "nobody could be chosen".to_owned(), |it| format!("chose {it}"));
    let mut out = format!("at {}: {what} {among}\n\n", millis(choice.at_ms));
    out += &explain::candidates(&choice.endpoints);
    if choice.left_out > 0 {
        let _ = writeln!(out, "and {} more endpoints", choice.left_out);
    }
    out
}

fn attempted(attempt: &Attempt) -> String {
    let connection = if attempt.reused { "a kept connection" } else { "a new connection" };
    let ended = match (&attempt.status, &attempt.failed) {
        (Some(status), _) => format!("answered {status}"),
        (None, Some(reason)) => format!("failed: {reason}"),
        (None, None) => "was given up".to_owned(),
    };
    let Attempt { at_ms, took_ms, endpoint, .. } = attempt;
    format!(
        "at {}: tried {endpoint} over {connection}; it {ended} after {}\n",
        millis(*at_ms),
        millis(*took_ms)
    )
}

fn outcome(end: &End) -> String {
    let status = if end.status == 0 { String::new() } else { format!("{} ", end.status) };
    let reason = end.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    format!("{status}{}{reason}", end.outcome)
}

fn time(unix_ms: u64) -> String {
    rfc3339(UNIX_EPOCH + Duration::from_millis(unix_ms))
}

fn millis(ms: f64) -> String {
    match ms {
        small if small < 10.0 => format!("{small:.2} ms"),
        middle if middle < 1_000.0 => format!("{middle:.0} ms"),
        large => format!("{:.2} s", large / 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use ringway_contract::Generation;
    use ringway_contract::explain::Candidate;

    use super::*;

    fn trace() -> Trace {
        let candidate = |endpoint: &str, why: &str| Candidate {
            backend: "llama".to_owned(),
            endpoint: endpoint.to_owned(),
            eligible: true,
            why: why.to_owned(),
            in_flight: 1,
            score: 0.25,
            cost: None,
        };
        let choice = Choice {
            at_ms: 120.5,
            stage: 0,
            chosen: Some("llama/a:1".to_owned()),
            endpoints: vec![candidate("a:1", "chosen: its turn"), candidate("b:1", "it was another's turn")],
            left_out: 2,
        };
        let attempt = |status: Option<u16>, failed: Option<&str>| {
            Step::Attempt(Attempt {
                at_ms: 121.0,
                endpoint: "llama/a:1".to_owned(),
                took_ms: 1_250.0,
                reused: status.is_some(),
                status,
                failed: failed.map(str::to_owned),
            })
        };
        let queue = Queue { at_ms: 0.5, backend: "llama".to_owned(), waited_ms: 120.0, refused: None };
        Trace {
            request_id: "r-1".to_owned(),
            unix_ms: 0,
            why: Why::Asked,
            generation: Generation::new(3),
            worker: 1,
            route: "chat".to_owned(),
            method: "POST".to_owned(),
            path: "/v1/chat/completions".to_owned(),
            model: Some("m".to_owned()),
            steps: vec![
                Step::Queue(queue),
                Step::Choice(choice),
                attempt(None, Some("up_closed_early")),
                attempt(Some(200), None),
            ],
            steps_left_out: 0,
            end: End {
                status: 200,
                outcome: "complete".to_owned(),
                attempts: 2,
                queued_ms: Some(120.0),
                first_byte_ms: Some(1_400.0),
                own_ms: Some(0.08),
                total_ms: 2_000.0,
                ..End::default()
            },
        }
    }

    #[test]
    fn a_trace_is_told_step_by_step() {
        let text = draw(&trace());
        for said in [
            "time         1970-01-01T00:00:00",
            "asked        POST /v1/chat/completions, model m",
            "first byte   1.40 s, of it the gateway 0.08 ms",
            "1. at 0.50 ms: waited 120 ms in the queue of llama, then it was let go",
            "2. at 120 ms: chose llama/a:1 among the targets",
            "llama/b:1  yes       1          0.250  it was another's turn",
            "and 2 more endpoints",
            "3. at 121 ms: tried llama/a:1 over a new connection; it failed: up_closed_early after 1.25 s",
            "4. at 121 ms: tried llama/a:1 over a kept connection; it answered 200 after 1.25 s",
        ] {
            assert!(text.contains(said), "{said}\n---\n{text}");
        }
    }

    #[test]
    fn the_last_ones_are_a_line_each() {
        let text = lines(&[trace(), trace()]);
        assert_eq!(text.lines().count(), 3, "{text}");
        let line = text.lines().nth(1).unwrap_or_default();
        assert!(
            line.ends_with("r-1      chat   llama/a:1  2         120 ms  1.40 s      2.00 s  200 complete"),
            "{text}"
        );
    }
}
