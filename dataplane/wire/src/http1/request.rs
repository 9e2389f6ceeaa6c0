//! Request heads.
use super::{Fault, Field, Framing, HeadBounds, Parse, Span, Version};

/// The methods that mean something to the gateway. Methods are case-sensitive: `get` is `Other`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// OPTIONS.
    Options,
    /// PATCH.
    Patch,
    /// Any other token.
    #[default]
    Other,
}

/// The scheme an absolute-form target names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

/// A request head: offsets into the buffer it was parsed from. Reusable; allocates only while its field list grows.
#[derive(Debug, Default)]
pub struct RequestHead {
    fields: Vec<Field>,
}

impl RequestHead {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
    /// Forgets a head that was begun. Not needed after `Complete` or a fault.
    pub fn reset(&mut self) {}
    /// Reads on: `buf` starts with the same bytes as at the last `Partial`, with more behind them.
    pub fn parse(&mut self, _buf: &[u8], _bounds: &HeadBounds) -> Result<Parse, Fault> {
        unimplemented!()
    }
    /// Bytes of the head, including a skipped leading CRLF and the empty line.
    #[expect(clippy::len_without_is_empty, reason = "a complete head is never empty")]
    pub fn len(&self) -> usize {
        unimplemented!()
    }
    /// The method.
    pub fn method(&self) -> Method {
        unimplemented!()
    }
    /// The method as sent.
    pub fn method_bytes<'b>(&self, _buf: &'b [u8]) -> &'b [u8] {
        unimplemented!()
    }
    /// Origin-form: path and query. Of an absolute-form target the part behind the authority, `/` if that is empty.
    pub fn target(&self) -> Span {
        unimplemented!()
    }
    /// The path (`*` for asterisk-form).
    pub fn path(&self) -> Span {
        unimplemented!()
    }
    /// What follows the first `?`.
    pub fn query(&self) -> Option<Span> {
        unimplemented!()
    }
    /// The effective authority; empty only for HTTP/1.0 without Host.
    pub fn host(&self) -> Span {
        unimplemented!()
    }
    /// The scheme of an absolute-form target.
    pub fn scheme(&self) -> Option<Scheme> {
        unimplemented!()
    }
    /// H1-HO-03: an absolute-form target must name the listener's own scheme.
    pub fn check_scheme(&self, _listener: Scheme) -> Result<(), Fault> {
        unimplemented!()
    }
    /// The version.
    pub fn version(&self) -> Version {
        unimplemented!()
    }
    /// How the body ends; never `UntilClose`.
    pub fn framing(&self) -> Framing {
        unimplemented!()
    }
    /// Whether the client lets the connection live on.
    pub fn keep_alive(&self) -> bool {
        unimplemented!()
    }
    /// Whether the client waits for a 100 before it sends its body.
    pub fn expect_continue(&self) -> bool {
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
