//! What a client sees of a simulated server, over real sockets and byte by byte.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use ringway_gpusim::{
    Fleet, FleetSpec, Plan, Preset, Unit,
    fault::MetricsMode,
    plan::{HeadAt, MetricsDialect},
    text::Seed,
};
use serde_json::Value;

fn fleet(time_scale: f64) -> Fleet {
    Fleet::start(FleetSpec { replicas: 2, time_scale, ..FleetSpec::default() })
        .expect("loopback can be bound")
}

fn dial(fleet: &Fleet, replica: usize) -> TcpStream {
    let stream = TcpStream::connect(fleet.addresses()[replica]).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a valid timeout");
    stream
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: sim\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: sim\r\n\r\n")
}

/// Sends `bytes` on a fresh connection, says it is the last, and returns all that comes back.
fn talk(fleet: &Fleet, replica: usize, bytes: &str) -> String {
    let mut stream = dial(fleet, replica);
    let last = bytes.replace("host: sim\r\n", "host: sim\r\nconnection: close\r\n");
    stream.write_all(last.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, then the end");
    answer
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head").1
}

fn json(answer: &str) -> Value {
    serde_json::from_str(body(answer)).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// The body of an answer in chunked coding.
fn decoded(answer: &str) -> String {
    let mut rest = body(answer);
    let mut out = String::new();
    loop {
        let (size, tail) = rest.split_once("\r\n").expect("a size line");
        let size = usize::from_str_radix(size, 16).expect("a hex size");
        out.push_str(&tail[..size]);
        assert_eq!(&tail[size..size + 2], "\r\n");
        rest = &tail[size + 2..];
        if size == 0 {
            assert_eq!(rest, "", "nothing follows the last coded chunk");
            return out;
        }
    }
}

fn metric(fleet: &Fleet, replica: usize, name: &str) -> f64 {
    let page = talk(fleet, replica, &get("/metrics"));
    assert!(page.contains("content-type: text/plain; version=0.0.4"), "{page}");
    let line = page.lines().find(|line| line.starts_with(&format!("{name}{{"))).expect("the series is there");
    line.rsplit(' ').next().expect("a value").parse().expect("a number")
}

#[test]
fn a_stream_has_one_event_per_token_then_the_usage_then_done() {
    let fleet = fleet(20.0);
    let ask = r#"{"model":"demo","messages":[{"role":"user","content":"hello there"}],"stream":true,
        "max_tokens":12,"ignore_eos":true,"stream_options":{"include_usage":true}}"#;
    let answer = talk(&fleet, 0, &post("/v1/chat/completions", ask));
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("content-type: text/event-stream\r\n")
    );
    let stream = decoded(&answer);
    let events: Vec<&str> = stream.split_terminator("\n\n").map(|event| &event["data: ".len()..]).collect();
    assert_eq!(events.len(), 12 + 1 + 1);
    assert_eq!(events[13], "[DONE]");
    let events: Vec<Value> =
        events[..13].iter().map(|event| serde_json::from_str(event).expect("JSON")).collect();
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let text: String = events[..12]
        .iter()
        .map(|event| event["choices"][0]["delta"]["content"].as_str().expect("text"))
        .collect();
    assert_eq!(text, Seed::of("hello there").text(12));
    assert_eq!(events[11]["choices"][0]["finish_reason"], "length");
    assert_eq!(events[10]["choices"][0]["finish_reason"], Value::Null);
    assert_eq!(events[12]["choices"], serde_json::json!([]));
    assert_eq!(
        events[12]["usage"],
        serde_json::json!({"prompt_tokens": 3, "completion_tokens": 12, "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 0}})
    );
    assert!(events.iter().all(|event| event["id"] == events[0]["id"] && event["model"] == "demo"));
}

#[test]
fn unary_answers_say_the_same_as_streams_and_stop_by_themselves() {
    let fleet = fleet(50.0);
    let seed = Seed::of("hi");
    let tokens = seed.natural_tokens();
    let chat = talk(
        &fleet,
        1,
        &post(
            "/v1/chat/completions",
            r#"{"model":"demo","messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"max_tokens":500}"#,
        ),
    );
    let chat = json(&chat);
    assert_eq!(chat["object"], "chat.completion");
    assert_eq!(chat["choices"][0]["message"]["content"], seed.text(tokens));
    assert_eq!(chat["choices"][0]["finish_reason"], "stop");
    assert_eq!(chat["usage"]["completion_tokens"], tokens);
    let plain =
        talk(&fleet, 1, &post("/v1/completions", r#"{"model":"demo","prompt":["hi"],"max_tokens":7}"#));
    let plain = json(&plain);
    assert_eq!(plain["object"], "text_completion");
    assert_eq!(plain["choices"][0]["text"], seed.text(7));
    assert_eq!(plain["choices"][0]["finish_reason"], "length");
}

#[test]
fn messages_come_in_the_order_that_dialect_prescribes() {
    let fleet = fleet(50.0);
    let ask = r#"{"model":"demo","max_tokens":3,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let stream = decoded(&talk(&fleet, 0, &post("/v1/messages", ask)));
    let names: Vec<&str> = stream.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(
        names,
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    let unary = json(&talk(&fleet, 0, &post("/v1/messages", &ask.replace("true", "false"))));
    assert_eq!(unary["content"][0]["text"], Seed::of("hi").text(3));
    assert_eq!(unary["stop_reason"], "max_tokens");
    assert_eq!(unary["usage"]["output_tokens"], 3);
    let count = json(&talk(&fleet, 0, &post("/v1/messages/count_tokens", ask)));
    assert_eq!(count["input_tokens"], 1);
}

#[test]
fn what_cannot_be_served_is_refused_in_the_dialect_of_its_path() {
    let fleet = fleet(50.0);
    let cases = [
        (
            "/v1/chat/completions",
            r#"{"model":"other","messages":[{"role":"user","content":"x"}]}"#,
            "404",
            "/error/code",
            "model_not_found",
        ),
        ("/v1/chat/completions", "{", "400", "/error/type", "invalid_request_error"),
        ("/v1/chat/completions", r#"{"model":"demo","messages":[]}"#, "400", "/error/param", "messages"),
        (
            "/v1/chat/completions",
            r#"{"model":"demo","messages":[{"role":"user","content":"x"}],"n":2}"#,
            "400",
            "/error/param",
            "n",
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"demo","messages":[{"role":"user","content":"x"}],"max_tokens":500000}"#,
            "400",
            "/error/param",
            "messages",
        ),
        (
            "/v1/messages",
            r#"{"model":"other","max_tokens":1,"messages":[{"role":"user","content":"x"}]}"#,
            "404",
            "/error/type",
            "not_found_error",
        ),
        (
            "/v1/messages",
            r#"{"model":"demo","messages":[{"role":"user","content":"x"}]}"#,
            "400",
            "/type",
            "error",
        ),
        ("/v1/nothing", "{}", "404", "/error/type", "invalid_request_error"),
        ("/health", "{}", "405", "/error/type", "invalid_request_error"),
    ];
    for (path, ask, status, pointer, want) in cases {
        let answer = talk(&fleet, 0, &post(path, ask));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {ask}: {answer}");
        assert_eq!(
            json(&answer).pointer(pointer).and_then(Value::as_str),
            Some(want),
            "{path} {ask}: {answer}"
        );
    }
    assert_eq!(metric(&fleet, 0, "vllm:num_requests_running") as u64, 0);
}

#[test]
fn pipelined_requests_are_answered_in_order_on_one_connection() {
    let fleet = fleet(50.0);
    let mut stream = dial(&fleet, 0);
    let ask = |n: u32| {
        post(
            "/v1/completions",
            &format!(r#"{{"model":"demo","prompt":"{n}","max_tokens":2,"ignore_eos":true}}"#),
        )
    };
    let all: String = (0..5).map(ask).collect::<String>()
        + &get("/v1/models").replace("sim\r\n", "sim\r\nconnection: close\r\n");
    stream.write_all(all.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the last one closes");
    let mut at = 0;
    for n in 0..5 {
        let text = serde_json::to_string(&Seed::of(&n.to_string()).text(2)).expect("JSON");
        at += answer[at..].find(&text).unwrap_or_else(|| panic!("answer {n} is missing or early: {answer}"));
    }
    assert!(answer[at..].contains(r#""owned_by":"ringway-gpusim""#));
}

#[test]
fn a_client_that_asks_first_is_told_to_continue() {
    let fleet = fleet(50.0);
    let mut stream = dial(&fleet, 0);
    let body = r#"{"model":"demo","prompt":"x","max_tokens":1}"#;
    write!(
        stream,
        "POST /v1/completions HTTP/1.1\r\nhost: sim\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .expect("sent");
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).expect("an interim answer before the body");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn a_client_that_leaves_frees_its_slot() {
    let fleet = fleet(1.0);
    let ask = r#"{"model":"demo","prompt":"x","max_tokens":5000,"ignore_eos":true,"stream":true}"#;
    let mut leaving = Vec::new();
    for _ in 0..20 {
        let mut stream = dial(&fleet, 1);
        stream.write_all(post("/v1/completions", ask).as_bytes()).expect("sent");
        let mut some = [0; 400];
        stream.read_exact(&mut some).expect("the stream has begun");
        leaving.push(stream);
    }
    assert_eq!(metric(&fleet, 1, "vllm:num_requests_running") as u64, 20);
    assert_eq!(metric(&fleet, 0, "vllm:num_requests_running") as u64, 0, "the other server is not concerned");
    for (index, stream) in leaving.iter().enumerate() {
        let how = if index % 2 == 0 { Shutdown::Both } else { Shutdown::Write };
        stream.shutdown(how).expect("open until now");
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while metric(&fleet, 1, "vllm:num_requests_running") > 0.0 {
        assert!(Instant::now() < deadline, "slots were not freed");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(metric(&fleet, 1, "sim_cancelled_total") as u64, 20);
    assert!(metric(&fleet, 1, "vllm:generation_tokens_total") < 20.0 * 5000.0 / 2.0);
}

#[test]
fn tokens_leave_at_the_pace_of_the_steps() {
    let fleet = fleet(1.0);
    let ask = r#"{"model":"demo","prompt":"x","max_tokens":40,"ignore_eos":true,"stream":true}"#;
    let began = Instant::now();
    decoded(&talk(&fleet, 0, &post("/v1/completions", ask)));
    let took = began.elapsed().as_secs_f64() * 1_000.0;
    // 40 steps of 7.1 ms; a busy machine may add to that, nothing may shorten it.
    assert!((283.0..2_000.0).contains(&took), "{took} ms");
}

/// A fleet of one server that is not like the others.
fn special(unit: Unit, time_scale: f64, faults: &[&str]) -> Fleet {
    let faults = faults.iter().map(|fault| fault.parse().expect("a fault")).collect();
    let adapters = vec!["poet".to_owned(), "lawyer".to_owned()];
    let plan = Plan { units: vec![unit], time_scale, faults, adapters, ..FleetSpec::default().into() };
    Fleet::start(plan).expect("loopback can be bound")
}

fn h100() -> Unit {
    Unit::new(Preset::H100)
}

fn completion(prompt: &str, more: &str) -> String {
    post("/v1/completions", &format!(r#"{{"model":"demo","prompt":"{prompt}","max_tokens":4{more}}}"#))
}

#[test]
fn a_repeated_prompt_is_found_in_the_cache_unless_it_is_salted() {
    let fleet = fleet(20.0);
    let prompt = "A long enough prompt. ".repeat(60); // 1,320 bytes: 330 tokens, 20 full blocks
    let cached = |more: &str| {
        let answer = json(&talk(&fleet, 0, &completion(&prompt, more)));
        answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().expect("a count")
    };
    assert_eq!(cached(""), 0);
    assert_eq!(cached(""), 320);
    assert_eq!(cached(r#","cache_salt":"x""#), 0);
    assert_eq!(cached(r#","cache_salt":"x""#), 320);
    assert_eq!(metric(&fleet, 0, "vllm:prefix_cache_queries_total") as u64, 4 * 330);
    assert_eq!(metric(&fleet, 0, "vllm:prefix_cache_hits_total") as u64, 2 * 320);
    assert_eq!(metric(&fleet, 0, "vllm:time_to_first_token_seconds_count") as u64, 4);
    assert_eq!(metric(&fleet, 0, "vllm:inter_token_latency_seconds_count") as u64, 12);
    assert_eq!(metric(&fleet, 1, "vllm:prefix_cache_hits_total") as u64, 0);
    let ask =
        format!(r#"{{"model":"demo","max_tokens":1,"messages":[{{"role":"user","content":"{prompt}"}}]}}"#);
    let usage = json(&talk(&fleet, 0, &post("/v1/messages", &ask)))["usage"].clone();
    assert_eq!((&usage["input_tokens"], &usage["cache_read_input_tokens"]), (&10.into(), &320.into()));
}

#[test]
fn gemini_answers_in_one_piece_as_events_and_as_an_array() {
    let fleet = fleet(20.0);
    let ask =
        r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"generationConfig":{"maxOutputTokens":3}}"#;
    let path = |verb: &str| format!("/v1beta/models/demo:{verb}");
    let text = Seed::of("hi").text(3);
    let unary = json(&talk(&fleet, 0, &post(&path("generateContent"), ask)));
    assert_eq!(unary["candidates"][0]["content"]["parts"][0]["text"], text);
    assert_eq!(unary["candidates"][0]["finishReason"], "MAX_TOKENS");
    assert_eq!(
        unary["usageMetadata"],
        serde_json::json!({"promptTokenCount": 1, "candidatesTokenCount": 3, "totalTokenCount": 4})
    );
    let answer = talk(&fleet, 0, &post(&path("streamGenerateContent?alt=sse"), ask));
    assert!(answer.contains("content-type: text/event-stream\r\n"), "{answer}");
    let stream = decoded(&answer);
    let events: Vec<Value> = stream
        .split_terminator("\r\n\r\n")
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").expect("data")).expect("JSON"))
        .collect();
    let answer = talk(&fleet, 0, &post(&path("streamGenerateContent"), ask));
    assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
    let array: Vec<Value> = serde_json::from_str(&decoded(&answer)).expect("an array");
    for parts in [&events, &array] {
        assert_eq!(parts.len(), 3);
        let texts = parts.iter().map(|part| part["candidates"][0]["content"]["parts"][0]["text"].as_str());
        assert_eq!(texts.map(|text| text.expect("text")).collect::<String>(), text);
        assert_eq!(parts[1]["candidates"][0]["finishReason"], Value::Null);
        assert_eq!(parts[2]["usageMetadata"]["totalTokenCount"], 4);
    }
    let count = json(&talk(&fleet, 0, &post(&path("countTokens"), ask)));
    assert_eq!(count["totalTokens"], 1);
    let missing = json(&talk(&fleet, 0, &post("/v1beta/models/other:generateContent", ask)));
    assert_eq!(missing["error"]["status"], "NOT_FOUND");
    let models = json(&talk(&fleet, 0, &get("/v1beta/models")));
    assert_eq!(models["models"][0]["name"], "models/demo");
}

#[test]
fn the_load_is_told_to_whoever_asks_for_it() {
    let fleet = fleet(20.0);
    let ask = |format: &str| {
        let head = format!("host: sim\r\nendpoint-load-metrics-format: {format}\r\n");
        talk(&fleet, 0, &completion("x", r#","stream":true"#).replace("host: sim\r\n", &head))
    };
    let text = ask("TEXT");
    assert!(text.contains("\r\nendpoint-load-metrics: TEXT named_metrics.kv_cache_usage_perc=0."), "{text}");
    assert!(text.contains(", named_metrics.num_requests_waiting=0\r\n"), "{text}");
    assert!(ask("json").contains("\r\nendpoint-load-metrics: JSON {\"named_metrics\":{"));
    assert!(!ask("yaml").contains("endpoint-load-metrics"));
}

#[test]
fn the_head_of_a_stream_leaves_at_admission_or_with_the_first_token() {
    let prompt = "y".repeat(8_192 * 4 / 8); // 1,024 tokens: 28 ms, here 280
    for (head, early) in [(HeadAt::Early, true), (HeadAt::Token, false)] {
        let fleet = special(Unit { head, ..h100() }, 0.1, &[]);
        let mut stream = dial(&fleet, 0);
        stream.write_all(completion(&prompt, r#","stream":true"#).as_bytes()).expect("sent");
        let began = Instant::now();
        let mut some = [0; 4_096];
        let count = stream.read(&mut some).expect("an answer");
        let has_token = String::from_utf8_lossy(&some[..count]).contains("data: ");
        assert_eq!(has_token, !early);
        assert!(early || began.elapsed() > Duration::from_millis(200));
    }
}

#[test]
fn adapters_are_models_of_their_own_and_take_a_slot() {
    let fleet = special(Unit { lora_slots: 1, ..h100() }, 100.0, &[]);
    let models = json(&talk(&fleet, 0, &get("/v1/models")));
    assert_eq!(models["data"][1]["id"], "poet");
    assert_eq!(models["data"][1]["parent"], "demo");
    for (adapter, loads) in [("poet", 1), ("poet", 1), ("lawyer", 2), ("poet", 3)] {
        let ask = post("/v1/completions", &format!(r#"{{"model":"{adapter}","prompt":"x","max_tokens":2}}"#));
        assert_eq!(json(&talk(&fleet, 0, &ask))["model"], adapter);
        assert_eq!(metric(&fleet, 0, "sim_lora_loads_total") as u64, loads);
    }
    let page = talk(&fleet, 0, &get("/metrics"));
    assert!(page.contains("vllm:lora_requests_info{max_lora=\"1\",running_lora_adapters=\"\""), "{page}");
}

#[test]
fn the_metrics_page_is_wrong_in_the_way_that_was_asked_for() {
    let page = |unit: Unit, faults: &[&str]| talk(&special(unit, 10.0, faults), 0, &get("/metrics"));
    let mode = |metrics| page(Unit { metrics, ..h100() }, &[]);
    assert!(mode(MetricsMode::NotFound).starts_with("HTTP/1.1 404 "));
    assert_eq!(body(&mode(MetricsMode::Empty)), "");
    assert!(mode(MetricsMode::Nan).contains("} NaN\n"));
    let began = Instant::now();
    assert!(mode(MetricsMode::Slow).contains("vllm:num_requests_running"));
    assert!(began.elapsed() > Duration::from_millis(499), "five seconds at ten times the pace");
    assert!(page(h100(), &["metrics=404"]).starts_with("HTTP/1.1 404 "));
    assert!(page(h100(), &["metrics=404,at=9m"]).starts_with("HTTP/1.1 200 "));
    let fleet = special(Unit { metrics: MetricsMode::Stale, ..h100() }, 50.0, &[]);
    assert_eq!(metric(&fleet, 0, "vllm:generation_tokens_total") as u64, 0);
    talk(&fleet, 0, &completion("x", ""));
    assert_eq!(metric(&fleet, 0, "vllm:generation_tokens_total") as u64, 0);
    let fleet = special(Unit { dialect: MetricsDialect::Trtllm, ..h100() }, 1.0, &[]);
    assert_eq!(body(&talk(&fleet, 0, &get("/metrics"))), "[]");
    assert!(talk(&fleet, 0, &get("/prometheus/metrics")).contains("\ntrtllm_num_requests_running{"));
}

#[test]
fn a_stuck_server_is_healthy_and_answers_nothing() {
    let fleet = special(Unit { stuck_after: Some(1), ..h100() }, 50.0, &[]);
    assert!(talk(&fleet, 0, &completion("x", "")).starts_with("HTTP/1.1 200 "));
    let mut stream = dial(&fleet, 0);
    stream.write_all(completion("x", "").as_bytes()).expect("sent");
    stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a valid timeout");
    let error = stream.read(&mut [0; 1]).expect_err("nothing comes");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    assert!(talk(&fleet, 0, &get("/health")).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_crash_resets_every_connection_and_a_restart_comes_back_empty() {
    let fleet = special(h100(), 1.0, &["crash,at=1s,for=500ms"]);
    let began = Instant::now();
    let before = metric_line(&fleet, "process_start_time_seconds");
    let mut stream = dial(&fleet, 0);
    let long = r#"{"model":"demo","prompt":"x","max_tokens":4000,"ignore_eos":true,"stream":true}"#;
    stream.write_all(post("/v1/completions", long).as_bytes()).expect("sent");
    let end = stream.read_to_end(&mut Vec::new());
    assert!(end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    assert!(TcpStream::connect(fleet.addresses()[0]).is_err(), "nobody listens");
    while TcpStream::connect(fleet.addresses()[0]).is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "it does not come back");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(began.elapsed() > Duration::from_millis(1_400));
    assert_ne!(metric_line(&fleet, "process_start_time_seconds"), before);
    assert_eq!(metric(&fleet, 0, "vllm:num_requests_running") as u64, 0);
    let fleet = special(Unit { crash_after: Some(1), ..h100() }, 50.0, &[]);
    talk(&fleet, 0, &completion("x", ""));
    let mut stream = dial(&fleet, 0);
    stream.write_all(completion("x", "").as_bytes()).expect("sent");
    assert!(stream.read(&mut [0; 1]).is_err());
    assert!(TcpStream::connect(fleet.addresses()[0]).is_err());
}

fn metric_line(fleet: &Fleet, name: &str) -> String {
    let page = talk(fleet, 0, &get("/metrics"));
    page.lines().find(|line| line.starts_with(name)).expect("the series is there").to_owned()
}

#[test]
fn errors_and_full_queues_are_told_apart() {
    let fleet = special(h100(), 50.0, &["errors=0.5"]);
    let statuses: Vec<_> = (0..40).map(|_| talk(&fleet, 0, &completion("x", ""))[9..12].to_owned()).collect();
    let failed = statuses.iter().filter(|status| *status == "500").count();
    assert!((8..=32).contains(&failed) && statuses.iter().all(|s| s == "200" || s == "500"), "{statuses:?}");
    let fleet = special(Unit { queue_limit: 0, ..h100() }, 1.0, &[]);
    let mut busy = dial(&fleet, 0);
    let long = r#"{"model":"demo","prompt":"x","max_tokens":4000,"ignore_eos":true,"stream":true}"#;
    busy.write_all(post("/v1/completions", long).as_bytes()).expect("sent");
    busy.read_exact(&mut [0; 9]).expect("an idle engine takes it");
    assert!(talk(&fleet, 0, &completion("x", "")).starts_with("HTTP/1.1 503 "));
}

#[test]
fn a_stopped_fleet_listens_no_more() {
    let fleet = fleet(1.0);
    let addresses = fleet.addresses().to_vec();
    let open = dial(&fleet, 0);
    fleet.stop();
    assert!(addresses.iter().all(|address| TcpStream::connect(address).is_err()));
    // The end, or a reset if it was never accepted; what matters is that it does not hang.
    let end = (&open).read(&mut [0; 1]).map_err(|error| error.kind());
    assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "open connections are closed: {end:?}");
}

#[test]
fn a_spec_that_makes_no_sense_is_refused() {
    for spec in [
        FleetSpec { replicas: 0, ..FleetSpec::default() },
        FleetSpec { time_scale: 0.0, ..FleetSpec::default() },
        FleetSpec { time_scale: f64::NAN, ..FleetSpec::default() },
        FleetSpec { model: String::new(), ..FleetSpec::default() },
        FleetSpec { replicas: 9, listen: ([127, 0, 0, 1], 65_530).into(), ..FleetSpec::default() },
    ] {
        assert_eq!(
            Fleet::start(spec).map(drop).map_err(|error| error.kind()),
            Err(std::io::ErrorKind::InvalidInput)
        );
    }
}
