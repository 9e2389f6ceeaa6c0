//! A request of Gemini's into the common model.
//!
//! Keys come in camelCase and in snake_case, mixed in one body by Google's own clients; the two spellings of one field
//! count as the same key.
//! Owns: the top-level fields and the settings. The model and whether to stream stand in the path: who reads that sets
//! them.
//! Must not: decide what a target can do.
//! Read next: `contents_in.rs`, `tools_in.rs`.

use std::borrow::Cow;

use super::{contents_in, schema, tools_in};
use crate::bounds::{REQUEST_KEYS_MAX, REQUEST_TOOLS_MAX};
use crate::json::{Entry, Raw, Value};
use crate::model::{
    Effort, Extra, Logprobs, Losses, Modalities, Mode, Output, Reading, Reasoning, Refused, Request, Schema,
    Show, Source, Tier,
};

/// Reads a request from the root of its body. It has no model and is no stream: the path says that.
pub fn read_request<'a>(body: Value<'a>, losses: &mut Losses) -> Result<Request<'a>, Refused> {
    let source = Source(Some(body));
    let mut reading = Reading::of(source, losses);
    let mut request = Request { source, stream_usage: true, ..Request::default() };
    let mut contents = None;
    for (n, (key, entry)) in fields(body, &reading)?.into_iter().enumerate() {
        if n >= REQUEST_KEYS_MAX {
            return Err(reading.refused(entry.value.place(), "too many fields"));
        }
        if key == "contents" {
            contents = Some(entry.value);
        } else {
            field(&mut request, &key, entry, &mut reading)?;
        }
    }
    let Some(contents) = contents else { return Err(reading.refused(body.place(), "wants `contents`")) };
    contents_in::read(&mut request, contents, &mut reading)?;
    Ok(request)
}

/// The fields of an object by their camelCase names, without those that are null.
pub(super) fn fields<'a>(
    value: Value<'a>,
    reading: &Reading<'_, 'a>,
) -> Result<Vec<(Cow<'a, str>, Entry<'a>)>, Refused> {
    let mut all: Vec<(Cow<'a, str>, Entry<'a>)> = Vec::new();
    for entry in reading.fields(value)? {
        let key = camel(entry.plain());
        if (key.len() != entry.key.len() || all.len() < FEW_FIELDS)
            && all.iter().any(|(known, _)| *known == key)
        {
            return Err(reading.refused(entry.value.place(), "this field stands twice in its object"));
        }
        all.push((key, entry));
    }
    all.retain(|(_, entry)| !entry.value.is_null());
    Ok(all)
}

/// Objects of Google's have no more; larger ones are compared only where a key was respelled.
const FEW_FIELDS: usize = 32;

/// `snake_case` as `camelCase`.
fn camel(key: Cow<'_, str>) -> Cow<'_, str> {
    if !key.contains('_') {
        return key;
    }
    let mut out = String::with_capacity(key.len());
    let mut upper = false;
    for character in key.chars() {
        if character == '_' {
            upper = !out.is_empty();
        } else {
            out.push(if upper { character.to_ascii_uppercase() } else { character });
            upper = false;
        }
    }
    Cow::Owned(out)
}

/// What an object has under this camelCase key, however it is spelled.
pub(super) fn get<'a>(object: Value<'a>, key: &str) -> Option<Value<'a>> {
    let mut fields = object.fields()?.filter(|entry| !entry.value.is_null());
    fields.find(|entry| camel(entry.plain()) == key).map(|entry| entry.value)
}

