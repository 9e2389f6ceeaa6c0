//! Secrets in what control shows and takes.
//!
//! Owns: the fingerprint that stands for a secret wherever a snapshot is read (SEC-KEY-10), and putting the secret
//! back where a snapshot comes in that still carries its fingerprint.
//! Must not: offer any way to read a secret.
//! Read next: [`super::pipeline`].

use std::fmt::Write;

use ringway_contract::snapshot::Backend;
use ringway_contract::{Problem, Snapshot};
use sha2::{Digest, Sha256};

const MARK: &str = "sha256:";
const DIGITS: usize = 8;

/// `sha256:` and the first eight hex digits: enough to see that a secret changed, not to find it.
pub fn fingerprint(secret: &str) -> String {
    let digest = Sha256::digest(secret);
    let mut out = MARK.to_owned();
    for byte in &digest[..DIGITS / 2] {
        let _ = write!(out, "{byte:02x}"); // writing to a String cannot fail
    }
    out
}

/// The snapshot as it may be shown.
pub fn redacted(snapshot: &Snapshot) -> Snapshot {
    let mut shown = snapshot.clone();
    for (_, secret) in shown.backends.iter_mut().flat_map(Backend::secrets_mut) {
        *secret = fingerprint(secret);
    }
    shown
}

/// Puts secrets back for fingerprints: a snapshot that was read, edited and sent again keeps its credentials. A
/// fingerprint stands for the running credential of the backend of the same name, and for no other; and only where that
/// goes already, by scheme, host and port (SEC-KEY-04): who wants it sent elsewhere has to know it.
pub fn restore(backends: &mut [Backend], running: Option<&Snapshot>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, backend) in backends.iter_mut().enumerate() {
        let same = running.and_then(|running| running.backends.iter().find(|one| one.name == backend.name));
        // A credential that goes into another field is another one.
        let field =
            |backend: &Backend| backend.credential.as_ref().map(|credential| credential.header.clone());
        let same = same.filter(|running| field(running) == field(backend));
        let moved = same.is_some_and(|running| !backend.leads_only_where(running));
        let same = same.filter(|_| !moved);
        for (at, secret) in backend.secrets_mut().filter(|(_, secret)| is_fingerprint(secret)) {
            match same.and_then(|running| known(running, at, secret)) {
                Some(known) => *secret = known,
                None => problems.push(
                    Problem::new(
                        format!("backends[{index}].{at}"),
                        if moved {
                            "is a fingerprint, and this backend leads elsewhere than the one whose secret it was"
                        } else {
                            "is a fingerprint, and not that of the running credential of this backend"
                        },
                    )
                    .mend("send the secret itself"),
                ),
            }
        }
    }
    problems
}

fn known(running: &Backend, at: &str, shown: &str) -> Option<String> {
    let (_, secret) = running.secrets().find(|(place, _)| *place == at)?;
    (fingerprint(secret) == shown).then(|| secret.clone())
}

fn is_fingerprint(value: &str) -> bool {
    value.strip_prefix(MARK).is_some_and(|rest| {
        rest.len() == DIGITS && rest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_of_the_known_form() {
        assert_eq!(fingerprint("abc"), "sha256:ba7816bf"); // FIPS 180-2, appendix B.1
        assert!(is_fingerprint(&fingerprint("x")));
        assert!(!is_fingerprint("sha256:BA7816BF") && !is_fingerprint("Bearer sk-1"));
    }
}
