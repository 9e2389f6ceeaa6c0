//! The timers of a run, each with what it is for in its name.
//!
//! Owns: the way from an alarm to the number that the virtual clock knows it by, and back.
//! Must not: set one.
//! Read next: [`super::drive`], which does.

/// What timers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// Look after the queues.
    Beat,
    /// Let time pass for health.
    Tick,
    /// Write down the load.
    Sample,
    /// Read an engine's page.
    Read(usize),
    /// Hear a report.
    Hear(u64),
    /// A choice becomes a lease.
    Commit(u32),
    /// A caller leaves.
    Leave(u32),
    /// A refused caller comes back.
    Return(u32),
    /// See whether anything is left in the engines.
    Look,
}

impl Alarm {
    const KIND_SHIFT: u32 = 56;

    pub(super) fn name(self) -> u64 {
        let (kind, what) = match self {
            Self::Beat => (0, 0),
            Self::Tick => (1, 0),
            Self::Sample => (2, 0),
            Self::Read(at) => (3, at as u64),
            Self::Hear(sequence) => (4, sequence),
            Self::Commit(number) => (5, u64::from(number)),
            Self::Leave(number) => (6, u64::from(number)),
            Self::Return(number) => (7, u64::from(number)),
            Self::Look => (8, 0),
        };
        kind << Self::KIND_SHIFT | what
    }

    pub(super) fn of(name: u64) -> Self {
        let what = name & ((1 << Self::KIND_SHIFT) - 1);
        match name >> Self::KIND_SHIFT {
            0 => Self::Beat,
            1 => Self::Tick,
            2 => Self::Sample,
            3 => Self::Read(what as usize),
            4 => Self::Hear(what),
            5 => Self::Commit(what as u32),
            6 => Self::Leave(what as u32),
            7 => Self::Return(what as u32),
            _ => Self::Look,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alarm_is_found_again_by_its_name() {
        for alarm in [
            Alarm::Beat,
            Alarm::Tick,
            Alarm::Sample,
            Alarm::Read(63),
            Alarm::Hear(1 << 40),
            Alarm::Commit(0),
            Alarm::Leave(u32::MAX),
            Alarm::Return(7),
            Alarm::Look,
        ] {
            assert_eq!(Alarm::of(alarm.name()), alarm);
        }
    }
}
