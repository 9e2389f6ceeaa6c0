//! Why a measurement failed.
//!
//! Owns: the closed set of reasons, each with its words.
//! Must not: hold anything that is mere noise.
//! Read next: `turn.rs` and `ends.rs`, which find them.

use std::io;

use crate::bounds::{BEHIND_BYTES_MAX, STALL_MAX};

/// Why a measurement failed. Each of these is the proxy's fault, or ours; none is noise.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A system call failed.
    #[error("{0}: {1}")]
    Io(&'static str, io::Error),
    /// A head cannot be read.
    #[error("a head that cannot be read")]
    Head,
    /// The answer is not a 200.
    #[error("answered with `{0}`")]
    Status(String),
    /// Chunked coding is broken.
    #[error("broken chunked coding")]
    Chunk,
    /// Bytes behind the end of a message.
    #[error("bytes behind the end of a message")]
    Surplus,
    /// A byte of a body is not what was sent.
    #[error("byte {at} of the {what} is not what was sent")]
    Body {
        /// `request` or `answer`.
        what: &'static str,
        /// Which byte.
        at: usize,
    },
    /// An event is damaged, missing, or out of order.
    #[error("an event is damaged, missing or out of order: {0}")]
    Event(String),
    /// A connection ended too early.
    #[error("the connection ended {0}")]
    Cut(&'static str),
    /// A message ended before all of its body had come.
    #[error("{at} bytes of the {what}'s body came, and then its end")]
    Short {
        /// `request` or `answer`.
        what: &'static str,
        /// How many.
        at: usize,
    },
    /// A stream's receiver does not keep up.
    #[error("a stream is behind by more than {BEHIND_BYTES_MAX} bytes")]
    Behind,
    /// Not all connections stood in time.
    #[error("{0} of {1} connections stood in time")]
    Setup(usize, usize),
    /// What another load beside this one saw ended the measurement.
    #[error("another load failed")]
    Beside,
    /// Nothing was done for too long.
    #[error("nothing was answered for {} s", STALL_MAX.as_secs())]
    Stall,
}

pub(super) fn io_fault(what: &'static str) -> impl FnOnce(io::Error) -> Fault {
    move |error| Fault::Io(what, error)
}
