//! An authority and certificates for tests, made when they run.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// Somebody who signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: CertificateDer<'static>,
}

/// A certificate in the making.
pub struct Issue<'a> {
    authority: &'a Authority,
    params: CertificateParams,
}

/// A certificate with its key.
pub struct Issued {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "ringway test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.self_signed(&key).expect("an authority can be made");
        Self { certificate: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// A certificate for these names, signed by this authority.
    pub fn issue(&self, names: &[&str]) -> Issue<'_> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Issue { authority: self, params: CertificateParams::new(names).expect("names of a certificate") }
    }
}

impl Issue<'_> {
    /// Valid until the first of January of this year.
    pub fn valid_until(mut self, year: i32) -> Self {
        self.params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        self.params.not_after = rcgen::date_time_ymd(year, 1, 1);
        self
    }

    pub fn done(self) -> Issued {
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = self.params.signed_by(&key, &self.authority.issuer);
        let certificate = certificate.expect("a certificate can be made").der().clone();
        Issued { certificate, key: key.serialize_der() }
    }
}

impl Issued {
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    pub fn certified(&self) -> CertifiedKey {
        CertifiedKey::from_der(self.chain(), self.key(), &super::provider()).expect("they fit")
    }
}
