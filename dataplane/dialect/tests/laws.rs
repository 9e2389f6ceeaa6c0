//! Laws that hold for any stream: what a reader hands out, whatever it is fed.
//!
//! Owns: the grammar of events as the model's docs have it, and random streams. Must not: know a dialect's words beyond
//! what it takes to make streams up. Read next: `recorded.rs`.

use proptest::prelude::*;
use ringway_dialect::dialect::Dialect;
use ringway_dialect::json::{Surrogates, Tape, Text};
use ringway_dialect::model::{Block, BlockKind, Echo, Event, Realm, Show, Sink};
use ringway_dialect::stream::{Frame, Frames, ReadStream};
use ringway_dialect::translate::Translator;
use ringway_dialect::{anthropic, chat};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Holds events to the laws, and keeps what they say.
#[derive(Debug, Default, PartialEq)]
struct Laws {
    started: bool,
    over: bool,
    failed: bool,
    /// Whether a block is a call, and whether it is open.
    blocks: BTreeMap<Block, (bool, bool)>,
    finished: Vec<u32>,
    texts: BTreeMap<Block, String>,
}

impl Laws {
    fn open(&mut self, block: Block) -> &mut String {
        assert_eq!(self.blocks.get(&block).map(|block| block.1), Some(true), "{block:?} is open");
        self.texts.entry(block).or_default()
    }
}

impl Sink for Laws {
    fn take(&mut self, event: Event<'_>) {
        if event == Event::Heartbeat {
            return;
        }
        assert!(!self.over, "nothing behind the end: {event:?}");
        let is_start = matches!(event, Event::Start(_));
        assert!(is_start != self.started || matches!(event, Event::Error(_)), "one start, first: {event:?}");
        match event {
            Event::Start(_) => self.started = true,
            Event::BlockStart(block, kind) => {
                let earlier = self.blocks.keys().filter(|other| other.choice == block.choice).count();
                assert_eq!(block.index as usize, earlier, "numbered as they start");
                let texts = |(other, (tool, open)): (&Block, &(bool, bool))| {
                    other.choice == block.choice && !tool && *open
                };
                assert!(kind.is_tool() || !self.blocks.iter().any(texts), "one open block that is no call");
                if let BlockKind::Tool { id, .. } = &kind {
                    assert!(!id.is_empty(), "calls have ids");
                }
                self.blocks.insert(block, (kind.is_tool(), true));
            }
            Event::Text(block, text) | Event::Args(block, text) => *self.open(block) += &text.plain(),
            Event::Opaque(block, _) | Event::Citation(block, _) | Event::Logprobs(block, _) => {
                self.open(block);
            }
            Event::BlockEnd(block) => {
                self.open(block);
                self.blocks.entry(block).and_modify(|block| block.1 = false);
            }
            Event::Finish { choice, .. } => {
                assert!(!self.finished.contains(&choice), "one finish per choice");
                let open = self.blocks.iter().any(|(block, (_, open))| block.choice == choice && *open);
                assert!(!open, "all blocks of a finished choice have ended");
                self.finished.push(choice);
            }
            Event::End => {
                assert!(
                    self.blocks.keys().all(|block| self.finished.contains(&block.choice)),
                    "all finished"
                );
                self.over = true;
            }
            Event::Error(_) => {
                self.over = true;
                self.failed = true;
            }
            Event::Usage(_) | Event::Heartbeat => {}
        }
    }
}

fn read(reader: &mut impl ReadStream, stream: &[u8], clean: bool) -> Laws {
    let (mut frames, mut tape, mut laws) = (Frames::new(), Tape::new(), Laws::default());
    frames.feed(stream, &mut |frame| match frame {
        Frame::Data(name, data) => match tape.read(data, Surrogates::Replace) {
            Ok(value) => reader.data(name, value, &mut laws),
            Err(_) => reader.broken("not JSON", &mut laws),
        },
        Frame::Done => reader.done(&mut laws),
        Frame::Heartbeat | Frame::TooLarge | Frame::NotText => {}
    });
    reader.ended(clean, &mut laws);
    assert!(laws.over, "every stream ends");
    assert!(reader.is_over());
    laws
}

