//! How attempts and exchanges end: reasons, blame, and what may be tried again.
//!
//! Owns: the closed set of reasons (faults sections 4 to 6) that label log lines and counters.
//! Must not: word an answer to a caller ([`crate::refusal`]) or decide on a retry ([`crate::retry`]).
//! Read next: [`crate::refusal`].

use crate::tls::Fault;

/// Why something ended otherwise than well. One exchange has at most one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// UF-01: refused, reset or unreachable while connecting.
    UpConnectRefused,
    /// UF-02: no connection within the connect limit.
    UpConnectTimeout,
    /// UF-03: the endpoint's name has no address.
    UpDns,
    /// UF-05: no secure connection.
    UpTls,
    /// UF-06, UF-33: closed after the request without a byte of answer.
    UpClosedEarly,
    /// UF-07: the same on a reused connection; says nothing about the endpoint's health.
    UpStaleConn,
    /// UF-08: a pooled connection was found closed when it was taken.
    PoolStale,
    /// UF-09: closed inside the head.
    UpHeadCut,
    /// UF-10, UF-15: the answer is not HTTP, or breaks its rules.
    UpBadHead,
    /// UF-11, UF-12: no whole head in time.
    UpHeadTimeout,
    /// UF-13: the head is over the bounds.
    UpHeadTooBig,
    /// UF-14: too many interim answers.
    UpInterimFlood,
    /// UF-16 to UF-18, UF-20, UF-25: the body was cut.
    UpBodyCut,
    /// UF-19: chunked coding broke in mid-body.
    UpBadChunk,
    /// UF-21: bytes behind the answer.
    UpExcess,
    /// UF-22, UF-23: silence inside the body.
    UpIdleTimeout,
    /// UF-24: a stream ended without its last event.
    UpNoTerminal,
    /// UF-26: one event is over the bound.
    UpEventTooBig,
    /// UF-28, UF-29: the answer came before the request was sent whole.
    UpEarlyFinal,
    /// UF-30: the endpoint does not read the body.
    UpSendTimeout,
    /// UF-34, UF-35: an answer of 429 or 5xx, passed on.
    UpStatus,
    /// UF-36: the endpoint refuses the credential of its backend.
    UpAuth,
    /// UF-37: another media type than the dialect's.
    UpBadType,
    /// UF-38: the body is not the JSON it should be.
    UpBadJson,
    /// H1-UP-16: a content coding in a body that must be read.
    UpCoding,
    /// UF-39: an error inside a 200.
    UpInbandError,
    /// UF-41: no endpoint may be chosen.
    NoEndpoint,
    /// UF-42: no connection to be had in time.
    PoolFull,
    /// UF-44: the deadline of the whole exchange.
    Deadline,
    /// CF-01: the caller left inside the head.
    ClientGoneHead,
    /// CF-02: the caller left inside the body.
    ClientGoneBody,
    /// CF-03: the caller left while queued.
    ClientGoneQueued,
    /// CF-04: the caller left while waiting for the head.
    ClientGoneWait,
    /// CF-05: the caller left in mid-answer.
    ClientGoneStream,
    /// CF-07: the head did not come in time.
    ClientHeadTimeout,
    /// CF-08, CF-20: the body did not come in time.
    ClientBodyTimeout,
    /// CF-09: nothing came.
    ClientIdle,
    /// CF-10, CF-19: the caller stopped reading.
    ClientWriteStall,
    /// Section 1, CF-12: the request breaks a rule; the rule's id goes with it.
    BadRequest,
    /// H1-SY-16: another protocol.
    BadProtocol,
    /// CF-15: too many connections.
    ConnLimit,
    /// CF-17: the TLS handshake failed.
    TlsHandshake,
    /// No route matches.
    NoRoute,
    /// Routes match but for the model.
    UnknownModel,
    /// The process is going down.
    Draining,
    /// CP-17: no local port left.
    GatewayPorts,
    /// CP-19: a panic ended the exchange.
    Panic,
}

/// Who has to mend it. Only [`Blame::Upstream`] counts against an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The caller.
    Client,
    /// The endpoint, or the way to it.
    Upstream,
    /// Ourselves.
    Gateway,
    /// Whoever wrote the configuration.
    Config,
}

impl Blame {
    /// Its label in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Gateway => "gateway",
            Self::Config => "config",
        }
    }
}

