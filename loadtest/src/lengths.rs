//! How long prompts and answers are, in tokens.
//!
//! Owns: the distributions and their bounds. Must not: know what the tokens say.
//! Read next: `prompts.rs`.

use ringway_gpusim::random::Random;
use serde::Deserialize;

/// A distribution of lengths. In a scenario file a plain number, or one of the names with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Lengths {
    /// Always as long.
    Exactly(u32),
    /// Any length between two, both included.
    Uniform {
        /// The shortest.
        min: u32,
        /// The longest.
        max: u32,
    },
    /// A bell around a mean, cut at `max`.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        sd: f64,
        /// The longest.
        max: u32,
    },
    /// Half are shorter than the median, and a few are very long, as in most public traces; cut at `max`.
    LogNormal {
        /// The median.
        median: f64,
        /// The standard deviation of the logarithm.
        sigma: f64,
        /// The longest.
        max: u32,
    },
}

impl Lengths {
    /// Draws one: at least one token.
    pub fn draw(&self, random: &mut Random) -> u32 {
        match *self {
            Self::Exactly(length) => length.max(1),
            Self::Uniform { min, max } => {
                let span = u64::from(max.saturating_sub(min)) + 1;
                min.saturating_add((random.bits() % span) as u32).max(1)
            }
            Self::Normal { mean, sd, max } => cut(mean + sd * random.normal(), max),
            Self::LogNormal { median, sigma, max } => cut(median * random.log_normal(sigma), max),
        }
    }

    /// The longest possible.
    pub fn max(&self) -> u32 {
        match *self {
            Self::Exactly(max)
            | Self::Uniform { max, .. }
            | Self::Normal { max, .. }
            | Self::LogNormal { max, .. } => max.max(1),
        }
    }

    /// Why these parameters make no sense, if they do not.
    pub fn problem(&self) -> Option<&'static str> {
        match *self {
            Self::Exactly(0) => Some("a length is at least 1"),
            Self::Uniform { min, max } if min > max || max == 0 => Some("min lies above max"),
            Self::Normal { mean, sd, .. } if !(mean.is_finite() && (0.0..1e9).contains(&sd)) => {
                Some("mean or sd is no sensible number")
            }
            Self::LogNormal { median, sigma, .. }
                if !((0.0..1e9).contains(&median) && (0.0..10.0).contains(&sigma)) =>
            {
                Some("median or sigma is no sensible number")
            }
            Self::Exactly(_) | Self::Uniform { .. } | Self::Normal { .. } | Self::LogNormal { .. } => None,
        }
    }
}

fn cut(length: f64, max: u32) -> u32 {
    length.round().clamp(1.0, f64::from(max.max(1))) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_distribution_keeps_its_middle_and_its_bounds() {
        let mut random = Random::new(3);
        let cases = [
            (Lengths::Exactly(7), 7.0),
            (Lengths::Uniform { min: 10, max: 30 }, 20.0),
            (Lengths::Normal { mean: 500.0, sd: 50.0, max: 600 }, 500.0),
            (Lengths::LogNormal { median: 800.0, sigma: 0.8, max: 9_000 }, 800.0),
        ];
        for (lengths, middle) in cases {
            let mut all: Vec<_> = (0..20_000).map(|_| lengths.draw(&mut random)).collect();
            all.sort_unstable();
            let median = f64::from(all[10_000]);
            assert!((median / middle - 1.0).abs() < 0.06, "{lengths:?}: {median}");
            assert!(all[0] >= 1 && all[19_999] <= lengths.max());
        }
    }

    #[test]
    fn senseless_parameters_are_noticed() {
        for lengths in [
            Lengths::Exactly(0),
            Lengths::Uniform { min: 2, max: 1 },
            Lengths::Normal { mean: f64::NAN, sd: 1.0, max: 1 },
            Lengths::LogNormal { median: -1.0, sigma: 1.0, max: 1 },
        ] {
            assert!(lengths.problem().is_some(), "{lengths:?}");
        }
        assert_eq!(Lengths::Uniform { min: 1, max: 1 }.problem(), None);
    }
}
