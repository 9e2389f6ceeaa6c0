//! The same engines without sockets: hours of load in seconds, the same result every time.
//!
//! Owns: a clock that jumps from one moment at which something happens to the next, and the order of what happens
//! at the same one: steps end, by replica; then faults, timers and arrivals.
//! Must not: decide where a request goes; that is the [`Front`]'s, which may be a test or a gateway's own code.
//! Read next: `engine.rs`, which is driven by sockets in `server.rs` and by a queue of moments here.
//!
//! ```
//! use ringway_gpusim::{FleetSpec, engine::{Event, Key, Work}, fault::Window};
//! use ringway_gpusim::virtual_time::{self, Front, VirtualFleet};
//! use std::time::Duration;
//!
//! /// Sends everything to server 0 and counts tokens.
//! struct Simple(u32);
//!
//! impl Front for Simple {
//!     type Request = (u64, Work);
//!     fn arrival(&mut self, fleet: &mut VirtualFleet, (number, work): (u64, Work)) {
//!         fleet.submit(0, Key(number), work).expect("it fits");
//!     }
//!     fn event(&mut self, _: &mut VirtualFleet, _: usize, event: Event) {
//!         self.0 += u32::from(matches!(event, Event::Token { .. }));
//!     }
//! }
//!
//! let mut fleet = VirtualFleet::new(&FleetSpec::default().into())?;
//! let mut front = Simple(0);
//! let work = Work { prompt: 100, limit: 30, out: 30, ..Work::default() };
//! virtual_time::run(&mut fleet, &mut front, [(Duration::from_secs(1), (7, work))], Window::FOREVER);
//! assert_eq!(front.0, 30);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io,
    time::Duration,
};

use crate::{
    engine::{Engine, Event, Key, Refused, Work},
    fault::{FaultKind, MetricsMode, Window},
    plan::Plan,
    random::Random,
};

/// What stands in front of a fleet: it is told what happens and says where requests go.
pub trait Front {
    /// What arrives.
    type Request;

    /// A request arrives. Whatever becomes of it is up to the front.
    fn arrival(&mut self, fleet: &mut VirtualFleet, request: Self::Request);

    /// An engine has admitted a request or has a token of it.
    fn event(&mut self, fleet: &mut VirtualFleet, replica: usize, event: Event);

    /// A timer has gone off.
    fn timer(&mut self, fleet: &mut VirtualFleet, name: u64) {
        let _ = (fleet, name);
    }

    /// A server is gone, and with it these requests. (When it is back, nobody says so: fronts find out.)
    fn crashed(&mut self, fleet: &mut VirtualFleet, replica: usize, lost: Vec<Key>) {
        let _ = (fleet, replica, lost);
    }
}

/// Why a server did not take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Turned {
    /// Its engine refuses.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Nobody listens.
    #[error("the server is down")]
    Down,
    /// A fault answers with an error.
    #[error("the server answered with an error")]
    Error,
}

/// A fleet whose clock is moved by hand.
#[derive(Debug)]
pub struct VirtualFleet {
    now: Duration,
    servers: Vec<Server>,
    /// Timers, the next one first; the second number keeps those of the same moment in the order they were set.
    timers: BinaryHeap<Reverse<(Duration, u64, u64)>>,
    timers_set: u64,
    /// Crashes (true) and restarts to come.
    turns: BTreeMap<(Duration, usize), bool>,
    events: Vec<(usize, Event)>,
    random: Random,
}

#[derive(Debug)]
struct Server {
    engine: Engine,
    up: bool,
    taken: u64,
    crash_after: Option<u64>,
    errors: Vec<(Window, f64)>,
    metrics: Vec<(Window, MetricsMode)>,
}

impl VirtualFleet {
    /// The fleet of this plan at time zero. Addresses mean nothing here.
    pub fn new(plan: &Plan) -> io::Result<Self> {
        plan.check()?;
        let mut turns = BTreeMap::new();
        let mut servers = Vec::with_capacity(plan.units.len());
        for (replica, unit) in plan.units.iter().enumerate() {
            let mut server = Server {
                engine: Engine::new(plan.engine(replica)),
                up: true,
                taken: 0,
                crash_after: unit.crash_after,
                errors: Vec::new(),
                metrics: vec![(Window::ALWAYS, unit.metrics)],
            };
            for (kind, window) in plan.faults_of(replica) {
                match kind {
                    FaultKind::Errors(share) => server.errors.push((window, share)),
                    FaultKind::Metrics(mode) => server.metrics.push((window, mode)),
                    FaultKind::Crash => {
                        turns.insert((window.from, replica), true);
                        if window.until < Window::FOREVER {
                            turns.insert((window.until, replica), false);
                        }
                    }
                    FaultKind::Stall | FaultKind::Slow(_) => {}
                }
            }
            servers.push(server);
        }
        Ok(Self {
            now: Duration::ZERO,
            servers,
            timers: BinaryHeap::new(),
            timers_set: 0,
            turns,
            events: Vec::new(),
            random: Random::new(plan.seed),
        })
    }

