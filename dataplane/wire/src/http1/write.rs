//! Heads as the gateway writes them: from fields, never from a copied head.
//! Owns: what leaves a head on its way (hop-by-hop fields, credentials, forwarding fields of strangers) and what the
//! gateway adds. Must not: judge a message; what comes here was parsed, and is written so that the same parser
//! accepts it.
//! Read next: `field.rs` for the special names, `query.rs` for credentials in the target.

use super::grammar::{field_value_is_safe, token_is_valid};
use super::{
    Field, Framing, HeadBounds, Known, Method, Parse, RequestHead, ResponseHead, Span, Version, query,
};
use std::cell::RefCell;
use std::io::Write as _;
use std::net::IpAddr;

/// How a request goes on to an upstream.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four independent settings, each named where it is set")]
pub struct RequestOut<'a> {
    /// Put before the path; empty, or starting with `/`. With one, or on a prefix route, the caller has refused
    /// paths that are not plain (`path_is_plain`, H1-SY-13, SEC-SSRF-06).
    pub base_path: &'a [u8],
    /// The upstream's Host, from configuration (H1-HO-06).
    pub host: &'a [u8],
    /// Put in place of this part of the path, percent-encoded: a model that the path names (Gemini).
    pub renamed: Option<(Span, &'a [u8])>,
    /// How the gateway frames the body.
    pub framing: Framing,
    /// The peer's address.
    pub forwarded_for: IpAddr,
    /// `http` or `https`.
    pub forwarded_proto: &'a str,
    /// The peer is a trusted proxy: its forwarding and trace fields stay, and the peer is appended to
    /// X-Forwarded-For. Otherwise all of them are replaced or dropped, never mixed (SEC-INJ-04).
    pub trust_forwarded: bool,
    /// Sent as X-Request-Id instead of the client's.
    pub request_id: &'a [u8],
    /// Remove every client credential (SEC-KEY-05) even though none is added. Set it wherever the gateway itself
    /// checked the caller's key.
    pub strip_credentials: bool,
    /// The upstream's credential: name and value. Having one strips the client's.
    pub credential: Option<(&'a [u8], &'a [u8])>,
    /// The gateway must read the answer: ask for `identity` (H1-UP-16).
    pub identity_coding: bool,
    /// The body goes on without the coding it came in.
    pub decoded: bool,
    /// Sent in place of the client's field of that name: a question of the gateway's own.
    pub instead: Option<(&'a [u8], &'a [u8])>,
    /// Send `Connection: close`.
    pub close: bool,
}

/// How a response goes back to a client.
#[derive(Clone, Copy, Debug)]
pub struct ResponseOut<'a> {
    /// How the gateway frames the body. `Chunked` is for HTTP/1.1 clients, `UntilClose` for HTTP/1.0 clients.
    pub framing: Framing,
    /// Send `Connection: close`.
    pub close: bool,
    /// The client's version.
    pub version: Version,
    /// The current date, for upstreams that send none (H1-RS-06).
    pub date: &'a [u8],
    /// Sent as x-ringway-request-id, and as x-request-id unless the upstream sent one.
    pub request_id: &'a [u8],
    /// A field that stays here: the answer to a question of the gateway's own.
    pub kept: Option<&'a [u8]>,
    /// Further fields. One whose name or value is unsafe is left out (H1-RS-03).
    pub extra: &'a [(&'a [u8], &'a [u8])],
    /// The request was HEAD: keep the announced Content-Length though no body follows.
    pub head_request: bool,
}

