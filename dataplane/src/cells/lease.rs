//! The load of one attempt on its endpoint, from dispatch to the last byte.
//!
//! Owns: what was added to a life, so that exactly this is taken away again.
//! Must not: outlive the attempt. Dropping is the only release: it happens on every exit, cancellation and panic
//! included.
//! Read next: [`super::life`].

use std::sync::Arc;

use super::LoadCell;
use super::life::{Life, Load};
use crate::bounds::TOKENS_BATCH;
use crate::clock::Moment;

/// One attempt's load. It is `Dispatched` until [`Lease::first_token`], and counts until it is dropped.
#[must_use = "a lease dropped at once counts nothing"]
#[derive(Debug)]
pub struct Lease {
    cell: Arc<LoadCell>,
    life: u8,
    load: Load,
    /// Added to `uncached` and not yet taken away: 0 from the first token on.
    waiting: u64,
    generated: u64,
    /// Tokens seen and not yet added to the cell.
    unadded: u32,
    last_token: Option<Moment>,
}

impl Lease {
    /// Counts an attempt on this cell, without tokens: what policies need that look at requests alone.
    pub fn take(cell: &Arc<LoadCell>) -> Self {
        Self::dispatch(cell, Load::default())
    }

    /// Counts an attempt with its tokens on this cell.
    pub fn dispatch(cell: &Arc<LoadCell>, load: Load) -> Self {
        let life = cell.current();
        cell.life_at(life).enter(load);
        Self {
            cell: Arc::clone(cell),
            life,
            load,
            waiting: load.miss,
            generated: 0,
            unadded: 0,
            last_token: None,
        }
    }

    /// The cell it counts on.
    pub fn cell(&self) -> &LoadCell {
        &self.cell
    }

    /// What it was dispatched with.
    pub fn load(&self) -> Load {
        self.load
    }

    /// Tokens that were generated and told to the cell.
    pub fn generated(&self) -> u64 {
        self.generated
    }

    /// Whether its first token is still to come.
    pub fn is_dispatched(&self) -> bool {
        self.waiting > 0
    }

    /// The first token came: the prompt has been computed.
    pub fn first_token(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        self.life().computed(waiting);
    }

    /// Tokens came, in one piece of the stream. They are added in batches: a cell is shared and a token is not news.
    pub fn tokens(&mut self, count: u32) {
        self.unadded = self.unadded.saturating_add(count);
        if self.unadded >= TOKENS_BATCH {
            let batch = u64::from(std::mem::take(&mut self.unadded));
            self.generated += batch;
            self.life().generate(batch);
        }
    }

    /// Tokens came at `now`: takes the gap since the last ones into the endpoint's average.
    pub fn see_gap(&mut self, now: Moment) {
        if let Some(last) = self.last_token.replace(now) {
            self.life().see_gap(now.since_us(last));
        }
    }

    /// Parts with the prompt's share, to be released by somebody else: an answer in one piece shows no first token, so
    /// its share ends at its head or when it should have been computed. None if the first token came.
    pub fn split_prefill(&mut self) -> Option<Prefill> {
        let miss = std::mem::take(&mut self.waiting);
        (miss > 0).then(|| Prefill { cell: Arc::clone(&self.cell), life: self.life, miss })
    }

    fn life(&self) -> &Life {
        self.cell.life_at(self.life)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let life = self.life();
        life.computed(self.waiting);
        // What was not added yet is not added any more: it would be taken away at once.
        life.leave(self.load, self.generated);
    }
}

/// A prompt's share of a lease, on its own. Dropping it is the release.
#[must_use = "a share dropped at once counts nothing"]
#[derive(Debug)]
pub struct Prefill {
    cell: Arc<LoadCell>,
    life: u8,
    miss: u64,
}

impl Prefill {
    /// Tokens it stands for.
    pub fn miss(&self) -> u64 {
        self.miss
    }
}

impl Drop for Prefill {
    fn drop(&mut self) {
        self.cell.life_at(self.life).computed(self.miss);
    }
}
