//! One simulated engine: continuous batching in steps, first come, first served.
//!
//! Owns: who waits, who runs, and how many KV blocks each holds. Decodes go before prefill; a prompt is
//! prefilled in chunks of what the step has left; at most one prefill is unfinished at a time; when blocks run
//! out, the request admitted last is preempted and computed again later.
//! Must not: read a clock, know sockets or text. Time is handed in, as the time since the fleet started.
//! Not here yet: the prefix cache. Blocks are counted, not identified, so no prompt token is ever a hit.
//! Read next: `step.rs` for how long a step takes, `server.rs` for who calls this.

use std::{collections::VecDeque, time::Duration};

use crate::{
    bounds::{BLOCK_TOKENS, SEQUENCES_MAX, STEP_TOKENS_MAX, WAITING_MAX},
    step::{StepLoad, StepModel},
};

/// The caller's name for a request; the engine only hands it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

/// What a request costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Tokens of its prompt.
    pub prompt: u64,
    /// Tokens it was allowed to generate: decides whether it can ever fit.
    pub limit: u32,
    /// Tokens it will generate, at most the limit.
    pub out: u32,
}

/// What happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It left the queue; its prompt is being computed. Not repeated after a preemption.
    Admitted(Key),
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
    /// Requests that ran to their end.
    pub finished: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Requests whose client left.
    pub cancelled: u64,
    /// Tokens those did not get to generate.
    pub cancelled_tokens: u64,
    /// Steps begun.
    pub steps: u64,
}

/// One engine.
#[derive(Debug)]
pub struct Engine {
    model: StepModel,
    time_scale: f64,
    waiting: VecDeque<Sequence>,
    /// In order of admission.
    running: Vec<Sequence>,
    blocks_free: u32,
    step_end: Option<Duration>,
    counters: Counters,
}

#[derive(Debug)]
struct Sequence {
    key: Key,
    prompt: u32,
    /// Tokens to generate, at least one.
    out: u32,
    generated: u32,
    /// Tokens in the cache.
    kv: u32,
    blocks: u32,
    /// Tokens the prefill has to reach: all that was known at admission.
    goal: u32,
    /// Prefill tokens scheduled in the step under way.
    chunk: u32,
    seen: bool,
    cancelled: bool,
}

impl Sequence {
    fn decodes(&self) -> bool {
        self.kv >= self.goal
    }
}

