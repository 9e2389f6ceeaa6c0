//! The common model into a request of Gemini's.
//! Owns: the order of the top-level fields, with what changes from turn to turn last. Must not: read the clock, or write
//! anything that the request and the target do not say.
//! Read next: `contents_out.rs`, `tools_out.rs`.

use super::{contents_out, schema, tools_out};
use crate::json::{List, Members, Raw, Surrogates, Tape, decimal};
use crate::model::{
    Effort, Losses, Mode, Output, Placed, Reading, Reasoning, ReasoningForm, Refused, Request, Sampling,
    Show, Target, Tier,
};

/// What Google takes; more would change what the caller gets, so it is refused.
const STOPS_MAX: usize = 5;

/// Appends the body of the request. The model and whether to stream are for the path.
pub fn write_request(
    request: &Request<'_>,
    target: &Target,
    losses: &mut Losses,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let reading = &mut Reading::of(request.source, losses);
    let mut body = Members::open(out);
    if !request.system.is_empty() {
        body.key(out, "systemInstruction");
        contents_out::write_instructions(&request.system, reading, out)?;
    }
    tools_out::write(request, target, reading, &mut body, out)?;
    let mut settings = Vec::new();
    write_settings(request, target, reading, &mut settings)?;
    if settings != b"{}" {
        body.key(out, "generationConfig");
        out.extend_from_slice(&settings);
    }
    write_about(request, reading, &mut body, out);
    for extra in &request.extras {
        reading.dropped(extra.at);
    }
    body.key(out, "contents");
    contents_out::write(request, target, reading, out)?;
    body.close(out);
    Ok(())
}

/// What is said about the request, not to the model.
fn write_about(request: &Request<'_>, reading: &mut Reading<'_, '_>, body: &mut Members, out: &mut Vec<u8>) {
    let lost = [
        request.end_user.as_ref().map(|user| user.at),
        request.metadata.as_ref().map(|metadata| metadata.at),
        request.cache_key.as_ref().map(|key| key.at),
        request.verbosity.map(|verbosity| verbosity.at),
        request.parallel_tools.filter(|parallel| !parallel.value).map(|parallel| parallel.at),
    ];
    lost.into_iter().flatten().for_each(|at| reading.dropped(at));
    if let Some(tier) = &request.tier {
        match &tier.value {
            Tier::Auto => {} // what it does unasked
            Tier::Default => body.json(out, "serviceTier", "\"standard\""),
            Tier::Flex => body.json(out, "serviceTier", "\"flex\""),
            Tier::Priority => body.json(out, "serviceTier", "\"priority\""),
            Tier::Other(_) => reading.dropped(tier.at),
        }
    }
    if request.store.is_some_and(|store| store.value) {
        body.truth(out, "store", true);
    }
}

/// `generationConfig`, its keys in the order of the specification.
fn write_settings(
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let mut config = Members::open(out);
    let sampling = &request.sampling;
    raw(&mut config, "temperature", sampling.temperature.as_ref(), out);
    raw(&mut config, "topP", sampling.top_p.as_ref(), out);
    if let Some(top_k) = sampling.top_k {
        config.number(out, "topK", top_k.value);
    }
    if let Some(most) = request.max_output {
        config.number(out, "maxOutputTokens", most.value);
    }
    if let Some(seed) = &sampling.seed {
        let number = decimal(seed.value.as_str());
        if number.abs() > f64::from(i32::MAX) {
            return Err(reading.unsupported(seed.at, "the target takes a seed of 32 bits"));
        }
        config.raw(out, "seed", &seed.value);
    }
    write_stop(request, reading, &mut config, out)?;
    if let Some(choices) = request.choices.filter(|choices| choices.value != 1) {
        config.number(out, "candidateCount", choices.value);
    }
    raw(&mut config, "presencePenalty", sampling.presence_penalty.as_ref(), out);
    raw(&mut config, "frequencyPenalty", sampling.frequency_penalty.as_ref(), out);
    lose_sampling(sampling, reading);
    if let Some(logprobs) = request.logprobs {
        config.truth(out, "responseLogprobs", true);
        config.number(out, "logprobs", logprobs.value.top);
    }
    if let Some(output) = &request.output {
        write_output(output, target, reading, &mut config, out);
    }
    write_modalities(request, reading, &mut config, out);
    if let Some(reasoning) = &request.reasoning {
        write_reasoning(reasoning, target, reading, &mut config, out);
    }
    config.close(out);
    Ok(())
}

fn raw(config: &mut Members, key: &str, value: Option<&Placed<Raw<'_>>>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        config.raw(out, key, &value.value);
    }
}

fn lose_sampling(sampling: &Sampling<'_>, reading: &mut Reading<'_, '_>) {
    let lost = [&sampling.min_p, &sampling.repetition_penalty, &sampling.logit_bias];
    lost.into_iter().flatten().for_each(|value| reading.dropped(value.at));
}

fn write_stop(
    request: &Request<'_>,
    reading: &Reading<'_, '_>,
    config: &mut Members,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let Some(stop) = request.stop.as_ref().filter(|stop| !stop.value.is_empty()) else { return Ok(()) };
    if stop.value.len() > STOPS_MAX {
        return Err(reading.unsupported(stop.at, "the target takes five texts to stop at"));
    }
    config.key(out, "stopSequences");
    let mut list = List::open(out);
    for text in &stop.value {
        list.next(out);
        text.write(out);
    }
    list.close(out);
    Ok(())
}

