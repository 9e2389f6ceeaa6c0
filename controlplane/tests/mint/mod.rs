//! Tokens that the daemon gets for its backends, from a service of this file's own.
//!
//! Owns: the first token, its renewal, and what happens while there is none.
//! Must not: look into a claim; the unit tests of the account do.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

fn token(dataplane: &DataPlane) -> Option<String> {
    dataplane.with(|held| {
        let credential = held.snapshot.as_ref()?.backends[0].credential.as_ref()?;
        assert_eq!(credential.header, "authorization");
        Some(credential.value.clone())
    })
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
}
