//! Reports on their way to the data plane.
//!
//! Owns: the latest of each endpoint until it is sent, the sequence numbers, and the pace: at most twenty messages a
//! second, each with everything new.
//! Must not: keep what could not be sent. The next reading is newer than any second try.
//! Read next: `crate::client`, the line it is sent on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ringway_contract::load::{EndpointLoad, LoadReport, LoadTaken, Probe, ReportedAdapters};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Reading;
use crate::bounds::running as bounds;
use crate::client::{DataPlane, LoadLine};
use crate::log;

/// Where reports wait.
pub(super) struct Outbox {
    waiting: Mutex<BTreeMap<String, EndpointLoad>>,
    news: Notify,
    seq: AtomicU64,
}

impl Default for Outbox {
    fn default() -> Self {
        // Begins with the time of day, so that a daemon that starts again goes on above its last number.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seq = AtomicU64::new(now.as_micros() as u64);
        Self { waiting: Mutex::default(), news: Notify::new(), seq }
    }
}

impl Outbox {
    /// A reading of an endpoint. It replaces one that was not sent yet, and leaves a probe that was not.
    pub(super) fn reading(&self, endpoint: &str, generation: u64, reading: Reading) {
        self.put(endpoint, generation, |load| {
            let Reading { running, waiting, kv, uncached_waiting, capacity, adapters, .. } = reading;
            let adapters = adapters.map(|it| ReportedAdapters { named: it.named, slots: it.slots });
            (load.running, load.waiting, load.kv) = (running, waiting, kv);
            (load.uncached_waiting, load.capacity, load.adapters) = (uncached_waiting, capacity, adapters);
            load.taken_at_ns = monotonic_ns();
        });
    }

    /// How a probe of an endpoint went.
    pub(super) fn probe(&self, endpoint: &str, generation: u64, probe: Probe) {
        self.put(endpoint, generation, |load| {
            load.probe = Some(probe);
            if !load.has_values() {
                load.taken_at_ns = monotonic_ns();
            }
        });
    }

    fn put(&self, endpoint: &str, generation: u64, fill: impl FnOnce(&mut EndpointLoad)) {
        let mut waiting = self.waiting();
        let load = waiting.entry(endpoint.to_owned()).or_default();
        fill(load);
        endpoint.clone_into(&mut load.endpoint);
        (load.seq, load.generation) = (self.seq.fetch_add(1, Ordering::Relaxed), generation);
        drop(waiting);
        self.news.notify_one();
    }

    fn take(&self) -> LoadReport {
        LoadReport { endpoints: std::mem::take(&mut *self.waiting()).into_values().collect() }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<String, EndpointLoad>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what comes for ever; `outlived` is told of endpoints whose later life the data plane knows.
pub(super) async fn send(outbox: Arc<Outbox>, dataplane: DataPlane, outlived: impl Fn(&str, u64)) {
    let mut line = LoadLine::new(dataplane);
    let mut next = Instant::now();
    let mut trouble = false;
    loop {
        outbox.news.notified().await;
        sleep_until(next).await;
        next = Instant::now() + bounds::LOAD_GAP_MS_MIN;
        let report = outbox.take();
        if report.endpoints.is_empty() {
            continue;
        }
        match line.send(&report).await {
            Ok(LoadTaken { outlived: known, .. }) => {
                trouble = false;
                for known in &known {
                    outlived(&known.endpoint, known.generation);
                }
            }
            Err(why) => {
                if !std::mem::replace(&mut trouble, true) {
                    log::warn(
                        "load reports do not arrive; the data plane goes by its own counts",
                        &[("why", &why)],
                    );
                }
            }
        }
    }
}

/// `CLOCK_MONOTONIC`, which the data plane reads too.
fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_reading_replaces_one_that_waits_and_leaves_its_probe() {
        let outbox = Outbox::default();
        let busy = |running| Reading { running: Some(running), kv: Some(0.5), ..Reading::default() };
        outbox.reading("b/e", 1, busy(1));
        outbox.probe("b/e", 1, Probe::Failed);
        outbox.reading("b/e", 2, Reading { kv: None, ..busy(2) });
        outbox.reading("b/f", 1, busy(3));
        let LoadReport { endpoints } = outbox.take();
        let [e, f] = &endpoints[..] else { panic!("{endpoints:?}") };
        assert_eq!((e.running, e.kv, e.generation, e.probe), (Some(2), None, 2, Some(Probe::Failed)));
        assert!(f.seq > e.seq && f.taken_at_ns >= e.taken_at_ns && e.taken_at_ns > 0);
        assert!(outbox.take().endpoints.is_empty());
    }
}