impl Reason {
    /// All of them, in order of declaration, for metrics that index by `reason as usize`.
    pub const ALL: [Self; 47] = {
        use Reason::{
            BadProtocol, BadRequest, ClientBodyTimeout, ClientGoneBody, ClientGoneHead, ClientGoneQueued,
            ClientGoneStream, ClientGoneWait, ClientHeadTimeout, ClientIdle, ClientWriteStall, ConnLimit,
            Deadline, Draining, GatewayPorts, NoEndpoint, NoRoute, Panic, PoolFull, PoolStale, TlsHandshake,
            UnknownModel, UpAuth, UpBadChunk, UpBadHead, UpBadJson, UpBadType, UpBodyCut, UpClosedEarly,
            UpCoding, UpConnectRefused, UpConnectTimeout, UpDns, UpEarlyFinal, UpEventTooBig, UpExcess,
            UpHeadCut, UpHeadTimeout, UpHeadTooBig, UpIdleTimeout, UpInbandError, UpInterimFlood,
            UpNoTerminal, UpSendTimeout, UpStaleConn, UpStatus, UpTls,
        };
        [
            UpConnectRefused,
            UpConnectTimeout,
            UpDns,
            UpTls,
            UpClosedEarly,
            UpStaleConn,
            PoolStale,
            UpHeadCut,
            UpBadHead,
            UpHeadTimeout,
            UpHeadTooBig,
            UpInterimFlood,
            UpBodyCut,
            UpBadChunk,
            UpExcess,
            UpIdleTimeout,
            UpNoTerminal,
            UpEventTooBig,
            UpEarlyFinal,
            UpSendTimeout,
            UpStatus,
            UpAuth,
            UpBadType,
            UpBadJson,
            UpCoding,
            UpInbandError,
            NoEndpoint,
            PoolFull,
            Deadline,
            ClientGoneHead,
            ClientGoneBody,
            ClientGoneQueued,
            ClientGoneWait,
            ClientGoneStream,
            ClientHeadTimeout,
            ClientBodyTimeout,
            ClientIdle,
            ClientWriteStall,
            BadRequest,
            BadProtocol,
            ConnLimit,
            TlsHandshake,
            NoRoute,
            UnknownModel,
            Draining,
            GatewayPorts,
            Panic,
        ]
    };

    /// Its label in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::UpConnectRefused => "up_connect_refused",
            Self::UpConnectTimeout => "up_connect_timeout",
            Self::UpDns => "up_dns",
            Self::UpTls => "up_tls",
            Self::UpClosedEarly => "up_closed_early",
            Self::UpStaleConn => "up_stale_conn",
            Self::PoolStale => "pool_stale",
            Self::UpHeadCut => "up_head_cut",
            Self::UpBadHead => "up_bad_head",
            Self::UpHeadTimeout => "up_head_timeout",
            Self::UpHeadTooBig => "up_head_too_big",
            Self::UpInterimFlood => "up_interim_flood",
            Self::UpBodyCut => "up_body_cut",
            Self::UpBadChunk => "up_bad_chunk",
            Self::UpExcess => "up_excess",
            Self::UpIdleTimeout => "up_idle_timeout",
            Self::UpNoTerminal => "up_no_terminal",
            Self::UpEventTooBig => "up_event_too_big",
            Self::UpEarlyFinal => "up_early_final",
            Self::UpSendTimeout => "up_send_timeout",
            Self::UpStatus => "up_status",
            Self::UpAuth => "up_auth",
            Self::UpBadType => "up_bad_type",
            Self::UpBadJson => "up_bad_json",
            Self::UpCoding => "up_coding",
            Self::UpInbandError => "up_inband_error",
            Self::NoEndpoint => "no_endpoint",
            Self::PoolFull => "pool_full",
            Self::Deadline => "deadline",
            Self::ClientGoneHead => "client_gone_head",
            Self::ClientGoneBody => "client_gone_body",
            Self::ClientGoneQueued => "client_gone_queued",
            Self::ClientGoneWait => "client_gone_wait",
            Self::ClientGoneStream => "client_gone_stream",
            Self::ClientHeadTimeout => "client_head_timeout",
            Self::ClientBodyTimeout => "client_body_timeout",
            Self::ClientIdle => "client_idle",
            Self::ClientWriteStall => "client_write_stall",
            Self::BadRequest => "bad_request",
            Self::BadProtocol => "bad_protocol",
            Self::ConnLimit => "conn_limit",
            Self::TlsHandshake => "tls_handshake",
            Self::NoRoute => "no_route",
            Self::UnknownModel => "unknown_model",
            Self::Draining => "draining",
            Self::GatewayPorts => "gateway_ports",
            Self::Panic => "panic",
        }
    }

    /// Who has to mend it.
    pub const fn blame(self) -> Blame {
        match self {
            Self::UpConnectRefused
            | Self::UpConnectTimeout
            | Self::UpDns
            | Self::UpTls
            | Self::UpClosedEarly
            | Self::UpHeadCut
            | Self::UpBadHead
            | Self::UpHeadTimeout
            | Self::UpHeadTooBig
            | Self::UpInterimFlood
            | Self::UpBodyCut
            | Self::UpBadChunk
            | Self::UpExcess
            | Self::UpIdleTimeout
            | Self::UpNoTerminal
            | Self::UpEventTooBig
            | Self::UpEarlyFinal
            | Self::UpSendTimeout
            | Self::UpStatus
            | Self::UpBadType
            | Self::UpBadJson
            | Self::UpCoding
            | Self::UpInbandError
            | Self::NoEndpoint
            | Self::Deadline => Blame::Upstream,
            // The first two are a keep-alive race: both sides were within their rights, and it must not trip
            // health (UF-07, UF-08).
            Self::UpStaleConn
            | Self::PoolStale
            | Self::PoolFull
            | Self::Draining
            | Self::GatewayPorts
            | Self::Panic => Blame::Gateway,
            Self::UpAuth => Blame::Config, // the backend's credential, not the caller's key
            Self::ClientGoneHead
            | Self::ClientGoneBody
            | Self::ClientGoneQueued
            | Self::ClientGoneWait
            | Self::ClientGoneStream
            | Self::ClientHeadTimeout
            | Self::ClientBodyTimeout
            | Self::ClientIdle
            | Self::ClientWriteStall
            | Self::BadRequest
            | Self::BadProtocol
            | Self::ConnLimit
            | Self::TlsHandshake
            | Self::NoRoute
            | Self::UnknownModel => Blame::Client,
        }
    }
}

