//! What is asked of the proxies: the columns of the table.
//!
//! Owns: the messages, byte for byte, the pace, and how many connections carry it.
//! Must not: know who serves it, beyond the path that chooses a route.
//! Read next: `load.rs`, which runs one; `table.rs` for the bars.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::bounds::EVENT_BYTES;

/// How the requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The next one when the last one was answered.
    Closed,
    /// By the clock, at random distances of this mean, whoever is answered.
    Open { per_second: f64 },
    /// One request per connection, answered by an endless stream of events, one each period.
    Streams { period: Duration, spread: Spread },
}

/// When the events of the streams are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Each stream at its own phase.
    Even,
    /// All at once.
    Bunched,
}

/// One kind of load.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its title in the table.
    pub title: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// How the requests follow each other.
    pub pace: Pace,
    /// How many connections of callers.
    pub connections: usize,
    /// Bytes of a request body.
    pub request_bytes: usize,
    /// Bytes of an answer's body; nothing for streams.
    pub answer_bytes: usize,
    /// Each request on a connection of its own.
    pub connection_per_request: bool,
    /// Whether the gateway is also measured with a route that reads the model.
    pub model_too: bool,
    /// Only what it holds of memory is of interest.
    pub memory_only: bool,
    /// How large the gateway's world is.
    pub world: World,
}

/// What the gateway knows and holds beside the load.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// Further routes on the same path, for other models.
    pub routes: usize,
    /// Endpoints of the backend with models, all of them the origin.
    pub endpoints: usize,
    /// They are chosen by prompt and load.
    pub gpu: bool,
    /// Connections that never ask anything.
    pub idle: usize,
    /// Workers; more than one are not bound to the proxy's core.
    pub workers: usize,
}

impl World {
    /// Next to nothing.
    pub const SMALL: Self = Self { routes: 0, endpoints: 1, gpu: false, idle: 0, workers: 1 };
}

const KIB: usize = 1_024;

/// All of them, in the order of the table.
pub fn all() -> Vec<Workload> {
    let base = Workload {
        name: "small",
        title: "1 KB JSON, 64 keep-alive connections, closed loop",
        unit: "request",
        pace: Pace::Closed,
        connections: 64,
        request_bytes: KIB,
        answer_bytes: KIB,
        connection_per_request: false,
        model_too: true,
        memory_only: false,
        world: World::SMALL,
    };
    let streams = Workload {
        unit: "event",
        connections: 500,
        pace: Pace::Streams { period: Duration::from_millis(20), spread: Spread::Even },
        ..base.clone()
    };
    vec![
        base.clone(),
        Workload {
            name: "open",
            title: "the same at 5,000 req/s, open loop",
            pace: Pace::Open { per_second: 5_000.0 },
            ..base.clone()
        },
        Workload { name: "sse_even", title: "SSE, 500 streams, 25k events/s, even", ..streams.clone() },
        Workload {
            name: "sse_bunched",
            title: "SSE, 500 streams, 25k events/s, bunched",
            pace: Pace::Streams { period: Duration::from_millis(20), spread: Spread::Bunched },
            ..streams.clone()
        },
        Workload {
            name: "large_in",
            title: "256 KB request, small answer",
            connections: 16,
            request_bytes: 256 * KIB,
            answer_bytes: 100,
            ..base.clone()
        },
        Workload {
            name: "large_both",
            title: "256 KB both ways",
            connections: 16,
            request_bytes: 256 * KIB,
            answer_bytes: 256 * KIB,
            model_too: false,
            ..base.clone()
        },
        Workload {
            name: "churn",
            title: "one connection per request",
            connections: 16,
            connection_per_request: true,
            model_too: false,
            ..base.clone()
        },
        Workload {
            name: "one",
            title: "one connection, one request at a time",
            connections: 1,
            model_too: false,
            ..base
        },
        Workload {
            name: "live",
            title: "5,000 live streams, an event each second",
            connections: 5_000,
            pace: Pace::Streams { period: Duration::from_secs(1), spread: Spread::Even },
            model_too: false,
            memory_only: true,
            ..streams
        },
    ]
}

/// Prompts of 220 KB, each hashed for `balance: gpu` among eight endpoints that answer at once (routing section 13): not rows of
/// the table, measured when they are named.
pub fn prompts() -> Vec<Workload> {
    let base = all().into_iter().find(|it| it.name == "large_in").expect("a row of the table");
    let base =
        Workload { request_bytes: 220_000, world: World { endpoints: 8, gpu: true, ..World::SMALL }, ..base };
    vec![
        Workload { name: "prompts", title: "prompts of 220 KB, closed loop", ..base.clone() },
        Workload {
            name: "prompts_open",
            title: "prompts of 220 KB at 1,000 req/s, open loop",
            pace: Pace::Open { per_second: 1_000.0 },
            ..base
        },
    ]
}

/// The bytes that go over the wires of one workload.
#[derive(Clone)]
pub struct Messages {
    /// Head and body, as a caller sends them.
    pub request: Arc<[u8]>,
    /// The body that must arrive at the origin.
    pub request_body: Arc<[u8]>,
    /// Head and body, as the origin sends them; for a stream, the head.
    pub answer: Arc<[u8]>,
    /// The body that must arrive at the caller; empty for a stream.
    pub answer_body: Arc<[u8]>,
}

