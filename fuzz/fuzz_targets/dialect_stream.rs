//! Any bytes as a stream that is translated.
#![no_main]

#[path = "../checks/dialect_stream.rs"]
mod dialect_stream;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dialect_stream::check(bytes));
