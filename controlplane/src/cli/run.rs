//! `serve` and `up`: the verbs that stay.
//!
//! Owns: signals, and where sockets go when the usual folder cannot be had.
//! Must not: know what the daemon does.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::args::Data;
use super::{Context, Failure};
use crate::daemon::{self, Options};
use crate::supervise::{self, Plan, Size};
use crate::{log, paths};

pub(super) async fn serve(context: &Context, config: &Path, data: &Data) -> Result<(), Failure> {
    let mut stops = Stops::new()?;
    let options = options(config, Context::data(data), context.socket(), context.control())?;
    daemon::serve(options, async move { stops.next().await }).await.map_err(Failure::from)
}

pub(super) async fn up(context: &Context, config: &Path, size: Size, data: &Data) -> Result<(), Failure> {
    let binary = supervise::find()?;
    let mut signals = Stops::new()?;
    let data = absolute(&Context::data(data))?;
    let (socket, control) = sockets(context, &data);
    let options = options(config, data.clone(), socket, control)?;
    let plan = Plan { binary, state: data.join("dataplane"), control: options.control.clone(), size };
    let (stop, stops) = watch::channel(0);
    let count_signals = async {
        loop {
            signals.next().await;
            stop.send_modify(|stops| *stops += 1);
        }
    };
    tokio::select! {
        served = daemon::serve(options, std::future::pending()) => served.map_err(Failure::from),
        ended = supervise::supervise(&plan, stops) => ended.map_err(Failure::from),
        () = count_signals => Ok(()),
    }
}

/// The usual sockets; in a container without a folder for them, those in the data folder.
fn sockets(context: &Context, data: &Path) -> (PathBuf, PathBuf) {
    let usable = make_folder(&paths::daemon_socket());
    let place = |wanted: &Option<PathBuf>, usual: PathBuf, name: &str| match wanted {
        Some(path) => path.clone(),
        None if usable => usual,
        None => data.join(name),
    };
    if !usable && (context.socket.is_none() || context.control.is_none()) {
        let mend = format!("export RUNTIME_DIRECTORY={}", data.display());
        log::warn("the usual folder for sockets cannot be had; for other verbs", &[("run", &mend)]);
    }
    let socket = place(&context.socket, paths::daemon_socket(), "daemon.sock");
    let control = place(&context.control, paths::dataplane_socket(), "dataplane.sock");
    (socket, control)
}

fn options(config: &Path, data: PathBuf, socket: PathBuf, control: PathBuf) -> Result<Options, Failure> {
    let config = absolute(config)?; // revisions and secrets are found whatever the working folder
    Ok(Options { config, data, socket, control })
}

/// The same path from the root, links as they are: a config map is a link that moves.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|why| Failure::Failed(format!("cannot find {}: {why}", path.display())))
}

fn make_folder(socket: &Path) -> bool {
    let folder = socket.parent().unwrap_or(Path::new("."));
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).is_ok();
    made && rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// SIGTERM and SIGINT, one after the other.
struct Stops {
    term: Signal,
    int: Signal,
}

impl Stops {
    fn new() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|why| Failure::Failed(format!("cannot listen for signals: {why}")));
        Ok(Self { term: listen(SignalKind::terminate())?, int: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
