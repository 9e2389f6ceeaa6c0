//! Gemini's stream into events.
//!
//! Gemini has no terminator: a stream is whole when its body has ended and every candidate has said why it ended. Some
//! models say that in each chunk, so a candidate is finished only at the end of the body.
//! Owns: what is open in each candidate, and pieces of calls until they are whole.
//! Must not: take the end of the body for success by itself.
//! Read next: `partial.rs`, `words.rs`.

use super::partial::Partial;
use super::words;
use crate::bounds::{ARGUMENT_BYTES_MAX, STREAM_BLOCKS_MAX, STREAM_CHOICES_MAX};
use crate::errors::Kind;
use crate::failure_in;
use crate::json::{Raw, Text, Value};
use crate::model::{
    Block, BlockKind, Event, Failure, Opaque, Origin, Realm, SealKind, Sink, Start, Stop, derived_call_id,
};
use crate::stream::ReadStream;

/// How far a stream has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing came yet.
    #[default]
    Fresh,
    /// Some candidate has not said why it ends.
    Open,
    /// Every candidate has; more may come.
    Finished,
    /// It ended well.
    Ended,
    /// It ended badly.
    Failed,
}

/// What moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    /// A chunk, after which some candidate is unfinished, or none has begun.
    Said,
    /// A chunk, after which all are finished; or the prompt was blocked.
    Finish,
    /// An error in the stream, or something that is none of its events.
    Error,
    /// The body ended in good order.
    Eof,
    /// The body broke off.
    Cut,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Fresh, Self::Open, Self::Finished, Self::Ended, Self::Failed];
}

impl On {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Said, Self::Finish, Self::Error, Self::Eof, Self::Cut];
}

/// The next state; `None`: it is over, and what comes is passed over.
pub const fn step(from: State, on: On) -> Option<State> {
    use On::{Cut, Eof, Error, Finish, Said};
    use State::{Ended, Failed, Finished, Fresh, Open};
    Some(match (from, on) {
        (Fresh | Open | Finished, Said) => Open,
        (Fresh | Open | Finished, Finish) => Finished,
        (Finished, Eof) => Ended,
        (Fresh | Open, Eof) | (Fresh | Open | Finished, Error | Cut) => Failed,
        (Ended | Failed, Said | Finish | Error | Eof | Cut) => return None,
    })
}

/// Reads one stream.
#[derive(Debug)]
pub struct StreamIn {
    state: State,
    realm: Realm,
    /// What ids of calls are made of.
    id: String,
    started: bool,
    candidates: Vec<Candidate>,
    blocks: usize,
    /// Why the prompt was blocked.
    blocked: Option<Text<'static>>,
}

/// One of the answers.
#[derive(Debug, Default)]
struct Candidate {
    index: u32,
    next: u32,
    calls: u32,
    /// The block that is open, and whether it is a thought.
    open: Option<(Block, bool)>,
    /// A call whose arguments come in pieces.
    pieces: Option<(Block, Partial)>,
    stop: Option<Stop<'static>>,
    has_content: bool,
}

