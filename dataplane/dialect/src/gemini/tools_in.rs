//! Gemini's tools and the choice among them.
//! Owns: functions in both schema forms; everything else is a tool of Google's own. Must not: run one.
//! Read next: `schema.rs`.

use super::request_in::{alone, fields};
use super::schema;
use crate::bounds::REQUEST_TOOLS_MAX;
use crate::json::Value;
use crate::model::{Function, HostedTool, Origin, Reading, Refused, Request, Tool, ToolChoice, ToolKind};

/// One object of `tools`, which may hold many functions and several tools of Google's.
pub(super) fn tool<'a>(
    request: &mut Request<'a>,
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    for (key, entry) in fields(value, reading)? {
        if key == "functionDeclarations" {
            for declared in reading.elements(entry.value, REQUEST_TOOLS_MAX)? {
                let kind = ToolKind::Function(function(declared, reading)?);
                request.tools.push(Tool { kind, cache: None, at: declared.place() });
            }
            continue;
        }
        let is_web_search = matches!(&*key, "googleSearch" | "googleSearchRetrieval");
        let known = is_web_search
            || matches!(
                &*key,
                "codeExecution"
                    | "urlContext"
                    | "googleMaps"
                    | "fileSearch"
                    | "computerUse"
                    | "mcpServers"
                    | "enterpriseWebSearch"
                    | "retrieval"
            );
        if !known {
            return Err(reading.refused(entry.value.place(), "no such tool is known here"));
        }
        let raw = alone(&key, entry.value);
        let hosted =
            HostedTool { provider: Origin::Gemini, is_web_search, by_client: key == "computerUse", raw };
        request.tools.push(Tool { kind: ToolKind::Hosted(hosted), cache: None, at: entry.value.place() });
    }
    Ok(())
}

fn function<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Function<'a>, Refused> {
    let mut function = Function { name: reading.wanted_text(value, "name")?, ..Function::default() };
    for (key, entry) in fields(value, reading)? {
        match &*key {
            "name" => {}
            "description" => function.description = Some(reading.text(entry.value)?),
            "parametersJsonSchema" => function.schema = Some(reading.object(entry.value)?),
            "parameters" => {
                reading.object(entry.value)?;
                function.schema = Some(schema::from_own_form(entry.value));
            }
            _ => reading.unknown(&entry),
        }
    }
    Ok(function)
}

/// `toolConfig`
pub(super) fn config<'a>(
    request: &mut Request<'a>,
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    for (key, entry) in fields(value, reading)? {
        if key == "functionCallingConfig" {
            let choice = choice(entry.value, reading)?;
            request.tool_choice = choice.map(|choice| Reading::placed(choice, entry.value));
        } else {
            reading.unknown(&entry);
        }
    }
    Ok(())
}

fn choice<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Option<ToolChoice<'a>>, Refused> {
    let (mut mode, mut names) = (String::new(), Vec::new());
    for (key, entry) in fields(value, reading)? {
        match &*key {
            "mode" => mode = reading.text(entry.value)?.plain().to_ascii_uppercase(),
            "allowedFunctionNames" => {
                let texts = reading.elements(entry.value, REQUEST_TOOLS_MAX)?.map(|name| reading.text(name));
                names = texts.collect::<Result<_, _>>()?;
            }
            _ => reading.unknown(&entry),
        }
    }
    Ok(match (mode.as_str(), names.len()) {
        ("" | "MODE_UNSPECIFIED", _) => None,
        ("AUTO", _) => Some(ToolChoice::Auto),
        ("NONE", _) => Some(ToolChoice::None),
        ("VALIDATED", 0) => {
            reading.approximated(value.place(), "auto");
            Some(ToolChoice::Auto)
        }
        ("VALIDATED", _) => Some(ToolChoice::Allowed { required: false, names }),
        ("ANY", 0) => Some(ToolChoice::Required),
        ("ANY", 1) => names.pop().map(|name| ToolChoice::Named { name, custom: false }),
        ("ANY", _) => Some(ToolChoice::Allowed { required: true, names }),
        (_, _) => return Err(reading.refused(value.place(), "mode must be AUTO, ANY, NONE or VALIDATED")),
    })
}
