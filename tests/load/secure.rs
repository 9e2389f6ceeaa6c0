//! Readings and probes of servers that speak TLS: who is believed, and what is said of those who are not.

use std::net::{SocketAddr, TcpListener};

use ringway_contract::load::Probe;
use ringway_contract::stats::EndpointStats;
use ringway_tests::Origin;
use ringway_tests::tls::{ANY_VERSION, Authority, Front, Issued, Kind};
use rustls::version::{TLS12, TLS13};

use super::rig::{Rig, Sim, secure_backend};

/// The name in the certificates of servers here.
const NAME: &str = "model.test";

/// An authority, with a folder for files that a config names.
struct Files {
    authority: Authority,
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { authority: Authority::new(), folder: tempfile::tempdir().expect("a folder") }
    }

    /// `tls` of a backend that trusts the authority to vouch for [`NAME`], and `more`.
    fn tls(&self, more: &str) -> String {
        let ca = self.authority.write(self.folder.path(), "ca.pem");
        format!(", tls: {{ca: {ca:?}, server_name: {NAME}{more}}}")
    }

    /// The same, trusting this very certificate.
    fn pin(&self, own: &Issued, file: &str, name: &str) -> String {
        let ca = own.write(self.folder.path(), file).cert;
        format!(", tls: {{ca: {ca:?}, server_name: {name}}}")
    }

    fn front(&self, own: &Issued, asks: bool, before: SocketAddr) -> Front {
        Front::start(self.authority.server(own, asks, ANY_VERSION), before, false)
    }
}

fn probed(rig: &Rig, backend: &str) -> Option<EndpointStats> {
    rig.endpoints(backend).into_iter().find(|it| it.probe.is_some())
}

#[test]
fn reports_and_probes_come_over_kept_connections_in_both_versions() {
    let files = Files::new();
    let sim = Sim::start(1, &[]);
    let own = files.authority.issue(&[NAME]);
    for version in [&TLS12, &TLS13] {
        let server = files.authority.server(&own, false, &[version]);
        let front = Front::start(server, sim.addresses[0], false);
        let more = files.tls("") + ", metrics: {interval: 100ms}, health: {interval: 100ms}";
        let rig = Rig::start(&[("m", secure_backend("m", front.address(), &more))]);
        let well = rig.until("it is read and well", |rig| {
            probed(rig, "m").filter(|it| it.reported.as_ref().is_some_and(|it| it.age_s < 1.0))
        });
        assert_eq!(well.probe, Some(Probe::Passed));
        let _stream = rig.stream("m");
        rig.until("the stream is in the report", |rig| {
            rig.endpoints("m")
                .into_iter()
                .find(|it| it.reported.as_ref().is_some_and(|it| it.running == Some(1)))
        });
        assert_eq!(
            front.handshakes(),
            (3, 0),
            "one for the readings, one for the probes, one for the stream"
        );
        assert_eq!(front.names(), vec![Some(NAME.to_owned()); 3]);
        // The planes start side by side: that one waits for the other says nothing of servers.
        let warns = |line: &str| line.contains("warn") && !line.contains("waiting for the data plane");
        assert!(!rig.daemon.output().lines().any(warns), "{}", rig.daemon.output());
    }
}

#[test]
fn a_server_that_proves_nothing_fails_its_probe_with_the_reason() {
    let files = Files::new();
    let (sim, ours) = (Sim::start(1, &[]), &files.authority);
    let cases = [
        ("name", ours.issue(&["other.test"]), "its certificate is for another name"),
        ("expired", ours.issue_as(&[NAME], Kind::Expired), "its certificate is out of date"),
        ("future", ours.issue_as(&[NAME], Kind::Future), "its certificate is not valid yet"),
        ("authority", Authority::new().issue(&[NAME]), "signed by an unknown authority"),
        ("itself", Issued::self_signed(&[NAME], false), "signed by itself"),
        ("itself-as-authority", Issued::self_signed(&[NAME], true), "signed by itself"),
        ("ours", ours.issue(&[NAME]), "it asks for a certificate of ours"),
    ];
    let fronts: Vec<Front> =
        cases.iter().map(|(name, own, _)| files.front(own, *name == "ours", sim.addresses[0])).collect();
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a free port"); // the kernel accepts, nobody answers
    let silent = deaf.local_addr().expect("bound");
    let mut backends: Vec<(&str, SocketAddr, &str)> =
        cases.iter().zip(&fronts).map(|((name, _, why), front)| (*name, front.address(), *why)).collect();
    backends.push(("plain", sim.addresses[0], "it does not speak TLS at this port"));
    backends.push(("deaf", silent, "no answer within 1000 ms"));
    // Only the first probe comes in the time of this test, so that no circuit opens and requests are tried.
    let more = files.tls("") + ", health: {interval: 1m}, timeouts: {connect: 1s}";
    let written: Vec<_> =
        backends.iter().map(|(name, address, _)| (*name, secure_backend(name, *address, &more))).collect();
    let rig = Rig::start(&written);
    for (name, _, why) in &backends {
        let failed = rig.until("it is probed", |rig| probed(rig, name));
        assert_eq!((failed.probe, failed.reported), (Some(Probe::Failed), None), "{name}");
        let table = rig.until("the reason is told", |rig| {
            let table = rig.ringctl(&["backends", "get", name]);
            (table.contains("the probe of") && table.contains("the load of")).then_some(table)
        });
        let lines: Vec<&str> = table.lines().filter(|line| line.contains(" since 2")).collect();
        let load = if *name == "deaf" { "no answer within 500 ms" } else { why };
        assert!(lines.len() == 2 && lines[0].contains(load) && lines[1].contains(why), "{name}: {lines:?}");
        assert!(rig.daemon.output().contains(why), "{name}: {}", rig.daemon.output());
        assert_ne!(rig.ask(name).status(), 200, "{name}: the probe tells of requests");
    }
}

