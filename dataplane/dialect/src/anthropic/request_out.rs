//! The common model into a request of Anthropic Messages.
//! Owns: the order of the top-level fields, with what changes from turn to turn last, and the budget of thinking.
//! Must not: read the clock, or write anything that the request and the target do not say.
//! Read next: `messages_out.rs`, `tools_out.rs`.

use super::{messages_out, tools_out};
use crate::json::{List, Members, Text, decimal};
use crate::model::{
    AnthropicVersion, Effort, Losses, Mode, Output, Reading, Reasoning, ReasoningForm, Refused, Request,
    Show, Target, Tier,
};

/// Appends the body of the request.
pub fn write_request(
    request: &Request<'_>,
    target: &Target,
    losses: &mut Losses,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let reading = &mut Reading::of(request.source, losses);
    refuse(request, reading)?;
    let max_tokens = request.max_output.map_or(target.default_max_output, |most| most.value);
    let thinking = Thinking::of(request, target, max_tokens, reading);
    let mut body = Members::open(out);
    body.text(out, "model", &request.model);
    messages_out::write_system(request, target, &mut body, out);
    tools_out::write(request, target, reading, &mut body, out)?;
    thinking.write(&mut body, out);
    write_output(request, &thinking, reading, &mut body, out);
    write_about(request, reading, &mut body, out)?;
    write_sampling(request, target, &thinking, reading, &mut body, out);
    if request.max_output.is_none() {
        reading.losses.noted("/max_tokens", &max_tokens.to_string());
    }
    body.number(out, "max_tokens", max_tokens);
    if request.stream {
        body.truth(out, "stream", true);
    }
    request.extras.iter().for_each(|extra| reading.dropped(extra.at));
    body.key(out, "messages");
    messages_out::write(request, target, reading, out)?;
    body.close(out);
    Ok(())
}

/// What would change the answer into another if it were left out.
fn refuse(request: &Request<'_>, reading: &Reading<'_, '_>) -> Result<(), Refused> {
    if let Some(choices) = request.choices.filter(|choices| choices.value != 1) {
        return Err(reading.unsupported(choices.at, "the target gives one answer; ask several times"));
    }
    if let Some(modalities) = &request.modalities {
        return Err(reading.unsupported(modalities.at, "the target answers in text"));
    }
    Ok(())
}

/// How the model is asked to think.
#[derive(Clone, Copy)]
enum Thinking {
    Unsaid,
    Off,
    Adaptive(Option<Effort>, Show),
    /// By a budget of tokens.
    Budget(u64, Show),
    /// By an effort alone, as the caller had it.
    Effort(Effort),
}

/// Least tokens that thinking may have.
const BUDGET_MIN: u64 = 1_024;

impl Thinking {
    fn of(request: &Request<'_>, target: &Target, max_tokens: u64, reading: &mut Reading<'_, '_>) -> Self {
        let Some(asked) = request.reasoning else { return Self::Unsaid };
        let wish = asked.value;
        let said = wish.effort.is_some() || wish.budget.is_some();
        match (wish.mode, target.capabilities.reasoning) {
            (Mode::Off, _) if wish.effort == Some(Effort::None) || wish.mode == Mode::Off => Self::Off,
            (Mode::Off, _) => Self::Off,
            (Mode::Default, _) if !said => Self::Unsaid,
            (_, ReasoningForm::None) => {
                reading.dropped(asked.at);
                Self::Unsaid
            }
            (Mode::Default, ReasoningForm::Effort) => {
                wish.effort_or_budget().map_or(Self::Unsaid, Self::Effort)
            }
            (Mode::Adaptive | Mode::On | Mode::Default, ReasoningForm::Adaptive | ReasoningForm::Effort) => {
                Self::Adaptive(wish.effort_or_budget(), wish.show)
            }
            (Mode::Adaptive, ReasoningForm::Budget { .. }) if !said => Self::Adaptive(None, wish.show),
            (Mode::Adaptive | Mode::On | Mode::Default, ReasoningForm::Budget { cap }) => {
                let budget = wish.budget.unwrap_or_else(|| wish.effort.unwrap_or(Effort::Medium).budget(cap));
                Self::within(budget, &wish, max_tokens, || asked.at, reading)
            }
        }
    }

    /// The budget leaves room for the answer.
    fn within(
        budget: u64,
        wish: &Reasoning,
        max_tokens: u64,
        at: impl FnOnce() -> crate::json::Place,
        reading: &mut Reading<'_, '_>,
    ) -> Self {
        if max_tokens <= BUDGET_MIN {
            reading.approximated(at(), "disabled");
            return Self::Off;
        }
        let fits = budget.min(max_tokens - max_tokens.div_ceil(5)).max(BUDGET_MIN);
        if fits != budget {
            reading.approximated(at(), &fits.to_string());
        }
        Self::Budget(fits, wish.show)
    }

    const fn is_on(self) -> bool {
        matches!(self, Self::Adaptive(..) | Self::Budget(..))
    }

