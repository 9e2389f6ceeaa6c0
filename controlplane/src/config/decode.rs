//! The walk over the nodes of a file, along the table of fields.
//!
//! Owns: unknown, missing, later and mistyped fields, each with its path, all of them at once; nothing
//! stops at the first problem.
//! Must not: know any one field; `written.rs` does.
//! Read next: `written.rs`, which asks for fields by name.

use std::cell::RefCell;
use std::ops::Range;

use ringway_contract::{Bytes, Millis};

use super::fields::{Choice, Field, Kind, Need, Section};
use super::redact;
use super::report::{Finding, Report, Severity};
use super::source::Source;
use super::suggest::{did_you_mean, nearest};
use super::values::{self, Fault, quoted, tame, write_duration, write_size};
use super::yaml::{Key, Node, Value};

/// Where something stands: path in the document and bytes of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) span: Range<usize>,
}

/// The path of a field inside `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (false, true) => path.to_owned(),
        (false, false) => format!("{path}.{key}"),
    }
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written<T> {
    pub(super) value: T,
    pub(super) at: Place,
}

impl<T> Written<T> {
    /// Another value in the same place.
    pub(super) fn map<U>(self, turn: impl FnOnce(T) -> U) -> Written<U> {
        Written { value: turn(self.value), at: self.at }
    }
}

/// Takes findings from everywhere in one file.
#[derive(Debug, Default)]
pub(super) struct Sink {
    findings: RefCell<Vec<Finding>>,
    hidden: RefCell<Vec<Range<usize>>>,
}

impl Sink {
    /// What is wrong at a place.
    pub(super) fn error(&self, at: &Place, fault: Fault) {
        self.add(Severity::Error, at, fault);
    }

    /// What may be wrong at a place.
    pub(super) fn warn(&self, at: &Place, fault: Fault) {
        self.add(Severity::Warning, at, fault);
    }

    fn add(&self, severity: Severity, at: &Place, fault: Fault) {
        // All three may repeat names of the file, which may be anything.
        let Fault { what, mend } = fault;
        let (at, span, what) = (tame(&at.path), Some(at.span.clone()), tame(&what));
        let finding = Finding { severity, at, span, what, mend: mend.map(|mend| tame(&mend)) };
        self.findings.borrow_mut().push(finding);
    }

    /// Whether anything forbids using the file.
    pub(super) fn has_errors(&self) -> bool {
        self.findings.borrow().iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Ranges of the text that no report may show.
    pub(super) fn hide(&self, ranges: Vec<Range<usize>>) {
        self.hidden.borrow_mut().extend(ranges);
    }

    /// All of it, for drawing.
    pub(super) fn into_report(self, source: &Source) -> Report {
        Report::new(source, self.findings.into_inner(), &self.hidden.into_inner())
    }
}

/// One node on the walk, with its place.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    node: &'a Node,
    at: Place,
    sink: &'a Sink,
}

impl<'a> Item<'a> {
    /// The document itself.
    pub(super) fn root(node: &'a Node, sink: &'a Sink) -> Self {
        Self { node, at: Place { path: String::new(), span: node.span.clone() }, sink }
    }

    pub(super) fn at(&self) -> &Place {
        &self.at
    }

