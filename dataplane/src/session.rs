//! Sessions: answers carry a token that says where they came from, and a caller that sends it back is preferably sent there.
//!
//! Owns: the token. It holds all there is of a session, under a keyed MAC, so nothing is kept between requests.
//! Must not: refuse anybody, or say why a token is not taken: it is a preference, never a pin. No token goes upstream.
//! Read next: [`crate::balance`], which prefers.
//!
//! ```text
//! version 1 | backend 8 | endpoint 8 | expiry 4 | MAC 16        bytes, in base64url without padding
//! ```
//! Backend and endpoint are digests of their names, the expiry is in seconds since 1970, and the MAC is the first half of
//! HMAC-SHA-256 over what stands before it and the tenant.

use std::num::NonZeroU16;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hmac, rand};
use ringway_contract::snapshot;
use subtle::ConstantTimeEq;
use xxhash_rust::xxh3::xxh3_64;

use crate::attempt::Aim;
use crate::bounds::ENDPOINTS_MAX;
use crate::clock::unix_ms;
use crate::exchange::Exchange;
use crate::intake::Intake;
use crate::table::{Endpoint, Route};

/// The field that carries it, both ways.
pub const FIELD: &str = "x-ringway-session";

const VERSION: u8 = 1;
const SAID_BYTES: usize = 1 + 8 + 8 + 4;
const MAC_BYTES: usize = 16;
const TOKEN_BYTES: usize = SAID_BYTES + MAC_BYTES;
const TEXT_BYTES: usize = (TOKEN_BYTES * 8).div_ceil(6);
/// Until callers have keys.
const NO_TENANT: &[u8] = b"";

/// A token as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token([u8; TEXT_BYTES]);

impl Token {
    /// Its text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Where the session of a request was before: a token that was believed. Four bytes, as each desk has room for one: of the
/// backend's digest it keeps 16 bits. Two backends with the same share a preference at worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    backend: NonZeroU16,
    at: u16,
}

const _: () = assert!(ENDPOINTS_MAX <= u16::MAX as usize, "a claim keeps its endpoint's place in 16 bits");

/// The key of a process whose configuration brings none: after a restart, and from other processes, no token is taken.
pub fn own_key() -> hmac::Key {
    hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).expect("the system has chance to give")
}

/// The sessions of one backend.
#[derive(Debug)]
pub struct Sessions {
    key: Arc<hmac::Key>,
    backend: u64,
    endpoints: Box<[u64]>,
    ttl_s: u64,
}

impl Sessions {
    /// Those of the backend of this name; `own_key` is taken where the configuration brings none.
    pub fn new(
        sessions: &snapshot::Sessions,
        backend: &str,
        endpoints: &[Endpoint],
        own_key: Arc<hmac::Key>,
    ) -> Self {
        let given = |key: &String| Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()));
        Self {
            key: sessions.key.as_ref().map_or(own_key, given),
            backend: named(backend),
            endpoints: endpoints.iter().map(|endpoint| named(endpoint.name.as_str())).collect(),
            ttl_s: sessions.ttl_ms.get().div_ceil(1_000),
        }
    }

    /// The token of an answer of this endpoint (`backend/authority`).
    pub fn token(&self, endpoint: &str, tenant: &[u8], now_s: u64) -> Token {
        let until_s = u32::try_from(now_s + self.ttl_s).unwrap_or(u32::MAX);
        let mut token = [0; TOKEN_BYTES];
        token[0] = VERSION;
        token[1..9].copy_from_slice(&self.backend.to_be_bytes());
        token[9..17].copy_from_slice(&named(endpoint).to_be_bytes());
        token[17..SAID_BYTES].copy_from_slice(&until_s.to_be_bytes());
        let mac = self.mac(&token[..SAID_BYTES], tenant);
        token[SAID_BYTES..].copy_from_slice(&mac.as_ref()[..MAC_BYTES]);
        let mut text = [0; TEXT_BYTES];
        URL_SAFE_NO_PAD.encode_slice(token, &mut text).expect("it has the length of a token's text");
        Token(text)
    }

    /// Where the session was, if the token is one of ours for this tenant and not over.
    pub fn claim(&self, text: &[u8], tenant: &[u8], now_s: u64) -> Option<Claim> {
        let mut token = [0; TOKEN_BYTES];
        if text.len() != TEXT_BYTES || URL_SAFE_NO_PAD.decode_slice(text, &mut token) != Ok(TOKEN_BYTES) {
            return None;
        }
        let (said, mac) = token.split_at(SAID_BYTES);
        let until_s = u32::from_be_bytes(said[17..].try_into().ok()?);
        if said[0] != VERSION || said[1..9] != self.backend.to_be_bytes() || u64::from(until_s) < now_s {
            return None;
        }
        let endpoint = u64::from_be_bytes(said[9..17].try_into().ok()?);
        let at = self.endpoints.iter().position(|known| *known == endpoint)?;
        let ours = self.mac(said, tenant);
        let same = bool::from(ours.as_ref()[..MAC_BYTES].ct_eq(mac));
        same.then_some(Claim { backend: self.short(), at: at as u16 })
    }

    /// The place of the endpoint that a claim names, if it is about this backend.
    pub fn place(&self, claim: Claim) -> Option<usize> {
        (claim.backend == self.short()).then_some(claim.at.into())
    }

    fn short(&self) -> NonZeroU16 {
        NonZeroU16::new(self.backend as u16).unwrap_or(NonZeroU16::MAX)
    }

    /// What is said has one length, so a tenant cannot pass for a part of it.
    fn mac(&self, said: &[u8], tenant: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(said);
        context.update(tenant);
        context.sign()
    }
}

