//! What a stream says about itself: first token, usage, end, error.
//! Owns: the reading of one stream, and the choice of what is read at all.
//! Must not: keep the stream's bytes, allocate, or fail because of them. What it does not understand it passes over.
//!
//! An event that lies whole in the fed slice is judged where it lies. After the first token almost all are ordinary
//! pieces of the answer, and a search for a few keys tells so; only the others go through the JSON machine. An event
//! that is cut goes through the machine as its pieces come: nothing is stitched together. Both ways give the same
//! account, wherever the cuts are.
//! Read next: `marks.rs` (what is worth reading), `meaning.rs` (what is read), `scanner.rs` (lines).

use super::kind::Kind;
use super::marks::MARKS;
use super::meaning::{Meaning, Said};
use super::scanner::{Field, Scanner, Sink};
use crate::bounds::{JSON_DEPTH_MAX, SSE_DETECT_EVENTS_MAX, SSE_NAME_BYTES_MAX};
use crate::json::grammar::{Few, Grammar, Surrogates};

/// Whose grammar the events speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// OpenAI Chat Completions and completions, and every engine that speaks them.
    OpenAi,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Anthropic,
    /// Gemini, as events or as one JSON array.
    Gemini,
    /// To be told from the first events.
    Unknown,
}

/// Token counts as the provider names them. Each is the last one that was not null: counts in a stream are
/// snapshots, never increments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt. OpenAI and Gemini count `cache_read` in it, Anthropic does not.
    pub input: Option<u64>,
    /// Answer. OpenAI and Anthropic count `reasoning` in it, Gemini does not.
    pub output: Option<u64>,
    /// Prompt tokens found in the provider's cache.
    pub cache_read: Option<u64>,
    /// Prompt tokens written to the provider's cache.
    pub cache_write: Option<u64>,
    /// Tokens of thought.
    pub reasoning: Option<u64>,
    /// The provider's own sum.
    pub total: Option<u64>,
}

impl Usage {
    pub(super) const NONE: Self =
        Self { input: None, output: None, cache_read: None, cache_write: None, reasoning: None, total: None };

    /// A later snapshot replaces what it names.
    pub(super) fn update(&mut self, later: Self) {
        self.input = later.input.or(self.input);
        self.output = later.output.or(self.output);
        self.cache_read = later.cache_read.or(self.cache_read);
        self.cache_write = later.cache_write.or(self.cache_write);
        self.reasoning = later.reasoning.or(self.reasoning);
        self.total = later.total.or(self.total);
    }
}

/// What one feed held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The first event with content ended in it: text, reasoning, refusal or a tool call.
    pub first_token: bool,
    /// Events with data that ended in it; the end marker `[DONE]` and heartbeats are not counted.
    pub events: u32,
}

/// Reads one stream beside the relay.
#[derive(Clone, Debug)]
pub struct Observer {
    scanner: Scanner,
    form: Form,
    account: Account,
}

/// How the answers are strung together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Only white space was seen.
    Undecided,
    Events,
    /// Gemini without `alt=sse`: the elements of one JSON array.
    Array,
}

impl Observer {
    /// An observer for a stream of this shape.
    pub fn new(shape: Shape) -> Self {
        Self { scanner: Scanner::new(), form: Form::Undecided, account: Account::new(shape) }
    }

    /// Begins anew, for another stream.
    pub fn reset(&mut self, shape: Shape) {
        self.scanner = Scanner::new();
        self.form = Form::Undecided;
        self.account.reset(shape);
    }

