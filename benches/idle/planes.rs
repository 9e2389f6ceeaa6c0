//! `ringctl up` and the `ringway` that it starts, and the time that the system has given to each.
//!
//! Owns: their configuration and folder; they end when it is dropped.
//! Must not: ask them anything while they are measured.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ringway_contract::load::Probe;
use ringway_contract::stats::{EndpointStats, Stats};
use rustix::process::{Pid, Signal, kill_process};

use crate::pages::MODEL;

/// Both processes.
pub struct Planes {
    ringctl: Child,
    folder: tempfile::TempDir,
}

/// CPU time since their start, user and system, all threads that ever were.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    pub ringctl_s: f64,
    pub ringway_s: f64,
}

/// Why there is nothing to measure.
#[derive(Debug, thiserror::Error)]
pub enum NotIdle {
    /// It cannot be started.
    #[error("cannot start ringctl ({0}); `benches/idle/run` builds what is needed")]
    Start(io::Error),
    /// Some server is not read or not well.
    #[error("{read} of {all} servers are read and well; the log is:\n{log}")]
    Unread {
        /// Those that are.
        read: usize,
        /// Those that should be.
        all: usize,
        /// What both processes said.
        log: String,
    },
    /// `/proc` has no such process any more.
    #[error("a process under measurement is gone; the log is:\n{0}")]
    Gone(String),
    /// Anything of the system's.
    #[error(transparent)]
    System(#[from] io::Error),
}

const START_MAX: Duration = Duration::from_secs(20);
/// Older ones count no more where endpoints are chosen.
const FRESH_S_MAX: f64 = 1.25;

impl Planes {
    /// In front of these servers.
    pub fn start(servers: &[SocketAddr], interval: &str) -> Result<Self, NotIdle> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("ringway.yaml");
        fs::write(&config, configuration(servers, interval)?)?;
        let log = fs::File::create(folder.path().join("log"))?;
        let mut up = Command::new(std::env::current_exe()?.with_file_name("ringctl"));
        up.arg("up").arg("--config").arg(&config).arg("--data").arg(folder.path().join("data"));
        up.env("XDG_RUNTIME_DIR", folder.path()).env("RUNTIME_DIRECTORY", folder.path());
        up.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self { ringctl: up.spawn().map_err(NotIdle::Start)?, folder })
    }

    /// Waits for a fresh report and a good probe of each.
    pub fn wait_until_all_are_read(&self, all: usize) -> Result<(), NotIdle> {
        let began = Instant::now();
        loop {
            match self.check_all_are_read(all) {
                Err(NotIdle::Unread { .. }) if began.elapsed() < START_MAX => {
                    sleep(Duration::from_millis(200));
                }
                done => return done,
            }
        }
    }

    /// Whether all are read and well at this moment.
    pub fn check_all_are_read(&self, all: usize) -> Result<(), NotIdle> {
        let fresh = |it: &&EndpointStats| {
            it.reported.as_ref().is_some_and(|it| it.running.is_some() && it.age_s < FRESH_S_MAX)
                && it.probe == Some(Probe::Passed)
        };
        let endpoints = self.stats().map(|stats| stats.endpoints).unwrap_or_default();
        let read = endpoints.iter().filter(fresh).count();
        if read == all { Ok(()) } else { Err(NotIdle::Unread { read, all, log: self.log() }) }
    }

    /// What they have used so far.
    pub fn cpu(&self) -> Result<Cpu, NotIdle> {
        let ringctl = self.ringctl.id();
        let gone = || NotIdle::Gone(self.log());
        let children = fs::read_to_string(format!("/proc/{ringctl}/task/{ringctl}/children"))?;
        let ringway: u32 =
            children.split_ascii_whitespace().next().and_then(|pid| pid.parse().ok()).ok_or_else(gone)?;
        let seconds = |pid| cpu_s(pid).ok_or_else(gone);
        Ok(Cpu { ringctl_s: seconds(ringctl)?, ringway_s: seconds(ringway)? })
    }

    fn stats(&self) -> Option<Stats> {
        let mut socket = UnixStream::connect(self.folder.path().join("dataplane.sock")).ok()?;
        socket.set_read_timeout(Some(START_MAX)).ok()?;
        socket.write_all(b"GET /v1/stats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).ok()?;
        let body = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        serde_json::from_slice(&answer[body..]).ok()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Planes {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.ringctl.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.ringctl.wait();
    }
}

/// User and system time of a process, in seconds: the 12th and 13th field after its name.
fn cpu_s(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: Vec<u64> =
        fields.split_ascii_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    let per_s = rustix::param::clock_ticks_per_second();
    (ticks.len() == 2).then(|| ticks.iter().sum::<u64>() as f64 / per_s as f64)
}

fn configuration(servers: &[SocketAddr], interval: &str) -> io::Result<String> {
    let listen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?; // given back at once, for ringway to take
    let mut text = format!(
        "version: 1\nlisteners: [{{address: \"{listen}\"}}]\nlogging: {{access: off}}\nbackends:\n  fleet:\n    engine: vllm\n    \
         balance: gpu\n    models: {MODEL:?}\n    hardware: {{preset: h100}}\n    metrics: {{interval: {interval}}}\n    endpoints:\n"
    );
    for server in servers {
        let _ = writeln!(text, "      - \"http://{server}\""); // a String takes all
    }
    text.push_str("routes: [{name: all, match: {path_prefix: /}, targets: [{backend: fleet}]}]\n");
    Ok(text)
}
