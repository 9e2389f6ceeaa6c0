//! Writes ringway's own answers, head and body, in the caller's grammar.
//!
//! Owns: the bytes of a refusal and of the few 2xx answers of our own.
//! Must not: choose a status or word a message ([`crate::refusal`]), read a clock, or write to a socket. What
//! it puts into a field was checked or is ours: it drops an id that could split the answer (H1-RS-03).
//! Read next: `ringway_dialect::errors`, the envelopes.

use ringway_dialect::errors::{self, Problem};
use ringway_dialect::surface::Grammar;

use crate::refusal::Refusal;

/// Whom the answer is for, and what its head needs to know.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one request, named at the call")]
pub struct To<'a> {
    /// How to word it.
    pub grammar: Grammar,
    /// `x-request-id`: the caller's own if it was sane, else ours.
    pub request_id: &'a str,
    /// `x-ringway-request-id`: always ours.
    pub ringway_id: &'a str,
    /// The value of `date`, as RFC 9110 section 5.6.7 wants it.
    pub date: &'a str,
    /// The request was HEAD: no body.
    pub head: bool,
    /// The request was HTTP/1.0: a connection that stays must be said so.
    pub http10: bool,
    /// The connection ends after this answer, whatever the refusal says.
    pub close: bool,
    /// Attempts were made and no more are left: clients should not multiply them.
    pub retries_spent: bool,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The status of the answer.
    pub status: u16,
    /// Whether the answer says that the connection ends.
    pub close: bool,
}

/// Appends a whole answer for this refusal.
pub fn refusal(out: &mut Vec<u8>, refusal: &Refusal, to: &To<'_>) -> Written {
    let verdict = refusal.verdict();
    let status = verdict.kind.status_in(to.grammar, verdict.status);
    let close = verdict.close || to.close;
    let problem = Problem {
        kind: verdict.kind,
        status,
        message: &refusal.message(),
        code: refusal.code(),
        param: refusal.param(),
        retry_after_ms: verdict.retry_after_ms,
        request_id: to.request_id,
    };
    let mut body = Vec::with_capacity(256);
    errors::write(&mut body, to.grammar, &problem);

    head(out, status, to, close, body.len());
    if let Some(ms) = verdict.retry_after_ms {
        field(out, b"retry-after", itoa::Buffer::new().format(ms.div_ceil(1_000)).as_bytes());
        field(out, b"retry-after-ms", itoa::Buffer::new().format(ms).as_bytes());
    }
    match refusal {
        Refusal::MethodNotAllowed { allow } => field(out, b"allow", allow.as_bytes()),
        // CONNECT, TRACE: refused before any route was asked (RFC 9110 section 15.5.6 wants the field).
        _ if status == 405 => field(out, b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        _ => {}
    }
    if verdict.kind.is_final() || (to.retries_spent && !verdict.kind.invites_retry()) {
        field(out, b"x-should-retry", b"false");
    }
    finish(out, to, &body);
    Written { status, close }
}

/// Appends a whole answer of 200 with this JSON body.
pub fn json(out: &mut Vec<u8>, body: &[u8], to: &To<'_>) -> Written {
    head(out, 200, to, to.close, body.len());
    finish(out, to, body);
    Written { status: 200, close: to.close }
}

fn head(out: &mut Vec<u8>, status: u16, to: &To<'_>, close: bool, body_bytes: usize) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    field(out, b"content-type", b"application/json");
    field(out, b"content-length", itoa::Buffer::new().format(body_bytes).as_bytes());
    field(out, b"date", to.date.as_bytes());
    field(out, b"x-request-id", to.request_id.as_bytes());
    if to.grammar == Grammar::Anthropic {
        field(out, b"request-id", to.request_id.as_bytes()); // the name its clients read
    }
    field(out, b"x-ringway-request-id", to.ringway_id.as_bytes());
    if close {
        field(out, b"connection", b"close");
    } else if to.http10 {
        field(out, b"connection", b"keep-alive");
    }
}

fn finish(out: &mut Vec<u8>, to: &To<'_>, body: &[u8]) {
    out.extend_from_slice(b"\r\n");
    if !to.head {
        out.extend_from_slice(body);
    }
}

/// Appends a field, unless its value could end the line (H1-RS-03); then it is left out.
fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(name.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'-'), "our own field names");
    if value.iter().any(|&byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f) {
        return;
    }
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The reason phrase; a client must not rely on it.
const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        529 => "Overloaded",
        _ => "Error",
    }
}
