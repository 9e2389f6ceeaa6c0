//! The sans-I/O pipeline allocates nothing once it is warm.
//!
//! Owns: the claim, for exchanges and for events.
//! Must not: share its process with anything else that allocates.
//! Read next: `allocations_live.rs`, the same claim for a whole worker with its sockets.

use std::alloc::System;

use ringway_benches::pipeline::Pipeline;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const UNITS: usize = 1_000;

#[test]
fn nothing_is_allocated_per_exchange_or_event_once_warm() {
    let mut pipeline = Pipeline::default();
    pipeline.exchange();
    pipeline.begin_stream();
    pipeline.event();

    assert_eq!(least_allocated(|| (0..UNITS).map(|_| pipeline.exchange()).sum()), 0, "exchanges");
    pipeline.begin_stream();
    assert_eq!(least_allocated(|| (0..UNITS).map(|_| pipeline.event()).sum()), 0, "events");
}

/// What this work allocates, by the best of a few times: the harness's own thread allocates now and then, and what the work
/// allocates it allocates each time.
fn least_allocated(mut work: impl FnMut() -> usize) -> usize {
    let once = |_| {
        let region = Region::new(ALLOCATOR);
        let bytes = work();
        let change = region.change();
        assert!(bytes > UNITS, "the work was done");
        change.allocations + change.reallocations
    };
    (0..5).map(once).min().unwrap_or(usize::MAX)
}
