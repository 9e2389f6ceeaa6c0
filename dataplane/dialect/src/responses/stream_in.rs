//! A stream of Responses into events.
//!
//! Some providers leave out the events that begin or end an item, some send only the whole at the end: what was not
//! streamed yet is taken from wherever it first stands.
//! Owns: which items and parts have been seen, and how much of each.
//! Must not: take the end of the body for the end of the answer.
//! Read next: `stream_out.rs`.

use super::{answer_in, words};
use crate::bounds::{ARGUMENT_BYTES_MAX, STREAM_BLOCKS_MAX};
use crate::errors::Kind;
use crate::failure_in;
use crate::json::{Text, Value};
use crate::model::{Block, BlockKind, Event, Failure, ImageSource, Realm, Sink, Start, derived_call_id};
use crate::stream::ReadStream;

/// How far a stream has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing came yet.
    #[default]
    Fresh,
    /// The response is being made.
    Open,
    /// `End` was handed out.
    Ended,
    /// `Error` was.
    Failed,
}

/// What moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    /// Any event but the last.
    Said,
    /// `response.completed` or `response.incomplete`.
    Terminal,
    /// `response.failed`, `error`, or something that is none of its events.
    Failure,
    /// The body ended, in whatever order.
    BodyEnd,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fresh, Self::Open, Self::Ended, Self::Failed];
}

impl On {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Said, Self::Terminal, Self::Failure, Self::BodyEnd];
}

/// The next state; `None`: it is over, whatever still comes.
pub const fn step(from: State, on: On) -> Option<State> {
    use On::{BodyEnd, Failure, Said, Terminal};
    use State::{Ended, Failed, Fresh, Open};
    Some(match (from, on) {
        (Fresh | Open, Said) => Open,
        (Fresh | Open, Terminal) => Ended,
        (Fresh | Open, Failure | BodyEnd) => Failed,
        (Ended | Failed, Said | Terminal | Failure | BodyEnd) => return None,
    })
}

/// Reads one stream.
#[derive(Debug)]
pub struct StreamIn {
    state: State,
    realm: Realm,
    started: bool,
    /// What ids of calls are made of.
    id: String,
    next: u32,
    calls: u32,
    /// The block that is open and is no call.
    open: Option<Block>,
    items: Vec<Item>,
    parts: usize,
}

/// An item that was begun.
#[derive(Debug)]
struct Item {
    index: u64,
    /// Its block, where it is one: a call, a thought.
    block: Option<Block>,
    /// Its parts: a message's, or a thought's.
    parts: Vec<Piece>,
    kind: Family,
    done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Message,
    Thought,
    Call,
    Other,
}

/// A text that comes in deltas.
#[derive(Clone, Copy, Debug)]
struct Piece {
    place: Place,
    block: Block,
    /// Bytes of what it says so far.
    said: usize,
    done: bool,
}

/// Which text of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Text(u64),
    Refusal(u64),
    Summary(u64),
    Chain(u64),
    Arguments,
}

