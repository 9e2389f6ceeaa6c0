//! One kept connection to one server, in plain text or over TLS, for short questions.
//!
//! Owns: the connection, its bounds in time and bytes, and the one silent second try where a kept connection proved
//! closed. Must not: follow redirects, ask for a coding, or know what is asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, HOST, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ringway_contract::snapshot::Credential;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::bounds::running as bounds;
use crate::dial::{Stream, over_tls};
use crate::trust::{self, Trust};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// Nobody listens.
    #[error("the connection was refused")]
    Refused,
    /// No connection for another reason.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// It did not prove to be who it must be, or TLS failed in another way.
    #[error("{0}")]
    Handshake(String),
    /// Too slow.
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// It broke off, or does not speak HTTP.
    #[error("the answer broke off: {0}")]
    Broken(String),
    /// Larger than any page.
    #[error("the page is larger than {} bytes", bounds::PAGE_BYTES_MAX)]
    Large,
    /// It has a coding that nobody asked for.
    #[error("the page is coded as {0}, which was not asked for")]
    Coded(String),
    /// A file of our own cannot be used. It says nothing of the server.
    #[error("no TLS can be tried: {0}")]
    Untrusting(String),
    /// The path or a field cannot be written.
    #[error("the request cannot be written: {0}")]
    Unwritable(String),
}

/// What its connection speaks below HTTP.
pub(super) enum Over {
    /// Nothing: plain text.
    Plain,
    /// TLS, to a server that proves to have this name.
    Tls { name: String, trust: Arc<Trust> },
}

/// A server and the connection to it.
pub(super) struct Fetcher {
    addresses: Vec<SocketAddr>,
    /// Which of them is tried.
    turn: usize,
    over: Over,
    authority: String,
    credential: Option<Credential>,
    patience: Duration,
    kept: Option<Kept>,
    /// The body of the last answer.
    pub(super) body: Vec<u8>,
}

struct Kept {
    sender: SendRequest<Empty<Bytes>>,
    /// Drives the connection; dropped with it.
    _driver: JoinSet<()>,
}

impl Fetcher {
    /// Nothing is connected yet.
    pub(super) fn new(
        addresses: Vec<SocketAddr>,
        over: Over,
        authority: String,
        credential: Option<Credential>,
        patience: Duration,
    ) -> Self {
        Self { addresses, turn: 0, over, authority, credential, patience, kept: None, body: Vec::new() }
    }

    /// Asks; the answer's body is in [`Self::body`] until the next question.
    pub(super) async fn get(&mut self, path: &str) -> Result<StatusCode, Fault> {
        self.body.clear();
        let request = self.request(path)?;
        let patience = self.patience;
        let outcome = match timeout(patience, self.exchange(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::Late(patience)),
        };
        if outcome.is_err() {
            self.kept = None;
            self.turn = self.turn.wrapping_add(1);
        }
        if self.body.capacity() > BODY_KEPT_BYTES_MAX {
            self.body.shrink_to(BODY_KEPT_BYTES_MAX.max(self.body.len()));
        }
        outcome
    }

    fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, Fault> {
        let unwritable = |why: &dyn std::fmt::Display| Fault::Unwritable(why.to_string());
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = path.parse().map_err(|why| unwritable(&why))?;
        let fields = request.headers_mut();
        let host = HeaderValue::from_str(&self.authority).map_err(|why| unwritable(&why))?;
        fields.insert(HOST, host);
        if let Some(Credential { header, value }) = &self.credential {
            let name = HeaderName::from_bytes(header.as_bytes()).unwrap_or(AUTHORIZATION);
            let mut value =
                HeaderValue::from_str(value).map_err(|_| unwritable(&"the credential is no field value"))?;
            value.set_sensitive(true);
            fields.insert(name, value);
        }
        Ok(request)
    }

    async fn exchange(&mut self, request: Request<Empty<Bytes>>) -> Result<StatusCode, Fault> {
        if let Some(mut kept) = self.kept.take()
            && kept.sender.ready().await.is_ok()
        {
            // A server may close a kept connection at the moment we ask; then nothing was lost by asking.
            if let Ok(response) = kept.sender.send_request(request.clone()).await {
                return self.finish(kept, response).await;
            }
        }
        let mut kept = self.connect().await?;
        let response = kept.sender.send_request(request).await;
        let response = response.map_err(|why| broken(&why))?;
        self.finish(kept, response).await
    }

    async fn connect(&self) -> Result<Kept, Fault> {
        let Some(address) = self.addresses.get(self.turn % self.addresses.len().max(1)) else {
            return Err(Fault::Connect("its name has no address".to_owned()));
        };
        let stream = TcpStream::connect(address).await.map_err(|why| match why.kind() {
            std::io::ErrorKind::ConnectionRefused => Fault::Refused,
            _ => Fault::Connect(why.to_string()),
        })?;
        let _ = stream.set_nodelay(true); // a question is one segment either way
        let stream = self.secured(stream).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|why| broken(&why))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            let _ = connection.await; // its error reaches the sender too
        });
        Ok(Kept { sender, _driver: driver })
    }

    async fn secured(&self, stream: TcpStream) -> Result<Stream, Fault> {
        let Over::Tls { name, trust } = &self.over else { return Ok(Stream::Plain(stream)) };
        let server = ServerName::try_from(name.clone())
            .map_err(|_| Fault::Untrusting(format!("{name} is no name that a certificate can be for")))?;
        let config = trust.config().map_err(Fault::Untrusting)?;
        over_tls(stream, server, config).await.map_err(|error| Fault::Handshake(trust::words(&error)))
    }

    async fn finish(&mut self, kept: Kept, response: Response<Incoming>) -> Result<StatusCode, Fault> {
        let status = response.status();
        if let Some(coding) = response.headers().get(CONTENT_ENCODING)
            && coding.as_bytes() != b"identity"
        {
            return Err(Fault::Coded(String::from_utf8_lossy(coding.as_bytes()).into_owned()));
        }
        let mut body = response.into_body();
        if body.size_hint().lower() > bounds::PAGE_BYTES_MAX as u64 {
            return Err(Fault::Large);
        }
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|why| broken(&why))?;
            let Some(data) = frame.data_ref() else { continue };
            if self.body.len() + data.len() > bounds::PAGE_BYTES_MAX {
                return Err(Fault::Large);
            }
            self.body.extend_from_slice(data);
        }
        self.kept = Some(kept);
        Ok(status)
    }
}

/// What ended an exchange: TLS, which refuses a client's certificate only then, or HTTP.
fn broken(why: &hyper::Error) -> Fault {
    trust::behind(why).map_or_else(|| Fault::Broken(why.to_string()), Fault::Handshake)
}

/// What is kept of a buffer that one page made large.
const BODY_KEPT_BYTES_MAX: usize = 1 << 20;
