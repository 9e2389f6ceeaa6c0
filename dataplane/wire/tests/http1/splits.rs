//! However the bytes are cut, the verdict and everything in it is the same.

use crate::drive::{body, every_byte, framed, request, response};
use crate::rules::{DATA_MAX, chunk_rows, request_rows, response_rows, show};
use ringway_wire::http1::{Asked, Framing, Mode};

/// Above this, cut into halves at some places only.
const SHORT: usize = 400;

fn places(bytes: &[u8]) -> Vec<usize> {
    let step = if bytes.len() <= SHORT { 1 } else { bytes.len() / 50 };
    (0..=bytes.len()).step_by(step).collect()
}

#[test]
fn a_request_head_may_be_cut_anywhere() {
    for bytes in request_rows().into_iter().flat_map(|row| [row.breaks, row.passes].concat()) {
        let whole = request(&bytes, []);
        assert_eq!(request(&bytes, every_byte(&bytes)), whole, "{}", show(&bytes));
        for place in places(&bytes) {
            assert_eq!(request(&bytes, [place]), whole, "cut at {place}: {}", show(&bytes));
        }
    }
}

#[test]
fn a_response_head_may_be_cut_anywhere() {
    let asked = Asked::default();
    for bytes in response_rows().into_iter().flat_map(|row| [row.breaks, row.passes].concat()) {
        let whole = response(&bytes, [], asked);
        assert_eq!(response(&bytes, every_byte(&bytes), asked), whole, "{}", show(&bytes));
        for place in places(&bytes) {
            assert_eq!(response(&bytes, [place], asked), whole, "cut at {place}: {}", show(&bytes));
        }
    }
}

#[test]
fn a_chunked_body_may_be_cut_anywhere() {
    for bytes in chunk_rows().into_iter().flat_map(|row| [row.breaks, row.passes].concat()) {
        for mode in [Mode::Verbatim, Mode::Decode] {
            let whole = body(&bytes, [], mode, DATA_MAX);
            if bytes.len() < 100_000 {
                // What is left behind a breach depends on when it was seen; all else may not.
                let mut cut = body(&bytes, every_byte(&bytes), mode, DATA_MAX);
                cut.left = whole.left;
                assert_eq!(cut, whole, "{}", show(&bytes));
            }
            for place in places(&bytes) {
                let mut cut = body(&bytes, [place], mode, DATA_MAX);
                cut.left = whole.left;
                assert_eq!(cut, whole, "cut at {place}: {}", show(&bytes));
            }
        }
    }
}

const FANCY: &[u8] =
    b"5;a=b\r\nhello\r\n06 ; q=\"x\\\";y\"\r\n world\r\n00;last\r\nA: b\r\nC: d\r\n\r\nGET / HT";
const PLAIN: &[u8] = b"5\r\nhello\r\n06\r\n world\r\n00\r\n\r\n";

#[test]
fn extensions_and_trailers_are_cut_out_and_data_is_not_touched() {
    for place in 0..FANCY.len() {
        let fed = body(FANCY, [place], Mode::Verbatim, DATA_MAX);
        assert_eq!(fed.forwarded, PLAIN, "cut at {place}");
        assert_eq!(
            (fed.data.as_slice(), fed.done, fed.left),
            (&b"hello world"[..], true, 8),
            "cut at {place}"
        );
        let fed = body(FANCY, [place], Mode::Decode, DATA_MAX);
        assert_eq!(
            (fed.forwarded.as_slice(), fed.done, fed.left),
            (&b"hello world"[..], true, 8),
            "cut at {place}"
        );
    }
}

#[test]
fn a_plain_chunked_body_passes_byte_for_byte() {
    for place in 0..PLAIN.len() {
        assert_eq!(body(PLAIN, [place], Mode::Verbatim, DATA_MAX).forwarded, PLAIN);
    }
}

#[test]
fn no_byte_of_an_unfinished_size_line_is_forwarded() {
    for (unfinished, sound) in
        [(&b"1\r\nx\r\n1f"[..], 6), (b"1\r\nx\r\n1f\r", 6), (b"1\r\nx\r\n1;a=b\r", 6), (b"1\r\nx\r", 4)]
    {
        let fed = body(unfinished, [], Mode::Verbatim, DATA_MAX);
        assert_eq!(fed.forwarded, &unfinished[..sound], "H1-CH-07");
        assert_eq!(fed.left, unfinished.len() - sound);
    }
}

#[test]
fn what_stands_before_a_breach_is_given_on_and_nothing_behind_it() {
    let fed = body(b"5\r\nhello\r\nzz\r\n", [], Mode::Verbatim, DATA_MAX);
    assert_eq!((fed.forwarded.as_slice(), fed.data.as_slice()), (&b"5\r\nhello\r\n"[..], &b"hello"[..]));
    assert!(fed.fault.is_some() && !fed.done);
}

#[test]
fn counted_bodies_end_where_their_length_says() {
    for place in 0..12 {
        let fed = framed(Framing::Length(5), b"helloGET / H", [place], Mode::Verbatim, DATA_MAX);
        assert_eq!((fed.forwarded.as_slice(), fed.done, fed.left), (&b"hello"[..], true, 7));
    }
    let fed = framed(Framing::UntilClose, b"hello", [2], Mode::Verbatim, DATA_MAX);
    assert_eq!((fed.forwarded.as_slice(), fed.done, fed.left), (&b"hello"[..], false, 0));
    let fed = framed(Framing::None, b"GET", [2], Mode::Verbatim, DATA_MAX);
    assert_eq!((fed.forwarded.len(), fed.done, fed.left), (0, true, 3));
}
