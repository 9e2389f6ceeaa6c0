//! The two pages that are JSON: SGLang's loads and the iterations of `trtllm-serve`.
//!
//! Owns: their shapes. Must not: take an empty list for zeros; it says that nothing is known.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, SeqAccess, Visitor};

use super::reading::{self, Reading};

/// `GET /v1/loads` of SGLang: one entry per data-parallel rank.
#[derive(Deserialize)]
struct Loads {
    #[serde(default)]
    loads: Vec<Rank>,
}

#[derive(Deserialize)]
struct Rank {
    num_running_reqs: Option<f64>,
    num_waiting_reqs: Option<f64>,
    num_waiting_uncached_tokens: Option<f64>,
    token_usage: Option<f64>,
    max_total_num_tokens: Option<f64>,
}

/// Reads SGLang's loads.
pub(super) fn loads(page: &[u8]) -> Reading {
    let Ok(Loads { loads }) = serde_json::from_slice(page) else { return Reading::default() };
    // All zeros stand there until the first forward pass, and then the capacity does too.
    let ready: Vec<&Rank> =
        loads.iter().filter(|rank| rank.max_total_num_tokens.is_none_or(|tokens| tokens > 0.0)).collect();
    let sum = |of: fn(&Rank) -> Option<f64>| {
        ready.iter().filter_map(|rank| of(rank).and_then(reading::sane)).reduce(|sum, value| sum + value)
    };
    let shares: Vec<f64> =
        ready.iter().filter_map(|rank| rank.token_usage.and_then(reading::share)).collect();
    Reading {
        running: sum(|rank| rank.num_running_reqs).and_then(reading::count),
        waiting: sum(|rank| rank.num_waiting_reqs).and_then(reading::count),
        uncached_waiting: sum(|rank| rank.num_waiting_uncached_tokens).and_then(reading::tokens),
        kv: (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64),
        capacity: sum(|rank| rank.max_total_num_tokens).and_then(reading::tokens),
        ..Reading::default()
    }
}

/// One iteration of TensorRT-LLM.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Iteration {
    num_active_requests: Option<f64>,
    num_queued_requests: Option<f64>,
    kv_cache_stats: Option<KvCache>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KvCache {
    used_num_blocks: Option<f64>,
    max_num_blocks: Option<f64>,
    tokens_per_block: Option<f64>,
}

/// Reads the iterations of `trtllm-serve`: the last one counts.
pub(super) fn iterations(page: &[u8]) -> Reading {
    let mut json = serde_json::Deserializer::from_slice(page);
    let Ok(Some(last)) = json.deserialize_seq(Last) else { return Reading::default() };
    let kv = last.kv_cache_stats.as_ref();
    let blocks = kv.and_then(|kv| kv.max_num_blocks).and_then(reading::sane).filter(|blocks| *blocks > 0.0);
    let used = kv.and_then(|kv| kv.used_num_blocks).and_then(reading::sane);
    let each = kv.and_then(|kv| kv.tokens_per_block).and_then(reading::sane);
    Reading {
        running: last.num_active_requests.and_then(reading::count),
        waiting: last.num_queued_requests.and_then(reading::count),
        kv: used.zip(blocks).and_then(|(used, blocks)| reading::share(used / blocks)),
        capacity: blocks.zip(each).and_then(|(blocks, each)| reading::tokens(blocks * each)),
        ..Reading::default()
    }
}

/// Keeps the last of a list, whatever its length.
struct Last;

impl<'de> Visitor<'de> for Last {
    type Value = Option<Iteration>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of iterations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut last = None;
        while let Some(next) = list.next_element()? {
            last = Some(next);
        }
        Ok(last)
    }
}
