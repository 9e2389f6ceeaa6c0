//! The dialects a simulated server speaks: what a request asks for, and how tokens become events.
//!
//! Owns: the choice of operation by method and path, the answer under way, and the error envelopes.
//! Must not: know engines, sockets or framing.
//! Read next: `api/openai.rs`, `api/anthropic.rs`, `api/gemini.rs`.

mod anthropic;
mod gemini;
mod openai;

use crate::{
    bounds::OUTPUT_TOKENS_DEFAULT,
    engine::Work,
    http::{Request, Status},
    lora::Adapter,
    prefix::Root,
    text::{Prompt, Seed},
};

/// What a method and path name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Generate(Form),
    CountTokens(Form),
    Health,
    Models(Form),
    Metrics,
    /// Where one engine has its metrics instead.
    PrometheusMetrics,
}

/// The shape of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Chat,
    Completion,
    Message,
    /// Gemini's, in one piece, as events, or as an array that grows.
    Content,
    ContentEvents,
    ContentArray,
}

/// Finds the operation. `HEAD` is `GET` here; the server leaves the body out.
pub(crate) fn operation(method: &str, path: &str, query: &str) -> Result<Operation, ApiError> {
    let (operation, by_post) = match path {
        "/v1/chat/completions" => (Operation::Generate(Form::Chat), true),
        "/v1/completions" => (Operation::Generate(Form::Completion), true),
        "/v1/messages" => (Operation::Generate(Form::Message), true),
        "/v1/messages/count_tokens" => (Operation::CountTokens(Form::Message), true),
        "/health" => (Operation::Health, false),
        "/v1/models" => (Operation::Models(Form::Chat), false),
        "/v1beta/models" => (Operation::Models(Form::Content), false),
        "/metrics" => (Operation::Metrics, false),
        "/prometheus/metrics" => (Operation::PrometheusMetrics, false),
        _ => match gemini::operation(path, query) {
            Some((operation, _)) => (operation, true),
            None => return Err(ApiError::not_found(path)),
        },
    };
    match method {
        "POST" if by_post => Ok(operation),
        "GET" | "HEAD" if !by_post => Ok(operation),
        _ => {
            Err(ApiError::new(Status::MethodNotAllowed, None, format!("{method} is not possible on {path}")))
        }
    }
}

/// The models of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served<'a> {
    pub(crate) model: &'a str,
    pub(crate) adapters: &'a [String],
}

/// The model a request named: the one served, or an adapter of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named(Option<Adapter>);

impl Served<'_> {
    fn find(&self, asked: Option<&str>) -> Result<Named, ApiError> {
        let Some(asked) = asked else {
            return Err(ApiError::bad("model", "you must provide a model parameter"));
        };
        if asked == self.model {
            return Ok(Named(None));
        }
        if let Some(at) = self.adapters.iter().position(|adapter| adapter == asked) {
            return Ok(Named(u16::try_from(at).ok().map(Adapter)));
        }
        Err(ApiError::new(
            Status::NotFound,
            Some("model"),
            format!("The model `{asked}` does not exist; `{}` is served here.", self.model),
        ))
    }
}

impl Named {
    /// The name it goes by.
    fn name<'a>(self, served: &Served<'a>) -> &'a str {
        let adapter = self.0.and_then(|adapter| served.adapters.get(usize::from(adapter.0)));
        adapter.map_or(served.model, String::as_str)
    }

    /// Where the blocks of its prompts begin.
    fn root(self, served: &Served<'_>, salt: Option<&str>) -> Root {
        let adapter = self.0.map(|_| self.name(served));
        Root::of(served.model, adapter, salt)
    }
}

/// Why a request is not answered with tokens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: Status,
    /// The field at fault.
    param: Option<&'static str>,
    message: String,
}

impl ApiError {
    pub(crate) fn new(status: Status, param: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, param, message: message.into() }
    }

    pub(crate) fn not_found(path: &str) -> Self {
        Self::new(Status::NotFound, None, format!("nothing is served at {path}"))
    }

    fn bad(param: &'static str, message: impl Into<String>) -> Self {
        Self::new(Status::BadRequest, Some(param), message)
    }

    /// The envelope, in the dialect of the path.
    pub(crate) fn body(&self, path: &str) -> String {
        if path.starts_with("/v1/messages") {
            anthropic::error(self)
        } else if gemini::is_path(path) {
            gemini::error(self)
        } else {
            openai::error(self)
        }
    }
}

/// What a request asks for, checked.
#[derive(Debug)]
pub(crate) struct Ask {
    form: Form,
    named: Named,
    pub(crate) stream: bool,
    /// Whether a stream ends with an event that carries only the usage.
    usage_event: bool,
    pub(crate) work: Work,
    seed: Seed,
}

/// Reads a generation.
pub(crate) fn read(form: Form, request: &Request, served: &Served<'_>) -> Result<Ask, ApiError> {
    match form {
        Form::Chat => openai::read_chat(&request.body, served),
        Form::Completion => openai::read_completion(&request.body, served),
        Form::Message => anthropic::read(&request.body, served),
        Form::Content | Form::ContentEvents | Form::ContentArray => {
            gemini::read(form, &request.body, gemini_model(request), served)
        }
    }
}

