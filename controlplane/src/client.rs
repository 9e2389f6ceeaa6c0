//! How both planes are spoken to: HTTP/1.1 and JSON over a Unix socket, one connection per question but for load
//! reports, which keep theirs.
//!
//! Owns: the connection, its timeouts, and errors that name the mend.
//! Must not: retry. Whoever asks knows whether asking twice is safe.
//! Read next: `daemon/publish.rs`, which pushes through [`DataPlane`].

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONTENT_TYPE, ETAG, HOST, HeaderValue, IF_MATCH};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ringway_contract::explain::{Explanation, Question};
use ringway_contract::load::{LoadReport, LoadTaken};
use ringway_contract::problem::Problems;
use ringway_contract::stats::{Applied, ControlError, Drain, Stats};
use ringway_contract::trace::Traces;
use ringway_contract::{Generation, Problem, Snapshot};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::bounds::running as bounds;
use crate::daemon::api::{Apply, Done, Revision, RevisionMeta, Rollback, Status};

/// Who answers at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// `ringway`.
    DataPlane,
    /// `ringctl serve`.
    Daemon,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DataPlane => "the data plane",
            Self::Daemon => "the daemon",
        })
    }
}

impl Peer {
    const fn mend(self) -> &'static str {
        match self {
            Self::DataPlane => {
                "is `ringway` running? start both planes with `ringctl up --config FILE`, or pass --control PATH"
            }
            Self::Daemon => {
                "is the daemon running? start it with `ringctl serve --config FILE`, or pass --socket PATH"
            }
        }
    }
}

/// Why there is no answer, or not the wanted one.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there, or we may not connect.
    #[error("cannot reach {peer} at {}: {why}; {}", path.display(), peer.mend())]
    Unreachable {
        /// Who was called.
        peer: Peer,
        /// Where.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// Somebody listens there whom we do not trust with secrets.
    #[error(
        "refusing to speak to {peer} at {}: it runs as uid {uid}, which is neither ours nor root; \
         remove the socket if it is not yours, or run this as that user",
        path.display()
    )]
    Untrusted {
        /// Who was called.
        peer: Peer,
        /// Where.
        path: PathBuf,
        /// Who answered.
        uid: u32,
    },
    /// Connected, but no answer in time.
    #[error("{peer} at {} did not answer within {} s; see its log, or restart it", path.display(), after.as_secs())]
    Silent {
        /// Who was called.
        peer: Peer,
        /// Where.
        path: PathBuf,
        /// How long we waited.
        after: Duration,
    },
    /// The connection broke before the answer was whole.
    #[error("{peer} at {} broke off its answer ({why}); see its log", path.display())]
    Broken {
        /// Who was called.
        peer: Peer,
        /// Where.
        path: PathBuf,
        /// What broke.
        why: String,
    },
    /// It found the configuration bad.
    #[error("{peer} refused the configuration:{}", list(problems))]
    Invalid {
        /// Who refused.
        peer: Peer,
        /// Every problem.
        problems: Vec<Problem>,
    },
    /// Somebody else was faster.
    #[error("{peer} runs something newer: {error}; look at it with `ringctl show`, then apply again")]
    Stale {
        /// Who refused.
        peer: Peer,
        /// In its words.
        error: String,
    },
    /// It said no for another reason.
    #[error("{peer} refused: {error} (status {status})")]
    Refused {
        /// Who refused.
        peer: Peer,
        /// HTTP status.
        status: u16,
        /// In its words.
        error: String,
    },
    /// It said something we do not understand.
    #[error("{peer} answered in a form that this version does not know ({why}); are both of one version?")]
    Gibberish {
        /// Who answered.
        peer: Peer,
        /// What was wrong.
        why: String,
    },
}

fn list(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |text, problem| text + &format!("\n  {problem}"))
}

impl ClientError {
    /// Whether the same question may succeed later without anybody changing it.
    pub const fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Untrusted { .. } // the right one may take the socket's place
            | Self::Silent { .. }
            | Self::Broken { .. }
            | Self::Stale { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::Invalid { .. } | Self::Gibberish { .. } => false,
        }
    }

    /// Whether the peer was not heard from, as opposed to having said no.
    pub const fn unheard(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Untrusted { .. } | Self::Silent { .. } | Self::Broken { .. } => {
                true
            }
            Self::Stale { .. } | Self::Refused { .. } | Self::Invalid { .. } | Self::Gibberish { .. } => {
                false
            }
        }
    }

    /// Whether nobody is there at all.
    pub const fn nobody(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// What the data plane runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// Its number.
    pub generation: Generation,
    /// All of it, with digests for secrets.
    pub snapshot: Snapshot,
}

