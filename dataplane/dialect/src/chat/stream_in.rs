//! A stream of Chat Completions into events.
//!
//! A chunk may hold several choices, and a delta text and calls at once: all members of a delta are read, in this order:
//! thought, text, refusal, calls. Empty strings, empty arrays and null say nothing.
//! Owns: which block is open, and which call a fragment belongs to.
//! Must not: take the end of the body for the end of the answer.
//! Read next: `stream_out.rs`.

use super::answer_in::mark;
use super::words;
use crate::bounds::{ARGUMENT_BYTES_MAX, STREAM_BLOCKS_MAX, STREAM_CHOICES_MAX};
use crate::errors::Kind;
use crate::json::{Text, Value};
use crate::model::{Block, BlockKind, Event, Failure, Realm, Sink, Start, Stop, Usage, derived_call_id};
use crate::stream::{ReadStream, Whole};

/// How far a stream has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// No choice has said anything.
    #[default]
    Fresh,
    /// One has, and not all that have are finished.
    Open,
    /// All that have said something are finished.
    Finished,
    /// `End` was handed out.
    Ended,
    /// `Error` was.
    Failed,
}

/// What moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    /// A choice that is not finished says something.
    Choice,
    /// The last open choice is finished.
    AllFinished,
    /// `[DONE]`
    Done,
    /// The body ended in good order.
    CleanEnd,
    /// The body broke off.
    BrokenEnd,
    /// An error, from the upstream or about it.
    Failure,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Fresh, Self::Open, Self::Finished, Self::Ended, Self::Failed];
}

impl On {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Choice, Self::AllFinished, Self::Done, Self::CleanEnd, Self::BrokenEnd, Self::Failure];
}

/// The next state; `None`: it is over, whatever still comes.
pub const fn step(from: State, on: On) -> Option<State> {
    use {
        On::{AllFinished, BrokenEnd, Choice, CleanEnd, Done, Failure},
        State::{Ended, Failed, Finished, Fresh, Open},
    };
    Some(match (from, on) {
        (Fresh | Open | Finished, Choice) => Open,
        (Fresh | Open | Finished, AllFinished) => Finished,
        (Open | Finished, Done) => Ended, // `[DONE]` is an end even where an engine gave no reason
        (Finished, CleanEnd) => Ended,    // many engines never send `[DONE]`
        (Fresh, Done | CleanEnd) | (Open, CleanEnd) => Failed,
        (Fresh | Open | Finished, BrokenEnd | Failure) => Failed,
        (Ended | Failed, Choice | AllFinished | Done | CleanEnd | BrokenEnd | Failure) => return None,
    })
}

/// Reads one stream.
#[derive(Debug)]
pub struct StreamIn {
    realm: Realm,
    state: State,
    started: bool,
    id: String,
    choices: Vec<Choice>,
    blocks: usize,
    /// Counts that came before the first choice.
    early: Option<Usage>,
}

/// One of the answers.
#[derive(Debug, Default)]
struct Choice {
    index: u32,
    blocks: u32,
    /// The open block that is no call.
    open: Option<(u32, Flow)>,
    calls: Vec<Call>,
    refused: bool,
    finished: bool,
}

/// What runs as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Thought,
    Text,
    Refusal,
}

#[derive(Debug, Default)]
struct Call {
    index: u64,
    id: String,
    /// Its block, once its name is known.
    block: Option<u32>,
    custom: bool,
    /// Arguments that came before the name.
    early: String,
    whole: Whole,
    ended: bool,
}

impl StreamIn {
    /// At the beginning of a stream; `realm` is whose thoughts these are.
    pub fn new(realm: Realm) -> Self {
        Self {
            realm,
            state: State::Fresh,
            started: false,
            id: String::new(),
            choices: Vec::new(),
            blocks: 0,
            early: None,
        }
    }

    /// Whose thoughts these are.
    pub const fn realm(&self) -> Realm {
        self.realm
    }

    /// How far it has come.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Makes the step, and hands out what it means; `false`: it is over.
    fn go(&mut self, on: On, failure: impl FnOnce() -> Failure<'static>, sink: &mut impl Sink) -> bool {
        let Some(next) = step(self.state, on) else { return false };
        self.state = next;
        match next {
            State::Failed => sink.take(Event::Error(failure())),
            State::Ended => {
                self.finish_rest(sink);
                sink.take(Event::End);
            }
            State::Fresh | State::Open | State::Finished => {}
        }
        true
    }

