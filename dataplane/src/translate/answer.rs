//! The way back: a backend's answer in the words of the caller.
//!
//! Owns: telling streams from whole answers and errors, and the commit point of each: a head goes out with the first
//! words behind it, so what fails before is still an answer of its own.
//! Must not: retry, or let anything of the backend's head through but its wait.
//! Read next: `source.rs`, where the bytes come from; `ringway_dialect::translate`.

use ringway_contract::snapshot;
use ringway_dialect::dialect::Dialect;
use ringway_dialect::errors::Kind;
use ringway_dialect::json::{Surrogates, Tape, Value};
use ringway_dialect::model::{Failure, Losses, Usage};
use ringway_dialect::translate::{Account, Translator, read_answer, write_answer};
use ringway_dialect::{counting, embeddings, failure_in, failure_out};
use ringway_wire::http1::{ContentKind, LAST_CHUNK, Version, sane_request_id, write_chunk_head};

use ringway_wire::sse;

use super::source::{Came, Source};
use super::{Form, Speaks, Translation, Vectors};
use crate::attempt::{Aim, Answer};
use crate::bounds::{TRANSLATED_ANSWER_BYTES_MAX, TRANSLATED_ERROR_BYTES_MAX};
use crate::cells::unary::Dispatched;
use crate::deadline::Wait;
use crate::dispatch::{kick, retry_after_ms};
use crate::exchange::Exchange;
use crate::heartbeat;
use crate::observe::{Counter, Micros, Record};
use crate::outcome::{Blame, Outcome, Reason};
use crate::refusal::Refusal;
use crate::relay::{Observer, read_load};
use crate::reply;
use crate::session;

/// Passes the answer on to its end.
///
/// # Errors
/// Nothing has been sent yet, and there is no answer to pass on.
pub async fn live(
    x: &mut Exchange<'_>,
    aim: Aim<'_>,
    answer: Answer,
    lease: &mut Dispatched,
) -> Result<Outcome, Refusal> {
    let Some(translation) = x.translation.take().filter(|it| !it.is_native()) else {
        return belated(x, aim, answer).await;
    };
    x.worker.shard.count(Counter::Translated);
    if aim.backend.orca.is_some() {
        read_load(x, aim, &answer.buffer);
    }
    let head = &x.scratch.answer;
    let (status, kind, coded) = (head.status(), head.content_kind(), head.has_content_coding());
    let wait_ms = head.find(answer.buffer.bytes(), "retry-after").and_then(retry_after_ms);
    x.record.status = status;
    let framed = kind == ContentKind::Frames;
    x.upstream_id = UPSTREAM_IDS.iter().find_map(|name| {
        let id = head.find(answer.buffer.bytes(), name).filter(|id| sane_request_id(id))?;
        std::str::from_utf8(id).ok().map(Into::into)
    });
    let source = Source::of(answer, head.framing(), head.len()).framed(framed);
    let events = translation.form.is_stream();
    if coded {
        return Err(Refusal::BadAnswer { reason: Reason::UpCoding });
    }
    match (status, kind) {
        (200..=299, ContentKind::EventStream | ContentKind::Frames) if events => {
            stream(x, aim, source, *translation, lease).await
        }
        (200..=299, ContentKind::Json | ContentKind::Other) => {
            lease.first_token(); // no other sign of it will come
            whole(x, aim, source, *translation).await
        }
        (400.., _) => error(x, aim, source, &translation, wait_ms).await,
        (..=399, _) => Err(Refusal::BadAnswer { reason: Reason::UpBadType }),
    }
}

