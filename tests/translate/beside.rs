//! What stands beside calls of models: vectors for texts, and counts of tokens.
//!
//! Owns: the way of these to backends of another dialect, and the refusal where one has no word for them.
//! Must not: look at streams; there are none.
//! Read next: `calls.rs`.

use ringway_contract::snapshot::{Engine, Fallback};
use ringway_tests::client::post;
use ringway_tests::setup::backend;
use ringway_tests::{Origin, each_driver};
use serde_json::{Value, json};

use crate::rig::{gateway, sent, untuned, whole};

const EMBEDDINGS: &str = "/v1/embeddings";
const COUNT_TOKENS: &str = "/v1/messages/count_tokens";

fn two_vectors_of_gemini() -> String {
    whole(
        200,
        &json!({"embeddings": [{"values": [1.0, -0.5]}, {"values": [0.25, 2]}],
        "usageMetadata": {"promptTokenCount": 5}}),
    )
}

fn vectors_of_openai(vectors: &[Value]) -> String {
    let data: Vec<Value> = vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| json!({"object": "embedding", "index": index, "embedding": vector}))
        .collect();
    whole(
        200,
        &json!({"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 3}}),
    )
}

#[test]
fn an_openai_caller_gets_vectors_from_gemini_in_the_form_it_asked_for() {
    each_driver(|io| {
        let origin = Origin::answering(two_vectors_of_gemini());
        let gateway = gateway(io, Engine::Gemini, &origin, |setup| {
            setup.snapshot.routes[0].targets[0].model = Some("gemini-embedding".to_owned());
        });
        let ask = |form: &str| json!({"model": "text-embedding", "input": ["one", "two"], "dimensions": 2, "encoding_format": form});
        let mut caller = gateway.connect();
        let answer = caller.ask(post(EMBEDDINGS, ask("float").to_string()));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let body = answer.json();
        assert_eq!(body["data"][0]["embedding"], json!([1.0, -0.5]));
        assert_eq!((&body["data"][1]["index"], &body["model"]), (&json!(1), &json!("text-embedding")));
        assert_eq!(body["usage"], json!({"prompt_tokens": 5, "total_tokens": 5}));

        let bytes = caller.ask(post(EMBEDDINGS, ask("base64").to_string()));
        // 1.0 and -0.5 as little-endian numbers of 32 bits.
        assert_eq!(bytes.json()["data"][0]["embedding"], "AACAPwAAAL8=");

        let first = &origin.requests()[0];
        let (head, sent): (_, Value) = (&first.head, serde_json::from_slice(&first.body).expect("JSON"));
        assert_eq!(head.word(1), "/v1beta/models/gemini-embedding:batchEmbedContents");
        assert_eq!(head.one("x-goog-api-key").as_deref(), Some("ours"));
        assert_eq!(
            sent["requests"][1],
            json!({"model": "models/gemini-embedding",
            "content": {"parts": [{"text": "two"}]}, "outputDimensionality": 2})
        );
        drop(caller);
        let line = gateway.access().line_for(EMBEDDINGS);
        assert_eq!((&line["tokens_in"], &line["model"]), (&json!(5), &json!("text-embedding")));
        gateway.finish();
    });
}

#[test]
fn a_gemini_caller_gets_vectors_from_an_openai_backend_for_one_text_and_for_several() {
    each_driver(|io| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                let body: Value = serde_json::from_slice(&request.body).expect("JSON");
                let inputs = body["input"].as_array().expect("inputs").len();
                peer.send(vectors_of_openai(&vec![json!([0.5]); inputs]));
            }
        });
        let gateway = gateway(io, Engine::Vllm, &origin, untuned);
        let content = json!({"content": {"parts": [{"text": "one"}]}});
        let one = gateway.ask(post("/v1beta/models/bge:embedContent", content.to_string()));
        assert_eq!(
            one.json(),
            json!({"embedding": {"values": [0.5]}, "usageMetadata": {"promptTokenCount": 3}})
        );
        let several = json!({"requests": [content, content]});
        let two = gateway.ask(post("/v1beta/models/bge:batchEmbedContents", several.to_string()));
        assert_eq!(two.json()["embeddings"], json!([{"values": [0.5]}, {"values": [0.5]}]));
        let sent: Value = serde_json::from_slice(&origin.requests()[0].body).expect("JSON");
        assert_eq!(sent, json!({"model": "bge", "input": ["one"], "encoding_format": "float"}));
        gateway.finish();
    });
}

