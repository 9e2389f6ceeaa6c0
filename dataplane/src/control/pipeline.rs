//! The way of a change: from a document to a generation that all workers run, is stored and is announced.
//!
//! Owns: the order of changes (one at a time), generation numbers, `If-Match`, the last good snapshot, and the
//! events that follow from a change.
//! Must not: compile or swap anything itself; that is the plane's. Leave anything half done: what can fail is tried
//! before the swap, and what follows the swap cannot undo it.
//! Read next: [`super::plane`].

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ringway_contract::stats::{Applied, Drain};
use ringway_contract::{Generation, Problem, Snapshot};

use super::StartError;
use super::admin::Door;
use super::events::{Event, Events};
use super::plane::{ApplyError, Plane};
use super::secret;
use super::sections::{self, Change};
use super::store::{Store, StoreError};
use crate::observe::log::Target;
use crate::observe::{AccessLog, event_log};

/// All that a change passes through.
pub struct Pipeline {
    plane: Arc<dyn Plane>,
    log: Arc<AccessLog>,
    events: Arc<Events>,
    door: Arc<Door>,
    turn: Mutex<Turn>,
    /// When the running snapshot was applied; not part of the turn, which a change may hold for seconds.
    since: Mutex<Option<Instant>>,
    counts: Counts,
}

/// What the one change at a time holds.
struct Turn {
    store: Option<Store>,
    /// The largest number ever given out or seen, so that numbers grow even across a failed change or a restart.
    newest: Generation,
}

/// What became of changes so far.
#[derive(Default)]
pub struct Counts {
    applied: AtomicU64,
    refused: AtomicU64,
    not_stored: AtomicU64,
}

/// What a change expects to replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Whatever runs, or nothing.
    Unconditional,
    /// Any snapshot (`If-Match: *`).
    Some,
    /// One of these generations.
    OneOf(Vec<Generation>),
}

/// Why a change did not happen. What ran before still does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It was made against another generation than the one that runs.
    #[error("{}", stale(*.running, *.newest))]
    Stale {
        /// What runs.
        running: Generation,
        /// The largest number seen.
        newest: Generation,
    },
    /// It is wrong.
    #[error("{} problems in the snapshot", .0.len())]
    Wrong(Vec<Problem>),
    /// The workers did not take it.
    #[error("{0}")]
    NotTaken(String),
}

fn stale(running: Generation, newest: Generation) -> String {
    let hint = "read it again, make the change on top of it, and send that";
    match (running, newest) {
        (Generation::NONE, _) => "no snapshot runs yet; leave If-Match out".to_owned(),
        (running, newest) if running == newest => format!("generation {running} runs: {hint}"),
        (running, newest) => {
            format!("generation {running} runs, and numbers up to {newest} are used: {hint}")
        }
    }
}

impl Pipeline {
    /// Ready for the first change.
    pub fn new(
        plane: Arc<dyn Plane>,
        log: Arc<AccessLog>,
        events: Arc<Events>,
        door: Arc<Door>,
        store: Option<Store>,
    ) -> Self {
        let turn = Mutex::new(Turn { store, newest: Generation::NONE });
        Self { plane, log, events, door, turn, since: Mutex::new(None), counts: Counts::default() }
    }

