//! One page per engine and trap (spec routing.md sections 5.1 and 5.2), and what must be read of it.

use ringway_contract::snapshot::Engine;

use super::engine::dialect;
use super::{Adapters, Reading, Scratch, read};

fn reading(engine: Engine, page: &str) -> Reading {
    reading_of(engine, page, &[])
}

fn reading_of(engine: Engine, page: &str, models: &[&str]) -> Reading {
    let models: Vec<String> = models.iter().map(|&model| model.to_owned()).collect();
    let dialect = dialect(engine).expect("an engine that tells its load");
    read(page.as_bytes(), dialect, &models, &mut Scratch::default())
}

/// Running, waiting and share of the KV cache.
fn load(reading: &Reading) -> (Option<u32>, Option<u32>, Option<f64>) {
    (reading.running, reading.waiting, reading.kv)
}

const VLLM: &str = r#"# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="0",model_name="m"} 5.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="deferred"} 1.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:prompt_tokens_total{engine="0",model_name="m"} 100.0
vllm:generation_tokens_total{engine="0",model_name="m"} 20.0
vllm:prompt_tokens_created{engine="0",model_name="m"} 1.7e+09
vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="26625"} 1.0
process_start_time_seconds 1.7e+09
"#;

#[test]
fn a_page_of_vllm_is_read_and_the_split_of_its_queue_is_not_added_to_it() {
    assert_eq!(
        reading(Engine::Vllm, VLLM),
        Reading {
            running: Some(3),
            waiting: Some(5),
            kv: Some(0.25),
            capacity: Some(426_000),
            process_start: Some(1.7e9),
            work: Some(120.0),
            ..Reading::default()
        }
    );
}

#[test]
fn pages_end_lines_with_crlf_and_themselves_with_eof_all_the_same() {
    let page = VLLM.replace('\n', "\r\n") + "# EOF\r\n";
    assert_eq!(reading(Engine::Vllm, &page), reading(Engine::Vllm, VLLM));
}

#[test]
fn before_0_9_vllm_had_another_name_for_its_cache() {
    let page = "vllm:gpu_cache_usage_perc{model_name=\"m\"} 1.0\n";
    assert_eq!(reading(Engine::Vllm, page).kv, Some(1.0), "a share: 1 is full");
    let both = "vllm:gpu_cache_usage_perc 0.9\nvllm:kv_cache_usage_perc 0.4\n";
    assert_eq!(reading(Engine::Vllm, both).kv, Some(0.4));
}

#[test]
fn engines_behind_one_port_add_up_and_their_caches_average() {
    let page = r#"vllm:num_requests_running{engine="0",model_name="m"} 3
vllm:num_requests_running{engine="1",model_name="m"} 4
vllm:num_requests_waiting{engine="0",model_name="m"} 1
vllm:num_requests_waiting{engine="1",model_name="m"} 2
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.75
vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="100"} 1
vllm:cache_config_info{block_size="16",engine="1",num_gpu_blocks="100"} 1
"#;
    let reading = reading(Engine::Vllm, page);
    assert_eq!(load(&reading), (Some(7), Some(3), Some(0.5)));
    assert_eq!(reading.capacity, Some(3_200));
}

#[test]
fn processes_of_one_front_end_count_once_by_the_largest() {
    let page = r#"vllm:num_requests_running{engine="0",model_name="m",pid="101"} 0
vllm:num_requests_running{engine="0",model_name="m",pid="102"} 6
vllm:num_requests_running{engine="0",model_name="m",pid="103"} 0
vllm:kv_cache_usage_perc{engine="0",model_name="m",pid="101"} 0
vllm:kv_cache_usage_perc{engine="0",model_name="m",pid="102"} 0.5
"#;
    assert_eq!(load(&reading(Engine::Vllm, page)), (Some(6), None, Some(0.5)));
}

