//! A stream of Anthropic Messages into events.
//! Owns: the numbers of blocks, and counts of which later events replace single ones.
//! Must not: take the end of the body for the end of the message.
//! Read next: `stream_out.rs`.

use super::answer_in::state;
use super::words::{self, Counts};
use crate::bounds::{ARGUMENT_BYTES_MAX, STREAM_BLOCKS_MAX};
use crate::errors::Kind;
use crate::json::{Text, Value};
use crate::model::{Block, BlockKind, Event, Failure, Realm, SealKind, Sink, Start, Stop, derived_call_id};
use crate::stream::ReadStream;

/// How far a stream has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing was said.
    #[default]
    Fresh,
    /// The message has begun.
    Open,
    /// Why it ends was said.
    Stopped,
    /// `End` was handed out.
    Ended,
    /// `Error` was.
    Failed,
}

/// What moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    /// `message_start`
    Start,
    /// A block begins, goes on or ends.
    Content,
    /// `message_delta` with a reason.
    Reason,
    /// `message_stop`
    Stop,
    /// The body ended in good order.
    CleanEnd,
    /// The body broke off.
    BrokenEnd,
    /// An error, from the upstream or about it.
    Failure,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Fresh, Self::Open, Self::Stopped, Self::Ended, Self::Failed];
}

impl On {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Start,
        Self::Content,
        Self::Reason,
        Self::Stop,
        Self::CleanEnd,
        Self::BrokenEnd,
        Self::Failure,
    ];
}

/// The next state; `None`: what came is passed over.
pub const fn step(from: State, on: On) -> Option<State> {
    Some(match (from, on) {
        (State::Fresh, On::Start) | (State::Open, On::Content) => State::Open,
        (State::Open | State::Stopped, On::Reason) => State::Stopped,
        (State::Open | State::Stopped, On::Stop) | (State::Stopped, On::CleanEnd) => State::Ended,
        (State::Fresh, On::Content | On::Reason | On::Stop) => State::Failed, // no client could follow
        (State::Fresh | State::Open, On::CleanEnd) => State::Failed,
        (State::Fresh | State::Open | State::Stopped, On::BrokenEnd | On::Failure) => State::Failed,
        (State::Open | State::Stopped, On::Start) | (State::Stopped, On::Content) => return None,
        (
            State::Ended | State::Failed,
            On::Start | On::Content | On::Reason | On::Stop | On::CleanEnd | On::BrokenEnd | On::Failure,
        ) => return None,
    })
}

/// Reads one stream.
#[derive(Debug)]
pub struct StreamIn {
    realm: Realm,
    state: State,
    id: String,
    counts: Counts,
    blocks: Vec<Open>,
    begun: u32,
    called: bool,
    finished: bool,
}

/// A block that has begun and not ended.
#[derive(Debug)]
struct Open {
    /// The upstream's number for it.
    key: u64,
    index: u32,
    tool: bool,
    /// Input that came whole at the beginning; it counts if no pieces follow.
    input: Option<String>,
}

