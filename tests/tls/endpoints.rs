//! Endpoints that speak TLS.

use std::time::Duration;

use ringway_contract::snapshot::BackendTls;
use ringway_tests::client::{get, post};
use ringway_tests::tls::{ANY_VERSION, Authority, Front, Issued, Kind};
use ringway_tests::{Gateway, Origin, Peer, Setup, each_driver};
use rustls::version::{TLS12, TLS13};

use crate::rig::Rig;

/// The name in the certificates of endpoints here.
const NAME: &str = "model.test";

#[test]
fn requests_pass_over_kept_connections_in_both_versions() {
    let rig = Rig::new();
    each_driver(|io| {
        for version in [&TLS12, &TLS13] {
            let origin = Origin::echo();
            let own = rig.authority.issue(&[NAME]);
            let front = Front::start(rig.authority.server(&own, false, &[version]), origin.address(), false);
            let setup = Rig::upstream(Setup::raw(front.address()), &rig.backend(NAME));
            let gateway = Gateway::start(io, setup);
            let mut caller = gateway.connect();
            for n in 0..5 {
                assert_eq!(caller.ask(get(&format!("/{n}"))).text(), format!("GET /{n}\n"));
            }
            let body: Vec<u8> = (0..2_000_000u32).map(|i| (i * 7 % 255) as u8).collect();
            let answer = caller.ask(post("/big", &body));
            assert!(answer.whole() && answer.body.ends_with(&body));
            assert_eq!(front.handshakes(), (1, 0), "one connection served all");
            assert_eq!(front.names(), [Some(NAME.to_owned())]);
            origin.assert_strict();
            drop(caller);
            gateway.finish();
        }
    });
}

#[test]
fn both_sides_may_speak_tls_at_once() {
    let rig = Rig::new();
    each_driver(|io| {
        let origin = Origin::echo();
        let own = rig.authority.issue(&[NAME]);
        let front = Front::start(rig.authority.server(&own, false, ANY_VERSION), origin.address(), false);
        let setup = Rig::upstream(rig.secure(Setup::raw(front.address())), &rig.backend(NAME));
        let gateway = Gateway::start(io, setup);
        let body = vec![b'y'; 700_000];
        let mut caller = rig.connect(&gateway);
        for _ in 0..3 {
            assert!(caller.ask(post("/big", &body)).body.ends_with(&body));
        }
        drop(caller);
        gateway.finish();
    });
}

#[test]
fn sessions_are_taken_up_again_where_connections_are_not_kept() {
    let rig = Rig::new();
    each_driver(|io| {
        for version in [&TLS12, &TLS13] {
            let origin = Origin::echo();
            let own = rig.authority.issue(&[NAME]);
            let front = Front::start(rig.authority.server(&own, false, &[version]), origin.address(), false);
            let setup = Rig::upstream(Setup::raw(front.address()), &rig.backend(NAME))
                .tune(|snapshot| snapshot.backends[0].connections.idle_max = 0);
            let gateway = Gateway::start(io, setup);
            let mut caller = gateway.connect();
            for _ in 0..4 {
                assert_eq!(caller.ask(get("/")).status(), 200);
            }
            assert_eq!(front.handshakes(), (1, 3), "{version:?}");
            assert_eq!(gateway.metric(&["ringway_upstream_tls_handshakes_total"]), 4.0);
            assert_eq!(gateway.metric(&["ringway_upstream_tls_resumptions_total"]), 3.0);
            drop(caller);
            gateway.finish();
            assert_eq!(front.clean_ends(), 4, "each was closed with a word");
        }
    });
}

/// What a caller is told, and what is counted and logged, when the endpoint shows `own`.
fn refused(own: &Issued, tls: &BackendTls, authority: &Authority, fault: &str) -> String {
    let origin = Origin::echo();
    let front = Front::start(authority.server(own, false, ANY_VERSION), origin.address(), false);
    let gateway = Gateway::start(
        ringway_tests::driver::preferred(),
        Rig::upstream(Setup::raw(front.address()), tls).attempts(1),
    );
    let answer = gateway.ask(get("/refused"));
    assert_eq!(answer.status(), 502, "{fault}");
    assert_eq!(answer.json()["error"]["code"], "tls_failed");
    assert_eq!(
        gateway.metric(&["ringway_upstream_tls_failures_total", &format!("\"{fault}\"")]),
        1.0,
        "{fault}"
    );
    let line = gateway.access().line_for("/refused");
    assert_eq!((&line["reason"], &line["tls"]), (&"up_tls".into(), &fault.into()));
    assert!(origin.requests().is_empty(), "nothing was sent");
    gateway.finish();
    answer.json()["error"]["message"].as_str().expect("a message").to_owned()
}