impl StreamIn {
    /// At the beginning of a stream from an upstream of this realm.
    pub fn new(realm: Realm) -> Self {
        Self {
            state: State::Fresh,
            realm,
            started: false,
            id: String::new(),
            next: 0,
            calls: 0,
            open: None,
            items: Vec::new(),
            parts: 0,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    fn on(&mut self, on: On) -> bool {
        let next = step(self.state, on);
        self.state = next.unwrap_or(self.state);
        next.is_some()
    }

    fn fail(&mut self, failure: Failure<'_>, sink: &mut impl Sink) {
        if self.on(On::Failure) {
            sink.take(Event::Error(failure));
        }
    }

    fn start(&mut self, response: Option<Value<'_>>, sink: &mut impl Sink) {
        if self.started {
            return;
        }
        self.started = true;
        let text = |key: &str| response.and_then(|response| response.get_text(key)).unwrap_or_default();
        self.id = text("id").plain().into_owned();
        let created = response.and_then(|response| response.get("created_at")).and_then(answer_in::created);
        let (id, model) = (text("id"), text("model"));
        sink.take(Event::Start(Start { id, model, created, fingerprint: None }));
    }

    fn event(&mut self, kind: &str, data: Value<'_>, sink: &mut impl Sink) -> Result<(), Failure<'static>> {
        let index = data.get_integer("output_index").unwrap_or(0);
        let at = |key: &str| data.get_integer(key).unwrap_or(0);
        let (content, summary) = (at("content_index"), at("summary_index"));
        match kind {
            "response.output_item.added" => {
                if let Some(item) = data.get("item") {
                    self.added(index, item, sink)?;
                }
            }
            "response.output_item.done" => {
                if let Some(item) = data.get("item") {
                    self.item_done(index, item, sink)?;
                }
            }
            "response.output_text.delta" => {
                self.delta(index, Place::Text(content), data, sink)?;
                self.logprobs(index, content, data, sink);
            }
            "response.refusal.delta" => self.delta(index, Place::Refusal(content), data, sink)?,
            "response.reasoning_summary_text.delta" => {
                self.delta(index, Place::Summary(summary), data, sink)?;
            }
            "response.reasoning_text.delta" => self.delta(index, Place::Chain(content), data, sink)?,
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.delta(index, Place::Arguments, data, sink)?;
            }
            "response.output_text.done" => {
                self.whole(index, Place::Text(content), data.get_text("text"), sink)?;
            }
            "response.refusal.done" => {
                self.whole(index, Place::Refusal(content), data.get_text("refusal"), sink)?;
            }
            "response.reasoning_summary_text.done" => {
                self.whole(index, Place::Summary(summary), data.get_text("text"), sink)?;
            }
            "response.reasoning_text.done" => {
                self.whole(index, Place::Chain(content), data.get_text("text"), sink)?;
            }
            "response.function_call_arguments.done" => {
                self.whole(index, Place::Arguments, data.get_text("arguments"), sink)?;
            }
            "response.custom_tool_call_input.done" => {
                self.whole(index, Place::Arguments, data.get_text("input"), sink)?;
            }
            "response.output_text.annotation.added" => self.cite(index, content, data, sink),
            _ => {} // parts begin and end with their texts; what a provider's own tools do is told by their items
        }
        Ok(())
    }

    /// Ends what is open, and begins a block.
    fn begin(&mut self, kind: BlockKind<'_>, sink: &mut impl Sink) -> Result<Block, Failure<'static>> {
        if self.next as usize >= STREAM_BLOCKS_MAX {
            return Err(Failure::of(
                Kind::BadGateway,
                "the upstream's stream has more parts than are kept apart",
            ));
        }
        let is_tool = kind.is_tool();
        if !is_tool {
            self.close(sink);
        }
        let block = Block { choice: 0, index: self.next };
        self.next += 1;
        sink.take(Event::BlockStart(block, kind));
        if !is_tool {
            self.open = Some(block);
        }
        Ok(block)
    }

    fn close(&mut self, sink: &mut impl Sink) {
        if let Some(block) = self.open.take() {
            sink.take(Event::BlockEnd(block));
        }
    }

    /// The item at this place, begun if it was not.
    fn item(&mut self, index: u64, kind: Family) -> Result<usize, Failure<'static>> {
        if let Some(at) = self.items.iter().position(|item| item.index == index) {
            if self.items[at].kind == kind {
                return Ok(at);
            }
            return Err(Failure::of(
                Kind::BadGateway,
                "the upstream made one item of its stream into another",
            ));
        }
        if self.items.len() >= STREAM_BLOCKS_MAX {
            return Err(Failure::of(
                Kind::BadGateway,
                "the upstream's stream has more items than are kept apart",
            ));
        }
        self.items.push(Item { index, block: None, parts: Vec::new(), kind, done: false });
        Ok(self.items.len() - 1)
    }

    fn added(&mut self, index: u64, item: Value<'_>, sink: &mut impl Sink) -> Result<(), Failure<'static>> {
        let kind = family(item);
        let at = self.item(index, kind)?;
        if kind == Family::Call && self.items[at].block.is_none() {
            self.begin_call(at, item, sink)?;
        }
        Ok(())
    }

    fn begin_call(
        &mut self,
        at: usize,
        item: Value<'_>,
        sink: &mut impl Sink,
    ) -> Result<Block, Failure<'static>> {
        let given = item.get_text("call_id").filter(|id| !id.is_empty());
        let id = given.unwrap_or_else(|| Text::owned(derived_call_id(&self.id, 0, self.calls)));
        self.calls += 1;
        let name = item.get_text("name").unwrap_or_default();
        let custom = item.get_text("type").is_some_and(|kind| kind.is("custom_tool_call"));
        self.close(sink);
        let block = self.begin(BlockKind::Tool { id, name, custom }, sink)?;
        self.items[at].block = Some(block);
        Ok(block)
    }

    /// The text at this place, begun if it was not. `None`: arguments of a call that nobody began.
    fn piece(
        &mut self,
        index: u64,
        place: Place,
        sink: &mut impl Sink,
    ) -> Result<Option<(usize, usize)>, Failure<'static>> {
        let (family, kind) = match place {
            Place::Text(_) => (Family::Message, Some(BlockKind::Text)),
            Place::Refusal(_) => (Family::Message, Some(BlockKind::Refusal)),
            Place::Summary(_) => (Family::Thought, Some(BlockKind::Reasoning { is_raw: false })),
            Place::Chain(_) => (Family::Thought, Some(BlockKind::Reasoning { is_raw: true })),
            Place::Arguments => (Family::Call, None),
        };
        let at = self.item(index, family)?;
        if let Some(part) = self.items[at].parts.iter().position(|piece| piece.place == place) {
            return Ok(Some((at, part)));
        }
        self.parts += 1;
        if self.parts > STREAM_BLOCKS_MAX {
            return Err(Failure::of(
                Kind::BadGateway,
                "the upstream's stream has more parts than are kept apart",
            ));
        }
        // All of a thought's texts are one block, so that its state goes with all of them.
        let block = match (self.items[at].block, kind) {
            (Some(block), _) => block,
            (None, None) => return Ok(None),
            (None, Some(kind)) => {
                let block = self.begin(kind, sink)?;
                if family == Family::Thought {
                    self.items[at].block = Some(block);
                }
                block
            }
        };
        self.items[at].parts.push(Piece { place, block, said: 0, done: false });
        Ok(Some((at, self.items[at].parts.len() - 1)))
    }

    fn delta(
        &mut self,
        index: u64,
        place: Place,
        data: Value<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), Failure<'static>> {
        let Some(text) = data.get_text("delta").filter(|text| !text.is_empty()) else { return Ok(()) };
        self.say(index, place, text, sink)
    }

