//! Pictures and files that stand in a `data:` address, and base64 in either alphabet.
//! Owns: taking such an address apart and putting it together. Must not: decode the bytes where they can stay as they
//! are written.
//! Read next: the readers of requests.

use crate::json::Text;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The media type (empty: not said, and not to be told from the data) and standard base64 of a `data:` address;
/// `None` if it is another address, or broken.
pub fn parse<'a>(url: &Text<'a>) -> Option<(Text<'a>, Text<'a>)> {
    let written = url.as_written();
    if !written.get(..5)?.eq_ignore_ascii_case("data:") {
        return None;
    }
    if written.contains('\\') {
        let (mime, data) = take_apart(&url.plain())?;
        return Some((Text::of(&mime).into_owned(), Text::owned(data)));
    }
    let Some(lent) = url.lent() else {
        let (mime, data) = take_apart(written)?;
        return Some((Text::of(&mime).into_owned(), Text::owned(data)));
    };
    let (head, data) = lent[5..].split_once(',')?;
    let Some(mime) = head.strip_suffix(";base64") else {
        let (mime, data) = take_apart(lent)?;
        return Some((Text::of(&mime).into_owned(), Text::owned(data)));
    };
    let mime = mime.split(';').next().unwrap_or(mime);
    Some((
        if mime.is_empty() { Text::written(sniffed(data)) } else { Text::written(mime) },
        Text::written(data),
    ))
}

fn take_apart(url: &str) -> Option<(String, String)> {
    let (head, data) = url.get(5..)?.split_once(',')?;
    let (mime, data) = match head.strip_suffix(";base64") {
        Some(mime) => (mime, data.to_owned()),
        None => (head, STANDARD.encode(crate::surface::decoded(data.as_bytes())?)),
    };
    let mime = mime.split(';').next().unwrap_or(mime);
    let mime = if mime.is_empty() { sniffed(&data) } else { mime };
    Some((mime.to_owned(), data))
}

/// The media type by the first bytes of a picture; empty if they say nothing.
pub fn sniffed(base64: &str) -> &'static str {
    let signs = [
        ("iVBORw0KGgo", "image/png"),
        ("/9j/", "image/jpeg"),
        ("R0lGOD", "image/gif"),
        ("UklGR", "image/webp"),
        ("JVBERi", "application/pdf"),
    ];
    signs.into_iter().find_map(|(sign, mime)| base64.starts_with(sign).then_some(mime)).unwrap_or("")
}

/// Appends the `data:` address of something, as a JSON string.
pub fn write(out: &mut Vec<u8>, mime: &Text<'_>, data: &Text<'_>) {
    out.extend_from_slice(b"\"data:");
    out.extend_from_slice(mime.as_written().as_bytes());
    out.extend_from_slice(b";base64,");
    out.extend_from_slice(data.as_written().as_bytes());
    out.push(b'"');
}

/// Base64 in the standard alphabet with padding; only what is not already is changed.
pub fn standard(data: Text<'_>) -> Text<'_> {
    let written = data.as_written();
    let whole = written.len().is_multiple_of(4);
    if whole && memchr::memchr2(b'-', b'_', written.as_bytes()).is_none() {
        return data;
    }
    let mut standard = written.replace('-', "+").replace('_', "/");
    while !standard.len().is_multiple_of(4) {
        standard.push('=');
    }
    Text::owned(standard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_put_together() {
        for (url, expected) in [
            ("data:image/png;base64,iVBORw0KGgo=", Some(("image/png", "iVBORw0KGgo="))),
            ("data:image/png;name=x;base64,AAAA", Some(("image/png", "AAAA"))),
            ("data:;base64,iVBORw0KGgo=", Some(("image/png", "iVBORw0KGgo="))),
            (r"data:image\/png;base64,AA\/A", Some(("image/png", "AA/A"))),
            ("data:text/plain,a%20b", Some(("text/plain", "YSBi"))),
            ("https://example.com/a.png", None),
            ("data:nonsense", None),
            ("", None),
        ] {
            let parsed = parse(&Text::written(url));
            let plain = parsed.as_ref().map(|(mime, data)| (mime.plain(), data.plain()));
            assert_eq!(plain.as_ref().map(|(mime, data)| (&**mime, &**data)), expected, "{url}");
        }
        let mut out = Vec::new();
        write(&mut out, &Text::written("image/png"), &Text::written("AAAA"));
        assert_eq!(out, b"\"data:image/png;base64,AAAA\"");
    }

    #[test]
    fn the_other_alphabet_becomes_the_standard_one() {
        assert_eq!(standard(Text::written("AAH_")).as_written(), "AAH/");
        assert_eq!(standard(Text::written("AAE")).as_written(), "AAE=");
        assert_eq!(standard(Text::written("AAE=")).as_written(), "AAE=");
    }
}
