//! `apply`, `rollback`, `history`: what changes what runs, and what did.
//!
//! Owns: the choice between the daemon and the straight way, and the straight way itself.
//! Must not: push a config whose secrets are not at hand.

use std::path::Path;

use ringway_contract::Generation;
use tokio::time::timeout;

use super::args::{Data, Output};
use super::{Context, Failure, file, output, run, say};
use crate::bounds::running as bounds;
use crate::config::Source;
use crate::daemon::api::{Apply, Done, Origin, RevisionMeta, Rollback};
use crate::daemon::discovery::Names;
use crate::daemon::publish::{Published, Publisher};
use crate::daemon::store::{NewRevision, Store, StoreError};
use crate::mint::Mint;
use crate::{daemon, digest};

pub(super) async fn apply(
    context: &Context,
    path: &Path,
    message: Option<String>,
    data: &Data,
) -> Result<(), Failure> {
    let checked = file::check(path)?; // a bad file is told here, with line and caret, and reaches nobody
    checked.warn(context);
    let name = run::absolute(path)?.display().to_string();
    let text = checked.source.text;
    let wish = Apply { name: name.clone(), text: text.clone(), message: message.clone() };
    if let Some(done) = context.if_daemon(async |daemon| daemon.apply(&wish).await).await? {
        return tell(&done);
    }
    let change = Change { source: Source::new(name, text), origin: Origin::Apply, from: None, message };
    change.run(context, &Context::data(data)).await
}

pub(super) async fn rollback(
    context: &Context,
    revision: Option<u64>,
    message: Option<String>,
    data: &Data,
) -> Result<(), Failure> {
    let wish = Rollback { revision, message: message.clone() };
    if let Some(done) = context.if_daemon(async |daemon| daemon.rollback(&wish).await).await? {
        return tell(&done);
    }
    let data = Context::data(data);
    let store = Store::look(&data);
    let latest = store.latest().map(|latest| latest.meta);
    let found = daemon::find(&store, revision, latest.as_ref()).map_err(Failure::Failed)?;
    let from = Some(found.meta.revision);
    let change =
        Change { source: Source::new(found.name, found.text), origin: Origin::Rollback, from, message };
    change.run(context, &data).await
}

pub(super) async fn history(context: &Context, output: Output, data: &Data) -> Result<(), Failure> {
    let revisions = match context.if_daemon(async |daemon| daemon.revisions().await).await? {
        Some(revisions) => revisions,
        None => Store::look(&Context::data(data)).list().into_iter().map(|found| found.meta).collect(),
    };
    if revisions.is_empty() {
        say("no revisions yet; the daemon and `ringctl apply` make them, see also --data\n");
    }
    output::show(output, &revisions, || {
        let header = ["revision", "at", "how", "by", "hash", "message"];
        output::table(&header, revisions.iter().map(row))
    })
}

fn row(meta: &RevisionMeta) -> Vec<String> {
    let how = match meta.from {
        Some(from) => format!("{} to {from}", meta.origin),
        None => meta.origin.to_string(),
    };
    let hash = meta.hash.chars().take("sha256:".len() + 8).collect();
    let message = meta.message.clone().unwrap_or_default();
    vec![meta.revision.to_string(), meta.at.clone(), how, meta.by.clone(), hash, message]
}

/// A change that goes straight to the data plane.
struct Change {
    source: Source,
    origin: Origin,
    from: Option<u64>,
    message: Option<String>,
}

impl Change {
    async fn run(self, context: &Context, data: &Path) -> Result<(), Failure> {
        let config = daemon::check(&self.source)?;
        let mut names = Names::default();
        names.want(&config.names_to_resolve());
        let _ = timeout(bounds::LOOKUP_MS_MAX, names.settle()).await;
        for name in names.status().iter().filter(|name| name.addresses.is_empty()) {
            let why = name.error.as_deref().unwrap_or("no answer in time");
            let name = &name.name;
            say(&format!(
                "warning: {name} does not resolve ({why}); without the daemon nobody will try again\n"
            ));
        }
        let mut publisher = Publisher::new(context.dataplane());
        let mut mint = Mint::default();
        mint.want(&config.accounts());
        let _ = timeout(bounds::LOOKUP_MS_MAX, mint.settle()).await;
        for backend in mint.missing() {
            say(&format!(
                "warning: no token for backend {backend}; without the daemon nobody will get one, or the next\n"
            ));
        }
        let published = publisher.publish(&config, &|host, port| names.lookup(host, port), &mint).await?;
        match self.keep(data) {
            Ok(revision) => {
                tell(&Done { revision, generation: published.generation(), workers: published.workers() })
            }
            Err(error) => {
                say(&format!("warning: it runs, but `ringctl history` will not know it: {error}\n"));
                tell_unkept(published)
            }
        }
    }

    /// The number it is kept under: the last one, if that has the same text.
    fn keep(self, data: &Path) -> Result<u64, StoreError> {
        let store = Store::open(data)?;
        let hash = digest::sha256(self.source.text.as_bytes());
        if let Some(latest) = store.latest().filter(|latest| latest.meta.hash == hash) {
            return Ok(latest.meta.revision);
        }
        let new = NewRevision {
            by: format!("uid {}", rustix::process::geteuid().as_raw()),
            origin: self.origin,
            from: self.from,
            message: self.message,
            name: self.source.name,
            file_hash: None,
            text: self.source.text,
        };
        store.record(new).map(|revision| revision.meta.revision)
    }
}

fn tell(done: &Done) -> Result<(), Failure> {
    let Done { revision, generation, workers } = done;
    output::print(&match workers {
        Some(workers) => {
            format!("revision {revision} runs on {} as generation {generation}\n", all(*workers))
        }
        None => format!("nothing to change: revision {revision} runs already as generation {generation}\n"),
    })
}

fn tell_unkept(published: Published) -> Result<(), Failure> {
    output::print(&match published {
        Published::Pushed { generation, workers } => {
            format!("generation {generation} runs on {}\n", all(workers))
        }
        Published::Already { generation } => unchanged(generation),
    })
}

fn unchanged(generation: Generation) -> String {
    format!("nothing to change: generation {generation} is the same\n")
}

fn all(workers: u32) -> String {
    match workers {
        1 => "the one worker".to_owned(),
        workers => format!("all {workers} workers"),
    }
}
