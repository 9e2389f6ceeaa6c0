//! What is to be read of one endpoint.
//!
//! Owns: [`Target`], as the configuration gives it. Must not: know how it is read.

use std::net::SocketAddr;

use ringway_contract::Millis;
use ringway_contract::snapshot::{BackendTls, Credential, Engine};

/// One endpoint that is read or probed.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// `backend/authority`: its name to the data plane.
    pub name: String,
    /// `host:port`: the `Host` sent.
    pub authority: String,
    /// Where it is now; empty: nowhere.
    pub addresses: Vec<SocketAddr>,
    /// How it is spoken to over TLS; none: in plain text.
    pub secure: Option<Secure>,
    /// What kind of server it is.
    pub engine: Engine,
    /// Models it serves, as its page may name them.
    pub models: Vec<String>,
    /// A secret for it, sent with each question.
    pub credential: Option<Credential>,
    /// Its page of metrics; none: not read.
    pub metrics: Option<Metrics>,
    /// Its probe; none: not probed.
    pub health: Option<Health>,
}

/// TLS to an endpoint. It holds for every port that is asked: what was to be secret never goes out in the clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secure {
    /// The name that it must prove to have.
    pub name: String,
    /// To whom it must, and what we show it.
    pub tls: BackendTls,
}

/// A page of metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where it may be, best first.
    pub paths: Vec<String>,
    /// Its port, if not that of the endpoint.
    pub port: Option<u16>,
    /// Between two readings.
    pub interval: Millis,
}

/// An active probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked for.
    pub path: String,
    /// Between two probes.
    pub interval: Millis,
}
