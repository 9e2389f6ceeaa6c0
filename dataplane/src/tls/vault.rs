//! All TLS material of the process, by what the snapshot says of it.
//!
//! Owns: reading files when a snapshot comes and when they change, and keeping what has not changed, with its sessions
//! and the connections made under it.
//! Must not: run on a worker (it reads files), or put a key anywhere but into rustls.
//! Read next: `server.rs`, `client.rs`.
//!
//! The data plane reads these files itself, and no snapshot carries their contents: a private key is then in its file
//! and nowhere else (not on the control socket, in the state folder or in a revision), and a renewed certificate is
//! taken up while the control plane is dead.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ringway_contract::snapshot::{BackendTls, ListenerTls};
use ringway_contract::{Problem, Snapshot};

use super::client::ClientSide;
use super::files::Wrong;
use super::server::{ServerSide, WrongPair};
use crate::observe::event_log;
use crate::observe::exposition::Page;

/// All that is in use.
#[derive(Default)]
pub struct Vault {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    servers: HashMap<ListenerTls, Weak<ServerSide>>,
    clients: HashMap<BackendTls, Weak<ClientSide>>,
}

/// The material of one snapshot.
#[derive(Default)]
pub struct Opened {
    /// Of listeners, by address.
    pub listeners: Vec<(SocketAddr, Arc<ServerSide>)>,
    /// Of backends with an endpoint that wants it, by place.
    pub backends: HashMap<usize, Arc<ClientSide>>,
}

impl Vault {
    /// Reads what the snapshot names and is not in use yet.
    ///
    /// # Errors
    /// All that cannot be used, in the order of the document.
    pub fn open(&self, snapshot: &Snapshot) -> Result<Opened, Vec<Problem>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.forget_unused();
        let mut opened = Opened::default();
        let mut problems = Vec::new();
        for (i, listener) in snapshot.listeners.iter().enumerate() {
            let Some(spec) = &listener.tls else { continue };
            match kept_or(&mut held.servers, spec, ServerSide::load) {
                Ok(side) => opened.listeners.push((listener.address, side)),
                Err(wrong) => problems.push(of_listener(i, wrong)),
            }
        }
        for (i, backend) in snapshot.backends.iter().enumerate() {
            if !backend.endpoints.iter().any(|endpoint| endpoint.secure) {
                continue;
            }
            let spec = backend.tls.clone().unwrap_or_default();
            match kept_or(&mut held.clients, &spec, ClientSide::load) {
                Ok(side) => drop(opened.backends.insert(i, side)),
                Err(wrong) => problems.push(of_backend(i, &spec, wrong)),
            }
        }
        if problems.is_empty() { Ok(opened) } else { Err(problems) }
    }

    /// Looks at all files, and reads those again that were replaced. What cannot be used changes nothing.
    pub fn refresh(&self) {
        let (servers, clients) = {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            (alive(&held.servers), alive(&held.clients))
        };
        for side in servers {
            match side.refresh() {
                None => {}
                Some(Ok(())) => event_log::info(
                    "certificates were read again; new connections get them",
                    &[("certificate", &side.spec().certificates[0].cert)],
                ),
                Some(Err(WrongPair { wrong, .. })) => complain(&wrong),
            }
        }
        for side in clients {
            match side.refresh() {
                None => {}
                Some(Ok(())) => event_log::info(
                    "the trust of a backend was read again; new connections use it",
                    &[("ca", &side.spec().ca.as_deref().unwrap_or("of the system"))],
                ),
                Some(Err(wrong)) => complain(&wrong),
            }
        }
    }

    /// Appends when the certificates of listeners run out.
    pub fn render(&self, out: &mut String) {
        let servers = alive(&self.held.lock().unwrap_or_else(PoisonError::into_inner).servers);
        let mut expiries: Vec<_> = servers.iter().flat_map(|side| side.expiries().to_vec()).collect();
        if expiries.is_empty() {
            return;
        }
        expiries.sort_by(|a, b| a.path.cmp(&b.path).then(a.at_s.cmp(&b.at_s)));
        expiries.dedup_by(|a, b| a.path == b.path);
        let mut page = Page::new(out);
        let mut family = page.gauge(
            "ringway_tls_certificate_expiry_timestamp_seconds",
            "When the certificate in this file runs out, in seconds since 1970.",
        );
        for expiry in expiries {
            family.sample(&[("certificate", &expiry.path)], expiry.at_s);
        }
    }
}

impl Held {
    fn forget_unused(&mut self) {
        self.servers.retain(|_, side| side.strong_count() > 0);
        self.clients.retain(|_, side| side.strong_count() > 0);
    }
}

fn kept_or<Spec: Clone + Eq + Hash, Side, Error>(
    held: &mut HashMap<Spec, Weak<Side>>,
    spec: &Spec,
    load: impl FnOnce(&Spec) -> Result<Side, Error>,
) -> Result<Arc<Side>, Error> {
    if let Some(side) = held.get(spec).and_then(Weak::upgrade) {
        return Ok(side);
    }
    let side = Arc::new(load(spec)?);
    held.insert(spec.clone(), Arc::downgrade(&side));
    Ok(side)
}

fn alive<Spec, Side>(held: &HashMap<Spec, Weak<Side>>) -> Vec<Arc<Side>> {
    held.values().filter_map(Weak::upgrade).collect()
}

fn complain(wrong: &Wrong) {
    event_log::warn(
        "a changed file of TLS cannot be used; what was read before stays",
        &[("what", &wrong.what), ("mend", &wrong.mend)],
    );
}

fn of_listener(i: usize, WrongPair { index, wrong }: WrongPair) -> Problem {
    let at = match index {
        Some(j) => format!("listeners[{i}].tls.certificates[{j}].{}", wrong.field),
        None => format!("listeners[{i}].tls.{}", wrong.field),
    };
    Problem::new(at, wrong.what).mend(wrong.mend)
}

fn of_backend(i: usize, spec: &BackendTls, wrong: Wrong) -> Problem {
    let at = match (wrong.field, &spec.ca) {
        ("ca", None) => format!("backends[{i}].endpoints"),
        ("ca", Some(_)) => format!("backends[{i}].tls.ca"),
        (field, _) => format!("backends[{i}].tls.certificate.{field}"),
    };
    Problem::new(at, wrong.what).mend(wrong.mend)
}
