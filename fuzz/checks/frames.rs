//! What must hold for any bytes taken for framed messages. Shared by the fuzz target and the tests.
//! Owns: cuts that may change nothing, and a frame around any bytes.
//! Must not: know how the reader works.

use ringway_wire::frames::{Broken, Frames, MessageKind};

type Read = (Vec<(MessageKind, Vec<u8>, Vec<u8>)>, Option<Broken>, bool);

/// The first two bytes also choose where the input is cut.
pub fn check(bytes: &[u8]) {
    let cut = bytes.iter().take(2).fold(0, |sum, &byte| sum * 251 + usize::from(byte)) % (bytes.len() + 1);
    let halves = [&bytes[..cut], &bytes[cut..]];
    let whole = read([bytes]);
    assert_eq!(read(halves), whole, "a cut at {cut} changed the messages");
    assert_eq!(read(bytes.chunks(1)), whole, "byte by byte, the messages changed");

    // Behind sound checksums any bytes may stand, as headers and as a payload.
    let (headers, payload) = (halves[0], halves[1]);
    if headers.len() <= ringway_wire::bounds::FRAME_HEADERS_BYTES_MAX {
        let (messages, broken, _) = read([&framed(headers, payload)[..]]);
        match broken {
            None => assert_eq!(messages[0].2, payload, "a payload is what was framed"),
            Some(broken) => assert_eq!(broken, Broken::Length, "only the headers can be wrong"),
        }
    }
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut frames = Frames::new();
    let mut messages = Vec::new();
    let mut broken = None;
    for piece in pieces {
        let each = |it: ringway_wire::frames::Message<'_>| {
            messages.push((it.kind, it.name.to_vec(), it.payload.to_vec()));
        };
        if let Err(why) = frames.feed(piece, each) {
            broken = Some(why);
        }
    }
    (messages, broken, frames.is_between())
}

fn framed(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + headers.len() as u32 + payload.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
    bytes.extend_from_slice(headers);
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
    bytes
}

/// Bit by bit, as the polynomial says.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let bit = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        (0..8).fold(crc ^ u32::from(*byte), bit)
    };
    !bytes.iter().fold(u32::MAX, step)
}
