//! A second chunk decoder: slow, whole input only, and as close to the grammar of RFC 9112 section 7.1 as can be.
//! It shares no code with the crate, and the two must agree on every input.

use crate::drive::{body, every_byte};
use crate::rules::show;
use proptest::prelude::*;
use ringway_wire::http1::Mode;

#[derive(Debug, PartialEq, Eq)]
enum Slow {
    /// Payload, and where the message ends.
    Complete(Vec<u8>, usize),
    Incomplete,
    Bad,
}

fn decode(input: &[u8]) -> Slow {
    match chunks(input) {
        Ok((payload, end)) => Slow::Complete(payload, end),
        Err(Stop::Short) => Slow::Incomplete,
        Err(Stop::Bad) => Slow::Bad,
    }
}

enum Stop {
    Short,
    Bad,
}

fn chunks(input: &[u8]) -> Result<(Vec<u8>, usize), Stop> {
    let (mut payload, mut at) = (Vec::new(), 0);
    loop {
        let line = crlf_line(input, &mut at)?;
        let size = chunk_size(line)?;
        if size == 0 {
            break;
        }
        for _ in 0..size {
            payload.push(*input.get(at).ok_or(Stop::Short)?);
            at += 1;
        }
        if !crlf_line(input, &mut at)?.is_empty() {
            return Err(Stop::Bad);
        }
    }
    loop {
        let line = crlf_line(input, &mut at)?;
        if line.is_empty() {
            return Ok((payload, at));
        }
        let colon = line.iter().position(|&b| b == b':').ok_or(Stop::Bad)?;
        if colon == 0
            || !line[..colon].iter().all(|&b| is_tchar(b))
            || !line[colon..].iter().all(|&b| is_text(b))
        {
            return Err(Stop::Bad);
        }
    }
}

/// The bytes up to CRLF. A CR or LF that is not part of one is bad.
fn crlf_line<'a>(input: &'a [u8], at: &mut usize) -> Result<&'a [u8], Stop> {
    let start = *at;
    loop {
        match input.get(*at) {
            None => return Err(Stop::Short),
            Some(b'\n') => return Err(Stop::Bad),
            Some(b'\r') => break,
            Some(_) => *at += 1,
        }
    }
    let end = *at;
    match input.get(end + 1) {
        None => Err(Stop::Short),
        Some(b'\n') => {
            *at = end + 2;
            Ok(&input[start..end])
        }
        Some(_) => Err(Stop::Bad),
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, Stop> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let text = std::str::from_utf8(&line[..digits]).expect("hex digits are ASCII");
    if digits == 0 || digits > 16 || !extensions(&line[digits..]) || line.len() - digits > 256 {
        return Err(Stop::Bad);
    }
    u64::from_str_radix(text, 16).ok().filter(|&size| size <= 1 << 20).ok_or(Stop::Bad)
}

/// Any number of `BWS ";" BWS token [ BWS "=" BWS value ]`, by taking one from the front until none is left.
fn extensions(rest: &[u8]) -> bool {
    if rest.is_empty() {
        return true;
    }
    let Some(rest) = blanks(rest).strip_prefix(b";") else { return false };
    let Some(rest) = token(blanks(rest)) else { return false };
    match blanks(rest).strip_prefix(b"=").map(blanks) {
        None => extensions(rest),
        Some(value) if value.starts_with(b"\"") => quoted(&value[1..]).is_some_and(extensions),
        Some(value) => token(value).is_some_and(extensions),
    }
}

fn blanks(mut rest: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', behind @ ..] = rest {
        rest = behind;
    }
    rest
}

fn token(rest: &[u8]) -> Option<&[u8]> {
    let len = rest.iter().take_while(|&&b| is_tchar(b)).count();
    (len > 0).then(|| &rest[len..])
}

fn quoted(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [b'"', behind @ ..] => Some(behind),
        [b'\\', b, behind @ ..] | [b, behind @ ..] if is_text(*b) && rest != [b'\\'] => quoted(behind),
        _ => None,
    }
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

fn agree(input: &[u8]) {
    let slow = decode(input);
    for mode in [Mode::Decode, Mode::Verbatim] {
        let fast = body(input, [], mode, 1 << 20);
        match &slow {
            Slow::Complete(payload, end) => {
                assert!(fast.done, "{:?}: {}", fast.fault, show(input));
                assert_eq!((&fast.data, fast.left), (payload, input.len() - end), "{}", show(input));
            }
            Slow::Bad => assert!(fast.fault.is_some(), "taken: {}", show(input)),
            // Ours may know sooner that nothing can come of it.
            Slow::Incomplete => assert!(!fast.done, "{}", show(input)),
        }
        let mut cut = body(input, every_byte(input), mode, 1 << 20);
        cut.left = fast.left;
        assert_eq!(cut, fast, "{}", show(input));
        if mode == Mode::Verbatim && fast.done {
            let again = body(&fast.forwarded, [], Mode::Verbatim, 1 << 20);
            assert_eq!(
                (&again.forwarded, &again.data),
                (&fast.forwarded, &fast.data),
                "what went on is plain"
            );
        }
    }
}

/// Pieces of chunked bodies, sound ones and others, so that random bodies get deep.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let fixed: Vec<&[u8]> = vec![
        b"1\r\nx\r\n",
        b"5\r\nhello\r\n",
        b"a\r\n0123456789\r\n",
        b"2;a=b\r\nxy\r\n",
        b"1 ;a;b=\"c;\\\"d\"\r\n\r\r\n",
        b"2\r\n\r\n\r\n",
        b"0\r\n",
        b"\r\n",
        b"0\r\n\r\n",
        b"A: b\r\n",
        b"\r",
        b"\n",
        b";",
        b" ",
        b"00",
        b"1",
        b"x",
        b"\"",
        b"\\",
        b":",
        b"=",
        b"0;q\r\nX:y\r\n\r\n",
        b"\0",
        b"\xff",
    ];
    prop_oneof![
        12 => prop::sample::select(fixed).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
        4 => prop::collection::vec(any::<u8>(), 1..40).prop_map(|data| {
            let mut chunk = format!("{:X}\r\n", data.len()).into_bytes();
            chunk.extend(data);
            chunk.extend(b"\r\n");
            chunk
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_decoders_agree_on_bodies_made_of_pieces(pieces in prop::collection::vec(piece(), 0..12)) {
        agree(&pieces.concat());
    }

    #[test]
    fn both_decoders_agree_on_sound_bodies_with_one_byte_changed(
        pieces in prop::collection::vec(piece(), 0..6),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut input = [pieces.concat().as_slice(), b"3;a=b\r\nabc\r\n0\r\nT: u\r\n\r\n"].concat();
        let at = at.index(input.len());
        input[at] = byte;
        agree(&input);
    }

    #[test]
    fn both_decoders_agree_on_noise(input in prop::collection::vec(prop::sample::select(b"01aF;=\"\\ \t\r\nxX:-\0".to_vec()), 0..24)) {
        agree(&input);
    }
}

#[test]
fn both_decoders_agree_on_the_rows_of_the_chunk_table() {
    // Bounds that the slow decoder does not know are left out.
    let unknown = |row: &crate::rules::Row| row.status == 431 || row.status == 413;
    for row in crate::rules::chunk_rows().iter().filter(|row| !unknown(row)) {
        for input in row.breaks.iter().chain(&row.passes).filter(|input| input.len() < 2_000) {
            agree(input);
        }
    }
}