/// Which traces.
#[derive(Clone, Copy, Debug)]
pub enum Traced<'a> {
    /// So many of the last.
    Last(u32),
    /// Those of the request with this id.
    Request(&'a str),
}

/// The data plane's control socket.
#[derive(Clone, Debug)]
pub struct DataPlane(Line);

impl DataPlane {
    /// Nothing is connected yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(Line { peer: Peer::DataPlane, path: path.into(), patience: bounds::ANSWER_MS_MAX })
    }

    /// Its socket.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What runs; none: it waits for a first push.
    pub async fn snapshot(&self) -> Result<Option<Running>, ClientError> {
        let reply = self.0.ask(Method::GET, "/v1/snapshot", None, Bytes::new()).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let tag = reply.generation;
        let snapshot: Snapshot = reply.read()?;
        Ok(Some(Running { generation: tag.unwrap_or(snapshot.generation), snapshot }))
    }

    /// Pushes; comes back when every worker runs it. With `expected`, only in the place of that generation.
    pub async fn put(
        &self,
        snapshot: &Snapshot,
        expected: Option<Generation>,
    ) -> Result<Applied, ClientError> {
        self.0.ask(Method::PUT, "/v1/snapshot", expected, json(snapshot)).await?.read()
    }

    /// How it is.
    pub async fn stats(&self) -> Result<Stats, ClientError> {
        self.0.ask(Method::GET, "/v1/stats", None, Bytes::new()).await?.read()
    }

    /// Which way a request would go.
    pub async fn explain(&self, question: &Question) -> Result<Explanation, ClientError> {
        self.0.ask(Method::POST, "/v1/explain", None, json(question)).await?.read()
    }

    /// How requests were routed, the newest first.
    pub async fn traces(&self, of: Traced<'_>) -> Result<Traces, ClientError> {
        let target = match of {
            Traced::Last(count) => format!("/v1/traces?last={count}"),
            Traced::Request(id) => format!("/v1/traces?request={id}"),
        };
        self.0.ask(Method::GET, &target, None, Bytes::new()).await?.read()
    }

    /// Takes an endpoint or the whole process out.
    pub async fn drain(&self, drain: &Drain) -> Result<(), ClientError> {
        self.0.ask(Method::POST, "/v1/drain", None, json(drain)).await?.accept()
    }

    /// Follows its events until the connection ends.
    pub async fn events(&self) -> Result<Events, ClientError> {
        let mut driver = JoinSet::new();
        let request = Line::request(Method::GET, "/v1/events", None, Bytes::new());
        let response = self.0.send(request, &mut driver).await?;
        if response.status() != StatusCode::OK {
            let reply = self.0.whole(response).await?;
            return Err(reply.refusal());
        }
        Ok(Events {
            line: self.0.clone(),
            body: response.into_body(),
            buffer: Vec::new(),
            kind: String::new(),
            driver,
        })
    }
}

/// A kept connection for load reports, twenty a second: anything else asks once and connects for it.
pub struct LoadLine {
    line: Line,
    kept: Option<(SendRequest<Full<Bytes>>, JoinSet<()>)>,
}

impl LoadLine {
    /// Nothing is connected yet.
    pub fn new(DataPlane(line): DataPlane) -> Self {
        Self { line: Line { patience: bounds::CONNECT_MS_MAX, ..line }, kept: None }
    }

    /// Sends a report.
    pub async fn send(&mut self, report: &LoadReport) -> Result<LoadTaken, ClientError> {
        let sent = timeout(self.line.patience, self.exchange(json(report))).await;
        let reply = sent.unwrap_or_else(|_| Err(self.line.silent(self.line.patience)));
        if reply.is_err() {
            self.kept = None;
        }
        reply?.read()
    }

    async fn exchange(&mut self, body: Bytes) -> Result<Reply, ClientError> {
        let request = || Line::request(Method::POST, "/v1/load", None, body.clone());
        if let Some((sender, _)) = &mut self.kept
            && sender.ready().await.is_ok()
            && let Ok(response) = sender.send_request(request()).await
        {
            return self.line.whole(response).await;
        }
        let mut driver = JoinSet::new();
        let mut sender = self.line.open(&mut driver).await?; // the old one was closed meanwhile
        let response = sender.send_request(request()).await.map_err(|why| self.line.broken(&why))?;
        self.kept = Some((sender, driver));
        self.line.whole(response).await
    }
}