    pub(super) fn error(&self, fault: Fault) {
        self.sink.error(&self.at, fault);
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    pub(super) fn is_empty_map(&self) -> bool {
        matches!(&self.node.value, Value::Map(entries) if entries.is_empty())
    }

    /// The fields of a mapping; none of them if it is none, which is then reported.
    pub(super) fn fields(&self, section: &'static Section) -> Fields<'a> {
        let mut fields = Fields { found: Vec::new(), at: self.at.clone(), section, sink: self.sink };
        let Value::Map(entries) = &self.node.value else {
            let fault = self.expected("a mapping");
            let mut required = section.fields.iter().filter(|field| matches!(field.need, Need::Required));
            self.error(match (&self.node.value, required.next(), required.next()) {
                (Value::Scalar { .. }, Some(field), None) => {
                    fault.mend(format!("write `{{{}: …}}`", field.name))
                }
                _ => fault,
            });
            return fields;
        };
        let mut seen = Vec::new();
        for (key, node) in entries {
            let at = Place { path: join(&self.at.path, &key.text), span: key.span.clone() };
            match section.fields.iter().find(|field| field.name == key.text) {
                None => {
                    // Whoever mistyped a required field has one problem, not two.
                    seen.extend(nearest(&key.text, section.fields.iter().map(|field| field.name)));
                    self.sink.error(&at, unknown(&key.text, section));
                }
                Some(field) => {
                    seen.push(field.name);
                    fields.add(field, node, at);
                }
            }
        }
        let required = section.fields.iter().filter(|field| matches!(field.need, Need::Required));
        for field in required.filter(|field| !seen.contains(&field.name)) {
            let fault = Fault::new(format!("`{}` is missing", field.name)).mend(example(field));
            self.sink
                .error(&Place { path: join(&self.at.path, field.name), span: self.at.span.clone() }, fault);
        }
        fields
    }

    /// The items of a list.
    fn items(&self, max: usize) -> Vec<Item<'a>> {
        let Value::List(nodes) = &self.node.value else {
            let fault = self.expected("a list");
            self.error(if self.is_map() { fault.mend("put `- ` before it") } else { fault });
            return Vec::new();
        };
        self.count(nodes.len(), max);
        let item = |(index, node): (usize, &'a Node)| Item {
            node,
            at: Place { path: format!("{}[{index}]", self.at.path), span: node.span.clone() },
            sink: self.sink,
        };
        nodes.iter().enumerate().map(item).collect()
    }

    /// The entries of a mapping with free keys. A key that `read` refuses stays as it is: who refers to it
    /// is not wrong as well.
    fn entries(
        &self,
        max: usize,
        read: fn(&str) -> Result<String, Fault>,
    ) -> Vec<(Written<String>, Item<'a>)> {
        let Value::Map(nodes) = &self.node.value else {
            self.error(self.expected("a mapping"));
            return Vec::new();
        };
        self.count(nodes.len(), max);
        let entry = |(key, node): &'a (Key, Node)| {
            let path = join(&self.at.path, &key.text);
            let at = Place { path: path.clone(), span: key.span.clone() };
            let value = read(&key.text).unwrap_or_else(|fault| {
                self.sink.error(&at, fault);
                key.text.clone()
            });
            (Written { value, at }, Item { node, at: place(path, &key.span, node), sink: self.sink })
        };
        nodes.iter().map(entry).collect()
    }

    fn count(&self, len: usize, max: usize) {
        if len == 0 {
            self.error(Fault::new("at least one is needed"));
        }
        if len > max {
            self.error(Fault::new(format!("{len} are too many; at most {max} are allowed")));
        }
    }

    /// A text, read by `read`. A number or `true` without quotes is no text.
    pub(super) fn text<T>(&self, read: fn(&str) -> Result<T, Fault>) -> Option<Written<T>> {
        let (text, plain) = self.scalar("text")?;
        if plain && let Some(word) = typed(text) {
            // Whatever reads it may know better what was meant: a port alone, say.
            let fault = match read(text) {
                Err(fault) if fault.mend.is_some() => fault,
                Ok(_) | Err(_) => {
                    Fault::new(format!("expected text, found {word}")).mend(format!("write `\"{text}\"`"))
                }
            };
            self.error(fault);
            return None;
        }
        self.read(text, read)
    }

    /// A span of time, from `min` to `max` milliseconds.
    pub(super) fn duration(&self, min: u64, max: u64) -> Option<Written<Millis>> {
        let (text, _) = self.scalar("a duration")?;
        self.read(text, |text| match values::duration(text)? {
            span if (min..=max).contains(&span.get()) => Ok(span),
            _ => {
                let range = format!("from {} to {}", write_duration(min), write_duration(max));
                Err(Fault::new(format!("{} is out of range", quoted(text))).mend(range))
            }
        })
    }

    /// A whole number, from `min` to `max`.
    pub(super) fn whole(&self, min: u64, max: u64) -> Option<Written<u64>> {
        let (text, plain) = self.scalar("a whole number")?;
        self.read(text, |text| match text.parse::<u64>() {
            Ok(_) if !plain => Err(Fault::new("expected a whole number, found text")
                .mend(format!("write `{text}` without quotes"))),
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            Ok(number) => Err(Fault::new(format!("{number} is out of range")).mend(whole_range(min, max))),
            Err(_) => {
                Err(Fault::new(format!("{} is no whole number", quoted(text))).mend(whole_range(min, max)))
            }
        })
    }

    /// The raw text of a scalar, and whether it stands without quotes.
    fn scalar(&self, expected: &str) -> Option<(&'a str, bool)> {
        if let Value::Scalar { text, plain } = &self.node.value {
            return Some((text, *plain));
        }
        self.error(self.expected(expected));
        None
    }

    fn read<T>(&self, text: &str, read: impl FnOnce(&str) -> Result<T, Fault>) -> Option<Written<T>> {
        match read(text) {
            Ok(value) => Some(Written { value, at: self.at.clone() }),
            Err(fault) => {
                self.error(fault);
                None
            }
        }
    }

