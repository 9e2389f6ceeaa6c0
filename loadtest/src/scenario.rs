//! What a run is: where to, how much, of what, and for how long. Every default is filled in here.
//!
//! Owns: the target's URL, the bytes of each request, and what its answer is measured against.
//! Must not: send anything.
//! Read next: `client.rs`, which sends it; `oracle.rs`, which judges the answers.

use std::{
    fmt::Write as _,
    net::{SocketAddr, ToSocketAddrs as _},
    time::Duration,
};

use ringway_gpusim::text::Seed;

use crate::arrival::Arrival;

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
    /// An exchange that takes longer has failed.
    pub timeout: Duration,
    /// Connections at most.
    pub connections: usize,
    /// Decides arrival times and prompts.
    pub seed: u64,
}

/// How requests are paced.
#[derive(Debug, Clone, Copy, PartialEq)]
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
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Tokens from a model.
    Tokens(Generation),
    /// Whatever a plain HTTP server has.
    Raw(Raw),
}

/// A request for tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Which API, as the path says.
    pub form: Form,
    /// The model's name.
    pub model: String,
    /// Whether the answer comes as events.
    pub stream: bool,
    /// Length of each prompt, at four bytes per token.
    pub prompt_tokens: u32,
    /// The limit of the answer.
    pub max_tokens: u32,
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
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    /// Decides the text of a simulated answer.
    pub(crate) seed: Option<Seed>,
}

/// Makes requests that differ only in number and prompt.
#[derive(Debug)]
pub(crate) struct Writer {
    head: String,
    ask: Ask,
    run: u64,
    /// Text that prompts are cut from.
    filler: String,
    raw_body: Vec<u8>,
}

const INFALLIBLE: &str = "writing to memory cannot fail";

impl Writer {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let (method, filler_tokens, body_bytes) = match &scenario.ask {
            Ask::Tokens(generation) => ("POST", generation.prompt_tokens, 0),
            Ask::Raw(raw) => (raw.method.as_str(), 0, raw.body_bytes),
        };
        let Target { authority, path, .. } = &scenario.target;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: ringload\r\n");
        if matches!(scenario.ask, Ask::Tokens(_)) {
            head.push_str("content-type: application/json\r\naccept: */*\r\n");
        }
        for (name, value) in &scenario.headers {
            write!(head, "{name}: {value}\r\n").expect(INFALLIBLE);
        }
        let raw_body = (0..body_bytes).map(|at| b'a' + (at % 26) as u8).collect();
        let filler = Seed::of("filler").text(filler_tokens);
        Self { head, ask: scenario.ask.clone(), run: scenario.seed, filler, raw_body }
    }

    /// Writes request `number`.
    pub(crate) fn write(&self, number: u64) -> Request {
        let mut bytes = Vec::with_capacity(self.head.len() + self.filler.len() + self.raw_body.len() + 512);
        bytes.extend_from_slice(self.head.as_bytes());
        match &self.ask {
            Ask::Raw(_) if self.raw_body.is_empty() => {
                bytes.extend_from_slice(b"\r\n");
                Request { bytes, seed: None }
            }
            Ask::Raw(_) => {
                push_body(&mut bytes, &self.raw_body);
                Request { bytes, seed: None }
            }
            Ask::Tokens(generation) => {
                let prompt = self.prompt(number);
                push_body(&mut bytes, generation_body(generation, &prompt).as_bytes());
                Request { bytes, seed: Some(Seed::of(&prompt)) }
            }
        }
    }

    /// A prompt of exactly the wanted length that begins like no other of the run.
    fn prompt(&self, number: u64) -> String {
        let mut prompt = format!("Question {number} of run {}: ", self.run);
        if prompt.len() < self.filler.len() {
            let rest = self.filler.len() - prompt.len();
            prompt.push_str(&self.filler[..rest]);
        }
        prompt.truncate(self.filler.len().max(1));
        prompt
    }
}

fn push_body(bytes: &mut Vec<u8>, body: &[u8]) {
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
}

/// The prompt consists of letters, digits and plain punctuation: it needs no escape.
fn generation_body(generation: &Generation, prompt: &str) -> String {
    let model = serde_json::to_string(&generation.model).expect("a string is JSON");
    let input = match generation.form {
        Form::Chat => format!(r#""messages":[{{"role":"user","content":"{prompt}"}}]"#),
        Form::Completion => format!(r#""prompt":"{prompt}""#),
    };
    let mut body = format!(r#"{{"model":{model},{input},"max_tokens":{}"#, generation.max_tokens);
    if generation.ignore_eos {
        body.push_str(r#","ignore_eos":true"#);
    }
    if generation.stream {
        body.push_str(r#","stream":true,"stream_options":{"include_usage":true}"#);
    }
    body.push('}');
    body
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
                prompt_tokens,
                max_tokens: 5,
                ignore_eos: true,
                expect: Expect::Auto,
            }),
            headers: vec![("x-test".into(), "1".into())],
            timeout: Duration::from_secs(1),
            connections: 1,
            seed: 1,
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
            assert_eq!(request.seed, Some(Seed::of(prompt)));
        }
    }

    #[test]
    fn no_two_prompts_of_a_run_are_the_same() {
        let writer = writer(16);
        assert_ne!(writer.prompt(1), writer.prompt(10));
        assert_ne!(writer.prompt(1), writer.prompt(2));
    }
}
