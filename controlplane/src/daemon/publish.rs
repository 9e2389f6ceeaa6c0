//! Pushes snapshots, and keeps an eye on whether the data plane still runs the last one.
//!
//! Owns: the pace (CP-05), the generation dance, and the reconnects (CP-02).
//! Must not: decide what to push.
//! Read next: `mod.rs`, which decides.

use std::net::SocketAddr;
use std::time::Duration;

use ringway_contract::{Generation, Snapshot};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::assemble::{assemble, same};
use crate::bounds::running as bounds;
use crate::client::{ClientError, DataPlane, Running};
use crate::config::Config;
use crate::log;
use crate::mint::Mint;

/// How a push went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// All workers run it now.
    Pushed {
        /// Under this number.
        generation: Generation,
        /// How many.
        workers: u32,
    },
    /// It ran already.
    Already {
        /// Under this number.
        generation: Generation,
    },
}

impl Published {
    /// The number it runs under.
    pub const fn generation(self) -> Generation {
        match self {
            Self::Pushed { generation, .. } | Self::Already { generation } => generation,
        }
    }

    /// How many workers confirmed a push.
    pub const fn workers(self) -> Option<u32> {
        match self {
            Self::Pushed { workers, .. } => Some(workers),
            Self::Already { .. } => None,
        }
    }
}

/// The way to one data plane.
pub struct Publisher {
    dataplane: DataPlane,
    next_push: Instant,
}

impl Publisher {
    /// Nothing is connected yet.
    pub fn new(dataplane: DataPlane) -> Self {
        Self { dataplane, next_push: Instant::now() }
    }

    /// Makes the data plane run this config; pushes only if that changes anything.
    pub async fn publish(
        &mut self,
        config: &Config,
        addresses: &dyn Fn(&str, u16) -> Vec<SocketAddr>,
        mint: &Mint,
    ) -> Result<Published, ClientError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let running = self.dataplane.snapshot().await?;
            let wanted = assemble(config, addresses, mint, running.as_ref().map(|running| &running.snapshot));
            if let Some(Running { generation, snapshot }) = &running
                && same(snapshot, &wanted)
            {
                return Ok(Published::Already { generation: *generation });
            }
            match self.push(&wanted, running.map(|running| running.generation)).await {
                Err(ClientError::Stale { .. }) if tries < bounds::PUSH_TRIES_MAX => {}
                outcome => return outcome,
            }
        }
    }

    async fn push(
        &mut self,
        snapshot: &Snapshot,
        expected: Option<Generation>,
    ) -> Result<Published, ClientError> {
        sleep_until(self.next_push).await;
        self.next_push = Instant::now() + bounds::PUSH_GAP_MS_MIN;
        let applied = self.dataplane.put(snapshot, expected).await?;
        Ok(Published::Pushed { generation: applied.generation, workers: applied.workers })
    }
}

/// Whether the data plane is there, and what it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its event stream is open.
    pub connected: bool,
    /// Counts connections: another number, perhaps another process.
    pub connections: u64,
    /// What its last `generation` event said.
    pub generation: Option<Generation>,
}

/// Follows the data plane's events and reconnects for as long as the returned task set lives.
pub fn follow(dataplane: DataPlane) -> (watch::Receiver<Link>, JoinSet<()>) {
    let (link, state) = watch::channel(Link::default());
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut wait = Backoff::default();
        let mut silent = false;
        loop {
            match dataplane.events().await {
                Ok(mut events) => {
                    (silent, wait) = (false, Backoff::default());
                    log::info("connected to the data plane", &[("control", &dataplane.path().display())]);
                    link.send_modify(|link| {
                        let connections = link.connections + 1;
                        *link = Link { connected: true, connections, generation: None };
                    });
                    while let Ok(Some(event)) = events.next().await {
                        if event.kind == "generation" {
                            link.send_modify(|link| link.generation = event.generation());
                        }
                    }
                    log::warn("the data plane is gone; trying again", &[]);
                    link.send_modify(|link| link.connected = false);
                }
                // Said once, not at each try: a data plane that starts later is nothing unusual.
                Err(error) if !silent => {
                    silent = true;
                    log::warn("waiting for the data plane", &[("why", &error)]);
                }
                Err(_) => {}
            }
            sleep(wait.next()).await;
        }
    });
    (state, task)
}

/// Waits that double from 0.1 to 5 s, each with jitter, so that many daemons do not knock at once.
#[derive(Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next wait.
    #[expect(clippy::should_implement_trait, reason = "an endless iterator would say less")]
    pub fn next(&mut self) -> Duration {
        let full = bounds::BACKOFF_MS_MIN.saturating_mul(1 << self.tries.min(16)).min(bounds::BACKOFF_MS_MAX);
        self.tries = self.tries.saturating_add(1);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_never_past_it() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        assert!(waits[0] >= bounds::BACKOFF_MS_MIN / 2 && waits[0] <= bounds::BACKOFF_MS_MIN);
        assert!(waits.iter().all(|wait| *wait <= bounds::BACKOFF_MS_MAX));
        assert!(waits[39] >= bounds::BACKOFF_MS_MAX / 2);
    }
}
