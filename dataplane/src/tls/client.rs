//! The client's side of TLS: whom a backend's endpoints must prove to be, and what we show them.
//!
//! Owns: a backend's configuration for rustls, swapped when its files change; the check of an endpoint's certificate.
//! Must not: fall back to plain text, or to less verification than the configuration asks for.
//! Read next: `vault.rs`.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use ringway_contract::snapshot::BackendTls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::der;
use super::files::{self, Watch, Wrong};
use super::provider;
use crate::bounds::TLS_SESSIONS_MAX;

/// The TLS of a backend's endpoints.
pub struct ClientSide {
    spec: BackendTls,
    config: ArcSwap<ClientConfig>,
    watch: Mutex<Watch>,
}

impl std::fmt::Debug for ClientSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientSide({:?})", self.spec)
    }
}

impl ClientSide {
    /// Reads all files.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn load(spec: &BackendTls) -> Result<Self, Wrong> {
        let watch = Mutex::new(Watch::of(paths(spec)));
        let config = ArcSwap::from_pointee(build(spec)?);
        Ok(Self { spec: spec.clone(), config, watch })
    }

    /// For a handshake that begins now.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.load_full()
    }

    /// Reads its files again if one looks different; what cannot be used changes nothing. None: nothing to do.
    pub fn refresh(&self) -> Option<Result<(), Wrong>> {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.changed().then(|| build(&self.spec).map(|config| self.config.store(Arc::new(config))))
    }

    /// What it is of, for the log.
    pub fn spec(&self) -> &BackendTls {
        &self.spec
    }
}

fn paths(spec: &BackendTls) -> impl Iterator<Item = &str> {
    let pair = spec.certificate.iter().flat_map(|pair| [&*pair.cert, &*pair.key]);
    pair.chain(spec.ca.as_deref())
}

fn build(spec: &BackendTls) -> Result<ClientConfig, Wrong> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has ciphers for both versions")
        .dangerous()
        .with_custom_certificate_verifier(verifier(spec)?);
    let mut config = match &spec.certificate {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let key = files::certificate(pair)?;
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)))
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A lock inside, taken by handshakes only. A new configuration begins without sessions: what they proved is past.
    config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS_MAX);
    Ok(config)
}

fn verifier(spec: &BackendTls) -> Result<Arc<dyn ServerCertVerifier>, Wrong> {
    if spec.insecure_skip_verify {
        return Ok(Arc::new(Anybody));
    }
    let (roots, pinned) = match &spec.ca {
        Some(path) => files::authorities("ca", path)?,
        None => (files::system_authorities()?, Vec::new()),
    };
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let chains = chains.map_err(|_| Wrong {
        field: "ca",
        what: "the authorities cannot be used".to_owned(),
        mend: "give the authority's certificate in PEM",
    })?;
    Ok(Arc::new(Verifier { chains, pinned }))
}

/// Verifies as WebPKI does, and takes a certificate that is itself in the `ca` file for the name in it: a server with
/// a self-signed certificate is trusted by naming that certificate, as nginx and curl allow.
#[derive(Debug)]
struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

/// Checks what a chain would have: the time and the name.
fn by_pin(certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
    let bad = || Error::from(CertificateError::BadEncoding);
    let validity = der::validity(certificate).ok_or_else(bad)?;
    let now_s = now.as_secs().cast_signed();
    if now_s > validity.not_after_s {
        return Err(CertificateError::Expired.into());
    }
    if now_s < validity.not_before_s {
        return Err(CertificateError::NotValidYet.into());
    }
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|_| bad())?;
    parsed.verify_is_valid_for_subject_name(name).map_err(|_| CertificateError::NotValidForName.into())
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
            Err(_) if self.pinned.contains(&end_entity.clone().into_owned()) => {
                by_pin(end_entity, server_name, now).map(|()| ServerCertVerified::assertion())
            }
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) if is_self_signed(end_entity) => {
                let own = OtherError(Arc::new(webpki::Error::CaUsedAsEndEntity));
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
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
