//! A connection in plain text or over TLS, for the few questions of the control plane itself.
//!
//! Owns: the way from a name to a stream whose other end proved to be that name.
//! Must not: be used for what the data plane does.
//! Read next: `trust.rs`, who is believed.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use ringway_contract::snapshot::BackendTls;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::bounds::ADDRESSES_MAX;
use crate::config::may_connect;
use crate::trust;

/// Bytes both ways.
pub enum Stream {
    /// In plain text.
    Plain(TcpStream),
    /// Over TLS.
    Secure(Box<TlsStream<TcpStream>>),
}

/// Connects to a host; over TLS it proves itself to the authorities that the system trusts.
///
/// # Errors
/// Why there is no connection, for people.
pub async fn host(host: &str, port: u16, secure: bool) -> Result<Stream, String> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let stream = connect(name, port).await?;
    let _ = stream.set_nodelay(true);
    if !secure {
        return Ok(Stream::Plain(stream));
    }
    let server =
        ServerName::try_from(name.to_owned()).map_err(|_| format!("{name} is no name of a server"))?;
    over_tls(stream, server, Arc::clone(trusting_the_system()?)).await.map_err(|error| error.to_string())
}

/// Connects to the first of a name's addresses that takes it; those that no name may lead to are not tried, and what was
/// checked is what is connected to (SEC-SSRF-02, SEC-SSRF-05).
async fn connect(name: &str, port: u16) -> Result<TcpStream, String> {
    let found = tokio::net::lookup_host((name, port)).await;
    let found = found.map_err(|error| format!("{name} does not resolve: {error}"))?;
    let mut why = format!("{name} leads to no address that may be asked");
    for address in found.filter(|address| may_connect(address.ip())).take(ADDRESSES_MAX) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => why = format!("cannot connect to {address}: {error}"),
        }
    }
    Err(why)
}

/// Does the handshake on a connection that was made.
pub async fn over_tls(
    stream: TcpStream,
    server: ServerName<'static>,
    config: Arc<ClientConfig>,
) -> io::Result<Stream> {
    let secure = TlsConnector::from(config).connect(server, stream).await?;
    Ok(Stream::Secure(Box::new(secure)))
}

/// The settings that trust whom the system trusts; read once.
fn trusting_the_system() -> Result<&'static Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let made = CONFIG.get_or_init(|| trust::client_config(&BackendTls::default()).map(Arc::new));
    made.as_ref().map_err(Clone::clone)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Secure(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Secure(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Secure(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Secure(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_metadata_service_is_not_asked_whoever_names_it() {
        for name in ["169.254.169.254", "[fd00:ec2::254]", "0.0.0.0"] {
            let refused = host(name, 80, false).await.err().expect("nobody is connected to");
            assert!(refused.contains("leads to no address that may be asked"), "{refused}");
        }
    }
}
