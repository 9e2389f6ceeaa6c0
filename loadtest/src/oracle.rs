//! The judge: what an answer must be, and the first thing wrong with it.
//!
//! Owns: the kinds of faults, and the checks of one answer as it arrives: status, media type, framing, JSON,
//! the sequence of events, usage and text.
//! Must not: send, time out, or be lenient because a client library would be.
//! Read next: `oracle/stream.rs` (events), `oracle/document.rs` (answers in one piece).

mod document;
mod stream;

use std::{borrow::Cow, time::Instant};

use ringway_gpusim::text::Seed;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    bounds::{DOCUMENT_BYTES_MAX, EXAMPLE_BYTES_MAX},
    client::http::{Head, Sink, Stage},
    scenario::{Ask, Expect, Form, Raw},
    stats::Latency,
};
use stream::StreamJudge;

/// What can be wrong with an exchange. Each exchange has at most one fault: the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nobody listens.
    ConnectRefused,
    /// The connection could not be made for another reason.
    ConnectFailed,
    /// The peer reset the connection before the answer began.
    Reset,
    /// The peer closed the connection before the answer began.
    ClosedEarly,
    /// The exchange did not end in time.
    TimedOut,
    /// Too many requests waited for a connection; this one was never sent.
    NotSent,
    /// The status was not the one that was asked for.
    Status,
    /// The response head cannot be read.
    BadHead,
    /// Body framing is contradictory or malformed.
    BadFraming,
    /// The connection ended within the body.
    TruncatedBody,
    /// Bytes came that belong to no response.
    SurplusBytes,
    /// The media type is not that of the answer asked for.
    WrongMediaType,
    /// What should be JSON is not.
    BadJson,
    /// JSON without the fields, or with values, that the API promises.
    WrongShape,
    /// The stream is no event stream, or ends within an event.
    BadEvent,
    /// The stream was cut before its terminal event.
    BrokenStream,
    /// The stream brought an error.
    ErrorEvent,
    /// The stream ended cleanly, but without `[DONE]`.
    MissingDone,
    /// An event came where none may.
    WrongOrder,
    /// The answer has no `finish_reason`.
    MissingFinish,
    /// The answer has no usage, or the stream none though it was asked for.
    MissingUsage,
    /// Usage contradicts the request, the text or itself.
    UsageMismatch,
    /// The text is not the one this prompt has.
    TextMismatch,
    /// Id or model changed in mid-stream.
    IdentityChanged,
    /// A raw body of another length.
    BodyLength,
    /// A raw body with another hash.
    BodyHash,
}

impl Fault {
    /// Whether the exchange got no answer or was told no, as opposed to a wrong answer.
    pub const fn is_failure(self) -> bool {
        match self {
            Self::ConnectRefused
            | Self::ConnectFailed
            | Self::Reset
            | Self::ClosedEarly
            | Self::TimedOut
            | Self::NotSent
            | Self::Status => true,
            Self::BadHead
            | Self::BadFraming
            | Self::TruncatedBody
            | Self::SurplusBytes
            | Self::WrongMediaType
            | Self::BadJson
            | Self::WrongShape
            | Self::BadEvent
            | Self::BrokenStream
            | Self::ErrorEvent
            | Self::MissingDone
            | Self::WrongOrder
            | Self::MissingFinish
            | Self::MissingUsage
            | Self::UsageMismatch
            | Self::TextMismatch
            | Self::IdentityChanged
            | Self::BodyLength
            | Self::BodyHash => false,
        }
    }

    /// How it is named to people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectRefused => "connection refused",
            Self::ConnectFailed => "connect failed",
            Self::Reset => "connection reset",
            Self::ClosedEarly => "closed before the answer",
            Self::TimedOut => "timed out",
            Self::NotSent => "not sent",
            Self::Status => "status",
            Self::BadHead => "bad head",
            Self::BadFraming => "bad framing",
            Self::TruncatedBody => "truncated body",
            Self::SurplusBytes => "surplus bytes",
            Self::WrongMediaType => "wrong media type",
            Self::BadJson => "bad JSON",
            Self::WrongShape => "wrong shape",
            Self::BadEvent => "bad event",
            Self::BrokenStream => "broken stream",
            Self::ErrorEvent => "error event",
            Self::MissingDone => "missing [DONE]",
            Self::WrongOrder => "wrong order",
            Self::MissingFinish => "missing finish reason",
            Self::MissingUsage => "missing usage",
            Self::UsageMismatch => "usage mismatch",
            Self::TextMismatch => "text mismatch",
            Self::IdentityChanged => "identity changed",
            Self::BodyLength => "body length",
            Self::BodyHash => "body hash",
        }
    }
}

