//! Signs of life in silent streams: between events and while a caller still waits; never inside an event, never behind
//! the last one, and for callers of Gemini's never a comment.
//!
//! Owns: the claims about heartbeats, over real sockets. Servers go on when they are told to, so nothing hangs on time.
//! Must not: claim how often one comes.
//! Read next: `translate.rs`, translated streams that are not silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ringway_contract::Millis;
use ringway_contract::snapshot::{Admission, Engine, Heartbeat};
use ringway_tests::client::post;
use ringway_tests::http::{BodyReader, Framing, chunked, find, take_head};
use ringway_tests::setup::{backend, prefix, route};
use ringway_tests::{Client, End, Gateway, Io, Origin, Peer, Setup, each_driver};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const GEMINI: &str = "/v1beta/models/m:streamGenerateContent?alt=sse";
const PING: &[u8] = b": ping\n\n";
const ANTHROPIC_PING: &[u8] = b"event: ping\ndata: {\"type\": \"ping\"}\n\n";
/// The grain of all waits is a tenth of a second.
const EVERY: Millis = Millis::new(100);

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A server that sends its answer in steps, each when it is told to.
struct Stepwise {
    origin: Origin,
    steps: Arc<AtomicUsize>,
}

impl Stepwise {
    fn start(answer: Vec<Vec<u8>>) -> Self {
        let steps = Arc::new(AtomicUsize::new(0));
        let allowed = Arc::clone(&steps);
        let origin = Origin::start(move |peer: &mut Peer| {
            while peer.request().is_some() {
                for (at, part) in answer.iter().enumerate() {
                    let deadline = Instant::now() + Duration::from_secs(30);
                    while allowed.load(SeqCst) <= at && Instant::now() < deadline {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    if part.is_empty() || !peer.send(part) {
                        return; // an empty step closes
                    }
                }
            }
        });
        Self { origin, steps }
    }

    /// So many steps may be made.
    fn go(&self, steps: usize) {
        self.steps.store(steps, SeqCst);
    }

    fn go_on(&self) {
        self.go(usize::MAX);
    }
}

fn gateway(io: Io, engine: Engine, server: &Stepwise, heartbeat: Heartbeat) -> Gateway {
    Gateway::start(io, setup(engine, server, heartbeat))
}

fn setup(engine: Engine, server: &Stepwise, heartbeat: Heartbeat) -> Setup {
    let setup = Setup::new().backend(backend("model", engine, &[server.origin.address()])).route(route(
        "all",
        prefix("/"),
        "model",
    ));
    setup.tune(|snapshot| snapshot.routes[0].heartbeat = Some(heartbeat))
}

const fn begun() -> Heartbeat {
    Heartbeat { every_ms: EVERY, commit_after_ms: None }
}

const fn early() -> Heartbeat {
    Heartbeat { every_ms: EVERY, commit_after_ms: Some(EVERY) }
}

fn coded(event: &str) -> Vec<u8> {
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

const LAST: &[u8] = b"0\r\n\r\n";

fn request(path: &str, stream: bool) -> Vec<u8> {
    let body = match path {
        GEMINI => json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
        RESPONSES => json!({"model": "m", "stream": stream, "input": "hi"}),
        _ => json!({"model": "m", "stream": stream, "max_tokens": 9,
                    "messages": [{"role": "user", "content": "hi"}]}),
    };
    post(path, body.to_string())
}

fn delta(text: &str) -> String {
    format!(
        "data: {}\n\n",
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
               "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]})
    )
}

fn stop() -> String {
    format!(
        "data: {}\n\n",
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
               "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    )
}

const DONE: &str = "data: [DONE]\n\n";

fn gemini_events() -> Vec<String> {
    let event = |text: &str, reason: Value| {
        let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": [{"text": text}]}});
        candidate["finishReason"] = reason;
        format!("data: {}\n\n", json!({"candidates": [candidate], "modelVersion": "m"}))
    };
    vec![event("Hello ", Value::Null), event("there", json!("STOP"))]
}

fn anthropic_events() -> Vec<String> {
    [
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
            "model": "m", "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 7, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
            "usage": {"output_tokens": 12}}),
        json!({"type": "message_stop"}),
    ]
    .iter()
    .map(|data| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().expect("a type")))
    .collect()
}

