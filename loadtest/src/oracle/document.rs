//! Judges an answer that comes in one piece.
//!
//! Owns: the shape of unary chat completions and completions. Must not: know how it was framed.
//! Read next: `stream.rs`, the same as events.

use serde::Deserialize;

use super::{
    Fault, Measured, Totals, Usage, Violation, Wanted, check_finish, check_identity, excerpt, violation,
};
use crate::scenario::Form;

#[derive(Deserialize)]
struct Document {
    id: String,
    object: String,
    #[serde(rename = "created")]
    _created: u64,
    model: String,
    system_fingerprint: Option<String>,
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    index: u64,
    message: Option<Message>,
    text: Option<String>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Option<String>,
}

pub(super) fn check(wanted: &Wanted, bytes: &[u8]) -> Result<Measured, Violation> {
    let document = read(bytes)?;
    let form = wanted.form;
    let object = match form {
        Form::Chat => "chat.completion",
        Form::Completion => "text_completion",
    };
    if document.object != object {
        return violation!(WrongShape, "`object` is `{}` instead of `{object}`", document.object);
    }
    check_identity(&document.id, &document.model)?;
    let [choice] = &document.choices[..] else {
        return violation!(WrongShape, "{} choices instead of one", document.choices.len());
    };
    if choice.index != 0 {
        return violation!(WrongShape, "choice {} instead of 0", choice.index);
    }
    let text = text(choice, form)?;
    let Some(finish) = choice.finish_reason.as_deref() else {
        return violation!(MissingFinish, "`finish_reason` is null");
    };
    check_finish(finish)?;
    let Some(usage) = document.usage else {
        return violation!(MissingUsage, "the answer has no `usage`");
    };
    let fingerprint = document.system_fingerprint.as_deref();
    wanted.check_totals(&Totals { usage, finish, events: None, text, fingerprint })
}

fn read(bytes: &[u8]) -> Result<Document, Violation> {
    serde_json::from_slice(bytes).map_err(|error| {
        let fault = if error.is_data() { Fault::WrongShape } else { Fault::BadJson };
        Violation::new(fault, format!("{error}: {}", excerpt(bytes)))
    })
}

fn text(choice: &Choice, form: Form) -> Result<&str, Violation> {
    match (form, &choice.message, &choice.text) {
        (Form::Chat, Some(message), _) if message.role != "assistant" => {
            violation!(WrongShape, "the role is `{}`", message.role)
        }
        (Form::Chat, Some(message), _) => Ok(message.content.as_deref().unwrap_or_default()),
        (Form::Completion, _, Some(text)) => Ok(text),
        (Form::Chat, None, _) => violation!(WrongShape, "the choice has no `message`"),
        (Form::Completion, _, None) => violation!(WrongShape, "the choice has no `text`"),
    }
}