fn field<'a>(
    request: &mut Request<'a>,
    key: &str,
    entry: Entry<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    let value = entry.value;
    match key {
        "systemInstruction" => contents_in::instructions(request, value, reading)?,
        "tools" => {
            for tool in reading.elements(value, REQUEST_TOOLS_MAX)? {
                tools_in::tool(request, tool, reading)?;
            }
        }
        "toolConfig" => tools_in::config(request, value, reading)?,
        "generationConfig" => settings(request, value, reading)?,
        "cachedContent" => {
            return Err(
                reading.unsupported(value.place(), "the cached content is with its provider; send it again")
            );
        }
        "labels" => request.metadata = Some(Reading::placed(reading.object(value)?, value)),
        "store" => request.store = Some(Reading::placed(reading.truth(value)?, value)),
        "serviceTier" => request.tier = tier(value, reading)?.map(|tier| Reading::placed(tier, value)),
        "model" => {} // it is in the path
        _ => {
            let (key, value, at) = (entry.name(), entry.value.raw(), entry.value.place());
            request.extras.push(Extra { key, value, at });
        }
    }
    Ok(())
}

fn tier<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<Option<Tier<'a>>, Refused> {
    let word = reading.text(value)?;
    Ok(match &*word.plain().to_ascii_lowercase() {
        "unspecified" | "service_tier_unspecified" => None,
        "flex" => Some(Tier::Flex),
        "standard" => Some(Tier::Default),
        "priority" => Some(Tier::Priority),
        _ => Some(Tier::Other(word)),
    })
}

/// Settings of which two say one thing.
#[derive(Default)]
struct Pairs<'a> {
    mime: Option<Value<'a>>,
    schema: Option<Value<'a>>,
    /// The schema is one of Google's own form.
    own_form: bool,
    wants_logprobs: bool,
    logprobs: Option<Value<'a>>,
    speech: Option<Value<'a>>,
}

/// `generationConfig`
fn settings<'a>(
    request: &mut Request<'a>,
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    let mut pairs = Pairs::default();
    for (key, entry) in fields(value, reading)? {
        let value = entry.value;
        match &*key {
            "responseMimeType" => pairs.mime = Some(value),
            "responseSchema" => (pairs.schema, pairs.own_form) = (Some(value), true),
            "responseJsonSchema" => (pairs.schema, pairs.own_form) = (Some(value), false),
            "responseLogprobs" => pairs.wants_logprobs = reading.truth(value)?,
            "logprobs" => pairs.logprobs = Some(value),
            "speechConfig" => pairs.speech = Some(value),
            _ => setting(request, &key, &entry, reading)?,
        }
    }
    settle(request, &pairs, reading)
}

fn setting<'a>(
    request: &mut Request<'a>,
    key: &str,
    entry: &Entry<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    let value = entry.value;
    let number =
        |reading: &Reading<'_, 'a>| reading.number(value).map(|raw| Some(Reading::placed(raw, value)));
    let sampling = &mut request.sampling;
    match key {
        "temperature" => sampling.temperature = number(reading)?,
        "topP" => sampling.top_p = number(reading)?,
        "topK" => sampling.top_k = Some(Reading::placed(reading.integer(value)?, value)),
        "seed" => sampling.seed = number(reading)?,
        "presencePenalty" => sampling.presence_penalty = number(reading)?,
        "frequencyPenalty" => sampling.frequency_penalty = number(reading)?,
        "maxOutputTokens" => request.max_output = Some(Reading::placed(reading.integer(value)?, value)),
        "candidateCount" => request.choices = Some(Reading::placed(reading.integer(value)?, value)),
        "stopSequences" => {
            let texts: Result<_, _> = reading.elements(value, 64)?.map(|text| reading.text(text)).collect();
            request.stop = Some(Reading::placed(texts?, value));
        }
        "thinkingConfig" => request.reasoning = Some(Reading::placed(thinking(value, reading)?, value)),
        "responseModalities" => {
            let modalities = modalities(value, reading)?;
            if modalities != Modalities::default() {
                request.modalities = Some(Reading::placed(modalities, value));
            }
        }
        _ => reading.unknown(entry),
    }
    Ok(())
}

