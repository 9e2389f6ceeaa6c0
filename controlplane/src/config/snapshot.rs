//! From the resolved configuration to what crosses the socket.
//!
//! Owns: the last step, in which names become addresses.
//! Must not: fail, fill a default, or resolve a name itself; `addresses` is asked.
//! Read next: `ringway_contract::snapshot`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ringway_contract::snapshot::{self as contract, FORMAT};
use ringway_contract::{Generation, Snapshot};

use super::resolved::{Backend, Config, Endpoint, Host, Route};
use crate::bounds::ADDRESSES_MAX;
use crate::scrape::{Secure, Target};

/// Builds the snapshot of `config`. `addresses` says where a host name resolves to now; it may say
/// nowhere, then no request goes there. Addresses that no name may lead to ([`may_connect`]) are left out,
/// and those beyond [`ADDRESSES_MAX`].
pub fn snapshot(config: &Config, addresses: &dyn Fn(&str, u16) -> Vec<SocketAddr>) -> Snapshot {
    Snapshot {
        format: FORMAT,
        generation: Generation::NONE, // the data plane numbers it after the running one
        listeners: config.listeners.clone(),
        admin: config.admin,
        backends: config.backends.iter().map(|b| backend(b, addresses)).collect(),
        routes: config.routes.iter().map(|r| route(r, &config.backends)).collect(),
        models: config.models.clone(),
        limits: config.limits,
        logging: config.logging.clone(),
        drain_timeout_ms: config.drain_timeout,
    }
}

fn backend(from: &Backend, addresses: &dyn Fn(&str, u16) -> Vec<SocketAddr>) -> contract::Backend {
    contract::Backend {
        name: from.name.clone(),
        engine: from.engine,
        dialect: from.dialect,
        endpoints: from.endpoints.iter().map(|e| endpoint(e, addresses)).collect(),
        balance: from.balance,
        score: from.score,
        models: from.models.clone(),
        connect_timeout_ms: from.connect_timeout,
        tls: from.tls.clone(),
        connections: from.connections,
        credential: from.credential.clone(),
        credential_until_s: None,
        orca: from.orca,
        admission: from.admission,
        tenants: from.tenants.clone(),
        hosting: from.hosting.clone(),
        lora: from.lora.clone(),
        sessions: from.sessions.clone(),
    }
}

/// What the control plane itself reads of each endpoint. It is no part of a snapshot.
pub fn targets(config: &Config, addresses: &dyn Fn(&str, u16) -> Vec<SocketAddr>) -> Vec<Target> {
    let of = |backend: &Backend, endpoint: &Endpoint| Target {
        name: format!("{}/{}", backend.name, endpoint.authority),
        authority: endpoint.authority.clone(),
        addresses: located(endpoint, addresses),
        secure: endpoint.secure.then(|| secure(backend, endpoint)),
        engine: backend.engine,
        models: backend.models.clone(),
        credential: backend.credential.clone(),
        metrics: backend.metrics.clone(),
        health: backend.health.clone(),
    };
    let watched = |backend: &&Backend| backend.metrics.is_some() || backend.health.is_some();
    let backends = config.backends.iter().filter(watched);
    let all =
        backends.flat_map(|backend| backend.endpoints.iter().map(move |endpoint| of(backend, endpoint)));
    all.collect()
}

/// As the data plane speaks to it.
fn secure(backend: &Backend, endpoint: &Endpoint) -> Secure {
    let tls = backend.tls.clone().unwrap_or_default();
    let host = || match &endpoint.host {
        Host::Address(ip) => ip.to_string(),
        Host::Name(name) => name.clone(),
    };
    Secure { name: tls.server_name.clone().unwrap_or_else(host), tls }
}

fn endpoint(from: &Endpoint, addresses: &dyn Fn(&str, u16) -> Vec<SocketAddr>) -> contract::Endpoint {
    contract::Endpoint {
        authority: from.authority.clone(),
        addresses: located(from, addresses),
        base_path: from.base_path.clone(),
        secure: from.secure,
        weight: from.weight,
        hardware: from.hardware,
        drained: false,
        labels: from.labels.clone(),
    }
}

fn located(from: &Endpoint, addresses: &dyn Fn(&str, u16) -> Vec<SocketAddr>) -> Vec<SocketAddr> {
    match &from.host {
        Host::Address(ip) => vec![SocketAddr::new(*ip, from.port)],
        Host::Name(name) => {
            let mut found = addresses(name, from.port);
            found.retain(|address| may_connect(address.ip()));
            found.truncate(ADDRESSES_MAX);
            found
        }
    }
}

fn route(from: &Route, backends: &[Backend]) -> contract::Route {
    let targets = from.targets.iter().map(|target| contract::Target {
        backend: backends[target.backend.0].name.clone(),
        weight: target.weight,
        model: target.model.clone(),
    });
    let fallback = from.fallback.iter().map(|target| contract::Fallback {
        backend: backends[target.backend.0].name.clone(),
        model: target.model.clone(),
    });
    contract::Route {
        name: from.name.clone(),
        matches: from.matches.clone(),
        targets: targets.collect(),
        timeouts: from.timeouts,
        retry: from.retry,
        expose: from.expose,
        strict: from.strict,
        force_usage: from.force_usage,
        preserve_host: from.preserve_host,
        idempotent: from.idempotent,
        fallback: fallback.collect(),
        class: from.class,
        trace: from.trace,
        heartbeat: from.heartbeat,
        hedge: from.hedge,
    }
}

/// Whether an endpoint may have this address (SEC-SSRF-02). Link-local ranges hold the metadata services
/// of most clouds; multicast, broadcast and "this host" are nobody's server. Loopback and private ranges
/// are allowed: that is where inference servers live.
pub fn may_connect(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            const ALIBABA_METADATA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
            let nobodys = v4.octets()[0] == 0 || v4.is_multicast() || v4.is_broadcast();
            !(nobodys || v4.is_link_local() || v4 == ALIBABA_METADATA)
        }
        IpAddr::V6(v6) => {
            const AWS_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
            !(v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local() || v6 == AWS_METADATA)
        }
    }
}
