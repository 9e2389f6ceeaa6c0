//! The session against rustls' own buffered connections, at any split of the bytes.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use proptest::prelude::*;
use rustls::crypto::cipher::{MessageEncrypter, OutboundPlainMessage};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, Connection as Buffered, ConnectionTrafficSecrets, ContentType,
    ProtocolVersion, RootCertStore, ServerConfig, ServerConnection,
};

use super::*;
use crate::tls::provider;
use crate::tls::testing::{Authority, Issued};

type Version = &'static rustls::SupportedProtocolVersion;

fn server_config(issued: &Issued, version: Version) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]);
    let builder = builder.expect("a version").with_no_client_auth();
    Arc::new(builder.with_single_cert(issued.chain(), issued.key()).expect("they fit"))
}

fn client_config(authority: &Authority, version: Version) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).expect("an authority");
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]);
    let mut config = builder.expect("a version").with_root_certificates(roots).with_no_client_auth();
    config.enable_secret_extraction = true;
    Arc::new(config)
}

fn name() -> ServerName<'static> {
    "a.test".try_into().expect("a name")
}

/// Our session, its peer, and how the bytes between them are cut.
struct Pair {
    ours: Session,
    peer: Buffered,
    /// Ciphertext that came and was not used.
    held: Vec<u8>,
    plain: Vec<u8>,
    cut: usize,
}

impl Pair {
    fn new(we_serve: bool, version: Version, cut: usize) -> Self {
        let authority = Authority::new();
        let issued = authority.issue(&["a.test"]).done();
        let (server, client) = (server_config(&issued, version), client_config(&authority, version));
        let (ours, peer): (_, Buffered) = if we_serve {
            (Session::server(server), ClientConnection::new(client, name()).expect("a client").into())
        } else {
            (Session::client(client, name()), ServerConnection::new(server).expect("a server").into())
        };
        Self { ours: ours.expect("a session"), peer, held: Vec::new(), plain: Vec::new(), cut }
    }

    /// Moves all that either side has to say.
    fn settle(&mut self) {
        loop {
            let out = self.ours.take_out();
            if let Some(out) = &out {
                self.give(out);
            }
            let mut wire = Vec::new();
            while self.peer.wants_write() {
                self.peer.write_tls(&mut wire).expect("a vector");
            }
            if out.is_none() && wire.is_empty() {
                return;
            }
            self.take(&wire);
        }
    }

    fn take(&mut self, wire: &[u8]) {
        for piece in wire.chunks(self.cut) {
            self.held.extend_from_slice(piece);
            let plain = &mut self.plain;
            let read = self.ours.read(&mut self.held, &mut |bytes| plain.extend_from_slice(bytes));
            self.held.drain(..read.used);
        }
    }

    fn give(&mut self, mut wire: &[u8]) {
        while !wire.is_empty() {
            self.peer.read_tls(&mut wire).expect("a slice");
            self.peer.process_new_packets().expect("our ciphertext is in order");
        }
    }

    fn shaken(mut self) -> Self {
        self.settle();
        assert_eq!(self.ours.stage(), Stage::Traffic);
        assert!(!self.peer.is_handshaking());
        self
    }

    /// Encrypts, hands it to the peer, and returns what the peer reads.
    fn say(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut out = vec![0; plain.len() + 4_096];
        let n = self.ours.write(plain, &mut self.held, &mut out).expect("established");
        self.peer_reads(&out[..n])
    }

    fn peer_reads(&mut self, mut wire: &[u8]) -> Vec<u8> {
        let mut read = Vec::new();
        while !wire.is_empty() {
            self.peer.read_tls(&mut wire).expect("a slice");
            self.peer.process_new_packets().expect("our ciphertext is in order");
            let mut piece = vec![0; 32_768];
            while let Ok(n) = self.peer.reader().read(&mut piece) {
                if n == 0 {
                    break;
                }
                read.extend_from_slice(&piece[..n]);
            }
        }
        read
    }

    fn peer_says(&mut self, plain: &[u8]) {
        for piece in plain.chunks(16_000) {
            self.peer.writer().write_all(piece).expect("room");
            self.settle();
        }
    }
}

fn text(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i % 251) as u8).collect()
}

#[test]
fn both_sides_of_both_versions_talk_at_any_split() {
    for we_serve in [true, false] {
        for version in [&TLS12, &TLS13] {
            for cut in [1, 2, 3, 5, 6, 7, 100, 1_000, 16_384, 100_000] {
                let mut pair = Pair::new(we_serve, version, cut).shaken();
                let said = text(40_000);
                assert_eq!(pair.say(&said), said, "{we_serve} {version:?} {cut}");
                pair.peer_says(&said);
                assert_eq!(pair.plain, said, "{we_serve} {version:?} {cut}");
                assert!(pair.held.is_empty());
            }
        }
    }
}

#[test]
fn a_close_is_told_from_a_cut_and_leaves_the_other_direction_open() {
    for we_serve in [true, false] {
        for version in [&TLS12, &TLS13] {
            let mut pair = Pair::new(we_serve, version, 3).shaken();
            pair.peer.writer().write_all(b"last").expect("room");
            pair.peer.send_close_notify();
            pair.settle();
            assert_eq!((pair.ours.stage(), &*pair.plain), (Stage::PeerClosed, &b"last"[..]));
            if version.version == ProtocolVersion::TLSv1_3 {
                assert_eq!(pair.say(b"answer"), b"answer");
            }
            let mut out = [0; 128];
            let n = pair.ours.close(&mut pair.held, &mut out).expect("once");
            let mut wire = &out[..n];
            pair.peer.read_tls(&mut wire).expect("a slice");
            assert!(pair.peer.process_new_packets().expect("in order").peer_has_closed());
        }
    }
}

