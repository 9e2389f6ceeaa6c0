//! Simulated servers, a daemon and a data plane, started together.
//!
//! Owns: the processes, their folder, and looking at the stats until something is so.
//! Must not: know what is claimed.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ringway_contract::stats::{EndpointStats, Stats};
use ringway_tests::client::{Answer, post};
use ringway_tests::ports::Port;
use ringway_tests::process::Companion;
use ringway_tests::programs::program;
use ringway_tests::{Client, control};

/// Long enough for a loaded machine; nothing waits this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Simulated servers, one per address.
pub struct Sim {
    _process: Companion,
    pub addresses: Vec<SocketAddr>,
}

impl Sim {
    pub fn start(replicas: usize, args: &[&str]) -> Self {
        let count = replicas.to_string();
        let all =
            [&["sim", "--listen", "127.0.0.1:0", "--replicas", &count, "--model", "m"][..], args].concat();
        let mut process = Companion::start("ringload", &all, Path::new("."));
        process.wait_until("addresses", |it| it.output().lines().count() >= replicas);
        let address = |line: &str| line.rsplit_once("http://").and_then(|(_, at)| at.trim().parse().ok());
        let addresses: Vec<SocketAddr> = process.output().lines().filter_map(address).collect();
        assert_eq!(addresses.len(), replicas, "{}", process.output());
        Self { _process: process, addresses }
    }
}

/// A daemon and a data plane on one config.
pub struct Rig {
    folder: tempfile::TempDir,
    pub daemon: Companion,
    _gateway: Companion,
    port: Port,
}

/// One backend of the config.
pub fn backend(name: &str, engine: &str, addresses: &[SocketAddr], more: &str) -> String {
    let urls: Vec<String> = addresses.iter().map(|address| format!("\"http://{address}\"")).collect();
    of_urls(name, engine, &urls.join(", "), more)
}

/// The same with one endpoint that speaks TLS.
pub fn secure_backend(name: &str, address: SocketAddr, more: &str) -> String {
    of_urls(name, "vllm", &format!("\"https://{address}\""), more)
}

fn of_urls(name: &str, engine: &str, urls: &str, more: &str) -> String {
    format!("  {name}: {{engine: {engine}, endpoints: [{urls}], models: m, balance: round_robin{more}}}\n")
}

impl Rig {
    /// Each backend is asked for by the model of its name.
    pub fn start(backends: &[(&str, String)]) -> Self {
        let port = Port::take();
        let folder = tempfile::Builder::new().prefix("ringway-load-").tempdir().expect("a folder");
        let mut config = format!(
            "version: 1\nlisteners: [{{address: \"{}\"}}]\nlogging: {{access: off}}\nbackends:\n",
            port.address()
        );
        config.extend(backends.iter().map(|(_, backend)| backend.as_str()));
        config += "routes:\n";
        for (name, _) in backends {
            let _ = writeln!(
                config, // a String takes all
                "  - {{name: {name}, match: {{path: /v1/chat/completions, model: {name}}}, targets: [{{backend: {name}, model: m}}]}}"
            );
        }
        std::fs::write(folder.path().join("ringway.yaml"), config).expect("the folder is ours");
        let gateway = ["--control", "dataplane.sock", "--workers", "1", "--no-pin"];
        let gateway = Companion::start("ringway", &gateway, folder.path());
        let daemon = Self::daemon(folder.path());
        let rig = Self { folder, daemon, _gateway: gateway, port };
        rig.until("it serves", |rig| Client::try_connect(rig.port.address()).ok().map(drop));
        rig
    }

    fn daemon(folder: &Path) -> Companion {
        let serve = ["serve", "--config", "ringway.yaml", "--data", "data"];
        let places = ["--socket", "daemon.sock", "--control", "dataplane.sock"];
        Companion::start("ringctl", &[&serve[..], &places[..]].concat(), folder)
    }

    /// A daemon after the one before, on the same revisions.
    pub fn restart_daemon(&mut self) {
        self.daemon.kill();
        self.daemon = Self::daemon(self.folder.path());
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("dataplane.sock")
    }

    pub fn stats(&self) -> Option<Stats> {
        let answer = control::call(&self.socket(), "GET", "/v1/stats", "", b"").ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// Endpoints of a backend, in the order of the config.
    pub fn endpoints(&self, backend: &str) -> Vec<EndpointStats> {
        let all = self.stats().map(|stats| stats.endpoints).unwrap_or_default();
        all.into_iter().filter(|endpoint| endpoint.backend == backend).collect()
    }

    /// Waits until `look` finds something.
    pub fn until<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "waited in vain until {what}\n{}\n--- the stats: {:#?}",
                self.daemon.output(),
                self.stats()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// One request for a few tokens.
    pub fn ask(&self, model: &str) -> Answer {
        Client::connect(self.port.address()).patient(PATIENCE).ask(request(model, 4, false))
    }

    /// A stream of many tokens, of which the first has come.
    pub fn stream(&self, model: &str) -> Client {
        let mut caller = Client::connect(self.port.address()).patient(PATIENCE);
        caller.send(request(model, 100_000, true));
        caller.take_until(b"data: ");
        caller
    }

    /// What `ringctl` prints.
    pub fn ringctl(&self, args: &[&str]) -> String {
        let output = Command::new(program("ringctl"))
            .args(args)
            .args(["--control", "dataplane.sock", "--socket", "daemon.sock"])
            .current_dir(self.folder.path())
            .output()
            .expect("ringctl can be run");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn request(model: &str, tokens: u32, stream: bool) -> Vec<u8> {
    let body = format!(
        "{{\"model\":\"{model}\",\"ignore_eos\":true,\"max_tokens\":{tokens},\"stream\":{stream},\
         \"messages\":[{{\"role\":\"user\",\"content\":\"tell me about load {}\"}}]}}",
        "and more ".repeat(200)
    );
    post("/v1/chat/completions", body)
}
