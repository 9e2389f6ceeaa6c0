//! Any bytes as an engine's page of metrics.
#![no_main]

#[path = "../checks/metrics.rs"]
mod metrics;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| metrics::check(bytes));
