//! A running `ringway`: started from a snapshot, watched through its control socket, stopped with the test.
//!
//! Owns: the process, its folder (snapshot, socket, state, logs) and what its gauges read when it started.
//! Must not: outlive the test: `Drop` kills it, and prints its log if the test failed.
//! Read next: `setup.rs`, what it starts with.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use ringway_contract::Snapshot;
use ringway_contract::snapshot::AccessLog;
use ringway_contract::stats::Stats;
use rustix::process::{Pid, Signal, kill_process};

use crate::access::Log;
use crate::bounds::{IDLE_MAX, POLL_EVERY, START_MAX, STOP_MAX};
use crate::client::{Answer, Client};
use crate::control;
use crate::driver::Io;
use crate::programs::program;
use crate::setup::Setup;

/// What must be back where it was when nothing is in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Downstream connections.
    pub connections: u64,
    /// Exchanges in flight.
    pub exchanges: u64,
    /// Upstream connections in use.
    pub upstream_active: u64,
    /// Idle upstream connections: may differ, and explain open files.
    pub upstream_idle: u64,
    /// Attempts in flight, all endpoints.
    pub in_flight: u64,
    /// Open files of the process.
    pub files: u64,
}

impl Gauges {
    /// Whether everything but kept connections is as in `start`.
    fn is_back_at(&self, start: &Self) -> bool {
        let busy = |g: &Self| (g.connections, g.exchanges, g.upstream_active, g.in_flight);
        busy(self) == busy(start) && self.files.saturating_sub(self.upstream_idle) <= start.files
    }
}

/// A running data plane.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    folder: tempfile::TempDir,
    setup: Setup,
    io: Io,
    start: Gauges,
}

impl Gateway {
    /// Starts `ringway` with this setup and waits until it serves.
    pub fn start(io: Io, setup: Setup) -> Self {
        Self::try_start(io, setup).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same; why it does not serve, if so.
    pub fn try_start(io: Io, mut setup: Setup) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("ringway-test-").tempdir();
        let folder = folder.expect("a temporary folder can be made");
        if setup.snapshot.logging.access == AccessLog::Off {
            setup.snapshot.logging.access = AccessLog::Path(path_text(&folder.path().join("access.log")));
        }
        fs::DirBuilder::new().mode(0o700).create(folder.path().join("run")).expect("the folder is ours");
        write_private(&folder.path().join("snapshot.json"), &json(&setup.snapshot));
        let child = spawn(folder.path(), &setup, io, true);
        let mut gateway = Self { child, folder, setup, io, start: Gauges::default() };
        gateway.wait_ready()?;
        Ok(gateway)
    }

    /// Starts it again in the same folder; it finds its last good snapshot by itself.
    pub fn restart_from_state(&mut self) {
        assert!(self.setup.state, "a setup without state cannot restart from it");
        self.child = spawn(self.folder.path(), &self.setup, self.io, false);
        self.wait_ready().unwrap_or_else(|why| panic!("{why}"));
    }