    fn fail(&mut self, failure: Failure<'static>, sink: &mut impl Sink) {
        self.go(On::Failure, || failure, sink);
    }

    fn chunk(&mut self, chunk: Value<'_>, sink: &mut impl Sink) {
        let mut start = Start::default();
        let (mut choices, mut usage) = (None, None);
        for entry in chunk.fields().into_iter().flatten() {
            match &*entry.plain() {
                "id" => start.id = entry.value.text().unwrap_or_default(),
                "created" => start.created = entry.value.integer(),
                "model" => start.model = entry.value.text().unwrap_or_default(),
                "system_fingerprint" => start.fingerprint = entry.value.text(),
                "choices" => choices = entry.value.elements(),
                "usage" => usage = words::usage(entry.value),
                "error" | "object" => {
                    if let Some(failure) = crate::failure_in::of_body(chunk, None) {
                        self.fail(failure.into_owned(), sink);
                        return;
                    }
                }
                _ => {}
            }
        }
        let choices: Option<_> = choices.filter(|choices| choices.clone().next().is_some());
        if choices.is_some() && !self.started {
            self.started = true;
            self.id = start.id.plain().into_owned();
            sink.take(Event::Start(start));
        }
        for choice in choices.into_iter().flatten() {
            if !self.choice(choice, sink) {
                return;
            }
        }
        match usage {
            Some(usage) if self.started => {
                sink.take(Event::Usage(self.early.take().map_or(usage, |mut early| {
                    early.update(&usage);
                    early
                })));
            }
            Some(usage) => self.early = Some(usage),
            None => {}
        }
    }

    /// One choice of a chunk; `false`: the stream is over.
    fn choice(&mut self, value: Value<'_>, sink: &mut impl Sink) -> bool {
        let index = value.get_integer("index").unwrap_or(0) as u32;
        let Some(at) = self.choice_at(index) else {
            self.fail(Failure::of(Kind::BadGateway, "the upstream's stream has too many choices"), sink);
            return false;
        };
        if self.choices[at].finished {
            return true; // nothing that comes after a reason can be carried
        }
        self.go(On::Choice, Failure::truncated, sink);
        if let Some(delta) = value.get("delta").or_else(|| value.get("message"))
            && let Err(what) = self.delta(at, delta, value, sink)
        {
            self.fail(Failure::of(Kind::BadGateway, what), sink);
            return false;
        }
        let Some(reason) = value.get_text("finish_reason").filter(|reason| !reason.is_empty()) else {
            return true;
        };
        if words::is_failure(&reason) {
            self.fail(Failure::of(Kind::BadGateway, "the upstream aborted its answer"), sink);
            return false;
        }
        let stop = words::stop(&reason, value);
        if let Err(what) = self.choices[at].finish(stop, self.realm, sink) {
            self.fail(Failure::of(Kind::BadGateway, what), sink);
            return false;
        }
        if self.choices.iter().all(|choice| choice.finished) {
            self.go(On::AllFinished, Failure::truncated, sink);
        }
        true
    }

    fn choice_at(&mut self, index: u32) -> Option<usize> {
        if let Some(at) = self.choices.iter().position(|choice| choice.index == index) {
            return Some(at);
        }
        if self.choices.len() == STREAM_CHOICES_MAX {
            return None;
        }
        self.choices.push(Choice { index, ..Choice::default() });
        Some(self.choices.len() - 1)
    }

    fn delta(
        &mut self,
        at: usize,
        delta: Value<'_>,
        outer: Value<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), &'static str> {
        let realm = self.realm;
        let choice = &mut self.choices[at];
        let before = choice.blocks;
        let thought = ["reasoning", "reasoning_content"].iter().find_map(|key| delta.get_text(key));
        choice.text(Flow::Thought, thought, realm, sink);
        match delta.get("content") {
            Some(content) if content.text().is_some() => choice.text(Flow::Text, content.text(), realm, sink),
            Some(content) => choice.content_parts(content, realm, sink),
            None => {}
        }
        choice.text(Flow::Refusal, delta.get_text("refusal"), realm, sink);
        choice.citations(delta, sink);
        choice.logprobs(outer, sink);
        let calls = delta.get("tool_calls").and_then(|calls| calls.elements()).into_iter().flatten();
        for call in calls.chain(delta.get("function_call")) {
            choice.call(call, &self.id, realm, sink)?;
        }
        self.blocks += (choice.blocks - before) as usize;
        if self.blocks > STREAM_BLOCKS_MAX {
            return Err("the upstream's stream has too many blocks");
        }
        Ok(())
    }

    /// `[DONE]` came and a choice was given no reason.
    fn finish_rest(&mut self, sink: &mut impl Sink) {
        for choice in self.choices.iter_mut().filter(|choice| !choice.finished) {
            let _ = choice.finish(Stop::EndTurn, self.realm, sink);
        }
    }
}

