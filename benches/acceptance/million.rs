//! S9: a million short requests that end in every way there is, while engines restart and the configuration changes.
//!
//! Owns: the callers, their ways of ending, and what must be left afterwards: nothing.
//! Must not: measure speed.
//! Read next: `stand.rs`; `tests/soak.rs`, five seconds of the like for every commit.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ringway_benches::evaluate::setup::{MODEL, Setup};
use ringway_contract::Millis;
use ringway_contract::snapshot::{Admission, Balance};
use ringway_contract::stats::{EndpointStats, Stats};
use ringway_gpusim::Preset;
use serde_json::json;

use crate::report;
use crate::stand::{Manner, NoStand, Stand};

/// Its name on the command line.
pub const NAME: &str = "S9";

/// Shorter waits than it leads to cannot be configured.
const TIME_SCALE: f64 = 20.0;
const CALLERS: u64 = 256;
const RELOADS: u64 = 10;
const RESTARTS: u32 = 20;
/// Between two restarts, and how long an engine is gone, by the clock on the wall.
const RESTART_EVERY: Duration = Duration::from_millis(1_400);
const GONE: Duration = Duration::from_millis(500);
/// How soon nothing is left once nobody asks.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// What memory may grow by between a third of the requests and the end.
const GROWTH_MAX: f64 = 0.15;
const PATIENCE: Duration = Duration::from_secs(30);

/// Some are to be late, all others are patient; what a dead engine was to answer may be asked of another.
const ROUTES: &str = "routes:\n  - name: hurried\n    match: {path_prefix: /, headers: {x-ending: deadline}}\n    \
                      targets: [{backend: fleet}]\n    timeouts: {total: 20ms}\n  - name: all\n    \
                      match: {path_prefix: /}\n    targets: [{backend: fleet}]\n    idempotent: true\n    \
                      timeouts: {first_byte: 20m, idle: 20m, total: 20m}\n";

/// How a request ends, as far as its caller has a say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The answer is read to its end.
    Normal,
    /// The caller leaves as soon as it has asked: most in the queue.
    Asked,
    /// It leaves behind the head, before the first token.
    Head,
    /// It leaves behind the first tokens.
    Stream,
    /// Its route has a deadline that the answer cannot keep.
    Deadline,
}

impl Ending {
    /// By chance: 40 % to the end (what engines that restart make of it is not the caller's choice), 15 % in the queue, 20 %
    /// before the first token, 20 % in the stream, 5 % too late.
    fn drawn(rng: &mut fastrand::Rng) -> Self {
        match rng.u8(..100) {
            0..40 => Self::Normal,
            40..55 => Self::Asked,
            55..75 => Self::Head,
            75..95 => Self::Stream,
            _ => Self::Deadline,
        }
    }
}

/// What became of a request, as its caller saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    Whole,
    LeftAsked,
    LeftHead,
    LeftStream,
    Late,
    Refused,
    Failed,
    Broken,
}

impl Became {
    /// How each is told.
    const WORDS: [&str; 8] = [
        "whole",
        "left as soon as they had asked",
        "before the first token",
        "in the stream",
        "too late",
        "refused",
        "failed",
        "broken off",
    ];
}

/// What became of all requests.
#[derive(Default)]
struct Seen {
    asked: AtomicU64,
    /// By [`Became`].
    ended: [AtomicU64; Became::WORDS.len()],
}

/// Sends so many, and says whether nothing is left of them.
pub fn run(requests: u64, seed: u64, out: Option<&Path>) -> Result<bool, Box<dyn Error>> {
    let mut setup = Setup::new(&[(Preset::H100, 8)], Balance::Gpu, seed);
    let u_limit_ms = Millis::new(200); // so short that a queue stands while all callers are there
    setup.admission =
        Some(Admission { u_limit_ms, wait_ms: [Millis::from_secs(20); 3], ..Admission::default() });
    let workers = std::thread::available_parallelism()?.get().div_ceil(4);
    let manner = Manner {
        workers,
        faults: restarts(),
        probed: true,
        routes: Some(ROUTES),
        ..Manner::usual(TIME_SCALE)
    };
    let stand = Stand::start(&setup, &manner)?;
    let (seen, began) = (Seen::default(), Instant::now());
    let memory = std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (seen, address) = (&seen, stand.address(0));
            let mut rng = fastrand::Rng::with_seed(seed << 32 | caller);
            scope.spawn(move || {
                while seen.asked.fetch_add(1, Relaxed) < requests {
                    one(address, &mut rng, seen);
                }
            });
        }
        watch(&stand, requests, &seen)
    })?;
    let took = began.elapsed();
    let left = settled(&stand)?;
    let row = Row { requests, took, seen: &seen, stats: &left, memory: [memory, resident(stand.process())] };
    println!("{}", row.text());
    if let Some(folder) = out {
        report::write_part(folder, "million", &(row.text() + ".\n"))?;
    }
    Ok(row.met())
}

