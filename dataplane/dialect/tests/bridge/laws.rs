//! The laws of streams (see `model::Event`), kept by every reader.
//! Owns: the check of one reader over one stream. Must not: write anything.
//! Read next: `mod.rs`.

use std::collections::BTreeMap;

use ringway_dialect::json::{Surrogates, Tape};
use ringway_dialect::model::{Block, Event, Realm, Sink};
use ringway_dialect::stream::{Frame, Frames, ReadStream};
use ringway_dialect::{anthropic, chat, gemini, responses};

use crate::judge::Dialect;

/// Reads a stream, and panics at the first event that breaks a law.
pub fn keeps_the_laws(upstream: Dialect, bytes: &[u8]) {
    match upstream {
        Dialect::Chat => read(chat::StreamIn::new(Realm::NONE), bytes),
        Dialect::Responses => read(responses::StreamIn::new(Realm::NONE), bytes),
        Dialect::Anthropic => read(anthropic::StreamIn::new(Realm::NONE), bytes),
        Dialect::Gemini => read(gemini::StreamIn::new(Realm::NONE), bytes),
    }
}

fn read(mut reader: impl ReadStream, bytes: &[u8]) {
    let (mut frames, mut tape, mut laws) = (Frames::new(), Tape::new(), Laws::default());
    let mut each = |frame: Frame<'_>| match frame {
        Frame::Data(name, data) => match tape.read(data, Surrogates::Replace) {
            Ok(value) => reader.data(name, value, &mut laws),
            Err(_) => reader.broken("no JSON", &mut laws),
        },
        Frame::Done => reader.done(&mut laws),
        Frame::Heartbeat => laws.take(Event::Heartbeat),
        Frame::TooLarge | Frame::NotText => reader.broken("unreadable", &mut laws),
    };
    frames.feed(bytes, &mut each);
    frames.finish(|data| serde_json::from_str::<serde_json::Value>(data).is_ok(), &mut each);
    reader.ended(true, &mut laws);
    assert!(laws.over, "neither an end nor an error");
}

impl Sink for Laws {
    fn take(&mut self, event: Event<'_>) {
        self.check(&event);
    }
}

/// The laws that every reader of a stream keeps (see the module docs of `model::Event`).
#[derive(Default)]
struct Laws {
    started: bool,
    over: bool,
    /// Open blocks, and whether each is a call.
    open: Vec<(Block, bool)>,
    next: BTreeMap<u32, u32>,
    finished: Vec<u32>,
}

impl Laws {
    fn check(&mut self, event: &Event<'_>) {
        assert!(!self.over || matches!(event, Event::Heartbeat), "behind the end: {event:?}");
        match event {
            Event::Start(_) => assert!(!std::mem::replace(&mut self.started, true), "started twice"),
            Event::Error(_) => self.over = true,
            Event::Heartbeat => {}
            _ => assert!(self.started, "before the start: {event:?}"),
        }
        match event {
            Event::BlockStart(block, kind) => {
                let next = self.next.entry(block.choice).or_default();
                assert_eq!(block.index, *next, "numbered in order");
                *next += 1;
                let others = self.open.iter().any(|(open, tool)| open.choice == block.choice && !tool);
                assert!(kind.is_tool() || !others, "two texts open at a time: {event:?}");
                assert!(!self.finished.contains(&block.choice), "a block behind the finish");
                self.open.push((*block, kind.is_tool()));
            }
            Event::Text(block, _) | Event::Citation(block, _) | Event::Logprobs(block, _) => {
                assert!(self.open.contains(&(*block, false)), "in no open text: {event:?}");
            }
            Event::Args(block, _) => {
                assert!(self.open.contains(&(*block, true)), "in no open call: {event:?}");
            }
            Event::Opaque(block, _) => {
                assert!(self.open.iter().any(|(open, _)| open == block), "in no open block: {event:?}");
            }
            Event::BlockEnd(block) => {
                let at = self.open.iter().position(|(open, _)| open == block);
                self.open.remove(at.expect("an end of an open block"));
            }
            Event::Finish { choice, .. } => {
                assert!(
                    self.open.iter().all(|(open, _)| open.choice != *choice),
                    "finished with open blocks"
                );
                assert!(!self.finished.contains(choice), "finished twice");
                self.finished.push(*choice);
            }
            Event::End => {
                assert!(!self.finished.is_empty() && self.open.is_empty(), "ended before it was finished");
                self.over = true;
            }
            Event::Start(_) | Event::Usage(_) | Event::Error(_) | Event::Heartbeat => {}
        }
    }
}
