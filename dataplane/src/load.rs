//! Load reports on their way in: from the control plane, and from heads of answers.
//!
//! Owns: finding the endpoint of a report, its order, and the two planes' clocks.
//! Must not: let a report close anything. They raise costs; one that is missing, late or wrong costs precision only.
//! Read next: [`crate::seen`], where the last one is shown, and [`crate::cells`], where it counts.

use std::collections::HashMap;

use ringway_contract::load::{EndpointLoad, LoadReport, LoadTaken, Outlived, Probe};
use rustix::time::{ClockId, clock_gettime};

use crate::cells::{Intake, Report, Said};
use crate::clock::Moment;
use crate::orca::Beside;
use crate::seen::News;
use crate::table::{Backend, Endpoint, Table};

/// Now, on the clock that both planes share and on that of this process.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// `CLOCK_MONOTONIC`.
    pub monotonic_ns: u64,
    /// Since this process began.
    pub us: u64,
}

impl Now {
    /// Both, if the process began so many microseconds ago.
    pub fn since(us: u64) -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        Self { monotonic_ns: now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs(), us }
    }

    /// A moment of the shared clock on that of this process. What lies ahead is now: then another clock was read.
    fn own_us(self, taken_at_ns: u64) -> u64 {
        self.us.saturating_sub(self.monotonic_ns.saturating_sub(taken_at_ns) / 1_000)
    }
}

/// Takes a message in, and says what became of it.
pub fn take_in(table: &Table, report: &LoadReport, now: Now) -> LoadTaken {
    let by_name: HashMap<&str, (&Backend, &Endpoint)> =
        table.endpoints().map(|it| (it.1.name.as_str(), it)).collect();
    let mut taken = LoadTaken::default();
    for load in &report.endpoints {
        let Some(&(backend, endpoint)) = by_name.get(load.endpoint.as_str()) else {
            taken.unknown += 1;
            continue;
        };
        match endpoint.seen.report(load) {
            News::Fresh => {
                if let Some(probe) = load.probe {
                    endpoint.health.probe(now.us / 1_000, probe == Probe::Passed);
                }
                if count(endpoint, load, now, &mut taken) {
                    hear_adapters(backend, endpoint, load, now);
                }
            }
            News::Stale => taken.stale += 1,
            News::Outlived(generation) => {
                taken.outlived.push(Outlived { endpoint: load.endpoint.clone(), generation });
            }
        }
    }
    taken
}

/// Notes which adapters it has in use. What it says of them is true of its present life: a restart that it tells of was
/// just noticed, and came before.
fn hear_adapters(backend: &Backend, endpoint: &Endpoint, load: &EndpointLoad, now: Now) {
    let (Some(gpu), Some(reported)) = (&backend.gpu, &load.adapters) else { return };
    let at = backend.endpoints.iter().position(|it| std::ptr::eq(it, endpoint));
    if let (Some(adapters), Some(at)) = (gpu.adapters(), at) {
        let taken_at = Moment::from_us(now.own_us(load.taken_at_ns));
        adapters.heard(at, reported, taken_at.max(endpoint.cell.began()));
    }
}

/// Lets a report that is news count where endpoints are chosen; whether it does.
fn count(endpoint: &Endpoint, load: &EndpointLoad, now: Now, taken: &mut LoadTaken) -> bool {
    if !load.has_values() {
        taken.taken += 1; // a probe alone
        return false;
    }
    let said = Said {
        running: load.running,
        waiting: load.waiting,
        kv: load.kv.map(|kv| kv as f32),
        uncached_waiting: load.uncached_waiting.map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX)),
    };
    let report = Report {
        sequence: load.seq,
        generation: load.generation,
        taken_at: Moment::from_us(now.own_us(load.taken_at_ns)),
        said,
    };
    let intake = endpoint.cell.report(&report, Moment::from_us(now.us));
    match intake {
        Intake::Taken => taken.taken += 1,
        Intake::Restarted => (taken.taken, taken.restarted) = (taken.taken + 1, taken.restarted + 1),
        // Not by order, which was looked at: another report was being written. The next comes in a second.
        Intake::Stale | Intake::Outlived => taken.stale += 1,
    }
    matches!(intake, Intake::Taken | Intake::Restarted)
}

/// Takes in what the head of an answer said, at the moment it came.
pub fn beside(endpoint: &Endpoint, beside: Beside, now: Moment) {
    let Beside { waiting, kv } = beside;
    if waiting.is_some() || kv.is_some() {
        endpoint.cell.report_beside(&Said { waiting, kv, ..Said::default() }, now);
    }
}

#[cfg(test)]
mod tests {
    use ringway_contract::load::ReportedAdapters;
    use ringway_contract::snapshot::{Balance, Lora};

