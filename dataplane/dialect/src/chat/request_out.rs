//! The common model into a request of Chat Completions.
//! Owns: the order of the top-level fields, with what changes from turn to turn last. Must not: read the clock, or
//! write anything that the request and the target do not say.
//! Read next: `messages_out.rs`, `tools_out.rs`.

use super::request_in::write_extra;
use super::{messages_out, tools_out};
use crate::json::{List, Members, Text};
use crate::model::{
    Effort, Losses, MaxTokensName, Mode, Output, Placed, Reading, Refused, Request, Role, Sampling, Schema,
    Target, Tier, Verbosity,
};

/// Appends the body of the request.
pub fn write_request(
    request: &Request<'_>,
    target: &Target,
    losses: &mut Losses,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let reading = &mut Reading::of(request.source, losses);
    let mut body = Members::open(out);
    body.text(out, "model", &request.model);
    tools_out::write(request, target, reading, &mut body, out)?;
    if let Some(output) = &request.output {
        write_output(output, reading, &mut body, out);
    }
    write_reasoning(request, target, reading, &mut body, out);
    write_limits(request, target, reading, &mut body, out)?;
    write_sampling(&request.sampling, target, reading, &mut body, out);
    write_about(request, reading, &mut body, out);
    write_extras(request, target, reading, &mut body, out)?;
    write_prefill(request, target, reading, &mut body, out);
    if request.stream {
        body.truth(out, "stream", true);
        body.json(out, "stream_options", r#"{"include_usage":true}"#); // hidden from callers who did not ask
    }
    body.key(out, "messages");
    messages_out::write(request, target, reading, out)?;
    body.close(out);
    Ok(())
}

fn write_output(
    output: &Placed<Output<'_>>,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) {
    match &output.value {
        Output::Text => {}
        Output::JsonAny => body.json(out, "response_format", r#"{"type":"json_object"}"#),
        Output::JsonSchema(schema) => {
            body.key(out, "response_format");
            out.extend_from_slice(br#"{"type":"json_schema","json_schema":"#);
            write_schema(schema, out);
            out.push(b'}');
        }
        Output::Grammar(_) => reading.dropped(output.at),
    }
}

fn write_schema(schema: &Schema<'_>, out: &mut Vec<u8>) {
    let mut members = Members::open(out);
    members.text(out, "name", schema.name.as_ref().unwrap_or(&Text::written("response")));
    if let Some(description) = &schema.description {
        members.text(out, "description", description);
    }
    if let Some(schema) = &schema.schema {
        members.raw(out, "schema", schema);
    }
    if let Some(strict) = schema.strict {
        members.truth(out, "strict", strict);
    }
    members.close(out);
}

fn write_reasoning(
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) {
    let Some(reasoning) = &request.reasoning else { return };
    let effort = match reasoning.value.mode {
        Mode::Off => Some(Effort::None),
        Mode::Default | Mode::Adaptive | Mode::On => reasoning.value.effort_or_budget(),
    };
    let Some(effort) = effort else { return };
    if target.capabilities.reasoning == crate::model::ReasoningForm::None {
        if effort != Effort::None {
            reading.dropped(reasoning.at);
        }
        return;
    }
    if reasoning.value.effort.is_none() && reasoning.value.budget.is_some() {
        reading.approximated(reasoning.at, effort.name());
    }
    body.key(out, "reasoning_effort");
    Text::written(effort.name()).write(out);
}

fn write_limits(
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    if let Some(most) = request.max_output {
        let name = match target.max_tokens_name {
            MaxTokensName::MaxCompletionTokens => "max_completion_tokens",
            MaxTokensName::MaxTokens => "max_tokens",
        };
        body.number(out, name, most.value);
    }
    if let Some(stop) = request.stop.as_ref().filter(|stop| !stop.value.is_empty()) {
        if stop.value.len() > STOPS_MAX && !target.engine.takes_extras() {
            return Err(reading.unsupported(stop.at, "the target takes four texts to stop at"));
        }
        body.key(out, "stop");
        let mut list = List::open(out);
        for text in &stop.value {
            list.next(out);
            text.write(out);
        }
        list.close(out);
    }
    if let Some(choices) = request.choices.filter(|choices| choices.value != 1) {
        body.number(out, "n", choices.value);
    }
    Ok(())
}

/// What hosted models take; more would change what the caller gets, so it is refused.
const STOPS_MAX: usize = 4;

fn write_sampling(
    sampling: &Sampling<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) {
    let own = target.engine.takes_extras();
    if let Some(top_k) = sampling.top_k {
        if own { body.number(out, "top_k", top_k.value) } else { reading.dropped(top_k.at) }
    }
    for (key, value, known) in [
        ("temperature", &sampling.temperature, true),
        ("top_p", &sampling.top_p, true),
        ("min_p", &sampling.min_p, own),
        ("repetition_penalty", &sampling.repetition_penalty, own),
        ("frequency_penalty", &sampling.frequency_penalty, true),
        ("presence_penalty", &sampling.presence_penalty, true),
        ("seed", &sampling.seed, true),
        ("logit_bias", &sampling.logit_bias, true),
    ] {
        match value {
            Some(value) if known => body.raw(out, key, &value.value),
            Some(value) => reading.dropped(value.at),
            None => {}
        }
    }
}

/// What is said about the request, not to the model.
fn write_about(request: &Request<'_>, reading: &mut Reading<'_, '_>, body: &mut Members, out: &mut Vec<u8>) {
    if let Some(logprobs) = request.logprobs {
        body.truth(out, "logprobs", true);
        body.number(out, "top_logprobs", logprobs.value.top);
    }
    if let Some(verbosity) = request.verbosity {
        let word = match verbosity.value {
            Verbosity::Low => "\"low\"",
            Verbosity::Medium => "\"medium\"",
            Verbosity::High => "\"high\"",
        };
        body.json(out, "verbosity", word);
    }
    if let Some(modalities) = &request.modalities {
        if modalities.value.image {
            reading.dropped(modalities.at);
        }
        if modalities.value.audio {
            body.json(out, "modalities", r#"["text","audio"]"#);
            if let Some(settings) = &modalities.value.audio_settings {
                body.raw(out, "audio", settings);
            }
        }
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
}

/// Fields that only the gateway may set at an engine: they steer where and for whom it works (dialects section 3.9).
const GATEWAYS_OWN: [&str; 13] = [
    "kv_transfer_params",
    "ec_transfer_params",
    "bootstrap_host",
    "bootstrap_port",
    "bootstrap_room",
    "routed_dp_rank",
    "data_parallel_rank",
    "cache_salt",
    "priority",
    "request_id",
    "rid",
    "custom_logit_processor",
    "chat_template",
];

/// Fields without a word in the common model: an engine that is our own may know them.
fn write_extras(
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    for extra in &request.extras {
        if !target.engine.takes_extras() {
            reading.dropped(extra.at);
        } else if GATEWAYS_OWN.iter().any(|own| extra.key.is(own)) {
            return Err(reading.unsupported(extra.at, "only the gateway may set this field"));
        } else {
            write_extra(out, body, extra);
        }
    }
    Ok(())
}

/// A conversation that ends with the model's own words: it is to go on from there.
fn write_prefill(
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) {
    let Some(last) = request.turns.last().filter(|turn| turn.role == Role::Assistant) else { return };
    if target.engine.takes_extras() {
        body.truth(out, "add_generation_prompt", false);
        body.truth(out, "continue_final_message", true);
    } else {
        reading.approximated(last.at, "prefill");
    }
}
