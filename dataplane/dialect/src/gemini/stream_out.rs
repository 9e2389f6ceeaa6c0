//! Events into Gemini's stream: events of a stream, or one JSON array.
//!
//! Text goes out as it comes. A call goes out whole, in the order in which calls began. The reasons and the counts stand
//! on the last chunk, with the last call if one was held: so one chunk is held at most.
//! Owns: what is held, within its bound.
//! Must not: write a comment, an event's name or `[DONE]`, which Google's clients choke on (dialects section 5.2); or
//! end a stream that failed: that has to be broken off.
//! Read next: `parts_out.rs`.

use std::collections::VecDeque;

use super::{parts_out, words};
use crate::bounds::{ARGUMENT_BYTES_MAX, HELD_BYTES_MAX};
use crate::errors::{self, Problem};
use crate::json::{Text, number};
use crate::model::{Block, BlockKind, Echo, Event, Failure, Losses, Opaque, SealKind, Stop, Usage};
use crate::stream::WriteStream;
use crate::surface::Grammar;
use crate::{answer_id, custom};

/// How chunks are strung together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// `alt=sse`
    Events,
    /// One JSON array.
    Array,
}

/// How far a stream has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// No chunk was written.
    #[default]
    Fresh,
    /// Chunks were written.
    Open,
    /// The last one was.
    Ended,
    /// An error was: the body is to be broken off.
    Failed,
}

/// What moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    /// A chunk.
    Chunk,
    /// The last chunk.
    Last,
    /// An error.
    Error,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fresh, Self::Open, Self::Ended, Self::Failed];
}

impl On {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Chunk, Self::Last, Self::Error];
}

/// The next state; `None`: it is over, and nothing more is written.
pub const fn step(from: State, on: On) -> Option<State> {
    Some(match (from, on) {
        (State::Fresh | State::Open, On::Chunk) => State::Open,
        (State::Fresh | State::Open, On::Last) => State::Ended,
        (State::Fresh | State::Open, On::Error) => State::Failed,
        (State::Ended | State::Failed, On::Chunk | On::Last | On::Error) => return None,
    })
}

/// Writes one stream.
#[derive(Debug)]
pub struct StreamOut {
    state: State,
    framing: Framing,
    echo: Echo,
    id: String,
    choices: Vec<Choice>,
    usage: Usage,
    /// Bytes of arguments that are held.
    held: usize,
    losses: Losses,
}

/// One of the answers.
#[derive(Debug, Default)]
struct Choice {
    index: u32,
    /// The open block that is no call, and what its text is.
    open: Option<(Block, Flow)>,
    /// Calls that have begun and were not written, in their order.
    calls: VecDeque<Call>,
    /// A part that is written but for its chunk.
    part: Vec<u8>,
    refused: bool,
    bad_call: bool,
    stop: Option<Stop<'static>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Text,
    Thought,
    /// A thought that the caller did not ask to see.
    Hidden,
}

#[derive(Debug)]
struct Call {
    block: Block,
    id: Text<'static>,
    name: String,
    custom: bool,
    /// As written inside a JSON string.
    args: String,
    signature: Option<Opaque<'static>>,
    ended: bool,
}

impl StreamOut {
    /// At the beginning of a stream for this caller.
    pub fn new(framing: Framing, echo: Echo) -> Self {
        Self {
            state: State::Fresh,
            framing,
            echo,
            id: String::new(),
            choices: Vec::new(),
            usage: Usage::NONE,
            held: 0,
            losses: Losses::new(),
        }
    }