/// Tells an answer of the caller's own dialect that came in another form than the head that is out already.
///
/// # Errors
/// There is no answer to pass on.
async fn belated(x: &mut Exchange<'_>, aim: Aim<'_>, answer: Answer) -> Result<Outcome, Refusal> {
    let Speaks::Calls(caller) = x.speaks else { unreachable!("only calls are answered before their answer") };
    let (status, framing, head_bytes) =
        (x.scratch.answer.status(), x.scratch.answer.framing(), x.scratch.answer.len());
    if status < 400 {
        return Err(Refusal::BadAnswer { reason: Reason::UpBadType }); // a stream was asked for
    }
    let mut source = Source::of(answer, framing, head_bytes);
    let coded = x.scratch.answer.has_content_coding();
    let body = match gather(x, aim, &mut source, TRANSLATED_ERROR_BYTES_MAX).await {
        Ok(body) if !coded => body,
        Err(reason) if reason.blame() == Blame::Client => return unsent(x, reason),
        Ok(_) | Err(_) => Vec::new(), // its status says enough
    };
    let _ = source.end(x, aim);
    aim.endpoint.seen.answer(x.record);
    let failure = failure_in::of_answer(status, &body);
    Ok(fail(x, aim, &failure, &Losses::new(), caller, Reason::UpStatus).await)
}

/// What providers call an exchange by.
const UPSTREAM_IDS: [&str; 3] = ["x-request-id", "request-id", "x-amzn-requestid"];

// Whole answers.

/// Takes the body up to a bound; what is more is an error.
async fn gather(
    x: &mut Exchange<'_>,
    aim: Aim<'_>,
    source: &mut Source,
    bytes_max: usize,
) -> Result<Vec<u8>, Reason> {
    let mut body = Vec::new();
    loop {
        source.take(x, |payload| body.extend_from_slice(payload))?;
        if body.len() > bytes_max {
            return Err(Reason::UpEventTooBig);
        }
        if source.is_done() {
            return Ok(body);
        }
        if source.more(x, aim).await? == Came::Nothing {
            heartbeat::wait_on(x).await?;
        }
        if source.is_done() {
            return Ok(body);
        }
    }
}

/// Before anything was sent a failure is an answer of its own, unless nobody is there to take it.
fn unsent(x: &mut Exchange<'_>, reason: Reason) -> Result<Outcome, Refusal> {
    match (reason.blame(), reason) {
        (Blame::Client, _) => {
            x.keep_alive = false;
            Ok(Outcome::Gone(Reason::ClientGoneWait))
        }
        (_, Reason::Deadline) => Err(Refusal::Deadline),
        (_, Reason::UpEventTooBig | Reason::UpBadJson) => Err(Refusal::BadAnswer { reason }),
        _ => Err(Refusal::AnswerCut { reason }),
    }
}

async fn whole(
    x: &mut Exchange<'_>,
    aim: Aim<'_>,
    mut source: Source,
    translation: Translation,
) -> Result<Outcome, Refusal> {
    let body = match gather(x, aim, &mut source, TRANSLATED_ANSWER_BYTES_MAX).await {
        Ok(body) => body,
        Err(reason) => return unsent(x, reason),
    };
    let (excess, sent_whole) = source.end(x, aim);
    if translation.form.is_verbatim() {
        return Ok(verbatim(x, aim, &translation, &body, (excess, sent_whole)).await);
    }
    if translation.form.is_stream() {
        return as_stream(x, aim, translation, &body).await;
    }
    let (caller, mut losses) = (translation.caller, translation.losses.clone());
    let mut out = Vec::with_capacity(body.len());
    let text = std::str::from_utf8(&body).map_err(|_| bad_json())?;
    let mut tape = Tape::new();
    let root = tape.read(text, Surrogates::Replace).map_err(|_| bad_json())?;
    let written = match translation.form {
        Form::Whole | Form::Events | Form::Array | Form::Verbatim { .. } | Form::Native => {
            read_answer(translation.upstream, root, translation.realm).and_then(|answer| {
                book(x.record, aim, answer.usage.as_ref());
                write_answer(caller, &answer, &translation.echo, &mut losses, &mut out)
            })
        }
        Form::Vectors(asked) => vectors(x.record, &translation, asked, root, &mut losses, &mut out),
        Form::Count => tokens(&translation, root, &mut out),
    };
    aim.endpoint.seen.answer(x.record);
    if let Err(failure) = written {
        return Ok(fail(x, aim, &failure, &losses, caller, Reason::UpInbandError).await);
    }
    let said = x.end_of_answer(excess, sent_whole);
    let fields = fields(x, aim, &losses);
    Ok(x.reply(|head, to| reply::translated(head, 200, &fields, &out, to), said).await)
}

