//! What reading an engine's page costs: 40 KB are usual, 400 KB occur.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringway_contract::snapshot::Engine;
use ringway_controlplane::scrape::{Scratch, dialect, read};

/// A page in the proportions of a real one: most lines are buckets of histograms.
fn page(bytes: usize) -> String {
    let mut page = String::new();
    for (name, value) in
        [("num_requests_running", 3.0), ("num_requests_waiting", 5.0), ("kv_cache_usage_perc", 0.4)]
    {
        let _ = writeln!(
            page,
            "# TYPE vllm:{name} gauge\nvllm:{name}{{engine=\"0\",model_name=\"m\"}} {value:?}"
        );
    }
    let mut line = 0;
    while page.len() < bytes {
        let _ = writeln!(
            page,
            "vllm:request_prompt_tokens_bucket{{engine=\"0\",le=\"{line}.0\",model_name=\"m\"}} 1234.0"
        );
        line += 1;
    }
    page
}

fn scrape(criterion: &mut Criterion) {
    let dialect = dialect(Engine::Vllm).expect("vLLM tells its load");
    let mut group = criterion.benchmark_group("scrape");
    for kb in [40, 400] {
        let page = page(kb * 1_000);
        let mut scratch = Scratch::default();
        group.throughput(Throughput::Bytes(page.len() as u64));
        group.bench_function(format!("a page of {kb} KB"), |bencher| {
            bencher.iter(|| read(black_box(page.as_bytes()), dialect, &[], &mut scratch));
        });
    }
    group.finish();
}

criterion_group!(benches, scrape);
criterion_main!(benches);