/// Whether a failed attempt may be followed by another, as far as the attempt itself can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Nothing of the request was written (class RC).
    Safe,
    /// The endpoint declined before it did any work (class RF).
    Declined,
    /// Something was: only if the request may be repeated (class RI).
    Idempotent,
    /// In no case (class R0).
    Never,
}

/// One try at one endpoint failed, and the caller has seen nothing of it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptError {
    /// Why.
    pub reason: Reason,
    /// Who is to blame; [`Reason::blame`] unless the attempt knows better.
    pub blame: Blame,
    /// Whether another try is allowed.
    pub retry: Retry,
    /// What was wrong with TLS, if that was it.
    pub tls: Option<Fault>,
}

impl AttemptError {
    /// A failure for this reason, its usual blame, and this leave to try again.
    pub const fn new(reason: Reason, retry: Retry) -> Self {
        Self { reason, blame: reason.blame(), retry, tls: None }
    }

    /// There is no secure connection; nothing was sent.
    pub const fn tls(fault: Fault) -> Self {
        Self { tls: Some(fault), ..Self::new(Reason::UpTls, Retry::Safe) }
    }
}

impl std::fmt::Display for AttemptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} is to blame)", self.reason.label(), self.blame.label())
    }
}

impl std::error::Error for AttemptError {}

/// How an exchange ended. Accounting, the log and the counters read only this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer went to the caller whole, nothing to remark.
    Complete,
    /// The answer went to the caller whole, and there is something to count: `up_status`, `up_excess`, ...
    Remarked(Reason),
    /// The caller got an answer of our own.
    Refused(Reason),
    /// The answer had begun and could not be finished.
    Aborted(Reason),
    /// The caller left or stopped reading.
    Gone(Reason),
}

impl Outcome {
    /// Its label in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Complete | Self::Remarked(_) => "complete",
            Self::Refused(_) => "refused",
            Self::Aborted(_) => "aborted",
            Self::Gone(_) => "gone",
        }
    }

    /// Why it ended so, unless all was well.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Complete => None,
            Self::Remarked(reason) | Self::Refused(reason) | Self::Aborted(reason) | Self::Gone(reason) => {
                Some(reason)
            }
        }
    }

    /// Who is to blame, unless all was well.
    pub fn blame(self) -> Option<Blame> {
        self.reason().map(Reason::blame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_label_and_its_own_place() {
        let labels: std::collections::HashSet<_> = Reason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), Reason::ALL.len());
        for (index, &reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason:?}");
        }
    }

    #[test]
    fn labels_of_upstream_reasons_say_so_and_client_reasons_blame_the_client() {
        for reason in Reason::ALL {
            if reason.label().starts_with("client_") {
                assert_eq!(reason.blame(), Blame::Client, "{reason:?}");
            }
            if reason.blame() == Blame::Upstream {
                let ours = matches!(reason, Reason::NoEndpoint | Reason::Deadline);
                assert!(ours || reason.label().starts_with("up_"), "{reason:?}");
            }
        }
    }

    #[test]
    fn a_stale_connection_does_not_count_against_the_endpoint() {
        assert_ne!(AttemptError::new(Reason::UpStaleConn, Retry::Safe).blame, Blame::Upstream);
    }

    #[test]
    fn an_outcome_carries_its_reason() {
        assert_eq!(Outcome::Complete.reason(), None);
        let cut = Outcome::Aborted(Reason::UpBodyCut);
        assert_eq!(
            (cut.label(), cut.reason(), cut.blame()),
            ("aborted", Some(Reason::UpBodyCut), Some(Blame::Upstream))
        );
    }
}
