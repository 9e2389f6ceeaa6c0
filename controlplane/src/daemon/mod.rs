//! `ringctl serve`: watches the config file, resolves its names, keeps the data plane on the result, and reads what its
//! endpoints say of their load.
//!
//! Owns: what should run, what waits to run, and the one loop in which both change.
//! Must not: hold up traffic. Whatever goes wrong here, the data plane keeps its last table (spec CP-01,
//! CP-03).
//! Read next: `watch.rs`, `discovery.rs`, `assemble.rs`, `publish.rs`: the way of a change; `store.rs`, where
//! it is kept; `socket.rs`, how it is asked for; [`crate::scrape`], the readings.

pub mod api;
pub mod assemble;
pub mod discovery;
pub mod publish;
pub mod socket;
pub mod store;
mod watch;

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ringway_contract::Generation;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch as state};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use self::api::{Apply, Done, Origin, Revision, RevisionMeta, Rollback, Status, Trouble};
use self::discovery::Names;
use self::publish::{Backoff, Link, Published, Publisher};
use self::socket::{Answer, Command, Refused, Shared, Socket, SocketError, Wish};
use self::store::{NewRevision, Store, StoreError};
use self::watch::FileWatch;
use crate::bounds::running as bounds;
use crate::client::{ClientError, DataPlane};
use crate::config::{self, Config, Report, Source, System};
use crate::mint::Mint;
use crate::scrape::{Scraper, Troubles};
use crate::{digest, log};

/// What the daemon works with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file it watches.
    pub config: PathBuf,
    /// The folder it keeps revisions in.
    pub data: PathBuf,
    /// Where it answers.
    pub socket: PathBuf,
    /// Where the data plane answers.
    pub control: PathBuf,
}

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The file is bad, and there is no earlier revision to go on with.
    #[error("{0}")]
    Config(Report),
    /// Signals.
    #[error("cannot listen for signals: {0}")]
    Signals(#[from] io::Error),
}

/// Runs until `stop` ends.
pub async fn serve(options: Options, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
    let mut daemon = Daemon::start(options)?;
    tokio::select! {
        never = daemon.run() => match never {},
        () = stop => log::info("the daemon stops; the data plane goes on", &[]),
    }
    Ok(())
}

/// A config that passed every check of ours and is to run.
struct Candidate {
    config: Config,
    hash: String,
    new: NewRevision,
}

/// A config that runs, or ran and is to run again.
struct Desired {
    config: Config,
    revision: RevisionMeta,
}

struct Daemon {
    options: Options,
    store: Store,
    names: Names,
    mint: Mint,
    publisher: Publisher,
    scraper: Scraper,
    desired: Option<Desired>,
    /// From the file, while the data plane cannot be asked to run it. The latest takes the place of any
    /// before.
    candidate: Option<Candidate>,
    /// `desired` may not be what the data plane runs.
    dirty: bool,
    /// Digest of what the file held when it was last read.
    file_hash: Option<String>,
    file_trouble: Option<Trouble>,
    push_trouble: Option<Trouble>,
    generation: Generation,
    connections: u64,
    retry: Option<Instant>,
    backoff: Backoff,
    file: FileWatch,
    link: state::Receiver<Link>,
    commands: mpsc::Receiver<Command>,
    hangup: Signal,
    shared: Arc<Shared>,
    _tasks: (JoinSet<()>, JoinSet<()>),
}

enum Wake {
    Command(Command),
    File,
    Hangup,
    Names,
    Tokens,
    Link,
    Retry,
}

impl Daemon {
    fn start(options: Options) -> Result<Self, ServeError> {
        let store = Store::open(&options.data)?;
        let socket = Socket::bind(&options.socket)?;
        let file = FileWatch::new(&options.config); // before the first look, so that no change falls between
        let dataplane = DataPlane::at(&options.control);
        let (link, follower) = publish::follow(dataplane.clone());
        let (sender, commands) = mpsc::channel(bounds::COMMANDS_MAX);
        let (status, troubles) = (Mutex::new(first_status(&options)), Arc::<Troubles>::default());
        let shared = Arc::new(Shared { status, troubles: Arc::clone(&troubles), data: options.data.clone() });
        let mut answerer = JoinSet::new();
        answerer.spawn(socket::answer(socket, Arc::clone(&shared), sender));
        let mut daemon = Self {
            store,
            names: Names::default(),
            mint: Mint::default(),
            publisher: Publisher::new(dataplane.clone()),
            scraper: Scraper::new(dataplane, troubles),
            desired: None,
            candidate: None,
            dirty: false,
            file_hash: None,
            file_trouble: None,
            push_trouble: None,
            generation: Generation::NONE,
            connections: 0,
            retry: None,
            backoff: Backoff::default(),
            file,
            link,
            commands,
            hangup: signal(SignalKind::hangup())?,
            shared,
            _tasks: (follower, answerer),
            options,
        };
        daemon.first_config()?;
        log::info(
            "the daemon is up",
            &[
                ("config", &daemon.options.config.display()),
                ("data", &daemon.options.data.display()),
                ("socket", &daemon.options.socket.display()),
            ],
        );
        Ok(daemon)
    }

