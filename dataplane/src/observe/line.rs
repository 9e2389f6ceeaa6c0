//! One line of the access log.
//!
//! Owns: which fields a line has, in which order, and how each is written as text and as JSON.
//! Must not: write a byte of a caller unescaped (SEC-INJ-02).
//! Read next: [`super::record`], what a line is made of.

use std::fmt::Write;

use ringway_contract::snapshot::LogFormat;

use super::record::{Micros, Record, Short};
use super::{escape, stamp};

/// Appends one line.
pub fn push(out: &mut String, format: LogFormat, record: &Record) {
    let mut line = Line { out, format, first: true };
    line.open();
    line.time("time", record.unix_ms);
    line.number("worker", record.worker.into());
    match record.client.port() {
        0 => line.display("client", record.client.ip()), // named by a proxy, which tells no port
        _ => line.display("client", record.client),
    }
    line.short("method", &record.method);
    line.short("host", &record.host);
    line.short("path", &record.path);
    if record.status != 0 {
        line.number("status", record.status.into());
    }
    line.name("outcome", record.outcome);
    line.name("reason", record.reason);
    line.name("rule", record.rule);
    line.name("tls", record.tls);
    line.name("route", record.route);
    line.name("backend", record.backend);
    line.name("endpoint", record.endpoint);
    line.number("attempts", record.attempts.into());
    line.display_bare("reused", record.reused);
    line.number("bytes_in", record.bytes_in);
    line.number("bytes_out", record.bytes_out);
    line.span("first_byte_ms", record.first_byte);
    line.span("first_token_ms", record.first_token);
    line.span("total_ms", record.total);
    line.span("own_ms", record.own);
    line.span("queue_ms", record.queued);
    line.short("model", &record.model);
    line.count("tokens_in", record.tokens_in);
    line.count("tokens_out", record.tokens_out);
    line.count("tokens_cached", record.tokens_cached);
    line.count("tokens_cache_written", record.tokens_cache_written);
    line.count("tokens_reasoning", record.tokens_reasoning);
    if record.tokens_estimated {
        line.display_bare("tokens_estimated", true);
    }
    if let Some(cost) = record.cost {
        line.display_bare("cost_usd", cost);
    }
    line.short("request_id", &record.request_id);
    line.close();
}

/// One line in the making. What is empty or unknown is left out.
struct Line<'a> {
    out: &'a mut String,
    format: LogFormat,
    first: bool,
}

