//! Claims about cells, lives and leases.
//!
//! Owns: what one thread can show, and what many threads show by trying. Every order in which few threads may meet is
//! tried in `tests/interleavings.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::life::Life;
use super::*;
use crate::bounds::{LIVES_MAX, REPORT_AGE_MS_MAX, TOKENS_BATCH, WARM_UP_S};
use crate::clock::Moment;

const EMPTY: Counts = Counts { in_flight: 0, uncached: 0, prompt: 0, missed: 0, generated: 0 };
const LOAD: Load = Load { prompt: 1_000, miss: 600 };

fn cell() -> Arc<LoadCell> {
    Arc::new(LoadCell::default())
}

fn said(running: u32, waiting: u32, kv: f32) -> Said {
    Said { running: Some(running), waiting: Some(waiting), kv: Some(kv), uncached_waiting: None }
}

fn report(sequence: u64, generation: u64, taken_ms: u64) -> Report {
    Report { sequence, generation, taken_at: Moment::from_ms(taken_ms), said: said(3, 2, 0.5) }
}

#[test]
fn a_life_is_two_lines_and_shares_them_with_nobody() {
    assert_eq!((size_of::<Life>(), align_of::<Life>()), (128, 128));
    assert_eq!((size_of::<LoadCell>(), align_of::<LoadCell>()), (128 * (1 + LIVES_MAX), 128));
}

#[test]
fn a_lease_goes_from_dispatched_to_first_token_to_nothing() {
    let cell = cell();
    let mut lease = Lease::dispatch(&cell, LOAD);
    let dispatched = Counts { in_flight: 1, uncached: 600, prompt: 1_000, missed: 600, generated: 0 };
    assert_eq!((cell.life().counts(), lease.is_dispatched()), (dispatched, true));
    lease.first_token();
    lease.first_token();
    let decoding = Counts { uncached: 0, ..dispatched };
    assert_eq!((cell.life().counts(), lease.is_dispatched()), (decoding, false));
    lease.tokens(TOKENS_BATCH - 1);
    assert_eq!(cell.life().counts().generated, 0, "a batch is not full");
    lease.tokens(3);
    assert_eq!(cell.life().counts().generated, u64::from(TOKENS_BATCH) + 2);
    drop(lease);
    assert_eq!((cell.life().counts(), cell.attempts_total(), cell.underflows_total()), (EMPTY, 1, 0));
}

#[test]
fn a_lease_that_never_saw_a_token_gives_its_prompt_back() {
    let cell = cell();
    drop(Lease::dispatch(&cell, LOAD));
    assert_eq!(cell.counts_of_all_lives(), EMPTY);
}

#[test]
fn a_share_that_was_split_off_is_released_once_whoever_ends_first() {
    let cell = cell();
    let mut lease = Lease::dispatch(&cell, LOAD);
    let prefill = lease.split_prefill().expect("it waits");
    assert!(lease.split_prefill().is_none());
    lease.first_token();
    assert_eq!(cell.life().counts().uncached, 600, "it is not the lease's any more");
    drop(lease);
    assert_eq!((cell.life().counts().uncached, prefill.miss()), (600, 600));
    drop(prefill);
    assert_eq!(cell.counts_of_all_lives(), EMPTY);
}

#[test]
fn a_panicking_attempt_gives_its_lease_back() {
    let cell = cell();
    let inside = Arc::clone(&cell);
    let panicked = std::panic::catch_unwind(move || {
        let _lease = Lease::dispatch(&inside, LOAD);
        panic!("an attempt that panics");
    });
    assert!(panicked.is_err());
    assert_eq!(cell.counts_of_all_lives(), EMPTY);
}

#[test]
fn a_fresh_life_begins_at_zero_and_late_releases_go_to_the_old_one() {
    let cell = cell();
    let mut old = Lease::dispatch(&cell, LOAD);
    old.tokens(40);
    cell.report(&report(1, 1, 0), Moment::from_ms(0));
    cell.begin_life(Moment::from_ms(10));
    assert_eq!((cell.life().counts(), cell.restarts()), (EMPTY, 1));
    assert_eq!(cell.fresh(Moment::from_ms(10)), None, "what the old server said is not the new one's");
    let new = Lease::dispatch(&cell, Load { prompt: 5, miss: 5 });
    drop(old);
    assert_eq!(cell.in_flight(), 1, "the new one's");
    drop(new);
    assert_eq!((cell.counts_of_all_lives(), cell.underflows_total()), (EMPTY, 0));
}

