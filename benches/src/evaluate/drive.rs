//! Between arrivals, gateways and engines: the life of each request in virtual time.
//!
//! Owns: what an exchange holds (place in the queue, lease, trial), and what became of it.
//! Must not: choose, admit, or judge a figure. The order of calls is the one of `dataplane/src/dispatch.rs` and
//! `exchange.rs`; what they answer is the data plane's own.
//! Read next: [`super::gateway`], the calls; [`super::judge`], what is made of the results.

mod search;

use std::time::Duration;

use ringway_dataplane::admission::line::{Admission, No};
use ringway_dataplane::admission::queue::{TenantId, Ticket};
use ringway_dataplane::balance::{Pick, Tried};
use ringway_dataplane::cells::{Lease, Load};
use ringway_dataplane::clock::Moment;
use ringway_dataplane::health::{Passive, Trial};
use ringway_dataplane::outcome::{AttemptError, Reason, Retry};
use ringway_gpusim::engine::{Event, Key, Work};
use ringway_gpusim::fault::Window;
use ringway_gpusim::lora::Adapter;
use ringway_gpusim::virtual_time::{self, Front, Turned, VirtualFleet};

use super::alarms::Alarm;
use super::gateway::Gateway;
use super::material::Workload;
use super::outcome::{Fate, Outcome, Record, Refused};
use super::reports::Reports;
use super::setup::Setup;

/// A request under way.
struct Live<'a> {
    out: Outcome,
    gateway: &'a Gateway,
    pick: Option<Pick<'a>>,
    load: Load,
    tried: Tried,
    ticket: Option<Ticket>,
    lease: Option<Lease>,
    trial: Option<Trial<'a>>,
    attempts: u32,
    /// When its caller asked, the last time.
    asked: Duration,
    /// How often it was let go in vain.
    vain: u32,
}

const TICK: Duration = Duration::from_millis(ringway_dataplane::bounds::SWEEP_MS);
const SAMPLE: Duration = Duration::from_secs(1);
const LOOK_AFTER: Duration = Duration::from_secs(1);

struct Drive<'a> {
    workload: &'a Workload,
    setup: &'a Setup,
    gateways: &'a [Gateway],
    live: Vec<Live<'a>>,
    reports: Reports,
    now: Moment,
    /// Requests that have not ended, those to come included.
    open: usize,
    beats: bool,
    load: Vec<(Duration, Vec<u16>)>,
    stranded: usize,
    unseen_tokens: u64,
}

/// Runs a workload on a setup to its end.
///
/// # Panics
/// If the fleet's plan makes no sense: it is ours.
pub fn run(setup: &Setup, workload: &Workload) -> Record {
    let mut fleet = VirtualFleet::new(&setup.plan()).expect("a plan of ours");
    let gateways: Vec<Gateway> =
        (0..setup.gateways).map(|number| Gateway::new(setup, number as u64)).collect();
    let mut drive = Drive::new(setup, workload, &gateways);
    drive.set_out(&mut fleet);
    let arrivals = workload.asks.iter().zip(0..).map(|(ask, number)| (ask.at, number));
    virtual_time::run(&mut fleet, &mut drive, arrivals, Window::FOREVER);
    let adapter_loads = (0..fleet.replicas()).map(|at| fleet.engine(at).adapters().2).sum();
    let Drive { live, load, stranded, unseen_tokens, .. } = drive;
    let outcomes = live.into_iter().map(|live| live.out).collect();
    let left = gateways.iter().map(Gateway::left).collect();
    Record { outcomes, left, load, adapter_loads, stranded, unseen_tokens }
}

impl<'a> Drive<'a> {
    fn new(setup: &'a Setup, workload: &'a Workload, gateways: &'a [Gateway]) -> Self {
        Self {
            workload,
            setup,
            gateways,
            live: Vec::with_capacity(workload.asks.len()),
            reports: Reports::new(setup),
            now: Moment::default(),
            open: workload.asks.len(),
            beats: false,
            load: Vec::new(),
            stranded: 0,
            unseen_tokens: 0,
        }
    }

