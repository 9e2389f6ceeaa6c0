//! Judges an answer that comes as events.
//!
//! Owns: the shape of each event and their order: text, then a finish reason, then usage, then `[DONE]`, then
//! nothing. Must not: know how the body was framed.
//! Read next: `document.rs`, the same in one piece.

use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{
    Fault, Measured, Totals, Usage, Violation, Wanted, check_finish, check_identity, excerpt, violation,
};
use crate::{
    client::sse::{SseEvent, SseFault, SseReader},
    scenario::Form,
    stats::Latency,
};

#[derive(Debug)]
pub(super) struct StreamJudge {
    reader: SseReader,
    rules: Rules,
}

/// What was seen so far, and what may follow.
#[derive(Debug)]
struct Rules {
    wanted: Wanted,
    id: String,
    model: String,
    fingerprint: Option<String>,
    text: String,
    finish: Option<String>,
    usage: Option<Usage>,
    done: bool,
    /// When each event with text arrived.
    arrivals: Vec<Instant>,
}

#[derive(Deserialize)]
struct Chunk {
    id: Option<String>,
    object: Option<String>,
    created: Option<u64>,
    model: Option<String>,
    system_fingerprint: Option<String>,
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    index: u64,
    delta: Option<Delta>,
    text: Option<String>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    role: Option<String>,
    content: Option<String>,
    #[serde(alias = "reasoning")]
    reasoning_content: Option<String>,
}

impl StreamJudge {
    pub(super) fn new(wanted: Wanted) -> Self {
        let tokens = wanted.max_tokens.min(4_096) as usize;
        let rules = Rules {
            wanted,
            id: String::new(),
            model: String::new(),
            fingerprint: None,
            text: String::new(),
            finish: None,
            usage: None,
            done: false,
            arrivals: Vec::with_capacity(tokens),
        };
        Self { reader: SseReader::default(), rules }
    }

    pub(super) fn is_done(&self) -> bool {
        self.rules.done
    }

    /// Events that carried text.
    pub(super) fn events(&self) -> usize {
        self.rules.arrivals.len()
    }

    /// When each of them came.
    pub(super) fn arrivals(&self) -> &[Instant] {
        &self.rules.arrivals
    }

    pub(super) fn feed(&mut self, bytes: &[u8], now: Instant) -> Result<(), Violation> {
        let mut verdict = Ok(());
        let rules = &mut self.rules;
        let read = self.reader.feed(bytes, |event| {
            if verdict.is_ok() {
                verdict = rules.event(event, now);
            }
        });
        verdict?;
        match read {
            Ok(()) => Ok(()),
            Err(SseFault::NotUtf8) => violation!(BadEvent, "the stream is not UTF-8"),
            Err(SseFault::TooLong) => violation!(BadEvent, "an event does not end"),
        }
    }

    pub(super) fn finish(self, gaps: &mut Latency) -> Result<Measured, Violation> {
        let rules = self.rules;
        if self.reader.is_mid_event() {
            return violation!(BadEvent, "the stream ends within an event");
        }
        if !rules.done {
            return violation!(MissingDone, "the stream ends after {} token events", rules.arrivals.len());
        }
        let Some(finish) = rules.finish.as_deref() else {
            return violation!(MissingFinish, "no event has a `finish_reason`");
        };
        let Some(usage) = rules.usage else {
            return violation!(MissingUsage, "no event has a `usage`, though it was asked for");
        };
        let totals = Totals {
            usage,
            finish,
            events: Some(rules.arrivals.len() as u64),
            text: &rules.text,
            fingerprint: rules.fingerprint.as_deref(),
        };
        let measured = rules.wanted.check_totals(&totals)?;
        for pair in rules.arrivals.windows(2) {
            gaps.record(pair[1].saturating_duration_since(pair[0]).max(Duration::from_nanos(1)));
        }
        Ok(Measured {
            first: rules.arrivals.first().copied(),
            last: rules.arrivals.last().copied(),
            ..measured
        })
    }
}

impl Rules {
    fn event(&mut self, event: SseEvent<'_>, now: Instant) -> Result<(), Violation> {
        if self.done {
            return violation!(WrongOrder, "after [DONE]: {}", excerpt(event.data.as_bytes()));
        }
        if event.data == "[DONE]" {
            self.done = true;
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_str(event.data).map_err(|error| {
            let fault = if error.is_data() { Fault::WrongShape } else { Fault::BadJson };
            Violation::new(fault, format!("{error}: {}", excerpt(event.data.as_bytes())))
        })?;
        if chunk.error.is_some() || event.name == "error" {
            return violation!(ErrorEvent, "{}", excerpt(event.data.as_bytes()));
        }
        self.identity(&chunk)?;
        let Some(choices) = chunk.choices else {
            return violation!(WrongShape, "an event without `choices`");
        };
        if choices.len() > 1 {
            return violation!(WrongShape, "{} choices in one event", choices.len());
        }
        for choice in choices {
            self.choice(choice, now)?;
        }
        if let Some(usage) = chunk.usage {
            self.usage = Some(usage); // some servers send a running count in every event: the last one stands
        }
        Ok(())
    }

    /// Id and model come with every event and never change.
    fn identity(&mut self, chunk: &Chunk) -> Result<(), Violation> {
        let object = match self.wanted.form {
            Form::Chat => "chat.completion.chunk",
            Form::Completion => "text_completion",
        };
        let (Some(id), Some(model), Some(_)) = (&chunk.id, &chunk.model, chunk.created) else {
            return violation!(WrongShape, "an event without `id`, `model` or `created`");
        };
        if chunk.object.as_deref() != Some(object) {
            return violation!(WrongShape, "`object` is {:?} instead of `{object}`", chunk.object);
        }
        if self.id.is_empty() {
            check_identity(id, model)?;
            self.id.clone_from(id);
            self.model.clone_from(model);
            self.fingerprint.clone_from(&chunk.system_fingerprint);
        }
        if self.id != *id || self.model != *model {
            return violation!(
                IdentityChanged,
                "`{id}` by `{model}` in the stream of `{}` by `{}`",
                self.id,
                self.model
            );
        }
        Ok(())
    }

    fn choice(&mut self, choice: Choice, now: Instant) -> Result<(), Violation> {
        if choice.index != 0 {
            return violation!(WrongShape, "choice {} instead of 0", choice.index);
        }
        let mut has_text = false;
        for part in texts(self.wanted.form, &choice)?.into_iter().flatten() {
            has_text |= !part.is_empty();
            self.text.push_str(part);
        }
        if self.finish.is_some() && (has_text || choice.finish_reason.is_some()) {
            return violation!(WrongOrder, "a choice after the one with a `finish_reason`");
        }
        if has_text {
            self.arrivals.push(now);
        }
        if let Some(finish) = choice.finish_reason {
            check_finish(&finish)?;
            self.finish = Some(finish);
        }
        Ok(())
    }
}

/// Reasoning and content of a choice.
fn texts(form: Form, choice: &Choice) -> Result<[Option<&str>; 2], Violation> {
    match (form, &choice.delta) {
        (Form::Completion, _) => Ok([None, choice.text.as_deref()]),
        (Form::Chat, None) => violation!(WrongShape, "a choice without `delta`"),
        (Form::Chat, Some(delta)) if delta.role.as_deref().is_some_and(|role| role != "assistant") => {
            violation!(WrongShape, "the role is {:?}", delta.role)
        }
        (Form::Chat, Some(delta)) => Ok([delta.reasoning_content.as_deref(), delta.content.as_deref()]),
    }
}
