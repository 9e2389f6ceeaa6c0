//! What each engine calls the few numbers that are read of it.
//!
//! Owns: names, labels and paths, as data. What to switch on in each is told in `docs/backends.md`.
//! Must not: read a page. Whole names only: `…_waiting_by_reason` splits `…_waiting`, adding both doubles the queue.
//! Read next: `page.rs`, which reads one along such a table.

use ringway_contract::snapshot::Engine;

/// How an engine tells its load.
#[derive(Debug)]
pub struct Dialect {
    /// Where its page may be, best first; the next is tried where one is not found.
    pub paths: &'static [&'static str],
    /// The port of its page, where that is not the port of its API.
    pub port: Option<u16>,
    /// Labels that tell its parts apart whose loads add up. Series that differ in others tell one part twice.
    pub(super) parts: &'static [&'static str],
    /// The label that names the model.
    pub(super) model: &'static str,
    /// A label of which only the greatest value of a model counts.
    pub(super) version: Option<&'static str>,
    pub(super) series: &'static [Series],
}

/// One series to read.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: &'static str,
    /// Only where this label has this value: other values of the family are other quantities.
    pub(super) only: Option<(&'static str, &'static str)>,
    pub(super) what: What,
}

/// What a series tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Requests it works on. Several series add up.
    Running,
    /// Requests that wait in it. Several series add up.
    Waiting,
    /// Share of the KV cache in use; of several the first that is there.
    Kv,
    /// Its numerator and denominator, where there is no share.
    KvUsed,
    KvOf,
    /// Tokens that the KV cache holds; 0: it is not ready, and nothing it says counts.
    Capacity,
    /// The same as a product.
    Blocks,
    BlockTokens,
    /// The same in the labels of an info series.
    CacheConfig,
    /// Adapters, in the labels of the series with the newest time.
    Adapters,
    /// Work done since it started: runs backwards only over a restart.
    Work,
    /// Unix time of its start.
    Started,
}

const fn series(name: &'static str, what: What) -> Series {
    Series { name, only: None, what }
}

const fn only(name: &'static str, label: &'static str, value: &'static str, what: What) -> Series {
    Series { name, only: Some((label, value)), what }
}

const STARTED: Series = series("process_start_time_seconds", What::Started);

/// The dialect of an engine; none: it tells nothing that is read here.
pub const fn dialect(engine: Engine) -> Option<&'static Dialect> {
    match engine {
        Engine::Vllm => Some(&VLLM),
        Engine::Sglang => Some(&SGLANG),
        Engine::Trtllm => Some(&TRTLLM),
        Engine::Triton => Some(&TRITON),
        Engine::Lmdeploy => Some(&LMDEPLOY),
        Engine::Tgi => Some(&TGI),
        Engine::Llamacpp => Some(&LLAMACPP),
        Engine::Openai | Engine::Anthropic | Engine::Gemini | Engine::Http => None,
    }
}

/// Where an engine says whether it is well; none: it has no such path of its own.
pub const fn health(engine: Engine) -> Option<&'static str> {
    match engine {
        Engine::Vllm
        | Engine::Sglang
        | Engine::Trtllm
        | Engine::Lmdeploy
        | Engine::Tgi
        | Engine::Llamacpp => Some("/health"),
        Engine::Triton => Some("/v2/health/ready"),
        Engine::Openai | Engine::Anthropic | Engine::Gemini | Engine::Http => None,
    }
}

static VLLM: Dialect = Dialect {
    paths: &["/metrics"],
    port: None,
    parts: &["engine"],
    model: "model_name",
    version: None,
    series: &[
        series("vllm:num_requests_running", What::Running),
        series("vllm:num_requests_waiting", What::Waiting),
        series("vllm:kv_cache_usage_perc", What::Kv), // a share, for all its name
        series("vllm:gpu_cache_usage_perc", What::Kv), // before 0.9
        series("vllm:cache_config_info", What::CacheConfig),
        series("vllm:lora_requests_info", What::Adapters),
        series("vllm:prompt_tokens_total", What::Work),
        series("vllm:generation_tokens_total", What::Work),
        STARTED,
    ],
};

