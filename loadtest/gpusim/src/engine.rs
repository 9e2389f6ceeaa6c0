//! One simulated engine: continuous batching in steps, first come, first served.
//!
//! Owns: who waits, who runs, and which KV blocks each holds. Decodes go before prefill; a prompt is prefilled
//! in chunks of what the step has left, but for what the cache holds already; at most one prefill is unfinished
//! at a time; when blocks run out, the request admitted last is preempted and computed again later.
//! Must not: read a clock, know sockets or text. Time is handed in, as the time since the fleet started.
//! Read next: `step.rs` for how long a step takes, `cache.rs` for the blocks, `server.rs` and
//! `virtual_time.rs` for who calls this.

use std::{collections::VecDeque, time::Duration};

use crate::{
    bounds::{
        BLOCK_TOKENS, LORA_LOAD_DEFAULT, LORA_SLOTS_DEFAULT, SEQUENCES_MAX, STEP_TOKENS_MAX, WAITING_MAX,
    },
    cache::{BlockId, Cache},
    fault::Window,
    histogram::{self, Histogram},
    lora::{Adapter, Ready, Slots},
    prefix::Prefix,
    random::Random,
    step::{StepLoad, StepModel},
};

/// The caller's name for a request; the engine only hands it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

/// What a request costs.
#[derive(Debug, Clone, Default)]
pub struct Work {
    /// Tokens of its prompt.
    pub prompt: u64,
    /// Tokens it was allowed to generate: decides whether it can ever fit.
    pub limit: u32,
    /// Tokens it will generate, at most the limit.
    pub out: u32,
    /// Whether it ends by itself, not by the limit: only counted apart.
    pub stops: bool,
    /// The adapter it runs with.
    pub adapter: Option<Adapter>,
    /// What the cache knows its prompt by.
    pub prefix: Prefix,
}

/// What happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It left the queue; its prompt is being computed. Not repeated after a preemption.
    Admitted {
        /// Which request.
        key: Key,
        /// Prompt tokens that were found in the cache.
        cached: u32,
    },
    /// It has one more token; after the `last` one it is gone.
    Token {
        /// Whose token.
        key: Key,
        /// When its step ended.
        at: Duration,
        /// Whether it was the last.
        last: bool,
    },
}

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Prompt and answer together can never fit the KV cache.
    #[error(
        "this model's maximum context length is {capacity} tokens, but {asked} were asked for, prompt and answer together"
    )]
    TooLong {
        /// Tokens the cache holds.
        capacity: u64,
        /// Prompt and answer tokens of the request.
        asked: u64,
    },
    /// Too many wait already.
    #[error("the queue is full")]
    QueueFull,
}

/// What the metrics page shows of an engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Prompt tokens of finished prefills; a recomputation does not count again.
    pub prompt_tokens: u64,
    /// Tokens emitted.
    pub generation_tokens: u64,
    /// Prompt tokens looked up in the prefix cache at first admission.
    pub prefix_queries: u64,
    /// Prompt tokens found there.
    pub prefix_hits: u64,
    /// Requests that ran to their own end.
    pub stopped: u64,
    /// Requests that ran to their limit.
    pub exhausted: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Requests whose client left.
    pub cancelled: u64,
    /// Tokens those did not get to generate.
    pub cancelled_tokens: u64,
    /// Steps begun.
    pub steps: u64,
}

/// How long requests took, as the engine sees it.
#[derive(Debug, Clone)]
pub struct Latencies {
    /// From arrival to the first token.
    pub ttft: Histogram,
    /// From one token to the next.
    pub inter_token: Histogram,
    /// From arrival to the last token.
    pub end_to_end: Histogram,
}

