//! What a run is: where to, how much, of what, and for how long. Every default is filled in here.
//!
//! Owns: the target's URL, the bytes of each request, and what its answer is measured against.
//! Must not: send anything.
//! Read next: `scenario/file.rs` (as YAML), `client.rs`, which sends it; `oracle.rs`, which judges the answers.

pub mod file;

use std::{
    fmt::Write as _,
    net::{SocketAddr, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

use ringway_gpusim::{bounds::TOKEN_BYTES, text::Prompt};
use serde::Serialize;

use crate::{
    arrival::Arrival,
    lengths::Lengths,
    oracle::Wanted,
    prompts::{Conversation, Message, Prompter, Prompts, Said},
};

/// One run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Where requests go.
    pub target: Target,
    /// How they are paced.
    pub load: Load,
    /// How long requests are sent; `None` for as long as `requests` takes.
    pub duration: Option<Duration>,
    /// How many are sent; `None` for as many as fit the duration.
    pub requests: Option<u64>,
    /// What they ask for.
    pub ask: Ask,
    /// Further header fields, each `(name, value)`.
    pub headers: Vec<(String, String)>,
    /// A request that is refused with a `retry-after` comes back once, when that says.
    pub obedient: bool,
    /// An exchange that takes longer has failed.
    pub timeout: Duration,
    /// Connections at most.
    pub connections: usize,
    /// Decides arrival times and prompts.
    pub seed: u64,
    /// What an answer has to keep to be counted as good.
    pub slo: Slo,
}

/// An objective for one answer. As in vLLM's benchmark, an answer is good if it keeps every part that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Slo {
    /// Until the first token.
    pub ttft: Option<Duration>,
    /// Mean time per token after the first; an answer of one token keeps any.
    pub tpot: Option<Duration>,
    /// Until the last token.
    pub e2el: Option<Duration>,
}

/// How requests are paced.
#[derive(Debug, Clone, PartialEq)]
pub enum Load {
    /// By an absolute schedule, whatever the target does.
    Open {
        /// Requests per second.
        rate: f64,
        /// How they are spread.
        arrival: Arrival,
    },
    /// So many at a time, each sent when one has ended.
    Closed {
        /// Exchanges under way.
        concurrency: usize,
    },
    /// At these times since the start, in order.
    Given(Arc<[Duration]>),
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Tokens from a model.
    Tokens(Generation),
    /// Whatever a plain HTTP server has.
    Raw(Raw),
}

/// A request for tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// Which API, as the path says.
    pub form: Form,
    /// The model's name.
    pub model: String,
    /// Whether the answer comes as events.
    pub stream: bool,
    /// What is said.
    pub prompts: Prompts,
    /// The limit of each answer, where the prompts do not bring one.
    pub output: Lengths,
    /// Asks inference servers to use up the limit.
    pub ignore_eos: bool,
    /// What the answer's text is compared with.
    pub expect: Expect,
}

/// The API of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completion,
}

/// Whose text is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// A simulated server's, where the answer says that it comes from one.
    Auto,
    /// A simulated server's: the exact text, one token per event, exact prompt tokens.
    Sim,
    /// Anybody's: usage and text only have to be possible.
    Any,
}

/// A request to a plain HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// The method.
    pub method: String,
    /// Bytes of the request body; 0 for none.
    pub body_bytes: usize,
    /// Length the answer's body must have.
    pub expect_length: Option<u64>,
    /// XXH3 (64 bits) the answer's body must have.
    pub expect_hash: Option<u64>,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As given.
    pub url: String,
    /// Resolved once, before the run.
    pub address: SocketAddr,
    /// The value of `host`.
    pub authority: String,
    /// Path and query; `/` if the URL has none.
    pub path: String,
}

/// Why a URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadUrl {
    /// TLS is not there yet.
    #[error("https is not supported yet; use an http:// URL")]
    Https,
    /// Not `http://host[:port][/path]`.
    #[error("`{0}` is not a URL like http://127.0.0.1:8080/v1/chat/completions")]
    Malformed(String),
    /// The name does not resolve.
    #[error("cannot resolve {0}: {1}")]
    Unresolved(String, std::io::Error),
}

