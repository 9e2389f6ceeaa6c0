//! Events into a stream of Responses.
//!
//! An item is begun when it has something to hold, so there is no empty message in front of a call; texts that follow each
//! other are parts of one message. The last event repeats the whole output, so that is held, within a bound.
//! Owns: the life of the response, its items and their parts (dialects section 5.4).
//! Must not: end well what failed, or leave an item open.
//! Read next: `item.rs`.

use super::answer_out::shows;
use super::item::{self, Now, Status};
use super::words::Ending;
use crate::bounds::HELD_BYTES_MAX;
use crate::errors::Kind;
use crate::json::{Surrogates, Tape, Text, number, string};
use crate::model::{Args, Block, BlockKind, Echo, Event, Failure, Losses, Opaque, Start, Stop, Usage};
use crate::stream::WriteStream;
use crate::{answer_id, custom};

/// How far a stream has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing was written.
    #[default]
    Fresh,
    /// The response is in progress.
    Open,
    /// It ended well.
    Ended,
    /// It failed.
    Failed,
}

/// What moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    /// The beginning.
    Start,
    /// The end.
    End,
    /// An error.
    Failure,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fresh, Self::Open, Self::Ended, Self::Failed];
}

impl On {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Start, Self::End, Self::Failure];
}

/// The next state; `None`: nothing is written.
pub const fn step(from: State, on: On) -> Option<State> {
    Some(match (from, on) {
        (State::Fresh, On::Start) => State::Open,
        (State::Open, On::End) => State::Ended,
        (State::Fresh | State::Open, On::Failure) => State::Failed,
        // The first two are our bug, not the upstream's.
        (State::Fresh, On::End)
        | (State::Open, On::Start)
        | (State::Ended | State::Failed, On::Start | On::End | On::Failure) => return None,
    })
}

/// Writes one stream.
#[derive(Debug)]
pub struct StreamOut {
    state: State,
    echo: Echo,
    id: String,
    created: u64,
    number: u64,
    items: usize,
    /// Items that are done: their place and their JSON text.
    done: Vec<(usize, Vec<u8>)>,
    message: Option<Message>,
    thought: Option<Thought>,
    calls: Vec<Call>,
    /// The open block that is no call.
    flow: Option<(Block, Flow)>,
    usage: Usage,
    stop: Option<Stop<'static>>,
    refused: bool,
    held: usize,
    losses: Losses,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Text,
    Refusal,
    Thought {
        is_raw: bool,
    },
    /// Nothing of it is shown.
    Hidden,
}

#[derive(Debug)]
struct Message {
    index: usize,
    id: String,
    /// Parts that are done, as JSON text.
    content: Vec<u8>,
    parts: u64,
    part: Option<Part>,
}

/// The part at hand.
#[derive(Debug)]
struct Part {
    is_refusal: bool,
    /// As written inside a JSON string.
    text: String,
    annotations: Vec<u8>,
    citations: u64,
    logprobs: Vec<u8>,
}

#[derive(Debug)]
struct Thought {
    index: usize,
    id: String,
    is_raw: bool,
    text: String,
    /// Its one part was begun.
    has_part: bool,
    sealed: Option<String>,
}

#[derive(Debug)]
struct Call {
    block: Block,
    index: usize,
    id: String,
    /// Links it with its result.
    link: Text<'static>,
    name: String,
    namespace: Option<String>,
    /// At the caller it is a custom tool.
    custom: bool,
    /// Its input is wrapped in JSON, so it can be told only when it is whole.
    wrapped: bool,
    given: String,
}

impl StreamOut {
    /// At the beginning of a stream for this caller.
    pub fn new(echo: Echo) -> Self {
        Self {
            state: State::Fresh,
            echo,
            id: String::new(),
            created: 0,
            number: 0,
            items: 0,
            done: Vec::new(),
            message: None,
            thought: None,
            calls: Vec::new(),
            flow: None,
            usage: Usage::NONE,
            stop: None,
            refused: false,
            held: 0,
            losses: Losses::new(),
        }
    }

