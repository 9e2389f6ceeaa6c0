//! One TLS connection without I/O: ciphertext in, plaintext out, and the other way round.
//!
//! Owns: the rustls connection and what it wants to send of its own accord.
//! Must not: know a socket, wait, or keep plaintext.
//! Read next: `ring/secure.rs`, which moves its bytes.
//!
//! rustls' unbuffered interface works on the caller's slices: it decrypts in the receive buffer, and hands out each
//! record's plaintext in a vector of its own (one allocation and one copy per record inside rustls 0.23; the same when
//! encrypting). Nothing here adds a further one.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    AppDataRecord, ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus,
};
use rustls::{ClientConfig, CommonState, HandshakeKind, ServerConfig};

use super::fault::Fault;

/// Bytes of the head of a record.
const RECORD_HEAD_BYTES: usize = 5;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The handshake goes on: bytes are wanted, after what is to be sent is sent.
    Handshake,
    /// Both sides may speak.
    Traffic,
    /// The peer said that it has no more to say; we may go on.
    PeerClosed,
    /// It is over.
    Failed(Fault),
}

/// What feeding ciphertext came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Bytes used up, from the front.
    pub used: usize,
    /// How far the connection is now.
    pub stage: Stage,
}

/// One connection.
pub struct Session {
    side: Connection,
    stage: Stage,
    /// Handshake messages and alerts: they go out before anything that is encrypted later.
    out: Vec<u8>,
    /// What is left of the input begins with the decrypted beginning of a message: rustls keeps ranges into it, so
    /// that from now on every call must be given it.
    in_message: bool,
}

enum Connection {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl Session {
    /// The caller's side is the peer.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn server(config: Arc<ServerConfig>) -> Result<Self, Fault> {
        UnbufferedServerConnection::new(config)
            .map(|it| Self::new(Connection::Server(it)))
            .map_err(|it| Fault::of(&it))
    }

    /// The endpoint is the peer, and must prove to be `name`. What it is to be sent first is at hand at once.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Fault> {
        let connection = UnbufferedClientConnection::new(config, name).map_err(|it| Fault::of(&it))?;
        let mut session = Self::new(Connection::Client(connection));
        session.read(&mut [], &mut |_| ());
        Ok(session)
    }

    fn new(side: Connection) -> Self {
        Self { side, stage: Stage::Handshake, out: Vec::new(), in_message: false }
    }

    /// How far it is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// True if the handshake was an abbreviated one.
    pub fn is_resumed(&self) -> bool {
        self.common().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// True while [`Session::write`] must be given the unused input.
    pub fn is_in_message(&self) -> bool {
        self.in_message
    }

    /// Takes what is to be sent before anything else, if there is something.
    pub fn take_out(&mut self) -> Option<Vec<u8>> {
        if self.out.is_empty() { None } else { Some(std::mem::take(&mut self.out)) }
    }

    /// Feeds received bytes, which begin with all that was left over before. Plaintext goes to `plain`, record by record.
    pub fn read(&mut self, bytes: &mut [u8], plain: &mut dyn FnMut(&[u8])) -> Read {
        let mut used = 0;
        while !matches!(self.stage, Stage::PeerClosed | Stage::Failed(_)) {
            let (discard, next) = self.turn(&mut bytes[used..], plain);
            used += discard;
            match next {
                Next::Again => {}
                Next::Blocked(stage) => {
                    // A server may write before the caller's last message came: that proves nothing about the caller.
                    let early = stage == Stage::Traffic && self.common().is_handshaking();
                    self.stage = if early { Stage::Handshake } else { stage };
                    break;
                }
                Next::Failed(fault) => {
                    self.stage = Stage::Failed(fault);
                    self.take_alert(plain);
                }
            }
        }
        self.in_message =
            is_whole_record(&bytes[used..]) && matches!(self.stage, Stage::Handshake | Stage::Traffic);
        Read { used, stage: self.stage }
    }

    /// Encrypts all of `plain` into `out`; says how much that makes. `held` is the unused input while
    /// [`Session::is_in_message`], else empty. Nothing may be waiting in [`Session::take_out`].
    ///
    /// # Errors
    /// The connection is over, or the keys are used up and cannot be changed.
    pub fn write(&mut self, plain: &[u8], held: &mut [u8], out: &mut [u8]) -> Result<usize, Fault> {
        self.with_writer(held, |writer| writer.encrypt(plain, out))
    }

    /// Encrypts that we have no more to say. After it nothing can be written.
    ///
    /// # Errors
    /// There is nobody to say it to: the handshake is not done, or the connection over.
    pub fn close(&mut self, held: &mut [u8], out: &mut [u8]) -> Result<usize, Fault> {
        self.with_writer(held, |writer| writer.close(out))
    }

    fn with_writer(
        &mut self,
        held: &mut [u8],
        write: impl FnOnce(&mut dyn Writer) -> Result<usize, EncryptError>,
    ) -> Result<usize, Fault> {
        match self.stage {
            Stage::Traffic | Stage::PeerClosed => {}
            Stage::Handshake => return Err(Fault::Internal),
            Stage::Failed(fault) => return Err(fault),
        }
        assert!(self.out.is_empty(), "what precedes is sent before");
        let held = if self.in_message { held } else { &mut [] };
        let wrote = match &mut self.side {
            Connection::Server(it) => written(it.process_tls_records(held), write),
            Connection::Client(it) => written(it.process_tls_records(held), write),
        };
        wrote.inspect_err(|fault| self.stage = Stage::Failed(*fault))
    }

    fn turn(&mut self, bytes: &mut [u8], plain: &mut dyn FnMut(&[u8])) -> (usize, Next) {
        match &mut self.side {
            Connection::Server(it) => turn(it.process_tls_records(bytes), &mut self.out, plain),
            Connection::Client(it) => turn(it.process_tls_records(bytes), &mut self.out, plain),
        }
    }

    /// After a failure rustls has an alert for the peer; asked for only while it has, for it would look at its input.
    fn take_alert(&mut self, plain: &mut dyn FnMut(&[u8])) {
        while self.common().wants_write() {
            self.turn(&mut [], plain);
        }
    }

    fn common(&self) -> &CommonState {
        match &self.side {
            Connection::Server(it) => it,
            Connection::Client(it) => it,
        }
    }
}

