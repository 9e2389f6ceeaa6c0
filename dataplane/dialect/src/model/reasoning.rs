//! How to think before answering.
//! Owns: effort and budget, and the table between them (dialects section 3.7).
//! Must not: know which form a model takes; a target says that.
//! Read next: `target.rs`.

/// How a caller wants the model to think.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// Whether.
    pub mode: Mode,
    /// How hard, in words.
    pub effort: Option<Effort>,
    /// How long, in tokens.
    pub budget: Option<u64>,
    /// What of it to show.
    pub show: Show,
    /// The caller will bring the provider's state back.
    pub return_opaque: bool,
}

impl Reasoning {
    /// How hard, by what was said of either.
    pub fn effort_or_budget(&self) -> Option<Effort> {
        self.effort.or_else(|| self.budget.map(Effort::of_budget))
    }
}

/// Whether to think.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// As the model does.
    #[default]
    Default,
    /// No.
    Off,
    /// As the question needs.
    Adaptive,
    /// Yes.
    On,
}

/// What of the thoughts to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Show {
    /// As the provider does.
    #[default]
    Default,
    /// Nothing.
    None,
    /// A summary.
    Summary,
    /// All.
    Full,
}

/// How hard to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effort {
    /// Not at all.
    None,
    /// `minimal`
    Minimal,
    /// `low`
    Low,
    /// `medium`
    Medium,
    /// `high`
    High,
    /// `xhigh`
    XHigh,
    /// `max`
    Max,
}

impl Effort {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::XHigh, Self::Max];

    /// As OpenAI spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
            Self::Max => "max",
        }
    }

    /// From that spelling.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effort| effort.name() == name)
    }

    /// Tokens for so much effort, where the model goes up to `cap`.
    pub const fn budget(self, cap: u64) -> u64 {
        let wanted = match self {
            Self::None => 0,
            Self::Minimal => 1_024,
            Self::Low => 4_096,
            Self::Medium => 8_192,
            Self::High => 16_384,
            Self::XHigh => 32_768,
            Self::Max => return cap,
        };
        if wanted < cap { wanted } else { cap }
    }

    /// The other way round.
    pub const fn of_budget(tokens: u64) -> Self {
        match tokens {
            0 => Self::None,
            1..=1_024 => Self::Minimal,
            1_025..=4_096 => Self::Low,
            4_097..=8_192 => Self::Medium,
            8_193..=16_384 => Self::High,
            16_385..=32_768 => Self::XHigh,
            32_769.. => Self::Max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effort_to_budget_and_back_is_the_identity() {
        for effort in Effort::ALL {
            assert_eq!(Effort::of_budget(effort.budget(64_000)), effort);
            assert_eq!(Effort::named(effort.name()), Some(effort));
        }
    }
}
