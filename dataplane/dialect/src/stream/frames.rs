//! Bytes to the data of events, at any split.
//!
//! Server-sent events as providers send them, and Gemini's other form, one JSON array whose elements are the events.
//! Owns: lines, names, joined data, and one event's buffer within its bound. Data that lies whole in the fed bytes is
//! handed out where it lies.
//! Must not: look into the data, split at anything but CR and LF, or grow beyond the bound.
//! Read next: `mod.rs`.

use crate::bounds::{EVENT_BYTES_MAX, EVENT_NAME_BYTES_MAX};
use memchr::memchr2;

/// One event, or what there is instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// An event: its name (empty: none) and its data, which is not empty.
    Data(&'a str, &'a str),
    /// `[DONE]`
    Done,
    /// A comment, or data that is one: somebody keeps the line open.
    Heartbeat,
    /// An event larger than the bound; it was passed over.
    TooLarge,
    /// Data that is not UTF-8.
    NotText,
}

/// Cuts a stream into events.
#[derive(Debug, Default)]
pub struct Frames {
    form: Form,
    /// A line that has not ended yet.
    line: Vec<u8>,
    /// The data lines of the event at hand, joined.
    data: Vec<u8>,
    has_data: bool,
    name: Vec<u8>,
    /// The event at hand is larger than the bound.
    over: bool,
    /// The last byte was a carriage return: a line feed now is the rest of the same line end.
    after_cr: bool,
    array: Array,
}

/// How events are strung together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// Nothing but white space and a byte order mark was seen.
    #[default]
    Undecided,
    Events,
    Array,
}

/// Where in an array the next byte falls.
#[derive(Clone, Copy, Debug, Default)]
struct Array {
    depth: u32,
    in_string: bool,
    after_backslash: bool,
}

const MARK: &[u8] = b"\xEF\xBB\xBF";

impl Frames {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins anew and keeps the buffers.
    pub fn reset(&mut self) {
        self.form = Form::Undecided;
        self.line.clear();
        self.after_cr = false;
        self.array = Array::default();
        self.clear_event();
    }

