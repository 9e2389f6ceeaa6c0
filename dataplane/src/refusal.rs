//! Every answer that is ringway's own: what it says, whose fault it is, when to ask again.
//!
//! Owns: the closed set of refusals, the status and kind of each, and its words. A message names the mend and
//! never an address, a credential or a name from the configuration.
//! Must not: write bytes; [`crate::reply`] does.
//! Read next: [`crate::reply`].

use std::borrow::Cow;

use ringway_dialect::errors::Kind;
use ringway_dialect::model::{Need, Refused};
use ringway_wire::http1::{Fault, Rule};

use crate::admission::queue::Why;
use crate::outcome::{AttemptError, Blame, Reason};
use crate::tls;

/// ringway says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The head or the framing breaks a rule of HTTP, or one of our stricter ones.
    Malformed {
        /// Id of the rule: `H1-FR-01`.
        rule: &'static str,
        /// The status the rule asks for: 400, 405, 501, 505, ...
        status: u16,
        /// What is wrong and what would be right; one sentence without a full stop.
        what: &'static str,
    },
    /// Plain HTTP where TLS is spoken.
    PlainHttp,
    /// The request line is too long.
    TargetTooLong,
    /// The head is too large.
    HeadTooLarge,
    /// The body is larger than the operator allows.
    BodyTooLarge {
        /// What is allowed.
        limit_bytes: u64,
        /// It said so in its head; else it turned out as it came.
        announced: bool,
    },
    /// The head did not come whole in time.
    HeadTimeout,
    /// The body did not come in time.
    BodyTimeout,
    /// An `Expect` other than `100-continue`.
    ExpectationFailed,
    /// A path with dot segments, `//` or hidden separators, on a route that matches by prefix.
    CrookedPath,
    /// A body that must be read is not the JSON it should be.
    BadJson {
        /// What is wrong with it.
        what: Cow<'static, str>,
    },
    /// A body that must be read is compressed in a way that is not undone here.
    EncodedBody,
    /// A body that must be read is not compressed as it says.
    BadCoding,
    /// A field that the backend's dialect has no words for.
    Untranslatable {
        /// What kind of mistake it is.
        kind: Kind,
        /// The field, as a JSON pointer; empty if no one field is to blame.
        pointer: String,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// Something that a backend of another dialect has no word for.
    NotTranslated,
    /// No model of the route can do what is asked for.
    Incapable {
        /// What the first of them lacks.
        need: Need,
    },
    /// The route needs to know the model and the request names none.
    ModelMissing,
    /// No route matches.
    NoRoute,
    /// Routes match, but none for this model.
    UnknownModel {
        /// As the caller wrote it, cut to a printable length.
        model: String,
    },
    /// Routes match, but none for this method.
    MethodNotAllowed {
        /// The value of the `Allow` field.
        allow: String,
    },
    /// No endpoint may be chosen.
    NoEndpoint {
        /// When it may be otherwise.
        retry_after_ms: u64,
    },
    /// No connection could be made.
    ConnectRefused,
    /// No connection in time.
    ConnectTimeout,
    /// The endpoint's name has no address.
    NameUnresolved,
    /// No secure connection could be made.
    TlsFailed {
        /// Why.
        fault: tls::Fault,
    },
    /// No connection was free in time.
    PoolFull {
        /// When it may be otherwise.
        retry_after_ms: u64,
    },
    /// There is more to do than the backend can, and a queue in front of it has no place or no time left.
    Crowded {
        /// Why not now.
        why: Why,
        /// When there is room again, as far as can be told.
        retry_after_ms: u64,
    },
    /// The endpoint closed before it answered.
    ClosedEarly {
        /// Whether the connection was fresh, or kept and given up meanwhile.
        reason: Reason,
    },
    /// The endpoint closed inside its head.
    HeadCut,
    /// The endpoint's answer is not HTTP, or breaks its rules.
    BadHead,
    /// The endpoint's head is over the bounds.
    UpstreamHeadTooLarge,
    /// The endpoint sent interim answers without end.
    InterimFlood,
    /// The endpoint's head did not come in time.
    UpstreamHeadTimeout,
    /// The endpoint does not read the request.
    SendTimeout,
    /// The endpoint refuses the credential of its backend.
    UpstreamAuth,
    /// The endpoint's body is not what its dialect says.
    BadAnswer {
        /// Which of the reasons it is: type, JSON, coding, size.
        reason: Reason,
    },
    /// The answer broke off before any of it was passed on.
    AnswerCut {
        /// Cut, idle or malformed.
        reason: Reason,
    },
    /// The deadline of the whole exchange.
    Deadline,
    /// The process is going down.
    Draining,
    /// Too many connections.
    TooManyConnections,
    /// No local port is left to connect from.
    GatewayPorts,
    /// A bug of ours.
    Internal,
}