#[test]
fn of_two_models_on_one_port_ours_counts_and_both_where_neither_is_known() {
    let page = r#"vllm:num_requests_running{engine="0",model_name="m"} 3
vllm:num_requests_running{engine="0",model_name="an,\"other\" {} model"} 4
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.2
vllm:kv_cache_usage_perc{engine="0",model_name="an,\"other\" {} model"} 0.6
"#;
    let of = |models: &[&str]| load(&reading_of(Engine::Vllm, page, models));
    assert_eq!(of(&["m"]), (Some(3), None, Some(0.2)));
    assert_eq!(of(&["an,\"other\" {} model"]), (Some(4), None, Some(0.6)));
    assert_eq!(of(&["an alias of ours"]), (Some(7), None, Some(0.4)));
    assert_eq!(of(&[]), (Some(7), None, Some(0.4)));
}

#[test]
fn a_page_without_the_engines_series_says_nothing() {
    for page in ["", "\n\n", "# EOF\n", "python_info{version=\"3.12\"} 1\nprocess_start_time_seconds 5\n"] {
        let reading = reading(Engine::Vllm, page);
        assert!(!reading.has_load() && reading.capacity.is_none(), "{page:?}: {reading:?}");
    }
}

#[test]
fn nonsense_is_dropped_and_the_rest_is_kept() {
    let page = "vllm:num_requests_running NaN\nvllm:num_requests_waiting 4\nvllm:kv_cache_usage_perc +Inf\n";
    assert_eq!(load(&reading(Engine::Vllm, page)), (None, Some(4), None));
    let page = "vllm:num_requests_running -1\nvllm:num_requests_waiting -Inf\nvllm:kv_cache_usage_perc 1.3\n";
    assert_eq!(load(&reading(Engine::Vllm, page)), (None, None, Some(1.0)));
    assert_eq!(reading(Engine::Vllm, "vllm:kv_cache_usage_perc 37.5\n").kv, None, "percent is another unit");
}

#[test]
fn of_all_combinations_of_adapters_the_newest_counts() {
    let page = r#"vllm:lora_requests_info{max_lora="4",running_lora_adapters="a,b",waiting_lora_adapters=""} 1.7e+09
vllm:lora_requests_info{max_lora="4",running_lora_adapters="c",waiting_lora_adapters="d, c"} 1.8e+09
vllm:lora_requests_info{max_lora="4",running_lora_adapters="",waiting_lora_adapters="e"} 1.6e+09
"#;
    let named = vec!["c".to_owned(), "d".to_owned()];
    assert_eq!(reading(Engine::Vllm, page).adapters, Some(Adapters { named, slots: Some(4) }));
}

#[test]
fn the_capacity_may_be_told_whole_and_is_absent_before_it_is_known() {
    let page = r#"vllm:cache_config_info{block_size="16",kv_cache_size_tokens="4000",num_gpu_blocks="1"} 1"#;
    assert_eq!(reading(Engine::Vllm, page).capacity, Some(4_000));
    let page = r#"vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1"#;
    assert_eq!(reading(Engine::Vllm, page).capacity, None);
}

#[test]
fn ranks_of_one_sglang_engine_count_once_and_data_parallel_ones_add_up() {
    let page = r#"sglang:num_running_reqs{dp_rank="0",tp_rank="0",model_name="m"} 3
sglang:num_running_reqs{dp_rank="0",tp_rank="1",model_name="m"} 3
sglang:num_running_reqs{dp_rank="1",tp_rank="0",model_name="m"} 2
sglang:num_queue_reqs{dp_rank="0",tp_rank="0",model_name="m"} 1
sglang:num_grammar_queue_reqs{dp_rank="0",tp_rank="0",model_name="m"} 4
sglang:token_usage{dp_rank="0",tp_rank="0",model_name="m"} 0.52
sglang:full_token_usage{dp_rank="0",tp_rank="0",model_name="m"} 0.5162
sglang:cache_hit_rate{dp_rank="0",tp_rank="0",model_name="m"} 0.0
sglang:num_retracted_reqs{dp_rank="0",tp_rank="0",model_name="m"} 9
sglang:max_total_num_tokens{dp_rank="0",tp_rank="0",model_name="m"} 1000
"#;
    let reading = reading(Engine::Sglang, page);
    assert_eq!(load(&reading), (Some(5), Some(5), Some(0.5162)));
    assert_eq!(reading.capacity, Some(1_000));
}

