//! Claims about the cost and the choice.

use proptest::prelude::*;
use ringway_contract::snapshot::Lora;

use super::*;
use crate::balance::adapters::{Adapter, Adapters};
use crate::bounds::REPORT_AGE_MS_MAX;
use crate::cells::{Lease, Load, Report, Said};

const H100: Hardware = Hardware { prefill_tokens_per_s: Some(35_711.0), kv_tokens: Some(426_000.0) };
const A100: Hardware = Hardware { prefill_tokens_per_s: Some(12_466.0), kv_tokens: Some(426_000.0) };
const NOW: Moment = Moment::from_ms(10_000);

fn pool(hardware: &[Hardware]) -> Pool {
    pool_of(1, hardware)
}

fn pool_of(gateways: u32, hardware: &[Hardware]) -> Pool {
    let member = |hardware: &Hardware| (Arc::new(LoadCell::default()), *hardware);
    Pool::new(Weights::default(), gateways, hardware.iter().map(member))
}

fn asked(prompt: u64) -> Asked<'static> {
    Asked { prompt, ..Asked::default() }
}

fn none() -> Matches {
    Matches::default()
}

fn chosen(pool: &Pool, prompt: u64, matches: &Matches, rotation: u32) -> usize {
    pool.choose(&asked(prompt), matches, NOW, rotation, |_| true).expect("all are open").at
}

fn report(pool: &Pool, at: usize, said: Said) {
    let report = Report { sequence: 1, generation: 1, taken_at: NOW, said };
    pool.cell(at).report(&report, NOW);
}

#[track_caller]
fn close(a: f32, b: f32) {
    assert!((a - b).abs() <= 1e-3 * b.abs().max(1e-3), "{a} is not {b}");
}

#[test]
fn the_cost_is_the_sum_that_the_formula_names() {
    let pool = pool(&[H100]);
    let _first = Lease::dispatch(pool.cell(0), Load { prompt: 100_000, miss: 8_000 });
    let mut second = Lease::dispatch(pool.cell(0), Load { prompt: 50_000, miss: 1_000 });
    second.first_token();
    second.tokens(32);
    let terms = pool.terms(0, &asked(2_000), &Matches::of(10, &[4]), NOW);
    let k = 150_032.0 / 426_000.0;
    close(terms.queue_s, 8_000.0 / 35_711.0);
    close(terms.miss_s, 2.0 * 1_200.0 / 35_711.0);
    close(terms.in_flight_s, 0.04);
    close(terms.kv_s, 0.15 * k / (1.0 - k));
    close(terms.cost(), terms.queue_s + terms.miss_s + terms.in_flight_s + terms.kv_s);
    let choice = pool.choose(&asked(2_000), &Matches::of(10, &[4]), NOW, 0, |_| true).expect("it is open");
    assert_eq!((choice.at, choice.miss), (0, 1_200));
    close(choice.cost, terms.cost());
}

#[test]
fn the_table_of_odds_is_what_it_stands_for() {
    for step in 0..=980 {
        let k = step as f32 / 1_000.0;
        let exact = k / (1.0 - k);
        assert!((odds(k) - exact).abs() <= 0.01 * exact + 1e-4, "{k}: {} {exact}", odds(k));
    }
    close(odds(1.5), KV_SHARE_MAX / (1.0 - KV_SHARE_MAX));
}

#[test]
fn a_cached_prefix_is_worth_a_wait_and_not_any_wait() {
    let pool = pool(&[H100, H100]);
    let matches = Matches::of(100, &[100, 0]);
    let _busy = Lease::dispatch(pool.cell(0), Load { prompt: 5_000, miss: 5_000 });
    assert_eq!(chosen(&pool, 10_000, &matches, 1), 0);
    let _busier = Lease::dispatch(pool.cell(0), Load { prompt: 30_000, miss: 30_000 });
    assert_eq!(chosen(&pool, 10_000, &matches, 1), 1);
}

#[test]
fn slower_hardware_gets_less() {
    let pool = pool(&[H100, A100]);
    let mut leases = Vec::new();
    let mut counts = [0_u32; 2];
    for rotation in 0..400 {
        let choice = pool.choose(&asked(2_000), &none(), NOW, rotation, |_| true).expect("both are open");
        leases.push(Lease::dispatch(pool.cell(choice.at), Load { prompt: 2_000, miss: choice.miss }));
        counts[choice.at] += 1;
    }
    assert!(counts[1] > 50 && counts[0] > 3 * counts[1] / 2, "{counts:?}");
}

#[test]
fn equal_costs_rotate() {
    let pool = pool(&[H100; 5]);
    let order: Vec<usize> = (0..10).map(|rotation| chosen(&pool, 100, &none(), rotation)).collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
}

