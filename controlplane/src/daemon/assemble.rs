//! A config, the names' addresses and tokens that were got, put together into one snapshot.
//!
//! Owns: when two snapshots are the same. What operators drain is no part of one: the data plane keeps it
//! across snapshots.
//! Must not: do I/O.
//! Read next: `publish.rs`, which pushes the result.

use std::net::SocketAddr;

use ringway_contract::snapshot::Backend;
use ringway_contract::{Generation, Snapshot};

use crate::config::{self, Config};
use crate::digest;
use crate::mint::Mint;

/// The snapshot to push onto what runs.
pub fn assemble(
    config: &Config,
    addresses: &dyn Fn(&str, u16) -> Vec<SocketAddr>,
    mint: &Mint,
    running: Option<&Snapshot>,
) -> Snapshot {
    let mut snapshot = config::snapshot(config, addresses);
    for (name, _) in config.accounts() {
        let Some(backend) = snapshot.backends.iter_mut().find(|backend| backend.name == name) else {
            continue;
        };
        match mint.credential(name) {
            Some((credential, until_s)) => {
                backend.credential = Some(credential);
                backend.credential_until_s = Some(until_s);
            }
            None => keep_token(backend, running),
        }
    }
    snapshot
}

/// While no token is to be had, the one that runs goes on, by its fingerprint: a daemon that was just started knows of no
/// other. Where none runs the backend has nowhere to go, so that its requests find another destination at once and
/// none goes up without proof.
pub fn keep_token(backend: &mut Backend, running: Option<&Snapshot>) {
    let running = running.and_then(|running| {
        let same = |it: &&Backend| {
            it.name == backend.name && it.hosting == backend.hosting && backend.leads_only_where(it)
        };
        running.backends.iter().find(same)
    });
    match running.filter(|running| running.credential.is_some()) {
        Some(running) => {
            backend.credential.clone_from(&running.credential);
            backend.credential_until_s = running.credential_until_s;
        }
        None => backend.endpoints.iter_mut().for_each(|endpoint| endpoint.addresses.clear()),
    }
}

/// Whether the data plane would do the same under both. It shows what it runs with fingerprints for secrets,
/// so secrets are compared by those.
pub fn same(a: &Snapshot, b: &Snapshot) -> bool {
    let comparable =
        |snapshot: &Snapshot| digest::redact(Snapshot { generation: Generation::NONE, ..snapshot.clone() });
    comparable(a) == comparable(b)
}
