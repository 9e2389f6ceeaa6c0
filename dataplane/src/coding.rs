//! Codings of request bodies that are undone where a body must be read.
//!
//! Owns: which codings these are, and the bound on what comes out of them.
//! Must not: touch a body that nobody reads: it passes as it came.
//! Read next: [`crate::intake`].

use std::io::Read;

use flate2::read::GzDecoder;

use crate::bounds::ZSTD_WINDOW_LOG_MAX;
use crate::refusal::Refusal;

/// A coding that can be undone (RFC 9110 section 8.4.1, RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`, `x-gzip`
    Gzip,
    /// `zstd`
    Zstd,
}

impl Coding {
    /// Of the field's value; none: it cannot be undone, or is several.
    pub fn of(value: &[u8]) -> Option<Self> {
        let is = |name: &str| value.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        match () {
            () if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            () if is("zstd") => Some(Self::Zstd),
            () => None,
        }
    }

    /// What these bytes are without it.
    ///
    /// # Errors
    /// They are not so coded, or are more than `bytes_max` without it.
    pub fn undo(self, coded: &[u8], bytes_max: u64) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::new();
        let bounded = bytes_max.saturating_add(1);
        let read = match self {
            Self::Gzip => GzDecoder::new(coded).take(bounded).read_to_end(&mut bytes),
            Self::Zstd => zstd::Decoder::with_buffer(coded).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                decoder.take(bounded).read_to_end(&mut bytes)
            }),
        };
        match read {
            Ok(count) if count as u64 > bytes_max => {
                Err(Refusal::BodyTooLarge { limit_bytes: bytes_max, announced: false })
            }
            Ok(_) => Ok(bytes),
            Err(_) => Err(Refusal::BadCoding),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn both_codings_are_undone_up_to_the_bound() {
        let text = b"{\"model\":\"m\"}".repeat(100);
        for (coding, coded) in
            [(Coding::Gzip, gzip(&text)), (Coding::Zstd, zstd::encode_all(&text[..], 3).expect("memory"))]
        {
            let length = text.len() as u64;
            assert_eq!(coding.undo(&coded, length).as_deref(), Ok(&text[..]));
            assert!(matches!(coding.undo(&coded, length - 1), Err(Refusal::BodyTooLarge { .. })));
            assert_eq!(
                coding.undo(&coded[..coded.len() - 9], length),
                Err(Refusal::BadCoding),
                "{coding:?} cut"
            );
            assert_eq!(coding.undo(b"{}", length), Err(Refusal::BadCoding));
        }
    }

    #[test]
    fn a_bomb_costs_no_more_than_the_bound() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 100_000);
        assert!(matches!(Coding::Gzip.undo(&bomb, 1_024), Err(Refusal::BodyTooLarge { .. })));
    }

    #[test]
    fn a_field_with_several_codings_is_not_undone() {
        assert_eq!(Coding::of(b" GZIP "), Some(Coding::Gzip));
        assert_eq!(Coding::of(b"zstd"), Some(Coding::Zstd));
        assert_eq!((Coding::of(b"br"), Coding::of(b"gzip, zstd"), Coding::of(b"")), (None, None, None));
    }
}
