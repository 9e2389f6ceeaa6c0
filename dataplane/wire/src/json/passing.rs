//! The way past a container that nobody asks about: its brackets and strings, and nothing else of it.
//! Owns: finding its end, cut anywhere, at a fraction of what reading costs.
//! Must not: judge. What stands between the brackets may be no JSON at all; only answers, which are not ours to
//! refuse, are passed over, and a request never is.
//! Read next: `grammar.rs`, which goes this way if its sink lets it.

use super::grammar::plain_run;

/// The place in a container that is passed over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passing {
    /// Containers that are open, this one included. Of more than so many the end is not found; nobody sends them in earnest.
    open: u32,
    in_string: bool,
    /// The next byte of the string stands for itself.
    escaped: bool,
}

impl Passing {
    /// Behind the bracket that opens it.
    pub(super) const fn begin() -> Self {
        Self { open: 1, in_string: false, escaped: false }
    }

    /// Goes on from `at`. Where the container's last bracket stands; none: not in these bytes.
    pub(super) fn end(&mut self, bytes: &[u8], mut at: usize) -> Option<usize> {
        while at < bytes.len() {
            if std::mem::take(&mut self.escaped) {
                at += 1;
            }
            if self.in_string {
                at += plain_run(bytes.get(at..)?);
            }
            match (bytes.get(at)?, self.in_string) {
                (b'"', _) => self.in_string = !self.in_string,
                (b'\\', true) => self.escaped = true,
                (b'{' | b'[', false) => self.open = self.open.saturating_add(1),
                (b'}' | b']', false) => self.open -= 1,
                _ => {}
            }
            if self.open == 0 {
                return Some(at);
            }
            at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the end is, with the bytes fed in two pieces.
    fn end_cut_at(bytes: &[u8], cut: usize) -> Option<usize> {
        let mut passing = Passing::begin();
        let (first, second) = bytes.split_at(cut);
        passing.end(first, 0).or_else(|| Some(cut + passing.end(second, 0)?))
    }

    #[test]
    fn the_end_is_the_bracket_that_closes_it_wherever_the_bytes_are_cut() {
        for (inside, end) in [
            (&b"}"[..], Some(0)),
            (br#""a":1}, "b""#, Some(5)),
            (br#""a":[{"b":{}}]},{"#, Some(14)),
            (br#""]}":"\"}","\\":"}"},"#, Some(19)),
            (br#""\\\"}":0}"#, Some(9)),
            (b"\"a\nb\x01\"]", Some(6)),
            (br#""a":"}"#, None),
            (b"{}", None),
            (b"", None),
        ] {
            for cut in 0..=inside.len() {
                assert_eq!(end_cut_at(inside, cut), end, "{} at {cut}", inside.escape_ascii());
            }
        }
    }
}
