//! Gemini's own form of schemas, from and to JSON Schema (dialects section 3.4).
//!
//! Its parser refuses the whole request for one key that it does not know, so on the way there only known keys pass.
//! Owns: the two ways. Must not: recurse deeper than a text may be nested.
//! Read next: `tools_in.rs`, `tools_out.rs`.

use crate::json::{Kind, Raw, Text, Value, string};

/// JSON Schema from Gemini's form: type names in lower case, `nullable` as a second type. Other keys pass as they are.
pub(super) fn from_own_form(value: Value<'_>) -> Raw<'static> {
    let mut out = Vec::new();
    read(value, &mut out);
    text(out)
}

fn text(out: Vec<u8>) -> Raw<'static> {
    Raw::owned(String::from_utf8(out).unwrap_or_else(|_| "{}".to_owned()))
}

fn read(value: Value<'_>, out: &mut Vec<u8>) {
    let Some(fields) = value.fields() else {
        value.raw().write(out);
        return;
    };
    let nullable = value.get("nullable").and_then(|flag| flag.truth()) == Some(true);
    let mut comma = begin(out);
    for entry in fields {
        let key = entry.plain();
        if key == "nullable" && entry.value.truth().is_some() {
            continue;
        }
        next(&mut comma, &key, out);
        match (&*key, entry.value.kind()) {
            ("type", Kind::String) => read_type(&entry.value.text().unwrap_or_default(), nullable, out),
            ("properties" | "defs" | "$defs", Kind::Object) => {
                let mut inner = begin(out);
                for property in entry.value.fields().into_iter().flatten() {
                    next(&mut inner, &property.plain(), out);
                    read(property.value, out);
                }
                out.push(b'}');
            }
            ("items" | "additionalProperties", Kind::Object) => read(entry.value, out),
            ("anyOf", Kind::Array) => list(entry.value, out, read),
            (_, _) => entry.value.raw().write(out),
        }
    }
    out.push(b'}');
}

fn read_type(name: &Text<'_>, nullable: bool, out: &mut Vec<u8>) {
    let plain = name.plain();
    let shouted = plain.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let name = if shouted { plain.to_ascii_lowercase() } else { plain.into_owned() };
    if nullable {
        out.push(b'[');
        string(out, &name);
        out.extend_from_slice(b",\"null\"]");
    } else {
        string(out, &name);
    }
}

fn begin(out: &mut Vec<u8>) -> bool {
    out.push(b'{');
    false
}

fn next(comma: &mut bool, key: &str, out: &mut Vec<u8>) {
    if *comma {
        out.push(b',');
    }
    *comma = true;
    string(out, key);
    out.push(b':');
}

fn list<'a>(value: Value<'a>, out: &mut Vec<u8>, mut each: impl FnMut(Value<'a>, &mut Vec<u8>)) {
    out.push(b'[');
    for (n, element) in value.elements().into_iter().flatten().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        each(element, out);
    }
    out.push(b']');
}

/// A schema in Gemini's form.
pub(super) struct Own {
    /// It.
    pub(super) schema: Raw<'static>,
    /// It says less, or something a little different.
    pub(super) changed: bool,
}

/// Gemini's form from JSON Schema.
pub(super) fn to_own_form(schema: Value<'_>) -> Own {
    let mut writer = Writer { root: schema, changed: false, open: Vec::new(), bytes_left: SCHEMA_BYTES_MAX };
    let mut out = Vec::new();
    writer.write(schema, &mut out);
    Own { schema: text(out), changed: writer.changed }
}

/// References are written out where they stand, so a small schema could become a large one.
const SCHEMA_BYTES_MAX: usize = 1024 * 1024;
/// References inside what a reference points to.
const REFERENCES_DEEP_MAX: usize = 64;

/// Keys that pass as they are.
const PLAIN: [&str; 16] = [
    "title",
    "description",
    "nullable",
    "default",
    "example",
    "minItems",
    "maxItems",
    "propertyOrdering",
    "required",
    "minProperties",
    "maxProperties",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
];
const FORMATS: [&str; 6] = ["int32", "int64", "float", "double", "date-time", "enum"];

struct Writer<'a> {
    root: Value<'a>,
    changed: bool,
    /// References that are being written out.
    open: Vec<String>,
    bytes_left: usize,
}