impl Engine {
    /// An idle engine. All times are divided by `time_scale`.
    pub fn new(model: StepModel, time_scale: f64) -> Self {
        Self {
            model,
            time_scale,
            waiting: VecDeque::new(),
            running: Vec::new(),
            blocks_free: model.kv_tokens / BLOCK_TOKENS,
            step_end: None,
            counters: Counters::default(),
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
        if self.waiting.len() >= WAITING_MAX {
            return Err(Refused::QueueFull);
        }
        let prompt = u32::try_from(work.prompt).expect("less than the capacity").max(1);
        self.waiting.push_back(Sequence {
            key,
            prompt,
            out: work.out.max(1),
            generated: 0,
            kv: 0,
            blocks: 0,
            goal: 0,
            chunk: 0,
            seen: false,
            cancelled: false,
        });
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

    /// When the step under way ends; `None` while the engine sleeps.
    pub fn next_wake(&self) -> Option<Duration> {
        self.step_end
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

    /// Blocks in use, as a fraction of all.
    pub fn kv_use(&self) -> f64 {
        f64::from(self.blocks_total() - self.blocks_free) / f64::from(self.blocks_total().max(1))
    }

    /// Blocks of the KV cache.
    pub fn blocks_total(&self) -> u32 {
        self.model.kv_tokens / BLOCK_TOKENS
    }

    /// What was counted since the start.
    pub fn counters(&self) -> Counters {
        self.counters
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
        if !preempted && !unfinished {
            self.admit(left, &mut load, events);
        }
        self.step_end = (load.tokens() > 0).then(|| {
            self.counters.steps += 1;
            start + Duration::from_secs_f64(self.model.duration_ms(&load) / self.time_scale / 1_000.0)
        });
    }

    fn end_step(&mut self, end: Duration, events: &mut Vec<Event>) {
        for sequence in &mut self.running {
            let resumed = sequence.generated > 0;
            if sequence.decodes() {
                sequence.kv += 1;
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
                let gone = self.running.remove(at);
                self.blocks_free += gone.blocks;
                self.count_cancelled(&gone);
            }
        }
    }

    fn drop_finished(&mut self) {
        let (free, counters) = (&mut self.blocks_free, &mut self.counters);
        self.running.retain(|sequence| {
            let stays = sequence.generated < sequence.out || sequence.cancelled;
            if !stays {
                *free += sequence.blocks;
                counters.finished += 1;
            }
            stays
        });
    }

    fn count_cancelled(&mut self, gone: &Sequence) {
        self.counters.cancelled += 1;
        self.counters.cancelled_tokens += u64::from(gone.out.saturating_sub(gone.generated));
    }

    /// Gives a block to each decode whose last one is full, preempting from the end of the batch until that
    /// many are free. Says whether it had to.
    fn grow_decodes(&mut self) -> bool {
        let grows = |sequence: &Sequence| sequence.decodes() && sequence.kv.is_multiple_of(BLOCK_TOKENS);
        let mut preempted = false;
        loop {
            let need = self.running.iter().filter(|sequence| grows(sequence)).count() as u32;
            if need <= self.blocks_free {
                self.blocks_free -= need;
                self.running.iter_mut().filter(|sequence| grows(sequence)).for_each(|s| s.blocks += 1);
                return preempted;
            }
            let mut last = self.running.pop().expect("somebody needs the blocks");
            self.blocks_free += std::mem::take(&mut last.blocks);
            last.kv = 0;
            self.waiting.push_front(last);
            self.counters.preemptions += 1;
            preempted = true;
        }
    }

    fn admit(&mut self, mut left: u32, load: &mut StepLoad, events: &mut Vec<Event>) {
        while left > 0 && self.running.len() < SEQUENCES_MAX {
            let Some(head) = self.waiting.front() else { return };
            let goal = head.prompt + head.generated;
            let need = goal.div_ceil(BLOCK_TOKENS);
            if need > self.blocks_free {
                return;
            }
            let mut sequence = self.waiting.pop_front().expect("just seen");
            self.blocks_free -= need;
            sequence.blocks = need;
            sequence.goal = goal;
            if !std::mem::replace(&mut sequence.seen, true) {
                self.counters.prefix_queries += u64::from(sequence.prompt);
                events.push(Event::Admitted(sequence.key));
            }
            left -= schedule_chunk(&mut sequence, left, load);
            let unfinished = sequence.chunk < sequence.goal;
            self.running.push(sequence);
            if unfinished {
                return;
            }
        }
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

    fn work(prompt: u64, out: u32) -> Work {
        Work { prompt, limit: out, out }
    }

    /// Runs requests of (arrival ms, prompt, out) to their ends; first and last token of each, in ms.
    fn run(model: StepModel, asks: &[(u64, u64, u32)]) -> (Vec<(f64, f64)>, Engine) {
        let mut engine = Engine::new(model, 1.0);
        let mut events = Vec::new();
        for (index, &(arrival, prompt, out)) in asks.iter().enumerate() {
            let now = Duration::from_millis(arrival);
            engine.advance(now, &mut events);
            engine.submit(now, Key(index as u64), work(prompt, out), &mut events).expect("fits");
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
        ((0..asks.len()).map(times).collect(), engine)
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
        // The first golden schedule without its last row, which needs the prefix cache.
        let asks = [(0, 3_000, 5), (10, 20_000, 3), (20, 600, 8), (500, 16, 1), (900, 1_100, 4)];
        let (times, _) = run(Preset::H100.model(), &asks);
        let want = [
            (77.114, 787.741),
            (778.829, 796.418),
            (778.829, 832.174),
            (778.829, 778.829),
            (929.174, 950.741),
        ];
        assert_times(&times, &want);
    }

    #[test]
    fn a_cache_too_small_preempts_the_last_admitted_and_computes_it_again() {
        // The second golden schedule.
        let model = StepModel { kv_tokens: 1_024, ..Preset::H100.model() };
        let (times, engine) = run(model, &[(0, 300, 100); 4]);
        let want = [(11.389, 732.238), (29.011, 744.404), (29.011, 1_192.876), (755.842, 1_463.975)];
        assert_times(&times, &want);
        assert_eq!(engine.counters().preemptions, 1);
        assert_eq!(engine.counters().steps, 201);
    }

    #[test]
    fn every_request_gets_exactly_its_tokens_and_leaves_nothing_behind() {
        let asks: Vec<_> =
            (0..600).map(|n| (n * 3, 1 + (n * 7_919) % 9_000, 1 + (n as u32 * 31) % 90)).collect();
        let (_, engine) = run(Preset::A100.model(), &asks);
        let counters = engine.counters();
        assert_eq!(counters.generation_tokens, asks.iter().map(|ask| u64::from(ask.2)).sum::<u64>());
        assert_eq!(counters.prompt_tokens, asks.iter().map(|ask| ask.1).sum::<u64>());
        assert_eq!(counters.finished, 600);
        assert_eq!((engine.running(), engine.waiting(), engine.kv_use()), (0, 0, 0.0));
    }

    #[test]
    fn a_cancelled_request_frees_its_place_at_the_next_step() {
        let mut engine = Engine::new(Preset::H100.model(), 1.0);
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
        assert!(events.contains(&Event::Admitted(Key(SEQUENCES_MAX as u64))));
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
        let mut engine = Engine::new(Preset::H100.model(), 1.0);
        let mut events = Vec::new();
        for key in 0..2_000 {
            engine.submit(Duration::ZERO, Key(key), work(20, 30), &mut events).expect("fits");
        }
        while let Some(next) = engine.next_wake() {
            assert!(engine.running() <= SEQUENCES_MAX);
            engine.advance(next, &mut events);
        }
        assert_eq!(engine.counters().finished, 2_000);
    }

    #[test]
    fn time_scale_divides_every_time() {
        let at = |time_scale| {
            let mut engine = Engine::new(Preset::H100.model(), time_scale);
            engine.submit(Duration::ZERO, Key(0), work(2_048, 1), &mut Vec::new()).expect("fits");
            engine.next_wake().expect("busy").as_secs_f64()
        };
        assert!((at(1.0) / at(4.0) - 4.0).abs() < 1e-6);
    }

    #[test]
    fn what_can_never_fit_is_refused_at_once() {
        let mut engine = Engine::new(Preset::H100.model(), 1.0);
        let refused = engine.submit(Duration::ZERO, Key(0), work(425_999, 2), &mut Vec::new());
        assert_eq!(refused, Err(Refused::TooLong { capacity: 426_000, asked: 426_001 }));
        assert!(engine.submit(Duration::ZERO, Key(0), work(425_999, 1), &mut Vec::new()).is_ok());
    }
}
