//! All the waits of a worker, in one coarse wheel.
//!
//! Owns: one entry per connection, which says what is being waited for and until when. Waiting for something else
//! is two stores; the wheel is touched only when a slot comes due, or when a wait ends before the entry's slot.
//! An elapsed wait acts on the sockets from outside, by `shutdown(2)`, and the task finds out from
//! [`Deadline::elapsed`] why its operation ended.
//! Must not: read the clock (ticks are handed in) or know HTTP.
//! Read next: `downstream.rs` and `exchange.rs`, which name what they wait for.

use std::cell::{Cell, RefCell};
use std::net::Shutdown;
use std::rc::{Rc, Weak};

use crate::bounds::{TICK_MS, WHEEL_SLOTS};
use crate::ring::Socket;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing that is timed.
    Nothing,
    /// The next request.
    NextRequest,
    /// The TLS handshake with the caller.
    Handshake,
    /// The rest of a request head.
    Head,
    /// More of a request body.
    Body,
    /// The caller to take what is written.
    Write,
    /// The upstream to take what is written.
    UpstreamWrite,
    /// The head of the answer.
    FirstByte,
    /// More of the answer's body.
    Idle,
    /// The caller to finish after we have: then we close anyway.
    Linger,
}

/// Why an operation was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elapsed {
    /// The named wait took too long.
    Wait(Wait),
    /// The whole exchange took too long.
    Total,
}

/// A worker's wheel.
pub struct Wheel {
    slots: RefCell<Vec<Vec<Weak<Entry>>>>,
    ripe: RefCell<Vec<Weak<Entry>>>,
    now_tick: Cell<u64>,
}

struct Entry {
    wait: Cell<Wait>,
    due_ms: Cell<u64>,
    total_due_ms: Cell<u64>,
    slot_tick: Cell<u64>,
    elapsed: Cell<Option<Elapsed>>,
    downstream: Socket,
    upstream: RefCell<Option<Socket>>,
}

/// One connection's place in the wheel; clones are the same place.
#[derive(Clone)]
pub struct Deadline {
    entry: Rc<Entry>,
    wheel: Rc<Wheel>,
}

const NEVER: u64 = u64::MAX;

impl Wheel {
    /// An empty wheel at time 0.
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            slots: RefCell::new((0..WHEEL_SLOTS).map(|_| Vec::new()).collect()),
            ripe: RefCell::new(Vec::new()),
            now_tick: Cell::new(0),
        })
    }

    /// A place for the connection on `downstream`.
    pub fn enter(self: &Rc<Self>, downstream: &Socket) -> Deadline {
        let entry = Rc::new(Entry {
            wait: Cell::new(Wait::Nothing),
            due_ms: Cell::new(NEVER),
            total_due_ms: Cell::new(NEVER),
            slot_tick: Cell::new(NEVER),
            elapsed: Cell::new(None),
            downstream: downstream.clone(),
            upstream: RefCell::new(None),
        });
        Deadline { entry, wheel: Rc::clone(self) }
    }

    /// Turns the wheel to `now_ms` and acts on every wait that elapsed.
    pub fn turn(&self, now_ms: u64) {
        let target = now_ms / TICK_MS;
        while self.now_tick.get() < target {
            let tick = self.now_tick.get() + 1;
            self.now_tick.set(tick);
            let mut ripe = self.ripe.take();
            ripe.append(&mut self.slots.borrow_mut()[slot(tick)]);
            for entry in ripe.drain(..) {
                if let Some(entry) = entry.upgrade() {
                    self.visit(&entry, tick, now_ms);
                }
            }
            *self.ripe.borrow_mut() = ripe; // keeps its memory
        }
    }

    /// Ends every wait for a next request: its connection closes.
    pub fn end_idle(&self) {
        let places = self.slots.borrow();
        for entry in places.iter().flatten().filter_map(Weak::upgrade) {
            if entry.wait.get() == Wait::NextRequest {
                entry.elapse(entry.due_ms.get());
            }
        }
    }

    fn visit(&self, entry: &Rc<Entry>, tick: u64, now_ms: u64) {
        if entry.slot_tick.get() != tick {
            return; // a stale place: the entry moved to an earlier slot since
        }
        entry.slot_tick.set(NEVER);
        let due = entry.next_due();
        if due > now_ms {
            self.place(entry, due);
        } else {
            entry.elapse(now_ms);
            self.place(entry, entry.next_due());
        }
    }

    /// Puts the entry into the slot of `due`, or into the furthest one, from where it will be placed again.
    fn place(&self, entry: &Rc<Entry>, due_ms: u64) {
        if due_ms == NEVER {
            return;
        }
        let earliest = self.now_tick.get() + 1;
        let furthest = self.now_tick.get() + WHEEL_SLOTS as u64 - 1;
        let tick = due_ms.div_ceil(TICK_MS).clamp(earliest, furthest);
        if tick < entry.slot_tick.get() {
            entry.slot_tick.set(tick);
            self.slots.borrow_mut()[slot(tick)].push(Rc::downgrade(entry));
        }
    }
}

