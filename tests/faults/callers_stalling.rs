//! CF-07 to CF-11, CF-19, CF-20: callers that are slow, silent, or do not read.

use std::time::{Duration, Instant};

use ringway_contract::Millis;
use ringway_contract::snapshot::ListenerTimeouts;
use ringway_tests::client::get;
use ringway_tests::{Client, End, Io, Origin, Peer, each_driver};

use crate::rig::{LATE, Rig, STREAM_HEAD, assert_at};

const LIMIT: Duration = Duration::from_millis(500);

fn limited(io: Io, origin: Origin, which: fn(&mut ListenerTimeouts) -> &mut Millis) -> Rig {
    Rig::with(io, vec![origin], |setup| {
        setup.caller_timeouts(|timeouts| *which(timeouts) = Millis::new(LIMIT.as_millis() as u64))
    })
}

#[test]
fn cf_07_a_dripping_head_is_408_at_the_deadline_of_the_whole_head() {
    each_driver(|io| {
        let rig = limited(io, Origin::echo(), |timeouts| &mut timeouts.head_ms);
        let mut caller = rig.caller();
        let began = Instant::now();
        let _ = caller.drip(b"GET /slow HTTP/1.1\r\nHost: a\r\nX: very long", 1, Duration::from_millis(20));
        let answer = caller.answer();
        assert_eq!((answer.status(), answer.says_close()), (408, true));
        assert!(began.elapsed() >= LIMIT.mul_f64(0.9), "after {:?}", began.elapsed());
        assert_ne!(caller.rest().1, End::Open);
        rig.assert_counted("client_head_timeout", 1);
        assert_eq!(rig.origin().bytes(), 0);
        drop(caller);
        rig.finish();
    });
}

#[test]
fn cf_07_the_head_deadline_is_not_extended_by_bytes() {
    each_driver(|io| {
        let rig = limited(io, Origin::echo(), |timeouts| &mut timeouts.head_ms);
        let mut caller = rig.caller().patient(Duration::from_secs(3));
        caller.send("GET /slow HTTP/1.1\r\n");
        let began = Instant::now();
        let stream = caller.stream().try_clone().expect("a socket can be cloned");
        let dripping = std::thread::spawn(move || {
            let mut drip = Client::over(stream);
            let _ = drip.drip(&b"X: 1\r\n".repeat(100), 6, Duration::from_millis(50)); // ends when it is closed
        });
        let answer = caller.answer();
        assert_eq!(answer.status(), 408);
        assert_at(LIMIT, began.elapsed());
        drop(caller);
        dripping.join().expect("the drip does not panic");
        rig.finish();
    });
}

#[test]
fn cf_08_a_body_that_stalls_is_408_and_the_upstream_is_closed() {
    each_driver(|io| {
        let rig = limited(io, Origin::echo(), |timeouts| &mut timeouts.body_idle_ms);
        let mut caller = rig.caller();
        caller.send(format!(
            "POST /stall HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{}",
            "x".repeat(50_000)
        ));
        let began = Instant::now();
        let answer = caller.answer();
        assert_eq!((answer.status(), answer.says_close()), (408, true));
        assert_at(LIMIT, began.elapsed());
        rig.assert_counted("client_body_timeout", 1);
        assert!(rig.origin().all_ended(), "the upstream request must end: {:?}", rig.origin().summary());
        assert_eq!(rig.origin().requests().len(), 0);
        drop(caller);
        rig.finish();
    });
}

