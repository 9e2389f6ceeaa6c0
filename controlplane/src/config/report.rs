//! What is wrong with a file, all of it, shown where it is.
//!
//! Owns: findings with their place in the text, and the drawing of file, line, caret and mend.
//! Must not: find anything itself.
//! Read next: `decode.rs`, which finds most.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use ringway_contract::Problem;

use super::source::{Error, Source};
use crate::bounds::{PROBLEMS_MAX, SNIPPET_COLUMNS_MAX};

/// Whether a finding forbids using the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// It can, but it may not do what was meant.
    Warning,
}

/// One thing to say about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it forbids using the file.
    pub severity: Severity,
    /// Path in the document: `routes[2].targets[0].backend`; empty: the whole of it.
    pub at: String,
    /// Bytes of the text it is about; none: the file itself could not be read.
    pub span: Option<Range<usize>>,
    /// What is wrong, one sentence without a full stop.
    pub what: String,
    /// How to mend it.
    pub mend: Option<String>,
}

impl Finding {
    /// The same without its place in the text, as it crosses the control socket.
    pub fn problem(&self) -> Problem {
        Problem { at: self.at.clone(), what: self.what.clone(), mend: self.mend.clone() }
    }
}

/// All findings of one file, in the order of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    name: String,
    text: Arc<str>,
    findings: Vec<Finding>,
    left_out: usize,
}

impl Report {
    /// Sorts the findings and keeps the first [`PROBLEMS_MAX`]. Of the text, `hidden` ranges are never shown.
    pub(super) fn new(source: &Source, mut findings: Vec<Finding>, hidden: &[Range<usize>]) -> Self {
        findings.sort_by_key(|f| f.span.as_ref().map_or(0, |span| span.start));
        findings.dedup();
        let left_out = findings.len().saturating_sub(PROBLEMS_MAX);
        findings.truncate(PROBLEMS_MAX);
        Self { name: source.name.clone(), text: starred(&source.text, hidden).into(), findings, left_out }
    }

    /// What is wrong, in the order of the text.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// The findings as they cross the control socket.
    pub fn problems(&self) -> Vec<Problem> {
        self.findings.iter().map(Finding::problem).collect()
    }

    /// Draws every finding with its line, a caret and the mend; ends with a newline.
    pub fn render(&self, color: bool) -> String {
        let paint = Paint { color };
        let mut out = String::new();
        for finding in &self.findings {
            self.draw(&mut out, finding, paint);
        }
        if self.left_out > 0 {
            let _ = writeln!(out, "… and {} more", self.left_out);
        }
        out
    }

    fn draw(&self, out: &mut String, finding: &Finding, paint: Paint) {
        let (word, tint) = match finding.severity {
            Severity::Error => ("error", Tint::Red),
            Severity::Warning => ("warning", Tint::Yellow),
        };
        let _ = writeln!(out, "{}: {}", paint.ink(tint, word), finding.what);
        let Some(span) = &finding.span else {
            if let Some(mend) = &finding.mend {
                let _ = writeln!(out, "  {} {mend}", paint.ink(Tint::Cyan, "help:"));
            }
            return;
        };
        let snippet = Snippet::cut(&self.text, span);
        let number = snippet.line.to_string();
        let margin = " ".repeat(number.len() + 2);
        let place = format!("[{}:{}:{}]", self.name, snippet.line, snippet.column);
        let _ = writeln!(out, "{margin}{}{}", paint.ink(Tint::Blue, "╭─"), paint.ink(Tint::Blue, &place));
        let bar = paint.ink(Tint::Blue, &format!(" {number} │"));
        let _ = writeln!(out, "{}", format!("{bar} {}", snippet.shown).trim_end());
        let dot = paint.ink(Tint::Blue, "·");
        let carets = paint.ink(tint, &"^".repeat(snippet.width));
        let _ = write!(out, "{margin}{dot} {}{carets}", " ".repeat(snippet.indent));
        match &finding.mend {
            // Beside the caret it reads best, as long as it stays on the screen.
            Some(mend) if snippet.indent + snippet.width + mend.chars().count() < SNIPPET_COLUMNS_MAX => {
                let _ = writeln!(out, " {mend}");
            }
            Some(mend) => {
                let _ = writeln!(out, "\n{margin}{} {mend}", paint.ink(Tint::Blue, "╰─"));
            }
            None => out.push('\n'),
        }
    }
}

impl From<Error> for Report {
    fn from(error: Error) -> Self {
        let what = error.to_string();
        let finding = Finding { severity: Severity::Error, at: String::new(), span: None, what, mend: None };
        Self { name: String::new(), text: "".into(), findings: vec![finding], left_out: 0 }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

/// The text with stars over some ranges, every other byte where it was.
fn starred(text: &str, hidden: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for range in hidden {
        let (start, end) = (floor(text, range.start), floor(text, range.end));
        for byte in &mut bytes[start..end.max(start)] {
            *byte = if *byte == b'\n' { b'\n' } else { b'*' };
        }
    }
    String::from_utf8(bytes).expect("whole characters became ASCII")
}

/// The part of one source line that a finding is about.
struct Snippet {
    line: usize,
    column: usize,
    shown: String,
    indent: usize,
    width: usize,
}

impl Snippet {
    fn cut(text: &str, span: &Range<usize>) -> Self {
        let start = floor(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor(text, span.end).clamp(start, line_end);
        let before: Vec<char> = text[line_start..start].chars().map(printable).collect();
        let marked: Vec<char> = text[start..end].trim_end().chars().map(printable).collect();
        let after: Vec<char> = text[end..line_end].trim_end().chars().map(printable).collect();
        let line = text[..line_start].matches('\n').count() + 1;
        let column = before.len() + 1;
        let width = marked.len().clamp(1, SNIPPET_COLUMNS_MAX / 2);
        // A long line is cut on both sides, two thirds of the window before the caret's end.
        let lead = (SNIPPET_COLUMNS_MAX * 2 / 3).saturating_sub(width).min(before.len());
        let cut = before.len() - lead;
        let mut shown = String::from(if cut > 0 { "…" } else { "" });
        let rest = SNIPPET_COLUMNS_MAX - lead;
        shown.extend(before[cut..].iter().chain(marked.iter().chain(&after).take(rest)));
        if marked.len() + after.len() > rest {
            shown.push('…');
        }
        Self { line, column, shown, indent: lead + usize::from(cut > 0), width }
    }
}

/// The nearest character boundary at or before `at`, inside the text.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// One column for each character, and no escape sequence reaches the terminal.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

#[derive(Clone, Copy)]
struct Paint {
    color: bool,
}

#[derive(Clone, Copy)]
enum Tint {
    Red,
    Yellow,
    Blue,
    Cyan,
}

impl Paint {
    fn ink(self, tint: Tint, text: &str) -> String {
        let code = match tint {
            Tint::Red => "1;31",
            Tint::Yellow => "1;33",
            Tint::Blue => "34",
            Tint::Cyan => "36",
        };
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
