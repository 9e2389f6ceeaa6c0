//! From each dialect to each, by name.
//! Owns: the dispatch, and one stream's way from the upstream's bytes to the caller's.
//! Must not: know how a dialect spells anything.
//! Read next: [`crate::stream`]; then a dialect.

use crate::dialect::Dialect;
use crate::errors::Kind;
use crate::json::{Surrogates, Tape, Value};
use crate::model::{
    Answer, Echo, Event, Failure, Losses, Realm, Refused, Request, Sink, Stop, Target, Usage,
};
use crate::stream::{Frame, Frames, ReadStream, WriteStream};
use crate::unfold::unfold;
use crate::{anthropic, chat, gemini, responses};

/// Reads a request; a body that is not JSON, or not UTF-8, is refused before. Gemini's model and whether it streams stand in
/// its path, and are to be set from there.
pub fn read_request<'a>(
    dialect: Dialect,
    body: Value<'a>,
    losses: &mut Losses,
) -> Result<Request<'a>, Refused> {
    match dialect {
        Dialect::OpenAiChat => chat::read_request(body, losses),
        Dialect::OpenAiResponses => responses::read_request(body, losses),
        Dialect::Anthropic => anthropic::read_request(body, losses),
        Dialect::Gemini => gemini::read_request(body, losses),
    }
}

/// Appends a request for this target.
pub fn write_request(
    request: &Request<'_>,
    target: &Target,
    losses: &mut Losses,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    match target.dialect {
        Dialect::OpenAiChat => chat::write_request(request, target, losses, out),
        Dialect::OpenAiResponses => responses::write_request(request, target, losses, out),
        Dialect::Anthropic => anthropic::write_request(request, target, losses, out),
        Dialect::Gemini => gemini::write_request(request, target, losses, out),
    }
}

/// Reads an answer that is no stream and said success.
pub fn read_answer(dialect: Dialect, body: Value<'_>, realm: Realm) -> Result<Answer<'_>, Failure<'_>> {
    match dialect {
        Dialect::OpenAiChat => chat::read_answer(body, realm),
        Dialect::OpenAiResponses => responses::read_answer(body, realm),
        Dialect::Anthropic => anthropic::read_answer(body, realm),
        Dialect::Gemini => gemini::read_answer(body, realm),
    }
}

/// Appends an answer for this caller. A call that cannot be read is an error everywhere but at Gemini's callers.
pub fn write_answer(
    dialect: Dialect,
    answer: &Answer<'_>,
    echo: &Echo,
    losses: &mut Losses,
    out: &mut Vec<u8>,
) -> Result<(), Failure<'static>> {
    let bad = answer.choices.iter().find(|choice| matches!(choice.stop, Stop::BadToolCall(_)));
    if let Some(bad) = bad.filter(|_| dialect != Dialect::Gemini) {
        return Err(bad_call(&bad.stop));
    }
    match dialect {
        Dialect::OpenAiChat => chat::write_answer(answer, echo, losses, out),
        Dialect::OpenAiResponses => responses::write_answer(answer, echo, losses, out),
        Dialect::Anthropic => anthropic::write_answer(answer, echo, losses, out),
        Dialect::Gemini => gemini::write_answer(answer, echo, losses, out),
    }
    Ok(())
}

fn bad_call(stop: &Stop<'_>) -> Failure<'static> {
    let failure = Failure::of(Kind::BadGateway, "the model called a tool in a way that cannot be read");
    match stop {
        Stop::BadToolCall(Some(message)) => Failure { message: message.clone().into_owned(), ..failure },
        _ => failure,
    }
}

/// One stream, from an upstream's bytes to a caller's.
#[derive(Debug)]
pub struct Translator {
    upstream: Dialect,
    realm: Realm,
    frames: Frames,
    tape: Tape,
    reader: Reader,
    through: Through,
}

/// What events go through.
#[derive(Debug)]
struct Through {
    writer: Writer,
    caller: Dialect,
    account: Account,
}

/// What a stream has said for the books.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// What it cost.
    pub usage: Usage,
    /// Why the first answer ended.
    pub stop: Option<Stop<'static>>,
    /// How the stream ended; `None`: it has not.
    pub end: Option<Result<(), Failure<'static>>>,
    /// Something of the answer has come.
    pub content: bool,
    /// Pieces of it that came: about as many as an engine's tokens.
    pub pieces: u64,
}

