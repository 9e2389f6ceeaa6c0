//! What crosses the daemon's socket: HTTP/1.1 and JSON, like the data plane's, so `curl` can debug it.
//!
//! ```text
//! GET  /v1/status          Status
//! GET  /v1/revisions       [RevisionMeta], newest first
//! GET  /v1/revisions/N     Revision; N may be `latest`
//! POST /v1/apply           Apply → Done
//! POST /v1/rollback        Rollback → Done
//! ```
//!
//! The last two are refused with 422 and every problem of the config, 404 where there is no such revision, 409
//! where a later command took their place, 502 where the data plane did not take it, 503 where it cannot be
//! reached.
//!
//! Owns: the serde types of both sides. Must not: carry a resolved secret; a config's text names them only.

use std::net::IpAddr;

use ringway_contract::Generation;
use serde::{Deserialize, Serialize};

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The file it watches.
    pub config: String,
    /// The folder it keeps revisions in.
    pub data: String,
    /// The data plane's socket.
    pub control: String,
    /// Whether the data plane is there.
    pub connected: bool,
    /// The generation of the last push that all workers run; 0: none yet.
    pub generation: Generation,
    /// The revision that runs, or should.
    pub revision: Option<RevisionMeta>,
    /// True while something accepted here does not run there yet.
    pub pending: bool,
    /// What went wrong last and was not put right since.
    pub trouble: Option<Trouble>,
    /// Names of the config and where they resolve to.
    pub names: Vec<NameStatus>,
    /// Tokens that it gets for backends.
    #[serde(default)]
    pub tokens: Vec<TokenStatus>,
    /// Endpoints that cannot be read or probed.
    #[serde(default)]
    pub endpoints: Vec<EndpointTrouble>,
}

/// Something that went wrong and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// RFC 3339.
    pub at: String,
    /// In words; several lines if it is a report.
    pub what: String,
}

/// An endpoint that tells us nothing, or nothing good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointTrouble {
    /// `backend/authority`.
    pub endpoint: String,
    /// What was tried.
    pub by: Looking,
    /// RFC 3339.
    pub since: String,
    /// Why it failed last.
    pub why: String,
}

/// How an endpoint is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Looking {
    /// Its page of metrics is read.
    Load,
    /// It is asked whether it is well.
    Probe,
}

/// One name and where it resolves to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameStatus {
    /// The host name.
    pub name: String,
    /// Its addresses, the last good ones.
    pub addresses: Vec<IpAddr>,
    /// Why the last lookup failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A token of one backend, and how the last asking for it went. Never the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenStatus {
    /// Whom it is for.
    pub backend: String,
    /// Whose it is.
    pub account: String,
    /// When the last one ends, RFC 3339; none: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Why there is no newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a revision came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The watched file changed.
    File,
    /// `ringctl apply`.
    Apply,
    /// `ringctl rollback`.
    Rollback,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::File => "file",
            Self::Apply => "apply",
            Self::Rollback => "rollback",
        })
    }
}

/// A revision without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionMeta {
    /// Its number, from 1.
    pub revision: u64,
    /// When it began to run, RFC 3339.
    pub at: String,
    /// Who caused it: a file's path, or a user.
    pub by: String,
    /// How.
    pub origin: Origin,
    /// For a rollback: the revision whose text this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// SHA-256 of the text.
    pub hash: String,
    /// What the one who caused it said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A revision: a config as it was written. Secrets are in it by name only and are read again when it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// All but the text.
    #[serde(flatten)]
    pub meta: RevisionMeta,
    /// What to call the text in error messages: its file's name.
    pub name: String,
    /// Digest of what the watched file held then: while it still does, the file does not undo this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_hash: Option<String>,
    /// The config.
    pub text: String,
}

/// The body of `POST /v1/apply`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// What to call the text in error messages.
    pub name: String,
    /// The config.
    pub text: String,
    /// Kept with the revision.
    #[serde(default)]
    pub message: Option<String>,
}

/// The body of `POST /v1/rollback`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Which; none: the newest whose text differs from what runs.
    #[serde(default)]
    pub revision: Option<u64>,
    /// Kept with the new revision.
    #[serde(default)]
    pub message: Option<String>,
}

/// The answer to `apply` and `rollback`, once every worker runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The revision that runs.
    pub revision: u64,
    /// The generation that runs.
    pub generation: Generation,
    /// How many workers run it; none: it ran already, nothing was pushed.
    #[serde(default)]
    pub workers: Option<u32>,
}
