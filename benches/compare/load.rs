//! The load: callers and origin of one workload on one thread that never sleeps.
//!
//! Owns: every socket that is not a proxy's, the clock of the load, and the check of every byte.
//! Must not: read `/proc`, judge a measurement, or wait for anything. A core that slept costs the one that wakes it
//! some 20 µs, and the proxy would pay.
//! Read next: `workload.rs` for what is sent, `rounds.rs` for what is made of the numbers.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{ClockId, Timespec, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};

use crate::bounds::{
    BACKLOG, BEHIND_BYTES_MAX, DUE_PER_TURN_MAX, EVENT_BYTES, EVENTS_MAX, LATENCY_MAX, READ_BYTES, SETUP_MAX,
    STALL_MAX,
};
use crate::http::{Fed, Reader};
use crate::together::Passage;
use crate::workload::{Messages, Pace, Spread, Stamp, Workload, read_event, write_event};

/// Why a measurement failed. Each of these is the proxy's fault, or ours; none is noise.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A system call failed.
    #[error("{0}: {1}")]
    Io(&'static str, io::Error),
    /// A head cannot be read.
    #[error("a head that cannot be read")]
    Head,
    /// The answer is not a 200.
    #[error("answered with `{0}`")]
    Status(String),
    /// Chunked coding is broken.
    #[error("broken chunked coding")]
    Chunk,
    /// Bytes behind the end of a message.
    #[error("bytes behind the end of a message")]
    Surplus,
    /// A byte of a body is not what was sent.
    #[error("byte {at} of the {what} is not what was sent")]
    Body {
        /// `request` or `answer`.
        what: &'static str,
        /// Which byte.
        at: usize,
    },
    /// An event is damaged, missing, or out of order.
    #[error("an event is damaged, missing or out of order: {0}")]
    Event(String),
    /// A connection ended too early.
    #[error("the connection ended {0}")]
    Cut(&'static str),
    /// A message ended before all of its body had come.
    #[error("{at} bytes of the {what}'s body came, and then its end")]
    Short {
        /// `request` or `answer`.
        what: &'static str,
        /// How many.
        at: usize,
    },
    /// A stream's receiver does not keep up.
    #[error("a stream is behind by more than {BEHIND_BYTES_MAX} bytes")]
    Behind,
    /// Not all connections stood in time.
    #[error("{0} of {1} connections stood in time")]
    Setup(usize, usize),
    /// What another load beside this one saw ended the measurement.
    #[error("another load failed")]
    Beside,
    /// Nothing was done for too long.
    #[error("nothing was answered for {} s", STALL_MAX.as_secs())]
    Stall,
}

fn io_fault(what: &'static str) -> impl FnOnce(io::Error) -> Fault {
    move |error| Fault::Io(what, error)
}

/// What was counted while measuring.
#[derive(Clone, Debug)]
pub struct Counted {
    /// How long.
    pub wall: Duration,
    /// How long the load's thread had its core.
    pub load_cpu: Duration,
    /// How long it had nothing to do: without any, it set the pace and not the proxy.
    pub idle: Duration,
    /// Requests answered, or events received.
    pub units: u64,
    /// From the intended time of sending to the last byte of the answer.
    pub latency: Histogram<u64>,
    /// Of events: from just before the send to the receipt.
    pub delay: Histogram<u64>,
    /// How long after it was due something was sent. Empty in closed loops.
    pub late: Histogram<u64>,
}

impl Counted {
    fn new() -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, LATENCY_MAX.as_nanos() as u64, 3).expect("the bounds are in order")
        };
        Self {
            wall: Duration::ZERO,
            load_cpu: Duration::ZERO,
            idle: Duration::ZERO,
            units: 0,
            latency: histogram(),
            delay: histogram(),
            late: histogram(),
        }
    }

    /// Both as one. What says whether the loads were good enough is the worse one's.
    pub fn with(mut self, other: &Self) -> Self {
        self.wall = self.wall.max(other.wall);
        self.load_cpu = self.load_cpu.min(other.load_cpu);
        self.idle = self.idle.min(other.idle);
        self.units += other.units;
        for (mine, others) in [
            (&mut self.latency, &other.latency),
            (&mut self.delay, &other.delay),
            (&mut self.late, &other.late),
        ] {
            mine.add(others).expect("of one range");
        }
        self
    }
}