/// What an engine is like.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineSpec {
    /// How long its steps take and how many tokens it caches.
    pub model: StepModel,
    /// All times are divided by this.
    pub time_scale: f64,
    /// Whether prompts are looked up in the cache.
    pub prefix_cache: bool,
    /// Requests that may wait; one more is refused.
    pub queue_limit: usize,
    /// Sigma of the log-normal factor on each step; 0 for none.
    pub noise: f64,
    /// Decides the noise.
    pub seed: u64,
    /// Adapters resident at the same time.
    pub lora_slots: usize,
    /// How much longer the step that loads an adapter is.
    pub lora_load: Duration,
    /// After so many requests taken, no step ever ends again.
    pub stuck_after: Option<u64>,
    /// While these last, no step ends.
    pub stalls: Vec<Window>,
    /// Steps that begin within a window take so many times as long.
    pub slowdowns: Vec<(Window, f64)>,
}

impl EngineSpec {
    /// A healthy engine in real time.
    pub fn new(model: StepModel) -> Self {
        Self {
            model,
            time_scale: 1.0,
            prefix_cache: true,
            queue_limit: WAITING_MAX,
            noise: 0.0,
            seed: 1,
            lora_slots: LORA_SLOTS_DEFAULT,
            lora_load: LORA_LOAD_DEFAULT,
            stuck_after: None,
            stalls: Vec::new(),
            slowdowns: Vec::new(),
        }
    }
}

/// One engine.
#[derive(Debug)]
pub struct Engine {
    spec: EngineSpec,
    random: Random,
    waiting: VecDeque<Sequence>,
    /// In order of admission.
    running: Vec<Sequence>,
    cache: Cache,
    slots: Slots,
    step_end: Option<Duration>,
    taken: u64,
    counters: Counters,
    latencies: Latencies,
}

#[derive(Debug)]
struct Sequence {
    key: Key,
    work: Work,
    prompt: u32,
    /// Tokens to generate, at least one.
    out: u32,
    generated: u32,
    /// Tokens in the cache.
    kv: u32,
    blocks: Vec<BlockId>,
    /// Tokens the prefill has to reach: all that was known at admission.
    goal: u32,
    /// Prefill tokens scheduled in the step under way.
    chunk: u32,
    seen: bool,
    cancelled: bool,
    arrived: Duration,
    last_token: Duration,
}

impl Sequence {
    fn decodes(&self) -> bool {
        self.kv >= self.goal
    }

    fn grows(&self) -> bool {
        self.decodes() && self.kv.is_multiple_of(BLOCK_TOKENS)
    }
}

impl Engine {
    /// An idle engine.
    pub fn new(spec: EngineSpec) -> Self {
        let blocks = spec.model.kv_tokens / BLOCK_TOKENS;
        Self {
            random: Random::new(spec.seed),
            waiting: VecDeque::new(),
            running: Vec::new(),
            cache: Cache::new(blocks, spec.prefix_cache),
            slots: Slots::new(spec.lora_slots),
            step_end: None,
            taken: 0,
            counters: Counters::default(),
            latencies: Latencies {
                ttft: Histogram::new(histogram::TTFT),
                inter_token: Histogram::new(histogram::INTER_TOKEN),
                end_to_end: Histogram::new(histogram::END_TO_END),
            },
            spec,
        }
    }

    /// Takes a request. An idle engine starts a step at once; a busy one looks at it when its step ends.
    pub fn submit(
        &mut self,
        now: Duration,
        key: Key,
        work: Work,
        events: &mut Vec<Event>,
    ) -> Result<(), Refused> {
        let capacity = u64::from(self.blocks_total() * BLOCK_TOKENS);
        let asked = work.prompt.saturating_add(u64::from(work.limit.max(work.out)));
        if asked > capacity {
            return Err(Refused::TooLong { capacity, asked });
        }
        // An idle engine lets nobody wait.
        if self.step_end.is_some() && self.waiting.len() >= self.spec.queue_limit.min(WAITING_MAX) {
            return Err(Refused::QueueFull);
        }
        self.waiting.push_back(Sequence {
            key,
            prompt: u32::try_from(work.prompt).expect("less than the capacity").max(1),
            out: work.out.max(1),
            work,
            generated: 0,
            kv: 0,
            blocks: Vec::new(),
            goal: 0,
            chunk: 0,
            seen: false,
            cancelled: false,
            arrived: now,
            last_token: now,
        });
        self.taken += 1;
        if self.step_end.is_none() {
            self.begin_step(now, events);
        }
        Ok(())
    }