#[test]
fn restarts_beyond_what_is_kept_lose_no_release() {
    let cell = cell();
    let leases: Vec<Lease> = (0..3 * LIVES_MAX as u64)
        .map(|at| {
            cell.begin_life(Moment::from_ms(at));
            Lease::dispatch(&cell, LOAD)
        })
        .collect();
    assert_eq!(cell.counts_of_all_lives().in_flight, 3 * LIVES_MAX as u32);
    drop(leases);
    assert_eq!((cell.counts_of_all_lives(), cell.underflows_total()), (EMPTY, 0));
}

#[test]
fn a_report_counts_until_it_is_a_second_old() {
    let cell = cell();
    let _own = Lease::take(&cell);
    assert_eq!(cell.fresh(Moment::from_ms(0)), None);
    assert_eq!(cell.report(&report(1, 1, 100), Moment::from_ms(120)), Intake::Taken);
    let fresh = cell.fresh(Moment::from_ms(100 + REPORT_AGE_MS_MAX)).expect("it is fresh");
    assert_eq!((fresh.own, fresh.taken_at, fresh.said.running), (1, Moment::from_ms(100), Some(3)));
    assert!((fresh.said.kv.unwrap_or(0.0) - 0.5).abs() < 1e-5);
    assert_eq!(cell.fresh(Moment::from_ms(101 + REPORT_AGE_MS_MAX)), None);
}

#[test]
fn old_sequences_and_outlived_generations_are_dropped() {
    let cell = cell();
    let now = Moment::from_ms(10_000);
    assert_eq!(cell.report(&report(5, 7, 1), now), Intake::Taken);
    assert_eq!(cell.report(&report(5, 7, 1), now), Intake::Stale);
    assert_eq!(cell.report(&report(4, 7, 1), now), Intake::Stale);
    assert_eq!(cell.report(&report(6, 6, 1), now), Intake::Outlived);
    assert_eq!(cell.report(&report(6, 8, 1), now), Intake::Restarted);
    assert_eq!((cell.restarts(), cell.report(&report(7, 7, 1), now)), (1, Intake::Outlived));
}

#[test]
fn a_restart_that_was_noticed_here_is_not_told_twice() {
    let cell = cell();
    cell.report(&report(1, 1, 0), Moment::from_ms(0));
    cell.begin_life(Moment::from_ms(3_000));
    let kept = Lease::dispatch(&cell, LOAD);
    assert_eq!(cell.report(&report(2, 2, 3_500), Moment::from_ms(3_600)), Intake::Taken);
    assert_eq!((cell.restarts(), cell.in_flight()), (1, 1));
    drop(kept);
}

#[test]
fn a_restart_that_a_report_told_is_not_told_again_by_a_connection() {
    let cell = cell();
    cell.report(&report(1, 1, 0), Moment::from_ms(0));
    cell.note_gone();
    assert_eq!(cell.report(&report(2, 2, 3_500), Moment::from_ms(3_600)), Intake::Restarted);
    cell.note_back(Moment::from_ms(3_700));
    assert_eq!(cell.restarts(), 1);
    cell.note_gone();
    cell.note_back(Moment::from_ms(60_000));
    assert_eq!(cell.restarts(), 2, "another one");
}

#[test]
fn a_report_from_a_clock_ahead_does_not_stay_fresh() {
    let cell = cell();
    cell.report(&report(1, 1, 900_000), Moment::from_ms(1_000));
    assert!(cell.fresh(Moment::from_ms(1_500)).is_some());
    assert_eq!(cell.fresh(Moment::from_ms(2_500)), None);
}

#[test]
fn what_a_head_says_keeps_what_it_does_not_say() {
    let cell = cell();
    cell.report(&report(9, 1, 0), Moment::from_ms(0));
    let head = Said { waiting: Some(8), kv: Some(2.0), ..Said::default() };
    cell.report_beside(&head, Moment::from_ms(900));
    let fresh = cell.fresh(Moment::from_ms(1_500)).expect("as fresh as the head");
    assert_eq!(fresh.said, said(3, 8, 1.0));
    assert_eq!(cell.report(&report(10, 1, 1_600), Moment::from_ms(1_600)), Intake::Taken);
}

#[test]
fn a_value_that_is_absent_is_not_zero() {
    let cell = cell();
    let silent = Report { said: Said::default(), ..report(1, 1, 0) };
    cell.report(&silent, Moment::from_ms(0));
    assert_eq!(cell.fresh(Moment::from_ms(0)).map(|fresh| fresh.said), Some(Said::default()));
}

