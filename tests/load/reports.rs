//! Pages of metrics and probes, from servers to the data plane.

use ringway_contract::load::Probe;
use ringway_contract::stats::{EndpointStats, Reported};
use ringway_tests::Origin;

use super::rig::{Rig, Sim, backend};

const ENGINES: [&str; 6] = ["vllm", "sglang", "trtllm", "lmdeploy", "tgi", "llamacpp"];

fn reported(rig: &Rig, backend: &str, fits: impl Fn(&Reported) -> bool) -> Option<EndpointStats> {
    let endpoint = rig.endpoints(backend).into_iter().next()?;
    endpoint.reported.as_ref().is_some_and(fits).then_some(endpoint)
}

#[test]
fn what_each_engine_says_reaches_the_data_plane_traps_and_all() {
    let sims = ENGINES.map(|engine| Sim::start(1, &["--dialect", engine, "--metrics-traps"]));
    let backends: Vec<_> = ENGINES
        .iter()
        .zip(&sims)
        .map(|(engine, sim)| (*engine, backend(engine, engine, &sim.addresses, "")))
        .collect();
    let rig = Rig::start(&backends);
    let streams: Vec<_> = ENGINES.map(|engine| (engine, rig.stream(engine))).into();
    for engine in ENGINES {
        let busy = rig.until("the stream is in the report", |rig| {
            let busy = reported(rig, engine, |it| it.running == Some(1) && it.age_s < 2.0);
            busy.filter(|it| it.probe == Some(Probe::Passed))
        });
        let said = busy.reported.expect("it is there");
        assert_eq!((said.waiting, busy.in_flight), (Some(0), 1), "{engine}: {said:?}");
        // llama.cpp has not told its cache since 2025-05.
        let kv = said.kv.is_some_and(|kv| kv > 0.0 && kv < 0.5);
        assert_eq!(kv, engine != "llamacpp", "{engine}: {said:?}");
        assert_eq!(busy.own.restarts, 0, "{engine}");
    }
    drop(streams);
    for engine in ENGINES {
        rig.until("the report is empty again", |rig| reported(rig, engine, |it| it.running == Some(0)));
    }
}

#[test]
fn pages_that_are_off_missing_empty_nonsense_frozen_slow_or_lies_stop_no_request() {
    const MODES: [&str; 8] = ["off", "404", "empty", "nan", "zero", "stale", "slow", "high"];
    let names = MODES.map(|mode| format!("m-{mode}"));
    let sims = MODES.map(|mode| Sim::start(2, &["--fault", &format!("metrics={mode},replica=0")]));
    let backends: Vec<_> = names
        .iter()
        .zip(&sims)
        .map(|(name, sim)| {
            (name.as_str(), backend(name, "vllm", &sim.addresses, ", metrics: {interval: 100ms}"))
        })
        .collect();
    let rig = Rig::start(&backends);
    for name in &names {
        rig.until("the other server is read", |rig| {
            rig.endpoints(name).get(1)?.reported.clone().filter(|it| it.running.is_some())
        });
        for _ in 0..10 {
            let answer = rig.ask(name);
            assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
        }
        let both = rig.endpoints(name);
        assert!(both.iter().all(|it| it.attempts_total >= 4 && it.failures_total == 0), "{name}: {both:#?}");
        let said = both[0].reported.as_ref();
        let mode = name.trim_start_matches("m-");
        let silent = ["off", "404", "empty", "nan", "slow"].contains(&mode);
        assert_eq!(said.is_none(), silent, "{name}: {said:?}");
        assert!(both.iter().all(|it| it.own.restarts == 0), "{name}: a page that lies is no restart");
        assert!(both.iter().all(|it| it.probe == Some(Probe::Passed) || it.probe.is_none()), "{name}");
    }
}

#[test]
fn without_the_control_plane_reports_age_and_requests_go_on() {
    let sim = Sim::start(1, &[]);
    let mut rig = Rig::start(&[("m", backend("m", "vllm", &sim.addresses, ""))]);
    let first = rig.until("it is read", |rig| reported(rig, "m", |it| it.age_s < 1.0));
    rig.daemon.kill();
    let old = rig.until("the report is old", |rig| {
        assert_eq!(rig.ask("m").status(), 200);
        reported(rig, "m", |it| it.age_s > 2.5)
    });
    assert_eq!(old.failures_total, 0);
    rig.restart_daemon();
    let again = rig.until("another daemon reads it", |rig| reported(rig, "m", |it| it.age_s < 1.0));
    assert_eq!(again.own.restarts, 0, "the server is the same: its start is the number of its life");
    let generation = |it: &EndpointStats| it.reported.as_ref().map(|it| it.generation);
    assert_eq!(generation(&first), generation(&again));
}

#[test]
fn a_server_that_starts_again_begins_another_life() {
    let sim = Sim::start(1, &["--fault", "crash,at=3s,for=1s"]);
    let rig = Rig::start(&[("m", backend("m", "vllm", &sim.addresses, ", metrics: {interval: 100ms}"))]);
    let first = rig.until("it is read", |rig| reported(rig, "m", |_| true));
    let next = rig.until("it is read in another life", |rig| {
        rig.endpoints("m").into_iter().find(|it| it.own.restarts == 1 && it.reported.is_some())
    });
    let generation = |it: &EndpointStats| it.reported.as_ref().map_or(0, |it| it.generation);
    assert!(generation(&next) > generation(&first), "{first:?} {next:?}");
}

#[test]
fn a_probe_tells_a_server_that_loads_its_model_from_one_that_is_well() {
    let answered = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&answered);
    let origin = Origin::start(move |peer| {
        while let Some(request) = peer.request() {
            let loading = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 5;
            peer.send(match request.head.word(1) {
                "/health" if loading => "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
                "/health" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            });
        }
    });
    let more = ", metrics: off, health: {interval: 200ms}";
    let rig = Rig::start(&[("m", backend("m", "llamacpp", &[origin.address()], more))]);
    let probed = |probe| move |rig: &Rig| rig.endpoints("m").into_iter().find(|it| it.probe == Some(probe));
    rig.until("the probe fails", probed(Probe::Failed));
    rig.until("the probe passes", probed(Probe::Passed));
    assert!(
        origin.requests().iter().all(|request| request.head.word(1) == "/health"),
        "nothing else is asked"
    );
}

#[test]
fn ringctl_shows_what_servers_say_and_where_the_time_goes() {
    let sim = Sim::start(2, &[]);
    let rig = Rig::start(&[("m", backend("m", "vllm", &sim.addresses, ""))]);
    let _stream = rig.stream("m");
    rig.until("it is read", |rig| {
        rig.endpoints("m").into_iter().find(|it| it.reported.as_ref().is_some_and(|it| it.running == Some(1)))
    });
    let table = rig.ringctl(&["backends", "list"]);
    assert!(table.lines().next().is_some_and(|line| line.contains("RUNNING  WAITING  KV")), "{table}");
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| (0..5).map(|_| rig.ask("m").status()).collect::<Vec<_>>());
        let view = rig.ringctl(&["top", "--once", "--interval", "2"]);
        assert_eq!(asking.join().expect("asked"), [200; 5]);
        assert!(view.contains("the servers: of ") && view.contains("tokens/s out"), "{view}");
        assert_eq!(view.lines().filter(|line| line.starts_with("m/127.0.0.1:")).count(), 2, "{view}");
    });
    let quiet = rig.ringctl(&["top", "--once", "--interval", "0.2"]);
    assert!(quiet.contains("idle: nothing ended"), "{quiet}");
}
