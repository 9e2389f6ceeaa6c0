//! The binary as a user meets it: verbs, signals, exit codes, and what is printed where.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

fn ringload(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringload"));
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(args: &[&str]) -> Output {
    ringload(args).output().expect("the binary runs")
}

fn interrupt(child: &Child) {
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a process id");
    kill_process(pid, Signal::INT).expect("it runs");
}

/// A simulated fleet in a process of its own, and the URLs it printed.
struct Sim {
    child: Child,
    urls: Vec<String>,
}

impl Sim {
    fn start(replicas: usize) -> Self {
        let count = replicas.to_string();
        let args = ["sim", "--listen", "127.0.0.1:0", "--replicas", &count, "--time-scale", "10"];
        let mut child = ringload(&args).spawn().expect("the binary runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines().take(replicas);
        let urls =
            lines.map(|line| line.expect("a line").rsplit(' ').next().expect("a URL").to_owned()).collect();
        Self { child, urls }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_run_against_a_sim_ends_with_zero_and_writes_the_same_json_to_stdout_and_file() {
    let sim = Sim::start(2);
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("deep/er");
    let (out, log) = (out.to_str().expect("UTF-8"), folder.path().join("each.jsonl"));
    let done = output(&[
        "run",
        "--url",
        &sim.urls[1],
        "--concurrency",
        "4",
        "--requests",
        "40",
        "--json",
        "--out",
        out,
        "--log",
        log.to_str().expect("UTF-8"),
    ]);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let lines = std::fs::read_to_string(&log).expect("written");
    let each: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!(each.len(), 40);
    assert!(each.iter().all(|it| it["outcome"] == "valid" && it["tokens"] == 32), "{lines}");
    let written = std::fs::read(format!("{out}/summary.json")).expect("written");
    assert_eq!(written, done.stdout);
    let summary: serde_json::Value = serde_json::from_slice(&written).expect("JSON");
    assert_eq!((&summary["valid"], &summary["output_tokens"]), (&40.into(), &(40 * 32).into()));
    assert_eq!(summary["faults"], serde_json::json!([]));
}

#[test]
fn a_replay_is_reported_with_plots_and_compared_with_another() {
    let sim = Sim::start(1);
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let mut rows = "TIMESTAMP,ContextTokens,GeneratedTokens".to_owned();
    for row in 0..40 {
        write!(rows, "\r\n2023-11-16 18:17:{:02}.{row:02}00000,{},4", row / 20, 100 + row)
            .expect("in memory");
    }
    std::fs::write(path("azure.csv"), rows).expect("written");
    for (out, rows) in [("a", "40"), ("b", "20")] {
        let trace = path("azure.csv");
        let line =
            ["replay", &trace, "--url", &sim.urls[0], "--scale", "2", "--time-scale", "2", "--rows", rows];
        let done = output(&[&line[..], &["--out", &path(out)]].concat());
        let table = String::from_utf8_lossy(&done.stdout);
        assert_eq!(done.status.code(), Some(0), "{table}");
        assert!(table.contains("goodput     100.0 % of all") && table.contains("ttft 1000 ms"), "{table}");
        let html = std::fs::read_to_string(path(&format!("{out}/report.html"))).expect("written");
        assert!(html.contains("<svg ") && html.ends_with("</html>\n"));
    }
    let done = output(&["compare", &path("a/summary.json"), &path("b/summary.json")]);
    let table = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{table}");
    assert!(table.contains("ttft p99 ms") && table.contains("no clear difference"), "{table}");
}

#[test]
fn a_scenario_file_runs_and_its_target_can_be_replaced() {
    let sim = Sim::start(1);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("plan.yaml");
    let plan = "target: http://127.0.0.1:1\nload: {concurrency: 2}\nrequests: 10\noutput: 3\n";
    std::fs::write(&file, plan).expect("written");
    let file = file.to_str().expect("UTF-8");
    assert_eq!(output(&["run", file]).status.code(), Some(1), "nobody listens there");
    let done = output(&["run", file, "--url", &sim.urls[0], "--json"]);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!((&summary["valid"], &summary["output_tokens"]), (&10.into(), &30.into()));
}

#[test]
fn an_interrupted_run_keeps_what_was_measured() {
    let sim = Sim::start(1);
    let run = ringload(&["run", "--url", &sim.urls[0], "--concurrency", "4", "--duration", "10m"]);
    let child = { run }.spawn().expect("the binary runs");
    std::thread::sleep(Duration::from_millis(1_500));
    interrupt(&child);
    let done = child.wait_with_output().expect("it ends");
    let table = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{table}");
    assert!(table.contains("Cut short;") && table.contains("first token"), "{table}");
}

#[test]
fn a_sim_ends_cleanly_on_a_signal() {
    let mut sim = Sim::start(3);
    assert_eq!(sim.urls.len(), 3);
    interrupt(&sim.child);
    assert_eq!(sim.child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn exit_codes_tell_wrong_answers_from_wrong_usage() {
    let sim = Sim::start(1);
    let url = sim.urls[0].as_str();
    let cases: [(&[&str], i32, &str); 8] = [
        (
            &["run", "--url", url, "--requests", "3", "--rate", "100", "--model", "other"],
            1,
            "failed: 3 x status",
        ),
        (&["run", "--url", "http://127.0.0.1:1", "--requests", "1"], 1, "connection refused"),
        (&["run", "no-such-plan.yaml"], 2, "cannot read no-such-plan.yaml"),
        (&["run", "--url", "https://127.0.0.1"], 2, "https is not supported yet"),
        (&["run", "--no-such-flag"], 2, "--no-such-flag"),
        (&["replay", "no-such-trace", "--url", url], 2, "cannot read no-such-trace"),
        (&["sim", "--fault", "stal"], 2, "there are stall, crash"),
        (&["sim", "--replicas", "0"], 2, "replicas"),
    ];
    for (args, code, says) in cases {
        let done = output(args);
        let text =
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(says), "{args:?}: {text}");
    }
}

#[test]
fn every_verb_has_help_with_an_example() {
    for verb in [
        &["--help"][..],
        &["run", "--help"],
        &["sim", "--help"],
        &["replay", "--help"],
        &["compare", "--help"],
        &["bench-proxy", "--help"],
    ] {
        let done = output(verb);
        let text = String::from_utf8_lossy(&done.stdout);
        assert_eq!(done.status.code(), Some(0));
        assert!(text.contains("Example") && text.contains("ringload "), "{verb:?}: {text}");
    }
}