/// One engine after the other is gone for a moment; times are those of the simulation.
fn restarts() -> Vec<String> {
    let simulated = |it: Duration| it.as_secs_f64() * TIME_SCALE;
    let one = |number: u32| {
        let (at, gone) = (simulated(Duration::from_secs(2) + RESTART_EVERY * number), simulated(GONE));
        format!("crash,replica={},at={at}s,for={gone}s", number % 8)
    };
    (0..RESTARTS).map(one).collect()
}

/// Changes the configuration now and then, and says how much memory the gateway had after a third of the requests.
fn watch(stand: &Stand, requests: u64, seen: &Seen) -> Result<u64, NoStand> {
    let (mut reloads, mut memory) = (0, 0);
    loop {
        sleep(Duration::from_millis(20));
        let asked = seen.asked.load(Relaxed);
        if memory == 0 && asked >= requests / 3 {
            memory = resident(stand.process());
        }
        if asked >= requests {
            return Ok(memory);
        }
        if reloads < RELOADS && asked >= (reloads + 1) * requests / (RELOADS + 1) {
            let [before, after] = [reloads, reloads + 1].map(|number| format!("idle: {}m", 20 + number));
            stand.rewrite(|text| text.replace(&before, &after))?;
            reloads += 1;
        }
    }
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1_024
}

/// One request on a connection of its own.
fn one(address: SocketAddr, rng: &mut fastrand::Rng, seen: &Seen) {
    let ending = Ending::drawn(rng);
    let became = ask(address, ending, rng).unwrap_or(Became::Broken);
    seen.ended[became as usize].fetch_add(1, Relaxed);
}

fn ask(address: SocketAddr, ending: Ending, rng: &mut fastrand::Rng) -> io::Result<Became> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    socket.write_all(&request(ending, rng))?;
    if ending == Ending::Asked {
        return Ok(Became::LeftAsked);
    }
    let mut answer = Answer { socket, bytes: Vec::new() };
    answer.read_until(|bytes| bytes.windows(4).any(|it| it == b"\r\n\r\n"))?;
    match answer.status() {
        200 => {}
        504 if ending == Ending::Deadline => return Ok(Became::Late),
        429 | 503 => return Ok(Became::Refused),
        _ => return Ok(Became::Failed),
    }
    let ended = match ending {
        Ending::Head => return Ok(Became::LeftHead),
        Ending::Stream => answer.read_until(|bytes| bytes.windows(6).any(|it| it == b"data: ")),
        Ending::Normal | Ending::Deadline | Ending::Asked => {
            answer.read_until(|bytes| bytes.ends_with(b"0\r\n\r\n"))
        }
    };
    let has = |text: &[u8]| answer.bytes.windows(text.len()).any(|it| it == text);
    // A stream that could not be brought to its end says so, and has no last chunk.
    let told = has(b"\"error\":");
    Ok(match (ended, ending) {
        (Ok(()), Ending::Stream) => Became::LeftStream,
        (Ok(()), _) if has(b"data: [DONE]") && !told => Became::Whole,
        (_, Ending::Deadline) if told => Became::Late,
        (_, _) if told => Became::Failed,
        (_, _) => Became::Broken,
    })
}

struct Answer {
    socket: TcpStream,
    bytes: Vec<u8>,
}

impl Answer {
    fn read_until(&mut self, enough: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        let mut piece = [0; 16_384];
        while !enough(&self.bytes) {
            let count = self.socket.read(&mut piece)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.bytes.extend_from_slice(&piece[..count]);
        }
        Ok(())
    }

