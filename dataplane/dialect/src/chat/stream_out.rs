//! Events into a stream of Chat Completions.
//! Owns: chunks, the numbers of calls, and when the counts may be shown. Must not: repeat the id or the name of a call:
//! clients run the pieces together; or end a stream that failed with `[DONE]`.
//! Read next: `words.rs`.

use super::answer_out::{is_url_citation, write_seal};
use super::words;
use crate::answer_id;
use crate::bounds::HELD_BYTES_MAX;
use crate::dialect::Dialect;
use crate::failure_out;
use crate::json::{Text, number, string};
use crate::model::{
    Args, Block, BlockKind, Echo, Event, Failure, Losses, Opaque, Origin, Start, Stop, Usage,
};
use crate::stream::WriteStream;

/// How far a stream has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing was written.
    #[default]
    Fresh,
    /// Chunks were.
    Open,
    /// `[DONE]` was.
    Ended,
    /// An error was.
    Failed,
}

/// What moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    /// The beginning.
    Start,
    /// A chunk.
    Chunk,
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
    pub const ALL: [Self; 4] = [Self::Start, Self::Chunk, Self::End, Self::Error];
}

/// The next state; `None`: nothing is written.
pub const fn step(from: State, on: On) -> Option<State> {
    use {
        On::{Chunk, End, Error, Start},
        State::{Ended, Failed, Fresh, Open},
    };
    Some(match (from, on) {
        (Fresh, Start) | (Open, Chunk) => Open,
        (Open, End) => Ended,
        (Fresh | Open, Error) => Failed,
        (Fresh, Chunk | End) | (Open, Start) => return None, // against the laws of events
        (Ended | Failed, Start | Chunk | End | Error) => return None,
    })
}

/// Writes one stream.
#[derive(Debug)]
pub struct StreamOut {
    echo: Echo,
    state: State,
    /// Every chunk up to its choices.
    head: Vec<u8>,
    choices: Vec<Choice>,
    usage: Usage,
    held: usize,
    losses: Losses,
}

#[derive(Debug, Default)]
struct Choice {
    index: u32,
    /// Its first chunk, with the role, was written.
    begun: bool,
    calls: Vec<Call>,
    /// What the text of the open block is.
    flow: Flow,
    /// Bytes of the thought at hand.
    thought: usize,
    refused: bool,
}

/// What runs as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flow {
    #[default]
    Text,
    Thought,
    Refusal,
}

#[derive(Debug)]
struct Call {
    block: u32,
    /// Free text for the caller's custom tool.
    custom: bool,
    /// That text still wrapped in a function's arguments: held until it is whole.
    wrapped: Option<String>,
    any_args: bool,
}

