//! One gateway in front of scripted origins, and what the rows of the tables ask about it.
//!
//! Owns: reading the reason of an exchange, and the spans that rows allow.
//! Must not: hide a script: each row shows its own.
//! Read next: any row.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringway_tests::client::{Answer, get};
use ringway_tests::setup::{http, prefix, route};
use ringway_tests::{Client, Gateway, Io, Origin, Peer, Setup};

/// What the tables call at once (50 and 100 ms), with room for a machine that is shared by many tests.
pub const SOON: Duration = Duration::from_millis(600);
/// How late a limit may fire on such a machine.
pub const LATE: Duration = Duration::from_millis(700);

/// A gateway and the origins behind it.
pub struct Rig {
    pub gateway: Gateway,
    pub origins: Vec<Origin>,
}

impl Rig {
    /// A plain proxy to one origin that plays `script`.
    pub fn one(io: Io, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        Self::with(io, vec![Origin::start(script)], |setup| setup)
    }

    /// A plain proxy to one backend with these origins as its endpoints, two attempts allowed.
    pub fn with(io: Io, origins: Vec<Origin>, change: impl FnOnce(Setup) -> Setup) -> Self {
        let addresses: Vec<SocketAddr> = origins.iter().map(Origin::address).collect();
        Self { gateway: Gateway::start(io, change(proxy(&addresses))), origins }
    }

    /// The first origin.
    pub fn origin(&self) -> &Origin {
        &self.origins[0]
    }

    /// A caller.
    pub fn caller(&self) -> Client {
        self.gateway.connect()
    }

    /// Whole requests at all origins.
    pub fn arrived(&self) -> usize {
        self.origins.iter().map(|origin| origin.requests().len()).sum()
    }

    /// Connections at all origins.
    pub fn connections(&self) -> usize {
        self.origins.iter().map(Origin::connections).sum()
    }

    /// Fails unless the log line of `path` says this.
    pub fn assert_logged(&self, path: &str, reason: &str, attempts: u64) {
        let line = self.gateway.access().line_for(path);
        assert_eq!(line["reason"].as_str().unwrap_or(""), reason, "{line}");
        assert_eq!(line["attempts"].as_u64(), Some(attempts), "{line}");
    }

    /// Waits until this many abnormal ends were counted under `reason`.
    pub fn assert_counted(&self, reason: &str, count: usize) {
        let deadline = Instant::now() + ringway_tests::bounds::IDLE_MAX;
        let series = format!("reason=\"{reason}\"");
        loop {
            let now = self.gateway.metric(&["ringway_abnormal_ends_total", &series]);
            if (now - count as f64).abs() < 0.5 {
                return;
            }
            assert!(Instant::now() < deadline, "{now} counts of {reason}, want {count}");
            std::thread::sleep(ringway_tests::bounds::POLL_EVERY);
        }
    }

    /// Waits until no idle connection is kept: the other side closed them all, and that must be seen.
    pub fn assert_nothing_kept(&self) {
        let deadline = Instant::now() + ringway_tests::bounds::IDLE_MAX;
        while self.gateway.gauges().upstream_idle > 0 {
            assert!(
                Instant::now() < deadline,
                "a closed connection is still kept: {:?}",
                self.gateway.gauges()
            );
            std::thread::sleep(ringway_tests::bounds::POLL_EVERY);
        }
    }

    /// Ends a row: all at rest, nothing malformed upstream.
    pub fn finish(self) {
        self.origins.iter().for_each(Origin::assert_strict);
        self.gateway.finish();
    }
}

/// A plain proxy to these endpoints.
pub fn proxy(addresses: &[SocketAddr]) -> Setup {
    Setup::new().backend(http("origin", addresses)).route(route("all", prefix("/"), "origin")).attempts(2)
}

/// An answer of 200 with this body.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The head of an event stream in coded chunks.
pub const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// One coded chunk.
pub fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// Asks and measures.
pub fn timed(gateway: &Gateway, request: impl AsRef<[u8]>) -> (Answer, Duration) {
    let mut caller = gateway.connect();
    let began = Instant::now();
    let answer = caller.ask(request);
    (answer, began.elapsed())
}

/// Fails unless `took` is at `limit`, give or take the machine.
pub fn assert_at(limit: Duration, took: Duration) {
    let early = limit.mul_f64(0.9);
    assert!(took >= early && took <= limit + LATE, "it took {took:?}; the limit is {limit:?}");
}

/// The next request on a new connection must be served by an origin that serves.
pub fn assert_serves(rig: &Rig, target: &str) {
    assert_eq!(rig.gateway.ask(get(target)).status(), 200, "the next request, {target}");
}
