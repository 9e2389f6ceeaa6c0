//! Server-sent events as a client reads them, by the HTML standard, section 9.2.6. No I/O.
//!
//! Owns: splitting a body into events, at any split of the bytes.
//! Must not: share anything with the proxy's observer, or know what an event means.
//! Read next: `../oracle.rs`.

use crate::bounds::EVENT_BYTES_MAX;

/// One event: its name (empty if none) and its data lines joined by line feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SseEvent<'a> {
    pub(crate) name: &'a str,
    pub(crate) data: &'a str,
}

/// Why the bytes are no event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SseFault {
    NotUtf8,
    TooLong,
}

#[derive(Debug, Default)]
pub(crate) struct SseReader {
    line: Vec<u8>,
    name: String,
    data: String,
    has_data: bool,
    after_cr: bool,
    begun: bool,
}

impl SseReader {
    /// Reads on, handing out every event that is complete.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut on_event: impl FnMut(SseEvent<'_>),
    ) -> Result<(), SseFault> {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let take = end.unwrap_or(bytes.len());
            if self.line.len() + self.data.len() + take > EVENT_BYTES_MAX {
                return Err(SseFault::TooLong);
            }
            self.line.extend_from_slice(&bytes[..take]);
            let Some(end) = end else { return Ok(()) };
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            self.end_line(&mut on_event)?;
        }
        Ok(())
    }

    /// Whether the stream, if it ended here, would lose a part of an event.
    pub(crate) fn is_mid_event(&self) -> bool {
        !self.line.is_empty() || self.has_data
    }

    fn end_line(&mut self, on_event: &mut impl FnMut(SseEvent<'_>)) -> Result<(), SseFault> {
        let bytes = std::mem::take(&mut self.line);
        let mut line = std::str::from_utf8(&bytes).map_err(|_| SseFault::NotUtf8)?;
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            self.end_event(on_event);
        } else if let Some((field, value)) = line.split_once(':') {
            self.field(field, value.strip_prefix(' ').unwrap_or(value));
        } else {
            self.field(line, "");
        }
        self.line = bytes;
        self.line.clear();
        Ok(())
    }

    /// A comment has an empty field name and falls through, like fields this reader has no use for.
    fn field(&mut self, field: &str, value: &str) {
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            _ => {}
        }
    }

    fn end_event(&mut self, on_event: &mut impl FnMut(SseEvent<'_>)) {
        if std::mem::take(&mut self.has_data) {
            on_event(SseEvent { name: &self.name, data: &self.data });
        }
        self.name.clear();
        self.data.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&[u8]]) -> (Vec<(String, String)>, bool) {
        let mut reader = SseReader::default();
        let mut events = Vec::new();
        for part in parts {
            reader
                .feed(part, |event| events.push((event.name.to_owned(), event.data.to_owned())))
                .expect("a stream");
        }
        (events, reader.is_mid_event())
    }

    #[test]
    fn any_split_and_any_line_end_gives_the_same_events() {
        let text = "\u{feff}: hello\nevent: a\ndata: one\ndata:two\n\ndata\n\nid: 3\n\ndata: é\n\n";
        let want = vec![
            ("a".into(), "one\ntwo".into()),
            (String::new(), String::new()),
            (String::new(), "é".into()),
        ];
        for end in ["\n", "\r\n", "\r"] {
            let bytes = text.replace('\n', end).into_bytes();
            for split in 0..=bytes.len() {
                assert_eq!(
                    read(&[&bytes[..split], &bytes[split..]]),
                    (want.clone(), false),
                    "{end:?} {split}"
                );
            }
        }
    }

    #[test]
    fn an_unterminated_event_is_not_handed_out_but_noticed() {
        assert_eq!(read(&[b"data: x\n"]), (vec![], true));
        assert_eq!(read(&[b"data: x"]), (vec![], true));
        assert_eq!(read(&[b": ping\n\n"]), (vec![], false));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_a_fault() {
        assert_eq!(SseReader::default().feed(b"data: \xff\n\n", |_| {}), Err(SseFault::NotUtf8));
    }
}
