//! The Prometheus text format, version 0.0.4.
//!
//! Owns: families with their HELP and TYPE, label escaping, and how a histogram is laid out.
//! Must not: know which metrics exist.
//! Read next: [`super::metrics`], which fills a page.

use std::fmt::{Display, Write};

use super::histogram::Merged;

/// What the answer to `GET /metrics` says it is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One label: its name and its value. Values come from closed or bounded sets only (SEC-INJ-03).
pub type Label<'a> = (&'a str, &'a str);

/// A page of metrics in the making.
pub struct Page<'a> {
    out: &'a mut String,
}

impl<'a> Page<'a> {
    /// Appends to `out`.
    pub const fn new(out: &'a mut String) -> Self {
        Self { out }
    }

    /// Begins a family of counts that only grow; its name ends in `_total`.
    pub fn counter<'p>(&'p mut self, name: &'p str, help: &str) -> Family<'p> {
        debug_assert!(name.ends_with("_total"), "{name}");
        self.family(name, help, "counter")
    }

    /// Begins a family of values that rise and fall.
    pub fn gauge<'p>(&'p mut self, name: &'p str, help: &str) -> Family<'p> {
        self.family(name, help, "gauge")
    }

    /// Begins a family of distributions.
    pub fn histogram<'p>(&'p mut self, name: &'p str, help: &str) -> Family<'p> {
        self.family(name, help, "histogram")
    }

    fn family<'p>(&'p mut self, name: &'p str, help: &str, kind: &str) -> Family<'p> {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "# HELP {name} {}\n# TYPE {name} {kind}", help.replace('\\', "\\\\"));
        Family { out: self.out, name }
    }
}

/// The samples of one family. No two may have the same labels.
pub struct Family<'p> {
    out: &'p mut String,
    name: &'p str,
}

impl Family<'_> {
    /// Adds a sample.
    pub fn sample(&mut self, labels: &[Label<'_>], value: impl Display) -> &mut Self {
        self.line("", labels, None, value);
        self
    }

    /// Adds a distribution: how many values were at most each of `bounds`, which are given in cells' units and told
    /// divided by `scale` (times are kept in microseconds and told in seconds).
    pub fn distribution(&mut self, labels: &[Label<'_>], merged: &Merged, bounds: &[u64], scale: f64) {
        for (bound, count) in bounds.iter().zip(merged.at_most(bounds)) {
            let le = (*bound as f64 / scale).to_string();
            self.line("_bucket", labels, Some(&le), count);
        }
        self.line("_bucket", labels, Some("+Inf"), merged.count());
        self.line("_sum", labels, None, merged.sum() as f64 / scale);
        self.line("_count", labels, None, merged.count());
    }

    fn line(&mut self, suffix: &str, labels: &[Label<'_>], le: Option<&str>, value: impl Display) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        let le = le.map(|le| ("le", le));
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(le) {
            self.out.push(before);
            self.out.push_str(name);
            self.out.push_str("=\"");
            push_value(self.out, value);
            self.out.push('"');
            before = ',';
        }
        if before == ',' {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}"); // writing to a String cannot fail
    }
}

fn push_value(out: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            plain => out.push(plain),
        }
    }
}

/// A reader of pages, for tests: every line well formed, every family announced once, no series twice.
#[cfg(test)]
pub mod check {
    use std::collections::{HashMap, HashSet};

    /// All series of a page with their values.
    pub fn series(page: &str) -> HashMap<String, f64> {
        let (mut kinds, mut helped) = (HashMap::new(), HashSet::new());
        let mut all = HashMap::new();
        assert!(page.ends_with('\n'), "the last line must end");
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, text) = rest.split_once(' ').expect("a help text");
                assert!(!text.is_empty() && helped.insert(name), "{name} has one help text");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(kinds.insert(name, kind).is_none(), "{name} has one type");
            } else {
                let (key, value) = line.rsplit_once(' ').expect("a value");
                let name = key.split('{').next().expect("a name");
                assert!(well_formed(name, &key[name.len()..]), "{line}");
                assert!(name.starts_with("ringway_") || name.starts_with("gen_ai_"), "{line}");
                let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                let family = family.filter(|name| kinds.get(name) == Some(&"histogram")).unwrap_or(name);
                assert!(kinds.contains_key(family) && helped.contains(family), "{name} is announced");
                let value = value.parse().expect("a number");
                assert!(all.insert(key.to_owned(), value).is_none(), "{key} twice");
            }
        }
        all
    }

    fn well_formed(name: &str, labels: &str) -> bool {
        let word = |text: &str| {
            !text.is_empty()
                && !text.starts_with(|first: char| first.is_ascii_digit())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let mut rest = match (labels.strip_prefix('{'), labels.is_empty()) {
            (None, true) => return word(name),
            (None, false) => return false,
            (Some(rest), _) => rest,
        };
        loop {
            let Some((label, after)) = rest.split_once("=\"") else { return false };
            let mut escaped = false;
            let end = after.char_indices().find(|(_, character)| {
                let ends = *character == '"' && !escaped;
                escaped = *character == '\\' && !escaped;
                ends
            });
            let Some((end, _)) = end else { return false };
            if !word(label) {
                return false;
            }
            match &after[end + 1..] {
                "}" => return word(name),
                more => match more.strip_prefix(',') {
                    Some(more) => rest = more,
                    None => return false,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::histogram::Cells;
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let mut out = String::new();
        Page::new(&mut out).gauge("ringway_x", "Help.").sample(&[("a", "q\"b\\c\nd"), ("b", "")], 1);
        assert!(out.ends_with("ringway_x{a=\"q\\\"b\\\\c\\nd\",b=\"\"} 1\n"), "{out}");
        assert_eq!(check::series(&out).len(), 1);
    }

    #[test]
    fn buckets_grow_up_to_the_count() {
        let cells = Cells::default();
        [900, 4_000, 4_000, 90_000_000].into_iter().for_each(|us| cells.record(us));
        let mut merged = Merged::default();
        cells.pour(&mut merged);
        let mut out = String::new();
        let mut page = Page::new(&mut out);
        page.histogram("ringway_t_seconds", "Help.").distribution(
            &[("route", "chat")],
            &merged,
            &[1_000, 5_000, 1_000_000],
            1e6,
        );
        let series = check::series(&out);
        let at = |le: &str| series[&format!("ringway_t_seconds_bucket{{route=\"chat\",le=\"{le}\"}}")];
        assert_eq!([at("0.001"), at("0.005"), at("1"), at("+Inf")], [1.0, 3.0, 3.0, 4.0]);
        assert_eq!(series["ringway_t_seconds_count{route=\"chat\"}"], 4.0);
        assert_eq!(series["ringway_t_seconds_sum{route=\"chat\"}"], 90.0089);
    }
}