/// A body that is the caller's already.
async fn verbatim(
    x: &mut Exchange<'_>,
    aim: Aim<'_>,
    translation: &Translation,
    body: &[u8],
    (excess, sent_whole): (bool, bool),
) -> Outcome {
    let mut observer = sse::UnaryObserver::new();
    observer.feed(body);
    x.scratch.observer = Observer::Unary(observer);
    let said = x.end_of_answer(excess, sent_whole);
    aim.endpoint.seen.answer(x.record);
    let fields = fields(x, aim, &translation.losses);
    x.reply(|head, to| reply::translated(head, 200, &fields, body, to), said).await
}

/// Vectors in the caller's form: as many as it gave texts.
fn vectors<'a>(
    record: &mut Record,
    translation: &Translation,
    asked: Vectors,
    body: Value<'a>,
    losses: &mut Losses,
    out: &mut Vec<u8>,
) -> Result<(), Failure<'a>> {
    let answer = match translation.upstream {
        Dialect::Gemini => embeddings::read_gemini_answer(body),
        _ => embeddings::read_openai_answer(body),
    }?;
    if answer.vectors.len() != asked.count {
        let message = "the upstream's answer has not one vector for each input";
        return Err(Failure::of(Kind::BadGateway, message));
    }
    record.tokens_in = answer.tokens;
    match translation.caller {
        Dialect::Gemini => embeddings::write_gemini_answer(&answer, asked.single, out),
        _ => embeddings::write_openai_answer(&answer, &translation.echo.model, asked.base64, losses, out),
    }
    Ok(())
}

/// The length of a prompt in the caller's form.
fn tokens<'a>(translation: &Translation, body: Value<'a>, out: &mut Vec<u8>) -> Result<(), Failure<'a>> {
    if let Some(failure) = failure_in::of_body(body, None) {
        return Err(failure);
    }
    let counted = counting::read_answer(translation.upstream, body);
    let tokens =
        counted.ok_or(Failure::of(Kind::BadGateway, "the upstream's answer has no number of tokens"))?;
    counting::write_answer(translation.caller, tokens, out);
    Ok(())
}

fn bad_json() -> Refusal {
    Refusal::BadAnswer { reason: Reason::UpBadJson }
}

/// The backend answered in one piece where events were asked for: the caller gets events.
async fn as_stream(
    x: &mut Exchange<'_>,
    aim: Aim<'_>,
    translation: Translation,
    body: &[u8],
) -> Result<Outcome, Refusal> {
    let mut way = Way::of(translation);
    way.translator.whole(body, &mut way.text);
    way.conclude(x, aim, Ok((false, true))).await
}

async fn error(
    x: &mut Exchange<'_>,
    aim: Aim<'_>,
    mut source: Source,
    translation: &Translation,
    wait_ms: Option<u64>,
) -> Result<Outcome, Refusal> {
    let status = x.record.status;
    let body = match gather(x, aim, &mut source, TRANSLATED_ERROR_BYTES_MAX).await {
        Ok(body) => body,
        Err(reason) if reason.blame() == Blame::Client => return unsent(x, reason),
        Err(_) => Vec::new(), // its status says enough
    };
    let _ = source.end(x, aim);
    aim.endpoint.seen.answer(x.record);
    let mut failure = failure_in::of_answer(status, &body);
    failure.retry_after_ms = failure.retry_after_ms.or(wait_ms);
    Ok(fail(x, aim, &failure, &translation.losses, translation.caller, Reason::UpStatus).await)
}