    fn say(
        &mut self,
        index: u64,
        place: Place,
        text: Text<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), Failure<'static>> {
        let Some((at, part)) = self.piece(index, place, sink)? else {
            return Err(Failure::of(
                Kind::BadGateway,
                "the upstream sent arguments of a call that it did not begin",
            ));
        };
        if place == Place::Arguments && self.items[at].done {
            return Err(Failure::of(
                Kind::BadGateway,
                "the upstream sent more arguments of a call that was whole",
            ));
        }
        let piece = &mut self.items[at].parts[part];
        piece.said += text.plain().len();
        if piece.done || place != Place::Arguments && self.open != Some(piece.block) {
            return Ok(()); // behind its end: a text that was closed cannot go on
        }
        if place == Place::Arguments && piece.said > ARGUMENT_BYTES_MAX {
            return Err(Failure::of(Kind::BadGateway, "the upstream's arguments of a call are too long"));
        }
        let block = piece.block;
        sink.take(if place == Place::Arguments {
            Event::Args(block, text)
        } else {
            Event::Text(block, text)
        });
        Ok(())
    }

    /// A text in whole: what of it was not streamed is said now.
    fn whole(
        &mut self,
        index: u64,
        place: Place,
        text: Option<Text<'_>>,
        sink: &mut impl Sink,
    ) -> Result<(), Failure<'static>> {
        let Some(text) = text else { return Ok(()) };
        let plain = text.plain();
        let known = self.items.iter().find(|item| item.index == index);
        let said = known.and_then(|item| item.parts.iter().find(|piece| piece.place == place));
        let (said, done) = said.map_or((0, false), |piece| (piece.said, piece.done));
        if let Some(rest) = plain.get(said..).filter(|rest| !rest.is_empty() && !done) {
            self.say(index, place, Text::of(rest), sink)?;
        }
        if let Some(item) = self.items.iter_mut().find(|item| item.index == index)
            && let Some(piece) = item.parts.iter_mut().find(|piece| piece.place == place)
        {
            piece.done = true;
            // Texts of a message are blocks of their own; a thought's and a call's end with their item.
            if matches!(place, Place::Text(_) | Place::Refusal(_)) && self.open == Some(piece.block) {
                self.close(sink);
            }
        }
        Ok(())
    }

    fn item_done(
        &mut self,
        index: u64,
        item: Value<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), Failure<'static>> {
        let kind = family(item);
        let at = self.item(index, kind)?;
        if self.items[at].done {
            return Ok(());
        }
        match kind {
            Family::Message => self.message_done(index, item, sink)?,
            Family::Thought => self.thought_done(index, at, item, sink)?,
            Family::Call => {
                let block = match self.items[at].block {
                    Some(block) => block,
                    None => self.begin_call(at, item, sink)?,
                };
                let given = item.get_text("arguments").or_else(|| item.get_text("input"));
                self.whole(index, Place::Arguments, given, sink)?;
                sink.take(Event::BlockEnd(block));
            }
            Family::Other => self.other(item, sink)?,
        }
        self.items[at].done = true;
        Ok(())
    }

    fn message_done(
        &mut self,
        index: u64,
        item: Value<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), Failure<'static>> {
        let parts = item.get("content").and_then(|list| list.elements());
        for (n, part) in parts.into_iter().flatten().enumerate() {
            self.whole(index, Place::Text(n as u64), part.get_text("text"), sink)?;
            self.whole(index, Place::Refusal(n as u64), part.get_text("refusal"), sink)?;
        }
        Ok(())
    }

    fn thought_done(
        &mut self,
        index: u64,
        at: usize,
        item: Value<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), Failure<'static>> {
        let (texts, is_raw) = answer_in::thought_texts(item);
        for (n, text) in texts.into_iter().enumerate() {
            let place = if is_raw { Place::Chain(n as u64) } else { Place::Summary(n as u64) };
            self.whole(index, place, Some(text), sink)?;
        }
        let block = match (self.items[at].block, answer_in::state(item, self.realm)) {
            (block, None) => block,
            // A thought that shows nothing but its state, or that is over: the state is a block of its own then.
            (block, Some(opaque)) => {
                let block = match block.filter(|block| self.open == Some(*block)) {
                    Some(block) => block,
                    None => self.begin(BlockKind::Reasoning { is_raw: false }, sink)?,
                };
                sink.take(Event::Opaque(block, opaque));
                Some(block)
            }
        };
        if block.is_some() && self.open == block {
            self.close(sink);
        }
        Ok(())
    }

    /// What a provider's own tools made.
    fn other(&mut self, item: Value<'_>, sink: &mut impl Sink) -> Result<(), Failure<'static>> {
        let picture = item.get_text("type").is_some_and(|kind| kind.is("image_generation_call"));
        if picture && let ImageSource::Base64 { mime, data } = answer_in::image(item) {
            self.begin(BlockKind::Image { mime, data }, sink)?;
        } else {
            self.begin(BlockKind::Server(item.raw()), sink)?;
        }
        self.close(sink);
        Ok(())
    }

    fn block_of(&self, index: u64, content: u64) -> Option<Block> {
        let item = self.items.iter().find(|item| item.index == index)?;
        let piece = item.parts.iter().find(|piece| piece.place == Place::Text(content))?;
        (self.open == Some(piece.block)).then_some(piece.block)
    }

    fn cite(&mut self, index: u64, content: u64, data: Value<'_>, sink: &mut impl Sink) {
        let citation = data.get("annotation").and_then(answer_in::citation);
        if let (Some(block), Some(citation)) = (self.block_of(index, content), citation) {
            sink.take(Event::Citation(block, citation));
        }
    }

    fn logprobs(&mut self, index: u64, content: u64, data: Value<'_>, sink: &mut impl Sink) {
        let logprobs =
            data.get("logprobs").filter(|list| list.elements().is_some_and(|mut all| all.next().is_some()));
        if let (Some(block), Some(logprobs)) = (self.block_of(index, content), logprobs) {
            sink.take(Event::Logprobs(block, logprobs.raw()));
        }
    }

    /// The last event: what was never streamed, what it cost, and why it ended.
    fn finish(&mut self, response: Value<'_>, sink: &mut impl Sink) -> Result<(), Failure<'static>> {
        let stop = words::stop(response).map_err(Failure::into_owned)?;
        let output = response.get("output").and_then(|list| list.elements());
        for (index, item) in output.into_iter().flatten().enumerate() {
            if !self.items.iter().any(|known| known.index == index as u64 && known.done) {
                self.item_done(index as u64, item, sink)?;
            }
        }
        self.close(sink);
        for item in self.items.iter().filter(|item| item.kind == Family::Call && !item.done) {
            if let Some(block) = item.block {
                sink.take(Event::BlockEnd(block));
            }
        }
        if let Some(usage) = response.get("usage").and_then(words::usage) {
            sink.take(Event::Usage(usage));
        }
        let declines = |piece: &Piece| matches!(piece.place, Place::Refusal(_));
        let refused = self.items.iter().any(|item| item.parts.iter().any(declines));
        let stop = words::refused(stop, refused).with_calls(self.calls > 0);
        sink.take(Event::Finish { choice: 0, stop });
        sink.take(Event::End);
        Ok(())
    }
}

fn family(item: Value<'_>) -> Family {
    match &*item.get_text("type").unwrap_or_default().plain() {
        "message" => Family::Message,
        "reasoning" => Family::Thought,
        "function_call" | "custom_tool_call" => Family::Call,
        _ => Family::Other,
    }
}

impl ReadStream for StreamIn {
    fn data(&mut self, name: &str, data: Value<'_>, sink: &mut impl Sink) {
        if self.is_over() {
            return;
        }
        let kind = data.get_text("type").map(|kind| kind.plain().into_owned());
        let kind = kind.as_deref().unwrap_or(name);
        let response = data.get("response");
        match (kind, response) {
            ("error", _) => {
                let nested = data.get("error").filter(|error| error.fields().is_some());
                self.fail(failure_in::of_error(nested.unwrap_or(data), None), sink);
            }
            ("response.failed", Some(response)) => self.fail(words::failure(response), sink),
            ("response.completed" | "response.incomplete" | "response.cancelled", Some(response)) => {
                self.start(Some(response), sink);
                match self.finish(response, sink) {
                    Ok(()) => {
                        self.on(On::Terminal);
                    }
                    Err(failure) => self.fail(failure, sink),
                }
            }
            _ if !kind.starts_with("response.") => {
                if let Some(failure) = failure_in::of_body(data, None) {
                    self.fail(failure, sink);
                }
            }
            _ => {
                self.start(response, sink);
                self.on(On::Said);
                if let Err(failure) = self.event(kind, data, sink) {
                    self.fail(failure, sink);
                }
            }
        }
    }

    fn done(&mut self, _sink: &mut impl Sink) {
        // Some gateways in between add it; only the last event of the response says that it is whole.
    }

    fn ended(&mut self, _clean: bool, sink: &mut impl Sink) {
        if self.on(On::BodyEnd) {
            sink.take(Event::Error(Failure::truncated()));
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Ended | State::Failed)
    }

    fn broken(&mut self, what: &'static str, sink: &mut impl Sink) {
        self.fail(Failure::of(Kind::UpstreamTruncated, what), sink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn only_a_terminal_event_ends_it_well() {
        let mut table = String::new();
        for from in State::ALL {
            for on in On::ALL {
                let to = step(from, on).map_or_else(|| "-".to_owned(), |to| format!("{to:?}"));
                writeln!(table, "{from:?} {on:?} {to}").expect("a string takes it");
            }
        }
        assert_eq!(
            table,
            "Fresh Said Open\nFresh Terminal Ended\nFresh Failure Failed\nFresh BodyEnd Failed\n\
             Open Said Open\nOpen Terminal Ended\nOpen Failure Failed\nOpen BodyEnd Failed\n\
             Ended Said -\nEnded Terminal -\nEnded Failure -\nEnded BodyEnd -\n\
             Failed Said -\nFailed Terminal -\nFailed Failure -\nFailed BodyEnd -\n"
        );
    }
}
