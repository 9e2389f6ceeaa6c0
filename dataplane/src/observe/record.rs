//! All that is kept of one exchange.
//!
//! Owns: [`Record`], a plain value without heap, filled by the worker and handed to the log as it is.
//! Must not: keep a query, a header value or any part of a body: they carry keys and prompts.
//! Read next: [`super::log`], which turns it into a line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ringway_contract::MicroDollars;

use super::bounds::{
    HOST_BYTES_MAX, METHOD_BYTES_MAX, MODEL_BYTES_MAX, PATH_BYTES_MAX, RECORD_BYTES_MAX, REQUEST_ID_BYTES_MAX,
};

/// One exchange, when it is over.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Wall clock at the start, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The worker that served it.
    pub worker: u16,
    /// The status sent; 0: none was.
    pub status: u16,
    /// Attempts made.
    pub attempts: u8,
    /// Whether the last attempt went over a connection that had served before.
    pub reused: bool,
    /// The peer, or whom a trusted proxy named.
    pub client: SocketAddr,
    /// As the caller wrote it.
    pub method: Short<METHOD_BYTES_MAX>,
    /// As the caller wrote it.
    pub host: Short<HOST_BYTES_MAX>,
    /// Without the query: see [`Short::path`].
    pub path: Short<PATH_BYTES_MAX>,
    /// The `x-request-id` of the answer.
    pub request_id: Short<REQUEST_ID_BYTES_MAX>,
    /// The model asked for.
    pub model: Short<MODEL_BYTES_MAX>,
    /// The matching route; empty: none.
    pub route: &'static str,
    /// The backend of the last attempt; empty: none.
    pub backend: &'static str,
    /// The endpoint of the last attempt; empty: none.
    pub endpoint: &'static str,
    /// How it ended: a label of the closed set of outcomes.
    pub outcome: &'static str,
    /// Why, if it ended abnormally: one of the closed set of reasons; else empty.
    pub reason: &'static str,
    /// The rule a malformed request broke, such as `H1-FR-03`; else empty.
    pub rule: &'static str,
    /// What was wrong with TLS to the endpoint; else empty.
    pub tls: &'static str,
    /// Bytes received from the caller.
    pub bytes_in: u64,
    /// Bytes sent to the caller.
    pub bytes_out: u64,
    /// From the start to the first byte of the answer sent to the caller.
    pub first_byte: Micros,
    /// From the start to the first event that carries model text.
    pub first_token: Micros,
    /// In the queue of a backend; none: it did not wait.
    pub queued: Micros,
    /// From the start to the end.
    pub total: Micros,
    /// The part of it that ringway itself took: neither waiting for the upstream nor for the caller.
    pub own: Micros,
    /// Tokens of the prompt, where the upstream tells.
    pub tokens_in: Option<u64>,
    /// Tokens produced, where the upstream tells.
    pub tokens_out: Option<u64>,
    /// Tokens of the prompt that the upstream had cached, where it tells.
    pub tokens_cached: Option<u64>,
    /// Tokens of the prompt that the upstream put into its cache, where it tells.
    pub tokens_cache_written: Option<u64>,
    /// Tokens of thought, where the upstream tells.
    pub tokens_reasoning: Option<u64>,
    /// The upstream told no usage: `tokens_in` and `tokens_out` are estimates.
    pub tokens_estimated: bool,
    /// What it cost, where the price is known.
    pub cost: Option<MicroDollars>,
}

const _: () =
    assert!(size_of::<Record>() <= RECORD_BYTES_MAX, "a queue of records stays a few MiB per worker");

impl Record {
    /// Of nothing, for nobody.
    pub const EMPTY: Self = Self::new(0, 0, SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));

    /// A record of which nothing is known yet but when, where and for whom.
    pub const fn new(unix_ms: u64, worker: u16, client: SocketAddr) -> Self {
        Self {
            unix_ms,
            worker,
            status: 0,
            attempts: 0,
            reused: false,
            client,
            method: Short::EMPTY,
            host: Short::EMPTY,
            path: Short::EMPTY,
            request_id: Short::EMPTY,
            model: Short::EMPTY,
            route: "",
            backend: "",
            endpoint: "",
            outcome: "",
            reason: "",
            rule: "",
            tls: "",
            bytes_in: 0,
            bytes_out: 0,
            first_byte: Micros::NONE,
            first_token: Micros::NONE,
            queued: Micros::NONE,
            total: Micros::NONE,
            own: Micros::NONE,
            tokens_in: None,
            tokens_out: None,
            tokens_cached: None,
            tokens_cache_written: None,
            tokens_reasoning: None,
            tokens_estimated: false,
            cost: None,
        }
    }

    /// The same in place of what was here: the room for names is not cleared, only said to be empty.
    pub fn begin(&mut self, unix_ms: u64, worker: u16, client: SocketAddr) {
        self.method.clear();
        self.host.clear();
        self.path.clear();
        self.request_id.clear();
        self.model.clear();
        (self.unix_ms, self.worker, self.client) = (unix_ms, worker, client);
        (self.status, self.attempts, self.reused) = (0, 0, false);
        (self.route, self.backend, self.endpoint) = ("", "", "");
        (self.outcome, self.reason, self.rule, self.tls) = ("", "", "", "");
        (self.bytes_in, self.bytes_out) = (0, 0);
        (self.first_byte, self.first_token, self.queued) = (Micros::NONE, Micros::NONE, Micros::NONE);
        (self.total, self.own) = (Micros::NONE, Micros::NONE);
        (self.tokens_in, self.tokens_out, self.tokens_cached) = (None, None, None);
        (self.tokens_cache_written, self.tokens_reasoning) = (None, None);
        (self.tokens_estimated, self.cost) = (false, None);
    }
}

