//! `diff`: what a config file would change against what runs.
//!
//! Owns: what is compared, the list of changes, and how a difference is drawn.
//! Must not: tell secrets (only digests are compared), or mind what no file says: addresses that names have
//! now, drains, the generation.

use std::fmt::Write as _;
use std::path::Path;

use ringway_contract::snapshot::Backend;
use ringway_contract::{Generation, Snapshot};
use serde::Serialize;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::args::Output;
use super::file::{self, STAND_IN};
use super::{Context, Failure, output, say};
use crate::daemon::assemble::keep_token;
use crate::{config, digest};

/// Unchanged lines around a change.
const CONTEXT_LINES: usize = 3;

/// What a list's items are known by, the first of these that all have and that differs.
const KEYS: [&str; 5] = ["name", "authority", "address", "backend", "header"];

/// What `diff -o json` prints.
#[derive(Serialize)]
struct Difference {
    generation: Option<Generation>,
    changes: Vec<Change>,
}

/// One value that differs.
#[derive(Debug, PartialEq, Serialize)]
struct Change {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<Value>,
}

pub(super) async fn diff(context: &Context, path: &Path, output: Output) -> Result<(), Failure> {
    let checked = file::check(path)?;
    checked.warn(context);
    let running = context.dataplane().snapshot().await?;
    let generation = running.as_ref().map(|running| running.generation);
    let mut wanted = config::snapshot(&checked.config, &|_, _| Vec::new());
    if let Some(running) = &running {
        borrow_secrets(&mut wanted, &running.snapshot);
        let accounts = checked.config.accounts();
        let minted = |backend: &&mut Backend| accounts.iter().any(|(name, _)| *name == backend.name);
        for backend in wanted.backends.iter_mut().filter(minted) {
            keep_token(backend, Some(&running.snapshot)); // no file says which token it is
        }
    }
    for secret in &checked.missing {
        say(&format!("warning: a secret is not compared, it is not at hand here: {secret}\n"));
    }
    let old = running.map_or(Value::Null, |running| comparable(running.snapshot));
    let new = comparable(wanted);
    if output == Output::Table {
        return output::print(&draw(generation, &old, &new, output::colored_out(context.color)));
    }
    let mut difference = Difference { generation, changes: Vec::new() };
    compare(&mut difference.changes, "", &old, &new);
    output::show(output, &difference, String::new)
}

/// A secret that is not at hand is taken to be what it is where it runs.
fn borrow_secrets(wanted: &mut Snapshot, running: &Snapshot) {
    for backend in &mut wanted.backends {
        let same = running.backends.iter().find(|other| other.name == backend.name);
        for (at, secret) in backend.secrets_mut().filter(|(_, secret)| secret.contains(STAND_IN)) {
            let known = same.and_then(|other| other.secrets().find(|(place, _)| *place == at));
            if let Some((_, known)) = known {
                secret.clone_from(known);
            }
        }
    }
}

fn comparable(snapshot: Snapshot) -> Value {
    let mut value = serde_json::to_value(digest::redact(snapshot)).expect("a snapshot has string keys");
    let Value::Object(fields) = &mut value else { return value };
    fields.retain(|name, _| name != "generation");
    let backends = fields.get_mut("backends").and_then(Value::as_array_mut);
    let endpoints = backends.into_iter().flatten().filter_map(|backend| backend["endpoints"].as_array_mut());
    for endpoint in endpoints.flatten().filter_map(Value::as_object_mut) {
        endpoint.retain(|name, _| name != "addresses" && name != "drained");
    }
    value
}

/// Every value that differs, by path; items of a list are known by name, not by place.
fn compare(changes: &mut Vec<Change>, path: &str, old: &Value, new: &Value) {
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let added = after.keys().filter(|name| !before.contains_key(*name));
            for name in before.keys().chain(added) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                either(changes, path, before.get(name), after.get(name));
            }
        }
        (Value::Array(before), Value::Array(after)) if key_of(before, after).is_some() => {
            let key = key_of(before, after).expect("the guard");
            compare_named(changes, path, key, before, after);
        }
        (old, new) if old == new => {}
        (old, new) => changes.push(Change { path: path.to_owned(), old: present(old), new: present(new) }),
    }
}

fn compare_named(changes: &mut Vec<Change>, path: &str, key: &str, before: &[Value], after: &[Value]) {
    let find = |list: &'_ [Value], name: &Value| list.iter().position(|item| item[key] == *name);
    let added = after.iter().filter(|item| find(before, &item[key]).is_none());
    for item in before.iter().chain(added) {
        let name = &item[key];
        let path = format!("{path}[{}]", name.as_str().unwrap_or_default());
        let (old, new) = (find(before, name).map(|at| &before[at]), find(after, name).map(|at| &after[at]));
        either(changes, path, old, new);
    }
    let order = |list: &[Value], other: &[Value]| -> Vec<Value> {
        list.iter().map(|item| item[key].clone()).filter(|name| find(other, name).is_some()).collect()
    };
    let (old, new) = (order(before, after), order(after, before));
    if old != new {
        changes.push(Change {
            path: format!("{path} (order)"),
            old: Some(old.into()),
            new: Some(new.into()),
        });
    }
}

