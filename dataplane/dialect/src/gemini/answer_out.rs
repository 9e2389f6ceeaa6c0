//! An answer in Gemini's words.
//! Owns: one body, whole, with its keys in a fixed order. Must not: lose a part without saying so.
//! Read next: `parts_out.rs`.

use super::{parts_out, words};
use crate::json::{Text, number};
use crate::model::{
    Answer, Args, Choice, Content, Echo, ImageSource, Losses, Opaque, Reading, SealKind, Stop, ToolCall,
};
use crate::{answer_id, custom};

/// Writes an answer for a caller of Gemini's.
pub fn write_answer(answer: &Answer<'_>, echo: &Echo, losses: &mut Losses, out: &mut Vec<u8>) {
    let mut reading = Reading::of(answer.source, losses);
    out.extend_from_slice(br#"{"candidates":["#);
    for (n, choice) in answer.choices.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_choice(choice, echo, &mut reading, out);
    }
    out.push(b']');
    if let Some(usage) = &answer.usage {
        out.extend_from_slice(br#","usageMetadata":"#);
        words::write_usage(out, usage);
    }
    parts_out::envelope_end(out, &echo.model, &answer_id::bare(&answer.id, echo));
}

fn write_choice(choice: &Choice<'_>, echo: &Echo, reading: &mut Reading<'_, '_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"content":{"role":"model","parts":["#);
    let mut writer = Writer { echo, reading, refused: false, bad_call: false, next: None };
    let begin = out.len();
    for (n, part) in choice.parts.iter().enumerate() {
        let mark = out.len();
        if mark > begin {
            out.push(b',');
        }
        let follows = choice.parts.get(n + 1).map(|part| &part.content);
        writer.part(&part.content, follows, part.at, out);
        if out.len() == mark + usize::from(mark > begin) {
            out.truncate(mark);
        }
    }
    let reason = match &choice.stop {
        Stop::EndTurn | Stop::StopSequence(_) if writer.refused => "SAFETY",
        stop @ (Stop::MaxTokens | Stop::ContextWindow) => words::finish_reason(stop).0,
        _ if writer.bad_call => "MALFORMED_FUNCTION_CALL",
        stop => {
            let (word, less) = words::finish_reason(stop);
            if less {
                writer.reading.losses.noted("", "stop-reason");
            }
            word
        }
    };
    out.extend_from_slice(br#"]},"finishReason":""#);
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(br#"","index":"#);
    number(out, u64::from(choice.index));
    out.push(b'}');
}

struct Writer<'w, 'r, 'a> {
    echo: &'w Echo,
    reading: &'w mut Reading<'r, 'a>,
    refused: bool,
    bad_call: bool,
    /// State for the call behind it.
    next: Option<Opaque<'static>>,
}

impl Writer<'_, '_, '_> {
    fn part(
        &mut self,
        content: &Content<'_>,
        follows: Option<&Content<'_>>,
        at: crate::json::Place,
        out: &mut Vec<u8>,
    ) {
        match content {
            Content::Text { text, .. } => parts_out::text(out, text, false, previous(follows)),
            Content::Refusal(text) => {
                self.refused = true;
                parts_out::text(out, text, false, None);
            }
            Content::Reasoning(thought) => {
                let shown = parts_out::shows(self.echo);
                let texts = thought.text.iter().filter(|_| shown).map(Text::as_written);
                let whole: String = texts.collect();
                // A signature is of a text; without it, it says nothing.
                let opaque =
                    thought.opaque.as_ref().filter(|opaque| shown || opaque.kind != SealKind::Signature);
                if !whole.is_empty() || opaque.is_some() {
                    parts_out::text(out, &Text::owned(whole), true, opaque);
                }
            }
            Content::ToolCall(call) => self.call(call, out),
            Content::Image(image) => match &image.source {
                ImageSource::Base64 { mime, data } if parts_out::is_base64(data) => {
                    parts_out::inline(out, mime, data);
                }
                ImageSource::Base64 { .. } | ImageSource::Url { .. } | ImageSource::File { .. } => {
                    self.reading.dropped(at);
                }
            },
            Content::Audio(audio) => parts_out::inline(out, &audio.mime, &audio.data),
            Content::Signature(opaque) => match opaque.kind {
                SealKind::NextTool => self.next = Some(opaque.clone().into_owned()),
                // Written with the part before it.
                SealKind::Previous | SealKind::Signature | SealKind::Redacted => {}
            },
            Content::Video(_) | Content::Document(_) | Content::ToolResult(_) | Content::Server(_) => {
                self.reading.dropped(at);
            }
        }
    }

    fn call(&mut self, call: &ToolCall<'_>, out: &mut Vec<u8>) {
        let plain = call.name.plain();
        let name = parts_out::name(self.echo, &plain);
        let next = self.next.take();
        let signature = call.opaque.as_ref().or(next.as_ref());
        match &call.args {
            Args::Object(object) => parts_out::call(out, &call.id, name, object, signature),
            Args::Free(input) => parts_out::call(out, &call.id, name, &custom::wrapped(input), signature),
            Args::Text(text) => match parts_out::object(&text.plain()) {
                Some(object) => parts_out::call(out, &call.id, name, &object, signature),
                None => self.bad_call = true,
            },
        }
    }
}

/// State that belongs to the part before it.
fn previous<'p>(follows: Option<&'p Content<'_>>) -> Option<&'p Opaque<'p>> {
    match follows {
        Some(Content::Signature(opaque)) if opaque.kind == SealKind::Previous => Some(opaque),
        Some(_) | None => None,
    }
}