/// What a refusal amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The HTTP status, before a grammar has its say ([`Kind::status_in`]).
    pub status: u16,
    /// What the caller's grammar calls it.
    pub kind: Kind,
    /// What the log and the counters call it.
    pub reason: Reason,
    /// Who has to mend it.
    pub blame: Blame,
    /// When asking again makes sense, if we know.
    pub retry_after_ms: Option<u64>,
    /// Whether the caller's connection cannot go on.
    pub close: bool,
}

impl Refusal {
    /// Status, kind, reason, blame, wait and whether the connection ends.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Malformed { rule: "H1-SY-16", status, .. } => {
                refuse(*status, kind_of(*status), Reason::BadProtocol).close()
            }
            Self::Malformed { status, .. } => refuse(*status, kind_of(*status), Reason::BadRequest).close(),
            Self::TargetTooLong => refuse(414, Kind::TooLarge, Reason::BadRequest).close(),
            Self::HeadTooLarge => refuse(431, Kind::TooLarge, Reason::BadRequest).close(),
            Self::BodyTooLarge { .. } => refuse(413, Kind::TooLarge, Reason::BadRequest).close(),
            Self::PlainHttp => refuse(400, Kind::InvalidRequest, Reason::BadProtocol).close(),
            Self::HeadTimeout => refuse(408, Kind::RequestTimeout, Reason::ClientHeadTimeout).close(),
            Self::BodyTimeout => refuse(408, Kind::RequestTimeout, Reason::ClientBodyTimeout).close(),
            Self::ExpectationFailed => refuse(417, Kind::InvalidRequest, Reason::BadRequest).close(),
            Self::CrookedPath => refuse(400, Kind::InvalidRequest, Reason::BadRequest).close(),
            Self::BadJson { .. } | Self::ModelMissing => {
                refuse(400, Kind::InvalidRequest, Reason::BadRequest)
            }
            Self::Incapable { .. } => refuse(400, Kind::UnsupportedField, Reason::BadRequest),
            Self::Untranslatable { kind, .. } => refuse(kind.status(), *kind, Reason::BadRequest),
            Self::EncodedBody => refuse(415, Kind::UnsupportedMedia, Reason::BadRequest),
            Self::BadCoding => refuse(400, Kind::InvalidRequest, Reason::BadRequest),
            Self::NoRoute | Self::NotTranslated => refuse(404, Kind::NotFound, Reason::NoRoute),
            Self::UnknownModel { .. } => refuse(404, Kind::ModelNotFound, Reason::UnknownModel),
            Self::MethodNotAllowed { .. } => refuse(405, Kind::MethodNotAllowed, Reason::BadRequest),
            Self::NoEndpoint { retry_after_ms } => {
                refuse(503, Kind::NoUpstream, Reason::NoEndpoint).after(*retry_after_ms)
            }
            Self::ConnectRefused => refuse(502, Kind::BadGateway, Reason::UpConnectRefused),
            Self::ConnectTimeout => refuse(504, Kind::GatewayTimeout, Reason::UpConnectTimeout),
            Self::NameUnresolved => refuse(502, Kind::BadGateway, Reason::UpDns),
            Self::TlsFailed { .. } => refuse(502, Kind::BadGateway, Reason::UpTls),
            Self::PoolFull { retry_after_ms } => {
                refuse(503, Kind::Overloaded, Reason::PoolFull).after(*retry_after_ms)
            }
            Self::Crowded { retry_after_ms, .. } => {
                refuse(429, Kind::RateLimited, Reason::PoolFull).after(*retry_after_ms)
            }
            Self::HeadCut => refuse(502, Kind::BadGateway, Reason::UpHeadCut),
            Self::BadHead => refuse(502, Kind::BadGateway, Reason::UpBadHead),
            Self::UpstreamHeadTooLarge => refuse(502, Kind::BadGateway, Reason::UpHeadTooBig),
            Self::InterimFlood => refuse(502, Kind::BadGateway, Reason::UpInterimFlood),
            Self::UpstreamHeadTimeout => refuse(504, Kind::GatewayTimeout, Reason::UpHeadTimeout),
            Self::SendTimeout => refuse(504, Kind::GatewayTimeout, Reason::UpSendTimeout),
            // Never the endpoint's 401 or 403: the caller's key is fine.
            Self::UpstreamAuth => refuse(502, Kind::BadGateway, Reason::UpAuth),
            Self::ClosedEarly { reason } | Self::BadAnswer { reason } => {
                refuse(502, Kind::BadGateway, *reason)
            }
            Self::AnswerCut { reason } => refuse(502, Kind::UpstreamTruncated, *reason),
            Self::Deadline => refuse(504, Kind::GatewayTimeout, Reason::Deadline),
            Self::Draining => refuse(503, Kind::NoUpstream, Reason::Draining).after(SOON_MS).close(),
            Self::TooManyConnections => {
                refuse(503, Kind::Overloaded, Reason::ConnLimit).after(SOON_MS).close()
            }
            Self::GatewayPorts => refuse(503, Kind::NoUpstream, Reason::GatewayPorts).after(SOON_MS),
            Self::Internal => refuse(500, Kind::Internal, Reason::Panic).close(),
        }
    }

    /// The answer to a head or a body that breaks a rule. `body_max` is the limit that a body may have met.
    pub fn of_fault(fault: Fault, body_max: u64) -> Self {
        let (rule, status) = (fault.rule.id(), fault.status);
        match fault.rule {
            Rule::S8RequestLine => Self::TargetTooLong,
            Rule::S8FieldLine | Rule::S8Head => Self::HeadTooLarge,
            Rule::H1Fr04 | Rule::H1Ch06 => {
                Self::BodyTooLarge { limit_bytes: body_max, announced: fault.rule == Rule::H1Fr04 }
            }
            Rule::H1Co07 => Self::ExpectationFailed,
            _ => Self::Malformed { rule, status, what: words(fault.rule) },
        }
    }

    /// What it says to people: what is wrong and how to mend it.
    pub fn message(&self) -> Cow<'static, str> {
        let fixed: &'static str = match self {
            Self::Malformed { rule, what, .. } => return format!("{what} ({rule})").into(),
            Self::BodyTooLarge { limit_bytes, .. } => {
                return format!("the request body is larger than the {limit_bytes} bytes allowed here")
                    .into();
            }
            Self::BadJson { what } => return format!("the request body is not valid JSON: {what}").into(),
            Self::UnknownModel { model } => {
                return format!(
                    "the model `{model}` does not exist here; GET /v1/models lists those that do"
                )
                .into();
            }
            Self::MethodNotAllowed { allow } => {
                return format!("this path does not take this method; it takes {allow}").into();
            }
            Self::Untranslatable { pointer, message, .. } if pointer.is_empty() => {
                return message.clone().into();
            }
            Self::Untranslatable { pointer, message, .. } => return format!("{pointer}: {message}").into(),
            Self::Incapable { need } => incapable(*need),
            Self::NotTranslated => {
                "the server behind this route has nothing that answers this request: it speaks another dialect, or hosts models and nothing beside"
            }
            Self::PlainHttp => "plain HTTP was sent to a port that speaks TLS; use https://",
            Self::TargetTooLong => "the request line is too long; put the data into the body",
            Self::HeadTooLarge => "the request head is too large; send fewer or shorter header fields",
            Self::HeadTimeout => "the request head did not arrive in time",
            Self::BodyTimeout => "the request body did not arrive in time",
            Self::ExpectationFailed => "the only expectation met here is 100-continue",
            Self::CrookedPath => {
                "the path has a dot segment, an empty segment or an encoded separator; send it in its plain form"
            }
            Self::EncodedBody => {
                "a request body is read here as gzip, zstd or plain; send it without content-encoding"
            }
            Self::BadCoding => "the request body is not coded as its content-encoding says",
            Self::ModelMissing => "the request names no model; set `model` in the JSON body",
            Self::NoRoute => "nothing is served at this path; check the base URL",
            Self::NoEndpoint { .. } => "no server for this model is available right now; try again later",
            Self::ConnectRefused => "the server behind this route refused the connection",
            Self::ConnectTimeout => "the server behind this route did not accept a connection in time",
            Self::NameUnresolved => "the server behind this route has no known address",
            Self::TlsFailed { fault } => fault.of_upstream(),
            Self::PoolFull { .. } => {
                "all connections to the servers behind this route are busy; try again later"
            }
            Self::Crowded { why: Why::Full, .. } => {
                "too many requests wait for this model already; try again when retry-after says"
            }
            Self::Crowded { why: Why::TimedOut, .. } => {
                "this model was busy for as long as a request may wait; try again when retry-after says"
            }
            Self::Crowded { why: Why::TooLong, .. } => {
                "this model cannot begin to answer in the time that is promised here; try a shorter prompt, or later"
            }
            Self::Crowded { why: Why::Displaced, .. } => {
                "more urgent requests took the place of this one; try again when retry-after says"
            }
            Self::ClosedEarly { .. } => {
                "the server behind this route closed the connection without an answer"
            }
            Self::HeadCut => "the server behind this route broke off in the head of its answer",
            Self::BadHead => "the server behind this route gave an answer that is not valid HTTP",
            Self::UpstreamHeadTooLarge => "the server behind this route gave an answer with too large a head",
            Self::InterimFlood => "the server behind this route sent interim answers without end",
            Self::UpstreamHeadTimeout => "the server behind this route did not begin its answer in time",
            Self::SendTimeout => "the server behind this route did not take the request in time",
            Self::UpstreamAuth => {
                "the server behind this route refused the gateway; its operator has to look"
            }
            Self::BadAnswer { .. } => "the server behind this route gave an answer that cannot be read",
            Self::AnswerCut { .. } => "the server behind this route broke off its answer",
            Self::Deadline => "the request took longer than is allowed here",
            Self::Draining => "this gateway is shutting down; try again",
            Self::TooManyConnections => "this gateway has too many connections; try again later",
            Self::GatewayPorts => "this gateway has no free port to connect from; try again later",
            Self::Internal => "this gateway made a mistake; the request id finds it in the log",
        };
        Cow::Borrowed(fixed)
    }

    /// Its short name for programs; `error.code` in plain JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed_request",
            Self::PlainHttp => "plain_http",
            Self::TargetTooLong => "uri_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::ExpectationFailed => "expectation_failed",
            Self::CrookedPath => "crooked_path",
            Self::BadJson { .. } => "bad_json",
            Self::Untranslatable { .. } => "untranslatable",
            Self::NotTranslated => "not_translated",
            Self::Incapable { .. } => "model_incapable",
            Self::BadCoding => "bad_coding",
            Self::EncodedBody => "encoded_body",
            Self::ModelMissing => "model_missing",
            Self::NoRoute => "no_route",
            Self::UnknownModel { .. } => "model_not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::NoEndpoint { .. } => "no_endpoint",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::NameUnresolved => "name_unresolved",
            Self::TlsFailed { .. } => "tls_failed",
            Self::PoolFull { .. } => "pool_full",
            Self::Crowded { why: Why::Full, .. } => "queue_full",
            Self::Crowded { why: Why::TimedOut, .. } => "queue_timeout",
            Self::Crowded { why: Why::TooLong, .. } => "ttft_unreachable",
            Self::Crowded { why: Why::Displaced, .. } => "queue_displaced",
            Self::ClosedEarly { .. } => "closed_early",
            Self::HeadCut => "head_cut",
            Self::BadHead => "bad_head",
            Self::UpstreamHeadTooLarge => "upstream_head_too_large",
            Self::InterimFlood => "interim_flood",
            Self::UpstreamHeadTimeout => "upstream_head_timeout",
            Self::SendTimeout => "send_timeout",
            Self::UpstreamAuth => "upstream_auth",
            Self::BadAnswer { .. } => "bad_answer",
            Self::AnswerCut { .. } => "answer_cut",
            Self::Deadline => "deadline",
            Self::Draining => "draining",
            Self::TooManyConnections => "too_many_connections",
            Self::GatewayPorts => "gateway_ports",
            Self::Internal => "internal",
        }
    }

    /// The rule of HTTP that the request breaks, for the log and one counter.
    pub fn rule(&self) -> Option<&'static str> {
        match self {
            Self::Malformed { rule, .. } => Some(rule),
            Self::TargetTooLong => Some("S8-REQUEST-LINE"),
            Self::HeadTooLarge => Some("S8-HEAD"),
            Self::BodyTooLarge { announced: true, .. } => Some("H1-FR-04"),
            Self::BodyTooLarge { announced: false, .. } => Some("H1-CH-06"),
            Self::ExpectationFailed => Some("H1-CO-07"),
            Self::CrookedPath => Some("H1-SY-13"),
            Self::MethodNotAllowed { .. } => Some("H1-SY-14"),
            Self::BadJson { .. } => Some("SEC-JS-05"),
            Self::EncodedBody => Some("SEC-CMP-01"),
            Self::PlainHttp
            | Self::HeadTimeout
            | Self::BodyTimeout
            | Self::ModelMissing
            | Self::NoRoute
            | Self::UnknownModel { .. }
            | Self::NoEndpoint { .. }
            | Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::NameUnresolved
            | Self::TlsFailed { .. }
            | Self::PoolFull { .. }
            | Self::Crowded { .. }
            | Self::ClosedEarly { .. }
            | Self::HeadCut
            | Self::BadHead
            | Self::UpstreamHeadTooLarge
            | Self::InterimFlood
            | Self::UpstreamHeadTimeout
            | Self::SendTimeout
            | Self::UpstreamAuth
            | Self::BadAnswer { .. }
            | Self::AnswerCut { .. }
            | Self::Deadline
            | Self::Draining
            | Self::TooManyConnections
            | Self::GatewayPorts
            | Self::Untranslatable { .. }
            | Self::NotTranslated
            | Self::BadCoding
            | Self::Incapable { .. }
            | Self::Internal => None,
        }
    }

    /// The field to blame, as OpenAI's clients read it.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Untranslatable { pointer, .. } => {
                Some(pointer.as_str()).filter(|pointer| !pointer.is_empty())
            }
            _ => matches!(self, Self::UnknownModel { .. } | Self::ModelMissing).then_some("model"),
        }
    }

    /// What cannot be carried over to the backend's dialect.
    pub fn untranslatable(refused: Refused) -> Self {
        let Refused { kind, pointer, message } = refused;
        Self::Untranslatable { kind, pointer, message }
    }

    /// An unknown model, its name made fit to print.
    pub fn unknown_model(model: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&model[..model.len().min(SHOWN_BYTES_MAX)]);
        Self::UnknownModel { model: text.chars().filter(|c| !c.is_control()).collect() }
    }
}