impl Target {
    /// Reads and resolves `http://host[:port][/path]`.
    pub fn parse(url: &str) -> Result<Self, BadUrl> {
        if url.starts_with("https://") {
            return Err(BadUrl::Https);
        }
        let malformed = || BadUrl::Malformed(url.to_owned());
        let rest = url.strip_prefix("http://").ok_or_else(malformed)?;
        let rest = rest.split('#').next().unwrap_or(rest);
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) if rest[at..].starts_with('?') => (&rest[..at], format!("/{}", &rest[at..])),
            Some(at) => (&rest[..at], rest[at..].to_owned()),
            None => (rest, "/".to_owned()),
        };
        let sane = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.is_empty() || authority.contains('@') || !sane(authority) || !sane(&path) {
            return Err(malformed());
        }
        let has_port = authority.rsplit(']').next().is_some_and(|tail| tail.contains(':'));
        let dial = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        let mut found = dial.to_socket_addrs().map_err(|error| BadUrl::Unresolved(dial.clone(), error))?;
        let address = found.next().ok_or_else(malformed)?;
        Ok(Self { url: url.to_owned(), address, authority: authority.to_owned(), path })
    }
}

/// The bytes of one request, and what its answer is compared with.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    /// Nothing for a raw target: its answers are all the same.
    pub(crate) wanted: Option<Wanted>,
    /// Where it was said, if it goes on.
    pub(crate) conversation: Option<Conversation>,
}

/// Makes the requests of a run.
#[derive(Debug)]
pub(crate) struct Writer {
    head: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Raw(Vec<u8>),
    Tokens(Box<Tokens>),
}

#[derive(Debug)]
struct Tokens {
    generation: Generation,
    /// The model's name as a JSON string.
    model: String,
    prompter: Prompter,
}

const INFALLIBLE: &str = "writing to memory cannot fail";

impl Writer {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let Target { authority, path, .. } = &scenario.target;
        let method = match &scenario.ask {
            Ask::Tokens(_) => "POST",
            Ask::Raw(raw) => raw.method.as_str(),
        };
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: ringload\r\n");
        if matches!(scenario.ask, Ask::Tokens(_)) {
            head.push_str("content-type: application/json\r\naccept: */*\r\n");
        }
        for (name, value) in &scenario.headers {
            write!(head, "{name}: {value}\r\n").expect(INFALLIBLE);
        }
        let content = match &scenario.ask {
            Ask::Raw(raw) => Content::Raw((0..raw.body_bytes).map(|at| b'a' + (at % 26) as u8).collect()),
            Ask::Tokens(generation) => Content::Tokens(Box::new(Tokens {
                generation: generation.clone(),
                model: json_string(&generation.model),
                prompter: Prompter::new(generation.prompts.clone(), scenario.seed),
            })),
        };
        Self { head, content }
    }

    /// Writes request `number`, which begins a conversation or stands alone.
    pub(crate) fn write(&self, number: u64) -> Request {
        match &self.content {
            Content::Raw(body) => {
                let mut bytes = self.head.clone().into_bytes();
                if body.is_empty() {
                    bytes.extend_from_slice(b"\r\n");
                } else {
                    push_body(&mut bytes, body);
                }
                Request { bytes, wanted: None, conversation: None }
            }
            Content::Tokens(tokens) => {
                let mut random = tokens.prompter.random(number);
                let said = tokens.prompter.begin(number, &mut random);
                let limit = said.own.output.unwrap_or_else(|| tokens.generation.output.draw(&mut random));
                self.generation(tokens, said, limit)
            }
        }
    }

    /// How long after it was due the caller of request `number` leaves.
    pub(crate) fn leaves(&self, number: u64) -> Option<Duration> {
        match &self.content {
            Content::Raw(_) => None,
            Content::Tokens(tokens) => tokens.prompter.leaves(number),
        }
    }

    /// Writes what follows an answer in its conversation, and how long to wait with it; `None` if it is over.
    pub(crate) fn go_on(
        &self,
        number: u64,
        conversation: Conversation,
        answer: String,
    ) -> Option<(Duration, Request)> {
        let Content::Tokens(tokens) = &self.content else { return None };
        let mut random = tokens.prompter.random(number ^ u64::MAX);
        let said = tokens.prompter.go_on(conversation, answer, &mut random)?;
        let think = Duration::from_millis(tokens.prompter.think_ms(&mut random).into());
        let limit = tokens.generation.output.draw(&mut random);
        Some((think, self.generation(tokens, said, limit)))
    }

    fn generation(&self, tokens: &Tokens, said: Said, max_tokens: u32) -> Request {
        let generation = &tokens.generation;
        let mut prompt = Prompt::default();
        let mut length = 0;
        for message in &said.messages {
            prompt.push(&message.text);
            length += message.text.len();
        }
        let own_model = said.own.model.as_ref().map(|model| json_string(model));
        let model = own_model.as_ref().unwrap_or(&tokens.model);
        let body = generation_body(generation, model, &said.messages, max_tokens);
        let mut bytes = Vec::with_capacity(self.head.len() + body.len() + 64);
        bytes.extend_from_slice(self.head.as_bytes());
        for (name, value) in &said.own.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        push_body(&mut bytes, body.as_bytes());
        let wanted = Wanted {
            form: generation.form,
            stream: generation.stream,
            expect: generation.expect,
            prompt_tokens: length.div_ceil(TOKEN_BYTES).max(1) as u64,
            max_tokens,
            seed: prompt.seed(),
        };
        Request { bytes, wanted: Some(wanted), conversation: said.conversation }
    }
}

