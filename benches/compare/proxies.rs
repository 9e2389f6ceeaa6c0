//! The proxies, each configured as its makers would for this work, and started on the same core.
//!
//! Owns: their configuration, and their processes from start to end.
//! Must not: favour ours. Logs are off everywhere; peers add no headers, keep connections to the origin open without
//! end, and neither hold back nor buffer what a stream brings.
//! Read next: `rounds.rs`, which runs them in turn.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::bounds::{START_MAX, proxy_core};
use crate::process;
use crate::workload::{Pace, Workload, World};

/// What is measured: a proxy, and for ours, which kind of route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Ours, as a plain reverse proxy.
    Ringway,
    /// Ours, on a route that reads and matches the model and looks at the answer.
    RingwayModel,
    /// HAProxy.
    Haproxy,
    /// nginx.
    Nginx,
    /// Bytes from socket to socket.
    RawRelay,
}

impl Subject {
    /// In the order of the table.
    pub const ALL: [Self; 5] =
        [Self::Ringway, Self::RingwayModel, Self::Haproxy, Self::Nginx, Self::RawRelay];

    /// Its name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ringway => "ringway",
            Self::RingwayModel => "ringway-model",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::RawRelay => "raw-relay",
        }
    }

    /// Its name in the table.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Ringway => "ringway",
            Self::RingwayModel => "ringway, AI route",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::RawRelay => "raw epoll relay",
        }
    }

    /// What its workers are called in tables of scale.
    pub const fn workers(self) -> &'static str {
        match self {
            Self::Ringway => "workers of ringway",
            Self::RingwayModel => "workers of ringway, AI route",
            Self::Haproxy => "threads of haproxy",
            Self::Nginx => "workers of nginx",
            Self::RawRelay => "relays",
        }
    }

    /// Whether it is what we are compared with.
    pub const fn is_peer(self) -> bool {
        matches!(self, Self::Haproxy | Self::Nginx)
    }

    /// The path asked for.
    pub const fn path(self) -> &'static str {
        match self {
            Self::RingwayModel => "/v1/chat/completions",
            _ => "/raw/chat/completions",
        }
    }

    /// The program.
    pub fn program(self, built: &Path) -> PathBuf {
        match self {
            Self::Ringway | Self::RingwayModel => built.join("ringway"),
            Self::RawRelay => built.join("raw-relay"),
            Self::Haproxy => find("haproxy"),
            Self::Nginx => find("nginx"),
        }
    }

    /// What to do where it is missing.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Ringway | Self::RingwayModel => "cargo build --release -p ringway",
            Self::RawRelay => "cargo build --release -p ringway-benches --bins",
            Self::Haproxy => "apt-get install --no-install-recommends haproxy",
            Self::Nginx => "apt-get install --no-install-recommends nginx",
        }
    }

    /// First line of what it says about its version.
    pub fn version(self, built: &Path) -> Option<String> {
        let flag = match self {
            Self::Ringway | Self::RingwayModel => "--version",
            Self::RawRelay => return Some("part of this comparison".to_owned()),
            Self::Haproxy | Self::Nginx => "-v",
        };
        let output = Command::new(self.program(built)).arg(flag).output().ok()?;
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
    }
}

/// Where a program of the system is; server programs are often outside the path of a plain user.
fn find(program: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').map(PathBuf::from).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let mut places = folders.map(|folder| folder.join(program));
    places.find(|place| place.is_file()).unwrap_or_else(|| PathBuf::from(program))
}

/// Whether it can be run at all.
pub fn is_there(program: &Path) -> bool {
    program.is_file()
}

/// A running proxy; ends with the value.
pub struct Proxy {
    child: Child,
    /// The child's, and those of what it started.
    pids: Vec<u32>,
    /// Where it accepts.
    pub address: SocketAddr,
}

