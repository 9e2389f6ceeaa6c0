//! Habits that keep themselves: what review forgets, a test remembers.
//!
//! Owns: crate edges, module docs, where `unsafe` may be, paths and hosts that must not be written down, bounds
//! without a user, series that the dashboard or the documentation does not know; and a list (no failure) of what grew long.
//! Must not: judge style that a person has to see.
//! Read next: ARCHITECTURE.md, which the edges come from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ringway_tests::programs::workspace;
use serde_json::Value;

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 600;

/// Who may use whom: everything of ours that is not listed is forbidden.
const EDGES: [(&str, &[&str]); 9] = [
    ("ringway-wire", &[]),
    ("ringway-dialect", &[]),
    ("ringway-contract", &[]),
    ("ringway-gpusim", &[]),
    ("ringway", &["ringway-wire", "ringway-dialect", "ringway-contract", "ringway-gpusim"]),
    ("ringctl", &["ringway-contract"]),
    ("ringload", &["ringway-gpusim"]),
    ("ringway-tests", &["ringway-contract"]),
    (
        "ringway-benches",
        &["ringway", "ringway-wire", "ringway-dialect", "ringway-contract", "ringway-gpusim", "ringload"],
    ),
];

/// The dialect crate may not lean on wire, nor the judge on the judged, through any path.
const NEVER: [(&str, &str); 4] = [
    ("ringload", "ringway-wire"),
    ("ringload", "ringway-dialect"),
    ("ringctl", "ringway-wire"),
    ("ringway-tests", "ringway-wire"),
];

fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(workspace())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    metadata["packages"].as_array().expect("a workspace has packages").clone()
}

/// Our crates that each crate depends on, tests included.
fn edges() -> BTreeMap<String, Vec<String>> {
    let packages = packages();
    let name = |value: &Value| value["name"].as_str().expect("everything has a name").to_owned();
    let ours: Vec<String> = packages.iter().map(name).collect();
    let of = |package: &Value| {
        let all = package["dependencies"].as_array().expect("a list, even if empty");
        all.iter().map(name).filter(|n| ours.contains(n)).collect()
    };
    packages.iter().map(|package| (name(package), of(package))).collect()
}

#[test]
fn crates_depend_only_on_what_the_design_allows() {
    let edges = edges();
    let mut broken = Vec::new();
    for (from, to) in &edges {
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| name == from) else {
            broken.push(format!("{from} is not in the list of crates; add it with what it may use"));
            continue;
        };
        let forbidden = to.iter().filter(|name| !allowed.contains(&name.as_str()));
        broken.extend(forbidden.map(|name| format!("{from} uses {name}")));
    }
    for (from, never) in NEVER {
        if reaches(&edges, from, never) {
            broken.push(format!("{from} reaches {never}"));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

fn reaches(edges: &BTreeMap<String, Vec<String>>, from: &str, to: &str) -> bool {
    edges.get(from).is_some_and(|next| next.iter().any(|name| name == to || reaches(edges, name, to)))
}

/// Every file of these kinds that git would see, with its text.
fn files(kinds: &[&str]) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    walk(workspace(), &mut all);
    let wanted = |path: &PathBuf| path.extension().is_some_and(|kind| kinds.iter().any(|k| *k == kind));
    let read = |path: PathBuf| fs::read_to_string(&path).ok().map(|text| (relative(&path), text));
    all.into_iter().filter(wanted).filter_map(read).collect()
}

fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let skipped = name.starts_with("target") || name == ".git" || name == "shared";
        if path.is_dir() && !skipped {
            walk(&path, into);
        } else if path.is_file() {
            into.push(path);
        }
    }
}

fn relative(path: &Path) -> PathBuf {
    path.strip_prefix(workspace()).unwrap_or(path).to_owned()
}

/// Rooms of the data plane that may read the clock or make chance: the clock itself, what waits on threads of its own,
/// and where a worker is made. Everywhere else time and chance are handed in, so that a bug found once is found again.
const TIMED_ROOMS: [&str; 5] = [
    "dataplane/src/clock.rs",
    "dataplane/src/plane.rs",
    "dataplane/src/worker.rs",
    "dataplane/src/control/",
    "dataplane/src/observe/",
];

