//! The control surfaces: the Unix socket, the admin address, signals, and the last good snapshot.
//!
//! Owns: the housekeeping thread and the threads of its connections, the pipeline that turns a pushed snapshot into
//! a generation, the events about it, and the file it is kept in.
//! Must not: run on a worker, make a worker wait, or call a model.
//! Read next: [`plane`], what control asks of the workers; then [`pipeline`], the way of a change.
//!
//! Threads, not a runtime: control is a handful of calls a second by trusted peers, and several of them block by
//! nature (a change waits until every worker runs it, the store waits for the disk). The housekeeping thread waits
//! for connections and signals; each connection has a thread, with a bound on how many, so a slow peer or a full
//! disk holds up nobody else.

mod admin;
mod api;
pub mod bounds;
mod events;
mod housekeeping;
mod http;
pub mod pipeline;
pub mod plane;
pub mod secret;
mod sections;
mod signals;
mod socket;
pub mod store;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use ringway_contract::Snapshot;
use ringway_contract::stats::Applied;

use crate::observe::{AccessLog, event_log};
use admin::Door;
use api::Api;
use events::Events;
use housekeeping::Housekeeping;
use pipeline::{Pipeline, Refused};
pub use plane::{ApplyError, Plane};
use signals::Signals;
use socket::ControlSocket;
pub use socket::{SocketError, SocketFile, default_path as default_socket};
use store::{Store, StoreError};

/// What the command line says about control.
#[derive(Clone, Debug)]
pub struct Options {
    /// Path of the control socket; none: no socket (a demo where no folder for it can be made).
    pub socket: Option<PathBuf>,
    /// Folder of the last good snapshot; none: it is not kept.
    pub state_dir: Option<PathBuf>,
    /// Whether to take SIGTERM, SIGINT, SIGHUP and SIGUSR2. They belong to the process, so a test says no.
    pub signals: bool,
}

/// Where the first snapshot comes from.
#[derive(Clone, Debug)]
pub enum Start {
    /// A file (`--snapshot`).
    File(PathBuf),
    /// Built in (`--demo`): never stored.
    Given(Box<Snapshot>),
    /// The last good one of the state folder, if there is one.
    LastGood,
}

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The control socket cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The state folder or what is in it cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The snapshot file cannot be read.
    #[error("{}: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The snapshot is wrong, or the workers did not take it.
    #[error("{what}: {refused}")]
    Refused {
        /// Which snapshot.
        what: String,
        /// Why: [`Refused::Wrong`] lists all problems.
        refused: Refused,
    },
    /// The system refused something every start needs.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// What the process exits with: 2 for an invalid configuration, else 1.
    pub const fn exit_code(&self) -> i32 {
        match self {
            Self::Refused { refused: Refused::Wrong(_), .. } => 2,
            Self::Socket(_)
            | Self::Store(_)
            | Self::Unreadable { .. }
            | Self::Refused { .. }
            | Self::System(_) => 1,
        }
    }
}

/// The control surfaces, before they serve.
pub struct Control {
    api: Arc<Api>,
    socket: Option<ControlSocket>,
    door: Arc<Door>,
    signals: Option<Signals>,
}

impl Control {
    /// Takes the socket and the signals, and opens the state folder. Nothing is served yet.
    pub fn new(options: &Options, plane: Arc<dyn Plane>, log: Arc<AccessLog>) -> Result<Self, StartError> {
        let socket = options.socket.as_deref().map(ControlSocket::take).transpose()?;
        let store = options.state_dir.as_deref().map(Store::open).transpose()?;
        let signals = if options.signals { Some(Signals::install()?) } else { None };
        let (events, door) = (Arc::new(Events::default()), Arc::new(Door::new()?));
        let pipeline = Pipeline::new(
            Arc::clone(&plane),
            Arc::clone(&log),
            Arc::clone(&events),
            Arc::clone(&door),
            store,
        );
        let api = Api::new(plane, pipeline, events, log);
        Ok(Self { api: Arc::new(api), socket, door, signals })
    }

    /// Runs the first snapshot. None: there is none yet, and the process waits for a push.
    pub fn boot(&self, start: Start) -> Result<Option<Applied>, StartError> {
        let pipeline = &self.api.pipeline;
        match start {
            Start::File(path) => pipeline.boot_file(&path).map(Some),
            Start::Given(snapshot) => pipeline.boot_given(*snapshot).map(Some),
            Start::LastGood => pipeline.boot_last_good(),
        }
    }

    /// Serves on a thread of its own until the process ends. The socket's file is removed by whoever ends the
    /// process, with [`SocketFile::remove`].
    pub fn serve(self) -> io::Result<(JoinHandle<()>, Option<SocketFile>)> {
        let file = self.socket.as_ref().map(ControlSocket::file);
        if let Some(socket) = &self.socket {
            event_log::info("control socket", &[("path", &socket.path().display())]);
        }
        let housekeeping = Housekeeping {
            api: self.api,
            socket: self.socket,
            door: self.door,
            signals: self.signals,
            seats: housekeeping::Seats::default(),
        };
        let thread = thread::Builder::new().name("housekeeping".to_owned());
        Ok((thread.spawn(move || housekeeping.run())?, file))
    }
}
