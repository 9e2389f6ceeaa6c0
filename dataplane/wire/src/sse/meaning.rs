//! What one JSON text of an answer says: the data of an event, or a whole body.
//! Owns: the places where the four dialects put usage, content, errors and ends.
//! Must not: keep text; it asks only whether there is any.
//! Where the shape is unknown all dialects are read at once: their keys do not collide. Keys are compared as written: a provider that escapes the letters of `usage` is not understood, and no
//! byte of the stream changes for it.
//! Read next: `../json/grammar.rs`, which calls this sink; `observer.rs`, which decides what to read.

use super::kind::Kind;
use super::observer::{Shape, Usage};
use crate::bounds::{JSON_KEY_BYTES_MAX, JSON_NUMBER_BYTES_MAX, SSE_MEANING_DEPTH_MAX, SSE_NAME_BYTES_MAX};
use crate::json::grammar::{Few, Sink, Word, integer};

/// What a text said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    pub(super) usage: Usage,
    /// Text, reasoning, refusal or a tool call is in it.
    pub(super) content: bool,
    /// It is, or holds, an error.
    pub(super) error: bool,
    /// Its `type`.
    pub(super) kind: Kind,
    /// Whose grammar its keys belong to.
    pub(super) shape: Option<Shape>,
    /// One bit per choice or candidate that occurs in it.
    pub(super) started: u64,
    /// One bit per choice or candidate that it ends.
    pub(super) ended: u64,
    /// The whole message stops (Anthropic), or the prompt was refused (Gemini).
    pub(super) stopped: bool,
}

impl Said {
    /// It has something for the account, so whether it has content is read exactly too.
    pub(super) fn counts(&self) -> bool {
        self.usage != Usage::default() || self.error || self.ended != 0 || self.stopped
    }
}

/// The element texts of an array that have passed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passed {
    pub(super) texts: u32,
    pub(super) with_content: u32,
    pub(super) said: Said,
}

/// What a value is, by where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Elsewhere,
    Text,
    Type,
    Usage,
    InputDetails,
    OutputDetails,
    Count(Count),
    Error,
    Response,
    Message,
    // OpenAI
    Choices,
    Choice,
    Index,
    End,
    ChoiceDelta,
    ToolCalls,
    ToolCall,
    Function,
    Audio,
    // Wherever text may be a string or nest in arrays of parts
    Content,
    String,
    // Anthropic; for Responses a plain string
    Delta,
    Block,
    Stop,
    // Responses
    Output,
    Item,
    // Gemini
    Candidates,
    Candidate,
    CandidateContent,
    Parts,
    Part,
    Presence,
    Feedback,
}

/// The counts of a usage object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Input,
    Output,
    CacheRead,
    CacheWrite,
    Reasoning,
    Total,
}

impl Place {
    /// The value of `key` in a text of this shape. Keys of other dialects say nothing: what is passed over unread
    /// after the first token must not count when a cut makes us read it.
    fn of_text(shape: Shape, key: &[u8]) -> Self {
        let (place, shapes): (_, &[Shape]) = match key {
            b"type" => (Self::Type, &[Shape::OpenAi, Shape::Gemini, Shape::Anthropic, Shape::Responses]),
            b"error" => (Self::Error, &[Shape::OpenAi, Shape::Gemini, Shape::Anthropic, Shape::Responses]),
            b"usage" => (Self::Usage, &[Shape::OpenAi, Shape::Anthropic]),
            b"usageMetadata" => (Self::Usage, &[Shape::Gemini]),
            b"choices" => (Self::Choices, &[Shape::OpenAi]),
            b"candidates" => (Self::Candidates, &[Shape::Gemini]),
            b"promptFeedback" => (Self::Feedback, &[Shape::Gemini]),
            b"delta" => (Self::Delta, &[Shape::Anthropic, Shape::Responses]),
            b"content_block" => (Self::Block, &[Shape::Anthropic]),
            b"message" => (Self::Message, &[Shape::Anthropic]),
            b"response" => (Self::Response, &[Shape::Responses]),
            b"item" => (Self::Item, &[Shape::Responses]),
            _ => return Self::Elsewhere,
        };
        if shape == Shape::Unknown || shapes.contains(&shape) { place } else { Self::Elsewhere }
    }