impl Record {
    /// Takes the pieces of an answer whose upstream told no usage for its tokens: most engines send one in each.
    pub fn count_pieces(&mut self, pieces: u64) {
        self.tokens_out = Some(pieces);
        self.tokens_estimated = true;
    }
}

/// A span in whole microseconds, or none: eight bytes either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(u64);

impl Micros {
    /// It did not happen.
    pub const NONE: Self = Self(u64::MAX);

    /// A span that was measured.
    pub const fn new(us: u64) -> Self {
        Self(us)
    }

    /// The bare count of microseconds, if it happened.
    pub const fn get(self) -> Option<u64> {
        if self.0 == u64::MAX { None } else { Some(self.0) }
    }
}

/// The first `N` bytes of something a caller wrote, in place.
#[derive(Clone, Copy)]
pub struct Short<const N: usize> {
    len: u8,
    cut: bool,
    bytes: [u8; N],
}

impl<const N: usize> Short<N> {
    /// Nothing.
    pub const EMPTY: Self = {
        assert!(N <= u8::MAX as usize, "the length is one byte");
        Self { len: 0, cut: false, bytes: [0; N] }
    };

    /// As much of `text` as fits, ending between two characters if it is UTF-8.
    pub fn new(text: &[u8]) -> Self {
        let mut short = Self::EMPTY;
        short.set(text);
        short
    }

    /// The path of a request target: everything before the query, which may carry keys.
    pub fn path(target: &[u8]) -> Self {
        Self::new(path_of(target))
    }

    /// The same in place: a value of this size is not moved for nothing.
    pub fn set(&mut self, text: &[u8]) {
        let kept = fitting(text, N);
        self.bytes[..kept].copy_from_slice(&text[..kept]);
        self.len = kept as u8;
        self.cut = kept < text.len();
    }

    /// Nothing again.
    pub const fn clear(&mut self) {
        self.len = 0;
        self.cut = false;
    }

    /// [`Short::path`] in place.
    pub fn set_path(&mut self, target: &[u8]) {
        self.set(path_of(target));
    }

    /// What was kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether something was cut off.
    pub const fn is_cut(&self) -> bool {
        self.cut
    }

    /// Whether there is nothing.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

fn path_of(target: &[u8]) -> &[u8] {
    &target[..memchr::memchr2(b'?', b'#', target).unwrap_or(target.len())]
}

/// How many leading bytes of `text` to keep in a room of `max`.
fn fitting(text: &[u8], max: usize) -> usize {
    if text.len() <= max {
        return text.len();
    }
    let continues = |at: &usize| text[*at] & 0xC0 == 0x80; // a UTF-8 character has at most three such bytes
    let start = (max.saturating_sub(3)..=max).rev().find(|at| !continues(at));
    start.unwrap_or(max)
}

impl<const N: usize> Default for Short<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> std::fmt::Debug for Short<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_begun_again_says_what_a_new_one_does() {
        let client = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
        // All fields, and none as in a new one: one that is added has to be named here.
        let mut record = Record {
            unix_ms: 1,
            worker: 2,
            client: Record::EMPTY.client,
            status: 200,
            attempts: 3,
            reused: true,
            method: Short::new(b"GET"),
            host: Short::new(b"h"),
            path: Short::new(b"/p"),
            request_id: Short::new(b"id"),
            model: Short::new(&[b'm'; MODEL_BYTES_MAX + 1]),
            route: "a",
            backend: "b",
            endpoint: "c",
            outcome: "d",
            reason: "e",
            rule: "f",
            tls: "g",
            bytes_in: 1,
            bytes_out: 2,
            first_byte: Micros::new(3),
            first_token: Micros::new(4),
            queued: Micros::new(5),
            total: Micros::new(6),
            own: Micros::new(7),
            tokens_in: Some(8),
            tokens_out: Some(9),
            tokens_cached: Some(10),
            tokens_cache_written: Some(11),
            tokens_reasoning: Some(12),
            tokens_estimated: true,
            cost: Some(MicroDollars::new(13)),
        };
        record.begin(17, 18, client);
        assert_eq!(format!("{record:?}"), format!("{:?}", Record::new(17, 18, client)));
    }

    #[test]
    fn what_fits_is_kept_whole() {
        let short = Short::<4>::new(b"abcd");
        assert_eq!((short.as_bytes(), short.is_cut()), (&b"abcd"[..], false));
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        let text = "aäö€𝄞".as_bytes(); // 1 + 2 + 2 + 3 + 4 bytes
        for (max, kept) in [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (7, 5), (8, 8), (11, 8), (12, 12)] {
            assert_eq!(fitting(text, max), kept, "room for {max}");
        }
    }

    #[test]
    fn a_cut_through_bytes_that_are_no_text_keeps_what_fits() {
        assert_eq!(fitting(&[0x80; 20], 8), 8);
        assert!(Short::<8>::new(&[0x80; 20]).is_cut());
    }

    #[test]
    fn a_query_is_never_kept() {
        assert_eq!(Short::<64>::path(b"/v1/models?key=secret").as_bytes(), b"/v1/models");
        assert_eq!(Short::<64>::path(b"/v1/models#key=secret").as_bytes(), b"/v1/models");
        assert_eq!(Short::<64>::path(b"?key=secret").as_bytes(), b"");
    }

    #[test]
    fn a_span_that_did_not_happen_is_none() {
        assert_eq!(Micros::NONE.get(), None);
        assert_eq!(Micros::new(7).get(), Some(7));
    }
}
