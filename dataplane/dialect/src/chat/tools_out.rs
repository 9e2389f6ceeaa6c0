//! Tools and the choice among them, for Chat Completions.
//! Owns: their spelling, and what becomes of tools that the target does not have. Must not: reorder them.
//! Read next: `messages_out.rs`.

use crate::dialect::Dialect;
use crate::json::{List, Members, Text, string};
use crate::model::{
    CustomFormat, Function, HostedTool, Reading, Refused, Request, Target, Tool, ToolChoice, ToolKind,
    flat_name,
};

pub(super) fn write(
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let mut any = false;
    let mut web_search = false;
    for tool in &request.tools {
        match &tool.kind {
            ToolKind::Function(_) | ToolKind::Custom { .. } => any = true,
            ToolKind::Hosted(hosted) => web_search |= keep(hosted, tool, request, target, reading)?,
        }
    }
    if any {
        body.key(out, "tools");
        let mut list = List::open(out);
        for tool in &request.tools {
            match &tool.kind {
                ToolKind::Function(function) => {
                    list.next(out);
                    write_function(function, target, out);
                }
                ToolKind::Custom { function, format } => {
                    list.next(out);
                    write_custom(function, format.as_ref(), out);
                }
                ToolKind::Hosted(_) => {}
            }
        }
        list.close(out);
    }
    if web_search {
        body.json(out, "web_search_options", "{}");
    }
    write_choice(request, any, reading, body, out)?;
    if let Some(parallel) = request.parallel_tools.filter(|_| any) {
        body.truth(out, "parallel_tool_calls", parallel.value);
    }
    Ok(())
}

/// Whether a hosted tool is kept, as the target's own web search; the others are lost or refused.
fn keep(
    hosted: &HostedTool<'_>,
    tool: &Tool<'_>,
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
) -> Result<bool, Refused> {
    if hosted.by_client {
        return Err(reading.unsupported(tool.at, "only its provider's models know the schema of this tool"));
    }
    if hosted.is_web_search && target.map_web_search {
        reading.approximated(tool.at, "web-search");
        return Ok(true);
    }
    let choice = request.tool_choice.as_ref().map(|choice| &choice.value);
    let only = request.tools.len() == 1 && matches!(choice, Some(ToolChoice::Required));
    if only || matches!(choice, Some(ToolChoice::Hosted(_))) {
        return Err(reading.unsupported(tool.at, "the target does not have this tool, and it must be called"));
    }
    reading.dropped(tool.at);
    Ok(false)
}

fn write_function(function: &Function<'_>, target: &Target, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"function","function":"#);
    let mut members = open_named(function, out);
    if let Some(schema) = &function.schema {
        members.raw(out, "parameters", schema);
    }
    // Engines pass over it; hosted models have it off where it is not said.
    if let Some(strict) = function.strict.filter(|strict| *strict || !target.engine.takes_extras()) {
        members.truth(out, "strict", strict);
    }
    members.close(out);
    out.push(b'}');
}

fn write_custom(function: &Function<'_>, format: Option<&CustomFormat<'_>>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"custom","custom":"#);
    let mut members = open_named(function, out);
    if let Some(format) = format {
        members.key(out, "format");
        out.extend_from_slice(br#"{"type":"grammar","grammar":"#);
        let mut grammar = Members::open(out);
        grammar.text(out, "definition", &format.definition);
        grammar.text(out, "syntax", &format.syntax);
        grammar.close(out);
        out.push(b'}');
    }
    members.close(out);
    out.push(b'}');
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
    string(out, &flat_name(Dialect::OpenAiChat, namespace.as_deref(), &name.plain()));
}

fn write_choice(
    request: &Request<'_>,
    any: bool,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let Some(choice) = &request.tool_choice else { return Ok(()) };
    if !any {
        return Ok(()); // a choice among no tools says nothing
    }
    match &choice.value {
        ToolChoice::Auto => body.json(out, "tool_choice", "\"auto\""),
        ToolChoice::None => body.json(out, "tool_choice", "\"none\""),
        ToolChoice::Required => body.json(out, "tool_choice", "\"required\""),
        ToolChoice::Named { name, custom } => {
            body.key(out, "tool_choice");
            write_named(name, *custom, out);
        }
        ToolChoice::Allowed { required, names } => {
            body.key(out, "tool_choice");
            let mode = if *required { "required" } else { "auto" };
            out.extend_from_slice(br#"{"type":"allowed_tools","allowed_tools":{"mode":""#);
            out.extend_from_slice(mode.as_bytes());
            out.extend_from_slice(br#"","tools":"#);
            let mut list = List::open(out);
            for name in names {
                list.next(out);
                write_named(name, false, out);
            }
            list.close(out);
            out.extend_from_slice(b"}}");
        }
        ToolChoice::Hosted(_) => {
            return Err(
                reading.unsupported(choice.at, "the target does not have the tool that must be called")
            );
        }
    }
    Ok(())
}

fn write_named(name: &Text<'_>, custom: bool, out: &mut Vec<u8>) {
    let (head, tail): (&[u8], &[u8]) = if custom {
        (br#"{"type":"custom","custom":{"name":"#, b"}}")
    } else {
        (br#"{"type":"function","function":{"name":"#, b"}}")
    };
    out.extend_from_slice(head);
    write_name(None, name, out);
    out.extend_from_slice(tail);
}
