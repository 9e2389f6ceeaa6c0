//! Tools and the choice among them, from Anthropic.
//! Owns: their spelling, and telling tools of the caller's from the provider's. Must not: look into a schema.
//! Read next: `messages_in.rs`.

use super::request_in::mark;
use crate::bounds::REQUEST_TOOLS_MAX;
use crate::json::{Text, Value};
use crate::model::{Function, HostedTool, Origin, Reading, Refused, Request, Tool, ToolChoice, ToolKind};

pub(super) fn tools<'a>(
    request: &mut Request<'a>,
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    for tool in reading.elements(value, REQUEST_TOOLS_MAX)? {
        let kind = match tool.get_text("type") {
            Some(kind) if !kind.is("custom") => hosted(&kind, tool, reading)?,
            Some(_) | None => ToolKind::Function(function(tool, reading)?),
        };
        request.tools.push(Tool { kind, cache: mark(tool), at: tool.place() });
    }
    Ok(())
}

fn function<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Function<'a>, Refused> {
    let mut function = Function { name: reading.wanted_text(value, "name")?, ..Function::default() };
    for entry in reading.fields(value)?.filter(|entry| !entry.value.is_null()) {
        match &*entry.plain() {
            "name" | "type" | "cache_control" => {}
            "description" => function.description = Some(reading.text(entry.value)?),
            "input_schema" => function.schema = Some(reading.object(entry.value)?),
            "strict" => function.strict = Some(reading.truth(entry.value)?),
            _ => reading.unknown(&entry),
        }
    }
    Ok(function)
}

/// A tool whose schema only the provider knows. The first four are run by the caller.
fn hosted<'a>(kind: &Text<'a>, value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<ToolKind<'a>, Refused> {
    const BY_CLIENT: [&str; 4] = ["bash_", "text_editor_", "memory_", "computer_"];
    const BY_PROVIDER: [&str; 6] =
        ["web_search_", "web_fetch_", "code_execution_", "tool_search_tool_", "mcp_toolset", "advisor_"];
    let plain = kind.plain();
    let starts = |names: &[&str]| names.iter().any(|name| plain.starts_with(name));
    let by_client = starts(&BY_CLIENT);
    if !by_client && !starts(&BY_PROVIDER) {
        return Err(reading.refused(value.place(), "no such type of tool is known here"));
    }
    let is_web_search = plain.starts_with("web_search_");
    Ok(ToolKind::Hosted(HostedTool {
        provider: Origin::Anthropic,
        is_web_search,
        by_client,
        raw: value.raw(),
    }))
}

pub(super) fn choice<'a>(
    request: &mut Request<'a>,
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    let mut kind = Text::EMPTY;
    for entry in reading.fields(value)?.filter(|entry| !entry.value.is_null()) {
        match &*entry.plain() {
            "type" => kind = reading.text(entry.value)?,
            "name" => {}
            "disable_parallel_tool_use" => {
                let parallel = !reading.truth(entry.value)?;
                request.parallel_tools = Some(Reading::placed(parallel, entry.value));
            }
            _ => reading.unknown(&entry),
        }
    }
    let choice = match &*kind.plain() {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "any" => ToolChoice::Required,
        "tool" => ToolChoice::Named { name: reading.wanted_text(value, "name")?, custom: false },
        _ => return Err(reading.refused(value.place(), "type must be auto, any, tool or none")),
    };
    request.tool_choice = Some(Reading::placed(choice, value));
    Ok(())
}
