//! Wall-clock time as text.
//!
//! Owns: RFC 3339 in UTC with milliseconds, and reading the clock for what is written about now.
//! Must not: measure anything; spans come from the monotonic clock.
//! Read next: [`super::log`].

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, now.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Appends `unix_ms` as `2026-01-31T23:59:59.999Z`.
pub fn push(out: &mut String, unix_ms: u64) {
    let (days, ms) = (unix_ms / DAY_MS, unix_ms % DAY_MS);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    // Writing to a String cannot fail.
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000);
}

const DAY_MS: u64 = 24 * 3_600_000;

/// Year, month and day, given the days since 1970. Counts years from March, so that the leap day ends a year and
/// the month lengths from March on repeat in groups of five months with 153 days.
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    const DAYS_0000_TO_1970: u64 = 719_468; // from 1 March of year 0
    const DAYS_400_YEARS: u64 = 146_097;
    let days = days_since_1970 + DAYS_0000_TO_1970;
    let (cycle, day_of_cycle) = (days / DAYS_400_YEARS, days % DAYS_400_YEARS);
    let leap_days = day_of_cycle / 1_460 - day_of_cycle / 36_524 + day_of_cycle / 146_096;
    let year_of_cycle = (day_of_cycle - leap_days) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let months_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_from_march + 2) / 5 + 1;
    let month = if months_from_march < 10 { months_from_march + 3 } else { months_from_march - 9 };
    (400 * cycle + year_of_cycle + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_read_as_their_dates() {
        for (unix_ms, want) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (1_767_225_599_001, "2025-12-31T23:59:59.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            let mut out = String::new();
            push(&mut out, unix_ms);
            assert_eq!(out, want);
        }
    }

    #[test]
    fn each_day_of_four_centuries_follows_the_one_before() {
        let mut before = date(0);
        for days in 1..146_097 {
            let (year, month, day) = date(days);
            let next_day = (year, month) == (before.0, before.1) && day == before.2 + 1;
            let next_month = year == before.0 && month == before.1 + 1 && day == 1;
            let next_year = year == before.0 + 1 && month == 1 && day == 1 && before.1 == 12;
            assert!(next_day || next_month || next_year, "day {days}");
            before = (year, month, day);
        }
    }
}