    /// Takes a request out: at once if it waits, at the end of the step if it runs. Unknown keys are ignored,
    /// as the last token and the client's leaving may cross.
    pub fn cancel(&mut self, key: Key) {
        if let Some(at) = self.waiting.iter().position(|sequence| sequence.key == key) {
            let gone = self.waiting.remove(at).expect("just found");
            self.count_cancelled(&gone);
        } else if let Some(sequence) = self.running.iter_mut().find(|sequence| sequence.key == key) {
            sequence.cancelled = true;
        }
    }

    /// Loses everything, as the process of a real engine would: requests, cache, adapters and counters.
    /// Returns whose requests are lost, those that ran first.
    pub fn crash(&mut self) -> Vec<Key> {
        let lost = std::mem::replace(self, Self::new(self.spec.clone()));
        let unfinished = lost.running.iter().chain(&lost.waiting).filter(|sequence| !sequence.cancelled);
        unfinished.map(|sequence| sequence.key).collect()
    }

    /// When the step under way ends; `None` while the engine sleeps.
    pub fn next_wake(&self) -> Option<Duration> {
        self.step_end.filter(|end| *end < Window::FOREVER)
    }

    /// Ends every step that is due by `now`, and begins the next. Steps follow each other without drift,
    /// however late this is called.
    pub fn advance(&mut self, now: Duration, events: &mut Vec<Event>) {
        while let Some(end) = self.step_end.filter(|end| *end <= now) {
            self.end_step(end, events);
            self.begin_step(end, events);
        }
    }

    /// Requests in the batch.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Requests in the queue.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Blocks in use, as a fraction of all. What the cache merely remembers does not count.
    pub fn kv_use(&self) -> f64 {
        f64::from(self.cache.referenced()) / f64::from(self.blocks_total().max(1))
    }

    /// Blocks of the KV cache.
    pub fn blocks_total(&self) -> u32 {
        self.cache.total()
    }

    /// What was counted since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How long requests took since the start.
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// What it was made from.
    pub fn spec(&self) -> &EngineSpec {
        &self.spec
    }

    /// The adapters of running and of waiting requests, each named once, and how many were loaded so far.
    pub fn adapters(&self) -> (Vec<Adapter>, Vec<Adapter>, u64) {
        let named = |sequences: &mut dyn Iterator<Item = &Sequence>| {
            let mut adapters: Vec<_> = sequences.filter_map(|sequence| sequence.work.adapter).collect();
            adapters.sort_unstable();
            adapters.dedup();
            adapters
        };
        (named(&mut self.running.iter()), named(&mut self.waiting.iter()), self.slots.loads())
    }

    /// Adapter slots that hold one, and all of them.
    pub fn adapter_slots(&self) -> (usize, usize) {
        (self.slots.used(), self.slots.count())
    }

    fn begin_step(&mut self, start: Duration, events: &mut Vec<Event>) {
        self.drop_cancelled();
        let preempted = self.grow_decodes();
        let mut load = StepLoad::default();
        for sequence in self.running.iter().filter(|sequence| sequence.decodes()) {
            load.decode(sequence.kv);
        }
        let mut left = STEP_TOKENS_MAX - load.tokens();
        let mut unfinished = false;
        for sequence in self.running.iter_mut().filter(|sequence| !sequence.decodes()) {
            left -= schedule_chunk(sequence, left, &mut load);
            unfinished = sequence.kv + sequence.chunk < sequence.goal;
        }
        let mut loading = 0;
        if !preempted && !unfinished {
            loading = self.admit(left, &mut load, events);
        }
        self.step_end = (load.tokens() > 0).then(|| self.end_of(start, &load, loading));
    }

