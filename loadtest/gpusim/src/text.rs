//! The text a simulated model answers: readable, and decided by the prompt alone.
//!
//! Owns: the words, and how a prompt becomes a seed. Every token is exactly four printable ASCII bytes that
//! need no JSON escape, so a client can count tokens in the text, and a judge can tell whose answer it got.
//! Must not: depend on the replica, the model name or the time: any engine gives the same answer.
//! Read next: `api.rs`, which wraps tokens into events.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::{
    bounds::TOKEN_BYTES,
    prefix::{Chain, Prefix, Root},
    random::Random,
};

/// Collects the texts of a prompt: its size, the identity of its blocks, and the seed of its answer.
#[derive(Clone, Default)]
pub struct Prompt {
    bytes: u64,
    hash: Box<Xxh3>,
    chain: Chain,
}

impl Prompt {
    /// An empty prompt. The root sets apart the blocks of its text, never the answer.
    pub fn new(root: Root) -> Self {
        Self { chain: Chain::new(root), ..Self::default() }
    }

    /// Adds the text of one message.
    pub fn push(&mut self, text: &str) {
        self.bytes += text.len() as u64;
        self.hash.update(text.as_bytes());
        self.chain.push(text.as_bytes());
    }

    /// What the cache knows the prompt by.
    pub fn prefix(self) -> Prefix {
        let answer = self.seed().answer();
        Prefix::of_text(self.chain, answer)
    }

    /// Tokens of all texts together: one per four bytes, the last one maybe partial, at least one.
    pub fn tokens(&self) -> u64 {
        self.bytes.div_ceil(TOKEN_BYTES as u64).max(1)
    }

    /// The seed of the answer.
    pub fn seed(&self) -> Seed {
        Seed(self.hash.digest())
    }
}

/// What an answer's text is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// The seed of a prompt that is one text.
    pub fn of(text: &str) -> Self {
        Self(xxh3_64(text.as_bytes())) // what the streaming form comes to, for a long text in half the time
    }

    /// The endless answer, token by token.
    pub fn answer(self) -> Answer {
        Answer { random: Random::new(self.0), sentences: 0, sentence: String::new(), at: 0 }
    }

    /// Tokens after which the model would stop by itself: a few whole sentences.
    pub fn natural_tokens(self) -> u32 {
        let mut answer = self.answer();
        let sentences = SENTENCES_MIN + (self.0 >> 32) as usize % SENTENCES_SPREAD;
        let bytes: usize = (0..sentences).map(|_| answer.next_sentence()).sum();
        u32::try_from(bytes / TOKEN_BYTES).expect("a handful of short sentences")
    }

    /// The first `tokens` tokens as one text.
    pub fn text(self, tokens: u32) -> String {
        let mut answer = self.answer();
        let mut text = String::with_capacity(tokens as usize * TOKEN_BYTES);
        (0..tokens).for_each(|_| text.push_str(answer.next_token()));
        text
    }
}

const SENTENCES_MIN: usize = 3;
const SENTENCES_SPREAD: usize = 3;

/// An answer under way.
#[derive(Debug, Clone)]
pub struct Answer {
    random: Random,
    sentences: usize,
    sentence: String,
    at: usize,
}

impl Answer {
    /// The next four bytes of text.
    pub fn next_token(&mut self) -> &str {
        if self.at == self.sentence.len() {
            self.next_sentence();
        }
        let start = self.at;
        self.at += TOKEN_BYTES;
        &self.sentence[start..self.at]
    }

    /// Composes the next sentence, its closing space included, and returns its length.
    fn next_sentence(&mut self) -> usize {
        // The first one always names what is talking: it is what a visitor of the demo reads first.
        let subject = if self.sentences == 0 { SUBJECTS[0] } else { self.random.pick(SUBJECTS) };
        let action = self.random.pick(ACTIONS);
        let closing = self.random.pick(closings(subject.len() + action.len()));
        self.sentence.clear();
        for part in [subject, action, closing, " "] {
            self.sentence.push_str(part);
        }
        debug_assert_eq!(self.sentence.len() % TOKEN_BYTES, 0, "`closings` fills the last token");
        self.sentences += 1;
        self.at = 0;
        self.sentence.len()
    }
}