impl<'a> Writer<'a> {
    fn write(&mut self, schema: Value<'a>, out: &mut Vec<u8>) {
        self.bytes_left = self.bytes_left.saturating_sub(schema.raw().as_str().len().min(64) + 8);
        if self.bytes_left == 0 || schema.fields().is_none() {
            self.changed = true;
            out.extend_from_slice(b"{}");
            return;
        }
        if let Some(reference) = schema.get_text("$ref") {
            self.reference(&reference.plain(), out);
            return;
        }
        if let Some(inlined) = only(schema, "allOf").or_else(|| only(schema, "oneOf")) {
            self.changed = true;
            self.write(inlined, out);
            return;
        }
        let mut comma = begin(out);
        for entry in schema.fields().into_iter().flatten() {
            self.entry(&entry.plain(), entry.value, schema, &mut comma, out);
        }
        let is_array = schema.get_text("type").is_some_and(|name| name.plain().eq_ignore_ascii_case("array"));
        if is_array && schema.get("items").is_none() {
            next(&mut comma, "items", out);
            out.extend_from_slice(b"{}");
        }
        out.push(b'}');
    }

    fn entry(&mut self, key: &str, value: Value<'a>, schema: Value<'a>, comma: &mut bool, out: &mut Vec<u8>) {
        match (key, value.kind()) {
            ("type", Kind::String) => type_name(&value.text().unwrap_or_default(), comma, out),
            ("type", Kind::Array) => self.types(value, comma, out),
            ("properties", Kind::Object) => {
                next(comma, key, out);
                let mut inner = begin(out);
                for property in value.fields().into_iter().flatten() {
                    next(&mut inner, &property.plain(), out);
                    self.write(property.value, out);
                }
                out.push(b'}');
            }
            ("items", Kind::Object) => {
                next(comma, key, out);
                self.write(value, out);
            }
            ("anyOf" | "oneOf", Kind::Array) => {
                self.changed |= key == "oneOf";
                next(comma, "anyOf", out);
                list(value, out, |element, out| self.write(element, out));
            }
            ("enum", Kind::Array) if all_texts(value) => {
                next(comma, key, out);
                value.raw().write(out);
            }
            ("const", Kind::String) => {
                self.changed = true;
                next(comma, "enum", out);
                out.push(b'[');
                value.raw().write(out);
                out.push(b']');
            }
            ("exclusiveMinimum" | "exclusiveMaximum", Kind::Number) => {
                self.exclusive(key, value, schema, comma, out);
            }
            ("format", Kind::String)
                if FORMATS.iter().any(|known| value.text().unwrap_or_default().is(known)) =>
            {
                next(comma, key, out);
                value.raw().write(out);
            }
            (_, _) if PLAIN.contains(&key) => {
                next(comma, key, out);
                value.raw().write(out);
            }
            ("$schema" | "$id" | "$comment" | "$defs" | "definitions", _) => {} // says nothing to a model
            (_, _) => self.changed = true,
        }
    }

    /// A type and null is a type that may be null; of more, the first counts.
    fn types(&mut self, value: Value<'a>, comma: &mut bool, out: &mut Vec<u8>) {
        let names: Vec<Text<'a>> =
            value.elements().into_iter().flatten().filter_map(|name| name.text()).collect();
        let mut others = names.iter().filter(|name| !name.is("null"));
        if let Some(first) = others.next() {
            type_name(first, comma, out);
        }
        self.changed |= others.next().is_some();
        if names.iter().any(|name| name.is("null")) {
            next(comma, "nullable", out);
            out.extend_from_slice(b"true");
        }
    }

    /// Among whole numbers, more than n is n + 1 or more.
    fn exclusive(
        &mut self,
        key: &str,
        value: Value<'a>,
        schema: Value<'a>,
        comma: &mut bool,
        out: &mut Vec<u8>,
    ) {
        self.changed = true;
        let whole = schema.get_text("type").is_some_and(|name| name.is("integer"));
        let Some(limit) = value.number().and_then(|number| number.parse::<i64>().ok()).filter(|_| whole)
        else {
            return;
        };
        let (key, limit) = if key == "exclusiveMinimum" {
            ("minimum", limit.saturating_add(1))
        } else {
            ("maximum", limit.saturating_sub(1))
        };
        next(comma, key, out);
        out.extend_from_slice(limit.to_string().as_bytes());
    }

