//! Events into a stream of Anthropic Messages.
//!
//! Blocks stand one behind the other here, so while one is open the others wait, in the order in which they began. The
//! reason and the counts wait for the end of the stream: the counts may come last.
//! Owns: what waits, within its bound. Must not: open a block that stays empty, or end a stream that failed.
//! Read next: `words.rs`.

use std::collections::VecDeque;

use super::words;
use crate::answer_id;
use crate::bounds::HELD_BYTES_MAX;
use crate::dialect::Dialect;
use crate::errors::Kind;
use crate::failure_out;
use crate::json::{Raw, Text, number, string};
use crate::model::{
    Block, BlockKind, Echo, Event, Failure, Losses, Opaque, SealKind, Show, Start, Stop, Usage,
};
use crate::stream::WriteStream;

/// How far a stream has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing was written.
    #[default]
    Fresh,
    /// The message has begun.
    Open,
    /// `message_stop` was written.
    Ended,
    /// An error was.
    Failed,
}

/// What moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    /// The beginning.
    Start,
    /// Content, counts or a reason.
    Content,
    /// The end.
    End,
    /// An error.
    Error,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fresh, Self::Open, Self::Ended, Self::Failed];
}

impl On {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Start, Self::Content, Self::End, Self::Error];
}

/// The next state; `None`: nothing is written.
pub const fn step(from: State, on: On) -> Option<State> {
    Some(match (from, on) {
        (State::Fresh, On::Start) | (State::Open, On::Content) => State::Open,
        (State::Open, On::End) => State::Ended,
        (State::Fresh | State::Open, On::Error) => State::Failed,
        (State::Fresh, On::Content | On::End) | (State::Open, On::Start) => return None, // against the laws of events
        (State::Ended | State::Failed, On::Start | On::Content | On::End | On::Error) => return None,
    })
}

/// Writes one stream.
#[derive(Debug)]
pub struct StreamOut {
    echo: Echo,
    state: State,
    /// Blocks written so far.
    written: u64,
    /// The block that may be written to, and those that wait for it.
    blocks: VecDeque<Pending>,
    held: usize,
    stop: Option<Stop<'static>>,
    usage: Usage,
    losses: Losses,
}

/// A block that has begun and was not written to its end.
#[derive(Debug)]
struct Pending {
    block: Block,
    kind: Form,
    /// Its `content_block_start` was written.
    open: bool,
    /// The sealed state that goes in front of it (a call's) or behind it (a text's).
    around: Option<String>,
    /// What has come for it and was not written, as inside a JSON string.
    text: String,
    seal: Option<String>,
    ended: bool,
}

/// What a block is written as.
#[derive(Debug)]
enum Form {
    Text,
    Thought,
    Call {
        id: String,
        name: String,
        /// Free text that is to be wrapped as a function's argument.
        free: bool,
    },
    /// Nothing: it is lost, or nobody asked for it.
    Nothing,
}

impl StreamOut {
    /// For the caller of this request.
    pub fn new(echo: Echo) -> Self {
        Self {
            echo,
            state: State::Fresh,
            written: 0,
            blocks: VecDeque::new(),
            held: 0,
            stop: None,
            usage: Usage::NONE,
            losses: Losses::new(),
        }
    }

    /// How far it has come.
    pub const fn state(&self) -> State {
        self.state
    }

    /// What this dialect has no place for.
    pub const fn losses(&self) -> &Losses {
        &self.losses
    }

    fn go(&mut self, on: On) -> bool {
        let next = step(self.state, on);
        self.state = next.unwrap_or(self.state);
        next.is_some()
    }

    fn start(&self, start: &Start<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":",
        );
        string(out, &format!("msg_{}", answer_id::bare(&start.id, &self.echo)));
        out.extend_from_slice(br#","type":"message","role":"assistant","model":"#);
        string(out, &self.echo.model);
        out.extend_from_slice(
            br#","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"output_tokens":0}}}"#,
        );
        out.extend_from_slice(b"\n\n");
        out.extend_from_slice(PING);
    }

    fn begin(&mut self, block: Block, kind: &BlockKind<'_>) {
        let form = match kind {
            BlockKind::Text | BlockKind::Refusal => Form::Text,
            BlockKind::Reasoning { .. } if self.echo.show == Show::None => Form::Nothing,
            BlockKind::Reasoning { .. } => Form::Thought,
            BlockKind::Tool { id, name, custom } => {
                let flat = name.plain();
                let name = self.echo.names.find(&flat).map_or(&*flat, |known| &known.name);
                Form::Call { id: id.as_written().to_owned(), name: name.to_owned(), free: *custom }
            }
            BlockKind::Image { .. } => {
                self.losses.dropped("/images");
                Form::Nothing
            }
            BlockKind::Server(_) => {
                self.losses.dropped("/server_tools");
                Form::Nothing
            }
        };
        let (text, seal, around) = (String::new(), None, None);
        self.blocks.push_back(Pending { block, kind: form, open: false, around, text, seal, ended: false });
    }

