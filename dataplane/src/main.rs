//! The `ringway` binary: reads the command line, starts the workers, hands over to control.
//!
//! Owns: the flags and the order of starting.
//! Must not: serve anything itself.
//! Read next: `plane.rs`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use ringway_contract::Problem;
use ringway_contract::snapshot::LogFormat;
use ringway_dataplane::control::{self, Control, Start};
use ringway_dataplane::observe::{AccessLog, event_log};
use ringway_dataplane::plane::{Process, Shared};
use ringway_dataplane::ring::{IoChoice, allowed_cores};
use ringway_dataplane::{demo, worker};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
ringway: one address in front of GPU inference servers and hosted models

usage: ringway [--snapshot FILE] [--state-dir DIR] [--control PATH] [--workers N|auto] [--no-pin]
               [--io uring|epoll|auto] [--log-format text|json] [--demo] [--version]

  --snapshot FILE     start from this snapshot (JSON, as `GET /v1/snapshot` gives it)
  --state-dir DIR     keep the last good snapshot here, and start from it
  --control PATH      the control socket (default: $RUNTIME_DIRECTORY/dataplane.sock,
                      else $XDG_RUNTIME_DIR/ringway/dataplane.sock, else /run/ringway/dataplane.sock)
  --workers N|auto    worker threads (default auto: one per core)
  --no-pin            leave the workers' cores to the scheduler, as in a container with a CPU quota
  --io CHOICE         uring, epoll or auto (default: io_uring where the system allows it)
  --log-format FMT    text or json
  --demo              two simulated GPU servers behind 127.0.0.1:8080; also what no arguments at all do
  --version           print the version

Without --snapshot and without a snapshot in --state-dir it waits for the first one on the control socket:
  ringctl apply ringway.yaml --control PATH

exit codes: 0 done, 1 failed, 2 bad usage or snapshot";

struct Flags {
    snapshot: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    control: Option<PathBuf>,
    workers: Option<usize>,
    pin: bool,
    io: IoChoice,
    log_format: LogFormat,
    demo: bool,
}

fn main() -> ExitCode {
    let flags = match parse(std::env::args().skip(1).collect()) {
        Ok(Some(flags)) => flags,
        Ok(None) => return ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("ringway: {what}\n\nTry `ringway --help`.");
            return ExitCode::from(2);
        }
    };
    event_log::set_format(flags.log_format);
    match start(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            event_log::error(&failure.what, &[]);
            for problem in &failure.problems {
                eprintln!("  {problem}");
            }
            ExitCode::from(failure.code)
        }
    }
}

struct Failure {
    what: String,
    problems: Vec<Problem>,
    code: u8,
}

impl Failure {
    fn new(what: impl std::fmt::Display) -> Self {
        Self { what: what.to_string(), problems: Vec::new(), code: 1 }
    }
}

impl From<control::StartError> for Failure {
    fn from(error: control::StartError) -> Self {
        Self { what: error.to_string(), problems: error.problems().to_vec(), code: error.exit_code() as u8 }
    }
}

fn start(flags: &Flags) -> Result<(), Failure> {
    let workers = flags.workers.unwrap_or_else(cores);
    let log = AccessLog::start(workers, flags.log_format).map_err(Failure::new)?;
    let (shared, letterboxes) = Shared::new(workers, Arc::clone(&log)).map_err(Failure::new)?;
    start_workers(flags, &shared, letterboxes)?;

    let (fleet, first) = if flags.demo {
        let (fleet, snapshot) = demo::start().map_err(Failure::new)?;
        (Some(fleet), Start::Given(Box::new(snapshot)))
    } else {
        (None, flags.snapshot.clone().map_or(Start::LastGood, Start::File))
    };
    let options =
        control::Options { socket: control_socket(flags), state_dir: flags.state_dir.clone(), signals: true };
    let control = Control::new(&options, Arc::new(Process(Arc::clone(&shared))), log)?;
    let applied = control.boot(first)?;
    if flags.demo {
        println!("{}", demo::banner());
    } else if applied.is_none() {
        event_log::info(
            "no snapshot yet: waiting for the first one on the control socket",
            &[("push_one_with", &"ringctl apply FILE")],
        );
    }
    let (housekeeping, socket_file) = control.serve().map_err(Failure::new)?;
    shared.remove_at_end(socket_file);
    let ended = housekeeping.join();
    drop(fleet);
    ended.map_err(|_| Failure::new("the housekeeping thread panicked"))
}

