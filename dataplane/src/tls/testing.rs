//! An authority and certificates for tests, made when they run.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use ringway_contract::snapshot::CertificateFiles;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// Somebody who signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: CertificateDer<'static>,
    pub pem: String,
}

/// A certificate in the making.
pub struct Issue<'a> {
    authority: Option<&'a Authority>,
    params: CertificateParams,
}

/// A certificate with its key.
pub struct Issued {
    certificate: CertificateDer<'static>,
    pub cert_pem: String,
    pub key_pem: String,
    key_der: Vec<u8>,
}

impl Authority {
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

    /// A certificate for these names, signed by this authority.
    pub fn issue(&self, names: &[&str]) -> Issue<'_> {
        Issue { authority: Some(self), params: params(names) }
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).expect("names of a certificate")
}

impl Issue<'static> {
    /// A certificate for these names, signed by itself.
    pub fn self_signed(names: &[&str]) -> Self {
        Self { authority: None, params: params(names) }
    }
}

impl Issue<'_> {
    /// Valid until the first of January of this year.
    pub fn valid_until(mut self, year: i32) -> Self {
        self.params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        self.params.not_after = rcgen::date_time_ymd(year, 1, 1);
        self
    }

    /// An authority's certificate, as `openssl req -x509` makes them.
    pub fn as_authority(mut self) -> Self {
        self.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self
    }

    pub fn done(self) -> Issued {
        let key = KeyPair::generate().expect("a key can be made");
        let made = match self.authority {
            Some(authority) => self.params.signed_by(&key, &authority.issuer),
            None => self.params.self_signed(&key),
        };
        let certificate = made.expect("a certificate can be made");
        Issued {
            cert_pem: certificate.pem(),
            certificate: certificate.der().clone(),
            key_pem: key.serialize_pem(),
            key_der: key.serialize_der(),
        }
    }
}

impl Issued {
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key_der.clone()).into()
    }

    pub fn certified(&self) -> CertifiedKey {
        CertifiedKey::from_der(self.chain(), self.key(), &super::provider()).expect("they fit")
    }

    /// Writes both files into `folder` under `name`.
    pub fn write(&self, folder: &Path, name: &str) -> CertificateFiles {
        let path = |what: &str| folder.join(format!("{name}.{what}")).display().to_string();
        let files = CertificateFiles { cert: path("pem"), key: path("key") };
        std::fs::write(&files.cert, &self.cert_pem).expect("writable");
        std::fs::write(&files.key, &self.key_pem).expect("writable");
        files
    }
}
