//! Load in the heads of answers (spec routing.md section 5.4).

use ringway_contract::snapshot::{Engine, Orca};
use ringway_tests::client::post;
use ringway_tests::http::Head;
use ringway_tests::{Gateway, Origin, Setup, each_driver};

const PATH: &str = "/v1/chat/completions";

fn answering(load: &'static str) -> Origin {
    Origin::start(move |peer| {
        while peer.request().is_some() {
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{load}Content-Length: 2\r\n\r\n{{}}"
            ));
        }
    })
}

fn setup(origin: &Origin, orca: Option<Orca>) -> Setup {
    let setup = Setup::model(PATH, Engine::Vllm, &[origin.address()]);
    setup.tune(|snapshot| snapshot.backends[0].orca = orca)
}

fn request() -> Vec<u8> {
    let plain = post(PATH, "{\"model\":\"m\"}");
    let text = String::from_utf8(plain).expect("text");
    text.replacen("\r\n", "\r\nEndpoint-Load-Metrics-Format: BIN\r\n", 1).into_bytes()
}

#[test]
fn the_load_is_asked_for_read_and_kept_from_the_caller() {
    each_driver(|io| {
        for (form, word, value) in [
            (
                Orca::Text,
                "TEXT",
                "Endpoint-Load-Metrics: TEXT named_metrics.kv_cache_usage_perc=0.25, num_requests_waiting=3\r\n",
            ),
            (
                Orca::Json,
                "JSON",
                "endpoint-load-metrics: JSON {\"named_metrics\":{\"kv_cache_usage_perc\":0.25,\"num_requests_waiting\":3}}\r\n",
            ),
        ] {
            let origin = answering(value);
            let gateway = Gateway::start(io, setup(&origin, Some(form)));
            let answer = gateway.ask(request());
            assert_eq!((answer.status(), answer.head.all("endpoint-load-metrics").len()), (200, 0));
            let asked: Head = origin.requests()[0].head.clone();
            assert_eq!(
                asked.all("endpoint-load-metrics-format"),
                [word.as_bytes()],
                "the caller's own is gone"
            );
            let said = gateway.stats().endpoints[0].reported.clone().expect("it counts");
            assert_eq!((said.running, said.waiting, said.kv), (None, Some(3), Some(0.25)));
            assert!(gateway.metric(&["ringway_orca_malformed_total"]) < 0.5);
            gateway.finish();
        }
    });
}

#[test]
fn what_cannot_be_read_is_counted_and_changes_nothing() {
    each_driver(|io| {
        let origin = answering("endpoint-load-metrics: TEXT nonsense\r\n");
        let gateway = Gateway::start(io, setup(&origin, Some(Orca::Text)));
        assert_eq!(gateway.ask(request()).status(), 200);
        assert!((gateway.metric(&["ringway_orca_malformed_total"]) - 1.0).abs() < 0.5);
        assert_eq!(gateway.stats().endpoints[0].reported, None);
        gateway.finish();
    });
}

#[test]
fn where_it_is_not_configured_both_fields_pass_as_they_are() {
    each_driver(|io| {
        let origin = answering("endpoint-load-metrics: TEXT num_requests_waiting=3\r\n");
        let gateway = Gateway::start(io, setup(&origin, None));
        let answer = gateway.ask(request());
        assert_eq!(answer.head.all("endpoint-load-metrics"), [b"TEXT num_requests_waiting=3"]);
        assert_eq!(origin.requests()[0].head.all("endpoint-load-metrics-format"), [b"BIN"]);
        assert_eq!(gateway.stats().endpoints[0].reported, None);
        gateway.finish();
    });
}
