//! Workloads against simulated servers: what is sent, what is measured, and what is written of it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    sync::Arc,
    time::Duration,
};

use ringway_gpusim::{Fleet, FleetSpec, Plan, Preset, Unit};
use ringway_loadtest::{
    Scenario, Summary,
    compare::{Run, Verdict, compare},
    ended::{Ended, Outcome},
    oracle::Fault,
    prompts::Prompts,
    run,
    scenario::Slo,
    trace::{Replay, Trace},
};

fn fleet(unit: Unit, time_scale: f64) -> Fleet {
    let plan = Plan { units: vec![unit], ..FleetSpec { time_scale, ..FleetSpec::default() }.into() };
    Fleet::start(plan).expect("loopback can be bound")
}

fn h100() -> Unit {
    Unit::new(Preset::H100)
}

fn scenario(fleet: &Fleet, yaml: &str) -> Scenario {
    let url = format!("http://{}", fleet.addresses()[0]);
    let text = format!("target: {url}\n{yaml}");
    Scenario::from_yaml(&text, None, Path::new(".")).unwrap_or_else(|error| panic!("{error}: {yaml}"))
}

fn measured(fleet: &Fleet, yaml: &str) -> Summary {
    let summary = run(&scenario(fleet, yaml), &mut ()).expect("a run");
    assert!(summary.is_good(), "{}", summary.table());
    summary
}

#[test]
fn conversations_send_back_what_was_said_and_find_it_in_the_cache() {
    let fleet = fleet(h100(), 50.0);
    for load in ["{concurrency: 4}", "{rate: 200}"] {
        let yaml = format!(
            "load: {load}\nrequests: 60\nseed: {}\noutput: {{uniform: {{min: 10, max: 60}}}}\nprompts:\n  \
             conversations: {{turns: 5, first: 300, next: 40, think_ms: 5}}",
            load.len()
        );
        let summary = measured(&fleet, &yaml);
        assert_eq!(summary.valid, 60);
        // First turns find nothing; the others all but what is new and the end of the last block.
        let share = summary.cached_tokens as f64 / summary.prompt_tokens as f64;
        assert!((0.4..0.95).contains(&share), "{load}: {share}");
    }
}

#[test]
fn shared_prefixes_are_found_from_the_second_request_on() {
    let fleet = fleet(h100(), 50.0);
    let yaml = "load: {concurrency: 1}\nrequests: 40\noutput: 4\nprompts:\n  shared: {prefixes: 2, prefix_tokens: 1600, own: 100}";
    let summary = measured(&fleet, yaml);
    assert_eq!(summary.prompt_tokens, 40 * 1_700);
    assert_eq!(summary.cached_tokens, 38 * 1_600);
}

#[test]
fn lengths_are_drawn_per_request_and_judged_per_request() {
    let fleet = fleet(h100(), 50.0);
    let yaml = "load: {concurrency: 8}\nrequests: 100\nexpect: sim\nprompts: {unique: {tokens: {uniform: {min: 1, max: 900}}}}\n\
                output: {log_normal: {median: 10, sigma: 1, max: 80}}";
    let summary = measured(&fleet, yaml);
    assert!((30_000..60_000).contains(&summary.prompt_tokens), "{}", summary.prompt_tokens);
    assert_eq!(summary.cached_tokens, 0);
}

#[test]
fn goodput_counts_what_keeps_the_objective_among_all() {
    let fleet = fleet(Unit { slow: 3.0, ..h100() }, 1.0);
    let yaml = "load: {concurrency: 1}\nrequests: 8\noutput: 3\nprompts: {unique: {tokens: 16}}\n";
    // A step takes 21 ms here.
    let within = |slo: &str| measured(&fleet, &format!("{yaml}slo: {slo}")).good;
    assert_eq!(within("{ttft: 5s, tpot: 5s, e2el: 9s}"), 8);
    assert_eq!(within("{ttft: 20ms}"), 0);
    assert_eq!(within("{ttft: 5s, tpot: 15ms}"), 0);
    assert_eq!(within("{e2el: 60ms}"), 0);
    let mut none = scenario(&fleet, yaml);
    assert_eq!(none.slo, Slo::default());
    none.requests = Some(2);
    let summary = run(&none, &mut ()).expect("a run");
    assert!(summary.slo.is_none() && summary.good == 2 && !summary.table().contains("goodput"));
}

