//! Prometheus text, line by line.
//!
//! Owns: the grammar of text format 0.0.4 and of OpenMetrics as far as one sample needs it: names, labels with escapes,
//! values, and what may stand behind them (timestamps, exemplars).
//! Must not: allocate, keep anything between lines, or fail: a line it cannot read is no sample.
//! Read next: `page.rs`, which asks for samples by name.

/// One sample, in pieces of its line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample<'a> {
    pub(super) name: &'a [u8],
    /// What follows the name.
    rest: &'a [u8],
}

/// The samples of a page: names at once, labels and values when they are asked for.
pub(super) fn samples(page: &[u8]) -> impl Iterator<Item = Sample<'_>> {
    lines(page).filter_map(|line| {
        let end = line.iter().position(|byte| matches!(byte, b'{' | b' ' | b'\t'))?;
        let (name, rest) = line.split_at(end);
        (!name.is_empty() && name[0] != b'#').then_some(Sample { name, rest })
    })
}

fn lines(page: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut from = 0;
    let ends = memchr::memchr_iter(b'\n', page).chain(std::iter::once(page.len()));
    ends.map(move |end| {
        let line = &page[from..end];
        from = end + 1;
        line.strip_suffix(b"\r").unwrap_or(line)
    })
}

impl<'a> Sample<'a> {
    /// Its labels and its value; none if the line is cut or means something else.
    pub(super) fn parts(&self) -> Option<(Labels<'a>, f64)> {
        let (labels, behind) = match self.rest.first()? {
            b'{' => {
                let inside = &self.rest[1..];
                let end = closing_brace(inside)?;
                (&inside[..end], &inside[end + 1..])
            }
            _ => (&b""[..], self.rest),
        };
        Some((Labels(labels), number(first_word(behind))?))
    }
}

/// Where the labels end: the first brace that is not inside quotes.
fn closing_brace(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'}', &bytes[at..])?;
        if bytes[at] == b'}' {
            return Some(at);
        }
        at += 1 + closing_quote(&bytes[at + 1..])? + 1;
    }
}

fn closing_quote(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2; // whatever is escaped
    }
}

fn first_word(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.trim_ascii_start();
    let end = bytes.iter().position(u8::is_ascii_whitespace).unwrap_or(bytes.len());
    &bytes[..end]
}

/// `NaN` and `+Inf` are numbers of the format; what they are worth is not for here.
pub(super) fn number(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// The labels of a sample, between the braces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Labels<'a>(&'a [u8]);

impl<'a> Labels<'a> {
    /// The value of a label, escapes as they stand.
    pub(super) fn get(self, wanted: &str) -> Option<Value<'a>> {
        self.into_iter().find(|(name, _)| *name == wanted.as_bytes()).map(|(_, value)| value)
    }
}

impl<'a> IntoIterator for Labels<'a> {
    type Item = (&'a [u8], Value<'a>);
    type IntoIter = Pairs<'a>;

    fn into_iter(self) -> Pairs<'a> {
        Pairs(self.0)
    }
}

/// Labels one after the other, as far as they can be read.
pub(super) struct Pairs<'a>(&'a [u8]);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let equals = memchr::memchr(b'=', self.0)?;
        let name = self.0[..equals].trim_ascii();
        let quoted = self.0[equals + 1..].trim_ascii_start().strip_prefix(b"\"")?;
        let end = closing_quote(quoted)?;
        let rest = quoted[end + 1..].trim_ascii_start();
        self.0 = rest.strip_prefix(b",").unwrap_or(rest);
        Some((name, Value(&quoted[..end])))
    }
}

/// The value of a label, with its escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value<'a>(pub(super) &'a [u8]);

impl<'a> Value<'a> {
    /// Its bytes, escapes resolved.
    pub(super) fn bytes(self) -> impl Iterator<Item = u8> + 'a {
        let mut raw = self.0.iter().copied();
        std::iter::from_fn(move || match raw.next()? {
            b'\\' => Some(match raw.next()? {
                b'n' => b'\n',
                other => other,
            }),
            other => Some(other),
        })
    }

    /// Whether it stands for this text.
    pub(super) fn is(self, text: &str) -> bool {
        self.bytes().eq(text.bytes())
    }

    /// As a whole number.
    pub(super) fn whole(self) -> Option<u64> {
        std::str::from_utf8(self.0).ok()?.trim().parse().ok()
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "what is written as a whole number is read as one")]
mod tests {
    use super::*;

    fn one(line: &str) -> Option<(Vec<(String, String)>, f64)> {
        let sample = samples(line.as_bytes()).next()?;
        let (labels, value) = sample.parts()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pair = |(name, value): (&[u8], Value<'_>)| (text(name), text(&value.bytes().collect::<Vec<_>>()));
        Some((labels.into_iter().map(pair).collect(), value))
    }

    #[test]
    fn values_may_have_a_timestamp_and_an_exemplar_behind_them() {
        assert_eq!(one("a 1.5 1700000000000"), Some((Vec::new(), 1.5)));
        assert_eq!(one("a\t2"), Some((Vec::new(), 2.0)));
        let (labels, value) = one(r#"a{b="c"} 3 1700000000.1 # {trace_id="x"} 0.67"#).expect("a sample");
        assert_eq!((labels.len(), value), (1, 3.0));
        assert_eq!(one(r#"a{b="c"}4"#).expect("no blank is needed").1, 4.0);
    }

    #[test]
    fn label_values_hold_escaped_quotes_commas_and_braces() {
        let (labels, value) =
            one(r#"a{x="an,\"other\" {} model",y="b\\c\nd", z = "e" ,} 7"#).expect("a sample");
        let expected = [("x", "an,\"other\" {} model"), ("y", "b\\c\nd"), ("z", "e")];
        assert_eq!(labels, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(value, 7.0);
    }

    #[test]
    fn what_is_cut_or_a_comment_is_no_sample() {
        for line in [
            "",
            "#",
            "# HELP a b",
            "# EOF",
            "a",
            "a{",
            r#"a{b="c"#,
            r#"a{b="c"} "#,
            "a x",
            "{} 1",
            r#"a{b="\"#,
        ] {
            assert_eq!(one(line), None, "{line}");
        }
    }

    #[test]
    fn lines_end_with_lf_or_crlf_and_the_last_needs_none() {
        let names: Vec<_> = samples(b"a 1\r\n\r\nb 2\n# EOF\nc 3").map(|it| it.name.to_vec()).collect();
        assert_eq!(names, [b"a", b"b", b"c"]);
        let crlf = samples(b"a 1\r\n").next().and_then(|it| it.parts()).expect("a sample");
        assert_eq!(crlf.1, 1.0);
    }
}
