//! Anthropic's system text and messages into instructions and turns.
//! Owns: the blocks, and the line about billing that Claude Code puts in front. Must not: join texts.
//! Read next: `tools_in.rs`.

use super::request_in::mark;
use crate::bounds::{ITEM_PARTS_MAX, REQUEST_ITEMS_MAX};
use crate::data_url;
use crate::json::{Kind, Raw, Text, Value};
use crate::model::{
    Args, Content, Document, DocumentSource, Image, ImageSource, Opaque, Origin, Part, Reading,
    ReasoningPart, Refused, Request, Role, SealKind, ServerItem, ToolCall, ToolResult, Turn,
};

/// Changes with every request, so with it no cache of prompts ever hits. It means nothing to another provider.
const BILLING: &str = "x-anthropic-billing-header";

pub(super) fn system<'a>(
    request: &mut Request<'a>,
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    if let Some(text) = value.text() {
        let text = without_billing(text);
        if !text.is_empty() {
            request.system.push(Part::new(Content::text(text), value.place()));
        }
        return Ok(());
    }
    for block in reading.elements(value, ITEM_PARTS_MAX)? {
        let text = reading.wanted_text(block, "text")?;
        if text.as_written().starts_with(BILLING) {
            continue;
        }
        for entry in reading.fields(block)? {
            if !["type", "text", "cache_control", "citations"].iter().any(|key| entry.is(key)) {
                reading.unknown(&entry);
            }
        }
        let content = Content::text(text);
        request.system.push(Part { content, cache: mark(block), at: block.place() });
    }
    Ok(())
}

fn without_billing(text: Text<'_>) -> Text<'_> {
    if !text.as_written().starts_with(BILLING) {
        return text;
    }
    let rest = text.as_written().split_once("\\n").map_or("", |(_, rest)| rest);
    Text::owned(rest.trim_start_matches("\\n").to_owned())
}

pub(super) fn read<'a>(
    request: &mut Request<'a>,
    messages: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    for message in reading.elements(messages, REQUEST_ITEMS_MAX)? {
        let mut content = None;
        for entry in reading.fields(message)? {
            match &*entry.plain() {
                "role" => {}
                "content" => content = Some(entry.value),
                // What clients echo of an answer, and no model reads.
                "id" | "type" | "model" | "stop_reason" | "stop_sequence" | "usage" => {}
                _ => reading.unknown(&entry),
            }
        }
        let role = match &*reading.wanted_text(message, "role")?.plain() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => return Err(reading.refused(message.place(), "role must be user, assistant or system")),
        };
        let parts = blocks(content, reading)?;
        request.turns.push(Turn { role, name: None, parts, at: message.place() });
    }
    Ok(())
}

/// A text or an array of blocks. State that belongs to the next call is put there.
fn blocks<'a>(content: Option<Value<'a>>, reading: &mut Reading<'_, 'a>) -> Result<Vec<Part<'a>>, Refused> {
    let Some(content) = content else { return Ok(Vec::new()) };
    if let Some(text) = content.text() {
        let part = Part::new(Content::text(text.clone()), content.place());
        return Ok(if text.is_empty() { Vec::new() } else { vec![part] });
    }
    let mut parts: Vec<Part<'a>> = Vec::new();
    let mut waiting: Option<Opaque<'a>> = None;
    for value in reading.elements(content, ITEM_PARTS_MAX)? {
        let mut content = block(value, reading)?;
        match &mut content {
            Content::Signature(opaque) if opaque.kind == SealKind::NextTool => {
                waiting = Some(opaque.clone());
                continue;
            }
            Content::ToolCall(call) => call.opaque = waiting.take(),
            Content::Text { text, .. } if text.is_empty() => continue,
            _ => {}
        }
        parts.push(Part { content, cache: mark(value), at: value.place() });
    }
    Ok(parts)
}

