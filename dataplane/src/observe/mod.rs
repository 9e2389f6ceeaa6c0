//! What ringway tells about its work: the access log, the metrics, and its own log lines.
//!
//! Owns: the record of one exchange, the queues and the thread that write records, the metric cells of each
//! worker and their rendering, the lines on standard error.
//! Must not: block a worker, allocate on a worker per exchange, or put bytes of a caller into a label.
//! Read next: [`record`], all that is kept of one exchange.

pub mod bounds;
mod escape;
pub mod event_log;
pub mod exposition;
pub mod histogram;
mod line;
pub mod log;
pub mod metrics;
mod process;
pub mod record;
pub mod stamp;

pub use log::AccessLog;
pub use metrics::{Counter, Gauge, Metrics, Shard, Slots};
pub use record::{Micros, Record, Short};
