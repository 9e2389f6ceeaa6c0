//! Faults on command: what goes wrong, at which server, from when until when.
//!
//! Owns: how a fault is written on the command line, and its window of time.
//! Must not: do anything itself: engines stall and slow down, the server crashes, errs and lies.
//! Read next: `engine.rs`, `server.rs`, `metrics.rs`.

use std::{fmt, str::FromStr, time::Duration};

/// A stretch of time since the start of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub from: Duration,
    /// The first moment after it.
    pub until: Duration,
}

impl Window {
    /// Later than any run.
    pub const FOREVER: Duration = Duration::from_hours(24 * 3_650);
    /// All the time.
    pub const ALWAYS: Self = Self { from: Duration::ZERO, until: Self::FOREVER };

    /// Whether `at` lies within.
    pub fn holds(&self, at: Duration) -> bool {
        (self.from..self.until).contains(&at)
    }

    /// The window on a clock that runs so many times as fast.
    #[must_use]
    pub fn scaled(self, time_scale: f64) -> Self {
        let scaled = |at: Duration| if at == Self::FOREVER { at } else { at.div_f64(time_scale) };
        Self { from: scaled(self.from), until: scaled(self.until) }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FaultKind {
    /// No step ends.
    Stall,
    /// The process is gone: connections are reset, nobody listens. It comes back empty when the window ends.
    Crash,
    /// Steps take so many times as long.
    Slow(f64),
    /// This share of generations is answered 500.
    Errors(f64),
    /// The metrics page is not what it should be.
    Metrics(MetricsMode),
}

/// How the metrics page behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricsMode {
    /// As it should.
    #[default]
    On,
    /// 200, but no series of the engine, as with `--disable-log-stats`.
    Off,
    /// 404.
    NotFound,
    /// 200 without a byte.
    Empty,
    /// Every value is NaN.
    Nan,
    /// Every value is zero.
    Zero,
    /// The first page that was asked for, again and again.
    Stale,
    /// Five seconds late.
    Slow,
    /// Every gauge a thousand times too high.
    High,
}

impl MetricsMode {
    const NAMES: [(&str, Self); 9] = [
        ("on", Self::On),
        ("off", Self::Off),
        ("404", Self::NotFound),
        ("empty", Self::Empty),
        ("nan", Self::Nan),
        ("zero", Self::Zero),
        ("stale", Self::Stale),
        ("slow", Self::Slow),
        ("high", Self::High),
    ];
}

impl fmt::Display for MetricsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, mode)| mode == self).map(|(name, _)| *name);
        f.write_str(name.expect("every mode has its name"))
    }
}

impl FromStr for MetricsMode {
    type Err = BadFault;

    fn from_str(name: &str) -> Result<Self, BadFault> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, mode)| *mode).ok_or_else(|| BadFault::Metrics(name.to_owned()))
    }
}

/// A fault, written `KIND[=VALUE][,replica=K][,at=TIME][,for=TIME]`.
///
/// Kinds: `stall`, `crash`, `slow=FACTOR`, `errors=SHARE`, `metrics=MODE`. Without `replica` it is every server's;
/// without `at` it begins at once; without `for` it lasts. Times are in simulated time: they are divided by the
/// time scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// At which server; `None` for all.
    pub replica: Option<usize>,
    /// When.
    pub window: Window,
}

/// Why a text is no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFault {
    /// No such kind, or a kind without the value it needs.
    #[error("`{0}` is no fault; there are stall, crash, slow=FACTOR, errors=SHARE and metrics=MODE")]
    Kind(String),
    /// No such way to show metrics.
    #[error(
        "`{0}` is no way to show metrics; there are on, off, 404, empty, nan, zero, stale, slow and high"
    )]
    Metrics(String),
    /// Not `replica=K`, `at=TIME` or `for=TIME`.
    #[error("`{0}` is not replica=K, at=TIME or for=TIME, with times like 500ms or 30s")]
    Detail(String),
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stall => f.write_str("stall"),
            Self::Crash => f.write_str("crash"),
            Self::Slow(factor) => write!(f, "slow={factor}"),
            Self::Errors(share) => write!(f, "errors={share}"),
            Self::Metrics(mode) => write!(f, "metrics={mode}"),
        }
    }
}