/// The daemon's socket.
#[derive(Clone, Debug)]
pub struct Daemon(Line);

impl Daemon {
    /// Nothing is connected yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(Line { peer: Peer::Daemon, path: path.into(), patience: bounds::DAEMON_ANSWER_MS_MAX })
    }

    /// How it is.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.0.ask(Method::GET, "/v1/status", None, Bytes::new()).await?.read()
    }

    /// What it keeps, newest first.
    pub async fn revisions(&self) -> Result<Vec<RevisionMeta>, ClientError> {
        self.0.ask(Method::GET, "/v1/revisions", None, Bytes::new()).await?.read()
    }

    /// One revision with its text; none: the latest.
    pub async fn revision(&self, revision: Option<u64>) -> Result<Revision, ClientError> {
        let which = revision.map_or_else(|| "latest".to_owned(), |number| number.to_string());
        self.0.ask(Method::GET, &format!("/v1/revisions/{which}"), None, Bytes::new()).await?.read()
    }

    /// Applies a config; comes back when every worker runs it.
    pub async fn apply(&self, apply: &Apply) -> Result<Done, ClientError> {
        self.0.ask(Method::POST, "/v1/apply", None, json(apply)).await?.read()
    }

    /// Goes back; comes back when every worker runs it.
    pub async fn rollback(&self, rollback: &Rollback) -> Result<Done, ClientError> {
        self.0.ask(Method::POST, "/v1/rollback", None, json(rollback)).await?.read()
    }
}

/// An event of the data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `generation`, `endpoint`, …
    pub kind: String,
    /// Its data as sent.
    pub data: String,
}

impl Event {
    /// The number of a `generation` event, bare or in an object's `generation`.
    pub fn generation(&self) -> Option<Generation> {
        let data: serde_json::Value = serde_json::from_str(&self.data).ok()?;
        data.get("generation").unwrap_or(&data).as_u64().map(Generation::new)
    }
}

/// The data plane's event stream.
pub struct Events {
    line: Line,
    body: Incoming,
    buffer: Vec<u8>,
    kind: String,
    #[expect(dead_code, reason = "held so that the connection is driven as long as the stream is read")]
    driver: JoinSet<()>,
}

impl Events {
    /// The next event; none: the data plane ended the stream.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.take_event() {
                return Ok(Some(event));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.line.broken(&error)),
                Some(Ok(frame)) => {
                    self.buffer.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                }
            }
            if self.buffer.len() > bounds::EVENT_BYTES_MAX && !self.buffer.contains(&b'\n') {
                return Err(self.line.broken(&"a line of its event stream is too long"));
            }
        }
    }

    /// One event per `data` line: the data plane writes each event's data as one line of JSON.
    fn take_event(&mut self) -> Option<Event> {
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            if let Some(kind) = line.strip_prefix("event:") {
                kind.trim().clone_into(&mut self.kind);
            } else if let Some(data) = line.strip_prefix("data:") {
                return Some(Event { kind: std::mem::take(&mut self.kind), data: data.trim().to_owned() });
            }
        }
        None
    }
}

/// One socket and how long we wait at it.
#[derive(Clone, Debug)]
struct Line {
    peer: Peer,
    path: PathBuf,
    patience: Duration,
}

/// A whole answer.
struct Reply {
    peer: Peer,
    status: StatusCode,
    generation: Option<Generation>,
    body: Bytes,
}

impl Line {
    async fn ask(
        &self,
        method: Method,
        path: &str,
        expected: Option<Generation>,
        body: Bytes,
    ) -> Result<Reply, ClientError> {
        let mut driver = JoinSet::new(); // ends the connection's task with this call, however it ends
        let request = Self::request(method, path, expected, body);
        let exchange = async {
            let response = self.send(request, &mut driver).await?;
            self.whole(response).await
        };
        match timeout(self.patience, exchange).await {
            Ok(reply) => reply,
            Err(_) => Err(self.silent(self.patience)),
        }
    }

    fn request(
        method: Method,
        path: &str,
        expected: Option<Generation>,
        body: Bytes,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("our own paths are URIs");
        let fields = request.headers_mut();
        fields.insert(HOST, HeaderValue::from_static("ringway"));
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(expected) = expected {
            let tag = format!("\"{expected}\"");
            fields.insert(IF_MATCH, HeaderValue::from_str(&tag).expect("digits and quotes"));
        }
        request
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
        driver: &mut JoinSet<()>,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut sender = self.open(driver).await?;
        match timeout(self.patience, sender.send_request(request)).await {
            Ok(response) => response.map_err(|error| self.broken(&error)),
            Err(_) => Err(self.silent(self.patience)),
        }
    }

