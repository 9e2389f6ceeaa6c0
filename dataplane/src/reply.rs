//! Writes ringway's own answers, head and body, in the caller's grammar.
//!
//! Owns: the bytes of a refusal and of the few 2xx answers of our own.
//! Must not: choose a status or word a message ([`crate::refusal`]), read a clock, or write to a socket. What
//! it puts into a field was checked or is ours: it drops an id that could split the answer (H1-RS-03).
//! Read next: `ringway_dialect::errors`, the envelopes.

use ringway_dialect::errors::{self, Problem};
use ringway_dialect::surface::Grammar;

use crate::clock::HttpDate;
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
    pub date: HttpDate,
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

/// Appends this refusal as an event of a stream that has begun. `responses`: of OpenAI's Responses.
pub fn event(out: &mut Vec<u8>, refusal: &Refusal, responses: bool, to: &To<'_>) {
    let message = refusal.message();
    errors::write_event(out, to.grammar, responses, &problem(refusal, &message, to));
}

fn problem<'a>(refusal: &'a Refusal, message: &'a str, to: &To<'a>) -> Problem<'a> {
    let verdict = refusal.verdict();
    Problem {
        kind: verdict.kind,
        status: verdict.kind.status_in(to.grammar, verdict.status),
        message,
        code: refusal.code(),
        param: refusal.param(),
        retry_after_ms: verdict.retry_after_ms,
        request_id: to.request_id,
    }
}

