//! The way of a request without sockets: every step between receiving and sending, in the order of the data plane.
//!
//! Owns: the buffers that a worker keeps from exchange to exchange, and one call per unit of work.
//! Must not: decide anything by itself: each step is the data plane's own code, called as `exchange`, `attempt` and
//! `relay` call it.
//! Read next: `dataplane/src/exchange.rs`, which has the sockets and the failures.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ringway_dataplane::balance::{Pick, Tried, pick};
use ringway_dataplane::cells::Lease;
use ringway_dataplane::observe::histogram::Cells as Histogram;
use ringway_dataplane::observe::{Micros, Record, Short};
use ringway_dataplane::table::{Ask, ModelSeen, Table, Verdict};
use ringway_wire::http1::{
    Asked, Body, Framing, HeadBounds, Mode, Parse, RequestHead, RequestOut, ResponseHead, ResponseOut,
    Scheme, Span, Version, write_request, write_response,
};
use ringway_wire::{json, sse};

use crate::material;

const DATE: &[u8] = b"Thu, 01 Jan 2026 00:00:00 GMT";
const ID: &[u8] = b"0af7651916cd43dd8448eb211c80319c";
const CALLER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 40_000);

/// A worker's share of the work, with all it keeps warm.
pub struct Pipeline {
    table: Table,
    rng: fastrand::Rng,
    head: RequestHead,
    answer: ResponseHead,
    scanner: json::Scanner,
    unary: sse::UnaryObserver,
    stream: sse::Observer,
    streamed: Body,
    spans: Vec<Span>,
    out: Vec<u8>,
    latency: Histogram,
    request: Vec<u8>,
    unary_answer: Vec<u8>,
    stream_answer: Vec<u8>,
    coded: Vec<u8>,
    buffer: Vec<u8>,
}

impl Default for Pipeline {
    fn default() -> Self {
        Self::new(&material::snapshot(10, 2))
    }
}

impl Pipeline {
    /// A pipeline by this snapshot.
    pub fn new(snapshot: &ringway_contract::snapshot::Snapshot) -> Self {
        let body = material::chat_body(1_024);
        let answer = material::answer_body();
        Self {
            table: material::table(snapshot),
            rng: fastrand::Rng::with_seed(1),
            head: RequestHead::new(),
            answer: ResponseHead::new(),
            scanner: json::Scanner::new(),
            unary: sse::UnaryObserver::new(),
            stream: sse::Observer::new(sse::Shape::OpenAi),
            streamed: Body::new(Framing::Chunked, Mode::Verbatim, u64::MAX),
            spans: Vec::new(),
            out: Vec::new(),
            latency: Histogram::default(),
            request: [material::request_head("/v1/chat/completions", body.len()), body].concat(),
            unary_answer: [material::answer_head(answer.len()), answer].concat(),
            stream_answer: material::stream_head(),
            coded: material::coded_event(),
            buffer: Vec::new(),
        }
    }

    /// One exchange with a JSON answer: both heads read and written, the model read and matched, an endpoint chosen
    /// and leased, the answer observed, the exchange recorded. Returns how many bytes it would have sent.
    pub fn exchange(&mut self) -> usize {
        let sent = self.request_up();
        self.receive_answer(false);
        let answer_bytes = self.relay_whole();
        self.record(answer_bytes as u64);
        sent + answer_bytes
    }

    /// Begins an exchange with a streamed answer, up to the head sent to the caller.
    pub fn begin_stream(&mut self) -> usize {
        let sent = self.request_up();
        self.receive_answer(true);
        self.streamed = Body::new(self.answer.framing(), Mode::Verbatim, u64::MAX);
        self.stream.reset(sse::Shape::OpenAi);
        sent + self.write_answer_head()
    }

    /// One event of the stream: framing followed, bytes sent as they are, then looked at.
    pub fn event(&mut self) -> usize {
        self.buffer.clear();
        self.buffer.extend_from_slice(&self.coded);
        self.spans.clear();
        let advance = self.streamed.advance(&mut self.buffer, &mut self.spans).expect("sound framing");
        for span in &self.spans {
            self.stream.feed(span.of(&self.buffer[..advance.keep]));
        }
        advance.keep
    }

