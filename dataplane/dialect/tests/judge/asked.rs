//! What a request asks, read by a second pair of eyes: plain `serde_json`, no code of the crate under test.
//!
//! Owns: the same few lists out of a request in any of the four dialects.
//! Must not: judge what a dialect cannot say; that is what the list of losses is for.
//! Read next: `../requests.rs`.

use serde_json::{Value, json};

use super::{Dialect, list, text};

/// What a request says, as lists that every dialect can carry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// Texts of the system prompt, joined.
    pub system: String,
    /// All texts of the user, in order.
    pub user: String,
    /// All texts of the assistant, in order.
    pub assistant: String,
    /// Images and documents: base64 in the standard alphabet, or a URL.
    pub media: Vec<String>,
    /// Name and arguments.
    pub calls: Vec<(String, Value)>,
    /// Text of each result; JSON where it is an object.
    pub results: Vec<Value>,
    /// Name and schema.
    pub tools: Vec<(String, Value)>,
    pub max: Option<u64>,
}

/// Reads a request.
pub fn read(dialect: Dialect, body: &Value) -> Asked {
    let mut asked = Asked::default();
    match dialect {
        Dialect::Chat => chat(&mut asked, body),
        Dialect::Responses => responses(&mut asked, body),
        Dialect::Anthropic => anthropic(&mut asked, body),
        Dialect::Gemini => gemini(&mut asked, body),
    }
    asked
}

/// The first member that is there, under any of its spellings.
fn any<'a>(of: &'a Value, names: &[&str]) -> &'a Value {
    names.iter().map(|name| &of[*name]).find(|value| !value.is_null()).unwrap_or(&Value::Null)
}

/// A string, or the texts of its parts.
fn texts(content: &Value) -> String {
    let parts = content.as_array().map_or(&[][..], Vec::as_slice).iter().map(|part| text(part, "text"));
    parts.fold(content.as_str().unwrap_or_default().to_owned(), |all, part| all + part)
}

/// JSON text as its value; empty as no arguments; anything else as it stands.
fn arguments(text: &str) -> Value {
    let text = if text.trim().is_empty() { "{}" } else { text };
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

fn result(text: &str) -> Value {
    serde_json::from_str(text).ok().filter(Value::is_object).unwrap_or_else(|| json!(text))
}

fn schema(value: &Value) -> Value {
    if value.is_null() { json!({"type": "object", "properties": {}}) } else { value.clone() }
}

/// Google's own form of a schema in the usual one: type names in lower case, null as a type.
fn usual(value: &Value) -> Value {
    let mut usual = match value {
        Value::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), usual(value))).collect(),
        Value::Array(items) => Value::Array(items.iter().map(usual).collect()),
        other => other.clone(),
    };
    if !usual.is_object() {
        return usual;
    }
    if let Some(kind) = usual["type"].as_str().filter(|kind| kind.chars().all(char::is_uppercase)) {
        usual["type"] = json!(kind.to_lowercase());
    }
    if let Some(nullable) = usual.as_object_mut().and_then(|entries| {
        entries.get("nullable").is_some_and(Value::is_boolean).then(|| entries.remove("nullable"))
    }) && nullable == Some(json!(true))
    {
        usual["type"] = json!([usual["type"], "null"]);
    }
    usual
}

fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().map(|number| number as u64))
}

fn base64(data: &str) -> String {
    let standard = data.replace('-', "+").replace('_', "/");
    standard.trim_end_matches('=').to_owned()
}

/// A data URL as its data, another URL as it is.
fn url(url: &str) -> String {
    url.strip_prefix("data:")
        .and_then(|rest| rest.split_once("base64,"))
        .map_or(url.to_owned(), |(_, d)| base64(d))
}

fn chat(asked: &mut Asked, body: &Value) {
    let mut leading = true;
    for message in list(body, "messages") {
        let role = text(message, "role");
        let system = matches!(role, "system" | "developer");
        leading &= system;
        let said = texts(&message["content"]) + text(message, "refusal");
        match role {
            "system" | "developer" if leading => asked.system += &said,
            "tool" | "function" => asked.results.push(result(&said)),
            "assistant" => asked.assistant += &said,
            _ => asked.user += &said,
        }
        for part in list(message, "content") {
            let source = match text(part, "type") {
                "image_url" if part["image_url"].is_string() => url(text(part, "image_url")),
                "image_url" => url(text(&part["image_url"], "url")),
                "input_audio" => base64(text(&part["input_audio"], "data")),
                "file" => url(text(&part["file"], "file_data")),
                _ => continue,
            };
            asked.media.push(source);
        }
        for call in list(message, "tool_calls") {
            let custom = call["custom"].is_object();
            let of = if custom { &call["custom"] } else { &call["function"] };
            let given =
                if custom { json!({"input": text(of, "input")}) } else { arguments(text(of, "arguments")) };
            asked.calls.push((text(of, "name").to_owned(), given));
        }
        if message["function_call"].is_object() {
            let call = &message["function_call"];
            asked.calls.push((text(call, "name").to_owned(), arguments(text(call, "arguments"))));
        }
    }
    for tool in list(body, "tools").iter().map(|tool| &tool["function"]).chain(list(body, "functions")) {
        if tool.is_object() {
            asked.tools.push((text(tool, "name").to_owned(), schema(&tool["parameters"])));
        }
    }
    asked.max = whole(any(body, &["max_completion_tokens", "max_tokens"]));
}

