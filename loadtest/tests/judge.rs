//! The harness against simulated servers, which are honest, and against servers that are not.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use ringway_gpusim::{Fleet, FleetSpec, text::Seed};
use ringway_loadtest::{
    Progress, Scenario, Summary, Watch,
    arrival::Arrival,
    lengths::Lengths,
    oracle::Fault,
    prompts::Prompts,
    run,
    scenario::{Ask, Expect, Form, Generation, Load, Raw, Slo, Target},
};

fn generation(form: Form, stream: bool) -> Ask {
    Ask::Tokens(Generation {
        form,
        model: "demo".to_owned(),
        stream,
        prompts: Prompts::Unique { tokens: Lengths::Exactly(20) },
        output: Lengths::Exactly(8),
        ignore_eos: true,
        expect: Expect::Auto,
    })
}

fn scenario(address: SocketAddr, ask: Ask) -> Scenario {
    let path = match &ask {
        Ask::Tokens(Generation { form: Form::Chat, .. }) => "/v1/chat/completions",
        Ask::Tokens(Generation { form: Form::Completion, .. }) => "/v1/completions",
        Ask::Raw(_) => "/health",
    };
    Scenario {
        target: Target::parse(&format!("http://{address}{path}")).expect("a URL"),
        load: Load::Closed { concurrency: 8 },
        duration: None,
        requests: Some(100),
        ask,
        headers: Vec::new(),
        obedient: false,
        timeout: Duration::from_secs(20),
        connections: 64,
        seed: 3,
        slo: Slo::default(),
    }
}

fn fleet() -> Fleet {
    Fleet::start(FleetSpec { time_scale: 10.0, ..FleetSpec::default() }).expect("loopback can be bound")
}

fn assert_all_valid(summary: &Summary, requests: u64) {
    assert!(summary.is_good(), "{}", summary.table());
    assert_eq!((summary.issued, summary.valid, summary.abandoned), (requests, requests, 0));
}

#[test]
fn honest_servers_are_found_valid_in_every_form_and_both_loops() {
    let fleet = fleet();
    for form in [Form::Chat, Form::Completion] {
        for stream in [true, false] {
            let mut scenario = scenario(fleet.addresses()[0], generation(form, stream));
            let closed = run(&scenario, &mut ()).expect("a run");
            assert_all_valid(&closed, 100);
            assert_eq!((closed.prompt_tokens, closed.output_tokens), (2_000, 800));
            assert_eq!(closed.inter_token_ms.count, if stream { 700 } else { 0 });
            assert!(closed.connects <= 8, "{} connections for 8 at a time", closed.connects);
            scenario.load = Load::Open { rate: 1_000.0, arrival: Arrival::Poisson };
            let open = run(&scenario, &mut ()).expect("a run");
            assert_all_valid(&open, 100);
            assert_eq!(open.lateness_ms.count, 100);
            assert_eq!(open.end_to_end_ms.count, 100);
        }
    }
}

#[test]
fn raw_targets_are_judged_by_status_and_length() {
    let fleet = fleet();
    let raw = |expect_length| {
        Ask::Raw(Raw { method: "GET".to_owned(), body_bytes: 0, expect_length, expect_hash: None })
    };
    let good = run(&scenario(fleet.addresses()[0], raw(Some(0))), &mut ()).expect("a run");
    assert_all_valid(&good, 100);
    let wrong = run(&scenario(fleet.addresses()[0], raw(Some(1))), &mut ()).expect("a run");
    assert_eq!(wrong.faults[0].fault, Fault::BodyLength);
    assert_eq!(wrong.invalid, 100);
}

#[test]
fn latency_counts_from_the_intended_time_even_when_no_connection_is_free() {
    let fleet = fleet();
    let mut scenario = scenario(fleet.addresses()[0], generation(Form::Chat, true));
    scenario.load = Load::Open { rate: 10_000.0, arrival: Arrival::Constant };
    scenario.connections = 1;
    let summary = run(&scenario, &mut ()).expect("a run");
    assert_all_valid(&summary, 100);
    // One at a time, each some 6 ms: the last of a hundred waits for all the others.
    assert!(summary.end_to_end_ms.max > 300.0, "{}", summary.table());
    assert_eq!(summary.connects, 1);
}

