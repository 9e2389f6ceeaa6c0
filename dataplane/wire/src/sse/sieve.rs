//! Lets a stream of Chat Completions through, less the event that tells its usage and nothing else.
//!
//! For streams whose usage the gateway asked for and the caller did not: it must not see what it did not ask for.
//! Owns: one event at a time, held until its end shows what it is.
//! Must not: change an event that passes, or hold more of one than [`SSE_SIEVE_BYTES_MAX`].
//! Read next: `observer.rs`, which reads the same bytes for the books.

use memchr::{memchr2, memmem};

use crate::bounds::SSE_SIEVE_BYTES_MAX;

/// Takes a stream cut anywhere; what passes is the same wherever the cuts are.
#[derive(Clone, Debug, Default)]
pub struct Sieve {
    /// What came of an event that is held.
    held: Vec<u8>,
    event: Event,
    /// Something of the line at hand has come.
    line_begun: bool,
    /// The last byte was CR: a LF behind it belongs to the same line end.
    after_cr: bool,
}

/// What becomes of the event at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Event {
    /// Its end will tell.
    #[default]
    Held,
    /// It was too long to be held: usage is short.
    Passing,
    /// The last one was usage, and nothing has come behind it.
    Dropped,
}

impl Sieve {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and appends those that pass.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        if std::mem::take(&mut self.after_cr)
            && let Some(rest) = bytes.strip_prefix(b"\n")
        {
            match self.event {
                Event::Dropped => {} // goes where its event went
                Event::Held if self.held.is_empty() => out.push(b'\n'),
                Event::Held | Event::Passing => self.hold(b"\n", out),
            }
            bytes = rest;
        }
        while let Some(at) = memchr2(b'\r', b'\n', bytes) {
            let blank = at == 0 && !self.line_begun;
            let end = at + line_end(&bytes[at..]);
            self.after_cr = bytes[at] == b'\r' && end == bytes.len() && end == at + 1;
            self.hold(&bytes[..end], out);
            self.line_begun = false;
            if blank {
                self.end_event(out);
            }
            bytes = &bytes[end..];
        }
        self.line_begun |= !bytes.is_empty();
        self.hold(bytes, out);
    }

    /// The stream has ended: what is held passes.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }

    fn hold(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        if self.event == Event::Dropped {
            self.event = Event::Held;
        }
        if self.held.len() + bytes.len() > SSE_SIEVE_BYTES_MAX {
            self.event = Event::Passing;
            out.append(&mut self.held);
        }
        if self.event == Event::Passing {
            out.extend_from_slice(bytes);
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    fn end_event(&mut self, out: &mut Vec<u8>) {
        self.event = if is_usage_alone(&self.held) { Event::Dropped } else { Event::Held };
        if self.event == Event::Held {
            out.extend_from_slice(&self.held);
        }
        self.held.clear();
    }
}

/// The length of the line end that these bytes begin with.
fn line_end(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\r\n") { 2 } else { 1 }
}

/// An event with usage and no choice. A quote inside a string is escaped, so neither key can stand in one.
fn is_usage_alone(event: &[u8]) -> bool {
    let has_usage = after_key(event, b"\"usage\"").is_some_and(|value| value.starts_with(b"{"));
    has_usage
        && after_key(event, b"\"choices\"").is_some_and(|value| {
            value.strip_prefix(b"[").is_some_and(|inside| inside.trim_ascii_start().starts_with(b"]"))
        })
}

/// What stands behind a key and its colon.
fn after_key<'e>(event: &'e [u8], key: &[u8]) -> Option<&'e [u8]> {
    let at = memmem::find(event, key)?;
    Some(event[at + key.len()..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"choices\\\":[] \\\"usage\\\":{\"}}],\"usage\":null}\n\n";
    const USAGE: &str = "data: {\"id\":\"c\", \"choices\" : [ ], \"usage\": {\"prompt_tokens\":7}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    fn sifted(pieces: &[&[u8]]) -> String {
        let (mut sieve, mut out) = (Sieve::new(), Vec::new());
        for piece in pieces {
            sieve.feed(piece, &mut out);
        }
        sieve.finish(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn usage_alone_goes_and_everything_else_passes_wherever_the_cuts_are() {
        for ends in ["\n", "\r\n", "\r"] {
            let all = [": hi\n\n", WORD, USAGE, WORD, DONE].concat().replace('\n', ends);
            let left = [": hi\n\n", WORD, WORD, DONE].concat().replace('\n', ends);
            for at in 0..=all.len() {
                let (one, two) = all.as_bytes().split_at(at);
                assert_eq!(sifted(&[one, two]), left, "{ends:?} at {at}");
            }
            let bytes: Vec<&[u8]> = all.as_bytes().chunks(1).collect();
            assert_eq!(sifted(&bytes), left, "{ends:?}");
        }
    }

    #[test]
    fn usage_beside_a_choice_passes_and_so_does_what_has_no_end() {
        let last = "data: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":7}}\n\n";
        assert_eq!(sifted(&[last.as_bytes()]), last);
        assert_eq!(sifted(&[&USAGE.as_bytes()[..USAGE.len() - 1]]), &USAGE[..USAGE.len() - 1]);
    }

    #[test]
    fn an_event_that_is_too_long_to_be_held_passes_and_those_behind_it_are_judged() {
        let long = format!("data: {}\n\n", "x".repeat(2 * SSE_SIEVE_BYTES_MAX));
        let all = [&long, USAGE, WORD].concat();
        for size in [1_000, SSE_SIEVE_BYTES_MAX, all.len()] {
            let pieces: Vec<&[u8]> = all.as_bytes().chunks(size).collect();
            assert_eq!(sifted(&pieces), [&long, WORD].concat());
        }
    }
}
