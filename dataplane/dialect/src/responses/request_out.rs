//! The common model into a request of Responses.
//! Owns: the order of the top-level fields, with what changes from turn to turn last. Must not: leave anything at the
//! provider: `store` is false unless the caller asked for it, so the state of thoughts is asked for in the answer.
//! Read next: `items_out.rs`, `tools_out.rs`.

use super::{items_out, tools_out};
use crate::json::{Members, Text};
use crate::model::{
    Effort, Losses, Mode, Output, Placed, Reading, ReasoningForm, Refused, Request, Role, Sampling, Schema,
    Show, Target, Tier, Verbosity,
};

/// Appends the body of the request.
pub fn write_request(
    request: &Request<'_>,
    target: &Target,
    losses: &mut Losses,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let reading = &mut Reading::of(request.source, losses);
    if let Some(choices) = request.choices.filter(|choices| choices.value > 1) {
        return Err(reading.unsupported(choices.at, "the target gives one answer"));
    }
    let mut body = Members::open(out);
    body.text(out, "model", &request.model);
    items_out::write_instructions(&request.system, reading, &mut body, out)?;
    tools_out::write(request, target, reading, &mut body, out)?;
    write_text(request, reading, &mut body, out);
    write_reasoning(request, target, reading, &mut body, out);
    if let Some(most) = request.max_output {
        body.number(out, "max_output_tokens", most.value);
    }
    write_sampling(request, reading, &mut body, out);
    write_about(request, reading, &mut body, out)?;
    let store = request.store.is_some_and(|store| store.value);
    body.truth(out, "store", store);
    write_include(request, store, &mut body, out);
    for extra in &request.extras {
        reading.dropped(extra.at);
    }
    if request.stream {
        body.truth(out, "stream", true);
    }
    if let Some(last) = request.turns.last().filter(|turn| turn.role == Role::Assistant) {
        reading.approximated(last.at, "prefill");
    }
    body.key(out, "input");
    items_out::write(request, target, reading, out)?;
    body.close(out);
    Ok(())
}

/// `text`: the form of the answer, and how wordy it may be.
fn write_text(request: &Request<'_>, reading: &mut Reading<'_, '_>, body: &mut Members, out: &mut Vec<u8>) {
    let mut inner = Vec::new();
    let mut text = Members::open(&mut inner);
    if let Some(output) = &request.output {
        match &output.value {
            Output::Text => {}
            Output::JsonAny => text.json(&mut inner, "format", r#"{"type":"json_object"}"#),
            Output::JsonSchema(schema) => {
                text.key(&mut inner, "format");
                write_schema(schema, &mut inner);
            }
            Output::Grammar(_) => reading.dropped(output.at),
        }
    }
    if let Some(verbosity) = request.verbosity {
        let word = match verbosity.value {
            Verbosity::Low => "\"low\"",
            Verbosity::Medium => "\"medium\"",
            Verbosity::High => "\"high\"",
        };
        text.json(&mut inner, "verbosity", word);
    }
    text.close(&mut inner);
    if inner != b"{}" {
        body.key(out, "text");
        out.extend_from_slice(&inner);
    }
}

/// Strictness is said, since it is tried where it is not.
fn write_schema(schema: &Schema<'_>, out: &mut Vec<u8>) {
    let mut members = Members::open(out);
    members.json(out, "type", "\"json_schema\"");
    members.text(out, "name", schema.name.as_ref().unwrap_or(&Text::written("response")));
    if let Some(description) = &schema.description {
        members.text(out, "description", description);
    }
    match &schema.schema {
        Some(schema) => members.raw(out, "schema", schema),
        None => members.json(out, "schema", "{}"),
    }
    members.truth(out, "strict", schema.strict.unwrap_or(false));
    members.close(out);
}

fn write_reasoning(
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) {
    let Some(Placed { value: wanted, at }) = request.reasoning else { return };
    let effort = match wanted.mode {
        Mode::Off => Some(Effort::None),
        Mode::Default | Mode::Adaptive | Mode::On => wanted.effort_or_budget(),
    };
    if target.capabilities.reasoning == ReasoningForm::None {
        if effort.is_some_and(|effort| effort != Effort::None) {
            reading.dropped(at);
        }
        return;
    }
    let mut inner = Vec::new();
    let mut members = Members::open(&mut inner);
    if let Some(effort) = effort {
        if wanted.effort.is_none() && wanted.budget.is_some_and(|budget| budget > 0) {
            reading.approximated(at, effort.name());
        }
        members.text(&mut inner, "effort", &Text::written(effort.name()));
    }
    match wanted.show {
        Show::Default | Show::None => {}
        Show::Summary => members.json(&mut inner, "summary", "\"auto\""),
        Show::Full => members.json(&mut inner, "summary", "\"detailed\""),
    }
    members.close(&mut inner);
    if inner != b"{}" {
        body.key(out, "reasoning");
        out.extend_from_slice(&inner);
    }
}

fn write_sampling(
    request: &Request<'_>,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) {
    let Sampling {
        temperature,
        top_p,
        top_k,
        min_p,
        repetition_penalty,
        frequency_penalty,
        presence_penalty,
        seed,
        logit_bias,
    } = &request.sampling;
    for (key, value) in [("temperature", temperature), ("top_p", top_p)] {
        if let Some(value) = value {
            body.raw(out, key, &value.value);
        }
    }
    if let Some(top_k) = top_k {
        reading.dropped(top_k.at);
    }
    let lost = [min_p, repetition_penalty, frequency_penalty, presence_penalty, seed, logit_bias];
    lost.into_iter().flatten().for_each(|value| reading.dropped(value.at));
    // Cutting the text here instead would be billed all the same, and could cut a call.
    if let Some(stop) = request.stop.as_ref().filter(|stop| !stop.value.is_empty()) {
        reading.dropped(stop.at);
    }
}

/// What is said about the request, not to the model.
fn write_about(
    request: &Request<'_>,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    if let Some(logprobs) = request.logprobs {
        body.number(out, "top_logprobs", logprobs.value.top);
    }
    if let Some(modalities) = &request.modalities {
        if modalities.value.audio {
            return Err(reading.unsupported(modalities.at, "the target does not speak"));
        }
        reading.dropped(modalities.at);
    }
    if let Some(user) = &request.end_user {
        body.text(out, "safety_identifier", &user.value);
    }
    if let Some(metadata) = &request.metadata {
        body.raw(out, "metadata", &metadata.value);
    }
    if let Some(tier) = &request.tier {
        match &tier.value {
            Tier::Auto => body.json(out, "service_tier", "\"auto\""),
            Tier::Default => body.json(out, "service_tier", "\"default\""),
            Tier::Flex => body.json(out, "service_tier", "\"flex\""),
            Tier::Priority => body.json(out, "service_tier", "\"priority\""),
            Tier::Other(_) => reading.dropped(tier.at),
        }
    }
    if let Some(key) = &request.cache_key {
        body.text(out, "prompt_cache_key", &key.value);
    }
    Ok(())
}

fn write_include(request: &Request<'_>, store: bool, body: &mut Members, out: &mut Vec<u8>) {
    let wanted: &str = match (!store, request.logprobs.is_some()) {
        (true, false) => r#"["reasoning.encrypted_content"]"#,
        (true, true) => r#"["reasoning.encrypted_content","message.output_text.logprobs"]"#,
        (false, true) => r#"["message.output_text.logprobs"]"#,
        (false, false) => return,
    };
    body.json(out, "include", wanted);
}