/// The demo needs no socket, so a folder that cannot be made does not keep it from running.
fn control_socket(flags: &Flags) -> Option<PathBuf> {
    match &flags.control {
        Some(path) => Some(path.clone()),
        None if flags.demo => None,
        None => Some(control::default_socket()),
    }
}

fn start_workers(
    flags: &Flags,
    shared: &Arc<Shared>,
    letterboxes: Vec<ringway_dataplane::ring::Letterbox<worker::Message>>,
) -> Result<(), Failure> {
    let cores = if flags.pin { allowed_cores() } else { Vec::new() };
    let pin = letterboxes.len() <= cores.len(); // never two on one core while another is free
    for (id, letters) in letterboxes.into_iter().enumerate() {
        let seed = worker::Seed {
            id: id as u16,
            core: pin.then(|| cores[id]),
            io: flags.io,
            letters,
            shared: Arc::clone(shared),
        };
        let thread = std::thread::Builder::new().name(format!("worker-{id}"));
        thread.spawn(move || end_with(worker::run(seed))).map_err(Failure::new)?;
    }
    Ok(())
}

/// A worker ends only by failing, and without it the process does not do what it promises.
fn end_with(ended: std::io::Result<()>) {
    let cause = ended.err().map_or_else(|| "it ended".to_owned(), |error| error.to_string());
    event_log::error(
        "a worker cannot run; try --io epoll if io_uring is forbidden here",
        &[("cause", &cause)],
    );
    std::process::exit(1);
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// None: the question was answered (`--help`, `--version`).
fn parse(args: Vec<String>) -> Result<Option<Flags>, String> {
    let mut flags = Flags {
        snapshot: None,
        state_dir: None,
        control: None,
        workers: None,
        pin: true,
        io: IoChoice::Auto,
        log_format: LogFormat::Text,
        demo: args.is_empty(),
    };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
            _ => (arg, None),
        };
        let mut value =
            || inline.clone().or_else(|| args.next()).ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--snapshot" => flags.snapshot = Some(value()?.into()),
            "--state-dir" => flags.state_dir = Some(value()?.into()),
            "--control" => flags.control = Some(value()?.into()),
            "--workers" => flags.workers = workers(&value()?)?,
            "--no-pin" => flags.pin = false,
            "--io" => flags.io = io(&value()?)?,
            "--log-format" => flags.log_format = log_format(&value()?)?,
            "--demo" => flags.demo = true,
            "--version" | "-V" => {
                println!("ringway {}", env!("CARGO_PKG_VERSION"));
                return Ok(None);
            }
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(None);
            }
            other => return Err(format!("there is no flag `{other}`")),
        }
    }
    if flags.demo && (flags.snapshot.is_some() || flags.state_dir.is_some()) {
        return Err(
            "--demo has its own snapshot and keeps no state; leave --snapshot and --state-dir out".to_owned()
        );
    }
    Ok(Some(flags))
}

fn workers(text: &str) -> Result<Option<usize>, String> {
    if text == "auto" {
        return Ok(None);
    }
    match text.parse() {
        Ok(count @ 1..=ringway_dataplane::bounds::WORKERS_MAX) => Ok(Some(count)),
        _ => Err(format!(
            "--workers takes `auto` or 1 to {}, not `{text}`",
            ringway_dataplane::bounds::WORKERS_MAX
        )),
    }
}

fn io(text: &str) -> Result<IoChoice, String> {
    match text {
        "uring" => Ok(IoChoice::Uring),
        "epoll" => Ok(IoChoice::Epoll),
        "auto" => Ok(IoChoice::Auto),
        _ => Err(format!("--io takes uring, epoll or auto, not `{text}`")),
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("--log-format takes text or json, not `{text}`")),
    }
}
