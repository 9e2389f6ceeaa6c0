//! The daemon's own socket: who may speak, what may be asked, and how answers look.
//!
//! Owns: the socket file, the peer check, and the HTTP form of [`api`](super::api).
//! Must not: change anything itself; commands go to the daemon's loop, one at a time.
//! Read next: `mod.rs`, which obeys them.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ringway_contract::Problem;
use ringway_contract::problem::Problems;
use ringway_contract::stats::ControlError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::api::{Apply, Done, Rollback, Status};
use super::store::Store;
use crate::bounds::running as bounds;
use crate::log;
use crate::scrape::Troubles;

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another daemon answers there.
    #[error("another daemon already answers at {}; stop it first, or pass --socket PATH", path.display())]
    Taken {
        /// Where.
        path: PathBuf,
    },
    /// The system says no.
    #[error("cannot listen at {}: {why}; pass --socket PATH, or set RUNTIME_DIRECTORY", path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
}

/// Something to do, who wants it, and where the answer goes.
#[derive(Debug)]
pub struct Command {
    /// What.
    pub wish: Wish,
    /// `uid 1000`.
    pub by: String,
    /// The answer; nobody may wait for it any more.
    pub answer: oneshot::Sender<Answer>,
}

/// What can be asked of the daemon's loop.
#[derive(Debug)]
pub enum Wish {
    /// Run this config.
    Apply(Apply),
    /// Run an earlier one.
    Rollback(Rollback),
}

/// What the daemon's loop answers.
pub type Answer = Result<Done, Refused>;

/// Why a command was not done.
#[derive(Debug)]
pub enum Refused {
    /// The config is bad: 422.
    Invalid(Vec<Problem>),
    /// There is no such revision: 404.
    NoRevision(String),
    /// A later command took its place: 409.
    Superseded,
    /// The data plane did not take it: 502.
    NotTaken(String),
    /// The data plane cannot be reached: 503.
    Away(String),
}

/// What the socket may read without asking the loop.
#[derive(Debug)]
pub struct Shared {
    /// Kept fresh by the loop.
    pub status: Mutex<Status>,
    /// Kept fresh by the rounds of reading and probing.
    pub troubles: Arc<Troubles>,
    /// The data folder.
    pub data: PathBuf,
}

/// A bound socket that takes its file with it when it goes.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    identity: (u64, u64),
    listener: UnixListener,
}