    fn status(&self) -> u16 {
        let word = self.bytes.get(9..12).and_then(|it| std::str::from_utf8(it).ok());
        word.and_then(|it| it.parse().ok()).unwrap_or(0)
    }
}

/// A prompt of a few hundred tokens, of which half the callers share the beginning.
fn request(ending: Ending, rng: &mut fastrand::Rng) -> Vec<u8> {
    let tokens = if ending == Ending::Deadline { 2_000 } else { rng.u32(1..12) };
    let shared = if rng.bool() { "the same beginning of a prompt ".repeat(20) } else { String::new() };
    let own: Vec<String> = (0..rng.usize(60..700)).map(|_| format!("{:07x} ", rng.u32(..1 << 28))).collect();
    let body = json!({
        "model": MODEL, "stream": true, "max_tokens": tokens, "ignore_eos": true,
        "messages": [{"role": "user", "content": shared + &own.concat()}],
    })
    .to_string();
    let mark = if ending == Ending::Deadline { "x-ending: deadline\r\n" } else { "" };
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n{mark}content-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What the gateway says once nothing is left, or when it has had its time.
fn settled(stand: &Stand) -> Result<Stats, NoStand> {
    let deadline = Instant::now() + SETTLE_MAX;
    loop {
        let stats = stand.stats(0)?;
        if left(&stats) == 0 || Instant::now() > deadline {
            return Ok(stats);
        }
        sleep(Duration::from_millis(50));
    }
}

/// Everything that must be zero, together.
fn left(stats: &Stats) -> u64 {
    let of_endpoint = |it: &EndpointStats| {
        let own = it.own;
        it.in_flight + own.prompt_tokens + own.missed_tokens + own.uncached_tokens + own.generated_tokens
    };
    let workers = stats.workers.iter().map(|it| it.connections + it.exchanges + it.upstream_active);
    let queues = stats.queues.iter().map(|it| u64::from(it.waiting.iter().sum::<u32>()) + it.bytes);
    let endpoints = stats.endpoints.iter().map(of_endpoint);
    workers.chain(queues).chain(endpoints).sum::<u64>() + stats.load_underflow_total
}

struct Row<'a> {
    requests: u64,
    took: Duration,
    seen: &'a Seen,
    stats: &'a Stats,
    memory: [u64; 2],
}

impl Row<'_> {
    fn met(&self) -> bool {
        left(self.stats) == 0 && self.growth() <= GROWTH_MAX && self.lives() > 0 && self.reloads() >= RELOADS
    }

    fn growth(&self) -> f64 {
        let [early, late] = self.memory.map(|bytes| bytes as f64);
        late / early - 1.0
    }

    fn lives(&self) -> u64 {
        self.stats.endpoints.iter().map(|it| u64::from(it.own.restarts)).sum()
    }

    /// Tables that came after the first.
    fn reloads(&self) -> u64 {
        let newest = self.stats.workers.iter().map(|it| it.generation.get()).min();
        newest.unwrap_or(0).saturating_sub(1)
    }

    fn text(&self) -> String {
        let ended = self.seen.ended.iter().zip(Became::WORDS);
        let ended = ended.map(|(count, words)| format!("{words} {}", count.load(Relaxed)));
        let waited: u64 = self.stats.queues.iter().map(|it| it.granted_total).sum();
        let mut text = format!(
            "{} requests in {:.0} s: {}; {waited} waited in the queue. ",
            self.requests,
            self.took.as_secs_f64(),
            ended.collect::<Vec<_>>().join(", "),
        );
        let _ = write!(
            text,
            "{} restarts noticed, {} reloads. Left on cells, queues, workers: {}; underflows {}; memory {:.1} MiB after a third, {:.1} \
             MiB at the end: {}",
            self.lives(),
            self.reloads(),
            left(self.stats) - self.stats.load_underflow_total,
            self.stats.load_underflow_total,
            self.memory[0] as f64 / f64::from(1 << 20),
            self.memory[1] as f64 / f64::from(1 << 20),
            if self.met() { "met" } else { "**missed**" }
        );
        text
    }
}
