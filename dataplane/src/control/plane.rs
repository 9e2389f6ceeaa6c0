//! The seam between control and the workers.
//!
//! Owns: what control asks of the rest of the process, and the ways in which a change can be refused.
//! Must not: number generations, keep snapshots or publish events; [`super::pipeline`] does.
//! Read next: [`super::pipeline`].

use std::net::SocketAddr;
use std::sync::Arc;

use ringway_contract::explain::{Explanation, Question};
use ringway_contract::load::{LoadReport, LoadTaken};
use ringway_contract::stats::{Applied, Drain, Stats};
use ringway_contract::trace::Trace;
use ringway_contract::{Problem, Snapshot};

/// The workers and what they share, as control sees them. All calls come from threads that may block.
pub trait Plane: Send + Sync + 'static {
    /// The snapshot that all workers run.
    fn running(&self) -> Option<Arc<Snapshot>>;

    /// Compiles `snapshot`, swaps it in and waits until every worker runs it. All or nothing: after an error the
    /// one before still runs, everywhere. Control calls it once at a time.
    fn apply(&self, snapshot: Snapshot) -> Result<Applied, ApplyError>;

    /// For `GET /v1/stats`.
    fn stats(&self) -> Stats;

    /// For `POST /v1/explain`.
    fn explain(&self, question: &Question) -> Explanation;

    /// How requests were routed, the newest first, at most so many; of this request if one is named.
    fn traces(&self, request: Option<&str>, count: usize) -> Vec<Trace>;

    /// Takes a load report in, as far as it is news.
    fn load(&self, report: &LoadReport) -> LoadTaken;

    /// Takes an endpoint out or puts it back; without an endpoint, begins to drain the process and returns at once.
    /// The process ends itself when its drain is over. The error names what is wrong with the request.
    fn drain(&self, drain: &Drain) -> Result<(), String>;

    /// Whether new requests are served; if not, why, in words.
    fn ready(&self) -> Result<(), String>;

    /// Appends the workers' part of the page of metrics.
    fn render_metrics(&self, out: &mut String);

    /// Called about once a second by housekeeping: the place to look after workers that no longer beat.
    fn tick(&self) {}
}

/// Why a snapshot does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It is wrong; all that is wrong with it.
    #[error("{} problems in the snapshot", .0.len())]
    Problems(Vec<Problem>),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: String,
    },
    /// A worker did not take it in time.
    #[error("worker {worker} does not answer; the snapshot before stays")]
    Stuck {
        /// The worker.
        worker: u32,
    },
    /// The process ends; nothing is changed any more.
    #[error("the process is draining")]
    Draining,
}