/// What a caller has got so far, framing and all.
struct Heard {
    caller: Client,
    bytes: Vec<u8>,
}

impl Heard {
    fn ask(gateway: &Gateway, request: Vec<u8>) -> Self {
        let mut caller = gateway.connect().patient(Duration::from_secs(20));
        caller.send(request);
        Self { caller, bytes: Vec::new() }
    }

    fn until(&mut self, needle: &[u8]) {
        self.bytes.extend(self.caller.take_until(needle));
    }

    /// Reads on until so many of these came in all.
    fn count(&mut self, needle: &[u8], count: usize) {
        while occurrences(&self.bytes, needle) < count {
            self.bytes.extend(self.caller.take(1));
        }
    }

    /// The decoded body, as far as it came; whether its end came too.
    fn body(&self) -> (String, bool) {
        let mut bytes = self.bytes.clone();
        let head = take_head(&mut bytes).expect("HTTP").expect("a whole head");
        assert_eq!(head.status(), 200, "{}", head.text());
        assert!(head.one("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")));
        let mut reader = BodyReader::new(Framing::Chunked);
        let whole = reader.feed(&mut bytes).expect("chunks");
        (String::from_utf8(reader.body).expect("text"), whole)
    }

    /// Reads to the last chunk; the body.
    fn whole(&mut self) -> String {
        self.until(LAST);
        let (text, whole) = self.body();
        assert!(whole, "{text}");
        text
    }

    /// Reads until the connection ends; the body, which must have been broken off.
    fn broken_off(&mut self) -> String {
        let (rest, end) = self.caller.rest_within(Duration::from_secs(20));
        self.bytes.extend(rest);
        let (text, whole) = self.body();
        assert!(!whole && end != End::Open, "{end:?} {text}");
        text
    }
}

fn occurrences(hay: &[u8], needle: &[u8]) -> usize {
    hay.windows(needle.len()).filter(|window| *window == needle).count()
}

fn without(text: &str, beat: &[u8]) -> String {
    text.replace(std::str::from_utf8(beat).expect("text"), "")
}

#[test]
fn a_silent_stream_is_kept_open_between_events_and_its_events_come_as_they_are() {
    each_driver(|io| {
        let (one, two) = (delta("Hel"), delta("lo"));
        let steps =
            vec![HEAD.into(), coded(&one), coded(&two), [&coded(&stop()), &coded(DONE)[..], LAST].concat()];
        let server = Stepwise::start(steps);
        let gateway = gateway(io, Engine::Vllm, &server, begun());
        let mut heard = Heard::ask(&gateway, request(CHAT, true));
        server.go(1);
        heard.count(PING, 2); // before the first event
        server.go(2);
        heard.until(b"Hel\"");
        let before = occurrences(&heard.bytes, PING);
        heard.count(PING, before + 2); // between two
        server.go_on();
        let text = heard.whole();
        assert_eq!(without(&text, PING), [one, two, stop(), DONE.to_owned()].concat());
        assert!(gateway.metric(&["ringway_heartbeats_total"]) > 3.5);
        assert_eq!(gateway.access().line_for(CHAT)["outcome"], "complete");
        drop(heard);
        gateway.finish();
    });
}

