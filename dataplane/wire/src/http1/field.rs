//! One header field, and the names the gateway treats specially.
//! Owns: recognising a name (H1-FR-10: in full, any case). Must not: judge a value.
//! Read next: `lines.rs`, which finds the fields.

use super::Span;

/// One field line. Both spans point into the head's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name as it was spelled.
    pub name: Span,
    /// The value without the whitespace around it.
    pub value: Span,
    /// Which special name it is.
    pub known: Known,
    /// A `Connection` option of this message names it: it ends here (H1-CO-01, H1-CO-02).
    pub hop: bool,
}

macro_rules! known {
    ($($(#[$doc:meta])* $variant:ident;)*) => {
        /// The field names that mean something to the gateway; all others are `Other` and just pass.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Known {
            $($(#[$doc])* $variant,)*
        }
    };
}

known! {
    /// Not special.
    #[default]
    Other;
    /// `_` for `-` in a special name. CGI-like upstreams read both as one name, so it never goes on (SEC-INJ-05).
    Lookalike;
    /// The gateway's own `x-ringway-*`, in either spelling.
    Ringway;
    /// `Host`.
    Host;
    /// `Connection`.
    Connection;
    /// `Keep-Alive`.
    KeepAlive;
    /// `Proxy-Connection`.
    ProxyConnection;
    /// `TE`.
    Te;
    /// `Transfer-Encoding`.
    TransferEncoding;
    /// `Upgrade`.
    Upgrade;
    /// `HTTP2-Settings`.
    Http2Settings;
    /// `Proxy-Authenticate`.
    ProxyAuthenticate;
    /// `Proxy-Authorization`.
    ProxyAuthorization;
    /// `Trailer`.
    Trailer;
    /// `Content-Length`.
    ContentLength;
    /// `Content-Type`.
    ContentType;
    /// `Content-Encoding`.
    ContentEncoding;
    /// `Expect`.
    Expect;
    /// `Authorization`.
    Authorization;
    /// `x-api-key`.
    XApiKey;
    /// `api-key`.
    ApiKey;
    /// `x-goog-api-key`.
    XGoogApiKey;
    /// `Cookie`.
    Cookie;
    /// `X-Forwarded-For`.
    XForwardedFor;
    /// `X-Forwarded-Proto`.
    XForwardedProto;
    /// Any other `X-Forwarded-*`.
    XForwardedOther;
    /// `Forwarded`.
    Forwarded;
    /// `X-Real-Ip`.
    XRealIp;
    /// `X-Request-Id`.
    XRequestId;
    /// `traceparent`.
    Traceparent;
    /// `tracestate`.
    Tracestate;
    /// `Accept-Encoding`.
    AcceptEncoding;
    /// `Proxy` (SEC-INJ-06).
    Proxy;
    /// `Date`.
    Date;
    /// `Retry-After`.
    RetryAfter;
}