    /// Applies a pushed document; `who` sent it.
    pub fn put(&self, document: &[u8], condition: &Condition, who: &str) -> Result<Applied, Refused> {
        let mut turn = self.turn();
        let running = self.plane.running();
        let outcome = self.try_put(&mut turn, document, condition, running.as_deref());
        match &outcome {
            Ok((applied, sections)) => {
                let sections = sections.join(",");
                event_log::info(
                    "snapshot applied",
                    &[("generation", &applied.generation), ("sections", &sections), ("by", &who)],
                );
            }
            Err(refused) => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                event_log::warn("snapshot refused", &[("why", refused), ("by", &who)]);
            }
        }
        outcome.map(|(applied, _)| applied)
    }

    fn try_put(
        &self,
        turn: &mut Turn,
        document: &[u8],
        condition: &Condition,
        running: Option<&Snapshot>,
    ) -> Result<(Applied, Vec<&'static str>), Refused> {
        let at = running.map_or(Generation::NONE, |running| running.generation);
        let newest = turn.newest.max(at);
        let stale = Refused::Stale { running: at, newest };
        if !condition.holds(at) {
            return Err(stale);
        }
        let Change { mut snapshot, sections } = sections::read(document, running).map_err(Refused::Wrong)?;
        let problems = secret::restore(&mut snapshot.backends, running);
        if !problems.is_empty() {
            return Err(Refused::Wrong(problems));
        }
        if snapshot.generation == Generation::NONE {
            snapshot.generation = newest.next();
        } else if running.is_some_and(|running| *running == snapshot) {
            let workers = self.plane.stats().workers.len() as u32;
            return Ok((Applied { generation: at, workers }, sections)); // sent again after a lost answer
        } else if snapshot.generation <= newest {
            return Err(stale);
        }
        let applied = self.change(turn, snapshot, running, Keep::Stored)?;
        Ok((applied, sections))
    }

    /// Applies a snapshot that has its number.
    fn change(
        &self,
        turn: &mut Turn,
        snapshot: Snapshot,
        running: Option<&Snapshot>,
        keep: Keep,
    ) -> Result<Applied, Refused> {
        let prepared = self.prepare(&snapshot, running).map_err(Refused::Wrong)?;
        let applied = self.plane.apply(snapshot.clone());
        if !matches!(applied, Err(ApplyError::Problems(_) | ApplyError::Listen { .. })) {
            turn.newest = turn.newest.max(snapshot.generation); // some worker may have seen the number
        }
        let applied = applied?;
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.counts.applied.fetch_add(1, Ordering::Relaxed);
        prepared.commit(self);
        self.announce(&snapshot, running);
        if keep == Keep::Stored {
            self.store(turn, &snapshot);
        }
        Ok(applied)
    }

    /// Opens what the snapshot names and the workers do not need: the access log and the admin address.
    fn prepare(&self, snapshot: &Snapshot, running: Option<&Snapshot>) -> Result<Prepared, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut prepared = Prepared { log: None, admin: None };
        if running.is_none_or(|running| running.logging != snapshot.logging) {
            match self.log.open(&snapshot.logging) {
                Ok(target) => prepared.log = Some(target),
                Err(error) => {
                    problems.push(Problem::new("logging.access", format!("cannot be opened: {error}")))
                }
            }
        }
        if running.is_none_or(|running| running.admin != snapshot.admin) {
            match snapshot.admin.map(TcpListener::bind).transpose() {
                Ok(listener) => prepared.admin = Some(listener),
                Err(error) => problems.push(Problem::new("admin", format!("cannot be listened on: {error}"))),
            }
        }
        if problems.is_empty() { Ok(prepared) } else { Err(problems) }
    }

    fn announce(&self, snapshot: &Snapshot, before: Option<&Snapshot>) {
        self.events.publish(&Event::Generation(snapshot.generation));
        let before = before.map(drained).unwrap_or_default();
        let now = drained(snapshot);
        let changed = |from: &[String], to: &[String], drained: bool| {
            for name in to.iter().filter(|name| !from.contains(name)) {
                self.events.publish(&Event::Endpoint { name: name.clone(), drained });
            }
        };
        changed(&before, &now, true);
        changed(&now, &before, false);
    }

    /// A failure is an alarm and nothing else: the snapshot runs, and the file before is still whole.
    fn store(&self, turn: &mut Turn, snapshot: &Snapshot) {
        let Some(store) = &mut turn.store else { return };
        if let Err(error) = store.save(snapshot) {
            self.counts.not_stored.fetch_add(1, Ordering::Relaxed);
            event_log::error(
                "the snapshot runs and could not be stored: a restart would bring back an older one",
                &[("generation", &snapshot.generation), ("error", &error)],
            );
        }
    }

    /// Applies a snapshot file.
    pub fn boot_file(&self, path: &Path) -> Result<Applied, StartError> {
        let document =
            std::fs::read(path).map_err(|error| StartError::Unreadable { path: path.to_owned(), error })?;
        let mut turn = self.turn();
        turn.look_back();
        let applied = self.try_put(&mut turn, &document, &Condition::Unconditional, None);
        applied
            .map(|(applied, _)| applied)
            .map_err(|refused| StartError::Refused { what: path.display().to_string(), refused })
    }

    /// Applies a snapshot that is built in, and does not store it.
    pub fn boot_given(&self, mut snapshot: Snapshot) -> Result<Applied, StartError> {
        snapshot.generation = Generation::NONE.next();
        let applied = self.change(&mut self.turn(), snapshot, None, Keep::InMemory);
        applied.map_err(|refused| StartError::Refused { what: "the built-in snapshot".to_owned(), refused })
    }

    /// Applies the last good snapshot; none if there never was one. The one before it is used where the current one
    /// is damaged or not understood, and only then.
    pub fn boot_last_good(&self) -> Result<Option<Applied>, StartError> {
        let mut turn = self.turn();
        let mut first_error = None;
        for found in turn.look_back() {
            let applied = match found {
                Ok(snapshot) => self.change(&mut turn, snapshot, None, Keep::InMemory).map_err(|refused| {
                    StartError::Refused { what: "the last good snapshot".to_owned(), refused }
                }),
                Err(error @ StoreError::Writable { .. }) => return Err(error.into()), // somebody may be at work there
                Err(error) => Err(error.into()),
            };
            match applied {
                Ok(applied) => return Ok(Some(applied)),
                Err(error) => {
                    event_log::error("a stored snapshot cannot be used", &[("error", &error)]);
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(None), Err)
    }

    /// Takes an endpoint or the process out.
    pub fn drain(&self, drain: &Drain, who: &str) -> Result<(), String> {
        self.plane.drain(drain)?;
        let (what, undo) = (drain.endpoint.as_deref().unwrap_or("the process"), drain.undo);
        event_log::info("drain", &[("what", &what), ("undo", &undo), ("by", &who)]);
        if let Some(name) = &drain.endpoint {
            self.events.publish(&Event::Endpoint { name: name.clone(), drained: !drain.undo });
        }
        Ok(())
    }

    /// Seconds since the running snapshot was applied.
    pub fn age(&self) -> Option<f64> {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.elapsed().as_secs_f64())
    }

    /// What became of changes so far.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Changes that run or ran.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }

    /// Changes that were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Changes that run and could not be stored.
    pub fn not_stored(&self) -> u64 {
        self.not_stored.load(Ordering::Relaxed)
    }
}

