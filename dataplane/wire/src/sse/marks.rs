//! Which events are worth reading after the first token, where `type` does not tell.
//! Owns: the search for a few keys. It may be wrong towards reading, never towards passing over.
//! Must not: read a value; whatever is found is read exactly afterwards.
//! Read next: `observer.rs`, which asks.

use memchr::memmem::Finder;
use std::sync::LazyLock;

/// The keys whose presence makes an event worth reading.
pub(super) struct Marks {
    usage: Finder<'static>,
    error: Finder<'static>,
    finish_reason: Finder<'static>,
    usage_metadata: Finder<'static>,
    finish: Finder<'static>,
    feedback: Finder<'static>,
}

pub(super) static MARKS: LazyLock<Marks> = LazyLock::new(|| Marks {
    usage: Finder::new("\"usage\""),
    error: Finder::new("\"error\""),
    finish_reason: Finder::new("\"finish_reason\""),
    usage_metadata: Finder::new("\"usageMetadata\""),
    finish: Finder::new("\"finishReason\""),
    feedback: Finder::new("\"promptFeedback\""),
});

impl Marks {
    /// In an event of OpenAI.
    pub(super) fn openai(&self, data: &[u8]) -> bool {
        anywhere(data, openai_key)
            && (has(&self.finish_reason, data) || has(&self.usage, data) || has(&self.error, data))
    }

    /// In an event of Gemini.
    pub(super) fn gemini(&self, data: &[u8]) -> bool {
        anywhere(data, gemini_key)
            && (has(&self.usage_metadata, data)
                || has(&self.finish, data)
                || has(&self.error, data)
                || has(&self.feedback, data))
    }
}

/// May a key of OpenAI's marks begin at `n`, with a value other than null? Null is what nearly every event has there:
/// in texts without white space the value's first byte stands at a known distance.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "a branch per byte could not be made into vector instructions"
)]
fn openai_key(window: &Window, n: usize) -> bool {
    const AFTER_SHORT: usize = "\"usage\":".len();
    const AFTER_LONG: usize = "\"finish_reason\":".len();
    let short = (window[n + 1] == b'u') | (window[n + 1] == b'e');
    let long = window[n + 1] == b'f';
    (window[n] == b'"')
        & (short & (window[n + AFTER_SHORT] != b'n') | long & (window[n + AFTER_LONG] != b'n'))
}

/// May a key of Gemini's marks begin at `n`? `parts` is in every event, so the `p` of `promptFeedback` alone would say
/// nothing.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "a branch per byte could not be made into vector instructions"
)]
fn gemini_key(window: &Window, n: usize) -> bool {
    const CAPITAL: usize = "\"prompt".len();
    let others = (window[n + 1] == b'u') | (window[n + 1] == b'e') | (window[n + 1] == b'f');
    let feedback = (window[n + 1] == b'p') & (window[n + CAPITAL] == b'F');
    (window[n] == b'"') & (others | feedback)
}

/// Positions that are tested at once: one vector register of every x86-64 and AArch64.
const LANES: usize = 16;
type Window = [u8; 2 * LANES];

/// Is `test` true at any byte? It may look `LANES` bytes ahead; behind the end there are zeros. One pass of a rough
/// test takes half the time of three exact searches.
fn anywhere(data: &[u8], test: impl Fn(&Window, usize) -> bool) -> bool {
    let last = if data.len() < 2 * LANES { data.len() } else { LANES + data.len() % LANES };
    let mut end = [0; 3 * LANES];
    end[..last].copy_from_slice(&data[data.len() - last..]);
    windows_hold(data, &test) || windows_hold(&end, &test)
}

/// Is `test` true at any byte that has `LANES` more behind it? Not inlined: merged with its surroundings, the loop over
/// the lanes is no longer made into vector instructions.
#[inline(never)]
fn windows_hold(mut data: &[u8], test: impl Fn(&Window, usize) -> bool) -> bool {
    let mut hits = [false; LANES];
    while let Some(window) = data.first_chunk() {
        for (n, hit) in hits.iter_mut().enumerate() {
            *hit |= test(window, n);
        }
        data = &data[LANES..];
    }
    hits.contains(&true)
}

/// Is there a key like this with a value other than null? A text that quotes the key has a backslash before each
/// quote, so it is not found; whatever else is found by mistake is read exactly afterwards.
fn has(key: &Finder<'static>, data: &[u8]) -> bool {
    let mut rest = data;
    while let Some(at) = key.find(rest) {
        rest = &rest[at + key.needle().len()..];
        let value = rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        if value.is_some_and(|value| !value.starts_with(b"null")) {
            return true;
        }
    }
    false
}
