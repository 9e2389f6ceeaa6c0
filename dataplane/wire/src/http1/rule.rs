//! The rules a peer can break, and what breaking one costs.
//! Owns: the closed set of rule ids and their usual statuses. Must not: word an answer or count anything.
//! Read next: `request.rs`, which finds most of them.

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident $id:literal $status:literal;)*) => {
        /// One rule of the fault specification. The id is stable: logs, counters and tests cite it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Rule {
            $($(#[$doc])* $variant,)*
        }

        impl Rule {
            /// Every rule, in the order of `index`.
            pub const ALL: &'static [Rule] = &[$(Rule::$variant),*];

            /// The id as the specification writes it.
            pub const fn id(self) -> &'static str {
                match self { $(Rule::$variant => $id,)* }
            }

            /// The status a breach is answered with, where the rule names one (0 where it only closes).
            pub const fn status(self) -> u16 {
                match self { $(Rule::$variant => $status,)* }
            }
        }
    };
}

rules! {
    /// Content-Length beside Transfer-Encoding.
    H1Fr01 "H1-FR-01" 400;
    /// More than one Content-Length, or a list.
    H1Fr02 "H1-FR-02" 400;
    /// Content-Length that is not 1*DIGIT, or too large.
    H1Fr03 "H1-FR-03" 400;
    /// Announced body above the route's limit.
    H1Fr04 "H1-FR-04" 413;
    /// Transfer-Encoding other than `chunked`; 501 where a valid list ends in `chunked`.
    H1Fr05 "H1-FR-05" 400;
    /// Transfer-Encoding in an HTTP/1.0 request.
    H1Fr06 "H1-FR-06" 400;
    /// No framing field: no body.
    H1Fr07 "H1-FR-07" 400;
    /// Method and path do not change framing.
    H1Fr08 "H1-FR-08" 400;
    /// Leftover body bytes are never a request.
    H1Fr09 "H1-FR-09" 0;
    /// Field names count in full only.
    H1Fr10 "H1-FR-10" 400;
    /// `Connection` naming a framing field.
    H1Fr11 "H1-FR-11" 400;

    /// Chunk size that is not 1*HEXDIG, or too large.
    H1Ch01 "H1-CH-01" 400;
    /// A line of chunked framing that does not end in CRLF.
    H1Ch02 "H1-CH-02" 400;
    /// Whitespace around a chunk size.
    H1Ch03 "H1-CH-03" 400;
    /// Chunk extension: grammar or bounds.
    H1Ch04 "H1-CH-04" 400;
    /// Trailer section: 400 for grammar, 431 for bounds.
    H1Ch05 "H1-CH-05" 400;
    /// Decoded body above the route's limit.
    H1Ch06 "H1-CH-06" 413;
    /// No chunk header goes on before its whole line was checked.
    H1Ch07 "H1-CH-07" 400;
    /// Input ended inside a body.
    H1Ch08 "H1-CH-08" 0;

    /// Bare LF in the head.
    H1Sy01 "H1-SY-01" 400;
    /// Bare CR in the head.
    H1Sy02 "H1-SY-02" 400;
    /// Control byte in a field value.
    H1Sy03 "H1-SY-03" 400;
    /// Bytes above 0x7F are forwarded as they are.
    H1Sy04 "H1-SY-04" 400;
    /// obs-fold.
    H1Sy05 "H1-SY-05" 400;
    /// Whitespace between field name and colon.
    H1Sy06 "H1-SY-06" 400;
    /// Whitespace between start line and first field.
    H1Sy07 "H1-SY-07" 400;
    /// Field name that is no token, or a line without a colon.
    H1Sy08 "H1-SY-08" 400;
    /// Request line of another shape.
    H1Sy09 "H1-SY-09" 400;
    /// More than one empty line before the request line.
    H1Sy10 "H1-SY-10" 400;
    /// Version: 505 for a well-formed other one, 400 for a malformed one.
    H1Sy11 "H1-SY-11" 400;
    /// Byte or percent escape that a target may not hold.
    H1Sy12 "H1-SY-12" 400;
    /// Path a prefix route refuses: dot segments, `//`, encoded separators.
    H1Sy13 "H1-SY-13" 400;
    /// Method too long, or not allowed on the route.
    H1Sy14 "H1-SY-14" 405;
    /// TRACE.
    H1Sy15 "H1-SY-15" 405;
    /// Another protocol: HTTP/2 preface, TLS record, PROXY line.
    H1Sy16 "H1-SY-16" 400;

    /// Not exactly one Host line.
    H1Ho01 "H1-HO-01" 400;
    /// Host that is not `uri-host [":" port]`.
    H1Ho02 "H1-HO-02" 400;
    /// absolute-form: scheme, authority or its agreement with Host.
    H1Ho03 "H1-HO-03" 400;
    /// authority-form or asterisk-form with the wrong method.
    H1Ho04 "H1-HO-04" 400;
    /// CONNECT.
    H1Ho05 "H1-HO-05" 405;
    /// The upstream's Host comes from configuration.
    H1Ho06 "H1-HO-06" 400;
    /// Access never derives from Host alone.
    H1Ho07 "H1-HO-07" 400;

    /// Hop-by-hop fields; as a fault: more `Connection` options than the bound.
    H1Co01 "H1-CO-01" 400;
    /// `Connection` options that remove nothing.
    H1Co02 "H1-CO-02" 400;
    /// `close` closes.
    H1Co03 "H1-CO-03" 0;
    /// HTTP/1.0 closes unless `keep-alive`.
    H1Co04 "H1-CO-04" 0;
    /// Pipelined requests, in order.
    H1Co05 "H1-CO-05" 0;
    /// Upgrade is not offered.
    H1Co06 "H1-CO-06" 0;
    /// Expect other than `100-continue`.
    H1Co07 "H1-CO-07" 417;
    /// Close after an answer to an Expect request whose body never came.
    H1Co08 "H1-CO-08" 0;
    /// Idle keep-alive limit.
    H1Co09 "H1-CO-09" 0;
    /// FIN behind a complete request.
    H1Co10 "H1-CO-10" 0;

    /// Answers that have no body.
    H1Rs01 "H1-RS-01" 502;
    /// Exactly one framing field in an answer.
    H1Rs02 "H1-RS-02" 502;
    /// No unchecked value in a response field.
    H1Rs03 "H1-RS-03" 502;
    /// The gateway's own error answers.
    H1Rs04 "H1-RS-04" 0;
    /// One final response per request.
    H1Rs05 "H1-RS-05" 0;
    /// `Date` is present.
    H1Rs06 "H1-RS-06" 0;

    /// Upstream: Content-Length beside Transfer-Encoding.
    H1Up01 "H1-UP-01" 502;
    /// Upstream: Content-Length differing, malformed or a list.
    H1Up02 "H1-UP-02" 502;
    /// Upstream: Transfer-Encoding other than `chunked`, or on HTTP/1.0.
    H1Up03 "H1-UP-03" 502;
    /// Upstream: bare LF in the head.
    H1Up04 "H1-UP-04" 502;
    /// Upstream: obs-fold, or whitespace before a colon.
    H1Up05 "H1-UP-05" 502;
    /// Upstream: control byte in a value or the reason phrase.
    H1Up06 "H1-UP-06" 502;
    /// Upstream: status line.
    H1Up07 "H1-UP-07" 502;
    /// Upstream: too many interim responses.
    H1Up08 "H1-UP-08" 502;
    /// Upstream: 101 nobody asked for.
    H1Up09 "H1-UP-09" 502;
    /// Upstream: bytes behind the end of a message.
    H1Up10 "H1-UP-10" 0;
    /// Upstream: bytes on an idle connection.
    H1Up11 "H1-UP-11" 0;
    /// Upstream: body cut short.
    H1Up12 "H1-UP-12" 502;
    /// Upstream: head over its bounds.
    H1Up13 "H1-UP-13" 502;
    /// Upstream: chunk extensions and trailers are dropped.
    H1Up14 "H1-UP-14" 502;
    /// Upstream: `Connection: close` concerns that connection only.
    H1Up15 "H1-UP-15" 0;
    /// Upstream: a content coding the gateway would have to read.
    H1Up16 "H1-UP-16" 502;
    /// Upstream: redirects are never followed.
    H1Up17 "H1-UP-17" 0;

    /// Section 8: request line over its bound.
    S8RequestLine "S8-REQUEST-LINE" 414;
    /// Section 8: one field line over its bound.
    S8FieldLine "S8-FIELD-LINE" 431;
    /// Section 8: head over its bound in bytes or fields.
    S8Head "S8-HEAD" 431;
}

impl Rule {
    /// Where the rule stands in `ALL`: a dense index for an array of counters.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// A breach of this rule, with its usual status.
    pub const fn fault(self) -> Fault {
        Fault { rule: self, status: self.status() }
    }

    /// A breach with the other status the rule names.
    pub const fn with(self, status: u16) -> Fault {
        Fault { rule: self, status }
    }
}

/// A message that is refused: which rule it broke, and the exact status that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// The rule broken.
    pub rule: Rule,
    /// The exact status.
    pub status: u16,
}

impl Fault {
    /// The same breach, committed by an upstream: whatever the rule says to clients, the answer is 502.
    #[must_use]
    pub const fn by_upstream(self) -> Fault {
        Fault { rule: self.rule, status: 502 }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.rule.id(), self.status)
    }
}

impl std::error::Error for Fault {}
