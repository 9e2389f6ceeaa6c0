//! Byte classes and the small grammars built on them.
//! Owns: what a token, a field value, a target, an authority and a plain path are. Must not: know a rule id.
//! Read next: `lines.rs`, the first user.

use crate::bounds::REQUEST_ID_BYTES_MAX;
use crate::sixteen;
use std::net::Ipv6Addr;

/// RFC 9110 section 5.6.2.
pub(super) const TCHAR: u8 = 1;
/// H1-SY-12: narrower than RFC 3986 in nothing, and without what browsers send raw (`|`, `"`, `^`).
pub(super) const TARGET: u8 = 1 << 1;
/// A reg-name without percent escapes, and without the comma RFC 3986 would allow: H1-HO-02 refuses lists.
const REG_NAME: u8 = 1 << 2;
/// H1-SY-03, H1-SY-04: HTAB, SP, VCHAR, obs-text.
const VALUE: u8 = 1 << 3;
/// SEC-UN-01.
const IDENTIFIER: u8 = 1 << 4;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let alnum = b.is_ascii_alphanumeric();
        let mut class = 0;
        if alnum || is_one_of(b, b"!#$%&'*+-.^_`|~") {
            class |= TCHAR;
        }
        if b.is_ascii_graphic() && !is_one_of(b, b"\"<>\\^`{}|#") {
            class |= TARGET;
        }
        if alnum || is_one_of(b, b"-._~!$&'()*+;=") {
            class |= REG_NAME;
        }
        if b == b'\t' || (b >= b' ' && b != 0x7f) {
            class |= VALUE;
        }
        if alnum || is_one_of(b, b"._:/@+-") {
            class |= IDENTIFIER;
        }
        table[byte] = class;
        byte += 1;
    }
    table
}

const fn is_one_of(byte: u8, set: &[u8]) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == byte {
            return true;
        }
        i += 1;
    }
    false
}

/// Whether `byte` is in `class`.
#[inline]
pub(super) fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

/// Where `class` ends, from `at` on.
#[inline]
pub(super) fn skip(bytes: &[u8], at: usize, class: u8) -> usize {
    bytes[at..].iter().position(|&b| !is(b, class)).map_or(bytes.len(), |n| at + n)
}

/// Where the token ends that starts at `at`: `skip` for `TCHAR`, sixteen bytes a step.
///
/// Letters, digits and `-`, of which nearly all names consist, are told apart by arithmetic; any other byte is looked
/// up in the table.
#[inline]
pub(super) fn token_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at = sixteen::find(bytes, at, b'-', |it| {
            let letters = sixteen::within(sixteen::lower(it), b'a', b'z');
            !(letters | sixteen::within(it, b'0', b'9') | sixteen::is(it, b'-'))
        });
        match bytes.get(at) {
            Some(&byte) if is(byte, TCHAR) => at += 1,
            _ => return at,
        }
    }
}

/// Where the first byte stands that may not be in a field value, from `at` on. HTAB is the one control byte that may.
#[inline]
pub(super) fn value_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at = sixteen::find(bytes, at, b' ', |it| sixteen::within(it, 0, 0x1f) | sixteen::is(it, 0x7f));
        match bytes.get(at) {
            Some(b'\t') => at += 1,
            _ => return at,
        }
    }
}

/// `range` of `bytes` without the SP and HTAB at its ends.
#[inline]
pub(super) fn trim(bytes: &[u8], mut start: usize, mut end: usize) -> (usize, usize) {
    while start < end && is_blank(bytes[start]) {
        start += 1;
    }
    while start < end && is_blank(bytes[end - 1]) {
        end -= 1;
    }
    (start, end)
}

/// SP or HTAB.
#[inline]
pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// The elements of a comma list, trimmed, without empty ones.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|e| !e.is_empty())
}

