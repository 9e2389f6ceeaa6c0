//! UF-01 to UF-08: connecting, and connections that were kept.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use ringway_contract::Millis;
use ringway_tests::client::{get, post};
use ringway_tests::ports::Port;
use ringway_tests::{Gateway, Origin, Peer, each_driver};
use socket2::{Domain, Socket, Type};

use crate::rig::{Rig, SOON, assert_at, assert_serves, ok, proxy, timed};

#[test]
fn uf_01_a_refused_connection_is_502_at_once() {
    each_driver(|io| {
        let nobody = Port::refusing();
        let gateway = Gateway::start(io, proxy(&[nobody.address()]));
        for (path, request) in [("/get", get("/get").into_bytes()), ("/post", post("/post", "{}"))] {
            let (answer, took) = timed(&gateway, request);
            assert_eq!(answer.status(), 502);
            assert!(took < SOON, "it took {took:?}");
            assert_eq!(gateway.access().reason_for(path), "up_connect_refused");
        }
        gateway.finish();
    });
}

#[test]
fn uf_01_a_refused_connection_is_tried_elsewhere_whatever_the_method() {
    each_driver(|io| {
        let nobody = Port::refusing();
        let origin = Origin::echo();
        let gateway = Gateway::start(io, proxy(&[nobody.address(), origin.address()]));
        for n in 0..4 {
            assert_eq!(gateway.ask(post(&format!("/{n}"), "body")).text(), format!("POST /{n}\nbody"));
        }
        assert_eq!(origin.requests().len(), 4);
        gateway.finish();
    });
}

/// A listener whose queue is full: the kernel drops what asks to connect.
struct Blackhole {
    listener: Socket,
    _queued: Vec<TcpStream>,
}

impl Blackhole {
    fn open() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port exists");
        listener.listen(0).expect("a bound socket can listen");
        let address = listener.local_addr().ok().and_then(|a| a.as_socket()).expect("it has an address");
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(150)) {
            queued.push(stream);
        }
        Self { listener, _queued: queued }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().ok().and_then(|a| a.as_socket()).expect("it has an address")
    }
}

#[test]
fn uf_02_a_connect_that_nobody_answers_is_504_at_the_limit() {
    const LIMIT: Duration = Duration::from_millis(400);
    each_driver(|io| {
        let hole = Blackhole::open();
        let short = |snapshot: &mut ringway_contract::Snapshot| {
            snapshot.backends[0].connect_timeout_ms = Millis::new(LIMIT.as_millis() as u64);
        };
        let gateway = Gateway::start(io, proxy(&[hole.address()]).tune(short));
        let (answer, took) = timed(&gateway, get("/hole"));
        assert_eq!(answer.status(), 504);
        assert_at(LIMIT, took);
        assert_eq!(gateway.access().reason_for("/hole"), "up_connect_timeout");
        gateway.finish(); // the half-open socket counts as an open file

        let origin = Origin::echo();
        let gateway = Gateway::start(io, proxy(&[hole.address(), origin.address()]).tune(short));
        for n in 0..2 {
            assert_eq!(gateway.ask(post(&format!("/{n}"), "x")).status(), 200, "tried elsewhere");
        }
        gateway.finish();
    });
}

#[test]
fn uf_02_a_caller_that_leaves_while_connecting_ends_the_connect() {
    each_driver(|io| {
        let hole = Blackhole::open();
        let gateway = Gateway::start(io, proxy(&[hole.address()]));
        let mut caller = gateway.connect();
        caller.send(get("/hole"));
        std::thread::sleep(Duration::from_millis(100));
        drop(caller);
        gateway.assert_idle_within(Duration::from_secs(1)); // the connect limit is 2 s
        gateway.finish();
    });
}

#[test]
fn uf_03_an_endpoint_without_an_address_is_502() {
    each_driver(|io| {
        let unresolved = Port::refusing();
        let setup = proxy(&[unresolved.address()]).tune(|snapshot| {
            let endpoint = &mut snapshot.backends[0].endpoints[0];
            endpoint.authority = "nowhere.example:80".to_owned();
            endpoint.addresses.clear();
        });
        let gateway = Gateway::start(io, setup);
        let (answer, took) = timed(&gateway, get("/dns"));
        assert_eq!(answer.status(), 502, "{}", answer.text());
        assert!(took < SOON, "it took {took:?}");
        assert_eq!(gateway.access().reason_for("/dns"), "up_dns");
        gateway.finish();
    });
}

