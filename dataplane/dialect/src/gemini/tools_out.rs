//! Tools and the choice among them, for Gemini.
//! Owns: all functions in one object, then Google's own tools. Must not: reorder them.
//! Read next: `contents_out.rs`.

use super::request_out::write_schema;
use crate::custom;
use crate::dialect::Dialect;
use crate::json::{List, Members, Raw, Text, string};
use crate::model::{
    CustomFormat, Function, HostedTool, Origin, Reading, Refused, Request, Target, Tool, ToolChoice,
    ToolKind, flat_name,
};

pub(super) fn write(
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let mut hosted = Vec::new();
    let mut any = false;
    for tool in &request.tools {
        match &tool.kind {
            ToolKind::Function(_) | ToolKind::Custom { .. } => any = true,
            ToolKind::Hosted(own) => hosted.extend(keep(own, tool, request, target, reading)?),
        }
    }
    if any || !hosted.is_empty() {
        body.key(out, "tools");
        let mut list = List::open(out);
        if any {
            list.next(out);
            write_functions(request, target, reading, out);
        }
        for raw in &hosted {
            list.next(out);
            raw.write(out);
        }
        list.close(out);
    }
    if any { write_choice(request, reading, body, out) } else { Ok(()) }
}

/// A hosted tool as Gemini has it; the others are lost or refused.
fn keep<'t>(
    hosted: &'t HostedTool<'_>,
    tool: &Tool<'_>,
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
) -> Result<Option<Raw<'t>>, Refused> {
    if hosted.provider == Origin::Gemini {
        return Ok(Some(hosted.raw.lend()));
    }
    if hosted.by_client {
        return Err(reading.unsupported(tool.at, "only its provider's models know the schema of this tool"));
    }
    if hosted.is_web_search && target.map_web_search {
        reading.approximated(tool.at, "web-search");
        return Ok(Some(Raw::written(r#"{"googleSearch":{}}"#)));
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

fn write_functions(request: &Request<'_>, target: &Target, reading: &mut Reading<'_, '_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"functionDeclarations":"#);
    let mut list = List::open(out);
    for tool in &request.tools {
        match &tool.kind {
            ToolKind::Function(function) => {
                list.next(out);
                write_function(function, tool, target, reading, out);
            }
            ToolKind::Custom { function, format } => {
                list.next(out);
                reading.approximated(tool.at, "function");
                write_custom(function, format.as_ref(), target, out);
            }
            ToolKind::Hosted(_) => {}
        }
    }
    list.close(out);
    out.push(b'}');
}

fn write_function(
    function: &Function<'_>,
    tool: &Tool<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    out: &mut Vec<u8>,
) {
    if function.strict == Some(true) {
        reading.dropped(tool.at);
    }
    let mut members = open_named(function, out);
    if let Some(schema) = &function.schema {
        let keys = ["parametersJsonSchema", "parameters"];
        if write_schema(schema, target, keys, &mut members, out) {
            reading.approximated(tool.at, "schema");
        }
    }
    members.close(out);
}

fn write_custom(
    function: &Function<'_>,
    format: Option<&CustomFormat<'_>>,
    target: &Target,
    out: &mut Vec<u8>,
) {
    let mut members = open_named(function, out);
    let keys = ["parametersJsonSchema", "parameters"];
    write_schema(&custom::schema(format), target, keys, &mut members, out);
    members.close(out);
}

fn open_named(function: &Function<'_>, out: &mut Vec<u8>) -> Members {
    let mut members = Members::open(out);
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
    string(out, &flat_name(Dialect::Gemini, namespace.as_deref(), &name.plain()));
}

fn write_choice(
    request: &Request<'_>,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let Some(choice) = &request.tool_choice else { return Ok(()) };
    let (mode, names): (&str, &[Text<'_>]) = match &choice.value {
        ToolChoice::Auto => ("AUTO", &[]),
        ToolChoice::None => ("NONE", &[]),
        ToolChoice::Required => ("ANY", &[]),
        ToolChoice::Named { name, .. } => ("ANY", std::slice::from_ref(name)),
        ToolChoice::Allowed { required: true, names } => ("ANY", names),
        ToolChoice::Allowed { required: false, names } => ("VALIDATED", names),
        ToolChoice::Hosted(_) => {
            return Err(
                reading.unsupported(choice.at, "the target does not have the tool that must be called")
            );
        }
    };
    body.key(out, "toolConfig");
    out.extend_from_slice(br#"{"functionCallingConfig":{"mode":""#);
    out.extend_from_slice(mode.as_bytes());
    out.push(b'"');
    if !names.is_empty() {
        out.extend_from_slice(br#","allowedFunctionNames":"#);
        let mut list = List::open(out);
        for name in names {
            list.next(out);
            write_name(None, name, out);
        }
        list.close(out);
    }
    out.extend_from_slice(b"}}");
    Ok(())
}
