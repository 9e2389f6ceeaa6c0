//! Endpoints under load, as `balance: gpu` sees them.
//!
//! Owns: a pool with leases on it, reports, and an index that is full.
//! Must not: have sockets or time of its own.
//! Read next: `dataplane/src/balance/score.rs`.

use std::sync::Arc;

use ringway_contract::snapshot::Lora;
use ringway_dataplane::balance::adapters::{Adapters, Sought};
use ringway_dataplane::balance::prefix::{BlockHash, Index, Matches};
use ringway_dataplane::balance::score::{Asked, Choice, Hardware, Pool, Weights};
use ringway_dataplane::cells::{Lease, Load, LoadCell, Report, Said};
use ringway_dataplane::clock::Moment;

const NOW: Moment = Moment::from_ms(60_000);
const H100: Hardware = Hardware { prefill_tokens_per_s: Some(35_711.0), kv_tokens: Some(426_000.0) };

/// Endpoints with a few requests each, fresh reports, and caches full of prompts.
pub struct Fleet {
    pool: Pool,
    /// What is in their caches.
    pub index: Index,
    /// Ten of them, in four slots of each endpoint.
    pub adapters: Adapters,
    rotation: u32,
    _leases: Vec<Lease>,
}

impl Fleet {
    /// So many endpoints.
    pub fn new(endpoints: usize) -> Self {
        let mut rng = fastrand::Rng::with_seed(7);
        let cells: Vec<Arc<LoadCell>> = (0..endpoints).map(|_| Arc::default()).collect();
        let mut leases = Vec::new();
        for cell in &cells {
            for _ in 0..8 {
                let prompt = rng.u64(500..20_000);
                leases.push(Lease::dispatch(cell, Load { prompt, miss: rng.u64(..prompt) }));
            }
            let said =
                Said { running: Some(7), waiting: Some(1), kv: Some(rng.f32()), uncached_waiting: None };
            cell.report(&Report { sequence: 1, generation: 1, taken_at: NOW, said }, NOW);
        }
        let index = Index::new(&vec![6_656; endpoints]);
        for at in 0..endpoints {
            for turn in 0..16 {
                index.insert(at, &prompt_chain(at as u64 * 1_000 + turn, 416));
            }
        }
        let pool = Pool::new(Weights::default(), 1, cells.into_iter().map(|cell| (cell, H100)));
        let lora = Lora { adapters: vec!["adapter-*".to_owned()], slots: Some(4) };
        let adapters = Adapters::new(&lora, (0..endpoints).map(|_| Arc::default()));
        Self { pool, index, adapters, rotation: 0, _leases: leases }
    }

    /// The cells of its endpoints.
    pub fn cells(&self) -> Vec<Arc<LoadCell>> {
        (0..self.pool.len()).map(|at| Arc::clone(self.pool.cell(at))).collect()
    }

    /// Matches of a prompt of so many blocks: different ones on a few endpoints.
    pub fn matches(&self, blocks: u16) -> Matches {
        let length = |at: usize| if at.is_multiple_of(5) { at as u16 % (blocks + 1) } else { 0 };
        let lengths: Vec<u16> = (0..self.pool.len()).map(length).collect();
        Matches::of(blocks.into(), &lengths)
    }

    /// One choice, all endpoints being open.
    pub fn choose(&mut self, matches: &Matches) -> Option<Choice> {
        self.rotation = self.rotation.wrapping_add(1);
        let asked = Asked { prompt: 2_048, ..Asked::default() };
        self.pool.choose(&asked, matches, NOW, self.rotation, |_| true)
    }

    /// The same for a request that asks for the adapter of this name, which is sent where it is chosen.
    pub fn choose_with(&mut self, name: &[u8], matches: &Matches) -> Option<Choice> {
        self.rotation = self.rotation.wrapping_add(1);
        let adapter = self.adapters.named(name)?;
        let sought = Some(Sought { among: &self.adapters, adapter });
        let asked = Asked { prompt: 2_048, adapter: sought, session: None };
        let choice = self.pool.choose(&asked, matches, NOW, self.rotation, |_| true)?;
        self.adapters.sent(choice.at, adapter, name, NOW);
        Some(choice)
    }
}

/// The hashes of a prompt of so many blocks that is like no other.
pub fn prompt_chain(seed: u64, blocks: usize) -> Vec<BlockHash> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..blocks).map(|_| rng.u64(..)).collect()
}