    fn wait_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_MAX;
        while !self.is_ready() {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return Err(format!("ringway ended at start with {status}:\n{}", self.log_text()));
            }
            if Instant::now() > deadline {
                return Err(format!("ringway is not ready in time:\n{}", self.log_text()));
            }
            std::thread::sleep(POLL_EVERY);
        }
        self.start = self.at_rest(deadline);
        Ok(())
    }

    /// The gauges once the connection that found it ready is gone again.
    fn at_rest(&self, deadline: Instant) -> Gauges {
        loop {
            std::thread::sleep(POLL_EVERY); // the connections that asked whether it is ready end meanwhile
            let now = self.gauges();
            if now.connections == 0 {
                return now;
            }
            assert!(Instant::now() < deadline, "ringway does not come to rest: {now:?}");
        }
    }

    fn is_ready(&self) -> bool {
        let ready = control::call(&self.socket(), "GET", "/readyz", "", b"").is_ok_and(|a| a.status() == 200);
        ready && Client::try_connect(self.address()).is_ok()
    }

    /// Where callers connect.
    pub fn address(&self) -> SocketAddr {
        self.setup.snapshot.listeners[0].address
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("run/dataplane.sock")
    }

    /// Its folder, for files of the test's.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The snapshot it was started with.
    pub fn snapshot(&self) -> &Snapshot {
        &self.setup.snapshot
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection to it.
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// One request on a connection of its own.
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        self.connect().ask(request)
    }

    /// One request to the control socket.
    pub fn control(&self, method: &str, target: &str, fields: &str, body: &[u8]) -> Answer {
        control::call(&self.socket(), method, target, fields, body).unwrap_or_else(|error| {
            panic!("{method} {target} on the control socket: {error}\n{}", self.log_text())
        })
    }

    /// Pushes a snapshot and returns the answer.
    pub fn push(&self, snapshot: &Snapshot) -> Answer {
        self.control("PUT", "/v1/snapshot", "Content-Type: application/json\r\n", &json(snapshot))
    }

    /// What it tells about itself.
    pub fn stats(&self) -> Stats {
        let answer = self.control("GET", "/v1/stats", "", b"");
        serde_json::from_slice(&answer.body)
            .unwrap_or_else(|error| panic!("{error} in stats {:?}", answer.text()))
    }

    /// Its metrics by series name with labels.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let text = self.control("GET", "/metrics", "", b"").text();
        let series = text.lines().filter(|line| !line.starts_with('#'));
        series
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, v)| Some((name.to_owned(), v.parse().ok()?)))
            .collect()
    }

    /// The sum of all series whose name and labels contain all of `parts`.
    pub fn metric(&self, parts: &[&str]) -> f64 {
        let fits = |name: &str| parts.iter().all(|part| name.contains(part));
        self.metrics().iter().filter(|(name, _)| fits(name)).map(|(_, value)| value).sum()
    }

    /// Its gauges now.
    pub fn gauges(&self) -> Gauges {
        let files = self.open_files(); // before the question, whose own connection would count
        let stats = self.stats();
        let sum = |of: fn(&ringway_contract::stats::WorkerStats) -> u64| stats.workers.iter().map(of).sum();
        Gauges {
            connections: sum(|w| w.connections),
            exchanges: sum(|w| w.exchanges),
            upstream_active: sum(|w| w.upstream_active),
            upstream_idle: sum(|w| w.upstream_idle),
            in_flight: stats.endpoints.iter().map(|e| e.in_flight).sum(),
            files,
        }
    }

    fn open_files(&self) -> u64 {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, |entries| entries.count() as u64)
    }

    /// What its open files are, for failure messages.
    fn files(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", self.pid())) else { return Vec::new() };
        let name = |entry: fs::DirEntry| fs::read_link(entry.path()).map(|to| to.display().to_string());
        entries.flatten().filter_map(|entry| name(entry).ok()).collect()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1_024
    }

    /// Processor time used so far.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let field =
            |n: usize| after_name.split_whitespace().nth(n).and_then(|t| t.parse::<u64>().ok()).unwrap_or(0);
        Duration::from_secs_f64(
            (field(11) + field(12)) as f64 / rustix::param::clock_ticks_per_second() as f64,
        )
    }

    /// Waits until every gauge is back where it began; what it reads, if it is not in time.
    pub fn try_idle(&self, within: Duration) -> Result<(), Gauges> {
        let deadline = Instant::now() + within;
        loop {
            let now = self.gauges();
            if now.is_back_at(&self.start) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(now);
            }
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Fails the test unless every gauge and the open files are back where they began, within `IDLE_MAX`.
    pub fn assert_idle(&self) {
        self.assert_idle_within(IDLE_MAX);
    }

    /// The same with another span.
    pub fn assert_idle_within(&self, span: Duration) {
        if let Err(now) = self.try_idle(span) {
            panic!("not idle after {span:?}: {now:?}; at start: {:?}; open: {:?}", self.start, self.files());
        }
    }

    /// Its access log.
    pub fn access(&self) -> Log {
        Log::at(self.folder.path().join("access.log"))
    }

    /// What it wrote to stderr and stdout.
    pub fn log_text(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        format!("{}{}", read("stdout.log"), read("stderr.log"))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id is positive");
        kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal ringway: {error}"));
    }

    /// Waits for it to end; fails the test if it does not in time.
    pub fn wait_for_exit(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "ringway still runs after {within:?}:\n{}", self.log_text());
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Kills it without a chance to clean up.
    pub fn kill(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }

    /// Fails the test if anything is not at rest or any worker panicked; then stops it with SIGTERM.
    pub fn finish(mut self) {
        self.assert_idle();
        assert!(!self.log_text().contains("panicked"), "ringway panicked:\n{}", self.log_text());
        self.signal(Signal::TERM);
        let status = self.wait_for_exit(STOP_MAX);
        assert!(status.success(), "ringway ended with {status}:\n{}", self.log_text());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- log of ringway ({}) ---\n{}", self.io, tail(&self.log_text()));
        }
    }
}

/// Whether `ringway --io uring` really runs on io_uring here; a container may forbid it.
pub fn uring_works() -> bool {
    let nobody = crate::ports::Port::refusing();
    let gateway = Gateway::try_start(Io::Uring, Setup::raw(nobody.address()));
    gateway.is_ok_and(|gateway| gateway.stats().workers.iter().all(|worker| worker.io.starts_with("uring")))
}

fn spawn(folder: &Path, setup: &Setup, io: Io, with_snapshot: bool) -> Child {
    let mut command = Command::new(program("ringway"));
    command.arg("--control").arg(folder.join("run/dataplane.sock"));
    command.args(["--workers", &setup.workers.to_string(), "--no-pin", "--io", &io.to_string()]);
    if with_snapshot {
        command.arg("--snapshot").arg(folder.join("snapshot.json"));
    }
    if setup.state {
        command.arg("--state-dir").arg(folder.join("state"));
    }
    command.args(&setup.args).stdin(Stdio::null());
    command.stdout(append(&folder.join("stdout.log"))).stderr(append(&folder.join("stderr.log")));
    command.spawn().unwrap_or_else(|error| panic!("cannot start ringway: {error}"))
}

fn append(path: &Path) -> fs::File {
    let opened = fs::OpenOptions::new().create(true).append(true).open(path);
    opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write_private(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    let opened = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    opened
        .and_then(|mut file| file.write_all(bytes))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn json(snapshot: &Snapshot) -> Vec<u8> {
    serde_json::to_vec_pretty(snapshot).expect("a snapshot can be written")
}

fn path_text(path: &Path) -> String {
    path.to_str().expect("temporary folders have plain names").to_owned()
}

fn tail(text: &str) -> &str {
    const SHOWN_BYTES_MAX: usize = 8 * 1_024;
    let from = text.len().saturating_sub(SHOWN_BYTES_MAX);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[from..]
}
