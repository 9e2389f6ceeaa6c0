//! Tools and the choice among them, from Responses.
//! Owns: groups of tools, whose members keep the group's name, and tools that only this dialect has.
//! Must not: look into a schema.
//! Read next: `items_in.rs`.

use crate::bounds::REQUEST_TOOLS_MAX;
use crate::json::{Kind, Raw, Text, Value};
use crate::model::{
    CustomFormat, Function, HostedTool, Origin, Reading, Refused, Request, Tool, ToolChoice, ToolKind,
};

pub(super) fn tools<'a>(
    request: &mut Request<'a>,
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    for tool in reading.elements(value, REQUEST_TOOLS_MAX)? {
        one(request, tool, None, reading)?;
    }
    Ok(())
}

/// A group's name, and what it says of itself.
#[derive(Clone)]
struct Group<'a> {
    name: Text<'a>,
    description: Option<Text<'a>>,
}

fn one<'a>(
    request: &mut Request<'a>,
    tool: Value<'a>,
    group: Option<&Group<'a>>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    let kind = reading.wanted_text(tool, "type")?;
    let kind = match &*kind.plain() {
        "function" => ToolKind::Function(function(tool, group, reading)?),
        "custom" => custom(tool, group, reading)?,
        "namespace" if group.is_none() => return namespace(request, tool, reading),
        "tool_search" if tool.get_text("execution").is_some_and(|word| word.is("client")) => {
            ToolKind::Function(tool_search(tool, reading)?)
        }
        word => {
            let is_web_search = word.starts_with("web_search");
            let by_client = matches!(word, "computer_use_preview" | "computer");
            if !is_web_search && !by_client && !HOSTED.contains(&word) {
                return Err(reading.refused(tool.place(), "no such type of tool is known here"));
            }
            ToolKind::Hosted(HostedTool {
                provider: Origin::Responses,
                is_web_search,
                by_client,
                raw: tool.raw(),
            })
        }
    };
    if request.tools.len() == REQUEST_TOOLS_MAX {
        return Err(reading.refused(tool.place(), format!("more than {REQUEST_TOOLS_MAX} tools")));
    }
    request.tools.push(Tool { kind, cache: None, at: tool.place() });
    Ok(())
}

const HOSTED: [&str; 10] = [
    "file_search",
    "code_interpreter",
    "image_generation",
    "mcp",
    "shell",
    "local_shell",
    "apply_patch",
    "tool_search",
    "programmatic_tool_calling",
    "memory",
];

fn namespace<'a>(
    request: &mut Request<'a>,
    tool: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    let group = Group { name: reading.wanted_text(tool, "name")?, description: tool.get_text("description") };
    let Some(members) = tool.get("tools") else { return Ok(()) };
    for member in reading.elements(members, REQUEST_TOOLS_MAX)? {
        one(request, member, Some(&group), reading)?;
    }
    Ok(())
}

fn function<'a>(
    value: Value<'a>,
    group: Option<&Group<'a>>,
    reading: &mut Reading<'_, 'a>,
) -> Result<Function<'a>, Refused> {
    let mut function = Function { name: reading.wanted_text(value, "name")?, ..Function::default() };
    for entry in reading.fields(value)?.filter(|entry| !entry.value.is_null()) {
        match &*entry.plain() {
            "type" | "name" => {}
            "description" => function.description = Some(reading.text(entry.value)?),
            "parameters" => function.schema = Some(reading.object(entry.value)?),
            "strict" => function.strict = Some(reading.truth(entry.value)?),
            "defer_loading" if entry.value.truth() == Some(true) => {
                reading.approximated(entry.value.place(), "loaded");
            }
            "defer_loading" | "async" if entry.value.truth() == Some(false) => {}
            _ => reading.unknown(&entry),
        }
    }
    put_in(&mut function, group);
    Ok(function)
}

/// A group's description goes in front of each member's.
fn put_in<'a>(function: &mut Function<'a>, group: Option<&Group<'a>>) {
    let Some(group) = group else { return };
    function.namespace = Some(group.name.clone());
    if let Some(about) = &group.description {
        let own = function.description.as_ref().map_or("", Text::as_written);
        let both = format!("{}: {}\\n{own}", group.name.as_written(), about.as_written());
        function.description = Some(Text::owned(both));
    }
}

fn custom<'a>(
    value: Value<'a>,
    group: Option<&Group<'a>>,
    reading: &mut Reading<'_, 'a>,
) -> Result<ToolKind<'a>, Refused> {
    let mut function = Function { name: reading.wanted_text(value, "name")?, ..Function::default() };
    let mut format = None;
    for entry in reading.fields(value)?.filter(|entry| !entry.value.is_null()) {
        match &*entry.plain() {
            "type" | "name" => {}
            "description" => function.description = Some(reading.text(entry.value)?),
            "format" => format = custom_format(entry.value, reading)?,
            _ => reading.unknown(&entry),
        }
    }
    put_in(&mut function, group);
    Ok(ToolKind::Custom { function, format })
}

fn custom_format<'a>(
    value: Value<'a>,
    reading: &Reading<'_, 'a>,
) -> Result<Option<CustomFormat<'a>>, Refused> {
    if !reading.wanted_text(value, "type")?.is("grammar") {
        return Ok(None); // text: any
    }
    let syntax = reading.wanted_text(value, "syntax")?;
    let definition = reading.wanted_text(value, "definition")?;
    Ok(Some(CustomFormat { syntax, definition }))
}

/// A search among tools that the caller does itself is a function like any other.
fn tool_search<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<Function<'a>, Refused> {
    let schema = value.get("parameters").map(|schema| reading.object(schema)).transpose()?;
    Ok(Function {
        name: Text::written("tool_search"),
        description: value.get_text("description"),
        schema: schema.or(Some(Raw::written(r#"{"type":"object","properties":{}}"#))),
        ..Function::default()
    })
}

pub(super) fn choice<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<ToolChoice<'a>, Refused> {
    if value.kind() == Kind::String {
        return match &*reading.text(value)?.plain() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" | "any" => Ok(ToolChoice::Required),
            _ => Err(reading.refused(value.place(), "must be auto, none, required or an object")),
        };
    }
    match &*reading.wanted_text(value, "type")?.plain() {
        "function" => Ok(ToolChoice::Named { name: reading.wanted_text(value, "name")?, custom: false }),
        "custom" => Ok(ToolChoice::Named { name: reading.wanted_text(value, "name")?, custom: true }),
        "allowed_tools" => {
            let required = value.get_text("mode").is_some_and(|mode| mode.is("required"));
            let tools = value.get("tools").ok_or_else(|| reading.refused(value.place(), "wants `tools`"))?;
            let named = reading.elements(tools, REQUEST_TOOLS_MAX)?.filter(|tool| tool.get("name").is_some());
            let names = named.map(|tool| reading.wanted_text(tool, "name")).collect::<Result<_, _>>()?;
            Ok(ToolChoice::Allowed { required, names })
        }
        _ => Ok(ToolChoice::Hosted(value.raw())),
    }
}