    /// What had no place in the stream.
    pub const fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Chooses how chunks are strung together, as long as none was written.
    pub fn frame_as(&mut self, framing: Framing) {
        if self.state == State::Fresh {
            self.framing = framing;
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    fn on(&mut self, on: On) -> Option<bool> {
        let was_fresh = self.state == State::Fresh;
        self.state = step(self.state, on)?;
        Some(was_fresh)
    }

    fn choice(&mut self, index: u32) -> &mut Choice {
        let at = self.choices.iter().position(|choice| choice.index == index).unwrap_or_else(|| {
            self.choices.push(Choice { index, ..Choice::default() });
            self.choices.len() - 1
        });
        &mut self.choices[at]
    }

    /// What stands in front of a chunk.
    fn begin(&mut self, on: On, out: &mut Vec<u8>) -> bool {
        let Some(first) = self.on(on) else { return false };
        out.extend_from_slice(match (self.framing, first) {
            (Framing::Events, _) => b"data: ".as_slice(),
            (Framing::Array, true) => b"[",
            (Framing::Array, false) => b",",
        });
        true
    }

    fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match (self.framing, self.state) {
            (Framing::Events, _) => b"\n\n".as_slice(),
            (Framing::Array, State::Ended) => b"]\n",
            (Framing::Array, State::Fresh | State::Open | State::Failed) => b"\n",
        });
    }

