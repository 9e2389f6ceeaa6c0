//! Every order in which few threads may meet at a cell, tried by loom.
//!
//! Owns: the other list of atomics that `cells/life.rs` is compiled with here.
//! Must not: repeat what one thread can show; that is in `cells/tests.rs`.
//! Read next: `src/cells/life.rs`, which argues the orderings that are tried here.

#![allow(dead_code, missing_docs, reason = "modules of the program, of which a test uses a part")]

#[path = "../src/cells"]
mod cells {
    pub mod atomic {
        pub use loom::sync::atomic::{
            AtomicI32, AtomicI64, AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
            fence,
        };
    }
    #[path = "life.rs"]
    pub mod life;

    /// What the rest of the cell may do, which only a neighbour can.
    pub mod hands {
        use super::life::{Life, Load, Said};
        use crate::clock::Moment;

        pub fn enter(life: &Life, load: Load) {
            life.enter(load);
        }

        pub fn leave(life: &Life, load: Load) {
            life.computed(load.miss);
            life.leave(load, 0);
        }

        pub fn report(life: &Life, value: u32) -> bool {
            let said =
                Said { running: Some(value), waiting: Some(10 * value), kv: None, uncached_waiting: None };
            life.report(&said, value.into(), Moment::from_us(value.into()))
        }

        pub fn underflows(life: &Life) -> u32 {
            life.underflows()
        }
    }
}

mod bounds {
    pub const REPORT_AGE_MS_MAX: u64 = 1_250;
    pub const REPORT_READS_MAX: usize = 1; // a second look adds orders and no new case
}

mod clock {
    pub use ringway_dataplane::clock::Moment;
}

use cells::hands::{enter, leave, report, underflows};
use cells::life::{Counts, Life, Load};
use loom::sync::Arc;
use loom::thread;

/// Every order with so many switches that no operation forces, and every value that a relaxed load may still see.
fn tried(switches: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(switches);
    builder.check(model);
}

#[test]
fn in_no_order_does_a_reader_mix_two_reports() {
    // One switch finds a missing fence of either side; a second costs minutes.
    tried(1, || {
        let life = Arc::new(Life::default());
        report(&life, 1);
        let writing = Arc::clone(&life);
        let writer = thread::spawn(move || report(&writing, 2));
        if let Some(fresh) = life.last() {
            let running = fresh.said.running.expect("each report has it");
            assert_eq!(fresh.said.waiting, Some(10 * running));
            assert_eq!(fresh.taken_at.us(), u64::from(running));
        }
        writer.join().expect("it only writes");
    });
}

#[test]
fn in_no_order_do_two_writers_leave_a_mixture_or_an_older_report() {
    tried(2, || {
        let life = Arc::new(Life::default());
        let writing = Arc::clone(&life);
        let writer = thread::spawn(move || report(&writing, 2));
        let own = report(&life, 1);
        let other = writer.join().expect("it only writes");
        assert!(own || other, "one of them is taken");
        let fresh = life.last().expect("nobody writes any more");
        let running = fresh.said.running.expect("each report has it");
        assert_eq!((running, fresh.said.waiting), (if other { 2 } else { 1 }, Some(10 * running)));
    });
}

#[test]
fn in_no_order_do_leases_underflow_or_leave_something() {
    tried(2, || {
        let life = Arc::new(Life::default());
        let load = |tokens| Load { prompt: tokens, miss: tokens };
        let taking = Arc::clone(&life);
        let taker = thread::spawn(move || {
            enter(&taking, load(2));
            leave(&taking, load(2));
        });
        enter(&life, load(3));
        leave(&life, load(3));
        taker.join().expect("it only counts");
        assert_eq!((life.counts(), underflows(&life)), (Counts::default(), 0));
    });
}
