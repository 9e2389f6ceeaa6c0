//! OpenAI Chat Completions, and what vLLM, SGLang and their like add to it.
//!
//! Owns: readers and writers of requests, answers and streams of this dialect.
//! Must not: know another dialect.
//! Read next: `request_in.rs`, `stream_in.rs`.

mod answer_in;
mod answer_out;
mod messages_in;
mod messages_out;
mod request_in;
mod request_out;
pub mod stream_in;
pub mod stream_out;
mod tools_in;
mod tools_out;
mod usage_ask;
mod words;

pub use answer_in::read_answer;
pub use answer_out::write_answer;
pub use request_in::read_request;
pub use request_out::write_request;
pub use stream_in::StreamIn;
pub use stream_out::StreamOut;
pub use usage_ask::with_usage;