/// A fault, and what it looked like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) fault: Fault,
    pub(crate) detail: String,
}

impl Violation {
    pub(crate) fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Self { fault, detail: detail.into() }
    }
}

/// `Err` with the fault and its description.
macro_rules! violation {
    ($fault:ident, $($detail:tt)+) => { Err($crate::oracle::Violation::new($crate::oracle::Fault::$fault, format!($($detail)+))) };
}
use violation;

/// How a connection ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// By a reset, or an error like it, as opposed to a clean end.
    pub(crate) reset: bool,
    /// Whether it had carried another exchange before.
    pub(crate) reused: bool,
}

/// What a valid answer amounted to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// First token, or the head of an answer in one piece.
    pub(crate) first: Option<Instant>,
    /// Last token.
    pub(crate) last: Option<Instant>,
    pub(crate) prompt_tokens: u64,
    pub(crate) output_tokens: u64,
    /// Prompt tokens that the answer says were found in a cache.
    pub(crate) cached_tokens: u64,
    pub(crate) text: String,
}

/// The judgement of one answer under way.
pub(crate) struct Judge {
    content: Content,
    status: u16,
    /// When the bytes being fed were read.
    now: Instant,
    head_at: Option<Instant>,
    verdict: Result<(), Violation>,
    /// The beginning of an answer nobody wanted, to show.
    excerpt: Vec<u8>,
    /// Who answered, where the answer says so.
    endpoint: Option<String>,
    retry_after_s: Option<u32>,
}

/// What has come of an answer, whatever is thought of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Glimpse {
    pub(crate) status: Option<u16>,
    pub(crate) first: Option<Instant>,
    pub(crate) last: Option<Instant>,
    pub(crate) tokens: u64,
    pub(crate) retry_after_s: Option<u32>,
}

enum Content {
    Raw { wanted: Raw, length: u64, hash: Box<Xxh3> },
    Document { wanted: Wanted, bytes: Vec<u8> },
    Stream(Box<StreamJudge>),
}

/// What the answer to a generation is compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) form: Form,
    pub(crate) stream: bool,
    pub(crate) expect: Expect,
    pub(crate) prompt_tokens: u64,
    pub(crate) max_tokens: u32,
    /// Decides the text of a simulated answer.
    pub(crate) seed: Seed,
}

impl Judge {
    pub(crate) fn new(ask: &Ask, wanted: Option<Wanted>, now: Instant) -> Self {
        let content = match (ask, wanted) {
            (Ask::Raw(wanted), _) => Content::Raw { wanted: wanted.clone(), length: 0, hash: Box::default() },
            (Ask::Tokens(_), Some(wanted)) if wanted.stream => {
                Content::Stream(Box::new(StreamJudge::new(wanted)))
            }
            (Ask::Tokens(_), wanted) => {
                let wanted = wanted.expect("a generation is written with what it wants");
                Content::Document { wanted, bytes: Vec::new() }
            }
        };
        let (excerpt, endpoint, retry_after_s) = (Vec::new(), None, None);
        Self { content, status: 0, now, head_at: None, verdict: Ok(()), excerpt, endpoint, retry_after_s }
    }

    /// What has come so far.
    pub(crate) fn glimpse(&self) -> Glimpse {
        let tokens = match &self.content {
            Content::Stream(stream) => stream.arrivals(),
            Content::Raw { .. } | Content::Document { .. } => &[],
        };
        Glimpse {
            status: self.head_at.map(|_| self.status),
            first: tokens.first().copied(),
            last: tokens.last().copied(),
            tokens: tokens.len() as u64,
            retry_after_s: self.retry_after_s,
        }
    }

    /// Who answered, where the answer says so.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// Tells when the bytes that are fed next were read.
    pub(crate) fn at(&mut self, now: Instant) {
        self.now = now;
    }

    /// The answer cannot be what was asked for, whatever else comes.
    pub(crate) fn fail(&mut self, fault: Fault, detail: impl Into<String>) {
        if self.verdict.is_ok() {
            self.verdict = Err(Violation::new(fault, detail));
        }
    }