    fn request_up(&mut self) -> usize {
        assert_eq!(self.head.parse(&self.request, &HeadBounds::REQUEST), Ok(Parse::Complete), "it is whole");
        self.head.check_scheme(Scheme::Http).expect("no scheme is named");
        let head_bytes = self.head.len();
        self.take_body(head_bytes);
        let ask = Ask {
            method: self.head.method_bytes(&self.request),
            host: self.head.host().of(&self.request),
            path: self.head.target().of(&self.request),
            header: &|name| self.head.find(&self.request, name),
            client: CALLER.ip(),
            model: self.scanner.model().map_or(ModelSeen::Absent, |it| ModelSeen::Is(it.value.as_bytes())),
        };
        let Verdict::Route(route) = self.table.route(&ask) else { panic!("the last route matches") };
        let Pick { endpoint, .. } = pick(route, &Tried::none(), &mut self.rng).expect("all are eligible");
        let _lease = Lease::take(&endpoint.cell);
        self.out.clear();
        let how = request_out(self.head.framing(), endpoint.authority.as_bytes());
        write_request(&mut self.out, &self.head, &self.request, &how);
        self.out.extend_from_slice(&self.request[head_bytes..]);
        self.out.len()
    }

    /// The framing of the body, and what it says.
    fn take_body(&mut self, head_bytes: usize) {
        let mut body = Body::new(self.head.framing(), Mode::Decode, u64::MAX);
        self.spans.clear();
        let step = body.advance(&mut self.request[head_bytes..], &mut self.spans).expect("sound framing");
        assert!(step.done, "it came with its head");
        self.scanner.reset();
        self.scanner.feed(&self.request[head_bytes..]).expect("sound JSON");
        self.scanner.finish().expect("whole JSON");
    }

    fn receive_answer(&mut self, streamed: bool) {
        let bytes = if streamed { &self.stream_answer } else { &self.unary_answer };
        let parsed = self.answer.parse(bytes, &HeadBounds::RESPONSE, &Asked::default());
        assert_eq!(parsed, Ok(Parse::Complete), "it is whole");
    }

    fn write_answer_head(&mut self) -> usize {
        self.out.clear();
        let bytes =
            if self.answer.framing() == Framing::Chunked { &self.stream_answer } else { &self.unary_answer };
        write_response(&mut self.out, &self.answer, bytes, &response_out(self.answer.framing()));
        self.out.len()
    }

    /// The head and the whole body in one send, then a look at the body.
    fn relay_whole(&mut self) -> usize {
        self.write_answer_head();
        let head_bytes = self.answer.len();
        let mut body = Body::new(self.answer.framing(), Mode::Verbatim, u64::MAX);
        self.spans.clear();
        let advance =
            body.advance(&mut self.unary_answer[head_bytes..], &mut self.spans).expect("sound framing");
        let kept = &self.unary_answer[head_bytes..head_bytes + advance.keep];
        self.out.extend_from_slice(kept);
        self.unary.reset();
        for span in &self.spans {
            self.unary.feed(span.of(kept));
        }
        assert!(self.unary.finish().output.is_some(), "it tells its usage");
        self.out.len()
    }

    fn record(&mut self, bytes_out: u64) {
        let mut record = Record::new(0, 0, CALLER);
        record.method = Short::new(self.head.method_bytes(&self.request));
        record.host = Short::new(self.head.host().of(&self.request));
        record.path = Short::path(self.head.target().of(&self.request));
        record.request_id = Short::new(ID);
        record.bytes_out = bytes_out;
        record.total = Micros::new(bytes_out);
        self.latency.record(std::hint::black_box(&record).bytes_out);
    }
}

/// How a request goes on, in the usual case.
pub fn request_out(framing: Framing, host: &[u8]) -> RequestOut<'_> {
    RequestOut {
        base_path: b"",
        host,
        renamed: None,
        framing,
        forwarded_for: CALLER.ip(),
        forwarded_proto: "http",
        trust_forwarded: false,
        request_id: ID,
        strip_credentials: false,
        decoded: false,
        credential: None,
        identity_coding: true,
        instead: None,
        close: false,
    }
}

/// How an answer goes back, in the usual case.
pub fn response_out(framing: Framing) -> ResponseOut<'static> {
    ResponseOut {
        framing,
        close: false,
        kept: None,
        version: Version::Http11,
        date: DATE,
        request_id: ID,
        extra: &[],
        head_request: false,
    }
}