    /// Takes the next bytes and hands out what ends in them.
    pub fn feed(&mut self, bytes: &[u8], each: &mut impl FnMut(Frame<'_>)) {
        if self.form == Form::Undecided {
            self.line.extend_from_slice(bytes);
            if !self.decide() {
                return;
            }
            let first = std::mem::take(&mut self.line);
            self.go_on(first.strip_prefix(MARK).unwrap_or(&first), each);
        } else {
            self.go_on(bytes, each);
        }
    }

    /// The stream has ended. Data without its blank line is handed out if `complete` says that it is a whole text.
    pub fn finish(&mut self, complete: impl FnOnce(&str) -> bool, each: &mut impl FnMut(Frame<'_>)) {
        if self.form != Form::Array {
            let line = std::mem::take(&mut self.line);
            self.whole_line(&line, each);
            let whole = match std::str::from_utf8(&self.data) {
                Ok(data) => data.trim() == "[DONE]" || complete(data),
                Err(_) => false,
            };
            if whole || self.over {
                self.dispatch(each);
            }
        }
        self.reset();
    }

    /// Something that has begun and not ended: the stream was cut inside an event.
    pub fn is_inside(&self) -> bool {
        self.has_data || !self.line.is_empty() || self.array.depth > 1
    }

    /// An array or events? The byte order mark may come in pieces too.
    fn decide(&mut self) -> bool {
        let seen = self.line.strip_prefix(MARK).unwrap_or(&self.line);
        if MARK.starts_with(seen) && !seen.is_empty() {
            return false;
        }
        match seen.iter().find(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) {
            None => return self.bounded_wait(),
            Some(b'[') => self.form = Form::Array,
            Some(_) => self.form = Form::Events,
        }
        true
    }

    /// White space alone says nothing, and is not worth keeping.
    fn bounded_wait(&mut self) -> bool {
        if self.line.len() > EVENT_NAME_BYTES_MAX && !self.line.starts_with(MARK) {
            self.line.clear();
        }
        false
    }

    fn go_on(&mut self, bytes: &[u8], each: &mut impl FnMut(Frame<'_>)) {
        match self.form {
            Form::Array => self.feed_array(bytes, each),
            Form::Events | Form::Undecided => self.feed_lines(bytes, each),
        }
    }

    fn feed_lines(&mut self, bytes: &[u8], each: &mut impl FnMut(Frame<'_>)) {
        let mut rest = bytes;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while !rest.is_empty() {
            let Some(end) = memchr2(b'\n', b'\r', rest) else {
                self.keep(rest);
                return;
            };
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            if bytes[bytes.len() - after.len() - 1] == b'\r' {
                self.after_cr = after.is_empty();
                rest = after.strip_prefix(b"\n").unwrap_or(after);
            }
            if self.line.is_empty() {
                rest = self.line_and_what_follows(line, rest, each);
            } else {
                self.keep(line);
                let line = std::mem::take(&mut self.line);
                self.whole_line(&line, each);
                self.line = line;
                self.line.clear();
            }
        }
    }

    /// A line that lies whole in the fed bytes. If it is an event's only data and the blank line follows, the event
    /// is handed out without a copy: nearly every event.
    fn line_and_what_follows<'b>(
        &mut self,
        line: &[u8],
        rest: &'b [u8],
        each: &mut impl FnMut(Frame<'_>),
    ) -> &'b [u8] {
        let blank = rest.starts_with(b"\n");
        match line.strip_prefix(b"data:") {
            Some(data) if blank && !self.has_data && !self.over && data.len() <= EVENT_BYTES_MAX => {
                frame(&self.name, data.strip_prefix(b" ").unwrap_or(data), each);
                self.clear_event();
                &rest[1..]
            }
            _ => {
                self.whole_line(line, each);
                rest
            }
        }
    }

    fn whole_line(&mut self, line: &[u8], each: &mut impl FnMut(Frame<'_>)) {
        if line.is_empty() {
            self.dispatch(each);
            return;
        }
        let colon = memchr::memchr(b':', line);
        let (field, value) = colon.map_or((line, &b""[..]), |at| (&line[..at], &line[at + 1..]));
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"" => each(Frame::Heartbeat),
            b"data" => self.add(value),
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(&value[..value.len().min(EVENT_NAME_BYTES_MAX)]);
            }
            _ if field.starts_with(b"{") => self.add(line), // errors of some servers come as bare JSON lines
            _ => {}
        }
    }

    fn add(&mut self, value: &[u8]) {
        if self.over || self.data.len() + value.len() + 1 > EVENT_BYTES_MAX {
            self.over = true;
            self.data.clear();
            return;
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value);
    }

    /// Keeps a piece of a line whose end has not come.
    fn keep(&mut self, piece: &[u8]) {
        if self.over || self.line.len() + piece.len() > EVENT_BYTES_MAX {
            self.over = true;
            self.line.clear();
            self.line.push(b':'); // whatever the line was, it is passed over now
            return;
        }
        self.line.extend_from_slice(piece);
    }

    fn dispatch(&mut self, each: &mut impl FnMut(Frame<'_>)) {
        if self.over {
            each(Frame::TooLarge);
        } else if self.has_data {
            frame(&self.name, &self.data, each);
        }
        self.clear_event();
    }

    fn clear_event(&mut self) {
        self.data.clear();
        self.name.clear();
        self.has_data = false;
        self.over = false;
    }

    /// The elements of one array, each an event. Brackets inside strings are text.
    fn feed_array(&mut self, bytes: &[u8], each: &mut impl FnMut(Frame<'_>)) {
        let mut from = (self.array.depth > 1).then_some(0);
        for (at, &byte) in bytes.iter().enumerate() {
            let outside = self.array.depth <= 1;
            self.array.step(byte);
            if outside && self.array.depth > 1 {
                from = Some(at);
            } else if !outside
                && self.array.depth <= 1
                && let Some(start) = from.take()
            {
                self.add_piece(&bytes[start..=at]);
                self.has_data = true;
                self.dispatch(each);
            }
        }
        if let Some(start) = from {
            self.add_piece(&bytes[start..]);
        }
    }

    fn add_piece(&mut self, piece: &[u8]) {
        if self.over || self.data.len() + piece.len() > EVENT_BYTES_MAX {
            self.over = true;
            self.data.clear();
        } else {
            self.data.extend_from_slice(piece);
        }
    }
}

impl Array {
    const fn step(&mut self, byte: u8) {
        match (self.in_string, self.after_backslash, byte) {
            (true, true, _) => self.after_backslash = false,
            (true, false, b'\\') => self.after_backslash = true,
            (true, false, b'"') => self.in_string = false,
            (true, false, _) => {}
            (false, _, b'"') => self.in_string = true,
            (false, _, b'[' | b'{') => self.depth = self.depth.saturating_add(1),
            (false, _, b']' | b'}') => self.depth = self.depth.saturating_sub(1),
            (false, _, _) => {}
        }
    }
}

fn frame(name: &[u8], data: &[u8], each: &mut impl FnMut(Frame<'_>)) {
    let text = simdutf8::basic::from_utf8(data).map(str::trim_ascii);
    each(match (text, std::str::from_utf8(name)) {
        (Ok(""), _) => return,
        (Ok("[DONE]"), _) => Frame::Done,
        (Ok(data), _) if data.starts_with(':') => Frame::Heartbeat,
        (Ok(data), Ok(name)) => Frame::Data(name, data),
        (Ok(data), Err(_)) => Frame::Data("", data),
        (Err(_), _) => Frame::NotText,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<String> {
        let mut frames = Frames::new();
        let mut all = Vec::new();
        let mut each = |frame: Frame<'_>| {
            if frame != Frame::Heartbeat {
                all.push(format!("{frame:?}"));
            }
        };
        for piece in pieces {
            frames.feed(piece, &mut each);
        }
        frames.finish(|data| serde_json::from_str::<serde_json::Value>(data).is_ok(), &mut each);
        all
    }

    fn same_at_every_split(bytes: &[u8]) -> Vec<String> {
        let whole = read([bytes]);
        for at in 0..=bytes.len() {
            assert_eq!(read([&bytes[..at], &bytes[at..]]), whole, "cut at {at}");
        }
        assert_eq!(read(bytes.chunks(1)), whole, "byte by byte");
        whole
    }

    #[test]
    fn events_are_the_same_wherever_the_stream_is_cut() {
        let stream = "\u{feff}: hi\n\ndata: {\"a\":1}\n\nevent: x\r\ndata:{\"b\":\r\ndata: 2}\r\n\r\ndata: : keepalive\n\nid: 7\rretry: 3\rdata: \"\u{2028}\"\r\rdata:\n\ndata: [DONE]\n\n";
        let expected = [
            r#"Data("", "{\"a\":1}")"#,
            r#"Data("x", "{\"b\":\n2}")"#,
            r#"Data("", "\"\u{2028}\"")"#,
            "Done",
        ];
        assert_eq!(same_at_every_split(stream.as_bytes()), expected);
    }

    #[test]
    fn an_array_is_a_stream_of_its_elements() {
        let stream = b" [{\"a\":\"]}\\\"[\"}\n,\r\n{\"b\":[1,{}]}\n]\n";
        let expected = [r#"Data("", "{\"a\":\"]}\\\"[\"}")"#, r#"Data("", "{\"b\":[1,{}]}")"#];
        assert_eq!(same_at_every_split(stream), expected);
    }

    #[test]
    fn a_tail_without_its_blank_line_counts_only_if_it_is_whole() {
        assert_eq!(same_at_every_split(b"data: {\"a\":1}"), [r#"Data("", "{\"a\":1}")"#]);
        assert_eq!(same_at_every_split(b"data: {\"a\":1"), [] as [&str; 0]);
        assert_eq!(same_at_every_split(b"data: [DONE]"), ["Done"]);
        assert_eq!(same_at_every_split(b"[{\"a\":1},{\"b\""), [r#"Data("", "{\"a\":1}")"#]);
    }

    #[test]
    fn an_error_as_a_bare_line_is_data() {
        let expected = [r#"Data("", "{\"error\":{\"code\":503}}")"#];
        assert_eq!(same_at_every_split(b"{\"error\":{\"code\":503}}\n\n"), expected);
    }

    #[test]
    fn an_event_over_the_bound_is_told_and_not_kept() {
        let mut frames = Frames::new();
        let mut told = Vec::new();
        let chunk = vec![b'x'; 1 << 20];
        frames.feed(b"data: ", &mut |_| {});
        for _ in 0..20 {
            frames.feed(&chunk, &mut |frame| told.push(format!("{frame:?}")));
            assert!(frames.line.len() + frames.data.len() <= EVENT_BYTES_MAX);
        }
        frames.feed(b"\n\ndata: 1\n\n", &mut |frame| told.push(format!("{frame:?}")));
        told.retain(|frame| frame != "Heartbeat");
        assert_eq!(told, ["TooLarge", r#"Data("", "1")"#]);
    }
}