    /// More of a block: written if it is its turn, else kept.
    fn more(&mut self, block: Block, text: &Text<'_>, out: &mut Vec<u8>) {
        let Some(at) = self.blocks.iter().position(|pending| pending.block == block) else { return };
        if at > 0 {
            if self.held + text.as_written().len() > HELD_BYTES_MAX {
                self.write_error(
                    &Failure::of(Kind::BadGateway, "the upstream's calls are too long to be put in order"),
                    out,
                );
                self.state = State::Failed;
                return;
            }
            self.held += text.as_written().len();
            self.blocks[at].text.push_str(text.as_written());
            return;
        }
        if let Some(pending) = self.blocks.front_mut() {
            pending.open(&mut self.written, out);
            pending.piece(self.written, text, out);
        }
    }

    fn opaque(&mut self, block: Block, opaque: &Opaque<'_>, out: &mut Vec<u8>) {
        let Some(at) = self.blocks.iter().position(|pending| pending.block == block) else { return };
        let pending = &mut self.blocks[at];
        match &pending.kind {
            Form::Thought => pending.seal = Some(opaque.seal()),
            Form::Call { .. } => {
                pending.around = Some(Opaque { kind: SealKind::NextTool, ..opaque.clone() }.seal());
            }
            Form::Text => pending.around = Some(Opaque { kind: SealKind::Previous, ..opaque.clone() }.seal()),
            Form::Nothing => {}
        }
        if at == 0 {
            self.flush(out);
        }
    }

    fn end_block(&mut self, block: Block, out: &mut Vec<u8>) {
        if let Some(pending) = self.blocks.iter_mut().find(|pending| pending.block == block) {
            pending.ended = true;
        }
        self.flush(out);
    }

