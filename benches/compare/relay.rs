//! `raw-relay LISTEN UPSTREAM`: bytes from one socket to another and back, and nothing else.
//!
//! Owns: the floor of the comparison. One thread, one epoll, edge-triggered; a connection upstream per connection
//! accepted; no HTTP, no pool, no deadline.
//! Must not: know what it carries.
//! Read next: `proxies.rs`, which starts it beside the others.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, ipproto, sockopt};

const READ_BYTES: usize = 64 * 1_024;
const EVENTS_MAX: usize = 512;
const LISTENER: u64 = u64::MAX;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (Some(listen), Some(upstream)) =
        (args.first().and_then(|it| it.parse().ok()), args.get(1).and_then(|it| it.parse().ok()))
    else {
        eprintln!("usage: raw-relay LISTEN_ADDRESS UPSTREAM_ADDRESS");
        return ExitCode::from(2);
    };
    match Relay::new(listen, upstream).and_then(Relay::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raw-relay: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Relay {
    epoll: OwnedFd,
    listener: OwnedFd,
    upstream: SocketAddr,
    /// Both ends of a pair are neighbours: the peer of `n` is `n ^ 1`.
    ends: Vec<Option<End>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
}

/// One socket of a pair.
struct End {
    socket: OwnedFd,
    /// Bytes of the peer's that this socket would not take yet.
    pending: VecDeque<u8>,
    /// A FIN was announced, so reading goes on to the end.
    hup: bool,
    /// Everything was read.
    read_out: bool,
    /// The peer was read out, and this socket owes its other side a FIN.
    owes_fin: bool,
}

impl Relay {
    fn new(listen: SocketAddr, upstream: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let listener = OwnedFd::from(listener);
        rustix::net::listen(&listener, 4_096)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let buffer = vec![0; READ_BYTES];
        Ok(Self { epoll, listener, upstream, ends: Vec::new(), free: Vec::new(), buffer })
    }

    fn run(mut self) -> std::io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                let (token, flags) = (event.data.u64(), event.flags);
                if token == LISTENER {
                    self.accept()?;
                } else {
                    self.serve(token as usize, flags);
                }
            }
        }
    }

    fn accept(&mut self) -> std::io::Result<()> {
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let down = match rustix::net::accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let family = if self.upstream.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let up = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
            match rustix::net::connect(&up, &self.upstream) {
                Ok(()) | Err(Errno::INPROGRESS) => {}
                Err(_) => continue,
            }
            self.enter(down, up)?;
        }
    }

    fn enter(&mut self, down: OwnedFd, up: OwnedFd) -> std::io::Result<()> {
        let place = self.free.pop().unwrap_or_else(|| {
            self.ends.extend([None, None]);
            self.ends.len() - 2
        });
        for (at, socket) in [(place, down), (place + 1, up)] {
            sockopt::set_tcp_nodelay(&socket, true)?;
            let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(&self.epoll, &socket, EventData::new_u64(at as u64), interest)?;
            self.ends[at] =
                Some(End { socket, pending: VecDeque::new(), hup: false, read_out: false, owes_fin: false });
        }
        Ok(())
    }

    fn serve(&mut self, at: usize, flags: EventFlags) {
        let Some(end) = self.ends[at].as_mut() else { return };
        end.hup |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        let readable = end.hup || flags.contains(EventFlags::IN);
        let was_full = !end.pending.is_empty();
        let alive = if was_full && flags.contains(EventFlags::OUT) {
            self.flush(at).and_then(|()| self.pump(at ^ 1))
        } else {
            Ok(())
        };
        let alive = if readable { alive.and_then(|()| self.pump(at)) } else { alive };
        let both_out = [at, at ^ 1]
            .iter()
            .all(|&n| self.ends[n].as_ref().is_none_or(|end| end.read_out && end.pending.is_empty()));
        if alive.is_err() || both_out {
            let place = at & !1;
            self.ends[place] = None;
            self.ends[place + 1] = None;
            self.free.push(place);
        }
    }

    /// Moves what `from` has to its peer, until the one is empty or the other is full.
    fn pump(&mut self, from: usize) -> Result<(), Errno> {
        loop {
            let [Some(source), Some(sink)] = pair(&mut self.ends, from) else { return Ok(()) };
            if !sink.pending.is_empty() || source.read_out {
                return Ok(());
            }
            let count = match rustix::io::read(&source.socket, &mut self.buffer[..]) {
                Ok(0) => {
                    source.read_out = true;
                    sink.owes_fin = true;
                    return self.flush(from ^ 1);
                }
                Ok(count) => count,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            };
            let sent = write(&sink.socket, &self.buffer[..count])?;
            sink.pending.extend(&self.buffer[sent..count]);
            if count < self.buffer.len() && !source.hup {
                return Ok(());
            }
        }
    }

    fn flush(&mut self, at: usize) -> Result<(), Errno> {
        let Some(end) = self.ends[at].as_mut() else { return Ok(()) };
        while !end.pending.is_empty() {
            let sent = write(&end.socket, end.pending.as_slices().0)?;
            if sent == 0 {
                return Ok(());
            }
            end.pending.drain(..sent);
        }
        if std::mem::take(&mut end.owes_fin) {
            rustix::net::shutdown(&end.socket, Shutdown::Write)?;
        }
        Ok(())
    }
}

/// How much it took; 0 where it is full or not connected yet.
fn write(socket: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::write(socket, bytes) {
            Err(Errno::AGAIN | Errno::NOTCONN) => return Ok(0),
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

fn pair(ends: &mut [Option<End>], from: usize) -> [Option<&mut End>; 2] {
    let place = from & !1;
    let (left, right) = ends[place..place + 2].split_at_mut(1);
    if from == place { [left[0].as_mut(), right[0].as_mut()] } else { [right[0].as_mut(), left[0].as_mut()] }
}