fn responses(asked: &mut Asked, body: &Value) {
    text(body, "instructions").clone_into(&mut asked.system);
    text(body, "input").clone_into(&mut asked.user);
    let mut leading = true;
    for item in list(body, "input") {
        let role = text(item, "role");
        leading &= matches!(role, "system" | "developer");
        match (item["type"].as_str().unwrap_or("message"), role) {
            ("message", "system" | "developer") if leading => asked.system += &texts(&item["content"]),
            ("message", "assistant") => {
                asked.assistant += &texts(&item["content"]);
                for part in list(item, "content") {
                    asked.assistant += text(part, "refusal");
                }
            }
            ("message", _) => asked.user += &texts(&item["content"]),
            ("function_call", _) => {
                asked.calls.push((text(item, "name").to_owned(), arguments(text(item, "arguments"))));
            }
            ("custom_tool_call", _) => {
                asked.calls.push((text(item, "name").to_owned(), json!({"input": text(item, "input")})));
            }
            ("function_call_output" | "custom_tool_call_output", _) => {
                asked.results.push(result(&texts(&item["output"])));
            }
            _ => {}
        }
        for part in list(item, "content").iter().chain(list(item, "output")) {
            let source = match text(part, "type") {
                "input_image" => url(text(part, "image_url")),
                "input_file" => url(any(part, &["file_data", "file_url"]).as_str().unwrap_or_default()),
                "input_audio" => base64(text(&part["input_audio"], "data")),
                _ => continue,
            };
            asked.media.push(source);
        }
    }
    for tool in list(body, "tools").iter().filter(|tool| tool["type"] == "function") {
        asked.tools.push((text(tool, "name").to_owned(), schema(&tool["parameters"])));
    }
    asked.max = whole(&body["max_output_tokens"]);
}

fn anthropic(asked: &mut Asked, body: &Value) {
    asked.system = texts(&body["system"]);
    for message in list(body, "messages") {
        let assistant = message["role"] == "assistant";
        let into = if assistant { &mut asked.assistant } else { &mut asked.user };
        into.push_str(&texts(&message["content"]));
        for block in list(message, "content") {
            match text(block, "type") {
                "tool_use" => asked.calls.push((text(block, "name").to_owned(), block["input"].clone())),
                "tool_result" => {
                    asked.results.push(result(&texts(&block["content"])));
                    for part in list(block, "content") {
                        media(&mut asked.media, part);
                    }
                }
                _ => media(&mut asked.media, block),
            }
        }
    }
    for tool in list(body, "tools").iter().filter(|tool| tool["input_schema"].is_object()) {
        asked.tools.push((text(tool, "name").to_owned(), schema(&tool["input_schema"])));
    }
    asked.max = whole(&body["max_tokens"]);
}

fn media(into: &mut Vec<String>, block: &Value) {
    if matches!(text(block, "type"), "image" | "document") {
        let source = &block["source"];
        let data = any(source, &["data", "url"]).as_str().unwrap_or_default();
        into.push(if source["type"] == "base64" { base64(data) } else { data.to_owned() });
    }
}

fn gemini(asked: &mut Asked, body: &Value) {
    let parts = |content: &Value| {
        if content["parts"].is_object() {
            vec![content["parts"].clone()]
        } else {
            list(content, "parts").to_vec()
        }
    };
    let system = any(body, &["systemInstruction", "system_instruction"]);
    system.as_str().unwrap_or_default().clone_into(&mut asked.system);
    asked.system += &parts(system).iter().map(|part| text(part, "text")).collect::<String>();
    for content in list(body, "contents") {
        let model = content["role"] == "model";
        for part in parts(content) {
            gemini_part(asked, &part, model);
        }
    }
    for tool in list(body, "tools") {
        let declared = any(tool, &["functionDeclarations", "function_declarations"]);
        for function in declared.as_array().into_iter().flatten() {
            let declared = any(function, &["parametersJsonSchema", "parameters_json_schema"]);
            let declared = if declared.is_null() { usual(&function["parameters"]) } else { declared.clone() };
            asked.tools.push((text(function, "name").to_owned(), schema(&declared)));
        }
    }
    let config = any(body, &["generationConfig", "generation_config"]);
    asked.max = whole(any(config, &["maxOutputTokens", "max_output_tokens"]));
}

fn gemini_part(asked: &mut Asked, part: &Value, model: bool) {
    if part["thought"] == true {
        return;
    }
    let into = if model { &mut asked.assistant } else { &mut asked.user };
    into.push_str(text(part, "text"));
    let call = any(part, &["functionCall", "function_call"]);
    if call.is_object() {
        let given = if call["args"].is_object() { call["args"].clone() } else { json!({}) };
        asked.calls.push((text(call, "name").to_owned(), given));
    }
    let answered = any(part, &["functionResponse", "function_response"]);
    if answered.is_object() {
        let whole = &answered["response"];
        let only = whole.as_object().filter(|object| object.len() == 1);
        let inner = only.and_then(|object| {
            ["output", "result", "error"].iter().find_map(|key| object.get(*key)?.as_str())
        });
        asked.results.push(inner.map_or_else(|| whole.clone(), result));
    }
    let inline = any(part, &["inlineData", "inline_data"]);
    if inline.is_object() {
        asked.media.push(base64(text(inline, "data")));
    }
    let file = any(part, &["fileData", "file_data"]);
    if file.is_object() {
        asked.media.push(any(file, &["fileUri", "file_uri"]).as_str().unwrap_or_default().to_owned());
    }
}