    /// The time since the start.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// How many servers there are.
    pub fn replicas(&self) -> usize {
        self.servers.len()
    }

    /// The engine of a server, to look at.
    pub fn engine(&self, replica: usize) -> &Engine {
        &self.servers[replica].engine
    }

    /// Whether somebody listens.
    pub fn is_up(&self, replica: usize) -> bool {
        self.servers[replica].up
    }

    /// How the metrics page of a server behaves just now.
    pub fn metrics_mode(&self, replica: usize) -> MetricsMode {
        let active = self.servers[replica].metrics.iter().rfind(|(window, _)| window.holds(self.now));
        active.map(|(_, mode)| *mode).unwrap_or_default()
    }

    /// Sends a request to a server, now. What comes of it is told to the front, from the next moment on.
    pub fn submit(&mut self, replica: usize, key: Key, work: Work) -> Result<(), Turned> {
        let server = &mut self.servers[replica];
        if !server.up {
            return Err(Turned::Down);
        }
        let share = server.errors.iter().filter(|(window, _)| window.holds(self.now));
        let share = share.map(|(_, share)| *share).fold(0.0, f64::max);
        if share > 0.0 && self.random.unit() < share {
            return Err(Turned::Error);
        }
        let mut events = Vec::new();
        server.engine.submit(self.now, key, work, &mut events)?;
        server.taken += 1;
        if server.crash_after.is_some_and(|count| server.taken > count) {
            self.turns.insert((self.now, replica), true);
        }
        self.events.extend(events.into_iter().map(|event| (replica, event)));
        Ok(())
    }

    /// Takes a request out of a server, as when its client leaves.
    pub fn cancel(&mut self, replica: usize, key: Key) {
        self.servers[replica].engine.cancel(key);
    }

    /// Has the front called at `at` with this name; at once if that is past.
    pub fn set_timer(&mut self, at: Duration, name: u64) {
        self.timers_set += 1;
        self.timers.push(Reverse((at.max(self.now), self.timers_set, name)));
    }

    /// When something happens next without an arrival.
    fn next_moment(&self) -> Option<Duration> {
        if !self.events.is_empty() {
            return Some(self.now);
        }
        let steps = self.servers.iter().filter_map(|server| server.engine.next_wake());
        let turn = self.turns.first_key_value().map(|((at, _), _)| *at);
        let timer = self.timers.peek().map(|Reverse((at, ..))| *at);
        steps.chain(turn).chain(timer).min()
    }

    /// Lets everything happen that is due by now.
    fn happen<F: Front>(&mut self, front: &mut F) {
        self.end_steps();
        // Handling one event may cause others, at this moment or a later one.
        while !self.events.is_empty() {
            for (replica, event) in std::mem::take(&mut self.events) {
                front.event(self, replica, event);
            }
        }
        while let Some(entry) = self.turns.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let ((_, replica), down) = entry.remove_entry();
            self.servers[replica].up = !down;
            if down {
                let lost = self.servers[replica].engine.crash();
                front.crashed(self, replica, lost);
            }
        }
        while let Some(Reverse((_, _, name))) = self.timers.peek().copied().filter(|due| due.0.0 <= self.now)
        {
            self.timers.pop();
            front.timer(self, name);
        }
    }

    fn end_steps(&mut self) {
        let mut events = Vec::new();
        for (replica, server) in self.servers.iter_mut().enumerate() {
            if server.engine.next_wake().is_some_and(|end| end <= self.now) {
                server.engine.advance(self.now, &mut events);
                self.events.extend(events.drain(..).map(|event| (replica, event)));
            }
        }
    }
}

