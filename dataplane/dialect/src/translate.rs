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
use crate::{anthropic, chat};

/// Reads a request; a body that is not JSON, or not UTF-8, is refused before.
pub fn read_request<'a>(
    dialect: Dialect,
    body: Value<'a>,
    losses: &mut Losses,
) -> Result<Request<'a>, Refused> {
    match dialect {
        Dialect::OpenAiChat => chat::read_request(body, losses),
        Dialect::Anthropic => anthropic::read_request(body, losses),
        Dialect::OpenAiResponses | Dialect::Gemini => Err(not_yet()),
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
        Dialect::Anthropic => anthropic::write_request(request, target, losses, out),
        Dialect::OpenAiResponses | Dialect::Gemini => Err(not_yet()),
    }
}

/// Reads an answer that is no stream and said success.
pub fn read_answer(dialect: Dialect, body: Value<'_>, realm: Realm) -> Result<Answer<'_>, Failure<'_>> {
    match dialect {
        Dialect::OpenAiChat => chat::read_answer(body, realm),
        Dialect::Anthropic => anthropic::read_answer(body, realm),
        Dialect::OpenAiResponses | Dialect::Gemini => Err(Failure::of(Kind::NotImplemented, NOT_YET)),
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
        Dialect::Anthropic => anthropic::write_answer(answer, echo, losses, out),
        Dialect::OpenAiResponses | Dialect::Gemini => return Err(Failure::of(Kind::NotImplemented, NOT_YET)),
    }
    Ok(())
}

const NOT_YET: &str = "this dialect is not translated";

fn not_yet() -> Refused {
    Refused { kind: Kind::NotImplemented, pointer: String::new(), message: NOT_YET.to_owned() }
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
}

#[derive(Debug)]
enum Reader {
    Chat(chat::StreamIn),
    Anthropic(anthropic::StreamIn),
}

#[derive(Debug)]
enum Writer {
    Chat(chat::StreamOut),
    Anthropic(anthropic::StreamOut),
}

impl Translator {
    /// From an upstream of this dialect and realm to a caller of that one.
    pub fn new(upstream: Dialect, realm: Realm, caller: Dialect, echo: Echo) -> Result<Self, Refused> {
        let reader = match upstream {
            Dialect::OpenAiChat => Reader::Chat(chat::StreamIn::new(realm)),
            Dialect::Anthropic => Reader::Anthropic(anthropic::StreamIn::new(realm)),
            Dialect::OpenAiResponses | Dialect::Gemini => return Err(not_yet()),
        };
        let writer = match caller {
            Dialect::OpenAiChat => Writer::Chat(chat::StreamOut::new(echo)),
            Dialect::Anthropic => Writer::Anthropic(anthropic::StreamOut::new(echo)),
            Dialect::OpenAiResponses | Dialect::Gemini => return Err(not_yet()),
        };
        let through = Through { writer, caller, account: Account::default() };
        Ok(Self { frames: Frames::new(), tape: Tape::new(), reader, through })
    }

    /// Takes the upstream's next bytes, cut anywhere, and appends what the caller gets of them.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Self { frames, tape, reader, through } = self;
        frames.feed(bytes, &mut |frame| reader.frame(frame, tape, &mut Passing { through, out }));
    }

    /// The upstream's body has ended; `clean` if the transport says in good order.
    pub fn finish(&mut self, clean: bool, out: &mut Vec<u8>) {
        let Self { frames, tape, reader, through } = self;
        let whole = |data: &str| Tape::new().read(data, Surrogates::Replace).is_ok();
        frames.finish(whole, &mut |frame| reader.frame(frame, tape, &mut Passing { through, out }));
        reader.ended(clean, &mut Passing { through, out });
    }

    /// The upstream answered with a whole body where a stream was asked for: the caller gets a stream all the same.
    pub fn whole(&mut self, body: &[u8], out: &mut Vec<u8>) {
        let Self { tape, reader, through, .. } = self;
        let mut sink = Passing { through, out };
        let text = simdutf8::basic::from_utf8(body).ok();
        let root = text.and_then(|text| tape.read(text, Surrogates::Replace).ok());
        let answer = root.map(|root| read_answer(reader.dialect(), root, reader.realm()));
        match answer {
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
            Writer::Anthropic(writer) => writer.losses(),
        }
    }

    /// The caller's body must be broken off, so that its client sees the failure.
    pub fn wants_abort(&self) -> bool {
        match &self.through.writer {
            Writer::Chat(writer) => writer.wants_abort(),
            Writer::Anthropic(writer) => writer.wants_abort(),
        }
    }
}

impl Reader {
    const fn dialect(&self) -> Dialect {
        match self {
            Self::Chat(_) => Dialect::OpenAiChat,
            Self::Anthropic(_) => Dialect::Anthropic,
        }
    }

    const fn realm(&self) -> Realm {
        match self {
            Self::Chat(reader) => reader.realm(),
            Self::Anthropic(reader) => reader.realm(),
        }
    }

    fn frame(&mut self, frame: Frame<'_>, tape: &mut Tape, sink: &mut impl Sink) {
        match self {
            Self::Chat(reader) => one_frame(reader, frame, tape, sink),
            Self::Anthropic(reader) => one_frame(reader, frame, tape, sink),
        }
    }

    fn ended(&mut self, clean: bool, sink: &mut impl Sink) {
        match self {
            Self::Chat(reader) => reader.ended(clean, sink),
            Self::Anthropic(reader) => reader.ended(clean, sink),
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
            Writer::Anthropic(writer) => writer.take(event, out),
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
            Event::Start(_)
            | Event::Text(..)
            | Event::Args(..)
            | Event::Opaque(..)
            | Event::Citation(..)
            | Event::Logprobs(..)
            | Event::BlockEnd(_)
            | Event::Finish { .. }
            | Event::Heartbeat => {}
        }
    }
}
