//! What an event is called: its `event` field, or the `type` of its data.
//! Owns: the names that matter to the account. Must not: look at anything but the name.
//! Read next: `observer.rs`.

use super::observer::Shape;
use crate::bounds::SSE_NAME_BYTES_MAX;

/// The kinds of events that named dialects (Anthropic, Responses) tell apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has no name.
    #[default]
    Unnamed,
    /// `error`, in every dialect that names events.
    Error,
    /// Anthropic: a piece of the answer.
    BlockDelta,
    /// Anthropic: the end.
    MessageStop,
    /// Anthropic: all its other events.
    Message,
    /// Responses: a piece of the answer, of whatever sort.
    ResponseDelta,
    /// Responses: an end that is no failure.
    ResponseEnd,
    /// Responses: an end that is.
    ResponseFailed,
    /// Responses: all its other events.
    Response,
    /// A name that says nothing to us.
    Other,
}

impl Kind {
    pub(super) fn of(name: &[u8]) -> Self {
        match name {
            b"" => Self::Unnamed,
            b"error" => Self::Error,
            b"content_block_delta" => Self::BlockDelta,
            b"message_stop" => Self::MessageStop,
            b"message_start" | b"message_delta" | b"content_block_start" | b"content_block_stop" => {
                Self::Message
            }
            b"response.completed" | b"response.incomplete" | b"response.cancelled" => Self::ResponseEnd,
            b"response.failed" => Self::ResponseFailed,
            _ if !name.starts_with(b"response.") => Self::Other,
            _ if name.ends_with(b".delta") => Self::ResponseDelta,
            _ => Self::Response,
        }
    }

    /// The kind that the data names in its first member, where every provider puts it; `Unnamed` if it is not there.
    pub(super) fn of_data(data: &[u8]) -> Self {
        let value = data
            .strip_prefix(b"{\"type\":")
            .map(|rest| rest.strip_prefix(b" ").unwrap_or(rest))
            .and_then(|rest| rest.strip_prefix(b"\""));
        let Some(value) = value else { return Self::Unnamed };
        // An escape or a control byte in the name: the machine shall say what that is.
        match value.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
            Some(end) if value[end] == b'"' && end > SSE_NAME_BYTES_MAX => Self::Other,
            Some(end) if value[end] == b'"' => Self::of(&value[..end]),
            _ => Self::Unnamed,
        }
    }

    /// The dialect that uses this name.
    pub(super) const fn shape(self) -> Option<Shape> {
        match self {
            Self::BlockDelta | Self::MessageStop | Self::Message => Some(Shape::Anthropic),
            Self::ResponseDelta | Self::ResponseEnd | Self::ResponseFailed | Self::Response => {
                Some(Shape::Responses)
            }
            Self::Unnamed | Self::Error | Self::Other => None,
        }
    }
}
