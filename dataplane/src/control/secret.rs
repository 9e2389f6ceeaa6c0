//! Secrets in what control shows and takes.
//!
//! Owns: the fingerprint that stands for a secret wherever a snapshot is read (SEC-KEY-10), and putting the secret
//! back where a snapshot comes in that still carries its fingerprint.
//! Must not: offer any way to read a secret.
//! Read next: [`super::pipeline`].

use ringway_contract::snapshot::{Backend, Credential};
use ringway_contract::{Problem, Snapshot};
use sha2::{Digest, Sha256};

const MARK: &str = "sha256:";
const DIGITS: usize = 8;

/// `sha256:` and the first eight hex digits: enough to see that a secret changed, not to find it.
pub fn fingerprint(secret: &str) -> String {
    let digest = Sha256::digest(secret);
    let digits: String = digest.iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect();
    format!("{MARK}{digits}")
}

/// The snapshot as it may be shown.
pub fn redacted(snapshot: &Snapshot) -> Snapshot {
    let mut shown = snapshot.clone();
    for credential in shown.backends.iter_mut().filter_map(|backend| backend.credential.as_mut()) {
        credential.value = fingerprint(&credential.value);
    }
    shown
}

/// Puts secrets back for fingerprints: a snapshot that was read, edited and sent again keeps its credentials. A
/// fingerprint stands for the running credential of the backend of the same name, and for no other.
pub fn restore(backends: &mut [Backend], running: Option<&Snapshot>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, backend) in backends.iter_mut().enumerate() {
        let Some(credential) =
            backend.credential.as_mut().filter(|credential| is_fingerprint(&credential.value))
        else {
            continue;
        };
        let known = running.and_then(|running| known(running, &backend.name, credential));
        match known {
            Some(secret) => credential.value = secret,
            None => problems.push(
                Problem::new(
                    format!("backends[{index}].credential.value"),
                    "is a fingerprint, and not that of the running credential of this backend",
                )
                .mend("send the secret itself"),
            ),
        }
    }
    problems
}

fn known(running: &Snapshot, backend: &str, shown: &Credential) -> Option<String> {
    let backend = running.backends.iter().find(|one| one.name == backend)?;
    let credential = backend.credential.as_ref()?;
    let same = credential.header == shown.header && fingerprint(&credential.value) == shown.value;
    same.then(|| credential.value.clone())
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
