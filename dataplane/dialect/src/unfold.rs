//! An answer that came whole, as the events of a stream.
//!
//! An upstream that was asked to stream and answers with a whole body still has a caller who waits for a stream.
//! Owns: the order of events of a whole answer. Must not: break up what came whole.
//! Read next: [`crate::translate`].

use crate::json::Text;
use crate::model::{Answer, Args, Block, BlockKind, Choice, Content, Event, ImageSource, Sink, Start};

/// Hands out the events of an answer, from `Start` to `End`.
pub fn unfold(answer: &Answer<'_>, sink: &mut impl Sink) {
    sink.take(Event::Start(Start {
        id: answer.id.lend(),
        model: answer.model.lend(),
        created: answer.created,
        fingerprint: answer.fingerprint.as_ref().map(Text::lend),
    }));
    if let Some(usage) = answer.usage {
        sink.take(Event::Usage(usage));
    }
    for choice in &answer.choices {
        unfold_choice(choice, sink);
    }
    sink.take(Event::End);
}

fn unfold_choice(choice: &Choice<'_>, sink: &mut impl Sink) {
    let mut index = 0;
    for part in &choice.parts {
        let block = Block { choice: choice.index, index };
        if unfold_part(block, &part.content, sink) {
            if let (Content::Text { .. }, Some(content)) = (&part.content, &choice.logprobs) {
                sink.take(Event::Logprobs(block, content.lend()));
            }
            sink.take(Event::BlockEnd(block));
            index += 1;
        }
    }
    sink.take(Event::Finish { choice: choice.index, stop: choice.stop.clone() });
}

/// The events of one part but for its end; `false`: it has none.
fn unfold_part(block: Block, content: &Content<'_>, sink: &mut impl Sink) -> bool {
    match content {
        Content::Text { text, citations } => {
            sink.take(Event::BlockStart(block, BlockKind::Text));
            sink.take(Event::Text(block, text.lend()));
            citations.iter().for_each(|citation| sink.take(Event::Citation(block, citation.lend())));
        }
        Content::Refusal(text) => {
            sink.take(Event::BlockStart(block, BlockKind::Refusal));
            sink.take(Event::Text(block, text.lend()));
        }
        Content::Reasoning(thought) => {
            sink.take(Event::BlockStart(block, BlockKind::Reasoning { is_raw: thought.is_raw }));
            thought.text.iter().for_each(|text| sink.take(Event::Text(block, text.lend())));
            thought.opaque.iter().for_each(|opaque| sink.take(Event::Opaque(block, opaque.clone())));
        }
        Content::ToolCall(call) => {
            let custom = matches!(call.args, Args::Free(_));
            let (id, name) = (call.id.lend(), call.name.lend());
            sink.take(Event::BlockStart(block, BlockKind::Tool { id, name, custom }));
            call.opaque.iter().for_each(|opaque| sink.take(Event::Opaque(block, opaque.clone())));
            match &call.args {
                Args::Text(text) | Args::Free(text) => sink.take(Event::Args(block, text.lend())),
                Args::Object(object) => sink.take(Event::Args(block, object.to_text())),
            }
        }
        Content::Image(image) => match &image.source {
            ImageSource::Base64 { mime, data } => {
                let (mime, data) = (mime.lend(), data.lend());
                sink.take(Event::BlockStart(block, BlockKind::Image { mime, data }));
            }
            ImageSource::Url { .. } | ImageSource::File { .. } => return false,
        },
        Content::Server(item) => sink.take(Event::BlockStart(block, BlockKind::Server(item.raw.lend()))),
        Content::Signature(opaque) => {
            sink.take(Event::BlockStart(block, BlockKind::Reasoning { is_raw: false }));
            sink.take(Event::Opaque(block, opaque.clone()));
        }
        Content::Audio(_) | Content::Video(_) | Content::Document(_) | Content::ToolResult(_) => {
            return false;
        }
    }
    true
}
