//! The common model into an answer of Responses.
//! Owns: which parts make one item. Must not: lose a part without saying so.
//! Read next: `item.rs`.

use super::item::{self, Now, Status};
use super::words::Ending;
use crate::json::{Surrogates, Tape, Text};
use crate::model::{
    Answer, Args, Choice, Content, Echo, Losses, Part, Reading, ReasoningPart, Show, ToolCall,
};
use crate::{answer_id, custom};

/// Appends the body of the answer. Only its first choice: the dialect has one.
pub fn write_answer(answer: &Answer<'_>, echo: &Echo, losses: &mut Losses, out: &mut Vec<u8>) {
    let id = answer_id::bare(&answer.id, echo);
    let mut reading = Reading::of(answer.source, losses);
    let mut writer =
        Writer { echo, id: &id, reading: &mut reading, output: Vec::new(), items: 0, content: Vec::new() };
    let mut ending = Ending::Completed;
    if let Some(choice) = answer.choices.first() {
        ending = writer.choice(choice);
    }
    let output = writer.output;
    if answer.choices.len() > 1 {
        reading.losses.dropped("/choices");
    }
    let created = answer.created.unwrap_or(echo.now);
    item::response(out, &id, created, echo, Now::Ended(ending), &output, answer.usage.as_ref());
}

struct Writer<'w, 'r, 'a> {
    echo: &'w Echo,
    id: &'w str,
    reading: &'w mut Reading<'r, 'a>,
    output: Vec<u8>,
    items: usize,
    /// Parts of the message at hand.
    content: Vec<u8>,
}

impl Writer<'_, '_, '_> {
    fn choice(&mut self, choice: &Choice<'_>) -> Ending {
        let (ending, less) = Ending::of(&choice.stop);
        let refused = choice.parts.iter().any(|part| matches!(part.content, Content::Refusal(_)));
        let ending = match &choice.stop {
            crate::model::Stop::Refusal { .. } if refused => Ending::Completed,
            _ => ending,
        };
        if less {
            self.reading.losses.noted("", "stop-reason");
        }
        let logprobs =
            choice.logprobs.as_ref().map(|raw| raw.as_str().trim().trim_matches(['[', ']']).as_bytes());
        for part in &choice.parts {
            self.part(part, logprobs.unwrap_or_default());
        }
        let status = if ending == Ending::Completed { Status::Completed } else { Status::Incomplete };
        self.end_message(status);
        ending
    }

    fn part(&mut self, part: &Part<'_>, logprobs: &[u8]) {
        match &part.content {
            Content::Text { text, citations } => {
                let mut annotations = Vec::new();
                for citation in citations {
                    let comma = !annotations.is_empty();
                    let mark = annotations.len();
                    if comma {
                        annotations.push(b',');
                    }
                    if !item::annotation(&mut annotations, citation.as_str(), text.plain().chars().count()) {
                        annotations.truncate(mark);
                        self.reading.dropped(part.at);
                    }
                }
                self.next_part();
                item::text_part(&mut self.content, text, &annotations, logprobs);
            }
            Content::Refusal(text) => {
                self.next_part();
                item::plain_part(&mut self.content, "refusal", text);
            }
            Content::Reasoning(thought) => self.thought(thought),
            Content::ToolCall(call) => self.call(call),
            Content::Image(_)
            | Content::Audio(_)
            | Content::Video(_)
            | Content::Document(_)
            | Content::ToolResult(_)
            | Content::Server(_)
            | Content::Signature(_) => self.reading.dropped(part.at),
        }
    }

    fn next_part(&mut self) {
        if !self.content.is_empty() {
            self.content.push(b',');
        }
    }

    /// Begins an item; its id.
    fn next_item(&mut self, prefix: &str) -> String {
        if self.items > 0 {
            self.output.push(b',');
        }
        self.items += 1;
        item::id(prefix, self.id, self.items - 1)
    }

    fn end_message(&mut self, status: Status) {
        if self.content.is_empty() {
            return;
        }
        let id = self.next_item("msg");
        item::message(&mut self.output, &id, status, &std::mem::take(&mut self.content));
    }

    fn thought(&mut self, thought: &ReasoningPart<'_>) {
        let shown = shows(self.echo, thought.is_raw);
        let sealed =
            thought.opaque.as_ref().filter(|_| self.echo.return_opaque).map(crate::model::Opaque::seal);
        if sealed.is_none() && (!shown || thought.text.is_empty()) {
            return;
        }
        self.end_message(Status::Completed);
        let mut parts = Vec::new();
        for text in thought.text.iter().filter(|_| shown) {
            if !parts.is_empty() {
                parts.push(b',');
            }
            item::plain_part(
                &mut parts,
                if thought.is_raw { "reasoning_text" } else { "summary_text" },
                text,
            );
        }
        let id = self.next_item("rs");
        let (summary, content) = if thought.is_raw { (Vec::new(), parts) } else { (parts, Vec::new()) };
        item::reasoning(&mut self.output, &id, &summary, &content, sealed.as_deref());
    }

    fn call(&mut self, call: &ToolCall<'_>) {
        self.end_message(Status::Completed);
        let flat = call.name.plain();
        let known = self.echo.names.find(&flat);
        let is_custom = matches!(call.args, Args::Free(_)) || known.is_some_and(|tool| tool.custom);
        let given = if is_custom { custom::input(&call.args) } else { json_text(&call.args) };
        let whole = is_custom || Tape::new().read(&given.plain(), Surrogates::Replace).is_ok();
        let id = self.next_item(if is_custom { "ctc" } else { "fc" });
        let namespace = call.namespace.as_ref().map(|namespace| namespace.plain());
        let named = known.map_or(&*flat, |tool| tool.name.as_str());
        item::call(
            &mut self.output,
            &item::Call {
                id: &id,
                status: if whole { Status::Completed } else { Status::Incomplete },
                link: &call.id,
                name: named,
                namespace: known.and_then(|tool| tool.namespace.as_deref()).or(namespace.as_deref()),
                custom: is_custom,
                given: &given,
            },
        );
    }
}

/// Whether a caller is shown thoughts: summaries where it asked for them, chains unless it asked for none.
pub(super) fn shows(echo: &Echo, is_raw: bool) -> bool {
    match echo.show {
        Show::Summary | Show::Full => true,
        Show::Default => is_raw,
        Show::None => false,
    }
}

/// Arguments as JSON text; none are an empty object.
fn json_text<'a>(args: &'a Args<'a>) -> Text<'a> {
    match args {
        Args::Text(text) if text.plain().trim().is_empty() => Text::written("{}"),
        Args::Text(text) | Args::Free(text) => text.lend(),
        Args::Object(object) => object.to_text(),
    }
}