fn slot(tick: u64) -> usize {
    (tick % WHEEL_SLOTS as u64) as usize
}

impl Entry {
    fn next_due(&self) -> u64 {
        self.due_ms.get().min(self.total_due_ms.get())
    }

    fn elapse(&self, now_ms: u64) {
        let wait = self.wait.get();
        let total = self.total_due_ms.get() <= now_ms;
        self.elapsed.set(Some(if total { Elapsed::Total } else { Elapsed::Wait(wait) }));
        self.due_ms.set(NEVER);
        self.total_due_ms.set(NEVER);
        match wait {
            Wait::NextRequest | Wait::Head | Wait::Body => self.downstream.shutdown(Shutdown::Read),
            Wait::Write => {
                // The caller does not read: a FIN would queue behind what it ignores.
                self.downstream.reset_on_close();
                self.downstream.shutdown(Shutdown::Both);
            }
            Wait::Handshake | Wait::Linger => self.downstream.shutdown(Shutdown::Both),
            Wait::UpstreamWrite | Wait::FirstByte | Wait::Idle | Wait::Nothing => {}
        }
        if let Some(upstream) = &*self.upstream.borrow() {
            upstream.shutdown(Shutdown::Both);
        }
    }
}

impl Deadline {
    /// From now on waits for `wait`, at most `ms` from `now_ms`.
    pub fn wait(&self, wait: Wait, now_ms: u64, ms: u64) {
        self.entry.wait.set(wait);
        let due = now_ms.saturating_add(ms);
        self.entry.due_ms.set(due);
        if due / TICK_MS < self.entry.slot_tick.get() {
            self.wheel.place(&self.entry, due);
        }
    }

    /// From now on nothing is timed, except the whole exchange.
    pub fn rest(&self) {
        self.entry.wait.set(Wait::Nothing);
        self.entry.due_ms.set(NEVER);
    }

    /// Bounds everything until [`Deadline::end_total`].
    pub fn begin_total(&self, now_ms: u64, ms: u64) {
        let due = now_ms.saturating_add(ms);
        self.entry.total_due_ms.set(due);
        self.wheel.place(&self.entry, due);
    }

    /// Lifts the bound over everything.
    pub fn end_total(&self) {
        self.entry.total_due_ms.set(NEVER);
    }

    /// What elapsed since this was last asked.
    pub fn elapsed(&self) -> Option<Elapsed> {
        self.entry.elapsed.take()
    }

    /// The upstream connection that an elapsed wait closes; none between attempts.
    pub fn set_upstream(&self, upstream: Option<&Socket>) {
        *self.entry.upstream.borrow_mut() = upstream.cloned();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::ring::{Buffers, Inbox, IoChoice, Room, Size, run};

    /// Runs `test` with a wheel, one connection's place in it, and the peer of that connection.
    fn with_connection<F: Future<Output = ()> + 'static>(
        test: impl Fn(Rc<Wheel>, Deadline, Socket, std::net::TcpStream) -> F + Copy + 'static,
    ) {
        for io in [IoChoice::Auto, IoChoice::Epoll] {
            run(io, |_, _| async move {
                let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
                let peer =
                    std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
                let (accepted, _) = listener.accept().expect("accepts");
                accepted.set_nonblocking(true).expect("settable");
                let socket = Socket::adopt(accepted.into()).expect("adopts");
                let wheel = Wheel::new();
                let deadline = wheel.enter(&socket);
                test(wheel, deadline, socket, peer).await;
            })
            .expect("a driver");
        }
    }

    #[test]
    fn an_elapsed_wait_ends_the_receive_and_says_why() {
        with_connection(|wheel, deadline, socket, _peer| async move {
            deadline.wait(Wait::Head, 0, 250);
            wheel.turn(200);
            assert_eq!(deadline.elapsed(), None);
            wheel.turn(300);
            let (received, _) = Inbox::new(&socket, &Buffers::new()).receive(Room::Fresh(Size::Small)).await;
            assert_eq!(received.expect("shut, not failed"), 0);
            assert_eq!(deadline.elapsed(), Some(Elapsed::Wait(Wait::Head)));
            assert_eq!(deadline.elapsed(), None, "told once");
        });
    }

