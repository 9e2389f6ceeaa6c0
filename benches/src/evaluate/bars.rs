//! What a run has to reach.
//!
//! Owns: the bars, whether one is met, and how that is told.
//! Must not: measure.
//! Read next: [`super::scenarios`], which sets them.

use std::fmt;

/// Something that is measured of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Share of good requests.
    Goodput,
    /// The same of those that could be good.
    Reachable,
    /// 99th percentile of the time to the first token.
    TtftP99S,
    /// Share of prompt tokens that were cached.
    Hit,
    /// Anything else, by name.
    Other(&'static str),
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Goodput => "goodput",
            Self::Reachable => "reachable",
            Self::TtftP99S => "ttft_p99_s",
            Self::Hit => "hit",
            Self::Other(name) => name,
        })
    }
}

/// Where a measure has to lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// Of what.
    pub measure: Measure,
    /// At least this.
    pub least: f64,
    /// At most this.
    pub most: f64,
}

impl Bar {
    /// At least so much.
    pub const fn least(measure: Measure, least: f64) -> Self {
        Self { measure, least, most: f64::INFINITY }
    }

    /// At most so much.
    pub const fn most(measure: Measure, most: f64) -> Self {
        Self { measure, least: f64::NEG_INFINITY, most }
    }

    /// Between these.
    pub const fn within(measure: Measure, least: f64, most: f64) -> Self {
        Self { measure, least, most }
    }

    /// Whether this value is where it has to be.
    pub fn is_met(&self, value: f64) -> bool {
        (self.least..=self.most).contains(&value)
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { measure, .. } = self;
        let (least, most) = (short(self.least), short(self.most));
        match (self.least.is_finite(), self.most.is_finite()) {
            (true, true) => write!(f, "{measure} {least} to {most}"),
            (true, false) => write!(f, "{measure} >= {least}"),
            (false, _) => write!(f, "{measure} <= {most}"),
        }
    }
}

/// A number with three places behind the point at most.
pub fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A bar with what was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    /// The bar.
    pub bar: Bar,
    /// What was measured.
    pub value: f64,
}

impl Held {
    /// Whether it is met.
    pub fn is_met(&self) -> bool {
        self.bar.is_met(self.value)
    }

    /// The bar, with what was measured where no column has that.
    pub fn told(&self) -> String {
        match self.bar.measure {
            Measure::Other(_) => format!("{} ({})", self.bar, short(self.value)),
            Measure::Goodput | Measure::Reachable | Measure::TtftP99S | Measure::Hit => self.bar.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_at_its_ends_and_not_beyond() {
        for (bar, inside, outside, told) in [
            (Bar::least(Measure::Goodput, 0.95), 0.95, 0.949, "goodput >= 0.95"),
            (Bar::most(Measure::TtftP99S, 6.5), 6.5, 6.51, "ttft_p99_s <= 6.5"),
            (Bar::within(Measure::Hit, 0.7, 0.8), 0.8, 0.81, "hit 0.7 to 0.8"),
        ] {
            assert!(bar.is_met(inside) && !bar.is_met(outside) && !bar.is_met(f64::NAN));
            assert_eq!(bar.to_string(), told);
        }
    }
}