#[test]
fn who_passes_for_requests_passes_for_readings() {
    let files = Files::new();
    let (sim, ours) = (Sim::start(1, &[]), &files.authority);
    let alone = [false, true].map(|authority| Issued::self_signed(&[NAME], authority));
    let (issued, expired) =
        (Authority::new().issue(&[NAME]), Authority::new().issue_as(&[NAME], Kind::Expired));
    let we = ours.issue(&["gateway"]).write(files.folder.path(), "we");
    let ours_shown = format!(", certificate: {{cert: {:?}, key: {:?}}}", we.cert, we.key);
    let cases = [
        ("pinned", &alone[0], files.pin(&alone[0], "pinned", NAME), true),
        ("pinned-authority", &alone[1], files.pin(&alone[1], "pinned-authority", NAME), true),
        ("pinned-leaf", &issued, files.pin(&issued, "pinned-leaf", NAME), true),
        ("pinned-name", &alone[1], files.pin(&alone[1], "pinned-name", "other.test"), false),
        ("pinned-expired", &expired, files.pin(&expired, "pinned-expired", NAME), false),
        ("pinned-other", &alone[0], files.pin(&alone[1], "pinned-other", NAME), false),
        ("anybody", &expired, ", tls: {insecure_skip_verify: true}".to_owned(), true),
        ("shown", &ours.issue(&[NAME]), files.tls(&ours_shown), true),
    ];
    let fronts: Vec<Front> =
        cases.iter().map(|(name, own, ..)| files.front(own, *name == "shown", sim.addresses[0])).collect();
    let written: Vec<_> = cases
        .iter()
        .zip(&fronts)
        .map(|((name, _, tls, _), front)| {
            let more = format!("{tls}, health: {{interval: 1m}}");
            (*name, secure_backend(name, front.address(), &more))
        })
        .collect();
    let rig = Rig::start(&written);
    for (name, _, _, passes) in &cases {
        let probe = rig.until("it is probed", |rig| probed(rig, name)).probe;
        assert_eq!(probe == Some(Probe::Passed), *passes, "{name}: {}", rig.daemon.output());
        assert_eq!(rig.ask(name).status() == 200, *passes, "{name}");
    }
}

#[test]
fn a_file_of_our_own_that_is_bad_says_nothing_of_the_server_and_is_read_when_it_is_mended() {
    let files = Files::new();
    let sim = Sim::start(1, &[]);
    let front = files.front(&files.authority.issue(&[NAME]), false, sim.addresses[0]);
    let more = files.tls("") + ", metrics: {interval: 100ms}, health: {interval: 100ms}";
    let mut rig = Rig::start(&[("m", secure_backend("m", front.address(), &more))]);
    rig.until("it is well", |rig| probed(rig, "m"));
    let ca = files.folder.path().join("ca.pem");
    rig.daemon.kill();
    std::fs::write(&ca, "no certificate").expect("ours");
    rig.restart_daemon();
    rig.until("the file is named", |rig| rig.daemon.output().contains("no TLS can be tried: ").then_some(()));
    assert!(probed(&rig, "m").is_some_and(|it| it.probe == Some(Probe::Passed)), "no probe was made");
    files.authority.write(files.folder.path(), "ca.pem");
    rig.until("it is read again", |rig| {
        rig.endpoints("m").into_iter().find(|it| it.reported.as_ref().is_some_and(|it| it.age_s < 0.5))
    });
}

#[test]
fn the_credential_goes_with_a_question_over_tls_and_nowhere_before_the_server_has_proved_who_it_is() {
    let files = Files::new();
    let origin = Origin::answering("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let known = files.front(&files.authority.issue(&[NAME]), false, origin.address());
    let other = Origin::echo();
    let unknown = files.front(&Authority::new().issue(&[NAME]), false, other.address());
    let key = files.folder.path().join("key");
    std::fs::write(&key, "sk-test").expect("ours");
    let more = format!("{}, credential: {{file: {:?}}}, health: {{interval: 100ms}}", files.tls(""), key);
    let rig = Rig::start(&[
        ("known", secure_backend("known", known.address(), &more)),
        ("unknown", secure_backend("unknown", unknown.address(), &more)),
    ]);
    rig.until("the other has failed", |rig| probed(rig, "unknown"));
    origin.wait_for("questions", |records| !records.is_empty());
    rig.until("it was asked", |_| origin.requests().into_iter().next());
    assert_eq!(origin.requests()[0].head.all("authorization"), [b"Bearer sk-test"]);
    assert_eq!(other.bytes(), 0);
}