#[test]
fn bursts_arrive_together() {
    let fleet = fleet(h100(), 20.0);
    let yaml = "load: {rate: 500, arrival: {bursts: 25}}\nrequests: 100\noutput: 2";
    let summary = measured(&fleet, yaml);
    assert_eq!(summary.lateness_ms.count, 100);
    assert!(summary.connects >= 20, "{} connections for bursts of 25", summary.connects);
}

const ROWS: [(u64, u32, u32, &str); 5] = [
    (0, 1_100, 3, "0, 1, 2"),
    (100, 1_536, 5, "0, 1, 3"),
    (200, 600, 1, "0, 9"),
    (250, 520, 40, "7, 8"),
    (300, 1_536, 2, "0, 1, 3"),
];

fn trace() -> String {
    let row = |(at, prompt, output, ids): (u64, u32, u32, &str)| {
        format!(
            r#"{{"timestamp": {at}, "input_length": {prompt}, "output_length": {output}, "hash_ids": [{ids}]}}"#
        )
    };
    ROWS.map(row).join("\n")
}

#[test]
fn a_replayed_trace_keeps_its_times_lengths_and_prefixes() {
    let fleet = fleet(h100(), 10.0);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("t.jsonl"), trace()).expect("written");
    let text =
        format!("target: http://{}\nprompts: {{trace: {{file: t.jsonl, scale: 1}}}}", fleet.addresses()[0]);
    let scenario = Scenario::from_yaml(&text, None, folder.path()).expect("a scenario");
    let summary = run(&scenario, &mut ()).expect("a run");
    assert!(summary.is_good(), "{}", summary.table());
    assert_eq!(summary.valid, 5);
    assert_eq!(summary.prompt_tokens, ROWS.iter().map(|row| u64::from(row.1)).sum::<u64>());
    assert_eq!(summary.output_tokens, ROWS.iter().map(|row| u64::from(row.2)).sum::<u64>());
    assert_eq!(summary.cached_tokens, 1_024 + 512 + 1_520);
    assert!(summary.elapsed_s >= 0.3);
    let at = &summary.samples.at_ms;
    assert!(ROWS.iter().all(|row| at.iter().any(|at| (at - row.0 as f64).abs() < 0.01)), "{at:?}");
}

#[test]
fn the_report_has_its_plots_and_the_run_can_be_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let of = |slow: f64| {
        let fleet = fleet(Unit { slow, ..h100() }, 10.0);
        let yaml = "load: {concurrency: 4}\nrequests: 200\noutput: 8\nslo: {ttft: 1s}";
        let summary = measured(&fleet, yaml);
        let html = summary.html();
        for title in ["Distribution of latencies", "Requests over time", "First token over time", "goodput"] {
            assert!(html.contains(title), "{title}");
        }
        assert!(html.matches("<svg ").count() >= 3 && !html.contains("http-equiv") && !html.contains("src="));
        let file = folder.path().join(format!("{slow}.json"));
        std::fs::write(&file, serde_json::to_vec(&summary).expect("plain")).expect("written");
        Run::read(&file).expect("a run")
    };
    let comparison = compare(&of(1.0), &of(4.0), 1);
    let verdict = |name: &str| comparison.rows.iter().find(|row| row.name == name).expect("measured").verdict;
    assert_eq!(verdict("per token p50 ms"), Verdict::Worse);
    assert_eq!(verdict("good %"), Verdict::Unclear);
}

#[test]
fn every_example_is_a_scenario() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let beside = tempfile::tempdir().expect("a folder");
    std::fs::write(beside.path().join("trace.jsonl"), trace()).expect("written");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("there are examples") {
        let file = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&file).expect("readable");
        let scenario = Scenario::from_yaml(&text, None, beside.path());
        assert!(scenario.is_ok(), "{}: {:?}", file.display(), scenario.err());
        count += 1;
    }
    assert!(count >= 6);
}

#[test]
fn a_trace_is_replayed_row_by_row_in_order_of_time() {
    let trace =
        Trace::parse(&trace()).expect("a trace").replayed(&Replay { scale: 2.0, ..Replay::default() });
    assert_eq!(trace.rows()[4].at, Duration::from_millis(150));
    assert!(Prompts::Trace(Arc::new(trace)).problem().is_none());
}