/// Whether the bytes may stand in a field value: no control byte but HTAB (H1-SY-03, H1-RS-03).
pub fn field_value_is_safe(value: &[u8]) -> bool {
    value_end(value, 0) == value.len()
}

/// Whether the bytes are a token: `1*tchar`.
pub fn token_is_valid(bytes: &[u8]) -> bool {
    !bytes.is_empty() && token_end(bytes, 0) == bytes.len()
}

/// Whether a request id of a peer may be kept: 1 to 128 bytes of `[A-Za-z0-9._:/@+-]`.
pub fn sane_request_id(id: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && skip(id, 0, IDENTIFIER) == id.len()
}

/// Whether every `%` is followed by two hex digits.
pub(super) fn escapes_are_whole(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'%', bytes).all(|at| unescape(bytes, at).is_some())
}

/// The byte that the escape at `at` stands for.
pub(super) fn unescape(bytes: &[u8], at: usize) -> Option<u8> {
    match bytes.get(at..at + 3)? {
        [b'%', high, low] => Some(hex(*high)? << 4 | hex(*low)?),
        _ => None,
    }
}

/// The value of a hex digit.
#[inline]
pub(super) const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// `uri-host [":" port]` with a host and, if there is a colon, a port from 1 to 65535: H1-HO-02.
///
/// IPvFuture and zone ids are refused: nobody can dial the one, and the other means something on the sender only.
pub(super) fn authority_is_valid(authority: &[u8]) -> bool {
    let host_end = skip(authority, 0, REG_NAME);
    match authority.get(host_end) {
        None => host_end > 0,
        Some(b':') => host_end > 0 && is_port(&authority[host_end + 1..]),
        Some(_) => odd_authority_is_valid(authority),
    }
}

/// An authority with an IPv6 address or an escape, or none at all.
#[cold]
fn odd_authority_is_valid(authority: &[u8]) -> bool {
    let bracketed = authority.strip_prefix(b"[");
    let host = bracketed.unwrap_or(authority);
    let Some(end) = memchr::memchr(if bracketed.is_some() { b']' } else { b':' }, host) else {
        return bracketed.is_none() && is_reg_name(host);
    };
    let (host, rest) = host.split_at(end);
    if bracketed.is_none() {
        return is_reg_name(host) && is_port(&rest[1..]);
    }
    is_ipv6(host) && (rest == b"]" || rest.strip_prefix(b"]:").is_some_and(is_port))
}

fn is_ipv6(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Any IPv4 address is also one of these.
fn is_reg_name(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is(b, REG_NAME) || b == b'%') && escapes_are_whole(bytes)
}

fn is_port(digits: &[u8]) -> bool {
    if !(1..=5).contains(&digits.len()) {
        return false;
    }
    let mut port = 0;
    for digit in digits.iter().map(|byte| byte.wrapping_sub(b'0')) {
        if digit > 9 {
            return false;
        }
        port = port * 10 + u32::from(digit);
    }
    (1..=65_535).contains(&port)
}

/// Whether a path may be matched by prefix: no dot segments, no `//`, no encoded separators or NUL (H1-SY-13).
///
/// A segment counts as a dot segment also in front of `;`: servers that know path parameters cut there first.
pub fn path_is_plain(path: &[u8]) -> bool {
    if path.first() != Some(&b'/') || path.windows(2).any(|two| two == b"//") {
        return false;
    }
    path[1..].split(|&b| b == b'/').all(segment_is_plain)
}

fn segment_is_plain(segment: &[u8]) -> bool {
    let (mut at, mut dots, mut others, mut in_name) = (0, 0, 0, true);
    while at < segment.len() {
        let escape = unescape(segment, at);
        let byte = escape.unwrap_or(segment[at]);
        if matches!(byte, b'/' | b'\\' | 0) {
            return false;
        }
        in_name &= byte != b';';
        dots += usize::from(in_name && byte == b'.');
        others += usize::from(in_name && byte != b'.');
        at += if escape.is_some() { 3 } else { 1 };
    }
    others > 0 || !(1..=2).contains(&dots)
}

