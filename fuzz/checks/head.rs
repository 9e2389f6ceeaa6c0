//! What must hold for any bytes given to the head parsers. Shared by the fuzz target and a test over its corpus.

use ringway_wire::http1::{
    Asked, Fault, Framing, HeadBounds, Parse, RequestHead, RequestOut, ResponseHead, ResponseOut, Version,
    write_request, write_response,
};
use std::net::{IpAddr, Ipv4Addr};

/// The first two bytes also choose where the input is cut.
pub fn check(bytes: &[u8]) {
    let cut = bytes.iter().take(2).fold(0, |sum, &byte| sum * 251 + usize::from(byte)) % (bytes.len() + 1);
    request(bytes, cut);
    response(bytes, cut);
}

fn request(bytes: &[u8], cut: usize) {
    let (mut whole, mut halves) = (RequestHead::new(), RequestHead::new());
    let verdict = whole.parse(bytes, &HeadBounds::REQUEST);
    let cut_verdict = in_halves(bytes, cut, |bytes| halves.parse(bytes, &HeadBounds::REQUEST));
    assert_eq!(verdict, cut_verdict, "a cut changed the verdict");
    if verdict != Ok(Parse::Complete) {
        return;
    }
    assert!(whole.len() <= bytes.len());
    assert_eq!(whole.fields(), halves.fields());
    assert_eq!((whole.framing(), whole.target()), (halves.framing(), halves.target()));

    let how = RequestOut {
        base_path: b"",
        host: b"upstream",
        renamed: None,
        framing: whole.framing(),
        forwarded_for: IpAddr::V4(Ipv4Addr::LOCALHOST),
        forwarded_proto: "http",
        trust_forwarded: cut.is_multiple_of(2),
        request_id: b"id",
        decoded: false,
        strip_credentials: cut.is_multiple_of(3),
        credential: None,
        identity_coding: cut.is_multiple_of(5),
        instead: None,
        close: false,
    };
    let mut out = Vec::new();
    write_request(&mut out, &whole, bytes, &how);
    let roomy = HeadBounds {
        head_bytes: 1 << 20,
        request_line_bytes: 1 << 20,
        field_line_bytes: 1 << 20,
        fields: 1_000,
    };
    let mut again = RequestHead::new();
    assert_eq!(again.parse(&out, &roomy), Ok(Parse::Complete), "{}", out.escape_ascii());
    assert_eq!(again.len(), out.len());
    assert_eq!(again.method_bytes(&out), whole.method_bytes(bytes));
    match whole.framing() {
        Framing::None => assert!(matches!(again.framing(), Framing::None | Framing::Length(0))),
        framing => assert_eq!(again.framing(), framing),
    }
}

fn response(bytes: &[u8], cut: usize) {
    let asked = Asked { head: cut.is_multiple_of(2) };
    let (mut whole, mut halves) = (ResponseHead::new(), ResponseHead::new());
    let verdict = whole.parse(bytes, &HeadBounds::RESPONSE, &asked);
    let cut_verdict = in_halves(bytes, cut, |bytes| halves.parse(bytes, &HeadBounds::RESPONSE, &asked));
    assert_eq!(verdict, cut_verdict, "a cut changed the verdict");
    if verdict != Ok(Parse::Complete) {
        return;
    }
    assert!(whole.len() <= bytes.len() && (100..=599).contains(&whole.status()));
    assert_eq!(whole.fields(), halves.fields());

    let framing = if whole.framing() == Framing::UntilClose { Framing::Chunked } else { whole.framing() };
    let how = ResponseOut {
        framing,
        close: false,
        kept: None,
        version: Version::Http11,
        date: b"now",
        request_id: b"id",
        extra: &[],
        head_request: asked.head,
    };
    let mut out = Vec::new();
    write_response(&mut out, &whole, bytes, &how);
    let roomy = HeadBounds { head_bytes: 1 << 20, fields: 1_000, ..HeadBounds::RESPONSE };
    let mut again = ResponseHead::new();
    assert_eq!(again.parse(&out, &roomy, &asked), Ok(Parse::Complete), "{}", out.escape_ascii());
    assert_eq!((again.len(), again.status()), (out.len(), whole.status()));
}

fn in_halves(
    bytes: &[u8],
    cut: usize,
    mut parse: impl FnMut(&[u8]) -> Result<Parse, Fault>,
) -> Result<Parse, Fault> {
    match parse(&bytes[..cut])? {
        Parse::Complete => Ok(Parse::Complete),
        Parse::Partial => parse(bytes),
    }
}
