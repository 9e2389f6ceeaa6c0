//! Connections to endpoints: kept, reused when provably quiet, dialled when not.
//!
//! Owns: the idle connections of one worker, a shelf per endpoint, newest first out.
//! Must not: choose the endpoint, or decide whether a failed attempt is tried again.
//! Read next: `attempt.rs`, which uses one.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use ringway_contract::snapshot::Connections;
use rustls::pki_types::ServerName;

use crate::cells::Slot;
use crate::outcome::{AttemptError, Reason, Retry};
use crate::ring::{Buffers, Inbox, Socket};
use crate::table::{Backend, Endpoint};
use crate::tls::{Fault, Session};

/// One connection to an endpoint.
pub struct Connection {
    /// Its socket.
    pub socket: Socket,
    /// Its receiving side.
    pub inbox: Inbox,
    /// True if an earlier exchange used it: the peer may have given it up meanwhile.
    pub reused: bool,
    /// If it is secure: whether its handshake took up an earlier session.
    pub resumed: Option<bool>,
    born_ms: u64,
    idle_since_ms: u64,
    _open: Open,
}

/// Counts a connection as open for as long as it lives.
struct Open(Rc<Cell<u64>>);

impl Open {
    fn count(open: &Rc<Cell<u64>>) -> Self {
        open.set(open.get() + 1);
        Self(Rc::clone(open))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The idle connections of one worker.
#[derive(Default)]
pub struct Pools {
    shelves: RefCell<Vec<Shelf>>,
    idle: Cell<u64>,
    open: Rc<Cell<u64>>,
    stale: Cell<u64>,
    turn: Cell<usize>,
}

#[derive(Default)]
struct Shelf {
    slot: Option<Slot>,
    idle: Vec<Connection>,
    rules: Connections,
}

impl Pools {
    /// The newest idle connection to `endpoint` on which the peer has neither sent nor closed.
    pub fn take(&self, endpoint: &Endpoint, now_ms: u64) -> Option<Connection> {
        let mut shelves = self.shelves.borrow_mut();
        let shelf =
            shelves.get_mut(endpoint.slot.index as usize).filter(|it| it.slot == Some(endpoint.slot))?;
        while let Some(mut connection) = shelf.idle.pop() {
            self.idle.set(self.idle.get() - 1);
            if connection.fits(&shelf.rules, now_ms) && connection.inbox.is_quiet() {
                connection.reused = true;
                return Some(connection);
            }
            self.stale.set(self.stale.get() + 1);
        }
        None
    }

    /// Keeps `connection` for a later attempt, unless the shelf is full or the connection old.
    pub fn put(&self, endpoint: &Endpoint, rules: &Connections, mut connection: Connection, now_ms: u64) {
        connection.idle_since_ms = now_ms;
        let mut shelves = self.shelves.borrow_mut();
        let place = endpoint.slot.index as usize;
        if shelves.len() <= place {
            shelves.resize_with(place + 1, Shelf::default);
        }
        let shelf = &mut shelves[place];
        if shelf.slot != Some(endpoint.slot) {
            // The place was another endpoint's: its connections lead elsewhere.
            self.idle.set(self.idle.get() - shelf.idle.len() as u64);
            shelf.idle.clear();
            shelf.slot = Some(endpoint.slot);
        }
        shelf.rules = *rules;
        // Looking at it begins the wait that will see it closed, or the answer of its next request.
        if shelf.idle.len() < rules.idle_max as usize
            && connection.fits(rules, now_ms)
            && connection.inbox.is_quiet()
        {
            shelf.idle.push(connection);
            self.idle.set(self.idle.get() + 1);
        }
    }

    /// Closes idle connections that the peer closed, that lay idle too long, or whose endpoint `keep` does not want.
    pub fn sweep(&self, now_ms: u64, keep: impl Fn(Slot) -> bool) {
        for shelf in self.shelves.borrow_mut().iter_mut() {
            let wanted = shelf.slot.is_some_and(&keep);
            let before = shelf.idle.len();
            let rules = shelf.rules;
            shelf.idle.retain_mut(|idle| wanted && idle.fits(&rules, now_ms) && idle.inbox.is_quiet());
            let closed = (before - shelf.idle.len()) as u64;
            self.idle.set(self.idle.get() - closed);
        }
    }

    /// Idle connections now.
    pub fn idle(&self) -> u64 {
        self.idle.get()
    }

    /// Connections in use now.
    pub fn active(&self) -> u64 {
        self.open.get() - self.idle.get()
    }

    /// Idle connections found unusable when they were wanted, since start (`pool_stale`).
    pub fn stale(&self) -> u64 {
        self.stale.get()
    }

    /// Dials `endpoint`, at one of its addresses in turn.
    ///
    /// # Errors
    /// Nothing was sent, so every error may be tried again.
    pub async fn dial(
        &self,
        backend: &Backend,
        endpoint: &Endpoint,
        now_ms: u64,
        buffers: &Buffers,
    ) -> Result<Connection, AttemptError> {
        let open = Open::count(&self.open);
        let address = self.next_address(endpoint)?;
        let timeout = std::time::Duration::from_millis(backend.connect_timeout_ms);
        let connected = Cell::new(false);
        let connecting = async {
            let socket = Socket::connect(address).await.map_err(|error| unsent(connect_reason(&error)))?;
            connected.set(true);
            if let Some(name) = &endpoint.secure {
                let resumed = shake(&socket, backend, name, buffers).await.map_err(AttemptError::tls)?;
                return Ok((socket, Some(resumed)));
            }
            Ok((socket, None))
        };
        // All of it may be dropped: the socket belongs to the operation and closes with it.
        let (socket, resumed) = match monoio::time::timeout(timeout, connecting).await {
            Ok(connected) => connected?,
            Err(_elapsed) if connected.get() => return Err(AttemptError::tls(Fault::TimedOut)),
            Err(_elapsed) => return Err(unsent(Reason::UpConnectTimeout)),
        };
        let inbox = Inbox::new(&socket, buffers);
        Ok(Connection {
            socket,
            inbox,
            reused: false,
            resumed,
            born_ms: now_ms,
            idle_since_ms: now_ms,
            _open: open,
        })
    }

    fn next_address(&self, endpoint: &Endpoint) -> Result<SocketAddr, AttemptError> {
        let addresses = &endpoint.addresses;
        if addresses.is_empty() {
            return Err(unsent(Reason::UpDns));
        }
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        Ok(addresses[turn % addresses.len()])
    }
}

impl Connection {
    fn fits(&self, rules: &Connections, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.idle_since_ms) < rules.idle_timeout_ms.get()
            && now_ms.saturating_sub(self.born_ms) < rules.max_age_ms.get()
    }
}

/// Makes a fresh connection secure; true if it took up an earlier session. Whatever goes wrong, nothing is ever sent in
/// plain text instead.
async fn shake(
    socket: &Socket,
    backend: &Backend,
    name: &ServerName<'static>,
    buffers: &Buffers,
) -> Result<bool, Fault> {
    let side = backend.tls.as_ref().ok_or(Fault::Internal)?;
    socket.secure(Session::client(side.config(), name.clone())?, buffers);
    socket.handshake().await
}

/// Nothing left, so anything may be tried again.
fn unsent(reason: Reason) -> AttemptError {
    AttemptError::new(reason, Retry::Safe)
}

fn connect_reason(error: &std::io::Error) -> Reason {
    match error.raw_os_error() {
        // Our own ports or descriptors ran out: the endpoint is not to blame.
        Some(libc::EADDRNOTAVAIL | libc::EMFILE | libc::ENFILE) => Reason::GatewayPorts,
        Some(libc::ETIMEDOUT) => Reason::UpConnectTimeout,
        _ => Reason::UpConnectRefused,
    }
}
