//! Files that are wrong, and files that change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringway_contract::Generation;
use ringway_contract::snapshot::{CertificateFiles, ListenerTls};
use ringway_tests::client::get;
use ringway_tests::driver::preferred;
use ringway_tests::tls::{ANY_VERSION, Authority, connect, try_connect};
use ringway_tests::{Gateway, Origin, Setup, each_driver};

use crate::rig::{NAME, Rig};

/// The certificate that a new connection is shown.
fn shown(rig: &Rig, gateway: &Gateway) -> Vec<u8> {
    let stream = try_connect(&rig.caller(), gateway.address(), NAME).expect("TLS");
    stream.conn.peer_certificates().expect("shown")[0].to_vec()
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_renewed_certificate_is_shown_to_new_connections_and_ends_none() {
    let rig = Rig::new();
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = Gateway::start(io, rig.secure(Setup::raw(origin.address())));
        let first = shown(&rig, &gateway);
        let over = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicU64::new(0));
        let mut kept = rig.connect(&gateway);
        assert_eq!(kept.ask(get("/before")).status(), 200);
        let load = {
            let (over, served, config) = (Arc::clone(&over), Arc::clone(&served), rig.caller());
            let address = gateway.address();
            std::thread::spawn(move || {
                while !over.load(Ordering::Acquire) {
                    let mut caller = connect(&config, address, NAME);
                    for _ in 0..5 {
                        assert_eq!(caller.ask(get("/load")).status(), 200);
                        served.fetch_add(1, Ordering::AcqRel);
                    }
                }
            })
        };
        let renewed = rig.authority.issue(&[NAME]);
        renewed.write(rig.folder(), "site");
        wait_until("the renewed certificate", || shown(&rig, &gateway) != first);
        assert_eq!(shown(&rig, &gateway), renewed.certificate.to_vec());
        assert_eq!(kept.ask(get("/after")).status(), 200, "the connection of before goes on");
        over.store(true, Ordering::Release);
        load.join().expect("no request failed");
        assert!(served.load(Ordering::Acquire) > 10);
        assert!(gateway.log_text().contains("read again"));
        drop(kept);
        gateway.finish();
    });
}

#[test]
fn a_renewal_that_does_not_fit_together_changes_nothing_until_it_does() {
    let rig = Rig::new();
    let origin = Origin::echo();
    let gateway = Gateway::start(preferred(), rig.secure(Setup::raw(origin.address())));
    let first = shown(&rig, &gateway);
    let renewed = rig.authority.issue(&[NAME]);
    std::fs::write(rig.folder().join("site.pem"), &renewed.cert_pem).expect("ours");
    wait_until("the complaint", || gateway.log_text().contains("is not the key of"));
    assert_eq!(shown(&rig, &gateway), first);
    assert!(!gateway.log_text().contains("BEGIN"), "no key and no certificate in the log");
    std::fs::write(rig.folder().join("site.key"), &renewed.key_pem).expect("ours");
    wait_until("the renewed certificate", || shown(&rig, &gateway) != first);
    gateway.finish();
}