/// What the caller is told when the last attempt failed so.
impl From<AttemptError> for Refusal {
    fn from(error: AttemptError) -> Self {
        match error.reason {
            Reason::UpConnectRefused => Self::ConnectRefused,
            Reason::UpConnectTimeout => Self::ConnectTimeout,
            Reason::UpDns => Self::NameUnresolved,
            Reason::UpTls => Self::TlsFailed { fault: error.tls.unwrap_or(tls::Fault::Internal) },
            Reason::UpClosedEarly | Reason::UpStaleConn | Reason::PoolStale | Reason::UpEarlyFinal => {
                Self::ClosedEarly { reason: error.reason }
            }
            Reason::UpHeadCut => Self::HeadCut,
            Reason::UpBadHead => Self::BadHead,
            Reason::UpHeadTimeout => Self::UpstreamHeadTimeout,
            Reason::UpHeadTooBig => Self::UpstreamHeadTooLarge,
            Reason::UpInterimFlood => Self::InterimFlood,
            Reason::UpBodyCut
            | Reason::UpBadChunk
            | Reason::UpIdleTimeout
            | Reason::UpNoTerminal
            | Reason::UpExcess => Self::AnswerCut { reason: error.reason },
            Reason::UpSendTimeout => Self::SendTimeout,
            Reason::UpAuth => Self::UpstreamAuth,
            Reason::UpEventTooBig
            | Reason::UpStatus
            | Reason::UpBadType
            | Reason::UpBadJson
            | Reason::UpCoding
            | Reason::UpInbandError => Self::BadAnswer { reason: error.reason },
            Reason::NoEndpoint => Self::NoEndpoint { retry_after_ms: SOON_MS },
            Reason::PoolFull => Self::PoolFull { retry_after_ms: SOON_MS },
            Reason::Deadline => Self::Deadline,
            Reason::Draining => Self::Draining,
            Reason::ConnLimit => Self::TooManyConnections,
            Reason::GatewayPorts => Self::GatewayPorts,
            Reason::NoRoute => Self::NoRoute,
            Reason::ClientBodyTimeout => Self::BodyTimeout,
            // A caller that is gone or broke the rules ends the exchange, not an attempt; whoever says
            // otherwise has a bug.
            Reason::ClientGoneHead
            | Reason::ClientGoneBody
            | Reason::ClientGoneQueued
            | Reason::ClientGoneWait
            | Reason::ClientGoneStream
            | Reason::ClientHeadTimeout
            | Reason::ClientIdle
            | Reason::ClientWriteStall
            | Reason::BadRequest
            | Reason::BadProtocol
            | Reason::TlsHandshake
            | Reason::UnknownModel
            | Reason::Panic => Self::Internal,
        }
    }
}

