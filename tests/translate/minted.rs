//! Tokens of a service account, from the service that gives them to the backend that asks for them: `ringctl` gets them,
//! `ringway` sends them.
//!
//! Owns: a token service that can go away, and both programs beside it.
//! Must not: look into a claim; the control plane's own tests do.
//! Read next: `hosted.rs`, where such a request goes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ringway_contract::snapshot::Engine;
use ringway_tests::client::post;
use ringway_tests::process::Companion;
use ringway_tests::programs::program;
use ringway_tests::tls::{Authority, Front};
use ringway_tests::{Gateway, Origin, each_driver};
use serde_json::json;

use crate::rig::{gateway, untuned, whole};

const ACCOUNT: &str = include_str!("../../controlplane/tests/fixtures/mint/account.json");
const CALL: &str = "/v1beta/models/m:generateContent";

/// Gives the tokens t1, t2 and so on, each for two seconds.
struct Tokens {
    address: SocketAddr,
    away: Arc<AtomicBool>,
}

impl Tokens {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let away = Arc::new(AtomicBool::new(false));
        let (gone, given) = (Arc::clone(&away), AtomicUsize::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let body = if gone.load(Ordering::Acquire) {
                    None
                } else {
                    let number = given.fetch_add(1, Ordering::Relaxed) + 1;
                    Some(json!({"access_token": format!("t{number}"), "expires_in": 2}).to_string())
                };
                answer(stream, body.as_deref());
            }
        });
        Self { address, away }
    }
}

fn answer(mut stream: TcpStream, body: Option<&str>) {
    let (mut asked, mut piece) = (Vec::new(), [0; 4_096]);
    while !asked.windows(10).any(|part| part == b"assertion=") {
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => asked.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
    let (status, body) = body.map_or((503, "{}"), |body| (200, body));
    let answer =
        format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    let _ = stream.write_all(answer.as_bytes()); // whoever asked may have gone
}

fn place(gateway: &Gateway, origin: &Origin, service: &str) {
    let write = |name: &str, text: String| {
        std::fs::write(gateway.folder().join(name), text).expect("the folder is ours");
    };
    write("account.json", ACCOUNT.replace("http://127.0.0.1:9", service));
    write(
        "ringway.yaml",
        format!(
            "version: 1\nlisteners: [{{address: {}}}]\nbackends:\n  gemini:\n    engine: gemini\n    \
             hosting: {{vertex: {{project: p, location: l, service_account: account.json}}}}\n    \
             endpoints: [\"http://{}\"]\nroutes:\n  - {{name: all, match: {{path_prefix: /}}, targets: [{{backend: gemini}}]}}\n",
            gateway.address(),
            origin.address()
        ),
    );
}

fn serve(gateway: &Gateway, variables: &[(&str, &str)]) -> Companion {
    let path = |name: &str| gateway.folder().join(name).to_str().expect("plain").to_owned();
    let (socket, control) = (path("run/daemon.sock"), path("run/dataplane.sock"));
    let (config, data) = (path("ringway.yaml"), path("data"));
    let args = ["--socket", &socket, "--control", &control, "serve", "--config", &config, "--data", &data];
    Companion::start_with("ringctl", &args, gateway.folder(), variables)
}

/// What `ringctl backends` says.
fn backends(gateway: &Gateway) -> String {
    let run = gateway.folder().join("run");
    let mut ringctl = Command::new(program("ringctl"));
    ringctl.arg("--socket").arg(run.join("daemon.sock")).arg("--control").arg(run.join("dataplane.sock"));
    let output = ringctl.args(["backends", "list", "-o", "table"]).output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The token that the backend was sent last.
fn last_sent(origin: &Origin) -> String {
    let request = origin.requests().pop().expect("a request");
    request.head.one("authorization").expect("a proof").strip_prefix("Bearer ").expect("a token").to_owned()
}

#[test]
fn a_token_reaches_its_backend_is_renewed_and_goes_on_while_no_other_can_be_had() {
    each_driver(|io| {
        let (origin, tokens) = (Origin::answering(whole(200, &json!({"candidates": []}))), Tokens::start());
        let nobody = Origin::answering(whole(503, &json!({})));
        let gateway = gateway(io, Engine::Gemini, &nobody, untuned);
        place(&gateway, &origin, &format!("http://{}", tokens.address));
        let mut daemon = serve(&gateway, &[]);
        let ask = || gateway.ask(post(CALL, json!({"contents": []}).to_string())).status();
        daemon.wait_until("a first token", |_| ask() == 200);
        let first = last_sent(&origin);
        daemon.wait_until("a second one", |_| {
            assert_eq!(ask(), 200, "there is always one");
            last_sent(&origin) != first
        });

        tokens.away.store(true, Ordering::Release);
        daemon.wait_until("the trouble is told", |_| {
            backends(&gateway).contains("no token for gemini (ringway@")
        });
        assert_eq!(ask(), 200);
        let last = last_sent(&origin);
        let until = gateway.metric(&["ringway_credential_expiry_timestamp_seconds", "gemini"]);
        assert!(until > 1e9, "an alert can be made of {until}");

        daemon.kill();
        let mut daemon = serve(&gateway, &[]);
        daemon.wait_until("it was refused", |daemon| daemon.output().contains("no token can be had"));
        daemon.wait_until("it has looked at what runs", |_| backends(&gateway).contains("there was none"));
        assert_eq!((ask(), last_sent(&origin)), (200, last.clone()), "what runs is not replaced by nothing");

        tokens.away.store(false, Ordering::Release);
        daemon.wait_until("the next one", |_| {
            assert_eq!(ask(), 200);
            last_sent(&origin) != last
        });
        assert!(!gateway.log_text().contains("Bearer") && !daemon.output().contains("Bearer"));
        drop(daemon);
        gateway.finish();
    });
}

#[test]
fn a_token_service_has_to_prove_itself_to_the_authorities_that_the_system_trusts() {
    each_driver(|io| {
        let (origin, tokens) = (Origin::answering(whole(200, &json!({"candidates": []}))), Tokens::start());
        let nobody = Origin::answering(whole(503, &json!({})));
        let gateway = gateway(io, Engine::Gemini, &nobody, untuned);
        let (authority, stranger) = (Authority::new(), Authority::new());
        let server = authority.server(&authority.issue(&["localhost"]), false, rustls::ALL_VERSIONS);
        let front = Front::start(server, tokens.address, false);
        place(&gateway, &origin, &format!("https://localhost:{}", front.address().port()));

        let trusted = stranger.write(gateway.folder(), "stranger.pem");
        let mut daemon = serve(&gateway, &[("SSL_CERT_FILE", &trusted)]);
        daemon.wait_until("it was refused", |daemon| daemon.output().contains("invalid peer certificate"));
        daemon.kill();

        let trusted = authority.write(gateway.folder(), "authority.pem");
        let mut daemon = serve(&gateway, &[("SSL_CERT_FILE", &trusted)]);
        let ask = || gateway.ask(post(CALL, json!({"contents": []}).to_string())).status();
        daemon.wait_until("a token", |_| ask() == 200);
        assert!(last_sent(&origin).starts_with('t'));
        assert_eq!(front.names().last(), Some(&Some("localhost".to_owned())));
        drop(daemon);
        gateway.finish();
    });
}
