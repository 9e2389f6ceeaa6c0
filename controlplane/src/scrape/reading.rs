//! What was read of one engine.
//!
//! Owns: [`Reading`], and what a number must be to count.
//! Must not: make zero of what is absent. An engine without a number says nothing; one with zero says it is idle.
//! Read next: `page.rs` and `json.rs`, which make readings.

/// What an engine says of itself at one moment. None: it does not say, or says nonsense.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Requests it works on.
    pub running: Option<u32>,
    /// Requests that wait in it.
    pub waiting: Option<u32>,
    /// Share of its KV cache in use, 0 to 1.
    pub kv: Option<f64>,
    /// Tokens that wait to be computed.
    pub uncached_waiting: Option<u64>,
    /// Tokens that its KV cache holds.
    pub capacity: Option<u64>,
    /// Its adapters.
    pub adapters: Option<Adapters>,
    /// Unix time of its start, in seconds.
    pub process_start: Option<f64>,
    /// Work done since then, in whatever it counts: runs backwards only over a restart.
    pub work: Option<f64>,
}

/// What an engine says of its adapters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adapters {
    /// Those in use: running or waiting. One that is resident and idle is not told by any engine.
    pub named: Vec<String>,
    /// How many it can hold.
    pub slots: Option<u32>,
}

impl Reading {
    /// Whether it says anything about load.
    pub fn has_load(&self) -> bool {
        self.running.is_some()
            || self.waiting.is_some()
            || self.kv.is_some()
            || self.uncached_waiting.is_some()
            || self.adapters.is_some()
    }
}

/// A count of requests.
pub(super) fn count(value: f64) -> Option<u32> {
    sane(value).map(|value| value as u32) // saturates
}

/// A count of tokens.
pub(super) fn tokens(value: f64) -> Option<u64> {
    sane(value).map(|value| value as u64)
}

/// A share: engines round up past 1 for a moment. Further beyond it is another unit.
pub(super) fn share(value: f64) -> Option<f64> {
    const SHARE_MAX: f64 = 1.5;
    sane(value).filter(|value| *value <= SHARE_MAX).map(|value| value.min(1.0))
}

/// Neither NaN, nor infinite, nor negative (SGLang writes -1 for "not known").
pub(super) fn sane(value: f64) -> Option<f64> {
    (value.is_finite() && value >= 0.0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_no_value() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -0.001] {
            assert_eq!((count(value), share(value), tokens(value)), (None, None, None), "{value}");
        }
        assert_eq!(
            [0.0, 0.5, 1.0, 1.2, 1.5, 1.51, 35.0].map(share),
            [Some(0.0), Some(0.5), Some(1.0), Some(1.0), Some(1.0), None, None]
        );
        assert_eq!(count(1e300), Some(u32::MAX));
    }
}
