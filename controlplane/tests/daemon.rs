//! `ringctl serve` and `ringctl up` as processes, beside a pretended data plane.

mod mint;
mod support;

use std::time::Duration;

use support::{DataPlane, Held, Place, config, send, until, with_endpoint, with_secret};

fn place(port: u16) -> Place {
    let place = Place::new();
    place.write("ringway.yaml", &config(port));
    place
}

#[test]
fn a_changed_file_is_pushed_however_it_was_changed() {
    let place = place(8001);
    let dataplane = DataPlane::start(&place.control());
    let _daemon = place.serve();
    dataplane.until_port(8001);
    place.replace(&config(8002));
    dataplane.until_port(8002);
    place.write("ringway.yaml", &config(8003)); // in place
    dataplane.until_port(8003);
    // A link that moves, as orchestrators do it.
    place.write("a.yaml", &config(8004));
    std::os::unix::fs::symlink("a.yaml", place.path("link")).expect("links");
    std::fs::rename(place.path("link"), place.path("ringway.yaml")).expect("moves");
    dataplane.until_port(8004);
    let history = until("four revisions", || Some(place.history()).filter(|history| history.len() == 4));
    assert_eq!(history[0]["revision"], 4);
    assert_eq!(history[0]["origin"], "file");
}

#[test]
fn a_bad_file_is_reported_and_changes_nothing() {
    let place = place(8001);
    let dataplane = DataPlane::start(&place.control());
    let _daemon = place.serve();
    dataplane.until_port(8001);
    place.replace(&config(8002).replace("targets", "tragets"));
    place.until_log("tragets");
    place.until_log("what runs stays");
    assert_eq!(dataplane.port(), Some(8001));
    assert!(place.run(&["show", "-o", "table"]).ok().contains("trouble"));
    place.replace(&config(8003));
    dataplane.until_port(8003);
    assert_eq!(dataplane.pushes(), 2);
    assert!(!place.run(&["show", "-o", "table"]).ok().contains("trouble"));
}

#[test]
fn a_file_that_goes_away_changes_nothing() {
    let place = place(8001);
    let dataplane = DataPlane::start(&place.control());
    let _daemon = place.serve();
    dataplane.until_port(8001);
    std::fs::remove_file(place.path("ringway.yaml")).expect("is there");
    place.until_log("what runs stays");
    assert_eq!(dataplane.port(), Some(8001));
    place.write("ringway.yaml", &config(8002));
    dataplane.until_port(8002);
}

#[test]
fn what_the_data_plane_refuses_is_no_revision() {
    let place = place(8001);
    let held = Held { refuse_port: Some(8002), ..Held::default() };
    let dataplane = DataPlane::start_with(&place.control(), held);
    let _daemon = place.serve();
    dataplane.until_port(8001);
    place.replace(&config(8002));
    place.until_log("the address is taken");
    let refused = place.run(&["apply", "ringway.yaml"]).fails(2);
    assert!(refused.contains("the address is taken"), "{refused}");
    assert_eq!(place.history().len(), 1);
    assert_eq!(dataplane.port(), Some(8001));
}

#[test]
fn a_restarted_data_plane_gets_the_config_again() {
    let place = place(8001);
    let dataplane = DataPlane::start(&place.control());
    let _daemon = place.serve();
    dataplane.until_port(8001);
    drop(dataplane.stop());
    place.until_log("the data plane is gone");
    let dataplane = DataPlane::start(&place.control()); // has lost its state
    dataplane.until_port(8001);
    let held = dataplane.stop();
    let dataplane = DataPlane::start_with(&place.control(), held); // has kept its state
    place.replace(&config(8002));
    dataplane.until_port(8002);
    assert_eq!(dataplane.pushes(), 2, "what ran already was not pushed again");
}

#[test]
fn a_config_waits_for_a_data_plane_that_starts_later() {
    let place = place(8001);
    let _daemon = place.serve();
    place.until_log("waiting for the data plane");
    place.replace(&config(8002)); // the latest wins
    place.until_log("the config file changed");
    let dataplane = DataPlane::start(&place.control());
    dataplane.until_port(8002);
    assert_eq!(dataplane.pushes(), 1);
    assert_eq!(place.history().len(), 1);
}