    /// Takes the next bytes of the stream, cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) -> Seen {
        if self.form == Form::Undecided {
            self.decide(bytes);
        }
        if self.form == Form::Array {
            self.account.array(bytes);
        } else {
            let mut pass = Pass { account: &mut self.account, whole: None };
            self.scanner.feed(bytes, &mut pass);
            pass.end();
        }
        std::mem::take(&mut self.account.seen)
    }

    /// The stream has ended, and the transport says in good order. Data without its blank line counts if it is
    /// complete JSON.
    pub fn finish(&mut self) -> Seen {
        if self.form != Form::Array {
            self.account.tail();
        }
        self.account.end();
        std::mem::take(&mut self.account.seen)
    }

    /// Whose grammar the stream speaks, once that is known.
    pub fn shape(&self) -> Shape {
        self.account.shape
    }

    /// What the stream said about tokens.
    pub fn usage(&self) -> Usage {
        self.account.usage
    }

    /// Events that carried content. The first is told by its content, those after it by their sort; so the number
    /// is good for an estimate where usage is missing, not for a bill.
    pub fn content_events(&self) -> u64 {
        self.account.content_events
    }

    /// The stream said that it is complete: by its terminal event, or, after [`Self::finish`], by what its dialect
    /// takes for one (every choice finished; Anthropic's `stop_reason`). A terminal event may report failure too.
    pub fn terminal(&self) -> bool {
        self.account.done
    }

    /// Whether an event of ours may follow: the stream is made of events, and no line of it was cut in the middle.
    pub fn is_at_line_start(&self) -> bool {
        self.form != Form::Array && self.scanner.is_at_line_start()
    }

    /// Whether something may be put in to keep the line open: the stream is made of events, none of them is cut here,
    /// and it has not said its last. Never in a stream that numbers its events: a client of OpenAI's takes what
    /// follows a number for an event with empty data.
    pub fn takes_heartbeat(&self) -> bool {
        let over = self.account.done || self.account.error;
        self.form != Form::Array && self.scanner.is_between_events() && !over && !self.account.numbered
    }

    /// The stream said that the answer failed.
    pub fn error(&self) -> bool {
        self.account.error
    }

    fn decide(&mut self, bytes: &[u8]) {
        let array = matches!(self.account.shape, Shape::Gemini | Shape::Unknown);
        // White space as JSON has it: the array's reader takes no other, and a cut behind it may hide it from that one.
        match bytes.iter().find(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) {
            None => {}
            Some(b'[') if array => self.form = Form::Array,
            Some(_) => self.form = Form::Events,
        }
    }
}

/// The account of one stream, and the event that is being read.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts that a stream told, not a state")]
struct Account {
    shape: Shape,
    event: Event,
    grammar: Grammar,
    meaning: Meaning,
    seen: Seen,
    usage: Usage,
    events: u64,
    content_events: u64,
    /// One bit per choice or candidate.
    started: u64,
    ended: u64,
    stopped: bool,
    done: bool,
    error: bool,
    /// An event had an `id`.
    numbered: bool,
}

/// The event that is being read, when it does not lie whole in one slice.
#[derive(Clone, Debug)]
struct Event {
    name: Few<SSE_NAME_BYTES_MAX>,
    data: Data,
    /// The first bytes of the data, to know the end marker and heartbeats by.
    lead: [u8; DONE.len()],
    lead_len: usize,
}

/// How far the data of a cut event has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    None,
    /// All of it is JSON so far.
    Reading,
    NotJson,
}

const DONE: &[u8] = b"[DONE]";

impl Event {
    const fn new() -> Self {
        Self { name: Few::new(), data: Data::None, lead: [0; DONE.len()], lead_len: 0 }
    }

    fn clear(&mut self) {
        self.name.clear();
        self.data = Data::None;
        self.lead_len = 0;
    }

    fn kind(&self) -> Kind {
        self.name.whole().map_or(Kind::Other, Kind::of)
    }

    fn keep_lead(&mut self, piece: &[u8]) {
        let room = &mut self.lead[self.lead_len..];
        let len = room.len().min(piece.len());
        room[..len].copy_from_slice(&piece[..len]);
        self.lead_len += len;
    }
}

/// What the first bytes of an event's data say.
enum Lead {
    /// Nothing, or a comment where none belongs (`data: : keepalive`).
    Heartbeat,
    Done,
    Text,
}

fn lead(data: &[u8]) -> Lead {
    match data.first() {
        None | Some(b':') => Lead::Heartbeat,
        Some(b'[') if data.starts_with(DONE) => Lead::Done,
        Some(_) => Lead::Text,
    }
}

impl Account {
    fn new(shape: Shape) -> Self {
        Self {
            shape,
            event: Event::new(),
            grammar: Grammar::new(JSON_DEPTH_MAX, Surrogates::Replace),
            meaning: Meaning::new(),
            seen: Seen::default(),
            usage: Usage::NONE,
            events: 0,
            content_events: 0,
            started: 0,
            ended: 0,
            stopped: false,
            done: false,
            error: false,
            numbered: false,
        }
    }