impl StreamIn {
    /// At the beginning of a stream from an upstream of this realm.
    pub fn new(realm: Realm) -> Self {
        Self {
            state: State::Fresh,
            realm,
            id: String::new(),
            started: false,
            candidates: Vec::new(),
            blocks: 0,
            blocked: None,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Moves on; false if it was over.
    fn on(&mut self, on: On) -> bool {
        let next = step(self.state, on);
        self.state = next.unwrap_or(self.state);
        next.is_some()
    }

    fn fail(&mut self, failure: Failure<'_>, sink: &mut impl Sink) {
        if self.on(On::Error) {
            sink.take(Event::Error(failure));
        }
    }

    fn start(&mut self, chunk: Value<'_>, sink: &mut impl Sink) {
        if self.started {
            return;
        }
        self.started = true;
        let text = |key: &str| chunk.get_text(key).unwrap_or_default();
        self.id = text("responseId").plain().into_owned();
        let created = chunk.get_text("createTime").and_then(|instant| words::seconds(&instant.plain()));
        let (id, model) = (text("responseId"), text("modelVersion"));
        sink.take(Event::Start(Start { id, model, created, fingerprint: None }));
    }

    fn chunk(&mut self, chunk: Value<'_>, sink: &mut impl Sink) -> Result<(), Failure<'static>> {
        self.start(chunk, sink);
        for candidate in chunk.get("candidates").and_then(|list| list.elements()).into_iter().flatten() {
            self.candidate(candidate, sink)?;
        }
        let reason = chunk.get("promptFeedback").and_then(|feedback| feedback.get_text("blockReason"));
        if let Some(reason) = reason {
            self.blocked = Some(reason.into_owned());
        }
        if let Some(counts) = chunk.get("usageMetadata") {
            let usage = words::usage(counts);
            if usage.is_some() {
                sink.take(Event::Usage(usage));
            }
        }
        Ok(())
    }

    fn candidate(&mut self, value: Value<'_>, sink: &mut impl Sink) -> Result<(), Failure<'static>> {
        let index = value.get_integer("index").and_then(|index| u32::try_from(index).ok()).unwrap_or(0);
        let at = match self.candidates.iter().position(|candidate| candidate.index == index) {
            Some(at) => at,
            None if self.candidates.len() == STREAM_CHOICES_MAX => return Err(too_many()),
            None => {
                self.candidates.push(Candidate { index, ..Candidate::default() });
                self.candidates.len() - 1
            }
        };
        let parts =
            value.get("content").and_then(|content| content.get("parts")).and_then(|parts| parts.elements());
        for part in parts.into_iter().flatten() {
            self.blocks += usize::from(opens(&self.candidates[at], part));
            if self.blocks > STREAM_BLOCKS_MAX {
                return Err(too_many());
            }
            let context = Context { realm: self.realm, id: &self.id };
            self.candidates[at].part(part, &context, sink)?;
        }
        let candidate = &mut self.candidates[at];
        if let Some(metadata) = value.get("groundingMetadata") {
            candidate.cite(metadata, sink);
        }
        if let Some(reason) = value.get("finishReason") {
            let message = value.get_text("finishMessage").map(Text::into_owned);
            candidate.stop = Some(words::stop(reason, message).into_owned());
        }
        Ok(())
    }

    fn all_finished(&self) -> bool {
        let none = self.candidates.is_empty();
        (!none || self.blocked.is_some()) && self.candidates.iter().all(|candidate| candidate.stop.is_some())
    }

    /// The body has ended, and all that was begun is finished.
    fn finish(&mut self, sink: &mut impl Sink) {
        if self.candidates.is_empty() {
            let stop = Stop::ContentFilter(self.blocked.take());
            sink.take(Event::Finish { choice: 0, stop });
        }
        for candidate in &mut self.candidates {
            candidate.close(sink);
            let (choice, stop) = (candidate.index, candidate.stop.take().unwrap_or(Stop::EndTurn));
            sink.take(Event::Finish { choice, stop: stop.with_calls(candidate.calls > 0) });
        }
        sink.take(Event::End);
    }

    /// `OTHER` without a word is a failure that nobody names.
    fn is_empty_failure(&self) -> bool {
        let other = |candidate: &Candidate| {
            !candidate.has_content && matches!(&candidate.stop, Some(Stop::Other(word)) if word.is("OTHER"))
        };
        !self.candidates.is_empty() && self.candidates.iter().all(other)
    }
}

impl ReadStream for StreamIn {
    fn data(&mut self, _name: &str, data: Value<'_>, sink: &mut impl Sink) {
        if self.is_over() {
            return;
        }
        if let Some(failure) = failure_in::of_body(data, None) {
            self.fail(failure, sink);
            return;
        }
        if let Err(failure) = self.chunk(data, sink) {
            self.fail(failure, sink);
            return;
        }
        let on = if self.all_finished() { On::Finish } else { On::Said };
        self.on(on);
    }

    fn done(&mut self, _sink: &mut impl Sink) {
        // Some gateways in between add it; the end of the body says the same.
    }

    fn ended(&mut self, clean: bool, sink: &mut impl Sink) {
        if self.is_empty_failure() {
            self.fail(Failure::of(Kind::BadGateway, "the upstream made no answer and gave no reason"), sink);
        }
        let unfinished = self.candidates.iter().any(|candidate| candidate.pieces.is_some());
        let whole = clean && !unfinished;
        match (self.on(if whole { On::Eof } else { On::Cut }), self.state) {
            (true, State::Ended) => self.finish(sink),
            (true, _) => sink.take(Event::Error(Failure::truncated())),
            (false, _) => {}
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Ended | State::Failed)
    }

    fn broken(&mut self, what: &'static str, sink: &mut impl Sink) {
        self.fail(Failure::of(Kind::UpstreamTruncated, what), sink);
    }
}

/// Whether a part would begin a block: text goes on in the one that is open.
fn opens(candidate: &Candidate, part: Value<'_>) -> bool {
    let thought = part.get("thought").and_then(|flag| flag.truth()).unwrap_or(false);
    part.get("text").is_none() || candidate.open.is_none_or(|(_, open)| open != thought)
}

const fn too_many() -> Failure<'static> {
    Failure::of(Kind::BadGateway, "the upstream's stream has more candidates or parts than are kept apart")
}

/// What a candidate has to know of its stream.
struct Context<'c> {
    realm: Realm,
    id: &'c str,
}

impl Context<'_> {
    fn opaque<'a>(&self, part: Value<'a>, kind: SealKind) -> Option<Opaque<'a>> {
        let payload = part.get_text("thoughtSignature").filter(|signature| !signature.is_empty())?;
        Some(Opaque { origin: Origin::Gemini, kind, realm: self.realm, payload })
    }
}