#[test]
fn a_refusing_or_unknown_target_is_counted_not_fatal() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
    let mut refused = scenario(closed, generation(Form::Chat, true));
    refused.requests = Some(16);
    let summary = run(&refused, &mut ()).expect("a run");
    assert_eq!((summary.failed, summary.faults[0].fault), (16, Fault::ConnectRefused));
    assert!(!summary.is_good());

    let fleet = fleet();
    let Ask::Tokens(mut ask) = generation(Form::Chat, true) else { unreachable!("tokens were asked for") };
    ask.model = "other".to_owned();
    let summary = run(&scenario(fleet.addresses()[0], Ask::Tokens(ask)), &mut ()).expect("a run");
    assert_eq!((summary.failed, summary.faults[0].fault), (100, Fault::Status));
    assert!(summary.faults[0].example.contains("model_not_found"), "{}", summary.faults[0].example);
}

#[test]
fn whoever_watches_can_end_the_run_and_keeps_what_was_measured() {
    struct Impatient;
    impl Watch for Impatient {
        fn tick(&mut self, progress: &Progress) -> bool {
            progress.valid < 20
        }
    }
    let fleet = fleet();
    let mut scenario = scenario(fleet.addresses()[0], generation(Form::Chat, true));
    scenario.requests = None;
    scenario.duration = Some(Duration::from_mins(10));
    let summary = run(&scenario, &mut Impatient).expect("a run");
    assert!(summary.interrupted && summary.valid >= 20 && summary.failed == 0, "{}", summary.table());
}

/// Spoils an answer.
type Tamper = fn(String) -> String;

/// A server that answers like a simulated one, then lets `tamper` spoil the bytes, and closes.
fn tampering(tamper: Tamper) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Some((prompt, streams)) = read_request(&stream) else { continue };
            let answer = if streams { stream_answer(&prompt) } else { unary_answer(&prompt) };
            let _ = stream.write_all(tamper(answer).as_bytes());
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read(&mut [0; 1]); // until the client has read it all and left
        }
    });
    address
}

fn read_request(stream: &TcpStream) -> Option<(String, bool)> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: serde_json::Value = serde_json::from_slice(&body).ok()?;
    Some((body["messages"][0]["content"].as_str()?.to_owned(), body["stream"] == true))
}

const USAGE: &str = r#""usage":{"prompt_tokens":20,"completion_tokens":8,"total_tokens":28}"#;
const COMMON: &str = r#""id":"c1","created":1,"model":"demo","system_fingerprint":"fp_gpusim""#;