#[test]
fn the_gap_between_tokens_is_a_moving_average() {
    let cell = cell();
    let mut lease = Lease::take(&cell);
    assert_eq!(cell.life().gap_us(), None);
    for at in 0..400 {
        lease.see_gap(Moment::from_us(10_000 * at));
    }
    let steady = cell.life().gap_us().expect("many gaps");
    assert!(steady.abs_diff(10_000) < 200, "{steady}");
    lease.see_gap(Moment::from_us(10_000 * 399 + 110_000));
    let moved = cell.life().gap_us().expect("many gaps");
    assert!((moved - steady).abs_diff(5_000) < 50, "one gap has a twentieth: {steady} {moved}");
}

#[test]
fn a_step_weighs_the_same_in_the_gap_however_many_streams_it_serves() {
    let cell = cell();
    let mut streams: Vec<Lease> = (0..50).map(|_| Lease::take(&cell)).collect();
    let mut step = |at_us| streams.iter_mut().for_each(|lease| lease.see_gap(Moment::from_us(at_us)));
    for at in 0..200 {
        step(20_000 * at);
    }
    let steady = cell.life().gap_us().expect("many gaps");
    step(20_000 * 199 + 120_000); // one long step: a prompt was computed beside
    let moved = cell.life().gap_us().expect("many gaps");
    assert!((moved - steady).abs_diff(5_000) < 300, "the step has a twentieth: {steady} {moved}");
}

#[test]
fn a_slow_start_takes_its_time() {
    let cell = cell();
    assert!((cell.warmth(Moment::from_ms(5)) - 1.0).abs() < 1e-6, "none began");
    cell.begin_slow_start(Moment::from_ms(1_000));
    let at = |s: f32| cell.warmth(Moment::from_ms(1_000 + (s * 1e3) as u64));
    assert!((at(WARM_UP_S / 2.0) - 0.5).abs() < 1e-3 && (at(2.0 * WARM_UP_S) - 1.0).abs() < 1e-6);
}

/// Threads take, use and give back leases in any order, while lives begin and reports come.
#[test]
fn many_threads_and_restarts_end_at_zero() {
    let cell = cell();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let restarts = scope.spawn(|| {
            let mut at = 0;
            while !stop.load(Relaxed) {
                at += 1;
                cell.begin_life(Moment::from_ms(at));
                cell.report(&report(at, 1, at), Moment::from_ms(at));
                std::thread::yield_now();
            }
        });
        let takers: Vec<_> = (0..4)
            .map(|seed| {
                let cell = &cell;
                scope.spawn(move || take_and_give_back(cell, seed, 5_000))
            })
            .collect();
        for taker in takers {
            taker.join().expect("no assertion of its own");
        }
        stop.store(true, Relaxed);
        restarts.join().expect("no assertion of its own");
    });
    assert_eq!((cell.counts_of_all_lives(), cell.underflows_total()), (EMPTY, 0));
    assert_eq!(cell.attempts_total(), 4 * 5_000);
}

fn take_and_give_back(cell: &Arc<LoadCell>, seed: u64, attempts: usize) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut held = Vec::new();
    for _ in 0..attempts {
        held.push(Lease::dispatch(cell, Load { prompt: rng.u64(1..9_999), miss: rng.u64(1..999) }));
        while !held.is_empty() && rng.bool() {
            let at = rng.usize(..held.len());
            held[at].first_token();
            held[at].tokens(rng.u32(..40));
            if rng.bool() {
                drop(held.swap_remove(at));
            }
        }
    }
}

/// The writer keeps one rule between the values of a report; a reader that mixes two reports breaks it.
#[test]
fn readers_never_mix_two_reports() {
    let cell = cell();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for at in 1..50_000_u64 {
                let value = at as u32;
                let said = Said { uncached_waiting: Some(!value), ..said(value, value * 3, 0.0) };
                cell.report(
                    &Report { sequence: at, generation: 1, taken_at: Moment::from_us(at), said },
                    Moment::from_us(at),
                );
            }
            stop.store(true, Relaxed);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    let Some(Fresh { said, taken_at, .. }) = cell.life().last() else { continue };
                    let running = said.running.expect("each report has it");
                    assert_eq!(said.waiting, Some(running * 3));
                    assert_eq!(said.uncached_waiting, Some(!running));
                    assert_eq!(taken_at.us(), u64::from(running));
                }
            });
        }
    });
}
