//! The way there: a caller's request in the words of the backend that was chosen.
//!
//! Owns: head and body as they go up, and what is known of the backend.
//! Must not: pass a field of the caller's on that means something in its dialect, its credentials before all.
//! Read next: `crate::attempt`, which sends it; `answer.rs`.

use ringway_contract::snapshot::Engine as Kind;
use ringway_dialect::dialect::Dialect;
use ringway_dialect::homecoming::without_seals;
use ringway_dialect::json::{Surrogates, Tape, Text};
use ringway_dialect::model::{Echo, Engine, Losses, Realm, Request, Target};
use ringway_dialect::surface::{Surface, Verb, path_model, surface};
use ringway_dialect::translate::{read_request, write_request};
use ringway_wire::http1::RequestHead;

use super::{Form, Speaks, Translation, of_backend};
use crate::attempt::Aim;
use crate::clock::unix_ms;
use crate::exchange::{Exchange, Stop};
use crate::intake::Intake;
use crate::observe::Short;
use crate::orca;
use crate::refusal::Refusal;
use crate::table::{Backend, Route};

/// Reads the request whole and leaves it with the exchange in the backend's words. An outcome: the caller left.
///
/// # Errors
/// The caller is told what in its request cannot be read or carried over.
pub async fn prepare(x: &mut Exchange<'_>, aim: Aim<'_>, intake: &mut Intake) -> Result<(), Stop> {
    let (Speaks::Calls(caller), Some(upstream)) = (x.speaks, of_backend(aim.backend.dialect)) else {
        return Err(Refusal::NotTranslated.into());
    };
    if x.has_coded_body(intake) {
        return Err(Refusal::EncodedBody.into());
    }
    x.read_rest(intake, u64::MAX).await?;
    let translation = translated(x, aim, intake, caller, upstream)?;
    x.translation = Some(Box::new(translation));
    Ok(())
}

/// Takes out of a request what only this gateway can have put there: a conversation that was served by another provider
/// comes back to its own, which would refuse the state of the other. Nothing else of the body changes.
pub fn come_home(x: &mut Exchange<'_>, intake: &mut Intake) -> Result<(), Stop> {
    let Speaks::Calls(dialect) = x.speaks else { return Ok(()) };
    let body: Vec<u8> = intake.pieces().collect::<Vec<_>>().concat();
    let text = std::str::from_utf8(&body).ok().filter(|_| !x.has_coded_body(intake));
    if let Some(text) = text.and_then(|text| without_seals(dialect, text)) {
        intake.replace(x.worker, text.as_bytes())?;
    }
    Ok(())
}

fn translated(
    x: &mut Exchange<'_>,
    aim: Aim<'_>,
    intake: &Intake,
    caller: Dialect,
    upstream: Dialect,
) -> Result<Translation, Refusal> {
    let bytes: Vec<u8> = intake.pieces().collect::<Vec<_>>().concat();
    let bad = |what: &str| Refusal::BadJson { what: what.to_owned().into() };
    let text = std::str::from_utf8(&bytes).map_err(|_| bad("it is not UTF-8"))?;
    let mut tape = Tape::new();
    let body = tape
        .read(text, Surrogates::Refuse)
        .map_err(|fault| bad(&format!("{} at byte {}", fault.what, fault.at)))?;
    let mut losses = Losses::new();
    let mut request = read_request(caller, body, &mut losses).map_err(Refusal::untranslatable)?;
    let path = x.scratch.head.target().of(intake.head());
    let named = path_model(path).and_then(|name| String::from_utf8(name.into_owned()).ok());
    let form = form_of(&mut request, path, named.as_deref());
    if request.model.is_empty() {
        return Err(Refusal::ModelMissing);
    }
    let mut echo = Echo::of(&request, upstream);
    echo.now = unix_ms() / 1_000;
    echo.id = String::from_utf8_lossy(x.own_id()).into_owned();
    if x.record.model.as_bytes().is_empty() {
        x.record.model = Short::new(echo.model.as_bytes());
    }
    if let Some(alias) = aim.alias {
        request.model = Text::of(alias);
    }
    let target = target_of(aim.backend, upstream);
    let mut body = Vec::with_capacity(bytes.len() + bytes.len() / 8);
    write_request(&request, &target, &mut losses, &mut body).map_err(Refusal::untranslatable)?;
    if aim.route.strict {
        losses.strictly().map_err(Refusal::untranslatable)?;
    }
    let mut composed = Vec::with_capacity(body.len() + HEAD_BYTES);
    write_head(
        x,
        aim,
        intake,
        &Call { request: &request, target: &target, body_bytes: body.len() },
        &mut composed,
    );
    composed.extend_from_slice(&body);
    Ok(Translation { composed, caller, upstream, realm: target.realm, echo, losses, form })
}

/// About what a head takes. A hint.
const HEAD_BYTES: usize = 512;

