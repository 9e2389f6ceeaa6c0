//! The schema and the reference say what the decoder does.

use std::path::{Path, PathBuf};

use ringway_controlplane::config;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A YAML text as JSON, read by another reader than ours.
fn json_of(text: &str) -> Value {
    let documents = Yaml::load_from_str(text).expect("it is YAML");
    value(&documents[0])
}

fn value(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(flag)) => json!(flag),
        Yaml::Value(Scalar::Integer(number)) => json!(number),
        Yaml::Value(Scalar::FloatingPoint(number)) => json!(number.into_inner()),
        Yaml::Value(Scalar::String(text)) => json!(text),
        Yaml::Sequence(items) => items.iter().map(value).collect(),
        Yaml::Mapping(entries) => {
            let entry =
                |(key, inner): (&Yaml<'_>, &Yaml<'_>)| (key.as_str().expect("text").to_owned(), value(inner));
            Value::Object(entries.iter().map(entry).collect::<Map<_, _>>())
        }
        other => panic!("no part of our files: {other:?}"),
    }
}

/// The keywords that our schema uses, but patterns.
fn fits(schema: &Value, value: &Value, root: &Value) -> Result<(), String> {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let section = name.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        fits(section.expect("references lead somewhere"), value, root)?;
    }
    if schema.get("not").is_some() {
        return Err(format!("nothing fits here, found {value}"));
    }
    if let Some(options) = schema.get("anyOf").and_then(Value::as_array)
        && !options.iter().any(|option| fits(option, value, root).is_ok())
    {
        return Err(format!("{value} fits no option"));
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array)
        && !words.contains(value)
    {
        return Err(format!("{value} is not in {words:?}"));
    }
    let kind = schema.get("type").and_then(Value::as_str);
    let right = match kind {
        None => true,
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.as_u64().is_some_and(|number| {
            let bound = |name| schema.get(name).and_then(Value::as_u64);
            bound("minimum").is_none_or(|min| number >= min)
                && bound("maximum").is_none_or(|max| number <= max)
        }),
        Some(other) => panic!("no type of ours: {other}"),
    };
    if !right {
        return Err(format!("{value} is no {kind:?}"));
    }
    for item in value.as_array().into_iter().flatten() {
        fits(&schema["items"], item, root)?;
    }
    let Some(entries) = value.as_object().filter(|_| kind == Some("object")) else { return Ok(()) };
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        entries.get(name.as_str().expect("a name")).ok_or(format!("{name} is missing"))?;
    }
    for (name, inner) in entries {
        let known = schema.get("properties").and_then(|properties| properties.get(name));
        let schema = known.unwrap_or(&schema["additionalProperties"]);
        if schema == &Value::Bool(false) {
            return Err(format!("unknown field {name}"));
        }
        fits(schema, inner, root).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(())
}

#[test]
fn the_examples_fit_the_schema() {
    let schema = config::schema();
    for name in ["vllm.yaml", "nginx.yaml", "full.yaml"] {
        let text =
            std::fs::read_to_string(root().join("docs/examples").join(name)).expect("part of the tree");
        assert_eq!(fits(&schema, &json_of(&text), &schema), Ok(()), "{name}");
    }
}

#[test]
fn what_the_decoder_refuses_by_shape_the_schema_refuses_too() {
    let schema = config::schema();
    let refused = [
        "an_unknown_field_is_refused_with_a_suggestion",
        "a_missing_version_is_refused",
        "another_version_is_refused",
        "a_version_in_quotes_is_refused",
        "a_mistyped_engine_is_refused_with_a_suggestion",
        "a_target_as_text_is_refused",
        "a_secret_in_the_file_is_refused_and_hidden",
        "a_mapping_where_a_list_belongs_is_refused",
        "more_than_three_attempts_are_refused",
        "a_number_for_a_label_is_refused",
        "an_unknown_preset_is_refused_with_those_there_are",
        "later_sections_are_refused_by_name",
        "later_fields_of_routes_are_refused_by_name",
    ];
    for claim in refused {
        let path = root().join("controlplane/tests/fixtures/config").join(format!("{claim}.yaml"));
        let text = std::fs::read_to_string(path).expect("part of the tree");
        assert!(fits(&schema, &json_of(&text), &schema).is_err(), "{claim}");
    }
}

#[test]
fn every_later_field_is_told_from_the_others() {
    let schema = config::schema();
    let sections = schema["$defs"].as_object().expect("sections");
    let mut later = Vec::new();
    for (section, schema) in sections {
        for (name, field) in schema["properties"].as_object().expect("fields") {
            let about = field["description"].as_str().expect("every field says what it means");
            let refused = field.get("not").is_some();
            assert_eq!(refused, about.starts_with("Not supported yet: "), "{section}.{name}");
            if refused {
                later.push(format!("{section}.{name}"));
            }
        }
    }
    for expected in ["listener.http2", "backend.discovery"].into_iter().chain([
        "route.shadow",
        "match.tenant",
        "match.schedule",
        "file.keys",
        "file.guards",
    ]) {
        assert!(later.iter().any(|name| name == expected), "{expected} is missing from {later:?}");
    }
}

/// `RINGWAY_BLESS=1` writes the reference anew.
#[test]
fn the_reference_in_the_documentation_is_that_of_the_table() {
    const BEGIN: &str = "<!-- generated from the table of fields: begin -->\n";
    const END: &str = "<!-- generated from the table of fields: end -->";
    let path = root().join("docs/configuration.md");
    let text = std::fs::read_to_string(&path).expect("part of the tree");
    let (before, rest) = text.split_once(BEGIN).expect("it marks the beginning");
    let (shown, after) = rest.split_once(END).expect("it marks the end");
    let reference = config::reference();
    if std::env::var_os("RINGWAY_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{reference}{END}{after}"))
            .expect("the tree can be written");
        return;
    }
    assert!(
        shown == reference,
        "docs/configuration.md is behind the table: run this test with RINGWAY_BLESS=1"
    );
}