    /// The value of `key` in an object at this place.
    fn member(self, key: &[u8]) -> Self {
        match self {
            Self::Usage => match key {
                b"prompt_tokens" | b"input_tokens" | b"promptTokenCount" => Self::Count(Count::Input),
                b"completion_tokens" | b"output_tokens" | b"candidatesTokenCount" => {
                    Self::Count(Count::Output)
                }
                b"total_tokens" | b"totalTokenCount" => Self::Count(Count::Total),
                b"cache_read_input_tokens" | b"cachedContentTokenCount" => Self::Count(Count::CacheRead),
                b"cache_creation_input_tokens" => Self::Count(Count::CacheWrite),
                b"reasoning_tokens" | b"thoughtsTokenCount" => Self::Count(Count::Reasoning),
                b"prompt_tokens_details" | b"input_tokens_details" => Self::InputDetails,
                b"completion_tokens_details" | b"output_tokens_details" => Self::OutputDetails,
                _ => Self::Elsewhere,
            },
            Self::InputDetails => match key {
                b"cached_tokens" => Self::Count(Count::CacheRead),
                b"cache_write_tokens" | b"created_cache_tokens" => Self::Count(Count::CacheWrite),
                _ => Self::Elsewhere,
            },
            Self::OutputDetails => match key {
                b"reasoning_tokens" | b"thinking_tokens" => Self::Count(Count::Reasoning),
                _ => Self::Elsewhere,
            },
            Self::Response => match key {
                b"usage" => Self::Usage,
                b"error" => Self::Error,
                b"output" => Self::Output,
                _ => Self::Elsewhere,
            },
            Self::Message if key == b"usage" => Self::Usage,
            Self::Choice => match key {
                b"index" => Self::Index,
                b"delta" | b"message" => Self::ChoiceDelta,
                b"text" => Self::String,
                b"finish_reason" => Self::End,
                _ => Self::Elsewhere,
            },
            Self::ChoiceDelta => match key {
                b"content" | b"reasoning_content" | b"reasoning" | b"refusal" => Self::Content,
                b"tool_calls" => Self::ToolCalls,
                b"function_call" => Self::Function,
                b"audio" => Self::Audio,
                _ => Self::Elsewhere,
            },
            Self::ToolCall if matches!(key, b"function" | b"custom") => Self::Function,
            Self::Function if matches!(key, b"name" | b"arguments" | b"input") => Self::String,
            Self::Audio if matches!(key, b"data" | b"transcript") => Self::String,
            Self::Content if matches!(key, b"text" | b"thinking" | b"refusal" | b"transcript") => {
                Self::Content
            }
            Self::Delta => match key {
                b"text" | b"thinking" | b"partial_json" => Self::String,
                b"stop_reason" => Self::Stop,
                _ => Self::Elsewhere,
            },
            Self::Block if matches!(key, b"text" | b"thinking" | b"name") => Self::String,
            Self::Item => match key {
                b"name" | b"arguments" | b"input" => Self::String,
                b"content" | b"summary" => Self::Content,
                _ => Self::Elsewhere,
            },
            Self::Candidate => match key {
                b"index" => Self::Index,
                b"content" => Self::CandidateContent,
                b"finishReason" => Self::End,
                _ => Self::Elsewhere,
            },
            Self::CandidateContent if key == b"parts" => Self::Parts,
            Self::Part => match key {
                b"text" => Self::String,
                b"functionCall" | b"inlineData" | b"executableCode" => Self::Presence,
                _ => Self::Elsewhere,
            },
            Self::Feedback if key == b"blockReason" => Self::Stop,
            _ => Self::Elsewhere,
        }
    }

    /// An element of an array at this place.
    const fn element(self) -> Self {
        match self {
            Self::Text => Self::Text, // Gemini without `alt=sse`: an array of what would be events
            Self::Choices => Self::Choice,
            Self::ToolCalls => Self::ToolCall,
            Self::Content => Self::Content,
            Self::Output => Self::Item,
            Self::Candidates => Self::Candidate,
            Self::Parts => Self::Part,
            _ => Self::Elsewhere,
        }
    }

    /// What stands at this place of a text counts, or says that it failed, or holds what does.
    const fn is_of_account(self) -> bool {
        matches!(self, Self::Type | Self::Usage | Self::Error | Self::Response | Self::Message)
    }

    /// Text here is content.
    const fn is_content(self) -> bool {
        matches!(self, Self::String | Self::Content | Self::Delta)
    }
}