impl ReadStream for StreamIn {
    fn data(&mut self, _name: &str, data: Value<'_>, sink: &mut impl Sink) {
        if !self.is_over() {
            self.chunk(data, sink);
        }
    }

    fn done(&mut self, sink: &mut impl Sink) {
        self.go(On::Done, || Failure::of(Kind::BadGateway, "the upstream's stream holds no answer"), sink);
    }

    fn ended(&mut self, clean: bool, sink: &mut impl Sink) {
        self.go(if clean { On::CleanEnd } else { On::BrokenEnd }, Failure::truncated, sink);
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Ended | State::Failed)
    }

    fn broken(&mut self, what: &'static str, sink: &mut impl Sink) {
        self.fail(Failure::of(Kind::UpstreamTruncated, what), sink);
    }
}

impl Choice {
    fn block(&self, index: u32) -> Block {
        Block { choice: self.index, index }
    }

    fn begin(&mut self, kind: BlockKind<'_>, sink: &mut impl Sink) -> u32 {
        let index = self.blocks;
        self.blocks += 1;
        sink.take(Event::BlockStart(self.block(index), kind));
        index
    }

    fn text(&mut self, flow: Flow, text: Option<Text<'_>>, realm: Realm, sink: &mut impl Sink) {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return };
        let index = self.flow(flow, realm, sink);
        self.refused |= flow == Flow::Refusal;
        sink.take(Event::Text(self.block(index), text));
    }

    /// The open block of this flow; another one that is open ends.
    fn flow(&mut self, flow: Flow, realm: Realm, sink: &mut impl Sink) -> u32 {
        if let Some((index, open)) = self.open
            && open == flow
        {
            return index;
        }
        self.end_flow(realm, sink);
        let kind = match flow {
            Flow::Thought => BlockKind::Reasoning { is_raw: true },
            Flow::Text => BlockKind::Text,
            Flow::Refusal => BlockKind::Refusal,
        };
        let index = self.begin(kind, sink);
        self.open = Some((index, flow));
        index
    }

    fn end_flow(&mut self, realm: Realm, sink: &mut impl Sink) {
        let Some((index, flow)) = self.open.take() else { return };
        if flow == Flow::Thought {
            sink.take(Event::Opaque(self.block(index), mark(realm)));
        }
        sink.take(Event::BlockEnd(self.block(index)));
    }

    /// Some hosts have content in parts.
    fn content_parts(&mut self, content: Value<'_>, realm: Realm, sink: &mut impl Sink) {
        for part in content.elements().into_iter().flatten() {
            self.text(Flow::Text, part.get_text("text"), realm, sink);
            let thoughts = part.get("thinking").and_then(|inner| inner.elements()).into_iter().flatten();
            for thought in thoughts {
                self.text(Flow::Thought, thought.get_text("text"), realm, sink);
            }
        }
    }

    fn citations(&mut self, delta: Value<'_>, sink: &mut impl Sink) {
        let Some((index, Flow::Text)) = self.open else { return };
        for one in delta.get("annotations").and_then(|all| all.elements()).into_iter().flatten() {
            let citation = one.get("url_citation").unwrap_or(one).raw();
            sink.take(Event::Citation(self.block(index), citation));
        }
    }

    fn logprobs(&mut self, outer: Value<'_>, sink: &mut impl Sink) {
        let Some((index, Flow::Text)) = self.open else { return };
        let content = outer.get("logprobs").and_then(|all| all.get("content"));
        if let Some(content) =
            content.filter(|all| all.elements().is_some_and(|mut all| all.next().is_some()))
        {
            sink.take(Event::Logprobs(self.block(index), content.raw()));
        }
    }