    /// The latest revision goes on if the file has not changed since; else the file is what is wanted.
    fn first_config(&mut self) -> Result<(), ServeError> {
        let latest = self.store.latest();
        let source = config::read(&self.options.config).map_err(Report::from);
        let hash = source.as_ref().ok().map(|source| digest::sha256(source.text.as_bytes()));
        let unchanged = hash.is_some() && latest.as_ref().is_some_and(|latest| latest.file_hash == hash);
        self.file_hash = hash;
        if let Some(latest) = latest {
            self.restore(latest);
        }
        if unchanged && self.desired.is_some() {
            return Ok(());
        }
        match source.and_then(|source| self.file_candidate(source)) {
            Ok(candidate) => self.candidate = Some(candidate),
            Err(report) if self.desired.is_some() => self.bad_file(&report),
            Err(report) => return Err(ServeError::Config(report)),
        }
        Ok(())
    }

    fn restore(&mut self, latest: Revision) {
        let number = latest.meta.revision;
        match check(&Source::new(latest.name, latest.text)) {
            Ok(config) => {
                self.desired = Some(Desired { config, revision: latest.meta });
                self.dirty = true;
            }
            Err(report) => {
                log::report(
                    "the latest revision cannot be used any more",
                    &[("revision", &number)],
                    &report.render(false),
                );
            }
        }
    }

    async fn run(&mut self) -> Infallible {
        loop {
            self.reconcile().await;
            self.tell();
            match self.wait().await {
                Wake::Command(command) => self.obey(command).await,
                Wake::File => self.file_changed(false),
                Wake::Hangup => self.file_changed(true),
                Wake::Names | Wake::Tokens => self.dirty = true,
                Wake::Link => self.link_changed(),
                Wake::Retry => self.retry = None,
            }
        }
    }

    async fn wait(&mut self) -> Wake {
        let retry = self.retry;
        tokio::select! {
            Some(command) = self.commands.recv() => Wake::Command(command),
            () = self.file.changed() => Wake::File,
            Some(()) = self.hangup.recv() => Wake::Hangup,
            () = self.names.changed() => Wake::Names,
            () = self.mint.changed() => Wake::Tokens,
            Ok(()) = self.link.changed() => Wake::Link,
            () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => Wake::Retry,
        }
    }

    /// Brings the data plane to what is wanted, if it is there and it is time.
    async fn reconcile(&mut self) {
        if !self.link.borrow().connected || self.retry.is_some() {
            return;
        }
        if let Some(candidate) = self.candidate.take() {
            match self.push(&candidate.config).await {
                Ok(published) => {
                    self.promote(candidate, published);
                    return;
                }
                Err(error) if error.passes() => {
                    self.candidate = Some(candidate);
                    return self.try_later(&error);
                }
                Err(error) => {
                    let what = error.to_string();
                    log::report("the data plane refused the file; what ran before stays", &[], &what);
                    self.file_trouble = Some(trouble(what));
                    self.dirty = true; // its names may have changed meanwhile
                }
            }
        }
        if !self.dirty {
            return;
        }
        let Some(desired) = self.desired.take() else { return };
        let outcome = self.push(&desired.config).await;
        let revision = desired.revision.revision;
        self.desired = Some(desired);
        match outcome {
            Ok(published) => self.pushed(published, revision),
            Err(error) if error.passes() => self.try_later(&error),
            Err(error) => {
                let what = error.to_string();
                log::report("the data plane refused what should run", &[("revision", &revision)], &what);
                self.dirty = false; // until something changes
                self.push_trouble = Some(trouble(what));
            }
        }
    }

    async fn push(&mut self, config: &Config) -> Result<Published, ClientError> {
        let mut wanted = config.names_to_resolve();
        if let Some(desired) = &self.desired {
            wanted.extend(desired.config.names_to_resolve()); // still needed if this push is refused
        }
        self.names.want(&wanted);
        let _ = timeout(bounds::LOOKUP_MS_MAX, self.names.settle()).await; // what is missing then comes later
        let mut accounts = config.accounts();
        if let Some(desired) = &self.desired {
            accounts.extend(desired.config.accounts());
        }
        self.mint.want(&accounts);
        let _ = timeout(bounds::LOOKUP_MS_MAX, self.mint.settle()).await;
        let names = &self.names;
        self.publisher.publish(config, &|host, port| names.lookup(host, port), &self.mint).await
    }

