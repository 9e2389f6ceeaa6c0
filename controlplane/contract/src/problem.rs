//! What is wrong with a configuration, in a form both planes can report.

use serde::{Deserialize, Serialize};

/// One problem: where it is, what it is, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where in the document, as a path: `routes[2].targets[0].backend`.
    pub at: String,
    /// What is wrong, one sentence without a full stop.
    pub what: String,
    /// How to mend it, if there is an obvious way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Problem {
    /// A problem with no suggestion.
    pub fn new(at: impl Into<String>, what: impl Into<String>) -> Self {
        Self { at: at.into(), what: what.into(), mend: None }
    }

    /// The same problem with a way to mend it.
    #[must_use]
    pub fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.at, self.what)?;
        match &self.mend {
            Some(mend) => write!(f, " ({mend})"),
            None => Ok(()),
        }
    }
}

/// The body of a 422 answer to `PUT /v1/snapshot`: every problem at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problems {
    /// All of them, in document order.
    pub problems: Vec<Problem>,
}