    async fn open(&self, driver: &mut JoinSet<()>) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let stream = self.connect().await?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|error| self.broken(&error))?;
        driver.spawn(async move {
            let _ = connection.await; // its error reaches the sender too
        });
        Ok(sender)
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let unreachable = |why| ClientError::Unreachable { peer: self.peer, path: self.path.clone(), why };
        let stream = match timeout(bounds::CONNECT_MS_MAX, UnixStream::connect(&self.path)).await {
            Ok(stream) => stream.map_err(unreachable)?,
            Err(_) => return Err(self.silent(bounds::CONNECT_MS_MAX)),
        };
        let uid = stream.peer_cred().map_err(unreachable)?.uid();
        if trusted(uid, &self.path) {
            return Ok(stream);
        }
        Err(ClientError::Untrusted { peer: self.peer, path: self.path.clone(), uid })
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Reply, ClientError> {
        let (head, body) = response.into_parts();
        let generation = head.headers.get(ETAG).and_then(|tag| tag.to_str().ok()).and_then(tag_generation);
        let body = Limited::new(body, bounds::ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| self.broken(&error))?.to_bytes();
        Ok(Reply { peer: self.peer, status: head.status, generation, body })
    }

    fn broken(&self, why: &dyn std::fmt::Display) -> ClientError {
        ClientError::Broken { peer: self.peer, path: self.path.clone(), why: why.to_string() }
    }

    fn silent(&self, after: Duration) -> ClientError {
        ClientError::Silent { peer: self.peer, path: self.path.clone(), after }
    }
}

impl Reply {
    fn read<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        if !self.status.is_success() {
            return Err(self.refusal());
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| ClientError::Gibberish { peer: self.peer, why: error.to_string() })
    }

    fn accept(self) -> Result<(), ClientError> {
        if self.status.is_success() { Ok(()) } else { Err(self.refusal()) }
    }

    fn refusal(self) -> ClientError {
        let peer = self.peer;
        if self.status == StatusCode::UNPROCESSABLE_ENTITY
            && let Ok(Problems { problems }) = serde_json::from_slice(&self.body)
        {
            return ClientError::Invalid { peer, problems };
        }
        let error = match serde_json::from_slice::<ControlError>(&self.body) {
            Ok(ControlError { error }) => error,
            Err(_) => opening(&self.body),
        };
        match self.status {
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => ClientError::Stale { peer, error },
            status => ClientError::Refused { peer, status: status.as_u16(), error },
        }
    }
}

/// Whether a peer of this uid may hear what we have to say: ourselves, root, and for root also the owner of
/// the folder that the socket is in (a service that runs as its own user).
fn trusted(uid: u32, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let own = rustix::process::geteuid();
    let folder_owner = || path.parent().and_then(|folder| folder.metadata().ok()).map(|folder| folder.uid());
    uid == own.as_raw() || uid == 0 || (own.is_root() && folder_owner() == Some(uid))
}

fn tag_generation(tag: &str) -> Option<Generation> {
    tag.trim_start_matches("W/").trim_matches('"').parse().ok().map(Generation::new)
}

fn opening(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(bounds::ERROR_TEXT_BYTES_MAX)]);
    let text = text.trim();
    if text.is_empty() { "no reason given".to_owned() } else { text.to_owned() }
}

fn json<T: Serialize>(value: &T) -> Bytes {
    serde_json::to_vec(value).expect("our own types have string keys and finite numbers").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_read_from_strong_and_weak_tags() {
        assert_eq!(tag_generation("\"7\""), Some(Generation::new(7)));
        assert_eq!(tag_generation("W/\"7\""), Some(Generation::new(7)));
        assert_eq!(tag_generation("\"x\""), None);
    }

    #[test]
    fn a_generation_event_may_be_a_number_or_an_object() {
        let event = |data: &str| Event { kind: "generation".to_owned(), data: data.to_owned() };
        assert_eq!(event("7").generation(), Some(Generation::new(7)));
        assert_eq!(event("{\"generation\": 7}").generation(), Some(Generation::new(7)));
        assert_eq!(event("seven").generation(), None);
    }

    #[test]
    fn a_missing_socket_names_its_path_and_the_mend() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let error = runtime.block_on(DataPlane::at("/nonexistent/x.sock").stats()).expect_err("nobody there");
        let text = error.to_string();
        assert!(text.contains("/nonexistent/x.sock") && text.contains("ringctl up"), "{text}");
        assert!(error.nobody() && error.passes());
    }
}