    /// The connection ended with the response as far as `stage` says.
    pub(crate) fn cut(&mut self, stage: Stage, Cut { reset, reused }: Cut) {
        let how = if reset { "reset" } else { "closed" };
        match (stage, &self.content) {
            (Stage::Whole, _) => {}
            (Stage::Unbegun, _) => {
                // Not tried again: only a server that closed at the same moment is free of blame, and a gateway
                // that drops requests on kept connections must not hide behind a retry.
                let which = if reused { "a reused" } else { "a fresh" };
                let fault = if reset { Fault::Reset } else { Fault::ClosedEarly };
                self.fail(fault, format!("{how} before the answer began, on {which} connection"));
            }
            (Stage::Begun, Content::Stream(stream)) if self.status == 200 => {
                let (fault, detail) = if stream.is_done() {
                    (Fault::BadFraming, format!("{how} after [DONE] but before the end of the body"))
                } else {
                    (Fault::BrokenStream, format!("{how} after {} token events", stream.events()))
                };
                self.fail(fault, detail);
            }
            (Stage::Begun, _) => self.fail(Fault::TruncatedBody, format!("{how} within the answer")),
        }
    }

    /// The response is whole: what is wrong with it, or what it amounted to. Gaps between tokens are added
    /// to `gaps` if it is valid.
    pub(crate) fn finish(self, gaps: &mut Latency) -> Result<Measured, Violation> {
        if let Err(mut violation) = self.verdict {
            if !self.excerpt.is_empty() {
                violation.detail = format!("{}: {}", violation.detail, excerpt(&self.excerpt));
            }
            return Err(violation);
        }
        let mut measured = match self.content {
            Content::Raw { wanted, length, hash } => {
                check_raw(&wanted, length, hash.digest())?;
                Measured::default()
            }
            Content::Document { wanted, bytes } => document::check(&wanted, &bytes)?,
            Content::Stream(stream) => stream.finish(gaps)?,
        };
        measured.first = measured.first.or(self.head_at);
        Ok(measured)
    }

    fn judge_head(&self, head: &Head) -> Result<(), Violation> {
        let (wanted, fits) = match &self.content {
            Content::Raw { .. } => ("", (200..300).contains(&head.status)),
            Content::Document { .. } => ("application/json", head.status == 200),
            Content::Stream(_) => ("text/event-stream", head.status == 200),
        };
        if !fits {
            return violation!(Status, "{}", head.status);
        }
        if !wanted.is_empty() && head.content_type != wanted {
            return violation!(WrongMediaType, "`{}` instead of `{wanted}`", head.content_type);
        }
        Ok(())
    }

    fn judge_body(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        match &mut self.content {
            Content::Raw { wanted, length, hash } => {
                *length += bytes.len() as u64;
                if wanted.expect_hash.is_some() {
                    hash.update(bytes);
                }
            }
            Content::Document { bytes: document, .. } => {
                if document.len() + bytes.len() > DOCUMENT_BYTES_MAX {
                    return violation!(BodyLength, "more than {DOCUMENT_BYTES_MAX} bytes");
                }
                document.extend_from_slice(bytes);
            }
            Content::Stream(stream) => stream.feed(bytes, self.now)?,
        }
        Ok(())
    }
}

impl Sink for Judge {
    fn head(&mut self, head: &Head) {
        self.status = head.status;
        self.head_at = Some(self.now);
        self.endpoint.clone_from(&head.endpoint);
        self.retry_after_s = head.retry_after_s;
        self.verdict = self.judge_head(head);
    }

    fn body(&mut self, bytes: &[u8]) {
        if self.verdict.is_ok() {
            self.verdict = self.judge_body(bytes);
        } else if self.status != 200 {
            let room = EXAMPLE_BYTES_MAX.saturating_sub(self.excerpt.len());
            self.excerpt.extend_from_slice(&bytes[..room.min(bytes.len())]);
        }
    }
}

fn check_raw(wanted: &Raw, length: u64, hash: u64) -> Result<(), Violation> {
    if let Some(expected) = wanted.expect_length.filter(|expected| *expected != length) {
        return violation!(BodyLength, "{length} bytes instead of {expected}");
    }
    if let Some(expected) = wanted.expect_hash.filter(|expected| *expected != hash) {
        return violation!(BodyHash, "{hash:016x} instead of {expected:016x}");
    }
    Ok(())
}