#[test]
fn what_somebody_else_pushed_is_replaced() {
    let place = place(8001);
    let dataplane = DataPlane::start(&place.control());
    let _daemon = place.serve();
    dataplane.until_port(8001);
    let other = place.write("other.yaml", &config(8002));
    let control = place.control().display().to_string();
    let other = other.display().to_string();
    let away = place.path("elsewhere").display().to_string();
    place.run(&["apply", &other, "--control", &control, "--data", &away]).ok();
    until("both pushes", || (dataplane.pushes() == 3).then_some(()));
    dataplane.until_port(8001);
}

#[test]
fn a_lost_race_is_run_again() {
    let place = place(8001);
    let dataplane = DataPlane::start_with(&place.control(), Held { race: true, ..Held::default() });
    // With nothing running the first push expects no generation, so the race is lost by the other.
    let _daemon = place.serve();
    dataplane.until_port(8001);
    dataplane.with(|held| held.race = true);
    place.replace(&config(8002));
    dataplane.until_port(8002);
}

#[test]
fn revisions_outlive_the_daemon_and_a_rollback_stays_until_the_file_changes() {
    let place = place(8001);
    let dataplane = DataPlane::start(&place.control());
    let daemon = place.serve();
    dataplane.until_port(8001);
    place.replace(&config(8002));
    dataplane.until_port(8002);
    until("two revisions", || (place.history().len() == 2).then_some(()));
    let said = place.run(&["rollback", "-m", "too many cooks"]).ok();
    assert_eq!(said, "revision 3 runs on all 2 workers as generation 3\n");
    assert_eq!(dataplane.port(), Some(8001));
    daemon.kill();
    let daemon = place.serve();
    until("the daemon is back", || place.run(&["show"]).ok().contains("# revision 3").then_some(()));
    let history = place.history();
    assert_eq!(history.len(), 3);
    assert_eq!((&history[0]["from"], &history[0]["message"]), (&1.into(), &"too many cooks".into()));
    assert_eq!(dataplane.port(), Some(8001), "the file did not undo it");
    daemon.signal("-HUP");
    place.replace(&config(8003));
    dataplane.until_port(8003);
    assert!(place.run(&["rollback", "99"]).fails(1).contains("ringctl history"));
    place.run(&["rollback", "2"]).ok();
    assert_eq!(dataplane.port(), Some(8002));
}

#[test]
fn an_apply_through_the_daemon_is_a_revision_and_comes_back_when_it_runs() {
    let place = place(8001);
    let dataplane = DataPlane::start(&place.control());
    let _daemon = place.serve();
    dataplane.until_port(8001);
    place.write("other.yaml", &config(8002));
    let said = place.run(&["apply", "other.yaml", "--message", "by hand"]).ok();
    assert_eq!(said, "revision 2 runs on all 2 workers as generation 2\n");
    assert_eq!(dataplane.port(), Some(8002));
    let again = place.run(&["apply", "other.yaml"]).ok();
    assert_eq!(again, "nothing to change: revision 2 runs already as generation 2\n");
    let history = place.history();
    assert_eq!((&history[0]["origin"], &history[0]["message"]), (&"apply".into(), &"by hand".into()));
}

#[test]
fn of_many_applies_at_once_each_runs_or_is_told_that_a_later_one_did() {
    let place = place(8001);
    let dataplane = DataPlane::start(&place.control());
    let _daemon = place.serve();
    dataplane.until_port(8001);
    let ports = 8_010..8_030_u16;
    let runs: Vec<_> = std::thread::scope(|scope| {
        let spawned: Vec<_> = ports
            .map(|port| {
                let place = &place;
                scope.spawn(move || {
                    let file = format!("{port}.yaml");
                    place.write(&file, &config(port));
                    (port, place.run(&["apply", &file]))
                })
            })
            .collect();
        spawned.into_iter().map(|run| run.join().expect("runs")).collect()
    });
    let last = dataplane.port().expect("something runs");
    for (port, ran) in runs {
        match ran.code {
            Some(0) => {}
            _ => assert!(ran.fails(1).contains("a later command") && port != last, "{port}"),
        }
    }
}