    /// When a step that begins at `start` ends.
    fn end_of(&mut self, start: Duration, load: &StepLoad, loading: u32) -> Duration {
        self.counters.steps += 1;
        if self.spec.stuck_after.is_some_and(|count| self.taken > count) {
            return Window::FOREVER;
        }
        let mut ms = self.spec.model.duration_ms(load);
        if self.spec.noise > 0.0 {
            ms *= self.random.log_normal(self.spec.noise);
        }
        let slow = self.spec.slowdowns.iter().filter(|(window, _)| window.holds(start));
        ms *= slow.map(|(_, factor)| factor).product::<f64>();
        ms += self.spec.lora_load.as_secs_f64() * 1_000.0 * f64::from(loading);
        let end = start + Duration::from_secs_f64(ms / self.spec.time_scale / 1_000.0);
        // A step that a stall falls into lasts as much longer.
        self.spec.stalls.iter().fold(end, |end, stall| {
            if stall.from < end && stall.until > start {
                end.saturating_add(stall.until.saturating_sub(stall.from.max(start))).min(Window::FOREVER)
            } else {
                end
            }
        })
    }

    fn end_step(&mut self, end: Duration, events: &mut Vec<Event>) {
        for sequence in &mut self.running {
            let resumed = sequence.generated > 0;
            if sequence.decodes() {
                sequence.kv += 1;
                if sequence.kv.is_multiple_of(BLOCK_TOKENS) {
                    let full = (sequence.kv / BLOCK_TOKENS) as usize;
                    name_blocks(&mut self.cache, sequence, full - 1, full);
                }
            } else {
                sequence.kv += std::mem::take(&mut sequence.chunk);
                if !sequence.decodes() {
                    continue; // more of its prompt is left for the next step
                }
                if !resumed {
                    self.counters.prompt_tokens += u64::from(sequence.prompt);
                }
            }
            sequence.generated += 1;
            self.counters.generation_tokens += 1;
            let kind = if resumed { &mut self.latencies.inter_token } else { &mut self.latencies.ttft };
            kind.record(end.saturating_sub(sequence.last_token));
            sequence.last_token = end;
            if !sequence.cancelled {
                let last = sequence.generated == sequence.out;
                events.push(Event::Token { key: sequence.key, at: end, last });
            }
        }
        self.drop_finished();
    }

    fn drop_cancelled(&mut self) {
        for at in (0..self.running.len()).rev() {
            if self.running[at].cancelled {
                let mut gone = self.running.remove(at);
                self.release(&mut gone);
                self.count_cancelled(&gone);
            }
        }
    }

    fn drop_finished(&mut self) {
        for mut done in
            self.running.extract_if(.., |sequence| sequence.generated >= sequence.out && !sequence.cancelled)
        {
            let kind =
                if done.work.stops { &mut self.counters.stopped } else { &mut self.counters.exhausted };
            *kind += 1;
            self.latencies.end_to_end.record(done.last_token.saturating_sub(done.arrived));
            release(&mut self.cache, &mut self.slots, &mut done);
        }
    }

    fn release(&mut self, sequence: &mut Sequence) {
        release(&mut self.cache, &mut self.slots, sequence);
    }

    fn count_cancelled(&mut self, gone: &Sequence) {
        self.counters.cancelled += 1;
        self.counters.cancelled_tokens += u64::from(gone.out.saturating_sub(gone.generated));
    }

    /// Gives a block to each decode whose last one is full, preempting from the end of the batch until that
    /// many can be had. Says whether it had to.
    fn grow_decodes(&mut self) -> bool {
        let mut preempted = false;
        loop {
            let need = self.running.iter().filter(|sequence| sequence.grows()).count() as u32;
            if need <= self.cache.available() {
                for sequence in self.running.iter_mut().filter(|sequence| sequence.grows()) {
                    sequence.blocks.push(self.cache.allocate());
                }
                return preempted;
            }
            let mut last = self.running.pop().expect("somebody needs the blocks");
            self.release(&mut last);
            last.kv = 0;
            last.chunk = 0;
            self.waiting.push_front(last);
            self.counters.preemptions += 1;
            preempted = true;
        }
    }