#[test]
fn cf_08_a_body_below_a_kib_per_second_is_408_after_ten_seconds() {
    if !ringway_tests::long() {
        println!("skipped: the minimum rate of a body takes 20 s; RINGWAY_LONG=1 runs it");
        return;
    }
    each_driver(|io| {
        let rig = Rig::with(io, vec![Origin::echo()], |setup| setup);
        let mut caller = rig.caller().patient(Duration::from_secs(40));
        caller.send("POST /crawl HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
        let began = Instant::now();
        let _ = caller.drip(&vec![b'x'; 260], 1, Duration::from_millis(100)); // 10 bytes a second for 26 s
        assert_eq!(caller.answer().status(), 408);
        assert!(began.elapsed() > Duration::from_secs(10));
        drop(caller);
        rig.finish();
    });
}

#[test]
fn cf_09_a_silent_connection_is_closed_without_a_word_at_the_idle_limit() {
    each_driver(|io| {
        let rig = Rig::with(io, vec![Origin::echo()], |setup| {
            setup.caller_timeouts(|timeouts| {
                timeouts.keep_alive_ms = Millis::new(LIMIT.as_millis() as u64);
                timeouts.head_ms = Millis::new(LIMIT.as_millis() as u64);
            })
        });
        let mut caller = rig.caller();
        let began = Instant::now();
        let (rest, end) = caller.rest();
        assert!(rest.is_empty(), "no 408 for nothing: {:?}", String::from_utf8_lossy(&rest));
        assert_eq!(end, End::Fin);
        assert_at(LIMIT, began.elapsed());
        drop(caller);
        rig.finish();
    });
}

/// Streams as fast as it is taken, and tells how much that was.
fn flood(peer: &mut Peer) {
    if peer.request().is_some() {
        peer.send(STREAM_HEAD);
        let piece = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
        while peer.send(&piece) {}
    }
}

#[test]
fn cf_10_a_caller_that_stops_reading_is_reset_at_the_stall_limit_and_costs_no_memory() {
    each_driver(|io| {
        let rig = limited(io, Origin::start(flood), |timeouts| &mut timeouts.write_stall_ms);
        let before = rig.gateway.resident_bytes();
        let began = Instant::now();
        let mut callers: Vec<Client> = (0..10).map(|_| rig.caller()).collect();
        for (n, caller) in callers.iter_mut().enumerate() {
            caller.send(get(&format!("/deaf-{n}")));
        }
        std::thread::sleep(LIMIT / 2);
        let grown = rig.gateway.resident_bytes().saturating_sub(before);
        assert!(grown < 10 * 512 * 1_024, "10 streams that nobody reads grew it by {grown} bytes");
        rig.assert_counted("client_write_stall", 10);
        assert!(began.elapsed() < LIMIT + LATE + Duration::from_secs(2), "it took {:?}", began.elapsed());
        assert!(rig.origin().all_ended(), "upstreams must be closed");
        for mut caller in callers {
            assert_ne!(caller.rest_within(Duration::from_secs(10)).1, End::Open);
        }
        rig.finish();
    });
}

#[test]
fn cf_11_a_slow_reader_gets_everything_and_costs_a_window() {
    const BYTES: usize = 6 * 1_024 * 1_024;
    each_driver(|io| {
        let rig = Rig::one(io, |peer| {
            if peer.request().is_some() {
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n"));
                peer.send("x".repeat(BYTES));
                peer.until_end(Duration::from_secs(20));
            }
        });
        let mut caller = rig.caller().patient(Duration::from_secs(30));
        let before = rig.gateway.resident_bytes();
        caller.send(get("/slow"));
        std::thread::sleep(Duration::from_millis(700));
        let grown = rig.gateway.resident_bytes().saturating_sub(before);
        assert!(grown < 1_024 * 1_024, "a stream that waits grew it by {grown} bytes");
        let answer = caller.answer();
        assert_eq!((answer.body.len(), answer.whole()), (BYTES, true));
        drop(caller);
        rig.finish();
    });
}

#[test]
fn cf_19_pipelining_without_reading_stops_at_the_read_ahead() {
    each_driver(|io| {
        let large = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(1_000_000));
        let rig = limited(io, Origin::answering(large), |timeouts| &mut timeouts.write_stall_ms);
        let before = rig.gateway.resident_bytes();
        let mut caller = rig.caller();
        let _ = caller.try_send(get("/again").repeat(2_500).as_bytes()); // about 100 KiB
        rig.assert_counted("client_write_stall", 1);
        let grown = rig.gateway.resident_bytes().saturating_sub(before);
        assert!(grown < 8 * 1_024 * 1_024, "grew by {grown} bytes; 2,500 MB were asked for");
        assert!(
            rig.origin().requests().len() < 100,
            "{} requests were served to nobody",
            rig.origin().requests().len()
        );
        drop(caller);
        rig.finish();
    });
}

#[test]
fn cf_20_a_body_that_was_announced_and_never_sent_is_408() {
    each_driver(|io| {
        let rig = limited(io, Origin::echo(), |timeouts| &mut timeouts.body_idle_ms);
        let mut caller = rig.caller();
        caller.send("POST /never HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n");
        assert_eq!(caller.interim(), 100);
        let began = Instant::now();
        let answer = caller.answer();
        assert_eq!((answer.status(), answer.says_close()), (408, true));
        assert_at(LIMIT, began.elapsed());
        rig.assert_counted("client_body_timeout", 1);
        drop(caller);
        rig.finish();
    });
}
