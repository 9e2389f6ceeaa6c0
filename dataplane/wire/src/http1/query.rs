//! Credentials in a query (SEC-KEY-05, SEC-KEY-06).
//! Owns: which parameters are credentials. Must not: change any other byte of a query.
//! Read next: `write.rs`, which takes them out on the way to an upstream.

use super::grammar::unescape;

/// Parameter names that carry a key in some dialect. Case-sensitive, as the servers that read them are.
const CREDENTIALS: [&[u8]; 3] = [b"key", b"api_key", b"access_token"];

/// Appends `query` (without its `?`) to `out` without its credential parameters, however their names are
/// percent-encoded; every other byte stays. Returns whether a parameter is left, and so whether a `?` is.
pub fn write_without_credentials(out: &mut Vec<u8>, query: &[u8]) -> bool {
    let mut any = false;
    for (separator, parameter) in parameters(query) {
        if is_credential(parameter) {
            continue;
        }
        if any {
            out.extend(separator);
        }
        out.extend_from_slice(parameter);
        any = true;
    }
    any
}

/// The values of the credential parameters, as they stand in the query (not decoded), in order.
pub fn credentials(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    parameters(query).map(|(_, parameter)| parameter).filter(|parameter| is_credential(parameter)).map(
        |parameter| {
            let name_end = memchr::memchr(b'=', parameter);
            name_end.map_or(&[][..], |end| &parameter[end + 1..])
        },
    )
}

/// Each parameter with the separator in front of it. `;` separates too: some servers still read it so, and a key must
/// not get through to them.
fn parameters(query: &[u8]) -> impl Iterator<Item = (Option<u8>, &[u8])> {
    let mut next = Some((None, query));
    std::iter::from_fn(move || {
        let (separator, rest) = next?;
        let end = memchr::memchr2(b'&', b';', rest);
        next = end.map(|end| (Some(rest[end]), &rest[end + 1..]));
        Some((separator, &rest[..end.unwrap_or(rest.len())]))
    })
}

fn is_credential(parameter: &[u8]) -> bool {
    let name_end = memchr::memchr(b'=', parameter).unwrap_or(parameter.len());
    CREDENTIALS.iter().any(|credential| decodes_to(&parameter[..name_end], credential))
}

/// Whether `raw`, its percent escapes undone, is `plain`.
fn decodes_to(raw: &[u8], plain: &[u8]) -> bool {
    let mut at = 0;
    for &wanted in plain {
        let escape = unescape(raw, at);
        if escape.or_else(|| raw.get(at).copied()) != Some(wanted) {
            return false;
        }
        at += if escape.is_some() { 3 } else { 1 };
    }
    at == raw.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(query: &str) -> Option<String> {
        let mut out = Vec::new();
        let left = write_without_credentials(&mut out, query.as_bytes());
        left.then(|| String::from_utf8(out).expect("ASCII in, ASCII out"))
    }

    #[test]
    fn only_credential_parameters_leave_a_query() {
        for (query, left) in [
            ("key=s", None),
            ("key", None),
            ("key=s&api_key=t;access_token=u", None),
            ("key=s&a=1", Some("a=1")),
            ("a=1&key=s", Some("a=1")),
            ("a=1&key=s&b=2", Some("a=1&b=2")),
            ("a=1;key=s;b=2", Some("a=1;b=2")),
            ("%6bey=s&a", Some("a")),
            ("%6B%65%79=s&a", Some("a")),
            ("api%5Fkey=s&a", Some("a")),
            ("a&key=s=t", Some("a")),
            ("", Some("")),
            ("alt=sse&&x=%20+%zz;", Some("alt=sse&&x=%20+%zz;")),
            ("keys=1&akey=2&Key=3&monkey=key", Some("keys=1&akey=2&Key=3&monkey=key")),
        ] {
            assert_eq!(without(query).as_deref(), left, "{query}");
        }
    }

    #[test]
    fn every_credential_in_a_query_is_seen() {
        let found: Vec<&[u8]> = credentials(b"key=a&x=1&api%5fkey=b=c;access_token").collect();
        assert_eq!(found, [&b"a"[..], b"b=c", b""]);
    }
}