/// What happens in a made-up answer.
#[derive(Clone, Debug)]
enum Step {
    Text(String),
    Thought(String),
    /// A call with these arguments, in pieces of so many characters.
    Call(String, String, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let odd = prop_oneof![any::<String>(), Just("a\u{2028}b\u{85}\u{7f}\"\\\n".to_owned())];
    let args = (any::<String>(), any::<i64>())
        .prop_map(|(text, number)| serde_json::json!({ "t": text, "n": number }).to_string());
    let args = prop_oneof![args, Just("{}".to_owned())];
    let step = prop_oneof![
        odd.clone().prop_map(Step::Text),
        odd.prop_map(Step::Thought),
        ("[a-z]{1,8}", args, 1..9_usize).prop_map(|(name, args, cut)| Step::Call(name, args, cut)),
    ];
    prop::collection::vec(step, 0..8)
}

fn pieces(text: &str, cut: usize) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(cut).map(|chunk| chunk.iter().collect()).collect()
}

/// The answer as Chat Completions has it. Calls that follow each other are open at once.
fn chat_stream(steps: &[Step]) -> String {
    let mut out = String::new();
    let mut chunk = |delta: serde_json::Value, reason: Option<&str>| {
        let choice = serde_json::json!({ "index": 0, "delta": delta, "finish_reason": reason });
        let chunk =
            serde_json::json!({ "id": "chatcmpl-1", "created": 1, "model": "m", "choices": [choice] });
        let _ = write!(out, "data: {chunk}\n\n");
    };
    chunk(serde_json::json!({ "role": "assistant", "content": "" }), None);
    let mut calls = 0;
    for step in steps {
        match step {
            Step::Text(text) => chunk(serde_json::json!({ "content": text }), None),
            Step::Thought(text) => chunk(serde_json::json!({ "reasoning_content": text }), None),
            Step::Call(name, args, cut) => {
                let begin = serde_json::json!({ "index": calls, "id": format!("c{calls}"), "type": "function", "function": { "name": name, "arguments": "" } });
                chunk(serde_json::json!({ "tool_calls": [begin] }), None);
                for piece in pieces(args, *cut) {
                    let more = serde_json::json!({ "index": calls, "function": { "arguments": piece } });
                    chunk(serde_json::json!({ "tool_calls": [more] }), None);
                }
                calls += 1;
            }
        }
    }
    chunk(serde_json::json!({}), Some("stop"));
    out + "data: [DONE]\n\n"
}

fn echo() -> Echo {
    Echo {
        model: "m".into(),
        stream_usage: true,
        show: Show::Full,
        now: 1,
        id: "1".into(),
        ..Echo::default()
    }
}

fn translate<'p>(from: Dialect, to: Dialect, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<u8> {
    let mut translator = Translator::new(from, Realm::NONE, to, echo()).expect("known");
    let mut out = Vec::new();
    pieces.into_iter().for_each(|piece| translator.feed(piece, &mut out));
    translator.finish(true, &mut out);
    out
}

/// The texts that a reader hears, in order, without empty ones.
fn heard(laws: &Laws) -> (String, Vec<String>) {
    let calls = laws.texts.iter().filter(|(block, _)| laws.blocks[block].0).map(|(_, text)| text.clone());
    let texts = laws.texts.iter().filter(|(block, _)| !laws.blocks[block].0).map(|(_, text)| text.as_str());
    (texts.collect(), calls.collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_says_the_same_through_the_other_dialect_and_back(steps in steps()) {
        let stream = chat_stream(&steps);
        let said = read(&mut chat::StreamIn::new(Realm::NONE), stream.as_bytes(), true);
        prop_assert!(!said.failed);
        let there = translate(Dialect::OpenAiChat, Dialect::Anthropic, [stream.as_bytes()]);
        let there_said = read(&mut anthropic::StreamIn::new(Realm::NONE), &there, true);
        prop_assert_eq!(heard(&there_said), heard(&said));
        let back = translate(Dialect::Anthropic, Dialect::OpenAiChat, [&there[..]]);
        let back_said = read(&mut chat::StreamIn::new(Realm::NONE), &back, true);
        prop_assert_eq!(heard(&back_said), heard(&said));
    }

    #[test]
    fn a_line_of_the_output_holds_nothing_that_readers_split_at(steps in steps()) {
        let stream = chat_stream(&steps);
        for to in [Dialect::OpenAiChat, Dialect::Anthropic] {
            let out = String::from_utf8(translate(Dialect::OpenAiChat, to, [stream.as_bytes()])).expect("UTF-8");
            let split = out.contains(['\u{2028}', '\u{2029}', '\u{85}', '\u{7f}', '\r']);
            prop_assert!(!split);
            for line in out.lines().filter_map(|line| line.strip_prefix("data: ")) {
                prop_assert!(line == "[DONE]" || serde_json::from_str::<serde_json::Value>(line).is_ok(), "{}", line);
            }
        }
    }

    #[test]
    fn a_split_changes_nothing(steps in steps(), cut in 1..40_usize) {
        let stream = chat_stream(&steps);
        let whole = translate(Dialect::OpenAiChat, Dialect::Anthropic, [stream.as_bytes()]);
        prop_assert_eq!(&translate(Dialect::OpenAiChat, Dialect::Anthropic, stream.as_bytes().chunks(cut)), &whole);
        let back = translate(Dialect::Anthropic, Dialect::OpenAiChat, [&whole[..]]);
        prop_assert_eq!(translate(Dialect::Anthropic, Dialect::OpenAiChat, whole.chunks(cut)), back);
    }

    #[test]
    fn any_json_in_any_order_keeps_the_laws(events in prop::collection::vec(event(), 0..12), clean: bool) {
        let stream = events.iter().fold(String::new(), |all, event| all + "data: " + event + "\n\n");
        read(&mut chat::StreamIn::new(Realm::NONE), stream.as_bytes(), clean);
        read(&mut anthropic::StreamIn::new(Realm::NONE), stream.as_bytes(), clean);
        for from in [Dialect::OpenAiChat, Dialect::Anthropic] {
            for to in [Dialect::OpenAiChat, Dialect::Anthropic] {
                translate(from, to, [stream.as_bytes()]);
            }
        }
    }

    #[test]
    fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for from in [Dialect::OpenAiChat, Dialect::Anthropic] {
            translate(from, Dialect::Anthropic, [&bytes[..]]);
        }
        let _ = Text::written(&String::from_utf8_lossy(&bytes)).plain();
    }
}

