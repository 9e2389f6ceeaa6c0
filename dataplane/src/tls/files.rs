//! The files that certificates, keys and authorities come from.
//!
//! Owns: reading them within a bound, and noticing that one was replaced.
//! Must not: keep a key's text, or put any of it into a message: places and reasons only.
//! Read next: `vault.rs`, which asks.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::provider;
use crate::bounds::{TLS_AUTHORITIES_MAX, TLS_CHAIN_BYTES_MAX, TLS_FILE_BYTES_MAX};
use ringway_contract::snapshot::CertificateFiles;

/// What is wrong with a file, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Which of the fields names the file: `cert`, `key`, `ca`, `client_ca`.
    pub field: &'static str,
    /// What is wrong.
    pub what: String,
    /// What helps.
    pub mend: &'static str,
}

fn wrong(field: &'static str, what: String, mend: &'static str) -> Wrong {
    Wrong { field, what, mend }
}

/// What `stat` says of a file, links followed: an orchestrator swaps a link.
type Looks = (u64, u64, u64, i64, i64);

/// Files that are looked at again and again.
pub struct Watch {
    files: Vec<(PathBuf, Option<Looks>)>,
}

impl Watch {
    /// Notes how the files look. Do it before reading them: a change between is then seen later.
    pub fn of(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Self {
        let files = paths.into_iter().map(|path| (path.as_ref().to_owned(), looks(path.as_ref())));
        Self { files: files.collect() }
    }

    /// Whether any looks different than when this was last asked.
    pub fn changed(&mut self) -> bool {
        let mut changed = false;
        for (path, seen) in &mut self.files {
            let now = looks(path);
            changed |= std::mem::replace(seen, now) != now;
        }
        changed
    }
}

fn looks(path: &Path) -> Option<Looks> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}

/// A certificate with its chain, and the key that fits it.
pub fn certificate(files: &CertificateFiles) -> Result<CertifiedKey, Wrong> {
    let chain = chain("cert", &files.cert)?;
    let bytes: usize = chain.iter().map(|it| it.len()).sum();
    if bytes > TLS_CHAIN_BYTES_MAX {
        let what = format!(
            "the certificates of {} have {bytes} bytes; {TLS_CHAIN_BYTES_MAX} are allowed",
            files.cert
        );
        return Err(wrong("cert", what, "keep the server's own and those between it and the authority"));
    }
    let key = key(&files.key)?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => wrong(
            "key",
            format!("{} is not the key of {}", files.key, files.cert),
            "name the key that the certificate was made for",
        ),
        Error::InvalidCertificate(_) => wrong(
            "cert",
            format!("the first certificate of {} cannot be read", files.cert),
            "put the server's own certificate first, in PEM, then those that it is signed with",
        ),
        _ => wrong(
            "key",
            format!("{} holds a key of a kind that is not known here", files.key),
            "use RSA of 2048 bits or more, ECDSA on P-256 or P-384, or Ed25519",
        ),
    })
}

/// The certificates of a file, in order.
pub fn chain(field: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let text = read(field, path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|_| {
        wrong(field, format!("{path} is not PEM"), "give the file with `-----BEGIN CERTIFICATE-----`")
    })?;
    if chain.is_empty() {
        let what = format!("{path} holds no certificate");
        return Err(wrong(field, what, "give the file with `-----BEGIN CERTIFICATE-----`"));
    }
    Ok(chain)
}

fn key(path: &str) -> Result<PrivateKeyDer<'static>, Wrong> {
    const MEND: &str = "give the file with `-----BEGIN PRIVATE KEY-----`, without a passphrase";
    let text = read("key", path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        PemError::NoItemsFound => wrong("key", format!("{path} holds no private key"), MEND),
        _ => wrong("key", format!("{path} is not PEM"), MEND),
    })
}

/// The authorities of a file.
pub fn authorities(
    field: &'static str,
    path: &str,
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Wrong> {
    let chain = chain(field, path)?;
    if chain.len() > TLS_AUTHORITIES_MAX {
        let what = format!("{path} holds {} certificates; {TLS_AUTHORITIES_MAX} are allowed", chain.len());
        return Err(wrong(field, what, "keep the authorities that are needed"));
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(chain.iter().cloned());
    if added == 0 {
        let what = format!("{path} holds no certificate that can be read");
        return Err(wrong(field, what, "give the authority's certificate in PEM"));
    }
    Ok((roots, chain))
}

/// The authorities that this system trusts: what its administrator put there counts, as it does for curl.
pub fn system_authorities() -> Result<RootCertStore, Wrong> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let what = "this system has no list of trusted authorities".to_owned();
        let mend = "install the package ca-certificates, set SSL_CERT_FILE, or name the authority in `tls: {ca: FILE}`";
        return Err(wrong("ca", what, mend));
    }
    Ok(roots)
}

fn read(field: &'static str, path: &str) -> Result<Vec<u8>, Wrong> {
    let mut text = Vec::new();
    let reading = File::open(path).and_then(|file| file.take(TLS_FILE_BYTES_MAX + 1).read_to_end(&mut text));
    match reading {
        Err(error) => Err(wrong(
            field,
            format!("{path} cannot be read: {error}"),
            "give a path that the user who runs ringway may read, on its own machine",
        )),
        Ok(n) if n as u64 > TLS_FILE_BYTES_MAX => {
            let what = format!("{path} is larger than {TLS_FILE_BYTES_MAX} bytes");
            Err(wrong(field, what, "give the file of the certificate itself"))
        }
        Ok(_) => Ok(text),
    }
}
