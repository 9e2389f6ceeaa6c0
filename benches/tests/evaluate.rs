//! The essential bars of routing on the first rows of the traces, and that a run can be found again by its seed.
//!
//! Owns: what every commit has to hold. The whole traces are run by `evaluate`, which is optimised.
//! Must not: take long: these engines run without optimisation here.
//! Read next: `benches/src/evaluate/scenarios.rs`, where the bars of the whole traces are.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ringway_benches::evaluate::arrivals::Arrivals;
use ringway_benches::evaluate::bars::{Bar, Measure};
use ringway_benches::evaluate::drive;
use ringway_benches::evaluate::gateway::Left;
use ringway_benches::evaluate::judge::Figures;
use ringway_benches::evaluate::material::{Ask, Library, Source, TRACES, Workload};
use ringway_benches::evaluate::outcome::Fate;
use ringway_benches::evaluate::runner::Runner;
use ringway_benches::evaluate::scenarios;
use ringway_benches::evaluate::setup::Setup;
use ringway_contract::Millis;
use ringway_contract::snapshot::{Admission, Balance};
use ringway_dataplane::admission::queue::Why;
use ringway_gpusim::Preset;

const ROWS: usize = 1_000;
const H100: &[(Preset, usize)] = &[(Preset::H100, 8)];

/// The first rows of the traces; none, loudly, where there are none.
fn library(test: &str) -> Option<Library> {
    let folder = std::env::var_os(TRACES).map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED {test}: {TRACES} is not set");
    }
    folder.map(|folder| Library::new(Some(folder), 1, Some(ROWS)))
}

fn figures(workload: &Workload, setup: &Setup) -> Figures {
    Figures::of(&drive::run(setup, workload), workload, setup)
}

#[test]
fn the_score_beats_the_others_on_the_first_rows_as_it_does_in_the_specification() {
    let Some(mut library) = library("the order of the policies") else { return };
    let workload = Arrivals::Replay(Source::Conversation, 2.0).workload(&mut library).expect("the trace");
    let [gpu, least, two, turns] = [Balance::Gpu, Balance::LeastRequests, Balance::P2c, Balance::RoundRobin]
        .map(|balance| figures(&workload, &Setup::new(H100, balance, 1)));
    assert!(gpu.goodput >= 0.93 && gpu.reachable >= 0.98, "{gpu:?}");
    assert!(gpu.hit > least.hit, "{gpu:?} {least:?}");
    assert!(gpu.goodput > least.goodput + 0.02, "{gpu:?} {least:?}");
    assert!(least.goodput > two.goodput && two.goodput > turns.goodput, "{least:?} {two:?} {turns:?}");
}

#[test]
fn engines_load_at_most_half_as_many_adapters_where_the_score_looks_at_them() {
    let Some(mut library) = library("adapters") else { return };
    let workload = Arrivals::Adapters(12).workload(&mut library).expect("the trace");
    let loads = |blind: bool| {
        let setup = Setup { adapters: 12, blind_to_adapters: blind, ..Setup::new(H100, Balance::Gpu, 1) };
        drive::run(&setup, &workload).adapter_loads
    };
    let (seeing, blind) = (loads(false), loads(true));
    assert!(seeing >= 12 && 2 * seeing <= blind, "{seeing} and {blind}");
}

#[test]
fn the_score_holds_on_mixed_hardware() {
    let Some(mut library) = library("mixed hardware") else { return };
    let workload = Arrivals::Replay(Source::Conversation, 1.0).workload(&mut library).expect("the trace");
    let mixed = &[(Preset::H100, 4), (Preset::A100, 4)];
    let gpu = figures(&workload, &Setup::new(mixed, Balance::Gpu, 1));
    let turns = figures(&workload, &Setup::new(mixed, Balance::RoundRobin, 1));
    assert!(gpu.goodput >= 0.92 && gpu.reachable >= 0.97, "{gpu:?}");
    assert!(gpu.goodput > turns.goodput + 0.1, "{gpu:?} {turns:?}");
}

