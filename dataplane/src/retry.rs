//! When a failed attempt may be followed by another.
//!
//! Owns: the retry budget of a worker, and the rule. Both pure: time is handed in.
//! Must not: choose the next endpoint ([`crate::balance`]) or wait.
//! Read next: [`crate::outcome`], which classes the failures.

use crate::bounds::{RETRY_FLOOR_PER_S, RETRY_WINDOW_MS};
use crate::outcome::{AttemptError, Retry};

/// What the rule asks about the exchange besides the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one exchange, named at the call")]
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
        Retry::Safe | Retry::Declined => true,
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

/// How many retries a worker may still make: a share of its requests of the last ten seconds, and
/// [`RETRY_FLOOR_PER_S`] in each second besides, so that a quiet gateway retries too.
#[derive(Debug)]
pub struct RetryBudget {
    seconds: [Second; WINDOW_S],
    floor_per_s: u64,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { seconds: Default::default(), floor_per_s: RETRY_FLOOR_PER_S }
    }
}

/// What happened in one second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    /// Which one, plus 1; 0: never used.
    mark: u64,
    requests: u64,
    /// Retries charged to the share.
    shared: u64,
    /// Retries charged to the floor.
    floor: u64,
}

const WINDOW_S: usize = (RETRY_WINDOW_MS / 1_000) as usize;

impl RetryBudget {
    /// One without a floor: what is not asked for by a failure is never more than its share, and one in ten seconds.
    pub fn strict() -> Self {
        Self { floor_per_s: 0, ..Self::default() }
    }

    /// Counts a request that came in.
    pub fn count_request(&mut self, now_ms: u64) {
        self.second(now_ms).requests += 1;
    }

    /// Takes one retry if the budget has it; `percent` is the route's share.
    pub fn take(&mut self, now_ms: u64, percent: u32) -> bool {
        let mark = mark(now_ms);
        let recent = self.seconds.iter().filter(|second| second.mark + WINDOW_S as u64 > mark);
        let (requests, shared) = recent.fold((0, 0), |sum, it| (sum.0 + it.requests, sum.1 + it.shared));
        let floor_per_s = self.floor_per_s;
        let second = self.second(now_ms);
        if shared * 100 < requests * u64::from(percent) {
            second.shared += 1;
        } else if second.floor < floor_per_s && percent > 0 {
            second.floor += 1;
        } else {
            return false;
        }
        true
    }

    fn second(&mut self, now_ms: u64) -> &mut Second {
        let mark = mark(now_ms);
        let second = &mut self.seconds[(mark % WINDOW_S as u64) as usize];
        if second.mark != mark {
            *second = Second { mark, ..Second::default() };
        }
        second
    }
}

const fn mark(now_ms: u64) -> u64 {
    now_ms / 1_000 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Reason;

    #[test]
    fn a_strict_budget_is_its_share_and_the_first() {
        let mut budget = RetryBudget::strict();
        let mut taken = 0;
        for _ in 0..100 {
            budget.count_request(0);
            taken += u32::from(budget.take(0, 5));
        }
        assert_eq!(taken, 5);
        assert!(!budget.take(9_000, 5) && !budget.take(9_000, 0));
        budget.count_request(20_000);
        assert!(budget.take(20_000, 5) && !budget.take(20_000, 5));
    }

    const FINE: Standing = Standing {
        idempotent: true,
        uncommitted: true,
        replayable: true,
        attempts: 1,
        attempts_max: 2,
        in_time: true,
    };

    #[test]
    fn what_was_not_written_may_always_go_again_and_what_was_only_if_it_may_be_repeated() {
        let post = Standing { idempotent: false, ..FINE };
        for (retry, standing, expected) in [
            (Retry::Safe, FINE, true),
            (Retry::Safe, post, true),
            (Retry::Declined, post, true),
            (Retry::Idempotent, FINE, true),
            (Retry::Idempotent, post, false),
            (Retry::Never, FINE, false),
            (Retry::Never, post, false),
        ] {
            let error = AttemptError::new(Reason::UpClosedEarly, retry);
            assert_eq!(may_retry(&error, &standing), expected, "{retry:?} {standing:?}");
        }
    }

    #[test]
    fn each_condition_of_the_exchange_forbids_on_its_own() {
        let error = AttemptError::new(Reason::UpConnectRefused, Retry::Safe);
        for standing in [
            Standing { uncommitted: false, ..FINE },
            Standing { replayable: false, ..FINE },
            Standing { in_time: false, ..FINE },
            Standing { attempts: 2, ..FINE },
            Standing { attempts_max: 1, ..FINE },
        ] {
            assert!(!may_retry(&error, &standing), "{standing:?}");
        }
    }

    #[test]
    fn only_methods_that_mean_the_same_twice_are_idempotent() {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
            assert!(is_idempotent(method.as_bytes()), "{method}");
        }
        for method in ["POST", "PATCH", "get", "TRACE", ""] {
            assert!(!is_idempotent(method.as_bytes()), "{method}");
        }
    }

    #[test]
    fn a_quiet_worker_has_three_retries_a_second() {
        let mut budget = RetryBudget::default();
        let taken = |budget: &mut RetryBudget, now| (0..10).filter(|_| budget.take(now, 10)).count();
        assert_eq!(taken(&mut budget, 0), 3);
        assert_eq!(taken(&mut budget, 999), 0);
        assert_eq!(taken(&mut budget, 1_000), 3);
    }

    #[test]
    fn a_busy_worker_retries_a_share_of_its_last_ten_seconds() {
        let mut budget = RetryBudget::default();
        for ms in 0..5_000 {
            budget.count_request(ms);
        }
        let taken = |budget: &mut RetryBudget, now| (0..2_000).filter(|_| budget.take(now, 10)).count();
        assert_eq!(taken(&mut budget, 5_000), 500 + 3);
        assert_eq!(taken(&mut budget, 9_999), 3, "the share is spent for as long as its requests count");
        assert_eq!(taken(&mut budget, 20_000), 3, "they count no more");
        for _ in 0..100 {
            budget.count_request(20_500);
        }
        assert_eq!(taken(&mut budget, 21_000), 10 + 3);
    }

    #[test]
    fn a_share_of_nothing_allows_nothing() {
        let mut budget = RetryBudget::default();
        budget.count_request(0);
        assert!(!budget.take(0, 0));
    }

    #[test]
    fn a_long_pause_leaves_no_old_counts_behind() {
        let mut budget = RetryBudget::default();
        (0..1_000).for_each(|_| budget.count_request(0));
        assert_eq!((0..100).filter(|_| budget.take(86_400_000, 10)).count(), 3);
    }
}