fn either(changes: &mut Vec<Change>, path: String, old: Option<&Value>, new: Option<&Value>) {
    match (old, new) {
        (Some(old), Some(new)) => compare(changes, &path, old, new),
        (old, new) => changes.push(Change { path, old: old.cloned(), new: new.cloned() }),
    }
}

fn present(value: &Value) -> Option<Value> {
    (!value.is_null()).then(|| value.clone())
}

/// The field that names the items of both lists, each once.
fn key_of(before: &[Value], after: &[Value]) -> Option<&'static str> {
    let names_all = |list: &[Value], key: &str| {
        let mut names: Vec<&str> = list.iter().filter_map(|item| item[key].as_str()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        count == list.len() && names.len() == count
    };
    KEYS.into_iter().find(|key| names_all(before, key) && names_all(after, key))
}

fn draw(generation: Option<Generation>, old: &Value, new: &Value, color: bool) -> String {
    let before = if old.is_null() { String::new() } else { output::yaml(old) };
    let after = output::yaml(new);
    let running = generation.map_or("nothing runs yet".to_owned(), |number| format!("generation {number}"));
    if before == after {
        return format!("no difference to {running}\n");
    }
    let lines: Vec<&str> = after.lines().collect();
    let old_lines: Vec<&str> = before.lines().collect();
    let paint = |code: &str, text: &str| {
        if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    };
    let mut out = paint("1", &format!("--- {running}\n+++ the file\n"));
    let difference = TextDiff::from_lines(&before, &after);
    for group in difference.grouped_ops(CONTEXT_LINES) {
        let changes: Vec<_> = group.iter().flat_map(|op| difference.iter_changes(op)).collect();
        let first = changes.iter().find(|change| change.tag() != ChangeTag::Equal);
        let place = first.map(|change| match (change.new_index(), change.old_index()) {
            (Some(at), _) => place(&lines, at),
            (None, at) => place(&old_lines, at.unwrap_or(0)),
        });
        let _ = writeln!(out, "{}", paint("36", &format!("@@ {} @@", place.unwrap_or_default())));
        for change in changes {
            let line = change.value().trim_end_matches('\n');
            let line = match change.tag() {
                ChangeTag::Equal => format!("  {line}"),
                ChangeTag::Delete => paint("31", &format!("- {line}")),
                ChangeTag::Insert => paint("32", &format!("+ {line}")),
            };
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}

/// Where a line of block YAML is: the names above it, outermost first.
fn place(lines: &[&str], at: usize) -> String {
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
    let mut depth = indent(lines[at]) + 1;
    let mut names = Vec::new();
    for line in lines[..=at].iter().rev() {
        let opens_item = line.trim_start().starts_with('-');
        let inside = indent(line);
        if inside < depth || (opens_item && inside == depth) {
            let bare = line.trim_start_matches([' ', '-']);
            let name = match bare.split_once(": ") {
                Some((_, value)) if opens_item => value,
                Some((field, _)) => field,
                None => bare.trim_end_matches(':'),
            };
            names.push(name);
            depth = if opens_item { line.len() - line.trim_start_matches(' ').len() } else { inside };
            // The list's own name stands one level further out than its dashes.
            depth = depth.max(usize::from(opens_item));
        }
        if depth == 0 {
            break;
        }
    }
    names.reverse();
    names.join(" / ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changes(old: &Value, new: &Value) -> Vec<String> {
        let mut changes = Vec::new();
        compare(&mut changes, "", old, new);
        changes.into_iter().map(|change| change.path).collect()
    }

    #[test]
    fn items_are_compared_by_name_and_their_order_is_a_change_of_its_own() {
        let a = json!({"name": "a", "weight": 1});
        let b = json!({"name": "b", "weight": 1});
        let heavy = json!({"name": "b", "weight": 2});
        let routes = |list: &[&Value]| json!({ "routes": list });
        assert_eq!(changes(&routes(&[&a, &b]), &routes(&[&a, &b])), [""; 0]);
        assert_eq!(changes(&routes(&[&a, &b]), &routes(&[&b])), ["routes[a]"]);
        assert_eq!(
            changes(&routes(&[&a, &b]), &routes(&[&heavy, &a])),
            ["routes[b].weight", "routes (order)"]
        );
    }

    #[test]
    fn a_hunk_says_which_item_it_is_in() {
        let old = json!({"routes": [{"name": "chat", "x": {"a": 1, "b": 2, "c": 3, "d": 4, "weight": 1}}]});
        let new = json!({"routes": [{"name": "chat", "x": {"a": 1, "b": 2, "c": 3, "d": 4, "weight": 2}}]});
        let text = draw(Some(Generation::new(3)), &old, &new, false);
        assert!(text.contains("@@ routes / chat / x / weight @@"), "{text}");
        assert!(text.contains("-       weight: 1\n+       weight: 2\n"), "{text}");
    }

    #[test]
    fn the_same_is_said_in_one_line() {
        let value = json!({"a": 1});
        assert_eq!(draw(Some(Generation::new(3)), &value, &value, true), "no difference to generation 3\n");
    }
}