impl StreamOut {
    /// For the caller of this request.
    pub fn new(echo: Echo) -> Self {
        Self {
            echo,
            state: State::Fresh,
            head: Vec::new(),
            choices: Vec::new(),
            usage: Usage::NONE,
            held: 0,
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

    fn start(&mut self, start: &Start<'_>) {
        let head = &mut self.head;
        head.extend_from_slice(b"data: {\"id\":");
        string(head, &format!("chatcmpl-{}", answer_id::bare(&start.id, &self.echo)));
        head.extend_from_slice(b",\"object\":\"chat.completion.chunk\",\"created\":");
        number(head, start.created.unwrap_or(self.echo.now));
        head.extend_from_slice(b",\"model\":");
        string(head, &self.echo.model);
        if let Some(fingerprint) = &start.fingerprint {
            head.extend_from_slice(b",\"system_fingerprint\":");
            fingerprint.write_line(head);
        }
        head.extend_from_slice(b",\"choices\":[");
    }

    fn choice(&mut self, index: u32) -> usize {
        if let Some(at) = self.choices.iter().position(|choice| choice.index == index) {
            return at;
        }
        self.choices.push(Choice { index, ..Choice::default() });
        self.choices.len() - 1
    }

    /// A chunk of a choice, up to the inside of its delta; the first one of each choice carries the role alone.
    fn open(&mut self, choice: u32, out: &mut Vec<u8>) -> usize {
        let at = self.choice(choice);
        if !self.choices[at].begun {
            self.choices[at].begun = true;
            self.lead(choice, out);
            out.extend_from_slice(br#""role":"assistant","content":"""#);
            Self::close(out);
        }
        self.lead(choice, out);
        at
    }

    fn lead(&self, choice: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":");
        number(out, u64::from(choice));
        out.extend_from_slice(b",\"delta\":{");
    }

    fn close(out: &mut Vec<u8>) {
        out.extend_from_slice(b"},\"finish_reason\":null}]}\n\n");
    }

    fn text(&mut self, block: Block, text: &Text<'_>, out: &mut Vec<u8>) {
        let at = self.open(block.choice, out);
        let choice = &mut self.choices[at];
        out.extend_from_slice(match choice.flow {
            Flow::Text => &b"\"content\":"[..],
            Flow::Thought => b"\"reasoning_content\":",
            Flow::Refusal => b"\"refusal\":",
        });
        if choice.flow == Flow::Thought {
            choice.thought += text.plain().len();
        }
        text.write_line(out);
        Self::close(out);
    }

    fn begin(&mut self, block: Block, kind: &BlockKind<'_>, out: &mut Vec<u8>) {
        let at = self.choice(block.choice);
        let choice = &mut self.choices[at];
        match kind {
            BlockKind::Text => choice.flow = Flow::Text,
            BlockKind::Reasoning { .. } => {
                choice.flow = Flow::Thought;
                choice.thought = 0;
            }
            BlockKind::Refusal => {
                choice.flow = Flow::Refusal;
                choice.refused = true;
            }
            BlockKind::Tool { id, name, custom } => self.begin_call(block, id, name, *custom, out),
            BlockKind::Image { .. } => self.losses.dropped("/images"),
            BlockKind::Server(_) => self.losses.dropped("/server_tools"),
        }
    }

    fn begin_call(&mut self, block: Block, id: &Text<'_>, name: &Text<'_>, custom: bool, out: &mut Vec<u8>) {
        let at = self.open(block.choice, out);
        let flat = name.plain();
        let known = self.echo.names.find(&flat);
        let name = known.map_or(&*flat, |known| &known.name);
        let wrapped = !custom && known.is_some_and(|known| known.custom);
        let custom = custom || wrapped;
        let calls = &mut self.choices[at].calls;
        out.extend_from_slice(br#""tool_calls":[{"index":"#);
        number(out, calls.len() as u64);
        out.extend_from_slice(br#","id":"#);
        id.write_line(out);
        out.extend_from_slice(if custom {
            br#","type":"custom","custom":{"name":"#
        } else {
            br#","type":"function","function":{"name":"#
        });
        string(out, name);
        out.extend_from_slice(if custom { br#","input":""}}]"# } else { br#","arguments":""}}]"# });
        Self::close(out);
        let wrapped = wrapped.then(String::new);
        calls.push(Call { block: block.index, custom, wrapped, any_args: false });
    }

    fn args(&mut self, block: Block, piece: &Text<'_>, out: &mut Vec<u8>) {
        let at = self.choice(block.choice);
        let Some(n) = self.choices[at].calls.iter().position(|call| call.block == block.index) else {
            return;
        };
        let call = &mut self.choices[at].calls[n];
        call.any_args |= !piece.as_written().trim_ascii().is_empty();
        if let Some(wrapped) = &mut call.wrapped {
            if self.held + piece.as_written().len() <= HELD_BYTES_MAX {
                self.held += piece.as_written().len();
                wrapped.push_str(piece.as_written());
            }
            return;
        }
        let custom = call.custom;
        self.piece(block.choice, n, custom, piece, out);
    }

    fn piece(&mut self, choice: u32, n: usize, custom: bool, piece: &Text<'_>, out: &mut Vec<u8>) {
        self.open(choice, out);
        out.extend_from_slice(br#""tool_calls":[{"index":"#);
        number(out, n as u64);
        out.extend_from_slice(if custom {
            br#","custom":{"input":"#
        } else {
            br#","function":{"arguments":"#
        });
        piece.write_line(out);
        out.extend_from_slice(b"}}]");
        Self::close(out);
    }

    /// A call that ends without arguments has an empty object: an empty string is not JSON.
    fn end_block(&mut self, block: Block, out: &mut Vec<u8>) {
        let at = self.choice(block.choice);
        let Some(n) = self.choices[at].calls.iter().position(|call| call.block == block.index) else {
            return;
        };
        let call = &mut self.choices[at].calls[n];
        let (custom, any_args) = (call.custom, call.any_args);
        if let Some(wrapped) = call.wrapped.take() {
            self.held -= wrapped.len();
            let args = Args::Text(Text::owned(wrapped));
            self.piece(block.choice, n, true, &crate::custom::input(&args), out);
        } else if !custom && !any_args {
            self.piece(block.choice, n, false, &Text::written("{}"), out);
        }
    }

    fn opaque(&mut self, block: Block, opaque: &Opaque<'_>, out: &mut Vec<u8>) {
        let at = self.open(block.choice, out);
        let call = self.choices[at].calls.iter().position(|call| call.block == block.index);
        match call {
            Some(n) if opaque.origin == Origin::Gemini => {
                out.extend_from_slice(br#""tool_calls":[{"index":"#);
                number(out, n as u64);
                out.extend_from_slice(br#","extra_content":{"google":{"thought_signature":""#);
                out.extend_from_slice(opaque.seal().as_bytes());
                out.extend_from_slice(b"\"}}}]");
            }
            Some(_) | None => {
                let length = std::mem::take(&mut self.choices[at].thought);
                out.extend_from_slice(br#""reasoning_details":["#);
                write_seal(opaque, length, out);
                out.push(b']');
            }
        }
        Self::close(out);
    }

    fn finish(&mut self, choice: u32, stop: &Stop<'_>, out: &mut Vec<u8>) {
        let at = self.open(choice, out);
        let word = match stop {
            Stop::Refusal { .. } if !self.choices[at].refused => "content_filter",
            stop => words::finish_reason(stop, Some(&mut self.losses)),
        };
        out.extend_from_slice(b"},\"finish_reason\":\"");
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(b"\"}]}\n\n");
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.echo.stream_usage && self.usage.is_some() {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"],\"usage\":");
            words::write_usage(&self.usage, out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

impl WriteStream for StreamOut {
    fn take(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        let on = match event {
            Event::Start(_) => On::Start,
            Event::End => On::End,
            Event::Error(_) => On::Error,
            Event::Heartbeat => {
                if !matches!(self.state, State::Ended | State::Failed) {
                    out.extend_from_slice(b": ping\n\n");
                }
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
            | Event::Finish { .. } => On::Chunk,
        };
        if self.go(on) {
            self.write(event, out);
        }
    }
}

impl StreamOut {
    fn write(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start(start) => self.start(start),
            Event::BlockStart(block, kind) => self.begin(*block, kind, out),
            Event::Text(block, text) => self.text(*block, text, out),
            Event::Args(block, piece) => self.args(*block, piece, out),
            Event::Opaque(block, opaque) => self.opaque(*block, opaque, out),
            Event::Citation(_, citation) if !is_url_citation(citation.as_str()) => {
                self.losses.dropped("/citations");
            }
            Event::Citation(block, citation) => {
                self.open(block.choice, out);
                out.extend_from_slice(br#""annotations":[{"type":"url_citation","url_citation":"#);
                citation.write_line(out);
                out.extend_from_slice(b"}]");
                Self::close(out);
            }
            Event::Logprobs(block, content) => {
                self.open(block.choice, out);
                out.extend_from_slice(b"},\"logprobs\":{\"content\":");
                content.write_line(out);
                out.extend_from_slice(b"},\"finish_reason\":null}]}\n\n");
            }
            Event::BlockEnd(block) => self.end_block(*block, out),
            Event::Usage(usage) => self.usage.update(usage),
            Event::Finish { choice, stop } => self.finish(*choice, stop, out),
            Event::End => self.end(out),
            Event::Error(failure) => write_error(failure, out),
            Event::Heartbeat => {}
        }
    }
}

/// The error as an event of its own; the stream then just ends.
fn write_error(failure: &Failure<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    failure_out::write(Dialect::OpenAiChat, failure, "", out);
    out.extend_from_slice(b"\n\n");
}
