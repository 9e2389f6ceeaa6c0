//! The turn of the one thread: what is due is sent, what came is read, and nobody ever sleeps.
//!
//! Owns: all sockets, who of them is idle, and what waits for one.
//! Must not: compare a byte; see `ends.rs`.
//! Read next: `schedule.rs`.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::time::Timespec;
use socket2::{Domain, Protocol, Socket, Type};

use super::ends::{Caller, End, Events, Got, Origin, Role, Sending, check, read, send, write};
use super::fault::{Fault, io_fault};
use super::schedule::{Kind, Schedule};
use super::{Counted, LISTENER, Load};
use crate::bounds::{BEHIND_BYTES_MAX, DUE_PER_TURN_MAX, EVENT_BYTES, EVENTS_MAX, SETUP_MAX, STALL_MAX};
use crate::http::{Fed, Reader};
use crate::workload::{Messages, Pace, Stamp, Workload, write_event};

/// A stream at the origin: where it is sent, and how many events it had.
pub(super) struct Feed {
    end: usize,
    sent: u32,
}

/// One thread's turn at all of it.
pub(super) struct Turn<'a> {
    pub(super) workload: &'a Workload,
    pub(super) proxy: SocketAddr,
    pub(super) messages: Messages,
    pub(super) load: Load,
    /// Boxed, so that taking one out moves a pointer.
    pub(super) ends: Vec<Option<Box<End>>>,
    pub(super) free: Vec<usize>,
    /// Callers without a request out.
    pub(super) idle: VecDeque<usize>,
    /// Intended times that found no caller idle.
    pub(super) backlog: VecDeque<u64>,
    pub(super) streams: Vec<Feed>,
    /// Streams whose head has come through.
    pub(super) standing: usize,
    pub(super) began: Instant,
    pub(super) counted: Counted,
    pub(super) counting: bool,
    /// Units since the beginning, counted or not.
    pub(super) progress: u64,
    pub(super) buffer: Vec<u8>,
}