fn json_string(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

fn push_body(bytes: &mut Vec<u8>, body: &[u8]) {
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
}

fn generation_body(generation: &Generation, model: &str, messages: &[Message], max_tokens: u32) -> String {
    let text: usize = messages.iter().map(|message| message.text.len() + 48).sum();
    let mut body = String::with_capacity(text + 256);
    write!(body, r#"{{"model":{model},"#).expect(INFALLIBLE);
    match generation.form {
        Form::Chat => {
            body.push_str(r#""messages":["#);
            for (at, Message { role, text }) in messages.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                write!(body, r#"{comma}{{"role":"{role}","content":"#).expect(INFALLIBLE);
                push_string(&mut body, text);
                body.push('}');
            }
            body.push(']');
        }
        Form::Completion => {
            body.push_str(r#""prompt":"#);
            let whole: String = messages.iter().map(|message| message.text.as_str()).collect();
            push_string(&mut body, &whole);
        }
    }
    write!(body, r#","max_tokens":{max_tokens}"#).expect(INFALLIBLE);
    if generation.ignore_eos {
        body.push_str(r#","ignore_eos":true"#);
    }
    if generation.stream {
        body.push_str(r#","stream":true,"stream_options":{"include_usage":true}"#);
    }
    body.push('}');
    body
}

/// Our own prompts need no escape; an answer that is sent back may.
fn push_string(body: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        body.push('"');
        body.push_str(text);
        body.push('"');
    } else {
        body.push_str(&serde_json::to_string(text).expect("a string is JSON"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_with_and_without_port_path_and_query() {
        let cases = [
            ("http://127.0.0.1:81", "127.0.0.1:81", "/"),
            ("http://127.0.0.1/a/b?c=d#e", "127.0.0.1:80", "/a/b?c=d"),
            ("http://127.0.0.1?x", "127.0.0.1:80", "/?x"),
            ("http://[::1]:9/z", "[::1]:9", "/z"),
            ("http://[::1]", "[::1]:80", "/"),
        ];
        for (url, address, path) in cases {
            let target = Target::parse(url).expect(url);
            assert_eq!((target.address.to_string().as_str(), target.path.as_str()), (address, path));
        }
        for url in ["ftp://x", "http://", "http://a b/", "http://u@h/", "127.0.0.1:80", "https://127.0.0.1"] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }

    fn writer(prompt_tokens: u32) -> Writer {
        Writer::new(&Scenario {
            target: Target::parse("http://127.0.0.1:1/v1/chat/completions").expect("a URL"),
            load: Load::Closed { concurrency: 1 },
            duration: None,
            requests: Some(1),
            ask: Ask::Tokens(Generation {
                form: Form::Chat,
                model: "de\"mo".into(),
                stream: true,
                prompts: Prompts::Unique { tokens: Lengths::Exactly(prompt_tokens) },
                output: Lengths::Exactly(5),
                ignore_eos: true,
                expect: Expect::Auto,
            }),
            headers: vec![("x-test".into(), "1".into())],
            obedient: false,
            timeout: Duration::from_secs(1),
            connections: 1,
            seed: 1,
            slo: Slo::default(),
        })
    }

    #[test]
    fn a_request_announces_the_length_of_a_body_that_is_json_with_a_prompt_as_long_as_asked() {
        for prompt_tokens in [1, 3, 16, 1_000] {
            let request = writer(prompt_tokens).write(12);
            let text = String::from_utf8(request.bytes).expect("ASCII");
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            assert!(head.contains("\r\nx-test: 1\r\n"));
            assert!(head.ends_with(&format!("content-length: {}", body.len())));
            let json: serde_json::Value = serde_json::from_str(body).expect("JSON");
            assert_eq!(json["model"], "de\"mo");
            let prompt = json["messages"][0]["content"].as_str().expect("a prompt");
            assert_eq!(prompt.len(), prompt_tokens as usize * 4);
            let wanted = request.wanted.expect("a generation");
            assert_eq!(wanted.seed, ringway_gpusim::text::Seed::of(prompt));
            assert_eq!(wanted.prompt_tokens, u64::from(prompt_tokens));
        }
    }
}
