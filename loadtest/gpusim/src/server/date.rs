//! The `date` field of answers.
//!
//! Owns: its text, made once per second. Must not: be asked without a clock at hand.
//! Read next: `../server.rs`.

use std::time::SystemTime;

use crate::clock;

/// The `date` field, formatted once per second (RFC 9110 section 6.6.1 asks for it).
#[derive(Default)]
pub(super) struct Date {
    second: u64,
    text: String,
}

impl Date {
    pub(super) fn now(&mut self) -> &str {
        let now = clock::unix_time();
        if now.as_secs() != self.second {
            self.second = now.as_secs();
            self.text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + now);
        }
        &self.text
    }
}