/// Answers with a backend's error. What is the caller's own mistake is no remark.
async fn fail(
    x: &mut Exchange<'_>,
    aim: Aim<'_>,
    failure: &Failure<'_>,
    losses: &Losses,
    caller: Dialect,
    reason: Reason,
) -> Outcome {
    let mut body = Vec::new();
    let id = String::from_utf8_lossy(x.record.request_id.as_bytes()).into_owned();
    let committed = heartbeat::is_committed(x);
    let write = if committed { failure_out::write_event } else { failure_out::write };
    let shown = write(caller, failure, &id, &mut body);
    let own_doing = reason == Reason::UpStatus && shown.status < 500 && shown.status != 429;
    let said = if own_doing { Outcome::Complete } else { Outcome::Remarked(reason) };
    if committed {
        return heartbeat::break_off(x, &body, said).await;
    }
    let mut fields = fields(x, aim, losses);
    if let Some(ms) = shown.retry_after_ms {
        fields.push(("retry-after", ms.div_ceil(1_000).to_string()));
        fields.push(("retry-after-ms", ms.to_string()));
    }
    if shown.kind == Kind::Billing {
        fields.push(("x-should-retry", "false".to_owned()));
    }
    x.reply(|head, to| reply::translated(head, shown.status, &fields, &body, to), said).await
}

/// Where the session is, and what answers say on routes that expose it.
fn fields(x: &Exchange<'_>, aim: Aim<'_>, losses: &Losses) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    if let Some(token) = session::granted(x, aim) {
        fields.push((session::FIELD, String::from_utf8_lossy(token.as_bytes()).into_owned()));
    }
    if aim.route.expose {
        if let Some(id) = &x.upstream_id {
            fields.push(("x-ringway-upstream-request-id", id.to_string()));
        }
        fields.push(("x-ringway-backend", aim.endpoint.name.as_str().to_owned()));
        fields.push(("x-ringway-attempts", x.record.attempts.to_string()));
        fields.push(("server-timing", x.server_timing(x.elapsed_us())));
        if !losses.is_empty() {
            fields.push(("x-ringway-loss", losses.header()));
        }
    }
    fields
}

/// Books what it cost in the backend's way of counting, so that its figures mean one thing whoever asks.
fn book(record: &mut Record, aim: Aim<'_>, usage: Option<&Usage>) {
    let Some(usage) = usage.filter(|usage| usage.is_some()) else { return };
    let dialect = aim.backend.dialect;
    let cache_apart = dialect == snapshot::Dialect::AnthropicMessages;
    let thoughts_apart = dialect == snapshot::Dialect::Gemini;
    record.tokens_in = if cache_apart { usage.input.map(|_| usage.exclusive().input) } else { usage.input };
    let thoughts = usage.reasoning.filter(|_| thoughts_apart).unwrap_or(0);
    record.tokens_out = usage.output.map(|output| output.saturating_sub(thoughts));
    record.tokens_cached = usage.cache_read;
    record.tokens_cache_written = usage.cache_write;
    record.tokens_reasoning = usage.reasoning;
}

// Streams.

/// What a stream goes through.
enum Passage {
    /// From one dialect to another.
    Translated(Translator),
    /// As it is.
    Verbatim(Verbatim),
}

/// A stream in the caller's own words, and what it says for the books.
struct Verbatim {
    observer: sse::Observer,
    dialect: Dialect,
    account: Account,
    /// It ended without its last event: its client must see that.
    cut: bool,
}

