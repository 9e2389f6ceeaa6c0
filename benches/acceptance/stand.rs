//! The processes of one run: engines, control plane with data plane, and the load.
//!
//! Owns: their command lines and the configuration; they end when it is dropped.
//! Must not: read what they measure.
//! Read next: `report.rs`.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ringway_benches::evaluate::runner::name;
use ringway_benches::evaluate::setup::{MODEL, Setup, prefill_tokens_per_s};
use ringway_contract::snapshot::{Admission, Order};
use ringway_contract::stats::Stats;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A fleet with a gateway in front of it.
pub struct Stand {
    control: Child,
    gateway: Child,
    engines: Child,
    folder: tempfile::TempDir,
    address: SocketAddr,
    time_scale: f64,
    began: Instant,
}

const CONFIG: &str = "ringway.yaml";
const CONTROL: &str = "dataplane.sock";

/// Why a run did not come about.
#[derive(Debug, thiserror::Error)]
pub enum NoStand {
    /// A program cannot be started.
    #[error("cannot start {0} ({1}); `benches/acceptance/run` builds what is needed")]
    Start(PathBuf, io::Error),
    /// Nobody listens.
    #[error("nobody listens on {0} after ten seconds; the log is:\n{1}")]
    Silent(SocketAddr, String),
    /// The load failed.
    #[error("ringload ended with {0} and no summary")]
    NoSummary(std::process::ExitStatus),
    /// Anything of the system's.
    #[error(transparent)]
    System(#[from] io::Error),
    /// A summary that is none, or stats.
    #[error("what ringload or ringway says of itself: {0}")]
    Summary(#[from] serde_json::Error),
}

const START_MAX: Duration = Duration::from_secs(10);

/// How the programs of a stand are set up, beside what its [`Setup`] says.
#[derive(Clone, Debug)]
pub struct Manner {
    /// All times are divided by this.
    pub time_scale: f64,
    /// The gateway's threads.
    pub workers: usize,
    /// What goes wrong, as `ringload sim --fault` takes it.
    pub faults: Vec<String>,
    /// Whether engines are probed as they are by default.
    pub probed: bool,
    /// The routes, in YAML.
    pub routes: &'static str,
}

impl Manner {
    /// One thread, nothing goes wrong, one route, and nobody is hurried.
    pub fn usual(time_scale: f64) -> Self {
        Self { time_scale, workers: 1, faults: Vec::new(), probed: false, routes: PATIENT }
    }
}

const PATIENT: &str = "routes:\n  - name: all\n    match: {path_prefix: /}\n    targets: [{backend: fleet}]\n    \
                       timeouts: {first_byte: 20m, idle: 20m, total: 20m}\n";

impl Stand {
    /// Starts engines, a gateway, and the control plane that gives it its configuration.
    pub fn start(setup: &Setup, manner: &Manner) -> Result<Self, NoStand> {
        let folder = tempfile::tempdir()?;
        let ports = free_ports(setup.engines.len() + 1)?;
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let within = |name: &str| folder.path().join(name);
        fs::write(within(CONFIG), configuration(setup, at(ports), ports + 1, manner))?;
        let began = Instant::now();
        let mut sim = program("ringload");
        sim.args(["sim", "--model", MODEL, "--listen", &at(ports + 1).to_string()]);
        sim.args(["--gpu", &mix(setup), "--time-scale", &manner.time_scale.to_string()]);
        for fault in &manner.faults {
            sim.args(["--fault", fault]);
        }
        let engines = spawn(sim, &within("sim.log"))?;
        let mut ringway = program("ringway");
        // Not bound to a core: several stands may run side by side.
        ringway.args(["--workers", &manner.workers.to_string(), "--no-pin"]);
        ringway.arg("--control").arg(within(CONTROL)).arg("--state-dir").arg(within("state"));
        let gateway = spawn(ringway, &within("ringway.log"))?;
        let mut serve = program("ringctl");
        serve.arg("serve").arg("--config").arg(within(CONFIG)).arg("--data").arg(within("data"));
        serve.arg("--control").arg(within(CONTROL)).arg("--socket").arg(within("daemon.sock"));
        let control = spawn(serve, &within("ringctl.log"))?;
        let (time_scale, address) = (manner.time_scale, at(ports));
        let stand = Self { control, gateway, engines, folder, address, time_scale, began };
        for port in ports..=ports + setup.engines.len() as u16 {
            stand.wait_for(at(port))?;
        }
        Ok(stand)
    }

    /// How long its engines run already: what their faults count from.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The gateway's process.
    pub fn gateway(&self) -> u32 {
        self.gateway.id()
    }

    /// Kills the control plane.
    pub fn kill_control(&self) {
        signal(&self.control, Signal::KILL);
    }

    /// Rewrites the configuration; the control plane finds out by itself.
    pub fn rewrite(&self, change: impl FnOnce(String) -> String) -> Result<(), NoStand> {
        let file = self.folder.path().join(CONFIG);
        Ok(fs::write(&file, change(fs::read_to_string(&file)?))?)
    }

    /// What the gateway says of itself.
    pub fn stats(&self) -> Result<Stats, NoStand> {
        let mut socket = UnixStream::connect(self.folder.path().join(CONTROL))?;
        socket.write_all(b"GET /v1/stats HTTP/1.1\r\nhost: local\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(serde_json::from_str(body)?)
    }

    fn wait_for(&self, address: SocketAddr) -> Result<(), NoStand> {
        let began = Instant::now();
        while began.elapsed() < START_MAX {
            if TcpStream::connect(address).is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(50));
        }
        let log = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        Err(NoStand::Silent(address, log("sim.log") + &log("ringway.log") + &log("ringctl.log")))
    }

    /// Replays a trace through the gateway; `ringload`'s summary.
    pub fn replay(&self, trace: &Path, scale: f64, rows: usize, seed: u64) -> Result<Value, NoStand> {
        let mut load = program("ringload");
        load.arg("replay").arg(trace).args(["--url", &format!("http://{}", self.address)]);
        load.args(["--scale", &scale.to_string(), "--time-scale", &self.time_scale.to_string()]);
        load.args(["--rows", &rows.to_string(), "--seed", &seed.to_string(), "--timeout", "20m"]);
        self.load(load)
    }

    /// Sends requests through the gateway; `ringload`'s summary.
    pub fn run(&self, args: &[&str]) -> Result<Value, NoStand> {
        let mut load = program("ringload");
        load.args(["run", "--url", &format!("http://{}", self.address)]).args(args);
        self.load(load)
    }

    fn load(&self, mut load: Command) -> Result<Value, NoStand> {
        let out = self.folder.path().join("load");
        load.args(["--model", MODEL, "--no-progress"]).arg("--out").arg(&out).stdout(Stdio::null());
        // It ends with 1 where answers were refused, which is what some runs are about.
        let status = load.status().map_err(|error| NoStand::Start(path_of("ringload"), error))?;
        let summary = fs::read_to_string(out.join("summary.json")).map_err(|_| NoStand::NoSummary(status))?;
        Ok(serde_json::from_str(&summary)?)
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        for child in [&mut self.control, &mut self.gateway, &mut self.engines] {
            signal(child, Signal::TERM);
            let _ = child.wait();
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
        let _ = kill_process(pid, signal);
    }
}

/// A program that was built beside this one.
fn path_of(program: &str) -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name(program)
}

fn program(name: &str) -> Command {
    Command::new(path_of(name))
}

fn spawn(mut command: Command, log: &Path) -> Result<Child, NoStand> {
    let log = fs::File::create(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let path = PathBuf::from(command.get_program());
    command.spawn().map_err(|error| NoStand::Start(path, error))
}

/// The first of so many ports in a row that nobody listens on just now.
fn free_ports(count: usize) -> io::Result<u16> {
    let mut port = 21_000 + (std::process::id() % 3_000) as u16 * 10;
    loop {
        let mut all = (port..).take(count);
        if all.all(|port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return Ok(port);
        }
        port = port.checked_add(count as u16).ok_or(io::ErrorKind::AddrInUse)?;
    }
}

/// The engines as `ringload sim` takes them: kinds in order, with how many of each.
fn mix(setup: &Setup) -> String {
    let runs = setup.engines.chunk_by(|one, next| one == next);
    runs.map(|run| format!("{}:{}", run[0].name(), run.len())).collect::<Vec<_>>().join(",")
}

/// Engines are read no more often than this.
const INTERVAL_MS_MIN: f64 = 50.0;

/// What has the unit of a time is divided by the time scale, and what is per time is multiplied (routing section 15).
fn configuration(setup: &Setup, listen: SocketAddr, first_port: u16, manner: &Manner) -> String {
    let time_scale = manner.time_scale;
    let health = if manner.probed { "" } else { "    health: off\n" };
    let ms = |ms: f64| format!("{}ms", (ms / time_scale).round());
    let mut text = format!(
        "version: 1\nlisteners: [{{address: \"{listen}\"}}]\nlogging: {{access: off}}\nbackends:\n  fleet:\n    engine: vllm\n    \
         balance: {}\n    metrics: {{interval: {}}}\n{health}    score: {{in_flight: {}, kv: {}}}\n",
        name(setup.balance),
        ms((1_000.0_f64).max(INTERVAL_MS_MIN * time_scale)),
        ms(20.0),
        ms(150.0),
    );
    if let Some(admission) = &setup.admission {
        let Admission { wait_ms, order, u_limit_ms, .. } = admission;
        let order = match order {
            Order::Aged => "aged",
            Order::Fifo => "fifo",
        };
        let _ = writeln!(
            text,
            "    admission: {{max_wait: {}, order: {order}, u_limit: {}}}",
            ms(wait_ms[0].get() as f64),
            ms(u_limit_ms.get() as f64)
        );
    }
    text.push_str("    endpoints:\n");
    for (preset, port) in setup.engines.iter().zip(first_port..) {
        let _ = writeln!(
            text,
            "      - {{url: \"http://127.0.0.1:{port}\", hardware: {{prefill_tokens_per_s: {:.0}, kv_tokens: {}}}}}",
            prefill_tokens_per_s(*preset) * time_scale,
            preset.model().kv_tokens
        );
    }
    text.push_str(manner.routes);
    text
}