/// Where a measurement stands, for whoever reads the proxy's own figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No connection was made yet.
    Before,
    /// Warm; counting begins when the call returns.
    Begin,
    /// Counting is over; the connections still stand.
    End,
}

/// The sockets of one measurement.
pub struct Load {
    listener: TcpListener,
    epoll: OwnedFd,
    /// Which of several.
    number: usize,
    /// Where its clock begins: loads beside each other read one clock, as an event may come from another's origin.
    began: Instant,
}

const LISTENER: u64 = u64::MAX;

impl Load {
    /// So many loads, each with its own origin.
    pub fn several(count: usize) -> Result<Vec<Self>, Fault> {
        let began = Instant::now();
        (0..count).map(|number| Self::new(number, began)).collect()
    }

    fn new(number: usize, began: Instant) -> Result<Self, Fault> {
        let open = || -> io::Result<Self> {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            let listener = TcpListener::from(socket);
            let epoll = epoll::create(CreateFlags::CLOEXEC)?;
            epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
            Ok(Self { listener, epoll, number, began })
        };
        open().map_err(io_fault("opening the origin"))
    }

    /// The origin's address.
    pub fn origin(&self) -> Result<SocketAddr, Fault> {
        self.listener.local_addr().map_err(io_fault("the origin's address"))
    }

    /// Sends the workload to the proxy: warm-up, then the measured time, in step with the loads beside it. `watch` is
    /// called at each [`Phase`].
    pub fn run(
        self,
        workload: &Workload,
        proxy: SocketAddr,
        path: &str,
        times: Times,
        gate: &mut Passage<'_>,
        watch: &mut dyn FnMut(Phase),
    ) -> Result<Counted, Fault> {
        watch(Phase::Before);
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut turn = Turn {
            workload,
            proxy,
            messages: workload.messages(proxy, path),
            ends: Vec::new(),
            free: Vec::new(),
            idle: VecDeque::new(),
            backlog: VecDeque::new(),
            streams: Vec::new(),
            standing: 0,
            began: self.began,
            counted: Counted::new(),
            counting: false,
            progress: 0,
            buffer: vec![0; READ_BYTES],
            load: self,
        };
        turn.open_all()?;
        gate.pass(|| turn.serve_others(&mut events))?;
        let mut schedule = Schedule::new(workload, turn.load.number, turn.now_ns());
        turn.drive(&mut schedule, times.warm)?;
        gate.pass(|| turn.serve_others(&mut events))?;
        turn.counted = Counted::new();
        watch(Phase::Begin);
        schedule.skip_to(turn.now_ns());
        turn.counting = true;
        let (wall, cpu) = (Instant::now(), thread_cpu());
        turn.drive(&mut schedule, times.measured)?;
        turn.counted.wall = wall.elapsed();
        turn.counted.load_cpu = thread_cpu().saturating_sub(cpu);
        turn.counting = false;
        let counted = std::mem::replace(&mut turn.counted, Counted::new());
        watch(Phase::End);
        // Nobody leaves while another still counts.
        gate.pass(|| turn.serve_others(&mut events))?;
        Ok(counted)
    }
}

/// How long a measurement takes.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Before counting.
    pub warm: Duration,
    /// While counting.
    pub measured: Duration,
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// When what is sent by the clock is due.
struct Schedule {
    kind: Kind,
    /// Nanoseconds of the load's clock.
    next_ns: u64,
}

