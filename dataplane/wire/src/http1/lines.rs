//! A field section, line by line, from wherever the last look stopped.
//! Owns: the shape of field lines, for requests, responses and trailers alike. Must not: know what a name means, or
//! which rule id a breach has on which side.
//! Read next: `claims.rs`, which weighs the fields that matter for framing.

use super::Span;
use super::grammar::{is_blank, token_end, trim, value_end};

/// What one look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A whole field line.
    Field { name: Span, value: Span },
    /// The empty line; the section ends at this offset.
    End(usize),
    /// The line is sound so far.
    More,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    BareLf,
    BareCr,
    Control,
    Fold,
    LeadingSpace,
    SpaceBeforeColon,
    BadName,
    TooLong,
}

/// The place in a field section. Every byte is looked at once, however the section is cut.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lines {
    /// Where the current line starts.
    line: usize,
    /// Where its colon is; 0 while that is not known (a colon cannot stand at 0).
    colon: usize,
    /// Everything before this was looked at.
    at: usize,
    /// No field line came before this one.
    first: bool,
}

impl Lines {
    /// A section that starts at `at`.
    pub(super) const fn starting(at: usize) -> Self {
        Self { line: at, colon: 0, at, first: true }
    }

    /// Where the current line starts: behind the last field that was found.
    pub(super) const fn line_start(&self) -> usize {
        self.line
    }

    /// The next line of a section whose earlier lines were taken out of the buffer.
    pub(super) const fn following() -> Self {
        Self { line: 0, colon: 0, at: 0, first: false }
    }

    /// Looks at the current line. `buf` is the whole buffer, of which everything before the section stays as it was.
    #[inline]
    pub(super) fn next(&mut self, buf: &[u8], line_bytes_max: usize) -> Result<Line, Breach> {
        let longest = self.line.saturating_add(line_bytes_max).saturating_add(2);
        let seen = &buf[..buf.len().min(longest)];
        if self.at == self.line {
            if let Some(line) = self.plain(seen) {
                return Ok(line);
            }
            if let Some(end) = self.start(seen)? {
                return Ok(Line::End(end));
            }
        }
        let found = if self.colon > 0 || self.name(seen)? { self.value(seen)? } else { Line::More };
        if found == Line::More && seen.len() == longest { Err(Breach::TooLong) } else { Ok(found) }
    }

    /// A line that is whole and in which nothing is unusual, as nearly all are. None says nothing: the long way finds out.
    #[inline]
    fn plain(&mut self, seen: &[u8]) -> Option<Line> {
        let colon = token_end(seen, self.line);
        if seen.get(colon) != Some(&b':') || colon == self.line {
            return None;
        }
        let start = colon + 1 + usize::from(seen.get(colon + 1) == Some(&b' '));
        let end = value_end(seen, start);
        let is_trimmed = start < end && !is_blank(seen[start]) && !is_blank(seen[end - 1]);
        if !is_trimmed || seen.get(end..end + 2) != Some(b"\r\n") {
            return None;
        }
        let field = Line::Field { name: Span::new(self.line, colon), value: Span::new(start, end) };
        *self = Self { line: end + 2, colon: 0, at: end + 2, first: false };
        Some(field)
    }

    /// The first byte of a line: it may be the empty one that ends the section.
    #[inline]
    fn start(&self, seen: &[u8]) -> Result<Option<usize>, Breach> {
        match seen.get(self.line) {
            Some(b'\r') => match seen.get(self.line + 1) {
                Some(b'\n') => Ok(Some(self.line + 2)),
                Some(_) => Err(Breach::BareCr),
                None => Ok(None),
            },
            Some(b' ' | b'\t') if self.first => Err(Breach::LeadingSpace),
            Some(b' ' | b'\t') => Err(Breach::Fold),
            _ => Ok(None),
        }
    }

    /// Reads the name; true once its colon was found.
    #[inline]
    fn name(&mut self, seen: &[u8]) -> Result<bool, Breach> {
        self.at = token_end(seen, self.at);
        match seen.get(self.at) {
            Some(b':') if self.at > self.line => {
                self.colon = self.at;
                self.at += 1;
                Ok(true)
            }
            None => Ok(false),
            Some(_) => self.broken_name(seen),
        }
    }

    #[cold]
    fn broken_name(&self, seen: &[u8]) -> Result<bool, Breach> {
        match seen[self.at] {
            b'\n' => Err(Breach::BareLf),
            b'\r' => match seen.get(self.at + 1) {
                Some(b'\n') => Err(Breach::BadName), // a line without a colon
                Some(_) => Err(Breach::BareCr),
                None => Ok(false),
            },
            b' ' | b'\t' => match seen[self.at..].iter().find(|&&b| !is_blank(b)) {
                Some(b':') => Err(Breach::SpaceBeforeColon),
                Some(_) => Err(Breach::BadName),
                None => Ok(false),
            },
            _ => Err(Breach::BadName),
        }
    }

    #[inline]
    fn value(&mut self, seen: &[u8]) -> Result<Line, Breach> {
        self.at = value_end(seen, self.at);
        match seen.get(self.at) {
            Some(b'\r') => match seen.get(self.at + 1) {
                Some(b'\n') => Ok(self.whole(seen)),
                Some(_) => Err(Breach::BareCr),
                None => Ok(Line::More),
            },
            Some(b'\n') => Err(Breach::BareLf),
            Some(_) => Err(Breach::Control),
            None => Ok(Line::More),
        }
    }

    #[inline]
    fn whole(&mut self, seen: &[u8]) -> Line {
        let (start, end) = trim(seen, self.colon + 1, self.at);
        let field = Line::Field { name: Span::new(self.line, self.colon), value: Span::new(start, end) };
        let next = self.at + 2;
        *self = Self { line: next, colon: 0, at: next, first: false };
        field
    }
}
