//! The table of fields, told to others: JSON Schema for editors, Markdown for the documentation.
//!
//! Owns: both renderings. Since they come from the table that decodes, they cannot lag behind it.
//! Must not: know a field.
//! Read next: `fields.rs`, the table.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::fields::{Choice, FILE, Field, Format, Kind, Need, Section};
use super::values::{write_duration, write_size};

/// JSON Schema (draft 2020-12) of the file.
pub fn schema() -> Value {
    let mut defs = Map::new();
    for section in sections() {
        defs.insert(section.name.to_owned(), object(section));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ringway configuration",
        "$ref": format!("#/$defs/{}", FILE.name),
        "$defs": defs,
    })
}

/// Every section that can be reached, the file first, each once, in the order of the table.
fn sections() -> Vec<&'static Section> {
    let mut found: Vec<&'static Section> = vec![&FILE];
    let mut next = 0;
    while let Some(section) = found.get(next).copied() {
        for inner in section.fields.iter().flat_map(|field| inner(&field.kind)) {
            if !found.iter().any(|known| known.name == inner.name) {
                found.push(inner);
            }
        }
        next += 1;
    }
    found
}

fn inner(kind: &'static Kind) -> Vec<&'static Section> {
    match kind {
        Kind::Section(section) => vec![section],
        Kind::Many(kind, _) | Kind::Named(kind, _) => inner(kind),
        Kind::Either(kinds) => kinds.iter().flat_map(inner).collect(),
        Kind::Text(_)
        | Kind::Flag
        | Kind::Whole(..)
        | Kind::Duration(..)
        | Kind::Size(..)
        | Kind::Percent
        | Kind::Choice(_)
        | Kind::OneOrMany(..)
        | Kind::Anything => Vec::new(),
    }
}

fn object(section: &Section) -> Value {
    let properties: Map<_, _> =
        section.fields.iter().map(|field| (field.name.to_owned(), property(field))).collect();
    let required: Vec<_> = section
        .fields
        .iter()
        .filter(|field| matches!(field.need, Need::Required))
        .map(|field| field.name)
        .collect();
    json!({
        "type": "object",
        "description": section.about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(field: &Field) -> Value {
    let (mut schema, about) = match field.need {
        Need::Required => (of(&field.kind), field.about.to_owned()),
        Need::Optional(default) => (of(&field.kind), format!("{} Default: {default}.", field.about)),
        // No value fits: an editor marks it, and its description says why.
        Need::Later(meanwhile) => {
            (json!({"not": {}}), format!("Not supported yet: {}. Until then, {meanwhile}.", field.about))
        }
    };
    schema["description"] = about.into();
    schema
}

fn of(kind: &Kind) -> Value {
    match kind {
        Kind::Text(format) => text(format),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Whole(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Duration(..) => json!({"type": "string", "pattern": "^[0-9]+ *(ms|s|m|h)$"}),
        Kind::Size(min, max) => json!({"anyOf": [
            {"type": "integer", "minimum": min, "maximum": max},
            {"type": "string", "pattern": "^[0-9]+ *(B|KiB|MiB|GiB)?$"},
        ]}),
        Kind::Percent => json!({"type": "string", "pattern": "^[0-9]{1,3} *%$"}),
        Kind::Choice(choices) => {
            let here = choices.iter().filter(|choice| choice.later.is_none());
            json!({"enum": here.map(|choice| choice.name).collect::<Vec<_>>()})
        }
        Kind::Section(section) => json!({"$ref": format!("#/$defs/{}", section.name)}),
        Kind::Many(kind, max) => json!({"type": "array", "items": of(kind), "minItems": 1, "maxItems": max}),
        Kind::OneOrMany(format, max) => json!({"anyOf": [
            text(format),
            {"type": "array", "items": text(format), "minItems": 1, "maxItems": max},
        ]}),
        Kind::Named(kind, max) => {
            json!({"type": "object", "additionalProperties": of(kind), "minProperties": 1, "maxProperties": max})
        }
        Kind::Either(kinds) => json!({"anyOf": kinds.iter().map(of).collect::<Vec<_>>()}),
        Kind::Anything => json!({}),
    }
}

fn text(format: &Format) -> Value {
    json!({"type": "string", "pattern": format.pattern, "examples": [format.example]})
}

/// The reference of every field, as Markdown: a heading and a table for each section.
pub fn reference() -> String {
    let mut out = String::new();
    for section in sections() {
        let _ = writeln!(out, "### {}\n\n{}\n", heading(section), section.about);
        out.push_str("| field | type | default | meaning |\n|---|---|---|---|\n");
        for field in section.fields {
            row(&mut out, field);
        }
        out.push('\n');
    }
    out
}

fn heading(section: &Section) -> String {
    section.name.replace('_', " ")
}

fn row(out: &mut String, field: &Field) {
    let about = cell(field.about);
    let _ = match field.need {
        Need::Required => writeln!(
            out,
            "| `{}` | {} | **required** | {about}{} |",
            field.name,
            word(&field.kind),
            words(&field.kind)
        ),
        Need::Optional(default) => {
            let default = if default.contains(' ') || default == "none" || default == "any" {
                default.to_owned()
            } else {
                format!("`{default}`")
            };
            writeln!(
                out,
                "| `{}` | {} | {default} | {about}{} |",
                field.name,
                word(&field.kind),
                words(&field.kind)
            )
        }
        Need::Later(meanwhile) => writeln!(
            out,
            "| `{}` | | | **not supported yet**: {about}. Until then, {}. |",
            field.name,
            cell(meanwhile)
        ),
    };
}

/// The type of a field in a word or two, with its range.
fn word(kind: &Kind) -> String {
    match kind {
        Kind::Text(format) => format!("{}, as `{}`", cell(format.word), cell(format.example)),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Whole(min, max) if min == max => format!("`{min}`"),
        Kind::Whole(min, max) => format!("whole number, {min} to {max}"),
        Kind::Duration(min, max) => format!("duration, {} to {}", write_duration(*min), write_duration(*max)),
        Kind::Size(min, max) => format!("size, {} to {}", write_size(*min), write_size(*max)),
        Kind::Percent => "percentage, 0% to 100%".to_owned(),
        Kind::Choice(_) => "choice".to_owned(),
        Kind::Section(section) => format!("[{}](#{})", heading(section), heading(section).replace(' ', "-")),
        Kind::Many(kind, max) => format!("list of 1 to {max}: {}", word(kind)),
        Kind::OneOrMany(format, max) => {
            format!("{}, as `{}`, or a list of up to {max}", cell(format.word), cell(format.example))
        }
        Kind::Named(kind, max) => format!("mapping of 1 to {max} names to: {}", word(kind)),
        Kind::Either(kinds) => kinds.iter().map(word).collect::<Vec<_>>().join("; or "),
        Kind::Anything => String::new(),
    }
}

/// What each word of a choice means.
fn words(kind: &Kind) -> String {
    let Kind::Choice(choices) = kind else { return String::new() };
    let one = |choice: &Choice| match choice.later {
        None => format!("<br>`{}`: {}", choice.name, cell(choice.about)),
        Some(meanwhile) => format!(
            "<br>`{}`: **not supported yet**: {}. Until then, {}.",
            choice.name,
            cell(choice.about),
            cell(meanwhile)
        ),
    };
    choices.iter().map(one).collect()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