/// How the caller wants to be answered. Gemini says in its path which model is meant and whether it streams.
fn form_of<'a>(request: &mut Request<'a>, path: &[u8], named: Option<&'a str>) -> Form {
    if let Surface::Generate { verb, .. } = surface(path) {
        request.stream = verb == Verb::StreamGenerate;
        request.stream_usage = true;
        if let Some(model) = named {
            request.model = Text::of(model);
        }
        if request.stream && !asks_for_events(path) {
            return Form::Array;
        }
    }
    if request.stream { Form::Events } else { Form::Whole }
}

/// Whether a call of Gemini's is for a stream of events: without `alt=sse` its stream is one JSON array.
pub fn asks_for_events(path: &[u8]) -> bool {
    let streams = matches!(surface(path), Surface::Generate { verb: Verb::StreamGenerate, .. });
    streams && path.split(|&byte| byte == b'?' || byte == b'&').skip(1).any(|pair| pair == b"alt=sse")
}

/// What is known of a backend.
fn target_of(backend: &Backend, dialect: Dialect) -> Target {
    let target = match (dialect, backend.engine) {
        (Dialect::OpenAiChat, Kind::Vllm) => Target::engine(Engine::Vllm),
        (Dialect::OpenAiChat, Kind::Sglang) => Target::engine(Engine::Sglang),
        (Dialect::OpenAiChat, Kind::Trtllm | Kind::Triton | Kind::Lmdeploy | Kind::Tgi | Kind::Llamacpp) => {
            Target::engine(Engine::Other)
        }
        (Dialect::OpenAiChat, Kind::Openai | Kind::Anthropic | Kind::Gemini | Kind::Http)
        | (Dialect::OpenAiResponses | Dialect::Anthropic | Dialect::Gemini, _) => Target::of(dialect),
    };
    // One backend: one provider and one credential. Families of models share state as far as the provider lets them.
    Target { realm: Realm::of(backend.name.as_str(), "", ""), ..target }
}

/// What a head has to say.
struct Call<'a> {
    request: &'a Request<'a>,
    target: &'a Target,
    body_bytes: usize,
}

/// Writes a head of our own: what a caller's fields mean, they mean in its dialect.
fn write_head(x: &Exchange<'_>, aim: Aim<'_>, intake: &Intake, call: &Call<'_>, out: &mut Vec<u8>) {
    let buf = intake.head();
    let head = &x.scratch.head;
    out.extend_from_slice(b"POST ");
    out.extend_from_slice(aim.endpoint.base_path.trim_end_matches('/').as_bytes());
    write_path(call, out);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    field(out, b"host", host(aim.route, head, buf).unwrap_or(aim.endpoint.authority.as_bytes()));
    field(out, b"content-type", b"application/json");
    let accept: &[u8] = if call.request.stream { b"text/event-stream" } else { b"application/json" };
    field(out, b"accept", accept);
    field(out, b"accept-encoding", b"identity");
    let carried: &[&str] =
        if x.trusted { &["idempotency-key", "traceparent", "tracestate"] } else { &["idempotency-key"] };
    for name in carried {
        if let Some(value) = head.find(buf, name) {
            field(out, name.as_bytes(), value);
        }
    }
    field(out, b"x-request-id", x.record.request_id.as_bytes());
    if call.target.dialect == Dialect::Anthropic {
        field(out, b"anthropic-version", call.target.anthropic_version.header().as_bytes());
    }
    if let Some(credential) = &aim.backend.credential {
        field(out, &credential.header, &credential.value);
    }
    if let Some(form) = aim.backend.orca {
        field(out, orca::ASK, orca::wish(form));
    }
    field(out, b"content-length", itoa::Buffer::new().format(call.body_bytes).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn host<'b>(route: &Route, head: &RequestHead, buf: &'b [u8]) -> Option<&'b [u8]> {
    route.preserve_host.then(|| head.host().of(buf))
}

fn write_path(call: &Call<'_>, out: &mut Vec<u8>) {
    match call.target.dialect {
        Dialect::OpenAiChat => out.extend_from_slice(b"/v1/chat/completions"),
        Dialect::OpenAiResponses => out.extend_from_slice(b"/v1/responses"),
        Dialect::Anthropic => out.extend_from_slice(b"/v1/messages"),
        Dialect::Gemini => {
            out.extend_from_slice(b"/v1beta/models/");
            let model = call.request.model.plain();
            write_encoded(model.strip_prefix("models/").unwrap_or(&model), out);
            let verb: &[u8] =
                if call.request.stream { b":streamGenerateContent?alt=sse" } else { b":generateContent" };
            out.extend_from_slice(verb);
        }
    }
}

/// A segment of a path, percent-encoded (RFC 3986 section 2.3).
fn write_encoded(segment: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Appends a field, unless its value could end the line (H1-RS-03); then it is left out.
fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    if value.iter().any(|&byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f) {
        return;
    }
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
