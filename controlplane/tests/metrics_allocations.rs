//! Reading a page allocates nothing once warm, whatever its length. Alone in its binary: it counts for the process.

use std::alloc::System;
use std::fmt::Write as _;

use ringway_contract::snapshot::Engine;
use ringway_controlplane::scrape::{Scratch, dialect, read};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_page_of_any_length_is_read_without_an_allocation() {
    let mut page = String::new();
    for line in 0..5_000 {
        let _ = writeln!(page, "vllm:time_to_first_token_seconds_bucket{{engine=\"0\",le=\"{line}\"}} 1.0");
        if line % 100 == 0 {
            let _ =
                writeln!(page, "vllm:num_requests_running{{engine=\"{}\",model_name=\"m\"}} 2.0", line % 8);
            let _ = writeln!(page, "vllm:cache_config_info{{block_size=\"16\",num_gpu_blocks=\"9\"}} 1.0");
        }
    }
    let dialect = dialect(Engine::Vllm).expect("vLLM tells its load");
    let models = ["m".to_owned()];
    let mut scratch = Scratch::default();
    let warm = read(page.as_bytes(), dialect, &models, &mut scratch);
    // The harness's own thread allocates now and then; what reading allocates, it allocates each time.
    let least = (0..5).map(|_| {
        let region = Region::new(COUNTED);
        let again = read(page.as_bytes(), dialect, &models, &mut scratch);
        let change = region.change();
        assert_eq!(warm, again);
        change.allocations + change.reallocations
    });
    assert_eq!(least.min(), Some(0));
}
