//! Tokens that the daemon gets for its backends, from a service of this file's own.
//!
//! Owns: the first token, its renewal, and what happens while there is none.
//! Must not: look into a claim; the unit tests of the account do.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringway_contract::Snapshot;
use ringway_controlplane::digest;

use super::support::{DataPlane, Place, until};

const ACCOUNT: &str = include_str!("../fixtures/mint/account.json");

/// Answers each question with the next of these, and the last from then on.
fn service(answers: &'static [&'static str]) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let port = listener.local_addr().expect("bound").port();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let number = count.fetch_add(1, Ordering::Relaxed);
            answer(stream.expect("accepts"), answers[number.min(answers.len() - 1)]);
        }
    });
    (port, asked)
}

fn answer(mut stream: TcpStream, answer: &str) {
    let mut asked = Vec::new();
    let mut piece = [0; 4_096];
    while !String::from_utf8_lossy(&asked).contains("assertion=") {
        let count = stream.read(&mut piece).expect("reads");
        assert!(count > 0, "a whole question");
        asked.extend_from_slice(&piece[..count]);
    }
    let asked = String::from_utf8_lossy(&asked);
    assert!(asked.starts_with("POST /token HTTP/1.1"), "{asked}");
    assert!(asked.contains("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"), "{asked}");
    let (status, body) = answer.split_once(' ').expect("a status and a body");
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    let _ = stream.write_all((head + body).as_bytes());
}

fn place(port: u16) -> Place {
    let place = Place::new();
    place.write("account.json", &ACCOUNT.replace("127.0.0.1:9/", &format!("127.0.0.1:{port}/")));
    place.write(
        "ringway.yaml",
        "version: 1
listeners: [{address: 127.0.0.1:8001}]
backends:
  claude:
    engine: anthropic
    hosting: {vertex: {project: p, location: us-east5, service_account: account.json}}
    endpoints: [\"http://127.0.0.1:1\"]
routes: [{name: all, match: {path_prefix: /}, targets: [{backend: claude}]}]
",
    );
    place
}

/// The token in a snapshot, and whether its backend has anywhere to go.
fn proof(snapshot: &Snapshot) -> (Option<String>, bool) {
    let backend = &snapshot.backends[0];
    if let Some(credential) = &backend.credential {
        assert_eq!(credential.header, "authorization");
    }
    let value = backend.credential.as_ref().map(|credential| credential.value.clone());
    (value, !backend.endpoints[0].addresses.is_empty())
}

fn token(dataplane: &DataPlane) -> Option<String> {
    dataplane.with(|held| proof(held.snapshot.as_ref()?).0)
}

#[test]
fn a_backend_has_a_token_from_its_first_push_on() {
    let (port, asked) = service(&["200 {\"access_token\":\"first\",\"expires_in\":3600}"]);
    let place = place(port);
    let dataplane = DataPlane::start(&place.control());
    let _daemon = place.serve();
    dataplane.until_port(8001);
    assert_eq!(token(&dataplane).as_deref(), Some("Bearer first"));
    assert_eq!((dataplane.pushes(), asked.load(Ordering::Relaxed)), (1, 1));
    assert_eq!(place.history().len(), 1, "a token is no revision");
    assert!(!place.log().contains("first"), "a token is not logged");
}

#[test]
fn a_token_service_that_is_away_holds_nothing_up_and_is_asked_again() {
    let (port, _) = service(&[
        "503 {\"error\":\"unavailable\",\"error_description\":\"try later\"}",
        "200 {\"access_token\":\"late\"}",
    ]);
    let place = place(port);
    let dataplane = DataPlane::start(&place.control());
    let _daemon = place.serve();
    dataplane.until_port(8001);
    place.until_log("the token service answered 503 Service Unavailable: unavailable try later");
    until("a token", || token(&dataplane).filter(|token| token == "Bearer late"));
    place.until_log("a token could be had again");
    let first = dataplane.with(|held| proof(&held.pushes[0].1));
    assert_eq!(first, (None, false), "nothing goes there without proof");
}

#[test]
fn a_token_is_renewed_before_it_ends_and_there_is_always_one() {
    let (port, _) = service(&[
        "200 {\"access_token\":\"first\",\"expires_in\":5}",
        "200 {\"access_token\":\"second\",\"expires_in\":3600}",
    ]);
    let place = place(port);
    let dataplane = DataPlane::start(&place.control());
    let _daemon = place.serve();
    until("the second token", || token(&dataplane).filter(|token| token == "Bearer second"));
    let pushes = dataplane.with(|held| held.pushes.iter().map(|(_, it)| it.clone()).collect::<Vec<_>>());
    let proofs: Vec<_> = pushes.iter().map(proof).collect();
    let bearers = ["first", "second"].map(|token| (Some(format!("Bearer {token}")), true));
    assert_eq!(proofs, bearers, "each in one push, with nothing between");
    let ends: Vec<_> = pushes.iter().map(|it| it.backends[0].credential_until_s).collect();
    assert!(ends[0].is_some() && ends[0] < ends[1], "{ends:?}");
}

#[test]
fn a_daemon_that_starts_anew_keeps_the_token_that_runs_until_it_has_one() {
    let (port, asked) = service(&["200 {\"access_token\":\"first\"}", "401 {\"error\":\"invalid_grant\"}"]);
    let place = place(port);
    let dataplane = DataPlane::start(&place.control());
    let daemon = place.serve();
    until("a token", || token(&dataplane));
    daemon.kill();
    let _daemon = place.serve();
    until("it was asked again", || (asked.load(Ordering::Relaxed) > 1).then_some(()));
    let told = until("the trouble is told", || {
        let table = place.run(&["backends", "list", "-o", "table"]).ok();
        table.contains("no token for claude (ringway@test-only.example): ").then_some(table)
    });
    assert!(told.contains("401 Unauthorized: invalid_grant"), "{told}");
    assert!(place.run(&["show", "-o", "table"]).ok().contains("none for claude"), "told in the overview too");
    assert_eq!(dataplane.pushes(), 1, "what runs stays");
    assert_eq!(place.run(&["diff", "ringway.yaml", "-o", "json"]).ok().matches("path").count(), 0);

    let changed = std::fs::read_to_string(place.path("ringway.yaml")).expect("is there");
    place.replace(&changed.replace("8001", "8002"));
    dataplane.until_port(8002);
    let kept = (Some(digest::short(b"Bearer first")), true);
    assert_eq!(dataplane.with(|held| proof(&held.pushes[1].1)), kept, "it stands for the one that runs");
    place.replace(&changed.replace("8001", "8003").replace("127.0.0.1:1", "127.0.0.1:2"));
    dataplane.until_port(8003);
    assert_eq!(dataplane.with(|held| proof(&held.pushes[2].1)), (None, false), "and goes nowhere else");
}