impl Turn<'_> {
    pub(super) fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Makes all connections of callers; streams also wait until each has its head.
    pub(super) fn open_all(&mut self) -> Result<(), Fault> {
        let closed = self.workload.pace == Pace::Closed;
        let streams = matches!(self.workload.pace, Pace::Streams { .. });
        let mut events = Vec::with_capacity(EVENTS_MAX);
        for _ in 0..self.workload.connections {
            let end = self.open()?;
            if closed || streams {
                self.ask(end, self.now_ns())?;
            } else {
                self.idle.push_back(end);
            }
            // The proxy is heard while thousands are connected, so that no queue of the system overflows.
            self.look(&mut events)?;
        }
        let deadline = Instant::now() + SETUP_MAX;
        while streams && self.standing < self.workload.connections {
            self.look(&mut events)?;
            if Instant::now() > deadline {
                return Err(Fault::Setup(self.standing, self.workload.connections));
            }
        }
        Ok(())
    }

    pub(super) fn drive(&mut self, schedule: &mut Schedule, time: Duration) -> Result<(), Fault> {
        let end_ns = self.now_ns() + time.as_nanos() as u64;
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let (mut seen, mut seen_ns) = (self.progress, self.now_ns());
        let (mut turned_ns, mut idled) = (seen_ns, false);
        loop {
            let now = self.now_ns();
            if idled {
                self.counted.idle += Duration::from_nanos(now - turned_ns);
            }
            turned_ns = now;
            if now >= end_ns {
                return Ok(());
            }
            if self.progress != seen {
                (seen, seen_ns) = (self.progress, now);
            } else if now - seen_ns > STALL_MAX.as_nanos() as u64 {
                return Err(Fault::Stall);
            }
            let due = schedule.next_ns;
            self.send_due(schedule, now)?;
            idled = self.look(&mut events)? == 0 && schedule.next_ns == due;
        }
    }

    fn send_due(&mut self, schedule: &mut Schedule, now: u64) -> Result<(), Fault> {
        for _ in 0..DUE_PER_TURN_MAX {
            let due = schedule.next_ns;
            if due > now || matches!(schedule.kind, Kind::Never) {
                return Ok(());
            }
            if self.counting {
                self.counted.late.saturating_record((now - due).max(1));
            }
            match &mut schedule.kind {
                Kind::Never => {}
                Kind::Random { mean_ns, dice } => {
                    schedule.next_ns += (-(1.0 - dice.f64()).ln() * *mean_ns) as u64;
                    match self.idle.pop_front() {
                        Some(end) => self.ask(end, due)?,
                        None => self.backlog.push_back(due),
                    }
                }
                Kind::Even { gap_ns, turn } => {
                    schedule.next_ns += *gap_ns;
                    // Another load's origin may have got them all.
                    if !self.streams.is_empty() {
                        let stream = *turn % self.streams.len();
                        *turn = stream + 1;
                        self.send_event(stream)?;
                    }
                }
                Kind::Bunched { period_ns } => {
                    schedule.next_ns += *period_ns;
                    for stream in 0..self.streams.len() {
                        self.send_event(stream)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn send_event(&mut self, stream: usize) -> Result<(), Fault> {
        const HEAD: &[u8] = b"a0\r\n";
        const _: () = assert!(EVENT_BYTES == 0xa0, "the size line says so");
        let at_ns = self.now_ns();
        let feed = &mut self.streams[stream];
        let mut coded = [0; HEAD.len() + EVENT_BYTES + 2];
        coded[..HEAD.len()].copy_from_slice(HEAD);
        coded[HEAD.len() + EVENT_BYTES..].copy_from_slice(b"\r\n");
        let mut event = [0; EVENT_BYTES];
        write_event(&mut event, Stamp { at_ns, stream: stream as u32, number: feed.sent });
        coded[HEAD.len()..HEAD.len() + EVENT_BYTES].copy_from_slice(&event);
        feed.sent += 1;
        let gone = Fault::Cut("at the origin, while it streamed");
        let Some(end) = self.ends[feed.end].as_mut() else { return Err(gone) };
        let Role::Origin(origin) = &mut end.role else { return Err(gone) };
        if origin.behind.is_empty() {
            let sent = write(&mut end.socket, &coded)?;
            origin.behind.extend_from_slice(&coded[sent..]);
        } else {
            origin.behind.extend_from_slice(&coded);
        }
        if origin.behind.len() > BEHIND_BYTES_MAX { Err(Fault::Behind) } else { Ok(()) }
    }

    pub(super) fn serve_others(&mut self, events: &mut Vec<Event>) -> Result<(), Fault> {
        self.look(events).map(drop)
    }

    /// Looks at the sockets once, without waiting; says how many had something.
    fn look(&mut self, events: &mut Vec<Event>) -> Result<usize, Fault> {
        const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        match epoll::wait(&self.load.epoll, spare_capacity(events), Some(&NOW)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Fault::Io("waiting", error.into())),
        }
        let count = events.len();
        for event in events.drain(..) {
            let (token, flags) = (event.data.u64(), event.flags);
            if token == LISTENER {
                self.accept()?;
            } else {
                self.serve(token as usize, flags)?;
            }
        }
        Ok(count)
    }

    fn accept(&mut self) -> Result<(), Fault> {
        loop {
            let socket = match self.load.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(Fault::Io("accepting", error)),
            };
            let reader = Reader::new(false);
            self.enter(
                socket,
                Role::Origin(Origin {
                    reader,
                    sending: Sending::default(),
                    body_at: 0,
                    behind: Vec::new(),
                    ends_after: false,
                }),
            )?;
        }
    }

    fn open(&mut self) -> Result<usize, Fault> {
        let connect = || -> io::Result<TcpStream> {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            socket.set_nonblocking(true)?;
            match socket.connect(&self.proxy.into()) {
                Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                    Err(error)
                }
                _ => Ok(socket.into()),
            }
        };
        let socket = connect().map_err(io_fault("connecting"))?;
        let events = Events { partial: [0; EVENT_BYTES], filled: 0, stream: None, next: 0, standing: false };
        self.enter(
            socket,
            Role::Caller(Caller {
                reader: Reader::new(true),
                sending: Sending::default(),
                body_at: 0,
                intended_ns: None,
                ending: false,
                events,
            }),
        )
    }

    fn enter(&mut self, socket: TcpStream, role: Role) -> Result<usize, Fault> {
        socket.set_nonblocking(true).map_err(io_fault("a new socket"))?;
        socket.set_nodelay(true).map_err(io_fault("a new socket"))?;
        let place = self.free.pop().unwrap_or_else(|| {
            self.ends.push(None);
            self.ends.len() - 1
        });
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.load.epoll, &socket, EventData::new_u64(place as u64), interest)
            .map_err(|error| Fault::Io("a new socket", error.into()))?;
        self.ends[place] = Some(Box::new(End { socket, role }));
        Ok(place)
    }

    fn leave(&mut self, place: usize) {
        self.ends[place] = None;
        self.free.push(place);
    }

    /// Sends a request that was to be sent at this time.
    fn ask(&mut self, place: usize, intended_ns: u64) -> Result<(), Fault> {
        let request = Arc::clone(&self.messages.request);
        let gone = Fault::Cut("before it was used");
        let Some(end) = self.ends[place].as_mut() else { return Err(gone) };
        let Role::Caller(caller) = &mut end.role else { return Err(gone) };
        caller.intended_ns = Some(intended_ns);
        caller.body_at = 0;
        caller.sending = Sending { bytes: Some(request), at: 0 };
        send(&mut end.socket, &mut caller.sending)
    }

    fn serve(&mut self, place: usize, flags: EventFlags) -> Result<(), Fault> {
        // An event may be of a socket that left in this very turn.
        let Some(mut end) = self.ends[place].take() else { return Ok(()) };
        let stays = match &mut end.role {
            Role::Caller(caller) => self.serve_caller(place, &mut end.socket, caller, flags)?,
            Role::Origin(origin) => self.serve_origin(place, &mut end.socket, origin, flags)?,
        };
        if !stays {
            drop(end);
            self.leave(place);
            return Ok(());
        }
        let asks_again = match &end.role {
            Role::Caller(caller) => caller.intended_ns.is_none() && !caller.ending,
            Role::Origin(_) => false,
        };
        self.ends[place] = Some(end);
        if asks_again { self.next(place) } else { Ok(()) }
    }

    /// A caller has its answer: what it does next.
    fn next(&mut self, place: usize) -> Result<(), Fault> {
        match self.workload.pace {
            Pace::Closed => self.ask(place, self.now_ns()),
            Pace::Open { .. } => {
                if let Some(due) = self.backlog.pop_front() {
                    return self.ask(place, due);
                }
                if !self.idle.contains(&place) {
                    self.idle.push_back(place);
                }
                Ok(())
            }
            Pace::Streams { .. } => Ok(()),
        }
    }

    /// False: the connection is over.
    fn serve_caller(
        &mut self,
        place: usize,
        socket: &mut TcpStream,
        caller: &mut Caller,
        flags: EventFlags,
    ) -> Result<bool, Fault> {
        if flags.contains(EventFlags::OUT) {
            send(socket, &mut caller.sending)?;
        }
        let hup = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        if !hup && !flags.contains(EventFlags::IN) {
            return Ok(true);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let stays = loop {
            let count = match read(socket, &mut buffer)? {
                Got::Nothing => break true,
                Got::End => break self.caller_ended(place, caller)?,
                Got::Bytes(count) => count,
            };
            self.answer_bytes(caller, &buffer[..count])?;
            if count < buffer.len() && !hup {
                break true;
            }
        };
        self.buffer = buffer;
        Ok(stays)
    }

    fn answer_bytes(&mut self, caller: &mut Caller, bytes: &[u8]) -> Result<(), Fault> {
        let Caller { reader, body_at, events, .. } = caller;
        if caller.intended_ns.is_none() {
            return Err(Fault::Surplus);
        }
        if let Pace::Streams { .. } = self.workload.pace {
            let now_ns = self.now_ns();
            let (counted, counting) = (&mut self.counted, self.counting);
            let mut units = 0;
            let fed = reader.feed(bytes, |body| {
                events.take(body, |stamp| {
                    units += 1;
                    if counting {
                        counted.delay.saturating_record(now_ns.saturating_sub(stamp.at_ns).max(1));
                    }
                })
            })?;
            if fed == Fed::Done {
                return Err(Fault::Cut("a stream that has no end"));
            }
            self.standing += usize::from(!events.standing && reader.in_body());
            events.standing |= reader.in_body();
            self.progress += units;
            self.counted.units += units;
            return Ok(());
        }
        let expected = &self.messages.answer_body;
        if reader.feed(bytes, |body| check(body, expected, body_at, "answer"))? == Fed::More {
            return Ok(());
        }
        if *body_at != expected.len() {
            return Err(Fault::Short { what: "answer", at: *body_at });
        }
        let intended = caller.intended_ns.take().unwrap_or_default();
        caller.ending = self.workload.connection_per_request || reader.close;
        self.progress += 1;
        self.counted.units += 1;
        if self.counting {
            let took = self.now_ns().saturating_sub(intended).max(1);
            self.counted.latency.saturating_record(took);
        }
        Ok(())
    }

    /// The proxy closed: right only behind an answer that said so.
    fn caller_ended(&mut self, place: usize, caller: &mut Caller) -> Result<bool, Fault> {
        if !caller.ending {
            return Err(Fault::Cut(match caller.intended_ns {
                None => "while it was idle, without having said so",
                Some(_) if caller.reader.in_body() => "in the middle of an answer",
                Some(_) => "instead of an answer",
            }));
        }
        let opened = self.open()?;
        debug_assert_ne!(opened, place, "its place is not free yet");
        match self.workload.pace {
            Pace::Open { .. } => self.idle.push_back(opened),
            Pace::Closed | Pace::Streams { .. } => self.ask(opened, self.now_ns())?,
        }
        Ok(false)
    }

    fn serve_origin(
        &mut self,
        place: usize,
        socket: &mut TcpStream,
        origin: &mut Origin,
        flags: EventFlags,
    ) -> Result<bool, Fault> {
        if flags.contains(EventFlags::OUT) {
            send(socket, &mut origin.sending)?;
            if !origin.behind.is_empty() {
                let sent = write(socket, &origin.behind)?;
                origin.behind.drain(..sent);
            }
        }
        let hup = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        if !hup && !flags.contains(EventFlags::IN) {
            return Ok(!origin.is_over());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let stays = loop {
            match read(socket, &mut buffer) {
                // Proxies may drop what they keep open as they like.
                Ok(Got::End) | Err(_) => break false,
                Ok(Got::Nothing) => break true,
                Ok(Got::Bytes(count)) => {
                    self.request_bytes(place, socket, origin, &buffer[..count])?;
                    if count < buffer.len() && !hup {
                        break true;
                    }
                }
            }
        };
        self.buffer = buffer;
        Ok(stays && !origin.is_over())
    }

    fn request_bytes(
        &mut self,
        place: usize,
        socket: &mut TcpStream,
        origin: &mut Origin,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        let expected = &self.messages.request_body;
        let body_at = &mut origin.body_at;
        if origin.reader.feed(bytes, |body| check(body, expected, body_at, "request"))? == Fed::More {
            return Ok(());
        }
        let came = std::mem::take(body_at);
        if came != expected.len() {
            return Err(Fault::Short { what: "request", at: came });
        }
        origin.ends_after = origin.reader.close;
        origin.sending = Sending { bytes: Some(Arc::clone(&self.messages.answer)), at: 0 };
        if let Pace::Streams { .. } = self.workload.pace {
            self.streams.push(Feed { end: place, sent: 0 });
        }
        send(socket, &mut origin.sending)
    }
}
