//! Secure sockets over loopback: what reaches the callers of `Inbox` and `Socket`, and what they hold meanwhile.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use monoio::io::Canceller;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

use super::super::{Inbox, IoChoice, Out, Socket, run};
use super::*;
use crate::bounds::{BUFFER_LARGE_BYTES, BUFFER_TINY_BYTES, MIB};
use crate::tls::testing::Authority;

type Peer = StreamOwned<ClientConnection, TcpStream>;

/// Runs `test` with a server's socket after its handshake, beside `peer` on a thread of its own.
fn with_peer<F: Future<Output = ()> + 'static>(
    peer: impl FnOnce(Peer) + Send + Copy + 'static,
    test: impl FnOnce(Socket, Buffers) -> F + Copy + 'static,
) {
    for io in [IoChoice::Auto, IoChoice::Epoll] {
        let (server, client) = configurations();
        let (accepted, peer) = connect(client, peer);
        run(io, move |_, _| async move {
            let buffers = Buffers::new();
            let socket = Socket::adopt(accepted.into()).expect("adopts");
            socket.secure(Session::server(server).expect("a session"), &buffers);
            assert!(!socket.handshake().await.expect("a handshake"));
            test(socket, buffers).await;
        })
        .expect("a driver");
        peer.join().expect("the peer is content");
    }
}

fn configurations() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let authority = Authority::new();
    let issued = authority.issue(&["a.test"]).done();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let server = server.expect("versions").with_no_client_auth();
    let server = server.with_single_cert(issued.chain(), issued.key()).expect("they fit");
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).expect("an authority");
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.expect("versions").with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

fn connect(
    config: Arc<ClientConfig>,
    peer: impl FnOnce(Peer) + Send + 'static,
) -> (TcpStream, JoinHandle<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let peer = std::thread::spawn(move || {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_nodelay(true).expect("settable");
        let name = "a.test".try_into().expect("a name");
        let connection = ClientConnection::new(config, name).expect("a client");
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).expect("a handshake");
        }
        peer(stream);
    });
    let (accepted, _) = listener.accept().expect("accepts");
    accepted.set_nonblocking(true).expect("settable");
    (accepted, peer)
}

fn text(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i % 251) as u8).collect()
}

#[test]
fn records_larger_than_the_buffers_they_are_received_for_arrive_in_order() {
    with_peer(
        |mut peer| {
            peer.write_all(&text(300_000)).expect("taken");
            peer.conn.send_close_notify();
            peer.flush().expect("taken");
            let _ = peer.read(&mut [0; 1]);
        },
        |socket, buffers| async move {
            let mut inbox = Inbox::new(&socket);
            let mut all = Vec::new();
            let sizes = [Size::Tiny, Size::Small, Size::Tiny, Size::Large];
            for size in sizes.iter().cycle() {
                let (received, buffer) = inbox.receive(buffers.take(*size)).await;
                assert_eq!(received.expect("in order"), buffer.len());
                assert_eq!(buffer.size(), *size, "what is lent comes back in kind");
                if buffer.is_empty() {
                    break;
                }
                all.extend_from_slice(buffer.bytes());
            }
            assert_eq!(all, text(300_000));
            assert_eq!(buffers.lent_bytes(), 0, "nothing is held at the end");
        },
    );
}

#[test]
fn what_is_received_goes_behind_what_is_there() {
    with_peer(
        |mut peer| {
            for piece in text(4_000).chunks(100) {
                peer.write_all(piece).expect("taken");
            }
            let _ = peer.read(&mut [0; 1]);
        },
        |socket, buffers| async move {
            let mut inbox = Inbox::new(&socket);
            let mut buffer = buffers.small();
            buffer.append(b"head");
            while buffer.len() < 4_004 {
                let (received, back) = inbox.receive(buffer).await;
                assert!(received.expect("in order") > 0);
                buffer = back;
            }
            assert_eq!((&buffer.bytes()[..4], &buffer.bytes()[4..]), (&b"head"[..], &*text(4_000)));
        },
    );
}

#[test]
fn a_cancelled_receive_loses_nothing_of_a_record_half_come() {
    with_peer(
        |mut peer| {
            let mut wire = Vec::new();
            peer.conn.writer().write_all(&text(5_000)).expect("room");
            peer.conn.write_tls(&mut wire).expect("a vector");
            for piece in wire.chunks(wire.len() / 4) {
                peer.sock.write_all(piece).expect("taken");
                std::thread::sleep(Duration::from_millis(30));
            }
            let _ = peer.read(&mut [0; 1]);
        },
        |socket, buffers| async move {
            let mut inbox = Inbox::new(&socket);
            let mut cancelled = 0;
            loop {
                let stop = Canceller::new();
                inbox.arm(buffers.small(), Some(&stop));
                let begun = monoio::select! {
                    whole = inbox.wait() => Some(whole),
                    () = monoio::time::sleep(Duration::from_millis(10)) => None,
                };
                let _ = stop.cancel();
                let (received, buffer) = match begun {
                    Some(whole) => whole,
                    None => inbox.wait().await,
                };
                match received {
                    Ok(n) => {
                        assert_eq!((n, buffer.bytes()), (5_000, &*text(5_000)));
                        break;
                    }
                    Err(error) => {
                        assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
                        cancelled += 1;
                    }
                }
            }
            assert!(cancelled > 0, "the record came in one piece");
        },
    );
}