#[test]
fn a_report_raises_and_never_lowers() {
    let pool = pool(&[H100; 2]);
    let _own: Vec<Lease> =
        (0..4).map(|_| Lease::dispatch(pool.cell(0), Load { prompt: 9_000, miss: 9_000 })).collect();
    let before = pool.terms(0, &asked(100), &none(), NOW);
    report(&pool, 0, Said { running: Some(0), waiting: Some(0), kv: Some(0.0), uncached_waiting: Some(0) });
    let after = pool.terms(0, &asked(100), &none(), NOW);
    assert!(after.pressure.fresh && after.cost() >= before.cost() - 1e-6);
    report(&pool, 1, Said { running: Some(9), waiting: Some(3), kv: Some(0.5), uncached_waiting: Some(70) });
    let others = pool.terms(1, &asked(100), &none(), NOW).pressure;
    assert_eq!((others.in_flight, others.uncached), (12.0, 70.0));
    close(others.kv, 0.5);
    assert_eq!(pool.pressure(1, Reports::LeftOut, NOW).in_flight, 0.0);
    assert_eq!(
        pool.pressure(1, Reports::Believed, Moment::from_ms(10_001 + REPORT_AGE_MS_MAX)).in_flight,
        0.0,
        "it is stale"
    );
}

#[test]
fn beside_a_report_shared_prompts_count_once() {
    let pool = pool(&[H100]);
    let _shared: Vec<Lease> =
        (0..10).map(|_| Lease::dispatch(pool.cell(0), Load { prompt: 40_000, miss: 100 })).collect();
    close(pool.pressure(0, Reports::Believed, NOW).kv, 400_000.0 / 426_000.0);
    report(&pool, 0, Said { kv: Some(0.1), ..Said::default() });
    close(pool.pressure(0, Reports::Believed, NOW).kv, 0.1);
}

#[test]
fn what_we_sent_since_a_report_comes_on_top_of_it() {
    let pool = pool(&[H100]);
    let first = Lease::take(pool.cell(0));
    report(&pool, 0, Said { running: Some(10), ..Said::default() });
    let _second = Lease::take(pool.cell(0));
    assert_eq!(pool.pressure(0, Reports::Believed, NOW).in_flight, 11.0);
    drop(first);
    assert_eq!(pool.pressure(0, Reports::Believed, NOW).in_flight, 10.0);
}

/// Without it a full cache went on being filled until the next report: at six times the load 3.6 points of goodput.
#[test]
fn what_we_sent_since_a_report_is_in_the_cache_too() {
    let pool = pool(&[H100]);
    let first = Lease::dispatch(pool.cell(0), Load { prompt: 42_600, miss: 42_600 });
    report(&pool, 0, Said { kv: Some(0.5), ..Said::default() });
    let kv = || pool.pressure(0, Reports::Believed, NOW).kv;
    close(kv(), 0.5);
    let second = Lease::dispatch(pool.cell(0), Load { prompt: 85_200, miss: 42_600 });
    close(kv(), 0.6);
    drop(first);
    close(kv(), 0.5);
    drop(second);
    close(kv(), 0.4);
    let _many: Vec<Lease> =
        (0..9).map(|_| Lease::dispatch(pool.cell(0), Load { prompt: 42_600, miss: 42_600 })).collect();
    close(kv(), 0.98);
}

#[test]
fn two_gateways_count_what_they_see_twice() {
    let pool = pool_of(2, &[H100]);
    let _own = Lease::dispatch(pool.cell(0), Load { prompt: 42_600, miss: 100 });
    let pressure = pool.pressure(0, Reports::Believed, NOW);
    assert_eq!((pressure.in_flight, pressure.uncached), (2.0, 200.0));
    close(pressure.kv, 0.2);
}

#[test]
fn unknown_hardware_costs_what_a_middling_one_does() {
    let pool = pool(&[Hardware::default()]);
    let _own = Lease::dispatch(pool.cell(0), Load { prompt: 5_000, miss: 5_000 });
    let terms = pool.terms(0, &asked(1_000), &none(), NOW);
    close(terms.queue_s, 0.5);
    assert_eq!(terms.pressure.kv, 0.0, "a cache of unknown size is not full");
}

/// Of so many endpoints with one slot each.
fn adapters(members: usize) -> Adapters {
    let lora = Lora { adapters: vec!["*".to_owned()], slots: Some(1) };
    Adapters::new(&lora, (0..members).map(|_| Arc::default()))
}

#[test]
fn in_a_large_pool_the_endpoint_that_has_the_adapter_is_looked_at() {
    let pool = pool(&[H100; SCANNED_MAX + 36]);
    let (among, adapter) = (adapters(pool.len()), Adapter::named(b"a"));
    among.sent(77, adapter, b"a", NOW);
    let asked = Asked { prompt: 100, adapter: Some(Sought { among: &among, adapter }), session: None };
    for rotation in 0..200 {
        assert_eq!(pool.choose(&asked, &none(), NOW, rotation, |_| true).map(|it| it.at), Some(77));
    }
    let elsewhere = pool.choose(&asked, &none(), NOW, 0, |at| at != 77);
    assert!(elsewhere.is_some_and(|it| it.at != 77));
}