/// The usage of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: Option<PromptDetails>,
}

/// The part of usage that not every server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct PromptDetails {
    cached_tokens: Option<u64>,
}

impl Usage {
    fn cached_tokens(&self) -> u64 {
        self.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0)
    }
}

/// What simulated servers put into `system_fingerprint`.
const SIM_FINGERPRINT: &str = "fp_gpusim";

impl Wanted {
    /// Whether the text is known beforehand.
    fn is_sim(&self, fingerprint: Option<&str>) -> bool {
        match self.expect {
            Expect::Sim => true,
            Expect::Any => false,
            Expect::Auto => fingerprint == Some(SIM_FINGERPRINT),
        }
    }

    /// Text, usage and the reason of the end have to agree with the request and each other.
    fn check_totals(&self, totals: &Totals<'_>) -> Result<Measured, Violation> {
        let Usage { prompt_tokens, completion_tokens, total_tokens, .. } = totals.usage;
        let limit = u64::from(self.max_tokens);
        let cached_tokens = totals.usage.cached_tokens();
        if cached_tokens > prompt_tokens {
            return violation!(UsageMismatch, "{cached_tokens} of {prompt_tokens} prompt tokens were cached");
        }
        if prompt_tokens + completion_tokens != total_tokens {
            return violation!(UsageMismatch, "{prompt_tokens} + {completion_tokens} is not {total_tokens}");
        }
        if completion_tokens > limit {
            return violation!(UsageMismatch, "{completion_tokens} tokens, though {limit} were the limit");
        }
        if totals.finish == "length" && completion_tokens != limit {
            return violation!(UsageMismatch, "ended by the limit of {limit} at {completion_tokens} tokens");
        }
        if let Some(events) = totals.events.filter(|events| *events > completion_tokens) {
            return violation!(UsageMismatch, "{events} token events, but usage says {completion_tokens}");
        }
        if self.is_sim(totals.fingerprint) {
            self.check_sim(totals)?;
        }
        Ok(Measured {
            prompt_tokens,
            output_tokens: completion_tokens,
            cached_tokens,
            text: totals.text.to_owned(),
            ..Measured::default()
        })
    }

    fn check_sim(&self, totals: &Totals<'_>) -> Result<(), Violation> {
        let Usage { prompt_tokens, completion_tokens, .. } = totals.usage;
        let prompt = self.prompt_tokens;
        if prompt_tokens != prompt {
            return violation!(UsageMismatch, "{prompt_tokens} prompt tokens instead of {prompt}");
        }
        if let Some(events) = totals.events.filter(|events| *events != completion_tokens) {
            return violation!(UsageMismatch, "{events} token events, but usage says {completion_tokens}");
        }
        let expected = self.seed.text(completion_tokens as u32); // at most the limit, which is 32 bits
        if totals.text != expected {
            let same = totals.text.bytes().zip(expected.bytes()).take_while(|(a, b)| a == b).count();
            let (got, want) = (tail(totals.text, same), tail(&expected, same));
            return violation!(TextMismatch, "from byte {same} on `{got}` instead of `{want}`");
        }
        Ok(())
    }
}

/// What a whole answer says.
#[derive(Debug)]
struct Totals<'a> {
    usage: Usage,
    finish: &'a str,
    /// Events that carried text, for a stream.
    events: Option<u64>,
    text: &'a str,
    fingerprint: Option<&'a str>,
}

/// Id and model are given. (A gateway may answer with the name behind an alias, so which model is not judged.)
fn check_identity(id: &str, model: &str) -> Result<(), Violation> {
    if id.is_empty() || model.is_empty() {
        violation!(WrongShape, "`id` or `model` is empty")
    } else {
        Ok(())
    }
}

/// The finish reasons of the API.
fn check_finish(finish: &str) -> Result<(), Violation> {
    match finish {
        "stop" | "length" | "tool_calls" | "content_filter" | "function_call" => Ok(()),
        other => violation!(WrongShape, "`finish_reason` is `{other}`"),
    }
}

fn tail(text: &str, from: usize) -> Cow<'_, str> {
    excerpt(&text.as_bytes()[from..])
}

/// The beginning of some bytes, fit for a line of a terminal.
fn excerpt(bytes: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(EXAMPLE_BYTES_MAX)]);
    if text.chars().any(char::is_control) { text.escape_debug().to_string().into() } else { text }
}
