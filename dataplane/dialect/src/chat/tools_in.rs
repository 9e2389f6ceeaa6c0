//! Tools and the choice among them, from Chat Completions.
//! Owns: their two spellings, today's and the one before it. Must not: look into a schema.
//! Read next: `messages_in.rs`.

use crate::bounds::REQUEST_TOOLS_MAX;
use crate::json::{Kind, Value};
use crate::model::{
    CustomFormat, Function, HostedTool, Origin, Reading, Refused, Request, Tool, ToolChoice, ToolKind,
};

pub(super) fn tools<'a>(
    request: &mut Request<'a>,
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    for tool in reading.elements(value, REQUEST_TOOLS_MAX)? {
        let kind = reading.wanted_text(tool, "type")?;
        let mut inner = None;
        for entry in reading.fields(tool)? {
            if entry.is(&kind.plain()) {
                inner = Some(entry.value);
            } else if !entry.is("type") {
                reading.unknown(&entry);
            }
        }
        let wants = |what| reading.refused(tool.place(), format!("wants `{what}`"));
        let kind = match &*kind.plain() {
            "function" => ToolKind::Function(function(inner.ok_or_else(|| wants("function"))?, reading)?),
            "custom" => custom(inner.ok_or_else(|| wants("custom"))?, reading)?,
            _ => return Err(reading.refused(tool.place(), "must be of type function or custom")),
        };
        request.tools.push(Tool { kind, cache: None, at: tool.place() });
    }
    Ok(())
}

pub(super) fn legacy_functions<'a>(
    request: &mut Request<'a>,
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    for tool in reading.elements(value, REQUEST_TOOLS_MAX)? {
        let kind = ToolKind::Function(function(tool, reading)?);
        request.tools.push(Tool { kind, cache: None, at: tool.place() });
    }
    Ok(())
}

pub(super) fn web_search<'a>(request: &mut Request<'a>, value: Value<'a>) {
    let hosted =
        HostedTool { provider: Origin::Chat, is_web_search: true, by_client: false, raw: value.raw() };
    request.tools.push(Tool { kind: ToolKind::Hosted(hosted), cache: None, at: value.place() });
}

fn function<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Function<'a>, Refused> {
    let mut function = Function { name: reading.wanted_text(value, "name")?, ..Function::default() };
    for entry in reading.fields(value)?.filter(|entry| !entry.value.is_null()) {
        match &*entry.plain() {
            "name" => {}
            "description" => function.description = Some(reading.text(entry.value)?),
            "parameters" => function.schema = Some(reading.object(entry.value)?),
            "strict" => function.strict = Some(reading.truth(entry.value)?),
            _ => reading.unknown(&entry),
        }
    }
    Ok(function)
}

fn custom<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<ToolKind<'a>, Refused> {
    let mut function = Function { name: reading.wanted_text(value, "name")?, ..Function::default() };
    let mut format = None;
    for entry in reading.fields(value)?.filter(|entry| !entry.value.is_null()) {
        match &*entry.plain() {
            "name" => {}
            "description" => function.description = Some(reading.text(entry.value)?),
            "format" => format = custom_format(entry.value, reading)?,
            _ => reading.unknown(&entry),
        }
    }
    Ok(ToolKind::Custom { function, format })
}

fn custom_format<'a>(
    value: Value<'a>,
    reading: &Reading<'_, 'a>,
) -> Result<Option<CustomFormat<'a>>, Refused> {
    if !reading.wanted_text(value, "type")?.is("grammar") {
        return Ok(None); // text: any
    }
    let grammar = value.get("grammar").unwrap_or(value);
    let syntax = reading.wanted_text(grammar, "syntax")?;
    let definition = reading.wanted_text(grammar, "definition")?;
    Ok(Some(CustomFormat { syntax, definition }))
}

pub(super) fn choice<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<ToolChoice<'a>, Refused> {
    if value.kind() == Kind::String {
        return word(value, reading);
    }
    let kind = reading.wanted_text(value, "type")?;
    let inner = value.get(&kind.plain()).unwrap_or(value);
    match &*kind.plain() {
        "function" => Ok(ToolChoice::Named { name: reading.wanted_text(inner, "name")?, custom: false }),
        "custom" => Ok(ToolChoice::Named { name: reading.wanted_text(inner, "name")?, custom: true }),
        "allowed_tools" => allowed(inner, reading),
        _ => Err(reading.refused(value.place(), "must be of type function, custom or allowed_tools")),
    }
}

pub(super) fn legacy_choice<'a>(
    value: Value<'a>,
    reading: &Reading<'_, 'a>,
) -> Result<ToolChoice<'a>, Refused> {
    if value.kind() == Kind::String {
        return word(value, reading);
    }
    Ok(ToolChoice::Named { name: reading.wanted_text(value, "name")?, custom: false })
}

fn word<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<ToolChoice<'a>, Refused> {
    match &*reading.text(value)?.plain() {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" | "any" => Ok(ToolChoice::Required),
        _ => Err(reading.refused(value.place(), "must be auto, none, required or an object")),
    }
}

fn allowed<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<ToolChoice<'a>, Refused> {
    let required = value.get_text("mode").is_some_and(|mode| mode.is("required"));
    let tools = value.get("tools").ok_or_else(|| reading.refused(value.place(), "wants `tools`"))?;
    let names = reading.elements(tools, REQUEST_TOOLS_MAX)?.map(|tool| {
        let kind = tool.get_text("type").unwrap_or_default();
        reading.wanted_text(tool.get(&kind.plain()).unwrap_or(tool), "name")
    });
    Ok(ToolChoice::Allowed { required, names: names.collect::<Result<_, _>>()? })
}
