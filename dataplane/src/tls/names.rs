//! Which certificate answers a caller: by the name it asks for, then by what it can verify.
//!
//! Owns: the certificates of one listener, by the names in them.
//! Must not: refuse a name: one that no certificate has gets the first one, and the caller decides.
//! Read next: `server.rs`.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The certificates of one listener; at least one.
#[derive(Debug)]
pub struct Certificates {
    keys: Box<[Arc<CertifiedKey>]>,
    by_name: HashMap<Box<str>, Vec<usize>>,
}

impl Certificates {
    /// Of these, in the order of the file.
    pub fn new(keys: Vec<CertifiedKey>) -> Self {
        let mut by_name: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (index, key) in keys.iter().enumerate() {
            for name in names(key) {
                by_name.entry(name).or_default().push(index);
            }
        }
        Self { keys: keys.into_iter().map(Arc::new).collect(), by_name }
    }

    /// The certificates for this name (lower case), best first; none: no certificate has it.
    fn named(&self, name: &str) -> Option<&[usize]> {
        if let Some(exact) = self.by_name.get(name) {
            return Some(exact);
        }
        // A wildcard stands for one label (RFC 9525 section 6.3).
        let (_, parent) = name.split_once('.')?;
        self.by_name.get(format!("*.{parent}").as_str()).map(Vec::as_slice)
    }

    fn choose(&self, name: Option<&str>, can_verify: impl Fn(&CertifiedKey) -> bool) -> &Arc<CertifiedKey> {
        let named = name.and_then(|name| self.named(&name.to_ascii_lowercase())).unwrap_or(&[0]);
        let fits = named.iter().map(|&index| &self.keys[index]).find(|key| can_verify(key));
        fits.unwrap_or(&self.keys[named[0]])
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let chosen = self.choose(hello.server_name(), |key| key.key.choose_scheme(schemes).is_some());
        Some(Arc::clone(chosen))
    }
}

fn names(key: &CertifiedKey) -> Vec<Box<str>> {
    let Some(certificate) = key.cert.first() else { return Vec::new() };
    let Ok(parsed) = webpki::EndEntityCert::try_from(certificate) else { return Vec::new() };
    parsed.valid_dns_names().map(|name| name.to_ascii_lowercase().into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::Authority;

    fn chosen(certificates: &Certificates, name: Option<&str>) -> usize {
        let key = certificates.choose(name, |_| true);
        certificates.keys.iter().position(|it| Arc::ptr_eq(it, key)).expect("one of them")
    }

    #[test]
    fn a_name_gets_its_certificate_and_any_other_the_first() {
        let authority = Authority::new();
        let key = |names: &[&str]| authority.issue(names).done().certified();
        let certificates =
            Certificates::new(vec![key(&["first.test"]), key(&["b.test", "*.b.test"]), key(&["x.b.test"])]);
        for (name, index) in [
            (None, 0),
            (Some("first.test"), 0),
            (Some("b.test"), 1),
            (Some("a.b.test"), 1),
            (Some("A.B.TEST"), 1),
            (Some("x.b.test"), 2),   // the exact name before the wildcard
            (Some("y.a.b.test"), 0), // a wildcard is one label
            (Some("other.test"), 0),
            (Some("test"), 0),
        ] {
            assert_eq!(chosen(&certificates, name), index, "{name:?}");
        }
    }

    #[test]
    fn of_two_certificates_for_a_name_a_caller_gets_one_it_can_verify() {
        let authority = Authority::new();
        let key = |names: &[&str]| authority.issue(names).done().certified();
        let certificates = Certificates::new(vec![key(&["a.test"]), key(&["a.test"])]);
        let second = Arc::clone(&certificates.keys[1]);
        let key = certificates.choose(Some("a.test"), |key| key.cert == second.cert);
        assert!(Arc::ptr_eq(key, &second));
        let none = certificates.choose(Some("a.test"), |_| false);
        assert!(Arc::ptr_eq(none, &certificates.keys[0]), "then the handshake fails with its own reason");
    }
}
