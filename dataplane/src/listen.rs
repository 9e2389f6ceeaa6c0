//! Accepting: one socket per worker and address, and a fair spread of what arrives.
//!
//! Owns: the accept loops of a worker, the hand-over of a fresh connection to a less loaded worker, and the limit
//! on connections.
//! Must not: drop an accept in flight (the kernel may have finished it: the connection would leak), or move a
//! connection once anything was read from it.
//! Read next: `downstream.rs`, which serves one connection.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use monoio::io::Canceller;
use monoio::net::{TcpListener, TcpStream};
use ringway_contract::snapshot::Listener;

use crate::bounds::{ACCEPT_PAUSE_MS, BACKLOG, BIND_WAIT_MS_MAX, BIND_WAIT_STEP_MS};
use crate::downstream;
use crate::observe::Counter;
use crate::outcome::Reason;
use crate::plane::Seat;
use crate::ring::{Guarded, Socket};
use crate::worker::{Message, Worker};

/// A socket that is being accepted on.
pub struct Accepting {
    rules: Rules,
    stop: Canceller,
}

/// The rules of a listener: a reload changes them for connections to come.
#[derive(Clone)]
struct Rules(Rc<RefCell<(Arc<Listener>, Rc<Listener>)>>);

impl Rules {
    fn new(listener: Arc<Listener>) -> Self {
        let local = Rc::new(Listener::clone(&listener));
        Self(Rc::new(RefCell::new((listener, local))))
    }

    fn replace(&self, listener: Arc<Listener>) {
        let local = Rc::new(Listener::clone(&listener));
        *self.0.borrow_mut() = (listener, local);
    }

    fn address(&self) -> SocketAddr {
        self.0.borrow().0.address
    }

    fn shared(&self) -> Arc<Listener> {
        Arc::clone(&self.0.borrow().0)
    }

    fn local(&self) -> Rc<Listener> {
        Rc::clone(&self.0.borrow().1)
    }
}

/// Binds one socket per worker for `address`, all sharing its port.
///
/// # Errors
/// The address is taken by another program, or is not ours.
pub fn bind(address: SocketAddr, workers: usize) -> std::io::Result<Vec<std::net::TcpListener>> {
    // With SO_REUSEPORT a second program would share the port in silence and get part of the traffic: without it the
    // address must be free.
    await_free(address)?;
    let listening = |_| {
        let socket = bound(address, true)?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?; // the epoll driver would block the worker otherwise
        Ok(socket.into())
    };
    (0..workers).map(listening).collect()
}

/// Waits until nobody listens on `address`. A ring of a killed predecessor lets go of its sockets a little after the
/// process is gone.
fn await_free(address: SocketAddr) -> std::io::Result<()> {
    let mut waited_ms = 0;
    loop {
        match bound(address, false) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::AddrInUse && waited_ms < BIND_WAIT_MS_MAX => {}
            Err(error) => return Err(error),
        }
        std::thread::sleep(Duration::from_millis(BIND_WAIT_STEP_MS));
        waited_ms += BIND_WAIT_STEP_MS;
    }
}

fn bound(address: SocketAddr, shared: bool) -> std::io::Result<socket2::Socket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM.cloexec(), Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_tcp_nodelay(true)?; // what is accepted inherits it: a system call less for each connection
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Starts accepting on `socket`, or changes the rules of the address if there is none.
pub fn begin(
    worker: &Rc<Worker>,
    listeners: &RefCell<Vec<Accepting>>,
    listener: Arc<Listener>,
    socket: Option<std::net::TcpListener>,
) {
    let mut listeners = listeners.borrow_mut();
    let Some(socket) = socket else {
        if let Some(known) = listeners.iter().find(|known| known.rules.address() == listener.address) {
            known.rules.replace(listener);
        }
        return;
    };
    let Ok(socket) = TcpListener::from_std(socket) else {
        worker.shard.count(Counter::AcceptErrors);
        return;
    };
    let rules = Rules::new(listener);
    let stop = Canceller::new();
    let socket = Rc::new(socket);
    for _ in 0..worker.accepts_in_flight() {
        monoio::spawn(accept(Rc::clone(worker), Rc::clone(&socket), rules.clone(), stop.handle()));
    }
    listeners.push(Accepting { rules, stop });
}

