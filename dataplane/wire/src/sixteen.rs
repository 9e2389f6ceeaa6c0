//! Sixteen bytes looked at side by side: names, values and strings are searched for what ends them.
//! Owns: the search, and the questions it may ask of a byte. Must not: know what a byte means.
//! Read next: `http1/grammar.rs` and `json/grammar.rs`, its users.

use wide::u8x16;

/// The answer to one question for each of sixteen bytes: all ones, or all zeros.
pub(crate) type Marks = u8x16;

/// Where the first byte stands that is marked, from `at` on; behind all bytes if none is. `filler` is a byte that is not
/// marked: it stands for what is missing to the last sixteen.
#[inline]
pub(crate) fn find(bytes: &[u8], mut at: usize, filler: u8, marks: impl Fn(u8x16) -> Marks) -> usize {
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let sixteen = rest.first_chunk().copied().unwrap_or_else(|| filled(rest, filler));
        let marked = marks(u8x16::new(sixteen)).to_bitmask();
        if marked != 0 {
            return at + marked.trailing_zeros() as usize;
        }
        at += sixteen.len();
    }
    bytes.len()
}

/// Fewer than sixteen bytes, and the filler behind them.
fn filled(rest: &[u8], filler: u8) -> [u8; 16] {
    let mut sixteen = [filler; 16];
    sixteen[..rest.len()].copy_from_slice(rest);
    sixteen
}

/// Those that are `byte`.
#[inline]
pub(crate) fn is(sixteen: u8x16, byte: u8) -> Marks {
    sixteen.simd_eq(u8x16::splat(byte))
}

/// Those from `first` to `last`.
#[inline]
pub(crate) fn within(sixteen: u8x16, first: u8, last: u8) -> Marks {
    let above = sixteen - u8x16::splat(first); // wraps: what is below `first` comes out large
    above.min(u8x16::splat(last - first)).simd_eq(above)
}

/// Letters, each as its lower case.
#[inline]
pub(crate) fn lower(sixteen: u8x16) -> u8x16 {
    sixteen | u8x16::splat(0x20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_marked_byte_is_found_at_every_place_of_every_length() {
        for len in 0..50 {
            let mut bytes = vec![b'.'; len];
            assert_eq!(find(&bytes, 0, b'.', |it| is(it, b'x')), len);
            for place in 0..len {
                bytes[place..].fill(b'x');
                for at in 0..=len {
                    assert_eq!(find(&bytes, at, b'.', |it| is(it, b'x')), place.max(at));
                }
                bytes[place..].fill(b'.');
            }
        }
    }

    #[test]
    fn a_range_is_its_ends_and_what_is_between() {
        for byte in 0..=255 {
            let marked = |first, last| within(u8x16::splat(byte), first, last).to_bitmask() == 0xffff;
            assert_eq!(marked(b'a', b'z'), byte.is_ascii_lowercase());
            assert_eq!(marked(0, 0x1f), byte < 0x20);
            assert_eq!(marked(0x80, 0xff), byte >= 0x80);
        }
    }
}
