//! The configuration file, from text to snapshot.
//!
//! Owns: the three forms and the two steps between them: [`FileConfig`] is what was written,
//! [`Config`] holds together, [`ringway_contract::Snapshot`] crosses the socket. Each is built only from
//! the one before, so the type says how far checking went.
//! Must not: watch the file, resolve names, or talk to anybody.
//! Read next: `written.rs`, `resolve.rs`, `snapshot.rs`, in the order a file takes.

mod decode;
mod environment;
mod fields;
mod hardware;
mod hosting;
mod overlap;
mod redact;
mod report;
mod resolve;
mod resolved;
mod schema;
mod secret;
mod snapshot;
mod source;
mod speaks;
mod suggest;
mod tls;
mod values;
mod written;
mod yaml;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use environment::{Environment, Looks, Placed, SecretFile, System};
pub use report::{Finding, Report, Severity};
pub use resolve::resolve;
pub use resolved::Config;
pub use schema::{reference, schema};
pub use snapshot::{may_connect, snapshot, targets};
pub use source::{Error, Source, read};
pub use written::{FileConfig, parse};

/// Reads, decodes and resolves the file at `path` against the real system. Files with secrets are looked
/// for beside it.
pub fn load(path: &Path) -> Result<Config, Report> {
    let source = read(path)?;
    check(&source, &System::beside(path.parent().unwrap_or(Path::new(""))))
}

/// Decodes and resolves: problems of both steps in one report.
pub fn check(source: &Source, env: &dyn Environment) -> Result<Config, Report> {
    let sink = decode::Sink::default();
    let parts = written::decode(source, &sink).and_then(|file| resolve::harden(file, env, &sink));
    resolve::finish(parts, sink, source)
}
