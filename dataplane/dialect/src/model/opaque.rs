//! A provider's own state of reasoning, and how it travels through callers of other dialects.
//!
//! Signatures, encrypted thoughts and thought signatures mean something only to who made them; elsewhere they are
//! refused, and the session is stuck. So they are sealed for a caller of another dialect, and opened again when
//! they come back on their way to where they are from (dialects section 2.2).
//! Owns: the seal. Must not: encrypt; the provider has done that.
//! Read next: `target.rs`, which says where a request goes.

use crate::json::Text;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha2::{Digest as _, Sha256};

/// Whose state it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Anthropic.
    Anthropic,
    /// OpenAI Responses.
    Responses,
    /// Gemini.
    Gemini,
    /// An engine that speaks Chat Completions and shows its thoughts as text. The seal only marks where the text is
    /// from.
    Chat,
}

/// What the state belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SealKind {
    /// The signature of the thought that carries it.
    Signature,
    /// A thought that cannot be shown.
    Redacted,
    /// The part before it.
    Previous,
    /// The next call of a tool.
    NextTool,
}

/// Which provider, family of models and group of credentials can read a state: a hash of those.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Realm([u8; 8]);

impl Realm {
    /// Nobody in particular.
    pub const NONE: Self = Self([0; 8]);

    /// Of these names.
    pub fn of(provider: &str, family: &str, credentials: &str) -> Self {
        let mut hash = Sha256::new();
        for name in [provider, family, credentials] {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
        }
        let digest = hash.finalize();
        let mut realm = [0; 8];
        realm.copy_from_slice(&digest[..8]);
        Self(realm)
    }
}

/// A provider's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opaque<'a> {
    /// Whose.
    pub origin: Origin,
    /// Belonging to what.
    pub kind: SealKind,
    /// Readable where.
    pub realm: Realm,
    /// The state, as its provider writes it.
    pub payload: Text<'a>,
}

const MAGIC: &[u8; 4] = b"RWS1";
const HEAD: usize = MAGIC.len() + 2 + 8;
const CHECK: usize = 4;

impl Opaque<'_> {
    /// Sealed, in standard base64 with padding.
    pub fn seal(&self) -> String {
        let payload = self.payload.plain();
        let mut bytes = Vec::with_capacity(HEAD + payload.len() + CHECK);
        bytes.extend_from_slice(MAGIC);
        bytes.push(self.origin.letter());
        bytes.push(self.kind.letter());
        bytes.extend_from_slice(&self.realm.0);
        bytes.extend_from_slice(payload.as_bytes());
        bytes.extend_from_slice(&crc32c(&bytes).to_be_bytes());
        STANDARD.encode(&bytes)
    }

    /// Opens a seal of ours, in either alphabet, padded or not; `None` if it is something else or was changed.
    pub fn unseal(text: &str) -> Option<Opaque<'static>> {
        if !text.starts_with("UldTM") {
            return None; // the magic in base64: most texts are told by it alone
        }
        let url = text.contains(['-', '_']);
        let bytes = if url { URL_SAFE.decode(text) } else { STANDARD.decode(text) }.ok()?;
        let (sealed, check) = bytes.split_last_chunk::<CHECK>()?;
        if crc32c(sealed) != u32::from_be_bytes(*check) {
            return None;
        }
        let (head, payload) = sealed.split_first_chunk::<HEAD>()?;
        let [b'R', b'W', b'S', b'1', origin, kind, realm @ ..] = head else { return None };
        Some(Opaque {
            origin: Origin::lettered(*origin)?,
            kind: SealKind::lettered(*kind)?,
            realm: Realm(*realm),
            payload: Text::of(std::str::from_utf8(payload).ok()?).into_owned(),
        })
    }

    /// A copy that lends from nothing.
    pub fn into_owned(self) -> Opaque<'static> {
        Opaque { origin: self.origin, kind: self.kind, realm: self.realm, payload: self.payload.into_owned() }
    }
}

/// Padding is what some clients drop and others add.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

impl Origin {
    const fn letter(self) -> u8 {
        match self {
            Self::Anthropic => b'a',
            Self::Responses => b'r',
            Self::Gemini => b'g',
            Self::Chat => b'c',
        }
    }

    fn lettered(letter: u8) -> Option<Self> {
        let all = [Self::Anthropic, Self::Responses, Self::Gemini, Self::Chat];
        all.into_iter().find(|origin| origin.letter() == letter)
    }
}

impl SealKind {
    const fn letter(self) -> u8 {
        match self {
            Self::Signature => b's',
            Self::Redacted => b'd',
            Self::Previous => b'e',
            Self::NextTool => b't',
        }
    }

    fn lettered(letter: u8) -> Option<Self> {
        let all = [Self::Signature, Self::Redacted, Self::Previous, Self::NextTool];
        all.into_iter().find(|kind| kind.letter() == letter)
    }
}

/// CRC-32C (Castagnoli), bit by bit: states are short and rare.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opaque(payload: &str) -> Opaque<'static> {
        let realm = Realm::of("anthropic", "claude", "main");
        let payload = Text::of(payload).into_owned();
        Opaque { origin: Origin::Anthropic, kind: SealKind::Signature, realm, payload }
    }

    #[test]
    fn the_check_is_crc_32c() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283); // the check value of its catalogue entry
    }

    #[test]
    fn a_seal_opens_however_a_client_wrote_it_down() {
        for payload in ["", "sig+/==", "{\"id\":\"rs_1\"}", &"x".repeat(4_000)] {
            let sealed = opaque(payload).seal();
            let url = sealed.replace('+', "-").replace('/', "_");
            for form in
                [sealed.as_str(), url.as_str(), sealed.trim_end_matches('='), url.trim_end_matches('=')]
            {
                assert_eq!(Opaque::unseal(form), Some(opaque(payload)), "{form}");
            }
        }
    }

    #[test]
    fn what_is_not_our_seal_or_was_changed_stays_shut() {
        let sealed = opaque("state").seal();
        let mut changed = sealed.clone().into_bytes();
        changed[20] ^= 1;
        let changed = String::from_utf8(changed).expect("ASCII");
        for text in ["", "UldTM", "ErUBCkYIBRgC", &changed, &sealed[..sealed.len() - 8]] {
            assert_eq!(Opaque::unseal(text), None, "{text}");
        }
    }

    #[test]
    fn a_realm_is_not_another_with_the_names_cut_elsewhere() {
        assert_ne!(Realm::of("a", "bc", ""), Realm::of("ab", "c", ""));
    }
}
