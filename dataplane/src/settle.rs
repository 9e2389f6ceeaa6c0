//! What an exchange cost: tokens that nobody counted, and money.
//!
//! Owns: the estimate where an upstream tells no usage, marked as one, and the price of what was used.
//! Must not: put an estimate into an answer, or teach anything by one.
//! Read next: [`crate::table::catalogue`], where prices are.

use ringway_contract::snapshot::Dialect;

use crate::bounds::BYTES_PER_TOKEN;
use crate::observe::Record;
use crate::table::catalogue::{Counted, Profile};

/// Completes the books of a call that is over. `prompt_bytes`: its body; `counts_as`: the backend's way of counting.
pub fn settle(record: &mut Record, prompt_bytes: u64, counts_as: Dialect, known: Option<&Profile>) {
    if !(200..300).contains(&record.status) {
        return; // no answer, no tokens
    }
    estimate(record, prompt_bytes);
    record.cost = known.and_then(|known| known.cost(&counted(record, counts_as)));
}

/// Puts lengths for counts where the upstream gave none. Pieces of a stream were counted on the way; of a whole answer the
/// length is all there is.
fn estimate(record: &mut Record, prompt_bytes: u64) {
    if record.tokens_in.is_some() || (record.tokens_out.is_some() && !record.tokens_estimated) {
        return;
    }
    let tokens = |bytes: u64| (bytes as f32 / BYTES_PER_TOKEN).ceil() as u64;
    record.tokens_in = Some(tokens(prompt_bytes));
    record.tokens_out = record.tokens_out.or(Some(tokens(record.bytes_out)));
    record.tokens_estimated = true;
}

/// The tokens by what they cost. Anthropic counts what a cache did apart from the prompt, Gemini thoughts apart from the
/// answer; the others count them in.
fn counted(record: &Record, counts_as: Dialect) -> Counted {
    let or_none = |count: Option<u64>| count.unwrap_or(0);
    let (input, output) = (or_none(record.tokens_in), or_none(record.tokens_out));
    let (cache_read, cache_write) = (or_none(record.tokens_cached), or_none(record.tokens_cache_written));
    let input = match counts_as {
        Dialect::AnthropicMessages => input,
        _ => input.saturating_sub(cache_read).saturating_sub(cache_write),
    };
    let output = match counts_as {
        Dialect::Gemini => output.saturating_add(or_none(record.tokens_reasoning)),
        _ => output,
    };
    Counted { input, cache_read, cache_write, output }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(status: u16, tokens_in: Option<u64>, tokens_out: Option<u64>) -> Record {
        let mut record = Record::new(0, 0, std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
        (record.status, record.tokens_in, record.tokens_out) = (status, tokens_in, tokens_out);
        record
    }

    #[test]
    fn what_the_upstream_counted_stays_as_it_is() {
        let mut told = record(200, Some(7), None);
        settle(&mut told, 4_000, Dialect::OpenaiChat, None);
        assert_eq!((told.tokens_in, told.tokens_out, told.tokens_estimated), (Some(7), None, false));
    }

    #[test]
    fn what_nobody_counted_is_estimated_and_marked_but_not_where_nothing_was_answered() {
        let mut silent = record(200, None, None);
        silent.bytes_out = 41;
        settle(&mut silent, 400, Dialect::OpenaiChat, None);
        assert_eq!(
            (silent.tokens_in, silent.tokens_out, silent.tokens_estimated),
            (Some(100), Some(11), true)
        );
        let mut streamed = record(200, None, Some(5));
        streamed.tokens_estimated = true; // pieces of a stream
        settle(&mut streamed, 400, Dialect::OpenaiChat, None);
        assert_eq!((streamed.tokens_in, streamed.tokens_out), (Some(100), Some(5)));
        let mut refused = record(429, None, None);
        settle(&mut refused, 400, Dialect::OpenaiChat, None);
        assert_eq!((refused.tokens_in, refused.tokens_estimated), (None, false));
    }

    #[test]
    fn no_token_is_paid_twice_however_the_upstream_counts() {
        let mut told = record(200, Some(100), Some(10));
        (told.tokens_cached, told.tokens_cache_written, told.tokens_reasoning) =
            (Some(60), Some(20), Some(4));
        let all = |counted: Counted| (counted.input, counted.cache_read, counted.cache_write, counted.output);
        assert_eq!(all(counted(&told, Dialect::OpenaiChat)), (20, 60, 20, 10));
        assert_eq!(all(counted(&told, Dialect::AnthropicMessages)), (100, 60, 20, 10));
        assert_eq!(all(counted(&told, Dialect::Gemini)), (20, 60, 20, 14));
    }
}
