//! Signature Version 4: the proof that a request to Amazon comes from who has the key.
//!
//! Owns: the canonical form of a request, and its signature. Source: AWS General Reference, "Signature Version 4 signing
//! process".
//! Must not: keep a secret longer than a signature takes, or read a clock.
//! Read next: `bedrock.rs`.

use std::fmt::Write as _;

use ring::{digest, hmac};
use ringway_contract::snapshot::AwsKey;

use crate::observe::stamp;

/// A request as it is signed.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// As it is sent.
    pub method: &'a str,
    /// As it is sent, percent-encoded, without query: what is asked of models has none.
    pub path: &'a [u8],
    /// The `Host` sent.
    pub host: &'a [u8],
    /// The media type sent.
    pub content_type: &'a [u8],
    /// All of it.
    pub body: &'a [u8],
}

/// Fields that prove a request. Their order is the canonical one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// `authorization`
    pub authorization: String,
    /// `x-amz-date`
    pub date: String,
}

/// Signs a request for a service in a region, at this moment.
pub fn sign(request: &Unsigned<'_>, key: &AwsKey, region: &str, service: &str, unix_ms: u64) -> Proof {
    let date = date(unix_ms);
    let scope = format!("{}/{region}/{service}/aws4_request", &date[..8]);
    let mut fields = vec![
        ("content-type", String::from_utf8_lossy(request.content_type)),
        ("host", String::from_utf8_lossy(request.host)),
        ("x-amz-date", date.as_str().into()),
    ];
    if let Some(token) = &key.session_token {
        fields.push(("x-amz-security-token", token.as_str().into()));
    }
    let names = fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let mut canonical = format!("{}\n{}\n\n", request.method, twice_encoded(request.path));
    for (name, value) in &fields {
        let _ = writeln!(canonical, "{name}:{}", value.trim()); // writing to a String cannot fail
    }
    let _ = write!(canonical, "\n{names}\n{}", hex(digest::digest(&digest::SHA256, request.body).as_ref()));
    let canonical = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{canonical}");
    let signature = hex(mac(signing_key(key, &date[..8], region, service), to_sign.as_bytes()).as_ref());
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        key.id
    );
    Proof { authorization, date }
}

/// `20261125T232233Z`
fn date(unix_ms: u64) -> String {
    let mut text = String::new();
    stamp::push(&mut text, unix_ms);
    let seconds = text.split('.').next().unwrap_or_default();
    seconds.chars().filter(char::is_ascii_alphanumeric).chain(['Z']).collect()
}

fn signing_key(key: &AwsKey, day: &str, region: &str, service: &str) -> hmac::Tag {
    let day = mac(format!("AWS4{}", key.secret).as_bytes(), day.as_bytes());
    let region = mac(day.as_ref(), region.as_bytes());
    let service = mac(region.as_ref(), service.as_bytes());
    mac(service.as_ref(), b"aws4_request")
}

fn mac(key: impl AsRef<[u8]>, bytes: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // writing to a String cannot fail
        hex
    })
}

/// What is signed of a path that is sent encoded: each segment encoded once more.
fn twice_encoded(path: &[u8]) -> String {
    path.iter().fold(String::new(), |mut out, &byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}"); // writing to a String cannot fail
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn key(session_token: Option<&str>) -> AwsKey {
        AwsKey {
            id: "AKIDEXAMPLE".to_owned(),
            secret: SECRET.to_owned(),
            session_token: session_token.map(str::to_owned),
        }
    }

    /// What botocore makes of the same requests, keys and moments, one of Amazon's published test suite among them; see
    /// `tests/sdk/sigv4_vectors.py`.
    #[test]
    fn signatures_are_those_of_amazons_own_client() {
        let made: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/sigv4.json")).expect("it is JSON");
        for case in made["cases"].as_array().expect("cases") {
            let text = |name: &str| case[name].as_str().expect("text");
            let unsigned = Unsigned {
                method: "POST",
                path: text("path").as_bytes(),
                host: text("host").as_bytes(),
                content_type: text("content_type").as_bytes(),
                body: text("body").as_bytes(),
            };
            let key = key(case["session_token"].as_str());
            let unix_ms = case["unix_s"].as_u64().expect("a moment") * 1_000 + 123;
            let proof = sign(&unsigned, &key, text("region"), text("service"), unix_ms);
            assert_eq!(proof.authorization, text("authorization"), "{}", text("name"));
            assert_eq!(proof.date, text("at").replace(['-', ':'], "") + "Z");
        }
    }

    /// The worked example of Amazon's description of the signature.
    #[test]
    fn a_signing_key_is_derived_as_published() {
        let derived = hex(signing_key(&key(None), "20150830", "us-east-1", "iam").as_ref());
        assert_eq!(derived, "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }
}
