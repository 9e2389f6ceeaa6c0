//! Why an answer ended.
//! Owns: the reasons that all dialects have between them, and the rule about tools (dialects section 4.4).
//! Must not: turn an error into a reason.
//! Read next: `answer.rs`.

use crate::json::Text;

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop<'a> {
    /// It was done.
    EndTurn,
    /// It came to a text that the caller named; which, if the upstream says so.
    StopSequence(Option<Text<'a>>),
    /// It waits for tools.
    ToolUse,
    /// It came to the most tokens it may have.
    MaxTokens,
    /// It came to the end of what the model can hold.
    ContextWindow,
    /// The model declined.
    Refusal {
        /// Why, in the provider's words.
        category: Option<Text<'a>>,
    },
    /// A filter stepped in; which, in the provider's word.
    ContentFilter(Option<Text<'a>>),
    /// A hosted tool takes long; the caller is to ask again.
    PauseTurn,
    /// The model's call of a tool cannot be read; with the upstream's message.
    BadToolCall(Option<Text<'a>>),
    /// The provider shortened the conversation instead of answering.
    Compaction,
    /// It said the same again and again.
    Repetition,
    /// No picture came of it.
    NoImage,
    /// A reason that has no other word here.
    Other(Text<'a>),
}

impl<'a> Stop<'a> {
    /// The reason after looking at the calls, of which `calls` are complete: engines that say they are done after a
    /// call wait for its result, and whoever waits for a call that never came is done. A limit or a filter is never
    /// masked by a call.
    #[must_use]
    pub fn with_calls(self, calls: bool) -> Self {
        match (self, calls) {
            (Self::EndTurn | Self::StopSequence(_) | Self::Other(_), true) => Self::ToolUse,
            (Self::ToolUse, false) => Self::EndTurn,
            (as_said, _) => as_said,
        }
    }

    /// A copy that lends from nothing.
    pub fn into_owned(self) -> Stop<'static> {
        let owned = |text: Option<Text<'a>>| text.map(Text::into_owned);
        match self {
            Self::EndTurn => Stop::EndTurn,
            Self::StopSequence(text) => Stop::StopSequence(owned(text)),
            Self::ToolUse => Stop::ToolUse,
            Self::MaxTokens => Stop::MaxTokens,
            Self::ContextWindow => Stop::ContextWindow,
            Self::Refusal { category } => Stop::Refusal { category: owned(category) },
            Self::ContentFilter(text) => Stop::ContentFilter(owned(text)),
            Self::PauseTurn => Stop::PauseTurn,
            Self::BadToolCall(text) => Stop::BadToolCall(owned(text)),
            Self::Compaction => Stop::Compaction,
            Self::Repetition => Stop::Repetition,
            Self::NoImage => Stop::NoImage,
            Self::Other(text) => Stop::Other(text.into_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_changes_only_reasons_that_say_done() {
        assert_eq!(Stop::EndTurn.with_calls(true), Stop::ToolUse);
        assert_eq!(Stop::StopSequence(None).with_calls(true), Stop::ToolUse);
        assert_eq!(Stop::MaxTokens.with_calls(true), Stop::MaxTokens);
        assert_eq!(Stop::ContentFilter(None).with_calls(true), Stop::ContentFilter(None));
        assert_eq!(Stop::ToolUse.with_calls(false), Stop::EndTurn);
        assert_eq!(Stop::ToolUse.with_calls(true), Stop::ToolUse);
    }
}
