//! What must hold for any bytes taken for framed messages. Shared by the fuzz target and a test over its corpus.

use ringway_wire::bounds::FRAME_BYTES_MAX;
use ringway_wire::frames::{Broken, Frames, MessageKind};

/// The first two bytes also choose where the input is cut. What comes behind is read as it stands, and once more in
/// frames whose sums are right: a fuzzer does not find those.
pub fn check(bytes: &[u8]) {
    let cut = bytes.iter().take(2).fold(0, |sum, &byte| sum * 251 + usize::from(byte));
    same_wherever_cut(bytes, cut % (bytes.len() + 1));
    let (headers, payload) = bytes.split_at(cut % (bytes.len() + 1));
    let framed = framed(headers, payload);
    same_wherever_cut(&framed, cut % (framed.len() + 1));
}

fn same_wherever_cut(bytes: &[u8], cut: usize) {
    let whole = read(&[bytes]);
    assert_eq!(read(&[&bytes[..cut], &bytes[cut..]]), whole, "a cut at {cut} changed what is read");
    assert_eq!(read(&bytes.chunks(1).collect::<Vec<_>>()), whole, "byte by byte it reads otherwise");
}

#[derive(Debug, PartialEq)]
struct Told {
    messages: Vec<(MessageKind, [Vec<u8>; 3])>,
    broken: Option<Broken>,
    between: bool,
}

fn read(pieces: &[&[u8]]) -> Told {
    let (mut frames, mut messages, mut broken) = (Frames::new(), Vec::new(), None);
    for piece in pieces {
        let read = frames.feed(piece, |it| {
            assert!(it.payload.len() < FRAME_BYTES_MAX);
            messages.push((it.kind, [it.name, it.reason, it.payload].map(<[u8]>::to_vec)));
        });
        broken = broken.or(read.err());
    }
    Told { messages, broken, between: frames.is_between() }
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

/// CRC-32 as zip has it, bit by bit: not the code under test.
fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}