    use super::*;
    use crate::table::testing;

    fn load(seq: u64, generation: u64, running: u32) -> EndpointLoad {
        let (endpoint, taken_at_ns) = ("ai/ai:1".to_owned(), 900_000_000);
        EndpointLoad {
            endpoint,
            seq,
            generation,
            taken_at_ns,
            running: Some(running),
            ..EndpointLoad::default()
        }
    }

    #[test]
    fn each_entry_gets_its_verdict_and_what_counts_is_shown() {
        let table = testing::table(vec![testing::route("r", serde_json::json!({"path_prefix": "/"}), "ai")]);
        let now = Now { monotonic_ns: 1_000_000_000, us: 5_000_000 };
        let tell = |entries: Vec<EndpointLoad>| take_in(&table, &LoadReport { endpoints: entries }, now);
        let elsewhere = EndpointLoad { endpoint: "gone/x:1".into(), ..load(1, 1, 1) };
        let taken = tell(vec![load(3, 2, 4), elsewhere]);
        assert_eq!((taken.taken, taken.unknown, taken.restarted), (1, 1, 0));
        let (_, endpoint) = table.endpoints().next().expect("one");
        let shown = || endpoint.seen.reported(&endpoint.cell, Moment::from_us(now.us)).expect("reported");
        assert_eq!((shown().running, shown().kv, shown().generation), (Some(4), None, 2));
        assert!((shown().age_s - 0.1).abs() < 1e-6, "{:?}", shown());
        assert_eq!(tell(vec![load(3, 2, 9)]).stale, 1);
        let outlived = Outlived { endpoint: "ai/ai:1".to_owned(), generation: 2 };
        assert_eq!(tell(vec![load(4, 1, 9)]).outlived, [outlived]);
        let restarted = tell(vec![load(5, 3, 6)]);
        assert_eq!((restarted.taken, restarted.restarted), (1, 1));
        assert_eq!((shown().running, endpoint.cell.restarts()), (Some(6), 1));
    }

    #[test]
    fn reported_adapters_are_of_the_life_that_reported_them() {
        let mut ai = testing::backend("ai", "vllm", &["ai:1"]);
        ai.balance = Balance::Gpu;
        ai.lora = Some(Lora { adapters: vec!["*".to_owned()], slots: None });
        let route = testing::route("r", serde_json::json!({"path_prefix": "/"}), "ai");
        let table = testing::compiled(&testing::snapshot(vec![ai], vec![route]));
        let gpu = table.backends()[0].gpu.as_ref().expect("it has that balance");
        let tell = |seq: u64, generation: u64, named: &[&str], us: u64| {
            let named = named.iter().map(|&name| name.to_owned()).collect();
            let adapters = Some(ReportedAdapters { named, slots: Some(4) });
            let report =
                LoadReport { endpoints: vec![EndpointLoad { adapters, ..load(seq, generation, 1) }] };
            take_in(&table, &report, Now { monotonic_ns: 1_000_000_000 + us * 1_000, us });
            gpu.resident(0, Moment::from_us(us)).expect("it has adapters")
        };
        let first = tell(1, 1, &["a", "b"], 5_000_000);
        assert_eq!((first.resident.len(), first.slots), (2, 4));
        assert_eq!(tell(2, 1, &["c"], 6_000_000).resident.len(), 3, "what idles is not listed");
        assert_eq!(tell(3, 2, &["d"], 20_000_000).resident, ["d"], "its server began again");
        assert_eq!(tell(4, 1, &["e"], 21_000_000).resident, ["d"], "a life that is over");
    }

    #[test]
    fn what_a_head_says_is_added_to_what_was_reported() {
        let table = testing::table(vec![testing::route("r", serde_json::json!({"path_prefix": "/"}), "ai")]);
        let now = Now { monotonic_ns: 1_000_000_000, us: 5_000_000 };
        take_in(&table, &LoadReport { endpoints: vec![load(1, 1, 4)] }, now);
        let (_, endpoint) = table.endpoints().next().expect("one");
        beside(endpoint, Beside { waiting: Some(2), kv: None }, Moment::from_us(now.us));
        let shown = endpoint.seen.reported(&endpoint.cell, Moment::from_us(now.us)).expect("reported");
        assert_eq!((shown.running, shown.waiting, shown.kv), (Some(4), Some(2), None));
    }

    #[test]
    fn a_moment_of_the_shared_clock_is_told_on_our_own_and_never_lies_ahead() {
        let now = Now { monotonic_ns: 50_000_000_000, us: 2_000_000 };
        assert_eq!(now.own_us(49_500_000_000), 1_500_000);
        assert_eq!(now.own_us(60_000_000_000), 2_000_000);
        assert_eq!(now.own_us(0), 0);
    }
}