    /// Writes what may be written now: of the block in front, and of those behind it as each one ends.
    fn flush(&mut self, out: &mut Vec<u8>) {
        while let Some(pending) = self.blocks.front_mut() {
            if !pending.text.is_empty() {
                self.held = self.held.saturating_sub(pending.text.len());
                pending.open(&mut self.written, out);
                let text = Text::owned(std::mem::take(&mut pending.text));
                pending.piece(self.written, &text, out);
            }
            if !pending.ended {
                return;
            }
            pending.close(&mut self.written, out);
            self.blocks.pop_front();
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{");
        words::write_stop(self.stop.as_ref().unwrap_or(&Stop::EndTurn), out);
        out.extend_from_slice(b"},\"usage\":");
        words::write_usage(&self.usage, out);
        out.extend_from_slice(b"}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }

    fn write_error(&self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: error\ndata: ");
        failure_out::write(Dialect::Anthropic, failure, &self.echo.id, out);
        out.extend_from_slice(b"\n\n");
    }
}

const PING: &[u8] = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";

impl Pending {
    /// Writes its beginning, once.
    fn open(&mut self, written: &mut u64, out: &mut Vec<u8>) {
        if self.open || matches!(self.kind, Form::Nothing) {
            return;
        }
        if let (Form::Call { .. }, Some(seal)) = (&self.kind, self.around.take()) {
            write_redacted(&seal, written, out);
        }
        self.open = true;
        open_block(*written, out);
        match &self.kind {
            Form::Text => out.extend_from_slice(br#"{"type":"text","text":""}"#),
            Form::Thought => out.extend_from_slice(br#"{"type":"thinking","thinking":"","signature":""}"#),
            Form::Call { id, name, .. } => {
                out.extend_from_slice(br#"{"type":"tool_use","id":"#);
                Text::written(id).write_line(out);
                out.extend_from_slice(br#","name":"#);
                string(out, name);
                out.extend_from_slice(br#","input":{}}"#);
            }
            Form::Nothing => {}
        }
        out.extend_from_slice(b"}\n\n");
        if let Form::Call { free: true, .. } = self.kind {
            write_delta(*written, br#"{"type":"input_json_delta","partial_json":"{\"input\":\""}"#, out);
        }
    }

    fn piece(&self, written: u64, text: &Text<'_>, out: &mut Vec<u8>) {
        let lead: &[u8] = match &self.kind {
            Form::Text => br#"{"type":"text_delta","text":"#,
            Form::Thought => br#"{"type":"thinking_delta","thinking":"#,
            Form::Call { .. } => br#"{"type":"input_json_delta","partial_json":"#,
            Form::Nothing => return,
        };
        open_delta(written, out);
        out.extend_from_slice(lead);
        match &self.kind {
            // A string inside a string: what is written there is escaped once more.
            Form::Call { free: true, .. } => Text::of(text.as_written()).write_line(out),
            Form::Call { .. } | Form::Text | Form::Thought | Form::Nothing => text.write_line(out),
        }
        out.extend_from_slice(b"}}\n\n");
    }

    /// Writes its end, and what an empty one is written as: text and thought as nothing, a call without arguments.
    fn close(&mut self, written: &mut u64, out: &mut Vec<u8>) {
        let empty = !self.open;
        if let (Form::Thought, true, Some(seal)) = (&self.kind, empty, &self.seal) {
            write_redacted(seal, written, out);
            return;
        }
        if let Form::Call { free, .. } = self.kind {
            self.open(written, out);
            if free {
                write_delta(*written, br#"{"type":"input_json_delta","partial_json":"\"}"}"#, out);
            } else if empty {
                write_delta(*written, br#"{"type":"input_json_delta","partial_json":""}"#, out);
            }
        }
        if let (Form::Thought, Some(seal)) = (&self.kind, &self.seal) {
            open_delta(*written, out);
            out.extend_from_slice(br#"{"type":"signature_delta","signature":""#);
            out.extend_from_slice(seal.as_bytes());
            out.extend_from_slice(b"\"}}\n\n");
        }
        if self.open {
            close_block(written, out);
        }
        if let (Form::Text, Some(seal)) = (&self.kind, &self.around) {
            write_redacted(seal, written, out);
        }
    }
}

fn open_block(index: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":");
    number(out, index);
    out.extend_from_slice(b",\"content_block\":");
}

fn close_block(index: &mut u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
    number(out, *index);
    out.extend_from_slice(b"}\n\n");
    *index += 1;
}

fn open_delta(index: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
    number(out, index);
    out.extend_from_slice(b",\"delta\":");
}

fn write_delta(index: u64, delta: &[u8], out: &mut Vec<u8>) {
    open_delta(index, out);
    out.extend_from_slice(delta);
    out.extend_from_slice(b"}\n\n");
}

fn write_redacted(seal: &str, index: &mut u64, out: &mut Vec<u8>) {
    open_block(*index, out);
    out.extend_from_slice(br#"{"type":"redacted_thinking","data":""#);
    out.extend_from_slice(seal.as_bytes());
    out.extend_from_slice(b"\"}}\n\n");
    close_block(index, out);
}

impl WriteStream for StreamOut {
    fn take(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        let on = match event {
            Event::Start(_) => On::Start,
            Event::End => On::End,
            Event::Error(_) => On::Error,
            Event::Heartbeat => {
                // Before the message has begun, clients do not expect one.
                if self.state == State::Open {
                    out.extend_from_slice(PING);
                }
                return;
            }
            Event::BlockStart(block, _)
            | Event::Text(block, _)
            | Event::Args(block, _)
            | Event::Opaque(block, _)
            | Event::Citation(block, _)
            | Event::Logprobs(block, _)
            | Event::BlockEnd(block)
                if block.choice != 0 =>
            {
                self.losses.dropped("/choices/1");
                return;
            }
            Event::BlockStart(..)
            | Event::Text(..)
            | Event::Args(..)
            | Event::Opaque(..)
            | Event::Citation(..)
            | Event::Logprobs(..)
            | Event::BlockEnd(_)
            | Event::Usage(_)
            | Event::Finish { .. } => On::Content,
        };
        if self.go(on) {
            self.write(event, out);
        }
    }
}

impl StreamOut {
    fn write(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start(start) => self.start(start, out),
            Event::BlockStart(block, kind) => self.begin(*block, kind),
            Event::Text(block, text) | Event::Args(block, text) => self.more(*block, text, out),
            Event::Opaque(block, opaque) => self.opaque(*block, opaque, out),
            Event::Citation(_, citation) => self.lost(citation, "/citations"),
            Event::Logprobs(_, content) => self.lost(content, "/logprobs"),
            Event::BlockEnd(block) => self.end_block(*block, out),
            Event::Usage(usage) => self.usage.update(usage),
            Event::Finish { choice: 0, stop } => self.stop = Some(stop.clone().into_owned()),
            Event::Finish { .. } | Event::Heartbeat => {}
            Event::End => self.end(out),
            Event::Error(failure) => self.write_error(failure, out),
        }
    }

    fn lost(&mut self, _what: &Raw<'_>, pointer: &str) {
        self.losses.dropped(pointer);
    }
}
