//! Lists of models, in each dialect's own shape (dialects section 7.5).
//! Owns: the shapes, and the one that all clients of a shared path can read. Must not: know which models there are.
//! Read next: [`crate::surface`].

use crate::json::{List, Members, number, string};
use crate::surface::Grammar;

/// A model, as far as lists tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// What it is asked for by.
    pub id: String,
    /// What people call it; empty: its id.
    pub display_name: String,
    /// Who has it.
    pub owner: String,
    /// When it came, in seconds since 1970.
    pub created: u64,
    /// Most tokens of a prompt.
    pub max_input: Option<u64>,
    /// Most tokens of an answer.
    pub max_output: Option<u64>,
}

impl Model {
    fn shown(&self) -> &str {
        if self.display_name.is_empty() { &self.id } else { &self.display_name }
    }
}

/// Appends the list for clients of this grammar. At a shared path nobody says who asks, so [`Grammar::Plain`] gets all
/// shapes at once, which every client reads its own out of.
pub fn write_list(grammar: Grammar, models: &[Model], out: &mut Vec<u8>) {
    let mut body = Members::open(out);
    if matches!(grammar, Grammar::OpenAi | Grammar::Plain) {
        body.json(out, "object", "\"list\"");
    }
    if grammar != Grammar::Gemini {
        body.key(out, "data");
        write_all(models, out, |model, out| write_item(grammar, model, out));
    }
    if matches!(grammar, Grammar::Anthropic | Grammar::Plain) {
        body.json(out, "has_more", "false");
        for (key, model) in [("first_id", models.first()), ("last_id", models.last())] {
            body.key(out, key);
            match model {
                Some(model) => string(out, &model.id),
                None => out.extend_from_slice(b"null"),
            }
        }
    }
    if matches!(grammar, Grammar::Gemini | Grammar::Plain) {
        body.key(out, "models");
        write_all(models, out, |model, out| write_item(Grammar::Gemini, model, out));
    }
    body.close(out);
}

fn write_all(models: &[Model], out: &mut Vec<u8>, mut each: impl FnMut(&Model, &mut Vec<u8>)) {
    let mut list = List::open(out);
    for model in models {
        list.next(out);
        each(model, out);
    }
    list.close(out);
}

/// Appends one model for clients of this grammar.
pub fn write_item(grammar: Grammar, model: &Model, out: &mut Vec<u8>) {
    let mut item = Members::open(out);
    if grammar == Grammar::Gemini {
        write_gemini(model, &mut item, out);
        item.close(out);
        return;
    }
    item.key(out, "id");
    string(out, &model.id);
    if matches!(grammar, Grammar::OpenAi | Grammar::Plain) {
        item.json(out, "object", "\"model\"");
        item.number(out, "created", model.created);
        item.key(out, "owned_by");
        string(out, &model.owner);
    }
    if matches!(grammar, Grammar::Anthropic | Grammar::Plain) {
        item.json(out, "type", "\"model\"");
        item.key(out, "display_name");
        string(out, model.shown());
        item.key(out, "created_at");
        string(out, &instant(model.created));
        limits(["max_input_tokens", "max_tokens"], model, &mut item, out);
    }
    item.close(out);
}

fn write_gemini(model: &Model, item: &mut Members, out: &mut Vec<u8>) {
    item.key(out, "name");
    if model.id.starts_with("tunedModels/") {
        string(out, &model.id); // names its collection itself
    } else {
        string(out, &format!("models/{}", model.id));
    }
    item.json(out, "version", "\"001\"");
    item.key(out, "displayName");
    string(out, model.shown());
    limits(["inputTokenLimit", "outputTokenLimit"], model, item, out);
    let methods = r#"["generateContent","countTokens"]"#; // that of streams is never listed
    item.json(out, "supportedGenerationMethods", methods);
}

fn limits(keys: [&str; 2], model: &Model, item: &mut Members, out: &mut Vec<u8>) {
    for (key, limit) in keys.into_iter().zip([model.max_input, model.max_output]) {
        if let Some(limit) = limit {
            item.key(out, key);
            number(out, limit);
        }
    }
}

/// RFC 3339, in UTC.
fn instant(seconds: u64) -> String {
    // Civil from days: years begin in March, so that the leap day is the last.
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest % 3_600 / 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn list(grammar: Grammar) -> Value {
        let model = Model {
            id: "llama \"8b\"".to_owned(),
            owner: "ringway".to_owned(),
            created: 951_825_600,
            max_input: Some(8_192),
            ..Model::default()
        };
        let mut out = Vec::new();
        write_list(grammar, &[model], &mut out);
        serde_json::from_slice(&out).expect("valid JSON")
    }

    #[test]
    fn each_grammar_has_its_shape() {
        let openai =
            json!({"id": "llama \"8b\"", "object": "model", "created": 951_825_600, "owned_by": "ringway"});
        assert_eq!(list(Grammar::OpenAi), json!({"object": "list", "data": [openai]}));
        let anthropic = json!({"id": "llama \"8b\"", "type": "model", "display_name": "llama \"8b\"",
                               "created_at": "2000-02-29T12:00:00Z", "max_input_tokens": 8_192});
        let expected = json!({"data": [anthropic], "has_more": false, "first_id": "llama \"8b\"", "last_id": "llama \"8b\""});
        assert_eq!(list(Grammar::Anthropic), expected);
        let gemini = list(Grammar::Gemini);
        assert_eq!(gemini["models"][0]["name"], "models/llama \"8b\"");
        assert_eq!(gemini["models"][0]["inputTokenLimit"], 8_192);
    }

    #[test]
    fn the_list_of_a_shared_path_holds_every_shape() {
        let both = list(Grammar::Plain);
        for (grammar, key) in
            [(Grammar::OpenAi, "object"), (Grammar::Anthropic, "has_more"), (Grammar::Gemini, "models")]
        {
            assert_eq!(both[key], list(grammar)[key]);
        }
        for key in ["id", "object", "created", "owned_by", "type", "display_name", "created_at"] {
            assert!(both["data"][0].get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn instants_are_those_of_the_calendar() {
        assert_eq!(instant(0), "1970-01-01T00:00:00Z");
        assert_eq!(instant(1_775_149_430), "2026-04-02T17:03:50Z");
        assert_eq!(instant(1_709_164_800), "2024-02-29T00:00:00Z");
    }
}