    /// Admits from the head of the queue while budget and blocks last. Returns how many adapters that loads.
    fn admit(&mut self, mut left: u32, load: &mut StepLoad, events: &mut Vec<Event>) -> u32 {
        let mut loading = 0;
        while left > 0 && self.running.len() < SEQUENCES_MAX && !self.waiting.is_empty() {
            let Some(hits) = self.blocks_for_head() else { break };
            match self.adapter_for_head() {
                Ready::Never => break,
                Ready::Loaded => loading += 1,
                Ready::Resident => {}
            }
            let mut sequence = self.waiting.pop_front().expect("just seen");
            self.place(&mut sequence, hits);
            if !std::mem::replace(&mut sequence.seen, true) {
                self.counters.prefix_queries += u64::from(sequence.prompt);
                self.counters.prefix_hits += u64::from(sequence.kv);
                events.push(Event::Admitted { key: sequence.key, cached: sequence.kv });
            }
            left -= schedule_chunk(&mut sequence, left, load);
            let unfinished = sequence.kv + sequence.chunk < sequence.goal;
            self.running.push(sequence);
            if unfinished {
                break;
            }
        }
        loading
    }

    /// The cached blocks of the first request in the queue, if what it needs beyond them can be had.
    fn blocks_for_head(&mut self) -> Option<Vec<BlockId>> {
        let head = self.waiting.front_mut()?;
        head.goal = head.prompt + head.generated;
        // The last token is always computed: its logits are what the first new token is drawn from.
        let most = ((head.goal - 1) / BLOCK_TOKENS) as usize;
        let hits: Vec<_> = self.cache.find(head.work.prefix.hashes(most)).collect();
        let need = head.goal.div_ceil(BLOCK_TOKENS) - hits.len() as u32;
        (need <= self.cache.available() - self.cache.unreferenced(&hits)).then_some(hits)
    }

    fn adapter_for_head(&mut self) -> Ready {
        let Some(adapter) = self.waiting.front().and_then(|head| head.work.adapter) else {
            return Ready::Resident;
        };
        let running = &self.running;
        self.slots.ready(adapter, |other| running.iter().any(|sequence| sequence.work.adapter == Some(other)))
    }

    /// Gives a request its blocks: those that hold its prompt already, and new ones for the rest.
    fn place(&mut self, sequence: &mut Sequence, hits: Vec<BlockId>) {
        let found = hits.len();
        self.cache.reference(&hits);
        sequence.blocks = hits;
        for _ in found..sequence.goal.div_ceil(BLOCK_TOKENS) as usize {
            sequence.blocks.push(self.cache.allocate());
        }
        sequence.kv = found as u32 * BLOCK_TOKENS;
        // Named before they are computed: whoever finds them runs in this step or a later one.
        name_blocks(&mut self.cache, sequence, found, (sequence.goal / BLOCK_TOKENS) as usize);
    }
}

/// Names the blocks `from..to` of a request by their text.
fn name_blocks(cache: &mut Cache, sequence: &mut Sequence, from: usize, to: usize) {
    let hashes = sequence.work.prefix.hashes(to);
    for (block, hash) in sequence.blocks.iter().zip(hashes).skip(from) {
        cache.name(*block, *hash);
    }
}

fn release(cache: &mut Cache, slots: &mut Slots, sequence: &mut Sequence) {
    cache.release(&mut sequence.blocks, (sequence.kv / BLOCK_TOKENS) as usize);
    if let Some(adapter) = sequence.work.adapter {
        slots.touch(adapter);
    }
}

