//! How things are printed: tables, JSON, YAML, colours.
//!
//! Owns: standard output. Must not: decide what is printed, or put errors there.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;

use super::Failure;
use super::args::{Color, Output};

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to standard output: {why}")))
        }
        _ => Ok(()),
    }
}

/// Prints a value in the wanted format; the table is drawn only if it is wanted.
pub fn show<T: Serialize>(output: Output, value: &T, table: impl FnOnce() -> String) -> Result<(), Failure> {
    match output {
        Output::Table => print(&table()),
        Output::Json => print(&json(value)),
        Output::Yaml => print(&yaml(value)),
    }
}

/// Indented JSON with a final newline.
pub fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("our own types have string keys and finite numbers") + "\n"
}

/// Block-style YAML.
pub fn yaml<T: Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).expect("our own types have string keys and finite numbers");
    let mut out = String::new();
    block(&mut out, &value, 0);
    out
}

/// A table without lines: easy on the eye and on `awk`.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Facts under each other.
pub fn facts(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |text, (name, value)| text + &format!("{name:width$}  {value}\n"))
}

/// Whether standard output takes colours.
pub fn colored_out(color: Color) -> bool {
    colored(color, io::stdout().is_terminal())
}

/// Whether standard error takes colours.
pub fn colored_err(color: Color) -> bool {
    colored(color, io::stderr().is_terminal())
}

fn colored(color: Color, terminal: bool) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}

fn block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push_str(&scalar(&Value::from(name.as_str())));
                out.push(':');
                nested(out, field, indent + 2);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push('-');
                item_of_list(out, item, indent + 2);
            }
        }
        other => {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
}

/// After a `name:`: a scalar on the same line, anything larger below.
fn nested(out: &mut String, value: &Value, indent: usize) {
    if is_block(value) {
        out.push('\n');
        block(out, value, indent);
    } else {
        out.push(' ');
        out.push_str(&scalar(value));
        out.push('\n');
    }
}

/// After a `-`: the first field on the same line.
fn item_of_list(out: &mut String, value: &Value, indent: usize) {
    let mut text = String::new();
    block(&mut text, value, indent);
    out.push(' ');
    out.push_str(text.trim_start_matches(' '));
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// JSON is YAML, so whatever could be taken for something else is written as a JSON string.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 10] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan"];
    let safe = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
    let first = text.chars().next();
    first.is_some_and(|c| c.is_ascii_alphabetic() || c == '/' || c == '_')
        && text.chars().all(safe)
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use saphyr::{LoadableYamlNode as _, Yaml};
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_nest_and_lists_start_on_the_dash() {
        let value = json!({"a": {"b": [1, {"c": "x", "d": []}]}, "e": {}, "f": null, "g": [[true]]});
        let expected = "a:\n  b:\n    - 1\n    - c: x\n      d: []\ne: {}\nf: null\ng:\n  - - true\n";
        assert_eq!(yaml(&value), expected);
    }

    #[test]
    fn what_looks_like_another_type_is_quoted() {
        let texts =
            ["", "1", "-1", "true", "No", "~", "a: b", "a:", "#x", "x\ny", "*", "1e3", "0x1f", "ä", ".5"];
        for text in texts {
            let yaml = yaml(&json!({ "v": text }));
            let read = Yaml::load_from_str(&yaml).expect("is YAML");
            assert_eq!(read[0]["v"].as_str(), Some(text), "{yaml}");
        }
        assert_eq!(yaml(&json!({"v": "http://a.b:80/v1"})), "v: http://a.b:80/v1\n");
    }

    #[test]
    fn tables_have_no_trailing_blanks() {
        let table = table(&["name", "n"], [vec!["a".to_owned(), String::new()]]);
        assert_eq!(table, "NAME  N\na\n");
    }
}
