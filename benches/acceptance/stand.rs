//! The processes of one run: engines, and gateways with their control planes.
//!
//! Owns: their command lines and the configuration; they end when it is dropped.
//! Must not: read what they measure.
//! Read next: `callers.rs`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ringway_benches::evaluate::material::Workload;
use ringway_benches::evaluate::runner::name;
use ringway_benches::evaluate::setup::{MODEL, Reporting, Setup, prefill_tokens_per_s};
use ringway_contract::Millis;
use ringway_contract::snapshot::{Admission, Order};
use ringway_contract::stats::Stats;
use ringway_dataplane::admission::queue::Class;
use ringway_gpusim::bounds::LORA_SLOTS_DEFAULT;
use ringway_gpusim::fault::{Fault, Window};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A fleet with one gateway in front of it, or several.
pub struct Stand {
    gateways: Vec<Gateway>,
    engines: Child,
    first_engine: u16,
    engine_count: u16,
    folder: tempfile::TempDir,
    time_scale: f64,
    began: Instant,
}

/// A data plane, and the control plane that gives it its configuration.
struct Gateway {
    control: Child,
    process: Child,
    folder: PathBuf,
    address: SocketAddr,
}

const CONFIG: &str = "ringway.yaml";
const CONTROL: &str = "dataplane.sock";