enum Kind {
    Never,
    Random {
        mean_ns: f64,
        dice: fastrand::Rng,
    },
    /// Streams in turn, this far apart.
    Even {
        gap_ns: u64,
        turn: usize,
    },
    /// All streams, this far apart.
    Bunched {
        period_ns: u64,
    },
}

impl Schedule {
    fn new(workload: &Workload, load: usize, now_ns: u64) -> Self {
        let kind = match workload.pace {
            Pace::Closed => Kind::Never,
            // The same seed for all proxies: everyone is asked at the same moments.
            Pace::Open { per_second } => {
                let dice = fastrand::Rng::with_seed(1 + load as u64);
                Kind::Random { mean_ns: 1e9 / per_second, dice }
            }
            Pace::Streams { period, spread: Spread::Even } => {
                Kind::Even { gap_ns: period.as_nanos() as u64 / workload.connections as u64, turn: 0 }
            }
            Pace::Streams { period, spread: Spread::Bunched } => {
                Kind::Bunched { period_ns: period.as_nanos() as u64 }
            }
        };
        Self { kind, next_ns: now_ns }
    }

    /// What was due while nobody looked is not made up for.
    fn skip_to(&mut self, now_ns: u64) {
        self.next_ns = self.next_ns.max(now_ns);
    }
}

/// Bytes on their way out.
#[derive(Default)]
struct Sending {
    bytes: Option<Arc<[u8]>>,
    at: usize,
}

struct Caller {
    reader: Reader,
    sending: Sending,
    /// Where the answer stands.
    body_at: usize,
    /// When the request was to be sent; none: no request is out.
    intended_ns: Option<u64>,
    /// The answer is there; the connection is about to end.
    ending: bool,
    events: Events,
}

/// The check of one stream at its caller.
struct Events {
    partial: [u8; EVENT_BYTES],
    filled: usize,
    stream: Option<u32>,
    next: u32,
    standing: bool,
}

struct Origin {
    reader: Reader,
    sending: Sending,
    body_at: usize,
    /// Events that the socket would not take yet.
    behind: Vec<u8>,
    ends_after: bool,
}

enum Role {
    Caller(Caller),
    Origin(Origin),
}

struct End {
    socket: TcpStream,
    role: Role,
}

/// A stream at the origin: where it is sent, and how many events it had.
struct Feed {
    end: usize,
    sent: u32,
}

struct Turn<'a> {
    workload: &'a Workload,
    proxy: SocketAddr,
    messages: Messages,
    load: Load,
    /// Boxed, so that taking one out moves a pointer.
    ends: Vec<Option<Box<End>>>,
    free: Vec<usize>,
    /// Callers without a request out.
    idle: VecDeque<usize>,
    /// Intended times that found no caller idle.
    backlog: VecDeque<u64>,
    streams: Vec<Feed>,
    /// Streams whose head has come through.
    standing: usize,
    began: Instant,
    counted: Counted,
    counting: bool,
    /// Units since the beginning, counted or not.
    progress: u64,
    buffer: Vec<u8>,
}

