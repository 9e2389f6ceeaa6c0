//! The way there: a caller's request in the words of the backend that was chosen.
//!
//! Owns: head and body as they go up, and what is known of the backend.
//! Must not: pass a field of the caller's on that means something in its dialect, its credentials before all.
//! Read next: `crate::attempt`, which sends it; `answer.rs`.

use ringway_contract::snapshot::{Engine as Kind, Hosting};
use ringway_dialect::chat::with_usage;
use ringway_dialect::dialect::Dialect;
use ringway_dialect::homecoming::without_seals;
use ringway_dialect::json::{Edits, Surrogates, Tape, Text, Value, string};
use ringway_dialect::model::{Echo, Engine, Losses, Realm, Request, Target};
use ringway_dialect::surface::{Surface, Verb, path_model, surface, without_query};
use ringway_dialect::translate::{read_request, write_request};
use ringway_dialect::{counting, embeddings};
use ringway_wire::http1::RequestHead;
use ringway_wire::http1::query::write_without_credentials;

use super::{Form, Speaks, Translation, Vectors, of_backend};
use crate::attempt::Aim;
use crate::clock::unix_ms;
use crate::exchange::{Exchange, Stop};
use crate::hosted;
use crate::hosted::sigv4::{self, Unsigned};
use crate::intake::Intake;
use crate::observe::Short;
use crate::orca;
use crate::refusal::Refusal;
use crate::table::Route;

/// Reads the request whole and leaves it with the exchange in the backend's words. An outcome: the caller left.
///
/// # Errors
/// The caller is told what in its request cannot be read or carried over.
pub async fn prepare(x: &mut Exchange<'_>, aim: Aim<'_>, intake: &mut Intake) -> Result<(), Stop> {
    if !x.speaks.reaches(aim.backend) {
        return Err(Refusal::NotTranslated.into());
    }
    if x.has_coded_body(intake) {
        return Err(Refusal::EncodedBody.into());
    }
    x.read_rest(intake, u64::MAX).await?;
    let translation = with_body(x, aim, intake, translated)?;
    x.translation = Some(Box::new(translation));
    Ok(())
}