#[test]
fn keys_are_changed_in_mid_stream_by_either_side() {
    for we_serve in [true, false] {
        let mut pair = Pair::new(we_serve, &TLS13, 7).shaken();
        for _ in 0..5 {
            pair.peer.refresh_traffic_keys().expect("1.3");
            pair.peer_says(b"under new keys");
            assert_eq!(std::mem::take(&mut pair.plain), b"under new keys");
            assert_eq!(pair.say(b"and back"), b"and back");
        }
    }
}

#[test]
fn a_tampered_record_ends_it_with_an_alert_that_the_peer_understands() {
    for we_serve in [true, false] {
        let mut pair = Pair::new(we_serve, &TLS13, 1_000).shaken();
        pair.peer.writer().write_all(b"secret").expect("room");
        let mut wire = Vec::new();
        pair.peer.write_tls(&mut wire).expect("a vector");
        *wire.last_mut().expect("a record") ^= 1;
        pair.take(&wire);
        assert_eq!((pair.ours.stage(), pair.plain.len()), (Stage::Failed(Fault::Misbehaved), 0));
        let alert = pair.ours.take_out().expect("an alert");
        pair.peer.read_tls(&mut &*alert).expect("a slice");
        let told = pair.peer.process_new_packets().expect_err("an alert");
        assert!(matches!(told, rustls::Error::AlertReceived(_)), "{told}");
    }
}

#[test]
fn plain_http_is_known_for_what_it_is() {
    let issued = Authority::new().issue(&["a.test"]).done();
    let mut session = Session::server(server_config(&issued, &TLS13)).expect("a session");
    let mut request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let read = session.read(&mut request, &mut |_| panic!("there is no plaintext"));
    assert_eq!(read.stage, Stage::Failed(Fault::NotTls));
}

#[test]
fn a_message_in_pieces_does_not_keep_us_from_writing() {
    // A key update split over two records: legal, rare, and rustls then keeps ranges into the unused input.
    for cut in [1, 4, 10_000] {
        let mut pair = Pair::new(true, &TLS13, cut).shaken();
        let mut sealer = Sealer::of_the_peer_of(&mut pair);
        let message = [24u8, 0, 0, 1, 0]; // key_update, one byte: update_not_requested
        let mut out = [0; 128];
        pair.take(&sealer.seal(&message[..2]));
        assert!(pair.ours.is_in_message() && !pair.held.is_empty());
        pair.ours.write(b"meanwhile", &mut pair.held, &mut out).expect("established");
        pair.take(&sealer.seal(&message[2..]));
        assert!(!pair.ours.is_in_message() && pair.held.is_empty());
        pair.ours.write(b"after", &mut pair.held, &mut out).expect("established");
    }
}

/// The sending keys of a TLS 1.3 client.
struct Sealer {
    key: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl Sealer {
    /// The peer is used up by giving its secrets; another stands in its place.
    fn of_the_peer_of(pair: &mut Pair) -> Self {
        let stand_in = Pair::new(true, &TLS13, 1).peer;
        let peer = std::mem::replace(&mut pair.peer, stand_in);
        let suite = peer.negotiated_cipher_suite().and_then(|it| it.tls13()).expect("1.3");
        let secrets = peer.dangerous_extract_secrets().expect("allowed by its configuration");
        let (sequence, ConnectionTrafficSecrets::Aes256Gcm { key, iv }) = secrets.tx else {
            panic!("another suite than the first of both")
        };
        Self { key: suite.aead_alg.encrypter(key, iv), sequence }
    }

    fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ: ContentType::Handshake,
            version: ProtocolVersion::TLSv1_2,
            payload: bytes.into(),
        };
        let sealed = self.key.encrypt(message, self.sequence).expect("sealed").encode();
        self.sequence += 1;
        sealed
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn garbage_never_panics_and_never_yields_plaintext(
        we_serve: bool, established: bool, bytes in proptest::collection::vec(any::<u8>(), 1..600), cut in 1usize..64,
    ) {
        let mut pair = Pair::new(we_serve, &TLS13, cut);
        if established {
            pair = pair.shaken();
        }
        pair.take(&bytes);
        prop_assert!(pair.plain.is_empty());
    }

    #[test]
    fn damage_anywhere_in_a_handshake_never_panics(we_serve: bool, at in 0usize..4_000, bit in 0u8..8) {
        let mut pair = Pair::new(we_serve, &TLS13, 50);
        let mut seen = 0;
        for _ in 0..8 {
            if let Some(out) = pair.ours.take_out()
                && (pair.peer.read_tls(&mut &*out).is_err() || pair.peer.process_new_packets().is_err())
            {
                break;
            }
            let mut wire = Vec::new();
            while pair.peer.wants_write() {
                pair.peer.write_tls(&mut wire).expect("a vector");
            }
            if let Some(byte) = at.checked_sub(seen).and_then(|at| wire.get_mut(at)) {
                *byte ^= 1 << bit;
            }
            seen += wire.len();
            pair.take(&wire);
        }
    }
}
