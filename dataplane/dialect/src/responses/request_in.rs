//! A request of Responses into the common model.
//! Owns: the top-level fields. Must not: decide what a target can do, or look for what a provider keeps.
//! Read next: `items_in.rs`, `tools_in.rs`.

use super::{items_in, tools_in};
use crate::bounds::REQUEST_KEYS_MAX;
use crate::json::{Entry, Value};
use crate::model::{
    Effort, Extra, Logprobs, Losses, Mode, Output, Placed, Reading, Reasoning, Refused, Request, Schema,
    Show, Source, Tier, Verbosity,
};

/// Reads a request from the root of its body.
pub fn read_request<'a>(body: Value<'a>, losses: &mut Losses) -> Result<Request<'a>, Refused> {
    let source = Source(Some(body));
    let mut reading = Reading::of(source, losses);
    let mut request = Request { source, stream_usage: true, ..Request::default() };
    let mut later = Later::default();
    for (n, entry) in reading.fields(body)?.enumerate() {
        if n >= REQUEST_KEYS_MAX {
            return Err(reading.refused(entry.value.place(), "too many fields"));
        }
        if !entry.value.is_null() && !later.take(entry) {
            field(&mut request, entry, &mut reading)?;
        }
    }
    later.settle(&mut request, body, &mut reading)?;
    Ok(request)
}

/// Fields whose order or company matters.
#[derive(Default)]
struct Later<'a> {
    instructions: Option<Value<'a>>,
    input: Option<Value<'a>>,
    include: Option<Value<'a>>,
    top_logprobs: Option<Value<'a>>,
    user: Option<Value<'a>>,
    safety_identifier: Option<Value<'a>>,
}

impl<'a> Later<'a> {
    fn take(&mut self, entry: Entry<'a>) -> bool {
        let slot = match &*entry.plain() {
            "instructions" => &mut self.instructions,
            "input" => &mut self.input,
            "include" => &mut self.include,
            "top_logprobs" => &mut self.top_logprobs,
            "user" => &mut self.user,
            "safety_identifier" => &mut self.safety_identifier,
            _ => return false,
        };
        *slot = Some(entry.value);
        true
    }

    fn settle(
        self,
        request: &mut Request<'a>,
        body: Value<'a>,
        reading: &mut Reading<'_, 'a>,
    ) -> Result<(), Refused> {
        let logprobs = self.includes(request, reading)?;
        let top = self.top_logprobs.map(|top| reading.integer(top)).transpose()?;
        if let Some(value) = self.top_logprobs.or(logprobs).filter(|_| logprobs.is_some() || top > Some(0)) {
            request.logprobs = Some(Reading::placed(Logprobs { top: top.unwrap_or(0) }, value));
        }
        if let (Some(_), Some(user)) = (self.safety_identifier, self.user) {
            reading.dropped(user.place());
        }
        if let Some(value) = self.safety_identifier.or(self.user) {
            request.end_user = Some(Reading::placed(reading.text(value)?, value));
        }
        if let Some(instructions) = self.instructions {
            items_in::instructions(request, instructions, reading)?;
        }
        let Some(input) = self.input else { return Err(reading.refused(body.place(), "wants `input`")) };
        items_in::read(request, input, reading)?;
        // A caller that keeps nothing at the provider carries the state itself.
        if request.store.is_some_and(|store| !store.value) {
            request.reasoning.get_or_insert(Placed::unplaced(Reasoning::default())).value.return_opaque =
                true;
        }
        Ok(())
    }