#[test]
fn an_apply_without_a_data_plane_fails_and_leaves_nothing_waiting() {
    let place = place(8001);
    let dataplane = DataPlane::start(&place.control());
    let _daemon = place.serve();
    dataplane.until_port(8001);
    let held = dataplane.stop();
    place.write("other.yaml", &config(8002));
    let error = place.run(&["apply", "other.yaml"]).fails(3);
    assert!(error.contains("cannot reach the data plane"), "{error}");
    let dataplane = DataPlane::start_with(&place.control(), held);
    place.replace(&config(8003));
    dataplane.until_port(8003);
    assert_eq!(dataplane.pushes(), 2);
}

#[test]
fn a_flood_of_changes_is_five_applies_a_second_at_most() {
    let place = place(8001);
    let dataplane = DataPlane::start(&place.control());
    let _daemon = place.serve();
    dataplane.until_port(8001);
    for port in 9_000..9_400 {
        place.replace(&config(port));
        std::thread::sleep(Duration::from_millis(2));
    }
    dataplane.until_port(9_399);
    let times: Vec<_> = dataplane.with(|held| held.pushes.iter().map(|(at, _)| *at).collect());
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    let closest = gaps.min().expect("several pushes");
    assert!(closest >= Duration::from_millis(190), "{closest:?}");
}

#[test]
fn a_second_daemon_is_refused_in_a_clear_line() {
    let place = place(8001);
    let daemon = place.serve();
    place.until_log("the daemon is up");
    let other = place.path("other.sock").display().to_string();
    let error = place.run(&["serve", "--config", "ringway.yaml", "--socket", &other]).fails(1);
    assert!(error.contains(&format!("process {}", daemon.id())), "{error}");
    let elsewhere = place.path("elsewhere").display().to_string();
    let error = place.run(&["serve", "--config", "ringway.yaml", "--data", &elsewhere]).fails(1);
    assert!(error.contains("already answers at"), "{error}");
    daemon.kill();
    let _next = place.serve(); // over what the killed one left behind
    until("the next daemon is up", || (place.log().matches("the daemon is up").count() == 2).then_some(()));
}

#[test]
fn the_daemon_leaves_with_its_socket_and_the_data_plane_stays() {
    let place = place(8001);
    let dataplane = DataPlane::start(&place.control());
    let mut daemon = place.serve();
    dataplane.until_port(8001);
    daemon.signal("-TERM");
    assert_eq!(daemon.code(), Some(0));
    assert!(!place.path("daemon.sock").exists());
    assert_eq!(dataplane.port(), Some(8001));
}

#[test]
fn only_the_owner_may_use_the_socket() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = place(8001);
    let _daemon = place.serve();
    place.until_log("the daemon is up");
    let mode = |path| std::fs::metadata(place.path(path)).expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode("daemon.sock"), 0o600);
    assert_eq!(mode("state"), 0o700);
}

#[test]
fn a_bad_file_without_an_earlier_revision_ends_the_daemon() {
    let place = Place::new();
    place.write("ringway.yaml", "version: 1\nlisteners: 7\n");
    let error = place.run(&["serve", "--config", "ringway.yaml"]).fails(2);
    assert!(error.contains("listeners"), "{error}");
    let error = place.run(&["serve", "--config", "nowhere.yaml"]).fails(2);
    assert!(error.contains("nowhere.yaml"), "{error}");
}

#[test]
fn names_of_the_hosts_file_are_resolved() {
    let place = Place::new();
    place.write("ringway.yaml", &with_endpoint(8001, "http://localhost:9000"));
    let dataplane = DataPlane::start(&place.control());
    let _daemon = place.serve();
    dataplane.until_port(8001);
    let endpoint =
        dataplane.with(|held| held.snapshot.clone().expect("runs").backends[0].endpoints[0].clone());
    assert_eq!(endpoint.authority, "localhost:9000");
    assert!(endpoint.addresses.contains(&"127.0.0.1:9000".parse().expect("an address")), "{endpoint:?}");
}

