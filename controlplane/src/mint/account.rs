//! A service account of Google's, and the proof that a token is asked for with.
//!
//! Owns: the key file's fields, and the signed claim (RFC 7523, RS256 of RFC 7518 section 3.3).
//! Must not: ask anybody, or show a key.
//! Read next: `ask.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64URL};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use serde_json::json;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Seconds that a claim is good for: what the token service takes at most.
const CLAIM_S: u64 = 3_600;

/// A service account, from its key file. Its key never shows in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Who it is.
    pub(super) email: String,
    key_id: String,
    /// PKCS #8, DER.
    key: Vec<u8>,
    /// Where tokens are had.
    pub(super) token_uri: hyper::Uri,
}

#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    #[serde(default)]
    private_key_id: String,
    private_key: String,
    token_uri: String,
}

impl ServiceAccount {
    /// Reads the JSON of a key file.
    ///
    /// # Errors
    /// What is wrong with it, without repeating any of it.
    pub fn read(text: &str) -> Result<Self, String> {
        let file: KeyFile = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let pem: String = file.private_key.lines().filter(|line| !line.starts_with("-----")).collect();
        let key = STANDARD.decode(pem.trim()).map_err(|_| "`private_key` is no PEM".to_owned())?;
        RsaKeyPair::from_pkcs8(&key).map_err(|_| "`private_key` is no RSA key".to_owned())?;
        let token_uri: hyper::Uri =
            file.token_uri.parse().map_err(|_| "`token_uri` is no address".to_owned())?;
        if token_uri.host().is_none() || !matches!(token_uri.scheme_str(), Some("http" | "https")) {
            return Err("`token_uri` is no http address".to_owned());
        }
        if token_uri.scheme_str() == Some("http") && !token_uri.host().is_some_and(is_this_machine) {
            return Err("`token_uri` is not https: whoever listens on the way could use the claim".to_owned());
        }
        Ok(Self { email: file.client_email, key_id: file.private_key_id, key, token_uri })
    }

    /// The signed claim, at this second since 1970.
    pub(super) fn assertion(&self, now_s: u64) -> Result<String, String> {
        let head = json!({"alg": "RS256", "typ": "JWT", "kid": self.key_id});
        let claim = json!({"iss": self.email, "scope": SCOPE, "aud": self.token_uri.to_string(),
            "iat": now_s, "exp": now_s + CLAIM_S});
        let text = format!("{}.{}", BASE64URL.encode(head.to_string()), BASE64URL.encode(claim.to_string()));
        let pair = RsaKeyPair::from_pkcs8(&self.key).map_err(|error| error.to_string())?;
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| "the claim cannot be signed".to_owned())?;
        Ok(format!("{text}.{}", BASE64URL.encode(signature)))
    }
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl std::fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceAccount")
            .field("email", &self.email)
            .field("key", &"redacted")
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    const FILE: &str = include_str!("../../tests/fixtures/mint/account.json");

    #[test]
    fn a_claim_is_signed_with_the_accounts_key_for_an_hour() {
        let account = ServiceAccount::read(FILE).expect("a key file");
        let assertion = account.assertion(1_000).expect("signed");
        let (text, signature) = assertion.rsplit_once('.').expect("three parts");
        let signature = BASE64URL.decode(signature).expect("base64url");
        let pair = RsaKeyPair::from_pkcs8(&account.key).expect("a key");
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key());
        assert!(public.verify(text.as_bytes(), &signature).is_ok());
        let claim = BASE64URL.decode(text.split_once('.').expect("two parts").1).expect("base64url");
        let claim: serde_json::Value = serde_json::from_slice(&claim).expect("JSON");
        assert_eq!((&claim["iss"], &claim["exp"]), (&json!("ringway@test-only.example"), &json!(4_600)));
        assert_eq!(claim["aud"], "http://127.0.0.1:9/token");
        // What OpenSSL makes of the same text and key: this signature has no chance in it (RFC 8017 section 8.2).
        assert_eq!(assertion.rsplit_once('.').expect("three parts").1, BY_OPENSSL.concat());
    }

    const BY_OPENSSL: [&str; 4] = [
        "IiY8CV9LARMRKro0lXluMkylkAThVsPTE7YUsG2jglbyk3N_yIc8MUcjNKyQUvtn3v9Yt28su0Do33Xe2dNR8gr_J8",
        "pBYyphpj1J0scZJMbQjp5eMYBCzr-xTNxe0e5HWvT2FSS_DeyV0TQJxh_-J1HarKBe5ZYAHalzXlnjgVJ_WsW0kh80",
        "xJ5pwePQHXBWZmAoStE8sc-lPJ3nCuePW0NH8QD7fjzYWKCjIhIvyIcKFmjv_VS5lA8LY6rErFHrC7RRlrKNCcYMIN",
        "XsngCMpGjTReQ8mKIh0xCU6sDYSP-cWES093ct_iG2CYvDcYPil-gsSLZxWWwPTTlVNIHe4Q",
    ];

    #[test]
    fn a_file_that_is_none_says_what_is_wrong_and_nothing_of_its_content() {
        for (from, to, says) in [
            ("private_key\"", "publick_key\"", "missing field `private_key`"),
            ("MII", "M!!", "is no PEM"),
            ("MII", "AAA", "is no RSA key"),
            ("http://127", "ftp://127", "is no http address"),
            ("http://127.0.0.1:9", "http://tokens.example", "is not https"),
            ("http://127.0.0.1:9", "http://127.0.0.1.example", "is not https"),
        ] {
            let error = ServiceAccount::read(&FILE.replacen(from, to, 1)).expect_err("it is wrong");
            assert!(error.contains(says), "{error}");
        }
        let account = ServiceAccount::read(FILE).expect("a key file");
        assert!(!format!("{account:?}").contains("MII"));
    }
}
