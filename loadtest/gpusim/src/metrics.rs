//! The metrics page of one server, in text format 0.0.4, in the names of the engine it plays.
//!
//! Owns: names, types and labels, and the ways in which a page can be wrong on command.
//! Must not: count anything itself. Read next: `engine.rs`, where the numbers come from.

mod dialects;

use std::fmt::Write as _;

use crate::{engine::Engine, fault::MetricsMode, histogram::Histogram, plan::MetricsDialect};

/// The content type of the page.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a page is made of.
pub(crate) struct Source<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) model: &'a str,
    pub(crate) adapters: &'a [String],
    /// Unix time of the start.
    pub(crate) started: f64,
    /// Unix time.
    pub(crate) now: f64,
    pub(crate) traps: bool,
}

/// One metric of a page.
struct Family {
    name: &'static str,
    kind: Kind,
    series: Vec<(String, f64)>,
    /// Whether its series carry the labels that all do.
    labelled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
    Histogram,
}

impl Family {
    fn gauge(name: &'static str, value: f64) -> Self {
        Self { name, kind: Kind::Gauge, series: vec![(String::new(), value)], labelled: true }
    }

    fn counter(name: &'static str, value: u64) -> Self {
        Self { name, kind: Kind::Counter, series: vec![(String::new(), value as f64)], labelled: true }
    }

