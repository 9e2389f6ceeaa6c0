//! A request of Anthropic Messages into the common model.
//! Owns: the top-level fields. Must not: decide what a target can do.
//! Read next: `messages_in.rs`, `tools_in.rs`.

use super::{messages_in, tools_in, words};
use crate::bounds::REQUEST_KEYS_MAX;
use crate::errors;
use crate::json::{Entry, Kind, Text, Value};
use crate::model::{
    CacheMark, Effort, Extra, Losses, Mode, Output, Placed, Reading, Reasoning, Refused, Request, Schema,
    Show, Source, Tier,
};

/// Reads a request from the root of its body.
pub fn read_request<'a>(body: Value<'a>, losses: &mut Losses) -> Result<Request<'a>, Refused> {
    let source = Source(Some(body));
    let mut reading = Reading::of(source, losses);
    let mut request = Request { source, stream_usage: true, ..Request::default() };
    let mut thought = Thought::default();
    let mut messages = None;
    for (n, entry) in reading.fields(body)?.enumerate() {
        if n >= REQUEST_KEYS_MAX {
            return Err(reading.refused(entry.value.place(), "too many fields"));
        }
        if entry.value.is_null() {
            continue; // says as much as leaving it out
        }
        match &*entry.plain() {
            "messages" => messages = Some(entry.value),
            "thinking" => thought.thinking(entry.value, &mut reading)?,
            "output_config" => output_config(&mut request, &mut thought, entry.value, &mut reading)?,
            _ => field(&mut request, entry, &mut reading)?,
        }
    }
    // Who does not ask for thoughts is shown none.
    let show = if thought.said && thought.value.mode != Mode::Off { thought.value.show } else { Show::None };
    request.reasoning =
        Some(Placed { value: Reasoning { show, return_opaque: true, ..thought.value }, at: thought.at });
    let Some(messages) = messages else { return Err(reading.refused(body.place(), "wants `messages`")) };
    messages_in::read(&mut request, messages, &mut reading)?;
    Ok(request)
}

fn field<'a>(
    request: &mut Request<'a>,
    entry: Entry<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    let value = entry.value;
    match &*entry.plain() {
        "model" => request.model = reading.text(value)?,
        "system" => messages_in::system(request, value, reading)?,
        "tools" => tools_in::tools(request, value, reading)?,
        "tool_choice" => tools_in::choice(request, value, reading)?,
        "output_format" => request.output = Some(Reading::placed(output(value, reading)?, value)),
        "metadata" => metadata(request, value, reading)?,
        "service_tier" => request.tier = Some(Reading::placed(tier(reading.text(value)?), value)),
        "stop_sequences" => {
            let texts = reading.elements(value, 64)?.map(|text| reading.text(text));
            request.stop = Some(Reading::placed(texts.collect::<Result<_, _>>()?, value));
        }
        "temperature" => request.sampling.temperature = Some(Reading::placed(reading.number(value)?, value)),
        "top_p" => request.sampling.top_p = Some(Reading::placed(reading.number(value)?, value)),
        "top_k" => request.sampling.top_k = Some(Reading::placed(reading.integer(value)?, value)),
        "max_tokens" => {
            let most = reading.integer(value)?;
            if most == 0 {
                return Err(
                    reading.unsupported(value.place(), "only Anthropic itself warms its cache this way")
                );
            }
            request.max_output = Some(Reading::placed(most, value));
        }
        "stream" => request.stream = reading.truth(value)?,
        "cache_control" => {} // a hint without a place in the prompt; other upstreams cache by themselves
        "thread" => {
            let refused = reading.unsupported(
                value.place(),
                "nobody keeps a conversation here; send all of it, without `thread`",
            );
            return Err(Refused { kind: errors::Kind::ThreadUnsupported, ..refused });
        }
        "container" | "mcp_servers" => {
            return Err(reading.unsupported(value.place(), "only Anthropic itself holds what this names"));
        }
        _ => {
            let (key, value, at) = (entry.name(), entry.value.raw(), entry.value.place());
            request.extras.push(Extra { key, value, at });
        }
    }
    Ok(())
}

/// What is said about thinking, in two fields.
#[derive(Default)]
struct Thought {
    value: Reasoning,
    at: crate::json::Place,
    said: bool,
}

impl Thought {
    fn thinking<'a>(&mut self, value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<(), Refused> {
        self.at = value.place();
        self.said = true;
        self.value.show = Show::Full;
        for entry in reading.fields(value)?.filter(|entry| !entry.value.is_null()) {
            match &*entry.plain() {
                "type" => self.value.mode = mode(&reading.text(entry.value)?, value, reading)?,
                "budget_tokens" => self.value.budget = Some(reading.integer(entry.value)?),
                "display" => {
                    let omitted = reading.text(entry.value)?.is("omitted");
                    self.value.show = if omitted { Show::None } else { Show::Summary };
                }
                _ => reading.unknown(&entry),
            }
        }
        Ok(())
    }
}

fn mode<'a>(kind: &Text<'a>, value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Mode, Refused> {
    Ok(match &*kind.plain() {
        "enabled" => Mode::On,
        "disabled" => Mode::Off,
        "adaptive" => Mode::Adaptive,
        "between_tools" => {
            reading.approximated(value.place(), "default");
            Mode::Default
        }
        _ => return Err(reading.refused(value.place(), "type must be enabled, disabled or adaptive")),
    })
}

fn output_config<'a>(
    request: &mut Request<'a>,
    thought: &mut Thought,
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    for entry in reading.fields(value)?.filter(|entry| !entry.value.is_null()) {
        match &*entry.plain() {
            "effort" => {
                thought.value.effort = Effort::named(&reading.text(entry.value)?.plain());
                if !thought.said {
                    thought.at = entry.value.place();
                }
                if thought.value.effort.is_none() {
                    reading.unknown(&entry);
                }
            }
            "format" => request.output = Some(Reading::placed(output(entry.value, reading)?, entry.value)),
            _ => reading.unknown(&entry),
        }
    }
    Ok(())
}

fn output<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<Output<'a>, Refused> {
    reading.unique(value)?;
    if !reading.wanted_text(value, "type")?.is("json_schema") {
        return Err(reading.refused(value.place(), "must be of type json_schema"));
    }
    let schema = value.get("schema").map(|schema| reading.object(schema)).transpose()?;
    Ok(Output::JsonSchema(Schema {
        name: value.get_text("name"),
        description: None,
        schema,
        strict: Some(true),
    }))
}

fn metadata<'a>(
    request: &mut Request<'a>,
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    for entry in reading.fields(value)?.filter(|entry| !entry.value.is_null()) {
        if entry.is("user_id") {
            request.end_user = Some(Reading::placed(reading.text(entry.value)?, entry.value));
        } else {
            reading.unknown(&entry);
        }
    }
    Ok(())
}

fn tier(name: Text<'_>) -> Tier<'_> {
    match &*name.plain() {
        "auto" => Tier::Auto,
        "standard_only" | "standard" => Tier::Default,
        "priority" => Tier::Priority,
        _ => Tier::Other(name),
    }
}

/// The mark of an object, if it has one.
pub(super) fn mark(value: Value<'_>) -> Option<CacheMark> {
    value.get("cache_control").filter(|mark| mark.kind() == Kind::Object).map(words::cache_mark)
}