#[derive(Debug)]
enum Reader {
    Chat(chat::StreamIn),
    Responses(responses::StreamIn),
    Anthropic(anthropic::StreamIn),
    Gemini(gemini::StreamIn),
}

#[derive(Debug)]
enum Writer {
    Chat(chat::StreamOut),
    Responses(Box<responses::StreamOut>),
    Anthropic(anthropic::StreamOut),
    Gemini(gemini::StreamOut),
}

impl Translator {
    /// From an upstream of this dialect and realm to a caller of that one.
    pub fn new(upstream: Dialect, realm: Realm, caller: Dialect, echo: Echo) -> Self {
        let reader = match upstream {
            Dialect::OpenAiChat => Reader::Chat(chat::StreamIn::new(realm)),
            Dialect::OpenAiResponses => Reader::Responses(responses::StreamIn::new(realm)),
            Dialect::Anthropic => Reader::Anthropic(anthropic::StreamIn::new(realm)),
            Dialect::Gemini => Reader::Gemini(gemini::StreamIn::new(realm)),
        };
        let writer = match caller {
            Dialect::OpenAiChat => Writer::Chat(chat::StreamOut::new(echo)),
            Dialect::OpenAiResponses => Writer::Responses(Box::new(responses::StreamOut::new(echo))),
            Dialect::Anthropic => Writer::Anthropic(anthropic::StreamOut::new(echo)),
            Dialect::Gemini => Writer::Gemini(gemini::StreamOut::new(gemini::Framing::Events, echo)),
        };
        let through = Through { writer, caller, account: Account::default() };
        Self { upstream, realm, frames: Frames::new(), tape: Tape::new(), reader, through }
    }

    /// For a caller of Gemini's that asked without `alt=sse`: its stream is one JSON array. Before the first byte only.
    #[must_use]
    pub fn as_array(mut self) -> Self {
        if let Writer::Gemini(writer) = &mut self.through.writer {
            writer.frame_as(gemini::Framing::Array);
        }
        self
    }

    /// Takes the upstream's next bytes, cut anywhere, and appends what the caller gets of them.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Self { frames, tape, reader, through, .. } = self;
        frames.feed(bytes, &mut |frame| reader.frame(frame, tape, &mut Passing { through, out }));
    }

    /// The upstream's body has ended; `clean` if the transport says in good order.
    pub fn finish(&mut self, clean: bool, out: &mut Vec<u8>) {
        let Self { frames, tape, reader, through, .. } = self;
        let whole = |data: &str| Tape::new().read(data, Surrogates::Replace).is_ok();
        frames.finish(whole, &mut |frame| reader.frame(frame, tape, &mut Passing { through, out }));
        reader.ended(clean, &mut Passing { through, out });
    }

    /// The upstream answered with a whole body where a stream was asked for: the caller gets a stream all the same.
    pub fn whole(&mut self, body: &[u8], out: &mut Vec<u8>) {
        let Self { tape, through, .. } = self;
        let mut sink = Passing { through, out };
        let text = simdutf8::basic::from_utf8(body).ok();
        let root = text.and_then(|text| tape.read(text, Surrogates::Replace).ok());
        match root.map(|root| read_answer(self.upstream, root, self.realm)) {
            Some(Ok(answer)) => unfold(&answer, &mut sink),
            Some(Err(failure)) => sink.take(Event::Error(failure)),
            None => {
                sink.take(Event::Error(Failure::of(Kind::BadGateway, "the upstream's answer is not JSON")));
            }
        }
    }

    /// The caller has heard nothing for a while.
    pub fn heartbeat(&mut self, out: &mut Vec<u8>) {
        self.through.pass(&Event::Heartbeat, out);
    }

    /// What the stream has said for the books.
    pub const fn account(&self) -> &Account {
        &self.through.account
    }

    /// What the caller's dialect had no place for.
    pub fn losses(&self) -> &Losses {
        match &self.through.writer {
            Writer::Chat(writer) => writer.losses(),
            Writer::Responses(writer) => writer.losses(),
            Writer::Anthropic(writer) => writer.losses(),
            Writer::Gemini(writer) => writer.losses(),
        }
    }

    /// The caller's body must be broken off, so that its client sees the failure.
    pub fn wants_abort(&self) -> bool {
        match &self.through.writer {
            Writer::Chat(writer) => writer.wants_abort(),
            Writer::Responses(writer) => writer.wants_abort(),
            Writer::Anthropic(writer) => writer.wants_abort(),
            Writer::Gemini(writer) => writer.wants_abort(),
        }
    }
}

