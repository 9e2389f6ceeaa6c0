//! Claims about health: the table, what moves it, and that nothing is lost between threads.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use proptest::prelude::*;

use super::*;
use crate::bounds::HALF_OPEN_MAX;
use crate::cells::LoadCell;
use crate::clock::Moment;

const ON: [On; 10] = [
    On::Warmed,
    On::Doubt,
    On::Sound,
    On::Trip,
    On::Pause,
    On::Closed,
    On::Readmit,
    On::Restart,
    On::Drain,
    On::Undrain,
];

#[test]
fn the_table_of_states_is_this_one() {
    let mut table = String::new();
    for state in State::ALL {
        let cells: Vec<_> = ON.iter().map(|on| state.step(*on).map_or("-", State::name)).collect();
        writeln!(table, "{}: {}", state.name(), cells.join(" ")).expect("a string takes everything");
    }
    // warmed doubt sound trip pause closed readmit restart drain undrain
    assert_eq!(
        table,
        "ok: - suspect - open - - - warm drain -\n\
         warm: ok suspect - open - - - - drain -\n\
         suspect: - - ok open - - - warm drain -\n\
         open: - - - - half_open - suspect warm drain -\n\
         half_open: - - - open - warm - warm drain -\n\
         drain: - - - - - - - - - warm\n"
    );
}

#[test]
fn a_state_survives_its_number() {
    for state in State::ALL {
        assert_eq!(State::of(state as u8), state);
    }
}

fn bad(health: &mut Health, now_ms: u64, times: u32) {
    (0..times).for_each(|_| health.passive(now_ms, Passive::Bad));
}

#[test]
fn three_errors_in_a_row_raise_suspicion_and_five_open_the_circuit() {
    let mut health = Health::default();
    bad(&mut health, 0, 2);
    health.passive(0, Passive::Good);
    bad(&mut health, 0, 2);
    assert_eq!(health.state(), State::Ok, "not in a row");
    bad(&mut health, 0, 1);
    assert_eq!(health.state(), State::Suspect);
    bad(&mut health, 0, 2);
    assert_eq!(health.state(), State::Open);
}

#[test]
fn answers_that_break_off_are_a_row_although_each_of_them_began_well() {
    let mut health = Health::default();
    let stream = |health: &mut Health, end| {
        health.passive(0, Passive::Good);
        health.passive(0, end);
    };
    (0..2).for_each(|_| stream(&mut health, Passive::Broken));
    stream(&mut health, Passive::Whole);
    (0..2).for_each(|_| stream(&mut health, Passive::Broken));
    assert_eq!(health.state(), State::Ok, "not in a row");
    stream(&mut health, Passive::Broken);
    assert_eq!(health.state(), State::Suspect);
    (0..2).for_each(|_| stream(&mut health, Passive::Broken));
    assert_eq!(health.state(), State::Open);
}

#[test]
fn half_of_twenty_answers_broken_in_ten_seconds_open_the_circuit() {
    let after = |answers: u64| {
        let mut health = Health::default();
        for at in 0..answers {
            health.passive(at * 100, Passive::Good);
            health.passive(at * 100, if at % 2 == 0 { Passive::Broken } else { Passive::Whole });
        }
        health.state()
    };
    assert_eq!(after(19), State::Ok);
    assert_eq!(after(21), State::Open);
}

#[test]
fn half_of_twenty_requests_in_ten_seconds_open_the_circuit() {
    let alternate = |requests: u64, every_ms: u64| {
        let mut health = Health::default();
        for at in 0..requests {
            health.passive(at * every_ms, if at % 2 == 0 { Passive::Bad } else { Passive::Good });
        }
        health.passive(requests * every_ms, Passive::Bad);
        health.state()
    };
    assert_eq!(alternate(18, 100), State::Ok, "nineteen");
    assert_eq!(alternate(20, 100), State::Open);
    assert_eq!(alternate(40, 600), State::Ok, "never twenty in ten seconds");
}

#[test]
fn a_suspect_is_well_after_five_seconds_without_an_error() {
    let mut health = Health::default();
    bad(&mut health, 1_000, 3);
    health.tick(5_999);
    assert_eq!(health.state(), State::Suspect);
    health.tick(6_000);
    assert_eq!(health.state(), State::Ok);
}

