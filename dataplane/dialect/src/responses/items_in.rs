//! The items of Responses into instructions and turns.
//!
//! What the model says, thinks and calls between two items of the caller's is one turn; results of tools and the message
//! right behind them are another.
//! Owns: which items make one turn, and the parts of a message. Must not: move a later instruction to the front.
//! Read next: `tools_in.rs`.

use super::tools_in;
use crate::bounds::{ITEM_PARTS_MAX, REQUEST_ITEMS_MAX};
use crate::data_url;
use crate::json::{Kind, Place, Raw, Text, Value};
use crate::model::{
    Args, Audio, CacheMark, Content, Document, DocumentSource, Image, ImageSource, Opaque, Origin, Part,
    Reading, Realm, ReasoningPart, Refused, Request, Role, SealKind, ToolCall, ToolResult, Turn,
};

/// `instructions`: a text, or items.
pub(super) fn instructions<'a>(
    request: &mut Request<'a>,
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    if let Some(text) = value.text() {
        request.system.push(Part::new(Content::text(text), value.place()));
        return Ok(());
    }
    for item in reading.elements(value, REQUEST_ITEMS_MAX)? {
        let parts = content(item.get("content"), reading)?;
        if let Some(part) = parts.iter().find(|part| !matches!(part.content, Content::Text { .. })) {
            return Err(reading.refused(part.at, "instructions are text"));
        }
        request.system.extend(parts);
    }
    Ok(())
}

/// `input`: a text, or items.
pub(super) fn read<'a>(
    request: &mut Request<'a>,
    input: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    if let Some(text) = input.text() {
        let parts = vec![Part::new(Content::text(text), input.place())];
        request.turns.push(Turn { role: Role::User, name: None, parts, at: input.place() });
        return Ok(());
    }
    let mut history = History { leading: true, after_results: false };
    for item in reading.elements(input, REQUEST_ITEMS_MAX)? {
        history.item(request, item, reading)?;
    }
    Ok(())
}

/// What the items so far mean for the next.
struct History {
    /// Only instructions so far.
    leading: bool,
    /// The last turn holds results of tools and nothing else.
    after_results: bool,
}

impl History {
    fn item<'a>(
        &mut self,
        request: &mut Request<'a>,
        item: Value<'a>,
        reading: &mut Reading<'_, 'a>,
    ) -> Result<(), Refused> {
        let kind = item.get_text("type").unwrap_or(Text::written("message"));
        reading.unique(item)?;
        let at = item.place();
        match &*kind.plain() {
            "message" => return self.message(request, item, reading),
            "reasoning" => self.model(request, thought(item, reading)?, at),
            "function_call" => self.model(request, call(item, "arguments", reading)?, at),
            "custom_tool_call" => self.model(request, call(item, "input", reading)?, at),
            "function_call_output" | "custom_tool_call_output" | "tool_search_output" => {
                self.result(request, result(item, reading)?, at);
            }
            "tool_search_call" => self.model(request, action(item, "arguments", "tool_search", reading)?, at),
            "local_shell_call" | "shell_call" | "apply_patch_call" => {
                reading.approximated(at, "function");
                let name = kind.plain().trim_end_matches("_call").to_owned();
                let key = if name == "apply_patch" { "operation" } else { "action" };
                self.model(request, action(item, key, &name, reading)?, at);
            }
            "local_shell_call_output" | "shell_call_output" | "apply_patch_call_output" => {
                reading.approximated(at, "function");
                self.result(request, result(item, reading)?, at);
            }
            "additional_tools" => {
                reading.noted(at, "tools");
                if let Some(tools) = item.get("tools") {
                    tools_in::tools(request, tools, reading)?;
                }
            }
            word if LOST.contains(&word) || word.starts_with("program") => reading.dropped(at),
            word if KEPT.contains(&word) || word.starts_with("computer_call") => {
                let message = "the target cannot read this item; leave it out, or send what it stands for";
                return Err(reading.unsupported(at, message));
            }
            _ => return Err(reading.refused(at, "no such type of item is known here")),
        }
        Ok(())
    }

    fn message<'a>(
        &mut self,
        request: &mut Request<'a>,
        item: Value<'a>,
        reading: &mut Reading<'_, 'a>,
    ) -> Result<(), Refused> {
        for entry in reading.fields(item)? {
            match &*entry.plain() {
                // Ids, statuses and phases are the provider's book-keeping.
                "type" | "role" | "content" | "id" | "status" | "phase" => {}
                _ => reading.unknown(&entry),
            }
        }
        let parts = content(item.get("content"), reading)?;
        let at = item.place();
        match &*reading.wanted_text(item, "role")?.plain() {
            "system" | "developer" => {
                if let Some(part) = parts.iter().find(|part| !matches!(part.content, Content::Text { .. })) {
                    return Err(reading.refused(part.at, "instructions are text"));
                }
                if self.leading {
                    request.system.extend(parts);
                } else {
                    self.after_results = false;
                    request.turns.push(Turn { role: Role::System, name: None, parts, at });
                }
            }
            "user" => self.user(request, parts, at),
            "assistant" => parts.into_iter().for_each(|part| self.model(request, part, at)),
            _ => return Err(reading.refused(at, "role must be system, developer, user or assistant")),
        }
        Ok(())
    }

    /// A message right behind results of tools belongs to their turn.
    fn user<'a>(&mut self, request: &mut Request<'a>, parts: Vec<Part<'a>>, at: Place) {
        self.leading = false;
        match request.turns.last_mut() {
            Some(turn) if self.after_results => turn.parts.extend(parts),
            Some(_) | None => request.turns.push(Turn { role: Role::User, name: None, parts, at }),
        }
        self.after_results = false;
    }

    fn model<'a>(&mut self, request: &mut Request<'a>, part: Part<'a>, at: Place) {
        self.leading = false;
        self.after_results = false;
        match request.turns.last_mut() {
            Some(turn) if turn.role == Role::Assistant => turn.parts.push(part),
            Some(_) | None => {
                request.turns.push(Turn { role: Role::Assistant, name: None, parts: vec![part], at });
            }
        }
    }

    fn result<'a>(&mut self, request: &mut Request<'a>, part: Part<'a>, at: Place) {
        self.leading = false;
        match request.turns.last_mut() {
            Some(turn) if self.after_results => turn.parts.push(part),
            Some(_) | None => {
                request.turns.push(Turn { role: Role::User, name: None, parts: vec![part], at });
            }
        }
        self.after_results = true;
    }
}