impl Workload {
    /// The messages for a proxy at this address, on this path.
    pub fn messages(&self, proxy: SocketAddr, path: &str) -> Messages {
        let streams = matches!(self.pace, Pace::Streams { .. });
        let request_body = request_json(self.request_bytes, streams);
        let close = if self.connection_per_request { "connection: close\r\n" } else { "" };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {proxy}\r\nuser-agent: compare/1\r\naccept: */*\r\n\
             content-type: application/json\r\n{close}content-length: {}\r\n\r\n",
            request_body.len()
        );
        let (answer_head, answer_body) = if streams {
            let head = "HTTP/1.1 200 OK\r\nserver: origin\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
                        content-type: text/event-stream\r\ncache-control: no-cache\r\n\
                        transfer-encoding: chunked\r\n\r\n";
            (head.to_owned(), Vec::new())
        } else {
            let body = answer_json(self.answer_bytes);
            let head = format!(
                "HTTP/1.1 200 OK\r\nserver: origin\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            (head, body)
        };
        Messages {
            request: [head.as_bytes(), &request_body].concat().into(),
            request_body: request_body.into(),
            answer: [answer_head.as_bytes(), &answer_body].concat().into(),
            answer_body: answer_body.into(),
        }
    }
}

/// A chat request of exactly so many bytes.
fn request_json(bytes: usize, stream: bool) -> Vec<u8> {
    let before = format!(
        "{{\"model\":\"llama-3.1-8b-instruct\",\"stream\":{stream},\"temperature\":0.7,\
         \"messages\":[{{\"role\":\"user\",\"content\":\""
    );
    padded(&before, "\"}]}", bytes)
}

/// A chat answer of exactly so many bytes.
fn answer_json(bytes: usize) -> Vec<u8> {
    let before = "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"";
    let after = "\"}}],\"usage\":{\"prompt_tokens\":230,\"completion_tokens\":9}}";
    if bytes < before.len() + after.len() {
        padded("{\"ok\":\"", "\"}", bytes)
    } else {
        padded(before, after, bytes)
    }
}

fn padded(before: &str, after: &str, bytes: usize) -> Vec<u8> {
    const WORDS: &[u8] = b"the quick brown fox jumps over the lazy dog, and again it ";
    let fill = bytes - before.len() - after.len();
    let mut all = before.as_bytes().to_vec();
    all.extend(WORDS.iter().copied().cycle().take(fill));
    all.extend_from_slice(after.as_bytes());
    all
}

/// The parts of an event that tell who sent it when. All in sixteen or eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds of the load's clock, just before the send.
    pub at_ns: u64,
    /// Which stream.
    pub stream: u32,
    /// Which event of it, from 0.
    pub number: u32,
}

const EVENT_BEFORE: &[u8] = b"data: {\"id\":\"";
const EVENT_AFTER: &[u8] =
    b"\",\"object\":\"chat.completion.chunk\",\"model\":\"llama\",\"choices\":[{\"delta\":{\"content\":\" and so on\"}}]}";
const STAMP_BYTES: usize = 16 + 8 + 8;

/// Writes one event of [`EVENT_BYTES`] bytes.
pub fn write_event(into: &mut [u8; EVENT_BYTES], stamp: Stamp) {
    let (front, rest) = into.split_at_mut(EVENT_BEFORE.len());
    front.copy_from_slice(EVENT_BEFORE);
    let (digits, rest) = rest.split_at_mut(STAMP_BYTES);
    hex(&mut digits[..16], stamp.at_ns);
    hex(&mut digits[16..24], u64::from(stamp.stream));
    hex(&mut digits[24..], u64::from(stamp.number));
    let (after, end) = rest.split_at_mut(EVENT_AFTER.len());
    after.copy_from_slice(EVENT_AFTER);
    let pad = end.len() - 2;
    end[..pad].fill(b' ');
    end[pad..].copy_from_slice(b"\n\n");
}

/// Reads one event and checks each of its bytes.
pub fn read_event(event: &[u8; EVENT_BYTES]) -> Option<Stamp> {
    let digits = event.strip_prefix(EVENT_BEFORE)?;
    let stamp = Stamp {
        at_ns: unhex(&digits[..16])?,
        stream: unhex(&digits[16..24])? as u32,
        number: unhex(&digits[24..STAMP_BYTES])? as u32,
    };
    let pad = digits[STAMP_BYTES..].strip_prefix(EVENT_AFTER)?.strip_suffix(b"\n\n")?;
    pad.iter().all(|&byte| byte == b' ').then_some(stamp)
}

fn hex(into: &mut [u8], mut value: u64) {
    for digit in into.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

fn unhex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | u64::from((digit as char).to_digit(16)?)))
}

const _: () = assert!(EVENT_BEFORE.len() + STAMP_BYTES + EVENT_AFTER.len() + 2 <= EVENT_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_carries_its_stamp_and_a_changed_byte_is_seen() {
        let stamp = Stamp { at_ns: 0x1234_5678_9abc, stream: 77, number: 9 };
        let mut event = [0; EVENT_BYTES];
        write_event(&mut event, stamp);
        assert_eq!(read_event(&event), Some(stamp));
        for at in (0..EVENT_BYTES).filter(|at| !(13..13 + STAMP_BYTES).contains(at)) {
            let mut changed = event;
            changed[at] ^= 1;
            assert_eq!(read_event(&changed), None, "byte {at}");
        }
    }

    #[test]
    fn messages_have_the_sizes_they_promise() {
        for workload in all() {
            let messages = workload.messages("127.0.0.1:1".parse().expect("an address"), "/raw/x");
            assert_eq!(messages.request_body.len(), workload.request_bytes, "{}", workload.name);
            serde_json::from_slice::<serde_json::Value>(&messages.request_body).expect("JSON");
            if !matches!(workload.pace, Pace::Streams { .. }) {
                assert_eq!(messages.answer_body.len(), workload.answer_bytes, "{}", workload.name);
                serde_json::from_slice::<serde_json::Value>(&messages.answer_body).expect("JSON");
            }
        }
    }
}
