//! ringway's own log lines, on standard error.
//!
//! Owns: their level, layout and count of lines dropped. A line is written by whoever has something to say, at
//! once: it is there before a crash, and in order. It never blocks on a full pipe: the pipe is asked first, and a
//! line is no longer than what a pipe takes whole; what does not go out is dropped and counted.
//! Must not: be used per exchange; that is the access log.
//! Read next: [`super::log`].

use std::fmt::{Display, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ringway_contract::snapshot::LogFormat;

use super::bounds::LINE_BYTES_MAX;
use super::{escape, stamp};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For the record.
    Info,
    /// Something is not as it should be, and ringway goes on.
    Warn,
    /// Something does not work until somebody mends it.
    Error,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One field of a line: its name, and a value that is escaped.
pub type Field<'a> = (&'a str, &'a dyn Display);

// Standard error belongs to the process, so its layout does too.
static JSON: AtomicBool = AtomicBool::new(false);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Sets the layout of all lines from here on.
pub fn set_format(format: LogFormat) {
    JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// Lines that standard error did not take.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Says something for the record.
pub fn info(message: &str, fields: &[Field<'_>]) {
    say(Level::Info, message, fields);
}

/// Says that something is not as it should be.
pub fn warn(message: &str, fields: &[Field<'_>]) {
    say(Level::Warn, message, fields);
}

/// Says that something needs mending.
pub fn error(message: &str, fields: &[Field<'_>]) {
    say(Level::Error, message, fields);
}

/// Writes one line.
pub fn say(level: Level, message: &str, fields: &[Field<'_>]) {
    let format = if JSON.load(Ordering::Relaxed) { LogFormat::Json } else { LogFormat::Text };
    let text = line(format, stamp::now_ms(), level, message, fields);
    if !offer(std::io::stderr(), text.as_bytes()) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes `line` if that is possible without waiting.
fn offer(to: impl AsFd, line: &[u8]) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(&to, PollFlags::OUT)];
    let ready = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count == 1);
    ready && rustix::io::write(to, line).is_ok_and(|count| count == line.len())
}

/// One line, newline included, no longer than [`LINE_BYTES_MAX`].
fn line(format: LogFormat, unix_ms: u64, level: Level, message: &str, fields: &[Field<'_>]) -> String {
    let mut out = head(format, unix_ms, level, message);
    let mut value = String::new();
    for (name, field) in fields {
        value.clear();
        let _ = write!(value, "{field}"); // writing to a String cannot fail
        let before = out.len();
        match format {
            LogFormat::Text => {
                let _ = write!(out, " {name}=");
                escape::push_text(&mut out, value.as_bytes());
            }
            LogFormat::Json => {
                let _ = write!(out, ",\"{name}\":\"");
                escape::push(&mut out, value.as_bytes());
                out.push('"');
            }
        }
        if out.len() + "}\n".len() > LINE_BYTES_MAX {
            out.truncate(before); // a field that does not fit goes whole: half a JSON string is worse than none
        }
    }
    if format == LogFormat::Json {
        out.push('}');
    }
    out.push('\n');
    out
}

fn head(format: LogFormat, unix_ms: u64, level: Level, message: &str) -> String {
    const MESSAGE_BYTES_MAX: usize = 512; // six times that and the head still fit a line
    let message = &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)];
    let mut out = String::with_capacity(160);
    match format {
        LogFormat::Text => {
            stamp::push(&mut out, unix_ms);
            let _ = write!(out, " {:<5} ", level.name());
            escape::push(&mut out, message.as_bytes());
        }
        LogFormat::Json => {
            out.push_str("{\"time\":\"");
            stamp::push(&mut out, unix_ms);
            let _ = write!(out, "\",\"level\":\"{}\",\"message\":\"", level.name());
            escape::push(&mut out, message.as_bytes());
            out.push('"');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_line_has_time_level_message_and_fields() {
        let got = line(LogFormat::Text, 0, Level::Warn, "disk is full", &[("path", &"/a b"), ("code", &28)]);
        assert_eq!(got, "1970-01-01T00:00:00.000Z warn  disk is full path=\"/a b\" code=28\n");
    }

    #[test]
    fn a_json_line_is_one_object() {
        let got = line(LogFormat::Json, 0, Level::Error, "no\nroute", &[("who", &"\u{202E}x\"")]);
        assert!(got.ends_with("}\n") && got.matches('\n').count() == 1);
        let value: serde_json::Value = serde_json::from_str(&got).expect("one object");
        assert_eq!(value["message"], "no\nroute");
        assert_eq!(value["who"], "\u{202E}x\"");
        assert_eq!(value["level"], "error");
    }

    #[test]
    fn a_line_never_outgrows_what_a_pipe_takes_whole() {
        let long = "\u{1}".repeat(3_000);
        for format in [LogFormat::Text, LogFormat::Json] {
            let got = line(format, 0, Level::Info, &long, &[("a", &long), ("b", &"kept")]);
            assert!(got.len() <= LINE_BYTES_MAX, "{}", got.len());
            assert!(got.contains("kept"));
        }
    }

    #[test]
    fn a_full_pipe_is_not_waited_for() {
        let (_reader, writer) = std::io::pipe().expect("a pipe");
        let text = [b'x'; LINE_BYTES_MAX];
        let taken = (0..1_000).take_while(|_| offer(&writer, &text)).count();
        assert!((1..1_000).contains(&taken), "{taken} lines fit a pipe");
    }
}