    fn write(self, body: &mut Members, out: &mut Vec<u8>) {
        let show = match self {
            Self::Unsaid | Self::Effort(_) => return,
            Self::Off => {
                body.json(out, "thinking", r#"{"type":"disabled"}"#);
                return;
            }
            Self::Adaptive(_, show) => {
                body.key(out, "thinking");
                out.extend_from_slice(br#"{"type":"adaptive""#);
                show
            }
            Self::Budget(tokens, show) => {
                body.key(out, "thinking");
                out.extend_from_slice(br#"{"type":"enabled","budget_tokens":"#);
                crate::json::number(out, tokens);
                show
            }
        };
        match show {
            Show::None => out.extend_from_slice(br#","display":"omitted""#),
            Show::Summary => out.extend_from_slice(br#","display":"summarized""#),
            Show::Default | Show::Full => {}
        }
        out.push(b'}');
    }

    /// The effort as a word of `output_config`.
    const fn effort(self) -> Option<&'static str> {
        match self {
            Self::Adaptive(Some(effort), _) | Self::Effort(effort) => match effort {
                Effort::None => None,
                Effort::Minimal | Effort::Low => Some("low"),
                Effort::Medium => Some("medium"),
                Effort::High => Some("high"),
                Effort::XHigh => Some("xhigh"),
                Effort::Max => Some("max"),
            },
            Self::Unsaid | Self::Off | Self::Adaptive(None, _) | Self::Budget(..) => None,
        }
    }
}

fn write_output(
    request: &Request<'_>,
    thinking: &Thinking,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) {
    let schema = match request.output.as_ref().map(|output| (&output.value, output.at)) {
        None | Some((Output::Text, _)) => None,
        Some((Output::JsonSchema(schema), at)) if schema.schema.is_some() => {
            if schema.strict == Some(false) {
                reading.approximated(at, "strict");
            }
            if schema.name.is_some() || schema.description.is_some() {
                reading.noted(at, "unnamed"); // every caller must name it, so a strict route puts up with that
            }
            schema.schema.as_ref()
        }
        Some((Output::JsonAny | Output::JsonSchema(_) | Output::Grammar(_), at)) => {
            reading.dropped(at);
            None
        }
    };
    let effort = thinking.effort();
    if schema.is_none() && effort.is_none() {
        return;
    }
    body.key(out, "output_config");
    let mut config = Members::open(out);
    if let Some(effort) = effort {
        config.key(out, "effort");
        Text::written(effort).write(out);
    }
    if let Some(schema) = schema {
        config.key(out, "format");
        out.extend_from_slice(br#"{"type":"json_schema","schema":"#);
        schema.write(out);
        out.push(b'}');
    }
    config.close(out);
}

/// What is said about the request, not to the model.
fn write_about(
    request: &Request<'_>,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    if let Some(user) = &request.end_user {
        body.key(out, "metadata");
        out.extend_from_slice(br#"{"user_id":"#);
        user.value.write(out);
        out.push(b'}');
    }
    if let Some(tier) = &request.tier {
        match &tier.value {
            Tier::Auto => body.json(out, "service_tier", "\"auto\""),
            Tier::Default => body.json(out, "service_tier", "\"standard_only\""),
            Tier::Priority => {
                reading.approximated(tier.at, "auto");
                body.json(out, "service_tier", "\"auto\"");
            }
            Tier::Flex | Tier::Other(_) => reading.dropped(tier.at),
        }
    }
    if let Some(stop) = request.stop.as_ref().filter(|stop| !stop.value.is_empty()) {
        if stop.value.iter().any(|text| text.plain().trim().is_empty()) {
            return Err(reading.unsupported(stop.at, "the target does not stop at white space"));
        }
        body.key(out, "stop_sequences");
        let mut list = List::open(out);
        for text in &stop.value {
            list.next(out);
            text.write(out);
        }
        list.close(out);
    }
    let lost = [
        request.metadata.as_ref().map(|lost| lost.at),
        request.cache_key.as_ref().map(|lost| lost.at),
        request.verbosity.map(|lost| lost.at),
        request.logprobs.map(|lost| lost.at),
        request.store.filter(|store| store.value).map(|lost| lost.at),
    ];
    lost.into_iter().flatten().for_each(|at| reading.dropped(at));
    Ok(())
}

fn write_sampling(
    request: &Request<'_>,
    target: &Target,
    thinking: &Thinking,
    reading: &mut Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) {
    let sampling = &request.sampling;
    let none = target.anthropic_version == AnthropicVersion::V2026;
    if let Some(temperature) = &sampling.temperature {
        let value = decimal(temperature.value.as_str());
        if none || thinking.is_on() && (value - 1.0).abs() > f64::EPSILON {
            reading.dropped(temperature.at);
        } else if value > 1.0 {
            reading.approximated(temperature.at, "1");
            body.number(out, "temperature", 1);
        } else {
            body.raw(out, "temperature", &temperature.value);
        }
    }
    match &sampling.top_p {
        Some(top_p) if none => reading.dropped(top_p.at),
        Some(top_p) => body.raw(out, "top_p", &top_p.value),
        None => {}
    }
    match sampling.top_k {
        Some(top_k) if none || thinking.is_on() => reading.dropped(top_k.at),
        Some(top_k) => body.number(out, "top_k", top_k.value),
        None => {}
    }
    let lost = [
        &sampling.min_p,
        &sampling.repetition_penalty,
        &sampling.frequency_penalty,
        &sampling.presence_penalty,
        &sampling.seed,
        &sampling.logit_bias,
    ];
    lost.into_iter().flatten().for_each(|lost| reading.dropped(lost.at));
}
