//! When a failed attempt may be followed by another.
//!
//! Owns: the retry budget of a worker, and the rule. Both pure: time is handed in.
//! Must not: choose the next endpoint ([`crate::balance`]) or wait.
//! Read next: [`crate::outcome`], which classes the failures.

use crate::bounds::{RETRY_FLOOR_PER_S, RETRY_WINDOW_MS};
use crate::outcome::{AttemptError, Retry};

/// What the rule asks about the exchange besides the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The request may be repeated: an idempotent method (RFC 9110 section 9.2.2), or the route says so.
    pub idempotent: bool,
    /// Nothing of an answer has gone to the caller.
    pub uncommitted: bool,
    /// The request's body can be sent again from its first byte.
    pub replayable: bool,
    /// Attempts made so far, this one included.
    pub attempts: u32,
    /// Attempts the route allows in all.
    pub attempts_max: u32,
    /// Time is left before the deadline.
    pub in_time: bool,
}

/// Whether the failure and the exchange allow another attempt. The budget is asked after this, so that it is
/// not charged for attempts that would not be made.
pub const fn may_retry(error: &AttemptError, standing: &Standing) -> bool {
    let class = match error.retry {
        Retry::Safe => true,
        Retry::Idempotent => standing.idempotent,
        Retry::Never => false,
    };
    class
        && standing.uncommitted
        && standing.replayable
        && standing.in_time
        && standing.attempts < standing.attempts_max
}

/// Whether requests of this method may be repeated (RFC 9110 section 9.2.2).
pub fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE")
}

/// How many retries a worker may still make: a share of its requests of the last ten seconds, and a few more.
#[derive(Debug, Default)]
pub struct RetryBudget {}

impl RetryBudget {
    /// Counts a request that came in.
    pub fn count_request(&mut self, now_ms: u64) {
        let _ = (now_ms, RETRY_FLOOR_PER_S, RETRY_WINDOW_MS);
        todo!()
    }

    /// Takes one retry if the budget has it; `percent` is the route's share.
    pub fn take(&mut self, now_ms: u64, percent: u32) -> bool {
        let _ = (now_ms, percent);
        todo!()
    }
}
