//! The housekeeping thread: accepts on the control surfaces, takes signals, looks after the workers once a second.
//!
//! Owns: both listeners, the bound on their connections, and a thread for each connection.
//! Must not: wait for a peer or the disk; whatever may take long runs on a connection's thread.
//! Read next: [`super::api`], what the connections are answered.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use ringway_contract::stats::Drain;
use rustix::event::{PollFd, PollFlags, poll};

use super::admin::{self, Door};
use super::api::{Api, Reply};
use super::bounds::{
    ACCEPT_PAUSE, ADMIN_CONNECTIONS_MAX, ADMIN_IDLE, CONTROL_CONNECTIONS_MAX, CONTROL_IDLE, TICK,
};
use super::http::{Answer, Broken, Connection};
use super::signals::{Asked, Signals};
use super::socket::{ControlSocket, Peer};
use super::stream::{Stream, until};
use crate::observe::event_log;

/// What the thread works with.
pub struct Housekeeping {
    /// What answers.
    pub api: Arc<Api>,
    /// The control socket, if there is one.
    pub socket: Option<ControlSocket>,
    /// Where changes put the admin listener.
    pub door: Arc<Door>,
    /// None where the embedding process handles signals itself, as a test does.
    pub signals: Option<Signals>,
    /// Connections of the two surfaces.
    pub seats: Seats,
}

/// How many connections each surface has.
#[derive(Default)]
pub struct Seats {
    control: Arc<AtomicUsize>,
    admin: Arc<AtomicUsize>,
}

/// A connection's place, given back by `Drop`.
struct Seat {
    surface: Arc<AtomicUsize>,
    api: Arc<Api>,
}