#[test]
fn nothing_is_put_into_an_event_or_a_chunk_or_behind_the_last_event() {
    each_driver(|io| {
        let event = delta("Hello");
        let (front, back) = event.split_at(20);
        let whole_event = coded(&event);
        let (half_chunk, other_half) = whole_event.split_at(30);
        let steps = vec![
            [HEAD.as_bytes(), &coded(&event)].concat(),
            coded(front), // half an event, a whole chunk
            coded(back),
            half_chunk.to_vec(),
            other_half.to_vec(),
            [&coded(&stop()), &coded(DONE)[..]].concat(),
            LAST.to_vec(),
        ];
        let server = Stepwise::start(steps);
        let gateway = gateway(io, Engine::Vllm, &server, begun());
        let mut heard = Heard::ask(&gateway, request(CHAT, true));
        server.go(1);
        heard.count(PING, 1);
        for (step, shut) in [(2, true), (3, false), (4, true), (5, false), (6, true)] {
            let before = occurrences(&heard.bytes, PING);
            server.go(step);
            if shut {
                std::thread::sleep(Duration::from_millis(5 * EVERY.get()));
            } else {
                heard.count(PING, before + 1);
            }
        }
        server.go_on();
        let text = heard.whole();
        let expected = [&event, &event, &event, &stop(), DONE].map(str::to_owned).concat();
        assert_eq!(without(&text, PING), expected);
        assert!(text.ends_with(DONE), "{text}");
        drop(heard);
        gateway.finish();
    });
}

#[test]
fn callers_of_gemini_get_blank_lines_and_never_a_comment() {
    each_driver(|io| {
        let events = gemini_events();
        let steps = vec![HEAD.into(), coded(&events[0]), [&coded(&events[1]), LAST].concat()];
        let server = Stepwise::start(steps);
        let gateway = gateway(io, Engine::Gemini, &server, begun());
        let mut heard = Heard::ask(&gateway, request(GEMINI, true));
        server.go(2);
        heard.until(b"Hello ");
        heard.count(b"\r\n1\r\n\n\r\n", 2);
        server.go_on();
        let text = heard.whole();
        assert!(text.contains("\n\n\n\n"), "{text:?}");
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        assert!(lines.len() == 2 && lines.iter().all(|line| line.starts_with("data: {")), "{text:?}");
        drop(heard);
        gateway.finish();
    });
}

#[test]
fn callers_of_anthropic_get_the_ping_that_is_its_own() {
    each_driver(|io| {
        let events = anthropic_events();
        let steps = vec![
            [HEAD.as_bytes(), &coded(&events[..3].concat())].concat(),
            [&coded(&events[3..].concat()), LAST].concat(),
        ];
        let server = Stepwise::start(steps);
        let gateway = gateway(io, Engine::Anthropic, &server, begun());
        let mut heard = Heard::ask(&gateway, request(MESSAGES, true));
        server.go(1);
        heard.count(ANTHROPIC_PING, 2);
        server.go_on();
        let text = heard.whole();
        assert_eq!(without(&text, ANTHROPIC_PING), events.concat());
        drop(heard);
        gateway.finish();
    });
}

#[test]
fn translated_streams_are_kept_open_in_the_callers_words() {
    each_driver(|io| {
        for (path, beat, last) in [
            (MESSAGES, &b"event: ping\n"[..], "message_stop"),
            (RESPONSES, PING, "response.completed"),
            (GEMINI, b"\r\n1\r\n\n\r\n", "STOP"),
        ] {
            let steps = vec![
                [HEAD.as_bytes(), &coded(&delta("Hello"))].concat(),
                [&coded(&stop()), &coded(DONE)[..], LAST].concat(),
            ];
            let server = Stepwise::start(steps);
            let gateway = gateway(io, Engine::Vllm, &server, begun());
            let mut heard = Heard::ask(&gateway, request(path, true));
            server.go(1);
            heard.until(b"Hello");
            heard.count(beat, 2);
            server.go_on();
            let text = heard.whole();
            assert!(find(text.as_bytes(), last.as_bytes()).is_some(), "{path}: {text}");
            let end = text.rfind(last).expect("just found");
            assert!(!text[end..].contains("ping") && !text.ends_with("\n\n\n"), "{path}: {text}");
            assert!(path != GEMINI || text.lines().all(|line| !line.starts_with(':')), "{text}");
            drop(heard);
            gateway.finish();
        }
    });
}

