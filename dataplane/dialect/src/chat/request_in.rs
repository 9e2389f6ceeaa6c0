//! A request of Chat Completions into the common model.
//! Owns: the top-level fields. Must not: decide what a target can do.
//! Read next: `messages_in.rs`, `tools_in.rs`.

use super::{messages_in, tools_in};
use crate::bounds::REQUEST_KEYS_MAX;
use crate::json::{Entry, Kind, Raw, Text, Value};
use crate::model::{
    Effort, Extra, Logprobs, Losses, Modalities, Mode, Output, Placed, Reading, Reasoning, Refused, Request,
    Schema, Source, Tier, Verbosity,
};

/// Reads a request from the root of its body.
pub fn read_request<'a>(body: Value<'a>, losses: &mut Losses) -> Result<Request<'a>, Refused> {
    let source = Source(Some(body));
    let mut reading = Reading::of(source, losses);
    let mut request = Request { source, ..Request::default() };
    let mut pairs = Pairs::default();
    let mut messages = None;
    for (n, entry) in reading.fields(body)?.enumerate() {
        if n >= REQUEST_KEYS_MAX {
            return Err(reading.refused(entry.value.place(), "too many fields"));
        }
        if entry.value.is_null() {
            continue; // says as much as leaving it out
        }
        if entry.is("messages") {
            messages = Some(entry.value);
        } else if !pairs.take(entry) {
            field(&mut request, entry, &mut reading)?;
        }
    }
    pairs.settle(&mut request, &mut reading)?;
    let Some(messages) = messages else { return Err(reading.refused(body.place(), "wants `messages`")) };
    messages_in::read(&mut request, messages, &mut reading)?;
    Ok(request)
}

/// One field that stands for itself.
fn field<'a>(
    request: &mut Request<'a>,
    entry: Entry<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    let value = entry.value;
    let number =
        |reading: &Reading<'_, 'a>| reading.number(value).map(|raw| Some(Reading::placed(raw, value)));
    match &*entry.plain() {
        "model" => request.model = reading.text(value)?,
        "tools" => tools_in::tools(request, value, reading)?,
        "functions" => tools_in::legacy_functions(request, value, reading)?,
        "tool_choice" => {
            request.tool_choice = Some(Reading::placed(tools_in::choice(value, reading)?, value));
        }
        "function_call" => {
            request.tool_choice = Some(Reading::placed(tools_in::legacy_choice(value, reading)?, value));
        }
        "web_search_options" => tools_in::web_search(request, value),
        "parallel_tool_calls" => {
            request.parallel_tools = Some(Reading::placed(reading.truth(value)?, value));
        }
        "response_format" => request.output = Some(Reading::placed(output(value, reading)?, value)),
        "verbosity" => request.verbosity = verbosity(value, reading)?,
        "temperature" => request.sampling.temperature = number(reading)?,
        "top_p" => request.sampling.top_p = number(reading)?,
        "min_p" => request.sampling.min_p = number(reading)?,
        "top_k" => match value.integer() {
            Some(top_k) => request.sampling.top_k = Some(Reading::placed(top_k, value)),
            None => extra(request, entry), // engines take -1 for all
        },
        "repetition_penalty" => request.sampling.repetition_penalty = number(reading)?,
        "frequency_penalty" => request.sampling.frequency_penalty = number(reading)?,
        "presence_penalty" => request.sampling.presence_penalty = number(reading)?,
        "seed" => request.sampling.seed = number(reading)?,
        "logit_bias" => {
            request.sampling.logit_bias = Some(Reading::placed(reading.object(value)?, value));
        }
        "stop" => request.stop = Some(Reading::placed(stop(value, reading)?, value)),
        "n" => request.choices = Some(Reading::placed(reading.integer(value)?, value)),
        "reasoning_effort" => request.reasoning = Some(Reading::placed(effort(value, reading)?, value)),
        "stream" => request.stream = reading.truth(value)?,
        "stream_options" => stream_options(request, value, reading)?,
        "metadata" => request.metadata = Some(Reading::placed(reading.object(value)?, value)),
        "service_tier" => request.tier = Some(Reading::placed(tier(reading.text(value)?), value)),
        "prompt_cache_key" => request.cache_key = Some(Reading::placed(reading.text(value)?, value)),
        "store" => request.store = Some(Reading::placed(reading.truth(value)?, value)),
        _ => extra(request, entry),
    }
    Ok(())
}

fn extra<'a>(request: &mut Request<'a>, entry: Entry<'a>) {
    let (key, value, at) = (entry.name(), entry.value.raw(), entry.value.place());
    request.extras.push(Extra { key, value, at });
}

/// Fields of which two say one thing, in whatever order they stand.
#[derive(Default)]
struct Pairs<'a> {
    max_tokens: Option<Value<'a>>,
    max_completion_tokens: Option<Value<'a>>,
    user: Option<Value<'a>>,
    safety_identifier: Option<Value<'a>>,
    logprobs: Option<Value<'a>>,
    top_logprobs: Option<Value<'a>>,
    modalities: Option<Value<'a>>,
    audio: Option<Value<'a>>,
}

impl<'a> Pairs<'a> {
    fn take(&mut self, entry: Entry<'a>) -> bool {
        let slot = match &*entry.plain() {
            "max_tokens" => &mut self.max_tokens,
            "max_completion_tokens" => &mut self.max_completion_tokens,
            "user" => &mut self.user,
            "safety_identifier" => &mut self.safety_identifier,
            "logprobs" => &mut self.logprobs,
            "top_logprobs" => &mut self.top_logprobs,
            "modalities" => &mut self.modalities,
            "audio" => &mut self.audio,
            _ => return false,
        };
        *slot = Some(entry.value);
        true
    }