    /// Writes the part that a choice holds.
    fn flush(&mut self, choice: u32, out: &mut Vec<u8>) {
        let part = std::mem::take(&mut self.choice(choice).part);
        if part.is_empty() || !self.begin(On::Chunk, out) {
            return;
        }
        out.extend_from_slice(br#"{"candidates":[{"content":{"role":"model","parts":["#);
        out.extend_from_slice(&part);
        out.extend_from_slice(br#"]},"index":"#);
        number(out, u64::from(choice));
        out.extend_from_slice(b"}]");
        parts_out::envelope_end(out, &self.echo.model, &self.id);
        self.end(out);
    }

    fn text(&mut self, block: Block, text: &Text<'_>, out: &mut Vec<u8>) {
        self.flush(block.choice, out);
        let choice = self.choice(block.choice);
        let flow = choice.open.filter(|(open, _)| *open == block).map_or(Flow::Text, |(_, flow)| flow);
        if flow != Flow::Hidden {
            parts_out::text(&mut choice.part, text, flow == Flow::Thought, None);
        }
        self.flush(block.choice, out);
    }

    fn block_start(&mut self, block: Block, kind: &BlockKind<'_>, out: &mut Vec<u8>) {
        match kind {
            BlockKind::Text => self.choice(block.choice).open = Some((block, Flow::Text)),
            BlockKind::Reasoning { .. } => {
                let flow = if parts_out::shows(&self.echo) { Flow::Thought } else { Flow::Hidden };
                self.choice(block.choice).open = Some((block, flow));
            }
            BlockKind::Refusal => {
                let choice = self.choice(block.choice);
                choice.refused = true;
                choice.open = Some((block, Flow::Text));
            }
            BlockKind::Tool { id, name, custom } => {
                let plain = name.plain();
                let name = parts_out::name(&self.echo, &plain).to_owned();
                self.choice(block.choice).calls.push_back(Call {
                    block,
                    id: id.lend().into_owned(),
                    name,
                    custom: *custom,
                    args: String::new(),
                    signature: None,
                    ended: false,
                });
            }
            BlockKind::Image { mime, data } if parts_out::is_base64(data) => {
                self.flush(block.choice, out);
                parts_out::inline(&mut self.choice(block.choice).part, mime, data);
                self.flush(block.choice, out);
            }
            // Google's clients refuse the whole answer for data that is not base64.
            BlockKind::Image { .. } => self.losses.dropped("/images"),
            // Another provider's own tool: nobody here can read it.
            BlockKind::Server(_) => self.losses.dropped("/server_tools"),
        }
    }

    fn args(&mut self, block: Block, piece: &Text<'_>, out: &mut Vec<u8>) {
        self.held += piece.as_written().len();
        let held = self.held;
        let choice = self.choice(block.choice);
        let Some(call) = choice.calls.iter_mut().find(|call| call.block == block) else { return };
        call.args.push_str(piece.as_written());
        if held > HELD_BYTES_MAX || call.args.len() > ARGUMENT_BYTES_MAX {
            let what = "the upstream's arguments of calls are longer than what is held";
            self.fail(&Failure::of(errors::Kind::BadGateway, what), out);
        }
    }

    fn opaque(&mut self, block: Block, opaque: &Opaque<'_>, out: &mut Vec<u8>) {
        let choice = self.choice(block.choice);
        if let Some(call) = choice.calls.iter_mut().find(|call| call.block == block) {
            call.signature = Some(opaque.clone().into_owned());
            return;
        }
        let flow = choice.open.filter(|(open, _)| *open == block).map_or(Flow::Text, |(_, flow)| flow);
        if flow == Flow::Hidden && opaque.kind == SealKind::Signature {
            return; // it signs a text that is not shown
        }
        self.flush(block.choice, out);
        let part = &mut self.choice(block.choice).part;
        parts_out::text(part, &Text::EMPTY, flow != Flow::Text, Some(opaque));
        self.flush(block.choice, out);
    }

    fn block_end(&mut self, block: Block, out: &mut Vec<u8>) {
        let choice = self.choice(block.choice);
        if choice.open.is_some_and(|(open, _)| open == block) {
            choice.open = None;
        }
        if let Some(call) = choice.calls.iter_mut().find(|call| call.block == block) {
            call.ended = true;
        }
        while self.choice(block.choice).calls.front().is_some_and(|call| call.ended) {
            self.flush(block.choice, out);
            let Some(call) = self.choice(block.choice).calls.pop_front() else { return };
            self.held = self.held.saturating_sub(call.args.len());
            self.choice(block.choice).hold(&call);
        }
    }

    /// The last chunk: every reason, and what it cost.
    fn last(&mut self, out: &mut Vec<u8>) {
        if self.choices.is_empty() {
            self.choice(0);
        }
        if !self.begin(On::Last, out) {
            return;
        }
        out.extend_from_slice(br#"{"candidates":["#);
        for (n, choice) in self.choices.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            choice.write_last(out);
        }
        out.push(b']');
        if self.usage.is_some() {
            out.extend_from_slice(br#","usageMetadata":"#);
            words::write_usage(out, &self.usage);
        }
        parts_out::envelope_end(out, &self.echo.model, &self.id);
        self.end(out);
    }

    fn fail(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        for at in 0..self.choices.len() {
            self.flush(self.choices[at].index, out);
        }
        if !self.begin(On::Error, out) {
            return;
        }
        let message = failure.message.plain();
        let problem = Problem {
            kind: failure.kind,
            status: failure.kind.status_in(Grammar::Gemini, failure.kind.status()),
            message: &message,
            code: "",
            param: None,
            retry_after_ms: failure.retry_after_ms,
            request_id: &self.echo.id,
        };
        errors::write(out, Grammar::Gemini, &problem);
        self.end(out);
    }
}

impl Choice {
    /// Makes the part of a call, to be written with what comes next.
    fn hold(&mut self, call: &Call) {
        let args = Text::written(&call.args);
        let plain = args.plain();
        let object = if call.custom { Some(custom::wrapped(&args)) } else { parts_out::object(&plain) };
        match object {
            Some(object) => {
                parts_out::call(&mut self.part, &call.id, &call.name, &object, call.signature.as_ref());
            }
            None => self.bad_call = true,
        }
    }

    fn write_last(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"content":{"role":"model","parts":["#);
        out.extend_from_slice(&self.part);
        out.extend_from_slice(br#"]},"finishReason":""#);
        let reason = match &self.stop {
            Some(Stop::EndTurn | Stop::StopSequence(_)) | None if self.refused => "SAFETY",
            // Arguments that a limit cut are no fault of the model's grammar.
            Some(stop @ (Stop::MaxTokens | Stop::ContextWindow)) => words::finish_reason(stop).0,
            Some(_) | None if self.bad_call => "MALFORMED_FUNCTION_CALL",
            Some(stop) => words::finish_reason(stop).0,
            None => "STOP",
        };
        out.extend_from_slice(reason.as_bytes());
        out.extend_from_slice(br#"","index":"#);
        number(out, u64::from(self.index));
        out.push(b'}');
    }
}

impl WriteStream for StreamOut {
    fn take(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if matches!(self.state, State::Ended | State::Failed) {
            return;
        }
        match event {
            Event::Start(start) => self.id = answer_id::bare(&start.id, &self.echo),
            Event::BlockStart(block, kind) => self.block_start(*block, kind, out),
            Event::Text(block, text) => self.text(*block, text, out),
            Event::Args(block, piece) => self.args(*block, piece, out),
            Event::Opaque(block, opaque) => self.opaque(*block, opaque, out),
            // Grounding is by offsets into whole texts, and probabilities by candidate: not told in streams.
            Event::Citation(..) => self.losses.dropped("/citations"),
            Event::Logprobs(..) => self.losses.dropped("/logprobs"),
            Event::BlockEnd(block) => self.block_end(*block, out),
            Event::Usage(usage) => self.usage.update(usage),
            Event::Finish { choice, stop } => {
                if words::finish_reason(stop).1 {
                    self.losses.noted("", "stop-reason");
                }
                self.choice(*choice).stop = Some(stop.clone().into_owned());
            }
            Event::End => self.last(out),
            Event::Error(failure) => self.fail(failure, out),
            // A blank line between events, white space between elements: all that Google's clients put up with.
            Event::Heartbeat => out.push(b'\n'),
        }
    }

    fn wants_abort(&self) -> bool {
        self.state == State::Failed
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn nothing_is_written_behind_the_end() {
        let mut table = String::new();
        for from in State::ALL {
            for on in On::ALL {
                let to = step(from, on).map_or_else(|| "-".to_owned(), |to| format!("{to:?}"));
                writeln!(table, "{from:?} {on:?} {to}").expect("a string takes it");
            }
        }
        assert_eq!(
            table,
            "Fresh Chunk Open\nFresh Last Ended\nFresh Error Failed\n\
             Open Chunk Open\nOpen Last Ended\nOpen Error Failed\n\
             Ended Chunk -\nEnded Last -\nEnded Error -\nFailed Chunk -\nFailed Last -\nFailed Error -\n"
        );
    }

    #[test]
    fn the_canonical_answer_is_written_as_the_specification_has_it() {
        let block = |index| Block { choice: 0, index };
        let usage =
            Usage { input: Some(9), cache_read: Some(4), output: Some(5), reasoning: Some(0), ..Usage::NONE };
        let tool = BlockKind::Tool { id: Text::written("call_1"), name: Text::written("f"), custom: false };
        let events = [
            Event::Start(crate::model::Start { id: Text::written("chatcmpl-x"), ..Default::default() }),
            Event::BlockStart(block(0), BlockKind::Text),
            Event::Text(block(0), Text::written("Hi")),
            Event::BlockEnd(block(0)),
            Event::BlockStart(block(1), tool),
            Event::Args(block(1), Text::written(r#"{\"a\":1}"#)),
            Event::BlockEnd(block(1)),
            Event::Finish { choice: 0, stop: Stop::ToolUse },
            Event::Usage(usage),
            Event::End,
        ];
        let echo = Echo { model: "m".to_owned(), ..Echo::default() };
        let (mut events_out, mut array_out) = (Vec::new(), Vec::new());
        let mut by_events = StreamOut::new(Framing::Events, echo.clone());
        let mut by_array = StreamOut::new(Framing::Array, echo);
        for event in &events {
            by_events.take(event, &mut events_out);
            by_array.take(event, &mut array_out);
        }
        let first = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hi"}]},"index":0}],"modelVersion":"m","responseId":"x"}"#;
        let second = r#"{"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"id":"call_1","name":"f","args":{"a":1}}}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":9,"cachedContentTokenCount":4,"candidatesTokenCount":5,"totalTokenCount":14},"modelVersion":"m","responseId":"x"}"#;
        assert_eq!(String::from_utf8_lossy(&events_out), format!("data: {first}\n\ndata: {second}\n\n"));
        assert_eq!(String::from_utf8_lossy(&array_out), format!("[{first}\n,{second}]\n"));
    }
}