/// When to come back if we cannot know better.
pub const SOON_MS: u64 = 1_000;

/// How much of a caller's model name an error repeats.
const SHOWN_BYTES_MAX: usize = 128;

/// A refusal whose connection may go on and whose end nobody can tell.
const fn refuse(status: u16, kind: Kind, reason: Reason) -> Verdict {
    Verdict { status, kind, reason, blame: reason.blame(), retry_after_ms: None, close: false }
}

impl Verdict {
    const fn close(self) -> Self {
        Self { close: true, ..self }
    }

    const fn after(self, ms: u64) -> Self {
        Self { retry_after_ms: Some(ms), ..self }
    }
}

/// What a broken rule means to whoever wrote the request.
const fn words(rule: Rule) -> &'static str {
    match rule {
        Rule::H1Fr01 => "the request has both content-length and transfer-encoding; send one of them",
        Rule::H1Fr02 | Rule::H1Fr03 => "content-length must be one plain decimal number",
        Rule::H1Fr05 => "the only transfer-encoding taken here is chunked, alone",
        Rule::H1Fr06 => "an HTTP/1.0 request cannot have a transfer-encoding",
        Rule::H1Fr11 => "connection must not name a framing field",
        Rule::H1Ch01 | Rule::H1Ch02 | Rule::H1Ch03 => "the chunked coding of the body is broken",
        Rule::H1Ch04 => "the chunk extensions of the body are malformed or too long; leave them out",
        Rule::H1Ch05 => "the trailer section of the body is malformed or too long; leave it out",
        Rule::H1Sy01 | Rule::H1Sy02 => "every line of the head must end in CR LF",
        Rule::H1Sy03 => "a field value has a control character",
        Rule::H1Sy05 | Rule::H1Sy07 => {
            "a line of the head begins with whitespace; write each field on one line"
        }
        Rule::H1Sy06 => "there is whitespace between a field name and its colon",
        Rule::H1Sy08 => "a field line has no valid name and colon",
        Rule::H1Sy09 => "the request line must be method, target and version with one space between each",
        Rule::H1Sy10 => "there are empty lines before the request line",
        Rule::H1Sy11 => "the version must be HTTP/1.1 or HTTP/1.0",
        Rule::H1Sy12 => "the target has a character that must be percent-encoded, or a broken escape",
        Rule::H1Sy14 | Rule::H1Sy15 | Rule::H1Ho05 => "this method is not served here",
        Rule::H1Sy16 => "this is not HTTP/1.1; this port speaks nothing else",
        Rule::H1Ho01 => "an HTTP/1.1 request needs exactly one host field",
        Rule::H1Ho02 => "the host field must be a host and an optional port",
        Rule::H1Ho03 => "the target and the host field name different places, or another scheme",
        Rule::H1Ho04 => "this form of target does not go with this method",
        _ => "the request breaks a rule of HTTP",
    }
}