/// Leaves a request with the exchange as a host of models wants it, that are of the caller's own dialect.
pub async fn prepare_hosted(x: &mut Exchange<'_>, aim: Aim<'_>, intake: &mut Intake) -> Result<(), Stop> {
    if x.has_coded_body(intake) {
        return Err(Refusal::EncodedBody.into());
    }
    x.read_rest(intake, u64::MAX).await?;
    let translation = with_body(x, aim, intake, as_hosted)?;
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

/// Asks for usage in the caller's name, once, whichever endpoint the request goes to. Nothing else of the body changes.
pub fn ask_usage(x: &mut Exchange<'_>, intake: &mut Intake) -> Result<(), Stop> {
    let body: Vec<u8> = intake.pieces().collect::<Vec<_>>().concat();
    let text = std::str::from_utf8(&body).ok().filter(|_| !x.has_coded_body(intake));
    if let Some(text) = text.and_then(with_usage) {
        intake.replace(x.worker, text.as_bytes())?;
        x.hides_usage = true;
    }
    Ok(())
}

/// The same for another endpoint of the backend that a request was prepared for.
pub fn again(x: &mut Exchange<'_>, aim: Aim<'_>, intake: &Intake) -> Result<Box<Translation>, Refusal> {
    let translation = if x.speaks.is_foreign_to(aim.backend.dialect) {
        with_body(x, aim, intake, translated)?
    } else {
        with_body(x, aim, intake, as_hosted)?
    };
    Ok(Box::new(translation))
}

/// Reads the body whole, has it worded, and puts a head in front.
fn with_body(
    x: &mut Exchange<'_>,
    aim: Aim<'_>,
    intake: &Intake,
    word: impl FnOnce(&Asked<'_>, Speaks, &Target, &mut Losses) -> Result<Words, Refusal>,
) -> Result<Translation, Refusal> {
    let bytes: Vec<u8> = intake.pieces().collect::<Vec<_>>().concat();
    let bad = |what: &str| Refusal::BadJson { what: what.to_owned().into() };
    let text = std::str::from_utf8(&bytes).map_err(|_| bad("it is not UTF-8"))?;
    let mut tape = Tape::new();
    let body = tape
        .read(text, Surrogates::Refuse)
        .map_err(|fault| bad(&format!("{} at byte {}", fault.what, fault.at)))?;
    let path = x.scratch.head.target().of(intake.head());
    let named = path_model(path).and_then(|name| String::from_utf8(name.into_owned()).ok());
    let asked = Asked { text, body, path, named: named.as_deref(), aim };
    let upstream = of_backend(aim.backend.dialect).ok_or(Refusal::NotTranslated)?;
    let target = target_of(aim, upstream);
    let mut losses = Losses::new();
    let mut words = word(&asked, x.speaks, &target, &mut losses)?;
    if aim.route.strict {
        losses.strictly().map_err(Refusal::untranslatable)?;
    }
    if let Some(hosting) = &aim.backend.hosting {
        move_in(x, hosting, upstream, intake, &mut words);
    }
    let composed = composed(x, aim, intake, &target, &words);
    let Words { caller, mut echo, form, .. } = words;
    echo.stream_usage &= !x.hides_usage;
    echo.now = unix_ms() / 1_000;
    echo.id = String::from_utf8_lossy(x.own_id()).into_owned();
    if x.record.model.as_bytes().is_empty() {
        x.record.model = Short::new(echo.model.as_bytes());
    }
    Ok(Translation { composed, caller, upstream, realm: target.realm, echo, losses, form })
}

/// In the words of another dialect.
fn translated(
    asked: &Asked<'_>,
    speaks: Speaks,
    target: &Target,
    losses: &mut Losses,
) -> Result<Words, Refusal> {
    match speaks {
        Speaks::Calls(caller) => call(asked, caller, target, losses),
        Speaks::Embeds(caller) => embedding(asked, caller, target, losses),
        Speaks::Counts(caller) => count(asked, caller, target, losses),
        Speaks::Beside(_) | Speaks::Completes | Speaks::Anything => Err(Refusal::NotTranslated),
    }
}

/// In its own words, for a host of the models that speak them.
fn as_hosted(
    asked: &Asked<'_>,
    speaks: Speaks,
    target: &Target,
    _losses: &mut Losses,
) -> Result<Words, Refusal> {
    let stream = match surface(asked.path) {
        Surface::Generate { verb, .. } => verb == Verb::StreamGenerate,
        _ => asked.body.get("stream").and_then(|stream| stream.truth()) == Some(true),
    };
    let verb = speaks.verb(stream).ok_or(Refusal::NotTranslated)?;
    if let Some(twice) = asked.body.duplicate() {
        // Its host might read the other one (dialects section 1.6).
        return Err(Refusal::BadJson { what: format!("the key {:?} comes twice", twice.plain()).into() });
    }
    let written = asked.body.get("model");
    let model =
        asked.named.map(Text::of).or_else(|| written.and_then(|model| model.text())).unwrap_or_default();
    let echo = Echo { model: model.plain().into_owned(), ..Echo::default() };
    let model = asked.renamed(model)?;
    let mut edits = Edits::default();
    if let (Some(_), Some(written)) = (&asked.aim.target.model, written) {
        let mut name = Vec::new();
        string(&mut name, &model.plain());
        edits.put(written.range(), String::from_utf8(name).expect("a JSON string is text"));
    }
    let body = edits.apply(asked.text).map_or_else(|| asked.text.as_bytes().to_vec(), String::into_bytes);
    // What their own providers make of their answers is what their hosts make of them, but not so for Anthropic's.
    let form = match target.dialect {
        Dialect::Anthropic => Form::Verbatim { stream },
        Dialect::OpenAiChat | Dialect::OpenAiResponses | Dialect::Gemini => Form::Native,
    };
    let path = match asked.named {
        Some(_) => gemini_path(asked, &model),
        None => without_query(asked.path).to_vec(),
    };
    Ok(Words { verb, model: model.plain().into_owned(), path, body, caller: target.dialect, echo, form })
}

/// The path that names a model, with its query less the caller's key.
fn gemini_path(asked: &Asked<'_>, model: &Text<'_>) -> Vec<u8> {
    let path = without_query(asked.path);
    let verb = path.iter().rposition(|&byte| byte == b':').map_or(&b""[..], |at| &path[at + 1..]);
    let mut path = path_of(None, model, &String::from_utf8_lossy(verb));
    if let Some(query) = asked.path.get(without_query(asked.path).len() + 1..) {
        path.push(b'?');
        if !write_without_credentials(&mut path, query) {
            path.pop();
        }
    }
    path
}

/// Puts a request where its host wants it.
fn move_in(x: &Exchange<'_>, hosting: &Hosting, dialect: Dialect, intake: &Intake, words: &mut Words) {
    let asked = hosted::Asked { verb: words.verb, dialect, model: &words.model, path: &words.path };
    let path = hosted::path(hosting, &asked);
    let said = |name| x.scratch.head.find(intake.head(), name).filter(|_| words.form.is_verbatim());
    let fields = hosted::Fields { version: said("anthropic-version"), betas: said("anthropic-beta") };
    let text = std::str::from_utf8(&words.body).expect("what is written is text");
    if let Some(body) = hosted::body(hosting, &asked, &fields, text) {
        words.body = body.into_bytes();
    }
    words.path = path;
}

/// What came from the caller, and what it is called where it goes.
struct Asked<'a> {
    text: &'a str,
    body: Value<'a>,
    path: &'a [u8],
    /// The model that the path names: Gemini's do.
    named: Option<&'a str>,
    aim: Aim<'a>,
}

impl Asked<'_> {
    /// What the model is called where the request goes.
    fn renamed<'t>(&self, model: Text<'t>) -> Result<Text<'t>, Refusal> {
        if model.is_empty() {
            return Err(Refusal::ModelMissing);
        }
        match self.aim.target.model_there(model.plain().as_bytes(), self.aim.route) {
            Some(there) => Ok(Text::of(&there).into_owned()),
            None => Ok(model),
        }
    }
}

