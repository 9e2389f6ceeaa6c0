//! The load: callers and origin of one workload on one thread that never sleeps.
//!
//! Owns: every socket that is not a proxy's, the clock of the load, and the check of every byte.
//! Must not: read `/proc`, judge a measurement, or wait for anything. A core that slept costs the one that wakes it
//! some 20 µs, and the proxy would pay.
//! Read next: `load/turn.rs`, what the thread does; `workload.rs` for what is sent, `rounds.rs` for what is made of the numbers.

mod ends;
mod fault;
mod schedule;
mod turn;

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};

pub use self::fault::Fault;
use self::fault::io_fault;
use self::schedule::Schedule;
use self::turn::Turn;
use crate::bounds::{BACKLOG, EVENTS_MAX, LATENCY_MAX, READ_BYTES};
use crate::together::Passage;
use crate::workload::Workload;

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
}