static SGLANG: Dialect = Dialect {
    // The first is always there; the second needs `--enable-metrics`.
    paths: &["/v1/loads", "/metrics"],
    port: None,
    parts: &["dp_rank"],
    model: "model_name",
    version: None,
    series: &[
        series("sglang:num_running_reqs", What::Running),
        series("sglang:num_queue_reqs", What::Waiting),
        series("sglang:num_grammar_queue_reqs", What::Waiting),
        series("sglang:full_token_usage", What::Kv), // exact; the next is rounded to 0.01
        series("sglang:token_usage", What::Kv),
        series("sglang:max_total_num_tokens", What::Capacity),
        series("sglang:cache_config_info", What::CacheConfig),
        series("sglang:prompt_tokens_total", What::Work),
        series("sglang:generation_tokens_total", What::Work),
        STARTED,
    ],
};

static TRTLLM: Dialect = Dialect {
    // `/metrics` is an array of iterations, which each reader takes away from the next.
    paths: &["/prometheus/metrics", "/metrics"],
    port: None,
    parts: &[],
    model: "model_name",
    version: None,
    series: &[
        series("trtllm_num_requests_running", What::Running),
        series("trtllm_num_requests_waiting", What::Waiting),
        series("trtllm_kv_cache_utilization", What::Kv),
        series("trtllm_kv_cache_max_blocks", What::Blocks),
        series("trtllm_kv_cache_tokens_per_block", What::BlockTokens),
        series("trtllm_request_success_total", What::Work),
        STARTED,
    ],
};

static TRITON: Dialect = Dialect {
    paths: &["/metrics"],
    port: Some(8_002),
    parts: &[],
    model: "model",
    version: Some("version"),
    series: &[
        only("nv_trt_llm_request_metrics", "request_type", "scheduled", What::Running),
        only("nv_trt_llm_request_metrics", "request_type", "waiting", What::Waiting),
        only("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type", "fraction", What::Kv),
        only("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type", "max", What::Blocks),
        only("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type", "tokens_per", What::BlockTokens),
        series("nv_inference_request_success", What::Work),
        STARTED,
    ],
};

static LMDEPLOY: Dialect = Dialect {
    paths: &["/metrics"],
    port: None,
    parts: &["engine"],
    model: "model_name",
    version: None,
    series: &[
        series("lmdeploy:num_requests_running", What::Running),
        series("lmdeploy:num_requests_waiting", What::Waiting),
        series("lmdeploy:num_api_requests_waiting", What::Waiting),
        series("lmdeploy:gpu_cache_usage_perc", What::Kv), // a share here too
        series("lmdeploy:prompt_tokens_total", What::Work),
        series("lmdeploy:generation_tokens_total", What::Work),
        STARTED,
    ],
};

static TGI: Dialect = Dialect {
    paths: &["/metrics"],
    port: None,
    parts: &[],
    model: "model_name",
    version: None,
    series: &[
        series("tgi_batch_current_size", What::Running),
        series("tgi_queue_size", What::Waiting),
        series("tgi_batch_current_max_tokens", What::KvUsed), // what the batch may grow to: an upper estimate
        series("tgi_batch_max_total_tokens", What::KvOf),
        series("tgi_request_count", What::Work),
        STARTED,
    ],
};

static LLAMACPP: Dialect = Dialect {
    paths: &["/metrics"],
    port: None,
    parts: &[],
    model: "model_name",
    version: None,
    series: &[
        series("llamacpp:requests_processing", What::Running),
        series("llamacpp:requests_deferred", What::Waiting),
        series("llamacpp:kv_cache_usage_ratio", What::Kv), // until 2025-05
        series("llamacpp:prompt_tokens_total", What::Work),
        series("llamacpp:tokens_predicted_total", What::Work),
        STARTED,
    ],
};