/// Stops accepting on `address`, or everywhere.
pub fn end(listeners: &RefCell<Vec<Accepting>>, address: Option<SocketAddr>) {
    let mut kept = Vec::new();
    for accepting in listeners.take() {
        if address.is_none_or(|address| accepting.rules.address() == address) {
            accepting.stop.cancel();
        } else {
            kept.push(accepting);
        }
    }
    *listeners.borrow_mut() = kept;
}

async fn accept(worker: Rc<Worker>, socket: Rc<TcpListener>, rules: Rules, stop: monoio::io::CancelHandle) {
    loop {
        match socket.cancelable_accept(stop.clone()).await {
            Ok((stream, peer)) => place(&worker, stream, peer, &rules),
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => return,
            Err(error) => {
                worker.shard.count(Counter::AcceptErrors);
                if out_of_descriptors(&error) {
                    // Nothing can be accepted until something closes; spinning would only take the time to close it.
                    monoio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            }
        }
    }
}

fn out_of_descriptors(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Serves a fresh connection here, or hands it to a worker with clearly fewer. SO_REUSEPORT hashes, it does not
/// balance: of 8 listeners with 32 connections the busiest has 1.75 times its share.
fn place(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, rules: &Rules) {
    let chance = worker.rng.borrow_mut().u32(..);
    let seat = worker.shared.seat(worker.id, chance);
    let other = seat.worker();
    if other == worker.id {
        return serve(worker, Socket::accepted(stream), peer, rules.local(), seat);
    }
    let fresh = Fresh { fd: Socket::release(stream), peer, rules: rules.shared(), seat };
    match worker.shared.tell(other, Message::Adopt(fresh)) {
        Ok(()) => worker.shard.count(Counter::HandedOver),
        Err(Message::Adopt(Fresh { fd, peer, .. })) => {
            let seat = worker.shared.take_seat(worker.id);
            if let Ok(socket) = Socket::adopt(fd) {
                serve(worker, socket, peer, rules.local(), seat);
            }
        }
        Err(_) => unreachable!("a refused message comes back as it was"),
    }
}

/// A connection on its way to the worker whose it becomes.
pub struct Fresh {
    fd: OwnedFd,
    peer: SocketAddr,
    rules: Arc<Listener>,
    seat: Seat,
}

/// Serves a connection that another worker accepted.
pub fn adopt(worker: &Rc<Worker>, fresh: Fresh) {
    let Fresh { fd, peer, rules, seat } = fresh;
    let Ok(socket) = Socket::adopt(fd) else { return };
    serve(worker, socket, peer, Rc::new(Listener::clone(&rules)), seat);
}

fn serve(worker: &Rc<Worker>, socket: Socket, peer: SocketAddr, rules: Rc<Listener>, seat: Seat) {
    worker.shard.count(Counter::Accepted);
    let Some(place) = worker.shared.connection_place(worker.table().limits().connections) else {
        monoio::spawn(turn_away(Rc::clone(worker), socket, seat, rules.tls.is_some()));
        return;
    };
    let worker = Rc::clone(worker);
    monoio::spawn(async move {
        let _counted = (seat, place);
        let serving = downstream::serve(Rc::clone(&worker), socket, peer, rules);
        if Guarded::new(serving).await.is_err() {
            worker.shard.count(Counter::Panics);
            worker.count_reason(Reason::Panic);
        }
    });
}

/// Over the limit (CF-15): a short answer if it costs nothing, and the connection ends.
async fn turn_away(worker: Rc<Worker>, socket: Socket, seat: Seat, secure: bool) {
    worker.shard.count(Counter::Refused);
    worker.count_reason(Reason::ConnLimit);
    if !secure {
        downstream::turn_away(&worker, &socket).await; // else it would cost a handshake
    }
    drop(seat);
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    #[test]
    fn what_is_accepted_sends_without_delay() {
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 1).expect("a free port").remove(0);
        listener.set_nonblocking(false).expect("it waits");
        let _caller = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (accepted, _) = listener.accept().expect("a caller is there");
        assert!(accepted.nodelay().expect("an option of the socket"));
    }
}