/// Events that look like a provider's and are in no good order.
fn event() -> impl Strategy<Value = String> {
    let index = 0..3_u32;
    let chat = (index.clone(), any::<bool>(), "[a-c]{0,1}", "[{}a\"]{0,3}", 0..6_u8).prop_map(|(index, stop, id, args, what)| {
        let call = serde_json::json!({ "index": index, "id": id, "function": { "name": id, "arguments": args } });
        let delta = match what {
            0 => serde_json::json!({ "content": args }),
            1 => serde_json::json!({ "reasoning": args, "content": "x", "tool_calls": [call] }),
            2 => serde_json::json!({ "refusal": args }),
            3 => serde_json::json!({ "function_call": { "name": id, "arguments": args } }),
            _ => serde_json::json!({ "tool_calls": [call] }),
        };
        let reason = stop.then_some("stop");
        serde_json::json!({ "id": "1", "choices": [{ "index": index % 2, "delta": delta, "finish_reason": reason }] }).to_string()
    });
    let messages = (index, 0..7_u8, 0..5_u8).prop_map(|(index, what, kind)| {
        let block = match kind {
            0 => serde_json::json!({ "type": "text", "text": "t" }),
            1 => serde_json::json!({ "type": "thinking", "thinking": "", "signature": "" }),
            2 => serde_json::json!({ "type": "tool_use", "id": "", "name": "f", "input": { "a": 1 } }),
            3 => serde_json::json!({ "type": "redacted_thinking", "data": "d" }),
            _ => serde_json::json!({ "type": "server_tool_use", "id": "s", "name": "w", "input": {} }),
        };
        let delta = match kind {
            0 => serde_json::json!({ "type": "text_delta", "text": "t" }),
            1 => serde_json::json!({ "type": "thinking_delta", "thinking": "h" }),
            2 => serde_json::json!({ "type": "input_json_delta", "partial_json": "{" }),
            3 => serde_json::json!({ "type": "signature_delta", "signature": "s" }),
            _ => serde_json::json!({ "type": "citations_delta", "citation": {} }),
        };
        match what {
            0 => serde_json::json!({ "type": "message_start", "message": { "id": "m", "usage": { "input_tokens": 1 } } }),
            1 | 2 => serde_json::json!({ "type": "content_block_start", "index": index, "content_block": block }),
            3 => serde_json::json!({ "type": "content_block_delta", "index": index, "delta": delta }),
            4 => serde_json::json!({ "type": "content_block_stop", "index": index }),
            5 => serde_json::json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" }, "usage": { "output_tokens": 2 } }),
            _ => serde_json::json!({ "type": "message_stop" }),
        }
        .to_string()
    });
    prop_oneof![chat, messages]
}
