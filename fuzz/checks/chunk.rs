//! What must hold for any bytes given to the body decoder. Shared by the fuzz target and a test over its corpus.

use ringway_wire::bounds::BODY_PENDING_BYTES_MAX;
use ringway_wire::http1::{Body, Fault, Framing, Mode};

const DATA_MAX: u64 = 1 << 20;

/// The first two bytes also choose where the input is cut.
pub fn check(bytes: &[u8]) {
    let cut = bytes.iter().take(2).fold(0, |sum, &byte| sum * 251 + usize::from(byte)) % (bytes.len() + 1);
    for mode in [Mode::Decode, Mode::Verbatim] {
        let whole = feed(bytes, &[bytes.len()], mode);
        assert_eq!(whole, feed(bytes, &[cut, bytes.len()], mode), "a cut changed the verdict");
        if mode == Mode::Verbatim && whole.done {
            let again = feed(&whole.forwarded, &[whole.forwarded.len()], mode);
            assert_eq!(again, whole, "what is forwarded is plain, and means the same");
        }
    }
}

#[derive(Debug, PartialEq)]
struct Fed {
    forwarded: Vec<u8>,
    data: Vec<u8>,
    done: bool,
    fault: Option<Fault>,
}

fn feed(bytes: &[u8], cuts: &[usize], mode: Mode) -> Fed {
    let mut body = Body::new(Framing::Chunked, mode, DATA_MAX);
    let mut fed = Fed { forwarded: Vec::new(), data: Vec::new(), done: false, fault: None };
    let (mut buf, mut from) = (Vec::new(), 0);
    for &cut in cuts {
        buf.extend_from_slice(&bytes[from..cut]);
        from = cut;
        let mut spans = Vec::new();
        match body.advance(&mut buf, &mut spans) {
            Ok(advance) => {
                fed.forwarded.extend_from_slice(&buf[..advance.keep]);
                for span in &spans {
                    fed.data.extend_from_slice(span.of(&buf));
                }
                buf.drain(..advance.consumed);
                (fed.done, fed.fault) = (advance.done, advance.fault);
                assert!(fed.done || fed.fault.is_some() || buf.len() <= BODY_PENDING_BYTES_MAX);
            }
            Err(fault) => fed.fault = Some(fault),
        }
        if fed.done || fed.fault.is_some() {
            break;
        }
    }
    assert_eq!(body.data_bytes(), fed.data.len() as u64);
    fed
}
