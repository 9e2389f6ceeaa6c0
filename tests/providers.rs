//! Every recorded exchange through one running gateway: the bytes of both bodies arrive as they were sent,
//! however the answer is framed and split, and
//! a stream that stops early ends with the error event of its dialect; and the access log counts what the vendors' own clients count.
//!
//! Owns: replaying them over model routes and over a plain proxy.
//! Must not: read bodies: equality of bytes is the claim.
//! Read next: `src/fixtures.rs`, how they are found.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringway_contract::Bytes;
use ringway_contract::snapshot::{Backend, Dialect, Engine};
use ringway_tests::client::Answer;
use ringway_tests::fixtures::{Exchange, Fixtures, bytes, exchanges};
use ringway_tests::setup::{backend, http, prefix, route};
use ringway_tests::{Client, Gateway, Io, Origin, Peer, Setup, each_driver, http as reader};
use serde_json::Value;

const ASK_FIELD: &str = "x-replay";
/// The vendors' models: one mebibyte image in, and some.
const BODY_KIB_MAX: u64 = 8 * 1_024;

/// What the origin found wrong with the requests it got.
type Complaints = Arc<Mutex<Vec<String>>>;

/// Plays the recorded answer of the exchange that the request names, in random splits and framings.
fn replaying(all: Arc<Vec<Exchange>>, complaints: Complaints) -> Origin {
    Origin::start(move |peer| {
        while let Some(request) = peer.request() {
            let number = request.head.one(ASK_FIELD).and_then(|n| n.parse::<usize>().ok());
            let Some(number) = number else { return };
            let exchange = &all[number];
            if request.body != exchange.request {
                let what = format!("{}: the request body differs at the origin", exchange.file);
                complaints.lock().expect("nobody panics holding it").push(what);
            }
            peer.forget();
            if !answer(peer, exchange, number) {
                return;
            }
        }
    })
}

