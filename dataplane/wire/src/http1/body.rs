//! Message bodies, in place.
use super::{Fault, Framing, Span};

/// The end of a chunked body of ours.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What `Body::advance` leaves in the buffer of a chunked body. Other framings have nothing to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Chunked framing is kept, extensions and trailers are cut out, data stays byte for byte.
    Verbatim,
    /// Framing is removed; what is left is payload.
    Decode,
}

/// What one call of `Body::advance` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Bytes of the input that are dealt with.
    pub consumed: usize,
    /// Bytes at the start of the buffer that may be forwarded.
    pub keep: usize,
    /// The message is complete.
    pub done: bool,
    /// Behind the kept bytes stands a breach: forward them, then abort (UF-19). The next call returns it as the error.
    pub fault: Option<Fault>,
}

/// One message's body, fed as it arrives.
#[derive(Debug)]
pub struct Body {
    framing: Framing,
}

impl Body {
    /// A body of that framing, at most `data_max` payload bytes.
    pub fn new(framing: Framing, _mode: Mode, _data_max: u64) -> Self {
        Self { framing }
    }
    /// Looks at `buf`, which starts where the last call stopped consuming. Compacts in place: afterwards
    /// `buf[..keep]` may be forwarded and `buf[consumed..]` was not consumed (an incomplete line of framing, at most
    /// `BODY_PENDING_BYTES_MAX` bytes, or bytes behind the message). Pushes the payload ranges of `buf[..keep]`.
    pub fn advance(&mut self, _buf: &mut [u8], _data: &mut Vec<Span>) -> Result<Advance, Fault> {
        unimplemented!("{:?}", self.framing)
    }
    /// The message is complete.
    pub fn done(&self) -> bool {
        unimplemented!()
    }
    /// Payload bytes so far.
    pub fn data_bytes(&self) -> u64 {
        unimplemented!()
    }
    /// Whether end of input here completes the message. Otherwise it was cut short (H1-CH-08, H1-UP-12).
    pub fn end_of_input(&self) -> bool {
        unimplemented!()
    }
}

/// Appends the size line of a chunk of ours; `len` must not be 0, which would end the body.
pub fn write_chunk_head(_out: &mut Vec<u8>, _len: usize) {
    unimplemented!()
}