#[test]
fn a_caller_that_waits_for_its_first_byte_is_answered_early_and_then_gets_all_of_it() {
    each_driver(|io| {
        let events = [delta("Hello"), stop(), DONE.to_owned()].concat();
        let plain = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
        let counted = format!("{plain}Content-Length: {}\r\n\r\n{events}", events.len());
        let until_close = format!("{plain}Connection: close\r\n\r\n{events}");
        let in_chunks = [HEAD.as_bytes(), &chunked(events.as_bytes(), &[7])].concat();
        for (answer, closes) in [(in_chunks, false), (counted.into(), false), (until_close.into(), true)] {
            let server = Stepwise::start(if closes { vec![answer, Vec::new()] } else { vec![answer] });
            let gateway = gateway(io, Engine::Vllm, &server, early());
            let mut heard = Heard::ask(&gateway, request(CHAT, true));
            heard.count(PING, 3);
            assert_eq!(server.origin.requests().len(), 1);
            server.go_on();
            assert_eq!(without(&heard.whole(), PING), events);
            let line = gateway.access().line_for(CHAT);
            assert_eq!((&line["outcome"], &line["status"]), (&json!("complete"), &json!(200)), "{line}");
            heard.caller.send(request(CHAT, true));
            assert_eq!(heard.caller.answer().text(), events, "the connection serves again");
            drop(heard);
            gateway.finish();
        }
    });
}

#[test]
fn a_translated_answer_follows_an_early_head_too() {
    each_driver(|io| {
        for (path, waits, last) in
            [(MESSAGES, PING, "message_stop"), (GEMINI, &b"\r\n1\r\n\n\r\n"[..], "STOP")]
        {
            let steps = vec![
                HEAD.into(),
                [&coded(&delta("Hello")), &coded(&stop())[..], &coded(DONE), LAST].concat(),
            ];
            let server = Stepwise::start(steps);
            let gateway = gateway(io, Engine::Vllm, &server, early());
            let mut heard = Heard::ask(&gateway, request(path, true));
            heard.count(waits, 2); // before the backend's head
            server.go(1);
            let before = occurrences(&heard.bytes, waits);
            heard.count(waits, before + 2); // behind it
            server.go_on();
            let text = heard.whole();
            assert!(text.contains("Hello") && text.contains(last), "{path}: {text}");
            assert_eq!(occurrences(&heard.bytes, b"HTTP/1.1 200"), 1);
            drop(heard);
            gateway.finish();
        }
    });
}

#[test]
fn an_error_behind_an_early_head_is_an_event_of_the_dialect_and_the_stream_breaks_off() {
    let error =
        json!({"error": {"message": "the prompt is bad", "type": "invalid_request_error"}}).to_string();
    let told = format!(
        "HTTP/1.1 400 X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{error}",
        error.len()
    );
    let whole = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let answers = [(told.as_str(), "the prompt is bad"), ("", "closed"), (whole, "")];
    each_driver(|io| {
        for (path, engine, begins) in [
            (CHAT, Engine::Vllm, "data: {\"error\":{\"message\""),
            (RESPONSES, Engine::Openai, "event: error\ndata: {\"type\":\"error\""),
            (MESSAGES, Engine::Anthropic, "event: error\ndata: {\"type\":\"error\""),
            (GEMINI, Engine::Gemini, "data: {\"error\":{\"code\":"),
            (MESSAGES, Engine::Vllm, "event: error\ndata: {\"type\":\"error\""),
            (GEMINI, Engine::Vllm, "data: {\"error\":{\"code\":"),
        ] {
            for (answer, says) in answers {
                if answer == whole && engine == Engine::Vllm && path != CHAT {
                    continue; // a whole answer becomes a stream, see `translate.rs`
                }
                let server = Stepwise::start(vec![answer.into()]);
                let mut setup = setup(engine, &server, early());
                if path == RESPONSES {
                    setup.snapshot.backends[0].dialect = ringway_contract::snapshot::Dialect::OpenaiResponses;
                }
                let gateway = Gateway::start(io, setup);
                let mut heard = Heard::ask(&gateway, request(path, true));
                heard.until(if path == GEMINI { b"1\r\n\n\r\n" } else { PING });
                server.go_on();
                let text = heard.broken_off();
                let events = without(&text, PING);
                let events = events.trim_start_matches('\n');
                assert!(events.starts_with(begins) && events.contains(says), "{path} {engine:?}: {text}");
                assert!(events.ends_with("}\n\n"), "{path}: {text}");
                drop(heard);
                gateway.finish();
            }
        }
    });
}