    fn set_out(&self, fleet: &mut VirtualFleet) {
        for at in 0..fleet.replicas() {
            if let Some(first) = self.reports.first(at) {
                fleet.set_timer(first, Alarm::Read(at).name());
            }
        }
        fleet.set_timer(TICK, Alarm::Tick.name());
        fleet.set_timer(SAMPLE, Alarm::Sample.name());
        if let Some(last) = self.workload.asks.iter().filter_map(|ask| Some(ask.at + ask.leaves?)).max() {
            fleet.set_timer(last + LOOK_AFTER, Alarm::Look.name());
        }
    }

    /// The choice is made; it counts from now on, or a little later.
    fn bind(&mut self, fleet: &mut VirtualFleet, number: u32, pick: Pick<'a>) {
        self.live[number as usize].pick = Some(pick);
        if self.setup.commits_after.is_zero() {
            return self.commit(fleet, number);
        }
        fleet.set_timer(fleet.now() + self.setup.commits_after, Alarm::Commit(number).name());
    }

    fn commit(&mut self, fleet: &mut VirtualFleet, number: u32) {
        let live = &mut self.live[number as usize];
        if live.out.fate != Fate::Open {
            return;
        }
        let (gateway, pick) = (live.gateway, live.pick.expect("it was chosen"));
        live.tried.add(pick.endpoint);
        let Ok(trial) = pick.endpoint.health.take() else {
            self.leave_queue(number);
            return self.search(fleet, number);
        };
        let ask = live.out.ask;
        let lease = self.with_prompt(number, |prompt| gateway.dispatch(&pick, prompt, ask.adapter, self.now));
        let live = &mut self.live[number as usize];
        live.load = pick.load;
        live.trial = trial;
        live.lease = Some(lease);
        live.attempts += 1;
        live.out.bound = Some(fleet.now());
        live.out.engine = pick.at;
        let waited = live.ticket.is_some();
        self.leave_queue(number);
        if waited {
            gateway.kick(self.now);
        }
        self.submit(fleet, number, pick);
    }

    fn submit(&mut self, fleet: &mut VirtualFleet, number: u32, pick: Pick<'a>) {
        let ask = self.live[number as usize].out.ask;
        let row = &self.workload.material.rows()[ask.row as usize];
        let work = Work {
            prompt: row.prompt.into(),
            limit: row.output,
            out: row.output,
            adapter: ask.adapter.map(Adapter),
            prefix: self.workload.material.prefix(ask.row, ask.adapter),
            ..Work::default()
        };
        match fleet.submit(pick.at, Key(number.into()), work) {
            Ok(()) => pick.endpoint.cell.note_back(self.now),
            Err(Turned::Down) => {
                pick.endpoint.cell.note_gone();
                self.failed(fleet, number, AttemptError::new(Reason::UpConnectRefused, Retry::Safe));
            }
            Err(Turned::Error | Turned::Refused(_)) => {
                self.failed(fleet, number, AttemptError::new(Reason::UpStatus, Retry::Idempotent));
            }
        }
    }

    /// An attempt failed before the caller saw a byte.
    fn failed(&mut self, fleet: &mut VirtualFleet, number: u32, error: AttemptError) {
        self.let_go(number);
        let live = &self.live[number as usize];
        let (gateway, engine, attempts) = (live.gateway, live.out.engine, live.attempts);
        gateway.note(engine, Passive::Bad, self.now);
        if gateway.may_try_again(&error, attempts, self.now) {
            self.search(fleet, number);
        } else {
            self.end(fleet, number, Fate::Broken { seen: false });
        }
    }

    /// Gives back what an attempt holds.
    fn let_go(&mut self, number: u32) {
        let live = &mut self.live[number as usize];
        let (lease, gateway, ask, bound) = (live.lease.take(), live.gateway, live.out.ask, live.out.bound);
        live.trial = None;
        if let (Some(lease), Some(admission)) = (lease, gateway.admission()) {
            let stayed_ms = (self.now.us() - bound.map_or(0, us)) / 1_000;
            admission.ended(ask.class, TenantId::new(ask.tenant), lease.generated(), stayed_ms);
        }
    }

