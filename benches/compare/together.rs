//! Several loads in step: one for each worker of the proxy, each a thread on a core of its own.
//!
//! Owns: their threads, the moments at which they wait for each other, and the sum of what they counted.
//! Must not: touch a socket. While a load waits for others it goes on serving, as others may need its origin.
//! Read next: `load.rs`, which is one of them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::bounds::load_core;
use crate::load::{Counted, Fault, Load, Phase, Times};
use crate::workload::Workload;

/// Where all loads wait for each other, as often as they like.
pub struct Gate {
    loads: usize,
    arrived: AtomicUsize,
    broken: AtomicBool,
}

/// One load's way through the gate.
pub struct Passage<'a> {
    gate: &'a Gate,
    passed: usize,
}

impl Gate {
    const fn new(loads: usize) -> Self {
        Self { loads, arrived: AtomicUsize::new(0), broken: AtomicBool::new(false) }
    }

    const fn passage(&self) -> Passage<'_> {
        Passage { gate: self, passed: 0 }
    }
}

impl Passage<'_> {
    /// Waits until all have come here, and does `meanwhile` until then.
    ///
    /// # Errors
    /// Another load failed, or `meanwhile` did.
    pub fn pass(&mut self, mut meanwhile: impl FnMut() -> Result<(), Fault>) -> Result<(), Fault> {
        self.passed += 1;
        self.gate.arrived.fetch_add(1, Ordering::AcqRel);
        let all_came = || self.gate.arrived.load(Ordering::Acquire) >= self.passed * self.gate.loads;
        while !all_came() {
            if self.gate.broken.load(Ordering::Acquire) {
                return Err(Fault::Beside);
            }
            // Those that came meanwhile may be gone with their sockets already.
            meanwhile().or_else(|fault| if all_came() { Ok(()) } else { Err(fault) })?;
        }
        Ok(())
    }
}

/// Runs all loads against one proxy. `watch` is called by the first, while all others are where it is.
///
/// # Errors
/// The first fault of the proxy that any of them saw.
pub fn run(
    loads: Vec<Load>,
    workload: &Workload,
    proxy: SocketAddr,
    path: &str,
    times: Times,
    watch: impl FnMut(Phase),
) -> Result<Counted, Fault> {
    let gate = Gate::new(loads.len());
    let run = |load: Load, watch: &mut dyn FnMut(Phase)| {
        let outcome = load.run(workload, proxy, path, times, &mut gate.passage(), watch);
        if outcome.is_err() {
            gate.broken.store(true, Ordering::Release);
        }
        outcome
    };
    let mut watch = watch;
    let mut loads = loads.into_iter();
    let first = loads.next().expect("at least one load");
    let outcomes = thread::scope(|scope| {
        let on_its_core = |(number, load)| {
            let run = &run;
            scope.spawn(move || {
                bind(load_core(number + 1)).map_err(|error| Fault::Io("taking a core", error))?;
                run(load, &mut |_| {})
            })
        };
        let others: Vec<_> = loads.enumerate().map(on_its_core).collect();
        let own = run(first, &mut watch);
        let others = others.into_iter().map(|it| it.join().expect("a load does not panic"));
        [own].into_iter().chain(others).collect::<Vec<_>>()
    });
    let (counted, faults): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let told = |fault: &Fault| !matches!(fault, Fault::Beside);
    if let Some(fault) = faults.into_iter().filter_map(Result::err).find(told) {
        return Err(fault);
    }
    Ok(counted
        .into_iter()
        .filter_map(Result::ok)
        .reduce(|all, one| all.with(&one))
        .expect("at least one load"))
}

/// Binds this thread to a core.
///
/// # Errors
/// The machine has no such core, or it is not ours.
pub fn bind(core: usize) -> std::io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_wait_for_the_last_one_and_serve_meanwhile() {
        let gate = Gate::new(3);
        let served = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut passage = gate.passage();
                    for _ in 0..100 {
                        let serve = || {
                            served.fetch_add(1, Ordering::Relaxed);
                            thread::yield_now();
                            Ok(())
                        };
                        passage.pass(serve).expect("all come");
                    }
                });
            }
            while served.load(Ordering::Relaxed) < 10 {
                thread::yield_now();
            }
            assert!(gate.arrived.load(Ordering::Relaxed) <= 2, "nobody passes before the third");
            let mut passage = gate.passage();
            (0..100).for_each(|_| passage.pass(|| Ok(())).expect("all come"));
        });
        assert_eq!(gate.arrived.load(Ordering::Relaxed), 300);
    }

    #[test]
    fn who_waits_for_one_that_failed_is_told() {
        let gate = Gate::new(2);
        gate.broken.store(true, Ordering::Release);
        assert!(matches!(gate.passage().pass(|| Ok(())), Err(Fault::Beside)));
    }
}
