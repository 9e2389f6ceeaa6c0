//! A config, the names' addresses and the operator's drains, put together into one snapshot.
//!
//! Owns: what a snapshot is made of besides the file, and when two are the same.
//! Must not: do I/O.
//! Read next: `publish.rs`, which pushes the result.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ringway_contract::{Generation, Snapshot};

use crate::config::{self, Config};

/// The snapshot to push in the place of `running`. An endpoint that was drained there stays drained: a drain is
/// the operator's and no config file undoes it.
pub fn assemble(
    config: &Config,
    addresses: &dyn Fn(&str, u16) -> Vec<SocketAddr>,
    running: Option<&Snapshot>,
) -> Snapshot {
    let mut snapshot = config::snapshot(config, addresses);
    snapshot.generation = Generation::NONE;
    if let Some(running) = running {
        keep_drains(&mut snapshot, running);
    }
    snapshot
}

/// Whether the data plane would do the same under both.
pub fn same(a: &Snapshot, b: &Snapshot) -> bool {
    let numberless = |snapshot: &Snapshot| Snapshot { generation: Generation::NONE, ..snapshot.clone() };
    numberless(a) == numberless(b)
}

fn keep_drains(snapshot: &mut Snapshot, running: &Snapshot) {
    let drained: BTreeSet<(&str, &str)> = running
        .backends
        .iter()
        .flat_map(|backend| backend.endpoints.iter().map(move |endpoint| (backend, endpoint)))
        .filter(|(_, endpoint)| endpoint.drained)
        .map(|(backend, endpoint)| (backend.name.as_str(), endpoint.authority.as_str()))
        .collect();
    for backend in &mut snapshot.backends {
        for endpoint in &mut backend.endpoints {
            endpoint.drained |= drained.contains(&(backend.name.as_str(), endpoint.authority.as_str()));
        }
    }
}
