//! Calls and results that belong together.
//! Owns: finding results without a call and calls without a result (dialects section 3.6 rule 10).
//! Must not: change the request.
//! Read next: the writers of messages.

use super::failure::Refused;
use super::part::{Content, ToolCall, ToolResult};
use super::reading::Reading;
use super::request::{Request, Role, Turn};
use crate::json::Text;
use std::collections::HashMap;

/// What stands in for a result that the caller left out.
pub const NO_RESULT: &str = "[no result provided]";

/// The calls of a request that were never answered.
#[derive(Debug, Default)]
pub struct Unanswered<'r> {
    /// By the turn before which their results are missing.
    before: Vec<(usize, &'r Text<'r>)>,
}

impl<'r> Unanswered<'r> {
    /// Of this request. A result without a call is refused; ids are empty only in Gemini's requests, whose results go
    /// by the order of their calls.
    pub fn of(request: &'r Request<'r>, reading: &mut Reading<'_, '_>) -> Result<Self, Refused> {
        let mut unanswered = Self::default();
        let mut open: Vec<&'r ToolCall<'r>> = Vec::new();
        let last = request.turns.len();
        for (n, turn) in request.turns.iter().enumerate() {
            if turn.role == Role::Assistant || turn.role == Role::User {
                for part in &turn.parts {
                    let Content::ToolResult(result) = &part.content else { continue };
                    let Some(at) = open.iter().position(|call| answers(result, call)) else {
                        return Err(
                            reading.refused(part.at, "no call before it has the id of this tool result")
                        );
                    };
                    open.remove(at);
                }
                for call in open.drain(..) {
                    reading.approximated(turn.at, "no-result");
                    unanswered.before.push((n, &call.id));
                }
            }
            open.extend(calls(turn));
        }
        debug_assert!(
            unanswered.before.iter().all(|(n, _)| *n < last),
            "missing before a turn that is there"
        );
        Ok(unanswered)
    }

    /// The ids of the calls whose results are missing at the beginning of this turn.
    pub fn before(&self, turn: usize) -> impl Iterator<Item = &'r Text<'r>> + '_ {
        self.before.iter().filter(move |(n, _)| *n == turn).map(|(_, id)| *id)
    }
}

fn answers(result: &ToolResult<'_>, call: &ToolCall<'_>) -> bool {
    if result.call_id.is_empty() {
        result.name.as_ref().is_none_or(|name| *name == call.name)
    } else {
        result.call_id == call.id
    }
}

fn calls<'r>(turn: &'r Turn<'r>) -> impl Iterator<Item = &'r ToolCall<'r>> {
    turn.parts.iter().filter_map(|part| match &part.content {
        Content::ToolCall(call) => Some(call),
        Content::Text { .. }
        | Content::Image(_)
        | Content::Audio(_)
        | Content::Video(_)
        | Content::Document(_)
        | Content::ToolResult(_)
        | Content::Reasoning(_)
        | Content::Refusal(_)
        | Content::Server(_)
        | Content::Signature(_) => None,
    })
}

/// The names of the calls of a request, by their ids: Gemini wants them on results.
pub fn call_names<'r>(request: &'r Request<'r>) -> HashMap<std::borrow::Cow<'r, str>, &'r Text<'r>> {
    request.turns.iter().flat_map(calls).map(|call| (call.id.plain(), &call.name)).collect()
}
