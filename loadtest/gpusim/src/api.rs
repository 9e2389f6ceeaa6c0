//! The dialects a simulated server speaks: what a request asks for, and how tokens become events.
//!
//! Owns: the choice of operation by method and path, the answer under way, and the error envelopes.
//! Must not: know engines, sockets or framing.
//! Read next: `api/openai.rs`, `api/anthropic.rs`.

mod anthropic;
mod openai;

use crate::{
    bounds::OUTPUT_TOKENS_DEFAULT,
    engine::Work,
    http::Status,
    text::{Prompt, Seed},
};

/// What a method and path name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Generate(Form),
    CountTokens,
    Health,
    Models,
    Metrics,
}

/// The shape of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Chat,
    Completion,
    Message,
}

/// Finds the operation. `HEAD` is `GET` here; the server leaves the body out.
pub(crate) fn operation(method: &str, path: &str) -> Result<Operation, ApiError> {
    let (operation, by_post) = match path {
        "/v1/chat/completions" => (Operation::Generate(Form::Chat), true),
        "/v1/completions" => (Operation::Generate(Form::Completion), true),
        "/v1/messages" => (Operation::Generate(Form::Message), true),
        "/v1/messages/count_tokens" => (Operation::CountTokens, true),
        "/health" => (Operation::Health, false),
        "/v1/models" => (Operation::Models, false),
        "/metrics" => (Operation::Metrics, false),
        _ => return Err(ApiError::new(Status::NotFound, None, format!("nothing is served at {path}"))),
    };
    match method {
        "POST" if by_post => Ok(operation),
        "GET" | "HEAD" if !by_post => Ok(operation),
        _ => {
            Err(ApiError::new(Status::MethodNotAllowed, None, format!("{method} is not possible on {path}")))
        }
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

    fn bad(param: &'static str, message: impl Into<String>) -> Self {
        Self::new(Status::BadRequest, Some(param), message)
    }

    /// The envelope, in the dialect of the path.
    pub(crate) fn body(&self, path: &str) -> String {
        if path.starts_with("/v1/messages") { anthropic::error(self) } else { openai::error(self) }
    }
}

/// What a request asks for, checked.
#[derive(Debug)]
pub(crate) struct Ask {
    form: Form,
    pub(crate) stream: bool,
    /// Whether a stream ends with an event that carries only the usage.
    usage_event: bool,
    pub(crate) work: Work,
    /// Whether it ends by itself, not because of the limit.
    stops: bool,
    seed: Seed,
}

/// Reads the body of a generation for `model`.
pub(crate) fn read(form: Form, body: &[u8], model: &str) -> Result<Ask, ApiError> {
    match form {
        Form::Chat => openai::read_chat(body, model),
        Form::Completion => openai::read_completion(body, model),
        Form::Message => anthropic::read(body, model),
    }
}

/// Answers how many tokens a message request has.
pub(crate) fn count_tokens(body: &[u8], model: &str) -> Result<String, ApiError> {
    anthropic::count_tokens(body, model)
}

/// The list of models.
pub(crate) fn models(model: &str, created: u64) -> String {
    openai::models(model, created)
}

struct Wishes {
    max_tokens: Option<u64>,
    ignore_eos: bool,
    stream: bool,
    usage_event: bool,
}

impl Ask {
    fn new(form: Form, prompt: &Prompt, wishes: &Wishes) -> Self {
        let seed = prompt.seed();
        let limit = wishes.max_tokens.unwrap_or(OUTPUT_TOKENS_DEFAULT.into());
        let limit = u32::try_from(limit).unwrap_or(u32::MAX); // more than any cache holds: refused by the engine
        let natural = seed.natural_tokens();
        let stops = !wishes.ignore_eos && natural <= limit;
        Self {
            form,
            stream: wishes.stream,
            usage_event: wishes.usage_event,
            work: Work { prompt: prompt.tokens(), limit, out: if stops { natural } else { limit } },
            stops,
            seed,
        }
    }
}

/// Checks that `asked` is the model served here.
fn check_model(asked: Option<&str>, served: &str) -> Result<(), ApiError> {
    match asked {
        Some(asked) if asked == served => Ok(()),
        Some(asked) => Err(ApiError::new(
            Status::NotFound,
            Some("model"),
            format!("The model `{asked}` does not exist; `{served}` is served here."),
        )),
        None => Err(ApiError::bad("model", "you must provide a model parameter")),
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
    pub(crate) fn new(ask: Ask, model: &str, number: u64, created: u64) -> Self {
        let prefix = match ask.form {
            Form::Chat => "chatcmpl-",
            Form::Completion => "cmpl-",
            Form::Message => "msg_",
        };
        let model = serde_json::to_string(model).expect("a string is JSON");
        let meta = Meta { id: format!("{prefix}{number:024x}"), created, model };
        let opening = match ask.form {
            Form::Chat => openai::chunk_opening(&meta, "chat.completion.chunk"),
            Form::Completion => openai::chunk_opening(&meta, "text_completion"),
            Form::Message => Vec::new(),
        };
        let text = ask.seed.answer();
        Self { ask, text, emitted: 0, collected: String::new(), opening, meta }
    }

    pub(crate) fn stream(&self) -> bool {
        self.ask.stream
    }

    /// Takes one more token and appends what goes out for it: an event or a few for a stream; for a unary
    /// answer nothing until the last token, then the whole document.
    pub(crate) fn token(&mut self, last: bool, out: &mut Vec<u8>) {
        self.emitted += 1;
        if self.ask.stream {
            match self.ask.form {
                Form::Chat | Form::Completion => openai::event(self, last, out),
                Form::Message => anthropic::event(self, last, out),
            }
            return;
        }
        self.collected.push_str(self.text.next_token());
        if last {
            match self.ask.form {
                Form::Chat | Form::Completion => openai::document(self, out),
                Form::Message => anthropic::document(self, out),
            }
        }
    }

    /// Why the answer ended, in the words of the older dialect.
    pub(crate) fn stopped_by_itself(&self) -> bool {
        self.ask.stops
    }
}