/// As it is written.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window { from, until } = self.window;
        write!(f, "{}", self.kind)?;
        if let Some(replica) = self.replica {
            write!(f, ",replica={replica}")?;
        }
        if !from.is_zero() {
            write!(f, ",at={}s", from.as_secs_f64())?;
        }
        if until != Window::FOREVER {
            write!(f, ",for={}s", until.saturating_sub(from).as_secs_f64())?;
        }
        Ok(())
    }
}

impl FromStr for Fault {
    type Err = BadFault;

    fn from_str(text: &str) -> Result<Self, BadFault> {
        let mut parts = text.split(',').map(str::trim);
        let kind = kind(parts.next().unwrap_or_default())?;
        let (mut replica, mut at, mut length) = (None, Duration::ZERO, None);
        for part in parts {
            let wrong = || BadFault::Detail(part.to_owned());
            match part.split_once('=') {
                Some(("replica", value)) => replica = Some(value.parse().map_err(|_| wrong())?),
                Some(("at", value)) => at = time(value).ok_or_else(wrong)?,
                Some(("for", value)) => length = Some(time(value).ok_or_else(wrong)?),
                Some(_) | None => return Err(wrong()),
            }
        }
        let until = length.map_or(Window::FOREVER, |length| (at + length).min(Window::FOREVER));
        Ok(Self { kind, replica, window: Window { from: at, until } })
    }
}

fn kind(text: &str) -> Result<FaultKind, BadFault> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    let number = |range: std::ops::RangeInclusive<f64>| {
        value.and_then(|value| value.parse().ok()).filter(|value| range.contains(value))
    };
    let kind = match (name, value) {
        ("stall", None) => Some(FaultKind::Stall),
        ("crash", None) => Some(FaultKind::Crash),
        ("slow", _) => number(0.001..=1e6).map(FaultKind::Slow),
        ("errors", _) => number(0.0..=1.0).map(FaultKind::Errors),
        ("metrics", Some(mode)) => Some(FaultKind::Metrics(mode.parse()?)),
        _ => None,
    };
    kind.ok_or_else(|| BadFault::Kind(text.to_owned()))
}

/// A time like `500ms`, `30s` or `2m`, at most a day.
fn time(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(unit_at);
    let scale = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return None,
    };
    let time = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * scale).ok()?;
    (time <= Duration::from_hours(24)).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_with_their_place_and_time() {
        let fault: Fault = "slow=2.5, replica=3, at=1.5s, for=500ms".parse().expect("a fault");
        assert_eq!((fault.kind, fault.replica), (FaultKind::Slow(2.5), Some(3)));
        assert_eq!(fault.window.from, Duration::from_millis(1_500));
        assert_eq!(fault.window.scaled(2.0).until, Duration::from_secs(1));
        let forever: Fault = "metrics=404".parse().expect("a fault");
        assert_eq!(forever.kind, FaultKind::Metrics(MetricsMode::NotFound));
        assert_eq!(forever.window.scaled(4.0), Window::ALWAYS);
    }

    #[test]
    fn a_fault_is_written_as_it_is_read() {
        for text in [
            "stall",
            "crash,replica=3,at=300s,for=60.5s",
            "slow=2.5,at=0.5s",
            "errors=0.05",
            "metrics=404,for=1s",
        ] {
            let fault: Fault = text.parse().expect("a fault");
            assert_eq!(fault.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        for text in
            ["", "stal", "slow", "slow=-1", "errors=2", "stall=1", "metrics=lies", "crash,at=x", "crash,x"]
        {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