/// False when the connection ends with this answer.
fn answer(peer: &mut Peer, exchange: &Exchange, number: usize) -> bool {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let head = format!("HTTP/1.1 {} X\r\nContent-Type: {}\r\n", exchange.status, exchange.content_type);
    let body = &exchange.response;
    let until_close = number.is_multiple_of(17);
    let bytes = if until_close {
        [head.as_bytes(), b"\r\n", body].concat()
    } else if number.is_multiple_of(2) || exchange.stream {
        let sizes: Vec<usize> = (0..64).map(|_| random.usize(1..2_000)).collect();
        [head.as_bytes(), b"Transfer-Encoding: chunked\r\n\r\n", &reader::chunked(body, &sizes)].concat()
    } else {
        [head.as_bytes(), format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
    };
    // At most eight pieces: each is a segment of its own, so they cost a wake-up each.
    let cuts: Vec<usize> =
        (0..8).map(|_| random.usize(1..=1 + bytes.len() / 4)).chain([bytes.len()]).collect();
    let sent = peer.drip(&bytes, &cuts, Duration::ZERO);
    if until_close {
        peer.fin();
        peer.until_end(Duration::from_secs(5));
    }
    sent && !until_close
}

fn vendor(name: &str, engine: Engine, dialect: Dialect, origin: &Origin) -> Backend {
    Backend { dialect, ..backend(name, engine, &[origin.address()]) }
}

fn gateway(io: Io, origin: &Origin) -> Gateway {
    let setup = Setup::new()
        .backend(vendor("chat", Engine::Openai, Dialect::OpenaiChat, origin))
        .backend(vendor("responses", Engine::Openai, Dialect::OpenaiResponses, origin))
        .backend(vendor("anthropic", Engine::Anthropic, Dialect::AnthropicMessages, origin))
        .backend(vendor("gemini", Engine::Gemini, Dialect::Gemini, origin))
        .backend(http("plain", &[origin.address()]))
        .route(route("chat", prefix("/v1/chat/completions"), "chat"))
        .route(route("embeddings", prefix("/v1/embeddings"), "chat"))
        .route(route("responses", prefix("/v1/responses"), "responses"))
        .route(route("messages", prefix("/v1/messages"), "anthropic"))
        .route(route("gemini", prefix("/v1beta/models"), "gemini"))
        .route(route("plain", prefix("/"), "plain"))
        .tune(|snapshot| snapshot.limits.request_body = Bytes::from_kib(BODY_KIB_MAX));
    Gateway::start(io, setup)
}

fn request_for(exchange: &Exchange, number: usize, under: &str) -> Vec<u8> {
    let head = format!(
        "{} {under}{} HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/json\r\n{ASK_FIELD}: {number}\r\n",
        exchange.method, exchange.path
    );
    let body = &exchange.request;
    if number.is_multiple_of(3) && !body.is_empty() {
        let half = [body.len() / 2 + 1];
        return [head.as_bytes(), b"Transfer-Encoding: chunked\r\n\r\n", &reader::chunked(body, &half)]
            .concat();
    }
    [head.as_bytes(), format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// What is remembered of one replay.
struct Replayed {
    /// Its `x-request-id`.
    id: String,
    /// Whether its answer said that it is an event stream: else nobody looks for events in it.
    events: bool,
}

/// Replays all under a path prefix.
fn replay(gateway: &Gateway, all: &[Exchange], under: &str) -> HashMap<String, Replayed> {
    let mut caller = gateway.connect();
    let mut ids = HashMap::new();
    let mut broken = Vec::new();
    for (number, exchange) in all.iter().enumerate() {
        caller.send(request_for(exchange, number, under));
        let answer = caller.answer_to(&exchange.method);
        if answer.status() != exchange.status {
            broken.push(format!("{under}{}: {} {}", exchange.file, answer.status(), answer.text()));
        } else if exchange.stops_early && under.is_empty() {
            if !ends_in_an_error(&answer, &exchange.response) {
                broken.push(format!("{}: ends with {:?}", exchange.file, answer.text()));
            }
        } else if answer.body != exchange.response {
            broken.push(format!(
                "{under}{}: {}",
                exchange.file,
                difference(&answer.body, &exchange.response)
            ));
        }
        if let Some(id) = answer.head.one("x-request-id") {
            let events = exchange.content_type.starts_with("text/event-stream");
            ids.insert(exchange.file.clone(), Replayed { id, events });
        }
        if answer.says_close() || answer.cut.is_some() {
            caller = gateway.connect();
        }
    }
    let shown = broken.len().min(40);
    assert!(broken.is_empty(), "{} of {} broken:\n{}", broken.len(), all.len(), broken[..shown].join("\n"));
    ids
}

/// Whether the answer is what came and then an error event of ours, and breaks off behind it.
fn ends_in_an_error(answer: &Answer, came: &[u8]) -> bool {
    let told = answer.body.strip_prefix(came).and_then(|rest| std::str::from_utf8(rest).ok());
    !answer.whole() && told.is_some_and(|told| told.contains("error") && told.ends_with("\n\n"))
}

fn difference(got: &[u8], want: &[u8]) -> String {
    let at = got.iter().zip(want).position(|(a, b)| a != b).unwrap_or(got.len().min(want.len()));
    format!("{} of {} bytes, differing at {at}", got.len(), want.len())
}

#[test]
fn every_recorded_exchange_is_relayed_byte_for_byte_and_counted_as_its_vendor_counts() {
    let fixtures = Fixtures::for_part("providers/manifest.jsonl");
    let all = Arc::new(exchanges(&fixtures));
    println!("{} recorded exchanges", all.len());
    each_driver(|io| {
        let complaints = Complaints::default();
        let origin = replaying(all.clone(), complaints.clone());
        let gateway = gateway(io, &origin);
        let ids = replay(&gateway, &all, "");
        replay(&gateway, &all, "/plain");
        let complaints = complaints.lock().expect("nobody panics holding it").clone();
        assert!(complaints.is_empty(), "{complaints:#?}");
        origin.assert_strict();
        let logged = logged(&gateway, all.len() * 2);
        assert_counted(&fixtures, "oracle.jsonl", &ids, &logged);
        assert_counted(&fixtures, "oracle-unary.jsonl", &ids, &logged);
        gateway.finish();
    });
}

/// Lines of the access log by request id, once all are there.
fn logged(gateway: &Gateway, count: usize) -> HashMap<String, Value> {
    let log = gateway.access();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while log.lines().len() < count && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    let by_id = |line: Value| line["request_id"].as_str().map(str::to_owned).map(|id| (id, line.clone()));
    log.lines().into_iter().filter_map(by_id).collect()
}

/// Tokens as the vendor's client reads them, and a first token exactly where there is something to show.
fn assert_counted(
    fixtures: &Fixtures,
    oracle: &str,
    replayed: &HashMap<String, Replayed>,
    logged: &HashMap<String, Value>,
) {
    let mut broken = Vec::new();
    let mut compared = 0;
    for reading in fixtures.lines(oracle).iter().filter(|reading| reading["ok"] == true) {
        let file = reading["file"].as_str().expect("every reading names its file");
        let Some((replayed, line)) = replayed.get(file).and_then(|r| Some((r, logged.get(&r.id)?))) else {
            broken.push(format!("{file}: no line in the access log"));
            continue;
        };
        if line["route"] == "plain" {
            continue; // nothing is read there
        }
        compared += 1;
        for (member, field) in [("input", "tokens_in"), ("output", "tokens_out")] {
            let want = reading["tokens"][member].as_u64();
            let told = line[field].as_u64().filter(|_| line["tokens_estimated"].is_null());
            if told != want {
                broken.push(format!("{file}: {field} is {}, the vendor's client read {want:?}", line[field]));
            }
        }
        let first = line["first_token_ms"].is_number();
        if replayed.events && shows_output(reading).is_some_and(|shows| shows != first) {
            broken.push(format!("{file}: first_token_ms is {}, output: {}", line["first_token_ms"], !first));
        }
    }
    println!("{oracle}: {compared} compared");
    let shown = broken.len().min(40);
    assert!(broken.is_empty(), "{oracle}: {} broken:\n{}", broken.len(), broken[..shown].join("\n"));
}

/// Whether the stream has model output. Unknown where the vendor's reader shows none and yet tokens were made:
/// it does not list every kind of call.
fn shows_output(reading: &Value) -> Option<bool> {
    let text = |member: &str| reading[member].as_str().is_some_and(|text| !text.is_empty());
    let calls = |member: &str| reading[member].as_array().is_some_and(|calls| !calls.is_empty());
    let refusal = text("refusal") && reading["dialect"] != "gemini"; // there it is why nothing was made
    let shows =
        text("text") || text("reasoning") || refusal || calls("tool_calls") || calls("server_tool_calls");
    let made = reading["tokens"]["output"].as_u64().is_some_and(|tokens| tokens > 0);
    (shows || !made).then_some(shows)
}

/// The observer looks at the same bytes it relays: whatever the stream is, it arrives as it was; behind one without its
/// last event stands what was wrong.
#[test]
fn every_event_stream_case_is_relayed_byte_for_byte_at_any_split() {
    let fixtures = Fixtures::for_part("sse/cases.jsonl");
    let cases: Vec<Vec<u8>> =
        fixtures.lines("sse/cases.jsonl").iter().map(|case| bytes(case, "input_base64")).collect();
    println!("{} streams", cases.len());
    let cases = Arc::new(cases);
    each_driver(|io| {
        let streams = cases.clone();
        let origin = Origin::start(move |peer| {
            while let Some(request) = peer.request() {
                let Some(number) = request.head.one(ASK_FIELD).and_then(|n| n.parse::<usize>().ok()) else {
                    return;
                };
                let stream = &streams[number / 2];
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
                peer.send(head);
                for piece in stream.chunks(1 + number % 7) {
                    peer.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
                }
                peer.send("0\r\n\r\n");
            }
        });
        let gateway = gateway(io, &origin);
        let mut caller: Client = gateway.connect();
        for number in 0..cases.len() * 2 {
            let body = r#"{"model":"m","stream":true,"messages":[]}"#;
            let path = if number.is_multiple_of(2) { "/v1/chat/completions" } else { "/plain" };
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\n{ASK_FIELD}: {number}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let answer = caller.ask(head + body);
            let want = &cases[number / 2];
            if path == "/plain" || answer.whole() {
                assert!(answer.body == *want, "stream {number}: {}", difference(&answer.body, want));
                assert!(answer.whole(), "stream {number}: {:?}", answer.cut);
            } else {
                // It has no last event: told where an event may follow, and broken off in any case.
                let told = ends_in_an_error(&answer, want);
                assert!(told || answer.body == *want, "stream {number}: {}", difference(&answer.body, want));
                caller = gateway.connect();
            }
        }
        drop(caller);
        gateway.finish();
    });
}
