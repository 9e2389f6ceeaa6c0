//! How far bytes of a JSON string stand for themselves.
//! Owns: the search that most of a request's bytes go through. Must not: judge what it stops at.
//! Read next: `tape.rs`.

/// Bytes up to the next quote, backslash or control byte.
pub(super) fn plain_run(text: &[u8]) -> usize {
    // Keys, roles and lines of code end within a few words, before a vector search pays.
    let (words, _) = text.as_chunks::<8>();
    for (n, word) in words.iter().take(SHORT_WORDS).enumerate() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return n * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let done = words.len().min(SHORT_WORDS) * 8;
    done + long_run(&text[done..])
}

const SHORT_WORDS: usize = 3;
const LANES: usize = 32;

/// The same, a block at a time. The test of a block has no branch, so it is made into vector instructions.
fn long_run(text: &[u8]) -> usize {
    let (blocks, _) = text.as_chunks::<LANES>();
    let clean = blocks.iter().position(has_special).unwrap_or(blocks.len()) * LANES;
    let rest = &text[clean..];
    clean + rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len())
}

fn has_special(block: &[u8; LANES]) -> bool {
    block.iter().fold(0, |seen, byte| seen | u8::from(is_special(*byte))) != 0
}

#[expect(
    clippy::needless_bitwise_bool,
    reason = "a branch per byte could not be made into vector instructions"
)]
const fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// The top bit of each byte that is a quote, a backslash or below 0x20; exact up to the first such byte.
const fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let is_quote = quote.wrapping_sub(ONES) & !quote;
    let is_backslash = backslash.wrapping_sub(ONES) & !backslash;
    let is_control = word.wrapping_sub(ONES * 0x20) & !word;
    (is_quote | is_backslash | is_control) & TOPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_byte_is_found_wherever_it_stands() {
        for len in [0, 1, 7, 8, 23, 24, 31, 55, 56, 57, 90, 200] {
            let mut text = vec![b'x'; len];
            assert_eq!(plain_run(&text), len);
            for at in 0..len {
                for byte in [b'"', b'\\', 0, 0x1f, b'\n'] {
                    text[at] = byte;
                    assert_eq!(plain_run(&text), at, "{byte} in {len}");
                }
                text[at] = 0xc3;
            }
            assert_eq!(plain_run(&text), len, "bytes over 0x7f stand for themselves");
        }
    }
}