#[test]
fn the_zeros_of_an_sglang_that_is_not_ready_say_nothing() {
    let page = "sglang:num_running_reqs 0\nsglang:token_usage 0\nsglang:max_total_num_tokens 0\n";
    assert_eq!(reading(Engine::Sglang, page), Reading::default());
    let zeros =
        r#"{"loads":[{"dp_rank":0,"num_running_reqs":0,"num_waiting_reqs":0,"max_total_num_tokens":0}]}"#;
    assert_eq!(reading(Engine::Sglang, zeros), Reading::default());
    assert_eq!(reading(Engine::Sglang, r#"{"loads": []}"#), Reading::default());
    assert_eq!(reading(Engine::Sglang, r#"{"loads": [{"#), Reading::default());
}

#[test]
fn the_loads_of_sglang_add_up_over_its_ranks() {
    let page = r#"{"timestamp":"t","version":"0.5.20","loads":[
        {"dp_rank":0,"num_running_reqs":3,"num_waiting_reqs":1,"num_waiting_uncached_tokens":700,
         "num_used_tokens":100,"max_total_num_tokens":1000,"token_usage":0.2,"utilization":-1},
        {"dp_rank":1,"num_running_reqs":2,"num_waiting_reqs":0,"num_waiting_uncached_tokens":50,
         "max_total_num_tokens":1000,"token_usage":0.4,"memory":{"weight_gb":1.5}}]}"#;
    let reading = reading(Engine::Sglang, page);
    assert_eq!(load(&reading).0.zip(reading.waiting), Some((5, 1)));
    assert!((reading.kv.expect("told") - 0.3).abs() < 1e-9);
    assert_eq!((reading.uncached_waiting, reading.capacity), (Some(750), Some(2_000)));
}

#[test]
fn the_prometheus_form_of_sglangs_loads_is_not_taken_for_its_metrics() {
    let page = "# TYPE sglang_num_running_reqs gauge\nsglang_num_running_reqs{dp_rank=\"0\"} 4\n";
    assert_eq!(reading(Engine::Sglang, page), Reading::default());
}

#[test]
fn trtllm_tells_gauges_as_text_and_iterations_as_json() {
    let page = r#"trtllm_num_requests_running{model_name="m",engine_type="trtllm"} 2
trtllm_num_requests_waiting{model_name="m",engine_type="trtllm"} 1
trtllm_kv_cache_utilization{model_name="m",engine_type="trtllm"} 0.1
trtllm_kv_cache_max_blocks{model_name="m",engine_type="trtllm"} 100
trtllm_kv_cache_tokens_per_block{model_name="m",engine_type="trtllm"} 32
"#;
    let text = reading(Engine::Trtllm, page);
    assert_eq!((load(&text), text.capacity), ((Some(2), Some(1), Some(0.1)), Some(3_200)));
    let page = r#"[{"iter":1,"numActiveRequests":99},
        {"iter":2,"numActiveRequests":2,"numQueuedRequests":3,"gpuMemUsage":4096,
         "kvCacheStats":{"usedNumBlocks":25,"maxNumBlocks":100,"tokensPerBlock":32,"cacheHitRate":0.5}}]"#;
    let json = reading(Engine::Trtllm, page);
    assert_eq!((load(&json), json.capacity), ((Some(2), Some(3), Some(0.25)), Some(3_200)));
    assert_eq!(reading(Engine::Trtllm, "[]"), Reading::default());
    let before_the_gauges = "request_success_total{model_name=\"m\"} 5\n";
    assert!(!reading(Engine::Trtllm, before_the_gauges).has_load());
}

#[test]
fn tritons_families_are_told_apart_by_label_and_the_greatest_version_counts() {
    let page = r#"nv_trt_llm_request_metrics{model="m",request_type="waiting",version="1"} 1
nv_trt_llm_request_metrics{model="m",request_type="scheduled",version="1"} 50
nv_trt_llm_request_metrics{model="m",request_type="max",version="1"} 512
nv_trt_llm_request_metrics{model="m",request_type="active",version="1"} 51
nv_trt_llm_request_metrics{model="m",request_type="scheduled",version="2"} 7
nv_trt_llm_request_metrics{model="m",request_type="context",version="1"} 1
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="m",version="1"} 0.5
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="m",version="1"} 64
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="m",version="1"} 50
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="free",model="m",version="1"} 50
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="m",version="1"} 100
nv_trt_llm_request_metrics{model="other",request_type="scheduled",version="1"} 9
"#;
    let reading = reading_of(Engine::Triton, page, &["m"]);
    assert_eq!((load(&reading), reading.capacity), ((Some(7), Some(1), Some(0.5)), Some(6_400)));
}