impl Passage {
    fn of(translation: &mut Translation) -> Self {
        let Translation { caller, upstream, realm, form, .. } = *translation;
        let echo = std::mem::take(&mut translation.echo);
        match form {
            Form::Verbatim { .. } | Form::Native => Self::Verbatim(Verbatim {
                observer: sse::Observer::new(shape_of(caller)),
                dialect: caller,
                account: Account::default(),
                cut: false,
            }),
            Form::Array => Self::Translated(Translator::new(upstream, realm, caller, echo).as_array()),
            Form::Whole | Form::Events | Form::Vectors(_) | Form::Count => {
                Self::Translated(Translator::new(upstream, realm, caller, echo))
            }
        }
    }

    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Translated(translator) => translator.feed(bytes, out),
            Self::Verbatim(verbatim) => verbatim.feed(bytes, out),
        }
    }

    /// A sign of life, if there is a place for one; `words` where nothing is translated.
    fn heartbeat(&mut self, words: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Translated(translator) => translator.heartbeat(out),
            Self::Verbatim(verbatim) if verbatim.observer.takes_heartbeat() => out.extend_from_slice(words),
            Self::Verbatim(_) => {}
        }
    }

    fn whole(&mut self, body: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Translated(translator) => translator.whole(body, out),
            Self::Verbatim(verbatim) => verbatim.feed(body, out),
        }
    }

    fn finish(&mut self, clean: bool, out: &mut Vec<u8>) {
        match self {
            Self::Translated(translator) => translator.finish(clean, out),
            Self::Verbatim(verbatim) => verbatim.finish(out),
        }
    }

    const fn account(&self) -> &Account {
        match self {
            Self::Translated(translator) => translator.account(),
            Self::Verbatim(verbatim) => &verbatim.account,
        }
    }

    fn wants_abort(&self) -> bool {
        match self {
            Self::Translated(translator) => translator.wants_abort(),
            Self::Verbatim(verbatim) => verbatim.cut,
        }
    }
}

impl Verbatim {
    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(bytes);
        self.account.content |= self.observer.feed(bytes).first_token;
        self.account.pieces = self.observer.content_events();
    }

    /// Whether the end was said decides, however the transport ended.
    fn finish(&mut self, out: &mut Vec<u8>) {
        self.observer.finish();
        let usage = self.observer.usage();
        self.account.usage = Usage {
            input: usage
                .input
                .map(|input| input + usage.cache_read.unwrap_or(0) + usage.cache_write.unwrap_or(0)),
            cache_read: usage.cache_read,
            cache_write: usage.cache_write,
            output: usage.output,
            reasoning: usage.reasoning,
            ..Usage::NONE
        };
        self.cut = !self.observer.terminal() && !self.observer.error();
        self.account.end = Some(match self.observer.error() {
            true => Err(Failure::of(Kind::Internal, "the upstream ended its stream with an error")), // it has passed
            false if self.cut => Err(Failure::truncated()),
            false => Ok(()),
        });
        if self.cut {
            let _ = failure_out::write_event(self.dialect, &Failure::truncated(), "", out);
        }
    }
}

fn shape_of(dialect: Dialect) -> sse::Shape {
    match dialect {
        Dialect::OpenAiChat => sse::Shape::OpenAi,
        Dialect::OpenAiResponses => sse::Shape::Responses,
        Dialect::Anthropic => sse::Shape::Anthropic,
        Dialect::Gemini => sse::Shape::Gemini,
    }
}

/// A stream on its way.
struct Way {
    translator: Passage,
    caller: Dialect,
    losses: Losses,
    form: Form,
    /// What the caller gets next.
    text: Vec<u8>,
    /// The head is out.
    begun: bool,
    counted: u64,
}

async fn stream(
    x: &mut Exchange<'_>,
    aim: Aim<'_>,
    mut source: Source,
    translation: Translation,
    lease: &mut Dispatched,
) -> Result<Outcome, Refusal> {
    let mut way = Way::of(translation);
    let moved = way.run(x, aim, &mut source, lease).await;
    let ended = match moved {
        Ok(()) => Ok(source.end(x, aim)),
        Err(reason) => {
            drop(source); // the connection goes: it has more to say, or nothing
            x.down.deadline.rest();
            x.down.deadline.set_upstream(None);
            Err(reason)
        }
    };
    way.conclude(x, aim, ended).await
}