#[test]
fn one_failed_probe_raises_suspicion_and_only_a_good_one_ends_it() {
    let mut health = Health::default();
    health.probe(0, false);
    assert_eq!(health.state(), State::Suspect);
    health.tick(60_000);
    assert_eq!(health.state(), State::Suspect);
    health.probe(60_000, true);
    health.tick(60_001);
    assert_eq!(health.state(), State::Ok);
}

#[test]
fn three_failed_probes_open_the_circuit_for_as_long_as_they_fail() {
    let mut health = Health::default();
    for at in [0, 5_000, 10_000] {
        health.probe(at, false);
    }
    assert_eq!(health.state(), State::Open);
    assert_eq!(health.open_by_requests_since(), None, "no reason to panic");
    health.tick(60_000);
    assert_eq!(health.state(), State::Open);
    health.probe(60_000, true);
    health.tick(60_001);
    assert_eq!(health.state(), State::HalfOpen);
}

#[test]
fn a_circuit_pauses_twice_as_long_each_time_up_to_eighty_seconds() {
    let mut health = Health::default();
    bad(&mut health, 0, 5);
    let mut now_ms = 0;
    for pause_ms in [5_000, 10_000, 20_000, 40_000, 80_000, 80_000] {
        health.tick(now_ms + pause_ms - 1);
        assert_eq!(health.state(), State::Open, "{pause_ms}");
        now_ms += pause_ms;
        health.tick(now_ms);
        assert_eq!(health.state(), State::HalfOpen, "{pause_ms}");
        bad(&mut health, now_ms, 1);
        assert_eq!(health.state(), State::Open, "one error opens it again");
    }
}

#[test]
fn three_successes_close_it_and_it_warms_up_for_thirty_seconds() {
    let mut health = Health::default();
    bad(&mut health, 0, 5);
    health.tick(5_000);
    for _ in 0..3 {
        assert_eq!(health.state(), State::HalfOpen);
        health.passive(5_000, Passive::Good);
    }
    assert_eq!(health.state(), State::Warm);
    health.tick(34_999);
    assert_eq!(health.state(), State::Warm);
    health.tick(35_000);
    assert_eq!(health.state(), State::Ok);
    bad(&mut health, 36_000, 5);
    health.tick(41_000);
    assert_eq!(health.state(), State::HalfOpen, "it pauses as if for the first time");
}

#[test]
fn the_load_cell_is_told_what_a_state_costs() {
    let load = Arc::new(LoadCell::default());
    let cell = HealthCell::new(Arc::clone(&load));
    (0..3).for_each(|_| assert!(!cell.passive(0, Passive::Bad)));
    assert!(load.is_suspect());
    assert!(!cell.passive(0, Passive::Bad) && cell.passive(0, Passive::Bad), "the fifth opens it");
    assert!(!load.is_suspect());
    cell.tick(5_000);
    (0..3).for_each(|_| assert!(!cell.passive(5_000, Passive::Good)));
    assert_eq!(cell.state(), State::Warm);
    assert!((load.warmth(Moment::from_ms(20_000)) - 0.5).abs() < 1e-3, "half of its slow start");
}

#[test]
fn a_restart_makes_an_endpoint_as_new_whatever_it_was() {
    let load = Arc::new(LoadCell::default());
    let cell = HealthCell::new(Arc::clone(&load));
    (0..5).for_each(|_| {
        cell.passive(0, Passive::Bad);
    });
    assert_eq!(cell.state(), State::Open);
    load.begin_life(Moment::from_ms(1_000));
    cell.tick(1_200);
    assert_eq!(cell.state(), State::Warm);
}

#[test]
fn silence_counts_only_where_nobody_was_answered_for_half_a_minute() {
    let cell = HealthCell::default();
    cell.passive(100_000, Passive::Good);
    (0..9).for_each(|_| assert!(!cell.silent(129_999)));
    assert_eq!(cell.state(), State::Ok);
    (0..4).for_each(|_| assert!(!cell.silent(130_000)));
    assert!(cell.silent(130_000));
}

#[test]
fn one_that_goes_down_gets_nothing_until_it_said() {
    let mut health = Health::default();
    health.drain(0, 7_000);
    bad(&mut health, 1, 9);
    health.tick(6_999);
    assert_eq!((health.state(), health.state().takes_requests()), (State::Drain, false));
    health.tick(7_000);
    assert_eq!(health.state(), State::Warm);
    health.passive(7_001, Passive::Bad);
    assert_eq!(health.state(), State::Warm, "what it did while it went down is forgotten");
}