    fn reset(&mut self, shape: Shape) {
        *self = Self::new(shape);
    }

    /// Dialects and engines without an end marker: the end of the transport is theirs, if the answer was finished.
    fn end(&mut self) {
        let finished = self.started != 0 && self.started & !self.ended == 0;
        self.done |= self.stopped || finished;
    }

    /// Is `type` the name of an event? Where it is not, it is not always read, so it must never count.
    fn names_events(&self) -> bool {
        matches!(self.shape, Shape::Anthropic | Shape::Responses | Shape::Unknown)
    }

    /// Too many events have passed without one of a dialect we know.
    fn lost(&self) -> bool {
        self.shape == Shape::Unknown && self.events >= u64::from(SSE_DETECT_EVENTS_MAX)
    }

    fn first_token_seen(&self) -> bool {
        self.content_events > 0
    }

    /// An event whose data is one line that lies whole in the slice: nearly every event.
    fn whole_event(&mut self, data: &[u8]) {
        match lead(data) {
            Lead::Heartbeat => {}
            Lead::Done => self.done_marker(),
            Lead::Text => {
                let field = self.event.kind();
                let kind =
                    if field == Kind::Unnamed && self.names_events() { Kind::of_data(data) } else { field };
                if self.is_plain(kind, data) {
                    self.settle(kind, None);
                } else {
                    self.begin_text();
                    self.read(data);
                    self.end_text();
                }
            }
        }
        self.event.clear();
    }

    /// A blank line after data that came in pieces, or after none.
    fn end_event(&mut self) {
        if self.event.data != Data::None {
            match lead(&self.event.lead[..self.event.lead_len]) {
                Lead::Heartbeat => {}
                Lead::Done => self.done_marker(),
                Lead::Text => self.end_text(),
            }
        }
        self.event.clear();
    }

    /// The stream ended without a blank line.
    fn tail(&mut self) {
        let is_done = matches!(lead(&self.event.lead[..self.event.lead_len]), Lead::Done);
        if is_done || self.event.data == Data::Reading && self.grammar.finish(&mut self.meaning) {
            self.end_event();
        }
        self.event.clear();
    }

    fn done_marker(&mut self) {
        self.done |= matches!(self.shape, Shape::OpenAi | Shape::Unknown);
    }

    fn begin_text(&mut self) {
        self.event.data = Data::Reading;
        self.grammar.reset();
        self.meaning.begin(self.shape);
    }

    fn read(&mut self, piece: &[u8]) {
        if self.event.data == Data::Reading && self.grammar.feed(piece, &mut self.meaning).is_err() {
            self.event.data = Data::NotJson;
        }
    }

    fn end_text(&mut self) {
        let said = *self.meaning.said();
        let json = self.event.data == Data::Reading && self.grammar.finish(&mut self.meaning);
        let field = self.event.kind();
        if json && !self.lost() {
            self.detect(&said);
        }
        let kind = if field == Kind::Unnamed && self.names_events() { said.kind } else { field };
        self.settle(kind, json.then_some(&said));
    }

    /// A piece of the data of an event that does not lie whole in the slice.
    fn data(&mut self, piece: &[u8], first: bool) {
        if self.event.data == Data::None {
            self.begin_text();
        } else if first {
            self.piece(b"\n");
        }
        self.piece(piece);
    }

    fn piece(&mut self, piece: &[u8]) {
        self.event.keep_lead(piece);
        if !self.lost() {
            self.read(piece);
        }
    }

    fn array(&mut self, bytes: &[u8]) {
        if self.event.data == Data::None {
            self.begin_text();
        }
        self.read(bytes);
        let passed = self.meaning.take_passed();
        if passed.texts > 0 {
            self.count(passed.texts, passed.with_content);
            self.detect(&passed.said);
            self.apply(&passed.said);
        }
    }

    /// Nothing in this event can change the account, apart from its being one more.
    fn is_plain(&self, kind: Kind, data: &[u8]) -> bool {
        if self.lost() {
            return true;
        }
        if !self.first_token_seen() {
            return false;
        }
        match self.shape {
            Shape::OpenAi => !MARKS.openai(data),
            Shape::Gemini => !MARKS.gemini(data),
            Shape::Anthropic => kind == Kind::BlockDelta,
            Shape::Responses => !ends_response(kind),
            Shape::Unknown => false,
        }
    }