/// What a turn of rustls asks for.
enum Next {
    Again,
    Blocked(Stage),
    Failed(Fault),
}

fn turn<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    out: &mut Vec<u8>,
    plain: &mut dyn FnMut(&[u8]),
) -> (usize, Next) {
    let UnbufferedStatus { mut discard, state } = status;
    let next = match state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(AppDataRecord { discard: more, payload })) => {
                    discard += more;
                    plain(payload);
                }
                Some(Err(error)) => break Next::Failed(Fault::of(&error)),
                None => break Next::Again,
            }
        },
        Ok(ConnectionState::EncodeTlsData(data)) => encoded(data, out),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done(); // it is ours now, and precedes all that follows
            Next::Again
        }
        Ok(ConnectionState::BlockedHandshake) => Next::Blocked(Stage::Handshake),
        Ok(ConnectionState::WriteTraffic(_)) => Next::Blocked(Stage::Traffic),
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Next::Blocked(Stage::PeerClosed),
        // Never offered: early data can be replayed (CF-17). And the enum is open.
        Ok(_) => Next::Failed(Fault::Internal),
        Err(error) => Next::Failed(Fault::of(&error)),
    };
    (discard, next)
}

fn encoded<Data>(mut data: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) -> Next {
    let at = out.len();
    let needed = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(it)) => it.required_size,
        Ok(_) | Err(EncodeError::AlreadyEncoded) => return Next::Failed(Fault::Internal),
    };
    out.resize(at + needed, 0);
    match data.encode(&mut out[at..]) {
        Ok(n) => {
            out.truncate(at + n);
            Next::Again
        }
        Err(_) => Next::Failed(Fault::Internal),
    }
}

/// The one thing that both sides' write state can do, by another name each.
trait Writer {
    fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, EncryptError>;
    fn close(&mut self, out: &mut [u8]) -> Result<usize, EncryptError>;
}

impl<Data> Writer for rustls::unbuffered::WriteTraffic<'_, Data> {
    fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, EncryptError> {
        rustls::unbuffered::WriteTraffic::encrypt(self, plain, out)
    }

    fn close(&mut self, out: &mut [u8]) -> Result<usize, EncryptError> {
        self.queue_close_notify(out)
    }
}

fn written<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    write: impl FnOnce(&mut dyn Writer) -> Result<usize, EncryptError>,
) -> Result<usize, Fault> {
    debug_assert_eq!(status.discard, 0, "what is held was looked at before");
    match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => write(&mut traffic).map_err(|_| Fault::Internal),
        Ok(_) => Err(Fault::Internal),
        Err(error) => Err(Fault::of(&error)),
    }
}

/// How long the record is that begins here, as far as its head is there.
pub fn record_bytes(bytes: &[u8]) -> Option<usize> {
    let head = bytes.first_chunk::<RECORD_HEAD_BYTES>()?;
    Some(RECORD_HEAD_BYTES + usize::from(u16::from_be_bytes([head[3], head[4]])))
}

fn is_whole_record(bytes: &[u8]) -> bool {
    record_bytes(bytes).is_some_and(|whole| whole <= bytes.len())
}

#[cfg(test)]
mod tests;