    fn try_later(&mut self, error: &ClientError) {
        if self.push_trouble.is_none() {
            log::warn("a push failed; trying again", &[("why", error)]);
        }
        self.push_trouble = Some(trouble(error.to_string()));
        self.retry = Some(Instant::now() + self.backoff.next());
    }

    fn pushed(&mut self, published: Published, revision: u64) {
        self.dirty = false;
        self.push_trouble = None;
        self.backoff = Backoff::default();
        self.generation = published.generation();
        if let Some(desired) = &self.desired {
            let names = &self.names;
            self.scraper.want(config::targets(&desired.config, &|host, port| names.lookup(host, port)));
        }
        if let Published::Pushed { generation, workers } = published {
            let fields: [(&str, &dyn std::fmt::Display); 3] =
                [("revision", &revision), ("generation", &generation), ("workers", &workers)];
            log::info("pushed", &fields);
        }
    }

    /// A candidate runs: from now on it is what is wanted, and history.
    fn promote(&mut self, candidate: Candidate, published: Published) -> u64 {
        let revision = self.record(&candidate);
        let number = revision.revision;
        for finding in candidate.config.warnings() {
            log::warn(
                "the config may not do what was meant",
                &[("at", &finding.at), ("what", &finding.what)],
            );
        }
        self.desired = Some(Desired { config: candidate.config, revision });
        self.file_trouble = None;
        self.pushed(published, number);
        number
    }

    fn record(&self, candidate: &Candidate) -> RevisionMeta {
        let unchanged = |desired: &&Desired| desired.revision.hash == candidate.hash;
        if let Some(desired) = self.desired.as_ref().filter(unchanged) {
            return desired.revision.clone(); // read again, for its secrets perhaps
        }
        match self.store.record(candidate.new.clone()) {
            Ok(revision) => revision.meta,
            Err(error) => {
                log::warn("this revision runs but cannot be kept", &[("why", &error)]);
                unkept(candidate, self.desired.as_ref())
            }
        }
    }

    fn file_changed(&mut self, even_if_same: bool) {
        let source = match config::read(&self.options.config) {
            Ok(source) => source,
            Err(error) => return self.bad_file(&Report::from(error)),
        };
        let hash = digest::sha256(source.text.as_bytes());
        if self.file_hash.as_ref() == Some(&hash) && !even_if_same {
            return; // touched, not changed
        }
        self.file_hash = Some(hash);
        match self.file_candidate(source) {
            Ok(candidate) => {
                log::info(
                    if even_if_same { "the config file was read again" } else { "the config file changed" },
                    &[("hash", &candidate.hash)],
                );
                self.candidate = Some(candidate);
                self.retry = None;
            }
            Err(report) => self.bad_file(&report),
        }
    }

    fn bad_file(&mut self, report: &Report) {
        let text = report.render(false);
        if self.file_trouble.as_ref().is_some_and(|trouble| trouble.what == text) {
            return; // said already
        }
        let path = self.options.config.display();
        log::report("the config file cannot be used; what runs stays", &[("config", &path)], &text);
        self.file_trouble = Some(trouble(text));
    }

    fn file_candidate(&self, source: Source) -> Result<Candidate, Report> {
        let by = self.options.config.display().to_string();
        self.new_candidate(source, Origin::File, by, None)
    }

    fn new_candidate(
        &self,
        source: Source,
        origin: Origin,
        by: String,
        message: Option<String>,
    ) -> Result<Candidate, Report> {
        let config = check(&source)?;
        let Source { name, text } = source;
        let hash = digest::sha256(text.as_bytes());
        let file_hash = self.file_hash.clone();
        Ok(Candidate {
            config,
            hash,
            new: NewRevision { by, origin, from: None, message, name, file_hash, text },
        })
    }

    /// Of several commands that wait, the last is done and the others are told so (CP-05).
    async fn obey(&mut self, mut command: Command) {
        while let Ok(later) = self.commands.try_recv() {
            let _ = command.answer.send(Err(Refused::Superseded)); // its caller may have left
            command = later;
        }
        let candidate = match command.wish {
            Wish::Apply(apply) => self.applied(apply, command.by),
            Wish::Rollback(rollback) => self.rolled_back(&rollback, command.by),
        };
        let answer = match candidate {
            Ok(candidate) => self.run_now(candidate).await,
            Err(refused) => Err(refused),
        };
        self.tell(); // before the answer, so that who asks next sees what was done
        let _ = command.answer.send(answer);
    }

