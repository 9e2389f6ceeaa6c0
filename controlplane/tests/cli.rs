//! The verbs of `ringctl` as a user types them: output, exit codes, messages.

mod support;

use std::io::Write as _;
use std::process::Stdio;

use support::{DataPlane, Place, config, with_endpoint, with_secret};

/// A place with a data plane that runs `config(8001)`, pushed straight.
fn running() -> (Place, DataPlane) {
    let place = Place::new();
    place.write("ringway.yaml", &config(8001));
    let dataplane = DataPlane::start(&place.control());
    place.run(&["apply", "ringway.yaml"]).ok();
    (place, dataplane)
}

#[test]
fn a_valid_file_is_said_to_be_valid() {
    let place = Place::new();
    place.write("ringway.yaml", &config(8001));
    assert_eq!(place.run(&["validate", "ringway.yaml"]).ok(), "ringway.yaml is valid\n");
    let verdict: serde_json::Value =
        serde_json::from_str(&place.run(&["validate", "ringway.yaml", "-o", "json"]).ok()).expect("JSON");
    assert_eq!(verdict["valid"], true);
}

#[test]
fn a_bad_file_is_shown_with_line_and_caret_and_exits_2() {
    let place = Place::new();
    place.write("ringway.yaml", &config(8001).replace("engine: http", "engine: htpp"));
    let error = place.run(&["validate", "ringway.yaml"]).fails(2);
    assert!(error.contains("ringway.yaml:6") && error.contains('^') && error.contains("http"), "{error}");
    let ran = place.run(&["validate", "ringway.yaml", "-o", "json"]);
    let verdict: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((ran.code, &verdict["valid"]), (Some(2), &false.into()));
    assert_eq!(verdict["problems"].as_array().map(Vec::len), Some(1));
    assert!(place.run(&["validate", "nowhere.yaml"]).fails(2).contains("nowhere.yaml"));
}

#[test]
fn a_secret_that_is_not_at_hand_is_a_warning_to_validate_and_an_error_to_apply() {
    let place = Place::new();
    place.write("ringway.yaml", &with_secret(8001));
    let ran = place.run(&["validate", "ringway.yaml"]);
    assert!(ran.err.contains("ORIGIN_KEY"), "{}", ran.err);
    ran.ok();
    let dataplane = DataPlane::start(&place.control());
    let error = place.run(&["apply", "ringway.yaml"]).fails(2);
    assert!(error.contains("ORIGIN_KEY"), "{error}");
    assert_eq!(dataplane.pushes(), 0);
}

#[test]
fn the_schema_is_json() {
    let schema = Place::new().run(&["schema"]).ok();
    let schema: serde_json::Value = serde_json::from_str(&schema).expect("JSON");
    assert!(schema["$defs"]["file"]["properties"]["listeners"].is_object());
}