    /// What the answer is to hold besides. Says whether that is probabilities.
    fn includes(
        &self,
        request: &mut Request<'a>,
        reading: &mut Reading<'_, 'a>,
    ) -> Result<Option<Value<'a>>, Refused> {
        let Some(include) = self.include else { return Ok(None) };
        let mut logprobs = None;
        for value in reading.elements(include, 64)? {
            match &*reading.text(value)?.plain() {
                "reasoning.encrypted_content" => {
                    let reasoning = request.reasoning.get_or_insert(Placed::unplaced(Reasoning::default()));
                    reasoning.value.return_opaque = true;
                }
                "message.output_text.logprobs" => logprobs = Some(value),
                _ => reading.dropped(value.place()),
            }
        }
        Ok(logprobs)
    }
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
        "tool_choice" => {
            request.tool_choice = Some(Reading::placed(tools_in::choice(value, reading)?, value));
        }
        "parallel_tool_calls" => request.parallel_tools = Some(Reading::placed(reading.truth(value)?, value)),
        "text" => text(request, value, reading)?,
        "reasoning" => reasoning(request, value, reading)?,
        "temperature" => request.sampling.temperature = number(reading)?,
        "top_p" => request.sampling.top_p = number(reading)?,
        "max_output_tokens" => request.max_output = Some(Reading::placed(reading.integer(value)?, value)),
        "stream" => request.stream = reading.truth(value)?,
        "stream_options" => {} // bytes of padding: nothing is lost without them
        "metadata" => request.metadata = Some(Reading::placed(reading.object(value)?, value)),
        "service_tier" => request.tier = Some(Reading::placed(tier(reading.text(value)?), value)),
        "prompt_cache_key" => request.cache_key = Some(Reading::placed(reading.text(value)?, value)),
        "store" => request.store = Some(Reading::placed(reading.truth(value)?, value)),
        "truncation" if value.text().is_some_and(|word| word.is("disabled")) => {} // what happens unasked
        "background" if value.truth() == Some(false) => {}
        "background" | "previous_response_id" | "conversation" | "prompt" => {
            let message =
                "this is kept at the provider, which the target is not; send the conversation itself";
            return Err(reading.unsupported(value.place(), message));
        }
        _ => {
            let (key, value, at) = (entry.name(), value.raw(), value.place());
            request.extras.push(Extra { key, value, at });
        }
    }
    Ok(())
}

fn tier(name: crate::json::Text<'_>) -> Tier<'_> {
    match &*name.plain() {
        "auto" => Tier::Auto,
        "default" => Tier::Default,
        "flex" => Tier::Flex,
        "priority" | "fast" => Tier::Priority,
        _ => Tier::Other(name),
    }
}

/// `text`: the form of the answer, and how wordy it may be.
fn text<'a>(
    request: &mut Request<'a>,
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    for entry in reading.fields(value)?.filter(|entry| !entry.value.is_null()) {
        match &*entry.plain() {
            "format" => request.output = Some(Reading::placed(output(entry.value, reading)?, entry.value)),
            "verbosity" => {
                let verbosity = match &*reading.text(entry.value)?.plain() {
                    "low" => Some(Verbosity::Low),
                    "medium" => Some(Verbosity::Medium),
                    "high" => Some(Verbosity::High),
                    _ => None,
                };
                request.verbosity = verbosity.map(|verbosity| Reading::placed(verbosity, entry.value));
                if verbosity.is_none() {
                    reading.dropped(entry.value.place());
                }
            }
            _ => reading.unknown(&entry),
        }
    }
    Ok(())
}

fn output<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Output<'a>, Refused> {
    match &*reading.wanted_text(value, "type")?.plain() {
        "text" => Ok(Output::Text),
        "json_object" => Ok(Output::JsonAny),
        "json_schema" => schema(value, reading).map(Output::JsonSchema),
        _ => Err(reading.refused(value.place(), "must be of type text, json_object or json_schema")),
    }
}

fn schema<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Schema<'a>, Refused> {
    let mut schema = Schema { name: None, description: None, schema: None, strict: None };
    for entry in reading.fields(value)?.filter(|entry| !entry.value.is_null()) {
        match &*entry.plain() {
            "type" => {}
            "name" => schema.name = Some(reading.text(entry.value)?),
            "description" => schema.description = Some(reading.text(entry.value)?),
            "schema" => schema.schema = Some(reading.object(entry.value)?),
            "strict" => schema.strict = Some(reading.truth(entry.value)?),
            _ => reading.unknown(&entry),
        }
    }
    Ok(schema)
}

fn reasoning<'a>(
    request: &mut Request<'a>,
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    let mut reasoning = request.reasoning.map(|known| known.value).unwrap_or_default();
    for entry in reading.fields(value)?.filter(|entry| !entry.value.is_null()) {
        match &*entry.plain() {
            "effort" => {
                reasoning.effort = Effort::named(&reading.text(entry.value)?.plain());
                match reasoning.effort {
                    Some(Effort::None) => reasoning.mode = Mode::Off,
                    Some(_) => reasoning.mode = Mode::On,
                    None => reading.dropped(entry.value.place()),
                }
            }
            // One is the other's old name.
            "summary" | "generate_summary" => {
                let detailed = reading.text(entry.value)?.is("detailed");
                reasoning.show = if detailed { Show::Full } else { Show::Summary };
            }
            _ => reading.unknown(&entry),
        }
    }
    request.reasoning = Some(Reading::placed(reasoning, value));
    Ok(())
}