/// What a provider's own tools did: no other model reads it.
const LOST: [&str; 7] = [
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_call",
    "mcp_list_tools",
    "configuration_update",
];

/// What stands for something that only the provider has.
const KEPT: [&str; 5] =
    ["item_reference", "compaction", "compaction_trigger", "mcp_approval_request", "mcp_approval_response"];

fn thought<'a>(item: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Part<'a>, Refused> {
    let mut thought = ReasoningPart { id: item.get_text("id"), ..ReasoningPart::default() };
    for entry in reading.fields(item)?.filter(|entry| !entry.value.is_null()) {
        match &*entry.plain() {
            "type" | "id" | "status" => {}
            "summary" | "content" => {
                for part in reading.elements(entry.value, ITEM_PARTS_MAX)? {
                    thought.is_raw |= entry.is("content");
                    thought.text.extend(part.get_text("text"));
                }
            }
            "encrypted_content" => thought.opaque = Some(opened(reading.text(entry.value)?)),
            _ => reading.unknown(&entry),
        }
    }
    Ok(Part::new(Content::Reasoning(thought), item.place()))
}

/// A seal of ours, or a state that came straight from OpenAI.
fn opened(sealed: Text<'_>) -> Opaque<'_> {
    Opaque::unseal(&sealed.plain()).unwrap_or(Opaque {
        origin: Origin::Responses,
        kind: SealKind::Redacted,
        realm: Realm::NONE,
        payload: sealed,
    })
}

fn call<'a>(item: Value<'a>, key: &str, reading: &mut Reading<'_, 'a>) -> Result<Part<'a>, Refused> {
    let custom = key == "input";
    let mut given = Text::EMPTY;
    for entry in reading.fields(item)?.filter(|entry| !entry.value.is_null()) {
        match &*entry.plain() {
            "type" | "id" | "status" | "call_id" | "name" | "namespace" => {}
            word if word == key => given = reading.text(entry.value)?,
            _ => reading.unknown(&entry),
        }
    }
    let call = ToolCall {
        id: reading.wanted_text(item, "call_id")?,
        name: reading.wanted_text(item, "name")?,
        namespace: item.get_text("namespace"),
        args: if custom { Args::Free(given) } else { Args::Text(given) },
        opaque: None,
    };
    Ok(Part::new(Content::ToolCall(call), item.place()))
}

/// A call of a tool that only this dialect has, as a function of its name.
fn action<'a>(
    item: Value<'a>,
    key: &str,
    name: &str,
    reading: &Reading<'_, 'a>,
) -> Result<Part<'a>, Refused> {
    let id = match item.get_text("call_id") {
        Some(id) => id,
        None => reading.wanted_text(item, "id")?,
    };
    let args = match item.get(key) {
        Some(value) if value.kind() == Kind::Object => Args::Object(value.raw()),
        Some(value) => Args::Text(reading.text(value)?),
        None => Args::Object(Raw::written("{}")),
    };
    let name = Text::of(name).into_owned();
    let call = ToolCall { id, name, namespace: None, args, opaque: None };
    Ok(Part::new(Content::ToolCall(call), item.place()))
}

fn result<'a>(item: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Part<'a>, Refused> {
    let call_id = match item.get_text("call_id") {
        Some(id) => id,
        None => reading.wanted_text(item, "id")?,
    };
    let mut said = Vec::new();
    for entry in reading.fields(item)?.filter(|entry| !entry.value.is_null()) {
        match &*entry.plain() {
            "type" | "id" | "status" | "call_id" | "name" | "namespace" | "execution"
            | "max_output_length" => {}
            "output" => said = output(entry.value, reading)?,
            "tools" => {
                said = vec![Part::new(Content::text(entry.value.raw().to_text()), entry.value.place())];
            }
            _ => reading.unknown(&entry),
        }
    }
    let result = ToolResult { call_id, name: None, is_error: None, content: said, object: None };
    Ok(Part::new(Content::ToolResult(result), item.place()))
}