#[test]
fn a_caller_that_waits_in_a_queue_hears_that_it_does_and_a_refusal_as_an_event() {
    each_driver(|io| {
        let answer = [HEAD.as_bytes(), &coded(&delta("a")), &coded(&stop()), &coded(DONE), LAST].concat();
        let server = Stepwise::start(vec![answer]);
        let setup = setup(Engine::Vllm, &server, early()).tune(|snapshot| {
            let waits = [Millis::from_secs(2); 3];
            snapshot.backends[0].admission = Some(Admission { wait_ms: waits, ..Admission::default() });
            snapshot.backends[0].endpoints[0].hardware.prefill_tokens_per_s = Some(8);
        });
        let gateway = Gateway::start(io, setup);
        let mut first = Heard::ask(&gateway, request(CHAT, true));
        first.count(PING, 1);
        let mut second = Heard::ask(&gateway, request(CHAT, true));
        second.count(PING, 2);
        assert_eq!(server.origin.requests().len(), 1, "it waits here");
        let text = second.broken_off();
        assert!(without(&text, PING).starts_with("data: {\"error\":{\"message\""), "{text}");
        let line = gateway.access().wait_for("the refusal", |line| line["reason"] == "pool_full");
        assert_eq!((&line["outcome"], &line["status"]), (&json!("refused"), &json!(200)), "{line}");
        server.go_on();
        first.whole();
        drop((first, second));
        gateway.finish();
    });
}

#[test]
fn nothing_is_committed_for_who_wants_no_stream_or_where_the_operator_did_not_say_so() {
    each_driver(|io| {
        for (stream, heartbeat) in [(true, begun()), (false, early())] {
            let refused = "HTTP/1.1 400 X\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
            let server = Stepwise::start(vec![refused.into()]);
            let gateway = gateway(io, Engine::Vllm, &server, heartbeat);
            let mut caller = gateway.connect().patient(Duration::from_secs(20));
            caller.send(request(CHAT, stream));
            server.origin.wait_for("the request", |records| records.iter().any(|it| !it.requests.is_empty()));
            std::thread::sleep(Duration::from_millis(5 * EVERY.get()));
            server.go_on();
            assert_eq!(caller.answer().status(), 400, "{stream}");
            assert!(gateway.metric(&["ringway_heartbeats_total"]) < 0.5);
            drop(caller);
            gateway.finish();
        }
    });
}

#[test]
fn heartbeats_do_not_hide_a_server_that_has_gone_silent_for_good() {
    each_driver(|io| {
        let server = Stepwise::start(vec![[HEAD.as_bytes(), &coded(&delta("a"))].concat(), Vec::new()]);
        let setup = setup(Engine::Vllm, &server, begun())
            .route_timeouts(|timeouts| timeouts.idle_ms = Millis::new(800));
        let gateway = Gateway::start(io, setup);
        let mut heard = Heard::ask(&gateway, request(CHAT, true));
        server.go(1);
        let text = heard.broken_off();
        assert!(text.contains(": ping\n\n") && text.contains("\"error\""), "{text}");
        assert_eq!(gateway.access().reason_for(CHAT), "up_idle_timeout");
        gateway.finish();
    });
}

#[test]
fn a_caller_that_leaves_during_a_wait_of_heartbeats_cancels_its_request() {
    each_driver(|io| {
        let server = Stepwise::start(vec![HEAD.into()]);
        let gateway = gateway(io, Engine::Vllm, &server, early());
        let mut heard = Heard::ask(&gateway, request(CHAT, true));
        heard.count(PING, 2);
        drop(heard);
        assert_eq!(gateway.access().reason_for(CHAT), "client_gone_wait");
        server.go_on();
        server.origin.wait_for_end(0);
        gateway.finish();
    });
}