impl Proxy {
    /// Starts it in front of this origin, with its files in this folder.
    pub fn start(
        subject: Subject,
        built: &Path,
        folder: &Path,
        origins: &[SocketAddr],
        workload: &Workload,
    ) -> io::Result<Self> {
        let address = free_address()?;
        // It ends with us, however we end, and runs on its cores; both programs become the next on the line.
        let mut command = Command::new("setpriv");
        let cores = (0..workload.world.workers).map(|worker| proxy_core(worker).to_string());
        let cores = cores.collect::<Vec<_>>().join(",");
        command.args(["--pdeathsig", "KILL", "taskset", "-c", &cores]);
        command.arg(subject.program(built));
        let log = fs::File::create(log_of(subject, folder))?;
        arguments(subject, &mut command, folder, address, origins, workload)?;
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir(folder).spawn()?;
        let mut proxy = Self { pids: vec![child.id()], child, address };
        proxy.wait_until_it_accepts(subject, folder)?;
        proxy.pids = process::family(proxy.pid());
        Ok(proxy)
    }

    /// Its process: what it was started with became the proxy.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All its processes.
    pub fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// What it has to say for itself: whether it ended, and the last of its log.
    pub fn testimony(&mut self, subject: Subject, folder: &Path) -> String {
        const TOLD_CHARS_MAX: usize = 600;
        let log = fs::read_to_string(log_of(subject, folder)).unwrap_or_default();
        let skipped = log.chars().count().saturating_sub(TOLD_CHARS_MAX);
        let last: String = log.chars().skip(skipped).collect();
        let state = match self.child.try_wait() {
            Ok(Some(status)) => format!("it has ended with {status}"),
            _ => "it runs".to_owned(),
        };
        if last.trim().is_empty() { state } else { format!("{state}; its log: {}", last.trim()) }
    }

