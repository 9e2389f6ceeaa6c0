//! Answers to callers (RFC 9110 sections 6.4, 6.6, 8.6, 15; RFC 9112 sections 6.3 and 9.3).

use ringway_contract::snapshot::Engine;
use ringway_tests::client::{get, post};
use ringway_tests::http::Framing;
use ringway_tests::{Client, End, Gateway, Origin, Setup, each_driver};

use crate::rig::{Rig, own_answer, request};

/// An origin whose answers are chosen by path.
fn by_path(answers: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::start(move |peer| {
        while let Some(request) = peer.request() {
            let target = request.head.word(1);
            let chosen = answers.iter().find(|(path, _)| *path == target).map(|(_, bytes)| *bytes);
            let own = format!("GET {target}\n");
            let echo = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{own}", own.len());
            if !peer.send(chosen.unwrap_or(&echo)) {
                return;
            }
            if chosen.is_some_and(|bytes| bytes.contains("X-Until-Close")) {
                peer.fin();
                peer.until_end(std::time::Duration::from_secs(5));
                return;
            }
        }
    })
}

#[test]
fn h1_rs_01_statuses_without_a_body_have_no_framing() {
    each_driver(|io| {
        let origin = by_path(&[
            ("/204", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
            ("/304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: \"x\"\r\n\r\n"),
            ("/205", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
            ("/head", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        ]);
        let rig = Rig::with(io, origin, |setup| setup);
        let mut caller = rig.caller();
        let none = caller.ask(get("/204"));
        assert!(
            !none.head.has("content-length") && !none.head.has("transfer-encoding"),
            "{}",
            none.head.text()
        );
        let same = caller.ask(get("/304"));
        assert_eq!((same.status(), same.body.len()), (304, 0));
        let reset = caller.ask(get("/205"));
        assert_eq!(reset.head.one("content-length").as_deref(), Some("0"));
        caller.send("HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = caller.answer_to("HEAD");
        assert!(head.head.one("content-length").is_none_or(|n| n == "500"), "{}", head.head.text());
        assert!(!head.head.has("transfer-encoding"), "{}", head.head.text());
        own_answer(&mut caller, "/behind").unwrap();
        drop(caller);
        rig.finish();
    });
}

#[test]
fn h1_rs_02_every_body_has_exactly_one_framing() {
    each_driver(|io| {
        let origin = by_path(&[
            ("/close", "HTTP/1.1 200 OK\r\nX-Until-Close: 1\r\n\r\nuntil the end"),
            ("/chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
            ("/length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ]);
        let rig = Rig::with(io, origin, |setup| setup);
        let mut caller = rig.caller();
        for (target, body, framing) in [
            ("/close", "until the end", Framing::Chunked),
            ("/chunked", "hello", Framing::Chunked),
            ("/length", "hello", Framing::Length(5)),
        ] {
            let answer = caller.ask(get(target));
            assert_eq!((answer.text().as_str(), answer.framing), (body, framing), "{target}");
        }
        for (target, body) in [("/close", "until the end"), ("/chunked", "hello"), ("/length", "hello")] {
            let mut old = rig.caller();
            let answer = old.ask(format!("GET {target} HTTP/1.0\r\n\r\n"));
            assert_eq!(answer.text(), body, "{target} to HTTP/1.0");
            assert_ne!(answer.framing, Framing::Chunked, "{target}: HTTP/1.0 knows no chunks");
            assert!(answer.whole(), "{target}");
        }
        drop(caller);
        rig.finish();
    });
}

#[test]
fn h1_rs_03_no_caller_byte_splits_an_answer() {
    each_driver(|io| {
        let origin = Origin::echo();
        let setup = Setup::model("/v1/chat/completions", Engine::Vllm, &[origin.address()]);
        let gateway = Gateway::start(io, setup);
        let evil = r#"{"model":"x\r\nSet-Cookie: a=b\r\n\r\n<html>","messages":[]}"#;
        for (path, field) in [
            ("/v1/chat/completions", "X-Request-Id: ok-id"),
            ("/nowhere%0d%0aX:1", "X-Request-Id: bad id\u{7f}x"),
        ] {
            let mut caller = gateway.connect();
            let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n");
            let field = field.replace('\u{7f}', "");
            caller.send(format!("{head}{field}\r\nContent-Length: {}\r\n\r\n{evil}", evil.len()));
            let answer = caller.answer();
            assert!(!answer.head.has("set-cookie") && !answer.head.has("x"), "{}", answer.head.text());
        }
        gateway.finish();
    });
}

#[test]
fn h1_rs_04_own_errors_are_json_with_an_id_and_nothing_of_the_upstream() {
    each_driver(|io| {
        let refusing = ringway_tests::ports::Port::refusing();
        let gateway = Gateway::start(io, Setup::raw(refusing.address()));
        let answer = gateway.ask(get("/x"));
        assert_eq!(answer.status(), 502);
        let kind = answer.head.one("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/json"), "Content-Type: {kind}");
        for name in ["content-length", "x-request-id", "date"] {
            assert!(answer.head.has(name), "no {name}: {}", answer.head.text());
        }
        assert!(
            answer.json()["error"].is_object() || answer.json()["error"].is_string(),
            "{}",
            answer.text()
        );
        let address = refusing.address().to_string();
        assert!(!answer.text().contains(&address), "the upstream's address shows: {}", answer.text());
        gateway.finish();
    });
}

#[test]
fn h1_rs_04_own_errors_are_worded_in_the_dialect_of_the_path() {
    each_driver(|io| {
        let gateway = Gateway::start(
            io,
            Setup::raw(ringway_tests::ports::Port::take().address()).tune(|snapshot| {
                snapshot.routes[0].matches = ringway_tests::setup::exactly("/none");
            }),
        );
        let body = r#"{"model":"m","messages":[]}"#;
        let openai = gateway.ask(post("/v1/chat/completions", body));
        assert_eq!(openai.status(), 404);
        assert!(openai.json()["error"]["message"].is_string(), "{}", openai.text());
        assert!(openai.json()["error"].get("type").is_some(), "{}", openai.text());
        let anthropic = gateway.ask(post("/v1/messages", body));
        assert_eq!(
            (anthropic.status(), &anthropic.json()["type"]),
            (404, &"error".into()),
            "{}",
            anthropic.text()
        );
        assert!(anthropic.json()["error"]["type"].is_string(), "{}", anthropic.text());
        let gemini = gateway.ask(post("/v1beta/models/m:generateContent", "{\"contents\":[]}"));
        assert_eq!(
            (gemini.status(), &gemini.json()["error"]["code"]),
            (404, &404.into()),
            "{}",
            gemini.text()
        );
        assert!(gemini.json()["error"]["status"].is_string(), "{}", gemini.text());
        gateway.finish();
    });
}

#[test]
fn h1_rs_05_one_request_gets_one_final_answer() {
    each_driver(|io| {
        let origin = by_path(&[(
            "/two",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo",
        )]);
        let rig = Rig::with(io, origin, |setup| setup);
        let mut caller = rig.caller();
        assert_eq!(caller.ask(get("/two")).text(), "one");
        own_answer(&mut caller, "/behind").unwrap();
        caller.half_close();
        let (rest, end) = caller.rest();
        assert!(rest.is_empty() && end != End::Open, "{end:?} {:?}", String::from_utf8_lossy(&rest));
        drop(caller);
        rig.finish();
    });
}

#[test]
fn h1_rs_06_every_answer_has_a_date() {
    each_driver(|io| {
        let rig = Rig::echo(io);
        let dated = |answer: &ringway_tests::client::Answer| {
            answer.head.one("date").is_some_and(|d| d.ends_with(" GMT"))
        };
        assert!(dated(&rig.gateway.ask(get("/x"))), "an answer of an origin without Date");
        let mut caller: Client = rig.caller();
        assert!(dated(&caller.ask("bad\r\n\r\n")), "a refusal");
        drop(caller);
        rig.finish();
    });
}

#[test]
fn every_answer_has_one_request_id_and_the_origin_gets_the_same() {
    each_driver(|io| {
        let rig = Rig::echo(io);
        let answer = rig.gateway.ask(request("GET /id HTTP/1.1", &["Host: a"], ""));
        let id = answer.head.one("x-request-id").expect("answers carry x-request-id");
        assert_eq!(rig.origin.request_for("/id").head.one("x-request-id"), Some(id.clone()));
        let other = rig.gateway.ask(get("/id2")).head.one("x-request-id");
        assert_ne!(other, Some(id), "ids differ");
        rig.finish();
    });
}