impl Reader {
    fn frame(&mut self, frame: Frame<'_>, tape: &mut Tape, sink: &mut impl Sink) {
        match self {
            Self::Chat(reader) => one_frame(reader, frame, tape, sink),
            Self::Responses(reader) => one_frame(reader, frame, tape, sink),
            Self::Anthropic(reader) => one_frame(reader, frame, tape, sink),
            Self::Gemini(reader) => one_frame(reader, frame, tape, sink),
        }
    }

    fn ended(&mut self, clean: bool, sink: &mut impl Sink) {
        match self {
            Self::Chat(reader) => reader.ended(clean, sink),
            Self::Responses(reader) => reader.ended(clean, sink),
            Self::Anthropic(reader) => reader.ended(clean, sink),
            Self::Gemini(reader) => reader.ended(clean, sink),
        }
    }
}

/// What a frame means to a reader. After the end nothing means anything.
fn one_frame(reader: &mut impl ReadStream, frame: Frame<'_>, tape: &mut Tape, sink: &mut impl Sink) {
    if reader.is_over() {
        return;
    }
    match frame {
        Frame::Data(name, data) => match tape.read(data, Surrogates::Replace) {
            Ok(value) => reader.data(name, value, sink),
            Err(_) => reader.broken("the upstream sent an event that is not JSON", sink),
        },
        Frame::Done => reader.done(sink),
        Frame::Heartbeat => sink.take(Event::Heartbeat),
        Frame::TooLarge => reader.broken("the upstream sent an event that is too large", sink),
        Frame::NotText => reader.broken("the upstream sent an event that is not UTF-8", sink),
    }
}

struct Passing<'p> {
    through: &'p mut Through,
    out: &'p mut Vec<u8>,
}

impl Sink for Passing<'_> {
    fn take(&mut self, event: Event<'_>) {
        self.through.pass(&event, self.out);
    }
}

impl Through {
    fn pass(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.account.end.is_some() {
            return;
        }
        if let Event::Finish { stop: stop @ Stop::BadToolCall(_), .. } = event
            && self.caller != Dialect::Gemini
        {
            self.pass(&Event::Error(bad_call(stop)), out);
            return;
        }
        self.account.note(event);
        match &mut self.writer {
            Writer::Chat(writer) => writer.take(event, out),
            Writer::Responses(writer) => writer.take(event, out),
            Writer::Anthropic(writer) => writer.take(event, out),
            Writer::Gemini(writer) => writer.take(event, out),
        }
    }
}

impl Account {
    fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Usage(usage) => self.usage.update(usage),
            Event::Finish { choice: 0, stop } => self.stop = Some(stop.clone().into_owned()),
            Event::End => self.end = Some(Ok(())),
            Event::Error(failure) => self.end = Some(Err(failure.clone().into_owned())),
            Event::BlockStart(..) => self.content = true,
            Event::Text(..) | Event::Args(..) => self.pieces += 1,
            Event::Start(_)
            | Event::Opaque(..)
            | Event::Citation(..)
            | Event::Logprobs(..)
            | Event::BlockEnd(_)
            | Event::Finish { .. }
            | Event::Heartbeat => {}
        }
    }
}