#[test]
fn a_certificate_that_proves_nothing_is_refused_with_its_reason_and_mend() {
    let rig = Rig::new();
    let (ours, tls) = (&rig.authority, rig.backend(NAME));
    let message = refused(&ours.issue(&["other.test"]), &tls, ours, "wrong_name");
    assert!(message.contains("another name") && message.contains("server_name"), "{message}");
    let message = refused(&ours.issue_as(&[NAME], Kind::Expired), &tls, ours, "expired");
    assert!(message.contains("out of date"), "{message}");
    let message = refused(&ours.issue_as(&[NAME], Kind::Future), &tls, ours, "not_yet_valid");
    assert!(message.contains("not valid yet"), "{message}");
    let message = refused(&Authority::new().issue(&[NAME]), &tls, ours, "unknown_issuer");
    assert!(message.contains("`tls: {ca}`"), "{message}");
    for authority in [true, false] {
        let message = refused(&Issued::self_signed(&[NAME], authority), &tls, ours, "self_signed");
        assert!(message.contains("signed itself") && message.contains("`tls: {ca}`"), "{message}");
    }
}

/// Whether an endpoint that shows `own` is spoken to.
fn accepted(own: &Issued, tls: &BackendTls, authority: &Authority) -> bool {
    let origin = Origin::echo();
    let front = Front::start(authority.server(own, false, ANY_VERSION), origin.address(), false);
    let setup = Rig::upstream(Setup::raw(front.address()), tls).attempts(1);
    let gateway = Gateway::start(ringway_tests::driver::preferred(), setup);
    let status = gateway.ask(get("/")).status();
    gateway.finish();
    status == 200
}

#[test]
fn a_certificate_named_as_its_own_authority_is_enough_for_its_name_only() {
    let rig = Rig::new();
    for authority in [true, false] {
        let own = Issued::self_signed(&[NAME], authority);
        let files = own.write(rig.folder(), "own");
        let tls = |name: &str| BackendTls {
            ca: Some(files.cert.clone()),
            server_name: Some(name.to_owned()),
            ..BackendTls::default()
        };
        assert!(accepted(&own, &tls(NAME), &rig.authority));
        assert!(!accepted(&own, &tls("other.test"), &rig.authority));
        let another = Issued::self_signed(&[NAME], authority);
        assert!(!accepted(&another, &tls(NAME), &rig.authority), "the same name, another key");
    }
}

#[test]
fn verification_is_skipped_only_where_the_configuration_says_so() {
    let rig = Rig::new();
    let tls = BackendTls { insecure_skip_verify: true, ..BackendTls::default() };
    let own = Authority::new().issue_as(&["whatever"], Kind::Expired);
    assert!(accepted(&own, &tls, &rig.authority));
    assert!(!accepted(&own, &BackendTls::default(), &rig.authority), "the system's authorities");
}

#[test]
fn an_endpoint_that_asks_gets_our_certificate() {
    let rig = Rig::new();
    let origin = Origin::echo();
    let own = rig.authority.issue(&[NAME]);
    let front = Front::start(rig.authority.server(&own, true, ANY_VERSION), origin.address(), false);
    let without = rig.backend(NAME);
    let pair = rig.authority.issue(&["gateway"]).write(rig.folder(), "we");
    let with = BackendTls { certificate: Some(pair), ..without.clone() };
    let gateway = |tls| {
        let setup = Rig::upstream(Setup::raw(front.address()), tls).attempts(1);
        Gateway::start(ringway_tests::driver::preferred(), setup)
    };
    let known = gateway(&with);
    assert_eq!(known.ask(get("/")).text(), "GET /\n");
    known.finish();
    let unknown = gateway(&without);
    assert_eq!(unknown.ask(get("/")).status(), 502);
    unknown.finish();
}

#[test]
fn an_endpoint_that_speaks_plain_text_is_told_apart() {
    let rig = Rig::new();
    each_driver(|io| {
        // It answers what it cannot read, as HTTP servers do.
        let origin = Origin::start(|peer: &mut Peer| {
            peer.read_some();
            peer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            peer.until_end(Duration::from_secs(5));
        });
        let setup = Rig::upstream(Setup::raw(origin.address()), &rig.backend(NAME)).attempts(1);
        let gateway = Gateway::start(io, setup);
        let answer = gateway.ask(get("/secret"));
        assert_eq!(answer.status(), 502);
        assert!(answer.text().contains("does not speak TLS"), "{}", answer.text());
        let leaked =
            origin.look(|records| records.iter().any(|it| it.received.windows(7).any(|w| w == b"/secret")));
        assert!(!leaked, "it never falls back to plain text");
        gateway.finish();
    });
}