/// Reads small grammars from left to right. Each method says whether it found its piece, and moves behind it.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    pub(super) fn blanks(&mut self) {
        while self.eat(b' ') || self.eat(b'\t') {}
    }

    /// The token here, empty if there is none.
    pub(super) fn token(&mut self) -> &'a [u8] {
        let end = skip(self.bytes, self.at, TCHAR);
        let token = &self.bytes[self.at..end];
        self.at = end;
        token
    }

    /// A token or a quoted-string: RFC 9110 section 5.6.4, without control bytes.
    pub(super) fn token_or_quoted(&mut self) -> bool {
        if !self.eat(b'"') {
            return !self.token().is_empty();
        }
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'"' => return true,
                b'\\' if self.bytes.get(self.at).is_some_and(|&b| is(b, VALUE)) => self.at += 1,
                b'\\' => return false,
                _ if !is(byte, VALUE) => return false,
                _ => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bytes_a_step_agree_with_the_byte_table_for_every_byte_at_every_place() {
        for byte in 0..=255u8 {
            for filler in [b'a', 0xff, b' ', b'\t', 0x80, b'-', b'_', b'Z', b'0'] {
                for place in 0..40 {
                    let mut bytes = [filler; 40];
                    bytes[place] = byte;
                    assert_eq!(value_end(&bytes, 0), skip(&bytes, 0, VALUE), "{byte:#x} at {place}");
                    assert_eq!(token_end(&bytes, 0), skip(&bytes, 0, TCHAR), "{byte:#x} at {place}");
                }
            }
        }
    }

    #[test]
    fn tchar_is_the_set_of_rfc_9110() {
        let tchars: Vec<u8> = (0..=255).filter(|&b| is(b, TCHAR)).collect();
        assert_eq!(tchars, b"!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~");
    }

    #[test]
    fn authorities_are_host_and_optional_port_and_nothing_else() {
        for good in
            ["a", "A.b-c_d", "127.0.0.1", "127.0.0.1:1", "h:65535", "[::1]", "[::1]:80", "x%20y", "0.0.0.0=5"]
        {
            assert!(authority_is_valid(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":",
            ":80",
            "h:",
            "h:0",
            "h:65536",
            "h:000080",
            "h:8a",
            "h:+1",
            "h:80:80",
            "u@h",
            "h/",
            "h?",
            "a,b",
            "a b",
            "[::1",
            "[::1]x",
            "[]",
            "[v1.a]",
            "[fe80::1%25eth0]",
            "::1",
            "h\u{e9}",
            "h%2",
            "h%zz",
            "h\\",
            "h#",
        ] {
            assert!(!authority_is_valid(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn plain_paths_have_nothing_a_server_could_resolve() {
        for good in [
            "/",
            "/v1/chat/completions",
            "/a/",
            "/...",
            "/.well-known/x",
            "/a..b",
            "/%41",
            "/a;b",
            "/..a",
            "/%252e",
        ] {
            assert!(path_is_plain(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "a",
            "*",
            "//",
            "/a//b",
            "/.",
            "/..",
            "/../a",
            "/a/..",
            "/a/./b",
            "/%2e",
            "/%2E%2e/",
            "/.%2e",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a%00",
            "/a\\b",
            "/..;x/",
            "/.;/a",
            "/%2e%2e%3bx/a",
        ] {
            assert!(!path_is_plain(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn request_ids_are_kept_only_if_sane() {
        for good in [&b"a"[..], b"AZaz09._:/@+-", &[b'x'; 128]] {
            assert!(sane_request_id(good));
        }
        for bad in [&b""[..], b"a b", b"a\r\nb", b"\xc3\xa9", b"a\"", &[b'x'; 129]] {
            assert!(!sane_request_id(bad));
        }
    }
}
