//! Whom an endpoint that speaks TLS must prove to be, and what it is shown.
//!
//! Owns: a backend's `tls` as settings of a handshake, read again when its files change; the words for a handshake that
//! failed. The rules are the data plane's: what passes here passes there, so that a probe tells of requests.
//! Must not: verify less than is asked for, go back to plain text, or keep a key's text.
//! Read next: `dial.rs`, which does the handshake; `scrape/fetch.rs`, which asks over it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use ringway_contract::snapshot::{BackendTls, CertificateFiles};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, InvalidMessage,
    OtherError, RootCertStore, SignatureScheme,
};

use crate::bounds::running::TLS_FILE_BYTES_MAX;
use crate::log;

/// The TLS of a backend's endpoints.
#[derive(Debug)]
pub struct Trust {
    spec: BackendTls,
    held: Mutex<Held>,
}

/// What was made of the files as they looked then.
#[derive(Debug, Default)]
struct Held {
    looks: Option<Vec<Looks>>,
    config: Option<Result<Arc<ClientConfig>, String>>,
}

/// What `stat` says of a file, links followed: an orchestrator swaps a link.
type Looks = Option<(u64, u64, u64, i64, i64)>;

impl Trust {
    /// As written; nothing is read yet.
    pub fn new(spec: BackendTls) -> Self {
        Self { spec, held: Mutex::default() }
    }

    /// For a handshake that begins now. Files are read when they look different; of those that cannot be used any more
    /// what was read before stays.
    ///
    /// # Errors
    /// A file that cannot be used, for people.
    pub fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = Some(files(&self.spec).map(looks).collect());
        if held.looks != looks {
            held.looks = looks;
            let made = client_config(&self.spec).map(Arc::new);
            match (&held.config, &made) {
                (Some(Ok(_)), Err(why)) => {
                    log::warn(
                        "a changed file of TLS cannot be used; what was read before stays",
                        &[("why", why)],
                    );
                }
                _ => held.config = Some(made),
            }
        }
        held.config.clone().expect("made at the first look")
    }
}

/// The files that it is made of.
fn files(spec: &BackendTls) -> impl Iterator<Item = &str> {
    let pair = spec.certificate.iter().flat_map(|pair| [&*pair.cert, &*pair.key]);
    pair.chain(spec.ca.as_deref())
}

fn looks(path: &str) -> Looks {
    let data = std::fs::metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

/// The settings of a handshake.
///
/// # Errors
/// A file that cannot be used, for people.
pub fn client_config(spec: &BackendTls) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier(spec)?);
    let mut config = match &spec.certificate {
        None => builder.with_no_client_auth(),
        Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own(pair)?))),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn verifier(spec: &BackendTls) -> Result<Arc<dyn ServerCertVerifier>, String> {
    if spec.insecure_skip_verify {
        return Ok(Arc::new(Anybody));
    }
    let (roots, pinned) = match &spec.ca {
        Some(path) => authorities(path)?,
        None => (system_authorities()?, Vec::new()),
    };
    let chains = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
    let chains = chains.map_err(|error| format!("the authorities cannot be used: {error}"))?;
    Ok(Arc::new(Verifier { chains, pinned }))
}

fn authorities(path: &str) -> Result<(Arc<RootCertStore>, Vec<CertificateDer<'static>>), String> {
    let chain = chain(path)?;
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(chain.iter().cloned()) {
        (0, _) => Err(format!("{path} holds no certificate that can be read")),
        _ => Ok((Arc::new(roots), chain)),
    }
}

/// Whom the system trusts; read once, as hundreds of certificates are.
fn system_authorities() -> Result<Arc<RootCertStore>, String> {
    static ROOTS: std::sync::OnceLock<Arc<RootCertStore>> = std::sync::OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    if roots.is_empty() {
        return Err("this system names no authorities to trust; install ca-certificates".to_owned());
    }
    Ok(Arc::clone(roots))
}

fn own(files: &CertificateFiles) -> Result<CertifiedKey, String> {
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
        .map_err(|_| format!("{} holds no private key in PEM", files.key))?;
    CertifiedKey::from_der(chain(&files.cert)?, key, &provider())
        .map_err(|error| format!("{} and {} cannot be used: {error}", files.cert, files.key))
}

fn chain(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| format!("{path} holds no certificate in PEM"))
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let reading = File::open(path).and_then(|file| file.take(TLS_FILE_BYTES_MAX + 1).read_to_end(&mut text));
    match reading {
        Err(error) => Err(format!("{path} cannot be read by ringctl: {error}")),
        Ok(n) if n as u64 > TLS_FILE_BYTES_MAX => {
            Err(format!("{path} is larger than {TLS_FILE_BYTES_MAX} bytes"))
        }
        Ok(_) => Ok(text),
    }
}