impl Socket {
    /// Binds; replaces a socket that nobody listens at any more.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |why| SocketError::Bind { path: path.to_owned(), why };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(failed(io::Error::other("something that is no socket is in the way")));
            }
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                return Err(SocketError::Taken { path: path.to_owned() });
            }
            Ok(_) | Err(_) => {}
        }
        // Bound beside and moved into place, so that it is never there with wider permissions.
        let beside = path.with_extension(format!("{}", std::process::id()));
        let _ = std::fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside).map_err(failed)?;
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        std::fs::rename(&beside, path).map_err(failed)?;
        let identity = identity(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), identity, listener })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Not if another daemon has put its own there since.
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Answers at the socket for ever.
pub async fn answer(socket: Socket, shared: Arc<Shared>, commands: mpsc::Sender<Command>) {
    let places = Arc::new(Semaphore::new(bounds::CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
        while connections.try_join_next().is_some() {}
        match socket.listener.accept().await {
            Ok((stream, _)) => match allowed(&stream) {
                Ok(by) => {
                    let (shared, commands) = (Arc::clone(&shared), commands.clone());
                    connections.spawn(async move {
                        connection(stream, by, &shared, &commands).await;
                        drop(place);
                    });
                }
                Err(why) => log::warn("a caller was turned away from the socket", &[("why", &why)]),
            },
            Err(why) => {
                log::warn("cannot accept at the socket", &[("why", &why)]);
                tokio::time::sleep(Duration::from_millis(100)).await; // no descriptors left: do not spin
            }
        }
    }
}

/// Ourselves and root.
fn allowed(stream: &UnixStream) -> Result<String, String> {
    let uid = stream.peer_cred().map_err(|why| why.to_string())?.uid();
    if uid == 0 || uid == rustix::process::geteuid().as_raw() {
        Ok(format!("uid {uid}"))
    } else {
        Err(format!("uid {uid} is neither ours nor root"))
    }
}

async fn connection(stream: UnixStream, by: String, shared: &Shared, commands: &mpsc::Sender<Command>) {
    let service = service_fn(|request| async {
        Ok::<_, std::convert::Infallible>(handle(request, &by, shared, commands).await)
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds::REQUEST_MS_MAX);
    let _ = http.serve_connection(TokioIo::new(stream), service).await; // a caller that left is its own affair
}

async fn handle(
    request: Request<Incoming>,
    by: &str,
    shared: &Shared,
    commands: &mpsc::Sender<Command>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let get = request.method() == Method::GET;
    match path.as_str() {
        "/v1/status" if get => {
            let status = shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
            json(StatusCode::OK, &Status { endpoints: shared.troubles.list(), ..status })
        }
        "/v1/revisions" if get => {
            let metas: Vec<_> =
                Store::look(&shared.data).list().into_iter().map(|found| found.meta).collect();
            json(StatusCode::OK, &metas)
        }
        "/v1/apply" | "/v1/rollback" if request.method() == Method::POST => {
            match wish(&path, request).await {
                Ok(wish) => command(wish, by, commands).await,
                Err((status, why)) => error(status, &why),
            }
        }
        "/v1/status" | "/v1/revisions" => wrong_method("GET"),
        "/v1/apply" | "/v1/rollback" => wrong_method("POST"),
        other => match other.strip_prefix("/v1/revisions/") {
            Some(which) if get => revision(which, &Store::look(&shared.data)),
            Some(_) => wrong_method("GET"),
            None => error(StatusCode::NOT_FOUND, "no such path; see `ringctl --help` for what can be asked"),
        },
    }
}

fn revision(which: &str, store: &Store) -> Response<Full<Bytes>> {
    let found = match which.parse() {
        Ok(number) => store.get(number),
        Err(_) if which == "latest" => store.latest(),
        Err(_) => None,
    };
    match found {
        Some(revision) => json(StatusCode::OK, &revision),
        None if which == "latest" => {
            error(StatusCode::NOT_FOUND, "there is no revision yet; see `ringctl show -o table`")
        }
        None => error(StatusCode::NOT_FOUND, &format!("there is no revision {which}; see `ringctl history`")),
    }
}

async fn wish(path: &str, request: Request<Incoming>) -> Result<Wish, (StatusCode, String)> {
    let body = Limited::new(request.into_body(), bounds::REQUEST_BYTES_MAX).collect();
    let body = match tokio::time::timeout(bounds::REQUEST_MS_MAX, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(why)) => return Err((StatusCode::BAD_REQUEST, format!("cannot read the body: {why}"))),
        Err(_) => return Err((StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned())),
    };
    if path == "/v1/apply" { parse(&body).map(Wish::Apply) } else { parse(&body).map(Wish::Rollback) }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, (StatusCode, String)> {
    serde_json::from_slice(body)
        .map_err(|why| (StatusCode::BAD_REQUEST, format!("cannot read the body: {why}")))
}

async fn command(wish: Wish, by: &str, commands: &mpsc::Sender<Command>) -> Response<Full<Bytes>> {
    let (answer, answered) = oneshot::channel();
    let sent = commands.try_send(Command { wish, by: by.to_owned(), answer });
    if sent.is_err() {
        return error(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many commands wait already; try again in a second",
        );
    }
    match answered.await {
        Ok(Ok(done)) => json(StatusCode::OK, &done),
        Ok(Err(Refused::Invalid(problems))) => json(StatusCode::UNPROCESSABLE_ENTITY, &Problems { problems }),
        Ok(Err(Refused::NoRevision(what))) => error(StatusCode::NOT_FOUND, &what),
        Ok(Err(Refused::Superseded)) => error(StatusCode::CONFLICT, "a later command took this one's place"),
        Ok(Err(Refused::NotTaken(what))) => error(StatusCode::BAD_GATEWAY, &what),
        Ok(Err(Refused::Away(what))) => error(StatusCode::SERVICE_UNAVAILABLE, &what),
        Err(_) => error(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping"),
    }
}

fn wrong_method(allow: &'static str) -> Response<Full<Bytes>> {
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, &format!("only {allow} is allowed here"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

fn error(status: StatusCode, what: &str) -> Response<Full<Bytes>> {
    json(status, &ControlError { error: what.to_owned() })
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(value).expect("our own types have string keys and finite numbers");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