impl Candidate {
    fn part(
        &mut self,
        part: Value<'_>,
        context: &Context<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), Failure<'static>> {
        if let Some(call) = part.get("functionCall") {
            self.has_content = true;
            return self.call(call, part, context, sink);
        }
        if let Some(inline) = part.get("inlineData") {
            self.inline(inline, sink);
            return Ok(());
        }
        if part.get("executableCode").or_else(|| part.get("codeExecutionResult")).is_some() {
            let block = self.begin(BlockKind::Server(part.raw()), sink);
            sink.take(Event::BlockEnd(block));
            return Ok(());
        }
        self.text(part, context, sink);
        Ok(())
    }

    fn text(&mut self, part: Value<'_>, context: &Context<'_>, sink: &mut impl Sink) {
        let text = part.get_text("text").unwrap_or_default();
        let thought = part.get("thought").and_then(|flag| flag.truth()).unwrap_or(false);
        let kind = if thought { SealKind::Signature } else { SealKind::Previous };
        let opaque = context.opaque(part, kind);
        if text.is_empty() && opaque.is_none() {
            return;
        }
        // An empty part with a signature signs the text before it, whatever kind that is.
        let goes_on = self.open.is_some_and(|(_, open)| open == thought || text.is_empty());
        let block = match self.open {
            Some((block, _)) if goes_on => block,
            Some(_) | None => {
                let kind = if thought { BlockKind::Reasoning { is_raw: false } } else { BlockKind::Text };
                let block = self.begin(kind, sink);
                self.open = Some((block, thought));
                block
            }
        };
        if !text.is_empty() {
            self.has_content = true;
            sink.take(Event::Text(block, text));
        }
        if let Some(opaque) = opaque {
            sink.take(Event::Opaque(block, opaque));
        }
    }

    /// Ends what is open and begins a block.
    fn begin(&mut self, kind: BlockKind<'_>, sink: &mut impl Sink) -> Block {
        if let Some((block, _)) = self.open.take() {
            sink.take(Event::BlockEnd(block));
        }
        let block = Block { choice: self.index, index: self.next };
        self.next += 1;
        sink.take(Event::BlockStart(block, kind));
        block
    }

    fn close(&mut self, sink: &mut impl Sink) {
        if let Some((block, _)) = self.open.take() {
            sink.take(Event::BlockEnd(block));
        }
    }

    /// A whole call; or, where it will be continued, the beginning, a piece or the end of one.
    fn call(
        &mut self,
        call: Value<'_>,
        part: Value<'_>,
        context: &Context<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), Failure<'static>> {
        let goes_on = call.get("willContinue").and_then(|flag| flag.truth()).unwrap_or(false);
        let block = match self.pieces.as_ref() {
            Some((block, _)) if call.get("name").is_none() => *block,
            Some(_) => return Err(Failure::of(Kind::BadGateway, "the upstream began a call inside another")),
            None if call.get_text("name").is_none_or(|name| name.is_empty()) => {
                return Err(Failure::of(Kind::BadGateway, "the upstream called a tool without its name"));
            }
            None => self.begin_call(call, part, context, sink),
        };
        let (_, pieces) = self.pieces.get_or_insert_with(|| (block, Partial::default()));
        for piece in call.get("partialArgs").and_then(|list| list.elements()).into_iter().flatten() {
            if !pieces.add(piece) {
                return Err(Failure::of(
                    Kind::BadGateway,
                    "the upstream's pieces of a call's arguments do not fit",
                ));
            }
        }
        if goes_on {
            return Ok(());
        }
        let args = match call.get("args") {
            Some(args) => args.raw().to_text(),
            None => Raw::owned(pieces.text()).to_text(),
        };
        if args.as_written().len() > ARGUMENT_BYTES_MAX {
            return Err(Failure::of(Kind::BadGateway, "the upstream's arguments of a call are too long"));
        }
        self.pieces = None;
        sink.take(Event::Args(block, args));
        sink.take(Event::BlockEnd(block));
        Ok(())
    }

    fn begin_call(
        &mut self,
        call: Value<'_>,
        part: Value<'_>,
        context: &Context<'_>,
        sink: &mut impl Sink,
    ) -> Block {
        let id = call.get_text("id").filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| Text::owned(derived_call_id(context.id, self.index, self.calls)));
        self.calls += 1;
        let name = call.get_text("name").unwrap_or_default();
        let block = self.begin(BlockKind::Tool { id, name, custom: false }, sink);
        if let Some(opaque) = context.opaque(part, SealKind::NextTool) {
            sink.take(Event::Opaque(block, opaque));
        }
        block
    }

    /// A picture; sound has no place in a stream of events, and is passed over.
    fn inline(&mut self, inline: Value<'_>, sink: &mut impl Sink) {
        let mime = inline.get_text("mimeType").unwrap_or_default();
        let data = inline.get_text("data").unwrap_or_default();
        if mime.plain().starts_with("image/") {
            self.has_content = true;
            let block = self.begin(BlockKind::Image { mime, data }, sink);
            sink.take(Event::BlockEnd(block));
        }
    }

    /// Pages that the open text is from. Gemini's offsets are bytes of a text that is gone by now, so the citation
    /// names the page and not the place.
    fn cite(&mut self, metadata: Value<'_>, sink: &mut impl Sink) {
        let Some((block, false)) = self.open else { return };
        for chunk in metadata.get("groundingChunks").and_then(|list| list.elements()).into_iter().flatten() {
            if let Some(citation) = words::url_citation(chunk) {
                sink.take(Event::Citation(block, citation));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn only_a_finished_stream_can_end_well() {
        let mut table = String::new();
        for from in State::ALL {
            for on in On::ALL {
                let to = step(from, on).map_or_else(|| "-".to_owned(), |to| format!("{to:?}"));
                writeln!(table, "{from:?} {on:?} {to}").expect("a string takes it");
            }
        }
        assert_eq!(
            table,
            "Fresh Said Open\nFresh Finish Finished\nFresh Error Failed\nFresh Eof Failed\nFresh Cut Failed\n\
             Open Said Open\nOpen Finish Finished\nOpen Error Failed\nOpen Eof Failed\nOpen Cut Failed\n\
             Finished Said Open\nFinished Finish Finished\nFinished Error Failed\nFinished Eof Ended\n\
             Finished Cut Failed\n\
             Ended Said -\nEnded Finish -\nEnded Error -\nEnded Eof -\nEnded Cut -\n\
             Failed Said -\nFailed Finish -\nFailed Error -\nFailed Eof -\nFailed Cut -\n"
        );
    }
}