/// Appends a whole answer for this refusal.
pub fn refusal(out: &mut Vec<u8>, refusal: &Refusal, to: &To<'_>) -> Written {
    let verdict = refusal.verdict();
    let close = verdict.close || to.close;
    let message = refusal.message();
    let problem = problem(refusal, &message, to);
    let status = problem.status;
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

/// Appends a whole answer that another server gave and we worded, with these further fields.
pub fn translated(
    out: &mut Vec<u8>,
    status: u16,
    fields: &[(&'static str, String)],
    body: &[u8],
    to: &To<'_>,
) -> Written {
    head(out, status, to, to.close, body.len());
    for (name, value) in fields {
        field(out, name.as_bytes(), value.as_bytes());
    }
    finish(out, to, body);
    Written { status, close: to.close }
}

/// Appends the head of a stream of this media type; its body follows in chunks, or until the connection ends.
pub fn stream_head(
    out: &mut Vec<u8>,
    kind: &str,
    fields: &[(&'static str, String)],
    chunked: bool,
    to: &To<'_>,
) {
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    field(out, b"content-type", kind.as_bytes());
    field(out, b"cache-control", b"no-cache");
    field(out, b"x-accel-buffering", b"no"); // proxies of nginx's kind would hold events back
    if chunked {
        field(out, b"transfer-encoding", b"chunked");
    }
    about(out, to, to.close);
    for (name, value) in fields {
        field(out, name.as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn head(out: &mut Vec<u8>, status: u16, to: &To<'_>, close: bool, body_bytes: usize) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    field(out, b"content-type", b"application/json");
    field(out, b"content-length", itoa::Buffer::new().format(body_bytes).as_bytes());
    about(out, to, close);
}

/// What every answer says about itself.
fn about(out: &mut Vec<u8>, to: &To<'_>, close: bool) {
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::Value;

    use super::*;
    use crate::refusal::tests::every;

    const TO: To<'static> = To {
        grammar: Grammar::Plain,
        request_id: "caller-1",
        ringway_id: "ours-1",
        date: HttpDate::EPOCH,
        head: false,
        http10: false,
        close: false,
        retries_spent: false,
    };

    /// An answer, taken apart with no more leniency than a strict client has.
    struct Answer {
        status: u16,
        fields: HashMap<String, String>,
        body: Vec<u8>,
    }

    fn parse(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").expect("the head ends");
        let head = std::str::from_utf8(&bytes[..end]).expect("our heads are ASCII");
        assert!(head.is_ascii());
        let mut lines = head.split("\r\n");
        let status_line = lines.next().expect("a status line");
        let (version, rest) = status_line.split_at(9);
        assert_eq!(version, "HTTP/1.1 ");
        let (status, phrase) = rest.split_once(' ').expect("a reason phrase");
        assert!(!phrase.is_empty() && phrase != "Error", "{status_line}");
        let mut fields = HashMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").expect("a field");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
            assert!(!value.is_empty() && !value.bytes().any(|byte| byte.is_ascii_control()), "{line}");
            assert!(fields.insert(name.to_owned(), value.to_owned()).is_none(), "{name} comes twice");
        }
        Answer { status: status.parse().expect("a status"), fields, body: bytes[end + 4..].to_vec() }
    }

    fn answer(refused: &Refusal, to: &To<'_>) -> Answer {
        let mut out = b"before".to_vec();
        let written = refusal(&mut out, refused, to);
        let bytes = out.strip_prefix(b"before").expect("it appends");
        let answer = parse(bytes);
        assert_eq!(answer.status, written.status);
        assert_eq!(answer.fields.get("connection").is_some_and(|it| it == "close"), written.close);
        answer
    }

    #[test]
    fn every_refusal_is_a_valid_answer_in_every_grammar() {
        for refused in every() {
            for grammar in Grammar::ALL {
                let answer = answer(&refused, &To { grammar, ..TO });
                let fields = &answer.fields;
                assert_eq!(fields["content-length"], answer.body.len().to_string());
                assert_eq!(fields["content-type"], "application/json");
                assert_eq!(
                    (&*fields["x-request-id"], &*fields["x-ringway-request-id"]),
                    ("caller-1", "ours-1")
                );
                assert_eq!(fields["date"].as_bytes(), TO.date.as_bytes());
                let body: Value = serde_json::from_slice(&answer.body).expect("valid JSON");
                assert_eq!(body["error"]["message"], refused.message().as_ref());
                let keys = |value: &Value| {
                    let object = value.as_object().expect("an object");
                    let sorted: std::collections::BTreeSet<_> = object.keys().cloned().collect();
                    sorted.into_iter().collect::<Vec<_>>().join(" ")
                };
                let (outer, inner) = match grammar {
                    Grammar::OpenAi => ("error", "code message param type"),
                    Grammar::Anthropic => ("error request_id type", "message type"),
                    Grammar::Gemini => ("error", "code details message status"),
                    Grammar::Plain => ("error", "code message request_id"),
                };
                assert_eq!((&*keys(&body), &*keys(&body["error"])), (outer, inner));
                assert_eq!(fields.contains_key("allow"), answer.status == 405);
                assert_eq!(fields.get("request-id").is_some(), grammar == Grammar::Anthropic);
            }
        }
    }

    #[test]
    fn a_wait_is_told_in_seconds_rounded_up_and_in_milliseconds() {
        let answer = answer(&Refusal::NoEndpoint { retry_after_ms: 1_001 }, &TO);
        assert_eq!((&*answer.fields["retry-after"], &*answer.fields["retry-after-ms"]), ("2", "1001"));
    }

    #[test]
    fn statuses_follow_the_grammar() {
        let of =
            |refused: &Refusal| Grammar::ALL.map(|grammar| answer(refused, &To { grammar, ..TO }).status);
        assert_eq!(of(&Refusal::Draining), [503, 529, 503, 503]);
        assert_eq!(of(&Refusal::HeadTooLarge), [431; 4]);
        assert_eq!(of(&Refusal::TargetTooLong), [414; 4]);
        assert_eq!(of(&Refusal::UnknownModel { model: "m".into() }), [404; 4]);
    }

    #[test]
    fn head_gets_the_length_and_no_body() {
        let (with, without) =
            (answer(&Refusal::NoRoute, &TO), answer(&Refusal::NoRoute, &To { head: true, ..TO }));
        assert!(without.body.is_empty());
        assert_eq!(without.fields["content-length"], with.fields["content-length"]);
    }

    #[test]
    fn a_connection_that_stays_says_so_to_http_1_0_only() {
        let connection = |refused: &Refusal, to: To<'_>| answer(refused, &to).fields.remove("connection");
        assert_eq!(connection(&Refusal::NoRoute, TO), None);
        assert_eq!(connection(&Refusal::NoRoute, To { http10: true, ..TO }).as_deref(), Some("keep-alive"));
        assert_eq!(
            connection(&Refusal::NoRoute, To { http10: true, close: true, ..TO }).as_deref(),
            Some("close")
        );
        assert_eq!(connection(&Refusal::HeadTooLarge, To { http10: true, ..TO }).as_deref(), Some("close"));
    }

    #[test]
    fn clients_are_told_not_to_repeat_what_we_repeated_but_may_come_back_to_the_overloaded() {
        let told = |refused: &Refusal, retries_spent| {
            answer(refused, &To { retries_spent, ..TO }).fields.remove("x-should-retry")
        };
        assert_eq!(told(&Refusal::ConnectRefused, false), None);
        assert_eq!(told(&Refusal::ConnectRefused, true).as_deref(), Some("false"));
        assert_eq!(told(&Refusal::PoolFull { retry_after_ms: 1 }, true), None);
    }

    #[test]
    fn an_id_that_could_split_the_answer_is_left_out() {
        let answer = answer(&Refusal::NoRoute, &To { request_id: "a\r\nset-cookie: x", ..TO });
        assert!(!answer.fields.contains_key("x-request-id") && !answer.fields.contains_key("set-cookie"));
        let body: Value = serde_json::from_slice(&answer.body).expect("valid JSON");
        assert_eq!(body["error"]["request_id"], "a\r\nset-cookie: x", "inside JSON it is harmless");
    }

    #[test]
    fn our_own_answers_of_200_have_the_same_head() {
        let mut out = Vec::new();
        let written = json(&mut out, b"{}", &TO);
        assert_eq!(written, Written { status: 200, close: false });
        let answer = parse(&out);
        assert_eq!((answer.status, &*answer.body), (200, &b"{}"[..]));
        assert_eq!(answer.fields["content-length"], "2");
    }
}
