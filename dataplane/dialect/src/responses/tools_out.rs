//! Tools and the choice among them, for Responses.
//! Owns: their flat spelling. Must not: reorder them.
//! Read next: `items_out.rs`.

use crate::dialect::Dialect;
use crate::json::{List, Members, Raw, Text, string};
use crate::model::{
    Function, HostedTool, Origin, Reading, Refused, Request, Target, Tool, ToolChoice, ToolKind, flat_name,
};

pub(super) fn write(
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let mut inner = Vec::new();
    let mut list = List::open(&mut inner);
    for tool in &request.tools {
        let out = &mut inner;
        match &tool.kind {
            ToolKind::Function(function) => {
                list.next(out);
                write_function(function, out);
            }
            ToolKind::Custom { function, format } => {
                list.next(out);
                let mut members = open_named("custom", function, out);
                if let Some(format) = format {
                    members.key(out, "format");
                    let mut inner = Members::open(out);
                    inner.json(out, "type", "\"grammar\"");
                    inner.text(out, "definition", &format.definition);
                    inner.text(out, "syntax", &format.syntax);
                    inner.close(out);
                }
                members.close(out);
            }
            ToolKind::Hosted(hosted) => {
                if let Some(raw) = keep(hosted, tool, request, target, reading)? {
                    list.next(out);
                    raw.write(out);
                }
            }
        }
    }
    list.close(&mut inner);
    if inner == b"[]" {
        return Ok(());
    }
    body.key(out, "tools");
    out.extend_from_slice(&inner);
    write_choice(request, reading, body, out)?;
    if let Some(parallel) = request.parallel_tools {
        body.truth(out, "parallel_tool_calls", parallel.value);
    }
    Ok(())
}

/// A hosted tool as Responses has it; the others are lost or refused.
fn keep<'t>(
    hosted: &'t HostedTool<'_>,
    tool: &Tool<'_>,
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
) -> Result<Option<Raw<'t>>, Refused> {
    if hosted.provider == Origin::Responses {
        return Ok(Some(hosted.raw.lend()));
    }
    if hosted.by_client {
        return Err(reading.unsupported(tool.at, "only its provider's models know the schema of this tool"));
    }
    if hosted.is_web_search && target.map_web_search {
        reading.approximated(tool.at, "web-search");
        return Ok(Some(Raw::written(r#"{"type":"web_search"}"#)));
    }
    let choice = request.tool_choice.as_ref().map(|choice| &choice.value);
    let others = request.tools.iter().any(|tool| !matches!(tool.kind, ToolKind::Hosted(_)));
    if matches!(choice, Some(ToolChoice::Hosted(_)))
        || !others && matches!(choice, Some(ToolChoice::Required))
    {
        return Err(reading.unsupported(tool.at, "the target does not have this tool, and it must be called"));
    }
    reading.dropped(tool.at);
    Ok(None)
}

/// Strictness is said, since it is tried where it is not.
fn write_function(function: &Function<'_>, out: &mut Vec<u8>) {
    let mut members = open_named("function", function, out);
    match &function.schema {
        Some(schema) => members.raw(out, "parameters", schema),
        None => members.json(out, "parameters", "null"),
    }
    members.truth(out, "strict", function.strict.unwrap_or(false));
    members.close(out);
}

fn open_named(kind: &'static str, function: &Function<'_>, out: &mut Vec<u8>) -> Members {
    let mut members = Members::open(out);
    members.text(out, "type", &Text::written(kind));
    members.key(out, "name");
    write_name(function.namespace.as_ref(), &function.name, out);
    if let Some(description) = &function.description {
        members.text(out, "description", description);
    }
    members
}

/// A tool's name, as it is called in definitions, history and choice alike.
pub(super) fn write_name(namespace: Option<&Text<'_>>, name: &Text<'_>, out: &mut Vec<u8>) {
    let namespace = namespace.map(|namespace| namespace.plain().into_owned());
    string(out, &flat_name(Dialect::OpenAiResponses, namespace.as_deref(), &name.plain()));
}

fn write_choice(
    request: &Request<'_>,
    reading: &Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let Some(choice) = &request.tool_choice else { return Ok(()) };
    body.key(out, "tool_choice");
    match &choice.value {
        ToolChoice::Auto => out.extend_from_slice(b"\"auto\""),
        ToolChoice::None => out.extend_from_slice(b"\"none\""),
        ToolChoice::Required => out.extend_from_slice(b"\"required\""),
        ToolChoice::Named { name, custom } => write_named(name, *custom, out),
        ToolChoice::Allowed { required, names } => {
            let mode = if *required { "required" } else { "auto" };
            out.extend_from_slice(br#"{"type":"allowed_tools","mode":""#);
            out.extend_from_slice(mode.as_bytes());
            out.extend_from_slice(br#"","tools":"#);
            let mut list = List::open(out);
            for name in names {
                list.next(out);
                write_named(name, false, out);
            }
            list.close(out);
            out.push(b'}');
        }
        ToolChoice::Hosted(raw) if raw.as_str().contains("\"type\"") && is_own(request) => raw.write(out),
        ToolChoice::Hosted(_) => {
            return Err(
                reading.unsupported(choice.at, "the target does not have the tool that must be called")
            );
        }
    }
    Ok(())
}

/// The hosted tools of the request are this dialect's.
fn is_own(request: &Request<'_>) -> bool {
    request
        .tools
        .iter()
        .all(|tool| !matches!(&tool.kind, ToolKind::Hosted(hosted) if hosted.provider != Origin::Responses))
}

fn write_named(name: &Text<'_>, custom: bool, out: &mut Vec<u8>) {
    let kind = if custom { "custom" } else { "function" };
    let mut members = Members::open(out);
    members.text(out, "type", &Text::written(kind));
    members.key(out, "name");
    write_name(None, name, out);
    members.close(out);
}
