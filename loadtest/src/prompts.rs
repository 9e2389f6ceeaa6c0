//! What requests say: prompts that are like no other, that share a beginning, that go on a conversation, or that a
//! trace has written down.
//!
//! Owns: the text of every prompt, decided by the run's seed and the request's number.
//! Must not: know the API it is sent by. Read next: `scenario.rs`, which makes requests of it.

use std::{sync::Arc, time::Duration};

use ringway_gpusim::{random::Random, text::Seed};

use crate::{
    lengths::Lengths,
    trace::{Row, Trace},
};

/// Where prompts come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompts {
    /// Each begins like no other.
    Unique {
        /// Their lengths.
        tokens: Lengths,
    },
    /// Each begins with one of a few texts, as with system prompts.
    Shared {
        /// How many such texts there are.
        prefixes: u32,
        /// Tokens of each.
        prefix_tokens: u32,
        /// Tokens that follow it.
        own: Lengths,
    },
    /// Several requests after each other, each repeating all that was said before.
    Conversations {
        /// Requests of one conversation.
        turns: Lengths,
        /// Tokens of what is said first.
        first: Lengths,
        /// Tokens of what is said next.
        next: Lengths,
        /// Milliseconds between an answer and the next request.
        think_ms: Lengths,
    },
    /// As a trace has it, outputs included.
    Trace(Arc<Trace>),
}

impl Prompts {
    /// The longest text that has to be cut from filler.
    pub(crate) fn longest(&self) -> u32 {
        match self {
            Self::Unique { tokens } => tokens.max(),
            Self::Shared { prefix_tokens, own, .. } => own.max().max(*prefix_tokens),
            Self::Conversations { first, next, .. } => first.max().max(next.max()),
            Self::Trace(_) => 0,
        }
    }

    /// Why they make no sense, if they do not.
    pub fn problem(&self) -> Option<&'static str> {
        let parts: &[&Lengths] = match self {
            Self::Unique { tokens } => &[tokens],
            Self::Shared { own, prefixes, .. } => {
                if *prefixes == 0 {
                    return Some("there must be at least one prefix");
                }
                &[own]
            }
            Self::Conversations { turns, first, next, think_ms } => &[turns, first, next, think_ms],
            Self::Trace(_) => &[],
        };
        parts.iter().find_map(|lengths| lengths.problem())
    }
}

/// One thing said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) role: &'static str,
    pub(crate) text: String,
}

/// A conversation under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conversation {
    number: u64,
    turns_left: u32,
    messages: Vec<Message>,
}

/// The content of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) messages: Vec<Message>,
    /// Where it was said, if it goes on.
    pub(crate) conversation: Option<Conversation>,
    /// What the prompt's source says of this request alone.
    pub(crate) own: Own,
}

/// What is not of the run but of one of its requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// How long the answer may be.
    pub(crate) output: Option<u32>,
    /// The model that is asked for.
    pub(crate) model: Option<String>,
    /// Further header fields.
    pub(crate) headers: Vec<(String, String)>,
}

impl Own {
    fn of(row: &Row) -> Self {
        Self { output: Some(row.output), model: row.model.clone(), headers: row.headers.clone() }
    }
}

/// Makes the prompts of a run.
#[derive(Debug)]
pub(crate) struct Prompter {
    prompts: Prompts,
    run: u64,
    /// Text that prompts are cut from.
    filler: String,
}

impl Prompter {
    pub(crate) fn new(prompts: Prompts, run: u64) -> Self {
        let filler = Seed::of("filler").text(prompts.longest());
        Self { prompts, run, filler }
    }