/// A request in the backend's words, and what its answer has to know.
struct Words {
    verb: hosted::Verb,
    /// What the model is called where it goes.
    model: String,
    /// Behind the base path.
    path: Vec<u8>,
    body: Vec<u8>,
    caller: Dialect,
    echo: Echo,
    form: Form,
}

/// A call of a model.
fn call(asked: &Asked<'_>, caller: Dialect, target: &Target, losses: &mut Losses) -> Result<Words, Refusal> {
    let mut request = read_request(caller, asked.body, losses).map_err(Refusal::untranslatable)?;
    let form = form_of(&mut request, asked);
    let echo = Echo::of(&request, target.dialect);
    request.model = asked.renamed(request.model)?;
    let mut body = Vec::new();
    write_request(&request, target, losses, &mut body).map_err(Refusal::untranslatable)?;
    let verb = if request.stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
    let path = path_of(target.dialect.path(), &request.model, verb);
    let (verb, model) = (hosted::Verb::Call { stream: request.stream }, request.model.plain().into_owned());
    Ok(Words { verb, model, path, body, caller, echo, form })
}

/// Vectors for texts.
fn embedding(
    asked: &Asked<'_>,
    caller: Dialect,
    target: &Target,
    losses: &mut Losses,
) -> Result<Words, Refusal> {
    let read = match caller {
        Dialect::Gemini => embeddings::read_gemini(asked.body, asked.named.unwrap_or_default(), losses),
        _ => embeddings::read_openai(asked.body, losses),
    };
    let mut ask = read.map_err(Refusal::untranslatable)?;
    let echo = Echo { model: ask.model.plain().into_owned(), ..Echo::default() };
    ask.model = asked.renamed(ask.model)?;
    let mut body = Vec::new();
    let own_path = if target.dialect == Dialect::Gemini {
        embeddings::write_gemini(&ask, losses, &mut body).map_err(Refusal::untranslatable)?;
        None
    } else {
        embeddings::write_openai(&ask, losses, &mut body);
        Some("/v1/embeddings")
    };
    let form = Form::Vectors(Vectors { count: ask.inputs.len(), single: ask.single, base64: ask.base64 });
    let (path, model) = (path_of(own_path, &ask.model, "batchEmbedContents"), ask.model.plain().into_owned());
    Ok(Words { verb: hosted::Verb::Embed, model, path, body, caller, echo, form })
}

/// The length of a prompt: the same request, less what does not count.
fn count(asked: &Asked<'_>, caller: Dialect, target: &Target, losses: &mut Losses) -> Result<Words, Refusal> {
    let inner = if caller == Dialect::Gemini { counting::gemini_request(asked.body) } else { asked.body };
    let mut request = read_request(caller, inner, losses).map_err(Refusal::untranslatable)?;
    if let Some(model) = asked.named {
        request.model = Text::of(model);
    }
    let echo = Echo::of(&request, target.dialect);
    request.model = asked.renamed(request.model)?;
    let mut whole = Vec::new();
    write_request(&request, target, losses, &mut whole).map_err(Refusal::untranslatable)?;
    let mut body = Vec::with_capacity(whole.len());
    std::str::from_utf8(&whole)
        .ok()
        .and_then(|whole| counting::write_ask(target.dialect, &request.model.plain(), whole, &mut body).ok())
        .expect("a written request is JSON");
    let path = path_of(counting::path(target.dialect), &request.model, "countTokens");
    let model = request.model.plain().into_owned();
    Ok(Words { verb: hosted::Verb::Count, model, path, body, caller, echo, form: Form::Count })
}