/// What the passing string or number is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    No,
    Key,
    Type,
    Number,
    /// Only whether it is empty.
    Any(Place),
}

/// The sink.
#[derive(Clone, Debug)]
pub(super) struct Meaning {
    /// Whose keys are read.
    shape: Shape,
    /// Only for the account: usage and errors.
    accounts: bool,
    said: Said,
    passed: Passed,
    /// The place of each open container, the outermost first.
    places: [Place; SSE_MEANING_DEPTH_MAX],
    /// One bit per open container: it is an array.
    arrays: u32,
    /// The place of the value after the key that passed last.
    next: Place,
    wanted: Wanted,
    key: Few<JSON_KEY_BYTES_MAX>,
    name: Few<SSE_NAME_BYTES_MAX>,
    number: Few<JSON_NUMBER_BYTES_MAX>,
    /// Of the open choice or candidate.
    index: u64,
    ended: bool,
}

impl Meaning {
    pub(super) const fn new() -> Self {
        Self {
            shape: Shape::Unknown,
            accounts: false,
            said: NOTHING,
            passed: Passed { texts: 0, with_content: 0, said: NOTHING },
            places: [Place::Elsewhere; SSE_MEANING_DEPTH_MAX],
            arrays: 0,
            next: Place::Elsewhere,
            wanted: Wanted::No,
            key: Few::new(),
            name: Few::new(),
            number: Few::new(),
            index: 0,
            ended: false,
        }
    }

    /// Of a whole answer: what it says to its reader is no matter, and passed over.
    pub(super) const fn of_account() -> Self {
        Self { accounts: true, ..Self::new() }
    }

    /// Begins another text, of which the keys of this shape are read.
    pub(super) fn begin(&mut self, shape: Shape) {
        self.shape = shape;
        self.said = NOTHING;
        self.passed = Passed { texts: 0, with_content: 0, said: NOTHING };
        self.wanted = Wanted::No;
    }

    /// What the text that is being read has said so far.
    pub(super) fn said(&self) -> &Said {
        &self.said
    }

    /// What the elements said that ended since the last call.
    pub(super) fn take_passed(&mut self) -> Passed {
        std::mem::take(&mut self.passed)
    }

    /// The place of the container that is open at `depth`, counted from 1.
    fn place(&self, depth: u32) -> Place {
        self.places.get((depth as usize).wrapping_sub(1)).copied().unwrap_or(Place::Elsewhere)
    }

    /// The place of a value that begins inside `depth` containers.
    fn value_place(&self, depth: u32) -> Place {
        if depth == 0 {
            Place::Text
        } else if depth as usize > SSE_MEANING_DEPTH_MAX {
            Place::Elsewhere
        } else if self.arrays >> depth & 1 == 1 {
            self.place(depth).element()
        } else {
            self.next
        }
    }

    fn key_ended(&mut self, depth: u32) {
        let Some(key) = self.key.whole() else { return };
        let place = self.place(depth);
        if place != Place::Text {
            self.next = place.member(key);
            return;
        }
        self.next = match Place::of_text(self.shape, key) {
            place if !self.accounts || place.is_of_account() => place,
            _ => Place::Elsewhere,
        };
        match key {
            b"choices" => self.said.shape = Some(Shape::OpenAi),
            b"candidates" | b"promptFeedback" | b"usageMetadata" => self.said.shape = Some(Shape::Gemini),
            _ => {}
        }
    }

    fn type_ended(&mut self) {
        let kind = self.name.whole().map_or(Kind::Other, Kind::of);
        self.said.kind = kind;
        self.said.shape = self.said.shape.or(kind.shape());
    }

    /// Something that is not empty, null or false stands at this place.
    fn present(&mut self, place: Place) {
        match place {
            Place::Error => self.said.error = true,
            Place::End => self.ended = true,
            Place::Stop => self.said.stopped = true,
            Place::Presence => self.said.content = true,
            _ if place.is_content() => self.said.content = true,
            _ => {}
        }
    }

    fn count(&mut self, depth: u32) {
        let Some(value) = self.number.whole().and_then(integer) else { return };
        let place = self.value_place(depth);
        let usage = &mut self.said.usage;
        match place {
            Place::Index => self.index = value.min(u64::from(u64::BITS - 1)),
            Place::Count(Count::Input) => usage.input = Some(value),
            Place::Count(Count::Output) => usage.output = Some(value),
            Place::Count(Count::CacheRead) => usage.cache_read = Some(value),
            Place::Count(Count::CacheWrite) => usage.cache_write = Some(value),
            Place::Count(Count::Reasoning) => usage.reasoning = Some(value),
            Place::Count(Count::Total) => usage.total = Some(value),
            _ => {}
        }
    }

