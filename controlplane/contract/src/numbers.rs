//! Numbers with a unit each, so that two of them side by side cannot be swapped.

use serde::{Deserialize, Serialize};

/// The number of a snapshot. It only grows; 0 is "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(u64);

impl Generation {
    /// The state before the first snapshot.
    pub const NONE: Self = Self(0);

    /// Wraps a number read from the wire.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The bare number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The generation after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A span of time in whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(u64);

impl Millis {
    /// Wraps a count of milliseconds.
    pub const fn new(ms: u64) -> Self {
        Self(ms)
    }

    /// Wraps a count of seconds.
    pub const fn from_secs(s: u64) -> Self {
        Self(s * 1_000)
    }

    /// The bare count of milliseconds.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The same span for the standard library.
    pub const fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(u64);

impl Bytes {
    /// Wraps a count of bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Wraps a count of KiB.
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib * 1_024)
    }

    /// The bare count of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// An amount of money in millionths of a US dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicroDollars(u64);

impl MicroDollars {
    /// Wraps a count of millionths of a dollar.
    pub const fn new(micros: u64) -> Self {
        Self(micros)
    }

    /// The bare count of millionths of a dollar.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// In dollars, with six decimals.
impl std::fmt::Display for MicroDollars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
