//! TLS for tests: an authority made when they run, callers that speak TLS, and a front that puts it before an origin.
//!
//! Owns: certificates and keys of the test's own, as files and as configurations of rustls' buffered connections, which
//! ringway does not use.
//! Must not: verify less than a careful peer would, unless a test says so.
//! Read next: `client.rs` and `origin.rs`, which these stand before and behind.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use ringway_contract::snapshot::CertificateFiles;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    StreamOwned, SupportedProtocolVersion,
};

use crate::bounds::{ANSWER_MAX, READ_BYTES_MAX, STOP_SEEN_MAX};
use crate::client::{Client, Wire};

/// Somebody who signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// The same in PEM.
    pub cert_pem: String,
    /// Its key in PEM.
    pub key_pem: String,
    key: Vec<u8>,
}

/// What is to be in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing is wrong with it.
    Fine,
    /// It ran out.
    Expired,
    /// It will be valid.
    Future,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "ringway test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.self_signed(&key).expect("an authority can be made");
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Self { issuer: Issuer::new(params, key), certificate: der, pem }
    }

    /// A certificate for these names.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_as(names, Kind::Fine)
    }

    /// A certificate for these names, of this kind.
    pub fn issue_as(&self, names: &[&str], kind: Kind) -> Issued {
        let mut params = params(names);
        let (from, to) = match kind {
            Kind::Fine => (2001, 2090),
            Kind::Expired => (2001, 2002),
            Kind::Future => (2080, 2090),
        };
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate can be made");
        Issued::new(&certificate, &key)
    }

    /// Writes its certificate into `folder`.
    pub fn write(&self, folder: &Path, name: &str) -> String {
        let path = folder.join(name);
        std::fs::write(&path, &self.pem).expect("the folder is ours");
        text(path)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("an authority");
        roots
    }

    /// A caller's configuration that trusts this authority, and shows `own` where it is asked.
    pub fn client(
        &self,
        own: Option<&Issued>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(versions).expect("known versions");
        let builder = builder.with_root_certificates(self.roots());
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                builder.with_client_auth_cert(vec![own.certificate.clone()], own.key()).expect("they fit")
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }

    /// An origin's configuration that shows `own`, and asks callers for a certificate of this authority's if `asks`.
    pub fn server(
        &self,
        own: &Issued,
        asks: bool,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(versions).expect("known versions");
        let builder = if asks {
            let roots = Arc::new(self.roots());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::new(default_provider()));
            builder.with_client_cert_verifier(verifier.build().expect("an authority"))
        } else {
            builder.with_no_client_auth()
        };
        let mut config =
            builder.with_single_cert(vec![own.certificate.clone()], own.key()).expect("they fit");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).expect("names of a certificate")
}

fn text(path: PathBuf) -> String {
    path.into_os_string().into_string().expect("temporary folders have plain names")
}

impl Issued {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self {
            certificate: certificate.der().clone(),
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            key: key.serialize_der(),
        }
    }

    /// A certificate that it signed itself, as `openssl req -x509` makes one if `authority`.
    pub fn self_signed(names: &[&str], authority: bool) -> Self {
        let mut params = params(names);
        if authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.self_signed(&key).expect("a certificate can be made");
        Self::new(&certificate, &key)
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// Writes both files into `folder`, the certificate first.
    pub fn write(&self, folder: &Path, name: &str) -> CertificateFiles {
        let path = |what: &str| text(folder.join(format!("{name}.{what}")));
        let files = CertificateFiles { cert: path("pem"), key: path("key") };
        std::fs::write(&files.cert, &self.cert_pem).expect("the folder is ours");
        std::fs::write(&files.key, &self.key_pem).expect("the folder is ours");
        files
    }
}

/// Both versions.
pub const ANY_VERSION: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// A caller's connection that speaks TLS.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

impl Wire for TlsStream {
    fn limit_reads(&self, span: Duration) {
        self.sock.set_read_timeout(Some(span)).expect("a positive timeout is valid");
    }
}

/// Connects to `address`, asking for `name`, and does the handshake.
pub fn try_connect(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    name: &str,
) -> std::io::Result<TlsStream> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connection = ClientConnection::new(Arc::clone(config), name).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// The same, or fails the test.
pub fn connect(config: &Arc<ClientConfig>, address: SocketAddr, name: &str) -> Client<TlsStream> {
    Client::over(
        try_connect(config, address, name).unwrap_or_else(|error| panic!("no TLS to {name}: {error}")),
    )
}