/// The header that says how urgent a request is: the number of its class.
pub const CLASS: &str = "x-class";
/// The header that names the tenant.
pub const TENANT: &str = "x-tenant";

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
    /// The load made no sense, or the machine had no place for it.
    #[error("the load: {0}")]
    Load(String),
    /// Anything of the system's.
    #[error(transparent)]
    System(#[from] io::Error),
    /// A summary that is none, or stats.
    #[error("what ringload or ringway says of itself: {0}")]
    Summary(#[from] serde_json::Error),
}

const START_MAX: Duration = Duration::from_secs(10);
/// Faults come by the engines' clock, which begins before the load: by so much, in real time, where there are any.
const LEAD: Duration = Duration::from_secs(4);

/// How the programs of a stand are set up, beside what its [`Setup`] says.
#[derive(Clone, Debug)]
pub struct Manner {
    /// All times are divided by this.
    pub time_scale: f64,
    /// The threads of each gateway.
    pub workers: usize,
    /// What goes wrong beside what the setup says, as `ringload sim --fault` takes it.
    pub faults: Vec<String>,
    /// Whether engines are probed as they are by default.
    pub probed: bool,
    /// The routes, in YAML; none: everybody is served patiently.
    pub routes: Option<&'static str>,
    /// Requests say how urgent they are.
    pub classes: bool,
    /// Requests say whose they are, and these are the shares of those.
    pub tenants: BTreeMap<u32, u32>,
}

impl Manner {
    /// One thread, nothing goes wrong, one route, and nobody is hurried.
    pub fn usual(time_scale: f64) -> Self {
        Self {
            time_scale,
            workers: 1,
            faults: Vec::new(),
            probed: false,
            routes: None,
            classes: false,
            tenants: BTreeMap::new(),
        }
    }

    /// The same for this workload: told apart is what differs in it.
    pub fn of(workload: &Workload, time_scale: f64) -> Self {
        let classes = workload.asks.iter().any(|ask| ask.class != Class::Default);
        let named = workload.asks.iter().filter(|ask| ask.tenant > 0);
        let tenants = named.map(|ask| (ask.tenant, ask.weight)).collect();
        Self { classes, tenants, ..Self::usual(time_scale) }
    }
}

impl Stand {
    /// Starts engines, gateways, and the control planes that give them their configuration.
    pub fn start(setup: &Setup, manner: &Manner) -> Result<Self, NoStand> {
        let folder = tempfile::tempdir()?;
        let ports = free_ports(setup.gateways + setup.engines.len())?;
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let first_engine = ports + setup.gateways as u16;
        let began = Instant::now();
        let mut sim = program("ringload");
        sim.args(["sim", "--model", MODEL, "--listen", &at(first_engine).to_string()]);
        sim.args(["--gpu", &mix(setup), "--time-scale", &manner.time_scale.to_string()]);
        if setup.adapters > 0 {
            sim.args(["--lora", &setup.adapter_names().join(",")]);
        }
        let lead = LEAD.mul_f64(manner.time_scale);
        let own = setup.faults.iter().map(|fault| later(fault, lead).to_string());
        for fault in own.chain(manner.faults.iter().cloned()) {
            sim.args(["--fault", &fault]);
        }
        let engines = spawn(sim, &folder.path().join("sim.log"))?;
        let engine_count = setup.engines.len() as u16;
        let (gateways, time_scale) = (Vec::new(), manner.time_scale);
        let mut stand = Self { gateways, engines, first_engine, engine_count, folder, time_scale, began };
        for number in 0..setup.gateways as u16 {
            let address = at(ports + number);
            let text = configuration(setup, address, first_engine, manner);
            let folder = stand.folder.path().join(number.to_string());
            stand.gateways.push(Gateway::start(address, folder, &text, manner.workers)?);
        }
        for port in ports..first_engine + engine_count {
            stand.wait_for(at(port))?;
        }
        if !setup.faults.is_empty() {
            sleep(LEAD.saturating_sub(began.elapsed()));
        }
        Ok(stand)
    }

    /// How long its engines run already: what their faults count from.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// How many gateways there are.
    pub fn gateways(&self) -> usize {
        self.gateways.len()
    }

    /// Where one of them listens.
    pub fn address(&self, gateway: usize) -> SocketAddr {
        self.gateways[gateway].address
    }

    /// What all times are divided by.
    pub fn time_scale(&self) -> f64 {
        self.time_scale
    }

    /// The process of the first gateway.
    pub fn process(&self) -> u32 {
        self.gateways[0].process.id()
    }

    /// Kills all control planes.
    pub fn kill_control(&self) {
        self.gateways.iter().for_each(|gateway| signal(&gateway.control, Signal::KILL));
    }

    /// Rewrites the configuration of the first gateway; its control plane finds out by itself.
    pub fn rewrite(&self, change: impl FnOnce(String) -> String) -> Result<(), NoStand> {
        let file = self.gateways[0].folder.join(CONFIG);
        Ok(fs::write(&file, change(fs::read_to_string(&file)?))?)
    }

    /// What a gateway says of itself.
    pub fn stats(&self, gateway: usize) -> Result<Stats, NoStand> {
        let mut socket = UnixStream::connect(self.gateways[gateway].folder.join(CONTROL))?;
        Ok(serde_json::from_str(&get(&mut socket, "/v1/stats")?)?)
    }

    /// The sum of a series over the metrics pages of all engines; an engine that does not answer counts nothing.
    pub fn engines_count(&self, series: &str) -> f64 {
        let page = |port: u16| {
            let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
            get(&mut socket, "/metrics").ok()
        };
        let pages = (0..self.engine_count).filter_map(|at| page(self.first_engine + at));
        let value = |line: &str| {
            let rest = line.strip_prefix(series).filter(|rest| rest.starts_with(['{', ' ']))?;
            rest.rsplit(' ').next()?.parse::<f64>().ok()
        };
        pages.map(|page| page.lines().filter_map(value).sum::<f64>()).sum()
    }

    fn wait_for(&self, address: SocketAddr) -> Result<(), NoStand> {
        let began = Instant::now();
        while began.elapsed() < START_MAX {
            if TcpStream::connect(address).is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(50));
        }
        let log = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        let mut logs = log(self.folder.path().join("sim.log"));
        for Gateway { folder, .. } in &self.gateways {
            logs += &(log(folder.join("ringway.log")) + &log(folder.join("ringctl.log")));
        }
        Err(NoStand::Silent(address, logs))
    }

    /// Sends requests through the first gateway; `ringload`'s summary.
    pub fn run(&self, args: &[&str]) -> Result<Value, NoStand> {
        let mut load = program("ringload");
        load.args(["run", "--url", &format!("http://{}", self.address(0))]).args(args);
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
        let gateways = self.gateways.iter_mut().flat_map(|it| [&mut it.control, &mut it.process]);
        for child in gateways.chain([&mut self.engines]) {
            signal(child, Signal::TERM);
            let _ = child.wait();
        }
    }
}

impl Gateway {
    fn start(address: SocketAddr, folder: PathBuf, text: &str, workers: usize) -> Result<Self, NoStand> {
        fs::create_dir(&folder)?;
        let within = |name: &str| folder.join(name);
        fs::write(within(CONFIG), text)?;
        let mut ringway = program("ringway");
        // Not bound to a core: several stands may run side by side.
        ringway.args(["--workers", &workers.to_string(), "--no-pin"]);
        ringway.arg("--control").arg(within(CONTROL)).arg("--state-dir").arg(within("state"));
        let process = spawn(ringway, &within("ringway.log"))?;
        let mut serve = program("ringctl");
        serve.arg("serve").arg("--config").arg(within(CONFIG)).arg("--data").arg(within("data"));
        serve.arg("--control").arg(within(CONTROL)).arg("--socket").arg(within("daemon.sock"));
        let control = spawn(serve, &within("ringctl.log"))?;
        Ok(Self { control, process, folder, address })
    }
}

