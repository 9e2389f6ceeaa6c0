//! Framed messages of Amazon's event streams (`application/vnd.amazon.eventstream`), as hosted models stream in them.
//!
//! ```text
//! total length u32 · headers length u32 · CRC-32 of both u32 · headers · payload · CRC-32 of all before u32
//! header: name length u8 · name · type u8 · value, whose length the type tells
//! ```
//! Owns: the framing, both checksums, and the headers that say what a message is. Source: the Smithy specification of
//! `vnd.amazon.eventstream`.
//! Must not: read a payload, or hold more than one message and [`FRAME_BYTES_MAX`].
//! Read next: whoever feeds it.

use crate::bounds::{FRAME_BYTES_MAX, FRAME_HEADERS_BYTES_MAX};

const PRELUDE_BYTES: usize = 12;
const CHECK_BYTES: usize = 4;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub kind: MessageKind,
    /// Which event or exception; empty if it does not say.
    pub name: &'a [u8],
    /// Why, of an exception that says it beside its payload; empty otherwise.
    pub reason: &'a [u8],
    /// What it carries.
    pub payload: &'a [u8],
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Something of the answer.
    Event,
    /// The service says why there is no more.
    Exception,
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// A checksum is not that of its bytes.
    Checksum,
    /// A length contradicts another, or a header is cut.
    Length,
    /// A message is larger than [`FRAME_BYTES_MAX`].
    TooLarge,
}

/// Reads messages from bytes cut anywhere. Broken once, it stays so.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    held: Vec<u8>,
    broken: Option<Broken>,
}

impl Frames {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and hands out each message that ends in them.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Message<'_>)) -> Result<(), Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let read = if self.held.is_empty() {
            // Mostly whole messages come: they are read where they lie.
            messages(bytes, &mut each).map(|at| self.held.extend_from_slice(&bytes[at..]))
        } else {
            self.held.extend_from_slice(bytes);
            messages(&self.held, &mut each).map(|at| drop(self.held.drain(..at)))
        };
        read.inspect_err(|broken| self.broken = Some(*broken))
    }

    /// Whether the stream may end here.
    pub fn is_between(&self) -> bool {
        self.held.is_empty() && self.broken.is_none()
    }
}

/// Hands out the messages that these bytes begin with, and says where the rest begins.
fn messages(bytes: &[u8], each: &mut impl FnMut(Message<'_>)) -> Result<usize, Broken> {
    let mut at = 0;
    while let Some((message, length)) = message(&bytes[at..])? {
        each(message);
        at += length;
    }
    Ok(at)
}

/// The first message of these bytes, and its length; `None`: it is not whole.
fn message(bytes: &[u8]) -> Result<Option<(Message<'_>, usize)>, Broken> {
    let Some(prelude) = bytes.first_chunk::<PRELUDE_BYTES>() else { return Ok(None) };
    let (total, headers, check) = (number(&prelude[0..4]), number(&prelude[4..8]), number(&prelude[8..12]));
    if crc32fast::hash(&prelude[..8]) != check {
        return Err(Broken::Checksum);
    }
    let (total, headers) = (total as usize, headers as usize);
    if total > FRAME_BYTES_MAX || headers > FRAME_HEADERS_BYTES_MAX {
        return Err(Broken::TooLarge);
    }
    if total < PRELUDE_BYTES + headers + CHECK_BYTES {
        return Err(Broken::Length);
    }
    let Some(whole) = bytes.get(..total) else { return Ok(None) };
    let (content, check) = whole.split_at(total - CHECK_BYTES);
    if crc32fast::hash(content) != number(check) {
        return Err(Broken::Checksum);
    }
    let (headers, payload) = content[PRELUDE_BYTES..].split_at(headers);
    Ok(Some((described(headers, payload)?, total)))
}

/// What the headers say of a payload. Headers that are not known are passed over, whatever their type.
fn described<'a>(mut headers: &'a [u8], payload: &'a [u8]) -> Result<Message<'a>, Broken> {
    let mut message = Message { kind: MessageKind::Event, name: b"", reason: b"", payload };
    while !headers.is_empty() {
        let name = taken(&mut headers, 1).and_then(|length| taken(&mut headers, length[0].into()));
        let of_type = taken(&mut headers, 1).ok_or(Broken::Length)?[0];
        let value = value(&mut headers, of_type).ok_or(Broken::Length)?;
        match name.ok_or(Broken::Length)? {
            b":message-type" if value != b"event" => message.kind = MessageKind::Exception,
            b":event-type" | b":exception-type" | b":error-code" => message.name = value,
            b":error-message" => message.reason = value,
            _ => {}
        }
    }
    Ok(message)
}

fn value<'a>(headers: &mut &'a [u8], of_type: u8) -> Option<&'a [u8]> {
    let length = match of_type {
        0 | 1 => 0, // true, false
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8, // an integer, a timestamp
        9 => 16,
        6 | 7 => u16::from_be_bytes(*taken(headers, 2)?.first_chunk()?).into(), // bytes, text
        _ => return None,
    };
    taken(headers, length)
}