    /// An element of an outermost array has ended: it was a text of its own.
    fn text_ended(&mut self) {
        let said = std::mem::take(&mut self.said);
        self.passed.texts += 1;
        self.passed.with_content += u32::from(said.content);
        let all = &mut self.passed.said;
        all.usage.update(said.usage);
        all.content |= said.content;
        all.error |= said.error;
        all.stopped |= said.stopped;
        all.started |= said.started;
        all.ended |= said.ended;
        all.shape = all.shape.or(said.shape);
    }
}

const NOTHING: Said = Said {
    usage: Usage::NONE,
    content: false,
    error: false,
    kind: Kind::Unnamed,
    shape: None,
    started: 0,
    ended: 0,
    stopped: false,
};

impl Sink for Meaning {
    fn open(&mut self, object: bool, depth: u32, _at: u64) {
        let place = self.value_place(depth);
        if let Some(slot) = self.places.get_mut(depth as usize) {
            *slot = place;
            let bit = 1 << (depth + 1);
            self.arrays = if object { self.arrays & !bit } else { self.arrays | bit };
        }
        match place {
            Place::Choice | Place::Candidate => (self.index, self.ended) = (0, false),
            Place::Error | Place::Presence if object => self.present(place),
            _ => {}
        }
    }

    fn passes_over(&self, depth: u32) -> bool {
        self.accounts && self.place(depth + 1) == Place::Elsewhere
    }

    fn close(&mut self, depth: u32, _end: u64) {
        match self.place(depth + 1) {
            Place::Choice | Place::Candidate => {
                self.said.started |= 1 << self.index;
                self.said.ended |= u64::from(self.ended) << self.index;
            }
            Place::Text if depth == 1 => self.text_ended(),
            _ => {}
        }
    }

    fn begin_string(&mut self, key: bool, depth: u32, _at: u64) {
        if key {
            self.next = Place::Elsewhere;
            if self.place(depth) != Place::Elsewhere {
                self.key.clear();
                self.wanted = Wanted::Key;
            }
            return;
        }
        match self.value_place(depth) {
            Place::Elsewhere => {}
            Place::Type if self.said.kind == Kind::Unnamed => {
                self.name.clear();
                self.wanted = Wanted::Type;
            }
            place => self.wanted = Wanted::Any(place),
        }
    }

    fn text(&mut self, run: &[u8]) {
        match self.wanted {
            Wanted::No => {}
            Wanted::Key => self.key.push(run),
            Wanted::Type => self.name.push(run),
            Wanted::Number => self.number.push(run),
            Wanted::Any(place) => {
                self.present(place);
                self.wanted = Wanted::No;
            }
        }
    }

    fn escaped(&mut self, _character: char) {
        if let Wanted::Any(place) = self.wanted {
            self.present(place);
        }
        self.wanted = Wanted::No; // a key or type with escapes is not understood: see the module's text
    }

    fn end_string(&mut self, key: bool, depth: u32, _end: u64) {
        match self.wanted {
            Wanted::Key if key => self.key_ended(depth),
            Wanted::Type => self.type_ended(),
            Wanted::Key | Wanted::No | Wanted::Number | Wanted::Any(_) => {}
        }
        self.wanted = Wanted::No;
    }

    fn begin_number(&mut self, depth: u32, _at: u64) {
        match self.value_place(depth) {
            Place::Count(_) | Place::Index => {
                self.number.clear();
                self.wanted = Wanted::Number;
            }
            Place::End => self.present(Place::End), // Vertex with `enum-encoding=int`
            _ => {}
        }
    }

    fn digits(&mut self, run: &[u8]) {
        if self.wanted == Wanted::Number {
            self.number.push(run);
        }
    }

    fn end_number(&mut self, depth: u32, _end: u64) {
        if self.wanted == Wanted::Number {
            self.wanted = Wanted::No;
            self.count(depth);
        }
    }

    fn literal(&mut self, word: Word, depth: u32, _end: u64) {
        if word == Word::True && self.value_place(depth) == Place::Error {
            self.present(Place::Error);
        }
    }
}