/// Plans as much of a prefill as `left` allows, and returns how much.
fn schedule_chunk(sequence: &mut Sequence, left: u32, load: &mut StepLoad) -> u32 {
    sequence.chunk = (sequence.goal - sequence.kv).min(left);
    if sequence.chunk > 0 {
        load.chunk(sequence.chunk, sequence.kv);
    }
    sequence.chunk
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Preset;

    /// A request whose prompt is like no other.
    fn work(prompt: u64, out: u32) -> Work {
        Work { prompt, limit: out, out, ..Work::default() }
    }

    /// A request whose prompt is made of blocks of 512 tokens with these names.
    fn named(prompt: u64, out: u32, ids: &[u64]) -> Work {
        Work { prefix: Prefix::of_ids(ids, 512, prompt), ..work(prompt, out) }
    }

    fn engine(model: StepModel) -> Engine {
        Engine::new(EngineSpec::new(model))
    }

    /// Runs requests of (arrival ms, prompt, out) to their ends; first and last token of each, in ms.
    fn run(spec: EngineSpec, asks: &[(u64, u64, u32)]) -> (Vec<(f64, f64)>, Engine) {
        let asks: Vec<_> = asks.iter().map(|&(at, prompt, out)| (at, work(prompt, out))).collect();
        let (times, _, engine) = run_works(spec, &asks);
        (times, engine)
    }

    /// The same for any requests; also how many tokens of each were cached.
    fn run_works(spec: EngineSpec, asks: &[(u64, Work)]) -> (Vec<(f64, f64)>, Vec<u32>, Engine) {
        let mut engine = Engine::new(spec);
        let mut events = Vec::new();
        for (index, (arrival, work)) in asks.iter().enumerate() {
            let now = Duration::from_millis(*arrival);
            engine.advance(now, &mut events);
            engine.submit(now, Key(index as u64), work.clone(), &mut events).expect("fits");
        }
        while let Some(next) = engine.next_wake() {
            engine.advance(next, &mut events);
        }
        let times = |index: usize| {
            let mut times = events.iter().filter_map(move |event| match event {
                Event::Token { key, at, .. } if key.0 == index as u64 => Some(at.as_secs_f64() * 1_000.0),
                _ => None,
            });
            let first = times.next().expect("everyone gets a token");
            (first, times.next_back().unwrap_or(first))
        };
        let mut cached = vec![0; asks.len()];
        for event in &events {
            if let Event::Admitted { key, cached: tokens } = event {
                cached[key.0 as usize] = *tokens;
            }
        }
        ((0..asks.len()).map(times).collect(), cached, engine)
    }

    fn assert_times(got: &[(f64, f64)], want: &[(f64, f64)]) {
        for (index, (got, want)) in got.iter().zip(want).enumerate() {
            assert!(
                (got.0 - want.0).abs() < 0.001 && (got.1 - want.1).abs() < 0.001,
                "request {index}: got {got:?}, want {want:?}"
            );
        }
    }

    #[test]
    fn a_mixed_schedule_takes_the_times_worked_out_by_hand() {
        // The first golden schedule: the last two prompts share their first 1,024 tokens.
        let asks = [
            (0, work(3_000, 5)),
            (10, work(20_000, 3)),
            (20, work(600, 8)),
            (500, work(16, 1)),
            (900, named(1_100, 4, &[1, 2, 3])),
            (1_200, named(1_500, 4, &[1, 2, 4])),
        ];
        let (times, cached, engine) = run_works(EngineSpec::new(Preset::H100.model()), &asks);
        let want = [
            (77.114, 787.741),
            (778.829, 796.418),
            (778.829, 832.174),
            (778.829, 778.829),
            (929.174, 950.741),
            (1_215.493, 1_237.151),
        ];
        assert_times(&times, &want);
        assert_eq!(cached, [0, 0, 0, 0, 0, 1_024]);
        assert_eq!(engine.counters().steps, 19);
        assert_eq!(engine.counters().prefix_hits, 1_024);
    }

    #[test]
    fn a_cache_too_small_preempts_the_last_admitted_and_computes_it_again() {
        // The second golden schedule.
        let model = StepModel { kv_tokens: 1_024, ..Preset::H100.model() };
        let spec = EngineSpec { prefix_cache: false, ..EngineSpec::new(model) };
        let (times, engine) = run(spec, &[(0, 300, 100); 4]);
        let want = [(11.389, 732.238), (29.011, 744.404), (29.011, 1_192.876), (755.842, 1_463.975)];
        assert_times(&times, &want);
        assert_eq!(engine.counters().preemptions, 1);
        assert_eq!(engine.counters().steps, 201);
    }

    #[test]
    fn an_exact_repetition_computes_its_last_block_only() {
        let asks = [(0, named(1_024, 1, &[1, 2])), (500, named(1_024, 1, &[1, 2]))];
        let (times, cached, _) = run_works(EngineSpec::new(Preset::H100.model()), &asks);
        assert_eq!(cached, [0, 1_008]);
        let mut chunk = StepLoad::default();
        chunk.chunk(16, 1_008);
        let want = 500.0 + Preset::H100.model().duration_ms(&chunk);
        assert!((times[1].0 - want).abs() < 0.001, "{times:?} {want}");
    }

    #[test]
    fn what_an_answer_wrote_is_found_when_it_is_sent_back() {
        let question = "what is a prefix cache good for?".repeat(8); // 64 tokens
        let mut first = crate::text::Prompt::default();
        first.push(&question);
        let answer = first.seed().text(100);
        let mut second = first.clone();
        second.push(&answer);
        second.push("go on");
        let as_work = |prompt: crate::text::Prompt, out| Work {
            prompt: prompt.tokens(),
            limit: out,
            out,
            prefix: prompt.prefix(),
            ..Work::default()
        };
        let asks = [(0, as_work(first, 100)), (5_000, as_work(second, 1))];
        let (_, cached, _) = run_works(EngineSpec::new(Preset::H100.model()), &asks);
        // 163 tokens were written: the last one generated never entered the cache.
        assert_eq!(cached, [0, 160]);
    }

    #[test]
    fn a_preempted_request_finds_its_own_blocks_again_as_far_as_nobody_took_them() {
        let model = StepModel { kv_tokens: 1_024, ..Preset::H100.model() };
        let asks: Vec<_> = (0..4).map(|n| (0, named(300, 100, &[n]))).collect();
        let (times, _, engine) = run_works(EngineSpec::new(model), &asks);
        assert_eq!(engine.counters().preemptions, 1);
        assert_eq!(engine.counters().prefix_hits, 0, "only first admissions count");
        let (without, _) =
            run(EngineSpec { prefix_cache: false, ..EngineSpec::new(model) }, &[(0, 300, 100); 4]);
        assert!(times[2].1 <= without[2].1, "{times:?} {without:?}");
    }

    #[test]
    fn loading_an_adapter_lengthens_its_step_and_waits_for_an_idle_slot() {
        let spec = EngineSpec { lora_slots: 1, ..EngineSpec::new(Preset::H100.model()) };
        let with = |adapter, out| Work { adapter: Some(Adapter(adapter)), ..work(64, out) };
        let asks = [(0, with(1, 10)), (1, with(2, 1)), (2, work(64, 1)), (5_000, with(2, 1))];
        let (times, _, engine) = run_works(spec, &asks);
        assert!(times[0].0 > 300.0, "the first loads");
        assert!(times[1].0 > times[0].1 + 300.0, "the second waits until the slot is idle, then loads");
        assert!(times[2].0 >= times[1].0, "first come, first served");
        assert!(times[3].0 < 5_020.0, "resident by now");
        assert_eq!(engine.adapters().2, 2);
    }

    #[test]
    fn stalls_lengthen_the_steps_they_fall_into_and_slowdowns_those_that_begin_within() {
        let window =
            |from, until| Window { from: Duration::from_millis(from), until: Duration::from_millis(until) };
        let base = EngineSpec::new(Preset::H100.model());
        let (healthy, _) = run(base.clone(), &[(0, 16, 100)]);
        let stalled = EngineSpec { stalls: vec![window(100, 1_100)], ..base.clone() };
        let (late, _) = run(stalled, &[(0, 16, 100)]);
        assert!((late[0].1 - healthy[0].1 - 1_000.0).abs() < 0.001, "{late:?} {healthy:?}");
        let slowed = EngineSpec { slowdowns: vec![(window(0, 10_000), 3.0)], ..base.clone() };
        let (slow, _) = run(slowed, &[(0, 16, 100)]);
        assert!((slow[0].1 / healthy[0].1 - 3.0).abs() < 0.001);
        let mut stuck = Engine::new(EngineSpec { stuck_after: Some(1), ..base });
        let mut events = Vec::new();
        stuck.submit(Duration::ZERO, Key(1), work(16, 1), &mut events).expect("fits");
        assert!(stuck.next_wake().is_some());
        stuck.advance(Duration::from_secs(1), &mut events);
        stuck.submit(Duration::from_secs(1), Key(2), work(16, 1), &mut events).expect("fits");
        stuck.advance(Duration::from_hours(9), &mut events);
        assert_eq!((stuck.next_wake(), stuck.running()), (None, 1));
    }

    #[test]
    fn every_request_gets_exactly_its_tokens_and_leaves_nothing_behind() {
        let asks: Vec<_> =
            (0..600).map(|n| (n * 3, 1 + (n * 7_919) % 9_000, 1 + (n as u32 * 31) % 90)).collect();
        let (_, engine) = run(EngineSpec::new(Preset::A100.model()), &asks);
        let counters = engine.counters();
        assert_eq!(counters.generation_tokens, asks.iter().map(|ask| u64::from(ask.2)).sum::<u64>());
        assert_eq!(counters.prompt_tokens, asks.iter().map(|ask| ask.1).sum::<u64>());
        assert_eq!(counters.exhausted, 600);
        assert_eq!((engine.running(), engine.waiting(), engine.kv_use()), (0, 0, 0.0));
    }

    #[test]
    fn a_cancelled_request_frees_its_place_at_the_next_step() {
        let mut engine = engine(Preset::H100.model());
        let mut events = Vec::new();
        for key in 0..=SEQUENCES_MAX as u64 {
            engine.submit(Duration::ZERO, Key(key), work(16, 10_000 / 16), &mut events).expect("fits");
        }
        while engine.running() < SEQUENCES_MAX {
            engine.advance(engine.next_wake().expect("busy"), &mut events);
        }
        assert_eq!(engine.waiting(), 1);
        engine.cancel(Key(3));
        events.clear();
        engine.advance(engine.next_wake().expect("busy"), &mut events);
        assert_eq!((engine.running(), engine.waiting()), (SEQUENCES_MAX, 0));
        assert!(events.contains(&Event::Admitted { key: Key(SEQUENCES_MAX as u64), cached: 0 }));
        assert!(!events.iter().any(|event| matches!(event, Event::Token { key: Key(3), .. })));
        for key in 0..=SEQUENCES_MAX as u64 {
            engine.cancel(Key(key));
        }
        engine.advance(engine.next_wake().expect("busy"), &mut events);
        assert_eq!((engine.running(), engine.kv_use(), engine.next_wake()), (0, 0.0, None));
        assert_eq!(engine.counters().cancelled, SEQUENCES_MAX as u64 + 1);
    }

    #[test]
    fn the_batch_never_exceeds_its_bound() {
        let mut engine = engine(Preset::H100.model());
        let mut events = Vec::new();
        for key in 0..2_000 {
            engine.submit(Duration::ZERO, Key(key), work(20, 30), &mut events).expect("fits");
        }
        while let Some(next) = engine.next_wake() {
            assert!(engine.running() <= SEQUENCES_MAX);
            engine.advance(next, &mut events);
        }
        assert_eq!(engine.counters().exhausted, 2_000);
    }

    #[test]
    fn time_scale_divides_every_time() {
        let at = |time_scale| {
            let mut engine = Engine::new(EngineSpec { time_scale, ..EngineSpec::new(Preset::H100.model()) });
            engine.submit(Duration::ZERO, Key(0), work(2_048, 1), &mut Vec::new()).expect("fits");
            engine.next_wake().expect("busy").as_secs_f64()
        };
        assert!((at(1.0) / at(4.0) - 4.0).abs() < 1e-6);
    }

    #[test]
    fn what_can_never_fit_is_refused_at_once() {
        let mut engine = engine(Preset::H100.model());
        let refused = engine.submit(Duration::ZERO, Key(0), work(425_999, 2), &mut Vec::new());
        assert_eq!(refused, Err(Refused::TooLong { capacity: 426_000, asked: 426_001 }));
        assert!(engine.submit(Duration::ZERO, Key(0), work(425_999, 1), &mut Vec::new()).is_ok());
    }
}
