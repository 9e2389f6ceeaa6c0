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
        match special(name) {
            Known::Other
                if name.len() > 10 && name[0] | 0x20 == b'x' && matches!(name[2] | 0x20, b'r' | b'f') =>
            {
                family(name)
            }
            known => known,
        }
    }
}

macro_rules! special_names {
    ($($len:literal: $($special:literal $known:ident),*;)*) => {
        /// The one of the special names of that length that `name` is.
        #[inline]
        fn special(name: &[u8]) -> Known {
            match name.len() {
                $($len => one_of(name, [$(($special, Known::$known)),*]),)*
                _ => Known::Other,
            }
        }

        #[cfg(test)]
        const SPECIAL: &[(&[u8], Known)] = &[$($(($special, Known::$known),)*)*];
    };
}

special_names! {
    2: b"te" Te;
    4: b"host" Host, b"date" Date;
    5: b"proxy" Proxy;
    6: b"cookie" Cookie, b"expect" Expect;
    7: b"upgrade" Upgrade, b"trailer" Trailer, b"api-key" ApiKey;
    9: b"x-api-key" XApiKey, b"x-real-ip" XRealIp, b"forwarded" Forwarded;
    10: b"connection" Connection, b"keep-alive" KeepAlive, b"tracestate" Tracestate;
    11: b"traceparent" Traceparent, b"retry-after" RetryAfter;
    12: b"content-type" ContentType, b"x-request-id" XRequestId;
    13: b"authorization" Authorization;
    14: b"content-length" ContentLength, b"http2-settings" Http2Settings, b"x-goog-api-key" XGoogApiKey;
    15: b"accept-encoding" AcceptEncoding, b"x-forwarded-for" XForwardedFor;
    16: b"content-encoding" ContentEncoding, b"proxy-connection" ProxyConnection;
    17: b"transfer-encoding" TransferEncoding, b"x-forwarded-proto" XForwardedProto;
    18: b"proxy-authenticate" ProxyAuthenticate;
    19: b"proxy-authorization" ProxyAuthorization;
}

/// The lengths are constants here, so each comparison is a few instructions without a loop.
#[inline]
fn one_of<const LEN: usize, const COUNT: usize>(
    name: &[u8],
    specials: [(&[u8; LEN], Known); COUNT],
) -> Known {
    let Ok(name) = <&[u8; LEN]>::try_from(name) else { return Known::Other };
    for (special, known) in specials {
        if name[0] | 0x20 != special[0] {
            continue; // of one length all begin differently, and none with what may be an underscore
        }
        if is_spelled(name, special) {
            return known;
        }
        if is_underscored(name, special) {
            return Known::Lookalike;
        }
    }
    Known::Other
}

/// Whether two names of one length are the same in any case. Names are tokens, so `| 0x20` makes a lower-case letter, digit
/// or hyphen of nothing but its like.
#[inline]
fn is_spelled<const LEN: usize>(name: &[u8; LEN], special: &[u8; LEN]) -> bool {
    let (words, rest) = (name.as_chunks::<8>().0, special.as_chunks::<8>().0);
    let differs = |name: &[u8; 8], special: &[u8; 8]| {
        (u64::from_le_bytes(*name) | u64::from_le_bytes([0x20; 8])) ^ u64::from_le_bytes(*special)
    };
    let mut all = words.iter().zip(rest).fold(0, |all, (name, special)| all | differs(name, special));
    // The last word overlaps the one before it; shorter names have none.
    match (name.last_chunk::<8>(), special.last_chunk::<8>()) {
        (Some(name), Some(special)) => all |= differs(name, special),
        _ => all = (0..LEN).fold(0, |all, at| all | u64::from((name[at] | 0x20) ^ special[at])),
    }
    all == 0
}

/// The names known by how they begin.
fn family(name: &[u8]) -> Known {
    let begin = |bytes| name.get(..bytes).unwrap_or_default();
    match one_of(begin(10), [(b"x-ringway-", Known::Ringway)]) {
        Known::Other => one_of(begin(12), [(b"x-forwarded-", Known::XForwardedOther)]),
        _ => Known::Ringway, // in either spelling
    }
}

/// Whether `name` is `special` with `_` for some of its `-`.
#[cold]
fn is_underscored(name: &[u8], special: &[u8]) -> bool {
    name.iter().zip(special).all(|(&byte, &wanted)| byte | 0x20 == wanted || (byte == b'_' && wanted == b'-'))
}

/// The value of the first field of that name, any case.
pub(super) fn find<'b>(fields: &[Field], buf: &'b [u8], name: &str) -> Option<&'b [u8]> {
    let field = fields.iter().find(|field| field.name.of(buf).eq_ignore_ascii_case(name.as_bytes()))?;
    Some(field.value.of(buf))
}

#[cfg(test)]
mod tests {
    use super::super::token_is_valid;
    use super::*;

    #[test]
    fn every_special_name_is_found_in_any_case_and_only_whole() {
        for &(special, known) in SPECIAL {
            assert_eq!(Known::of(special), known);
            assert_eq!(Known::of(&special.to_ascii_uppercase()), known);
            let underscored: Vec<u8> = special.iter().map(|&b| if b == b'-' { b'_' } else { b }).collect();
            let expected = if underscored == special { known } else { Known::Lookalike };
            assert_eq!(Known::of(&underscored), expected);
            assert_ne!(Known::of(&special[1..]), known);
            assert_ne!(Known::of(&[special, b"x"].concat()), known);
        }
    }

    #[test]
    fn a_name_with_one_byte_changed_is_another_name() {
        for &(special, known) in SPECIAL {
            for at in 0..special.len() {
                for byte in (b'!'..=b'~').filter(|&b| token_is_valid(&[b])) {
                    let mut name = special.to_vec();
                    name[at] = byte;
                    let same = byte.eq_ignore_ascii_case(&special[at]);
                    let lookalike = byte == b'_' && special[at] == b'-';
                    assert_eq!(Known::of(&name) == known, same, "{}", name.escape_ascii());
                    assert_eq!(Known::of(&name) == Known::Lookalike, lookalike, "{}", name.escape_ascii());
                }
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