fn stream_answer(prompt: &str) -> String {
    let text = Seed::of(prompt).text(8);
    let mut answer =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n".to_owned();
    let mut push = |event: &str| write!(answer, "{:x}\r\n{event}\r\n", event.len()).expect("memory");
    for at in 0..8 {
        let (token, finish) = (&text[at * 4..at * 4 + 4], if at == 7 { r#""length""# } else { "null" });
        push(&format!(
            "data: {{{COMMON},\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{token}\"}},\"finish_reason\":{finish}}}]}}\n\n"
        ));
    }
    push(&format!("data: {{{COMMON},\"object\":\"chat.completion.chunk\",\"choices\":[],{USAGE}}}\n\n"));
    push("data: [DONE]\n\n");
    answer + "0\r\n\r\n"
}

fn unary_answer(prompt: &str) -> String {
    let text = Seed::of(prompt).text(8);
    let body = format!(
        "{{{COMMON},\"object\":\"chat.completion\",\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}},\"finish_reason\":\"length\"}}],{USAGE}}}"
    );
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Leaves one coded chunk out: framing stays perfect, an event is lost.
fn without_chunk(answer: &str, with: &str) -> String {
    let at = answer.find(with).expect("it is there");
    let start =
        answer[..at].rfind("\r\n").and_then(|end| answer[..end].rfind("\r\n")).expect("a size line") + 2;
    let end = at + answer[at..].find("\r\n").expect("the end of the chunk") + 2;
    format!("{}{}", &answer[..start], &answer[end..])
}

/// Replaces text by other text of the same length.
fn swap(answer: &str, from: &str, to: &str) -> String {
    assert_eq!(from.len(), to.len(), "framing must stay as it is");
    assert!(answer.contains(from), "{from} is there");
    answer.replacen(from, to, 1)
}

fn cut_after(answer: &str, what: &str) -> String {
    answer[..answer.find(what).expect("it is there") + what.len()].to_owned()
}

#[test]
fn answers_that_say_who_gave_them_are_counted_by_endpoint() {
    let named: Tamper = |answer| {
        let which = if answer.contains(r#""finish_reason":null"#) { "10.0.0.1:8000" } else { "<b>" };
        answer.replacen("connection: close", &format!("connection: close\r\nx-ringway-backend: {which}"), 1)
    };
    for (stream, name) in [(true, "10.0.0.1:8000"), (false, "<b>")] {
        let mut scenario = scenario(tampering(named), generation(Form::Chat, stream));
        scenario.load = Load::Closed { concurrency: 1 };
        scenario.requests = Some(3);
        let summary = run(&scenario, &mut ()).expect("a run");
        let rows: Vec<_> = summary.endpoints.iter().map(|row| (row.name.as_str(), row.valid)).collect();
        assert_eq!(rows, [(name, 3)]);
        assert!(summary.table().contains(name));
        let html = summary.html();
        assert!(html.contains("Answers by endpoint") && !html.contains("<b>"));
    }
}

#[test]
fn every_kind_of_tampering_with_a_stream_is_caught_by_name() {
    let cases: [(Tamper, Option<Fault>); 19] = [
        (|answer| answer, None),
        (|answer| cut_after(&answer, "\"delta\""), Some(Fault::BrokenStream)),
        (|answer| cut_after(&answer, "[DONE]\n\n\r\n"), Some(Fault::BadFraming)),
        (|_| String::new(), Some(Fault::ClosedEarly)),
        (|answer| without_chunk(&answer, "[DONE]"), Some(Fault::MissingDone)),
        (|answer| without_chunk(&answer, "\"length\""), Some(Fault::MissingFinish)),
        (|answer| without_chunk(&answer, "\"usage\""), Some(Fault::MissingUsage)),
        (|answer| without_chunk(&answer, "\"delta\""), Some(Fault::UsageMismatch)),
        (
            |answer| swap(&answer, "\"completion_tokens\":8", "\"completion_tokens\":7"),
            Some(Fault::UsageMismatch),
        ),
        (|answer| swap(&answer, "\"prompt_tokens\":20", "\"prompt_tokens\":19"), Some(Fault::UsageMismatch)),
        (|answer| swap(&answer, "ring", "rung"), Some(Fault::TextMismatch)),
        (|answer| swap(&answer, "\"c1\"", "\"c2\""), Some(Fault::IdentityChanged)),
        (|answer| swap(&answer, "\"delta\":{", "\"delta\":["), Some(Fault::BadJson)),
        (|answer| swap(&answer, "\"object\":\"chat", "\"object\":\"chut"), Some(Fault::WrongShape)),
        (|answer| swap(&answer, "\"created\"", "\"error\":2"), Some(Fault::BadJson)),
        (|answer| answer.replacen("\r\n\r\n", "\r\n\r\nxyz\r\n", 1), Some(Fault::BadFraming)),
        (|answer| answer + "HTTP/1.1 200", Some(Fault::SurplusBytes)),
        (|answer| answer.replacen("200 OK", "503 No", 1), Some(Fault::Status)),
        (|answer| answer.replacen("event-stream", "plain", 1), Some(Fault::WrongMediaType)),
    ];
    assert_caught(&cases, true);
}

#[test]
fn every_kind_of_tampering_with_a_unary_answer_is_caught_by_name() {
    let cases: [(Tamper, Option<Fault>); 9] = [
        (|answer| answer, None),
        (|answer| answer.replacen("content-length: ", "content-length: 1", 1), Some(Fault::TruncatedBody)),
        (|answer| answer + " ", Some(Fault::SurplusBytes)),
        (|answer| answer.replacen("\r\n\r\n", "\r\ncontent-length: 3\r\n\r\n", 1), Some(Fault::BadFraming)),
        (|answer| swap(&answer, "HTTP/1.1", "HTTQ/1.1"), Some(Fault::BadHead)),
        (|answer| swap(&answer, "\"usage\"", "\"usuge\""), Some(Fault::MissingUsage)),
        (|answer| swap(&answer, "ring", "rung"), Some(Fault::TextMismatch)),
        (|answer| swap(&answer, "\"choices\":[", "\"choices\":{"), Some(Fault::WrongShape)),
        (|answer| swap(&answer, "\"length\"", "\"lenght\""), Some(Fault::WrongShape)),
    ];
    assert_caught(&cases, false);
}

fn assert_caught(cases: &[(Tamper, Option<Fault>)], stream: bool) {
    for (index, (tamper, fault)) in cases.iter().enumerate() {
        let mut scenario = scenario(tampering(*tamper), generation(Form::Chat, stream));
        scenario.load = Load::Closed { concurrency: 1 };
        scenario.requests = Some(3);
        let summary = run(&scenario, &mut ()).expect("a run");
        let found: Vec<(Fault, u64)> = summary.faults.iter().map(|row| (row.fault, row.count)).collect();
        let want: Vec<(Fault, u64)> = fault.map(|fault| (fault, 3)).into_iter().collect();
        assert_eq!(found, want, "case {index}: {}", summary.table());
        assert_eq!(summary.valid, if fault.is_some() { 0 } else { 3 });
    }
}