/// What a front has seen.
#[derive(Debug, Default)]
struct Seen {
    names: Mutex<Vec<Option<String>>>,
    full: AtomicUsize,
    resumed: AtomicUsize,
    clean: AtomicUsize,
    stopping: AtomicBool,
}

/// Speaks TLS before an origin that does not.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    seen: Arc<Seen>,
}

impl Front {
    /// In front of `origin`. If `rude`, it ends its connections without a word, as many servers do.
    pub fn start(config: ServerConfig, origin: SocketAddr, rude: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port exists");
        let address = listener.local_addr().expect("a bound listener has an address");
        let seen = Arc::new(Seen::default());
        let front = Self { address, seen: Arc::clone(&seen) };
        let config = Arc::new(config);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.stopping.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (config, seen) = (Arc::clone(&config), Arc::clone(&seen));
                std::thread::spawn(move || {
                    let _ = between(config, stream, origin, rude, &seen); // a broken connection is the test's business
                });
            }
        });
        front
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Full and abbreviated handshakes done.
    pub fn handshakes(&self) -> (usize, usize) {
        (self.seen.full.load(Ordering::Acquire), self.seen.resumed.load(Ordering::Acquire))
    }

    /// Connections that the other side closed with a word.
    pub fn clean_ends(&self) -> usize {
        self.seen.clean.load(Ordering::Acquire)
    }

    /// The names that were asked for.
    pub fn names(&self) -> Vec<Option<String>> {
        self.seen.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.seen.stopping.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address); // wakes the accept so that it sees the flag
    }
}

fn between(
    config: Arc<ServerConfig>,
    mut outside: TcpStream,
    origin: SocketAddr,
    rude: bool,
    seen: &Seen,
) -> std::io::Result<()> {
    outside.set_nodelay(true)?;
    let mut tls = ServerConnection::new(config).map_err(std::io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut outside)?;
    }
    seen.names.lock().unwrap_or_else(PoisonError::into_inner).push(tls.server_name().map(str::to_owned));
    let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
    (if resumed { &seen.resumed } else { &seen.full }).fetch_add(1, Ordering::AcqRel);
    let mut inside = TcpStream::connect(origin)?;
    inside.set_nodelay(true)?;
    let (mut from_outside, mut from_inside) = (true, true);
    let mut piece = vec![0; READ_BYTES_MAX];
    while from_outside || from_inside {
        while let Ok(n) = tls.reader().read(&mut piece) {
            if n == 0 {
                break;
            }
            inside.write_all(&piece[..n])?;
        }
        while tls.wants_write() {
            tls.write_tls(&mut outside)?;
        }
        let mut fds = [PollFd::new(&outside, PollFlags::IN), PollFd::new(&inside, PollFlags::IN)];
        let span = Timespec { tv_sec: 0, tv_nsec: STOP_SEEN_MAX.as_nanos() as i64 };
        if poll(&mut fds, Some(&span)).is_err() || seen.stopping.load(Ordering::Acquire) {
            return Ok(());
        }
        let [outside_ready, inside_ready] = [&fds[0], &fds[1]].map(|fd| !fd.revents().is_empty());
        if outside_ready && from_outside {
            let n = tls.read_tls(&mut outside)?;
            let state = tls.process_new_packets().map_err(std::io::Error::other)?;
            if state.peer_has_closed() {
                seen.clean.fetch_add(1, Ordering::AcqRel);
            }
            if n == 0 || state.peer_has_closed() {
                from_outside = false;
                let _ = inside.shutdown(Shutdown::Write); // the origin may have gone first
            }
        }
        if inside_ready && from_inside {
            match inside.read(&mut piece) {
                Ok(0) => {
                    from_inside = false;
                    if !rude {
                        tls.send_close_notify();
                        while tls.wants_write() {
                            tls.write_tls(&mut outside)?;
                        }
                    }
                    let _ = outside.shutdown(Shutdown::Write); // the caller may have gone first
                }
                Ok(n) => tls.writer().write_all(&piece[..n])?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let _ = socket2::SockRef::from(&outside).set_linger(Some(Duration::ZERO));
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}