/// A text or parts; what a provider's own tool would read otherwise stays as it is written.
fn output<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Vec<Part<'a>>, Refused> {
    let parts = value.elements().is_some_and(|mut elements| {
        elements.all(|part| part.get_text("type").is_some_and(|kind| kind.plain().starts_with("input_")))
    });
    if value.text().is_some() || parts {
        return content(Some(value), reading);
    }
    Ok(vec![Part::new(Content::text(value.raw().to_text()), value.place())])
}

/// A message's content: nothing, a text, or parts.
fn content<'a>(value: Option<Value<'a>>, reading: &mut Reading<'_, 'a>) -> Result<Vec<Part<'a>>, Refused> {
    let Some(value) = value else { return Ok(Vec::new()) };
    if let Some(text) = value.text() {
        let part = Part::new(Content::text(text.clone()), value.place());
        return Ok(if text.is_empty() { Vec::new() } else { vec![part] });
    }
    let mut all = Vec::new();
    for element in reading.elements(value, ITEM_PARTS_MAX)? {
        all.push(part(element, reading)?);
    }
    Ok(all)
}

fn part<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Part<'a>, Refused> {
    reading.unique(value)?;
    let kind = reading.wanted_text(value, "type")?;
    let content = match &*kind.plain() {
        "input_text" | "output_text" | "text" | "summary_text" => {
            known(value, &["text", "annotations", "logprobs"], reading);
            Content::text(reading.wanted_text(value, "text")?)
        }
        "refusal" => {
            known(value, &["refusal"], reading);
            Content::Refusal(reading.wanted_text(value, "refusal")?)
        }
        "input_image" => {
            known(value, &["image_url", "file_id", "detail"], reading);
            Content::Image(image(value, reading)?)
        }
        "input_file" => {
            known(value, &["file_data", "file_id", "file_url", "filename", "detail"], reading);
            Content::Document(file(value, reading)?)
        }
        "input_audio" => {
            known(value, &["input_audio"], reading);
            Content::Audio(audio(value, reading)?)
        }
        _ => return Err(reading.refused(value.place(), "no such type of content part is known here")),
    };
    let cache = value.get("prompt_cache_breakpoint").map(|mark| match mark.get_text("ttl") {
        Some(ttl) if ttl.is("12h") => CacheMark::Long,
        Some(_) => CacheMark::Short,
        None => CacheMark::Default,
    });
    Ok(Part { content, cache, at: value.place() })
}

fn known<'a>(value: Value<'a>, keys: &[&str], reading: &mut Reading<'_, 'a>) {
    for entry in value.fields().into_iter().flatten() {
        let plain = entry.plain();
        if !matches!(&*plain, "type" | "prompt_cache_breakpoint") && !keys.contains(&&*plain) {
            reading.unknown(&entry);
        }
    }
}

fn image<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<Image<'a>, Refused> {
    let detail = value.get_text("detail");
    if let Some(id) = value.get_text("file_id") {
        return Ok(Image { source: ImageSource::File { provider: Origin::Responses, id }, detail });
    }
    let url = reading.wanted_text(value, "image_url")?;
    let source = match data_url::parse(&url) {
        Some((mime, data)) => ImageSource::Base64 { mime, data: data_url::standard(data) },
        None => ImageSource::Url { url, mime: None },
    };
    Ok(Image { source, detail })
}

fn file<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<Document<'a>, Refused> {
    let title = value.get_text("filename");
    let source = if let Some(data) = value.get_text("file_data") {
        let (mime, data) = data_url::parse(&data)
            .unwrap_or_else(|| (Text::written(data_url::sniffed(data.as_written())), data.clone()));
        DocumentSource::Base64 { mime, data: data_url::standard(data) }
    } else if let Some(url) = value.get_text("file_url") {
        DocumentSource::Url(url)
    } else if let Some(id) = value.get_text("file_id") {
        DocumentSource::File { provider: Origin::Responses, id }
    } else {
        return Err(reading.refused(value.place(), "wants `file_data`, `file_url` or `file_id`"));
    };
    Ok(Document { source, title, context: None, citations: None })
}

fn audio<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<Audio<'a>, Refused> {
    let inner =
        value.get("input_audio").ok_or_else(|| reading.refused(value.place(), "wants `input_audio`"))?;
    let data = data_url::standard(reading.wanted_text(inner, "data")?);
    let mime = match &*reading.wanted_text(inner, "format")?.plain() {
        "wav" => Text::written("audio/wav"),
        "mp3" => Text::written("audio/mpeg"),
        other => Text::of(&format!("audio/{other}")).into_owned(),
    };
    Ok(Audio { mime, data })
}