fn settle<'a>(
    request: &mut Request<'a>,
    pairs: &Pairs<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    if let Some(output) = output(pairs, reading)? {
        let place = pairs.schema.or(pairs.mime).map_or(crate::json::Place::NONE, |value| value.place());
        request.output = Some(crate::model::Placed { value: output, at: place });
    }
    if let Some(value) = pairs.logprobs.filter(|_| pairs.wants_logprobs) {
        request.logprobs = Some(Reading::placed(Logprobs { top: reading.integer(value)? }, value));
    } else if pairs.wants_logprobs {
        request.logprobs = Some(crate::model::Placed::unplaced(Logprobs { top: 0 }));
    }
    if let Some(speech) = pairs.speech {
        match &mut request.modalities {
            Some(modalities) => modalities.value.audio_settings = Some(speech.raw()),
            None => reading.dropped(speech.place()),
        }
    }
    Ok(())
}

fn output<'a>(pairs: &Pairs<'a>, reading: &mut Reading<'_, 'a>) -> Result<Option<Output<'a>>, Refused> {
    let mime = pairs.mime.map(|mime| reading.text(mime)).transpose()?;
    let plain = mime.as_ref().map(|mime| mime.plain()).unwrap_or_default();
    match (&*plain, pairs.schema) {
        ("" | "text/plain", None) => Ok(None),
        ("application/json", None) => Ok(Some(Output::JsonAny)),
        ("" | "application/json", Some(value)) => {
            let raw = reading.object(value)?;
            let schema = if pairs.own_form { schema::from_own_form(value) } else { raw };
            let schema = Schema { name: None, description: None, schema: Some(schema), strict: Some(true) };
            Ok(Some(Output::JsonSchema(schema)))
        }
        ("text/x.enum", Some(value)) => Ok(Some(Output::Grammar(value.raw()))),
        (_, _) => {
            let at = pairs.mime.or(pairs.schema).map_or(crate::json::Place::NONE, |value| value.place());
            Err(reading.refused(at, "must be text/plain or application/json"))
        }
    }
}

/// `thinkingConfig`
fn thinking<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Reasoning, Refused> {
    let mut reasoning = Reasoning { return_opaque: true, ..Reasoning::default() };
    for (key, entry) in fields(value, reading)? {
        match &*key {
            "includeThoughts" => {
                let shown = reading.truth(entry.value)?;
                reasoning.show = if shown { Show::Summary } else { Show::None };
            }
            "thinkingLevel" => {
                let word = reading.text(entry.value)?.plain().to_ascii_lowercase();
                reasoning.effort = Effort::named(&word);
                match reasoning.effort {
                    Some(_) => reasoning.mode = Mode::On,
                    None if word == "thinking_level_unspecified" => {}
                    None => reading.dropped(entry.value.place()),
                }
            }
            "thinkingBudget" => budget(&mut reasoning, entry.value, reading)?,
            _ => reading.unknown(&entry),
        }
    }
    Ok(reasoning)
}

/// 0: not at all; -1: as the question needs.
fn budget<'a>(reasoning: &mut Reasoning, value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<(), Refused> {
    let raw = reading.number(value)?;
    if matches!(raw.as_str(), "-1" | "-1.0") {
        reasoning.mode = Mode::Adaptive;
        return Ok(());
    }
    let tokens = reading.integer(value)?;
    reasoning.mode = if tokens == 0 { Mode::Off } else { Mode::On };
    reasoning.budget = Some(tokens);
    Ok(())
}

fn modalities<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<Modalities<'a>, Refused> {
    let mut asked = Modalities::default();
    for kind in reading.elements(value, 8)? {
        match &*reading.text(kind)?.plain().to_ascii_uppercase() {
            "TEXT" | "MODALITY_UNSPECIFIED" => {}
            "IMAGE" => asked.image = true,
            "AUDIO" => asked.audio = true,
            _ => return Err(reading.refused(kind.place(), "must be TEXT, IMAGE or AUDIO")),
        }
    }
    Ok(asked)
}

/// An object with one entry, for what stands beside other things in the request.
pub(super) fn alone(key: &str, value: Value<'_>) -> Raw<'static> {
    Raw::owned(format!("{{\"{key}\":{}}}", value.raw().as_str()))
}
