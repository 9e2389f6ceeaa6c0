//! SHA-256 as `sha256:<hex>`: how revisions name their content and how secrets are shown without being told.
//!
//! Owns: the digest's text form, and redaction. Must not: be used to keep passwords.

use std::fmt::Write as _;

use ringway_contract::Snapshot;
use ringway_contract::snapshot::Backend;
use sha2::{Digest as _, Sha256};

/// Hex digits shown of a secret's digest: enough to see whether two are the same, too few to search by.
const SECRET_DIGITS: usize = 8;

/// `sha256:` and 64 hex digits.
pub fn sha256(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// `sha256:` and the first eight hex digits.
pub fn short(bytes: &[u8]) -> String {
    let mut text = sha256(bytes);
    text.truncate("sha256:".len() + SECRET_DIGITS);
    text
}

/// The same snapshot with every secret replaced by its short digest. Those that are one already stay: the
/// data plane shows secrets in the same form.
#[must_use]
pub fn redact(mut snapshot: Snapshot) -> Snapshot {
    for (_, secret) in snapshot.backends.iter_mut().flat_map(Backend::secrets_mut) {
        if !is_short(secret) {
            *secret = short(secret.as_bytes());
        }
    }
    snapshot
}

fn is_short(value: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    value.strip_prefix("sha256:").is_some_and(|rest| rest.len() == SECRET_DIGITS && rest.bytes().all(hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_abc_is_the_one_of_fips_180() {
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), abc);
        assert_eq!(short(b"abc"), "sha256:ba7816bf");
        assert!(is_short(&short(b"abc")) && !is_short(abc) && !is_short("Bearer sk-1"));
    }
}