    fn refuse(&mut self, fleet: &mut VirtualFleet, number: u32, no: No) {
        self.live[number as usize].ticket = None;
        let retry_after = Duration::from_millis(no.retry_after_ms);
        let refused = Refused { why: Some(no.why), at: fleet.now(), retry_after };
        let out = &mut self.live[number as usize].out;
        if self.setup.obedient && out.came_back.is_none() {
            out.came_back = Some(refused);
            fleet.set_timer(fleet.now() + retry_after, Alarm::Return(number).name());
        } else {
            self.end(fleet, number, Fate::Refused(refused));
        }
    }

    fn end(&mut self, _: &mut VirtualFleet, number: u32, fate: Fate) {
        self.leave_queue(number);
        self.let_go(number);
        let live = &mut self.live[number as usize];
        live.out.fate = fate;
        self.open -= 1;
        let gateway = live.gateway;
        gateway.kick(self.now);
    }

    fn token(&mut self, fleet: &mut VirtualFleet, number: u32, last: bool) {
        let now = self.now;
        let live = &mut self.live[number as usize];
        self.unseen_tokens += u64::from(live.out.fate == Fate::Left);
        let Some(lease) = live.lease.as_mut().filter(|_| live.out.fate == Fate::Open) else { return };
        live.out.tokens += 1;
        live.out.last = fleet.now();
        let is_first = live.out.first.is_none();
        live.out.first.get_or_insert(fleet.now());
        if is_first {
            lease.first_token();
        }
        if live.gateway.backend().pool().is_some() {
            lease.tokens(1);
            lease.see_gap(now);
        }
        if is_first {
            live.gateway.kick(now);
        }
        if last {
            live.gateway.note(live.out.engine, Passive::Whole, now);
            self.served(fleet, number);
        }
    }

    fn served(&mut self, fleet: &mut VirtualFleet, number: u32) {
        let live = &self.live[number as usize];
        let tokens = self.workload.material.rows()[live.out.ask.row as usize].prompt;
        let (gateway, engine, load) = (live.gateway, live.out.engine, live.load);
        let cached = live.out.cached.unwrap_or_default();
        self.with_prompt(number, |prompt| gateway.learn(prompt, engine, load, tokens.into(), cached.into()));
        self.end(fleet, number, Fate::Served);
    }

    fn read_page(&mut self, fleet: &mut VirtualFleet, at: usize) {
        let Some((next, heard)) = self.reports.read(fleet, at) else { return };
        if let Some((sequence, when)) = heard {
            fleet.set_timer(when, Alarm::Hear(sequence).name());
        }
        self.repeat(fleet, next, Alarm::Read(at));
    }

    /// As long as requests are under way: a run ends by itself.
    fn repeat(&self, fleet: &mut VirtualFleet, at: Duration, alarm: Alarm) {
        if self.open > 0 {
            fleet.set_timer(at, alarm.name());
        }
    }

    fn hear(&mut self, sequence: u64, now: Duration) {
        let Some(report) = self.reports.heard(sequence) else { return };
        for gateway in self.gateways {
            gateway.hear(report.clone(), now);
        }
    }

    fn caller_leaves(&mut self, fleet: &mut VirtualFleet, number: u32) {
        let Some(live) = self.live.get(number as usize).filter(|live| live.out.fate == Fate::Open) else {
            return;
        };
        if live.lease.is_some() {
            fleet.cancel(live.out.engine, Key(number.into()));
        }
        self.end(fleet, number, Fate::Left);
    }

    fn sample(&mut self, fleet: &VirtualFleet) {
        let held = |at: usize| (fleet.engine(at).running() + fleet.engine(at).waiting()) as u16;
        self.load.push((fleet.now(), (0..fleet.replicas()).map(held).collect()));
    }
}