    fn expected(&self, wanted: &str) -> Fault {
        let found = match &self.node.value {
            Value::Map(_) => "a mapping",
            Value::List(_) => "a list",
            Value::Scalar { text, plain: true } => typed(text).unwrap_or("text"),
            Value::Scalar { .. } => "text",
        };
        Fault::new(format!("expected {wanted}, found {found}"))
    }
}

/// The fields of one mapping that are known, supported and not empty.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    found: Vec<(&'static Field, Item<'a>)>,
    at: Place,
    section: &'static Section,
    sink: &'a Sink,
}

impl<'a> Fields<'a> {
    fn add(&mut self, field: &'static Field, node: &'a Node, key: Place) {
        if let Need::Later(meanwhile) = field.need {
            let fault = Fault::new(format!("`{}` is not supported yet: {}", field.name, field.about));
            return self.sink.error(&key, fault.mend(format!("until then, {meanwhile}")));
        }
        let empty =
            matches!(&node.value, Value::Scalar { text, plain: true } if typed(text) == Some("nothing"));
        if empty {
            let fault = Fault::new(format!("`{}` has no value", field.name));
            return self.sink.error(&key, fault.mend("give it one, or remove the line"));
        }
        self.found.push((field, Item { node, at: place(key.path, &key.span, node), sink: self.sink }));
    }

    /// Where the mapping is.
    pub(super) fn at(&self) -> &Place {
        &self.at
    }

    /// One field, if it is there.
    pub(super) fn get(&self, name: &str) -> Option<Item<'a>> {
        debug_assert!(
            self.section.fields.iter().any(|field| field.name == name),
            "`{name}` is not in the table"
        );
        self.found.iter().find(|(field, _)| field.name == name).map(|(_, item)| item.clone())
    }

    fn kind(&self, name: &str) -> &'static Kind {
        let field = self.section.fields.iter().find(|field| field.name == name);
        &field.expect("fields are asked for by names of the table").kind
    }

    /// The fields of a section inside this one; none of them if it is left out.
    pub(super) fn section(&self, name: &str) -> Fields<'a> {
        let Kind::Section(section) = self.kind(name) else {
            unreachable!("the table has `{name}` as a section")
        };
        match self.get(name) {
            Some(item) => item.fields(section),
            None => Fields { found: Vec::new(), at: self.at.clone(), section, sink: self.sink },
        }
    }

    /// The items of a list.
    pub(super) fn items(&self, name: &str) -> Vec<Item<'a>> {
        let Kind::Many(_, max) = self.kind(name) else { unreachable!("the table has `{name}` as a list") };
        self.get(name).map_or_else(Vec::new, |item| item.items(*max))
    }

    /// The entries of a mapping with free keys, which `read` reads.
    pub(super) fn entries(
        &self,
        name: &str,
        read: fn(&str) -> Result<String, Fault>,
    ) -> Vec<(Written<String>, Item<'a>)> {
        let Kind::Named(_, max) = self.kind(name) else {
            unreachable!("the table has `{name}` as a mapping")
        };
        self.get(name).map_or_else(Vec::new, |item| item.entries(*max, read))
    }

    pub(super) fn text<T>(&self, name: &str, read: fn(&str) -> Result<T, Fault>) -> Option<Written<T>> {
        self.get(name)?.text(read)
    }

    /// One text or a list of them.
    pub(super) fn texts<T>(&self, name: &str, read: fn(&str) -> Result<T, Fault>) -> Vec<Written<T>> {
        let Kind::OneOrMany(_, max) = self.kind(name) else {
            unreachable!("the table has `{name}` as texts")
        };
        match self.get(name) {
            None => Vec::new(),
            Some(item) if matches!(item.node.value, Value::List(_)) => {
                item.items(*max).iter().filter_map(|item| item.text(read)).collect()
            }
            Some(item) => item.text(read).into_iter().collect(),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Option<Written<bool>> {
        let item = self.get(name)?;
        let (text, plain) = item.scalar("true or false")?;
        item.read(text, |text| match (plain, text) {
            (true, "true") => Ok(true),
            (true, "false") => Ok(false),
            _ => {
                let meant = match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "true" => "write `true`",
                    "no" | "off" | "false" => "write `false`",
                    _ => "write `true` or `false`",
                };
                Err(Fault::new(format!("{} is neither true nor false", quoted(text))).mend(meant))
            }
        })
    }

    pub(super) fn whole(&self, name: &str) -> Option<Written<u64>> {
        let Kind::Whole(min, max) = *self.kind(name) else {
            unreachable!("the table has `{name}` as a number")
        };
        self.get(name)?.whole(min, max)
    }

    pub(super) fn duration(&self, name: &str) -> Option<Written<Millis>> {
        let Kind::Duration(min, max) = *self.kind(name) else {
            unreachable!("the table has `{name}` as a duration")
        };
        self.get(name)?.duration(min, max)
    }

    pub(super) fn size(&self, name: &str) -> Option<Written<Bytes>> {
        let Kind::Size(min, max) = *self.kind(name) else { unreachable!("the table has `{name}` as a size") };
        let item = self.get(name)?;
        let (text, _) = item.scalar("a size")?;
        item.read(text, |text| match values::size(text)? {
            size if (min..=max).contains(&size.get()) => Ok(size),
            _ => {
                let range = format!("from {} to {}", write_size(min), write_size(max));
                Err(Fault::new(format!("{} is out of range", quoted(text))).mend(range))
            }
        })
    }

    pub(super) fn percent(&self, name: &str) -> Option<Written<u32>> {
        debug_assert!(matches!(self.kind(name), Kind::Percent));
        let item = self.get(name)?;
        let (text, _) = item.scalar("a share in percent")?;
        item.read(text, values::percent)
    }

    /// One word of a choice, as the contract's enum that spells its variants the same way.
    pub(super) fn choice<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<Written<T>> {
        let Kind::Choice(choices) = *self.kind(name) else {
            unreachable!("the table has `{name}` as a choice")
        };
        let item = self.get(name)?;
        let (text, _) = item.scalar("a word")?;
        item.read(text, |text| {
            let choice = one_of(name, text, choices)?;
            if let Some(meanwhile) = choice.later {
                let fault = Fault::new(format!("`{name}: {text}` is not supported yet: {}", choice.about));
                return Err(fault.mend(format!("until then, {meanwhile}")));
            }
            let value = serde_json::Value::String(choice.name.to_owned());
            Ok(serde_json::from_value(value).expect("a test reads every word of the table into its enum"))
        })
    }
}