#[test]
fn a_caller_of_a_trace_leaves_when_its_row_says_so_and_the_server_stops_at_once() {
    let fleet = fleet(h100(), 1.0);
    let rows: String = (0..6)
        .map(|n| {
            let leaves = if n % 2 == 0 { r#", "leave_after": 400"# } else { "" };
            format!(
                r#"{{"timestamp": {}, "input_length": 100, "output_length": 100, "hash_ids": [{n}]{leaves}}}"#,
                n * 10
            ) + "\n"
        })
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("trace.jsonl"), rows).expect("written");
    let url = format!("target: http://{}\n", fleet.addresses()[0]);
    let yaml = url + "prompts: {trace: {file: trace.jsonl}}";
    let scenario = Scenario::from_yaml(&yaml, None, folder.path()).expect("a scenario");
    let mut each: Vec<Ended> = Vec::new();
    let summary = run(&scenario, &mut each).expect("a run");
    assert_eq!((summary.valid, summary.left, summary.failed, summary.invalid), (3, 3, 0, 0));
    assert!(summary.table().contains("3 callers"), "{}", summary.table());
    each.sort_by_key(|ended| ended.request);
    for ended in &each {
        let left = ended.request % 2 == 0;
        assert_eq!(ended.outcome, if left { Outcome::Left } else { Outcome::Valid }, "{ended:?}");
        assert!(ended.first_token.is_some() && ended.status == Some(200));
        let ms = ended.end.as_millis();
        assert!(
            if left { (400..480).contains(&ms) && ended.tokens < 60 } else { ended.tokens == 100 },
            "{ended:?}"
        );
    }
}

/// Refuses each connection's first request, and the second one too if `twice`.
fn refusing(twice: bool) -> Option<String> {
    let listener = TcpListener::bind("127.0.0.1:0").ok()?;
    let address = listener.local_addr().ok()?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
                for turn in 0.. {
                    let mut line = String::new();
                    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
                        line.clear();
                    }
                    let refusal = "HTTP/1.1 429 No\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
                    let yes = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    let answer = if turn == 0 || twice { refusal } else { yes };
                    if line.is_empty() || stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Some(format!("http://{address}/"))
}

#[test]
fn who_obeys_retry_after_comes_back_once_when_it_says() {
    for (twice, obeys, valid, end_ms) in
        [(false, true, 1, 1_000..1_300), (true, true, 0, 1_000..1_300), (false, false, 0, 0..300)]
    {
        let url = refusing(twice).expect("loopback");
        let yaml = format!(
            "target: {url}\nraw: {{}}\nload: {{concurrency: 1}}\nrequests: 1\nobey_retry_after: {obeys}"
        );
        let scenario = Scenario::from_yaml(&yaml, None, Path::new(".")).expect("a scenario");
        let mut each: Vec<Ended> = Vec::new();
        let summary = run(&scenario, &mut each).expect("a run");
        let came_back = u64::from(obeys);
        assert_eq!((summary.issued, summary.valid), (1, valid));
        assert_eq!((summary.came_back, summary.came_back_valid), (came_back, valid));
        let [ended] = &each[..] else { panic!("one request: {each:?}") };
        assert!(end_ms.contains(&ended.end.as_millis()), "{ended:?}");
        let outcome = if valid == 1 { Outcome::Valid } else { Outcome::Fault(Fault::Status) };
        assert_eq!((ended.outcome, ended.came_back.is_some()), (outcome, obeys));
    }
}

#[test]
fn a_caller_that_leaves_before_it_may_come_back_does_not_come_back() {
    let url = refusing(true).expect("loopback");
    let folder = tempfile::tempdir().expect("a folder");
    let row =
        r#"{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": [0], "leave_after": 500}"#;
    std::fs::write(folder.path().join("trace.jsonl"), row).expect("written");
    let yaml = format!("target: {url}\nobey_retry_after: true\nprompts: {{trace: {{file: trace.jsonl}}}}");
    let scenario = Scenario::from_yaml(&yaml, None, folder.path()).expect("a scenario");
    let mut each: Vec<Ended> = Vec::new();
    let summary = run(&scenario, &mut each).expect("a run");
    assert_eq!((summary.left, summary.came_back, summary.failed), (1, 0, 0), "{each:?}");
    assert_eq!(each[0].outcome, Outcome::Left);
}
