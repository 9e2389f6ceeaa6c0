//! Heads, written.
use super::{Framing, RequestHead, ResponseHead, Version};
use std::net::IpAddr;

/// How a request goes on to an upstream.
#[derive(Clone, Copy, Debug)]
pub struct RequestOut<'a> {
    /// Put before the path; empty, or starting with `/`. With one, or on a prefix route, the caller has refused
    /// paths that are not plain (`path_is_plain`, H1-SY-13, SEC-SSRF-06).
    pub base_path: &'a [u8],
    /// The upstream's Host, from configuration (H1-HO-06).
    pub host: &'a [u8],
    /// How the gateway frames the body.
    pub framing: Framing,
    /// The peer's address.
    pub forwarded_for: IpAddr,
    /// `http` or `https`.
    pub forwarded_proto: &'a str,
    /// The peer is a trusted proxy: its forwarding fields stay, the peer is appended to X-Forwarded-For. Otherwise
    /// all of them are replaced (SEC-INJ-04).
    pub trust_forwarded: bool,
    /// Sent as X-Request-Id instead of the client's.
    pub request_id: &'a [u8],
    /// Remove every client credential (SEC-KEY-05) even though none is added. Set it wherever the gateway itself
    /// checked the caller's key.
    pub strip_credentials: bool,
    /// The upstream's credential: name and value. Having one strips the client's.
    pub credential: Option<(&'a [u8], &'a [u8])>,
    /// The gateway must read the answer: ask for `identity` (H1-UP-16).
    pub identity_coding: bool,
    /// Send `Connection: close`.
    pub close: bool,
}

/// How a response goes back to a client.
#[derive(Clone, Copy, Debug)]
pub struct ResponseOut<'a> {
    /// How the gateway frames the body.
    pub framing: Framing,
    /// Send `Connection: close`.
    pub close: bool,
    /// The client's version.
    pub version: Version,
    /// The current date, for upstreams that send none (H1-RS-06).
    pub date: &'a [u8],
    /// Sent as x-ringway-request-id, and as x-request-id unless the upstream sent one.
    pub request_id: &'a [u8],
    /// Further fields. One whose name or value is unsafe is left out (H1-RS-03).
    pub extra: &'a [(&'a [u8], &'a [u8])],
    /// The request was HEAD: keep the announced Content-Length though no body follows.
    pub head_request: bool,
}

/// Appends the request head for the upstream.
pub fn write_request(_out: &mut Vec<u8>, _head: &RequestHead, _buf: &[u8], _how: &RequestOut<'_>) {
    unimplemented!()
}

/// Appends the response head for the client.
pub fn write_response(_out: &mut Vec<u8>, _head: &ResponseHead, _buf: &[u8], _how: &ResponseOut<'_>) {
    unimplemented!()
}