impl Way {
    fn of(translation: Translation) -> Self {
        let mut translation = translation;
        let translator = Passage::of(&mut translation);
        let Translation { caller, losses, form, .. } = translation;
        Self { translator, caller, losses, form, text: Vec::new(), begun: false, counted: 0 }
    }

    /// Sends what each read brings, until the body ends or breaks. The end of the stream is left to be sent.
    async fn run(
        &mut self,
        x: &mut Exchange<'_>,
        aim: Aim<'_>,
        source: &mut Source,
        lease: &mut Dispatched,
    ) -> Result<(), Reason> {
        loop {
            let Self { translator, text, .. } = self;
            source.take(x, |payload| translator.feed(payload, text))?;
            self.look(x, aim, lease);
            if source.is_done() {
                return Ok(());
            }
            let failed_first = !self.begun && matches!(self.translator.account().end, Some(Err(_)));
            if !self.text.is_empty() && !failed_first {
                self.put(x, aim, false);
                self.send(x).await?;
            }
            if source.more(x, aim).await? == Came::Nothing {
                self.beat(x, aim).await?;
            }
        }
    }

    /// The upstream says nothing: the caller hears that somebody is there. Before the first words that would commit the
    /// status, so then only where it may.
    async fn beat(&mut self, x: &mut Exchange<'_>, aim: Aim<'_>) -> Result<(), Reason> {
        if !self.begun {
            return heartbeat::wait_on(x).await;
        }
        self.translator.heartbeat(heartbeat::words(aim.backend.dialect), &mut self.text);
        heartbeat::sent(x);
        if self.text.is_empty() {
            return Ok(()); // there is no place for one
        }
        x.worker.shard.count(Counter::Heartbeats);
        self.put(x, aim, false);
        self.send(x).await
    }

    fn look(&mut self, x: &mut Exchange<'_>, aim: Aim<'_>, lease: &mut Dispatched) {
        let account = self.translator.account();
        if account.content && x.record.first_token == Micros::NONE {
            x.record.first_token = Micros::new(x.elapsed_us());
            lease.first_token();
            kick(x.worker, aim.backend);
        }
        let new = account.pieces - self.counted;
        if aim.backend.pool().is_some() && new > 0 {
            self.counted = account.pieces;
            lease.lease.tokens(new as u32);
            lease.lease.see_gap(x.worker.clock.now());
        }
    }

    /// The upstream's body ended (bytes behind it, the request went up whole) or broke: the caller hears which.
    async fn conclude(
        mut self,
        x: &mut Exchange<'_>,
        aim: Aim<'_>,
        ended: Result<(bool, bool), Reason>,
    ) -> Result<Outcome, Refusal> {
        if let Err(reason) = ended
            && reason.blame() == Blame::Client
        {
            self.account(x, aim);
            x.keep_alive = false;
            x.reset = reason == Reason::ClientWriteStall;
            return Ok(Outcome::Gone(reason));
        }
        self.translator.finish(ended.is_ok(), &mut self.text);
        self.account(x, aim);
        let failure = match &self.translator.account().end {
            Some(Err(failure)) => Some(failure.clone()),
            Some(Ok(())) => None,
            None => Some(Failure::truncated()),
        };
        let reason = failure.as_ref().map(|failure| match ended {
            Err(reason) => reason,
            Ok(_) if failure.kind == Kind::UpstreamTruncated => Reason::UpNoTerminal,
            Ok(_) => Reason::UpInbandError,
        });
        // What has the caller's words already is passed on, its failure too.
        let begun = self.begun || (self.form.is_verbatim() && !self.text.is_empty());
        match (begun, failure, reason) {
            (false, Some(_), Some(reason)) if ended.is_err() => unsent(x, reason),
            (false, Some(failure), Some(reason)) => {
                Ok(fail(x, aim, &failure, &self.losses, self.caller, reason).await)
            }
            (_, _, reason) => Ok(self.last(x, aim, ended, reason).await),
        }
    }