/// The body of an answer to a plain request.
fn get(socket: &mut (impl Read + Write), path: &str) -> io::Result<String> {
    socket
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: local\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()))
}

/// A fault whose times count from the load, for engines that began so much before it.
fn later(fault: &Fault, lead: Duration) -> Fault {
    let Window { from, until } = fault.window;
    if fault.window == Window::ALWAYS {
        return *fault;
    }
    Fault { window: Window { from: from + lead, until: until + lead }, ..*fault }
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
fn configuration(setup: &Setup, listen: SocketAddr, first_engine: u16, manner: &Manner) -> String {
    let ms = |ms: f64| format!("{}ms", (ms / manner.time_scale).round());
    let interval = match setup.reports {
        Reporting::Never => "off".to_owned(),
        Reporting::Every { .. } => {
            format!("{{interval: {}}}", ms((1_000.0_f64).max(INTERVAL_MS_MIN * manner.time_scale)))
        }
    };
    let health = if manner.probed { "" } else { "    health: off\n" };
    let [load, evict] = if setup.blind_to_adapters { [0.0, 0.0] } else { [50.0, 300.0] };
    let mut text = format!(
        "version: 1\nlisteners: [{{address: \"{listen}\"}}]\nlogging: {{access: off}}\nbackends:\n  fleet:\n    engine: vllm\n    \
         balance: {}\n    metrics: {interval}\n{health}    score: {{in_flight: {}, kv: {}, adapter_load: {}, adapter_evict: {}, \
         gateways: {}}}\n",
        name(setup.balance),
        ms(20.0),
        ms(150.0),
        ms(load),
        ms(evict),
        setup.reckoned,
    );
    if let Some(admission) = &setup.admission {
        text.push_str(&queue(admission, &manner.tenants, ms));
    }
    if setup.adapters > 0 {
        let names = setup.adapter_names().join(", ");
        let _ = writeln!(text, "    lora: {{adapters: [{names}], slots: {LORA_SLOTS_DEFAULT}}}");
    }
    text.push_str("    endpoints:\n");
    for (preset, port) in setup.engines.iter().zip(first_engine..) {
        let _ = writeln!(
            text,
            "      - {{url: \"http://127.0.0.1:{port}\", hardware: {{prefill_tokens_per_s: {:.0}, kv_tokens: {}}}}}",
            prefill_tokens_per_s(*preset) * manner.time_scale,
            preset.model().kv_tokens
        );
    }
    match manner.routes {
        Some(routes) => text.push_str(routes),
        None => text.push_str(&routes(setup.repeatable, manner.classes)),
    }
    text
}

fn queue(admission: &Admission, tenants: &BTreeMap<u32, u32>, ms: impl Fn(f64) -> String) -> String {
    let of = |time: Millis| ms(time.get() as f64);
    let order = match admission.order {
        Order::Aged => "aged",
        Order::Fifo => "fifo",
    };
    let [interactive, default, batch] = admission.wait_ms.map(of);
    let mut text = format!(
        "    admission:\n      wait: {{interactive: {interactive}, default: {default}, batch: {batch}}}\n      order: {order}\n      \
         u_limit: {}\n",
        of(admission.u_limit_ms)
    );
    for (field, limit) in [("itl_limit", admission.itl_limit_ms), ("ttft_slo", admission.ttft_slo_ms)] {
        if let Some(limit) = limit {
            let _ = writeln!(text, "      {field}: {}", of(limit));
        }
    }
    if !tenants.is_empty() {
        let weights: Vec<String> =
            tenants.iter().map(|(tenant, weight)| format!("\"{tenant}\": {weight}")).collect();
        let _ = writeln!(text, "      tenants: {{header: {TENANT}, weights: {{{}}}}}", weights.join(", "));
    }
    text
}

/// Everybody is served patiently; where requests say how urgent they are, each class has a route.
fn routes(repeatable: bool, classes: bool) -> String {
    let route = |name: &str, matches: &str, class: &str| {
        format!(
            "  - name: {name}\n    match: {{path_prefix: /{matches}}}\n    class: {class}\n    targets: [{{backend: fleet}}]\n    \
             idempotent: {repeatable}\n    timeouts: {{first_byte: 20m, idle: 20m, total: 20m}}\n"
        )
    };
    let header = |class: Class| format!(", headers: {{{CLASS}: \"{}\"}}", class.index());
    let mut text = "routes:\n".to_owned();
    if classes {
        text += &route("urgent", &header(Class::Interactive), "interactive");
        text += &route("batch", &header(Class::Batch), "batch");
    }
    text + &route("all", "", "default")
}