#[test]
fn an_endpoint_that_stalls_in_the_handshake_is_given_up_in_time() {
    let rig = Rig::new();
    each_driver(|io| {
        let origin = Origin::start(|peer: &mut Peer| {
            peer.until_end(Duration::from_secs(10));
        });
        let setup = Rig::upstream(Setup::raw(origin.address()), &rig.backend(NAME))
            .attempts(1)
            .tune(|snapshot| snapshot.backends[0].connect_timeout_ms = ringway_contract::Millis::new(500));
        let gateway = Gateway::start(io, setup);
        let answer = gateway.ask(get("/"));
        assert_eq!(answer.status(), 502);
        assert!(
            answer.timing.head > Duration::from_millis(400) && answer.timing.head < Duration::from_secs(3)
        );
        assert_eq!(gateway.metric(&["ringway_upstream_tls_failures_total", "timed_out"]), 1.0);
        gateway.finish();
    });
}

#[test]
fn a_body_that_ends_with_the_connection_must_end_with_a_word() {
    let rig = Rig::new();
    each_driver(|io| {
        for rude in [false, true] {
            let origin = Origin::start(|peer: &mut Peer| {
                peer.request();
                peer.send("HTTP/1.1 200 OK\r\n\r\nuntil the end");
                peer.fin();
                peer.until_end(Duration::from_secs(5));
            });
            let own = rig.authority.issue(&[NAME]);
            let front = Front::start(rig.authority.server(&own, false, ANY_VERSION), origin.address(), rude);
            let setup = Rig::upstream(Setup::raw(front.address()), &rig.backend(NAME)).attempts(1);
            let gateway = Gateway::start(io, setup);
            let answer = gateway.ask(get("/"));
            assert_eq!((answer.text().as_str(), answer.whole()), ("until the end", !rude), "rude: {rude}");
            let cut = gateway.metric(&["ringway_abnormal_ends_total", "up_body_cut"]);
            assert_eq!(cut, if rude { 1.0 } else { 0.0 });
            gateway.finish();
        }
    });
}

#[test]
fn a_body_with_a_length_needs_no_word_behind_it() {
    let rig = Rig::new();
    let origin = Origin::start(|peer: &mut Peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwhole");
        peer.fin();
        peer.until_end(Duration::from_secs(5));
    });
    let own = rig.authority.issue(&[NAME]);
    let front = Front::start(rig.authority.server(&own, false, ANY_VERSION), origin.address(), true);
    let setup = Rig::upstream(Setup::raw(front.address()), &rig.backend(NAME)).attempts(1);
    let gateway = Gateway::start(ringway_tests::driver::preferred(), setup);
    let answer = gateway.ask(get("/"));
    assert_eq!((answer.text().as_str(), answer.whole()), ("whole", true));
    gateway.finish();
}

#[test]
fn an_endpoint_is_named_after_its_url_if_nothing_else_is_said() {
    let rig = Rig::new();
    let origin = Origin::echo();
    let own = rig.authority.issue(&["127.0.0.1"]);
    let front = Front::start(rig.authority.server(&own, false, ANY_VERSION), origin.address(), false);
    let tls = BackendTls { server_name: None, ..rig.backend(NAME) };
    let setup = Rig::upstream(Setup::raw(front.address()), &tls);
    let gateway = Gateway::start(ringway_tests::driver::preferred(), setup);
    assert_eq!(gateway.ask(get("/")).status(), 200);
    assert_eq!(front.names(), [None], "addresses are no names to ask for");
    gateway.finish();
}

#[test]
fn a_reload_that_changes_whom_to_trust_does_not_use_connections_of_before() {
    let rig = Rig::new();
    let origin = Origin::echo();
    let own = rig.authority.issue(&[NAME]);
    let front = Front::start(rig.authority.server(&own, false, ANY_VERSION), origin.address(), false);
    let setup = Rig::upstream(Setup::raw(front.address()), &rig.backend(NAME)).attempts(1);
    let gateway = Gateway::start(ringway_tests::driver::preferred(), setup);
    let mut caller = gateway.connect();
    assert_eq!(caller.ask(get("/")).status(), 200);
    let mut next = gateway.snapshot().clone();
    next.generation = ringway_contract::Generation::NONE;
    next.backends[0].tls = Some(BackendTls { server_name: Some("other.test".into()), ..rig.backend(NAME) });
    assert_eq!(gateway.push(&next).status(), 200);
    assert_eq!(caller.ask(get("/")).status(), 502);
    next.backends[0].endpoints[0].secure = false;
    assert_eq!(gateway.push(&next).status(), 200);
    assert_ne!(caller.ask(get("/")).status(), 200, "the front does not speak plain text");
    assert_eq!(origin.requests().len(), 1);
    drop(caller);
    gateway.finish();
}