/// The kind for the statuses that the rules of HTTP ask for.
const fn kind_of(status: u16) -> Kind {
    match status {
        405 => Kind::MethodNotAllowed,
        408 => Kind::RequestTimeout,
        413 | 414 | 431 => Kind::TooLarge,
        415 => Kind::UnsupportedMedia,
        501 | 505 => Kind::NotImplemented,
        _ => Kind::InvalidRequest,
    }
}

/// What no model of a route can do, with the mend.
const fn incapable(need: Need) -> &'static str {
    match need {
        Need::Images => "the model here sees no pictures; leave them out, or ask for another model",
        Need::ImageUrls => "the model here fetches no pictures; send them as data, or ask for another model",
        Need::Audio => "the model here hears no sound; leave it out, or ask for another model",
        Need::Documents => "the model here reads no documents; send their text, or ask for another model",
        Need::Tools => "the model here calls no tools; leave them out, or ask for another model",
        Need::JsonSchema => {
            "the model here does not answer by a JSON schema; ask for JSON in words, or for another model"
        }
        Need::Reasoning => {
            "the model here does not think before it answers; leave that out, or ask for another model"
        }
        Need::MaxOutput => {
            "the model here gives no answer of that length; ask for fewer tokens, or another model"
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::outcome::Retry;

    /// One refusal of every variant.
    pub(crate) fn every() -> Vec<Refusal> {
        let what = "the version must be HTTP/1.1 or HTTP/1.0";
        vec![
            Refusal::Malformed { rule: "H1-SY-11", status: 505, what },
            Refusal::TargetTooLong,
            Refusal::HeadTooLarge,
            Refusal::BodyTooLarge { limit_bytes: 1 << 25, announced: true },
            Refusal::HeadTimeout,
            Refusal::BodyTimeout,
            Refusal::ExpectationFailed,
            Refusal::PlainHttp,
            Refusal::CrookedPath,
            Refusal::BadJson { what: "a \"key\" comes twice".into() },
            Refusal::EncodedBody,
            Refusal::Untranslatable {
                kind: Kind::UnsupportedField,
                pointer: "/seed".to_owned(),
                message: "the target cannot express this field".to_owned(),
            },
            Refusal::BadCoding,
            Refusal::NotTranslated,
            Refusal::Incapable { need: Need::Images },
            Refusal::ModelMissing,
            Refusal::NoRoute,
            Refusal::unknown_model(b"gpt-\"9\"\r\nx"),
            Refusal::MethodNotAllowed { allow: "GET, POST".into() },
            Refusal::NoEndpoint { retry_after_ms: 1_500 },
            Refusal::ConnectRefused,
            Refusal::ConnectTimeout,
            Refusal::NameUnresolved,
            Refusal::TlsFailed { fault: tls::Fault::Expired },
            Refusal::PoolFull { retry_after_ms: 1_000 },
            Refusal::Crowded { why: Why::Full, retry_after_ms: 3_000 },
            Refusal::Crowded { why: Why::TimedOut, retry_after_ms: 3_000 },
            Refusal::Crowded { why: Why::TooLong, retry_after_ms: 3_000 },
            Refusal::Crowded { why: Why::Displaced, retry_after_ms: 3_000 },
            Refusal::ClosedEarly { reason: Reason::UpClosedEarly },
            Refusal::HeadCut,
            Refusal::BadHead,
            Refusal::UpstreamHeadTooLarge,
            Refusal::InterimFlood,
            Refusal::UpstreamHeadTimeout,
            Refusal::SendTimeout,
            Refusal::UpstreamAuth,
            Refusal::BadAnswer { reason: Reason::UpBadType },
            Refusal::AnswerCut { reason: Reason::UpBodyCut },
            Refusal::Deadline,
            Refusal::Draining,
            Refusal::TooManyConnections,
            Refusal::GatewayPorts,
            Refusal::Internal,
        ]
    }

    #[test]
    fn each_refusal_has_its_own_code_and_words_for_people() {
        let all = every();
        let codes: HashSet<_> = all.iter().map(Refusal::code).collect();
        assert_eq!(codes.len(), all.len());
        for refusal in all {
            let message = refusal.message();
            assert!(message.len() > 20 && !message.ends_with('.'), "{message}");
            assert!(!message.chars().any(char::is_control), "{message:?}");
        }
    }

    #[test]
    fn status_blame_and_reason_agree() {
        for refusal in every() {
            let Verdict { status, reason, blame, .. } = refusal.verdict();
            let by_client = blame == Blame::Client;
            let theirs = (400..500).contains(&status);
            // 505 tells a caller of its version, 503 of its many connections, 429 of everybody's requests.
            let allowed = matches!(
                refusal,
                Refusal::Malformed { .. } | Refusal::TooManyConnections | Refusal::Crowded { .. }
            );
            assert!(by_client == theirs || allowed, "{refusal:?}");
            assert_eq!(
                reason == Reason::BadRequest,
                refusal.rule().is_some()
                    || matches!(
                        refusal,
                        Refusal::BadCoding
                            | Refusal::ModelMissing
                            | Refusal::Untranslatable { .. }
                            | Refusal::Incapable { .. }
                    )
            );
        }
    }

    #[test]
    fn a_breach_of_framing_ends_the_connection_and_a_missing_route_does_not() {
        for refusal in every() {
            let closes = refusal.verdict().close;
            match refusal.code() {
                "malformed_request"
                | "plain_http"
                | "uri_too_long"
                | "head_too_large"
                | "body_too_large"
                | "head_timeout"
                | "body_timeout"
                | "expectation_failed"
                | "crooked_path"
                | "draining"
                | "too_many_connections"
                | "internal" => assert!(closes, "{refusal:?}"),
                _ => assert!(!closes, "{refusal:?}"),
            }
        }
    }

    #[test]
    fn statuses_of_upstream_faults_are_those_of_the_table_of_faults() {
        let status = |reason| Refusal::from(AttemptError::new(reason, Retry::Never)).verdict().status;
        for (reason, expected) in [
            (Reason::UpConnectRefused, 502),
            (Reason::UpConnectTimeout, 504),
            (Reason::UpDns, 502),
            (Reason::UpTls, 502),
            (Reason::UpClosedEarly, 502),
            (Reason::UpHeadCut, 502),
            (Reason::UpBadHead, 502),
            (Reason::UpHeadTimeout, 504),
            (Reason::UpHeadTooBig, 502),
            (Reason::UpInterimFlood, 502),
            (Reason::UpSendTimeout, 504),
            (Reason::UpAuth, 502),
            (Reason::UpBadType, 502),
            (Reason::UpBadJson, 502),
            (Reason::NoEndpoint, 503),
            (Reason::PoolFull, 503),
            (Reason::Deadline, 504),
            (Reason::GatewayPorts, 503),
        ] {
            assert_eq!(status(reason), expected, "{reason:?}");
        }
    }

    #[test]
    fn a_failed_attempt_keeps_its_reason_when_it_becomes_a_refusal() {
        for reason in Reason::ALL.into_iter().filter(|reason| reason.blame() == Blame::Upstream) {
            if reason == Reason::UpEarlyFinal {
                continue; // an answer that came early is an answer; if it then fails, it closed early
            }
            let refusal = Refusal::from(AttemptError::new(reason, Retry::Never));
            assert_eq!(refusal.verdict().reason, reason);
        }
    }

    #[test]
    fn a_callers_model_name_is_repeated_short_and_printable() {
        let Refusal::UnknownModel { model } =
            Refusal::unknown_model(&[b"a\n\x1b".as_slice(), &[b'x'; 500]].concat())
        else {
            panic!("an unknown model");
        };
        assert_eq!(model, "a".to_owned() + &"x".repeat(SHOWN_BYTES_MAX - 3));
    }
}
