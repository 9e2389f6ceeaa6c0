//! The metrics page of one engine, in the names and text format 0.0.4 that vLLM uses.
//!
//! Owns: names, types and labels. Must not: count anything itself.
//! Read next: `engine.rs`, where the numbers come from.

use std::fmt::Write as _;

use crate::{bounds::BLOCK_TOKENS, engine::Engine};

/// The content type of the page.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Requests by how their answers ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Finished {
    pub(crate) stop: u64,
    pub(crate) length: u64,
}

pub(crate) fn page(engine: &Engine, finished: Finished, model: &str, started: f64) -> String {
    let mut page = Page { text: String::with_capacity(4_096), model: escape_label(model) };
    let counters = engine.counters();
    let (running, waiting) = (engine.running() as f64, engine.waiting() as f64);
    page.family("vllm:num_requests_running", "gauge", &[("", running)]);
    page.family("vllm:num_requests_waiting", "gauge", &[("", waiting)]);
    page.family(
        "vllm:num_requests_waiting_by_reason",
        "gauge",
        &[(r#",reason="capacity""#, waiting), (r#",reason="deferred""#, 0.0)],
    );
    page.family("vllm:kv_cache_usage_perc", "gauge", &[("", engine.kv_use())]);
    for (name, value) in [
        ("vllm:prefix_cache_queries_total", counters.prefix_queries),
        ("vllm:prefix_cache_hits_total", 0),
        ("vllm:num_preemptions_total", counters.preemptions),
        ("vllm:prompt_tokens_total", counters.prompt_tokens),
        ("vllm:generation_tokens_total", counters.generation_tokens),
    ] {
        page.family(name, "counter", &[("", value as f64)]);
    }
    page.family(
        "vllm:request_success_total",
        "counter",
        &[
            (r#",finished_reason="stop""#, finished.stop as f64),
            (r#",finished_reason="length""#, finished.length as f64),
            (r#",finished_reason="abort""#, counters.cancelled as f64),
        ],
    );
    page.family("sim_cancelled_total", "counter", &[("", counters.cancelled as f64)]);
    page.family("sim_cancelled_tokens_total", "counter", &[("", counters.cancelled_tokens as f64)]);
    page.family("sim_steps_total", "counter", &[("", counters.steps as f64)]);
    page.unlabelled(engine, started);
    page.text
}

struct Page {
    text: String,
    model: String,
}

const INFALLIBLE: &str = "writing to memory cannot fail";

impl Page {
    /// One family; each series gives its labels beyond the usual two, and its value.
    fn family(&mut self, name: &str, kind: &str, series: &[(&str, f64)]) {
        // The client library names a counter's family without `_total` in OpenMetrics only; 0.0.4 keeps it.
        writeln!(self.text, "# HELP {name} Simulated.\n# TYPE {name} {kind}").expect(INFALLIBLE);
        for (labels, value) in series {
            let model = &self.model;
            writeln!(self.text, r#"{name}{{engine="0",model_name="{model}"{labels}}} {value:?}"#)
                .expect(INFALLIBLE);
        }
    }

    fn unlabelled(&mut self, engine: &Engine, started: f64) {
        let blocks = engine.blocks_total();
        writeln!(
            self.text,
            "# HELP vllm:cache_config_info Simulated.\n# TYPE vllm:cache_config_info gauge\n\
             vllm:cache_config_info{{block_size=\"{BLOCK_TOKENS}\",engine=\"0\",num_gpu_blocks=\"{blocks}\"}} 1.0\n\
             # HELP process_start_time_seconds Start time of the process since unix epoch in seconds.\n\
             # TYPE process_start_time_seconds gauge\n\
             process_start_time_seconds {started:?}"
        )
        .expect(INFALLIBLE);
    }
}

fn escape_label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Preset;

    #[test]
    fn the_page_names_every_series_once_and_escapes_the_model() {
        let engine = Engine::new(Preset::H100.model(), 1.0);
        let page = page(&engine, Finished { stop: 3, length: 4 }, "a\"b", 12.5);
        assert!(
            page.contains("vllm:num_requests_running{engine=\"0\",model_name=\"a\\\"b\"} 0.0\n"),
            "{page}"
        );
        assert!(page.contains("finished_reason=\"length\"} 4.0\n"));
        assert!(page.contains(
            "vllm:cache_config_info{block_size=\"16\",engine=\"0\",num_gpu_blocks=\"26625\"} 1.0\n"
        ));
        assert!(page.ends_with("process_start_time_seconds 12.5\n"));
        let mut series: Vec<_> =
            page.lines().filter(|line| !line.starts_with('#')).map(|l| l.split(' ').next()).collect();
        let all = series.len();
        series.sort_unstable();
        series.dedup();
        assert_eq!(series.len(), all);
    }
}
