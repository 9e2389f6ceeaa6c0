//! Whether a path says the same to everybody (H1-SY-13).
//!
//! Owns: the one check. Paths are forwarded as sent, so a path that a server behind us would read differently
//! could reach what a route was meant to keep apart; such paths are refused where a route matches by prefix.
//! Must not: normalise. What was matched is what is sent.
//! Read next: [`super::matching`].

/// Whether a path has no dot segment (plain or encoded), no empty segment but a last one, no encoded separator
/// and no NUL. A query is not looked at.
pub fn is_plain(path: &[u8]) -> bool {
    let path = ringway_dialect::surface::without_query(path);
    let inside = path.strip_prefix(b"/").unwrap_or(path);
    if is_beyond_doubt(inside) {
        return true;
    }
    let mut segments = inside.split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if (segment.is_empty() && !last) || is_dots(segment) || hides_a_separator(segment) {
            return false;
        }
    }
    true
}

/// Whether none of the bytes is there that anything crooked needs, as in nearly all paths.
fn is_beyond_doubt(inside: &[u8]) -> bool {
    // Two passes without a state between bytes: each is a few vector instructions.
    let odd = inside.iter().fold(false, |odd, &byte| odd | matches!(byte, b'%' | b'\\' | b';'));
    let begins_oddly = |byte: u8| matches!(byte, b'/' | b'.');
    let pairs = inside.iter().zip(inside.get(1..).unwrap_or_default());
    let odd = pairs.fold(odd, |odd, (&before, &byte)| odd | ((before == b'/') & begins_oddly(byte)));
    !odd && !inside.first().is_some_and(|&byte| begins_oddly(byte))
}

/// `.` or `..`, each dot plain or `%2e`, also before `;`: some servers drop such parameters first.
fn is_dots(segment: &[u8]) -> bool {
    let mut rest = segment;
    let mut dots = 0;
    loop {
        rest = match rest {
            [] | [b';', ..] => return matches!(dots, 1 | 2),
            [b'.', after @ ..] | [b'%', b'2', b'e' | b'E', after @ ..] => after,
            _ => return false,
        };
        dots += 1;
    }
}

/// `%2f`, `%5c`, `%00`, or a backslash as it is.
fn hides_a_separator(segment: &[u8]) -> bool {
    if !segment.iter().any(|byte| matches!(byte, b'%' | b'\\')) {
        return false;
    }
    segment.contains(&b'\\')
        || segment.windows(3).any(|it| {
            matches!(it, [b'%', b'2', b'f' | b'F'] | [b'%', b'5', b'c' | b'C'] | [b'%', b'0', b'0'])
        })
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn ordinary_paths_are_plain() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/v1/chat/completions?next=../..//x",
            "/a.b/..c/...",
            "/a%20b/%e4%bd%a0",
            "*",
            "/.well-known/x",
            "/a;b=c",
        ] {
            assert!(is_plain(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn paths_that_others_may_read_differently_are_not() {
        for path in [
            "//",
            "/a//b",
            "/a/./b",
            "/a/..",
            "/..",
            "/.",
            "/%2e%2E/a",
            "/a/.%2e/b",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a%5Cb",
            "/a%00",
            "/a\\b",
            "/a/..;x=y/b",
        ] {
            assert!(!is_plain(path.as_bytes()), "{path}");
        }
    }
}