#[test]
fn a_snapshot_with_files_that_cannot_be_used_is_refused_with_all_of_them() {
    let rig = Rig::new();
    let origin = Origin::echo();
    let gateway = Gateway::start(preferred(), rig.secure(Setup::raw(origin.address())));
    let good = rig.authority.issue(&[NAME]).write(rig.folder(), "good");
    let other = rig.authority.issue(&[NAME]).write(rig.folder(), "other");
    let key = std::fs::read_to_string(&good.key).expect("ours");
    let secret = key.lines().nth(1).expect("a line of the key");
    std::fs::write(rig.folder().join("junk"), "junk").expect("ours");
    let junk = rig.folder().join("junk").display().to_string();
    let mut next = gateway.snapshot().clone();
    next.generation = Generation::NONE;
    let pair = |cert: &str, key: &str| CertificateFiles { cert: cert.to_owned(), key: key.to_owned() };
    let cases = [
        (pair("/nowhere.pem", &good.key), None, "certificates[0].cert", "cannot be read"),
        (pair(&good.cert, "/nowhere.key"), None, "certificates[0].key", "cannot be read"),
        (pair(&good.cert, &other.key), None, "certificates[0].key", "is not the key of"),
        (pair(&good.key, &good.key), None, "certificates[0].cert", "holds no certificate"),
        (pair(&good.cert, &good.cert), None, "certificates[0].key", "holds no private key"),
        (pair(&junk, &good.key), None, "certificates[0].cert", "holds no certificate"),
        (pair(&good.cert, &good.key), Some(junk.clone()), "client_ca", "holds no certificate"),
    ];
    for (pair, client_ca, at, what) in cases {
        next.listeners[0].tls = Some(ListenerTls { certificates: vec![pair], client_ca });
        let answer = gateway.push(&next);
        assert_eq!(answer.status(), 422, "{at}: {what}");
        let text = answer.text();
        assert!(text.contains(&format!("listeners[0].tls.{at}")) && text.contains(what), "{text}");
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!(rig.connect(&gateway).ask(get("/")).status(), 200, "what ran before still does");
    gateway.finish();
}

#[test]
fn a_reload_adds_and_removes_tls_for_new_connections() {
    let rig = Rig::new();
    let origin = Origin::echo();
    let gateway = Gateway::start(preferred(), Setup::raw(origin.address()));
    let mut plain = gateway.connect();
    assert_eq!(plain.ask(get("/")).status(), 200);
    let mut next = gateway.snapshot().clone();
    next.generation = Generation::NONE;
    next.listeners[0].tls = Some(rig.listener());
    assert_eq!(gateway.push(&next).status(), 200);
    let mut secure = rig.connect(&gateway);
    assert_eq!(secure.ask(get("/")).status(), 200);
    assert_eq!(plain.ask(get("/")).status(), 200, "the connection of before goes on");
    next.listeners[0].tls = None;
    assert_eq!(gateway.push(&next).status(), 200);
    assert_eq!(gateway.ask(get("/")).status(), 200);
    assert_eq!(secure.ask(get("/")).status(), 200);
    drop((plain, secure));
    gateway.finish();
}

#[test]
fn a_trust_that_is_read_again_counts_for_new_connections() {
    let rig = Rig::new();
    let origin = Origin::echo();
    let stranger = Authority::new();
    let own = stranger.issue(&["model.test"]);
    let front =
        ringway_tests::tls::Front::start(stranger.server(&own, false, ANY_VERSION), origin.address(), false);
    let setup = Rig::upstream(Setup::raw(front.address()), &rig.backend("model.test")).attempts(1);
    let gateway = Gateway::start(preferred(), setup);
    assert_eq!(gateway.ask(get("/")).status(), 502);
    stranger.write(rig.folder(), "ca.pem");
    wait_until("trust", || gateway.ask(get("/")).status() == 200);
    gateway.finish();
}

#[test]
fn neither_key_nor_certificate_shows_anywhere() {
    let rig = Rig::new();
    let origin = Origin::echo();
    let gateway = Gateway::start(preferred(), rig.secure(Setup::raw(origin.address())).with_state());
    assert_eq!(rig.connect(&gateway).ask(get("/")).status(), 200);
    let key = std::fs::read_to_string(rig.folder().join("site.key")).expect("ours");
    let secret = key.lines().nth(1).expect("a line of the key");
    let snapshot = gateway.control("GET", "/v1/snapshot", "", b"").text();
    let metrics = gateway.control("GET", "/metrics", "", b"").text();
    let stored: String = std::fs::read_dir(gateway.folder().join("state"))
        .expect("state is kept")
        .flatten()
        .filter_map(|file| std::fs::read_to_string(file.path()).ok())
        .collect();
    assert!(stored.contains("site.key"), "the name of the file is");
    for text in [snapshot, metrics.clone(), stored, gateway.log_text()] {
        assert!(!text.contains(secret) && !text.contains("BEGIN"));
    }
    let expiry =
        metrics.lines().find(|line| line.starts_with("ringway_tls_certificate_expiry_timestamp_seconds{"));
    assert!(expiry.is_some_and(|line| line.ends_with(" 3786912000")), "2090-01-01: {expiry:?}");
    gateway.finish();
}