fn one_of(field: &str, text: &str, choices: &'static [Choice]) -> Result<&'static Choice, Fault> {
    if let Some(choice) = choices.iter().find(|choice| choice.name == text) {
        return Ok(choice);
    }
    let fault = Fault::new(format!("unknown {field} {}", quoted(text)));
    let names = || choices.iter().filter(|choice| choice.later.is_none()).map(|choice| choice.name);
    let mend = did_you_mean(text, choices.iter().map(|choice| choice.name));
    Err(fault.mend(mend.unwrap_or_else(|| format!("one of {}", names().collect::<Vec<_>>().join(", ")))))
}

fn unknown(key: &str, section: &Section) -> Fault {
    let fault = Fault::new(format!("unknown field {}", quoted(key)));
    let names = || section.fields.iter().map(|field| field.name);
    match did_you_mean(key, names()) {
        Some(mend) => fault.mend(mend),
        None if redact::is_secret(key) && names().any(|name| name == "credential") => {
            fault.mend("a secret comes from `credential: {env: NAME}` or `credential: {file: PATH}`")
        }
        None => {
            let here = section.fields.iter().filter(|field| !matches!(field.need, Need::Later(_)));
            let here: Vec<_> = here.map(|field| field.name).collect();
            fault.mend(format!("fields here: {}", here.join(", ")))
        }
    }
}

/// Where the value of a key is: a scalar where it stands, the others at their key, which is the line that
/// somebody looks for.
fn place(path: String, key: &Range<usize>, node: &Node) -> Place {
    let scalar = matches!(node.value, Value::Scalar { .. });
    Place { path, span: if scalar { node.span.clone() } else { key.clone() } }
}

/// How a missing field could look.
fn example(field: &Field) -> String {
    let value = match &field.kind {
        Kind::Text(format) => format.example,
        Kind::Whole(1, 1) => "1",
        Kind::Choice(choices) => choices[0].name,
        _ => "…",
    };
    match (field.name, &field.kind) {
        ("match", _) => "add `match: {path_prefix: /}` to match everything".to_owned(),
        (name, Kind::Many(..) | Kind::Named(..) | Kind::Section(_)) => format!("add `{name}:`"),
        (name, _) => format!("add `{name}: {value}`"),
    }
}

fn whole_range(min: u64, max: u64) -> String {
    if min == max { format!("only {min} is known") } else { format!("from {min} to {max}") }
}

/// What YAML 1.2 takes a plain scalar for, if not for text.
fn typed(text: &str) -> Option<&'static str> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Some("nothing"),
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Some("true or false"),
        _ => {
            let digits = text.trim_start_matches(['-', '+']);
            let begins = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
            let number = begins && digits.parse::<f64>().is_ok();
            let radix = digits.starts_with("0x") || digits.starts_with("0o");
            (number || (radix && i64::from_str_radix(&digits[2..], 16).is_ok())).then_some("a number")
        }
    }
}
