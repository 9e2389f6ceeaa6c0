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

pub mod plane;

use std::path::PathBuf;
use std::sync::Arc;

use ringway_contract::Snapshot;
use ringway_contract::stats::Applied;

use crate::observe::AccessLog;
pub use plane::{ApplyError, Plane};

/// What the command line says about control.
#[derive(Clone, Debug)]
pub struct Options {
    /// Path of the control socket; none: no socket (a demo where no folder for it can be made).
    pub socket: Option<PathBuf>,
    /// Folder of the last good snapshot; none: it is not kept.
    pub state_dir: Option<PathBuf>,
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

/// The control surfaces, before and while they serve.
pub struct Control {
    options: Options,
    plane: Arc<dyn Plane>,
    log: Arc<AccessLog>,
}

/// Why control cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {}

impl Control {
    /// Takes the socket and the signals, and looks at the state folder. Nothing is served yet.
    pub fn new(options: Options, plane: Arc<dyn Plane>, log: Arc<AccessLog>) -> Result<Self, StartError> {
        Ok(Self { options, plane, log })
    }

    /// Runs the first snapshot. None: there is none yet, and the process waits for a push.
    pub fn boot(&self, start: Start) -> Result<Option<Applied>, StartError> {
        let _ = (start, &self.options, &self.plane, &self.log);
        unimplemented!()
    }

    /// Serves on a thread of its own until the process ends.
    pub fn serve(self) -> std::io::Result<std::thread::JoinHandle<()>> {
        unimplemented!()
    }
}

/// Where the control socket is unless the command line says otherwise.
pub fn default_socket() -> PathBuf {
    unimplemented!()
}
