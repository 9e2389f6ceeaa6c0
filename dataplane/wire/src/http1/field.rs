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

impl Known {
    /// What `name` is. Only the whole name counts, in any case.
    #[inline]
    pub(super) fn of(name: &[u8]) -> Known {
        for &(special, known) in special_names(name.len()) {
            match compare(name, special) {
                Some(Spelling::Exact) => return known,
                Some(Spelling::Underscored) => return Known::Lookalike,
                None => {}
            }
        }
        if name.first().is_some_and(|first| first | 0x20 == b'x') { family(name) } else { Known::Other }
    }
}

/// The special names of that length; a name is compared with three of them at most.
const fn special_names(len: usize) -> &'static [(&'static [u8], Known)] {
    match len {
        2 => &[(b"te", Known::Te)],
        4 => &[(b"host", Known::Host), (b"date", Known::Date)],
        5 => &[(b"proxy", Known::Proxy)],
        6 => &[(b"cookie", Known::Cookie), (b"expect", Known::Expect)],
        7 => &[(b"upgrade", Known::Upgrade), (b"trailer", Known::Trailer), (b"api-key", Known::ApiKey)],
        9 => &[
            (b"x-api-key", Known::XApiKey),
            (b"x-real-ip", Known::XRealIp),
            (b"forwarded", Known::Forwarded),
        ],
        10 => &[
            (b"connection", Known::Connection),
            (b"keep-alive", Known::KeepAlive),
            (b"tracestate", Known::Tracestate),
        ],
        11 => &[(b"traceparent", Known::Traceparent), (b"retry-after", Known::RetryAfter)],
        12 => &[(b"content-type", Known::ContentType), (b"x-request-id", Known::XRequestId)],
        13 => &[(b"authorization", Known::Authorization)],
        14 => &[
            (b"content-length", Known::ContentLength),
            (b"http2-settings", Known::Http2Settings),
            (b"x-goog-api-key", Known::XGoogApiKey),
        ],
        15 => &[(b"accept-encoding", Known::AcceptEncoding), (b"x-forwarded-for", Known::XForwardedFor)],
        16 => &[(b"content-encoding", Known::ContentEncoding), (b"proxy-connection", Known::ProxyConnection)],
        17 => {
            &[(b"transfer-encoding", Known::TransferEncoding), (b"x-forwarded-proto", Known::XForwardedProto)]
        }
        18 => &[(b"proxy-authenticate", Known::ProxyAuthenticate)],
        19 => &[(b"proxy-authorization", Known::ProxyAuthorization)],
        _ => &[],
    }
}

/// The names known by how they begin.
fn family(name: &[u8]) -> Known {
    let starts = |prefix: &[u8]| name.get(..prefix.len()).and_then(|start| compare(start, prefix));
    if starts(b"x-ringway-").is_some() {
        return Known::Ringway;
    }
    match starts(b"x-forwarded-") {
        Some(Spelling::Exact) => Known::XForwardedOther,
        Some(Spelling::Underscored) => Known::Lookalike,
        None => Known::Other,
    }
}

#[derive(Clone, Copy)]
enum Spelling {
    Exact,
    Underscored,
}

/// How `name` spells `special`, which is in lower case and as long.
#[inline]
fn compare(name: &[u8], special: &[u8]) -> Option<Spelling> {
    let mut spelling = Spelling::Exact;
    for (&byte, &wanted) in name.iter().zip(special) {
        if byte.to_ascii_lowercase() == wanted {
            continue;
        }
        if byte != b'_' || wanted != b'-' {
            return None;
        }
        spelling = Spelling::Underscored;
    }
    Some(spelling)
}

/// The value of the first field of that name, any case.
pub(super) fn find<'b>(fields: &[Field], buf: &'b [u8], name: &str) -> Option<&'b [u8]> {
    let field = fields.iter().find(|field| field.name.of(buf).eq_ignore_ascii_case(name.as_bytes()))?;
    Some(field.value.of(buf))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_name_is_found_under_its_own_length_in_any_case() {
        for len in 0..32 {
            for &(special, known) in special_names(len) {
                assert_eq!(special.len(), len);
                assert_eq!(Known::of(special), known);
                assert_eq!(Known::of(&special.to_ascii_uppercase()), known);
                let underscored: Vec<u8> =
                    special.iter().map(|&b| if b == b'-' { b'_' } else { b }).collect();
                let expected = if underscored == special { known } else { Known::Lookalike };
                assert_eq!(Known::of(&underscored), expected);
                assert_ne!(Known::of(&special[..len - 1]), known);
                assert_ne!(Known::of(&[special, b"x"].concat()), known);
            }
        }
    }

    #[test]
    fn families_are_known_by_how_they_begin() {
        assert_eq!(Known::of(b"X-Forwarded-Host"), Known::XForwardedOther);
        assert_eq!(Known::of(b"X-Forwarded_Host"), Known::Lookalike);
        assert_eq!(Known::of(b"x_ringway-backend"), Known::Ringway);
        assert_eq!(Known::of(b"X_RINGWAY_X"), Known::Ringway);
        assert_eq!(Known::of(b"x-ringway"), Known::Other);
        assert_eq!(Known::of(b"x-forwarded"), Known::Other);
        assert_eq!(Known::of(b""), Known::Other);
    }
}
