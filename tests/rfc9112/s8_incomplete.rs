//! RFC 9112 section 8: a request that ends early is never passed on as a whole one.

use ringway_tests::each_driver;

use crate::rig::{Rig, own_answer, request};

const CUT: [(&str, &str, &str); 6] = [
    ("length", "Content-Length: 10", "hello"),
    ("length, no byte", "Content-Length: 10", ""),
    ("inside a chunk", "Transfer-Encoding: chunked", "a\r\nhello"),
    ("between chunks", "Transfer-Encoding: chunked", "5\r\nhello\r\n"),
    ("before the last line", "Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n"),
    ("inside a trailer", "Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX: 1\r\n"),
];

#[test]
fn h1_ch_08_a_cut_body_is_never_completed_upstream() {
    each_driver(|io| {
        let rig = Rig::echo(io);
        for (what, framing, body) in CUT {
            for reset in [false, true] {
                let mut caller = rig.caller();
                caller.send(request("POST /cut HTTP/1.1", &["Host: a", framing], body));
                std::thread::sleep(std::time::Duration::from_millis(30));
                if reset {
                    caller.reset();
                } else {
                    drop(caller);
                }
                rig.gateway.assert_idle();
                assert!(
                    rig.origin.requests().iter().all(|r| r.head.word(1) != "/cut"),
                    "{what}: completed upstream"
                );
                own_answer(&mut rig.caller(), "/next").unwrap_or_else(|why| panic!("{what}: {why}"));
            }
        }
        rig.finish();
    });
}

#[test]
fn a_head_cut_at_any_byte_reaches_nobody() {
    let bytes = b"GET /cut HTTP/1.1\r\nHost: a.example\r\nX: 1\r\n\r\n";
    each_driver(|io| {
        let rig = Rig::echo(io);
        for cut in 1..bytes.len() {
            let mut caller = rig.caller();
            caller.send(&bytes[..cut]);
            drop(caller);
        }
        rig.gateway.assert_idle();
        assert_eq!(rig.origin.bytes(), 0);
        rig.finish();
    });
}

#[test]
fn a_request_cut_at_any_byte_and_continued_is_whole() {
    let bytes = b"POST /cut HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello";
    each_driver(|io| {
        let rig = Rig::echo(io);
        let mut caller = rig.caller();
        for cut in 1..bytes.len() {
            caller.send(&bytes[..cut]);
            std::thread::sleep(std::time::Duration::from_millis(1));
            caller.send(&bytes[cut..]);
            assert_eq!(caller.answer().text(), "POST /cut\nhello", "cut at {cut}");
        }
        drop(caller);
        rig.finish();
    });
}
