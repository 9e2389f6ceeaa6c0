//! Any bytes as a request that is translated.
#![no_main]

#[path = "../checks/dialect_request.rs"]
mod dialect_request;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dialect_request::check(bytes));