    /// Written out where it stands; one that contains itself is anything.
    fn reference(&mut self, reference: &str, out: &mut Vec<u8>) {
        self.changed = true;
        let target =
            resolve(self.root, reference).filter(|_| !self.open.iter().any(|open| open == reference));
        let Some(target) = target.filter(|_| self.open.len() < REFERENCES_DEEP_MAX) else {
            out.extend_from_slice(b"{}");
            return;
        };
        self.open.push(reference.to_owned());
        self.write(target, out);
        self.open.pop();
    }
}

fn type_name(name: &Text<'_>, comma: &mut bool, out: &mut Vec<u8>) {
    next(comma, "type", out);
    string(out, &name.plain().to_ascii_uppercase());
}

/// What a local reference such as `#/$defs/Name` points to.
fn resolve<'a>(root: Value<'a>, reference: &str) -> Option<Value<'a>> {
    let mut value = root;
    for step in reference.strip_prefix("#/")?.split('/') {
        value = value.get(&step.replace("~1", "/").replace("~0", "~"))?;
    }
    Some(value)
}

/// The only alternative of a list of one.
fn only<'a>(schema: Value<'a>, key: &str) -> Option<Value<'a>> {
    let mut alternatives = schema.get(key)?.elements()?;
    match (alternatives.next(), alternatives.next()) {
        (Some(one), None) => Some(one),
        (Some(_) | None, _) => None,
    }
}

fn all_texts(value: Value<'_>) -> bool {
    value.elements().is_some_and(|mut elements| elements.all(|element| element.kind() == Kind::String))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::json::{Surrogates, Tape};

    fn own(text: &str) -> (String, bool) {
        let mut tape = Tape::new();
        let own = to_own_form(tape.read(text, Surrogates::Replace).expect("JSON"));
        (own.schema.as_str().to_owned(), own.changed)
    }

    fn json_schema(text: &str) -> String {
        let mut tape = Tape::new();
        from_own_form(tape.read(text, Surrogates::Replace).expect("JSON")).as_str().to_owned()
    }

    #[test]
    fn googles_form_becomes_json_schema() {
        let own = r#"{"type":"OBJECT","properties":{"type":{"type":"STRING","nullable":true},"n":{"type":"ARRAY","items":{"type":"INTEGER"}}},"required":["type"]}"#;
        let expected = r#"{"type":"object","properties":{"type":{"type":["string","null"]},"n":{"type":"array","items":{"type":"integer"}}},"required":["type"]}"#;
        assert_eq!(json_schema(own), expected);
        assert_eq!(json_schema(expected), expected, "JSON Schema stays as it is");
    }

    #[test]
    fn only_keys_that_google_knows_pass_and_changes_are_told() {
        for (schema, expected, changed) in [
            (r#"{"type":"string","format":"date-time"}"#, r#"{"type":"STRING","format":"date-time"}"#, false),
            (
                r#"{"$schema":"x","type":"integer","exclusiveMinimum":2}"#,
                r#"{"type":"INTEGER","minimum":3}"#,
                true,
            ),
            (
                r#"{"type":["string","null"],"const":"a"}"#,
                r#"{"type":"STRING","nullable":true,"enum":["a"]}"#,
                true,
            ),
            (r#"{"type":"array"}"#, r#"{"type":"ARRAY","items":{}}"#, false),
            (r#"{"enum":[1,2],"type":"integer"}"#, r#"{"type":"INTEGER"}"#, true),
            (
                r#"{"oneOf":[{"type":"string"},{"type":"null"}]}"#,
                r#"{"anyOf":[{"type":"STRING"},{"type":"NULL"}]}"#,
                true,
            ),
            (
                r##"{"$ref":"#/$defs/A","$defs":{"A":{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}}}}}"##,
                r#"{"type":"OBJECT","properties":{"a":{}}}"#,
                true,
            ),
        ] {
            assert_eq!(own(schema), (expected.to_owned(), changed), "{schema}");
        }
    }

    #[test]
    fn references_that_double_do_not_grow_without_end() {
        let mut defs = String::from(r#""A0":{"type":"string"}"#);
        for n in 1..40 {
            let below = n - 1;
            write!(
                defs,
                r##","A{n}":{{"type":"object","properties":{{"l":{{"$ref":"#/$defs/A{below}"}},"r":{{"$ref":"#/$defs/A{below}"}}}}}}"##
            )
            .expect("a string takes it");
        }
        let (schema, changed) = own(&format!(r##"{{"$ref":"#/$defs/A39","$defs":{{{defs}}}}}"##));
        assert!(changed && schema.len() < 4 * SCHEMA_BYTES_MAX, "{}", schema.len());
    }
}
