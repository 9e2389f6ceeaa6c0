//! UF-23 to UF-27 and UF-39: event streams.

use std::time::Duration;

use ringway_contract::Millis;
use ringway_contract::snapshot::Engine;
use ringway_tests::client::{Answer, get, post};
use ringway_tests::{Gateway, Io, Origin, Peer, Setup, each_driver};

use crate::rig::{Rig, STREAM_HEAD, assert_at, chunk, timed};

const LIMIT: Duration = Duration::from_millis(500);
const CHAT: &str = "/v1/chat/completions";
const ASK: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

fn delta(text: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
    )
}

/// A model route to an origin that plays `script`.
fn model(io: Io, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> (Gateway, Origin) {
    let origin = Origin::start(script);
    let setup = Setup::model(CHAT, Engine::Vllm, &[origin.address()])
        .route_timeouts(|timeouts| timeouts.idle_ms = Millis::new(LIMIT.as_millis() as u64));
    (Gateway::start(io, setup), origin)
}

const TRUNCATED: &str = "upstream_truncated";

/// The code of the error event that follows what came, if that is all that follows.
fn error_behind(answer: &Answer, came: &str) -> Option<String> {
    let text = answer.text();
    let event = text.strip_prefix(came)?.trim_start().strip_prefix("data: ")?.strip_suffix("\n\n")?;
    let event: serde_json::Value = serde_json::from_str(event).ok()?;
    event["error"]["code"].as_str().map(str::to_owned)
}

#[test]
fn uf_23_silence_between_events_aborts_at_the_stream_idle_limit() {
    each_driver(|io| {
        let (gateway, origin) = model(io, |peer| {
            peer.request();
            peer.send(format!("{STREAM_HEAD}{}", chunk(&delta("hi"))));
            peer.until_end(Duration::from_secs(10));
        });
        let (answer, took) = timed(&gateway, post(CHAT, ASK));
        assert!(error_behind(&answer, &delta("hi")).is_some() && !answer.whole(), "{:?}", answer.text());
        assert_at(LIMIT, took);
        assert_eq!(gateway.access().reason_for(CHAT), "up_idle_timeout");
        origin.wait_for_end(0);
        gateway.finish();
    });
}

#[test]
fn uf_24_a_stream_without_its_last_event_is_passed_as_it_is_by_a_plain_proxy() {
    each_driver(|io| {
        let rig = Rig::one(io, |peer| {
            while peer.request().is_some() {
                peer.send(format!("{STREAM_HEAD}{}0\r\n\r\n", chunk(&delta("hi"))));
            }
        });
        let answer = rig.gateway.ask(get("/stream"));
        assert_eq!((answer.text(), answer.whole()), (delta("hi"), true));
        rig.finish();
    });
}

#[test]
fn uf_24_a_stream_without_its_last_event_ends_with_an_error_event_on_a_model_route() {
    each_driver(|io| {
        let (gateway, _origin) = model(io, |peer| {
            while peer.request().is_some() {
                peer.send(format!("{STREAM_HEAD}{}0\r\n\r\n", chunk(&delta("hi"))));
            }
        });
        let answer = gateway.ask(post(CHAT, ASK));
        assert_eq!(
            (error_behind(&answer, &delta("hi")).as_deref(), answer.whole()),
            (Some(TRUNCATED), false)
        );
        assert_eq!(gateway.access().reason_for(CHAT), "up_no_terminal");
        gateway.finish();
    });
}

#[test]
fn uf_25_a_stream_cut_between_events_ends_with_an_error_event_of_its_dialect() {
    let begun = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\n";
    each_driver(|io| {
        let origin = Origin::start(move |peer| {
            peer.request();
            peer.send(format!("{STREAM_HEAD}{}", chunk(begun)));
            peer.pause(Duration::from_millis(50));
            peer.reset();
        });
        let path = "/v1/messages";
        let gateway = Gateway::start(io, Setup::model(path, Engine::Anthropic, &[origin.address()]));
        let answer = gateway.ask(post(path, ASK));
        let text = answer.text();
        let event = text.strip_prefix(begun).expect("what came before is passed").trim_start();
        let event = event.strip_prefix("event: error\ndata: ").and_then(|event| event.strip_suffix("\n\n"));
        let event: serde_json::Value =
            serde_json::from_str(event.expect("an event of that name")).expect("JSON");
        assert_eq!(
            (&event["type"], &event["error"]["type"]),
            (&"error".into(), &"api_error".into()),
            "{event}"
        );
        assert!(!answer.whole(), "and the coding has no end");
        gateway.finish();
    });
}

#[test]
fn uf_25_a_stream_cut_inside_an_event_is_passed_to_its_last_byte_and_aborted() {
    let whole = delta("one");
    let half = delta("two")[..30].to_owned();
    each_driver(|io| {
        let sent = (whole.clone(), half.clone());
        let (gateway, _origin) = model(io, move |peer| {
            peer.request();
            peer.send(format!("{STREAM_HEAD}{}{}", chunk(&sent.0), chunk(&sent.1)));
            peer.pause(Duration::from_millis(50));
        });
        let answer = gateway.ask(post(CHAT, ASK));
        assert_eq!((answer.text(), answer.whole()), (format!("{whole}{half}"), false));
        assert_eq!(gateway.access().reason_for(CHAT), "up_body_cut");
        gateway.finish();
    });
}

#[test]
fn uf_27_an_event_cut_at_any_byte_arrives_exactly() {
    let stream = format!("{}{}data: [DONE]\n\n", delta("grün € 𝄞"), delta("zwei"));
    each_driver(|io| {
        let sent = stream.clone();
        let (gateway, _origin) = model(io, move |peer| {
            let mut cut = 0;
            while peer.request().is_some() {
                cut += 1;
                let (one, two) = sent.as_bytes().split_at(cut.min(sent.len() - 1));
                peer.send(STREAM_HEAD);
                for part in [one, two] {
                    peer.send(format!("{:x}\r\n", part.len()));
                    peer.send(part);
                    peer.send("\r\n");
                }
                peer.send("0\r\n\r\n");
            }
        });
        let mut caller = gateway.connect();
        for cut in 1..stream.len() {
            let answer = caller.ask(post(CHAT, ASK));
            assert_eq!((answer.text(), answer.whole()), (stream.clone(), true), "cut at {cut}");
        }
        drop(caller);
        gateway.finish();
    });
}

#[test]
fn uf_39_an_error_inside_a_stream_is_passed_and_counted() {
    each_driver(|io| {
        let error = "data: {\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\"}}\n\n";
        let (gateway, _origin) = model(io, move |peer| {
            while peer.request().is_some() {
                peer.send(format!(
                    "{STREAM_HEAD}{}{}{}0\r\n\r\n",
                    chunk(&delta("hi")),
                    chunk(error),
                    chunk("data: [DONE]\n\n")
                ));
            }
        });
        let answer = gateway.ask(post(CHAT, ASK));
        assert_eq!(answer.text(), format!("{}{error}data: [DONE]\n\n", delta("hi")));
        assert_eq!(gateway.access().reason_for(CHAT), "up_inband_error");
        gateway.finish();
    });
}