impl Turn<'_> {
    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Makes all connections of callers; streams also wait until each has its head.
    fn open_all(&mut self) -> Result<(), Fault> {
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

    fn drive(&mut self, schedule: &mut Schedule, time: Duration) -> Result<(), Fault> {
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

    fn serve_others(&mut self, events: &mut Vec<Event>) -> Result<(), Fault> {
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

impl Origin {
    /// The answer is out, and the request asked for the end of the connection.
    fn is_over(&self) -> bool {
        self.ends_after && self.sending.bytes.is_none()
    }
}

impl Events {
    fn take(&mut self, mut bytes: &[u8], mut each: impl FnMut(Stamp)) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let take = bytes.len().min(EVENT_BYTES - self.filled);
            self.partial[self.filled..self.filled + take].copy_from_slice(&bytes[..take]);
            self.filled += take;
            bytes = &bytes[take..];
            if self.filled < EVENT_BYTES {
                return Ok(());
            }
            self.filled = 0;
            let Some(stamp) = read_event(&self.partial) else {
                return Err(Fault::Event(String::from_utf8_lossy(&self.partial).into_owned()));
            };
            if *self.stream.get_or_insert(stamp.stream) != stamp.stream || self.next != stamp.number {
                return Err(Fault::Event(format!("{} was expected, {stamp:?} came", self.next)));
            }
            self.next += 1;
            each(stamp);
        }
        Ok(())
    }
}

fn check(body: &[u8], expected: &[u8], at: &mut usize, what: &'static str) -> Result<(), Fault> {
    if expected.get(*at..*at + body.len()) == Some(body) {
        *at += body.len();
        return Ok(());
    }
    let rest = expected.get(*at..).unwrap_or_default();
    let same = body.iter().zip(rest).take_while(|(a, b)| a == b).count();
    Err(Fault::Body { what, at: *at + same })
}

enum Got {
    Bytes(usize),
    Nothing,
    End,
}

fn read(socket: &mut TcpStream, buffer: &mut [u8]) -> Result<Got, Fault> {
    loop {
        return match socket.read(buffer) {
            Ok(0) => Ok(Got::End),
            Ok(count) => Ok(Got::Bytes(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Got::Nothing),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => Err(Fault::Io("receiving", error)),
        };
    }
}

/// How much it took.
fn write(socket: &mut TcpStream, bytes: &[u8]) -> Result<usize, Fault> {
    match socket.write(bytes) {
        Ok(count) => Ok(count),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => Ok(0),
        Err(error) => Err(Fault::Io("sending", error)),
    }
}

fn send(socket: &mut TcpStream, sending: &mut Sending) -> Result<(), Fault> {
    let Some(bytes) = &sending.bytes else { return Ok(()) };
    while sending.at < bytes.len() {
        let sent = write(socket, &bytes[sending.at..])?;
        if sent == 0 {
            return Ok(());
        }
        sending.at += sent;
    }
    sending.bytes = None;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{together, workload};

    const SHORT: Times = Times { warm: Duration::from_millis(20), measured: Duration::from_millis(120) };

    /// Callers and origin face to face: no proxy, no excuse.
    fn alone(workload: &Workload) -> Counted {
        let loads = Load::several(1).expect("a free port");
        let origin = loads[0].origin().expect("it is bound");
        together::run(loads, workload, origin, "/raw/x", SHORT, |_| {}).expect("sound")
    }

    #[test]
    fn callers_and_origin_agree_about_every_workload() {
        for mut workload in workload::all() {
            workload.connections = workload.connections.min(50); // within the open files of any machine
            let counted = alone(&workload);
            assert!(counted.units > 0, "{}", workload.name);
            assert!(counted.delay.len() + counted.latency.len() > 0, "{}", workload.name);
        }
    }

    #[test]
    fn a_changed_byte_is_a_fault_that_names_it() {
        let mut at = 3;
        check(b"de", b"abcdefg", &mut at, "answer").expect("the same");
        assert_eq!(at, 5);
        assert!(matches!(check(b"fX", b"abcdefg", &mut at, "answer"), Err(Fault::Body { at: 6, .. })));
        assert!(check(b"fgh", b"abcdefg", &mut at, "answer").is_err(), "one byte too many");
    }

    #[test]
    fn a_missing_event_is_a_fault() {
        let mut events =
            Events { partial: [0; EVENT_BYTES], filled: 0, stream: None, next: 0, standing: false };
        let mut event = [0; EVENT_BYTES];
        let mut take = |number| {
            write_event(&mut event, Stamp { at_ns: 1, stream: 7, number });
            let (left, right) = event.split_at(50);
            events.take(left, |_| {})?;
            events.take(right, |_| {})
        };
        take(0).expect("the first");
        take(1).expect("the second");
        assert!(matches!(take(3), Err(Fault::Event(_))));
    }
}
