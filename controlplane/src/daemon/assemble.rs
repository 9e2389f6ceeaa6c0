//! A config, the names' addresses and tokens that were got, put together into one snapshot.
//!
//! Owns: when two snapshots are the same. What operators drain is no part of one: the data plane keeps it
//! across snapshots.
//! Must not: do I/O.
//! Read next: `publish.rs`, which pushes the result.

use std::net::SocketAddr;

use ringway_contract::{Generation, Snapshot};

use crate::config::{self, Config};
use crate::digest;
use crate::mint::Mint;

/// The snapshot to push.
pub fn assemble(config: &Config, addresses: &dyn Fn(&str, u16) -> Vec<SocketAddr>, mint: &Mint) -> Snapshot {
    let mut snapshot = config::snapshot(config, addresses);
    for (name, _) in config.accounts() {
        if let Some(backend) = snapshot.backends.iter_mut().find(|backend| backend.name == name) {
            backend.credential = mint.credential(name);
        }
    }
    snapshot
}

/// Whether the data plane would do the same under both. It shows what it runs with fingerprints for secrets,
/// so secrets are compared by those.
pub fn same(a: &Snapshot, b: &Snapshot) -> bool {
    let comparable =
        |snapshot: &Snapshot| digest::redact(Snapshot { generation: Generation::NONE, ..snapshot.clone() });
    comparable(a) == comparable(b)
}