fn named(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// Where the session of a request with this field was, on a route where backends have any.
pub fn claimed(route: &Route, text: Option<&[u8]>) -> Option<Claim> {
    let (text, now_s) = (text?, unix_ms() / 1_000);
    let sessions = route.destinations().filter_map(|target| target.backend.sessions.as_ref());
    { sessions }.find_map(|sessions| sessions.claim(text, NO_TENANT, now_s))
}

/// The same of the exchange at hand.
pub fn of(x: &Exchange<'_>, route: &Route, intake: Option<&Intake>) -> Option<Claim> {
    if !route.sessions {
        return None;
    }
    claimed(route, x.scratch.head.find(intake?.head(), FIELD))
}

/// The token for the answer at hand, where its backend has sessions and it is a good one.
#[inline]
pub fn granted(x: &Exchange<'_>, aim: Aim<'_>) -> Option<Token> {
    let sessions = aim.backend.sessions.as_ref()?;
    let good = (200..300).contains(&x.scratch.answer.status());
    good.then(|| sessions.token(aim.endpoint.name.as_str(), NO_TENANT, unix_ms() / 1_000))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ringway_contract::Millis;
    use serde_json::json;

    use super::*;
    use crate::table::{Table, testing};

    const NOW_S: u64 = 1_800_000_000;

    fn table(key: Option<&str>) -> Table {
        let backend = |name: &str, endpoints: &[&str]| {
            let key = key.map(str::to_owned);
            let sessions = Some(snapshot::Sessions { ttl_ms: Millis::from_secs(600), key });
            snapshot::Backend { sessions, ..testing::backend(name, "vllm", endpoints) }
        };
        let backends = vec![backend("a", &["a:1", "a:2"]), backend("b", &["a:1", "a:2"])];
        testing::compiled(&testing::snapshot(backends, vec![testing::route("r", json!({}), "a")]))
    }

    fn sessions(table: &Table, at: usize) -> &Sessions {
        table.backends()[at].sessions.as_ref().expect("it has them")
    }

    fn place(sessions: &Sessions, token: Token, now_s: u64) -> Option<usize> {
        sessions.claim(token.as_bytes(), b"t", now_s).and_then(|claim| sessions.place(claim))
    }

    #[test]
    fn a_token_names_its_endpoint_until_it_ends() {
        let table = table(None);
        let sessions = sessions(&table, 0);
        for (at, name) in ["a/a:1", "a/a:2"].into_iter().enumerate() {
            let token = sessions.token(name, b"t", NOW_S);
            assert_eq!(place(sessions, token, NOW_S), Some(at));
            assert_eq!(place(sessions, token, NOW_S + 600), Some(at));
            assert_eq!(place(sessions, token, NOW_S + 601), None);
            assert!(token.as_bytes().iter().all(u8::is_ascii_graphic));
        }
    }

    #[test]
    fn tokens_of_others_are_not_taken() {
        let (table, other) = (table(None), self::table(None));
        let (a, b) = (sessions(&table, 0), sessions(&table, 1));
        let token = a.token("a/a:1", b"t", NOW_S);
        assert_eq!(b.claim(token.as_bytes(), b"t", NOW_S), None, "another backend");
        assert_eq!(a.claim(token.as_bytes(), b"u", NOW_S), None, "another tenant");
        assert_eq!(a.claim(token.as_bytes(), b"", NOW_S), None);
        assert_eq!(place(sessions(&other, 0), token, NOW_S), None, "another process");
        assert_eq!(place(a, a.token("a/gone:1", b"t", NOW_S), NOW_S), None, "an endpoint that is gone");
        let claim = a.claim(token.as_bytes(), b"t", NOW_S).expect("ours");
        assert_eq!(b.place(claim), None);
    }

    #[test]
    fn processes_that_are_given_one_key_take_each_others_tokens() {
        let [one, two, other] = ["a key of both", "a key of both", "another"].map(|key| table(Some(key)));
        let token = sessions(&one, 0).token("a/a:2", b"t", NOW_S);
        assert_eq!(place(sessions(&two, 0), token, NOW_S), Some(1));
        assert_eq!(place(sessions(&other, 0), token, NOW_S), None);
    }

    proptest! {
        #[test]
        fn a_token_with_any_bit_flipped_is_not_taken(byte in 0..TEXT_BYTES, bit in 0..8_u32, endpoint in 0..2_usize) {
            let table = table(Some("a key"));
            let sessions = sessions(&table, 0);
            let name = table.backends()[0].endpoints[endpoint].name.as_str();
            let mut text = sessions.token(name, b"t", NOW_S).as_bytes().to_vec();
            text[byte] ^= 1 << bit;
            prop_assert_eq!(sessions.claim(&text, b"t", NOW_S), None);
        }

        /// The same below the text: no bit of what is said or of the MAC is free.
        #[test]
        fn bytes_with_any_bit_flipped_are_not_taken(byte in 0..TOKEN_BYTES, bit in 0..8_u32) {
            let table = table(Some("a key"));
            let sessions = sessions(&table, 0);
            let token = sessions.token("a/a:1", b"t", NOW_S);
            let mut bytes = URL_SAFE_NO_PAD.decode(token.as_bytes()).expect("it is base64");
            bytes[byte] ^= 1 << bit;
            let text = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(sessions.claim(text.as_bytes(), b"t", NOW_S), None);
        }

        #[test]
        fn what_is_no_token_is_not_taken(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let table = table(None);
            prop_assert_eq!(sessions(&table, 0).claim(&text, b"t", 0), None);
        }
    }
}