    fn wait_until_it_accepts(&mut self, subject: Subject, folder: &Path) -> io::Result<()> {
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                return Err(io::Error::other(format!("does not start: {}", self.testimony(subject, folder))));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // What it does at its start is not what is measured.
        std::thread::sleep(Duration::from_millis(50));
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // What it started would outlive it.
        for pid in self.pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn log_of(subject: Subject, folder: &Path) -> PathBuf {
    folder.join(format!("{}.log", subject.name()))
}

/// An address that was free a moment ago.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn arguments(
    subject: Subject,
    command: &mut Command,
    folder: &Path,
    address: SocketAddr,
    origins: &[SocketAddr],
    workload: &Workload,
) -> io::Result<()> {
    let workers = workload.world.workers;
    match subject {
        Subject::Ringway | Subject::RingwayModel => {
            let snapshot = folder.join("snapshot.json");
            fs::write(&snapshot, ringway(address, origins, workload.world).to_string())?;
            command.args(["--workers", &workers.to_string(), "--io", "auto", "--snapshot"]).arg(snapshot);
            command.arg("--control").arg(folder.join("control.sock"));
        }
        Subject::Haproxy => {
            let file = folder.join("haproxy.cfg");
            fs::write(&file, haproxy(address, origins, workers))?;
            command.arg("-db").arg("-f").arg(file);
        }
        Subject::Nginx => {
            let file = folder.join("nginx.conf");
            fs::write(&file, nginx(folder, address, origins, workload))?;
            command.arg("-p").arg(folder).arg("-c").arg(file).args(["-e", "stderr"]);
        }
        Subject::RawRelay => {
            command.arg(address.to_string()).arg(origins[0].to_string());
        }
    }
    Ok(())
}

/// Two routes: `/raw` to a plain HTTP server, and chat by model; before it those for other models.
fn ringway(address: SocketAddr, origins: &[SocketAddr], world: World) -> serde_json::Value {
    let endpoint = |number: usize| {
        let origin = origins[number % origins.len()];
        json!({"authority": format!("e{number}:1"), "addresses": [origin]})
    };
    let others = (0..world.routes).map(|number| {
        let models = if number % 8 == 0 { format!("other-{number}-*") } else { format!("other-{number}") };
        json!({
            "name": format!("other-{number}"),
            "match": {"path": "/v1/chat/completions", "models": [models]},
            "targets": [{"backend": "plain"}],
        })
    });
    let raw = json!({"name": "raw", "match": {"path_prefix": "/raw"}, "targets": [{"backend": "plain"}]});
    let chat = json!({
        "name": "chat",
        "match": {"path": "/v1/chat/completions", "models": ["llama-*"]},
        "targets": [{"backend": "model"}],
    });
    let routes: Vec<_> = [raw].into_iter().chain(others).chain([chat]).collect();
    let plain: Vec<_> =
        origins.iter().map(|it| json!({"authority": it.to_string(), "addresses": [it]})).collect();
    let models: Vec<_> = (0..world.endpoints.max(origins.len())).map(endpoint).collect();
    let balance = if world.gpu { "gpu" } else { "least_requests" };
    json!({
        "format": 1,
        "generation": 1,
        "listeners": [{"address": address}],
        "backends": [
            {"name": "plain", "engine": "http", "dialect": "http", "endpoints": plain},
            {"name": "model", "engine": "vllm", "dialect": "openai-chat", "balance": balance, "endpoints": models},
        ],
        "routes": routes,
        "logging": {"access": "off"},
    })
}

fn haproxy(address: SocketAddr, origins: &[SocketAddr], workers: usize) -> String {
    let servers = origins.iter().enumerate();
    let servers = servers.map(|(n, origin)| format!("  server s{n} {origin} pool-purge-delay 300s\n"));
    let servers = servers.collect::<Vec<_>>().concat();
    format!(
        "global\n  nbthread {workers}\n  maxconn 6000\n  zero-warning\n\
         defaults\n  mode http\n  option http-no-delay\n  option http-keep-alive\n  http-reuse always\n\
         \x20 timeout connect 5s\n  timeout client 300s\n  timeout server 300s\n  timeout http-keep-alive 300s\n\
         frontend f\n  bind {address} backlog 4096\n  default_backend b\n\
         backend b\n{servers}"
    )
}

fn nginx(folder: &Path, address: SocketAddr, origins: &[SocketAddr], workload: &Workload) -> String {
    let servers = origins.iter().map(|origin| format!("server {origin}; ")).collect::<Vec<_>>().concat();
    let workers = workload.world.workers;
    let (master, own_queue) = if workers > 1 { ("on", " reuseport") } else { ("off", "") };
    let cores =
        (0..workers).map(|worker| format!(" {:b}", 1_u64 << proxy_core(worker))).collect::<Vec<_>>().concat();
    // Where answers have an end, nginx is cheapest with its buffers; a stream must not wait in them.
    let buffering = match workload.pace {
        Pace::Streams { .. } => "proxy_buffering off;",
        Pace::Closed | Pace::Open { .. } => {
            "proxy_buffers 16 32k; proxy_buffer_size 16k; proxy_busy_buffers_size 256k;"
        }
    };
    let folder = folder.display();
    format!(
        "daemon off;\nmaster_process {master};\nworker_processes {workers};\nworker_cpu_affinity{cores};\npid {folder}/nginx.pid;\nerror_log stderr crit;\n\
         events {{ worker_connections 12000; }}\n\
         http {{\n  access_log off;\n  tcp_nodelay on;\n  server_tokens off;\n\
         \x20 client_body_temp_path {folder}/body;\n  proxy_temp_path {folder}/proxy;\n\
         \x20 fastcgi_temp_path {folder}/fastcgi;\n  uwsgi_temp_path {folder}/uwsgi;\n  scgi_temp_path {folder}/scgi;\n\
         \x20 keepalive_timeout 300s;\n  keepalive_requests 1000000000;\n  client_max_body_size 0;\n\
         \x20 client_body_buffer_size 64k;\n\
         \x20 upstream o {{ {servers}keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 300s; }}\n\
         \x20 server {{\n    listen {address} backlog=4096{own_queue};\n    location / {{\n      proxy_pass http://o;\n\
         \x20     proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n\
         \x20     proxy_request_buffering off;\n      {buffering}\n    }}\n  }}\n}}\n"
    )
}
