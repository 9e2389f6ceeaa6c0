//! Tools and the choice among them, for Anthropic.
//! Owns: their spelling, and what becomes of tools that Anthropic does not have. Must not: reorder them.
//! Read next: `messages_out.rs`.

use crate::custom;
use crate::dialect::Dialect;
use crate::json::{List, Members, Raw, Text, string};
use crate::model::{
    Function, HostedTool, Reading, Refused, Request, Target, Tool, ToolChoice, ToolKind, flat_name,
};

use super::words::write_cache_mark;

pub(super) fn write(
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let mut any = false;
    let mut list = None;
    for tool in &request.tools {
        if !offered(request, tool) {
            continue;
        }
        let web_search = match &tool.kind {
            ToolKind::Function(_) | ToolKind::Custom { .. } => false,
            ToolKind::Hosted(hosted) if !keep(hosted, tool, request, target, reading)? => continue,
            ToolKind::Hosted(_) => true,
        };
        any = true;
        let list = list.get_or_insert_with(|| {
            body.key(out, "tools");
            List::open(out)
        });
        list.next(out);
        if web_search {
            out.extend_from_slice(br#"{"type":"web_search_20250305","name":"web_search"}"#);
        } else {
            write_tool(tool, target, reading, out);
        }
    }
    if let Some(list) = list {
        list.close(out);
    }
    if any { write_choice(request, reading, body, out) } else { Ok(()) }
}

/// Where only some tools are allowed, the others are left out.
fn offered(request: &Request<'_>, tool: &Tool<'_>) -> bool {
    let Some(ToolChoice::Allowed { names, .. }) = request.tool_choice.as_ref().map(|choice| &choice.value)
    else {
        return true;
    };
    match &tool.kind {
        ToolKind::Function(function) | ToolKind::Custom { function, .. } => names.contains(&function.name),
        ToolKind::Hosted(_) => false,
    }
}

fn keep(
    hosted: &HostedTool<'_>,
    tool: &Tool<'_>,
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
) -> Result<bool, Refused> {
    if hosted.is_web_search && target.map_web_search {
        reading.approximated(tool.at, "web-search");
        return Ok(true);
    }
    let choice = request.tool_choice.as_ref().map(|choice| &choice.value);
    let only = request.tools.len() == 1 && matches!(choice, Some(ToolChoice::Required));
    if only || hosted.by_client || matches!(choice, Some(ToolChoice::Hosted(_))) {
        return Err(reading.unsupported(tool.at, "the target does not have this tool"));
    }
    reading.dropped(tool.at);
    Ok(false)
}

fn write_tool(tool: &Tool<'_>, target: &Target, reading: &mut Reading<'_, '_>, out: &mut Vec<u8>) {
    let mut members = Members::open(out);
    match &tool.kind {
        ToolKind::Function(function) => {
            write_named(function, &mut members, out);
            members.key(out, "input_schema");
            let none = Raw::written(r#"{"type":"object","properties":{}}"#);
            function.schema.as_ref().unwrap_or(&none).write(out);
            if function.strict == Some(true) {
                members.truth(out, "strict", true);
            }
        }
        ToolKind::Custom { function, format } => {
            reading.approximated(tool.at, "function");
            write_named(function, &mut members, out);
            members.raw(out, "input_schema", &custom::schema(format.as_ref()));
        }
        ToolKind::Hosted(_) => {}
    }
    if let Some(mark) = tool.cache.filter(|_| target.capabilities.cache_marks) {
        write_cache_mark(mark, &mut members, out);
    }
    members.close(out);
}

fn write_named(function: &Function<'_>, members: &mut Members, out: &mut Vec<u8>) {
    members.key(out, "name");
    write_name(function.namespace.as_ref(), &function.name, out);
    if let Some(description) = &function.description {
        members.text(out, "description", description);
    }
}

/// A tool's name, as it is called in definitions, history and choice alike.
pub(super) fn write_name(namespace: Option<&Text<'_>>, name: &Text<'_>, out: &mut Vec<u8>) {
    let namespace = namespace.map(|namespace| namespace.plain().into_owned());
    string(out, &flat_name(Dialect::Anthropic, namespace.as_deref(), &name.plain()));
}

fn write_choice(
    request: &Request<'_>,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let alone = request.parallel_tools.is_some_and(|parallel| !parallel.value);
    let kind = match request.tool_choice.as_ref().map(|choice| (&choice.value, choice.at)) {
        None if alone => "auto",
        None => return Ok(()),
        Some((ToolChoice::Auto, _)) => "auto",
        Some((ToolChoice::None, _)) => "none",
        Some((ToolChoice::Required, _)) => "any",
        Some((ToolChoice::Named { .. }, _)) => "tool",
        Some((ToolChoice::Allowed { required, .. }, at)) => {
            reading.approximated(at, "filtered");
            if *required { "any" } else { "auto" }
        }
        Some((ToolChoice::Hosted(_), at)) => {
            return Err(reading.unsupported(at, "the target does not have the tool that must be called"));
        }
    };
    body.key(out, "tool_choice");
    let mut members = Members::open(out);
    members.key(out, "type");
    Text::written(kind).write(out);
    if let Some(ToolChoice::Named { name, .. }) = request.tool_choice.as_ref().map(|choice| &choice.value) {
        members.key(out, "name");
        write_name(None, name, out);
    }
    if alone && kind != "none" {
        members.truth(out, "disable_parallel_tool_use", true);
    }
    members.close(out);
    Ok(())
}