#[test]
fn without_a_data_plane_every_verb_that_needs_one_exits_3_and_names_the_mend() {
    let place = Place::new();
    place.write("ringway.yaml", &config(8001));
    place.write("request.json", r#"{"path": "/"}"#);
    let verbs: [&[&str]; 9] = [
        &["apply", "ringway.yaml"],
        &["diff", "ringway.yaml"],
        &["show"],
        &["show", "--effective"],
        &["routes", "list"],
        &["backends", "get", "origin"],
        &["explain", "request.json"],
        &["drain"],
        &["undrain", "origin/127.0.0.1:9000"],
    ];
    for verb in verbs {
        let error = place.run(verb).fails(3);
        assert!(
            error.contains("is `ringway` running?") && error.contains("dataplane.sock"),
            "{verb:?}: {error}"
        );
    }
    let error = place.run(&["history", "--socket", "/nonexistent/daemon.sock"]).fails(3);
    assert!(error.contains("ringctl serve"), "{error}");
}

#[test]
fn bad_usage_exits_2() {
    let place = Place::new();
    let usages: [&[&str]; 5] =
        [&[], &["frobnicate"], &["validate"], &["drain", "nonsense"], &["show", "-o", "xml"]];
    for usage in usages {
        place.run(usage).fails(2);
    }
}

#[test]
fn what_comes_later_is_refused_by_name() {
    let place = Place::new();
    place.write("ringway.yaml", &config(8001));
    let verbs: [&[&str]; 8] = [
        &["keys", "list"],
        &["tenants", "create", "--name", "x"],
        &["usage"],
        &["budgets", "set"],
        &["tap"],
        &["import", "litellm", "x.yaml"],
        &["upgrade"],
        &["apply", "ringway.yaml", "--canary", "5%", "--for", "10m"],
    ];
    for verb in verbs {
        let error = place.run(verb).fails(2);
        assert!(error.contains("not supported yet") && error.contains(verb[0]), "{verb:?}: {error}");
    }
}

#[test]
fn an_apply_without_a_daemon_goes_straight_and_is_kept() {
    let (place, dataplane) = running();
    assert_eq!(dataplane.port(), Some(8001));
    place.write("next.yaml", &config(8002));
    let said = place.run(&["apply", "next.yaml"]).ok();
    assert_eq!(said, "revision 2 runs on all 2 workers as generation 2\n");
    let again = place.run(&["apply", "next.yaml"]).ok();
    assert_eq!(again, "nothing to change: revision 2 runs already as generation 2\n");
    assert_eq!(place.history().len(), 2);
    let back = place.run(&["rollback"]).ok();
    assert_eq!(back, "revision 3 runs on all 2 workers as generation 3\n");
    assert_eq!(dataplane.port(), Some(8001));
    let table = place.run(&["history"]).ok();
    assert!(table.starts_with("REVISION") && table.contains("rollback to 1"), "{table}");
}

#[test]
fn an_apply_resolves_names_itself_without_a_daemon() {
    let place = Place::new();
    place.write("ringway.yaml", &with_endpoint(8001, "http://localhost:9000"));
    let dataplane = DataPlane::start(&place.control());
    place.run(&["apply", "ringway.yaml"]).ok();
    let addresses = dataplane
        .with(|held| held.snapshot.clone().expect("runs").backends[0].endpoints[0].addresses.clone());
    assert!(addresses.contains(&"127.0.0.1:9000".parse().expect("an address")), "{addresses:?}");
}

#[test]
fn a_bad_file_is_not_applied() {
    let (place, dataplane) = running();
    place.write("bad.yaml", &config(8002).replace("backend: origin", "backend: orgin"));
    let error = place.run(&["apply", "bad.yaml"]).fails(2);
    assert!(error.contains("orgin") && error.contains("origin"), "{error}");
    assert_eq!(dataplane.pushes(), 1);
}

#[test]
fn a_difference_is_shown_by_place_and_listed_by_path() {
    let (place, _dataplane) = running();
    assert_eq!(place.run(&["diff", "ringway.yaml"]).ok(), "no difference to generation 1\n");
    place.write(
        "next.yaml",
        &(config(8001).replace("backend: origin", "backend: origin, weight: 7")
            + "limits: {connections: 9}\n"),
    );
    let drawn = place.run(&["diff", "next.yaml"]).ok();
    assert!(drawn.contains("@@ limits / connections @@") && drawn.contains("+   connections: 9"), "{drawn}");
    assert!(!drawn.contains('\u{1b}'), "no colours into a pipe");
    place.write("moved.yaml", &config(8002));
    let drawn = place.run(&["diff", "moved.yaml"]).ok();
    assert!(drawn.contains("  format: 1\n  listeners:\n-   - address"), "fields keep their order: {drawn}");
    assert!(place.run(&["diff", "next.yaml", "--color", "always"]).ok().contains("\u{1b}[32m"));
    let listed: serde_json::Value =
        serde_json::from_str(&place.run(&["diff", "next.yaml", "-o", "json"]).ok()).expect("JSON");
    let paths: Vec<_> =
        listed["changes"].as_array().expect("a list").iter().map(|change| &change["path"]).collect();
    assert_eq!(paths, ["routes[all].targets[origin].weight", "limits.connections"]);
}

#[test]
fn what_runs_is_shown_in_every_format() {
    let (place, _dataplane) = running();
    let table = place.run(&["show", "-o", "table"]).ok();
    assert!(table.contains("2 workers (epoll)") && table.contains("127.0.0.1:8001"), "{table}");
    let json: serde_json::Value =
        serde_json::from_str(&place.run(&["show", "--effective", "-o", "json"]).ok()).expect("JSON");
    assert_eq!(json["generation"], 1);
    let yaml = place.run(&["show", "--effective"]).ok();
    assert!(yaml.contains("listeners:\n  - address: \"127.0.0.1:8001\"\n"), "{yaml}");
    assert!(place.run(&["show"]).err.contains("no daemon"));
}

#[test]
fn routes_and_backends_are_listed_and_got() {
    let (place, _dataplane) = running();
    let routes = place.run(&["routes", "list"]).ok();
    assert_eq!(routes, "ROUTE  MATCH  TARGETS\nall    /*     origin\n");
    let backends = place.run(&["backends", "list"]).ok();
    assert!(backends.contains("origin/127.0.0.1:9000") && backends.contains("in use"), "{backends}");
    let one: serde_json::Value =
        serde_json::from_str(&place.run(&["backends", "get", "origin", "-o", "json"]).ok()).expect("JSON");
    assert_eq!(one["load"][0]["in_flight"], 7);
    for both in ["backends", "routes"] {
        assert_eq!(
            place.run(&[both]).ok(),
            place.run(&[both, "list"]).ok(),
            "all, if no verb says otherwise"
        );
        assert_eq!(place.run(&[both, "-o", "json"]).ok(), place.run(&[both, "list", "-o", "json"]).ok());
    }
    assert!(place.run(&["routes", "get", "all", "-o", "yaml"]).ok().starts_with("name: all\n"));
    assert!(place.run(&["backends", "get", "orgin"]).fails(1).contains("did you mean `origin`?"));
}

#[test]
fn a_request_is_explained_from_a_file_and_from_standard_input() {
    let (place, dataplane) = running();
    place.write("request.json", r#"{"path": "/v1/chat/completions", "body": {"model": "demo"}}"#);
    assert!(place.run(&["explain", "request.json"]).ok().contains("goes by route all"));
    assert_eq!(dataplane.with(|held| held.questions[0].path.clone()), "/v1/chat/completions");
    let mut command = place.ringctl(&["explain", "-", "-o", "json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
    child.stdin.take().expect("piped").write_all(br#"{"path": "/"}"#).expect("reads");
    let output = child.wait_with_output().expect("ends");
    let explanation: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(explanation["route"], "all");
    place.write("request.json", r#"{"path": "v1"}"#);
    assert!(place.run(&["explain", "request.json"]).fails(2).contains("slash"));
}

#[test]
fn the_body_of_a_call_is_explained_as_it_stands() {
    let (place, dataplane) = running();
    for (number, (prompt, path)) in
        [("messages", "/v1/chat/completions"), ("input", "/v1/responses"), ("prompt", "/v1/completions")]
            .into_iter()
            .enumerate()
    {
        place.write("request.json", &format!(r#"{{"model": "demo", "{prompt}": []}}"#));
        assert!(place.run(&["explain", "request.json"]).ok().contains("goes by route all"));
        let asked = dataplane.with(|held| held.questions[number].clone());
        assert_eq!((asked.path.as_str(), asked.method.as_str()), (path, "POST"));
        assert_eq!(asked.body.expect("it is the body")["model"], "demo");
    }
    place.write("request.json", r#"{"model": "demo"}"#);
    assert!(place.run(&["explain", "request.json"]).fails(2).contains("a request looks like"));
}

#[test]
fn a_file_that_does_not_run_can_be_asked_too() {
    let place = Place::new();
    let routes = "routes:\n  - name: chat\n    match: {path: /v1/chat/completions, model: \"llama-*\"}\n    \
                  targets: [{backend: origin}]\n  - name: all";
    place.write(
        "ringway.yaml",
        &config(8001).replace("routes:\n  - name: all", routes).replace("engine: http", "engine: vllm"),
    );
    place.write("request.json", r#"{"path": "/v1/chat/completions", "body": {"model": "gpt-5"}}"#);
    let said = place.run(&["explain", "request.json", "--config", "ringway.yaml"]).ok();
    assert!(
        said.contains("goes by route all") && said.contains("\"gpt-5\" does not match \"llama-*\""),
        "{said}"
    );
}

#[test]
fn endpoints_and_the_whole_data_plane_are_drained() {
    let (place, dataplane) = running();
    place.run(&["drain", "origin/127.0.0.1:9000"]).ok();
    place.run(&["undrain", "origin/127.0.0.1:9000"]).ok();
    place.run(&["drain"]).ok();
    let drains = dataplane.with(|held| held.drains.clone());
    let told: Vec<_> = drains.iter().map(|drain| (drain.endpoint.is_some(), drain.undo)).collect();
    assert_eq!(told, [(true, false), (true, true), (false, false)]);
    assert!(place.run(&["drain", "nobody/1:1"]).fails(1).contains("no such endpoint"));
}

#[test]
fn a_data_plane_that_ends_at_once_was_drained() {
    let (place, dataplane) = running();
    dataplane.with(|held| held.nothing_to_finish = true);
    place.run(&["drain"]).ok();
}

#[test]
fn completions_and_manual_pages_are_printed() {
    let place = Place::new();
    assert!(place.run(&["completions", "bash"]).ok().contains("_ringctl"));
    assert!(place.run(&["man"]).ok().contains(".TH ringctl"));
    std::fs::create_dir(place.path("man1")).expect("a folder");
    let folder = place.path("man1").display().to_string();
    place.run(&["man", "--out", &folder]).ok();
    assert!(place.path("man1/ringctl-apply.1").exists());
}

#[test]
fn help_ends_with_an_example() {
    let place = Place::new();
    assert!(place.run(&["--help"]).ok().contains("Exit codes: 0 done"));
    assert!(place.run(&["apply", "--help"]).ok().contains("Example:\n  ringctl apply"));
}
