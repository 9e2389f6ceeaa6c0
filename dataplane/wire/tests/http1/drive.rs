//! Feeds heads and bodies whole or in pieces, and says what came of it.

use ringway_wire::http1::{
    Asked, Body, Fault, Framing, HeadBounds, Method, Mode, Parse, RequestHead, ResponseHead, Span, Version,
};

/// A request head as values, for comparing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub len: usize,
    pub method: Method,
    pub method_bytes: Vec<u8>,
    pub target: Vec<u8>,
    pub path: Vec<u8>,
    pub query: Option<Vec<u8>>,
    pub host: Vec<u8>,
    pub version: Version,
    pub framing: Framing,
    pub keep_alive: bool,
    pub expect_continue: bool,
    pub fields: Vec<(Vec<u8>, Vec<u8>, bool)>,
}

impl Request {
    pub fn of(head: &RequestHead, buf: &[u8]) -> Request {
        Request {
            len: head.len(),
            method: head.method(),
            method_bytes: head.method_bytes(buf).to_vec(),
            target: head.target().of(buf).to_vec(),
            path: head.path().of(buf).to_vec(),
            query: head.query().map(|query| query.of(buf).to_vec()),
            host: head.host().of(buf).to_vec(),
            version: head.version(),
            framing: head.framing(),
            keep_alive: head.keep_alive(),
            expect_continue: head.expect_continue(),
            fields: head
                .fields()
                .iter()
                .map(|f| (f.name.of(buf).to_vec(), f.value.of(buf).to_vec(), f.hop))
                .collect(),
        }
    }
}

/// A response head as values, for comparing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub len: usize,
    pub status: u16,
    pub reason: Vec<u8>,
    pub version: Version,
    pub framing: Framing,
    pub keep_alive: bool,
    pub fields: Vec<(Vec<u8>, Vec<u8>, bool)>,
}

impl Response {
    pub fn of(head: &ResponseHead, buf: &[u8]) -> Response {
        Response {
            len: head.len(),
            status: head.status(),
            reason: head.reason().of(buf).to_vec(),
            version: head.version(),
            framing: head.framing(),
            keep_alive: head.keep_alive(),
            fields: head
                .fields()
                .iter()
                .map(|f| (f.name.of(buf).to_vec(), f.value.of(buf).to_vec(), f.hop))
                .collect(),
        }
    }
}

/// Parses `bytes`, first the prefix that ends at each of `cuts`, then all of it. `None` if it stays partial.
pub fn request(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Result<Option<Request>, Fault> {
    let mut head = RequestHead::new();
    for cut in cuts.into_iter().chain([bytes.len()]) {
        if head.parse(&bytes[..cut], &HeadBounds::REQUEST)? == Parse::Complete {
            return Ok(Some(Request::of(&head, bytes)));
        }
    }
    Ok(None)
}

/// The same for a response.
pub fn response(
    bytes: &[u8],
    cuts: impl IntoIterator<Item = usize>,
    asked: Asked,
) -> Result<Option<Response>, Fault> {
    let mut head = ResponseHead::new();
    for cut in cuts.into_iter().chain([bytes.len()]) {
        if head.parse(&bytes[..cut], &HeadBounds::RESPONSE, &asked)? == Parse::Complete {
            return Ok(Some(Response::of(&head, bytes)));
        }
    }
    Ok(None)
}

/// What came of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fed {
    /// What was given on, in the order it was.
    pub forwarded: Vec<u8>,
    /// The payload, by the spans.
    pub data: Vec<u8>,
    pub done: bool,
    pub fault: Option<Fault>,
    /// Bytes not consumed at the end.
    pub left: usize,
}

/// Feeds `bytes` in the pieces that `cuts` makes of them, as a connection with one buffer would.
pub fn body(bytes: &[u8], cuts: impl IntoIterator<Item = usize>, mode: Mode, data_max: u64) -> Fed {
    framed(Framing::Chunked, bytes, cuts, mode, data_max)
}

/// The same under any framing.
pub fn framed(
    framing: Framing,
    bytes: &[u8],
    cuts: impl IntoIterator<Item = usize>,
    mode: Mode,
    data_max: u64,
) -> Fed {
    let mut body = Body::new(framing, mode, data_max);
    let mut fed = Fed { forwarded: Vec::new(), data: Vec::new(), done: false, fault: None, left: 0 };
    let (mut buf, mut from, mut spans) = (Vec::new(), 0, Vec::new());
    for cut in cuts.into_iter().chain([bytes.len()]) {
        buf.extend_from_slice(&bytes[from..cut]);
        from = cut;
        step(&mut body, &mut buf, &mut spans, &mut fed);
        if fed.fault.is_some() || fed.done {
            break;
        }
    }
    assert_eq!(body.data_bytes(), fed.data.len() as u64);
    fed.left = buf.len() + bytes.len() - from;
    fed
}

fn step(body: &mut Body, buf: &mut Vec<u8>, spans: &mut Vec<Span>, fed: &mut Fed) {
    spans.clear();
    match body.advance(buf, spans) {
        Ok(advance) => {
            assert!(advance.keep <= advance.consumed && advance.consumed <= buf.len());
            assert!(spans.iter().all(|span| !span.is_empty() && span.end as usize <= advance.keep));
            assert!(spans.is_sorted_by(|a, b| a.end <= b.start));
            fed.forwarded.extend_from_slice(&buf[..advance.keep]);
            for span in spans {
                fed.data.extend_from_slice(span.of(buf));
            }
            buf.drain(..advance.consumed);
            (fed.done, fed.fault) = (advance.done, advance.fault);
            if let Some(fault) = advance.fault {
                assert_eq!(body.advance(buf, &mut Vec::new()), Err(fault), "a breach is for good");
            }
        }
        Err(fault) => fed.fault = Some(fault),
    }
}

/// Cuts after every byte.
pub fn every_byte(bytes: &[u8]) -> impl Iterator<Item = usize> + use<> {
    1..bytes.len()
}
