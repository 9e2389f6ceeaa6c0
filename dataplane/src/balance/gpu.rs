//! `balance: gpu` on one backend: the pool of this table, and what outlives tables.
//!
//! Owns: the way from a prompt to a choice, the estimate of its tokens, and what dispatch and usage teach.
//! Must not: do I/O or read a clock.
//! Read next: [`super::score`], [`super::prefix`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use ringway_contract::snapshot;
use ringway_contract::stats::{self, Estimate};

use super::adapters::{Adapter, Adapters, Sought};
use super::prefix::Index;
use super::prefix::blocks::Key;
use super::prompt::Prompt;
use super::score::{Asked, Choice, Hardware, Pool, Reports, Terms, Weights};
use crate::bounds::{
    BLOCK_BYTES, BYTES_PER_TOKEN, BYTES_PER_TOKEN_MAX, BYTES_PER_TOKEN_MIN, KV_TOKENS_UNKNOWN,
};
use crate::cells::{Cells, Load, LoadCell};
use crate::clock::Moment;

/// A backend's endpoints with what is in their caches.
#[derive(Debug)]
pub struct Gpu {
    pool: Pool,
    known: Arc<Known>,
    key: Arc<Key>,
    media_tokens: u32,
    adapters: Option<Adapters>,
}

/// What a request asks a backend for, beside its prompt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// The model, as far as prompts are told apart by it.
    pub model: &'a [u8],
    /// The LoRA adapter, where the model is one.
    pub adapter: Option<Adapter>,
    /// The place of the endpoint where the caller's session was.
    pub session: Option<usize>,
}

/// What is known of a backend over reloads.
#[derive(Debug)]
pub struct Known {
    index: Index,
    ratio: Arc<Ratio>,
    members: Box<[(Box<str>, usize)]>,
}

impl Known {
    /// Nothing yet, of endpoints with these names and blocks in their caches.
    pub fn new(members: Box<[(Box<str>, usize)]>, ratio: Arc<Ratio>) -> Self {
        let blocks: Vec<usize> = members.iter().map(|(_, blocks)| *blocks).collect();
        Self { index: Index::new(&blocks), ratio, members }
    }

    /// Whether it is about these endpoints, in this order.
    pub fn is_about(&self, members: &[(Box<str>, usize)]) -> bool {
        *self.members == *members
    }

    /// Its ratio, for another one of the same backend.
    pub fn ratio(&self) -> Arc<Ratio> {
        Arc::clone(&self.ratio)
    }
}

/// The endpoints of this backend with what they can do; the cells are in their order.
pub fn pool(backend: &snapshot::Backend, endpoints: &[Arc<LoadCell>]) -> Pool {
    let score = &backend.score;
    let seconds = |ms: ringway_contract::Millis| ms.get() as f32 * 1e-3;
    let weights = Weights {
        miss: score.miss as f32,
        in_flight: seconds(score.in_flight_ms),
        kv: seconds(score.kv_ms),
        adapter_load: seconds(score.adapter_load_ms),
        adapter_evict: seconds(score.adapter_evict_ms),
        session: seconds(score.session_ms),
        ..Weights::default()
    };
    let hardware = |it: &snapshot::Endpoint| Hardware {
        prefill_tokens_per_s: it.hardware.prefill_tokens_per_s.map(|tokens| tokens as f32),
        kv_tokens: it.hardware.kv_tokens.map(|tokens| tokens as f32),
    };
    let members = endpoints.iter().map(Arc::clone).zip(backend.endpoints.iter().map(hardware));
    Pool::new(weights, score.gateways, members)
}

/// Bytes of prompt to a token, as usage teaches: a moving average.
#[derive(Debug)]
pub struct Ratio(AtomicU32);

impl Default for Ratio {
    fn default() -> Self {
        Self(AtomicU32::new(BYTES_PER_TOKEN.to_bits()))
    }
}

impl Ratio {
    /// Bytes to a token.
    pub fn get(&self) -> f32 {
        f32::from_bits(self.0.load(Relaxed))
    }

    /// So many bytes were so many tokens. Two threads at once: one of them is not heard.
    pub fn learn(&self, bytes: u64, tokens: u64) {
        if bytes == 0 || tokens == 0 {
            return;
        }
        let seen = (bytes as f32 / tokens as f32).clamp(BYTES_PER_TOKEN_MIN, BYTES_PER_TOKEN_MAX);
        let average = self.get();
        self.0.store((average + (seen - average) * RATIO_STEP).to_bits(), Relaxed);
    }
}

/// The weight of one usage in the average.
const RATIO_STEP: f32 = 0.05;

