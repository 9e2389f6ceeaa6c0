//! HTTP/1.1 on both sides: heads in, bodies through, heads out.
//! Owns: the grammar, the framing, and every rule of the fault specification a parser can decide.
//! Must not: choose a route, a limit or a status text; forward a head it did not write itself.
//! Read next: `request.rs` (client to gateway), `body.rs`, `response.rs`, `write.rs`; `rule.rs` for the ids.

mod body;
mod claims;
mod field;
mod grammar;
mod lines;
pub mod query;
mod request;
mod response;
mod rule;
mod write;

pub use body::{Advance, Body, LAST_CHUNK, Mode, write_chunk_head};
pub use field::{Field, Known};
pub use grammar::{field_value_is_safe, path_is_plain, sane_request_id, token_is_valid};
pub use request::{Method, RequestHead, Scheme};
pub use response::{Asked, ContentKind, ResponseHead};
pub use rule::{Fault, Rule};
pub use write::{RequestOut, ResponseOut, write_request, write_response};

use crate::bounds;

/// A range of bytes in the buffer that was parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One behind the last byte.
    pub end: u32,
}

impl Span {
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The bytes, out of the buffer the span was made from.
    #[inline]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        &buf[self.start as usize..self.end as usize]
    }

    /// How many bytes.
    pub const fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// How far a head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parse {
    /// The head is there, whole and sound.
    Complete,
    /// Sound so far; feed the same bytes again with more behind them.
    Partial,
}

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadBounds {
    /// The whole head, its empty line included.
    pub head_bytes: usize,
    /// Request line (or status line), without its CRLF.
    pub request_line_bytes: usize,
    /// One field line, without its CRLF.
    pub field_line_bytes: usize,
    /// Number of fields.
    pub fields: usize,
}

impl HeadBounds {
    /// What a client may send: faults.md section 8.
    pub const REQUEST: HeadBounds = HeadBounds {
        head_bytes: bounds::HEAD_BYTES_MAX,
        request_line_bytes: bounds::REQUEST_LINE_BYTES_MAX,
        field_line_bytes: bounds::FIELD_LINE_BYTES_MAX,
        fields: bounds::REQUEST_FIELDS_MAX,
    };

    /// What an upstream may send: section 8 and H1-UP-13. One line may fill the head.
    pub const RESPONSE: HeadBounds = HeadBounds {
        head_bytes: bounds::HEAD_BYTES_MAX,
        request_line_bytes: bounds::HEAD_BYTES_MAX,
        field_line_bytes: bounds::HEAD_BYTES_MAX,
        fields: bounds::RESPONSE_FIELDS_MAX,
    };
}

impl Default for HeadBounds {
    fn default() -> Self {
        Self::REQUEST
    }
}

/// The versions spoken: H1-SY-11.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// So many bytes.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Everything until the upstream closes; responses only.
    UntilClose,
}