impl Line<'_> {
    fn open(&mut self) {
        if self.format == LogFormat::Json {
            self.out.push('{');
        }
    }

    fn close(&mut self) {
        if self.format == LogFormat::Json {
            self.out.push('}');
        }
        self.out.push('\n');
    }

    fn key(&mut self, key: &str) {
        let first = std::mem::replace(&mut self.first, false);
        match self.format {
            LogFormat::Text => {
                if !first {
                    self.out.push(' ');
                }
                self.out.push_str(key);
                self.out.push('=');
            }
            LogFormat::Json => {
                self.out.push_str(if first { "\"" } else { ",\"" });
                self.out.push_str(key);
                self.out.push_str("\":");
            }
        }
    }

    fn quote(&mut self) {
        if self.format == LogFormat::Json {
            self.out.push('"');
        }
    }

    fn time(&mut self, key: &str, unix_ms: u64) {
        self.key(key);
        self.quote();
        stamp::push(self.out, unix_ms);
        self.quote();
    }

    /// A value that needs no escaping.
    fn display(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        self.quote();
        let _ = write!(self.out, "{value}"); // writing to a String cannot fail
        self.quote();
    }

    /// A value that is no string in JSON either.
    fn display_bare(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        let _ = write!(self.out, "{value}"); // writing to a String cannot fail
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        self.out.push_str(itoa::Buffer::new().format(value));
    }

    fn count(&mut self, key: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(key, value);
        }
    }

    /// Milliseconds with three decimals: microseconds, in the unit that people read.
    fn span(&mut self, key: &str, value: Micros) {
        if let Some(us) = value.get() {
            self.number(key, us / 1_000);
            let _ = write!(self.out, ".{:03}", us % 1_000); // writing to a String cannot fail
        }
    }

    fn name(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.bytes(key, value.as_bytes());
        }
    }

    /// What was cut ends in `…`.
    fn short<const N: usize>(&mut self, key: &str, value: &Short<N>) {
        if value.is_cut() {
            let mut room = [0; 256 + '…'.len_utf8()];
            let kept = value.as_bytes().len();
            let end = kept + '…'.len_utf8();
            room[..kept].copy_from_slice(value.as_bytes());
            '…'.encode_utf8(&mut room[kept..]);
            self.bytes(key, &room[..end]);
        } else if !value.is_empty() {
            self.bytes(key, value.as_bytes());
        }
    }

    fn bytes(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        match self.format {
            LogFormat::Text => escape::push_text(self.out, value),
            LogFormat::Json => {
                self.out.push('"');
                escape::push(self.out, value);
                self.out.push('"');
            }
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::bounds::LINE_BYTES_MAX;
    use super::*;

    /// An exchange that went well.
    pub fn record(worker: u16) -> Record {
        let mut record = Record::new(1_767_225_599_001, worker, "10.0.0.1:5000".parse().expect("an address"));
        record.method = Short::new(b"POST");
        record.path = Short::path(b"/v1/chat/completions?key=canary");
        record.status = 200;
        record.outcome = "done";
        record.route = "chat";
        record.first_byte = Micros::new(12_345);
        record.tokens_out = Some(7);
        record
    }

    fn line(format: LogFormat, record: &Record) -> String {
        let mut out = String::new();
        push(&mut out, format, record);
        out
    }

    #[test]
    fn a_text_line_leaves_out_what_is_unknown() {
        assert_eq!(
            line(LogFormat::Text, &record(3)),
            "time=2025-12-31T23:59:59.001Z worker=3 client=10.0.0.1:5000 method=POST path=/v1/chat/completions \
             status=200 outcome=done route=chat attempts=0 reused=false bytes_in=0 bytes_out=0 \
             first_byte_ms=12.345 tokens_out=7\n"
        );
    }

    #[test]
    fn a_json_line_is_one_object_with_numbers_as_numbers() {
        let text = line(LogFormat::Json, &record(3));
        let value: serde_json::Value = serde_json::from_str(&text).expect("one object");
        assert_eq!((&value["status"], &value["first_byte_ms"]), (&200.into(), &12.345.into()));
        assert_eq!((&value["reused"], &value["path"]), (&false.into(), &"/v1/chat/completions".into()));
        assert!(!text.contains("canary"));
    }

    #[test]
    fn what_a_caller_wrote_can_neither_end_a_line_nor_forge_a_field() {
        let mut forged = record(0);
        forged.path = Short::path(b"/x\" status=500\r\ntime=\xE2\x80\xAE\xFF");
        forged.host = Short::new(b"a status=500");
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = line(format, &forged);
            assert_eq!(text.matches('\n').count(), 1);
            assert!(
                !text.contains('\u{202E}')
                    && text.contains("\\u202e\\u00ff")
                    && text.contains("\\u000d\\u000a")
            );
        }
        let text = line(LogFormat::Text, &forged);
        assert!(text.contains(" host=\"a status=500\" path=\"/x\\\" status=500"), "{text}");
        assert!(serde_json::from_str::<serde_json::Value>(&line(LogFormat::Json, &forged)).is_ok());
    }

    #[test]
    fn the_longest_line_passes_a_pipe_whole() {
        let mut longest = record(u16::MAX);
        let bytes = [0x01; 300];
        longest.method = Short::new(&bytes);
        longest.host = Short::new(&bytes);
        longest.path = Short::new(&bytes);
        longest.model = Short::new(&bytes);
        longest.request_id = Short::new(&bytes);
        (longest.backend, longest.reason, longest.rule) = ("backend", "up_connect_refused", "H1-FR-03");
        (longest.endpoint, longest.unix_ms) =
            ("a-rather-long-name.of-some-cluster.example:8000", 4_107_542_400_000);
        for count in [&mut longest.bytes_in, &mut longest.bytes_out] {
            *count = u64::MAX;
        }
        for span in [&mut longest.first_token, &mut longest.total, &mut longest.own] {
            *span = Micros::new(u64::MAX - 1);
        }
        for format in [LogFormat::Text, LogFormat::Json] {
            let length = line(format, &longest).len();
            assert!(length <= LINE_BYTES_MAX, "{length}");
        }
        assert!(line(LogFormat::Text, &longest).contains('…'));
    }
}
