//! The daemon's log: one line an event on standard error, for eyes and for `grep`.
//!
//! Owns: the line's layout. Must not: buffer, filter, or carry secrets; callers pass names, never values.

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Something happened as it should.
pub fn info(event: &str, fields: &[(&str, &dyn Display)]) {
    line("info", event, fields);
}

/// Something is wrong; the daemon goes on with what it has.
pub fn warn(event: &str, fields: &[(&str, &dyn Display)]) {
    line("warn", event, fields);
}

/// A report of several lines under its event, indented so that it reads as one entry.
pub fn report(event: &str, fields: &[(&str, &dyn Display)], text: &str) {
    let mut lines = layout("warn", event, fields);
    for part in text.lines() {
        let _ = write!(lines, "\n    {part}");
    }
    emit(&lines);
}

fn line(level: &str, event: &str, fields: &[(&str, &dyn Display)]) {
    emit(&layout(level, event, fields));
}

fn layout(level: &str, event: &str, fields: &[(&str, &dyn Display)]) -> String {
    let mut line = format!("{} {level:<5} {event}", rfc3339(SystemTime::now()));
    for (name, value) in fields {
        let value = value.to_string();
        let quoted = value.is_empty() || value.contains(|c: char| c.is_whitespace() || c == '"' || c == '=');
        let _ = if quoted { write!(line, " {name}={value:?}") } else { write!(line, " {name}={value}") };
    }
    line
}

/// One write, so that lines of several processes on one terminal do not mix. A log nobody reads is not an
/// error.
fn emit(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// `2026-07-01T12:00:00.123Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

/// Year, month and day of a day counted from 1970-01-01.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month as u64 + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> String {
        rfc3339(UNIX_EPOCH + Duration::from_millis(seconds * 1_000 + 7))
    }

    #[test]
    fn times_are_written_as_rfc_3339_has_them() {
        assert_eq!(at(0), "1970-01-01T00:00:00.007Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(1_767_225_599), "2025-12-31T23:59:59.007Z");
    }

    #[test]
    fn values_with_blanks_are_quoted() {
        let line = layout("info", "pushed", &[("generation", &7), ("why", &"two words")]);
        assert!(line.ends_with("info  pushed generation=7 why=\"two words\""), "{line}");
    }
}
