//! What goes wrong on command, at the level of sockets: crashes, error answers, lies of the metrics page.
//!
//! Owns: when each begins and ends, and answers held back. Must not: slow an engine down; that is its own.
//! Read next: `../fault.rs` for how faults are asked for.

use std::{collections::VecDeque, io::ErrorKind, time::Duration};

use mio::{Interest, Token};

use super::{Server, Whole, listen};
use crate::{
    bounds::{METRICS_DELAY, REBIND_DELAY},
    clock,
    fault::{FaultKind, MetricsMode, Window},
    plan::Plan,
    random::Random,
};

/// The troubles of a fleet.
pub(super) struct Trouble {
    units: Vec<Unit>,
    /// Crashes and restarts to come, the next one last.
    timeline: Vec<(Duration, usize, Turn)>,
    held: VecDeque<Held>,
    random: Random,
}

/// The troubles of one server.
#[derive(Default)]
struct Unit {
    errors: Vec<(Window, f64)>,
    metrics: Vec<(Window, MetricsMode)>,
    /// The page a stale server keeps showing.
    first_page: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Crash,
    Restart,
}

struct Held {
    due: Duration,
    slot: usize,
    /// The number of the connection: somebody else may have the slot by then.
    number: u64,
    answer: Whole,
}

impl Trouble {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut units = Vec::with_capacity(plan.units.len());
        let mut timeline = Vec::new();
        for replica in 0..plan.units.len() {
            let mut unit = Unit::default();
            for (kind, window) in plan.faults_of(replica) {
                match kind {
                    FaultKind::Errors(share) => unit.errors.push((window, share)),
                    FaultKind::Metrics(mode) => unit.metrics.push((window, mode)),
                    FaultKind::Crash => {
                        timeline.push((window.from, replica, Turn::Crash));
                        if window.until < Window::FOREVER {
                            timeline.push((window.until, replica, Turn::Restart));
                        }
                    }
                    FaultKind::Stall | FaultKind::Slow(_) => {}
                }
            }
            units.push(unit);
        }
        timeline.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
        Self { units, timeline, held: VecDeque::new(), random: Random::new(plan.seed) }
    }

    pub(super) fn next_wake(&self) -> Option<Duration> {
        let turn = self.timeline.last().map(|(at, ..)| *at);
        turn.into_iter().chain(self.held.front().map(|held| held.due)).min()
    }

    /// Whether the next generation is answered with an error.
    pub(super) fn refuses(&mut self, replica: usize, now: Duration) -> bool {
        let share = self.units[replica].errors.iter().filter(|(window, _)| window.holds(now));
        let share = share.map(|(_, share)| *share).fold(0.0, f64::max);
        share > 0.0 && self.random.unit() < share
    }

    /// How the metrics page behaves just now, if a fault says so.
    pub(super) fn metrics_mode(&self, replica: usize, now: Duration) -> Option<MetricsMode> {
        let mut active = self.units[replica].metrics.iter().filter(|(window, _)| window.holds(now));
        active.next_back().map(|(_, mode)| *mode)
    }

    /// The first page this server showed while it was stale.
    pub(super) fn first_page(&mut self, replica: usize, page: String) -> String {
        self.units[replica].first_page.get_or_insert(page).clone()
    }

    /// Lets a server crash before anything else happens, for good.
    pub(super) fn crash_now(&mut self, replica: usize, now: Duration) {
        self.timeline.push((now, replica, Turn::Crash));
    }

    fn next_turn(&mut self, now: Duration) -> Option<(usize, Turn)> {
        let (_, replica, turn) = self.timeline.pop_if(|(at, ..)| *at <= now)?;
        Some((replica, turn))
    }

    fn later(&mut self, at: Duration, replica: usize, turn: Turn) {
        let place = self.timeline.partition_point(|(other, ..)| *other > at);
        self.timeline.insert(place, (at, replica, turn));
    }
}

impl Server {
    /// Lets happen what is due: crashes, restarts, answers held back.
    pub(super) fn make_trouble(&mut self) {
        let now = self.now();
        while let Some((replica, turn)) = self.trouble.next_turn(now) {
            match turn {
                Turn::Crash => self.crash(replica),
                Turn::Restart => self.restart(replica, now),
            }
        }
        while self.trouble.held.front().is_some_and(|held| held.due <= now) {
            let held = self.trouble.held.pop_front().expect("just seen");
            self.let_go(&held);
        }
    }

    /// Sends an answer later; until then the connection's next request waits.
    pub(super) fn hold_back(&mut self, slot: usize, answer: Whole, now: Duration) {
        let Some(connection) = self.connections.get(slot) else { return };
        connection.held = true;
        let due = now + METRICS_DELAY.div_f64(self.plan.time_scale);
        self.trouble.held.push_back(Held { due, slot, number: connection.number, answer });
    }

    fn let_go(&mut self, held: &Held) {
        let Some(connection) = self.connections.get(held.slot).filter(|it| it.number == held.number) else {
            return;
        };
        connection.held = false;
        self.reply(held.slot, &held.answer.reply());
        let Some(connection) = self.connections.get(held.slot) else { return };
        let fate = connection.send();
        self.settle(held.slot, fate);
        self.resume(held.slot);
    }

    /// The process of a server is gone: its sockets with it, and all that its engine knew.
    fn crash(&mut self, replica: usize) {
        if let Some(mut listener) = self.replicas[replica].listener.take() {
            let _ = self.poll.registry().deregister(&mut listener);
        }
        for mut connection in self.connections.remove_all_of(replica) {
            let _ = self.poll.registry().deregister(&mut connection.stream);
            // A reset, as for a process that dies with unread bytes: no client takes it for an end.
            let _ = socket2::SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO));
        }
        let _ = self.replicas[replica].engine.crash(); // their connections are gone already
    }

    /// A new process on the old port.
    fn restart(&mut self, replica: usize, now: Duration) {
        if self.replicas[replica].listener.is_some() {
            return;
        }
        let bound = listen(self.addresses[replica]).and_then(|mut listener| {
            self.poll.registry().register(&mut listener, Token(replica), Interest::READABLE)?;
            Ok(listener)
        });
        match bound {
            Ok(listener) => {
                self.replicas[replica].listener = Some(listener);
                self.replicas[replica].started = clock::unix_time();
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                self.trouble.later(now + REBIND_DELAY, replica, Turn::Restart);
            }
            // Nothing can be served there any more, which is what a fault is for.
            Err(_) => {}
        }
    }
}
