//! Choosing by the cost of a prompt allocates nothing once it is warm.
//!
//! Owns: the claim, for hashing, looking up, choosing, counting and indexing, known prompts and new ones.
//! Must not: share its process with anything else that allocates.
//! Read next: `allocations_live.rs`, the same on a route.

use std::alloc::System;

use ringway_benches::fleet::{Fleet, prompt_chain};
use ringway_dataplane::balance::gpu::Wanted;
use ringway_dataplane::balance::prefix::Matches;
use ringway_dataplane::balance::prefix::blocks::Key;
use ringway_dataplane::balance::prompt::Prompt;
use ringway_dataplane::cells::{Lease, Load};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn nothing_is_allocated_per_choice_once_warm() {
    for endpoints in [64, 200] {
        let mut fleet = Fleet::new(endpoints);
        let cells = fleet.cells();
        let key = Key::new(&mut fastrand::Rng::with_seed(1));
        let body = ringway_benches::material::chat_body(40_000);
        let chains: Vec<_> = (0..200).map(|seed| prompt_chain(90_000 + seed, 160)).collect();
        let (mut prompt, mut matches) = (Prompt::default(), Matches::default());
        let mut one = |chain: &[u64]| {
            prompt.clear();
            prompt.feed(&key, &body);
            prompt.look_up(&key, Wanted { model: b"m", ..Wanted::default() }, &fleet.index);
            fleet.index.lookup(chain, &mut matches);
            let choice = fleet.choose(&matches).expect("all are open");
            let mut name = *b"adapter-0";
            name[8] += (chain[0] % 10) as u8;
            fleet.choose_with(&name, &matches).expect("all are open");
            let mut lease = Lease::dispatch(&cells[choice.at], Load { prompt: 900, miss: choice.miss });
            lease.first_token();
            lease.tokens(40);
            fleet.index.insert(choice.at, chain) + fleet.index.insert(choice.at, prompt.hashes())
        };
        one(&chains[0]);
        let region = Region::new(ALLOCATOR);
        let new: usize = chains.iter().chain(&chains).map(|chain| one(chain)).sum();
        let change = region.change();
        assert!(new > 100 * 160, "there was something to index");
        assert_eq!((change.allocations, change.reallocations), (0, 0), "{endpoints}: {change:?}");
    }
}