fn block<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Content<'a>, Refused> {
    let kind = reading.wanted_text(value, "type")?;
    reading.unique(value)?;
    let text = |reading: &Reading<'_, 'a>, key| reading.wanted_text(value, key);
    Ok(match &*kind.plain() {
        "text" => {
            let citations = value.get("citations").and_then(|all| all.elements()).into_iter().flatten();
            let citations = citations.map(|one| one.raw()).collect();
            Content::Text { text: text(reading, "text")?, citations }
        }
        "image" => Content::Image(Image { source: image_source(value, reading)?, detail: None }),
        "document" => Content::Document(document(value, reading)?),
        "search_result" => Content::Document(search_result(value, reading)?),
        "thinking" => thought(vec![text(reading, "thinking")?], value.get_text("signature")),
        "redacted_thinking" => redacted(&text(reading, "data")?),
        "tool_use" => {
            let (id, name) = (text(reading, "id")?, text(reading, "name")?);
            let input = value.get("input").map(|input| reading.object(input)).transpose()?;
            let args = Args::Object(input.unwrap_or(Raw::written("{}")));
            Content::ToolCall(ToolCall { id, name, namespace: None, args, opaque: None })
        }
        "tool_result" => Content::ToolResult(tool_result(value, reading)?),
        // A provider's own tools at work; no other can read them back.
        "server_tool_use" | "mcp_tool_use" | "mcp_tool_result" | "container_upload" | "compaction" => {
            Content::Server(ServerItem { provider: Origin::Anthropic, raw: value.raw() })
        }
        other if other.ends_with("_tool_result") => {
            Content::Server(ServerItem { provider: Origin::Anthropic, raw: value.raw() })
        }
        _ => return Err(reading.refused(value.place(), "no such type of content block is known here")),
    })
}

fn thought<'a>(mut text: Vec<Text<'a>>, signature: Option<Text<'a>>) -> Content<'a> {
    text.retain(|text| !text.is_empty());
    let opaque = signature.and_then(|signature| Opaque::unseal(&signature.plain()));
    let is_raw = opaque.as_ref().is_some_and(|opaque| opaque.origin == Origin::Chat);
    Content::Reasoning(ReasoningPart { text, is_raw, id: None, opaque })
}

fn redacted<'a>(data: &Text<'a>) -> Content<'a> {
    match Opaque::unseal(&data.plain()) {
        Some(opaque) if matches!(opaque.kind, SealKind::NextTool | SealKind::Previous) => {
            Content::Signature(opaque)
        }
        opaque => Content::Reasoning(ReasoningPart { opaque, ..ReasoningPart::default() }),
    }
}

fn image_source<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<ImageSource<'a>, Refused> {
    let source = value.get("source").ok_or_else(|| reading.refused(value.place(), "wants `source`"))?;
    reading.unique(source)?;
    match &*reading.wanted_text(source, "type")?.plain() {
        "base64" => Ok(ImageSource::Base64 {
            mime: reading.wanted_text(source, "media_type")?,
            data: data_url::standard(reading.wanted_text(source, "data")?),
        }),
        "url" => Ok(ImageSource::Url { url: reading.wanted_text(source, "url")?, mime: None }),
        "file" => {
            Ok(ImageSource::File { provider: Origin::Anthropic, id: reading.wanted_text(source, "file_id")? })
        }
        _ => Err(reading.refused(source.place(), "type must be base64, url or file")),
    }
}

fn document<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Document<'a>, Refused> {
    let source = value.get("source").ok_or_else(|| reading.refused(value.place(), "wants `source`"))?;
    reading.unique(source)?;
    let text = |key| reading.wanted_text(source, key);
    let source = match &*text("type")?.plain() {
        "base64" => {
            DocumentSource::Base64 { mime: text("media_type")?, data: data_url::standard(text("data")?) }
        }
        "text" => DocumentSource::Text(text("data")?),
        "url" => DocumentSource::Url(text("url")?),
        "file" => DocumentSource::File { provider: Origin::Anthropic, id: text("file_id")? },
        "content" => DocumentSource::Parts(blocks(source.get("content"), reading)?),
        _ => return Err(reading.refused(source.place(), "type must be base64, text, url, file or content")),
    };
    let citations = value.get("citations").and_then(|citations| citations.get("enabled")?.truth());
    Ok(Document { source, title: value.get_text("title"), context: value.get_text("context"), citations })
}

fn search_result<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Document<'a>, Refused> {
    let parts = blocks(value.get("content"), reading)?;
    let citations = value.get("citations").and_then(|citations| citations.get("enabled")?.truth());
    Ok(Document {
        source: DocumentSource::Parts(parts),
        title: value.get_text("title"),
        context: value.get_text("source"),
        citations,
    })
}

fn tool_result<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<ToolResult<'a>, Refused> {
    let call_id = reading.wanted_text(value, "tool_use_id")?;
    let is_error = value.get("is_error").map(|flag| reading.truth(flag)).transpose()?;
    let mut content = blocks(value.get("content").filter(|content| content.kind() != Kind::Null), reading)?;
    for part in &content {
        if !matches!(part.content, Content::Text { .. } | Content::Image(_) | Content::Document(_)) {
            return Err(reading.unsupported(part.at, "a result is text, pictures and documents"));
        }
    }
    content.iter_mut().for_each(|part| part.cache = None); // a mark inside a result is a 400 where it counts
    Ok(ToolResult { call_id, name: None, is_error, content, object: None })
}