impl StreamIn {
    /// At the beginning of a stream; `realm` is whose thoughts these are.
    pub fn new(realm: Realm) -> Self {
        Self {
            realm,
            state: State::Fresh,
            id: String::new(),
            counts: Counts::default(),
            blocks: Vec::new(),
            begun: 0,
            called: false,
            finished: false,
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

    /// Makes the step, and hands out how the stream ends if it does; `false`: what came is passed over.
    fn go(&mut self, on: On, failure: impl FnOnce() -> Failure<'static>, sink: &mut impl Sink) -> bool {
        let Some(next) = step(self.state, on) else { return false };
        self.state = next;
        match next {
            State::Failed => {
                sink.take(Event::Error(failure()));
                return false;
            }
            State::Ended => {
                if !self.finished {
                    self.finish(Stop::EndTurn, sink);
                }
                sink.take(Event::End);
            }
            State::Fresh | State::Open | State::Stopped => {}
        }
        true
    }

    fn expect(&mut self, on: On, sink: &mut impl Sink) -> bool {
        self.go(
            on,
            || Failure::of(Kind::BadGateway, "the upstream's stream does not begin with a message"),
            sink,
        )
    }

    fn fail(&mut self, what: &'static str, sink: &mut impl Sink) {
        self.go(On::Failure, || Failure::of(Kind::BadGateway, what), sink);
    }

    fn start(&mut self, message: Value<'_>, sink: &mut impl Sink) {
        let id = message.get_text("id").unwrap_or_default();
        let model = message.get_text("model").unwrap_or_default();
        self.id = id.plain().into_owned();
        sink.take(Event::Start(Start { id, model, created: None, fingerprint: None }));
        self.usage(message, sink);
    }

    fn usage(&mut self, holder: Value<'_>, sink: &mut impl Sink) {
        if let Some(usage) = holder.get("usage") {
            self.counts.update(usage);
            sink.take(Event::Usage(self.counts.usage()));
        }
    }

    fn block_start(&mut self, event: Value<'_>, sink: &mut impl Sink) {
        let key = event.get_integer("index").unwrap_or(u64::from(self.begun));
        let Some(block) = event.get("content_block") else { return };
        if self.begun as usize >= STREAM_BLOCKS_MAX {
            return self.fail("the upstream's stream has too many blocks", sink);
        }
        self.end_block(key, sink); // a number that is used again
        let tool = block.get_text("type").is_some_and(|kind| kind.is("tool_use"));
        if !tool {
            let open: Vec<u64> =
                self.blocks.iter().filter(|block| !block.tool).map(|block| block.key).collect();
            open.into_iter().for_each(|key| self.end_block(key, sink));
        }
        let at = Block { choice: 0, index: self.begun };
        self.begun += 1;
        let mut open = Open { key, index: at.index, tool, input: None };
        self.begin(at, block, &mut open, sink);
        self.blocks.push(open);
    }

    fn begin(&mut self, at: Block, block: Value<'_>, open: &mut Open, sink: &mut impl Sink) {
        let kind = block.get_text("type").unwrap_or_default();
        let text = |key| block.get_text(key).filter(|text| !text.is_empty());
        match &*kind.plain() {
            "text" => {
                sink.take(Event::BlockStart(at, BlockKind::Text));
                text("text").into_iter().for_each(|text| sink.take(Event::Text(at, text)));
            }
            "thinking" => {
                sink.take(Event::BlockStart(at, BlockKind::Reasoning { is_raw: false }));
                text("thinking").into_iter().for_each(|text| sink.take(Event::Text(at, text)));
                if let Some(signature) = text("signature") {
                    sink.take(Event::Opaque(at, state(SealKind::Signature, self.realm, signature)));
                }
            }
            "redacted_thinking" => {
                sink.take(Event::BlockStart(at, BlockKind::Reasoning { is_raw: false }));
                if let Some(data) = text("data") {
                    sink.take(Event::Opaque(at, state(SealKind::Redacted, self.realm, data)));
                }
            }
            "tool_use" => {
                self.called = true;
                let derived = derived_call_id(&self.id, 0, at.index);
                let id = text("id").unwrap_or(Text::written(&derived));
                let name = block.get_text("name").unwrap_or_default();
                sink.take(Event::BlockStart(at, BlockKind::Tool { id, name, custom: false }));
                let input = block
                    .get("input")
                    .filter(|input| input.fields().is_some_and(|mut all| all.next().is_some()));
                open.input = input.map(|input| input.raw().to_text().as_written().to_owned());
            }
            _ => sink.take(Event::BlockStart(at, BlockKind::Server(block.raw()))),
        }
    }

    fn block_delta(&mut self, event: Value<'_>, sink: &mut impl Sink) {
        let key = event.get_integer("index").unwrap_or(0);
        let Some(delta) = event.get("delta") else { return };
        let realm = self.realm;
        let Some(open) = self.blocks.iter_mut().rfind(|block| block.key == key) else {
            return self.fail("the upstream goes on with a block that is not open", sink);
        };
        let at = Block { choice: 0, index: open.index };
        let text = |key| delta.get_text(key).filter(|text| !text.is_empty());
        let kind = delta.get_text("type").unwrap_or_default();
        match &*kind.plain() {
            "text_delta" => text("text").into_iter().for_each(|text| sink.take(Event::Text(at, text))),
            "thinking_delta" => {
                text("thinking").into_iter().for_each(|text| sink.take(Event::Text(at, text)));
            }
            "input_json_delta" if open.tool => {
                if let Some(piece) = text("partial_json") {
                    open.input = None;
                    sink.take(Event::Args(at, piece));
                }
            }
            "signature_delta" => {
                if let Some(signature) = text("signature") {
                    sink.take(Event::Opaque(at, state(SealKind::Signature, realm, signature)));
                }
            }
            "citations_delta" => {
                if let Some(citation) = delta.get("citation") {
                    sink.take(Event::Citation(at, citation.raw()));
                }
            }
            _ => {} // new kinds of pieces come every year; clients pass over them too
        }
    }

    /// Ends the block with this number, if it is open.
    fn end_block(&mut self, key: u64, sink: &mut impl Sink) {
        let Some(at) = self.blocks.iter().rposition(|block| block.key == key) else { return };
        let open = self.blocks.remove(at);
        let block = Block { choice: 0, index: open.index };
        if let Some(input) = open.input.filter(|input| input.len() <= ARGUMENT_BYTES_MAX) {
            sink.take(Event::Args(block, Text::owned(input)));
        }
        sink.take(Event::BlockEnd(block));
    }

    fn finish(&mut self, stop: Stop<'_>, sink: &mut impl Sink) {
        self.finished = true;
        while let Some(key) = self.blocks.first().map(|block| block.key) {
            self.end_block(key, sink);
        }
        sink.take(Event::Finish { choice: 0, stop: stop.with_calls(self.called) });
    }

    fn message_delta(&mut self, event: Value<'_>, sink: &mut impl Sink) {
        let delta = event.get("delta");
        if let Some((delta, reason)) = delta.and_then(|delta| Some((delta, delta.get_text("stop_reason")?))) {
            if !self.expect(On::Reason, sink) {
                return;
            }
            if !self.finished {
                self.finish(words::stop(&reason, delta), sink);
            }
        }
        if self.state != State::Fresh {
            self.usage(event, sink);
        }
    }
}

impl ReadStream for StreamIn {
    fn data(&mut self, name: &str, data: Value<'_>, sink: &mut impl Sink) {
        if self.is_over() {
            return;
        }
        let kind = data.get_text("type").unwrap_or(Text::written(name));
        match &*kind.plain() {
            "message_start" => {
                if self.expect(On::Start, sink) {
                    self.start(data.get("message").unwrap_or(data), sink);
                }
            }
            "content_block_start" => {
                if self.expect(On::Content, sink) {
                    self.block_start(data, sink);
                }
            }
            "content_block_delta" => {
                if self.expect(On::Content, sink) {
                    self.block_delta(data, sink);
                }
            }
            "content_block_stop" => {
                if self.expect(On::Content, sink) {
                    self.end_block(data.get_integer("index").unwrap_or(0), sink);
                }
            }
            "message_delta" => self.message_delta(data, sink),
            "message_stop" => {
                self.expect(On::Stop, sink);
            }
            "ping" => sink.take(Event::Heartbeat),
            _ => {
                if let Some(failure) = crate::failure_in::of_body(data, None) {
                    let failure = failure.into_owned();
                    self.go(On::Failure, || failure, sink);
                }
            }
        }
    }

    /// `data: [DONE]` means nothing here; some engines send it behind the end.
    fn done(&mut self, _sink: &mut impl Sink) {}

    fn ended(&mut self, clean: bool, sink: &mut impl Sink) {
        self.go(if clean { On::CleanEnd } else { On::BrokenEnd }, Failure::truncated, sink);
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Ended | State::Failed)
    }

    fn broken(&mut self, what: &'static str, sink: &mut impl Sink) {
        self.go(On::Failure, || Failure::of(Kind::UpstreamTruncated, what), sink);
    }
}