#[test]
fn a_slow_reader_gets_all_of_it_and_a_waiting_connection_holds_nothing() {
    with_peer(
        |mut peer| {
            std::thread::sleep(Duration::from_millis(100)); // the socket fills meanwhile
            let mut all = vec![0; 3 * MIB];
            peer.read_exact(&mut all).expect("all of it");
            assert_eq!(all, text(3 * MIB));
            peer.write_all(b"thanks").expect("taken");
            let _ = peer.read(&mut [0; 1]);
        },
        |socket, buffers| async move {
            let mut out = Out::default();
            out.bytes = text(2 * MIB);
            socket.send_out(&mut out).await.expect("taken");
            assert!(out.is_empty());
            for piece in text(3 * MIB)[2 * MIB..].chunks(BUFFER_LARGE_BYTES) {
                let mut buffer = buffers.large();
                buffer.append(piece);
                let (sent, buffer) = socket.send(buffer).await;
                sent.expect("taken");
                assert!(buffer.is_empty());
            }
            assert_eq!(buffers.lent_bytes(), 0);
            let mut inbox = Inbox::new(&socket);
            let (received, buffer) = inbox.receive(buffers.take(Size::Tiny)).await;
            assert_eq!((received.expect("in order"), buffer.bytes()), (6, &b"thanks"[..]));
            assert_eq!(buffers.lent_bytes(), BUFFER_TINY_BYTES);
        },
    );
}

#[test]
fn an_end_without_a_word_is_an_error_and_one_with_it_is_not() {
    for rude in [false, true] {
        let test = |socket: Socket, buffers: Buffers, rude: bool| async move {
            let mut inbox = Inbox::new(&socket);
            let (received, buffer) = inbox.receive(buffers.small()).await;
            assert_eq!((received.expect("bytes"), buffer.bytes()), (3, &b"end"[..]));
            for _ in 0..2 {
                let (received, _) = inbox.receive(buffers.small()).await;
                match (rude, received) {
                    (false, Ok(0)) => assert_eq!(socket.fault(), None),
                    (true, Err(error)) => {
                        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                        assert_eq!(socket.fault(), Some(Fault::Truncated));
                    }
                    (_, other) => panic!("rude: {rude}: {other:?}"),
                }
            }
        };
        let peer = |mut peer: Peer, rude: bool| {
            peer.write_all(b"end").expect("taken");
            if !rude {
                peer.conn.send_close_notify();
                peer.flush().expect("taken");
            }
        };
        if rude {
            with_peer(move |it| peer(it, true), move |socket, buffers| test(socket, buffers, true));
        } else {
            with_peer(move |it| peer(it, false), move |socket, buffers| test(socket, buffers, false));
        }
    }
}

#[test]
fn our_own_shutdown_is_no_cut() {
    with_peer(
        |mut peer| {
            let _ = peer.read(&mut [0; 1]);
        },
        |socket, buffers| async move {
            socket.shutdown(Shutdown::Read); // as an elapsed wait does
            let (received, _) = Inbox::new(&socket).receive(buffers.small()).await;
            assert_eq!(received.expect("no fault"), 0);
            assert_eq!(socket.fault(), None);
        },
    );
}

#[test]
fn a_kept_connection_is_quiet_whatever_tls_says_and_not_when_the_peer_speaks() {
    with_peer(
        |mut peer| {
            peer.conn.refresh_traffic_keys().expect("1.3");
            peer.flush().expect("taken");
            peer.read_exact(&mut [0; 2]).expect("a sign");
            peer.write_all(b"unasked").expect("taken");
            let _ = peer.read(&mut [0; 1]);
        },
        |socket, _| async move {
            socket.readable().await.expect("something came");
            assert!(socket.is_quiet(), "a change of keys is no speech");
            let mut out = Out::default();
            out.bytes.extend_from_slice(b"go");
            socket.send_out(&mut out).await.expect("taken");
            socket.readable().await.expect("something came");
            assert!(!socket.is_quiet());
        },
    );
}

#[test]
fn dropping_a_socket_says_goodbye() {
    with_peer(
        |mut peer| {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).expect("an end with a word");
            assert_eq!(all, b"bye");
        },
        |socket, _| async move {
            let mut out = Out::default();
            out.bytes.extend_from_slice(b"bye");
            socket.send_out(&mut out).await.expect("taken");
            drop(socket);
            monoio::time::sleep(Duration::from_millis(50)).await; // the ring closes it in its next turn
        },
    );
}