    /// Books an event: by its kind, and by what it said if it was read and is JSON.
    fn settle(&mut self, kind: Kind, said: Option<&Said>) {
        if self.lost() {
            self.count(1, 0);
            return;
        }
        let known = said.filter(|said| self.understood(kind, said));
        let content = if self.first_token_seen() {
            self.carries(kind, known)
        } else {
            known.is_some_and(|said| said.content)
        };
        self.count(1, u32::from(content));
        if let Some(said) = known {
            self.apply(said);
        }
        self.named(kind);
    }

    fn detect(&mut self, said: &Said) {
        if self.shape == Shape::Unknown {
            self.shape = said.shape.unwrap_or(Shape::Unknown);
        }
    }

    /// Is this event one whose words are taken? Those that `is_plain` passes over must not be, even when they were
    /// read because they were cut.
    fn understood(&self, kind: Kind, said: &Said) -> bool {
        if !self.first_token_seen() {
            return true;
        }
        match self.shape {
            Shape::OpenAi | Shape::Gemini => said.counts(),
            Shape::Anthropic => kind != Kind::BlockDelta,
            Shape::Responses => ends_response(kind),
            Shape::Unknown => true,
        }
    }

    /// After the first token: is this another piece of the answer?
    fn carries(&self, kind: Kind, known: Option<&Said>) -> bool {
        let says_so = known.is_some_and(|said| said.content);
        match self.shape {
            Shape::OpenAi | Shape::Gemini => known.is_none() || says_so,
            Shape::Anthropic => kind == Kind::BlockDelta || says_so,
            Shape::Responses => kind == Kind::ResponseDelta,
            Shape::Unknown => says_so,
        }
    }

    fn count(&mut self, events: u32, with_content: u32) {
        self.seen.first_token |= with_content > 0 && !self.first_token_seen();
        self.seen.events += events;
        self.events += u64::from(events);
        self.content_events += u64::from(with_content);
    }

    fn apply(&mut self, said: &Said) {
        self.usage.update(said.usage);
        self.error |= said.error;
        self.stopped |= said.stopped;
        self.started |= said.started;
        self.ended |= said.ended;
    }

    /// What the event's name alone says, whatever its data is.
    fn named(&mut self, kind: Kind) {
        match kind {
            Kind::Error => {
                self.error = true;
                self.done |= self.shape == Shape::Responses;
            }
            Kind::MessageStop => self.done |= self.shape == Shape::Anthropic,
            Kind::ResponseEnd => self.done |= self.shape == Shape::Responses,
            Kind::ResponseFailed if self.shape == Shape::Responses => (self.done, self.error) = (true, true),
            Kind::Unnamed
            | Kind::BlockDelta
            | Kind::Message
            | Kind::ResponseDelta
            | Kind::ResponseFailed
            | Kind::Response
            | Kind::Other => {}
        }
    }
}

/// May an event of this kind end a Responses stream?
const fn ends_response(kind: Kind) -> bool {
    matches!(kind, Kind::Unnamed | Kind::Error | Kind::ResponseEnd | Kind::ResponseFailed)
}

/// One feed: the sink of the line scanner.
struct Pass<'o, 'a> {
    account: &'o mut Account,
    /// The data of the event, while it is one line that lies whole in the slice.
    whole: Option<&'a [u8]>,
}

impl Pass<'_, '_> {
    /// The slice has ended. What lies in it must be read now.
    fn end(&mut self) {
        if let Some(line) = self.whole.take() {
            self.account.data(line, true);
        }
    }
}

impl<'a> Sink<'a> for Pass<'_, 'a> {
    fn value(&mut self, field: Field, piece: &'a [u8], first: bool, last: bool) {
        match field {
            Field::Data if first && last && self.whole.is_none() && self.account.event.data == Data::None => {
                self.whole = Some(piece);
            }
            Field::Data => {
                self.end(); // the data has a second line
                self.account.data(piece, first);
            }
            Field::Event => {
                let name = &mut self.account.event.name;
                if first {
                    name.clear();
                }
                name.push(piece);
            }
            Field::Id => self.account.numbered = true,
            Field::Retry => {}
        }
    }

    fn dispatch(&mut self) {
        match self.whole.take() {
            Some(data) => self.account.whole_event(data),
            None => self.account.end_event(),
        }
    }
}