/// The closings that make a sentence of `length` bytes, with one space behind it, end with a whole token.
fn closings(length: usize) -> &'static [&'static str] {
    CLOSINGS[(TOKEN_BYTES - (length + 1) % TOKEN_BYTES) % TOKEN_BYTES]
}

const SUBJECTS: &[&str] = &[
    "ringway",
    "The gateway",
    "Each worker",
    "This proxy",
    "The data plane",
    "A pinned thread",
    "Every worker",
    "Your gateway",
];

const ACTIONS: &[&str] = &[
    " reads each request head in place",
    " relays every token as it arrives",
    " picks the endpoint that will answer first",
    " speaks the dialect of every client",
    " keeps one ring per core busy",
    " finds the model name without parsing the whole body",
    " counts tokens while they stream past",
    " holds callers inside their keys and limits",
    " cancels upstream the moment a client leaves",
    " swaps its table without dropping a stream",
    " refuses malformed requests at the door",
    " reuses upstream connections safely",
    " waits for nothing but the network",
    " splices the model name into the body",
    " gives back every permit it takes",
    " queues fairly when all endpoints are busy",
    " streams answers from simulated GPUs",
    " moves bytes and builds no objects",
];

/// By length modulo four.
const CLOSINGS: [&[&str]; TOKEN_BYTES] = [
    &[
        ", and no stream is lost.",
        ", byte for byte.",
        " while thousands of streams run.",
        ", whatever happens upstream.",
        " under any load.",
        " in one pass over the bytes.",
        ", and says so in plain logs.",
        ", chunk after chunk.",
        " for every caller alike.",
        " at any hour of the day.",
        " with time to spare.",
        " and keeps the latency flat.",
    ],
    &[
        " from the first byte to the last.",
        " for as long as it takes.",
        " with no thread to spare.",
        ", as a small config file told it.",
        ", one core at a time.",
    ],
    &[
        " on a single core.",
        " without copying the body.",
        " and allocates nothing on the way.",
        ", even when the control plane is gone.",
        ", so tokens start at once.",
        ", all on one ring.",
        " as fast as the socket allows.",
        ", so nobody has to wait twice.",
        ", stream after stream.",
        " for hours on end.",
    ],
    &[
        " within a few microseconds.",
        " before the first token is due.",
        ", then gets out of the way.",
        ", and the caller never notices.",
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_prompt_always_gets_the_same_text_and_another_prompt_another() {
        let texts: Vec<String> = (0..200).map(|n| Seed::of(&format!("prompt {n}")).text(64)).collect();
        for (n, text) in texts.iter().enumerate() {
            assert_eq!(*text, Seed::of(&format!("prompt {n}")).text(64));
            assert_eq!(texts.iter().filter(|other| *other == text).count(), 1);
        }
    }

    #[test]
    fn every_token_is_four_printable_bytes_that_need_no_escape() {
        for n in 0..200 {
            let mut answer = Seed::of(&n.to_string()).answer();
            for _ in 0..500 {
                let token = answer.next_token();
                assert_eq!(token.len(), TOKEN_BYTES);
                assert!(
                    token.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\'),
                    "{token:?}"
                );
            }
        }
    }

    #[test]
    fn a_natural_answer_is_a_few_whole_sentences_about_ringway() {
        for n in 0..200 {
            let seed = Seed::of(&n.to_string());
            let text = seed.text(seed.natural_tokens());
            assert!(text.starts_with("ringway ") && text.ends_with(". "), "{text:?}");
            assert!(text.matches('.').count() >= SENTENCES_MIN, "{text:?}");
        }
    }

    #[test]
    fn closings_lie_in_the_class_of_their_length() {
        for (rest, class) in CLOSINGS.iter().enumerate() {
            assert!(class.len() >= 3, "some choice for every sentence");
            assert!(class.iter().all(|closing| closing.len() % TOKEN_BYTES == rest));
        }
    }

    #[test]
    fn prompt_tokens_are_one_per_four_bytes_of_all_texts_together() {
        let mut prompt = Prompt::default();
        assert_eq!(prompt.tokens(), 1, "an empty prompt still has its start token");
        prompt.push("12345");
        prompt.push("678");
        assert_eq!(prompt.tokens(), 2);
        assert_eq!(prompt.seed(), Seed::of("12345678"), "the split into messages does not matter");
    }
}