/// Answers how many tokens a request has.
pub(crate) fn count_tokens(form: Form, request: &Request, served: &Served<'_>) -> Result<String, ApiError> {
    match form {
        Form::Message => anthropic::count_tokens(&request.body, served),
        Form::Chat | Form::Completion | Form::Content | Form::ContentEvents | Form::ContentArray => {
            gemini::count_tokens(&request.body, gemini_model(request), served)
        }
    }
}

fn gemini_model(request: &Request) -> &str {
    gemini::operation(&request.path, "").map_or("", |(_, model)| model)
}

/// The list of models.
pub(crate) fn models(form: Form, served: &Served<'_>, created: u64) -> String {
    if form == Form::Content { gemini::models(served) } else { openai::models(served, created) }
}

struct Wishes {
    max_tokens: Option<u64>,
    ignore_eos: bool,
    stream: bool,
    usage_event: bool,
}

impl Ask {
    fn new(form: Form, named: Named, prompt: Prompt, wishes: &Wishes) -> Self {
        let seed = prompt.seed();
        let limit = wishes.max_tokens.unwrap_or(OUTPUT_TOKENS_DEFAULT.into());
        let limit = u32::try_from(limit).unwrap_or(u32::MAX); // more than any cache holds: refused by the engine
        let natural = seed.natural_tokens();
        let stops = !wishes.ignore_eos && natural <= limit;
        let work = Work {
            prompt: prompt.tokens(),
            limit,
            out: if stops { natural } else { limit },
            stops,
            adapter: named.0,
            prefix: prompt.prefix(),
        };
        Self { form, named, stream: wishes.stream, usage_event: wishes.usage_event, work, seed }
    }

    /// Takes out what the engine needs to know; the rest of the answer only needs the counts.
    pub(crate) fn take_work(&mut self) -> Work {
        let counts = Work { prefix: crate::prefix::Prefix::default(), ..self.work };
        std::mem::replace(&mut self.work, counts)
    }
}

fn json_error(error: &serde_json::Error) -> ApiError {
    ApiError::new(Status::BadRequest, None, format!("the body is not the JSON expected here: {error}"))
}

/// An answer under way: tokens in, events or one JSON document out.
#[derive(Debug)]
pub(crate) struct Answer {
    ask: Ask,
    text: crate::text::Answer,
    emitted: u32,
    /// Prompt tokens that were found in the cache.
    pub(crate) cached: u32,
    /// The text so far, for a unary answer.
    collected: String,
    /// Everything of an event up to its token, written once.
    opening: Vec<u8>,
    meta: Meta,
}

#[derive(Debug)]
struct Meta {
    id: String,
    created: u64,
    /// The model name as a JSON string.
    model: String,
}

impl Answer {
    /// Begins an answer named by `number`.
    pub(crate) fn new(ask: Ask, served: &Served<'_>, number: u64, created: u64) -> Self {
        let prefix = match ask.form {
            Form::Chat => "chatcmpl-",
            Form::Completion => "cmpl-",
            Form::Message => "msg_",
            Form::Content | Form::ContentEvents | Form::ContentArray => "",
        };
        let model = serde_json::to_string(ask.named.name(served)).expect("a string is JSON");
        let meta = Meta { id: format!("{prefix}{number:024x}"), created, model };
        let opening = match ask.form {
            Form::Chat => openai::chunk_opening(&meta, "chat.completion.chunk"),
            Form::Completion => openai::chunk_opening(&meta, "text_completion"),
            Form::Message | Form::Content | Form::ContentEvents | Form::ContentArray => Vec::new(),
        };
        let text = ask.seed.answer();
        Self { ask, text, emitted: 0, cached: 0, collected: String::new(), opening, meta }
    }

    pub(crate) fn stream(&self) -> bool {
        self.ask.stream
    }

    /// The media type of the answer.
    pub(crate) fn content_type(&self) -> &'static str {
        if self.ask.stream && self.ask.form != Form::ContentArray {
            "text/event-stream"
        } else {
            "application/json"
        }
    }

    /// Takes one more token and appends what goes out for it: an event or a few for a stream; for a unary
    /// answer nothing until the last token, then the whole document.
    pub(crate) fn token(&mut self, last: bool, out: &mut Vec<u8>) {
        self.emitted += 1;
        if self.ask.stream {
            match self.ask.form {
                Form::Chat | Form::Completion => openai::event(self, last, out),
                Form::Message => anthropic::event(self, last, out),
                Form::Content | Form::ContentEvents | Form::ContentArray => gemini::event(self, last, out),
            }
            return;
        }
        self.collected.push_str(self.text.next_token());
        if last {
            match self.ask.form {
                Form::Chat | Form::Completion => openai::document(self, out),
                Form::Message => anthropic::document(self, out),
                Form::Content | Form::ContentEvents | Form::ContentArray => gemini::document(self, out),
            }
        }
    }
}