#[test]
fn an_answer_with_a_vector_too_few_is_an_error_and_no_answer() {
    each_driver(|io| {
        let origin = Origin::answering(two_vectors_of_gemini());
        let gateway = gateway(io, Engine::Gemini, &origin, untuned);
        let ask = json!({"model": "m", "input": ["one", "two", "three"]});
        let answer = gateway.ask(post(EMBEDDINGS, ask.to_string()));
        assert_eq!((answer.status(), &answer.json()["error"]["type"]), (502, &json!("server_error")));
        gateway.finish();
    });
}

#[test]
fn tokens_are_refused_to_a_backend_that_embeds_text() {
    each_driver(|io| {
        let origin = Origin::echo();
        let gateway = gateway(io, Engine::Gemini, &origin, untuned);
        let answer = gateway.ask(post(EMBEDDINGS, json!({"model": "m", "input": [[1, 2]]}).to_string()));
        assert_eq!((answer.status(), &answer.json()["error"]["param"]), (400, &json!("/input/0")));
        assert_eq!(origin.connections(), 0);
        gateway.finish();
    });
}

#[test]
fn a_count_is_asked_of_the_backends_own_counter() {
    each_driver(|io| {
        let ask = json!({"model": "claude", "system": "Be brief.", "messages": [{"role": "user", "content": "Hi"}]});
        let gemini = json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]});
        for (engine, path, request, answered, target, expected) in [
            (
                Engine::Vllm,
                COUNT_TOKENS,
                &ask,
                json!({"count": 7, "tokens": [1, 2]}),
                "/tokenize",
                json!({"input_tokens": 7}),
            ),
            (
                Engine::Gemini,
                COUNT_TOKENS,
                &ask,
                json!({"totalTokens": 9}),
                "/v1beta/models/claude:countTokens",
                json!({"input_tokens": 9}),
            ),
            (
                Engine::Anthropic,
                "/v1beta/models/g:countTokens",
                &gemini,
                json!({"input_tokens": 3}),
                COUNT_TOKENS,
                json!({"totalTokens": 3}),
            ),
        ] {
            let origin = Origin::answering(whole(200, &answered));
            let gateway = gateway(io, engine, &origin, untuned);
            let answer = gateway.ask(post(path, request.to_string()));
            assert_eq!((answer.status(), answer.json()), (200, expected), "{engine:?}");
            let (_, sent) = sent(&origin, target);
            assert!(sent.get("max_tokens").is_none() && sent.get("stream").is_none(), "{sent}");
            gateway.finish();
        }
    });
}

#[test]
fn a_backend_without_a_counter_is_passed_over_and_alone_it_is_no_place_to_count() {
    each_driver(|io| {
        let ask = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).to_string();
        let (hosted, claude) = (Origin::echo(), Origin::answering(whole(200, &json!({"input_tokens": 4}))));
        let gateway = gateway(io, Engine::Openai, &hosted, |setup| {
            setup.snapshot.backends.push(backend("claude", Engine::Anthropic, &[claude.address()]));
            setup.snapshot.routes[0].fallback = vec![Fallback { backend: "claude".to_owned(), model: None }];
        });
        let answer = gateway.ask(post(COUNT_TOKENS, &ask));
        assert_eq!((answer.status(), answer.json()), (200, json!({"input_tokens": 4})));
        gateway.finish();

        let gateway = crate::rig::gateway(io, Engine::Openai, &hosted, untuned);
        let answer = gateway.ask(post(COUNT_TOKENS, &ask));
        assert_eq!((answer.status(), &answer.json()["error"]["type"]), (404, &json!("not_found_error")));
        assert_eq!(hosted.connections(), 0);
        gateway.finish();
    });
}