impl Gpu {
    /// The pool of this backend; the cells are those of its endpoints, in their order.
    pub fn new(backend: &snapshot::Backend, endpoints: &[Arc<LoadCell>], cells: &Cells) -> Self {
        let member = |it: &snapshot::Endpoint| {
            let tokens = it.hardware.kv_tokens.unwrap_or(KV_TOKENS_UNKNOWN) as f32;
            (it.authority.as_str().into(), (tokens * BYTES_PER_TOKEN) as usize / BLOCK_BYTES)
        };
        let resident =
            |it: &snapshot::Endpoint| cells.resident(&format!("{}/{}", backend.name, it.authority));
        let adapters = |lora| Adapters::new(lora, backend.endpoints.iter().map(resident));
        Self {
            adapters: backend.lora.as_ref().map(adapters),
            pool: pool(backend, endpoints),
            known: cells.known(&backend.name, backend.endpoints.iter().map(member).collect()),
            key: cells.prompt_key(),
            media_tokens: backend.score.media_tokens,
        }
    }

    /// The pool.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The index.
    pub fn index(&self) -> &Index {
        &self.known.index
    }

    /// Bytes of prompt to a token, as it is estimated now.
    pub fn bytes_per_token(&self) -> f32 {
        self.known.ratio.get()
    }

    /// Tokens of this prompt, as estimated.
    pub fn tokens(&self, prompt: &Prompt) -> u64 {
        prompt.tokens(self.bytes_per_token(), self.media_tokens)
    }

    /// Its LoRA adapters, if it has any.
    pub fn adapters(&self) -> Option<&Adapters> {
        self.adapters.as_ref()
    }

    /// What its cost depends on of a request with so many tokens.
    pub fn asked(&self, tokens: u64, wanted: Wanted<'_>) -> Asked<'_> {
        let sought = |among| Some(Sought { among, adapter: wanted.adapter? });
        Asked { prompt: tokens, adapter: self.adapters.as_ref().and_then(sought), session: wanted.session }
    }

    /// The endpoint where this prompt costs least.
    pub fn choose(
        &self,
        prompt: &mut Prompt,
        wanted: Wanted<'_>,
        now: Moment,
        rotation: u32,
        open: impl Fn(usize) -> bool,
    ) -> Option<Choice> {
        let asked = self.asked(self.tokens(prompt), wanted);
        loop {
            prompt.look_up(&self.key, wanted, &self.known.index);
            let choice = self.pool.choose(&asked, prompt.matches(), now, rotation, &open)?;
            // Only a match that wins does harm, so the winner alone is asked whether it is still who it was. At most
            // once for each restart.
            if !self.known.index.outlived(choice.at, self.pool.cell(choice.at).restarts()) {
                return Some(choice);
            }
        }
    }

    /// The request goes to the endpoint at this place, which will hold its prompt.
    pub fn dispatched(&self, at: usize, prompt: &Prompt) {
        self.known.index.insert(at, prompt.hashes());
    }

    /// A request for this model goes to the endpoint at this place, which will have it in memory if it is an adapter.
    pub fn sent(&self, at: usize, model: &[u8], now: Moment) {
        let Some(adapters) = &self.adapters else { return };
        if let Some(adapter) = adapters.named(model) {
            adapters.sent(at, adapter, model, now);
        }
    }

    /// The endpoint at this place counted so many tokens in this prompt, and found so many of them in its cache, if it
    /// says so.
    pub fn learn(&self, prompt: &Prompt, at: usize, sent: Load, tokens: u64, cached: Option<u64>) {
        if prompt.media() == 0 {
            self.known.ratio.learn(prompt.bytes(), tokens);
        }
        if let Some(cached) = cached {
            self.known.index.settle(at, sent.prompt.saturating_sub(sent.miss), cached);
        }
    }

    /// Every part of what this prompt would cost on each endpoint, in their order.
    pub fn explain(&self, prompt: &mut Prompt, wanted: Wanted<'_>, now: Moment) -> Vec<Terms> {
        let asked = self.asked(self.tokens(prompt), wanted);
        prompt.look_up(&self.key, wanted, &self.known.index);
        (0..self.pool.len()).map(|at| self.pool.terms(at, &asked, prompt.matches(), now)).collect()
    }

    /// What is reckoned of the endpoint at this place, to be shown.
    pub fn estimate(&self, at: usize, now: Moment) -> Estimate {
        let cell = self.pool.cell(at);
        Estimate {
            kv: self.pool.pressure(at, Reports::Believed, now).kv.into(),
            token_gap_ms: cell.life().gap_us().map(|us| f64::from(us) / 1e3),
            cached_blocks: self.known.index.blocks(at) as u64,
            report_fresh: cell.fresh(now).is_some(),
        }
    }

    /// The adapters that the endpoint at this place is taken to have, to be shown.
    pub fn resident(&self, at: usize, now: Moment) -> Option<stats::Adapters> {
        Some(self.adapters.as_ref()?.shown(at, self.pool.cell(at).began(), now))
    }

    /// The key its prompts are hashed with.
    pub fn key(&self) -> &Key {
        &self.key
    }
}