/// Verifies as WebPKI does, and takes a certificate that is itself in the `ca` file for the names in it.
#[derive(Debug)]
struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl Verifier {
    /// A pinned certificate needs nobody to vouch for it, and still the name and the time. Time comes first in the check
    /// of a certificate, so that every other complaint says that it was right; what the server sent along is left out, as
    /// its time does not matter then.
    fn by_pin(&self, own: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
        match self.chains.verify_server_cert(own, &[], name, &[], now) {
            Err(error) if Why::of(&error).is_some_and(Why::is_about_time) => Err(error),
            Ok(_) | Err(_) => verify_server_name(&ParsedCertificate::try_from(own)?, name),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain =
            self.chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match chain {
            Ok(verified) => Ok(verified),
            Err(_) if self.pinned.iter().any(|pinned| pinned == end_entity) => {
                self.by_pin(end_entity, server_name, now).map(|()| ServerCertVerified::assertion())
            }
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) if is_self_signed(end_entity) => {
                let own = OtherError(Arc::new(webpki::Error::CaUsedAsEndEntity)); // what `openssl req -x509` makes is one
                Err(CertificateError::Other(own).into())
            }
            Err(error) => Err(error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    webpki::EndEntityCert::try_from(certificate).is_ok_and(|it| it.issuer() == it.subject())
}

/// `insecure_skip_verify`: whoever answers is taken for the endpoint. It must still own the key that it shows.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Why there is no TLS to an endpoint: the few of rustls' hundreds of errors that an operator can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Out of date.
    Expired,
    /// A clock may be wrong.
    NotYetValid,
    /// For another name.
    WrongName,
    /// Signed by nobody that is trusted.
    UnknownAuthority,
    /// Signed by itself.
    SelfSigned,
    /// Cannot be used for another reason.
    BadCertificate,
    /// It wants one of ours.
    CertificateRequired,
    /// It does not take ours.
    Distrusted,
    /// It does not know the name it was asked for.
    UnknownName,
    /// It speaks something else: plain HTTP mostly.
    NotTls,
    /// No version, cipher or protocol that both know.
    NothingInCommon,
}

impl Why {
    /// How rustls' error reads here; none: it is another.
    pub fn of(error: &Error) -> Option<Self> {
        match error {
            Error::InvalidCertificate(error) => Some(Self::of_certificate(error)),
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload,
            ) => Some(Self::NotTls),
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Some(Self::NothingInCommon),
            _ => None, // an open enum: what is not known here is told in rustls' own words
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            // Of the right name, and not its signature: another authority that calls itself the same.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
                Some(webpki::Error::CaUsedAsEndEntity) => Self::SelfSigned,
                _ => Self::BadCertificate,
            },
            _ => Self::BadCertificate, // an open enum again
        }
    }

    fn of_alert(alert: AlertDescription) -> Option<Self> {
        match alert {
            AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::AccessDenied => Some(Self::CertificateRequired),
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown => Some(Self::Distrusted),
            AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity
            | AlertDescription::NoApplicationProtocol => Some(Self::NothingInCommon),
            AlertDescription::UnrecognisedName => Some(Self::UnknownName),
            _ => None,
        }
    }

    const fn is_about_time(self) -> bool {
        matches!(self, Self::Expired | Self::NotYetValid)
    }

    /// In words, with what helps.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Expired => "its certificate is out of date; renew it",
            Self::NotYetValid => "its certificate is not valid yet; look at both clocks",
            Self::WrongName => {
                "its certificate is for another name; mend the endpoint's URL, or name the certificate's in `tls: {server_name}`"
            }
            Self::UnknownAuthority => {
                "its certificate is signed by an unknown authority; name the authority in `tls: {ca}`"
            }
            Self::SelfSigned => "its certificate is signed by itself; name that certificate in `tls: {ca}`",
            Self::BadCertificate => "its certificate cannot be used; replace it",
            Self::CertificateRequired => "it asks for a certificate of ours; set `tls: {certificate}`",
            Self::Distrusted => "it does not accept the certificate of `tls: {certificate}`",
            Self::UnknownName => "it does not know the name it was asked for; set `tls: {server_name}`",
            Self::NotTls => "it does not speak TLS at this port; write `http://`, or correct the port",
            Self::NothingInCommon => "it speaks no HTTP/1.1 over TLS 1.2 or 1.3 with a cipher that is safe",
        }
    }
}

/// Why a handshake failed, for people.
pub fn words(error: &io::Error) -> String {
    if let Some(why) = of_io(error) {
        return why;
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "it closed the connection in the TLS handshake".to_owned()
        }
        _ => format!("no TLS: {error}"),
    }
}

/// The same of whatever an error of TLS is the reason of: with TLS 1.3 a server that wants a certificate says so after the
/// handshake. None: TLS has nothing to do with it.
pub fn behind(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(why) = error.downcast_ref().and_then(of_io) {
            return Some(why);
        }
        at = error.source();
    }
    None
}

fn of_io(error: &io::Error) -> Option<String> {
    let error: &Error = error.get_ref()?.downcast_ref()?;
    Some(Why::of(error).map_or_else(|| format!("no TLS: {error}"), |why| why.words().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_used_are_named_and_read_again_when_they_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem").display().to_string();
        let trust = Trust::new(BackendTls { ca: Some(path.clone()), ..BackendTls::default() });
        let missing = trust.config().expect_err("there is none");
        assert!(missing.starts_with(&path) && missing.contains("cannot be read by ringctl"), "{missing}");
        std::fs::write(&path, "no certificate").expect("ours");
        assert!(trust.config().expect_err("a text").contains("holds no certificate in PEM"));
    }

    #[test]
    fn every_reason_has_words_of_its_own() {
        let all = [
            Why::Expired,
            Why::NotYetValid,
            Why::WrongName,
            Why::UnknownAuthority,
            Why::SelfSigned,
            Why::BadCertificate,
            Why::CertificateRequired,
            Why::Distrusted,
            Why::UnknownName,
            Why::NotTls,
            Why::NothingInCommon,
        ];
        let words: std::collections::HashSet<_> = all.iter().map(|why| why.words()).collect();
        assert_eq!(words.len(), all.len());
    }
}
