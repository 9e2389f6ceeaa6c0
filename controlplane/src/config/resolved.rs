//! The configuration with every name looked up, every default filled and every reference checked.
//!
//! Owns: [`Config`], the second of the three forms. Where a part is already what the data plane wants,
//! it is the contract's type.
//! Must not: be built by anything but `resolve.rs`.
//! Read next: `snapshot.rs`, which makes the third form of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ringway_contract::Millis;
use ringway_contract::snapshot::{
    Admission, BackendTls, Balance, Class, Connections, Credential, Dialect, Engine, Hardware, Heartbeat,
    Hedge, Hosting, Limits, Listener, Logging, Lora, Match, Model, Orca, Retry, RouteTimeouts, Score,
    Sessions, Tenants, Tracing,
};

use super::report::{Finding, Report};
use crate::mint::ServiceAccount;
use crate::scrape::{Health, Metrics};

/// A configuration that holds together. Only addresses of names are still open.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub(super) listeners: Vec<Listener>,
    pub(super) admin: Option<SocketAddr>,
    pub(super) backends: Vec<Backend>,
    pub(super) routes: Vec<Route>,
    pub(super) models: Vec<Model>,
    pub(super) limits: Limits,
    pub(super) logging: Logging,
    pub(super) drain_timeout: Millis,
    pub(super) warnings: Report,
}

impl Config {
    /// Host names of endpoints, with their ports, that somebody has to resolve; sorted, each once.
    pub fn names_to_resolve(&self) -> Vec<(String, u16)> {
        let endpoints = self.backends.iter().flat_map(|backend| &backend.endpoints);
        let names: BTreeSet<_> = endpoints
            .filter_map(|endpoint| match &endpoint.host {
                Host::Name(name) => Some((name.clone(), endpoint.port)),
                Host::Address(_) => None,
            })
            .collect();
        names.into_iter().collect()
    }

    /// Accounts whose tokens somebody has to get, each once, and the backends they are for.
    pub fn accounts(&self) -> Vec<(&str, &ServiceAccount)> {
        self.backends.iter().filter_map(|it| Some((it.name.as_str(), it.account.as_ref()?))).collect()
    }

    /// What may not do what was meant.
    pub fn warnings(&self) -> &[Finding] {
        self.warnings.findings()
    }

    /// The warnings with their file, for drawing.
    pub fn warnings_report(&self) -> &Report {
        &self.warnings
    }
}

/// A backend of the list, by its place: the proof that the name was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BackendId(pub(super) usize);

/// Endpoints that serve the same models.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Backend {
    pub(super) name: String,
    pub(super) engine: Engine,
    pub(super) dialect: Dialect,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) balance: Balance,
    pub(super) score: Score,
    pub(super) models: Vec<String>,
    pub(super) connect_timeout: Millis,
    pub(super) connections: Connections,
    pub(super) credential: Option<Credential>,
    pub(super) metrics: Option<Metrics>,
    pub(super) health: Option<Health>,
    pub(super) orca: Option<Orca>,
    pub(super) tls: Option<BackendTls>,
    pub(super) admission: Option<Admission>,
    pub(super) tenants: Option<Tenants>,
    pub(super) hosting: Option<Hosting>,
    pub(super) lora: Option<Lora>,
    pub(super) sessions: Option<Sessions>,
    /// Whose tokens are its credential, if they have to be got.
    pub(super) account: Option<ServiceAccount>,
}

/// One endpoint, with its host still a name where it was written as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) secure: bool,
    pub(super) authority: String,
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) base_path: String,
    pub(super) weight: u32,
    pub(super) hardware: Hardware,
    pub(super) labels: BTreeMap<String, String>,
}

/// The host of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Host {
    /// Written as an address: needs no resolver.
    Address(IpAddr),
    /// A DNS name, lower case.
    Name(String),
}

/// A rule from request to backends.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent settings of the operator, each named where it is set"
)]
pub(super) struct Route {
    pub(super) name: String,
    pub(super) matches: Match,
    pub(super) targets: Vec<Target>,
    pub(super) timeouts: RouteTimeouts,
    pub(super) retry: Retry,
    pub(super) expose: bool,
    pub(super) strict: bool,
    pub(super) force_usage: bool,
    pub(super) preserve_host: bool,
    pub(super) idempotent: bool,
    pub(super) fallback: Vec<Target>,
    pub(super) class: Class,
    pub(super) trace: Tracing,
    pub(super) heartbeat: Option<Heartbeat>,
    pub(super) hedge: Option<Hedge>,
}

/// One destination of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) backend: BackendId,
    pub(super) weight: u32,
    pub(super) model: Option<String>,
}