fn taken<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// Four bytes, the largest first.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &str) -> Vec<u8> {
        let mut header = vec![name.len() as u8];
        header.extend_from_slice(name.as_bytes());
        header.push(7);
        header.extend_from_slice(&(value.len() as u16).to_be_bytes());
        header.extend_from_slice(value.as_bytes());
        header
    }

    fn framed(headers: &[u8], payload: &[u8]) -> Vec<u8> {
        let total = PRELUDE_BYTES + headers.len() + payload.len() + CHECK_BYTES;
        let mut bytes = (total as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(&(headers.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        bytes.extend_from_slice(headers);
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    fn read(pieces: &[&[u8]]) -> Result<Vec<(MessageKind, String, String)>, Broken> {
        let (mut frames, mut all) = (Frames::new(), Vec::new());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for piece in pieces {
            frames.feed(piece, |it| all.push((it.kind, text(it.name), text(it.payload))))?;
        }
        assert!(frames.is_between(), "something is left");
        Ok(all)
    }

    fn two() -> Vec<u8> {
        let mut odd = vec![3];
        odd.extend_from_slice(b"num\x04\x00\x00\x00\x01"); // a header of another type, which is passed over
        let first = [header(":event-type", "chunk"), odd, header(":message-type", "event")].concat();
        let second = [header(":message-type", "exception"), header(":exception-type", "throttled")].concat();
        [framed(&first, b"{\"bytes\":\"e30=\"}"), framed(&second, b"")].concat()
    }

    #[test]
    fn messages_are_the_same_wherever_the_cuts_are() {
        let all = two();
        let expected = [
            (MessageKind::Event, "chunk".to_owned(), "{\"bytes\":\"e30=\"}".to_owned()),
            (MessageKind::Exception, "throttled".to_owned(), String::new()),
        ];
        for at in 0..=all.len() {
            let (one, two) = all.split_at(at);
            assert_eq!(read(&[one, two]).as_deref(), Ok(&expected[..]), "cut at {at}");
        }
        let bytes: Vec<&[u8]> = all.chunks(1).collect();
        assert_eq!(read(&bytes).as_deref(), Ok(&expected[..]));
    }

    #[test]
    fn a_byte_that_changed_on_the_way_is_noticed_wherever_it_is() {
        let sound = two();
        for at in 0..sound.len() {
            let mut bent = sound.clone();
            bent[at] ^= 0x40;
            let mut frames = Frames::new();
            assert!(frames.feed(&bent, |_| {}).is_err() || !frames.is_between(), "at {at}");
        }
    }

    #[test]
    fn a_length_that_lies_is_refused_before_anything_is_held_for_it() {
        let mut huge = (FRAME_BYTES_MAX as u32 + 1).to_be_bytes().to_vec();
        huge.extend_from_slice(&0u32.to_be_bytes());
        huge.extend_from_slice(&crc32fast::hash(&huge).to_be_bytes());
        assert_eq!(read(&[&huge]), Err(Broken::TooLarge));
        assert_eq!(read(&[&framed(&[200, b'x'], b"")]), Err(Broken::Length), "a header that is cut");
    }
}