impl Turn {
    /// What the store holds; later numbers follow on from it.
    fn look_back(&mut self) -> Vec<Result<Snapshot, StoreError>> {
        let found = self.store.as_mut().map(Store::load).unwrap_or_default();
        let numbers = found.iter().flatten().map(|snapshot| snapshot.generation);
        self.newest = numbers.fold(self.newest, Generation::max);
        found
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Stored,
    InMemory,
}

/// What was opened for a change; dropped unused if the workers do not take it.
struct Prepared {
    log: Option<Target>,
    admin: Option<Option<TcpListener>>,
}

impl Prepared {
    fn commit(self, pipeline: &Pipeline) {
        if let Some(target) = self.log {
            pipeline.log.switch(target);
        }
        if let Some(listener) = self.admin {
            let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
            if let Some(address) = address {
                warn_if_public(address);
            }
            pipeline.door.replace(listener);
        }
    }
}

fn warn_if_public(address: SocketAddr) {
    event_log::info("admin address", &[("address", &address)]);
    if !address.ip().is_loopback() {
        event_log::warn(
            "the admin address is reachable from other machines, without a key",
            &[("address", &address)],
        );
    }
}

/// Names of the endpoints that the snapshot takes out.
fn drained(snapshot: &Snapshot) -> Vec<String> {
    let of = |backend: &ringway_contract::snapshot::Backend| {
        let out = backend.endpoints.iter().filter(|endpoint| endpoint.drained);
        out.map(|endpoint| format!("{}/{}", backend.name, endpoint.authority)).collect::<Vec<_>>()
    };
    snapshot.backends.iter().flat_map(of).collect()
}

impl Condition {
    /// Reads `If-Match`; none if it is malformed.
    pub fn parse(field: &str) -> Option<Self> {
        if field.trim() == "*" {
            return Some(Self::Some);
        }
        let number = |tag: &str| {
            let tag = tag.trim();
            let bare = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag);
            let digits = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit());
            bare.parse().ok().filter(|_| digits).map(Generation::new)
        };
        field.split(',').map(number).collect::<Option<_>>().map(Self::OneOf)
    }

    fn holds(&self, running: Generation) -> bool {
        match self {
            Self::Unconditional => true,
            Self::Some => running != Generation::NONE,
            Self::OneOf(generations) => generations.contains(&running),
        }
    }
}

impl From<ApplyError> for Refused {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Problems(problems) => Self::Wrong(problems),
            ApplyError::Listen { address, error } => {
                Self::Wrong(vec![Problem::new("listeners", format!("cannot listen on {address}: {error}"))])
            }
            ApplyError::Stuck { .. } | ApplyError::Draining => Self::NotTaken(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_read_as_http_writes_them() {
        let one_of =
            |numbers: &[u64]| Some(Condition::OneOf(numbers.iter().copied().map(Generation::new).collect()));
        assert_eq!(Condition::parse("*"), Some(Condition::Some));
        assert_eq!(Condition::parse("\"5\""), one_of(&[5]));
        assert_eq!(Condition::parse("5"), one_of(&[5]));
        assert_eq!(Condition::parse("\"5\", \"7\""), one_of(&[5, 7]));
        for malformed in ["", "\"\"", "x", "W/\"5\"", "\"5", "-5", "+5"] {
            assert_eq!(Condition::parse(malformed), None, "{malformed}");
        }
    }
}