impl Seat {
    fn take(surface: &Arc<AtomicUsize>, max: usize, api: &Arc<Api>) -> Option<Self> {
        if surface.load(Ordering::Relaxed) >= max {
            return None; // only housekeeping takes seats, so this cannot have changed
        }
        surface.fetch_add(1, Ordering::Relaxed);
        api.connections.fetch_add(1, Ordering::Relaxed);
        Some(Self { surface: Arc::clone(surface), api: Arc::clone(api) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.surface.fetch_sub(1, Ordering::Relaxed);
        self.api.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What woke the thread.
#[derive(Default)]
struct Woken {
    signal: bool,
    door: bool,
    control: bool,
    admin: bool,
}

impl Housekeeping {
    /// Runs until the process ends.
    pub fn run(mut self) -> ! {
        let mut admin: Option<TcpListener> = None;
        let mut tick = Instant::now() + TICK;
        loop {
            let woken = self.wait(admin.as_ref(), tick);
            if woken.signal {
                self.obey_signals();
            }
            if woken.door
                && let Some(next) = self.door.take()
            {
                admin = next.filter(|listener| set_nonblocking(listener));
            }
            if woken.control {
                self.accept_control();
            }
            if let Some(listener) = admin.as_ref().filter(|_| woken.admin) {
                self.accept_admin(listener);
            }
            if Instant::now() >= tick {
                tick = Instant::now() + TICK;
                self.api.plane.tick();
            }
        }
    }

    fn wait(&self, admin: Option<&TcpListener>, tick: Instant) -> Woken {
        let sources = [
            self.signals.as_ref().map(Signals::wake),
            Some(self.door.wake()),
            self.socket.as_ref().map(|socket| socket.listener.as_fd()),
            admin.map(AsFd::as_fd),
        ];
        let present: Vec<(usize, BorrowedFd<'_>)> =
            sources.into_iter().enumerate().filter_map(|(index, fd)| Some((index, fd?))).collect();
        let mut fds: Vec<PollFd<'_>> = present.iter().map(|(_, fd)| PollFd::new(fd, PollFlags::IN)).collect();
        let mut woken = Woken::default();
        let Some(left) = until(tick) else { return woken };
        if poll(&mut fds, Some(&left)).is_err() {
            return woken; // EINTR: a signal, which its pipe tells in the next turn
        }
        let places = [&mut woken.signal, &mut woken.door, &mut woken.control, &mut woken.admin];
        for (fd, (index, _)) in fds.iter().zip(&present) {
            *places[*index] = !fd.revents().is_empty();
        }
        woken
    }

    fn obey_signals(&mut self) {
        let asked = self.signals.as_mut().map(Signals::take).unwrap_or_default();
        for asked in asked {
            match asked {
                Asked::Drain => {
                    if let Err(why) = self.api.pipeline.drain(&Drain::default(), "signal") {
                        event_log::error("the drain cannot begin", &[("why", &why)]);
                    }
                }
                Asked::Reopen => {
                    event_log::info("logs are opened again", &[]);
                    self.api.log.reopen();
                }
                Asked::Upgrade => event_log::warn("hot upgrade is not supported yet", &[]),
            }
        }
    }

    fn accept_control(&self) {
        let Some(socket) = &self.socket else { return };
        while let Some((stream, _)) = accepted(socket.listener.accept()) {
            let peer = match Peer::of(&stream) {
                Ok(peer) if peer.may_enter() => peer,
                Ok(peer) => {
                    event_log::warn("a peer of the control socket is refused", &[("peer", &peer)]);
                    turn_away(
                        stream,
                        &Answer::error(403, "only the user of this process and root may connect"),
                    );
                    continue;
                }
                Err(_) => continue, // gone already
            };
            match Seat::take(&self.seats.control, CONTROL_CONNECTIONS_MAX, &self.api) {
                Some(seat) => begin("control", move || serve_control(&seat.api, stream, peer)),
                None => turn_away(stream, &Answer::error(503, "too many connections on the control socket")),
            }
        }
    }

    fn accept_admin(&self, listener: &TcpListener) {
        while let Some((stream, _)) = accepted(listener.accept()) {
            match Seat::take(&self.seats.admin, ADMIN_CONNECTIONS_MAX, &self.api) {
                Some(seat) => begin("admin", move || serve_admin(&seat.api, stream)),
                None => turn_away(stream, &Answer::error(503, "too many connections on the admin address")),
            }
        }
    }
}

fn set_nonblocking(listener: &TcpListener) -> bool {
    match listener.set_nonblocking(true) {
        Ok(()) => true,
        Err(error) => {
            event_log::error("the admin address is not served", &[("error", &error)]);
            false
        }
    }
}

/// None when there is no more to accept. For want of descriptors it pauses: the listener stays readable, and the
/// thread must not spin.
fn accepted<S, A>(result: io::Result<(S, A)>) -> Option<(S, A)> {
    match result {
        Ok(accepted) => Some(accepted),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) =>
        {
            None
        }
        Err(error) => {
            event_log::warn("a control connection cannot be accepted", &[("error", &error)]);
            thread::sleep(ACCEPT_PAUSE);
            None
        }
    }
}

/// A thread for one connection. Whatever `serve` holds is dropped with it, also if there can be no thread.
fn begin(name: &str, serve: impl FnOnce() + Send + 'static) {
    if let Err(error) = thread::Builder::new().name(name.to_owned()).spawn(serve) {
        event_log::error("no thread for a control connection", &[("error", &error)]);
    }
}

/// One short answer, without waiting for the peer to take it.
fn turn_away(socket: impl Into<std::os::fd::OwnedFd>, answer: &Answer) {
    if let Ok(stream) = Stream::new(socket) {
        stream.offer(&answer.bytes_closing());
    }
}

fn serve_control(api: &Api, socket: UnixStream, peer: Peer) {
    let Ok(stream) = Stream::new(socket) else { return };
    let who = peer.to_string();
    let mut connection = Connection::new(stream);
    loop {
        let head = match connection.head(CONTROL_IDLE) {
            Ok(head) => head,
            Err(Broken::Gone) => return,
            Err(Broken::Refused(answer)) => return connection.refuse(&answer),
        };
        let answer = match api.control(&head, &mut connection, &who) {
            Ok(Reply::Whole(answer)) => answer,
            Ok(Reply::Events(subscription)) => {
                let first = api.first_event();
                let _ = subscription.serve(&connection.into_stream(), first.as_ref()); // the peer left, one way or the other
                return;
            }
            Err(Broken::Gone) => return,
            Err(Broken::Refused(answer)) => return connection.refuse(&answer),
        };
        match connection.answer(&head, &answer) {
            Some(next) => connection = next,
            None => return,
        }
    }
}

fn serve_admin(api: &Api, socket: TcpStream) {
    let Ok(local) = socket.local_addr().as_ref().map(SocketAddr::ip) else { return };
    let _ = socket.set_nodelay(true); // saves 40 ms at most; not worth failing for
    let Ok(stream) = Stream::new(socket) else { return };
    let mut connection = Connection::new(stream);
    loop {
        let head = match connection.head(ADMIN_IDLE) {
            Ok(head) => head,
            Err(Broken::Gone) => return,
            Err(Broken::Refused(answer)) => return connection.refuse(&answer),
        };
        let answer = match admin::check(&head, local) {
            Ok(()) => api.admin(&head),
            Err(answer) => answer,
        };
        match connection.answer(&head, &answer) {
            Some(next) => connection = next,
            None => return,
        }
    }
}
