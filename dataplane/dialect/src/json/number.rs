//! Numbers by their text.
//! Owns: the few questions that are asked of one. Must not: lose a digit.
//! Read next: `value.rs`.

/// A whole number that is not negative, from `12` or `12.0`. Exponents are never expanded.
pub fn integral(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte == b'0') || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    whole.parse().ok()
}

/// The value of a number, for comparing with a limit; what is written stays its text.
pub fn decimal(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integral_floats_are_whole_and_fractions_are_not() {
        for (text, value) in [
            ("0", Some(0)),
            ("3.0", Some(3)),
            ("3.50", None),
            ("-1", None),
            ("1e3", None),
            ("1.0e3", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
        ] {
            assert_eq!(integral(text), value, "{text}");
        }
    }
}