#[test]
fn adapter_session_suspicion_and_slow_start_have_their_terms() {
    let pool = pool(&[H100; 3]);
    let among = adapters(3);
    let adapter = Adapter::named(b"a");
    among.sent(0, Adapter::named(b"b"), b"b", NOW);
    among.sent(2, adapter, b"a", NOW);
    let by_adapter = Asked { prompt: 100, adapter: Some(Sought { among: &among, adapter }), session: None };
    let costs = [0, 1, 2].map(|at| pool.terms(at, &by_adapter, &none(), NOW).adapter_s);
    assert_eq!(costs, [0.3, 0.05, 0.0]);
    assert_eq!(pool.choose(&by_adapter, &none(), NOW, 0, |_| true).map(|it| it.at), Some(2));
    assert_eq!(pool.choose(&by_adapter, &none(), NOW, 0, |at| at != 2).map(|it| it.at), Some(1));
    let by_session = Asked { prompt: 100, adapter: None, session: Some(1) };
    assert_eq!(pool.choose(&by_session, &none(), NOW, 0, |_| true).map(|it| it.at), Some(1));
    pool.cell(1).set_suspect(true);
    assert_eq!(pool.choose(&by_session, &none(), NOW, 0, |_| true).map(|it| it.at), Some(0));
    close(pool.terms(1, &by_session, &none(), NOW).suspect_s, 1.0);
    pool.cell(0).begin_slow_start(NOW);
    close(pool.terms(0, &by_session, &none(), NOW).slowness, 5.0);
    assert_eq!(pool.choose(&by_session, &none(), NOW, 0, |_| true).map(|it| it.at), Some(2));
}

#[test]
fn a_large_pool_finds_its_prefix_and_the_preamble_tells_nothing() {
    let pool = pool(&[H100; 500]);
    let mut lengths = [4_u16; 500];
    lengths[321] = 90;
    let index = super::super::prefix::Index::new(&[200; 500]);
    let chain: Vec<u64> = (1..=100_u64).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    for (at, length) in lengths.iter().enumerate() {
        index.insert(at, &chain[..usize::from(*length)]);
    }
    let mut matches = none();
    index.lookup(&chain, &mut matches);
    assert!((0..200).all(|rotation| chosen(&pool, 20_000, &matches, rotation) == 321));
    index.lookup(&chain[..4], &mut matches);
    let mut seen = std::collections::HashSet::new();
    seen.extend((0..3_000).map(|rotation| chosen(&pool, 800, &matches, rotation)));
    assert!(seen.len() > 450, "everybody is drawn: {}", seen.len());
}

#[test]
fn in_a_large_pool_the_only_open_one_is_found() {
    let pool = pool(&[H100; 500]);
    let found =
        |open: usize| pool.choose(&asked(1), &none(), NOW, 9, |at| at == open).map(|choice| choice.at);
    assert!([0, 77, 499].into_iter().all(|open| found(open) == Some(open)));
    assert_eq!(pool.choose(&asked(1), &none(), NOW, 9, |_| false), None);
}

#[test]
fn of_many_matches_the_longest_are_candidates() {
    let mut candidates = Candidates::default();
    for (at, length) in [5, 9, 2, 7, 9, 1, 8].into_iter().enumerate() {
        candidates.offer(at, length, &|at| at != 1);
    }
    assert_eq!(candidates.places().collect::<Vec<_>>(), [4, 6, 3, 0]);
    candidates.draw(1_000, 5, &|_| true);
    let all: std::collections::HashSet<usize> = candidates.places().collect();
    assert_eq!(all.len(), 12, "each once");
}

proptest! {
    /// The choice is the least of the explained costs, whatever the load.
    #[test]
    fn the_choice_is_what_the_trace_says(
        loads in prop::collection::vec((0..6_usize, 0..40_000_u64, any::<bool>()), 1..30),
        lengths in prop::collection::vec(0..50_u16, 30),
        prompt in 1..100_000_u64,
        rotation: u32,
    ) {
        let hardware: Vec<Hardware> = loads.iter().map(|it| if it.2 { H100 } else { A100 }).collect();
        let pool = pool(&hardware);
        let mut leases = Vec::new();
        for (at, (count, miss, _)) in loads.iter().enumerate() {
            leases.extend((0..*count).map(|_| Lease::dispatch(pool.cell(at), Load { prompt: 2 * miss, miss: *miss })));
        }
        let matches = Matches::of(60, &lengths);
        let choice = pool.choose(&asked(prompt), &matches, NOW, rotation, |_| true).expect("all are open");
        let costs = (0..pool.len()).map(|at| pool.terms(at, &asked(prompt), &matches, NOW).cost());
        let least = costs.fold(f32::INFINITY, f32::min);
        prop_assert_eq!(choice.cost, least);
        prop_assert_eq!(pool.terms(choice.at, &asked(prompt), &matches, NOW).cost(), least);
    }
}