    fn applied(&self, apply: Apply, by: String) -> Result<Candidate, Refused> {
        let source = Source::new(apply.name, apply.text);
        let message = apply.message.map(shortened);
        self.new_candidate(source, Origin::Apply, by, message)
            .map_err(|report| Refused::Invalid(report.problems()))
    }

    fn rolled_back(&self, rollback: &Rollback, by: String) -> Result<Candidate, Refused> {
        let found =
            find(&self.store, rollback.revision, self.desired.as_ref().map(|desired| &desired.revision));
        let revision = found.map_err(Refused::NoRevision)?;
        let from = revision.meta.revision;
        let source = Source::new(revision.name, revision.text);
        let message = rollback.message.clone().map(shortened);
        let made = self.new_candidate(source, Origin::Rollback, by, message);
        let mut candidate = made.map_err(|report| Refused::Invalid(report.problems()))?;
        candidate.new.from = Some(from);
        Ok(candidate)
    }

    async fn run_now(&mut self, candidate: Candidate) -> Answer {
        match self.push(&candidate.config).await {
            Ok(published) => {
                self.candidate = None; // what the file said before is older than this
                let revision = self.promote(candidate, published);
                let (generation, workers) = (published.generation(), published.workers());
                Ok(Done { revision, generation, workers })
            }
            Err(ClientError::Invalid { problems, .. }) => Err(Refused::Invalid(problems)),
            Err(error) => {
                self.dirty = true; // whether it was applied is not known: look again
                let what = error.to_string();
                Err(if error.unheard() { Refused::Away(what) } else { Refused::NotTaken(what) })
            }
        }
    }

    fn link_changed(&mut self) {
        let link = *self.link.borrow_and_update();
        let another = link.connections != self.connections;
        let foreign = link.generation.is_some_and(|generation| generation != self.generation);
        self.connections = link.connections;
        if another {
            (self.retry, self.backoff) = (None, Backoff::default());
        }
        self.dirty |= another || foreign;
    }

    fn tell(&self) {
        let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.connected = self.link.borrow().connected;
        status.generation = self.generation;
        status.revision = self.desired.as_ref().map(|desired| desired.revision.clone());
        status.pending = self.candidate.is_some() || (self.dirty && self.desired.is_some());
        status.trouble = self.file_trouble.clone().or_else(|| self.push_trouble.clone());
        status.names = self.names.status();
        status.tokens = self.mint.status();
    }
}

/// Decodes and resolves. Files with secrets are looked for beside the config they belong to.
pub fn check(source: &Source) -> Result<Config, Report> {
    let folder = Path::new(&source.name).parent().unwrap_or(Path::new(""));
    config::check(source, &System::beside(folder))
}

/// The revision to go back to, or why there is none.
pub fn find(store: &Store, wanted: Option<u64>, running: Option<&RevisionMeta>) -> Result<Revision, String> {
    if let Some(number) = wanted {
        return store.get(number).ok_or(format!("there is no revision {number}; see `ringctl history`"));
    }
    let hash = running.map(|revision| revision.hash.as_str()).unwrap_or_default();
    let none = "there is no earlier revision with another text; see `ringctl history`";
    store.latest_other_than(hash).ok_or(none.to_owned())
}

/// What stands in for a revision that the disk did not take: it runs, so it is known, until the next start.
fn unkept(candidate: &Candidate, before: Option<&Desired>) -> RevisionMeta {
    RevisionMeta {
        revision: before.map_or(0, |desired| desired.revision.revision),
        at: log::rfc3339(SystemTime::now()),
        by: candidate.new.by.clone(),
        origin: candidate.new.origin,
        from: candidate.new.from,
        hash: candidate.hash.clone(),
        message: Some("not kept: the data folder could not be written".to_owned()),
    }
}

fn shortened(mut message: String) -> String {
    let end =
        (0..=bounds::MESSAGE_BYTES_MAX.min(message.len())).rev().find(|at| message.is_char_boundary(*at));
    message.truncate(end.unwrap_or(0));
    message
}

fn trouble(what: String) -> Trouble {
    Trouble { at: log::rfc3339(SystemTime::now()), what }
}

fn first_status(options: &Options) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        config: options.config.display().to_string(),
        data: options.data.display().to_string(),
        control: options.control.display().to_string(),
        connected: false,
        generation: Generation::NONE,
        revision: None,
        pending: true,
        trouble: None,
        names: Vec::new(),
        tokens: Vec::new(),
        endpoints: Vec::new(),
    }
}