#[test]
fn time_and_chance_are_handed_in() {
    let sources = ["Instant::now", "SystemTime::now", "Rng::new()", "fastrand::u", "rand::rng"];
    let mut broken = Vec::new();
    for (path, text) in files(&["rs"]) {
        let name = path.to_string_lossy();
        let pure = name.starts_with("dataplane/")
            && !TIMED_ROOMS.iter().any(|room| name.starts_with(room))
            && ["/tests/", "tests.rs", "/examples/", "testing.rs"].iter().all(|test| !name.contains(test));
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (at, line) in code.lines().enumerate().filter(|_| pure) {
            let told = line.trim_start().starts_with("//");
            if !told && sources.iter().any(|source| line.contains(source)) {
                broken.push(format!("{name}:{}: take `now` or a seeded generator instead", at + 1));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_module_says_what_it_is() {
    // An inner attribute may stand above: `#![forbid(unsafe_code)]` is the first line where it holds.
    let is_silent = |text: &str| {
        !text.lines().find(|line| !line.starts_with("#![")).is_some_and(|line| line.starts_with("//!"))
    };
    let silent: Vec<_> =
        files(&["rs"]).into_iter().filter(|(_, text)| is_silent(text)).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "these files do not open with a `//!` doc: {silent:#?}");
}

#[test]
fn unsafe_is_only_in_the_ring() {
    let mut found = Vec::new();
    for (path, text) in files(&["rs"]) {
        if path.starts_with("dataplane/src/ring")
            || path.ends_with("ring.rs") && path.starts_with("dataplane/src")
        {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let uses = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe trait"];
            if uses.iter().any(|word| code.contains(word)) && !code.contains('"') {
                found.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    // Built in pieces so that this file does not contain them.
    let banned = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["crates", ".io"],
        ["pypi", ".org"],
        ["docker", ".io"],
        ["npmjs", ".org"],
    ]
    .map(|parts| parts.concat());
    let mut found = Vec::new();
    for (path, text) in files(&["rs", "toml", "md", "py", "sh", "yaml", "yml", "json", "txt"]) {
        for (number, line) in text.lines().enumerate() {
            found.extend(
                banned
                    .iter()
                    .filter(|word| line.contains(word.as_str()))
                    .map(|word| format!("{}:{}: {word}", path.display(), number + 1)),
            );
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// A bound that nothing uses bounds nothing.
#[test]
fn every_bound_has_a_user() {
    let files = files(&["rs"]);
    let mut unused = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with("bounds.rs")) {
        let crate_folder = path
            .ancestors()
            .find(|folder| workspace().join(folder).join("Cargo.toml").is_file())
            .unwrap_or(Path::new(""));
        for name in text.lines().filter_map(constant) {
            let uses: usize = files
                .iter()
                .filter(|(other, _)| other.starts_with(crate_folder))
                .map(|(_, text)| words(text, name))
                .sum();
            if uses < 2 {
                unused.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(unused.is_empty(), "{unused:#?}");
}

fn constant(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("pub ").unwrap_or(line.trim_start());
    let rest = rest.strip_prefix("(crate) ").unwrap_or(rest).strip_prefix("const ")?;
    let name = rest.split(':').next()?.trim();
    (name != "_" && !name.contains(' ')).then_some(name)
}

fn words(text: &str, word: &str) -> usize {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word)
        .filter(|(at, _)| {
            let before = text[..*at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
        .count()
}

/// Listed, not failed: a long function or file may have its reason, and the reader should know where it is.
#[test]
fn long_functions_and_files_are_listed() {
    let mut functions = Vec::new();
    let mut long_files = Vec::new();
    for (path, text) in files(&["rs"]) {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            long_files.push((lines, path.display().to_string()));
        }
        functions.extend(
            long_functions(&text).into_iter().map(|(n, name)| (n, format!("{}: {name}", path.display()))),
        );
    }
    for (what, mut list) in [("functions", functions), ("files", long_files)] {
        list.sort_by(|a, b| b.cmp(a));
        println!("long {what}: {}", list.len());
        for (lines, name) in list {
            println!("  {lines:>5} {name}");
        }
    }
}

/// Functions by indentation: rustfmt closes each with a brace under its first letter.
fn long_functions(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        let head = body.strip_prefix("pub ").or(body.strip_prefix("pub(crate) ")).unwrap_or(body);
        let head =
            head.trim_start_matches("const ").trim_start_matches("async ").trim_start_matches("unsafe ");
        let Some(name) = head.strip_prefix("fn ") else { continue };
        let end = format!("{}}}", " ".repeat(indent));
        let length = lines[first..].iter().position(|line| *line == end).map_or(0, |n| n + 1);
        if length > FUNCTION_LINES_MAX {
            found.push((length, name.split(['(', '<']).next().unwrap_or(name).to_owned()));
        }
    }
    found
}

/// Names of series in a text: whole words that begin like ours.
fn series(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("ringway_") || word.starts_with("gen_ai_")).collect()
}

/// The series that the data plane exposes: literals of its code that are nothing but a name.
fn exposed() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (path, text) in files(&["rs"]) {
        if !path.starts_with("dataplane/src") || path.ends_with("tests.rs") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for literal in code.split('"').skip(1).step_by(2) {
            let name = series(literal).into_iter().next().filter(|name| *name == literal);
            all.extend(name.map(str::to_owned));
        }
    }
    all.retain(|name| name != "gen_ai_token_type"); // a label
    all
}

/// A histogram is asked for by its parts.
fn family<'n>(name: &'n str, exposed: &BTreeSet<String>) -> &'n str {
    let stem = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
    stem.filter(|stem| exposed.contains(*stem)).unwrap_or(name)
}

/// Every `expr` of a panel, by its title.
fn dashboard() -> Vec<(String, String)> {
    let text =
        fs::read_to_string(workspace().join("deploy/grafana/ringway.json")).expect("there is a dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |panel: &Value| {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default(); // a row has none
        targets.iter().map(|target| (text(&panel["title"]), text(&target["expr"]))).collect::<Vec<_>>()
    };
    panels.iter().flat_map(of).collect()
}

/// What no panel shows: fine detail of panels that are there, and what only a search for a mistake of ours asks for.
const NOT_ON_THE_DASHBOARD: [&str; 42] = [
    "gen_ai_client_token_usage",
    "gen_ai_server_request_duration_seconds",
    "ringway_access_log_lines_total",
    "ringway_buffer_bytes",
    "ringway_buffer_pooled_bytes",
    "ringway_build_info",
    "ringway_config_age_seconds",
    "ringway_config_applied_total",
    "ringway_config_generation",
    "ringway_connections_accepted_total",
    "ringway_connections_handed_over_total",
    "ringway_control_connections",
    "ringway_downstream_bytes_total",
    "ringway_draining",
    "ringway_endpoint_attempts_total",
    "ringway_endpoint_drained",
    "ringway_endpoint_generated_tokens",
    "ringway_endpoint_kv_ratio",
    "ringway_endpoint_prompt_tokens",
    "ringway_endpoint_report_fresh",
    "ringway_endpoints_unlisted",
    "ringway_event_log_dropped_total",
    "ringway_event_subscribers",
    "ringway_io_info",
    "ringway_malformed_requests_total",
    "ringway_orca_malformed_total",
    "ringway_process_max_fds",
    "ringway_process_open_fds",
    "ringway_process_start_time_seconds",
    "ringway_process_threads",
    "ringway_process_virtual_memory_bytes",
    "ringway_queue_bytes",
    "ringway_request_duration_seconds",
    "ringway_tls_handshakes_total",
    "ringway_tls_resumptions_total",
    "ringway_traces_total",
    "ringway_upstream_connect_failures_total",
    "ringway_upstream_connects_total",
    "ringway_upstream_reuses_total",
    "ringway_upstream_stale_connections",
    "ringway_upstream_tls_handshakes_total",
    "ringway_upstream_tls_resumptions_total",
];

#[test]
fn the_dashboard_asks_for_series_that_exist_and_leaves_out_none_unknowingly() {
    let exposed = exposed();
    assert!(exposed.len() > 80, "the code has names: {exposed:?}");
    let panels = dashboard();
    let mut shown = BTreeSet::new();
    let mut unknown = Vec::new();
    for (title, expr) in &panels {
        for name in series(expr).into_iter().map(|name| family(name, &exposed)) {
            shown.insert(name);
            if !exposed.contains(name) {
                unknown.push(format!("{title}: {name}"));
            }
        }
    }
    assert!(unknown.is_empty(), "nobody exposes these: {unknown:#?}");
    let hidden = exposed.iter().filter(|name| !shown.contains(name.as_str())).map(String::as_str);
    let hidden: BTreeSet<&str> = hidden.collect();
    let expected: BTreeSet<&str> = NOT_ON_THE_DASHBOARD.into_iter().collect();
    assert_eq!(hidden, expected, "show it, or add it to the list of what is not shown");
}

#[test]
fn every_series_is_documented() {
    let text = fs::read_to_string(workspace().join("docs/observability.md")).expect("it is there");
    let told = series(&text);
    let silent: Vec<_> = exposed().into_iter().filter(|name| !told.contains(name.as_str())).collect();
    assert!(silent.is_empty(), "docs/observability.md does not tell of {silent:#?}");
}

#[test]
fn the_licence_is_there_and_named_everywhere() {
    let text = fs::read_to_string(workspace().join("LICENSE")).expect("there is a LICENSE");
    assert!(text.contains("Apache License"), "the licence is Apache-2.0");
    for package in packages() {
        assert_eq!(package["license"], "Apache-2.0", "{}", package["name"]);
    }
}
