//! When a certificate is valid: the one thing in it that neither rustls nor webpki tells.
//!
//! Owns: as much of DER as leads to the two times (RFC 5280 section 4.1).
//! Must not: judge a certificate: verification is webpki's.
//! Read next: `vault.rs`, which tells when certificates run out.

/// First and last second of validity, since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before_s: i64,
    pub not_after_s: i64,
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The validity of a certificate; none if this is no certificate.
pub fn validity(certificate: &[u8]) -> Option<Validity> {
    let (to_be_signed, _) = take(take(certificate, SEQUENCE)?.0, SEQUENCE)?;
    let rest = take(to_be_signed, VERSION).map_or(to_be_signed, |(_, rest)| rest);
    let (_serial, rest) = take(rest, INTEGER)?;
    let (_algorithm, rest) = take(rest, SEQUENCE)?;
    let (_issuer, rest) = take(rest, SEQUENCE)?;
    let (window, _) = take(rest, SEQUENCE)?;
    let (not_before_s, rest) = time(window)?;
    let (not_after_s, _) = time(rest)?;
    Some(Validity { not_before_s, not_after_s })
}

/// The contents of a value of this tag at the front, and what follows it.
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(short - 0x80))?;
            (digits.iter().fold(0, |all, &digit| all << 8 | usize::from(digit)), rest)
        }
        _ => return None,
    };
    if first == tag { rest.split_at_checked(length) } else { None }
}

/// A time at the front, and what follows it.
fn time(bytes: &[u8]) -> Option<(i64, &[u8])> {
    if let Some((text, rest)) = take(bytes, UTC_TIME) {
        let year = number(text.get(..2)?)?;
        let century = if year < 50 { 2_000 } else { 1_900 }; // RFC 5280 section 4.1.2.5.1
        return Some((seconds(century + year, text.get(2..)?)?, rest));
    }
    let (text, rest) = take(bytes, GENERALIZED_TIME)?;
    Some((seconds(number(text.get(..4)?)?, text.get(4..)?)?, rest))
}

/// `MMDDhhmmssZ`: certificates have no other form.
fn seconds(year: i64, text: &[u8]) -> Option<i64> {
    let [digits @ .., b'Z'] = text else { return None };
    let [month, day, hour, minute, second] = match digits.len() {
        10 => [0, 2, 4, 6, 8].map(|at| number(&digits[at..at + 2])),
        _ => return None,
    };
    let days = days_since_1970(year, month?, day?)?;
    Some(((days * 24 + hour?) * 60 + minute?) * 60 + second?)
}

fn number(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok().filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// Days from 1970-01-01 in the Gregorian calendar; years begin in March here, so that the leap day is the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year;
    Some(days - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::Authority;

    #[test]
    fn times_read_as_the_calendar_says() {
        assert_eq!(time(b"\x17\x0d700101000000Z"), Some((0, &[][..])));
        assert_eq!(time(b"\x17\x0d240229235959Zrest"), Some((1_709_251_199, &b"rest"[..])));
        assert_eq!(time(b"\x18\x0f20500101000000Z"), Some((2_524_608_000, &[][..])));
        assert_eq!(time(b"\x17\x0d491231235959Z"), Some((2_524_607_999, &[][..])));
        assert_eq!(time(b"\x17\x0d991301000000Z"), None);
        assert_eq!(time(b"\x17\x0b9912010000Z"), None);
    }

    #[test]
    fn a_certificate_tells_when_it_is_valid() {
        let issued = Authority::new().issue(&["a.test"]).valid_until(2030).done();
        let valid = validity(&issued.chain()[0]).expect("a certificate");
        assert_eq!(valid.not_after_s, 1_893_456_000, "2030-01-01");
        assert!(valid.not_before_s < valid.not_after_s);
    }

    #[test]
    fn bytes_that_are_no_certificate_have_no_validity() {
        let issued = Authority::new().issue(&["a.test"]).done();
        let whole = issued.chain()[0].clone();
        for end in 0..120 {
            assert_eq!(validity(&whole[..end]), None);
        }
    }
}
