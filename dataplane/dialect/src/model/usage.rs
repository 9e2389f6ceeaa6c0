//! What an answer cost, in tokens.
//!
//! Totals include everything: cache reads and writes are in `input`, thoughts are in `output`.
//! Owns: the counts and the formulas between the dialects' ways of counting (dialects section 4.5).
//! Must not: guess. What an upstream did not say is `None`.
//! Read next: `answer.rs`, `event.rs`.

/// Token counts. In a stream each is a snapshot, never an increment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The prompt, whole.
    pub input: Option<u64>,
    /// Of it, found in the provider's cache.
    pub cache_read: Option<u64>,
    /// Of it, written to the provider's cache.
    pub cache_write: Option<u64>,
    /// Of that, kept for five minutes (Anthropic).
    pub cache_write_short: Option<u64>,
    /// Of that, kept for an hour (Anthropic).
    pub cache_write_long: Option<u64>,
    /// Of the prompt, sound.
    pub input_audio: Option<u64>,
    /// Of the prompt, what Gemini's own tools brought.
    pub input_tools: Option<u64>,
    /// The answer, whole, thoughts included.
    pub output: Option<u64>,
    /// Of it, thoughts.
    pub reasoning: Option<u64>,
    /// Of it, sound.
    pub output_audio: Option<u64>,
    /// The upstream's counts contradict each other, and were set right as far as that goes.
    pub contradictory: bool,
}

/// Counts as Anthropic has them: the input excludes what the cache did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exclusive {
    /// `input_tokens`
    pub input: u64,
    /// `cache_read_input_tokens`
    pub cache_read: u64,
    /// `cache_creation_input_tokens`
    pub cache_write: u64,
}

impl Usage {
    /// Nothing was said.
    pub const NONE: Self = Self {
        input: None,
        cache_read: None,
        cache_write: None,
        cache_write_short: None,
        cache_write_long: None,
        input_audio: None,
        input_tools: None,
        output: None,
        reasoning: None,
        output_audio: None,
        contradictory: false,
    };

    /// Whether anything was said.
    pub fn is_some(&self) -> bool {
        self.input.is_some() || self.output.is_some()
    }

    /// A later snapshot replaces what it names.
    pub fn update(&mut self, later: &Self) {
        let fields = [
            (&mut self.input, later.input),
            (&mut self.cache_read, later.cache_read),
            (&mut self.cache_write, later.cache_write),
            (&mut self.cache_write_short, later.cache_write_short),
            (&mut self.cache_write_long, later.cache_write_long),
            (&mut self.input_audio, later.input_audio),
            (&mut self.input_tools, later.input_tools),
            (&mut self.output, later.output),
            (&mut self.reasoning, later.reasoning),
            (&mut self.output_audio, later.output_audio),
        ];
        for (mine, later) in fields {
            *mine = later.or(*mine);
        }
        self.contradictory |= later.contradictory;
    }

    /// Prompt and answer together.
    pub fn total(&self) -> u64 {
        self.input.unwrap_or(0).saturating_add(self.output.unwrap_or(0))
    }

    /// Sets right what cannot be: an upstream whose cache counts exceed its prompt counts the prompt without them. No
    /// more thoughts than answer are believed: the answer is what was billed.
    #[must_use]
    pub fn checked(mut self) -> Self {
        let cached = self.cache_read.unwrap_or(0).saturating_add(self.cache_write.unwrap_or(0));
        if let Some(input) = self.input
            && cached > input
        {
            self.input = Some(input.saturating_add(cached));
            self.contradictory = true;
        }
        if let (Some(reasoning), Some(output)) = (self.reasoning, self.output)
            && reasoning > output
        {
            self.reasoning = Some(output); // seen at resellers that count thoughts with another tokenizer
            self.contradictory = true;
        }
        self
    }

    /// The input as Anthropic counts it.
    pub fn exclusive(&self) -> Exclusive {
        let (cache_read, cache_write) = (self.cache_read.unwrap_or(0), self.cache_write.unwrap_or(0));
        let cached = cache_read.saturating_add(cache_write);
        Exclusive { input: self.input.unwrap_or(0).saturating_sub(cached), cache_read, cache_write }
    }

    /// The whole input, from counts as Anthropic has them.
    pub fn inclusive(counts: Exclusive) -> u64 {
        counts.input.saturating_add(counts.cache_read).saturating_add(counts.cache_write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anthropics_way_of_counting_and_back_is_the_identity() {
        for (input, read, write) in [(9, 4, 0), (9, 4, 5), (0, 0, 0), (u64::MAX, 1, 1)] {
            let usage =
                Usage { input: Some(input), cache_read: Some(read), cache_write: Some(write), ..Usage::NONE };
            assert_eq!(Usage::inclusive(usage.exclusive()), input);
        }
    }

    #[test]
    fn a_snapshot_replaces_and_never_adds() {
        let mut usage = Usage { input: Some(9), output: Some(1), ..Usage::NONE };
        usage.update(&Usage { output: Some(7), ..Usage::NONE });
        usage.update(&Usage { output: Some(7), ..Usage::NONE });
        assert_eq!((usage.input, usage.output, usage.total()), (Some(9), Some(7), 16));
    }

    #[test]
    fn a_prompt_smaller_than_its_cached_part_is_taken_to_exclude_it() {
        let odd = Usage { input: Some(3), cache_read: Some(10), output: Some(1), ..Usage::NONE }.checked();
        assert_eq!((odd.input, odd.contradictory), (Some(13), true));
        let odd = Usage { output: Some(3), reasoning: Some(10), ..Usage::NONE }.checked();
        assert_eq!((odd.output, odd.reasoning, odd.contradictory), (Some(3), Some(3), true));
        let fine = Usage { input: Some(10), cache_read: Some(10), ..Usage::NONE };
        assert_eq!(fine.checked(), fine);
    }
}