    /// What had no place in the stream.
    pub const fn losses(&self) -> &Losses {
        &self.losses
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

    /// Begins an event; its other fields follow, then [`end`].
    fn begin(&mut self, kind: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(
            br#"
data: {"type":""#,
        );
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(br#"","sequence_number":"#);
        number(out, self.number);
        self.number += 1;
    }

    fn start(&mut self, start: &Start<'_>, out: &mut Vec<u8>) {
        if !self.on(On::Start) {
            return;
        }
        self.id = answer_id::bare(&start.id, &self.echo);
        self.created = start.created.unwrap_or(self.echo.now);
        for kind in ["response.created", "response.in_progress"] {
            self.response(kind, Now::InProgress, b"", None, out);
        }
    }

    fn response(
        &mut self,
        kind: &str,
        now: Now<'_>,
        output: &[u8],
        usage: Option<&Usage>,
        out: &mut Vec<u8>,
    ) {
        self.begin(kind, out);
        out.extend_from_slice(br#","response":"#);
        item::response(out, &self.id, self.created, &self.echo, now, output, usage);
        end(out);
    }

    /// The next place, and an id for what stands there.
    fn place(&mut self, prefix: &str) -> (usize, String) {
        let index = self.items;
        self.items += 1;
        (index, item::id(prefix, &self.id, index))
    }

    fn item_event(&mut self, kind: &str, index: usize, item: &[u8], out: &mut Vec<u8>) {
        self.begin(kind, out);
        item::integer(out, "output_index", index as u64);
        out.extend_from_slice(br#","item":"#);
        out.extend_from_slice(item);
        end(out);
    }

    fn item_done(&mut self, index: usize, item: Vec<u8>, out: &mut Vec<u8>) {
        self.item_event("response.output_item.done", index, &item, out);
        self.done.push((index, item));
    }

    fn block_start(&mut self, block: Block, kind: &BlockKind<'_>, out: &mut Vec<u8>) {
        let flow = match kind {
            BlockKind::Text => Flow::Text,
            BlockKind::Refusal => Flow::Refusal,
            BlockKind::Reasoning { is_raw } => {
                self.end_message(Status::Completed, out);
                if shows(&self.echo, *is_raw) { Flow::Thought { is_raw: *is_raw } } else { Flow::Hidden }
            }
            BlockKind::Tool { id, name, custom } => return self.begin_call(block, id, name, *custom, out),
            BlockKind::Image { .. } => {
                self.losses.dropped("/images");
                Flow::Hidden
            }
            BlockKind::Server(_) => {
                self.losses.dropped("/server_tools");
                Flow::Hidden
            }
        };
        self.flow = Some((block, flow));
    }

    fn begin_call(&mut self, block: Block, id: &Text<'_>, name: &Text<'_>, custom: bool, out: &mut Vec<u8>) {
        self.end_message(Status::Completed, out);
        let flat = name.plain();
        let known = self.echo.names.find(&flat).cloned();
        let is_custom = custom || known.as_ref().is_some_and(|tool| tool.custom);
        let (index, item_id) = self.place(if is_custom { "ctc" } else { "fc" });
        let call = Call {
            block,
            index,
            id: item_id,
            link: id.lend().into_owned(),
            name: known.as_ref().map_or_else(|| flat.clone().into_owned(), |tool| tool.name.clone()),
            namespace: known.and_then(|tool| tool.namespace),
            custom: is_custom,
            wrapped: is_custom && !custom,
            given: String::new(),
        };
        let item = call.item(Status::InProgress, &Text::EMPTY);
        self.item_event("response.output_item.added", index, &item, out);
        self.calls.push(call);
    }

    fn text(&mut self, block: Block, text: &Text<'_>, out: &mut Vec<u8>) {
        self.held += text.as_written().len();
        match self.flow.filter(|(open, _)| *open == block).map(|(_, flow)| flow) {
            Some(Flow::Text) => self.message_text(false, text, out),
            Some(Flow::Refusal) => self.message_text(true, text, out),
            Some(Flow::Thought { is_raw }) => self.thought_text(is_raw, text, out),
            Some(Flow::Hidden) | None => {}
        }
    }

    /// What stands in front of every event of a part.
    fn part_event(&mut self, kind: &str, id: &str, index: usize, part: (&str, u64), out: &mut Vec<u8>) {
        self.begin(kind, out);
        out.extend_from_slice(br#","item_id":"#);
        string(out, id);
        item::integer(out, "output_index", index as u64);
        item::integer(out, part.0, part.1);
    }

    fn message_text(&mut self, is_refusal: bool, text: &Text<'_>, out: &mut Vec<u8>) {
        self.refused |= is_refusal;
        let mut message = self.message.take().unwrap_or_else(|| {
            let (index, id) = self.place("msg");
            let mut item = Vec::new();
            item::message(&mut item, &id, Status::InProgress, b"");
            self.item_event("response.output_item.added", index, &item, out);
            Message { index, id, content: Vec::new(), parts: 0, part: None }
        });
        let place = ("content_index", message.parts);
        if message.part.is_none() {
            self.part_event("response.content_part.added", &message.id, message.index, place, out);
            out.extend_from_slice(br#","part":"#);
            let part = Part::new(is_refusal);
            part.write(out);
            end(out);
            message.part = Some(part);
        }
        let kind = if is_refusal { "response.refusal.delta" } else { "response.output_text.delta" };
        self.part_event(kind, &message.id, message.index, place, out);
        write_delta(text, out);
        if !is_refusal {
            out.extend_from_slice(br#","logprobs":[]"#);
        }
        end(out);
        if let Some(part) = &mut message.part {
            part.text.push_str(text.as_written());
        }
        self.message = Some(message);
    }

    fn end_part(&mut self, out: &mut Vec<u8>) {
        let Some(mut message) = self.message.take() else { return };
        if let Some(part) = message.part.take() {
            let place = ("content_index", message.parts);
            let (kind, key) = if part.is_refusal {
                ("response.refusal.done", "refusal")
            } else {
                ("response.output_text.done", "text")
            };
            self.part_event(kind, &message.id, message.index, place, out);
            write_whole(key, &Text::written(&part.text), out);
            if !part.is_refusal {
                out.extend_from_slice(br#","logprobs":["#);
                out.extend_from_slice(&part.logprobs);
                out.push(b']');
            }
            end(out);
            self.part_event("response.content_part.done", &message.id, message.index, place, out);
            out.extend_from_slice(br#","part":"#);
            part.write(out);
            end(out);
            if message.parts > 0 {
                message.content.push(b',');
            }
            part.write(&mut message.content);
            message.parts += 1;
        }
        self.message = Some(message);
    }

    fn end_message(&mut self, status: Status, out: &mut Vec<u8>) {
        self.end_part(out);
        let Some(message) = self.message.take() else { return };
        let mut item = Vec::new();
        item::message(&mut item, &message.id, status, &message.content);
        self.item_done(message.index, item, out);
    }

    /// Begins the item of a thought.
    fn begin_thought(&mut self, is_raw: bool, out: &mut Vec<u8>) {
        if self.thought.is_some() {
            return;
        }
        let (index, id) = self.place("rs");
        let mut item = Vec::new();
        item::reasoning(&mut item, &id, b"", b"", None);
        self.item_event("response.output_item.added", index, &item, out);
        self.thought =
            Some(Thought { index, id, is_raw, text: String::new(), has_part: false, sealed: None });
    }

    fn thought_text(&mut self, is_raw: bool, text: &Text<'_>, out: &mut Vec<u8>) {
        self.begin_thought(is_raw, out);
        let Some(mut thought) = self.thought.take() else { return };
        let place = thought.place();
        if !thought.has_part {
            thought.has_part = true;
            let kind =
                if is_raw { "response.content_part.added" } else { "response.reasoning_summary_part.added" };
            self.part_event(kind, &thought.id, thought.index, place, out);
            out.extend_from_slice(br#","part":"#);
            item::plain_part(out, thought.part_kind(), &Text::EMPTY);
            end(out);
        }
        let kind =
            if is_raw { "response.reasoning_text.delta" } else { "response.reasoning_summary_text.delta" };
        self.part_event(kind, &thought.id, thought.index, place, out);
        write_delta(text, out);
        end(out);
        thought.text.push_str(text.as_written());
        self.thought = Some(thought);
    }

    fn end_thought(&mut self, out: &mut Vec<u8>) {
        let Some(thought) = self.thought.take() else { return };
        let text = Text::written(&thought.text);
        let mut part = Vec::new();
        if thought.has_part {
            item::plain_part(&mut part, thought.part_kind(), &text);
            let (said, closed) = if thought.is_raw {
                ("response.reasoning_text.done", "response.content_part.done")
            } else {
                ("response.reasoning_summary_text.done", "response.reasoning_summary_part.done")
            };
            self.part_event(said, &thought.id, thought.index, thought.place(), out);
            write_whole("text", &text, out);
            end(out);
            self.part_event(closed, &thought.id, thought.index, thought.place(), out);
            out.extend_from_slice(br#","part":"#);
            out.extend_from_slice(&part);
            end(out);
        }
        let (summary, content): (&[u8], &[u8]) = if thought.is_raw { (b"", &part) } else { (&part, b"") };
        let mut item = Vec::new();
        item::reasoning(&mut item, &thought.id, summary, content, thought.sealed.as_deref());
        self.item_done(thought.index, item, out);
    }

    fn args(&mut self, block: Block, piece: &Text<'_>, out: &mut Vec<u8>) {
        self.held += piece.as_written().len();
        let Some(at) = self.calls.iter().position(|call| call.block == block) else { return };
        self.calls[at].given.push_str(piece.as_written());
        if !self.calls[at].wrapped && !piece.is_empty() {
            self.call_delta(at, piece, out);
        }
    }

    fn call_event(&mut self, at: usize, what: &str, out: &mut Vec<u8>) {
        let call = &self.calls[at];
        let family = if call.custom { "custom_tool_call_input" } else { "function_call_arguments" };
        let (kind, id, index) = (format!("response.{family}.{what}"), call.id.clone(), call.index);
        self.begin(&kind, out);
        out.extend_from_slice(br#","item_id":"#);
        string(out, &id);
        item::integer(out, "output_index", index as u64);
    }

    fn call_delta(&mut self, at: usize, piece: &Text<'_>, out: &mut Vec<u8>) {
        self.call_event(at, "delta", out);
        write_delta(piece, out);
        end(out);
    }

    /// A call is told whole; one whose arguments a limit cut is told as incomplete.
    fn end_call(&mut self, at: usize, out: &mut Vec<u8>) {
        let given = Text::owned(std::mem::take(&mut self.calls[at].given));
        let empty = given.plain().trim().is_empty() && !self.calls[at].custom;
        let given = if empty {
            Text::written("{}")
        } else if self.calls[at].wrapped {
            custom::input(&Args::Text(given)).into_owned()
        } else {
            given
        };
        if (empty || self.calls[at].wrapped) && !given.is_empty() {
            self.call_delta(at, &given, out);
        }
        self.call_event(at, "done", out);
        if !self.calls[at].custom {
            out.extend_from_slice(br#","name":"#);
            string(out, &self.calls[at].name);
        }
        write_whole(if self.calls[at].custom { "input" } else { "arguments" }, &given, out);
        end(out);
        let call = self.calls.remove(at);
        let whole = call.custom || Tape::new().read(&given.plain(), Surrogates::Replace).is_ok();
        let item = call.item(if whole { Status::Completed } else { Status::Incomplete }, &given);
        self.item_done(call.index, item, out);
    }

    /// A caller that keeps the state itself gets it with the thought.
    fn opaque(&mut self, block: Block, opaque: &Opaque<'_>, out: &mut Vec<u8>) {
        let Some((_, flow)) = self.flow.filter(|(open, _)| *open == block) else { return };
        if !self.echo.return_opaque {
            return;
        }
        match flow {
            Flow::Thought { is_raw } => self.begin_thought(is_raw, out),
            Flow::Hidden => self.begin_thought(false, out),
            Flow::Text | Flow::Refusal => return, // a text has no slot for it
        }
        let sealed = opaque.seal();
        self.held += sealed.len();
        if let Some(thought) = &mut self.thought {
            thought.sealed = Some(sealed);
        }
    }

    fn cite(&mut self, block: Block, citation: &str, out: &mut Vec<u8>) {
        if self.flow != Some((block, Flow::Text)) {
            return;
        }
        let Some(mut message) = self.message.take() else { return };
        if let Some(part) = &mut message.part {
            let mut annotation = Vec::new();
            let chars = Text::written(&part.text).plain().chars().count();
            if item::annotation(&mut annotation, citation, chars) {
                self.held += annotation.len();
                let place = ("content_index", message.parts);
                self.part_event(
                    "response.output_text.annotation.added",
                    &message.id,
                    message.index,
                    place,
                    out,
                );
                item::integer(out, "annotation_index", part.citations);
                out.extend_from_slice(br#","annotation":"#);
                out.extend_from_slice(&annotation);
                end(out);
                part.citations += 1;
                join(&mut part.annotations, &annotation);
            } else {
                self.losses.dropped("/citations");
            }
        }
        self.message = Some(message);
    }

    fn logprobs(&mut self, block: Block, raw: &str) {
        let inside =
            raw.trim().strip_prefix('[').and_then(|raw| raw.strip_suffix(']')).unwrap_or_default().trim();
        if self.flow != Some((block, Flow::Text)) || inside.is_empty() {
            return;
        }
        if let Some(part) = self.message.as_mut().and_then(|message| message.part.as_mut()) {
            let mut safe = Vec::new();
            Text::written(inside).write_inside_line(&mut safe);
            self.held += safe.len();
            join(&mut part.logprobs, &safe);
        }
    }

    fn block_end(&mut self, block: Block, out: &mut Vec<u8>) {
        if let Some(at) = self.calls.iter().position(|call| call.block == block) {
            self.end_call(at, out);
        } else if self.flow.is_some_and(|(open, _)| open == block) {
            self.flow = None;
            self.end_part(out);
            self.end_thought(out);
        }
    }

    fn close_all(&mut self, status: Status, out: &mut Vec<u8>) {
        self.end_message(status, out);
        self.end_thought(out);
        while !self.calls.is_empty() {
            self.end_call(0, out);
        }
    }

    /// All items in their order, as JSON text.
    fn output(&mut self) -> Vec<u8> {
        self.done.sort_by_key(|(index, _)| *index);
        let mut output = Vec::new();
        self.done.iter().for_each(|(_, item)| join(&mut output, item));
        output
    }

    fn last(&mut self, out: &mut Vec<u8>) {
        if self.state != State::Open {
            return;
        }
        let stop = self.stop.take().unwrap_or(Stop::EndTurn);
        if let Stop::BadToolCall(message) = &stop {
            let words = message.clone().unwrap_or(Text::written("the model's call of a tool cannot be read"));
            self.fail(&Failure { kind: Kind::BadGateway, message: words, retry_after_ms: None }, out);
            return;
        }
        let ending = match &stop {
            Stop::Refusal { .. } if self.refused => Ending::Completed,
            stop => Ending::of(stop).0,
        };
        let (status, kind) = match ending {
            Ending::Completed => (Status::Completed, "response.completed"),
            Ending::Incomplete(_) => (Status::Incomplete, "response.incomplete"),
        };
        self.close_all(status, out);
        self.on(On::End);
        let output = self.output();
        let usage = self.usage;
        self.response(kind, Now::Ended(ending), &output, Some(&usage).filter(|usage| usage.is_some()), out);
    }

    /// `response.failed`, with all that was made; where nothing was begun, a bare `error`.
    fn fail(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        let begun = self.state == State::Open;
        if begun {
            self.close_all(Status::Incomplete, out);
        }
        if !self.on(On::Failure) {
            return;
        }
        let (code, message) = (code(failure.kind), failure.message.plain());
        if begun {
            let output = self.output();
            let usage = self.usage;
            let usage = Some(&usage).filter(|usage| usage.is_some());
            self.response("response.failed", Now::Failed(code, &message), &output, usage, out);
            return;
        }
        self.begin("error", out);
        out.extend_from_slice(br#","code":"#);
        string(out, code);
        write_whole("message", &Text::of(&message), out);
        out.extend_from_slice(br#","param":null"#);
        end(out);
    }
}

/// What the API calls it in a response; clients act upon some of them.
const fn code(kind: Kind) -> &'static str {
    match kind {
        Kind::RateLimited => "rate_limit_exceeded",
        Kind::ContextTooLong | Kind::OutputPlusInputTooLong => "context_length_exceeded",
        Kind::Billing => "insufficient_quota",
        Kind::Overloaded => "server_is_overloaded",
        Kind::InvalidRequest
        | Kind::UnsupportedField
        | Kind::ThreadUnsupported
        | Kind::ContentPolicy
        | Kind::Unprocessable => "invalid_prompt",
        Kind::Unauthenticated
        | Kind::Forbidden
        | Kind::NotFound
        | Kind::ModelNotFound
        | Kind::MethodNotAllowed
        | Kind::RequestTimeout
        | Kind::Conflict
        | Kind::TooLarge
        | Kind::UnsupportedMedia
        | Kind::ClientClosed
        | Kind::Internal
        | Kind::NotImplemented
        | Kind::BadGateway
        | Kind::UpstreamTruncated
        | Kind::NoUpstream
        | Kind::GatewayTimeout => "server_error",
    }
}

fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"}\n\n");
}

fn write_delta(text: &Text<'_>, out: &mut Vec<u8>) {
    write_whole("delta", text, out);
}

fn write_whole(key: &str, text: &Text<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    text.write_line(out);
}

fn join(all: &mut Vec<u8>, one: &[u8]) {
    if !all.is_empty() {
        all.push(b',');
    }
    all.extend_from_slice(one);
}

impl Part {
    const fn new(is_refusal: bool) -> Self {
        Self { is_refusal, text: String::new(), annotations: Vec::new(), citations: 0, logprobs: Vec::new() }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let text = Text::written(&self.text);
        if self.is_refusal {
            item::plain_part(out, "refusal", &text);
        } else {
            item::text_part(out, &text, &self.annotations, &self.logprobs);
        }
    }
}

impl Thought {
    const fn part_kind(&self) -> &'static str {
        if self.is_raw { "reasoning_text" } else { "summary_text" }
    }

    const fn place(&self) -> (&'static str, u64) {
        (if self.is_raw { "content_index" } else { "summary_index" }, 0)
    }
}

impl Call {
    fn item(&self, status: Status, given: &Text<'_>) -> Vec<u8> {
        let mut item = Vec::new();
        item::call(
            &mut item,
            &item::Call {
                id: &self.id,
                status,
                link: &self.link,
                name: &self.name,
                namespace: self.namespace.as_deref(),
                custom: self.custom,
                given,
            },
        );
        item
    }
}

impl WriteStream for StreamOut {
    fn take(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if matches!(self.state, State::Ended | State::Failed) {
            return;
        }
        match event {
            Event::Start(start) => self.start(start, out),
            // The dialect has one answer.
            Event::BlockStart(block, _)
            | Event::Text(block, _)
            | Event::Args(block, _)
            | Event::Opaque(block, _)
            | Event::Citation(block, _)
            | Event::Logprobs(block, _)
            | Event::BlockEnd(block)
                if block.choice != 0 =>
            {
                self.losses.dropped("/choices");
            }
            Event::BlockStart(block, kind) => self.block_start(*block, kind, out),
            Event::Text(block, text) => self.text(*block, text, out),
            Event::Args(block, piece) => self.args(*block, piece, out),
            Event::Opaque(block, opaque) => self.opaque(*block, opaque, out),
            Event::Citation(block, citation) => self.cite(*block, citation.as_str(), out),
            Event::Logprobs(block, logprobs) => self.logprobs(*block, logprobs.as_str()),
            Event::BlockEnd(block) => self.block_end(*block, out),
            Event::Usage(usage) => self.usage.update(usage),
            Event::Finish { choice: 0, stop } => {
                if Ending::of(stop).1 {
                    self.losses.noted("", "stop-reason");
                }
                self.stop = Some(stop.clone().into_owned());
            }
            Event::Finish { .. } => {}
            Event::End => self.last(out),
            Event::Error(failure) => self.fail(failure, out),
            Event::Heartbeat => out.extend_from_slice(b": ping\n\n"),
        }
        if self.held > HELD_BYTES_MAX {
            self.held = 0;
            self.fail(
                &Failure::of(Kind::BadGateway, "the upstream's answer is longer than what is held"),
                out,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

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
            "Fresh Start Open\nFresh End -\nFresh Failure Failed\nOpen Start -\nOpen End Ended\nOpen Failure Failed\n\
             Ended Start -\nEnded End -\nEnded Failure -\nFailed Start -\nFailed End -\nFailed Failure -\n"
        );
    }
}