impl Front for Drive<'_> {
    type Request = u32;

    fn arrival(&mut self, fleet: &mut VirtualFleet, number: u32) {
        self.now = moment(fleet);
        let ask = self.workload.asks[number as usize];
        let gateway = &self.gateways[number as usize % self.gateways.len()];
        self.live.push(Live {
            out: Outcome::open(ask),
            gateway,
            pick: None,
            load: Load::default(),
            tried: Tried::none(),
            ticket: None,
            lease: None,
            trial: None,
            attempts: 0,
            asked: ask.at,
            vain: 0,
        });
        if let Some(after) = ask.leaves {
            fleet.set_timer(ask.at + after, Alarm::Leave(number).name());
        }
        gateway.count_request(self.now);
        self.search(fleet, number);
        self.read_letters(fleet);
    }

    fn event(&mut self, fleet: &mut VirtualFleet, _: usize, event: Event) {
        self.now = moment(fleet);
        match event {
            Event::Admitted { key, cached } => {
                let live = &mut self.live[key.0 as usize];
                live.out.cached = Some(cached);
                live.gateway.note(live.out.engine, Passive::Good, self.now);
            }
            Event::Token { key, last, .. } => self.token(fleet, key.0 as u32, last),
        }
        self.read_letters(fleet);
    }

    fn timer(&mut self, fleet: &mut VirtualFleet, name: u64) {
        self.now = moment(fleet);
        match Alarm::of(name) {
            Alarm::Beat => {
                self.beats = false;
                self.gateways.iter().for_each(|gateway| gateway.kick(self.now));
                self.read_letters(fleet);
                let waits = |gateway: &Gateway| gateway.admission().is_some_and(Admission::is_backlogged);
                if self.gateways.iter().any(waits) {
                    self.beat(fleet);
                }
            }
            Alarm::Tick => {
                self.gateways.iter().for_each(|gateway| gateway.tick(self.now));
                self.repeat(fleet, fleet.now() + TICK, Alarm::Tick);
            }
            Alarm::Sample => {
                self.sample(fleet);
                self.repeat(fleet, fleet.now() + SAMPLE, Alarm::Sample);
            }
            Alarm::Read(at) => self.read_page(fleet, at),
            Alarm::Hear(sequence) => self.hear(sequence, fleet.now()),
            Alarm::Commit(number) => self.commit(fleet, number),
            Alarm::Leave(number) => self.caller_leaves(fleet, number),
            Alarm::Return(number) => {
                self.live[number as usize].asked = fleet.now();
                self.search(fleet, number);
            }
            Alarm::Look => {
                let left = |ask: &Live<'_>| ask.out.fate == Fate::Left;
                let open =
                    self.live.iter().filter(|live| live.out.fate == Fate::Open && live.lease.is_some());
                let held: usize = (0..fleet.replicas())
                    .map(|at| fleet.engine(at).running() + fleet.engine(at).waiting())
                    .sum();
                self.stranded = if self.live.iter().any(left) { held - open.count() } else { 0 };
            }
        }
        self.read_letters(fleet);
    }

    fn crashed(&mut self, fleet: &mut VirtualFleet, replica: usize, lost: Vec<Key>) {
        self.now = moment(fleet);
        self.reports.crashed(replica);
        for Key(number) in lost {
            let number = number as u32;
            let live = &self.live[number as usize];
            if live.out.fate != Fate::Open {
                continue;
            }
            if live.out.cached.is_some() {
                live.gateway.note(replica, Passive::Broken, self.now);
                self.end(fleet, number, Fate::Broken { seen: true });
            } else {
                self.failed(fleet, number, AttemptError::new(Reason::UpClosedEarly, Retry::Idempotent));
            }
        }
        self.read_letters(fleet);
    }
}

fn us(at: Duration) -> u64 {
    at.as_micros() as u64
}

fn moment(fleet: &VirtualFleet) -> Moment {
    Moment::from_us(us(fleet.now()))
}