/// Appends the request head for the upstream.
pub fn write_request(out: &mut Vec<u8>, head: &RequestHead, buf: &[u8], how: &RequestOut<'_>) {
    let start = out.len();
    out.reserve(head.len() + how.base_path.len() + ADDED_BYTES);
    write_request_line(out, head, buf, how);
    write_known(out, b"host: ", how.host);
    let strip = strips_credentials(how);
    let mut client_proto = false;
    for field in head.fields() {
        client_proto |= field.known == Known::XForwardedProto;
        let replaced = how.instead.is_some_and(|(name, _)| field.name.of(buf).eq_ignore_ascii_case(name));
        if !field.hop && !replaced && request_field_goes_on(field.known, how, strip) {
            write_field(out, buf, field);
        }
    }
    write_forwarded_for(out, head, buf, how);
    if !(how.trust_forwarded && client_proto) {
        write_known(out, b"x-forwarded-proto: ", how.forwarded_proto.as_bytes());
    }
    write_known(out, b"x-request-id: ", how.request_id);
    if let Some((name, value)) = how.credential {
        write_checked(out, name, value);
    }
    if let Some((name, value)) = how.instead {
        write_checked(out, name, value);
    }
    if how.identity_coding {
        out.extend_from_slice(b"accept-encoding: identity\r\n");
    }
    write_request_framing(out, head.method(), how.framing);
    if how.close {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    debug_assert!(reads_back(&out[start..], head, buf), "{}", out[start..].escape_ascii());
}

/// Whether the strict parser takes what was written, whole, for a request with the same method. Debug builds only; one
/// head per thread, so that tests which count allocations can still do so.
fn reads_back(written: &[u8], head: &RequestHead, buf: &[u8]) -> bool {
    const ROOMY: HeadBounds = HeadBounds {
        head_bytes: u32::MAX as usize,
        request_line_bytes: u32::MAX as usize,
        field_line_bytes: u32::MAX as usize,
        fields: usize::MAX,
    };
    thread_local!(static AGAIN: RefCell<RequestHead> = RefCell::default());
    AGAIN.with_borrow_mut(|again| {
        again.reset();
        again.parse(written, &ROOMY) == Ok(Parse::Complete)
            && again.len() == written.len()
            && again.method_bytes(written) == head.method_bytes(buf)
    })
}

/// Appends the response head for the client. A body follows only where the status and the request allow one: the
/// caller drops the body of a 205, which is announced as empty (H1-RS-01).
pub fn write_response(out: &mut Vec<u8>, head: &ResponseHead, buf: &[u8], how: &ResponseOut<'_>) {
    out.reserve(head.len() + ADDED_BYTES);
    write_status_line(out, head, buf);
    let (mut has_date, mut has_request_id) = (false, false);
    for field in head.fields() {
        if field.hop
            || !response_field_goes_on(field.known)
            || (has_request_id && field.known == Known::XRequestId)
            || how.kept.is_some_and(|name| field.name.of(buf).eq_ignore_ascii_case(name))
        {
            continue;
        }
        has_date |= field.known == Known::Date;
        has_request_id |= field.known == Known::XRequestId;
        write_field(out, buf, field);
    }
    if !has_date {
        write_known(out, b"date: ", how.date);
    }
    if !has_request_id {
        write_known(out, b"x-request-id: ", how.request_id);
    }
    write_known(out, b"x-ringway-request-id: ", how.request_id);
    for (name, value) in how.extra {
        write_checked(out, name, value);
    }
    write_response_framing(out, head, how);
    match (how.close, how.version) {
        (true, _) => out.extend_from_slice(b"connection: close\r\n"),
        (false, Version::Http10) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        (false, Version::Http11) => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// About what the gateway adds to a head. A hint: `out` grows where it is too small.
const ADDED_BYTES: usize = 512;

const fn strips_credentials(how: &RequestOut<'_>) -> bool {
    how.strip_credentials || how.credential.is_some()
}

fn write_request_line(out: &mut Vec<u8>, head: &RequestHead, buf: &[u8], how: &RequestOut<'_>) {
    out.extend_from_slice(head.method_bytes(buf));
    out.push(b' ');
    if head.is_about_the_server() {
        out.push(b'*');
    } else {
        out.extend_from_slice(how.base_path.strip_suffix(b"/").unwrap_or(how.base_path));
        write_target(out, head, buf, how);
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

fn write_target(out: &mut Vec<u8>, head: &RequestHead, buf: &[u8], how: &RequestOut<'_>) {
    write_path(out, head.path(), buf, how.renamed);
    let Some(query) = head.query() else { return };
    out.push(b'?');
    if !strips_credentials(how) {
        out.extend_from_slice(query.of(buf));
    } else if !query::write_without_credentials(out, query.of(buf)) {
        out.pop();
    }
}

fn write_path(out: &mut Vec<u8>, path: Span, buf: &[u8], renamed: Option<(Span, &[u8])>) {
    let Some((span, name)) = renamed else { return out.extend_from_slice(path.of(buf)) };
    out.extend_from_slice(Span { start: path.start, end: span.start }.of(buf));
    for &byte in name {
        if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    out.extend_from_slice(Span { start: span.end, end: path.end }.of(buf));
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// H1-CO-01, H1-CO-06, H1-CO-07, SEC-INJ-04 to SEC-INJ-06, SEC-KEY-05.
const fn request_field_goes_on(known: Known, how: &RequestOut<'_>, strip: bool) -> bool {
    match known {
        Known::Other | Known::ContentType | Known::Date | Known::RetryAfter => true,
        Known::ContentEncoding => !how.decoded,
        Known::Authorization | Known::XApiKey | Known::ApiKey | Known::XGoogApiKey | Known::Cookie => !strip,
        Known::XForwardedProto
        | Known::XForwardedOther
        | Known::Forwarded
        | Known::XRealIp
        | Known::Traceparent
        | Known::Tracestate => how.trust_forwarded,
        Known::AcceptEncoding => !how.identity_coding,
        // Written by the gateway, if at all; somebody else's; or ending here.
        Known::Host
        | Known::ContentLength
        | Known::XForwardedFor
        | Known::XRequestId
        | Known::Lookalike
        | Known::Ringway
        | Known::Proxy
        | Known::Expect
        | Known::Trailer
        | Known::Connection
        | Known::KeepAlive
        | Known::ProxyConnection
        | Known::Te
        | Known::TransferEncoding
        | Known::Upgrade
        | Known::Http2Settings
        | Known::ProxyAuthenticate
        | Known::ProxyAuthorization => false,
    }
}

/// One line, whatever number of them came: the peer is the last of the list.
fn write_forwarded_for(out: &mut Vec<u8>, head: &RequestHead, buf: &[u8], how: &RequestOut<'_>) {
    out.extend_from_slice(b"x-forwarded-for: ");
    if how.trust_forwarded {
        for field in head.fields().iter().filter(|f| f.known == Known::XForwardedFor && !f.value.is_empty()) {
            out.extend_from_slice(field.value.of(buf));
            out.extend_from_slice(b", ");
        }
    }
    match how.forwarded_for.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, rest @ ..] = v4.octets();
            write_number(out, u64::from(first));
            for octet in rest {
                out.push(b'.');
                write_number(out, u64::from(octet));
            }
        }
        IpAddr::V6(v6) => write!(out, "{v6}").expect("writing to a Vec does not fail"),
    }
    out.extend_from_slice(b"\r\n");
}

fn write_request_framing(out: &mut Vec<u8>, method: Method, framing: Framing) {
    match framing {
        Framing::Length(bytes) => write_length(out, bytes),
        Framing::Chunked => out.extend_from_slice(CHUNKED),
        // Some servers answer 411 to these without a length: RFC 9110 section 8.6.
        Framing::None if matches!(method, Method::Post | Method::Put | Method::Patch) => write_length(out, 0),
        Framing::None => {}
        Framing::UntilClose => debug_assert!(false, "a request body is never close-delimited (H1-FR-07)"),
    }
}

fn write_status_line(out: &mut Vec<u8>, head: &ResponseHead, buf: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_number(out, u64::from(head.status()));
    out.push(b' ');
    out.extend_from_slice(head.reason().of(buf));
    out.extend_from_slice(b"\r\n");
}

/// H1-CO-01. Framing is ours, and nobody but us speaks in our own name.
const fn response_field_goes_on(known: Known) -> bool {
    !matches!(
        known,
        Known::Ringway
            | Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Te
            | Known::TransferEncoding
            | Known::Upgrade
            | Known::Http2Settings
            | Known::ProxyAuthenticate
            | Known::ProxyAuthorization
            | Known::Trailer
            | Known::ContentLength
    )
}

/// H1-RS-01 and H1-RS-02: exactly one framing field, or none where there can be no body.
fn write_response_framing(out: &mut Vec<u8>, head: &ResponseHead, how: &ResponseOut<'_>) {
    match head.status() {
        100..=199 | 204 => return,
        205 => return write_length(out, 0),
        304 => return head.declared_length().into_iter().for_each(|bytes| write_length(out, bytes)),
        _ if how.head_request => {
            return head.declared_length().into_iter().for_each(|bytes| write_length(out, bytes));
        }
        _ => {}
    }
    match how.framing {
        Framing::None => write_length(out, 0),
        Framing::Length(bytes) => write_length(out, bytes),
        Framing::Chunked => {
            debug_assert!(how.version == Version::Http11, "HTTP/1.0 has no chunks (H1-RS-02)");
            out.extend_from_slice(CHUNKED);
        }
        Framing::UntilClose => debug_assert!(how.close, "a body that ends with the connection must close it"),
    }
}

const CHUNKED: &[u8] = b"transfer-encoding: chunked\r\n";

/// Not in line: it is large, and where it is called most it is called four times in a row.
#[inline(never)]
fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn write_length(out: &mut Vec<u8>, bytes: u64) {
    out.extend_from_slice(b"content-length: ");
    write_number(out, bytes);
    out.extend_from_slice(b"\r\n");
}

/// A field that was parsed, and so checked, before. Where it already stands as it would be written, which is nearly
/// always, its line goes in one piece.
#[inline]
fn write_field(out: &mut Vec<u8>, buf: &[u8], field: &Field) {
    let (name_end, value_start) = (field.name.end as usize, field.value.start as usize);
    let line_end = field.value.end as usize + 2;
    if value_start == name_end + 2 && buf[name_end + 1] == b' ' && buf[line_end - 2..line_end] == *b"\r\n" {
        out.extend_from_slice(&buf[field.name.start as usize..line_end]);
    } else {
        write_line(out, field.name.of(buf), field.value.of(buf));
    }
}

/// The one way into a head for a value that was not parsed out of one: what is unsafe stays outside (SEC-INJ-01).
fn write_checked(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    if token_is_valid(name) && field_value_is_safe(value) {
        write_line(out, name, value);
    }
}

/// The same for a name of ours, which is written with what parts it from the value.
#[inline]
fn write_known(out: &mut Vec<u8>, name: &'static [u8], value: &[u8]) {
    if field_value_is_safe(value) {
        out.extend_from_slice(name);
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