#[test]
fn of_a_pool_at_most_half_is_open_and_then_the_oldest_is_taken_back() {
    let readmit = |open: &[Option<u64>]| to_readmit(open.iter().copied());
    assert_eq!(readmit(&[]), None);
    assert_eq!(readmit(&[Some(5)]), Some(0), "a pool of one is never shut");
    assert_eq!(readmit(&[Some(5), None]), None);
    assert_eq!(readmit(&[Some(5), Some(3)]), Some(1));
    assert_eq!(readmit(&[Some(5), Some(3), None]), Some(1));
    assert_eq!(readmit(&[None, Some(3), None, Some(2)]), None);
    let mut health = Health::default();
    bad(&mut health, 0, 5);
    assert_eq!(health.open_by_requests_since(), Some(0));
    health.readmit(9);
    assert_eq!(health.state(), State::Suspect);
}

#[test]
fn a_half_open_circuit_lets_two_through_at_once() {
    let cell = HealthCell::default();
    (0..5).for_each(|_| assert!(!cell.passive(0, Passive::Bad) || cell.state() == State::Open));
    assert!(!cell.admits() && cell.take().is_err());
    cell.tick(5_000);
    let first = cell.take().expect("one");
    let second = cell.take().expect("two");
    assert!(!cell.admits());
    assert!(cell.take().is_err(), "three");
    drop(first);
    assert!(cell.take().is_ok());
    drop(second);
    assert_eq!(cell.trials.load(Relaxed), 0);
}

#[test]
fn one_that_asks_to_be_left_alone_rests_until_then() {
    let cell = HealthCell::default();
    cell.rest(1_000, 2_000);
    assert!(cell.is_resting() && cell.admits());
    cell.tick(2_999);
    assert!(cell.is_resting());
    cell.tick(3_000);
    assert!(!cell.is_resting());
    cell.rest(0, u64::MAX / 2);
    cell.tick(60_000);
    assert!(!cell.is_resting(), "for a minute at most");
}

#[test]
fn trials_of_many_threads_end_at_zero_and_never_pass_their_bound() {
    let cell = HealthCell::default();
    (0..5).for_each(|_| {
        cell.passive(0, Passive::Bad);
    });
    cell.tick(5_000);
    let held = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let Ok(trial) = cell.take() else { continue };
                    assert!(held.fetch_add(1, Relaxed) < HALF_OPEN_MAX);
                    held.fetch_sub(1, Relaxed);
                    drop(trial);
                }
            });
        }
    });
    assert_eq!(cell.trials.load(Relaxed), 0);
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Passive(Passive),
    Probe(bool),
    Drain,
    Readmit,
    Restart,
}

proptest! {
    /// Whatever happens, an endpoint that is well from some time on takes requests again: no state is a trap.
    #[test]
    fn an_endpoint_that_is_well_again_comes_back(
        events in prop::collection::vec((prop_oneof![
            prop_oneof![Just(Passive::Good), Just(Passive::Bad), Just(Passive::Whole), Just(Passive::Broken)]
                .prop_map(Event::Passive),
            any::<bool>().prop_map(Event::Probe),
            Just(Event::Drain),
            Just(Event::Readmit),
            Just(Event::Restart),
        ], 0..3_000_u64), 0..80),
    ) {
        let mut health = Health::new(0);
        let mut now_ms = 0;
        for (event, pause_ms) in events {
            now_ms += pause_ms;
            health.tick(now_ms);
            match event {
                Event::Passive(outcome) => health.passive(now_ms, outcome),
                Event::Probe(good) => health.probe(now_ms, good),
                Event::Drain => health.drain(now_ms, 5_000),
                Event::Readmit => health.readmit(now_ms),
                Event::Restart => health.restart(now_ms),
            }
        }
        for _ in 0..200 {
            now_ms += 1_000;
            health.probe(now_ms, true);
            health.tick(now_ms);
            if health.state().takes_requests() {
                health.passive(now_ms, Passive::Good);
                health.passive(now_ms, Passive::Whole);
            }
        }
        prop_assert_eq!(health.state(), State::Ok);
        prop_assert!(!health.is_attentive());
    }
}