#[test]
fn lmdeploy_has_two_queues_and_a_share_that_is_called_percent() {
    let page = r#"lmdeploy:num_requests_running{engine="0",model_name="m"} 2
lmdeploy:num_requests_running{engine="1",model_name="m"} 3
lmdeploy:num_requests_waiting{engine="0",model_name="m"} 1
lmdeploy:num_api_requests_waiting{engine="0",model_name="m"} 4
lmdeploy:gpu_cache_usage_perc{engine="0",model_name="m"} 0.2
lmdeploy:gpu_cache_usage_perc{engine="1",model_name="m"} 0.4
"#;
    let (running, waiting, kv) = load(&reading(Engine::Lmdeploy, page));
    assert_eq!((running, waiting), (Some(5), Some(5)));
    assert!((kv.expect("told") - 0.3).abs() < 1e-9);
}

#[test]
fn tgi_tells_a_series_once_it_was_used_and_its_batch_bounds_the_cache() {
    let page =
        "tgi_batch_current_size 2\ntgi_batch_current_max_tokens 250\ntgi_batch_max_total_tokens 1000\n";
    assert_eq!(load(&reading(Engine::Tgi, page)), (Some(2), None, Some(0.25)));
    assert_eq!(load(&reading(Engine::Tgi, "tgi_queue_size 3\n")), (None, Some(3), None));
    assert_eq!(
        reading(Engine::Tgi, "tgi_batch_current_max_tokens 5\ntgi_batch_max_total_tokens 0\n").kv,
        None
    );
}

#[test]
fn llama_cpp_tells_what_it_processes_and_defers() {
    let page = "llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\n";
    assert_eq!(load(&reading(Engine::Llamacpp, page)), (Some(1), Some(2), None));
    assert_eq!(reading(Engine::Llamacpp, "llamacpp:kv_cache_usage_ratio 0.5\n").kv, Some(0.5));
}

#[test]
fn what_is_kept_between_pages_does_not_leak_into_the_next() {
    let dialect = dialect(Engine::Vllm).expect("it tells its load");
    let mut scratch = Scratch::default();
    let busy = read(VLLM.as_bytes(), dialect, &[], &mut scratch);
    assert!(busy.has_load());
    assert_eq!(read(b"", dialect, &[], &mut scratch), Reading::default());
}

#[test]
fn a_page_of_nothing_but_parts_stays_bounded() {
    let page: String = (0..5_000)
        .fold(String::new(), |page, n| page + &format!("vllm:num_requests_running{{engine=\"{n}\"}} 1\n"));
    let running = reading(Engine::Vllm, &page).running;
    assert_eq!(running, u32::try_from(crate::bounds::running::TOLD_MAX).ok());
}