#[test]
fn secrets_reach_the_data_plane_and_no_revision() {
    let place = Place::new();
    place.write("ringway.yaml", &with_secret(8001));
    let dataplane = DataPlane::start(&place.control());
    let mut command = place.ringctl(&["serve", "--config", "ringway.yaml"]);
    command.env("ORIGIN_KEY", "correct-horse");
    let _daemon = place.spawn(command);
    dataplane.until_port(8001);
    let sent = dataplane.with(|held| held.snapshot.clone().expect("runs").backends[0].credential.clone());
    assert_eq!(sent.expect("a credential").value, "Bearer correct-horse");
    // Without the secret at hand the file can still be compared and applied: the daemon has it.
    place.write("ringway.yaml", &with_secret(8002));
    dataplane.until_port(8002);
    let same = place.run(&["diff", "ringway.yaml"]).ok();
    assert!(same.starts_with("no difference"), "{same}");
    place.write("other.yaml", &with_secret(8003));
    place.run(&["apply", "other.yaml"]).ok();
    for revision in std::fs::read_dir(place.path("state/revisions")).expect("is there") {
        let text = std::fs::read_to_string(revision.expect("an entry").path()).expect("reads");
        assert!(text.contains("ORIGIN_KEY") && !text.contains("correct-horse"), "{text}");
    }
    for verb in [&["show"][..], &["show", "--effective"], &["backends", "list", "-o", "json"]] {
        let shown = place.run(verb).ok();
        assert!(!shown.contains("correct-horse"), "{shown}");
    }
    assert!(place.run(&["show", "--effective"]).ok().contains("sha256:"));
    assert!(!place.log().contains("correct-horse"));
}

#[test]
fn a_hang_up_reads_secrets_again() {
    let place = Place::new();
    place.write("key", "one");
    place.write("ringway.yaml", &with_secret(8001).replace("{env: ORIGIN_KEY}", "{file: key}"));
    let dataplane = DataPlane::start(&place.control());
    let daemon = place.serve();
    let value = || {
        let credential = dataplane.with(|held| held.snapshot.clone()?.backends[0].credential.clone());
        credential.map(|credential| credential.value)
    };
    until("the first secret", || (value()? == "Bearer one").then_some(()));
    place.write("key", "two");
    daemon.signal("-HUP");
    until("the second secret", || (value()? == "Bearer two").then_some(()));
    assert_eq!(place.history().len(), 1, "the text is the same");
}

/// A `ringway` that does nothing, beside a copy of `ringctl`.
fn stand_in(place: &Place, script: &str) -> std::process::Command {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir(place.path("bin")).expect("a folder");
    let (ringctl, ringway) = (place.path("bin/ringctl"), place.path("bin/ringway"));
    std::fs::copy(env!("CARGO_BIN_EXE_ringctl"), &ringctl).expect("copies");
    std::fs::write(&ringway, format!("#!/bin/sh\n{script}\n")).expect("writes");
    std::fs::set_permissions(&ringway, std::fs::Permissions::from_mode(0o755)).expect("ours");
    place.program(&ringctl, &["up", "--config", "ringway.yaml", "--workers", "3"])
}

#[test]
fn up_starts_a_dead_data_plane_again_and_drains_it_at_the_end() {
    let place = place(8001);
    let script = "echo \"$$ $*\" >> started; trap 'echo drained >> started; exit 0' TERM\n\
                  while :; do sleep 0.02; done";
    let command = stand_in(&place, script);
    let mut up = place.spawn(command);
    let started = || std::fs::read_to_string(place.path("started")).unwrap_or_default();
    let nth = |n: usize| until("it starts", || started().lines().nth(n).map(str::to_owned));
    let first = nth(0);
    assert!(
        first.contains("--control") && first.contains("--state-dir") && first.ends_with("--workers 3"),
        "{first}"
    );
    let pid = first.split(' ').next().and_then(|pid| pid.parse().ok()).expect("its process");
    send("-KILL", pid);
    assert_ne!(nth(1), first);
    up.signal("-TERM");
    assert_eq!(up.code(), Some(0));
    assert_eq!(started().lines().last(), Some("drained"));
}

#[test]
fn up_gives_up_on_a_data_plane_that_refuses_to_start() {
    let place = place(8001);
    let mut up = place.spawn(stand_in(&place, "exit 2"));
    assert_eq!(up.code(), Some(1));
    place.until_log("refuses to start");
}

#[test]
fn up_uses_a_data_plane_that_runs_already() {
    let place = place(8001);
    let dataplane = DataPlane::start(&place.control());
    let mut up = place.spawn(stand_in(&place, "echo started >> started; sleep 100"));
    dataplane.until_port(8001);
    place.until_log("a data plane runs already");
    assert!(!place.path("started").exists());
    up.signal("-INT");
    assert_eq!(up.code(), Some(0));
    assert_eq!(dataplane.port(), Some(8001));
}