fn write_output(
    output: &Placed<Output<'_>>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    config: &mut Members,
    out: &mut Vec<u8>,
) {
    match &output.value {
        Output::Text => {}
        Output::JsonAny => config.json(out, "responseMimeType", "\"application/json\""),
        Output::JsonSchema(schema) => {
            config.json(out, "responseMimeType", "\"application/json\"");
            if schema.strict == Some(false) {
                reading.approximated(output.at, "strict");
            }
            if schema.name.is_some() || schema.description.is_some() {
                reading.noted(output.at, "unnamed"); // labels, which most callers have to write
            }
            if let Some(schema) = &schema.schema {
                let changed =
                    write_schema(schema, target, ["responseJsonSchema", "responseSchema"], config, out);
                if changed {
                    reading.approximated(output.at, "schema");
                }
            }
        }
        Output::Grammar(_) => reading.dropped(output.at),
    }
}

/// A schema under its key: the first for JSON Schema, the second for Google's own form. Whether it had to change.
pub(super) fn write_schema(
    schema: &Raw<'_>,
    target: &Target,
    keys: [&str; 2],
    members: &mut Members,
    out: &mut Vec<u8>,
) -> bool {
    if !target.legacy_schema {
        members.raw(out, keys[0], schema);
        return false;
    }
    let mut tape = Tape::new();
    let Ok(value) = tape.read(schema.as_str(), Surrogates::Replace) else { return true };
    let own = schema::to_own_form(value);
    members.raw(out, keys[1], &own.schema);
    own.changed
}

fn write_modalities(
    request: &Request<'_>,
    reading: &mut Reading<'_, '_>,
    config: &mut Members,
    out: &mut Vec<u8>,
) {
    let Some(modalities) = &request.modalities else { return };
    if modalities.value.audio_settings.is_some() {
        reading.dropped(modalities.at); // another provider's voices
    }
    config.key(out, "responseModalities");
    out.extend_from_slice(match (modalities.value.image, modalities.value.audio) {
        (true, true) => br#"["TEXT","IMAGE","AUDIO"]"#.as_slice(),
        (true, false) => br#"["TEXT","IMAGE"]"#,
        (false, true) => br#"["AUDIO"]"#,
        (false, false) => br#"["TEXT"]"#,
    });
}

/// `thinkingConfig`, by level or by budget as the model takes it.
fn write_reasoning(
    reasoning: &Placed<Reasoning>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    config: &mut Members,
    out: &mut Vec<u8>,
) {
    let mut inner = Vec::new();
    let mut thinking = Members::open(&mut inner);
    let wanted = &reasoning.value;
    if matches!(wanted.show, Show::Summary | Show::Full) {
        thinking.truth(&mut inner, "includeThoughts", true);
    }
    let effort = match wanted.mode {
        Mode::Off => Some(Effort::None),
        Mode::Default | Mode::Adaptive | Mode::On => wanted.effort_or_budget(),
    };
    match (target.capabilities.reasoning, effort) {
        (ReasoningForm::None, Some(Effort::None)) => {}
        (ReasoningForm::None, Some(_)) => reading.dropped(reasoning.at),
        (ReasoningForm::Effort | ReasoningForm::Adaptive, Some(effort)) => {
            let (level, exact) = level(effort);
            if !exact || wanted.effort.is_none() && wanted.budget.is_some_and(|budget| budget > 0) {
                reading.approximated(reasoning.at, level.trim_matches('"'));
            }
            thinking.json(&mut inner, "thinkingLevel", level);
        }
        (ReasoningForm::Budget { .. }, None) if wanted.mode == Mode::Adaptive => {
            thinking.json(&mut inner, "thinkingBudget", "-1");
        }
        (_, None) => {} // as the model does
        (ReasoningForm::Budget { .. }, Some(Effort::Max)) if wanted.budget.is_none() => {
            reading.approximated(reasoning.at, "-1");
            thinking.json(&mut inner, "thinkingBudget", "-1");
        }
        (ReasoningForm::Budget { cap }, Some(effort)) => {
            let budget = wanted.budget.unwrap_or_else(|| effort.budget(cap));
            thinking.number(&mut inner, "thinkingBudget", budget.min(cap));
        }
    }
    thinking.close(&mut inner);
    if inner != b"{}" {
        config.key(out, "thinkingConfig");
        out.extend_from_slice(&inner);
    }
}

/// The level of an effort, and whether it is the same.
const fn level(effort: Effort) -> (&'static str, bool) {
    match effort {
        Effort::None => ("\"MINIMAL\"", false),
        Effort::Minimal => ("\"MINIMAL\"", true),
        Effort::Low => ("\"LOW\"", true),
        Effort::Medium => ("\"MEDIUM\"", true),
        Effort::High => ("\"HIGH\"", true),
        Effort::XHigh => ("\"XHIGH\"", true),
        Effort::Max => ("\"XHIGH\"", false),
    }
}