const JSON: &[u8] = b"application/json";

/// About what a head takes. A hint.
const HEAD_BYTES: usize = 512;

/// How the caller wants to be answered. Gemini says in its path which model is meant and whether it streams.
fn form_of<'a>(request: &mut Request<'a>, asked: &Asked<'a>) -> Form {
    if let Surface::Generate { verb, .. } = surface(asked.path) {
        request.stream = verb == Verb::StreamGenerate;
        request.stream_usage = true;
        if let Some(model) = asked.named {
            request.model = Text::of(model);
        }
        if request.stream && !asks_for_events(asked.path) {
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
fn target_of(aim: Aim<'_>, dialect: Dialect) -> Target {
    let backend = aim.backend;
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
    let capabilities = aim.known.map_or(target.capabilities, |known| known.capabilities(dialect));
    Target { realm: Realm::of(backend.name.as_str(), "", ""), capabilities, ..target }
}

/// Head and body, as they are sent. The head is our own: what a caller's fields mean, they mean in its dialect.
fn composed(x: &Exchange<'_>, aim: Aim<'_>, intake: &Intake, target: &Target, words: &Words) -> Vec<u8> {
    let mut composed = Vec::with_capacity(HEAD_BYTES + words.body.len());
    let out = &mut composed;
    let buf = intake.head();
    let head = &x.scratch.head;
    out.extend_from_slice(b"POST ");
    out.extend_from_slice(aim.endpoint.base_path.trim_end_matches('/').as_bytes());
    out.extend_from_slice(&words.path);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    // A host of models knows itself by its own name alone.
    let host = host(aim.route, head, buf).filter(|_| aim.backend.hosting.is_none());
    let host = host.unwrap_or(aim.endpoint.authority.as_bytes());
    field(out, b"host", host);
    field(out, b"content-type", JSON);
    let accept: &[u8] = if words.form.is_stream() { b"text/event-stream" } else { b"application/json" };
    field(out, b"accept", accept);
    field(out, b"accept-encoding", b"identity");
    let carried: &[&str] =
        if x.trusted { &["idempotency-key", "traceparent", "tracestate"] } else { &["idempotency-key"] };
    for name in carried {
        if let Some(value) = head.find(buf, name) {
            field(out, name.as_bytes(), value);
        }
    }
    if words.form.is_verbatim() {
        for name in ["anthropic-beta", "openai-beta", "user-agent"] {
            if let Some(value) = head.find(buf, name) {
                field(out, name.as_bytes(), value);
            }
        }
    }
    field(out, b"x-request-id", x.record.request_id.as_bytes());
    if target.dialect == Dialect::Anthropic && aim.backend.hosting.is_none() {
        field(out, b"anthropic-version", target.anthropic_version.header().as_bytes());
    }
    if let Some(credential) = &aim.backend.credential {
        field(out, &credential.header, &credential.value);
    }
    if let Some(Hosting::Bedrock { region, key: Some(key) }) = &aim.backend.hosting {
        let base = aim.endpoint.base_path.trim_end_matches('/').as_bytes();
        let path = [base, &words.path].concat();
        let unsigned = Unsigned { method: "POST", path: &path, host, content_type: JSON, body: &words.body };
        let proof = sigv4::sign(&unsigned, key, region, "bedrock", unix_ms());
        field(out, b"x-amz-date", proof.date.as_bytes());
        if let Some(token) = &key.session_token {
            field(out, b"x-amz-security-token", token.as_bytes());
        }
        field(out, b"authorization", proof.authorization.as_bytes());
    }
    if let Some(form) = aim.backend.orca {
        field(out, orca::ASK, orca::wish(form));
    }
    field(out, b"content-length", itoa::Buffer::new().format(words.body.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&words.body);
    composed
}

fn host<'b>(route: &Route, head: &RequestHead, buf: &'b [u8]) -> Option<&'b [u8]> {
    route.preserve_host.then(|| head.host().of(buf))
}

/// The dialect's own path, or for Gemini that of a model's verb.
fn path_of(own: Option<&str>, model: &Text<'_>, verb: &str) -> Vec<u8> {
    if let Some(own) = own {
        return own.as_bytes().to_vec();
    }
    let mut path = b"/v1beta/models/".to_vec();
    let model = model.plain();
    hosted::write_segment(model.strip_prefix("models/").unwrap_or(&model), &mut path);
    path.push(b':');
    path.extend_from_slice(verb.as_bytes());
    path
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
