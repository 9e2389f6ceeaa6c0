//! The parser of engines' pages under properties and over the fuzzer's seeds.

use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;
use ringway_contract::snapshot::Engine;
use ringway_controlplane::scrape::{Reading, Scratch, dialect, read};

#[path = "../../fuzz/checks/metrics.rs"]
mod metrics;

#[test]
fn the_seeds_of_the_fuzzer_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/metrics");
    let files = std::fs::read_dir(&folder).expect("the corpus is part of the tree");
    let seeds: Vec<_> =
        files.map(|file| std::fs::read(file.expect("listed").path()).expect("a file")).collect();
    assert!(seeds.len() >= 5, "{} holds seeds", folder.display());
    for seed in seeds {
        (0..=seed.len()).for_each(|end| metrics::check(&seed[..end]));
    }
}

fn vllm(page: &str) -> Reading {
    let dialect = dialect(Engine::Vllm).expect("vLLM tells its load");
    read(page.as_bytes(), dialect, &["ours".to_owned()], &mut Scratch::default())
}

/// One engine of a port: its load as told by each process of the front end (one of them knows it), and by another model.
#[derive(Clone, Debug)]
struct Part {
    running: u32,
    waiting: u32,
    kv: u32,
    processes: usize,
    knows: usize,
}

fn part() -> impl Strategy<Value = Part> {
    (0..10_000u32, 0..10_000u32, 0..=1_000u32, 1..4usize, 0..4usize).prop_map(
        |(running, waiting, kv, processes, knows)| Part {
            running,
            waiting,
            kv,
            processes,
            knows: knows % processes,
        },
    )
}

fn page(parts: &[Part], noise: &[String], other: bool, crlf: bool) -> String {
    let mut lines = Vec::new();
    for (engine, part) in parts.iter().enumerate() {
        for process in 0..part.processes {
            let known = if process == part.knows { 1.0 } else { 0.0 };
            let labels = format!("engine=\"{engine}\",model_name=\"ours\",pid=\"{process}\"");
            let mut line = |name: &str, value: f64| lines.push(format!("vllm:{name}{{{labels}}} {value:?}"));
            line("num_requests_running", known * f64::from(part.running));
            line("num_requests_waiting", known * f64::from(part.waiting));
            line("kv_cache_usage_perc", known * f64::from(part.kv) / 1_000.0);
        }
        if other {
            lines.push(format!("vllm:num_requests_running{{engine=\"{engine}\",model_name=\"theirs\"}} 99"));
        }
    }
    let end = if crlf { "\r\n" } else { "\n" };
    let mut page = String::new();
    for (at, line) in lines.iter().enumerate() {
        let comment = noise.get(at % noise.len().max(1)).map_or("", String::as_str);
        let _ = write!(page, "# {comment}{end}{line}{end}vllm:num_requests_waiting_by_reason 7{end}");
    }
    page
}

proptest! {
    #[test]
    fn parts_add_up_and_processes_do_not(
        parts in prop::collection::vec(part(), 1..6),
        noise in prop::collection::vec("[^\r\n]{0,40}", 0..4),
        other: bool,
        crlf: bool,
    ) {
        let reading = vllm(&page(&parts, &noise, other, crlf));
        let sum = |of: fn(&Part) -> u32| parts.iter().map(of).sum::<u32>();
        prop_assert_eq!(reading.running, Some(sum(|part| part.running)));
        prop_assert_eq!(reading.waiting, Some(sum(|part| part.waiting)));
        let mean = f64::from(sum(|part| part.kv)) / 1_000.0 / parts.len() as f64;
        prop_assert!((reading.kv.expect("told") - mean).abs() < 1e-9);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "(?s).{0,400}") {
        metrics::check(text.as_bytes());
    }

    #[test]
    fn anything_in_the_shape_of_a_sample_is_read_without_a_panic(
        lines in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "vllm:num_requests_running", "vllm:cache_config_info", "vllm:lora_requests_info",
                    "sglang:max_total_num_tokens", "nv_trt_llm_request_metrics", "tgi_batch_max_total_tokens",
                ]),
                "[{}\"\\\\,= a-z0-9]{0,30}",
                "[-+0-9.eENaInf]{0,8}",
            ),
            0..20,
        ),
    ) {
        let page: String = lines.iter().fold(String::new(), |page, (name, labels, value)| {
            page + &format!("{name}{labels} {value}\n")
        });
        metrics::check(page.as_bytes());
    }
}