    /// The last words, and the last chunk if they may have one.
    async fn last(
        mut self,
        x: &mut Exchange<'_>,
        aim: Aim<'_>,
        ended: Result<(bool, bool), Reason>,
        reason: Option<Reason>,
    ) -> Outcome {
        let abort = self.translator.wants_abort();
        self.put(x, aim, !abort);
        let sent = self.send(x).await;
        if abort {
            x.keep_alive = false;
            x.reset = x.scratch.head.version() == Version::Http10;
        }
        if let Err(reason) = sent {
            x.keep_alive = false;
            x.reset |= reason == Reason::ClientWriteStall;
            return Outcome::Gone(reason);
        }
        match (ended, reason) {
            (_, Some(reason)) if abort => Outcome::Aborted(reason),
            (_, Some(reason)) => Outcome::Remarked(reason),
            (Ok((excess, sent_whole)), None) => x.end_of_answer(excess, sent_whole),
            (Err(_), None) => Outcome::Complete, // all was said before it broke
        }
    }

    fn account(&self, x: &mut Exchange<'_>, aim: Aim<'_>) {
        let account = self.translator.account();
        book(x.record, aim, Some(&account.usage));
        if !account.usage.is_some() && account.pieces > 0 {
            x.record.count_pieces(account.pieces);
        }
        aim.endpoint.seen.answer(x.record);
    }

    /// Puts the text into the send buffer, in a chunk of ours; before the first the head.
    fn put(&mut self, x: &mut Exchange<'_>, aim: Aim<'_>, last: bool) {
        let chunked = x.scratch.head.version() == Version::Http11;
        let mut out = std::mem::take(&mut x.scratch.out.bytes);
        out.clear();
        if !std::mem::replace(&mut self.begun, true) && !heartbeat::is_committed(x) {
            x.keep_alive &= chunked && !x.worker.is_draining();
            x.record.status = 200;
            let kind = if self.form == Form::Array {
                "application/json"
            } else {
                "text/event-stream; charset=utf-8"
            };
            let fields = fields(x, aim, &self.losses);
            reply::stream_head(&mut out, kind, &fields, chunked, &x.to(!x.keep_alive));
        }
        if chunked && !self.text.is_empty() {
            write_chunk_head(&mut out, self.text.len());
        }
        out.extend_from_slice(&self.text);
        if chunked && !self.text.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
        if chunked && last {
            out.extend_from_slice(LAST_CHUNK);
        }
        self.text.clear();
        x.scratch.out.clear();
        x.scratch.out.bytes = out;
    }

    async fn send(&mut self, x: &mut Exchange<'_>) -> Result<(), Reason> {
        let stall_ms = x.down.listener.timeouts.write_stall_ms.get();
        x.down.deadline.wait(Wait::Write, x.worker.clock.coarse_ms(), stall_ms);
        let whole = x.scratch.out.len();
        let sent = x.down.socket.send_out(&mut x.scratch.out).await;
        x.record.bytes_out += (whole - x.scratch.out.len()) as u64;
        if x.record.first_byte == Micros::NONE {
            x.record.first_byte = Micros::new(x.elapsed_us());
        }
        heartbeat::sent(x);
        let elapsed = x.down.deadline.elapsed();
        x.down.deadline.rest();
        sent.map_err(|_| match elapsed {
            Some(crate::deadline::Elapsed::Total) => Reason::Deadline,
            Some(crate::deadline::Elapsed::Wait(_)) => Reason::ClientWriteStall,
            None => Reason::ClientGoneStream,
        })
    }
}