    fn by(name: &'static str, kind: Kind, label: &str, values: &[(&str, f64)]) -> Self {
        let series = values.iter().map(|(of, value)| (format!(r#",{label}="{of}""#), *value)).collect();
        Self { name, kind, series, labelled: true }
    }

    fn info(name: &'static str, labels: String) -> Self {
        Self { name, kind: Kind::Gauge, series: vec![(labels, 1.0)], labelled: false }
    }

    fn histogram(name: &'static str, histogram: &Histogram) -> Self {
        let bucket = |(bound, count): (f64, u64)| {
            let bound = if bound.is_finite() { format!("{bound:?}") } else { "+Inf".to_owned() };
            (format!(r#",le="{bound}""#), count as f64)
        };
        let mut series: Vec<_> = histogram.buckets().map(bucket).collect();
        series.push((String::new(), histogram.sum()));
        Self { name, kind: Kind::Histogram, series, labelled: true }
    }
}

/// The page, as `mode` has it. That one is stale, slow or not found at all is the server's doing.
pub(crate) fn page(source: &Source<'_>, dialect: MetricsDialect, mode: MetricsMode) -> String {
    let (mut families, common) = match mode {
        MetricsMode::Empty => return String::new(),
        MetricsMode::Off => (Vec::new(), String::new()),
        MetricsMode::On
        | MetricsMode::NotFound
        | MetricsMode::Nan
        | MetricsMode::Zero
        | MetricsMode::Stale
        | MetricsMode::Slow
        | MetricsMode::High => dialects::families(source, dialect),
    };
    families.push(Family::info("process_start_time_seconds", String::new()));
    families.last_mut().expect("just pushed").series[0].1 = source.started;
    for family in &mut families {
        family.series.iter_mut().for_each(|(_, value)| *value = bent(*value, family.kind, mode));
    }
    let model_label = format!(r#"model_name="{}""#, escape_label(source.model));
    let mut page = Page { text: String::with_capacity(16_384), common, model_label, traps: source.traps };
    for family in &families {
        page.family(family, source.started);
    }
    page.text
}

fn bent(value: f64, kind: Kind, mode: MetricsMode) -> f64 {
    match (mode, kind) {
        (MetricsMode::Nan, _) => f64::NAN,
        (MetricsMode::Zero, _) => 0.0,
        (MetricsMode::High, Kind::Gauge) => value * 1_000.0,
        _ => value,
    }
}

/// Text under way.
struct Page {
    text: String,
    /// The labels of every series that has any, without braces.
    common: String,
    /// The one of them that names the model.
    model_label: String,
    traps: bool,
}

const INFALLIBLE: &str = "writing to memory cannot fail";

impl Page {
    fn family(&mut self, family: &Family, started: f64) {
        let Family { name, kind, .. } = *family;
        let kind_name = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        // The client library names a counter's family without `_total` in OpenMetrics only; 0.0.4 keeps it.
        writeln!(self.text, "# HELP {name} Simulated.\n# TYPE {name} {kind_name}").expect(INFALLIBLE);
        let common = if family.labelled { self.common.clone() } else { String::new() };
        if !self.traps || !family.labelled {
            self.series(family, &common, 1.0);
            return;
        }
        // A front end with two processes, one of which knows nothing, and a second model on the same port.
        self.series(family, &format!(r#"{common},pid="101""#), 1.0);
        self.series(family, &format!(r#"{common},pid="102""#), 0.0);
        let second = common.replace(&self.model_label, r#"model_name="an,\"other\" {} model""#);
        if second != common {
            self.series(family, &second, 7.0);
        }
        if kind != Kind::Gauge {
            let base = name.strip_suffix("_total").unwrap_or(name);
            writeln!(self.text, "# TYPE {base}_created gauge\n{base}_created{{{common}}} {started:?}")
                .expect(INFALLIBLE);
        }
    }

    fn series(&mut self, family: &Family, common: &str, factor: f64) {
        let Family { name, kind, .. } = *family;
        let last = family.series.len() - 1;
        for (at, (own, value)) in family.series.iter().enumerate() {
            let suffix = match kind {
                Kind::Gauge | Kind::Counter => "",
                Kind::Histogram if at == last => "_sum",
                Kind::Histogram => "_bucket",
            };
            self.line(&format!("{name}{suffix}"), common, own, value * factor);
        }
        if kind == Kind::Histogram {
            let count = family.series[last - 1].1;
            self.line(&format!("{name}_count"), common, "", count * factor);
        }
    }

    fn line(&mut self, name: &str, common: &str, own: &str, value: f64) {
        let labels = match (common, own) {
            ("", "") => String::new(),
            ("", own) => format!("{{{}}}", own.trim_start_matches(',')),
            (common, own) => format!("{{{common}{own}}}"),
        };
        writeln!(self.text, "{name}{labels} {value:?}").expect(INFALLIBLE);
    }
}

fn escape_label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{EngineSpec, Key, Work},
        step::Preset,
    };
    use std::time::Duration;

    const DIALECTS: [MetricsDialect; 6] = [
        MetricsDialect::Vllm,
        MetricsDialect::Sglang,
        MetricsDialect::Trtllm,
        MetricsDialect::Lmdeploy,
        MetricsDialect::Tgi,
        MetricsDialect::Llamacpp,
    ];

    fn busy() -> Engine {
        let mut engine = Engine::new(EngineSpec::new(Preset::H100.model()));
        let mut events = Vec::new();
        for key in 0..3 {
            let work = Work { prompt: 16_000, limit: 20, out: 20, ..Work::default() };
            engine.submit(Duration::ZERO, Key(key), work, &mut events).expect("fits");
        }
        engine
    }

    fn page_of(engine: &Engine, dialect: MetricsDialect, mode: MetricsMode, traps: bool) -> String {
        let source = Source { engine, model: "a\"b", adapters: &[], started: 12.5, now: 100.0, traps };
        page(&source, dialect, mode)
    }

    fn series(page: &str) -> Vec<(&str, &str)> {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').expect("a value")).collect()
    }

    #[test]
    fn no_page_names_a_series_twice_and_every_one_ends_with_the_start_of_the_process() {
        let engine = busy();
        for dialect in DIALECTS {
            for traps in [false, true] {
                let page = page_of(&engine, dialect, MetricsMode::On, traps);
                let mut names: Vec<_> = series(&page).into_iter().map(|(name, _)| name).collect();
                let all = names.len();
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), all, "{dialect:?}: {page}");
                assert!(page.ends_with("process_start_time_seconds 12.5\n"), "{page}");
            }
        }
    }

    #[test]
    fn the_vllm_page_has_exactly_the_documented_names() {
        let page = page_of(&busy(), MetricsDialect::Vllm, MetricsMode::On, false);
        let families: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let want = [
            "vllm:num_requests_running gauge",
            "vllm:num_requests_waiting gauge",
            "vllm:num_requests_waiting_by_reason gauge",
            "vllm:kv_cache_usage_perc gauge",
            "vllm:prefix_cache_queries_total counter",
            "vllm:prefix_cache_hits_total counter",
            "vllm:num_preemptions_total counter",
            "vllm:prompt_tokens_total counter",
            "vllm:generation_tokens_total counter",
            "vllm:request_success_total counter",
            "vllm:time_to_first_token_seconds histogram",
            "vllm:inter_token_latency_seconds histogram",
            "vllm:e2e_request_latency_seconds histogram",
            "vllm:cache_config_info gauge",
            "sim_cancelled_total counter",
            "sim_cancelled_tokens_total counter",
            "sim_steps_total counter",
            "sim_lora_loads_total counter",
            "process_start_time_seconds gauge",
        ];
        assert_eq!(families, want);
        let labels = r#"{engine="0",model_name="a\"b"}"#;
        assert!(page.contains(&format!("vllm:num_requests_running{labels} 1.0\n")), "{page}");
        assert!(page.contains(&format!("vllm:num_requests_waiting{labels} 2.0\n")));
        assert!(
            page.contains(r#"vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="26625"} 1.0"#)
        );
        assert!(page.contains(
            r#"vllm:time_to_first_token_seconds_bucket{engine="0",model_name="a\"b",le="+Inf"} 0.0"#
        ));
    }

    #[test]
    fn the_modes_bend_the_values_they_name() {
        let engine = busy();
        let of = |mode| page_of(&engine, MetricsDialect::Vllm, mode, false);
        assert_eq!(of(MetricsMode::Empty), "");
        assert!(!of(MetricsMode::Off).contains("vllm:"));
        assert!(series(&of(MetricsMode::Nan)).iter().all(|(_, value)| *value == "NaN"));
        assert!(series(&of(MetricsMode::Zero)).iter().all(|(_, value)| *value == "0.0"));
        assert!(
            of(MetricsMode::High)
                .contains("vllm:num_requests_waiting{engine=\"0\",model_name=\"a\\\"b\"} 2000.0")
        );
    }

    #[test]
    fn traps_add_what_a_careless_reader_falls_for() {
        let page = page_of(&busy(), MetricsDialect::Vllm, MetricsMode::On, true);
        let labels = r#"engine="0",model_name="a\"b""#;
        for line in [
            &format!("vllm:num_requests_running{{{labels},pid=\"101\"}} 1.0"),
            &format!("vllm:num_requests_running{{{labels},pid=\"102\"}} 0.0"),
            &format!("vllm:prompt_tokens_created{{{labels}}} 12.5"),
            r#"vllm:num_requests_running{engine="0",model_name="an,\"other\" {} model"} 7.0"#,
        ] {
            assert!(page.lines().any(|other| other == line), "{line}: {page}");
        }
    }

    #[test]
    fn other_engines_have_their_own_names() {
        let engine = busy();
        for (dialect, line) in [
            (MetricsDialect::Sglang, "sglang:num_queue_reqs{"),
            (MetricsDialect::Trtllm, "trtllm_kv_cache_utilization{"),
            (MetricsDialect::Lmdeploy, "lmdeploy:num_requests_waiting{"),
            (MetricsDialect::Tgi, "tgi_queue_size 2.0"),
            (MetricsDialect::Llamacpp, "llamacpp:requests_deferred 2.0"),
        ] {
            let page = page_of(&engine, dialect, MetricsMode::On, false);
            assert!(page.lines().any(|other| other.starts_with(line)), "{line}: {page}");
            assert!(!page.contains("vllm:"));
        }
    }
}