    /// Chance for one request: the same whatever was drawn for the others.
    pub(crate) fn random(&self, number: u64) -> Random {
        let mut mixed = Random::new(self.run ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Random::new(mixed.bits())
    }

    /// What request `number` says, if it is the first of its conversation or alone.
    pub(crate) fn begin(&self, number: u64, random: &mut Random) -> Said {
        match &self.prompts {
            Prompts::Unique { tokens } => alone(self.unique("Question", number, tokens.draw(random))),
            Prompts::Shared { prefixes, prefix_tokens, own } => {
                let which = random.bits() % u64::from(*prefixes);
                let mut text = self.unique("Rules", which, *prefix_tokens);
                text.push_str(&self.unique("Question", number, own.draw(random)));
                alone(text)
            }
            Prompts::Trace(trace) => {
                let row = row_of(trace, number);
                Said { own: Own::of(row), ..alone(row.text()) }
            }
            Prompts::Conversations { turns, first, .. } => {
                let conversation =
                    Conversation { number, turns_left: turns.draw(random), messages: Vec::new() };
                self.turn(conversation, first.draw(random))
            }
        }
    }

    /// How long after it was due the caller of request `number` leaves.
    pub(crate) fn leaves(&self, number: u64) -> Option<Duration> {
        match &self.prompts {
            Prompts::Trace(trace) => row_of(trace, number).leaves,
            Prompts::Unique { .. } | Prompts::Shared { .. } | Prompts::Conversations { .. } => None,
        }
    }

    /// The next request of a conversation, after this answer; `None` if it is over.
    pub(crate) fn go_on(
        &self,
        mut conversation: Conversation,
        answer: String,
        random: &mut Random,
    ) -> Option<Said> {
        let Prompts::Conversations { next, .. } = &self.prompts else { return None };
        if conversation.turns_left == 0 {
            return None;
        }
        conversation.messages.push(Message { role: "assistant", text: answer });
        Some(self.turn(conversation, next.draw(random)))
    }

    /// Milliseconds until the next request of a conversation.
    pub(crate) fn think_ms(&self, random: &mut Random) -> u32 {
        match &self.prompts {
            Prompts::Conversations { think_ms, .. } => think_ms.draw(random),
            Prompts::Unique { .. } | Prompts::Shared { .. } | Prompts::Trace(_) => 0,
        }
    }

    fn turn(&self, mut conversation: Conversation, tokens: u32) -> Said {
        let said = conversation.messages.len() as u64;
        let text = self.unique("Part", conversation.number << 16 | said, tokens);
        conversation.messages.push(Message { role: "user", text });
        conversation.turns_left = conversation.turns_left.saturating_sub(1);
        Said {
            messages: conversation.messages.clone(),
            conversation: Some(conversation),
            own: Own::default(),
        }
    }

    /// A text of exactly the wanted length that begins like no other of its kind and run.
    fn unique(&self, kind: &str, number: u64, tokens: u32) -> String {
        let length = tokens as usize * ringway_gpusim::bounds::TOKEN_BYTES;
        let mut text = format!("{kind} {number} of run {}: ", self.run);
        if text.len() < length {
            text.push_str(&self.filler[..length - text.len()]);
        }
        text.truncate(length);
        text
    }
}

fn alone(text: String) -> Said {
    Said { messages: vec![Message { role: "user", text }], conversation: None, own: Own::default() }
}

fn row_of(trace: &Trace, number: u64) -> &Row {
    &trace.rows()[(number % trace.rows().len() as u64) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(prompter: &Prompter, number: u64) -> Said {
        prompter.begin(number, &mut prompter.random(number))
    }

    #[test]
    fn no_two_prompts_of_a_run_are_the_same_and_each_is_as_long_as_asked() {
        let prompter = Prompter::new(Prompts::Unique { tokens: Lengths::Exactly(16) }, 1);
        let texts: Vec<_> = (0..300).map(|n| first(&prompter, n).messages[0].text.clone()).collect();
        for (n, text) in texts.iter().enumerate() {
            assert_eq!(text.len(), 64);
            assert!(!texts[..n].contains(text));
        }
        let other = Prompter::new(Prompts::Unique { tokens: Lengths::Exactly(16) }, 2);
        assert_ne!(first(&other, 1), first(&prompter, 1));
    }

    #[test]
    fn shared_prompts_begin_with_one_of_a_few_texts() {
        let prompts = Prompts::Shared { prefixes: 3, prefix_tokens: 100, own: Lengths::Exactly(20) };
        let prompter = Prompter::new(prompts, 1);
        let mut seen: Vec<_> =
            (0..100).map(|n| first(&prompter, n).messages[0].text[..400].to_owned()).collect();
        assert_eq!(first(&prompter, 5).messages[0].text.len(), 480);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn a_conversation_repeats_all_that_was_said_and_then_ends() {
        let lengths = Lengths::Exactly(8);
        let prompts = Prompts::Conversations {
            turns: Lengths::Exactly(3),
            first: Lengths::Exactly(50),
            next: lengths,
            think_ms: lengths,
        };
        let prompter = Prompter::new(prompts, 1);
        let mut said = first(&prompter, 0);
        let mut sizes = vec![said.messages.len()];
        while let Some(conversation) = said.conversation.take() {
            let before = said.messages.clone();
            let Some(next) = prompter.go_on(conversation, "yes".to_owned(), &mut prompter.random(9)) else {
                break;
            };
            assert_eq!(next.messages[..before.len()], before);
            assert_eq!(next.messages[before.len()].text, "yes");
            sizes.push(next.messages.len());
            said = next;
        }
        assert_eq!(sizes, [1, 3, 5]);
    }
}