    fn settle(self, request: &mut Request<'a>, reading: &mut Reading<'_, 'a>) -> Result<(), Refused> {
        if let Some(value) = preferred(self.max_completion_tokens, self.max_tokens, reading) {
            request.max_output = Some(Reading::placed(reading.integer(value)?, value));
        }
        if let Some(value) = preferred(self.safety_identifier, self.user, reading) {
            request.end_user = Some(Reading::placed(reading.text(value)?, value));
        }
        if let Some(value) = self.logprobs
            && reading.truth(value)?
        {
            let top = self.top_logprobs.map_or(Ok(0), |top| reading.integer(top))?;
            request.logprobs = Some(Reading::placed(Logprobs { top }, value));
        }
        if let Some(value) = self.modalities {
            let modalities = modalities(value, self.audio, reading)?;
            if modalities != Modalities::default() {
                request.modalities = Some(Reading::placed(modalities, value));
            }
        }
        Ok(())
    }
}

/// The first, if it is there; then the second has no effect.
fn preferred<'a>(
    first: Option<Value<'a>>,
    second: Option<Value<'a>>,
    reading: &mut Reading<'_, 'a>,
) -> Option<Value<'a>> {
    if let (Some(_), Some(second)) = (first, second) {
        reading.dropped(second.place());
    }
    first.or(second)
}

fn modalities<'a>(
    value: Value<'a>,
    audio: Option<Value<'a>>,
    reading: &Reading<'_, 'a>,
) -> Result<Modalities<'a>, Refused> {
    let mut asked = Modalities::default();
    for kind in reading.elements(value, 8)? {
        match &*reading.text(kind)?.plain() {
            "text" => {}
            "audio" => asked.audio = true,
            "image" => asked.image = true,
            _ => return Err(reading.refused(kind.place(), "must be text, audio or image")),
        }
    }
    asked.audio_settings = audio.filter(|_| asked.audio).map(|audio| audio.raw());
    Ok(asked)
}

fn output<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Output<'a>, Refused> {
    reading.unique(value)?;
    let kind = reading.wanted_text(value, "type")?;
    match &*kind.plain() {
        "text" => Ok(Output::Text),
        "json_object" => Ok(Output::JsonAny),
        "json_schema" => {
            let inner = value
                .get("json_schema")
                .ok_or_else(|| reading.refused(value.place(), "wants `json_schema`"))?;
            schema(inner, reading).map(Output::JsonSchema)
        }
        _ => Err(reading.refused(value.place(), "must be of type text, json_object or json_schema")),
    }
}

fn schema<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Schema<'a>, Refused> {
    let mut schema = Schema { name: None, description: None, schema: None, strict: None };
    for entry in reading.fields(value)?.filter(|entry| !entry.value.is_null()) {
        match &*entry.plain() {
            "name" => schema.name = Some(reading.text(entry.value)?),
            "description" => schema.description = Some(reading.text(entry.value)?),
            "schema" => schema.schema = Some(reading.object(entry.value)?),
            "strict" => schema.strict = Some(reading.truth(entry.value)?),
            _ => reading.unknown(&entry),
        }
    }
    Ok(schema)
}

fn verbosity<'a>(
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<Option<Placed<Verbosity>>, Refused> {
    let verbosity = match &*reading.text(value)?.plain() {
        "low" => Verbosity::Low,
        "medium" => Verbosity::Medium,
        "high" => Verbosity::High,
        _ => {
            reading.dropped(value.place());
            return Ok(None);
        }
    };
    Ok(Some(Reading::placed(verbosity, value)))
}

fn effort<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Reasoning, Refused> {
    let name = reading.text(value)?;
    let Some(effort) = Effort::named(&name.plain()) else {
        reading.dropped(value.place());
        return Ok(Reasoning::default());
    };
    let mode = if effort == Effort::None { Mode::Off } else { Mode::On };
    Ok(Reasoning { mode, effort: Some(effort), ..Reasoning::default() })
}

fn stop<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<Vec<Text<'a>>, Refused> {
    if value.kind() == Kind::String {
        return Ok(vec![reading.text(value)?]);
    }
    reading.elements(value, 64)?.map(|text| reading.text(text)).collect()
}

fn stream_options<'a>(
    request: &mut Request<'a>,
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    for entry in reading.fields(value)? {
        match &*entry.plain() {
            "include_usage" => request.stream_usage = entry.value.truth().unwrap_or(false),
            "include_obfuscation" => {} // bytes of padding: nothing is lost without them
            _ => reading.unknown(&entry),
        }
    }
    Ok(())
}

fn tier(name: Text<'_>) -> Tier<'_> {
    match &*name.plain() {
        "auto" => Tier::Auto,
        "default" => Tier::Default,
        "flex" => Tier::Flex,
        "priority" | "fast" => Tier::Priority,
        _ => Tier::Other(name),
    }
}

/// What a field of ours is made of where an engine's extra goes through as it is.
pub(super) fn write_extra(out: &mut Vec<u8>, members: &mut crate::json::Members, extra: &Extra<'_>) {
    members.key(out, extra.key.as_written());
    let value: &Raw<'_> = &extra.value;
    value.write(out);
}