/// Reads a request and leaves without a byte, by FIN or by RST.
fn leaves_after_request(reset: bool) -> impl Fn(&mut Peer) + Send + Sync + 'static {
    move |peer| {
        if peer.request().is_some() && reset {
            peer.reset();
        }
    }
}

#[test]
fn uf_06_a_fresh_connection_closed_without_an_answer_is_502() {
    each_driver(|io| {
        for reset in [false, true] {
            let rig = Rig::one(io, leaves_after_request(reset));
            for (path, request) in [("/get", get("/get").into_bytes()), ("/post", post("/post", "{}"))] {
                assert_eq!(rig.gateway.ask(request).status(), 502);
                rig.assert_logged(path, "up_closed_early", 1);
            }
            assert_eq!(rig.arrived(), 2, "an endpoint that was tried is not tried again");
            rig.finish();
        }
    });
}

#[test]
fn uf_06_only_idempotent_requests_are_tried_elsewhere() {
    each_driver(|io| {
        let origins =
            vec![Origin::start(leaves_after_request(false)), Origin::start(leaves_after_request(true))];
        let rig = Rig::with(io, origins, |setup| setup);
        assert_eq!(rig.gateway.ask(get("/get")).status(), 502);
        rig.assert_logged("/get", "up_closed_early", 2);
        assert_eq!(rig.arrived(), 2);
        assert_eq!(rig.gateway.ask(post("/post", "{}")).status(), 502);
        rig.assert_logged("/post", "up_closed_early", 1);
        assert_eq!(rig.arrived(), 3, "a POST is money: it is sent once");
        rig.finish();
    });
}

#[test]
fn uf_06_a_route_may_declare_its_posts_idempotent() {
    each_driver(|io| {
        let origins = vec![Origin::start(leaves_after_request(false)), Origin::echo()];
        let rig = Rig::with(io, origins, |setup| setup.tune(|snapshot| snapshot.routes[0].idempotent = true));
        for n in 0..2 {
            assert_eq!(rig.gateway.ask(post(&format!("/{n}"), "again")).text(), format!("POST /{n}\nagain"));
        }
        rig.finish();
    });
}

/// Serves one request per connection, then leaves when the next one has arrived.
fn leaves_at_the_second(peer: &mut Peer) {
    if peer.request().is_some() {
        peer.send(ok("first"));
        if peer.request().is_some() {
            peer.reset();
        }
    }
}

#[test]
fn uf_07_the_keep_alive_race_is_invisible_where_nothing_can_be_done_twice() {
    each_driver(|io| {
        for (what, request, idempotent) in [
            ("a GET", get("/race").into_bytes(), false),
            ("a POST without a body", post("/race", ""), false),
            ("a POST of an idempotent route", post("/race", "{}"), true),
        ] {
            let rig = Rig::with(io, vec![Origin::start(leaves_at_the_second)], |setup| {
                setup.tune(|snapshot| snapshot.routes[0].idempotent = idempotent)
            });
            assert_serves(&rig, "/warm");
            let answer = rig.gateway.ask(request);
            assert_eq!((answer.status(), answer.text().as_str()), (200, "first"), "{what}");
            assert_eq!(rig.connections(), 2, "{what}: once kept, once fresh");
            let stats = rig.gateway.stats();
            assert_eq!(stats.endpoints[0].failures_total, 0, "{what}: the race says nothing about health");
            rig.finish();
        }
    });
}

#[test]
fn uf_07_a_post_with_a_body_is_never_sent_twice() {
    each_driver(|io| {
        let rig = Rig::one(io, leaves_at_the_second);
        assert_serves(&rig, "/warm");
        assert_eq!(rig.gateway.ask(post("/race", "{}")).status(), 502);
        rig.assert_logged("/race", "up_stale_conn", 1);
        assert_eq!(rig.origin().requests().len(), 2);
        rig.finish();
    });
}

#[test]
fn uf_08_a_kept_connection_that_the_origin_closed_is_never_used() {
    each_driver(|io| {
        for reset in [false, true] {
            let rig = Rig::one(io, move |peer| {
                if peer.request().is_some() {
                    peer.send(ok("once"));
                    peer.pause(Duration::from_millis(40));
                    if reset {
                        peer.reset();
                    }
                }
            });
            for n in 0..3 {
                let path = format!("/{n}");
                assert_eq!(rig.gateway.ask(post(&path, "{}")).text(), "once", "a POST, reset: {reset}");
                rig.assert_logged(&path, "", 1);
                rig.origin().wait_for("the close", |records| records.len() == n + 1);
                std::thread::sleep(Duration::from_millis(120));
            }
            rig.assert_nothing_kept();
            rig.finish();
        }
    });
}
