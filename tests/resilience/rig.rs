//! Origins that can be told to fail or to hold, and looking at the stats until something is so.
//!
//! Owns: their scripts.
//! Must not: know what is claimed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ringway_contract::stats::EndpointStats;
use ringway_tests::{Gateway, Origin, Peer};

pub const CHAT: &str = "/v1/chat/completions";

/// Answers every request with the status it is told, and its name as body.
pub struct Told {
    pub origin: Origin,
    status: Arc<AtomicU16>,
}

impl Told {
    pub fn start(name: &'static str, fields: &'static str) -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let told = status.clone();
        let origin = Origin::start(move |peer: &mut Peer| {
            while peer.request().is_some() {
                let status = told.load(SeqCst);
                let fields = if status == 200 { "" } else { fields };
                let head = format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {}\r\n\r\n", name.len());
                peer.send(head + name);
            }
        });
        Self { origin, status }
    }

    pub fn answers(&self, status: u16) {
        self.status.store(status, SeqCst);
    }

    pub fn arrived(&self) -> usize {
        self.origin.requests().len()
    }
}

/// Begins to answer every request with a stream, and gives it a first token only when it is let.
pub struct Holding {
    pub origin: Origin,
    let_go: Arc<AtomicUsize>,
}

impl Holding {
    pub fn start() -> Self {
        let let_go = Arc::new(AtomicUsize::new(0));
        let (turn, allowed) = (AtomicUsize::new(0), let_go.clone());
        let origin = Origin::start(move |peer: &mut Peer| {
            while peer.request().is_some() {
                let turn = turn.fetch_add(1, SeqCst);
                peer.send(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
                );
                let deadline = Instant::now() + Duration::from_secs(30);
                while allowed.load(SeqCst) <= turn && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(2));
                }
                let token =
                    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
                for event in [token, "data: [DONE]\n\n"] {
                    peer.send(format!("{:x}\r\n{event}\r\n", event.len()));
                }
                peer.send("0\r\n\r\n");
            }
        });
        Self { origin, let_go }
    }

    /// So many requests, of all that come, get their tokens.
    pub fn let_go(&self, count: usize) {
        self.let_go.store(count, SeqCst);
    }

    pub fn arrived(&self) -> usize {
        self.origin.requests().len()
    }

    pub fn wait_for(&self, count: usize) {
        self.origin.wait_for(&format!("{count} requests"), |records| {
            records.iter().map(|record| record.requests.len()).sum::<usize>() >= count
        });
    }
}

/// The endpoint at this place of the snapshot.
pub fn endpoint(gateway: &Gateway, at: usize) -> EndpointStats {
    gateway.stats().endpoints.swap_remove(at)
}

/// Waits until this is so.
pub fn eventually(what: &str, within: Duration, so: impl Fn() -> bool) {
    let deadline = Instant::now() + within;
    while !so() {
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Takes an endpoint out by hand, or puts it back.
pub fn drain(gateway: &Gateway, backend: &str, origin: &Origin, undo: bool) {
    let question = serde_json::json!({"endpoint": format!("{backend}/{}", origin.address()), "undo": undo});
    let fields = "Content-Type: application/json\r\n";
    let answer = gateway.control("POST", "/v1/drain", fields, question.to_string().as_bytes());
    assert!(answer.status() < 300, "{}", answer.text());
}
