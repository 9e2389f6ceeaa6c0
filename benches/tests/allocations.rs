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

    let region = Region::new(ALLOCATOR);
    let sent: usize = (0..UNITS).map(|_| pipeline.exchange()).sum();
    let exchanges = region.change();
    pipeline.begin_stream();
    let region = Region::new(ALLOCATOR);
    let relayed: usize = (0..UNITS).map(|_| pipeline.event()).sum();
    let events = region.change();

    assert!(sent > UNITS && relayed > UNITS, "the work was done");
    assert_eq!((exchanges.allocations, exchanges.reallocations), (0, 0), "{exchanges:?}");
    assert_eq!((events.allocations, events.reallocations), (0, 0), "{events:?}");
}