#[test]
fn without_admission_an_overloaded_fleet_serves_hardly_anybody_well_and_with_it_most() {
    let Some(mut library) = library("overload") else { return };
    let workload = Arrivals::Replay(Source::Conversation, 6.0).workload(&mut library).expect("the trace");
    let mut setup = Setup::new(H100, Balance::Gpu, 1);
    let off = figures(&workload, &setup);
    setup.admission = Some(Admission { wait_ms: [Millis::from_secs(1); 3], ..Admission::default() });
    let on = figures(&workload, &setup);
    assert!(on.goodput >= 0.68 && on.rejected > 0, "{on:?}");
    assert!(off.goodput < on.goodput - 0.3, "{off:?} {on:?}");
}

#[test]
fn the_same_seed_gives_the_same_figures_and_another_one_others() {
    let Some(mut library) = library("seeds") else { return };
    let case = scenarios::s1();
    let workload = case.arrivals.workload(&mut library).expect("the trace");
    let workload = Workload { asks: workload.asks[..300].to_vec(), ..workload };
    let run = |seed| figures(&workload, &Setup::new(H100, Balance::P2c, seed));
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn every_run_leaves_all_cells_at_zero() {
    let mut library = Library::new(None, 1, Some(600));
    let material = library.material(Source::SharedPrompts).expect("it needs no trace");
    let workload = Workload::replay(&material, 100.0, None).each(|ask| {
        ask.leaves = ask.row.is_multiple_of(3).then(|| Duration::from_millis(u64::from(ask.row) * 7 % 4_000));
    });
    let mut setup = Setup::new(&[(Preset::H100, 3)], Balance::Gpu, 1);
    setup.admission = Some(Admission::default());
    setup.faults = vec!["crash,replica=1,at=2s,for=1s".parse().expect("a fault")];
    let record = drive::run(&setup, &workload);
    let ended = |test: fn(&Fate) -> bool| record.outcomes.iter().filter(|it| test(&it.fate)).count();
    assert_eq!(ended(|fate| matches!(fate, Fate::Open)), 0);
    assert!(ended(|fate| matches!(fate, Fate::Left)) > 50, "{record:?}");
    assert!(ended(|fate| matches!(fate, Fate::Broken { .. })) > 0);
    assert_eq!(record.left[0], Left::default());
    assert_eq!(record.stranded, 0);
}

/// The fast path past the queue did not look at the objective: the longest prompts went in while it was open.
#[test]
fn a_prompt_that_cannot_meet_its_objective_is_refused_on_an_idle_backend_too() {
    let mut library = Library::new(None, 1, Some(1));
    let material = library.material(Source::Even).expect("it needs no trace"); // 2,000 tokens: 56 ms
    let workload = Workload { asks: vec![Ask::new(Duration::ZERO, 0)], material: Rc::clone(&material) };
    let fate = |slo_ms| {
        let mut setup = Setup::new(&[(Preset::H100, 2)], Balance::Gpu, 1);
        setup.admission = Some(Admission { ttft_slo_ms: Some(Millis::new(slo_ms)), ..Admission::default() });
        drive::run(&setup, &workload).outcomes[0].fate
    };
    assert_eq!(fate(100), Fate::Served);
    assert!(
        matches!(fate(50), Fate::Refused(refused) if refused.why == Some(Why::TooLong)),
        "{:?}",
        fate(50)
    );
}

#[test]
fn a_bar_that_is_missed_is_told_and_one_that_is_not_for_a_policy_is_not_held_against_it() {
    let mut runner = Runner::new(Library::new(None, 1, Some(200)));
    let all = scenarios::all();
    let shared = all.iter().find(|case| case.scenario == "S3b").expect("it is there");
    let (row, _) = runner.run(shared, Balance::Gpu).expect("it needs no trace");
    assert_eq!(row.met, Some(true), "{row:?}");
    let mut harder = shared.clone();
    harder.bars = |_| vec![Bar::least(Measure::Goodput, 1.1)];
    assert_eq!(runner.run(&harder, Balance::Gpu).expect("it needs no trace").0.met, Some(false));
    assert_eq!(runner.run(shared, Balance::RoundRobin).expect("it needs no trace").0.met, None);
}