    fn call(
        &mut self,
        value: Value<'_>,
        id: &str,
        realm: Realm,
        sink: &mut impl Sink,
    ) -> Result<(), &'static str> {
        let call_id = value.get_text("id").filter(|id| !id.is_empty());
        let custom = value.get("custom");
        let inner = custom.or_else(|| value.get("function")).unwrap_or(value);
        let at = self.call_at(value.get_integer("index"), call_id.as_ref(), sink);
        if self.calls[at].id.is_empty() {
            self.calls[at].id = match &call_id {
                Some(call_id) => call_id.plain().into_owned(),
                None => derived_call_id(id, self.index, at as u32),
            };
        }
        self.calls[at].custom |= custom.is_some();
        let name = inner.get_text("name").filter(|name| !name.is_empty());
        if let (Some(name), None) = (name, self.calls[at].block) {
            self.end_flow(realm, sink);
            let call = &self.calls[at];
            let (id, custom) = (call.id.clone(), call.custom);
            let block = self.begin(BlockKind::Tool { id: Text::of(&id), name, custom }, sink);
            self.calls[at].block = Some(block);
            let early = std::mem::take(&mut self.calls[at].early);
            self.args(at, &Text::written(&early), sink)?;
        }
        match inner.get("arguments").or_else(|| inner.get("input")) {
            Some(args) => match args.text() {
                Some(text) => self.args(at, &text, sink),
                None => self.args(at, &args.raw().to_text(), sink),
            },
            None => Ok(()),
        }
    }

    /// The call that a fragment belongs to. A new index, or the same index with another id, begins a new one.
    fn call_at(&mut self, index: Option<u64>, id: Option<&Text<'_>>, sink: &mut impl Sink) -> usize {
        let found = match (index, id) {
            (Some(index), _) => self.calls.iter().rposition(|call| call.index == index),
            (None, Some(id)) => self.calls.iter().rposition(|call| id.is(&call.id)),
            (None, None) => self.calls.len().checked_sub(1),
        };
        let same =
            |at: &usize| id.is_none_or(|id| self.calls[*at].id.is_empty() || id.is(&self.calls[*at].id));
        if let Some(at) = found.filter(same) {
            return at;
        }
        self.end_whole_calls(sink);
        let index = index.unwrap_or(self.calls.len() as u64);
        self.calls.push(Call { index, ..Call::default() });
        self.calls.len() - 1
    }

    /// A new call begins: those whose arguments are whole will get no more.
    fn end_whole_calls(&mut self, sink: &mut impl Sink) {
        let choice = self.index;
        for call in self.calls.iter_mut().filter(|call| !call.ended && call.whole.is_whole()) {
            let Some(index) = call.block else { continue };
            call.ended = true;
            sink.take(Event::BlockEnd(Block { choice, index }));
        }
    }

    fn args(&mut self, at: usize, text: &Text<'_>, sink: &mut impl Sink) -> Result<(), &'static str> {
        if text.is_empty() {
            return Ok(());
        }
        let choice = self.index;
        let call = &mut self.calls[at];
        if call.ended {
            let blank = text.plain().trim().is_empty();
            return if blank { Ok(()) } else { Err("the upstream goes on with a call that was complete") };
        }
        let Some(index) = call.block else {
            call.early.push_str(text.as_written());
            let fits = call.early.len() <= ARGUMENT_BYTES_MAX;
            return if fits { Ok(()) } else { Err("the upstream's call is too long and has no name") };
        };
        call.whole.feed(text.as_written());
        sink.take(Event::Args(Block { choice, index }, text.lend()));
        Ok(())
    }

    fn finish(&mut self, stop: Stop<'_>, realm: Realm, sink: &mut impl Sink) -> Result<(), &'static str> {
        self.end_flow(realm, sink);
        let choice = self.index;
        for call in self.calls.iter_mut().filter(|call| !call.ended) {
            call.ended = true;
            let Some(index) = call.block else { return Err("the upstream's call has no name") };
            sink.take(Event::BlockEnd(Block { choice, index }));
        }
        self.finished = true;
        let stop = match stop {
            Stop::EndTurn if self.refused => Stop::Refusal { category: None },
            stop => stop.with_calls(!self.calls.is_empty()),
        };
        sink.take(Event::Finish { choice: self.index, stop });
        Ok(())
    }
}