/// Runs the arrivals, in order of time, until all have come and nothing more can happen, or until `end`.
///
/// A front that sets a timer in every timer never lets a run end by itself.
pub fn run<F: Front>(
    fleet: &mut VirtualFleet,
    front: &mut F,
    arrivals: impl IntoIterator<Item = (Duration, F::Request)>,
    end: Duration,
) {
    let mut arrivals = arrivals.into_iter().peekable();
    loop {
        let arrival = arrivals.peek().map(|(at, _)| (*at).max(fleet.now));
        let Some(moment) = fleet.next_moment().into_iter().chain(arrival).min() else { return };
        if moment > end {
            fleet.now = end;
            return;
        }
        fleet.now = moment;
        fleet.happen(front);
        while let Some((_, request)) = arrivals.next_if(|(at, _)| *at <= moment) {
            front.arrival(fleet, request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FleetSpec, fault::Fault};

    /// Sends request k to server k modulo the number of servers, and writes down what it is told.
    #[derive(Default)]
    struct Scribe {
        log: Vec<String>,
        sent: u64,
    }

    impl Front for Scribe {
        type Request = Work;

        fn arrival(&mut self, fleet: &mut VirtualFleet, work: Work) {
            let replica = self.sent as usize % fleet.replicas();
            let outcome = fleet.submit(replica, Key(self.sent), work);
            self.log.push(format!("{:?} {} to {replica}: {outcome:?}", fleet.now(), self.sent));
            self.sent += 1;
        }

        fn event(&mut self, fleet: &mut VirtualFleet, replica: usize, event: Event) {
            if let Event::Token { at, .. } = event {
                assert_eq!(at, fleet.now(), "told at the moment it happens");
            }
            self.log.push(format!("{:?} {replica} {event:?}", fleet.now()));
        }

        fn timer(&mut self, fleet: &mut VirtualFleet, name: u64) {
            self.log.push(format!("{:?} timer {name}", fleet.now()));
        }

        fn crashed(&mut self, fleet: &mut VirtualFleet, replica: usize, lost: Vec<Key>) {
            self.log.push(format!("{:?} {replica} crashed with {lost:?}", fleet.now()));
        }
    }

    fn plan(replicas: usize, faults: &[&str]) -> Plan {
        let faults = faults.iter().map(|text| text.parse::<Fault>().expect("a fault")).collect();
        Plan { faults, ..FleetSpec { replicas, ..FleetSpec::default() }.into() }
    }

    fn load(count: u64) -> Vec<(Duration, Work)> {
        let mut random = Random::new(4);
        let mut at = Duration::ZERO;
        let mut next = || {
            at += Duration::from_secs_f64(random.unit() * 0.2);
            let (prompt, out) = (random.bits() % 5_000, (random.bits() % 50) as u32 + 1);
            (at, Work { prompt, limit: out, out, ..Work::default() })
        };
        (0..count).map(|_| next()).collect()
    }

    fn log(plan: &Plan, count: u64) -> Vec<String> {
        let mut fleet = VirtualFleet::new(plan).expect("a plan");
        let mut scribe = Scribe::default();
        run(&mut fleet, &mut scribe, load(count), Window::FOREVER);
        scribe.log
    }

    #[test]
    fn the_same_seed_gives_the_same_run_to_the_nanosecond() {
        let noisy = |seed| {
            let mut plan =
                plan(3, &["errors=0.2", "slow=3,replica=1,at=2s,for=3s", "stall,replica=0,at=4s,for=1s"]);
            plan.seed = seed;
            plan.units.iter_mut().for_each(|unit| unit.noise = 0.3);
            log(&plan, 200)
        };
        assert_eq!(noisy(1), noisy(1));
        assert_ne!(noisy(1), noisy(2));
    }

    #[test]
    fn every_request_ends_and_time_never_runs_backwards() {
        let log = log(&plan(2, &[]), 300);
        assert_eq!(log.iter().filter(|line| line.contains("last: true")).count(), 300);
    }

    #[test]
    fn a_crash_loses_what_ran_and_refuses_until_the_restart() {
        let log = log(&plan(1, &["crash,at=1s,for=2s"]), 60);
        let crash = log.iter().position(|line| line.contains("crashed with [Key(")).expect("something ran");
        assert!(log[crash].starts_with("1s "), "{}", log[crash]);
        let down = log.iter().filter(|line| line.ends_with("Err(Down)")).count();
        assert!(down > 5, "{down}");
        assert!(log.last().is_some_and(|line| line.contains("last: true")), "it serves again");
    }

    #[test]
    fn timers_of_the_same_moment_go_off_in_the_order_they_were_set() {
        let mut fleet = VirtualFleet::new(&plan(1, &[])).expect("a plan");
        let mut scribe = Scribe::default();
        for (second, name) in [(2, 1), (1, 2), (2, 3), (9, 4)] {
            fleet.set_timer(Duration::from_secs(second), name);
        }
        run(&mut fleet, &mut scribe, [], Duration::from_secs(5));
        assert_eq!(scribe.log, ["1s timer 2", "2s timer 1", "2s timer 3"]);
        assert_eq!(fleet.now(), Duration::from_secs(5));
    }
}