    #[test]
    fn a_wait_moved_later_does_not_elapse_at_its_first_time() {
        with_connection(|wheel, deadline, _socket, _peer| async move {
            for now_ms in (0..10_000).step_by(100) {
                wheel.turn(now_ms);
                deadline.wait(Wait::Idle, now_ms, 1_000); // an event each tick keeps the stream alive
                assert_eq!(deadline.elapsed(), None);
            }
            wheel.turn(10_800);
            assert_eq!(deadline.elapsed(), None);
            wheel.turn(11_000);
            assert_eq!(deadline.elapsed(), Some(Elapsed::Wait(Wait::Idle)));
        });
    }

    #[test]
    fn a_short_wait_after_a_long_one_elapses_in_time() {
        with_connection(|wheel, deadline, _socket, _peer| async move {
            deadline.wait(Wait::NextRequest, 0, 75_000);
            deadline.wait(Wait::Body, 0, 500);
            wheel.turn(600);
            assert_eq!(deadline.elapsed(), Some(Elapsed::Wait(Wait::Body)));
        });
    }

    #[test]
    fn a_wait_longer_than_the_wheel_elapses_at_its_time() {
        with_connection(|wheel, deadline, _socket, _peer| async move {
            let turn_ms = TICK_MS * WHEEL_SLOTS as u64;
            deadline.wait(Wait::FirstByte, 0, 3 * turn_ms);
            wheel.turn(3 * turn_ms - TICK_MS);
            assert_eq!(deadline.elapsed(), None);
            wheel.turn(3 * turn_ms);
            assert_eq!(deadline.elapsed(), Some(Elapsed::Wait(Wait::FirstByte)));
        });
    }

    #[test]
    fn the_total_elapses_whatever_is_waited_for() {
        with_connection(|wheel, deadline, _socket, _peer| async move {
            deadline.begin_total(0, 1_000);
            for now_ms in (0..1_000).step_by(100) {
                wheel.turn(now_ms);
                deadline.wait(Wait::Idle, now_ms, 60_000);
            }
            wheel.turn(1_000);
            assert_eq!(deadline.elapsed(), Some(Elapsed::Total));
        });
    }

    #[test]
    fn a_wait_for_the_next_request_ends_it_without_a_buffer() {
        with_connection(|wheel, deadline, socket, mut peer| async move {
            let buffers = Buffers::new();
            let mut inbox = Inbox::new(&socket, &buffers);
            deadline.wait(Wait::NextRequest, 0, 1_000);
            monoio::select! { // begins the wait, then lets the tick elapse beside it
                _ = std::future::poll_fn(|cx| inbox.poll_readable(cx)) => panic!("nothing was sent"),
                () = monoio::time::sleep(std::time::Duration::from_millis(5)) => {}
            }
            assert_eq!(buffers.lent_bytes(), 0);
            std::io::Write::write_all(&mut peer, b"late").expect("sends");
            wheel.turn(1_000 + TICK_MS);
            let (received, buffer) = inbox.receive(Room::Fresh(Size::Small)).await;
            assert_eq!(
                (received.expect("whole"), buffer.bytes()),
                (4, &b"late"[..]),
                "what was there is not lost"
            );
            assert_eq!(inbox.receive(Room::Fresh(Size::Small)).await.0.expect("an end"), 0);
            assert_eq!(deadline.elapsed(), Some(Elapsed::Wait(Wait::NextRequest)));
        });
    }

    #[test]
    fn a_stalled_write_ends_in_a_reset() {
        with_connection(|wheel, deadline, socket, mut peer| async move {
            deadline.wait(Wait::Write, 0, 100);
            let stalled = async {
                loop {
                    let mut buffer = Buffers::new().large();
                    buffer.append(&vec![b'x'; 65_536]);
                    if socket.send(buffer).await.0.is_err() {
                        return; // the peer reads nothing, so only the deadline ends this
                    }
                }
            };
            monoio::join!(stalled, async {
                monoio::time::sleep(std::time::Duration::from_millis(50)).await;
                wheel.turn(200);
            });
            assert_eq!(deadline.elapsed(), Some(Elapsed::Wait(Wait::Write)));
            drop((deadline, socket));
            monoio::time::sleep(std::time::Duration::from_millis(20)).await;
            let error = peer.read_to_end(&mut Vec::new()).expect_err("not a clean end");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        });
    }
}
