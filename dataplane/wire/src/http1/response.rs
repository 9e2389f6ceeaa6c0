//! Response heads.
use super::{Fault, Field, Framing, HeadBounds, Parse, Span, Version};

/// What of the request decides how its response ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The request was HEAD: the response has no body whatever it says.
    pub head: bool,
}

/// What kind of body a response announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ContentKind {
    /// `application/json` or `*+json`.
    Json,
    /// `text/event-stream`.
    EventStream,
    /// Anything else, or nothing said.
    #[default]
    Other,
}

/// A response head: offsets into the buffer it was parsed from. Reusable. Every fault is a 502.
#[derive(Debug, Default)]
pub struct ResponseHead {
    fields: Vec<Field>,
}

impl ResponseHead {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
    /// Forgets a head that was begun. Not needed after `Complete` or a fault.
    pub fn reset(&mut self) {}
    /// Reads on, as `RequestHead::parse` does. Use `HeadBounds::RESPONSE`.
    pub fn parse(&mut self, _buf: &[u8], _bounds: &HeadBounds, _asked: &Asked) -> Result<Parse, Fault> {
        unimplemented!()
    }
    /// Bytes of the head.
    #[expect(clippy::len_without_is_empty, reason = "a complete head is never empty")]
    pub fn len(&self) -> usize {
        unimplemented!()
    }
    /// The status, 100 to 599; never 101.
    pub fn status(&self) -> u16 {
        unimplemented!()
    }
    /// The reason phrase, possibly empty.
    pub fn reason(&self) -> Span {
        unimplemented!()
    }
    /// The version.
    pub fn version(&self) -> Version {
        unimplemented!()
    }
    /// How the body on this connection ends (`None` for HEAD, 1xx, 204, 304).
    pub fn framing(&self) -> Framing {
        unimplemented!()
    }
    /// Content-Length as announced, even where no body follows.
    pub fn declared_length(&self) -> Option<u64> {
        unimplemented!()
    }
    /// Whether the upstream lets the connection live on.
    pub fn keep_alive(&self) -> bool {
        unimplemented!()
    }
    /// 1xx: another head follows.
    pub fn is_interim(&self) -> bool {
        unimplemented!()
    }
    /// The announced kind of body.
    pub fn content_kind(&self) -> ContentKind {
        unimplemented!()
    }
    /// `text/event-stream`.
    pub fn is_event_stream(&self) -> bool {
        unimplemented!()
    }
    /// A content coding other than identity is applied: the body is opaque (H1-UP-16).
    pub fn has_content_coding(&self) -> bool {
        unimplemented!()
    }
    /// All fields, in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }
    /// The value of the first field of that name, any case.
    pub fn find<'b>(&self, _buf: &'b [u8], _name: &str) -> Option<&'b [u8]> {
        unimplemented!()
    }
}
