//! The names that each engine gives to the same few numbers.
//!
//! Owns: one list of families per engine. Must not: write text. Read next: `../metrics.rs`.

use super::{Family, Kind, Source, escape_label};
use crate::{bounds::BLOCK_TOKENS, plan::MetricsDialect};

/// The families of a page, and the labels they all carry.
pub(super) fn families(source: &Source<'_>, dialect: MetricsDialect) -> (Vec<Family>, String) {
    let model = escape_label(source.model);
    let mut all = match dialect {
        MetricsDialect::Vllm => vllm(source),
        MetricsDialect::Sglang => sglang(source),
        MetricsDialect::Trtllm => trtllm(source),
        MetricsDialect::Lmdeploy => lmdeploy(source),
        MetricsDialect::Tgi => tgi(source),
        MetricsDialect::Llamacpp => llamacpp(source),
    };
    let counters = source.engine.counters();
    all.push(Family::counter("sim_cancelled_total", counters.cancelled));
    all.push(Family::counter("sim_cancelled_tokens_total", counters.cancelled_tokens));
    all.push(Family::counter("sim_steps_total", counters.steps));
    all.push(Family::counter("sim_lora_loads_total", source.engine.adapters().2));
    let common = match dialect {
        MetricsDialect::Vllm | MetricsDialect::Lmdeploy => format!(r#"engine="0",model_name="{model}""#),
        MetricsDialect::Sglang => {
            format!(r#"engine_type="unified",model_name="{model}",moe_ep_rank="0",pp_rank="0",tp_rank="0""#)
        }
        MetricsDialect::Trtllm => format!(r#"engine_type="trtllm",model_name="{model}""#),
        MetricsDialect::Tgi | MetricsDialect::Llamacpp => String::new(),
    };
    (all, common)
}

fn running(source: &Source<'_>) -> f64 {
    source.engine.running() as f64
}

fn waiting(source: &Source<'_>) -> f64 {
    source.engine.waiting() as f64
}

fn capacity(source: &Source<'_>) -> f64 {
    f64::from(source.engine.blocks_total() * BLOCK_TOKENS)
}

fn hit_rate(source: &Source<'_>) -> f64 {
    let counters = source.engine.counters();
    counters.prefix_hits as f64 / counters.prefix_queries.max(1) as f64
}

fn vllm(source: &Source<'_>) -> Vec<Family> {
    let engine = source.engine;
    let (counters, latencies) = (engine.counters(), engine.latencies());
    let waiting = waiting(source);
    let mut all = vec![
        Family::gauge("vllm:num_requests_running", running(source)),
        Family::gauge("vllm:num_requests_waiting", waiting),
        Family::by(
            "vllm:num_requests_waiting_by_reason",
            Kind::Gauge,
            "reason",
            &[("capacity", waiting), ("deferred", 0.0)],
        ),
        Family::gauge("vllm:kv_cache_usage_perc", engine.kv_use()),
        Family::counter("vllm:prefix_cache_queries_total", counters.prefix_queries),
        Family::counter("vllm:prefix_cache_hits_total", counters.prefix_hits),
        Family::counter("vllm:num_preemptions_total", counters.preemptions),
        Family::counter("vllm:prompt_tokens_total", counters.prompt_tokens),
        Family::counter("vllm:generation_tokens_total", counters.generation_tokens),
        Family::by(
            "vllm:request_success_total",
            Kind::Counter,
            "finished_reason",
            &[
                ("stop", counters.stopped as f64),
                ("length", counters.exhausted as f64),
                ("abort", counters.cancelled as f64),
            ],
        ),
        Family::histogram("vllm:time_to_first_token_seconds", &latencies.ttft),
        Family::histogram("vllm:inter_token_latency_seconds", &latencies.inter_token),
        Family::histogram("vllm:e2e_request_latency_seconds", &latencies.end_to_end),
    ];
    if !source.adapters.is_empty() {
        all.push(lora_requests(source));
    }
    let blocks = engine.blocks_total();
    all.push(Family::info(
        "vllm:cache_config_info",
        format!(r#"block_size="{BLOCK_TOKENS}",engine="0",num_gpu_blocks="{blocks}""#),
    ));
    all
}

/// One series per combination of adapters, valued with the time it was last so. With traps an older combination
/// is there, too.
fn lora_requests(source: &Source<'_>) -> Family {
    let (running, waiting, _) = source.engine.adapters();
    let names = |adapters: &[crate::lora::Adapter]| {
        let names: Vec<_> =
            adapters.iter().filter_map(|adapter| source.adapters.get(usize::from(adapter.0))).collect();
        escape_label(&names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(","))
    };
    let most = source.engine.adapter_slots().1;
    let labels = |running: &str, waiting: &str| {
        format!(r#"max_lora="{most}",running_lora_adapters="{running}",waiting_lora_adapters="{waiting}""#)
    };
    let mut series = vec![(labels(&names(&running), &names(&waiting)), source.now)];
    if source.traps {
        series.insert(0, (labels("long,gone", ""), source.started));
    }
    Family { name: "vllm:lora_requests_info", kind: Kind::Gauge, series, labelled: false }
}

fn sglang(source: &Source<'_>) -> Vec<Family> {
    let engine = source.engine;
    let (counters, latencies) = (engine.counters(), engine.latencies());
    let (used, slots) = engine.adapter_slots();
    let pages = engine.blocks_total();
    let mut all = vec![
        Family::gauge("sglang:num_running_reqs", running(source)),
        Family::gauge("sglang:num_queue_reqs", waiting(source)),
        Family::gauge("sglang:num_grammar_queue_reqs", 0.0),
        Family::gauge("sglang:token_usage", (engine.kv_use() * 100.0).round() / 100.0),
        Family::gauge("sglang:full_token_usage", engine.kv_use()),
        Family::gauge("sglang:num_used_tokens", engine.kv_use() * capacity(source)),
        Family::gauge("sglang:max_total_num_tokens", capacity(source)),
        // A decode report has just set it to zero, as it does in every engine that generates.
        Family::gauge("sglang:cache_hit_rate", 0.0),
        Family::gauge("sglang:num_retracted_reqs", 0.0),
        Family::by(
            "sglang:cached_tokens_total",
            Kind::Counter,
            "cache_source",
            &[("device", counters.prefix_hits as f64), ("host", 0.0)],
        ),
        Family::counter("sglang:prompt_tokens_total", counters.prompt_tokens),
        Family::counter("sglang:generation_tokens_total", counters.generation_tokens),
        Family::counter("sglang:num_requests_total", counters.stopped + counters.exhausted),
        Family::histogram("sglang:time_to_first_token_seconds", &latencies.ttft),
        Family::histogram("sglang:inter_token_latency_seconds", &latencies.inter_token),
        Family::histogram("sglang:e2e_request_latency_seconds", &latencies.end_to_end),
    ];
    all.push(Family::info(
        "sglang:cache_config_info",
        format!(r#"num_pages="{pages}",page_size="{BLOCK_TOKENS}""#),
    ));
    if !source.adapters.is_empty() {
        all.push(Family::gauge("sglang:lora_pool_slots_used", used as f64));
        all.push(Family::gauge("sglang:lora_pool_slots_total", slots as f64));
    }
    all
}

fn trtllm(source: &Source<'_>) -> Vec<Family> {
    vec![
        Family::gauge("trtllm_num_requests_running", running(source)),
        Family::gauge("trtllm_num_requests_waiting", waiting(source)),
        Family::gauge("trtllm_kv_cache_utilization", source.engine.kv_use()),
        Family::gauge("trtllm_kv_cache_hit_rate", hit_rate(source)),
        Family::gauge("trtllm_kv_cache_max_blocks", f64::from(source.engine.blocks_total())),
        Family::gauge("trtllm_kv_cache_tokens_per_block", f64::from(BLOCK_TOKENS)),
        Family::histogram("trtllm_time_to_first_token_seconds", &source.engine.latencies().ttft),
        Family::histogram("trtllm_e2e_request_latency_seconds", &source.engine.latencies().end_to_end),
    ]
}

fn lmdeploy(source: &Source<'_>) -> Vec<Family> {
    vec![
        Family::gauge("lmdeploy:num_requests_running", running(source)),
        Family::gauge("lmdeploy:num_requests_waiting", waiting(source)),
        Family::gauge("lmdeploy:num_api_requests_waiting", 0.0),
        Family::gauge("lmdeploy:gpu_cache_usage_perc", source.engine.kv_use()),
        Family::gauge("lmdeploy:prefix_cache_hit_rate", hit_rate(source)),
        Family::counter("lmdeploy:cached_tokens_total", source.engine.counters().prefix_hits),
    ]
}

fn tgi(source: &Source<'_>) -> Vec<Family> {
    let most = capacity(source);
    vec![
        Family::gauge("tgi_batch_current_size", running(source)),
        Family::gauge("tgi_queue_size", waiting(source)),
        Family::gauge("tgi_batch_current_max_tokens", source.engine.kv_use() * most),
        Family::gauge("tgi_batch_max_total_tokens", most),
    ]
}

fn llamacpp(source: &Source<'_>) -> Vec<Family> {
    let counters = source.engine.counters();
    vec![
        Family::counter("llamacpp:prompt_tokens_total", counters.prompt_tokens),
        Family::counter("llamacpp:tokens_predicted_total", counters.generation_tokens),
        Family::gauge("llamacpp:requests_processing", running(source)),
        Family::gauge("llamacpp:requests_deferred", waiting(source)),
    ]
}
